"""Run the course: notebooks 01 to 05 through papermill, then the report.

    python -m course run --profile quick --data FOLDER --out FOLDER

The same command again skips what is finished and resumes what was interrupted.
"""

import argparse
import contextlib
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None

from course.commands import command
from course.params import (
    NOTEBOOKS,
    declared_parameters,
    load_parameters,
    may_change,
    notebook_path,
    read_parameters,
)
from course.report import arms_tables, write_report
from helpers import files, machine
from helpers.files import CourseError
from helpers.folder import Slices, check_names, examine, from_parameters, lines, refuse_inside
from helpers.folder.labels import is_standard_pair, normalise_label, quote
from helpers.parameters import check_values, describe
from helpers.preprocessing import CLASS_NAMES
from helpers.recipes import choose_recipe

# Everything a run writes, and all that FRESH=1 removes; last the file that marks a run's folder.
WRITES = (
    "metrics.json", "report.html", "split.csv", "progress.json", "data", "notebooks", "models",
    "samples", "checkpoints", "figures", "logs", "prepared.npz", "run.json",
)  # fmt: skip


# --- The run -------------------------------------------------------------------------------------


def run(
    profile: str = "quick",
    data: str = "",
    out: str = "",
    *,
    fresh: bool = False,
    extra: Path | None = None,
    changes: dict[str, Any] | None = None,
    wait: float = 0,
) -> Path:
    """Run the whole course into a folder and write its report.

    Args:
        profile: smoke, quick, study or paper: the values in `params/PROFILE.yaml`.
        data: A folder that meets the data contract; empty for simulated slices.
        out: Where everything goes; empty for `runs/PROFILE`.
        fresh: Start over: remove what an earlier run wrote into `out`.
        extra: A YAML file with values that replace the profile's.
        changes: Values that replace both.
        wait: Seconds to wait for another run that holds the folder.

    Returns:
        The path of `report.html`.

    Raises:
        CourseError: Any error that the user can fix; only finished parts have been written then.
    """
    parameters = load_parameters(profile, extra) | (changes or {})
    said = read_parameters(files.project_path(extra)).get("profile") if extra else None
    if said not in (None, profile):
        raise CourseError(
            f"{extra} says profile: {said}, but this run has the profile {profile}: delete this "
            f"line, or give --profile {said}."
        )
    check_values(**parameters)
    choose_recipe(parameters["recipe"], parameters["recipe_changes"])
    from_parameters(parameters)
    require_weights(parameters)
    folder = files.project_path(out or f"runs/{profile}")
    fingerprint = "simulated"
    if data:
        data_folder = files.project_path(data)
        refuse_inside(folder, data_folder)
        examined = examine(data_folder, parameters["split_seed"], parameters)
        fingerprint = examined.fingerprint_with_groups
        print(f"{data_folder}", *lines(examined), sep="\n", flush=True)
        parameters |= class_names(examined.slices, parameters) | {"data_dir": str(data_folder)}
    check_names(parameters.get("positive", "haemorrhage"), parameters.get("negative", "clear"))
    settings = {"parameters": parameters, "data": fingerprint}
    before = files.read_json(folder / "run.json").get("settings")
    # The second case: notebook 01 was run alone. A study has such a lock and such slices, too.
    by_hand = (".lock", "prepared.npz", "split.csv")
    known = before or all((folder / name).exists() for name in by_hand)
    known = known and not (folder / "study.json").exists()
    if folder.is_dir() and not known and any(folder.glob("[!.]*")):
        raise CourseError(f"{folder} is not empty and holds no run of the course: choose another.")
    other = _changed(gan_settings(**before), gan_settings(**settings)) if before else []
    if other and not fresh:
        raise CourseError(
            f"{folder} holds a run with other settings or data ({', '.join(other)}): choose "
            "another OUT, or start over with FRESH=1 or --fresh."
        )
    held = files.lock(files.make_folder(folder) / ".lock", wait=wait)
    try:
        # A run killed a moment ago may have left a kernel that still writes: wait for it.
        files.lock(folder / ".kernel.lock", wait=30).release()
        if fresh:
            for name in WRITES:
                path = folder / name
                whole = path.is_dir() and not path.is_symlink()
                shutil.rmtree(path) if whole else path.unlink(missing_ok=True)
        files.write_json(folder / "run.json", {"settings": settings})
        _run_notebooks(folder, parameters)
        return write_report(folder)
    finally:
        held.release()


def require_weights(parameters: dict[str, Any]) -> None:
    """Check before any training that ImageNet weights can be downloaded, if they are needed.

    Raises:
        CourseError: The classifier needs them, and they cannot be downloaded.
    """
    if parameters.get("classifier") != "resnet50-imagenet":
        return
    refusal = machine.run_python(
        "from helpers import files, machine\nmachine.setup()\nfrom helpers import trunk\n"
        "try:\n    trunk.build_trunk('imagenet')\n"
        "except files.CourseError as error:\n    print(error)"
    )
    if refusal:
        raise CourseError(refusal.strip())


