"""Audit anybody's generated images.

    python -m course audit --samples FOLDER --data FOLDER --split split.csv --out FOLDER

All images are compared at 32x32 pixels, as the course's GANs draw them: what larger images show
beyond that is not looked at.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from course.commands import add_folder_options, folder_command, merge_params, require_own
from course.run import class_names
from helpers import files, measures, preparation, preprocessing
from helpers.files import CourseError
from helpers.folder import Slices, check_names, read_folder, read_samples, refuse_inside
from helpers.folder.faults import Faults
from helpers.folder.labels import normalise_label
from helpers.folder.listing import patient_key
from helpers.folder.tables import read_table
from helpers.judge import SPACES

SIMULATED = "simulated.txt"  # what `phantom.write_dataset` leaves in its folder


def run(
    samples: Path, data: Path, split: Path, out: Path,
    positive: str = "", negative: str = "", sample_class: str = "", **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Audit a folder of images against the data and the split that its generators were trained on.

    Args:
        samples: A folder that meets the data contract; or, of one class, a folder of images alone,
            or an array, as `folder.read_samples` takes them.
        data: A folder that meets the data contract.
        split: `split.csv` with file, group, split: of `data`. A column label must agree with it.
        out: Gets `audit.json`, and for each class `closest_CLASS.png`: the ten generated images
            that are most likely copies, above the real image that is nearest.
        positive, negative: Labels of the two classes in `data`; or, if the labels are 0 and 1,
            names for them, by default those of the notebooks.
        sample_class: Which of the two the samples are, where they don't say so themselves.
        options: Of `data`, as `folder.read_folder` takes them.

    Returns:
        What `audit_class` gives, by class, and `prepared_otherwise`: sentences about how the
        preparation of the samples differs from that of the data.

    Raises:
        CourseError: Whatever is wrong with a folder, the split or the names; `out` holds files of
            others.
    """
    if positive and negative:
        check_names(positive, negative)
    split, out = map(files.project_path, (split, out))
    for folder in (samples, data):
        refuse_inside(out, files.project_path(folder))
    require_own(out, "audit.json")
    slices = read_folder(data, positive=positive, **options)
    positive, negative = _name_classes(slices, positive, negative)
    check_names(positive, negative)
    generated = read_samples(samples, positive=positive)
    if generated.scale:
        black, white = generated.scale
        print(f"{samples}: {black} becomes black and {white} white", flush=True)
    if generated.labels is None and sample_class not in (positive, negative):
        raise CourseError(
            f"{samples} doesn't say of which class its images are (--class is {sample_class!r}): "
            f"use --class {positive!r} or --class {negative!r}."
        )
    if generated.labels is not None and sample_class:
        raise CourseError(f"{samples} says the class of each image itself: leave --class out.")
    drawn_labels = generated.labels
    if drawn_labels is None:
        drawn_labels = np.full(len(generated.greys), int(sample_class == positive))
    table = slices.table.join(_read_split(split, slices.table, data), on="file")
    trained = table["split"] == "train"
    for name, label in ((positive, 1), (negative, 0)):
        if (drawn_labels == label).any() and not (trained & (table["label"] == label)).any():
            raise CourseError(
                f"{split} names no image of class {name} as train: name those that the generator "
                "was trained on."
            )
    files.make_folder(out)
    real, drawn = preprocessing.prepare(slices.greys), preprocessing.prepare(generated.greys)
    report, sheets = {}, {}
    for name, label in ((positive, 1), (negative, 0)):
        images = drawn[drawn_labels == label]
        if not len(images):
            continue
        parts = [
            np.flatnonzero((table["label"] == label) & (table["split"] == part))
            for part in ("train", "validation")
        ]
        groups = table["group"].to_numpy()[np.concatenate(parts)]
        train, held_out = (real[part] for part in parts)
        report[name] = measures.audit_class(
            images, train, held_out, groups, 0, simulated=(slices.folder / SIMULATED).exists()
        )
        report[name]["prepared_otherwise"] = (
            preparation.find_differences(images, np.concatenate([train, held_out]))
            if "warning" not in report[name]
            else []
        )
        if "copying" in report[name]:
            copying = report[name]["copying"]
            top = np.argsort(copying["chance"])[:10]
            pairs = images[top], real[np.concatenate(parts)[copying["nearest"][top]]]
            sheet = np.concatenate([np.hstack(row[..., 0]) for row in pairs])
            grey = Image.fromarray(preprocessing.to_grey_levels(sheet))
            sheets[name] = grey.resize((grey.width * 3, grey.height * 3), 0)
    files.write_json(out / "audit.json", report)  # first: it marks the folder as an audit's
    for earlier in out.glob("closest_*.png"):  # of a class that is not audited this time
        earlier.unlink()
    for name, sheet in sheets.items():
        with files.atomic_write(out / f"closest_{name}.png") as temporary:
            sheet.save(temporary)
    return report


