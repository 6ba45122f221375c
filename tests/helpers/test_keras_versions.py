"""A generator's `.h5` under the lowest supported TensorFlow and Keras (Colab's), and back."""

import hashlib
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import ROOT
from filelock import FileLock

from helpers import networks, sampling, training
from helpers.files import CourseError

# Colab's, and of what it lacks only what `helpers.sampling` needs: its first cell adds the rest.
LOWEST = [
    "tensorflow==2.20.0", "keras==3.13.2", "numpy==2.1.3", "pandas==2.2.3", "pillow==11.3.0",
    "matplotlib==3.10.0", "scipy==1.16.1", "scikit-learn==1.6.1", "filelock", "tqdm", "pyyaml",
    "jinja2", "ipython", "imagehash",
]  # fmt: skip
SCRIPT = """
import sys, hashlib
from pathlib import Path
from helpers import machine, networks, sampling
import keras
assert keras.__version__ == "3.13.2", keras.__version__
generator = sampling.load_generator(Path(sys.argv[1]))
print(hashlib.sha256(b"".join(w.tobytes() for w in generator.get_weights())).hexdigest())
keras.utils.set_random_seed(5)
other = networks.build_generator()
other.save(sys.argv[2])
print(hashlib.sha256(b"".join(w.tobytes() for w in other.get_weights())).hexdigest())
"""


def weights_hash(model):
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


def make_venv(folder):
    """With Colab's Python 3.13 where it is installed, else with the one that runs the tests."""
    for name in ("python3.13", sys.executable):
        make = [shutil.which(name) or "", "-m", "venv", "--clear", str(folder)]
        environment = os.environ | {"PYENV_VERSION": "3.13"}  # pyenv's python3.13 is mute without
        if make[0] and not subprocess.run(make, env=environment, check=False).returncode:
            return
    raise OSError("no Python makes a virtual environment here")


@pytest.fixture(scope="session")
def lowest():
    """A Python with the lowest supported versions, made once and kept beside `.venv`."""
    folder = ROOT / ".venv-lowest"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "installed"
    with FileLock(f"{folder}.lock"):  # tests in several processes may ask for it at once
        if not stamp.exists() or stamp.read_text() != " ".join(LOWEST):
            make_venv(folder)
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *LOWEST],
                check=True, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            stamp.write_text(" ".join(LOWEST))
    return python


def test_h5_opens_bit_for_bit_under_the_lowest_versions_and_back(lowest, tmp_path):
    keras.utils.set_random_seed(1)
    generator = networks.build_generator()
    training.save_generator(generator, tmp_path / "here.h5")
    done = subprocess.run(
        [lowest, "-c", SCRIPT, str(tmp_path / "here.h5"), str(tmp_path / "there.h5")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    here, there = done.stdout.split()
    assert here == weights_hash(generator)
    assert there == weights_hash(sampling.load_generator(tmp_path / "there.h5"))


@pytest.mark.parametrize("name", ["haemorrhage", "clear"])
def test_the_courses_own_generators_open_under_the_lowest_versions(lowest, tmp_path, name):
    path = sampling.PRETRAINED / f"{name}.h5"
    done = subprocess.run(
        [lowest, "-c", SCRIPT, path, str(tmp_path / "other.h5")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[0] == weights_hash(sampling.load_generator(path))


def test_a_hostile_or_foreign_file_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "it-ran"

    def hostile(x, path=str(marker)):
        open(path, "w").close()
        return x

    model = keras.Sequential(
        [keras.Input((100,)), keras.layers.Lambda(hostile), keras.layers.Dense(3)]
    )
    model.save(tmp_path / "hostile.h5")
    marker.unlink()  # building it ran it
    networks.build_discriminator().save(tmp_path / "discriminator.h5")
    np.savez(tmp_path / "zip.npz", np.zeros(3))
    (tmp_path / "zip.npz").rename(tmp_path / "zip.h5")
    for name in ("hostile", "discriminator", "zip"):
        with pytest.raises(CourseError, match="does not hold this course's"):
            sampling.load_generator(tmp_path / f"{name}.h5")
    assert not marker.exists()
