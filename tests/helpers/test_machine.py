"""Whole files, locks, progress."""

import contextlib
import errno
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from course.commands import command
from helpers import files, machine, parameters
from helpers.files import CourseError


def test_a_full_disk_leaves_no_half_file(tmp_path):
    path = tmp_path / "metrics.json"
    files.write_json(path, {"old": 1})
    with pytest.raises(CourseError, match="No space left") as caught, files.atomic_write(path) as t:
        t.write_text("half of")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "\n" not in str(caught.value)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_an_error_inside_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.atomic_write(path) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(monkeypatch, tmp_path):
    path, rename = tmp_path / "samples", pathlib.Path.rename
    path.mkdir()
    (path / "old.png").touch()

    def failing(self, target):
        if self.name == "made":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", failing)
    with pytest.raises(CourseError, match="is unchanged"), files.atomic_folder(path) as made:
        (made / "new.png").touch()
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == [
        "samples", "samples/old.png",
    ]  # fmt: skip
    monkeypatch.undo()
    with files.atomic_folder(path) as made:
        (made / "new.png").touch()
    assert [p.name for p in tmp_path.rglob("*.png")] == ["new.png"]


def test_a_path_that_can_be_no_folder_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("mine")
    for use in (
        lambda: files.make_folder(tmp_path / "file"),
        lambda: files.open_run(tmp_path / "file" / "run"),
        lambda: files.write_json(tmp_path / "file" / "a.json", {}),
    ):
        with pytest.raises(CourseError, match="choose another OUT"):
            use()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_notebook_run_by_hand_waits_for_no_run_and_undoes_what_was_finished(tmp_path):
    """Or the command would take for its own what the notebook has written since."""
    finished = tmp_path / "notebooks" / "finished.json"
    files.write_json(finished, {"01_preprocessing": "hash"})
    held = files.lock(tmp_path / ".lock")
    with pytest.raises(CourseError, match="in use by another run"):
        files.open_run(tmp_path)
    assert finished.exists()
    held.release()
    files.open_run(tmp_path)
    assert not finished.exists()


def test_rows_of_other_settings_are_not_added_to(tmp_path):
    path, settings = tmp_path / "rows.json", {"sizes": (36, 144), "C": 0.3}
    assert files.read_results(path, settings) == {}
    files.write_json(path, {"settings": settings, "rows": [1]})
    assert files.read_results(path, settings)["rows"] == [1]
    for other in ({"C": 1.0}, {"sizes": (36,)}, {"gan": "brief"}):
        with pytest.raises(CourseError, match=f"rows with other settings .{next(iter(other))}: "):
            files.read_results(path, settings | other)
    with pytest.raises(CourseError, match="now None"):
        files.read_results(path, {"sizes": (36, 144)})
    assert files.read_results(path, settings | {"gan": "brief"}, later=("gan",))["rows"] == [1]


def test_record_keeps_other_parts(tmp_path):
    files.record(tmp_path, seed=1, arms={"a": np.float64(0.5)})
    files.record(tmp_path, arms={"b": np.array([1, 2])})
    assert files.read_json(tmp_path / "metrics.json") == {"seed": 1, "arms": {"b": [1, 2]}}
    with pytest.raises(ValueError):
        files.record(tmp_path, bad=float("nan"))


