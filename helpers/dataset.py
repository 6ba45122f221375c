"""From a folder of images to prepared slices: read, check, group, split, prepare."""

import argparse
import csv
import glob
import hashlib
import re
import sys
from collections import defaultdict, namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from helpers import phantom, runtime
from helpers.runtime import CourseError

KAGGLE_NAME = "felipekitamura/head-ct-hemorrhage"
KNOWN = runtime.PROJECT / "data" / "head-ct-hemorrhage.csv"  # file, sha256, group, why
ENDINGS = (".png", ".jpg", ".jpeg")
COLUMNS = ("id_column", "label_column", "patient_column")
LABEL_NAMES = ("hemorrhage", "haemorrhage", "label", "class", "target")
PATIENT_NAMES = ("patient", "patient_id", "subject", "subject_id", "group")
PARTS = ("train", "validation", "test")
SHARES = {"test": 22 / 200, "validation": 34 / 200}  # of each class, as published; the rest trains
FEWEST = {"train": 16, "validation": 2, "test": 2}  # of each class; 16 is one batch of the GAN


# --- Prepare: one slice from a file to what the networks see (taught in notebook 01) -------------


def read_grey(path: Path) -> np.ndarray:
    """One image file of any mode as grey levels.

    Transparency is laid over black, as air is on a CT; 16-bit greys keep their upper 8 bits; a
    photograph's turn (EXIF) is applied.

    Returns:
        ``(height, width)``, ``uint8``, 0 black to 255 white.
    """
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            return (np.asarray(image).clip(0, 65535) // 256).astype(np.uint8)
        layers = image.convert("RGBA")
        black = Image.new("RGBA", layers.size, "black")
        return np.asarray(Image.alpha_composite(black, layers).convert("L"))


def pad_to_square(grey: np.ndarray) -> np.ndarray:
    """Add black on both sides of the shorter edge, so that resizing keeps the head's shape.

    Args:
        grey: ``(height, width)``, ``uint8``.

    Returns:
        ``(side, side)`` with ``side = max(height, width)``; the old pixels stand in the middle.
    """
    height, width = grey.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(grey, ((top, side - height - top), (left, side - width - left)))


def shrink(grey: np.ndarray, size: int) -> np.ndarray:
    """Resize a square slice with a filter that averages what it leaves out (no aliasing).

    Returns:
        ``(size, size)``, ``uint8``.
    """
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.LANCZOS))


def to_tanh_range(images: np.ndarray) -> np.ndarray:
    """Rescale grey levels to the interval that a tanh generator can draw.

    Args:
        images: Any shape, ``uint8``, 0 to 255.

    Returns:
        Same shape, ``float32``, -1 to 1.

    Raises:
        TypeError: Not ``uint8``; images scaled already would be squashed twice.

    Source: Radford et al. 2016, arXiv:1511.06434, section 4: scaling to the range of the tanh.
    """
    if images.dtype != np.uint8:
        raise TypeError(f"grey levels must be uint8, 0 to 255, not {images.dtype}")
    return images.astype(np.float32) / 127.5 - 1.0


