"""Is one picture a changed copy of another? Lay one over the other and see how well they agree."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from helpers import machine

CHUNK = 256  # pairs at once: about 150 MB at 64 pixels
LONG = 10_000  # pairs; fewer take some seconds and show no progress
LARGEST = 1.6  # factor by which a copy may be stretched or shrunk in any direction
SMALLEST_OVERLAP = 0.5  # share of the reference
BLUR = 1.0  # pixels; details are what this blur takes away
FAINT = 0.1  # relative to the image's standard deviation: weaker details count less


@dataclass(frozen=True)
class Alignment:
    """How well each image can be laid over its reference; all arrays have one entry per pair.

    `correlation` is that of the pixels where both overlap, -1 to 1. `detail` is the correlation
    there after local contrast normalization: of edges and texture, faint ones nearly as much as
    strong ones. Heads of different people have a high correlation and a low detail. `matrices`
    ``(n, 2, 3)`` maps positions in the reference to the image, x and y from -1 to 1 over the width.
    """

    correlation: np.ndarray
    detail: np.ndarray
    matrices: np.ndarray


def refine(
    images: np.ndarray,
    references: np.ndarray,
    pairs: np.ndarray,
    starts: np.ndarray,
    *,
    size: int = 64,
    steps: int = 5,
    blurred: bool = False,
) -> Alignment:
    """Find the turn, shift, scale and shear that lay each image best over its reference.

    Brightness and contrast do not matter. An image that is no copy is also laid over its reference
    as well as possible: only the numbers tell.

    Args:
        images: ``(n, height, width, 1)``, any range; squares, or resized to squares.
        references: ``(m, height, width, 1)``.
        pairs: ``(p, 2)``, which image is laid over which reference.
        starts: ``(p, 2, 3)``, roughly right, such as `Alignment.matrices`: flipped as they should
            be, and turned within about 10 degrees.
        size: Pixels at which the images are compared.
        steps: Of Gauss-Newton.
        blurred: Whether the steps see blurred images, which lets them start further off.

    Returns:
        One entry per pair; `detail` is that of the images as they are.

    Source: inverse compositional alignment, Baker and Matthews 2004, International Journal of
        Computer Vision 56, 221-255; brightness and contrast are taken out in each step.
    """
    fine = [resize(values, size) for values in (images, references)]
    seen = [blur(values) for values in fine] if blurred else fine
    parts = [(pairs[k : k + CHUNK], starts[k : k + CHUNK]) for k in range(0, len(pairs), CHUNK)]
    shown = machine.progress(parts, "look-alikes", len(parts)) if len(pairs) > LONG else parts
    none = np.empty(0)
    found = [(none, none, np.empty((0, 2, 3)))]  # where there is no pair
    for part, start in shown:
        one, other = part.T
        found.append(_compare(*fine, one, other, _refine(*seen, one, other, start, steps)))
    return Alignment(*(np.concatenate(values) for values in zip(*found, strict=True)))


def warp(
    images: np.ndarray, which: np.ndarray, matrices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sample images at the positions that matrices give; outside, the edge goes on.

    Args:
        images: ``(n, size, size)``.
        which: ``(p,)``, the image that each matrix is for.
        matrices: ``(p, 2, 3)``, as in `Alignment`.

    Returns:
        ``(p, size, size)``, and 1 where the position is inside the image, else 0.
    """
    size = images.shape[1]
    x, y = _grid(size)
    half, centre = np.float32(size / 2), np.float32((size - 1) / 2)
    m = matrices.astype(np.float32)[..., None] * half
    # There are a million positions at a time: in place it takes half as long.
    columns, rows = m[:, 0, 0] * x, m[:, 1, 0] * x
    columns += m[:, 0, 1] * y
    rows += m[:, 1, 1] * y
    columns += m[:, 0, 2] + centre
    rows += m[:, 1, 2] + centre
    inside = (abs(columns - centre) <= half) & (abs(rows - centre) <= half)
    for positions in (columns, rows):
        np.clip(positions, 0, np.float32(size - 1.001), out=positions)
    left, top = columns.astype(np.int32), rows.astype(np.int32)
    columns -= left  # from here on: how far to the right of `left`, and below `top`
    rows -= top
    place = (top * size + left).astype(np.intp)
    place += (which * size * size)[:, None]
    flat = images.reshape(-1)
    upper, lower = (_between(flat, place + row, columns) for row in (0, size))
    shape = (len(which), size, size)
    return _mix(upper, lower, rows).reshape(shape), inside.reshape(shape).astype(np.float32)


