"""The published experiment: its folds, and the scores that come out of generators at hand."""

import itertools
import os
import shutil

import numpy as np
import published
import published_gans
import pytest
from results import published_gains
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from helpers import (
    bundled,
    files,
    machine,
    measures,
    networks,
    preprocessing,
    sampling,
    training,
    trunk,
)
from helpers.files import CourseError
from helpers.folder import read_folder

pytestmark = pytest.mark.slow


@pytest.fixture
def experiment(folder, tmp_path, monkeypatch, small_networks):
    """60 noise slices, eight folds, and one untrained generator in the place of all."""
    kept = {"paper": (500, 10_000), "brief": (500,), "quarter": (2500,)}
    for module in (published, published_gans):
        monkeypatch.setattr(module, "KEPT", kept)
        monkeypatch.setattr(module, "TRAINED_QUARTERS", 1)
    monkeypatch.setattr(published_gans, "FOLDS_FILE", tmp_path / "folds.json")
    monkeypatch.setattr(published_gans, "QUARTERS", 2)
    monkeypatch.setattr(published_gans, "run_all", lambda *_: None)
    files.write_json(tmp_path / "pilot.json", {"summary": {"steps": 4, "stronger": "classic_long"}})
    monkeypatch.setattr(published, "EPOCHS", 2)
    plan = published_gans.draw_plan(read_folder(folder))
    files.write_json(tmp_path / "folds.json", plan)
    training.save_generator(networks.build_generator(), tmp_path / "one.h5")
    gans, slices = tmp_path / "gans", read_folder(folder)
    images, table = preprocessing.prepare(slices.greys), slices.table
    for each in published_gans.list_trainings(plan):
        own = images[table["file"].isin(each["files"]) & (table["label"] == each["label"])]
        done = {"trained_on": machine.fingerprint(own)}
        files.write_json(files.make_folder(gans / each["folder"]) / "done.json", done)
        for steps in each["kept"]:
            shutil.copy(tmp_path / "one.h5", gans / each["folder"] / f"step-{steps}.h5")
    return folder, gans, plan, tmp_path / "published.json"


def score(experiment):
    folder, gans, _, results = experiment
    asked = ["--data", str(folder), "--gans", str(gans), "--results", str(results)]
    asked += ["--pilot", str(results.parent / "pilot.json")]
    assert published.main(asked) == 0
    return files.read_json(results)


def join(rows):
    """One row a fold, with the arms and audits of all parts."""
    folds = {}
    for row in rows:
        whole = folds.setdefault(row["fold"], row | {"arms": {}, "audits": {}})
        for key in ("arms", "audits"):
            assert not whole[key].keys() & row.get(key, {}).keys()
            whole[key] |= row.get(key, {})
    return list(folds.values())


