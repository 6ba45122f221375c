"""The summaries in `experiments/results` follow from the rows beside them, recomputed by SciPy."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy import stats

from experiments import worth as benchmark


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


@pytest.mark.parametrize("kind", range(6))
@pytest.mark.parametrize(("name", "wider"), [("verdict", 1), ("verdict_9_to_1", 1 + 1.25 * 9 / 22)])
def test_the_verdict_rule(name, wider, kind):
    """From each study's whole numbers: the corrected interval, the naive test, the power."""
    content = kept(name)
    row, replicates = content["rows"][kind], content["replicates"][kind]
    pool, test = (content["settings"][k] for k in ("pool", "test"))
    unit = content["settings"].get("unit", test)  # the smallest step of balanced accuracy
    splits, seeds = row["splits"], row["seeds"]
    ahead, by_split, by_fit = (np.array(replicates[k]) for k in ("ahead", "by_split", "by_fit"))
    assert len(ahead) == len(by_split) == len(by_fit) == row["studies"] == 2000
    fits, answers = splits * seeds, seeds * unit  # of a study; of a split
    mean = ahead / (fits * unit)
    between_splits = np.sqrt((by_split - ahead**2 / splits) / (splits - 1)) / answers
    between_fits = np.sqrt((by_fit - ahead**2 / fits) / (fits - 1)) / unit
    widened = np.sqrt(1 / splits + wider * test / (pool - test))
    low, high = stats.t.interval(0.95, splits - 1, mean, widened * between_splits)
    yes = (low > 0) & (high >= 0.05)
    naive_low = stats.t.interval(0.95, fits - 1, mean, between_fits / np.sqrt(fits))[0]
    assert row["yes"] == yes.mean() and row["naive_yes"] == np.mean(naive_low > 0)
    assert row["no"] == np.mean(high < 0.05)
    for answer, said in (("yes", yes), ("no", high < 0.05)):
        assert row[f"{answer}_ci"] == pytest.approx(wilson(int(said.sum()), len(said)))
    assert row["sd_between_splits"] == pytest.approx(between_splits.mean())
    effect = np.mean(replicates["true_ahead"] or 0) / content["settings"]["new_cases"]
    assert row["true_effect"] == pytest.approx(effect)
    shift = effect / (widened * between_splits.mean())
    power = stats.nct.sf(stats.t.ppf(0.975, splits - 1), splits - 1, shift)
    assert row["promised"] == pytest.approx(power)
    if name == "verdict_9_to_1":  # what is said by mistake stays under one in forty
        wrong = row["no"] if row["true_effect"] else row["yes"]
        assert wrong < 0.025


@pytest.mark.parametrize(("name", "words", "number"), [
    ("05_evaluation", r"half the steps was ([\d.]+) points behind \((.+?) to \+(.+?)\)", "steps"),
    ("05_evaluation", r"the true value may be zero \((-[\d.]+) to \+([\d.]+)\)", "worth"),
    ("05_evaluation", r"correction makes it p = ([\d.]+)\.", "holm"),
    ("05_evaluation", r"gained ([\d.]+) points over no augmentation \((.+?) to (.+?)\)", "classic"),
    ("05_evaluation", r"in its place gained ([\d.]+) \((-[\d.]+) to (.+?)\)", "gan"),
    ("03_training", r"means of all eight recipes lie between ([\d.]+) and ([\d.]+)\.", "ablation"),
])  # fmt: skip
def test_numbers_that_notebooks_tell_in_their_text(name, words, number):
    steps, worth, ablation = (pd.DataFrame(kept(k)["rows"]) for k in ("steps", "worth", "ablation"))
    classic = steps[steps["arm"] == "classic"].pivot(index="set", columns="steps")["accuracy"]
    sizes = worth[worth["arm"] == "classic"].pivot(index="replicate", columns="images")["accuracy"]
    fewer, more = (100 * gain for gain in (classic[480] - classic[240], sizes[576] - sizes[144]))
    means = ablation.groupby("recipe")["kid"].agg(["mean", "size"]).query("size == 5")["mean"]
    gan_only = kept("study_real")["summary"]["verdict"]["contrasts"]["gan_only - original"]
    contrasts = kept("study_simulated")["summary"]["verdict"]["contrasts"]
    simulated = {k: [100 * x for x in (v["mean"], *v["ci"])] for k, v in contrasts.items()}
    assert len(means) == 8
    told = {
        "steps": interval(fewer),
        "worth": interval(more)[1:],
        "holm": [gan_only["p_holm"]],
        "classic": simulated["classic - original"],
        "gan": simulated["original_gan - original"],
        "ablation": [means.min(), means.max()],
    }[number]
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
    found = re.search(words, text).groups()
    digits = 2 if number in ("holm", "ablation") else 1
    assert [float(x) for x in found] == [round(x, digits) for x in told]


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
            assert found["flagged"] <= 0.05


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
    """Each kept step once, and at 2,000 steps no copies; what is missing is said."""
    content = kept("copying_by_step")
    steps = [row["steps"] for row in content["rows"]]
    assert steps == sorted(set(steps)) and 2000 in steps
    assert sorted(steps + content["missing"]) == [250, 500, *range(1000, 10_001, 1000)]
    for row in content["rows"]:
        count = round(row["share"] * content["images"]["generated"])
        assert row["ci"] == pytest.approx(wilson(count, content["images"]["generated"]))
        assert row["flagged"] == (count > 0)
    assert not content["rows"][steps.index(2000)]["flagged"]


