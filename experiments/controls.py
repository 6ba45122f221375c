"""Can a study find a gain at all, and what does it say to generators whose worth is known?

    python experiments/controls.py

Simulated sets, and the rule of `course study`, with the classifier *bundled*. Each set has 144 real
slices; its 36 first ones are a set of their own. In the place of the GAN's images stand, three
times as many as the real slices:

- *true*: true slices of other people, as a perfect generator would draw them. (The oracle's are
  other slices yet.)
- *copies*: augmented views of the training slices, which bring nothing new;
- *wrong labels*: true slices of other people, each under the other label;
- *noise*: grey grain, under either label.

No GAN is trained: the arms without one (classic, classic long, oracle, mixup) are those that stand
beside a GAN in every study of simulated sets. Each set is scored on 5,000 fresh slices, and on the
same slices as from another scanner. Rows are written set by set: the same command resumes.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from course import study
from course.commands import command
from course.replicate import ADDED, score
from course.workers import THREADS
from helpers import files, machine

RESULTS = files.RESULTS / "controls.json"
SIZES = (36, 144)
FRESH = 5000
GENERATORS = ("true", "copies", "wrong labels", "noise")
ALONE = ("classic", "classic_long", "mixup")


def run_set(number: int) -> list[dict[str, Any]]:
    """The scores of all arms, for each size of one set."""
    machine.setup()
    from helpers import bundled, preprocessing, trunk

    seed = 900_000_000 + 10 * number  # a study, pilot or GAN is very unlikely to have these
    most = max(SIZES)
    all_images, all_labels = preprocessing.fresh_slices(most, seed)
    oracle, planted = (preprocessing.fresh_slices(ADDED * most, seed + k) for k in (1, 2))
    fresh, truth = preprocessing.fresh_slices(FRESH, seed + 3)
    shifted = preprocessing.shift_domain(fresh, seed + 4)
    tests = {"fresh": trunk.features(fresh), "shifted": trunk.features(shifted)}
    rows = []
    for size in SIZES:
        images, labels = all_images[:size], all_labels[:size]
        added = {"oracle": tuple(part[: ADDED * size] for part in oracle)}
        for kind in GENERATORS:
            true = tuple(part[: ADDED * size] for part in planted)
            added[kind] = draw(kind, images, labels, *true, seed=seed + 5)
        arms = {}
        for name in (*ALONE, *added):
            like = "classic_gan" if name in GENERATORS else name
            head = bundled.fit_arm(like, images, labels, *added.get(name, ()))
            arms[name] = {where: score(truth, head.answer(test)) for where, test in tests.items()}
        row = {"number": number, "images": size, "positives": int(labels.sum())}
        rows.append(row | {"arms": arms})
    return rows


def draw(
    kind: str, images: np.ndarray, labels: np.ndarray, new: np.ndarray, new_labels: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """What a planted generator draws: ``(3 n, 32, 32, 1)`` images and their labels.

    Args:
        kind: One of `GENERATORS`.
        images, labels: The real training slices.
        new, new_labels: Three times as many true slices of other people.
        seed: Of views and noise.
    """
    from helpers import classifiers

    rng = np.random.default_rng(seed)
    if kind == "wrong labels":
        return new, 1 - new_labels
    if kind == "noise":
        return rng.uniform(-1, 1, new.shape).astype(np.float32), rng.permutation(new_labels)
    if kind == "copies":
        augment = classifiers.classic_augmentation(seed)
        return augment(np.concatenate([images] * ADDED)), np.concatenate([labels] * ADDED)
    return new, new_labels


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """For each size: arms with intervals, and for each generator the gains and the answer."""
    found: dict[str, Any] = {}
    for size in SIZES:
        by_kind = {}
        for kind in GENERATORS:
            replicates = []
            for row in (row for row in rows if row["images"] == size):
                arms = {name: row["arms"][name] for name in (*ALONE, "oracle")}
                replicates.append(
                    {"number": row["number"], "arms": arms | {"classic_gan": row["arms"][kind]}}
                )
            by_kind[kind] = study.summarise_sets(replicates)
        first = by_kind[GENERATORS[0]]
        found[str(size)] = {
            "sets": first["replicates"],
            "arms": {name: first["arms"][name] for name in (*ALONE, "oracle")},
            "mixup": first["secondary"]["mixup"],
            "long": first["secondary"]["long"],
            "oracle": first["gains"]["oracle"],
            "oracle, shifted": first["secondary"]["oracle, shifted"],
            "generators": {
                kind: {
                    "answer": each["verdict"]["answer"],
                    "text": each["verdict"]["text"],
                    "arm": each["arms"]["classic_gan"],
                    "gains": each["gains"],
                    "worth": each["worth"],
                }
                for kind, each in by_kind.items()
            },
        }
    return found


@command
def main(arguments: list[str] | None = None) -> None:
    """Run the sets that are missing, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=12)
    parser.add_argument("--at-once", type=int, default=2, help="sets at once, 1.5 GB each")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    from helpers import bundled

    settings = {"sizes": SIZES, "fresh": FRESH, "added": ADDED, "C": bundled.C}
    rows = files.read_results(asked.results, settings).get("rows", [])
    done = {row["number"] for row in rows}
    todo = [joblib.delayed(run_set)(k) for k in range(asked.sets) if k not in done]
    for found in joblib.Parallel(asked.at_once, return_as="generator_unordered")(todo):
        rows = sorted(rows + found, key=lambda row: (row["number"], row["images"]))
        content = {
            "command": " ".join(["python experiments/controls.py", *sys.argv[1:]]),
            "settings": settings,
            "versions": machine.versions(),
        }
        if len(rows) > len(SIZES):
            content["summary"] = summarise(rows)
        files.write_json(asked.results, content | {"rows": rows})
        print(f"{len(rows) // len(SIZES)} of {asked.sets} sets", flush=True)


if __name__ == "__main__":
    sys.exit(main())
