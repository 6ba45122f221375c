"""From images to pooled features: the bundled EfficientNet-Lite0, and a builder of ResNet-50.

The bundled weights come with the course (`data/trunk/`), so what they show depends on no network
connection.
"""

import functools
import hashlib
import io
import socket
from collections import OrderedDict
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from helpers import files, machine, networks
from helpers.files import CourseError

WEIGHTS = files.PROJECT / "data" / "trunk" / "trunk.npz"
CHECKSUM = "b9254dd9abbefe01aa2105206c346b8c2ffb5472893946849b170de672efa24c"  # SHA-256
FEATURES = 1280
SIZE = 128  # pixels; of the sizes tried, the smallest at which the classifier stays as good
BATCH = 16  # images; 32 are a fifth faster, and hold 70 MB more
# Repeats, kernel size, stride of the first block, expansion, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
MOST_KEPT = 20_000  # images whose features stay in memory: 100 MB
IMAGENET_CHANNEL_MEANS = [103.939, 116.779, 123.68]  # blue, green, red: what ResNet-50 expects
LONG = 512  # images; fewer take about a second and show no progress


def features(images: np.ndarray, size: int = SIZE, batch: int = BATCH) -> np.ndarray:
    """Compute what the frozen trunk finds in each image.

    An image that was seen before is not computed again. The trunk always runs on the CPU in
    float32, whatever the global precision is, so that each machine gives the same features.

    Args:
        images: ``(n, height, width, 1)``, -1 to 1. They are resized to a square of `size`.
        size: Pixels, a multiple of 32.
        batch: Images computed at once.

    Returns:
        ``(n, 1280)``, ``float32``, 0 to 6.

    Raises:
        CourseError: The bundled weights are missing or damaged.
    """
    images = np.ascontiguousarray(images, dtype=np.float32)
    known = _known_features()
    shape = repr((size, *images.shape[1:])).encode()
    keys = [hashlib.sha256(image.tobytes() + shape).digest() for image in images]
    found = {key: known[key] for key in keys if key in known}
    new = list({key: i for i, key in enumerate(keys) if key not in found}.items())
    starts = range(0, len(new), batch)
    parts = [new[start : start + batch] for start in starts]
    shown = machine.progress(parts, "features", len(parts)) if len(new) > LONG else iter(parts)
    for part in shown:
        computed = _bundled()(images[[i for _, i in part]], size)
        found.update(zip((key for key, _ in part), computed, strict=True))
    known.update(found)
    while len(known) > MOST_KEPT:
        known.popitem(last=False)
    return np.array([found[key] for key in keys], np.float32).reshape(-1, FEATURES)


def build_trunk(
    weights: str = "scratch", size: int = 32, edge: int = networks.IMAGE_SHAPE[0]
) -> keras.Model:
    """ResNet-50 up to its pooled features, for grey slices.

    Args:
        weights: "imagenet": pretrained and frozen, as the original. "scratch": random, and
            BatchNorm momentum 0.8, since the 0.99 of Keras is still far off after 150 steps.
        size: Edge of the images inside the network in pixels, 32 or more; they are enlarged to it.
        edge: Of the images that it is given.

    Returns:
        A model of images ``(n, edge, edge, 1)`` in -1 to 1 to features ``(n, 2048)``.

    Raises:
        CourseError: A size under 32, or ImageNet weights that cannot be downloaded.
    """
    if size < 32:
        raise CourseError(f"classifier_size {size} is too small: ResNet-50 needs 32.")
    pretrained = weights == "imagenet"
    body = _resnet50(size, pretrained)
    image = x = keras.Input((edge, edge, 1))
    if size != edge:
        x = layers.Resizing(size, size, interpolation="bilinear")(x)
    x = layers.Concatenate()([x, x, x])
    if pretrained:
        x = layers.Rescaling(127.5, offset=[127.5 - mean for mean in IMAGENET_CHANNEL_MEANS])(x)
    x = body(x, training=False) if pretrained else body(x)
    return keras.Model(image, layers.GlobalAveragePooling2D()(x), name="trunk")


