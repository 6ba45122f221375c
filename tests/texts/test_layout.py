"""Which folder and which module may import which; one source for versions."""

import ast
import json
import re
import tomllib

import nbformat
import yaml
from conda_environments import environments
from conftest import ROOT
from packaging.requirements import Requirement

import helpers

# In the order of imports: each room imports only from rooms before it.
ROOMS = (
    "injected", "files", "machine", "arms", "parameters", "phantom", "planted", "preprocessing",
    "folds", "alignment", "lookalikes", "folder", "networks", "trunk", "fast", "recipes", "gan",
    "training", "sampling", "judge", "copies", "measures", "preparation", "intervals", "verdict",
    "classifiers", "bundled", "baseline", "leaks", "plots", "drawings", "interactive", "exercises",
)  # fmt: skip


def imports(source: str) -> set[str]:
    """All modules that a source imports, with those that `from` names: "helpers.files"."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_each_room_imports_only_from_rooms_before_it():
    sources = {}
    for path in (ROOT / "helpers").rglob("*.py"):
        room = path.relative_to(ROOT / "helpers").parts[0].removesuffix(".py")
        sources.setdefault(room, []).append(path.read_text())
    assert set(sources) - {"__init__"} == set(ROOMS)
    assert f"{', '.join(ROOMS)}." in " ".join(helpers.__doc__.split())
    for number, room in enumerate(ROOMS):
        used = set().union(*map(imports, sources[room]))
        used = {name.split(".")[1] for name in used if name.startswith("helpers.")}
        assert used <= {*ROOMS[: number + 1], "__version__"}, f"{room} reaches forward"


def test_the_map_has_each_room_in_its_place_with_the_notebooks_that_use_it():
    page = (ROOT / "helpers" / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", page, re.M))
    assert tuple(rows) == ROOMS
    users = {room: set() for room in ROOMS}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        sources = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        for name in set().union(*(imports(source) for source in sources if "import" in source)):
            if name.startswith("helpers."):
                users[name.split(".")[1]].add(int(path.name[:2]))
    for room, words in rows.items():
        named = (
            set(range(1, 8)) if words == "all" else {int(n) for n in re.findall("[0-9]+", words)}
        )
        for first, last in re.findall("(0.)–(0.)", words):
            named |= set(range(int(first), int(last) + 1))
        taught = {int(n) for n in re.findall("(0.) .taught", words)}
        assert named == users[room] | taught, room


def test_who_may_import_what():
    """Helpers import no other folder, notebooks import helpers alone, the program no experiment."""
    others = {"course", "experiments", "benchmarks", "tests"}
    for folder, forbidden in (("helpers", others), ("course", others - {"course"})):
        for path in (ROOT / folder).rglob("*.py"):
            reached = {name.split(".")[0] for name in imports(path.read_text())} & forbidden
            assert not reached, f"{path.name} imports {reached}"
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                reached = {name.split(".")[0] for name in imports("".join(cell["source"]))}
                assert not reached & others, f"{path.name} imports {reached & others}"


def test_no_seed_is_another_one_plus_a_number():
    """Offsets meet: seed 1 and use 3 would draw what seed 2 and use 2 draw."""
    sources = [path for room in ("helpers", "course") for path in (ROOT / room).rglob("*.py")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in sources}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts[path.name] = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    for name, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.BinOp):
                sides = [ast.unparse(side) for side in (node.left, node.right)]
                found = [side for side in sides if re.search(r"^[\w.]*seed$|seed'\]$", side)]
                assert not found, f"{name}: {ast.unparse(node)}: use machine.derive_seed"


def test_the_lock_is_one_of_what_pyproject_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.M))
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        assert locked[wanted.name.lower()] in wanted.specifier, line
    assert "://" not in lock, "a lock names packages, not hosts"


def test_both_environments_are_made_from_pyproject():
    for path, text in environments().items():
        assert (ROOT / path).read_text() == text, f"{path}: run `make lock`"
        (pip,) = (d["pip"] for d in yaml.safe_load(text)["dependencies"] if isinstance(d, dict))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        cpu = "-cpu" * path.startswith("binder/")
        assert [line.replace(f"tensorflow{cpu}>", "tensorflow>") for line in pip] == (
            project["dependencies"]
        )
        assert pip[0].startswith(f"tensorflow{cpu}>=")


def test_the_citation_names_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == helpers.__version__
    assert cited["license"] == "MIT" and cited["title"].startswith("Will GAN augmentation help")
