"""How many real images are the GAN's worth: a learning curve on simulated slices.

    python benchmarks/worth.py

For each replicate a set of its own: classic augmentation fitted on 36 to 576 real images, and on
144 of them together with the images of GANs trained on those 144; the same number of steps each,
scored on 2,000 fresh slices. Every fit is a row in `results/worth.json`, written when its replicate
ends; the same command goes on where it was stopped.
"""

import argparse
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from helpers import course, runtime  # noqa: E402  after the path

RESULTS = PROJECT / "results" / "worth.json"
SIZES = (36, 72, 144, 288, 576)
AT, TEST, PER_CLASS = 144, 2000, 100  # as the paper: 144 images to train, 200 samples


def run_replicate(replicate: int, parameters: dict, precision: str) -> list[dict]:
    """All fits of one simulated set, in a process of its own."""
    with runtime.quiet():
        from helpers import dataset, evaluation, sampling, training
    seed = 10_000 + replicate
    images, labels = dataset.fresh_slices(max(SIZES), seed)
    test = dataset.fresh_slices(TEST, seed + 100_000)
    drawn = []
    for label in (1, 0):
        with tempfile.TemporaryDirectory() as checkpoints:
            gan = training.train_gan(
                images[:AT][labels[:AT] == label],
                steps=parameters["gan_steps"],
                seed=seed + label,
                recipe=training.choose_recipe(parameters["recipe"], parameters["recipe_changes"]),
                precision=precision,
                preview_every=parameters["gan_steps"],
                checkpoints=Path(checkpoints),
                title=f"replicate {replicate}, class {label}",
            )
        drawn.append(sampling.generate(gan.generator, sampling.draw_latent(PER_CLASS, seed)))
    generated = np.concatenate(drawn), np.repeat([1, 0], PER_CLASS)
    augment = evaluation.classic_augmentation(seed)
    arms = {
        ("classic", size): evaluation.Arm(images[:size], labels[:size], augment=augment)
        for size in SIZES
    }
    arms["classic_gan", AT] = evaluation.Arm(images[:AT], labels[:AT], *generated, augment=augment)
    classifier = evaluation.build_classifier("scratch", seed=seed)
    rows = []
    for (name, size), arm in arms.items():
        evaluation.fit(classifier, arm, steps=parameters["classifier_steps"], seed=seed)
        right = (classifier.answer(test[0]) > 0.5) == test[1]
        rows.append(
            {"replicate": replicate, "arm": name, "images": size, "accuracy": float(right.mean())}
        )
    return rows


def summarise(rows: list[dict]) -> dict:
    """The curve with 95 % t-intervals over replicates, and what the GAN's images were worth."""
    from helpers import statistics

    def accuracies(arm: str, size: int) -> np.ndarray:
        return np.array([r["accuracy"] for r in rows if r["arm"] == arm and r["images"] == size])

    curve = {size: accuracies("classic", size) for size in SIZES}
    augmented = accuracies("classic_gan", AT)
    if len(augmented) < 2:
        return {}
    return {
        "replicates": len(augmented),
        "classic": {str(size): statistics.resampled_t(found) for size, found in curve.items()},
        "classic_gan": statistics.resampled_t(augmented),
        "gain": statistics.resampled_t(augmented - curve[AT]),
        "worth": statistics.worth(curve, augmented, AT, seed=0),
    }


def main() -> None:
    """Run the replicates that are missing, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicates", type=int, default=10)
    parser.add_argument("--profile", default="quick", help="whose steps and recipe")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    parameters = course.load_parameters(asked.profile)
    results = runtime.read_json(asked.results)
    precision = results["settings"]["precision"] if results else runtime.choose_precision("auto")
    kept = ("gan_steps", "recipe", "recipe_changes", "classifier_steps")
    settings = {key: parameters[key] for key in kept} | {
        "profile": asked.profile, "precision": precision, "test": TEST, "generated": 2 * PER_CLASS,
    }  # fmt: skip
    if results and results["settings"] != settings:
        sys.exit(f"{asked.results} holds runs with {results['settings']}: move it away first.")
    rows = results.get("rows", [])
    spawn = multiprocessing.get_context("spawn")  # each replicate's memory ends with its process
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for replicate in range(asked.replicates):
            if any(row["replicate"] == replicate for row in rows):
                continue
            rows += pool.submit(run_replicate, replicate, parameters, precision).result()
            runtime.write_json(
                asked.results,
                {
                    "command": " ".join(["python", "benchmarks/worth.py", *sys.argv[1:]]),
                    "settings": settings,
                    "versions": runtime.versions(),
                    "summary": summarise(rows),
                    "rows": rows,
                },
            )
            print({row["arm"] + f" {row['images']}": row["accuracy"] for row in rows[-6:]})


if __name__ == "__main__":
    main()
