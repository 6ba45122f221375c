"""The house's order: thirteen rooms, one direction, a size that a reader can take in."""

import ast
import json
import math
import re
import tomllib
from pathlib import Path

import yaml

import helpers

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "runtime", "phantom", "dataset", "networks", "training", "sampling",
    "audit", "statistics", "evaluation", "exercises", "plots", "course", "study",
)  # fmt: skip


def test_rooms_and_size():
    found = {path.stem for path in (ROOT / "helpers").glob("*.py")} - {"__init__"}
    assert found <= set(ROOMS)
    lines = {path.stem: lines_of_code(path.read_text()) for path in (ROOT / "helpers").glob("*.py")}
    assert lines.pop("exercises") <= 300  # nothing that a run needs
    assert 500 < sum(lines.values()) <= 2900


def lines_of_code(source: str) -> int:
    """Lines that are neither blank, nor comment, nor docstring."""
    tree = ast.parse(source)
    prose = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose |= set(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in prose
        for number, line in lines
    )


def test_each_room_imports_only_from_rooms_before_it():
    for number, room in enumerate(ROOMS):
        path = ROOT / "helpers" / f"{room}.py"
        if not path.exists():
            continue
        used = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "helpers":
                used |= {alias.name for alias in node.names} - {"__version__"}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers."):
                used.add(node.module.split(".")[1])
        assert used <= set(ROOMS[:number]), f"{room} reaches forward"


def test_the_lock_holds_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text()
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = [line.split(">")[0].split("<")[0].lower() for line in wanted]
    for name in names:
        assert f"\n{name}==" in f"\n{lock}", name
    assert "://" not in lock, "a lock names packages, not hosts"


def test_both_environments_are_one():
    root = yaml.safe_load((ROOT / "environment.yml").read_text())
    binder = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text())
    pip = [next(d["pip"] for d in e["dependencies"] if isinstance(d, dict)) for e in (root, binder)]
    assert [line.replace("tensorflow-cpu", "tensorflow") for line in pip[1]] == pip[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pip[0] == project["dependencies"]
    for environment in (root, binder):
        python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
        assert python.count(".") == 1 and ">" not in python


def test_the_citation_names_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == helpers.__version__
    assert cited["license"] == "MIT" and cited["title"].startswith("Will GAN augmentation help")


def test_the_readme_says_what_was_measured():
    """Minutes rounded up, for each notebook of the quick run whose outputs are shown; memory."""
    measured = json.loads((ROOT / "results" / "quick.json").read_text())
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(\d\d_\w+)` \|[^|]*\| (\d+) \|", readme, re.M)
    assert len(rows) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    for name, minutes in rows:
        assert int(minutes) == math.ceil(measured["cost"]["seconds"][name] / 60), name
    smoke = sum(measured["smoke_cost"]["seconds"].values())
    assert f"about {math.ceil(smoke / 60)} minutes" in readme.replace("two", "2")
    assert f"{measured['cost']['peak_memory_gb']:.1f} GB" in readme
    bench = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    for rival in ("keras_2019", "pytorch_best"):
        assert f"1/{bench['gan_step'][f'vs_{rival}_penalty']['median']:.2f} " in readme
    assert f"{bench['paper_scale']['hours_for_both_gans']:.1f} hours" in readme
