"""Which listing a folder has, and what its columns hold, by evidence."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from helpers.files import CourseError
from helpers.folder.faults import Faults
from helpers.folder.inventory import NUMBER, VOLUMES, Files, ending, plain_number, stem
from helpers.folder.labels import (
    STANDARD,
    Classes,
    findings,
    is_absent,
    is_standard_pair,
    is_unknown,
    normalise_label,
    two_classes,
    words_in,
)  # fmt: skip
from helpers.folder.options import Options
from helpers.folder.tables import Table, read_table

LABEL_NAMES = {
    "label", "labels", "class", "target", "y", "hemorrhage", "haemorrhage", "diagnosis", "dx",
    "category", "groundtruth", "gt", "truth", "outcome", "classname", "labelname",
}  # fmt: skip
FINDINGS = {"hemorrhage", "haemorrhage", "outcome"}  # beside others, one of several labels
# Names of columns that hold patients, with any of the suffixes; case, spaces and marks don't count.
PATIENT_WORDS = (
    "patient", "patients", "patienten", "paciente", "paziente", "subject", "subj", "case",
    "participant", "person", "individual", "donor", "animal", "lesion", "study", "series", "exam",
    "examination", "pat", "pt", "volume",
)  # fmt: skip
# A lesion, a study or a series is one patient's, so it joins no strangers. But such columns may
# also number the lesions of each patient, or name the kind of examination.
PART_WORDS = ("lesion", "study", "series", "exam", "examination", "volume")
FEWEST_PARTS = 5  # values that such a column has, if it is the only one
# A tumour's stage, as in a column pT.
STAGE = re.compile(r"(yp|[pc])?t(x|is|[0-4][a-d]?)(\(.*\))?")
# Ends of the names of a person's two eyes, or sides.
SIDE = re.compile(r"(.*\d)[\s_.-]*(l|r|od|os|left|right)")
PATIENT_NAMES = {
    base + suffix
    for base in PATIENT_WORDS
    for suffix in ("", "id", "ids", "no", "nr", "number", "num", "code", "key", "name", "uid",
                   "index", "identifier", "instanceuid")
} | {"pid", "ptid", "mrn", "subid"}  # fmt: skip
# Parts of other names that patients' columns have: these are proposed, and not taken.
SAYS_PATIENT = (
    r"id$|uid|code|group|source|series|patient|pazient|pacient|subj|pseudonym|nummer|number|hash|"
    r"accession|barcode"
)
# Names of columns whose numbers may be those of images, and of columns that are no labels.
ID_NAME = re.compile(
    r"id$|^id|file|image|img|name|path|slice|scan|pic|photo|foto|frame|number|key|serial|ref|"
    r"sample|record|bild|datei|dicom|^no$|^nr$|^num$"
)
NO_LABELS = {
    "sex", "gender", "male", "female", "fold", "folds", "cv", "kfold", "age", "site", "hospital",
    "center", "centre", "scanner", "vendor", "manufacturer", "view", "position", "side",
    "laterality", "eye", "year", "date", "batch", "quality", "use", "used", "include", "included",
    "exclude", "excluded", "train", "training", "val", "validation", "test", "split", "set",
    "subset", "partition", "phase", "sexe", "sexo", "sesso", "geschlecht", "alter", "âge", "edad",
    "età", "idade", "jahr", "année", "año", "anno", "seite", "côté", "lado", "lato", "auge",
    "性別", "年齢",
}  # fmt: skip
FILLERS = {
    "is",
    "has",
    "in",
    "patient",
    "code",
    "id",
    "group",
    "type",
    "number",
}  # they add nothing
UNNAMED = re.compile(r"Unnamed: \d+.*")  # what pandas calls a column without a name
PARTS = {
    "train": ("train", "training", "trn", "tr"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst", "holdout", "hold-out", "heldout", "held-out"),
}
PART_OF = {name: part for part, names in PARTS.items() for name in names}
SHORT = {"trn", "tr", "val", "valid", "dev", "tst"}  # a class may be called so, too


class NoLabel(CourseError):
    """A table that cannot be read, or in which no column can hold the label."""


@dataclass
class Entry:
    """One image as a listing or a folder describes it; `keys` name its patient."""

    file: str
    word: str  # the label as written
    keys: list[tuple[str, str]] = field(default_factory=list)
    part: str = ""
    unknown: bool = False  # a patient column says that it doesn't know


@dataclass
class Reading:
    """What decided how a folder was read: printed, and kept with the results.

    All steps of reading add to it: `listing`, `layouts` and `reading`.
    """

    listing: str = ""  # path from the folder on; empty where folders are the classes
    separator: str = ""
    encoding: str = ""
    columns: dict[str, str | None] = field(
        default_factory=lambda: dict.fromkeys(("file", "label", "patient", "split"))
    )
    negatives: dict[str, int] = field(default_factory=dict)  # images by label of class 0
    notes: list[str] = field(default_factory=list)
    proposals: list[str] = field(default_factory=list)  # columns that may hold patients
    conflicts: list[str] = field(default_factory=list)  # files in the folder of another class
    groups: str = ""  # path of groups.csv from the folder on, if there is one


# One entry per image; what decided; and a function that makes `Classes` of the entries' words.
Labelled = tuple[list[Entry], Reading, Callable[[Sequence[str]], Classes]]


def normalise_column(name: str) -> str:
    """A column name as it is compared: letters and digits in lower case."""
    return re.sub(r"[\W_]", "", name.casefold())


def is_label_name(columns: str, options: Options) -> bool:
    """Whether a column is the label by its name; several, one for each class, always are."""
    name = normalise_column(columns)
    return ", " in columns or name in LABEL_NAMES or name == normalise_column(options.positive)


def choose_listing(files: Files, asked: str) -> str:
    """The listing's path from the folder on, or nothing where there is none.

    Raises:
        CourseError: The one asked for is missing, or there are several and none is `labels.csv`.
    """
    tables = [path for path in files.tables if not _holds_groups(path)]
    if asked.casefold() == "none":
        return ""
    if asked:
        wanted = asked.replace("\\", "/").casefold()
        matches = [p for p in tables if p.casefold() == wanted]
        matches = matches or [p for p in tables if PurePosixPath(p).name.casefold() == wanted]
        if not matches and (files.folder / asked).is_file():
            matches = [asked]
        if len(matches) != 1:
            many = "several" if matches else "no"
            raise CourseError(f"{files.folder} holds {many} {asked}: give listing as a path in it.")
        return matches[0]
    levels = [[path for path in tables if path.count("/") == depth] for depth in range(3)]
    groups = [[p for p in level if p.split("/")[-1].casefold() == "labels.csv"] for level in levels]
    for level in levels:
        groups += [[path for path in level if ending(path) in (".csv", ".tsv")], level]
    group = next(filter(None, groups), [""])
    if len(group) > 1:
        raise CourseError(
            f"{files.folder} holds several tables ({', '.join(group[:5])}): say which one lists "
            f"the images, as listing: {group[0]}, or, if the folders are the classes, listing: "
            "none; if each lists a part, join them into one labels.csv, with a column split."
        )
    return group[0]


def choose_groups(files: Files, listing: str) -> str:
    """The path of `groups.csv` from the folder on, or nothing where there is none.

    Raises:
        CourseError: There are several, or it is neither in the folder nor beside the listing.
    """
    found = [path for path in files.tables if _holds_groups(path)]
    places = {"."} | ({str(PurePosixPath(listing).parent)} if listing else set())
    if len(found) > 1 or any(str(PurePosixPath(path).parent) not in places for path in found):
        raise CourseError(
            f"{files.folder} holds {', '.join(found[:5])}: keep one groups.csv, and put it into "
            "the folder itself."
        )
    return found[0] if found else ""


def _holds_groups(path: str) -> bool:
    return normalise_column(PurePosixPath(path).name) == "groupscsv"


def read_listing(files: Files, path: str, options: Options, faults: Faults) -> Labelled | None:
    """Read a listing's lines.

    Returns:
        As described at `Labelled`; None where no column names a file in this folder
        and nothing was asked for by name.

    Raises:
        CourseError: Two readings work, or none.
    """
    if ending(path) not in (".csv", ".tsv", ""):
        raise NoLabel(f"{files.folder / path} is a spreadsheet: save it as CSV (UTF-8).")
    table = read_table(files.folder / path, faults)
    parent = str(PurePosixPath(path).parent)
    base = "" if parent == "." else parent
    header = ["" if UNNAMED.fullmatch(name) else name for name in table.header]
    table = replace(table, header=header)
    _refuse_missing_header(table, any(name and files.find(name, base) for name in header))
    hits = {
        name: [files.find(value, base) if value else [] for value in table.column(name)]
        for name in table.header
        if name
    }
    numbered = sum(stem(PurePosixPath(name).name).isdecimal() for name in files.pictures)
    file_column = _find_files(table, hits, numbered, options)
    if file_column is None:
        return None
    parts_column = _find_parts(table, file_column, options)
    patient_columns, doubtful = _find_patients(table, file_column, parts_column, options)
    others = {file_column, parts_column, *patient_columns, *doubtful}
    label_columns, words, positive = _find_labels(table, others, options)
    column = ", ".join(label_columns)
    reading = Reading(path, table.separator, table.encoding)
    reading.columns = {
        "file": file_column,
        "label": column,
        "patient": ", ".join(patient_columns) or None,
        "split": parts_column,
    }
    alone = [] if patient_columns else doubtful
    reading.proposals = _propose_patients(table, others | set(label_columns), alone)
    reading.proposals += _warn_of_sides(table, patient_columns)
    if doubtful and not alone:
        reading.notes.append(
            f"columns that are not read as the patient, since one value is in several patients: "
            f"{', '.join(doubtful)}"
        )
    if not options.label_column and (
        left := _other_labels(table, others | set(label_columns), words)
    ):
        reading.notes.append(
            f"other columns of 0 and 1, which are not read: {', '.join(left)}; label_column: "
            f"{left[0]} reads that one"
        )
    known = {normalise_label(word) for word in words if not is_unknown(word)}
    is_name = options.positive and normalise_label(options.positive) not in known
    sure = options.label_column or is_label_name(column, options)
    if is_name and is_standard_pair(known) and not sure:
        one = next((word for word in known if _is_positive_word(word)), "1")
        reading.notes.append(
            f"{one} in column {column} is read as {options.positive}; label_column names another "
            "column"
        )
    if table.encoding == "Latin-1":
        reading.notes.append("the listing is not UTF-8 and was read as Latin-1")
    pair = _pair_with_none(words)
    if pair and not {*map(normalise_label, [positive, *options.classes])} & set(pair):
        raise CourseError(
            f"{table.path}, column {reading.columns['label']}: {pair[0]!r} is read as unknown: if "
            f"it is a class, say which label is positive, as positive: '{pair[1]}'; if not, "
            "delete these lines."
        )
    levels = part_folders(files.pictures, options)
    rows = _Rows(table, file_column, parts_column, patient_columns, words, levels, pair)
    entries = rows.match(hits[file_column], faults, reading)
    if not (options.classes or normalise_label(positive) in map(normalise_label, words)):
        rows.refuse_odd_words(entries, faults)
    where = f"{table.path}, column {column}"
    if table.encoding == "Latin-1":
        where += " (read as Latin-1; if letters are wrong, save it as CSV UTF-8)"
    return entries, reading, lambda given: two_classes(given, where, positive, options.classes)


def _refuse_missing_header(table: Table, names_file: bool) -> None:
    """Refuse a first line that is data: a cell ends as a file name, or is below itself again.

    A column may be called after one of its two words, as `case` above case and control, if the line
    `names_file` nowhere.
    """
    line = table.lines[0] - 1 if table.lines else 1
    for place, name in enumerate(table.header):
        below = {normalise_label(row[place]) for row in table.rows}
        is_word = len(below) == 2 and not (names_file or is_standard_pair(below))
        if name and (ending(name) or (normalise_label(name) in below and not is_word)):
            raise CourseError(
                f"{table.path} line {max(line, 1)}: {name!r} is no column's name: begin with a "
                "header such as file,label, and have it once."
            )


def _find_files(table: Table, hits: dict[str, list], numbered: int, options: Options) -> str | None:
    """The column whose values name files in this folder; `numbered` pictures have bare numbers."""
    if options.id_column:
        return _asked(table, options.id_column, "id_column")
    strength: dict[str, int] = {}
    for name, found in hits.items():
        values = table.column(name)
        known = [value for value in values if value]
        matched = [bool(f) for f, value in zip(found, values, strict=True) if value]
        if not known or sum(matched) < 0.5 * len(known) or len(known) < 0.5 * len(values):
            continue
        named = [value for f, value in zip(found, values, strict=True) if value and f]
        numbers = sum(bool(NUMBER.fullmatch(value)) for value in named) > 0.5 * len(named)
        # Numbers say little: the labels 0 and 1 would name the files 0 and 1.
        if len(set(named)) < (max(3, 0.5 * len(named)) if numbers else 3):
            continue
        strength[name] = 1 if numbers else 2
    best = [name for name, rank in strength.items() if rank == max(strength.values())]
    if best and strength[best[0]] == 1:
        sure = [name for name in best if _looks_like_ids(table, name, numbered)]
        if not sure:
            raise NoLabel(
                f"{table.path}: the numbers in column {best[0]} could be those of images here: if "
                f"so, give id_column: {best[0]}; if not, add a column file with their names."
            )
        best = sure
        for name in hits:
            values = [value for value in table.column(name) if value]
            if sum(bool(ending(value)) for value in values) > 0.5 * len(values):
                raise CourseError(
                    f"{table.path}: {name} names files that are not here ({values[0]}), and "
                    f"{best[0]} could be numbers of those that are: if so, give id_column: "
                    f"{best[0]}."
                )
    if len(best) > 1:  # patients may be called as one of their images is
        best = [name for name in best if normalise_column(name) not in PATIENT_NAMES] or best
    if not best:
        if any(any(found) for found in hits.values()):
            some = max(hits, key=lambda name: sum(map(bool, hits[name])))
            if sum(map(bool, hits[some])) >= 3 and not _all_numbers(table.column(some)):
                return some  # its lines will be named as missing
        return None
    best.sort(key=lambda name: -sum(map(bool, hits[name])))
    for name in best[1:]:
        if any(a and b and a != b for a, b in zip(hits[best[0]], hits[name], strict=True)):
            raise CourseError(
                f"{table.path}: {best[0]} and {name} both name files in this folder: say which is "
                f"meant, as id_column: {best[0]}."
            )
    return best[0]


def _looks_like_ids(table: Table, name: str, numbered: int) -> bool:
    """Whether numbers are those of images: by the column's name, or since zeros begin them.

    Those of patients are not, where clearly more pictures have numbers than there are patients.
    """
    if normalise_column(name) in PATIENT_NAMES and numbered > 1.5 * len(set(table.column(name))):
        return False
    padded = sum(value.startswith("0") and len(value) > 1 for value in table.column(name))
    return bool(ID_NAME.search(normalise_column(name))) or padded >= 0.1 * len(table.rows)


def _all_numbers(values: list[str]) -> bool:
    return all(NUMBER.fullmatch(value) for value in values if value)


def _asked(table: Table, name: str, option: str) -> str:
    """The column of this name, as written or nearly so."""
    for form in (str.strip, normalise_column):
        for column in table.header:
            if column and form(column) == form(name):
                return column
    names = ", ".join(column for column in table.header if column)
    raise CourseError(f"{table.path} has no column {name!r}, only {names}: correct {option}.")


def _find_parts(table: Table, file_column: str, options: Options) -> str | None:
    """The column that says train, validation or test, whatever its name."""
    columns = []
    for name in table.header:
        words = {normalise_label(value) for value in table.column(name) if value} if name else set()
        if name != file_column and words and words <= set(PART_OF) and len(words) > 1:
            columns.append(name)
    if len(columns) > 1 and options.given_split:
        raise CourseError(
            f"{table.path}: {columns[0]} and {columns[1]} both name a split: delete one of them."
        )
    return columns[0] if columns else None


def _find_patients(
    table: Table, file_column: str, parts_column: str | None, options: Options
) -> tuple[list[str], list[str]]:
    """The columns that name the patient of an image; and those that only their names speak for."""
    if options.patient_column:
        return [_asked(table, options.patient_column, "patient_column")], []
    columns, stages = [], []
    for name in table.header:
        if name in ("", file_column, parts_column) or normalise_column(name) == normalise_column(
            options.label_column
        ):
            continue
        known = {normalise_label(value) for value in table.column(name) if not is_unknown(value)}
        # "case" with 0 and 1 is no person but a label.
        surely = normalise_column(name).startswith(("patient", "subject", "person", "participant"))
        if (
            normalise_column(name) in PATIENT_NAMES
            and known
            and (surely or not is_standard_pair(known))
            and normalise_label(name) not in known
        ):
            is_stage = normalise_column(name) == "pt" and all(map(STAGE.fullmatch, known))
            (stages if is_stage else columns).append(name)
    persons = [name for name in columns if not normalise_column(name).startswith(PART_WORDS)]
    doubtful = [
        name for name in columns if name not in persons and not _is_of_one(table, name, persons)
    ]
    sure = [name for name in columns if name not in doubtful]
    return sure, doubtful if sure else doubtful + stages


def _is_of_one(table: Table, name: str, persons: list[str]) -> bool:
    """Whether each value is in one patient only.

    Where no other column names patients: whether there are several values that may be patients,
    unlike names of sequences, such as T1w and FLAIR. They are called identifiers, have one form
    with a number, or are many.
    """
    values = [*map(patient_key, table.column(name))]
    if not persons:
        known = {value for value in values if not is_unknown(value)}
        forms = {re.sub(r"\d+", "0", value) for value in known}
        called = normalise_column(name).endswith("id")
        numbered = len(forms) == 1 and any("0" in form for form in forms)
        many = len(known) >= min(20, 0.2 * len(values))
        return len(known) >= FEWEST_PARTS and (called or numbered or many)
    for person in persons:
        owners = defaultdict(set)
        for value, owner in zip(values, table.column(person), strict=True):
            if not (is_unknown(value) or is_patient_unknown(owner)):
                owners[value].add(patient_key(owner))
        if any(len(found) > 1 for found in owners.values()):
            return False
    return True


def _propose_patients(table: Table, used: set, doubtful: list[str]) -> list[str]:
    """Columns that may hold patients under another name."""
    proposals = []
    for name in table.header:
        if not name or (name in used and name not in doubtful):
            continue
        values = [value for value in table.column(name) if not is_unknown(value)]
        count = len(set(values))
        says = normalise_column(name) == "group" or re.search(SAYS_PATIENT, name, re.I)
        if name in doubtful or (says and 5 <= count <= 0.75 * len(values)):
            proposals.append(
                f"column {name} has {count} values for {len(values)} images: if they are patients, "
                f"give patient_column: {name}"
            )
    return proposals


def _warn_of_sides(table: Table, patient_columns: list[str]) -> list[str]:
    """Say so where patients' names end in a side, as 01-L and 01-R, and fewer are left without."""
    said = []
    for name in patient_columns:
        known = [value for value in table.column(name) if not is_unknown(value)]
        sides = {value: match[1] for value in known if (match := SIDE.fullmatch(value.casefold()))}
        if len(sides) >= 0.9 * len(set(known)) and len(set(sides.values())) < len(sides):
            said.append(
                f"column {name} may name eyes or sides and not people, such as {min(sides)}: if it "
                "does, write the people alone into a column, and name it as patient_column"
            )
    return said


