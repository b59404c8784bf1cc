"""Xenstore over its Unix socket: operations, and the start and stop of domains, with 1 and with 16 clients at once.

Each server is a process of its own, each client another, which waits for one reply after another and begins a transaction
that ended with EAGAIN again at once.  A cycle is `mirage_lab.xen.xenstore.storm.cycle`: five transactions and some 120 requests.

The daemons of Xen are measured in the same run, in turn with ours, where they and a C compiler are installed (`xenpeers`), and
whatever XENSTORE_PEERS names:

    XENSTORE_PEERS=another=/run/xenstored/socket python3 bootstrap.py bench xenstore
"""

from __future__ import annotations

import itertools
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

from bench.fresh import Fresh
from bench.row import Row
from bench.xenpeers import peers as started
from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.xenstore.storm import Request, cycle

__all__ = ["run"]

SECONDS = 1.5
LONG = 20.0
ROUNDS = 3
SEVERAL = 16
DOMAINS = 1_000
HISTORY = f"""
import gc, os
from pathlib import Path
from mirage_lab.irmin import BYTES, Repo
from mirage_lab.irmin.commit import ancestors
from mirage_lab.xen.xenstore.history import History
from mirage_lab.xen.xenstore.storm import boot, storm

def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

kept = History(Repo(BYTES, None), None)
before = resident()
done = storm({DOMAINS}, "irmin", boot, history=kept)
assert done.cycles == {DOMAINS} and done.aborted == 0
for commit in ancestors(kept.head):  # whoever looks has the commits made, and their trees
    assert len(commit.root)
print((resident() - before) / (1 << 20))
"""
OPERATIONS = {
    "read": wire.READ, "write": wire.WRITE, "mkdir": wire.MKDIR, "rm": wire.RM, "setperms": wire.SET_PERMS, "directory": wire.DIRECTORY,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What one client, or all of them, did in a while: units of work, transactions tried, EAGAINs, the slowest unit in s."""

    done: int
    tried: int
    again: int
    longest: float


class Client:
    """A connection that waits for each reply."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)

    def ask(self, op: int, payload: bytes, tid: int = 0) -> bytes:
        """Return the reply, `b"EAGAIN"` for that error; raises RuntimeError for another."""
        self.sock.sendall(wire.HEADER.pack(op, 0, tid, len(payload)) + payload)
        data = self.sock.recv(4_112)
        while len(data) < 16 or len(data) < 16 + wire.HEADER.unpack_from(data)[3]:
            more = self.sock.recv(4_112)
            if not more:
                raise RuntimeError("the server closed the connection")
            data += more
        if wire.HEADER.unpack_from(data)[0] == wire.ERROR and data[16:] != b"EAGAIN\0":
            raise RuntimeError(f"operation {op} of {payload!r}: {data[16:-1].decode()}")
        return data[16:-1]

    def domain(self, number: int) -> tuple[int, int]:
        """Start and stop a domain; return the transactions tried and those that ended with EAGAIN."""
        tried = again = 0
        for together, requests in cycle(number):
            asked = [(OPERATIONS[op], payload(request)) for request in requests for op in request[:1]]
            while True:
                tid = int(self.ask(wire.TRANSACTION_START, b"\0")) if together else 0
                for op, body in asked:
                    self.ask(op, body, tid)
                if not together:
                    break
                tried += 1
                if self.ask(wire.TRANSACTION_END, b"T\0", tid) == b"OK":
                    break
                again += 1
        return tried, again


def payload(request: Request) -> bytes:
    """Return what a request says on the wire."""
    op, path, value = request
    if op == "write":
        return path.encode() + b"\0" + value.encode()
    return path.encode() + b"\0" + (value.replace(" ", "\0").encode() + b"\0" if op == "setperms" else b"")


def reads(client: Client, who: int) -> Iterator[tuple[int, int]]:
    """Read a key of its own again and again."""
    name = b"/bench/%d\0" % who
    client.ask(wire.WRITE, name + b"value")
    while True:
        client.ask(wire.READ, name)
        yield 0, 0


def writes(client: Client, who: int) -> Iterator[tuple[int, int]]:
    """Write a key of its own again and again."""
    for number in itertools.count():
        client.ask(wire.WRITE, b"/bench/%d\0%d" % (who, number))
        yield 0, 0


def domains(client: Client, who: int) -> Iterator[tuple[int, int]]:
    """Start and stop one domain after another."""
    for number in itertools.count():
        yield client.domain(1 + who * 1_000 + number % 1_000)


Work = Callable[[Client, int], Iterator[tuple[int, int]]]


def client(path: str, who: int, work: Work, seconds: float, told: Connection) -> None:
    """Work as client `who` from the word to begin until the time is over, and tell what was done."""
    units = work(Client(path), who)
    next(units)
    told.send(None)
    told.recv()
    done = tried = again = 0
    longest, began = 0.0, perf_counter()
    before = began
    for more, refused in units:
        done, tried, again = done + 1, tried + more, again + refused
        now = perf_counter()
        longest, before = max(longest, now - before), now
        if now - began >= seconds:
            break
    told.send(Seen(done, tried, again, longest))


def forked(work: Callable[[Connection], None]) -> Connection:
    """Start a process that calls `work` with its end of a pipe; our end reads EOFError when the process ended without a word."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    context.Process(target=work, args=(theirs,), daemon=True).start()
    theirs.close()
    return ours


def measured(path: str, count: int, work: Work, seconds: float = SECONDS) -> Seen:
    """Return what `count` clients did together; raises EOFError when one of them failed (its traceback stands on stderr)."""
    pipes = [forked(partial(client, path, who, work, seconds)) for who in range(count)]
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:
        pipe.send(None)
    found = [pipe.recv() for pipe in pipes]
    return Seen(sum(one.done for one in found), sum(one.tried for one in found), sum(one.again for one in found), max(one.longest for one in found))


@contextmanager
def daemon(path: Path, *words: str) -> Iterator[str]:
    """Our xenstored in a process of its own; its socket."""
    command = [sys.executable, "-m", "mirage_lab.lab.cli", "xenstored", "--path", str(path), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield str(path)
        finally:
            process.terminate()


def median(runs: list[Seen]) -> Seen:
    """Return the run in the middle by what was done, with the slowest unit of all."""
    middle = sorted(runs, key=lambda seen: seen.done)[len(runs) // 2]
    return Seen(middle.done, sum(run.tried for run in runs), sum(run.again for run in runs), max(run.longest for run in runs))


def history() -> float:
    """Return MiB that the history of a thousand domains started at once takes, every commit kept and looked at, in a Python of its own."""
    with Fresh.start() as fresh:
        return fresh.run(HISTORY)[0]


def run() -> list[Row]:
    """Measure."""
    if not sys.platform.startswith("linux"):
        return []
    with started() as peers:
        return measure(peers)


def measure(peers: dict[str, str]) -> list[Row]:
    """Measure our server and `peers`, sockets by name."""
    plan: list[tuple[Work, int, str]] = [(work, count, server) for work in (reads, writes) for count in (1, SEVERAL) for server in ("irmin", *peers)]
    plan += [(domains, count, server) for count in (1, SEVERAL) for server in ("irmin", "irmin on disk", "naive", "serial", *peers)]
    seen: dict[tuple[Work, int, str], list[Seen]] = {each: [] for each in plan}
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sockets = peers | {engine: stack.enter_context(daemon(place / engine, "--engine", engine)) for engine in ("irmin", "naive", "serial")}
        sockets["irmin on disk"] = stack.enter_context(daemon(place / "disk", "--database", str(place / "db")))
        for _ in range(ROUNDS):
            for work, count, server in plan:
                seen[work, count, server].append(measured(sockets[server], count, work))
        long = measured(sockets["irmin on disk"], SEVERAL, domains, LONG)
    found = {each: median(runs) for each, runs in seen.items()}
    rows = []
    for work, count, server in plan:
        if server in peers:
            continue
        told = found[work, count, server]
        beside = {peer: found[work, count, peer] for peer in peers if server == "irmin"}
        rate = told.done / SECONDS
        unit = "/s" if work is not domains else "domains/s"
        what = f"xenstore: {work.__name__ if work is not domains else f'domains started and stopped, engine {server}'}, {count} client{'s' * (count > 1)}"
        detail = "; ".join(f"{peer} {one.done / SECONDS:,.0f}" for peer, one in beside.items())
        ratio = rate / (beside["oxenstored"].done / SECONDS) if "oxenstored" in beside else None
        goal, met = ("0.8 of oxenstored", None if ratio is None else ratio >= 0.8) if work is domains and count > 1 and server == "irmin" else ("", None)
        rows.append(Row(what, rate, unit, goal, met, detail, ratio))
        if work is domains and count > 1:
            share = 100 * told.again / told.tried
            theirs = "; ".join(f"{peer} {100 * one.again / one.tried:.1f} %" for peer, one in beside.items())
            ours = server.startswith("irmin")
            rows.append(Row(f"xenstore: EAGAIN, engine {server}, {count} clients", share, "%", "0" if ours else "", share == 0 if ours else None, theirs))
            theirs = "; ".join(f"{peer} {1_000 * one.longest:.0f} ms" for peer, one in beside.items())
            goal, met = ("< 200", told.longest < 0.2) if ours else ("", None)
            rows.append(Row(f"xenstore: slowest domain, engine {server}, {count} clients", 1_000 * told.longest, "ms", goal, met, theirs))
    what = f"xenstore: the same for {LONG:.0f} s on end, when trees for git have to be made meanwhile, engine irmin on disk, {SEVERAL} clients"
    rows.append(Row(what, long.done / LONG, "domains/s", peer=f"slowest domain {1_000 * long.longest:.0f} ms"))
    size = statistics.median(history() for _ in range(ROUNDS))
    rows.append(Row(f"xenstore: history of {DOMAINS:,} domains started at once", size, "MiB", "< 300", size < 300))
    return rows