def class_names(slices: Slices, parameters: dict[str, Any]) -> dict[str, str]:
    """Names of the classes that the data have in words, where no parameter gives others.

    Raises:
        CourseError: `negative` is not the label of this class, or is one of several.
    """
    negative = str(parameters.get("negative", ""))
    labels = {normalise_label(label): label for label in slices.reading.negatives}
    known = normalise_label(negative) in labels
    if known and len(labels) > 1:
        counts = ", ".join(f"{name} ({n})" for name, n in slices.reading.negatives.items())
        raise CourseError(
            f"negative is {negative}, but all these labels would get this name: {counts}; take two "
            f"labels, as classes: [{quote(negative)}, {quote(slices.names[1])}], or give negative "
            "a name for all of them."
        )
    if negative and not known and len(labels) == 1 and not is_standard_pair({*labels}):
        word = next(iter(labels.values()))
        raise CourseError(
            f"negative is {negative}, which is no label in {slices.folder}: leave negative out, or "
            f"give the label of this class, as negative: {quote(word)}."
        )
    names = dict(zip(CLASS_NAMES, slices.names, strict=True))
    return {
        key: re.sub(r"^\W+", "", re.sub(r"[^\w .-]+", "-", name))
        for key, name in names.items()
        if key not in parameters and not name.isdecimal()
    }


def gan_settings(parameters: dict[str, Any], data: str = "") -> tuple[str, dict[str, Any]]:
    """What the trained GANs depend on: the data, and the parameters of the notebooks up to them.

    Args:
        parameters: All of a run, by name.
        data: Fingerprint of the data, or "simulated".
    """
    declared = declared_parameters()
    names = set().union(*(declared[name] for name in NOTEBOOKS[:3])) - {"data_dir"}
    return data, {k: v for k, v in parameters.items() if k in names}


def _changed(before: tuple[str, dict[str, Any]], now: tuple[str, dict[str, Any]]) -> list[str]:
    """What differs between two `gan_settings`: names of parameters, and "the data"."""
    (data, values), (new_data, new) = before, now
    names = sorted(name for name in {*values, *new} if values.get(name) != new.get(name))
    return [*names, *(["the data"] if data != new_data else [])]


def _run_notebooks(folder: Path, parameters: dict[str, Any]) -> None:
    """Execute each notebook that is not finished; with one that has changed, all later ones.

    A notebook changes with its text, with the parameters that it reads, with `helpers` and data.
    """
    declared = declared_parameters()
    data = files.read_json(folder / "run.json")["settings"]["data"]
    key = machine.digest(data.encode(), machine.code_hash().encode())
    done: dict[str, str] = files.read_json(folder / "notebooks" / "finished.json")
    for number, name in enumerate(NOTEBOOKS, start=1):
        source = notebook_path(name)
        share = {k: v for k, v in sorted(parameters.items()) if k in declared[name]}
        read = {k: v for k, v in share.items() if k != "data_dir"}  # the fingerprint says more
        key = machine.digest(key.encode(), source.read_bytes(), repr(read).encode())
        target = folder / "notebooks" / f"{name}.ipynb"
        head = f"[{number}/{len(NOTEBOOKS)}] {name}"
        if done.get(name) == key and target.exists():
            print(f"{head}: finished before", flush=True)
            continue
        share["out_dir"] = str(folder)
        # It replaces files of an earlier run, so this notebook and later ones are not finished.
        before = {each: done[each] for each in NOTEBOOKS[: number - 1] if each in done}
        if before != done:
            files.write_json(folder / "notebooks" / "finished.json", before)
        done = before
        started = time.monotonic()
        _execute(source, target, share, head, list(NOTEBOOKS[number:]))
        done[name] = key
        files.write_json(folder / "notebooks" / "finished.json", done)
        cost = files.read_json(folder / "metrics.json").get("cost", {})
        seconds = cost.get("seconds", {}) | {name: time.monotonic() - started}
        peak = max(cost.get("peak_memory_gb", 0.0), _peak_memory())
        memory = {"peak_memory_gb": peak} if peak else {}
        files.record(folder, cost={"seconds": seconds} | memory)
        print(f"{head}: done in {_clock(time.monotonic() - started)}", flush=True)


def _peak_memory() -> float:
    """The most memory that a process started from here has held at once, in GB (1e9 bytes).

    0 on Windows, which does not tell.
    """
    if resource is None:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e9