def _find_labels(table: Table, others: set, options: Options) -> tuple[list[str], list[str], str]:
    """The column or columns that hold the label, each row's word, and the positive word."""
    if options.label_column:
        name = _asked(table, options.label_column, "label_column")
    else:
        words = {
            name: {normalise_label(value) for value in table.column(name) if not is_unknown(value)}
            for name in table.header
            if name and name not in others
        }
        binary = [name for name, known in words.items() if is_standard_pair(known)]
        called, few = _label_candidates(words, binary, len(table.rows), options)
        candidates = called or few
        two = [
            name for name in table.header if name in others
            and len({*map(normalise_label, table.column(name))} - {""}) == 2
        ]  # fmt: skip
        _refuse_candidates(table, candidates, [*words, *two])
        both = [name for name in candidates if name in binary and len(words[name]) == 2]
        several = len(candidates) > 1 and not called and both == candidates
        if several and (rows := _one_column_per_class(table, candidates)):
            return candidates, rows, options.positive or _positive_column(candidates)
        name = _agreeing_column(table, candidates, binary)
        if not options.classes:
            name = _column_of_word(table, name, [*words], options.positive)
    _refuse_absent(table, name, options)
    return [name], table.column(name), options.positive


def _label_candidates(
    words: dict[str, set[str]], binary: list[str], rows: int, options: Options
) -> tuple[list[str], list[str]]:
    """The columns that are labels by their name, and those that can be labels by their words.

    Args:
        words: The known words of each column.
        binary: The columns with a pair in `STANDARD`.
        rows: How many the table has.
        options: `positive` can be the name of a column.
    """
    most = min(20, max(2, rows / 4))
    few = [name for name, known in words.items() if name in binary or 2 <= len(known) <= most]
    # Of two columns with one name, pandas calls the second label.1.
    called = [
        name for name in words if normalise_column(re.sub(r"\.\d+$", "", name)) in LABEL_NAMES
    ]
    called = [name for name in called if name in few] or called  # y may be where a box begins
    if {normalise_column(name) for name in called} <= FINDINGS and any(
        name not in called and len(words[name]) == 2 and not _is_no_label(name) for name in binary
    ):
        called = []
    if options.positive and not options.classes:
        wanted = normalise_column(options.positive)
        called += [name for name in binary if normalise_column(name) == wanted]
    return list(dict.fromkeys(called)), few


