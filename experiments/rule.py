"""How wide must a study's intervals be, and how often is the rule wrong? Hundreds of studies.

    python experiments/rule.py
    python experiments/rule.py --quarters 1 --generators few true --studies 60 \
        --results experiments/results/rule_one_quarter.json

Everything that `course study` fixes before it looks at a score is measured here, on simulated
slices, of which there is no end, so that the truth is known. A study has 200 slices of its own,
eight folds, and in each fold the arms of `course study`, fitted with the classifier *bundled*. In
the place of GANs stand generators whose quality is known, in each study two of these five:

- *true*: it draws true slices of new people, as a perfect GAN would;
- *few*: it draws twelve true new slices of each class, again and again in augmented views;
- *copies*: it draws augmented views of its training slices;
- *a third wrong*: true new slices, a third of them with the other label;
- *shuffled*: true new slices with labels drawn at random.

The truth of each gain is its mean over all studies, scored on 2,000 further slices. `factors` are
how many times as wide as the bootstrap's own the intervals must be to cover the truth in 95 of 100
studies, and at least 1. `answers` says how often the rule gives which answer with intervals of that
width. `errors` says how often it is wrong: *helps* at a true gain of 0 or less, *harms* at 0 or
more, *no_gain* and *no_room* where the truth is the margin or more. The intervals of these rates
count the studies as independent. But all studies draw from the same 3,000 slices, and all are
scored on the same 2,000, so these intervals may be too narrow.

`scatter` is for the plan of a study: how the estimates scatter with a weak generator (*few*) and
with a perfect one (*true*), and half the width of their intervals, not widened. A study has one
quarter of each fold with a GAN unless asked for more, so its plan uses the second command. Rows are
written ten at a time: the same command resumes where it was stopped.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from course.commands import command
from course.replicate import ADDED
from course.workers import THREADS
from helpers import files, machine
from helpers.arms import ARMS, compare
from helpers.verdict import FACTORS, FEWEST_REPLICATES, MARGIN, decide

POOL, TEST, SIZE, QUARTERS = 3000, 2000, 200, 3
VIEWS = ARMS["oracle"].views  # of added images
MOST_VIEWS = ARMS["classic_long"].views
FEW = 12  # slices of each class that the generator *few* knows
GENERATORS = ("true", "few", "copies", "a third wrong", "shuffled")
GAINS = tuple(FACTORS)


def make_pool(folder: Path) -> Path:
    """Features of all slices and their views, computed once: ``(n, views, 1280)``."""
    from helpers import bundled, preprocessing

    path = folder / f"pool-{POOL}-{TEST}.npz"
    if not path.exists():
        images, labels = preprocessing.fresh_slices(POOL, 31_000)
        test, test_labels = preprocessing.fresh_slices(TEST, 32_000)
        views = np.concatenate(
            [bundled.view_features(part, MOST_VIEWS) for part in np.split(images, 30)]
        )
        plain = bundled.view_features(test, 1)[:, 0]
        with files.atomic_write(path) as temporary:
            np.savez(
                temporary, views=views.astype("float16"), labels=labels,
                test=plain.astype("float16"), test_labels=test_labels,
            )  # fmt: skip
    return path


def added_images(kind: str, views: np.ndarray, labels: np.ndarray, new: tuple, rng) -> tuple:
    """Features ``(m, 4, 1280)`` and labels of what a generator draws, three times the real images.

    Args:
        kind: One of `GENERATORS`.
        views: ``(n, 16, 1280)`` of the real training images, and their `labels`.
        new: The same of true slices of new people, at least three times as many.
        rng: Random numbers.
    """
    count = ADDED * len(labels)
    new_views, new_labels = new[0], new[1].copy()
    if kind in ("true", "a third wrong", "shuffled"):
        wrong = {"true": 0, "a third wrong": 1 / 3, "shuffled": 1 / 2}[kind]
        swapped = rng.random(count) < wrong
        new_labels[swapped] = 1 - new_labels[swapped]
        return new_views[:, :VIEWS], new_labels
    if kind == "few":
        known = np.concatenate([np.flatnonzero(new_labels == k)[:FEW] for k in (0, 1)])
        views, labels = new_views[known], new_labels[known]
    chosen = rng.integers(0, len(labels), count)
    of_view = rng.integers(0, MOST_VIEWS, (count, VIEWS))
    return views[chosen[:, None], of_view], labels[chosen]


def run_study(
    number: int, pool: Path, quarters: int = QUARTERS, generators: tuple[str, ...] = ()
) -> dict[str, Any]:
    """One study: each gain by the rule's own estimate, and its truth on further slices.

    Args:
        number: Of the study; the seed of everything in it.
        pool: From `make_pool`.
        quarters: Of each fold.
        generators: By default, two of all in turns.
    """
    from helpers import bundled, folds, intervals

    rng = np.random.default_rng([41, number])
    with np.load(pool) as saved:
        labels_of_all = saved["labels"]
        mine = np.concatenate(
            [rng.permutation(np.flatnonzero(labels_of_all == k))[: SIZE // 2] for k in (0, 1)]
        )
        others = rng.permutation(np.setdiff1d(np.arange(POOL), mine))[: 4 * ADDED * SIZE]
        all_views = saved["views"]
        views, labels = all_views[mine].astype("float32"), labels_of_all[mine]
        new_views, new_labels = all_views[others].astype("float32"), labels_of_all[others]
        test, test_labels = saved["test"].astype("float32"), saved["test_labels"]
    kinds = generators or generators_of(number)
    groups = np.arange(SIZE)
    plan = folds.plan_folds(labels, groups, number, quarters=quarters, halves=0)
    arms = ["classic", "classic_long", "part", "part_long", "oracle_part"]
    arms += [f"{where}_{kind}" for where in ("gan", "part_gan") for kind in kinds]
    right = {name: np.zeros(SIZE) for name in arms}
    true = dict.fromkeys(arms, 0.0)

    def draw(kind, real, real_labels):
        of_class = [
            rng.permutation(np.flatnonzero(new_labels == k))[: ADDED * np.sum(real_labels == k)]
            for k in (0, 1)
        ]
        chosen = rng.permutation(np.concatenate(of_class))
        return added_images(kind, real, real_labels, (new_views[chosen], new_labels[chosen]), rng)

    def fit(name, real, real_labels, added=None, share=1.0):
        parts = real, real_labels
        if added is None:
            head = bundled.fit_head([bundled.weigh_classes(*parts, len(real))], real, exact=False)
        else:
            head = bundled.fit_with_added(*parts, *added, exact=False)
        tested = (head.answer(views[fold.test, 0]) >= 0.5) == labels[fold.test]
        right[name][fold.test] += share * tested
        rates = [np.mean((head.answer(test[test_labels == k]) >= 0.5) == k) for k in (0, 1)]
        true[name] += share * float(np.mean(rates)) / len(plan)

    for fold in plan:
        real, real_labels = views[fold.train], labels[fold.train]
        fit("classic", real[:, :VIEWS], real_labels)
        fit("classic_long", real, real_labels)
        for kind in kinds:
            added = draw(kind, real, real_labels)
            fit(f"gan_{kind}", real[:, :VIEWS], real_labels, added)
        for quarter in fold.quarters:
            real, real_labels = views[quarter], labels[quarter]
            rest = fold.train & ~quarter
            fit("part", real[:, :VIEWS], real_labels, share=1 / len(fold.quarters))
            fit("part_long", real, real_labels, share=1 / len(fold.quarters))
            oracle = views[rest, :VIEWS], labels[rest]
            fit("oracle_part", real[:, :VIEWS], real_labels, oracle, share=1 / len(fold.quarters))
            for kind in kinds:
                added = draw(kind, real, real_labels)
                fit(
                    f"part_gan_{kind}",
                    real[:, :VIEWS],
                    real_labels,
                    added,
                    share=1 / len(fold.quarters),
                )
    weights = folds.image_weights(labels, groups)
    samples = intervals.resample_groups(labels, groups, number)
    row: dict[str, Any] = {"study": number, "true": true}
    row["estimate"] = {name: float(weights @ right[name]) for name in arms}
    row["gains"] = {
        kind: {
            gain: [found["mean"], *found["ci"]]
            for gain, (first, second) in pairs(kind).items()
            for found in [
                intervals.pooled_mean(right[first] - right[second], labels, weights, samples)
            ]
        }
        for kind in kinds
    }
    return row


def generators_of(number: int) -> tuple[str, str]:
    """Two generators for each study, in turns."""
    return tuple(GENERATORS[(number + step) % len(GENERATORS)] for step in (0, 2))


def pairs(kind: str) -> dict[str, tuple[str, str]]:
    """Which arms each gain compares, with this generator."""
    return compare(f"gan_{kind}", f"part_gan_{kind}", "oracle_part", "part")


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """True gains, factors, and how often the rule gives which answer."""
    from helpers import intervals

    kinds = [kind for kind in GENERATORS if any(kind in row["gains"] for row in rows)]
    names = {name for row in rows for name in row["true"]}
    arms = {
        name: float(np.mean([row["true"][name] for row in rows if name in row["true"]]))
        for name in sorted(names)
    }
    truth = {
        kind: {gain: arms[a] - arms[b] for gain, (a, b) in pairs(kind).items()} for kind in kinds
    }
    needed: dict[str, list[float]] = {gain: [] for gain in GAINS}
    covered: dict[str, list[bool]] = {gain: [] for gain in GAINS}
    for row in rows:
        for kind, found in row["gains"].items():
            for gain, (mean, low, high) in found.items():
                error = truth[kind][gain] - mean
                side = high - mean if error > 0 else mean - low
                needed[gain].append(abs(error) / max(side, 1e-9))
                covered[gain].append(low <= truth[kind][gain] <= high)
    factors = {
        gain: max(1.0, round(float(np.quantile(found, 0.95)), 2)) for gain, found in needed.items()
    }
    answers: dict[str, dict[str, float]] = {}
    wrong: dict[str, list[bool]] = {name: [] for name in ("helps", "harms", "no_gain", "no_room")}
    no_room: dict[int, bool] = {}  # by study
    scatter: dict[str, dict[str, Any]] = {}
    held: dict[str, dict[str, float]] = {}
    for kind in kinds:
        said = []
        for row in rows:
            if kind not in row["gains"]:
                continue
            gains = {
                gain: {"ci": [mean + factors[gain] * (edge - mean) for edge in (low, high)]}
                for gain, (mean, low, high) in row["gains"][kind].items()
            }
            said.append(decide(gains, FEWEST_REPLICATES))
        answers[kind] = {"studies": len(said)} | {
            name: said.count(name) / len(said) for name in (*wrong, "undecided")
        }
        found = truth[kind]
        for name, false in (
            ("helps", found["exposure"] <= 0), ("harms", found["exposure"] >= 0),
            ("no_gain", found["stronger"] >= MARGIN),
        ):  # fmt: skip
            if false:
                wrong[name] += [answer == name for answer in said]
        if found["oracle"] >= MARGIN:  # one oracle for both generators of a study: it counts once
            of_kind = [row["study"] for row in rows if kind in row["gains"]]
            for study, answer in zip(of_kind, said, strict=True):
                no_room[study] = no_room.get(study, False) or answer == "no_room"
        of_kind = [row["gains"][kind] for row in rows if kind in row["gains"]]
        values = np.array([[gains[gain] for gain in GAINS] for gains in of_kind])
        widened = np.array([factors[gain] for gain in GAINS])
        mean, low, high = (values[..., k] for k in range(3))
        expected = np.array([found[gain] for gain in GAINS])
        inside = (mean + widened * (low - mean) <= expected) & (
            expected <= mean + widened * (high - mean)
        )
        held[kind] = dict(zip(GAINS, inside.mean(axis=0).tolist(), strict=True))
        if kind in ("few", "true"):
            half = (high - low).mean(axis=0) / 2
            scatter[kind] = {
                "covariance": np.cov(mean.T).tolist(),
                "half_width": dict(zip(GAINS, half.tolist(), strict=True)),
            }
    wrong["no_room"] = list(no_room.values())
    return {
        "studies": len(rows),
        "arms": arms,
        "stronger": {
            "whole": max(("classic", "classic_long"), key=arms.get),
            "quarter": max(("part", "part_long"), key=arms.get),
        },
        "true_gains": truth,
        "covered_unwidened": {gain: float(np.mean(found)) for gain, found in covered.items()},
        "factors": factors,
        "covered_widened": held,
        "scatter": scatter,
        "answers": answers,
        "errors": {
            name: {
                "studies": len(found),
                "wrong": float(np.mean(found)),
                "ci": list(intervals.wilson_interval(int(np.sum(found)), len(found))),
            }
            for name, found in wrong.items()
            if found
        },
    }


def keep(results: Path, settings: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write what is finished, with its summary."""
    content = {
        "command": " ".join(["python experiments/rule.py", *sys.argv[1:]]),
        "settings": settings,
        "versions": machine.versions(),
        "summary": summarise(rows),
        "rows": rows,
    }
    files.write_json(results, content)
    print(len(rows), "studies", flush=True)


