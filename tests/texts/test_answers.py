"""What README, the other pages and the notebooks tell of the results is what the files say."""

import itertools
import json
import math
import re

import numpy as np
import pandas as pd
import published
import pytest
import yaml
from conftest import ROOT
from PIL import Image
from results import RESULTS, interval, kept, points, told, wilson
from scipy import stats

from course.params import NOTEBOOKS
from helpers import copies, folds, interactive, verdict
from helpers.verdict import chances_of_answers

README = (ROOT / "README.md").read_text()
ANSWERS = (ROOT / "experiments" / "README.md").read_text()
OTHERS = (ROOT / name / "README.md" for name in ("course", "benchmarks"))
TEXTS = "\n".join([README, ANSWERS, *(page.read_text() for page in OTHERS)])


def test_the_readme_says_what_was_measured():
    """Minutes rounded up, for each notebook of the quick run whose outputs are shown; memory."""
    fast, slow = kept("quick"), kept("quick_float32")
    assert {gan["precision"].split("+")[0] for gan in fast["gan"].values()} == {"mixed_bfloat16"}
    assert {gan["precision"].split("+")[0] for gan in slow["gan"].values()} == {"float32"}
    assert fast["machine"]["bfloat16"] and not slow["machine"]["bfloat16"]
    rows = re.findall(r"^\| `(\d\d_\w+)` \|[^|]*\| (\S+) / (\S+) \|$", README, re.M)
    assert len(rows) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    for name, *minutes in rows:
        found = [run["cost"]["seconds"].get(name) for run in (fast, slow)]
        assert minutes == ["–" if x is None else str(math.ceil(x / 60)) for x in found], name
    for profile, cost in ((" PROFILE=smoke", "smoke_cost"), ("", "cost")):
        seconds = [[run[cost]["seconds"][name] for name in NOTEBOOKS] for run in (fast, slow)]
        (line,) = re.findall(rf"^\| `make course{profile}` .*$", README, re.M)
        minutes = [math.ceil(sum(found) / 60) for found in seconds]
        assert "about {} minutes on a newer processor, {} on an older one;".format(*minutes) in line
    peaks = [f"{run['cost']['peak_memory_gb']:.1f} GB" for run in (fast, slow)]
    assert len(set(peaks)) == 1 and f"held {peaks[0]} of memory in both runs" in TEXTS
    smoke_params = yaml.safe_load((ROOT / "params" / "smoke.yaml").read_text())
    assert (
        f"the smoke run, with {smoke_params['fresh_count']} fresh slices, still held "
        f"{fast['smoke_cost']['peak_memory_gb']:.1f} GB"
    ) in TEXTS


SPEEDS = json.loads((ROOT / "benchmarks" / "results.json").read_text())["processors"]


@pytest.mark.parametrize("kind", SPEEDS)
def test_the_texts_say_the_speeds_that_were_measured(kind):
    """A line of the table for each kind of processor, and sentences about the classifiers."""
    row = SPEEDS[kind]
    if "gan_step" in row:
        assert row["machine"]["cores"] == 2 and row["machine"]["kind"] == kind

        def both(rival):
            found = (row["gan_step"][f"vs_{rival}{x}"]["median"] for x in ("_penalty", ""))
            return "{:.2f} / {:.2f}".format(*found)

        resnet = row["resnet_step"]["vs_pytorch_best"]["median"]
        hours = row["paper_scale"]["hours_for_both_gans"]
        line = f"| {kind} | {both('keras_2019')} | {both('pytorch_best')} | {resnet:.2f} |"
        assert f"{line} {hours:.1f} h |" in TEXTS
    if kind == "AVX-512":
        step = {k: f"{spread['median']:.2f} times as" for k, spread in row["gan_step"].items()}
        assert f"the work of {step['share_of_peak']} many multiplications a second" in TEXTS
        assert f"takes {step['vs_xla_penalty']} long with the penalty" in TEXTS
        assert f"in one call take {step['vs_four_at_once_penalty']} long as four" in TEXTS
    if "evaluation" in row:
        fits = {name: spread["median"] for name, spread in row["evaluation"].items()}
        whole, same = (fits[f"scratch_vs_plain{x}"] for x in ("", "_onednn"))
        assert f"trained whole | plain `fit` | {whole:.2f} times as fast |" in TEXTS
        assert f"trained whole | plain `fit` with oneDNN | {same:.2f} times as fast |" in TEXTS
        frozen = f"| plain `fit` with oneDNN | {fits['frozen_vs_plain_onednn']:.0f} times as fast |"
        assert f"only the last layer is trained {frozen}" in TEXTS
    if "study" in row:
        two = [f"{spread['median']:.2f} times as fast" for spread in row["study"].values()]
        assert "{} as in one process, and {} as in one process with two".format(*two) in TEXTS


def measured(name: str) -> list[str]:
    """The lines of the table of answers that link to this file."""
    section = ANSWERS.split("## The answers\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if f"](results/{name}.json) |" in line]


def percent(share: float, interval: list[float], digits: int = 1) -> str:
    low, high = (f"{100 * edge:.{digits}f}" for edge in interval)
    return f"{100 * share:.{digits}f} % ({low} to {high})"


