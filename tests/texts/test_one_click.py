"""The public address, badges, links, and the first cell of each notebook under Colab's versions."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import address
import colab
import nbformat
import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from test_keras_versions import lowest  # noqa: F401  a fixture

from helpers import __version__

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ORIGINAL = "github.com/kronos97/da-dcgan"  # the page of the original work
HOME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
PAGES += [ROOT / name / "README.md" for name in ("course", "benchmarks", "experiments")]
PAGES += sorted((ROOT / "data").rglob("*.md")) + sorted((ROOT / "notebooks").glob("*.md"))


def first_cell(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    first = next(cell for cell in cells if cell.cell_type == "code")
    assert first.metadata["tags"] == ["colab"]
    return first.source


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "as it stands")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A copy that `make address` has given an address, committed and tagged as a release."""
    source = tmp_path_factory.mktemp("release") / "source"
    kept = shutil.ignore_patterns(".git", ".venv*", "runs", "*.egg-info", ".*_cache", "__pycache__")
    shutil.copytree(ROOT, source, ignore=kept)
    git(source, "init", "-q")
    git(source, "add", "-A")
    assert set_address(source, "none").returncode == 0  # whether the course is published or not
    commit(source)
    done = set_address(source, "me/mine")
    assert done.returncode == 0, done.stderr
    commit(source)
    git(source, "tag", f"v{__version__}")
    return source


def set_address(folder: Path, repo: str) -> subprocess.CompletedProcess:
    script = [sys.executable, "binder/address.py", f"--repo={repo}"]
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(script, cwd=folder, env=clean, capture_output=True, text=True)


