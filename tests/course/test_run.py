"""The command: refusals, a smoke run from end to end, a run again, real data where it is."""

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
from conftest import COMMAND, ROOT, call, snapshot, write_labels
from folders import pictures
from PIL import Image

from course import audit
from course.report import arms_table, write_report
from course.run import NOTEBOOKS, load_parameters, run
from course.run import run as run_course
from helpers import files, machine, networks, phantom, plots, preprocessing, sampling
from helpers.files import CourseError
from helpers.folder import examine, read_folder
from helpers.intervals import wilson_interval


def refused(pattern, *arguments):
    """Exit code 2, one sentence, no traceback."""
    done = call(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.search(pattern, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr


@pytest.fixture(scope="session")
def metrics(smoke):
    return json.loads((smoke[0] / "metrics.json").read_text())


# --- Refusals ------------------------------------------------------------------------------------


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
    ("data_dir: /home", "no notebook has a parameter 'data_dir'"),
    ("checkpoints_dir: /home", "no notebook has a parameter 'checkpoints_dir'"),
    ("classifier: imagenet", "classifier 'imagenet' is unknown: use one of resnet50, resnet50-i"),
    ("protocol: papers", "protocol 'papers' is unknown: use one of steps, paper"),
    ("arms: [original, original_gan]", "arms is .*: write it as one text, in quotes"),
    ("arms: original, clasic", "arms: 'clasic' is unknown: use original, gan_only, "),
    ("arms: classic, original", "arms: original_gan is missing: it must always be named"),
    ("learning_curve: 0.5", "learning_curve is 0.5: use a list of shares between 0 and 1"),
    ("learning_curve: [0.5, 1.5]", "learning_curve is .*: use a list of shares"),
    ("label_column: 1", "label_column is 1: write it as one text, in quotes"),
    ("dose: 1,39", "dose is '1,39': use a number, 0 or more, with a point"),
    ("dose: -1", "dose is -1: use a number, 0 or more"),
    ("positive: yes", "positive is True: write it as one text, in quotes"),
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


def test_out_inside_data_and_bad_data_write_nothing(folder, tmp_path):
    before = snapshot(folder)
    for out in (folder, folder / "runs"):
        refused(r"OUT .* lies inside DATA", "--data", folder, "--out", out)
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
    refused(r"DATA .* lies inside OUT", "--data", folder, "--out", tmp_path, "--fresh")
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
    quiet_run()


@pytest.mark.parametrize("error", [RuntimeError("Kernel died"), OSError(28, "No space left")])
def test_a_dead_kernel_and_a_full_disk_end_in_one_sentence(monkeypatch, tmp_path, error):
    def execute(source, running, *_, **__):
        Path(running).write_text("{}")
        raise error

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    with pytest.raises(CourseError, match=r"01_preprocessing\.ipynb was interrupted .*resumes"):
        run("smoke", out=str(tmp_path / "out"))
    assert not list((tmp_path / "out" / "notebooks").iterdir())
    assert not {files.KERNEL_LOCK, machine.PROGRESS_FILE} & set(os.environ)


def test_a_second_run_is_refused(tmp_path):
    held = files.lock(tmp_path / ".lock")
    try:
        refused("in use by another run", "--profile", "smoke", "--out", tmp_path)
    finally:
        held.release()


# --- The smoke run -------------------------------------------------------------------------------


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
    assert metrics["verdict"]["answer"] == "not enough data"
    assert metrics["verdict"]["smallest_detectable_effect"] == pytest.approx(6 / 22)
    assert metrics["trunk"] == "scratch" and metrics["classifier"]["name"] == "resnet50"
    assert 0.5 < metrics["cost"]["peak_memory_gb"] < 2.0
    for found in metrics["audit"].values():
        assert "The generated images cannot be judged" in found["warning"]
        assert "kid" not in found and "copying" not in found, "four steps draw nothing"


def test_anybodys_folder_can_be_audited(smoke, tmp_path):
    """Fresh simulated slices in place of samples; the copies of training ones are flagged."""
    out, _ = smoke
    images, labels = preprocessing.fresh_slices(120, 31)
    prepared = preprocessing.load_prepared(out)
    copies = [prepared.part("train", label)[0][:40] for label in (1, 0)]
    found = {}
    for name, made, truth in (
        ("fresh", images, labels), ("copies", np.concatenate(copies), np.repeat([1, 0], 40)),
    ):  # fmt: skip
        sampling.write_samples(tmp_path / name, made, truth, {})
        done = subprocess.run(
            [sys.executable, "-m", "course", "audit", "--samples", tmp_path / name,
             "--data", out / "data", "--split", out / "split.csv", "--out", tmp_path / "audit"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "KID" in done.stdout and "share of copies" in done.stdout
        found[name] = json.loads((tmp_path / "audit" / "audit.json").read_text())
        assert (tmp_path / "audit" / "closest_clear.png").exists()
    for name in ("haemorrhage", "clear"):
        for report in (found["fresh"][name], found["copies"][name]):
            copying = report["copying"]
            assert copying["ci"][0] <= copying["share"] <= copying["ci"][1]
            assert {"kid", "kid_ci", "kid_floor", "precision", "recall", "density"} <= set(report)
            assert report["features"] == "imagenet" and set(report["spaces"]) == {
                "imagenet",
                "judge",
            }
            assert all(0 <= x["realism"]["accuracy"] <= 1 for x in report["spaces"].values())
        assert not found["fresh"][name]["copying"]["flagged"]
        assert found["copies"][name]["copying"]["flagged"]
        assert found["copies"][name]["copying"]["share"] > 0.9
        assert "do not hand them on as synthetic" in found["copies"][name]["verdict"][-1]
        assert found["copies"][name]["kid"] < 2 and found["fresh"][name]["coverage"] > 0.8


@pytest.mark.parametrize("count", [4, 10, 30, 60])
def test_few_samples_get_plain_sentences(count, tmp_path, capsys):
    """What cannot be measured by so few is refused by a sentence, and the rest is measured."""
    data = phantom.write_dataset(tmp_path / "data", n=24 if count < 30 else 80, seed=3)
    table = read_folder(data).table
    parts = ["validation", "train", "train", "train"] * (len(table) // 4)
    table = table.assign(group=range(len(table)), split=parts)
    table[["file", "label", "group", "split"]].to_csv(tmp_path / "split.csv", index=False)
    images, labels = preprocessing.fresh_slices(2 * count, 31)
    chosen = np.sort(np.argsort(labels, kind="stable").reshape(2, -1)[:, : count // 2].ravel())
    sampling.write_samples(tmp_path / "made", images[chosen], labels[chosen], {})
    arguments = ["--samples", tmp_path / "made", "--data", data]
    arguments += ["--split", tmp_path / "split.csv", "--out", tmp_path / "audit"]
    assert audit.main([str(argument) for argument in arguments]) == 0
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    for name in ("haemorrhage", "clear"):
        assert f"{name}: Too few images to say whether the generated ones resemble" in said.out
        assert f"{name}: quality needs at least 40 real and 40 generated images" in said.out
        if count < 30:
            assert f"{name}: copying needs real images of at least 20 groups" in said.out
        if count < 10:
            assert f"{name}: the two-sample test needs at least 5 real and 5" in said.out


def test_samples_of_one_class_are_audited_from_a_flat_folder_and_from_an_array(tmp_path, capsys):
    data = phantom.write_dataset(tmp_path / "data", n=200, seed=3)
    examined = examine(data, 0, {})
    table = examined.slices.table.assign(group=examined.grouping.groups, split=examined.part)
    table[["file", "label", "group", "split"]].to_csv(tmp_path / "split.csv", index=False)
    images, labels = preprocessing.fresh_slices(80, 41)
    greys = preprocessing.to_grey_levels(images[labels == 1][..., 0])
    for i, grey in enumerate(greys):
        (tmp_path / "flat").mkdir(exist_ok=True)
        Image.fromarray(grey).save(tmp_path / "flat" / f"{i:03}.png")
    np.save(tmp_path / "samples.npy", greys)
    found = []
    for samples in ("flat", "samples.npy"):
        arguments = [
            "--samples", str(tmp_path / samples), "--data", str(data), "--split",
            str(tmp_path / "split.csv"), "--out", str(tmp_path / "audit"),
        ]  # fmt: skip
        assert audit.main(arguments) == 2
        assert "say it, as --class haemorrhage or --class clear" in capsys.readouterr().err
        assert audit.main([*arguments, "--class", "haemorrhage"]) == 0
        found.append(json.loads((tmp_path / "audit" / "audit.json").read_text()))
    assert found[0] == found[1] and set(found[0]) == {"haemorrhage"}
    assert found[0]["haemorrhage"]["samples"] == 40


@pytest.mark.parametrize(("change", "words"), [
    ("none", ""), ("labels", ""), ("classes", ""), ("squeezed", "wider than the real ones"),
    ("inverted", "Black and white are inverted"), ("brighter", "brighter than the real ones"),
])  # fmt: skip
def test_samples_prepared_otherwise_are_noticed(tmp_path, capsys, monkeypatch, change, words):
    """Also of training slices squeezed to a square where the data are padded; without measures."""
    monkeypatch.setattr(audit.measures, "audit_class", lambda images, *_, **__: {
        "samples": len(images), "verdict": [], "refused": [],
    })  # fmt: skip
    data = phantom.write_dataset(tmp_path / "data", n=200, seed=3)
    examined = examine(data, 0, {})
    table = examined.slices.table.assign(group=examined.grouping.groups, split=examined.part)
    table[["file", "label", "group", "split"]].to_csv(tmp_path / "split.csv", index=False)
    images, labels = preprocessing.fresh_slices(80, 41)
    made = preprocessing.to_grey_levels(images[..., 0])
    samples, more = tmp_path / "samples.npz", []
    if change in ("none", "labels"):
        np.savez(samples, images=made, labels=labels)
    elif change == "classes":
        samples = tmp_path / "made"
        for i, (grey, k) in enumerate(zip(made, labels, strict=True)):
            path = samples / ("clear", "haemorrhage")[k] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(path)
    else:
        of_training = np.flatnonzero((table["split"] == "train") & (table["label"] == 1))
        made = {
            "squeezed": lambda: np.stack([
                np.asarray(Image.fromarray(examined.slices.greys[i]).resize((32, 32)))
                for i in of_training
            ]),
            "inverted": lambda: 255 - made[labels == 1],
            "brighter": lambda: np.clip(made[labels == 1].astype(int) + 60, 0, 255).astype("uint8"),
        }[change]()  # fmt: skip
        np.savez(samples, images=made)
        more = ["--class", "haemorrhage"]
    assert audit.main([
        "--samples", str(samples), "--data", str(data), "--split", str(tmp_path / "split.csv"),
        "--out", str(tmp_path / "audit"), *more,
    ]) == 0, capsys.readouterr().err  # fmt: skip
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert set(found) == ({"haemorrhage"} if more else {"haemorrhage", "clear"})
    said = [sentence for of_class in found.values() for sentence in of_class["prepared_otherwise"]]
    assert any(words in sentence for sentence in said) if words else not said


@pytest.mark.parametrize(("split", "words"), [
    ("file,label\nx,1\n", "cannot be read as a split"),
    ("file,label,group,split\nx,1,0,train\n", "does not name"),
])  # fmt: skip
def test_an_audit_with_a_wrong_split_is_refused(folder, tmp_path, split, words, capsys):
    listing = tmp_path / "split.csv"
    listing.write_text(split)
    arguments = ["--samples", folder, "--data", folder, "--split", listing, "--out", tmp_path / "a"]
    assert audit.main([str(argument) for argument in arguments]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "a").exists()


def test_the_report_prints_what_metrics_hold(smoke, metrics):
    html = (smoke[0] / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    for arm in metrics["arms"].values():
        for key in ("accuracy", "sensitivity", "specificity", "fresh_accuracy"):
            assert f"{100 * arm[key]:.1f} %" in html
    for name, found in metrics["audit"].items():
        assert f"{name}: {found['warning']}" in html
    assert metrics["verdict"]["text"].split(".")[0] in html
    assert metrics["data"]["fingerprint"] in html
    assert html.count("data:image/png;base64,") >= 8
    assert not re.search(r'(src|href)="(?!data:)', html), "the report must open offline"


@pytest.mark.parametrize("protocol", ["steps", "paper"])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_report_has_each_score_in_its_arms_row_and_column(
    metrics, tmp_path, protocol, balanced
):
    """Scores all different, so that no two can change places unseen."""
    keys = ("accuracy", "sensitivity", "specificity", "fresh_accuracy", "auc")
    arms = {}
    for k, (name, arm) in enumerate(metrics["arms"].items()):
        scores = {key: 0.1 * n + 0.01 * k for n, key in enumerate(keys, start=3)}
        intervals = {f"{key}_ci": [scores[key] - 0.05, scores[key] + 0.04] for key in keys[:3]}
        intervals |= {"balanced_accuracy": 0.11 + 0.01 * k, "balanced_accuracy_ci": [0, 0.22]}
        right = k if balanced else 4
        arms[name] = arm | scores | intervals | {"confusion": [[right, 1], [2, 3]]}
        arms[name] |= {"last_epoch_accuracy": 0.8 + 0.01 * k} if protocol == "paper" else {}
    files.write_json(tmp_path / "metrics.json", metrics | {"arms": arms, "protocol": protocol})
    html = write_report(tmp_path).read_text().replace("\N{NO-BREAK SPACE}", " ")
    table = html[html.index("<h2>Arms</h2>") :].split("</table>")[0]
    head, *rows = [
        re.findall("<t[dh]>(.*?)</t[dh]>", row, re.DOTALL) for row in table.split("<tr>")[1:]
    ]
    if balanced:
        assert head.pop(1) == "balanced accuracy" and "balanced accuracy decides" in table
    assert head[:6] == ["arm", "accuracy", "sensitivity", "specificity", "AUC", "tn fp / fn tp"]
    for k, ((title, *cells), (name, arm)) in enumerate(zip(rows, arms.items(), strict=True)):
        assert title == plots.ARM_TITLES[name]
        if balanced:
            share, ends = cells.pop(0).split("<br>")
            assert share == f"{11 + k}.0 %" and re.findall(r"\d+", ends) == ["0", "22"]
        for key, cell in zip(keys[:3], cells[:3], strict=True):
            low, high = (f"{100 * end:.0f}" for end in arm[f"{key}_ci"])
            share, ends = cell.split("<br>")
            assert share == f"{100 * arm[key]:.1f} %" and re.findall(r"\d+", ends) == [low, high]
        last = [f"8{k}.0 %"] if protocol == "paper" else []
        right = k if balanced else 4
        assert cells[3:6] == [f"0.7{k}", f"{right} 1 / 2 3", f"6{k}.0 %"]
        beside = metrics["bundled"][name]
        share = beside["balanced_accuracy" if balanced else "accuracy"]
        assert cells[6].startswith(f"{100 * share:.1f} %")
        assert cells[7:] == [f"{100 * beside['fresh_accuracy']:.1f} %", *last]
    said = arms_table(metrics | {"arms": arms})
    assert ("balanced accuracy" in said) == balanced and "AUC" in said


def test_the_report_has_each_measure_under_its_class(metrics, tmp_path):
    """Those of one class measured, the other's refused."""
    of_classes = ("precision", "recall", "density", "coverage")
    measured = {name: k / 10 for k, name in enumerate(of_classes, start=1)} | {
        "kid": 0.52, "kid_ci": [0.18, 0.87], "kid_floor": 0.03, "realism": {"accuracy": 0.66},
    }  # fmt: skip
    measured |= {f"{name}_expected": 0.97 for name in of_classes}
    by_judge = measured | {"kid": 0.11, "realism": {"accuracy": 0.55}}
    by_judge |= {name: k / 20 for k, name in enumerate(of_classes, start=1)}
    measured = measured | {
        "spaces": {"imagenet": measured, "judge": by_judge}, "judge_agreement": 0.84, "refused": [],
        "verdict": ["They do not resemble the real ones."],
        "copying": {"share": 0.12, "ci": [0.08, 0.17], "flagged": True},
    }  # fmt: skip
    audits = {"haemorrhage": measured, "clear": {"refused": ["Copying needs more."]}}
    files.write_json(tmp_path / "metrics.json", metrics | {"audit": audits})
    html = write_report(tmp_path).read_text().replace("\N{NO-BREAK SPACE}", " ")
    rows = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in html.split("<tr>")]
    shown = {cells[0]: cells[1:] for cells in rows if len(cells) == 3}
    assert shown["measure"] == ["haemorrhage", "clear"]
    for space, value in (("ImageNet", 0.52), ("judge", 0.11)):
        cell = f"{value:.2f} (under 0.03)<br><small>0.18 to 0.87</small>"
        assert shown[f"KID, {space}"] == [cell, "not measured"]
    for k, name in enumerate(of_classes, start=1):
        assert shown[f"{name}, ImageNet"] == [f"0.{k}0 (0.97)", "not measured"]
        assert shown[f"{name}, judge"] == [f"{k / 20:.2f} (0.97)", "not measured"]
    assert shown["told apart from real slices, ImageNet"] == ["66.0 % (50 %)", "not measured"]
    assert shown["told apart from real slices, judge"] == ["55.0 % (50 %)", "not measured"]
    copies = "12.0 %<br><small>8.0 % to 17.0 %</small>"
    assert shown["copies of training images"] == [copies, "not measured"]
    assert "haemorrhage: They do not resemble the real ones." in html
    assert shown["the label agrees"] == ["84.0 %", "unknown"]
    assert "clear: Copying needs more." in html


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
        latent = sampling.draw_latent(20, 2019 + label, networks.LATENT_DIM)
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


def test_nbval_over_executed_notebooks(smoke):
    """The quick two; all of them run again in `test_exercises`, which takes minutes once."""
    out, _ = smoke
    notebooks = [str(out / "notebooks" / f"{name}.ipynb") for name in NOTEBOOKS[:2]]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=600", "-q",
         "-p", "no:cacheprovider", "--rootdir", str(out), *notebooks],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_broken_notebook_fails_and_keeps_its_last_state(tmp_path, monkeypatch):
    copy = tmp_path / "notebooks"
    shutil.copytree(ROOT / "notebooks", copy)
    broken = copy / "01_preprocessing.ipynb"
    broken.write_text(
        broken.read_text().replace("to_tanh_range(np.array([0", "nonsense(np.array([0")
    )
    monkeypatch.setattr("course.run._source", lambda name: copy / f"{name}.ipynb")
    with pytest.raises(CourseError, match=r"01_preprocessing.ipynb stopped at cell .*NameError"):
        run("smoke", out=str(tmp_path / "out"))
    left = [path.name for path in (tmp_path / "out" / "notebooks").iterdir()]
    assert left == ["01_preprocessing.failed.ipynb"]


def test_killed_while_training_it_goes_on_and_ends_the_same(smoke, tmp_path):
    """The whole group, with SIGKILL, in the middle of notebook 03: kernel and all."""
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


# --- The real slices -----------------------------------------------------------------------------


def test_real_slices_from_end_to_end(real, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in real.rglob("*")}
    out = tmp_path / "out"
    mine = tmp_path / "few.yaml"
    mine.write_text(yaml.safe_dump({"gan_steps": 2, "classifier_steps": 1}))
    done = call("--profile", "smoke", "--data", real, "--out", out, "--params", mine)
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["data"]["groups"] == 111 and not metrics["data"]["simulated"]
    assert "fresh_accuracy" not in metrics["arms"]["original"]
    split = pd.read_csv(out / "split.csv")
    number = split["file"].str.extract(r"(\d+)\.png")[0].astype(int)
    parts = dict(zip(number, split["split"], strict=True))
    for i, j in [(188, 189), (198, 199), (11, 61), (105, 187), (73, 95), (10, 66), (12, 30)]:
        assert parts[i] == parts[j]
    assert {parts[i] for i in range(162, 178)} == {"train"}
    assert split[split["split"] == "test"]["group"].is_unique
    assert {path: path.stat().st_mtime_ns for path in real.rglob("*")} == before
    assert Image.open(out / "samples" / "000.png").size == (32, 32)


def test_dicom_files_in_class_folders_from_end_to_end(tmp_path):
    """A folder a class, no listing, files without an ending, patients in their headers alone."""
    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    from test_folder_formats import CT, hounsfield, write_dicom

    data, out = tmp_path / "data", tmp_path / "out"
    for i, (grey, k) in enumerate(sorted(pictures(72), key=lambda pair: pair[1])):
        told = {"PatientID": f"P{i // 3}", "StudyInstanceUID": f"1.2.{i // 3}"}
        write_dicom(data / ("yes" if k else "no") / f"IM{i}", hounsfield(grey), **CT | told)
    mine = tmp_path / "few.yaml"
    few = {"gan_steps": 2, "classifier_steps": 1, "window": [-1000, 700]}
    mine.write_text(yaml.safe_dump(few))
    done = call("--profile", "smoke", "--data", data, "--out", out, "--params", mine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "patients: 24 for 72 images, by DICOM PatientID, DICOM StudyInstance" in done.stdout
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["classes"] == ["no", "yes"] and metrics["data"]["groups"] == 24
    assert all(line in done.stdout for line in metrics["data"]["check"])
    split = pd.read_csv(out / "split.csv")
    assert (split.groupby("group")["split"].nunique() == 1).all()
    assert (split["label"] == split["file"].str.startswith("yes/")).all()
    html = (out / "report.html").read_text()
    assert "How the folder was read" in html and "listing: none; the folders are" in html
    assert (out / "models" / "yes.h5").exists()
