"""Do GAN images help ResNet-50 on simulated slices? Six sets of each study of simulated sets.

    python experiments/resnet50_sets.py --studies study-36 study-144

The sets and the slices to score on are those of `course study`, and so are the recipe and the seeds
of the GANs. A GAN whose checkpoint is in the study's folder is used. Otherwise it is trained there
again: on another machine this is another GAN, so a row names its images by their fingerprint.
ResNet-50 is trained from scratch, one fit for each arm and set, with as many steps as in
`pilot_resnet50.py`, for 144 slices: fewer slices get fewer. A row is one set: the same command goes
on where it was stopped. A set that fails is left out, and named at the end.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pilot_resnet50 import PILOT, scale_steps

from course import replicate
from course.commands import command
from course.study import plan, summarise_sets
from course.workers import THREADS
from helpers import files, machine
from helpers.files import CourseError

RESULTS = files.RESULTS / "resnet50_sets.json"
COMMAND = "python experiments/resnet50_sets.py --studies study-36 study-144"
SETS = 6


def score_set(task: dict[str, Any], steps: int) -> dict[str, Any]:
    """The row of one set: scores of the arms on fresh and on shifted slices.

    Args:
        task: As `study.plan` gives it.
        steps: Batches for 144 real slices.
    """
    from helpers import classifiers

    started = time.monotonic()
    real, true, tests, truth = replicate.draw_set(task)
    folder = files.make_folder(Path(task["folder"]))
    held = files.lock(folder / ".lock", wait=60)
    try:
        drawn = replicate.draw_added(task, folder, *real)
    finally:
        held.release()
    augment = classifiers.classic_augmentation(task["number"])
    arms = {
        "classic": classifiers.Arm(*real, augment=augment),
        "classic_long": classifiers.Arm(*real, augment=augment, turns=2),
        "classic_gan": classifiers.Arm(*real, *drawn, augment=augment),
        "oracle": classifiers.Arm(*real, *true, augment=augment),
    }
    classifier = classifiers.build_classifier("resnet50", seed=task["number"])
    scores, own = {}, scale_steps(steps, task["images"])
    for name, arm in arms.items():
        classifiers.fit(classifier, arm, steps=own, seed=task["number"])
        scores[name] = {
            where: replicate.score(truth, classifier.answer(test)) for where, test in tests.items()
        }
    row = {"images": task["images"], "number": task["number"], "seed": 0, "arms": scores}
    row |= {"data_seed": task["data_seed"]}
    row |= {"steps": own, "precision": task["precision"], "drawn": machine.fingerprint(drawn[0])}
    return row | {"seconds": time.monotonic() - started, "versions": machine.versions()}


def score_sets(tasks: list[dict[str, Any]], steps: int, processes: int) -> Iterator[dict[str, Any]]:
    """The rows of several sets, each when it is finished.

    Args:
        tasks, steps: As for `score_set`.
        processes: Sets at once. Two with a thread each are faster than one with two threads.

    Raises:
        CourseError: After all other sets: the errors of those that failed.
    """
    failed = []
    if processes == 1:
        for task in tasks:
            try:
                yield score_set(task, steps)
            except CourseError as error:
                failed.append(str(error))
    else:
        os.environ.update(dict.fromkeys(THREADS, "1"))
        pool = concurrent.futures.ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=machine.setup,
            max_tasks_per_child=1,
        )
        begun = [pool.submit(score_set, task, steps) for task in tasks]
        try:
            for finished in concurrent.futures.as_completed(begun):
                try:
                    yield finished.result()
                except CourseError as error:
                    failed.append(str(error))
        except BaseException:  # no set may go on for hours without its row being kept
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    if failed:
        raise CourseError("\n".join(failed))


def summarise(rows: list[dict[str, Any]], stronger: str) -> dict[str, Any]:
    """Arms, gains and answer by the number of real slices, where all sets of it are there."""
    by_size: dict[int, list] = {}
    for row in rows:
        by_size.setdefault(row["images"], []).append(row)
    found = {size: own for size, own in by_size.items() if len(own) == SETS}
    return {str(size): summarise_sets(own, stronger) for size, own in found.items()}


@command
def main(arguments: list[str] | None = None) -> None:
    """Score the sets that are missing, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=Path, nargs="+", required=True, help="their folders")
    parser.add_argument("--pilot", type=Path, default=PILOT, help="what pilot_resnet50.py wrote")
    parser.add_argument("--processes", type=int, default=1, help="sets at once")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    pilot = files.read_json(asked.pilot).get("summary")
    if not pilot:
        raise CourseError(f"{asked.pilot} is not finished: run pilot_resnet50.py first.")
    held = files.lock(asked.results.with_suffix(".lock"))
    machine.setup()
    settings = {"sets": SETS, "stronger": pilot["stronger"], "steps": pilot["steps"]}
    todo, sizes = [], set()
    for folder in asked.studies:
        study = files.read_json(folder / "study.json")
        if not study or study["settings"]["data"]:
            raise CourseError(f"{folder} holds no study of simulated sets: run course study first.")
        tasks = plan(study["settings"] | {"seeds": 1, "sets": SETS}, folder.resolve())
        if tasks[0]["images"] in sizes:
            raise CourseError(f"{folder} has sets as large as another study: name one of the two.")
        sizes.add(tasks[0]["images"])
        gan = {k: v for k, v in study["settings"]["values"].items() if k != "precision"}
        if settings.setdefault("gan", gan) != gan:
            raise CourseError(f"{folder} has other GANs than another study: name one of the two.")
        todo += tasks
    rows = files.read_results(asked.results, settings, later=("gan",)).get("rows", [])
    done = {(row["images"], row["number"]): row for row in rows}
    for task in todo:
        row = done.get((task["images"], task["number"]), {})
        if row.get("data_seed", task["data_seed"]) != task["data_seed"]:
            raise CourseError(f"{asked.results} has rows of other simulated sets: choose another.")
    todo = [task for task in todo if (task["images"], task["number"]) not in done]
    for row in score_sets(todo, pilot["steps"], asked.processes):
        rows = sorted([*rows, row], key=lambda x: (x["images"], x["number"]))
        content = {
            "command": COMMAND,
            "settings": settings,
            "versions": machine.versions(),
            "summary": summarise(rows, pilot["stronger"]),
            "rows": rows,
        }
        files.write_json(asked.results, content)
        minutes = row["seconds"] / 60
        print(f"{row['images']} slices, set {row['number']}: {minutes:.0f} min", flush=True)
    held.release()


if __name__ == "__main__":
    sys.exit(main())
