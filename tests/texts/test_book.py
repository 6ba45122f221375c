"""The book has every notebook, shows no badge and no cell for Colab, and reads formulas."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def conf():
    spec = importlib.util.spec_from_file_location("book_conf", ROOT / "book" / "conf.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    return module


def test_every_notebook_is_in_the_book():
    index = (ROOT / "book" / "index.md").read_text()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert f"../notebooks/{path.stem}\n" in index


def test_a_notebook_loses_badges_and_colabs_cell_and_nothing_else(conf):
    source = (ROOT / "notebooks" / "01_preprocessing.ipynb").read_text()
    before, after = json.loads(source)["cells"], json.loads(conf.adapt(source))["cells"]
    removed = [k for k, c in enumerate(after) if "remove-cell" in c["metadata"].get("tags", [])]
    assert removed == [1] and "colab" in before[1]["metadata"]["tags"]
    texts = [["".join(cell["source"]) for cell in cells] for cells in (before, after)]
    badges = conf.address.badges(conf.HOME, "01_preprocessing.ipynb")
    assert badges in texts[0][0] and badges not in texts[1][0] and "badge" not in texts[1][0]
    assert texts[0][1:] == texts[1][1:]


def test_every_formula_can_be_shown(conf):
    """Those of all notebooks, by the converter of the book."""
    seen = 0
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            text = "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
            text = re.sub(r"`[^`]*`", "", text)
            for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", text, re.DOTALL):
                assert "<math" in conf.tex2mathml(block or inline, as_block=bool(block))
                seen += 1
    assert seen > 20


def test_it_builds(conf, tmp_path):
    """Without a script or style sheet from a network; buttons where there is an address."""
    pytest.importorskip("myst_nb")
    pytest.importorskip("sphinx_book_theme")
    command = [sys.executable, "-m", "sphinx", "-q", "-c", "book", ".", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "notebooks" / "04_sampling.html").read_text()
    assert "<math" in page and "<details>" in page
    # Wide formulas are scrolled; without this they widened the whole page on a phone.
    style = (tmp_path / "_static" / "book.css").read_text()
    assert '<div class="formula">' in page and "_static/book.css" in page
    assert re.search(r"(?m)^\.formula \{.*overflow-x: auto", style)
    published = conf.HOME != conf.address.UNSET
    assert ("colab.research.google.com/github" in page) is published
    assert (conf.HOME in page) is published
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page)
    assert not [address for address in loaded if "canonical" not in address], loaded
