"""All parameters that a user gives: default, meaning, and what is allowed.

Notebooks' parameters cells, `params/*.yaml`, the commands' `--help` and the checks below agree with
these tables; `tests/texts/test_parameters.py` compares them.
"""

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from helpers.arms import IN_NOTEBOOK
from helpers.files import CourseError
from helpers.machine import PRECISIONS

HIGHEST = 2_000_000_000  # seeds have 32 bits


@dataclass(frozen=True)
class Parameter:
    """One parameter: its default, whose type each value must have, what it is, what is allowed."""

    default: Any
    text: str
    low: float = -math.inf  # of a number
    high: float = HIGHEST
    choices: tuple[str, ...] = ()  # of a text
    fits: Callable[[Any], bool] | None = None  # a rule of its own
    instead: str = ""  # what to use where a value does not fit

    def refuse(self, name: str, value: Any) -> None:
        """Refuse a value that is not allowed.

        Raises:
            CourseError: It is of another type, out of range, or none of `choices`.
        """
        if self.choices:
            if value not in self.choices:
                known = ", ".join(self.choices)
                raise CourseError(f"{name} {value!r} is unknown: use one of {known}.")
            return
        kind = type(self.default)
        if self.fits:
            fits, instead = self.fits(value), self.instead
        elif kind in (int, float):
            fits = type(value) in {int, kind} and self.low <= value <= self.high
            instead = f"use a whole number from {self.low} to {self.high}"
            if kind is float:
                instead = f"use a number, {self.low:g} or more, such as 1.5"
        else:
            fits, instead = isinstance(value, kind), self.instead or INSTEAD[kind]
        if not fits:
            read = " read as" if kind is str else ""  # by YAML, to which yes is a truth value
            raise CourseError(f"{name} is{read} {value!r}: {instead}.")


INSTEAD = {
    bool: "write true or false", str: "write it as one text, in quotes", list: "write a list",
    dict: "write lines of the form name: value",
}  # fmt: skip


# --- Of the notebooks ----------------------------------------------------------------------------

NOTEBOOKS = {
    "profile": Parameter("quick", "name of a set of values"),
    "seed": Parameter(2019, "decides all random numbers except split_seed's", low=0),
    "split_seed": Parameter(2019, "decides the simulated data and the split", low=0),
    "data_dir": Parameter("", "folder with images and their labels; empty: simulated slices"),
    "out_dir": Parameter("runs/quick", "folder for everything that a run writes"),
    # How a folder is read
    "listing": Parameter("", "table that lists the images; none: the folders are the classes"),
    "id_column": Parameter("", "column of this table with the names of the images"),
    "label_column": Parameter("", "column with the labels"),
    "patient_column": Parameter("", "column with the patients"),
    "patient_pattern": Parameter(
        "", r"regular expression for the patient in a path, such as 'person(\d+)_'"
    ),
    "classes": Parameter(
        [], "the two labels to use, if there are more than two",
        instead='write two labels as a list, in quotes where they are numbers, as ["MEL", "NV"]',
    ),
    "given_split": Parameter(False, "keep the split that comes with the data"),
    "window": Parameter(
        [], "stored values that become black and white",
        instead="use two numbers as a list, as [0, 1500]",
    ),
    "leave_out": Parameter(
        [], "kinds of images to leave out: blank, masks", instead="use a list of blank and masks"
    ),
    "positive": Parameter("haemorrhage", "name of class 1, and its label if the labels are words"),
    "negative": Parameter("clear", "name of class 0"),
    # GANs
    "gan_steps": Parameter(500, "updates of both networks for each class", low=1),
    "recipe": Parameter(
        "brief", "as published, or with larger rates and an average", choices=("paper", "brief")
    ),
    "recipe_changes": Parameter({}, "settings that differ from the recipe"),
    "preview_every": Parameter(100, "steps between two pictures of the same latent vectors", low=1),
    "checkpoint_every": Parameter(25, "steps between checkpoints", low=1),
    "checkpoints_dir": Parameter("", "folder of the checkpoints; empty: checkpoints in out_dir"),
    "gallery_steps": Parameter(30, "updates in each training of the failure gallery", low=1),
    "precision": Parameter(
        "auto", "of the products; auto: the fastest here", choices=("auto", *PRECISIONS)
    ),
    "samples_per_class": Parameter(100, "generated slices per class", low=10),
    # Classifiers
    "arms": Parameter(
        "original, gan_only, original_gan, classic, duplicated",
        "what ResNet-50 is fitted on, by commas; bundled gets every arm",
    ),
    "dose": Parameter(0.0, "generated images for each real one; 0: all that there are", low=0),
    "protocol": Parameter(
        "steps", "a fixed number of steps, or early stopping", choices=("steps", "paper")
    ),
    "classifier": Parameter(
        "resnet50", "what is fitted", choices=("resnet50", "resnet50-imagenet", "bundled")
    ),
    "classifier_size": Parameter(32, "edge of the images inside the classifier, pixels", low=32),
    "classifier_steps": Parameter(
        120, "batches of 32; twice as many where images are added, and in classic_long", low=1
    ),
    "fresh_count": Parameter(1000, "fresh simulated slices to score on", low=2),
    # Notebook 06
    "conditional_steps": Parameter(1000, "updates of the GAN for both classes", low=1),
    "fitting_steps": Parameter(150, "updates of the latent vectors that are fitted", low=1),
    # Notebook 07
    "upload": Parameter(False, "in Colab: ask for a .zip file"),
}  # fmt: skip

# --- Of a study ----------------------------------------------------------------------------------

STUDY = {
    "seeds": Parameter(1, "GANs for each class of a fold or set, averaged", low=1, high=10),
    "quarters": Parameter(
        1, "random quarters of each fold that get GANs of their own", low=0, high=8
    ),
    "sets": Parameter(12, "simulated sets; an answer needs 5", low=2, high=1000),
    "images": Parameter(144, "real slices in each simulated set", low=36, high=10_000),
    "first_seed": Parameter(1, "decides folds, sets and networks", low=0, high=1000),
    "workers": Parameter(2, "processes on this machine", low=1),
    "threads": Parameter(1, "threads of each process", low=1),
}


# --- Checks --------------------------------------------------------------------------------------


def check_values(**values: Any) -> None:
    """Refuse values of the wrong type, out of range, or unknown; other names are not checked.

    `arms` is a text with commas; "original" and "original_gan" must be among them.

    Raises:
        CourseError: A value is refused.
    """
    known = NOTEBOOKS | STUDY
    for name, value in values.items():
        if name in known:
            known[name].refuse(name, value)
    if "arms" in values:
        asked = split_names(values["arms"])
        if unknown := asked - set(IN_NOTEBOOK):
            raise CourseError(f"arms: {min(unknown)!r} is unknown: use {', '.join(IN_NOTEBOOK)}.")
        if missing := {"original", "original_gan"} - asked:
            raise CourseError(f"arms: {min(missing)} is missing: it must always be named.")


def split_names(text: str) -> set[str]:
    """The names in a text, between its commas."""
    return {name.strip() for name in text.split(",") if name.strip()}


def describe(names: Container[str]) -> str:
    """The notebooks' parameters with these names, one per line, for `--help`."""
    lines = []
    for name, known in NOTEBOOKS.items():
        if name in names:
            choices = f": {', '.join(known.choices)}" if known.choices else ""
            lines.append(f"  {name:<18} {known.default!r:<13} {known.text}{choices}")
    return "\n".join(lines)
