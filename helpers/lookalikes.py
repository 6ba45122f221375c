"""Which images of a set are one picture: copied, cropped, restretched, marked or augmented.

Neighbours in the frozen trunk's features are candidates; an alignment decides.
"""

from dataclasses import dataclass

import numpy as np

from helpers import alignment, trunk

SIZE = 64  # pixels at which images are compared
NEIGHBOURS = 6  # candidates an image
LEAST_DETAIL = 0.8  # see experiments/results/lookalikes.json
CHANGED = 0.1  # entries of the alignment's matrix that differ by more from the identity's
AUGMENTED = 0.2  # share of images that are changed copies, above which the set is warned of
FEWEST_CHANGED = 10  # such images


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
            f"{copies} of {self.count} images are flipped, turned, shifted or scaled copies of "
            "others in the set: it was augmented before. Copies of one picture stay on one side "
            "of the split; better use the original images alone."
        )


def find_lookalikes(images: np.ndarray) -> Lookalikes:
    """Find the pairs of images that are one picture.

    Args:
        images: ``(n, 64, 64, 1)``, -1 to 1, from `preprocessing.prepare`; another size is resized.

    Returns:
        Pairs whose `alignment.Alignment.detail` is at least `LEAST_DETAIL`.
    """
    pairs = propose_candidates(images)
    found = alignment.align(images, images, pairs, size=SIZE)
    order = np.argsort(-found.detail, kind="stable")
    kept = order[found.detail[order] >= LEAST_DETAIL]
    identity = np.array([[1, 0, 0], [0, 1, 0]])
    changed = np.abs(found.matrices[kept] - identity).max(axis=(1, 2), initial=0) > CHANGED
    return Lookalikes(pairs[kept], found.detail[kept], changed, len(images))


def propose_candidates(images: np.ndarray) -> np.ndarray:
    """Each image with its nearest neighbours by cosine, ``(p, 2)`` with ``i < j``.

    The features are averaged over the image and its three flips, so that a flipped copy has the
    same, and centred on the set.
    """
    mean = describe(images)
    mean = mean - mean.mean(axis=0)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True) + 1e-9
    pairs = set()
    for start in range(0, len(mean), 500):
        likeness = mean[start : start + 500] @ mean.T
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -2.0  # not itself
        nearest = np.argsort(-likeness, axis=1)[:, : min(NEIGHBOURS, len(mean) - 1)]
        pairs |= {
            (min(start + i, j), max(start + i, j))
            for i, of_image in enumerate(nearest.tolist())
            for j in of_image
        }
    return np.array(sorted(pairs), dtype=int).reshape(-1, 2)


def describe(images: np.ndarray) -> np.ndarray:
    """Trunk features that do not change when an image is flipped, ``(n, 1280)``."""
    flips = (slice(None), slice(None, None, -1))
    found = [trunk.features(images[:, rows, columns]) for rows in flips for columns in flips]
    return np.mean(found, axis=0)
