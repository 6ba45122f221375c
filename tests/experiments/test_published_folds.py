"""The folds and quarters of the published experiment: drawn at random, and those that are kept."""

import numpy as np
import published_gans
import pytest
from results import kept
from test_folds import a_set

from helpers.files import CourseError


@pytest.mark.parametrize("seed", range(5))
def test_each_testable_slice_is_tested_once_and_no_group_crosses(seed):
    labels, groups = a_set(seed)
    parts = published_gans.draw_folds(labels, groups, seed)
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
            used = set(part[groups == group]) - {published_gans.UNUSED}
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
    first, again, other = (published_gans.draw_folds(labels, groups, seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    few = np.repeat([1, 0], [100, 20])
    with pytest.raises(CourseError, match="of the negative class and needs 16"):
        published_gans.draw_folds(few, np.arange(120), 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_quarter_is_a_quarter_of_whole_groups(seed):
    labels, groups = a_set(seed)
    groups[80:90:3] = groups[100:110:3]  # people with slices of both classes
    train = published_gans.draw_folds(labels, groups, seed)[0] == "train"
    quarter = published_gans.draw_quarter(labels, groups, train, seed)
    assert not (quarter & ~train).any()
    for label in (0, 1):
        wanted = max(16, round((train & (labels == label)).sum() / 4))
        assert (quarter & (labels == label)).sum() == wanted
    for group in np.unique(groups[quarter]):
        assert quarter[train & (groups == group)].all(), "a group is cut"
    assert not quarter[groups == 180].any(), "a series would fill the quarter"
    other = published_gans.draw_quarter(labels, groups, train, seed + 1)
    assert (quarter != other).any()


def test_the_kept_folds_of_the_real_set_keep_their_promises():
    plan = kept("real_folds")
    groups = plan["groups"]
    tested = [file for fold in plan["folds"] for file in fold["test"]]
    assert len(plan["folds"]) == 8 and len(tested) == len(set(tested)) == 104
    series = 7  # of four slices or more: they always train
    assert len({groups[file] for file in tested}) == 104 == len(set(groups.values())) - series
    for fold in plan["folds"]:
        parts = {name: fold[name] for name in ("train", "validation", "test", "unused")}
        assert sorted(file for part in parts.values() for file in part) == sorted(groups)
        seen = [{groups[f] for f in parts[name]} for name in ("train", "validation", "test")]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
        assert len(fold["quarters"]) == 12
        for quarter in fold["quarters"]:
            rest = set(parts["train"]) - set(quarter)
            assert len(rest) == len(parts["train"]) - len(quarter)
            assert not {groups[f] for f in quarter} & {groups[f] for f in rest}
            assert abs(len(quarter) - len(parts["train"]) / 4) < 2