def _between(flat: np.ndarray, place: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Values between two neighbours in a row."""
    return _mix(flat.take(place, mode="clip"), flat.take(place + 1, mode="clip"), share)


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The first plus a share of what the second differs by; both are overwritten."""
    second -= first
    second *= share
    first += second
    return first


def blur(images: np.ndarray) -> np.ndarray:
    """Take away the details, as `BLUR` defines them; in and out ``(n, height, width)``."""
    return ndimage.gaussian_filter(images, (0, BLUR, BLUR))


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resize images, filtered where they shrink, and give each mean 0 and standard deviation 1.

    Args:
        images: ``(n, height, width)`` or ``(n, height, width, 1)``, any range.
        size: Of the result, pixels.

    Returns:
        ``(n, size, size)``, ``float32``.
    """
    images = np.asarray(images, np.float32).reshape(images.shape[:3])
    factors = (size / images.shape[1], size / images.shape[2])
    if factors != (1, 1):
        blur = [max(0.0, 0.5 / factor - 0.5) for factor in factors]
        images = ndimage.gaussian_filter(images, (0, *blur))
        images = ndimage.zoom(images, (1, *factors), order=1, grid_mode=True, mode="nearest")
    mean, spread = (f(images, axis=(1, 2), keepdims=True) for f in (np.mean, np.std))
    return (images - mean) / (spread + 1e-3)


def standardise(images: np.ndarray) -> np.ndarray:
    """Mean 0 and length 1 along the last axis; same shape."""
    images = images - images.mean(axis=-1, keepdims=True)
    return images / (np.sqrt((images**2).sum(axis=-1, keepdims=True)) + 1e-6)


def _refine(
    images: np.ndarray, references: np.ndarray, one: np.ndarray, other: np.ndarray,
    start: np.ndarray, steps: int,
) -> np.ndarray:  # fmt: skip
    """The best of all steps' matrices, ``(p, 2, 3)``."""
    size = images.shape[1]
    targets = references[other]
    x, y = _grid(size)
    down, across = np.gradient(targets, axis=(1, 2))
    slopes = np.stack([across, down], axis=1).reshape(len(one), 2, -1) * (size / 2)
    ones = np.stack([x, y, np.ones_like(x)])
    jacobian = (slopes[:, :, None] * ones).reshape(len(one), 6, -1)
    curvature = jacobian @ jacobian.transpose(0, 2, 1)
    damping = 1e-3 * np.trace(curvature, axis1=1, axis2=2)[:, None, None] / 6 + 1e-6
    inverse = np.linalg.inv(curvature + damping * np.eye(6, dtype=np.float32))
    best = np.full(len(one), -2.0)
    chosen, matrices = np.array(start), np.array(start)
    for step in range(steps + 1):
        warped, inside = warp(images, one, matrices)
        score, residual = _fit(warped, targets, inside)
        better = score > best
        best[better], chosen[better] = score[better], matrices[better]
        if step == steps:
            break
        # Pixels far off, as under an arrow, pull no more than others.
        spread = np.sqrt((residual**2).mean(axis=1, keepdims=True)) + 1e-6
        residual = residual.clip(-2 * spread, 2 * spread)
        move = inverse @ (jacobian @ residual[:, :, None])
        matrices = _compose(matrices, move.reshape(-1, 2, 3).astype(float))
    return chosen


def _compose(matrices: np.ndarray, move: np.ndarray) -> np.ndarray:
    """The matrices after an inverse step; one that would stretch too far stays as it is."""
    linear = np.linalg.inv(np.eye(2) + move[..., :2].clip(-0.2, 0.2))
    turned = matrices[..., :2] @ linear
    shift = matrices[..., 2] - (turned @ move[..., 2:].clip(-0.25, 0.25))[..., 0]
    made = np.concatenate([turned, shift[..., None]], axis=2)
    widest = np.linalg.svd(turned, compute_uv=False)
    fits = (widest[:, 0] < LARGEST) & (widest[:, 1] > 1 / LARGEST)
    return np.where(fits[:, None, None], made, matrices)


def _fit(
    warped: np.ndarray, targets: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation inside, and what the warped image differs by after its best gain and offset."""
    count = len(warped)
    a, b, m = (values.reshape(count, -1) for values in (warped, targets, inside))
    weight = m.sum(axis=1, keepdims=True) + 1e-6
    a = (a - (a * m).sum(axis=1, keepdims=True) / weight) * m
    mean = (b * m).sum(axis=1, keepdims=True) / weight
    b = (b - mean) * m
    product = (a * b).sum(axis=1, keepdims=True)
    power, own = ((v * v).sum(axis=1, keepdims=True) + 1e-6 for v in (a, b))
    score = (product / np.sqrt(power * own))[:, 0]
    score = np.where(weight[:, 0] < SMALLEST_OVERLAP * m.shape[1], -1.0, score)
    gain = np.maximum(product, 0.1 * np.sqrt(power * own)) / power
    return score, gain * a - b


def _compare(
    images: np.ndarray, references: np.ndarray, one: np.ndarray, other: np.ndarray,
    matrices: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Correlation, detail and matrices, as in `Alignment`."""
    warped, inside = warp(images, one, matrices)
    targets = references[other]
    correlation, _ = _fit(warped, targets, inside)
    away = ndimage.minimum_filter(inside, (1, 5, 5))  # the blur sees across the image's edge
    detail, _ = _fit(_details(warped), _details(targets), away)
    return correlation, detail, matrices


def _details(images: np.ndarray) -> np.ndarray:
    """Local contrast normalization: each pixel's difference from its surroundings, in units of how
    much these vary."""
    difference = images - blur(images)
    power = blur(difference**2)
    return difference / np.sqrt(power + FAINT**2)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of each pixel, flat, -1 to 1 over the edges."""
    line = ((np.arange(size) + 0.5) * 2 / size - 1).astype(np.float32)
    return np.tile(line, size), np.repeat(line, size)