def test_the_readme_shows_the_rule_as_it_was_tried():
    false, power = measured("rule")
    evaluation = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text(encoding="utf-8")
    summary = kept("rule")["summary"]
    assert f"{summary['studies']} simulated studies" in false
    for name, error in summary["errors"].items():
        words = f"*{name.replace('_', ' ')}*"
        assert f"{words} {percent(error['wrong'], error['ci'])} of {error['studies']}" in false
        said = f"| {error['studies']} | {percent(error['wrong'], error['ci'])} |"
        assert f"| {words} | " in evaluation and said in evaluation
    few = [kept(name)["summary"]["answers"]["few"] for name in ("rule", "rule_one_quarter")]
    found = sum(round(each["helps"] * each["studies"]) for each in few)
    asked = sum(each["studies"] for each in few)
    assert f"together it is {found} of {asked} studies ({100 * found / asked:.1f} %)" in evaluation
    for name, nearest in (("helps", "copies"), ("harms", "few")):
        studies = summary["answers"][nearest]["studies"]
        share = summary["answers"][nearest][name]
        hardest = percent(share, wilson(round(share * studies), studies))
        assert f"| {nearest}: {hardest} of {studies} |" in evaluation
    plan, perfect = kept("study_folds"), summary["true_gains"]["true"]
    labels, groups = (np.array(plan["base"][name]) for name in ("labels", "groups"))
    people = [len(np.unique(groups[labels == k])) for k in (0, 1)]
    scale = np.sqrt((1 / people[0] + 1 / people[1]) / (4 / 200))
    truth = [perfect[name] for name in verdict.FACTORS]
    helps = chances_of_answers(summary, "true", truth, scale, 3)["helps"]
    said = f"only {sum(people) - 1} groups, each of one person as far as we know: of 100 studies "
    said += "of so few, about 20 would find a gain"
    assert 0.175 < helps < 0.225 and f"{said} of 5 points" in README
    assert "generator in about 20 % of cases" in evaluation
    assert f"{people[1]} with haemorrhages and {people[0]} with clear slices" in evaluation
    perfect = summary["answers"]["true"]
    gain = 100 * summary["true_gains"]["true"]["exposure"]
    found = f"*helps* in {100 * perfect['helps']:.0f} % of {perfect['studies']} studies"
    assert f"gains {gain:.1f} points: {found}" in power


@pytest.mark.parametrize(("number", "steps"), [(0, 120), (1, 480)])
def test_the_readme_shows_how_many_steps_the_arms_need(number, steps):
    line = measured("steps")[number]
    rows = pd.DataFrame(kept("steps")["rows"])
    by_arm = rows[rows["steps"] == steps].pivot(index="set", columns="arm", values="accuracy")
    classic, original = 100 * by_arm["classic"].mean(), 100 * by_arm["original"].mean()
    assert f"{steps} steps" in line
    assert f"{classic:.1f} % against {original:.1f} %: " in line
    assert points(*interval(by_arm["classic"] - by_arm["original"])) in line
    gain = points(*interval(by_arm["classic"] - by_arm["original"]))
    text = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text()
    assert gain in text  # among the outputs
    settings = f"{len(by_arm)} simulated sets of {kept('steps')['settings']['train']}"
    assert settings in measured("steps")[0]


def test_the_readme_shows_what_a_simulator_gave():
    (line,) = measured("simulator")
    content = kept("simulator")
    rows = pd.DataFrame(content["rows"])
    by_arm = rows.pivot(index="split", columns="arm", values="accuracy")
    test, train = (rows[name].unique().item() for name in ("test_images", "train_images"))
    assert f"{content['settings']['simulated']:,} simulated" in line
    assert f"{len(by_arm)} splits of {test} test images, {content['settings']['steps']} s" in line
    means = [100 * by_arm[arm].mean() for arm in ("simulated", "real")]
    assert "{:.1f} % against {:.1f} %: ".format(*means) in line
    assert points(*interval(by_arm["simulated"] - by_arm["real"], test / train)) in line


@pytest.mark.parametrize("name", ["study_36", "study_folds", "study_144"])
def test_the_readme_shows_a_study_once_all_of_it_is_there(name):
    content = kept(name)
    if "summary" not in content:
        assert measured(name) == []
        return
    (line,) = measured(name)
    settings, summary = content["settings"], content["summary"]
    on = f"{settings['sets']} simulated sets of {settings['images']} slices"
    if settings["data"]:
        on = f"the real set: {settings['images']} slices, {summary['replicates']} folds"
    assert f"| {on}" in line and f"{settings['values']['gan_steps']:,} steps" in line
    gains = {"exposure": "*classic*", "compute": "*classic long*"}
    for gain, against in gains.items():
        assert f"against {against} {told(summary['gains'][gain])}" in line
    assert f"true new slices {told(summary['gains']['oracle'])}" in line
    assert f": *{summary['verdict']['answer'].replace('_', ' ')}* |" in line
    assert told(summary["gains"]["exposure"]) in README.replace("−", "-")


def test_the_readme_answers_its_title_with_the_controls():
    bring, *answers = measured("controls")
    found = kept("controls")["summary"]
    assert f"| {found['36']['sets']} simulated sets of 36 and of 144 slices" in bring

    assert "{} and {} |".format(*(told(found[size]["oracle"]) for size in ("36", "144"))) in bring
    for size, line in zip(("36", "144"), answers, strict=True):
        assert f"sets of {size} |" in line
        for kind, each in found[size]["generators"].items():
            answer = f"*{each['answer'].replace('_', ' ')}*"
            assert f"{kind} {told(each['gains']['exposure'])}, {answer}" in line


