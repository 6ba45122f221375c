"""A disk that fills while each kind of file is written; DATA that is read-only; two runs at once.

The system itself cuts the files off: it lets no file of this process grow beyond a limit, and then
answers as a full disk does, with an error in the middle of a write. On a disk that is really full
it is another error number, of the same class.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, snapshot
from folders import plain

from helpers import files
from helpers.files import CourseError

resource = pytest.importorskip("resource")
NOISE = np.random.default_rng(0)


@contextlib.contextmanager
def room_for(size: int):
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def write_json(out: Path) -> None:
    files.record(out, numbers=NOISE.normal(size=5000))


def write_report(out: Path) -> None:
    from course.report import render

    render("page.html", out, title="x" * 50_000)


def write_prepared(out: Path) -> None:
    import pandas as pd

    from helpers.preprocessing import Prepared, save_prepared

    count = 300
    table = {"file": [f"{i}.png" for i in range(count)], "label": 0, "group": 0, "split": "train"}
    images = NOISE.normal(size=(count, 8, 8, 1)).astype("float32")
    save_prepared(out, Prepared(images, pd.DataFrame(table)))


def write_samples(out: Path) -> None:
    from helpers import sampling

    images = NOISE.uniform(-1, 1, (10, 128, 128, 1)).astype("float32")
    sampling.write_samples(out / "samples", images, np.arange(10) % 2, {"model": "none"})


def write_model(out: Path) -> None:
    import small

    from helpers import training

    training.save_generator(small.generator(), out / "models" / "yes.h5")


def write_card(out: Path) -> None:
    from helpers import training

    training.write_model_card(out / "models" / "yes.md", facts="x" * 5000)


def write_warning(out: Path) -> None:
    from helpers import training

    (out / "card.md").exists() or (out / "card.md").write_text("x" * 3000)
    training.warn_in_card(out / "card.md", f"It copies {NOISE.random()}. " * 100)


def write_log(out: Path) -> None:
    from helpers import training

    training.write_log(out / "logs" / "yes.csv", {"loss": NOISE.normal(size=2000)})


def write_figure(out: Path) -> None:
    from helpers import plots

    grey = NOISE.integers(0, 255, (10, 32, 32, 1)).astype(np.uint8)
    plots.save_figure(plots.show_grid({"noise": grey}), out, "noise")


def write_animation(out: Path) -> None:
    from helpers import plots

    plots.save_animation(NOISE.uniform(-1, 1, (5, 16, 32, 32, 1)), out / "previews.gif")


def write_simulated(out: Path) -> None:
    from helpers import phantom

    shutil.rmtree(out / "data", ignore_errors=True)
    phantom.write_dataset(out / "data", n=40, seed=int(NOISE.integers(1000)))


def write_sheet(out: Path) -> None:
    from helpers.folder import examine
    from helpers.folder.report import draw_sheet

    if not (out / "images").exists():
        plain(out / "images", 60)
    draw_sheet(examine(out / "images", 0, {}), out / "sheet.png")


KINDS = (
    write_json, write_report, write_prepared, write_samples, write_model, write_card, write_warning,
    write_log, write_figure, write_animation, write_simulated, write_sheet,
)  # fmt: skip


@pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)
def test_a_file_that_is_cut_off_is_a_sentence_and_leaves_what_was_there(write, tmp_path):
    """Cut off at once, in the middle, and where the last byte is missing."""
    write(tmp_path)
    before = snapshot(tmp_path)
    largest = max(len(content) for content, _ in before.values())
    for size in (0, 1000, largest // 2):
        with room_for(size), pytest.raises(CourseError, match="could not be written") as caught:
            write(tmp_path)
        assert "\n" not in str(caught.value) and "free some space" in str(caught.value)
        left = snapshot(tmp_path)
        if write is write_simulated:  # asked to, it removed them itself
            assert not [name for name in left if name.startswith("data/")]
        else:
            assert left == before, set(left) ^ set(before)
        assert not list(tmp_path.rglob(".*")), "half a file is left"
    write(tmp_path)
    assert snapshot(tmp_path).keys() == before.keys()


def test_the_limit_does_what_a_full_disk_does(tmp_path):
    """A plain write leaves half a file: otherwise the test above would say nothing."""
    with room_for(1000), pytest.raises(OSError):
        (tmp_path / "plain.txt").write_text("x" * 5000)
    assert (tmp_path / "plain.txt").stat().st_size == 1000


# --- DATA that is read-only ----------------------------------------------------------------------


def test_a_folder_that_nobody_may_write_into_is_read(tmp_path):
    """As root, for whom no file is read-only, through a mount that is."""
    data = tmp_path / "data"
    plain(data, 60)
    before = snapshot(data)
    command = f"{sys.executable} -m course check {data} --json --sheet {tmp_path / 'sheet.png'}"
    command = f"touch {data}/x; {command}"
    if os.geteuid() == 0:
        command = f"mount --bind -o ro {data} {data} && {command}"
        command = ["unshare", "--mount", "sh", "-c", command]
        if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
            pytest.skip("root may not mount here")
    else:
        command = ["sh", "-c", command]
        for path in (data, *data.iterdir()):
            path.chmod(path.stat().st_mode & 0o555)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "touch" in done.stderr, done.stderr
    assert json.loads(done.stdout)["images"] == 60 and (tmp_path / "sheet.png").exists()
    assert snapshot(data) == before


# --- Two runs into one OUT -----------------------------------------------------------------------

TWO = """
import sys
from course import run
def notebooks(folder, parameters):
    with open(folder / "ran.txt", "a") as file:
        file.write("x")
    sys.stdin.readline()  # it runs until it is told to end
run._run_notebooks = notebooks
run.write_report = lambda folder: folder / "report.html"
run.files.read_json = lambda path, read=run.files.read_json: (
    {"profile": "smoke", "arms": {}, "audit": {}, "verdict": {"text": "none"}}
    if path.name == "metrics.json" else read(path)
)
run.arms_tables = lambda metrics: ""
print("ready", flush=True)
sys.stdin.readline()
sys.exit(run.main(["--profile", "smoke", "--out", sys.argv[1]]))
"""


def test_of_two_runs_that_begin_at_once_one_is_refused(tmp_path):
    out = tmp_path / "out"
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(out)], cwd=ROOT, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in pair:
        assert process.stdout.readline() == "ready\n"
    for process in pair:
        process.stdin.write("go\n")
        process.stdin.flush()
    deadline = time.monotonic() + 120
    while all(process.poll() is None for process in pair) and time.monotonic() < deadline:
        time.sleep(0.1)
    codes = [process.poll() for process in pair]
    assert sorted(codes, key=str) == [2, None], codes
    second, first = pair if codes[0] == 2 else reversed(pair)
    refusal = second.communicate()[1]
    assert "is in use by another run" in refusal and len(refusal.splitlines()) == 1
    _, said = first.communicate("end\n", timeout=120)
    assert first.returncode == 0, said
    assert (out / "ran.txt").read_text() == "x"
