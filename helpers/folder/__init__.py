"""The data contract: read a folder of images with its listing, check it, and find its groups."""

import csv
import glob
import hashlib
import re
from collections import defaultdict, namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from helpers import machine, preprocessing
from helpers.files import PROJECT, CourseError, project_path

KNOWN = PROJECT / "data" / "head-ct-hemorrhage.csv"  # file, sha256, group, why
ENDINGS = (".png", ".jpg", ".jpeg")
COLUMNS = ("id_column", "label_column", "patient_column")
LABEL_NAMES = ("hemorrhage", "haemorrhage", "label", "class", "target")
PATIENT_NAMES = ("patient", "patient_id", "subject", "subject_id", "group")


@dataclass(frozen=True)
class Slices:
    """A folder's slices as read.

    `table` has a row a slice: file, label, patient ("" if not told), mode, width, height, tinted,
    constant, sha256 (of the file), pixels (hash of the grey levels). `greys` are the pixels, in
    that order.
    """

    folder: Path
    table: pd.DataFrame
    greys: list[np.ndarray]
    unlisted: int  # images in the folder that labels.csv does not name

    @property
    def fingerprint(self) -> str:
        """One hash of all names, labels and pixels."""
        rows = self.table[["file", "label", "pixels"]].astype(str).agg("|".join, axis=1)
        return machine.digest(*[row.encode() for row in sorted(rows)])


def read_folder(
    folder: str | Path, *, id_column: str = "", label_column: str = "", patient_column: str = ""
) -> Slices:
    """Read and check `labels.csv` and every image that it names.

    Args:
        folder: Holds `labels.csv`, and PNG or JPEG files anywhere below.
        id_column: Names the file, with or without folder and ending; by default the first column.
        label_column: Holds 0 or 1; by default found by name, or the second column.
        patient_column: Whose slice it is; by default found by name, if there is one.

    Raises:
        CourseError: Whatever is wrong, in one sentence with file and line.
    """
    folder = project_path(folder)
    listing = folder / "labels.csv"
    if not folder.is_dir():
        raise CourseError(f"{folder} is not a folder: give the one that holds labels.csv.")
    if not listing.is_file():
        raise CourseError(f"{listing} is missing: write one line per image, its id and 0 or 1.")
    rows = _read_listing(listing, id_column, label_column, patient_column)
    # Unlike Path.rglob it also looks into folders that lie elsewhere and are linked.
    names = sorted(glob.iglob("**/*", root_dir=folder, recursive=True))
    images = [folder / name for name in names if name.lower().endswith(ENDINGS)]
    files = _match(folder, listing, rows, images)
    greys, described = [], []
    for row, path in zip(rows, files, strict=True):
        grey, facts = _read_image(path)
        greys.append(grey)
        name = path.relative_to(folder).as_posix()
        described.append({"file": name, "label": row.label, "patient": row.patient} | facts)
    present = sorted({row.label for row in rows})
    if present != [0, 1]:
        raise CourseError(f"{listing}: all labels are {present[0]}: two classes are needed.")
    return Slices(folder, pd.DataFrame(described), greys, len(images) - len(files))


_Row = namedtuple("_Row", "line id label patient")


