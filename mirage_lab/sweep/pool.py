"""pool: worker processes of one sweep on this computer; none of them outlives it.

Processes are spawned, on every platform, and know nothing of the parent's main module: functions travel as bytes, and a
script needs no `if __name__ == "__main__"`.  `close` kills; a worker whose parent is gone ends by itself (worker).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from types import ModuleType
from typing import Any, Final

from mirage_lab.sweep.grid import SweepError
from mirage_lab.sweep.worker import call, stay_with_the_parent

__all__ = ["MOST_WORKERS", "Pool", "how_many"]

MOST_WORKERS: Final = 61
"""What Windows can wait for."""


def how_many(workers: int | None, cells: int) -> int:
    """Return the number of worker processes: a core each, and no more than there are cells."""
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    elif not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise SweepError(f"workers={workers!r}: a number of processes is wanted, 1 or more; None takes one for each core")
    return max(1, min(workers, cells, MOST_WORKERS))


class Pool:
    """Processes, and `submit`."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def submit(self, function: bytes, cell: bytes) -> Future[tuple[str, bytes]]:
        """Return the future of a cell; raises BrokenExecutor if a worker has ended."""
        if self._executor is None:
            self._executor = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=stay_with_the_parent)
        with _main_stays_here():
            return self._executor.submit(call, function, cell)

    def close(self) -> None:
        """End every worker, whatever it does; `submit` begins anew."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        processes: list[Any] = list((getattr(executor, "_processes", None) or {}).values())
        for process in processes:
            process.kill()
        executor.shutdown(wait=True, cancel_futures=True)  # its own thread buries them
        for process in processes:
            process.join()


@contextmanager
def _main_stays_here() -> Iterator[None]:
    """While a process is spawned: keep it from running this program's main module once more."""
    main = sys.modules.get("__main__")
    if main is None or not (getattr(main, "__file__", None) or getattr(main, "__spec__", None)):
        yield
        return
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
