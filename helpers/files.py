"""Errors, paths, files written whole or not at all, JSON, the run folder and its lock."""

import contextlib
import json
import math
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from helpers.injected import wrong_parameter

PROJECT = Path(__file__).resolve().parent.parent
RESULTS = PROJECT / "experiments" / "results"  # one file for each published measurement
KERNEL_LOCK = "COURSE_KERNEL_LOCK"  # set by course.run for the kernels that it starts


class CourseError(Exception):
    """An error that the user can fix; its message says what is wrong and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter prints for this error: the message, without the traceback."""
        return [f"{type(self).__name__}: {self}"]


def project_path(path: str | Path) -> Path:
    """An absolute path; a relative one counts from the project's root, wherever Jupyter started.

    Raises:
        CourseError: It begins with the home of a user who does not exist.
    """
    try:
        return (PROJECT / Path(path).expanduser()).resolve()
    except RuntimeError:
        raise CourseError(f"{path}: this machine has no such user: write the path out.") from None


def open_run(out_dir: str | Path) -> Path:
    """The run's folder, made if missing.

    In a kernel that `course run` started, this also takes the kernel's lock, for which the next
    run waits: a kernel can still write for a second after its run was killed. A notebook that is
    run by hand changes the folder, so the command no longer counts its notebooks as finished.

    Raises:
        CourseError: Another run is writing there, there is something else, nothing can be
            written, or papermill was given an unknown parameter.
    """
    if wrong := wrong_parameter(_cells_so_far(), PROJECT / "notebooks"):
        raise CourseError(wrong)
    out = make_folder(project_path(out_dir))
    if KERNEL_LOCK in os.environ:
        # Kept open on purpose: the lock goes when the process goes.
        _held.append(lock(Path(os.environ[KERNEL_LOCK]), wait=10))
    else:
        is_run = (out / ".lock").exists() or read_json(out / "run.json").get("settings")
        is_run = is_run and not (out / "study.json").exists()
        # Papermill may have begun to write its notebook here.
        if not is_run and any(path.suffix != ".ipynb" for path in out.glob("[!.]*")):
            raise CourseError(f"{out} is not empty and holds no run: choose another out_dir.")
        lock(out / ".lock").release()
        (out / "notebooks" / "finished.json").unlink(missing_ok=True)
    return out


def _cells_so_far() -> list[str]:
    """The sources of the cells that have run in this kernel; none outside of Jupyter."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return list(shell.user_ns.get("In", [])) if shell else []


def make_folder(path: Path) -> Path:
    """The folder, made if missing.

    Raises:
        CourseError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(f"{path} cannot be a folder ({error}): choose another OUT.") from None
    return path


_held: list[filelock.BaseFileLock] = []


def lock(path: Path, wait: float = 0) -> filelock.BaseFileLock:
    """Take a lock file; it ends with the process.

    Args:
        path: The file; it stays when the lock is released.
        wait: Seconds.

    Raises:
        CourseError: Another process still has it after that time, or it cannot be written.
    """
    held = filelock.FileLock(path)
    try:
        held.acquire(timeout=wait)
    except filelock.Timeout:
        raise CourseError(
            f"{path.parent} is in use by another run: wait for it, stop it, or choose another OUT."
        ) from None
    except OSError as error:
        raise _write_error(path.parent, error) from None
    return held


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, moved there only if the block ends well.

    Readers see the old file or the new one, never half of it, also when the disk fills.

    Raises:
        CourseError: The disk is full, or the folder cannot be written.
    """
    path = Path(path)
    # The suffix stays last: Keras, Pillow and NumPy choose the format by it.
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "r+b") as written:  # Windows flushes no file that is open for reading
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def require_room(path: Path, size: int) -> None:
    """Make sure that `size` bytes fit, by writing a file of zeros and removing it.

    For libraries that crash on a full disk.

    Args:
        path: The file that such a library is going to write.
        size: Bytes that it may take.

    Raises:
        OSError: The disk has not as much room.
    """
    try:
        with open(path, "wb") as file:
            for _ in range(0, size, 2**20):
                file.write(bytes(2**20))
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder, which becomes `path` only if the block ends well; an earlier one goes.

    Raises:
        CourseError: The disk is full, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            yield made
            before = path.rename(Path(temporary) / "before") if path.exists() else None
            try:
                made.rename(path)
            except OSError:
                if before:
                    before.rename(path)
                raise
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: Path, error: OSError) -> CourseError:
    # HDF5 writes a report of several lines into strerror, and Pillow none.
    reason = os.strerror(error.errno) if error.errno else str(error).split("\n")[0]
    return CourseError(
        f"{path} could not be written ({reason}): free some space or choose another OUT; whatever "
        "was there before is unchanged."
    )


def unpacked_bytes(path: Path) -> int:
    """The bytes that an NPY's or NPZ's arrays take in memory, by their headers alone.

    A small NPZ can hold arrays of any size.

    Raises:
        ValueError, OSError, zipfile.BadZipFile: It is no such file, or damaged.
    """
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            return _array_bytes(file)
    with zipfile.ZipFile(path) as archive:
        total = 0
        for member in archive.infolist():
            with archive.open(member) as file:
                total += _array_bytes(file)
        return total


def _array_bytes(file: Any) -> int:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0}
    shape, _, dtype = read.get(version, np.lib.format.read_array_header_2_0)(file)
    return math.prod(shape) * dtype.itemsize


def read_json(path: Path) -> dict[str, Any]:
    """The file's content, or an empty dictionary where there is no file.

    Raises:
        CourseError: It is no JSON, as after a copy that was cut off.
    """
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CourseError(
            f"{path} is damaged ({error}): put back a whole copy, or remove it to start over."
        ) from None


def read_results(
    path: Path, settings: dict[str, Any], later: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What a file of results holds, for a program that adds rows to it; ``{}`` if there is none.

    Args:
        path: The file, whose rows were computed with its ``settings``.
        settings: Of the rows that are to be added.
        later: Names of settings that older files lack, or have as null.

    Raises:
        CourseError: The settings differ, so the rows would not belong together.
    """
    found = read_json(path)
    if not found:
        return {}
    now = json.loads(json.dumps(settings))
    before = found.get("settings", {})
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if old != new and not (name in later and old is None):
            raise CourseError(
                f"{path} has rows with other settings ({name}: {old}, now {new}): move it away, "
                "or choose another file."
            )
    return found


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON, whole or not at all, and without NaN."""
    text = json.dumps(
        content, indent=2, ensure_ascii=False, allow_nan=False,
        default=lambda value: value.tolist(),  # NumPy's numbers and arrays
    )  # fmt: skip
    # A list of plain numbers goes on one line; a text never holds a bare end of line.
    text = re.sub(r'\[\n([^][{}"]+)\]', lambda found: f"[{' '.join(found[1].split())}]", text)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def record(out: Path, **parts: Any) -> None:
    """Write these top-level parts of the run's `metrics.json`; the others stay as they are."""
    write_json(out / "metrics.json", read_json(out / "metrics.json") | parts)


def require_file(path: Path, maker: str) -> Path:
    """The path.

    Raises:
        CourseError: It is missing; the message names the notebook that makes it, `maker`.
    """
    if not path.exists():
        raise CourseError(f"{path} is missing: run notebooks/{maker}.ipynb first (Colab: README).")
    return path