def test_what_04_tells_of_copying_by_step():
    text = (ROOT / "notebooks" / "04_sampling.ipynb").read_text()
    words = (
        r"After ([\d,]+) steps the coverage is (\d+) %, where real halves have (\d+) %, and "
        r"([\d.]+) % of the images are copies \(95 % interval ([\d.]+) to ([\d.]+) %\)"
    )
    steps, *numbers = re.search(words, text).groups()
    last = kept("copying_by_step")["rows"][-1]
    assert int(steps.replace(",", "")) == last["steps"]
    shares = [last["imagenet"][key] for key in ("coverage", "coverage_expected")]
    shares += [last["share"], *last["ci"]]
    digits = (0, 0, 1, 1, 1)
    expected = [round(100 * x, n) for x, n in zip(shares, digits, strict=True)]
    assert [float(x) for x in numbers] == expected


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
    true, blurred = (means["heads"][fault]["imagenet"] for fault in ("true", "blur"))
    numbers = [x[key] for key in ("kid", "recall", "density") for x in (true, blurred)]
    words = "KID rises from {} to {}, recall falls from {} to {}, and density falls from {} to {}"
    assert words.format(*(f"{abs(round(number, 2)):.2f}" for number in numbers)) in text


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


def interval(differences, ratio=0.0):
    """Mean and 95 % interval of a t-test, with Nadeau and Bengio's ratio in its error."""
    mean, count = np.mean(differences), len(differences)
    error = np.std(differences, ddof=1) * np.sqrt(1 / count + ratio)
    return [mean, *stats.t.interval(0.95, count - 1, mean, error)]


