"""Does the test for copies catch copies, and nothing else? Many sets where the truth is known.

    python experiments/copying.py [--data path/to/head-ct-hemorrhage]

Each draw has 72 training images, 28 held-out ones and 200 new ones, simulated slices of one class
(haemorrhage in every other draw) or drawn textures. Copies of training images, each in a disguise,
take the place of some of the new ones. In further draws three people have four slices each among
the real ones, and four more each among the new ones. Beside the course's test stands its older one,
which permutes training and held-out images. With `--data` the same is asked of the real set: in a
draw, six in ten people train or are held out, and the slices of the others are the new ones. (In
the committed rows of the real set, training and held-out slices were cut in the order of files. So
the held-out slices were always the last files.)

The rates, and one row a set, go into `experiments/results/copying.json`.
"""

import argparse
import sys
from collections import defaultdict

import numpy as np

from course.commands import command
from helpers import files, intervals, machine

RESULTS = files.RESULTS / "copying.json"
TRAIN, HELD_OUT, NEW, COPIES, FEW = 72, 28, 200, 10, 2
PEOPLE, SLICES = 3, 4  # with several slices, of which one is held out
SEED = 404


def draw_pool(world: str, count: int) -> np.ndarray:
    """As many new images of one class, or textures."""
    from helpers import planted, preprocessing

    if world == "textures":
        return planted.draw_textures(count, SEED)[0]
    images, labels = preprocessing.fresh_slices(2 * count, SEED)
    return images[labels == (world == "haemorrhage")]


