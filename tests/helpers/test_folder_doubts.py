"""Folders that could be read wrongly without a word: each is read rightly, or asked about."""

import numpy as np
import pytest
from folders import pictures, plain, save, write_csv, write_dicom

from helpers.files import CourseError
from helpers.folder import examine, read_folder


def write(folder, header, row, count=60, **how):
    """Pictures with a table; `row` gives a picture's cells after its name, by number and label."""
    rows = []
    for i, (grey, label) in enumerate(pictures(count)):
        save(folder / f"i{i:03}.png", grey)
        rows.append((f"i{i:03}.png", *row(i, label)))
    write_csv(folder / "labels.csv", ("file", *header), rows, **how)
    return rows


def in_folders(folder, place, count=60):
    """Pictures in folders; `place` gives a path by number and label."""
    for i, (grey, label) in enumerate(pictures(count)):
        save(folder / place(i, label), grey)


def said(folder, **options) -> str:
    """All warnings and notes."""
    found = examine(folder, 0, options, strict=False)
    reading = found.slices.reading
    return "\n".join([*(f"{w['kind']}: {w['text']}" for w in found.warnings), *reading.notes])


# --- Which column is the label -------------------------------------------------------------------


def test_numbers_that_stand_for_the_other_word_are_not_the_label(tmp_path):
    """LabelEncoder numbers words by the alphabet, so MEL is 0 and NV is 1."""
    rows = write(tmp_path, ("label", "diagnosis"), lambda _, k: (1 - k, ("NV", "MEL")[k]))
    slices = read_folder(tmp_path, positive="MEL")
    found = dict(zip(slices.table["file"], slices.table["label"], strict=True))
    assert slices.reading.columns["label"] == "diagnosis" and slices.names == ("NV", "MEL")
    assert all(found[name] == (word == "MEL") for name, _, word in rows)


def test_numbers_that_stand_for_the_word_are_the_label(tmp_path):
    """Also where the others have no word."""
    write(tmp_path, ("label", "diagnosis"), lambda _, k: (k, ("", "MEL")[k]))
    assert read_folder(tmp_path, positive="MEL").reading.columns["label"] == "label"


@pytest.mark.parametrize("words", [("", "malignant"), ("benign", "malignant")])
def test_empty_cells_beside_a_whole_column_of_numbers_contradict_nothing(tmp_path, words):
    write(tmp_path, ("label", "pathology"), lambda i, k: (k, words[k] if i > 9 else ""))
    found = read_folder(tmp_path, positive="malignant")
    assert found.reading.columns["label"] == "label" and found.table["label"].sum() == 30


def test_a_word_in_a_remark_does_not_ask(tmp_path):
    write(tmp_path, ("label", "comment"), lambda i, k: (k, "tumour" if k and i < 9 else ""))
    assert read_folder(tmp_path, positive="tumour").reading.columns["label"] == "label"


@pytest.mark.parametrize(("header", "words"), [
    (("report", "portable"), lambda i, k: ("|".join(["Effusion"] * k + [f"other{i}"]), i % 2)),
    (("malignant", "category"), lambda i, k: (("no", "Effusion")[k], ("CT", "MR")[i % 2])),
])  # fmt: skip
def test_a_column_without_the_positive_word_is_asked_about(tmp_path, header, words):
    write(tmp_path, header, words)
    asked = rf"Effusion is a word in column {header[0]}.* label_column: {header[0]}"
    with pytest.raises(CourseError, match=asked):
        read_folder(tmp_path, positive="Effusion")
    found = read_folder(tmp_path, positive="Effusion", label_column=header[0])
    assert found.table["label"].sum() == 30


def test_what_1_stands_for_is_noted(tmp_path):
    write(tmp_path, ("treated",), lambda _, k: (k,))
    assert "1 in column treated is read as tumour" in said(tmp_path, positive="tumour")
    assert "is read as" not in said(tmp_path, positive="treated")
    plain(tmp_path / "usual")
    assert "is read as" not in said(tmp_path / "usual", positive="tumour")


