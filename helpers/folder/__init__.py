"""The data contract: read a folder of images rightly, or refuse it rightly.

`read_folder` reads it, `find_groups` says what must stay together, `choose_parts` splits it,
`examine` does all of that with warnings, and `lines` says what was found. `unpack` opens a zip
file. Nothing here loads TensorFlow.
"""

from helpers.folder.archive import unpack
from helpers.folder.options import LEAVE_OUT, Options, from_parameters
from helpers.folder.options import NAMES as OPTIONS
from helpers.folder.parts import choose_parts
from helpers.folder.paths import check_names, refuse_inside
from helpers.folder.patients import KNOWN, Grouping, find_groups
from helpers.folder.reading import Samples, read_folder, read_samples
from helpers.folder.report import Examined, describe, draw_sheet, examine, fields, is_sheet, lines
from helpers.folder.slices import Slices

__all__ = [
    "KNOWN", "LEAVE_OUT", "OPTIONS", "Examined", "Grouping", "Options", "Samples", "Slices",
    "check_names", "choose_parts", "describe", "draw_sheet", "examine", "fields", "find_groups",
    "from_parameters", "is_sheet", "lines", "read_folder", "read_samples", "refuse_inside",
    "unpack",
]  # fmt: skip
