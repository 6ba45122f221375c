"""Train one GAN on the slices of one class, so that a run cut off goes on where it stopped."""

import contextlib
import dataclasses
import json
import signal
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

from helpers import networks, runtime

BATCH_SIZE = 16
AUGMENTATIONS = ("translation", "cutout", "brightness")
# Of a recipe's values: the lowest and the highest, or all that there are.
ALLOWED: dict[str, tuple[float, float] | list] = {
    "loss": ["bce", "wasserstein"], "penalty_on": ["mixtures", "real"],
    "penalty_weight": (0, np.inf), "generator_learning_rate": (1e-9, 1),
    "discriminator_learning_rate": (1e-9, 1), "beta_1": (0, 0.99999),
    "swap_labels": [True, False], "flip_share": (0, 0.5), "soften_real": (0, 0.5),
    "soften_generated": (0, 0.5), "noisy_labels": [True, False], "instance_noise": (0, np.inf),
    "instance_noise_steps": (1, np.inf), "dropout": (0, 0.99), "average_decay": (0, 0.99999),
}  # fmt: skip
# What zipfile and NumPy raise on a checkpoint that is cut short, overwritten or has a byte flipped.
DAMAGED = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What may vary between trainings; the defaults are our reading of the published recipe.

    Raises:
        CourseError: A value out of range, or label tricks with the Wasserstein loss.
    """

    loss: str = "bce"  # or "wasserstein" (Arjovsky et al. 2017): the critic has no labels
    penalty_on: str = "mixtures"  # slope 1 there (Gulrajani 2017); "real": slope 0 (Mescheder 2018)
    penalty_weight: float = 10.0  # 0 or more; 10: Gulrajani 2017; half of Mescheder's gamma
    generator_learning_rate: float = 2e-4  # of Adam, over 0; the report's value
    discriminator_learning_rate: float = 2e-4  # the same; higher: Heusel et al. 2017 (TTUR)
    beta_1: float = 0.5  # of Adam, both networks, 0 to 1; as published, after Radford et al. 2016
    swap_labels: bool = True  # label inversion, for the generator's update; Goodfellow et al. 2014
    flip_share: float = 0.05  # label inversion, at random: share 0 to 0.5; Chintala et al. 2016
    soften_real: float = 0.2  # targets from 1 down to 1 minus this, 0 to 0.5; Salimans et al. 2016
    soften_generated: float = 0.2  # from 0 up to this, 0 to 0.5; our reading: Salimans' would be 0
    noisy_labels: bool = True  # soft targets drawn for each image; Chintala et al. 2016
    instance_noise: float = 0.0  # standard deviation at the first step, 0 or more; Sønderby 2017
    instance_noise_steps: int = 1000  # in which it fades to nothing, 1 or more; Sønderby 2017
    dropout: float = 0.4  # before the discriminator's last layer, 0 to under 1; as published
    augmentation: str = ""  # of all that is judged: AUGMENTATIONS, comma between; Zhao 2020
    average_decay: float = 0.0  # of the averaged generator, 0 (none) to under 1; Yazıcı 2019

    def __post_init__(self) -> None:
        for name, allowed in ALLOWED.items():
            value = getattr(self, name)
            if isinstance(allowed, tuple):
                fits = not isinstance(value, bool) and isinstance(value, int | float)
                fits = fits and allowed[0] <= value <= allowed[1]
                words = f"a number from {allowed[0]:g} to {allowed[1]:g}"
                if isinstance(value, str):
                    words += " (YAML takes 5e-4 for a text: write 5.0e-4)"
            else:
                fits, words = value in allowed, " or ".join(map(str, allowed))
            if not fits:
                raise runtime.CourseError(f"recipe: {name} is {value!r}: it must be {words}.")
        if not set(self.augmentations) <= set(AUGMENTATIONS):
            raise runtime.CourseError(
                f"recipe: augmentation {self.augmentation!r} must hold none or some of "
                f"{', '.join(AUGMENTATIONS)}."
            )
        tricks = self.flip_share, self.soften_real, self.soften_generated, not self.swap_labels
        if self.loss == "wasserstein" and any(tricks):
            raise runtime.CourseError(
                "recipe: the Wasserstein loss has no labels: set flip_share, soften_real and "
                "soften_generated to 0 and swap_labels to True, or use loss bce."
            )
        if self.loss == "wasserstein" and not self.penalty_weight:
            raise runtime.CourseError(
                "recipe: the Wasserstein loss has no bound without its penalty: set penalty_weight "
                "over 0, or use loss bce."
            )

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The augmentations by name."""
        return tuple(part.strip() for part in str(self.augmentation).split(",") if part.strip())


