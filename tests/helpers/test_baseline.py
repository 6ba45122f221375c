"""The baseline on planted sets: what is there is found, and nothing else."""

import functools

import numpy as np
import pytest

from helpers import baseline, bundled, folds
from helpers.files import CourseError
from helpers.intervals import wilson_interval


@pytest.fixture
def measure(monkeypatch):
    """`measure_baseline` of given features instead of images; views are the features and noise."""

    def views(features, count):
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 0.05, (len(features), count, features.shape[1]))
        noise[:, 0] = 0
        return (features[:, None] + noise).astype(np.float32)

    monkeypatch.setattr(bundled, "view_features", views)
    fewer = functools.partial(folds.plan_folds, quarters=3, halves=2)
    monkeypatch.setattr(folds, "plan_folds", fewer)
    return baseline.measure_baseline


def planted(count: int, signal: float, seed: int = 0, width: int = 60):
    """Features in which one direction tells the label; the more images, the better it is found."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    direction = rng.normal(size=width)
    direction *= signal / np.linalg.norm(direction)
    return rng.normal(size=(count, width)) + np.outer(2 * labels - 1, direction), labels


def test_room_is_found_where_more_images_help(measure):
    features, labels = planted(200, 1.2)
    found = measure(features, labels, np.arange(200))
    room = found["room"]
    assert room["answer"] == "room" and room["ci"][0] > 0.03
    assert room["text"].startswith("There is room for more images: +")
    assert room["text"] in found["text"]
    assert room["gain"] == pytest.approx(room["oracle_part"] - room[room["baseline"]])
    *_, diamond = baseline.draw_curve(found).axes[0].containers
    ends = diamond.lines[2][0].get_segments()[0][:, 1] / 100 - room[room["baseline"]]
    assert list(ends) == pytest.approx(room["ci"])
    scores = [point["balanced_accuracy"] for point in found["curve"]]
    assert [point["share"] for point in found["curve"]] == [0.25, 0.5, 1.0]
    assert scores == sorted(scores) and scores[2] - scores[0] > 0.05
    assert [round(point["images"]) for point in found["curve"]] == [44, 88, 175]
    assert found["auc"]["value"] > 0.8


def test_little_room_is_found_where_a_quarter_does_as_well(measure):
    features, labels = planted(400, 6.0)
    room = measure(features, labels, np.arange(400))["room"]
    assert room["answer"] == "little" and room["ci"][1] < 0.05
    assert "less than 5 points" in room["text"]


def test_labels_without_meaning_score_as_guesses(measure):
    features, labels = planted(200, 0.0)
    found = measure(features, labels, np.arange(200))
    low, high = found["balanced_accuracy"]["ci"]
    assert low < 0.5 < high and 0.1 < high - low < 0.2
    assert found["room"]["answer"] in ("open", "little")


def test_the_interval_is_that_of_independent_images(measure):
    features, labels = planted(200, 1.2, seed=1)
    found = measure(features, labels, np.arange(200))
    right = (found["probabilities"] >= 0.5) == labels
    assert found["accuracy"]["value"] == pytest.approx(right.mean())
    assert found["accuracy"]["ci"] == pytest.approx(wilson_interval(right.sum(), 200), abs=0.015)


def test_patients_with_many_images_are_never_trained_and_tested_on(measure):
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), 8)
    labels = np.repeat(rng.permutation(40) % 2, 8)
    # A patient's images are all but equal, and say nothing about the label.
    features = np.repeat(rng.normal(size=(40, 60)), 8, axis=0) + rng.normal(0, 0.1, (320, 60))
    found = measure(features, labels, groups)
    assert found["groups"] == 40 and abs(found["balanced_accuracy"]["value"] - 0.5) < 0.2
    low, high = found["balanced_accuracy"]["ci"]
    assert high - low > 0.2, "eight images of a patient were taken for eight independent ones"
    assert found["room"]["answer"] != "too_few"


def test_with_imbalance_guessing_the_larger_class_is_worth_nothing(measure):
    rng = np.random.default_rng(4)
    labels = (np.arange(300) % 10 == 0).astype(int)
    found = measure(rng.normal(size=(300, 60)), labels, np.arange(300))
    low, high = found["balanced_accuracy"]["ci"]
    assert low < 0.5 < high
    features, _ = planted(300, 0.0, seed=5)
    features[:, 0] += 6.0 * labels
    found = measure(features, labels, np.arange(300))
    assert found["sensitivity"]["value"] > 0.8 and found["specificity"]["value"] > 0.8
    assert found["balanced_accuracy"]["value"] == pytest.approx(
        (found["sensitivity"]["value"] + found["specificity"]["value"]) / 2
    )


def test_a_long_series_counts_as_a_quarter_of_a_share_of_the_folds_that_there_are(measure):
    """Four groups of class 1 make four folds, so the series counts 30 / 4 / 4 images, not one."""
    features, labels = np.zeros((90, 60)), np.repeat([1, 0], [30, 60])
    groups = np.r_[0, 1, 2, np.full(27, 3), np.arange(10, 70)]
    features[:, 0] = labels + np.random.default_rng(6).normal(0, 0.05, 90)
    features[3:30, 0] -= 1  # the series looks like the other class
    found = measure(features, labels, groups)
    right = found["probabilities"] >= 0.5
    assert found["folds"] == 4 and right[:3].all() and not right[3:30].any()
    assert found["sensitivity"]["value"] == pytest.approx(3 / (3 + 30 / 4 / 4))


def test_small_sets_get_an_answer_or_a_reason(measure):
    features, labels = planted(24, 3.0)
    found = measure(features, labels, np.arange(24))
    assert found["room"]["answer"] == "too_few" and "gain" not in found["room"]
    assert [point["share"] for point in found["curve"]] == [0.5, 1.0]
    assert baseline.draw_curve(found).axes
    with pytest.raises(CourseError, match=r"the positive class comes from 1 patient.* add images"):
        measure(features, labels, np.where(labels == 1, 99, np.arange(24)))
