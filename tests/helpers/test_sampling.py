"""Latent vectors: seeded, of the right length, and where they are said to be; generators' files."""

import hashlib
import json

import numpy as np
import pytest

from helpers import files, machine, networks, sampling
from helpers.files import CourseError


def test_latent_vectors_are_seeded_and_standard_normal():
    drawn = sampling.draw_latent(400, 5)
    assert drawn.shape == (400, 100) and drawn.dtype == np.float32
    assert np.array_equal(drawn, sampling.draw_latent(400, 5))
    assert not np.array_equal(drawn, sampling.draw_latent(400, 6))
    assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 1) < 0.02
    assert np.array_equal(drawn[:100], sampling.draw_latent(100, 5)), "more are a continuation"


def test_truncation_draws_again_and_does_not_clip():
    drawn = sampling.draw_latent(200, 5, truncation=0.7)
    assert np.abs(drawn).max() <= 0.7
    assert np.mean(np.abs(drawn) > 0.69) < 0.05, "clipping would pile up at the edge"
    with pytest.raises(CourseError, match=r"truncation 0\.01 is too small"):
        sampling.draw_latent(1, 0, truncation=0.01)


def test_walk_joins_both_ends_on_the_sphere():
    first, second = sampling.draw_latent(2, 1)
    path = sampling.walk(first, second, 9)
    assert np.allclose(path[0], first, atol=1e-5) and np.allclose(path[-1], second, atol=1e-5)
    lengths = np.linalg.norm(path, axis=1)
    ends = sorted((lengths[0], lengths[-1]))
    assert lengths.min() > 0.97 * ends[0] and lengths.max() < 1.03 * ends[1]
    straight = np.linalg.norm((first + second) / 2)
    assert straight < 0.85 * ends[0], "a straight line would not have done"
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert steps.max() < 1.3 * steps.min()
    assert np.allclose(sampling.walk(first, first, 3), first, atol=1e-4)


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
def test_neighbours_are_standard_normal_and_as_near_as_asked(spread):
    latent = sampling.draw_latent(1, 1)[0]
    near = sampling.neighbours(latent, 500, spread, seed=2)
    alike = np.mean([np.corrcoef(latent, other)[0, 1] for other in near])
    assert alike == pytest.approx(np.sqrt(1 - spread**2), abs=0.06)
    length = np.sqrt((1 - spread**2) * np.sum(latent**2) + spread**2 * 100)
    assert np.linalg.norm(near, axis=1).mean() == pytest.approx(length, rel=0.02)


def test_a_neighbour_is_not_the_vector_itself_again():
    """Drawn from the seed that drew the vector, the first one was the vector made longer."""
    latent = sampling.draw_latent(3, 2)
    near = sampling.neighbours(latent[0], 3, 1.0, seed=2)
    assert max(abs(np.corrcoef(latent[0], other)[0, 1]) for other in near) < 0.4
    with pytest.raises(CourseError, match=r"spread 1\.5 is no share"):
        sampling.neighbours(latent[0], 3, 1.5, seed=2)


def test_samples_are_written_with_their_manifest(tmp_path):
    images = np.zeros((4, 32, 32, 1), "float32")
    manifest = {"clear": {"model": "models/clear.h5", "latent_seed": 3}}
    sampling.write_samples(tmp_path / "samples", images, np.array([1, 1, 0, 0]), manifest)
    assert json.loads((tmp_path / "samples" / "manifest.json").read_text()) == manifest
    assert len(list((tmp_path / "samples").glob("*.png"))) == 4


class Prepared:
    """Stands for the images of a run; there is one for each class."""

    def __init__(self, *images):
        self.images = images

    def part(self, name, label):
        assert name == "train"
        return self.images[label], label


@pytest.fixture
def own(monkeypatch, tmp_path):
    """A generator that comes with the course, its card, and the images that it was trained on."""
    monkeypatch.setattr(sampling, "PRETRAINED", tmp_path / "own")
    generator, images = networks.build_generator(), np.zeros(5)
    (tmp_path / "own").mkdir()
    generator.save(path := tmp_path / "own" / "clear.h5")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = {"trained_on": machine.fingerprint(images), "steps": 3, "sha256": digest}
    files.write_json(tmp_path / "own" / "generators.json", {"generators": {"clear": card}})
    return generator, card, images


def test_the_courses_own_generators_are_for_their_images_alone(own, tmp_path):
    generator, card, theirs = own
    here, others, out = networks.build_generator(), np.ones(5), tmp_path / "run"
    paths = sampling.find_generators(out, Prepared(theirs), {"clear": 0})
    found = sampling.open_generators(out, Prepared(theirs), {"clear": 0})
    assert np.array_equal(found["clear"].get_weights()[0], generator.get_weights()[0])
    assert paths == {"clear": tmp_path / "own" / "clear.h5"}
    assert files.read_json(out / "metrics.json")["gan"] == {"clear": card}
    files.record(out, gan={"other": {"steps": 1}})
    sampling.find_generators(out, Prepared(theirs), {"clear": 0})
    known = files.read_json(out / "metrics.json")["gan"]
    assert known == {"other": {"steps": 1}, "clear": card}, "of a GAN trained here nothing is lost"
    for name, images in (("clear", others), ("haemorrhage", theirs)):
        with pytest.raises(CourseError, match=r"run notebooks/03_training\.ipynb first"):
            sampling.open_generators(out, Prepared(images), {name: 0})
    (out / "models").mkdir()
    here.save(out / "models" / "clear.h5")
    (out / "metrics.json").unlink()
    paths = sampling.find_generators(out, Prepared(theirs), {"clear": 0})
    found = sampling.open_generators(out, Prepared(theirs), {"clear": 0})
    assert np.array_equal(found["clear"].get_weights()[0], here.get_weights()[0])
    assert paths == {"clear": out / "models" / "clear.h5"}
    assert not (out / "metrics.json").exists(), "what notebook 03 recorded is not written over"


def test_a_courses_own_file_that_is_not_the_one_named_is_refused(own, tmp_path):
    """Also one that would load: another generator of the same shape."""
    images, out = Prepared(own[2]), tmp_path / "run"
    networks.build_generator().save(tmp_path / "own" / "clear.h5")
    with pytest.raises(CourseError, match=r"clear\.h5 has another SHA-256 .*: get both"):
        sampling.open_generators(out, images, {"clear": 0})
    assert not out.exists(), "nothing is recorded of it"
    (tmp_path / "own" / "clear.h5").unlink()
    with pytest.raises(CourseError, match=r"clear\.h5 is missing"):
        sampling.open_generators(out, images, {"clear": 0})
