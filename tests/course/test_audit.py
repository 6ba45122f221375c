"""The command that audits anybody's generated images."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from course import audit
from course.__main__ import main as course
from helpers import phantom, preprocessing, sampling
from helpers.folder import examine, read_folder


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """200 simulated slices in a folder, as they were examined; and their split in `split.csv`."""
    folder = tmp_path_factory.mktemp("divided")
    examined = examine(phantom.write_dataset(folder / "data", n=200, seed=3), 0, {})
    table = examined.slices.table.assign(group=examined.grouping.groups, split=examined.part)
    table[["file", "label", "group", "split"]].to_csv(folder / "split.csv", index=False)
    return folder, examined


def test_anybodys_folder_can_be_audited(divided, tmp_path, capsys):
    """Fresh simulated slices in place of samples; the copies of training ones are flagged."""
    folder, examined = divided
    images, labels = preprocessing.fresh_slices(120, 31)
    of_data = preprocessing.prepare(examined.slices.greys)
    trained, of_class = examined.part == "train", examined.slices.table["label"]
    copies = [of_data[trained & (of_class == label)][:40] for label in (1, 0)]
    found = {}
    for name, made, truth in (
        ("fresh", images, labels), ("copies", np.concatenate(copies), np.repeat([1, 0], 40)),
    ):  # fmt: skip
        sampling.write_samples(tmp_path / name, made, truth, {})
        arguments = ["audit", "--samples", tmp_path / name, "--data", folder / "data"]
        arguments += ["--split", folder / "split.csv", "--out", tmp_path / "audit"]
        assert course(list(map(str, arguments))) == 0
        said = capsys.readouterr().out
        assert "KID" in said and "share of copies" in said
        found[name] = json.loads((tmp_path / "audit" / "audit.json").read_text())
        assert (tmp_path / "audit" / "closest_clear.png").exists()
        assert not (tmp_path / "audit" / "closest_of_another.png").exists(), "an earlier audit's"
        (tmp_path / "audit" / "closest_of_another.png").touch()
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


def test_the_file_of_a_study_says_how_the_folder_is_read(monkeypatch, tmp_path, capsys):
    """What was typed counts more; parameters that say nothing about a folder are passed over."""
    seen = {}
    monkeypatch.setattr("course.audit.run", lambda **asked: seen.update(asked) or {})
    (mine := tmp_path / "mine.yaml").write_text(
        "positive: tumour\nnegative: healthy\nlabel_column: finding\nid_column: image\nseed: 5\n"
    )
    folders = [part for name in ("samples", "data", "split", "out") for part in (f"--{name}", "x")]
    assert course(["audit", *folders, "--params", str(mine), "--label-column", "kind"]) == 0
    assert (seen["positive"], seen["negative"]) == ("tumour", "healthy")
    assert (seen["label_column"], seen["id_column"]) == ("kind", "image")
    assert not {"seed", "params"} & seen.keys()


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


def test_samples_of_one_class_are_audited_from_a_flat_folder_and_from_an_array(
    divided, tmp_path, capsys
):
    folder, _ = divided
    images, labels = preprocessing.fresh_slices(80, 41)
    greys = preprocessing.to_grey_levels(images[labels == 1][..., 0])
    for i, grey in enumerate(greys):
        (tmp_path / "flat").mkdir(exist_ok=True)
        Image.fromarray(grey).save(tmp_path / "flat" / f"{i:03}.png")
    np.save(tmp_path / "samples.npy", greys)
    found = []
    for samples in ("flat", "samples.npy"):
        arguments = [
            "--samples", str(tmp_path / samples), "--data", str(folder / "data"), "--split",
            str(folder / "split.csv"), "--out", str(tmp_path / "audit"),
        ]  # fmt: skip
        assert audit.main(arguments) == 2
        assert "use --class 'haemorrhage' or --class 'clear'" in capsys.readouterr().err
        assert audit.main([*arguments, "--class", "haemorrhage"]) == 0
        found.append(json.loads((tmp_path / "audit" / "audit.json").read_text()))
    np.savez(tmp_path / "samples.npz", images=greys, labels=np.ones(len(greys), int))
    arguments[1] = str(tmp_path / "samples.npz")
    assert audit.main(arguments) == 0, "labels say the class, and may all be equal"
    found.append(json.loads((tmp_path / "audit" / "audit.json").read_text()))
    assert found[0] == found[1] == found[2] and set(found[0]) == {"haemorrhage"}
    assert found[0]["haemorrhage"]["samples"] == 40


@pytest.mark.parametrize(("change", "words"), [
    ("none", ""), ("labels", ""), ("classes", ""), ("squeezed", "wider than the real ones"),
    ("inverted", "Black and white are inverted"), ("brighter", "brighter than the real ones"),
])  # fmt: skip
def test_samples_prepared_otherwise_are_noticed(
    divided, tmp_path, capsys, monkeypatch, change, words
):
    """Also of training slices squeezed to a square where the data are padded; without measures."""
    monkeypatch.setattr(audit.measures, "audit_class", lambda images, *_, **__: {
        "samples": len(images), "verdict": [], "refused": [],
    })  # fmt: skip
    folder, examined = divided
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
        of_class = examined.slices.table["label"] == 1
        of_training = np.flatnonzero((examined.part == "train") & of_class)
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
        "--samples", str(samples), "--data", str(folder / "data"),
        "--split", str(folder / "split.csv"), "--out", str(tmp_path / "audit"), *more,
    ]) == 0, capsys.readouterr().err  # fmt: skip
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert set(found) == ({"haemorrhage"} if more else {"haemorrhage", "clear"})
    said = [sentence for of_class in found.values() for sentence in of_class["prepared_otherwise"]]
    assert any(words in sentence for sentence in said) if words else not said


@pytest.mark.parametrize(("split", "words"), [
    ("file,label\nx,1\n", "has no column group"),
    ("file,label,group,split\nx,1,0,train\n", "does not name"),
])  # fmt: skip
def test_an_audit_with_a_wrong_split_is_refused(folder, tmp_path, split, words, capsys):
    listing = tmp_path / "split.csv"
    listing.write_text(split)
    arguments = ["--samples", folder, "--data", folder, "--split", listing, "--out", tmp_path / "a"]
    assert audit.main([str(argument) for argument in arguments]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "a").exists()


@pytest.fixture
def ask(folder, tmp_path, monkeypatch, capsys):
    """Audits 60 slices as samples of themselves, with a split's rows; gives what it refuses."""
    monkeypatch.setattr(audit.measures, "audit_class", lambda images, *_, **__: {
        "samples": len(images), "verdict": [], "refused": [],
    })  # fmt: skip
    files = [f"head_ct/{i:03}.png" for i in range(60)]

    def run(columns, *more):
        table = pd.DataFrame({"file": files, "group": range(60), "split": "train"} | columns)
        table.to_csv(tmp_path / "split.csv", index=False)
        arguments = ["--samples", folder, "--data", folder, "--split", tmp_path / "split.csv"]
        code = audit.main([*map(str, [*arguments, "--out", tmp_path / "out"]), *more])
        said = capsys.readouterr().err
        assert code == (2 if said else 0) and said.count("\n") <= 1
        return said

    return run