def _refuse_candidates(table: Table, candidates: list[str], columns: list[str]) -> None:
    """Refuse a table without a column for the label, or with none but such as `sex` and `age`."""
    if not candidates:
        left = ", ".join(columns) or "no other column"
        raise NoLabel(
            f"{table.path}: no column holds labels of two classes ({left}): name it as "
            "label_column, or add a column label with 0 and 1."
        )
    if all(map(_is_no_label, candidates)):
        name = candidates[0]
        raise NoLabel(
            f"{table.path}: only column {name} could hold the label, and by its name it does not: "
            f"add a column label, or, if {name} is the label, give label_column: {name}."
        )


def _is_no_label(name: str) -> bool:
    """Whether a column's name says that it holds something else, such as the sex."""
    return bool(words_in(name) & NO_LABELS) and words_in(name) <= NO_LABELS | FILLERS


def _other_labels(table: Table, used: set, label: list[str]) -> list[str]:
    """Columns of 0 and 1 that divide the images in another way than the label does."""
    words = [*map(normalise_label, label)]
    found = []
    for name in table.header:
        values = [*map(normalise_label, table.column(name))] if name and name not in used else []
        known = {value for value in values if not is_unknown(value)}
        if len(known) == 2 and is_standard_pair(known) and not _is_no_label(name):
            pairs = set(zip(values, words, strict=True))
            if len(pairs) > max(len({a for a, _ in pairs}), len({b for _, b in pairs})):
                found.append(name)
    return found


