"""Checks of the notebooks' exercises: an answer is right, or gets a hint without the solution."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd

from helpers import files, intervals, leaks, measures, networks, preprocessing

Hint = str | None  # None: the answer is right
CHECKS: dict[str, Callable[..., Hint]] = {}


def check(name: str, answer: Any, **given: Any) -> None:
    """Say whether an answer is right, or give a hint.

    Args:
        name: Notebook and number, as in "01.2".
        answer: A value, or a function that the learner wrote; `...` while there is none.
        given: What the exercise is about, by name.
    """
    if answer is ...:
        print(f"Exercise {name}: put your answer in place of the dots, and run this cell again.")
        return
    try:
        hint = CHECKS[name](answer, **given)
    except Exception as error:  # the learner's function may do anything
        hint = f"your answer stopped with {type(error).__name__}: {error}"
    print("Right." if hint is None else f"Not yet: {hint}")


def _exercise(name: str) -> Callable:
    def keep(function: Callable[..., Hint]) -> Callable[..., Hint]:
        CHECKS[name] = function
        return function

    return keep


# --- 01 · Preprocessing --------------------------------------------------------------------------


@_exercise("01.1")
def _added_air(answer: int) -> Hint:
    if answer == 512:
        return None
    if answer == 0:
        return "a squeezed slice gets no new pixels, but this slice is padded."
    return "how large is the square? Which share of it is new? How many pixels has the result?"


@_exercise("01.2")
def _to_grey_levels(answer: Callable) -> Hint:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    found = answer(preprocessing.to_tanh_range(every))
    if found is None:
        return "it returns nothing."
    if found.dtype != np.uint8:
        return f"grey levels are uint8, and these are {found.dtype}."
    wrong = int((found != every).sum())
    if wrong > 200:
        return f"{wrong} of 256 levels come back changed: what must -1, 0 and 1 become?"
    if wrong:
        return f"{wrong} of 256 levels come back changed: what does uint8 make of 6.9999?"
    return None


@_exercise("01.3")
def _crossing_group(answer: int, table: pd.DataFrame) -> Hint:
    parts = table.groupby("group")["split"].nunique()
    if answer in parts.index and parts[answer] > 1:
        return None
    return "in how many parts does each group have slices? The size of the group does not matter."


@_exercise("01.4")
def _unseen_twin(answer: Callable, greys: list[np.ndarray]) -> Hint:
    twins = [answer(grey.copy()) for grey in greys[:10]]
    for grey, twin in zip(greys, twins, strict=False):
        if twin is None or twin.dtype != np.uint8 or twin.shape != grey.shape:
            return "it must return grey levels, uint8, with the same height and width."
    both = preprocessing.prepare(twins), preprocessing.prepare(greys[:10])
    if np.diag(measures.pixel_likeness(*both)).min() < 0.8:
        return "nobody would call these two pictures the same: change less."
    found = {(i, j) for i, j, _ in preprocessing.propose_lookalikes(greys[:10] + twins)}
    caught = sum((k, k + 10) in found for k in range(10))
    if caught <= 2:
        return None
    return f"{caught} of 10 twins were found: which change moves pixels to other places?"


# --- 02 · Networks -------------------------------------------------------------------------------


@_exercise("02.1")
def _parameters_of_a_layer(answer: int) -> Hint:
    if answer == 3 * 3 * 128 * 64 + 64:
        return None
    if answer == 3 * 3 * 128 * 64:
        return "each filter has one more parameter."
    return "each filter sees all input channels, not only one."


@_exercise("02.2")
def _edges(answer: tuple[int, ...]) -> Hint:
    if tuple(answer) == (16, 16, 8, 4):
        return None
    if len(tuple(answer)) != 4:
        return "give four edges, one for each layer."
    return "start from 32: with 'same' padding, stride 1 keeps the edge and stride 2 halves it."


def faulty_discriminator() -> keras.Model:
    """The discriminator with one layer forgotten, for learners to find."""
    image = x = keras.Input(networks.IMAGE_SHAPE)
    for number, (kernel, stride) in enumerate(((3, 1), (4, 2), (4, 2), (4, 2)), start=1):
        x = keras.layers.Conv2D(128, kernel, stride, padding="same")(x)
        x = keras.layers.LeakyReLU(0.01)(x) if number == 3 else networks.normalise_and_activate(x)
    x = keras.layers.Dropout(0.4)(keras.layers.Flatten()(x))
    return keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(x))


@_exercise("02.3")
def _forgotten_layer(answer: int) -> Hint:
    if answer == 3:
        return None
    return (
        "how many parameters are missing? Which kind of layer has that many? "
        "After which convolution does summary() not show it?"
    )


@_exercise("02.4")
def _smaller_discriminator(answer: tuple[int, ...]) -> Hint:
    if len(tuple(answer)) != 4:
        return "give four kernels, one for each convolution: the last layer must see 4x4 pixels."
    channels = (1, 128, 128, 128)
    total = sum(k * k * c * 128 + 128 for k, c in zip(answer, channels, strict=True))
    total += 4 * 2 * 128 + 4 * 4 * 128 + 1
    if min(answer[1:]) < 2:
        return "with stride 2, a kernel of 1 never sees three of every four pixels."
    return None if total < 500_000 else f"it has {total:,} parameters: which kernels cost most?"


# --- 03 · Training -------------------------------------------------------------------------------


@_exercise("03.1")
def _soft_loss(answer: float) -> Hint:
    if abs(answer + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)) < 0.005:
        return None
    if abs(answer + np.log(0.9)) < 0.005:
        return "that is the loss for a target of 1: a soft target adds a second term."
    return "add target * ln(output) and (1 - target) * ln(1 - output). Is a loss negative?"


@_exercise("03.2")
def _targets(answer: Callable) -> Hint:
    found = np.asarray(answer(100_000, np.random.default_rng(0)))
    if found.shape != (100_000,):
        return f"return one number for each image, shape (count,); your shape is {found.shape}."
    unflipped = found > 0.5
    if abs(unflipped.mean() - 0.95) > 0.005:
        return f"{1 - unflipped.mean():.1%} of the targets are flipped; it must be one in twenty."
    if len(np.unique(found)) < 1000:
        return "the targets are soft, but not noisy: each image must get its own random number."
    kinds = ("unflipped", unflipped, (0.8, 1)), ("flipped", ~unflipped, (0, 0.2))
    for whom, chosen, ends in kinds:
        low, high = found[chosen].min(), found[chosen].max()
        if not np.allclose((low, high), ends, atol=0.01) or low < 0 or high > 1:
            return f"the {whom} targets go from {low:.2f} to {high:.2f}."
    return None


def three_ways_to_mix() -> dict[str, Callable[[int, np.random.Generator], np.ndarray]]:
    """Three ways to draw the weights of mixtures, for learners to compare."""
    return {
        "first": lambda count, rng: rng.random(count),
        "second": lambda count, rng: rng.normal(0.5, 0.3, count),
        "third": lambda count, rng: rng.beta(1, 1, count),
    }


@_exercise("03.3")
def _wrong_mixture(answer: str) -> Hint:
    if answer == "second":
        return None
    if answer in three_ways_to_mix():
        return "draw ten thousand weights with each: are all of them between 0 and 1?"
    return f"answer with the name of one of them: {', '.join(three_ways_to_mix())}."


def failures() -> dict[tuple[float, ...], str]:
    """The gallery of notebook 03 with three seeds, by four numbers: `experiments/failures.py`."""
    signs = "variety", "output_on_real", "output_on_fake", "generator_gradient"
    rows = files.read_json(files.RESULTS / "failures.json")["rows"]
    return {tuple(round(row[sign], 3) for sign in signs): row["training"] for row in rows}


@_exercise("03.4")
def _diagnosis(answer: Callable) -> Hint:
    truths = failures()
    said = {signs: answer(*signs) for signs in truths}
    wrong = [signs for signs, truth in truths.items() if said[signs] != truth]
    if not wrong:
        return None
    return f"{len(wrong)} of {len(truths)} get a wrong name; the first has the numbers {wrong[0]}."


# --- 04 · Sampling -------------------------------------------------------------------------------


@_exercise("04.1")
def _planted_copy(answer: int, suspects: np.ndarray, real: np.ndarray) -> Hint:
    likeness = measures.pixel_likeness(suspects, real).max(axis=1)
    if answer == likeness.argmax():
        return None
    return "this one is similar to a training slice, as any head is: which one is most similar?"


@_exercise("04.2")
def _perfect_fid(answer: np.ndarray, fid: Callable, describe: Callable, real: np.ndarray) -> Hint:
    if np.shape(answer)[1:] != networks.IMAGE_SHAPE:
        return "answer with images, (n, 32, 32, 1)."
    found = abs(fid(describe(answer), describe(real)))
    return None if found < 0.01 else f"its FID is {found:.2f}: which images have the same means?"


@_exercise("04.3")
def _best_share(answer: Callable) -> Hint:
    realism = np.array([0.2, 0.9, 0.1, 0.7, 0.5, 0.3, 0.8, 0.4, 0.6, 0.0]) ** 3
    for share in (0.5, 0.3, 1.0):
        kept = np.asarray(answer(realism, share))
        if len(kept) != round(10 * share):
            return f"a share of {share} of ten images is not {len(kept)}."
        if set(kept.tolist()) != set(np.argsort(-realism)[: len(kept)].tolist()):
            return "these are not the most realistic images: in which order does argsort sort?"
    return None


@_exercise("04.4")
def _negative_kid(answer: str) -> Hint:
    if answer == "unbiased":
        return None
    if answer == "bug":
        return "the code is right. If no KID were below 0, what would their mean be for one kind?"
    return 'choose one of "bug", "too alike", "unbiased": what must the mean KID of one kind be?'


# --- 05 · Evaluation -----------------------------------------------------------------------------


@_exercise("05.1")
def _one_image(answer: float) -> Hint:
    if abs(answer - 100 / 22) < 0.05:
        return None
    return "all 22 images together are 100 points: how many points is one image?"


def five_rows() -> pd.DataFrame:
    """Results on 40 images, as five papers might print them; one row is impossible."""
    return pd.DataFrame(
        {
            "accuracy": [82.5, 75.0, 77.5, 80.0, 67.5],
            "sensitivity": [80.0, 90.0, 79.17, 76.67, 55.0],
            "specificity": [85.0, 60.0, 75.0, 82.5, 80.0],
        },
        index=list("ABCDE"),
    )


@_exercise("05.2")
def _impossible_row(answer: str) -> Hint:
    rows = five_rows()
    if answer not in rows.index:
        return f"answer with the name of a row: one of {', '.join(rows.index)}."
    if not intervals.check_table(*rows.loc[answer], 40):
        return None
    return "a test set of 40 with that result exists; its classes need not be of equal size."


@_exercise("05.3")
def _leaked_images(answer: list[int], test: np.ndarray, fitted_on: np.ndarray) -> Hint:
    leaked = set(np.flatnonzero(leaks.near_copies(test, fitted_on)).tolist())
    said = {int(k) for k in answer}
    if said == leaked:
        return None
    if said - leaked:
        return f"{len(said - leaked)} of your images have no near copy among the training images."
    return f"{len(leaked - said)} more images have a near copy: mirrored, shifted, or noisy?"


@_exercise("05.4")
def _enough_sets(answer: int) -> Hint:
    def smallest(sets: int) -> float:
        return intervals.smallest_detectable_effect(0.08, sets)

    if answer < 5:
        return "fewer than five sets never give a verdict."
    if smallest(answer) > 0.05:
        return f"with {answer} sets, the smallest gain is {100 * smallest(answer):.1f} points."
    return None if smallest(answer - 1) > 0.05 else "that is enough, but fewer are enough, too."


# --- 06 · Beyond the original --------------------------------------------------------------------


@_exercise("06.1")
def _five_labels(answer: int) -> Hint:
    if answer == 5 * 128 * 16 * 16:
        return None
    if answer == 128 * 16 * 16:
        return "that is the cost of one extra latent number."
    return "how many parameters does one extra latent number cost? A cell above counts them."


def three_ways_to_label() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Programs that put labels into a second channel; one mixes them up."""

    def with_plane(images, signs):
        return np.concatenate([images, signs * np.ones_like(images)], axis=-1)

    return {
        "first": lambda x, labels: with_plane(x, np.where(labels, 1, -1).reshape(-1, 1, 1, 1)),
        "second": lambda x, labels: with_plane(x, (2.0 * labels - 1)[:, None, None, None]),
        "third": lambda x, labels: with_plane(x, np.where(labels == 0, -1, 1)[:, None, None]),
    }


@_exercise("06.2")
def _mixed_labels(answer: str) -> Hint:
    if answer == "third":
        return None
    return "not this one: look at the second channel of a slice whose label you know."


@_exercise("06.3")
def _balanced_latent(answer: Callable) -> Hint:
    orders = set()
    for seed, count in enumerate((200, 200, 200, 10)):
        latent = np.asarray(answer(count, np.random.default_rng(seed)))
        if latent.shape != (count, 101):
            return f"for {count} vectors, the shape is {latent.shape} instead of ({count}, 101)."
        above = latent[:, -1] > 0
        if above.sum() != count / 2:
            return f"{above.sum()} of {count} have a label above 0; it must be exactly half."
        if abs(latent[:, :-1].std() - 1) > 0.2 or abs(latent[:, :-1].mean()) > 0.2:
            return "the other hundred numbers must be standard normal."
        orders.add((count, *above))
    return None if len(orders) > 2 else "the order of the labels is always the same, not random."


@_exercise("06.4")
def _missing_arm(answer: str) -> Hint:
    if answer == "duplicated":
        return None
    if answer in ("classic", "control_shuffled"):
        return "a good arm to fit, but which arm has the same images without any GAN?"
    return "the images are nearly the training images: which arm has the same without a GAN?"
