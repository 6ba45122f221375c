"""Checks against leaks: near copies, a test set opened once, the GANs' origin (notebook 05)."""

from typing import Any

import numpy as np

from helpers import machine, measures, preprocessing
from helpers.files import CourseError

NEAR_COPY = 0.985  # correlation; heads of different patients were found alike up to 0.98


def near_copies(images: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Which images have a near copy among those seen: moved by two pixels, or mirrored.

    Args:
        images: Test images ``(n, height, width, 1)``.
        seen: All that a classifier, or a generator before it, was fitted on ``(m, ...)``.

    Returns:
        True or False for each image, ``(n,)``.
    """
    return measures.pixel_likeness(images, seen).max(axis=1) > NEAR_COPY


def not_in_real(images: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Which images are not among the real ones, to the last bit.

    Args:
        images: What a score was computed on ``(n, ...)``.
        real: The test images of the split ``(m, ...)``, of the same type.
    """
    known = {image.tobytes() for image in real}
    return np.array([image.tobytes() not in known for image in images])


class SealedTest:
    """Test images that can be opened only once: a second look would be a choice made on them."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._content: tuple[np.ndarray, np.ndarray] | None = (images, labels)

    def open(self) -> tuple[np.ndarray, np.ndarray]:
        """Return images and labels, once.

        Raises:
            CourseError: They were opened before.
        """
        if self._content is None:
            raise CourseError(
                "test images: they were opened before, so what is chosen by them now is chosen on "
                "the test set: choose on the validation images."
            )
        content, self._content = self._content, None
        return content


def check_origin(prepared: preprocessing.Prepared, gans: dict[str, dict[str, Any]]) -> None:
    """Make sure that each GAN was trained on this split's training images of its class.

    Args:
        prepared: Images and their split.
        gans: What notebook 03 recorded by class: among it `label` and `trained_on`.

    Raises:
        CourseError: One was trained on others: the split was drawn anew since, or all were used.
    """
    for name, gan in gans.items():
        if machine.fingerprint(prepared.part("train", gan["label"])[0]) != gan["trained_on"]:
            raise CourseError(
                f"{name}: its GAN was trained on other images than the training images of this "
                "split, so it may have seen test images: run notebooks 03 and 04 again."
            )
