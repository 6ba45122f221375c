"""What a learner edits in notebook 03 is what trains."""

import functools
import importlib.util
import json

import pytest
from conftest import ROOT
from small import same
from small import train_seeded as train

from helpers.files import CourseError
from helpers.gan import (
    make_train_step,
)
from helpers.training import (
    fingerprint_step,
)

keras = pytest.importorskip("keras")


def learners_step(tmp_path, name, edit=lambda source: source):
    """Notebook 03's own `make_train_step`, from its cells, some of them edited."""
    cells = json.loads((ROOT / "notebooks" / "03_training.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    imports = "from collections.abc import Callable\nimport keras\nimport numpy as np\n"
    imports += "import tensorflow as tf\nfrom helpers.recipes import Recipe\n"
    taught = [source for source in sources if source.startswith("def ")]
    assert any(source.startswith("def make_train_step(") for source in taught)
    (call,) = (source for source in sources if "training.train_gan(" in source)
    assert "make_step=make_train_step," in call, "the notebook trains with its own step"
    (tmp_path / f"{name}.py").write_text(edit(imports + "\n\n".join(taught)))
    spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_train_step


def test_what_a_learner_edits_is_what_trains(small_networks, images, tmp_path):
    def without_penalty(source):
        old = "    if not recipe.penalty_weight:\n"
        assert source.count(old) == 1
        return source.replace(old, "    if True:\n")

    own, edited = learners_step(tmp_path, "own"), learners_step(tmp_path, "edited", without_penalty)
    plain = train(images, 3, checkpoints=tmp_path / "plain")
    same_step = train(images, 3, checkpoints=tmp_path / "own", make_step=own)
    without = train(images, 3, checkpoints=tmp_path / "own", make_step=edited)
    assert same(plain, same_step) and plain.step == same_step.step == "the course's"
    assert (plain.history["penalty"] > 0).all() and (without.history["penalty"] == 0).all()
    assert not same(plain, without) and without.step.startswith("edited-")
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == {"plain", "own", f"own-{without.step}"}


def test_only_the_code_of_a_step_counts(tmp_path):
    """Not comments and hints; but every function that the step calls, and every named number."""
    steps = {
        "own": learners_step(tmp_path, "own"),
        "comment": learners_step(tmp_path, "comment", lambda x: x.replace(":\n", ":  # new\n", 1)),
        "far": learners_step(tmp_path, "far", lambda x: x.replace("1e-12", "1e-11")),
    }
    for name in ("first", "second"):  # a number in a cell of its own; a global that is not used
        source = f"TINY, step = 1e-1{len(name)}, '{name}'\n"
        steps[name] = learners_step(
            tmp_path, name, lambda x, source=source: source + x.replace("1e-12", "TINY")
        )
    found = {name: fingerprint_step(step) for name, step in steps.items()}
    assert found["own"] == found["comment"] == fingerprint_step(make_train_step)
    assert len({found[name] for name in ("own", "far", "first", "second")}) == 4
    numbers = steps["first"].__globals__
    before, numbers["step"] = fingerprint_step(steps["first"]), "another text"
    assert fingerprint_step(steps["first"]) == before, "`step` is an argument, not this text"


def test_a_step_without_source_is_refused_in_one_line(images):
    namespace = {}
    exec("def make_step(*networks):\n    return None", namespace)
    for make_step in (namespace["make_step"], functools.partial(make_train_step)):
        with pytest.raises(CourseError, match=r"make_step: the source of .* cannot be read"):
            train(images, 1, make_step=make_step)
