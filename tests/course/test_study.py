"""Studies: what a replicate is, and that nothing is lost or done twice, with real processes."""

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
import small
from conftest import ROOT, snapshot

from course import study, workers
from helpers import folds, intervals, machine
from helpers.arms import ARMS, OF_A_SET, QUARTER, WHOLE, gain_titles
from helpers.files import RESULTS, CourseError, read_json, write_json
from helpers.verdict import foresee_sets

VALUES = {"gan_steps": 4, "recipe": "brief", "recipe_changes": {}, "checkpoint_every": 2,
          "fresh_count": 64, "precision": "float32"}  # fmt: skip
SETTINGS = {"profile": "smoke", "data": "", "images": 36, "sets": 3, "seeds": 2, "quarters": 2,
            "threads": 1, "workers": 2, "first_seed": 7, "classes": ["clear", "ill"],
            "values": VALUES}  # fmt: skip
AUDIT = {"samples": 8, "kid": 0.5, "kid_floor": 0.125, "copies": 0.0, "copies_flagged": False,
         "told_apart_share": 0.75,
         **{f"{name}{end}": 0.5 for name in ("precision", "recall", "density", "coverage")
            for end in ("", "_expected")}}  # fmt: skip


def unit(task, **found):
    """A row as `replicate.run_unit` writes it."""
    named = {name: task[name] for name in ("kind", "number", "quarter", "seed")}
    audit = {name: dict(AUDIT) for name in task["classes"]}
    made = {"images": 36, "audit": audit, "seconds": 90.0, "versions": {"keras": "3"}}
    return named | made | found


def set_row(task, rng, **gains):
    """A simulated set's row; `gains` are added to an arm's scores."""
    base = rng.uniform(0.6, 0.8)
    arms = {
        name: {where: {"balanced_accuracy": base + gains.get(name, 0.0) + rng.normal(0, 0.01),
                       "auc": 0.8, "sensitivity": 0.7, "specificity": 0.7, "brier": 0.2}
               for where in ("fresh", "shifted")}
        for name in OF_A_SET
    }  # fmt: skip
    return unit(task, arms=arms)


# --- The plan -------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["", "somewhere"])
def test_no_two_gans_share_a_seed_and_growing_changes_none(data, tmp_path):
    settings = SETTINGS | {"data": data}
    tasks = study.plan(settings, tmp_path)
    assert len(tasks) == (6 if not data else 2 * folds.FOLDS * 3)
    assert len({task["gan_seed"] for task in tasks}) == len(tasks)
    assert len({task["row"] for task in tasks}) == len(tasks)
    assert len({task["folder"] for task in tasks}) == len(tasks)
    of_set = {task["number"]: task["data_seed"] for task in tasks}
    assert {(task["number"], task["data_seed"]) for task in tasks} == set(of_set.items())
    assert len(set(of_set.values())) == len(of_set), "each set is drawn anew"
    more = study.plan(settings | {"sets": 5, "seeds": 4, "quarters": 3}, tmp_path)
    assert all(task in more for task in tasks)


def test_a_quarter_with_too_few_images_does_not_lose_those_before_it():
    labels = np.arange(200) % 2
    large, small = np.zeros((2, 200), dtype=bool)
    large[:40], small[:30] = True, True  # 20 and 15 of each class
    of_folds = [[large] * 4, [large, large, small, large]]
    drawn = [folds.Fold(~large, large, quarters, []) for quarters in of_folds]
    assert study.count_quarters(drawn, labels) == 2
    assert study.count_quarters(drawn[:1], labels) == 4
    assert study.count_quarters([folds.Fold(~large, large, [small], [])], labels) == 0


# --- The summary ----------------------------------------------------------------------------------