def build_efficientnet() -> keras.Model:
    """Build EfficientNet-Lite0 without its classifier; its weights are random.

    Each convolution has a bias where the original has batch normalization: `data/trunk/make.py`
    folded its constants into kernel and bias. Lite networks have ReLU6 and no squeeze-and-excite.

    Returns:
        A float32 model of images ``(n, height, width, 1)`` in -1 to 1, height and width multiples
        of 32; it returns ``(n, 1280)``.

    Source: Tan and Le 2019, arXiv:1905.11946, table 1; the Lite variant of 2020 leaves out
        squeeze-and-excite, which phones compute badly, and replaces Swish by ReLU6.
    """
    image = keras.Input((None, None, 1))
    # The network was trained on (grey - 127) / 128; three equal channels are one in its kernel.
    x = _layer(layers.Rescaling, "rescale", 127.5 / 128, 0.5 / 128)(image)
    x = _convolution("stem", 32, 3, strides=2, activation="relu6")(x)
    channels, number = 32, 0
    for repeats, kernel, first_stride, expansion, outputs in STAGES:
        for stride in (first_stride, *[1] * (repeats - 1)):
            name, before = f"block{number}", x
            if expansion > 1:
                expand = f"{name}_expand"
                x = _convolution(expand, expansion * channels, 1, activation="relu6")(x)
            depthwise = {"strides": stride, "padding": "same", "activation": "relu6"}
            x = _layer(layers.DepthwiseConv2D, f"{name}_depthwise", kernel, **depthwise)(x)
            x = _convolution(f"{name}_project", outputs, 1)(x)
            if stride == 1 and channels == outputs:
                x = _layer(layers.Add, f"{name}_add")([x, before])
            channels, number = outputs, number + 1
    x = _convolution("head", FEATURES, 1, activation="relu6")(x)
    x = _layer(layers.GlobalAveragePooling2D, "mean")(x)
    model = keras.Model(image, x, name="efficientnet_lite0")
    model.trainable = False
    return model


def open_weights() -> dict[str, np.ndarray]:
    """Read the bundled weights by name, such as ``stem/kernel``; checked before they are parsed.

    Raises:
        CourseError: The file is missing, or not the one that belongs to this code.
    """
    try:
        content = WEIGHTS.read_bytes()
    except OSError:
        raise CourseError(
            f"{WEIGHTS} is missing: restore it, for example by git checkout."
        ) from None
    if hashlib.sha256(content).hexdigest() != CHECKSUM:
        raise CourseError(
            f"{WEIGHTS} is damaged (its checksum differs): restore it, for example by git checkout."
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as saved:
        return {name: saved[name].astype(np.float32) for name in saved.files}


def load_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Put weights into a model of `build_efficientnet`; names and shapes must be equal.

    Raises:
        ValueError: They are not.
    """
    expected = {_name(variable): tuple(variable.shape) for variable in model.weights}
    given = {name: values.shape for name, values in weights.items()}
    if given != expected:
        wrong = sorted(dict(given.items() ^ expected.items()))
        raise ValueError(f"the weights do not fit the network: {', '.join(wrong[:3])}")
    for variable in model.weights:
        variable.assign(weights[_name(variable)])


def compile_efficientnet(weights: dict[str, np.ndarray]) -> Callable[..., np.ndarray]:
    """The trunk with these weights as a function of images and a size, both as in `features`."""
    with keras.device("cpu:0"):
        model = build_efficientnet()
        load_weights(model, weights)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1))], autograph=False)
    def compute(images):
        return model(images, training=False)

    def resize_and_compute(images: np.ndarray, size: int = SIZE) -> np.ndarray:
        smaller = max(images.shape[1:3]) > size  # only then does bilinear resizing need a filter
        with keras.device("cpu:0"):
            return compute(ops.image.resize(images, (size, size), antialias=smaller)).numpy()

    return resize_and_compute


def _resnet50(size: int, pretrained: bool) -> keras.Model:
    """ResNet-50 without its head; frozen where it is pretrained."""
    build = functools.partial(
        keras.applications.ResNet50, include_top=False, input_shape=(size, size, 3)
    )
    if not pretrained:
        body = build(weights=None)
        for layer in body.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = 0.8
        return body
    waited, talks = socket.getdefaulttimeout(), keras.config.is_interactive_logging_enabled()
    socket.setdefaulttimeout(10)  # a network that never answers must not hold up a run
    keras.config.disable_interactive_logging()  # no address and no bar in a notebook's output
    try:
        body = build(weights="imagenet")
    except Exception as error:  # Keras passes on whatever its download raises
        reason = str(error).split("\n")[0]
        raise CourseError(
            f"ResNet-50's ImageNet weights cannot be downloaded ({reason}): connect to a network, "
            'or choose the classifier "bundled" or "resnet50".'
        ) from None
    finally:
        socket.setdefaulttimeout(waited)
        if talks:
            keras.config.enable_interactive_logging()
    body.trainable = False
    return body


@functools.cache
def _known_features() -> OrderedDict[bytes, np.ndarray]:
    """Features by the image's hash, the oldest first.

    In memory alone: joblib's cache would leave what was found in people's images on the disk.
    """
    return OrderedDict()


@functools.cache
def _bundled():
    return compile_efficientnet(open_weights())


def _convolution(name: str, filters: int, kernel: int, **options) -> layers.Layer:
    return _layer(layers.Conv2D, name, filters, kernel, padding="same", **options)


def _layer(kind: type, name: str, *arguments, **options) -> layers.Layer:
    """A layer that computes in float32, whatever the global precision is."""
    return kind(*arguments, name=name, dtype="float32", **options)


def _name(variable: keras.Variable) -> str:
    return "/".join(variable.path.split("/")[-2:])
