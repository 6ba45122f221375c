"""Set the course's public address everywhere: make address REPO=owner/name

The address stands in `pyproject.toml`. From there it goes into CITATION.cff, the README's badges,
and every notebook: its badges, and its first cell, which fetches the course in Colab. Badges and
first cells name the release of `helpers.__version__`. The first cell also has the checksum of that
release, so that nobody can put other code in its place.

Without REPO the address stays, and the checksum is made again: do this last before each release.
REPO=none takes the address out. Until there is one, no badge is shown, and the first cell names a
host that can't exist (RFC 2606).
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
UNSET = "https://not-published.invalid"
GITHUB = "https://github.com/"
# GitHub's own rules for the names of owners and repositories.
REPO = re.compile(r"[A-Za-z0-9](-?[A-Za-z0-9]){0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
ADDRESS = re.compile(r'^Repository = "(.*)"$', re.MULTILINE)
CITED = re.compile(r'^repository-code: ".*"\n', re.MULTILINE)
CHECKSUM = re.compile(rb'(checksum = \\?")[0-9a-f]*(?=\\?")')
BADGES = "[![Open in Colab]"
README_UNSET = (
    "**This course is not published yet**, so Colab and Binder can't open it. Use this copy on "
    "your own machine."
)
NOTEBOOK_UNSET = "*Not published yet: Colab and Binder can't open this notebook.*"
FIRST_CELL = """\
# In Colab: fetch the release that this notebook belongs to, check that nobody has changed it, and
# install what Colab lacks. Elsewhere nothing happens here.
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

if "COLAB_RELEASE_TAG" in os.environ and not os.path.exists("binder/colab.py"):
    home = "{home}"
    release = "{release}"
    checksum = "{checksum}"
    if not os.path.exists("course"):
        new = Path(tempfile.mkdtemp(dir="."))
        clone = ["git", "clone", "--quiet", "--depth=1", f"--branch={{release}}", home, new]
        subprocess.run(clone, check=True)
        found = hashlib.sha256()
        names = [path.relative_to(new).as_posix() for path in new.rglob("*")]
        for name in sorted(name for name in names if name.split("/")[0] != ".git"):
            data = (new / name).read_bytes() if (new / name).is_file() else b""
            data = data.replace(checksum.encode(), b"")
            found.update(f"{{name}} {{len(data)}} ".encode() + data)
        if found.hexdigest() != checksum:
            raise RuntimeError(f"{{home}} has changed {{release}}: do not run it.")
        new.rename("course")
    os.chdir("course")
    sys.path.insert(0, os.getcwd())
    subprocess.run([sys.executable, "binder/colab.py"], check=True)
"""


def address() -> str:
    """The address in `pyproject.toml`; `UNSET` where there is none."""
    return ADDRESS.search((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]


def release() -> str:
    """The tag of the release that is, or is going to be, made of this code."""
    source = (ROOT / "helpers" / "__init__.py").read_text(encoding="utf-8")
    return "v" + re.search(r'__version__ = "(.*)"', source)[1]


def badges(home: str, notebook: str = "") -> str:
    """Links that open the release in Colab and in Binder; without an address, a sentence.

    Args:
        home: The address.
        notebook: File name of the notebook that they open; none: the README's badges, which open
            the first notebook in Colab, and the README in Binder.
    """
    if home == UNSET:
        return NOTEBOOK_UNSET if notebook else README_UNSET
    where, tag = home.removeprefix(GITHUB), release()
    first = min(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    colab = f"https://colab.research.google.com/github/{where}/blob/{tag}/notebooks"
    binder = f"https://mybinder.org/v2/gh/{where}/{tag}?urlpath=lab/tree"
    return (
        f"{BADGES}(https://colab.research.google.com/assets/colab-badge.svg)]"
        f"({colab}/{notebook or first}) [![Open in Binder](https://mybinder.org/badge_logo.svg)]"
        f"({binder}/{f'notebooks/{notebook}' if notebook else 'README.md'})"
    )


def with_badges(text: str, new: str) -> str:
    """The text with these badges in the paragraph after its title."""
    title, _, rest = text.partition("\n\n")
    if rest.startswith((BADGES, NOTEBOOK_UNSET, README_UNSET)):
        rest = rest.partition("\n\n")[2]
    return f"{title}\n\n{new}\n\n{rest}"


def texts(home: str) -> dict[Path, str]:
    """What every file that names the address must hold; checksums as they are."""
    project, cited, readme = (
        (path, path.read_text(encoding="utf-8"))
        for path in (ROOT / "pyproject.toml", ROOT / "CITATION.cff", ROOT / "README.md")
    )
    line = "" if home == UNSET else f'repository-code: "{home}"\n'
    found = {
        project[0]: ADDRESS.sub(f'Repository = "{home}"', project[1]),
        cited[0]: CITED.sub("", cited[1]).rstrip("\n") + "\n" + line,
        readme[0]: with_badges(readme[1], badges(home)),
    }
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        opening = notebook.cells[0]
        opening.source = with_badges(opening.source, badges(home, path.name))
        (first,) = (c for c in notebook.cells if "colab" in c.metadata.get("tags", []))
        before = re.search('checksum = "(.*)"', first.source)
        first.source = FIRST_CELL.rstrip("\n").format(
            home=home, release="" if home == UNSET else release(),
            checksum=before[1] if before and home != UNSET else "",
        )  # fmt: skip
        found[path] = nbformat.writes(notebook) + "\n"
    return found


def checksum(root: Path, files: list[str]) -> str:
    """SHA-256 of these files and their folders, as the first cell of a notebook computes it.

    The checksum is in the notebooks, so it is removed from their text before hashing.
    """
    found = hashlib.sha256()
    folders = {str(folder) for name in files for folder in Path(name).parents} - {"."}
    for name in sorted({*files, *folders}):
        data = (root / name).read_bytes() if (root / name).is_file() else b""
        data = CHECKSUM.sub(rb"\1", data) if name.endswith(".ipynb") else data
        found.update(f"{name} {len(data)} ".encode() + data)
    return found.hexdigest()


def tracked() -> list[str]:
    """The files of the next commit, as git lists them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return os.fsdecode(listed.stdout).split("\0")[:-1]


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repo", default="", help="owner/name on GitHub; none: take it out")
    repo = parser.parse_args(arguments).repo.removeprefix(GITHUB).removesuffix(".git")
    if repo not in ("", "none") and not REPO.fullmatch(repo):
        print(f"REPO {repo!r} can't be a repository on GitHub: use owner/name.", file=sys.stderr)
        return 2
    home = {"": address(), "none": UNSET}.get(repo, GITHUB + repo)
    for path, text in texts(home).items():
        path.write_text(text, encoding="utf-8", newline="\n")
    if home == UNSET:
        print("The course has no public address now.")
        return 0
    found = checksum(ROOT, tracked()).encode()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        path.write_bytes(CHECKSUM.sub(rb"\g<1>" + found, path.read_bytes()))
    print(
        f"The address is {home}, the release {release()}.\nCommit everything, then: "
        f"git tag {release()} && git push origin HEAD {release()}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
