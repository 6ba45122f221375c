"""One unit of a study: train its GANs, fit the classifiers, audit the images, write one row.

A unit is one fold of a set, a quarter of a fold's training images, or one simulated set. Its row in
`OUT/rows` says all that the study's verdict needs.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from course.workers import THREADS
from helpers import files, machine
from helpers.arms import OF_A_SET
from helpers.files import CourseError

ADDED = 3  # added images, generated or true, for each real one
CLASSES = (1, 0)


def run_unit(task: dict[str, Any]) -> str:
    """Run one unit in this process, unless its row is there; what it prints goes into a log.

    Args:
        task: As `study.plan` gives it.

    Returns:
        Nothing, or an error message, if trying again would not help.
    """
    row = Path(task["row"])
    if row.exists():
        return ""
    os.environ.update(dict.fromkeys(THREADS, str(task["threads"])))
    folder = files.make_folder(Path(task["folder"]))
    held = files.lock(folder / ".lock", wait=60)
    try:
        with (
            open(folder / "log.txt", "a", encoding="utf-8") as log,
            contextlib.redirect_stdout(log),
        ):
            started = time.monotonic()
            machine.setup()
            matplotlib.use("agg")  # in a worker's thread no other backend may draw
            unit = _run_set if task["kind"] == "set" else _run_fold
            found = unit(task, folder)
            named = {name: task[name] for name in ("kind", "number", "quarter", "seed")}
            seconds = time.monotonic() - started
            made = {"seconds": seconds, "precision": task["precision"]}
            made |= {"versions": machine.versions()}
            files.write_json(row, named | found | made)
    except CourseError as error:
        return str(error)
    finally:
        held.release()
    return ""


def _run_fold(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A fold of a set: probabilities of its test images with GAN images beside the real ones."""
    from helpers import bundled, measures

    with np.load(task["prepared"]) as saved:
        images, labels, groups = (saved[name] for name in ("images", "labels", "groups"))
        train, test = saved["train"][task["number"]], saved["test"][task["number"]]
        if task["quarter"] is not None:
            train = saved["quarters"][task["number"], task["quarter"]]
    real = images[train], labels[train]
    drawn, drawn_labels = draw_added(task, folder, *real)
    arm = "classic_gan" if task["quarter"] is None else "part_gan"
    head = bundled.fit_arm(arm, *real, drawn, drawn_labels)
    from helpers import trunk

    probabilities = head.answer(trunk.features(images[test]))
    audit = {}
    for label in CLASSES:
        parts = [np.flatnonzero(part & (labels == label)) for part in (train, ~train)]
        audit[task["classes"][label]] = plain_numbers(
            measures.audit_class(
                drawn[drawn_labels == label], *(images[part] for part in parts),
                groups[np.concatenate(parts)], seed=0, simulated=False,
            )
        )  # fmt: skip
    return {
        "tested": np.flatnonzero(test).tolist(),
        "probabilities": np.round(probabilities, 6).tolist(),
        "images": int(train.sum()),
        "audit": audit,
    }


def _run_set(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A simulated set: the scores of all arms on fresh slices, and on shifted ones."""
    from helpers import bundled, measures, trunk

    (images, labels), true, tests, truth = draw_set(task)
    drawn = draw_added(task, folder, images, labels)
    arms: dict[str, dict[str, dict[str, float]]] = {}
    for name in OF_A_SET:
        added = {"classic_gan": drawn, "oracle": true}.get(name, ())
        head = bundled.fit_arm(name, images, labels, *added)
        arms[name] = {
            where: score(truth, head.answer(trunk.features(test))) for where, test in tests.items()
        }
    audit = {}
    for label in CLASSES:
        audit[task["classes"][label]] = plain_numbers(
            measures.audit_class(
                drawn[0][drawn[1] == label], images[labels == label], true[0][true[1] == label],
                np.arange(np.sum(labels == label) + np.sum(true[1] == label)),
                seed=0, fresh=tests["fresh"][truth == label][:500],
            )
        )  # fmt: skip
    return {"images": len(images), "arms": arms, "audit": audit}


def draw_set(task: dict[str, Any]) -> tuple[tuple, tuple, dict[str, np.ndarray], np.ndarray]:
    """All slices of a simulated set.

    Args:
        task: Has `data_seed`, `images` and `fresh_count`.

    Returns:
        Training slices and their labels; three times as many true new ones and theirs; the slices
        to score on, `fresh` and `shifted`, and their labels.
    """
    from helpers import preprocessing

    seed, count = task["data_seed"], task["images"]
    real = preprocessing.fresh_slices(count, seed)
    true = preprocessing.fresh_slices(ADDED * count, machine.derive_seed(seed, "true"))
    fresh, truth = preprocessing.fresh_slices(
        task["fresh_count"], machine.derive_seed(seed, "fresh")
    )
    shifted = preprocessing.shift_domain(fresh, machine.derive_seed(seed, "shifted"))
    return real, true, {"fresh": fresh, "shifted": shifted}, truth


def draw_added(
    task: dict[str, Any], folder: Path, images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Train one GAN per class, and draw three times as many images of each class as there are.

    Args:
        task: Has `gan_steps`, `recipe`, `recipe_changes`, `precision`, `checkpoint_every`,
            `gan_seed` and `classes`.
        folder: Of the unit; gets checkpoints, models and a picture of samples.
        images: Real training images ``(n, 32, 32, 1)``, -1 to 1.
        labels: ``(n,)``, 0 or 1.

    Returns:
        Images ``(3 n, 32, 32, 1)`` and their labels.
    """
    from helpers import plots, recipes, sampling, training

    drawn, sheet = [], {}
    for label in CLASSES:
        name = task["classes"][label]
        own = images[labels == label]
        trained = training.train_gan(
            own,
            steps=task["gan_steps"],
            seed=machine.derive_seed(task["gan_seed"], "gan", label),
            recipe=recipes.choose_recipe(task["recipe"], task["recipe_changes"]),
            precision=task["precision"],
            checkpoints=folder / "checkpoints" / name,
            checkpoint_every=task["checkpoint_every"],
            preview_every=task["gan_steps"],
            title=f"GAN {name}",
        )
        models = files.make_folder(folder / "models")
        training.save_generator(trained.generator, models / f"{name}.h5")
        seed = machine.derive_seed(task["gan_seed"], "latent", label)
        latent = sampling.draw_latent(ADDED * len(own), seed)
        drawn.append(sampling.generate(trained.generator, latent))
        sheet[f"real {name}"], sheet[f"generated {name}"] = own[:10], drawn[-1][:10]
    plots.save_figure(plots.show_grid(sheet, size=0.8), folder, "samples")
    return np.concatenate(drawn), np.repeat(CLASSES, [len(part) for part in drawn])


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The scores of an arm that a row keeps."""
    from helpers import intervals

    found = intervals.score(labels, probabilities)
    names = ("balanced_accuracy", "auc", "sensitivity", "specificity")
    brier = [np.mean((probabilities[labels == k] - k) ** 2) for k in (0, 1)]
    return {name: found[name] for name in names} | {"brier": float(np.mean(brier))}


def plain_numbers(found: dict[str, Any]) -> dict[str, float]:
    """What an audit of one class found, without its lists; what it could not tell is left out."""
    told = {"told_apart_share": ("realism", "accuracy"), "copies": ("copying", "share")}
    told |= {"copies_flagged": ("copying", "flagged"), "repeats": ("copying", "repeats")}
    return {key: value for key, value in found.items() if isinstance(value, (int, float))} | {
        name: found[part][key]
        for name, (part, key) in told.items()
        if part in found and found[part][key] is not None
    }
