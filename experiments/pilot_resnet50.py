"""Which baseline is ResNet-50's stronger one: *classic* or *classic long*? Six pilot sets.

    python experiments/pilot_resnet50.py

Each fit of *classic* on 144 slices has 480 steps, which show each slice 107 times, about as often
as the 100 epochs of the original work. This number is fixed for all experiments. *Classic long* has
twice as many, so it also shows what more steps would bring. Scored are 2,000 further slices. The
better arm is ResNet-50's stronger baseline from then on, and the six sets are never scored again. A
row for each set and arm is written when it is finished: the same command resumes where it was
stopped.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from course.commands import command
from helpers import files, machine

RESULTS = PILOT = files.RESULTS / "pilot_resnet50.json"
STEPS = 480  # for 144 slices
SETS, TRAIN, TEST = 6, 144, 2000
TURNS = {"classic": 1, "classic_long": 2}


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of both arms, and the better one, once all rows are there."""
    if len(rows) < SETS * len(TURNS):
        return {}
    means = {
        arm: float(np.mean([row["score"] for row in rows if row["arm"] == arm])) for arm in TURNS
    }
    return {
        "steps": STEPS,
        "mean_balanced_accuracy": means,
        "stronger": max(means, key=means.get),
    }


def scale_steps(steps: float, slices: int) -> int:
    """Batches for so many slices, if 144 slices get `steps`: each is seen equally often."""
    return max(1, round(steps * slices / TRAIN))


@command
def main(arguments: list[str] | None = None) -> None:
    """Fit what is missing, and write after each fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    results = parser.parse_args(arguments).results
    held = files.lock(results.with_suffix(".lock"))
    machine.setup()
    from helpers import classifiers, preprocessing

    settings = {"sets": SETS, "train": TRAIN, "steps": STEPS, "test": TEST}
    rows = files.read_results(results, settings).get("rows", [])
    done = {(row["set"], row["arm"]) for row in rows}
    test, truth = preprocessing.fresh_slices(TEST, 34_000)
    for number in range(SETS):
        todo = {name: turns for name, turns in TURNS.items() if (number, name) not in done}
        if not todo:
            continue
        real = preprocessing.fresh_slices(TRAIN, 34_001 + 2 * number)
        augment = classifiers.classic_augmentation(number)
        classifier = classifiers.build_classifier("resnet50", seed=number)
        for name, turns in todo.items():
            arm = classifiers.Arm(*real, augment=augment, turns=turns)
            classifiers.fit(classifier, arm, steps=STEPS, seed=number)
            score = float(balanced_accuracy_score(truth, classifier.answer(test) >= 0.5))
            rows.append({"set": number, "arm": name, "score": score})
            content = {
                "command": "python experiments/pilot_resnet50.py",
                "settings": settings,
                "versions": machine.versions(),
                "summary": summarise(rows),
                "rows": rows,
            }
            files.write_json(results, content)
            print(rows[-1], flush=True)
    held.release()


if __name__ == "__main__":
    sys.exit(main())
