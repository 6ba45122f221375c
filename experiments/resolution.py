"""What resolution is worth: the original arm on real images alone, at 32, 64 and 128 pixels.

    python experiments/resolution.py                    # simulated sets, scored on fresh slices
    python experiments/resolution.py --data FOLDER      # splits of your images, on their test part

The same network from scratch, the same steps, the same patients; only the edge of the images
differs. Every fit is a row in `results/resolution.json`, written when it ends; the same command
resumes where it was stopped.
"""

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from course import params
from course.commands import command
from helpers import files, machine
from helpers.files import CourseError
from helpers.folder import find_groups, read_folder

RESULTS = files.RESULTS / "resolution.json"
EDGES = (32, 64, 128)
TRAIN, TEST = 144, 1000


def fit_one(replicate: int, edge: int, data: str, steps: int) -> dict:
    """One fit, in a process of its own."""
    machine.setup()
    from helpers import classifiers, preprocessing

    seed = 20_000 + replicate
    if data:
        slices = read_folder(files.project_path(data))
        labels = slices.table["label"].to_numpy()
        part = preprocessing.split_groups(labels, find_groups(slices).groups, seed)
        images = preprocessing.prepare(slices.greys, edge)
        train, test = ((images[part == p], labels[part == p]) for p in ("train", "test"))
    else:
        train = preprocessing.fresh_slices(TRAIN, seed, edge)
        test = preprocessing.fresh_slices(TEST, seed + 100_000, edge)
    classifier = classifiers.build_classifier("resnet50", edge, seed, edge=edge)
    classifiers.fit(classifier, classifiers.Arm(*train), steps=steps, seed=seed)
    right = (classifier.answer(test[0]) >= 0.5) == test[1]
    return {
        "data": Path(data).name or "simulated",
        "fingerprint": slices.fingerprint if data else None,
        "replicate": replicate,
        "edge": edge,
        "test_images": len(test[1]),
        "train_images": len(train[1]),
        "images": len(train[1]) + len(test[1]) if not data else len(labels),
        "accuracy": float(np.mean(right)),
    }


def summarise(rows: list[dict]) -> dict:
    """By data and edge: accuracy, and the gain over 32 pixels, with 95 % intervals.

    Splits of one set share images. Nadeau and Bengio's ratio counts test and training images alone,
    since no fit uses the validation part.
    """
    from helpers import intervals

    found: dict[str, dict] = {}
    for data in sorted({row["data"] for row in rows}):
        of_data = [row for row in rows if row["data"] == data]
        table = {
            edge: {r["replicate"]: r["accuracy"] for r in of_data if r["edge"] == edge}
            for edge in EDGES
        }
        whole = sorted(set.intersection(*(set(each) for each in table.values())))
        if len(whole) < 2:
            continue
        ratio = of_data[0]["test_images"] / of_data[0]["train_images"]
        ratio = 0.0 if data == "simulated" else ratio
        by_edge = {edge: np.array([table[edge][k] for k in whole]) for edge in EDGES}
        found[data] = {"replicates": len(whole)}
        for edge, values in by_edge.items():
            accuracy = intervals.resampled_t(values, ratio)
            of_edge = {"accuracy": {key: accuracy[key] for key in ("mean", "sd", "ci")}}
            if edge != EDGES[0]:
                of_edge["gain"] = intervals.resampled_t(values - by_edge[EDGES[0]], ratio)
            found[data][str(edge)] = of_edge
    return found


@command
def main(arguments: list[str] | None = None) -> None:
    """Run the fits that are missing, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="", help="folder with labels.csv; default: simulated")
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=1, help="fits at once, 2 GB each")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    steps = params.load_parameters("study")["classifier_steps"]
    settings = {"steps": steps, "learning_rate": "falls to 0"}
    rows = files.read_results(asked.results, settings).get("rows", [])
    name = Path(asked.data).name or "simulated"
    if asked.data:
        fingerprint = read_folder(files.project_path(asked.data)).fingerprint
        if any(
            row["data"] == name and row.get("fingerprint", fingerprint) != fingerprint
            for row in rows
        ):
            raise CourseError(
                f"{asked.results} has rows of another folder {name}: choose another file."
            )
    done = {(row["data"], row["replicate"], row["edge"]) for row in rows}
    spawn = multiprocessing.get_context("spawn")  # each fit's memory ends with its process
    pool = ProcessPoolExecutor(asked.at_once, mp_context=spawn, max_tasks_per_child=1)
    try:
        fits = [
            pool.submit(fit_one, replicate, edge, asked.data, steps)
            for replicate in range(asked.replicates)
            for edge in EDGES
            if (name, replicate, edge) not in done
        ]
        for fit in as_completed(fits):
            rows.append(fit.result())
            files.write_json(
                asked.results,
                {
                    "command": "python experiments/resolution.py [--data FOLDER]",
                    "settings": settings,
                    "versions": machine.versions(),
                    "summary": summarise(rows),
                    "rows": sorted(rows, key=lambda r: (r["data"], r["replicate"], r["edge"])),
                },
            )
            print(rows[-1], flush=True)
    finally:
        pool.shutdown(cancel_futures=True)  # one that fails or is cut off ends the rest too


if __name__ == "__main__":
    sys.exit(main())
