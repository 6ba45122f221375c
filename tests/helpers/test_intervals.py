"""Scores and intervals against worked examples."""

import itertools

import numpy as np
import pytest
from scipy.stats import ttest_rel

from helpers import intervals
from helpers.arms import ARMS, gain_titles
from helpers.verdict import (
    FACTORS,
    HEADLINES,
    STRONGER,
    decide,
    deciding,
    say,
    single_split_verdict,
)


def test_wilson_against_the_formula():
    z, n, hits = 1.959963984540054, 22, 17
    p = hits / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert intervals.wilson_interval(hits, n) == pytest.approx((middle - half, middle + half))
    assert intervals.wilson_interval(0, 0) == (0.0, 1.0)


def test_score_by_hand():
    labels = np.array([1, 1, 1, 1, 0, 0, 0])
    probabilities = np.array([0.9, 0.8, 0.7, 0.4, 0.6, 0.2, 0.1])
    found = intervals.score(labels, probabilities)
    assert found["confusion"] == [[2, 1], [1, 3]]
    assert found["accuracy"] == pytest.approx(5 / 7)
    assert found["sensitivity"] == pytest.approx(3 / 4)
    assert found["specificity"] == pytest.approx(2 / 3)
    assert found["auc"] == pytest.approx(11 / 12)  # 11 of 12 pairs are in the right order
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    for name in ("accuracy", "balanced_accuracy", "sensitivity", "specificity"):
        low, high = found[f"{name}_ci"]
        assert low < found[name] < high


@pytest.mark.parametrize(("of_class", "images"), [((20, 2), 1), ((90, 10), 1), ((27, 3), 8)])
def test_the_interval_of_balanced_accuracy_at_9_to_1(of_class, images):
    """Patients of either class, with so many images each that are right or wrong together."""
    rng, rates = np.random.default_rng(of_class), np.array([0.85, 0.7])
    patient_of = np.repeat(np.arange(sum(of_class)), images)
    label_of = np.repeat([0, 1], of_class)
    covered = 0
    for _ in range(1000):
        right = rng.random(len(label_of)) < rates[label_of]
        probabilities = np.where(right, label_of, 1 - label_of)[patient_of]
        found = intervals.score(label_of[patient_of], probabilities, patient_of)
        low, high = found["balanced_accuracy_ci"]
        covered += low <= rates.mean() <= high
    assert covered >= 930  # 950 wanted; three standard errors are 21


def test_where_each_image_is_a_patient_the_interval_is_wilsons():
    for hits, n in ((0, 5), (17, 22), (22, 22), (1, 1)):
        right = np.arange(n) < hits
        found = intervals.patient_interval(right, np.arange(n))
        assert found == pytest.approx(intervals.wilson_interval(hits, n), abs=1e-12)
    assert intervals.patient_interval(np.array([], bool), np.array([])) == (0, 1)


