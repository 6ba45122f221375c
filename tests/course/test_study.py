"""Studies: what a replicate is, and that nothing is lost or done twice, with real processes."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import ROOT, snapshot

from course import study, workers
from helpers import intervals, machine, plots
from helpers.files import CourseError, read_json, write_json

SETTINGS = {"profile": "smoke", "data": "", "splits": 3, "seeds": 2, "threads": 1,
            "first_seed": 7, "changes": {}}  # fmt: skip


def row(split, seed, rng, simulated=False):
    arms = {name: {"accuracy": rng.uniform(0.5, 1), "fresh_accuracy": rng.uniform(0.5, 1)}
            for name in study.ARMS}  # fmt: skip
    curve = {"0.5": {"images": 72, "accuracy": 0.6, "fresh_accuracy": 0.7},
             "1.0": {"images": 144, **arms["classic"]}}  # fmt: skip
    return {"split": split, "seed": seed, "test_images": 22, "images": 200, "arms": arms,
            "learning_curve": curve, "simulated": simulated}  # fmt: skip


# --- Plan and summary ----------------------------------------------------------------------------


def test_no_two_runs_share_a_seed_and_growing_changes_none(tmp_path):
    tasks = study.plan(SETTINGS, tmp_path)
    changes = [task["call"]["changes"] for task in tasks]
    # Notebook 03 trains the GAN of label 1 from the seed after that of label 0.
    assert len({change["seed"] + label for change in changes for label in (0, 1)}) == 12
    assert sorted({change["split_seed"] for change in changes}) == [7, 8, 9]
    splits = {(task["split"], task["call"]["changes"]["split_seed"]) for task in tasks}
    assert len(splits) == 3, "the runs of one split share it"
    assert len({task["call"]["out"] for task in tasks}) == 6
    more = study.plan(SETTINGS | {"splits": 5, "seeds": 4}, tmp_path)
    assert all(task in more for task in tasks)


@pytest.mark.parametrize("simulated", [False, True])
def test_a_replicate_is_a_split_and_seeds_are_averaged_first(simulated):
    rng = np.random.default_rng(0)
    rows = [row(split, seed, rng, simulated) for split in range(6) for seed in range(3)]
    found = study.summarise(rows)
    key = "fresh_accuracy" if simulated else "accuracy"
    table = np.array([r["arms"]["classic_gan"][key] - r["arms"]["classic"][key] for r in rows])
    by_hand = intervals.resampled_t(table.reshape(6, 3).mean(axis=1), 0 if simulated else 22 / 178)
    contrast = found["verdict"]["contrasts"]["classic_gan - classic"]
    assert contrast["replicates"] == 6
    assert contrast["ci"] == pytest.approx(by_hand["ci"])
    curve = found["learning_curve"]
    assert curve["0.5"]["accuracy"] == pytest.approx(0.7 if simulated else 0.6)
    assert {key: curve["1.0"][key] for key in ("accuracy", "ci")} == found["arms"]["classic"]
    # A seed's copies add nothing: the same runs five times over are no more replicates.
    assert study.summarise(rows * 5)["verdict"]["contrasts"]["classic_gan - classic"]["ci"] == (
        pytest.approx(by_hand["ci"])
    )


@pytest.mark.parametrize("of_class", [[11, 11], [20, 2]])
def test_balanced_accuracy_decides_where_classes_are_not_1_to_1(of_class, tmp_path):
    """All cases called the larger class are accurate at 9:1, and no gain."""
    rng = np.random.default_rng(1)
    rows = [row(split, seed, rng) | {"test_of_class": of_class} for split in range(6)
            for seed in range(2)]  # fmt: skip
    for each in rows:
        for scores in (*each["arms"].values(), *each["learning_curve"].values()):
            scores |= {"balanced_accuracy": rng.uniform(0.5, 0.6), "auc": rng.uniform(0.6, 0.8)}
    found = study.summarise(rows)
    key = "balanced_accuracy" if of_class[0] != of_class[1] else "accuracy"
    assert found["measure"] == key
    table = np.array([r["arms"]["classic_gan"][key] - r["arms"]["classic"][key] for r in rows])
    wider = 1.5114 if key == "balanced_accuracy" else 1  # 1 + 1.25 (1/2 - 1/11)
    by_hand = intervals.resampled_t(table.reshape(6, 2).mean(axis=1), wider * 22 / 178)
    contrast = found["verdict"]["contrasts"]["classic_gan - classic"]
    assert contrast["ci"] == pytest.approx(by_hand["ci"], abs=1e-4)
    words = key.replace("_", " ")
    assert f"moved the {words} by" in found["verdict"]["text"]
    auc = np.mean([r["arms"]["classic"]["auc"] for r in rows])
    assert found["arms"]["classic"].get("auc") == (pytest.approx(auc) if wider > 1 else None)
    said = study.table({"summary": found, "note": ""})
    assert f" {words}  95 % interval" in said and ("AUC" in said) == (wider > 1)
    made_up_run(tmp_path / "split-0" / "seed-0", 0.25, False, 3, "of run 0")
    audits = read_json(ROOT / "experiments" / "results" / "study_real.json")["rows"][0]
    names = ("audit", "seconds", "trunk", "versions")
    more = {name: audits[name] for name in names}
    kept = {"summary": found, "rows": [more | each for each in rows], "note": "", "looks": [],
            "settings": SETTINGS, "versions": {}, "command": ""}  # fmt: skip
    study.write_report(kept, tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert f"points of {words} is not worth" in html
    assert (f"<th>{words}</th><th>95 % interval</th><th>AUC</th>" in html) == (wider > 1)


@pytest.mark.parametrize(("splits", "ratio"), [(5, 0.0), (10, 22 / 178)])
def test_what_a_study_can_find_is_said_before_it_begins(splits, ratio):
    points = int(study.announce(splits, ratio).split(" true gain of ")[1].split()[0])
    low, high = (
        intervals.power((points + edge) / 100, study.ASSUMED_SPREAD, splits, ratio)
        for edge in (-0.5, 0.5)
    )
    assert low <= 0.8 <= high
    assert "never give a yes or no" in study.announce(4, ratio)


# --- The report ----------------------------------------------------------------------------------


def made_up_run(folder, kid, flagged, look_alikes, picture):
    """A run as far as a study reads it; without `kid`, one whose audit had too few images."""
    rng = np.random.default_rng(look_alikes)
    measured = {} if kid is None else {
        "kid": kid, "kid_floor": 0.125, "realism": {"accuracy": 0.75, "realism": [0.5] * 100},
        "copying": {"flagged": flagged, "score": 0.1},
        **{f"{name}{end}": 0.5 for name in ("precision", "recall", "density", "coverage")
           for end in ("", "_expected")},
    }  # fmt: skip
    pairs = [[f"{k}.png", f"{k + 50}.png"] for k in range(look_alikes)]
    part = {"images": 22, "groups": 21, "ill": 11, "well": 11}
    metrics = row(0, 0, rng) | {
        "classes": ["well", "ill"],
        "trunk": "scratch",
        "classifier": {"name": "resnet50"},
        "versions": {"keras": "3"},
        "cost": {"seconds": {"01": 30.0, "02": 90.0}},
        "split": {"train": part, "validation": part, "test": part},
        "audit": {name: {"samples": 4, "refused": []} | measured for name in ("ill", "well")},
        "data": {"images": 200, "groups": 190, "simulated": True, "duplicates": pairs,
                 "identical": pairs[:1], "modes": {"RGB": 186, "RGBA": 14}, "tinted": 11,
                 "not_square": 9, "constant": 8, "unlisted": 7},
    }  # fmt: skip
    (folder / "figures").mkdir(parents=True)
    (folder / "report.html").write_text("")
    write_json(folder / "metrics.json", metrics)
    for name in ("samples", "data", "duplicates"):
        (folder / "figures" / f"{name}.png").write_bytes(f"{name} {picture}".encode())


def check_tables(html, kept):
    """Verdict, arms, differences and runs, each cell in its place, from what `study.json` holds."""
    answer, _, reasons = kept["summary"]["verdict"]["text"].partition(". ")
    said = f"{answer}.</strong><br>{reasons}" if reasons else f"{answer}</strong>"
    assert f"<strong>{said}</p>" in html
    tables = [
        [re.findall("<t[dh]>(.*?)</t[dh]>", line, re.DOTALL) for line in table.split("<tr>")[1:]]
        for table in html.split("<table>")[1:]
    ]
    arms, contrasts, runs = tables[0][1:], tables[1][1:], tables[-1][1:]
    titles = plots.ARM_TITLES
    for [title, accuracy, ends], (name, found) in zip(
        arms, kept["summary"]["arms"].items(), strict=True
    ):
        assert (title, accuracy) == (titles[name], f"{100 * found['accuracy']:.1f} %")
        assert re.findall(r"\d+", ends) == [f"{100 * end:.0f}" for end in found["ci"]]
    found = kept["summary"]["verdict"]["contrasts"]
    for cells, (name, c) in zip(contrasts, found.items(), strict=True):
        low, high = (f"{100 * end:+.1f}" for end in c["ci"])
        told = [f"{c[p]:.3f}" if p in c else "" for p in ("p_value", "p_holm")]
        told = ["&lt; 0.001" if p == "0.000" else p for p in told]
        assert cells[1:] == [f"{100 * c['mean']:+.1f}", f"{low} to {high}", *told]
        assert cells[0] == " − ".join(titles[arm] for arm in name.split(" - "))
    key = kept["summary"]["measure"]
    for (_, *cells), row in zip(runs, kept["rows"], strict=True):
        shown = [f"{100 * arm[key]:.1f} %" for arm in row["arms"].values()]
        assert cells[: len(shown)] == shown


def test_the_report_shows_the_study_that_is_kept(tmp_path):
    """Written from `experiments/results/study_simulated.json`, some of whose p are under 0.001."""
    kept = read_json(ROOT / "experiments" / "results" / "study_simulated.json")
    made_up_run(tmp_path / "split-0" / "seed-0", 0.25, False, 3, "of run 0")
    study.write_report(kept, tmp_path)
    html = (tmp_path / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    check_tables(html, kept)
    assert html.count("<td>&lt; 0.001</td>") == 5


def test_the_report_shows_samples_audit_and_data_of_its_runs(tmp_path):
    tasks = study.plan(SETTINGS | {"splits": 2}, tmp_path)
    audits = [(0.25, True), (0.75, False), (None, None), (0.5, True)]
    for number, (task, (kid, flagged)) in enumerate(zip(tasks, audits, strict=True)):
        made_up_run(Path(task["call"]["out"]), kid, flagged, 3 + number, f"of run {number}")
    kept = study.collect(tasks, SETTINGS | {"splits": 2}, tmp_path)
    html = (tmp_path / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert re.findall("<h2>(.*)</h2>", html) == [
        "Arms", "Differences", "Learning curve", "Generated slices",
        "The audit: are they good, varied, and no copies?", "The data", "Runs", "Limits",
        "Settings", "How to cite",
    ]  # fmt: skip
    cells = {name: re.findall(f"<td>{name}</td><td>(.*?)</td><td>(.*?)</td></tr>", html) for name in
             ("runs with enough images to measure", "KID", "KID, lowest and highest run",
              "copies suspected", "told apart from real slices", "the label agrees")}  # fmt: skip
    assert [found for [(found, same)] in cells.values() if found == same] == [
        "3", "0.50 (under 0.12)", "0.25 to 0.75", "in 2 of 3 runs", "75.0 % (50 %)", "unknown",
    ]  # fmt: skip
    check_tables(html, kept)
    assert "200 images in 190 groups" in html and "3 look-alike pairs, 1 of them the same" in html
    assert "11 tinted; 9 not square; 8 almost constant; 7 not in the listing" in html
    for name in ("samples", "data", "duplicates"):
        shown = [base64.b64encode(f"{name} of run {k}".encode()).decode() in html for k in range(4)]
        assert shown == [True, False, False, False], "the first run's, once"
    assert html.count("too few") == 2, "of the third run, either class"
    links = re.findall(r'(?:src|href)="(?!data:)([^"]*)"', html)
    assert links == [f"split-{k}/seed-{n}/report.html" for k in (0, 1) for n in (0, 1)]
    assert kept["rows"][0]["audit"]["ill"]["copies_suspected"] is True
    # On another machine, where its folder is not: the row is kept, and nothing links to the folder.
    shutil.rmtree(tmp_path / "split-0" / "seed-0")
    again = study.collect(tasks, SETTINGS | {"splits": 2}, tmp_path)
    assert again["rows"] == kept["rows"] and again["summary"] == kept["summary"]
    html = (tmp_path / "report.html").read_text()
    assert "split 0, seed 0" in html and "split-0/seed-0" not in html
    assert base64.b64encode(b"samples of run 1").decode() in html
    assert "realism" not in json.dumps(kept["rows"]), "its lists stay with the run"


# --- Processes -----------------------------------------------------------------------------------

# Work in a file of its own, since workers import it: it notes that it began, takes its time, and
# leaves what shows that it is done. As the course does, it skips what is done: a worker may die
# before the scheduler has heard of it.
WORK = """
import os, time
from pathlib import Path

