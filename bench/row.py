"""Row: one measurement: what, how much, the goal, and a peer doing the same work on the same machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

__all__ = ["Row", "best_each", "best_of", "cpu_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table; `goal` and `peer` as text, `ratio` to the peer (ours / theirs)."""

    what: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None
    peer: str = ""
    ratio: float | None = None


def best_of(count: int, work: Callable[[], object]) -> float:
    """Return the shortest wall time of `count` runs, s."""
    times = []
    for _ in range(count):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return min(times)


def best_each(count: int, works: Sequence[Callable[[], object]]) -> list[float]:
    """Return the shortest wall time of each of `works`, s, run in turn `count` times: what disturbs one disturbs all."""
    rounds = [[best_of(1, work) for work in works] for _ in range(count)]
    return [min(times) for times in zip(*rounds)]


def cpu_of(count: int, work: Callable[[], object]) -> float:
    """Return the least CPU time of `count` runs, s."""
    times = []
    for _ in range(count):
        began = process_time()
        work()
        times.append(process_time() - began)
    return min(times)
