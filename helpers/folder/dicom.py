"""DICOM files, with pydicom if it is there: rescaled values, the file's window, its patient."""

from pathlib import Path
from typing import Any

import numpy as np

ENDINGS = (".dcm", ".dicom", ".ima")
MISSING = "DICOM needs pydicom (.venv/bin/pip install -e '.[dicom]'), and is in {}"
NO_IMAGE = "no DICOM image in {}: replace the file, or remove it here and in the table"
VOLUME = (
    "several frames in {}: save one file per slice, and list all of a volume under one patient in "
    "the listing"
)
PACKED = (
    "a compression that pydicom alone cannot read in {}: decompress it with gdcmconv --raw, or "
    "install pylibjpeg"
)
DEFLATED = "a deflated file, of which nobody knows the size before, in {}: save it as plain DICOM"
WIDE_COLOUR = "16 bits per colour in {}: export it as PNG"


class Refused(Exception):
    """A file that is not read: what is wrong, as a sentence with ``{}`` for its name."""


def is_dicom(path: Path) -> bool:
    """Whether the file is DICOM, by its first bytes, or by its ending."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix.lower() in ENDINGS


def header(path: Path) -> tuple[tuple[int, int], bool]:
    """Width and height, and whether the values need a window.

    Raises:
        Refused: pydicom is missing, or the file holds no single image.
    """
    data = _read(path, stop_before_pixels=True)
    deep = int(data.get("SamplesPerPixel", 1)) == 1
    return (int(data.Columns), int(data.Rows)), deep


def load(path: Path) -> dict[str, Any]:
    """The fields of `images.Stored`.

    Raises:
        Refused: pydicom is missing, or the file has no single image that it can read.
    """
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    data = _read(path)
    try:
        values = data.pixel_array
    except (RuntimeError, NotImplementedError) as error:
        raise Refused(PACKED) from error
    kind = str(data.PhotometricInterpretation)
    facts = {
        "format": "DICOM", "mode": kind, "pages": 1, "quantization": 0, "tinted": False,
        "red": 0.0, "blue": 0.0,
        "patient": str(data.get("PatientID", "") or ""),
        "study": str(data.get("StudyInstanceUID", "") or ""),
        "burned_in": str(data.get("BurnedInAnnotation", "")).upper() == "YES",
    }  # fmt: skip
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, data)
        values = (values // 256 if values.dtype == np.uint16 else values).astype(np.uint8)
    if values.ndim == 3:
        if values.dtype != np.uint8:
            raise Refused(WIDE_COLOUR)
        grey = np.round(values[..., :3].astype(float) @ (0.299, 0.587, 0.114)).astype(np.uint8)
        means = values[..., :3].reshape(-1, 3).mean(axis=0) - grey.mean()
        tinted = bool(np.ptp(values[..., :3].astype(np.int16), axis=2).max() > 20)
        facts |= {"tinted": tinted, "red": float(means[0]), "blue": float(means[2])}
        return {"values": grey, "facts": facts}
    values = np.asarray(apply_modality_lut(values, data), dtype=np.float32)
    return {
        "values": values, "facts": facts, "window": _window(data), "inverted": kind == "MONOCHROME1"
    }  # fmt: skip


def _read(path: Path, **options: Any) -> Any:
    try:
        import pydicom
    except ImportError:
        raise Refused(MISSING) from None
    if _is_deflated(path):  # whole, whatever it becomes, before anything in it can be asked
        raise Refused(DEFLATED)
    data = pydicom.dcmread(path, force=True, **options)
    if "Rows" not in data or "Columns" not in data:
        raise Refused(NO_IMAGE)
    if int(data.get("NumberOfFrames", 1) or 1) > 1:
        raise Refused(VOLUME)
    return data


def _is_deflated(path: Path) -> bool:
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    try:
        return read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    except InvalidDicomError:  # no such information: then it isn't
        return False


def _window(data) -> tuple[float, float] | None:
    """The first window that the file names: rescaled values of black and white (C.11.2.1.2)."""
    centres, widths = data.get("WindowCenter"), data.get("WindowWidth")
    if centres is None or widths is None or centres == "" or widths == "":
        return None
    first = [float(v[0] if hasattr(v, "__len__") else v) for v in (centres, widths)]
    centre, width = first
    if width < 1:
        return None
    if str(data.get("VOILUTFunction", "LINEAR")).upper() == "LINEAR" and width > 1:
        return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    return centre - width / 2, centre + width / 2
