"""Does the test for copies catch copies, and nothing else? Many draws where the truth is known.

    python experiments/copying.py

Each draw deals simulated haemorrhages to training (72), held-out (17) and fresh ones (100), as in
the course, and plants copies or none. Beside the course's test stands the plain one:
do more generated images than chance allows lie nearer to a training image than the nearest
twentieth of held-out ones does? What each says goes into `results/copying.json`, one row a draw and
kind, with how often it flags, which notebook 04 shows.
"""

import argparse

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from scipy.stats import binomtest

from helpers import files, intervals, machine

RESULTS = files.RESULTS / "copying.json"
TRAIN, HELD_OUT, GENERATED = 72, 17, 100


def move(images: np.ndarray, rng: np.random.Generator, least: int = 0, most: int = 2) -> np.ndarray:
    """Shift each image by `least` to `most` pixels either way, and mirror every other one."""
    shifts = rng.integers(least, most + 1, (len(images), 2))
    shifts *= rng.choice([-1, 1], shifts.shape)
    moved = np.stack([np.roll(x, s, (0, 1)) for x, s in zip(images, shifts, strict=True)])
    mirrored = rng.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], moved[:, :, ::-1], moved)


PLANTED = {
    "copies": lambda copies, fresh, rng: copies,
    "copies under noise": lambda copies, fresh, rng: copies + rng.normal(0, 0.3, copies.shape),
    "copies, shifted and mirrored": lambda copies, fresh, rng: move(copies, rng),
    "copies, shifted too far": lambda copies, fresh, rng: move(copies, rng, 4, 4),
    "one copy in three": lambda copies, fresh, rng: np.concatenate([copies[:33], fresh[33:]]),
    "one copy in five": lambda copies, fresh, rng: np.concatenate([copies[:20], fresh[20:]]),
    "one copy in ten": lambda copies, fresh, rng: np.concatenate([copies[:10], fresh[10:]]),
    "fresh slices": lambda copies, fresh, rng: fresh,
    "fresh slices, blurred": lambda copies, fresh, rng: gaussian_filter(fresh, (0, 0.8, 0.8, 0)),
}


def plain_test(made: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> bool:
    """Whether more images than chance allows lie nearer to training than 19 of 20 held-out do."""
    train, *others = (x.reshape(len(x), -1) for x in (train, made, held_out))
    nearest, usual = (cdist(x, train).min(axis=1) for x in others)
    near = int(np.sum(nearest < np.quantile(usual, 0.05)))
    return bool(binomtest(near, len(nearest), 0.05, alternative="greater").pvalue < 0.05)


def main() -> None:
    """Draw, test, count, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=100)
    draws = parser.parse_args().draws
    with machine.quiet():
        from helpers import measures, preprocessing
        from helpers.judge import judge_features, load_judge

    images, labels = preprocessing.fresh_slices(3000, 404)
    pool, judge = images[labels == 1], load_judge()
    rows = []
    for k in range(draws):
        rng = np.random.default_rng([404, k])
        chosen = pool[rng.permutation(len(pool))[: TRAIN + HELD_OUT + GENERATED]]
        train, held_out, fresh = np.split(chosen, (TRAIN, TRAIN + HELD_OUT))
        copies = train[rng.integers(0, TRAIN, GENERATED)]
        for name, plant in PLANTED.items():
            made = plant(copies, fresh, rng).astype("float32")
            found = measures.copying_audit(
                made, train, held_out, np.arange(TRAIN + HELD_OUT),
                lambda x: judge_features(x, judge), seed=k,
            )  # fmt: skip
            flagged = {"course": found["flagged"], "plain": plain_test(made, train, held_out)}
            rows.append({"draw": k, "planted": name, **flagged})

    def rate(name, test):
        count = sum(row[test] for row in rows if row["planted"] == name)
        return {"share": count / draws, "ci": intervals.wilson_interval(count, draws)}

    rates = {name: {test: rate(name, test) for test in ("course", "plain")} for name in PLANTED}
    files.write_json(
        RESULTS,
        {
            "command": "python experiments/copying.py",
            "draws": draws,
            "images": {"train": TRAIN, "held_out": HELD_OUT, "generated": GENERATED},
            "versions": machine.versions(),
            "flagged": rates,
            "rows": rows,
        },
    )
    for name, found in rates.items():
        print(f"{name:<30}", {test: round(rate["share"], 2) for test, rate in found.items()})


if __name__ == "__main__":
    main()
