"""The simulated heads: drawn from a seed alone, told apart by their bleeds alone."""

import csv
import dataclasses

import numpy as np
import pytest
from PIL import Image

from helpers import phantom, preprocessing
from helpers.files import CourseError
from helpers.judge import judge_accuracy, load_judge


def one_slice(seed: int, bleed: str | None, level: float = 0.4, **changes) -> np.ndarray:
    rng = np.random.default_rng(seed)
    patient = dataclasses.replace(phantom.random_patient(rng), **changes)
    return phantom.draw_slice(patient, rng, bleed=bleed, level=level).astype(int)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return phantom.write_dataset(tmp_path_factory.mktemp("data") / "heads", n=24, seed=3)


def groups_of(folder) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    with open(folder / "groups.csv", newline="") as listing:
        for row in csv.DictReader(listing):
            members.setdefault(row["group"], []).append(row["file"])
    return members


def grey(folder, file: str) -> np.ndarray:
    return preprocessing.prepare([preprocessing.read_grey(folder / file)])[0, ..., 0]


# --- drawn from a seed ---------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_slices_and_another_seed_others():
    first, labels = phantom.draw_slices(6, 1)
    assert first.shape == (6, 128, 128) and first.dtype == np.uint8
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]
    np.testing.assert_array_equal(first, phantom.draw_slices(6, 1)[0])
    assert (first != phantom.draw_slices(6, 2)[0]).any(axis=(1, 2)).all()


def test_a_longer_stream_begins_with_the_shorter_one():
    np.testing.assert_array_equal(phantom.draw_slices(7, 5)[0][:4], phantom.draw_slices(4, 5)[0])


def test_given_labels_change_only_the_slices_that_they_relabel():
    drawn, labels = phantom.draw_slices(6, 5)
    clear, zeros = phantom.draw_slices(6, 5, labels=np.zeros(6))
    assert zeros.tolist() == [0] * 6
    np.testing.assert_array_equal(drawn[labels == 0], clear[labels == 0])
    assert (drawn[labels == 1] != clear[labels == 1]).any(axis=(1, 2)).all()
    with pytest.raises(ValueError):
        phantom.draw_slices(3, 0, labels=[0, 1])


def test_a_slice_shows_the_same_head_at_any_size():
    large, small = (
        phantom.draw_slices(3, 4, size=size, labels=np.zeros(3))[0] for size in (256, 128)
    )
    for a, b in zip(
        preprocessing.prepare(list(large)), preprocessing.prepare(list(small)), strict=True
    ):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97


# --- classes differ by the bleed alone -----------------------------------------------------------


@pytest.mark.parametrize("bleed", phantom.BLEEDS)
def test_each_bleed_brightens_tissue_inside_the_skull_and_nothing_outside(bleed):
    for seed in range(4):
        level = 0.2 + 0.15 * seed
        without, with_bleed = one_slice(seed, None, level), one_slice(seed, bleed, level)
        changed = np.abs(with_bleed - without) > 3
        assert (with_bleed - without > 25).sum() > 40
        # Outside the head nothing may change. From the border inwards up to the skull's first
        # bright pixel, in each row and from both ends:
        bright = without > 200
        outside = ~np.logical_or.accumulate(bright, axis=1)
        outside |= ~np.logical_or.accumulate(bright[:, ::-1], axis=1)[:, ::-1]
        outside &= ~bright
        assert not (changed & outside).any()
        middle = np.argwhere(changed).mean(axis=0)
        assert (np.abs(middle - 63.5) < 50).all()


def test_calcifications_come_from_the_patient_who_is_drawn_before_the_bleed(monkeypatch):
    seen = []
    draw_slice = phantom.draw_slice

    def spy(patient, rng, **how):
        seen.append((patient, how["level"]))
        return draw_slice(patient, rng, **how)

    monkeypatch.setattr(phantom, "draw_slice", spy)
    for labels in (np.zeros(30), np.ones(30)):
        phantom.draw_slices(30, 9, size=32, labels=labels)
    assert seen[:30] == seen[30:]
    assert 0 < sum(bool(patient.calcifications) for patient, _ in seen[:30]) < 30


def test_a_calcification_brightens_a_clear_slice_less_than_a_bleed_does():
    plain = one_slice(2, None, calcifications=())
    chalky = one_slice(2, None, calcifications=phantom.CALCIFICATIONS)
    bled = one_slice(2, "intraparenchymal", calcifications=())
    assert 0 < (chalky - plain > 25).sum() < (bled - plain > 25).sum()


def test_blood_in_a_ventricle_stays_below_the_level_where_ventricles_end():
    top = one_slice(0, "intraventricular", phantom.IVH_END)
    np.testing.assert_array_equal(one_slice(0, "intraventricular", 1.0), top)


def test_an_unknown_bleed_is_refused():
    with pytest.raises(ValueError, match="bruise"):
        one_slice(0, "bruise")


# --- the embedded data set -----------------------------------------------------------------------


def test_the_data_set_has_kaggles_layout(folder):
    lines = (folder / "labels.csv").read_bytes().decode().split("\n")
    assert lines[0] == "id, hemorrhage"
    assert lines[1:-1] == [f"{i},{int(i < 12)}" for i in range(24)]
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png"))
    assert files == [f"head_ct/head_ct/{i:03d}.png" for i in range(24)]
    slices = [Image.open(folder / file) for file in files]
    assert {image.mode for image in slices} <= {"RGB", "RGBA"}
    assert len({image.size for image in slices}) > 15
    assert any(image.width != image.height for image in slices)
    assert all(110 <= edge <= 315 for image in slices for edge in image.size)


