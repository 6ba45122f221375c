"""The bundled trunk: equal to the original network, the same everywhere, and safe to open."""

import hashlib

import keras
import numpy as np
import pytest
from conftest import ROOT

from helpers import preprocessing, trunk
from helpers.files import CourseError

HERE = ROOT / "data" / "trunk"


@pytest.fixture(autouse=True)
def nothing_known():
    trunk._known_features().clear()


@pytest.fixture(scope="module")
def reference():
    """Images, and the features that the original network in PyTorch has for them."""
    with np.load(HERE / "reference.npz") as saved:
        return preprocessing.to_tanh_range(saved["greys"])[..., None], saved["features"]


def relative(found, expected):
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


def test_features_are_those_of_the_original_network(reference):
    images, expected = reference
    found = trunk.features(images)
    assert found.dtype == np.float32 and found.shape == (10, trunk.FEATURES)
    assert relative(found, expected).max() < 0.005
    assert relative(found, np.roll(expected, 1, axis=0)).min() > 0.2, "any features would do"


def test_features_do_not_depend_on_batches_order_or_global_precision(reference):
    images, _ = reference
    together = trunk.features(images)
    trunk._known_features().clear()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trunk._bundled.cache_clear()
        apart = trunk.features(images[::-1], batch=3)[::-1]
    finally:
        keras.config.set_dtype_policy("float32")
        trunk._bundled.cache_clear()
    assert relative(apart, together).max() < 1e-5


def test_images_larger_than_the_network_are_filtered_before_they_shrink():
    stripes = np.isin(np.arange(512) % 4, (1, 2)) * 2.0 - 1.0  # where only the middle is sampled
    fine = np.tile(stripes, (512, 1))  # this picture is white
    grey = np.zeros((512, 512))
    found, white, filtered = trunk.features(np.stack([fine, grey + 1, grey])[..., None])
    assert np.linalg.norm(found - filtered) < 0.5 * np.linalg.norm(found - white)


def test_an_image_is_computed_once_and_the_memory_is_bounded(reference, monkeypatch):
    images, _ = reference
    computed = []
    compute = trunk._bundled()

    def counting(images, size):
        computed.append(len(images))
        return compute(images, size)

    monkeypatch.setattr(trunk, "_bundled", lambda: counting)
    first = trunk.features(np.concatenate([images, images]), batch=10)
    assert computed == [10] and (first[:10] == first[10:]).all()
    assert (trunk.features(images[3:4]) == first[3]).all() and computed == [10]
    trunk.features(images[:1], size=64)
    assert len(computed) == 2, "another size was taken for the same"
    monkeypatch.setattr(trunk, "MOST_KEPT", 4)
    trunk.features(-images, batch=10)
    assert len(trunk._known_features()) == 4
    assert trunk.features(images[:0]).shape == (0, trunk.FEATURES)


def test_equal_bytes_of_another_shape_are_another_image():
    wide = np.linspace(-1, 1, 32 * 64).reshape(1, 32, 64, 1)
    tall = wide.reshape(1, 64, 32, 1)
    assert not np.array_equal(trunk.features(wide), trunk.features(tall))


def test_a_damaged_or_missing_file_is_refused_in_one_sentence(tmp_path, monkeypatch):
    content = bytearray(trunk.WEIGHTS.read_bytes())
    content[5_000_000] ^= 1
    (tmp_path / "trunk.npz").write_bytes(content)
    monkeypatch.setattr(trunk, "WEIGHTS", tmp_path / "trunk.npz")
    with pytest.raises(CourseError, match=r"trunk\.npz is damaged .* restore it"):
        trunk.open_weights()
    (tmp_path / "trunk.npz").unlink()
    with pytest.raises(CourseError, match=r"trunk\.npz is missing: restore it"):
        trunk.open_weights()


def test_weights_of_other_names_or_shapes_are_refused():
    weights = trunk.open_weights()
    model = trunk.build_efficientnet()
    with pytest.raises(ValueError, match="stem/bias"):
        trunk.load_weights(model, weights | {"stem/bias": np.zeros(31)})
    with pytest.raises(ValueError, match="further/kernel"):
        trunk.load_weights(model, weights | {"further/kernel": np.zeros(3)})


def test_the_card_tells_the_file_and_the_licence_is_there():
    card = " ".join((HERE / "README.md").read_text(encoding="utf-8").split())
    content = trunk.WEIGHTS.read_bytes()
    assert hashlib.sha256(content).hexdigest() in card and f"{len(content):,} bytes" in card
    assert len(content) < 8_000_000
    assert "Apache License" in (HERE / "LICENSE").read_text()
    assert "Apache" in card and "ML Illustrated" in card
