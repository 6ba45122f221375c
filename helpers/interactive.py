"""Pictures with controls: a still picture for print, and sliders that draw it again.

Each ``draw_…`` is a plain function from the controls' values to a figure.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import clear_output, display
from matplotlib.figure import Figure

from helpers import networks, plots, sampling
from helpers.verdict import foresee

FEWEST_OF_QUARTER = 150  # images of a set whose quarters have 16 training images of each class
# Of an answer, and of the number on it.
COLOURS = {
    "helps": (plots.LIGHT, "black"), "harms": ("black", "white"), "no_gain": (plots.DARK, "white"),
    "no_room": ("0.6", "black"), "undecided": ("0.93", "black"),
}  # fmt: skip
FIRST_MEAN, TRUE_MEAN = 0.0, 1.0  # Keras starts BatchNorm's moving mean at 0


def touch(
    draw: Callable[..., Figure], alt: str, **controls: tuple[Sequence[Any], Any]
) -> dict[str, Any]:
    """Show the picture for the first values, and below it a slider for each control.

    A slider that is moved draws a second picture below the sliders, so the first one stays in
    print, on GitHub and in papermill's outputs. Without ipywidgets only the first is shown.

    Args:
        draw: From a value for each control to a figure.
        alt: Alt text of the pictures.
        controls: By argument of `draw`: the values to choose from, and the first.

    Returns:
        The sliders by name; empty without ipywidgets.
    """
    first = {name: value for name, (_, value) in controls.items()}
    plots.show(draw(**first), alt)
    try:
        import ipywidgets
    except ImportError:
        print("To move sliders here, install ipywidgets.")
        return {}
    sliders = {
        name: ipywidgets.SelectionSlider(
            options=list(values), value=value, description=name.replace("_", " "),
            continuous_update=False, style={"description_width": "120px"}, layout={"width": "60%"},
        )
        for name, (values, value) in controls.items()
    }  # fmt: skip
    output = ipywidgets.Output()

    def redraw(_: Any) -> None:
        with output:
            clear_output(wait=True)
            plots.show(draw(**{name: slider.value for name, slider in sliders.items()}), alt)

    for slider in sliders.values():
        slider.observe(redraw, "value")
    display(ipywidgets.VBox([*sliders.values(), output]))
    return sliders


# --- 03 · BatchNorm ------------------------------------------------------------------------------


def draw_momentum(momentum: float, batches: int) -> Figure:
    """How a moving mean of BatchNorm comes from its start, 0, to the true mean, 1.

    Args:
        momentum: Share of the old average that is kept at each batch, 0 to 1.
        batches: How many batches are shown, at least 1.
    """
    steps = np.arange(batches + 1)
    means = TRUE_MEAN + 0.1 * np.random.default_rng(0).standard_normal(batches)
    average = [FIRST_MEAN]
    for mean in means:
        average.append(momentum * average[-1] + (1 - momentum) * mean)
    figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
    axis.plot(steps[1:], means, ".", color="0.6", label="mean of each batch")
    axis.plot(steps, average, color=plots.DARK, label=f"moving mean, momentum {momentum:g}")
    axis.axhline(TRUE_MEAN, color=plots.LIGHT, ls="--", label="true mean")
    axis.set(xlabel="batches since the reset", ylabel="mean", ylim=(-0.05, 1.45))
    axis.set_title(f"after {batches} batches: {average[-1]:.2f} of 1")
    axis.legend(frameon=False, loc="upper right", ncols=3)
    return figure


# --- 04 · Latent space, and copies ---------------------------------------------------------------


def draw_latent_space(
    position: float, truncation: float | str, generator: keras.Model, ends: np.ndarray, seed: int
) -> Figure:
    """A head on the walk between two others, and ten samples with truncated latent vectors.

    Args:
        position: On the walk, from 0 (the first head) to 1 (the second).
        truncation: No latent number is farther from 0; "none": all are allowed.
        generator: Of one class.
        ends: ``(2, latent_dim)``: latent vectors of the two heads.
        seed: Of the ten samples.
    """
    path = sampling.walk(*ends, 101)[[0, round(100 * position), 100]]
    limit = None if truncation == "none" else float(truncation)
    drawn = sampling.draw_latent(10, seed, truncation=limit)
    images = sampling.generate(generator, np.concatenate([path, drawn]))
    blank = np.full((3, *networks.IMAGE_SHAPE), np.nan, np.float32)
    names = f"first, {position:.0%} of the way, second", f"truncation {truncation}"
    rows = {names[0]: np.concatenate([blank, images[:3], blank, blank[:1]]), names[1]: images[3:]}
    return plots.show_grid(rows, size=0.8)


def draw_suspect(
    suspect: int, images: np.ndarray, known: np.ndarray, distances: np.ndarray, chance: np.ndarray
) -> Figure:
    """One image beside the known slice that is nearest to it, with its chance.

    Args:
        suspect: Which image, from 1.
        images, known: ``(n, 32, 32, 1)`` and ``(m, 32, 32, 1)``, -1 to 1.
        distances: ``(n, m)``, from 0 (equal) on.
        chance: ``(n,)``: how often a new person's slice is as near to one known slice.
    """
    place = suspect - 1
    nearest = int(distances[place].argmin())
    figure, axes = plt.subplots(1, 2, figsize=(5, 2.7), layout="constrained", dpi=72)
    titles = f"suspect {suspect} from the left", "nearest known slice"
    for axis, image, title in zip(axes, (images[place], known[nearest]), titles, strict=True):
        axis.imshow(image[..., 0], cmap="gray", vmin=-1, vmax=1)
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    likeness = 1 - distances[place, nearest]
    figure.suptitle(f"correlation {likeness:.2f}, chance {chance[place]:.2g}")
    return figure


# --- 05 · Steps ----------------------------------------------------------------------------------


def draw_steps(steps: int, rows: pd.DataFrame) -> Figure:
    """Measured accuracies of two arms after a number of steps, one line for each simulated set.

    Args:
        steps: Of the classifiers.
        rows: Of `experiments/results/steps.json`: `set`, `arm`, `steps` and `accuracy`.
    """
    figure, axis = plt.subplots(figsize=(4.5, 3), layout="constrained")
    by_set = rows[rows["steps"] == steps].pivot(index="set", columns="arm", values="accuracy")
    for pair in 100 * by_set[["original", "classic"]].to_numpy():
        axis.plot([0, 1], pair, "o-", color=plots.DARK, mfc="white")
    axis.set_xticks([0, 1], ["original", "classic\naugmentation"])
    axis.set(xlim=(-0.4, 1.4), ylim=(45, 100), ylabel="accuracy, %")
    gains = sorted(100 * (by_set["classic"] - by_set["original"]))
    axis.set_xlabel("classic − original: " + ", ".join(f"{gain:+.1f}" for gain in gains))
    axis.set_title(f"{steps} steps", fontsize=10)
    return figure


# --- 07 · The planner ----------------------------------------------------------------------------


def draw_plan(patients: int) -> Figure:
    """How likely each answer of a study is, for three true gains of the GAN images.

    Args:
        patients: With one image each, as many of each class. With fewer than `FEWEST_OF_QUARTER`
            no quarter gets a GAN.
    """
    width, by_gain = foresee([patients / 2] * 2, quarters=int(patients >= FEWEST_OF_QUARTER))
    figure, axis = plt.subplots(figsize=(7, 2.4), layout="constrained")
    names = [f"{100 * gain:.0f} points" for gain in by_gain]
    left = np.zeros(len(names))
    for answer, (colour, ink) in COLOURS.items():
        shares = np.array([100 * chances[answer] for chances in by_gain.values()])
        bars = axis.barh(names, shares, left=left, color=colour, edgecolor="black", lw=0.5)
        labels = [f"{share:.0f}" if share >= 4 else "" for share in shares]
        axis.bar_label(bars, labels, label_type="center", color=ink)
        bars.set_label(answer.replace("_", " "))
        left += shares
    axis.invert_yaxis()
    axis.set(xlim=(0, 100), xlabel="studies with this answer, of 100", ylabel="true gain")
    axis.set_title(f"{patients:,} patients: an interval of {100 * width:.0f} points", fontsize=10)
    axis.legend(frameon=False, ncols=1, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