def _execute(source: Path, target: Path, share: dict, head: str, later: list[str]) -> None:
    """Run one notebook; under its final name only once it has ended well."""
    import papermill

    folder = target.parent.parent
    target.parent.mkdir(exist_ok=True)
    running, failed, stderr = (
        target.with_suffix(f".{ending}") for ending in ("running.ipynb", "failed.ipynb", "stderr")
    )
    for path in (failed, stderr):
        path.unlink(missing_ok=True)
    progress = folder / "progress.json"
    progress.unlink(missing_ok=True)
    settings = machine.environment() | {
        files.KERNEL_LOCK: str(folder / ".kernel.lock"),
        machine.PROGRESS_FILE: str(progress),
        # Debian's and conda's default otherwise is a frontend of its own; this one draws PNG.
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    # A kernel inherits standard error; what TensorFlow and ipykernel say there is no news.
    with _environment(settings), _Ticker(progress, head, later), machine.hold_stderr() as held:
        try:
            # Papermill fills in what is between a path's braces, as in a template.
            path = str(running).replace("{", "{{").replace("}", "}}")
            papermill.execute_notebook(
                source, path, share, kernel_name="python3", progress_bar=False, cwd=files.PROJECT
            )
            running.replace(target)
        except papermill.PapermillExecutionError as error:
            running.replace(failed)
            if error.ename == "CourseError":
                raise CourseError(error.evalue) from None
            raise CourseError(
                f"{source.name} stopped at cell {error.cell_index} with {error.ename}: "
                f"{error.evalue}; see {failed}."
            ) from error
        except (RuntimeError, OSError) as error:  # its kernel died, or the disk is full
            held.seek(0)
            with contextlib.suppress(OSError):
                stderr.write_text(held.read(), encoding="utf-8")
            raise CourseError(
                f"{source.name} was interrupted ({str(error) or type(error).__name__}; what it "
                f"wrote last is in {stderr}): free memory or disk, then run the same command "
                "again, which resumes."
            ) from error
        finally:
            progress.unlink(missing_ok=True)
            running.unlink(missing_ok=True)


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Set environment variables, and put them back as they were at the end."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Ticker:
    """Shows in the terminal how far the running notebook is, from the file its kernel writes."""

    def __init__(self, path: Path, head: str, later: list[str]) -> None:
        self.path, self.head = path, head
        self.then = f" · then {', '.join(later)}" if later else ""
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> "_Ticker":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _show(self) -> None:
        live = sys.stdout.isatty()
        started, printed = time.monotonic(), 0.0
        print(f"{self.head}{self.then}", flush=True)
        while not self.stop.wait(0.5):
            now = time.monotonic()
            if not live and now - printed < 30:  # a log file wants lines, not a flicker
                continue
            printed = now
            state: dict[str, Any] = {}
            with contextlib.suppress(OSError):  # Windows: while the kernel replaces it
                state = files.read_json(self.path)
            where = f"running for {_clock(now - started)}"
            if state:
                left = _clock(state["seconds_left"])
                where = f"{state['title']} {state['done']}/{state['total']}, {left} left"
            line = f"{self.head} · {where}{self.then}"
            columns = shutil.get_terminal_size().columns - 1
            print(f"\r{line[:columns]:<{columns}}" if live else line, end="" if live else "\n")
            sys.stdout.flush()
        if live:
            print("\r" + " " * (shutil.get_terminal_size().columns - 1), end="\r", flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


# --- The command ---------------------------------------------------------------------------------


@command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m course run",
        description="Run notebooks 01 to 05, then print the table of arms and the verdict.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The same command again skips what is finished and resumes what was interrupted.\n\n"
        f"What a file for --params may change, with its default:\n{describe(may_change())}",
    )
    parser.add_argument("--profile", default="quick", help="smoke, quick (default), study or paper")
    parser.add_argument("--data", default="", help="folder of images; default: simulated slices")
    parser.add_argument("--out", default="", help="folder for everything; default: runs/PROFILE")
    parser.add_argument("--params", type=Path, help="YAML file with values to change")
    parser.add_argument("--seed", type=int, help="seed of the split and of the networks")
    parser.add_argument("--fresh", action="store_true", help="remove the earlier run first")
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    changes = {} if asked.seed is None else dict.fromkeys(("seed", "split_seed"), asked.seed)
    report = run(
        asked.profile, asked.data, asked.out,
        fresh=asked.fresh, extra=asked.params, changes=changes,
    )  # fmt: skip
    metrics = files.read_json(report.parent / "metrics.json")
    print(f"\nProfile {metrics['profile']}, {_clock(time.monotonic() - started)} minutes\n")
    print(arms_tables(metrics))
    for name, audit in metrics["audit"].items():
        if audit.get("warning"):
            print(f"\nNote, {name}: {audit['warning']}")
    print(f"\nVerdict: {metrics['verdict']['text']}\n\nReport: {report}")