def test_each_slice_is_scored_by_a_fit_that_has_not_seen_it(experiment, monkeypatch, capsys):
    folder, gans, plan, results = experiment
    trained = []

    def run_all(data, out, processes, only):
        trained.append(only)
        if only == "quarter/fold-5-0" and trained.count(only) == 1:
            raise CourseError("quarter/fold-5-0 failed: see output.txt.")

    monkeypatch.setattr(published_gans, "run_all", run_all)
    files.write_json(results.parent / "pilot.json", {})  # no ResNet-50
    asked = ["--data", str(folder), "--gans", str(gans), "--results", str(results)]
    asked += ["--pilot", str(results.parent / "pilot.json")]
    assert published.main(asked) == 2 and len(trained) == 3 * 8
    said = "fold 5, quarter-0, bundled: quarter/fold-5-0 failed: see output.txt.\n"
    assert capsys.readouterr().err == said
    found = files.read_json(results)
    units = set(itertools.product(("real", "paper", "quarter-0", "brief"), range(8)))
    assert {(row["part"], row["fold"]) for row in found["rows"]} == units - {("quarter-0", 5)}
    first = found["summary"]["bundled paper 10000"]["gains"]
    assert "oracle" in first and "missing" not in first, "no quarter before all folds have it"
    whole = [row for row in found["rows"] if row["part"] in ("real", "paper")]
    some = [row for row in whole if (row["part"], row["fold"]) != ("paper", 7)]
    stronger = {"bundled": "part"}
    assert set(published.summarise(some, plan, stronger)) == {"bundled, arms"}, (
        "seven folds say nothing"
    )
    some = [row for row in found["rows"] if (row["part"], row["fold"]) != ("real", 7)]
    assert set(published.summarise(some, plan, stronger)) == {"audits"}, "no baseline, no gain"

    found = score(experiment)
    assert trained[24:] == ["quarter/fold-5-0"], "what has a row is not trained again"
    whole = found["summary"]["bundled paper 10000"]["gains"]
    assert all(whole[name] == gain for name, gain in first.items())
    assert all(len(row["gans"]) == 2 for row in found["rows"] if row["part"] != "real")
    by_hand = published_gains(found["rows"])  # as tests/texts computes it of the kept rows
    assert {name: whole[name]["mean"] for name in by_hand} == pytest.approx(by_hand)
    found["rows"] = join(found["rows"])
    assert [row["fold"] for row in found["rows"]] == list(range(8))
    slices = read_folder(folder)
    names, labels = slices.table["file"].tolist(), slices.table["label"].to_numpy()
    images = preprocessing.prepare(slices.greys)
    tested = [k for row in found["rows"] for k in row["tested"]]
    assert len(tested) == len(set(tested)) == 60
    for row, fold in zip(found["rows"], plan["folds"], strict=True):
        assert sorted(names[k] for k in row["tested"]) == sorted(fold["test"])
        assert row["labels"] == labels[row["tested"]].tolist()
    # One fold by hand, from the plan's names alone.
    row, fold = found["rows"][2], plan["folds"][2]
    train, quarter = (np.isin(names, part) for part in (fold["train"], fold["quarters"][1]))
    rest = train & ~quarter
    test = trunk.features(images[row["tested"]])
    by_hand = {
        ("classic", 0): bundled.fit_arm("classic", images[train], labels[train]),
        ("oracle_part", 1): bundled.fit_arm(
            "oracle_part", images[quarter], labels[quarter], images[rest], labels[rest]
        ),
    }
    for (arm, draw), head in by_hand.items():
        assert row["arms"][arm][draw] == pytest.approx(head.answer(test), abs=1e-5)
    large = trunk.features(preprocessing.prepare(slices.greys, 224), 224)
    # By scikit-learn alone, with the penalty on standardized features.
    scaled = StandardScaler().fit(large[train])
    scaled.scale_ = np.maximum(scaled.scale_, 0.1 * np.median(scaled.scale_))
    weights = np.where(labels == 1, 0.5 / labels[train].mean(), 0.5 / (1 - labels[train].mean()))
    head = LogisticRegression(C=bundled.C, tol=1e-8, max_iter=5000)
    head.fit(scaled.transform(large[train]), labels[train], sample_weight=weights[train])
    answers = head.predict_proba(scaled.transform(large[row["tested"]]))[:, 1]
    assert row["arms"]["original, full size"][0] == pytest.approx(answers, abs=1e-3)
    summary = found["summary"]["bundled paper 10000"]
    audits = found["summary"]["audits"]
    by_hand = [row["audits"]["clear paper 500"]["told_apart"] for row in found["rows"]]
    assert audits["clear paper 500"]["told_apart"] == np.mean(by_hand)
    assert set(audits) == set(found["rows"][0]["audits"])
    assert set(found["summary"]) == {"bundled, arms", "audits"} | {
        f"bundled {x}" for x in ("paper 500", "paper 10000", "brief 500")
    }
    gains = []
    for one in found["rows"]:
        with_gan, without = (
            (np.array(one["arms"][arm][0]) >= 0.5) == one["labels"]
            for arm in ("classic_gan paper 10000", "classic")
        )
        gains += [*zip(with_gan.astype(int) - without, one["labels"], strict=True)]
    means = [np.mean([gain for gain, label in gains if label == k]) for k in (0, 1)]
    assert summary["gains"]["exposure"]["mean"] == pytest.approx(np.mean(means))
    assert summary["replicates"] == 8 and {"oracle", "missing"} <= set(summary["gains"])
    assert "missing" not in found["summary"]["bundled brief 500"]["gains"], "other GANs' quarters"
    assert set(found["rows"][0]["audits"]) == {
        f"{name} {kind}"
        for name in ("haemorrhage", "clear")
        for kind in ("paper 500", "paper 10000", "brief 500", "quarter-0 2500")
    }
    whole = found["rows"][0]["audits"]["clear paper 500"]["whole"]
    assert set(whole["spaces"]) == {"imagenet", "judge"}
    # The original's own arms have as many generators as *classic + GAN* has.
    assert {"gan_only", "gan_only, 500 steps", "original_gan, 500 steps"} <= set(
        found["rows"][0]["arms"]
    )
    monkeypatch.setattr(published, "TRAINED_QUARTERS", 2)
    of_some = published.summarise_audits(found["rows"], 8)
    assert len(of_some) == 6 and not any("quarter" in x for x in of_some), "only all quarters"
    files.write_json(results, found | {"settings": found["settings"] | {"folds": "others"}})
    assert published.main(asked) == 2
    assert "other settings (folds: others" in capsys.readouterr().err
    files.write_json(results, found)
    monkeypatch.setattr(published, "EPOCHS", 3)
    assert published.main(asked) == 2
    assert "other settings (epochs: 2" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["paper", "quarter-0"])
