"""A training that is killed, at any moment, ends with the weights of one that never was."""

import errno
import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest
import small

from helpers import training
from helpers.files import CourseError

# Processes are forked from one that has loaded TensorFlow and computed nothing.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["helpers.training"])


def start(out):
    """Train small networks in a process of its own; a checkpoint after every step.

    So kills fall into steps, into the writing of checkpoints, and between.
    """
    out.mkdir(exist_ok=True)
    process = PROCESSES.Process(target=small.train, args=(out,))
    process.start()
    return process


def end(process):
    process.join()
    return process.exitcode


def steps_done(out):
    return max((int(p.stem[5:]) for p in (out / "checkpoints").glob("step-*.npz")), default=0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no groups of processes to kill")
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_many_moments_it_ends_the_same(kills, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert end(start(whole)) == 0
    rng, reached = random.Random(1), []
    for kill in range(kills):
        process = start(killed)
        goal = min(steps_done(killed) + 1 + rng.randrange(6), 149)
        while steps_done(killed) < goal and process.is_alive():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        assert end(process) == -signal.SIGKILL
        reached.append(steps_done(killed))
        assert not (killed / "end.npz").exists(), f"ended before kill {kill + 1}"
    assert reached == sorted(reached) and reached[-1] > reached[0], "no kill fell into training"
    assert end(start(killed)) == 0
    with np.load(whole / "end.npz") as first, np.load(killed / "end.npz") as second:
        assert first.files == second.files
        assert all(np.array_equal(first[name], second[name]) for name in first.files)
    kept = sorted(p.name for p in (killed / "checkpoints").iterdir())
    assert kept == ["step-000149.npz", "step-000150.npz"], "the two newest, and no half file"


def test_a_full_disk_is_a_sentence_and_costs_nothing(tmp_path, monkeypatch):
    small.use(monkeypatch)
    images = np.random.default_rng(0).uniform(-1, 1, (40, 32, 32, 1)).astype("float32")
    arguments = {"steps": 6, "seed": 3, "checkpoint_every": 2}
    whole = training.train_gan(images, **arguments)
    savez, calls = np.savez, []

    def full(path, *arrays, **named):
        calls.append(path)
        if len(calls) == 2:
            with open(path, "wb") as half:
                half.write(b"PK half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        savez(path, *arrays, **named)

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(CourseError, match=r"step-000004.npz could not be written .*space"):
        training.train_gan(images, checkpoints=tmp_path, **arguments)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000002.npz"]
    again = training.train_gan(images, checkpoints=tmp_path, **arguments)
    for a, b in zip(whole.generator.variables, again.generator.variables, strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))
