"""Formats: every way of saving gives the grey levels that it should, or a reason."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from folders import CT, hounsfield, picture, pictures, plain, save, write_csv, write_dicom
from PIL import Image

from helpers.files import CourseError
from helpers.folder import examine, find_groups, lines, read_folder, read_samples
from helpers.folder.images import KEPT, grey_of, robust_range
from helpers.preprocessing import read_grey


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_greys_are_those_of_the_function_that_is_taught(tmp_path, mode):
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (31, 17, 4), dtype=np.uint8), "RGBA")
    image = colours if mode == "RGBA" else colours.convert("RGB")
    if mode == "PA":
        image = image.convert("P")
        image.info["transparency"] = 3
    elif mode != "RGBA":
        image = image.convert(mode if mode != "LAB" else "RGB")
    path = tmp_path / ("x.jpg" if mode in ("CMYK", "YCbCr") else "x.png")
    image.save(path)
    with Image.open(path) as opened:
        assert np.array_equal(grey_of(opened), read_grey(path))


@pytest.mark.parametrize("ending", ["tif", "bmp", "gif", "webp", "pgm", "png", "TIFF", "jp2"])
def test_formats_of_pillow(tmp_path, ending):
    rows, made = [], {}
    for i, (grey, k) in enumerate(pictures(30)):
        made[f"images/case{i:03}.{ending}"] = grey
        options = {"lossless": True} if ending == "webp" else {}
        save(tmp_path / f"images/case{i:03}.{ending}", grey, **options)
        rows.append((f"case{i:03}.{ending}", k))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    slices = read_folder(tmp_path)
    for file, grey in zip(slices.table["file"], slices.greys, strict=True):
        assert np.array_equal(grey, made[file])


def test_volumes_are_refused_with_the_way_out(tmp_path):
    rows = []
    for i in range(30):
        (tmp_path / f"case{i:03}.nii.gz").write_bytes(b"\x1f\x8b")
        rows.append((f"case{i:03}.nii.gz", i % 2))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    with pytest.raises(CourseError, match=r"30 faults: a volume or array.*save its slices as PNG"):
        read_folder(tmp_path)
    (tmp_path / "labels.csv").unlink()
    with pytest.raises(CourseError, match=r"volumes or arrays \(case000\.nii\.gz\)"):
        read_folder(tmp_path)


def deep(folder, top, marker=None, every=1, count=60):
    """Pictures whose 170 is stored as `top`; the last is the scale of those of 8 bits."""
    rows = []
    for i, (grey, k) in enumerate(pictures(count)):
        if i % every == 0:
            values = (grey.astype(np.uint32) * top // 255).astype(np.uint16)
            if marker:
                down, right = (
                    np.random.default_rng(i).integers(0, 40, 2) if marker == "any" else (0, 0)
                )
                values[down : down + 5, right : right + 5] = 65535
            save(folder / f"{i:03}.png", values)
        else:
            save(folder / f"{i:03}.png", grey)
        rows.append((f"{i:03}.png", k))
    write_csv(folder / "labels.csv", ("file", "label"), rows)


@pytest.mark.parametrize("marker", [None, "corner", "any"])
@pytest.mark.parametrize("top", [255, 1500, 5000, 16383, 65535])
def test_one_mapping_for_all_files_of_16_bits(tmp_path, top, marker):
    """Whatever the range, with a burned-in marker or none, the greys are as with 8 bits."""
    deep(tmp_path, top, marker)
    slices = read_folder(tmp_path)
    tissue = [np.median(grey[20:28, 20:28]) for grey, _ in pictures(60)]
    found = [np.median(grey[20:28, 20:28]) for grey in slices.greys]
    scale = np.polyfit(tissue, found, 1)
    assert 0.95 < scale[0] < 1.3 and np.corrcoef(tissue, found)[0, 1] > 0.97
    high = slices.window["high"]
    assert 0.85 * top < high <= top
    if not marker:  # the text takes longer than the reading
        assert f"0 becomes black, {high:g} white" in "\n".join(lines(examine(tmp_path, 0, {})))


def test_8_and_16_bits_in_one_set_have_one_brightness(tmp_path):
    deep(tmp_path, 1500, every=2)
    slices = read_folder(tmp_path)
    means = [
        grey.mean() / own.mean() for grey, (own, _) in zip(slices.greys, pictures(60), strict=True)
    ]
    assert abs(np.mean(means[::2]) - np.mean(means[1::2])) < 0.15


def test_a_window_in_stored_values(tmp_path):
    deep(tmp_path, 5000)
    slices = read_folder(tmp_path, window=[1000, 2000])
    stored = (pictures(60)[7][0].astype(np.uint32) * 5000 // 255).astype(float)
    wanted = np.round(((stored - 1000) * 255 / 1000).clip(0, 255))
    assert np.abs(slices.greys[7] - wanted).max() <= 1
    for window in ([2000, 1000], [1], "1000", [True, 5]):
        with pytest.raises(CourseError, match="window is"):
            read_folder(tmp_path, window=window)


def test_16_bits_where_white_is_zero(tmp_path):
    values = np.linspace(0, 4000, 32 * 32).reshape(32, 32).astype(np.uint16)
    for i in range(20):
        image = Image.fromarray(np.roll(values, i, 1))
        image.save(tmp_path / f"{i}.tif", tiffinfo={262: 0})
    write_csv(tmp_path / "labels.csv", ("file", "label"), [(f"{i}.tif", i % 2) for i in range(20)])
    grey = read_folder(tmp_path).greys[0]
    assert grey[0, 0] > 250 and grey[-1, -1] < 5


def test_colours_of_16_bits_are_refused(tmp_path):
    """Pillow keeps their upper 8 bits alone: a scanner's 12 would be all but black."""
    rows = plain(tmp_path)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress((b"\0" + b"\x05\xdc" * 12) * 4)),
        (b"IEND", b""),
    ]
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    (tmp_path / rows[5][0]).write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(CourseError, match=r"16 bits per colour in 005\.png: save it as grey"):
        read_folder(tmp_path)


