"""GANs that are trained where JAX is alone: the same steps, and their images come back."""

import json

import numpy as np
import published
import published_gans
import pytest
import train_packed

from helpers import files, sampling
from helpers.folder import read_folder

pytest.importorskip("jax", reason="comes with `pip install -e '.[bench]'`")
pytestmark = pytest.mark.slow


@pytest.fixture
def packed(folder, tmp_path, monkeypatch, small_networks):
    """A pack of all trainings on 60 noise slices, of 10 or 20 steps each."""
    import packed

    kept = {"paper": (10, 20), "brief": (10,), "quarter": (10,)}
    monkeypatch.setattr(published_gans, "KEPT", kept)
    monkeypatch.setattr(published, "KEPT", kept)
    for module in (published, published_gans, packed):
        monkeypatch.setattr(module, "FOLDS_FILE", tmp_path / "folds.json")
    monkeypatch.setattr(published_gans, "QUARTERS", 1)
    monkeypatch.setattr(published_gans, "TRAINED_QUARTERS", 0)  # too few slices for a batch
    monkeypatch.setattr(packed, "STRETCH", 10)
    monkeypatch.setattr(packed, "COMPARED", 10)
    files.write_json(tmp_path / "folds.json", published_gans.draw_plan(read_folder(folder)))
    packed.pack(folder, tmp_path / "pack", ["paper", "brief"])
    return packed


def train(tmp_path, *more):
    train_packed.main([str(tmp_path / "pack"), "--out", str(tmp_path / "drawn"), *more])


def test_each_variable_begins_as_keras_has_it(packed, tmp_path):
    plan = files.read_json(tmp_path / "pack" / "plan.json")
    for recipe, averages in (("paper", False), ("brief", True)):
        own = [np.asarray(v) for v in packed.list_variables(packed.build(recipe, 7)[1])]
        start = train_packed.draw_start(plan["start"][recipe], 7)
        kinds = [each["kind"] for each in plan["start"][recipe]]
        assert ("copy" in kinds) == averages and kinds.count("seed") == 1
        for mine, theirs, kind in zip(own, start, kinds, strict=True):
            assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
            if kind == "constant":
                assert np.array_equal(mine, theirs)
            elif kind == "kernel" and mine.size > 500:
                assert theirs.std() == pytest.approx(mine.std(), rel=0.1)
                assert not np.array_equal(mine, theirs)
        others = train_packed.draw_start(plan["start"][recipe], 8)
        assert any(not np.array_equal(a, b) for a, b in zip(start, others, strict=True))


def test_what_comes_back_is_what_tensorflow_would_draw(packed, folder, tmp_path, monkeypatch):
    train(tmp_path, "--most", "3")
    train(tmp_path, "--every", "2")
    train(tmp_path)
    facts = json.loads((tmp_path / "drawn" / "facts.json").read_text())
    assert max(max(each) for each in facts["differences"].values()) < 1e-3
    packed.unpack(tmp_path / "drawn", tmp_path / "gans")
    plan = published_gans.list_trainings(files.read_json(tmp_path / "folds.json"))
    assert len(plan) == 32 and all(
        (tmp_path / "gans" / each["folder"] / "done.json").exists() for each in plan
    )
    # One training by TensorFlow, from the same weights.
    import tensorflow as tf

    from helpers import gan
    from helpers.training import batch_of

    pack = files.read_json(tmp_path / "pack" / "plan.json")
    arrays = np.load(tmp_path / "pack" / "arrays.npz")
    for folder_name in ("paper/fold-3/clear", "brief/fold-7/haemorrhage"):
        (each,) = (x for x in pack["trainings"] if x["folder"] == folder_name)
        recipe, parts = packed.build(each["recipe"], 0)
        start = train_packed.draw_start(pack["start"][each["recipe"]], each["seed"])
        for variable, value in zip(packed.list_variables(parts), start, strict=True):
            variable.assign(value)
        step = gan.make_train_step(*parts[:4], recipe, parts[-1], xla=True)
        images = arrays["slices"][each["rows"]]
        for number in range(each["kept"][-1]):
            batch = images[batch_of(number, len(images), 16, each["seed"])]
            step(tf.constant(batch), tf.constant([each["seed"], number]))
        by_hand = sampling.generate(parts[-1] or parts[0], arrays[f"latent-{each['number']}"])
        back = np.load(tmp_path / "gans" / folder_name / f"drawn-{each['kept'][-1]}.npy")
        assert back.shape == by_hand.shape and np.abs(back - by_hand).max() < 0.01
    # And the published experiment takes it.
    _, of_set = published.read_folds(folder, tmp_path / "gans")
    drawn, labels = of_set[7].draw("brief", 10)
    assert np.array_equal(drawn[labels == 1], back), "no generator is there"
    assert np.sum(labels == 0) == 3 * np.sum(of_set[7].parts["train"][1] == 0)


def test_nothing_is_trained_by_a_device_that_computes_otherwise(packed, tmp_path, capsys):
    path = tmp_path / "pack" / "plan.json"
    plan = files.read_json(path)
    plan["checks"]["paper"]["losses"][0][1] += 0.1
    files.write_json(path, plan)
    with pytest.raises(SystemExit, match="too much"):
        train(tmp_path, "--kinds", "paper")
    assert not list((tmp_path / "drawn").glob("images-*"))


def test_time_that_is_up_leaves_out_what_is_not_finished(packed, tmp_path, capsys):
    train(tmp_path, "--kinds", "paper", "--seconds", "0")
    assert "Time is up" in capsys.readouterr().out
    assert not list((tmp_path / "drawn").glob("images-*"))
