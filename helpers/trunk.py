"""ResNet-50 up to its pooled features: the trunk of the published classifier."""

import socket
from functools import partial

import keras
from keras import layers

from helpers import networks, parameters
from helpers.files import CourseError

IMAGENET_CHANNEL_MEANS = [103.939, 116.779, 123.68]  # blue, green, red: what the weights expect


def build_trunk(
    trunk: str = "auto", size: int = 32, edge: int = networks.IMAGE_SHAPE[0]
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
    parameters.check_values(trunk=trunk)
    if size < 32:
        raise CourseError(f"classifier_size {size} is too small: ResNet-50 needs 32.")
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
                raise CourseError(
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
