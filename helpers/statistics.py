"""What a handful of test images can say: scores, intervals, the smallest gain they could show."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, roc_auc_score


def wilson_interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The share of hits that the data are compatible with.

    Returns:
        Lowest and highest share, 0 to 1; (0, 1) for n = 0, which excludes nothing.

    Source: Wilson 1927; SciPy's `binomtest(...).proportion_ci("wilson")`.
    """
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(hits, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Score a classifier on test images of both classes.

    Args:
        labels: ``(n,)``, 1 for what is to be found.
        probabilities: ``(n,)``, of label 1; 0.5 and above counts as 1.

    Returns:
        accuracy, sensitivity (of label 1), specificity (of label 0), auc, each 0 to 1; for the
        first three the 95 % Wilson interval as `..._ci`; `confusion` as [[tn, fp], [fn, tp]].
    """
    matrix = confusion_matrix(labels, probabilities >= 0.5, labels=[0, 1])
    (tn, fp), (fn, tp) = matrix.tolist()
    counts = {
        "accuracy": (tn + tp, tn + fp + fn + tp),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
    }
    scores: dict[str, Any] = {name: hits / n for name, (hits, n) in counts.items()}
    scores["auc"] = float(roc_auc_score(labels, probabilities))
    scores["confusion"] = matrix.tolist()
    scores |= {f"{name}_ci": list(wilson_interval(*count)) for name, count in counts.items()}
    return scores


def mcnemar(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Exact McNemar test of two fitted classifiers on the same images; it speaks of no others.

    Args:
        labels: ``(n,)``, 0 or 1.
        first, second: ``(n,)`` probabilities of label 1.

    Returns:
        `gained` and `lost`: images that only the second, only the first gets right; `p_value`,
        two-sided.

    Source: McNemar 1947; exact, as a binomial test of the images on which the two differ.
    """
    right = [(np.asarray(p) >= 0.5) == (np.asarray(labels) == 1) for p in (first, second)]
    gained, lost = int(np.sum(right[1] & ~right[0])), int(np.sum(right[0] & ~right[1]))
    p_value = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return {"gained": gained, "lost": lost, "p_value": float(p_value)}


def smallest_significant_gain(n: int, level: float = 0.05) -> float | None:
    """The smallest gain in accuracy that an exact McNemar test on n images could call significant.

    At best every image on which the two classifiers differ favours the same one.

    Returns:
        A share of n, 0 to 1; None where even n such images would not do.
    """
    for flips in range(1, n + 1):
        if binomtest(flips, flips).pvalue < level:
            return flips / n
    return None


def first_look(arms: dict[str, dict[str, Any]], n: int, settle: str) -> dict[str, Any]:
    """The verdict on one split: never yes or no, for one replicate shows no spread.

    Args:
        arms: Scores by arm, with "original" and "original_gan" among them.
        n: Test images.
        settle: The command for one more split.

    Returns:
        answer, text and smallest_detectable_effect (a share, or None).
    """
    gain = arms["original_gan"]["accuracy"] - arms["original"]["accuracy"]
    smallest = smallest_significant_gain(n)
    could = (
        f"on these {n} test images only a gain of {100 * smallest:.0f} points or more could be "
        "told from chance"
        if smallest is not None
        else f"{n} test images can tell no gain from chance"
    )
    return {
        "answer": "not enough data",
        "text": (
            f"Not enough data to tell. Adding GAN images moved the accuracy by {100 * gain:+.1f} "
            f"points on this one split; {could}, and one split shows no spread between splits. To "
            f"settle it, repeat everything on other splits, at least five in all: {settle}"
        ),
        "smallest_detectable_effect": smallest,
    }
