"""Read a folder of images and say what is in it.

python -m course check FOLDER
"""

import argparse
import json
from pathlib import Path

from course.commands import add_folder_options, folder_command, merge_params, say_how
from course.run import class_names
from helpers import parameters
from helpers.files import CourseError, project_path
from helpers.folder import check_names, draw_sheet, examine, fields, is_sheet, lines


@folder_command
def main(arguments: list[str] | None = None) -> None:
    """The command line; exit code 2 if the folder cannot be read or split."""
    parser = argparse.ArgumentParser(prog="python -m course check", description=__doc__)
    parser.add_argument("folder", help="folder of the images; nothing is written there")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--sheet", type=Path, help="PNG file for slices and look-alike pairs")
    usual = parameters.NOTEBOOKS["split_seed"].default
    words = f"seed of the split that is shown (default: split_seed of --params, or {usual})"
    parser.add_argument("--seed", type=int, help=words)
    add_folder_options(parser)
    parser.set_defaults(negative="")  # which a file may have
    asked = merge_params(vars(parser.parse_args(arguments)), "split_seed")
    folder, as_json, sheet, seed = (asked.pop(name) for name in ("folder", "json", "sheet", "seed"))
    if sheet and project_path(sheet).is_relative_to(project_path(folder)):
        raise CourseError(f"{sheet} is in {folder}, where nothing is written: choose another.")
    if sheet and sheet.suffix.lower() != ".png":
        raise CourseError(f"--sheet {sheet} is no PNG file: give a name that ends in .png.")
    if sheet and project_path(sheet).exists() and not is_sheet(project_path(sheet)):
        raise CourseError(f"{sheet} is there and was not drawn by check: choose another name.")
    examined = examine(folder, seed, asked, strict=False)
    if as_json:
        print(json.dumps(fields(examined), indent=2))  # ASCII, for terminals of any encoding
    else:
        said = lines(examined)
        print(f"folder: {examined.slices.folder}", *said, sep="\n")
        found = [line for line in said if not line.startswith(("classes: ", "listing: "))]
        if not examined.refused and (how := say_how("\n".join(found))):
            print(how)
    if sheet:
        draw_sheet(examined, project_path(sheet))
    if examined.refused:
        raise CourseError(examined.refused)
    named = {name: asked[name] for name in ("positive", "negative") if asked[name]}
    named |= class_names(examined.slices, named)
    check_names(named.get("positive", "haemorrhage"), named.get("negative", "clear"))
