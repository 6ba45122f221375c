"""Read a folder and say what is in it: `python -m course check FOLDER`."""

import argparse
import json
from pathlib import Path

from helpers import runtime
from helpers.folder.options import LEAVE_OUT
from helpers.folder.report import draw_sheet, examine, fields, lines
from helpers.runtime import CourseError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a command take what `Options` takes."""
    for name, words in (
        ("listing", "the table that lists the images; none: the folders are the classes"),
        ("id-column", "column of the listing that names the image"),
        ("label-column", "column that holds the label"),
        ("patient-column", "column that says whose the image is"),
        ("patient-pattern", r"regular expression that finds the patient in a path: 'person(\d+)_'"),
        ("positive", "the label to be found, of two, or against all others"),
    ):
        parser.add_argument(f"--{name}", default="", help=words)
    parser.add_argument("--classes", nargs=2, default=[], help="two labels, where there are more")
    parser.add_argument("--given-split", action="store_true", help="keep the split that is given")
    parser.add_argument(
        "--window", nargs=2, type=float, default=[], help="stored values of black and white"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=[], choices=LEAVE_OUT, help="kinds of images to drop"
    )


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """The command line; 2 where the folder cannot be read, or not be split."""
    parser = argparse.ArgumentParser(prog="python -m course check", description=__doc__)
    parser.add_argument("folder", help="where the images are; nothing is written there")
    parser.add_argument("--json", action="store_true", help="print fields for programs instead")
    parser.add_argument("--sheet", type=Path, help="draw slices and look-alike pairs into this PNG")
    parser.add_argument("--seed", type=int, default=2019, help="of the split that is shown")
    add_options(parser)
    asked = vars(parser.parse_args(arguments))
    folder, as_json, sheet, seed = (asked.pop(name) for name in ("folder", "json", "sheet", "seed"))
    if sheet and runtime.project_path(sheet).is_relative_to(runtime.project_path(folder)):
        raise CourseError(f"{sheet} lies in {folder}, where nothing is written: choose another.")
    examined = examine(folder, seed, asked, strict=False)
    if as_json:
        print(json.dumps(fields(examined), indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(examined)))
    if sheet:
        draw_sheet(examined, runtime.project_path(sheet))
    if examined.refused:
        raise CourseError(examined.refused)


if __name__ == "__main__":
    raise SystemExit(main())
