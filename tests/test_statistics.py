"""Scores and intervals against worked examples."""

import numpy as np
import pytest

from helpers import statistics


def test_wilson_against_the_formula():
    z, n, hits = 1.959963984540054, 22, 17
    p = hits / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert statistics.wilson_interval(hits, n) == pytest.approx((middle - half, middle + half))
    assert statistics.wilson_interval(0, 0) == (0.0, 1.0)


def test_score_by_hand():
    labels = np.array([1, 1, 1, 1, 0, 0, 0])
    probabilities = np.array([0.9, 0.8, 0.7, 0.4, 0.6, 0.2, 0.1])
    found = statistics.score(labels, probabilities)
    assert found["confusion"] == [[2, 1], [1, 3]]
    assert found["accuracy"] == pytest.approx(5 / 7)
    assert found["sensitivity"] == pytest.approx(3 / 4)
    assert found["specificity"] == pytest.approx(2 / 3)
    assert found["auc"] == pytest.approx(11 / 12)  # 11 of 12 pairs are in the right order
    for name in ("accuracy", "sensitivity", "specificity"):
        low, high = found[f"{name}_ci"]
        assert low < found[name] < high


def test_accuracy_lies_between_sensitivity_and_specificity():
    rng = np.random.default_rng(0)
    for _ in range(200):
        labels = np.append(rng.integers(0, 2, 20), [0, 1])
        found = statistics.score(labels, rng.uniform(size=22))
        edges = sorted([found["sensitivity"], found["specificity"]])
        assert edges[0] - 1e-9 <= found["accuracy"] <= edges[1] + 1e-9


def test_mcnemar_by_hand():
    labels = np.ones(20, int)
    first = np.r_[np.full(10, 0.9), np.full(10, 0.1)]
    second = np.r_[np.full(9, 0.9), [0.1], np.full(8, 0.9), [0.1, 0.1]]
    found = statistics.mcnemar(labels, first, second)
    assert (found["gained"], found["lost"]) == (8, 1)
    assert found["p_value"] == pytest.approx(2 * (1 + 9) / 2**9)  # exact binomial, 8 of 9
    assert statistics.mcnemar(labels, first, first)["p_value"] == 1.0


@pytest.mark.parametrize(("n", "gain"), [(22, 6 / 22), (6, 1.0), (5, None), (200, 6 / 200)])
def test_smallest_gain_needs_six_flips(n, gain):
    assert statistics.smallest_significant_gain(n) == gain


def test_one_split_never_says_yes_or_no():
    for better in (0.0, 0.5, 1.0):
        arms = {"original": {"accuracy": 0.5}, "original_gan": {"accuracy": better}}
        found = statistics.first_look(arms, 22, "the command")
        assert found["answer"] == "not enough data"
        assert "27 points" in found["text"] and found["text"].endswith("the command")
