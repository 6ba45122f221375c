"""Look-alikes on drawn heads: copies are joined, different people are not."""

import numpy as np
import pytest

from helpers import lookalikes, phantom, preprocessing


@pytest.fixture(scope="module")
def heads():
    greys, _ = phantom.draw_slices(16, 8)
    return [preprocessing.shrink(preprocessing.pad_to_square(grey), 128) for grey in greys]


def test_copies_are_joined_and_different_people_are_not(heads):
    copies = [heads[k][6:122, 4:126] for k in range(4)]  # cropped, and so enlarged
    copies += [np.uint8(0.5 * heads[k][:, ::-1]) for k in range(4, 8)]  # flipped and darkened
    found = lookalikes.find_lookalikes([*heads, *copies])
    pairs = {tuple(pair) for pair in found.pairs.tolist()}
    assert pairs == {(k, 16 + k) for k in range(8)}
    changed = dict(zip(map(tuple, found.pairs.tolist()), found.changed, strict=True))
    assert all(changed[k, 16 + k] for k in range(4, 8)), "a flip is a change"
    assert (np.diff(found.detail) <= 0).all() and found.warning == ""


def test_a_set_of_many_changed_copies_is_warned_of():
    pairs = np.array([(k, k + 20) for k in range(20)])
    found = lookalikes.Lookalikes(pairs, np.ones(20), np.arange(20) > 3, 60)
    assert found.warning.startswith("32 of 60 images are one picture with others, flipped")
    few = lookalikes.Lookalikes(pairs, np.ones(20), np.arange(20) > 15, 60)
    assert few.warning == ""
