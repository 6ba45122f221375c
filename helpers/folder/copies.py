"""Pictures that are another one mirrored, turned by a right angle, or cropped."""

import imagehash
import numpy as np
from PIL import Image

from helpers.preprocessing import pad_to_square, shrink

ALIKE = 0.985  # correlation at 32 pixels; 0.975 is enough for a picture as it stands
MOST_BITS = 6  # of 64 in which the perceptual hashes differ
EDGE = 128  # pixels, of the squares that are compared
CROPS = (3, 6, 10, 13)  # pixels of these that are cut off on each side: 5 to 20 % in all
TURNS = (
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270, Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)  # fmt: skip


def find_copies(greys: list[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of which one is the other mirrored, turned by right angles or cropped in the middle.

    Both the pixels at 32×32 and the perceptual hashes must agree, as for look-alikes; the limits
    are narrower, because each pair has eleven chances, and heads are nearly symmetric.

    Returns:
        ``(i, j)`` with ``i < j``.
    """
    squares = [Image.fromarray(shrink(pad_to_square(grey), EDGE)) for grey in greys]
    plain = _vectors([_small(square) for square in squares])
    found = set()
    for change in (*TURNS, *CROPS):
        changed = _vectors([_small(square, change) for square in squares])
        correlation = changed @ plain.T
        np.fill_diagonal(correlation, 0)
        for i, j in zip(*np.nonzero(correlation >= ALIKE), strict=True):
            hashes = imagehash.phash(_changed(squares[i], change)), imagehash.phash(squares[j])
            if hashes[0] - hashes[1] <= MOST_BITS:
                found.add((min(int(i), int(j)), max(int(i), int(j))))
    return sorted(found)


def _changed(square: Image.Image, change: Image.Transpose | int) -> Image.Image:
    if isinstance(change, Image.Transpose):
        return square.transpose(change)
    return square.resize(square.size, box=_box(change))


def _box(cut: int) -> tuple[int, int, int, int]:
    return cut, cut, EDGE - cut, EDGE - cut


def _small(square: Image.Image, change: Image.Transpose | int = 0) -> np.ndarray:
    """The changed square at 32×32."""
    turned = isinstance(change, Image.Transpose)
    small = square.resize((32, 32), Image.Resampling.BOX, box=_box(0 if turned else change))
    return np.asarray(small.transpose(change) if turned else small, dtype=np.float32).ravel()


def _vectors(pixels: list[np.ndarray]) -> np.ndarray:
    """Each image as a vector of length 1 around 0; 0 where it is constant."""
    stacked = np.stack(pixels)
    stacked -= stacked.mean(axis=1, keepdims=True)
    return stacked / (np.linalg.norm(stacked, axis=1, keepdims=True) + 1e-9)
