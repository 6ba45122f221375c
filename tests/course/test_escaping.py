"""Names and texts with markup in them: in a report they are shown, and never become markup."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from conftest import ROOT
from folders import plain, write_csv

from course import report
from helpers.folder import examine, lines

MARKUP = '<script src=x>alert(1)</script><img src=x onerror=\'a()\'>" onload="b()"><b>&lt;i&gt;'
# Texts that the templates look something up by.
KEYS = {"name", "protocol"}


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, sorted(name for name, _ in attributes)))

    def handle_data(self, data):
        self.text += data


def with_markup(value, classes, key=""):
    """The same metrics with markup in each text and in the names of the classes."""
    if isinstance(value, dict):
        return {
            MARKUP + name if name in classes else name: with_markup(inner, classes, name)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [with_markup(inner, classes, key) for inner in value]
    return MARKUP + value if isinstance(value, str) and key not in KEYS else value


def test_a_report_shows_markup_and_has_none_of_it(smoke, tmp_path):
    metrics = json.loads((smoke[0] / "metrics.json").read_text(encoding="utf-8"))
    metrics["data"] |= {
        "check": ["listing: labels.csv"], "warnings": [{"kind": "x", "text": "a name"}],
        "modes": {"RGB": 3},
    }  # fmt: skip
    pages = []
    for content in (metrics, with_markup(metrics, metrics["classes"])):
        shutil.copytree(smoke[0] / "figures", tmp_path / "figures", dirs_exist_ok=True)
        (tmp_path / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
        pages.append(Tags(report.write_report(tmp_path).read_text(encoding="utf-8")))
    plain_page, page = pages
    # A figure of a class is found by its name, which is another one now.
    figures = {("figure", ()), ("img", ("alt", "src")), ("figcaption", ())}
    kept = [[t for t in p.tags if (t[0], tuple(t[1])) not in figures] for p in pages]
    assert kept[0] == kept[1]
    assert page.text.count("<script src=x>") > 10 and "script" not in dict(page.tags)
    assert MARKUP not in plain_page.text


def test_every_template_escapes():
    """None switches it off, and none is filled by anything else than `render`."""
    templates = list((ROOT / "course" / "templates").glob("*.html"))
    assert len(templates) >= 4
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape|Markup|<script", text), path.name
    sources = [p.read_text(encoding="utf-8") for p in (ROOT / "course").rglob("*.py")]
    made = [match for text in sources for match in re.findall(r"jinja2\.\w+\(", text)]
    assert made.count("jinja2.Environment(") == 1 and "autoescape=True" in "".join(sources)


def test_notebooks_and_helpers_show_no_html_of_their_own():
    """Jupyter shows tables as HTML, in which pandas escapes every cell."""
    for path in [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "helpers").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
            text = "\n".join("".join(cell["source"]) for cell in cells)
        assert not re.search(r"escape=False|\bHTML\(|_repr_html_|\bMarkdown\(", text), path.name


@pytest.mark.parametrize("name", ["<b>", "a&b", "'\"", "<img src=x onerror=y>", "$x^$", "{{7*7}}"])
def test_a_folder_whose_names_hold_markup_is_read_as_it_is(tmp_path, name):
    """File names, classes and columns; the report shows what `lines` gives, a check prints it."""
    data = tmp_path / "data"
    rows = plain(data, 60, name=name.replace("{", "{{").replace("}", "}}") + "{:03}.png")
    write_csv(data / "labels.csv", ("file", name), rows)
    found = examine(data, 0, {})
    said = lines(found)
    assert f"label column: {name}" in said
    page = report.render("page.html", tmp_path, title=" ".join(said)).read_text(encoding="utf-8")
    shown = Tags(page)
    assert f"label column: {name}" in shown.text
    assert [tag for tag, _ in shown.tags] == ["html", "head", "meta", "meta", "title", "style",
                                              "body", "h1"]  # fmt: skip
