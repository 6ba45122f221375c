"""The generators that come with the course: what they are, and that 04 and 05 can begin at once."""

import hashlib
import json
import shutil

import h5py
import nbformat
import numpy as np
import papermill
import pytest
from conftest import ROOT

from course import params
from helpers import files, leaks, measures, preprocessing, sampling
from helpers.files import CourseError
from helpers.judge import judge_accuracy, load_judge

KEPT = json.loads((sampling.PRETRAINED / "generators.json").read_text())
CARDS = KEPT["generators"]
CLASSES = {"haemorrhage": 1, "clear": 0}


@pytest.mark.parametrize("name", CLASSES)
def test_the_files_are_small_whole_and_long_trained(name):
    path, card = sampling.PRETRAINED / f"{name}.h5", CARDS[name]
    assert path.stat().st_size <= 12e6
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card["sha256"]
    assert card["steps"] >= 3000 and card["label"] == CLASSES[name]
    text = path.with_suffix(".md").read_text()
    for fact in ("images", "steps", "seed", "precision", "trained_on"):
        assert f"- {fact.replace('_', ' ')}: {card[fact]}\n" in text
    assert "never for a clinical decision" in text


@pytest.mark.parametrize("name", CLASSES)
def test_kernels_alone_are_of_half_precision_and_pictures_do_not_suffer(name):
    kinds = {True: set(), False: set()}

    def note(_, item):
        if isinstance(item, h5py.Dataset):
            kinds[item.ndim > 1].add(str(item.dtype))

    with h5py.File(sampling.PRETRAINED / f"{name}.h5") as file:
        file["model_weights"].visititems(note)
    assert kinds == {True: {"float16"}, False: {"float32"}}
    full, half = (CARDS[name]["measured"][kind] for kind in ("as trained", "half precision"))
    assert abs(full["kid"] - half["kid"]) < 0.5 * full["kid_error"]
    assert abs(full["coverage"] - half["coverage"]) < 0.05


@pytest.mark.parametrize("name", CLASSES)
def test_they_draw_what_their_cards_say(name):
    """Drawn from another seed, and judged again: the shares agree up to chance."""
    drawn = sampling.generate(
        sampling.load_generator(sampling.PRETRAINED / f"{name}.h5"), sampling.draw_latent(200, 77)
    )
    images, labels = preprocessing.fresh_slices(KEPT["fresh_slices"], 77)
    said = CARDS[name]["measured"]["half precision"]
    found = {
        "like_a_slice": measures.like_a_slice(drawn, images[labels == CLASSES[name]]).mean(),
        "judge_accuracy": judge_accuracy(drawn, CLASSES[name], load_judge()),
    }
    for measure, value in found.items():
        share = np.clip(said[measure], 0.02, 0.98)
        assert abs(value - said[measure]) < 4 * np.sqrt(share * (1 - share) / 200), measure


def test_the_readme_says_how_good_they_are():
    found = [CARDS[name]["measured"]["half precision"] for name in CLASSES]
    kids = [
        f"{m['kid']:.2f} ({m['kid'] - 1.96 * m['kid_error']:.2f} to "
        f"{m['kid'] + 1.96 * m['kid_error']:.2f})"
        for m in found
    ]
    coverage, agreement = ([m[key] for m in found] for key in ("coverage", "judge_accuracy"))
    readme = (ROOT / "experiments" / "README.md").read_text()
    assert f"KID {kids[0]} and {kids[1]};" in readme
    assert f"coverage {coverage[0]:.2f} and {coverage[1]:.2f}, where" in readme
    assert f"one kind have {found[0]['coverage_expected']:.2f};" in readme
    assert f"in {agreement[0]:.0%} and {agreement[1]:.0%}".replace("%", " %") in readme


@pytest.mark.parametrize(
    "names",
    [("04_sampling",), pytest.param(("04_sampling", "05_evaluation"), marks=pytest.mark.slow)],
)
def test_04_and_05_begin_at_once(names, smoke, tmp_path):
    """After 01, with nothing of 03's; classifiers are fitted for a step."""
    made = files.read_json(smoke[0] / "metrics.json")
    of_01 = ("profile", "seed", "split_seed", "versions", "classes", "data", "split")
    files.write_json(tmp_path / "metrics.json", {key: made[key] for key in of_01})
    for name in ("run.json", "prepared.npz", "split.csv"):
        shutil.copy(smoke[0] / name, tmp_path)
    brief = {"classifier_steps": 1, "fresh_count": 64}
    brief |= {"samples_per_class": 40, "arms": "original, original_gan", "out_dir": str(tmp_path)}
    values = params.load_parameters("quick") | brief
    for name in names:
        source = ROOT / "notebooks" / f"{name}.ipynb"
        parameters = {
            key: values[key] for key in papermill.inspect_notebook(source) if key in values
        }
        papermill.execute_notebook(source, None, parameters, cwd=ROOT, progress_bar=False)
    metrics = files.read_json(tmp_path / "metrics.json")
    assert not (tmp_path / "models").exists()
    assert {name: gan["sha256"] for name, gan in metrics["gan"].items()} == {
        name: card["sha256"] for name, card in CARDS.items()
    }
    leaks.check_origin(preprocessing.load_prepared(tmp_path), metrics["gan"])
    assert len(list((tmp_path / "samples").glob("*.png"))) == 80
    if len(names) > 1:
        assert set(metrics["arms"]) >= {"original", "original_gan"}


# --- The pair that a training can begin from ------------------------------------------------------


def test_the_discriminator_tells_fresh_slices_from_generated_ones(smoke):
    images, _ = preprocessing.load_prepared(smoke[0]).part("train", 1)
    generator, discriminator = sampling.load_pair(images)
    said = json.loads((sampling.PRETRAINED / "discriminator.json").read_text())
    said = said["mean_output_on_fresh"]
    assert said["real"] > said["generated"] + 0.05
    fresh, labels = preprocessing.fresh_slices(400, 78)
    drawn = sampling.generate(generator, sampling.draw_latent(200, 78))
    for kind, shown in (("real", fresh[labels == 1]), ("generated", drawn)):
        found = discriminator(shown, training=False).numpy()
        assert abs(found.mean() - said[kind]) < 4 * found.std() * np.sqrt(1 / 200 + 1 / 500), kind
    with pytest.raises(CourseError, match="trained on other images: train your own"):
        sampling.load_pair(images[1:])


@pytest.mark.slow
def test_03_shows_its_failures_without_a_training(smoke, tmp_path):
    """As in a class that does not wait: without the cells from the training to *How it fails*."""
    notebook = nbformat.read(ROOT / "notebooks" / "03_training.ipynb", as_version=4)
    sources = [cell.source for cell in notebook.cells]
    (first,) = (k for k, source in enumerate(sources) if "training.train_gan(" in source)
    (after,) = (k for k, source in enumerate(sources) if "## How it fails" in source)
    (last,) = (k for k, source in enumerate(sources) if source.startswith("edited = False"))
    notebook.cells = notebook.cells[:first] + notebook.cells[after : last + 1]
    nbformat.write(notebook, tmp_path / "03.ipynb")
    shutil.copytree(smoke[0], tmp_path / "out", ignore=shutil.ignore_patterns("checkpoints"))
    parameters = {"out_dir": str(tmp_path / "out"), "gallery_steps": 2, "precision": "float32"}
    done = papermill.execute_notebook(
        tmp_path / "03.ipynb", None, parameters, cwd=ROOT, progress_bar=False
    )
    (signs,) = (c for c in done.cells if c.source.startswith("signs = pd.DataFrame"))
    assert "discriminator too weak" in signs.outputs[0].data["text/plain"]
