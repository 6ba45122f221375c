"""Many runs of the course, splits times seeds, spread over processes with Dask, and their verdict.

    python -m course study --splits 10 --seeds 3 --data FOLDER --out FOLDER

A run is the whole course on one split (or, without data, on one simulated set) with one seed: GANs
trained anew, classifiers fitted, everything kept in `OUT/split-K/seed-S`. A finished run is never
run again, and an interrupted one resumes. The row in `OUT/study.json` is enough to count a run as
finished, so a study can move to another machine with that file alone. On a cluster all workers must
see OUT and DATA under the same paths.
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from course.commands import command
from course.report import inline_figures, render
from course.run import gan_settings, load_parameters, require_weights, run
from course.workers import THREADS, run_with_dask
from helpers import files, intervals, machine, parameters, plots
from helpers.files import CourseError
from helpers.folder import examine, lines, refuse_inside
from helpers.verdict import FEWEST_REPLICATES, MARGIN, PRIMARY, WORDS, judge_study, overlap

ARMS = parameters.ARMS[:-1]  # the last belongs to the paper's protocol
ASSUMED_SPREAD = 0.08  # of the differences, from replicate to replicate, before any is known


# --- One run -------------------------------------------------------------------------------------


def plan(settings: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    """The runs of a study, all seeds of a split before the next split.

    Args:
        settings: As `run` writes them into `study.json`.
        out: Folder of the study.

    Returns:
        By run: split, seed, and what `course.run.run` is to be called with.
    """
    first = settings["first_seed"]
    return [
        {
            "split": split,
            "seed": seed,
            "threads": settings["threads"],
            "call": {
                "profile": settings["profile"],
                "data": settings["data"],
                "out": str(out / f"split-{split}" / f"seed-{seed}"),
                "changes": settings["changes"]
                # Steps of ten: a run's GANs take the seed and the one after it.
                | {"split_seed": first + split, "seed": first + 1000 * (split + 1) + 10 * seed},
            },
        }
        for split in range(settings["splits"])
        for seed in range(settings["seeds"])
    ]


def run_one(task: dict[str, Any]) -> str:
    """Run the course once, in this process; what it would print goes into `OUT.log`.

    Returns:
        Nothing, or an error message, if trying again would not help.
    """
    os.environ.update(dict.fromkeys(THREADS, str(task["threads"])))
    said = Path(task["call"]["out"] + ".log")
    said.parent.mkdir(parents=True, exist_ok=True)
    with open(said, "a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        try:
            run(**task["call"], wait=60)
        except CourseError as error:
            return str(error)
    return ""


def read_row(task: dict[str, Any]) -> dict[str, Any] | None:
    """What a finished run found, as one row; None while it isn't, or was made otherwise."""
    folder = Path(task["call"]["out"])
    made = files.read_json(folder / "run.json").get("settings", {}).get("parameters", {})
    asked = task["call"]["changes"] if made else {}
    if not (folder / "report.html").exists() or asked != {name: made.get(name) for name in asked}:
        return None
    metrics = files.read_json(folder / "metrics.json")
    measured = ("images", "accuracy", "balanced_accuracy", "auc", "fresh_accuracy")
    return {
        "split": task["split"],
        "seed": task["seed"],
        "seconds": sum(metrics["cost"]["seconds"].values()),
        "test_images": metrics["split"]["test"]["images"],
        "test_groups": metrics["split"]["test"]["groups"],
        "test_of_class": [metrics["split"]["test"][name] for name in metrics["classes"]],
        "images": metrics["data"]["images"],
        "simulated": metrics["data"]["simulated"],
        "trunk": metrics["trunk"],
        "classifier": metrics["classifier"]["name"],
        "versions": metrics["versions"],
        "audit": {name: plain_numbers(found) for name, found in metrics["audit"].items()},
    } | {
        fits: {
            name: {key: scores[key] for key in measured if key in scores}
            for name, scores in metrics.get(fits, {}).items()
        }
        for fits in ("arms", "learning_curve")
    }


