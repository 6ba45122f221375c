"""Warnings before training: each on a planted case, and none where there is nothing to say."""

import numpy as np
import pytest
from folders import picture, pictures, plain, save, write_csv
from PIL import Image, ImageOps

from helpers import phantom
from helpers.folder import examine, find_groups, read_folder
from helpers.folder.hazards import find_inverted, tells_label


def kinds(folder, **parameters) -> dict[str, str]:
    found = examine(folder, 0, parameters, strict=False).warnings
    return {warning["kind"]: warning["text"] for warning in found}


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))]
)
def test_simulated_sets_are_warned_of_by_nothing(tmp_path, seed):
    found = examine(phantom.write_dataset(tmp_path / "data", n=200, seed=seed), 0, {})
    assert found.warnings == []
    # Of 200, three pairs and a series of eight; a look-alike more is a false one, and harmless.
    assert len(set(found.grouping.groups)) in (189, 190)
    assert min(sum(found.grouping.copies, ()), default=199) >= 192, "a pair beyond the series"


def test_every_way_of_saving_is_one_picture_and_no_hazard(tmp_path):
    rows = []
    for i, (grey, k) in enumerate(pictures(60, size=96)):
        image = Image.fromarray(grey)
        made = {f"{i:03}.png": (image, {})}
        if i < 10:
            exif = Image.Exif()
            exif[0x0112] = 6
            turned = image.transpose(Image.Transpose.ROTATE_90)
            made |= {
                f"exif{i}.jpg": (turned, {"exif": exif, "quality": 95}),
                f"progressive{i}.JPG": (image, {"progressive": True, "quality": 95}),
                f"cmyk{i}.jpeg": (image.convert("RGB").convert("CMYK"), {"quality": 95}),
                f"palette{i}.png": (image.convert("P"), {}),
                f"deep{i}.png": (Image.fromarray(grey.astype(np.uint16) * 257), {}),
                f"alpha{i}.PNG": (image.convert("LA"), {}),
            }
        for name, (one, options) in made.items():
            one.save(tmp_path / name, **options)
            rows.append((name, k))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    found = examine(tmp_path, 0, {})
    assert [each["kind"] for each in found.warnings] == ["unknown_patients"]
    assert len(set(found.grouping.groups)) == 60 and len(found.grouping.proposed) == 210


def test_the_same_picture_under_two_labels(tmp_path):
    rows = plain(tmp_path)
    one, other = (next(f for f, k in rows if k == label) for label in (0, 1))
    (tmp_path / other).write_bytes((tmp_path / one).read_bytes())
    said = kinds(tmp_path)["two_labels"]
    assert one in said and said.startswith("1 pair looks"), "identical pictures are alike, too"


