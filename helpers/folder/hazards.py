"""What may spoil the answer, said before anything is trained."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from scipy.linalg import eigh

from helpers.alignment import standardise
from helpers.folder.patients import Grouping, in_augmented
from helpers.folder.slices import Slices
from helpers.preprocessing import FEWEST, pad_to_square, shrink

SHORTCUT_AUC = 0.8  # over this AUC, a property such as the file's size gives the label away
LEVEL = 0.01  # of significance
PERMUTATIONS = 119  # with the true labelling 120: the smallest p-value, 1/120, is under LEVEL
IMBALANCE = 0.25  # share of the smaller class
MANY = 5  # times as many images as patients usually have are worth a warning
MASK_NAME = re.compile(r"(^|[/_ -])(masks?|seg|segmentations?|annotations?)([._ /-]|$)", re.I)


Warnings = Iterator[tuple[str, str]]  # each of a kind, and a sentence without full stop


def find_hazards(slices: Slices, grouping: Grouping, refused: str = "") -> list[dict[str, str]]:
    """Warnings, each with its `kind` and a `text` of one sentence.

    Args:
        slices, grouping: As read and grouped.
        refused: Why the slices cannot be split, if they cannot.
    """
    found = [
        *_warn_of_labels(slices, grouping),
        *_warn_of_few(slices, refused),
        *_warn_of_shortcuts(slices.table, grouping.groups),
        *_warn_of_pictures(slices),
        *_warn_of_copies(slices, grouping),
        *_warn_of_patients(slices, grouping),
        *_warn_of_headers(slices.table),
    ]
    return [{"kind": kind, "text": text} for kind, text in found]


def _warn_of_labels(slices: Slices, grouping: Grouping) -> Warnings:
    """One picture under two labels; a folder that contradicts the listing."""
    files, labels, blank = (slices.table[name].to_numpy() for name in ("file", "label", "blank"))
    both = [p for p in grouping.pairs if labels[p[0]] != labels[p[1]] and not blank[list(p)].any()]
    if both:
        some = _some(f"{files[i]} and {files[j]}" for i, j in both)
        said = _count(len(both), "pair looks", "pairs look")
        yield "two_labels", f"{said} like the same picture, under two labels: {some}"
    for rare, common in _misspelt(slices):
        yield (
            "spelling",
            f"label {rare} looks like {common} misspelt, and counts as {slices.names[0]}: correct "
            "it, or take two labels by classes",
        )
    if conflicts := slices.reading.conflicts:
        some = _some(conflicts)
        said = _count(len(conflicts), "image is", "images are")
        yield "folders", f"{said} in the folder of the other class: {some}"


def _misspelt(slices: Slices) -> list[tuple[str, str]]:
    """Labels of class 0 with few images that look like another label, and that label."""
    negatives = slices.reading.negatives
    known = {slices.names[1]: int(slices.table["label"].sum())} | negatives
    return [
        (rare, near[0])
        for rare, count in negatives.items()
        if len(negatives) > 1 and not rare.isdecimal()
        and (others := [name for name, more in known.items() if more >= 4 * count])
        and (near := difflib.get_close_matches(rare, others, 1, cutoff=0.8))
    ]  # fmt: skip


def _warn_of_few(slices: Slices, refused: str) -> Warnings:
    """Classes that are small, or rare."""
    counts = np.bincount(slices.table["label"], minlength=2)
    least = sum(FEWEST.values())
    for name, count in zip(slices.names, counts, strict=True):
        if count < least:
            of_class = _count(count, "image", "images")
            yield "too_few", f"class {name} has {of_class} and needs at least {least}"
    if refused and counts.min() >= least:
        yield "too_few", refused.rstrip(".")
    if counts.min() < IMBALANCE * counts.sum():
        rare = slices.names[int(counts.argmin())]
        yield (
            "imbalance",
            f"class {rare} is {counts.min() / counts.sum():.0%} of the images: balanced accuracy "
            "decides, since plain accuracy is high if all are called the other class",
        )


def _warn_of_pictures(slices: Slices) -> Warnings:
    """Images that are blank, masks, inverted or dark."""
    table = slices.table
    files, blank = table["file"].to_numpy(), table["blank"].to_numpy(bool)
    if blank.any():
        said, some = _count(len(files[blank]), "image is", "images are"), _some(files[blank])
        yield "blank", f"{said} blank or nearly so: {some}; leave_out: [blank] drops them"
    if (masks := are_masks(table)).any():
        said = _count(len(files[masks]), "image looks like a mask", "images look like masks")
        advice = "leave_out: [masks] drops them"
        if masks.all():
            advice = "name the images themselves, with their folder, where they lie in another one"
        yield "masks", f"{said}: {_some(files[masks])}; {advice}"
    if inverted := find_inverted(slices.greys, table["border"].to_numpy()):
        said = _count(len(inverted), "image looks", "images look")
        yield "inverted", f"{said} inverted, black for white: {_some(files[inverted])}"
    if np.quantile(table["brightest"], 0.95) < 64 and not blank.all():
        yield (
            "dark",
            "nearly all images are dark: give window, the stored values of black and white",
        )


def _warn_of_copies(slices: Slices, grouping: Grouping) -> Warnings:
    """Images that are changed copies of others."""
    files = slices.table["file"].to_numpy()
    if grouping.named:
        count = sum(len(members) - 1 for members in grouping.named)
        some = _some(f"{files[m[0]]} and {files[m[1]]}" for m in grouping.named)
        yield (
            "augmented",
            f"{_count(count, 'file is', 'files are')} named as augmented copies of "
            f"{_count(len(grouping.named), 'picture', 'pictures')}, and grouped with them: {some}",
        )
    named = {i for members in grouping.named + grouping.known for i in members}
    alone = [i for i, inside in enumerate(in_augmented(list(files))) if inside and i not in named]
    if alone:
        said = _count(len(alone), "image lies", "images lie")
        yield (
            "augmented",
            f"{said} in a folder of augmented copies, and no name tells of which picture: "
            f"{_some(files[alone])}; group them by groups.csv, or leave the folder out",
        )
    if new := _unknown_pairs(grouping.copies, grouping.known + grouping.named):
        some = _some(f"{files[i]} and {files[j]}" for i, j in new)
        yield (
            "copies",
            f"{_count(len(new), 'more pair is', 'more pairs are')} one picture saved again "
            f"(cropped, flipped, turned or with other contrast), and grouped: {some}",
        )
    if grouping.augmented:
        yield "augmented", grouping.augmented


def _warn_of_headers(table: pd.DataFrame) -> Warnings:
    """What the files' headers say: several pages, burned-in text."""
    for kind, most, verbs, text in (
        ("pages", 1, ("holds", "hold"), "several pages or frames, of which the first is used"),
        ("burned_in", 0, ("has", "have"), "text burned into the picture, as the DICOM header says"),
    ):
        values = table[kind].fillna(0).astype(int) if kind in table else pd.Series([0])
        hit = (values > most).to_numpy()
        if hit.any():
            files = table["file"].to_numpy()[hit]
            said = _count(len(files), f"image {verbs[0]}", f"images {verbs[1]}")
            yield kind, f"{said} {text}: {_some(files)}"


