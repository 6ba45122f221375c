"""Papermill alone refuses what `make course` refuses; settings of Keras that cannot work too."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT

from helpers import machine
from helpers.files import CourseError
from helpers.injected import wrong_parameter

NOTEBOOKS = ROOT / "notebooks"
CELLS = ["import os", "seed = 1\nrate = 0.5\nname = ''\nparts = []\nkept = False\n"]


@pytest.mark.parametrize(
    ("injected", "wrong"),
    [
        ("seed = 7\nrate = 1\nname = 'x'\nparts = [0.5]\nkept = True", ""),
        ("gan_steps = 4\nrecipe = 'paper'", ""),  # of another notebook
        (
            "sead = 7",
            "no notebook has a parameter 'sead': this one has kept, name, p",
        ),
        ("seed = '7'", "seed is '7': use a whole number."),
        ("seed = 7.5", "seed is 7.5: use a whole number."),
        ("seed = True", "seed is True: use a whole number."),
        ("rate = 'fast'", "rate is 'fast': use a number."),
        ("name = 3", "name is 3: use a text, in quotes."),
        ("parts = 'a'", "parts is 'a': use a list."),
        ("kept = 1", "kept is 1: use true or false."),
    ],
)
def test_names_and_kinds(injected, wrong):
    found = wrong_parameter([*CELLS, f"# Parameters\n{injected}\n", "x = 1"], NOTEBOOKS)
    assert found.startswith(wrong) and bool(found) == bool(wrong)


def test_cells_without_papermill_are_right():
    assert not wrong_parameter(CELLS, NOTEBOOKS) and not wrong_parameter([], NOTEBOOKS)


def test_papermill_alone_refuses_a_misspelt_parameter(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "--no-progress-bar", "notebooks/01_preprocessing.ipynb",
         str(tmp_path / "out.ipynb"), "-f", "params/smoke.yaml", "-p", "out_dir",
         str(tmp_path / "run"), "-p", "sead", "7"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "CourseError: no notebook has a parameter 'sead'" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kept", "variables", "said"),
    [
        ({}, {}, ""),
        ({"backend": "tensorflow", "image_data_format": "channels_last"}, {}, ""),
        ({"backend": "jax"}, {}, "keras.json is 'jax': set it to tensorflow"),
        ({"backend": "jax"}, {"KERAS_BACKEND": "tensorflow"}, ""),
        ({"image_data_format": "channels_first"}, {}, "channels_first: set channels_last"),
        ({"floatx": "float64"}, {}, "floatx in "),
        ({}, {"KERAS_BACKEND": "jax"}, "KERAS_BACKEND is 'jax': set it to tensorflow"),
        ({}, {"TF_USE_LEGACY_KERAS": "1"}, "TF_USE_LEGACY_KERAS asks for Keras 2: unset it"),
    ],
)
def test_settings_of_keras(tmp_path, monkeypatch, kept, variables, said):
    (tmp_path / "keras.json").write_text(json.dumps(kept))
    for name in ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"KERAS_HOME": str(tmp_path), **variables}.items():
        monkeypatch.setenv(name, value)
    if said:
        with pytest.raises(CourseError, match=said):
            machine.check_keras()
        for command in ("run", "study", "audit"):
            done = subprocess.run(
                [sys.executable, "-m", "course", command], cwd=ROOT, capture_output=True,
                text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    else:
        machine.check_keras()


def test_damaged_settings_of_keras_are_passed_over(tmp_path, monkeypatch):
    """Keras itself ignores such a file."""
    (tmp_path / "keras.json").write_text("{")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    machine.check_keras()
