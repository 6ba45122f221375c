"""The published experiment on eight folds of the real slices, with two classifiers.

    python experiments/published.py --data head-ct-hemorrhage --gans FOLDER

A unit is a part of a fold: its real images alone, or the GANs of one recipe or one quarter. Each
part is computed for all folds before the next one begins, in the order of `ROUNDS`. Its GANs are
trained into FOLDER (`published_gans.py`), unless they are there, and its arms are scored. A row of
`results/published.json` is one unit with one classifier, written at once: the same command resumes
where it was stopped, and a lost FOLDER costs one unit. Rows hold probabilities of test images and
the audits of the generators, and no image. A unit that fails is left out, and named at the end.

The primary result was fixed beforehand: *bundled*, recipe `paper`, 10,000 steps, balanced accuracy,
a margin of 5 points, eight folds, one look; its gains at a quarter of the slices come from GANs of
2,500 steps: as many epochs for haemorrhage, and a quarter more for clear slices, of which there are
more. All else is secondary. No part is summarised before all its eight folds are there, and the
quarters only together. An answer is given once, when the quarters are there, whatever the gains
were before; other lengths and recipes have gains, and no answer.

*Bundled* has all arms of a study, with the generators of each recipe at each length that was kept;
at a quarter of the slices `part_gan` on four quarters, and the arms without a GAN on twelve.
ResNet-50, trained from scratch, has the paper's three arms in the paper's protocol, the arms of a
study at 10,000 steps, `classic_short` with half of the steps, and one quarter. It is scored only
once `pilot_resnet50.py` has decided on its stronger baseline. *Bundled* also sees the real images
alone at the 224 pixels for which its trunk was trained.
"""

import argparse
import dataclasses
import itertools
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import published_gans
from pilot_resnet50 import PILOT, scale_steps
from published_gans import (
    CLASSES,
    KEPT,
    TRAINED_QUARTERS,
    commit,
    derive_latent_seed,
    name_folder,
)

from course.commands import command
from course.replicate import ADDED, plain_numbers
from course.study import summarise_folds
from helpers import files, folds, intervals, machine
from helpers.files import CourseError
from helpers.verdict import FACTORS, STRONGER

RESULTS = files.RESULTS / "published.json"
COMMAND = "python experiments/published.py --data head-ct-hemorrhage --gans FOLDER"
PRIMARY = "paper", 10_000
SEEDS = 2
FULL = 224  # pixels
KEPT_OF_AUDIT = ("spaces", "copying", "refused", "warning")
OF_PAPER = 100  # generated images of each class in the paper's own arms
EPOCHS = 100  # the most of the paper's protocol
AT_A_QUARTER = {"classic": "part", "classic_long": "part_long"}
# Besides the gains of a study: the published claim, and what half of the turns cost.
PAIRS = {
    "original_gan": ("original_gan", "original"),
    "original_gan, last epoch": ("original_gan, last epoch", "original, last epoch"),
    "gan_only": ("gan_only", "original"),
    "classic_short": ("classic_short", "classic"),
    "full size": ("classic, full size", "classic"),
}
# ResNet-50's fits of real images alone take many hours, and wait for the primary result.
BOTH = "bundled", "resnet50"
ROUNDS = [
    ("real", ("bundled",)),
    *[(part, BOTH) for part in ("paper", "real", "brief")],
    *[(f"quarter-{number}", BOTH) for number in range(TRAINED_QUARTERS)],
]


