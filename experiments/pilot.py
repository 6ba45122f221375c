"""Which strength of penalty does the classifier *bundled* get? Six pilot sets, never scored again.

    python experiments/pilot.py

One `C` serves all arms and all sets, and it is fixed before any study: a choice made on a study's
own sets would flatter whichever arm it suits. Chosen is the smallest `C`, the strongest penalty,
whose balanced accuracy, on average over arms, sizes and sets, is within half a point of the best.
Each pilot set has 144 simulated slices, of which the
36 first are a set of their own, and 432 true slices of other people for the arm *oracle*. Scored
are 2,000 further slices.
"""

import argparse
import sys
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from course.commands import command
from course.replicate import ADDED
from helpers import files, machine
from helpers.arms import ARMS

RESULTS = files.RESULTS / "pilot.json"
CHOICES = (0.01, 0.03, 0.1, 0.3, 1.0)
CLOSE = 0.005  # of balanced accuracy
SETS, SIZES, MOST, TEST = 6, (36, 144), 144, 2000


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each strength, and the choice."""
    means = {c: float(np.mean([row["score"] for row in rows if row["C"] == c])) for c in CHOICES}
    chosen = min(c for c, mean in means.items() if mean > max(means.values()) - CLOSE)
    return {"mean_balanced_accuracy": {str(c): x for c, x in means.items()}, "chosen": chosen}


@command
def main(arguments: list[str] | None = None) -> None:
    """Fit the arms of all sets with each strength, and keep their balanced accuracy."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(arguments)
    machine.setup()
    from helpers import bundled, preprocessing, trunk

    test, truth = preprocessing.fresh_slices(TEST, 33_000)
    test = trunk.features(test)
    rows = []
    for number in range(SETS):
        images, labels = preprocessing.fresh_slices(MOST, 33_001 + 2 * number)
        new, new_labels = preprocessing.fresh_slices(ADDED * MOST, 33_002 + 2 * number)
        views = bundled.view_features(images, ARMS["classic_long"].views)
        new_views = bundled.view_features(new, ARMS["oracle"].views)
        for size in SIZES:
            long, real = views[:size], views[:size, : ARMS["classic"].views]
            added = new_views[: ADDED * size], new_labels[: ADDED * size]
            for c in CHOICES:
                heads = {
                    "classic": bundled.fit_head(
                        [bundled.weigh_classes(real, labels[:size], size)], real, c=c
                    ),
                    "classic_long": bundled.fit_head(
                        [bundled.weigh_classes(long, labels[:size], size)], long, c=c
                    ),
                    "oracle": bundled.fit_with_added(real, labels[:size], *added, c=c),
                }
                for arm, head in heads.items():
                    score = float(balanced_accuracy_score(truth, head.answer(test) >= 0.5))
                    rows.append({"set": number, "images": size, "C": c, "arm": arm, "score": score})
        print(f"{number + 1} of {SETS} sets", flush=True)
    content = {
        "command": " ".join(["python experiments/pilot.py", *sys.argv[1:]]),
        "settings": {"sets": SETS, "sizes": SIZES, "added": ADDED, "test": TEST},
        "versions": machine.versions(),
        "summary": summarise(rows),
        "rows": rows,
    }
    files.write_json(RESULTS, content)


if __name__ == "__main__":
    sys.exit(main())
