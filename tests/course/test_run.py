"""The command: what it refuses, skips, takes up again, and leaves alone."""

import os
import shutil
from pathlib import Path

import nbformat
import papermill
import pytest
from conftest import ROOT, refused, snapshot, write_labels

from course.params import NOTEBOOKS, load_parameters
from course.run import run
from course.run import run as run_course
from helpers import files, machine
from helpers.files import CourseError


def test_unknown_profile():
    refused(
        r"profile 'fast' is unknown: choose one of paper, quick, smoke, study", "--profile", "fast"
    )


def test_misspelt_parameter(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("gan_stepps: 5\n")
    out = tmp_path / "out"
    refused("no notebook has a parameter 'gan_stepps'", "--params", mine, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("text", [
    "gan_steps: 0", "seed: -1", "preview_every: 0", "fresh_count: 1", "classifier_steps: many",
    "samples_per_class: true", "gallery_steps: 1.5", "seed: 4294967296",
])  # fmt: skip
def test_numbers_that_cannot_be_are_refused_before_anything_runs(tmp_path, text):
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    with pytest.raises(CourseError, match=f"{text.split(':')[0]} is .*: use a whole num"):
        run("smoke", out=str(tmp_path / "out"), extra=mine)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "words"), [
    ("data_dir: /home", "data_dir is a folder: give folders with the command"),
    ("checkpoints_dir: /home", "checkpoints_dir is a folder"),
    ("classifier: imagenet", "classifier 'imagenet' is unknown: use one of resnet50, resnet50-i"),
    ("protocol: papers", "protocol 'papers' is unknown: use one of steps, paper"),
    ("arms: [original, original_gan]", "arms is .*: write it as one text, in quotes"),
    ("arms: original, clasic", "arms: 'clasic' is unknown: use original, gan_only, "),
    ("arms: classic, original", "arms: original_gan is missing: it must always be named"),
    ("label_column: 1", "label_column is read as 1: write it as one text, in quotes"),
    ("dose: 1,39", "dose is '1,39': use a number, 0 or more, such as 1.5"),
    ("dose: -1", "dose is -1: use a number, 0 or more"),
    ("positive: yes", "positive is read as True: write it as one text, in quotes"),
    ("positive: a/b", "class name 'a/b' goes into file names"),
    ("positive: sick\nnegative: sick", "both classes are called 'sick'"),
])  # fmt: skip
def test_other_parameters_that_cannot_be_are_refused_too(tmp_path, text, words):
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    with pytest.raises(CourseError, match=words):
        run("smoke", out=str(tmp_path / "out"), extra=mine)


