"""The summaries in `experiments/results` follow from the rows beside them, recomputed by SciPy."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from results import RESULTS, interval, kept, published_gains, wilson
from scipy import stats

from helpers import bundled, verdict


def test_every_file_says_what_made_it():
    for path in RESULTS.glob("*.json"):
        content = json.loads(path.read_text())
        _, program, *rest = content["command"].split()
        if program == "-m":
            program = f"{rest[0]}/__main__.py"
        assert (ROOT / program).is_file() or content["command"] == "make outputs"
        assert content["versions"]["tensorflow"]


def test_simulator():
    """One row a split and way, accuracies that so many test images can give, and no split twice."""
    rows = pd.DataFrame(kept("simulator")["rows"])
    assert not rows.duplicated(["split", "arm"]).any()
    assert (rows.groupby("arm").size() == rows["split"].nunique()).all()
    hits = rows["accuracy"] * rows["test_images"]
    assert np.allclose(hits, hits.round()) and rows["accuracy"].between(0, 1).all()


def test_the_classifiers_penalty_was_chosen_on_pilots():
    """The smallest C within half a point of the best; and studies were simulated with it."""
    content = kept("pilot")
    means = pd.DataFrame(content["rows"]).groupby("C")["score"].mean()
    assert content["summary"]["chosen"] == means[means > means.max() - 0.005].index.min()
    used = [bundled.C, *(kept(name)["settings"]["C"] for name in ("rule", "controls"))]
    assert used == [content["summary"]["chosen"]] * 3


GAINS = {
    "exposure": ("gan_{}", "classic"), "compute": ("gan_{}", "classic_long"),
    "oracle": ("oracle_part", "part"), "stronger": ("part_gan_{}", "part"),
    "missing": ("oracle_part", "part_gan_{}"),
}  # fmt: skip


def test_the_rule_and_its_factors():
    """From each study's row: true gains, factors, answers and errors, by a second hand."""
    content = kept("rule")
    rows, summary = content["rows"], content["summary"]
    assert len(rows) == summary["studies"] == len({row["study"] for row in rows})
    true = pd.DataFrame([row["true"] for row in rows]).mean()
    kinds = content["settings"]["generators"]
    needed, answers = {gain: [] for gain in GAINS}, {kind: [] for kind in kinds}
    truth = {
        kind: {g: true[a.format(kind)] - true[b.format(kind)] for g, (a, b) in GAINS.items()}
        for kind in kinds
    }
    for kind, found in truth.items():
        assert summary["true_gains"][kind] == pytest.approx(found)
    for row in rows:
        for kind, gains in row["gains"].items():
            for gain, (mean, low, high) in gains.items():
                apart = truth[kind][gain] - mean
                needed[gain].append(max(apart / (high - mean), -apart / (mean - low)))
    factors = {gain: max(1, np.quantile(found, 0.95)) for gain, found in needed.items()}
    assert summary["factors"] == pytest.approx(factors, abs=0.006)
    assert summary["factors"] == verdict.FACTORS, "helpers.verdict has other factors"
    assert summary["stronger"] == verdict.STRONGER
    for row in rows:
        for kind, gains in row["gains"].items():
            low, high = (
                {g: x[0] + factors[g] * (x[end] - x[0]) for g, x in gains.items()} for end in (1, 2)
            )
            if high["exposure"] < 0:
                answers[kind].append("harms")
            elif low["exposure"] > 0 and low["compute"] > 0:
                answers[kind].append("helps")
            elif high["oracle"] < 0.05:
                answers[kind].append("no_room")
            elif high["stronger"] < 0.05 and low["missing"] > 0:
                answers[kind].append("no_gain")
            else:
                answers[kind].append("undecided")
    for kind, said in answers.items():
        found = dict(summary["answers"][kind])
        assert found.pop("studies") == len(said)
        shares = {name: said.count(name) / len(said) for name in found}
        assert found == pytest.approx(shares, abs=2 / len(said))  # factors are rounded
    for name, error in summary["errors"].items():
        assert error["ci"] == pytest.approx(wilson(round(error["wrong"] * error["studies"]),
                                                   error["studies"]))  # fmt: skip
        assert error["ci"][0] <= 0.025, f"{name} is wrong too often"


