"""The report of a run: one HTML file with every picture inside, and the table for the terminal."""

import base64
import datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from helpers import __version__, files, plots
from helpers.arms import ARMS
from helpers.verdict import WORDS, deciding


def write_report(folder: Path) -> Path:
    """Write `report.html`: one file with every picture inside, from `metrics.json` and figures."""
    metrics = files.read_json(files.require_file(folder / "metrics.json", "05_evaluation"))
    figures = inline_figures(folder)
    return render(
        "report.html", folder, m=metrics, figures=figures, title=metrics["profile"],
        tables=scores_by_classifier(metrics),
        balanced=deciding(metrics["arms"]) == "balanced_accuracy",
    )  # fmt: skip


def inline_figures(folder: Path) -> dict[str, str]:
    """The pictures in the run's `figures`, by name, as addresses that contain the whole picture."""
    return {
        path.stem: f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        for kind in ("png", "gif")
        for path in (folder / "figures").glob(f"*.{kind}")
    }


def render(template: str, folder: Path, **content: Any) -> Path:
    """Fill one of the HTML templates, and write it as `report.html`.

    Args:
        template: A name in `templates`.
        folder: Where to.
        content: What the template names.

    Returns:
        The path of the report.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
    span = "{:.0f} to {:.0f}\N{NO-BREAK SPACE}%".format
    environment.filters["interval"] = lambda pair: span(*(100 * edge for edge in pair))
    environment.filters["p_value"] = lambda p: f"{p:.3f}" if p >= 0.0005 else "< 0.001"
    made = datetime.date.today().isoformat()
    environment.globals |= {
        "titles": {name: kind.title for name, kind in ARMS.items()}, "made": made,
        "classifier_titles": plots.CLASSIFIER_TITLES, "version": __version__,
    }  # fmt: skip
    html = environment.get_template(template).render(**content)
    with files.atomic_write(folder / "report.html") as temporary:
        temporary.write_text(html, encoding="utf-8")
    return folder / "report.html"


def scores_by_classifier(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The scores of all arms: of the classifier that was chosen, and of *bundled* beside it."""
    return {metrics["classifier"]["name"]: metrics["arms"], "bundled": metrics["bundled"]}


def arms_tables(metrics: dict[str, Any]) -> str:
    """The arms as plain tables for the terminal, one for each classifier.

    Args:
        metrics: The content of `metrics.json`; `arms`, `bundled`, `classifier`, `split` are read.
    """
    decides = deciding(metrics["arms"])
    shares = dict.fromkeys((decides, "accuracy", "sensitivity", "specificity"))
    interval = f"95 % ({WORDS[decides]})"
    tables = []
    for classifier, scores in scores_by_classifier(metrics).items():
        rows = {
            ARMS[name].title: {WORDS.get(key, key): f"{100 * arm[key]:.1f} %" for key in shares}
            | {
                "AUC": f"{arm['auc']:.2f}",
                interval: "{:.0f} to {:.0f} %".format(*(100 * x for x in arm[f"{decides}_ci"])),
            }
            for name, arm in scores.items()
        }
        title = plots.CLASSIFIER_TITLES[classifier]
        heading = f"{title} · {metrics['split']['test']['images']} test images"
        tables.append(f"{heading}\n{pd.DataFrame.from_dict(rows, orient='index').to_string()}")
    return "\n\n".join(tables)
