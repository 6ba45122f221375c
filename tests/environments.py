"""Try the course under other versions and limits: python tests/environments.py NAME --python PYTHON

NAME is one of those in `ENVIRONMENTS`, and PYTHON the interpreter to make its environment with.
What passed, and what it took, goes into `environments.json` beside this file, one row for each name
and version of Python. `binder` and `colab` need Linux, and root for their limits.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
KEPT = Path(__file__).with_suffix(".json")
# The notebooks that a reader opens there: 04 takes the generators that come with the course.
OPENED = ("01_preprocessing", "04_sampling", "05_evaluation")
GIB = 2**30
LIMITS = {"binder": (2 * GIB, 1), "colab": (12 * GIB, 2)}  # memory in bytes, and cores
TESTS = ("pytest", "pytest-xdist", "hypothesis", "pydicom", "psutil", "distributed", "bokeh")


def packages(name: str) -> list[str]:
    """pip's arguments for an environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if name == "lock":
        return ["-r", str(ROOT / "requirements.lock")]
    if name == "newest":
        return ["--upgrade", *project["dependencies"], *TESTS]
    if name == "colab":  # the lowest TensorFlow and Keras, and Colab's versions of the rest
        sys.path.insert(0, str(ROOT / "tests" / "helpers"))
        sys.path.insert(0, str(ROOT / "tests"))
        from test_keras_versions import LOWEST

        pinned = {re.split("[=<>]", line)[0] for line in LOWEST}
        rest = [d for d in project["dependencies"] if re.split("[=<>]", d)[0] not in pinned]
        return [*LOWEST, *rest, *TESTS]
    content = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text(encoding="utf-8"))
    return next(d["pip"] for d in content["dependencies"] if isinstance(d, dict))


ENVIRONMENTS = ("lock", "newest", "colab", "binder")


def make(name: str, python: str, folder: Path) -> Path:
    """An environment with these packages and the course; gives its Python."""
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    made = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages(name)], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", ROOT], check=True)
    return made


def run_tests(python: Path, folder: Path) -> dict[str, int]:
    """The helpers' tests: how many passed, failed and were skipped.

    Without the slow ones, and without those that run notebooks, as the smoke run does.
    """
    report = folder / "tests.xml"
    chosen = ["-m", "not slow", "--ignore", "tests/helpers/test_exercises.py", "tests/helpers"]
    subprocess.run(
        [python, "-m", "pytest", "-q", *chosen, f"--junitxml={report}"],
        cwd=ROOT, check=False, stdout=sys.stderr,
    )  # fmt: skip
    (suite,) = xml.etree.ElementTree.parse(report).getroot().iter("testsuite")
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    skipped = int(suite.get("skipped"))
    passed = int(suite.get("tests")) - failed - skipped
    return {"passed": passed, "failed": failed, "skipped": skipped}


def run_course(python: Path, folder: Path) -> dict[str, object]:
    """The whole course in the smoke profile: its versions, minutes and memory."""
    command = [python, "-m", "course", "run", "--profile", "smoke", "--out", folder / "smoke"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    script = (
        "import json, sys; m = json.load(open(sys.argv[1], encoding='utf-8'));"
        "print(json.dumps({'versions': m['versions'], 'seconds': round(sum(m['cost']['seconds']"
        ".values())), 'peak_memory_gb': round(m['cost']['peak_memory_gb'], 2)}))"
    )
    done = subprocess.run(
        [python, "-c", script, folder / "smoke" / "metrics.json"], check=True, capture_output=True
    )
    return yaml.safe_load(done.stdout)


def run_in_limits(python: Path, folder: Path, memory: int, cores: int) -> dict[str, object]:
    """Notebooks in a control group of so many bytes, on so many cores; what they took.

    The system ends a process that asks for more. Peak memory is the largest process's.
    """
    import resource

    old = Path("/sys/fs/cgroup/memory")
    version_1 = old.is_dir()
    group = (old if version_1 else Path("/sys/fs/cgroup")) / f"course-{os.getpid()}"
    group.mkdir()
    (group / ("memory.limit_in_bytes" if version_1 else "memory.max")).write_text(str(memory))

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    seconds = {}
    try:
        for name in OPENED:
            started = time.monotonic()
            subprocess.run(
                [python, "-m", "papermill", "--no-progress-bar", f"notebooks/{name}.ipynb",
                 folder / f"{name}.ipynb", "-p", "out_dir", folder / "run"],
                cwd=ROOT, check=True, preexec_fn=enter, stdout=sys.stderr,
            )  # fmt: skip
            seconds[name] = round(time.monotonic() - started)
    finally:
        group.rmdir()
    # The group's own peak counts cached files, and so is always the limit.
    most = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "limit_gb": round(memory / 1e9, 2), "cores": cores, "seconds": seconds,
        "peak_memory_gb": round(most / 1e9, 2),
    }  # fmt: skip


def installed(python: Path) -> list[str]:
    """The packages that decide the numbers, with their versions."""
    script = (
        "from importlib.metadata import distributions\n"
        "for found in distributions():\n"
        "    print(found.metadata['Name'].lower().replace('_', '-') + '==' + found.version)"
    )
    done = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    wanted = r"^(?:tensorflow(?:-cpu)?|keras|numpy|scikit-learn)=="
    return sorted(line for line in done.stdout.splitlines() if re.match(wanted, line))


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=ENVIRONMENTS)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--venv", type=Path, help="an environment to make, or made before, to keep")
    asked = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    from helpers import files

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        python = (asked.venv or folder / "venv") / "bin" / "python"
        if not python.exists():
            python = make(asked.name, asked.python, asked.venv or folder / "venv")
        shown = "import platform; print(platform.python_version())"
        version = subprocess.run([python, "-c", shown], check=True, capture_output=True, text=True)
        version = version.stdout.strip()
        row = {"python": version, "system": f"{platform.system()} {platform.machine()}"}
        row["packages"] = installed(python)
        if asked.name in LIMITS:
            row["notebooks"] = run_in_limits(python, folder, *LIMITS[asked.name])
        if asked.name != "binder":
            row["tests"] = run_tests(python, folder)
            row["smoke"] = run_course(python, folder)
        content = files.read_json(KEPT) or {"command": "python tests/environments.py NAME"}
        key = f"{asked.name}, Python {'.'.join(version.split('.')[:2])}"
        rows = content.get("environments", {}) | {key: row}
        files.write_json(KEPT, content | {"environments": dict(sorted(rows.items()))})
        print(f"{key}: {row}")


if __name__ == "__main__":
    main()