def test_studies_of_simulated_sets_are_judged_once_and_only_whole():
    """By a second hand, from the rows; while some are missing, nothing is said."""
    for images in (36, 144):
        content = kept(f"study_{images}")
        rows, planned = content["rows"], content["settings"]["sets"]
        assert content["settings"]["images"] == images and planned == 12
        assert {row["number"] for row in rows} <= set(range(12)) and len(rows) <= 12
        assert all(row["images"] == images and row["precision"] for row in rows)
        page = (ROOT / "experiments" / "README.md").read_text()
        if len(rows) < planned:
            assert "summary" not in content and "verdict" not in content
            assert f"{len(rows)} of 12 sets of {images} slices are finished" in page
            continue
        scores = pd.json_normalize([row["arms"] for row in rows])
        fresh = {arm: scores[f"{arm}.fresh.balanced_accuracy"] for arm in rows[0]["arms"]}
        for name, (first, second) in {
            "exposure": ("classic_gan", "classic"), "compute": ("classic_gan", "classic_long"),
            "oracle": ("oracle", "classic"), "missing": ("oracle", "classic_gan"),
        }.items():  # fmt: skip
            gain, found = fresh[first] - fresh[second], content["summary"]["gains"][name]
            interval = stats.ttest_1samp(gain, 0).confidence_interval(0.95)
            assert found["mean"] == pytest.approx(gain.mean())
            assert found["ci"] == pytest.approx([interval.low, interval.high])
        assert content["summary"]["verdict"]["answer"] == verdict.decide(
            content["summary"]["gains"], len(rows)
        )


def test_the_study_of_the_real_set_is_judged_once_and_only_whole():
    """Each unit is a fold, with GANs on all of its training slices or on a quarter of them."""
    content = kept("study_folds")
    rows = content["rows"]
    units = [(row["number"], row["quarter"]) for row in rows]
    assert len(set(units)) == len(units) and set(units) <= set(
        itertools.product(range(8), (None, 0))
    )
    assert content["settings"]["images"] == 200 and content["settings"]["seeds"] == 1
    of_fold = {row["number"]: row["tested"] for row in rows if row["quarter"] is None}
    tested = list(itertools.chain(*of_fold.values()))
    assert len(set(tested)) == len(tested), "an image is tested in two folds"
    for row in rows:
        assert row["tested"] == of_fold.get(row["number"], row["tested"])
        assert len(row["tested"]) == len(row["probabilities"]) and row["precision"]
    assert len(rows) == 16
    # By a second hand: no patient counts for more than a quarter of a class's share of a fold.
    labels, groups = (np.array(content["base"][name]) for name in ("labels", "groups"))
    sizes = pd.Series(groups).groupby([labels, groups]).transform("size")
    weights = np.minimum(1, 100 / 8 / 4 / sizes.to_numpy())
    for label in (0, 1):
        weights[labels == label] /= 2 * weights[labels == label].sum()
    right = {
        arm: (np.array(answers, dtype=float) >= 0.5) == labels
        for arm, answers in content["base"]["probabilities"].items()
    }
    for arm, quarter in (("classic_gan", None), ("part_gan", 0)):
        right[arm] = np.zeros((1, 200), dtype=bool)
        for row in (row for row in rows if row["quarter"] == quarter):
            tested = row["tested"]
            right[arm][0, tested] = (np.array(row["probabilities"]) >= 0.5) == labels[tested]
    means = {arm: each @ weights for arm, each in right.items()}
    assert len(means["oracle_part"]) == len(means["part"]) == 12
    gains = content["summary"]["gains"]
    for name, gain in {
        "exposure": means["classic_gan"] - means["classic"],
        "compute": means["classic_gan"] - means["classic_long"],
        "oracle": means["oracle_part"] - means["part"],
        "stronger": means["part_gan"] - means["part"][:1],
        "missing": means["oracle_part"][:1] - means["part_gan"],
    }.items():
        assert gains[name]["mean"] == pytest.approx(gain.mean())
        assert gains[name]["ci"][0] < gain.mean() < gains[name]["ci"][1]
    assert content["summary"]["verdict"]["answer"] == verdict.decide(gains, 8)


