"""ResNet-50 fitted on several mixtures of images and scored on one test set (notebook 05)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from helpers import files, intervals, machine, parameters
from helpers.files import CourseError
from helpers.trunk import build_trunk

WEIGHTS = {"resnet50": "scratch", "resnet50-imagenet": "imagenet"}  # of the trunk, by name
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
PATIENCE = 5
MOST_KNOWN = 20_000  # images whose features are kept: with their keys 240 MB
RECALIBRATION_BATCHES = 15  # at momentum 0.8, what came before keeps 0.8 ** 15, under 4 %


@dataclasses.dataclass
class Classifier:
    """A compiled network that can be put back to its first weights.

    Building and tracing a ResNet-50 takes longer than fitting it on 144 images, and a process that
    builds one for each arm grows by a gigabyte; so one is built and reset.
    """

    model: keras.Model  # the head on the trunk: images to two probabilities
    learner: keras.Model  # what is fitted: the model, or, on a frozen trunk, its head
    trunk: str  # "imagenet" or "scratch"
    first_weights: list[np.ndarray]  # of the learner
    known: dict[bytes, np.ndarray] = dataclasses.field(default_factory=dict)  # features by image

    def reset(self, seed: int) -> None:
        """First weights, fresh optimizer state, and the seed of everything random from here on."""
        self.learner.set_weights(self.first_weights)
        self.learner.optimizer.learning_rate = LEARNING_RATE
        for variable in self.learner.optimizer.variables:
            if not variable.path.endswith("learning_rate"):
                variable.assign(np.zeros(variable.shape))
        # Dropout's is the only random state; seeding TensorFlow would throw away its compiled step.
        # The path to it is not part of Keras' documented interface.
        self.model.get_layer("head").layers[0].seed_generator.state.assign([seed, 0])

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """What the learner sees: the images, or the features that a frozen trunk finds in them.

        A frozen trunk finds the same each time, so an image goes through it once, whatever the arm.

        Args:
            images: ``(n, height, width, 1)``, -1 to 1.

        Returns:
            The images, or ``(n, 2048)``.
        """
        if self.learner is self.model:
            return images
        keys = [image.tobytes() for image in images]
        new = {k: x for k, x in zip(keys, images, strict=True) if k not in self.known}
        if new:
            features = predict(self.model.get_layer("trunk"), np.stack(list(new.values())))
            self.known.update(zip(new, features, strict=True))
        found = np.stack([self.known[key] for key in keys])
        if len(self.known) > MOST_KNOWN:
            self.known.clear()
        return found

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Probability of label 1 for each image, ``(n,)``."""
        return predict(self.learner, self.inputs(images))[:, 1]

    def recalibrate_batch_norm(self, images: np.ndarray) -> None:
        """Let BatchNorm's moving averages catch up with the final weights; nothing else moves.

        Averages of earlier weights, or of images that are turned and moved, can make the network
        call every test image the same class. A frozen trunk keeps its averages.

        Args:
            images: ``(n, height, width, 1)``, whole batches of images like those that are tested.
        """
        if self.trunk == "scratch":
            for batch in np.split(images, len(images) // BATCH_SIZE):
                self.model(batch, training=True)


def build_classifier(
    name: str = "resnet50", size: int = 32, seed: int = 0, edge: int = 32
) -> Classifier:
    """The original's classifier: ResNet-50, global average pooling, dropout 0.4, softmax over 2.

    Args:
        name: "resnet50" (trained whole from scratch) or "resnet50-imagenet" (its trunk pretrained
            on ImageNet and frozen, as in the original).
        size: Edge inside the network; the report says 32, the original's notebook used 128.
        seed: Of the initial weights.
        edge: Of the images that it is given; see `trunk.build_trunk`.

    Returns:
        A classifier of images ``(n, edge, edge, 1)`` in -1 to 1, compiled with RMSprop 1e-3.

    Raises:
        CourseError: An unknown name, a size under 32, or weights that cannot be downloaded.
    """
    if name not in WEIGHTS:
        raise CourseError(f"classifier {name!r} is unknown: use one of {', '.join(WEIGHTS)}.")
    machine.seed_everything(seed)
    body = build_trunk(WEIGHTS[name], size, edge)
    parts = layers.Dropout(0.4), layers.Dense(2, activation="softmax")
    head = keras.Sequential([keras.Input(body.output_shape[1:]), *parts], name="head")
    image = keras.Input((edge, edge, 1))
    model = keras.Model(image, head(body(image)))
    learner = model if WEIGHTS[name] == "scratch" else head
    learner.compile(keras.optimizers.RMSprop(LEARNING_RATE), loss="sparse_categorical_crossentropy")
    learner.optimizer.build(learner.trainable_variables)
    return Classifier(model, learner, WEIGHTS[name], learner.get_weights())


@dataclasses.dataclass(frozen=True)
class Arm:
    """What a classifier is fitted on: real slices, synthetic ones, or both."""

    images: np.ndarray  # (n, height, width, 1), real
    labels: np.ndarray  # (n,)
    synthetic_images: np.ndarray | None = None  # (m, height, width, 1)
    synthetic_labels: np.ndarray | None = None  # (m,)
    augment: Callable[[np.ndarray], np.ndarray] | None = None
    turns: int = 1  # of each real image, for each turn that it has in the other arms

    @property
    def step_factor(self) -> int:
        """Its steps, for each step of an arm of real images: synthetic ones take half a batch."""
        return self.turns * (1 if self.synthetic_images is None else 2)


def choose_arms(arms: dict[str, Arm], names: str) -> dict[str, Arm]:
    """The arms that are asked for, in their usual order.

    Args:
        arms: All that there are, by name.
        names: Some of them, comma between; "original" and "original_gan" must be among them.

    Raises:
        CourseError: An unknown arm, or one of those two missing.
    """
    parameters.check_values(arms=names)
    return {name: arm for name, arm in arms.items() if name in parameters.split_names(names)}


def take_dose(
    images: np.ndarray, labels: np.ndarray, count: float
) -> tuple[np.ndarray, np.ndarray]:
    """The first `count / 2` synthetic images of each class.

    Args:
        images, labels: ``(n, ...)`` and ``(n,)``, 0 or 1.
        count: Images of both classes together.

    Returns:
        Images and labels of those.

    Raises:
        CourseError: There are not as many.
    """
    half = round(count / 2)
    members = [np.flatnonzero(labels == label) for label in (1, 0)]
    if half < 1 or half > min(map(len, members)):
        raise CourseError(
            f"dose: it asks for {half} generated images per class, and there are "
            f"{min(map(len, members))}: lower it, or raise samples_per_class."
        )
    kept = np.concatenate([of_class[:half] for of_class in members])
    return images[kept], labels[kept]


def draw_batches(arm: Arm, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All batches of a fit, one after another: 32 images per step, classes in equal shares.

    Each kind of image (real or synthetic, of either class) is gone through in shuffled rounds, so
    every image of a kind is seen equally often, give or take one. With synthetic images, half of
    each batch is real: the share stays the same however many synthetic ones there are.

    Args:
        arm: What is fitted on.
        steps: How many batches.
        seed: Of the rounds' order.

    Returns:
        Images ``(steps * 32, height, width, 1)`` and labels, in the order of the steps.
    """
    rng = np.random.default_rng(seed)
    pools = [(arm.images, arm.labels)]
    if arm.synthetic_images is not None:
        pools.append((arm.synthetic_images, arm.synthetic_labels))
    kinds = [
        (images, np.flatnonzero(labels == label), label)
        for images, labels in pools
        for label in (0, 1)
    ]
    per_kind = BATCH_SIZE // len(kinds)
    batches = np.empty((steps, len(kinds), per_kind, *arm.images.shape[1:]), dtype=np.float32)
    labels = np.empty((steps, len(kinds), per_kind), dtype=np.int64)
    for k, (images, members, label) in enumerate(kinds):
        rounds = -(-steps * per_kind // len(members))
        order = np.concatenate([rng.permutation(members) for _ in range(rounds)])
        chosen = order[: steps * per_kind].reshape(steps, per_kind)
        batches[:, k], labels[:, k] = images[chosen], label
    flat = batches.reshape(-1, *arm.images.shape[1:])
    return (arm.augment(flat) if arm.augment else flat), labels.reshape(-1)


def draw_plain(arm: Arm, steps: int, seed: int) -> np.ndarray:
    """Batches for `Classifier.recalibrate_batch_norm`: the arm's real images, unchanged."""
    return draw_batches(Arm(arm.images, arm.labels), min(steps, RECALIBRATION_BATCHES), seed)[0]


def classic_augmentation(seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """The original's geometry: rotation 40 degrees, shifts, shear and zoom 0.2, horizontal flip.

    Turned, shifted, sheared and zoomed at once: a layer for each would resample the slice four
    times and blur it, as the test images are not.

    Returns:
        A function of images ``(n, height, width, 1)`` in -1 to 1; what comes in from outside is
        black. Each call begins anew with the seed: it is no stream, and equal calls give equal
        images.

    Source: the original's Keras image generator (whose shear of 0.2 meant degrees; here the slope).
    """

    def augment(images: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(seed)
        count, height, width = images.shape[:3]
        angle = np.deg2rad(rng.uniform(-40, 40, count))
        shear = rng.uniform(-0.2, 0.2, count)
        zoom_x, zoom_y = rng.uniform(0.8, 1.2, (2, count))
        shift = rng.uniform(-0.2, 0.2, (2, count)) * [[width], [height]]
        mirror = rng.choice([-1.0, 1.0], count)
        # Where each output pixel comes from: rows of a 2x2 matrix, around the middle.
        a, b = mirror * zoom_x * np.cos(angle), zoom_y * (shear * np.cos(angle) - np.sin(angle))
        c, d = mirror * zoom_x * np.sin(angle), zoom_y * (shear * np.sin(angle) + np.cos(angle))
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        from_x = middle_x - a * middle_x - b * middle_y + shift[0]
        from_y = middle_y - c * middle_x - d * middle_y + shift[1]
        zero = np.zeros(count)
        moves = np.stack([a, b, from_x, c, d, from_y, zero, zero], axis=1).astype("float32")
        air = {"fill_mode": "constant", "fill_value": -1.0}
        return np.asarray(keras.ops.image.affine_transform(images, moves, "bilinear", **air))

    return augment


def fit(classifier: Classifier, arm: Arm, *, steps: int, seed: int) -> keras.Model:
    """Fit from the first weights for a fixed number of steps; the final weights stay in the model.

    The learning rate falls to 0 in a straight line, so that the last batches decide less. Early
    stopping is the paper protocol's alone (`fit_with_patience`): on 34 validation images it picks
    networks that have hardly been trained.

    Args:
        classifier: Reset first.
        arm: What it is fitted on.
        steps: Batches of 32 for an arm of real images alone. With synthetic ones beside them there
            are twice as many, so that each real image is seen as often.
        seed: Of batches and dropout.

    Returns:
        The classifier's model, fitted.
    """
    steps *= arm.step_factor
    images, labels = draw_batches(arm, steps, seed)
    rates = LEARNING_RATE * (1 - np.arange(steps, dtype=np.float32) / steps)
    plain = draw_plain(arm, steps, seed)
    classifier.reset(seed)
    if machine.device() and classifier.learner is classifier.model:
        machine.device().fit(classifier.model, images, labels, rates, plain)
        return classifier.model
    # Batch by batch, since `fit` runs a data pipeline beside a small network and slows it down.
    parts = zip(np.split(images, steps), np.split(labels, steps), rates, strict=True)
    for x, y, rate in parts:
        classifier.learner.optimizer.learning_rate = rate
        classifier.learner.train_on_batch(classifier.inputs(x), y)
    classifier.recalibrate_batch_norm(plain)
    return classifier.model


def fit_with_patience(
    classifier: Classifier,
    arm: Arm,
    validation: tuple[np.ndarray, np.ndarray],
    *,
    epochs: int,
    seed: int,
) -> keras.callbacks.EarlyStopping:
    """The paper's protocol: epochs over the arm's images, early stopping on validation loss.

    Real and synthetic images are one set here, in which each counts the same as the others of its
    class. The learning rate does not change. BatchNorm is recalibrated at the end, as in `fit`;
    early stopping compares the epochs before that.

    Args:
        classifier, arm, seed: As in `fit`.
        validation: Images and labels.
        epochs: How many.

    Returns:
        What early stopping picked: `best_epoch`, counted from 0, and `best_weights` of the learner;
        the classifier itself holds the last epoch's.
    """
    plain = draw_plain(arm, RECALIBRATION_BATCHES, seed)
    if arm.synthetic_images is not None:
        images = np.concatenate([arm.images, arm.synthetic_images])
        labels = np.concatenate([arm.labels, arm.synthetic_labels])
        arm = Arm(images, labels, augment=arm.augment, turns=arm.turns)
    epochs *= arm.turns
    images, labels = draw_batches(arm, epochs * max(1, len(arm.images) // BATCH_SIZE), seed)
    classifier.reset(seed)
    inputs, held_out = classifier.inputs(images), classifier.inputs(validation[0])
    stopper = keras.callbacks.EarlyStopping(
        "val_loss", patience=PATIENCE, mode="min", restore_best_weights=True
    )
    stopper.set_model(classifier.learner)
    stopper.on_train_begin()
    parts = zip(np.split(inputs, epochs), np.split(labels, epochs), strict=True)
    for epoch, (x, y) in enumerate(parts):
        epoch_log = classifier.learner.fit(
            x, y, batch_size=BATCH_SIZE, shuffle=False, verbose=0,
            validation_data=(held_out, validation[1]),
        )  # fmt: skip
        if not stopper.stopped_epoch:  # and train on: one fit tells both scores
            stopper.on_epoch_end(epoch, {"val_loss": epoch_log.history["val_loss"][0]})
    last = classifier.learner.get_weights()
    classifier.learner.set_weights(stopper.best_weights)
    classifier.recalibrate_batch_norm(plain)
    stopper.best_weights = classifier.learner.get_weights()
    classifier.learner.set_weights(last)
    classifier.recalibrate_batch_norm(plain)
    return stopper


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What the model answers to each image, ``(n, answers)``.

    Layer by layer: compiled, the same bits come in a third of the time, but ResNet-50 takes 50 MB
    more, and a notebook has 2 GB on Binder.
    """
    if machine.device() and model.name != "head":  # features of a frozen trunk take no time
        return machine.device().predict(model, images)
    parts = np.split(images, range(64, len(images), 64))
    return np.concatenate([model(part, training=False) for part in parts])


@dataclasses.dataclass(frozen=True)
class Results:
    """Scores by arm (as `intervals.score` gives them, and more), and the test probabilities."""

    scores: dict[str, dict[str, Any]]
    probabilities: dict[str, np.ndarray]


def run_arms(
    classifier: Classifier,
    arms: dict[str, Arm],
    *,
    test: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    fresh: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    groups: np.ndarray | None = None,
    protocol: str = "steps",
    steps: int,
    seed: int,
    keep: Path | None = None,
) -> Results:
    """Fit every arm from the same first weights, independently of the others, and score it.

    Args:
        classifier: Reset before each arm.
        arms: By name.
        test: Images and labels; used once per arm, for scoring.
        validation: For reporting only, except in the paper protocol, where it stops the fit.
        fresh: Further slices to score on, `fresh_accuracy`; None if no more can be simulated.
        groups: Of the test images, for intervals that count patients; None: each is its own.
        protocol: "steps" or "paper".
        steps: Batches of 32 for the real images alone; an arm with synthetic ones beside them gets
            twice as many. The paper protocol makes epochs of them, as many as *original* has, and
            goes through the images of each arm as often (twice as often where `turns` is 2).
        seed: Of batches and dropout.
        keep: A JSON file for the result of each arm, so an interrupted run resumes with the next
            one. An arm in it is fitted again if its images, settings or code have changed: all
            code of the helpers, where joblib's cache would look at one function alone.
    """

    def score(images, labels):
        return intervals.score(labels, classifier.answer(images))

    scores, probabilities = {}, {}
    kept = files.read_json(keep) if keep else {}
    classifier.learner.optimizer.learning_rate = LEARNING_RATE  # a model's configuration holds it
    network = classifier.trunk, repr(classifier.model.get_config())
    plain = arms.get("original", next(iter(arms.values())))
    epochs = max(1, steps // max(1, len(plain.images) // BATCH_SIZE))
    given = [protocol, steps, epochs, seed, *network, machine.versions(), machine.code_hash()]
    given += _fingerprints(*classifier.first_weights, *test, *validation, *fresh, groups)
    for name, arm in machine.progress(arms.items(), "classifiers", len(arms)):
        seen = arm.augment(arm.images) if arm.augment else arm.images
        own = _fingerprints(seen, arm.labels, arm.synthetic_images, arm.synthetic_labels)
        key = machine.digest(repr([given, own, arm.turns]).encode())
        if key in kept:
            scores[name], answers = kept[key]
            probabilities[name] = np.array(answers, dtype="float32")
            continue
        extra = {}
        if protocol == "paper":
            early = fit_with_patience(classifier, arm, validation, epochs=epochs, seed=seed)
            last = score(*test)["accuracy"]
            extra = {"last_epoch_accuracy": last, "best_epoch": early.best_epoch + 1}
            classifier.learner.set_weights(early.best_weights)
        else:
            fit(classifier, arm, steps=steps, seed=seed)
        probabilities[name] = classifier.answer(test[0])
        extra["validation_accuracy"] = score(*validation)["accuracy"]
        if fresh[0] is not None:
            extra["fresh_accuracy"] = score(*fresh)["accuracy"]
        scores[name] = intervals.score(test[1], probabilities[name], groups) | extra
        if keep:
            kept[key] = scores[name], probabilities[name]
            files.write_json(keep, kept)
    return Results(scores, probabilities)


def _fingerprints(*arrays: np.ndarray | None) -> list[str]:
    return ["" if x is None else machine.fingerprint(np.asarray(x)) for x in arrays]
