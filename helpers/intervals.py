"""What a handful of test images can say: scores, intervals, tests and power (notebook 05)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, nct, norm, t
from sklearn.metrics import confusion_matrix, roc_auc_score


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """The share of hits that the data are compatible with: a 95 % interval.

    Args:
        hits, n: How many of how many.

    Returns:
        Lowest and highest share, 0 to 1; (0, 1) for n = 0, which excludes nothing.

    Source: Wilson 1927; SciPy's `binomtest(...).proportion_ci("wilson")`.
    """
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def patient_interval(right: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Wilson's 95 % interval for a share of images, as wide as if each patient had one image.

    Images of one patient are right or wrong together, so that they say little more than one. At 8
    images per patient this interval covers the truth in at least 95 of 100 cases. Wilson's
    interval, which counts images, covers it in only 46 of 100 (`test_patients_are_counted`).
    Where one patient has more images than another, they count as fewer patients, by Kish's formula.

    Args:
        right: ``(n,)``, bool: which images were classified correctly.
        groups: ``(n,)``: equal ones are one patient's.

    Returns:
        Lowest and highest share, 0 to 1; where no patient has two images, `wilson_interval`'s.

    Source: Kish 1965, Survey Sampling, for the number of patients that count.
    """
    if not len(right):
        return 0.0, 1.0
    sizes = np.unique(groups, return_counts=True)[1]
    patients, share = sizes.sum() ** 2 / (sizes**2).sum(), float(np.mean(right))
    z = norm.ppf(0.975) ** 2 / patients
    middle = (share + z / 2) / (1 + z)
    half = math.sqrt(z * (share * (1 - share) + z / 4)) / (1 + z)
    return max(0.0, middle - half), min(1.0, middle + half)


def score(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, Any]:
    """Score a classifier on test images of both classes.

    Args:
        labels: ``(n,)``, 1 for the positive class.
        probabilities: ``(n,)``, of label 1; 0.5 and above counts as 1.
        groups: ``(n,)``: equal ones are one patient's, and the intervals count patients; where
            None, each image is its own.

    Returns:
        accuracy, balanced_accuracy, sensitivity (of label 1), specificity (of label 0), auc, each
        0 to 1; for all but auc the 95 % interval as `..._ci`, from `patient_interval` or
        `balanced_interval`; `confusion` as [[tn, fp], [fn, tp]].
    """
    matrix = confusion_matrix(labels, probabilities >= 0.5, labels=[0, 1])
    right = (probabilities >= 0.5) == labels
    chosen = {
        "accuracy": np.ones(len(labels), bool),
        "sensitivity": labels == 1,
        "specificity": labels == 0,
    }
    scores: dict[str, Any] = {name: float(right[some].mean()) for name, some in chosen.items()}
    scores["balanced_accuracy"] = (scores["sensitivity"] + scores["specificity"]) / 2
    scores["auc"] = float(roc_auc_score(labels, probabilities))
    scores["confusion"] = matrix.tolist()
    groups = np.arange(len(labels)) if groups is None else groups
    scores |= {
        f"{name}_ci": list(patient_interval(right[some], groups[some]))
        for name, some in chosen.items()
    }
    rates = [(scores[name], scores[f"{name}_ci"]) for name in ("sensitivity", "specificity")]
    return scores | {"balanced_accuracy_ci": list(balanced_interval(*rates))}


def balanced_interval(*rates: tuple[float, Sequence[float]]) -> tuple[float, float]:
    """The interval for the mean of sensitivity and specificity, from the interval of each.

    Args:
        rates: Each rate, and the ends of its interval; they come from different images.

    Returns:
        Lowest and highest, shares.

    Source: Zou and Donner 2008, Statistics in Medicine 27, 1693-1702: each end is as far from the
        mean as the rates' own ends are from them, added as the errors of independent numbers are.
    """
    middle = sum(rate for rate, _ in rates) / len(rates)
    below, above = (
        math.hypot(*(rate - ends[k] for rate, ends in rates)) / len(rates) for k in (0, 1)
    )
    return middle - below, middle + above


