"""table: Sweep: a row for every finished cell, in the order of the grid, and how to go on where it was stopped."""

from __future__ import annotations

import pickle
import queue
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from mirage_lab.runtime.host import monotonic_ns
from mirage_lab.signatures.units import Ns
from mirage_lab.sweep.grid import Cell, Grid, SweepError, cells
from mirage_lab.sweep.pool import Pool, how_many
from mirage_lab.sweep.travel import pack, pack_cell
from mirage_lab.sweep.worker import FAILED, LOST, WELL, call

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Executor", "Sweep", "SweepError", "sweep"]

PATIENCE: Final = Ns(500_000_000)
"""Host time before a progress line appears."""

BAR: Final = 24
"""Characters of a progress bar."""

AHEAD: Final = 2
"""Cells under way for each worker: one runs, one waits."""

ON_A_CLUSTER: Final = 256
"""Cells under way on somebody else's executor."""

NOTICE: Final = 0.25
"""Seconds after which a wait looks up, for platforms on which a stop does not end it."""

GONE: Final = "the worker process ended in this cell (out of memory, or killed)"

Outcome = tuple[str, bytes]


class Executor(Protocol):
    """What runs cells: a dask.distributed Client, or any executor of concurrent.futures."""

    def submit(self, fn: Any, /, *args: Any) -> Any:
        """Return a future: result, cancel, add_done_callback."""