def test_the_readme_shows_what_finer_images_are_worth():
    both = pd.DataFrame(kept("resolution")["rows"]).groupby("data", sort=False)
    for line, data in zip(measured("resolution"), ("simulated", "head-ct-hemorrhage"), strict=True):
        rows = both.get_group(data)
        by_edge = rows.pivot(index="replicate", columns="edge", values="accuracy")
        means = [100 * by_edge[edge].mean() for edge in (128, 32)]
        assert "{:.1f} % against {:.1f} %: ".format(*means) in line
        test, train = (rows[name].unique().item() for name in ("test_images", "train_images"))
        ratio = 0.0 if data == "simulated" else test / train
        assert points(*interval(by_edge[128] - by_edge[32], ratio)) in line
        on = "simulated" if data == "simulated" else f"splits of {test} test images"
        assert f"| {len(by_edge)} {on}" in line


def test_the_readme_shows_what_the_best_recipe_gains():
    (line,) = measured("ablation")
    summary = kept("ablation")["summary"]
    paper, best = summary["paper"], summary["5e-4, averaged"]
    for measure in ("coverage", "kid"):
        change = "{:+.2f} ({:+.2f} to {:+.2f})".format(*best[f"{measure}_change"])
        said = f"{best[measure][0]:.2f} against {paper[measure][0]:.2f}: {change}"
        assert said in line
    whole = {name: found for name, found in summary.items() if found["seeds"] == 5}
    assert min(whole, key=lambda name: whole[name]["kid"][0]) == "5e-4, averaged"
    assert max(whole, key=lambda name: whole[name]["coverage"][0]) == "5e-4, averaged"


def test_the_readme_shows_what_the_test_for_copies_found():
    (line,) = measured("copying")
    rates = kept("copying")["rates"]["heads"]
    said = {
        "copies under noise": "copies: noise", ", blurred": "copies: blur", "new slices": "new",
        "blurred new ones": "new, blurred",
    }  # fmt: skip
    for words, kind in said.items():
        low, high = (100 * end for end in rates[kind]["ci"])
        assert f"{words} {100 * rates[kind]['flagged']:.0f} % ({low:.0f} to {high:.0f})" in line


def test_the_readmes_picture_is_small_and_has_words():
    alt, path = re.search(r"^!\[([^\]]+)\]\((experiments/results/\S+)\)", README, re.M).groups()
    assert len(alt.split()) > 20 and "simulated" in alt
    picture = Image.open(ROOT / path)
    assert len(picture.convert("RGB").getcolors(257)) <= 256
    assert (ROOT / path).stat().st_size < 300_000


def section(text, first, last):
    """From one string to another one after it, with plain minus signs."""
    start = text.index(first)
    return text[start : text.index(last, start)].replace("−", "-")


POINTS = r"([+−][\d.]+) points \(([+−][\d.]+) to ([+−][\d.]+)\)"


def test_what_the_programs_page_tells_of_quarters():
    page = (ROOT / "course" / "README.md").read_text()
    ((three, one),) = re.findall(r"in about (\d+) of 100 studies instead of (\d+)", page)
    for said, name, quarters in ((one, "rule_one_quarter", 1), (three, "rule", 3)):
        rule = kept(name)["summary"]
        room = rule["true_gains"]["true"]["oracle"]
        chances = chances_of_answers(rule, "few", [0, 0, room, 0, room], 1.0, quarters)
        assert abs(int(said) - 100 * chances["no_gain"]) < 2


