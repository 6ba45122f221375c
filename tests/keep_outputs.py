"""Keep what `make outputs` made: python tests/keep_outputs.py QUICK_RUN SMOKE_RUN

What the quick run's executed notebooks show goes into `notebooks/` (06 and 07 keep what they have,
where they were not run this time), its real slices above generated ones into `quick.png` in
`experiments/results`, and what both runs took into `quick.json` there, or, where training chose
float32, into `quick_float32.json`.

Each notebook then says, in its metadata, from which code its outputs come, so that a test can tell
outputs that the code has left behind.
"""

import base64
import io
import json
import os
import re
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
OTHERS = ("06_beyond_the_paper", "07_your_own_images")  # no part of the course's own run


def code_hash(notebook: nbformat.NotebookNode) -> str:
    """Changes with any code cell but the first, which does nothing outside of Colab."""
    from helpers.machine import digest

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    kept = [cell for cell in code if "colab" not in cell.metadata.get("tags", [])]
    return digest(*[cell.source.encode() for cell in kept])


def shrink(png: bytes) -> bytes:
    """The same picture with at most 256 colours: about half the size."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(256)
    target = io.BytesIO()
    picture.save(target, "PNG", optimize=True)
    return target.getvalue()


def is_widget(output: nbformat.NotebookNode) -> bool:
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def keep(executed: Path, source: Path) -> None:
    """Write the outputs of `executed` into `source`, whose cells must be the same."""
    done, notebook = (nbformat.read(path, as_version=4) for path in (executed, source))
    done, _ = CoalesceStreamsPreprocessor().preprocess(done, {})  # cut anywhere by a busy machine
    ran = [c for c in done.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    assert [c.source for c in ran] == [c.source for c in notebook.cells], (
        f"{executed} is no run of {source} as it stands"
    )
    assert all(c.execution_count for c in ran if c.cell_type == "code"), f"{executed} was cut off"
    count = 0
    for cell, result in zip(notebook.cells, ran, strict=True):
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        # What libraries say on standard error is no part of the lesson, and sliders need a kernel.
        cell.outputs = [o for o in result.outputs if o.get("name") != "stderr" and not is_widget(o)]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            if "image/png" in output.get("data", {}):
                png = shrink(base64.b64decode(output.data["image/png"]))
                output.data["image/png"] = base64.b64encode(png).decode()
    notebook.metadata["outputs_of"] = code_hash(notebook)
    nbformat.write(notebook, source)


def keep_picture(run: Path) -> None:
    """Write `experiments/results/quick.png`, which the README shows."""
    picture = shrink((run / "figures" / "side_by_side.png").read_bytes())
    (ROOT / "experiments" / "results" / "quick.png").write_bytes(picture)


def keep_numbers(run: Path, smoke: Path | None = None) -> None:
    """Write what both runs cost, notebooks 06 and 07 included if they were run, and the machine."""
    from helpers import files

    metrics = files.read_json(run / "metrics.json")
    training = sum(gan["seconds"] for gan in metrics["gan"].values())
    if metrics["cost"]["seconds"]["03_training"] < training:
        print("training was resumed in this run, so its minutes are not kept")
        return
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    machine = {
        "processor": re.search(r"model name\s*: (.*)", cpuinfo)[1],
        "bfloat16": bool(re.search(r"\b(avx512_bf16|amx_bf16)\b", cpuinfo)),
        "cores": len(os.sched_getaffinity(0)),
    }
    numbers = {"command": "make outputs", "machine": machine}
    if smoke:
        numbers["smoke_cost"] = files.read_json(smoke / "metrics.json")["cost"]
    fast = all(gan["precision"].startswith("mixed_bfloat16") for gan in metrics["gan"].values())
    target = ROOT / "experiments" / "results" / ("quick.json" if fast else "quick_float32.json")
    before = files.read_json(target).get("cost", {}).get("seconds", {})
    for name in OTHERS:
        if (path := run / "notebooks" / f"{name}.ipynb").exists():
            notebook = nbformat.read(path, as_version=4)
            metrics["cost"]["seconds"][name] = notebook.metadata.papermill.duration
        elif name in before:
            metrics["cost"]["seconds"][name] = before[name]
    kept = ("profile", "seed", "versions", "cost", "trunk", "gan")
    files.write_json(target, numbers | {key: metrics[key] for key in kept})


if __name__ == "__main__":
    quick, smoke = map(Path, sys.argv[1:])
    simulated = json.loads((quick / "metrics.json").read_text())["data"]["simulated"]
    assert simulated, "only simulated slices may be shown in the repository"
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if path.stem not in OTHERS or (quick / "notebooks" / path.name).exists():
            keep(quick / "notebooks" / path.name, path)
    keep_picture(quick)
    keep_numbers(quick, smoke)