def _one_column_per_class(table: Table, candidates: list[str]) -> list[str]:
    """The class of each row, where each class has a column of 0 and 1; empty where it is not so."""
    columns = {name: [*map(normalise_label, table.column(name))] for name in candidates}
    of_rows = [
        [name for name in candidates if _is_positive_word(columns[name][row])]
        for row in range(len(table.rows))
    ]
    return [names[0] for names in of_rows] if all(len(names) == 1 for names in of_rows) else []


def _positive_column(candidates: list[str]) -> str:
    """The positive one of two class columns, where the other means absent, as `benign` does."""
    absent = [name for name in candidates if is_absent(name)]
    if len(candidates) == 2 and len(absent) == 1:
        return next(name for name in candidates if name not in absent)
    return ""


def _agreeing_column(table: Table, candidates: list[str], binary: list[str]) -> str:
    """The column that counts, if all candidates divide the images alike; best one of 0 and 1."""
    columns = {name: [*map(normalise_label, table.column(name))] for name in candidates}
    first = next((name for name in candidates if name in binary), candidates[0])
    for name in candidates:
        pairs = set(zip(columns[first], columns[name], strict=True))
        alike = len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        if not alike or (
            name in binary and any(_is_positive_word(a) != _is_positive_word(b) for a, b in pairs)
        ):
            raise CourseError(
                f"{table.path}: each of the columns {', '.join(candidates)} could hold the label: "
                f"say which, as label_column: {candidates[0]}."
            )
    return first