@pytest.mark.parametrize("name", ["sexe", "Geschlecht", "a\u0302ge", "性別"])
def test_the_sex_is_no_label_in_any_language(tmp_path, name):
    write(tmp_path, (name,), lambda _, k: (k,))
    with pytest.raises(CourseError, match="by its name it does not"):
        read_folder(tmp_path, positive="tumeur")


@pytest.mark.parametrize("name", ["bénin", "be\u0301nin", "gutartig", "良性"])
def test_1_may_mean_benign_in_any_language(tmp_path, name):
    write(tmp_path, (name,), lambda _, k: (k,))
    with pytest.raises(CourseError, match="unlikely to be the positive class"):
        read_folder(tmp_path, positive="malin")


def test_a_decimal_comma_parts_no_findings(tmp_path):
    write(tmp_path, ("label",), lambda i, k: (("0,0", "0,1", "1,0")[k + (i % 3 == 0) * k],))
    slices = read_folder(tmp_path, positive="1")
    whole = {e for e, k in zip(slices.table["file"], slices.table["label"], strict=True) if k}
    rows = [(f"i{i:03}.png", k and i % 3 == 0) for i, (_, k) in enumerate(pictures(60))]
    assert whole == {name for name, is_whole in rows if is_whole}
    with pytest.raises(CourseError, match=r"all labels are 1"):
        read_folder(write_commas(tmp_path / "one"), positive="1")


def test_a_comma_parts_codes_where_some_label_has_three(tmp_path):
    words = ("0", "5", "3", "3,5", "1,3,5")
    write(tmp_path, ("label",), lambda i, k: (words[i % 2 + 2 * k + (i % 5 == 0) * k],))
    slices = read_folder(tmp_path, positive="3")
    assert slices.table["label"].tolist() == [k for _, k in pictures(60)]


def write_commas(folder):
    write(folder, ("label",), lambda i, _: (("1,0", "1")[i % 2],))
    return folder


def test_a_positive_class_of_several_labels_is_noted(tmp_path):
    words = ("Nevus", "Melanoma", "Nevus / Melanoma")
    write(tmp_path, ("diagnosis",), lambda i, k: (words[k + k * (i % 3 == 0)],))
    assert "holds all labels with this word: Melanoma (" in said(tmp_path, positive="Melanoma")


def test_negatives_that_are_left_out_are_not_told_of_as_positive(tmp_path):
    write(tmp_path, ("label",), lambda _, k: (("benign", "malignant")[k],))
    empty = [f"i{i:03}.png" for i, (_, k) in enumerate(pictures(60)) if not k][:3]
    for name in empty:
        save(tmp_path / name, np.zeros((48, 48), np.uint8))
    text = said(tmp_path, positive="malignant", leave_out=["blank"])
    assert "left out: 3 blank" in text and "holds all labels" not in text


# --- Which images, and whose ---------------------------------------------------------------------


def test_numbers_of_patients_are_no_numbers_of_images(tmp_path):
    for i, (grey, _) in enumerate(pictures(60)):
        save(tmp_path / "images" / f"{i + 1:03}.png", grey)
    rows = [(p + 1, p % 2) for p in range(30)]
    write_csv(tmp_path / "patients.csv", ("Patient ID", "Diagnosis"), rows)
    with pytest.raises(CourseError, match="could be those of images here"):
        read_folder(tmp_path)


def test_numbers_of_images_may_stand_under_case_id(tmp_path):
    for i, (grey, _) in enumerate(pictures(60)):
        save(tmp_path / "images" / f"{i + 1}.png", grey)
        save(tmp_path / "masks" / f"{i + 1}_mask.png", grey)
    rows = [(i + 1, k) for i, (_, k) in enumerate(pictures(60))]
    write_csv(tmp_path / "labels.csv", ("case_id", "label"), rows)
    assert len(read_folder(tmp_path).table) == 60


