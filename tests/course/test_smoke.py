"""A smoke run from end to end and what it leaves; killed and resumed; on other people's data."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import yaml
from conftest import COMMAND, ROOT, call, refused, snapshot
from folders import CT, hounsfield, pictures, write_dicom
from PIL import Image

from course import run as course_run
from course.params import NOTEBOOKS, load_parameters
from course.run import run
from helpers import files, machine, preprocessing, sampling
from helpers.folder import read_folder
from helpers.intervals import wilson_interval


def test_everything_is_there(smoke):
    out, printed = smoke
    for name in NOTEBOOKS:
        assert (out / "notebooks" / f"{name}.ipynb").exists()
    for name in ("haemorrhage", "clear"):
        assert (out / "models" / f"{name}.h5").exists() and (out / "models" / f"{name}.md").exists()
        assert len(pd.read_csv(out / "logs" / f"{name}.csv")) == 4
        assert f"Note, {name}: The generated images cannot be judged" in printed
    assert "Verdict: Not enough data to tell." in printed
    assert str(out / "report.html") in printed
    assert not [p for p in out.rglob("*") if p.name.startswith(".") and "lock" not in p.name]


@pytest.mark.parametrize("name", ["01_preprocessing", "02_networks"])
def test_what_the_first_notebooks_print_is_what_they_show(name, smoke):
    """They do the same in each profile, so their committed outputs must be of today's program."""

    def printed(path):
        return {
            cell.id: "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
            for cell in nbformat.read(path, as_version=4).cells
            if cell.cell_type == "code" and "machine.setup()" not in cell.source
        }

    shown, now = (
        printed(folder / f"{name}.ipynb") for folder in (ROOT / "notebooks", smoke[0] / "notebooks")
    )
    assert {id: now[id] for id in shown} == shown


def test_metrics_hold_what_others_read(metrics):
    assert metrics["profile"] == "smoke" and metrics["seed"] == 2019
    assert {"python", "tensorflow", "keras", "numpy"} <= set(metrics["versions"])
    assert re.fullmatch(r"[0-9a-f]{64}", metrics["data"]["fingerprint"])
    assert metrics["data"]["images"] == 200
    assert {part: row["images"] for part, row in metrics["split"].items()} == {
        "train": 144, "validation": 34, "test": 22,
    }  # fmt: skip
    for gan in metrics["gan"].values():
        assert gan["steps"] == 4 and gan["seconds_per_step"] == pytest.approx(gan["seconds"] / 4)
    assert list(metrics["arms"]) == ["original", "gan_only", "original_gan", "classic"]
    for arm in metrics["arms"].values():
        (tn, fp), (fn, tp) = arm["confusion"]
        assert tn + fp == fn + tp == 11
        assert arm["accuracy"] == pytest.approx((tn + tp) / 22)
        assert arm["accuracy_ci"] == pytest.approx(wilson_interval(tn + tp, 22))
    assert metrics["verdict"]["answer"] == "undecided"
    assert metrics["verdict"]["smallest_detectable_effect"] == pytest.approx(6 / 22)
    assert metrics["trunk"] == "scratch" and metrics["classifier"]["name"] == "resnet50"
    assert 0.5 < metrics["cost"]["peak_memory_gb"] < 2.0
    for found in metrics["audit"].values():
        assert "The generated images cannot be judged" in found["warning"]
        assert "kid" not in found and "copying" not in found, "four steps draw nothing"


@pytest.mark.slow
def test_another_seed_leaves_the_data_and_the_split_as_they_are(smoke, tmp_path):
    """Of a study's split all seeds are averaged, so `split_seed` alone may choose its images."""
    parameters = load_parameters("smoke") | {"seed": 77, "out_dir": str(tmp_path / "run")}
    source = ROOT / "notebooks" / "01_preprocessing.ipynb"
    known = papermill.inspect_notebook(source)
    shared = {name: value for name, value in parameters.items() if name in known}
    papermill.execute_notebook(source, None, shared, cwd=ROOT, progress_bar=False)
    for name in ("split.csv", "data/labels.csv"):
        assert (tmp_path / "run" / name).read_text() == (smoke[0] / name).read_text()
    assert np.array_equal(
        preprocessing.load_prepared(tmp_path / "run").images,
        preprocessing.load_prepared(smoke[0]).images,
    )


