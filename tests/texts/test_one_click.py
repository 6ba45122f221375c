"""Badges, links, and the first cell of each notebook under Colab's versions."""

import os
import re
import shutil
import subprocess
import tomllib

import nbformat
import pytest
from conftest import ROOT
from test_keras_versions import lowest  # noqa: F401  a fixture

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIRST = NOTEBOOKS[0].relative_to(ROOT).as_posix()
HOME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
PAGES += [ROOT / name / "README.md" for name in ("course", "benchmarks", "experiments")]
PAGES += sorted((ROOT / "data").rglob("*.md")) + sorted((ROOT / "notebooks").glob("*.md"))


def colab_cell(path):
    cells = nbformat.read(path, as_version=4).cells
    first = next(cell for cell in cells if cell.cell_type == "code")
    assert first.metadata["tags"] == ["colab"]
    return first.source


def test_every_notebook_begins_with_its_badges_and_the_same_cell():
    for path in NOTEBOOKS:
        opening = nbformat.read(path, as_version=4).cells[0].source
        where = HOME.removeprefix("https://github.com/")
        assert (
            f"https://colab.research.google.com/github/{where}/blob/main/notebooks/{path.name})"
            in (opening)
        )
        assert (
            f"https://mybinder.org/v2/gh/{where}/main?urlpath=lab/tree/notebooks/{path.name})"
            in (opening)
        )
        assert colab_cell(path) == colab_cell(NOTEBOOKS[0])
    assert f'home = "{HOME}"\n' in colab_cell(NOTEBOOKS[0])


def test_the_readme_begins_with_its_badges():
    """Colab opens the first notebook, Binder this page in JupyterLab."""
    where = HOME.removeprefix("https://github.com/")
    badges = (ROOT / "README.md").read_text().split("\n\n")[1]
    assert f"colab.research.google.com/github/{where}/blob/main/{FIRST})" in badges
    assert f"mybinder.org/v2/gh/{where}/main?urlpath=lab/tree/README.md)" in badges


def test_links_lead_somewhere():
    """Those within the repository to a file; those outside to hosts that are known to last."""
    texts = {page: page.read_text() for page in PAGES}
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        texts[path] = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    hosts = r"(arxiv\.org/abs/\d{4}\.\d{4,5}$|doi\.org/10\.|www\.dask\.org$|mybinder\.org/"
    hosts += r"|colab\.research\.google\.com/)"
    for page, text in texts.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith("https://"):
                known = re.match(hosts, target.removeprefix("https://"))
                assert known or target.startswith(HOME), f"{page}: {target}"
            else:
                file = target.split("#")[0]
                assert (page.parent / file).exists(), f"{page}: {target}"


@pytest.mark.parametrize("name", ["01_preprocessing", "02_networks"])
def test_the_first_cells_make_it_run_under_colabs_versions(name, lowest, tmp_path):  # noqa: F811
    """Cloned, completed, TensorFlow untouched; then the whole notebook, as a script."""
    source = tmp_path / "source"
    kept = shutil.ignore_patterns(".git", ".venv*", "runs", "*.egg-info", ".*_cache")
    shutil.copytree(ROOT, source, ignore=kept)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for step in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "as it stands"]):
        subprocess.run(["git", *step], cwd=source, check=True)
    code = [c for c in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells]
    code = [c.source for c in code if c.cell_type == "code"]
    out = f'out_dir = "{tmp_path / "out"}"'
    script = "\n\n".join(re.sub(r'(?m)^out_dir = "[^"]*"', out, source) for source in code)
    script += "\n\nimport tensorflow; print('with', tensorflow.__version__, keras_version())"
    script = "def keras_version():\n    import keras\n    return keras.__version__\n\n" + script
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "notebook.py").write_text(script)
    run = subprocess.run(
        [lowest, "notebook.py"], cwd=tmp_path / "content", capture_output=True, text=True,
        check=False, env={
            **{k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            "COLAB_RELEASE_TAG": "test", "MPLBACKEND": "agg", "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{source}.insteadOf", "GIT_CONFIG_VALUE_0": HOME,
        },
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert "with 2.20.0 3.13.2" in run.stdout
    assert (tmp_path / "content" / "course" / "helpers").is_dir()
