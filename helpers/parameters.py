"""Allowed values of the parameters that a user gives."""

from typing import Any

from helpers.files import CourseError

# Allowed ranges of integer parameters. (Seeds have 32 bits.)
LOWEST = {
    "seed": 0, "split_seed": 0, "gan_steps": 1, "preview_every": 1, "checkpoint_every": 1,
    "gallery_steps": 1, "samples_per_class": 10, "classifier_size": 32, "classifier_steps": 1,
    "fresh_count": 2, "splits": 1, "seeds": 1, "first_seed": 0, "workers": 1, "threads": 1,
}  # fmt: skip
HIGHEST = 2_000_000_000
CHOICES = {
    "classifier": ("resnet50", "resnet50-imagenet", "bundled"),
    "protocol": ("steps", "paper"),
}
ARMS = (
    "original", "gan_only", "original_gan", "classic", "classic_gan", "control_shuffled",
    "duplicated",
)  # fmt: skip


def check_values(**values: Any) -> None:
    """Refuse values of the wrong type, out of range, or unknown; other names are not checked.

    `arms` is a text with commas; "original" and "original_gan" must be among them.

    Raises:
        CourseError: A value is refused.
    """
    for name, least in LOWEST.items():
        value = values.get(name, least)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= HIGHEST:
            raise CourseError(f"{name} is {value!r}: use a whole number from {least} to {HIGHEST}.")
    for name, known in CHOICES.items():
        if values.get(name, known[0]) not in known:
            raise CourseError(f"{name} {values[name]!r} is unknown: use one of {', '.join(known)}.")
    for name in ("arms", "id_column", "label_column", "patient_column"):
        if not isinstance(values.get(name, ""), str):
            raise CourseError(f"{name} is {values[name]!r}: write it as one text, in quotes.")
    if not isinstance(dose := values.get("dose", 0), int | float) or not 0 <= dose <= HIGHEST:
        raise CourseError(f"dose is {dose!r}: use a number, 0 or more, with a point.")
    asked = split_names(values.get("arms", "original, original_gan"))
    if unknown := asked - set(ARMS):
        raise CourseError(f"arms: {min(unknown)!r} is unknown: use {', '.join(ARMS)}.")
    if missing := {"original", "original_gan"} - asked:
        raise CourseError(f"arms: {min(missing)} is missing: it must always be named.")
    shares = values.get("learning_curve", [])
    if not isinstance(shares, list) or not all(isinstance(x, float) and 0 < x < 1 for x in shares):
        raise CourseError(
            f"learning_curve is {shares!r}: use a list of shares between 0 and 1, as [0.25, 0.5], "
            "or [] for no curve."
        )


def split_names(text: str) -> set[str]:
    """The names in a text, between its commas."""
    return {name.strip() for name in text.split(",") if name.strip()}
