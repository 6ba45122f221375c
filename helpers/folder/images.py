"""From files of any usual format to grey levels, with what is worth knowing about each file."""

import hashlib
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageOps

from helpers import machine
from helpers.folder import dicom
from helpers.folder.faults import Faults

KEPT = 256_000_000  # bytes: greys of a whole set are kept as large as fits into these
EDGES = (2048, 1024, 512, 256, 128, 64)  # pixels; the networks see 32
AT_ONCE = 45_000_000  # pixels that are decoded at the same time
SAMPLED = 4096  # pixels of an image that tell the range of the stored values
UNREADABLE = "no readable image in {}: replace the file, or remove it here and in the table"
WIDE_COLOUR = "16 bits per colour in {}: save it as grey of 16 bits, or colour of 8"
TOO_LARGE = "too many pixels for a slice in {}: shrink it first"


@dataclass
class Stored:
    """One file's pixels as stored.

    `values` are ``(height, width)``; ``uint8`` are grey levels, others need a window: the file's
    own `window`, or the set's. `inverted` means that the largest value is black.
    """

    values: np.ndarray
    facts: dict[str, Any]
    window: tuple[float, float] | None = None
    inverted: bool = False


def read_pictures(
    folder: Path, names: list[str], faults: Faults, window: tuple[float, float] | None = None
) -> tuple[list[np.ndarray], list[dict[str, Any]], dict[str, Any]]:
    """Read images in parallel; what cannot be read becomes a fault.

    Args:
        folder, names: Where, and which.
        faults: Gets the files that cannot be read.
        window: Stored values of black and white, of images with more than 8 bits; if there are
            none, of all.

    Returns:
        Greys ``(height, width)``, ``uint8``, shrunk if a set of their size is too much to keep;
        facts of each file; and the range that was used: `low`, `high`, `beyond`, `brightest`, or
        nothing where all files have 8 bits.
    """
    headers = _in_parallel(_header, [folder / name for name in names], "look at files", 1)
    sizes, deep = [], []
    for name, (size, is_deep, fault) in zip(names, headers, strict=True):
        if fault:
            faults.add(fault[0], f"{name} ({fault[1]})" if fault[1] else name)
        sizes.append(size)
        deep.append(is_deep)
    largest = max(map(_area, sizes), default=1)
    good = [i for i, header in enumerate(headers) if not header[2]]
    used_range: dict[str, Any] = {}
    applies = window
    if window is None and any(deep):
        wide = [folder / names[i] for i in good if deep[i]]
        sampled = _in_parallel(_sample, wide, "find the range", largest)
        if sampled := [values for values in sampled if values is not None]:
            applies, used_range = robust_range(sampled)
    elif window is not None:
        used_range = {"low": window[0], "high": window[1]}
    edge = _edge(sizes)
    window_for_deep_only = any(deep)

    def read(path: Path):
        try:
            stored = load(path)
            grey = to_grey_levels(stored, applies, window_for_deep_only, window is not None)
            extra = {"own_window": window is None and stored.window is not None}
            extra["bits"] = _count_bits(stored)
            return shrink_to(grey, edge), stored.facts | extra | describe_grey(grey, path), None
        except Exception as error:  # Pillow and pydicom raise whatever they stumble over
            return None, None, _why(path, error)

    done = _in_parallel(read, [folder / names[i] for i in good], "read images", largest)
    greys, facts = [], []
    for i, (grey, described, fault) in zip(good, done, strict=True):
        if fault:
            faults.add(fault[0], f"{names[i]} ({fault[1]})")
        else:
            greys.append(grey)
            facts.append(described)
    return greys, facts, used_range


def load(path: Path) -> Stored:
    """One file's pixels, and what its header says.

    Raises:
        dicom.Refused: A DICOM file that cannot be used.
        ValueError: Values that are NaN or infinite.
        Exception: Whatever Pillow and pydicom raise on a damaged file.
    """
    if dicom.is_dicom(path):
        return Stored(**dicom.load(path))
    with Image.open(path) as image:
        facts = {
            "format": image.format,
            "mode": image.mode,
            "pages": getattr(image, "n_frames", 1),
            "quantization": sum(next(iter(getattr(image, "quantization", {0: [0]}).values()), [0])),
        }
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I") or image.mode == "F":
            white_is_zero = image.format == "TIFF" and image.tag_v2.get(262) == 0
            values = np.asarray(image)
            values = values.astype(values.dtype.newbyteorder("="))
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ValueError("some of its values are NaN or infinite")
            return Stored(values, facts | _colours(None), inverted=white_is_zero)
        image.load()
        return Stored(grey_of(image), facts | _colours(image))


