"""Files made to do harm: models, arrays, pictures, listings, links. None runs or fills memory.

A test that is about memory reads the file in a process of its own, which may have 2 GB.
"""

import os
import pickle
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, snapshot
from folders import plain, write_csv
from PIL import Image

from helpers import files
from helpers.files import CourseError
from helpers.folder import examine, read_folder
from helpers.folder.reading import read_samples

LIMITED = """
import resource, sys
from helpers.files import CourseError
from helpers.folder import read_folder
from helpers.folder import reading
from helpers.folder.reading import read_samples
reading.LARGEST_ARRAYS //= 10  # or a test would have to pack 4 GB
resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))
try:
    {read}(sys.argv[1])
except CourseError as error:
    print(error)
peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
assert peak < 1e6, peak
"""


def refusal(path: Path, read: str = "read_folder") -> str:
    """What the function says of the file, in a process with 2 GB that may touch 1 GB."""
    if sys.platform != "linux":
        pytest.skip("only Linux limits the memory of a process")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(read=read), str(path)], cwd=ROOT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return line


# --- Models --------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    """A generator's file, and a function that says why one like it is refused."""
    h5py = pytest.importorskip("h5py")
    from helpers import networks, sampling

    path = tmp_path / "model.h5"
    networks.build_generator().save(path)

    def refuse(change):
        with h5py.File(path, "a") as file:
            change(file, next(iter(file["model_weights"].values())))
        with pytest.raises(CourseError, match="does not hold this course's generator") as caught:
            sampling.load_generator(path)
        return str(caught.value)

    return refuse


def test_a_model_whose_arrays_are_larger_than_the_network(model):
    """A dataset of 4 TB takes no place in the file, for nothing was written into it."""
    words = model(
        lambda file, layer: layer.create_dataset("x", (10**6, 10**6), "f4", chunks=(10**3, 10**3))
    )
    assert "numbers instead of at most" in words


def test_a_model_that_reads_another_file(model, tmp_path):
    import h5py

    secret = tmp_path / "secret"
    secret.write_bytes(b"my secret key...")
    words = model(
        lambda file, layer: layer.create_dataset("x", (4,), "f4", external=[(str(secret), 0, 16)])
    )
    assert "x is in another file" in words

    def virtual(file, layer):
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
        del layer["x"]
        layer.create_virtual_dataset("x", layout)

    assert "x is in another file" in model(virtual)

    def link(file, layer):
        del layer["x"]
        layer["x"] = h5py.ExternalLink(str(secret), "/x")

    assert "x is a link" in model(link)


def test_a_model_with_texts_or_endless_groups(model):
    import h5py

    def endless(file, layer):
        layer["again"] = file["model_weights"]
        layer.create_dataset("x", data=["import os"])

    assert "x is no array of numbers" in model(endless)

    def same_text_often(file, layer):
        del layer["again"], layer["x"]
        layer.attrs.create("names", ["x"] * 1000, dtype=h5py.string_dtype())

    assert "attribute names is too long" in model(same_text_often)

    def long_text(file, layer):
        del layer.attrs["names"]
        layer.attrs.create("names", ["x" * 2_000_000], dtype=h5py.string_dtype())

    assert "more texts than a network has" in model(long_text)


def test_models_that_the_course_made_are_safe(tmp_path):
    """Those that come with it, and one saved with its optimizer."""
    pytest.importorskip("h5py")
    from helpers import judge, networks, sampling

    generator = networks.build_generator()
    generator.compile(optimizer="adam", loss="mse")
    generator.optimizer.build(generator.trainable_variables)
    with files.atomic_write(tmp_path / "compiled.h5") as path:
        generator.save(path)
    sampling.load_generator(tmp_path / "compiled.h5")
    sampling.refuse_unsafe(judge.JUDGE_WEIGHTS, 2 * judge.build_judge().count_params())
    for path in (sampling.PRETRAINED / f"{name}.h5" for name in ("haemorrhage", "clear")):
        sampling.load_generator(path)


# --- Arrays --------------------------------------------------------------------------------------


class Harm:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_an_array_with_a_pickle_is_not_unpickled(tmp_path):
    """Neither as samples, nor as what a run has prepared, nor as a checkpoint."""
    from helpers import preprocessing

    marker = tmp_path / "it-ran"
    harm = np.array([Harm(marker)], dtype=object)
    np.save(tmp_path / "x.npy", harm)
    np.savez(tmp_path / "prepared.npz", images=harm)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Harm(marker)))
    for name in ("x.npy", "prepared.npz", "plain.npy"):
        with pytest.raises(CourseError, match="without pickles"):
            read_samples(tmp_path / name)
    (tmp_path / "split.csv").write_text("file,label,group,split\n")
    with pytest.raises(ValueError, match="allow_pickle=False"):
        preprocessing.load_prepared(tmp_path)
    assert not marker.exists()
    pickle.loads((tmp_path / "plain.npy").read_bytes())
    assert marker.exists(), "it does no harm, so nothing was tried"


