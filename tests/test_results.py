"""What stands in `results/` follows from the rows that stand beside it, worked out by SciPy."""

import json

import numpy as np
import pandas as pd
from conftest import ROOT


def kept(name):
    return json.loads((ROOT / "results" / f"{name}.json").read_text())


def test_every_file_says_what_made_it():
    for path in (ROOT / "results").glob("*.json"):
        content = json.loads(path.read_text())
        command = content.get("command") or f"helpers.study {content['settings']}"
        assert "benchmarks/" in command or command == "make outputs" or "study" in command
        assert content["versions"]["tensorflow"]


def test_simulator():
    """One row a split and way, accuracies that so many test images can give, and no split twice."""
    rows = pd.DataFrame(kept("simulator")["rows"])
    assert not rows.duplicated(["split", "arm"]).any()
    assert (rows.groupby("arm").size() == rows["split"].nunique()).all()
    hits = rows["accuracy"] * rows["test_images"]
    assert np.allclose(hits, hits.round()) and rows["accuracy"].between(0, 1).all()
