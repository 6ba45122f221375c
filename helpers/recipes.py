"""Settings of a GAN training: losses, label tricks, learning rates (notebook 03)."""

import dataclasses
from typing import Any

import numpy as np

from helpers.files import CourseError

AUGMENTATIONS = ("translation", "cutout", "brightness")
# Allowed values of each setting: the lowest and the highest, or a list.
ALLOWED: dict[str, tuple[float, float] | list] = {
    "loss": ["bce", "wasserstein"], "penalty_on": ["mixtures", "real"],
    "penalty_weight": (0, np.inf), "generator_learning_rate": (1e-9, 1),
    "discriminator_learning_rate": (1e-9, 1), "beta_1": (0, 0.99999),
    "swap_labels": [True, False], "flip_share": (0, 0.5), "soften_real": (0, 0.5),
    "soften_generated": (0, 0.5), "noisy_labels": [True, False], "instance_noise": (0, np.inf),
    "instance_noise_steps": (1, np.inf), "dropout": (0, 0.99), "average_decay": (0, 0.99999),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of a training; the defaults are our reading of the published recipe.

    Raises:
        CourseError: A value out of range, or label tricks with the Wasserstein loss.
    """

    loss: str = "bce"  # or "wasserstein" (Arjovsky et al. 2017): the critic has no labels
    # "mixtures" (interpolates): slope 1 there (WGAN-GP, Gulrajani 2017); "real": slope 0 there (R1,
    # Mescheder 2018).
    penalty_on: str = "mixtures"
    penalty_weight: float = 10.0  # 0 or more; 10: Gulrajani 2017; half of Mescheder's gamma
    generator_learning_rate: float = 2e-4  # of Adam, over 0; the report's value
    discriminator_learning_rate: float = 2e-4  # the same; higher: Heusel et al. 2017 (TTUR)
    beta_1: float = 0.5  # of Adam, both networks, 0 to 1; as published, after Radford et al. 2016
    swap_labels: bool = True  # non-saturating loss of the generator; Goodfellow et al. 2014
    flip_share: float = 0.05  # share of targets of the other kind, 0 to 0.5; Chintala 2016
    # Label smoothing (Salimans et al. 2016): targets from 1 down to 1 minus this, 0 to 0.5,
    soften_real: float = 0.2
    soften_generated: float = 0.2  # and from 0 up to this; our reading: Salimans' would be 0
    noisy_labels: bool = True  # soft targets drawn for each image; Chintala et al. 2016
    instance_noise: float = 0.0  # standard deviation at the first step, 0 or more; Sønderby 2017
    instance_noise_steps: int = 1000  # in which the noise fades to 0, 1 or more; Sønderby 2017
    dropout: float = 0.4  # before the discriminator's last layer, 0 to under 1; as published
    augmentation: str = ""  # some of AUGMENTATIONS, with commas between; Zhao 2020
    average_decay: float = 0.0  # of the averaged weights (EMA), 0 (none) to under 1; Yazıcı 2019

    def __post_init__(self) -> None:
        for name, allowed in ALLOWED.items():
            value = getattr(self, name)
            if isinstance(allowed, tuple):
                fits = not isinstance(value, bool) and isinstance(value, int | float)
                fits = fits and allowed[0] <= value <= allowed[1]
                words = f"a number from {allowed[0]:g} to {allowed[1]:g}"
                if isinstance(value, str):
                    words += " (YAML takes 5e-4 for a text: write 5.0e-4)"
            else:
                fits, words = value in allowed, " or ".join(map(str, allowed))
            if not fits:
                raise CourseError(f"recipe: {name} is {value!r}: it must be {words}.")
        if not set(self.augmentations) <= set(AUGMENTATIONS):
            raise CourseError(
                f"recipe: augmentation {self.augmentation!r} must hold none or some of "
                f"{', '.join(AUGMENTATIONS)}."
            )
        tricks = self.flip_share, self.soften_real, self.soften_generated, not self.swap_labels
        if self.loss == "wasserstein" and any(tricks):
            raise CourseError(
                "recipe: the Wasserstein loss has no labels: set flip_share, soften_real and "
                "soften_generated to 0 and swap_labels to True, or use loss bce."
            )
        if self.loss == "wasserstein" and not self.penalty_weight:
            raise CourseError(
                "recipe: the Wasserstein loss has no bound without its penalty: set penalty_weight "
                "over 0, or use loss bce."
            )

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The augmentations as a tuple of names."""
        return tuple(part.strip() for part in str(self.augmentation).split(",") if part.strip())


# For a few hundred steps: larger learning rates than the published 2e-4, and weights averaged over
# the last steps, because single steps still swing. Best recipe of `experiments/ablation.py`.
BRIEF = Recipe(generator_learning_rate=5e-4, discriminator_learning_rate=5e-4, average_decay=0.99)
RECIPES = {"paper": Recipe(), "brief": BRIEF}


def choose_recipe(name: str, changes: dict[str, Any] | None = None) -> Recipe:
    """A named recipe, with some of its settings changed.

    Raises:
        CourseError: An unknown recipe, an unknown setting, or a value out of range.
    """
    if name not in RECIPES:
        raise CourseError(f"recipe {name!r} is unknown: use {' or '.join(RECIPES)}.")
    known = [field.name for field in dataclasses.fields(Recipe)]
    if unknown := [name for name in changes or {} if name not in known]:
        words = f"{unknown[0]!r} is no setting of a recipe: use some of {', '.join(known)}"
        raise CourseError(f"recipe_changes: {words}.")
    return dataclasses.replace(RECIPES[name], **(changes or {}))
