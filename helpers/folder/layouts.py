"""One folder per class and no listing: finds out which level of the folders is the class."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from helpers.files import CourseError
from helpers.folder.inventory import Files
from helpers.folder.labels import (
    STANDARD,
    Classes,
    is_absent,
    is_standard_pair,
    normalise_label,
    two_classes,
)
from helpers.folder.listing import (
    Entry,
    Labelled,
    Reading,
    folder_part,
    is_label_name,
    part_folders,
)  # fmt: skip
from helpers.folder.options import Options


def read_class_folders(files: Files, options: Options) -> Labelled | None:
    """Read images whose folders are their labels; `train`, `test` and `val` are parts.

    Returns:
        As `listing.read_listing`; None where no level of folders can be the classes.

    Raises:
        CourseError: Two levels can be.
    """
    levels = part_folders(files.pictures, options)
    above = {path: _class_folders(path, levels) for path in files.pictures}
    placed = {path: folders for path, folders in above.items() if folders}
    strays = [
        path for path in files.pictures if path not in placed and not folder_part(path, levels)
    ]
    if not placed or len(strays) > 0.2 * len(above):  # in test/ there may be images without labels
        return None
    chosen = _choose(files.folder, _readings([*placed.values()], options), options)
    if chosen is None:
        return None
    reading = Reading()
    if len(placed) < len(above):
        reading.notes.append(f"{len(above) - len(placed)} images are in no class's folder")
    if deeper := _deeper(placed, chosen):
        reading.notes.append(
            f"{len(deeper)} images lie in folders inside those of a class, and are used: "
            f"{deeper[0].rsplit('/', 1)[0]}"
        )
    entries = [
        Entry(path, name, part=folder_part(path, levels))
        for path, name in zip(placed, chosen, strict=True)
    ]
    if any(entry.part for entry in entries):
        reading.columns["split"] = "folder"
    where = f"{files.folder}, whose folders are the classes"
    return (
        entries,
        reading,
        lambda given: two_classes(given, where, options.positive, options.classes),
    )


def compare_with_folders(
    files: Files, labels: dict[str, int], classes: Classes, options: Options, reading: Reading
) -> list[str]:
    """Files whose folder names another class than the listing does.

    Args:
        files, options: As read and asked.
        labels: By file, as the listing has them.
        classes: Of the listing.
        reading: How the listing was read.

    Raises:
        CourseError: Folder names are labels too, and they contradict the listing; or it is not
            certain that the column is the label and not the folders.
    """
    try:
        by_folder = read_class_folders(files, replace(options, classes=()))
    except CourseError:
        return []
    if not by_folder:
        return []
    folders = {normalise_label(entry.word): entry.word for entry in by_folder[0]}
    column = reading.columns["label"]
    doubt = CourseError(
        f"{files.folder}: the classes could be the folders {', '.join([*folders.values()][:5])}, "
        f"or the values in column {column} of {reading.listing}: say which, as listing: none for "
        f"the folders, or as label_column: {column}."
    )
    free = not (options.listing or options.label_column)
    wanted = normalise_label(options.positive)
    if len(folders) != 2:
        if free and wanted in folders and wanted not in classes.label:
            raise doubt
        return []
    named = {
        entry.file: normalise_label(entry.word) for entry in by_folder[0] if entry.file in labels
    }
    counts = Counter((name, labels[file]) for file, name in named.items())
    known = is_standard_pair(set(named.values())) or set(named.values()) <= set(classes.label)
    if known:
        truth = {pair[k]: k for pair in STANDARD for k in (0, 1)} | classes.label
        odd = [file for file, name in named.items() if truth[name] != labels[file]]
        if odd and free:
            raise CourseError(
                f"{files.folder}: the listing has another label than the folder for {len(odd)} "
                f"images, such as {odd[0]}: say which is right, as listing: none, or as listing "
                "with its name."
            )
        return odd
    usual = {name: max((0, 1), key=lambda k: counts[name, k]) for name in set(named.values())}
    odd = [file for file, name in named.items() if usual[name] != labels[file]]
    absent = [usual[name] for name in usual if is_absent(name)]
    if absent == [1] and not odd and not options.positive and is_standard_pair(set(classes.label)):
        raise CourseError(
            f"{files.folder}: {classes.names[1]} in the listing stands for the folder "
            f"{next(name for name in usual if usual[name])}, which is unlikely to be the positive "
            f"class: say which one is, as positive: '{classes.names[0]}' or positive: "
            f"'{classes.names[1]}'."
        )
    alike = len(set(usual.values())) == 2 and len(odd) <= 0.2 * len(named)
    # Images and masks have folders, too: one folder alone is no reason, unless the table is in it.
    within = set(folders) & set(map(normalise_label, reading.listing.split("/")[:-1]))
    unsure = not is_label_name(column, options) and (len(usual) > 1 or within)
    if free and ((unsure and not alike) or (wanted in folders and not (alike and usual[wanted]))):
        raise doubt
    return odd if alike else []


def _deeper(placed: dict[str, list[str]], chosen: list[str]) -> list[str]:
    """Images in a folder inside that of their class, where others lie in the class's own."""
    found = [*zip(placed.items(), chosen, strict=True)]
    below = {path: len(folders) - folders.index(name) for (path, folders), name in found}
    direct = {name for (path, _), name in found if below[path] == 1}
    return [path for (path, _), name in found if below[path] > 1 and name in direct]