def sweep(
    function: Callable[..., Any] | Sweep,
    grid: Grid | None = None,
    seeds: Iterable[int] = (1,),
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Call `function(**parameters, seed=...)` for every point of a grid with every seed; return the table of what came out.

        def transfer(loss, seed):
            with Lab(seed=seed) as lab:
                ...
                return {"seconds": took, "retransmitted": n}
        sweep(transfer, {"loss": [0, 0.01, 0.05]}, seeds=range(5)).to_dataframe()

    It returns a dict (its keys are columns) or a number (the column `value`); an exception becomes the `error` of its row.  Each cell
    runs in one of `workers` spawned processes (None: one for each core), or on `executor`: a dask.distributed Client or any
    executor of concurrent.futures.  `progress(done, of)` is called after each cell.  The stop button returns what is finished;
    `.resume()` or the same call with the Sweep does the rest.
    Raises SweepError for a grid the function does not take, and for what cannot travel to another process.
    """
    if isinstance(function, Sweep):
        if grid is not None:
            raise SweepError("a sweep that goes on has its grid already: sweep(table), or sweep(function, grid)")
        return function.resume(workers=workers, executor=executor, progress=progress)
    made = Sweep(function, {} if grid is None else grid, seeds)
    return made.resume(workers=workers, executor=executor, progress=progress)


class Sweep:
    """Cells and what came out of them.  `rows`: finished cells, in order; `remaining`: the others."""

    progress: ClassVar[Callable[[str], None] | None] = None
    """Who shows a progress line while a sweep takes more than half a second; "" wipes it."""

    def __init__(self, function: Callable[..., Any], grid: Grid, seeds: Iterable[int] = (1,)) -> None:
        self.function = function
        self.cells: list[Cell] = cells(function, grid, seeds)
        self._packed = pack(function)
        self._packed_cells = [pack_cell(cell) for cell in self.cells]
        self._results: dict[int, dict[str, Any]] = {}
        self._errors: dict[int, str] = {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dict per finished cell, in the order of the grid: parameters, seed, what the function returned, error (None if there was none)."""
        return [{**cell, **self._results.get(n, {}), "error": self._errors.get(n)} for n, cell in enumerate(self.cells) if self._is_done(n)]

    @property
    def remaining(self) -> list[Cell]:
        """The cells that have not been run to their end."""
        return [dict(cell) for n, cell in enumerate(self.cells) if not self._is_done(n)]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The rows of cells that raised."""
        return [row for row in self.rows if row["error"] is not None]

    def to_dataframe(self) -> DataFrame:
        """Return `rows` as a DataFrame.  Needs pandas."""
        try:
            import pandas
        except ImportError:
            raise SweepError("to_dataframe needs pandas: pip install 'mirage-lab[pandas]'; .rows is the same without it") from None
        names: dict[str, None] = dict.fromkeys(name for row in self.rows for name in row if name != "error")
        return pandas.DataFrame(self.rows, columns=[*names, "error"])

    def resume(
        self,
        workers: int | None = None,
        executor: Executor | None = None,
        progress: Callable[[int, int], None] | None = None,
        failed: bool = False,
    ) -> Sweep:
        """Run the cells that remain (`failed`: and those that raised); return the same Sweep.  Rows that are there stay."""
        if failed:
            self._errors.clear()
        todo = deque(n for n in range(len(self.cells)) if not self._is_done(n))
        if todo:
            pool = None if executor is not None else Pool(how_many(workers, len(todo)))
            run = _Run(self, todo, executor, pool, progress)
            try:
                run.all()
            except KeyboardInterrupt:
                pass  # what is finished is in the table; the repr says how to go on
            finally:
                run.end()
        return self

    def _is_done(self, n: int) -> bool:
        return n in self._results or n in self._errors

    def __len__(self) -> int:
        return len(self._results) + len(self._errors)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", "a function")
        parts = [f"{len(self):,} of {len(self.cells):,} cells"]
        if self._errors:
            parts.append(f"{len(self._errors):,} raised: .errors")
        if len(self) < len(self.cells):
            parts.append(".resume() does the rest")
        return f"<Sweep of {name}: {' · '.join(parts)}>"


class _Run:
    """One run over the cells that remain."""

    def __init__(self, table: Sweep, todo: deque[int], executor: Executor | None, pool: Pool | None, progress: Callable[[int, int], None] | None) -> None:
        self.table, self.todo, self.executor, self.pool, self.progress = table, todo, executor, pool, progress
        self.suspects: deque[int] = deque()
        self.under_way: dict[int, Any] = {}
        self.ended: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self.began, self.said = monotonic_ns(), 0

    def all(self) -> None:
        """Run every cell, at most `window` at a time."""
        window = AHEAD * self.pool.workers if self.pool is not None else ON_A_CLUSTER
        while self.todo or self.suspects or self.under_way:
            while self.todo and not self.suspects and len(self.under_way) < window:
                self._submit(self.todo.popleft())
            if self.suspects and not self.under_way:  # alone: if a worker ends now, it is this cell's doing
                self._submit(self.suspects.popleft())
            try:
                n, future = self.ended.get(timeout=NOTICE)
            except queue.Empty:
                continue
            if self.under_way.get(n) is future:
                self._take(n, future)

    def _submit(self, n: int) -> None:
        words = (self.table._packed, self.table._packed_cells[n])
        try:
            future = self.pool.submit(*words) if self.pool is not None else self.executor.submit(call, *words)  # type: ignore[union-attr]
        except BrokenExecutor:
            if self.pool is None:
                raise SweepError(f"the executor has ended; what is finished is kept: {self.table!r}") from None
            self.under_way[n] = None  # it has not run, and is not to blame
            self._break()
            return
        self.under_way[n] = future
        future.add_done_callback(partial(self._ended, n))

    def _ended(self, n: int, future: Any) -> None:
        """Called in whatever thread the executor likes."""
        self.ended.put((n, future))

    def _take(self, n: int, future: Any) -> None:
        del self.under_way[n]
        try:
            kind, told = future.result()
        except CancelledError:
            self.todo.append(n)
            return
        except BrokenExecutor:
            if self.pool is not None and self.under_way:
                self.under_way[n] = None
                self._break()
                return
            if self.pool is not None:
                self.pool.close()
            kind, told = FAILED, GONE.encode()
        except Exception as error:  # the executor's own trouble with this cell
            kind, told = FAILED, f"{type(error).__name__}: {error}".encode("utf-8", "replace")
        self._keep(n, kind, told)

    def _break(self) -> None:
        """A worker has ended by itself, and took with it what was under way: each of these runs once more, alone, to see whose doing it was."""
        assert self.pool is not None
        self.pool.close()
        self.suspects.extend(sorted(self.under_way))
        self.under_way.clear()

    def _keep(self, n: int, kind: str, told: bytes) -> None:
        table = self.table
        if kind == LOST:
            name = getattr(table.function, "__name__", "the function")
            raise SweepError(f"{name} did not arrive in the other process: {told.decode()}; the modules it uses must be installed there")
        if kind == WELL:
            table._results[n] = pickle.loads(told)
        else:
            table._errors[n] = told.decode()
        if self.progress is not None:
            self.progress(len(table), len(table.cells))
        self._show()

    def _show(self) -> None:
        line, elapsed = Sweep.progress, monotonic_ns() - self.began
        if line is None or elapsed < PATIENCE or elapsed - self.said < PATIENCE // 4:
            return
        self.said = elapsed
        done, of = len(self.table), len(self.table.cells)
        full = round(done / of * BAR)
        wrong = f" · {len(self.table._errors):,} raised" if self.table._errors else ""
        line(f"{'█' * full}{'░' * (BAR - full)} {done:,} of {of:,} cells{wrong} · stop button: what is finished stays")

    def end(self) -> None:
        """Leave nothing behind, on this computer or a cluster."""
        for future in self.under_way.values():
            future.cancel()
        self.under_way.clear()
        if self.pool is not None:
            self.pool.close()
        if self.said and Sweep.progress is not None:
            Sweep.progress("")
