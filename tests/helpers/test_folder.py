"""The data contract, preparation, grouping and the split."""

import itertools
import json
import os
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, snapshot, write_folder, write_labels
from PIL import Image

from course import baseline, check
from helpers import preprocessing
from helpers.files import CourseError
from helpers.folder import examine, find_groups, read_folder
from helpers.folder.patients import Grouping
from helpers.folder.report import _groups_line


def rows(count=60):
    return [(i, int(i < count // 2)) for i in range(count)]


# --- Preparation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_grey_of_every_mode(tmp_path, mode):
    grey = np.zeros((20, 10), np.uint8)
    grey[5:15, 2:8] = 255
    image = Image.fromarray(grey)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = image.convert("RGB").convert(mode) if mode == "CMYK" else image.convert(mode)
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    image.save(path)
    wrong = np.abs(preprocessing.read_grey(path).astype(int) - grey)
    assert np.median(wrong) <= 2 if mode == "CMYK" else wrong.max() == 0  # JPEG blurs edges


def test_transparent_is_black(tmp_path):
    rgba = np.full((8, 8, 4), 255, np.uint8)
    rgba[:4, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "x.png")
    grey = preprocessing.read_grey(tmp_path / "x.png")
    assert grey[:4].max() == 0 and grey[4:].min() == 255


def test_padding_keeps_shape_and_pixels():
    grey = np.random.default_rng(0).integers(1, 255, (31, 12), dtype=np.uint8)
    padded = preprocessing.pad_to_square(grey)
    assert padded.shape == (31, 31)
    assert np.array_equal(padded[:, padded.any(axis=0)], grey)
    left, right = np.flatnonzero(padded.any(axis=0))[[0, -1]]
    assert abs(left - (30 - right)) <= 1


def test_shrinking_does_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
    inner = preprocessing.shrink(stripes, 32)[2:-2, 2:-2].astype(int)
    assert inner.min() > 110 and inner.max() < 145, "one-pixel stripes must average to grey"


def test_range():
    images = preprocessing.prepare([np.array([[0, 255]], np.uint8)] * 2, size=8)
    assert images.shape == (2, 8, 8, 1) and images.dtype == np.float32
    assert images.min() >= -1 and images.max() <= 1
    with pytest.raises(TypeError):
        preprocessing.to_tanh_range(images)


# --- Groups and the split ------------------------------------------------------------------------


def test_lookalikes_found_and_strangers_not():
    from helpers import phantom

    drawn, _ = phantom.draw_slices(20, 5)
    greys = list(drawn)
    brighter = np.clip(greys[3].astype(float) * 1.1 + 4, 0, 255).astype(np.uint8)
    greys += [greys[0], np.asarray(Image.fromarray(brighter).resize((100, 100)))]
    found = {pair[:2] for pair in preprocessing.propose_lookalikes(greys)}
    assert found == {(0, 20), (3, 21)}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("largest", [1, 3, 16, 40])
def test_no_group_crosses(seed, largest):
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], 100)
    groups = np.arange(200)
    groups[100 : 100 + largest] = 100  # one patient's series, all of class 0
    for first in rng.choice(90, 5, replace=False):
        groups[first + 1] = groups[first]
    parts = preprocessing.split_groups(labels, groups, seed)
    for group in np.unique(groups):
        assert len(set(parts[groups == group])) == 1
    counts = pd.crosstab(parts, labels)
    assert counts.loc["test"].tolist() == [11, 11]
    assert counts.loc["validation"].tolist() == [17, 17]
    for part in ("validation", "test"):
        assert len(np.unique(groups[parts == part])) == np.sum(parts == part), "one slice a group"
    assert set(parts[groups == 100]) == {"train"} or largest == 1


def test_split_where_every_patient_has_several_slices_of_both_classes():
    groups = np.repeat(np.arange(60), 4)
    labels = np.tile([0, 0, 1, 1], 60)
    parts = preprocessing.split_groups(labels, groups, 0)
    assert {part: len(set(groups[parts == part])) for part in preprocessing.PARTS} == {
        "train": 44, "validation": 10, "test": 6,
    }  # fmt: skip


@pytest.mark.parametrize(("slices", "in_test"), [(3, 3), (5, 2), (6, 0)])
def test_patients_of_many_slices_fill_a_part_where_no_others_are_left(slices, in_test):
    """Of a class of 100, test has 11 places: 3 are over a quarter, 5 are under half, 6 over it."""
    count = 100 // slices
    groups = np.repeat(np.arange(2 * count), slices)
    labels = np.repeat([1, 0], count * slices)
    if not in_test:
        with pytest.raises(CourseError, match=r"would hold 0 of the negative class .* more pati"):
            preprocessing.split_groups(labels, groups, 0)
        return
    parts = preprocessing.split_groups(labels, groups, 0)
    for label in (0, 1):
        held = groups[(parts == "test") & (labels == label)]
        assert len(set(held)) == in_test and len(held) == in_test * slices
    assert all(len(set(parts[groups == group])) == 1 for group in set(groups))


def test_split_depends_on_the_seed_and_repeats():
    labels, groups = np.repeat([1, 0], 100), np.arange(200)
    first, again, other = (preprocessing.split_groups(labels, groups, s) for s in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_too_few_to_split():
    with pytest.raises(CourseError, match=r"would hold 7 of the negative class and needs 16"):
        preprocessing.split_groups(np.repeat([1, 0], [90, 10]), np.arange(100), 0)


def test_patient_column_and_groups_file(folder):
    write_labels(
        folder, [(*row, f"p{i // 3}") for i, row in enumerate(rows())], ("id", "label", "patient")
    )
    assert len(set(find_groups(read_folder(folder)).groups)) == 20
    write_labels(folder, rows())
    (folder / "groups.csv").write_text("file,group\nhead_ct/000.png,a\nhead_ct/031.png,a\n")
    groups = find_groups(read_folder(folder)).groups
    assert groups[0] == groups[31] and len(set(groups)) == 59


# --- The contract --------------------------------------------------------------------------------


def test_reads_what_it_should(folder):
    before = snapshot(folder)
    slices = read_folder(folder)
    assert slices.table.label.tolist() == [label for _, label in rows()]
    assert slices.table.file[7] == "head_ct/007.png" and slices.greys[7].shape == (40, 36)
    assert snapshot(folder) == before


@pytest.mark.parametrize("ids", ["{:03d}.png", "head_ct/{:03d}.png", "{:03d}", "{}"])
def test_ids_by_path_name_stem_or_number(folder, ids):
    write_labels(folder, [(ids.format(i), label) for i, label in rows()])
    assert read_folder(folder).table.file[59] == "head_ct/059.png"


def test_fingerprint_sees_labels_and_pixels_but_not_order(folder):
    first = read_folder(folder).fingerprint
    write_labels(folder, rows()[::-1])
    assert read_folder(folder).fingerprint == first
    write_labels(folder, [(0, 0), *rows()[1:]])
    relabelled = read_folder(folder).fingerprint
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "head_ct/000.png")
    assert len({first, relabelled, read_folder(folder).fingerprint}) == 3


def missing_folder(folder):
    return folder / "nowhere", "is not a folder"


def missing_listing(folder):
    (folder / "labels.csv").unlink()
    return folder, r"labels\.csv is missing"


def missing_image(folder):
    (folder / "head_ct/004.png").unlink()
    return folder, r"no image in the folder for line 6 \(4\): add the image"


def truncated_image(folder):
    path = folder / "head_ct/004.png"
    path.write_bytes(path.read_bytes()[:200])
    return folder, r"no readable image in head_ct/004\.png \(.*\): replace the file"


def text_as_image(folder):
    (folder / "head_ct/004.png").write_text("not a picture")
    return folder, r"no readable image in head_ct/004\.png \(.*\): replace the file"


def third_label(folder):
    write_labels(folder, [*rows()[:-1], (59, 2)])
    return folder, r"neither 0 nor 1 is the label of line 61 \(head_ct/059\.png: '2'\)"


def word_label(folder):
    write_labels(folder, [(0, "yes"), *rows()[1:]])
    return folder, r"neither 0 nor 1 is the label of line 2 \(head_ct/000\.png: 'yes'\)"


def id_twice(folder):
    write_labels(folder, [*rows(), (7, 0)])
    return folder, r"two labels for one image in lines 9 and 62"


def same_image_twice(folder):
    write_labels(folder, [*rows(), ("007", 0)])
    return folder, r"two labels for one image in lines 9 and 62"


def two_images_for_an_id(folder):
    write_folder(folder / "copy", 1)
    return folder, r"two images could be meant in line 2 \(0: copy/head_ct/000\.png or head_ct"


def one_class(folder):
    write_labels(folder, [(i, 1) for i in range(60)])
    return folder, r"all labels are 1"


def short_line(folder):
    with open(folder / "labels.csv", "a") as file:
        file.write("61\n")
    return folder, r"must have 2 values, as the header has: correct line 62 \(1 values\)"


def empty_listing(folder):
    (folder / "labels.csv").write_text("id, hemorrhage\n")
    return folder, "names no image"


def no_text(folder):
    (folder / "labels.csv").write_bytes(b"\x01\x02\x00\x9fid")
    return folder, "is no text"


@pytest.mark.parametrize(
    "fault",
    [
        missing_folder, missing_listing, missing_image, truncated_image, text_as_image, third_label,
        word_label, id_twice, same_image_twice, two_images_for_an_id, one_class, short_line,
        empty_listing, no_text,
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_sentence(folder, fault):
    path, pattern = fault(folder)
    with pytest.raises(CourseError, match=pattern) as caught:
        read_folder(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_column_not_found(folder):
    with pytest.raises(CourseError, match=r"has no column 'sex', only id, hemorrhage"):
        read_folder(folder, patient_column="sex")


def test_commands_read_columns_of_other_names(folder, capsys):
    """The label in a third column, and patients under a name of their own."""
    lines = [(i, 60, int(i < 30), f"P{i // 2 if i < 10 else i}") for i in range(60)]
    write_labels(folder, lines, ("file", "age", "sick", "who"))
    named = ["--label-column", "sick", "--patient-column", "who"]
    assert check.main([*named, str(folder)]) == 0
    said = capsys.readouterr().out
    assert "label column: sick" in said and "groups: 55 for 60 images" in said
    assert check.main([str(folder), "--label-column", "age"]) == 2
    assert "column age: all labels are 60: two classes are needed" in capsys.readouterr().err


def test_groups_are_counted_in_words_that_fit_the_number():
    one = Grouping(np.array([0, 0, 1, 2, 3]), [(0, 1)], [], [[0, 1], [2], [3]])
    assert _groups_line(one, 5) == (
        "groups: 4 for 5 images (1 pair of identical pixels, 3 groups known beforehand)"
    )
    none = Grouping(np.arange(5), [], [], [])
    assert _groups_line(none, 5) == "groups: 5 for 5 images (no two images belong together)"


@pytest.mark.parametrize("name", ["check", "sheet.jpg", "."])
def test_a_sheet_is_a_png_file_or_is_refused_before_all_else(folder, tmp_path, name, capsys):
    assert check.main([str(folder), "--sheet", str(tmp_path / name)]) == 2
    said = capsys.readouterr()
    assert "ends in .png" in said.err and not said.out


@pytest.mark.parametrize("column", ["patient", "note", "file"])
def test_a_cell_of_very_many_digits_is_a_number_too(folder, column):
    """Python turns no text of over 4,300 digits into a number."""
    long = "0" * 9000 + "9" * 5000
    lines = [(f"{i:03}.png", k, 500 + i, 900 + i) for i, k in rows()]
    place = ("file", "label", "patient", "note").index(column)
    lines[3] = tuple(long if i == place else cell for i, cell in enumerate(lines[3]))
    write_labels(folder, lines, ("file", "label", "patient", "note"))
    if column == "file":
        with pytest.raises(CourseError, match="no image in the folder for line 5"):
            read_folder(folder)
    else:
        assert len(read_folder(folder).table) == 60


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_path_that_no_system_takes_is_a_sentence(folder, place, tmp_path, capsys):
    arguments = [str(folder), "--listing", "labels.csv", "--sheet", str(tmp_path / "x.png")]
    arguments[place] = str(tmp_path / f"{'n' * 5000}.png")
    assert check.main(arguments) == 2
    said = capsys.readouterr().err
    assert "cannot be used (" in said and said.splitlines()[0].endswith("correct the path.")
    assert len(said) < 600


@pytest.mark.parametrize("encoding", ["utf-8:strict", "latin-1", "ascii"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_names_that_a_terminal_cannot_show_stop_nothing(folder, encoding, more):
    lines = [(i, "\u80bf\u7624" if i < 30 else "sick") for i in range(60)]
    write_labels(folder, lines)
    (folder / "Sch\udce4del.csv").write_text("a,b\n1,2\n")
    done = subprocess.run(
        [sys.executable, "-m", "course", "check", folder, "--positive", "sick", *more],
        cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    if more:
        assert json.loads(done.stdout)["classes"] == {"\u80bf\u7624": 30, "sick": 30}


@pytest.mark.parametrize(("text", "asked", "seed"), [
    ("split_seed: 7\nseed: 5\n", [], (7, 5)), ("split_seed: 7\nseed: 5\n", ["--seed", "0"], (0, 0)),
    ("", [], (2019, 2019)),
])  # fmt: skip
def test_the_file_of_a_run_names_the_seed(folder, tmp_path, monkeypatch, text, asked, seed):
    seen = []

    def stop(*arguments, **_):
        seen.append(arguments)
        raise CourseError("stopped")

    monkeypatch.setattr(check, "examine", stop)
    monkeypatch.setattr(baseline.baseline, "measure_baseline", stop)
    (tmp_path / "mine.yaml").write_text(text)
    for main in (check.main, baseline.main):
        assert main([str(folder), "--params", str(tmp_path / "mine.yaml"), *asked]) == 2
    assert (seen[0][1], seen[1][-1]) == seed


@pytest.mark.parametrize("main", [check.main, baseline.main])
def test_a_seed_below_0_is_refused(folder, main, capsys):
    assert main([str(folder), "--seed", "-1"]) == 2
    assert "seed is -1: use a whole number" in capsys.readouterr().err


def test_a_sheet_overwrites_sheets_only(folder, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    arguments = [str(folder), "--sheet", str(sheet)]
    assert check.main(arguments) == check.main(arguments) == 0
    Image.new("L", (9, 9)).save(sheet)
    before = sheet.read_bytes()
    capsys.readouterr()
    assert check.main(arguments) == 2
    assert "was not drawn by check: choose another name" in capsys.readouterr().err
    assert sheet.read_bytes() == before


def test_a_baseline_overwrites_its_own_files_only(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        baseline.baseline, "measure_baseline",
        lambda *_: {"text": "measured", "probabilities": np.zeros(60)},
    )  # fmt: skip
    monkeypatch.setattr(baseline.baseline, "draw_curve", lambda _: Image.new("L", (9, 9)))
    monkeypatch.setattr(Image.Image, "savefig", lambda self, path, **_: self.save(path), False)
    out = tmp_path / "out"
    arguments = [str(folder), "--out", str(out)]
    assert baseline.main(arguments) == baseline.main(arguments) == 0
    (out / "baseline.json").unlink()
    (out / "baseline.csv").write_text("mine")
    before = snapshot(out)
    assert capsys.readouterr().out.count("measured\n") == 2
    for target in (out, out / "baseline.csv", out / "baseline.csv" / "x"):
        assert baseline.main([str(folder), "--out", str(target)]) == 2
        assert "choose another OUT" in (said := capsys.readouterr()).err
        assert "measured" not in said.out
    assert snapshot(out) == before


def test_a_pattern_names_patients_that_the_table_does_not_know(folder):
    """The warning of unknown patients is then gone, too."""
    lines = [(i, int(i < 30), f"P{i}" if i else "unknown") for i in range(60)]
    write_labels(folder, lines, ("file", "sick", "patient"))
    unknown, named = (
        examine(folder, 0, {"patient_pattern": pattern} if pattern else {}, strict=False)
        for pattern in ("", r"(\d+)")
    )
    assert "unknown_patients" in {each["kind"] for each in unknown.warnings}
    assert "unknown_patients" not in {each["kind"] for each in named.warnings}


def test_a_pattern_that_finds_one_patient_is_refused(folder):
    with pytest.raises(CourseError, match="the same patient, head: put brackets"):
        read_folder(folder, patient_pattern="head")


def test_a_folder_without_patients_says_what_that_means(folder):
    kinds = {each["kind"] for each in examine(folder, 0, {}, strict=False).warnings}
    assert "unknown_patients" in kinds
    (folder / "groups.csv").write_text("file,group\nhead_ct/000.png,1\nhead_ct/001.png,1\n")
    kinds = {each["kind"] for each in examine(folder, 0, {}, strict=False).warnings}
    assert "unknown_patients" not in kinds, "somebody has thought of it"


def test_a_class_of_several_labels_names_them_all(folder):
    """With `positive`, all other labels are one class: a doubtful one among them."""
    lines = [(i, "tumour" if i < 30 else "clear" if i < 58 else "tumour?") for i in range(60)]
    write_labels(folder, lines)
    notes = " ".join(read_folder(folder, positive="tumour").reading.notes)
    assert "not tumour holds several labels: clear (28), tumour? (2)" in notes
    lines = [(i, "tumour" if i < 30 else "clear") for i in range(60)]
    write_labels(folder, lines)
    assert not read_folder(folder, positive="tumour").reading.notes


def test_a_message_says_how_its_option_is_typed(folder, capsys):
    lines = [(i, "sick" if i < 30 else "well") for i in range(60)]
    write_labels(folder, lines)
    assert check.main([str(folder)]) == 2
    assert "say which one is positive" in (said := capsys.readouterr().err)
    assert "typed as --label-column" in said
    assert check.main([str(folder), "--positive", "sick"]) == 0
    assert "patient_column" in (said := capsys.readouterr().out) and "typed as" in said
    (folder / "groups.csv").write_text("file,group\nhead_ct/000.png,1\nhead_ct/001.png,1\n")
    assert check.main([str(folder), "--positive", "sick"]) == 0
    assert "warning" not in (said := capsys.readouterr().out) and "typed as" not in said
    assert check.main([str(folder / "nowhere")]) == 2
    assert "typed as" not in capsys.readouterr().err


def test_pairs_are_named_for_programs(folder, capsys):
    (folder / "head_ct" / "001.png").write_bytes((folder / "head_ct" / "000.png").read_bytes())
    assert check.main([str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == [["head_ct/000.png", "head_ct/001.png"]]


def test_check_and_baseline_take_the_file_of_a_run(folder, tmp_path, capsys):
    """What is typed counts more; what says nothing about a folder is passed over."""
    lines = [(i, "sick" if i < 30 else "well") for i in range(60)]
    write_labels(folder, lines)
    mine = tmp_path / "mine.yaml"
    mine.write_text("positive: sick\ngan_steps: 700\nseed: 3\n")
    assert check.main([str(folder), "--params", str(mine)]) == 0
    assert "sick 30 (positive" in capsys.readouterr().out
    assert check.main([str(folder), "--params", str(mine), "--positive", "well"]) == 0
    assert "well 30 (positive" in capsys.readouterr().out
    mine.write_text("patient-column: pid\n")
    for main in (check.main, baseline.main):
        assert main([str(folder), "--params", str(mine)]) == 2
        assert "'patient-column': use patient_column" in capsys.readouterr().err
    assert check.main([str(folder), "--params", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml does not exist" in capsys.readouterr().err


def test_groups_csv_joins_what_it_names_and_nothing_else(folder):
    """Lines without a group are no group of all that say so, whichever way they say it."""
    (folder / "groups.csv").write_text(
        "file,group\n" + "".join(f"head_ct/{i:03}.png,\n" for i in range(20))
        + "head_ct/020.png,a\nhead_ct/021.png,a\nhead_ct/022.png,NA\nhead_ct/023.png,NA\n"
    )  # fmt: skip
    assert find_groups(read_folder(folder)).known == [[20, 21]]


def test_paths_of_windows_in_groups_csv_are_found(folder):
    """Also of an image that the listing leaves out."""
    write_labels(folder, rows()[:-1])
    (folder / "groups.csv").write_text(
        "file,group\nhead_ct\\020.png,a\nhead_ct\\021.png,a\nhead_ct\\059.png,a\n"
    )
    assert find_groups(read_folder(folder)).known == [[20, 21]]


@pytest.mark.parametrize("character", [b"\xe4", b"\x81"])
def test_a_listing_in_another_encoding_is_read_and_said(folder, character):
    """The second is a letter of Latin-1, and none of Windows' own."""
    listing = folder / "labels.csv"
    listing.write_bytes(listing.read_bytes().replace(b"id,", b"id" + character + b",", 1))
    assert any("was read as Latin-1" in note for note in read_folder(folder).reading.notes)


def test_a_long_number_finds_its_own_picture(folder):
    """As a float, 20230101123456789 is 20230101123456788, which is another picture's name."""
    numbers = ["20230101123456788", "20230101123456789"]
    for old, new in enumerate(numbers):
        (folder / f"head_ct/00{old}.png").rename(folder / f"head_ct/{new}.png")
    write_labels(folder, [(f"{number}.0", 1) for number in numbers] + rows()[2:])
    files = read_folder(folder).table["file"].tolist()
    assert files[:2] == [f"head_ct/{number}.png" for number in numbers]


def test_spaces_in_groups_csv_part_nobody_from_their_group(folder):
    (folder / "groups.csv").write_text(" file, group \nhead_ct/020.png, a\nhead_ct/021.png ,a \n")
    assert find_groups(read_folder(folder)).known == [[20, 21]]


def test_images_may_lie_in_a_folder_that_is_linked(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (folder / "head_ct").rename(elsewhere)
    (folder / "head_ct").symlink_to(elsewhere, target_is_directory=True)
    assert len(read_folder(folder).table) == 60


def test_whatever_pillow_stumbles_over_is_a_sentence(folder, monkeypatch):
    def stumble(*_, **__):
        raise struct.error("unpack requires a buffer of 2 bytes")

    monkeypatch.setattr("helpers.preprocessing.ImageOps.exif_transpose", stumble)
    with pytest.raises(CourseError, match=r"60 faults: .*head_ct/000\.png \(unpack requires"):
        read_folder(folder)


def test_a_name_in_groups_csv_that_is_no_path_is_answered_with_one(folder):
    (folder / "groups.csv").write_text("file,group\n001.png,a\n")
    with pytest.raises(CourseError, match=r"line 2: 001\.png is no .* as head_ct/000\.png"):
        find_groups(read_folder(folder))


def test_braces_in_a_file_name_do_not_break_the_error(folder):
    """The first image is the example in the sentence, whatever its name is."""
    (folder / "head_ct/000.png").rename(folder / "head_ct/0{b}{}.png")
    write_labels(folder, [("head_ct/0{b}{}.png", 1), *rows()[1:]])
    (folder / "groups.csv").write_text("file,group\n{0}.png,a\n")
    with pytest.raises(
        CourseError, match=r"line 2: \{0\}\.png is no .* as head_ct/0\{b\}\{\}\.png"
    ):
        find_groups(read_folder(folder))


@pytest.mark.parametrize(
    "text", [b"", b"file,group\na,b,c,d\na,b,c,d,e\n", b"file,group\n\xff,1\n"]
)
def test_an_unreadable_groups_csv_is_named(folder, text):
    (folder / "groups.csv").write_bytes(text)
    with pytest.raises(CourseError, match=r"groups\.csv") as caught:
        find_groups(read_folder(folder))
    assert "\n" not in str(caught.value)


def test_examining_a_folder_sees_another_grouping(folder):
    """The same pictures and labels under other groups are other data: their split differs."""
    before = examine(folder, 0, {}).fingerprint_with_groups
    (folder / "groups.csv").write_text("file,group\nhead_ct/000.png,1\nhead_ct/001.png,1\n")
    assert examine(folder, 0, {}).fingerprint_with_groups != before


# --- The real set --------------------------------------------------------------------------------


def test_real_groups_are_as_written_down(real):
    slices = read_folder(real)
    grouping = find_groups(slices)
    assert slices.table["mode"].value_counts().to_dict() == {"RGB": 188, "RGBA": 12}
    assert len(set(grouping.groups)) == 111
    series = [range(116, 128), range(129, 133), range(133, 139), range(139, 145), range(153, 162),
              range(162, 178), (104, 105, 184, 185, 186, 187)]  # fmt: skip
    same = [(188, 189), (198, 199), (11, 61), (105, 187), (73, 95), (10, 66), (12, 30), (4, 57),
            (5, 58), (5, 22), (9, 65), (104, 186), (145, 148), (146, 149), (147, 150)]  # fmt: skip
    neighbours = [(110, 111), (107, 108)]
    others = [(6, 100), (100, 101), (87, 88), (97, 98)]
    for seed in range(10):
        parts = preprocessing.split_groups(slices.table.label.to_numpy(), grouping.groups, seed)
        for i, j in [
            *same,
            *neighbours,
            *others,
            *(p for s in series for p in itertools.pairwise(s)),
        ]:
            assert parts[i] == parts[j]
        assert set(parts[162:178]) == {"train"}
        counts = {part: int(np.sum(parts == part)) for part in preprocessing.PARTS}
        assert counts["test"] == 22 and abs(counts["validation"] - 34) <= 1
    proposed = {pair[:2] for pair in grouping.proposed}
    assert proposed <= {*same, *neighbours}, "detection proposes no two people"
    assert len(proposed) == 9
