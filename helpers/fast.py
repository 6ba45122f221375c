"""Faster ways to compute the same layers, chosen by measurement. Optional: results do not need it.

`speed_up` makes a clone of a network whose layers compute the same numbers in less time, apart from
rounding and from BatchNorm's moving variance (`FusedBatchNorm`). `machine.choose_precision` calls
`print_times` in a process of its own.
"""

import functools
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from helpers import machine, networks
from helpers.machine import ON_GPU, ON_PROCESSOR, WINOGRAD, XLA

# --- Faster layers -------------------------------------------------------------------------------


def speed_up(network: keras.Model, precision: str = "float32") -> keras.Model:
    """A clone of a network, with its weights, that computes the same in less time.

    BatchNorm on images takes one operation where Keras takes a dozen; its moving variance is a
    little larger (`FusedBatchNorm`). On a processor, a convolution to one channel is computed row
    by row of its kernel; with "+winograd", a 5x5 convolution by Winograd's algorithm. All other
    layers are Keras' own, and so is the order of the weights.

    Args:
        network: Any functional model; models inside it are cloned as well.
        precision: One of `machine.PRECISIONS`; only the algorithm counts here, dtypes stay.

    Returns:
        A new model. Training it leaves `network` unchanged: copy the weights back with
        `network.set_weights(clone.get_weights())`.
    """
    on_processor = machine.on_processor()

    def clone(layer: layers.Layer) -> layers.Layer:
        kind = type(layer)
        if isinstance(layer, layers.BatchNormalization) and len(layer.output.shape) == 4:
            kind = FusedBatchNorm
        elif on_processor and kind is layers.Conv2D and _keeps_size(layer):
            _, height, width, channels = layer.output.shape
            by_tiles = layer.kernel_size == (5, 5) and height % 4 == width % 4 == 0
            if channels == 1:
                kind = OneChannelConv2D
            elif by_tiles and precision.endswith(WINOGRAD):
                kind = WinogradConv2D
        return kind.from_config(layer.get_config())

    faster = keras.models.clone_model(network, clone_function=clone, recursive=True)
    for new, old in zip(faster.variables, network.variables, strict=True):
        new.assign(old)  # with dropout's random state, so that both draw the same
    return faster


def _keeps_size(layer: layers.Conv2D) -> bool:
    plain = layer.strides == layer.dilation_rate == (1, 1) and layer.groups == 1
    return layer.padding == "same" and plain


class FusedBatchNorm(networks.ExactBatchNorm):
    """BatchNorm over images in one operation; its second derivative is right as well.

    A batch is normalised as Keras does it. But the moving variance follows the batch's variance
    times n / (n - 1), with n values in each channel (Bessel's correction). Keras' has no such
    factor. For 16 images of 8 by 8 pixels it is 1.001.
    """

    def call(self, inputs: tf.Tensor, training: bool = False, mask: None = None) -> tf.Tensor:
        """Normalise ``(n, height, width, channels)``; in training by the batch's statistics."""
        weights = self.gamma, self.beta, self.moving_mean, self.moving_variance
        scale, offset, mean, variance = map(tf.convert_to_tensor, weights)
        fused = functools.partial(
            tf.compat.v1.nn.fused_batch_norm, inputs, scale, offset, epsilon=self.epsilon
        )
        if not training:
            return fused(mean=mean, variance=variance, is_training=False)[0]
        normalised, *batch = fused(is_training=True)
        self.update_moving_averages(*batch)
        return normalised


class Float32Conv2D(layers.Conv2D):
    """A convolution whose kernel and result are float32, whatever the precision."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **(kwargs | {"dtype": "float32"}))
        self.autocast = False  # inputs come as the layer before gives them


class WinogradConv2D(Float32Conv2D):
    """A 5x5 convolution by Winograd's algorithm."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """What Keras' layer calls for the convolution itself."""
        return winograd(inputs, kernel)


class OneChannelConv2D(Float32Conv2D):
    """A convolution to one channel, row by row of its kernel."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """What Keras' layer calls for the convolution itself."""
        return to_one_channel(inputs, kernel)


# --- Convolutions --------------------------------------------------------------------------------


def to_one_channel(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A convolution to one channel, edges padded: each row of the kernel apart, then their sum.

    Processors compute channels in blocks, of 16 with AVX-512, and throw 15 of them away here. So
    the kernel's rows are computed as channels, and then each is moved to its place and added.

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
    """A 5x5 convolution, edges padded, with 64 multiplications for 16 results instead of 400.

    Convolving two sequences is multiplying two polynomials. Polynomials that are given by their
    values at 8 points multiply point by point. So 8 multiplications replace the 20 (4 results × 5
    taps) of the direct sum. Images and kernel are evaluated at 8 points on each axis, multiplied
    there, over all channels, and turned back into tiles of 4 by 4. The rounding error
    grows a few times. `float32` can bear that, bfloat16 cannot.

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

    Two of the 8 are before the tile's 4 results and two after them; beyond the edges are zeros.
    """
    padded = np.eye(edge + 4)[:, 2:-2]
    neighbours = np.stack([padded[k : k + 8] for k in range(0, edge, 4)], axis=1)
    there = np.linalg.inv(_at_points(8)).T
    return np.tensordot(there, neighbours, 1).reshape(-1, edge).astype("float32")


# --- Their speed here ----------------------------------------------------------------------------


def print_times() -> None:
    """Time the precisions alternately, so that other load on the machine affects all of them.

    On a processor it is the processor's own time: waiting for other programs doesn't count. One
    that takes more than twice as long as another is timed once: where the processor has no
    bfloat16, a pass can take seconds.
    """
    best: dict[str, float] = {}
    steps = {}
    precisions, clock = ON_GPU, time.perf_counter
    if machine.on_processor():
        precisions, clock = ON_PROCESSOR, time.process_time
    for precision in precisions:
        steps[precision] = _make_pass(precision)
        steps[precision]()  # compiles; if that ends the process, those before are printed
        for _ in range(8):
            for name, step in steps.items():
                if best.get(name, 0.0) > 2 * min(best.values(), default=float("inf")):
                    continue
                started = clock()
                step()
                best[name] = min(clock() - started, best.get(name, float("inf")))
        for name, value in best.items():
            print(name, value, flush=True)


def _make_pass(precision: str) -> Callable[[], float]:
    """A forward and backward pass through layers as the two networks have them."""
    keras.config.set_dtype_policy(precision.split("+")[0])
    latent = x = keras.Input((100,))
    x = layers.Reshape((16, 16, 128))(layers.Dense(128 * 16 * 16)(x))
    x = layers.Conv2DTranspose(128, 4, strides=2, padding="same")(x)
    x = layers.Conv2D(128, 5, padding="same")(x)
    x = layers.Conv2D(128, 4, strides=2, padding="same")(x)
    network = speed_up(keras.Model(latent, x), precision)
    vectors = tf.ones((16, 100))

    @tf.function(jit_compile=precision.endswith(XLA))
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(network(vectors), "float32"))
        gradients = tape.gradient(loss, network.trainable_variables)
        return tf.add_n([tf.reduce_sum(gradient) for gradient in gradients])

    return lambda: step().numpy()