def test_each_class_trained_on_its_own_training_images(smoke):
    """Swapped labels, or test images in a GAN's training, end here."""
    out, _ = smoke
    prepared = preprocessing.load_prepared(out)
    for name, label in (("haemorrhage", 1), ("clear", 0)):
        newest = max((out / "checkpoints" / name).glob("*.npz"))
        with np.load(newest) as saved:
            origin = json.loads(str(saved["origin"]))
        images, _ = prepared.part("train", label)
        assert len(images) == 72
        assert origin["data"] == machine.fingerprint(images)
    table = read_folder(out / "data").table.set_index("file")
    split = pd.read_csv(out / "split.csv").set_index("file")
    assert list(split.columns) == ["label", "group", "split"]
    assert (split["label"] == table.loc[split.index, "label"]).all()


def test_samples_carry_the_label_of_their_generator(smoke):
    out, _ = smoke
    slices = read_folder(out / "samples")
    assert slices.table.label.tolist() == [1] * 20 + [0] * 20
    images = preprocessing.prepare(slices.greys)
    for name, label in (("haemorrhage", 1), ("clear", 0)):
        generator = sampling.load_generator(out / "models" / f"{name}.h5")
        latent = sampling.draw_latent(20, machine.derive_seed(2019, "latent", label))
        drawn = sampling.generate(generator, latent)
        assert np.abs(images[slices.table.label == label] - drawn).max() < 0.01


def test_the_same_command_again_skips_and_other_settings_are_refused(smoke):
    out, _ = smoke
    before = {p: v for p, v in snapshot(out).items() if p.startswith(("models", "samples"))}
    done = call("--profile", "smoke", "--out", out)
    assert done.returncode == 0 and done.stdout.count("finished before") == len(NOTEBOOKS)
    after = {p: v for p, v in snapshot(out).items() if p.startswith(("models", "samples"))}
    assert before == after
    refused("holds a run with other settings", "--profile", "quick", "--out", out)


def test_slices_are_drawn_while_it_trains(smoke):
    """Into the place below the training's cell, each picture over the one before."""
    notebook = nbformat.read(smoke[0] / "notebooks" / "03_training.ipynb", 4)
    (cell,) = [c for c in notebook.cells if "trained[name] = training.train_gan(" in c.source]
    (place,) = [output for output in cell.outputs if output.output_type == "display_data"]
    assert place.metadata["image/png"]["alt"] == "the newest slices of each class"
    assert len(place.data["image/png"]) > 1000


# --- Killed and resumed --------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_while_training_it_goes_on_and_ends_the_same(smoke, tmp_path):
    """The whole group, with SIGKILL, in the middle of notebook 03: kernel and all."""
    _begin_with_notebook_03(smoke[0], tmp_path)
    _run_until(tmp_path, "checkpoints/clear/step-*.npz")
    time.sleep(4)
    assert not _kernels_of(tmp_path), "a kernel outlived its run"
    assert not (tmp_path / "models").exists(), "killed too late to tell anything"
    assert "02_networks: finished before" in _run_until(tmp_path, "models/clear.md")
    for name in ("haemorrhage", "clear"):
        first, second = (
            sampling.load_generator(out / "models" / f"{name}.h5") for out in (smoke[0], tmp_path)
        )
        for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
            assert np.array_equal(a, b)


def _begin_with_notebook_03(run: Path, out: Path) -> None:
    """Copy what the first two notebooks of a run have written, so that the next ones are left."""
    for name in ("data", "prepared.npz", "split.csv", "run.json", "metrics.json", "figures"):
        copy = shutil.copytree if (run / name).is_dir() else shutil.copy
        copy(run / name, out / name)
    (out / "notebooks").mkdir()
    done = files.read_json(run / "notebooks" / "finished.json")
    for name in NOTEBOOKS[:2]:
        shutil.copy(run / "notebooks" / f"{name}.ipynb", out / "notebooks")
    files.write_json(
        out / "notebooks" / "finished.json", {name: done[name] for name in NOTEBOOKS[:2]}
    )


