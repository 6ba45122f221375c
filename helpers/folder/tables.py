"""A listing as text cells: encoding and separator found by evidence, or refused."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from helpers.files import CourseError
from helpers.folder.faults import Faults

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LARGEST = 100_000_000  # bytes
# First bytes of files that are no text, whatever their names say.
NO_TEXT = {
    b"PK\x03\x04": "an Excel workbook or archive: save it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save it as CSV (UTF-8)",
    b"version https://git-lfs": "a pointer of Git LFS, not the file: fetch it with git lfs pull",
    b"<": "a web page, not a listing: download the file itself",
}


@dataclass(frozen=True)
class Table:
    """A listing's cells, all of them text without spaces around."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]  # where each row ends in the file, counted from 1
    separator: str
    encoding: str

    def column(self, name: str) -> list[str]:
        """The cells below one name."""
        place = self.header.index(name)
        return [row[place] for row in self.rows]


def read_table(path: Path, faults: Faults) -> Table:
    """Read a CSV of any usual separator and encoding; lines of another length become faults.

    Raises:
        CourseError: It is no text, too large, has no header of two names, or two ways to cut its
            lines into cells work.
    """
    if path.stat().st_size > LARGEST:
        raise CourseError(f"{path} is larger than {LARGEST // 10**6} MB: is it the listing?")
    data = path.read_bytes()
    for start, what in NO_TEXT.items():
        if data.lstrip().startswith(start):
            raise CourseError(f"{path} is {what}.")
    text, encoding = _decode(path, data)
    named = re.match(r'"?sep=(.)"?\r?\n', text)  # Excel's own first line
    skipped = 1 if named else 0
    text = text[named.end() :] if named else text
    if re.match(r'\s*"?#+\s', text):
        raise CourseError(
            f"{path} begins with #, as a comment does: delete this line, or, if it is the header, "
            "the #."
        )
    separator, lines = _cut(path, text, named[1] if named else "")
    lines = [(number + skipped, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise CourseError(f"{path} names no image: write one line per image, its id and 0 or 1.")
    (first, header), rows = lines[0], lines[1:]
    if sum(map(bool, header)) < 2:
        raise CourseError(f"{path} line {first}: a header with an id and a label column is needed.")
    for name in header:
        if name and header.count(name) > 1:
            raise CourseError(f"{path} line {first}: two columns are called {name!r}: rename one.")
    whole = []
    for number, cells in rows:
        if len(cells) == len(header):
            whole.append((number, cells))
        else:
            kind = f"a line must have {len(header)} values, as the header has: correct {{}}"
            faults.add(kind, f"line {number} ({len(cells)} values)")
    if not rows:
        raise CourseError(f"{path} names no image: write one line per image, its id and 0 or 1.")
    return Table(path, header, [c for _, c in whole], [n for n, _ in whole], separator, encoding)


def _decode(path: Path, data: bytes) -> tuple[str, str]:
    """The text, and the encoding that fits it: UTF-8, UTF-16, or else Latin-1 as Windows has it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ("utf-16",)
    elif data[1:2] == b"\0":
        encodings = ("utf-16-le",)
    elif data[:1] == b"\0":
        encodings = ("utf-16-be",)
    else:
        encodings = ("utf-8-sig", "cp1252", "latin-1")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        text = text.rstrip("\x1a")  # the end of a file in DOS
        if not re.search(r"[\0-\b\x0e-\x1f]", text):
            names = {"utf-8-sig": "UTF-8", "cp1252": "Latin-1", "latin-1": "Latin-1"}
            return text.lstrip("\ufeff"), names.get(encoding, encoding.upper())
    raise CourseError(f"{path} is no text: save the listing again as CSV in UTF-8.")


def _cut(path: Path, text: str, named: str) -> tuple[str, list[tuple[int, list[str]]]]:
    """The separator's name, and each line's number and cells."""
    if named:
        return SEPARATORS.get(named, repr(named)), _cells(path, text, named)
    cut, broken = {}, None
    for mark in SEPARATORS:
        if mark in text:
            try:
                cut[mark] = _cells(path, text, mark)
            except CourseError as error:
                broken = error
    lengths = {
        mark: [len(cells) for _, cells in lines if any(cells)] for mark, lines in cut.items()
    }
    # A separator cuts the header in two or more, and every line into as many.
    works = [mark for mark, found in lengths.items() if found and min(found) == max(found) > 1]
    if len(works) > 1:
        # Cells that contain another separator are in quotes, or all lines have it: not clear.
        names = " or ".join(SEPARATORS[mark] for mark in works)
        raise CourseError(
            f"{path} could be separated by {names}: begin it with a line sep=; or the like."
        )
    if works:
        return SEPARATORS[works[0]], cut[works[0]]
    spaced = [
        (number, line.split())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    counts = {len(cells) for _, cells in spaced}
    if len(counts) == 1 and min(counts) > 1 and '"' not in text:
        return "space", spaced
    headed = {mark: found for mark, found in lengths.items() if found and found[0] > 1}
    if broken and not headed:
        raise broken
    if not headed:
        raise CourseError(f"{path} line 1: a header with an id and a label column is needed.")
    best = max(headed, key=lambda mark: headed[mark].count(headed[mark][0]))
    return SEPARATORS[best], cut[best]


def _cells(path: Path, text: str, separator: str) -> list[tuple[int, list[str]]]:
    # Strict, since a quotation mark left open would swallow all lines after it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines = []
    try:
        for cells in reader:
            lines.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise CourseError(f"{path} line {reader.line_num}: {error}: correct this line.") from None
    return lines
