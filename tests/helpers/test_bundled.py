"""The bundled classifier: converged, independent of order, and weighted as it is said to be."""

import numpy as np
import pytest

from helpers import bundled, preprocessing
from helpers.arms import ARMS
from helpers.classifiers import Arm


@pytest.fixture(scope="module")
def slices():
    return preprocessing.fresh_slices(36, seed=11)


@pytest.fixture(scope="module")
def more():
    return preprocessing.fresh_slices(24, seed=12)


def gradient(head: bundled.Head, parts: list[bundled.Examples]) -> np.ndarray:
    """Of half the squared weights plus C times the weighted loss, written out."""
    x = np.concatenate([part.features for part in parts]).astype(np.float64)
    x = (x - head.scaler.mean_) / head.scaler.scale_
    y = np.concatenate([part.labels for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    coefficients, intercept = head.regression.coef_[0], head.regression.intercept_[0]
    error = weights * (1 / (1 + np.exp(-(x @ coefficients + intercept))) - y)
    return np.append(coefficients + bundled.C * error @ x, bundled.C * error.sum())


def test_the_fit_has_converged_and_moves_nowhere(slices):
    images, labels = slices
    real = bundled.view_features(images, 4)
    parts = [bundled.weigh_classes(real, labels, len(images))]
    head = bundled.fit_head(parts, real)
    assert np.linalg.norm(head.regression.coef_) > 0.1
    assert np.abs(gradient(head, parts)).max() < 1e-4
    arm = bundled.fit_arm("classic", images, labels)
    assert np.allclose(arm.answer(real[:, 0]), head.answer(real[:, 0]), atol=1e-6)


def test_the_answer_does_not_depend_on_order(slices, more):
    images, labels = slices
    order = np.random.default_rng(0).permutation(len(images))
    test = bundled.view_features(more[0], 1)[:, 0]
    for name in ("classic", "classic_long"):
        one = bundled.fit_arm(name, images, labels).answer(test)
        other = bundled.fit_arm(name, images[order], labels[order]).answer(test)
        assert np.abs(one - other).max() < 1e-4, name
    added = [values[::-1] for values in more]
    one = bundled.fit_arm("oracle", images, labels, *more).answer(test)
    other = bundled.fit_arm("oracle", images, labels, *added).answer(test)
    assert np.abs(one - other).max() < 1e-4


def test_a_feature_that_hardly_varies_in_training_does_not_decide():
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    real = rng.normal(size=(40, 1, 30))
    real[:, 0, 0] += 2 * labels
    real[:, 0, 29] = 1e-6 * (labels + rng.normal(size=40))  # all but constant
    head = bundled.fit_head([bundled.weigh_classes(real, labels, 40)], real)
    test = rng.normal(size=(20, 30))
    test[:, 29] = 0
    other = test.copy()
    other[:, 29] = 1
    assert np.abs(head.answer(test) - head.answer(other)).max() < 0.05


def test_an_images_views_depend_on_nothing_but_the_image(slices):
    images, _ = slices
    many = bundled.augmented_views(images[:4], 16)
    few = bundled.augmented_views(images[2:3], 4)
    assert np.array_equal(few[0], many[2, :4]), "the others, or how many there are, change them"
    assert np.array_equal(many[:, 0], images[:4]), "the first view is the image itself"
    flat = many[0].reshape(16, -1)
    assert len(np.unique(flat, axis=0)) == 16
    assert not np.array_equal(many[0, 1] - images[0], many[1, 1] - images[1])


def test_weights_sum_to_the_real_slices_and_half_is_the_added_ones(slices, more, monkeypatch):
    images, labels = slices
    kept = np.r_[np.flatnonzero(labels == 1)[:12], np.flatnonzero(labels == 0)]
    images, labels = images[kept], labels[kept]  # classes of unequal size
    assert np.bincount(labels).tolist() == [18, 12]
    seen = {}

    def keep(parts, real, *_):
        seen["parts"], seen["real"] = parts, real

    monkeypatch.setattr(bundled, "fit_head", keep)
    for name, kind in ARMS.items():
        bundled.fit_arm(name, images, labels, *(more if kind.added else (None, None)))
        name = kind.like or name
        views = ARMS[name].views
        parts = seen["parts"]
        total = sum(part.weights.sum() for part in parts)
        assert total == pytest.approx(len(images)), name
        assert np.array_equal(seen["real"], bundled.view_features(images, views)), name
        if name == "mixup" or (ARMS[name].added and name not in ("gan_only", "original_gan")):
            assert [p.weights.sum() for p in parts] == pytest.approx([len(images) / 2] * 2), name
        for part in parts[:1]:
            positive = part.weights[part.labels == 1].sum()
            assert positive == pytest.approx(part.weights.sum() / 2), name
        expected = {"gan_only": 24, "original_gan": 54}.get(name, 30) * views
        assert len(parts[0].labels) == expected, name
        if name in ("classic_gan", "part_gan", "oracle", "oracle_part"):
            assert len(parts[1].labels) == 24 * 4
        if name == "mixup":
            assert len(parts[1].labels) == 2 * 3 * 30


def test_a_mixed_image_stands_under_both_labels_by_its_shares(slices, monkeypatch):
    images = np.concatenate([np.full((10, 32, 32, 1), -1.0), np.full((6, 32, 32, 1), 1.0)])
    labels = np.repeat([0, 1], [10, 6])
    monkeypatch.setattr(bundled, "augmented_views", lambda images, count: images[:, None])
    monkeypatch.setattr(bundled.trunk, "features", lambda mixed: mixed.mean(axis=(1, 2)))
    mixed = bundled.mix(images, labels)
    assert len(mixed.weights) == 2 * 3 * 16 and mixed.weights.sum() == pytest.approx(8)
    first, second = np.split(mixed.weights * 48 / 8, 2)
    assert first + second == pytest.approx(1.0)
    grey = mixed.features[:48, 0]  # of a black and a white image it tells the share of white
    positive = [first, second] * np.stack(np.split(mixed.labels, 2))
    assert (grey + 1) / 2 == pytest.approx(positive.sum(axis=0), abs=1e-5)
    both = np.split(mixed.labels, 2)
    assert both[0].mean() == both[1].mean() == 0.5
    assert (both[0] != both[1]).any() and (both[0] == both[1]).any()


def test_it_learns_and_added_images_are_asked_for_by_the_arms_that_have_them(slices, more):
    images, labels = slices
    test, test_labels = preprocessing.fresh_slices(200, seed=13)
    test = bundled.view_features(test, 1)[:, 0]
    answers = bundled.fit_arm("classic", images, labels).answer(test)
    assert ((answers > 0.5) == test_labels).mean() > 0.6
    reverse = bundled.fit_arm("classic", images, 1 - labels).answer(test)
    assert reverse == pytest.approx(1 - answers, abs=1e-4)
    with pytest.raises(ValueError, match="classic_gan: added images"):
        bundled.fit_arm("classic_gan", images, labels)
    with pytest.raises(ValueError, match="classic: added images"):
        bundled.fit_arm("classic", images, labels, *more)


def test_notebook_arms_are_fitted_on_their_images_and_scored_on_the_test(slices, more):
    """Each arm's probabilities are those of `fit_arm` on its own images; shares are augmented."""
    images, labels = slices
    test, fresh = preprocessing.fresh_slices(20, seed=13), preprocessing.fresh_slices(30, seed=14)
    shuffled = more[0], more[1][::-1]
    arms = {
        "original": Arm(images, labels),
        "gan_only": Arm(*more),
        "original_gan": Arm(images, labels, *more),
        "classic_gan": Arm(images, labels, *more, augment=np.copy),
        "control_shuffled": Arm(images, labels, *shuffled, augment=np.copy),
        0.5: Arm(images[:18], labels[:18], augment=np.copy),
    }
    found = bundled.run_arms(
        arms, test=test, validation=more, fresh=fresh, protocol="steps", steps=3, seed=1, keep=None
    )
    by_hand = {
        "original": bundled.fit_arm("original", images, labels),
        "gan_only": bundled.fit_arm("gan_only", images, labels, *more),
        "original_gan": bundled.fit_arm("original_gan", images, labels, *more),
        "classic_gan": bundled.fit_arm("classic_gan", images, labels, *more),
        "control_shuffled": bundled.fit_arm("classic_gan", images, labels, *shuffled),
        0.5: bundled.fit_arm("classic", images[:18], labels[:18]),
    }
    for name, head in by_hand.items():
        expected = head.answer(bundled.view_features(test[0], 1)[:, 0])
        assert np.allclose(found.probabilities[name], expected, atol=1e-6), name
        assert found.scores[name]["accuracy"] == np.mean((expected >= 0.5) == test[1])
        right = (head.answer(bundled.view_features(fresh[0], 1)[:, 0]) >= 0.5) == fresh[1]
        assert found.scores[name]["fresh_accuracy"] == right.mean()
    assert list(found.scores) == list(arms)
    with pytest.raises(KeyError, match="new_arm"):  # and not fitted as another one
        bundled.run_arms({"new_arm": Arm(images, labels)}, test=test, validation=more)
    with pytest.raises(TypeError, match="frehs"):
        bundled.run_arms(arms, test=test, validation=more, frehs=fresh)