def _unknown_pairs(pairs: list[tuple[int, int]], known: list[list[int]]) -> list[tuple[int, int]]:
    """The pairs that were not known to belong together, such as two slices of one patient."""
    of = defaultdict(set)
    for group, members in enumerate(known):
        for i in members:
            of[i].add(group)
    return [(i, j) for i, j in pairs if not of[i] & of[j]]


def are_masks(table: pd.DataFrame) -> np.ndarray:
    """Which images have two grey levels only, or one and the name of a mask.

    Args:
        table: With the columns `file`, `two_levels` and `constant`, as in `Slices`.

    Returns:
        ``(n,)``, bool.
    """
    named = np.array([bool(MASK_NAME.search(name)) for name in table["file"]], dtype=bool)
    return table["two_levels"].to_numpy(bool) | (named & table["constant"].to_numpy(bool))


def find_inverted(greys: list[np.ndarray], border: np.ndarray) -> list[int]:
    """Images that are the negative of what most are; none where the images have no common shape.

    Args:
        greys: As in `Slices`.
        border: ``(n,)``, mean grey level along the edges, 0 to 255.
    """
    pixels = np.stack([shrink(pad_to_square(grey), 32).ravel() for grey in greys])
    pixels = standardise(pixels.astype(float))
    common = _leading_direction(pixels)
    likeness = pixels @ common
    if np.median(np.abs(likeness)) < 0.4:
        return []
    likeness *= 1 if np.median(likeness) >= 0 else -1
    usual = np.median(border[likeness > 0]) if (likeness > 0).any() else 0
    other = np.abs(border - (255 - usual)) < np.abs(border - usual)
    return np.flatnonzero((likeness < -0.3) & other).tolist()


def _leading_direction(rows: np.ndarray) -> np.ndarray:
    """The direction in which rows are largest, of length 1, by the smaller of both products."""
    wide = len(rows) < rows.shape[1]
    product = rows @ rows.T if wide else rows.T @ rows
    vector = eigh(product, subset_by_index=[len(product) - 1] * 2)[1][:, 0]
    vector = rows.T @ vector if wide else vector
    return vector / (np.linalg.norm(vector) + 1e-9)