def grey_of(image: Image.Image) -> np.ndarray:
    """Grey levels of an opened 8-bit image, as `preprocessing.read_grey`; opaque: less memory.

    Returns:
        ``(height, width)``, ``uint8``, 0 black to 255 white.
    """
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        layers = image.convert("RGBA")
        black = Image.new("RGBA", layers.size, "black")
        return np.asarray(Image.alpha_composite(black, layers).convert("L"))
    opaque = image if image.mode in ("1", "L", "RGB") else image.convert("RGB")
    return np.asarray(opaque.convert("L"))


def robust_range(samples: list[np.ndarray]) -> tuple[tuple[float, float], dict[str, Any]]:
    """The stored values that become black and white in a whole set.

    From one pixel in a thousand to all but one in a thousand; markers, and metal, end it earlier:
    where at most 3 of 100 pixels are above a gap as wide as all below it.

    Args:
        samples: As many stored values from each image.

    Returns:
        Black and white, and for the report `low`, `high`, `beyond` (share of the sampled pixels
        that are brighter) and `brightest`.
    """
    values = np.sort(np.concatenate(samples).astype(float))
    low, high = (values[round(q * (len(values) - 1))] for q in (0.001, 0.999))
    top = values[round(0.97 * (len(values) - 1)) :]
    gap = (np.diff(top) >= top[:-1] - low) & (top[1:] <= high)
    for i in np.flatnonzero(gap):
        below = np.unique(values[(values > low) & (values <= top[i])])
        if len(below) >= 32:  # not merely a dark image's first steps
            high = top[i]
            break
    beyond = float(np.mean(values > high))
    return (low, high), {
        "low": float(low), "high": float(high), "beyond": beyond, "brightest": float(values[-1])
    }  # fmt: skip


def to_grey_levels(
    stored: Stored, window: tuple[float, float] | None, window_for_deep_only: bool, asked: bool
) -> np.ndarray:
    """Apply a window: the one asked for, the file's own, or the set's.

    Images of 8 bits keep their values, unless a window is asked for and no image of the set has
    more bits.

    Args:
        stored: One file's pixels.
        window: Stored values of black and white: the one asked for, or the set's.
        window_for_deep_only: Whether some image of the set has more than 8 bits.
        asked: Whether the user gave the window.

    Returns:
        ``(height, width)``, ``uint8``, 0 black to 255 white.
    """
    values = stored.values
    of_8_bits = values.dtype == np.uint8
    if of_8_bits and (window_for_deep_only or not asked):
        grey = values
    else:
        low, high = window if asked or stored.window is None else stored.window
        width = high - low if high > low else 1
        scaled = (values.astype(np.float32) - low) * (255 / width)
        grey = np.round(scaled.clip(0, 255)).astype(np.uint8)
    return 255 - grey if stored.inverted else grey