def in_a_new_process(script: str, **variables: str) -> subprocess.CompletedProcess:
    """Run Python without what `conftest` has set for TensorFlow."""
    clean = {k: v for k, v in os.environ.items() if k not in machine.ENVIRONMENT}
    return subprocess.run(
        [sys.executable, "-c", script], env=clean | variables, cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_no_two_uses_of_a_seed_get_the_same_one():
    """Not for neighbouring seeds either, whose offsets would have met; a name keeps its seed."""
    uses = [("latent", 0), ("latent", 1), ("gan", 0), ("fresh",), ("fresh", 0), ("set", 11)]
    uses += [("set", 1, 1), ("set 1", 1)]
    derived = [machine.derive_seed(seed, *use) for seed in range(100) for use in uses]
    assert len(set(derived)) == len(derived)
    assert derived == [machine.derive_seed(seed, *use) for seed in range(100) for use in uses]
    assert 0 <= min(derived) < 10**8 and 9 * 10**8 < max(derived) < parameters.HIGHEST
    noise = [np.random.default_rng(seed).standard_normal(50) for seed in derived[:100]]
    others = np.corrcoef(noise)[np.triu_indices(100, 1)]
    assert abs(others).max() < 0.7 and abs(others.std() - 50**-0.5) < 0.01
    with pytest.raises(ValueError):
        machine.derive_seed(-1, "latent")


def test_an_import_sets_nothing_and_loads_no_tensorflow():
    script = """
import os, sys
before = dict(os.environ)
import course, course.run, course.study
from helpers import files, folder, intervals, machine, parameters
changed = {name for name in os.environ if before.get(name) != os.environ[name]}
changed -= {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}  # which scikit-learn sets
print(changed | ({"tensorflow", "keras"} & set(sys.modules)))
"""
    assert in_a_new_process(script).stdout == "set()\n"


WATCH = """
import importlib.abc, os, sys
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == "tensorflow":
            print("oneDNN", os.environ.get("TF_ENABLE_ONEDNN_OPTS"), flush=True)
            os.write(2, b"a true error of C++\\n")
            raise RuntimeError("broken")
sys.meta_path.insert(0, Watch())
from helpers import machine
machine.setup()
"""


def test_setup_gives_tensorflow_its_kernels_and_hides_no_true_error():
    """Other kernels draw other bits; and an error while it loads is shown in full."""
    done = in_a_new_process(WATCH)
    assert done.stdout == "oneDNN 1\n", done.stderr
    assert "a true error of C++" in done.stderr and "RuntimeError: broken" in done.stderr
    assert in_a_new_process(WATCH, TF_ENABLE_ONEDNN_OPTS="0").stdout == "oneDNN 0\n"


def test_setup_says_if_it_comes_too_late():
    said = []
    for first in ("", "import tensorflow\n"):
        script = f"{first}from helpers import machine\nprint(machine.setup())"
        said.append(in_a_new_process(script).stdout)
    assert all(line.startswith("Python 3.") for line in said)
    assert "restart" not in said[0]
    assert said[1].strip().endswith("loaded before machine.setup(): restart, and call that first")


def test_what_is_held_back_is_shown_after_an_error_alone(capfd):
    for error, shown in ((None, ""), (CourseError("mine"), ""), (OSError("theirs"), "noise")):
        with contextlib.suppress(CourseError, OSError), machine.hold_stderr() as held:
            os.write(2, b"noise")
            if error:
                raise error
        assert held.closed and capfd.readouterr().err == shown


def test_a_lock_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("helpers.files.filelock.FileLock.acquire", forbidden)
    with pytest.raises(CourseError, match=r"could not be written \(.*denied.*\): .*another OUT"):
        files.open_run(tmp_path)


def test_a_locked_folder_is_refused_and_freed_by_a_kill(tmp_path):
    code = (
        "import pathlib, sys, time; from helpers import files;"
        f"held = files.lock(pathlib.Path({str(tmp_path)!r}) / '.lock');"
        "print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CourseError, match="in use by another run"):
            files.lock(tmp_path / ".lock")
    finally:
        other.kill()
        other.wait()
    files.lock(tmp_path / ".lock", wait=5).release()


def test_lists_of_numbers_stand_on_one_line_and_texts_stay_as_they_are(tmp_path):
    content = {"a": [1, 2.5, None, True], "b": ["x [1,\n 2]", 3], "c": [[1], []], "t": "[\t1,  2 ]"}
    files.write_json(tmp_path / "a.json", content)
    assert files.read_json(tmp_path / "a.json") == content
    assert '"a": [1, 2.5, null, true],' in (tmp_path / "a.json").read_text()


def test_progress_says_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv(machine.PROGRESS_FILE, str(tmp_path / "progress.json"))
    assert list(machine.progress(range(3), "steps", total=5, done=2)) == [0, 1, 2]
    state = files.read_json(tmp_path / "progress.json")
    assert (state["title"], state["done"], state["total"]) == ("steps", 5, 5)
    assert state["seconds_left"] == 0


def test_a_precision_that_is_far_slower_is_timed_once(monkeypatch, capsys):
    """The clock is a list of seconds: each pass moves it on by what its precision takes."""
    fast = pytest.importorskip("helpers.fast")
    now, calls = [0.0], dict.fromkeys(machine.PRECISIONS, 0)
    costs = dict(zip(machine.ON_PROCESSOR, (0.3, 0.2, 6.0, 6.0), strict=True))

    def make_pass(name):
        def step():
            now[0] += costs[name]
            calls[name] += 1

        return step

    monkeypatch.setattr(machine, "on_processor", lambda: True)
    monkeypatch.setattr(fast, "_make_pass", make_pass)
    monkeypatch.setattr("helpers.fast.time.process_time", lambda: now[0])
    for bfloat16, times in ((6.0, 2), (0.3, 17)):  # once to compile it, then in one or two rounds
        costs["mixed_bfloat16"], calls["mixed_bfloat16"] = bfloat16, 0
        fast.print_times()
        printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
        assert float(printed["float32"]) == pytest.approx(0.3)
        assert float(printed["mixed_bfloat16"]) == pytest.approx(bfloat16)
        assert calls["mixed_bfloat16"] == times


BFLOAT16 = "mixed_bfloat16"


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"float32": 1.0, BFLOAT16: 0.8}, BFLOAT16),
        ({"float32": 1.0, BFLOAT16: 0.95}, "float32"),  # not worth the rounding
        ({"float32": 1.0, BFLOAT16: 2.7}, "float32"),
        ({"float32": 1.0}, "float32"),  # bfloat16 ended the process
        ({}, "float32"),
        ({"float32": 1.0, "float32+winograd": 0.97}, "float32+winograd"),  # the same numbers
        ({"float32": 1.0, "float32+winograd": 0.7, BFLOAT16: 0.65}, "float32+winograd"),
        # Two kinds of processors with bfloat16 instructions: without and with those for matrices.
        ({"float32": 1, "float32+winograd": 0.6, BFLOAT16: 0.7, f"{BFLOAT16}+winograd": 0.5},
         f"{BFLOAT16}+winograd"),
        ({"float32": 1, "float32+winograd": 0.6, BFLOAT16: 0.3, f"{BFLOAT16}+winograd": 0.5},
         BFLOAT16),
        ({"float32": 1, BFLOAT16: 0.8, f"{BFLOAT16}+xla": 0.5}, f"{BFLOAT16}+xla"),
        ({"float32": 1, BFLOAT16: 0.8, "float32+xla": 0.9}, BFLOAT16),
    ],
)  # fmt: skip
def test_the_precision_is_the_one_that_measured_clearly_faster(monkeypatch, seconds, chosen):
    monkeypatch.setattr(machine, "time_precisions", lambda: seconds)
    assert machine.choose_precision("auto") == chosen


