"""Names and folders that a run may not use."""

import re
from pathlib import Path

from helpers.files import CourseError, project_path


def refuse_inside(out: str | Path, data: str | Path) -> None:
    """Refuse to write below a folder of images, or around it, where FRESH=1 would remove it.

    Raises:
        CourseError: One of the two folders is inside the other.
    """
    out, data = project_path(out), project_path(data)
    if out.is_relative_to(data):
        raise CourseError(f"OUT {out} is inside DATA {data}: choose another OUT.")
    if data.is_relative_to(out):
        raise CourseError(f"DATA {data} is inside OUT {out}: choose another OUT.")


def check_names(positive: str, negative: str) -> None:
    """Refuse names of the two classes that cannot be names of files, or are equal.

    Raises:
        CourseError: A name is refused.
    """
    for name in (positive, negative):
        if not (isinstance(name, str) and re.fullmatch(r"\w[\w .-]*", name)):
            raise CourseError(
                f"the class name {name!r} goes into file names: use letters, digits, spaces and "
                "_ . -, and quotes in a YAML file where the name is a word such as yes or a "
                "number; if it is a label of your data, rename it there, too."
            )
    if positive == negative:
        raise CourseError(f"both classes are called {positive!r}: give each its own name.")