def test_an_audit_holds_out_what_its_gan_has_not_seen(experiment, monkeypatch, part):
    folder, gans, plan, _ = experiment
    seen = []
    monkeypatch.setattr(measures, "audit_class", lambda *args, **_: seen.append(args) or {})
    of_fold = published.read_folds(folder, gans)[1][3]
    published.audit(of_fold, part, np.zeros((2, 32, 32, 1)), np.array([0, 1]))
    slices = read_folder(folder)
    table, plan = slices.table, plan["folds"][3]
    images = preprocessing.prepare(slices.greys)
    trained = plan["train"] if part == "paper" else plan["quarters"][0]
    held_out = {*plan["train"], *plan["validation"]} - set(trained)
    for label, (_, train, held, groups, *_) in zip((1, 0), seen, strict=True):
        for found, names in ((train, trained), (held, held_out)):
            expected = images[table["file"].isin(names) & (table["label"] == label)]
            assert {x.tobytes() for x in found} == {x.tobytes() for x in expected}
            assert len(found) == len(expected)
        assert len(groups) == len(train) + len(held)


def test_resnet50_has_its_own_rows_and_two_seeds(experiment, small_trunk, monkeypatch):
    monkeypatch.setattr(measures, "audit_class", None)  # it audits nothing
    monkeypatch.setattr(published, "score_bundled", lambda *_: {"arms": {}})
    monkeypatch.setattr(
        published, "list_parts", lambda _, parts=published.list_parts: parts("resnet50")
    )
    found = score(experiment)
    found["rows"] = [row for row in found["rows"] if row["classifier"] == "resnet50"]
    assert [row["fold"] for row in found["rows"][::3]] == list(range(8))
    found["rows"] = join(found["rows"])
    assert {len(draws) for row in found["rows"] for draws in row["arms"].values()} == {2}
    assert {"resnet50", "resnet50, arms"} <= set(found["summary"])
    labels = np.concatenate([row["labels"] for row in found["rows"]])

    def mean(arm):  # over both seeds, and both classes alike
        right = np.concatenate(
            [(np.array(x["arms"][arm]) >= 0.5) == x["labels"] for x in found["rows"]], axis=1
        )
        return np.mean([right[:, labels == k].mean() for k in (0, 1)])

    gains = found["summary"]["resnet50"]["gains"]
    assert gains["missing"]["mean"] == pytest.approx(mean("oracle_part") - mean("part_gan"))
    assert gains["stronger"]["mean"] == pytest.approx(mean("part_gan") - mean("part_long"))
    assert gains["oracle"]["mean"] == pytest.approx(mean("oracle_part") - mean("part_long"))
    gains = found["summary"]["resnet50, arms"]["gains"]
    assert gains["original_gan"]["mean"] == pytest.approx(mean("original_gan") - mean("original"))
    arms = set(found["rows"][0]["arms"])
    assert {"gan_only", "gan_only, last epoch", "classic_short", "part_gan", "oracle_part"} <= arms


