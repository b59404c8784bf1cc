"""A store on a disk that runs full, in a process: `python full_disk.py DIRECTORY SYNC KIND` prints what it saw as JSON.

KIND is `limit`, a file may not grow beyond a size, or `tmpfs`, DIRECTORY is a small file system of its own and another
file takes what room there is.  A child writes until it has been refused five times and kills itself; then there is room again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from mirage_lab.irmin import BYTES, Repo, Store
from mirage_lab.irmin.errors import StoreError
from mirage_lab.irmin.git import Git, Sync

LIMIT = 60_000
REFUSALS = 5
BALLAST = 350_000
"""Bytes that are given back: a checkpoint needs as much room again as the log has."""


def write(store: Store, number: int, value: bytes) -> None:
    """One commit of two keys, acknowledged when this returns."""
    store.with_tree("", lambda tree: tree.set("last", b"%d" % number).set(f"deep/{number % 7}/value", value))
    store.repo.settle()


def fill(path: Path, sync: Sync, kind: str, told: int) -> None:
    """Write until it is refused; tell the last number that was acknowledged and what was said."""
    import resource

    rng = random.Random(7)
    store = Repo(BYTES, Git(path, sync, every=40)).branch()
    write(store, 1, b"")
    if kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    last, refused = 1, []
    for number in range(2, 5_000):
        try:
            write(store, number, rng.randbytes(2_000))
        except StoreError as error:
            refused.append(str(error))
            assert store.find("last") == b"%d" % last, "reading goes on, and a refused change is not there"
            if len(refused) == REFUSALS:
                break
        else:
            last = number
    os.write(told, json.dumps({"last": last, "refused": sorted(set(refused)), "times": len(refused)}).encode())
    os.kill(os.getpid(), signal.SIGKILL)


def seen(path: Path, sync: Sync, kind: str) -> dict[str, Any]:
    """Fill in a child, make room, open again, go on."""
    reading, writing = os.pipe()
    ballast = path.parent / "ballast"
    if kind == "tmpfs":
        ballast.write_bytes(bytes(BALLAST))
    if not (child := os.fork()):
        fill(path, sync, kind, writing)
    os.close(writing)
    told: dict[str, Any] = json.loads(os.read(reading, 1 << 16))
    os.waitpid(child, 0)
    if kind == "tmpfs":
        ballast.unlink()
    repo = Repo(BYTES, Git(path, sync))
    store = repo.branch()
    told |= {"found": int(store.get("last"))}
    write(store, 10_000, b"room again")
    repo.close()
    repo = Repo(BYTES, Git(path, sync))
    told |= {"again": int(repo.branch().get("last"))}
    repo.close()
    return told


if __name__ == "__main__":
    directory, how, what = sys.argv[1:]
    print(json.dumps(seen(Path(directory) / "s.git", how, what)))  # type: ignore[arg-type]
