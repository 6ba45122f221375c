"""Where a run lives on this machine: paths, errors, whole files, the lock, seeds, progress."""

import concurrent.futures
import contextlib
import functools
import gc
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import filelock

PROJECT = Path(__file__).resolve().parent.parent
KERNEL_LOCK = "COURSE_KERNEL_LOCK"  # set by helpers.course for the kernels that it starts
PROGRESS_FILE = "COURSE_PROGRESS_FILE"  # likewise: where a kernel says how far it is


class CourseError(Exception):
    """Something a user can mend; its text is one sentence: what is wrong and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter prints for this error: the sentence, without the stack."""
        return [f"{type(self).__name__}: {self}"]


def command(main: Callable[[list[str] | None], None]) -> Callable[..., int]:
    """Make a function a command that ends in a sentence, never in a stack.

    It returns the exit code: 0 done, 2 something to mend, 130 interrupted, by SIGTERM too, so that
    kernels and workers end as they do with Ctrl-C.
    """

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            main(arguments)
        except CourseError as error:
            print(error, file=sys.stderr)
            return 2
        except PermissionError as error:
            print(f"{error.filename} is forbidden: change its permissions.", file=sys.stderr)
            return 2
        except (KeyboardInterrupt, concurrent.futures.CancelledError):
            print("\nStopped. The same command goes on from here.", file=sys.stderr)
            return 130
        return 0

    return run


def project_path(path: str | Path) -> Path:
    """An absolute path; a relative one counts from the project's root, wherever Jupyter started.

    Raises:
        CourseError: It begins with the home of a user that there isn't.
    """
    try:
        return (PROJECT / Path(path).expanduser()).resolve()
    except RuntimeError:
        raise CourseError(f"{path}: this machine has no such user: write the path out.") from None


def open_run(out_dir: str | Path) -> Path:
    """The run's folder, made if missing.

    In a kernel that `helpers.course` started, this also takes the kernel's lock, which the next
    run waits for: a kernel can go on writing for a second after its run was killed. A notebook run
    by hand changes what lies there, so that the command no longer takes its notebooks for finished.

    Raises:
        CourseError: Another run is writing there, there is something else, or nothing can be
            written.
    """
    out = make_folder(project_path(out_dir))
    if KERNEL_LOCK in os.environ:
        # Kept open on purpose: the lock goes when the process goes.
        _held.append(lock(Path(os.environ[KERNEL_LOCK]), wait=10))
    else:
        known = (out / ".lock").exists() or read_json(out / "run.json").get("settings")
        # Papermill may have begun to write its notebook here.
        if not known and any(path.suffix != ".ipynb" for path in out.glob("[!.]*")):
            raise CourseError(f"{out} is not empty and holds no run: choose another out_dir.")
        lock(out / ".lock").release()
        (out / "notebooks" / "finished.json").unlink(missing_ok=True)
    return out


def make_folder(path: Path) -> Path:
    """The folder, made if missing, or `CourseError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(f"{path} cannot be a folder ({error}): choose another OUT.") from None
    return path


_held: list[filelock.BaseFileLock] = []


def lock(path: Path, wait: float = 0) -> filelock.BaseFileLock:
    """Take a lock file, or raise `CourseError` after `wait` seconds; it goes with the process."""
    held = filelock.FileLock(path)
    try:
        held.acquire(timeout=wait)
    except filelock.Timeout:
        raise CourseError(
            f"{path.parent} is in use by another run: wait for it, stop it, or choose another OUT."
        ) from None
    except OSError as error:
        raise _not_written(path.parent, error) from None
    return held


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
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
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
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
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> CourseError:
    return CourseError(
        f"{path} could not be written ({error.strerror or error}): free some space or choose "
        "another OUT; whatever stood there before is unchanged."
    )


def read_json(path: Path) -> dict[str, Any]:
    """The file's content, or an empty dictionary where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write numbers for people and programs: indented, whole, and never a bare NaN."""
    text = json.dumps(
        content, indent=2, ensure_ascii=False, allow_nan=False,
        default=lambda value: value.tolist(),  # NumPy's numbers and arrays
    )  # fmt: skip
    # A list of plain numbers goes on one line; a text never holds a bare end of line.
    text = re.sub(r'\[\n([^][{}"]+)\]', lambda found: f"[{' '.join(found[1].split())}]", text)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def record(out: Path, **parts: Any) -> None:
    """Put these top-level parts into the run's `metrics.json`, leaving the others as they are."""
    write_json(out / "metrics.json", read_json(out / "metrics.json") | parts)


