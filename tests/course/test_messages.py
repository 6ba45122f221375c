"""What people type wrongly, and what the program then says: nothing is guessed without a word."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT
from PIL import Image

from course import audit, baseline, check, study
from course.params import read_parameters
from course.run import class_names
from helpers import machine
from helpers.files import CourseError
from helpers.folder import examine, read_folder
from helpers.folder.labels import quote


@pytest.fixture
def classes(tmp_path):
    """A function that writes a folder for each class, with noise as images."""

    def write(**counts):
        rng = np.random.default_rng(0)
        for name, count in counts.items():
            folder = tmp_path / "data" / name.replace("_", " ")
            folder.mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (40, 40), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{k}.png")
        return tmp_path / "data"

    return write


def write_params(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_a_third_label_does_not_get_the_name_of_the_second(classes, tmp_path, capsys):
    data = classes(tumour=24, healthy=24, cyst=12)
    mine = write_params(tmp_path, "positive: tumour\nnegative: healthy\n")
    assert check.main([str(data), "--params", str(mine)]) == 2
    assert "would get this name: healthy (24), cyst (12)" in capsys.readouterr().err
    mine = write_params(tmp_path, "positive: tumour\nnegative: no tumour\n")
    assert check.main([str(data), "--params", str(mine)]) == 0
    mine = write_params(
        tmp_path, "positive: tumour\nnegative: healthy\nclasses: [healthy, tumour]\n"
    )
    assert check.main([str(data), "--params", str(mine)]) == 0


def test_a_misspelt_label_is_warned_of(classes):
    data = classes(tumour=24, healthy=24, helthy=3)
    found = examine(data, 0, {"positive": "tumour"}, strict=False).warnings
    assert "helthy looks like healthy misspelt" in {x["kind"]: x["text"] for x in found}["spelling"]
    shutil.move(data / "helthy", data / "cyst")
    found = examine(data, 0, {"positive": "tumour"}, strict=False).warnings
    assert "spelling" not in {x["kind"] for x in found}, "another word"


def test_a_stroke_in_a_label_becomes_a_hyphen_in_the_classs_name(tmp_path, classes):
    data = classes(a=20, b=20)
    rows = [f"{name}/{k}.png,grade {grade}\n" for name, grade in (("a", "I/II"), ("b", "III/IV"))
            for k in range(20)]  # fmt: skip
    (data / "labels.csv").write_text("file,label\n" + "".join(rows))
    slices = read_folder(data, positive="grade III/IV")
    assert class_names(slices, {}) == {"negative": "grade I-II", "positive": "grade III-IV"}


def test_a_name_of_the_negative_class_is_a_label_or_free_where_none_can_be_meant(classes):
    slices = read_folder(classes(tumour=20, healthy=20), positive="tumour")
    assert audit._name_classes(slices, "tumour", "") == ("tumour", "healthy")
    with pytest.raises(CourseError, match=r"helthy, which is no label .* negative: healthy\."):
        class_names(slices, {"negative": "helthy"})
    assert class_names(slices, {"negative": "Healthy"}) == {"positive": "tumour"}
    slices.reading.negatives = {"healthy": 20, "Healthy": 3}
    assert class_names(slices, {"negative": "healthy"}) == {"positive": "tumour"}, "one label"
    slices.reading.negatives = {"healthy": 20, "cyst": 3}
    assert audit._name_classes(slices, "tumour", "no tumour") == ("tumour", "no tumour")
    with pytest.raises(CourseError, match="would get this name"):
        audit._name_classes(slices, "tumour", "healthy")
    for word in ("0", "no", "False"):
        slices.reading.negatives = {word: 20}
        assert class_names(slices, {"negative": "clear"}) == {"positive": "tumour"}, word


def test_a_folder_that_is_too_small_for_a_gan_is_refused_by_a_plan(
    classes, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(machine, "choose_precision", lambda *_, **__: "float32")
    monkeypatch.setattr(study, "time_step", lambda *_: 0.5)
    mine = write_params(tmp_path, "positive: tumour\nseed: 3\narms: original, original_gan\n")
    ask = ["--data", str(classes(tumour=12, healthy=12)), "--params", str(mine), "--plan"]
    assert study.main(ask) == 2
    said = capsys.readouterr()
    assert "a GAN needs 16" in said.err
    assert "does not use these parameters" in said.out and "arms, seed." in said.out
    assert "train: " not in said.out and "parts: none" not in said.out, "it makes folds"


def test_a_baseline_says_what_it_takes_for_what(classes, monkeypatch, capsys):
    monkeypatch.setattr(
        "helpers.baseline.measure_baseline",
        lambda images, *_: {"text": "All.", "probabilities": np.zeros(len(images))},
    )
    assert baseline.main([str(classes(tumour=24, healthy=24)), "--positive", "tumour"]) == 0
    said = capsys.readouterr().out
    assert "classes: tumour 24 (positive, label 1), healthy 24" in said
    assert "warning (unknown_patients)" in said and said.endswith("All.\n")


@pytest.mark.parametrize(("text", "words"), [
    ("positive: a\nnegative: b\npositive: c\n", "has positive twice, in lines 1 and 3"),
    ("positive: a\nnegative:\tb\n\t- c\n", r"line [23] cannot be read as YAML"),
    ('patient_pattern: "p(\\d+)"\n', "line 1 cannot .* backslash in single quotes"),
    ("positive:tumour\n", "with a space after the colon"),
    ("null\n---\n", "cannot be read as YAML"), ("false\n", "must hold lines"), ("0\n", "must hold"),
    ("seeds: 2\n", "seeds is an option of a study: give it as --seeds"),
    ("data_dir: x\n", "give folders with the command"),
    ("conditional_steps: 5\n", "belongs to notebook 06 or 07"),
])  # fmt: skip
def test_a_file_of_parameters_is_refused_with_its_line_or_the_way_to_say_it(tmp_path, text, words):
    with pytest.raises(CourseError, match=f"mine.yaml.* ?{words}"):
        read_parameters(write_params(tmp_path, text))


def test_a_file_of_parameters_may_be_empty(tmp_path):
    for text in ("", "null\n", "~", "# positive: tumour\n", "---\n"):
        assert read_parameters(write_params(tmp_path, text)) == {}


def test_a_command_whose_output_nobody_reads_ends_without_a_traceback():
    """Long output, of which one line is read, and short output that is still in a buffer."""
    code = (
        "import sys\nfrom course.commands import command\n@command\ndef main(_):\n"
        "    for _ in range(int(sys.argv[1])):\n        print('a line')\nsys.exit(main())"
    )
    for count in ("100000", "1"):
        ask = [sys.executable, "-c", code, count]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        with subprocess.Popen(ask, cwd=ROOT, env=buffered, **pipes) as process:
            if count != "1":
                process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b"" and process.wait() == 1


@pytest.mark.parametrize("label", [
    "tumour", "yes", "0", "1.5", "@a", "a: b", "a, b", "x # y", "*x", "[", "it's", "- a",
])  # fmt: skip
def test_a_label_can_be_copied_from_a_message_into_a_file(label):
    assert yaml.safe_load(f"positive: {quote(label)}\n") == {"positive": label}
    assert yaml.safe_load(f"classes: [{quote(label)}, b]\n") == {"classes": [label, "b"]}
    assert quote("tumour") == "tumour"


def test_folders_that_are_no_classes_are_not_asked_for_a_table(tmp_path, classes):
    data = classes(tumour=12)
    with pytest.raises(CourseError, match="listing is none, so the folders should be"):
        read_folder(data, listing="none")


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
@pytest.mark.parametrize(("given", "words"), [
    ("data=/x", "data is no variable"), ("PARAM=mine.yaml", "PARAM is no variable"),
    ("FRESH=False", "FRESH is False"), ("FRESH=1", ""), ("DATA=/my folder/a=b", ""),
])  # fmt: skip
def test_a_misspelt_variable_of_make_is_refused(given, words):
    asked = ["make", "--dry-run", "--assume-old=.venv/installed", "course", given]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is (not words) and words in done.stderr
    if given == "FRESH=1":
        assert "--fresh" in done.stdout
