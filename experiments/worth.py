"""How many real images are the GAN's worth: a learning curve on simulated slices.

    python experiments/worth.py

For each replicate a set of its own: classic augmentation fitted on 36 to 576 real images, and on
144 of them together with images of GANs trained on those 144, in several doses (generated images
for each real one; 1.39 are the paper's 200). With them, half of each batch is real, and there are
twice as many batches. Scored are 2,000 fresh slices. Every fit is a row in `results/worth.json`,
written when its replicate ends; the same command resumes where it was stopped.
"""

import argparse
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from course import params
from helpers import files, machine

RESULTS = files.RESULTS / "worth.json"
SIZES = (36, 72, 144, 288, 576)
AT, TEST = 144, 2000
PAPERS_DOSE = 200 / AT
DOSES = (0.25, 0.5, 1.0, PAPERS_DOSE, 2.0)


def run_replicate(replicate: int, parameters: dict, precision: str) -> list[dict]:
    """All fits of one simulated set, in a process of its own."""
    machine.setup()
    from helpers import classifiers, preprocessing, recipes, sampling, training

    seed = 10_000 + 10 * replicate  # the GANs take this one and the next
    images, labels = preprocessing.fresh_slices(max(SIZES), seed)
    test = preprocessing.fresh_slices(TEST, seed + 100_000)
    drawn = []
    for label in (1, 0):
        with tempfile.TemporaryDirectory() as checkpoints:
            gan = training.train_gan(
                images[:AT][labels[:AT] == label],
                steps=parameters["gan_steps"],
                seed=seed + label,
                recipe=recipes.choose_recipe(parameters["recipe"], parameters["recipe_changes"]),
                precision=precision,
                preview_every=parameters["gan_steps"],
                checkpoints=Path(checkpoints),
                title=f"replicate {replicate}, class {label}",
            )
        drawn.append(sampling.generate(gan.generator, sampling.draw_latent(AT, seed + label)))
    generated = np.concatenate(drawn), np.repeat([1, 0], AT)
    augment = classifiers.classic_augmentation(seed)
    arms = {
        ("classic", size, 0.0): classifiers.Arm(images[:size], labels[:size], augment=augment)
        for size in SIZES
    } | {
        ("classic_gan", AT, dose): classifiers.Arm(
            images[:AT], labels[:AT], *classifiers.take_dose(*generated, dose * AT), augment
        )
        for dose in DOSES
    }
    classifier = classifiers.build_classifier("resnet50", seed=seed)
    rows = []
    for (name, size, dose), arm in arms.items():
        classifiers.fit(classifier, arm, steps=parameters["classifier_steps"], seed=seed)
        right = (classifier.answer(test[0]) > 0.5) == test[1]
        rows.append(
            {
                "replicate": replicate,
                "arm": name,
                "images": size,
                "dose": dose,
                "accuracy": float(right.mean()),
            }
        )
    return rows


def worth(
    curve: dict[int, np.ndarray], augmented: np.ndarray, at: int, seed: int, rounds: int = 2000
) -> dict[str, Any]:
    """How many more real images would have given what synthetic ones gave.

    The learning curve is made monotone (isotonic regression on the means) and joined by straight
    lines over the logarithm of the size; the synthetic images are worth as many real ones as it
    takes, from `at` on, to reach the accuracy that they gave. The interval is a percentile
    bootstrap over replicates, each of which keeps its sizes and its augmented arm together.

    Args:
        curve: Real training images: ``(J,)`` accuracies without synthetic images, one a replicate.
        augmented: ``(J,)``, of the same replicates with synthetic images beside `at` real ones.
        at: Which of the sizes that is.
        seed: Of the bootstrap.
        rounds: Of the bootstrap.

    Returns:
        `images` and `ci`: from 0, which stands for "0 or less", to the largest size minus `at`,
        which stands for "that or more"; `text` says it so.
    """
    sizes = np.array(sorted(curve))
    table = np.stack([curve[size] for size in sizes], axis=1)

    def value(chosen):
        rising = isotonic_regression(table[chosen].mean(axis=0)).x
        reached = augmented[chosen].mean()
        if reached <= np.interp(at, sizes, rising):
            return 0.0
        # A level stretch is reached where it begins: of all sizes that would do, the smallest.
        steps = np.concatenate([[True], np.diff(rising) > 1e-12])
        found = np.interp(reached, rising[steps], np.log2(sizes[steps]))
        return float(2**found - at) if reached <= rising[-1] else float(sizes[-1] - at)

    everything = np.arange(len(augmented))
    rng = np.random.default_rng(seed)
    drawn = [value(rng.choice(everything, len(everything))) for _ in range(rounds)]
    found, low, high = value(everything), *np.quantile(drawn, [0.025, 0.975])
    most = float(sizes[-1] - at)

    def words(images):
        return "< 0" if images <= 0 else f"> {most:.0f}" if images >= most else f"{images:.0f}"

    return {
        "images": found,
        "ci": [float(low), float(high)],
        "text": f"{words(found)} (95 % interval {words(low)} to {words(high)})",
    }


