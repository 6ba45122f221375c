"""What a run starts from: the values of a profile, and of the file that `--params` names."""

import ast
import difflib
import json
from pathlib import Path
from typing import Any

import yaml

from helpers import files
from helpers.files import CourseError

NOTEBOOKS = ("01_preprocessing", "02_networks", "03_training", "04_sampling", "05_evaluation")


def load_parameters(profile: str, extra: Path | None = None) -> dict[str, Any]:
    """The profile's values, changed by those of a further file.

    Raises:
        CourseError: An unknown profile, an unreadable file, or a name that no notebook declares.
    """
    known = sorted(path.stem for path in (files.PROJECT / "params").glob("*.yaml"))
    if profile not in known:
        raise CourseError(f"profile {profile!r} is unknown: choose one of {', '.join(known)}.")
    sources = [f"params/{profile}.yaml"] + ([extra] if extra else [])
    values: dict[str, Any] = {}
    for path in map(files.project_path, sources):
        values |= read_parameters(path)
    return values


def read_parameters(path: Path) -> dict[str, Any]:
    """The values of a YAML file.

    Raises:
        CourseError: It cannot be read, or has a name that no notebook declares.
    """
    declared = may_change()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise CourseError(f"{path} does not exist: correct the path.") from None
    except UnicodeDecodeError:
        raise CourseError(f"{path} is no UTF-8 text: save it with this encoding.") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).split("\n")[0]
        raise CourseError(
            f"{path} cannot be read as YAML ({reason}): write lines such as positive: tumour."
        ) from None
    if not isinstance(content, dict):
        raise CourseError(f"{path} must hold lines of the form name: value.")
    for name in content:
        if name not in declared:
            near = difflib.get_close_matches(str(name), declared, 1)
            use = near[0] if near else f"one of {', '.join(sorted(declared))}"
            raise CourseError(f"{path}: no notebook has a parameter {name!r}: use {use}.")
    return content


def may_change() -> set[str]:
    """The parameters of the notebooks that a file may change.

    Folders come from the command line only, since the command checks and clears them.
    """
    declared = set().union(*declared_parameters().values())
    return declared - {"data_dir", "out_dir", "checkpoints_dir"}


def declared_parameters() -> dict[str, set[str]]:
    """The names in each notebook's parameters cell.

    `papermill.inspect_notebook` gives the same; to import it takes two seconds, in which a refusal
    would wait.
    """
    declared = {}
    for name in NOTEBOOKS:
        cells = json.loads(notebook_path(name).read_text(encoding="utf-8"))["cells"]
        cell = next(c for c in cells if "parameters" in c["metadata"].get("tags", []))
        lines_of_code = ast.parse("".join(cell["source"])).body
        declared[name] = {target.id for line in lines_of_code for target in line.targets}
    return declared


def notebook_path(name: str) -> Path:
    """The path of a notebook, by its name, such as `03_training`."""
    return files.PROJECT / "notebooks" / f"{name}.ipynb"