def _column_of_word(table: Table, name: str, columns: list[str], positive: str) -> str:
    """The column that counts, where the positive class is a word in another one than was found.

    Args:
        table: The listing.
        name: The column that was found.
        columns: All that could be the label.
        positive: The word, or nothing.

    Returns:
        The column that was found, if it does not contradict; or the one that has the word, if both
        divide the images alike, but 1 stands for the other word.

    Raises:
        CourseError: They divide the images in different ways, or a cell is empty where 1 stands for
            the other word.
    """
    wanted, values = normalise_label(positive), [*map(normalise_label, table.column(name))]
    if not positive or normalise_column(positive) == normalise_column(name):
        return name
    if any(wanted in (value, *findings(value)) for value in values):
        return name
    ones = [_is_positive_word(value) for value in values]
    having = {}
    for other in columns:
        cells = table.column(other)
        with_word = [wanted in (normalise_label(cell), *findings(cell)) for cell in cells]
        if other != name and any(with_word):
            is_known = [
                not (is_unknown(a) or is_unknown(b)) for a, b in zip(cells, values, strict=True)
            ]
            having[other] = {
                (one, word)
                for one, word, known in zip(ones, with_word, is_known, strict=True) if known
            }, all(is_known)  # fmt: skip
    pair = is_standard_pair({value for value in values if not is_unknown(value)})
    alike, reversed_ = {(False, False), (True, True)}, {(False, True), (True, False)}
    if not having or (pair and any(found <= alike for found, _ in having.values())):
        return name
    for other, (found, is_full) in having.items():
        if pair and is_full and found == reversed_:
            return other
    first = next(iter(having))
    raise CourseError(
        f"{table.path}: {positive} is a word in column {first}, and column {name} could hold the "
        f"label, too: say which one does, as label_column: {first} or label_column: {name}."
    )


