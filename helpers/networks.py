"""The two networks of the published work, layer by layer, as its parameter counts fix them.

And the trunk of its classifier, which is a standard one; and how to compute the two in less time.

Source: the project page's listing, read together with its two counts; notebook 02 works them out.
"""

import socket
from functools import partial

import keras
import numpy as np
import tensorflow as tf
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


# --- How they compute ----------------------------------------------------------------------------


def fuse_layers(network: keras.Model) -> None:
    """Let some of a network's layers compute in a faster way, to the same numbers but for rounding.

    BatchNorm on images: in one operation where Keras takes a dozen. And the gradient penalty's own
    gradient gets right: Keras' variance holds the mean still while slopes are taken, which does no
    harm to a gradient, but to the gradient of a gradient.

    On a processor, also convolutions whose result is as large as what they are given: those of 5 by
    5 by `winograd`, those to one channel by `to_one_channel`, both given images in the format of
    the layers before. The layers stay what they are, and so do the files that they are saved to.
    """

    def call(layer, x, training=False, mask=None):
        weights = layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance
        scale, offset, mean, variance = map(tf.convert_to_tensor, weights)
        fused = partial(tf.compat.v1.nn.fused_batch_norm, x, scale, offset, epsilon=layer.epsilon)
        if not training:
            return fused(mean=mean, variance=variance, is_training=False)[0]
        normalised, *batch = fused(is_training=True)
        for moving, of_batch in zip(weights[2:], batch, strict=True):
            moving.assign(layer.momentum * moving + (1.0 - layer.momentum) * of_batch)
        return normalised

    on_processor = runtime.on_processor()
    for part in network.layers:
        if isinstance(part, keras.Model):
            fuse_layers(part)
        elif isinstance(part, layers.BatchNormalization) and len(part.output.shape) == 4:
            part.call = partial(call, part)
        elif on_processor and type(part) is layers.Conv2D and part.padding == "same":
            _, height, width, channels = part.output.shape
            if not part.strides == part.dilation_rate == (1, 1) or part.groups > 1:
                continue
            if channels == 1:
                part.autocast, part.convolution_op = False, to_one_channel
            elif part.kernel_size == (5, 5) and height % 4 == width % 4 == 0:
                part.autocast, part.convolution_op = False, winograd


def to_one_channel(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A convolution to one channel, edges padded: each row of the kernel apart, then their sum.

    Processors compute channels in blocks, of 16 with AVX-512, and would throw 15 away. Here the
    kernel's rows are channels, so that a k-th of the taps is left; the sum moves each to its place.

    Args:
        images: ``(n, height, width, channels)``, of any float format.
        kernel: ``(k, k, channels, 1)``.

    Returns:
        ``(n, height, width, 1)``, ``float32``.
    """
    rows = tf.transpose(tf.cast(kernel, images.dtype), (3, 1, 2, 0))  # (1, k, channels, k)
    apart = tf.cast(tf.nn.conv2d(images, rows, 1, "SAME"), tf.float32)
    return tf.nn.conv2d(apart, tf.eye(kernel.shape[0])[:, None, :, None], 1, "SAME")


def winograd(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A convolution of 5 by 5, edges padded, with 64 multiplications where its sum has 400.

    Convolving is what multiplying does to the coefficients of two polynomials, and polynomials that
    are known by their values multiply point by point: of 8 neighbours and 5 taps, 8 products give
    the 4 results that take 20 as a sum. So images and kernel go to 8 points on either axis, are
    multiplied there, over all channels, and come back in tiles of 4 by 4. Rounding grows a few
    times over on the way. `float32` can bear that, bfloat16 could not.

    Args:
        images: ``(n, height, width, channels)``, of any float format; edges are multiples of 4.
        kernel: ``(5, 5, channels, filters)``.

    Returns:
        ``(n, height, width, filters)``, ``float32``.

    Source: Lavin and Gray 2015, arXiv:1509.09308.
    """
    count, (_, height, width, channels) = tf.shape(images)[0], images.shape
    down, right, filters = height // 4, width // 4, kernel.shape[-1]
    there, back = np.kron(_at_points(5), _at_points(5)), _at_points(4).T
    kernel = tf.reshape(tf.matmul(there, tf.reshape(kernel, (25, -1))), (64, channels, filters))
    # Rows to their points, columns to theirs; point by point the product; and both ways back.
    x = tf.reshape(tf.cast(images, tf.float32), (count, height, width * channels))
    x = tf.reshape(tf.matmul(_tiles(height), x), (count, 8, down, width, channels))
    x = tf.reshape(tf.transpose(x, (1, 3, 2, 0, 4)), (8, width, -1))
    x = tf.matmul(tf.reshape(tf.matmul(_tiles(width), x), (64, -1, channels)), kernel)
    x = tf.matmul(back, tf.reshape(tf.matmul(back, tf.reshape(x, (8, 8, -1))), (8, -1)))
    x = tf.transpose(tf.reshape(x, (4, 4, right, down, count, filters)), (4, 3, 0, 2, 1, 5))
    return tf.reshape(x, (count, height, width, filters))


def _at_points(terms: int) -> np.ndarray:
    """From so many coefficients to the values at 0, ±1, ±2, ±1/2 and infinity: ``(8, terms)``."""
    powers = np.vander([0, 1, -1, 2, -2, 0.5, -0.5], terms, increasing=True)
    return np.vstack([powers, np.eye(terms)[-1]]).astype("float32")


def _tiles(edge: int) -> np.ndarray:
    """From an axis to the points of each tile on it, of 8 neighbours: ``(8 * edge // 4, edge)``.

    Two of the 8 lie before the tile's 4 results and two behind; beyond the edges are zeros.
    """
    padded = np.eye(edge + 4)[:, 2:-2]
    neighbours = np.stack([padded[k : k + 8] for k in range(0, edge, 4)], axis=1)
    there = np.linalg.inv(_at_points(8)).T
    return np.tensordot(there, neighbours, 1).reshape(-1, edge).astype("float32")
