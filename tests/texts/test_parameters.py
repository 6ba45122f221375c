"""Notebooks, profiles, `--help` and error messages agree with the table in `helpers.parameters`."""

import ast

import nbformat
import pytest
import yaml
from conftest import ROOT

from course import run
from helpers import parameters, recipes
from helpers.files import CourseError
from helpers.folder import Options

CELLS = {}
for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
    (cell,) = (
        c for c in nbformat.read(path, 4).cells if "parameters" in c.metadata.get("tags", [])
    )
    CELLS[path.stem] = {
        line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(cell.source).body
    }
PROFILES = {
    path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "params").glob("*.yaml")
}


@pytest.mark.parametrize("name", CELLS)
def test_a_notebooks_defaults_are_those_of_the_table(name):
    own = {"out_dir", "positive", "negative"} if name.startswith("07") else set()  # it reads no run
    for parameter, default in CELLS[name].items():
        known = parameters.NOTEBOOKS[parameter].default
        assert type(default) is type(known), parameter
        assert default == known or parameter in own, parameter
    parameters.check_values(**CELLS[name])


def test_the_table_has_no_other_parameter():
    assert set(parameters.NOTEBOOKS) == set().union(*CELLS.values())


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_keeps_to_it(name):
    assert set(PROFILES[name]) <= set(parameters.NOTEBOOKS)
    parameters.check_values(**PROFILES[name])
    if name == "quick":
        defaults = {key: parameters.NOTEBOOKS[key].default for key in PROFILES[name]}
        assert PROFILES[name] == defaults


def test_choices_are_what_the_code_knows():
    assert parameters.NOTEBOOKS["recipe"].choices == tuple(recipes.RECIPES)
    assert set(Options.__dataclass_fields__) <= set(parameters.NOTEBOOKS)


@pytest.mark.parametrize("name", parameters.NOTEBOOKS | parameters.STUDY)
def test_each_refuses_another_type_and_names_the_value(name):
    for value in (object, 0.5j):
        with pytest.raises(CourseError, match=f"^{name} .*{value!r}.*: (use|write) "):
            parameters.check_values(**{name: value})


@pytest.mark.parametrize(("name", "value", "words"), [
    ("seed", True, "use a whole number from 0 to"), ("seed", 1.0, "use a whole number from 0 to"),
    ("gan_steps", 0, "use a whole number from 1 to"), ("dose", -0.1, "use a number, 0 or more"),
    ("recipe", "best", "use one of paper, brief"), ("given_split", 1, "write true or false"),
    ("recipe_changes", [], "write lines of the form name: value"),
    ("precision", "float16", "use one of auto, float32"),
])  # fmt: skip
def test_values_at_the_edge_of_what_is_allowed(name, value, words):
    with pytest.raises(CourseError, match=words):
        parameters.check_values(**{name: value})


def test_a_whole_number_will_do_for_a_number_with_a_point():
    parameters.check_values(dose=2)


def test_help_names_all_that_a_file_may_change(capsys):
    with pytest.raises(SystemExit):
        run.main(["--help"])
    said = capsys.readouterr().out
    for name in PROFILES["quick"]:
        assert f"  {name} " in said and parameters.NOTEBOOKS[name].text in said, name
    assert "out_dir" not in said
