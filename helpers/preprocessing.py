"""From an image file to a 32x32 slice; look-alikes, groups and the split (notebook 01)."""

from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from helpers import files, phantom
from helpers.files import CourseError

CLASS_NAMES = ("negative", "positive")  # by label: 0, 1
PARTS = ("train", "validation", "test")
SHARES = {"test": 22 / 200, "validation": 34 / 200}  # of each class, as published; the rest trains
FEWEST = {"train": 16, "validation": 2, "test": 2}  # of each class; 16 is one batch of the GAN


# --- Prepare: one slice from a file to what the networks see (taught in notebook 01) -------------


def read_grey(path: Path) -> np.ndarray:
    """An image file with 8 or 16 bits for each channel as grey levels.

    Transparency is laid over black, as air is on a CT; 16-bit greys keep their upper 8 bits; a
    photograph's turn (EXIF) is applied. A run reads images of 8 bits with `folder.images.grey_of`,
    which gives the same in less memory; 16-bit greys get the window of the whole set there.

    Returns:
        ``(height, width)``, ``uint8``, 0 black to 255 white.
    """
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            return (np.asarray(image).clip(0, 65535) // 256).astype(np.uint8)
        layers = image.convert("RGBA")
        black = Image.new("RGBA", layers.size, "black")
        return np.asarray(Image.alpha_composite(black, layers).convert("L"))


def pad_to_square(grey: np.ndarray) -> np.ndarray:
    """Add black on both sides of the shorter edge, so that resizing keeps the head's shape.

    Args:
        grey: ``(height, width)``, ``uint8``.

    Returns:
        ``(side, side)`` with ``side = max(height, width)``; the old pixels are in the middle.
    """
    height, width = grey.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(grey, ((top, side - height - top), (left, side - width - left)))


def shrink(grey: np.ndarray, size: int) -> np.ndarray:
    """Resize a square slice with a filter that averages what it leaves out (no aliasing).

    Returns:
        ``(size, size)``, ``uint8``.
    """
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.LANCZOS))


def to_tanh_range(images: np.ndarray) -> np.ndarray:
    """Rescale grey levels to the interval that a tanh generator can draw.

    Args:
        images: Any shape, ``uint8``, 0 to 255.

    Returns:
        Same shape, ``float32``, -1 to 1.

    Raises:
        TypeError: Not ``uint8``; images scaled already would be squashed twice.

    Source: Radford et al. 2016, arXiv:1511.06434, section 4: scaling to the range of the tanh.
    """
    if images.dtype != np.uint8:
        raise TypeError(f"grey levels must be uint8, 0 to 255, not {images.dtype}")
    return images.astype(np.float32) / 127.5 - 1.0


