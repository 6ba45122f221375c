"""Score the published experiment on eight folds of the real slices, with two classifiers.

    python experiments/published.py --data head-ct-hemorrhage --gans FOLDER
    python experiments/published.py --data head-ct-hemorrhage --gans FOLDER --classifier resnet50

FOLDER is where `published_gans.py` left its generators. A row of `results/published.json` is one
fold with one classifier, and it is written when the fold is finished: the same command goes on
where it was stopped. Rows hold probabilities of test images and the audits of the generators, and
no image.

The primary result was fixed beforehand: *bundled*, recipe `paper`, 10,000 steps, balanced accuracy,
a margin of 5 points, eight folds, one look; its gains at a quarter of the slices come from GANs of
2,500 steps, which are as many epochs. All else is secondary. Nothing is summarised before all eight
folds are there.

*Bundled* has all arms of a study, with the generators of each recipe at each length that was kept;
at a quarter of the slices `part_gan` on four quarters, and the arms without a GAN on twelve.
ResNet-50, trained from scratch, has the paper's three arms in the paper's protocol, the arms of a
study at 10,000 steps, `classic_short` with half of the steps, and one quarter.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from published_gans import CLASSES, FOLDS_FILE, KEPT, TRAINED_QUARTERS, commit

from course.commands import command
from course.replicate import ADDED, plain_numbers
from course.study import summarise_folds
from helpers import files, folds, intervals, machine
from helpers.files import CourseError
from helpers.folder import read_folder
from helpers.verdict import FACTORS

RESULTS = files.RESULTS / "published.json"
PRIMARY = "paper", 10_000
PILOT = files.RESULTS / "pilot_steps.json"
OF_SLICES = 144  # for which the pilot chose ResNet-50's steps
SEEDS = 2
OF_PAPER = 100  # generated images of each class in the paper's own arms
EPOCHS = 100  # the most of the paper's protocol
# Besides the gains of a study: the published claim, and what half of the turns cost.
PAIRS = {
    "original_gan": ("original_gan", "original"),
    "original_gan, last epoch": ("original_gan, last epoch", "original, last epoch"),
    "gan_only": ("gan_only", "original"),
    "classic_short": ("classic_short", "classic"),
}


@dataclasses.dataclass(frozen=True)
class Fold:
    """A fold's images: each part is images ``(n, 32, 32, 1)``, labels and groups."""

    number: int
    parts: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]  # train, validation, test
    quarters: list[np.ndarray]  # bool, of the training part
    tested: list[int]  # the places of its test images in the set
    gans: Path

    def draw(self, kind: str, steps: int, quarter: int | None = None) -> tuple:
        """Generated images, three times as many of each class as real ones, and their labels."""
        from helpers import sampling

        labels = self.parts["train"][1]
        labels = labels if quarter is None else labels[self.quarters[quarter]]
        where = f"fold-{self.number}" + ("" if quarter is None else f"-{quarter}")
        drawn = []
        for name, label in CLASSES.items():
            path = self.gans / kind / where / name / f"step-{steps}.h5"
            seed = machine.derive_seed(self.number, "latent", label)
            latent = sampling.draw_latent(ADDED * int(np.sum(labels == label)), seed)
            drawn.append(sampling.generate(sampling.load_generator(path), latent))
        return np.concatenate(drawn), np.repeat([*CLASSES.values()], [len(x) for x in drawn])


