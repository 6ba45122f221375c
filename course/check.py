"""Read a folder of images and say what is in it.

python -m course check FOLDER
"""

import argparse

import numpy as np

from course.commands import add_column_options, command
from helpers import preprocessing
from helpers.folder import COLUMNS, find_groups, read_folder


@command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m course check", description=__doc__)
    parser.add_argument("folder")
    add_column_options(parser)
    asked = parser.parse_args(arguments)
    slices = read_folder(asked.folder, **{name: getattr(asked, name) for name in COLUMNS})
    grouping = find_groups(slices)
    preprocessing.split_groups(slices.table["label"].to_numpy(), grouping.groups, 0)
    print(
        f"{len(slices.table)} images ({int(slices.table['label'].sum())} of class 1) in "
        f"{len(np.unique(grouping.groups))} groups; {len(grouping.proposed)} look-alike pairs; "
        f"{slices.unlisted} images not in labels.csv."
    )