def _read_listing(listing: Path, id_column: str, label_column: str, patient_column: str):
    """The checked lines of `labels.csv`."""
    try:
        text = listing.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CourseError(f"{listing} is not UTF-8 text: save it again as CSV in UTF-8.") from None
    first_line = text.split("\n", 1)[0]
    reader = csv.reader(text.splitlines(), delimiter=";" if ";" in first_line else ",")
    header = [name.strip() for name in next(reader, [])]
    if len(header) < 2:
        raise CourseError(f"{listing} line 1: a header with an id and a label column is needed.")

    def column(asked: str, usual: tuple[str, ...], otherwise: int) -> int:
        if asked and asked.strip() not in header:
            raise CourseError(
                f"{listing} has no column {asked!r}, only {', '.join(header)}: mend the name."
            )
        names = (asked.strip(),) if asked else usual
        found = [header.index(name) for name in header if name in names or name.lower() in names]
        return found[0] if found else otherwise

    patients = column(patient_column, PATIENT_NAMES, -1)
    ids = column(id_column, (), 0)
    labels = column(label_column, LABEL_NAMES, 1)
    rows = []
    for cells in reader:
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        where = f"{listing} line {reader.line_num}"
        if len(cells) <= max(ids, labels, patients):
            raise CourseError(f"{where}: {len(cells)} values where the header has {len(header)}.")
        name, label = cells[ids], cells[labels]
        if not name:
            raise CourseError(f"{where}: the id is empty: name the image, or delete the line.")
        if label not in ("0", "1", "0.0", "1.0"):
            raise CourseError(
                f"{where}: label {label!r} of image {name} is neither 0 nor 1: two classes are "
                "supported; write 1 for the one to be found and 0 for the other."
            )
        patient = cells[patients] if patients >= 0 else ""
        rows.append(_Row(reader.line_num, name, int(float(label)), patient))
    if not rows:
        raise CourseError(f"{listing} names no image: write one line per image, its id and 0 or 1.")
    return rows


def _match(folder: Path, listing: Path, rows: list[_Row], images: list[Path]) -> list[Path]:
    """The file of each row: by path, else by name, else by name without ending, else by number."""
    index = defaultdict(list)
    for path in images:
        number = str(int(path.stem)) if path.stem.isdecimal() else None
        for key in enumerate((path.relative_to(folder).as_posix(), path.name, path.stem, number)):
            index[key].append(path)
    files, taken = [], {}
    for row in rows:
        where = f"{listing} line {row.line}"
        number = str(int(row.id)) if row.id.isdecimal() else row.id
        asked = (row.id, row.id, row.id, number)
        hits = next((index[key] for key in enumerate(asked) if key in index), [])
        if not hits:
            raise CourseError(
                f"{where}: no PNG or JPEG below {folder} belongs to id {row.id}: add the image, or "
                "delete the line."
            )
        if len(hits) > 1:
            raise CourseError(
                f"{where}: id {row.id} could be {hits[0]} or {hits[1]}: give the path from the "
                "folder as its id."
            )
        if hits[0] in taken:
            raise CourseError(
                f"{where}: id {row.id} is the image of line {taken[hits[0]]} again: delete one."
            )
        taken[hits[0]] = row.line
        files.append(hits[0])
    return files


def _read_image(path: Path) -> tuple[np.ndarray, dict]:
    """Grey levels, and what is worth knowing about the file."""
    try:
        grey = preprocessing.read_grey(path)
        with Image.open(path) as image:
            mode, brightest = image.mode, int(np.max(image))
            colours = np.asarray(image.convert("RGB"), dtype=np.int16)
    except Image.DecompressionBombError:
        raise CourseError(f"{path} has too many pixels to be a slice: shrink it first.") from None
    except Exception as error:  # Pillow raises whatever it stumbles over
        raise CourseError(
            f"{path} cannot be read as an image ({error}): replace it, or delete its line."
        ) from None
    if mode.startswith("I") and 0 < brightest < 4096:  # a scanner's 12 bits, or only 8
        raise CourseError(f"{path} has greys up to {brightest} of 65535, all black: stretch them.")
    return grey, {
        "mode": mode,
        "width": grey.shape[1],
        "height": grey.shape[0],
        "tinted": bool(np.ptp(colours, axis=2).max() > 20),
        "constant": bool(np.ptp(grey) < 8),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "pixels": machine.digest(str(grey.shape).encode(), grey.tobytes()),
    }


# --- Known groups, and all of it together --------------------------------------------------------


@dataclass(frozen=True)
class Grouping:
    """Which slices stay together, and why."""

    groups: np.ndarray  # (n,) group numbers
    identical: list[tuple[int, int]]  # the same pixels twice
    proposed: list[tuple[int, int, float]]  # look-alikes with their correlation
    known: list[list[int]]  # groups told: patient column, groups.csv, or the list in data/