def score_bundled(fold: Fold) -> dict[str, Any]:
    """Probabilities of the fold's test images by arm, and the audits of its generators."""
    from helpers import bundled, measures, trunk

    images, labels, _ = fold.parts["train"]
    test = trunk.features(fold.parts["test"][0])

    def answer(name, *parts):
        return np.round(bundled.fit_arm(name, *parts).answer(test), 6).tolist()

    arms: dict[str, list] = {
        name: [answer(name, images, labels)]
        for name in ("original", "classic", "classic_long", "mixup")
    }
    audits: dict[str, dict[str, Any]] = {}
    for kind in ("paper", "brief"):
        for steps in KEPT[kind]:
            drawn = fold.draw(kind, steps)
            arms[f"classic_gan {kind} {steps}"] = [answer("classic_gan", images, labels, *drawn)]
            held = fold.parts["validation"]
            for name, label in CLASSES.items():
                real = [part[0][part[1] == label] for part in (fold.parts["train"], held)]
                of_class = [part[2][part[1] == label] for part in (fold.parts["train"], held)]
                found = measures.audit_class(
                    drawn[0][drawn[1] == label], *real, np.concatenate(of_class),
                    seed=0, simulated=False,
                )  # fmt: skip
                audits[f"{name} {kind} {steps}"] = plain_numbers(found)
    few = first_of_class(*fold.draw(*PRIMARY), OF_PAPER)
    for name in ("gan_only", "original_gan"):
        arms[name] = [answer(name, images, labels, *few)]
    for name in ("part", "part_long", "oracle_part", "part_gan"):
        arms[name] = []
    for number, quarter in enumerate(fold.quarters):
        real, rest = (images[quarter], labels[quarter]), (images[~quarter], labels[~quarter])
        arms["part"].append(answer("part", *real))
        arms["part_long"].append(answer("part_long", *real))
        arms["oracle_part"].append(answer("oracle_part", *real, *rest))
        if number < TRAINED_QUARTERS:
            drawn = fold.draw("quarter", KEPT["quarter"][0], number)
            arms["part_gan"].append(answer("part_gan", *real, *drawn))
    return {"arms": arms, "audits": audits}


def score_resnet50(fold: Fold) -> dict[str, Any]:
    """Probabilities of the fold's test images by arm; two seeds of each."""
    from helpers import classifiers

    steps_of_set = files.read_json(PILOT).get("summary", {}).get("steps")
    if not steps_of_set:
        raise CourseError(f"{PILOT.name} is not finished: run experiments/pilot_steps.py first.")
    images, labels, _ = fold.parts["train"]
    quarter = fold.quarters[0]
    rest, part = (images[~quarter], labels[~quarter]), (images[quarter], labels[quarter])
    test, validation = fold.parts["test"][0], fold.parts["validation"][:2]
    drawn = fold.draw(*PRIMARY)
    few = first_of_class(*drawn, OF_PAPER)
    of_quarter = fold.draw("quarter", KEPT["quarter"][0], 0)
    arms: dict[str, list] = {}
    for seed in range(SEEDS):
        arm, augment = classifiers.Arm, classifiers.classic_augmentation(seed)
        classifier = classifiers.build_classifier("resnet50", seed=seed)

        def keep(name):
            answers = classifier.answer(test).astype(float)  # noqa: B023  called within the round
            arms.setdefault(name, []).append(np.round(answers, 6).tolist())

        of_paper = {
            "original": arm(images, labels),
            "gan_only": arm(*few),
            "original_gan": arm(images, labels, *few),
        }
        for name, each in of_paper.items():
            stopped = classifiers.fit_with_patience(
                classifier, each, validation, epochs=EPOCHS, seed=seed
            )
            keep(f"{name}, last epoch")
            classifier.learner.set_weights(stopped.best_weights)
            keep(name)
        turns = {
            "classic": (1, arm(images, labels, augment=augment)),
            "classic_long": (1, arm(images, labels, augment=augment, turns=2)),
            "classic_gan": (1, arm(images, labels, *drawn, augment=augment)),
            "classic_short": (1 / 2, arm(images, labels, augment=augment)),
            "part": (1, arm(*part, augment=augment)),
            "part_long": (1, arm(*part, augment=augment, turns=2)),
            "part_gan": (1, arm(*part, *of_quarter, augment=augment)),
            "oracle_part": (1, arm(*part, *rest, augment=augment)),
        }
        for name, (share, each) in turns.items():
            steps = max(1, round(share * steps_of_set * len(each.images) / OF_SLICES))
            classifiers.fit(classifier, each, steps=steps, seed=seed)
            keep(name)
    return {"arms": arms, "steps": steps_of_set}


def first_of_class(images: np.ndarray, labels: np.ndarray, count: int) -> tuple:
    """The first images of each class."""
    chosen = np.concatenate([np.flatnonzero(labels == k)[:count] for k in CLASSES.values()])
    return images[chosen], labels[chosen]