SOURCES = {
    "file format": lambda i, k, grey: (f"{i}.{('jpg', 'png')[k]}", grey),
    "colour mode": lambda i, k, grey: (f"{i}.png", np.stack([grey] * 3, -1) if k else grey),
    "picture size": lambda i, k, grey: (f"{i}.png", grey if k else grey[:44]),
    "border": lambda i, k, grey: (f"{i}.png", np.pad(grey, 2, constant_values=255 * k)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_no_part_of_the_picture_tells_the_label(tmp_path, source):
    rows = []
    for i, (grey, k) in enumerate(pictures(80)):
        name, grey = SOURCES[source](i, k, grey)
        save(tmp_path / name, grey)
        rows.append((name, k))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    assert f"{source} (AUC" in kinds(tmp_path)["source"]


def test_compression_tells_the_label(tmp_path):
    rows = []
    for i, (grey, k) in enumerate(pictures(80)):
        save(tmp_path / f"{i}.jpg", grey, quality=(95, 80)[k])
        rows.append((f"{i}.jpg", k))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    assert "JPEG compression (AUC 1.00)" in kinds(tmp_path)["source"]


def test_chance_tells_no_label():
    """In 40 random sets of 60 images the warning stays away; a true difference is found."""
    rng = np.random.default_rng(0)
    labels, groups = np.repeat([0, 1], 30), np.arange(60)
    said = [tells_label(rng.normal(size=(60, 2)), labels, groups)[1] < 0.01 for _ in range(40)]
    assert sum(said) == 0
    area, p = tells_label(labels[:, None] + rng.normal(0, 0.3, (60, 1)), labels, groups)
    assert area > 0.9 and p < 0.01


def test_files_of_one_patient_are_one_witness():
    """Two patients with 40 files each: their formats tell nothing about the label."""
    labels = np.repeat([0, 1], 40)
    assert tells_label(labels[:, None].astype(float), labels, labels)[1] == 1


def test_classes_that_differ_in_colour_alone(tmp_path):
    rows, rng = [], np.random.default_rng(8)
    for i, (_, k) in enumerate(pictures(80)):
        grey = picture(rng, 0).astype(float) * 0.55
        tint = np.array((1.6, 0.79, 0.5) if k else (0.55, 1.19, 1.2))
        rgb = grey[..., None] * tint / (tint @ (0.299, 0.587, 0.114))
        save(tmp_path / f"{i}.png", rgb.clip(0, 255).astype(np.uint8))
        rows.append((f"{i}.png", k))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    assert "AUC 1.00" in kinds(tmp_path)["colour"]


@pytest.mark.parametrize("share", [0.05, 0.45])
def test_inverted_images(tmp_path, share):
    rng = np.random.default_rng(3)
    rows = plain(tmp_path, 80)
    wrong = sorted(rng.choice(80, round(80 * share), replace=False).tolist())
    for i in wrong:
        image = Image.open(tmp_path / rows[i][0])
        ImageOps.invert(image).save(tmp_path / rows[i][0])
    slices = read_folder(tmp_path)
    assert find_inverted(slices.greys, slices.table["border"].to_numpy()) == wrong
    assert f"{len(wrong)} images look inverted" in kinds(tmp_path)["inverted"]


def test_left_and_right_are_not_inverted():
    """Half of the pictures bright on the left, half on the right, as breasts are."""
    ramp = np.tile(np.linspace(0, 200, 40), (40, 1)).astype(np.uint8)
    greys = [ramp if i % 2 else ramp[:, ::-1] for i in range(30)]
    assert find_inverted(greys, np.array([g[[0, -1]].mean() for g in greys])) == []


def test_blank_slices_are_named_and_left_out_on_request(tmp_path):
    rows = plain(tmp_path, 120)
    for file, _ in rows[::5]:
        save(tmp_path / file, np.zeros((48, 48), np.uint8))
    marked = np.zeros((48, 48), np.uint8)
    marked[2:5, 2:5] = 255  # a letter in the corner of nothing
    save(tmp_path / rows[1][0], marked)
    assert "25 images are blank" in kinds(tmp_path)["blank"]
    slices = read_folder(tmp_path, leave_out=["blank"])
    assert len(slices.table) == 95 and "left out: 25 blank" in slices.reading.notes
    assert sum(slices.reading.negatives.values()) == sum(slices.table["label"] == 0)
    assert "blank" not in kinds(tmp_path, leave_out=["blank"])


def test_masks_listed_as_images(tmp_path):
    rows = plain(tmp_path, 60)
    y, x = np.mgrid[:96, :96]
    for i in range(10):
        mask = ((x - 40 - i) ** 2 + (y - 48) ** 2 < 240).astype(np.uint8) * 255
        save(tmp_path / f"{i:03}_mask.{('png', 'jpg')[i % 2]}", mask)
        rows.append((f"{i:03}_mask.{('png', 'jpg')[i % 2]}", i % 2))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    assert "10 images look like masks" in kinds(tmp_path)["masks"]
    assert len(read_folder(tmp_path, leave_out=["masks"]).table) == 60


def test_imbalance_and_a_class_under_its_minimum(tmp_path):
    plain(tmp_path, 300, share=0.1)
    assert "class 1 is 10%" in kinds(tmp_path)["imbalance"] and "too_few" not in kinds(tmp_path)
    plain(tmp_path, 60, share=0.2)
    assert "class 1 has 12 images and needs at least 20" in kinds(tmp_path)["too_few"]


CHANGES = {
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "cropped": lambda image: image.crop((9, 9, 111, 111)),
    "cropped and enlarged": lambda image: image.crop((6, 6, 114, 114)).resize((120, 120)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_copies_that_a_flip_or_crop_makes_equal(tmp_path, change):
    """Under names that say nothing, saved as JPEG; of drawn heads, which are nearly symmetric."""
    drawn, labels = phantom.draw_slices(60, 7, size=120)
    rows = []
    for i, (grey, k) in enumerate(zip(drawn, labels, strict=True)):
        save(tmp_path / f"{i:03}.png", grey)
        rows.append((f"{i:03}.png", int(k)))
        if i < 20:
            CHANGES[change](Image.fromarray(grey)).save(tmp_path / f"c{i}.jpg", quality=90)
            rows.append((f"c{i}.jpg", int(k)))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    found = examine(tmp_path, 0, {})
    names = found.slices.table["file"].tolist()
    groups = dict(zip(names, found.grouping.groups, strict=True))
    joined = sum(groups[f"c{i}.jpg"] == groups[f"{i:03}.png"] for i in range(20))
    assert joined >= 19 and len(set(groups.values())) >= 60
    assert any(w["kind"] in ("copies",) for w in found.warnings) or "crop" in change


def test_merged_cells(tmp_path):
    """A spreadsheet that shows each patient once, beside the first of four images."""
    rows = plain(tmp_path)
    listed = [(f"P{i // 4}" if i % 4 == 0 else "", f, k) for i, (f, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("patient", "file", "label"), listed)
    said = kinds(tmp_path)["unknown_patients"]
    assert said.startswith("45 of 60 images have no known patient") and "merged" in said


def test_a_patient_with_most_images(tmp_path):
    rows = plain(tmp_path)
    listed = [(f, k, "0" if i % 2 else f"P{i}") for i, (f, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label", "patient"), listed)
    assert "patient '0' has 30 of 60 images" in kinds(tmp_path)["large_patient"]


def test_a_patient_with_many_more_images_than_the_others(tmp_path):
    """99 may stand for unknown."""
    rows = plain(tmp_path, 100)
    for many in (15, 8):
        listed = [(f, k, "99" if i < many else f"P{i // 2}") for i, (f, k) in enumerate(rows)]
        write_csv(tmp_path / "labels.csv", ("file", "label", "patient"), listed)
        found = kinds(tmp_path)
        assert ("large_patient" in found) == (many == 15)
        assert many == 8 or "patient '99' has 15 of 100 images" in found["large_patient"]


@pytest.mark.parametrize("name", [
    "Patientennummer", "patient_hash", "Patient (pseudonym)", "dicom_patient", "Fallnummer",
    "nhs_number", "accession_number", "pseudonym", "USUBJID", "bcr_patient_barcode",
    "nombre_paciente",
])  # fmt: skip
def test_columns_that_may_hold_patients_are_proposed(tmp_path, name):
    rows = plain(tmp_path)
    listed = [(f, k, f"X{i // 2}") for i, (f, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label", name), listed)
    said = kinds(tmp_path)["patients_proposed"]
    assert said.endswith(f"give patient_column: {name}") and "30 values for 60 images" in said


def test_several_pages(tmp_path):
    rows = plain(tmp_path, name="{:03}.tif")
    first = Image.open(tmp_path / rows[0][0])
    first.save(tmp_path / rows[0][0], save_all=True, append_images=[first.copy()])
    assert "1 image holds several pages" in kinds(tmp_path)["pages"]


def test_columns_and_names_that_may_tell_patients(tmp_path):
    rows = plain(tmp_path, 80)
    listed = [(f, k, f"g{i // 4}") for i, (f, k) in enumerate(rows)]
    write_csv(tmp_path / "labels.csv", ("file", "label", "group"), listed)
    assert "patient_column: group" in kinds(tmp_path)["patients_proposed"]


def test_dark_pictures(tmp_path):
    rows = plain(tmp_path)
    for file, _ in rows:
        save(tmp_path / file, np.asarray(Image.open(tmp_path / file)) // 16)
    assert "window" in kinds(tmp_path)["dark"]
    found = examine(tmp_path, 0, {"window": [0, 16]})
    assert "dark" not in {w["kind"] for w in found.warnings}
    assert len(set(find_groups(found.slices).groups)) == 60
