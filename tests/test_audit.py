"""Quality measures against references, by simulation, and with planted faults."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from helpers import audit


def draw(n, seed, shift=0.0, scale=1.0, d=8):
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def test_kid_against_a_reference():
    x, y = draw(40, 1), draw(30, 2, 0.5)
    kernels = [polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y))]
    off = [k[~np.eye(len(k), dtype=bool)].mean() for k in kernels[:2]]
    assert audit.kid(x, y)[0] == pytest.approx(off[0] + off[1] - 2 * kernels[2].mean())


def test_kid_error_is_a_jackknife_by_hand():
    x, y = draw(12, 1), draw(9, 2, 0.5)
    left = [
        [audit.kid(np.delete(x, i, 0), y)[0] for i in range(12)],
        [audit.kid(x, np.delete(y, i, 0))[0] for i in range(9)],
    ]
    variance = sum((len(v) - 1) * np.var(v) for v in left)
    assert audit.kid(x, y)[1] == pytest.approx(np.sqrt(variance))


def test_kid_is_unbiased_and_its_interval_covers():
    """Against the truth for two normal distributions, by pairs that share no point."""

    def mean_kernel(first, second):
        x, y = draw(1_000_000, 1, first), draw(1_000_000, 2, second)
        return np.mean(((x * y).sum(axis=1) / 8 + 1) ** 3)

    truth = mean_kernel(0, 0) + mean_kernel(0.4, 0.4) - 2 * mean_kernel(0, 0.4)
    found = np.array([audit.kid(draw(60, [3, i]), draw(60, [4, i], 0.4)) for i in range(400)])
    value, error = found.T
    assert abs(value.mean() - truth) < 4 * value.std() / 20
    covered = np.mean(np.abs(value - truth) < 1.96 * error)
    assert 0.88 < covered < 0.985
    same = np.array([audit.kid(draw(60, [5, i]), draw(60, [6, i]))[0] for i in range(200)])
    assert abs(same.mean()) < 4 * same.std() / np.sqrt(200)


def test_coverage_of_one_distribution_is_what_is_expected():
    found = [audit.neighbour_measures(draw(100, [1, i]), draw(100, [2, i])) for i in range(40)]
    for name in ("coverage", "density"):
        values = np.array([f[name] for f in found])
        expected = found[0]["coverage_expected"] if name == "coverage" else 1.0
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(40) + 0.005


def test_a_collapsed_and_a_wild_set_are_told_apart():
    real = draw(100, 1)
    collapsed = audit.neighbour_measures(real, real[:1] + draw(100, 2, scale=0.01))
    assert collapsed["precision"] == 1 and collapsed["coverage"] < 0.2 and collapsed["recall"] < 0.1
    wild = audit.neighbour_measures(real, draw(100, 2, shift=20))
    assert wild["precision"] == wild["recall"] == wild["coverage"] == 0


def test_features_tell_kinds_apart_and_fresh_slices_not():
    from helpers import dataset

    images, labels = dataset.fresh_slices(400, 8)
    bleeds, clear = (audit.judge_features(images[labels == k]) for k in (1, 0))
    assert np.allclose(np.linalg.norm(bleeds, axis=1), 8, atol=1e-3)
    value, error = audit.kid(bleeds[:100], bleeds[100:])
    assert abs(value) < 3 * error
    value, error = audit.kid(bleeds, clear)
    assert value > 20 * error


def test_unequal_sets_are_refused():
    with pytest.raises(ValueError, match="as many real"):
        audit.neighbour_measures(draw(10, 1), draw(11, 2))


def test_like_a_slice_knows_noise_from_heads_and_blur():
    from scipy.ndimage import gaussian_filter

    from helpers import dataset

    images, labels = dataset.fresh_slices(160, 3)
    real, more = images[labels == 1][:60], images[labels == 1][60:]
    assert audit.like_a_slice(more, real).mean() >= 0.9
    blurred = np.stack([gaussian_filter(image, (0.7, 0.7, 0)) for image in more])
    assert audit.like_a_slice(blurred, real).mean() >= 0.9
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 1, (20, 32, 32, 1))
    grey = np.full((20, 32, 32, 1), 0.3)
    board = np.tile(np.indices((32, 32)).sum(0) % 2 * 2.0 - 1, (20, 1, 1))[..., None]
    for fake in (noise, grey, board):
        assert not audit.like_a_slice(fake, real).any()
