"""Train the GANs of the published experiment on eight folds of the real slices: days on two cores.

    python experiments/published_gans.py --data path/to/head-ct-hemorrhage --out path/to/folder

`published.py` trains them part by part, and scores each as soon as it is there: `make evidence`.

For each fold one GAN a class is trained on the fold's training part, with the recipe `paper` for
10,000 steps; then with the recipe `brief` for 2,000; then, with `paper` for 2,500 steps, on four
random quarters of that part. Generators are kept at several steps. The folds and the
quarters are written to `results/real_folds.json` once, and read from there ever after. Without
`--out` the program ends there, and trains nothing.

Each training is a process with one thread. The program can be killed at any moment; the same
command resumes. How the networks compute is measured at the first start and kept, so that all GANs
are computed alike. The generators may show real patients: never share them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from course.commands import command
from course.workers import THREADS
from helpers import machine, preprocessing
from helpers.files import PROJECT, RESULTS, CourseError, lock, make_folder, read_json, write_json
from helpers.folder import Slices, find_groups, read_folder
from helpers.preprocessing import CLASS_NAMES, FEWEST, SHARES

FOLDS_FILE = RESULTS / "real_folds.json"
SEED, FOLDS, QUARTERS, TRAINED_QUARTERS = 2019, 8, 12, 4
UNUSED = "unused"  # a further slice of a person whom this fold tests or validates
CLASSES = {"haemorrhage": 1, "clear": 0}
KEPT = {"paper": (500, 2000, 5000, 10000), "brief": (500, 1000, 2000), "quarter": (2500,)}


def draw_folds(labels: np.ndarray, groups: np.ndarray, seed: int, count: int = 8) -> np.ndarray:
    """Split the slices `count` times, so that each testable slice is tested exactly once.

    One slice of each group is testable. A group larger than a quarter of its class's share of a
    fold always trains. What a fold does not test is split into validation and training in the
    published proportion, 34 to 144, counted in groups: counted in slices, long series would leave
    hardly any other person to train on. Validation holds one slice per group as well; the group's
    other slices are unused in that fold, since they would leak.

    Args:
        labels: ``(n,)``, 0 or 1.
        groups: ``(n,)``, any numbers; slices with equal numbers are one person's.
        seed: Of the order in which groups are assigned.
        count: Number of folds, 2 or more.

    Returns:
        ``(count, n)`` of "train", "validation", "test" and "unused".

    Raises:
        CourseError: A part of some fold would hold too few slices of a class.
    """
    rng = np.random.default_rng(seed)
    names, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    chosen = np.array([rng.choice(np.flatnonzero(numbers == k)) for k in range(len(names))])
    most = np.maximum(1, np.bincount(labels, minlength=2) / count / 4)
    testable = sizes <= most[labels[chosen]]
    fold = np.full(len(names), -1)
    start = 0
    for label in (1, 0):
        of_class = rng.permutation(np.flatnonzero(testable & (labels[chosen] == label)))
        fold[of_class] = (start + np.arange(len(of_class))) % count
        start += len(of_class)  # the next class begins where this one ended: equal test parts
    parts = np.full((count, len(labels)), "train", dtype="<U10")
    share = SHARES["validation"] / (1 - SHARES["test"])
    for k, part in enumerate(parts):
        part[np.isin(numbers, np.flatnonzero(fold == k))] = UNUSED
        part[chosen[fold == k]] = "test"
        left = [len(np.unique(numbers[(part == "train") & (labels == label)])) for label in (0, 1)]
        for label in (1, 0):
            free = np.flatnonzero(testable & (fold != k) & (labels[chosen] == label))
            free = rng.permutation(free)
            free = free[np.argsort(sizes[free], kind="stable")]  # groups of one slice first
            validated = free[: round(share * left[label])]
            part[np.isin(numbers, validated)] = UNUSED
            part[chosen[validated]] = "validation"
        for name, fewest in FEWEST.items():
            counts = np.bincount(labels[part == name], minlength=2)
            if counts.min() < fewest:
                raise CourseError(
                    f"too few images for {count} folds: the {name} part of fold {k + 1} would hold "
                    f"{counts.min()} of the {CLASS_NAMES[counts.argmin()]} class and needs "
                    f"{fewest}; add images of this class, or more patients."
                )
    return parts


def draw_quarter(
    labels: np.ndarray, groups: np.ndarray, train: np.ndarray, seed: int | Sequence[int]
) -> np.ndarray:
    """Draw a random quarter of the training slices of each class, in whole groups.

    A group larger than a quarter of its class's share is left to the other three quarters. A group
    of both classes is drawn with those of class 1, if it fits in both.

    Args:
        labels: ``(n,)``, 0 or 1.
        groups: ``(n,)``, any numbers; slices with equal numbers are one person's.
        train: ``(n,)``, bool: the training part.
        seed: An integer or a sequence of integers.

    Returns:
        ``(n,)``, bool: the quarter, at least 16 slices per class (one batch of the GAN).

    Raises:
        CourseError: Too few training slices of a class.
    """
    rng = np.random.default_rng(seed)
    quarter = np.zeros(len(labels), dtype=bool)
    wanted = np.round(np.bincount(labels[train], minlength=2) / 4).clip(FEWEST["train"])
    found = np.zeros(2, dtype=int)  # of each class
    for label in (1, 0):
        for group in rng.permutation(np.unique(groups[train & (labels == label)])):
            members = train & (groups == group)
            sizes = np.bincount(labels[members], minlength=2)
            fits = (sizes <= np.maximum(1, wanted / 4)) & (found + sizes <= wanted)
            decided = label == 0 and sizes[1] > 0
            if fits.all() and not decided:
                quarter |= members
                found += sizes
        if found[label] < FEWEST["train"]:
            raise CourseError(
                f"too few images for a quarter: it would hold {found[label]} training images of "
                f"the {CLASS_NAMES[label]} class and needs {FEWEST['train']}; add images of this "
                "class, or more patients."
            )
    return quarter


def draw_plan(slices: Slices) -> dict:
    """The folds and the quarters, by file names."""
    labels = slices.table["label"].to_numpy()
    groups = find_groups(slices).groups
    names = slices.table["file"].to_numpy()
    plan = []
    for k, part in enumerate(draw_folds(labels, groups, SEED, FOLDS)):
        quarters = [
            draw_quarter(labels, groups, part == "train", [SEED, k, number])
            for number in range(QUARTERS)
        ]
        kinds = ("train", "validation", "test", UNUSED)
        plan.append(
            {kind: names[part == kind].tolist() for kind in kinds}
            | {"quarters": [names[quarter].tolist() for quarter in quarters]}
        )
    return {
        "command": "python experiments/published_gans.py --data head-ct-hemorrhage",
        "seed": SEED,
        "fingerprint": slices.fingerprint,
        "groups": dict(zip(names.tolist(), groups.tolist(), strict=True)),
        "folds": plan,
        "versions": machine.versions(),
    }


def read_plan(data: Path) -> tuple[dict, Slices]:
    """The folds and quarters, drawn at the first call, and the real slices.

    Raises:
        CourseError: The folder holds other slices.
    """
    slices = read_folder(data)
    if not FOLDS_FILE.exists():
        write_json(FOLDS_FILE, draw_plan(slices))
    plan = read_json(FOLDS_FILE)
    if slices.fingerprint != plan["fingerprint"]:
        raise CourseError(f"{data} holds other slices than {FOLDS_FILE.name} describes.")
    return plan, slices


def name_folder(part: str, fold: int) -> str:
    """The folder of a part's generators in one fold: of "quarter-0", `quarter/fold-3-0`."""
    kind, _, quarter = part.partition("-")
    return f"{kind}/fold-{fold}" + (f"-{quarter}" if quarter else "")


