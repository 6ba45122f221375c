"""Which part an image belongs to: as given, by groups, or by whole patients where they are few."""

from collections.abc import Callable

import numpy as np

from helpers.files import CourseError
from helpers.folder.slices import Slices
from helpers.preprocessing import CLASS_NAMES, FEWEST, PARTS, SHARES, split_groups

FEWEST_GROUPS = 2  # of a class, in validation and in test
Split = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # labels, groups, seed: the parts


def choose_parts(
    slices: Slices,
    groups: np.ndarray,
    seed: int,
    split: Split = split_groups,
) -> np.ndarray:
    """The part of each slice: the given one where it is to be kept, or else by groups.

    Args:
        slices: As read; with `given` set, its parts are kept.
        groups: ``(n,)``: equal ones stay together.
        seed: Of the split.
        split: Function that assigns groups to parts.

    Returns:
        ``(n,)`` of "train", "validation" and "test".

    Raises:
        CourseError: Too few images or patients, or a group crosses the given split.
    """
    labels = slices.table["label"].to_numpy()
    if slices.given:
        return _keep_given(slices, labels, groups, seed, split)
    return _split(labels, groups, seed, split)


def _split(labels: np.ndarray, groups: np.ndarray, seed: int, split: Split) -> np.ndarray:
    try:
        return split(labels, groups, seed)
    except CourseError:
        parts = _whole_patients(labels, groups, seed)
        if parts is None:
            raise
        return parts


def _whole_patients(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray | None:
    """Split few patients with many slices: `FEWEST_GROUPS` of a class to test and to validation.

    Raises:
        CourseError: There are too few patients, where images would be enough.
    """
    if any(np.sum(labels == k) < sum(FEWEST.values()) for k in (0, 1)):
        return None
    names, index = np.unique(groups, return_inverse=True)
    counts = np.array([np.bincount(index[labels == k], minlength=len(names)) for k in (0, 1)])
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(counts.sum(axis=0)[order], kind="stable")]  # small ones first
    parts = np.full(len(names), "train", dtype="<U10")
    total = counts.sum(axis=1)
    for part in ("test", "validation"):
        for label in (0, 1):
            for group in order:
                held = (parts == part) & (counts[label] > 0)
                enough = counts[label][held].sum() >= round(SHARES[part] * total[label])
                if held.sum() >= FEWEST_GROUPS and enough:
                    break
                left = counts[:, parts == "train"].sum(axis=1) - counts[:, group]
                free = parts[group] == "train" and counts[label][group] > 0
                # A part gets two patients in any case; more only if enough is left to train on.
                if free and (held.sum() < FEWEST_GROUPS or (left >= 0.6 * total).all()):
                    parts[group] = part
    of_class = {k: [int(np.sum((parts == p) & (counts[k] > 0))) for p in PARTS] for k in (0, 1)}
    train = counts[:, parts == "train"].sum(axis=1)
    needed = {"train": 1, "validation": FEWEST_GROUPS, "test": FEWEST_GROUPS}
    for k, name in enumerate(CLASS_NAMES):
        short = [p for p, n in zip(PARTS, of_class[k], strict=True) if n < needed[p]]
        if short or train[k] < FEWEST["train"]:
            have = int(np.sum(counts[k] > 0))
            raise CourseError(
                f"too few patients to split: the {name} class has {int(total[k])} images of {have} "
                f"patients (or groups of like images), and needs {sum(needed.values())} patients "
                f"of its own and {FEWEST['train']} images left to train on, where {int(train[k])} "
                "would be left: add patients, or, if others were read as such, name their column "
                "as patient_column."
            )
    return parts[index]


def _keep_given(
    slices: Slices, labels: np.ndarray, groups: np.ndarray, seed: int, split: Split
) -> np.ndarray:
    """The given parts; validation comes out of training where none is given."""
    given = slices.table["given"].to_numpy().astype("<U10")
    if not set(given) >= {"train", "test"} or "" in given:
        named = ", ".join(sorted(set(given) - {""})) or "nothing"
        raise CourseError(
            f"{slices.folder}: given_split needs train and test for every image, and {named} is "
            "given: name both, or leave given_split out."
        )
    crossing = [
        slices.table["file"][groups == group].tolist()
        for group in np.unique(groups)
        if len(set(given[groups == group])) > 1
    ]
    if crossing:
        some = "; ".join(" and ".join(files[:2]) for files in crossing[:10])
        raise CourseError(
            f"{slices.folder}: {len(crossing)} groups of one patient or picture cross the given "
            f"split ({some}): move them to one side, or leave given_split out."
        )
    if "validation" not in given:
        rest = np.flatnonzero(given == "train")
        inner = _split(labels[rest], groups[rest], seed, split)
        given[rest[inner == "validation"]] = "validation"
    for part, fewest in FEWEST.items():
        for label, name in enumerate(CLASS_NAMES):
            count = int(np.sum((given == part) & (labels == label)))
            if count < fewest:
                raise CourseError(
                    f"too few images in the given split: its {part} part holds {count} of the "
                    f"{name} class and needs {fewest}: add images, or leave given_split out."
                )
    return given