@dataclasses.dataclass(frozen=True)
class Fold:
    """A fold's images: each part is images ``(n, 32, 32, 1)``, labels and groups."""

    number: int
    parts: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]  # train, validation, test
    quarters: list[np.ndarray]  # bool, of the training part
    places: dict[str, list[int]]  # of each part's images in the set
    large: np.ndarray  # the whole set at 224 pixels
    gans: Path

    def choose(self, part: str) -> np.ndarray:
        """Which images of the training part are the real ones of this part: all, or a quarter."""
        kind, _, number = part.partition("-")
        if kind == "quarter":
            return self.quarters[int(number)]
        return np.ones(len(self.parts["train"][1]), dtype=bool)

    def real(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """The real images that a part trains on, and their labels."""
        images, labels, _ = self.parts["train"]
        chosen = self.choose(part)
        return images[chosen], labels[chosen]

    def draw(self, part: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Generated images, three times as many of each class as real ones, and their labels."""
        from helpers import sampling

        labels = self.real(part)[1]
        drawn = []
        for name, label in CLASSES.items():
            path = self.gans / name_folder(part, self.number) / name
            there = path / f"drawn-{steps}.npy"
            if there.exists():  # on another machine: gpu_through_jax/packed.py
                drawn.append(np.load(there))
                continue
            count = ADDED * int(np.sum(labels == label))
            latent = sampling.draw_latent(count, derive_latent_seed(self.number, label))
            generator = sampling.load_generator(path / f"step-{steps}.h5")
            drawn.append(sampling.generate(generator, latent))
        return np.concatenate(drawn), np.repeat([*CLASSES.values()], [len(x) for x in drawn])


def list_parts(classifier: str) -> list[str]:
    """The parts of a fold that this classifier scores."""
    if classifier == "resnet50":
        return ["real", PRIMARY[0], "quarter-0"]
    return ["real", "paper", "brief", *(f"quarter-{k}" for k in range(TRAINED_QUARTERS))]


def score_bundled(fold: Fold, part: str) -> dict[str, Any]:
    """Probabilities of the fold's test images by arm of this part, and its generators' audits."""
    from helpers import bundled, trunk

    images, labels, _ = fold.parts["train"]
    test = trunk.features(fold.parts["test"][0])
    arms: dict[str, list] = {}

    def keep(title, arm, *parts):
        answers = np.round(bundled.fit_arm(arm, *parts).answer(test), 6).tolist()
        arms.setdefault(title, []).append(answers)

    if part == "real":
        for name in ("original", "classic", "classic_long", "mixup"):
            keep(name, name, images, labels)
        for name in ("original", "classic"):
            arms[f"{name}, full size"] = [score_at_full_size(fold, name)]
        for quarter in fold.quarters:
            real, rest = (images[quarter], labels[quarter]), (images[~quarter], labels[~quarter])
            keep("part", "part", *real)
            keep("part_long", "part_long", *real)
            keep("oracle_part", "oracle_part", *real, *rest)
        return {"arms": arms}
    audits: dict[str, dict[str, Any]] = {}
    kind, _, _ = part.partition("-")
    for steps in KEPT[kind]:
        drawn = fold.draw(part, steps)
        for name, found in audit(fold, part, *drawn).items():
            audits[f"{name} {part} {steps}"] = found
        if kind == "quarter":
            keep("part_gan", "part_gan", *fold.real(part), *drawn)
            continue
        keep(f"classic_gan {part} {steps}", "classic_gan", images, labels, *drawn)
        if part == PRIMARY[0]:
            few = first_of_class(*drawn, OF_PAPER)
            length = "" if steps == PRIMARY[1] else f", {steps} steps"
            for name in ("gan_only", "original_gan"):
                keep(name + length, name, images, labels, *few)
    return {"arms": arms, "audits": audits}


def score_at_full_size(fold: Fold, name: str) -> list[float]:
    """Probabilities of the fold's test images by an arm of real images alone, at 224 pixels."""
    from helpers import bundled, trunk
    from helpers.arms import ARMS

    train, test = (fold.large[fold.places[part]] for part in ("train", "test"))
    views = bundled.augmented_views(train, ARMS[name].views)
    features = trunk.features(views.reshape(-1, FULL, FULL, 1), FULL)
    real = features.reshape(*views.shape[:2], -1)
    head = bundled.fit_head([bundled.weigh_classes(real, fold.parts["train"][1], len(train))], real)
    return np.round(head.answer(trunk.features(test, FULL)), 6).tolist()


def audit(
    fold: Fold, part: str, drawn: np.ndarray, drawn_labels: np.ndarray
) -> dict[str, dict[str, Any]]:
    """The audit of each class; held out are validation and, at a quarter, the other three.

    Whether the images resemble real ones is told by the network trained on ImageNet alone, since
    the judge knows only simulated slices. `whole` also has the judge's numbers, and for each image
    its nearest real one, the likeness of the two, and the chance of that.
    """
    from helpers import measures

    own = fold.choose(part)
    places = [("train", own), ("train", ~own), ("validation", slice(None))]
    audits = {}
    for name, label in CLASSES.items():
        of_class = []
        for kind, chosen in places:
            images, labels, groups = (each[chosen] for each in fold.parts[kind])
            of_class.append((images[labels == label], groups[labels == label]))
        (train, _), *held = of_class
        found = measures.audit_class(
            drawn[drawn_labels == label],
            train,
            np.concatenate([images for images, _ in held]),
            np.concatenate([groups for _, groups in of_class]),
            seed=0,
            simulated=True,
        )
        numbers = plain_numbers(found)
        space = found.get("spaces", {}).get("imagenet", {})
        if "resembles" in space:
            numbers["resembles"] = space["resembles"]
        if "realism" in space:
            numbers["told_apart"] = measures.tells_apart([space["realism"]["p_value"]])
            for each in found["spaces"].values():
                each.get("realism", {}).pop("realism", None)  # of each image
        whole = {key: found[key] for key in KEPT_OF_AUDIT if found.get(key)}
        audits[name] = numbers | {"whole": shorten(whole)}
    return audits


def shorten(found: Any) -> Any:
    """The same with arrays as lists, and four digits of each number, so that JSON stays small."""
    if isinstance(found, dict):
        return {key: shorten(value) for key, value in found.items()}
    if isinstance(found, list | tuple | np.ndarray):
        return [shorten(value) for value in found]
    if isinstance(found, np.generic):
        found = found.item()
    return float(f"{found:.4g}") if isinstance(found, float) else found


def score_resnet50(fold: Fold, part: str, steps_of_set: int) -> dict[str, Any]:
    """Probabilities of the fold's test images by arm of this part; two seeds, each fold's own."""
    from helpers import classifiers

    images, labels, _ = fold.parts["train"]
    quarter = fold.quarters[0]
    few = fold.real("quarter-0")
    test, validation = fold.parts["test"][0], fold.parts["validation"][:2]
    arms: dict[str, list] = {}
    best_epochs: dict[str, list[int]] = {}
    for seed in range(SEEDS * fold.number, SEEDS * (fold.number + 1)):
        arm, augment = classifiers.Arm, classifiers.classic_augmentation(seed)
        of_paper: dict[str, classifiers.Arm] = {}
        turns: dict[str, tuple[float, classifiers.Arm]] = {}  # share of the steps, and the arm
        if part == "real":
            rest = images[~quarter], labels[~quarter]
            of_paper = {"original": arm(images, labels)}
            turns = {
                "classic": (1, arm(images, labels, augment=augment)),
                "classic_long": (1, arm(images, labels, augment=augment, turns=2)),
                "classic_short": (1 / 2, arm(images, labels, augment=augment)),
                "part": (1, arm(*few, augment=augment)),
                "part_long": (1, arm(*few, augment=augment, turns=2)),
                "oracle_part": (1, arm(*few, *rest, augment=augment)),
            }
        elif part == PRIMARY[0]:
            drawn = fold.draw(*PRIMARY)
            added = first_of_class(*drawn, OF_PAPER)
            of_paper = {"gan_only": arm(*added), "original_gan": arm(images, labels, *added)}
            turns = {"classic_gan": (1, arm(images, labels, *drawn, augment=augment))}
        elif part == "quarter-0":
            drawn = fold.draw(part, KEPT["quarter"][0])
            turns = {"part_gan": (1, arm(*few, *drawn, augment=augment))}
        classifier = classifiers.build_classifier("resnet50", seed=seed)

        def keep(name):
            answers = classifier.answer(test).astype(float)  # noqa: B023  called within the round
            arms.setdefault(name, []).append(np.round(answers, 6).tolist())

        for name, each in of_paper.items():
            stopped = classifiers.fit_with_patience(
                classifier, each, validation, epochs=EPOCHS, seed=seed
            )
            best_epochs.setdefault(name, []).append(int(stopped.best_epoch))
            keep(f"{name}, last epoch")
            classifier.learner.set_weights(stopped.best_weights)
            keep(name)
        for name, (share, each) in turns.items():
            steps = scale_steps(share * steps_of_set, len(each.images))
            classifiers.fit(classifier, each, steps=steps, seed=seed)
            keep(name)
    return {"arms": arms, "steps": steps_of_set, "best_epochs": best_epochs}


def first_of_class(images: np.ndarray, labels: np.ndarray, count: int) -> tuple:
    """The first images of each class."""
    chosen = np.concatenate([np.flatnonzero(labels == k)[:count] for k in CLASSES.values()])
    return images[chosen], labels[chosen]


def summarise(
    rows: list[dict[str, Any]], plan: dict[str, Any], stronger: dict[str, str]
) -> dict[str, Any]:
    """What each classifier says by recipe and length, of the parts whose folds are all there.

    Both classifiers' intervals are widened by the same factors (`verdict.FACTORS`). The factors
    were measured with *bundled*, whose fits have no noise. A fit of ResNet-50 has noise, which all
    test images of its fold share, and which the bootstrap over images cannot see. So the intervals
    of ResNet-50 may be too narrow.

    Args:
        rows: Of all finished units.
        plan: Of the folds.
        stronger: Each classifier's stronger baseline at a quarter; one without is left out.
    """
    names = [name for fold in plan["folds"] for name in fold["test"]]
    groups = np.arange(len(names))  # a fold tests one slice of each group
    found: dict[str, Any] = {}
    for classifier in ("bundled", "resnet50"):
        own = join_parts(rows, classifier, len(plan["folds"])) if classifier in stronger else []
        if not own:
            continue
        tested = np.split(groups, np.cumsum([len(row["labels"]) for row in own])[:-1])
        arms = {
            arm: np.concatenate([np.array(row["arms"][arm]) for row in own], axis=1)
            for arm in own[0]["arms"]
        }
        labels = np.concatenate([row["labels"] for row in own])
        found[f"{classifier}, arms"] = compare_arms(arms, labels, groups, plan["seed"])
        base = {
            "seed": plan["seed"],
            "labels": labels,
            "groups": groups,
            "probabilities": {name: each for name, each in arms.items() if "_gan" not in name},
        }
        for arm in (name for name in arms if name.startswith("classic_gan")):
            # The quarters' GANs belong to the primary length. Their draws, quarters with *bundled*
            # and seeds with ResNet-50, meet the same draws of the arms without a GAN.
            primary = arm in ("classic_gan", "classic_gan {} {}".format(*PRIMARY))
            of_arm = [arm, *(["part_gan"] if primary and "part_gan" in arms else [])]
            units = [
                {"quarter": draw if name == "part_gan" else None,
                 "seed": 0 if name == "part_gan" else draw,
                 "tested": tested[k], "probabilities": answers}
                for k, row in enumerate(own)
                for name in of_arm
                for draw, answers in enumerate(row["arms"][name])
            ]  # fmt: skip
            summary = summarise_folds(base, units, stronger[classifier])
            del summary["advice"]  # for a study's own seeds
            if "part_gan" not in of_arm:
                del summary["verdict"]
            found[arm.replace("classic_gan", classifier)] = summary
    if audits := summarise_audits(rows, len(plan["folds"])):
        found["audits"] = audits
    return found


def summarise_audits(rows: list[dict[str, Any]], count: int) -> dict[str, dict[str, float]]:
    """The mean audit of each class, recipe and length, where all `count` folds have one.

    What is true or false becomes the share of folds. A measure that some fold lacks is left out.
    """
    by_title: dict[str, list[dict[str, float]]] = {}
    for row in rows:
        for title, found in row.get("audits", {}).items():
            by_title.setdefault(title, []).append(found)
    means = {
        title: {
            key: float(np.mean([each[key] for each in own]))
            for key in own[0]
            if key != "whole" and all(key in each for each in own)
        }
        for title, own in by_title.items()
        if len(own) == count
    }
    of_quarters = [title for title in means if " quarter-" in title]
    if len(of_quarters) < len(CLASSES) * TRAINED_QUARTERS:  # only together
        means = {title: each for title, each in means.items() if title not in of_quarters}
    return means


def join_parts(rows: list[dict[str, Any]], classifier: str, count: int) -> list[dict[str, Any]]:
    """Each of `count` folds as one row, with the arms of the parts that all folds have."""
    own = {(row["fold"], row["part"]): row for row in rows if row["classifier"] == classifier}
    parts = [x for x in list_parts(classifier) if all((k, x) in own for k in range(count))]
    quarters = [x for x in list_parts(classifier) if x.startswith("quarter")]
    if not set(quarters) <= set(parts):  # a gain at a quarter is the mean over all of them
        parts = [x for x in parts if x not in quarters]
    if "real" not in parts:
        return []
    joined = []
    for fold in range(count):
        arms: dict[str, list] = {}
        for part in parts:
            for arm, draws in own[fold, part]["arms"].items():
                arms.setdefault(arm, []).extend(draws)
        joined.append({"fold": fold, "labels": own[fold, "real"]["labels"], "arms": arms})
    return joined


def compare_arms(
    arms: dict[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, seed: int
) -> dict[str, Any]:
    """Balanced accuracy of each arm, and the gains of `PAIRS`, averaged over seeds or quarters.

    The intervals of ResNet-50's gains may be too narrow: see `summarise`.

    Args:
        arms: By name ``(draws, n)``, probabilities of label 1.
        labels, groups: ``(n,)``.
        seed: Of the bootstrap.
    """
    weights = folds.image_weights(labels, groups)
    samples = intervals.resample_groups(labels, groups, seed)
    right = {name: ((each >= 0.5) == labels).mean(axis=0) for name, each in arms.items()}
    return {
        "balanced_accuracy": {name: float(weights @ each) for name, each in right.items()},
        "gains": {
            name: intervals.pooled_mean(
                right[first] - right[second], labels, weights, samples, FACTORS["exposure"]
            )
            for name, (first, second) in PAIRS.items()
            if first in right
        },
    }


def read_folds(data: Path, gans: Path) -> tuple[dict[str, Any], list[Fold]]:
    """The folds as they were drawn for the GANs, and their images."""
    from helpers import preprocessing

    plan, slices = published_gans.read_plan(data)
    images, labels = preprocessing.prepare(slices.greys), slices.table["label"].to_numpy()
    large = preprocessing.prepare(slices.greys, FULL)
    names = slices.table["file"].tolist()
    place, groups = {name: k for k, name in enumerate(names)}, plan["groups"]
    found = []
    for number, fold in enumerate(plan["folds"]):
        parts, places = {}, {}
        for kind in ("train", "validation", "test"):
            chosen = places[kind] = sorted(place[name] for name in fold[kind])
            of_part = np.array([groups[names[k]] for k in chosen])
            parts[kind] = images[chosen], labels[chosen], of_part
        quarters = [np.isin(places["train"], [place[x] for x in part]) for part in fold["quarters"]]
        found.append(Fold(number, parts, quarters, places, large, gans))
    return plan, found


def score_unit(fold: Fold, part: str, classifier: str, steps_of_set: int) -> dict[str, Any]:
    """The row of a unit whose generators are there.

    Raises:
        CourseError: A generator cannot be read, or was trained on other images than this part's.
    """
    started = time.monotonic()
    made = []
    if part != "real":
        images, labels = fold.real(part)
        for name, label in CLASSES.items():
            where = fold.gans / name_folder(part, fold.number) / name
            made.append(files.read_json(where / "done.json"))
            if made[-1].get("trained_on") != machine.fingerprint(images[labels == label]):
                raise CourseError(f"{where} has a generator of other images than this part's.")
    row = {"fold": fold.number, "part": part, "classifier": classifier}
    row |= {"tested": fold.places["test"], "labels": fold.parts["test"][1].tolist()}
    if classifier == "resnet50":
        row |= score_resnet50(fold, part, steps_of_set)
    else:
        row |= score_bundled(fold, part)
    if part != "real":
        row["gans"] = made
    row |= {"seconds": time.monotonic() - started, "commit": commit()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # GB: growth is seen
    return row | {"memory_gb": round(memory, 2), "versions": machine.versions()}


@command
def main(arguments: list[str] | None = None) -> None:
    """Train and score the units that are missing, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the real set")
    parser.add_argument("--gans", type=Path, required=True, help="folder for the generators")
    parser.add_argument("--pilot", type=Path, default=PILOT, help="what pilot_resnet50.py wrote")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    held = files.lock(asked.results.with_suffix(".lock"))
    machine.setup()
    from helpers import bundled

    asked.data, asked.gans = asked.data.resolve(), asked.gans.resolve()
    plan, of_set = read_folds(asked.data, asked.gans)
    classifiers = list(BOTH)
    stronger, pilot = {"bundled": STRONGER["quarter"]}, files.read_json(asked.pilot)
    steps = pilot.get("summary", {}).get("steps")
    if steps:
        stronger["resnet50"] = AT_A_QUARTER[pilot["summary"]["stronger"]]
    else:
        classifiers.remove("resnet50")
        print(f"ResNet-50 is not scored yet: {asked.pilot.name} is not finished.")
    settings = {"primary": list(PRIMARY), "seeds": SEEDS, "epochs": EPOCHS, "steps": steps}
    settings |= {"kept": {kind: list(of_kind) for kind, of_kind in KEPT.items()}}
    settings |= {"folds": machine.digest(json.dumps(plan["folds"]).encode())}
    settings |= {"added": ADDED, "C": bundled.C}
    settings |= {"stronger": stronger["bundled"], "stronger_resnet50": stronger.get("resnet50")}
    later = ("steps", "stronger_resnet50")  # null until the pilot is finished
    rows = files.read_results(asked.results, settings, later).get("rows", [])
    failed = []
    for (part, of_round), fold in itertools.product(ROUNDS, of_set):
        done = {
            row["classifier"] for row in rows if (row["fold"], row["part"]) == (fold.number, part)
        }
        todo = [x for x in of_round if x in classifiers and part in list_parts(x) and x not in done]
        for classifier in todo:
            try:
                if part != "real":  # its two GANs, unless they are there
                    folder = name_folder(part, fold.number)
                    published_gans.run_all(asked.data, asked.gans, len(CLASSES), folder)
                row = score_unit(fold, part, classifier, steps)
            except CourseError as error:
                failed.append(f"fold {fold.number}, {part}, {classifier}: {error}")
                print(failed[-1], flush=True)
                break
            rows = sorted([*rows, row], key=lambda x: (x["classifier"], x["fold"]))
            content = {
                "command": COMMAND,
                "settings": settings,
                "versions": machine.versions(),
                "summary": summarise(rows, plan, stronger),
                "rows": rows,
            }
            files.write_json(asked.results, content)
            print(
                f"fold {fold.number}, {part}, {classifier}: {row['seconds'] / 60:.0f} min",
                flush=True,
            )
    held.release()
    if failed:
        raise CourseError("\n".join(failed))


if __name__ == "__main__":
    sys.exit(main())
