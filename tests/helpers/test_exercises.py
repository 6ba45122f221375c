"""Every exercise has a solution that its check accepts, and two wrong answers that it rejects.

The smoke run goes the way of simulated slices; here, the same notebooks go that of other data.
"""

import ast
import json
import re
import shutil

import nbformat
import papermill
import pytest
from conftest import ROOT

from course import params

NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("0[1-6]*.ipynb"))  # 07 has none
BEYOND = {"conditional_steps": 2, "fitting_steps": 2, "precision": "float32"}  # of notebook 06
ARMS = {"arms": "original, original_gan", "classifier": "bundled"}  # the smoke run has ResNet-50
SOLUTION = re.compile(r"<details><summary>Solution</summary>\n\n```python\n(.*?)\n```", re.DOTALL)
WRONG = {
    "01.1": {"squeezed": "0", "before shrinking": "20000"},
    "01.2": {
        "cut off": "lambda x: ((x + 1) * 127.5).astype(np.uint8)",
        "scaled from 0 to 1": "lambda x: np.round(x * 255).astype(np.uint8)",
        "no integers": "lambda x: (x + 1) * 127.5",
    },
    "01.3": {
        "another group": "int(handed.group[handed.index[handed.split == 'test'][-1]])",
        "no group": "99",
    },
    "01.4": {"the same": "lambda grey: grey", "noise": "lambda grey: np.full_like(grey, 9)"},
    "02.1": {"no biases": "3 * 3 * 128 * 64", "one channel": "3 * 3 * 64 + 64"},
    "02.2": {"first keeps": "(32, 16, 8, 4)", "only the last": "(4,)"},
    "02.3": {"the first": "1", "the last": "4"},
    "02.4": {"published": "(3, 4, 4, 4)", "three": "(3, 3, 3)", "blind": "(7, 1, 1, 1)"},
    "03.1": {"hard label": "-np.log(0.9)", "a coin": "np.log(2)"},
    "03.2": {
        "no flips": "lambda count, rng: 1 - 0.2 * rng.random(count)",
        "no noise": "lambda count, rng: np.where(rng.random(count) < 0.05, 0.1, 0.9)",
        "too soft": (
            "lambda count, rng: np.where("
            "rng.random(count) < 0.05, 0.4 * rng.random(count), 1 - 0.4 * rng.random(count))"
        ),
        "hard flips": (
            "lambda count, rng: np.where("
            "rng.random(count) < 0.05, 0.0, 1 - 0.2 * rng.random(count))"
        ),
    },
    "03.3": {"the uniform one": "'first'", "the beta": "'third'", "a number": "2"},
    "03.4": {
        "variety alone": "lambda v, r, f, g: 'healthy' if v > 0.11 else 'slow averages'",
        "nothing": "lambda *signs: None",
    },
    "04.1": {"another": "(place + 1) % 10", "counted from 1": "place + 1"},
    "04.2": {"the samples": "samples[positive]", "one slice": "real[positive][:1].repeat(72, 0)"},
    "04.3": {
        "the worst": "lambda x, share: np.argsort(x)[: round(share * len(x))]",
        "all": "lambda x, share: np.arange(len(x))",
        "a cut at a score": "lambda x, share: np.flatnonzero(x >= 1 - share)",
    },
    "04.4": {"a bug": "'bug'", "alike": "'too alike'"},
    "05.1": {"a share": "1 / 22", "the reported gain": "2.14"},
    "05.2": {"unequal classes": "'C'", "equal classes": "'A'"},
    "05.3": {"all": "range(16)", "none": "[]"},
    "05.4": {"ten": "10", "plenty": "90", "too few to judge": "3"},
    "06.1": {"one label": "128 * 16 * 16", "five numbers": "5"},
    "06.2": {"reshaped": "'first'", "scaled": "'second'"},
    "06.3": {
        "coins": "lambda count, rng: rng.standard_normal((count, 101))",
        "sorted": (
            "lambda count, rng: np.c_[rng.standard_normal((count, 100)), "
            "np.repeat([-1.0, 1.0], count // 2)]"
        ),
        "no noise": (
            "lambda count, rng: np.c_[np.zeros((count, 100)), "
            "rng.permutation(np.repeat([-1.0, 1.0], count // 2))]"
        ),
    },
    "06.4": {"classic": "'classic'", "the gan": "'original_gan'"},
}


def exercises(path) -> list[tuple[int, str, str]]:
    """Of each: place of its cell, source of its cell, code of its solution."""
    cells = nbformat.read(path, as_version=4).cells
    return [
        (k, cell.source, SOLUTION.search(cells[k + 1].source)[1])
        for k, cell in enumerate(cells)
        if "exercise" in cell.metadata.get("tags", [])
    ]


