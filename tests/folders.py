"""Folders of drawn pictures, nobody's, in the layouts that people have."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(rng: np.random.Generator, label: int, size: int = 48) -> np.ndarray:
    """A disc with a smooth random texture, and in class 1 a bright spot; (size, size), uint8."""
    coarse = Image.fromarray(rng.integers(40, 170, (6, 6), dtype=np.uint8))
    grey = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)).astype(float)
    y, x = np.mgrid[:size, :size] / size - 0.5
    grey[(x / 0.45) ** 2 + (y / 0.47) ** 2 > 1] = 0
    if label:
        right, down = rng.uniform(-0.2, 0.2, 2)
        grey[(x - right) ** 2 + (y - down) ** 2 < 0.006] = 235
    return np.clip(grey + rng.normal(0, 3, grey.shape), 0, 255).astype(np.uint8)


def pictures(count: int = 60, seed: int = 0, share: float = 0.5, size: int = 48):
    """Pictures with their labels, in random order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation((np.arange(count) < share * count).astype(int))
    return [(picture(rng, int(k), size), int(k)) for k in labels]


def save(path: Path, grey: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey).save(path, **options)


def write_csv(path: Path, header, rows, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, **options)
        writer.writerow(header)
        writer.writerows(rows)


def plain(folder: Path, count: int = 60, seed: int = 0, share: float = 0.5, name="{:03}.png"):
    """The usual folder; its rows, for a listing of another kind."""
    rows = []
    for i, (grey, label) in enumerate(pictures(count, seed, share)):
        save(folder / name.format(i), grey)
        rows.append((name.format(i), label))
    write_csv(folder / "labels.csv", ("file", "label"), rows)
    return rows


def write_dicom(path, values, **more):
    """A file as scanners write it, by pydicom."""
    pydicom = pytest.importorskip("pydicom", reason="DICOM needs the extra `dicom`")
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel = 3 if values.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * values.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in more.items():
        setattr(data, name, value)
    data.PixelData = values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def hounsfield(grey):
    """Pictures as Hounsfield units, -1000 to 700, stored with an offset of 1024."""
    return (np.round(grey.astype(float) * 20 / 3) - 1000 + 1024).astype(np.int16)


CT = {"RescaleIntercept": "-1024", "RescaleSlope": "1", "WindowCenter": ["40", "500"],
      "WindowWidth": ["80", "2000"]}  # fmt: skip
