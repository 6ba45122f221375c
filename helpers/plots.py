"""Figures that several notebooks and the report share; colours differ in lightness too."""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import DisplayHandle, display
from matplotlib.figure import Figure
from PIL import Image

from helpers import files, phantom, preprocessing, verdict
from helpers.arms import ARMS, gain_titles

DARK, LIGHT = "#00429d", "#e07b00"  # differ for colour-blind readers and in grey print
# Simulated slices of `show_anatomy`: title, seed, level, bleed, and what each shows: the name, its
# place, and where the name stands, in pixels from the upper left corner.
ANATOMY = (
    ("clear, middle of the head", (5, 0), 0.40, None, (
        ("skull", (222, 75), (270, 40)), ("brain", (165, 140), (270, 120)),
        ("ventricle,\nfilled with fluid", (137, 85), (-14, 60)),
        ("calcified plexus", (107, 171), (-14, 150)), ("burned-in letter", (22, 236), (-14, 225)),
        ("calcified\npineal gland", (130, 152), (270, 190)),
    )),
    ("clear, low in the head", (2, 1), 0.06, None, (
        ("skull base", (190, 155), (270, 120)), ("head rest", (212, 229), (270, 235)),
        ("skin", (40, 70), (-14, 40)),
    )),
    ("with a haemorrhage", (4, 2), 0.45, "intraparenchymal", (
        ("fresh blood", (105, 95), (-14, 60)), ("ventricle", (154, 190), (270, 215)),
    )),
)  # fmt: skip
CLASSIFIER_TITLES = {
    "resnet50": "ResNet-50, trained whole from scratch",
    "resnet50-imagenet": "ResNet-50, its trunk pretrained on ImageNet and frozen",
    "bundled": "bundled: logistic regression on a frozen EfficientNet-Lite0",
}


def show(
    figure: Figure, alt: str, out: Path | None = None, name: str = "",
    place: DisplayHandle | None = None,
) -> None:  # fmt: skip
    """Display a figure in a notebook, with alt text.

    Args:
        figure: Closed afterwards.
        alt: Alt text: what the figure shows, in a few words.
        out, name: Given, the figure is kept for the report as well; see `save_figure`.
        place: An output to update, from `display` with a `display_id`.
    """
    if out is not None:
        save_figure(figure, out, name)
    if not hasattr(figure, "number"):  # not made by pyplot, so IPython may not know how to draw it
        plt.close(plt.figure())
    (place.update if place else display)(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def save_figure(figure: Figure, out: Path, name: str) -> None:
    """Keep a figure for the report, as `figures/NAME.png` in the folder `out`, and close it."""
    with files.atomic_write(out / "figures" / f"{name}.png") as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")
    plt.close(figure)


def show_grid(
    rows: dict[str, np.ndarray], columns: int = 10, size: float = 0.95, title: str = ""
) -> Figure:
    """Slices in labelled rows.

    Args:
        rows: Images ``(n, height, width, 1)`` in -1 to 1 (or a list of grey ``uint8`` arrays) under
            the row's name; the first `columns` of each are shown.
        columns: Slices per row.
        size: Edge of a slice in inches.
        title: Above all.
    """
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(size * columns + 1.2, size * len(rows) + (0.35 if title else 0)),
        squeeze=False,
        layout="constrained",
        dpi=72,  # 32 pixels need no more, and a notebook stays small
    )
    for (name, images), line in zip(rows.items(), axes, strict=True):
        for k, axis in enumerate(line):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if k < len(images):
                grey = images[k].dtype == np.uint8
                limits = {"vmin": 0, "vmax": 255} if grey else {"vmin": -1, "vmax": 1}
                axis.imshow(np.squeeze(images[k]), cmap="gray", **limits)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    if title:
        figure.suptitle(title)
    return figure


def show_pairs(first: np.ndarray, second: np.ndarray, words: list[str]) -> Figure:
    """Pairs of slices, large, one above the other, each with its words below.

    Args:
        first, second: ``(n, height, width, 1)``, -1 to 1: above and below.
        words: One text for each pair.
    """
    figure, axes = plt.subplots(
        2, len(words), figsize=(2.4 * len(words), 4.9), squeeze=False, layout="constrained", dpi=72
    )
    for images, row in zip((first, second), axes, strict=True):
        for image, axis in zip(images, row, strict=True):
            axis.imshow(np.squeeze(image), cmap="gray", vmin=-1, vmax=1)
            axis.set(xticks=[], yticks=[])
    for axis, text in zip(axes[1], words, strict=True):
        axis.set_xlabel(text, fontsize=11)
    return figure


