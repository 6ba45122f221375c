"""The judge: a small network trained on simulated slices, and the features to compare images in.

The judge is trained on tens of thousands of simulated slices, so it knows what a GAN's training set
of 72 cannot teach. It cannot say whether a real slice shows a bleed: it never saw real slices.
"""

import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from helpers import files, parameters
from helpers.files import CourseError
from helpers.trunk import build_trunk

JUDGE_WEIGHTS = files.PROJECT / "data" / "judge" / "judge.weights.h5"
JUDGE_COMMAND = "python data/judge/make.py"
FEATURES = {"judge": "judge", "imagenet": "ImageNet-trained ResNet-50"}


def build_judge() -> keras.Model:
    """The judge, untrained: four convolutions, 64 features, one probability.

    The layer "features" is the space in which samples are compared with real slices.

    Returns:
        A model of images ``(n, 32, 32, 1)``, -1 to 1, to the probability of a haemorrhage
        ``(n, 1)``; 181,889 parameters.
    """
    image = x = keras.Input((32, 32, 1), name="image")
    for width in (32, 64, 96):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        if width == 32:
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(64, activation="relu", name="features")(x)
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(x), name="judge")


def load_judge() -> keras.Model:
    """The judge with the weights that come with the course; `data/judge/README.md` is its card.

    Raises:
        CourseError: The weights are missing.
    """
    if not JUDGE_WEIGHTS.exists():
        raise CourseError(
            f"{JUDGE_WEIGHTS} is missing: get it from the course's repository, or make it with "
            f"`{JUDGE_COMMAND}`."
        )
    judge = build_judge()
    judge.load_weights(JUDGE_WEIGHTS)
    return judge


def judge_agreement(images: np.ndarray, label: int, judge: keras.Model) -> float:
    """Share of images in which the judge sees the class that they are meant to show.

    Args:
        images: ``(n, 32, 32, 1)``, ``float32``, -1 to 1.
        label: What they are meant to show, 1 haemorrhage, 0 clear.
        judge: See `load_judge`.

    Returns:
        0 to 1; on simulated slices themselves nearly 1 (`results/phantom.json` in
        `experiments`). The judge names a class for any image, noise too: ask `like_a_slice` first.
    """
    if len(images) == 0:
        return 0.0
    seen = judge.predict(images, batch_size=256, verbose=0)[:, 0] > 0.5
    return float(np.mean(seen == bool(label)))


def judge_features(images: np.ndarray, judge: keras.Model) -> np.ndarray:
    """The judge's last hidden layer: where images that show alike things lie in like directions.

    Returns:
        ``(n, 64)``, each of length 8, as `choose_features` has them.
    """
    return _describe(keras.Model(judge.input, judge.get_layer("features").output), images)


def _describe(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """A network's answers, each scaled to one length, the root of how many numbers it has.

    A large bleed makes features a hundred times as long as a clear slice's, and would alone decide
    any distance.
    """
    parts = np.split(images, range(256, len(images), 256))
    features = np.concatenate([network(part, training=False) for part in parts])
    length = np.linalg.norm(features, axis=1, keepdims=True) + 1e-6
    return np.sqrt(features.shape[1]) * features / length


@functools.cache
def choose_features(kind: str, simulated: bool) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """The space in which images are compared.

    Args:
        kind: "judge"; "imagenet", the 2,048 pooled features of ResNet-50; "auto": the judge on
            simulated slices, since it was made for those, and on others ImageNet where its weights
            can be had, else the judge.
        simulated: Whether the images are.

    Returns:
        A function of images ``(n, 32, 32, 1)`` in -1 to 1 to features ``(n, d)`` of length √d, and
        which of "judge" and "imagenet" it is.

    Raises:
        CourseError: An unknown kind, or ImageNet weights that cannot be had.
    """
    parameters.check_values(features=kind)
    if kind == "imagenet" or (kind == "auto" and not simulated):
        try:
            network, _ = build_trunk("imagenet")
            return functools.partial(_describe, network), "imagenet"
        except CourseError:
            if kind == "imagenet":
                raise
    return functools.partial(judge_features, judge=load_judge()), "judge"