@pytest.mark.parametrize(("columns", "words"), [
    ({}, ""),
    ({"label": [1] * 30 + [0] * 30}, ""),
    ({"label": ["ill"] * 60}, ""),
    ({"label": [1] * 31 + [0] * 29}, "gives head_ct/030.png another label"),
    ({"group": ["P1"] * 59 + [""]}, "the group of head_ct/059.png is empty"),
    ({"group": [1] * 59 + [""]}, "the group of head_ct/059.png is empty"),
    ({"split": "test"}, "names no image of class haemorrhage as train"),
    ({"split": ["train"] * 30 + ["validation"] * 30}, "names no image of class clear as train"),
])  # fmt: skip
def test_a_split_that_cannot_be_is_refused(ask, tmp_path, columns, words):
    assert words in (said := ask(columns)) and bool(words) == bool(said)
    assert (tmp_path / "out").exists() == (not words)


def test_a_class_beside_samples_that_name_theirs_is_refused(ask):
    assert "leave --class out" in ask({}, "--class", "nonsense")


def test_an_audit_overwrites_its_own_files_only(ask, tmp_path):
    assert not ask({}) and not ask({}), "its own folder is used again"
    (tmp_path / "out" / "audit.json").rename(mine := tmp_path / "out" / "closest_clear.png")
    before = mine.read_bytes()
    assert "is not empty and holds no audit.json: choose another OUT" in ask({})
    assert mine.read_bytes() == before and len(list((tmp_path / "out").iterdir())) == 1


def test_file_names_of_digits_stay_names(tmp_path):
    """As DICOM exports have them, without an ending."""
    path = tmp_path / "split.csv"
    path.write_text("file,label,group,split\n00000001,1,0,train\n00000002,0,1,test\n")
    real = pd.DataFrame({"file": ["00000001", "00000002"], "label": [1, 0]})
    table = audit._read_split(path, real, tmp_path)
    assert list(table.index) == ["00000001", "00000002"]
