"""Install what Colab lacks, and change no package that it has.

Run by the first cell of each notebook. If pip replaced Colab's TensorFlow, the new one might not
find the GPU. So every installed package is pinned to its version while pip works.

To try Colab's versions elsewhere: python binder/colab.py --as-in FILE. FILE is the output of
`pip freeze` in Colab. The versions in it that the course needs are installed first.
"""

import argparse
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
UNUSED = {"jupyterlab", "nbval"}  # Colab brings its own interface


def needed() -> dict[str, str]:
    """The course's dependencies as `pyproject.toml` has them, by plain name."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {_plain(re.split(r"[<>=!\[ ]", line)[0]): line for line in project["dependencies"]}


def missing() -> list[str]:
    """The course's dependencies that aren't installed."""
    present = {_plain(found.metadata["Name"]) for found in importlib.metadata.distributions()}
    return [line for name, line in needed().items() if name not in present | UNUSED]


def as_in(frozen: str) -> list[str]:
    """Of what `pip freeze` prints, the lines of the course's dependencies."""
    pins = re.findall(r"^([\w.-]+)==(\S+)$", frozen, re.MULTILINE)
    return [f"{name}=={version}" for name, version in pins if _plain(name) in needed()]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: list[str] | None = None) -> None:
    """Install what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--as-in", type=Path, help="what Colab has installed, by pip freeze")
    frozen = parser.parse_args(arguments).as_in
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    if frozen:
        subprocess.run([*pip, *as_in(frozen.read_text(encoding="utf-8"))], check=True)
        importlib.invalidate_caches()
    if wanted := missing():
        with tempfile.TemporaryDirectory() as folder:
            pins = Path(folder) / "pins.txt"
            found = importlib.metadata.distributions()
            text = "\n".join(f"{x.metadata['Name']}=={x.version}" for x in found)
            pins.write_text(text, encoding="utf-8")
            subprocess.run([*pip, "--constraint", str(pins), *wanted], check=True)
    print(f"Installed: {', '.join(wanted) or 'nothing was missing'}.")


if __name__ == "__main__":
    main()
