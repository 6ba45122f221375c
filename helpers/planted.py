"""Sets of images with a known fault, on which an audit is tested, and textures drawn for that.

The textures look a little like ultrasound: layers under speckle, and one of five kinds of finding.
They are nobody's tissue.
"""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

KINDS = 5  # of finding in a texture
GRAIN, GRID, BLUR = 0.25, 0.12, 0.7  # standard deviation and amplitude of 2; pixels
COPY_NOISE, COPY_CONTRAST = 0.1, 0.1  # standard deviation of 2; share


def draw_textures(n: int, seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Draw textures that resemble ultrasound: layers, speckle, and a finding.

    The finding is one of five kinds, as many of each as chance gives: dark mass, mass with a bright
    back, shadow under a bright spot, bright band, three cysts.

    Args:
        n: How many, at least 1.
        seed: The same seed draws the same textures.
        size: Height and width, pixels.

    Returns:
        Images ``(n, size, size, 1)``, ``float32``, -1 to 1, and the kinds ``(n,)``, 0 to 4.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.integers(KINDS, size=n)
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    images = np.empty((n, size, size, 1), np.float32)
    for i, kind in enumerate(kinds):
        tilt, phase = rng.uniform(-0.3, 0.3), rng.uniform(0, 2 * np.pi)
        layers = np.sin(2 * np.pi * rng.uniform(1.5, 3) * (y + tilt * x) + phase)
        echo = 0.45 + 0.12 * layers - 0.15 * y
        echo += 0.5 * gaussian_filter(rng.normal(size=(size, size)), size / 8)
        echo = echo.clip(0.15) * _finding(kind, rng, x, y)
        # Speckle: the length of a sum of many random waves.
        waves = gaussian_filter(rng.normal(size=(2, size, size)), (0, 0.8, 0.8))
        speckle = np.hypot(*(waves / waves.std()))
        images[i, ..., 0] = 2 * np.sqrt((echo * speckle / 1.6).clip(0, 1)) - 1
    return images, kinds


def _finding(kind: int, rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """By what the echo of each pixel is multiplied."""
    across, down = rng.uniform(0.3, 0.7, 2)
    wide, high = rng.uniform(0.12, 0.2), rng.uniform(0.09, 0.15)

    def disc(across, down, wide, high):
        return ((x - across) / wide) ** 2 + ((y - down) / high) ** 2 < 1

    factor = np.ones_like(x)
    if kind in (0, 1):
        factor[disc(across, down, wide, high)] = 0.15
    if kind == 1:
        factor[(abs(x - across) < 0.8 * wide) & (y > down + high)] = 1.9
    if kind == 2:
        factor[(abs(x - across) < 0.6 * wide) & (y > down)] = 0.15
        factor[disc(across, down, 0.6 * wide, 0.05)] = 2.5
    if kind == 3:
        factor[abs(y - down + 0.3 * (x - 0.5)) < 0.5 * high] = 2.2
    if kind == 4:
        for _ in range(3):
            factor[disc(*rng.uniform(0.15, 0.85, 2), 0.07, 0.07)] = 0.1
    return factor


# --- Faults of quality ---------------------------------------------------------------------------


def grain_over_blobs(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a GAN draws that has learned only where it is bright: blurred shapes under noise."""
    blobs = gaussian_filter(images, (0, 3, 3, 0))
    return _in_range(blobs + rng.normal(0, GRAIN, images.shape))


def add_grid(images: np.ndarray) -> np.ndarray:
    """The pattern that transposed convolutions leave: every other row and column is brighter."""
    rows, columns = np.indices(images.shape[1:3])
    return _in_range(images + GRID * ((rows % 2 + columns % 2) - 1.0)[None, ..., None])


def blur(images: np.ndarray, sigma: float = BLUR) -> np.ndarray:
    """Gaussian blur, `sigma` in pixels: the yardstick of what a small GAN loses in sharpness."""
    return gaussian_filter(images, (0, sigma, sigma, 0)).astype(np.float32)


# --- Copies --------------------------------------------------------------------------------------


def add_noise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise over each pixel, not cut at the ends of the range."""
    return (images + rng.normal(0, COPY_NOISE, images.shape)).astype(np.float32)


def shift(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move each image by one pixel in one of eight directions."""
    directions = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
    chosen = rng.integers(len(directions), size=len(images))
    return np.stack(
        [np.roll(x, directions[k], (0, 1)) for x, k in zip(images, chosen, strict=True)]
    )


def change_contrast(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Raise or lower each image's contrast by a tenth."""
    factors = 1 + COPY_CONTRAST * rng.choice([-1, 1], (len(images), 1, 1, 1))
    return _in_range(images * factors)


def mix(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One disguise after the other, in turn."""
    disguised = [disguise(images, rng) for disguise in DISGUISES.values()]
    return np.stack([disguised[i % len(disguised)][i] for i in range(len(images))])


DISGUISES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "noise": add_noise,
    "shift": shift,
    "mirrored": lambda images, rng: images[:, :, ::-1],
    "blur": lambda images, rng: blur(images),
    "contrast": change_contrast,
}


def plant_copies(
    fresh: np.ndarray,
    train: np.ndarray,
    count: int,
    rng: np.random.Generator,
    disguise: Callable[[np.ndarray, np.random.Generator], np.ndarray] = mix,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put copies of training images in the place of some new ones.

    Args:
        fresh, train: ``(n, size, size, 1)`` and ``(m, size, size, 1)``, -1 to 1.
        count: Of copies, at most n and m.
        rng: Decides which, and where.
        disguise: What is done to the copies: one of `DISGUISES`, or `mix`.

    Returns:
        The new set ``(n, size, size, 1)``, and for each copy its place and its original.
    """
    places = rng.permutation(len(fresh))[:count]
    originals = rng.permutation(len(train))[:count]
    planted = fresh.copy()
    planted[places] = disguise(train[originals], rng)
    return planted, places, originals


def _in_range(images: np.ndarray) -> np.ndarray:
    return np.clip(images, -1, 1).astype(np.float32)
