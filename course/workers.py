"""Run the parts of a study in several processes with Dask."""

import concurrent.futures
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from helpers.files import CourseError

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
PATIENCE = 20  # seconds in which a scheduler must answer


def run_with_dask(
    work: Callable[[dict[str, Any]], str],
    todo: list[dict[str, Any]],
    total: int,
    workers: int,
    scheduler: str = "",
    finished: Callable[[], Any] = lambda: None,
) -> None:
    """Hand the units to Dask, and say what comes back; ends when all are done or given up.

    Args:
        work: What to do with each; returns nothing or a sentence that says what is wrong.
        todo: The units, each with a `name`.
        total: Units of the study, those that are finished with them.
        workers, scheduler: As in `study.run_study`.
        finished: Called after each unit that is done.

    Raises:
        CourseError: No Dask, no scheduler, or units that failed: by an exception twice, by a
            message once.
    """
    try:
        import dask
        import distributed
    except ImportError:
        raise CourseError(
            "a study needs Dask: install it with `.venv/bin/pip install -e '.[study]'`."
        ) from None
    # Dask's heartbeat (50 per second) and profiler (100 per second) take time from the runs on the
    # same cores.
    quiet = {"distributed.admin.tick.interval": "1s", "distributed.worker.profile.enabled": False}
    dask.config.set(quiet)
    wrong: list[str] = []
    with contextlib.ExitStack() as stack:
        address = scheduler or stack.enter_context(
            distributed.LocalCluster(
                n_workers=max(1, min(workers, len(todo))), threads_per_worker=1,
                silence_logs=logging.ERROR,
            )
        )  # fmt: skip
        try:
            client = stack.enter_context(distributed.Client(address, timeout=PATIENCE))
        except OSError:
            words = "start it with `dask scheduler`, then run the same again"
            where = f"no scheduler answers at {scheduler}: {words}"
            raise CourseError(
                f"{where if scheduler else 'Dask cannot start here: try --workers 1'}."
            ) from None
        print(f"Dashboard: {client.dashboard_link}", flush=True)
        # Dask tries a run again when its worker dies, and, by `retries`, when it fails.
        futures = client.map(work, todo, retries=1, pure=False)
        started = time.monotonic()
        for done, future in enumerate(distributed.as_completed(futures), start=1):
            where = todo[futures.index(future)]
            try:
                failed = repr(future.exception()) if future.status == "error" else future.result()
            except (OSError, concurrent.futures.CancelledError):  # before, or while it answered
                raise CourseError(
                    "the scheduler is lost: start it again, then run the same; what is finished "
                    "is kept."
                ) from None
            line = f"{where['name']}: {failed or 'done'}"
            if failed:
                wrong.append(line)
            else:
                finished()
            each = (time.monotonic() - started) / max(1, done - len(wrong)) / 60
            left = f"about {each * (len(todo) - done):.0f} minutes left"
            print(f"{line} ({total - len(todo) + done} of {total}, {left})", flush=True)
    if wrong:
        raise CourseError(f"{len(wrong)} units failed, the first: {wrong[0]}")