def mcnemar(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    """Exact McNemar test of two fitted classifiers on the same patients, and of no others.

    Where a patient has several images, it is the sign test: the second classifier wins a patient
    if it is right on more of the patient's images than the first.

    Args:
        labels: ``(n,)``, 0 or 1.
        first, second: ``(n,)`` probabilities of label 1.
        groups: ``(n,)``: equal ones are one patient's.

    Returns:
        `gained` and `lost`: patients whom the second, whom the first gets right more often;
        `p_value`, two-sided.

    Source: McNemar 1947; exact, as a binomial test of the patients on whom the two differ.
    """
    right = [((np.asarray(p) >= 0.5) == (np.asarray(labels) == 1)) * 1 for p in (first, second)]
    change = np.bincount(np.unique(groups, return_inverse=True)[1], right[1] - right[0])
    gained, lost = int(np.sum(change > 0)), int(np.sum(change < 0))
    p_value = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return {"gained": gained, "lost": lost, "p_value": float(p_value)}


FLIPS = 6  # that all favour one classifier: exact McNemar gives p = 0.03; with five it is 0.06


def smallest_significant_gain(n: int, of_larger_class: int | None = None) -> float | None:
    """The smallest gain in accuracy that an exact McNemar test could call significant (5 %).

    At best every patient on whom the two classifiers differ favours the same one.

    Args:
        n: Test patients, or images, if each patient has one.
        of_larger_class: How many of them are of the class that has more. Given, the gain is one of
            balanced accuracy, in which a patient of the larger class counts least.

    Returns:
        A share, 0 to 1; None where even n such patients would not do.
    """
    if n < FLIPS:
        return None
    larger = of_larger_class or n / 2
    of_smaller = max(0, FLIPS - larger)
    return (FLIPS - of_smaller) / (2 * larger) + of_smaller / (2 * (n - larger))


def check_table(
    accuracy: float, sensitivity: float, specificity: float, n: int, decimals: int = 2
) -> list[tuple[int, int, int]]:
    """Which results on n test images, if any, a published row of a table can come from.

    Args:
        accuracy, sensitivity, specificity: In percent, as printed.
        n: Test images, of both classes together.
        decimals: How many the table has; a result fits if it rounds to what is printed, up or down
            where it lies halfway.

    Returns:
        All that fit, as (images of label 1, true positives, true negatives); none: the row cannot
        come from n images.
    """
    printed = (accuracy, sensitivity, specificity)
    reach = 0.5 * 10.0**-decimals + 1e-9

    def near(hits, count, percent):
        return np.abs(100 * hits / count - percent) <= reach

    found = []
    for positives in range(1, n):
        true_positives, true_negatives = np.arange(positives + 1), np.arange(n - positives + 1)
        true_positives = true_positives[near(true_positives, positives, printed[1])]
        true_negatives = true_negatives[near(true_negatives, n - positives, printed[2])]
        found += [
            (positives, int(tp), int(tn))
            for tp in true_positives
            for tn in true_negatives
            if near(tp + tn, n, printed[0])
        ]
    return found


# --- Folds of one set -----------------------------------------------------------------------------

RESAMPLES = 2000


def resample_groups(
    labels: np.ndarray, groups: np.ndarray, seed: int, count: int = RESAMPLES
) -> np.ndarray:
    """Draw bootstrap samples of whole groups, each class's apart.

    A group of both classes is drawn with those of the class that most of its images have. (Drawn
    apart, a single such group would be in each sample once, as if no other were possible.)

    Args:
        labels: ``(n,)``, 0 or 1.
        groups: ``(n,)``; images with equal numbers are of one patient.
        seed: Of the draws.
        count: How many samples.

    Returns:
        ``(count, n)``, ``float32``: how often each image is in each sample.
    """
    rng = np.random.default_rng([seed, 1])
    names, numbers = np.unique(groups, return_inverse=True)
    share = np.bincount(numbers, labels) / np.bincount(numbers)
    kind = share >= 0.5
    counts = np.zeros((count, len(names)), np.float32)
    for of_kind in (np.flatnonzero(kind == k) for k in (False, True)):
        if len(of_kind):
            even = np.full(len(of_kind), 1 / len(of_kind))
            counts[:, of_kind] = rng.multinomial(len(of_kind), even, count)
    return counts[:, numbers]


def balanced_means(
    values: np.ndarray, labels: np.ndarray, weights: np.ndarray, samples: np.ndarray
) -> np.ndarray:
    """The mean of both classes' weighted means, in each bootstrap sample, ``(samples,)``.

    Args:
        values: ``(n,)``, one number per image.
        labels: ``(n,)``, 0 or 1.
        weights: ``(n,)``, as `folds.image_weights` gives them.
        samples: As `resample_groups` gives them. A sample without a class keeps the other's mean.
    """
    means = []
    for label in (0, 1):
        of_class = weights * (labels == label)
        total = samples @ of_class
        mean = (samples @ (of_class * values)) / np.where(total > 0, total, 1)
        means.append(np.where(total > 0, mean, np.nan))
    return np.nanmean(means, axis=0)


def pooled_mean(
    values: np.ndarray, labels: np.ndarray, weights: np.ndarray, samples: np.ndarray,
    factor: float = 1.0,
) -> dict[str, Any]:  # fmt: skip
    """A balanced mean over all images, with the interval of a bootstrap over groups.

    For differences between two arms the values are those of one arm minus those of the other,
    image by image, out of fold, averaged over quarters and seeds.

    Args:
        values, labels, weights, samples: As in `balanced_means`.
        factor: How many times as wide the interval is as the bootstrap's own. The bootstrap does
            not see that another set would also have trained other classifiers.

    Returns:
        `mean`, `ci` (95 %), `se`, `p_value` (two-sided, of a mean of 0), `factor`.
    """
    mean = float(np.dot(weights, values) / weights.sum())
    means = balanced_means(values, labels, weights, samples)
    low, high = (mean + factor * (np.quantile(means, edge) - mean) for edge in (0.025, 0.975))
    error = factor * float(np.std(means))
    p_value = float(2 * norm.sf(abs(mean) / error)) if error > 1e-12 else 1.0
    return {
        "mean": mean, "ci": [float(low), float(high)], "se": error, "p_value": p_value,
        "factor": factor,
    }  # fmt: skip


def ratio_interval(
    first: float, second: float, covariance: np.ndarray, replicates: int | None = None
) -> list[float] | None:
    """Fieller's 95 % interval for the ratio of two means.

    Args:
        first, second: The means; the ratio is the first over the second.
        covariance: ``(2, 2)``, of the means.
        replicates: How many the covariance was estimated from, for the t distribution; by default
            it is taken as known, for the normal one.

    Returns:
        Both ends, or None where the second mean may be 0: then no ratio is excluded on one side.

    Source: Fieller 1954, Journal of the Royal Statistical Society B 16, 175-185.
    """
    squared = (t.ppf(0.975, replicates - 1) if replicates else norm.ppf(0.975)) ** 2
    (a, b), (_, c) = np.asarray(covariance, dtype=float)
    square = second**2 - squared * c
    if square <= 0:
        return None
    middle = first * second - squared * b
    root = math.sqrt(max(0.0, middle**2 - square * (first**2 - squared * a)))
    return [float((middle - root) / square), float((middle + root) / square)]


# --- Several replicates --------------------------------------------------------------------------


def resampled_t(differences: np.ndarray, ratio: float = 0.0, level: float = 0.95) -> dict[str, Any]:
    """The mean difference between two arms over several splits, with its interval.

    Splits of one pool share most of their images, so their differences vary less than those of
    splits of new pools would: Nadeau and Bengio's correction widens the interval for that.

    Args:
        differences: ``(J,)``: one arm minus the other, one number per replicate (a split, or a
            fresh set), already averaged over seeds; J at least 2. `mean` has the same sign.
        ratio: Test images over all images used to fit or to select; 0 where every replicate has
            images of its own, which gives the plain paired t.

    Returns:
        `mean` and `ci`, the sample's `sd`, `p_value` (two-sided), `replicates`. Where all
        differences are equal there is no spread to judge by: the interval is -1 to 1.

    Source: Nadeau and Bengio 2003, Machine Learning 52, 239-281, equation for the corrected
        resampled t-test.
    """
    differences = np.asarray(differences, dtype=float)
    count, mean, sd = len(differences), differences.mean(), differences.std(ddof=1)
    found = {"mean": float(mean), "sd": float(sd), "replicates": count}
    if sd < 1e-12:
        return found | {"ci": [-1.0, 1.0], "p_value": 1.0}
    error = sd * math.sqrt(1 / count + ratio)
    half = error * t.ppf(0.5 + level / 2, count - 1)
    p_value = 2 * t.sf(abs(mean) / error, count - 1)
    return found | {"ci": [float(mean - half), float(mean + half)], "p_value": float(p_value)}


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """p-values adjusted for their number: below a level, the family's error stays under it.

    Args:
        p_values: By name.

    Returns:
        By the same names, in the same order; each at least as large, at most 1.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    adjusted, highest = {}, 0.0
    for rank, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_value))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def power(effect: float, sd: float, replicates: int, ratio: float = 0.0) -> float:
    """How often `resampled_t` puts its whole interval above 0 if the true difference is `effect`.

    Args:
        effect: A share, 0 or more.
        sd: Of the differences, from replicate to replicate, over 0.
        replicates, ratio: As in `resampled_t`.

    Returns:
        0 to 1.
    """
    shift = effect / (sd * math.sqrt(1 / replicates + ratio))
    return float(nct.sf(t.ppf(0.975, replicates - 1), replicates - 1, shift))


def smallest_detectable_effect(
    sd: float, replicates: int, ratio: float = 0.0, chance: float = 0.8
) -> float:
    """The true difference that is found with this chance.

    Args:
        sd, replicates, ratio: As in `power`.
        chance: Over 0.025 and under 1.

    Returns:
        A share, in the unit of `sd`.
    """
    unit = sd * math.sqrt(1 / replicates + ratio)
    return brentq(lambda k: power(k * unit, sd, replicates, ratio) - chance, 0.0, 100.0) * unit
