"""Reads a folder of images as the data contract of `data/README.md` says; also generated images."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from helpers.files import CourseError, project_path, unpacked_bytes
from helpers.folder.faults import Faults
from helpers.folder.hazards import are_masks
from helpers.folder.images import read_pictures
from helpers.folder.inventory import TEXTS, Files, ending, list_files
from helpers.folder.labels import Classes, normalise_label
from helpers.folder.layouts import compare_with_folders, read_class_folders
from helpers.folder.listing import (
    Entry,
    Labelled,
    NoLabel,
    Reading,
    choose_groups,
    choose_listing,
    is_patient_unknown,
    patient_key,
    read_listing,
)  # fmt: skip
from helpers.folder.options import Options
from helpers.folder.patients import propose_pattern, read_pattern
from helpers.folder.slices import Slices

ROUNDING = 0.02  # how far an array's values may lie outside of their range
LARGEST_ARRAYS = 4_000_000_000  # bytes of an NPY's or NPZ's arrays in memory


def read_folder(folder: str | Path, **options: Any) -> Slices:
    """Read a folder with a listing, or with one folder per class, and every image that is named.

    Args:
        folder: See `data/README.md` for what may be in it.
        options: Fields of `Options`, where the folder doesn't say how it is to be read.

    Raises:
        CourseError: Whatever is wrong, in one sentence with files and lines; or two readings work.
    """
    asked = Options(**options)
    folder = project_path(folder)
    if not folder.is_dir():
        if folder.suffix.lower() == ".zip" and folder.is_file():
            raise CourseError(f"{folder} is a zip file: unpack it, or use notebook 07.")
        raise CourseError(f"{folder} is not a folder: give the one that holds the images.")
    files, faults = list_files(folder), Faults()
    entries, reading, decide = _read_entries(files, asked, faults)
    source = folder / reading.listing if reading.listing else folder
    if not entries:
        faults.refuse(source)
        raise CourseError(f"{source} names no image: write one line per image, its id and 0 or 1.")
    try:
        classes: Classes = decide([entry.word for entry in entries])
    except CourseError:
        faults.refuse(source)
        raise
    left_out = [entry for entry in entries if _label(entry, classes) is None]
    entries = [entry for entry in entries if _label(entry, classes) is not None]
    if left_out:
        words = Counter(entry.word for entry in left_out)
        counts = ", ".join(f"{name} ({count})" for name, count in words.most_common(10))
        reading.notes.append(f"left out as of other classes: {counts}")
    if reading.listing:
        labels = {entry.file: _label(entry, classes) for entry in entries}
        reading.conflicts = compare_with_folders(files, labels, classes, asked, reading)
    if asked.patient_pattern:
        read_pattern(entries, asked.patient_pattern)
        sources = [reading.columns["patient"], f"file name by {asked.patient_pattern}"]
        reading.columns["patient"] = ", ".join(filter(None, sources))
    window = tuple(asked.window) or None
    names = [entry.file for entry in entries]
    greys, facts, used = read_pictures(folder, names, faults, window)
    faults.refuse(source)
    _read_dicom_patients(entries, facts, reading)
    if with_window := sum(fact["own_window"] for fact in facts):
        reading.notes.append(
            f"{with_window} DICOM files are read by the window that each names itself"
        )
    if not reading.columns["patient"] and (proposal := propose_pattern(names)):
        reading.proposals.append(proposal)
    table = pd.DataFrame(
        [_row(entry, classes) | fact for entry, fact in zip(entries, facts, strict=True)]
    )
    table, greys = _leave_out(table, greys, asked, reading)
    if len(set(table["label"])) < 2:
        raise CourseError(f"{source}: of one class no image is left: two classes are needed.")
    zeros = set(table["file"][table["label"] == 0])
    words = Counter(entry.word for entry in entries if entry.file in zeros)
    reading.negatives = dict(words.most_common())
    if len(set(map(normalise_label, words))) > 1:
        counts = ", ".join(f"{name} ({count})" for name, count in words.most_common(10))
        reading.notes.append(
            f"the class {classes.names[0]} holds several labels: {counts}; classes: [a, b] takes "
            "two of them"
        )
    ones = set(table["file"]) - zeros
    words = Counter(entry.word for entry in entries if entry.file in ones)
    if len(set(map(normalise_label, words))) > 1:
        counts = ", ".join(f"{name} ({count})" for name, count in words.most_common(10))
        reading.notes.append(
            f"the class {classes.names[1]} holds all labels with this word: {counts}"
        )
    read = set(table["file"])
    seen = Counter(ending(name).lstrip(".") or "no ending" for name in files.pictures)
    if outside := files.outside(read):
        reading.notes.append(
            f"{len(outside)} images are outside of the folder, by links in it: "
            f"{outside[0]}" + ", \N{HORIZONTAL ELLIPSIS}" * (len(outside) > 1)
        )
    if files.volumes:
        reading.notes.append(f"{len(files.volumes)} volumes and arrays are not used")
    reading.notes += _name_others(files)
    unused = [name for name in files.pictures if name not in read]
    return Slices(
        folder, table, greys, classes.names, reading, dict(seen), unused, used, asked.given_split
    )  # fmt: skip


def _read_entries(files: Files, asked: Options, faults: Faults) -> Labelled:
    """By the listing if there is one that names files here, or else by the folders."""
    listing = choose_listing(files, asked.listing)
    if not listing and not asked.listing:
        _refuse_text(files)
    found = None
    if listing:
        try:
            found = read_listing(files, listing, asked, faults)
        except NoLabel as error:
            if not _has_class_folders(files, asked):
                raise
            raise CourseError(
                f"{str(error)[:-1]}; or, if the folders are the classes, give listing: none, and "
                "write patients into groups.csv (header file,group)."
            ) from None
        if not found:
            faults.refuse(files.folder / listing)
    elif not files.pictures and not files.volumes:
        raise CourseError(
            f"{files.folder} holds no image{_what_is_there(files)}: give the folder that does."
        )
    if not found and (not asked.listing or not listing):
        found = read_class_folders(files, asked)
        if found:
            _refuse_columns(files.folder, asked)
            if listing:
                found[1].notes.append(f"{listing} names no image in this folder and is not used")
    if found:
        found[1].groups = choose_groups(files, found[1].listing)
        others = [name for name in files.tables if name not in (listing, found[1].groups)]
        if others:
            found[1].notes.append(f"tables that are not used: {', '.join(others[:5])}")
        return found
    if files.volumes and not files.pictures:
        raise CourseError(
            f"{files.folder} holds volumes or arrays ({files.volumes[0]}) and no image: save their "
            "slices as PNG, one file per slice, and list all of a volume under one patient."
        )
    if listing:
        example = files.pictures[0] if files.pictures else "none"
        others = [name for name in files.tables if name != listing]
        other = f", or name another table as listing: {others[0]}" if others else ""
        raise CourseError(
            f"{files.folder / listing}: no named column holds the names of images in this folder "
            f"(the first is {example}): write one line per image, with its name in a column file, "
            f"or name the column that has the names as id_column{other}."
        )
    if asked.listing:
        raise CourseError(
            f"{files.folder}: listing is {asked.listing}, so the folders should be the classes, "
            "but there are no two folders with images: leave listing out, or sort the images."
        )
    raise CourseError(
        f"{files.folder / 'labels.csv'} is missing{_what_is_there(files)}: write one line per "
        "image, its file and 0 or 1, or put the images of each class into a folder of its own."
    )


def _what_is_there(files: Files) -> str:
    """In brackets: the only folder with images, files that are not read, and broken links."""
    there = []
    tops = {name.split("/")[0] for name in files.pictures}
    if len(tops) == 1 and "/" in files.pictures[0]:
        there.append(f"only {tops.pop()} holds images")
    there += _name_others(files)
    if any(name.lower().endswith(".zip") for name in files.others):
        there.append("unpack the zip file")
    return f" ({'; '.join(there)})" if there else ""


def _name_others(files: Files) -> list[str]:
    """Files that cannot be read: of other kinds, and links to nothing."""
    found = []
    kinds = Counter(PurePosixPath(name).suffix.lower() or "no ending" for name in files.others)
    if kinds := Counter({kind: count for kind, count in kinds.items() if kind not in TEXTS}):
        counts = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common(5))
        found.append(f"files of other kinds, which are not read: {counts}")
    if files.broken:
        found.append(
            f"links to files that are not there: {len(files.broken)}, such as {files.broken[0]}; "
            "git-annex or DVC may have to fetch them"
        )
    return found


def _refuse_text(files: Files) -> None:
    """Refuse a text called labels, which no listing is taken from unless it is named."""
    for path in files.others:
        if re.fullmatch(r"labels?\.(txt|json)", PurePosixPath(path).name, re.IGNORECASE):
            use = f"give listing: {path}" if path[-4:].lower() == ".txt" else "save it as CSV"
            raise CourseError(
                f"{files.folder} holds {path}, which is no CSV: {use}, or, if the folders are the "
                "classes, listing: none."
            )


def _has_class_folders(files: Files, asked: Options) -> bool:
    try:
        return read_class_folders(files, asked) is not None
    except CourseError:
        return False


def _refuse_columns(folder: Path, asked: Options) -> None:
    """Refuse names of columns where no table is read."""
    for name in ("id_column", "label_column", "patient_column"):
        if column := getattr(asked, name):
            raise CourseError(
                f"{folder}: {name} is {column}, but the folders are the classes, and no table is "
                "read: leave it out (patients go into groups.csv, header file,group), or name the "
                "table as listing."
            )


def _label(entry: Entry, classes: Classes) -> int | None:
    return classes.label.get(normalise_label(entry.word))


def _row(entry: Entry, classes: Classes) -> dict[str, Any]:
    return {
        "file": entry.file,
        "label": _label(entry, classes),
        "patient": entry.keys[0][1] if entry.keys else "",
        "keys": entry.keys,
        "unknown": entry.unknown,
        "given": entry.part,
    }


def _read_dicom_patients(entries: list[Entry], facts: list[dict], reading: Reading) -> None:
    """Add the patients and studies of DICOM files; one name for all patients is not used.

    It takes `patient` and `study` out of the facts, which would otherwise replace the patient of
    the entry in the table.
    """
    titles = {"patient": "PatientID", "study": "StudyInstanceUID"}
    values = {name: [fact.pop(name, "") for fact in facts] for name in titles}
    if any(values["study"]) or any(values["patient"]):
        patients = {patient_key(v) for v in values["patient"] if not is_patient_unknown(v)}
        studies = {v for v in values["study"] if v}
        if len(patients) == 1 and len(studies) > 1 and all(values["patient"]):
            reading.notes.append("one DICOM PatientID is in all files and was not used")
            values["patient"] = [""] * len(entries)
        if len(studies) == 1 and len(patients) > 1 and all(values["study"]):
            reading.notes.append("one DICOM StudyInstanceUID is in all files and was not used")
            values["study"] = [""] * len(entries)
        for name, title in titles.items():
            for entry, value in zip(entries, values[name], strict=True):
                if not is_patient_unknown(value):
                    entry.keys.append((title, patient_key(value)))
        for entry in entries:
            entry.unknown = not entry.keys
        used = [title for name, title in titles.items() if any(values[name])]
        columns = filter(None, [reading.columns["patient"], *(f"DICOM {name}" for name in used)])
        reading.columns["patient"] = ", ".join(columns) or None


def _leave_out(
    table: pd.DataFrame, greys: list[np.ndarray], asked: Options, reading: Reading
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Drop the kinds of images that are not wanted."""
    kinds = {"blank": table["blank"].to_numpy(bool), "masks": are_masks(table)}
    drop = np.zeros(len(table), bool)
    for kind in asked.leave_out:
        reading.notes.append(f"left out: {int(kinds[kind].sum())} {kind}")
        drop |= kinds[kind]
    kept = np.flatnonzero(~drop)
    return table.iloc[kept].reset_index(drop=True), [greys[i] for i in kept]