@pytest.mark.parametrize("alike", [0.05, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("patients", [8, 20])
def test_patients_are_counted(alike, patients):
    """8 images a patient, whose answers correlate by `alike` within one (beta-binomial)."""
    rng, truth = np.random.default_rng(round(100 * alike) + patients), 0.8
    groups = np.repeat(np.arange(patients), 8)
    covered = {"patients": 0, "images": 0}
    for _ in range(1000):
        shares = rng.beta(truth * (1 / alike - 1), (1 - truth) * (1 / alike - 1), patients)
        right = rng.random(len(groups)) < shares[groups]
        for name, of in (("patients", groups), ("images", np.arange(len(groups)))):
            low, high = intervals.patient_interval(right, of)
            covered[name] += low <= truth <= high
    assert covered["patients"] >= 930  # 950 wanted; three standard errors are 21
    assert alike < 0.3 or covered["images"] < 800


@pytest.mark.parametrize("alike", [0.3, 0.6, 0.95])
def test_patients_with_many_images_count_as_fewer(alike):
    """One patient with five images and six with one, as a small test part may have them."""
    rng, truth = np.random.default_rng(round(100 * alike)), 0.8
    groups = np.r_[np.zeros(5, int), 1 + np.arange(6)]
    covered = {"patients": 0, "seven": 0}
    for _ in range(1000):
        shares = rng.beta(truth * (1 / alike - 1), (1 - truth) * (1 / alike - 1), 7)
        right = rng.random(11) < shares[groups]
        low, high = intervals.patient_interval(right, groups)
        covered["patients"] += low <= truth <= high
        low, high = intervals.wilson_interval(round(7 * right.mean()), 7)
        covered["seven"] += low <= truth <= high
    assert covered["patients"] >= 930 and covered["patients"] >= covered["seven"]


def test_scores_with_patients_have_the_same_shares_and_wider_intervals():
    rng = np.random.default_rng(0)
    labels, groups = np.arange(80) // 4 % 2, np.arange(80) // 4
    probabilities = np.clip(0.5 * labels + rng.random(80) / 1.5, 0, 1)
    alone, together = (intervals.score(labels, probabilities, g) for g in (None, groups))
    for name in ("accuracy", "sensitivity", "specificity"):
        assert alone[name] == together[name]
        assert np.ptp(together[f"{name}_ci"]) > 1.5 * np.ptp(alone[f"{name}_ci"])
    balanced = (alone["sensitivity"] + alone["specificity"]) / 2
    assert alone["balanced_accuracy"] == pytest.approx(balanced)


def test_mcnemar_by_hand():
    labels = np.ones(20, int)
    first = np.r_[np.full(10, 0.9), np.full(10, 0.1)]
    second = np.r_[np.full(9, 0.9), [0.1], np.full(8, 0.9), [0.1, 0.1]]
    each = np.arange(20)  # a patient
    found = intervals.mcnemar(labels, first, second, each)
    assert (found["gained"], found["lost"]) == (8, 1)
    assert found["p_value"] == pytest.approx(2 * (1 + 9) / 2**9)  # exact binomial, 8 of 9
    assert intervals.mcnemar(labels, first, first, each)["p_value"] == 1.0


def test_mcnemar_counts_patients():
    """Ten images of one patient won are one win; a patient who wins one and loses one is none."""
    labels, groups = np.ones(14, int), np.r_[np.zeros(10, int), 1, 1, 2, 3]
    first = np.r_[np.full(10, 0.1), 0.1, 0.9, 0.9, 0.1]
    second = np.r_[np.full(10, 0.9), 0.9, 0.1, 0.1, 0.1]
    assert intervals.mcnemar(labels, first, second, groups) == {
        "gained": 1, "lost": 1, "p_value": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(("n", "gain"), [(22, 6 / 22), (6, 1.0), (5, None), (200, 6 / 200)])
def test_smallest_gain_needs_six_flips(n, gain):
    assert intervals.smallest_significant_gain(n) == gain


@pytest.mark.parametrize(("counts", "gain"), [((11, 11), 6 / 22), ((20, 2), 6 / 40), ((5, 1), 1)])
def test_smallest_gain_of_balanced_accuracy(counts, gain):
    """Six images of the larger class, the cheapest, or all of them and one of the other."""
    n, larger = sum(counts), max(counts)
    assert intervals.smallest_significant_gain(n, larger) == pytest.approx(gain)


def test_a_better_guess_of_the_larger_class_is_no_gain():
    """At 9:1, where all are called clear, one split shows 91 % and gains nothing."""
    labels = np.repeat([0, 1], [20, 2])
    rng = np.random.default_rng(0)
    arms = {
        "classic": intervals.score(labels, rng.random(22)),
        "classic_long": intervals.score(labels, rng.random(22)),
        "classic_gan": intervals.score(labels, np.full(22, 0.1)),
    }
    assert deciding(arms) == "balanced_accuracy"
    assert arms["classic_gan"]["accuracy"] > 0.9
    found = single_split_verdict(arms, labels, np.arange(22), "the command")
    for baseline, words in (("classic", "classic, and"), ("classic_long", "classic long;")):
        gain = 50 - 100 * arms[baseline]["balanced_accuracy"]
        assert f"by {gain:+.1f} points against {words}" in found["text"]
    assert "changed the balanced accuracy" in found["text"]
    assert "only a gain of 15 points" in found["text"] and found["answer"] == "undecided"


def test_one_split_never_says_yes_or_no():
    for better in (0.0, 0.5, 1.0):
        alike = {"confusion": [[11, 0], [0, 11]]}
        arms = {"classic": {"accuracy": 0.5}, "classic_long": {"accuracy": 0.5}}
        arms["classic_gan"] = {"accuracy": better}
        arms = {name: scores | alike for name, scores in arms.items()}
        labels = np.arange(22) % 2
        found = single_split_verdict(arms, labels, np.arange(22), "the command")
        assert found["answer"] == "undecided"
        assert "27 points" in found["text"] and found["text"].endswith("the command")
        assert found["text"].count(f"by {100 * (better - 0.5):+.1f} points against") == 2


def test_one_split_of_few_patients_can_tell_nothing():
    """A hundred images of four patients: no test of four patients reaches 5 %."""
    labels, groups = np.repeat([0, 1], 50), np.arange(100) // 25
    names = ("classic", "classic_long", "classic_gan")
    arms = dict.fromkeys(names, intervals.score(labels, labels * 0.9))
    found = single_split_verdict(arms, labels, groups, "the command")
    assert "4 test patients can tell no gain from chance" in found["text"]
    assert found["smallest_detectable_effect"] is None


# --- Published tables ----------------------------------------------------------------------------


def test_every_result_is_possible_and_what_is_printed_decides():
    """All confusion matrices of up to seven images, printed and found again, and no others."""
    for n in range(2, 8):
        printed = {}
        for positives in range(1, n):
            for tp, tn in itertools.product(range(positives + 1), range(n - positives + 1)):
                row = ((tp + tn) / n, tp / positives, tn / (n - positives))
                row = tuple(round(100 * share, 2) for share in row)
                printed.setdefault(row, set()).add((positives, tp, tn))
        for row, results in printed.items():
            assert set(intervals.check_table(*row, n)) == results
        for row in itertools.product([0, 33.33, 50, 61, 66.67, 100], repeat=3):
            assert bool(intervals.check_table(*row, n)) == (row in printed)


def test_half_a_unit_may_be_rounded_up_or_down():
    assert intervals.check_table(12.5, 12.5, 12.5, 16)
    for printed in (12, 13):  # 1 of 8 at no decimals
        assert intervals.check_table(printed, printed, printed, 16, decimals=0)
    assert not intervals.check_table(11, 11, 11, 16, decimals=0)


def test_the_published_table():
    rows = [(76.51, 72.37, 83.04), (60.61, 93.15, 68.48), (78.65, 73.14, 86.60)]
    assert not any(intervals.check_table(*row, 22) for row in rows)
    # The second is impossible whatever the number of images.
    assert not any(intervals.check_table(*rows[1], n) for n in range(2, 300))


# --- Several replicates --------------------------------------------------------------------------


def test_without_a_shared_pool_it_is_the_paired_t():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.7, 0.05, (2, 8))
    found, reference = intervals.resampled_t(second - first), ttest_rel(second, first)
    assert found["p_value"] == pytest.approx(reference.pvalue)
    assert found["ci"] == pytest.approx(list(reference.confidence_interval(0.95)))


def test_correction_against_scikit_learns_worked_example():
    """Its page "Statistical comparison of models using grid search": t 0.750, one-sided p 0.227."""
    from sklearn.datasets import make_moons
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    images, labels = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    scores = [
        cross_val_score(
            SVC(kernel=kernel, random_state=0), images, labels, cv=folds, scoring="roc_auc"
        )
        for kernel in ("rbf", "linear")
    ]
    found = intervals.resampled_t(scores[0] - scores[1], ratio=10 / 90)
    assert found["p_value"] / 2 == pytest.approx(0.227, abs=0.001)
    half = (found["ci"][1] - found["ci"][0]) / 2
    assert found["mean"] / half * 1.984 == pytest.approx(0.750, abs=0.001)  # t at 99 degrees: 1.984


def test_no_spread_gives_no_certainty():
    found = intervals.resampled_t(np.full(5, 0.2))
    assert found["ci"] == [-1, 1] and found["p_value"] == 1


def test_holm_is_closed_testing_with_bonferroni():
    """Its definition: reject a claim if every set of claims that holds it is rejected."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        p_values = {name: float(p) for name, p in zip("abcd", rng.uniform(0, 0.4, 4), strict=True)}
        adjusted = intervals.holm(p_values)
        for name in p_values:
            sets = [s for k in range(1, 5) for s in itertools.combinations("abcd", k) if name in s]
            closed = max(min(1, len(s) * min(p_values[other] for other in s)) for s in sets)
            assert adjusted[name] == pytest.approx(closed)
    assert list(intervals.holm({"x": 0.01, "y": 0.04, "z": 0.03, "w": 0.005}).values()) == (
        pytest.approx([0.03, 0.06, 0.06, 0.02])
    )


@pytest.mark.parametrize(("effect", "count", "published"), [(0.5, 34, 0.808), (1 / 3, 25, 0.360)])
def test_power_of_the_paired_t_as_published(effect, count, published):
    """G*Power's, two-sided at 0.05; the second row is in Wuensch, "G*Power: t Tests".

    It counts what is significant in the wrong direction too, under one study in a thousand here.
    """
    assert intervals.power(effect, 1.0, count) == pytest.approx(published, abs=1e-3)
    found = intervals.smallest_detectable_effect(0.08, count, chance=published)
    assert found == pytest.approx(0.08 * effect, rel=2e-3)


def test_power_is_kept_where_splits_share_a_pool():
    """Normal differences with the correlation that the correction supposes."""
    rng, sd, ratio = np.random.default_rng(1), 0.08, 22 / 178
    shared = ratio / (1 + ratio)  # correlation between splits
    effect = intervals.smallest_detectable_effect(sd, 10, ratio)
    assert intervals.power(effect, sd, 10, ratio) == pytest.approx(0.8)
    total = sd / np.sqrt(1 - shared)
    found = 0
    for _ in range(2000):
        common = rng.normal(effect, total * np.sqrt(shared))
        found += intervals.resampled_t(common + rng.normal(0, sd, 10), ratio)["ci"][0] > 0
    assert abs(found / 2000 - 0.8) < 0.03


# --- Folds of one set -----------------------------------------------------------------------------


def test_whole_groups_are_drawn_each_class_apart():
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 0, 1])
    groups = np.array([0, 0, 1, 2, 3, 3, 4, 4, 4])  # group 4 has both classes, more of class 0
    counts = intervals.resample_groups(labels, groups, seed=0, count=500)
    assert (counts[:, 0] == counts[:, 1]).all() and (counts[:, 4] == counts[:, 5]).all()
    assert (counts[:, [0, 2, 6]].sum(axis=1) == 3).all(), "three groups, mostly of class 0"
    assert (counts[:, [3, 4]].sum(axis=1) == 2).all()
    assert (counts[:, 6] == counts[:, 8]).all() and counts[:, 8].std() > 0.5, "it is drawn, too"
    assert counts[:, 0].std() > 0.5


def test_a_pooled_mean_is_a_balanced_one_and_its_interval_that_of_independent_images():
    rng = np.random.default_rng(1)
    labels = (np.arange(400) % 4 == 0).astype(int)
    values = rng.normal(0.1 + 0.2 * labels, 1.0)
    weights = np.where(labels == 1, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())
    samples = intervals.resample_groups(labels, np.arange(400), seed=0)
    found = intervals.pooled_mean(values, labels, weights, samples)
    of_class = [values[labels == k] for k in (0, 1)]
    assert found["mean"] == pytest.approx(np.mean([x.mean() for x in of_class]))
    error = 0.5 * np.sqrt(sum(x.var() / len(x) for x in of_class))
    assert np.diff(found["ci"])[0] == pytest.approx(2 * 1.96 * error, rel=0.06)
    wide = intervals.pooled_mean(values, labels, weights, samples, factor=1.5)
    assert np.diff(wide["ci"])[0] == pytest.approx(1.5 * np.diff(found["ci"])[0])
    assert wide["se"] == pytest.approx(1.5 * found["se"]) and wide["p_value"] > found["p_value"]


def test_images_of_one_patient_count_as_one():
    rng = np.random.default_rng(2)
    of_patient = rng.normal(size=50)
    labels, groups = np.repeat(np.arange(50) % 2, 8), np.repeat(np.arange(50), 8)
    weights = np.full(400, 1 / 400)
    widths = [
        np.diff(
            intervals.pooled_mean(
                np.repeat(of_patient, 8), labels, weights,
                intervals.resample_groups(labels, g, seed=0),
            )["ci"]
        )[0]
        for g in (groups, np.arange(400))
    ]  # fmt: skip
    assert widths[0] == pytest.approx(np.sqrt(8) * widths[1], rel=0.1)


def test_fiellers_interval_covers_the_true_ratio():
    rng = np.random.default_rng(3)
    covariance = np.array([[0.04, 0.01], [0.01, 0.02]])
    means = rng.multivariate_normal([0.4, 1.0], covariance, 2000)
    held = 0
    for first, second in means:
        found = intervals.ratio_interval(first, second, covariance)
        held += found is not None and found[0] <= 0.4 <= found[1]
    assert abs(held / 2000 - 0.95) < 0.015
    assert intervals.ratio_interval(0.4, 0.1, covariance) is None, "the second may be 0"


@pytest.mark.parametrize("replicates", [5, 12])
def test_fiellers_interval_knows_that_the_covariance_is_estimated(replicates):
    """From few replicates; with the normal distribution it would cover 88 and 92 in 100."""
    rng = np.random.default_rng(4)
    covariance = np.array([[0.04, 0.01], [0.01, 0.02]])
    held = 0
    for _ in range(2000):
        drawn = rng.multivariate_normal([0.4, 2.0], covariance, replicates)
        estimated = np.cov(drawn.T) / replicates
        low, high = intervals.ratio_interval(*drawn.mean(axis=0), estimated, replicates=replicates)
        held += low <= 0.2 <= high
    assert abs(held / 2000 - 0.95) < 0.015


# --- The verdict ---------------------------------------------------------------------------------


def gains(**ends):
    """Gains with intervals from 2 points below to 2 above; what is not named lies around 0."""
    found = {name: (-0.02, 0.02) for name in FACTORS} | {"oracle": (0.04, 0.1), "missing": (0, 0.1)}
    found |= ends
    return {k: {"mean": sum(x) / 2, "ci": list(x)} for k, x in found.items() if x}


@pytest.mark.parametrize(
    ("made", "answer"),
    [
        (gains(exposure=(0.01, 0.05), compute=(0.01, 0.05)), "helps"),
        (gains(exposure=(0.01, 0.05), compute=(-0.01, 0.05)), "undecided"),
        (gains(exposure=(-0.05, -0.01)), "harms"),
        (gains(exposure=(-0.05, -0.01), compute=(0.01, 0.05)), "harms"),
        (gains(oracle=(-0.02, 0.049)), "no_room"),
        (gains(oracle=(-0.02, 0.051), missing=None), "undecided"),
        (gains(missing=(0.01, 0.09)), "no_gain"),
        (gains(missing=(-0.01, 0.09)), "undecided"),
        (gains(missing=(0.01, 0.09), stronger=(-0.02, 0.051)), "undecided"),
        (gains(oracle=None, missing=None, stronger=None), "undecided"),
        (gains(exposure=(0.01, 0.05), compute=(0.01, 0.05), oracle=None, missing=None), "helps"),
    ],
)
def test_the_rule(made, answer):
    assert decide(made, 5) == answer
    assert decide(made, 4) == "undecided"
    text = say(answer, made, 5, " at a quarter of these images")
    if answer != "undecided":
        asked = {"helps": "help", "harms": "do harm", "no_room": "No room", "no_gain": "No gain"}
        assert asked[answer] in text.split(":")[0]
    assert text.startswith((f"{HEADLINES[answer]}: ", f"{HEADLINES[answer]}. "))
    assert f"{100 * made['exposure']['mean']:+.1f} points" in text
    assert "fewer than 5 replicates" in say("undecided", made, 4)


def test_no_gain_at_a_quarter_leaves_open_what_all_images_would_do():
    where = " at a quarter of these images"
    wide, narrow = (gains(exposure=(-0.02, top), missing=(0.01, 0.09)) for top in (0.09, 0.04))
    assert "with all images a gain of 5 points is not ruled out" in say("no_gain", wide, 8, where)
    assert "ruled out" not in say("no_gain", narrow, 8, where)
    assert "ruled out" not in say("no_gain", wide, 8), "simulated sets: all images already"


@pytest.mark.parametrize(
    ("exposure", "stronger", "words"),
    [
        (0.04, 0.04, "with all images a gain of 5 points is ruled out; {} the interval ends below"),
        (0.09, 0.04, "; {} the interval ends below 5 points, but true new images"),
        (0.04, 0.09, "a gain of 5 points is ruled out with all images, but not {}"),
        (0.09, 0.09, "a gain of 5 points is not ruled out {}"),
    ],
)
def test_undecided_says_what_is_ruled_out(exposure, stronger, words):
    made = gains(exposure=(-0.02, exposure), stronger=(-0.02, stronger))
    quarter = "at a quarter of these images"
    assert words.format(quarter) in say("undecided", made, 8, f" {quarter}")
    of_sets = say("undecided", made, 12)
    assert ("a gain of 5 points is ruled out, but" in of_sets) == (stronger < 0.05)
    assert "quarter" not in of_sets and "all images" not in of_sets


def test_the_titles_of_gains_name_the_stronger_baseline():
    """They are written out, and `course.study` subtracts what `STRONGER` names."""
    of_set, of_folds = gain_titles(folds=False), gain_titles(folds=True)
    for where, titles in (
        ("whole", [of_set["oracle"]]),
        ("quarter", [of_folds["oracle"], of_folds["stronger"]]),
    ):
        baseline = ARMS[STRONGER[where]].title.replace(" augmentation", "")
        beside = "a quarter: " if where == "quarter" else ""
        assert all(beside + x.split(" − ")[1] == baseline for x in titles)