def summarise(rows: list[dict[str, Any]], plan: dict[str, Any]) -> dict[str, Any]:
    """The answers of each classifier whose folds are all there, by recipe and length."""
    names = [name for fold in plan["folds"] for name in fold["test"]]
    groups = np.arange(len(names))  # a fold tests one slice of each group
    found: dict[str, Any] = {}
    for classifier in ("bundled", "resnet50"):
        own = sorted((x for x in rows if x["classifier"] == classifier), key=lambda x: x["fold"])
        if len(own) < len(plan["folds"]):
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
            units = [
                {"quarter": draw if name == "part_gan" else None,
                 "seed": 0 if name == "part_gan" else draw,
                 "tested": tested[k], "probabilities": answers}
                for k, row in enumerate(own)
                for name in (arm, "part_gan")[: 1 + primary]
                for draw, answers in enumerate(row["arms"][name])
            ]  # fmt: skip
            summary = summarise_folds(base, units)
            del summary["advice"]  # for a study's own seeds
            found[arm.replace("classic_gan", classifier)] = summary
    return found


def compare_arms(
    arms: dict[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, seed: int
) -> dict[str, Any]:
    """Balanced accuracy of each arm, and the gains of `PAIRS`, averaged over seeds or quarters.

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

    plan, slices = files.read_json(FOLDS_FILE), read_folder(data)
    if slices.fingerprint != plan.get("fingerprint"):
        raise CourseError(f"{data} holds other slices than {FOLDS_FILE.name} describes.")
    images, labels = preprocessing.prepare(slices.greys), slices.table["label"].to_numpy()
    names = slices.table["file"].tolist()
    place, groups = {name: k for k, name in enumerate(names)}, plan["groups"]
    found = []
    for number, fold in enumerate(plan["folds"]):
        parts = {}
        for kind in ("train", "validation", "test"):
            chosen = sorted(place[name] for name in fold[kind])
            of_part = np.array([groups[names[k]] for k in chosen])
            parts[kind] = images[chosen], labels[chosen], of_part
        train = sorted(place[name] for name in fold["train"])
        quarters = [np.isin(train, [place[x] for x in part]) for part in fold["quarters"]]
        tested = sorted(place[name] for name in fold["test"])
        found.append(Fold(number, parts, quarters, tested, gans))
    return plan, found


def missing(fold: Fold) -> list[str]:
    """Folders of the fold whose training is not finished."""
    where = [f"{kind}/fold-{fold.number}" for kind in ("paper", "brief")]
    where += [f"quarter/fold-{fold.number}-{k}" for k in range(TRAINED_QUARTERS)]
    wanted = [fold.gans / each / name for each in where for name in CLASSES]
    return [str(each) for each in wanted if not (each / "done.json").exists()]


@command
def main(arguments: list[str] | None = None) -> None:
    """Score the folds that are missing, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the real set")
    parser.add_argument("--gans", type=Path, required=True, help="what published_gans.py trained")
    parser.add_argument("--classifier", choices=("bundled", "resnet50"), default="bundled")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    machine.setup()
    plan, of_set = read_folds(asked.data, asked.gans)
    rows = files.read_json(asked.results).get("rows", [])
    done = {(row["fold"], row["classifier"]) for row in rows}
    score = {"bundled": score_bundled, "resnet50": score_resnet50}[asked.classifier]
    for fold in of_set:
        if (fold.number, asked.classifier) in done:
            continue
        if wanted := missing(fold):
            print(f"fold {fold.number}: {len(wanted)} GANs are missing, such as {wanted[0]}")
            continue
        started = time.monotonic()
        labels = fold.parts["test"][1].tolist()
        row = {"fold": fold.number, "classifier": asked.classifier, "tested": fold.tested}
        row |= {"labels": labels} | score(fold)
        row |= {"seconds": time.monotonic() - started, "commit": commit()}
        rows = sorted(
            [*rows, row | {"versions": machine.versions()}],
            key=lambda each: (each["classifier"], each["fold"]),
        )
        content = {
            "command": "python experiments/published.py --data head-ct-hemorrhage --gans FOLDER",
            "settings": {"primary": PRIMARY, "seeds": SEEDS, "epochs": EPOCHS},
            "versions": machine.versions(),
            "summary": summarise(rows, plan),
            "rows": rows,
        }
        files.write_json(asked.results, content)
        print(f"fold {fold.number}: {row['seconds'] / 60:.0f} min", flush=True)


if __name__ == "__main__":
    sys.exit(main())
