"""What a run starts from: the values of a profile, and of the file that `--params` names."""

import ast
import difflib
import json
from pathlib import Path
from typing import Any

import yaml

from helpers import files, parameters
from helpers.files import CourseError

FOLDERS = {"data_dir", "out_dir", "checkpoints_dir"}
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
    return values | {"profile": profile}


def read_parameters(path: Path) -> dict[str, Any]:
    """The values of a YAML file.

    Raises:
        CourseError: It cannot be read, or has a name that no notebook declares.
    """
    content = _read_yaml(path)
    declared = may_change()
    for name in content:
        if name not in declared:
            raise CourseError(f"{path}: {_why_unknown(str(name), declared)}")
    return content


def _read_yaml(path: Path) -> dict[str, Any]:
    """The content of a YAML file of names and values; none may come twice."""
    try:
        text = path.read_text(encoding="utf-8")
        content, node = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except FileNotFoundError:
        raise CourseError(f"{path} does not exist: correct the path.") from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read ({error.strerror}): name a file.") from None
    except UnicodeDecodeError:
        raise CourseError(f"{path} is no UTF-8 text: save it with this encoding.") from None
    except (ValueError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path} line {mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise CourseError(
            f"{where} cannot be read as YAML ({reason}): write lines such as positive: tumour, "
            "and a text with a backslash in single quotes."
        ) from None
    if content is None:  # an empty file
        return {}
    if not isinstance(content, dict):
        raise CourseError(
            f"{path} must hold lines of the form name: value, with a space after the colon."
        )
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            raise CourseError(
                f"{path} has {key.value} twice, in lines {lines[key.value]} and {line}: delete one."
            )
        lines[key.value] = line
    return content


def _why_unknown(name: str, declared: set[str]) -> str:
    """Why a file may not have a parameter of this name, and what to do."""
    if name in FOLDERS:
        return f"{name} is a folder: give folders with the command, as --data and --out."
    if name in parameters.STUDY:
        return f"{name} is an option of a study: give it as --{name.replace('_', '-')}."
    if name in parameters.NOTEBOOKS:
        return f"{name} belongs to notebook 06 or 07, which no run includes: delete this line."
    near = difflib.get_close_matches(name, declared, 1)
    use = near[0] if near else f"one of {', '.join(sorted(declared))}"
    return f"no notebook has a parameter {name!r}: use {use}."


def may_change() -> set[str]:
    """The parameters of the notebooks that a file may change.

    Folders come from the command line only, since the command checks and clears them.
    """
    return set().union(*declared_parameters().values()) - FOLDERS


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
