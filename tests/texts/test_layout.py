"""Which folder and which module may import which; one source for versions; README's numbers."""

import ast
import json
import math
import re
import tomllib

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from conda_environments import environments
from conftest import ROOT
from packaging.requirements import Requirement
from PIL import Image
from scipy import stats

import helpers
from course.params import NOTEBOOKS

README = (ROOT / "README.md").read_text()
ANSWERS = (ROOT / "experiments" / "README.md").read_text()
OTHERS = (ROOT / name / "README.md" for name in ("course", "benchmarks"))
TEXTS = "\n".join([README, ANSWERS, *(page.read_text() for page in OTHERS)])
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


def kept(name: str) -> dict:
    return json.loads((ROOT / "experiments" / "results" / f"{name}.json").read_text())


def test_the_readme_says_what_was_measured():
    """Minutes rounded up, for each notebook of the quick run whose outputs are shown; memory."""
    fast, slow = kept("quick"), kept("quick_float32")
    assert {gan["precision"].split("+")[0] for gan in fast["gan"].values()} == {"mixed_bfloat16"}
    assert {gan["precision"].split("+")[0] for gan in slow["gan"].values()} == {"float32"}
    assert fast["machine"]["bfloat16"] and not slow["machine"]["bfloat16"]
    rows = re.findall(r"^\| `(\d\d_\w+)` \|[^|]*\| (\S+) / (\S+) \|$", README, re.M)
    assert len(rows) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    for name, *minutes in rows:
        found = [run["cost"]["seconds"].get(name) for run in (fast, slow)]
        assert minutes == ["–" if x is None else str(math.ceil(x / 60)) for x in found], name
    for profile, cost in (("smoke", "smoke_cost"), ("`quick`", "cost")):
        seconds = [[run[cost]["seconds"][name] for name in NOTEBOOKS] for run in (fast, slow)]
        (line,) = re.findall(rf"^\| `make course.*{profile}.*$", README, re.M)
        minutes = [round(sum(found) / 60) for found in seconds]
        assert "about {} minutes with bfloat16 instructions, {} without;".format(*minutes) in line
    peaks = [f"{run['cost']['peak_memory_gb']:.1f} GB" for run in (fast, slow)]
    assert f"held {peaks[0]} of memory with them, {peaks[1]} without" in TEXTS
    smoke_params = yaml.safe_load((ROOT / "params" / "smoke.yaml").read_text())
    assert (
        f"the smoke run, with {smoke_params['fresh_count']} fresh slices, still held "
        f"{fast['smoke_cost']['peak_memory_gb']:.1f} GB"
    ) in TEXTS


SPEEDS = json.loads((ROOT / "benchmarks" / "results.json").read_text())["processors"]


@pytest.mark.parametrize("kind", SPEEDS)
def test_the_texts_say_the_speeds_that_were_measured(kind):
    """A line of the table for each kind of processor, and sentences about the classifiers."""
    row = SPEEDS[kind]
    if "gan_step" in row:
        assert row["machine"]["cores"] == 2 and row["machine"]["kind"] == kind

        def both(rival):
            found = (row["gan_step"][f"vs_{rival}{x}"]["median"] for x in ("_penalty", ""))
            return "{:.2f} / {:.2f}".format(*found)

        resnet = row["resnet_step"]["vs_pytorch_best"]["median"]
        hours = row["paper_scale"]["hours_for_both_gans"]
        line = f"| {kind} | {both('keras_2019')} | {both('pytorch_best')} | {resnet:.2f} |"
        assert f"{line} {hours:.1f} h |" in TEXTS
    if kind == "AVX-512":
        step = {k: f"{spread['median']:.2f} times as" for k, spread in row["gan_step"].items()}
        assert f"the work of {step['share_of_peak']} many multiplications a second" in TEXTS
        assert f"takes {step['vs_xla_penalty']} long with the penalty" in TEXTS
        assert f"in one call take {step['vs_four_at_once_penalty']} long as four" in TEXTS
    if "evaluation" in row:
        fits = {name: spread["median"] for name, spread in row["evaluation"].items()}
        whole, same = (fits[f"scratch_vs_plain{x}"] for x in ("", "_onednn"))
        assert f"trained whole | plain `fit` | {whole:.2f} times as fast |" in TEXTS
        assert f"trained whole | plain `fit` with oneDNN | {same:.2f} times as fast |" in TEXTS
        frozen = f"| plain `fit` with oneDNN | {fits['frozen_vs_plain_onednn']:.0f} times as fast |"
        assert f"only the last layer is trained {frozen}" in TEXTS
    if "study" in row:
        two = [f"{spread['median']:.2f} times as fast" for spread in row["study"].values()]
        assert "{} as one process, and {} as one process with two".format(*two) in TEXTS


