"""What simulated slices are worth on real ones: the classifier fitted on real or simulated slices.

    python experiments/simulator.py --data FOLDER

The same network, on splits with first seed 1; each real slice is seen equally often. Every split is
written to `results/simulator.json` when it ends; the same command resumes where it was stopped.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from course.commands import command
from helpers import files, machine

RESULTS = files.RESULTS / "simulator.json"
SIMULATED = 2000  # half of each class
STEPS = 480  # after fewer, classic augmentation is not yet ahead: see steps.json


def fit_split(split: int, slices, networks, steps: int) -> list[dict]:
    """The accuracy of each arm on this split's test images, one row an arm."""
    from helpers import classifiers, preprocessing
    from helpers.folder import find_groups
    from helpers.judge import judge_features

    seed, (classifier, judge) = 1 + split, networks
    labels, images = slices.table["label"].to_numpy(), preprocessing.prepare(slices.greys)
    part = preprocessing.split_groups(labels, find_groups(slices).groups, seed)
    train, test = ((images[part == p], labels[part == p]) for p in ("train", "test"))
    drawn = preprocessing.fresh_slices(SIMULATED, 40_000 + split)
    arms = {
        "real": classifiers.Arm(*train),
        "real, classic augmentation": classifiers.Arm(
            *train, augment=classifiers.classic_augmentation(seed)
        ),
        "simulated": classifiers.Arm(*drawn),
        "real + simulated": classifiers.Arm(*train, *drawn),
    }
    right = {}
    for name, arm in arms.items():
        classifiers.fit(classifier, arm, steps=steps, seed=seed)
        right[name] = (classifier.answer(test[0]) >= 0.5) == test[1]
    features = [judge_features(x, judge) for x in (train[0], test[0])]
    head = LogisticRegression(max_iter=1000).fit(features[0], train[1])
    right["head on the judge"] = head.predict(features[1]) == test[1]
    counts = {"test_images": len(test[1]), "train_images": len(train[1]), "images": len(labels)}
    return [
        {"split": split, "arm": name, "accuracy": float(np.mean(hits))} | counts
        for name, hits in right.items()
    ]


@command
def main(arguments: list[str] | None = None) -> None:
    """Fit what is missing, and write after each split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with labels.csv")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    machine.setup()
    from helpers import classifiers
    from helpers.folder import read_folder
    from helpers.judge import load_judge

    slices = read_folder(files.project_path(asked.data))
    settings = {"steps": STEPS, "simulated": SIMULATED, "data": slices.fingerprint}
    settings |= {"trunk": "scratch", "turns": "equal"}
    rows = files.read_results(asked.results, settings).get("rows", [])
    networks = classifiers.build_classifier("resnet50"), load_judge()
    for split in range(asked.splits):
        if any(row["split"] == split for row in rows):
            continue
        rows += fit_split(split, slices, networks, STEPS)
        files.write_json(
            asked.results,
            {
                "command": "python experiments/simulator.py --data FOLDER",
                "settings": settings,
                "versions": machine.versions(),
                "rows": rows,
            },
        )
        print({row["arm"]: round(row["accuracy"], 2) for row in rows[-5:]}, flush=True)


if __name__ == "__main__":
    sys.exit(main())