def in_colab(python, source: Path, script: str, folder: Path, **more: str):
    """Run a script as Colab would; what it clones from the address comes from `source`."""
    folder.mkdir(exist_ok=True)
    (folder / "notebook.py").write_text(script, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "COLAB_RELEASE_TAG": "test", "MPLBACKEND": "agg", "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{source.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/me/mine",
    }  # fmt: skip
    return subprocess.run(
        [python, "notebook.py"], cwd=folder, env=environment | more, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


# --- The address ---------------------------------------------------------------------------------


def test_every_place_has_the_address_in_pyproject():
    assert address.address() == HOME
    for path, text in address.texts(HOME).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make address`"


def test_without_an_address_no_badge_is_shown_and_no_link_leads_to_a_copy():
    """Nobody can register a host that ends in .invalid."""
    if HOME != address.UNSET:
        pytest.skip("the course is published")
    assert re.fullmatch(r"https://[a-z-]+\.invalid", HOME)
    for path in [*NOTEBOOKS, ROOT / "README.md"]:
        text = path.read_text(encoding="utf-8")
        assert "not published yet" in text.lower().replace("*", "")
        assert not re.search(r"badge\S*\.svg", text)
        assert not re.search(r"mybinder\.org/v2|colab\.research\.google\.com/github", text)
    assert "repository" not in yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert 'release = ""' in first_cell(NOTEBOOKS[0])


def test_no_text_names_another_address_of_this_course():
    """All text files of the repository: on GitHub, Colab and Binder nothing but the address."""
    other = re.compile(
        r"(?:(?<![\w.-])github\.com|githubusercontent\.com|mybinder\.org/v2/gh"
        r"|colab\.research\.google\.com/github)/[\w.-]+/[\w.-]+"
    )
    for name in address.tracked():
        path = ROOT / name
        if path.suffix in (".h5", ".npz", ".png") or name == "tests/texts/test_one_click.py":
            continue
        found = set(other.findall(path.read_text(encoding="utf-8")))
        known = {where for where in found if HOME.removeprefix("https://github.com/") in where}
        known |= {x for x in found if x.endswith("/googlecolab/backend-info") or x == ORIGINAL}
        assert not found - known, f"{name} names {found - known}"


def test_make_address_changes_every_place(release):
    """And nothing else but them; Colab and Binder then open the release."""
    changed = git(release, "diff", "--name-only", "HEAD~1").split()
    names = [path.name for path in NOTEBOOKS]
    expected = ["CITATION.cff", "README.md", "pyproject.toml", *(f"notebooks/{n}" for n in names)]
    assert sorted(changed) == sorted(expected)
    tag = f"v{__version__}"
    colab = f"(https://colab.research.google.com/github/me/mine/blob/{tag}/notebooks/"
    binder = f"(https://mybinder.org/v2/gh/me/mine/{tag}?urlpath=lab/tree/"
    for name in names:
        opening = nbformat.read(release / "notebooks" / name, 4).cells[0].source
        assert f"{colab}{name})" in opening and f"{binder}notebooks/{name})" in opening
        assert first_cell(release / "notebooks" / name) == first_cell(
            release / "notebooks/" / names[0]
        )
    assert len({first_cell(release / "notebooks" / name) for name in names}) == 1
    readme = (release / "README.md").read_text(encoding="utf-8")
    assert f"{colab}{names[0]})" in readme and f"{binder}README.md)" in readme
    assert "not published" not in readme
    cited = yaml.safe_load((release / "CITATION.cff").read_text())
    assert cited["repository-code"] == "https://github.com/me/mine"
    left = subprocess.run(
        ["git", "grep", "-l", "not-published", "--", ":!binder/address.py", ":!tests"],
        cwd=release, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert left.stdout == ""


def test_an_address_can_be_changed_and_taken_out_again(release, tmp_path):
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", str(release), "copy")
    assert set_address(copy, "https://github.com/You/your-2.course.git").returncode == 0
    assert "me/mine" not in "".join(path.read_text("utf-8") for path in address_files(copy))
    assert set_address(copy, "").returncode == 0
    assert "You/your-2.course/blob" in (copy / "README.md").read_text(encoding="utf-8")
    assert set_address(copy, "none").returncode == 0
    assert git(copy, "diff", "HEAD~1") == ""


def address_files(folder: Path) -> list[Path]:
    names = ("README.md", "pyproject.toml", "CITATION.cff")
    return [*(folder / name for name in names), *(folder / "notebooks").glob("*.ipynb")]


@pytest.mark.parametrize(
    "repo", ["mine", "a b/c", "-a/b", "a--b/c", "a/b/c", "a/..", 'a/b"', "a_b/c"]
)
def test_what_is_no_repository_is_refused_and_changes_nothing(release, repo):
    done = set_address(release, repo)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "use owner/name" in done.stderr and git(release, "status", "--porcelain") == ""


def test_the_first_cell_fetches_the_release_it_belongs_to(release, tmp_path):
    """Not what was committed later; and a clone that was cut off is not taken for a whole one."""
    source = tmp_path / "source"
    git(tmp_path, "clone", "-q", str(release), "source")
    (source / "binder" / "colab.py").write_text("raise SystemExit('a later commit')")
    commit(source)
    script = first_cell(release / "notebooks" / "01_preprocessing.ipynb") + "\nprint(os.getcwd())"
    for _ in range(2):  # the second time it is there
        done = in_colab(sys.executable, source, script, tmp_path / "content")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == str(tmp_path / "content" / "course")
    assert [path.name for path in (tmp_path / "content").iterdir() if path.is_dir()] == ["course"]


@pytest.mark.parametrize(
    "change",
    [
        "code",
        "binary",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("notebook", "new file", "link")),
    ],
)
def test_the_first_cell_runs_nothing_of_a_release_that_somebody_changed(release, tmp_path, change):
    """The tag was moved: any file is other, new, or a link."""
    source, marker = tmp_path / "source", tmp_path / "it-ran"
    git(tmp_path, "clone", "-q", str(release), "source")
    hostile = f"open({str(marker)!r}, 'w')\n"
    (source / "binder" / "colab.py").write_text(hostile)
    if change != "code":
        git(source, "checkout", "-q", "binder/colab.py")
        path = {
            "notebook": source / "notebooks" / "01_preprocessing.ipynb",
            "binary": source / "data" / "pretrained" / "clear.h5",
        }.get(change, source / "tomllib.py")
        if change == "notebook":
            path.write_text(path.read_text("utf-8").replace("import imagehash", "import imagehush"))
        elif change == "binary":
            path.write_bytes(path.read_bytes()[:-1] + b"x")
        elif change == "link":
            path.symlink_to("helpers")
        else:
            path.write_text(hostile)
    commit(source)
    git(source, "tag", "--force", f"v{__version__}")
    script = first_cell(release / "notebooks" / "01_preprocessing.ipynb")
    for _ in range(2):
        done = in_colab(sys.executable, source, script, tmp_path / "content")
        assert "https://github.com/me/mine has changed v" in done.stderr.splitlines()[-1]
    assert not marker.exists() and not (tmp_path / "content" / "course").exists()


def test_the_checksum_is_that_of_the_release(tmp_path):
    """Once the release is tagged, of its tag; before, of the files as they stand."""
    if HOME == address.UNSET:
        assert 'checksum = ""' in first_cell(NOTEBOOKS[0])
        return
    root, names, tag = ROOT, address.tracked(), f"v{__version__}"
    if git(ROOT, "tag", "--list", tag):
        subprocess.run(["git", "archive", "-o", tmp_path / "it.tar", tag], cwd=ROOT, check=True)
        with tarfile.open(tmp_path / "it.tar") as archive:
            archive.extractall(tmp_path / "it", filter="data")
        root, names = tmp_path / "it", git(ROOT, "ls-tree", "-rz", "--name-only", tag).split("\0")
    found = address.checksum(root, [name for name in names if name])
    assert f'checksum = "{found}"' in first_cell(NOTEBOOKS[0]), "run `make address`"


# --- Links and Colab -----------------------------------------------------------------------------


def test_links_lead_somewhere():
    """Within the repository to a file and its section; outside, to hosts that are known to last."""
    texts = {page: page.read_text() for page in PAGES}
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        texts[path] = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    hosts = r"(arxiv\.org/abs/\d{4}\.\d{4,5}$|doi\.org/10\.|www\.dask\.org$|mybinder\.org/"
    hosts += rf"|colab\.research\.google\.com/|{ORIGINAL}$)"
    for page, text in texts.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith("https://"):
                known = re.match(hosts, target.removeprefix("https://"))
                assert known or target.startswith(HOME), f"{page}: {target}"
            else:
                file, _, section = target.partition("#")
                path = page.parent / file if file else page
                assert path.exists(), f"{page}: {target}"
                assert not section or section in sections(path), f"{page}: {target}"


def sections(page: Path) -> set[str]:
    """The anchors of a page's headings: as Jupyter makes them in a notebook, else as GitHub."""
    if page.suffix == ".ipynb":
        cells = nbformat.read(page, as_version=4).cells
        text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
        return {name.replace(" ", "-") for name in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    names = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in names}


@pytest.mark.parametrize(
    "name", ["01_preprocessing", pytest.param("02_networks", marks=pytest.mark.slow)]
)
def test_the_first_cells_make_it_run_under_colabs_versions(
    name, lowest, release, tmp_path  # noqa: F811
):  # fmt: skip
    """Cloned, completed, TensorFlow untouched; then the whole notebook, as a script."""
    code = [c for c in nbformat.read(release / "notebooks" / f"{name}.ipynb", 4).cells]
    code = [c.source for c in code if c.cell_type == "code"]
    out = f'out_dir = "{tmp_path / "out"}"'
    script = "\n\n".join(re.sub(r'(?m)^out_dir = "[^"]*"', out, source) for source in code)
    script += "\n\nimport tensorflow; print('with', tensorflow.__version__, keras_version())"
    script = "def keras_version():\n    import keras\n    return keras.__version__\n\n" + script
    run = in_colab(lowest, release, script, tmp_path / "content")
    assert run.returncode == 0, run.stderr[-3000:]
    assert "with 2.20.0 3.13.2" in run.stdout
    assert (tmp_path / "content" / "course" / "helpers").is_dir()


def test_of_colabs_list_the_courses_dependencies_are_taken():
    """Its published list has comments, addresses, and hundreds of others."""
    frozen = "# generated by pip freeze\nabsl-py==1.4.0\nkeras==3.13.2\nPyYAML==6.0.3\n"
    frozen += "scikit-learn==1.6.1\nkeras-hub==0.2\ntorch @ https://example.org/torch.whl\n"
    assert colab.as_in(frozen) == ["keras==3.13.2", "PyYAML==6.0.3", "scikit-learn==1.6.1"]
    assert set(colab.needed()) > {"tensorflow", "imagehash", "jinja2", "pyyaml"}


# --- Where it was tried --------------------------------------------------------------------------


def test_the_environments_that_were_tried_passed():
    """`tests/environments.py` keeps what it saw: another Python, Colab, Binder."""
    tried = json.loads((ROOT / "tests" / "environments.json").read_text())["environments"]
    wanted = {f"lock, Python 3.{minor}" for minor in (11, 12, 13)}
    assert wanted | {"colab, Python 3.13", "binder, Python 3.12"} <= set(tried)
    packages = {package for row in tried.values() for package in row["packages"]}
    ends = {"keras==3.13.2", "tensorflow==2.20.0", "keras==3.15.1", "tensorflow==2.21.0"}
    assert ends <= packages, "the lowest and the highest that are allowed"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    allowed = {need.name: need.specifier for need in map(Requirement, project)}
    for name, row in tried.items():
        assert name.endswith(".".join(row["python"].split(".")[:2])), name
        for package in row["packages"]:
            of, version = package.replace("-cpu", "").split("==")
            assert allowed[of].contains(version), f"{name}: {package}"
        if limits := {"binder": (2.15, 1), "colab": (12.9, 2)}.get(name.split(",")[0]):
            assert row["notebooks"]["limit_gb"] <= limits[0]
            assert row["notebooks"]["cores"] == limits[1]
            assert row["notebooks"]["peak_memory_gb"] < row["notebooks"]["limit_gb"]
            ran = row["notebooks"]["seconds"]
            assert {key[:2] for key in ran} >= {"01", "04", "05"} and min(ran.values()) > 0
        if "binder" in name:
            continue
        assert row["tests"]["failed"] == 0 and row["tests"]["passed"] > 500, name
        assert row["smoke"]["seconds"] > 0 and row["smoke"]["peak_memory_gb"] < 2.15, name