def measured(name: str) -> list[str]:
    """The lines of the table of answers that link to this file."""
    section = ANSWERS.split("## The answers\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if f"](results/{name}.json) |" in line]


def percent(share: float, interval: list[float], digits: int = 1) -> str:
    low, high = (f"{100 * edge:.{digits}f}" for edge in interval)
    return f"{100 * share:.{digits}f} % ({low} to {high})"


def points(differences: np.ndarray, ratio: float = 0.0) -> str:
    """Mean and t interval; splits of one set by Nadeau and Bengio's formula, written out again."""
    count, mean = len(differences), differences.mean()
    error = differences.std(ddof=1) * math.sqrt(1 / count + ratio)
    low, high = stats.t.interval(0.95, count - 1, mean, error)
    return f"{100 * mean:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def test_the_readme_shows_the_rule_as_it_was_tried():
    false, power = measured("rule")
    evaluation = (ROOT / "notebooks" / "05_evaluation.ipynb").read_text(encoding="utf-8")
    summary = kept("rule")["summary"]
    assert f"{summary['studies']} simulated studies" in false
    for name, error in summary["errors"].items():
        words = f"*{name.replace('_', ' ')}*"
        assert f"{words} {percent(error['wrong'], error['ci'])} of {error['studies']}" in false
        told = f"| {error['studies']} | {percent(error['wrong'], error['ci'])} |"
        assert f"| {words} | " in evaluation and told in evaluation
    perfect = summary["answers"]["true"]
    gain = 100 * summary["true_gains"]["true"]["exposure"]
    found = f"*helps* in {100 * perfect['helps']:.0f} % of {perfect['studies']} studies"
    assert f"gains {gain:.1f} points: {found}" in power


@pytest.mark.parametrize(("number", "steps"), [(0, 120), (1, 480)])
def test_the_readme_shows_how_many_steps_the_arms_need(number, steps):
    line = measured("steps")[number]
    rows = pd.DataFrame(kept("steps")["rows"])
    by_arm = rows[rows["steps"] == steps].pivot(index="set", columns="arm", values="accuracy")
    classic, original = 100 * by_arm["classic"].mean(), 100 * by_arm["original"].mean()
    assert f"{steps} steps" in line
    assert f"{classic:.1f} % against {original:.1f} %: " in line
    assert points(by_arm["classic"] - by_arm["original"]) in line
    settings = f"{len(by_arm)} simulated sets of {kept('steps')['settings']['train']}"
    assert settings in measured("steps")[0]


def test_the_readme_shows_what_a_simulator_gave():
    (line,) = measured("simulator")
    content = kept("simulator")
    rows = pd.DataFrame(content["rows"])
    by_arm = rows.pivot(index="split", columns="arm", values="accuracy")
    test, images = (rows[name].unique().item() for name in ("test_images", "images"))
    assert f"{content['settings']['simulated']:,} simulated" in line
    assert f"{len(by_arm)} splits of {test} test images, {content['settings']['steps']} s" in line
    means = [100 * by_arm[arm].mean() for arm in ("simulated", "real")]
    assert "{:.1f} % against {:.1f} %: ".format(*means) in line
    assert points(by_arm["simulated"] - by_arm["real"], test / (images - test)) in line


def told(gain: dict) -> str:
    """A kept gain in words, as `points` has them."""
    found = (100 * x for x in (gain["mean"], *gain["ci"]))
    return "{:+.1f} points ({:+.1f} to {:+.1f})".format(*found)