def made_up_folds(gan=0.0, oracle=0.2, part_gan=0.0, seeds=1, quarters=1, count=160, seed=0):
    """What a study of eight folds keeps, where each arm is right with a chance of its own."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    hard = rng.random(count)  # an image that one arm gets wrong, others get wrong too

    def answers(chance, draws=1):
        right = hard < chance + rng.normal(0, 0.02, (draws, count))
        return np.where(right, labels, 1 - labels) * 0.8 + 0.1

    base = {
        "seed": 3,
        "labels": labels.tolist(),
        "groups": list(range(count)),
        "probabilities": {
            "classic": answers(0.7).tolist(), "classic_long": answers(0.7).tolist(),
            "mixup": answers(0.7).tolist(), "half": answers(0.65, 4).tolist(),
            "part": answers(0.6, 12).tolist(), "part_long": answers(0.6, 12).tolist(),
            "oracle_part": answers(0.6 + oracle, 12).tolist(),
        },
    }  # fmt: skip
    settings = SETTINGS | {"data": "somewhere", "seeds": seeds, "quarters": quarters}
    rows = []
    whole = {s: answers(0.7 + gan)[0] for s in range(seeds)}
    part = {(s, q): answers(0.6 + part_gan)[0] for s in range(seeds) for q in range(quarters)}
    for task in study.plan(settings, Path("out")):
        tested = np.arange(task["number"], count, folds.FOLDS)
        key = task["seed"] if task["quarter"] is None else (task["seed"], task["quarter"])
        found = (whole if task["quarter"] is None else part)[key]
        rows.append(unit(task, tested=tested.tolist(), probabilities=found[tested].tolist()))
    return base, rows


@pytest.mark.parametrize(
    ("gains", "answer"),
    [
        ({"gan": 0.25, "part_gan": 0.25}, "helps"),
        ({"gan": -0.25}, "harms"),
        ({"oracle": 0.0}, "no_room"),
        ({"oracle": 0.3, "part_gan": -0.1}, "no_gain"),
        ({"oracle": 0.1, "part_gan": 0.08}, "undecided"),
    ],
)
def test_folds_get_the_answer_that_is_planted(gains, answer):
    found = study.summarise_folds(*made_up_folds(**gains))
    assert found["verdict"]["answer"] == answer
    assert found["replicates"] == 8 and set(found["arms"]) == {*WHOLE, *QUARTER}
    words = {"helps": "help:", "harms": "do harm:", "no_room": "No room:", "no_gain": "No gain:",
             "undecided": "Not enough data to tell."}  # fmt: skip
    assert words[answer] in found["verdict"]["text"]


def test_a_gain_is_pooled_over_images_and_seeds_count_as_one():
    base, rows = made_up_folds(gan=0.1, seeds=3)
    found = study.summarise_folds(base, rows)
    labels = np.array(base["labels"])
    by_seed = []
    for seed in range(3):
        right = np.zeros(len(labels))
        for row in rows:
            if row["quarter"] is None and row["seed"] == seed:
                asked = np.array(row["probabilities"]) >= 0.5
                right[row["tested"]] = asked == labels[row["tested"]]
        by_seed.append(right)
    classic = (np.array(base["probabilities"]["classic"][0]) >= 0.5) == labels
    gain = np.mean(by_seed, axis=0) - classic
    expected = np.mean([gain[labels == k].mean() for k in (0, 1)])
    assert found["gains"]["exposure"]["mean"] == pytest.approx(expected)
    assert "random numbers" in found["advice"] and "--seeds 2" not in found["advice"]
    again = study.summarise_folds(base, rows + [row | {"seed": 3} for row in rows
                                                if row["seed"] == 2])  # fmt: skip
    width = [np.diff(x["gains"]["exposure"]["ci"])[0] for x in (found, again)]
    assert width[1] > 0.8 * width[0], "a copied seed made the interval narrow"


def test_the_luck_of_the_gans_is_summed_over_folds():
    """One fold differs by 0.2 between its seeds: a variance of 0.02, halved by two seeds."""
    by_fold = np.array([[0.1, 0.3], [0.2, 0.2]])
    assert "about 100% of" in study._advise(by_fold, 0.1) and "more seeds" in _advice(0.1)
    assert "about 4% of" in study._advise(by_fold, 0.5) and "more images" in _advice(0.5)
    assert "--seeds 2" in study._advise(by_fold[:, :1], 0.1)


def _advice(error):
    return study._advise(np.array([[0.1, 0.3], [0.2, 0.2]]), error).split("rough figure")[1]


def test_without_quarters_there_is_no_no_gain():
    base, rows = made_up_folds(oracle=0.3, part_gan=-0.1)
    rows = [row for row in rows if row["quarter"] is None]
    found = study.summarise_folds(base, rows)
    assert set(found["gains"]) == {"exposure", "compute", "oracle"}
    assert found["verdict"]["answer"] == "undecided" and found["worth"] is None


def test_sets_are_replicates_and_seeds_are_averaged_first(tmp_path):
    rng = np.random.default_rng(0)
    tasks = study.plan(SETTINGS | {"sets": 6}, tmp_path)
    rows = [set_row(task, rng, oracle=0.09, classic_gan=-0.01) for task in tasks]
    found = study.summarise_sets(rows)
    table = np.array([
        r["arms"]["classic_gan"]["fresh"]["balanced_accuracy"]
        - r["arms"]["classic"]["fresh"]["balanced_accuracy"] for r in rows
    ]).reshape(2, 6)  # fmt: skip
    by_hand = intervals.resampled_t(table.mean(axis=0))
    assert found["gains"]["exposure"]["ci"] == pytest.approx(by_hand["ci"])
    assert found["replicates"] == 6 and found["verdict"]["answer"] in ("harms", "no_gain")
    assert found["worth"]["share"] < 0.1
    few = study.summarise_sets([row for row in rows if row["number"] < 4])
    assert few["verdict"]["answer"] == "undecided"


# --- The report -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["", "somewhere"])
def test_nothing_is_judged_before_all_is_finished_and_each_look_is_told(data, tmp_path):
    base, rows = made_up_folds(quarters=2, seeds=2, part_gan=-0.1, oracle=0.3)
    settings = SETTINGS | {"data": data}
    tasks = study.plan(settings, tmp_path)
    if not data:
        rng = np.random.default_rng(0)
        rows = [set_row(task, rng) for task in tasks]
    write_json(tmp_path / "study.json", {"rows": rows[:-1]})
    parts = {"base": base, "data": ["12 images <of> 3"], "foreseen": "about 3 hours."}
    kept = study.collect(tasks, settings, tmp_path, **parts)
    assert "summary" not in kept and not (tmp_path / "report.html").exists()
    assert f"{len(rows) - 1} of {len(rows)} units are finished" in study.table(kept)
    write_json(Path(tasks[-1]["row"]), rows[-1])
    whole = study.collect(tasks, settings, tmp_path)
    assert whole["note"] == "" and whole["rows"] == rows
    html = (tmp_path / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    summary = whole["summary"]
    for name, arm in summary["arms"].items():
        title, percent = ARMS[name].title, f"{100 * arm['balanced_accuracy']:.1f} %"
        assert f"<td>{title}</td><td>{percent}</td>" in html
        assert title in study.table(whole) and percent in study.table(whole)
    titles = gain_titles(folds=bool(data))
    assert ("stronger" in titles) == bool(data)
    for name, gain in (summary["gains"] | summary["secondary"]).items():
        if name not in titles:
            continue  # in a study of sets, `stronger` is `exposure`
        low, high = (f"{100 * edge:+.1f}" for edge in gain["ci"])
        cells = f"<td>{100 * gain['mean']:+.1f}</td><td>{low} to {high}</td>"
        assert f"<td>{titles[name]}</td>{cells}" in html
    assert summary["verdict"]["answer"] in study.table(whole)
    assert ("so they are not the differences of this table" in html) == bool(data)
    assert ("12 images &lt;of&gt; 3" in html) == bool(data)
    # A smaller plan loses no row, and the report tells of each look.
    fewer = settings | {"sets": 2, "quarters": 1}
    small = study.collect(study.plan(fewer, tmp_path), fewer, tmp_path)
    assert len(small["rows"]) < len(rows) and "Judged at" in study.table(small)
    again = study.collect(tasks, settings, tmp_path)
    assert again["rows"] == rows


def test_copies_are_marked_in_the_report(tmp_path):
    base, rows = made_up_folds()
    rows[0]["audit"]["ill"] |= {"copies": 0.4, "copies_flagged": True}
    settings = SETTINGS | {"data": "x", "seeds": 1, "quarters": 1}
    write_json(tmp_path / "study.json", {"rows": rows})
    study.collect(study.plan(settings, tmp_path), settings, tmp_path, base=base, data=[])
    html = (tmp_path / "report.html").read_text()
    assert "do not hand them on as synthetic" in html and "<strong>Copies, ill:" in html
    assert "<strong>Copies, clear:" not in html


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
    tasks = [{{"name": f"unit {{k}}", "out": {here!r} + f"/run-{{k}}.done", "seconds": 1.5}}
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
    assert process.wait(180) == 0 and all_done(tmp_path)
    times = [len(pids) for pids in begun(tmp_path).values()]
    assert sorted(times) == [1, 1, 1, 1, 1, 2]


def test_ctrl_c_and_the_same_command_again(start, tmp_path):
    process = start()
    wait_for(lambda: list(tmp_path.glob("*.done")))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(180) != 0
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.done")}
    assert 0 < len(kept) < 6
    assert start().wait(180) == 0 and all_done(tmp_path)
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
    assert process.wait(180) != 0
    assert "the scheduler is lost" in (tmp_path / "log-2.txt").read_text()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.done")}
    start(dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    start(dask, "worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard")
    assert start(scheduler=address).wait(180) == 0 and all_done(tmp_path)
    for name, written in kept.items():
        assert (tmp_path / name).stat().st_mtime_ns == written, "run twice"


def test_what_trying_again_cannot_mend_is_said(start, tmp_path, monkeypatch, capsys):
    (tmp_path / "work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    import work

    todo = [{"name": "fold 0", "out": str(tmp_path / "x"), "wrong": "labels.csv is empty"}]
    with pytest.raises(CourseError, match=r"fold 0: labels\.csv is empty"):
        workers.run_with_dask(work.work, todo, 1, 1)
    assert len(begun(tmp_path)["x"]) == 1, "tried again in vain"
    assert "labels.csv is empty (1 of 1" in capsys.readouterr().out, "only said at the end"


def test_no_scheduler_at_the_address(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 1)
    with pytest.raises(CourseError, match="no scheduler answers"):
        workers.run_with_dask(print, [{}], 1, 1, "tcp://127.0.0.1:9")


@pytest.fixture
def chosen(monkeypatch):
    """What a study finds out before it begins, without the time that it takes."""
    monkeypatch.setattr(machine, "choose_precision", lambda *_, **__: "float32")
    monkeypatch.setattr(study, "time_step", lambda *_: 0.5)


def stopped(*_):
    raise KeyboardInterrupt


def test_another_study_in_the_folder_is_refused(chosen, tmp_path, capsys):
    out = tmp_path / "study"
    out.mkdir()
    (out / "study.json").write_text(json.dumps({"settings": SETTINGS}))
    assert study.main(["--profile", "smoke", "--sets", "2", "--out", str(out)]) == 2
    assert "other settings" in capsys.readouterr().err
    assert study.main(["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x")]) == 2
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "report.html").write_text("somebody's")
    before = snapshot(tmp_path)
    assert study.main(["--profile", "smoke", "--out", str(tmp_path)]) == 2
    assert "holds no study" in capsys.readouterr().err and snapshot(tmp_path) == before


def test_what_the_units_do_not_see_may_change(chosen, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "run_with_dask", lambda *_: None)
    mine, out = tmp_path / "mine.yaml", tmp_path / "out"
    ask = ["--sets", "2", "--params", str(mine), "--out", str(out)]
    for text, code in (("dose: 9", 0), ("dose: 1", 0), ("gan_steps: 9", 2)):
        mine.write_text(text)
        assert study.main(ask) == code
    assert "other settings or data" in capsys.readouterr().err


def test_what_cannot_be_is_refused_before_anything_is_written(folder, tmp_path, capsys):
    before = snapshot(folder)
    ask = ["--profile", "smoke", "--data", str(folder), "--out"]
    assert study.main([*ask, str(folder / "study")]) == 2
    assert "is inside DATA" in capsys.readouterr().err and snapshot(folder) == before
    for option, value, words in (
        ("--seeds", "0", "seeds is 0: use a whole number"),
        ("--quarters", "9", "quarters is 9: use a whole number from 0 to 8"),
        ("--images", "36", "--images is an option for studies of simulated sets, not of a folder"),
        ("--sets", "12", "--sets is an option for studies of simulated sets"),
    ):
        assert study.main([*ask, str(tmp_path / "out"), option, value]) == 2
        assert words in capsys.readouterr().err
    for option, value, words in (
        ("--images", "3", "images is 3"),
        ("--quarters", "1", "--quarters is an option for studies of a folder"),
    ):
        assert study.main(["--out", str(tmp_path / "out"), option, value]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_plan_says_hours_and_chances_and_writes_nothing(chosen, folder, tmp_path, capsys):
    before = snapshot(tmp_path)
    assert study.main(["--data", str(folder), "--plan", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "8 units of about" in said and "hours" in said
    assert "truly gain 0 points" in said and "truly gain 8 points" in said
    assert snapshot(tmp_path) == before


def test_a_plan_of_simulated_sets_says_what_such_a_study_has_found(chosen, capsys):
    """With as many sets as the course's own study, its interval is as wide as that one's."""
    for images, kept in ((36, 36), (50, 36), (144, 144)):
        low, high = read_json(RESULTS / f"study_{kept}.json")["summary"]["gains"]["exposure"]["ci"]
        width, by_gain = foresee_sets(12, images)
        assert width == pytest.approx(high - low)
        nothing, margin, eight = by_gain.values()
        assert abs(nothing["harms"] - 0.025) < 0.01 and nothing["helps"] < 0.03
        assert margin["helps"] > 0.95 and eight["helps"] > 0.95
        assert all(sum(chances.values()) == pytest.approx(1) for chances in by_gain.values())
    assert study.main(["--plan", "--sets", "12", "--images", "36"]) == 0
    said = capsys.readouterr().out
    assert "12 units of about" in said and "With 12 sets the interval of the gain" in said
    assert re.search(r"truly gain 0 points: harms [23]%, no_gain 9\d%", said)
    assert study.main(["--plan", "--sets", "4"]) == 0
    assert "With fewer than 5 sets the answer is always undecided." in capsys.readouterr().out


def test_a_plan_does_not_advise_quarters_that_are_too_small(chosen):
    settings = {"workers": 1, "threads": 1, "quarters": 1, "values": {"gan_steps": 1000}}
    labels, groups = np.arange(200) % 2, np.arange(200)
    advice = "With --quarters 3"
    assert advice in study.foresee(settings, 8, labels, groups, 12)
    assert advice not in study.foresee(settings, 8, labels, groups, 2)


def test_a_study_that_goes_on_says_how_much_is_missing(chosen, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "run_with_dask", stopped)
    ask = ["--sets", "5", "--out", str(tmp_path / "out")]
    assert study.main(ask) == study.main([*ask, "--seeds", "2"]) == 130
    first, second = capsys.readouterr().out.split("10 of 10 units are missing.")
    assert "hours" in first and "missing" not in first and "hours" not in second


def test_a_split_that_a_study_does_not_use_makes_no_other_study(
    chosen, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(study, "run_with_dask", stopped)
    monkeypatch.setattr(study, "measure_without_gan", lambda *_: {})
    mine = tmp_path / "mine.yaml"
    ask = ["--data", str(folder), "--params", str(mine), "--out", str(tmp_path / "out")]
    for text in ("given_split: true\nfresh_count: 40\n", "given_split: false\n"):
        mine.write_text(text)
        assert study.main(ask) == 130, capsys.readouterr().err


def test_07_shows_what_the_plan_says_of_its_own_folder(tmp_path, monkeypatch):
    """A quarter of it is too small for a GAN."""
    from helpers import phantom
    from helpers.folder import find_groups, read_folder

    slices = read_folder(phantom.write_dataset(tmp_path / "data", n=120, seed=2019))
    monkeypatch.setattr(study, "time_step", lambda *_: 1.0)
    settings = {"workers": 2, "threads": 1, "quarters": 0, "values": {"gan_steps": 1000}}
    labels, groups = slices.table["label"].to_numpy(), find_groups(slices).groups
    said = study.foresee(settings, 8, labels, groups, 0)
    shown = said[said.index("With 120 images") : said.index(" (As simulated")]
    text = (ROOT / "notebooks" / "07_your_own_images.ipynb").read_text()
    assert f"> {shown}" in text
    helps = [int(share) for share in re.findall(r"helps (\d+)%", shown)]
    assert len(helps) == 2 and max(helps) < 80, "07 says that such a study should not begin"


def test_other_data_under_the_same_path_is_another_study(
    chosen, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(study, "run_with_dask", stopped)
    monkeypatch.setattr(study, "measure_without_gan", lambda *_: {})
    ask = ["--data", str(folder), "--out", str(tmp_path / "out")]
    assert study.main(ask) == study.main(ask) == 130
    (folder / "groups.csv").write_text("file,group\nhead_ct/000.png,1\nhead_ct/001.png,1\n")
    assert study.main(ask) == 2
    assert "other settings or data" in capsys.readouterr().err


def test_a_study_that_is_stopped_before_its_first_unit_resumes(
    chosen, folder, tmp_path, monkeypatch, capsys
):
    ask = ["--data", str(folder), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(study, "run_with_dask", stopped)
    measured = {"measure_without_gan": stopped, "_keep_prepared": stopped}
    for name, stop in measured.items():
        with monkeypatch.context() as patch:
            patch.setattr(study, name, stop)
            assert study.main(ask) == 130
    monkeypatch.setattr(study, "measure_without_gan", lambda *_: {"seed": 1})
    assert study.main(ask) == 130, capsys.readouterr().err
    kept = read_json(tmp_path / "out" / "study.json")
    assert kept["base"] == {"seed": 1} and kept["foreseen"] and kept["data"]


def test_a_damaged_study_is_refused_in_one_line(chosen, tmp_path, capsys):
    """As the one file that moves a study to another machine, if the copy was cut off."""
    (tmp_path / "study.json").write_text('{"settings": {"profile": "stu')
    assert study.main(["--sets", "2", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "study.json is damaged" in said and "whole copy" in said and "Traceback" not in said


@pytest.mark.parametrize("names", ["positive: a\nnegative: a\n", "positive: ../a\n"])
def test_class_names_go_into_paths_and_are_checked_before_any_training(
    chosen, tmp_path, names, capsys
):
    mine = tmp_path / "mine.yaml"
    mine.write_text(names)
    asked = ["--sets", "2", "--params", str(mine), "--out", str(tmp_path / "out")]
    assert study.main(asked) == 2 and not (tmp_path / "out").exists()
    assert "called 'a'" in (said := capsys.readouterr().err) or "'../a'" in said


def test_a_plan_for_more_seeds_is_a_new_plan(chosen, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "run_with_dask", stopped)
    ask = ["--sets", "5", "--out", str(tmp_path / "out")]
    assert study.main(ask) == 130
    assert "5 units" in capsys.readouterr().out
    assert study.main([*ask, "--seeds", "3", "--plan"]) == 0
    assert "15 units" in capsys.readouterr().out
    kept = read_json(tmp_path / "out" / "study.json")
    assert kept["foreseen"].startswith("5 units"), "what was said before the first unit"
    assert kept["command"].startswith("python -m course study")
    assert not kept["command"].startswith("python -m course study study")


def test_a_run_that_fails_without_a_word_is_no_run_that_is_done(tmp_path, monkeypatch):
    """And where it ran, Dask was told to leave the processor to it."""
    fails = "import dask\ndef work(task):\n    raise MemoryError(dask.config.get({!r}))\n"
    (tmp_path / "silent.py").write_text(fails.format("distributed.worker.profile.enabled"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    import silent

    with pytest.raises(CourseError, match=r"fold 0: MemoryError\(False\)"):
        workers.run_with_dask(silent.work, [{"name": "fold 0"}], 1, 0)  # no worker is one worker


def test_settings_are_kept_when_a_study_is_stopped(chosen, tmp_path, monkeypatch, capsys):
    """The same command goes on, in the number format that was chosen first; another is refused."""
    answers = iter(["mixed_bfloat16", "float32"])
    monkeypatch.setattr(
        machine, "choose_precision", lambda asked: next(answers) if asked == "auto" else asked
    )
    monkeypatch.setattr(study, "run_with_dask", stopped)
    ask = ["--sets", "2", "--out", str(tmp_path)]
    for _ in range(2):
        assert study.main(ask) == 130
        kept = read_json(tmp_path / "study.json")
        assert kept["settings"]["values"]["precision"] == "mixed_bfloat16" and kept["rows"] == []
    assert study.main([*ask, "--profile", "smoke"]) == 2
    assert "other settings" in capsys.readouterr().err
    # On another machine, with this file alone, that machine's own format.
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(tmp_path / "study.json", moved)
    assert study.main(["--sets", "2", "--out", str(moved)]) == 130
    kept = read_json(moved / "study.json")
    assert kept["settings"]["values"]["precision"] == "float32"


@pytest.mark.slow
def test_a_real_study_outlives_a_killed_worker(start, tmp_path):
    """Two simulated sets; the worker of one dies while its GAN trains."""
    out = tmp_path / "study"
    command = (sys.executable, "-m", "course", "study", "--sets", "2", "--images", "40",
               "--profile", "smoke", "--out", str(out))  # fmt: skip
    process = start(*command)
    wait_for(lambda: list(out.glob("set-*/checkpoints/*/step-*.npz")), 600)
    busy = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if child.cpu_times().user > 5
    ]
    busy[-1].kill()
    assert process.wait(900) == 0, (tmp_path / "log-0.txt").read_text()
    kept = read_json(out / "study.json")
    assert [(row["number"], row["seed"]) for row in kept["rows"]] == [(0, 0), (1, 0)]
    assert set(kept["rows"][0]["arms"]) == set(OF_A_SET)
    assert kept["summary"]["verdict"]["answer"] == "undecided"
    scores = [row["arms"]["classic"]["fresh"] for row in kept["rows"]]
    assert scores[0] != scores[1], "two replicates of one set"
    before = {path: path.stat().st_mtime_ns for path in out.glob("rows/*.json")}
    assert len(before) == 2 and start(*command).wait(120) == 0
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    assert "not enough data" in (out / "report.html").read_text().lower()


def test_a_study_of_a_folder_runs_whole(folder, tmp_path):
    """Eight units with small, hardly trained GANs in this process, and the report at the end."""
    ask = ["--profile", "smoke", "--data", str(folder), "--out", str(tmp_path / "out")]
    values = tmp_path / "few.yaml"
    values.write_text("gan_steps: 1\ncheckpoint_every: 1\n")

    def one_by_one(work, todo, *_):
        assert not any(work(task) for task in todo)

    with pytest.MonkeyPatch.context() as patch:
        small.use(patch)
        patch.setattr(study, "run_with_dask", one_by_one)
        patch.setattr(study, "time_step", lambda *_: 0.5)
        assert study.main([*ask, "--params", str(values), "--quarters", "0"]) == 0
    kept = read_json(tmp_path / "out" / "study.json")
    tested = [i for row in kept["rows"] for i in row["tested"]]
    assert sorted(tested) == list(range(len(kept["base"]["labels"]))), "each image tested once"
    assert kept["summary"]["verdict"]["answer"] in ("helps", "harms", "no_room", "undecided")
    assert (tmp_path / "out" / "fold-0-seed-0" / "figures" / "samples.png").exists()
    assert "Expected before the first" in (tmp_path / "out" / "report.html").read_text()