def _refuse_absent(table: Table, name: str, options: Options) -> None:
    """Refuse labels where 1 seems to mean healthy, unless the user named the positive label.

    It seems so where the column is called `is_healthy`, or where another column has the word
    *healthy* in all rows with 1 and another word in all with 0.
    """
    values = [normalise_label(value) for value in table.column(name)]
    known = {value for value in values if not is_unknown(value)}
    is_named = normalise_label(options.positive) in known or normalise_column(
        options.positive
    ) == normalise_column(name)
    if is_named or not is_standard_pair(known):
        return
    one, zero = (
        next((w for w in known if _is_positive_word(w) == k), str(int(k))) for k in (True, False)
    )
    absent = [name] if is_absent(name) else []
    for other in table.header:
        pairs = (
            set(zip(values, map(normalise_label, table.column(other)), strict=True))
            if other
            else ()
        )
        if len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 2:
            meaning = dict(pairs)
            if is_absent(meaning.get(one, "")) and not is_absent(meaning.get(zero, "")):
                absent.append(meaning[one])
    if absent:
        raise CourseError(
            f"{table.path}: {one} in column {name} may mean {absent[0]}, which is unlikely to be "
            f"the positive class: say which label is positive, as positive: '{zero}', or, if {one} "
            f"is right, positive: '{one}'."
        )