def to_grey_levels(images: np.ndarray) -> np.ndarray:
    """From -1 to 1 back to ``uint8``, 0 black to 255 white."""
    return np.round((np.clip(images, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def prepare(greys: list[np.ndarray], size: int = 32) -> np.ndarray:
    """Pad, shrink and rescale slices of any size.

    Returns:
        ``(n, size, size, 1)``, ``float32``, -1 to 1.
    """
    return to_tanh_range(np.stack([shrink(pad_to_square(grey), size) for grey in greys])[..., None])


def fresh_slices(n: int, seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Simulated slices never seen before, prepared like any others.

    Returns:
        Images ``(n, size, size, 1)`` in -1 to 1, and labels ``(n,)``, 1 for a bleed.
    """
    drawn, labels = phantom.draw_slices(n, seed)
    return prepare(list(drawn), size), labels


# --- Group: which slices must stay together (taught in notebook 01) ------------------------------


def propose_lookalikes(
    greys: list[np.ndarray], least_correlation: float = 0.975, most_bits: int = 8
) -> list[tuple[int, int, float]]:
    """Pairs of slices so alike that they may be one picture, or neighbours in one head.

    Two measures must agree, for either alone joins different people: the correlation of the
    prepared pixels, and the number of differing bits of a 64-bit perceptual hash. Both limits were
    set on the real set, where they find nine of nine known pairs and nothing false; a series of
    slices through one head they do not find, nor does any other limit.

    Returns:
        ``(i, j, correlation)`` with ``i < j``, most alike first.
    """
    pixels = prepare(greys).reshape(len(greys), -1)
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True) + 1e-9
    correlation = pixels @ pixels.T
    hashes = np.array([imagehash.phash(Image.fromarray(grey)).hash.ravel() for grey in greys])
    signs = np.where(hashes, 1.0, -1.0)
    bits = (hashes.shape[1] - signs @ signs.T) / 2  # where two signs differ, their product is -1
    alike = (correlation >= least_correlation) & (bits <= most_bits)
    first, second = np.nonzero(np.triu(alike, 1))
    pairs = [(int(i), int(j), float(correlation[i, j])) for i, j in zip(first, second, strict=True)]
    return sorted(pairs, key=lambda pair: -pair[2])


def join_groups(count: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Number the groups that pairs join: a friend's friend is in the group too.

    Returns:
        ``(count,)`` group numbers from 0, in order of first appearance.
    """
    first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def split_groups(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Deal whole groups to test, validation and training, each class by its published share.

    Groups of one slice are dealt first, so that validation and test hold one slice a group while
    there are enough. A group of more than a quarter of its class's places in a part is let in only
    where smaller ones leave some empty, and one of more than half never: no part is made of one
    patient. The rest trains.

    Args:
        labels: ``(n,)``, 0 or 1.
        groups: ``(n,)``, any numbers; equal ones stay together.
        seed: Of the order in which groups are dealt.

    Returns:
        ``(n,)`` of "train", "validation" and "test".

    Raises:
        CourseError: A part would hold too few of a class.
    """
    rng = np.random.default_rng(seed)
    names, sizes = np.unique(groups, return_counts=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(sizes[order], kind="stable")]
    places = {
        part: np.round(share * np.bincount(labels, minlength=2)) for part, share in SHARES.items()
    }
    room = dict(places)
    parts = np.full(len(labels), "train", dtype="<U10")
    for at_most in (1 / 4, 1 / 2):  # of a part; larger groups only where places are left empty
        for group in names[order]:
            members = groups == group
            counts = np.bincount(labels[members], minlength=2)
            for part in room:
                allowed = np.minimum(room[part], np.maximum(1, at_most * places[part]))
                if (parts[members] == "train").all() and (counts <= allowed).all():
                    parts[members] = part
                    room[part] = room[part] - counts
    for part, fewest in FEWEST.items():
        for label in (0, 1):
            found = int(np.sum((parts == part) & (labels == label)))
            if found < fewest:
                raise CourseError(
                    f"too few images to split: the {part} part would hold {found} of class {label} "
                    f"and needs {fewest}; add images of this class, or more patients."
                )
    return parts


# --- Read: the data contract ---------------------------------------------------------------------


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
        return runtime.digest(*[row.encode() for row in sorted(rows)])


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
    folder = runtime.project_path(folder)
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
        grey = read_grey(path)
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
        "pixels": runtime.digest(str(grey.shape).encode(), grey.tobytes()),
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
    proposed = propose_lookalikes(slices.greys)
    pairs = identical + [pair[:2] for pair in proposed]
    pairs += [(members[0], other) for members in known for other in members[1:]]
    return Grouping(join_groups(len(table), pairs), identical, proposed, known)


def refuse_inside(out: str | Path, data: str | Path) -> None:
    """Refuse to write below a folder of images, or around it, where FRESH=1 would remove it."""
    out, data = runtime.project_path(out), runtime.project_path(data)
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
    part = split_groups(slices.table["label"].to_numpy(), groups, seed)
    return part, runtime.digest(slices.fingerprint.encode(), groups.tobytes())


@dataclass(frozen=True)
class Prepared:
    """What notebook 01 leaves for the others: `images` (n, 32, 32, 1) and `split.csv`'s table."""

    images: np.ndarray
    table: pd.DataFrame

    def part(self, name: str, label: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of a part, or of one class in it."""
        chosen = (self.table["split"] == name).to_numpy()
        if label is not None:
            chosen = chosen & (self.table["label"] == label).to_numpy()
        return self.images[chosen], self.table["label"].to_numpy()[chosen]


def save_prepared(out: Path, prepared: Prepared) -> None:
    """Write `prepared.npz` and `split.csv` (file, label, group, split)."""
    with runtime.whole_file(out / "prepared.npz") as temporary:
        np.savez_compressed(temporary, images=prepared.images)
    with runtime.whole_file(out / "split.csv") as temporary:
        prepared.table[["file", "label", "group", "split"]].to_csv(temporary, index=False)


def load_prepared(out: Path) -> Prepared:
    """What `save_prepared` wrote."""
    with np.load(runtime.need(out / "prepared.npz", "01_preprocessing")) as saved:
        return Prepared(saved["images"], pd.read_csv(out / "split.csv"))


# --- The real set --------------------------------------------------------------------------------


def fetch() -> Path:
    """Download the real set from Kaggle (no login needed) and check every file's hash."""
    try:
        import kagglehub
    except ImportError:
        raise CourseError("kagglehub is missing: .venv/bin/pip install -e '.[kaggle]'.") from None
    try:
        folder = Path(kagglehub.dataset_download(KAGGLE_NAME))
    except Exception as error:  # kagglehub passes on whatever its network layer raises
        reason = str(error).split("\n")[0]
        raise CourseError(
            f"Kaggle's {KAGGLE_NAME} could not be downloaded ({reason}): try again, or download it "
            "with a browser and give its folder as DATA."
        ) from error
    found = set(read_folder(folder).table["sha256"])
    missing = set(pd.read_csv(KNOWN)["sha256"]) - found
    if missing:
        raise CourseError(
            f"{folder}: {len(missing)} of 200 files differ from the ones described in data/: "
            "Kaggle's copy has changed, so the known duplicates cannot be relied on."
        )
    return folder


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """Let a command take the columns of `labels.csv` by name, as `read_folder` does."""
    for name in COLUMNS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, default="", help="in labels.csv, if it has another name")


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """`python -m helpers.dataset fetch`, or `check FOLDER`."""
    parser = argparse.ArgumentParser(prog="python -m helpers.dataset", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="download the real 200 slices from Kaggle")
    check = commands.add_parser("check", help="read a folder and say what is in it")
    check.add_argument("folder")
    add_column_options(check)
    asked = parser.parse_args(arguments)
    if asked.command == "fetch":
        print(f"200 files, every hash as expected. Now: make course DATA={fetch()}")
        return
    slices = read_folder(asked.folder, **{name: getattr(asked, name) for name in COLUMNS})
    grouping = find_groups(slices)
    split_groups(slices.table["label"].to_numpy(), grouping.groups, 0)
    print(
        f"{len(slices.table)} images ({int(slices.table['label'].sum())} of class 1) in "
        f"{len(np.unique(grouping.groups))} groups; {len(grouping.proposed)} look-alike pairs; "
        f"{slices.unlisted} images not in labels.csv."
    )


if __name__ == "__main__":
    sys.exit(main())