# The least that a whole number may be which a user gives, and the most, for seeds have 32 bits.
LEAST = {
    "seed": 0, "split_seed": 0, "gan_steps": 1, "preview_every": 1, "checkpoint_every": 1,
    "gallery_steps": 1, "samples_per_class": 10, "classifier_size": 32, "classifier_steps": 1,
    "fresh_count": 2, "splits": 1, "seeds": 1, "first_seed": 0, "workers": 1, "threads": 1,
}  # fmt: skip
MOST = 2_000_000_000
CHOICES = {
    "trunk": ("imagenet", "scratch", "auto"),
    "features": ("judge", "imagenet", "auto"),
    "protocol": ("steps", "paper"),
}
ARMS = (
    "original", "gan_only", "original_gan", "classic", "classic_gan", "control_shuffled",
    "duplicated",
)  # fmt: skip


def check_values(**values: Any) -> None:
    """Refuse whole numbers that are none, or out of range, and unknown words; other names pass.

    `arms` is a text with commas; "original" and "original_gan" must be among them.

    Raises:
        CourseError: One of them is.
    """
    for name, least in LEAST.items():
        value = values.get(name, least)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
            raise CourseError(f"{name} is {value!r}: use a whole number from {least} to {MOST}.")
    for name, known in CHOICES.items():
        if values.get(name, known[0]) not in known:
            raise CourseError(f"{name} {values[name]!r} is unknown: use one of {', '.join(known)}.")
    for name in ("arms", "id_column", "label_column", "patient_column"):
        if not isinstance(values.get(name, ""), str):
            raise CourseError(f"{name} is {values[name]!r}: write it as one text, in quotes.")
    if not isinstance(dose := values.get("dose", 0), int | float) or not 0 <= dose <= MOST:
        raise CourseError(f"dose is {dose!r}: use a number, 0 or more, with a point.")
    asked = split_names(values.get("arms", "original, original_gan"))
    if unknown := asked - set(ARMS):
        raise CourseError(f"arms: {min(unknown)!r} is unknown: use {', '.join(ARMS)}.")
    if missing := {"original", "original_gan"} - asked:
        raise CourseError(f"arms: {min(missing)} is missing: name it in any case.")
    shares = values.get("learning_curve", [])
    if not isinstance(shares, list) or not all(isinstance(x, float) and 0 < x < 1 for x in shares):
        raise CourseError(
            f"learning_curve is {shares!r}: use a list of shares between 0 and 1, as [0.25, 0.5], "
            "or [] for no curve."
        )


def split_names(text: str) -> set[str]:
    """The names in a text, between its commas."""
    return {name.strip() for name in text.split(",") if name.strip()}


def need(path: Path, maker: str) -> Path:
    """The path, or a sentence that says which notebook makes it."""
    if not path.exists():
        raise CourseError(f"{path} is missing: run notebooks/{maker}.ipynb first (Colab: README).")
    return path


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


def code() -> str:
    """One hash of the helpers as they stand."""
    files = sorted((PROJECT / "helpers").glob("*.py"))
    return digest(*[path.read_bytes() for path in files])


def fingerprint(images: Any) -> str:
    """One hash of an array's numbers, in their order."""
    return digest(images.tobytes())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence standard error below Python: TensorFlow's C++ part talks there while it loads."""
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


def use_devices() -> str:
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
    return "no GPU" in use_devices()


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
    timed = in_child("from helpers import runtime; runtime._print_times()")
    return {name: float(value) for name, value in map(str.split, timed.splitlines())}


def in_child(code: str) -> str:
    """What Python code prints in a process of its own, with which what it holds and breaks ends."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
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
    # On a processor convolutions of 5 by 5 are float32 in any format: `networks.winograd`.
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

    Under `helpers.course` the word goes to a small file that the command shows in the terminal, so
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
                write_json(Path(target), state)
