"""The test for copies: against theory, and with copies planted."""

import numpy as np
import pytest

from helpers import copies, planted, preprocessing
from helpers.files import CourseError


@pytest.fixture(scope="module", params=["heads", "textures"])
def pool(request):
    if request.param == "textures":
        return planted.draw_textures(700, 77)[0]
    images, labels = preprocessing.fresh_slices(1400, 77)
    return images[labels == 1]


@pytest.fixture(scope="module")
def sets(pool):
    """Real images, and new ones, three times."""
    drawn = [pool[np.random.default_rng([5, k]).permutation(len(pool))] for k in range(3)]
    return [(x[:72], x[72:100], x[100:260]) for x in drawn]


def find(images, train, held_out):
    return copies.find_copies(images, train, held_out, np.arange(len(train) + len(held_out)))


# Of 100 sets each, experiments/results/copying.json has all flagged.
@pytest.mark.parametrize("disguise", [*planted.DISGUISES, "mixed"])
def test_five_copies_in_a_hundred_are_named_with_their_originals(sets, disguise):
    change = (planted.DISGUISES | {"mixed": planted.mix})[disguise]
    for k, (train, held_out, fresh) in enumerate(sets):
        rng = np.random.default_rng(k)
        images, places, originals = planted.plant_copies(fresh, train, 8, rng, change)
        found = find(images, train, held_out)
        assert found["flagged"] and found["p_value"] < copies.LEVEL
        named = {copy["image"]: copy["real"] for copy in found["copies"]}
        right = sum(named.get(i) == j for i, j in zip(places, originals, strict=True))
        assert right >= 6 and len(named) <= 9
        assert found["ci"][0] < 0.05 < found["ci"][1]


def test_new_images_are_no_copies_sharp_or_blurred(sets):
    flags = [
        find(change(fresh), train, held_out)["flagged"]
        for train, held_out, fresh in sets
        for change in (lambda x: x, planted.blur)
    ]
    assert sum(flags) <= 1


def test_copies_of_held_out_images_are_not_held_against_the_generator(sets):
    train, held_out, fresh = sets[0]
    images = fresh.copy()
    images[:8] = held_out[:8]
    found = find(images, train, held_out)
    assert not found["flagged"] and not found["copies"] and found["near_held_out"] >= 8
    images[8:13] = train[:5]  # fewer, in proportion to 72 and 28
    assert not find(images, train, held_out)["flagged"]


def test_a_copy_of_a_picture_that_one_person_has_twice_is_found(sets):
    """Its twin lies as near, so only known groups can tell."""
    train, held_out, fresh = sets[0]
    train = np.concatenate([train[:1], train[:-1]])
    images = fresh.copy()
    images[3] = train[0]
    groups = np.r_[0, 0, np.arange(1, 99)]
    found = copies.find_copies(images, train, held_out, groups)
    assert [copy["image"] for copy in found["copies"]] == [3] and not found["twins"]
    unknown = find(images, train, held_out)
    assert not unknown["flagged"] and unknown["twins"] == [(0, 1)]


def test_alignment_undoes_flip_shift_turn_contrast_and_blur(pool):
    from scipy.ndimage import rotate

    real, rng = pool[:20], np.random.default_rng(0)
    turned = rotate(real, 5, (2, 1), reshape=False, order=1, mode="nearest")
    for changed in (
        real[:, :, ::-1], planted.shift(real, rng), turned, 0.7 * real + 0.2, planted.blur(real),
    ):  # fmt: skip
        distances = copies.aligned_distances(changed, real)
        assert (distances.argmin(axis=1) == np.arange(20)).all()
        off = distances[~np.eye(20, dtype=bool)]
        assert np.diag(distances).max() < 0.5 * np.quantile(off, 0.05)


def test_chances_are_those_of_points_spread_at_random():
    """In 6 dimensions; the share of chances under a level is the level."""
    levels, found = (0.1, 0.01), []
    for k in range(40):
        points = np.random.default_rng(k).normal(size=(300, 6))
        squares = ((points[:, None] - points[None, :100]) ** 2).sum(axis=2)
        groups = np.arange(100)
        usual, _ = copies.nearness(squares[:100], groups, own=groups)
        near, _ = copies.nearness(squares[100:], groups)
        found.append(copies.chances(near, usual))
    for level in levels:
        share = np.mean(np.concatenate(found) < level)
        assert 0.6 * level < share < 1.4 * level


def test_too_few_people_are_refused():
    images = np.zeros((30, 32, 32, 1))
    with pytest.raises(CourseError, match="at least 20 groups of a class, not 19"):
        copies.find_copies(images, images, images[:0], np.minimum(np.arange(30), 18))


def test_a_set_that_repeats_its_training_images_under_noise_is_called(sets):
    """Half of the images are training slices: no single one is clear, the set as a whole is."""
    for k, (train, held_out, fresh) in enumerate(sets):
        rng = np.random.default_rng(k)
        half = len(fresh) // 2
        repeated = np.concatenate([train[rng.integers(0, len(train), half)], fresh[half:]])
        called = []
        for images in (fresh, repeated):
            noisy = np.clip(images + rng.normal(0, 0.3, images.shape), -1, 1).astype(np.float32)
            called.append(find(noisy, train, held_out)["repeats_p"])
        assert called[1] < copies.LEVEL < called[0]


def test_the_second_test_keeps_its_level(sets):
    """Which real images were trained on is drawn anew: the p-values are even."""
    train, held_out, fresh = sets[0]
    distances = copies.aligned_distances(fresh, np.concatenate([train, held_out]))
    rng = np.random.default_rng(0)
    groups = np.arange(100)
    found = [
        copies.favours_training(distances[:, rng.permutation(100)], groups, 72) for _ in range(400)
    ]
    assert 0.005 < np.mean(np.array(found) < 0.05) < 0.095
    assert abs(np.mean(found) - 0.5) < 0.06


def test_people_on_both_sides_are_left_out_of_the_second_test():
    """With fewer than five people whom the generator has not seen there is nothing to compare."""
    distances = np.random.default_rng(0).random((50, 30))
    groups = np.concatenate([np.arange(24), np.arange(6)])
    assert copies.favours_training(distances, groups, 24) == 1
    alone = np.arange(30)
    distances[:, :24] /= 100
    assert copies.favours_training(distances, alone, 24) < 0.001
    assert copies.favours_training(distances[:, ::-1], alone, 6) > 0.5
