"""How hard the simulated heads are: for a judge with endless slices, and for 144 of them.

Trains the judge (`data/judge/judge.weights.h5`, with its card), scores it on fresh slices, fits the
course's original arm (ResNet-50 from scratch) on independent sets of 144 slices, and writes
`experiments/results/phantom.json`. The simulator was tuned with it once and then left alone.
"""

import argparse
import collections
import hashlib
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from helpers import files, machine, phantom

STREAMS = {"judge training": 101, "test": 102, "arm": 103}  # added to 1000 times the seed
CARD = """# The judge

A small convolutional network ({parameters:,} parameters, `helpers.judge.build_judge`) that tells
simulated head CT slices with a haemorrhage from clear ones, at 32x32.

- **Made by** `{command}`, trained on {training:,} slices of
  `helpers/phantom.py`, each of another simulated patient. The weights are rounded to half
  precision; scores are of the rounded ones.
- **Scores on {test:,} fresh slices**: accuracy {accuracy:.4f}, sensitivity {sensitivity:.4f},
  specificity {specificity:.4f}. All in `experiments/results/phantom.json`. Sensitivity by kind:
  {kinds}.
- **For** counting in how many GAN samples a trained eye sees the class they are meant to show, and
  for the features in which samples and slices are compared.
- **Not for** real slices, of which it saw none, nor any clinical purpose.
"""


def _draw_part(task: tuple[int, int, int]) -> np.ndarray:
    """Slices `start` to `stop` of a stream, prepared."""
    from helpers import preprocessing

    seed, start, stop = task
    seeds = [np.random.SeedSequence(seed, spawn_key=(0, i)) for i in range(start, stop)]
    slices = [phantom.new_patients_slice(s, i % 2, 128) for i, s in enumerate(seeds, start)]
    return preprocessing.prepare(slices)


def draw(n: int, seed: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """The same as `preprocessing.fresh_slices(n, seed)`, in several processes."""
    tasks = [(seed, start, min(n, start + 500)) for start in range(0, n, 500)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return np.concatenate(list(pool.map(_draw_part, tasks))), np.arange(n) % 2


def drawn_kind(seed: int, index: int) -> str:
    """Which bleed slice `index` of a stream has, found by drawing it again."""
    kinds: list[str] = []
    draw_slice = phantom.draw_slice
    phantom.draw_slice = lambda *_, bleed, **__: kinds.append(bleed)
    try:
        phantom.new_patients_slice(np.random.SeedSequence(seed, spawn_key=(0, index)), 1, 8)
    finally:
        phantom.draw_slice = draw_slice
    return kinds[0]


def train_judge(images: np.ndarray, labels: np.ndarray, epochs: int, seed: int):
    """Adam with a cosine decay; images are mirrored half of the time, as heads may be."""
    machine.setup()
    import keras

    from helpers.judge import build_judge

    keras.utils.set_random_seed(seed)
    judge = build_judge()
    steps = epochs * (len(images) // 64)
    judge.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        loss="binary_crossentropy",
    )
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        mirrored = rng.random(len(images)) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        judge.fit(images, labels, batch_size=64, initial_epoch=epoch, epochs=epoch + 1, verbose=2)
    bare = build_judge()  # without the optimizer, whose state would triple the file
    bare.set_weights([w.astype(np.float16).astype(np.float32) for w in judge.get_weights()])
    return bare


def score(probability: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, and the share of bleeds and of clear slices recognised."""
    right = (probability > 0.5) == labels
    return {
        "accuracy": float(right.mean()),
        "sensitivity": float(right[labels == 1].mean()),
        "specificity": float(right[labels == 0].mean()),
        "false_positive_rate": float(1 - right[labels == 0].mean()),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--training", type=int, default=20_000, help="training slices of the judge")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of the judge")
    parser.add_argument("--test", type=int, default=2_000, help="test slices")
    parser.add_argument("--replicates", type=int, default=5, help="training sets of 144 slices")
    parser.add_argument("--steps", type=int, default=120, help="steps of each classifier")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw slices")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    from helpers import classifiers
    from helpers.judge import JUDGE_WEIGHTS

    started = time.monotonic()
    seeds = {name: 1000 * args.seed + offset for name, offset in STREAMS.items()}
    test, truth = draw(args.test, seeds["test"], args.workers)
    judge = train_judge(
        *draw(args.training, seeds["judge training"], args.workers), args.epochs, args.seed
    )
    probability = judge.predict(test, batch_size=256, verbose=0)[:, 0]
    by_kind = collections.defaultdict(list)
    for i in np.flatnonzero(truth):
        by_kind[drawn_kind(seeds["test"], i)].append(probability[i] > 0.5)
    judged = score(probability, truth) | {
        "sensitivity_by_kind": {kind: float(np.mean(hits)) for kind, hits in by_kind.items()},
        "count_by_kind": {kind: len(hits) for kind, hits in by_kind.items()},
        "training_slices": args.training,
        "test_slices": args.test,
        "parameters": judge.count_params(),
    }
    print("judge", judged, flush=True)
    partial = JUDGE_WEIGHTS.with_name(".partial.weights.h5")  # Keras insists on the ending
    partial.parent.mkdir(parents=True, exist_ok=True)
    judge.save_weights(partial)
    partial.replace(JUDGE_WEIGHTS)

    rows = []
    classifier = (
        classifiers.build_classifier("resnet50", seed=args.seed) if args.replicates else None
    )
    pool, labels = draw(144 * max(1, args.replicates), seeds["arm"], args.workers)
    for k in range(args.replicates):
        part = slice(144 * k, 144 * (k + 1))
        arm = classifiers.Arm(pool[part], labels[part])
        classifiers.fit(classifier, arm, steps=args.steps, seed=k)
        rows.append({"seed": k, **score(classifier.answer(test), truth)})
        print("arm", rows[-1], flush=True)
    accuracies = [row["accuracy"] for row in rows]

    command = " ".join(["python", "data/judge/make.py", *sys.argv[1:]])
    results = {
        "command": command,
        "seed": args.seed,
        "streams": seeds,
        "versions": machine.versions(),
        "machine": platform.machine(),
        "phantom_sha256": hashlib.sha256(Path(phantom.__file__).read_bytes()).hexdigest(),
        "seconds": round(time.monotonic() - started),
        "judge": judged,
        "original_arm": {
            "what": f"ResNet-50 from scratch, 72 + 72 slices, {args.steps} steps of 32",
            "replicates": rows,
            "mean": float(np.mean(accuracies)) if rows else None,
            "standard_deviation": float(np.std(accuracies, ddof=1)) if len(rows) > 1 else None,
        },
    }
    files.write_json(files.RESULTS / "phantom.json", results)
    with files.atomic_write(JUDGE_WEIGHTS.with_name("README.md")) as temporary:
        kinds = ", ".join(f"{k} {v:.3f}" for k, v in judged["sensitivity_by_kind"].items())
        numbers = judged | {"command": command, "kinds": kinds, "training": args.training}
        temporary.write_text(CARD.format(**numbers, test=args.test), encoding="utf-8")
    print("original arm", results["original_arm"]["mean"], "seconds", results["seconds"])


if __name__ == "__main__":
    main()
