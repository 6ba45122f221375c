"""What keeps the course usable without make and without Unix; the workflows that try it."""

import ast
import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SOURCES = [path for room in ("helpers", "course") for path in sorted((ROOT / room).rglob("*.py"))]
# Windows has neither these modules nor these attributes of os and signal.
UNIX_MODULES = ("resource", "fcntl", "termios", "pty", "tty", "pwd", "grp", "posix", "syslog")
UNIX_NAMES = {
    "os": "fork forkpty getuid geteuid getgid killpg setsid nice uname sysconf getloadavg mkfifo "
    "sched_getaffinity sched_setaffinity statvfs wait3 wait4 O_CLOEXEC",
    "signal": "SIGKILL SIGHUP SIGXFSZ SIGALRM SIGUSR1 SIGUSR2 SIGQUIT SIGCHLD SIGSTOP alarm pause",
}


def unix_alone(source: str) -> list[str]:
    """What a source uses of Unix without a `try` around it."""
    guarded, found = set(), []
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            guarded |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in UNIX_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module in UNIX_MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if node.attr in UNIX_NAMES.get(owner, "").split():
                found.append(f"{owner}.{node.attr}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_module_needs_unix(path):
    assert unix_alone(path.read_text(encoding="utf-8")) == []


def test_what_needs_unix_is_found():
    text = (
        "import resource\nfrom fcntl import flock\nimport os, signal\nos.killpg(1, signal.SIGKILL)"
    )
    assert sorted(unix_alone(text)) == ["fcntl", "os.killpg", "resource", "signal.SIGKILL"]
    assert unix_alone("try:\n    import resource\nexcept ImportError:\n    resource = None") == []


def test_the_program_starts_without_unixs_modules():
    """And then says nothing about memory, rather than something wrong."""
    rooms = ["run", "study", "report", "audit", "check", "baseline", "kaggle", "workers"]
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({UNIX_MODULES[:2]!r}))\n"
        "from helpers import files, folder, intervals, machine, parameters, phantom\n"
        f"from course import {', '.join(r for r in rooms if r not in ('audit', 'baseline'))}\n"
        "print(run._peak_memory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "0.0\n", done.stderr


def test_files_are_read_and_written_as_utf8():
    """Windows has another default."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).split(".")[-1]
                if called in ("read_text", "write_text"):
                    names = {keyword.arg for keyword in node.keywords}
                    assert "encoding" in names, f"{path.name}: {ast.unparse(node)}"


# --- Workflows -----------------------------------------------------------------------------------


def steps(path):
    for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
        yield from job["steps"]


def test_there_are_workflows():
    assert {"test.yml", "weekly.yml"} <= {path.name for path in WORKFLOWS}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_only_what_cannot_change_under_them(path):
    """Actions by commit, with the version beside it; by default they may only read."""
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    for line in re.findall(r"^.*\buses: .*$", text, re.MULTILINE):
        assert re.fullmatch(r"\s*(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), (
            line
        )
    for step in steps(path):
        assert "${{" not in step.get("run", ""), "a name could be a command"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_there_is(path):
    """make's targets, files of the repository, commands of the course."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for step in steps(path):
        for word in re.findall(r"\bmake ([\w-]+)", step.get("run", "")):
            assert word in targets
        for name in re.findall(r"\b(?:binder|tests|notebooks|experiments)/[\w/.-]+", str(step)):
            assert (ROOT / name).exists() or list(ROOT.glob(name.rstrip("'") + "*")), name


def test_every_supported_python_is_tried():
    (matrix,) = (
        job["strategy"]["matrix"]["python"]
        for job in yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())[
            "jobs"
        ].values()
        if "python" in job.get("strategy", {}).get("matrix", {})
    )
    assert matrix == ["3.11", "3.12", "3.13"]
    assert 'requires-python = ">=3.11,<3.14"' in (ROOT / "pyproject.toml").read_text()


# --- Without make --------------------------------------------------------------------------------


def test_the_commands_for_windows_are_those_of_the_makefile():
    """Each line of the code blocks: what make does, in PowerShell."""
    page = (ROOT / "course" / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Without make$(.*?)^## ", page, re.DOTALL | re.MULTILINE)[1]
    install, setting, *others = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    python = r".venv\Scripts\python"
    assert [line.strip() for line in install.splitlines()] == [
        "py -3.12 -m venv .venv",
        f"{python} -m pip install -r requirements.lock",
        f"{python} -m pip install --no-deps -e .",
    ]
    assert setting.strip() == "$env:PYTHONUTF8 = 1"
    commands = "".join(others)
    assert all(line.startswith(f"    {python} -m ") for line in commands.splitlines())
    for part in ("course run --profile smoke", "--data", "--out", "--params",
                 "pytest tests/helpers"):  # fmt: skip
        assert part in commands, part
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for part in ("-m venv", "-r requirements.lock", "--no-deps --editable .", "--data", "--out",
                 "--params"):  # fmt: skip
        assert part in makefile, part