def test_parts_are_scored_in_the_order_that_is_asked_for(experiment, monkeypatch):
    folder, gans, _, results = experiment
    scored = []
    monkeypatch.setattr(
        published, "score_unit",
        lambda fold, part, classifier, _: scored.append((part, classifier))
        or {"fold": fold.number, "part": part, "classifier": classifier, "seconds": 0},
    )  # fmt: skip
    monkeypatch.setattr(published, "summarise", lambda *_: {})
    asked = ["--data", str(folder), "--gans", str(gans), "--results", str(results)]
    without = [*asked, "--pilot", str(results.parent / "no_pilot.json")]
    assert published.main(without) == 0
    parts = ("real", "paper", "brief", "quarter-0")
    assert scored == [(part, "bundled") for part in parts for _ in range(8)]
    scored.clear()
    asked += ["--pilot", str(results.parent / "pilot.json")]
    assert published.main(asked) == 0, "those of ResNet-50 are missing"
    later = ("paper", "real", "quarter-0")
    assert scored == [(part, "resnet50") for part in later for _ in range(8)]
    scored.clear()
    results.unlink()
    assert published.main(asked) == 0
    assert [each for each in scored if each[0] == "paper"] == 8 * [
        ("paper", "bundled"), ("paper", "resnet50")
    ], "while the GANs of a fold are at hand"  # fmt: skip
    rounds = [each for k, each in enumerate(scored) if k == 0 or each != scored[k - 1]]
    assert [each for each in rounds if each[0] != "paper"] == [
        ("real", "bundled"), ("real", "resnet50"), ("brief", "bundled"),
        *[("quarter-0", name) for _ in range(8) for name in ("bundled", "resnet50")],
    ]  # fmt: skip


def test_a_generator_of_other_images_is_left_out_and_named(experiment, monkeypatch, capsys):
    """It may have been trained on the slices of this fold's test part."""
    folder, gans, _, results = experiment
    monkeypatch.setattr(published, "score_bundled", lambda *_: {"arms": {}})
    monkeypatch.setattr(published, "summarise", lambda *_: {})
    files.write_json(gans / "paper" / "fold-3" / "clear" / "done.json", {"trained_on": "others"})
    asked = ["--data", str(folder), "--gans", str(gans), "--results", str(results)]
    assert published.main([*asked, "--pilot", str(results.parent / "no_pilot.json")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("fold 3, paper, bundled: ")
    assert "fold-3/clear has a generator of other images" in said
    units = {(row["part"], row["fold"]) for row in files.read_json(results)["rows"]}
    assert len(units) == 4 * 8 - 1 and ("paper", 3) not in units


def test_only_one_process_writes_the_results(experiment, capsys):
    folder, gans, _, results = experiment
    asked = ["--data", str(folder), "--gans", str(gans), "--results", str(results)]
    held = files.lock(results.with_suffix(".lock"))
    try:
        assert published.main(asked) == 2 and "in use by another run" in capsys.readouterr().err
    finally:
        held.release()


def test_a_training_that_is_stopped_goes_on_and_ends_with_its_parent(
    folder, tmp_path, monkeypatch, small_networks
):
    """The same generators as of an unbroken training; an orphan stops by itself."""
    each = {
        "folder": "paper/fold-0/clear", "recipe": "paper", "label": 0, "seed": 5, "kept": (2, 4),
        "files": read_folder(folder).table["file"].tolist(),
    }  # fmt: skip
    parent, save = os.getppid(), training.save_generator
    published_gans.train(each, folder, tmp_path / "unbroken", "float32", parent)

    def stop(generator, path):
        save(generator, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_generator", stop)
    with pytest.raises(KeyboardInterrupt):
        published_gans.train(each, folder, tmp_path / "stopped", "float32", parent)
    monkeypatch.setattr(training, "save_generator", save)
    assert not (tmp_path / "stopped" / each["folder"] / "done.json").exists()
    published_gans.train(each, folder, tmp_path / "stopped", "float32", parent)
    done = files.read_json(tmp_path / "stopped" / each["folder"] / "done.json")
    slices = read_folder(folder)
    chosen = slices.table["file"].isin(each["files"]) & (slices.table["label"] == 0)
    images = preprocessing.prepare(slices.greys)[chosen]
    assert done["trained_on"] == machine.fingerprint(images) and done["images"] == len(images)
    for steps in each["kept"]:
        first, second = (
            sampling.load_generator(tmp_path / way / each["folder"] / f"step-{steps}.h5")
            for way in ("unbroken", "stopped")
        )
        for pair in zip(first.get_weights(), second.get_weights(), strict=True):
            assert np.array_equal(*pair)
    with pytest.raises(SystemExit, match="is gone"):
        published_gans.train(each, folder, tmp_path / "orphan", "float32", parent + 1)
    assert not (tmp_path / "orphan" / each["folder"] / "done.json").exists()


def test_other_slices_are_refused(experiment, capsys):
    folder, gans, _, results = experiment
    listing = folder / "labels.csv"
    listing.write_text(listing.read_text().replace("\n3,1", "\n3,0"))
    asked = ["--data", str(folder), "--gans", str(gans), "--results", str(results)]
    assert published.main(asked) == 2 and not results.exists()
    assert "holds other slices" in capsys.readouterr().err
