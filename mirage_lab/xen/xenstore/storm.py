"""storm: many domains are started, and stopped, at once: what the toolstack asks of xenstore for each, and who has to ask again.

A cycle is what libxl does for a domain with three devices: one transaction to make it, six writes, a transaction for each
device, one to shut it down, and the keys read and removed one by one: five transactions and some 120 requests.  It is the
workload of the benchmark that introduced Irmin in xenstored (Dave Scott, July 2014).  Requests of the clients are mixed
at random, with a seed; a transaction that ends with EAGAIN is begun again at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mirage_lab.runtime import RunQueue, World
from mirage_lab.xen.abi import errno
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.xenstore.connection import Connection
from mirage_lab.xen.xenstore.daemon import Daemon
from mirage_lab.xen.xenstore.history import History
from mirage_lab.xen.xenstore.store import StoreError, View, parse_perms
from mirage_lab.xen.xenstore.transaction import Engine

__all__ = ["Request", "Step", "Storm", "Workload", "boot", "cycle", "storm"]

Request = tuple[str, str, str]
"""Operation (read, write, mkdir, rm, setperms, directory), path, value or permissions."""
Step = tuple[bool, tuple[Request, ...]]
"""Whether they are one transaction, and requests."""
Workload = Callable[[int], Iterable[Step]]
"""What is asked for a domain, by its number."""
DEVICES: Final = (("vbd", 51712), ("vif", 0), ("console", 0))


def cycle(domid: int) -> Iterator[Step]:
    """Yield what starts a domain and stops it again."""
    yield from boot(domid)
    home, vm = f"/local/domain/{domid}", f"/vm/{domid:08x}-0000-4000-8000-000000000000"
    yield True, (("read", f"{home}/domid", ""), ("write", f"{home}/control/shutdown", "halt"))
    yield False, tuple(_destroy(domid, home, vm))


def boot(domid: int) -> Iterator[Step]:
    """Yield what starts a domain."""
    home, vm = f"/local/domain/{domid}", f"/vm/{domid:08x}-0000-4000-8000-000000000000"
    make: list[Request] = [("mkdir", vm, ""), ("mkdir", home, ""), ("setperms", home, f"n0 r{domid}"), ("mkdir", f"/libxl/{domid}", "")]
    for path, value in (("vm", vm), ("name", f"vm{domid}"), ("domid", str(domid)), ("memory/target", "65536"), ("memory/static-max", "65536")):
        make.append(("write", f"{home}/{path}", value))
    make += [("write", f"{vm}/uuid", vm[4:]), ("write", f"{vm}/name", f"vm{domid}"), ("write", f"{vm}/start_time", "0")]
    for name in ("control", "device", "data", "error", "drivers", "attr", "messages", "backend"):
        make += [("mkdir", f"{home}/{name}", ""), ("setperms", f"{home}/{name}", f"n{domid}")]
    for name in ("shutdown", "feature-poweroff", "feature-reboot", "feature-suspend", "platform-feature-xs_reset_watches"):
        make.append(("write", f"{home}/control/{name}", ""))
    yield True, (*make, ("read", f"{home}/vm", ""))
    ready = ("store/port", "1"), ("store/ring-ref", "4096"), ("console/port", "2"), ("console/ring-ref", "4097"), ("cpu/0/availability", "online")
    yield False, tuple(("write", f"{home}/{path}", value) for path, value in (*ready, ("unique-domain-id", str(domid))))
    for kind, number in DEVICES:
        yield True, tuple(_device(domid, kind, number))


def _device(domid: int, kind: str, number: int) -> Iterator[Request]:
    front, back = f"/local/domain/{domid}/device/{kind}/{number}", f"/local/domain/0/backend/{kind}/{domid}/{number}"
    yield from (("mkdir", front, ""), ("setperms", front, f"n{domid} r0"), ("mkdir", back, ""), ("setperms", back, f"n0 r{domid}"))
    for path, value in (("backend", back), ("backend-id", "0"), ("state", "1"), ("handle", str(number)), ("mac", "00:16:3e:00:00:01")):
        yield "write", f"{front}/{path}", value
    for path, value in (("frontend", front), ("frontend-id", str(domid)), ("online", "1"), ("state", "1"), ("handle", str(number)), ("type", kind)):
        yield "write", f"{back}/{path}", value
    yield "read", f"{back}/state", ""


def _destroy(domid: int, home: str, vm: str) -> Iterator[Request]:
    for kind, number in DEVICES:
        back = f"/local/domain/0/backend/{kind}/{domid}/{number}"
        yield from (("directory", back, ""), ("read", f"{back}/frontend", ""), ("write", f"{back}/state", "6"), ("rm", back, ""))
        yield "rm", f"{home}/device/{kind}/{number}", ""
    yield from (("read", f"{home}/vm", ""), ("rm", vm, ""), ("rm", f"/libxl/{domid}", ""), ("rm", home, ""))


@dataclass(frozen=True, slots=True)
class Storm:
    """How it went: cycles done, requests it took, transactions that were tried and those that ended with EAGAIN."""

    engine: Engine
    clients: int
    cycles: int
    requests: int
    transactions: int
    aborted: int
    longest: int
    """Requests of everybody that were handled while the slowest cycle lasted."""

    @property
    def aborts(self) -> float:
        """EAGAIN for each cycle."""
        return self.aborted / self.cycles

    @property
    def work(self) -> float:
        """Requests for each cycle, those that had to be said again included."""
        return self.requests / self.cycles

    @property
    def throughput(self) -> float:
        """Cycles for each 1,000 requests."""
        return 1_000 / self.work

    def __repr__(self) -> str:
        share = 100 * self.aborted / max(self.transactions, 1)
        return f"{self.engine}: {self.clients} at once, {self.cycles} domains, {self.work:,.0f} requests each, {self.aborted:,} EAGAIN ({share:.1f} %)"


class _Client:
    """One program that starts domains, request by request."""

    def __init__(self, connection: Connection, domids: range, what: Workload) -> None:
        self._connection = connection
        self.requests = self.transactions = self.aborted = 0
        self.steps = self._steps(domids, what)

    def _steps(self, domids: range, what: Workload) -> Iterator[bool]:
        """Do one request at each step; True at the end of a domain."""
        connection = self._connection
        for domid in domids:
            for together, requests in what(domid):
                while True:
                    tid = connection.start() if together else 0
                    self.requests += together
                    for request in requests:
                        with connection.daemon.acting(connection, tid):
                            _do(connection.view(tid), request)
                        self.requests += 1
                        yield False
                    if self._ended(tid):
                        break
            yield True

    def _ended(self, tid: int) -> bool:
        if not tid:
            return True
        self.requests += 1
        self.transactions += 1
        try:
            self._connection.end(tid, True)
        except StoreError as error:
            if error.code != errno.EAGAIN:
                raise
            self.aborted += 1
            return False
        return True


def storm(
    clients: int, engine: Engine = "irmin", what: Workload = cycle, *, cycles: int = 1, seed: int = 0, history: History | None = None
) -> Storm:
    """Let `clients` programs do `cycles` times each, at once, `what` is to be done for a domain; the same seed, the same storm.

    Raises StoreError for a request that xenstore refuses.
    """
    if clients < 1 or cycles < 1:
        raise ValueError(f"{clients} clients and {cycles} cycles: at least one of each")
    world = World(seed=seed)
    daemon = Daemon(world, RunQueue(world, "xenstored"), engine=engine, history=history)
    rng = world.rng("storm")
    running = [_Client(Connection(daemon, Domid(0), f"xl{n}", None, _nobody), range(1 + n * cycles, 1 + (n + 1) * cycles), what) for n in range(clients)]
    everybody, began, handled, longest = list(running), dict.fromkeys(running, 0), 0, 0
    while running:
        client = running[rng.randrange(len(running))]
        done = next(client.steps, None)
        if done is None:
            running.remove(client)
            continue
        handled += 1
        if done:
            longest = max(longest, handled - began[client])
            began[client] = handled
    requests, transactions, aborted = (sum(getattr(client, name) for client in everybody) for name in ("requests", "transactions", "aborted"))
    return Storm(engine, clients, clients * cycles, requests, transactions, aborted, longest)


def _nobody() -> None:
    """There is no ring, and nobody waits at its other end."""


def _do(view: View, request: Request) -> None:
    op, path, value = request
    match op:
        case "read":
            view.read(path)
        case "directory":
            view.directory(path)
        case "write":
            view.write(path, value.encode())
        case "mkdir":
            view.mkdir(path)
        case "rm":
            view.rm(path)
        case _:
            view.set_perms(path, parse_perms(value.split()))
