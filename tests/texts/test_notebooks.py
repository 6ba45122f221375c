"""Policy: what the notebooks teach is what helpers hold; parameters, order, outputs."""

import ast
import itertools
import json
import math
import re
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
import scipy
import yaml
from conftest import ROOT
from keep_outputs import OTHERS, code_hash

from course import params

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What each notebook's objectives name, by the room that holds the importable copy.
TAUGHT = {
    "01_preprocessing": {
        "preprocessing": {
            "read_grey", "pad_to_square", "shrink", "to_tanh_range", "prepare",
            "propose_lookalikes", "join_groups", "split_groups", "SHARES", "FEWEST",
        }
    },
    "02_networks": {
        "networks": {
            "normalise_and_activate", "build_discriminator", "build_generator", "count_trainable",
            "IMAGE_SHAPE", "LATENT_DIM", "MOMENTUM", "LAST_VARIANCE",
        }
    },
    "03_training": {
        "gan": {
            "noisy_targets", "cross_entropy", "discriminator_loss", "generator_loss",
            "gradient_penalty", "penalty_for", "augment", "augment_input", "gan_losses",
            "make_train_step", "update_average",
        },
        "training": {"batch_of"},
    },
    "04_sampling": {
        "sampling": {"draw_latent", "walk", "neighbours"},
        "measures": {
            "kid", "neighbour_measures", "pixel_likeness", "two_sample_test", "PENALTY",
        },
        "copies": {
            "nearness", "chances", "favours_training", "USUAL", "NONE", "FEWEST_HELD_OUT",
        },
    },
    "05_evaluation": {
        "intervals": {"check_table", "resampled_t"},
        "leaks": {"near_copies", "not_in_real", "SealedTest"},
        "verdict": {"decide"},
    },
}  # fmt: skip