def use_one_scale(figure: Figure) -> Figure:
    """Draw all slices of a `show_grid` on one scale, with their sizes in pixels above them."""
    shapes = {axis: axis.images[0].get_array().shape for axis in figure.axes if axis.images}
    edge = max(max(shape) for shape in shapes.values())
    for axis, (height, width) in shapes.items():
        axis.set(xlim=((width - edge) / 2, (width + edge) / 2))
        axis.set(ylim=((height + edge) / 2, (height - edge) / 2))
        axis.set_title(f"{width}×{height}", fontsize=8)
    return figure


def show_anatomy() -> Figure:
    """Three simulated slices in which arrows name what a reader of notebook 01 must know."""
    figure, axes = plt.subplots(1, len(ANATOMY), figsize=(11, 3), layout="constrained", dpi=72)
    for axis, (title, seed, level, bleed, parts) in zip(axes, ANATOMY, strict=True):
        rng = np.random.default_rng(seed)
        patient = phantom.random_patient(rng)
        shown = any("calcified" in part[0] for part in parts)
        patient = replace(patient, calcifications=phantom.CALCIFICATIONS if shown else ())
        grey = phantom.draw_slice(patient, rng, bleed=bleed, level=level, size=256)
        axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
        for name, place, at in parts:
            look = {"arrowstyle": "->", "color": LIGHT, "lw": 1.5, "shrinkA": 0}
            side = "left" if at[0] > 128 else "right"
            axis.annotate(name, place, at, ha=side, va="center", arrowprops=look)
        axis.set_title(title)
        axis.axis("off")
    return figure


def save_animation(previews: np.ndarray, path: Path, milliseconds: int = 400) -> Path:
    """Write the same latent vectors over time as a GIF that repeats.

    Args:
        previews: ``(k, 16, 32, 32, 1)``, -1 to 1, as `training.train_gan` leaves them.
        path: Where to, ending in `.gif`.
        milliseconds: Of each picture; the last stays three times as long.
    """
    greys = preprocessing.to_grey_levels(previews[..., 0])
    rows = greys[:, :16].reshape(len(greys), 2, 8, 32, 32).transpose(0, 1, 3, 2, 4)
    frames = [Image.fromarray(f).resize((512, 128), 0) for f in rows.reshape(-1, 64, 256)]
    times = [milliseconds] * (len(frames) - 1) + [3 * milliseconds]
    with files.atomic_write(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=times, loop=0)
    return path