def derive_latent_seed(fold: int, label: int) -> int:
    """Of the latent vectors; the same at all lengths and for both recipes."""
    return machine.derive_seed(fold, "latent", label)


def list_trainings(plan: dict) -> list[dict]:
    """All trainings, in their order; a quarter's recipe is `paper`."""
    found = []
    for kind, recipe in (("paper", "paper"), ("brief", "brief"), ("quarter", "paper")):
        for k, fold in enumerate(plan["folds"]):
            parts = fold["quarters"][:TRAINED_QUARTERS] if kind == "quarter" else [fold["train"]]
            for number, of_part in enumerate(parts):
                part = f"{kind}-{number}" if kind == "quarter" else kind
                for name, label in CLASSES.items():
                    found.append(
                        {
                            "folder": f"{name_folder(part, k)}/{name}",
                            "kind": kind,
                            "latent_seed": derive_latent_seed(k, label),
                            "recipe": recipe,
                            "kept": KEPT[kind],
                            "files": of_part,
                            "label": label,
                            # No two trainings share a seed.
                            "seed": SEED + 1000 * list(KEPT).index(kind) + 100 * number + 2 * k
                            + label,
                        }
                    )  # fmt: skip
    return found


def train(training_plan: dict, data: Path, out: Path, precision: str, parent: int) -> None:
    """One training in this process: all its generators, its log, and `done.json` at the end.

    It ends early when `parent`, the number of the process that started it, is gone.
    """
    machine.setup()
    from helpers import recipes, training

    folder = out / training_plan["folder"]
    slices = read_folder(data)
    table = slices.table
    chosen = table["file"].isin(training_plan["files"]) & (table["label"] == training_plan["label"])
    images = preprocessing.prepare([slices.greys[i] for i in np.flatnonzero(chosen)])
    held = lock(folder / ".lock", wait=3600)  # an orphan may still finish its last steps

    def stop_when_orphaned(_generator: object) -> dict[str, float]:
        if os.getppid() != parent:
            sys.exit("The process that started this training is gone.")
        return {}

    *shorter, longest = training_plan["kept"]
    missing = [steps for steps in shorter if not (folder / f"step-{steps}.h5").exists()]
    for steps in [*missing, longest]:  # the longest always: its history goes into the log
        trained = training.train_gan(
            images,
            steps=steps,
            seed=training_plan["seed"],
            recipe=recipes.choose_recipe(training_plan["recipe"]),
            precision=precision,
            checkpoints=folder / "checkpoints",
            checkpoint_every=100,
            preview_every=100,
            watch=stop_when_orphaned,
            title=training_plan["folder"],
        )
        training.save_generator(trained.generator, folder / f"step-{steps}.h5")
    training.write_log(folder / "log.csv", trained.history)
    facts = {name: training_plan[name] for name in ("recipe", "label", "seed")}
    facts |= {"images": len(images), "trained_on": machine.fingerprint(images)}
    facts |= {"seconds": trained.seconds, "precision": precision, "commit": commit()}
    write_json(folder / "done.json", facts | {"versions": machine.versions()})
    for checkpoint in (folder / "checkpoints").glob("*.npz"):
        checkpoint.unlink()
    held.release()


