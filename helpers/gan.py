"""Labels, losses, gradient penalty and the training step of both networks (notebook 03)."""

from collections.abc import Callable

import keras
import tensorflow as tf

from helpers.recipes import Recipe

# --- Targets -------------------------------------------------------------------------------------


def noisy_targets(real: bool, count: int, recipe: Recipe, seed: tf.Tensor) -> tf.Tensor:
    """Targets of the discriminator for `count` images, one number for each image.

    Real images get targets from 1 - `soften_real` to 1, generated ones from 0 to
    `soften_generated`. With `noisy_labels` the target of each image is drawn from this range;
    without, it is the soft end of the range. A share `flip_share` gets a target of the other kind.

    Args:
        real: Whether the images are real.
        count: How many images.
        recipe: Gives these four settings.
        seed: Two integers; the same two give the same targets.

    Returns:
        ``(count, 1)``, 0 to 1.
    """
    seeds = tf.random.split(seed, 2)
    drawn = tf.random.stateless_uniform((count, 1), seeds[0]) if recipe.noisy_labels else 1.0
    target_real = 1.0 - recipe.soften_real * drawn
    target_generated = recipe.soften_generated * drawn
    flipped = tf.random.stateless_uniform((count, 1), seeds[1]) < recipe.flip_share
    called_real = tf.logical_not(flipped) if real else flipped
    return tf.where(called_real, target_real, target_generated)


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy, in nats, averaged over the batch; always saying 0.5 costs ln 2.

    Args:
        targets: ``(n, 1)``, 0 to 1.
        logits: ``(n, 1)``, without bounds.

    Returns:
        A scalar.
    """
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))


# --- Losses --------------------------------------------------------------------------------------


def discriminator_loss(
    on_real: tf.Tensor, on_fake: tf.Tensor, recipe: Recipe, seed: tf.Tensor
) -> tf.Tensor:
    """Loss of the discriminator; for a critic, minus the gap between its two means.

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
    """Loss of the generator, from the logits of generated images.

    With `swap_labels` the generator is trained as if its images were real;
    without, it maximises the discriminator's loss, which is flat while the discriminator is sure.

    Args:
        on_fake: ``(n, 1)``, logits.
        recipe: Gives the loss and `swap_labels`.

    Returns:
        A scalar, in nats; for a critic without unit.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, section 3.
    """
    if recipe.loss == "wasserstein":
        return -tf.reduce_mean(on_fake)
    if recipe.swap_labels:
        return cross_entropy(tf.ones_like(on_fake), on_fake)
    return -cross_entropy(tf.zeros_like(on_fake), on_fake)


def gradient_penalty(critic: keras.Model, images: tf.Tensor, slope: float = 1.0) -> tf.Tensor:
    """Squared difference of the logit's slope at `images` from `slope`, batch average.

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
    # The derivative of the root is infinite at 0, so a tiny number is added.
    return tf.reduce_mean(tf.square(tf.sqrt(squares + 1e-12) - slope))


def penalty_for(
    critic: keras.Model, real: tf.Tensor, fake: tf.Tensor, recipe: Recipe, seed: tf.Tensor
) -> tf.Tensor:
    """The recipe's gradient penalty, before its weight.

    Args:
        critic: Gives a logit for an image.
        real, fake: ``(n, 32, 32, 1)``, as the critic got them.
        recipe: Says on which images the penalty is computed, if at all.
        seed: Two integers, for the mixtures.
    """
    if not recipe.penalty_weight:
        return tf.constant(0.0)
    if recipe.penalty_on == "real":
        return gradient_penalty(critic, real, slope=0.0)
    weight = tf.random.stateless_uniform((real.shape[0], 1, 1, 1), seed)
    return gradient_penalty(critic, weight * real + (1.0 - weight) * tf.stop_gradient(fake))


# --- The discriminator's inputs ------------------------------------------------------------------


def augment(images: tf.Tensor, kinds: tuple[str, ...], seed: tf.Tensor) -> tf.Tensor:
    """Shift, cut out and brighten each image at random; gradients pass through.

    Real and generated images must be changed alike (here even by the same draws): what is done to
    both tells nothing about which is which, so the generator doesn't learn to draw shifted heads.

    Args:
        images: ``(n, 32, 32, 1)``, -1 to 1.
        kinds: Some of `AUGMENTATIONS`.
        seed: Two integers.

    Returns:
        Same shape; black (-1) fills the shifted edges and the holes.

    Source: Zhao et al. 2020, arXiv:2006.10738 (DiffAugment), with its shift of an eighth, hole of
        half the edge, and brightness of a quarter of the range either way.
    """
    count, edge = images.shape[0], images.shape[1]
    seeds = tf.random.split(seed, 3)

    def positions(seed, low, high):
        return tf.random.stateless_uniform((count, 1, 2), seed, low, high, dtype=tf.int32)

    if "brightness" in kinds:  # first, so that edges and holes stay black
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


def augment_input(images: tf.Tensor, recipe: Recipe, seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Augment the discriminator's input and add noise that fades with the steps.

    Args:
        images: ``(n, 32, 32, 1)``, -1 to 1.
        recipe: Gives augmentations and noise.
        seed: Two integers.
        step: Scalar, from 0: the noise is gone at `instance_noise_steps`.

    Returns:
        Same shape; noise can leave the range.
    """
    if recipe.augmentations:
        images = augment(images, recipe.augmentations, seed)
    if recipe.instance_noise:
        left = tf.maximum(0.0, 1.0 - tf.cast(step, tf.float32) / recipe.instance_noise_steps)
        images += recipe.instance_noise * left * tf.random.stateless_normal(images.shape, seed)
    return images


