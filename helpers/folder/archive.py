"""Unpacks a zip file with a folder of images, and refuses one that could do harm."""

import re
import shutil
import zipfile
from pathlib import Path, PurePosixPath

from helpers.files import CourseError, atomic_folder, project_path
from helpers.machine import digest

SYSTEM = ("__MACOSX", ".DS_Store", "Thumbs.db")  # what computers add to a zip file by themselves


def unpack(path: str | Path, out: Path) -> Path:
    """The folder that holds the images: `path` itself, or what a zip file holds, unpacked.

    Args:
        path: A folder, or a file that ends in `.zip`.
        out: Where to unpack, in a folder named after the content: the same file is unpacked once.

    Returns:
        A folder for `read_folder`, which refuses what is no folder of images.

    Raises:
        CourseError: The zip file is missing or damaged, has a password, holds paths that lead
            outside, or more than the disk has room for.
    """
    path = project_path(path)
    if path.suffix.lower() != ".zip":
        return path
    if not path.is_file():
        raise CourseError(f"{path} is missing: upload the zip file, or correct its name.")
    try:
        with zipfile.ZipFile(path) as packed:
            return _unpack(packed, path, out)
    except (CourseError, OSError):
        raise
    except Exception as error:  # each way of packing raises its own
        raise CourseError(
            f"{path} cannot be unpacked ({error}): pack and upload it again."
        ) from None


def _unpack(packed: zipfile.ZipFile, path: Path, out: Path) -> Path:
    for item in packed.infolist():
        item.filename = item.filename.replace("\\", "/")  # as some programs of Windows pack
    wanted = [
        item for item in packed.infolist()
        if not item.is_dir() and not set(PurePosixPath(item.filename).parts) & set(SYSTEM)
    ]  # fmt: skip
    for item in wanted:
        inside = PurePosixPath(item.filename)
        drive = re.match(r"[A-Za-z]:", item.filename)
        if inside.is_absolute() or ".." in inside.parts or drive:
            raise CourseError(f"{path} holds {item.filename!r}, outside its folder: pack it again.")
        if item.flag_bits & 1:
            raise CourseError(f"{path} has a password: pack it again without one.")
    if not wanted:
        raise CourseError(f"{path} holds no file: pack the folder with the images.")
    size = sum(item.file_size for item in wanted)
    out.mkdir(parents=True, exist_ok=True)
    if size > 0.9 * shutil.disk_usage(out).free:
        raise CourseError(
            f"{path} unpacks to {size / 1e9:.1f} GB, for which the disk has no room: pack less."
        )
    content = [f"{item.filename} {item.CRC} {item.file_size}".encode() for item in wanted]
    folder = out / f"{path.stem}-{digest(*content)[:8]}"
    if not folder.is_dir():
        with atomic_folder(folder) as unfinished:
            packed.extractall(unfinished, wanted)
    return folder