def test_groups_tell_which_files_are_one_person(folder):
    groups = groups_of(folder)
    assert {name: len(files) for name, files in groups.items()} == {
        "same": 2, "rescaled": 2, "dimmed": 2, "series": phantom.SERIES,
    }  # fmt: skip
    labels = {name: {int(file[-7:-4]) < 12 for file in files} for name, files in groups.items()}
    assert labels == {"same": {True}, "rescaled": {False}, "dimmed": {False}, "series": {False}}

    first, second = (Image.open(folder / file) for file in groups["same"])
    assert first.mode == second.mode and first.tobytes() == second.tobytes()
    for name in ("rescaled", "dimmed"):
        a, b = (grey(folder, file) for file in groups[name])
        assert len({Image.open(folder / file).size for file in groups[name]}) == 2
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97


def test_the_series_is_one_patient_at_rising_levels(folder, monkeypatch):
    series = [grey(folder, file) for file in groups_of(folder)["series"]]
    alike = np.corrcoef([image.ravel() for image in series])
    assert np.diag(alike, 1).max() < 0.999  # different slices, not copies
    drawn = []
    draw_slice = phantom.draw_slice

    def spy(patient, rng, **how):
        drawn.append((patient, how))
        return draw_slice(patient, rng, **how)

    monkeypatch.setattr(phantom, "draw_slice", spy)
    phantom._write_files(folder.parent / "again", 24, 3)
    last = drawn[-phantom.SERIES :]
    assert len({patient for patient, _ in last}) == 1
    levels = [how["level"] for _, how in last]
    assert levels == sorted(levels) and len(set(levels)) == phantom.SERIES
    assert all(how.get("bleed") is None for _, how in last)


def test_the_same_seed_writes_the_same_files(folder, tmp_path):
    again = phantom.write_dataset(tmp_path / "again", n=24, seed=3)
    for file in folder.rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (again / file.relative_to(folder)).read_bytes()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CourseError, match="something else"):
        phantom.write_dataset(tmp_path, n=24)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    phantom.write_dataset(tmp_path / "heads", n=24, seed=3)
    (tmp_path / "heads" / "mine.csv").write_text("mine")
    with pytest.raises(CourseError, match="something else"):
        phantom.write_dataset(tmp_path / "heads", n=24, seed=4)
    assert (tmp_path / "heads" / "mine.csv").read_text() == "mine"


def test_a_set_that_is_there_stays_and_another_seeds_is_replaced(tmp_path):
    phantom.write_dataset(tmp_path / "heads", n=24, seed=3)
    (tmp_path / "heads" / ".seen").touch()
    phantom.write_dataset(tmp_path / "heads", n=24, seed=3)
    assert (tmp_path / "heads" / ".seen").exists()
    images = {path.name: path.read_bytes() for path in (tmp_path / "heads").rglob("*.png")}
    phantom.write_dataset(tmp_path / "heads", n=24, seed=4)
    assert not (tmp_path / "heads" / ".seen").exists()
    assert images != {path.name: path.read_bytes() for path in (tmp_path / "heads").rglob("*.png")}


def test_an_empty_folder_is_filled_and_nothing_stays_beside_it(tmp_path):
    (tmp_path / "heads").mkdir()
    phantom.write_dataset(tmp_path / "heads", n=24)
    assert [file.name for file in tmp_path.iterdir()] == ["heads"]


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(CourseError, match=r"heads could not be written \(full\)"):
        phantom.write_dataset(tmp_path / "heads", n=24)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n", [22, 25])
def test_too_few_or_an_odd_number_is_refused(tmp_path, n):
    with pytest.raises(ValueError, match=str(n)):
        phantom.write_dataset(tmp_path / "heads", n=n)


# --- the judge -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh():
    return preprocessing.fresh_slices(500, seed=987)


def test_the_judge_knows_fresh_slices(fresh):
    images, labels = fresh
    judge = load_judge()
    shares = [judge_accuracy(images[labels == c], c, judge) for c in (0, 1)]
    assert np.mean(shares) >= 0.96
    assert judge.get_layer("features").output.shape == (None, 64)
    # Planted fault: against labels that say nothing, the same judge must be at chance.
    shuffled = np.random.default_rng(0).permutation(labels)
    shares = [judge_accuracy(images[shuffled == c], c, judge) for c in (0, 1)]
    assert abs(np.mean(shares) - 0.5) < 0.08


def test_missing_weights_are_a_sentence_that_says_how_to_make_them(monkeypatch, tmp_path):
    monkeypatch.setattr("helpers.judge.JUDGE_WEIGHTS", tmp_path / "judge.weights.h5")
    with pytest.raises(CourseError, match=r"data/judge/make\.py"):
        load_judge()


def test_shifted_slices_are_the_same_heads_as_another_scanner_would_show_them():
    images, _ = preprocessing.fresh_slices(40, seed=5)
    shifted = preprocessing.shift_domain(images, seed=1)
    assert shifted.shape == images.shape and shifted.dtype == np.float32
    assert shifted.min() >= -1 and shifted.max() <= 1
    assert np.array_equal(shifted, preprocessing.shift_domain(images, seed=1))
    corner, before = shifted[:, :4, :4], images[:, :4, :4]
    assert corner.mean() > before.mean() + 0.05, "lighter"
    scatter = [np.median(x.std(axis=(1, 2, 3))) for x in (corner, before)]  # letters are rare
    assert scatter[0] > scatter[1] + 0.03, "noisier"
    flat = [x.reshape(len(x), -1) for x in (images, shifted)]
    alike = np.corrcoef(*flat)[: len(images), len(images) :]
    # Turned by up to 15 degrees, a head is like itself more than most others are.
    assert (np.diag(alike) > np.median(alike, axis=1)).mean() > 0.8, "the same heads"