def draw_people(label: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two times four slices each of three people: for the real images, and for the new ones."""
    from helpers import phantom, preprocessing

    slices = []
    for _ in range(PEOPLE):
        patient = phantom.random_patient(rng)
        bleed = "intraparenchymal" if label else None
        levels = np.sort(rng.uniform(0, 1, 2 * SLICES))
        greys = [phantom.draw_slice(patient, rng, bleed=bleed, level=level) for level in levels]
        slices.append(preprocessing.prepare(greys))
    slices = np.stack(slices)
    return slices[:, ::2], slices[:, 1::2]


def permutation_test(
    distances: np.ndarray, groups: np.ndarray, trained: int, seed: int, draws: int = 999
) -> bool:
    """The older test: are images nearer to training images than permuted groups would be?"""
    names, group = np.unique(groups, return_inverse=True)
    held_out = ~np.isin(np.arange(len(names)), group[:trained])
    nearest = np.bincount(group[distances.argmin(axis=1)], minlength=len(names))
    doubles = np.array([distances[:, group == k].min() for k in range(len(names))])
    rng = np.random.default_rng(seed)
    found = nearest[held_out].sum(), -doubles[held_out].sum()
    permuted = np.array([rng.permutation(held_out) for _ in range(draws)])
    chance = permuted @ nearest, permuted @ -doubles
    p_values = [
        (1 + np.sum(c <= f + 1e-9)) / (1 + draws) for c, f in zip(chance, found, strict=True)
    ]
    return bool(2 * min(p_values) < 0.05)


def measure(distances, groups, trained, among_real, places=(), seed=0) -> dict:
    """One row: what the test says of images at these distances, given what was planted where."""
    from helpers import copies

    found = copies.name_copies(distances, among_real, np.arange(len(groups)), groups, trained)
    named = {copy["image"] for copy in found["copies"]}
    share = len(places) / len(distances)
    return {
        "flagged": found["flagged"],
        "named": len(named & set(np.asarray(places).tolist())),
        "wrongly_named": len(named - set(np.asarray(places).tolist())),
        "covered": bool(found["ci"][0] <= share <= found["ci"][1]),
        "repeats": found["repeats"],
        "permutation": permutation_test(distances, groups, trained, seed),
    }


def run_draw(world: str, pool: np.ndarray, seed: list[int]) -> list[dict]:
    """All kinds of sets in one draw."""
    from helpers import copies, planted

    rng = np.random.default_rng(seed)
    chosen = pool[rng.permutation(len(pool))[: TRAIN + HELD_OUT + NEW]]
    real, fresh = np.split(chosen, [TRAIN + HELD_OUT])
    groups = np.arange(len(real))
    rows, seen = [], {}

    def known_distances(images, real):
        key = images.tobytes() + real.tobytes()
        if key not in seen:
            seen[key] = copies.aligned_distances(images, real)
        return seen[key]

    def add(kind, images, real, groups, copied=None):
        """One row; only the planted images are compared anew, for `images` are mostly the same."""
        among_real = known_distances(real, real)
        distances, places = known_distances(images, real), ()
        if copied:
            made, places, _ = planted.plant_copies(images, real[:TRAIN], *copied)
            distances = distances.copy()
            distances[places] = copies.aligned_distances(made[places], real)
        rows.append({"kind": kind} | measure(distances, groups, TRAIN, among_real, places))

    for name, disguise in (planted.DISGUISES | {"mixed": planted.mix}).items():
        add(f"copies: {name}", fresh, real, groups, (COPIES, rng, disguise))
    add("two copies: mixed", fresh, real, groups, (FEW, rng))
    add("new", fresh, real, groups)
    add("new, blurred", planted.blur(fresh), real, groups)
    if world != "textures":
        known, further = draw_people(world == "haemorrhage", rng)
        more = PEOPLE * (SLICES - 1)
        train, held_out = real[: TRAIN - more], real[TRAIN : TRAIN + HELD_OUT - PEOPLE]
        in_training = known[:, :-1].reshape(-1, *train.shape[1:])
        real = np.concatenate([train, in_training, held_out, known[:, -1]])
        person = 1000 + np.arange(PEOPLE)
        singles = np.split(np.arange(len(train) + len(held_out)), [len(train)])
        groups = np.concatenate([singles[0], np.repeat(person, SLICES - 1), singles[1], person])
        further = further.reshape(-1, *train.shape[1:])
        fresh = np.concatenate([fresh[: -len(further)], further])
        add("new, people on both sides", fresh, real, groups)
        add("copies: mixed, people on both sides", fresh, real, groups, (COPIES, rng))
    return [{"world": world} | row for row in rows]


def choose_known(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw six in ten people; their slices, person by person in random order, as ``(m,)`` places.

    The first slices are to train, and the last ones are held out.
    """
    order = rng.permutation(np.unique(groups))
    people = order[: round(0.6 * len(order))]
    return np.concatenate([np.flatnonzero(groups == person) for person in people])


def run_real(data: str, draws: int) -> tuple[list[dict], list[list[str]]]:
    """The same on the real set, and which of its slices look like one picture."""
    from helpers import copies, folder, planted, preprocessing

    slices = folder.read_folder(data)
    prepared, labels = preprocessing.prepare(slices.greys), slices.table["label"].to_numpy()
    names = slices.table["file"].to_numpy()
    all_groups = folder.find_groups(slices).groups
    rows, twins = [], []
    for label, world in ((1, "real haemorrhage"), (0, "real clear")):
        images, groups = prepared[labels == label], all_groups[labels == label].copy()
        own = names[labels == label]
        distances = copies.aligned_distances(images, images)
        everyone = np.arange(len(images))
        found = copies.name_copies(distances, distances, everyone, groups, len(images))
        twins += [[str(own[i]), str(own[j])] for i, j in found["twins"]]
        for i, j in found["twins"]:
            groups[groups == groups[i]] = groups[j]
        for draw in range(draws):
            rng = np.random.default_rng([SEED, label, draw])
            known = choose_known(groups, rng)
            real, fresh = images[known], np.delete(images, known, axis=0)
            trained = round(TRAIN / (TRAIN + HELD_OUT) * len(real))
            made, places, _ = planted.plant_copies(fresh, real[:trained], FEW, rng)
            for kind, generated, planted_at in (
                ("new", fresh, ()),
                ("new, blurred", planted.blur(fresh), ()),
                ("two copies: mixed", made, places),
            ):
                apart, among = copies.aligned_distances(generated, real), distances[known][:, known]
                row = measure(apart, groups[known], trained, among, planted_at)
                rows.append({"world": world, "kind": kind} | row)
    return rows, twins


@command
def main(arguments: list[str] | None = None) -> None:
    """Draw, test, count, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--data", help="folder of the real set; only numbers are kept")
    parser.add_argument("--real-only", action="store_true", help="keep the other rows as they are")
    asked = parser.parse_args(arguments)
    if asked.real_only and not asked.data:
        parser.error("--real-only needs --data")
    machine.setup()
    from helpers import copies

    before = files.read_json(RESULTS)
    real = [row for row in before.get("rows", []) if row["world"].startswith("real")]
    twins = before.get("real_twins", [])
    rows = [row for row in before["rows"] if row not in real] if asked.real_only else []
    pools = (
        {}
        if asked.real_only
        else {world: draw_pool(world, 1500) for world in ("haemorrhage", "clear", "textures")}
    )
    for draw in range(0 if asked.real_only else asked.draws):
        for number, world in enumerate((("haemorrhage", "clear")[draw % 2], "textures")):
            found = run_draw(world, pools[world], [SEED, number, draw])
            rows += [{"draw": draw} | row for row in found]
        if draw % 10 == 9:
            print(draw + 1, "draws", flush=True)
    if asked.data:
        real, twins = run_real(asked.data, 20)

    sets = defaultdict(list)
    for row in rows + real:
        world = "heads" if row["world"] in ("haemorrhage", "clear") else row["world"]
        sets[world, row["kind"]].append(row)
    rates = defaultdict(dict)
    for (world, kind), some in sets.items():
        counts = {key: sum(row[key] for row in some) for key in some[0] if key not in
                  ("draw", "world", "kind")}  # fmt: skip
        rates[world][kind] = {
            "sets": len(some),
            "flagged": counts["flagged"] / len(some),
            "ci": intervals.wilson_interval(counts["flagged"], len(some)),
            "named": counts["named"] / len(some),
            "wrongly_named": counts["wrongly_named"] / len(some),
            "interval_covers": counts["covered"] / len(some),
            "repeats": counts["repeats"] / len(some),
            "permutation": counts["permutation"] / len(some),
        }
        print(f"{world:<17}{kind:<36}", {k: v for k, v in rates[world][kind].items() if k != "ci"})
    files.write_json(
        RESULTS,
        {
            "command": "python experiments/copying.py"
            + (" --data head-ct-hemorrhage" if real else ""),
            "draws": before["draws"] if asked.real_only else asked.draws,
            "images": {"train": TRAIN, "held_out": HELD_OUT, "generated": NEW, "copies": COPIES},
            "level": copies.LEVEL,
            "versions": machine.versions(),
            "rates": rates,
            "real_twins": twins,
            "rows": rows + real,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
