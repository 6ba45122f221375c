"""What people really bring, one test a kind: read with the right value, or refused rightly."""

import json
import re
import unicodedata

import numpy as np
import pytest
from folders import picture, pictures, plain, save, write_csv
from PIL import Image, ImageOps

from course import check
from helpers.files import CourseError
from helpers.folder import choose_parts, examine, find_groups, lines, read_folder
from helpers.folder.labels import two_classes
from helpers.folder.patients import PATTERNS


def labels_of(slices) -> dict[str, int]:
    return dict(zip(slices.table["file"], slices.table["label"], strict=True))


def groups_of(slices) -> int:
    return len(set(find_groups(slices).groups))


# --- Layouts -------------------------------------------------------------------------------------


def test_a_folder_a_class(tmp_path):
    truth = {}
    for i, (grey, k) in enumerate(pictures(40)):
        path = f"{'yes' if k else 'no'}/{f'Y{i}.jpg' if k else f'{i} no.jpeg'}"
        save(tmp_path / path, grey)
        truth[path] = k
    slices = read_folder(tmp_path)
    assert labels_of(slices) == truth and slices.names == ("no", "yes")


@pytest.mark.parametrize("below", [True, False])
@pytest.mark.parametrize("above", ["", "archive/brain tumour/"])
def test_train_and_test_folders_of_classes(tmp_path, below, above):
    truth, parts = {}, {}
    for i, (grey, k) in enumerate(pictures(60)):
        part, word = ("train", "test", "val")[i % 3], ("NORMAL", "PNEUMONIA")[k]
        folders = f"{word}/{part}" if below else f"{part}/{word}"
        path = f"{above}{folders}/IM-{i // 3:04}.jpeg"  # the same name again in each part
        save(tmp_path / path, grey)
        truth[path] = k
        parts[path] = {"val": "validation"}.get(part, part)
    with pytest.raises(CourseError, match="'NORMAL' and 'PNEUMONIA': say which one is positive"):
        read_folder(tmp_path)
    slices = read_folder(tmp_path, positive="pneumonia")
    assert labels_of(slices) == truth and slices.names == ("NORMAL", "PNEUMONIA")
    assert dict(zip(slices.table["file"], slices.table["given"], strict=True)) == parts


def test_the_same_names_in_each_part_and_a_listing_of_bare_names(tmp_path):
    rows, truth = [], {}
    for i, (grey, k) in enumerate(pictures(90)):
        part = ("train", "test", "val")[i % 3]
        path = f"{part}/{('NORMAL', 'PNEUMONIA')[k]}/IM-{i // 3:04}.jpeg"
        save(tmp_path / path, grey)
        truth[path] = k
        rows.append((path.rsplit("/", 1)[1], k, part))
    write_csv(tmp_path / "labels.csv", ("filename", "label", "split"), rows)
    assert labels_of(read_folder(tmp_path)) == truth
    write_csv(tmp_path / "labels.csv", ("filename", "label"), [row[:2] for row in rows])
    with pytest.raises(CourseError, match="has 90 faults: two images could be meant in line 2"):
        read_folder(tmp_path)


def test_a_split_column_is_kept_on_request_and_otherwise_said_to_be_dropped(tmp_path):
    rows = plain(tmp_path, 90)
    write_csv(
        tmp_path / "labels.csv", ("file", "label", "split"),
        [(*row, "test" if i < 20 else "Train") for i, row in enumerate(rows)],
    )  # fmt: skip
    given = examine(tmp_path, 0, {"given_split": True})
    assert (given.part[:20] == "test").all() and set(given.part[20:]) == {"train", "validation"}
    assert given.slices.reading.columns["split"] == "split"
    said = "\n".join(lines(examine(tmp_path, 0, {})))
    assert "given split (split): not kept; given_split: true keeps it" in said


def test_another_given_split_is_other_data_only_where_it_is_kept(tmp_path):
    rows = plain(tmp_path, 90)
    found = {}
    for start in (0, 20):
        parts = ["test" if start <= i < start + 20 else "train" for i in range(90)]
        listed = [(*row, part) for row, part in zip(rows, parts, strict=True)]
        write_csv(tmp_path / "labels.csv", ("file", "label", "split"), listed)
        for kept in (True, False):
            found[start, kept] = read_folder(tmp_path, given_split=kept).fingerprint
    assert found[0, True] != found[20, True] and found[0, False] == found[20, False]


def test_a_patient_across_a_given_split_is_named(tmp_path):
    rows = plain(tmp_path, 90)
    write_csv(
        tmp_path / "labels.csv", ("file", "label", "split", "patient"),
        [(*row, "test" if i < 20 else "train", f"P{i // 3}") for i, row in enumerate(rows)],
    )  # fmt: skip
    with pytest.raises(CourseError, match=r"1 groups .* cross the given split \(018\.png and 019"):
        examine(tmp_path, 0, {"given_split": True})


@pytest.mark.parametrize("name", ["a/labels.csv", "metadata.csv", "Labels.csv", "x/y/truth.tsv"])
def test_any_single_listing_is_found(tmp_path, name):
    rows = plain(tmp_path / "images")
    (tmp_path / "images/labels.csv").unlink()
    mark = "\t" if name.endswith("tsv") else ","
    write_csv(tmp_path / name, ("file", "label"), rows, delimiter=mark)
    slices = read_folder(tmp_path)
    assert labels_of(slices) == {f"images/{file}": k for file, k in rows}
    assert slices.reading.listing == name


def test_labels_csv_is_found_below_another_table(tmp_path):
    rows = plain(tmp_path / "images", name="{}.png")
    (tmp_path / "images/labels.csv").unlink()
    write_csv(tmp_path / "people.csv", ("patient", "age"), [(f"P{i}", i) for i in range(60)])
    write_csv(tmp_path / "meta/labels.csv", ("file", "label"), rows)
    assert labels_of(read_folder(tmp_path)) == {f"images/{file}": k for file, k in rows}
    (tmp_path / "meta/labels.csv").rename(tmp_path / "meta/truth.csv")
    write_csv(tmp_path / "people.csv", ("patient", "height"), [(f"P{i}", 180) for i in range(60)])
    with pytest.raises(CourseError, match=r"no named column .* as listing: meta/truth\.csv"):
        read_folder(tmp_path)


def test_of_several_listings_one_has_to_be_named(tmp_path):
    rows = plain(tmp_path)
    (tmp_path / "labels.csv").rename(tmp_path / "one.csv")
    write_csv(tmp_path / "two.csv", ("file", "label"), [(a, 1 - b) for a, b in rows])
    with pytest.raises(CourseError, match=r"one\.csv, two\.csv.*listing: one\.csv"):
        read_folder(tmp_path)
    assert labels_of(read_folder(tmp_path, listing="one.csv")) == dict(rows)


def test_a_class_folder_around_both_classes_is_no_third_class(tmp_path):
    """As a well-known archive of brain MR slices unpacks: the same folders again in a third."""
    for i, (grey, k) in enumerate(pictures(40)):
        for above in ("", "brain_tumor_dataset/"):
            save(tmp_path / f"{above}{('no', 'yes')[k]}/{i}.png", grey)
    slices = read_folder(tmp_path, positive="yes")
    assert all(("yes" in file) == k for file, k in labels_of(slices).items())
    assert len(slices.table) == 80 and groups_of(slices) == 40


