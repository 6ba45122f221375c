"""The rule that answers the course's question, and its words (notebook 05)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers import intervals

MARGIN = 0.05  # of the accuracy that decides: less than that is not worth a GAN
FEWEST_REPLICATES = 5  # fewer never give yes or no


# --- What decides ---------------------------------------------------------------------------------

WORDS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "fresh_accuracy": "accuracy",  # on as many fresh slices of either class
}


def overlap(of_class: Sequence[int], others: int, groups: int | None = None) -> float:
    """The `ratio` for `intervals.resampled_t` where splits share the images of one set.

    It is Nadeau and Bengio's ratio, test images over all other images, where both classes have as
    many test images and each image is of another patient. The ratio grows as one class gets rarer,
    to 1.5 times at 9:1, because then few images decide and splits share more of them
    (`experiments/results/verdict_9_to_1.json`). It grows to twice at 8 images a patient, because
    then few patients decide. In both cases the plain ratio let the rule say *yes* to no gain more
    often than one study in forty; `tests/helpers/test_intervals.py` simulates both.

    Args:
        of_class: Test images of either class.
        others: All other images.
        groups: Patients of the test images; None: as many as images.
    """
    count = sum(of_class)
    rarer = min(of_class) / count
    shared = 1 - (count if groups is None else groups) / count
    return count / others * (1 + 1.25 * (0.5 - rarer)) * (1 + 8 / 7 * shared)


def deciding(scores: dict[str, dict[str, Any]]) -> str:
    """Which score decides: accuracy, or balanced accuracy where the classes are not 1:1.

    Whoever calls all images the larger class has a high accuracy, and a balanced one of a half.

    Args:
        scores: By arm, as `intervals.score` gives them; all on the same test images.
    """
    (tn, fp), (fn, tp) = next(iter(scores.values()))["confusion"]
    return "accuracy" if tn + fp == fn + tp else "balanced_accuracy"


# --- The verdict ---------------------------------------------------------------------------------

PRIMARY = ("classic_gan", "classic")  # the gain of the first over the second is the question
CONTROL = ("classic_gan", "control_shuffled")
OTHERS = ("original_gan", "original"), ("gan_only", "original"), ("classic", "original")


def judge_study(
    accuracies: dict[str, np.ndarray], ratio: float, images: int, measure: str = "accuracy"
) -> dict[str, Any]:
    """The verdict on several replicates, by a rule fixed beforehand.

    *No*, if the interval of classic + GAN minus classic ends below the margin. *Yes*, if it begins
    above 0, and so does the interval of classic + GAN minus the control, whose GAN images have
    shuffled labels: what noise does as well is no gain of the GAN's. Otherwise, or with fewer than
    five replicates, *not enough data*.

    Args:
        accuracies: By arm, ``(J,)``: one share a replicate, averaged over seeds.
        ratio: See `resampled_t`; 0 for independent sets.
        images: In all, of one replicate; for the advice on how many would do.
        measure: What the shares are, a key of `WORDS`.

    Returns:
        `answer`, `text`, `contrasts` (by "first - second", as `resampled_t` gives them; the
        secondary ones with `p_holm`), `margin`, `smallest_detectable_effect`, and
        `images_needed`, for independent sets `replicates_needed` (`what_it_takes`; both None where
        the spread is unknown).
    """

    def contrast(pair):
        return intervals.resampled_t(np.subtract(*(accuracies[name] for name in pair)), ratio)

    contrasts = {" - ".join(pair): contrast(pair) for pair in (PRIMARY, CONTROL, *OTHERS)}
    others = {" - ".join(pair): contrasts[" - ".join(pair)]["p_value"] for pair in OTHERS}
    for name, p_value in intervals.holm(others).items():
        contrasts[name]["p_holm"] = p_value
    primary, control = (contrasts[" - ".join(pair)] for pair in (PRIMARY, CONTROL))
    low, high = primary["ci"]
    if primary["replicates"] < FEWEST_REPLICATES:
        answer = "not enough data"
    elif high < MARGIN:
        answer = "no"
    elif low > 0 and control["ci"][0] > 0:
        answer = "yes"
    else:
        answer = "not enough data"
    smallest, takes = None, ("images", None)
    if primary["sd"] > 1e-12 and primary["replicates"] >= FEWEST_REPLICATES:
        smallest = intervals.smallest_detectable_effect(primary["sd"], primary["replicates"], ratio)
        takes = required_size(primary, ratio, images)
    return {
        "answer": answer,
        "text": _say(answer, WORDS[measure], primary, control, smallest, takes, images),
        "contrasts": contrasts,
        "smallest_detectable_effect": smallest,
        f"{takes[0]}_needed": takes[1],
        "margin": MARGIN,
    }


def required_size(primary: dict[str, Any], ratio: float, images: int) -> tuple[str, int]:
    """How many sets, or images, would find a true gain of the margin four times in five.

    Independent sets tell more the more there are. Splits of one set share its images, so more of
    them help little; more images make both the scatter and what splits share smaller.

    Args:
        primary: The contrast, as `resampled_t` gives it.
        ratio, images: As in `judge_study`.

    Returns:
        "replicates" or "images", and how many in all.
    """
    sd, count = primary["sd"], primary["replicates"]
    if ratio == 0:
        # Within a set or two of the answer at once; then one by one.
        count = max(FEWEST_REPLICATES, int((2.5 * sd / MARGIN) ** 2))
        while intervals.smallest_detectable_effect(sd, count) > MARGIN:
            count += 1
        return "replicates", count
    smallest = intervals.smallest_detectable_effect(sd, count, ratio)
    return "images", math.ceil(images * max(1.0, smallest / MARGIN) ** 2)


def _say(answer, word, primary, control, smallest, takes, images) -> str:
    """The verdict in words."""
    low, high = (f"{100 * edge:+.1f}" for edge in primary["ci"])
    count, points = primary["replicates"], f"{100 * MARGIN:.0f} points"
    gain = (
        f"Adding GAN images to classic augmentation moved the {word} by "
        f"{100 * primary['mean']:+.1f} points (95 % interval {low} to {high}, {count} replicates)"
    )
    if answer == "yes":
        return (
            f"Yes: {gain}, and by {100 * control['mean']:+.1f} against GAN images with shuffled "
            "labels."
        )
    if answer == "no":
        return f"No: {gain}, so a gain of {points} or more is ruled out."
    why = "the interval neither ends below the margin nor lies above 0"
    if count < FEWEST_REPLICATES:
        why = f"fewer than {FEWEST_REPLICATES} replicates show no spread to rely on"
    elif primary["ci"][0] > 0:
        why = "GAN images with shuffled labels may do as well"
    text = f"Not enough data to tell. {gain}; {why}."
    if smallest is not None and primary["ci"][0] <= 0:  # else the control alone leaves it open
        kind, needed = takes
        more = (
            f"{needed} such sets, in a study of its own"
            if kind == "replicates"
            else f"about {needed - images} more images (more splits of the same ones help little)"
        )
        end = f"for one of {points} it takes {more}."
        if smallest <= MARGIN:
            end = f"that is under the margin of {points}: the gain itself is small or none."
        text += (
            f" With {images} images and {count} replicates only a gain of {100 * smallest:.0f} "
            f"points would be found four times in five; {end}"
        )
    return text


# --- One split -----------------------------------------------------------------------------------


def single_split_verdict(arms: dict[str, dict[str, Any]], n: int, settle: str) -> dict[str, Any]:
    """The verdict on one split: never yes or no, for one replicate shows no spread.

    Args:
        arms: Scores by arm, as `intervals.score` gives them, with "original" and "original_gan".
        n: Test images.
        settle: The command for one more split.

    Returns:
        answer, text and smallest_detectable_effect (a share, or None).
    """
    measure = deciding(arms)
    gain = arms["original_gan"][measure] - arms["original"][measure]
    larger = max(map(sum, arms["original"]["confusion"]))
    smallest = intervals.smallest_significant_gain(n, larger)
    could = f"{n} test images can tell no gain from chance"
    if smallest is not None:
        least = f"{100 * smallest:.0f} points"
        could = f"on these {n} test images only a gain of {least} or more could be told from chance"
    return {
        "answer": "not enough data",
        "text": (
            f"Not enough data to tell. Adding GAN images moved the {WORDS[measure]} by "
            f"{100 * gain:+.1f} points on this one split; {could}, and one split shows no spread "
            "between splits. To settle it, repeat everything on other splits, at least five in "
            f"all: {settle}"
        ),
        "smallest_detectable_effect": smallest,
    }