def cells(path, kind="code"):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def definitions(source: str) -> dict[str, str]:
    """Top-level functions, classes and constants as syntax trees without docstrings and hints."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [t.id for t in node.targets if isinstance(t, ast.Name)]
        else:
            continue
        for inner in ast.walk(node):
            if isinstance(inner, ast.FunctionDef):
                inner.returns = None
                for argument in ast.walk(inner.args):
                    if isinstance(argument, ast.arg):
                        argument.annotation = None
            body = getattr(inner, "body", None)
            if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner):
                inner.body = body[1:]
        found |= {name: ast.dump(node) for name in names}
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_taught_code_is_the_code_in_helpers(path):
    here = definitions("\n".join(c.source for c in cells(path)))
    for room, names in TAUGHT.get(path.stem, {}).items():
        there = definitions((ROOT / "helpers" / f"{room}.py").read_text())
        assert names <= set(here), f"not shown: {names - set(here)}"
        for name in names:
            assert here[name] == there[name], f"{name} differs from helpers.{room}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_function_is_copied_from_another_room_unsaid(path):
    said = set().union(*TAUGHT.get(path.stem, {"": set()}).values())
    here = {
        node.name
        for cell in cells(path)
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    for room in (ROOT / "helpers").glob("*.py"):
        assert not (here & set(definitions(room.read_text()))) - said


def test_04_goes_on_where_a_measure_had_too_few_images(capsys):
    """With 20 to 50 images a class, one measure is refused and the others are not."""
    (path,) = (path for path in NOTEBOOKS if path.stem == "04_sampling")
    by_id = {cell["id"]: cell.source for cell in cells(path)}
    from helpers import judge, measures

    reports = {"a": {"realism": {}}, "b": {"kid": 0.1, "kid_ci": [0.0, 0.2]}}
    namespace = {
        "measures": measures,
        "judge": judge,
        "reports": reports,
        "order": {"a": range(100)},
    }
    for cell in ("cell-64", "cell-65", "cell-95"):
        exec(by_id[cell], namespace)
    assert namespace["kept"] == {}


def defined_in(stem, name):
    """A function of a notebook that stands nowhere else."""
    (path,) = (path for path in NOTEBOOKS if path.stem == stem)
    (source,) = (c.source for c in cells(path) if c.source.startswith(f"def {name}("))
    namespace = {"np": np}
    exec(source, namespace)
    return namespace[name]


def test_a_checkerboard_is_the_last_point_of_04s_spectrum():
    power_spectrum = defined_in("04_sampling", "power_spectrum")
    noise = np.random.default_rng(0).normal(0, 0.2, (20, 32, 32, 1))
    board = np.where(np.indices((32, 32)).sum(axis=0) % 2, 0.3, -0.3)[..., None]
    plain, waved = power_spectrum(noise), power_spectrum(noise + board)
    assert len(plain) == 17 and np.allclose(plain[:16], waved[:16]) and waved[16] > 10 * plain[16]


def test_04s_fid_is_the_one_of_the_covariances():
    fid, rng = defined_in("04_sampling", "fid"), np.random.default_rng(0)
    first, second = rng.normal(size=(30, 8)), rng.normal(0.5, 2, (40, 8)) @ rng.normal(size=(8, 8))
    spreads = [np.cov(x.T) for x in (first, second)]
    apart = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    root = scipy.linalg.sqrtm(spreads[0] @ spreads[1]).real
    assert fid(first, second) == pytest.approx(apart + np.trace(sum(spreads) - 2 * root))
    assert fid(first, first) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_one_parameters_cell_of_plain_commented_literals(path):
    tagged = [c for c in cells(path) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    for node, line in zip(
        ast.parse(tagged[0].source).body, tagged[0].source.splitlines(), strict=True
    ):
        assert isinstance(node, ast.Assign)
        ast.literal_eval(node.value)
        assert "  # " in line, f"{line}: say what it is"


def test_profiles_name_only_declared_parameters_and_the_same_ones():
    declared = set().union(*params.declared_parameters().values())
    for name, own in params.declared_parameters().items():
        assert own == set(papermill.inspect_notebook(ROOT / "notebooks" / f"{name}.ipynb"))
    names = []
    for path in (ROOT / "params").glob("*.yaml"):
        values = yaml.safe_load(path.read_text())
        assert set(values) <= declared and values["profile"] == path.stem
        names.append(set(values))
    assert all(found == names[0] for found in names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_opening_says_what_is_in_it(path):
    first = cells(path, "markdown")[0].source
    for promise in ("You will build", "You will learn", "You need", "Takes"):
        assert promise in first


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_headings_are_in_order(path):
    levels = [
        len(match[1])
        for cell in cells(path, "markdown")
        for match in re.finditer(r"^(#+) ", cell.source, re.MULTILINE)
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_says_where_it_comes_from(path):
    """A section of sources with at least one link of its own."""
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    section = re.search(r"^## Where this comes from$(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert section, "no heading `## Where this comes from`"
    assert re.search(r"\]\(https://(arxiv|doi)\.org/\S+\)", section[1]), "no source below it"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_outputs(path):
    """Of this very code, with pictures, small, in order; no errors, bars, paths or addresses."""
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.get("outputs_of") == code_hash(notebook), "run `make outputs`"
    assert path.stat().st_size < 1.6e6
    code = cells(path)
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    for output in outputs:
        for kind in {"image/png", "image/gif"} & set(output.get("data", {})):
            assert len(output.metadata.get(kind, {}).get("alt", "")) > 20, "a picture without words"
        assert output.output_type != "error" and output.get("name") != "stderr"
        text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
        assert not re.search(
            r"/(home|root|tmp|work|Users|content)/|\d+%\|| at 0x[0-9a-f]+|https?:", text
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_some_outputs_are_compared(path):
    """By nbval, as `make validate` calls it: plain text that is the same on every machine."""
    tags = [c.metadata.get("tags", []) for c in cells(path)]
    marked = [c for c, t in zip(cells(path), tags, strict=True) if "nbval-check-output" in t]
    assert len(marked) >= 2
    for cell in marked:
        assert cell.metadata["tags"] == ["nbval-check-output"], "an exercise has no one answer"
        assert cell.outputs
        for output in cell.outputs:
            assert output.get("name", "stdout") == "stdout"
            assert set(output.get("data", ["text/plain"])) == {"text/plain"}
            text = output.get("text") or output["data"]["text/plain"]
            assert not re.search(r"\w/|/\w|\d+\.\d+\.\d+", text), "a path or a version"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_opening_says_the_minutes_that_were_measured(path):
    """Of a quick run, rounded up; those of the older processor where they are many more."""
    said = re.search(r"\*\*Takes\*\* .*", cells(path, "markdown")[0].source)[0]
    seconds = [
        json.loads(kept.read_text())["cost"]["seconds"].get(path.stem)
        for kept in (
            ROOT / "experiments" / "results" / f"{name}.json" for name in ("quick", "quick_float32")
        )
    ]
    if None in seconds:  # not measured yet: so no number of minutes may be said
        assert not re.search(r"\d+ minutes?", said)
        return
    minutes = [math.ceil(value / 60) for value in seconds]
    unit = "minute" if minutes[0] == 1 else "minutes"
    assert f"about {minutes[0]} {unit} on two" in said
    if "older" in said:
        assert f" cores of a newer processor, and about {minutes[1]} on an older one" in said
    else:
        assert minutes[1] <= 2 * minutes[0]


def test_notebooks_are_the_course_and_two_others():
    assert [path.stem for path in NOTEBOOKS] == [*params.NOTEBOOKS, *OTHERS]


def minutes_to_read(path: Path) -> dict[str, float]:
    """By section: at 150 words or 15 lines of code a minute, without what is folded away."""
    minutes, section = {}, ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            if "colab" not in cell.metadata.get("tags", []):
                minutes[section] += len(cell.source.splitlines()) / 15
            continue
        open_text = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL)
        for part in re.split(r"(?m)^(?=#+ )", open_text):
            if part.startswith("#"):
                section = part.splitlines()[0].lstrip("# ")
            minutes[section] = minutes.get(section, 0) + len(part.split()) / 150
    return minutes


def test_the_syllabus_says_how_long_each_session_takes_to_read():
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d \| (0\d)(?:, (up to|from) \*(.*?)\*)? \| (\d+) \|", page, re.M)
    rows += [(n, "", "", m) for n, m in re.findall(r"(0[67]) \((\d+) minutes\)", page)]
    assert [row[0] for row in rows] == ["01", "02", "03", "03", "04", "04", "05", "05", "06", "07"]
    total = 0
    for number, which, title, said in rows:
        (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        minutes = minutes_to_read(path)
        names = list(minutes)
        if which:
            at = names.index(title) + (which == "up to")
            names = names[:at] if which == "up to" else names[at:]
        found = sum(minutes[name] for name in names)
        assert abs(found - int(said)) <= 4, f"{number} {which} {title}: {found:.0f} minutes"
        total += found
    ((hours, half),) = re.findall(r"about (\d)(½?) hours to read", page)
    assert abs(total / 60 - int(hours) - len(half) / 2) < 0.35
