"""Does a DCGAN copy, the longer it is trained? Quality and copies by step, on simulated slices.

    python experiments/copying_by_step.py --out path/to/folder

One DCGAN with the recipe `paper` is trained on 72 simulated clear slices, and its generator is
kept at several steps. The training takes hours, runs at the lowest priority in one thread, can be
killed at any moment, and resumes with the same command. What is known of the generators kept so
far goes into `experiments/results/copying_by_step.json` (`--measure` does only that), with the
steps that are still missing.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from course.commands import command
from helpers import files, machine

RESULTS = files.RESULTS / "copying_by_step.json"
IMAGES = 200
KEPT_OF_COPIES = ("flagged", "share", "ci", "p_value", "repeats", "repeats_p")
CALLED = ("kid", "precision", "recall", "density", "coverage", "coverage_expected")

SEED, LABEL, TRAIN, HELD_OUT = 31, 0, 72, 28
KEPT = (250, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000)


def draw_real():
    """The simulated slices of one class: 72 to train on, and 28 held out."""
    from helpers import preprocessing

    images, labels = preprocessing.fresh_slices(4 * (TRAIN + HELD_OUT), SEED)
    images = images[labels == LABEL]
    return images[:TRAIN], images[TRAIN : TRAIN + HELD_OUT]


def train(out: Path) -> None:
    """Train what is missing; each kept generator is `step-N.h5` in `out`."""
    machine.setup()
    import tensorflow as tf

    for kind in ("intra", "inter"):
        getattr(tf.config.threading, f"set_{kind}_op_parallelism_threads")(1)
    from helpers import recipes, training

    held = files.lock(files.make_folder(out) / ".lock")
    images, _ = draw_real()
    for steps in KEPT:
        if (out / f"step-{steps}.h5").exists():
            continue
        trained = training.train_gan(
            images,
            steps=steps,
            seed=SEED,
            recipe=recipes.choose_recipe("paper"),
            precision="auto",
            checkpoints=out / "checkpoints",
            checkpoint_every=100,
            preview_every=250,
            title="copier",
        )
        training.save_generator(trained.generator, out / f"step-{steps}.h5")
        training.write_log(out / "log.csv", trained.history)
    held.release()


def measure(out: Path) -> None:
    """Audit 200 images of each generator that is there, and write what is found."""
    from helpers import measures, preprocessing, sampling

    train_images, held_out = draw_real()
    fresh, labels = preprocessing.fresh_slices(800, SEED + 1)
    fresh = fresh[labels == LABEL]
    rows = []
    for steps in (steps for steps in KEPT if (out / f"step-{steps}.h5").exists()):
        generator = sampling.load_generator(out / f"step-{steps}.h5")
        images = sampling.generate(generator, sampling.draw_latent(IMAGES, SEED))
        everyone = np.arange(TRAIN + HELD_OUT)
        report = measures.audit_class(images, train_images, held_out, everyone, SEED, fresh)
        row = {"steps": steps, "resembles": report.get("resembles")}
        for space, found in report.get("spaces", {}).items():
            row[space] = {name: found[name] for name in CALLED}
        if "copying" in report:
            row |= {name: report["copying"][name] for name in KEPT_OF_COPIES}
        rows.append(row)
        print(steps, report.get("verdict") or report.get("warning"), flush=True)
    files.write_json(
        RESULTS,
        {
            "command": "python experiments/copying_by_step.py --out FOLDER",
            "seed": SEED,
            "images": {"train": TRAIN, "held_out": HELD_OUT, "generated": IMAGES},
            "recipe": "paper",
            "missing": sorted(set(KEPT) - {row["steps"] for row in rows}),
            "versions": machine.versions(),
            "rows": rows,
        },
    )


@command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the generators")
    parser.add_argument("--measure", action="store_true", help="measure only, without training")
    asked = parser.parse_args(arguments)
    if not asked.measure:
        os.nice(15)
        train(asked.out.resolve())
    measure(asked.out.resolve())


if __name__ == "__main__":
    sys.exit(main())