def work(task):
    out = Path(task["out"])
    if out.exists():
        return ""
    with open(out.with_suffix(".begun"), "a") as begun:
        begun.write(f"{os.getpid()}\\n")
    if task.get("wrong"):
        return task["wrong"]
    time.sleep(task.get("seconds", 1.0))
    out.write_text("done")
    return ""
"""
COMMAND = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {here!r}]
import work
from course import workers

if __name__ == "__main__":
    tasks = [{{"split": k, "seed": 0, "out": {here!r} + f"/run-{{k}}.done", "seconds": 1.5}}
             for k in range(6)]
    todo = [task for task in tasks if not Path(task["out"]).exists()]
    workers.run_with_dask(work.work, todo, len(tasks), 2, {scheduler!r})
"""


@pytest.fixture
def start(tmp_path):
    """Starts a study of six short runs as a process of its own; gives that process."""
    (tmp_path / "work.py").write_text(WORK)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    running = []

    def begin(*command, scheduler=""):
        if not command:
            code = COMMAND.format(root=str(ROOT), here=str(tmp_path), scheduler=scheduler)
            (tmp_path / "command.py").write_text(code)
            command = (sys.executable, str(tmp_path / "command.py"))
        log = open(tmp_path / f"log-{len(running)}.txt", "w")  # noqa: SIM115  the process writes it
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True,
            env=os.environ | {"PYTHONPATH": path},
            # A shell that runs the tests in the background has them ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def begun(folder):
    """Process numbers that each run was begun by."""
    files = sorted(folder.glob("*.begun"))
    return {path.stem: [int(line) for line in path.read_text().split()] for path in files}


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


