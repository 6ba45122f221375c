"""What several test files share: small folders that meet the data contract, and the real set."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from course import workers
from helpers import machine

os.environ.update(machine.environment())  # before any test loads TensorFlow
if "PYTEST_XDIST_WORKER" in os.environ:  # tests in two processes: more threads would only wait
    os.environ.update(dict.fromkeys(workers.THREADS, "1"))
ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "course", "run"]
REAL = ROOT.parent / "shared" / "data" / "head-ct-hemorrhage"


def pytest_collection_modifyitems(items):
    """Begin with the smoke run, and end with the tests that need no run.

    Two processes take file by file. While one makes the smoke run, the other one has the files of
    `tests/course` and a long one of the helpers; then come those that wait for the run, the longest
    first.
    """
    waiting = {item.path for item in items if "smoke" in getattr(item, "fixturenames", ())}

    def place(item):
        first = {"test_smoke.py": 0, "test_training.py": 2, "test_exercises.py": 3}
        if item.path.name in first:
            return first[item.path.name]
        return 4 if item.path in waiting else 1 if item.path.parent.name == "course" else 5

    items.sort(key=place)


@pytest.fixture
def folder(tmp_path):
    """60 different noise slices, half of each class, in Kaggle's layout."""
    return write_folder(tmp_path / "data", 60)


@pytest.fixture(scope="module")
def slices():
    """40 images: class 1 is bright, class 0 dark, both noisy."""
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], 20)
    images = rng.normal(0, 0.2, (40, 32, 32, 1)) + np.where(labels, 0.5, -0.5)[:, None, None, None]
    return images.clip(-1, 1).astype("float32"), labels


@pytest.fixture(scope="session")
def smoke(tmp_path_factory, worker_id):
    """The whole course in the smoke profile on simulated slices, once for all test processes."""
    own = tmp_path_factory.getbasetemp()
    folder = own if worker_id == "master" else own.parent
    out, printed = folder / "smoke {of} all", folder / "smoke.txt"
    with FileLock(folder / "smoke.lock"):
        if not printed.exists():  # a run that failed is not tried again by every test
            done = call("--profile", "smoke", "--out", out)
            printed.write_text(done.stdout + done.stderr)
        assert (out / "report.html").exists(), printed.read_text()
    return out, printed.read_text()


@pytest.fixture(scope="session")
def metrics(smoke):
    return json.loads((smoke[0] / "metrics.json").read_text())


@pytest.fixture(scope="session")
def real():
    """The real set, where it lies beside the project."""
    if not REAL.is_dir():
        pytest.skip("the real slices are not beside the project (their licence forbids shipping)")
    return REAL


@pytest.fixture
def small_networks(monkeypatch):
    """Networks of the same kinds of layers as the course's, that train in milliseconds."""
    import small

    small.use(monkeypatch)


@pytest.fixture
def small_trunk(monkeypatch):
    """A trunk of three layers in ResNet-50's place: everything around it is the real thing."""

    import keras

    def build(weights, include_top, input_shape):
        if weights == "imagenet":
            raise OSError("no network here")
        layers = keras.layers
        inner = [
            layers.Conv2D(8, 3, strides=4, name="conv1_conv"),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
        return keras.Sequential([keras.Input(input_shape), *inner])

    monkeypatch.setattr(keras.applications, "ResNet50", build)


@pytest.fixture
def images():
    """40 images of noise, -1 to 1."""
    return np.random.default_rng(0).uniform(-1, 1, (40, 32, 32, 1)).astype("float32")


@pytest.fixture
def imagenet_weights(monkeypatch, tmp_path):
    """A file made here in place of the download; gives the list of what Keras asked for."""
    import keras
    from keras.src.applications import resnet

    keras.utils.set_random_seed(5)
    source = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
    source.save_weights(path := tmp_path / "resnet50_notop.weights.h5")
    asked = []

    def get_file(name, origin, **more):
        asked.append((name, more.get("file_hash")))
        return str(path)

    monkeypatch.setattr(resnet.file_utils, "get_file", get_file)
    return asked


def write_folder(folder: Path, count: int) -> Path:
    images = folder / "head_ct"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        grey = rng.integers(0, 256, (40, 36), dtype=np.uint8)
        Image.fromarray(grey).save(images / f"{i:03d}.png")
    write_labels(folder, [(i, int(i < count // 2)) for i in range(count)])
    return folder


def write_labels(folder: Path, rows, header=("id", " hemorrhage")) -> None:
    with open(folder / "labels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def snapshot(folder: Path) -> dict:
    """Every file below, with its content and time of change."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def call(*arguments, **more):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, **more,
    )  # fmt: skip


def refused(pattern, *arguments):
    """Exit code 2, one sentence, no traceback."""
    done = call(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.search(pattern, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr
