"""Write both conda environments from pyproject.toml: python binder/conda_environments.py

`environment.yml` is for your own machine, `binder/environment.yml` for Binder, which has no GPU.
`make lock` runs this file.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "3.12"
HEADS = {
    "environment.yml": (
        "conda env create -f environment.yml; conda activate gan-augmentation-course; "
        "pip install --no-deps -e ."
    ),
    "binder/environment.yml": "TensorFlow without GPUs; postBuild installs the helpers.",
}


def environments() -> dict[str, str]:
    """The text of each file, by its path in the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = {}
    for path, head in HEADS.items():
        lines = [
            f"# {head}",
            "# Made by `make lock` from pyproject.toml.",
            f"name: {project['name']}",
        ]
        lines += ["channels:", "  - conda-forge", "dependencies:", f"  - python={PYTHON}"]
        lines += ["  - pip", "  - pip:"]
        for dependency in project["dependencies"]:
            if path.startswith("binder/"):
                dependency = dependency.replace("tensorflow>", "tensorflow-cpu>")
            lines.append(f"      - {dependency}")
        texts[path] = "\n".join(lines) + "\n"
    return texts


def main() -> None:
    """Write the files."""
    for path, text in environments().items():
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
