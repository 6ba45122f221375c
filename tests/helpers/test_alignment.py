"""Alignment: finds the change that was made, and tells a copy from another head."""

import numpy as np
import pytest
from PIL import Image

from helpers import alignment, phantom, preprocessing


@pytest.fixture(scope="module")
def heads():
    greys, _ = phantom.draw_slices(24, 5)
    greys = [preprocessing.shrink(preprocessing.pad_to_square(grey), 128) for grey in greys]
    return preprocessing.to_tanh_range(np.stack(greys))[..., None]


def change(image, *, degrees=0.0, shear=0.0, scale=1.0, shift=(0.0, 0.0), flip=(1, 1)):
    """A changed copy, by Pillow, and the matrix that leads from the original to the copy."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ [[1, shear], [0, 1]] @ np.diag(flip) * scale  # from copy to original
    size = image.shape[0]
    middle = np.full(2, size / 2)
    offset = middle - linear @ middle + np.array(shift) * size / 2
    data = (*linear[0], offset[0], *linear[1], offset[1])
    picture = Image.fromarray(image[..., 0])
    filled = {"fillcolor": float(image.min()), "resample": Image.Resampling.BILINEAR}
    copy = np.asarray(picture.transform((size, size), Image.Transform.AFFINE, data, **filled))
    back = np.linalg.inv(linear)
    return copy[..., None], np.column_stack([back, -back @ np.array(shift)])


def lay(images, references, pairs=None, flips=(1, 1), size=64):
    """Align from no more than the right flips: roughly on blurred images, then exactly."""
    pairs = np.stack([np.arange(len(images))] * 2, axis=1) if pairs is None else pairs
    starts = np.zeros((len(pairs), 2, 3))
    starts[:, [0, 1], [0, 1]] = flips
    rough = alignment.refine(images, references, pairs, starts, size=32, steps=12, blurred=True)
    return alignment.refine(images, references, pairs, rough.matrices, size=size)


def test_the_change_that_was_made_is_found(heads):
    rng = np.random.default_rng(0)
    flips = rng.choice([-1, 1], (len(heads), 2))
    copies, made = zip(
        *[
            change(
                head, degrees=rng.uniform(-8, 8), shear=rng.uniform(-0.1, 0.1),
                scale=rng.uniform(0.92, 1.08), shift=rng.uniform(-0.06, 0.06, 2), flip=flip,
            )
            for head, flip in zip(heads, flips, strict=True)
        ], strict=True,
    )  # fmt: skip
    found = lay(0.4 * np.stack(copies) - 0.5, heads, flips=flips)  # paler, too
    right = np.abs(found.matrices - np.stack(made)).max(axis=(1, 2)) < 0.03
    assert right.mean() >= 0.75
    assert found.detail[right].min() > 0.8 and found.correlation[right].min() > 0.95


def test_heads_of_different_people_have_a_high_correlation_but_a_low_detail(heads):
    pairs = np.array([(i, j) for i in range(12) for j in range(12, 24)])
    found = lay(heads, heads, pairs)
    assert np.median(found.correlation) > 0.85, "the outlines are alike"
    assert found.detail.max() < 0.8
    same = lay(heads, heads)
    assert same.detail.min() > 0.99 and same.correlation.min() > 0.99
    assert np.abs(same.matrices - [[1, 0, 0], [0, 1, 0]]).max() < 0.01


def test_an_image_without_content_is_like_nothing():
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(4, 32, 32, 1))
    found = lay(np.zeros((4, 32, 32, 1)), noise, size=32)
    assert np.isfinite(found.matrices).all()
    assert np.abs(found.correlation).max() < 0.05 and np.abs(found.detail).max() < 0.05


def test_pairs_do_not_depend_on_what_else_is_asked(heads):
    pairs = np.array([(0, 3), (5, 5), (7, 2), (0, 9)])
    together = lay(heads, heads, pairs)
    alone = lay(heads[5:6], heads[5:6])
    assert np.allclose(together.detail[1], alone.detail[0], atol=1e-4)


def test_a_start_that_is_nearly_right_is_refined(heads):
    copies, made = zip(
        *[change(head, degrees=7, shift=(0.06, -0.04), flip=(-1, 1)) for head in heads[:8]],
        strict=True,
    )
    pairs = np.stack([np.arange(8)] * 2, axis=1)
    starts = np.tile(np.array([[-1.0, 0, 0], [0, 1, 0]]), (8, 1, 1))
    copies = np.stack(copies)
    rough = alignment.refine(copies, heads[:8], pairs, starts, size=32, steps=8, blurred=True)
    found = alignment.refine(copies, heads[:8], pairs, rough.matrices)
    right = np.abs(found.matrices - np.stack(made)).max(axis=(1, 2)) < 0.03
    assert right.mean() >= 0.75 and found.detail[right].min() > 0.9
    none = alignment.refine(heads, heads, pairs[:0], starts[:0])
    assert none.detail.shape == (0,) and none.matrices.shape == (0, 2, 3)
