"""The classifier *bundled*: logistic regression on the frozen trunk's features.

It has no random weights, no steps and no seed, and its loss is convex: the same images give the
same answer on every machine.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import ThreadpoolController

from helpers import intervals, machine, trunk
from helpers.arms import ARMS
from helpers.classifiers import Arm, Results, classic_augmentation

C = 0.3  # inverse strength of the penalty, for all arms and sets; by `experiments/pilot.py`
TOLERANCE = 1e-6  # of the gradient of the mean loss, in its largest component
ROUGH = 1e-4  # the same, where `exact` is not asked for
MOST_STEPS = 10_000
LEAST_SPREAD = 0.1  # of the median feature's: a feature is divided by no smaller spread
MOST_VIEWS = 16
MIXUP_ALPHA = 0.2  # of the beta distribution that the shares are drawn from
MIXED = 3  # times as many mixed images as real ones


@dataclass(frozen=True)
class Examples:
    """What a head is fitted on: ``(n, 1280)`` features, ``(n,)`` labels and weights."""

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Head:
    """A fitted logistic regression: features to the probability of label 1."""

    scaler: StandardScaler
    regression: LogisticRegression

    def answer(self, features: np.ndarray) -> np.ndarray:
        """Probability of label 1, ``(n,)``, from the features ``(n, 1280)`` of plain images."""
        exact = np.asarray(features, np.float64)
        return self.regression.predict_proba(self.scaler.transform(exact))[:, 1]


def fit_arm(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    added_images: np.ndarray | None = None,
    added_labels: np.ndarray | None = None,
) -> Head:
    """Fit the head of one arm.

    Args:
        name: One of `ARMS`. The arms called `part` get the quarter as their real images.
        images: Real training images ``(n, height, width, 1)``, -1 to 1, of both classes.
        labels: ``(n,)``, 0 or 1.
        added_images, added_labels: Generated images, or true new ones, for the arms
            that have them.

    Raises:
        ValueError: The arm has added images and gets none, or the reverse.
    """
    if ARMS[name].added != (added_images is not None):
        needed = ", ".join(each for each, kind in ARMS.items() if kind.added)
        raise ValueError(f"{name}: added images are needed by {needed}, and by no other arm")
    name = ARMS[name].like or name
    count = ARMS[name].views
    real = view_features(images, count)
    if name == "mixup":
        mixed = mix(images, labels)
        return fit_head([weigh_classes(real, labels, len(images) / 2), mixed], real)
    if added_images is None:
        return fit_head([weigh_classes(real, labels, len(images))], real)
    added = view_features(added_images, count)
    if name == "gan_only":
        return fit_head([weigh_classes(added, added_labels, len(images))], real)
    if name == "original_gan":
        # The paper's: one joined set, in which each image counts the same as those of its class.
        both = np.concatenate([real, added]), np.concatenate([labels, added_labels])
        return fit_head([weigh_classes(*both, len(images))], real)
    return fit_with_added(real, labels, added, added_labels)


def run_arms(
    arms: dict[str, Arm],
    *,
    test: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    fresh: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    groups: np.ndarray | None = None,
    protocol: str = "",
    steps: int = 0,
    seed: int = 0,
    keep: Path | None = None,
) -> Results:
    """Fit and score notebook 05's arms, as `classifiers.run_arms` does with ResNet-50.

    Args:
        arms: By name. "original" is among them where "gan_only" is. An arm whose key is a number
            is a share of the real slices under classic augmentation.
        test, validation, fresh, groups: As in `classifiers.run_arms`.
        protocol, steps, seed, keep: Not used, since this classifier has no steps and no seed. They
            are here so that a notebook can call both functions alike.

    Raises:
        KeyError: An arm that is not in `ARMS`.
    """
    scores, probabilities = {}, {}
    for name, arm in machine.progress(arms.items(), "classifiers", len(arms)):
        real, added = (arm.images, arm.labels), (arm.synthetic_images, arm.synthetic_labels)
        if name == "gan_only":  # its images replace the real ones
            real, added = (arms["original"].images, arms["original"].labels), real
        head = fit_arm("classic" if isinstance(name, float) else name, *real, *added)

        def answer(images, head=head):
            return head.answer(trunk.features(images))

        probabilities[name] = answer(test[0])
        scores[name] = intervals.score(test[1], probabilities[name], groups)
        for part, key in ((validation, "validation_accuracy"), (fresh, "fresh_accuracy")):
            if part[0] is not None:
                scores[name][key] = intervals.score(part[1], answer(part[0]))["accuracy"]
    return Results(scores, probabilities)


def fit_with_added(
    real: np.ndarray,
    labels: np.ndarray,
    added: np.ndarray,
    added_labels: np.ndarray,
    exact: bool = True,
    c: float = C,
) -> Head:
    """Fit on real and added images, each half of the weight; features as `view_features` has them.

    So the real images count the same however many images are added.
    """
    half = len(real) / 2
    parts = [weigh_classes(real, labels, half), weigh_classes(added, added_labels, half)]
    return fit_head(parts, real, exact, c)


def fit_head(parts: list[Examples], real: np.ndarray, exact: bool = True, c: float = C) -> Head:
    """Fit logistic regression on all parts, with features standardized on the real images.

    Args:
        parts: Their weights should sum to the number of real images, so that the penalty means the
            same in every arm.
        real: Features of the real training images and their views ``(n, views, 1280)``.
        exact: Whether the solver goes on until the answer is the same on every machine. For studies
            of thousands of fits; a rough fit takes a quarter of the time.
        c: `C` of the regression, the inverse of its penalty; for pilots.

    Returns:
        The minimum of the penalized loss: the solver stops where the gradient is nearly 0.
    """
    number = np.float64 if exact else np.float32
    scaler = StandardScaler().fit(np.asarray(real.reshape(-1, real.shape[-1]), number))
    # Some features are all but 0 in the real images; divided by that spread, one in another image
    # would be worth thousands, and decide alone.
    scaler.scale_ = np.maximum(scaler.scale_, LEAST_SPREAD * np.median(scaler.scale_))
    features = np.concatenate([part.features for part in parts])
    features = scaler.transform(np.asarray(features, number)).astype(number)
    labels, weights = (
        np.concatenate([getattr(part, kind) for part in parts]) for kind in ("labels", "weights")
    )
    tolerance = TOLERANCE if exact else ROUGH
    regression = LogisticRegression(C=c, tol=tolerance, max_iter=MOST_STEPS)
    # The products are small: more threads would only wait for each other.
    with _threads().limit(limits=1):
        regression.fit(features, labels, sample_weight=weights)
    return Head(scaler, regression)


def weigh_classes(features: np.ndarray, labels: np.ndarray, total: float) -> Examples:
    """Give the views of all images weights that sum to a total, half of it for each class.

    Args:
        features: ``(n, views, 1280)``.
        labels: ``(n,)``, 0 or 1. A class that is missing leaves all weight to the other.
        total: Sum of the weights.
    """
    count = features.shape[1]
    sizes = np.bincount(labels, minlength=2)
    weights = total / (np.count_nonzero(sizes) * sizes[labels] * count)
    flat = features.reshape(-1, features.shape[-1])
    return Examples(flat, np.repeat(labels, count), np.repeat(weights, count))


def view_features(images: np.ndarray, count: int) -> np.ndarray:
    """Features of each image and of its augmented views.

    Args:
        images: ``(n, height, width, 1)``, -1 to 1.
        count: Views per image, the image itself among them; 1 to 16.

    Returns:
        ``(n, count, 1280)``, ``float32``; the first is the plain image's.
    """
    views = augmented_views(images, count)
    features = trunk.features(views.reshape(-1, *views.shape[2:]))
    return features.reshape(len(images), count, -1)


def augmented_views(images: np.ndarray, count: int) -> np.ndarray:
    """Each image and augmented copies of it, seeded by the image: others do not change them.

    Returns:
        ``(n, count, height, width, 1)``; fewer views are the first of more views.
    """
    images = np.asarray(images, np.float32)
    views = np.repeat(images[:, None], count, axis=1)
    if count > 1:
        for image, own in zip(images, views, strict=True):
            augment = classic_augmentation(_seed(image))
            own[1:] = augment(np.repeat(image[None], MOST_VIEWS - 1, axis=0))[: count - 1]
    return views


def mix(images: np.ndarray, labels: np.ndarray) -> Examples:
    """Three times as many mixed images as real ones, each under both of its labels.

    A mixed image is a share of one augmented view and the rest of another. Each of the two views
    is of class 0 and of class 1 equally often. The mixed image counts under both labels, by their
    shares.

    Returns:
        Two examples for each mixed image; the weights sum to half the number of real images.

    Source: Zhang et al. 2018, arXiv:1710.09412.
    """
    views = augmented_views(images, ARMS["mixup"].views)
    rng = np.random.default_rng(_seed(images))
    count = MIXED * len(images)
    members = [np.flatnonzero(labels == label) for label in (0, 1)]
    drawn = []
    for _ in range(2):
        classes = rng.permutation(np.arange(count) % 2)
        of_class = [rng.integers(0, len(m), count) for m in members]
        images_drawn = np.where(classes, members[1][of_class[1]], members[0][of_class[0]])
        drawn.append((images_drawn, rng.integers(0, views.shape[1], count)))
    shares = rng.beta(MIXUP_ALPHA, MIXUP_ALPHA, count)
    part = shares.astype(np.float32)[:, None, None, None]
    (first, first_view), (second, second_view) = drawn
    mixed = part * views[first, first_view] + (1 - part) * views[second, second_view]
    features = trunk.features(mixed)
    weights = np.concatenate([shares, 1 - shares]) * (len(images) / 2 / count)
    both_labels = np.concatenate([labels[first], labels[second]])
    return Examples(np.concatenate([features, features]), both_labels, weights)


@functools.cache
def _threads() -> ThreadpoolController:
    """Made once, since it looks through all loaded libraries."""
    return ThreadpoolController()


def _seed(images: np.ndarray) -> int:
    return int(machine.fingerprint(np.asarray(images, np.float32))[:8], 16)
