"""What the commands share: their exit codes, and the options that several of them have."""

import argparse
import concurrent.futures
import functools
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from course.params import read_parameters
from helpers import files, parameters
from helpers.files import CourseError
from helpers.folder import LEAVE_OUT, OPTIONS


def add_folder_options(parser: argparse.ArgumentParser, leave: tuple[str, ...] = ()) -> None:
    """Add the options of `folder.read_folder` to a command, except those named in `leave`.

    And `--params`, which names a file of such options, for `merge_params`.
    """

    def text(name: str) -> str:
        return parameters.NOTEBOOKS[name].text

    for name in ("listing", "id_column", "label_column", "patient_column", "patient_pattern"):
        parser.add_argument(f"--{name.replace('_', '-')}", default="", help=text(name))
    if "positive" not in leave:
        words = "label of class 1, such as malignant; all other labels are class 0"
        parser.add_argument("--positive", default="", help=words)
    parser.add_argument("--classes", nargs=2, default=[], help=text("classes"))
    if "given_split" not in leave:
        parser.add_argument("--given-split", action="store_true", help=text("given_split"))
    parser.add_argument("--window", nargs=2, type=float, default=[], help=text("window"))
    parser.add_argument(
        "--leave-out", nargs="+", default=[], choices=LEAVE_OUT, help=text("leave_out")
    )
    parser.add_argument("--params", type=Path, help="YAML file with options, as for a run")


def say_how(text: str) -> str:
    """How an option that a text names is typed behind a command; empty where it names none."""
    # "positive" is a word, too.
    words = [name if "_" in name else rf"{name}(:| is) " for name in OPTIONS]
    if ".yaml" in text or " is read as " in text or not re.search("|".join(words), text):
        return ""
    return (
        "(Here, an option such as label_column: sick is typed as --label-column sick, and a list "
        "such as classes: [a, b] as --classes a b; put quotes around a value with spaces.)"
    )


def merge_params(asked: dict[str, Any], seed: str = "") -> dict[str, Any]:
    """The options of a folder, with those of the file that `--params` names.

    What was typed counts more. Parameters that say nothing about a folder are passed over, so that
    the file of a run or of a study can be used.

    Args:
        asked: Of the command line; `params` among them.
        seed: The parameter that `--seed` sets, if the command has this option.

    Raises:
        CourseError: The file cannot be read, or has a name that no notebook declares; or the seed
            is no seed.
    """
    found = {name: value for name, value in asked.items() if name != "params"}
    given = {}
    if asked["params"] is not None:
        given = read_parameters(files.project_path(asked["params"]))
    for name in found.keys() & {*OPTIONS, "negative"}:
        found[name] = found[name] or given.get(name, found[name])
    if seed:
        if found["seed"] is None:
            found["seed"] = given.get(seed, parameters.NOTEBOOKS[seed].default)
        parameters.check_values(**{seed: found["seed"]})
    return found


def require_own(out: Path, name: str) -> None:
    """Refuse a folder with files that the command did not write, before anything is computed.

    Args:
        out: Folder for the command's results; missing, empty or one of its own.
        name: Of the file that the command writes first.

    Raises:
        CourseError: It is a file, cannot be read, or holds something else.
    """
    try:
        names = {path.name for path in out.iterdir()} if out.exists() else set()
    except OSError as error:
        raise CourseError(
            f"{out} cannot be a folder ({error.strerror}): choose another OUT."
        ) from None
    if name not in names and any(not each.startswith(".") for each in names):
        raise CourseError(f"{out} is not empty and holds no {name}: choose another OUT.")


def command(
    main: Callable[[list[str] | None], None], hint: Callable[[str], str] = lambda _: ""
) -> Callable[..., int]:
    """Make a function a command that prints an error message, never a traceback.

    `hint` adds a line to a message, or nothing. The command returns the exit code: 0 done, 1 nobody
    reads the output any more, 2 an error that the user can fix, 130 interrupted. SIGTERM counts as
    an interrupt, so kernels and workers end as they do with Ctrl-C.
    """

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        for stream in (sys.stdout, sys.stderr):  # a name may have letters that a terminal has not
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            main(arguments)
            sys.stdout.flush()
        except CourseError as error:
            print("\n".join(filter(None, [str(error), hint(str(error))])), file=sys.stderr)
            return 2
        except BrokenPipeError:  # whoever read the output has ended, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except PermissionError as error:
            print(f"{error.filename} is forbidden: change its permissions.", file=sys.stderr)
            return 2
        except OSError as error:
            if not error.filename:
                raise
            name = str(error.filename)
            name = name if len(name) < 200 else f"{name[:100]}…{name[-50:]}"
            print(f"{name} cannot be used ({error.strerror}): correct the path.", file=sys.stderr)
            return 2
        except (KeyboardInterrupt, concurrent.futures.CancelledError):
            print("\nStopped. Run the same again: what is finished is kept.", file=sys.stderr)
            return 130
        return 0

    return run


# A command with the options of `add_folder_options`, whose messages name them as a file has them.
folder_command = functools.partial(command, hint=say_how)
