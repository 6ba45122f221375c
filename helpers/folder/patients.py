"""The patients in file names, and which images must stay on one side of a split."""

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from helpers import lookalikes
from helpers.files import PROJECT, CourseError
from helpers.folder.faults import Faults
from helpers.folder.inventory import plain, stem
from helpers.folder.labels import is_unknown
from helpers.folder.listing import Entry, patient_key
from helpers.folder.slices import Slices
from helpers.folder.tables import read_table
from helpers.preprocessing import join_groups, propose_lookalikes

# How file names name patients, most telling first. Each with a simpler pattern, which is proposed
# if it finds the same.
PATTERNS = (
    *((rf"(?i:(?<![a-z]){name}[_-]?)(\d+)", rf"{name}(\d+)") for name in (
        "person", "patient", "subject", "participant", "case", "pat", "subj", "sub", "pt", "pid",
        "p", "s",
    )),
    *((pattern, pattern) for pattern in (
        r"(?:^|/)([A-Za-z]{0,4}\d+)[_ -]", r"(?:^|/)([^/]*\d[^/]*)[_ -]\d+\.\w+$",
        r"([^/]+)/[^/]+$",
    )),
)  # fmt: skip
# How file names tell augmented copies: words before or after the original's name.
_WORDS = (
    r"aug(?:mented)?|flip_?(?:lr|ud|h|v|horizontal|vertical)|"
    r"(?:h|v|hor|ver|horizontal|vertical)?_?flip(?:ped)?|mirror(?:ed)?|"
    r"rot(?:ate|ated|ation)?(?:[_ -]?(?:90|180|270))?|crop(?:ped)?|zoom(?:ed)?|shift(?:ed)?|"
    r"shear(?:ed)?|transl(?:ate|ated|ation)|bright(?:er|ness)?|dark(?:er)?|contrast|noisy|noise|"
    r"blur(?:red)?|distort(?:ed)?|elastic|gamma|transformed"
)
BEFORE = re.compile(rf"^(?:{_WORDS})[_ -]+(.+)$", re.IGNORECASE)
AFTER = re.compile(rf"^(.+?)[_ -]+(?:{_WORDS})[_ -]?-?\d*(?:[_ -]\d+)*$", re.IGNORECASE)
# Copies only where the original is there too, for "benign (1)" is a picture of its own.
COPY = re.compile(r"^(.+?)(?: ?\(\d+\)| - Copy(?: \(\d+\))?|[_ -]copy\d*)$", re.IGNORECASE)
# A folder of augmented copies, and what numbers the copies of one picture there.
AUGMENTED = re.compile(r"aug(?:mented|mentations?|s)?(?:[\W_]+(?![\d\W_]).*)?", re.IGNORECASE)
NUMBERED = re.compile(r"^(.+?)[_ -]\(?\d+\)?$")
KERAS = re.compile(r"^(.+)_(\d+)_\d+$")  # what save_to_dir adds to a prefix: a number, and chance


KNOWN = PROJECT / "data" / "head-ct-hemorrhage.csv"  # file, sha256, group, why


