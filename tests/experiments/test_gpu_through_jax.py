"""A GPU by way of JAX: what is computed there is what TensorFlow computes, but for rounding."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from helpers import machine

SAID = "from helpers import machine; print(machine.device() is None, machine.setup())"
ONE_STEP = """
import json
import numpy as np
from helpers import classifiers, training
images = np.random.default_rng(0).uniform(-1, 1, (32, 32, 32, 1)).astype("float32")
gan = training.train_gan(images, steps=1, seed=3, precision="float32+xla", preview_every=1)
print(json.dumps([float(gan.history[name][0]) for name in training.COLUMNS]), end=" | ")
print(json.dumps(float(np.abs(gan.generator.get_weights()[0]).sum())), end=" | ")
classifier = classifiers.build_classifier("resnet50", seed=5)
arm = classifiers.Arm(images, np.arange(32) % 2)
before = classifier.model.get_weights()
classifiers.fit(classifier, arm, steps=2, seed=1)
after = classifier.model.get_weights()
print(sum(not np.array_equal(a, b) for a, b in zip(before, after)) / len(after), end=" | ")
parts = classifier.model(images[:5], training=False).numpy(), classifier.answer(images[:5])
print(float(np.abs(parts[0][:, 1] - parts[1]).max()))
"""


def python(program: str, there: bool) -> str:
    """What the program prints, with or without another device."""
    folder = str(ROOT / "experiments" / "gpu_through_jax")
    more = {machine.DEVICE: "jax_device", "JAX_PLATFORMS": "cpu"} if there else {}
    path = {"PYTHONPATH": os.pathsep.join([folder, str(ROOT)])}
    return subprocess.run(
        [sys.executable, "-c", program], env=os.environ | path | more, capture_output=True,
        text=True, check=True, cwd=ROOT,
    ).stdout  # fmt: skip


def test_a_variable_is_all_that_it_takes():
    pytest.importorskip("jax", reason="comes with `pip install -e '.[bench]'`")
    assert python(SAID, there=False).startswith("True ")
    said = python(SAID, there=True)
    assert said.startswith("False ") and ", by JAX" in said


def test_a_step_is_the_same_and_so_is_an_answer():
    pytest.importorskip("jax", reason="comes with `pip install -e '.[bench]'`")
    plain, there = (python(ONE_STEP, where).split(" | ") for where in (False, True))
    assert json.loads(there[0]) == pytest.approx(json.loads(plain[0]), rel=1e-3)
    assert json.loads(there[1]) == pytest.approx(json.loads(plain[1]), rel=1e-3)
    # All weights and moving averages come back from where they were fitted.
    assert float(there[2]) == float(plain[2]) > 0.99 and float(there[3]) < 1e-4