@pytest.mark.parametrize(("name", "measure"), [
    ("study_real", "accuracy"),
    ("study_simulated", "fresh_accuracy"),
])  # fmt: skip
def test_a_study(name, measure):
    """One row a split and seed; seeds are averaged, then splits compared; the rule, once more.

    Splits of the real slices share images, simulated sets don't, and are scored on fresh slices.
    """
    content = kept(name)
    rows = pd.DataFrame(content["rows"])
    settings, summary = content["settings"], content["summary"]
    assert not rows.duplicated(["split", "seed"]).any()
    assert (rows.groupby("split").size() == settings["seeds"]).all()
    assert rows["split"].nunique() == settings["splits"] == summary["replicates"] >= 5
    test, images = (rows[name].unique().item() for name in ("test_images", "images"))
    fresh = settings["changes"]["fresh_count"]
    scored, ratio = (fresh, 0.0) if rows["simulated"].all() else (test, test / (images - test))
    assert summary["measure"] == measure and summary["ratio"] == pytest.approx(ratio)
    arms = pd.json_normalize(rows["arms"]).filter(regex=rf"\.{measure}$")
    hits = scored * arms.to_numpy()
    assert np.allclose(hits, hits.round(), atol=1e-6), "shares of so many images"
    by_split = arms.groupby(rows["split"]).mean().rename(columns=lambda c: c.split(".")[0])
    for name, found in summary["arms"].items():
        mean, *ends = interval(by_split[name], ratio)
        assert [found["accuracy"], *found["ci"]] == pytest.approx([mean, *np.clip(ends, 0, 1)])
    for pair, found in summary["verdict"]["contrasts"].items():
        first, second = pair.split(" - ")
        expected = interval(by_split[first] - by_split[second], ratio)
        assert [found["mean"], *found["ci"]] == pytest.approx(expected)
        error = found["sd"] * np.sqrt(1 / summary["replicates"] + ratio)
        p_value = 2 * stats.t.sf(abs(found["mean"]) / error, summary["replicates"] - 1)
        assert found["p_value"] == pytest.approx(p_value)
    contrasts = summary["verdict"]["contrasts"]
    others = sorted((x["p_value"], x["p_holm"]) for x in contrasts.values() if "p_holm" in x)
    holm = np.maximum.accumulate([(3 - k) * p for k, (p, _) in enumerate(others)])
    assert [adjusted for _, adjusted in others] == pytest.approx(list(np.minimum(holm, 1)))
    smallest, freedom = summary["verdict"]["smallest_detectable_effect"], summary["replicates"] - 1
    sd = contrasts["classic_gan - classic"]["sd"]

    def power(effect, freedom):
        shift = effect / (sd * np.sqrt(1 / (freedom + 1) + ratio))
        return stats.nct.sf(stats.t.ppf(0.975, freedom), freedom, shift)

    assert power(smallest, freedom) == pytest.approx(0.8)
    if ratio:
        assert summary["verdict"]["images_needed"] == np.ceil(images * (smallest / 0.05) ** 2)
    else:
        needed = summary["verdict"]["replicates_needed"]
        assert power(0.05, needed - 2) < 0.8 <= power(0.05, needed - 1)
    curve = pd.json_normalize(rows["learning_curve"]).filter(regex=rf"\.{measure}$")
    curve = curve.groupby(rows["split"]).mean()
    for share, found in summary["learning_curve"].items():
        mean, *ends = interval(curve[f"{share}.{measure}"], ratio)
        assert [found["accuracy"], *found["ci"]] == pytest.approx([mean, *np.clip(ends, 0, 1)])
    low, high = contrasts["classic_gan - classic"]["ci"]
    assert low < 0 and high < 0.05 and summary["verdict"]["answer"] == "no"


def test_what_the_generated_images_are_worth():
    """Every interval from its rows; and the worth by hand: below the curve at 144 it is none."""
    content = kept("worth")
    rows, summary = pd.DataFrame(content["rows"]), content["summary"]
    assert not rows.duplicated(["replicate", "arm", "images", "dose"]).any()
    by_arm = rows.pivot(index="replicate", columns=["images", "dose"], values="accuracy")
    assert len(by_arm) == summary["replicates"] and by_arm.notna().all(axis=None)
    for size, found in summary["classic"].items():
        assert [found["mean"], *found["ci"]] == pytest.approx(interval(by_arm[int(size), 0.0]))
    for dose, found in summary["gain_by_dose"].items():
        (exact,) = [d for d in rows["dose"].unique() if f"{d:.2f}" == dose]
        gain = by_arm[144, exact] - by_arm[144, 0.0]
        assert [found["mean"], *found["ci"]] == pytest.approx(interval(gain))
    means = [summary["classic"][str(size)]["mean"] for size in (36, 72, 144, 288, 576)]
    assert means == sorted(means), "so that the curve is as measured"
    assert summary["classic_gan"]["mean"] < means[2]
    assert summary["worth"]["images"] == summary["worth"]["ci"][0] == 0
    curve = {size: by_arm[size, 0.0].to_numpy() for size in (36, 72, 144, 288, 576)}
    beside = by_arm[144, benchmark.PAPERS_DOSE].to_numpy()
    assert benchmark.worth(curve, beside, 144, seed=0) == summary["worth"]


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
