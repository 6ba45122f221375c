"""Does a DCGAN copy, the longer it is trained? Quality and copies by step, on simulated slices.

    python experiments/copying_by_step.py --out path/to/folder

One DCGAN with the recipe `paper` is trained on 72 simulated clear slices, and its generator is
kept at several steps. The training takes hours, runs at the lowest priority in one thread, can be
killed at any moment, and resumes with the same command.
"""

import argparse
import os
import sys
from pathlib import Path

from helpers import runtime

SEED, LABEL, TRAIN, HELD_OUT = 31, 0, 72, 28
KEPT = (250, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000)


def draw_real():
    """The simulated slices of one class: 72 to train on, and 28 held out."""
    from helpers import dataset

    images, labels = dataset.fresh_slices(4 * (TRAIN + HELD_OUT), SEED)
    images = images[labels == LABEL]
    return images[:TRAIN], images[TRAIN : TRAIN + HELD_OUT]


def train(out: Path) -> None:
    """Train what is missing; each kept generator is `step-N.h5` in `out`."""
    import tensorflow as tf

    for kind in ("intra", "inter"):
        getattr(tf.config.threading, f"set_{kind}_op_parallelism_threads")(1)
    from helpers import training

    held = runtime.lock(runtime.make_folder(out) / ".lock")
    images, _ = draw_real()
    for steps in KEPT:
        if (out / f"step-{steps}.h5").exists():
            continue
        trained = training.train_gan(
            images,
            steps=steps,
            seed=SEED,
            recipe=training.choose_recipe("paper"),
            precision="auto",
            checkpoints=out / "checkpoints",
            checkpoint_every=100,
            preview_every=250,
            title="copier",
        )
        training.save_generator(trained.generator, out / f"step-{steps}.h5")
        training.write_log(out / "log.csv", trained.history)
    held.release()


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the generators")
    asked = parser.parse_args(arguments)
    os.nice(15)
    train(asked.out.resolve())


if __name__ == "__main__":
    sys.exit(main())