def show_training(histories: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Losses, mean outputs and gradient lengths of each GAN by step, smoothed over 25 steps.

    The first steps can cost a hundred times what later ones do; the losses' axis leaves them out.

    Args:
        histories: By class, `training.Trained.history`.
    """
    figure, axes = plt.subplots(
        3, len(histories), figsize=(5 * len(histories), 7), squeeze=False, sharex="col",
        layout="constrained",
    )  # fmt: skip
    rows = (
        ("loss, nats", {"discriminator_loss": "discriminator", "generator_loss": "generator"}),
        ("mean output: real?", {"output_on_real": "real", "output_on_fake": "generated"}),
        (
            "gradient length",
            {"discriminator_gradient": "discriminator", "generator_gradient": "generator"},
        ),
    )
    for (name, history), column in zip(histories.items(), axes.T, strict=True):
        steps = len(history["generator_loss"])
        width = min(25, steps)
        at = np.arange(width, steps + 1)
        for axis, (ylabel, lines) in zip(column, rows, strict=True):
            for (key, label), colour, dash in zip(lines.items(), (DARK, LIGHT), "-:", strict=True):
                smooth = np.convolve(history[key], np.ones(width) / width, mode="valid")
                axis.plot(at, smooth, label=label, color=colour, ls=dash)
            axis.set_ylabel(ylabel)
            axis.legend(loc="best", frameon=False)
        losses, outputs, gradients = column
        late = np.concatenate([history[key][steps // 10 :] for key in rows[0][1]])
        low, high = np.percentile(late, [1, 99])
        losses.set(title=name, ylim=(min(0.0, 1.2 * low), max(1.0, 1.3 * high)))
        outputs.axhline(0.5, color="grey", lw=0.8, ls=":")
        gradients.set(xlabel="step", yscale="log")
    return figure


def draw_forest(axis: plt.Axes, found: dict[str, list[float]], label: str = "") -> None:
    """Draw a forest plot: a dot and its interval in a row for each name, the first on top.

    Args:
        axis: Gets the names on its left.
        found: Value, lower and upper end of the interval, by name.
        label: For a legend.
    """
    for row, (value, *ends) in enumerate(reversed(found.values())):
        axis.plot(ends, [row, row], color=DARK, lw=2)
        axis.plot(value, row, "o", color=DARK, ms=7)
    axis.plot([], [], "o-", color=DARK, label=label or None)
    axis.set_yticks(range(len(found)), reversed(found))
    axis.set_ylim(-0.6, len(found) - 0.4)


def show_gains(gains: dict[str, dict], margin: float, folds: bool) -> Figure:
    """The gains of a study with their intervals, as a forest plot.

    Args:
        gains: By name, as `course.study` keeps them: `mean` and `ci`, shares.
        margin: The smallest gain worth having, a share; less than that is shaded.
        folds: Whether the study has folds of one set, as `gain_titles` takes it.
    """
    titles = gain_titles(folds)
    gains = {titles[name]: gain for name, gain in gains.items() if name in titles}
    figure, axis = plt.subplots(figsize=(7, 0.5 * len(gains) + 1.1), layout="constrained")
    axis.axvspan(-100 * margin, 100 * margin, color="0.9")
    axis.axvline(0, color="grey", lw=0.8)
    points = {title: 100 * np.array([gain["mean"], *gain["ci"]]) for title, gain in gains.items()}
    draw_forest(axis, points)
    axis.set_xlabel("difference in balanced accuracy, points")
    return figure


def show_arms(arms: dict[str, dict]) -> Figure:
    """The deciding score of each arm with its 95 % interval, as a forest plot.

    That is accuracy, or balanced accuracy where the test images are not as many of each class: a
    dotted line shows what always naming one class would give, a half in either.

    Args:
        arms: Scores by arm; a `fresh_accuracy`, where there is one, is shown as a diamond.
    """
    measure = verdict.deciding(arms)
    n = int(np.sum(next(iter(arms.values()))["confusion"]))
    figure, axis = plt.subplots(figsize=(7, 0.55 * len(arms) + 1.2), layout="constrained")
    percent = {
        ARMS[name].title: 100 * np.array([scores[measure], *scores[f"{measure}_ci"]])
        for name, scores in arms.items()
    }
    draw_forest(axis, percent, f"{n} test images, 95 % interval")
    fresh = [100 * scores.get("fresh_accuracy", np.nan) for scores in reversed(arms.values())]
    if np.isfinite(fresh).any():
        label = "fresh simulated slices"
        axis.plot(fresh, range(len(arms)), "D", color=LIGHT, ms=6, mec="black", label=label)
    axis.axvline(50, color="grey", ls=":", label="always the same class")
    axis.set(xlabel=f"{verdict.WORDS[measure]}, %", xlim=(0, 100))
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def show_by_step(rows: list[dict], limit: float) -> Figure:
    """Quality and copying by training step: coverage, and below it the p-value of the second test.

    Args:
        rows: By increasing `steps`; each with `imagenet` (`coverage`, `coverage_expected`) and
            `repeats_p`, as `experiments/copying_by_step.py` measures them.
        limit: A smaller p-value says that training is repeated.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
    steps = [row["steps"] for row in rows]
    expected = np.mean([row["imagenet"]["coverage_expected"] for row in rows])
    above.plot(steps, [100 * row["imagenet"]["coverage"] for row in rows], "o-", color=DARK)
    above.axhline(100 * expected, color=DARK, ls=":", label="two halves of real slices")
    above.set(ylabel="coverage, %", ylim=(-3, 103))
    p_values = np.array([row["repeats_p"] for row in rows])
    below.plot(steps, p_values, "s-", color=LIGHT, mfc="none")
    repeated = p_values < limit
    name = "repeats its training slices"
    below.plot(np.array(steps)[repeated], p_values[repeated], "s", color=LIGHT, label=name)
    below.axhline(limit, color="grey", ls=":", label="limit")
    below.set(yscale="log", ylabel="p, second test", xlabel="training steps")
    below.xaxis.set_major_formatter("{x:,.0f}")
    for axis in (above, below):
        axis.legend(frameon=False, fontsize=9)
    return figure
