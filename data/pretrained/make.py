"""Generators to begin with: trained longer than a quick run, on the data of the quick profile.

    make course && python data/pretrained/make.py

Goes on with the training of `runs/quick` from its last checkpoints, and writes `data/pretrained/`:
a generator a class with its kernels in half precision, its card, and `generators.json` with
checksums and with what half precision costs, measured on fresh slices. Killed, the same command
goes on; `--only haemorrhage` and `--only clear` side by side train one class each.
"""

import argparse
import dataclasses
import hashlib
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np

from course import params
from helpers import files, machine

FRESH = 1000


def halve(source: Path, target: Path) -> None:
    """The same model file with kernels of 16 bits; vectors, BatchNorm's among them, keep 32."""
    with h5py.File(source) as full, h5py.File(target, "w") as half:
        half.attrs.update(full.attrs)

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                small = values.astype("float16") if values.ndim > 1 else values
                assert np.isfinite(small).all(), name
                copied = half.create_dataset(name, data=small)
            else:
                copied = half.require_group(name)
            copied.attrs.update(item.attrs)

        full["model_weights"].visititems(lambda name, item: copy(f"model_weights/{name}", item))
        half["model_weights"].attrs.update(full["model_weights"].attrs)


def measure(generator, real: np.ndarray, label: int, seed: int) -> dict[str, float]:
    """How good and varied its images are, and how true to their label."""
    from helpers import measures, sampling
    from helpers.judge import judge_accuracy, judge_features, load_judge

    judge = load_judge()
    drawn = sampling.generate(generator, sampling.draw_latent(len(real), seed))
    features = [judge_features(images, judge) for images in (real, drawn)]
    return {
        "kid": measures.kid(*features),
        "kid_error": measures.kid_error(*features),
        **measures.neighbour_measures(*features),
        "coverage_expected": measures.expected_coverage(len(real)),
        "like_a_slice": float(measures.like_a_slice(drawn, real).mean()),
        "judge_accuracy": judge_accuracy(drawn, label, judge),
    }


def main() -> None:
    """Train, shrink, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=files.PROJECT / "runs" / "quick")
    parser.add_argument("--steps", type=int, default=3000, help="steps for each class")
    parser.add_argument("--out", type=Path, help="default: data/pretrained")
    parser.add_argument("--scratch", type=Path, default=files.PROJECT / "runs" / "pretrain")
    parser.add_argument("--only", help="train only this class and write nothing")
    asked = parser.parse_args()
    machine.setup()
    from helpers import preprocessing, recipes, sampling, training

    out = asked.out or sampling.PRETRAINED
    prepared = preprocessing.load_prepared(asked.run)
    metrics = files.read_json(asked.run / "metrics.json")
    if not metrics["data"]["simulated"]:
        sys.exit(f"{asked.run} holds real slices: only simulated ones may be shown.")
    parameters, seed = params.load_parameters("quick"), metrics["seed"]
    recipe = parameters["recipe"]
    fresh, truth = preprocessing.fresh_slices(FRESH, seed + 300_000)
    cards = {}
    for name, label in (("haemorrhage", 1), ("clear", 0)):
        if asked.only not in (None, name):
            continue
        images, _ = prepared.part("train", label)
        if not (asked.scratch / name).exists():
            shutil.copytree(asked.run / "checkpoints" / name, asked.scratch / name)
        gan = training.train_gan(
            images,
            steps=asked.steps,
            seed=seed + label,
            recipe=recipes.choose_recipe(recipe),
            precision="auto",
            checkpoints=asked.scratch / name,
            checkpoint_every=100,
            preview_every=parameters["preview_every"],
            title=name,
        )
        if asked.only:
            return
        full = asked.scratch / f"{name}.h5"
        training.save_generator(gan.generator, full)
        with files.atomic_write(out / f"{name}.h5") as temporary:
            halve(full, temporary)
        cards[name] = {
            "sha256": hashlib.sha256((out / f"{name}.h5").read_bytes()).hexdigest(),
            "images": len(images),
            "steps": asked.steps,
            "seconds": gan.seconds,
            "seconds_per_step": gan.seconds / asked.steps,
            "precision": gan.precision,
            "recipe": dataclasses.asdict(recipes.choose_recipe(recipe)) | {"name": recipe},
            "seed": seed + label,
            "label": label,
            "trained_on": machine.fingerprint(images),
        }
        measured = {
            kind: measure(sampling.load_generator(path), fresh[truth == label], label, seed)
            for kind, path in (("as trained", full), ("half precision", out / f"{name}.h5"))
        }
        training.write_model_card(
            out / f"{name}.md",
            made_by="python data/pretrained/make.py",
            **{key: value for key, value in cards[name].items() if key != "sha256"},
            measured_on_fresh_slices=measured["half precision"],
        )
        cards[name]["measured"] = measured
    files.write_json(
        out / "generators.json",
        {
            "command": "python data/pretrained/make.py",
            "versions": machine.versions(),
            "fresh_slices": FRESH,
            "generators": cards,
        },
    )


if __name__ == "__main__":
    main()
