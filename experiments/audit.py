"""Does the audit recognise sets with a known fault, and leave true ones alone?

    python experiments/audit.py

A set has 200 generated images, and 200 real ones (144 of training, 56 held out) to compare them
with: simulated haemorrhages, a fifth of each kind of bleed, or drawn textures. The generated ones
are true new images, or have one fault: grain over blurred shapes, a grid, a blur of 0.7 pixels, one
kind of five missing, or 5 % copies. The blur is also the yardstick for what a GAN at 32 pixels
loses: the file has each measure's value with and without it.

The two-sample test alone takes little time, so it is also asked about 300 sets without a fault and
300 with one kind missing. Without a fault it may call no more than one in twenty told apart. The
intervals of all rates count the sets as independent. But each set has 400 of the same 900 images,
so these intervals may be too narrow.
"""

import argparse
import sys
from collections import defaultdict

import numpy as np

from course.commands import command
from helpers import files, intervals, machine
from helpers.files import CourseError

RESULTS = files.RESULTS / "audit.json"
TRAIN, HELD_OUT, NEW, COPIES = 144, 56, 200, 10
POOL, SEED = 900, 505
LEVEL_SETS = 300
TESTED = ("true", "one kind missing")  # by the two-sample test
FAULTS = ("true", "grain", "grid", "blur", "one kind missing", "copies")
WORLDS = {"heads": ("imagenet", "judge"), "textures": ("imagenet",)}
MEASURES = ("kid", "precision", "recall", "density", "coverage")