@command
def main(arguments: list[str] | None = None) -> None:
    """Run the studies that are missing, and write after every tenth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--quarters", type=int, default=QUARTERS, help="of each fold")
    parser.add_argument("--generators", nargs="+", choices=GENERATORS, default=[],
                        help="in each study; default: two of all in turns")  # fmt: skip
    parser.add_argument("--at-once", type=int, default=2, help="studies at once, 1 GB each")
    parser.add_argument("--work", type=Path, default=Path("runs/rule"), help="for features")
    parser.add_argument("--results", type=Path, default=files.RESULTS / "rule.json")
    asked = parser.parse_args(arguments)
    results = asked.results
    os.environ.update(dict.fromkeys(THREADS, "1"))
    machine.setup()
    pool = make_pool(files.make_folder(files.project_path(asked.work)))
    from helpers import bundled

    settings = {
        "slices": SIZE, "positives": SIZE // 2, "pool": POOL, "test": TEST,
        "quarters": asked.quarters, "generators": asked.generators or list(GENERATORS),
        "few": FEW, "C": bundled.C,
    }  # fmt: skip
    rows = files.read_results(results, settings).get("rows", [])
    done = {row["study"] for row in rows}
    todo = [
        joblib.delayed(run_study)(k, pool, asked.quarters, tuple(asked.generators))
        for k in range(asked.studies)
        if k not in done
    ]
    for row in joblib.Parallel(asked.at_once, return_as="generator_unordered")(todo):
        rows = sorted([*rows, row], key=lambda row: row["study"])
        if len(rows) % 10 == 0:
            keep(results, settings, rows)
    keep(results, settings, rows)


if __name__ == "__main__":
    sys.exit(main())