def shrink_to(grey: np.ndarray, edge: int) -> np.ndarray:
    """Shrink ``(height, width)``, ``uint8``, to at most `edge` pixels; smaller ones stay."""
    height, width = grey.shape
    if max(height, width) <= edge:
        return np.array(grey)
    scale = edge / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(grey)
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def describe_grey(grey: np.ndarray, path: Path) -> dict[str, Any]:
    """What the grey levels of one image, at full size, tell about it.

    Returns:
        `width`, `height` in pixels; `constant` (hardly any grey levels), `blank` (nearly one
        level), `two_levels` (as a mask); `border` and `border_spread`, mean and standard deviation
        along the edges, 0 to 255; `brightest`, 0 to 255; `sha256` of the file; `pixels`, a hash.
    """
    height, width = grey.shape
    # Pillow counts without a copy of eight bytes a pixel, which NumPy's bincount makes.
    levels = np.array(Image.fromarray(grey).histogram())
    share = levels / levels.sum()
    lowest, highest = np.flatnonzero(levels)[[0, -1]]
    median = int(np.searchsorted(np.cumsum(share), 0.5))
    ends = share[: lowest + 17].sum() + share[max(highest - 16, lowest + 17) :].sum()
    bright = share[max(highest - 16, 0) :].sum()
    ring = max(1, min(height, width) // 50)
    border = np.concatenate([
        grey[:ring].ravel(), grey[-ring:].ravel(), grey[:, :ring].ravel(), grey[:, -ring:].ravel(),
    ])  # fmt: skip
    return {
        "width": width,
        "height": height,
        "constant": bool(highest - lowest < 8),
        "blank": bool(share[max(0, median - 8) : median + 9].sum() > 0.99),
        "two_levels": bool(highest - lowest >= 48 and ends > 0.97 and 0.001 < bright < 0.999),
        "border": float(border.mean()),
        "border_spread": float(border.std()),
        "brightest": int(highest),
        "sha256": _digest_file(path),
        "pixels": machine.digest(str(grey.shape).encode(), grey.tobytes()),
    }


def _count_bits(stored: Stored) -> int:
    """How many bits the stored values take: 8, 12, 14 or 16.

    0 for signed values, floats, and files with a window of their own.
    """
    if stored.values.dtype == np.uint8:
        return 8
    if stored.values.dtype.kind != "u" or stored.window is not None:
        return 0
    bits = int(stored.values.max()).bit_length()
    return next((most for most in (12, 14) if bits <= most), 16)


def _colours(image: Image.Image | None) -> dict[str, Any]:
    """Whether a tint lies over the grey, and how far red and blue differ from it on average."""
    if image is None or image.mode in ("1", "L", "LA"):
        return {"tinted": False, "red": 0.0, "blue": 0.0}
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if _area(rgb.size) > 4_000_000:
        rgb = rgb.reduce(int(np.ceil(np.sqrt(_area(rgb.size) / 4_000_000))))
    red, green, blue = rgb.split()
    top = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    bottom = ImageChops.darker(ImageChops.darker(red, green), blue)
    small = np.asarray(rgb.resize((64, 64), Image.Resampling.BOX), dtype=float).mean(axis=(0, 1))
    grey = small @ (0.299, 0.587, 0.114)
    return {
        "tinted": bool(ImageChops.difference(top, bottom).getextrema()[1] > 20),
        "red": float(small[0] - grey),
        "blue": float(small[2] - grey),
    }


def _header(path: Path) -> tuple[tuple[int, int], bool, tuple[str, str] | None]:
    """Size, whether it has more than 8 bits, and what is wrong, if anything."""
    try:
        if dicom.is_dicom(path):
            return (*dicom.header(path), None)
        with Image.open(path) as image:
            size, mode = image.size, image.mode
            bits = image.tag_v2.get(258, (8,)) if image.format == "TIFF" else (8,)
            if image.format == "PNG":
                with open(path, "rb") as file:
                    bits = (file.read(25)[24],)
        if _area(size) > Image.MAX_IMAGE_PIXELS:
            return size, False, (TOO_LARGE, "")
        if max(bits) > 8 and not (mode.startswith("I") or mode == "F"):
            return size, False, (WIDE_COLOUR, "")
        return size, mode.startswith("I") or mode == "F", None
    except Exception as error:
        return (0, 0), False, _why(path, error)


def _sample(path: Path) -> np.ndarray | None:
    """Stored values of one image, as many from each; None where it has a window of its own."""
    try:
        stored = load(path)
    except Exception:  # reading says why
        return None
    if stored.window is not None or stored.values.dtype == np.uint8:
        return None
    values = stored.values.ravel()
    return values[np.random.default_rng(0).integers(len(values), size=SAMPLED)].astype(np.float32)


def _why(path: Path, error: Exception) -> tuple[str, str]:
    """The kind of fault, and its reason in a few words."""
    if isinstance(error, dicom.Refused):
        return str(error), ""
    if isinstance(error, Image.DecompressionBombError):
        return TOO_LARGE, ""
    try:
        with open(path, "rb") as file:
            start = file.read(100).lstrip()
    except OSError as unread:
        return UNREADABLE, unread.strerror or type(unread).__name__
    if not start:
        return UNREADABLE, "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return UNREADABLE, "it is a pointer of Git LFS: git lfs pull"
    if start.startswith(b"<"):
        return UNREADABLE, "it is a web page"
    message = str(error).replace(str(path), "it").split("\n")[0].strip() or type(error).__name__
    return UNREADABLE, "it is no image" if "cannot identify" in message else message[:80]


def _in_parallel(
    work: Callable[[Path], Any], paths: list[Path], title: str, pixels: int
) -> list[Any]:
    """The results in order; fewer files at once where they are large.

    Threads are enough, since Pillow decodes beside Python; joblib would save no line.
    """
    workers = max(1, min(8, os.cpu_count() or 1, AT_ONCE // max(1, pixels)))
    # What pydicom and Pillow find odd and read nevertheless is no news to a user.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(workers) as pool:
        results = pool.map(work, paths)
        if len(paths) < 500 and pixels * len(paths) < 500_000_000:  # seconds: no bar
            return list(results)
        return list(machine.progress(results, title, len(paths)))


def _edge(sizes: list[tuple[int, int]]) -> int:
    """The largest edge at which the greys of a whole set can be kept."""
    for edge in (10**9, *EDGES):
        scales = (min(1, edge / max(1, *size)) for size in sizes)
        if sum(_area(size) * s**2 for size, s in zip(sizes, scales, strict=True)) <= KEPT:
            return edge
    return EDGES[-1]


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _digest_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