def test_the_test_for_copies():
    content = kept("copying")
    rows = pd.DataFrame(content["rows"])
    rows["world"] = rows["world"].replace({"haemorrhage": "heads", "clear": "heads"})
    for (world, kind), some in rows.groupby(["world", "kind"]):
        found, real = content["rates"][world][kind], world.startswith("real")
        assert len(some) == found["sets"] == (20 if real else content["draws"])
        for name, column in (
            ("flagged", "flagged"), ("named", "named"), ("wrongly_named", "wrongly_named"),
            ("interval_covers", "covered"), ("permutation", "permutation"),
        ):  # fmt: skip
            assert found[name] == pytest.approx(some[column].mean())
        assert found["ci"] == pytest.approx(wilson(int(some["flagged"].sum()), len(some)))
        if kind.startswith("copies"):
            assert found["flagged"] >= 0.9 and found["permutation"] < 0.5
        elif kind.startswith("new") and not real:
            assert np.mean(some["flagged"] | some["repeats"]) <= 0.05


def test_the_audit_of_planted_faults():
    content = kept("audit")
    rows = pd.DataFrame(content["rows"])
    assert not rows.duplicated(["world", "draw", "fault"]).any()
    for (world, fault), some in rows.groupby(["world", "fault"]):
        found = content["rates"][world][fault]
        assert len(some) == found["sets"]
        good, told, copied = (
            some[name].fillna(False).astype(bool)
            for name in ("resembles", "told_apart", "copies_flagged")
        )
        if fault == "true":
            right = good & ~told & ~copied
        else:
            right = copied if fault == "copies" else ~good | told
        assert found["recognised"] == right.mean()
        assert found["ci"] == pytest.approx(wilson(int(right.sum()), len(some)))
        spaces = ("imagenet", "judge") if world == "heads" else ("imagenet",)
        for space, name in itertools.product(spaces, ("precision", "coverage", "kid")):
            mean = np.mean([row[name] for row in some[space]])
            assert content["means"][world][fault][space][name] == pytest.approx(mean)


@pytest.mark.parametrize("world", ["heads", "textures"])
def test_the_two_sample_test_keeps_its_level(world):
    """True sets are told apart in one of twenty, up to chance; those with a kind missing often."""
    found = kept("audit")["level"][world]
    for some in found.values():
        count = round(some["told_apart"] * some["sets"])
        assert some["sets"] == 300 and some["ci"] == pytest.approx(wilson(count, 300))
    assert stats.binom.sf(300 * found["true"]["told_apart"] - 1, 300, 0.05) > 0.05
    assert found["one kind missing"]["told_apart"] > 5 * found["true"]["told_apart"]


def test_quality_and_copies_by_step():
    """Each kept step once; at 2,000 steps no copier, at the published 10,000 one."""
    content = kept("copying_by_step")
    steps = [row["steps"] for row in content["rows"]]
    assert steps == sorted(set(steps)) and 2000 in steps
    assert sorted(steps + content["missing"]) == [250, 500, *range(1000, 10_001, 1000)]
    for row in content["rows"]:
        count = round(row["share"] * content["images"]["generated"])
        assert row["ci"] == pytest.approx(wilson(count, content["images"]["generated"]))
        assert row["flagged"] == (count > 0)
        assert row["repeats"] == (row["repeats_p"] < 0.02)
    called = {row["steps"]: row["flagged"] or row["repeats"] for row in content["rows"]}
    assert called[10_000] and not called[2000]


def test_the_simulated_slices_are_neither_easy_nor_hopeless():
    arm = kept("phantom")["original_arm"]
    accuracies = [row["accuracy"] for row in arm["replicates"]]
    assert arm["mean"] == pytest.approx(np.mean(accuracies)) and 0.6 < arm["mean"] < 0.95
    assert arm["standard_deviation"] == pytest.approx(np.std(accuracies, ddof=1))


