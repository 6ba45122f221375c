"""How many steps the arms need: accuracy on fresh slices after fits of several lengths.

    python experiments/steps.py

Turned and sheared slices take longer to learn than slices as they are, so after too few steps an
arm is still on its way. Each length is a fit of its own, as in notebook 05. A row for each
simulated set, arm and number of steps goes into `results/steps.json`, written when a set is done;
the same command resumes where it was stopped.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from course.commands import command
from helpers import files, machine

RESULTS = files.RESULTS / "steps.json"
STEPS = (60, 120, 240, 480)
TRAIN, TEST = 144, 2000


@command
def main(arguments: list[str] | None = None) -> None:
    """Fit what is missing, and write after each set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    machine.setup()
    from helpers import classifiers, preprocessing

    settings = {"train": TRAIN, "test": TEST, "trunk": "scratch"}
    rows = files.read_results(asked.results, settings).get("rows", [])
    classifier = classifiers.build_classifier("resnet50")
    for k in range(asked.sets):
        if any(row["set"] == k for row in rows):
            continue
        seed = 30_000 + k
        train = preprocessing.fresh_slices(TRAIN, seed)
        test, labels = preprocessing.fresh_slices(TEST, seed + 100_000)
        arms = {
            "original": classifiers.Arm(*train),
            "classic": classifiers.Arm(*train, augment=classifiers.classic_augmentation(seed)),
        }
        for name, arm in arms.items():
            for steps in STEPS:
                classifiers.fit(classifier, arm, steps=steps, seed=seed)
                accuracy = float(np.mean((classifier.answer(test) >= 0.5) == labels))
                rows.append({"set": k, "arm": name, "steps": steps, "accuracy": accuracy})
        files.write_json(
            asked.results,
            {
                "command": "python experiments/steps.py",
                "settings": settings,
                "versions": machine.versions(),
                "rows": rows,
            },
        )
        print(rows[-2 * len(STEPS) :], flush=True)


if __name__ == "__main__":
    sys.exit(main())