def draw_heads(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Simulated haemorrhages of `n` people, each kind of bleed as often, and the kinds."""
    from helpers import phantom, preprocessing

    rng = np.random.default_rng(seed)
    kinds = rng.integers(len(phantom.BLEEDS), size=n)
    greys = [
        phantom.draw_slice(phantom.random_patient(rng), rng, bleed=phantom.BLEEDS[kind])
        for kind in kinds
    ]
    return preprocessing.prepare(greys), kinds


def spoil(pool: np.ndarray) -> dict[str, np.ndarray]:
    """The whole pool under each fault of quality."""
    from helpers import planted

    rng = np.random.default_rng(SEED)
    return {
        "grain": planted.grain_over_blobs(pool, rng),
        "grid": planted.add_grid(pool),
        "blur": planted.blur(pool),
    }


def plant(fault, order, pool, kinds, spoilt, draw) -> np.ndarray:
    """The generated images of one set: people whom the real ones don't show."""
    from helpers import planted

    rng = np.random.default_rng([SEED, draw])
    others = order[TRAIN + HELD_OUT :]
    if fault == "one kind missing":
        others = others[kinds[others] != draw % 5]
    images = spoilt.get(fault, pool)[others[:NEW]]
    if fault == "copies":
        images = planted.plant_copies(images, pool[order[:TRAIN]], COPIES, rng)[0]
    return images


def measure_set(fault, images, train, held_out, draw, spaces) -> dict:
    """What decides whether the audit recognises this set, as `measures.audit_class` measures it.

    The two-sample test is left out where the set cannot be taken for good images anyway, and the
    search for copies where nothing but it could call for one.
    """
    from helpers import copies, measures
    from helpers.judge import describe

    real = np.concatenate([train, held_out])
    row = {"fault": fault, "draw": draw}
    for space in spaces:
        features = describe(real, space), describe(images, space)
        found = measures.quality(*features, draw)
        row[space] = {name: found[name] for name in (*MEASURES, "resembles")}
        if fault in TESTED:
            row[space] |= compare_sets(*features, draw)
    row["resembles"] = all(row[space]["resembles"] for space in spaces)
    row["told_apart"] = row["copies_flagged"] = None
    if fault in TESTED:
        p_values = [row[space]["p_value"] for space in spaces]
        row["told_apart"] = measures.tells_apart(p_values)
    if fault in ("true", "copies"):
        found = copies.find_copies(images, train, held_out, np.arange(len(real)))
        row["copies_flagged"] = found["flagged"]
    return row


def compare_sets(real, drawn, seed) -> dict[str, float]:
    """What the two-sample test says of two sets of features, as in `measures.audit_class`."""
    from helpers import measures

    found = measures.two_sample_test(*measures.principal_components(real, drawn), seed)
    return {name: found[name] for name in ("accuracy", "p_value")}


def measure_level(pool, kinds, spaces) -> dict[str, dict]:
    """How often the two-sample test tells true sets apart, and sets with one kind missing."""
    from helpers import measures
    from helpers.judge import describe

    features = {space: describe(pool, space) for space in spaces}
    told = defaultdict(list)
    for draw in range(LEVEL_SETS):
        order = np.random.default_rng([SEED, 1, draw]).permutation(len(pool))
        real, others = np.split(order, [TRAIN + HELD_OUT])
        for fault in TESTED:
            if fault == "one kind missing":
                others = others[kinds[others] != draw % 5]
            p_values = [
                compare_sets(values[real], values[others[:NEW]], draw)["p_value"]
                for values in features.values()
            ]
            told[fault].append(measures.tells_apart(p_values))
    return {
        fault: {
            "sets": LEVEL_SETS,
            "told_apart": float(np.mean(answers)),
            "ci": intervals.wilson_interval(sum(answers), LEVEL_SETS),
        }
        for fault, answers in told.items()
    }


def recognised(row: dict) -> bool:
    """Whether the audit says what there is to say of this set; of a true one, that it is good."""
    if row["fault"] == "true":
        return row["resembles"] and not row["told_apart"] and not row["copies_flagged"]
    if row["fault"] == "copies":
        return row["copies_flagged"]
    return not row["resembles"] or bool(row["told_apart"])


def summarise(rows: list[dict]) -> tuple[dict, dict]:
    """Rates by world and fault, and the means of the measures."""
    rates, means = defaultdict(dict), defaultdict(lambda: defaultdict(dict))
    for world, spaces in WORLDS.items():
        for fault in FAULTS:
            some = [row for row in rows if (row["world"], row["fault"]) == (world, fault)]
            if not some:
                continue
            count = sum(recognised(row) for row in some)
            rates[world][fault] = {
                "sets": len(some),
                "recognised": count / len(some),
                "ci": intervals.wilson_interval(count, len(some)),
            }
            for name in ("resembles", "told_apart", "copies_flagged"):
                if some[0][name] is not None:
                    rates[world][fault][name] = float(np.mean([row[name] for row in some]))
            for space in spaces:
                means[world][fault][space] = {
                    name: float(np.mean([row[space][name] for row in some]))
                    for name in (*MEASURES, "resembles")
                }
    return rates, means


@command
def main(arguments: list[str] | None = None) -> None:
    """Draw, measure, count, and write; what an earlier call has measured is kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=20, help="sets of each kind")
    parser.add_argument("--world", choices=list(WORLDS), help="measure only this one")
    asked = parser.parse_args(arguments)
    machine.setup()
    from helpers import planted

    made = {
        "images": {"train": TRAIN, "held_out": HELD_OUT, "generated": NEW, "copies": COPIES},
        "faults": {"grain": planted.GRAIN, "grid": planted.GRID, "blur_pixels": planted.BLUR},
    }
    known = files.read_json(RESULTS)
    if known and any(known[name] != made[name] for name in made):
        raise CourseError(f"{RESULTS} has rows with other images or faults: move it away.")
    rows, level = known.get("rows", []), known.get("level", {})
    pools = {"heads": draw_heads(POOL, SEED), "textures": planted.draw_textures(POOL, SEED)}
    spoilt = {world: spoil(pool) for world, (pool, _) in pools.items()}
    for world, spaces in WORLDS.items():
        if world not in level and asked.world in (None, world):
            level[world] = measure_level(*pools[world], spaces)
    for draw in range(asked.sets):
        order = np.random.default_rng([SEED, draw]).permutation(POOL)
        for world, spaces in WORLDS.items():
            done = any((row["world"], row["draw"]) == (world, draw) for row in rows)
            if done or asked.world not in (None, world):
                continue
            pool, kinds = pools[world]
            train, held_out = np.split(pool[order[: TRAIN + HELD_OUT]], [TRAIN])
            for fault in FAULTS:
                images = plant(fault, order, pool, kinds, spoilt[world], draw)
                row = measure_set(fault, images, train, held_out, draw, spaces)
                rows.append({"world": world} | row)
        rates, means = summarise(rows)
        files.write_json(
            RESULTS,
            {
                "command": "python experiments/audit.py",
                **made,
                "versions": machine.versions(),
                "rates": rates,
                "level": level,
                "means": means,
                "rows": rows,
            },
        )
        print(draw + 1, "sets of each kind", flush=True)
    for world, by_fault in rates.items():
        for fault, rate in by_fault.items():
            print(world, fault, rate)


if __name__ == "__main__":
    sys.exit(main())
