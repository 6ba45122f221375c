"""Faster ways to compute the same layers on a processor. Optional: nothing depends on them."""

from functools import partial

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from helpers import machine


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

    on_processor = machine.on_processor()
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