@pytest.mark.parametrize(("on_processor", "ways"), [(False, "ON_GPU"), (True, "ON_PROCESSOR")])
def test_xla_is_measured_on_a_gpu_and_winograd_on_a_processor(
    monkeypatch, capsys, on_processor, ways
):
    fast = pytest.importorskip("helpers.fast")
    monkeypatch.setattr(machine, "on_processor", lambda: on_processor)
    monkeypatch.setattr(fast, "_make_pass", lambda name: lambda: None)
    fast.print_times()
    printed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert printed == set(getattr(machine, ways))


def test_a_precision_that_is_asked_for_is_not_measured(monkeypatch):
    monkeypatch.setattr(machine, "time_precisions", lambda: 1 / 0)
    for name in machine.PRECISIONS:
        assert machine.choose_precision(name) == name
    with pytest.raises(CourseError, match="precision 'float16' is unknown: use auto, float32 or"):
        machine.choose_precision("float16")


def test_relative_paths_count_from_the_project(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert files.project_path("runs/quick") == files.PROJECT / "runs" / "quick"
    assert files.project_path(tmp_path / "x") == (tmp_path / "x").resolve()
    with pytest.raises(CourseError, match="~nobody-of-that-name/x: this machine has no such user"):
        files.project_path("~nobody-of-that-name/x")


def test_a_notebook_run_by_hand_writes_into_no_foreign_folder(tmp_path):
    (tmp_path / "out.ipynb").write_text("{}")  # as papermill's is
    assert files.open_run(tmp_path) == tmp_path
    (tmp_path / "metrics.json").write_text("{}")
    assert files.open_run(tmp_path) == tmp_path  # its own, by now
    files.write_json(tmp_path / "copy" / "run.json", {"settings": {}, "parameters": {"seed": 1}})
    with pytest.raises(CourseError, match="copy is not empty"):
        files.open_run(tmp_path / "copy")
    files.write_json(tmp_path / "copy" / "run.json", {"settings": {"data": "simulated"}})
    assert files.open_run(tmp_path / "copy")  # of a run, without its hidden files
    (theirs := tmp_path / "theirs").mkdir()
    (theirs / "split.csv").write_text("")
    with pytest.raises(CourseError, match="theirs is not empty and holds no run: choose another"):
        files.open_run(theirs)
    assert [path.name for path in theirs.iterdir()] == ["split.csv"]


def test_a_command_may_not_read_a_file(capsys, monkeypatch):
    monkeypatch.setattr("course.commands.signal.signal", lambda *_: None)

    @command
    def main(_):
        raise PermissionError(errno.EACCES, "Permission denied", "/data/labels.csv")

    assert main([]) == 2
    assert capsys.readouterr().err == "/data/labels.csv is forbidden: change its permissions.\n"


def test_versions_know_the_build_for_processors(tmp_path, monkeypatch):
    """Binder installs `tensorflow-cpu`: the first cell of every notebook asks for the version."""
    names = ("tensorflow_cpu", "keras", "numpy", "scipy", "scikit_learn", "pillow")
    for number, name in enumerate(names):
        folder = tmp_path / f"{name}-2.{number}.dist-info"
        folder.mkdir()
        content = f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.{number}\n"
        (folder / "METADATA").write_text(content, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert machine.versions()["tensorflow"] == "2.0"
    assert machine.versions()["pillow"] == "2.5"


@pytest.mark.parametrize("metal", [True, False])
def test_apples_gpu_is_left_unused_and_one_line_says_so(metal, tmp_path, monkeypatch):
    """Simulated: tensorflow-metal is installed, or another plugin that brings a GPU."""
    tf = pytest.importorskip("tensorflow")
    name = "tensorflow_metal" if metal else "tensorflow_rocks"
    folder = tmp_path / f"{name}-1.2.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    hidden, gpu = [], tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [gpu])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *given: hidden.append(given))
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda *_: None)
    details = {"device_name": "a card"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)
    said = machine.setup()
    assert "\n" not in said and machine.on_processor() is metal
    if metal:
        assert said.endswith("no GPU: CPU (Apple's GPU is not used: networks train wrongly on it)")
        assert hidden[0] == ([], "GPU")
    else:
        assert said.endswith("GPU: a card") and hidden == []


def test_a_program_that_dies_is_no_program_that_says_nothing():
    assert machine.run_python("print(3)") == "3\n"
    dies = "print(3, flush=True)\nraise SystemExit('no such instruction')"
    with pytest.raises(CourseError, match=r"code 1 \(no such instruction\): see precision"):
        machine.run_python(dies, advice="see precision")
    assert machine.run_python(dies, may_die=True) == "3\n"
