"""Drawings that explain an idea with a few points: balls, slopes, permutations, turns."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from helpers import gan, measures, plots

NEIGHBOUR = 2  # the balls of the drawing reach to this one; those of the audit to the fifth
POSITIONS = np.linspace(-6, 4, 101)  # of the one-dimensional discriminator
GENERATED, REAL = -4.0, 2.0  # where its images lie
UPDATES, PENALTY_WEIGHT = 800, 10.0  # of this discriminator
STRIPS = 5  # permuted ones
PENALTIES = ("no penalty", "slope 1 on mixtures", "slope 0 on real images")


# --- 03 · The gradient penalty -------------------------------------------------------------------


def fit_discriminator(penalty: str) -> np.ndarray:
    """Train a small discriminator of images that are one number, under a gradient penalty.

    Real images lie around 2, generated ones around -4. Loss and penalty are those of notebook 03.

    Args:
        penalty: One of `PENALTIES`.

    Returns:
        ``(101,)``: the logit at `POSITIONS`.
    """
    layers = [keras.layers.Flatten()]
    for units, act in ((32, "tanh"), (32, "tanh"), (1, None)):
        start = keras.initializers.GlorotUniform(seed=len(layers))
        layers.append(keras.layers.Dense(units, act, kernel_initializer=start))
    critic = keras.Sequential([keras.Input((1, 1, 1)), *layers])
    optimizer = keras.optimizers.Adam(0.005)
    optimizer.build(critic.trainable_variables)
    spread = np.linspace(-0.5, 0.5, 11)
    real, fake = (tf.constant(_as_images(at + spread)) for at in (REAL, GENERATED))
    places = np.random.default_rng(0).uniform(GENERATED - 0.5, REAL + 0.5, 64)
    on_mixtures = tf.constant(_as_images(places))

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            on_real, on_fake = critic(real, training=True), critic(fake, training=True)
            loss = gan.cross_entropy(tf.ones_like(on_real), on_real)
            loss += gan.cross_entropy(tf.zeros_like(on_fake), on_fake)
            if penalty == PENALTIES[1]:
                loss += PENALTY_WEIGHT * gan.gradient_penalty(critic, on_mixtures, slope=1.0)
            elif penalty == PENALTIES[2]:
                loss += PENALTY_WEIGHT * gan.gradient_penalty(critic, real, slope=0.0)
        gradients = tape.gradient(loss, critic.trainable_variables)
        optimizer.apply(gradients, critic.trainable_variables)

    for _ in range(UPDATES):  # each on all images
        step()
    return critic(_as_images(POSITIONS)).numpy()[:, 0]


def _as_images(numbers: np.ndarray) -> np.ndarray:
    return numbers.reshape(-1, 1, 1, 1).astype(np.float32)


def show_penalties() -> Figure:
    """The logit of a one-dimensional discriminator under each penalty, and its slope."""
    figure, axes = plt.subplots(
        2, 3, figsize=(10, 4.4), sharex=True, sharey="row", layout="constrained",
        height_ratios=(2, 1),
    )  # fmt: skip
    for penalty, (logit, slope) in zip(PENALTIES, axes.T, strict=True):
        found = fit_discriminator(penalty)
        logit.plot(POSITIONS, found, color=plots.DARK)
        slope.plot(POSITIONS, np.gradient(found, POSITIONS), color=plots.DARK)
        for at, colour in ((GENERATED, plots.LIGHT), (REAL, plots.DARK)):
            for axis in (logit, slope):
                axis.axvspan(at - 0.5, at + 0.5, color=colour, alpha=0.15, lw=0)
        logit.set_title(penalty)
        slope.axhline(0, color="grey", lw=0.6)
        slope.set_xlabel("image (one number)")
        at_generated = np.interp(GENERATED, POSITIONS, np.gradient(found, POSITIONS))
        slope.annotate(f"{at_generated:.1f}", (GENERATED, at_generated + 1), ha="center")
    axes[0, 0].set_ylabel("logit: real?")
    axes[1, 0].set_ylabel("slope")
    for logit in axes[0]:
        for at, name, height in ((GENERATED, "generated", 0.92), (REAL, "real", 0.03)):
            logit.text(at, height, name, ha="center", transform=logit.get_xaxis_transform())
    return figure


# --- 04 · Balls and permutations -----------------------------------------------------------------


def draw_cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Twelve real points in two groups, and generated ones: good, odd, one kind, one far away."""
    rng = np.random.default_rng(270)
    centres = np.repeat([[-1.0, 0.0], [1.0, 0.0]], 6, axis=0)
    real = centres + 0.35 * rng.standard_normal((12, 2))
    good = centres + 0.35 * rng.standard_normal((12, 2))
    odd = np.concatenate([good[::2], [0.0, 1.35] + 0.15 * rng.standard_normal((6, 2))])
    one = [-1.0, 0.0] + 0.35 * rng.standard_normal((12, 2))
    far = one.copy()
    far[0] = 2.6, 1.1
    return {
        "good": (real, good), "half are odd": (real, odd), "one kind is missing": (real, one),
        "missing, and one far away": (real, far),
    }  # fmt: skip