def _run_until(out: Path, pattern: str) -> str:
    """A smoke run, killed as soon as such a file is there; what it had printed."""
    process = subprocess.Popen(
        [*COMMAND, "--profile", "smoke", "--out", str(out)], cwd=ROOT,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 600
    while not list(out.glob(pattern)) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


def _kernels_of(folder: Path) -> list[str]:
    """Running processes that were told to lock this folder (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{files.KERNEL_LOCK}={folder}".encode() in entry.read_bytes():
                found.append(entry.parent.name)
        except OSError:
            continue
    return found


# --- Other people's data --------------------------------------------------------------------------


@pytest.fixture
def prepare(monkeypatch, tmp_path, capsys):
    """`course.run` with notebook 01 alone; returns what it printed and recorded."""
    execute = course_run._execute

    def execute_first(source, target, *more):
        if source.stem == NOTEBOOKS[0]:
            execute(source, target, *more)

    monkeypatch.setattr(course_run, "_execute", execute_first)
    monkeypatch.setattr(course_run, "write_report", lambda out: out / "report.html")

    def run_first(data, **changes):
        out = run("smoke", str(data), str(tmp_path / "out"), changes=changes).parent
        metrics = files.read_json(out / "metrics.json")
        return capsys.readouterr().out, metrics, pd.read_csv(out / "split.csv")

    return run_first


def test_real_slices_are_prepared(real, prepare):
    before = {path: path.stat().st_mtime_ns for path in real.rglob("*")}
    _, metrics, split = prepare(real)
    assert metrics["data"]["groups"] == 111 and not metrics["data"]["simulated"]
    number = split["file"].str.extract(r"(\d+)\.png")[0].astype(int)
    parts = dict(zip(number, split["split"], strict=True))
    for i, j in [(188, 189), (198, 199), (11, 61), (105, 187), (73, 95), (10, 66), (12, 30)]:
        assert parts[i] == parts[j]
    assert {parts[i] for i in range(162, 178)} == {"train"}
    assert split[split["split"] == "test"]["group"].is_unique
    assert {path: path.stat().st_mtime_ns for path in real.rglob("*")} == before


def write_series(folder):
    """DICOM: a folder a class, no listing, no file endings, patients in the headers alone."""
    for i, (grey, k) in enumerate(sorted(pictures(72), key=lambda pair: pair[1])):
        told = {"PatientID": f"P{i // 3}", "StudyInstanceUID": f"1.2.{i // 3}"}
        write_dicom(folder / ("yes" if k else "no") / f"IM{i}", hounsfield(grey), **CT | told)
    return folder


def test_dicom_files_in_class_folders_are_prepared(prepare, tmp_path):
    said, metrics, split = prepare(write_series(tmp_path / "data"), window=[-1000, 700])
    assert "patients: 24 for 72 images, by DICOM PatientID, DICOM StudyInstance" in said
    assert metrics["classes"] == ["no", "yes"] and metrics["data"]["groups"] == 24
    assert all(line in said for line in metrics["data"]["check"])
    assert (split.groupby("group")["split"].nunique() == 1).all()
    assert (split["label"] == split["file"].str.startswith("yes/")).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["real", "dicom"])
def test_other_peoples_data_from_end_to_end(kind, request, tmp_path):
    if kind == "real":
        data, few = request.getfixturevalue("real"), {}
    else:
        data, few = write_series(tmp_path / "data"), {"window": [-1000, 700]}
    out, mine = tmp_path / "out", tmp_path / "few.yaml"
    few |= {"gan_steps": 2, "classifier_steps": 1, "arms": "original, original_gan"}
    few |= {"classifier": "bundled"} if kind == "dicom" else {}
    mine.write_text(yaml.safe_dump(few))
    done = call("--profile", "smoke", "--data", data, "--out", out, "--params", mine)
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = files.read_json(out / "metrics.json")
    assert not metrics["data"]["simulated"]
    assert "fresh_accuracy" not in metrics["arms"]["original"]
    html = (out / "report.html").read_text()
    assert "How the folder was read" in html
    if kind == "dicom":
        assert "listing: none; the folders are" in html and (out / "models" / "yes.h5").exists()
    assert Image.open(out / "samples" / "000.png").size == (32, 32)


@pytest.mark.slow
def test_nbval_over_executed_notebooks(smoke):
    """The quick two; `test_exercises` runs all of them again, and compares the same outputs.

    The last test here, because notebooks run by hand make the run count as unfinished.
    """
    out, _ = smoke
    notebooks = [str(out / "notebooks" / f"{name}.ipynb") for name in NOTEBOOKS[:2]]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=600", "-q",
         "-p", "no:cacheprovider", "--rootdir", str(out), *notebooks],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
