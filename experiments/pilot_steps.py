"""How many steps does ResNet-50 get on 144 slices: 480 or 960? Six pilot sets, never scored again.

    python experiments/pilot_steps.py

The number is fixed before the published experiment is scored, for all arms alike: 480, unless twice
as many gain 2 points or more on average over arms and sets. The arms are *classic*, *classic long*
and *oracle*, with 432 true slices of other people. Scored are 2,000 further slices. The better of
the first two arms, at the number that is chosen, is ResNet-50's stronger baseline from then on. A
row for each set, arm and number of steps is written when it is finished: the same command goes on
where it was stopped.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from helpers import files, machine

RESULTS = PILOT = files.RESULTS / "pilot_steps.json"
CHOICES, WORTH = (480, 960), 0.02  # of balanced accuracy
SETS, TRAIN, ADDED, TEST = 6, 144, 3, 2000
ARMS = ("classic", "classic_long", "oracle")


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each number of steps and arm, and the choices, once all rows are there."""
    if len(rows) < SETS * len(ARMS) * len(CHOICES):
        return {}
    few, many = (float(np.mean([r["score"] for r in rows if r["steps"] == s])) for s in CHOICES)
    chosen = CHOICES[many - few >= WORTH]
    of_arms = {
        arm: float(np.mean([r["score"] for r in rows if (r["arm"], r["steps"]) == (arm, chosen)]))
        for arm in ARMS
    }
    return {
        "mean_balanced_accuracy": dict(zip(CHOICES, (few, many), strict=True)),
        "steps": chosen,
        "of_arms": of_arms,
        "stronger": max(ARMS[:2], key=of_arms.get),
    }


def scale_steps(steps: float, slices: int) -> int:
    """Batches for so many slices, if 144 slices get `steps`: each is seen equally often."""
    return max(1, round(steps * slices / TRAIN))


def main() -> None:
    """Fit what is missing, and write after each fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    results = parser.parse_args().results
    held = files.lock(results.with_suffix(".lock"))
    machine.setup()
    from helpers import classifiers, preprocessing

    rows = files.read_json(results).get("rows", [])
    done = {(row["set"], row["arm"], row["steps"]) for row in rows}
    test, truth = preprocessing.fresh_slices(TEST, 34_000)
    for number in range(SETS):
        if {(number, name, steps) for name in ARMS for steps in CHOICES} <= done:
            continue
        real = preprocessing.fresh_slices(TRAIN, 34_001 + 2 * number)
        new = preprocessing.fresh_slices(ADDED * TRAIN, 34_002 + 2 * number)
        augment = classifiers.classic_augmentation(number)
        arms = {
            "classic": classifiers.Arm(*real, augment=augment),
            "classic_long": classifiers.Arm(*real, augment=augment, turns=2),
            "oracle": classifiers.Arm(*real, *new, augment=augment),
        }
        classifier = classifiers.build_classifier("resnet50", seed=number)
        for steps in CHOICES:
            for name, arm in arms.items():
                if (number, name, steps) in done:
                    continue
                classifiers.fit(classifier, arm, steps=steps, seed=number)
                score = float(balanced_accuracy_score(truth, classifier.answer(test) >= 0.5))
                rows.append({"set": number, "arm": name, "steps": steps, "score": score})
                content = {
                    "command": "python experiments/pilot_steps.py",
                    "settings": {"sets": SETS, "train": TRAIN, "added": ADDED, "test": TEST},
                    "versions": machine.versions(),
                    "summary": summarise(rows),
                    "rows": rows,
                }
                files.write_json(results, content)
                print(rows[-1], flush=True)
    held.release()


if __name__ == "__main__":
    main()
