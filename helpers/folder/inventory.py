"""The files of a folder, and which of them a name in a listing means."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from helpers.files import CourseError
from helpers.folder import dicom

PICTURES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm",
    ".ppm", ".pnm", ".jp2", *dicom.ENDINGS,
)  # fmt: skip
VOLUMES = (
    ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".hdr", ".img", ".npy",
    ".npz", ".h5", ".hdf5", ".mat", ".svs", ".ndpi", ".czi", ".mp4", ".avi",
)  # fmt: skip
TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".ods")
TEXTS = (".txt", ".md", ".rst", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".log", ".py")
# What operating systems, archives and file servers leave behind.
LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"}
OPEN_IN_EXCEL = "~$"  # begins the name of what Excel keeps beside an open workbook
NUMBER = re.compile(r"\d+(\.0+)?")  # pandas writes whole numbers beside empty cells as 7.0


def plain_number(digits: str) -> str:
    """A whole number in digits of any script and any length, as 7 for 007."""
    return "".join(str(int(digit)) for digit in digits).lstrip("0") or "0"


def plain(text: str) -> str:
    """One form for names that people take for the same: Unicode composed, case folded."""
    return unicodedata.normalize("NFC", text).casefold()


def ending(name: str) -> str:
    """The ending of a file's name that says what it holds, in lower case, or nothing."""
    lower = name.lower()
    return max((e for e in PICTURES + VOLUMES + TABLES if lower.endswith(e)), key=len, default="")


def stem(name: str) -> str:
    """The name without such an ending; other points belong to it."""
    return name[: len(name) - len(ending(name))]


@dataclass(frozen=True)
class Files:
    """What is in a folder: paths from the folder on, with `/`, sorted.

    `others` are files of kinds that are not read, and `broken` are links to files that are not
    there.
    """

    folder: Path
    pictures: list[str]
    volumes: list[str]
    tables: list[str]
    others: list[str]
    broken: list[str]

    def outside(self, names: Iterable[str]) -> list[str]:
        """Those of the files that links lead to, out of the folder."""
        inside = os.path.join(os.path.realpath(self.folder), "")
        real = {name: os.path.realpath(self.folder / name) for name in names}
        return sorted(name for name, path in real.items() if not path.startswith(inside))

    @cached_property
    def _index(self) -> dict[str, dict]:
        by_name, by_stem, by_number = defaultdict(list), defaultdict(list), defaultdict(list)
        for path in self.pictures + self.volumes:
            name = PurePosixPath(path).name
            by_name[plain(name)].append(path)
            by_stem[plain(stem(name))].append(path)
            if stem(name).isdecimal():
                by_number[plain_number(stem(name))].append(path)
        return {"name": by_name, "stem": by_stem, "number": by_number}

    def find(self, value: str, base: str = "") -> list[str]:
        """The files that a listing's value may mean; one, if it is clear.

        Tried in this order: (1) the whole path, from the folder or from the listing's folder; (2)
        paths of which one is the end of the other; (3) the same in another case; (4) another ending
        or none; (5) a bare number. Folders in the value are never contradicted.

        Args:
            value: A path of any system, a file name with or without ending, or a number.
            base: The folder of the listing, from the folder on.
        """
        wanted = _parts(value)
        if not wanted:
            return []
        composed = unicodedata.normalize("NFC", "/".join(wanted))
        by_name = self._index["name"].get(plain(wanted[-1]), [])
        starts = {f"{base}/{composed}" if base else composed, composed}
        exact = [path for path in by_name if unicodedata.normalize("NFC", path) in starts]
        if exact:
            return exact
        if fitting := [path for path in by_name if _same_end(wanted, _parts(path))]:
            sharp = [path for path in fitting if _same_end(wanted, _parts(path), sharply=True)]
            return sharp or fitting
        bare = (*wanted[:-1], stem(wanted[-1]))
        fitting = [
            path
            for path in self._index["stem"].get(plain(bare[-1]), [])
            if _same_end(bare, (*_parts(path)[:-1], stem(_parts(path)[-1])))
        ]
        if not fitting and len(wanted) == 1 and NUMBER.fullmatch(value.strip()):
            number = plain_number(value.strip().partition(".")[0])
            fitting = self._index["number"].get(number, [])
        pictures = [path for path in fitting if ending(path) not in VOLUMES]
        return pictures or fitting


def list_files(folder: Path) -> Files:
    """Look through a folder and what it links to, leaving out what systems leave behind.

    Raises:
        CourseError: A folder in it cannot be read, or a name has characters that cannot be shown.
    """
    pictures, volumes, tables, others, broken = [], [], [], [], []
    for path, is_there in sorted(_walk(folder, "", (os.path.realpath(folder),))):
        kind = ending(path)
        # Any kind of space can be shown: a Mac puts a narrow one into the names of screenshots.
        shown = "".join(" " if unicodedata.category(c) == "Zs" else c for c in path)
        if kind in PICTURES and not shown.isprintable():
            raise CourseError(f"{folder}: the file name {path!a} cannot be shown: rename it.")
        if not is_there:
            broken.append(path)
        elif kind in PICTURES:
            pictures.append(path)
        elif kind in VOLUMES:
            volumes.append(path)
        elif kind in TABLES:
            tables.append(path)
        elif _is_dicom(folder / path):  # scanners give their files any name
            pictures.append(path)
        else:
            others.append(path)
    return Files(folder, pictures, volumes, tables, others, broken)


def _walk(folder: Path, inside: str, above: tuple[str, ...]):
    try:
        entries = sorted(os.scandir(folder / inside), key=lambda entry: entry.name)
    except OSError as error:
        raise CourseError(f"{error.filename} cannot be read: change its permissions.") from None
    for entry in entries:
        if entry.name.startswith((".", OPEN_IN_EXCEL)) or entry.name.lower() in LITTER:
            continue
        path = f"{inside}/{entry.name}" if inside else entry.name
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself
            continue
        if is_folder:
            real = os.path.realpath(entry.path)
            if real not in above:  # a link to a folder around it would never end
                yield from _walk(folder, path, (*above, real))
        elif is_file or entry.is_symlink():
            yield path, is_file


def _is_dicom(path: Path) -> bool:
    try:
        return dicom.is_dicom(path)
    except OSError:
        return False


def _parts(value: str) -> tuple[str, ...]:
    """The folders and the name in a path of any system, without drive and `./`."""
    parts = value.strip().replace("\\", "/").split("/")
    return tuple(part for part in parts if part not in ("", ".", "..") and not part.endswith(":"))


def _same_end(one: tuple[str, ...], other: tuple[str, ...], sharply: bool = False) -> bool:
    """Whether the shorter path is the end of the longer one."""
    count = min(len(one), len(other))
    form = (lambda text: unicodedata.normalize("NFC", text)) if sharply else plain
    return [*map(form, one[-count:])] == [*map(form, other[-count:])]
