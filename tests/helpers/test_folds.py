"""Folds, random shares and weights: what each must hold, on sets drawn at random."""

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import StratifiedGroupKFold

from helpers import folds
from helpers.files import CourseError


def a_set(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups like the real set's: mostly single slices, some pairs, one long series."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [90, 110])
    groups = np.arange(200)
    for first in rng.choice(np.arange(0, 170, 2), 8, replace=False):
        groups[first + 1] = groups[first]
    groups[180:196] = 180
    return labels, groups


def many_images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """60 patients with 1 to 12 images each; every tenth has images of both classes."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), rng.integers(1, 13, 60))
    labels = (groups % 3 == 0).astype(int)
    both = groups % 10 == 0
    labels[both] = rng.integers(0, 2, both.sum())
    return labels, groups


@pytest.mark.parametrize("seed", range(3))
def test_each_image_is_tested_once_in_whole_groups(seed):
    labels, groups = many_images(seed)
    tests = folds.draw_test_folds(labels, groups, seed)
    assert tests.shape == (8, len(labels)) and (tests.sum(axis=0) == 1).all()
    for test in tests:
        assert not set(groups[test]) & set(groups[~test])
        assert set(labels[~test]) == {0, 1}
    shares = [labels[test].mean() for test in tests]
    assert np.ptp(shares) < 0.3
    again = folds.draw_test_folds(labels, groups, seed)
    other = folds.draw_test_folds(labels, groups, seed + 1)
    assert (tests == again).all() and (tests != other).any()


@pytest.mark.skipif(
    sklearn.__version__.startswith("1.6."), reason="it mixes the classes of groups up"
)
@pytest.mark.parametrize("seed", range(3))
def test_the_folds_are_those_of_scikit_learns_shuffling(seed):
    labels, groups = many_images(seed)
    theirs = StratifiedGroupKFold(8, shuffle=True, random_state=seed)
    for ours, (_, members) in zip(
        folds.draw_test_folds(labels, groups, seed), theirs.split(labels, labels, groups),
        strict=True,
    ):  # fmt: skip
        assert np.flatnonzero(ours).tolist() == members.tolist()


def test_fewer_groups_make_fewer_folds_and_one_group_is_refused():
    labels = np.repeat([1, 0], [30, 100])
    groups = np.r_[np.repeat([0, 1, 2], 10), np.arange(3, 103)]
    assert len(folds.draw_test_folds(labels, groups, 0)) == 3
    groups[:30] = 0
    with pytest.raises(CourseError, match="the positive class comes from 1 patient"):
        folds.draw_test_folds(labels, groups, 0)


def test_no_group_decides_a_score_alone():
    labels, groups = a_set(0)
    weights = folds.image_weights(labels, groups)
    assert [weights[labels == label].sum() for label in (0, 1)] == pytest.approx([0.5, 0.5])
    series, single = weights[groups == 180], weights[labels == 0].max()
    assert series.sum() / single == pytest.approx(110 / 8 / 4)
    assert np.ptp(weights[labels == 1]) < 1e-12, "pairs are under the limit"


@pytest.mark.parametrize("share", (0.25, 0.5))
def test_a_share_is_drawn_in_whole_groups_of_both_classes(share):
    for labels, groups in (many_images(1), a_set(1)):
        train = ~folds.draw_test_folds(labels, groups, 0)[0]
        drawn = folds.draw_share(labels, groups, train, share, [1, 2])
        assert not (drawn & ~train).any()
        assert not set(groups[drawn]) & set(groups[train & ~drawn])
        for label in (0, 1):
            wanted = share * (train & (labels == label)).sum()
            assert 0.7 * wanted <= (drawn & (labels == label)).sum() <= wanted + 0.5
        other = folds.draw_share(labels, groups, train, share, [1, 3])
        assert (drawn != other).any()