def test_the_range_is_robust_against_what_few_pixels_have():
    rng = np.random.default_rng(0)
    tissue = rng.integers(0, 1500, (50, 4096))
    marked = tissue.copy()
    marked[:, :60] = 65535  # 1.5 % of the pixels
    for values in (tissue, marked):
        (low, high), found = robust_range(list(values))
        assert 0 <= low <= 3 and 1490 <= high < 1500
    assert abs(found["beyond"] - 0.0146) < 0.001 and found["brightest"] == 65535
    bright = tissue.copy()
    bright[:, :400] = 65535  # a tenth is no marker
    assert robust_range(list(bright))[0][1] == 65535


# --- DICOM ---------------------------------------------------------------------------------------


def write_series(folder, ending=".dcm", patients=True, **more):
    """60 files, three a patient, with names as scanners give them, and a listing of them."""
    rows = []
    for i, (grey, k) in enumerate(sorted(pictures(60), key=lambda pair: pair[1])):
        told = (
            {"PatientID": f"PAT{i // 3}", "StudyInstanceUID": f"1.2.3.{i // 3}"} if patients else {}
        )
        name = f"series{i % 2}/1.2.840.{i}{ending}"
        write_dicom(folder / name, hounsfield(grey), **CT | told | more)
        rows.append((name, k))
    write_csv(folder / "labels.csv", ("file", "label"), rows)
    return sorted(pictures(60), key=lambda pair: pair[1])


@pytest.mark.parametrize("ending", [".dcm", "", ".IMA"])
def test_dicom_by_the_files_own_window(tmp_path, ending):
    made = write_series(tmp_path, ending)
    slices = read_folder(tmp_path)
    assert slices.table["label"].tolist() == [k for _, k in made]
    units = hounsfield(made[9][0]).astype(float) - 1024
    wanted = ((units - (40 - 0.5)) / (80 - 1) + 0.5).clip(0, 1) * 255  # DICOM PS3.3 C.11.2.1.2
    assert np.abs(slices.greys[9] - wanted).max() <= 1
    assert len(set(find_groups(slices).groups)) == 20
    assert slices.reading.columns["patient"] == "DICOM PatientID, DICOM StudyInstanceUID"


def test_dicom_by_a_window_that_is_given_and_by_none(tmp_path):
    made = write_series(tmp_path)
    grey = read_folder(tmp_path, window=[-1000, 700]).greys[9]
    assert np.abs(grey.astype(int) - made[9][0]).max() <= 2
    made = write_series(tmp_path, WindowCenter=None, WindowWidth=None)
    slices = read_folder(tmp_path)
    assert -1001 <= slices.window["low"] <= -980 and 500 < slices.window["high"] <= 600
    assert np.corrcoef(slices.greys[9].ravel(), made[9][0].ravel())[0, 1] > 0.999