def test_what_the_pages_tell_of_the_chances_of_each_answer():
    """As notebook 07 prints them."""
    page = (ROOT / "course" / "README.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.M)
    assert len(rows) == 4
    for row in rows:
        people, *told_of = map(int, row)
        quarters = int(people >= interactive.FEWEST_OF_QUARTER)
        _, by_gain = verdict.foresee([people / 2] * 2, quarters)
        nothing, five, eight = (
            100 * np.array([x["no_gain"], x["helps"]]) for x in by_gain.values()
        )
        assert np.abs(np.array(told_of) - [five[1], eight[1], nothing[0]]).max() < 1
        if people == 200:
            said = "With 200 patients, {1} of 100 studies find a gain of 8 points, and {0} find one"
            assert said.format(*told_of) in README
        if people == 800:
            nothing = next(iter(by_gain.values()))
            assert round(100 * (1 - nothing["no_gain"])) == 6
            assert 2 < 100 * nothing["undecided"] < 3  # "two or three of the six others"
    gains = kept("rule")["summary"]["true_gains"]["true"]
    room = [100 * gains[name] for name in ("oracle", "exposure")]
    assert "{:.1f} points beside a quarter, and {:.1f} beside all".format(*room) in page


def test_what_05_tells_of_the_rule_besides_its_errors():
    text = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text()
    rule, one = kept("rule")["summary"], kept("rule_one_quarter")
    held = [
        round(100 * x) for of_kind in rule["covered_widened"].values() for x in of_kind.values()
    ]
    assert f"between {min(held)} and {max(held)} of 100 intervals hold it" in text
    assert one["settings"]["quarters"] == 1 and kept("rule")["settings"]["quarters"] == 3
    few, usual = (x["answers"]["few"] for x in (one["summary"], rule))
    said = f"in {100 * few['no_gain']:.0f} % of {few['studies']} such studies, instead of "
    assert f"{said}{100 * usual['no_gain']:.0f} %" in text
    # By a second hand, from the rows: what the intervals would have to hold, and what they do.
    truth = rule["true_gains"]["few"]
    rows = [row["gains"]["few"]["missing"] for row in kept("rule")["rows"] if "few" in row["gains"]]
    factor = verdict.FACTORS["missing"]
    inside = [
        mean + factor * (low - mean) <= truth["missing"] <= mean + factor * (high - mean)
        for mean, low, high in rows
    ]
    assert np.mean(inside) == pytest.approx(rule["covered_widened"]["few"]["missing"])
    held, all_of = 0, 0
    for row in one["rows"]:
        for kind, gains in row["gains"].items():
            _, low, high = gains["missing"]
            held += low <= one["summary"]["true_gains"][kind]["missing"] <= high
            all_of += 1
    assert f"{held} of {all_of} intervals of `missing` held the true gain before" in text
    needed = one["summary"]["factors"]["missing"]
    assert f"The factor {factor} hardly changes that, and {needed} would have been needed." in text


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
            said = shown.get(name, "–").replace("–", "0 %").removesuffix(" %")
            assert abs(int(said) - 100 * chance) < 1.5, (gain, name)
    assert round(100 * perfect["exposure"]) == 5
    assert round(100 * (1 - 0.95**4)) == 19 and "19 of 100" in fixed
    assert f"margin of {100 * verdict.MARGIN:.0f} points" in fixed
    assert verdict.STRONGER == {"whole": "classic", "quarter": "part"}
    assert published.PRIMARY == ("paper", 10_000) and "`paper` after 10,000 steps" in fixed


def test_what_is_told_of_resnet50_beside_36_slices():
    summary = kept("resnet50_sets")["summary"]["36"]
    gains, long = summary["gains"], summary["secondary"]["long"]
    (line,) = measured("resnet50_sets")
    answer = summary["verdict"]["answer"].replace("_", " ")
    assert f"| {summary['replicates']} simulated sets of 36 slices" in line
    assert f"against *classic* {told(gains['exposure'])}, against *classic long*" in line
    assert f"against *classic long* {told(gains['compute'])}; true new slices against" in line
    assert f"*classic long* {told(gains['oracle'])}: *{answer}* |" in line
    text = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text()
    part = section(
        text, "**ResNet-50, with 36 simulated slices: no gain,", "with 144: not measured"
    )
    more = told(gains["missing"]).lstrip("+").replace("points", "points more than GAN images")
    for page in (part, README.replace("−", "-")):
        assert told(gains["exposure"]) in page and told(gains["compute"]) in page
    assert told(long) in part and more in part and f"so the answer is *{answer}*." in README
    assert told(long) in README.replace("−", "-") and told(gains["oracle"]) in part
    assert f"With ResNet-50 it is {100 * gains['exposure']['sd']:.1f} points" in text
    arms = {k: f"{100 * arm['balanced_accuracy']:.1f} %" for k, arm in summary["arms"].items()}
    own = section(ANSWERS, "**ResNet-50, 36 simulated slices.**", "**144 simulated")
    assert (
        "*Classic* reached {classic}, *classic long* {classic_long}, *classic + GAN* "
        "{classic_gan}, and true new slices {oracle}."
    ).format(**arms) in own
    assert more in own
    there = [told(summary["secondary"][f"{name}, shifted"]) for name in ("exposure", "compute")]
    shifted = section(ANSWERS, "**Shifted slices**", "**144 simulated")
    for page in (part, shifted):
        assert f"{there[0]} against *classic*, and {there[1]} against *classic long*" in page
    few, more = (kept(name)["summary"]["secondary"] for name in ("study_36", "study_144"))
    both = [told(each["exposure, shifted"]) for each in (few, more)]
    assert f"against *classic* {both[0]} with 36 slices and {both[1]} with 144" in shifted
    for each in (few, more):  # "all four intervals contain 0"
        for name in ("exposure", "compute"):
            low, high = each[f"{name}, shifted"]["ci"]
            assert low < 0 < high
    steps = {row["steps"] for row in kept("resnet50_sets")["rows"] if row["images"] == 36}
    assert steps == {120} and "120 steps for *classic*, 240 for the others" in own


def test_what_05_tells_of_the_study_of_36_slices():
    """Recomputed from its rows; the intervals are those that the test above recomputes."""
    content, said = kept("study_36"), {}
    text = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text()
    part = section(text, "The answer is *harms*", "With 144 slices the answer is *")
    summed = section(text, "So will GAN images help?", "## Exercises")
    summary = content["summary"]
    audits = pd.DataFrame([one for row in content["rows"] for one in row["audit"].values()])
    scores = pd.json_normalize([row["arms"] for row in content["rows"]])
    for arm, where in itertools.product(("classic_gan", "oracle"), ("fresh", "shifted")):
        first, plain = (scores[f"{x}.{where}.balanced_accuracy"] for x in (arm, "classic"))
        said[arm, where] = interval(100 * (first - plain))
    cost, low, high = said["classic_gan", "fresh"]
    harm = scores["classic_gan.fresh.balanced_accuracy"] - scores["classic.fresh.balanced_accuracy"]
    p_value = stats.ttest_1samp(harm, 0).pvalue
    assert f"Its p-value is {p_value:.2f}" in part
    pages = [(ROOT / x).read_text() for x in ("README.md", "experiments/README.md")]
    assert f"p = {p_value:.2f}" in pages[0] and f"p-value of the harm is {p_value:.2f}" in pages[1]
    lacks = scores["oracle.fresh.balanced_accuracy"] - scores["classic_gan.fresh.balanced_accuracy"]
    lacks = "{:.1f} points less ({:.1f} to {:.1f})".format(*interval(100 * lacks))
    assert lacks in pages[1]
    assert summary["verdict"]["answer"] == "harms"
    assert f"cost {-cost:.1f} points, and the whole interval ({low:.1f} to {high:.1f})" in part
    assert f"True new slices brought {said['oracle', 'fresh'][0]:.1f} points" in part
    later = section(text, "With 144 slices the answer is *", "So will GAN images help?")
    true = "{:.1f} points there with 36 slices ({:+.1f} to {:+.1f})".format(
        *said["oracle", "shifted"]
    )
    _, low, high = said["classic_gan", "shifted"]
    assert low < 0 < high and f"True new slices gained {true}" in later
    mean = audits.mean(numeric_only=True)
    assert f"these {len(audits)} GANs" in part and audits["told_apart"].all()
    assert mean["precision"] < 0.5
    values = f"{mean['precision']:.2f}, where real slices have {mean['precision_expected']:.2f}"
    assert f"(precision {values}), and they cover {100 * mean['coverage']:.0f} %" in part
    assert f"And {audits['repeats'].sum()} of the {len(audits)} GANs repeat" in part
    assert audits["copies_flagged"].sum() == 1  # "named as copies in only one"
    assert copies.LEVEL == 1 / 50
    worth = [100 * x for x in (summary["worth"]["share"], *summary["worth"]["ci"])]
    assert "{:.0f} % with 36 slices ({:.0f} to {:.0f} %)".format(*worth) in summed
    assert f"GANs of {content['settings']['values']['gan_steps']:,} steps: no" in summed
    noise = kept("controls")["summary"]["36"]["generators"]["noise"]["gains"]["exposure"]["mean"]
    assert f"grey noise ({100 * noise:.1f}, above)" in part


def test_what_is_told_of_the_study_of_144_slices():
    """Recomputed from its rows."""
    content = kept("study_144")
    text = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text()
    part = section(text, "With 144 slices the answer is *", "So will GAN images help?")
    summed = section(text, "So will GAN images help?", "## Exercises")
    pages = [(ROOT / x).read_text() for x in ("README.md", "experiments/README.md")]
    answer = content["summary"]["verdict"]["answer"]
    assert answer == "no_gain" and part.startswith("With 144 slices the answer is *no gain*.")
    scores = pd.json_normalize([row["arms"] for row in content["rows"]])

    def gain(first, second, where="fresh"):
        pair = (100 * scores[f"{arm}.{where}.balanced_accuracy"] for arm in (first, second))
        return interval(next(pair) - next(pair))

    exposure, true, missing = (
        gain("classic_gan", "classic"), gain("oracle", "classic"), gain("oracle", "classic_gan"),
    )  # fmt: skip
    assert "by {:+.1f} points ({:+.1f} to {:+.1f})".format(*exposure) in part
    assert "brought {:.1f} points in the same sets ({:+.1f} to {:+.1f})".format(*true) in part
    assert "is {:.1f} points more than GAN images ({:+.1f} to {:+.1f})".format(*missing) in part
    assert "{:.1f} points less than true new slices ({:.1f} to {:.1f})".format(*missing) in pages[1]
    assert exposure[1] < 0 < exposure[2] < 5 and missing[1] > 0
    assert "{:+.1f} points ({:+.1f} to {:+.1f}) | *no gain*".format(*true) in pages[0]
    _, low, high = gain("oracle", "classic", "shifted")
    assert low < 0 < high
    other = pd.json_normalize([row["arms"] for row in kept("study_36")["rows"]])

    def rate(of, key):
        return tuple(
            round(100 * of[f"{arm}.shifted.{key}"].mean()) for arm in ("classic", "classic_gan")
        )

    assert (
        "with 36 slices the sensitivity rises there from {} to {} %, and the specificity falls "
        "from {} to {} %; with 144, from {} to {} % and from {} to {} %."
    ).format(*(
        x for of in (other, scores) for key in ("sensitivity", "specificity") for x in rate(of, key)
    )) in part  # fmt: skip
    assert (
        "(with 36 slices, sensitivity {1} % instead of {0} %, and specificity {3} % instead of "
        "{2} %)"
    ).format(*rate(other, "sensitivity"), *rate(other, "specificity")) in pages[1]
    there = [scores[f"oracle.shifted.{key}"].mean() for key in ("sensitivity", "specificity")]
    assert "too, but less: {:.0f} and {:.0f} %.)".format(*(100 * x for x in there)) in part
    secondary = kept("study_36")["summary"]["secondary"]
    assert len(secondary) == 5
    assert f"its p-value is {secondary['oracle, shifted']['p_holm']:.3f}." in part
    assert secondary["exposure, shifted"]["ci"][1] > verdict.MARGIN
    assert secondary["compute, shifted"]["ci"][1] > verdict.MARGIN
    audits, few = (
        pd.DataFrame([one for row in kept(name)["rows"] for one in row["audit"].values()])
        for name in ("study_144", "study_36")
    )
    assert f"Only {audits['repeats'].sum()} of these {len(audits)} GANs repeat" in part
    better = f"{audits['kid'].mean():.1f} instead of {few['kid'].mean():.1f}"
    assert f"By their KID the images are better, {better}" in part
    assert audits["samples"].mean() == 4 * few["samples"].mean()
    smaller = interval(100 * (scores["classic_gan.fresh.balanced_accuracy"]
                              - scores["classic.fresh.balanced_accuracy"]))  # fmt: skip
    harm = np.mean(100 * (other["classic_gan.fresh.balanced_accuracy"]
                          - other["classic.fresh.balanced_accuracy"]))  # fmt: skip
    assert smaller[1] < harm < smaller[2] and f"also the {harm:.1f} points of 36 slices" in part
    assert f"also the {harm:.1f} of 36 slices" in pages[1]
    worth = content["summary"]["worth"]
    worth = [100 * x for x in (worth["share"], *worth["ci"])]
    assert "{:.0f} % with 144 ({:.0f} to {:+.0f} %)".format(*worth) in summed
    plain, true_slices = (
        100 * scores[f"{arm}.fresh.balanced_accuracy"].mean() for arm in ("classic", "oracle")
    )
    assert f"*bundled* has {plain:.1f} %, and {true_slices:.1f} % with true new slices" in summed
    assert f"{audits['repeats'].sum()} of {len(audits)} with 144 slices" in pages[1]
    assert not audits["copies"].any() and audits["told_apart"].all()
    assert f"{len(content['rows'])} simulated sets of 144" in pages[0]
    own = (ROOT / "notebooks" / "07_your_own_images.ipynb").read_text().replace("−", "-")
    assert (
        f"images brought {exposure[0]:.1f} points where true new slices brought {true[0]:.1f}"
        in own
    )


def test_what_is_told_of_the_study_of_the_real_set():
    content = kept("study_folds")
    text = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text()
    part = section(text, "With the 200 real slices the answer is *", "So will GAN images help?")
    pages = [
        (ROOT / x).read_text().replace("−", "-") for x in ("README.md", "experiments/README.md")
    ]
    summary = content["summary"]
    assert f"the answer is *{summary['verdict']['answer']}*" in part
    words = {name: told(gain) for name, gain in summary["gains"].items()}
    for name in ("exposure", "oracle", "stronger"):
        printed = text if name == "stronger" else part  # a cell prints it
        assert words[name] in printed and words[name] in pages[1]
    assert words["exposure"] in pages[0]
    assert f"is {words['missing']}" in part
    less = words["missing"].lstrip("+").replace(" points ", " points more than GAN images ")
    assert f"brought {less}" in pages[1]
    # "a gain of 5 points is ruled out", on both pages and in 05; at a quarter, "ends below"
    labels, groups = (np.array(content["base"][name]) for name in ("labels", "groups"))
    weights = folds.image_weights(labels, groups)
    ends = [summary["gains"][name]["ci"][1] for name in ("exposure", "stronger")]
    assert max(ends) < 0.05 and f"ends at {100 * ends[0]:.1f} points" in part
    on_the_same = summary["gains"]["missing"]["mean"] + summary["gains"]["stronger"]["mean"]
    on_the_same = f"true new slices brought {100 * on_the_same:.1f} points"
    assert on_the_same in part and on_the_same in pages[1]
    assert f"GAN images {100 * summary['gains']['stronger']['mean']:.1f}." in part
    right = {
        arm: 100 * ((np.array(answers) >= 0.5) == content["base"]["labels"]) @ weights
        for arm, answers in content["base"]["probabilities"].items()
    }
    assert right["part"][0] == right["part"].max()
    little_room = (
        f"*classic* reached {right['part'][0]:.1f} %, as on one other{{}} the highest of the "
        f"twelve{{}} (their mean is {right['part'].mean():.1f} %), {{}} with all slices "
        f"({right['classic'][0]:.1f} %)"
    )
    words = " draw. These two are", " draws", "and nearly as high as"
    assert little_room.format(*words) in part
    assert little_room.format(",", "", "nearly as much as") in pages[1]
    first, second, third = np.sort(right["part"].round(1))[:-4:-1]
    assert first == second == right["part"][0].round(1) > third
    (hoped,) = re.findall(r"0 points: .*?undecided (\d+)%", content["foreseen"])
    assert f"chance of {hoped} %" in part and f"chance of {hoped} %" in pages[1]
    others = np.sort((right["oracle_part"] - right["part"])[1:])
    assert f"new slices brought {others[0]:.1f} to {others[-1]:.1f} points" in part
    one = kept("rule_one_quarter")["summary"]
    people = [len(np.unique(groups[labels == k])) for k in (0, 1)]
    scale = np.sqrt((1 / people[0] + 1 / people[1]) / (4 / 200))
    room = one["true_gains"]["true"]["oracle"]
    corrected = chances_of_answers(one, "few", [0, 0, room, 0, room], scale, 1)["undecided"]
    assert f"Corrected, it gives {100 * corrected:.0f} %" in part
    hours = sum(row["seconds"] for row in content["rows"]) / content["settings"]["workers"] / 3600
    assert f"200 slices it took about {hours:.0f} hours on two cores" in pages[0]
    shares = [row["images"] for row in content["rows"] if row["quarter"] is not None]
    assert round(np.mean(shares)) == 44
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
        f"{(beside != without).sum()} of the 200 slices changed ({changed.format('')}, " in pages[1]
    )
    lost = (~beside & without & (labels == 0)).sum()
    assert f"became wrong ({lost} of them clear" in part
    assert f"became wrong, {lost} of them clear" in pages[1]
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
    kids = [f"{each['kid'].mean():.1f}" for each in (whole, small)]
    assert "(KID {} instead of {})".format(*kids) in part
    copiers = whole["copies_flagged"] + whole["repeats"]
    assert len(whole) == 16 and "No image of the 16 GANs" in part and not copiers.any()
    assert f"for {whole['repeats'].notna().sum()} of them" in part
    assert f"for {whole['repeats'].notna().sum()} of these 16 GANs" in pages[1]
    assert whole["told_apart"].all() and small["told_apart"].all()
    copiers = (small["copies_flagged"] | small["repeats"]).sum()
    assert f"Of these {len(small)} GANs, {copiers} are called copiers" in part
    assert f"Of the {len(small)} GANs of quarters, {copiers} were called copiers" in pages[1]
    assert f"up to {small['copies'].max():.0%} of the images" in part.replace(" %", "%")


