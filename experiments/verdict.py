"""How often is the verdict wrong? Thousands of whole studies in which the truth is known.

    python experiments/verdict.py
    python experiments/verdict.py --positives 20

A study has a pool of 200 cases, ten random splits of it (178 to fit or select, 22 to test) and
three seeds; a smaller one, as `results/study_real.json` is, five splits and two seeds. Two
*different* learners take the parts of "classic" and "classic + GAN": each sees its own five of ten
measurements of a case, and as both kinds of measurements are alike, the learners are equally good
in the population, though not on a given pool. Every "yes" is then a false one. In a second round
the second learner's measurements tell the classes apart better, by an effect that is measured on
millions of cases, and every "yes" is right: how often it comes is the power. A "no" is right where
the effect is under the margin of 5 points, and false above it.
Beside the course's rule stands the naive one, a t-test over all fits as if each were a replicate.
With `--positives 20` only 20 of the 200 cases are of class 1, and 2 of the 22 in each test: the
classes are 9:1, and balanced accuracy decides.
`results/verdict.json` (then `verdict_9_to_1.json`) gets one row a kind of study, which notebook 05
shows of the first, and in `replicates` what that row follows from. For each study: by how many
units the second learner was ahead, added up over all fits (`ahead`); that number squared, added up
over the splits (`by_split`) and over the fits (`by_fit`). A unit is the smallest step of balanced
accuracy on the test cases (`settings.unit`): with as many of each class, one test answer. For each
of the pools that tell the true effect: by how many of the new cases, half of either class, it was
ahead (`true_ahead`).
"""

import argparse
import math
from pathlib import Path

import numpy as np
from scipy.stats import ttest_1samp

from helpers import files, intervals, machine
from helpers.verdict import judge_study, overlap

RESULTS = files.RESULTS / "verdict.json"
POOL, TEST, SIZE = 200, 22, 5
POOLS, NEW_CASES = 400, 4000  # that tell the true effect, to about 0.001
APART = 0.4  # how far apart the classes are in each measurement, in standard deviations


