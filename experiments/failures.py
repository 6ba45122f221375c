"""A healthy training and four that fail, three times over: the signs that exercise 03.4 asks about.

    make course && python experiments/failures.py

Runs notebook 03's own cells on a copy of `runs/quick`, whose training is finished, and its gallery
of failures once more with other seeds. `results/failures.json` gets one row a training.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
import papermill

from course.commands import command
from course.params import load_parameters
from helpers import files, machine

RESULTS = files.RESULTS / "failures.json"
NOTEBOOK = files.PROJECT / "notebooks" / "03_training.ipynb"
SEEDS = (2019, 2020, 2021)
SIGNS = ("variety", "output_on_real", "output_on_fake", "generator_gradient")
# Runs behind the gallery; its output is read back.
TELL = f"""
import json
told = {{"signs": signs[{list(SIGNS)}].to_dict("index"), "precision": trained[positive].precision}}
print(json.dumps(told))
"""


def compose() -> nbformat.NotebookNode:
    """Notebook 03 up to its gallery, then the gallery up to its table of signs, with each seed."""
    notebook = nbformat.read(NOTEBOOK, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    first = next(k for k, cell in enumerate(cells) if "def train_briefly(" in cell.source)
    last = next(k for k, cell in enumerate(cells) if "signs = " in cell.source)
    notebook.cells = cells[:first]
    for seed in SEEDS:
        sources = [f"seed = {seed}", *(cell.source for cell in cells[first : last + 1]), TELL]
        notebook.cells += [nbformat.v4.new_code_cell(source) for source in sources]
    return notebook


def read_told(notebook: nbformat.NotebookNode) -> list[dict]:
    """What the cells behind each gallery printed."""
    tellers = [cell for cell in notebook.cells if cell.source == TELL]
    return [json.loads("".join(output.text for output in cell.outputs)) for cell in tellers]


def copy_run(run: Path, folder: str | Path) -> None:
    """Copy what the notebook reads, and the files by which it recognises a run's folder."""
    for name in ("prepared.npz", "split.csv", "metrics.json", "run.json"):
        shutil.copy(files.require_file(run / name, "01_preprocessing"), folder)


@command
def main(arguments: list[str] | None = None) -> None:
    """Train to the gallery, go through it with each seed, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=files.PROJECT / "runs" / "quick")
    run = parser.parse_args(arguments).run.resolve()
    values = load_parameters("quick")
    with tempfile.TemporaryDirectory() as copy:
        copy_run(run, copy)
        path = Path(copy) / "failures.ipynb"
        nbformat.write(compose(), path)
        values |= {"out_dir": copy, "checkpoints_dir": str(run / "checkpoints")}
        declared = papermill.inspect_notebook(path)
        told = read_told(
            papermill.execute_notebook(
                path, path, {key: values[key] for key in declared if key in values},
                cwd=files.PROJECT, progress_bar=False,
            )
        )  # fmt: skip
    rows = [
        {"training": training, "seed": seed} | signs
        for seed, found in zip(SEEDS, told, strict=True)
        for training, signs in found["signs"].items()
    ]
    for row in rows:
        print(row)
    steps = {name: values[name] for name in ("gan_steps", "gallery_steps")}
    files.write_json(
        RESULTS,
        {
            "command": "python experiments/failures.py",
            "settings": steps | {"profile": "quick", "precision": told[0]["precision"]},
            "versions": machine.versions(),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
