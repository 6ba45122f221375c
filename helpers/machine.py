"""TensorFlow's set-up, precision, seeds, versions, hashes and progress on this machine."""

import contextlib
import functools
import gc
import hashlib
import importlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np

from helpers import files
from helpers.files import CourseError

DEVICE = "COURSE_DEVICE"  # names a module that computes in TensorFlow's place
PROGRESS_FILE = "COURSE_PROGRESS_FILE"  # set by course.run: where a kernel writes its progress
# TF_ENABLE_ONEDNN_OPTS: oneDNN's kernels, always on. By default TensorFlow uses them only with
# AVX-512, but they were faster for these networks without it as well, and one setting gives the
# same bits everywhere. MALLOC_MMAP_THRESHOLD_: without it, glibc keeps about 0.1 GB that nothing
# uses. TensorFlow reads its variables while it loads, glibc when a process starts.
ENVIRONMENT = {
    "TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "MALLOC_MMAP_THRESHOLD_": "16777216",
}  # fmt: skip


@functools.cache
def device() -> ModuleType | None:
    """The module that computes steps elsewhere, where the variable in `DEVICE` names one.

    `experiments/gpu_through_jax` has one, and says what such a module must hold.
    """
    name = os.environ.get(DEVICE)
    return importlib.import_module(name) if name else None


def place(function: Callable, owners: Iterable[Any]) -> tuple[Callable, Callable[[], None]]:
    """Move a TensorFlow function to the device that computes.

    Args:
        function: A TensorFlow function.
        owners: Models and optimizers whose variables it uses. Where another device computes, they
            have their old values until the second function is called.

    Returns:
        The function there, and a second one that copies the variables back.
    """
    if elsewhere := device():
        return elsewhere.place(function, owners)
    return function, lambda: None


def versions() -> dict[str, str]:
    """Python and the packages that decide the numbers."""
    find = importlib.metadata.distributions
    # Binder's is the build for processors alone, which goes by another name.
    tensorflow = [*find(name="tensorflow"), *find(name="tensorflow-cpu")][0].version
    names = ("keras", "numpy", "scipy", "scikit-learn", "pillow")
    found = {"python": platform.python_version(), "tensorflow": tensorflow}
    found |= {name: importlib.metadata.version(name) for name in names}
    return found | (device().versions() if device() else {})


def digest(*parts: bytes) -> str:
    """One hexadecimal SHA-256 of all parts, each with its length, so boundaries count."""
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.hexdigest()


def code_hash() -> str:
    """One hash of the source of all helpers."""
    sources = sorted((files.PROJECT / "helpers").rglob("*.py"))
    return digest(*[path.read_bytes() for path in sources])


def fingerprint(images: np.ndarray) -> str:
    """One hash of an array's numbers, in their order."""
    return digest(images.tobytes())


def check_keras() -> None:
    """Refuse settings of Keras that the course cannot run with.

    Raises:
        CourseError: Another backend, channels first, or Keras 2.
    """
    path = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "keras.json"
    try:
        kept = files.read_json(path)
    except (OSError, CourseError):  # a damaged file: Keras passes over it, too
        kept = {}
    backend = os.environ.get("KERAS_BACKEND") or kept.get("backend", "tensorflow")
    if backend != "tensorflow":
        where = "KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else f"backend in {path}"
        raise CourseError(f"{where} is {backend!r}: set it to tensorflow, which the course needs.")
    if kept.get("image_data_format", "channels_last") != "channels_last":
        raise CourseError(f"image_data_format in {path} is channels_first: set channels_last.")
    if kept.get("floatx", "float32") != "float32":
        raise CourseError(f"floatx in {path} is {kept['floatx']!r}: set it to float32.")
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        raise CourseError(
            "TF_USE_LEGACY_KERAS asks for Keras 2: unset it, since Keras 3 is needed."
        )


def environment() -> dict[str, str]:
    """This process's environment variables, with those that TensorFlow needs; for subprocesses."""
    return ENVIRONMENT | os.environ