def test_dicom_where_white_is_zero_is_inverted(tmp_path):
    made = write_series(tmp_path, PhotometricInterpretation="MONOCHROME1")
    grey = read_folder(tmp_path, window=[-1000, 700]).greys[9]
    assert np.abs(255 - grey.astype(int) - made[9][0]).max() <= 2


def test_dicom_in_colour_and_in_8_bits(tmp_path):
    rows = []
    for i, (grey, k) in enumerate(pictures(30)):
        write_dicom(tmp_path / f"{i}.dcm", np.stack([grey] * 3, -1) if i % 2 else grey)
        rows.append((f"{i}.dcm", k))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    slices = read_folder(tmp_path, window=[0, 255])
    for grey, (own, _) in zip(slices.greys, pictures(30), strict=True):
        assert np.abs(grey.astype(int) - own).max() <= 1


def test_dicom_patients_that_tell_nothing(tmp_path):
    write_series(tmp_path, PatientID="ANONYMOUS")
    assert len(set(find_groups(read_folder(tmp_path)).groups)) == 20  # by the study
    write_series(tmp_path, PatientID="X")
    slices = read_folder(tmp_path)
    assert len(set(find_groups(slices).groups)) == 20
    assert "one DICOM PatientID is in all files and was not used" in slices.reading.notes
    write_series(tmp_path, patients=False)
    assert len(set(find_groups(read_folder(tmp_path)).groups)) == 60


def test_dicom_with_burned_in_text_is_warned_of(tmp_path):
    write_series(tmp_path, BurnedInAnnotation="YES")
    found = {w["kind"]: w["text"] for w in examine(tmp_path, 0, {}, strict=False).warnings}
    assert found["burned_in"].startswith("60 images have text burned into the picture")


def test_dicom_volumes_and_broken_files_are_named(tmp_path):
    made = write_series(tmp_path)
    volume = np.stack([hounsfield(made[0][0])] * 4)
    write_dicom(tmp_path / "series0/1.2.840.0.dcm", volume[0], **CT, NumberOfFrames=4)
    (tmp_path / "series1/1.2.840.1.dcm").write_bytes(b"\0" * 128 + b"DICM" + bytes(range(200)))
    (tmp_path / "series0/1.2.840.2.dcm").write_text("<html>")
    with pytest.raises(CourseError, match="has 3 faults") as caught:
        read_folder(tmp_path)
    assert "several frames in series0/1.2.840.0.dcm: save one file per slice" in str(caught.value)
    assert "no DICOM image in series1/1.2.840.1.dcm" in str(caught.value)


def test_dicom_without_pydicom_says_how_to_get_it(tmp_path, monkeypatch):
    rows = []
    for i in range(20):
        (tmp_path / f"{i}.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 99)
        rows.append((f"{i}.dcm", i % 2))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(CourseError, match=r"20 faults: DICOM needs pydicom .*'\.\[dicom\]'\), and"):
        read_folder(tmp_path)


# --- Large sets ----------------------------------------------------------------------------------


def test_memory_has_a_bound(tmp_path):
    """The greys of a set of any size stay below a bound, and are those of the whole pictures."""
    from helpers.folder.images import _edge

    for count, size in ((100, (5472, 3648)), (2000, (5472, 3648)), (20_000, (1024, 1024))):
        edge = _edge([size] * count)
        assert count * edge**2 * min(size) / max(size) <= KEPT
    assert _edge([(957, 821)] * 200) > 957  # what fits stays as it is, bit for bit


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak")
@pytest.mark.slow
def test_large_pictures_share_what_a_dozen_of_them_takes(tmp_path):
    """The peak of memory in a process of its own, with 24 pictures of 20 megapixels and with 12."""
    grey = np.asarray(Image.fromarray(picture(np.random.default_rng(0), 1)).resize((5472, 3648)))
    for count in (12, 24):
        for i in range(count):
            name = f"{count}/{('no', 'yes')[i % 2]}/{i}.jpg"
            save(tmp_path / name, np.stack([np.roll(grey, 50 * i, 1)] * 3, -1), quality=70)
    script = (
        "import sys; from pathlib import Path; from helpers.folder import read_folder; "
        "read_folder(sys.argv[1]); "
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    peaks = []
    for count in (12, 24):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / str(count))], cwd=ROOT,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout) / 1e3)
    # Kept whole, twelve more would take 240 MB; all of them as colours 720 MB.
    assert peaks[1] - peaks[0] < 100 and max(peaks) < 900, peaks


