"""Fit Colab to the course: install what is missing there, and change nothing that is.

Run by the first cell of each notebook. Everything installed is pinned to its version while pip
works, TensorFlow first of all: another one than Colab's may not find Colab's GPU.
"""

import importlib.metadata
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
UNUSED = {"jupyterlab", "nbval"}  # Colab brings its own interface


def missing() -> list[str]:
    """The course's dependencies that aren't installed."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    present = {_plain(found.metadata["Name"]) for found in importlib.metadata.distributions()}
    names = {line: _plain(re.split(r"[<>=!\[ ]", line)[0]) for line in project["dependencies"]}
    return [line for line, name in names.items() if name not in present | UNUSED]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Install what is missing."""
    if wanted := missing():
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
            found = importlib.metadata.distributions()
            pins.write("\n".join(f"{x.metadata['Name']}=={x.version}" for x in found))
            pins.flush()
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", pins.name]
            subprocess.run([*pip, *wanted], check=True)
    print(f"Installed: {', '.join(wanted) or 'nothing was missing'}.")


if __name__ == "__main__":
    main()