def commit() -> str:
    """The commit of this checkout."""
    command = ["git", "-C", str(PROJECT), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


def run_all(data: Path, out: Path, processes: int, only: str = "") -> None:
    """Run what is missing, `processes` trainings at once, each in a process of its own.

    Args:
        data: Folder of the real set.
        out: Folder of all generators.
        processes: Trainings at once.
        only: The folder of one fold or quarter, such as `paper/fold-0`; all, if empty.

    Raises:
        CourseError: Other slices than the plan's, or a training that failed.
    """
    plan, _ = read_plan(data)
    held = lock(make_folder(out) / ".lock")
    state = read_json(out / "state.json")
    if not state:
        state = {"precision": machine.choose_precision(), "commit": commit()}
        write_json(out / "state.json", state)
    todo = [
        each
        for each in list_trainings(plan)
        if each["folder"].startswith(only) and not (out / each["folder"] / "done.json").exists()
    ]
    todo.sort(key=lambda each: not (out / each["folder"]).exists())  # those that are begun first
    print(f"{len(todo)} trainings are missing; {state['precision']}.", flush=True)
    running: dict[subprocess.Popen, dict] = {}
    try:
        while todo or running:
            while todo and len(running) < processes:
                each = todo.pop(0)
                (out / each["folder"]).mkdir(parents=True, exist_ok=True)
                settings = [each, str(data), str(out), state["precision"], os.getpid()]
                command = [sys.executable, __file__, "--train", json.dumps(settings)]
                log = open(out / each["folder"] / "output.txt", "a")  # noqa: SIM115
                around = machine.environment() | dict.fromkeys(THREADS, "1")
                around[machine.PROGRESS_FILE] = str(out / each["folder"] / "progress.json")
                process = subprocess.Popen(command, stdout=log, stderr=log, env=around)
                running[process] = each
            for process, each in list(running.items()):
                if process.poll() is not None:
                    del running[process]
                    if not (out / each["folder"] / "done.json").exists():
                        log = out / each["folder"] / "output.txt"
                        raise CourseError(f"{each['folder']} failed: see {log}.")
                    print(f"{each['folder']}: done", flush=True)
            time.sleep(2)
    finally:
        for process in running:
            process.terminate()
        held.release()


@command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the real set")
    parser.add_argument("--out", type=Path, help="folder for the generators; default: train none")
    parser.add_argument("--processes", type=int, default=2, help="trainings at once")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.train:
        each, data, out, *how = json.loads(asked.train)
        train(each, Path(data), Path(out), *how)
        return
    if not asked.data:
        parser.error("--data is needed")
    if asked.out:
        run_all(asked.data.resolve(), asked.out.resolve(), asked.processes)
    else:
        read_plan(asked.data.resolve())
        print(f"The folds and quarters are in {FOLDS_FILE}.")


if __name__ == "__main__":
    sys.exit(main())
