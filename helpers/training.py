"""Train one GAN on the slices of one class, so that a run cut off goes on where it stopped."""

import dataclasses
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from helpers import networks, runtime

BATCH_SIZE = 16


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What may vary between trainings; the defaults are our reading of the published recipe."""

    learning_rate: float = 2e-4  # Adam, both networks; the report's value
    beta_1: float = 0.5  # Adam, both networks; as published, after Radford et al. 2016
    penalty_weight: float = 10.0  # of the gradient penalty, 0 or more; Gulrajani et al. 2017
    label_softness: float = 0.2  # width of the targets' interval, 0 to 0.5; Salimans et al. 2016
    label_flips: float = 0.05  # share of swapped targets, 0 to 0.5; Chintala et al. 2016, tip 6


PAPER = Recipe()


def noisy_targets(real: bool, count: int, recipe: Recipe, seed: tf.Tensor) -> tf.Tensor:
    """What the discriminator is told about `count` images, one number an image.

    Soft and noisy: real images get targets drawn from 1 - softness to 1, generated ones from 0 to
    softness. Inverted: a share of `label_flips` is told the opposite.

    Args:
        real: Whether the images are real.
        count: How many images.
        recipe: Gives softness and flips.
        seed: Two integers; the same two give the same targets.

    Returns:
        ``(count, 1)``, 0 to 1.
    """
    seeds = tf.random.split(seed, 2)
    softness = recipe.label_softness * tf.random.stateless_uniform((count, 1), seeds[0])
    flipped = tf.random.stateless_uniform((count, 1), seeds[1]) < recipe.label_flips
    called_real = tf.logical_not(flipped) if real else flipped
    return tf.where(called_real, 1.0 - softness, softness)


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy, in nats, averaged over the batch; ln 2 = 0.69 is a coin's."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))


def gradient_penalty(critic: keras.Model, mixed: tf.Tensor) -> tf.Tensor:
    """How far the logit's slope at `mixed` is from 1, squared, averaged over the batch.

    Args:
        critic: Gives a logit for an image.
        mixed: ``(n, 32, 32, 1)``, points between real and generated images.

    Returns:
        A scalar, 0 or more.

    Source: Gulrajani et al. 2017, arXiv:1704.00028, equation 3.
    """
    with tf.GradientTape() as tape:
        tape.watch(mixed)
        logits = critic(mixed, training=True)
    slopes = tf.reduce_sum(tf.square(tape.gradient(logits, mixed)), axis=[1, 2, 3])
    # The root's own slope is infinite at 0; a hair above it is safe.
    return tf.reduce_mean(tf.square(tf.sqrt(slopes + 1e-12) - 1.0))


def make_train_step(
    generator: keras.Model,
    discriminator: keras.Model,
    generator_optimizer: keras.optimizers.Optimizer,
    discriminator_optimizer: keras.optimizers.Optimizer,
    recipe: Recipe,
) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
    """One update of both networks, compiled as one graph.

    The generator runs once: two tapes watch the same pass, one for each network's update.

    Returns:
        A function of the real images ``(n, 32, 32, 1)`` and of two integers that seed everything
        random in this step; it gives the step's losses and mean outputs as scalars.
    """
    critic = keras.Model(discriminator.inputs, discriminator.get_layer("logit").output)
    latent_dim = generator.input_shape[-1]

    @tf.function(reduce_retracing=True)
    def train_step(real, seed):
        count = real.shape[0]
        seeds = tf.random.split(seed, 4)
        latent = tf.random.stateless_normal((count, latent_dim), seeds[0])
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            fake = generator(latent, training=True)
            on_real = critic(real, training=True)
            on_fake = critic(fake, training=True)

            weight = tf.random.stateless_uniform((count, 1, 1, 1), seeds[1])
            mixed = weight * real + (1.0 - weight) * tf.stop_gradient(fake)
            penalty = gradient_penalty(critic, mixed) if recipe.penalty_weight else 0.0

            discriminator_loss = (
                cross_entropy(noisy_targets(True, count, recipe, seeds[2]), on_real)
                + cross_entropy(noisy_targets(False, count, recipe, seeds[3]), on_fake)
                + recipe.penalty_weight * penalty
            )
            # Label inversion: the generator is trained as if its images were real.
            generator_loss = cross_entropy(tf.ones_like(on_fake), on_fake)

        for loss, tape, network, optimizer in (
            (discriminator_loss, discriminator_tape, discriminator, discriminator_optimizer),
            (generator_loss, generator_tape, generator, generator_optimizer),
        ):
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply(gradients, network.trainable_variables)
        return {
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            "penalty": penalty,
            "output_on_real": tf.reduce_mean(tf.sigmoid(on_real)),
            "output_on_fake": tf.reduce_mean(tf.sigmoid(on_fake)),
        }

    return train_step


def batch_of(step: int, count: int, batch_size: int, seed: int) -> np.ndarray:
    """Which images a step sees: each epoch in a new order, its last half batch dropped.

    A function of the step alone, so that a resumed run sees what an unbroken one would have.

    Returns:
        ``(batch_size,)`` indices below `count`.
    """
    epoch, position = divmod(step, count // batch_size)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return order[position * batch_size : (position + 1) * batch_size]


@dataclasses.dataclass
class Trained:
    """What a training leaves: the networks, one row of numbers a step, pictures on the way."""

    generator: keras.Model
    discriminator: keras.Model
    history: dict[str, np.ndarray]  # name: (steps,)
    preview_steps: np.ndarray  # (k,)
    previews: np.ndarray  # (k, 16, 32, 32, 1), -1 to 1: the same 16 latent vectors each time
    seconds: float  # spent in steps, over all resumes


def train_gan(
    images: np.ndarray,
    *,
    steps: int,
    seed: int,
    recipe: Recipe = PAPER,
    checkpoints: Path | None = None,
    checkpoint_every: int = 50,
    preview_every: int = 50,
    title: str = "GAN",
) -> Trained:
    """Train a GAN on images of one class for a number of steps, resuming where a run was cut off.

    Args:
        images: ``(n, 32, 32, 1)``, ``float32``, -1 to 1, n at least 16.
        steps: Updates of both networks.
        seed: Of initial weights, order, latent vectors and labels.
        recipe: Losses and tricks.
        checkpoints: Folder for the state to resume from; none is kept without it.
        checkpoint_every: Steps between checkpoints.
        preview_every: Steps between pictures of 16 fixed latent vectors.
        title: For the progress bar.

    Raises:
        CourseError: Too few images, a checkpoint of other data or settings, or a loss that is no
            number any more.
    """
    if len(images) < BATCH_SIZE:
        raise runtime.CourseError(
            f"{title}: {len(images)} training images are fewer than one batch of {BATCH_SIZE}: "
            "add images of this class."
        )
    keras.utils.clear_session(free_memory=False)
    runtime.seed_everything(seed)
    generator, discriminator = networks.build_generator(), networks.build_discriminator()
    optimizers = [keras.optimizers.Adam(recipe.learning_rate, recipe.beta_1) for _ in range(2)]
    for optimizer, network in zip(optimizers, (generator, discriminator), strict=True):
        optimizer.build(network.trainable_variables)
    # Dropout keeps its own random state among its network's variables.
    variables = [v for part in (generator, discriminator, *optimizers) for v in part.variables]
    origin = {
        "data": runtime.sha256(np.ascontiguousarray(images).tobytes()),
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "batch_size": BATCH_SIZE,
        "preview_every": preview_every,
    }
    state = _restore(checkpoints, variables, origin)
    rows, frames, frame_steps = state["rows"], state["frames"], state["frame_steps"]
    seconds, step = state["seconds"], len(rows)

    train_step = make_train_step(generator, discriminator, *optimizers, recipe)
    fixed = np.random.default_rng([seed, 16]).standard_normal((16, networks.LATENT_DIM))
    data = tf.constant(images)
    names = _columns()
    for step in runtime.progress(range(len(rows), steps), title, steps, len(rows)):
        started = time.perf_counter()
        batch = tf.gather(data, batch_of(step, len(images), BATCH_SIZE, seed))
        values = train_step(batch, tf.constant([seed, step]))
        rows.append([float(values[name]) for name in names])
        if not np.isfinite(rows[-1]).all():
            raise runtime.CourseError(
                f"{title}: the losses stopped being numbers at step {step + 1}: lower the learning "
                "rate; the last good state stands in the checkpoints."
            )
        seconds += time.perf_counter() - started
        done = step + 1
        if done % preview_every == 0 or done == steps:
            frames.append(generator.predict_on_batch(fixed.astype("float32")))
            frame_steps.append(done)
        if checkpoints and (done % checkpoint_every == 0 or done == steps):
            _save(checkpoints, variables, origin, rows, frames, frame_steps, seconds)
    table = np.array(rows, dtype=float).reshape(-1, len(names))
    return Trained(
        generator,
        discriminator,
        {name: table[:, k] for k, name in enumerate(names)},
        np.array(frame_steps),
        np.array(frames),
        seconds,
    )


def _columns() -> tuple[str, ...]:
    return (
        "discriminator_loss", "generator_loss", "penalty", "output_on_real", "output_on_fake"
    )  # fmt: skip


def _save(folder, variables, origin, rows, frames, frame_steps, seconds) -> None:
    """Write `step-N.npz` whole, then drop all but the two newest."""
    with runtime.whole_file(folder / f"step-{len(rows):06d}.npz") as temporary:
        np.savez(
            temporary,
            *[np.asarray(v) for v in variables],
            origin=json.dumps(origin, sort_keys=True),
            rows=np.array(rows),
            frames=np.array(frames, dtype="float32"),
            frame_steps=np.array(frame_steps, dtype=int),
            seconds=seconds,
        )
    for old in sorted(folder.glob("step-*.npz"))[:-2]:
        old.unlink()


def _restore(folder: Path | None, variables, origin) -> dict[str, Any]:
    """Put the newest readable checkpoint into `variables`; without one, start from nothing."""
    for path in sorted(folder.glob("step-*.npz"), reverse=True) if folder else []:
        try:
            with np.load(path) as saved:
                content = {name: saved[name] for name in saved.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            print(f"{path.name} cannot be read; going back to the checkpoint before it.")
            continue
        if json.loads(str(content["origin"])) != origin:
            raise runtime.CourseError(
                f"{path} was made from other data or settings: choose another OUT, or start over "
                "with FRESH=1."
            )
        for k, variable in enumerate(variables):
            variable.assign(content[f"arr_{k}"])
        return {
            "rows": content["rows"].tolist(),
            "frames": list(content["frames"]),
            "frame_steps": content["frame_steps"].tolist(),
            "seconds": float(content["seconds"]),
        }
    return {"rows": [], "frames": [], "frame_steps": [], "seconds": 0.0}


def save_generator(generator: keras.Model, path: Path) -> None:
    """Write the generator as one `.h5` file, whole; `sampling.load_generator` reads it back."""
    with runtime.whole_file(path) as temporary, runtime.quiet():
        generator.save(temporary)


def write_log(path: Path, history: dict[str, np.ndarray]) -> None:
    """Write the losses as CSV, one row a step, steps counted from 1."""
    with runtime.whole_file(path) as temporary:
        table = pd.DataFrame(history)
        table.index = pd.RangeIndex(1, len(table) + 1, name="step")
        table.to_csv(temporary)


def write_model_card(path: Path, **facts: Any) -> None:
    """Say beside a model what it is, how it was made, and what it must not be used for."""
    lines = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items())
    with runtime.whole_file(path) as temporary:
        temporary.write_text(
            f"# Generator: {path.stem}\n\n{lines}\n\n"
            "It draws 32x32 grey slices from 100 standard normal numbers. It may repeat its "
            "training images, so treat it as you must treat those. For teaching and for "
            "planning a study; never for a clinical decision.\n",
            encoding="utf-8",
        )
