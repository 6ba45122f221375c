"""What the commands share: their exit codes, and the options that several of them have."""

import argparse
import concurrent.futures
import functools
import signal
import sys
from collections.abc import Callable

from helpers import parameters
from helpers.files import CourseError
from helpers.folder import LEAVE_OUT


def add_folder_options(parser: argparse.ArgumentParser, leave: tuple[str, ...] = ()) -> None:
    """Add the options of `folder.read_folder` to a command, except those named in `leave`."""

    def text(name: str) -> str:
        return parameters.NOTEBOOKS[name].text

    for name in ("listing", "id_column", "label_column", "patient_column", "patient_pattern"):
        parser.add_argument(f"--{name.replace('_', '-')}", default="", help=text(name))
    if "positive" not in leave:
        words = "label of class 1, such as malignant; all other labels are class 0"
        parser.add_argument("--positive", default="", help=words)
    parser.add_argument("--classes", nargs=2, default=[], help=text("classes"))
    parser.add_argument("--given-split", action="store_true", help=text("given_split"))
    parser.add_argument("--window", nargs=2, type=float, default=[], help=text("window"))
    parser.add_argument(
        "--leave-out", nargs="+", default=[], choices=LEAVE_OUT, help=text("leave_out")
    )


def command(main: Callable[[list[str] | None], None]) -> Callable[..., int]:
    """Make a function a command that prints an error message, never a traceback.

    It returns the exit code: 0 done, 2 an error that the user can fix, 130 interrupted. SIGTERM
    counts as an interrupt, so kernels and workers end as they do with Ctrl-C.
    """

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            main(arguments)
        except CourseError as error:
            print(error, file=sys.stderr)
            return 2
        except PermissionError as error:
            print(f"{error.filename} is forbidden: change its permissions.", file=sys.stderr)
            return 2
        except (KeyboardInterrupt, concurrent.futures.CancelledError):
            print("\nStopped. The same command resumes from here.", file=sys.stderr)
            return 130
        return 0

    return run
