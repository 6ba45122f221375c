"""Scores and intervals against worked examples."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, ttest_rel

from experiments import verdict
from experiments.worth import worth
from helpers import intervals
from helpers.verdict import deciding, judge_study, overlap, single_split_verdict


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
    found = intervals.mcnemar(labels, first, second)
    assert (found["gained"], found["lost"]) == (8, 1)
    assert found["p_value"] == pytest.approx(2 * (1 + 9) / 2**9)  # exact binomial, 8 of 9
    assert intervals.mcnemar(labels, first, first)["p_value"] == 1.0


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
        "original": intervals.score(labels, rng.random(22)),
        "original_gan": intervals.score(labels, np.full(22, 0.1)),
    }
    assert deciding(arms) == "balanced_accuracy"
    assert arms["original_gan"]["accuracy"] > 0.9
    found = single_split_verdict(arms, 22, "the command")
    gain = 50 - 100 * arms["original"]["balanced_accuracy"]
    assert f"moved the balanced accuracy by {gain:+.1f} points" in found["text"]
    assert "only a gain of 15 points" in found["text"] and found["answer"] == "not enough data"


def test_one_split_never_says_yes_or_no():
    for better in (0.0, 0.5, 1.0):
        alike = {"confusion": [[11, 0], [0, 11]]}
        arms = {"original": {"accuracy": 0.5}, "original_gan": {"accuracy": better}}
        arms = {name: scores | alike for name, scores in arms.items()}
        found = single_split_verdict(arms, 22, "the command")
        assert found["answer"] == "not enough data"
        assert "27 points" in found["text"] and found["text"].endswith("the command")
        assert f"by {100 * (better - 0.5):+.1f} points" in found["text"]


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


# --- The verdict ---------------------------------------------------------------------------------


def arms(primary, control=0.1, spread=0.01, replicates=10, control_spread=None):
    rng = np.random.default_rng(3)
    classic, wobble = rng.normal(0.75, 0.05, replicates), rng.normal(0, spread, replicates)
    made = dict.fromkeys(("original", "original_gan", "gan_only"), classic - 0.05)
    gan = classic + primary + wobble - wobble.mean()
    rise = control + (wobble[::-1] - wobble.mean()) * (control_spread or spread) / spread
    return made | {"classic": classic, "classic_gan": gan, "control_shuffled": gan - rise}


@pytest.mark.parametrize(
    ("made", "answer"),
    [
        (arms(0.08), "yes"),
        (arms(0.08, replicates=5), "yes"),
        (arms(0.08, control=0.0), "not enough data"),
        (arms(0.08, control=0.02, control_spread=0.1), "not enough data"),  # ahead, by luck perhaps
        (arms(0.0), "no"),
        (arms(0.02), "no"),  # surely a gain, and surely under the margin
        (arms(-0.2), "no"),
        (arms(0.03, spread=0.1), "not enough data"),
        (arms(0.08, replicates=4), "not enough data"),
        (arms(0.0, replicates=4), "not enough data"),
    ],
)
def test_the_rule(made, answer):
    found = judge_study(made, 22 / 178, 200)
    assert found["answer"] == answer
    assert found["text"].lower().startswith({"yes": "yes:", "no": "no:"}.get(answer, answer))


def test_what_it_would_take_is_enough():
    made = arms(0.03, spread=0.1)
    found = judge_study(made, 22 / 178, 200)
    sd = found["contrasts"]["classic_gan - classic"]["sd"]
    more = sd * np.sqrt(200 / found["images_needed"])
    assert intervals.power(0.05, more, 10, 22 / 178) == pytest.approx(0.8, abs=0.01)
    assert f"about {found['images_needed'] - 200} more images" in found["text"]


@pytest.mark.parametrize("spread", [0.1, 0.14, 0.2])
def test_independent_sets_need_more_sets_and_no_more_than_it_takes(spread):
    made = arms(0.03, spread=spread)
    found = judge_study(made, 0.0, 200)
    assert found["answer"] == "not enough data" and "images_needed" not in found
    sd, needed = found["contrasts"]["classic_gan - classic"]["sd"], found["replicates_needed"]
    assert intervals.power(0.05, sd, needed) >= 0.8 > intervals.power(0.05, sd, needed - 1)
    assert f"it takes {needed} such sets" in found["text"]


def test_advice_is_given_on_the_contrast_that_is_open():
    """A gain that is found, and which shuffled labels may give too, is not called small or none."""
    text = judge_study(arms(0.08, control=0.0), 22 / 178, 200)["text"]
    assert text.endswith("GAN images with shuffled labels may do as well.")


def test_too_few_replicates_foretell_nothing():
    found = judge_study(arms(0.03, spread=0.1, replicates=3), 0.0, 200)
    assert found["smallest_detectable_effect"] is None and "four times in five" not in found["text"]


def test_the_verdict_adjusts_the_other_contrasts_and_not_the_one_asked():
    found = judge_study(arms(0.02, spread=0.05), 22 / 178, 200)["contrasts"]
    others = {name: each["p_value"] for name, each in found.items() if "p_holm" in each}
    assert set(others) == {"original_gan - original", "gan_only - original", "classic - original"}
    assert {name: found[name]["p_holm"] for name in others} == intervals.holm(others)


def test_false_yes_comes_no_oftener_than_promised_and_the_naive_rule_fails():
    """2,000 studies of two different learners of equal accuracy."""
    found = verdict.simulate(0.0, 2000, seed=11)
    assert found["yes"] * 2000 <= binom.ppf(0.99, 2000, 0.025)
    assert found["naive_yes"] > 0.1


@pytest.mark.parametrize("gain", [0.0, 0.2])
def test_at_9_to_1_the_rule_is_wrong_no_oftener_than_promised(gain):
    """500 studies of balanced accuracy; all 2,000 are in `verdict_9_to_1.json`."""
    found = verdict.simulate(gain, 500, seed=13, positives=20)
    if gain:  # 8.6 points, so that a no is wrong
        assert found["no"] * 500 <= binom.ppf(0.99, 500, 0.025)
    else:
        assert found["yes"] * 500 <= binom.ppf(0.99, 500, 0.025)
        assert found["naive_yes"] > 0.1


def test_of_patients_with_eight_images_the_rule_is_wrong_no_oftener_than_promised():
    """26 patients of 8 alike images, four of them in each test, and two equally good learners."""
    per_patient, patients, answers = 8, 26, []
    label_of = np.arange(patients) % 2
    whose = np.repeat(np.arange(patients), per_patient)
    labels = label_of[whose]
    ratio = overlap([16, 16], 176, 4)
    for k in range(300):
        rng = np.random.default_rng([15, k])
        shared, own = rng.normal(size=(patients, 2, 5))[whose], rng.normal(size=(208, 2, 5))
        cases = np.sqrt(0.5) * (shared + own) + labels[:, None, None] * verdict.APART
        found = np.empty((10, 3, 2))
        for split in range(10):
            members = [rng.permutation(np.flatnonzero(label_of == label))[:2] for label in (0, 1)]
            test = np.isin(whose, np.concatenate(members))
            weights = rng.poisson(1.0, (3, len(labels))) * ~test
            right = verdict.fit_and_predict(cases, labels, weights.astype(float)) == labels
            found[split] = right[:, :, test].mean(axis=2)
        answers.append(verdict.judge(found, ratio)[0])
    assert answers.count("yes") <= binom.ppf(0.99, 300, 0.025)


def test_splits_with_few_of_a_class_share_more():
    assert overlap([11, 11], 178) == pytest.approx(22 / 178)
    assert overlap([20, 2], 178) == overlap([2, 20], 178) > 1.5 * 22 / 178
    assert overlap([11, 11], 178, 22) == overlap([11, 11], 178)
    assert overlap([16, 16], 176, 4) == pytest.approx(2 * 32 / 176)


def test_a_true_effect_is_found_as_often_as_promised():
    found = verdict.simulate(0.4, 500, seed=12)
    assert 0.1 < found["true_effect"] < 0.2
    assert abs(found["yes"] - found["promised"]) < 0.08


# --- Worth ---------------------------------------------------------------------------------------

SIZES = (36, 72, 144, 288, 576)


def learnt(size):
    return 0.4 + 0.05 * np.log2(size)


def drawn_curve(replicates, extra, seed, spread=0.02):
    rng = np.random.default_rng(seed)
    curve = {size: learnt(size) + rng.normal(0, spread, replicates) for size in SIZES}
    return curve, learnt(144 + extra) + rng.normal(0, spread, replicates)


@pytest.mark.parametrize("extra", [0, 72, 144, 300])
def test_worth_is_found_where_it_is_known(extra):
    curve = {size: np.full(3, learnt(size)) for size in SIZES}
    found = worth(curve, np.full(3, learnt(144 + extra)), 144, seed=0, rounds=50)
    assert found["images"] == pytest.approx(extra, abs=1e-6)


def test_worth_is_censored_where_it_must_be():
    curve = {size: np.full(3, learnt(size)) for size in SIZES}
    for reached, words in ((0.5, "< 0"), (0.99, "> 432")):
        found = worth(curve, np.full(3, reached), 144, seed=0, rounds=50)
        assert found["text"].startswith(words)


def test_worth_on_a_level_curve_is_the_smallest_that_would_do():
    curve = {36: np.array([0.6]), 72: np.array([0.65]), 144: np.array([0.7]),
             288: np.array([0.8]), 576: np.array([0.78])}  # fmt: skip
    found = worth(curve, np.array([0.79]), 144, seed=0, rounds=10)
    assert found["images"] == pytest.approx(288 - 144)  # made monotone: 0.79 from 288 on


def test_the_interval_of_worth_covers():
    covered = 0
    for i in range(100):
        found = worth(*drawn_curve(12, 144, i), 144, seed=i, rounds=200)
        covered += found["ci"][0] <= 144 <= found["ci"][1]
    assert 85 <= covered <= 98, "of 95 %: neither too narrow nor as wide as it likes"


def test_what_all_sizes_of_a_replicate_share_does_not_blur_their_comparison():
    """Test sets of which some are easier: only replicates drawn whole keep the interval narrow."""
    curve, augmented = drawn_curve(12, 144, 0, spread=0.002)
    easier = np.random.default_rng(1).normal(0, 0.1, 12)
    curve = {size: found + easier for size, found in curve.items()}
    low, high = worth(curve, augmented + easier, 144, seed=0, rounds=200)["ci"]
    assert 104 < low < 144 < high < 184