# --- The step ------------------------------------------------------------------------------------


def gan_losses(
    generator: keras.Model, critic: keras.Model, real: tf.Tensor, seed: tf.Tensor, recipe: Recipe
) -> dict[str, tf.Tensor]:
    """Losses of both networks from one pass of the generator, and numbers to watch.

    Args:
        generator: Latent vectors to images.
        critic: The discriminator up to its logit.
        real: ``(n, 32, 32, 1)``, -1 to 1.
        seed: The run's seed and the step's number, which decide all random numbers here except
            dropout's.
        recipe: Losses and tricks.

    Returns:
        Scalars by name: two losses (nats, or without unit for Wasserstein), the penalty, the mean
        outputs for both kinds (0 to 1 after a sigmoid; a critic's are without bounds).
    """
    count, step = real.shape[0], seed[1]
    seeds = tf.random.split(seed, 4)
    latent = tf.random.stateless_normal((count, generator.input_shape[-1]), seeds[0])
    fake = augment_input(generator(latent, training=True), recipe, seeds[1], step)
    real = augment_input(real, recipe, seeds[1], step)
    on_real = critic(real, training=True)
    on_fake = critic(fake, training=True)

    penalty = penalty_for(critic, real, fake, recipe, seeds[2])
    adversarial = discriminator_loss(on_real, on_fake, recipe, seeds[3])
    output = tf.identity if recipe.loss == "wasserstein" else tf.sigmoid
    return {
        "discriminator_loss": adversarial + recipe.penalty_weight * penalty,
        "generator_loss": generator_loss(on_fake, recipe),
        "penalty": penalty,
        "output_on_real": tf.reduce_mean(output(on_real)),
        "output_on_fake": tf.reduce_mean(output(on_fake)),
    }


class Adam(keras.optimizers.Adam):
    """Keras' Adam, with one operation of TensorFlow for each tensor instead of about a dozen.

    The formula is the same, and the weights differ only by rounding. Each of the dozen operations
    would read and write all weights once.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: "keras.Variable", learning_rate: tf.Tensor
    ) -> None:
        """Moves the variable and both of its moments; Keras calls it for each variable."""
        # Private to Keras: `_get_variable_index`, `_momentums` and `_velocities`. If they change,
        # tests/helpers/test_gan.py fails.
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
        the step's number; it gives what `gan_losses` gives, and the length of both gradients.
    """
    critic = keras.Model(discriminator.inputs, discriminator.get_layer("logit").output)

    @tf.function(reduce_retracing=True, jit_compile=xla)
    def train_step(real, seed):
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            losses = gan_losses(generator, critic, real, seed, recipe)
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

    Args:
        averaged, generator: Two generators of the same layers; the first changes.
        decay: 0 (no average) to under 1: the share of the old number that stays.
        step: Scalar, from 0.
    """
    step = tf.cast(step, tf.float32)
    decay = tf.minimum(decay, (1.0 + step) / (10.0 + step))
    for average, value in zip(averaged.variables, generator.variables, strict=True):
        average.assign(decay * average + (1.0 - decay) * value)