@dataclass(frozen=True)
class Samples:
    """Images to be audited: `greys` as in `Slices`; `labels` None where they are of one class.

    `scale` are the values of an array that became black and white, if it was rescaled.
    """

    greys: list[np.ndarray]
    labels: np.ndarray | None
    scale: tuple[int, int] | None = None


def read_samples(path: str | Path, positive: str = "") -> Samples:
    """Read generated images: a folder as `read_folder` does, a flat folder, or NPY or NPZ.

    Args:
        path: A folder; or an array ``(n, height, width[, channels])`` of ``uint8``, or of floats
            from −1 to 1, 0 to 1 or 0 to 255; in NPZ the only array with three or more axes, and
            `labels` beside it, if it has more than one class.
        positive: As in `read_folder`.

    Raises:
        CourseError: It is none of these, or cannot be read without running code.
    """
    path = project_path(path)
    if path.is_file():
        return _read_array(path)
    if not path.is_dir():
        raise CourseError(f"{path} is missing: give a folder of images, or an NPY or NPZ file.")
    files = list_files(path)
    flat = files.pictures and not any("/" in name for name in files.pictures)
    if flat and not choose_listing(files, ""):
        faults = Faults()
        greys, _, _ = read_pictures(path, files.pictures, faults)
        faults.refuse(path)
        return Samples(greys, None)
    slices = read_folder(path, positive=positive)
    return Samples(slices.greys, slices.table["label"].to_numpy())


