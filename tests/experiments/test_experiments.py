"""What the benchmarks compute from what they measure, against another way to the same number."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import side_by_side
from scipy import stats

from benchmarks import gan_step, resnet_step
from experiments import (
    ablation,
    copying,
    edits,
    failures,
    pilot_resnet50,
    resolution,
    simulator,
)
from helpers import files

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
    recipes = pytest.importorskip("helpers.recipes")
    changes = ablation.SIX | ablation.TOGETHER | ablation.REST
    made = {name: recipes.choose_recipe("paper", change) for name, change in changes.items()}
    assert recipes.RECIPES["paper"] not in made.values()
    assert len(set(made.values())) == len(changes)
    assert made["Wasserstein"].loss == "wasserstein"


@pytest.mark.slow
def test_a_row_keeps_its_command_and_leaves_no_checkpoints(monkeypatch, tmp_path):
    """Two commands into one file: the second does not relabel the first one's rows."""
    pytest.importorskip("keras")
    import small

    from helpers import files, judge, machine

    small.use(monkeypatch)
    made = {"kid": 0.1, "coverage": 0.2, "like_a_slice": 0.3, "judge_agreement": 0.4}
    monkeypatch.setattr(ablation, "measure", lambda *_: made)
    monkeypatch.setattr(judge, "load_judge", lambda: None)
    monkeypatch.setattr(machine, "choose_precision", lambda *_, **__: "float32")
    monkeypatch.setattr(ablation, "REST", {"no dropout": {"dropout": 0.0}})
    in_this_process = lambda *_, **__: ThreadPoolExecutor(1)  # noqa: E731  where the stand-ins are
    monkeypatch.setattr(ablation, "ProcessPoolExecutor", in_this_process)
    results, scratch = tmp_path / "ablation.json", tmp_path / "scratch"
    places = ["--results", str(results), "--scratch", str(scratch)]
    sizes = ["--steps", "1", "--held-out", "20", "--seeds", "1"]
    for changes in ("together", "rest"):
        monkeypatch.setattr(sys, "argv", ["x", *places, *sizes, "--changes", changes])
        assert ablation.main() == 0
    rows = files.read_json(results)["rows"]
    assert [(row["recipe"], row["command"].split()[-1]) for row in rows] == [
        ("paper", "together"), ("5e-4, averaged", "together"), ("no dropout", "rest"),
    ]  # fmt: skip
    assert not list(scratch.iterdir())


# --- Copies among real slices ---------------------------------------------------------------------


def test_any_persons_slices_may_be_held_out():
    groups = np.repeat(np.arange(20), 3)
    for seed in range(5):
        known = copying.choose_known(groups, np.random.default_rng(seed))
        people = groups[known[::3]]
        assert len(set(people)) == 12 and (groups[known] == np.repeat(people, 3)).all()
        assert people[-3:].min() < people[:9].max(), "held out are the last files"


# --- The simulator -------------------------------------------------------------------------------


def test_splits_that_are_kept_are_not_fitted_again(monkeypatch, tmp_path, folder, capsys):
    from helpers import classifiers, judge

    fitted = []
    guess = SimpleNamespace(answer=lambda images: np.zeros(len(images)))
    monkeypatch.setattr(judge, "load_judge", lambda: None)
    monkeypatch.setattr(judge, "judge_features", lambda images, _: images.reshape(len(images), -1))
    monkeypatch.setattr(classifiers, "build_classifier", lambda _: guess)
    monkeypatch.setattr(classifiers, "fit", lambda _, arm, **more: fitted.append(arm))
    monkeypatch.setattr(simulator, "SIMULATED", 40)
    results = tmp_path / "simulator.json"

    def run(splits):
        asked = ["--results", results, "--data", folder, "--splits", splits]
        monkeypatch.setattr(sys, "argv", [str(x) for x in ("x", *asked)])
        fitted.clear()
        assert simulator.main() == 0
        return files.read_json(results)

    run(1)
    real, _, alone, beside = fitted
    assert np.array_equal(alone.images, beside.synthetic_images) and len(alone.images) == 40
    assert np.array_equal(real.images, beside.images)
    both = run(2)
    assert len(fitted) == 4 and [row["split"] for row in both["rows"]] == [0] * 5 + [1] * 5
    assert run(2) == both and not fitted
    files.write_json(results, both | {"settings": both["settings"] | {"steps": 1}})
    assert simulator.main() == 2 and "other settings (steps: 1" in capsys.readouterr().err


# --- What real images and pixels are worth -------------------------------------------------------


