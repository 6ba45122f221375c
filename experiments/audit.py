"""Does the audit recognise sets with a known fault, and leave true ones alone?

    python experiments/audit.py

A set has 200 generated images, and 200 real ones (144 of training, 56 held out) to compare them
with: simulated haemorrhages, a fifth of each kind of bleed, or drawn textures. The generated ones
are true new images, or have one fault: grain over blurred shapes, a grid, a blur of 0.7 pixels, one
kind of five missing, or 5 % copies. The blur is also the yardstick for what a GAN at 32 pixels
loses: the file has each measure's value with and without it.
"""

import argparse
from collections import defaultdict

import numpy as np

from helpers import files, intervals, machine

RESULTS = files.PROJECT / "experiments" / "results" / "audit.json"
TRAIN, HELD_OUT, NEW, COPIES = 144, 56, 200, 10
POOL, SEED = 900, 505
FAULTS = ("true", "grain", "grid", "blur", "one kind missing", "copies")
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


def recognised(fault: str, report: dict) -> bool:
    """Whether the audit says what there is to say of this set, and nothing else."""
    copied = report["copying"]["flagged"]
    good, told_apart = report["resembles"], report["told_apart"]
    if fault == "true":
        return good and not told_apart and not copied
    if fault == "copies":
        return copied
    return not good or (fault == "one kind missing" and told_apart)


def main() -> None:
    """Draw, audit, count, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=20, help="of each kind")
    asked = parser.parse_args()
    with machine.quiet():
        from helpers import measures, planted

    rows = []
    for world, drawer in (("heads", draw_heads), ("textures", planted.draw_textures)):
        pool, kinds = drawer(POOL, SEED)
        spoilt = spoil(pool)
        for draw in range(asked.sets):
            order = np.random.default_rng([SEED, draw]).permutation(POOL)
            train, held_out = np.split(pool[order[: TRAIN + HELD_OUT]], [TRAIN])
            for fault in FAULTS:
                images = plant(fault, order, pool, kinds, spoilt, draw)
                report = measures.audit_class(
                    images,
                    train,
                    held_out,
                    np.arange(TRAIN + HELD_OUT),
                    draw,
                    simulated=world == "heads",
                )
                row = {
                    "world": world,
                    "draw": draw,
                    "fault": fault,
                    "recognised": recognised(fault, report),
                    "resembles": report["resembles"],
                    "told_apart": report["told_apart"],
                    "copies_flagged": report["copying"]["flagged"],
                }
                for space, found in report["spaces"].items():
                    row[space] = {name: found[name] for name in MEASURES}
                    row[space] |= {
                        "resembles": found["resembles"],
                        "told_apart": found["realism"]["accuracy"],
                        "p_value": found["realism"]["p_value"],
                    }
                rows.append(row)
            print(world, draw + 1, flush=True)

    rates, means = defaultdict(dict), defaultdict(lambda: defaultdict(dict))
    for world in ("heads", "textures"):
        for fault in FAULTS:
            some = [row for row in rows if (row["world"], row["fault"]) == (world, fault)]
            count = sum(row["recognised"] for row in some)
            rates[world][fault] = {
                "sets": len(some),
                "recognised": count / len(some),
                "ci": intervals.wilson_interval(count, len(some)),
                "resembles": sum(row["resembles"] for row in some) / len(some),
                "told_apart": sum(row["told_apart"] for row in some) / len(some),
                "copies_flagged": sum(row["copies_flagged"] for row in some) / len(some),
            }
            for space in ("imagenet", "judge") if world == "heads" else ("imagenet",):
                means[world][fault][space] = {
                    name: float(np.mean([row[space][name] for row in some])) for name in MEASURES
                } | {
                    "resembles": float(np.mean([row[space]["resembles"] for row in some])),
                    "told_apart": float(np.mean([row[space]["told_apart"] for row in some])),
                }
            print(world, fault, rates[world][fault])
    files.write_json(
        RESULTS,
        {
            "command": "python experiments/audit.py",
            "images": {"train": TRAIN, "held_out": HELD_OUT, "generated": NEW, "copies": COPIES},
            "faults": {
                "grain": planted.GRAIN,
                "grid": planted.GRID,
                "blur_pixels": planted.BLUR,
            },
            "versions": machine.versions(),
            "rates": rates,
            "means": means,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
