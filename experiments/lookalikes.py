"""How many changed copies does `helpers.lookalikes` find, and whom does it join wrongly?

    python experiments/lookalikes.py

Sets of 300 originals, heads of different people or textures, with 100 copies of each single change
(cropped, stretched in contrast, saved as JPEG, enlarged, marked), and with eight augmented copies
of each original. Writes `experiments/results/lookalikes.json`.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from course.commands import command
from helpers import files, intervals, lookalikes, machine, phantom, preprocessing

RESULT = files.RESULTS / "lookalikes.json"
EDGE = 160  # pixels of an original
AUGMENTED = 8  # copies of each original


@command
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--originals", type=int, default=300)
    parser.add_argument("--copies", type=int, default=100, help="copies for each kind of change")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    content = {
        "command": "python experiments/lookalikes.py",
        "versions": machine.versions(),
        "originals": asked.originals,
        "copies": asked.copies,
        "seed": asked.seed,
        "least_detail": lookalikes.LEAST_DETAIL,
    }
    for kind, draw in (("heads", draw_heads), ("textures", draw_textures)):
        originals = draw(asked.originals, asked.seed)
        rng = np.random.default_rng(asked.seed)
        content[kind] = {"single": try_single(originals, asked.copies, rng)}
        files.write_json(RESULT, content)
        content[kind]["augmented"] = try_augmented(originals, rng)
        files.write_json(RESULT, content)


def try_single(originals: list[np.ndarray], count: int, rng) -> dict:
    """One set of originals and copies that are changed once."""
    greys, owner, change = list(originals), list(range(len(originals))), [""] * len(originals)
    for name, alter in CHANGES.items():
        for chosen in rng.choice(len(originals), min(count, len(originals)), replace=False):
            greys.append(alter(originals[chosen], rng))
            owner.append(int(chosen))
            change.append(name)
    found, seconds = find(greys)
    owner, change = np.array(owner), np.array(change)
    together = joined(found.pairs, owner)
    shares = {name: rate(together[change == name]) for name in CHANGES}
    facts = {
        "found": shares,
        **wrong(found, owner),
        "warning": found.warning,
        "cpu_seconds": seconds,
    }
    by_hash = joined(try_hashes(greys), owner)
    return facts | {"found_by_hashes": {name: rate(by_hash[change == name]) for name in CHANGES}}


def try_augmented(originals: list[np.ndarray], rng) -> dict:
    """One set of originals with eight augmented copies each."""
    copies = [augment(grey, rng) for grey in originals for _ in range(AUGMENTED)]
    owner = np.r_[np.arange(len(originals)), np.repeat(np.arange(len(originals)), AUGMENTED)]
    greys = [*originals, *copies]
    found, seconds = find(greys)
    facts = {"images": len(greys), "found": rate(joined(found.pairs, owner)[len(originals) :])}
    facts |= {**wrong(found, owner), "warning": found.warning, "cpu_seconds": seconds}
    by_hash = joined(try_hashes(greys), owner)[len(originals) :]
    return facts | {"found_by_hashes": rate(by_hash)}


def find(greys: list[np.ndarray]) -> tuple[lookalikes.Lookalikes, float]:
    started = time.process_time()
    found = lookalikes.find_lookalikes(greys)
    return found, round(time.process_time() - started, 1)


def try_hashes(greys: list[np.ndarray]) -> np.ndarray:
    """Pairs that notebook 01's detection proposes, ``(p, 2)``."""
    proposed = preprocessing.propose_lookalikes(greys)
    return np.array([pair[:2] for pair in proposed], int).reshape(-1, 2)