def _read_array(path: Path) -> Samples:
    try:
        if (size := unpacked_bytes(path)) > LARGEST_ARRAYS:
            raise CourseError(
                f"{path} holds arrays of {size / 1e9:,.1f} GB, and at most "
                f"{LARGEST_ARRAYS / 1e9:.0f} GB are read: save fewer images, or smaller ones."
            )
        loaded = np.load(path, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except CourseError:
        raise
    except Exception as error:  # NumPy and zipfile raise many kinds
        reason = str(error).split("\n")[0]
        raise CourseError(
            f"{path} cannot be read as NPY or NPZ without pickles ({reason}): save it again with "
            "numpy.save, as an array of numbers."
        ) from None
    images = [name for name, array in arrays.items() if array.ndim in (3, 4)]
    if len(images) != 1:
        raise CourseError(
            f"{path} holds {len(images)} arrays of images: save one, (n, height, width)."
        )
    array = arrays[images[0]]
    if array.ndim == 4 and array.shape[-1] in (3, 4):
        array = array[..., :3] @ np.array((0.299, 0.587, 0.114))
        array = np.round(array).astype(np.uint8) if arrays[images[0]].dtype == np.uint8 else array
    elif array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    elif array.ndim == 4:
        raise CourseError(
            f"{path} holds an array of shape {array.shape}, whose last number is no 1, 3 or 4: "
            "save it as (n, height, width, channels)."
        )
    labels = arrays.get("labels", arrays.get("label"))
    others = [
        name for name, a in arrays.items() if a.shape == array.shape[:1] and name not in images
    ]
    if labels is None and others:
        raise CourseError(
            f"{path} holds {others[0]} beside the images: call it labels, if it says their class, "
            "or leave it out."
        )
    wrong_labels = labels is not None and (
        labels.shape != array.shape[:1] or not set(np.unique(labels)) <= {0, 1}
    )
    if not array.size or array.dtype.kind not in "uif" or wrong_labels:
        what = "labels that are no 0 and 1 for each image" if wrong_labels else "no grey images"
        raise CourseError(f"{path} holds {what}: save an array (n, height, width) of numbers.")
    labels = None if labels is None else labels.astype(int)
    if array.dtype == np.uint8:
        return Samples(list(array), labels)
    array = array.astype(float)
    if not np.isfinite(array).all():
        raise CourseError(f"{path} holds values that are NaN or infinite: save images.")
    low, high = array.min(), array.max()
    # Images have some black: values from 0 on are not those of the range from -1 on.
    least, most = (0, 255) if high >= 2 else (-1, 1) if low <= -ROUNDING else (0, 1)
    if low <= least - ROUNDING or high >= most + ROUNDING:
        raise CourseError(
            f"{path} holds values from {low:.3g} to {high:.3g}: save them from -1 to 1, 0 to 1 "
            "or 0 to 255."
        )
    array = ((array - least) * (255 / (most - least))).clip(0, 255)
    return Samples(list(np.round(array).astype(np.uint8)), labels, (least, most))
