"""What comes of the five edits that notebook 03 proposes under *Edit and see*.

    python experiments/edits.py

Runs notebook 03's own cells as in a class that does not wait: without the training, from the
networks that come with the course. Each edit is made in the cells, as a learner makes it, and then
trained for 30 steps with five seeds. `results/edits.json` gets one row a training.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import nbformat
import pandas as pd
import papermill

from course.commands import command
from course.params import load_parameters
from helpers import files, machine

RESULTS = files.RESULTS / "edits.json"
NOTEBOOKS = files.PROJECT / "notebooks"
SEEDS = (2019, 2020, 2021, 2022, 2023)
RATE = "settings.discriminator_learning_rate"
SLICES = 'tf.constant(prepared.part("train", 1)[0])'
# By the name of an edit: what is replaced, and by what.
EDITS = {
    "none": {},
    "wrong target": {"tf.ones_like(on_fake)": "tf.zeros_like(on_fake)"},
    "wrong range": {f"images = {SLICES}": f"images = ({SLICES} + 1) / 2"},
    "no penalty": {"if not recipe.penalty_weight:": "if True:"},
    "neither soft nor noisy": {
        "1.0 - recipe.soften_real * drawn": "1.0",
        "recipe.soften_generated * drawn": "0.0",
    },
    "discriminator too strong": {RATE: f"10 * {RATE}"},
}
NUMBERS = ("output_on_real", "output_on_fake", "discriminator_gradient")
# Runs at the end; its output is read back.
TELL = f"""
import json
told = []
for seed in {SEEDS}:
    pictures, numbers = train_briefly(chosen)
    heads = measures.like_a_slice(pictures, prepared.part("train", 1)[0])
    row = {{"seed": seed}} | {{name: numbers[name] for name in {NUMBERS}}}
    grey = float(pictures.mean())
    told.append(row | {{"mean_grey": grey, "heads": int(heads.sum()), "precision": fastest}})
print(json.dumps(told))
"""


def compose(edit: dict[str, str]) -> nbformat.NotebookNode:
    """Notebook 03 without its training, up to `train_briefly`, edited; then a cell that tells."""
    notebook = nbformat.read(NOTEBOOKS / "03_training.ipynb", 4)
    sources = [cell.source for cell in notebook.cells]
    first = next(k for k, source in enumerate(sources) if "training.train_gan(" in source)
    after = next(k for k, source in enumerate(sources) if "## How it fails" in source)
    last = next(k for k, source in enumerate(sources) if "def train_briefly(" in source)
    cells = notebook.cells[:first] + notebook.cells[after : last + 1]
    notebook.cells = [cell for cell in cells if cell.cell_type == "code"]
    for old, new in edit.items():
        (cell,) = (cell for cell in notebook.cells if old in cell.source)
        assert cell.source.count(old) == 1, f"03 has {old!r} more than once"
        cell.source = cell.source.replace(old, new)
    notebook.cells.append(nbformat.v4.new_code_cell(TELL))
    return notebook


def execute(notebook: nbformat.NotebookNode, parameters: dict, folder: Path) -> list[dict]:
    """Run it with those of the parameters that it has; what its last cell printed."""
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)
    own = {k: parameters[k] for k in papermill.inspect_notebook(path) if k in parameters}
    done = papermill.execute_notebook(path, None, own, cwd=files.PROJECT, progress_bar=False)
    last = done.cells[-1]
    if last.source != TELL:
        return []
    return json.loads("".join(out.text for out in last.outputs if out.name == "stdout"))


@command
def main(arguments: list[str] | None = None) -> None:
    """Prepare the slices, train with each edit, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        parameters = load_parameters("quick") | {"out_dir": folder}
        execute(nbformat.read(NOTEBOOKS / "01_preprocessing.ipynb", 4), parameters, Path(folder))
        for name, edit in EDITS.items():
            for told in execute(compose(edit), parameters, Path(folder)):
                rows.append({"edit": name} | told)
            print(pd.DataFrame(rows).tail(len(SEEDS)).round(3).to_string(index=False), flush=True)
    content = {
        "command": "python experiments/edits.py",
        "settings": {"steps": parameters["gallery_steps"], "recipe": parameters["recipe"]},
        "versions": machine.versions(),
        "rows": rows,
    }
    files.write_json(asked.results, content)


if __name__ == "__main__":
    sys.exit(main())
