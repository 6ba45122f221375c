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


def published_gains(rows: list[dict]) -> dict[str, float]:
    """The gains of the published experiment's primary result, from the rows of *bundled*."""
    own = {(row["fold"], row["part"]): row for row in rows if row["classifier"] == "bundled"}
    folds = sorted({fold for fold, _ in own})
    quarters = sorted({part for _, part in own if part.startswith("quarter")})
    labels = np.concatenate([own[fold, "real"]["labels"] for fold in folds])

    def balanced(part, arm, draw=0):
        answers = np.concatenate([own[fold, part]["arms"][arm][draw] for fold in folds])
        right = (answers >= 0.5) == labels
        return np.mean([right[labels == label].mean() for label in (0, 1)])

    def at_a_quarter(first, second, count):
        return np.mean([first(draw) - second(draw) for draw in range(count)])

    def part(draw):
        return balanced("real", "part", draw)

    def true(draw):
        return balanced("real", "oracle_part", draw)

    def gan(draw):
        return balanced(quarters[draw], "part_gan")

    with_gan = balanced("paper", "classic_gan paper 10000")
    return {
        "exposure": with_gan - balanced("real", "classic"),
        "compute": with_gan - balanced("real", "classic_long"),
        "oracle": at_a_quarter(true, part, len(own[folds[0], "real"]["arms"]["part"])),
        "stronger": at_a_quarter(gan, part, len(quarters)),
        "missing": at_a_quarter(true, gan, len(quarters)),
    }
