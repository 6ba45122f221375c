"""What each training trick does: the paper's recipe, and changes to it one at a time.

    python experiments/ablation.py                     # the six most instructive changes
    python experiments/ablation.py --changes together  # two of them at once
    python experiments/ablation.py --changes rest      # the other tricks

One class of simulated slices, 72 for training as in the paper, every recipe with the same seeds and
the same number of steps; compared with slices that nothing was trained on. Every run is one row in
`results/ablation.json`, with the command that made it, written when it ends; the same command goes
on where it was stopped. Two trainings of one thread each run at once, which takes less time than
one after the other on both cores.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from scipy import stats

from course import workers
from course.commands import command
from helpers import files, machine

RESULTS = files.RESULTS / "ablation.json"
HARD = {"flip_share": 0.0, "soften_real": 0.0, "soften_generated": 0.0}
# The page leaves open whether the penalty helps and where it stands; label tricks are what it is
# proud of; the learning rate is its most doubtful number for a short training; augmentation and
# averaging are what was found since to help on few images.
SIX = {
    "no penalty": {"penalty_weight": 0.0},
    "penalty on real": {"penalty_on": "real"},  # at the same weight, twice that of its paper
    "hard labels": HARD,
    "learning rates 5e-4": {
        "generator_learning_rate": 5e-4,
        "discriminator_learning_rate": 5e-4,
    },
    "augmented": {"augmentation": "translation,cutout,brightness"},
    "averaged weights": {"average_decay": 0.99},
}
TOGETHER = {"5e-4, averaged": SIX["learning rates 5e-4"] | SIX["averaged weights"]}
REST = {
    "half the penalty, on real": {"penalty_on": "real", "penalty_weight": 5.0},
    "Wasserstein": HARD | {"loss": "wasserstein"},
    "labels not swapped": {"swap_labels": False},
    "one-sided labels": {"soften_generated": 0.0},
    "soft, not noisy": {"noisy_labels": False, "soften_real": 0.1, "soften_generated": 0.1},
    "no flips": {"flip_share": 0.0},
    "instance noise": {"instance_noise": 0.2, "instance_noise_steps": 300},
    "no dropout": {"dropout": 0.0},
    "faster discriminator": {"discriminator_learning_rate": 8e-4},
    "translation only": {"augmentation": "translation"},
}
MEASURES = ("kid", "coverage", "like_a_slice", "judge_agreement")


def measure(images: np.ndarray, held_out: np.ndarray, label: int, judge) -> dict[str, float]:
    """How good, varied and true to their label these images are."""
    from helpers import measures
    from helpers.judge import judge_accuracy, judge_features

    real, drawn = (judge_features(x, judge) for x in (held_out, images))
    like = measures.like_a_slice(images, held_out)
    return {
        "kid": measures.kid(real, drawn),
        "kid_error": measures.kid_error(real, drawn),
        **measures.neighbour_measures(real, drawn),
        "like_a_slice": float(like.mean()),
        "judge_agreement": float(like.mean() * judge_accuracy(images[like], label, judge)),
    }


def interval(values: list[float]) -> list[float]:
    """Mean, and its 95 % t-interval: seeds are what varies, so they are what is counted."""
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return [mean, mean - half, mean + half]


def summarise(rows: list[dict]) -> dict[str, dict]:
    """By recipe: each measure with its interval, and its paired difference to the paper's."""
    by_recipe: dict[str, dict[int, dict]] = {}
    for row in rows:
        by_recipe.setdefault(row["recipe"], {})[row["seed"]] = row
    found = {}
    for name, runs in by_recipe.items():
        common = [seed for seed in runs if seed in by_recipe.get("paper", {})]
        if len(runs) < 2 or len(common) < 2:
            continue
        found[name] = {"seeds": len(runs)}
        for key in MEASURES:
            found[name][key] = interval([row[key] for row in runs.values()])
            found[name][f"{key}_change"] = interval(
                [runs[seed][key] - by_recipe["paper"][seed][key] for seed in common]
            )
    return found


def one_thread() -> None:
    """Let this process, which has yet to import TensorFlow, compute with one thread."""
    os.environ.update(dict.fromkeys(workers.THREADS, "1"))


def train_one(name: str, changes: dict, seed: int, settings: dict, scratch: Path) -> dict:
    """One training and its measures, as a row, in a process of its own."""
    machine.setup()
    from helpers import preprocessing, sampling
    from helpers.judge import load_judge
    from helpers.recipes import choose_recipe
    from helpers.training import train_gan

    label, count = settings["label"], settings["training_images"]
    images, labels = preprocessing.fresh_slices(
        2 * (count + settings["held_out"]), settings["data_seed"]
    )
    of_class = images[labels == label]
    train, held_out = of_class[:count], of_class[count:]
    gan = train_gan(
        train, steps=settings["steps"], seed=seed, precision=settings["precision"],
        recipe=choose_recipe("paper", changes), preview_every=settings["steps"],
        checkpoints=scratch, title=f"{name}, seed {seed}",
    )  # fmt: skip
    drawn = sampling.generate(gan.generator, sampling.draw_latent(len(held_out), 1000 + seed))
    shutil.rmtree(scratch)  # a hundred megabytes or more, and the row is kept
    return {
        "recipe": name,
        "changes": changes,
        "seed": seed,
        "command": " ".join(["python", "experiments/ablation.py", *sys.argv[1:]]),
    } | measure(drawn, held_out, label, load_judge())


@command
def main(arguments: list[str] | None = None) -> None:
    """Run what is missing, and write after each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", choices=("six", "together", "rest"), default="six")
    parser.add_argument("--steps", type=int, default=500, help="steps of each training")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--held-out", type=int, default=500, help="number of held-out slices")
    parser.add_argument("--at-once", type=int, default=2, help="trainings at once, one thread each")
    parser.add_argument("--scratch", type=Path, default=files.PROJECT / "runs" / "ablation")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    results = files.read_json(asked.results)
    # Chosen once: all rows are to differ in their recipe and seed alone.
    precision = results["settings"]["precision"] if results else machine.choose_precision()
    settings = {"steps": asked.steps, "label": 1, "data_seed": 2019, "training_images": 72,
                "held_out": asked.held_out, "precision": precision}  # fmt: skip
    rows = files.read_results(asked.results, settings).get("rows", [])
    recipes = {"paper": {}} | {"six": SIX, "together": TOGETHER, "rest": REST}[asked.changes]
    done = {(row["recipe"], row["seed"]) for row in rows}
    pool = ProcessPoolExecutor(
        asked.at_once,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=one_thread,
        max_tasks_per_child=1,  # a training's memory ends with its process
    )
    try:
        trainings = [
            pool.submit(train_one, name, changes, seed, settings, asked.scratch / f"{name}-{seed}")
            for seed in range(asked.seeds)
            for name, changes in recipes.items()
            if (name, seed) not in done
        ]
        for training in as_completed(trainings):
            rows.append(training.result())
            files.write_json(
                asked.results,
                {
                    "command": "python experiments/ablation.py [--changes together|rest]",
                    "settings": settings,
                    "versions": machine.versions(),
                    "summary": summarise(rows),
                    "rows": rows,
                },
            )
            said = {k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}
            print(said, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)  # one that fails or is cut off ends the rest too


if __name__ == "__main__":
    sys.exit(main())