@pytest.mark.parametrize(("name", "words", "number"), [
    ("05_evaluation", rf"half the steps moved the accuracy of \*classic\* by {POINTS}", "steps"),
    ("03_training", r"means of all eight recipes lie between ([\d.]+) and "
     r"([\d.]+)\.", "ablation"),
])  # fmt: skip
def test_numbers_that_notebooks_tell_in_their_text(name, words, number):
    steps, ablation = (pd.DataFrame(kept(k)["rows"]) for k in ("steps", "ablation"))
    classic = steps[steps["arm"] == "classic"].pivot(index="set", columns="steps")["accuracy"]
    means = ablation.groupby("recipe")["kid"].agg(["mean", "size"]).query("size == 5")["mean"]
    assert len(means) == 8
    said = {
        "steps": interval(100 * (classic[240] - classic[480])),
        "ablation": [means.min(), means.max()],
    }
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
    found = [x.replace("−", "-") for x in re.search(words, text).groups()]
    digits = 2 if number == "ablation" else 1
    assert [float(x) for x in found] == [round(x, digits) for x in said[number]]


def test_what_05_tells_of_the_lines_by_steps():
    """How many fall at each number of steps, and what both arms gain from more steps."""
    steps = pd.DataFrame(kept("steps")["rows"]).pivot(
        index="set", columns=["arm", "steps"], values="accuracy"
    )
    text = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text()
    falls = ((steps["classic"] - steps["original"]) < 0).sum()
    assert falls.to_dict() == {60: 5, 120: 4, 240: 0, 480: 0}
    assert "At 60 steps all five lines fall. At 120 steps four of them fall" in text
    more = 100 * (steps.xs(480, axis=1, level=1) - steps.xs(60, axis=1, level=1)).mean()
    assert f"gains only about {more['original']:.0f} points" in text
    assert f"gains {more['classic']:.0f} points" in text


