"""The checks for leaks: near copies, strangers, a test set that opens once."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from helpers import leaks, machine, preprocessing
from helpers.files import CourseError

keras = pytest.importorskip("keras")


def test_near_copies_are_found_and_other_heads_are_not():
    images = preprocessing.fresh_slices(150, 98)[0]
    moved = np.roll(images[:, :, ::-1], (2, -1), axis=(1, 2))
    grain = 0.05 * np.random.default_rng(0).standard_normal(images.shape)
    assert leaks.near_copies(0.8 * moved + grain, images).mean() > 0.9
    assert not leaks.near_copies(preprocessing.fresh_slices(150, 99)[0], images).any()


def test_strangers_are_images_that_are_not_real_to_the_last_bit(slices):
    images = slices[0]
    other = images[:4].copy()
    other[2, 5, 5] += 1e-6
    assert leaks.not_in_real(other, images).tolist() == [False, False, True, False]


def test_a_sealed_test_opens_once(slices):
    sealed = leaks.SealedTest(*slices)
    assert np.array_equal(sealed.open()[0], slices[0])
    with pytest.raises(CourseError, match="opened before"):
        sealed.open()


def test_notebook_05_opens_its_test_once_and_only_for_gans_of_the_same_split():
    cells = json.loads((ROOT / "notebooks" / "05_evaluation.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert code.count('SealedTest(*prepared.part("test"))') == code.count('part("test"') == 1
    assert code.count(".open()") == 1
    assert code.index("check_origin(prepared, ") < code.index(".open()")


def test_a_gan_of_another_split_is_refused(slices):
    images, labels = slices
    table = pd.DataFrame({"label": labels, "split": "train"})
    table.loc[16:23, "split"] = "test"
    prepared = preprocessing.Prepared(images, table)
    seen = {label: prepared.part("train", label)[0] for label in (1, 0)}
    gans = {
        f"class {k}": {"label": k, "trained_on": machine.fingerprint(x)} for k, x in seen.items()
    }
    leaks.check_origin(prepared, gans)
    gans["class 1"]["trained_on"] = machine.fingerprint(images[labels == 1])
    with pytest.raises(CourseError, match="class 1: its GAN was trained on other images"):
        leaks.check_origin(prepared, gans)
