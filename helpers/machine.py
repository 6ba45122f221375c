"""TensorFlow's set-up, precision, seeds, versions, hashes and progress on this machine."""

import contextlib
import functools
import gc
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from helpers import files
from helpers.files import CourseError

PROGRESS_FILE = "COURSE_PROGRESS_FILE"  # likewise: where a kernel says how far it is


def versions() -> dict[str, str]:
    """Python and the packages that decide the numbers."""
    find = importlib.metadata.distributions
    # Binder's is the build for processors alone, which goes by another name.
    tensorflow = [*find(name="tensorflow"), *find(name="tensorflow-cpu")][0].version
    names = ("keras", "numpy", "scipy", "scikit-learn", "pillow")
    found = {"python": platform.python_version(), "tensorflow": tensorflow}
    return found | {name: importlib.metadata.version(name) for name in names}


def digest(*parts: bytes) -> str:
    """One hexadecimal SHA-256 of all parts, each with its length, so that joints count."""
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.hexdigest()


def code_hash() -> str:
    """One hash of the helpers as they stand."""
    sources = sorted((files.PROJECT / "helpers").rglob("*.py"))
    return digest(*[path.read_bytes() for path in sources])


def fingerprint(images: Any) -> str:
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
    except (OSError, ValueError):  # Keras reads no such file either
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
        raise CourseError("TF_USE_LEGACY_KERAS asks for Keras 2: unset it, for Keras 3 is needed.")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence standard error below Python: TensorFlow's C++ part talks there while it loads.

    Raises:
        CourseError: As `check_keras`, which has to come before that.
    """
    check_keras()
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow; on one machine the same seed gives the same bits.

    What Keras and TensorFlow remember of networks that nobody holds any more is let go, so that a
    process which trains several doesn't grow with each.
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.framework import ops

    # Sums of three and more gradients are added up in the order in which they arrive where
    # TensorFlow's graph optimizer is on: other bits each time.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    keras.utils.clear_session()
    # Each traced step of an optimizer leaves an entry here that holds its graph, and so its
    # variables, for good (tensorflow issue 97697), though it is read only while that is traced.
    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    for name in [name for name in registry if name.startswith("CustomGradient-")]:
        del registry[name]
    gc.collect()
    keras.utils.set_random_seed(seed)


def setup() -> str:
    """Set TensorFlow up for this machine before its first operation, and say what it found.

    A GPU's memory is taken as needed rather than whole. A CPU's threads stay as TensorFlow sets
    them: with oneDNN on, one thread between operations measured slower for both networks.
    """
    with quiet():
        import absl.logging
        import tensorflow as tf

        # Advice on retracing and on file formats is no news to a reader.
        tf.get_logger().setLevel("ERROR")
        absl.logging.set_verbosity(absl.logging.ERROR)
        gpus = tf.config.list_physical_devices("GPU")
        with contextlib.suppress(RuntimeError):  # set already: a cell run for the second time
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)
    device = "no GPU: CPU"
    if gpus:
        found = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
        device = "GPU: " + ", ".join(map(str, found))
    names = "Python {python} · TensorFlow {tensorflow} · Keras {keras}".format(**versions())
    return f"{names} · {device}"


def on_processor() -> bool:
    """Whether no GPU was found to compute on."""
    return "no GPU" in setup()


XLA = "+xla"  # behind a number format: steps compiled by XLA
PRECISIONS = ("float32", "mixed_bfloat16", "float32+xla", "mixed_bfloat16+xla")


def choose_precision(asked: str = "auto", xla: bool = False) -> str:
    """The number format in which this machine trains fastest, measured rather than hoped for.

    bfloat16 is faster on processors that have instructions for it, and up to three times slower on
    others; on some it ends the whole process, so a child process measures.

    Args:
        asked: "auto" to measure, or one of `PRECISIONS` to have it.
        xla: Whether the caller can have its steps compiled by XLA; it is tried on GPUs.

    Returns:
        One of `PRECISIONS`: "mixed_bfloat16" has bfloat16 products and float32 weights.

    Raises:
        CourseError: Another name.
    """
    known = PRECISIONS if xla else PRECISIONS[:2]
    if asked in known:
        return asked
    if asked != "auto":
        raise CourseError(f"precision {asked!r} is unknown: use auto, {' or '.join(known)}.")
    times = {name: time_precisions().get(name, float("inf")) for name in known}
    fastest = min(times, key=times.get)
    # It must win clearly: rounding to bfloat16, or waiting for XLA, is worth it only for speed.
    return fastest if times[fastest] < 0.9 * times["float32"] else "float32"


@functools.cache
def time_precisions() -> dict[str, float]:
    """Seconds for one pass through layers like the networks', by format that runs here at all."""
    timed = run_python("from helpers import machine; machine._print_times()")
    return {name: float(value) for name, value in map(str.split, timed.splitlines())}