def pool_labels(positives: int) -> np.ndarray:
    """The pool's labels: so many of class 1, evenly spread."""
    return np.diff(np.arange(POOL + 1) * positives // POOL)


def in_test(positives: int) -> tuple[int, int]:
    """How many test cases are of class 0 and of class 1: the same share as in the pool."""
    count = round(TEST * positives / POOL)
    return TEST - count, count


def draw_cases(labels: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Cases ``(count, 2, 5)``, five measurements for either learner."""
    apart = np.array([APART, APART + gain])[:, None]
    return rng.normal(size=(len(labels), 2, SIZE)) + labels[:, None, None] * apart


def fit_and_predict(cases: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Which class's mean is nearer, for each fit and case, by each learner: ``(fits, 2, cases)``.

    Args:
        cases: ``(n, 2, 5)``.
        labels: ``(n,)``.
        weights: ``(fits, n)``: how often each fit sees each case; 0 for the test cases.
    """
    means = []
    for label in (0, 1):
        chosen = weights * (labels == label)
        means.append(np.einsum("fn,nld->fld", chosen, cases) / chosen.sum(axis=1)[:, None, None])
    along, middle = means[1] - means[0], (means[1] + means[0]) / 2
    return (np.einsum("fld,nld->fln", along, cases) > np.sum(along * middle, -1)[..., None]) * 1


def study(
    gain: float, seed: list[int], splits: int, seeds: int, positives: int = POOL // 2
) -> np.ndarray:
    """The balanced accuracies of a study on one pool: ``(splits, seeds, 2)``."""
    rng = np.random.default_rng(seed)
    labels = pool_labels(positives)
    cases = draw_cases(labels, gain, rng)
    tested = in_test(positives)
    found = np.empty((splits, seeds, 2))
    for split in range(splits):
        test = np.concatenate(
            [rng.permutation(np.flatnonzero(labels == k))[: tested[k]] for k in (0, 1)]
        )
        # What a seed changes in a fit: here, which cases it draws, and how often.
        weights = rng.poisson(1.0, (seeds, POOL)).astype(float)
        weights[:, test] = 0
        right = fit_and_predict(cases, labels, weights) == labels
        of_class = [right[:, :, test[labels[test] == k]].mean(axis=2) for k in (0, 1)]
        found[split] = np.mean(of_class, axis=0)
    return found


def smallest_step(positives: int) -> int:
    """How many of the smallest steps of balanced accuracy on the test cases make 1."""
    return 2 * math.lcm(*in_test(positives))


def judge(found: np.ndarray, ratio: float) -> tuple[str, bool, float]:
    """What the course's rule says, whether the naive one says yes, and the sd between splits.

    The control is one that any learner beats, so that the primary contrast alone decides.
    """
    by_split = found.mean(axis=1)
    arms = dict.fromkeys(("original", "original_gan", "gan_only"), by_split[:, 0])
    arms |= {"classic": by_split[:, 0], "classic_gan": by_split[:, 1]}
    arms["control_shuffled"] = by_split[:, 1] - np.linspace(0.3, 0.31, len(found))
    verdict = judge_study(arms, ratio, POOL)
    differences = (found[..., 1] - found[..., 0]).ravel()
    naive = ttest_1samp(differences, 0) if np.ptp(differences) else None
    said = naive is not None and naive.pvalue < 0.05 and naive.statistic > 0
    return (
        verdict["answer"],
        bool(said),
        float(np.std(by_split[:, 1] - by_split[:, 0], ddof=1)),
    )


def count_ahead(found: np.ndarray, unit: int) -> dict[str, int]:
    """A study's differences in units, as the top of this file says; whole, so exact."""
    ahead = np.rint(unit * (found[..., 1] - found[..., 0])).astype(int)
    return {
        "ahead": ahead.sum(),
        "by_split": np.sum(ahead.sum(axis=1) ** 2),
        "by_fit": np.sum(ahead**2),
    }


def true_ahead(gain: float, positives: int) -> list[int]:
    """By how many of 4,000 new cases the second learner is ahead, on each of many pools.

    Half of the new cases are of either class, whatever the pool: so accuracy on them is balanced.
    """
    found = []
    labels = np.concatenate([pool_labels(positives), np.arange(NEW_CASES) % 2])
    for k in range(POOLS):
        rng = np.random.default_rng([7, k])
        cases = draw_cases(labels, gain, rng)
        weights = np.zeros((1, len(cases)))
        weights[0, : POOL - TEST] = rng.poisson(1.0, POOL - TEST)
        right = fit_and_predict(cases, labels, weights)[0] == labels
        found.append(int(right[1, POOL:].sum()) - int(right[0, POOL:].sum()))
    return found


def simulate(
    gain: float, studies: int, seed: int, splits: int = 10, seeds: int = 3,
    positives: int = POOL // 2,
) -> dict:  # fmt: skip
    """One row: how often both rules say what over many studies, what was promised, the replicates.

    Where both learners are alike, the true effect is 0 and no pools are drawn for it.
    """
    all_found = [study(gain, [seed, k], splits, seeds, positives) for k in range(studies)]
    ratio = overlap(in_test(positives), POOL - TEST)
    answers, naive, spread = zip(*(judge(found, ratio) for found in all_found), strict=True)
    said = {answer: answers.count(answer) for answer in ("yes", "no")}
    sd = float(np.mean(spread))
    true = true_ahead(gain, positives) if gain else []
    effect = float(np.mean(true)) / NEW_CASES if gain else 0.0
    counts = [count_ahead(found, smallest_step(positives)) for found in all_found]
    return {
        "true_effect": effect,
        "studies": studies,
        "splits": splits,
        "seeds": seeds,
        **{answer: count / studies for answer, count in said.items()},
        **{f"{k}_ci": intervals.wilson_interval(n, studies) for k, n in said.items()},
        "naive_yes": sum(naive) / studies,
        "sd_between_splits": sd,
        "promised": intervals.power(effect, sd, splits, ratio),
        "replicates": {key: [count[key] for count in counts] for key in counts[0]}
        | {"true_ahead": true},
    }


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--positives", type=int, default=POOL // 2, help="of the pool's cases")
    parser.add_argument("--results", type=Path)
    asked = parser.parse_args()
    positives, again, results = asked.positives, "", RESULTS
    if positives != POOL // 2:
        again = f" --positives {positives}"
        results = RESULTS.with_name(f"verdict_{(POOL - positives) / positives:.0f}_to_1.json")
    how = {"studies": 2000, "seed": 405, "positives": positives}
    rows = [simulate(gain, **how) for gain in (0.0, 0.2, 0.4, 0.6)]
    rows += [simulate(gain, **how, splits=5, seeds=2) for gain in (0.0, 0.2)]
    replicates = [row.pop("replicates") for row in rows]  # long: behind what a reader looks for
    for row in rows:
        print(row)
    files.write_json(
        asked.results or results,
        {
            "command": f"python experiments/verdict.py{again}",
            "settings": {
                "pool": POOL, "test": TEST, "new_cases": NEW_CASES,
                "positives": positives, "unit": smallest_step(positives),
            },
            "versions": machine.versions(),
            "rows": rows,
            "replicates": replicates,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
