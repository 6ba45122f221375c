"""A healthy training and four that fail, three times over: the signs that exercise 03.4 asks about.

    make course && python experiments/failures.py

Runs notebook 03's own cells on a copy of `runs/quick`, whose training is finished, and its gallery
of failures once more with other seeds. `results/failures.json` gets one row a training.
"""

import argparse
import contextlib
import io
import os
import shutil
import tempfile
from pathlib import Path

import nbformat

from course.run import load_parameters
from helpers import files, machine

RESULTS = files.RESULTS / "failures.json"
NOTEBOOK = files.PROJECT / "notebooks" / "03_training.ipynb"
SEEDS = (2019, 2020, 2021)
SIGNS = ("variety", "output_on_real", "output_on_fake", "generator_gradient")


def cells_to_run() -> tuple[list[str], list[str]]:
    """The notebook's code up to its gallery, and that of the gallery up to its table of signs."""
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    code = [cell.source for cell in cells if "colab" not in cell.metadata.get("tags", [])]
    first = next(k for k, source in enumerate(code) if "def train_briefly(" in source)
    last = next(k for k, source in enumerate(code) if "signs = " in source)
    return code[:first], code[first : last + 1]


def copy_run(run: Path, folder: str | Path) -> None:
    """Copy what the notebook reads, and what it takes a folder for a run's by."""
    for name in ("prepared.npz", "split.csv", "metrics.json", "run.json"):
        shutil.copy(files.require_file(run / name, "01_preprocessing"), folder)


def main() -> None:
    """Train to the gallery, go through it with each seed, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=files.PROJECT / "runs" / "quick")
    run = parser.parse_args().run.resolve()
    os.environ["MPLBACKEND"] = "agg"
    before, gallery = cells_to_run()
    rows, place = [], {}
    with tempfile.TemporaryDirectory() as copy, contextlib.redirect_stdout(io.StringIO()):
        copy_run(run, copy)
        values = load_parameters("quick") | {
            "out_dir": copy, "checkpoints_dir": str(run / "checkpoints")
        }  # fmt: skip
        for source in before:
            exec(source, place)
            place |= {name: value for name, value in values.items() if name in place}
        for seed in SEEDS:
            place["seed"] = seed
            for source in gallery:
                exec(source, place)
            for training, signs in place["signs"].iterrows():
                kept = signs[list(SIGNS)].to_dict()
                rows.append({"training": training, "seed": seed} | kept)
        steps = {name: place[name] for name in ("gan_steps", "gallery_steps")}
        precision = place["trained"][place["positive"]].precision
    for row in rows:
        print(row)
    files.write_json(
        RESULTS,
        {
            "command": "python experiments/failures.py",
            "settings": steps | {"profile": "quick", "precision": precision},
            "versions": machine.versions(),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