@pytest.fixture
def fits(monkeypatch):
    """What classifiers are fitted on and asked, with one in place that always answers "bleed"."""
    pytest.importorskip("keras")
    from helpers import classifiers

    seen = SimpleNamespace(built=[], arms=[], asked=[])

    class AlwaysBleed:
        def answer(self, images):
            seen.asked.append(images)
            return np.ones(len(images))

    def build_classifier(trunk, size=32, seed=0, edge=32):
        seen.built.append((trunk, size, seed, edge))
        return AlwaysBleed()

    monkeypatch.setattr(classifiers, "build_classifier", build_classifier)
    monkeypatch.setattr(classifiers, "fit", lambda _, arm, **more: seen.arms.append((arm, more)))
    return seen


@pytest.mark.parametrize("real", [True, False])
def test_resolution_shows_the_same_slices_at_each_edge(fits, folder, monkeypatch, real):
    """Shrunk by hand, the larger ones are the smaller ones; and nobody's slice is in both parts."""
    from helpers import preprocessing
    from helpers.folder import find_groups, read_folder

    for name, count in (("TRAIN", 20), ("TEST", 10)):
        monkeypatch.setattr(resolution, name, count)
    rows = [resolution.fit_one(2, edge, str(folder) if real else "", 9) for edge in (32, 64)]
    assert fits.built == [("resnet50", 32, 20_002, 32), ("resnet50", 64, 20_002, 64)]
    assert {row["data"] for row in rows} == {folder.name if real else "simulated"}
    (small, _), (large, more) = fits.arms
    assert more == {"steps": 9, "seed": 20_002}
    assert np.array_equal(small.labels, large.labels) and small.synthetic_images is None
    few, many = ([arm.images, asked] for (arm, _), asked in zip(fits.arms, fits.asked, strict=True))
    for at_32, at_64 in zip(few, many, strict=True):
        assert at_64.shape[1:] == (64, 64, 1) and len(at_64) == len(at_32)
        halved = at_64.reshape(-1, 32, 2, 32, 2, 1).mean(axis=(2, 4))
        own = np.abs(halved - at_32).mean(axis=(1, 2, 3))
        another = np.abs(halved - np.roll(at_32, 1, axis=0)).mean(axis=(1, 2, 3))
        assert (own < another / 4).all()
    train, test = ({image.tobytes() for image in images} for images in few)
    assert train.isdisjoint(test)
    if real:
        slices = read_folder(folder)
        labels = slices.table["label"].to_numpy()
        part = preprocessing.split_groups(labels, find_groups(slices).groups, 20_002)
        assert np.array_equal(few[1], preprocessing.prepare(slices.greys)[part == "test"])
        labels, counted = labels[part == "test"], 60
    else:
        labels, counted = preprocessing.fresh_slices(10, 120_002)[1], 30
    for row in rows:
        assert row["accuracy"] == np.mean(labels == 1)
        assert (row["test_images"], row["images"]) == (len(labels), counted)


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


def test_the_gallerys_copy_of_a_run_is_taken_for_one(tmp_path):
    """Notebook 03's cells refuse any other folder with something in it."""
    run, copy = tmp_path / "run", tmp_path / "copy"
    for folder in (run, copy):
        folder.mkdir()
    files.write_json(run / "run.json", {"settings": {"profile": "quick"}})
    for name in ("prepared.npz", "split.csv", "metrics.json"):
        (run / name).write_text("{}")
    failures.copy_run(run, copy)
    assert files.open_run(copy) == copy
    assert all((copy / name).exists() for name in ("prepared.npz", "split.csv", "metrics.json"))


def test_the_gallery_is_composed_of_the_notebooks_own_cells():
    """Once with each seed, behind what it needs; what the last cells print is read back."""
    notebook = failures.compose()
    sources = [cell.source for cell in notebook.cells]
    own = [cell.source for cell in nbformat.read(failures.NOTEBOOK, 4).cells]
    added = [f"seed = {seed}" for seed in failures.SEEDS] + [failures.TELL]
    assert all(source in own + added for source in sources)
    places = [sources.index(f"seed = {seed}") for seed in failures.SEEDS]
    assert any("training.train_gan(" in source for source in sources[: places[0]])
    for start, end in zip(places, [*places[1:], len(sources)], strict=True):
        gallery = sources[start + 1 : end]
        assert gallery[-1] == failures.TELL and "signs = " in gallery[-2]
        assert gallery == sources[places[0] + 1 : places[1]]
    for k, place in enumerate(k for k, source in enumerate(sources) if source == failures.TELL):
        text = json.dumps({"signs": {"healthy": {"variety": k}}})
        notebook.cells[place].outputs = [nbformat.v4.new_output("stream", text=text)]
    told = failures.read_told(notebook)
    assert [found["signs"]["healthy"]["variety"] for found in told] == [0, 1, 2]


@pytest.fixture
def handed(monkeypatch):
    """The networks that `gan_step.course` hands to the step, with small networks."""
    pytest.importorskip("keras")
    import small

    from helpers import gan

    small.use(monkeypatch)
    found, make = [], gan.make_train_step

    def keep(*args, **named):
        found.append(args[:2])
        return make(*args, **named)

    monkeypatch.setattr(gan, "make_train_step", keep)
    return found


