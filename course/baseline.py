"""Measure a folder before any GAN: accuracy, learning curve, and room for more images.

python -m course baseline FOLDER [--json] [--out OUT]
"""

import argparse
import json

import numpy as np

from course.commands import add_folder_options, folder_command, merge_params, require_own
from helpers import baseline, files, parameters, preprocessing
from helpers.folder import examine, lines, refuse_inside


@folder_command
def main(arguments: list[str] | None = None) -> None:
    """The command line.

    `--json` prints the numbers of `helpers.baseline.measure_baseline` instead of its text, without
    `probabilities`. `--out` names a folder for `baseline.json` (the same numbers), `baseline.png`
    (the learning curve) and `baseline.csv` (file, label, group and probability of each image).
    """
    parser = argparse.ArgumentParser(prog="python -m course baseline", description=__doc__)
    parser.add_argument("folder", help="folder of the images; nothing is written there")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--out", help="folder for baseline.json, baseline.png and baseline.csv")
    usual = parameters.NOTEBOOKS["seed"].default
    words = f"seed of folds and learning curve (default: seed of --params, or {usual})"
    parser.add_argument("--seed", type=int, help=words)
    add_folder_options(parser, leave=("given_split",))
    asked = argparse.Namespace(**merge_params(vars(parser.parse_args(arguments)), "seed"))
    if asked.out:
        refuse_inside(asked.out, asked.folder)
        require_own(out := files.project_path(asked.out), "baseline.json")
    examined = examine(asked.folder, asked.seed, vars(asked), strict=False)
    slices = examined.slices
    if not asked.json:
        print(*lines(examined, split=False), sep="\n", flush=True)
    table = slices.table.assign(group=examined.grouping.groups)
    if asked.out:
        files.make_folder(out)
    images = preprocessing.prepare(slices.greys)
    labels, groups = (table[name].to_numpy() for name in ("label", "group"))
    found = baseline.measure_baseline(images, labels, groups, asked.seed)
    table["probability"] = np.round(found.pop("probabilities"), 6)
    if asked.out:
        files.write_json(out / "baseline.json", found)
        with files.atomic_write(out / "baseline.png") as temporary:
            baseline.draw_curve(found).savefig(temporary, dpi=120)
        with files.atomic_write(out / "baseline.csv") as temporary:
            table[["file", "label", "group", "probability"]].to_csv(temporary, index=False)
    print(json.dumps(found, indent=2) if asked.json else found["text"])