def joined(pairs: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Whether each image is in the group of its original, which is the image of that number."""
    groups = preprocessing.join_groups(len(owner), pairs.tolist())
    return groups == groups[owner]


def wrong(found: lookalikes.Lookalikes, owner: np.ndarray) -> dict:
    """Pairs of different originals that were joined, and the originals in the largest group."""
    false = owner[found.pairs[:, 0]] != owner[found.pairs[:, 1]]
    groups = preprocessing.join_groups(len(owner), found.pairs.tolist())
    largest = max(len(np.unique(owner[groups == group])) for group in np.unique(groups))
    different = sum(int((owner != own).sum()) for own in owner) // 2
    return {
        "joined_wrongly": int(false.sum()),
        "pairs_of_different_originals": different,
        "originals_in_largest_group": largest,
        "highest_wrong_detail": float(found.detail[false].max(initial=0.0)),
    }


def rate(hits: np.ndarray) -> dict:
    low, high = intervals.wilson_interval(int(hits.sum()), len(hits))
    return {"share": float(hits.mean()), "ci": [low, high], "count": len(hits)}


# --- Originals -----------------------------------------------------------------------------------


def draw_heads(count: int, seed: int) -> list[np.ndarray]:
    drawn, _ = phantom.draw_slices(count, seed)
    return [preprocessing.shrink(preprocessing.pad_to_square(grey), EDGE) for grey in drawn]


def draw_textures(count: int, seed: int) -> list[np.ndarray]:
    """Speckle and blobs of several sizes under an uneven light, as in ultrasound."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse, middle, fine = (
            gaussian_filter(rng.normal(size=(EDGE, EDGE)), width) * width
            for width in (rng.uniform(14, 22), rng.uniform(4, 7), 1.5)
        )
        field = 1.5 * coarse + rng.uniform(0.5, 1) * middle + 0.4 * fine
        field += np.linspace(1, -1, EDGE)[:, None] * rng.uniform(0, 1)
        found.append(
            ((field - field.mean()) / field.std() * 45 + 110).clip(0, 255).astype(np.uint8)
        )
    return found


# --- Changes -------------------------------------------------------------------------------------


def crop(grey: np.ndarray, rng) -> np.ndarray:
    """Up to 8 % of each side."""
    left, top, right, bottom = rng.uniform(0, 0.08, 4) * len(grey)
    edge = len(grey)
    return grey[int(top) : int(edge - bottom), int(left) : int(edge - right)]


def stretch(grey: np.ndarray, rng) -> np.ndarray:
    low, high = rng.uniform(0, 40), rng.uniform(190, 255)
    return ((grey - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)


def save_as_jpeg(grey: np.ndarray, rng) -> np.ndarray:
    saved = io.BytesIO()
    Image.fromarray(grey).save(saved, "JPEG", quality=40)
    return np.asarray(Image.open(saved))


def enlarge(grey: np.ndarray, rng) -> np.ndarray:
    edge = int(len(grey) * rng.uniform(1.3, 2.5))
    return np.asarray(Image.fromarray(grey).resize((edge, edge), Image.Resampling.BICUBIC))


def mark(grey: np.ndarray, rng) -> np.ndarray:
    """An arrow."""
    picture = Image.fromarray(grey.copy())
    draw = ImageDraw.Draw(picture)
    tip = rng.uniform(0.2, 0.8, 2) * len(grey)
    angle = rng.uniform(0, 2 * np.pi)
    tail = tip + 0.2 * len(grey) * np.array([np.cos(angle), np.sin(angle)])
    draw.line([*tip, *tail], fill=255, width=3)
    barbs = [
        tuple(tip + 0.06 * len(grey) * np.array([np.cos(angle + turn), np.sin(angle + turn)]))
        for turn in (-0.5, 0.5)
    ]
    draw.polygon([tuple(tip), *barbs], fill=255)
    return np.asarray(picture)


CHANGES: dict[str, Callable] = {
    "cropped": crop, "contrast": stretch, "jpeg": save_as_jpeg, "enlarged": enlarge, "marked": mark,
}  # fmt: skip


def augment(grey: np.ndarray, rng) -> np.ndarray:
    """Turned by up to 15 degrees, shifted and sheared by up to 0.1, flipped both ways, darkened."""
    angle, shear = np.deg2rad(rng.uniform(-15, 15)), rng.uniform(-0.1, 0.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ [[1, shear], [0, 1]] @ np.diag(rng.choice([-1, 1], 2))
    middle = np.full(2, len(grey) / 2)
    offset = middle - linear @ middle + rng.uniform(-0.1, 0.1, 2) * len(grey)
    data = (*linear[0], offset[0], *linear[1], offset[1])
    picture = Image.fromarray(grey).transform(
        grey.shape[::-1], Image.Transform.AFFINE, data, Image.Resampling.BILINEAR
    )
    return (np.asarray(picture) * rng.uniform(0.3, 1)).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main())