def test_weights_that_cannot_be_downloaded_are_refused_before_anything_runs(tmp_path, monkeypatch):
    """The profile `paper` needs them in notebook 05, after hours of training."""
    asked = []
    monkeypatch.setattr(machine, "run_python", lambda code: asked.append(code) or "No weights.\n")
    with pytest.raises(CourseError, match=r"^No weights\.$"):
        run("paper", out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert "build_trunk('imagenet')" in asked[0]


@pytest.mark.parametrize("text", ["- a\n", "a: [1\n", "positive: 2024-02-30\n"])
def test_unreadable_parameters(tmp_path, text):
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    with pytest.raises(CourseError, match=r"mine\.yaml"):
        load_parameters("smoke", mine)


def test_a_file_cannot_rename_the_profile(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("profile: paper\n")
    refused("says profile: paper, .* --profile paper", "--profile", "smoke", "--params", mine)
    assert load_parameters("smoke", mine)["profile"] == "smoke"


def test_out_inside_data_and_bad_data_write_nothing(folder, tmp_path):
    before = snapshot(folder)
    for out in (folder, folder / "runs"):
        refused(r"OUT .* is inside DATA", "--data", folder, "--out", out)
    assert snapshot(folder) == before
    write_labels(folder, [(i, 3 if i == 0 else i % 2) for i in range(60)])
    refused(
        r"neither 0 nor 1 is the label of line 2 .*'3'", "--data", folder, "--out", tmp_path / "out"
    )
    refused("is not a folder", "--data", folder / "nowhere", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["thesis.txt", "metrics.json", "run.json"])
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text('{"years": "of work"}')
    for fresh in ([], ["--fresh"]):
        refused("not empty and holds no run", "--profile", "smoke", "--out", tmp_path, *fresh)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_data_inside_out_is_refused_since_fresh_would_remove_it(folder, tmp_path):
    before = snapshot(folder)
    refused(r"DATA .* is inside OUT", "--data", folder, "--out", tmp_path, "--fresh")
    assert snapshot(folder) == before


def test_out_that_is_a_file_is_refused(tmp_path):
    mine = tmp_path / "thesis.txt"
    mine.write_text("years of work")
    refused("cannot be a folder", "--profile", "smoke", "--out", mine)
    assert mine.read_text() == "years of work"


@pytest.fixture
def quiet_run(monkeypatch, folder, tmp_path):
    """`course.run` on a small folder up to the point where notebooks would be executed."""
    monkeypatch.setattr("course.run._run_notebooks", lambda *_: None)
    monkeypatch.setattr("course.run.write_report", lambda out: out / "report.html")

    def run(**more):
        return run_course("smoke", str(folder), str(tmp_path / "out"), **more)

    return run


def test_other_columns_and_other_groups_are_seen_before_anything_runs(quiet_run, folder):
    lines = [(i, i % 2, int(i < 30)) for i in range(60)]
    write_labels(folder, lines, ("file", "red", "blue"))
    with pytest.raises(CourseError, match=r"red.*blue"):
        quiet_run()
    named = {"changes": {"label_column": "blue"}}
    quiet_run(**named)
    (folder / "groups.csv").write_text("file,group\nhead_ct/000.png,1\nhead_ct/001.png,1\n")
    with pytest.raises(CourseError, match="other settings or data"):
        quiet_run(**named)


def test_what_the_gans_do_not_depend_on_may_change(monkeypatch, folder, tmp_path):
    """Parameters of later notebooks, and where the data lie."""
    executed = []

    def execute(source, target, *_):
        executed.append(source.stem)
        target.parent.mkdir(exist_ok=True)
        target.write_text("{}")

    def run(data="", **changes):
        executed.clear()
        run_course("smoke", data, str(tmp_path / ("own" if data else "out")), changes=changes)
        return executed

    monkeypatch.setattr("course.run._execute", execute)
    monkeypatch.setattr("course.run.write_report", lambda out: out / "report.html")
    assert run() == list(NOTEBOOKS)
    assert run() == []
    assert run(classifier_steps=3) == ["05_evaluation"]
    assert run(classifier_steps=3, samples_per_class=21) == ["04_sampling", "05_evaluation"]
    for changes in ({"gan_steps": 5}, {"split_seed": 7}):
        with pytest.raises(CourseError, match="other settings or data"):
            run(**changes)
    assert run(str(folder)) == list(NOTEBOOKS)
    assert run(str(folder.rename(tmp_path / "moved"))) == []


def test_a_notebook_that_is_stopped_leaves_none_finished_that_it_replaced(monkeypatch, tmp_path):
    """Otherwise the first settings would find their own notebooks, and the files of the others."""
    stop = False

    def execute(source, target, share, *_):
        target.parent.mkdir(exist_ok=True)
        if source.stem == "04_sampling":
            (target.parent.parent / "samples.txt").write_text(str(share["samples_per_class"]))
            if stop:
                raise KeyboardInterrupt
        target.write_text("{}")

    def run(count):
        run_course("smoke", "", str(tmp_path / "out"), changes={"samples_per_class": count})
        return (tmp_path / "out" / "samples.txt").read_text()

    monkeypatch.setattr("course.run._execute", execute)
    monkeypatch.setattr("course.run.write_report", lambda out: out / "report.html")
    assert run(100) == "100"
    stop = True
    with pytest.raises(KeyboardInterrupt):
        run(50)
    stop = False
    assert run(100) == "100"


def test_starting_over_can_itself_be_cut_off(quiet_run, monkeypatch, tmp_path):
    """What is left then is still a run of the course, and a linked folder stays linked to."""
    out, elsewhere = tmp_path / "out", tmp_path / "big disk"
    quiet_run()
    (out / "samples").mkdir()
    elsewhere.mkdir()
    (elsewhere / "step.npz").touch()
    (out / "checkpoints").symlink_to(elsewhere)
    remove = shutil.rmtree
    monkeypatch.setattr("course.run.shutil.rmtree", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        quiet_run(fresh=True)
    monkeypatch.setattr("course.run.shutil.rmtree", remove)
    quiet_run(fresh=True)
    assert not (out / "samples").exists() and not (out / "checkpoints").exists()
    assert (elsewhere / "step.npz").exists()


def test_a_folder_in_which_notebooks_were_run_by_hand_is_taken(quiet_run, tmp_path):
    prepared = tmp_path / "out" / "prepared.npz"
    prepared.parent.mkdir()
    prepared.touch()
    with pytest.raises(CourseError, match="holds no run"):  # somebody's own prepared.npz
        quiet_run(fresh=True)
    prepared.unlink()
    files.open_run(prepared.parent)
    prepared.touch()
    (prepared.parent / "split.csv").touch()
    quiet_run()


@pytest.mark.parametrize("more", [(), ("split.csv",), ("run.json",)])
def test_a_study_is_no_run_and_keeps_its_files(quiet_run, tmp_path, more):
    """A study leaves a lock and prepared slices, too."""
    for name in (".lock", "prepared.npz", "study.json", "report.html", "figures/gains.png", *more):
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "out" / name).write_text('{"settings": {"profile": "smoke"}}')
    before = snapshot(tmp_path / "out")
    for fresh in (False, True):
        with pytest.raises(CourseError, match="holds no run"):
            quiet_run(fresh=fresh)
    with pytest.raises(CourseError, match="holds no run"):
        files.open_run(tmp_path / "out")
    assert snapshot(tmp_path / "out") == before


@pytest.mark.parametrize("error", [RuntimeError("Kernel died"), OSError(28, "No space left")])
def test_a_dead_kernel_and_a_full_disk_end_in_one_sentence(monkeypatch, tmp_path, capfd, error):
    before = dict(os.environ)

    def execute(source, running, *_, **__):
        assert os.environ["MPLBACKEND"].startswith("module://")
        Path(running).write_text("{}")
        os.write(2, b"why it died")
        raise error

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    with pytest.raises(CourseError, match=r"01_preprocessing\.ipynb was interrupted .*resumes"):
        run("smoke", out=str(tmp_path / "out"))
    (left,) = (tmp_path / "out" / "notebooks").iterdir()
    assert left.name == "01_preprocessing.stderr" and left.read_text() == "why it died"
    assert capfd.readouterr().err == "" and os.environ == before


def test_a_second_run_is_refused(tmp_path):
    held = files.lock(tmp_path / ".lock")
    try:
        refused("in use by another run", "--profile", "smoke", "--out", tmp_path)
    finally:
        held.release()


def test_a_broken_notebook_fails_and_keeps_its_last_state(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "notebooks", copy := tmp_path / "notebooks")
    broken = nbformat.read(copy / "01_preprocessing.ipynb", 4)
    broken.cells = [c for c in broken.cells if "parameters" in c.metadata.get("tags", [])]
    broken.cells.append(nbformat.v4.new_code_cell("nonsense"))
    nbformat.write(broken, copy / "01_preprocessing.ipynb")
    monkeypatch.setattr("course.run.notebook_path", lambda name: copy / f"{name}.ipynb")
    with pytest.raises(CourseError, match=r"01_preprocessing.ipynb stopped at cell .*NameError"):
        run("smoke", out=str(tmp_path / "out"))
    left = [path.name for path in (tmp_path / "out" / "notebooks").iterdir()]
    assert left == ["01_preprocessing.failed.ipynb"]
