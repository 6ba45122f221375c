"""What a folder of images holds once it is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers import machine
from helpers.folder.listing import Reading


@dataclass(frozen=True)
class Slices:
    """A folder's slices as read.

    `table` has one row per slice: file, label, patient ("" if not given), keys (all names of its
    patient), given (part, "" if none), mode, width, height, tinted, constant, blank, sha256 (of the
    file), pixels (hash of the grey levels) and more. `greys` are the pixels in that order, shrunk
    where the whole set would be too large to keep. `names` are label 0's and label 1's in the data.
    """

    folder: Path
    table: pd.DataFrame
    greys: list[np.ndarray]
    names: tuple[str, str]
    reading: Reading
    seen: dict[str, int]  # images in the folder, by ending
    unused: list[str]  # images that were not read
    window: dict[str, Any]  # stored values that became black and white, if a window was needed
    given: bool  # whether the given split is to be kept

    @property
    def unlisted(self) -> int:
        """Images in the folder that were not read."""
        return len(self.unused)

    @property
    def fingerprint(self) -> str:
        """One hash of all names, labels, pixels and parts that are to be kept, without groups."""
        columns = ["file", "label", "pixels"] + ["given"] * self.given
        rows = self.table[columns].astype(str).agg("|".join, axis=1)
        return machine.digest(*[row.encode() for row in sorted(rows)])