@dataclass(frozen=True)
class Grouping:
    """Which slices stay together, and why."""

    groups: np.ndarray  # (n,) group numbers
    identical: list[tuple[int, int]]  # the same pixels twice
    proposed: list[tuple[int, int, float]]  # look-alikes with their correlation
    known: list[list[int]]  # groups given: patients, groups.csv, or the list in data/
    named: list[list[int]] = field(default_factory=list)  # augmented copies, by their file names
    # The same picture saved again: cropped, flipped, turned, with other contrast.
    copies: list[tuple[int, int]] = field(default_factory=list)
    augmented: str = ""  # a warning, where so many of them are changed that the set was augmented

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of images that look like one picture, each once."""
        found = [*self.identical, *(pair[:2] for pair in self.proposed), *self.copies]
        return list(dict.fromkeys((int(i), int(j)) for i, j in found))


def find_groups(slices: Slices) -> Grouping:
    """Join identical pixels, look-alikes, augmented copies, and what is known about the data.

    A wrong pair does little harm: it only keeps two people's slices together. A missed pair would
    leak. Known are: patients, a `groups.csv` (`file,group`) in the folder, and for the real set
    the list in `data/`, found by the files' hashes.

    Raises:
        CourseError: `groups.csv` cannot be read, or names a file that is not there.
    """
    table = slices.table
    by_key = defaultdict(list)
    for i, keys in enumerate(table["keys"]):
        for key in keys:
            by_key[key].append(i)
    _read_groups(slices, by_key)
    by_hash = pd.read_csv(KNOWN).dropna(subset="group").set_index("sha256")["group"]
    for i, digest in enumerate(table["sha256"]):
        if digest in by_hash.index:
            for group in np.unique(by_hash.loc[[digest]]):
                by_key["known", group].append(i)
    known = [members for members in by_key.values() if len(members) > 1]
    same = table.groupby("pixels").indices.values()
    identical = [(int(m[0]), int(other)) for m in same for other in m[1:]]
    named = copies_by_name(table["file"].tolist(), table["label"].tolist())
    proposed = propose_lookalikes(slices.greys)
    lookalike = lookalikes.find_lookalikes(slices.greys)
    joined = {pair[:2] for pair in proposed} | set(identical)
    copies = [pair for pair in map(tuple, lookalike.pairs.tolist()) if pair not in joined]
    pairs = identical + [pair[:2] for pair in proposed] + copies
    pairs += [(members[0], other) for members in known + named for other in members[1:]]
    groups = join_groups(len(table), pairs)
    return Grouping(groups, identical, proposed, known, named, copies, lookalike.warning)


def _read_groups(slices: Slices, by_key: dict[tuple[str, str], list[int]]) -> None:
    """Add what `groups.csv` says."""
    if not slices.reading.groups:
        return
    beside = slices.folder / slices.reading.groups
    faults = Faults()
    table = read_table(beside, faults)
    names = [name.casefold() for name in table.header]
    if not {"file", "group"} <= set(names):
        raise CourseError(f"{beside} line 1: the header must be file,group.")
    files, groups = (table.column(table.header[names.index(name)]) for name in ("file", "group"))
    position = {plain(name): i for i, name in enumerate(slices.table["file"])}
    others = {plain(name) for name in slices.unused}
    for line, name, group in zip(table.lines, files, groups, strict=True):
        key = plain(name.replace("\\", "/"))
        place = position.get(key)
        if place is not None and not is_unknown(group):
            by_key["listed", group].append(place)
        elif place is None and key not in others:
            example = slices.table.file[0]
            faults.add(f"{{}} is no image's path: write it as {example}", f"line {line}: {name}")
    faults.refuse(beside)


def read_pattern(entries: list[Entry], pattern: str) -> None:
    """Add to each entry the patient that a regular expression finds in its path.

    Raises:
        CourseError: It finds none at all.
    """
    found = []
    for entry in entries:
        match = re.search(pattern, entry.file)
        if match and (key := match[1] if match.re.groups else match[0]):
            entry.keys.append(("file name", patient_key(key)))
            found.append(key)
        entry.unknown = not entry.keys
    if len(found) > 1 and len(set(found)) == 1:
        raise CourseError(
            f"patient_pattern '{pattern}' gives every image the same patient, {found[0]}: put "
            r"brackets around the part that differs, as in 'patient(\d+)_'."
        )
    if not found:
        raise CourseError(
            f"patient_pattern '{pattern}' fits no file name, such as {entries[0].file}: correct it."
        )


def propose_pattern(files: list[str]) -> str:
    """A sentence with the pattern by which file names may tell patients, or nothing."""
    for pattern, simpler in PATTERNS:
        matches = [re.search(pattern, name) for name in files]
        keys = [match[1].casefold() for match in matches if match]
        if len(keys) < 0.95 * len(files) or not 5 <= len(set(keys)) <= 0.75 * len(keys):
            continue
        again = [re.search(simpler, name) for name in files]
        if [m and m[1] for m in matches] == [m and m[1] for m in again]:
            pattern = simpler
        return (
            f"file names may tell patients ({files[0]}: {keys[0]}; {len(set(keys))} for "
            f"{len(files)} images): if they do, give patient_pattern: '{pattern}'"
        )
    return ""


def copies_by_name(files: list[str], labels: list[int]) -> list[list[int]]:
    """Files whose names say that they are changed copies of one picture, with that picture.

    A name is one that `save_to_dir` of Keras writes (`aug_Y100_0_2052`), has a word such as
    *flip*, or ends as file managers' copies do and has its original here. In a folder such as
    `augmented`, beside other folders, numbers may follow the original's name.
    """
    stems = [plain(stem(PurePosixPath(name).name)) for name in files]
    present = {(label, name) for label, name in zip(labels, stems, strict=True)}
    inside = in_augmented(files)
    originals = {
        (label, name) for label, name, is_in in zip(labels, stems, inside, strict=True) if not is_in
    }
    members = defaultdict(list)
    copied = set()
    for i, (label, name) in enumerate(zip(labels, stems, strict=True)):
        root, is_copy = _original(name, lambda text, k=label: (k, text) in present)
        if inside[i]:
            shorter = root
            while (label, shorter) not in originals and (match := NUMBERED.match(shorter)):
                shorter = match[1]
            if (label, shorter) in originals:
                root, is_copy = shorter, True
        members[label, root].append(i)
        if is_copy:
            copied.add((label, root))
    found = [key for key in members if key in copied and len(members[key]) > 1]
    for label in set(labels):
        # T1_contrast_001 is no copy of T1: where few names make up a class, they are no pictures.
        absent = [key for key in found if key[0] == label and key not in present]
        if sum(len(members[key]) for key in absent) > 0.9 * labels.count(label) and len(absent) < 5:
            found = [key for key in found if key not in absent]
    return [members[key] for key in found]


def in_augmented(files: list[str]) -> list[bool]:
    """Which files lie in a folder of augmented copies; none where all do."""
    inside = [any(map(AUGMENTED.fullmatch, name.split("/")[:-1])) for name in files]
    return inside if not all(inside) else [False] * len(files)


def _original(name: str, present: Callable[[str], bool]) -> tuple[str, bool]:
    """The name of the picture that a file is a copy of, or its own."""
    root, is_copy = name, False
    while True:
        if match := BEFORE.match(root):
            rest = match[1]
            keras = KERAS.match(rest)
            if keras and not present(rest):
                # A prefix without a number is a whole set's, and the number tells its pictures.
                one = present(keras[1]) or re.search(r"\d", keras[1])
                rest = keras[1] if one else f"{keras[1]}_{keras[2]}"
            elif root.startswith("aug") and re.fullmatch(r"\d+_\d+", rest) and not present(rest):
                rest = rest.split("_")[0]
        else:
            match = AFTER.match(root)
            # A whole set may be called ct_contrast: a name without a number is no picture's own.
            numbered = match and re.search(r"\d", match[1])
            match = match or COPY.match(root)
            if not (match and (numbered or present(match[1]))):
                return root, is_copy
            rest = match[1]
        root, is_copy = rest, True
