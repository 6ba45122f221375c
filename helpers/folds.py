"""Folds of a set in whole groups, random shares of a training part, weights of images."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from helpers.files import CourseError

FOLDS = 8  # fewer where a class has fewer groups
FEWEST_IN_SHARE = 4  # images of a class in a random share; a gain measured on fewer says nothing


@dataclass(frozen=True)
class Fold:
    """One fold: which images train and which are tested, and random shares of the training part."""

    train: np.ndarray  # (n,), bool
    test: np.ndarray  # (n,), bool
    quarters: list[np.ndarray]  # each (n,), bool
    halves: list[np.ndarray]


def draw_test_folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Split all images in whole groups, so that each image is tested exactly once.

    For out-of-fold predictions without a validation part. Patients with many images lose none;
    `image_weights` keeps them from deciding a score alone.

    Args:
        labels: ``(n,)``, 0 or 1.
        groups: ``(n,)``, any numbers; a group may hold both classes.
        seed: Of the order in which groups are assigned.

    Returns:
        ``(folds, n)``, bool: the test part of each fold; `FOLDS` of them, or fewer.

    Raises:
        CourseError: A class comes from a single group, or cannot be in every training part.
    """
    of_class = [len(np.unique(groups[labels == label])) for label in (0, 1)]
    fewest = int(np.argmin(of_class))
    refusal = CourseError(
        f"the {('negative', 'positive')[fewest]} class comes from {of_class[fewest]} patient(s) or "
        "group(s), too few to train and to test on different ones: add images of other patients."
    )
    if of_class[fewest] < 2:
        raise refusal
    # The shuffling of scikit-learn 1.6 (Colab's) gives groups the classes of other groups. So the
    # groups are numbered at random instead; with 1.9 both give the same folds.
    names, numbers = np.unique(groups, return_inverse=True)
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    shuffled = np.argsort(order)[numbers]
    folds = StratifiedGroupKFold(min(FOLDS, of_class[fewest]))
    tests = np.zeros((folds.n_splits, len(labels)), dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer images than folds
        for test, (_, members) in zip(tests, folds.split(labels, labels, shuffled), strict=True):
            test[members] = True
    for test in tests:
        if len(np.unique(labels[~test])) < 2:
            raise refusal
    return tests


def plan_folds(
    labels: np.ndarray, groups: np.ndarray, seed: int, quarters: int = 12, halves: int = 4
) -> list[Fold]:
    """Draw folds in which each image is tested once, and random shares of their training parts.

    Args:
        labels, groups, seed: As in `draw_test_folds`, whose errors it raises.
        quarters, halves: How many random quarters and halves of each fold. A draw that holds too
            few images of a class in any fold is left out of all folds. A half is drawn with the
            seed of the quarter of its number, so the two are not independent.
    """
    tests = draw_test_folds(labels, groups, seed)

    def draw(share, count):
        drawn = [
            [draw_share(labels, groups, ~test, share, [seed, k, j]) for k, test in enumerate(tests)]
            for j in range(count)
        ]
        return [
            of_folds
            for of_folds in drawn
            if all(np.bincount(labels[x], minlength=2).min() >= FEWEST_IN_SHARE for x in of_folds)
        ]

    of_quarters, of_halves = draw(0.25, quarters), draw(0.5, halves)
    return [
        Fold(~test, test, [x[k] for x in of_quarters], [x[k] for x in of_halves])
        for k, test in enumerate(tests)
    ]


def image_weights(labels: np.ndarray, groups: np.ndarray, count: int = FOLDS) -> np.ndarray:
    """What each image counts in a score: each class one half, and no group too much.

    The images of a group that is larger than a quarter of its class's share of a fold count as
    much together as that quarter, so a long series does not decide.

    Args:
        labels: ``(n,)``, 0 or 1.
        groups: ``(n,)``, any numbers; images with equal numbers are of one patient.
        count: Number of folds; `draw_test_folds` makes fewer where a class has few groups.

    Returns:
        ``(n,)``, each class's sum is 0.5.
    """
    weights = np.zeros(len(labels))
    for label in (0, 1):
        of_class = labels == label
        most = max(1.0, of_class.sum() / count / 4)
        _, numbers, sizes = np.unique(groups[of_class], return_inverse=True, return_counts=True)
        weights[of_class] = np.minimum(1.0, most / sizes)[numbers]
        weights[of_class] /= 2 * weights[of_class].sum()
    return weights


def draw_share(
    labels: np.ndarray,
    groups: np.ndarray,
    train: np.ndarray,
    share: float,
    seed: int | Sequence[int],
) -> np.ndarray:
    """Draw a random share of each class's training images, in whole groups.

    A group larger than a quarter of its class's places is left out while smaller ones fill most
    of them, so that the share is not made of one patient.

    Args:
        labels: ``(n,)``, 0 or 1.
        groups: ``(n,)``, any numbers; a group may hold both classes.
        train: ``(n,)``, bool: the training part.
        share: Of each class, between 0 and 1.
        seed: An integer or a sequence of integers.

    Returns:
        ``(n,)``, bool; fewer of a class than asked for, or none, where groups are large.
    """
    rng = np.random.default_rng(seed)
    drawn = np.zeros(len(labels), dtype=bool)
    counts = {
        g: np.bincount(labels[train & (groups == g)], minlength=2) for g in set(groups[train])
    }
    order = rng.permutation(sorted(counts))
    wanted = np.round(share * np.bincount(labels[train], minlength=2))
    left = wanted.copy()
    for at_most in (1 / 4, 1 / 2, 1):
        if at_most > 1 / 4 and (left <= wanted / 4).all():
            break
        for group in order:
            fits = (counts[group] <= np.maximum(1, at_most * wanted)) & (counts[group] <= left)
            members = train & (groups == group)
            if fits.all() and not drawn[members].any():
                drawn |= members
                left = left - counts[group]
    return drawn