def tells_label(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray
) -> tuple[float, float]:
    """Whether file properties predict the label of images that the tree was not fitted on.

    One image of each group and class counts, so that a patient with many files counts once.

    Args:
        features: ``(n, d)``.
        labels: ``(n,)``, 0 or 1.
        groups: ``(n,)``.

    Returns:
        Area under the ROC curve of a small tree in five-fold cross-validation, and its p-value
        from permuted labels; 1 where the area is at most `SHORTCUT_AUC`, or there are too
        few images.
    """
    # To load these takes a second, in which a folder that is refused would wait.
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    _, first = np.unique(np.stack([groups, labels]), axis=1, return_index=True)
    x, y = features[first], labels[first]
    if np.bincount(y, minlength=2).min() < 8 or not np.ptp(x, axis=0).any():
        return 0.5, 1.0
    tree = DecisionTreeClassifier(max_depth=3, min_samples_leaf=3, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)

    def area(y: np.ndarray) -> float:
        called = cross_val_predict(tree, x, y, cv=folds, method="predict_proba")[:, 1]
        return float(roc_auc_score(y, called))

    observed = area(y)
    if observed <= SHORTCUT_AUC:
        return observed, 1.0
    rng = np.random.default_rng(0)
    chance = [area(rng.permutation(y)) for _ in range(PERMUTATIONS)]
    return observed, (1 + sum(value >= observed for value in chance)) / (1 + PERMUTATIONS)


def _warn_of_shortcuts(table: pd.DataFrame, groups: np.ndarray) -> Warnings:
    """Format, stored range, size, border and colour."""
    labels, size = table["label"].to_numpy(), table[["width", "height"]].to_numpy(float)
    kinds = {
        "file format": pd.get_dummies(table["format"]).to_numpy(float),
        "colour mode": pd.get_dummies(table["mode"]).to_numpy(float),
        "JPEG compression": table[["quantization"]].to_numpy(float),
        "stored range": table[["bits"]].to_numpy(float),
        "picture size": np.column_stack([size, size[:, 0] / size[:, 1]]),
        # In steps of eight levels: a frame, not an edge that is hardly brighter.
        "border": np.round(table[["border", "border_spread"]].to_numpy(float) / 8),
    }
    by_source = {name: tells_label(x, labels, groups) for name, x in kinds.items()}
    predictive = [name for name, (_, p) in by_source.items() if p < LEVEL]
    words = " · ".join(f"{name} (AUC {by_source[name][0]:.2f})" for name in predictive)
    if not predictive:
        area, p = tells_label(np.column_stack([*kinds.values()]), labels, groups)
        words = f"{', '.join(kinds)} together (AUC {area:.2f})" if p < LEVEL else ""
    if words:
        yield "source", f"what is not part of the picture predicts the label: {words}"
    area, p = tells_label(table[["red", "blue"]].to_numpy(float), labels, groups)
    if p < LEVEL:
        yield (
            "colour",
            f"the classes differ in colour (AUC {area:.2f}), which is thrown away: the networks "
            "see grey",
        )


def _warn_of_patients(slices: Slices, grouping: Grouping) -> Warnings:
    """Patients that are unknown, not named as such, or have very many images."""
    table = slices.table
    unknown = int(table["unknown"].sum())
    if unknown:
        text = f"{unknown} of {len(table)} images have no known patient: each is taken for its own"
        if unknown >= 0.5 * len(table) and table["patient"][~table["unknown"]].is_unique:
            text += "; cells that were merged in a spreadsheet have lost their value: fill them in"
        yield "unknown_patients", text
    for proposal in slices.reading.proposals:
        yield "patients_proposed", proposal
    if not (slices.reading.columns["patient"] or slices.reading.proposals or grouping.known):
        column = "patient_column, " if slices.reading.listing else ""
        yield (
            "unknown_patients",
            "no patients are known: if some have several images, all scores will be too high; name "
            f"them by {column}patient_pattern or groups.csv (header file,group)",
        )
    patients = table["patient"][table["patient"] != ""].value_counts()
    many = min(0.25 * len(table), MANY * patients.median()) if len(patients) else 0
    if len(patients) > 1 and patients.iloc[0] >= max(10, many):
        yield (
            "large_patient",
            f"patient {patients.index[0]!r} has {patients.iloc[0]} of {len(table)} images: if this "
            "stands for unknown, leave it empty",
        )


def _count(number: int, one: str, many: str) -> str:
    """The number, with the words for one of them or for several."""
    return f"{number} {one if number == 1 else many}"


def _some(names: Iterable[str]) -> str:
    names = list(map(str, names))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