def summarise(rows: list[dict]) -> dict:
    """The curve with 95 % t-intervals over replicates, and what the GAN's images were worth."""
    from helpers import intervals

    def accuracies(size: int, dose: float) -> np.ndarray:
        chosen = [r for r in rows if r["images"] == size and r["dose"] == dose]
        return np.array([row["accuracy"] for row in chosen])

    curve = {size: accuracies(size, 0.0) for size in SIZES}
    augmented = {dose: accuracies(AT, dose) for dose in DOSES}
    if len(curve[AT]) < 2:
        return {}
    return {
        "replicates": len(curve[AT]),
        "classic": {str(size): intervals.resampled_t(found) for size, found in curve.items()},
        "classic_gan": intervals.resampled_t(augmented[PAPERS_DOSE]),
        "gain_by_dose": {
            f"{dose:.2f}": intervals.resampled_t(found - curve[AT])
            for dose, found in augmented.items()
        },
        "worth": worth(curve, augmented[PAPERS_DOSE], AT, seed=0),
    }


def main() -> None:
    """Run the replicates that are missing, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicates", type=int, default=10)
    parser.add_argument("--profile", default="study", help="profile of the steps and recipe")
    parser.add_argument("--at-once", type=int, default=1, help="replicates at once, 3 GB each")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    parameters = params.load_parameters(asked.profile)
    results = files.read_json(asked.results)
    precision = results["settings"]["precision"] if results else machine.choose_precision()
    kept = ("gan_steps", "recipe", "recipe_changes", "classifier_steps")
    settings = {key: parameters[key] for key in kept} | {
        "profile": asked.profile, "precision": precision, "test": TEST, "turns": "equal",
    }  # fmt: skip
    if results and results["settings"] != settings:
        sys.exit(f"{asked.results} holds runs with {results['settings']}: move it away first.")
    rows = results.get("rows", [])
    done = {row["replicate"] for row in rows}
    spawn = multiprocessing.get_context("spawn")  # each replicate's memory ends with its process
    pool = ProcessPoolExecutor(asked.at_once, mp_context=spawn, max_tasks_per_child=1)
    try:
        replicates = [
            pool.submit(run_replicate, replicate, parameters, precision)
            for replicate in range(asked.replicates)
            if replicate not in done
        ]
        for finished in as_completed(replicates):
            rows += finished.result()
            rows.sort(key=lambda row: row["replicate"])  # arms stay in their order
            files.write_json(
                asked.results,
                {
                    "command": " ".join(["python", "experiments/worth.py", *sys.argv[1:]]),
                    "settings": settings,
                    "versions": machine.versions(),
                    "summary": summarise(rows),
                    "rows": rows,
                },
            )
            last = finished.result()
            print({f"{r['arm']} {r['images']} {r['dose']:.2f}": r["accuracy"] for r in last})
    finally:
        pool.shutdown(cancel_futures=True)  # one that fails or is cut off ends the rest too


if __name__ == "__main__":
    main()
