"""What synthetic images are worth looking at: a judge that knows simulated bleeds.

The judge is a small network trained on tens of thousands of simulated slices, so it knows what a
GAN's training set of 72 cannot teach. It says nothing about real slices: those it never saw.
"""

import keras
import numpy as np
from keras import layers

from helpers import runtime

JUDGE_WEIGHTS = runtime.PROJECT / "data" / "judge" / "judge.weights.h5"
JUDGE_COMMAND = "python benchmarks/phantom_difficulty.py"


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
        raise runtime.CourseError(
            f"{JUDGE_WEIGHTS} is missing: get it from the course's repository, or make it with "
            f"`{JUDGE_COMMAND}`."
        )
    judge = build_judge()
    judge.load_weights(JUDGE_WEIGHTS)
    return judge


def like_a_slice(images: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Which images resemble real slices at least as much as the oddest real slice does.

    Resemblance is the highest correlation of an image's pixels with those of any (other) real
    slice. It finds noise, grey squares and checkerboards; a blurred head passes.

    Args:
        images: ``(n, 32, 32, 1)``, -1 to 1.
        real: ``(m, 32, 32, 1)``, m at least 3; slices of the same class.

    Returns:
        ``(n,)``, bool.
    """

    def standardised(x):
        x = x.reshape(len(x), -1).astype(float)
        x = x - x.mean(axis=1, keepdims=True)
        return x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9)

    images, real = standardised(images), standardised(real)
    among_real = real @ real.T
    np.fill_diagonal(among_real, -1)
    return (images @ real.T).max(axis=1) >= among_real.max(axis=1).min()


def judge_agreement(images: np.ndarray, label: int, judge: keras.Model | None = None) -> float:
    """Share of images in which the judge sees the class that they are meant to show.

    Args:
        images: ``(n, 32, 32, 1)``, ``float32``, -1 to 1.
        label: What they are meant to show, 1 haemorrhage, 0 clear.
        judge: The judge where it is loaded already.

    Returns:
        0 to 1; on simulated slices themselves nearly 1 (`results/phantom.json`). The judge names a
        class for any image, noise too: ask `like_a_slice` first.
    """
    if len(images) == 0:
        return 0.0
    judge = judge or load_judge()
    seen = judge.predict(images, batch_size=256, verbose=0)[:, 0] > 0.5
    return float(np.mean(seen == bool(label)))
