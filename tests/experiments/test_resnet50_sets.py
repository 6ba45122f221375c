"""ResNet-50 on the simulated sets of a study: the same sets and GANs, its own fits."""

import multiprocessing
import time

import numpy as np
import pytest
import resnet50_sets

from course import replicate, study
from helpers import classifiers, files, machine, preprocessing
from helpers.files import CourseError

pytestmark = pytest.mark.slow


@pytest.fixture
def begun(tmp_path, monkeypatch, small_networks, small_trunk):
    """A study of simulated sets of 40 slices that is begun, and a pilot's choices."""
    monkeypatch.setattr(machine, "choose_precision", lambda *_, **__: "float32")
    monkeypatch.setattr(study, "time_step", lambda *_: 0.5)
    monkeypatch.setattr(resnet50_sets, "SETS", 2)
    plan = study.run_study(
        profile="smoke", images=40, sets=3, out=str(tmp_path / "study"), only_plan=True
    )
    files.write_json(tmp_path / "study" / "study.json", {"settings": plan["settings"]})
    files.write_json(
        tmp_path / "pilot.json", {"summary": {"steps": 36, "stronger": "classic_long"}}
    )
    return tmp_path


def run(folder):
    asked = ["--studies", str(folder / "study"), "--pilot", str(folder / "pilot.json")]
    return resnet50_sets.main([*asked, "--results", str(folder / "results.json")])


def test_the_sets_are_those_of_the_study_and_each_fit_has_its_steps(begun, monkeypatch):
    trained, fitted = [], []
    fit, draw = classifiers.fit, replicate.draw_added
    monkeypatch.setattr(
        classifiers, "fit", lambda c, arm, **how: fitted.append((arm, how)) or fit(c, arm, **how)
    )
    monkeypatch.setattr(
        replicate, "draw_added", lambda *given: trained.append(given[0]["name"]) or draw(*given)
    )
    assert run(begun) == 0 and trained == ["set 0 seed 0", "set 1 seed 0"]
    found = files.read_json(begun / "results.json")
    assert [(row["images"], row["number"]) for row in found["rows"]] == [(40, 0), (40, 1)]
    assert {how["steps"] for _, how in fitted} == {10}, "36 for 144 slices"
    assert [(arm.step_factor, arm.synthetic_images is not None) for arm, _ in fitted[:4]] == [
        (1, False), (2, False), (2, True), (2, True)
    ]  # fmt: skip
    settings = files.read_json(begun / "study" / "study.json")["settings"]
    task = study.plan(settings, begun / "study")[1]
    images, labels = preprocessing.fresh_slices(40, task["data_seed"])
    classic, _, with_gan, oracle = (arm for arm, _ in fitted[4:])
    for arm in (classic, with_gan, oracle):
        assert np.array_equal(arm.images, images) and np.array_equal(arm.labels, labels)
    assert len(with_gan.synthetic_images) == len(oracle.synthetic_images) == 120
    assert not np.isin(oracle.synthetic_images.sum((1, 2, 3)), images.sum((1, 2, 3))).any()
    drawn = replicate.draw_added(task, begun / "study" / "set-1-seed-0", images, labels)
    assert np.array_equal(drawn[0], with_gan.synthetic_images), "the GANs of the study's folder"

    def score(arm):
        return np.mean([x["arms"][arm]["fresh"]["balanced_accuracy"] for x in found["rows"]])

    summary = found["summary"]["40"]
    gain = summary["gains"]["stronger"]["mean"]
    assert gain == pytest.approx(score("classic_gan") - score("classic_long"))
    assert summary["verdict"]["answer"] == "undecided", "two sets"
    assert set(summary["arms"]) == {"classic", "classic_long", "classic_gan", "oracle"}


def test_what_has_a_row_is_not_fitted_again(begun, monkeypatch):
    assert run(begun) == 0
    content = files.read_json(begun / "results.json")
    files.write_json(begun / "results.json", content | {"rows": content["rows"][:1]})
    scored = []
    own = resnet50_sets.score_set
    monkeypatch.setattr(
        resnet50_sets, "score_set", lambda task, steps: scored.append(task) or own(task, steps)
    )
    assert run(begun) == 0 and [task["number"] for task in scored] == [1]
    again = files.read_json(begun / "results.json")
    assert again["rows"][1]["arms"] == content["rows"][1]["arms"]
    assert again["summary"] == content["summary"]


def test_it_waits_for_the_pilot_and_for_the_study(begun, capsys):
    files.write_json(begun / "pilot.json", {"rows": []})
    assert run(begun) == 2 and "pilot_resnet50.py first" in capsys.readouterr().err
    files.write_json(begun / "pilot.json", {"summary": {"steps": 36, "stronger": "classic"}})
    (begun / "study" / "study.json").unlink()
    assert run(begun) == 2 and "course study first" in capsys.readouterr().err
    assert not (begun / "results.json").exists()


def made_up_set(task, _steps):
    """In a process of its own: a set that fails, one that takes long, or one that is scored."""
    if task["number"] == 0:
        raise CourseError("set 0 is damaged.")
    time.sleep(task.get("seconds", 0))
    (task["folder"] / f"{task['number']}").write_text("scored")
    return task


def test_of_two_sets_at_once_one_may_fail_and_the_others_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(resnet50_sets, "score_set", made_up_set)
    monkeypatch.setattr(machine, "setup", time.time)
    tasks = [{"number": k, "folder": tmp_path} for k in range(4)]
    kept = []
    with pytest.raises(CourseError, match="set 0 is damaged"):
        for row in resnet50_sets.score_sets(tasks, 1, processes=2):
            kept.append(row["number"])
    assert sorted(kept) == [1, 2, 3]


def test_an_interrupt_ends_the_sets_that_are_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(resnet50_sets, "score_set", made_up_set)
    monkeypatch.setattr(machine, "setup", time.time)
    tasks = [{"number": k, "folder": tmp_path, "seconds": 60 * (k > 1)} for k in range(1, 5)]
    scored = resnet50_sets.score_sets(tasks, 1, processes=2)
    assert next(scored)["number"] == 1
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        scored.throw(KeyboardInterrupt)
    assert time.monotonic() - begun < 30 and not multiprocessing.active_children()
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_two_studies_of_one_size_are_refused(begun, capsys):
    asked = ["--studies", str(begun / "study"), str(begun / "study")]
    asked += ["--pilot", str(begun / "pilot.json"), "--results", str(begun / "results.json")]
    assert resnet50_sets.main(asked) == 2 and "as large as another" in capsys.readouterr().err


@pytest.mark.parametrize("other", [{"first_seed": 7}, {"values": {"gan_steps": 9}}])
def test_another_study_of_the_same_size_adds_no_rows(begun, monkeypatch, capsys, other):
    def score(task, _):
        return {"images": task["images"], "number": task["number"], "data_seed": task["data_seed"]}

    monkeypatch.setattr(resnet50_sets, "score_set", score)
    monkeypatch.setattr(resnet50_sets, "summarise", lambda *_: {})
    assert run(begun) == 0
    settings = files.read_json(begun / "study" / "study.json")["settings"]
    changed = {k: settings[k] | v if isinstance(v, dict) else v for k, v in other.items()}
    files.write_json(begun / "study" / "study.json", {"settings": settings | changed})
    assert run(begun) == 2
    said = capsys.readouterr().err
    assert "rows of other simulated sets" in said or "other settings (gan: " in said