def all_done(folder):
    return len(list(folder.glob("*.done"))) == 6


def test_a_killed_workers_run_is_run_again_and_no_other(start, tmp_path):
    process = start()
    wait_for(lambda: begun(tmp_path))
    [victim, *_] = begun(tmp_path).values()
    os.kill(victim[0], signal.SIGKILL)
    assert process.wait(60) == 0 and all_done(tmp_path)
    times = [len(pids) for pids in begun(tmp_path).values()]
    assert sorted(times) == [1, 1, 1, 1, 1, 2]


def test_ctrl_c_and_the_same_command_again(start, tmp_path):
    process = start()
    wait_for(lambda: list(tmp_path.glob("*.done")))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.done")}
    assert 0 < len(kept) < 6
    assert start().wait(60) == 0 and all_done(tmp_path)
    for name, written in kept.items():
        assert (tmp_path / name).stat().st_mtime_ns == written, "run twice"


def test_a_lost_scheduler_on_a_cluster_started_by_hand(start, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    dask = str(Path(sys.executable).parent / "dask")
    one = start(dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    start(dask, "worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard")
    process = start(scheduler=address)
    wait_for(lambda: list(tmp_path.glob("*.done")))
    os.killpg(one.pid, signal.SIGKILL)
    assert process.wait(90) != 0
    assert "the scheduler is lost" in (tmp_path / "log-2.txt").read_text()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.done")}
    start(dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    start(dask, "worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard")
    assert start(scheduler=address).wait(90) == 0 and all_done(tmp_path)
    for name, written in kept.items():
        assert (tmp_path / name).stat().st_mtime_ns == written, "run twice"


def test_what_trying_again_cannot_mend_is_said(start, tmp_path, monkeypatch, capsys):
    (tmp_path / "work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    import work

    todo = [{"split": 0, "seed": 1, "out": str(tmp_path / "x"), "wrong": "labels.csv is empty"}]
    with pytest.raises(CourseError, match=r"split 0, seed 1: labels\.csv is empty"):
        workers.run_with_dask(work.work, todo, 1, 1)
    assert len(begun(tmp_path)["x"]) == 1, "tried again in vain"
    assert "labels.csv is empty (1 of 1" in capsys.readouterr().out, "only said at the end"


def test_no_scheduler_at_the_address():
    with pytest.raises(CourseError, match="no scheduler answers"):
        workers.run_with_dask(print, [{}], 1, 1, "tcp://127.0.0.1:9")


@pytest.fixture
def chosen(monkeypatch):
    """What a study finds out before it begins, without the time that it takes."""
    monkeypatch.setattr(machine, "choose_precision", lambda *_, **__: "float32")
    monkeypatch.setattr(machine, "run_python", lambda _: "scratch\n")


def test_another_study_in_the_folder_is_refused(chosen, tmp_path, capsys):
    out = tmp_path / "study"
    out.mkdir()
    (out / "study.json").write_text(json.dumps({"settings": SETTINGS}))
    assert study.main(["--profile", "smoke", "--splits", "1", "--out", str(out)]) == 2
    assert "other settings" in capsys.readouterr().err
    assert study.main(["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x")]) == 2
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "report.html").write_text("somebody's")
    before = snapshot(tmp_path)
    assert study.main(["--profile", "smoke", "--out", str(tmp_path)]) == 2
    assert "holds no study" in capsys.readouterr().err and snapshot(tmp_path) == before


def test_a_smaller_plan_loses_no_row_and_each_look_is_told(tmp_path):
    """Three splits, then two, then three again, with no folder left but for the rows."""
    tasks = {splits: study.plan(SETTINGS | {"splits": splits}, tmp_path) for splits in (2, 3)}
    rng = np.random.default_rng(0)
    rows = [row(task["split"], task["seed"], rng) for task in tasks[3]]
    write_json(tmp_path / "study.json", {"rows": rows[:-1]})
    kept = study.collect(tasks[3], SETTINGS | {"splits": 3}, tmp_path)
    assert f"Interim: {len(rows) - 1} of {len(rows)} planned runs" in study.table(kept)
    write_json(tmp_path / "study.json", {"rows": rows})
    assert study.collect(tasks[3], SETTINGS | {"splits": 3}, tmp_path)["note"] == ""
    fewer = study.collect(tasks[2], SETTINGS | {"splits": 2}, tmp_path)
    assert fewer["summary"]["replicates"] == 2 and fewer["rows"] == rows[: len(tasks[2])]
    assert "Judged at 3 × 2, then 2 × 2 runs" in study.table(fewer)
    again = study.collect(tasks[3], SETTINGS | {"splits": 3}, tmp_path)
    assert again["rows"] == rows and again["summary"]["replicates"] == 3


def test_what_the_gans_do_not_see_may_be_mended_before_the_first_row(
    chosen, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(study, "run_with_dask", lambda *_: None)
    mine, out = tmp_path / "mine.yaml", tmp_path / "out"
    ask = ["--splits", "1", "--seeds", "1", "--params", str(mine), "--out", str(out)]
    for text, code in (("dose: 9", 0), ("dose: 1", 0), ("gan_steps: 9", 2)):
        mine.write_text(text)
        assert study.main(ask) == code
    assert "other settings or data" in capsys.readouterr().err
    rows = [row(0, 0, np.random.default_rng(0))]
    content = read_json(out / "study.json")
    write_json(out / "study.json", content | {"rows": rows})
    mine.write_text("dose: 2")
    assert study.main(ask) == 2


def test_a_run_with_other_settings_is_no_run_of_this_study(tmp_path):
    """Left by a study that was killed before it wrote any row, and whose settings then changed."""
    task = study.plan(SETTINGS, tmp_path)[0]
    folder = Path(task["call"]["out"])
    made_up_run(folder, None, None, 0, "")
    for dose, found in ((1, True), (9, False)):
        parameters = task["call"]["changes"] | {"data_dir": "", "dose": dose}
        write_json(folder / "run.json", {"settings": {"parameters": parameters}})
        task["call"]["changes"]["dose"] = 1
        assert bool(study.read_row(task)) == found


def test_what_cannot_be_is_refused_before_anything_is_written(folder, tmp_path, capsys):
    before = snapshot(folder)
    ask = ["--profile", "smoke", "--data", str(folder), "--out"]
    assert study.main([*ask, str(folder / "study")]) == 2
    assert "lies inside DATA" in capsys.readouterr().err and snapshot(folder) == before
    assert study.main([*ask, str(tmp_path / "out"), "--splits", "0"]) == 2
    assert "splits is 0: use a whole number" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_data_under_the_same_path_is_another_study(
    chosen, folder, tmp_path, monkeypatch, capsys
):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run_with_dask", stopped)
    ask = ["--splits", "2", "--seeds", "1", "--data", str(folder), "--out", str(tmp_path / "out")]
    assert study.main(ask) == study.main(ask) == 130
    (folder / "groups.csv").write_text("file,group\nhead_ct/000.png,1\nhead_ct/001.png,1\n")
    assert study.main(ask) == 2
    assert "other settings or data" in capsys.readouterr().err


def test_a_run_that_fails_without_a_word_is_no_run_that_is_done(tmp_path, monkeypatch):
    """And where it ran, Dask was told to leave the processor to it."""
    fails = "import dask\ndef work(task):\n    raise MemoryError(dask.config.get({!r}))\n"
    (tmp_path / "silent.py").write_text(fails.format("distributed.worker.profile.enabled"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    import silent

    with pytest.raises(CourseError, match=r"split 0, seed 1: MemoryError\(False\)"):
        workers.run_with_dask(
            silent.work, [{"split": 0, "seed": 1}], 1, 0
        )  # no worker is one worker


def test_settings_are_kept_when_a_study_is_stopped(tmp_path, monkeypatch, capsys):
    """The same command goes on, in the number format that was chosen first; another is refused."""
    answers = iter(["mixed_bfloat16", "float32"])
    monkeypatch.setattr(
        machine, "choose_precision", lambda asked: next(answers) if asked == "auto" else asked
    )

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run_with_dask", stopped)
    ask = ["--splits", "2", "--seeds", "1", "--out", str(tmp_path)]
    for _ in range(2):
        assert study.main(ask) == 130
        kept = read_json(tmp_path / "study.json")
        assert kept["settings"]["changes"]["precision"] == "mixed_bfloat16" and kept["rows"] == []
    assert study.main([*ask, "--profile", "smoke"]) == 2
    assert "other settings" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_study_outlives_a_killed_worker(start, tmp_path):
    """Two runs of the whole course; the worker of one dies while its notebook computes."""
    values = tmp_path / "few.yaml"
    values.write_text("gan_steps: 2\nclassifier_steps: 1\nsamples_per_class: 10\nfresh_count: 32\n")
    out = tmp_path / "study"
    command = (sys.executable, "-m", "course", "study", "--splits", "2", "--seeds", "1",
               "--profile", "smoke", "--params", str(values), "--out", str(out))  # fmt: skip
    process = start(*command)
    wait_for(lambda: list(out.glob("split-*/seed-0/models/*.h5")), 900)
    kernels = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "ipykernel_launcher" in " ".join(child.cmdline())
    ]
    kernels[0].parent().kill()
    assert process.wait(1500) == 0, (tmp_path / "log-0.txt").read_text()
    kept = read_json(out / "study.json")
    assert [(row["split"], row["seed"]) for row in kept["rows"]] == [(0, 0), (1, 0)]
    assert set(kept["rows"][0]["arms"]) == set(study.ARMS)
    assert kept["summary"]["verdict"]["answer"] == "not enough data"
    fingerprints = [
        read_json(out / f"split-{k}" / "seed-0" / "metrics.json")["data"]["fingerprint"]
        for k in (0, 1)
    ]
    assert fingerprints[0] != fingerprints[1], "two replicates of one set"
    before = {path: path.stat().st_mtime_ns for path in out.glob("split-*/seed-0/metrics.json")}
    assert start(*command).wait(60) == 0
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    assert 'href="split-1/seed-0/report.html"' in (out / "report.html").read_text()