def check_of(source: str) -> tuple[str, str]:
    """An exercise's name, and the call that checks it."""
    call = ast.parse(source).body[-1].value
    assert ast.unparse(call.func) == "exercises.check"
    return call.args[0].value, ast.unparse(call)


def marked(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What nbval compares: outputs of the cells that are marked for it."""
    return {
        cell.id: "".join(o.get("text") or str(o.data) for o in cell.outputs)
        for cell in notebook.cells
        if "nbval-check-output" in cell.metadata.get("tags", [])
    }


@pytest.mark.parametrize("name", NAMES)
def test_there_are_four_and_one_plants_a_fault(name):
    path = ROOT / "notebooks" / f"{name}.ipynb"
    found = exercises(path)
    assert [check_of(source)[0] for _, source, _ in found] == [
        f"{name[:2]}.{k}" for k in range(1, len(found) + 1)
    ]
    assert len(found) >= 4
    assert re.search(r"\*\*\d\.\*\* \*Find the ", str(nbformat.read(path, as_version=4)))
    for _, source, _ in found:
        assert re.search(r"^answer = \.\.\.", source, re.MULTILINE)


def with_answers(name: str) -> tuple[nbformat.NotebookNode, dict[str, tuple[str, str]]]:
    """The notebook with a cell for each solution and wrong answer, and which of them each tries."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    tried = {}
    for place, source, solution in reversed(exercises(ROOT / "notebooks" / f"{name}.ipynb")):
        exercise, call = check_of(source)
        answers = {"solution": solution} | {
            wrong: f"answer = {code}" for wrong, code in WRONG[exercise].items()
        }
        assert len(answers) >= 3
        for wrong, code in reversed(answers.items()):
            cell = nbformat.v4.new_code_cell(f"{code}\n{call}")
            notebook.cells.insert(place + 1, cell)
            tried[cell.id] = exercise, wrong
    return notebook, tried


def judge(done: nbformat.NotebookNode, tried: dict[str, tuple[str, str]]) -> None:
    """Whether each solution was accepted, and each wrong answer not."""
    seen = 0
    for cell in done.cells:
        if cell.id not in tried:
            continue
        exercise, answer = tried[cell.id]
        said = "".join(o.get("text", "") for o in cell.outputs if o.get("name") == "stdout")
        last = said.strip().splitlines()[-1]
        expected = "Right." if answer == "solution" else "Not yet: "
        assert last.startswith(expected), f"{exercise}, {answer}: {said}"
        assert "ends in" not in last, f"{exercise}, {answer}: {said}"
        seen += 1
    assert seen == len(tried)


def test_solutions_of_03_need_no_training(tmp_path):
    """Its exercises need only what the first cell imports; the whole notebook is tried below."""
    notebook, tried = with_answers("03_training")
    own = [
        cell
        for cell in notebook.cells
        if cell.id in tried or "exercise" in cell.metadata.get("tags", [])
    ]
    notebook.cells = [cell for cell in notebook.cells if cell.id in ("cell-02", "cell-03")] + own
    nbformat.write(notebook, tmp_path / "tried.ipynb")
    judge(
        papermill.execute_notebook(tmp_path / "tried.ipynb", None, cwd=ROOT, progress_bar=False),
        tried,
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name[:2] == "03")) for name in NAMES],
)
def test_solutions_are_right_and_wrong_answers_get_a_hint(name, smoke, tmp_path):
    notebook, tried = with_answers(name)
    nbformat.write(notebook, tmp_path / "tried.ipynb")
    shutil.copytree(smoke[0], tmp_path / "out")
    if name[:2] != "01":  # which draws the slices; the others take the way of somebody's own
        path = tmp_path / "out" / "metrics.json"
        metrics = json.loads(path.read_text())
        metrics["data"]["simulated"] = False
        path.write_text(json.dumps(metrics))
    own = set(papermill.inspect_notebook(ROOT / "notebooks" / f"{name}.ipynb"))
    values = params.load_parameters("smoke") | BEYOND | ARMS
    parameters = {k: v for k, v in values.items() if k in own}
    done = papermill.execute_notebook(
        tmp_path / "tried.ipynb", None, parameters | {"out_dir": str(tmp_path / "out")},
        cwd=ROOT, progress_bar=False,
    )  # fmt: skip
    if name[:2] == "05":
        now = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert now["fresh_count"] == 0 and "fresh_accuracy" not in now["arms"]["original"]
    judge(done, tried)
    first = tmp_path / "out" / "notebooks" / f"{name}.ipynb"
    if name in params.NOTEBOOKS:  # run for the second time: nbval's marks say what must be the same
        assert marked(done) == marked(nbformat.read(first, as_version=4))