def _class_folders(path: str, levels: list[dict[str, str]]) -> list[str]:
    names = path.split("/")[:-1]
    return [
        name
        for name, parts in zip(names, levels, strict=False)
        if normalise_label(name) not in parts
    ]


def _readings(folders: list[list[str]], options: Options) -> list[list[str]]:
    """Each image's class, for each level of folders that has two or more.

    Levels that divide the images in the same way count once, under the more telling names. A level
    is left out if some path contains two of its classes, as `all/yes` does where the classes are
    `yes` and `no`.
    """
    depth = min(map(len, folders))
    by_division: dict[tuple[int, ...], list[str]] = {}
    # From the top down and from the bottom up, because folders may be deeper in some branches.
    for level in (*range(depth), *range(-1, -depth - 1, -1)):
        names = [inside[level] for inside in folders]
        words = [normalise_label(name) for name in names]
        distinct = list(dict.fromkeys(words))
        clear = all(
            len(set(map(normalise_label, inside)) & set(distinct)) == 1 for inside in folders
        )
        if len(distinct) > 1 and clear:
            division = tuple(map({w: i for i, w in enumerate(distinct)}.get, words))
            says_more = (
                is_standard_pair(set(distinct)) or normalise_label(options.positive) in distinct
            )
            if division not in by_division or says_more:
                by_division[division] = names
    return [*by_division.values()]


def _choose(folder: Path, readings: list[list[str]], options: Options) -> list[str] | None:
    """The one reading that has the classes asked for, or else two classes."""
    asked = {normalise_label(text) for text in (options.classes or [options.positive]) if text}
    fitting = [names for names in readings if asked and asked <= set(map(normalise_label, names))]
    fitting = fitting or [names for names in readings if len(set(map(normalise_label, names))) == 2]
    wanted = normalise_label(options.positive)
    marked = {tuple(normalise_label(name) == wanted for name in names) for names in fitting}
    if len(marked) == 1 and any(*marked):  # all of them have the same positive images
        fitting = [min(fitting, key=lambda names: len(set(names)))]
    if len(fitting) > 1:
        first, second = (" and ".join(list(dict.fromkeys(n))[:3]) for n in fitting[:2])
        raise CourseError(
            f"{folder}: the folders {first}, or {second}, could be the classes: say which "
            f"one is positive, as positive: {fitting[0][0]}, or name both, as classes: [a, b]."
        )
    # More than two classes: `two_classes` says what there are.
    several = sorted(readings, key=lambda names: len(set(names)))
    return (fitting or [names for names in several if len(set(names)) <= 20] or [None])[0]
