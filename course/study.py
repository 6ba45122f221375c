"""Will GAN augmentation help? Folds of a set, or many simulated sets, and the rule's answer.

    python -m course study --data FOLDER --out FOLDER
    python -m course study --data FOLDER --plan

On a folder: eight folds. In each, GANs are trained anew on the training part, and the classifier
*bundled* is fitted with and without their images; the same on a random quarter of that part, where
the other three quarters show what true new images bring. Without a folder, each unit is a simulated
set of its own. What is finished is never run again: its row in `OUT/study.json` is enough, so a
study can move to another machine with that file alone; there, the precision of the GANs is chosen
anew. On a cluster all workers must see OUT under the same path.
"""

import argparse
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from course.commands import command
from course.params import load_parameters, read_parameters
from course.replicate import CLASSES, run_unit
from course.report import inline_figures, render
from course.run import class_names
from course.workers import THREADS, run_with_dask
from helpers import files, folds, intervals, machine, parameters, plots, preprocessing
from helpers.arms import (
    ARMS,
    OF_A_SET,
    QUARTER,
    SECONDARY,
    WHOLE,
    WITHOUT_GAN,
    compare,
    gain_titles,
)
from helpers.files import CourseError
from helpers.folder import OPTIONS, check_names, examine, lines, refuse_inside
from helpers.folds import FOLDS
from helpers.recipes import choose_recipe
from helpers.verdict import (
    FACTORS,
    FEWEST_REPLICATES,
    HEADLINES,
    MARGIN,
    RULE,
    STRONGER,
    decide,
    foresee_sets,
    say,
)
from helpers.verdict import foresee as foresee_answers

USED = ("gan_steps", "recipe", "recipe_changes", "checkpoint_every", "fresh_count", "precision")
NEED_DATA = {"quarters": True, "sets": False, "images": False}  # False: must be without it
# Of a file that --params names; the folds replace a split.
READ = {*OPTIONS, "negative", *USED} - {"given_split"}


# --- The plan -------------------------------------------------------------------------------------