@contextlib.contextmanager
def hold_stderr() -> Iterator[IO[str]]:
    """Hold back what C++ code and subprocesses write to standard error; show it on an exception.

    Yields:
        A file that contains what was held back. After a `CourseError`, which says all that a user
        needs, it is not shown.
    """
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile("w+", errors="replace") as held:
        os.dup2(held.fileno(), 2)
        try:
            yield held
        except Exception as error:
            if not isinstance(error, CourseError):
                held.seek(0)
                os.write(shown, held.read().encode())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)


def derive_seed(seed: int, *use: str | int) -> int:
    """A seed for one use, derived from another one: no two uses share random numbers.

    Args:
        seed: 0 or more.
        use: What it is for, as in ``derive_seed(seed, "latent", 1)``.

    Returns:
        From 0 to 999,999,999; the same for the same arguments, on every machine.

    Source: NumPy's `SeedSequence`.
    """
    named = "/".join(map(str, use)).encode()
    return int(np.random.SeedSequence([seed, *named]).generate_state(1)[0]) % 10**9


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow; on one machine the same seed gives the same bits.

    It also frees what Keras and TensorFlow keep of networks that are no longer used, so the memory
    of a process does not grow with each training.
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.framework import ops

    # With TensorFlow's graph optimizer on, sums of three or more gradients are added in order of
    # arrival, so the last bits differ each time.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    keras.utils.clear_session()
    # Each traced step of an optimizer leaves an entry here that holds its graph, and so its
    # variables, for good (tensorflow issue 97697), though it is read only while that is traced.
    # The registry is private to TensorFlow: without it nothing is freed, and nothing else changes.
    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    for name in [name for name in registry if name.startswith("CustomGradient-")]:
        del registry[name]
    gc.collect()
    keras.utils.set_random_seed(seed)


def setup() -> str:
    """Set TensorFlow up for this machine, load it, and say what was found; call it first.

    It sets the variables in `ENVIRONMENT` that are not set yet. A GPU's memory is taken as needed
    rather than whole. A CPU's threads stay as TensorFlow sets them: with oneDNN on, one thread
    between operations measured slower for both networks.

    Returns:
        One line: versions and device; and, if TensorFlow was loaded before with other settings,
        that the kernel must be restarted.

    Raises:
        CourseError: As `check_keras`.
    """
    check_keras()
    late = "tensorflow" in sys.modules and not ENVIRONMENT.keys() <= os.environ.keys()
    os.environ.update(environment())
    with hold_stderr():  # C++ code writes there while it loads
        import absl.logging
        import tensorflow as tf

        # Advice on retracing and on file formats does not help a reader.
        tf.get_logger().setLevel("ERROR")
        absl.logging.set_verbosity(absl.logging.ERROR)
        gpus = usable_gpus()
        with contextlib.suppress(RuntimeError):  # set already: a cell run for the second time
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)
    where = "no GPU: CPU"
    if gpus:
        devices = [
            tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus
        ]
        where = "GPU: " + ", ".join(map(str, devices))
    if has_metal():
        where = "no GPU: CPU (Apple's GPU is not used: networks train wrongly on it)"
    if device():
        where = device().describe()
    names = "Python {python} · TensorFlow {tensorflow} · Keras {keras}".format(**versions())
    if late:
        where += " · TensorFlow was loaded before machine.setup(): restart, and call that first"
    return f"{names} · {where}"


def usable_gpus() -> list[Any]:
    """The GPUs that compute right; Apple's are hidden from TensorFlow, so its CPU computes.

    Source: keras-team/tf-keras issue 140; for GANs, mrdbourke/m1-machine-learning-test issue 8.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not (gpus and has_metal()):
        return gpus
    with contextlib.suppress(RuntimeError):  # TensorFlow has computed already
        tf.config.set_visible_devices([], "GPU")
    return []


def has_metal() -> bool:
    """Whether tensorflow-metal is installed, by which TensorFlow finds Apple's GPU."""
    return any(importlib.metadata.distributions(name="tensorflow-metal"))


def on_processor() -> bool:
    """Whether this machine's processor computes, since nothing else was found."""
    return not device() and not usable_gpus()