def _name_classes(slices: Slices, positive: str, negative: str) -> tuple[str, str]:
    """The names of both classes: those that were given, or else the labels of the data."""
    given = {"negative": negative} if negative else {}
    found = {"positive": "haemorrhage", "negative": "clear"}
    found |= class_names(slices, given) | given
    return positive or found["positive"], found["negative"]


def _read_split(path: Path, real: pd.DataFrame, data: Path) -> pd.DataFrame:
    """Group and part by file; each file of `real`, the table of `data`, is in it once."""
    if not path.is_file():
        raise CourseError(f"{path} is no file: name the one with the columns file, group, split.")
    faults = Faults()
    found = read_table(path, faults)
    faults.refuse(path)
    if missing := {"file", "group", "split"} - set(found.header):
        raise CourseError(
            f"{path} has no column {min(missing)}: it needs file, group and split in its first "
            "line."
        )
    table = pd.DataFrame(found.rows, columns=found.header, dtype=str).set_index("file")
    table = table[["group", "split", *{"label"} & set(table)]]
    names = set(real["file"])
    if unknown := names - set(table.index):
        raise CourseError(f"{path} does not name {min(unknown)} of {data}: correct one of them.")
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise CourseError(f"{path} names {twice} twice: delete one line.")
    if odd := set(table["split"]) - set(preprocessing.PARTS):
        words = ", ".join(preprocessing.PARTS)
        raise CourseError(f"{path}: {min(odd, key=str)!r} is no part: write {words}.")
    if (empty := table.index[table["group"].str.strip() == ""]).size:
        raise CourseError(
            f"{path}: the group of {empty[0]} is empty: write its patient, or a group of its own."
        )
    if "label" in table:
        told = real["file"].map(table.pop("label")).map(normalise_label)
        if set(told) <= {"0", "1"} and (wrong := told != real["label"].astype(str)).any():
            raise CourseError(
                f"{path} gives {real['file'][wrong].iloc[0]} another label than {data} does: "
                "correct one of them, or --positive."
            )
    people = table["group"].map(patient_key)
    numbers = {key: i for i, key in enumerate(sorted(set(people), key=lambda key: (len(key), key)))}
    return table.assign(group=people.map(numbers))


@folder_command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m course audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, words in (
        ("samples", "folder of generated images, or an NPY or NPZ array"),
        ("data", "folder of real images"),
        ("split", "split.csv, which names the images that the generators were trained on"),
        ("out", "folder for audit.json and a picture of the closest pairs"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=words)
    for name, label, default in (("positive", 1, "haemorrhage"), ("negative", 0, "clear")):
        words = f"label of class {label} (default: as in the data; {default}, if they have 0 and 1)"
        parser.add_argument(f"--{name}", default="", help=words)
    parser.add_argument(
        "--class", dest="sample_class", default="", help="class of all samples, if they name none"
    )
    add_folder_options(parser, leave=("positive", "given_split"))
    asked = merge_params(vars(parser.parse_args(arguments)))
    report = run(**asked)
    for name, found in report.items():
        for line in summary(found):
            print(f"{name}: {line}")
    print(f"All numbers: {files.project_path(asked['out']) / 'audit.json'}")


def summary(found: dict[str, Any]) -> list[str]:
    """What `audit_class` found, in sentences with their numbers; the first says what it means."""
    lines = [found["warning"]] if "warning" in found else []
    lines += found.get("prepared_otherwise", []) + found.get("verdict", [])
    for space, numbers in found.get("spaces", {}).items():
        where = f"in the features of the {SPACES[space]}"
        if "kid" in numbers:
            low, high = numbers["kid_ci"]
            lines.append(
                f"KID {numbers['kid']:.3f} ({low:.3f} to {high:.3f}) {where}; two halves of the "
                f"real images stay under {numbers['kid_floor']:.3f}"
            )
            lines += [
                f"{name} {numbers[name]:.2f} {where}, {numbers[f'{name}_expected']:.2f} for images "
                "of the same kind"
                for name in ("precision", "recall", "density", "coverage")
            ]
        if "realism" in numbers:
            test = numbers["realism"]
            lines.append(
                f"a simple classifier tells {test['accuracy']:.0%} of real and generated images "
                f"apart {where} (chance 50%, p = {test['p_value']:.2f})"
            )
    if "copying" in found:
        copies = found["copying"]
        low, high = copies["ci"]
        repeats = copies["repeats_p"]
        lines.append(
            f"share of copies {copies['share']:.1%} ({low:.1%} to {high:.1%}), "
            f"p = {copies['p_value']:.4f}; training images nearer than held-out ones: "
            + ("not measured" if repeats is None else f"p = {repeats:.4f}")
        )
        if copies["twins"]:
            lines.append(
                "pairs of real images of different groups that look like one picture: "
                f"{len(copies['twins'])} (twins in audit.json)"
            )
    return lines + found["refused"]
