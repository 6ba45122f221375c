"""Speed of the evaluation and of a study, side by side with the plain way: part of `make bench`.

Plain is what a tutorial shows: for each arm a new ResNet-50, `compile`, `fit` over its images with
TensorFlow's default threads, `predict`; one arm after another. The course builds and compiles one
network, puts it back to its first weights for each arm, and, where the trunk is frozen, finds the
features of each image once. Both fit the paper's three arms with several seeds, for the same number
of batches, each time in a process of its own, in turns; loading TensorFlow is not counted.

`helpers` turns oneDNN's kernels on, which TensorFlow does by itself only where the processor has
AVX-512; so the plain way is timed as TensorFlow comes, and again (`_onednn`) with those kernels.

    python benchmarks/classifiers.py          # the classifiers
    python benchmarks/classifiers.py --study  # two Dask workers against one: long
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import add_keep, describe_machine, ratio, write

from helpers import files, machine

STEPS, TEST = 120, 22
STUDY_STEPS = 50  # of each GAN of a study
SEEDS = {"scratch": 2, "imagenet": 10}
# Through a frozen trunk the plain way takes so long that it is timed with the faster kernels alone.
WAYS = {"scratch": ("course", "plain", "plain_onednn"), "imagenet": ("course", "plain_onednn")}


def arms_of_paper() -> tuple[dict, tuple]:
    """The paper's three arms by name, on slices that need not be good, and a test set."""
    from helpers import classifiers, preprocessing

    images, labels = preprocessing.fresh_slices(344 + TEST, 0)
    real, generated = (images[:144], labels[:144]), (images[144:344], labels[144:344])
    arms = {
        "original": classifiers.Arm(*real),
        "gan_only": classifiers.Arm(*generated),
        "original_gan": classifiers.Arm(*real, *generated),
    }
    return arms, (images[344:], labels[344:])


def course(trunk: str) -> None:
    """As notebook 05 does it."""
    from helpers import classifiers

    arms, test = arms_of_paper()
    name = "resnet50" if trunk == "scratch" else "resnet50-imagenet"
    classifier = classifiers.build_classifier(name)
    for seed in range(SEEDS[trunk]):
        classifiers.run_arms(classifier, arms, test=test, validation=test, steps=STEPS, seed=seed)


def plain(trunk: str) -> None:
    """As a tutorial does it."""
    import keras

    from helpers import classifiers
    from helpers.trunk import build_trunk

    arms, test = arms_of_paper()
    for seed, arm in itertools.product(range(SEEDS[trunk]), arms.values()):
        keras.utils.clear_session()
        body = build_trunk(trunk)
        x = keras.layers.Dropout(0.4)(body.output)
        model = keras.Model(body.inputs, keras.layers.Dense(2, activation="softmax")(x))
        model.compile(keras.optimizers.RMSprop(1e-3), "sparse_categorical_crossentropy")
        images, labels = classifiers.draw_batches(arm, STEPS * arm.step_factor, seed)
        model.fit(images, labels, batch_size=classifiers.BATCH_SIZE, verbose=0)
        for _ in range(2):  # validation, then test
            model.predict(test[0], verbose=0)


def work(way: str, trunk: str) -> None:
    """In a process of its own: one job; prints its seconds."""
    if way == "plain":
        del os.environ["TF_ENABLE_ONEDNN_OPTS"]  # TensorFlow's own choice
    else:
        machine.setup()
    from helpers import classifiers  # noqa: F401  to load TensorFlow before the clock starts

    if trunk == "imagenet":  # weights cost time only while they are fetched: any will do here
        import keras

        build = keras.applications.ResNet50
        keras.applications.ResNet50 = lambda weights, **options: build(weights=None, **options)
    started = time.perf_counter()
    (course if way == "course" else plain)(trunk)
    print(time.perf_counter() - started)


def said(*command: str) -> str:
    """The last line that a Python process prints."""
    done = subprocess.run(
        [sys.executable, *command], check=True, cwd=files.PROJECT, env=machine.environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


def compare_classifiers(rounds: int) -> dict[str, dict]:
    """Ratios to the plain ways, by trunk: `scratch_vs_plain` and so on."""
    found = {}
    for trunk, name in (("scratch", "scratch"), ("imagenet", "frozen")):
        times: dict[str, list[float]] = {way: [] for way in WAYS[trunk]}
        for k in range(rounds):
            for way in WAYS[trunk] if k % 2 == 0 else WAYS[trunk][::-1]:
                times[way].append(float(said(__file__, "--way", way, "--trunk", trunk)))
        ours = times["course"]
        found |= {f"{name}_vs_{way}": ratio(times[way], ours) for way in WAYS[trunk][1:]}
        print({way: [round(t, 1) for t in each] for way, each in times.items()}, flush=True)
    return found


def compare_study(rounds: int) -> dict[str, dict]:
    """Two one-thread workers against one, and against one worker of two threads."""
    ways = {"two workers": (2, 1), "one worker": (1, 1), "one of two threads": (1, 2)}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for k in range(rounds):
        for way in list(ways) if k % 2 == 0 else list(ways)[::-1]:
            workers, threads = ways[way]
            with tempfile.TemporaryDirectory() as folder:
                values = Path(folder, "values.yaml")
                values.write_text(f"gan_steps: {STUDY_STEPS}\n")
                asked = f"--profile smoke --params {values} --sets 2 --workers {workers}"
                asked += f" --threads {threads} --out {folder}/study"
                started = time.perf_counter()
                said("-m", "course", "study", *asked.split())
                times[way].append(time.perf_counter() - started)
        print({way: [round(t) for t in each] for way, each in times.items()}, flush=True)
    two, one, threads = times.values()
    return {
        "two_workers_vs_one": ratio(one, two),
        "two_workers_vs_two_threads": ratio(threads, two),
    }


def main() -> None:
    """Measure, print the ratios, and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--study", action="store_true")
    parser.add_argument("--way", choices=WAYS["scratch"], help=argparse.SUPPRESS)
    parser.add_argument("--trunk", default="scratch", help=argparse.SUPPRESS)
    add_keep(parser)
    asked = parser.parse_args()
    if asked.way:
        work(asked.way, asked.trunk)
        return
    if asked.study:
        found = {"study": compare_study(asked.rounds)}
    else:
        found = {"evaluation": compare_classifiers(asked.rounds)}
    for group in found.values():
        for name, spread in group.items():
            print(f"{name:<30}{spread['median']:.2f} ({spread['min']:.2f} to {spread['max']:.2f})")
    for group in list(found):
        found[f"{group}_machine"] = describe_machine() | {"rounds": asked.rounds}
    print(f"Kept in {write(found, asked.keep)}")


if __name__ == "__main__":
    main()
