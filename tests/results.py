"""The kept results, and the statistics in them once more, by SciPy alone."""

import json

import numpy as np
from conftest import ROOT
from scipy import stats

RESULTS = ROOT / "experiments" / "results"


def kept(name: str) -> dict:
    """A file of `experiments/results`."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def interval(differences: np.ndarray, ratio: float = 0.0) -> list[float]:
    """Mean and 95 % interval of a t-test, with Nadeau and Bengio's ratio in its error."""
    mean, count = np.mean(differences), len(differences)
    error = np.std(differences, ddof=1) * np.sqrt(1 / count + ratio)
    return [mean, *stats.t.interval(0.95, count - 1, mean, error)]


def wilson(hits: int, n: int) -> list[float]:
    """Wilson's 95 % interval of a share."""
    return list(stats.binomtest(hits, n).proportion_ci(method="wilson"))


def points(mean: float, low: float, high: float) -> str:
    """A gain and its interval, shares, in words."""
    return f"{100 * mean:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def told(gain: dict) -> str:
    """A kept gain in words."""
    return points(gain["mean"], *gain["ci"])