WINOGRAD, XLA = "+winograd", "+xla"  # after a precision: the algorithm of convolutions; compiled
_FORMATS = ("float32", "mixed_bfloat16")
ON_PROCESSOR = tuple(name + way for name in _FORMATS for way in ("", WINOGRAD))
ON_GPU = tuple(name + way for name in _FORMATS for way in ("", XLA))
PRECISIONS = tuple(dict.fromkeys(ON_PROCESSOR + ON_GPU))


def choose_precision(asked: str = "auto") -> str:
    """Choose the precision and the algorithm with which this machine trains fastest.

    bfloat16 is faster on processors that have instructions for it, and up to three times slower on
    others; on some it ends the whole process, so a child process measures. Winograd's algorithm is
    faster on most processors, and slower on those with instructions for bfloat16 matrices (AMX).

    Args:
        asked: "auto" to measure, or one of `PRECISIONS` to choose it.

    Returns:
        One of `PRECISIONS`: "mixed_bfloat16" has bfloat16 products and float32 weights;
        "+winograd" has 5x5 convolutions by Winograd's algorithm, "+xla" steps compiled by XLA.

    Raises:
        CourseError: Another name.
    """
    if asked in PRECISIONS:
        return asked
    if asked != "auto":
        raise CourseError(f"precision {asked!r} is unknown: use auto, {' or '.join(PRECISIONS)}.")
    if device():  # only a processor's precisions can be timed
        return "float32"
    times = time_precisions() or {"float32": 0.0}
    exact = {name: times[name] for name in ("float32", "float32" + WINOGRAD) if name in times}
    best, fastest = min(exact, key=exact.get), min(times, key=times.get)
    # It must be clearly faster: only speed is worth rounding to bfloat16 or waiting for XLA.
    return fastest if times[fastest] < 0.9 * exact[best] else best


@functools.cache
def time_precisions() -> dict[str, float]:
    """Seconds for a pass through layers like the networks', by precision that runs here at all.

    `fast.print_times` measures, in a subprocess: this module, which comes before `fast`, doesn't
    import it.
    """
    timed = run_python(
        "from helpers import machine\nmachine.setup()\n"
        "from helpers import fast\nfast.print_times()",
        may_die=True,  # a precision that the processor cannot compute may end the process
    )
    return {name: float(value) for name, value in map(str.split, timed.splitlines())}


def run_python(code: str, may_die: bool = False, advice: str = "report this line") -> str:
    """Run Python code in a subprocess and return its output.

    Args:
        code: The program.
        may_die: Return what it printed until then, if it does not end well.
        advice: What to do otherwise.

    Raises:
        CourseError: It did not end well.
    """
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=files.PROJECT, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode and not may_die:
        last = (done.stderr.strip().splitlines() or ["no error message"])[-1]
        raise CourseError(
            f"a first try in a process of its own ended with code {done.returncode} ({last}): "
            f"{advice}."
        )
    return done.stdout


def progress(items: Iterable[Any], title: str, total: int, done: int = 0) -> Iterator[Any]:
    """Go through `items` and show the progress.

    Under `course run` the progress goes to a small file, which the command shows in the terminal,
    so an executed notebook contains no progress bar. Elsewhere tqdm draws a bar.

    Args:
        items: What is gone through.
        title: Of the bar.
        total: How many there are, those done before among them.
        done: How many were done before.
    """
    if not (target := os.environ.get(PROGRESS_FILE)):
        from tqdm.auto import tqdm

        # Once a second: nbval reads a cell's messages only after the cell, and may lose some.
        yield from tqdm(items, desc=title, total=total, initial=done, leave=False, mininterval=1.0)
        return
    started, written, first = time.monotonic(), 0.0, done
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - written >= 0.5 or done == total:
            written = now
            left = (now - started) / (done - first) * (total - done)
            state = {"title": title, "done": done, "total": total, "seconds_left": left}
            with contextlib.suppress(CourseError, OSError):  # never worth stopping a training for
                files.write_json(Path(target), state)
