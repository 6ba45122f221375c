"""What may spoil the answer, said before anything is trained."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from scipy.linalg import eigh
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from helpers.alignment import standardise
from helpers.folder.patients import Grouping
from helpers.folder.slices import Slices
from helpers.preprocessing import FEWEST, pad_to_square, shrink

SHORTCUT_AUC = 0.8  # over this AUC, a property such as the file's size gives the label away
LEVEL = 0.01  # of significance
PERMUTATIONS = 119  # with the true labelling 120: the smallest p-value, 1/120, is under LEVEL
IMBALANCE = 0.25  # share of the smaller class
MASK_NAME = re.compile(r"(^|[/_ -])(masks?|seg|segmentations?|annotations?)([._ /-]|$)", re.I)


def find_hazards(slices: Slices, grouping: Grouping, refused: str = "") -> list[dict[str, str]]:
    """Warnings, each with its `kind` and a `text` of one sentence.

    Args:
        slices, grouping: As read and grouped.
        refused: Why the slices cannot be split, if they cannot.
    """
    table = slices.table
    labels, groups = table["label"].to_numpy(), grouping.groups
    warnings: list[tuple[str, str]] = []

    def warn(kind: str, text: str) -> None:
        warnings.append((kind, text))

    files = table["file"].tolist()
    blank = table["blank"].to_numpy(bool)
    alike = grouping.identical + [pair[:2] for pair in grouping.proposed] + grouping.copies
    both = [p for p in alike if labels[p[0]] != labels[p[1]] and not blank[list(p)].any()]
    if both:
        some = _some(f"{files[i]} and {files[j]}" for i, j in both)
        warn("two_labels", f"{len(both)} pairs show the same picture under two labels: {some}")
    if conflicts := slices.reading.conflicts:
        text = f"{len(conflicts)} images are in the folder of the other class: {_some(conflicts)}"
        warn("folders", text)
    counts = np.bincount(labels, minlength=2)
    least = sum(FEWEST.values())
    for name, count in zip(slices.names, counts, strict=True):
        if count < least:
            warn("too_few", f"class {name} has {count} images and needs at least {least}")
    if refused and not any(kind == "too_few" for kind, _ in warnings):
        warn("too_few", refused.rstrip("."))
    if counts.min() < IMBALANCE * counts.sum():
        rare = slices.names[int(counts.argmin())]
        warn(
            "imbalance",
            f"class {rare} is {counts.min() / counts.sum():.0%} of the images: balanced accuracy "
            "decides, since plain accuracy is high if all are called the other class",
        )
    _warn_of_shortcuts(table, labels, groups, warn)
    if blank.any():
        shown = _some(np.array(files)[blank])
        text = (
            f"{blank.sum()} images are blank or nearly so: {shown}; leave_out: [blank] drops them"
        )
        warn("blank", text)
    if (masks := are_masks(table)).any():
        shown = _some(np.array(files)[masks])
        text = f"{masks.sum()} images look like masks: {shown}; leave_out: [masks] drops them"
        warn("masks", text)
    if inverted := find_inverted(slices.greys, table["border"].to_numpy()):
        shown = _some(files[i] for i in inverted)
        warn("inverted", f"{len(inverted)} images look inverted, black for white: {shown}")
    if np.quantile(table["brightest"], 0.95) < 64 and not blank.all():
        text = "nearly all images are dark: give window, the stored values of black and white"
        warn("dark", text)
    if grouping.named:
        copies = sum(len(members) - 1 for members in grouping.named)
        shown = _some(f"{files[m[0]]} and {files[m[1]]}" for m in grouping.named)
        text = f"{copies} files are named as augmented copies of {len(grouping.named)} pictures, "
        warn("augmented", text + f"and are grouped with them: {shown}")
    if new := _unknown_pairs(grouping.copies, grouping.known + grouping.named):
        shown = _some(f"{files[i]} and {files[j]}" for i, j in new)
        text = f"{len(new)} more pairs are one picture saved again (cropped, flipped, "
        warn("copies", text + f"turned or with other contrast), and are grouped: {shown}")
    if grouping.augmented:
        warn("augmented", grouping.augmented)
    _warn_of_patients(slices, warn)
    for kind, most, text in (
        ("pages", 1, "hold several pages or frames, of which the first is used"),
        ("burned_in", 0, "have text burned into the picture, as their DICOM header says"),
    ):
        values = table[kind].fillna(0).astype(int) if kind in table else pd.Series([0])
        hit = (values > most).to_numpy()
        if hit.any():
            warn(kind, f"{hit.sum()} images {text}: {_some(np.array(files)[hit])}")
    return [{"kind": kind, "text": text} for kind, text in warnings]


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


def _warn_of_shortcuts(
    table: pd.DataFrame, labels: np.ndarray, groups: np.ndarray, warn: Callable[[str, str], None]
) -> None:
    """Format, size, border and colour."""
    size = table[["width", "height"]].to_numpy(float)
    kinds = {
        "file format": pd.get_dummies(table["format"]).to_numpy(float),
        "colour mode": pd.get_dummies(table["mode"]).to_numpy(float),
        "JPEG compression": table[["quantization"]].to_numpy(float),
        "picture size": np.column_stack([size, size[:, 0] / size[:, 1]]),
        # In steps of eight levels: a frame, not an edge that is hardly brighter.
        "border": np.round(table[["border", "border_spread"]].to_numpy(float) / 8),
    }
    by_source = {name: tells_label(x, labels, groups) for name, x in kinds.items()}
    predictive = [name for name, (_, p) in by_source.items() if p < LEVEL]
    if not predictive:
        area, p = tells_label(np.column_stack([*kinds.values()]), labels, groups)
        if p < LEVEL:
            predictive, by_source["all of these"] = ["all of these"], (area, p)
    if predictive:
        words = " · ".join(f"{name} (AUC {by_source[name][0]:.2f})" for name in predictive)
        if predictive == ["all of these"]:
            words = f"{', '.join(kinds)} together (AUC {by_source['all of these'][0]:.2f})"
        warn("source", f"what is not part of the picture predicts the label: {words}")
    area, p = tells_label(table[["red", "blue"]].to_numpy(float), labels, groups)
    if p < LEVEL:
        text = f"the classes differ in colour (AUC {area:.2f}), which is thrown away: the networks "
        warn("colour", text + "see grey")


def _warn_of_patients(slices: Slices, warn: Callable[[str, str], None]) -> None:
    table = slices.table
    unknown = int(table["unknown"].sum())
    if unknown:
        text = f"{unknown} of {len(table)} images have no known patient: each is taken for its own"
        if unknown >= 0.5 * len(table) and table["patient"][~table["unknown"]].is_unique:
            text += "; cells that were merged in a spreadsheet have lost their value: fill them in"
        warn("unknown_patients", text)
    for proposal in slices.reading.proposals:
        warn("patients_proposed", proposal)
    patients = table["patient"][table["patient"] != ""].value_counts()
    if len(patients) and patients.iloc[0] >= max(10, 0.25 * len(table)) and len(patients) > 1:
        text = f"patient {patients.index[0]!r} has {patients.iloc[0]} of {len(table)} images: if "
        warn("large_patient", text + "this stands for unknown, leave it empty")


def _some(names: Iterable[str]) -> str:
    names = list(map(str, names))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