def plain_numbers(found: dict[str, Any]) -> dict[str, float]:
    """What an audit of one class found, without its lists; what it could not tell is left out."""
    told = {"told_apart": ("realism", "accuracy"), "copies_suspected": ("copying", "flagged")}
    return {key: value for key, value in found.items() if isinstance(value, (int, float))} | {
        name: found[part][key] for name, (part, key) in told.items() if part in found
    }


# --- All of them ---------------------------------------------------------------------------------


def read_rows(tasks: list[dict[str, Any]], out: Path) -> list[dict[str, Any]]:
    """A row for each run that is finished: from its folder, or as `study.json` kept it."""
    kept = files.read_json(out / "study.json").get("rows", [])
    by_run = {(row["split"], row["seed"]): row for row in kept}
    found = [read_row(task) or by_run.get((task["split"], task["seed"])) for task in tasks]
    return [row for row in found if row]


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The verdict on the rows: seeds averaged first, so that a replicate is a split.

    Simulated sets are independent of each other and scored on fresh slices; splits of one set
    share their images, so their differences get Nadeau and Bengio's correction. Where the test
    images of any split are not as many of each class, balanced accuracy decides in all of them, and
    the arms have their AUC too.
    """
    simulated, images, test = (rows[0][key] for key in ("simulated", "images", "test_images"))
    counted = all("test_of_class" in row for row in rows)  # older rows lack it
    of_class = [row["test_of_class"] for row in rows] if counted else [[test / 2] * 2]
    unequal = any(one != other for one, other in of_class)
    measure = "balanced_accuracy" if unequal else "accuracy"
    measure = "fresh_accuracy" if simulated else measure
    splits = sorted({row["split"] for row in rows})
    groups = np.mean([row.get("test_groups", test) for row in rows])
    ratio = 0.0 if simulated else overlap(np.mean(of_class, axis=0), images - test, groups)

    def by_split(fits, name, key=measure):
        of_split = [[row[fits][name][key] for row in rows if row["split"] == k] for k in splits]
        return np.mean(of_split, axis=1)

    def interval(values):
        found = intervals.resampled_t(values, ratio)
        return {"accuracy": found["mean"], "ci": np.clip(found["ci"], 0, 1).tolist()}

    def auc(name):
        shown = measure == "balanced_accuracy"
        return {"auc": float(by_split("arms", name, "auc").mean())} if shown else {}

    accuracies = {name: by_split("arms", name) for name in ARMS}
    shares = set.intersection(*(set(row["learning_curve"]) for row in rows))
    return {
        "replicates": len(splits),
        "measure": measure,
        "ratio": ratio,
        "arms": {name: interval(values) | auc(name) for name, values in accuracies.items()},
        "learning_curve": {
            share: {"images": rows[0]["learning_curve"][share]["images"]}
            | interval(by_split("learning_curve", share))
            for share in sorted(shares, key=float)
        },
        "verdict": judge_study(accuracies, ratio, images, measure),
    }


def collect(tasks: list[dict[str, Any]], settings: dict[str, Any], out: Path) -> dict[str, Any]:
    """Write `study.json` from what is finished; a split with a seed missing is not judged yet.

    Rows of a larger plan stay in the file, which may be all that is left of them; so does how often
    the study was judged.
    """
    before = files.read_json(out / "study.json")
    rows, looks = read_rows(tasks, out), before.get("looks", [])
    planned = {(task["split"], task["seed"]) for task in tasks}
    others = [row for row in before.get("rows", []) if (row["split"], row["seed"]) not in planned]
    look = f"{settings['splits']} × {settings['seeds']}"
    if len(rows) == len(tasks):
        looks = list(dict.fromkeys([*looks, look]))
    seeds = [row["split"] for row in rows]
    whole = [row for row in rows if seeds.count(row["split"]) == settings["seeds"]]
    command = " ".join(["python -m course study", *sys.argv[1:]])
    made_by = {"command": command, "settings": settings, "versions": machine.versions()}
    study = made_by | {"looks": looks, "note": _note(len(rows), len(tasks), looks), "rows": rows}
    if len({row["split"] for row in whole}) > 1:
        study["summary"] = summarise(whole)
        write_report(study, out)
    files.write_json(out / "study.json", study | {"rows": rows + others})
    return study


def _note(finished: int, planned: int, looks: list[str]) -> str:
    """What is to be said beside the verdict, unless it is the first on all that was planned."""
    if finished < planned:
        return f"Interim: {finished} of {planned} planned runs are finished. Judge when all are."
    again = "each further look gives luck another chance, so a yes is worth less than a first one's"
    return f"Judged at {', then '.join(looks)} runs: {again}." if len(looks) > 1 else ""


def write_report(study: dict[str, Any], out: Path) -> None:
    """Write the study's `report.html`: it links to the runs' own, and shows data of the first.

    Of the first whose folder is there; with none there is no report but the numbers.
    """
    verdict, rows = study["summary"]["verdict"], study["rows"]
    runs = [(row["split"], row["seed"]) for row in rows]
    here = [run for run in runs if (out / "split-{}/seed-{}/report.html".format(*run)).exists()]
    if not here:
        return
    first = out / "split-{}/seed-{}".format(*here[0])
    word = WORDS[study["summary"]["measure"]]
    figure = plots.show_contrasts(verdict["contrasts"], verdict["margin"], word)
    plots.save_figure(figure, out, "contrasts")
    curve = study["summary"]["learning_curve"].values()
    if curve:
        points = {found["images"]: [found["accuracy"], *found["ci"]] for found in curve}
        gan = study["summary"]["arms"][PRIMARY[0]]
        gan = max(points), [gan["accuracy"], *gan["ci"]]
        figure = plots.show_curve(points, gan=gan, word=word)
        plots.save_figure(figure, out, "learning_curve")
    audits = {name: pd.DataFrame([row["audit"][name] for row in rows]) for name in rows[0]["audit"]}
    render(
        "study.html",
        out,
        here=here,
        title=f"{study['summary']['replicates']} replicates",
        v=verdict,
        word=word,
        simulated=rows[0]["simulated"],
        m=files.read_json(first / "metrics.json"),
        figures=inline_figures(first) | inline_figures(out),
        audits={name: table.astype(float) for name, table in audits.items()},
        contrast_title=plots.contrast_title,
        **study,
    )


def run_study(
    *,
    splits: int,
    seeds: int,
    profile: str = "study",
    data: str = "",
    out: str = "runs/study",
    extra: Path | None = None,
    first_seed: int = 1,
    workers: int = 2,
    threads: int = 1,
    scheduler: str = "",
) -> dict[str, Any]:
    """Run what is missing of a study, and judge it.

    Args:
        splits: Replicates: splits of the data, or simulated sets where there are none.
        seeds: Runs of each, averaged before anything is compared.
        profile, data, extra: As in `course.run.run`; all six arms are fitted.
        out: Folder for everything.
        first_seed: Of the splits, which count on from it.
        workers: Local processes, where no scheduler is named.
        threads: That each run computes with.
        scheduler: Address of a Dask scheduler, `tcp://host:8786`, with workers of one thread each.

    Returns:
        The content of `study.json`: settings, rows, and the summary with the verdict.

    Raises:
        CourseError: Any error that the user can fix.
    """
    folder = files.project_path(out)
    begun = files.read_json(folder / "study.json")
    if folder.is_dir() and not begun and any(folder.glob("[!.]*")):
        raise CourseError(f"{folder} is not empty and holds no study: choose another OUT.")
    changes = load_parameters(profile, extra)
    require_weights(changes)
    numbers = {"splits": splits, "seeds": seeds, "threads": threads, "first_seed": first_seed}
    parameters.check_values(**changes, **numbers, workers=workers)
    changes |= {"arms": ", ".join(ARMS), "gallery_steps": 1}
    settings = {"profile": profile, "data": data, **numbers, "changes": changes}
    ratio = 0.0
    if data:
        refuse_inside(folder, files.project_path(data))
        examined = examine(data, first_seed, changes)
        settings["fingerprint"] = examined.fingerprint
        print(*lines(examined), sep="\n", flush=True)
        tested = examined.part == "test"
        of_class = np.bincount(examined.slices.table["label"][tested], minlength=2)
        groups = len(set(examined.grouping.groups[tested]))
        ratio = overlap(of_class, np.sum(~tested), groups)
    before = begun["settings"]["changes"] if begun else {}
    if changes.get("precision", "auto") == "auto":  # once, and not while another run computes
        changes["precision"] = machine.choose_precision(before.get("precision", "auto"))
    if begun and _fixed(begun["settings"], begun) != _fixed(settings, begun):
        raise CourseError(f"{folder} holds a study with other settings or data: choose another.")
    print(announce(splits, ratio), flush=True)
    tasks = plan(settings, folder)
    held = files.lock(files.make_folder(folder) / ".lock")
    try:
        study = collect(tasks, settings, folder)  # the settings stand before anything has run
        done = {(row["split"], row["seed"]) for row in study["rows"]}
        if todo := [task for task in tasks if (task["split"], task["seed"]) not in done]:
            try:
                run_with_dask(run_one, todo, len(tasks), workers, scheduler)
            finally:  # what is finished counts, whatever stopped the rest
                study = collect(tasks, settings, folder)
        return study
    finally:
        held.release()


def _fixed(settings: dict[str, Any], begun: dict[str, Any]) -> dict[str, Any]:
    """What must not change in a study that is begun; before its first row, what the GANs need."""
    may_change = ("splits", "seeds", "threads", "data")  # the data's fingerprint stays
    fixed = {key: value for key, value in settings.items() if key not in may_change}
    return fixed if begun.get("rows") else fixed | {"changes": gan_settings(fixed["changes"])}


def announce(splits: int, ratio: float) -> str:
    """What the study can find, said before it begins; `ratio` as in `intervals.resampled_t`."""
    if splits < FEWEST_REPLICATES:
        return f"Fewer than {FEWEST_REPLICATES} splits never give a yes or no."
    smallest = intervals.smallest_detectable_effect(ASSUMED_SPREAD, splits, ratio)
    return (
        f"Said beforehand: a gain under {100 * MARGIN:.0f} points is not worth a GAN. "
        f"If it scatters by {100 * ASSUMED_SPREAD:.0f} points between replicates, {splits} of them "
        f"find a true gain of {100 * smallest:.0f} points four times in five."
    )


@command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m course study",
        description="Repeat the course on many splits (or simulated sets), and judge them.",
        epilog="The same command again runs what is missing; more splits or seeds are added.",
    )
    parser.add_argument("--splits", type=int, default=10, help="how many; a verdict needs 5")
    parser.add_argument("--seeds", type=int, default=3, help="runs for each split, averaged")
    parser.add_argument("--profile", default="study", help="study (default), smoke, quick or paper")
    parser.add_argument("--data", default="", help="folder with labels.csv; default: simulated")
    parser.add_argument("--out", default="runs/study", help="folder for everything")
    parser.add_argument("--params", dest="extra", type=Path, help="YAML file with values to change")
    parser.add_argument("--first-seed", type=int, default=1, help="seed of the first split")
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine")
    parser.add_argument("--threads", type=int, default=1, help="threads for each run")
    parser.add_argument("--scheduler", default="", help="of a Dask cluster: tcp://host:8786")
    asked = vars(parser.parse_args(arguments))
    study = run_study(**asked)
    print(table(study))
    if (report := files.project_path(asked["out"]) / "report.html").exists():
        print(f"\nReport: {report}")


def table(study: dict[str, Any]) -> str:
    """Arms and verdict for the terminal."""
    if "summary" not in study:
        return "Fewer than two splits are finished: nothing to compare."
    summary = study["summary"]
    word = WORDS[summary["measure"]]
    head = f"{'arm':<26}{word:>9}  95 % interval, {summary['replicates']} replicates"
    lines = [head]
    for name, arm in summary["arms"].items():
        mean, low, high = (100 * share for share in (arm["accuracy"], *arm["ci"]))
        line = f"{plots.ARM_TITLES[name]:<26}{mean:>{len(word) - 1}.1f} %"
        auc = f"; AUC {arm['auc']:.2f}" if "auc" in arm else ""
        lines.append(f"{line}  {low:.1f} to {high:.1f} %{auc}")
    lines += ["", f"Verdict: {summary['verdict']['text']}", study["note"]]
    return "\n".join(lines).rstrip()
