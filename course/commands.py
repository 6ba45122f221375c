"""What the commands share: how they end, and the options that several of them take."""

import argparse
import concurrent.futures
import functools
import signal
import sys
from collections.abc import Callable

from helpers.files import CourseError
from helpers.folder import COLUMNS


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """Let a command take the columns of `labels.csv` by name, as `read_folder` does."""
    for name in COLUMNS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, default="", help="in labels.csv, if it has another name")


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