def test_slow_averages_show_in_no_number_of_the_training():
    content = kept("failures")
    rows = pd.DataFrame(content["rows"])
    assert len(rows) == 15 and not rows.duplicated(["training", "seed"]).any()
    healthy, slow = (
        rows[rows["training"] == name].drop(columns="training").set_index("seed")
        for name in ("healthy", "slow averages")
    )
    assert healthy.drop(columns="variety").equals(slow.drop(columns="variety"))
    assert (slow["variety"] < healthy["variety"]).all()


def test_what_each_trick_does():
    """Student's interval of each measure, and of its change where the paper's recipe ran too."""
    content = kept("ablation")
    rows = pd.DataFrame(content["rows"]).set_index(["recipe", "seed"]).sort_index()
    assert rows.index.is_unique
    for name, found in content["summary"].items():
        runs, paper = rows.loc[name], rows.loc["paper"]
        assert found["seeds"] == len(runs) and runs["changes"].map(str).nunique() == 1
        for key in ("kid", "coverage", "like_a_slice", "judge_agreement"):
            change = (runs[key] - paper[key]).dropna()
            for values, kept_as in ((runs[key], key), (change, f"{key}_change")):
                mean, *ends = found[kept_as]
                assert mean == pytest.approx(values.mean())
                if values.std() > 0:  # the paper's own change is none
                    assert ends == pytest.approx(
                        list(stats.ttest_1samp(values, 0).confidence_interval())
                    )


def test_the_controls():
    """Each arm's mean and t interval over sets, and each gain's, computed once more."""
    content = kept("controls")
    rows = pd.DataFrame(content["rows"])
    for size, found in content["summary"].items():
        some = rows[rows["images"] == int(size)]
        assert len(some) == some["number"].nunique() == found["sets"] >= 12
        scores = pd.json_normalize(some["arms"]).filter(regex=r"\.fresh\.balanced_accuracy$")
        scores.columns = [name.split(".")[0] for name in scores]
        for name, arm in found["arms"].items():
            mean, *ends = interval(scores[name])
            assert [arm["balanced_accuracy"], *arm["ci"]] == pytest.approx(
                [mean, *np.clip(ends, 0, 1)]
            )
        for kind, each in found["generators"].items():
            for gain, (first, second) in {
                "exposure": (kind, "classic"), "compute": (kind, "classic_long"),
                "oracle": ("oracle", "classic"), "stronger": (kind, "classic"),
                "missing": ("oracle", kind),
            }.items():  # fmt: skip
                kept_gain = each["gains"][gain]
                expected = interval(scores[first] - scores[second])
                assert [kept_gain["mean"], *kept_gain["ci"]] == pytest.approx(expected)


def test_the_answers_to_planted_generators():
    """At 36 slices: true slices help, copies never do, wrong labels harm; others may be new."""
    found = kept("controls")["summary"]["36"]["generators"]
    assert found["true"]["answer"] == "helps"
    assert found["copies"]["answer"] != "helps"
    assert found["wrong labels"]["answer"] == "harms"


def test_what_resolution_is_worth():
    content = kept("resolution")
    rows = pd.DataFrame(content["rows"])
    assert not rows.duplicated(["data", "replicate", "edge"]).any()
    assert content["summary"]["simulated"]["replicates"] == 5
    for data, found in content["summary"].items():
        chosen = rows[rows["data"] == data]
        by_edge = chosen.pivot(index="replicate", columns="edge", values="accuracy").dropna()
        test, train = (chosen[name].unique().item() for name in ("test_images", "train_images"))
        ratio = 0.0 if data == "simulated" else test / train
        assert len(by_edge) == found["replicates"]
        for edge, values in by_edge.items():
            accuracy = found[str(edge)]["accuracy"]
            assert [accuracy["mean"], *accuracy["ci"]] == pytest.approx(interval(values, ratio))
            assert set(accuracy) == {"mean", "sd", "ci"}, "a p-value of an accuracy says nothing"
            assert ("gain" in found[str(edge)]) == (edge > 32)
            if edge > 32:
                gain, expected = found[str(edge)]["gain"], interval(values - by_edge[32], ratio)
                assert [gain["mean"], *gain["ci"]] == pytest.approx(expected)


