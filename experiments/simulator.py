"""What other images are worth on real slices: the classifier fitted on real, simulated or GAN ones.

    python experiments/simulator.py --data FOLDER
    python experiments/simulator.py --data FOLDER --run runs/first runs/second

The same network, on splits with first seed 1; each real slice is seen equally often. The GANs of a
split learn from its training slices alone: each is taken from a finished run that trained it on
exactly these, where one is given, or else trained here, with the quick profile's steps and recipe.
Every split is written to `results/simulator.json` when it ends; the same command resumes where it
was stopped, and fits only the arms that the file lacks.
"""

import argparse
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from course.params import load_parameters
from helpers import files, machine

RESULTS = files.RESULTS / "simulator.json"
SIMULATED = 2000  # and as many of the GANs; half of each class
ARMS = (
    "real", "real, classic augmentation", "simulated", "real + simulated", "head on the judge",
    "gan", "real + gan",
)  # fmt: skip


def find_generators(runs: list[Path], settings: dict) -> dict[str, Path]:
    """The generators of finished runs, by the fingerprint of the images each was trained on."""
    found = {}
    for run in runs:
        for name, gan in files.read_json(run / "metrics.json").get("gan", {}).items():
            if (gan["steps"], gan["recipe"]) != (settings["gan_steps"], settings["recipe"]):
                sys.exit(f"{run} has GANs of another recipe or number of steps than {settings}.")
            found[gan["trained_on"]] = run / "models" / f"{name}.h5"
    return found


def generate(train: tuple, seed: int, found: dict[str, Path], settings: dict, scratch: Path):
    """Images and labels of two GANs, one a class, that learnt from these training slices alone."""
    from helpers import sampling, training
    from helpers.recipes import Recipe

    drawn = []
    for label in (1, 0):
        own = train[0][train[1] == label]
        if path := found.get(machine.fingerprint(own)):
            generator = sampling.load_generator(path)
        else:
            print(f"{scratch.name}, class {label}: of no finished run, so trained here", flush=True)
            recipe = {key: value for key, value in settings["recipe"].items() if key != "name"}
            generator = training.train_gan(
                own, steps=settings["gan_steps"], seed=seed + label,
                recipe=Recipe(**recipe), precision=settings["precision"],
                checkpoints=scratch / str(label), preview_every=settings["gan_steps"],
                title=f"{scratch.name}, class {label}",
            ).generator  # fmt: skip
        latent = sampling.draw_latent(SIMULATED // 2, seed + label)
        drawn.append(sampling.generate(generator, latent))
    return np.concatenate(drawn), np.repeat([1, 0], SIMULATED // 2)


def fit_split(split: int, missing: list[str], slices, networks, found, settings, scratch) -> list:
    """The accuracy of each missing arm on this split's test images, one row an arm."""
    from sklearn.linear_model import LogisticRegression

    from helpers import classifiers, preprocessing
    from helpers.folder import find_groups
    from helpers.judge import judge_features

    seed, (classifier, judge) = 1 + split, networks
    labels, images = slices.table["label"].to_numpy(), preprocessing.prepare(slices.greys)
    part = preprocessing.split_groups(labels, find_groups(slices).groups, seed)
    train, test = ((images[part == p], labels[part == p]) for p in ("train", "test"))
    drawn = preprocessing.fresh_slices(SIMULATED, 40_000 + split)
    wants_gan = {"gan", "real + gan"} & set(missing)
    # Ten apart, since each GAN of a split has its own.
    of_gan = generate(train, 10 * seed, found, settings, scratch) if wants_gan else (None, None)
    classic = classifiers.classic_augmentation(seed)
    ways = {
        "real": classifiers.Arm(*train),
        "real, classic augmentation": classifiers.Arm(*train, augment=classic),
        "simulated": classifiers.Arm(*drawn),
        "real + simulated": classifiers.Arm(*train, *drawn),
        "gan": classifiers.Arm(*of_gan),
        "real + gan": classifiers.Arm(*train, *of_gan),
    }
    right = {}
    for name in missing:
        if name == "head on the judge":
            features = [judge_features(x, judge) for x in (train[0], test[0])]
            head = LogisticRegression(max_iter=1000).fit(features[0], train[1])
            right[name] = head.predict(features[1]) == test[1]
        else:
            classifiers.fit(classifier, ways[name], steps=settings["steps"], seed=seed)
            right[name] = (classifier.answer(test[0]) > 0.5) == test[1]
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
    """Fit what is missing, and write after each split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with labels.csv")
    parser.add_argument("--run", type=Path, nargs="*", default=[], help="finished runs")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--scratch", type=Path, default=files.PROJECT / "runs" / "simulator")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    machine.setup()
    from helpers import classifiers, recipes
    from helpers.folder import read_folder
    from helpers.judge import load_judge

    slices = read_folder(files.project_path(asked.data))
    quick = load_parameters("quick")
    results = files.read_json(asked.results)
    before = results.get("settings", {})
    recipe = recipes.choose_recipe(quick["recipe"], quick["recipe_changes"])
    settings = {
        "steps": quick["classifier_steps"],
        "turns": "equal",
        "simulated": SIMULATED,
        "data": slices.fingerprint,
        "trunk": "scratch",
        "gan_steps": quick["gan_steps"],
        "recipe": asdict(recipe) | {"name": quick["recipe"]},
        # Chosen once: the GANs of all splits are to differ in their images and seed alone.
        "precision": before.get("precision") or machine.choose_precision(),
    }
    # A file from before there was a GAN arm says nothing of GANs, and holds none.
    older = before and "turns" not in before  # fewer batches, and another learning rate
    if older or any(settings[key] != value for key, value in before.items()):
        sys.exit(f"{asked.results} holds fits of {before}: move it away first.")
    found = find_generators(asked.run, settings)
    rows = results.get("rows", [])
    networks = classifiers.build_classifier("resnet50"), load_judge()
    for split in range(asked.splits):
        kept = {row["arm"] for row in rows if row["split"] == split}
        missing = [name for name in ARMS if name not in kept]
        if not missing:
            continue
        scratch = asked.scratch / f"split-{split}"
        new = fit_split(split, missing, slices, networks, found, settings, scratch)
        rows += new
        files.write_json(
            asked.results,
            {
                "command": "python experiments/simulator.py --data FOLDER",
                "settings": settings,
                "versions": machine.versions(),
                "rows": rows,
            },
        )
        shutil.rmtree(scratch, ignore_errors=True)  # checkpoints, and the rows are kept
        print({row["arm"]: round(row["accuracy"], 2) for row in new}, flush=True)


if __name__ == "__main__":
    main()
