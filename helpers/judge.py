"""The judge, a small network trained on simulated slices, and both spaces to compare images in.

The judge is trained on tens of thousands of simulated slices, so it knows what a GAN's training set
of 72 cannot teach. It cannot say whether a real slice shows a bleed: it never saw real slices.
"""

import functools

import keras
import numpy as np
from keras import layers

from helpers import files, trunk
from helpers.files import CourseError

JUDGE_WEIGHTS = files.PROJECT / "data" / "judge" / "judge.weights.h5"
JUDGE_COMMAND = "python data/judge/make.py"
# ImageNet's features show mostly texture. The judge's show bleeds and little else.
SPACES = {"imagenet": "network trained on ImageNet", "judge": "judge"}


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


def judge_accuracy(images: np.ndarray, label: int, judge: keras.Model) -> float:
    """Share of images in which the judge sees the class that they are meant to show.

    Notebook 04's `judge_agreement` is another number: the share of all samples that look like
    slices (`measures.like_a_slice`) and in which the judge sees their class.

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
    """The judge's last hidden layer: in which similar contents point in similar directions.

    Args:
        images: ``(n, 32, 32, 1)``, ``float32``, -1 to 1.
        judge: See `load_judge`.

    Returns:
        ``(n, 64)``, each of length 8, as `describe` has them.
    """
    network = keras.Model(judge.input, judge.get_layer("features").output)
    parts = np.split(images, range(256, len(images), 256))
    return _scale(np.concatenate([network(part, training=False) for part in parts]))


def describe(images: np.ndarray, space: str = "imagenet") -> np.ndarray:
    """Features of images in one of the two spaces in which sets of images are compared.

    Args:
        images: ``(n, 32, 32, 1)``, -1 to 1.
        space: "imagenet": the bundled trunk (`helpers.trunk`), for any images. "judge": for
            simulated slices, the only ones that the judge has seen.

    Returns:
        ``(n, 1280)`` or ``(n, 64)``, each of length √d.
    """
    if space == "judge":
        return judge_features(images, _loaded())
    return _scale(trunk.features(images))


@functools.cache
def _loaded() -> keras.Model:
    """The judge, loaded once."""
    return load_judge()


def _scale(features: np.ndarray) -> np.ndarray:
    """Scale each image's features to one length, the root of how many numbers there are.

    A large bleed makes the judge's features a hundred times as long as a clear slice's, and would
    alone decide any distance.
    """
    length = np.linalg.norm(features, axis=1, keepdims=True) + 1e-6
    return np.sqrt(features.shape[1]) * features / length