def find_groups(slices: Slices) -> Grouping:
    """Join identical pixels, proposed look-alikes, and what is known about the data.

    A false proposal costs nothing, for it only keeps two people's slices on one side; a missed one
    would leak. Known are: the patient column, a `groups.csv` (`file,group`) beside `labels.csv`,
    and for the real set the list in `data/`, found by the files' hashes.
    """
    table = slices.table
    told = defaultdict(list)
    for i, patient in enumerate(table["patient"]):
        if patient:
            told["patient", patient].append(i)
    beside = slices.folder / "groups.csv"
    if beside.is_file():
        try:
            listed = pd.read_csv(beside, dtype=str, keep_default_na=False)
            listed = listed.rename(columns=str.strip).apply(lambda column: column.str.strip())
        except ValueError as error:  # pandas' own errors are of this kind, and text not in UTF-8
            raise CourseError(
                f"{beside} cannot be read ({str(error).strip()}): write lines of file,group."
            ) from None
        if not {"file", "group"} <= set(listed.columns):
            raise CourseError(f"{beside} line 1: the header must be file,group.")
        position = {name: i for i, name in enumerate(table["file"])}
        for line, (name, group) in enumerate(zip(listed.file, listed.group, strict=True), start=2):
            if name not in position:
                raise CourseError(
                    f"{beside} line {line}: {name} is no image's path: write it as {table.file[0]}."
                )
            if group:
                told["listed", group].append(position[name])
    by_hash = pd.read_csv(KNOWN).dropna(subset="group").set_index("sha256")["group"]
    for i, digest in enumerate(table["sha256"]):
        if digest in by_hash.index:
            for group in np.unique(by_hash.loc[[digest]]):
                told["known", group].append(i)
    known = [members for members in told.values() if len(members) > 1]
    same = table.groupby("pixels").indices.values()
    identical = [(int(m[0]), int(other)) for m in same for other in m[1:]]
    proposed = preprocessing.propose_lookalikes(slices.greys)
    pairs = identical + [pair[:2] for pair in proposed]
    pairs += [(members[0], other) for members in known for other in members[1:]]
    return Grouping(preprocessing.join_groups(len(table), pairs), identical, proposed, known)


def refuse_inside(out: str | Path, data: str | Path) -> None:
    """Refuse to write below a folder of images, or around it, where FRESH=1 would remove it."""
    out, data = project_path(out), project_path(data)
    if out.is_relative_to(data):
        raise CourseError(f"OUT {out} lies inside DATA {data}: choose another OUT.")
    if data.is_relative_to(out):
        raise CourseError(f"DATA {data} lies inside OUT {out}: choose another OUT.")


def check_names(positive: str, negative: str) -> None:
    """Refuse names of the two classes that cannot be names of files, or are one."""
    for name in (positive, negative):
        if not (isinstance(name, str) and re.fullmatch(r"\w[\w .-]*", name)):
            raise CourseError(
                f"the class name {name!r} goes into file names: use letters, digits, spaces and -, "
                "in quotes where the name means something in YAML, as yes and 1 do."
            )
    if positive == negative:
        raise CourseError(f"both classes are called {positive!r}: give each its own name.")


def examine(folder: str | Path, seed: int, parameters: dict[str, Any]) -> tuple[np.ndarray, str]:
    """Read, group and split a folder as notebook 01 will, so that it is refused before any run.

    Args:
        folder: As in `read_folder`, whose columns may stand in `parameters`.
        seed: Of the split.
        parameters: Of notebook 01.

    Returns:
        The part that each slice belongs to, and a hash of images, labels and groups.
    """
    slices = read_folder(folder, **{name: parameters.get(name, "") for name in COLUMNS})
    groups = find_groups(slices).groups
    part = preprocessing.split_groups(slices.table["label"].to_numpy(), groups, seed)
    return part, machine.digest(slices.fingerprint.encode(), groups.tobytes())