# --- Samples to audit ----------------------------------------------------------------------------


def test_samples_in_a_flat_folder(tmp_path):
    for i, (grey, _) in enumerate(pictures(20)):
        save(tmp_path / f"{i:03}.png", grey)
    samples = read_samples(tmp_path)
    assert samples.labels is None and len(samples.greys) == 20
    assert np.array_equal(samples.greys[3], pictures(20)[3][0])


def test_samples_in_a_folder_with_a_listing(tmp_path):
    rows = plain(tmp_path)
    assert read_samples(tmp_path).labels.tolist() == [k for _, k in rows]


@pytest.mark.parametrize("scale", ["uint8", "tanh", "unit", "levels"])
@pytest.mark.parametrize("shape", ["", "one", "colour"])
def test_samples_in_arrays(tmp_path, scale, shape):
    made = np.stack([grey for grey, _ in pictures(20)])
    array = made if shape == "" else np.repeat(made[..., None], 3 if shape == "colour" else 1, -1)
    array = {
        "uint8": array, "tanh": array / 127.5 - 1, "unit": array / 255,
        "levels": array.astype(float),
    }[scale]  # fmt: skip
    np.save(tmp_path / "x.npy", array)
    labels = np.arange(20) % 2
    np.savez(tmp_path / "x.npz", images=array, labels=labels)
    for name, wanted in (("x.npy", None), ("x.npz", labels.tolist())):
        samples = read_samples(tmp_path / name)
        assert np.abs(np.stack(samples.greys).astype(int) - made).max() <= 1
        assert (samples.labels is None) if wanted is None else samples.labels.tolist() == wanted


@pytest.mark.parametrize("scale", [(0, 1), (-1, 1), (0, 255)])
@pytest.mark.parametrize("slip", [-1e-7, 1e-6, 0.015])
def test_a_rounding_error_does_not_change_the_range_of_an_array(tmp_path, scale, slip):
    made = np.stack([grey for grey, _ in pictures(20)])
    made[0, 0, :2] = 0, 255
    array = made / 255 * (scale[1] - scale[0]) + scale[0]
    array[0, 0, :2] += slip
    np.save(tmp_path / "x.npy", array)
    samples = read_samples(tmp_path / "x.npy")
    assert np.abs(np.stack(samples.greys).astype(int) - made).max() <= 4
    assert samples.scale == scale


def _save_npz(path, **arrays):
    with open(path, "wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: np.save(path, np.array([{}, 1], dtype=object)), "without pickles"),
        (lambda path: path.write_bytes(b"no array"), "without pickles"),
        (lambda path: np.save(path, np.zeros((4, 4))), "0 arrays of images"),
        (lambda path: np.save(path, np.full((9, 4, 4), 1e6)), "values from 1e"),
        (lambda path: np.save(path, np.eye(4)[None] * 1.05), "values from 0 to 1.05"),
        (lambda path: np.save(path, np.eye(4)[None] * 1.5 - 1.1), "values from -1.1 to 0.4"),
        (lambda path: np.save(path, np.eye(4)[None] * 200 - 1), "values from -1 to 199"),
        (lambda path: np.save(path, np.full((9, 4, 4), np.nan)), "NaN"),
        (lambda path: np.save(path, np.zeros((9, 4, 4), dtype=complex)), "no grey images"),
        (lambda path: np.save(path, np.zeros((0, 4, 4))), "no grey images"),
        (lambda path: np.save(path, np.zeros((9, 2, 6, 5))), "save it as .n, height, width, chann"),
        (lambda path: _save_npz(path, x=np.zeros((9, 4, 4)), y=np.arange(9)), "holds y beside"),
        (lambda path: _save_npz(path, x=np.zeros((9, 4, 4)), labels=np.arange(9)), "no 0 and 1"),
        (lambda path: _save_npz(path, x=np.zeros((9, 4, 4)), z=np.zeros((9, 4, 4))), "2 arrays"),
    ],
)
def test_arrays_that_are_no_samples(tmp_path, write, reason):
    write(tmp_path / "x.npy")
    with pytest.raises(CourseError, match=reason) as caught:
        read_samples(tmp_path / "x.npy")
    assert "\n" not in str(caught.value)
