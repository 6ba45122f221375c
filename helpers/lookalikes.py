"""Which images of a set are one picture: copied, cropped, restretched, marked or augmented.

Each image is compared with all others by small thumbnails, flipped, turned, scaled and shifted.
Those that come closest are aligned, and the details that agree after the alignment decide.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.linalg import eigh

from helpers import alignment, machine, preprocessing

SIZE = 64  # pixels at which the images are compared
SMALL = 32  # pixels of the thumbnails
CENTRE = 20  # pixels of a thumbnail's middle, which is looked for in the others
SHIFTS = (-4, -2, 0, 2, 4)  # pixels of a thumbnail
TURNS = (-20, -10, 0, 10, 20)  # degrees
SCALES = (1.0, 0.85)  # of a turned copy's content; the other direction has the inverse
CROPPED = 0.7  # scale of a copy that is not turned
DIMENSIONS = 96  # of the metric
RIDGE = 0.3  # what all pixels vary by, relative to what misalignment varies them by on average
NEIGHBOURS = (10, 30)  # of each image, aligned roughly: a twentieth of the set, within these
ALIGNED = 6  # of these, aligned well
LEAST_ROUGH = 0.45  # detail after the rough alignment
LEAST_DETAIL = 0.82  # see experiments/results/lookalikes.json
# The smaller pictures are, the better those of different people agree: shorter edge in pixels, and
# the limit there. Drawn heads of different people reached 0.92, 0.89, 0.86 and 0.76 at these.
LIMITS = {20: 0.95, 28: 0.92, 40: 0.89, 64: LEAST_DETAIL}
CHANGED = 0.1  # entries of the alignment's matrix that differ by more from the identity's
AUGMENTED = 0.2  # share of images that are changed copies, above which the set is warned of
FEWEST_CHANGED = 10  # such images
BATCH = 8  # images whose variants are compared at once: 20 MB
LONG = 512  # images; fewer take some seconds and show no progress
MOST_KEPT = 8  # sets whose look-alikes are remembered


@dataclass(frozen=True)
class Lookalikes:
    """What is one picture: `pairs` ``(p, 2)`` with ``i < j``, most alike first, their `detail`
    ``(p,)``, and whether one of the two is flipped, turned, shifted or scaled, `changed` ``(p,)``.
    """

    pairs: np.ndarray
    detail: np.ndarray
    changed: np.ndarray
    count: int  # images in the set

    @property
    def warning(self) -> str:
        """That the set was augmented before it was handed on, or an empty text."""
        copies = len(np.unique(self.pairs[self.changed]))
        if copies < max(FEWEST_CHANGED, AUGMENTED * self.count):
            return ""
        return (
            f"{copies} of {self.count} images are one picture with others, flipped, turned, "
            "shifted or scaled: the set was augmented before; the copies are grouped, but better "
            "use the original images alone"
        )


def find_lookalikes(greys: list[np.ndarray]) -> Lookalikes:
    """Find the pairs of images that are one picture.

    A set that was seen before is not searched again.

    Args:
        greys: Each ``(height, width)``, ``uint8``, of any size.

    Returns:
        Pairs whose `alignment.Alignment.detail` is at least `LEAST_DETAIL`, or for smaller images
        what `LIMITS` says; images under 20 pixels are not compared.
    """
    # Stretched to squares, not padded: black bars would differ where one of two was cropped.
    squares = np.stack([preprocessing.shrink(grey, SIZE) for grey in greys])
    known, images = _known(), preprocessing.to_tanh_range(squares)[..., None]
    edges = np.array([min(grey.shape) for grey in greys])
    key = machine.digest(images.tobytes(), edges.tobytes())
    if key not in known:
        known[key] = _find(images, edges)
        while len(known) > MOST_KEPT:
            known.popitem(last=False)
    return known[key]


def propose_candidates(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each image's nearest others by thumbnails, whatever their flip, turn, scale and shift.

    Args:
        images: ``(n, height, width, 1)``, squares.

    Returns:
        Pairs ``(p, 2)`` of different images, each pair once, and matrices ``(p, 2, 3)`` that lay
        the first roughly over the second, as in `alignment.Alignment`.
    """
    small = alignment.blur(alignment.resize(images, SMALL))
    count = len(small)
    nearest = min(int(np.clip(count / 20, *NEIGHBOURS)), count - 1)
    linear = _variants()
    describe = _learn_metric(small)
    centres = describe(_cut(small, (0, 0)))
    best: dict[tuple[int, int], tuple[float, tuple[int, int], np.ndarray]] = {}
    starts = range(0, count, BATCH)
    shown = machine.progress(starts, "thumbnails", len(starts)) if count > LONG else starts
    for start in shown:
        which = np.arange(start, min(start + BATCH, count))
        described = _describe_variants(small, which, linear, describe)
        for i, vectors in zip(which.tolist(), described, strict=True):
            scores = vectors @ centres.T  # of all variants, with the middles of all images
            highest = scores.max(axis=0)
            highest[i] = -2.0  # not itself
            for j in np.argpartition(-highest, nearest - 1)[:nearest].tolist():
                pair = (min(i, j), max(i, j))
                if pair not in best or highest[j] > best[pair][0]:
                    best[pair] = highest[j], (i, j), _start(linear, scores[:, j].argmax())
    found = [best[pair] for pair in sorted(best)]
    pairs = np.array([pair for _, pair, _ in found], int).reshape(-1, 2)
    return pairs, np.array([matrix for _, _, matrix in found]).reshape(-1, 2, 3)


