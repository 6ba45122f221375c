"""What a simulator is worth on real slices: the classifier fitted on real, simulated or both.

    python benchmarks/simulator.py --data FOLDER

The same network and steps, on the same splits as a study with first seed 1. Every split is written
to `results/simulator.json` when it ends; the same command goes on where it was stopped.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from helpers import course, runtime  # noqa: E402  after the path

RESULTS = PROJECT / "results" / "simulator.json"
SIMULATED = 2000


def fit_split(split: int, slices, classifier, judge, steps: int) -> list[dict]:
    """The accuracy of each way on this split's test images, one row a way."""
    from sklearn.linear_model import LogisticRegression

    from helpers import audit, dataset, evaluation

    seed = 1 + split
    labels, images = slices.table["label"].to_numpy(), dataset.prepare(slices.greys)
    part = dataset.split_groups(labels, dataset.find_groups(slices).groups, seed)
    train, test = ((images[part == p], labels[part == p]) for p in ("train", "test"))
    drawn = dataset.fresh_slices(SIMULATED, 40_000 + split)
    classic = evaluation.classic_augmentation(seed)
    ways = {
        "real": evaluation.Arm(*train),
        "real, classic augmentation": evaluation.Arm(*train, augment=classic),
        "simulated": evaluation.Arm(*drawn),
        "real + simulated": evaluation.Arm(*train, *drawn),
    }
    right = {}
    for name, arm in ways.items():
        evaluation.fit(classifier, arm, steps=steps, seed=seed)
        right[name] = (classifier.answer(test[0]) > 0.5) == test[1]
    head = LogisticRegression(max_iter=1000).fit(audit.judge_features(train[0], judge), train[1])
    right["head on the judge"] = head.predict(audit.judge_features(test[0], judge)) == test[1]
    return [
        {
            "split": split,
            "arm": name,
            "accuracy": float(np.mean(hits)),
            "test_images": len(test[1]),
            "images": len(labels),
        }
        for name, hits in right.items()
    ]


def main() -> None:
    """Fit the splits that are missing, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with labels.csv")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    with runtime.quiet():
        from helpers import audit, dataset, evaluation
    slices = dataset.read_folder(runtime.project_path(asked.data))
    settings = {
        "steps": course.load_parameters("quick")["classifier_steps"],
        "simulated": SIMULATED,
        "data": slices.fingerprint,
        "trunk": "scratch",
    }
    results = runtime.read_json(asked.results)
    if results and results["settings"] != settings:
        sys.exit(f"{asked.results} holds fits of {results['settings']}: move it away first.")
    rows = results.get("rows", [])
    classifier, judge = evaluation.build_classifier("scratch"), audit.load_judge()
    for split in range(asked.splits):
        if any(row["split"] == split for row in rows):
            continue
        rows += fit_split(split, slices, classifier, judge, settings["steps"])
        runtime.write_json(
            asked.results,
            {
                "command": "python benchmarks/simulator.py --data FOLDER",
                "settings": settings,
                "versions": runtime.versions(),
                "rows": rows,
            },
        )
        print({row["arm"]: round(row["accuracy"], 2) for row in rows[-5:]}, flush=True)


if __name__ == "__main__":
    main()