@pytest.mark.parametrize("fused", [True, False])
def test_the_tutorials_step_has_keras_own_layers(handed, fused):
    step = gan_step.course(10.0, "float32+winograd", fused)
    ((generator, discriminator),) = handed
    kinds = {type(layer) for network in (generator, discriminator) for layer in network.layers}
    own = all(kind.__module__.startswith("keras.") for kind in kinds)
    assert own != fused
    before = [np.asarray(v) for v in generator.trainable_variables]
    step(0)
    after = generator.trainable_variables
    assert not all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_four_steps_at_once_are_four_steps(handed):
    from helpers import machine

    ends = []
    for at_once in (1, gan_step.AT_ONCE):
        machine.seed_everything(3)
        step = gan_step.course(10.0, "float32", at_once=at_once)
        for k in range(gan_step.AT_ONCE):
            step(k)
        ends.append([np.asarray(v) for v in handed[-1][0].trainable_variables])
    for one_by_one, at_once in zip(*ends, strict=True):
        assert np.allclose(one_by_one, at_once, rtol=1e-3, atol=1e-5)


# --- Side by side --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("fpu sse2 avx2 avx512f avx512_bf16 amx_tile amx_bf16", "AMX"),
        ("fpu avx2 avx512f avx512_bf16", "AVX-512 with bfloat16"),
        ("fpu avx2 avx512f avx512_vnni", "AVX-512"),
        ("fpu avx2 fma", "AVX2"),
    ],
)
def test_the_kind_of_processor_is_its_best_instructions(flags, kind):
    assert side_by_side.processor_kind(f"processor\t: 0\nflags\t\t: {flags}\n") == kind


def test_a_readers_figures_leave_the_committed_file_alone(monkeypatch, tmp_path):
    """And a kind of processor keeps its row when another one is measured."""
    monkeypatch.setattr(side_by_side, "KEPT", tmp_path / "results.json")
    monkeypatch.setattr(side_by_side, "OWN", tmp_path / "own.json")
    for kind, value, keep in (("AMX", 1, True), ("AVX2", 2, True), ("AVX2", 3, False)):
        monkeypatch.setattr(side_by_side, "processor_kind", lambda kind=kind: kind)
        side_by_side.write({"gan_step": value}, keep)
    kept, own = (files.read_json(tmp_path / f"{name}.json") for name in ("results", "own"))
    rows = [
        {name: row["gan_step"] for name, row in file["processors"].items()} for file in (kept, own)
    ]
    assert rows == [{"AMX": 1, "AVX2": 2}, {"AVX2": 3}]


def test_the_rivals_resnet_is_keras_own():
    """The same number of weights, layer by layer in all: 23.6 million with the head's 4,098."""
    pytest.importorskip("torch", reason="comes with `pip install -e '.[bench]'`")
    from helpers.trunk import build_trunk

    ours = sum(int(np.prod(w.shape)) for w in build_trunk("scratch").trainable_weights)
    theirs = sum(p.numel() for p in resnet_step.build_pytorch().parameters())
    assert theirs == ours + 2 * 2048 + 2


# --- The pilot of ResNet-50's baselines -----------------------------------------------------------


def test_the_stronger_baseline_is_the_better_one_on_average():
    """Over all six sets: on the first one it would be the other."""
    rows = [
        {"set": k, "arm": arm, "score": value if k else 0.5}
        for k in range(6) for arm, value in {"classic": 0.7, "classic_long": 0.8}.items()
    ]  # fmt: skip
    rows[0]["score"] = 0.6
    found = pilot_resnet50.summarise(rows)
    assert found["stronger"] == "classic_long"
    means = {"classic": 4.1 / 6, "classic_long": 4.5 / 6}
    assert found["mean_balanced_accuracy"] == pytest.approx(means)
    assert pilot_resnet50.summarise(rows[:-1]) == {}


@pytest.mark.parametrize("name", edits.EDITS)
def test_each_edit_is_the_one_that_the_notebook_proposes(name):
    """In the cells that it names, and nowhere else; the training itself is left out."""
    own = [c.source for c in nbformat.read(edits.NOTEBOOKS / "03_training.ipynb", 4).cells]
    (proposed,) = (source for source in own if "## Edit and see" in source)
    *sources, told = (cell.source for cell in edits.compose(edits.EDITS[name]).cells)
    assert told == edits.TELL and "def train_briefly(" in sources[-1]
    assert not any("training.train_gan(" in source for source in sources)
    changed = [source for source in sources if source not in own]
    assert len(changed) == (0 if name == "none" else 1)
    for old, new in edits.EDITS[name].items():
        assert f"`{old}`" in proposed and f"`{new}`" in proposed
        assert new in changed[0] and changed[0].count(old) == new.count(old)