def test_lookalikes_are_found_and_different_originals_kept_apart():
    content = kept("lookalikes")
    for kind in ("heads", "textures"):
        single, augmented = content[kind]["single"], content[kind]["augmented"]
        assert content["originals"] == 300 and augmented["images"] == 2700
        assert all(rate["share"] >= 0.95 for rate in single["found"].values())
        assert len(single["found"]) == 5 and augmented["found"]["share"] >= 0.8
        assert single["warning"] == "" and "of 2700 images" in augmented["warning"]
        for found in (single, augmented):
            assert found["joined_wrongly"] < 1e-4 * found["pairs_of_different_originals"]
            assert found["originals_in_largest_group"] <= 2


def once(name):
    """For results that are computed for days: the test waits for their file."""
    return pytest.mark.skipif(not (RESULTS / f"{name}.json").exists(), reason="not measured yet")


@once("published")
def test_the_published_experiment():
    """Its gains by a second hand, and an answer only when all folds have their quarters."""
    content = kept("published")
    rows, summary = content["rows"], content["summary"]
    assert content["settings"]["primary"] == ["paper", 10_000]
    plan = kept("real_folds")
    units = [(row["classifier"], row["part"], row["fold"]) for row in rows]
    assert len(units) == len(set(units))
    for row in rows:
        assert len(row["tested"]) == len(row["labels"]) == len(plan["folds"][row["fold"]]["test"])
        for draws in row["arms"].values():
            assert all(len(draw) == len(row["labels"]) for draw in draws)
    needed = {("bundled", part, fold) for fold in range(8)
              for part in ("real", "paper", *(f"quarter-{k}" for k in range(4)))}  # fmt: skip
    primary = summary.get("bundled paper 10000", {})
    if not needed <= set(units):
        assert "missing" not in primary.get("gains", {})
        return
    gains = published_gains(rows)
    assert {name: primary["gains"][name]["mean"] for name in gains} == pytest.approx(gains)
    assert primary["verdict"]["answer"] == verdict.decide(primary["gains"], 8)


@once("pilot_resnet50")
def test_the_stronger_baseline_of_resnet50_was_chosen_by_the_pilot():
    content = kept("pilot_resnet50")
    rows = pd.DataFrame(content["rows"])
    assert not rows.duplicated(["set", "arm"]).any()
    if len(rows) < 6 * 2:
        assert content["summary"] == {}
        return
    means = rows.groupby("arm")["score"].mean()
    assert content["summary"]["stronger"] == means.idxmax()
    assert content["summary"]["mean_balanced_accuracy"] == pytest.approx(dict(means))
    page = (ROOT / "experiments" / "README.md").read_text()
    told = "*classic long* has {:.1f} % and *classic* {:.1f} %".format(*sorted(100 * means)[::-1])
    more = 100 * (means["classic_long"] - means["classic"])
    assert f"On average over six sets they gained {more:.1f} points: {told}" in page and more > 2


@once("resnet50_sets")
def test_resnet50_on_simulated_sets():
    content, pilot = kept("resnet50_sets"), kept("pilot_resnet50")["summary"]
    assert content["settings"]["stronger"] == pilot["stronger"]
    rows = pd.DataFrame(content["rows"])
    assert not rows.duplicated(["images", "number"]).any()
    for size, some in rows.groupby("images"):
        assert (some["steps"] == round(pilot["steps"] * size / 144)).all()
        if len(some) < 6:
            assert str(size) not in content["summary"]
            continue
        scores = pd.json_normalize(some["arms"])
        for name, (first, second) in {
            "exposure": ("classic_gan", "classic"), "oracle": ("oracle", pilot["stronger"]),
            "missing": ("oracle", "classic_gan"),
        }.items():  # fmt: skip
            gain = (
                scores[f"{first}.fresh.balanced_accuracy"]
                - scores[f"{second}.fresh.balanced_accuracy"]
            )
            found = content["summary"][str(size)]["gains"][name]
            assert [found["mean"], *found["ci"]] == pytest.approx(interval(gain))