def _pair_with_none(words: list[str]) -> tuple[str, ...]:
    """`none` or `-` and the other word, where they are the only two and neither is rare."""
    nones = ("none", "-")
    counts = Counter(map(normalise_label, words))
    known = [word for word in counts if word in nones or not is_unknown(word)]
    none = [word for word in nones if counts[word] > 0.1 * len(words)]
    others = [word for word in known if word not in none]
    return (none[0], others[0]) if len(none) == len(others) == 1 else ()


def _is_positive_word(text: str) -> bool:
    return text in {pair[1] for pair in STANDARD}


@dataclass
class _Rows:
    """A listing's rows with the columns that matter, to be matched with files."""

    table: Table
    file_column: str
    parts_column: str | None
    patient_columns: list[str]
    words: list[str]
    levels: list[dict[str, str]]  # of the folders that are parts
    classes: tuple[str, ...]  # words that are classes, whatever else they mean
    first_line: dict[str, int] = field(default_factory=dict)

    def match(self, hits: list[list[str]], faults: Faults, reading: Reading) -> list[Entry]:
        """An entry for each image; several lines of one image are joined where they agree."""
        of_file: dict[str, list[int]] = defaultdict(list)
        ids = self.table.column(self.file_column)
        parts = self.table.column(self.parts_column) if self.parts_column else [""] * len(ids)
        for row, found in enumerate(hits):
            place = f"line {self.table.lines[row]} ({ids[row]})"
            if len(found) > 1 and parts[row]:  # the same name in train/ and in test/
                in_part = [
                    path
                    for path in found
                    if folder_part(path, self.levels) == PART_OF[normalise_label(parts[row])]
                ]
                found = in_part if len(in_part) == 1 else found
            if not ids[row]:
                faults.add("the id is empty in {}: name the image, or delete the line", place)
            elif not found:
                faults.add(
                    "no image in the folder for {}: add the image, or delete the line", place
                )
            elif len(found) > 1:
                both = f"{place[:-1]}: {found[0]} or {found[1]})"
                faults.add("two images could be meant in {}: give the path in the folder", both)
            elif ending(found[0]) in VOLUMES:
                kind = (
                    "a volume or array, and no image, in {}: save its slices as PNG, one file per "
                )
                faults.add(kind + "slice, and list all of a volume under one patient", place)
            elif is_unknown(self.words[row]) and normalise_label(self.words[row]) not in (
                self.classes
            ):
                faults.add("the label is missing in {}: write it, or delete the line", place)
            else:
                of_file[found[0]].append(row)
                self.first_line.setdefault(found[0], self.table.lines[row])
        entries = [self._join(path, rows, ids, parts, faults) for path, rows in of_file.items()]
        joined = sum(len(rows) - 1 for rows in of_file.values())
        if joined:
            reading.notes.append(f"{joined} lines name an image again, with the same label")
        return entries

    def _join(
        self, path: str, rows: list[int], ids: list[str], parts: list[str], faults: Faults
    ) -> Entry:
        """One image's lines as one entry."""
        lines = " and ".join(str(self.table.lines[row]) for row in rows[:2])
        entry = Entry(path, self.words[rows[0]])
        if len({normalise_label(self.words[row]) for row in rows}) > 1:
            faults.add("two labels for one image in {}: keep the right line", f"lines {lines}")
        spelt = {ids[row].casefold() for row in rows}
        if len(spelt) > 1 and not _all_numbers(list(spelt)):
            faults.add("one image for two names in {}: name each image once", f"lines {lines}")
        if len({PART_OF.get(normalise_label(parts[row]), "") for row in rows}) > 1:
            faults.add("two parts for one image in {}: keep the right line", f"lines {lines}")
        entry.part = PART_OF.get(normalise_label(parts[rows[0]]), "")
        for name in self.patient_columns:
            values = self.table.column(name)
            patients = {
                patient_key(values[row]) for row in rows if not is_patient_unknown(values[row])
            }
            entry.keys += [(f"column {name}", value) for value in sorted(patients)]
        entry.unknown = bool(self.patient_columns) and not entry.keys
        return entry

    def refuse_odd_words(self, entries: list[Entry], faults: Faults) -> None:
        """A few labels beside 0 and 1 are slips, and named by line."""
        odd = min(
            (
                [entry for entry in entries if normalise_label(entry.word) not in pair]
                for pair in STANDARD
            ),
            key=len,
        )
        if 0 < len(odd) <= 0.1 * len(entries):
            for entry in odd:
                line = self.first_line[entry.file]
                kind = "two classes are supported, and neither 0 nor 1 is the label of {}: write "
                kind += "1 for the positive class and 0 for the other"
                faults.add(kind, f"line {line} ({entry.file}: {entry.word!r})")


