"""Pictures that are another one mirrored, turned by a right angle, or cropped."""

import imagehash
import numpy as np
from PIL import Image

from helpers.preprocessing import pad_to_square, shrink

ALIKE = 0.985  # correlation at 32 pixels; 0.975 is enough for a picture as it stands
MOST_BITS = 6  # of 64 in which the perceptual hashes differ
CROPS = (0.95, 0.9, 0.85, 0.8)  # what is left of each edge


def find_copies(greys: list[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of which one is the other mirrored, turned by right angles or cropped in the middle.

    Both the pixels at 32×32 and the perceptual hashes must agree, as for look-alikes; the limits
    are narrower, because each pair has eleven chances, and heads are nearly symmetric.

    Returns:
        ``(i, j)`` with ``i < j``.
    """
    squares = [Image.fromarray(shrink(pad_to_square(grey), 128)) for grey in greys]
    plain = _vectors(squares)
    found = set()
    for change in _changes():
        changed = [change(square) for square in squares]
        correlation = _vectors(changed) @ plain.T
        np.fill_diagonal(correlation, 0)
        for i, j in zip(*np.nonzero(correlation >= ALIKE), strict=True):
            if imagehash.phash(changed[i]) - imagehash.phash(squares[j]) <= MOST_BITS:
                found.add((min(int(i), int(j)), max(int(i), int(j))))
    return sorted(found)


def _changes():
    turns = Image.Transpose
    for turn in (turns.FLIP_LEFT_RIGHT, turns.FLIP_TOP_BOTTOM, turns.ROTATE_90, turns.ROTATE_180,
                 turns.ROTATE_270, turns.TRANSPOSE, turns.TRANSVERSE):  # fmt: skip
        yield lambda image, turn=turn: image.transpose(turn)
    for left in CROPS:
        edge = round(64 * (1 - left))
        yield lambda image, edge=edge: image.crop((edge, edge, 128 - edge, 128 - edge)).resize(
            (128, 128), Image.Resampling.BICUBIC
        )


def _vectors(images: list[Image.Image]) -> np.ndarray:
    """Each image at 32×32 as a vector of length 1 around 0; 0 where it is constant."""
    small = [np.asarray(image.resize((32, 32), Image.Resampling.BOX)) for image in images]
    pixels = np.stack(small).reshape(len(small), -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return pixels / (np.linalg.norm(pixels, axis=1, keepdims=True) + 1e-9)