def test_a_stage_or_a_sequence_is_no_patient(tmp_path):
    write(tmp_path / "a", ("label", "pT"), lambda i, k: (k, f"T{i % 4 + 1}{'ab'[i % 2]}"))
    assert "column pT has 4 values for 60 images: if they are patients" in said(tmp_path / "a")
    kinds = ["T1w", "T2w", "FLAIR", "DWI", "ADC", "SWI"]
    write(tmp_path / "b", ("label", "series"), lambda i, k: (k, kinds[i % 6]))
    assert "column series has 6 values for 60 images: if they are" in said(tmp_path / "b")
    write(tmp_path / "c", ("label", "series"), lambda i, k: (k, f"S{i // 10}"))
    assert read_folder(tmp_path / "c").reading.columns["patient"] == "series"
    hexadecimal = [f"{'abcdef'[i % 6]}{i}{'xyz'[i % 3]}{i * i}" for i in range(6)]
    write(tmp_path / "e", ("label", "StudyInstanceUID"), lambda i, k: (k, hexadecimal[i // 10]))
    assert read_folder(tmp_path / "e").reading.columns["patient"] == "StudyInstanceUID"
    write(tmp_path / "d", ("label", "pt"), lambda i, k: (k, f"P{i // 3}"))
    assert read_folder(tmp_path / "d").reading.columns["patient"] == "pt"


def test_one_patient_written_in_three_ways_is_one(tmp_path):
    spellings = ("P{:02}", "p{}", "P-{:03}")
    write(tmp_path, ("label", "patient"), lambda i, k: (k, spellings[i % 3].format(i // 3)))
    assert len(set(examine(tmp_path, 0, {}).grouping.groups)) == 20


@pytest.mark.parametrize(("form", "warned"), [("{}-{}", True), ("{}_O{}", True), ("{1}{0}", False)])
def test_eyes_that_are_named_as_patients_are_warned_of(tmp_path, form, warned):
    sides = "DS" if "O" in form else "LR"
    write(tmp_path, ("label", "case_id"), lambda i, k: (k, form.format(i // 2, sides[i % 2])))
    assert ("may name eyes or sides" in said(tmp_path)) == warned


def test_a_study_that_is_in_all_files_is_no_patient(tmp_path):
    for i, (grey, k) in enumerate(pictures(60)):
        path = tmp_path / ("ill" if k else "well") / f"{i}.dcm"
        path.parent.mkdir(exist_ok=True)
        write_dicom(path, grey.astype(np.uint16), PatientID=f"P{i}", StudyInstanceUID="1.2.3.4")
    text = said(tmp_path, positive="ill")
    assert "one DICOM StudyInstanceUID is in all files and was not used" in text
    assert len(set(examine(tmp_path, 0, {"positive": "ill"}).grouping.groups)) == 60


def test_copies_in_a_folder_of_their_own_stay_with_their_pictures(tmp_path):
    rng = np.random.default_rng(0)
    for i, (grey, k) in enumerate(pictures(60)):
        name = ("well", "ill")[k]
        save(tmp_path / "original" / name / f"{i:03}.png", grey)
        for copy in range(2):  # noise alone, so that only the name can tell
            noise = rng.integers(0, 255, (48, 48), dtype=np.uint8)
            save(tmp_path / "augmented" / name / f"{i:03}_{copy}.png", noise)
    save(tmp_path / "augmented" / "ill" / "another.png", rng.integers(0, 255, (48, 48), np.uint8))
    found = examine(tmp_path, 0, {"positive": "ill"})
    assert len(set(found.grouping.groups)) == 61
    text = said(tmp_path, positive="ill")
    assert "1 image lies in a folder of augmented copies" in text and "another.png" in text


def test_copies_that_groups_csv_names_are_not_warned_of(tmp_path):
    in_folders(
        tmp_path,
        lambda i, k: f"{('original', 'augmented')[i % 2]}/{'ab'[k]}/x{i // 2}{'yz'[i % 2]}.png",
    )
    assert "in a folder of augmented copies" in said(tmp_path, positive="b")
    names = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png")]
    rows = [(name, name.split("/x")[1][:-5]) for name in names]
    write_csv(tmp_path / "groups.csv", ("file", "group"), rows)
    assert "in a folder of augmented copies" not in said(tmp_path, positive="b")
    in_folders(tmp_path / "m", lambda i, k: f"{('Jul 2019', 'Aug 2019')[i % 2]}/{'ab'[k]}/{i}.png")
    assert "augmented" not in said(tmp_path / "m", positive="b")


def test_copies_of_few_pictures_stay_together(tmp_path):
    def place(i, k):
        return f"{'ab'[k]}/{f'Y{100 + i % 2}_flip' if i % 4 < 2 and k else 'z'}_{i}.png"

    in_folders(tmp_path, place)
    named = examine(tmp_path, 0, {"positive": "b"}, strict=False).grouping.named
    assert sorted({len(each) for each in named}) == sorted(
        {len(each) for each in named if len(each) > 4}
    )
    assert len(named) == 2


def test_a_word_in_all_names_is_no_copy(tmp_path):
    in_folders(tmp_path, lambda i, k: f"{('well', 'ill')[k]}/T1_contrast_{i:03}.png")
    assert len(set(examine(tmp_path, 0, {"positive": "ill"}).grouping.groups)) == 60


def test_a_folder_inside_a_class_is_noted(tmp_path):
    def place(i, k):
        return f"{('well', 'ill')[k]}/{'excluded/' * (i % 6 == 0)}{i:03}.png"

    in_folders(tmp_path, place)
    text = said(tmp_path, positive="ill")
    assert "10 images lie in folders inside those of a class, and are used: " in text
    in_folders(tmp_path / "b", lambda i, k: f"{('well', 'ill')[k]}/p{i // 3}/{i:03}.png")
    assert "inside those of a class" not in said(tmp_path / "b", positive="ill")


def test_the_range_of_stored_values_may_give_the_label_away(tmp_path):
    for i, (grey, k) in enumerate(pictures(60)):
        save(tmp_path / ("well", "ill")[k] / f"{i}.png", grey.astype(np.uint16) * (64, 257)[k])
    assert "stored range (AUC 1.00)" in said(tmp_path, positive="ill")


def test_brighter_pictures_of_one_range_are_no_other_source(tmp_path):
    for i, (grey, k) in enumerate(pictures(60)):
        deep = grey.astype(np.uint16) * 3 + (400 * (grey > 230) if k else 0)
        save(tmp_path / ("well", "ill")[k] / f"{i}.png", deep.astype(np.uint16))
    assert "stored range" not in said(tmp_path, positive="ill")


# --- What the messages say -----------------------------------------------------------------------


@pytest.mark.parametrize(("place", "names"), [
    (lambda i, k: f"ill/{i}.png" if k else f"well/H{i % 9}/{i}.png", ("well", "ill")),
    (lambda i, k: f"ill/{i}.png" if k else f"not-ill/{'ab'[i % 2]}/{i}.png", ("not-ill", "ill")),
])  # fmt: skip
def test_a_positive_class_that_all_readings_share_is_enough(tmp_path, place, names):
    in_folders(tmp_path, place)
    assert read_folder(tmp_path, positive="ill").names == names


def test_a_group_called_test_is_a_class_beside_another_one(tmp_path):
    in_folders(tmp_path, lambda i, k: f"{('Control', 'Test')[k]}/{i}.png")
    assert read_folder(tmp_path, positive="Test").names == ("Control", "Test")
    in_folders(tmp_path / "b", lambda i, k: f"{('test', 'train')[i % 2]}/{'ab'[k]}/{i}.png")
    found = read_folder(tmp_path / "b", positive="b")
    assert found.names == ("a", "b") and set(found.table["given"]) == {"test", "train"}


def test_images_without_labels_in_test_are_no_class(tmp_path):
    in_folders(tmp_path, lambda i, k: f"{'test' if i < 10 else ('well', 'ill')[k]}/{i}.png")
    assert len(read_folder(tmp_path, positive="ill").table) == 50
    rows = write(tmp_path / "b" / "test", ("malignant",), lambda _, k: (k,))
    for i, (name, *_) in enumerate(rows):
        if i % 2:
            (tmp_path / "b" / "trainval").mkdir(exist_ok=True)
            (tmp_path / "b" / "test" / name).rename(tmp_path / "b" / "trainval" / name)
    (tmp_path / "b" / "test" / "labels.csv").rename(tmp_path / "b" / "labels.csv")
    assert len(read_folder(tmp_path / "b", positive="malignant").table) == 60


def test_a_misspelt_positive_class_chooses_no_folders(tmp_path):
    in_folders(tmp_path, lambda i, k: f"{i % 2}/{('benign', 'malign')[k]}/{i}.png")
    with pytest.raises(CourseError, match=r"the folders 1 and 0, or|the folders 0 and 1, or"):
        read_folder(tmp_path, positive="malignant")


def test_masks_in_the_place_of_images_get_advice_that_helps(tmp_path):
    for i, (grey, k) in enumerate(pictures(60)):
        save(tmp_path / "images" / f"{i:03}.png", grey)
        mask = np.kron(np.roll(np.eye(2), k, axis=0), np.ones((24, 24)))
        save(tmp_path / "annotations" / f"{i:03}.png", mask.astype(np.uint8) * 255)
    rows = [(f"{i:03}.png", k) for i, (_, k) in enumerate(pictures(60))]
    write_csv(tmp_path / "annotations" / "labels.csv", ("file", "label"), rows)
    text = said(tmp_path)
    assert "name the images themselves, with their folder" in text and "leave_out" not in text


@pytest.mark.parametrize(("name", "words"), [
    ("well/a.heic", r"only ill holds images; .*which are not read: \.heic \(1\)"),
    ("well.zip", r"only ill holds images; .*unpack the zip file"),
])  # fmt: skip
def test_a_class_without_images_is_told_what_is_there(tmp_path, name, words):
    in_folders(tmp_path, lambda i, _: f"ill/{i}.png", count=4)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CourseError, match=words):
        read_folder(tmp_path, positive="ill")


def test_links_to_nothing_are_named(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").symlink_to(tmp_path / "gone")
    with pytest.raises(CourseError, match=r"holds no image .links to files that are not there: 3,"):
        read_folder(tmp_path)


def test_letters_that_were_read_wrongly_are_said_to_be(tmp_path):
    rows = write(tmp_path, ("Diagnose",), lambda _, k: (("gutartig", "b\u00f6sartig")[k],))
    lines = ["file,Diagnose", *(",".join(row) for row in rows)]
    (tmp_path / "labels.csv").write_bytes("\n".join(lines).encode("mac_roman"))
    with pytest.raises(CourseError, match=r"read as Latin-1; if letters are wrong, save it as CSV"):
        read_folder(tmp_path, positive="b\u00f6sartig")


def test_a_spreadsheet_beside_folders_and_tables_of_parts_get_a_way_on(tmp_path):
    in_folders(tmp_path, lambda i, k: f"{('well', 'ill')[k]}/{i}.png")
    (tmp_path / "clinical data.xlsx").write_bytes(b"x")
    with pytest.raises(CourseError, match=r"save it as CSV.*give listing: none"):
        read_folder(tmp_path, positive="ill")
    for name in ("train.csv", "test.csv"):
        write_csv(tmp_path / name, ("file", "label"), [("1.png", 0)])
    with pytest.raises(CourseError, match=r"join them into one labels\.csv, with a column split"):
        read_folder(tmp_path, positive="ill")


def test_a_patients_column_of_two_words_may_be_the_label(tmp_path):
    write(tmp_path, ("patient", "age"), lambda i, k: (k, 20 + i % 50))
    with pytest.raises(CourseError, match=r"\(age, patient\): name it as label_column"):
        read_folder(tmp_path)