def test_what_04_tells_of_the_second_test_for_copies():
    text = (ROOT / "notebooks" / "04_sampling.ipynb").read_text()
    rates = kept("copying")["rates"]["heads"]
    for kinds, words in (
        ("new", "calls {} to {} % copiers"),
        ("copies: ", "finds only {} to {} of"),
    ):
        found = [100 * rate["repeats"] for kind, rate in rates.items() if kind.startswith(kinds)]
        assert words.format(round(min(found)), round(max(found))) in text


def test_what_04_tells_of_copying_by_step():
    text = (ROOT / "notebooks" / "04_sampling.ipynb").read_text()
    rows = {row["steps"]: row for row in kept("copying_by_step")["rows"]}
    coverage = {steps: row["imagenet"]["coverage"] for steps, row in rows.items()}
    by_halves = rows[2000]["imagenet"]["coverage_expected"]
    assert f"is {coverage[2000]:.2f}, where real halves have {by_halves:.2f}" in text
    assert max(coverage, key=coverage.get) == 8000
    assert f"best coverage is {coverage[8000]:.2f}, after 8,000" in text
    by_judge = {steps: row["judge"]["coverage"] for steps, row in rows.items()}
    fall = f"(by the judge from {by_judge[8000]:.2f} to {by_judge[10_000]:.2f})"
    assert f"falls again, to {coverage[10_000]:.2f} {fall}:" in text
    assert f"coverage is {coverage[5000]:.2f}, and by the judge {by_judge[5000]:.2f}." in text
    assert [row["steps"] for row in rows.values() if row["repeats"]] == [*range(5000, 10_001, 1000)]
    first, last = (f"{rows[steps]['repeats_p']:.3f}" for steps in (5000, 10_000))
    assert f"$p$ is {first} there and {last} after 10,000 steps" in text
    said = [f"p = {rows[steps]['repeats_p']:.3f})" for steps in (2000, 5000, 10_000)]
    page = (ROOT / "experiments" / "README.md").read_text()
    assert re.search(".*".join(map(re.escape, said)), page)
    assert not any(row["flagged"] for row in rows.values())


