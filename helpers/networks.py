"""The two networks of the published work, layer by layer, as its parameter counts fix them.

Source: the project page's listing, read together with its two counts; notebook 02 works them out.
"""

import keras
import numpy as np
from keras import layers, ops

IMAGE_SHAPE = (32, 32, 1)
LATENT_DIM = 100
# The parameter counts do not determine it. Keras' default of 0.99 averages over a few hundred
# steps. A generator that is sampled earlier draws black squares.
MOMENTUM = 0.8
# Variance of the tanh layer's initial weights, relative to Keras' default; a free choice, too. At 1
# the first updates push the tanh to -1 or 1, where its slope is almost 0: the generator then draws
# black and white checkerboards for hundreds of steps.
LAST_VARIANCE = 0.01


class ExactBatchNorm(layers.BatchNormalization):
    """Keras' BatchNorm with a correct second derivative, which the gradient penalty needs.

    Keras treats the batch's mean as a constant when it differentiates the variance. The first
    derivative is right all the same; the second is not.
    """

    def call(
        self, inputs: keras.KerasTensor, training: bool = False, mask: None = None
    ) -> keras.KerasTensor:
        """Normalise over all axes but the last; in training by the batch's statistics.

        Args:
            inputs: ``(n, ..., channels)``.
            training: Whether the batch's statistics are used, and the moving averages follow.
            mask: Not supported; Keras passes it.

        Returns:
            Same shape.
        """
        if not training:
            return super().call(inputs, training=False)
        x = ops.cast(inputs, "float32")
        axes = list(range(len(x.shape) - 1))
        mean = ops.mean(x, axes)
        variance = ops.mean(ops.square(x - mean), axes)
        self.update_moving_averages(mean, variance)
        x = (x - mean) * ops.rsqrt(variance + self.epsilon) * self.gamma + self.beta
        return ops.cast(x, self.compute_dtype)

    def update_moving_averages(self, mean: keras.KerasTensor, variance: keras.KerasTensor) -> None:
        """Move the moving averages, each ``(channels,)``, towards the batch's."""
        for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(self.momentum * moving + (1.0 - self.momentum) * of_batch)


def normalise_and_activate(
    x: keras.KerasTensor, batch_norm: type[layers.Layer] = layers.BatchNormalization
) -> keras.KerasTensor:
    """BatchNorm, then LeakyReLU 0.01, as after every layer except the last; the shape stays."""
    x = batch_norm(momentum=MOMENTUM)(x)
    return layers.LeakyReLU(negative_slope=0.01)(x)


def build_discriminator(dropout: float = 0.4) -> keras.Model:
    """The discriminator: from a 32x32x1 image, -1 to 1, to the probability that it is real.

    Its layer "logit" holds the same answer before the sigmoid, for losses and penalties.

    Args:
        dropout: Share of the last features left out at random in training, 0 to 1; published 0.4.

    Returns:
        A model with 791,169 trainable parameters.
    """
    image = x = keras.Input(IMAGE_SHAPE, name="image")
    x = layers.Conv2D(128, 3, strides=1, padding="same")(x)
    x = normalise_and_activate(x, ExactBatchNorm)
    for _ in range(3):
        x = layers.Conv2D(128, 4, strides=2, padding="same")(x)
        x = normalise_and_activate(x, ExactBatchNorm)
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    x = layers.Dense(1, dtype="float32", name="logit")(x)
    x = layers.Activation("sigmoid", dtype="float32")(x)
    return keras.Model(image, x, name="discriminator")


def build_critic(dropout: float = 0.4) -> keras.Model:
    """The discriminator as a Wasserstein critic: a number without bounds, and no BatchNorm.

    With BatchNorm, the output for one image depends on the other images of its batch, but the
    gradient penalty needs the slope at each image alone. LayerNormalization over the channels has
    as many parameters.

    Returns:
        A model with 791,169 trainable parameters; its last layer is called "logit" as well.

    Source: Gulrajani et al. 2017, arXiv:1704.00028, section 4.
    """
    image = x = keras.Input(IMAGE_SHAPE, name="image")
    for kernel, stride in ((3, 1), (4, 2), (4, 2), (4, 2)):
        x = layers.Conv2D(128, kernel, strides=stride, padding="same")(x)
        x = layers.LayerNormalization()(x)
        x = layers.LeakyReLU(negative_slope=0.01)(x)
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(1, dtype="float32", name="logit")(x), name="critic")


def build_generator(latent_dim: int = LATENT_DIM) -> keras.Model:
    """The generator: from a standard normal latent vector to a 32x32x1 image, -1 to 1.

    Args:
        latent_dim: Length of the latent vector; 100 is the one that gives the published count.

    Returns:
        A model with 4,870,785 trainable parameters at `latent_dim` 100.
    """
    latent = x = keras.Input((latent_dim,), name="latent")
    x = normalise_and_activate(layers.Dense(128 * 16 * 16)(x))
    x = layers.Reshape((16, 16, 128))(x)
    x = normalise_and_activate(layers.Conv2D(128, 5, padding="same")(x))
    x = normalise_and_activate(layers.Conv2DTranspose(128, 4, strides=2, padding="same")(x))
    x = normalise_and_activate(layers.Conv2D(128, 5, padding="same")(x))
    x = normalise_and_activate(layers.Conv2D(128, 5, padding="same")(x))
    small = keras.initializers.VarianceScaling(LAST_VARIANCE, "fan_avg", "uniform")
    x = layers.Conv2D(
        1, 5, padding="same", activation="tanh", kernel_initializer=small, dtype="float32"
    )(x)
    return keras.Model(latent, x, name="generator")


def count_trainable(model: keras.Model) -> int:
    """Number of trainable parameters, without BatchNorm's moving averages."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