def test_two_levels_of_two_folders_are_two_readings(tmp_path):
    for i, (grey, k) in enumerate(pictures(40)):
        save(tmp_path / f"{('left', 'right')[i % 2]}/{('no', 'yes')[k]}/{i}.png", grey)
    with pytest.raises(CourseError, match="could be the classes") as caught:
        read_folder(tmp_path)
    assert all(word in str(caught.value) for word in ("left", "right", "yes", "no"))
    assert read_folder(tmp_path, positive="yes").names == ("no", "yes")


@pytest.mark.parametrize("words", [("no", "yes"), ("0", "1"), ("NORMAL", "PNEUMONIA")])
def test_a_listing_that_contradicts_the_folders(tmp_path, words):
    rows = []
    for i, (grey, k) in enumerate(pictures(60)):
        rows.append((f"{words[k]}/{i}.png", k))
        save(tmp_path / rows[-1][0], grey)
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    assert labels_of(read_folder(tmp_path)) == dict(rows)
    swapped = [(file, 1 - k if i < 5 else k) for i, (file, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label"), swapped)
    if words[0] != "NORMAL":
        with pytest.raises(CourseError, match="another label than the folder for 5 images"):
            read_folder(tmp_path)
        assert labels_of(read_folder(tmp_path, listing="none")) == dict(rows)
        assert labels_of(read_folder(tmp_path, listing="labels.csv")) == dict(swapped)
    else:
        warning, of_patients = examine(tmp_path, 0, {}).warnings
        assert warning["kind"] == "folders" and warning["text"].startswith("5 images are in")
        assert of_patients["kind"] == "unknown_patients"


@pytest.mark.parametrize("words", [("healthy", "tumour"), ("normal", "benign", "malignant")])
@pytest.mark.parametrize("where", ["info.csv", "healthy/info.csv"])
def test_a_table_of_something_else_beside_class_folders_is_no_label(tmp_path, words, where):
    """As who smokes: the classes could be the folders, or this column."""
    rows = []
    for i, (grey, k) in enumerate(pictures(80)):
        path = f"{words[k + (i % 3 > 1 if len(words) > 2 else 0)]}/{i:03}.png"
        save(tmp_path / path, grey)
        rows.append((path, int(i % 4 > 1)))
    several = len(words) > 2
    inside = [row for row in rows if row[0].startswith(where.split("/")[0])]
    table = tmp_path / where.replace("healthy", words[0])
    write_csv(table, ("file", "smoker"), inside if inside and not several else rows)
    asked = [{"positive": words[-1]}] + [{}] * (not several)
    for options in asked:
        with pytest.raises(CourseError, match=r"listing: none .* label_column: smoker"):
            read_folder(tmp_path, **options)
    read = read_folder(tmp_path, positive=words[-1], listing="none")
    assert labels_of(read) == {path: int(path.startswith(words[-1])) for path, _ in rows}
    read = read_folder(tmp_path, label_column="smoker")
    assert labels_of(read).items() <= dict(rows).items()


def test_a_positive_folder_that_the_table_calls_0_is_two_readings(tmp_path):
    rows = []
    for i, (grey, k) in enumerate(pictures(40)):
        rows.append((f"{('left', 'right')[k]}/{i}.png", 1 - k))
        save(tmp_path / rows[-1][0], grey)
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    assert labels_of(read_folder(tmp_path, positive="left")) == dict(rows)
    with pytest.raises(CourseError, match=r"folders .*left.* or the values in column label"):
        read_folder(tmp_path, positive="right")


@pytest.mark.parametrize("option", ["id_column", "label_column", "patient_column"])
def test_a_column_is_refused_where_no_table_is_read(tmp_path, option):
    for i, (grey, k) in enumerate(pictures(40)):
        save(tmp_path / f"{('no', 'yes')[k]}/{i}.png", grey)
    for more in ({}, {"listing": "none"}):
        with pytest.raises(CourseError, match=f"{option} is who, but the folders are the classes"):
            read_folder(tmp_path, **{option: "who"}, **more)
        rows = [(f"{i}.png", i // 2) for i in range(40)]
        write_csv(tmp_path / "info.csv", ("file", "who"), rows)


@pytest.mark.parametrize("more", [(), ("sex",)])
def test_a_table_of_patients_beside_class_folders_names_the_way_out(tmp_path, more):
    rows = []
    for i, (grey, k) in enumerate(pictures(40)):
        rows.append((f"{('no', 'yes')[k]}/{i}.png", f"P{i // 2}", *("mf"[i % 2] for _ in more)))
        save(tmp_path / rows[-1][0], grey)
    write_csv(tmp_path / "patients.csv", ("file", "patient", *more), rows)
    with pytest.raises(CourseError, match=r"listing: none, .* groups.csv \(header file,group\)"):
        read_folder(tmp_path)
    write_csv(tmp_path / "groups.csv", ("file", "group"), [row[:2] for row in rows])
    slices = read_folder(tmp_path, listing="none")
    assert groups_of(slices) == len({group for _, group, *_ in rows})
    assert "tables that are not used: patients.csv" in slices.reading.notes


@pytest.mark.parametrize("name", ["groups.csv", "Groups.csv", "GROUPS.CSV", "meta/groups.csv"])
@pytest.mark.parametrize("listed", [False, True])
def test_groups_are_read_or_refused_wherever_they_are(tmp_path, name, listed):
    rows = []
    for i, (grey, k) in enumerate(pictures(40)):
        rows.append((f"{('no', 'yes')[k]}/{i}.png", k))
        save(tmp_path / rows[-1][0], grey)
    if listed:
        write_csv(tmp_path / "meta/labels.csv", ("file", "label"), rows)
    write_csv(tmp_path / name, ("file", "group"), [(f, i // 2) for i, (f, _) in enumerate(rows)])
    if "/" in name and not listed:
        with pytest.raises(
            CourseError, match=r"holds meta/groups\.csv: keep one groups\.csv, and put"
        ):
            read_folder(tmp_path)
    else:
        slices = read_folder(tmp_path)
        assert groups_of(slices) == 20 and not slices.reading.notes
    write_csv(tmp_path / "no/groups.csv", ("file", "group"), [(rows[0][0], 1)])
    with pytest.raises(CourseError, match=r"no/groups\.csv.*: keep one"):
        read_folder(tmp_path)


@pytest.mark.parametrize("words", [("TR", "normal"), ("normal", "DEV"), ("valid", "invalid")])
def test_a_class_called_as_a_part_is_a_class(tmp_path, words):
    truth = {}
    for i, (grey, k) in enumerate(pictures(40)):
        truth[f"{words[k]}/{i}.png"] = k
        save(tmp_path / f"{words[k]}/{i}.png", grey)
    assert labels_of(read_folder(tmp_path, positive=words[1])) == truth


@pytest.mark.parametrize(
    "parts", [("train_set", "test_set"), ("TRN", "VAL"), ("Training data", "test-images")]
)
def test_parts_by_other_names(tmp_path, parts):
    for i, (grey, k) in enumerate(pictures(60)):
        save(tmp_path / f"{parts[i % 3 == 0]}/{('healthy', 'tumour')[k]}/{i}.png", grey)
    slices = read_folder(tmp_path, positive="tumour")
    assert set(slices.table["given"]) == {"train", "validation" if parts[1] == "VAL" else "test"}


def test_a_text_of_labels_is_not_passed_by(tmp_path):
    """The folders beside it may be folds."""
    rows = []
    for i, (grey, k) in enumerate(pictures(40)):
        rows.append((f"{i % 2}/{i}.png", k))
        save(tmp_path / rows[-1][0], grey)
    write_csv(tmp_path / "labels.txt", ("file", "label"), rows)
    with pytest.raises(CourseError, match=r"give listing: labels\.txt, or, .* listing: none"):
        read_folder(tmp_path)
    assert labels_of(read_folder(tmp_path, listing="labels.txt")) == dict(rows)
    assert labels_of(read_folder(tmp_path, listing="none")) == {f: int(f[0]) for f, _ in rows}
    (tmp_path / "labels.txt").rename(tmp_path / "labels.json")
    with pytest.raises(CourseError, match=r"labels\.json, which is no CSV: save it as CSV"):
        read_folder(tmp_path)


def test_files_that_are_not_read_are_counted(tmp_path):
    for i, (grey, k) in enumerate(pictures(40)):
        save(tmp_path / f"{k}/{i}.png", grey)
        (tmp_path / f"{k}/{i}.heic").write_bytes(b"\0\0\0\x18ftypheic")
        if i < 10:
            (tmp_path / f"{k}/IM{i}").write_bytes(b"\x89PNG")
            (tmp_path / f"{k}/x{i}.png").symlink_to(tmp_path / ".git/annex/objects/x")
    (tmp_path / "README.md").write_text("mine")
    kinds, links = read_folder(tmp_path).reading.notes
    assert kinds == "files of other kinds, which are not read: .heic (40), no ending (10)"
    assert links.startswith("links to files that are not there: 10, such as 0/x")


def test_tables_in_each_class_folder_may_be_none(tmp_path):
    for i, (grey, k) in enumerate(pictures(40)):
        save(tmp_path / f"{('no', 'yes')[k]}/{i}.png", grey)
    for name in ("no", "yes"):
        write_csv(tmp_path / name / "info.csv", ("file", "age"), [("1.png", 7)])
    with pytest.raises(CourseError, match=r"if the folders are the classes, listing: none"):
        read_folder(tmp_path)


# --- Columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["", "Unnamed: 0", "row", "Unnamed: 0.1"])
def test_a_shuffled_index_is_never_the_id(tmp_path, head):
    rows = plain(tmp_path, 80)
    order = np.random.default_rng(5).permutation(80)
    listed = [(n, *rows[i]) for n, i in enumerate(order)]
    write_csv(tmp_path / "labels.csv", (head, "filename", "label"), listed)
    slices = read_folder(tmp_path)
    assert labels_of(slices) == dict(rows)
    assert slices.reading.columns["file"] == "filename"


@pytest.mark.parametrize("head", ["", "Unnamed: 0"])
def test_an_unnamed_index_alone_names_nothing(tmp_path, head):
    rows = plain(tmp_path, 80)
    write_csv(tmp_path / "labels.csv", (head, "label"), [(i, k) for i, (_, k) in enumerate(rows)])
    with pytest.raises(CourseError, match=r"(no named column|header with an id)"):
        read_folder(tmp_path)


def test_a_numbered_column_beside_names_of_other_files_is_no_id(tmp_path):
    """Renamed pictures, listed by their old names: the row's number is no evidence."""
    rows = plain(tmp_path, 80)
    listed = [(i, f"scan{i:04}.png", k) for i, (_, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("nr", "filename", "label"), listed)
    with pytest.raises(CourseError, match=r"filename names files that are not here \(scan0000"):
        read_folder(tmp_path)


def test_some_missing_files_do_not_make_the_index_an_id(tmp_path):
    rows = plain(tmp_path, 80)
    listed = [(n, *rows[i]) for n, i in enumerate(np.random.default_rng(1).permutation(80))]
    write_csv(tmp_path / "labels.csv", ("index", "file", "label"), listed)
    for i in (3, 30):
        (tmp_path / f"{i:03}.png").unlink()
    with pytest.raises(CourseError, match=r"2 faults: no image in the folder for line \d+ \(0"):
        read_folder(tmp_path)


def test_images_and_masks_in_two_columns_are_two_readings(tmp_path):
    rows = plain(tmp_path, 40)
    for file, _ in rows:
        save(tmp_path / f"masks/m{file}", np.zeros((9, 9), np.uint8))
    listed = [(f"m{file}", file, k) for file, k in rows]
    write_csv(tmp_path / "labels.csv", ("mask", "image", "label"), listed)
    with pytest.raises(CourseError, match="mask and image both name files"):
        read_folder(tmp_path)
    (tmp_path / "masks/m003.png").unlink()  # a mask is missing, or an image: still no telling
    with pytest.raises(CourseError, match="both name files"):
        read_folder(tmp_path)
    assert labels_of(read_folder(tmp_path, id_column="image")) == dict(rows)


def test_several_columns_of_0_and_1_are_named(tmp_path):
    rows = plain(tmp_path, 100, share=0.3)
    rng = np.random.default_rng(3)
    listed = [(file, int(rng.random() < 0.55), k) for file, k in rows]
    write_csv(tmp_path / "labels.csv", ("file", "sex", "malignant"), listed)
    with pytest.raises(CourseError, match="columns sex, malignant could hold the label"):
        read_folder(tmp_path)
    for options in ({"label_column": "malignant"}, {"positive": "malignant"}):
        assert labels_of(read_folder(tmp_path, **options)) == dict(rows)


@pytest.mark.parametrize(
    "other", [lambda k, i: "MF"[i % 2], lambda k, i: i % 4, lambda k, i: i % 2]
)
def test_a_column_of_few_values_may_be_the_label_too(tmp_path, other):
    """Sex as 0 and 1 beside a diagnosis in words must not become the label."""
    rows = plain(tmp_path)
    for heads in (("sex", "finding"), ("finding", "sex")):
        listed = [
            (file, ("benign", "malignant")[k], other(k, i)) for i, (file, k) in enumerate(rows)
        ]
        write_csv(tmp_path / "labels.csv", ("file", *heads), listed)
        with pytest.raises(CourseError, match="could hold the label"):
            read_folder(tmp_path)


def test_the_label_is_the_third_column_and_the_patient_the_second(tmp_path):
    rows = plain(tmp_path, 100)
    listed = [(file, f"P{i // 2}", k) for i, (file, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "patient", "diagnosis"), listed)
    slices = read_folder(tmp_path)
    assert labels_of(slices) == dict(rows) and groups_of(slices) == 50


def test_one_column_a_class(tmp_path):
    rows = plain(tmp_path, 100, share=0.3, name="ISIC_{:07}.png")
    listed = [(file[:-4], float(1 - k), float(k)) for file, k in rows]
    write_csv(tmp_path / "labels.csv", ("image", "benign", "malignant"), listed)
    slices = read_folder(tmp_path)
    assert labels_of(slices) == dict(rows) and slices.names == ("benign", "malignant")
    write_csv(tmp_path / "labels.csv", ("image", "apple", "pear"), listed)
    with pytest.raises(CourseError, match=r"'(apple|pear)' and '(pear|apple)': say which"):
        read_folder(tmp_path)
    assert labels_of(read_folder(tmp_path, positive="pear")) == dict(rows)


def test_a_column_that_says_what_is_healthy_needs_a_word(tmp_path):
    rows = plain(tmp_path)
    write_csv(tmp_path / "labels.csv", ("file", "normal"), [(file, 1 - k) for file, k in rows])
    with pytest.raises(CourseError, match="1 in column normal may mean normal"):
        read_folder(tmp_path)
    assert labels_of(read_folder(tmp_path, positive="0")) == dict(rows)


def test_more_than_two_classes_are_refused_with_the_way_out(tmp_path):
    rows = plain(tmp_path, 100, share=0.3, name="ISIC_{:07}.png")
    names = ("MEL", "NV", "BCC", "AKIEC")
    kinds = [0 if k else 1 + i % 3 for i, (_, k) in enumerate(rows)]
    listed = [
        (file[:-4], *(float(c == kind) for c in range(4)))
        for (file, _), kind in zip(rows, kinds, strict=True)
    ]
    words = [(file[:-4], names[kind]) for (file, _), kind in zip(rows, kinds, strict=True)]
    for head, body in ((("image", *names), listed), (("image", "dx"), words)):
        write_csv(tmp_path / "labels.csv", head, body)
        with pytest.raises(CourseError, match=r"4 classes.*positive: MEL.*classes: \[MEL, "):
            read_folder(tmp_path)
        slices = read_folder(tmp_path, positive="mel")
        assert labels_of(slices) == dict(rows)
        two = read_folder(tmp_path, positive="MEL", classes=["MEL", "NV"])
        assert labels_of(two) == {
            f: k for (f, k), kind in zip(rows, kinds, strict=True) if kind < 2
        }


def test_a_row_a_box(tmp_path):
    rows = plain(tmp_path, 80)
    listed = [(file[:-4], 10 * box, k) for file, k in rows for box in range(1 + k)]
    write_csv(tmp_path / "labels.csv", ("patientId", "x", "Target"), listed)
    slices = read_folder(tmp_path)
    assert labels_of(slices) == dict(rows) and groups_of(slices) == 80
    write_csv(
        tmp_path / "labels.csv", ("patientId", "x", "Target"), [*listed, ("000", 9, 1 - rows[0][1])]
    )
    with pytest.raises(CourseError, match="two labels for one image in lines 2 and"):
        read_folder(tmp_path)


def test_two_paths_of_one_file_are_no_repetition(tmp_path):
    plain(tmp_path, 40)
    listed = [(f"{part}/{i:03}.png", 0) for part in "ab" for i in range(20)]
    listed += [(f"a/{i:03}.png", 1) for i in range(20, 40)]
    write_csv(tmp_path / "labels.csv", ("file", "label"), listed)
    with pytest.raises(CourseError, match="20 faults: one image for two names in lines 2 and 22"):
        read_folder(tmp_path)


# --- Text ----------------------------------------------------------------------------------------

TEXTS = {
    "end of DOS": lambda text: text.encode() + b"\x1a",
    "sep": lambda text: ("sep=;\n" + text).encode(),
    "tabs": lambda text: text.replace(";", "\t").encode(),
    "bars": lambda text: text.replace(";", "|").encode(),
    "spaces": lambda text: text.replace(";", "  ").encode(),
    "semicolons": str.encode,
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16 without its mark": lambda text: text.encode("utf-16-le"),
    "latin-1": lambda text: text.replace("file", "Größe").encode("latin-1"),
    "windows": lambda text: b"\xef\xbb\xbf" + text.replace(";", ",").replace("\n", "\r\n").encode(),
    "quoted": lambda text: re.sub("(?m)^(.*);(.*)$", r'"\1";"\2"', text).encode(),
}


@pytest.mark.parametrize("way", TEXTS)
def test_separators_and_encodings(tmp_path, way):
    rows = plain(tmp_path)
    text = "file;label\n" + "".join(f"{a};{b}\n" for a, b in rows)
    (tmp_path / "labels.csv").write_bytes(TEXTS[way](text))
    assert labels_of(read_folder(tmp_path)) == dict(rows)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"PK\x03\x04" + bytes(range(256)), "is an Excel workbook"),
        (b"000.png,0\n001.png,1\n", r"line 1: '000\.png' is no column's name"),
        (b"file,label\n000.png,0\nfile,label\n001.png,1\n", "is no column's name"),
        (b"file,label\n000.png,0,7\n001.png,1\n", r"must have 2 values.*line 2 \(3 values\)"),
        (b'file,note,label\n000.png,"big,0\n001.png,x,1\n', "unexpected end of data"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        (b"<!doctype html>", "web page"),
        (b"file,label,label\n000.png,0,1\n", "two columns are called 'label'"),
        (b"a;b,c\n000.png;0,1\n001.png;1,1\n", "separated by comma or semicolon"),
        (bytes(range(256)), "is no text"),
        (b"# exported 2024, by X\nfile,label\n000.png,0\n", "begins with #, as a comment"),
        (b"# exported by X\nfile,label\n000.png,0\n", "begins with #, as a comment"),
        (b"0,000\n1,001\n0,002\n", "'0' is no column's name"),
        (b"000,ill\n001,well\n002,ill\n", "'ill' is no column's name"),
        (b"patient,label\nP00,0\nP01,1\n", "write one line per image, with its name in a col"),
    ],
)
def test_listings_that_cannot_be_read_say_why(tmp_path, data, reason):
    plain(tmp_path)
    (tmp_path / "labels.csv").write_bytes(data)
    with pytest.raises(CourseError, match=reason) as caught:
        read_folder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "write",
    [
        "images\\{}.png", "./images/{}.png", "/content/drive/MyDrive/data/images/{}.png",
        "C:\\Users\\me\\data\\images\\{}.png", "images/{}.PNG", "data/images/{}.png",
        "images/{}.jpg", "{}", "IMAGES/{}.png", "file:///d:/images/{}.png",
    ],
)  # fmt: skip
def test_paths_are_matched_where_one_file_fits(tmp_path, write):
    rows = plain(tmp_path / "images", name="img{:03}.png")
    (tmp_path / "images/labels.csv").unlink()
    listed = [(write.format(file[:-4]), k) for file, k in rows]
    write_csv(tmp_path / "labels.csv", ("file", "label"), listed)
    assert labels_of(read_folder(tmp_path)) == {f"images/{file}": k for file, k in rows}


def test_a_folder_in_a_path_is_never_contradicted(tmp_path):
    """test/000.png is not the missing train/000.png, though no other file has its name."""
    rows = plain(tmp_path / "test", 40)
    (tmp_path / "test/labels.csv").unlink()
    listed = [(f"train/{file}" if i < 3 else f"test/{file}", k) for i, (file, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label"), listed)
    with pytest.raises(CourseError, match=r"3 faults: no image in the folder for line 2 \(train"):
        read_folder(tmp_path)


def test_numbers_that_pandas_made_floats(tmp_path):
    rows = plain(tmp_path, name="{}.png")
    write_csv(
        tmp_path / "labels.csv", ("id", "label"), [(f"{f[:-4]}.0", f"{k}.0") for f, k in rows]
    )
    assert labels_of(read_folder(tmp_path)) == dict(rows)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_unicode_names_in_either_form(tmp_path, form, on_disk):
    rows = [(f"Schädel {i}.png", k) for i, (_, k) in enumerate(pictures(30))]
    for (file, _), (grey, _) in zip(rows, pictures(30), strict=True):
        save(tmp_path / unicodedata.normalize(on_disk, file), grey)
    listed = [(unicodedata.normalize(form, file), k) for file, k in rows]
    write_csv(tmp_path / "labels.csv", ("file", "label"), listed)
    assert list(labels_of(read_folder(tmp_path)).values()) == [k for _, k in rows]


# --- Patients ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["Patient ID", "patientid", "PatientID", "lesion_id", "case_id", "patient_id", "Subject",
     "SUBJECT-ID", "participant", "study", "Person No", "pid", "MRN", "Case"],
)  # fmt: skip
def test_patient_columns_whatever_they_are_called(tmp_path, name):
    rows = plain(tmp_path, 80)
    by_class = {k: [file for file, label in rows if label == k] for k in (0, 1)}
    listed = [(f, k, f"P{k}{n // 4:03}") for k in (0, 1) for n, f in enumerate(by_class[k])]
    write_csv(tmp_path / "labels.csv", ("file", "label", name), listed)
    assert groups_of(read_folder(tmp_path)) == 20


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SeriesNumber", lambda i: i % 4 + 1), ("lesion_no", lambda i: i % 2 + 1),
        ("volume", lambda i: i * 7 % 29), ("exam", lambda i: ("CT", "MR")[i % 2]),
    ],
)  # fmt: skip
def test_what_numbers_things_within_a_patient_joins_no_patients(tmp_path, name, value):
    rows = plain(tmp_path, 80)
    listed = [(file, k, f"P{i // 2}", value(i)) for i, (file, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label", "patient_id", name), listed)
    slices = read_folder(tmp_path)
    assert groups_of(slices) == 40 and slices.reading.columns["patient"] == "patient_id"
    assert [note for note in slices.reading.notes if note.endswith(f"several patients: {name}")]
    assert not slices.reading.proposals
    own = [(*row[:3], f"{row[2]}-{i % 2}") for i, row in enumerate(listed)]
    write_csv(tmp_path / "labels.csv", ("file", "label", "patient_id", name), own)
    slices = read_folder(tmp_path)
    assert slices.reading.columns["patient"] == f"patient_id, {name}" and groups_of(slices) == 40


@pytest.mark.parametrize("name", ["study", "exam", "lesion_no", "Series"])
def test_a_kind_of_study_is_no_patient_but_may_be_named_as_one(tmp_path, name):
    rows = plain(tmp_path, 80)
    listed = [(file, k, "ABC"[i % 3]) for i, (file, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label", name), listed)
    slices = read_folder(tmp_path)
    assert groups_of(slices) == 80
    (proposal,) = slices.reading.proposals
    assert f"{name} has 3 values" in proposal and f"give patient_column: {name}" in proposal
    slices = read_folder(tmp_path, patient_column=name)
    with pytest.raises(CourseError, match=r"if others were read as such, .* as patient_column"):
        choose_parts(slices, find_groups(slices).groups, 0)


@pytest.mark.parametrize("name", ["group", "Group", "site", "batch"])
def test_other_columns_are_no_patients_unless_they_are_named(tmp_path, name):
    rows = plain(tmp_path, 80)
    listed = [(file, k, f"g{i // 4}") for i, (file, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label", name), listed)
    assert groups_of(read_folder(tmp_path)) == 80
    assert groups_of(read_folder(tmp_path, patient_column=name)) == 20


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("malignant", ("benign", "malignant")),
        ("case", ("control", "case")),
        ("Tumour", ("0", "tumour")),
    ],
)
def test_a_column_may_be_called_after_one_of_its_words(tmp_path, head, words):
    rows = plain(tmp_path)
    write_csv(tmp_path / "labels.csv", ("file", head), [(file, words[k]) for file, k in rows])
    with pytest.raises(CourseError, match="say which one is positive"):
        read_folder(tmp_path)
    slices = read_folder(tmp_path, positive=words[1])
    assert labels_of(slices) == dict(rows) and groups_of(slices) == 60


def test_a_name_with_a_narrow_space_is_found(tmp_path):
    """As a Mac calls screenshots."""
    rows = plain(tmp_path, name="Screenshot at 9.41.{:03}\u202fAM.png")
    assert labels_of(read_folder(tmp_path)) == dict(rows)


def test_a_broken_file_in_class_folders_has_no_line_to_delete(tmp_path):
    for i, (grey, k) in enumerate(pictures(40)):
        save(tmp_path / f"{k}/{i}.png", grey)
    (tmp_path / "0/x.png").write_bytes(b"")
    with pytest.raises(CourseError, match="replace the file, or remove it here and in the table"):
        read_folder(tmp_path)


def test_a_case_column_of_0_and_1_is_a_label(tmp_path):
    rows = plain(tmp_path)
    write_csv(tmp_path / "labels.csv", ("file", "case"), rows)
    slices = read_folder(tmp_path)
    assert labels_of(slices) == dict(rows) and groups_of(slices) == 60


@pytest.mark.parametrize(
    "word", ["nan", "NA", "None", "unknown", "-", "", "N/A", "Anonymous", "?", "k.A.", "n.d.",
             "not available", "n/k", "not known"],
)  # fmt: skip
def test_unknown_patients_are_each_their_own(tmp_path, word):
    rows = plain(tmp_path, 80)
    listed = [(f, k, word if i % 5 < 2 else f"P{i // 10}") for i, (f, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label", "patient"), listed)
    found = examine(tmp_path, 0, {})
    assert len(set(found.grouping.groups)) == 8 + 32
    assert [w["text"] for w in found.warnings if w["kind"] == "unknown_patients"] == [
        "32 of 80 images have no known patient: each is taken for its own"
    ]


def test_one_patient_in_two_spellings(tmp_path):
    rows = plain(tmp_path, 60)
    words = ("p007", "P007 ", "P007")
    listed = [(f, k, words[i] if i < 3 else f"Q{i}") for i, (f, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label", "patient"), listed)
    assert groups_of(read_folder(tmp_path)) == 58
    words = ("7", "7.0", "007")
    listed = [(f, k, words[i] if i < 3 else 100 + i) for i, (f, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label", "patient"), listed)
    assert groups_of(read_folder(tmp_path)) == 58


def test_patients_in_file_names_are_offered_and_read_on_request(tmp_path):
    rows, count = [], [0, 0]
    for i, (grey, k) in enumerate(pictures(160, seed=2)):
        name = f"person{count[k] // 4 + (500 if k else 1)}_{('normal', 'bacteria')[k]}_{i}.jpeg"
        count[k] += 1
        save(tmp_path / name, grey)
        rows.append((name, k))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    found = examine(tmp_path, 0, {})
    (proposal,) = [w["text"] for w in found.warnings if w["kind"] == "patients_proposed"]
    assert "40 for 160 images" in proposal and proposal.endswith(r"patient_pattern: 'person(\d+)'")
    assert len(set(found.grouping.groups)) == 160
    pattern = proposal.split("'")[1]
    for asked in (pattern, r"person(\d+)_"):
        assert groups_of(read_folder(tmp_path, patient_pattern=asked)) == 40
    for asked, reason in ((r"patient(\d+)", "fits no file name"), ("(", "no regular expression")):
        with pytest.raises(CourseError, match=reason):
            read_folder(tmp_path, patient_pattern=asked)


@pytest.mark.parametrize(
    ("name", "patients"),
    [
        (lambda i: f"{i // 4:08}_{i % 4:03}.png", 20),  # NIH's chest X-rays
        (lambda i: f"AB{i // 4}_{i % 4}.png", 20),
        (lambda i: f"SOB_B_A-14-{22000 + i // 4}AB-40-{i % 4:03}.png", 20),  # BreaKHis
        (lambda i: f"{10000 + i // 4}_idx5_x{i}_y{i}_class0.png", 20),  # IDC
        (lambda i: f"Patient-{i // 4}/slice_{i % 4}.png", 20),
        (lambda i: f"img_{i:03}.png", None),
        (lambda i: f"{i:03}.png", None),
        (lambda i: f"slice {i}.png", None),
        (lambda i: f"ISIC_{i:07}.png", None),
    ],
)
def test_patterns_are_proposed_only_where_one_shows(tmp_path, name, patients):
    rows = []
    for i, (grey, k) in enumerate(pictures(80, size=12)):
        save(tmp_path / name(i), grey)
        rows.append((name(i), k))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    proposals = read_folder(tmp_path).reading.proposals
    assert len(proposals) == (patients is not None)
    if patients:
        assert f"{patients} for 80 images" in proposals[0]
        pattern = proposals[0].split("'")[1]
        assert pattern in {shown for pair in PATTERNS for shown in pair}
        assert groups_of(read_folder(tmp_path, patient_pattern=pattern)) == patients


def test_a_label_that_is_only_given_for_one_class_is_missing_for_the_other(tmp_path):
    """Beside a column that has a word for each class."""
    rows = []
    for i, (grey, k) in enumerate(pictures(40)):
        save(tmp_path / f"{i}.png", grey)
        rows.append((f"{i}.png", "1" if k else "", "sick" if k else "well"))
    write_csv(tmp_path / "labels.csv", ("file", "label", "note"), rows)
    with pytest.raises(CourseError, match="the label is missing in line"):
        read_folder(tmp_path)


def test_few_patients_with_many_slices_are_split_by_whole_patients(tmp_path):
    rows = plain(tmp_path, 120)
    per_class = {0: 0, 1: 0}
    listed = []
    for file, k in rows:
        listed.append((file, k, f"P{k}{per_class[k] // 10}"))  # six patients of ten slices
        per_class[k] += 1
    write_csv(tmp_path / "labels.csv", ("file", "label", "patient"), listed)
    slices = read_folder(tmp_path)
    groups = find_groups(slices).groups
    labels = slices.table["label"].to_numpy()
    for seed in range(3):
        part = choose_parts(slices, groups, seed)
        assert all(len(set(part[groups == g])) == 1 for g in groups)
        for name in ("validation", "test"):
            for k in (0, 1):
                assert len(set(groups[(part == name) & (labels == k)])) == 2
    few = [(f, k, p[:2] + str(int(p[2]) // 2)) for f, k, p in listed]  # three of twenty
    write_csv(tmp_path / "labels.csv", ("file", "label", "patient"), few)
    slices = read_folder(tmp_path)
    with pytest.raises(CourseError, match=r"60 images of 3 patients .* needs 5 patients"):
        choose_parts(slices, find_groups(slices).groups, 0)


# --- Files ---------------------------------------------------------------------------------------


def test_what_systems_leave_behind_is_no_image(tmp_path):
    rows = plain(tmp_path / "images")
    (tmp_path / "images/labels.csv").rename(tmp_path / "labels.csv")
    for name, _ in rows:
        (tmp_path / f"images/._{name}").write_bytes(b"\0\5\x16\7")
        save(tmp_path / f"images/.ipynb_checkpoints/{name}", np.zeros((4, 4), np.uint8))
        save(tmp_path / f"images/@eaDir/{name}/THUMB_M.jpg", np.zeros((4, 4), np.uint8))
        save(tmp_path / f"__MACOSX/{name}", np.zeros((4, 4), np.uint8))
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0\1")
    (tmp_path / "images/x.png").mkdir()
    slices = read_folder(tmp_path)
    assert labels_of(slices) == {f"images/{file}": k for file, k in rows} and not slices.unlisted
    assert [each["kind"] for each in examine(tmp_path, 0, {}).warnings] == ["unknown_patients"]


def test_many_broken_files_are_named_at_once(tmp_path):
    rows = plain(tmp_path, 80)
    path = [tmp_path / file for file, _ in rows]
    path[11].write_bytes(path[11].read_bytes()[:-300])
    path[22].write_bytes(b"")
    path[33].write_text("<html><title>404 Not Found</title>")
    path[44].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    data = bytearray(path[56].read_bytes())
    data[len(data) // 2] ^= 255
    path[56].write_bytes(data)
    with pytest.raises(CourseError, match="has 5 faults") as caught:
        read_folder(tmp_path)
    said = str(caught.value)
    assert all(f"{i:03}.png" in said for i in (11, 22, 33, 44, 56)) and "\n" not in said
    assert "empty" in said and "web page" in said and "Git LFS" in said


def test_up_to_twenty_missing_files_are_named_and_all_are_counted(tmp_path):
    rows = plain(tmp_path, 80)
    for file, _ in rows[::3]:
        (tmp_path / file).unlink()
    (tmp_path / rows[1][0]).write_bytes(b"")
    with pytest.raises(CourseError, match="has 28 faults") as caught:
        read_folder(tmp_path)
    assert str(caught.value).count("line ") == 20 and "and 7 more" in str(caught.value)


def test_augmented_copies_by_their_names(tmp_path):
    rng = np.random.default_rng(11)
    rows = []
    for i, (grey, k) in enumerate(pictures(60, seed=11)):
        image = Image.fromarray(grey)
        made = {
            f"{i:03}.png": image,
            f"aug_{i:03}_0_{rng.integers(9999)}.png": ImageOps.mirror(image),
            f"aug_{i:03}_1_{rng.integers(9999)}.png": image.rotate(float(rng.uniform(12, 25))),
            f"{i:03}_flip_crop.png": image.crop((4, 4, 44, 44)).resize((48, 48)),
        }
        for name, one in made.items():
            one.save(tmp_path / name)
            rows.append((name, k))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    found = examine(tmp_path, 0, {})
    groups = found.grouping.groups.reshape(60, 4)
    assert len(np.unique(groups)) == 60 and (groups == groups[:, :1]).all()
    assert "180 files are named as augmented copies of 60" in found.warnings[0]["text"]


@pytest.mark.parametrize("prefix", ["rot_90", "rotated180", "flip_lr", "flip_h", "fliplr", "hflip"])
def test_a_word_before_the_name_may_have_a_second_part(tmp_path, prefix):
    """rot_90_001 is a copy of 001, and not of a picture 90."""
    for i, (grey, k) in enumerate(pictures(40)):
        other, _ = pictures(1, seed=100 + i)[0]  # so that only the names can tell
        save(tmp_path / f"{('no', 'yes')[k]}/{i:03}.png", grey)
        save(tmp_path / f"{('no', 'yes')[k]}/{prefix}_{i:03}.png", other)
    slices = read_folder(tmp_path)
    files = [name.split("/")[-1] for name in slices.table["file"]]
    named = {frozenset(files[i] for i in group) for group in find_groups(slices).named}
    assert named == {frozenset((f"{i:03}.png", f"{prefix}_{i:03}.png")) for i in range(40)}


@pytest.mark.parametrize("name", ["ct_contrast_{:03}", "breast_zoom_{:03}", "IM_crop_{:03}"])
@pytest.mark.parametrize("step", [1, 3])
def test_a_word_in_the_name_of_a_whole_set_tells_no_copies(tmp_path, name, step):
    for i, (grey, k) in enumerate(pictures(40)):
        words = name if i % step == 0 else "ct_plain_{:03}"
        save(tmp_path / f"{('no', 'yes')[k]}/{words.format(i)}.png", grey)
    grouping = find_groups(read_folder(tmp_path))
    assert not grouping.named and len(set(grouping.groups)) == 40


def test_a_word_behind_a_name_tells_copies_of_what_is_there(tmp_path):
    for k, word in enumerate(("no", "yes")):
        for i in range(20):
            save(tmp_path / f"{word}/{i}.png", picture(np.random.default_rng(100 * k + i), k))
        for name in ("scan", "scan_flip_1", "scan_crop_2", "7_flip"):
            rng = np.random.default_rng(len(name) + 300 * k)
            save(tmp_path / f"{word}/{name}.png", picture(rng, k))
    slices = read_folder(tmp_path)
    files = slices.table["file"].tolist()
    named = {frozenset(files[i] for i in group) for group in find_groups(slices).named}
    assert named == {
        frozenset(f"{word}/{name}.png" for name in names)
        for word in ("no", "yes")
        for names in (("scan", "scan_flip_1", "scan_crop_2"), ("7", "7_flip"))
    }


def test_numbered_pictures_are_no_copies(tmp_path):
    """BUSI calls its pictures "benign (1)"; a set may call all of its files crops."""
    for name in ("{} ({}).png", "{1}_crop.png", "{0}_rot_{1}.png", "IM_{1}_left.png"):
        for i, (grey, k) in enumerate(pictures(40)):
            save(tmp_path / f"{('no', 'yes')[k]}/{name.format('benign', i)}", grey)
        grouping = find_groups(read_folder(tmp_path))
        assert not grouping.named or name == "{0}_rot_{1}.png"
        for path in tmp_path.rglob("*.png"):
            path.unlink()


# --- The command ---------------------------------------------------------------------------------


def test_check_says_what_was_used(tmp_path, capsys):
    rows = plain(tmp_path / "data", 80)
    listed = [(i, f, k, f"P{i // 2}") for i, (f, k) in enumerate(rows)]
    write_csv(
        tmp_path / "data/labels.csv", ("", "file", "label", "Patient ID"), listed, delimiter=";"
    )
    save(tmp_path / "data/extra.jpg", picture(np.random.default_rng(1), 0))
    sheet = tmp_path / "check.png"
    assert check.main([str(tmp_path / "data"), "--sheet", str(sheet)]) == 0
    said = capsys.readouterr().out
    for line in (
        "listing: labels.csv (semicolon-separated, UTF-8); file column: file",
        "label column: label",
        "classes: 1 40 (positive, label 1), 0 40",
        "files: jpg 1 seen, 0 listed, 1 unlisted, png 80 seen, 80 listed, 0 unlisted",
        "patients: 40 for 80 images, by Patient ID",
        "groups: 40 for 80 images (40 groups known beforehand)",
    ):
        assert line in said.splitlines()
    assert Image.open(sheet).width > 900
    assert check.main([str(tmp_path / "data"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 80 and found["groups"] == 40 and found["warnings"] == []
    assert found["classes"] == {"0": 40, "1": 40}
    columns = {"file": "file", "label": "label", "patient": "Patient ID", "split": None}
    assert found["columns"] == columns
    assert {(f["file"], f["label"]) for f in found["files"]} == set(rows)
    parts = {(f["group"], f["part"]) for f in found["files"]}
    assert len(parts) == 40 and {part for _, part in parts} == {"train", "validation", "test"}


def test_check_never_writes_into_the_folder(tmp_path, capsys):
    plain(tmp_path)
    assert check.main([str(tmp_path), "--sheet", str(tmp_path / "check.png")]) == 2
    assert "nothing is written" in capsys.readouterr().err


def test_check_of_a_class_that_is_too_small_shows_all_and_refuses(tmp_path, capsys):
    plain(tmp_path, 60, share=0.1)
    assert check.main([str(tmp_path), "--json"]) == 2
    shown = capsys.readouterr()
    kinds = [warning["kind"] for warning in json.loads(shown.out)["warnings"]]
    assert kinds[:2] == ["too_few", "imbalance"] and "too few images" in shown.err


@pytest.mark.parametrize("name", ["a\nb.png", "a\udcff.png", "a\x1b[31m.png"])
def test_names_that_cannot_be_shown_are_refused(tmp_path, name):
    plain(tmp_path)
    save(tmp_path / "x.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "x.png").rename(tmp_path / name)
    with pytest.raises(CourseError, match="cannot be shown: rename it") as caught:
        read_folder(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("fill", [0, 255, None])
def test_sets_without_any_content_are_warned_of_and_break_nothing(tmp_path, fill):
    for i in range(60):
        grey = np.full((9, 9), i if fill is None else fill, np.uint8)
        save(tmp_path / f"{('no', 'yes')[i % 2]}/{i}.png", grey)
    found = examine(tmp_path, 0, {}, strict=False)
    assert "blank" in {warning["kind"] for warning in found.warnings}


# --- What strangers brought besides --------------------------------------------------------------


@pytest.mark.parametrize("name", ["fold", "is_train", "Patient Gender", "sex"])
def test_a_column_that_is_no_label_by_its_name_is_not_read_as_one(tmp_path, name):
    rows = plain(tmp_path)
    write_csv(
        tmp_path / "labels.csv", ("file", name), [(f, i % 2) for i, (f, _) in enumerate(rows)]
    )
    for options in ({}, {"positive": "1"}):
        with pytest.raises(CourseError, match=f"give label_column: {name}"):
            read_folder(tmp_path, **options)
    read = labels_of(read_folder(tmp_path, label_column=name))
    assert read == {f: i % 2 for i, (f, _) in enumerate(rows)}


def test_two_columns_that_say_the_sex_are_no_label_either(tmp_path):
    rows = [(f, i % 2, "MF"[i % 2]) for i, (f, _) in enumerate(plain(tmp_path))]
    write_csv(tmp_path / "labels.csv", ("file", "sex", "gender"), rows)
    with pytest.raises(CourseError, match="by its name it does not"):
        read_folder(tmp_path)


@pytest.mark.parametrize("others", [(), ("uuid",)])
def test_ages_are_no_file_names(tmp_path, others):
    """Images called by number, and a column of numbers that is not called as file names are."""
    rows = plain(tmp_path, 60, name="{}.png")
    listed = [(7 * i % 60, *(f"a{i:x}z" for _ in others), k) for i, (_, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("age", *others, "label"), listed)
    with pytest.raises(CourseError, match="give id_column: age; if not, add a column file"):
        read_folder(tmp_path)
    write_csv(tmp_path / "labels.csv", ("image_no", *others, "label"), listed)
    assert labels_of(read_folder(tmp_path)) == {f"{n}.png": k for n, *_, k in listed}


def test_ages_beside_ids_do_not_spoil_a_clear_listing(tmp_path):
    rows = plain(tmp_path, 60, name="{}.png")
    for heads in (("id", "age"), ("age", "id")):
        listed = [({"id": i, "age": 7 * i % 60}, k) for i, (_, k) in enumerate(rows)]
        write_csv(
            tmp_path / "labels.csv", (*heads, "label"),
            [(*(of[head] for head in heads), k) for of, k in listed],
        )  # fmt: skip
        slices = read_folder(tmp_path)
        assert labels_of(slices) == dict(rows) and slices.reading.columns["file"] == "id"


@pytest.mark.parametrize("heads", [
    ("hemorrhage", "fracture"), ("outcome", "tumour"), ("fracture", "Haemorrhage"),
    ("label", "label.1"),
])  # fmt: skip
def test_a_finding_beside_another_is_one_of_two_labels(tmp_path, heads):
    rows = plain(tmp_path)
    listed = [(file, k, i % 2) for i, (file, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", *heads), listed)
    with pytest.raises(CourseError, match=f"columns {heads[0]}, {heads[1]} could hold the label"):
        read_folder(tmp_path)
    for name, place in zip(heads, (1, 2), strict=True):
        read = labels_of(read_folder(tmp_path, label_column=name))
        assert read == {row[0]: row[place] for row in listed}
    agreeing = [(file, k, k) for file, k in rows]
    write_csv(tmp_path / "labels.csv", ("file", *heads), agreeing)
    assert labels_of(read_folder(tmp_path)) == dict(rows)
    write_csv(tmp_path / "labels.csv", ("file", heads[0], "sex"), listed)
    if heads[0] != "fracture":
        assert labels_of(read_folder(tmp_path)) == dict(rows)


def test_other_columns_of_0_and_1_beside_the_label_are_named(tmp_path):
    rows = plain(tmp_path)
    listed = [(file, k, i % 2, k, "MF"[i % 2]) for i, (file, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "target", "malignant", "again", "sex"), listed)
    (note,) = read_folder(tmp_path).reading.notes
    assert note.startswith("other columns of 0 and 1, which are not read: malignant; label_column")
    assert not read_folder(tmp_path, label_column="target").reading.notes


@pytest.mark.parametrize("words", [("-", "+"), ("none", "glioma"), ("None", "yes")])
def test_a_word_that_mostly_means_unknown_may_be_a_class(tmp_path, words):
    rows = plain(tmp_path)
    listed = [(file, words[k]) for file, k in rows]
    write_csv(tmp_path / "labels.csv", ("file", "label"), listed)
    with pytest.raises(CourseError, match=r"is read as unknown: if it is a class, .* positive: '"):
        read_folder(tmp_path)
    for positive in (words[1], words[1].upper()):
        slices = read_folder(tmp_path, positive=positive)
        assert labels_of(slices) == dict(rows) and slices.names == words
    listed[0] = (listed[0][0], "")
    write_csv(tmp_path / "labels.csv", ("file", "label"), listed)
    with pytest.raises(CourseError, match=r"the label is missing in line 2 \("):
        read_folder(tmp_path, positive=words[1])
    few = [(file, words[0] if i < 2 else k) for i, (file, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label"), few)
    with pytest.raises(CourseError, match=r"2 faults: the label is missing in line 2 \("):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["is_healthy", "isHealthy", "no_tumor", "Healthy?", "tumor free"])
def test_a_head_that_says_what_is_absent_needs_a_word_however_it_is_written(tmp_path, name):
    rows = plain(tmp_path)
    write_csv(tmp_path / "labels.csv", ("file", name), [(f, 1 - k) for f, k in rows])
    for options in ({}, {"label_column": name}, {"positive": "tumour"}):
        with pytest.raises(CourseError, match="positive: '0', or, if 1 is right"):
            read_folder(tmp_path, **options)
    assert labels_of(read_folder(tmp_path, positive="0")) == dict(rows)
    assert labels_of(read_folder(tmp_path, positive="1")) == {f: 1 - k for f, k in rows}


@pytest.mark.parametrize("head", ["report", "label_name"])
def test_ones_that_another_column_calls_healthy_need_a_word(tmp_path, head):
    rows = plain(tmp_path)
    listed = [(f, 1 - k, ("normal", "tumour")[k]) for f, k in rows]
    write_csv(tmp_path / "labels.csv", ("file", "label", head), listed)
    with pytest.raises(CourseError, match="1 in column label may mean normal"):
        read_folder(tmp_path, label_column="label")
    assert labels_of(read_folder(tmp_path, label_column="label", positive="0")) == dict(rows)


def test_ones_in_a_folder_called_healthy_need_a_word(tmp_path):
    rows = []
    for i, (grey, k) in enumerate(pictures(60)):
        name = f"{('healthy', 'sick')[k]}/{i}.png"
        save(tmp_path / name, grey)
        rows.append((name, k))
    write_csv(tmp_path / "l.csv", ("file", "label"), [(f, 1 - k) for f, k in rows])
    with pytest.raises(CourseError, match="1 in the listing stands for the folder healthy"):
        read_folder(tmp_path)
    assert labels_of(read_folder(tmp_path, positive="0")) == dict(rows)
    write_csv(tmp_path / "l.csv", ("file", "label"), rows)
    assert labels_of(read_folder(tmp_path)) == dict(rows)


@pytest.mark.parametrize("joint", ["|", ";", "/", ", "])
def test_an_image_with_two_findings_has_each(tmp_path, joint):
    rows = plain(tmp_path, 120)
    words = [("No Finding", f"Effusion{joint}Mass" if i % 2 else "Mass")[k]
             for i, (_, k) in enumerate(rows)]  # fmt: skip
    write_csv(tmp_path / "labels.csv", ("file", "labels"),
              [(f, w) for (f, _), w in zip(rows, words, strict=True)])  # fmt: skip
    with pytest.raises(CourseError, match="there are 3 classes"):
        read_folder(tmp_path)
    assert labels_of(read_folder(tmp_path, positive="Mass")) == dict(rows)


def test_where_a_box_begins_is_no_label(tmp_path):
    """As in a published set of chest X-rays: x, y, width, height and Target, a row a box."""
    rows = plain(tmp_path, 60, name="a{:03}.png")
    boxes = [(f[:-4], 10 + i if k else "", 20 + i if k else "", k)
             for i, (f, k) in enumerate(rows)]  # fmt: skip
    write_csv(tmp_path / "labels.csv", ("patientId", "x", "y", "Target"), boxes)
    assert labels_of(read_folder(tmp_path)) == dict(rows)


def test_a_link_to_itself_and_an_open_workbook_are_passed_by(tmp_path):
    rows = plain(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "~$labels.csv").write_bytes(b"\0" * 165)
    read = read_folder(tmp_path)
    assert labels_of(read) == dict(rows) and not read.reading.notes


def test_images_without_labels_in_a_test_folder_are_passed_by(tmp_path):
    truth = {}
    for i, (grey, k) in enumerate(pictures(90)):
        name = f"test/{i}.png" if i % 3 == 0 else f"train/{('no', 'yes')[k]}/{i}.png"
        save(tmp_path / name, grey)
        truth |= {name: k} if i % 3 else {}
    read = read_folder(tmp_path)
    assert labels_of(read) == truth
    assert "30 images are in no class's folder" in read.reading.notes


def test_marks_of_order_at_the_start_belong_to_no_name(tmp_path):
    rows = plain(tmp_path)
    text = "\ufeff\ufefffile,label\n" + "".join(f"{f},{k}\n" for f, k in rows)
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    assert read_folder(tmp_path).reading.columns["file"] == "file"


def test_a_finding_may_occur_beside_others_alone():
    words = ["No Finding", "Mass|Effusion", "Effusion", "Mass|Nodule"]
    classes = two_classes(words, "labels.csv", positive="Mass")
    assert classes.names == ("not Mass", "Mass")
    assert [classes.label[word.lower()] for word in words] == [0, 1, 0, 1]


@pytest.mark.parametrize("words", [("healthy", "tumour"), ("a", "b", "c")])
def test_a_positive_class_that_is_no_label_is_named(words):
    with pytest.raises(CourseError, match="positive is 'Tumor', which is no label here; the"):
        two_classes(words, "labels.csv", positive="Tumor")
    with pytest.raises(CourseError, match=r"^labels.csv: the"):
        two_classes(words, "labels.csv")


def test_a_zip_file_is_no_folder(tmp_path):
    (tmp_path / "images.zip").write_bytes(b"PK")
    with pytest.raises(CourseError, match="is a zip file: unpack it, or use notebook 07"):
        read_folder(tmp_path / "images.zip")


def test_the_folders_patients_are_named_by_what_gives_them(tmp_path):
    """Without any, only what can be done here is proposed; a groups.csv is named."""
    rows = []
    for i, (grey, k) in enumerate(pictures(40)):
        rows.append((f"{('no', 'yes')[k]}/{i}.png", i // 2))
        save(tmp_path / rows[-1][0], grey)
    said = "\n".join(lines(examine(tmp_path, 1, {}, strict=False)))
    assert "name them by patient_pattern or groups.csv" in said
    write_csv(tmp_path / "groups.csv", ("file", "group"), rows)
    said = "\n".join(lines(examine(tmp_path, 1, {}, strict=False)))
    assert "patients: as groups.csv groups them" in said and "unknown_patients" not in said