def test_what_04_tells_of_planted_faults():
    text = (ROOT / "notebooks" / "04_sampling.ipynb").read_text()
    content = kept("audit")
    missing = [
        row
        for row in content["rows"]
        if (row["world"], row["fault"]) == ("heads", "one kind missing")
    ]
    judge, imagenet = (
        sum(row[space]["p_value"] <= 0.025 for row in missing) for space in ("judge", "imagenet")
    )
    assert f"all of these {judge} sets" in text and f"ImageNet only {imagenet}." in text
    assert judge == sum(row["told_apart"] for row in missing)
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
    without, whole = (means["heads"][fault] for fault in ("one kind missing", "true"))
    seen = [whole["imagenet"], without["imagenet"], without["judge"]]
    said = "heads from {:.2f} to {:.2f}, and to {:.2f} by the judge"
    assert said.format(*(found["coverage"] for found in seen)) in text
    missing = {rates[world]["one kind missing"]["recognised"] for world in rates}
    true = {rates[world]["true"]["recognised"] for world in rates}
    assert f"finds it in {missing.pop():.0%} of".replace("%", " %") in text and not missing
    assert f"why {true.pop():.0%} of the true".replace("%", " %") in text and not true
    said = [f"{content['level'][world]['true']['told_apart']:.0%}" for world in rates]
    words = f"It called {said[0]} of them different with heads, and {said[1]} with textures"
    assert words.replace("%", " %") in text
    said = [f"{content['level'][world]['one kind missing']['told_apart']:.0%}" for world in rates]
    words = f"test found {said[0]} with heads and {said[1]} with textures"
    assert words.replace("%", " %") in text
    for world, space in (("heads", "judge"), ("textures", "imagenet")):
        missing = [
            row
            for row in content["rows"]
            if (row["world"], row["fault"]) == (world, "one kind missing")
        ]
        assert len(missing) == 20 and sum(row["told_apart"] for row in missing) == 15
        assert sum(row["resembles"] for row in missing) == 15  # "most of these sets still resemble"
        found = [row for row in missing if row["told_apart"] and not row["resembles"]]
        assert len(found) == sum(not row[space]["resembles"] for row in missing) == 5


