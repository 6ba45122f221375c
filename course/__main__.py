"""The program beside the notebooks: `python -m course COMMAND …`."""

import importlib
import sys

from helpers import machine
from helpers.files import CourseError

COMMANDS = {
    "run": "run notebooks 01 to 05, then print the table of arms and the verdict",
    "check": "read a folder of images and say what is in it",
    "baseline": "measure a folder before any GAN, and whether more images would help",
    "study": "eight folds of a folder (or simulated sets), and the answer by a rule",
    "audit": "audit anybody's generated images",
    "fetch": "download the real 200 slices from Kaggle",
}


def main(arguments: list[str]) -> int:
    """Hand the arguments to a command's module, which is imported only then."""
    name = arguments[0] if arguments else "--help"
    if name in COMMANDS:
        try:
            if name in ("baseline", "audit"):  # these two compute in this process
                machine.setup()
            elif name in ("run", "study"):  # theirs load TensorFlow later
                machine.check_keras()
        except CourseError as error:
            print(error, file=sys.stderr)
            return 2
        module = importlib.import_module(f"course.{'kaggle' if name == 'fetch' else name}")
        return module.main(arguments[1:])
    lines = [f"  {command:<10}{meaning}" for command, meaning in COMMANDS.items()]
    usage = "\n".join(["usage: python -m course COMMAND [--help] …", "", *lines])
    if name in ("-h", "--help"):
        print(usage)
        return 0
    print(f"{name} is no command: use one of {', '.join(COMMANDS)}.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
