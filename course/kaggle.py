"""Download the real set from Kaggle and check every file.

python -m course fetch
"""

import argparse
from pathlib import Path

import pandas as pd

from course.commands import command
from helpers.files import CourseError
from helpers.folder import KNOWN, read_folder

KAGGLE_NAME = "felipekitamura/head-ct-hemorrhage"


def fetch() -> Path:
    """Download the real set from Kaggle (no login needed) and check every file's hash.

    Returns:
        The folder of the download.

    Raises:
        CourseError: kagglehub is missing, the download fails, or a file is another one.
    """
    try:
        import kagglehub
    except ImportError:
        raise CourseError("kagglehub is missing: use `pip install kagglehub`.") from None
    try:
        folder = Path(kagglehub.dataset_download(KAGGLE_NAME))
    except Exception as error:  # kagglehub passes on whatever its network layer raises
        reason = str(error).split("\n")[0]
        raise CourseError(
            f"Kaggle's {KAGGLE_NAME} could not be downloaded ({reason}): try again, or download it "
            "with a browser and give its folder as DATA."
        ) from error
    present = set(read_folder(folder).table["sha256"])
    missing = set(pd.read_csv(KNOWN)["sha256"]) - present
    if missing:
        raise CourseError(
            f"{folder}: {len(missing)} of 200 files differ from the ones described in data/: "
            "Kaggle's copy has changed, so the known duplicates cannot be relied on."
        )
    return folder


@command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    argparse.ArgumentParser(prog="python -m course fetch", description=__doc__).parse_args(
        arguments
    )
    print(f"200 files, every hash as expected. Now: make course DATA={fetch()}")
