"""Samples that were prepared otherwise than the data are noticed, and others are not."""

import numpy as np
import pytest
from scipy.ndimage import zoom

from helpers import phantom, planted, preprocessing
from helpers.folder import read_folder
from helpers.preparation import find_differences
from helpers.preprocessing import shrink


@pytest.fixture(scope="module")
def heads():
    images, labels = preprocessing.fresh_slices(320, 78)
    return images[labels == 0]


def squeeze(images):
    wide = zoom(images, (1, 1, 1.25, 1), order=1)
    return wide[:, :, (wide.shape[2] - 32) // 2 :][:, :, :32]


@pytest.mark.parametrize(("change", "words"), [
    (lambda x: -x, "inverted"),
    (lambda x: np.clip(x + 0.5, -1, 1), "brighter"),
    (lambda x: x * 0.5 - 0.5, "lower in contrast"),
    (squeeze, "wider"),
])  # fmt: skip
def test_what_was_done_to_the_samples_is_said(heads, change, words):
    (found, *more) = find_differences(change(heads[:80]), heads[80:])
    assert any(words in sentence for sentence in [found, *more])


@pytest.mark.parametrize("label", [0, 1])
def test_slices_squeezed_to_a_square_are_noticed_where_the_data_are_padded(tmp_path, label):
    read = read_folder(phantom.write_dataset(tmp_path, n=160, seed=5))
    greys = [read.greys[i] for i in np.flatnonzero(read.table["label"] == label)]
    padded = preprocessing.prepare(greys)
    squeezed = preprocessing.prepare([shrink(grey, 32) for grey in greys[:40]])
    assert find_differences(padded[:40], padded[40:]) == []
    (found,) = find_differences(squeezed, padded[40:])
    assert "wider than the real ones (median shape" in found


def test_true_and_blurred_images_were_prepared_alike(heads):
    textures, _ = planted.draw_textures(160, 3)
    for images in (heads, textures):
        assert find_differences(images[:80], images[80:]) == []
        assert find_differences(planted.blur(images[:80], 0.4), images[80:]) == []