def to_grey_levels(images: np.ndarray) -> np.ndarray:
    """From -1 to 1 back to ``uint8``, 0 black to 255 white; any shape, which stays."""
    return np.round((np.clip(images, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def prepare(greys: list[np.ndarray], size: int = 32) -> np.ndarray:
    """Pad, shrink and rescale slices of any size.

    Args:
        greys: Each ``(height, width)``, ``uint8``.
        size: Of the result, pixels.

    Returns:
        ``(n, size, size, 1)``, ``float32``, -1 to 1.
    """
    return to_tanh_range(np.stack([shrink(pad_to_square(grey), size) for grey in greys])[..., None])


def fresh_slices(n: int, seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Draw new simulated slices, prepared like any others.

    Returns:
        Images ``(n, size, size, 1)`` in -1 to 1, and labels ``(n,)``, 1 for a bleed.
    """
    drawn, labels = phantom.draw_slices(n, seed)
    return prepare(list(drawn), size), labels


def shift_domain(images: np.ndarray, seed: int) -> np.ndarray:
    """The same slices as from another scanner: another window, more noise, heads more tilted.

    Args:
        images: ``(n, height, width, 1)``, -1 to 1.
        seed: Of noise and tilt.

    Returns:
        As `images`: black becomes -0.9 and white 0.8, with Gaussian noise of standard deviation
        0.12; each slice is turned by up to 15 degrees.
    """
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-15, 15, len(images))
    turned = [
        ndimage.rotate(image, angle, reshape=False, order=1, cval=-1.0)
        for image, angle in zip(images, angles, strict=True)
    ]
    shifted = 0.85 * (np.stack(turned) + 1) - 0.9
    return np.clip(shifted + rng.normal(0, 0.12, shifted.shape), -1, 1).astype(np.float32)


# --- Group: which slices must stay together (taught in notebook 01) ------------------------------


def propose_lookalikes(
    greys: list[np.ndarray], least_correlation: float = 0.975, most_bits: int = 8
) -> list[tuple[int, int, float]]:
    """Pairs of slices so alike that they may be one picture, or neighbours in one head.

    Two measures must agree: the correlation of the prepared pixels, and the number of differing
    bits of a 64-bit perceptual hash. Both limits were set on the real set. There they propose nine
    pairs, all of them right. They miss pictures that were cropped or changed more, and no limits
    find a series of slices through one head without joining different people.

    Args:
        greys: Each ``(height, width)``, ``uint8``.
        least_correlation: From which on two slices are alike, up to 1.
        most_bits: Up to which they are, of 64.

    Returns:
        ``(i, j, correlation)`` with ``i < j``, most alike first.
    """
    pixels = prepare(greys).reshape(len(greys), -1)
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True) + 1e-9
    correlation = pixels @ pixels.T
    hashes = np.array([imagehash.phash(Image.fromarray(grey)).hash.ravel() for grey in greys])
    signs = np.where(hashes, 1.0, -1.0)
    bits = (hashes.shape[1] - signs @ signs.T) / 2  # where two signs differ, their product is -1
    alike = (correlation >= least_correlation) & (bits <= most_bits)
    first, second = np.nonzero(np.triu(alike, 1))
    pairs = [(int(i), int(j), float(correlation[i, j])) for i, j in zip(first, second, strict=True)]
    return sorted(pairs, key=lambda pair: -pair[2])


def join_groups(count: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Number the groups; if 0 and 1 are a pair, and 1 and 3, all three are one group.

    Returns:
        ``(count,)`` group numbers from 0, in order of first appearance.
    """
    first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def split_groups(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Assign whole groups to test, validation and training, by each class's published share.

    Groups of one slice are assigned first, so validation and test mostly hold one slice of each
    group. A group that would fill more than a quarter of its class's places in a part is used only
    if smaller groups leave places empty; one that would fill more than half is never used there. So
    no part consists of one patient. All other groups go to training.

    Args:
        labels: ``(n,)``, 0 or 1.
        groups: ``(n,)``, any numbers; equal ones stay together.
        seed: Of the order of groups of the same size.

    Returns:
        ``(n,)`` of "train", "validation" and "test".

    Raises:
        CourseError: A part would hold too few of a class.
    """
    rng = np.random.default_rng(seed)
    names, sizes = np.unique(groups, return_counts=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(sizes[order], kind="stable")]
    places = {
        part: np.round(share * np.bincount(labels, minlength=2)) for part, share in SHARES.items()
    }
    room = dict(places)
    parts = np.full(len(labels), "train", dtype="<U10")
    for at_most in (1 / 4, 1 / 2):  # of a part; larger groups only if places are still empty
        for group in names[order]:
            members = groups == group
            counts = np.bincount(labels[members], minlength=2)
            for part in room:
                allowed = np.minimum(room[part], np.maximum(1, at_most * places[part]))
                if (parts[members] == "train").all() and (counts <= allowed).all():
                    parts[members] = part
                    room[part] = room[part] - counts
    for part, fewest in FEWEST.items():
        for label, name in enumerate(("negative", "positive")):
            found = int(np.sum((parts == part) & (labels == label)))
            if found < fewest:
                raise CourseError(
                    f"too few images to split: the {part} part would hold {found} of the {name} "
                    f"class and needs {fewest}: add images of this class, or more patients."
                )
    return parts


@dataclass(frozen=True)
class Prepared:
    """Result of notebook 01: `images` (n, 32, 32, 1), and the table of `split.csv`."""

    images: np.ndarray
    table: pd.DataFrame

    def part(self, name: str, label: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Images ``(k, 32, 32, 1)`` and labels ``(k,)`` of a part, or of one class in it."""
        chosen = (self.table["split"] == name).to_numpy()
        if label is not None:
            chosen = chosen & (self.table["label"] == label).to_numpy()
        return self.images[chosen], self.table["label"].to_numpy()[chosen]


def save_prepared(out: Path, prepared: Prepared) -> None:
    """Write `prepared.npz` and `split.csv` (file, label, group, split)."""
    with files.atomic_write(out / "prepared.npz") as temporary:
        np.savez_compressed(temporary, images=prepared.images)
    with files.atomic_write(out / "split.csv") as temporary:
        prepared.table[["file", "label", "group", "split"]].to_csv(temporary, index=False)


def load_prepared(out: Path) -> Prepared:
    """Read what `save_prepared` wrote."""
    with np.load(files.require_file(out / "prepared.npz", "01_preprocessing")) as saved:
        return Prepared(saved["images"], pd.read_csv(out / "split.csv", dtype={"file": str}))