# For a few hundred steps: larger ones than the published 2e-4, and an average over the last ones,
# since single ones still swing. Of what `benchmarks/ablation.py` tried, the two measured best.
BRIEF = Recipe(generator_learning_rate=5e-4, discriminator_learning_rate=5e-4, average_decay=0.99)
RECIPES = {"paper": Recipe(), "brief": BRIEF, "best": BRIEF}


def choose_recipe(name: str, changes: dict[str, Any] | None = None) -> Recipe:
    """A named recipe, with some of its values changed.

    Raises:
        CourseError: An unknown recipe, an unknown value, or one out of range.
    """
    if name not in RECIPES:
        raise runtime.CourseError(f"recipe {name!r} is unknown: use {' or '.join(RECIPES)}.")
    known = [field.name for field in dataclasses.fields(Recipe)]
    if unknown := [name for name in changes or {} if name not in known]:
        words = f"{unknown[0]!r} is no value of a recipe: use some of {', '.join(known)}"
        raise runtime.CourseError(f"recipe: {words}.")
    return dataclasses.replace(RECIPES[name], **(changes or {}))


# --- What the discriminator is told --------------------------------------------------------------


def noisy_targets(real: bool, count: int, recipe: Recipe, seed: tf.Tensor) -> tf.Tensor:
    """What the discriminator is told about `count` images, one number an image.

    Soft: real images get targets from 1 - softness to 1, generated ones from 0 to softness; noisy:
    drawn for each image. Inverted: a share of `flip_share` is told the opposite.

    Args:
        real: Whether the images are real.
        count: How many images.
        recipe: Gives softness, noise and flips.
        seed: Two integers; the same two give the same targets.

    Returns:
        ``(count, 1)``, 0 to 1.
    """
    seeds = tf.random.split(seed, 2)
    drawn = tf.random.stateless_uniform((count, 1), seeds[0]) if recipe.noisy_labels else 1.0
    told_real = 1.0 - recipe.soften_real * drawn
    told_generated = recipe.soften_generated * drawn
    flipped = tf.random.stateless_uniform((count, 1), seeds[1]) < recipe.flip_share
    called_real = tf.logical_not(flipped) if real else flipped
    return tf.where(called_real, told_real, told_generated)


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy, in nats, averaged over the batch; ln 2 = 0.69 is a coin's."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))


# --- Losses --------------------------------------------------------------------------------------


def discriminator_loss(
    on_real: tf.Tensor, on_fake: tf.Tensor, recipe: Recipe, seed: tf.Tensor
) -> tf.Tensor:
    """How badly the discriminator tells real from generated; a critic's is minus its gap.

    Args:
        on_real, on_fake: ``(n, 1)``, logits.
        recipe: Gives the loss and the label tricks.
        seed: Two integers, for the labels.
    """
    if recipe.loss == "wasserstein":
        return tf.reduce_mean(on_fake) - tf.reduce_mean(on_real)
    seeds, count = tf.random.split(seed, 2), on_real.shape[0]
    return cross_entropy(noisy_targets(True, count, recipe, seeds[0]), on_real) + cross_entropy(
        noisy_targets(False, count, recipe, seeds[1]), on_fake
    )


def generator_loss(on_fake: tf.Tensor, recipe: Recipe) -> tf.Tensor:
    """How badly the generator fools it.

    Label inversion: with `swap_labels` the generator is trained as if its images were real;
    without, it maximises the discriminator's loss, which is flat while the discriminator is sure.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, section 3.
    """
    if recipe.loss == "wasserstein":
        return -tf.reduce_mean(on_fake)
    if recipe.swap_labels:
        return cross_entropy(tf.ones_like(on_fake), on_fake)
    return -cross_entropy(tf.zeros_like(on_fake), on_fake)


