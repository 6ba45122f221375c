"""The two networks of the published work, layer by layer, as its parameter counts fix them.

And the trunk of its classifier, which is a standard one.

Source: the project page's listing, read together with its two counts; notebook 02 works them out.
"""

import socket
from functools import partial

import keras
import numpy as np
from keras import layers

from helpers import runtime

IMAGE_SHAPE = (32, 32, 1)
LATENT_DIM = 100
# No parameter, so no count fixes it. Keras' default 0.99 averages over a few hundred steps: a
# generator sampled before that draws black squares.
MOMENTUM = 0.8
# Of the weights that the tanh layer starts with, against Keras' default; as free as the momentum.
# At 1 the first updates drive the tanh to its ends, where it passes no slope back: black and white
# checkerboards for hundreds of steps.
LAST_VARIANCE = 0.01
IMAGENET_CHANNEL_MEANS = [103.939, 116.779, 123.68]  # blue, green, red: what the weights expect


def normalise_and_activate(x: keras.KerasTensor) -> keras.KerasTensor:
    """BatchNorm, then LeakyReLU 0.01: what follows every layer but the last."""
    x = layers.BatchNormalization(momentum=MOMENTUM)(x)
    return layers.LeakyReLU(negative_slope=0.01)(x)


def build_discriminator(dropout: float = 0.4) -> keras.Model:
    """The discriminator: 32x32x1 in -1 to 1, to the probability that the image is real.

    Its layer "logit" holds the same answer before the sigmoid, for losses and penalties.

    Args:
        dropout: Share of the last features left out at random in training, 0 to 1; published 0.4.

    Returns:
        A model with 791,169 trainable parameters.
    """
    image = x = keras.Input(IMAGE_SHAPE, name="image")
    x = normalise_and_activate(layers.Conv2D(128, 3, strides=1, padding="same")(x))
    for _ in range(3):
        x = normalise_and_activate(layers.Conv2D(128, 4, strides=2, padding="same")(x))
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    x = layers.Dense(1, dtype="float32", name="logit")(x)
    x = layers.Activation("sigmoid", dtype="float32")(x)
    return keras.Model(image, x, name="discriminator")


def build_critic(dropout: float = 0.4) -> keras.Model:
    """The discriminator as a Wasserstein critic: a number without bounds, and no BatchNorm.

    BatchNorm lets the images of a batch speak to each other, but the gradient penalty asks for the
    slope at each image alone. LayerNormalization over the channels has as many parameters.

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
    """The generator: a latent vector, standard normal, to a 32x32x1 image in -1 to 1.

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
    """How many numbers training can move (BatchNorm's moving averages are not among them)."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def build_trunk(
    trunk: str = "auto", size: int = 32, edge: int = IMAGE_SHAPE[0]
) -> tuple[keras.Model, str]:
    """ResNet-50 up to its pooled features, for grey slices.

    Args:
        trunk: "imagenet": pretrained and frozen, as the original. "scratch": with first weights,
            and BatchNorm momentum 0.8, since the 0.99 of Keras is still far off after 150 steps.
            "auto": ImageNet where its weights can be had, else scratch.
        size: Edge of the images inside the network in pixels, 32 or more; they are enlarged to it.
        edge: Of the images that it is given.

    Returns:
        A model of images ``(n, edge, edge, 1)`` in -1 to 1 to features ``(n, 2048)``, and which of
        "imagenet" and "scratch" it is.

    Raises:
        CourseError: An unknown trunk, a size under 32, or ImageNet weights that cannot be had.
    """
    runtime.check_values(trunk=trunk)
    if size < 32:
        raise runtime.CourseError(f"classifier_size {size} is too small: ResNet-50 needs 32.")
    body, trunk = _resnet50(trunk, size)
    image = x = keras.Input((edge, edge, 1))
    if size != edge:
        x = layers.Resizing(size, size, interpolation="bilinear")(x)
    x = layers.Concatenate()([x, x, x])
    if trunk == "imagenet":
        x = layers.Rescaling(127.5, offset=[127.5 - mean for mean in IMAGENET_CHANNEL_MEANS])(x)
    x = body(x, training=False) if trunk == "imagenet" else body(x)
    return keras.Model(image, layers.GlobalAveragePooling2D()(x), name="trunk"), trunk


def _resnet50(trunk: str, size: int) -> tuple[keras.Model, str]:
    """ResNet-50 without its head, and which of the two it is."""
    build = partial(keras.applications.ResNet50, include_top=False, input_shape=(size, size, 3))
    if trunk != "scratch":
        waited, talks = socket.getdefaulttimeout(), keras.config.is_interactive_logging_enabled()
        socket.setdefaulttimeout(10)  # a network that never answers must not hold up "auto"
        keras.config.disable_interactive_logging()  # no address and no bar in a notebook's output
        try:
            body = build(weights="imagenet")
            body.trainable = False
            return body, "imagenet"
        except Exception as error:  # Keras passes on whatever its download raises
            if trunk == "imagenet":
                reason = str(error).split("\n")[0]
                raise runtime.CourseError(
                    f"ResNet-50's ImageNet weights cannot be had ({reason}): connect to a network, "
                    'or choose trunk "scratch".'
                ) from None
        finally:
            socket.setdefaulttimeout(waited)
            if talks:
                keras.config.enable_interactive_logging()
    body = build(weights=None)
    for layer in body.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.8
    return body, "scratch"
