"""What the commands share: how they end, and the options that several of them take."""

import argparse
import concurrent.futures
import functools
import signal
import sys
from collections.abc import Callable

from helpers.files import CourseError
from helpers.folder import LEAVE_OUT


def add_folder_options(parser: argparse.ArgumentParser, leave: tuple[str, ...] = ()) -> None:
    """Let a command take the options of `folder.read_folder`, but for those named in `leave`."""
    texts = {
        "listing": "the table that lists the images; none: the folders are the classes",
        "id_column": "column of the listing that names the image",
        "label_column": "column that holds the label",
        "patient_column": "column that says whose the image is",
        "patient_pattern": r"regular expression that finds the patient in a path: 'person(\d+)_'",
        "positive": "the label to be found, of two, or against all others",
    }
    for name, words in texts.items():
        if name not in leave:
            parser.add_argument(f"--{name.replace('_', '-')}", default="", help=words)
    parser.add_argument("--classes", nargs=2, default=[], help="two labels, where there are more")
    parser.add_argument("--given-split", action="store_true", help="keep the split that is given")
    parser.add_argument(
        "--window", nargs=2, type=float, default=[], help="stored values of black and white"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=[], choices=LEAVE_OUT, help="kinds of images to drop"
    )


def command(main: Callable[[list[str] | None], None]) -> Callable[..., int]:
    """Make a function a command that ends in a sentence, never in a stack.

    It returns the exit code: 0 done, 2 something to mend, 130 interrupted, by SIGTERM too, so that
    kernels and workers end as they do with Ctrl-C.
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
            print("\nStopped. The same command goes on from here.", file=sys.stderr)
            return 130
        return 0

    return run
