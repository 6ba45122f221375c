"""What a user may say about a folder, checked before anything is read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from helpers.files import CourseError

LEAVE_OUT = ("blank", "masks")


@dataclass(frozen=True)
class Options:
    """How a folder is to be read, where it doesn't say so itself.

    `listing` is a path in the folder, or "none" where the folders are the classes; `leave_out` are
    kinds of images, of "blank" and "masks"; `window` are the stored values that become black and
    white.
    """

    listing: str = ""
    id_column: str = ""
    label_column: str = ""
    patient_column: str = ""
    patient_pattern: str = ""
    positive: str = ""
    classes: Sequence[str] = ()
    given_split: bool = False
    window: Sequence[float] = ()
    leave_out: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("listing", "id_column", "label_column", "patient_column", "patient_pattern",
                     "positive"):  # fmt: skip
            if not isinstance(getattr(self, name), str):
                value = getattr(self, name)
                raise CourseError(f"{name} is read as {value!r}: write it as one text, in quotes.")
        if not isinstance(self.given_split, bool):
            raise CourseError(f"given_split is {self.given_split!r}: write true or false.")
        if not _texts(self.classes) or len(self.classes) not in (0, 2):
            raise CourseError(
                f"classes is {self.classes!r}: write two labels as a list, in quotes where they "
                'are numbers, as ["MEL", "NV"].'
            )
        if not _texts(self.leave_out) or not set(self.leave_out) <= set(LEAVE_OUT):
            raise CourseError(f"leave_out is {self.leave_out!r}: use a list of blank and masks.")
        window = self.window
        numbers = isinstance(window, Sequence) and not isinstance(window, str)
        numbers = numbers and all(
            isinstance(x, int | float) and not isinstance(x, bool) for x in window
        )
        if not numbers or len(window) not in (0, 2) or (window and not window[0] < window[1]):
            raise CourseError(
                f"window is {window!r}: give the stored values of black and white, as [0, 1500]."
            )
        try:
            re.compile(self.patient_pattern)
        except re.error as error:
            raise CourseError(
                f"patient_pattern '{self.patient_pattern}' is no regular expression ({error}): "
                r"write one such as 'person(\d+)_'."
            ) from None


NAMES = tuple(field.name for field in fields(Options))


def from_parameters(parameters: dict[str, Any]) -> Options:
    """The options among a run's parameters."""
    return Options(**{name: parameters[name] for name in NAMES if name in parameters})


def _texts(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)