@cache
def _known() -> OrderedDict[str, Lookalikes]:
    """Look-alikes by the hash of their set, the oldest first."""
    return OrderedDict()


def _find(images: np.ndarray, edges: np.ndarray) -> Lookalikes:
    if len(images) < 2:
        return Lookalikes(np.empty((0, 2), int), np.empty(0), np.empty(0, bool), len(images))
    pairs, starts = propose_candidates(images)
    rough = alignment.refine(images, images, pairs, starts, size=SMALL, steps=4, blurred=True)
    chosen = _choose(pairs, rough.detail)
    pairs, starts = pairs[chosen], rough.matrices[chosen]
    found = alignment.refine(images, images, pairs, starts, size=SIZE)
    order = np.argsort(-found.detail, kind="stable")
    smaller = edges[pairs].min(axis=1)
    least = np.interp(smaller, list(LIMITS), list(LIMITS.values()))
    fits = (found.detail >= least) & (smaller >= min(LIMITS))
    kept = order[fits[order]]
    identity = np.array([[1, 0, 0], [0, 1, 0]])
    changed = np.abs(found.matrices[kept] - identity).max(axis=(1, 2), initial=0) > CHANGED
    return Lookalikes(np.sort(pairs[kept], axis=1), found.detail[kept], changed, len(images))


def _choose(pairs: np.ndarray, detail: np.ndarray) -> np.ndarray:
    """Which pairs are among the `ALIGNED` best of one of their images."""
    order = np.argsort(-detail, kind="stable")
    order = order[detail[order] >= LEAST_ROUGH]
    taken = np.zeros(pairs.max(initial=0) + 1, int)
    chosen = []
    for k in order:
        if taken[pairs[k]].min() < ALIGNED:
            chosen.append(k)
        taken[pairs[k]] += 1
    return np.array(chosen, int)


