"""Time several programs in turns, so that what else the machine does falls on all of them alike."""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import files, machine

KEPT = files.PROJECT / "benchmarks" / "results.json"
OWN = files.PROJECT / "runs" / "benchmarks.json"
Pair = tuple[list[float], list[float]]  # seconds per step by round: the course's, a rival's


def serve(step: Callable[[int], None]) -> None:
    """In a worker process: for each line with a number, make that many steps and say so."""
    for k in range(3):
        step(k)
    print("ready", flush=True)
    for line in sys.stdin:
        for k in range(int(line)):
            step(k)
        print("done", flush=True)


class Contender:
    """One or two worker processes, and their seconds per step by round."""

    def __init__(self, command: list[str], processes: int) -> None:
        self.name, self.seconds = command[2], []
        threads = cores() if processes == 1 else 1
        self.workers = [
            subprocess.Popen(
                [sys.executable, *command, "--threads", str(threads)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                text=True, cwd=files.PROJECT,
                env=machine.environment() | {"OMP_NUM_THREADS": str(threads)},
            )
            for _ in range(processes)
        ]  # fmt: skip
        self.alive = all("ready" in self._answer(worker) for worker in self.workers)

    @staticmethod
    def _answer(worker: subprocess.Popen) -> str:
        while line := worker.stdout.readline():
            if line.strip() in ("ready", "done"):
                return line
        return ""

    def run(self, steps: int) -> None:
        """Let every worker make `steps` steps at once; keep the seconds per step in all."""
        started = time.perf_counter()
        for worker in self.workers:
            worker.stdin.write(f"{steps}\n")
            worker.stdin.flush()
        for worker in self.workers:
            self._answer(worker)
        self.seconds.append((time.perf_counter() - started) / steps / len(self.workers))

    def stop(self) -> None:
        """End the workers."""
        for worker in self.workers:
            worker.kill()
            worker.wait()


def compare(
    ours: list[str], theirs: list[str], rounds: int, steps: int, arrangements: tuple = (1, 2)
) -> Pair | None:
    """Seconds a step by round of the course and of a rival, each in its best arrangement.

    Args:
        ours, theirs: Commands after `python`: script, "--worker", name, further options.
        rounds, steps: Rounds, and steps of each contender in a round.
        arrangements: Numbers of processes to try: 1 has all threads, 2 have one thread each.

    Returns:
        None where the rival does not run here.
    """
    pairs = [[Contender(command, n) for n in arrangements] for command in (ours, theirs)]
    contenders = [contender for pair in pairs for contender in pair]
    if all(contender.alive for contender in contenders):
        for k in range(rounds):
            for contender in contenders if k % 2 == 0 else contenders[::-1]:
                contender.run(steps)
    for contender in contenders:
        contender.stop()
    if not contenders[-1].seconds:
        print(f"{theirs[2]:<26}does not run here", flush=True)
        return None
    best = [min((c.seconds for c in pair), key=statistics.median) for pair in pairs]
    times = "  ".join(
        f"{c.name} in {len(c.workers)}: {statistics.median(c.seconds):.3f}" for c in contenders
    )
    print(f"{times}  (processes, seconds per step)", flush=True)
    return best[0], best[1]


def ratio(slower: list[float], faster: list[float]) -> dict[str, float]:
    """How many times faster, round by round."""
    each = [a / b for a, b in zip(slower, faster, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


# --- The machine and the file --------------------------------------------------------------------


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_kind(cpuinfo: str | None = None) -> str:
    """The fastest matrix instructions that the processor has; `cpuinfo` is /proc/cpuinfo's text."""
    if cpuinfo is None:
        path = Path("/proc/cpuinfo")
        cpuinfo = path.read_text(encoding="utf-8") if path.exists() else ""
    flags = set(" ".join(re.findall(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)).split())
    for flag, name in (
        ("amx_bf16", "AMX"),
        ("avx512_bf16", "AVX-512 with bfloat16"),
        ("avx512f", "AVX-512"),
        ("avx2", "AVX2"),
    ):
        if flag in flags:
            return name
    return platform.machine()


def describe_machine() -> dict[str, Any]:
    """What the ratios were measured on."""
    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", path.read_text("utf-8")) if path.exists() else None
    model = found[1] if found else platform.processor()
    return {"cores": cores(), "kind": processor_kind(), "processor": model}


def add_keep(parser: argparse.ArgumentParser) -> None:
    """The option with which a maintainer writes the committed file."""
    parser.add_argument(
        "--keep", action="store_true",
        help="for maintainers: write benchmarks/results.json; otherwise runs/benchmarks.json",
    )  # fmt: skip


def write(found: dict[str, Any], keep: bool) -> Path:
    """Add the parts to the file's row for this kind of processor.

    Returns:
        The file's path.
    """
    path = KEPT if keep else OWN
    rows = files.read_json(path).get("processors", {})
    kind = processor_kind()
    rows[kind] = rows.get(kind, {}) | found | {"machine": describe_machine()}
    rows[kind]["versions"] = machine.versions()
    files.write_json(path, {"processors": rows})
    return path
