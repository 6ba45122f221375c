"""Find unknown names and wrong types among the parameters that papermill injected.

papermill only warns about a name that is in no parameters cell, and uses the default.
"""

import ast
import json
from collections.abc import Iterable
from pathlib import Path

MARK = "# Parameters\n"  # the first line of the cell that papermill adds


def wrong_parameter(cells: Iterable[str], notebooks: Path) -> str:
    """An error message about the parameters that papermill injected, or an empty text.

    A profile's file has all notebooks' parameters, so names of other notebooks are right.

    Args:
        cells: The cells that have run so far, in their order.
        notebooks: Folder of the notebooks, whose parameters cells declare the names.
    """
    before: dict[str, object] = {}
    for cell in cells:
        if not cell.startswith(MARK):
            before = _values(cell)
            continue
        declared = {name for path in notebooks.glob("*.ipynb") for name in _declared(path)}
        for name, value in _values(cell).items():
            if name not in declared | set(before):
                known = ", ".join(sorted(before)) or "none"
                return f"no notebook has a parameter {name!r}: this one has {known}."
            if name in before and not _same_kind(before[name], value):
                kind = {bool: "true or false", int: "a whole number", float: "a number",
                        str: "a text, in quotes", list: "a list", dict: "a mapping"}  # fmt: skip
                wanted = kind.get(type(before[name]), "another kind of value")
                return f"{name} is {value!r}: use {wanted}."
    return ""


def _same_kind(default: object, value: object) -> bool:
    if default is None or type(default) is type(value):
        return True
    return isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)


def _values(source: str) -> dict[str, object]:
    """The plain values that a cell gives to names."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return {}
    found = {}
    for line in body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            try:
                found[line.targets[0].id] = ast.literal_eval(line.value)
            except ValueError:
                continue
    return found


def _declared(path: Path) -> dict[str, object]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    return _values("".join(tagged[0]["source"])) if tagged else {}