def _variants() -> np.ndarray:
    """All flips, right-angle turns, turns and scales that are tried, ``(v, 2, 2)``."""
    turned = [(scale, angle) for scale in SCALES for angle in np.deg2rad(TURNS)]
    tried = [(kind, [*turned, (CROPPED, 0.0)]) for kind in (np.eye(2), np.diag([-1, 1]))]
    tried += [(-kind, changes) for kind, changes in tried]
    tried += [(kind[::-1], [(1.0, 0.0)]) for kind, _ in tried]
    return np.array(
        [
            scale * kind @ [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
            for kind, changes in tried
            for scale, a in changes
        ]
    )


def _start(linear: np.ndarray, place: int) -> np.ndarray:
    """The matrix ``(2, 3)`` of a variant and shift, by its row in `_describe_variants`."""
    kind, down, across = np.unravel_index(place, (len(linear), len(SHIFTS), len(SHIFTS)))
    shift = np.array([SHIFTS[across], SHIFTS[down]]) * 2 / SMALL
    return np.column_stack([linear[kind], linear[kind] @ shift])


def _describe_variants(
    small: np.ndarray,
    which: np.ndarray,
    linear: np.ndarray,
    describe: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Each chosen image in all variants and shifts, ``(images, variants * shifts, dimensions)``."""
    matrices = np.concatenate([linear, np.zeros((len(linear), 2, 1))], axis=2)
    seen, _ = alignment.warp(
        small, np.repeat(which, len(linear)), np.tile(matrices, (len(which), 1, 1))
    )
    cut = np.stack([_cut(seen, (down, across)) for down in SHIFTS for across in SHIFTS], axis=1)
    return describe(cut).reshape(len(which), -1, DIMENSIONS)


def _cut(small: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """The middle of each thumbnail, moved down and to the right, as a row."""
    top, left = ((SMALL - CENTRE) // 2 + moved for moved in shift)
    return small[:, top : top + CENTRE, left : left + CENTRE].reshape(len(small), -1)


def _learn_metric(small: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Learn the directions in which images differ most, relative to slight misalignment.

    Returns:
        A function of rows of `CENTRE`² pixels that returns rows of length 1, ``(…, DIMENSIONS)``:
        their products say how alike two middles are.

    Source: linear discriminant analysis, Fisher 1936; here each image is a class of its own, whose
        spread comes from warps too small for the variants to catch.
    """
    rng = np.random.default_rng(0)
    some = rng.choice(len(small), min(len(small), 400), replace=False)
    flips = [np.diag([x, y]) for x in (1, -1) for y in (1, -1)]
    plain, spread = [], []
    for flip in flips:
        for _ in range(4):
            angle, shear = np.deg2rad(rng.uniform(-5, 5)), rng.uniform(-0.06, 0.06)
            moved = rng.uniform(-1, 1, 2) * 2 / SMALL
            turn = [[np.cos(angle), shear - np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            warped = np.column_stack([rng.uniform(0.93, 1.07) * flip @ turn, moved])
            still = np.column_stack([flip, [0, 0]])
            one, other = (
                alignment.standardise(
                    _cut(alignment.warp(small, some, np.tile(m, (len(some), 1, 1)))[0], (0, 0))
                )
                for m in (still, warped)
            )
            plain.append(one)
            spread.append(other - one)
    plain, spread = np.concatenate(plain), np.concatenate(spread)
    mean = plain.mean(axis=0)
    within, between = ((rows.T @ rows) / len(rows) for rows in (spread, plain - mean))
    within += (RIDGE * np.trace(within) / len(within) + 1e-9) * np.eye(len(within))
    last = len(within) - 1
    _, directions = eigh(between, within, subset_by_index=[last + 1 - DIMENSIONS, last])
    directions = directions.astype(np.float32)
    sums, offset = directions.sum(axis=0), mean @ directions

    def describe(rows: np.ndarray) -> np.ndarray:
        # As (standardise(rows) - mean) @ directions, with fewer passes over many rows.
        middle = rows.mean(axis=-1, keepdims=True)
        power = np.einsum("...i,...i->...", rows, rows)[..., None] - rows.shape[-1] * middle**2
        projected = (rows @ directions - middle * sums) / np.sqrt(power.clip(1e-12)) - offset
        return projected / (np.linalg.norm(projected, axis=-1, keepdims=True) + 1e-6)

    return describe