def test_each_file_is_listed_with_its_command():
    page = (ROOT / "experiments" / "README.md").read_text()
    for path in RESULTS.glob("*.json"):
        (line,) = [x for x in page.splitlines() if x.startswith("| ") and f"`{path.name}`" in x]
        command = json.loads(path.read_text())["command"].replace("|", r"\|")  # as a table needs it
        assert f"`{command}`" in line


def test_what_03_tells_of_its_edits():
    """The counts under *What we saw*."""
    rows = pd.DataFrame(kept("edits")["rows"])
    rows["apart"] = rows["output_on_real"] - rows["output_on_fake"]
    by_edit = {edit: some.set_index("seed") for edit, some in rows.groupby("edit")}
    plain = by_edit.pop("none")
    assert list(plain.index) == [2019, 2020, 2021, 2022, 2023] and (plain["heads"] > 0).all()
    assert all(found.index.equals(plain.index) for found in by_edit.values())
    text = (ROOT / "notebooks" / "03_training.ipynb").read_text()
    target, bright = by_edit.pop("wrong target"), by_edit.pop("wrong range")
    low, high = target["output_on_fake"].min(), target["output_on_fake"].max()
    assert not target["heads"].any() and f"is {low:.2f} to {high:.2f}" in text
    apart = [f"{x:.2f}" for found in (bright, plain) for x in np.sort(found["apart"])[[0, -1]]]
    assert "is {} to {}, and {} to {} without".format(*apart).replace("-", "−") in text
    assert sorted(bright["heads"])[1:3] == [1, 7] and bright["heads"].max() == 10
    counts = ["{}, {}, {}, {} and {}".format(*found["heads"]) for found in (plain, bright)]
    assert (
        "change, {} of the ten pictures are heads; with *wrong range* {}.".format(*counts) in text
    )
    names = ("no penalty", "neither soft nor noisy", "discriminator too strong")
    without, hard, strong = (by_edit[name] for name in names)
    assert (without["discriminator_gradient"] < plain["discriminator_gradient"]).sum() == 4
    assert (hard["apart"] > plain["apart"]).sum() == 4
    assert (strong["output_on_fake"] < plain["output_on_fake"]).sum() == 3
    for name in ("discriminator_gradient", "apart", "output_on_fake", "heads"):
        means = [found[name].mean() for found in (plain, without, hard, strong)]
        assert all(np.ptp(found[name]) > np.ptp(means) for found in (without, hard, strong))
    assert all((found["heads"] == 0).sum() in (1, 2) for found in (without, hard, strong))
    changed = pd.concat([without, hard, strong])["heads"]
    more = sum((found["heads"] > plain["heads"]).sum() for found in (without, hard, strong))
    assert ((changed > 0).sum(), more) == (11, 10)


def test_what_03_tells_of_the_best_recipe():
    summary = kept("ablation")["summary"]
    coverage = {name: f["coverage"][0] for name, f in summary.items() if f["seeds"] == 5}
    text = (ROOT / "notebooks" / "03_training.ipynb").read_text()
    best, plain = coverage.pop("5e-4, averaged"), coverage["paper"]
    assert f"best mean coverage, {best:.2f} where `paper` has {plain:.2f}" in text
    assert max(coverage, key=coverage.get) == "learning rates 5e-4"  # "Of the single changes"
    rows = pd.DataFrame(kept("ablation")["rows"])
    found = rows.pivot(index="seed", columns="recipe", values="coverage")
    beside = {
        name: interval(found["5e-4, averaged"] - found[name])
        for name in coverage
        if name not in ("paper", "penalty on real", "averaged weights", "augmented")
    }
    for name in ("learning rates 5e-4", "hard labels"):
        assert (
            f"that of *{name}* by {{:.2f}} ({{:.2f}} to {{:.2f}})".format(*beside.pop(name)) in text
        )
    ((_, low, high),) = beside.values()
    assert low < 0 < high and set(beside) == {"no penalty"}
    agree = rows.groupby("recipe")["judge_agreement"].mean()
    shares = [100 * agree[name] for name in ("5e-4, averaged", "no penalty")]
    assert "in {:.0f} % of its images, and in {:.0f} % of those".format(*shares) in text