def show_balls() -> Figure:
    """Real points with their balls, generated crosses, and the four shares of each case."""
    cases = draw_cases()
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.6), layout="constrained")
    for (name, (real, generated)), axis in zip(cases.items(), axes, strict=True):
        found = measures.neighbour_measures(real, generated, k=NEIGHBOUR)
        for point, radius in zip(real, _radii(real), strict=True):
            axis.add_patch(Circle(point, radius, color=plots.DARK, alpha=0.12, lw=0))
        axis.plot(*real.T, "o", color=plots.DARK, ms=5)
        axis.plot(*generated.T, "x", color=plots.LIGHT, ms=6, mew=2)
        if name == "missing, and one far away":
            ball = Circle(
                generated[0], _radii(generated)[0], fill=False, ec=plots.LIGHT, ls="--", lw=1.5
            )
            axis.add_patch(ball)
        axis.set(xlim=(-2.3, 3.1), ylim=(-1.9, 2.2), xticks=[], yticks=[], aspect="equal")
        axis.set_title(name, fontsize=11)
        shares = [f"{m} {found[m]:.2f}" for m in ("precision", "recall", "density", "coverage")]
        axis.set_xlabel(f"{shares[0]}, {shares[1]}\n{shares[2]}, {shares[3]}", fontsize=9)
    return figure


def _radii(points: np.ndarray) -> np.ndarray:
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return np.sort(apart, axis=1)[:, NEIGHBOUR]


def show_intervals(middle: np.ndarray, reach: np.ndarray, truth: float) -> Figure:
    """Many intervals beside each other; those that miss the truth are orange.

    Args:
        middle: ``(n,)``, the middle of each interval.
        reach: ``(n,)``, half its width.
        truth: A dotted line.
    """
    figure, axis = plt.subplots(figsize=(8, 2.6), layout="constrained")
    missed = np.abs(middle - truth) > reach
    for some, colour, style in ((~missed, plots.DARK, "o"), (missed, plots.LIGHT, "s")):
        axis.errorbar(
            np.flatnonzero(some), middle[some], reach[some], fmt=style, color=colour, ms=4, lw=2
        )
    axis.axhline(truth, color="black", ls=":")
    axis.set(xticks=[], xlabel="draws of 20 slices", ylabel="mean brightness")
    return figure


def show_permutations(values: np.ndarray, labels: np.ndarray, seed: int) -> Figure:
    """A strip of labels below the values that they belong to, and permuted strips below that.

    Args:
        values: ``(n,)``, one number for each image.
        labels: ``(n,)``, 0 or 1.
        seed: Of the permutations.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(values, kind="stable")
    strips = [labels[order], *(rng.permutation(labels)[order] for _ in range(STRIPS))]
    figure, (top, below) = plt.subplots(
        2, 1, figsize=(8, 3.6), layout="constrained", height_ratios=(1, 2), sharex=True
    )
    top.plot(values[order], ".-", color="0.4")
    top.set_ylabel("brightness")
    for row, strip in enumerate(strips):
        for label, colour in ((0, plots.DARK), (1, plots.LIGHT)):
            below.plot(*_marks(strip == label, row), "s", color=colour, ms=8)
        apart = values[order][strip == 1].mean() - values[order][strip == 0].mean()
        below.text(len(values) + 0.2, row, f"{apart:+.3f}", va="center")
    names = ["true labels", *(f"permuted {k + 1}" for k in range(STRIPS))]
    below.set_yticks(range(len(names)), names)
    below.set(ylim=(STRIPS + 0.6, -0.6), xlim=(-0.8, len(values) + 3.5), xticks=[])
    below.text(len(values) + 0.2, -0.95, "difference", va="center", fontsize=9)
    below.spines[:].set_visible(False)
    return figure


def _marks(chosen: np.ndarray, row: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.flatnonzero(chosen)
    return places, np.full(len(places), row)


# --- 03 · One update of each network --------------------------------------------------------------


def show_updates() -> Figure:
    """One pass through both networks, and the ways of the two gradients back."""
    places = {
        "latent\nvectors": (0, 0), "generator": (2, 0), "generated\nimages": (4, 0),
        "real\nimages": (4, 1), "discriminator": (6, 0.5), "discriminator's\nloss": (8, 1),
        "generator's\nloss": (8, 0),
    }  # fmt: skip
    forward = [(0, 1), (1, 2), (2, 4), (3, 4), (4, 5), (4, 6)]
    ways = {
        "the pass": (forward, "grey", "-", 0),
        "the discriminator's update": ([(5, 4)], plots.DARK, "--", 0.4),
        "the generator's update": ([(6, 4), (4, 2), (2, 1)], plots.LIGHT, ":", -0.4),
    }
    figure, axis = plt.subplots(figsize=(9, 2.9), layout="constrained")
    box = {"boxstyle": "round,pad=0.4", "fc": "white", "ec": "black"}
    boxes = [
        axis.annotate(text, place, ha="center", va="center", bbox=box)
        for text, place in places.items()
    ]
    spots = list(places.values())
    for name, (pairs, colour, style, bend) in ways.items():
        width = 1.0 + bool(bend)
        for start, end in pairs:
            patches = [boxes[k].get_bbox_patch() for k in (start, end)]
            arrow = {"arrowstyle": "->", "color": colour, "ls": style, "lw": width,
                     "patchA": patches[0], "patchB": patches[1], "shrinkA": 4, "shrinkB": 4,
                     "connectionstyle": f"arc3,rad={bend}"}  # fmt: skip
            axis.annotate("", spots[end], spots[start], arrowprops=arrow)
        axis.plot([], [], color=colour, ls=style, lw=width, label=name)
    axis.legend(loc="upper left", frameon=False)
    axis.set(xlim=(-0.8, 9), ylim=(-0.8, 1.5))
    axis.axis("off")
    return figure
