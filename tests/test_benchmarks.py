"""What the benchmarks compute from what they measure, against another way to the same number."""

import sys

import numpy as np
import pytest
from conftest import ROOT
from scipy import stats

sys.path.insert(0, str(ROOT / "benchmarks"))
import ablation
import gan_step

# --- The ablation --------------------------------------------------------------------------------


def rows_of(recipe: str, values: dict[int, float]) -> list[dict]:
    keys = {key: k for k, key in enumerate(ablation.MEASURES)}
    return [
        {"recipe": recipe, "seed": seed} | {key: value + k for key, k in keys.items()}
        for seed, value in values.items()
    ]


def test_interval_is_students():
    values = [0.4, 0.9, 0.1, 0.6, 0.7]
    found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert ablation.interval(values) == pytest.approx([np.mean(values), found.low, found.high])


def test_changes_are_paired_by_seed():
    """In any order of rows; seeds that only one of the two has count for no difference."""
    paper = {0: 0.5, 1: 0.9, 2: 0.2, 3: 0.4}
    other = {3: 0.5, 1: 1.0, 0: 0.5, 7: 9.0}
    rows = rows_of("other", other) + rows_of("paper", paper) + rows_of("once", {0: 0.3})
    found = ablation.summarise(rows)
    assert set(found) == {"paper", "other"}, "one run has no interval"
    assert found["other"]["seeds"] == 4
    for k, key in enumerate(ablation.MEASURES):
        alone = np.array(list(other.values())) + k
        low, high = stats.ttest_1samp(alone, 0).confidence_interval(0.95)
        assert found["other"][key] == pytest.approx([alone.mean(), low, high])
        pairs = [0.5, 1.0, 0.5], [0.5, 0.9, 0.4]
        low, high = stats.ttest_rel(*pairs).confidence_interval(0.95)
        assert found["other"][f"{key}_change"] == pytest.approx([0.2 / 3, low, high])
        assert found["paper"][f"{key}_change"] == [0, 0, 0]


def test_every_change_is_a_recipe():
    training = pytest.importorskip("helpers.training")
    changes = ablation.SIX | ablation.TOGETHER | ablation.REST
    recipes = {name: training.choose_recipe("paper", change) for name, change in changes.items()}
    assert training.RECIPES["paper"] not in recipes.values()
    assert len(set(recipes.values())) == len(changes)
    assert recipes["Wasserstein"].loss == "wasserstein"


def test_a_row_keeps_its_command_and_leaves_no_checkpoints(monkeypatch, tmp_path):
    """Two commands into one file: the second does not relabel the first one's rows."""
    pytest.importorskip("keras")
    import small

    from helpers import audit, runtime

    small.use(monkeypatch)
    made = {"kid": 0.1, "coverage": 0.2, "like_a_slice": 0.3, "judge_agreement": 0.4}
    monkeypatch.setattr(ablation, "measure", lambda *_: made)
    monkeypatch.setattr(audit, "load_judge", lambda: None)
    monkeypatch.setattr(runtime, "choose_precision", lambda _: "float32")
    monkeypatch.setattr(ablation, "REST", {"no dropout": {"dropout": 0.0}})
    results, scratch = tmp_path / "ablation.json", tmp_path / "scratch"
    places = ["--results", str(results), "--scratch", str(scratch)]
    sizes = ["--steps", "1", "--held-out", "20", "--seeds", "1"]
    for changes in ("together", "rest"):
        monkeypatch.setattr(sys, "argv", ["x", *places, *sizes, "--changes", changes])
        ablation.main()
    rows = runtime.read_json(results)["rows"]
    assert [(row["recipe"], row["command"].split()[-1]) for row in rows] == [
        ("paper", "together"), ("5e-4, averaged", "together"), ("no dropout", "rest"),
    ]  # fmt: skip
    assert not list(scratch.iterdir())


# --- The step ------------------------------------------------------------------------------------


def test_ratio_goes_round_by_round():
    found = gan_step.ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0])
    assert found == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert gan_step.ratio([3.0, 1.0], [1.0, 1.0])["median"] == 2.0


def test_gigaflop_counted_from_the_layers_themselves():
    networks = pytest.importorskip("helpers.networks")

    def forward(network):
        """Two for each weight at each place that its kernel stands: where a transposed one comes
        from, and where any other goes to."""
        count = 0
        for layer in network.layers:
            if "Transpose" in type(layer).__name__:
                count += 2 * np.prod(layer.input.shape[1:3]) * np.prod(layer.kernel.shape)
            elif "Conv" in type(layer).__name__:
                count += 2 * np.prod(layer.output.shape[1:3]) * np.prod(layer.kernel.shape)
            elif type(layer).__name__ == "Dense":
                count += 2 * np.prod(layer.kernel.shape)
        return count

    generator, discriminator = map(
        forward, (networks.build_generator(), networks.build_discriminator())
    )
    # Generator: forward, two gradients. Discriminator: the same for both kinds, and one gradient
    # towards the image for the generator.
    by_hand = 16 * (3 * generator + (2 * 3 + 1) * discriminator) / 1e9
    assert gan_step.gigaflop() == pytest.approx(by_hand, rel=1e-3)
    assert gan_step.gigaflop() == pytest.approx(118, abs=1)


@pytest.mark.parametrize("fused", [True, False])
def test_the_tutorials_step_has_keras_own_batch_norm(monkeypatch, fused):
    keras = pytest.importorskip("keras")
    import small

    from helpers import networks

    small.use(monkeypatch)
    built = []
    for name in ("build_generator", "build_discriminator"):
        build = getattr(networks, name)
        monkeypatch.setattr(networks, name, lambda make=build: built.append(make()) or built[-1])
    step = gan_step.course(10.0, "float32", fused)
    wide = [
        layer
        for network in built
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization) and len(layer.output.shape) == 4
    ]
    assert wide and all(("call" in vars(layer)) == fused for layer in wide)
    before = [np.asarray(v) for v in built[0].trainable_variables]
    step(0)
    after = built[0].trainable_variables
    assert not all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