@pytest.mark.parametrize("name", ["study_36", "study_folds", "study_144"])
def test_the_readme_shows_a_study_once_all_of_it_is_there(name):
    path = ROOT / "experiments" / "results" / f"{name}.json"
    content = kept(name) if path.exists() else {}
    if "summary" not in content:
        assert measured(name) == []
        assert "What real GANs bring is still being measured" in README
        return
    (line,) = measured(name)
    settings, summary = content["settings"], content["summary"]
    on = f"{settings['sets']} simulated sets of {settings['images']} slices"
    if settings["data"]:
        on = f"the real set: {settings['images']} slices, {summary['replicates']} folds"
    assert f"| {on}" in line and f"{settings['values']['gan_steps']:,} steps" in line
    gains = {"exposure": "*classic*", "compute": "*classic long*"}
    for gain, against in gains.items():
        assert f"against {against} {told(summary['gains'][gain])}" in line
    assert f"true new slices {told(summary['gains']['oracle'])}" in line
    assert f": *{summary['verdict']['answer']}* |" in line
    assert told(summary["gains"]["exposure"]) in README.replace("−", "-")


def test_the_readme_answers_its_title_with_the_controls():
    bring, answers = measured("controls")
    found = kept("controls")["summary"]
    assert f"| {found['36']['sets']} simulated sets of 36 and of 144 slices" in bring

    assert "{} and {} |".format(*(told(found[size]["oracle"]) for size in ("36", "144"))) in bring
    for kind, each in found["36"]["generators"].items():
        answer = f"*{each['answer'].replace('_', ' ')}*"
        assert f"{kind} {told(each['gains']['exposure'])}, {answer}" in answers
    for size in ("36", "144"):
        assert f"{100 * found[size]['oracle']['mean']:.1f} points" in README


def test_the_readme_shows_what_finer_images_are_worth():
    both = pd.DataFrame(kept("resolution")["rows"]).groupby("data", sort=False)
    for line, data in zip(measured("resolution"), ("simulated", "head-ct-hemorrhage"), strict=True):
        rows = both.get_group(data)
        by_edge = rows.pivot(index="replicate", columns="edge", values="accuracy")
        means = [100 * by_edge[edge].mean() for edge in (128, 32)]
        assert "{:.1f} % against {:.1f} %: ".format(*means) in line
        test, images = (rows[name].unique().item() for name in ("test_images", "images"))
        ratio = 0.0 if data == "simulated" else test / (images - test)
        assert points(by_edge[128] - by_edge[32], ratio) in line
        on = "simulated" if data == "simulated" else f"splits of {test} test images"
        assert f"| {len(by_edge)} {on}" in line


def test_the_readme_shows_what_the_best_recipe_gains():
    (line,) = measured("ablation")
    summary = kept("ablation")["summary"]
    paper, best = summary["paper"], summary["5e-4, averaged"]
    for measure in ("coverage", "kid"):
        change = "{:+.2f} ({:+.2f} to {:+.2f})".format(*best[f"{measure}_change"])
        told = f"{best[measure][0]:.2f} against {paper[measure][0]:.2f}: {change}"
        assert told in line
    whole = {name: found for name, found in summary.items() if found["seeds"] == 5}
    assert min(whole, key=lambda name: whole[name]["kid"][0]) == "5e-4, averaged"
    assert max(whole, key=lambda name: whole[name]["coverage"][0]) == "5e-4, averaged"


def test_the_readme_shows_what_the_test_for_copies_found():
    (line,) = measured("copying")
    rates = kept("copying")["rates"]["heads"]
    told = {
        "copies under noise": "copies: noise", ", blurred": "copies: blur", "new slices": "new",
        "blurred new ones": "new, blurred",
    }  # fmt: skip
    for words, kind in told.items():
        low, high = (100 * end for end in rates[kind]["ci"])
        assert f"{words} {100 * rates[kind]['flagged']:.0f} % ({low:.0f} to {high:.0f})" in line


def test_the_readmes_picture_is_small_and_has_words():
    alt, path = re.search(r"^!\[([^\]]+)\]\((experiments/results/\S+)\)", README, re.M).groups()
    assert len(alt.split()) > 20 and "simulated" in alt
    picture = Image.open(ROOT / path)
    assert len(picture.convert("RGB").getcolors(257)) <= 256
    assert (ROOT / path).stat().st_size < 300_000