def run_python(code: str) -> str:
    """What Python code prints in a process of its own, with which what it holds and breaks ends."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=files.PROJECT, capture_output=True, text=True, check=False)
    return done.stdout


def _print_times() -> None:
    """Time the formats by turns, so that what else the machine does falls on both.

    One that takes more than twice as long is timed once: where bfloat16 is not in the processor, a
    pass can take seconds.
    """
    best: dict[str, float] = {}
    steps = {}
    # On a processor XLA is in `make bench` alone.
    for precision in PRECISIONS[:2] if on_processor() else PRECISIONS:
        steps[precision] = _make_step(precision)
        steps[precision]()  # compiles; where it ends the process, the formats before stand printed
        for _ in range(8):
            for name, step in steps.items():
                if best.get(name, 0.0) > 2 * min(best.values(), default=float("inf")):
                    continue
                started = time.perf_counter()
                step()
                best[name] = min(time.perf_counter() - started, best.get(name, float("inf")))
        for name, value in best.items():
            print(name, value, flush=True)


def _make_step(precision: str) -> Callable[[], Any]:
    """A forward and backward pass through layers as the two networks have them."""
    import keras
    import tensorflow as tf

    keras.config.set_dtype_policy(precision.removesuffix(XLA))
    dense = keras.layers.Dense(128 * 16 * 16), keras.layers.Reshape((16, 16, 128))
    up = keras.layers.Conv2DTranspose(128, 4, strides=2, padding="same")
    # On a processor convolutions of 5 by 5 are float32 in any format: `fast.winograd`.
    on = [] if on_processor() else [keras.layers.Conv2D(128, 5, padding="same")]
    down = keras.layers.Conv2D(128, 4, strides=2, padding="same")
    network = keras.Sequential([*dense, up, *on, down])
    network.build((16, 100))
    latent = tf.ones((16, 100))

    @tf.function(jit_compile=precision.endswith(XLA))
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(network(latent), "float32"))
        gradients = tape.gradient(loss, network.trainable_variables)
        return tf.add_n([tf.reduce_sum(gradient) for gradient in gradients])

    return lambda: step().numpy()


def progress(items: Iterable[Any], title: str, total: int, done: int = 0) -> Iterator[Any]:
    """Go through `items`, saying how far it is and what is left.

    Under `course run` the word goes to a small file that the command shows in the terminal, so
    that no progress bar is kept in an executed notebook; elsewhere tqdm draws its bar.
    """
    if not (target := os.environ.get(PROGRESS_FILE)):
        from tqdm.auto import tqdm

        yield from tqdm(items, desc=title, total=total, initial=done, leave=False)
        return
    started, said, first = time.monotonic(), 0.0, done
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - said >= 0.5 or done == total:
            said = now
            left = (now - started) / (done - first) * (total - done)
            state = {"title": title, "done": done, "total": total, "seconds_left": left}
            with contextlib.suppress(CourseError, OSError):  # never worth stopping a training for
                files.write_json(Path(target), state)
