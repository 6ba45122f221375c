"""Look-alikes on drawn images: copies are joined, different people are not."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from helpers import files, lookalikes, phantom, planted, preprocessing
from helpers.folder import examine


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
    assert (np.diff(found.detail) <= 0).all()


def test_a_set_of_many_changed_copies_is_warned_of():
    pairs = np.array([(k, k + 20) for k in range(20)])
    found = lookalikes.Lookalikes(pairs, np.ones(20), np.arange(20) > 3, 60)
    assert found.warning.startswith("32 of 60 images are one picture with others, flipped")
    few = lookalikes.Lookalikes(pairs, np.ones(20), np.arange(20) > 15, 60)
    assert few.warning == ""


def augment(grey, rng):
    """Turned by up to 15 degrees, flipped both ways, shifted by up to a tenth, darkened."""
    turned = Image.fromarray(grey[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])])
    shift = tuple(rng.uniform(-0.1, 0.1, 2) * len(grey))
    turned = turned.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR, translate=shift)
    return (np.asarray(turned) * rng.uniform(0.3, 1)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["heads", "textures"])
def test_augmented_copies_join_their_originals_and_no_chain_joins_people(heads, kind):
    rng = np.random.default_rng(0)
    originals = heads
    if kind == "textures":
        drawn, _ = planted.draw_textures(16, 3, size=128)
        originals = list(preprocessing.to_grey_levels(drawn[..., 0]))
    copies = [augment(grey, rng) for grey in originals for _ in range(4)]
    owner = np.r_[np.arange(16), np.repeat(np.arange(16), 4)]
    found = lookalikes.find_lookalikes([*originals, *copies])
    groups = preprocessing.join_groups(len(owner), found.pairs.tolist())
    assert np.mean(groups == groups[owner]) >= 0.9
    assert len(np.unique(groups[:16])) == 16
    count = int(found.warning.split()[0])
    assert count >= 70 and f"of {len(owner)} images" in found.warning


def test_a_chain_of_changes_is_one_group(heads):
    """Each link is a copy of the link before, cropped and turned further."""
    links = [heads[0]]
    for _ in range(4):
        turned = Image.fromarray(links[-1]).rotate(9, Image.Resampling.BILINEAR)
        links.append(np.asarray(turned)[3:-3, 3:-3])
    found = lookalikes.find_lookalikes([*heads[1:], *links])
    groups = preprocessing.join_groups(20, found.pairs.tolist())
    assert len(set(groups[15:])) == 1 and len(set(groups)) == 16


@pytest.mark.parametrize("size", [12, 28])
def test_small_pictures_of_different_people_stay_apart(size):
    drawn, _ = phantom.draw_slices(60, 3)
    small = [preprocessing.shrink(grey, size) for grey in drawn]
    assert len(lookalikes.find_lookalikes(small).pairs) == 0


def test_too_few_or_empty_images_are_like_nothing():
    assert len(lookalikes.find_lookalikes([np.zeros((40, 30), np.uint8)]).pairs) == 0
    blank = [np.full((40, 30), level, np.uint8) for level in (0, 90, 255)]
    assert len(lookalikes.find_lookalikes(blank).pairs) == 0


def test_a_folder_of_augmented_copies_is_grouped_and_warned_of(heads, tmp_path):
    """By the pictures alone, for the names say nothing that the program could read."""
    rng = np.random.default_rng(1)
    greys = [*heads, *[augment(grey, rng) for grey in heads for _ in range(2)]]
    for i, place in enumerate(rng.permutation(len(greys)).tolist()):
        Image.fromarray(greys[place]).save(tmp_path / f"{i:03}-{place}.png")
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    rows = [f"{name},{owner_of(name) % 2}\n" for name in names]
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(rows))
    found = examine(tmp_path, 0, {}, strict=False)
    groups = {}
    for group, name in zip(found.grouping.groups, found.slices.table["file"], strict=True):
        groups.setdefault(group, set()).add(owner_of(name))
    assert all(len(people) == 1 for people in groups.values()) and len(groups) <= 20
    said = {warning["kind"]: warning["text"] for warning in found.warnings}
    assert "of 48 images are one picture with others" in said["augmented"] and "copies" in said


def owner_of(name: str) -> int:
    place = int(name.removesuffix(".png").split("-")[1])
    return place if place < 16 else (place - 16) // 2


def test_searching_loads_no_tensorflow():
    """So that `course check` starts quickly."""
    program = "import sys, numpy as np; from helpers import folder, lookalikes\n"
    program += "greys = list(np.random.default_rng(0).integers(0, 255, (3, 40, 40), np.uint8))\n"
    program += "lookalikes.find_lookalikes(greys); assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=files.PROJECT)