def part_folders(paths: Sequence[str], options: Options) -> list[dict[str, str]]:
    """The names of folders that are parts, with their part, at each depth from the top.

    A short name, such as `TR`, is a part only where another part stands at the same depth. `test`
    is none where it is a class: the user names it as one, or the only folder beside it.

    Args:
        paths: Of all images, from the folder on.
        options: `positive` and `classes` count.
    """
    classes = {*map(normalise_label, [options.positive, *options.classes])}
    levels: list[dict[str, str]] = []
    beside: dict[int, set[str]] = defaultdict(set)
    for path in paths:
        for depth, name in enumerate(map(normalise_label, path.split("/")[:-1])):
            if depth == len(levels):
                levels.append({})
            word = re.sub(r"[_ -]?(set|data|images?|imgs?)$", "", name)
            beside[depth].add(name)
            if word in PART_OF:
                levels[depth][name] = PART_OF[word]
    return [
        {
            name: part
            for name, part in level.items()
            if len(set(level.values())) > 1
            or not (name in SHORT or name in classes or (len(at) == 2 and classes & at))
        }
        for level, at in zip(levels, beside.values(), strict=True)
    ]


def folder_part(path: str, levels: list[dict[str, str]]) -> str:
    """The part that a file's folders name, if they name one; `levels` as of `part_folders`."""
    names = map(normalise_label, path.split("/")[:-1])
    named = {level[name] for name, level in zip(names, levels, strict=False) if name in level}
    return named.pop() if len(named) == 1 else ""


def is_patient_unknown(value: str) -> bool:
    """Unknown values, and those that anonymising programs write for everybody."""
    return (
        is_unknown(value)
        or re.fullmatch(r"anon(ymous|ymi[sz]ed)?", normalise_label(value)) is not None
    )


def patient_key(value: str) -> str:
    """A patient's name as it is compared: P07, p7 and P-07 are one."""
    text = normalise_label(value)
    if text.isdecimal():
        return plain_number(text)
    text = re.sub(r"(?<=[^\W\d_])[\s_.-]+(?=\d)", "", text)  # between letters and a number
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)