def plan(settings: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    """The units of a study: first a whole seed of folds or sets, then its quarters.

    Args:
        settings: As `run_study` writes them into `study.json`.
        out: Folder of the study.

    Returns:
        What `replicate.run_unit` is to be called with, by unit.
    """
    simulated = not settings["data"]
    kind = "set" if simulated else "fold"
    tasks = []
    for seed in range(settings["seeds"]):
        quarters = [] if simulated else range(settings["quarters"])
        for quarter in (None, *quarters):
            for number in range(settings["sets"] if simulated else FOLDS):
                unit = {"kind": kind, "number": number, "quarter": quarter, "seed": seed}
                name, first = _name(unit), settings["first_seed"]
                unit |= {
                    "name": name.replace("-", " "),
                    "folder": str(out / name),
                    "row": str(out / "rows" / f"{name}.json"),
                    "prepared": str(out / "prepared.npz"),
                    "data_seed": machine.derive_seed(first, "set", number),
                    "gan_seed": machine.derive_seed(first, name),
                }
                common = {each: settings[each] for each in ("threads", "classes", "images")}
                tasks.append(common | settings["values"] | unit)
    return tasks


# --- What the rows say ----------------------------------------------------------------------------


def summarise_folds(
    base: dict[str, Any], rows: list[dict[str, Any]], stronger: str = STRONGER["quarter"]
) -> dict[str, Any]:
    """Arms, gains and answer of a set's folds.

    Args:
        base: As `measure_without_gan` gives it.
        rows: Of all units.
        stronger: The classifier's stronger baseline at a quarter: *part* or *part_long*.
    """
    labels, groups = np.array(base["labels"]), np.array(base["groups"])
    weights = folds.image_weights(labels, groups)
    samples = intervals.resample_groups(labels, groups, base["seed"])
    answers = {name: np.array(each, dtype=float) for name, each in base["probabilities"].items()}
    answers["classic_gan"] = _pool(rows, None, len(labels))
    with_gan = sorted({row["quarter"] for row in rows if row["quarter"] is not None})
    if with_gan and "part" in answers:
        answers["part_gan"] = np.concatenate([_pool(rows, q, len(labels)) for q in with_gan])

    pairs = compare("classic_gan", "part_gan", "oracle_part", stronger)

    def right(name, of=answers):
        return ((of[name] >= 0.5) == labels).mean(axis=0)

    def gain(name, pair, of=answers):
        first, second = (right(arm, of) for arm in pair)
        factor = FACTORS.get(name, FACTORS["exposure"])
        return intervals.pooled_mean(first - second, labels, weights, samples, factor)

    gains = {name: gain(name, pairs[name]) for name in ("exposure", "compute")}
    summary: dict[str, Any] = {
        "replicates": FOLDS, "measure": "balanced_accuracy", "worth": None,
    }  # fmt: skip
    if "part" in answers:
        gains["oracle"] = gain("oracle", pairs["oracle"])
        if with_gan:  # what stands beside a GAN is of the same quarters
            same = {name: answers[name][with_gan] for name in pairs["oracle"]}
            same["part_gan"] = answers["part_gan"]
            gains |= {name: gain(name, pairs[name], same) for name in ("stronger", "missing")}
            differences = [
                right(first, same) - right(second, same)
                for first, second in (pairs["stronger"], pairs["oracle"])
            ]
            drawn = [intervals.balanced_means(x, labels, weights, samples) for x in differences]
            summary["worth"] = _worth(
                [float(weights @ each) for each in differences],
                FACTORS["oracle"] ** 2 * np.cov(drawn),
            )
    secondary = {name: gain(name, pair) for name, pair in SECONDARY.items() if pair[0] in answers}
    arms = {}
    for name in (*WHOLE, *QUARTER):
        if name in answers:
            mean = intervals.pooled_mean(right(name), labels, weights, samples)
            scores = [_weighted_scores(each, labels, weights) for each in answers[name]]
            arms[name] = pd.DataFrame(scores).mean().to_dict()
            arms[name] |= {"balanced_accuracy": mean["mean"], "ci": mean["ci"]}
    parts = [row["tested"] for row in rows if row["quarter"] is None and row["seed"] == 0]
    hits = weights * ((answers["classic_gan"] >= 0.5) == labels)
    by_fold = np.array([hits[:, tested].sum(axis=1) for tested in parts])
    return summary | _finish(arms, gains, secondary, FOLDS, " at a quarter of these images") | {
        "advice": _advise(by_fold, gains["exposure"]["se"]),
    }  # fmt: skip


def _pool(rows, quarter, count) -> np.ndarray:
    """Out-of-fold probabilities of the arm with GAN images, ``(seeds, n)``."""
    chosen = [row for row in rows if row["quarter"] == quarter]
    answers = np.full((max(row["seed"] for row in chosen) + 1, count), np.nan)
    for row in chosen:
        answers[row["seed"], row["tested"]] = row["probabilities"]
    return answers


def _weighted_scores(probabilities, labels, weights) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    right = (probabilities >= 0.5) == labels
    rates = {
        name: float(np.average(right[labels == k], weights=weights[labels == k]))
        for name, k in (("sensitivity", 1), ("specificity", 0))
    }
    brier = float(weights @ (probabilities - labels) ** 2)
    return rates | {
        "auc": float(roc_auc_score(labels, probabilities, sample_weight=weights)), "brier": brier,
    }  # fmt: skip


def summarise_sets(rows: list[dict[str, Any]], stronger: str = STRONGER["whole"]) -> dict[str, Any]:
    """Arms, gains and answer of simulated sets, scored on fresh slices; seeds averaged first.

    Args:
        rows: Of all units.
        stronger: The classifier's stronger baseline: *classic* or *classic_long*.
    """
    measured = rows[0]["arms"]
    sets = sorted({row["number"] for row in rows})

    def values(name, where="fresh", key="balanced_accuracy"):
        return np.array([
            np.mean([row["arms"][name][where][key] for row in rows if row["number"] == number])
            for number in sets
        ])  # fmt: skip

    def gain(first, second, where="fresh"):
        found = intervals.resampled_t(values(first, where) - values(second, where))
        return {key: found[key] for key in ("mean", "ci", "sd", "p_value")}

    pairs = compare("classic_gan", "classic_gan", "oracle", stronger)
    gains = {name: gain(*pair) for name, pair in pairs.items()}
    arms = {}
    for name in (each for each in OF_A_SET if each in measured):
        found = intervals.resampled_t(values(name))
        arms[name] = {"balanced_accuracy": found["mean"], "ci": np.clip(found["ci"], 0, 1).tolist()}
        arms[name] |= {
            key: float(values(name, key=key).mean())
            for key in ("auc", "sensitivity", "specificity", "brier")
        } | {"shifted": float(values(name, "shifted").mean())}
    secondary = {name: gain(*pair) for name, pair in SECONDARY.items() if pair[0] in measured}
    secondary |= {
        f"{name}, shifted": gain(*pairs[name], where="shifted")
        for name in ("exposure", "compute", "oracle")
    }
    differences = [values(first) - values(second) for first, second in
                   (pairs["stronger"], pairs["oracle"])]  # fmt: skip
    means, count = [float(each.mean()) for each in differences], len(sets)
    worth = _worth(means, np.cov(differences) / count, count) if count > 1 else None
    found = {"replicates": len(sets), "measure": "balanced_accuracy", "worth": worth}
    return found | _finish(arms, gains, secondary, len(sets), "") | {"advice": ""}


def _worth(
    means: list[float], covariance: np.ndarray, replicates: int | None = None
) -> dict[str, Any] | None:
    """What share of true new images' gain the GAN's images bring, where there is such a gain."""
    gan, oracle = means
    found = intervals.ratio_interval(gan, oracle, covariance, replicates=replicates)
    return {"share": gan / oracle, "ci": found} if found and oracle > 0 else None


def _finish(arms, gains, secondary, replicates, where) -> dict[str, Any]:
    adjusted = intervals.holm({name: found["p_value"] for name, found in secondary.items()})
    for name, p_value in adjusted.items():
        secondary[name]["p_holm"] = p_value
    answer = decide(gains, replicates)
    text = say(answer, gains, replicates, where)
    verdict = {"answer": answer, "headline": HEADLINES[answer], "text": text, "margin": MARGIN}
    return {"arms": arms, "gains": gains, "secondary": secondary, "verdict": verdict}


def _advise(by_fold: np.ndarray, error: float) -> str:
    """Whether more seeds or more images would make the result more exact.

    Args:
        by_fold: ``(folds, seeds)``, what each fold adds to the balanced accuracy with GAN images.
        error: Standard error of the gain, which patients alone are drawn for.
    """
    seeds = by_fold.shape[1]
    if seeds < 2:
        return (
            "With one seed per fold nobody can say how much of the result is due to the GANs' "
            "random numbers: --seeds 2 adds runs, and gives a rough idea."
        )
    # Folds have GANs of their own, so their variances add up; averaged seeds divide them.
    share = by_fold.var(axis=1, ddof=1).sum() / seeds / max(error, 1e-9) ** 2
    better = "more seeds" if share > 0.5 else "more images, and hardly more seeds,"
    return (
        f"The variance that is due to the GANs' random numbers is about {share:.0%} of the "
        f"interval's own (a rough figure): {better} would make the result more exact (more folds "
        "of the same images would not)."
    )


def measure_without_gan(images, labels, groups, plan_of_folds, seed) -> dict[str, Any]:
    """Out-of-fold probabilities of all arms that need no GAN, as `study.json` keeps them."""
    machine.setup()
    from helpers import baseline

    arms = ("half", *WITHOUT_GAN)
    answers = baseline.out_of_fold(images, labels, plan_of_folds, arms)
    return {
        "seed": seed,
        "labels": labels.tolist(),
        "groups": groups.tolist(),
        "probabilities": {name: np.round(each, 6).tolist() for name, each in answers.items()},
    }


# --- All of them ----------------------------------------------------------------------------------


def collect(
    tasks: list[dict[str, Any]], settings: dict[str, Any], out: Path, **parts: Any
) -> dict[str, Any]:
    """Write `study.json` from what is finished; the answer is given once, when all of it is.

    Rows of a larger plan stay in the file, which may be all that is left of them; so does how often
    the study was judged.

    Args:
        tasks: As `plan` gives them.
        settings: The study's.
        out: Its folder.
        parts: What else `study.json` holds from now on: `base`, `data`, `foreseen`.
    """
    before = files.read_json(out / "study.json")
    kept = {_key(row): row for row in before.get("rows", [])}
    for task in tasks:
        if found := files.read_json(Path(task["row"])):
            kept[_key(found)] = found
    planned = [_key(task) for task in tasks]
    rows = [kept[key] for key in planned if key in kept]
    looks = before.get("looks", [])
    if len(rows) == len(tasks):
        look = (
            f"{settings['sets']} sets"
            if not settings["data"]
            else f"{settings['quarters']} quarters"
        )
        looks = list(dict.fromkeys([*looks, f"{look}, seeds: {settings['seeds']}"]))
    study = {
        "command": shlex.join(["python", "-m", "course", "study", *_own_arguments()]),
        "settings": settings,
        "versions": machine.versions(),
        "looks": looks,
        "note": _note(len(rows), len(tasks), looks),
        **{name: before[name] for name in ("base", "data", "foreseen") if name in before},
        **parts,
    }
    if len(rows) == len(tasks):
        summary = summarise_folds(study["base"], rows) if settings["data"] else summarise_sets(rows)
        study |= {"summary": summary, "rows": rows}
        write_report(study, out)
    others = [row for key, row in kept.items() if key not in planned]
    files.write_json(out / "study.json", study | {"rows": rows + others})
    return study | {"rows": rows}


def _own_arguments() -> list[str]:
    """What was typed behind `study`."""
    return sys.argv[2:] if sys.argv[1:2] == ["study"] else sys.argv[1:]


def _key(unit: dict[str, Any]) -> tuple:
    return tuple(unit[name] for name in ("kind", "number", "quarter", "seed"))


def _note(finished: int, planned: int, looks: list[str]) -> str:
    """What is to be said beside the answer, unless it is the first on all that was planned."""
    if finished < planned:
        return (
            f"{finished} of {planned} units are finished. Nothing is judged before all are: each "
            "look gives luck another chance."
        )
    again = "each further look gives luck another chance, so its answer is worth less"
    return f"Judged at {', then at '.join(looks)}: {again}." if len(looks) > 1 else ""


def write_report(study: dict[str, Any], out: Path) -> None:
    """Write the study's `report.html`, with the samples of the first unit whose folder is here."""
    summary, rows = study["summary"], study["rows"]
    simulated = not study["settings"]["data"]
    gains = summary["gains"] | summary["secondary"]
    plots.save_figure(plots.show_gains(gains, MARGIN, not simulated), out, "gains")
    here = [_name(row) for row in rows if (out / _name(row) / "figures" / "samples.png").exists()]
    figures = inline_figures(out / here[0]) if here else {}
    audits = {
        name: pd.DataFrame([row["audit"][name] for row in rows]).astype(float)
        for name in rows[0]["audit"]
    }
    render(
        "study.html", out,
        title=summary["verdict"]["answer"], figures=figures | inline_figures(out), audits=audits,
        gain_titles=gain_titles(not simulated), simulated=simulated,
        **{"data": [], "foreseen": ""} | study,
    )  # fmt: skip


def _name(row: dict[str, Any]) -> str:
    quarter = "" if row["quarter"] is None else f"-quarter-{row['quarter']}"
    return f"{row['kind']}-{row['number']}{quarter}-seed-{row['seed']}"


# --- What is said beforehand ----------------------------------------------------------------------


def foresee(
    settings: dict[str, Any],
    units: int,
    labels: np.ndarray | None,
    groups: np.ndarray | None,
    enough: int,
) -> str:
    """Hours, expected width and the chance of each answer, before anything is trained.

    `enough` is how many quarters are large enough for a GAN.
    """
    seconds = time_step(settings["values"], settings["threads"])
    each = seconds * settings["values"]["gan_steps"] * len(CLASSES) + 60
    at_once = max(1, settings["workers"])
    text = (
        f"{units} units of about {each / 60:.0f} min each, {at_once} at once: about "
        f"{units * each / 3600 / at_once:.1f} hours."
    )
    if labels is None or groups is None:
        return text + _foresee_sets(settings["sets"], settings["images"])
    quarters = settings["quarters"]
    people = [len(np.unique(groups[labels == k])) for k in (0, 1)]
    width, by_gain = foresee_answers(people, quarters)
    text += (
        f" With {len(labels)} images in {len(np.unique(groups))} groups the interval of the gain "
        f"will be about {100 * width:.0f} points wide."
    )
    text += _say_chances(by_gain)
    rule = files.read_json(RULE)
    more = rule["settings"]["quarters"]
    if quarters == 1 and enough >= more:
        nothing = foresee_answers(people, more)[1][0.0]
        text += f" (With --quarters {more}, no_gain would be {nothing['no_gain']:.0%} at 0 points.)"
    perfect = rule["summary"]["true_gains"]["true"]
    return text + (
        f" (As simulated slices scatter. There, true new images in the GAN's place gain "
        f"{100 * perfect['exposure']:.0f} points beside all of "
        f"{rule['settings']['slices']} images, and {100 * perfect['oracle']:.0f} "
        "beside a quarter of them; see experiments/results/rule.json.)"
    )


def _say_chances(by_gain: dict[float, dict[str, float]]) -> str:
    text = ""
    for gain, chances in by_gain.items():
        likely = ", ".join(f"{name} {x:.0%}" for name, x in chances.items() if x > 0.005)
        text += f" If GAN images truly gain {100 * gain:.0f} points: {likely}."
    return text


def _foresee_sets(sets: int, images: int) -> str:
    if sets < FEWEST_REPLICATES:
        return f" With fewer than {FEWEST_REPLICATES} sets the answer is always undecided."
    width, by_gain = foresee_sets(sets, images)
    return (
        f" With {sets} sets the interval of the gain will be about {100 * width:.1f} points wide."
        + _say_chances(by_gain)
        + " (As the gains scatter in the course's own studies of simulated sets.)"
    )


def time_step(values: dict[str, Any], threads: int) -> float:
    """Seconds for one step of a GAN in a process like a study's workers."""
    code = f"""
import os
os.environ.update(dict.fromkeys({THREADS!r}, "{threads}"))
import time
import numpy as np
from helpers import machine, recipes, training
machine.setup()
images = np.random.default_rng(0).uniform(-1, 1, (16, 32, 32, 1)).astype("float32")
recipe = recipes.choose_recipe({values["recipe"]!r}, {values["recipe_changes"]!r})
ends = []
class Clock:
    def __call__(self, _):
        ends.append(time.perf_counter())
        return {{}}
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()):
    training.train_gan(images, steps=6, seed=0, recipe=recipe, precision={values["precision"]!r},
                       preview_every=1, watch=Clock())
print(np.median(np.diff(ends)))
"""
    advice = "if you set precision, set it to auto; if not, report this line"
    return float(machine.run_python(code, advice=advice).split()[-1])


def run_study(
    *,
    profile: str = "study",
    data: str = "",
    out: str = "runs/study",
    seeds: int = 1,
    quarters: int = 1,
    sets: int = 12,
    images: int = 144,
    extra: Path | None = None,
    first_seed: int = 1,
    workers: int = 2,
    threads: int = 1,
    scheduler: str = "",
    only_plan: bool = False,
) -> dict[str, Any]:
    """Run all units that are missing and judge.

    Args:
        profile: Profile of the GANs' parameters.
        data: A folder that meets the data contract; empty for simulated sets.
        out: Folder for everything.
        seeds: GANs of different seeds in each fold or set, averaged; at most 10.
        quarters: Random quarters of each fold that get GANs of their own; at most 8. With none,
            only *helps*, *harms* and *no_room* can be answered.
        sets, images: Without `data`: how many simulated sets, and real slices in each.
        extra: YAML file with values that replace the profile's.
        first_seed: Decides folds, quarters and GANs.
        workers: Local processes.
        threads: Threads for each.
        scheduler: Address of a Dask scheduler started by hand, for a cluster.
        only_plan: Say what is to be expected, and train nothing.

    Returns:
        The content of `study.json`.

    Raises:
        CourseError: What the user can fix: another study in `out`, no Dask, units that failed.
    """
    folder = files.project_path(out)
    begun = files.read_json(folder / "study.json")
    if folder.is_dir() and not begun and any(folder.glob("[!.]*")):
        raise CourseError(f"{folder} is not empty and holds no study: choose another OUT.")
    changes = load_parameters(profile, extra)
    if extra and (unused := {*read_parameters(files.project_path(extra))} - READ):
        print(f"A study does not use these parameters of {extra}: {', '.join(sorted(unused))}.")
    asked = {"seeds": seeds, "quarters": quarters, "sets": sets, "images": images}
    asked |= {"threads": threads, "first_seed": first_seed, "workers": workers}
    parameters.check_values(**changes, **asked)
    changes.pop("given_split", None)  # the folds replace a split, also in the fingerprint
    choose_recipe(changes["recipe"], changes["recipe_changes"])
    values = {name: changes[name] for name in USED}
    values["fresh_count"] = 2 * (values["fresh_count"] // 2)
    names = {1: changes.get("positive", "haemorrhage"), 0: changes.get("negative", "clear")}
    settings: dict[str, Any] = {"profile": profile, "data": data, **asked, "values": values}
    parts: dict[str, Any] = {}
    labels, groups, enough = None, None, 0
    if data:
        refuse_inside(folder, files.project_path(data))
        examined = examine(data, first_seed, changes, strict=False)
        settings["fingerprint"] = examined.fingerprint_with_groups
        named = class_names(examined.slices, changes)
        names |= {1: named.get("positive", names[1]), 0: named.get("negative", names[0])}
        parts["data"] = lines(examined, split=False)
        print(*parts["data"], sep="\n", flush=True)
        labels, groups = examined.slices.table["label"].to_numpy(), examined.grouping.groups
        settings["images"] = len(labels)
        plan_of_folds = folds.plan_folds(labels, groups, first_seed)
        if len(plan_of_folds) < FOLDS:
            raise CourseError(
                f"a class comes from {len(plan_of_folds)} patients or groups, too few for {FOLDS} "
                "folds: add images of other patients."
            )
        if (whole := least_whole(plan_of_folds, labels)) < preprocessing.FEWEST["train"]:
            raise CourseError(
                f"{data}: a fold would train on {whole} images of a class, and a GAN needs "
                f"{preprocessing.FEWEST['train']}: add images, or more patients."
            )
        enough = count_quarters(plan_of_folds, labels)
        if enough < quarters:
            got = f"only {enough} of {quarters} quarters get GANs"
            none = "no quarter gets a GAN, so no_gain cannot come out"
            print(f"Too few images for GANs on a quarter of them: {got if enough else none}.")
        settings["quarters"] = quarters = min(quarters, enough)
    check_names(names[1], names[0])
    settings["classes"] = [names[0], names[1]]
    before = begun["settings"]["values"] if begun else {}
    if values["precision"] == "auto":  # once a machine, and not while another run computes
        here = (folder / "rows").is_dir()  # not only study.json, from another machine
        values["precision"] = machine.choose_precision(before["precision"] if here else "auto")
    if begun and _fixed(begun["settings"]) != _fixed(settings):
        raise CourseError(f"{folder} holds a study with other settings or data: choose another.")
    tasks = plan(settings, folder)
    if only_plan or "foreseen" not in begun:
        foreseen = foresee(settings, len(tasks), labels, groups, enough)
        print(foreseen, flush=True)
        if only_plan:
            return {"foreseen": foreseen, "settings": settings}
        parts["foreseen"] = foreseen
    held = files.lock(files.make_folder(folder) / ".lock")
    try:
        if not begun:  # the folder is a study's before anything else is in it
            collect(tasks, settings, folder, **parts)
        if data:
            pixels = preprocessing.prepare(examined.slices.greys)
            _keep_prepared(folder, pixels, labels, groups, plan_of_folds)
            if "base" not in begun:
                base = measure_without_gan(pixels, labels, groups, plan_of_folds, first_seed)
                parts["base"] = base
        study = collect(tasks, settings, folder, **parts)
        done = {_key(row) for row in study["rows"]}
        if todo := [task for task in tasks if _key(task) not in done]:
            if begun:
                print(f"{len(todo)} of {len(tasks)} units are missing.", flush=True)
            files.make_folder(folder / "rows")
            try:
                # After each unit, so that a kill loses nothing that is finished.
                keep = partial(collect, tasks, settings, folder)
                run_with_dask(run_unit, todo, len(tasks), workers, scheduler, keep)
            finally:
                study = collect(tasks, settings, folder)
        return study
    finally:
        held.release()


def least_whole(plan_of_folds: list[folds.Fold], labels: np.ndarray) -> int:
    """The fewest training images of a class in any fold."""
    return min(np.bincount(labels[fold.train], minlength=2).min() for fold in plan_of_folds)


def count_quarters(plan_of_folds: list[folds.Fold], labels: np.ndarray) -> int:
    """How many of the first quarters hold enough images of each class for GANs, in all folds."""
    of_quarters = zip(*(fold.quarters for fold in plan_of_folds), strict=True)
    fewest = [min(np.bincount(labels[x], minlength=2).min() for x in own) for own in of_quarters]
    enough = [count >= preprocessing.FEWEST["train"] for count in fewest]
    return [*enough, False].index(False)


def _keep_prepared(folder, images, labels, groups, plan_of_folds) -> None:
    """What the units read: images, labels, groups and the parts of each fold."""
    with files.atomic_write(folder / "prepared.npz") as temporary:
        np.savez_compressed(
            temporary, images=images, labels=labels, groups=groups,
            train=np.stack([fold.train for fold in plan_of_folds]),
            test=np.stack([fold.test for fold in plan_of_folds]),
            quarters=np.array([fold.quarters for fold in plan_of_folds]),
        )  # fmt: skip


def _fixed(settings: dict[str, Any]) -> dict[str, Any]:
    """What must not change in a study that is begun; the data's fingerprint stays."""
    may_change = ("sets", "seeds", "quarters", "threads", "workers", "data")
    fixed = {key: value for key, value in settings.items() if key not in may_change}
    # Each machine computes as it does best; the rows say how. Folds need no fresh images.
    free = {"precision", "fresh_count"} if settings["data"] else {"precision"}
    values = {key: value for key, value in settings["values"].items() if key not in free}
    return fixed | {"values": values}


@command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m course study",
        description="Measure in eight folds of a folder, or on simulated sets, whether GAN images "
        "help, and answer by a rule fixed beforehand.",
        epilog="The same command again runs what is missing; more seeds, quarters or sets are "
        "added.",
    )
    parser.add_argument("--data", default="", help="folder of images; default: simulated sets")
    parser.add_argument(
        "--out", default="runs/study", help="folder for everything (default: runs/study)"
    )
    parser.add_argument("--plan", dest="only_plan", action="store_true",
                        help="say hours, width and chances, and train nothing")  # fmt: skip
    parser.add_argument("--profile", default="study", help="study (default), smoke, quick or paper")
    parser.add_argument(
        "--params", dest="extra", type=Path, help="YAML file with options, as for a run"
    )
    for name, known in parameters.STUDY.items():
        where = {True: "with --data: ", False: "without --data: "}.get(NEED_DATA.get(name), "")
        words = f"{where}{known.text} (default: {known.default})"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=words)
    parser.add_argument("--scheduler", default="", help="of a Dask cluster: tcp://host:8786")
    asked = vars(parser.parse_args(arguments))
    for name, needed in NEED_DATA.items():
        if asked[name] is not None and needed != bool(asked["data"]):
            which = "simulated sets, not of a folder" if asked["data"] else "a folder (--data)"
            raise CourseError(f"--{name} is an option for studies of {which}: leave it out.")
    for name, known in parameters.STUDY.items():
        asked[name] = known.default if asked[name] is None else asked[name]
    study = run_study(**asked)
    if asked["only_plan"]:
        return
    print(table(study))
    if (report := files.project_path(asked["out"]) / "report.html").exists():
        print(f"\nReport: {report}")


def table(study: dict[str, Any]) -> str:
    """Arms, gains and answer for the terminal."""
    if "summary" not in study:
        return study["note"]
    summary = study["summary"]
    rows = [f"{'arm':<42}balanced accuracy, 95 % interval; AUC"]
    for name, arm in summary["arms"].items():
        low, high = (100 * edge for edge in arm["ci"])
        rows.append(
            f"{ARMS[name].title:<42}{100 * arm['balanced_accuracy']:.1f} % "
            f"({low:.1f} to {high:.1f}); {arm['auc']:.3f}"
        )
    answer = f"Answer: {summary['verdict']['answer']}. {summary['verdict']['text']}"
    return "\n".join([*rows, "", answer, summary["advice"], study["note"]]).rstrip()