def write_bomb(path: Path, shape: tuple[int, ...]) -> None:
    """An NPZ whose one array is zeros, packed as small as it gets."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(shape[0]):
            file.write(bytes(int(np.prod(shape[1:]))))


def test_arrays_that_are_small_only_in_their_file(tmp_path):
    write_bomb(tmp_path / "x.npz", (5, 10_000, 10_000))
    assert (tmp_path / "x.npz").stat().st_size < 600_000
    assert "holds arrays of 0.5 GB" in refusal(tmp_path / "x.npz", "read_samples")
    with open(tmp_path / "y.npy", "wb") as file:  # says so, and holds nothing
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)
    assert "holds arrays of 8,000.0 GB" in refusal(tmp_path / "y.npy", "read_samples")


def test_bytes_are_counted_as_numpy_loads_them(tmp_path):
    arrays = {"a": np.zeros((3, 5), np.float32), "b": np.zeros(7, bool), "c": np.array("text")}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    np.save(tmp_path / "x.npy", arrays["a"])
    assert files.unpacked_bytes(tmp_path / "x.npz") == sum(a.nbytes for a in arrays.values())
    assert files.unpacked_bytes(tmp_path / "x.npy") == 60


def test_a_packed_checkpoint_is_taken_for_a_damaged_one(tmp_path, capsys):
    from helpers import training

    np.savez(tmp_path / "step-000001.npz", origin='{"members": 2}', arr_0=np.zeros(10**6))
    assert training._read_newest(tmp_path)["path"].name == "step-000001.npz"
    np.savez_compressed(
        tmp_path / "step-000002.npz", origin='{"members": 2}', arr_0=np.zeros(10**6)
    )
    assert training._read_newest(tmp_path)["path"].name == "step-000001.npz"
    assert "step-000002.npz cannot be read; going back" in capsys.readouterr().out


# --- Pictures ------------------------------------------------------------------------------------


def test_pictures_that_are_small_only_in_their_file(tmp_path):
    """100 and 400 megapixels of nothing, in three formats; from 179 on Pillow refuses by itself."""
    plain(tmp_path, 40)
    rows = [line.split(",") for line in (tmp_path / "labels.csv").read_text().splitlines()[1:]]
    pack = {"compression": "group4"}
    for name, edge, options in (
        ("a.png", 10_000, {}),
        ("b.tif", 20_000, pack),
        ("c.gif", 10_000, {}),
    ):
        Image.new("1", (edge, edge)).save(tmp_path / name, **options)
        assert (tmp_path / name).stat().st_size < 1_000_000
        rows.append((name, "1"))
    write_csv(tmp_path / "labels.csv", ("file", "label"), rows)
    words = "has 3 faults: too many pixels for a slice in a.png, b.tif, c.gif: shrink it first."
    assert refusal(tmp_path).endswith(words)


def test_a_deflated_dicom_file_is_refused_before_it_is_unpacked(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from test_folder_formats import write_dicom

    plain(tmp_path, 40)
    path = tmp_path / "bomb.dcm"
    write_dicom(path, np.zeros((8, 8), np.int16))
    meta = pydicom.dcmread(path).file_meta
    meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    packer = zlib.compressobj(9, wbits=-15)
    with open(path, "wb") as file:
        file.write(bytes(128) + b"DICM")
        pydicom.filewriter.write_file_meta_info(file, meta)
        block = packer.compress(bytes(10**7)) + packer.flush(zlib.Z_FULL_FLUSH)
        file.write(300 * block + packer.flush())
    assert path.stat().st_size < 4_000_000
    with open(tmp_path / "labels.csv", "a") as file:
        file.write("bomb.dcm,1\n")
    assert "a deflated file, of which nobody knows the size before, in bomb.dcm" in refusal(
        tmp_path
    )


# --- Listings and links --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["labels.csv", "groups.csv"])
def test_a_listing_of_a_gigabyte_is_refused_unread(tmp_path, name):
    plain(tmp_path, 40)
    with open(tmp_path / name, "a") as file:
        file.truncate(1_000_000_000)
    if name == "labels.csv":
        assert f"{name} is larger than 100 MB: is it the listing?" in refusal(tmp_path)
    else:
        with pytest.raises(CourseError, match="is larger than 100 MB"):
            examine(tmp_path, 0, {})


def test_a_listing_reaches_no_file_outside_of_its_folder(tmp_path):
    data, secret = tmp_path / "data", tmp_path / "secret"
    secret.mkdir()
    Image.new("L", (40, 40), 99).save(secret / "scan.png")
    data.mkdir()
    plain(data, 40)
    listing = (data / "labels.csv").read_text()
    for name in ("../secret/scan.png", str(secret / "scan.png"), "..\\secret\\scan.png"):
        (data / "labels.csv").write_text(f"{listing}{name},1\n")
        with pytest.raises(CourseError, match=r"scan\.png"):
            read_folder(data)


@pytest.mark.parametrize("whole", [False, True])
def test_links_that_lead_out_of_the_folder_are_told_and_nothing_is_written_there(tmp_path, whole):
    """Large sets lie on other disks, so links are followed; but never without a word."""
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    elsewhere.mkdir()
    rows = plain(elsewhere, 40)
    data.mkdir()
    names = [name for name, _ in rows]
    if whole:
        (data / "images").symlink_to(elsewhere, target_is_directory=True)
        (elsewhere / "labels.csv").rename(data / "labels.csv")
        count, first = 40, f"images/{names[0]}"
    else:
        for name in [*names, "labels.csv"]:
            (elsewhere / name).rename(data / name)
        (data / names[3]).rename(elsewhere / "x.png")
        (data / names[3]).symlink_to(elsewhere / "x.png")
        count, first = 1, names[3]
    before = snapshot(elsewhere), snapshot(data)
    (note,) = [n for n in read_folder(data).reading.notes if "by links" in n]
    assert note.startswith(f"{count} images are outside of the folder, by links in it: {first}")
    assert (snapshot(elsewhere), snapshot(data)) == before


def test_a_linked_folder_is_itself_no_link_out_of_it(tmp_path):
    (tmp_path / "data").mkdir()
    plain(tmp_path / "data", 40)
    (tmp_path / "link").symlink_to(tmp_path / "data", target_is_directory=True)
    assert not any("by links" in note for note in read_folder(tmp_path / "link").reading.notes)
