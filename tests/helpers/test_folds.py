"""Folds and quarters: what each must hold, on sets drawn at random and on the real one."""

import json

import numpy as np
import pytest
import sklearn
from conftest import ROOT
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


@pytest.mark.parametrize("seed", range(5))
def test_each_testable_slice_is_tested_once_and_no_group_crosses(seed):
    labels, groups = a_set(seed)
    parts = folds.draw_folds(labels, groups, seed)
    assert parts.shape == (8, 200)
    tested = (parts == "test").sum(axis=0)
    series = groups == 180
    assert tested.max() == 1 and not tested[series].any()
    of_group = {g: tested[groups == g].sum() for g in np.unique(groups)}
    assert of_group.pop(180) == 0 and set(of_group.values()) == {1}
    assert (parts[:, series] == "train").all()
    sizes = [np.bincount(labels[part == "test"], minlength=2) for part in parts]
    assert np.ptp(sizes, axis=0).max() <= 1 and np.ptp(np.sum(sizes, axis=1)) <= 1
    for part in parts:
        for group in np.unique(groups):
            used = set(part[groups == group]) - {folds.UNUSED}
            assert len(used) == 1, "one person's slices stand in two parts"
        for name in ("test", "validation"):
            found = groups[part == name]
            assert len(set(found)) == len(found), "one slice a group"
        for label in (0, 1):
            left = len(
                np.unique(groups[np.isin(part, ("train", "validation")) & (labels == label)])
            )
            held = ((part == "validation") & (labels == label)).sum()
            assert abs(held / left - 34 / 178) < 0.02


def test_folds_follow_their_seed_and_refuse_too_small_a_set():
    labels, groups = a_set(0)
    first, again, other = (folds.draw_folds(labels, groups, seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    few = np.repeat([1, 0], [100, 20])
    with pytest.raises(CourseError, match="of class 0 and needs 16"):
        folds.draw_folds(few, np.arange(120), 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_quarter_is_a_quarter_of_whole_groups(seed):
    labels, groups = a_set(seed)
    train = folds.draw_folds(labels, groups, seed)[0] == "train"
    quarter = folds.draw_quarter(labels, groups, train, seed)
    assert not (quarter & ~train).any()
    for label in (0, 1):
        wanted = max(16, round((train & (labels == label)).sum() / 4))
        assert (quarter & (labels == label)).sum() == wanted
    for group in np.unique(groups[quarter]):
        assert quarter[train & (groups == group)].all(), "a group is cut"
    assert not quarter[groups == 180].any(), "a series would fill the quarter"
    other = folds.draw_quarter(labels, groups, train, seed + 1)
    assert (quarter != other).any()


def test_the_kept_folds_of_the_real_set_keep_their_promises():
    kept = json.loads((ROOT / "experiments" / "results" / "real_folds.json").read_text())
    groups = kept["groups"]
    tested = [file for fold in kept["folds"] for file in fold["test"]]
    assert len(kept["folds"]) == 8 and len(tested) == len(set(tested)) == 104
    series = 7  # of four slices or more: they always train
    assert len({groups[file] for file in tested}) == 104 == len(set(groups.values())) - series
    for fold in kept["folds"]:
        parts = {name: fold[name] for name in ("train", "validation", "test", "unused")}
        assert sorted(file for part in parts.values() for file in part) == sorted(groups)
        seen = [{groups[f] for f in parts[name]} for name in ("train", "validation", "test")]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
        assert len(fold["quarters"]) == 12
        for quarter in fold["quarters"]:
            assert set(quarter) <= set(parts["train"])
            assert abs(len(quarter) - len(parts["train"]) / 4) < 2


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
    with pytest.raises(CourseError, match="class 1 comes from 1 patient"):
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
