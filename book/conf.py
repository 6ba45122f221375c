"""Settings of the book that `make book` builds with Sphinx, without a network."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from docutils.utils.math.latex2mathml import tex2mathml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "binder"))
import address  # noqa: E402

HOME = address.address()

project = "Will GAN augmentation help my classifier?"
author = "the course's authors"
html_title = project
extensions = ["myst_nb"]
root_doc = "book/index"
include_patterns = [
    "book/index.md", "notebooks/*", "README.md", "CONTRIBUTING.md", "data/README.md",
    "course/README.md", "experiments/README.md", "benchmarks/README.md",
]  # fmt: skip
nb_execution_mode = "off"  # the notebooks as they are committed, with their outputs
nb_ipywidgets_js = {}  # no script from a network; the still pictures are shown
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing", "myst.header", "mystnb.unknown_mime_type"]
html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_use_index = False
# No button leads to Colab, Binder or a repository until `make address` has set the address.
buttons = {
    "repository_url": HOME,
    "repository_branch": address.release(),
    "path_to_docs": "",
    "use_repository_button": True,
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
}
html_theme_options = (buttons if HOME != address.UNSET else {}) | {
    "navbar_persistent": [],  # the sidebar has a search field
    "show_navbar_depth": 1,
    "show_toc_level": 1,
}


def adapt(source: str) -> str:
    """A notebook for the book: no badges, which are on a network, and no cell for Colab."""
    notebook = json.loads(source)
    for cell in notebook["cells"]:
        if "colab" in cell["metadata"].get("tags", []):
            cell["metadata"]["tags"].append("remove-cell")
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            cell["source"] = without_badges(text)
    return json.dumps(notebook)


def without_badges(text: str) -> str:
    """The text without its line of badges."""
    text = text.replace(address.NOTEBOOK_UNSET, "")
    return re.sub(r"(?m)^\[!\[Open in .*\n?", "", text)


def _read(app: Any, name: str, source: list[str]) -> None:
    if os.fspath(app.env.doc2path(name)).endswith(".ipynb"):
        source[0] = adapt(source[0])
    else:
        source[0] = without_badges(source[0])


def _show_inline(self: Any, node: Any) -> None:
    _show(self, node, as_block=False)


def _show_block(self: Any, node: Any) -> None:
    _show(self, node, as_block=True)


def _show(self: Any, node: Any, as_block: bool) -> None:
    """Write a formula as MathML, which browsers show without a script."""
    from docutils.nodes import SkipNode

    formula = tex2mathml(node.astext(), as_block=as_block)
    self.body.append(f'<div class="formula">{formula}</div>' if as_block else formula)
    raise SkipNode


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_show_inline, None), (_show_block, None))
    app.connect("source-read", _read)