def gradient_penalty(critic: keras.Model, images: tf.Tensor, slope: float = 1.0) -> tf.Tensor:
    """How far the logit's slope at `images` is from the one asked for, squared, batch average.

    Args:
        critic: Gives a logit for an image.
        images: ``(n, 32, 32, 1)``: mixtures of real and generated ones, or real ones.
        slope: What is asked for: 1 on mixtures (Gulrajani et al. 2017, arXiv:1704.00028, equation
            3), 0 on real images (Mescheder et al. 2018, arXiv:1801.04406, "R1", who halve the
            weight: their 10 is a `penalty_weight` of 5).

    Returns:
        A scalar, 0 or more.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = critic(images, training=True)
    squares = tf.reduce_sum(tf.square(tape.gradient(logits, images)), axis=[1, 2, 3])
    # The root's own slope is infinite at 0; a hair above it is safe.
    return tf.reduce_mean(tf.square(tf.sqrt(squares + 1e-12) - slope))


def penalised(critic: keras.Model, real: tf.Tensor, fake: tf.Tensor, recipe, seed) -> tf.Tensor:
    """The recipe's gradient penalty, before its weight.

    Args:
        critic: Gives a logit for an image.
        real, fake: ``(n, 32, 32, 1)``, as the critic was shown them.
        recipe: Says at which images, and whether at all.
        seed: Two integers, for the mixtures.
    """
    if not recipe.penalty_weight:
        return tf.constant(0.0)
    if recipe.penalty_on == "real":
        return gradient_penalty(critic, real, slope=0.0)
    weight = tf.random.stateless_uniform((real.shape[0], 1, 1, 1), seed)
    return gradient_penalty(critic, weight * real + (1.0 - weight) * tf.stop_gradient(fake))


# --- What the discriminator is shown -------------------------------------------------------------


def augment(images: tf.Tensor, kinds: tuple[str, ...], seed: tf.Tensor) -> tf.Tensor:
    """Shift, cut out and brighten each image at random, so that gradients pass through.

    Real and generated images must be changed alike (here even by the same draws): what is done to
    both tells nothing about which is which, so the generator doesn't learn to draw shifted heads.

    Args:
        images: ``(n, 32, 32, 1)``, -1 to 1.
        kinds: Some of `AUGMENTATIONS`.
        seed: Two integers.

    Returns:
        Same shape; air (-1) comes in at the edges and stands in the holes.

    Source: Zhao et al. 2020, arXiv:2006.10738 (DiffAugment), with its shift of an eighth, hole of
        half the edge, and brightness of a quarter of the range either way.
    """
    count, edge = images.shape[0], images.shape[1]
    seeds = tf.random.split(seed, 3)

    def positions(seed, low, high):
        return tf.random.stateless_uniform((count, 1, 2), seed, low, high, dtype=tf.int32)

    if "brightness" in kinds:  # first, so that edges and holes stay air
        images = images + tf.random.stateless_uniform((count, 1, 1, 1), seeds[2], -0.5, 0.5)
    if "translation" in kinds:
        pad = edge // 8
        grid = tf.range(edge)[None, :, None] + positions(seeds[0], 0, 2 * pad + 1)
        padded = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]], constant_values=-1.0)
        images = tf.gather(tf.gather(padded, grid[..., 0], axis=1, batch_dims=1), grid[..., 1],
                           axis=2, batch_dims=1)  # fmt: skip
    if "cutout" in kinds:
        offset = tf.range(edge)[None, :, None] - positions(seeds[1], 0, edge + 1)
        inside = (offset >= -(edge // 4)) & (offset < edge // 4)
        hole = inside[:, :, None, :1] & inside[:, None, :, 1:]
        images = tf.where(hole, -1.0, images)
    return images


def shown(images: tf.Tensor, recipe: Recipe, seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """What the discriminator sees of these images: augmented, under noise that fades with steps."""
    if recipe.augmentations:
        images = augment(images, recipe.augmentations, seed)
    if recipe.instance_noise:
        left = tf.maximum(0.0, 1.0 - tf.cast(step, tf.float32) / recipe.instance_noise_steps)
        images += recipe.instance_noise * left * tf.random.stateless_normal(images.shape, seed)
    return images


# --- The step ------------------------------------------------------------------------------------


def losses_of(
    generator: keras.Model, critic: keras.Model, real: tf.Tensor, seed: tf.Tensor, recipe: Recipe
) -> dict[str, tf.Tensor]:
    """Both networks' losses from one pass of the generator, and what to watch beside them.

    Args:
        generator: Latent vectors to images.
        critic: The discriminator up to its logit.
        real: ``(n, 32, 32, 1)``, -1 to 1.
        seed: The run's seed and the step's number, from which all that is random here is drawn.
        recipe: Losses and tricks.

    Returns:
        Scalars by name: two losses (nats, or without unit for Wasserstein), the penalty, the mean
        outputs for both kinds (0 to 1 after a sigmoid; a critic's are without bounds).
    """
    count, step = real.shape[0], seed[1]
    seeds = tf.random.split(seed, 4)
    latent = tf.random.stateless_normal((count, generator.input_shape[-1]), seeds[0])
    fake = shown(generator(latent, training=True), recipe, seeds[1], step)
    real = shown(real, recipe, seeds[1], step)
    on_real = critic(real, training=True)
    on_fake = critic(fake, training=True)

    penalty = penalised(critic, real, fake, recipe, seeds[2])
    told = discriminator_loss(on_real, on_fake, recipe, seeds[3])
    output = tf.identity if recipe.loss == "wasserstein" else tf.sigmoid
    return {
        "discriminator_loss": told + recipe.penalty_weight * penalty,
        "generator_loss": generator_loss(on_fake, recipe),
        "penalty": penalty,
        "output_on_real": tf.reduce_mean(output(on_real)),
        "output_on_fake": tf.reduce_mean(output(on_fake)),
    }


class Adam(keras.optimizers.Adam):
    """Keras' Adam, each tensor's update in one operation of TensorFlow's for Keras' dozen.

    The formula is the same and so are the weights, but for rounding. The dozen goes through memory
    once for each of its terms.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Moves the variable and both of its moments; Keras calls it for each variable."""
        index, steps = self._get_variable_index(variable), tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**steps,
            beta2_power=self.beta_2**steps,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def make_train_step(
    generator: keras.Model,
    discriminator: keras.Model,
    generator_optimizer: keras.optimizers.Optimizer,
    discriminator_optimizer: keras.optimizers.Optimizer,
    recipe: Recipe,
    averaged: keras.Model | None = None,
    xla: bool = False,
) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
    """One update of both networks, compiled as one graph.

    The generator runs once: two tapes watch the same pass, one for each network's update.

    Args:
        generator, discriminator: The networks; the discriminator has a layer "logit".
        generator_optimizer, discriminator_optimizer: One each, built.
        recipe: Losses and tricks.
        averaged: A second generator, which is to hold the average of the first one's weights.
        xla: Let XLA compile the graph. It draws other random numbers from the same seed.

    Returns:
        A function of the real images ``(n, 32, 32, 1)`` and of two integers, the run's seed and
        the step's number; it gives what `losses_of` gives, and the length of both gradients.
    """
    critic = keras.Model(discriminator.inputs, discriminator.get_layer("logit").output)
    for network in (generator, discriminator):
        networks.fuse_layers(network)

    @tf.function(reduce_retracing=True, jit_compile=xla)
    def train_step(real, seed):
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            losses = losses_of(generator, critic, real, seed, recipe)
        for name, tape, network, optimizer in (
            ("discriminator", discriminator_tape, discriminator, discriminator_optimizer),
            ("generator", generator_tape, generator, generator_optimizer),
        ):
            gradients = tape.gradient(losses[f"{name}_loss"], network.trainable_variables)
            optimizer.apply(gradients, network.trainable_variables)
            losses[f"{name}_gradient"] = tf.linalg.global_norm(gradients)
        if averaged is not None:
            update_average(averaged, generator, recipe.average_decay, seed[1])
        return losses

    return train_step


def update_average(
    averaged: keras.Model, generator: keras.Model, decay: float, step: tf.Tensor
) -> None:
    """Move each averaged number a little towards the current one.

    BatchNorm's moving statistics are averaged like the weights: averaged weights under the
    statistics of other weights draw worse images at first. Early on the average is short.
    """
    step = tf.cast(step, tf.float32)
    decay = tf.minimum(decay, (1.0 + step) / (10.0 + step))
    for average, value in zip(averaged.variables, generator.variables, strict=True):
        average.assign(decay * average + (1.0 - decay) * value)


def batch_of(step: int, count: int, batch_size: int, seed: int) -> np.ndarray:
    """Which images a step sees: each epoch in a new order, its last half batch dropped.

    A function of the step alone, so that a resumed run sees what an unbroken one would have.

    Returns:
        ``(batch_size,)`` indices below `count`.
    """
    epoch, position = divmod(step, count // batch_size)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return order[position * batch_size : (position + 1) * batch_size]


# --- The loop ------------------------------------------------------------------------------------


@dataclasses.dataclass
class Trained:
    """What a training leaves: the networks, one row of numbers a step, pictures on the way."""

    generator: keras.Model  # with averaged weights, where the recipe asks for them
    discriminator: keras.Model
    history: dict[str, np.ndarray]  # name: (steps,)
    preview_steps: np.ndarray  # (k,)
    previews: np.ndarray  # (k, 16, 32, 32, 1), -1 to 1: the same 16 latent vectors each time
    watched: list[dict[str, float]]  # what `watch` gave at each of these steps
    seconds: float  # spent in steps, over all resumes
    precision: str  # one of `runtime.PRECISIONS`


COLUMNS = ("discriminator_loss", "generator_loss", "penalty", "output_on_real", "output_on_fake",
           "discriminator_gradient", "generator_gradient")  # fmt: skip


def train_gan(
    images: np.ndarray,
    *,
    steps: int,
    seed: int,
    recipe: Recipe = RECIPES["paper"],
    precision: str = "float32",
    checkpoints: Path | None = None,
    checkpoint_every: int = 50,
    preview_every: int = 50,
    watch: Callable[[keras.Model], dict[str, float]] | None = None,
    title: str = "GAN",
) -> Trained:
    """Train a GAN on images of one class for a number of steps, resuming where a run was cut off.

    Ctrl-C ends it after the step at hand and keeps the state; a kill leaves the last checkpoint.
    The same call goes on, and ends with the weights of a run never stopped, bit for bit on one
    machine.

    Args:
        images: ``(n, 32, 32, 1)``, ``float32``, -1 to 1, n at least 16.
        steps: Updates of both networks.
        seed: Of initial weights, order, latent vectors and labels.
        recipe: Losses and tricks.
        precision: One of `runtime.PRECISIONS`, or "auto": what `runtime.choose_precision` finds
            fastest here, but in a run that goes on, what it began with.
        checkpoints: Folder for the state to resume from; none is kept without it.
        checkpoint_every: Steps between checkpoints.
        preview_every: Steps between pictures of 16 fixed latent vectors.
        watch: Called with the generator at each picture; what it returns is kept. It must draw no
            random numbers but its own.
        title: For the progress bar.

    Raises:
        CourseError: An interval under 1, a seed under 0, too few images, a checkpoint of other
            data or settings or of more steps, or a loss that is no number any more.
    """
    runtime.check_values(seed=seed, preview_every=preview_every, checkpoint_every=checkpoint_every)
    if len(images) < BATCH_SIZE:
        raise runtime.CourseError(
            f"{title}: {len(images)} training images are fewer than one batch of {BATCH_SIZE}: "
            "add images of this class."
        )
    before = _read_newest(checkpoints)
    goes_on = precision == "auto" and before
    precision = before["origin"]["precision"] if goes_on else precision
    precision = runtime.choose_precision(precision, xla=True)
    runtime.seed_everything(seed)
    with _dtype_policy(precision):
        builds = {"bce": networks.build_discriminator, "wasserstein": networks.build_critic}
        generator = networks.build_generator()
        discriminator = builds[recipe.loss](dropout=recipe.dropout)
        averaged = networks.build_generator() if recipe.average_decay else None
    rates = recipe.generator_learning_rate, recipe.discriminator_learning_rate
    optimizers = [Adam(rate, recipe.beta_1) for rate in rates]
    for optimizer, network in zip(optimizers, (generator, discriminator), strict=True):
        optimizer.build(network.trainable_variables)
    if averaged:
        averaged.set_weights(generator.get_weights())
    drawing = averaged or generator
    # Dropout keeps its own random state among its network's variables.
    parts = (generator, discriminator, *optimizers, *([averaged] if averaged else []))
    state = _State(
        variables=[variable for part in parts for variable in part.variables],
        origin={
            "data": runtime.fingerprint(images),
            "recipe": dataclasses.asdict(recipe),
            "seed": seed,
            "batch_size": BATCH_SIZE,
            "precision": precision,
            "preview_every": preview_every,
        },
    )
    if before:
        state.restore(before)
    if (first := len(state.rows)) > steps:
        raise runtime.CourseError(
            f"{title}: {first} steps are done, more than the {steps} asked for: ask for {first} or "
            "more, choose another OUT, or start over with FRESH=1."
        )

    xla = precision.endswith(runtime.XLA)
    train_step = make_train_step(generator, discriminator, *optimizers, recipe, averaged, xla)
    fixed = np.random.default_rng([seed, 16]).standard_normal((16, networks.LATENT_DIM))
    fixed = tf.constant(fixed, tf.float32)
    data = tf.constant(images)
    with _late_interrupt() as interrupted:
        for step in runtime.progress(range(first, steps), title, steps, first):
            started = time.perf_counter()
            batch = tf.gather(data, batch_of(step, len(images), BATCH_SIZE, seed))
            values = train_step(batch, tf.constant([seed, step]))
            row = [float(values[name]) for name in COLUMNS]
            if not np.isfinite(row).all():
                newest = max(checkpoints.glob("step-*.npz"), default=None) if checkpoints else None
                kept = f"{newest} holds the last good state" if newest else "nothing was kept"
                raise runtime.CourseError(
                    f"{title}: the losses stopped being numbers at step {step + 1}; {kept}: lower "
                    "learning rates are another recipe, so try them with FRESH=1 or another OUT."
                )
            state.rows.append(row)
            state.seconds += time.perf_counter() - started
            done = step + 1
            if done % preview_every == 0 or done == steps:
                state.frames.append(np.asarray(drawing(fixed, training=False)))
                state.frame_steps.append(done)
                state.watched.append(watch(drawing) if watch else {})
            if checkpoints and (done % checkpoint_every == 0 or done == steps or interrupted):
                state.save(checkpoints)
            if interrupted:
                kept = "run the same again to go on" if checkpoints else "nothing was kept"
                print(f"{title}: stopped after {done} of {steps} steps; {kept}.")
                raise KeyboardInterrupt
    history = dict(zip(COLUMNS, np.array(state.rows).reshape(-1, len(COLUMNS)).T, strict=True))
    pictures = np.array(state.frame_steps), np.array(state.frames), state.watched
    return Trained(drawing, discriminator, history, *pictures, state.seconds, precision)


@contextlib.contextmanager
def _late_interrupt() -> Iterator[list[int]]:
    """Collect Ctrl-C, to be acted on between two steps: a state halfway is no state to keep."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # signals reach the main thread alone
        return
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Layers built inside compute in this format; their weights are float32 in any case."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name.removesuffix(runtime.XLA))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


# --- Checkpoints ---------------------------------------------------------------------------------


@dataclasses.dataclass
class _State:
    """All that a training needs to go on as if it had never stopped."""

    variables: list[Any]  # of both networks, both optimizers, the average; random state among them
    origin: dict[str, Any]  # data, recipe, seed and the like: one of another origin is refused
    rows: list[list[float]] = dataclasses.field(default_factory=list)
    frames: list[np.ndarray] = dataclasses.field(default_factory=list)
    frame_steps: list[int] = dataclasses.field(default_factory=list)
    watched: list[dict[str, float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def save(self, folder: Path) -> None:
        """Write `step-N.npz` whole, then drop all but it and the one before."""
        newest = folder / f"step-{len(self.rows):06d}.npz"
        with runtime.whole_file(newest) as temporary:
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
        # Those after it could not be read: else this run would have gone on from there.
        for other in found[: max(at - 1, 0)] + found[at + 1 :]:
            other.unlink()

    def restore(self, content: dict[str, Any]) -> None:
        """Take what `_read_newest` gave."""
        was, now = (origin | origin["recipe"] for origin in (content["origin"], self.origin))
        if differ := [name for name in now if was.get(name) != now[name]]:
            raise runtime.CourseError(
                f"{content['path']} was made from other data or settings ({', '.join(differ)}): "
                "choose another OUT, or start over with FRESH=1."
            )
        for k, variable in enumerate(self.variables):
            variable.assign(content.pop(f"arr_{k}"))  # so that it isn't held twice
        self.rows, self.seconds = content["rows"].tolist(), float(content["seconds"])
        self.frames, self.frame_steps = list(content["frames"]), content["frame_steps"].tolist()
        self.watched = json.loads(str(content["watched"]))


def _read_newest(folder: Path | None) -> dict[str, Any]:
    """All that the newest readable checkpoint holds, and its path; without one, nothing."""
    for half_written in folder.glob(".step-*") if folder else []:  # by a process that was killed
        half_written.unlink(missing_ok=True)
    for path in sorted(folder.glob("step-*.npz"), reverse=True) if folder else []:
        try:
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
    with runtime.whole_file(path) as temporary, runtime.quiet():
        generator.save(temporary)


def write_log(path: Path, history: dict[str, np.ndarray]) -> None:
    """Write the losses as CSV, one row a step, steps counted from 1."""
    with runtime.whole_file(path) as temporary:
        pd.DataFrame(history).rename(lambda k: k + 1).to_csv(temporary, index_label="step")


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
