"""Irmin: commits, gets, merges in memory, hashed and durable; wide directories; what a retained commit costs.

The workload is that of the figures of Irmin 3.7.2 (OCaml, measured once, with two like cores): 1,000 keys in a tree of
10 x 10 x 10, 10,000 commits of one key each, 10,000 gets, 1,000 times a fork, a set on both sides and a merge.
"""

from __future__ import annotations

import gc
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from bench.row import Row
from mirage_lab.irmin import BYTES, Repo, Store
from mirage_lab.irmin.git import Git
from mirage_lab.irmin.store import Backend
from mirage_lab.irmin.wide import Wide

__all__ = ["run"]

KEYS = [f"k{a}/k{b}/k{c}" for a in range(10) for b in range(10) for c in range(10)]
COMMITS = 10_000
MERGES = 1_000
GROUP = 16
WIDE = 10_000


@contextmanager
def steady() -> Iterator[None]:
    """Without the collector, whose pauses over a large immutable heap belong to no operation."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def filled(backend: Backend | None = None, *, eager: bool = False) -> Store:
    store = Repo(BYTES, backend, eager=eager).branch()
    for key in KEYS:
        store.set(key, b"0")
    return store


def commits(store: Store, *, group: bool = False) -> float:
    """Return commits a second."""
    with steady():
        began = perf_counter()
        for number in range(COMMITS):
            store.set(KEYS[number * 7 % len(KEYS)], b"v%d" % number)
            if group and number % GROUP == 0:
                store.repo.settle()
        store.repo.settle()
        return COMMITS / (perf_counter() - began)


def gets(store: Store) -> float:
    """Return gets a second."""
    began = perf_counter()
    for number in range(COMMITS):
        store.find(KEYS[number * 7 % len(KEYS)])
    return COMMITS / (perf_counter() - began)


def merges(store: Store) -> float:
    """Return forks with a set on both sides and a merge, a second."""
    with steady():
        began = perf_counter()
        for number in range(MERGES):
            side = store.clone(f"side{number}")
            side.set(KEYS[number], b"s%d" % number)
            store.set(KEYS[(number + 1) % len(KEYS)], b"m%d" % number)
            assert not isinstance(store.merge(side), list)
        return MERGES / (perf_counter() - began)


def retained() -> float:
    """Return bytes of memory for each commit that is kept."""
    store = filled()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(2_000):
        store.set(KEYS[number * 7 % len(KEYS)], b"v%d" % number)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept / 2_000


def wide() -> tuple[float, float]:
    """Return us and bytes for setting one of 10,000 children, the directory before it kept."""
    names = [f"n{number}" for number in range(WIDE)]
    made: Wide[object] = Wide.of((name, None) for name in names)
    child = object()
    began = perf_counter()
    for name in names:
        made.put(name, child)
    took = (perf_counter() - began) / WIDE * 1e6
    kept = []
    tracemalloc.start()
    for name in names[:2_000]:
        made = made.put(name, child)
        kept.append(made)
    size = tracemalloc.get_traced_memory()[0] / 2_000
    tracemalloc.stop()
    return took, size


def durable() -> tuple[float, float]:
    """Return commits a second on disk, synced one by one and in groups."""
    found = []
    for sync in ("commit", "group"):
        with tempfile.TemporaryDirectory() as folder:
            store = filled(Git(f"{folder}/s.git", sync))  # type: ignore[arg-type]
            store.repo.settle()
            found.append(commits(store, group=sync == "group"))
            store.repo.close()
    return found[0], found[1]


def run() -> list[Row]:
    """Measure."""
    lazy, eager = filled(), filled(eager=True)
    lazily, eagerly = commits(lazy), commits(eager)
    got, merged = gets(lazy), merges(lazy)
    one_by_one, grouped = durable()
    took, size = wide()
    kept = retained()
    peer = "Irmin 3.7.2 (OCaml) in memory, which always hashes, measured once: {:,} a second".format
    return [
        Row("irmin: commits in memory, names worked out when asked for", lazily, "a second", ">= 30,000", lazily >= 30_000),
        Row("irmin: commits in memory, each named at once", eagerly, "a second", ">= 10,000", eagerly >= 10_000, peer(14_436), eagerly / 14_436),
        Row("irmin: gets", got, "a second", "", None, "Irmin 3.7.2 (OCaml), measured once: 484,000 a second", got / 484_000),
        Row("irmin: fork, two sets and a merge", merged, "a second", ">= 6,000", merged >= 6_000, peer(5_195), merged / 5_195),
        Row(f"irmin: durable commits, synced {GROUP} at a time", grouped, "a second", ">= 4,000", grouped >= 4_000),
        Row("irmin: durable commits, synced one by one", one_by_one, "a second"),
        Row("irmin: memory of a commit that is kept", kept, "bytes"),
        Row("irmin: one of 10,000 children set", took, "us", "<= 5", took <= 5),
        Row("irmin: memory of that, the directory before it kept", size, "bytes", "<= 1,024", size <= 1_024),
    ]
