"""Are synthetic images good, varied, and what they are meant to be?

The judge is a small network trained on tens of thousands of simulated slices, so it knows what a
GAN's training set of 72 cannot teach. Whether a real slice is bleeding it can't say: those it never
saw. Its features serve as a space in which to compare images.
"""

import keras
import numpy as np
from keras import layers
from scipy.spatial.distance import cdist

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


def judge_features(images: np.ndarray, judge: keras.Model | None = None) -> np.ndarray:
    """The judge's last hidden layer: where images that show alike things lie in like directions.

    Returns:
        ``(n, 64)``, each scaled to length 8, the root of 64: a large bleed makes features a
        hundred times as long as a clear slice's, and would alone decide any distance.
    """
    judge = judge or load_judge()
    network = keras.Model(judge.inputs, judge.get_layer("features").output)
    parts = np.split(images, range(256, len(images), 256))
    features = np.concatenate([network(part, training=False) for part in parts])
    return 8.0 * features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-6)


def kid(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Kernel inception distance between two sets of features, and its standard error.

    The unbiased estimate of the squared distance between the two distributions under the kernel
    (x·y / d + 1)³: around 0 if they are one (below 0 as often as above), larger if not. The error
    is the jackknife's, which leaves out one image at a time.

    Args:
        first: ``(n, d)``, n at least 3.
        second: ``(m, d)``, m at least 3.

    Source: Bińkowski et al. 2018, arXiv:1801.01401.
    """

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1.0) ** 3

    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    within = [kernel(x, x) for x in (first, second)]
    rows = [k.sum(axis=1) - np.diag(k) for k in within]
    between = kernel(first, second)

    def combine(sums, counts, cross):
        own = sum(s / (c * (c - 1)) for s, c in zip(sums, counts, strict=True))
        return own - 2 * cross / (counts[0] * counts[1])

    n, m = len(first), len(second)
    sums, cross = [r.sum() for r in rows], between.sum()
    value = combine(sums, (n, m), cross)
    without_first = combine((sums[0] - 2 * rows[0], sums[1]), (n - 1, m), cross - between.sum(1))
    without_second = combine((sums[0], sums[1] - 2 * rows[1]), (n, m - 1), cross - between.sum(0))
    variance = (n - 1) * without_first.var() + (m - 1) * without_second.var()
    return float(value), float(np.sqrt(variance))


def neighbour_measures(real: np.ndarray, generated: np.ndarray, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage, from balls that reach to the k-th neighbour.

    Args:
        real, generated: ``(n, d)`` features, equally many of each, n over k.
        k: Which neighbour within the same set decides the radius of the ball around an image.

    Returns:
        `precision`: share of generated images in some real image's ball; `recall`: the reverse;
        `density`: how many real balls hold a generated image, over k; `coverage`: share of real
        balls that hold one; `coverage_expected`: what two sets of one distribution give.

    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797.
    """
    if len(real) != len(generated) or len(real) <= k:
        raise ValueError(f"as many real as generated images and more than {k} are needed")
    n = len(real)
    radii = [np.sort(cdist(x, x), axis=1)[:, k] for x in (real, generated)]
    apart = cdist(real, generated)
    in_real, in_generated = apart < radii[0][:, None], apart < radii[1][None, :]
    missed = np.prod([(n - j) / (2 * n - j) for j in range(1, k + 1)])
    return {
        "precision": float(in_real.any(axis=0).mean()),
        "recall": float(in_generated.any(axis=1).mean()),
        "density": float(in_real.sum(axis=0).mean() / k),
        "coverage": float(in_real.any(axis=1).mean()),
        "coverage_expected": float(1 - missed),
    }
