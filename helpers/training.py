"""Train one GAN on the slices of one class; checkpoints, saved generators, model cards."""

import ast
import contextlib
import dataclasses
import inspect
import json
import signal
import textwrap
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from helpers import fast, files, gan, machine, networks, parameters, recipes
from helpers.files import CourseError
from helpers.recipes import Recipe

BATCH_SIZE = 16
# What zipfile and NumPy raise on a checkpoint that is cut short, overwritten or has a byte flipped.
DAMAGED = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def batch_of(step: int, count: int, batch_size: int, seed: int) -> np.ndarray:
    """Indices of a step's images: each epoch in a new order, without an incomplete batch.

    It depends on the step alone, so a resumed run sees the same images as an unbroken one.

    Args:
        step: From 0.
        count: Of the images, at least `batch_size`.
        batch_size: Images per step.
        seed: Of the order.

    Returns:
        ``(batch_size,)`` indices below `count`.
    """
    epoch, position = divmod(step, count // batch_size)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return order[position * batch_size : (position + 1) * batch_size]


@dataclasses.dataclass
class Trained:
    """Result of a training: the networks, the numbers of each step, and pictures."""

    generator: keras.Model  # with averaged weights, where the recipe asks for them
    discriminator: keras.Model
    history: dict[str, np.ndarray]  # name: (steps,)
    preview_steps: np.ndarray  # (k,)
    previews: np.ndarray  # (k, 16, 32, 32, 1), -1 to 1: the same 16 latent vectors each time
    watched: list[dict[str, float]]  # what `watch` gave at each of these steps
    seconds: float  # spent in steps, over all resumes
    precision: str  # one of `machine.PRECISIONS`
    step: str  # "the course's", or "edited-" and the beginning of its `fingerprint_step`


COURSES = "the course's"  # name of the step that was not edited
COLUMNS = ("discriminator_loss", "generator_loss", "penalty", "output_on_real", "output_on_fake",
           "discriminator_gradient", "generator_gradient")  # fmt: skip


def train_gan(
    images: np.ndarray,
    *,
    steps: int,
    seed: int,
    recipe: Recipe = recipes.RECIPES["paper"],
    precision: str = "float32",
    checkpoints: Path | None = None,
    checkpoint_every: int = 50,
    preview_every: int = 50,
    watch: Callable[[keras.Model], dict[str, float]] | None = None,
    title: str = "GAN",
    make_step: Callable[..., Callable] = gan.make_train_step,
) -> Trained:
    """Train a GAN on images of one class for a number of steps, or resume an interrupted training.

    Ctrl-C stops it after the current step and saves the state; after a kill, the last checkpoint
    remains. The same call resumes, and ends with the same weights as an uninterrupted training, bit
    for bit on one machine.

    Args:
        images: ``(n, 32, 32, 1)``, ``float32``, -1 to 1, n at least 16.
        steps: Updates of both networks.
        seed: Of initial weights, order, latent vectors and labels.
        recipe: Losses and tricks.
        precision: One of `machine.PRECISIONS`, or "auto": what `machine.choose_precision` finds
            fastest here; a resumed run keeps what it began with.
        checkpoints: Folder for the state to resume from; without it, no state is kept.
        checkpoint_every: Steps between checkpoints.
        preview_every: Steps between pictures of 16 fixed latent vectors.
        watch: Called with the generator at each picture; its result is kept. It must not use the
            global random state.
        title: For the progress bar.
        make_step: Makes the step, with the arguments of `gan.make_train_step`. The checkpoints of
            an edited step go to a folder of its own, beside `checkpoints`.

    Raises:
        CourseError: An interval under 1, a seed under 0, too few images, a checkpoint of other
            data or settings or of more steps, or a loss that is NaN or infinite.
    """
    parameters.check_values(
        seed=seed, preview_every=preview_every, checkpoint_every=checkpoint_every
    )
    if len(images) < BATCH_SIZE:
        raise CourseError(
            f"{title}: {len(images)} training images are fewer than one batch of {BATCH_SIZE}: "
            "add images of this class."
        )
    code, step_name = _name_step(make_step)
    if checkpoints and step_name != COURSES:
        checkpoints = checkpoints.with_name(f"{checkpoints.name}-{step_name}")
        print(f"{title}: the step was edited; its checkpoints go to {checkpoints.name}.")
    checkpoint = _read_newest(checkpoints)
    if precision == "auto" and checkpoint:
        precision = checkpoint["origin"]["precision"]
    precision = machine.choose_precision(precision)
    machine.seed_everything(seed)
    plain, averaged = build_networks(recipe, precision)
    # Faster clones are trained; at the end their weights are copied to the plain networks.
    generator, discriminator = (fast.speed_up(network, precision) for network in plain)
    optimizers = build_optimizers(recipe, generator, discriminator)
    if averaged:
        averaged.set_weights(generator.get_weights())
    preview_generator = averaged or plain[0]
    # Dropout keeps its own random state among its network's variables.
    parts = (generator, discriminator, *optimizers, *([averaged] if averaged else []))
    state = _State(
        variables=[variable for part in parts for variable in part.variables],
        origin={
            "data": machine.fingerprint(images),
            "recipe": dataclasses.asdict(recipe),
            "seed": seed,
            "batch_size": BATCH_SIZE,
            "precision": precision,
            "preview_every": preview_every,
            "step": code,
        },
    )
    if checkpoint:
        state.restore(checkpoint)
    if (first := len(state.rows)) > steps:
        raise CourseError(
            f"{title}: {first} steps are done, more than the {steps} asked for: ask for {first} or "
            f"more, choose another folder, or remove {checkpoints} to train this GAN again."
        )

    xla = precision.endswith(machine.XLA)
    train_step = make_step(generator, discriminator, *optimizers, recipe, averaged, xla)
    train_step, fetch_variables = machine.place(train_step, parts)
    fixed = np.random.default_rng([seed, 16]).standard_normal((16, networks.LATENT_DIM))
    fixed = tf.constant(fixed, tf.float32)
    data = tf.constant(images)
    with _late_interrupt() as interrupted:
        for step in machine.progress(range(first, steps), title, steps, first):
            started = time.perf_counter()
            batch = tf.gather(data, batch_of(step, len(images), BATCH_SIZE, seed))
            values = train_step(batch, tf.constant([seed, step]))
            row = [float(values[name]) for name in COLUMNS]
            _require_finite(row, step + 1, checkpoints, title)
            state.rows.append(row)
            state.seconds += time.perf_counter() - started
            done = step + 1
            if done % preview_every == 0 or done == steps:
                fetch_variables()
                if not averaged:
                    preview_generator.set_weights(generator.get_weights())
                state.frames.append(np.asarray(preview_generator(fixed, training=False)))
                state.frame_steps.append(done)
                state.watched.append(watch(preview_generator) if watch else {})
            if checkpoints and (done % checkpoint_every == 0 or done == steps or interrupted):
                fetch_variables()
                state.save(checkpoints)
            if interrupted:
                kept = "run the same again to resume" if checkpoints else "nothing was saved"
                print(f"{title}: stopped after {done} of {steps} steps; {kept}.")
                raise KeyboardInterrupt
    history = dict(zip(COLUMNS, np.array(state.rows).reshape(-1, len(COLUMNS)).T, strict=True))
    pictures = np.array(state.frame_steps), np.array(state.frames), state.watched
    for network, clone in zip(plain, (generator, discriminator), strict=True):
        network.set_weights(clone.get_weights())
    made_by = state.seconds, precision, step_name
    return Trained(preview_generator, plain[1], history, *pictures, *made_by)


def build_networks(
    recipe: Recipe, precision: str
) -> tuple[tuple[keras.Model, keras.Model], keras.Model | None]:
    """Generator and discriminator, and a second generator for averaged weights, if it needs one."""
    builds = {"bce": networks.build_discriminator, "wasserstein": networks.build_critic}
    with _dtype_policy(precision):
        both = networks.build_generator(), builds[recipe.loss](dropout=recipe.dropout)
        return both, networks.build_generator() if recipe.average_decay else None


def build_optimizers(recipe: Recipe, generator: keras.Model, discriminator: keras.Model) -> list:
    rates = recipe.generator_learning_rate, recipe.discriminator_learning_rate
    optimizers = [gan.Adam(rate, recipe.beta_1) for rate in rates]
    for optimizer, network in zip(optimizers, (generator, discriminator), strict=True):
        optimizer.build(network.trainable_variables)
    return optimizers


def _require_finite(row: list[float], step: int, checkpoints: Path | None, title: str) -> None:
    if not np.isfinite(row).all():
        newest = max(checkpoints.glob("step-*.npz"), default=None) if checkpoints else None
        kept = f"{newest} holds the last good state" if newest else "nothing was saved"
        raise CourseError(
            f"{title}: a loss became NaN or infinite at step {step}; {kept}: lower learning rates "
            "are another recipe, so try them in another folder."
        )


def _name_step(make_step: Callable) -> tuple[str, str]:
    """The hash of the step's code, and its name."""
    code = fingerprint_step(make_step)
    is_courses = code == fingerprint_step(gan.make_train_step)
    return code, COURSES if is_courses else f"edited-{code[:8]}"


def fingerprint_step(make_step: Callable) -> str:
    """One hash of a step's code: of the function and of what it uses from the same module.

    These are other functions, and numbers and texts under a name. Comments, docstrings and type
    hints don't count, so the notebook's step and its copy in `helpers.gan` have the same hash.

    Raises:
        CourseError: The source cannot be read, as of a function made by `exec`.
    """
    sources, todo = {}, [make_step]
    while todo:
        function = inspect.unwrap(todo.pop())
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        except (OSError, TypeError):
            raise CourseError(
                f"make_step: the source of {getattr(function, '__name__', function)} cannot be "
                "read: define it with `def` in a notebook cell or in a file."
            ) from None
        sources[function.__name__] = ast.dump(_bare(tree))
        for name in sorted(_outer_names(tree) - set(sources)):
            used = function.__globals__.get(name)
            if inspect.isfunction(used) and used.__module__ == function.__module__:
                todo.append(used)
            elif isinstance(used, int | float | str | tuple):
                sources[name] = repr(used)
    return machine.digest(*[sources[name].encode() for name in sorted(sources)])


def _outer_names(tree: ast.AST) -> set[str]:
    """The names that a function uses and doesn't define itself."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return {node.id for node in names} - own


def _bare(tree: ast.AST) -> ast.AST:
    """The tree without docstrings and type hints."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            if ast.get_docstring(node):
                node.body = node.body[1:]
        if isinstance(node, ast.arg):
            node.annotation = None
    return tree


@contextlib.contextmanager
def _late_interrupt() -> Iterator[list[int]]:
    """Collect Ctrl-C and handle it between two steps, when the state is complete."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread gets signals
        return
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Layers built inside compute in this precision; their weights are always float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name.split("+")[0])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


# --- Checkpoints ---------------------------------------------------------------------------------


@dataclasses.dataclass
class _State:
    """Everything that a training needs to resume."""

    variables: list[Any]  # of both networks, both optimizers, the average; random state among them
    origin: dict[str, Any]  # data, recipe, seed and the like: one of another origin is refused
    rows: list[list[float]] = dataclasses.field(default_factory=list)
    frames: list[np.ndarray] = dataclasses.field(default_factory=list)
    frame_steps: list[int] = dataclasses.field(default_factory=list)
    watched: list[dict[str, float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def save(self, folder: Path) -> None:
        """Write `step-N.npz`, then delete all other checkpoints except the one before it."""
        newest = folder / f"step-{len(self.rows):06d}.npz"
        with files.atomic_write(newest) as temporary:
            np.savez(
                temporary,
                *[np.asarray(variable) for variable in self.variables],
                # The six named here, and one for each variable.
                origin=json.dumps(self.origin | {"members": 6 + len(self.variables)}),
                rows=np.array(self.rows),
                frames=np.array(self.frames, dtype="float32"),
                frame_steps=np.array(self.frame_steps, dtype=int),
                watched=json.dumps(self.watched),
                seconds=self.seconds,
            )
        found = sorted(folder.glob("step-*.npz"))
        at = found.index(newest)
        # Later ones could not be read; otherwise this run would have resumed from them.
        for other in found[: max(at - 1, 0)] + found[at + 1 :]:
            other.unlink()

    def restore(self, content: dict[str, Any]) -> None:
        """Restore the state from the result of `_read_newest`."""
        was, now = (origin | origin["recipe"] for origin in (content["origin"], self.origin))
        if differ := [name for name in now if was.get(name) != now[name]]:
            raise CourseError(
                f"{content['path']} was made from other data or settings ({', '.join(differ)}): "
                f"choose another folder, or remove {content['path'].parent} to train this GAN "
                "again."
            )
        for k, variable in enumerate(self.variables):
            variable.assign(content.pop(f"arr_{k}"))  # so that it isn't held twice
        self.rows, self.seconds = content["rows"].tolist(), float(content["seconds"])
        self.frames, self.frame_steps = list(content["frames"]), content["frame_steps"].tolist()
        self.watched = json.loads(str(content["watched"]))


def _read_newest(folder: Path | None) -> dict[str, Any]:
    """Content and path of the newest readable checkpoint; empty if there is none."""
    for half_written in folder.glob(".step-*") if folder else []:  # by a process that was killed
        half_written.unlink(missing_ok=True)
    for path in sorted(folder.glob("step-*.npz"), reverse=True) if folder else []:
        try:
            if files.unpacked_bytes(path) > path.stat().st_size:  # it is written unpacked
                raise zipfile.BadZipFile
            with np.load(path) as saved:
                # NumPy may stop before it comes to a checksum, and zipfile doesn't count members.
                origin, count = json.loads(str(saved["origin"])), len(set(saved))
                if saved.zip.testzip() or count != origin.get("members", count):
                    raise zipfile.BadZipFile
                return dict(saved) | {"path": path, "origin": origin}
        except DAMAGED:
            print(f"{path.name} cannot be read; going back to the one before, or to the start.")
    return {}


def save_generator(generator: keras.Model, path: Path) -> None:
    """Write the generator as one `.h5` file, whole; `sampling.load_generator` reads it back."""
    with files.atomic_write(path) as temporary, machine.hold_stderr():
        # HDF5 ends the process where it can't write on; it takes 65 kB beside the numbers.
        size = sum(weights.nbytes for weights in generator.get_weights())
        files.require_room(temporary, size + 10**6)
        generator.save(temporary)


def write_log(path: Path, history: dict[str, np.ndarray]) -> None:
    """Write the losses as CSV, one row per step, steps counted from 1."""
    with files.atomic_write(path) as temporary:
        pd.DataFrame(history).rename(lambda k: k + 1).to_csv(temporary, index_label="step")


def write_model_card(path: Path, **facts: Any) -> None:
    """Write a model card: what the model is, how it was made, and its limits."""
    lines = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items())
    with files.atomic_write(path) as temporary:
        temporary.write_text(
            f"# Generator: {path.stem}\n\n{lines}\n\n"
            "It draws 32x32 grey slices from 100 standard normal numbers. It may repeat its "
            "training images, so treat it as you must treat those. For teaching and for "
            "planning a study; never for a clinical decision.\n",
            encoding="utf-8",
        )


def warn_in_card(path: Path, sentence: str) -> None:
    """Add a warning to the end of a model card, once; without a card, do nothing."""
    if not path.exists() or sentence in (card := path.read_text(encoding="utf-8")):
        return
    with files.atomic_write(path) as temporary:
        temporary.write_text(f"{card.rstrip()}\n\n**{sentence}**\n", encoding="utf-8")
