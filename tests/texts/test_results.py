"""The summaries in `experiments/results` follow from the rows beside them, recomputed by SciPy."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import published
import pytest
from conftest import ROOT
from scipy import stats

from course.study import chances_of_answers
from helpers import bundled, copies, verdict


def kept(name):
    return json.loads((ROOT / "experiments" / "results" / f"{name}.json").read_text())


def test_every_file_says_what_made_it():
    for path in (ROOT / "experiments" / "results").glob("*.json"):
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


def wilson(hits, n):
    return list(stats.binomtest(hits, n).proportion_ci(method="wilson"))


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


def test_what_the_programs_page_tells_of_quarters():
    page = (ROOT / "course" / "README.md").read_text()
    ((three, one),) = re.findall(r"in about (\d+) of 100 studies instead of (\d+)", page)
    for told, name, quarters in ((one, "rule_one_quarter", 1), (three, "rule", 3)):
        rule = kept(name)["summary"]
        room = rule["true_gains"]["true"]["oracle"]
        chances = chances_of_answers(rule, "few", [0, 0, room, 0, room], 1.0, quarters)
        assert abs(int(told) - 100 * chances["no_gain"]) < 2


def test_what_05_tells_of_the_rule_besides_its_errors():
    text = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text()
    rule, one = kept("rule")["summary"], kept("rule_one_quarter")
    held = [
        round(100 * x) for of_kind in rule["covered_widened"].values() for x in of_kind.values()
    ]
    assert f"between {min(held)} and {max(held)} of 100 intervals hold it" in text
    assert one["settings"]["quarters"] == 1 and kept("rule")["settings"]["quarters"] == 3
    few, usual = (x["answers"]["few"] for x in (one["summary"], rule))
    told = f"in {100 * few['no_gain']:.0f} % of {few['studies']} such studies, instead of "
    assert f"{told}{100 * usual['no_gain']:.0f} %" in text
    # By a second hand, from the rows: what the intervals would have to hold, and what they do.
    truth = rule["true_gains"]["few"]
    rows = [row["gains"]["few"]["missing"] for row in kept("rule")["rows"] if "few" in row["gains"]]
    factor = verdict.FACTORS["missing"]
    inside = [
        mean + factor * (low - mean) <= truth["missing"] <= mean + factor * (high - mean)
        for mean, low, high in rows
    ]
    assert np.mean(inside) == pytest.approx(rule["covered_widened"]["few"]["missing"])


def test_studies_of_simulated_sets_are_judged_once_and_only_whole():
    """By a second hand, from the rows; while some are missing, nothing is said."""
    for images in (36, 144):
        path = ROOT / "experiments" / "results" / f"study_{images}.json"
        if not path.exists():
            continue
        content = json.loads(path.read_text())
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
    path = ROOT / "experiments" / "results" / "study_folds.json"
    if not path.exists():
        return
    content = json.loads(path.read_text())
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
    if len(rows) < 16:
        assert "summary" not in content
        page = (ROOT / "experiments" / "README.md").read_text()
        assert f"{len(rows)} of 16 units are finished" in page
        return
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


def test_what_was_said_before_the_study_of_the_real_set():
    """The page tells all that the plan printed, and what the code has fixed."""
    page = (ROOT / "experiments" / "README.md").read_text()
    (fixed,) = re.findall(r"## What is fixed in advance.*?(?=\n## )", page, re.DOTALL)
    plan, rule = kept("real_folds"), kept("rule")["summary"]
    tested = [name for fold in plan["folds"] for name in fold["test"]]
    groups = {plan["groups"][name] for name in tested}
    assert f"one slice of each of {len(tested)} groups" in fixed and len(groups) == len(tested)
    sick = sum(int(name.split("/")[-1].split(".")[0]) < 100 for name in tested)  # ids 0 to 99
    scale = np.sqrt(
        (1 / sick + 1 / (len(tested) - sick)) / (4 / kept("rule")["settings"]["slices"])
    )
    half = verdict.FACTORS["exposure"] * rule["scatter"]["few"]["half_width"]["exposure"]
    assert f"about {200 * scale * half:.0f} points wide" in fixed
    perfect = rule["true_gains"]["true"]
    room = perfect["oracle"]
    named = ["harms", "helps", "no_gain", "undecided"]
    assert "| *" + "* | *".join(named).replace("_", " ") + "* |" in fixed
    for gain, generator, truth in (
        ("0", "few", [0, 0, room, 0, room]),
        ("5", "true", [perfect[name] for name in verdict.FACTORS]),
        ("8", "true", [0.08, 0.08, room, 0.08, room - 0.08]),
    ):
        chances = chances_of_answers(rule, generator, truth, scale, 3)
        (line,) = re.findall(rf"^\| {gain} points \| (.*) \|$", fixed, re.M)
        shown = dict(zip(named, line.split(" | "), strict=True))
        for name, chance in chances.items():
            told = shown.get(name, "–").replace("–", "0 %").removesuffix(" %")
            assert abs(int(told) - 100 * chance) < 1.5, (gain, name)
    assert round(100 * perfect["exposure"]) == 5
    assert round(100 * (1 - 0.95**4)) == 19 and "19 of 100" in fixed
    assert f"margin of {100 * verdict.MARGIN:.0f} points" in fixed
    assert verdict.STRONGER == {"whole": "classic", "quarter": "part"}
    assert published.PRIMARY == ("paper", 10_000) and "`paper` after 10,000 steps" in fixed


def test_what_05_tells_of_the_study_of_36_slices():
    """Recomputed from its rows; the intervals are those that the test above recomputes."""
    content, told = kept("study_36"), {}
    text = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text()
    first = text.index("With 36 slices the answer is *")
    part = text[first : text.index("Something cheaper: resolution", first)].replace("−", "-")
    summary = content["summary"]
    audits = pd.DataFrame([one for row in content["rows"] for one in row["audit"].values()])
    scores = pd.json_normalize([row["arms"] for row in content["rows"]])
    for arm, where in (("classic_gan", "fresh"), ("classic_gan", "shifted"), ("oracle", "fresh")):
        first, plain = (scores[f"{x}.{where}.balanced_accuracy"] for x in (arm, "classic"))
        told[arm, where] = interval(100 * (first - plain))
    cost, low, high = told["classic_gan", "fresh"]
    harm = scores["classic_gan.fresh.balanced_accuracy"] - scores["classic.fresh.balanced_accuracy"]
    p_value = stats.ttest_1samp(harm, 0).pvalue
    assert f"Its p-value is {p_value:.2f}" in part
    pages = [(ROOT / x).read_text() for x in ("README.md", "experiments/README.md")]
    assert f"p = {p_value:.2f}" in pages[0] and f"p-value of its harm is {p_value:.2f}" in pages[1]
    lacks = scores["oracle.fresh.balanced_accuracy"] - scores["classic_gan.fresh.balanced_accuracy"]
    lacks = "{:.1f} points less ({:.1f} to {:.1f})".format(*interval(100 * lacks))
    assert lacks in pages[1]
    assert f"the answer is *{summary['verdict']['answer']}*" in part
    assert f"cost {-cost:.1f} points, and the whole interval ({low:.1f} to {high:.1f})" in part
    assert f"True new slices brought {told['oracle', 'fresh'][0]:.1f} points" in part
    shifted = "{:+.1f} points ({:+.1f} to {:+.1f})".format(*told["classic_gan", "shifted"])
    assert f"by {shifted}. The interval contains 0" in part
    mean = audits.mean(numeric_only=True)
    assert f"all {len(audits)} GANs" in part and audits["told_apart"].all()
    coverage, expected = f"{mean['coverage']:.2f}", f"{mean['coverage_expected']:.2f}"
    assert f"the mean coverage was {coverage}, where real slices would have {expected}" in part
    assert mean["like_a_slice"] > 0.99  # "Nearly all images looked like heads"
    assert f"of {audits['repeats'].sum()} of the {len(audits)} that they repeat" in part
    assert copies.LEVEL == 1 / 50
    assert f"{content['settings']['values']['gan_steps']:,} steps on 36" in part
    noise = kept("controls")["summary"]["36"]["generators"]["noise"]["gains"]["exposure"]["mean"]
    assert f"grey noise ({100 * noise:.1f}, above)" in part


def test_what_is_told_of_the_study_of_the_real_set():
    content = kept("study_folds")
    text = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text()
    first = text.index("With the 200 real slices the answer is *")
    part = text[first : text.index("Something cheaper: resolution", first)].replace("−", "-")
    pages = [
        (ROOT / x).read_text().replace("−", "-") for x in ("README.md", "experiments/README.md")
    ]
    summary = content["summary"]
    assert f"the answer is *{summary['verdict']['answer']}*" in part

    def told(gain):
        numbers = (100 * x for x in (gain["mean"], *gain["ci"]))
        return "{:+.1f} points ({:+.1f} to {:+.1f})".format(*numbers)

    words = {name: told(gain) for name, gain in summary["gains"].items()}
    for name in ("exposure", "oracle", "stronger"):
        assert words[name] in part and words[name] in pages[1]
        assert words[name] in pages[0]
    assert f"is {words['missing']}" in part
    less = words["missing"].lstrip("+").replace(" points ", " points more than GAN images ")
    assert f"brought {less}" in pages[1] and f"brought only {less}" in pages[0]
    # "a gain of 5 points is ruled out", on both pages and in 05; at a quarter, "ends below"
    ends = [summary["gains"][name]["ci"][1] for name in ("exposure", "stronger")]
    assert max(ends) < 0.05 and f"ends at {100 * ends[0]:.1f} points" in part
    on_the_same = summary["gains"]["missing"]["mean"] + summary["gains"]["stronger"]["mean"]
    on_the_same = f"{100 * on_the_same:.1f} points"
    assert f"brought nothing either: {on_the_same}" in part
    assert f"true new slices brought {on_the_same}" in pages[1]
    assert f"{on_the_same} in this one" in pages[0]
    labels, right = np.array(content["base"]["labels"]), {}
    right["classic"] = np.array(content["base"]["probabilities"]["classic"][0]) >= 0.5
    right["classic_gan"] = np.zeros(200, dtype=bool)
    for row in (row for row in content["rows"] if row["quarter"] is None):
        right["classic_gan"][row["tested"]] = np.array(row["probabilities"]) >= 0.5
    without, beside = (each == labels for each in right.values())
    changed = (
        f"{(beside & ~without).sum()} became right, {{}}{(~beside & without).sum()} became wrong"
    )
    assert (
        f"{(beside != without).sum()} of the 200 slices changed: {changed.format('and ')}" in part
    )
    assert (
        f"{(beside != without).sum()} of the 200 slices changed ({changed.format('')})" in pages[1]
    )
    audits = {
        quarter: pd.DataFrame(
            [
                found | {"class": name}
                for row in content["rows"]
                if row["quarter"] == quarter
                for name, found in row["audit"].items()
            ]
        )
        for quarter in (None, 0)
    }
    whole, small = audits.values()
    copiers = whole["copies_flagged"] + whole["repeats"]
    assert len(whole) == 16 and "no copier among the 16 GANs" in part and not copiers.any()
    assert whole["told_apart"].all() and small["told_apart"].all()
    tested = small.dropna(subset="copies_flagged")
    copiers = (tested["copies_flagged"].astype(bool) | tested["repeats"].astype(bool)).sum()
    assert f"Of the {len(tested)} that could be tested, {copiers} are called copiers" in part
    assert f"Of the {len(tested)} GANs of quarters that could be tested, {copiers} were" in pages[1]
    assert f"up to {small['copies'].max():.0%} of the images" in part.replace(" %", "%")


POINTS = r"([+−][\d.]+) points \(([+−][\d.]+) to ([+−][\d.]+)\)"


@pytest.mark.parametrize(("name", "words", "number"), [
    ("05_evaluation", f"half the steps moved the accuracy by {POINTS}", "steps"),
    ("03_training", r"means of all eight recipes \(not in the figure\) lie between ([\d.]+) and "
     r"([\d.]+)\.", "ablation"),
])  # fmt: skip
def test_numbers_that_notebooks_tell_in_their_text(name, words, number):
    steps, ablation = (pd.DataFrame(kept(k)["rows"]) for k in ("steps", "ablation"))
    classic = steps[steps["arm"] == "classic"].pivot(index="set", columns="steps")["accuracy"]
    means = ablation.groupby("recipe")["kid"].agg(["mean", "size"]).query("size == 5")["mean"]
    assert len(means) == 8
    told = {
        "steps": interval(100 * (classic[240] - classic[480])),
        "ablation": [means.min(), means.max()],
    }
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
    found = [x.replace("−", "-") for x in re.search(words, text).groups()]
    digits = 2 if number == "ablation" else 1
    assert [float(x) for x in found] == [round(x, digits) for x in told[number]]


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


def test_what_04_tells_of_the_second_test_for_copies():
    text = (ROOT / "notebooks" / "04_sampling.ipynb").read_text()
    rates = kept("copying")["rates"]["heads"]
    for kinds, words in (("new", "calls {} to {} of"), ("copies: ", "finds only {} to {} of")):
        found = [100 * rate["repeats"] for kind, rate in rates.items() if kind.startswith(kinds)]
        assert words.format(round(min(found)), round(max(found))) in text


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


def test_what_04_tells_of_copying_by_step():
    text = (ROOT / "notebooks" / "04_sampling.ipynb").read_text()
    rows = {row["steps"]: row for row in kept("copying_by_step")["rows"]}
    coverage = {steps: round(100 * row["imagenet"]["coverage"]) for steps, row in rows.items()}
    by_halves = round(100 * rows[2000]["imagenet"]["coverage_expected"])
    assert f"is {coverage[2000]} %, where real halves have {by_halves} %" in text
    assert max(coverage, key=coverage.get) == 8000
    assert f"best coverage is {coverage[8000]} %, after 8,000" in text
    assert f"falls again, to {coverage[10_000]} %" in text
    assert [row["steps"] for row in rows.values() if row["repeats"]] == [*range(5000, 10_001, 1000)]
    first, last = (f"{rows[steps]['repeats_p']:.3f}" for steps in (5000, 10_000))
    assert f"$p$ is {first} there and {last} after 10,000 steps" in text
    told = [f"(p = {rows[steps]['repeats_p']:.3f})" for steps in (2000, 5000, 10_000)]
    page = (ROOT / "experiments" / "README.md").read_text()
    assert re.search(".*".join(map(re.escape, told)), page)
    assert not any(row["flagged"] for row in rows.values())


def test_what_04_tells_of_planted_faults():
    text = (ROOT / "notebooks" / "04_sampling.ipynb").read_text()
    content = kept("audit")
    rates, means = content["rates"], content["means"]
    for world in ("heads", "textures"):
        for fault in ("grain", "grid", "blur", "copies"):
            assert rates[world][fault]["recognised"] == 1
    words = (
        r"lowers the coverage from ([\d.]+) to ([\d.]+) with heads and to ([\d.]+) with textures"
    )
    found = [float(x) for x in re.search(words, text).groups()]
    worlds = (("heads", "true"), ("heads", "blur"), ("textures", "blur"))
    assert found == [round(means[w][f]["imagenet"]["coverage"], 2) for w, f in worlds]
    judged = means["heads"]["blur"]["judge"]["resembles"]
    assert f"every grid pass, and {judged:.0%} of".replace("%", " %") in text
    missing = {rates[world]["one kind missing"]["recognised"] for world in rates}
    true = {rates[world]["true"]["recognised"] for world in rates}
    assert f"recognised in {missing.pop():.0%} of".replace("%", " %") in text and not missing
    assert f"why {true.pop():.0%} of the true".replace("%", " %") in text and not true
    told = [f"{content['level'][world]['true']['told_apart']:.0%}" for world in rates]
    words = f"It called {told[0]} of them different with heads, and {told[1]} with textures"
    assert words.replace("%", " %") in text
    told = [f"{content['level'][world]['one kind missing']['told_apart']:.0%}" for world in rates]
    words = f"test found {told[0]} with heads and {told[1]} with textures"
    assert words.replace("%", " %") in text
    for world, space in (("heads", "judge"), ("textures", "imagenet")):
        missing = [
            row
            for row in content["rows"]
            if (row["world"], row["fault"]) == (world, "one kind missing")
        ]
        assert len(missing) == 20 and sum(row["told_apart"] for row in missing) == 15
        found = [row for row in missing if row["told_apart"] and not row["resembles"]]
        assert len(found) == sum(not row[space]["resembles"] for row in missing) == 5


def test_each_file_is_listed_with_its_command():
    page = (ROOT / "experiments" / "README.md").read_text()
    for path in (ROOT / "experiments" / "results").glob("*.json"):
        (line,) = [x for x in page.splitlines() if x.startswith("| ") and f"`{path.name}`" in x]
        command = json.loads(path.read_text())["command"].replace("|", r"\|")  # as a table needs it
        assert f"`{command}`" in line


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


def test_what_03_tells_of_its_edits():
    """Every number of the table under *What we saw*, and the counts below it."""
    names = {"none": "none", "no penalty": "no penalty",
             "neither soft nor noisy": "labels neither soft nor noisy",
             "discriminator too strong": "discriminator too strong"}  # fmt: skip
    rows = pd.DataFrame(kept("edits")["rows"])
    rows["apart"] = rows["output_on_real"] - rows["output_on_fake"]
    text = (ROOT / "notebooks" / "03_training.ipynb").read_text()

    def cell(values, digits):
        shown = (f"{value:.{digits}f}" for value in values)
        return ", ".join(shown).replace("-0.00", "0.00").replace("-", "−")

    digits_of = {"discriminator_gradient": 1, "apart": 2, "output_on_fake": 2, "heads": 0}
    by_edit = {edit: some.set_index("seed") for edit, some in rows.groupby("edit")}
    plain = by_edit["none"]
    assert list(plain.index) == [2019, 2020, 2021, 2022, 2023] and (plain["heads"] > 0).all()
    for edit, words in names.items():
        found = by_edit[edit]
        assert found.index.equals(plain.index)
        cells = [cell(found[name], digits) for name, digits in digits_of.items()]
        assert f"| {words} | {' | '.join(cells)} |" in text
        assert (found["heads"] == 0).sum() in ((0,) if edit == "none" else (1, 2))
    without, hard, strong = (by_edit[edit] for edit in list(names)[1:])
    assert (without["discriminator_gradient"] < plain["discriminator_gradient"]).sum() == 4
    assert (hard["apart"] > plain["apart"]).sum() == 4
    assert (strong["output_on_fake"] < plain["output_on_fake"]).sum() == 3
    for name in digits_of:
        means = [found[name].mean() for found in by_edit.values()]
        assert all(np.ptp(found[name]) > np.ptp(means) for found in by_edit.values())
        if name == "discriminator_gradient":
            assert f"these means are {min(means):.1f} to {max(means):.1f})" in text
    changed = pd.concat([without, hard, strong])["heads"]
    more = sum((found["heads"] > plain["heads"]).sum() for found in (without, hard, strong))
    assert ((changed > 0).sum(), more) == (11, 10)


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


def test_what_03_tells_of_the_best_recipe():
    summary = kept("ablation")["summary"]
    coverage = {name: f["coverage"][0] for name, f in summary.items() if f["seeds"] == 5}
    text = (ROOT / "notebooks" / "03_training.ipynb").read_text()
    best, plain = coverage.pop("5e-4, averaged"), coverage["paper"]
    assert f"best mean coverage, {best:.2f} where `paper` has {plain:.2f}" in text
    assert max(coverage, key=coverage.get) == "learning rates 5e-4"  # "Of the single changes"


def interval(differences, ratio=0.0):
    """Mean and 95 % interval of a t-test, with Nadeau and Bengio's ratio in its error."""
    mean, count = np.mean(differences), len(differences)
    error = np.std(differences, ddof=1) * np.sqrt(1 / count + ratio)
    return [mean, *stats.t.interval(0.95, count - 1, mean, error)]


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
        test, images = (chosen[name].unique().item() for name in ("test_images", "images"))
        ratio = 0.0 if data == "simulated" else test / (images - test)
        assert len(by_edge) == found["replicates"]
        for edge, values in by_edge.items():
            accuracy, gain = (found[str(edge)][key] for key in ("accuracy", "gain"))
            assert [accuracy["mean"], *accuracy["ci"]] == pytest.approx(interval(values, ratio))
            if edge > 32:
                expected = interval(values - by_edge[32], ratio)
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
