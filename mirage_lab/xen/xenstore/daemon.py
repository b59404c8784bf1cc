"""Daemon: xenstored: serves the protocol to every domain and fires watches.

Each domain has one Connection: its ring page, its watches and its transactions.  Whatever a domain sends, the daemon lives:
a ring whose indices lie ends that connection; replies that are not taken stop further requests being read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from mirage_lab.irmin.commit import Commit
from mirage_lab.runtime import RunQueue, World
from mirage_lab.tracing.recorder import Kind
from mirage_lab.xen.abi import errno
from mirage_lab.xen.abi.io.xenbus import parse
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.xenstore.client import Client
from mirage_lab.xen.xenstore.connection import Connection, Watch
from mirage_lab.xen.xenstore.history import History, of_world
from mirage_lab.xen.xenstore.sessions import Sessions
from mirage_lab.xen.xenstore.store import Node, Perms, Store, StoreError
from mirage_lab.xen.xenstore.transaction import Engine

__all__ = ["Connection", "Daemon", "Watch"]

SPECIAL: Final = ("@introduceDomain", "@releaseDomain")
SPECIALS: Final = "special"
"""What their permissions are called among the sessions."""
Before = tuple[tuple[str, int], set[tuple[Watch, str]], int]


class _Acting:
    """Who changes the store at the moment, for the events, and which watches a transaction of it has fired."""

    __slots__ = ("_before", "_connection", "_daemon", "_tid")

    def __init__(self, daemon: Daemon, connection: Connection, tid: int) -> None:
        self._daemon = daemon
        self._connection = connection
        self._tid = tid

    def __enter__(self) -> None:
        self._before = self._daemon.begin(self._connection, self._tid)

    def __exit__(self, *exc: object) -> None:
        self._daemon.end(self._connection, self._before)


class Daemon:
    """xenstored, running on dom0's queue."""

    def __init__(
        self,
        world: World,
        queue: RunQueue,
        say: Callable[[str], None] = lambda text: None,
        engine: Engine = "irmin",
        history: History | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        """With `history` it goes on where that ends; with `sessions` its clients can go on too (`resume`, `readopt`)."""
        self.store = Store()
        self.engine = engine
        self.sessions = sessions
        self.touched: dict[str, Connection] = {}
        self.clients: list[Client] = []
        self.history = history or of_world(world)
        self.queue = queue
        self.say = say
        self.actor: tuple[str, int] = ("dom0", 0)
        self.acting_domid = 0
        self.told: set[tuple[Watch, str]] = set()
        self.exists: Callable[[int], bool] = lambda domid: True
        self._world = world
        self._connections: dict[int, Connection] = {}
        self._waiting: dict[int, None] = {}
        self._watched: dict[str, list[tuple[Connection, Watch]]] = {}
        self._tid = 0
        self.special: dict[str, Perms] = dict.fromkeys(SPECIAL, ((0, "n"),))
        if sessions is not None:
            self.special |= sessions.get(SPECIALS) or {}
        self._kinds = {op: world.recorder.kind(f"xenstore.{op}") for op in ("write", "rm", "mkdir", "setperms")}
        self._k_state = world.recorder.kind("xenbus.state")
        self.k_watch = world.recorder.kind("xenstore.watch")
        self._k_transaction = world.recorder.kind("xenstore.transaction")
        self.store.on_change = self._changed
        if self.history.head is not None:
            self.store.restore(self.history.entries())
        else:
            for path in sorted(self.store.nodes):
                self.history.note("mkdir", path, self.store.nodes[path], {})
            self.history.done(0)

    def acting(self, connection: Connection, tid: int) -> _Acting:
        """Return a context in which changes are `connection`'s."""
        return _Acting(self, connection, tid)

    def begin(self, connection: Connection, tid: int) -> Before:
        """Changes are `connection`'s from now on; return whose they were, for `end`."""
        before = (self.actor, self.told, self.acting_domid)
        self.actor, self.told, self.acting_domid = (connection.name, tid), set(), connection.domid
        return before

    def end(self, connection: Connection, before: Before) -> None:
        """Changes are again whose they were."""
        self.actor, self.told, self.acting_domid = before
        if self.touched and not connection.ringed:
            self.settle()

    @contextmanager
    def acting_as(self, domid: Domid, merged: Commit | None = None) -> Iterator[None]:
        """Changes in the block are made by `domid` and are one commit, which `merged` is a parent of too."""
        tid = self.next_tid()
        with self.acting(Connection(self, domid, "dom0", None, lambda: None), tid):
            yield
            self.history.done(domid, tid, self.history.now, merged)

    def tell(self, kind: Kind, source: str, fields: dict[str, object]) -> None:
        """Record an event that leads further."""
        world = self._world
        world.cause = kind.emit(world.now, source, world.cause, fields)

    def ended(self, connection: Connection, tid: int, how: str) -> None:
        """Record how a transaction ended: committed, dropped, or the error."""
        kind, world = self._k_transaction, self._world
        if kind.on:
            kind.emit(world.now, connection.name, world.cause, {"tx": tid, "end": how})

    def next_tid(self) -> int:
        """Return a transaction number nobody uses."""
        self._tid = self._tid % 0xFFFF_FFFE + 1
        return self._tid

    # connections -------------------------------------------------------------------------------------------------

    def introduce(self, domid: Domid, page: memoryview, notify: Callable[[], None], name: str) -> None:
        """Serve a domain on its ring page; `notify` sends its event."""
        self._connections[domid] = Connection(self, domid, name, page, notify, str(domid))
        self._special("@introduceDomain")
        self.settle()

    def announce(self, domid: Domid) -> None:
        """A program of dom0 says that a domain is there; its ring, if it has one, is the toolstack's affair.  Raises StoreError EINVAL."""
        if not self.exists(domid):
            raise StoreError(errno.EINVAL, f"there is no domain {domid}")
        if not self.introduced(domid):
            self._connections[domid] = Connection(self, domid, f"domain {domid}", None, lambda: None)
            self._special("@introduceDomain")

    def set_special(self, name: str, perms: Perms, domid: int) -> None:
        """Say who is told of domains that come (@introduceDomain) or go (@releaseDomain): dom0 alone at first (XSA-115).  Raises StoreError."""
        if name not in self.special:
            raise StoreError(errno.EINVAL, name)
        if not self.store.owns(self.special[name], domid):
            raise StoreError(errno.EACCES, name)
        self.special[name] = perms
        if self.sessions is not None:
            self.sessions.put(SPECIALS, dict(self.special))

    def set_target(self, domid: int, target: int) -> None:
        """Let a domain do what another may; raises StoreError."""
        connection = self._connections.get(domid)
        if connection is None or target not in self._connections:
            raise StoreError(errno.ENOENT, f"domain {domid} or {target} was not introduced")
        self.store.targets[domid] = target
        connection.touched()

    def release(self, domid: Domid) -> None:
        """A domain is gone: forget its watches and transactions."""
        connection = self._connections.pop(domid, None)
        if connection is not None:
            connection.unwatch_all()
            self.store.targets.pop(domid, None)
            self._waiting.pop(domid, None)
            self.touched.pop(connection.key, None)
            if self.sessions is not None:
                self.sessions.put(connection.key, None)
            self._special("@releaseDomain")
            self.settle()

    def introduced(self, domid: int) -> bool:
        """True if the domain is served."""
        return domid in self._connections or domid == 0

    def kick(self, domid: Domid) -> None:
        """A domain's ring has work."""
        connection = self._connections.get(domid)
        if connection is not None:
            connection.service()

    def later(self, connection: Connection) -> None:
        """See that a watch event reaches the ring."""
        if connection.domid not in self._waiting:
            self._waiting[connection.domid] = None
            self.queue.post(self._kick_waiting, connection.domid)

    def _kick_waiting(self, domid: Domid) -> None:
        self._waiting.pop(domid, None)
        self.kick(domid)

    def connect(self, name: str = "dom0") -> Client:
        """Return a direct client with dom0's rights; watches are called back as steps of dom0's queue."""
        client = Client(Connection(self, Domid(0), name, None, lambda: None, f"dom0-{len(self.clients)}"))
        self.clients.append(client)
        return client

    # killed and started again ------------------------------------------------------------------------------------

    @property
    def open_transactions(self) -> int:
        """Transactions of domains that have not ended."""
        return sum(len(connection.transactions) for connection in self._connections.values())

    def used_tid(self, tid: int) -> None:
        """Give out only higher transaction numbers than this."""
        self._tid = max(self._tid, tid)

    def settle(self) -> None:
        """Keep what has changed of the clients, where the next xenstored finds it."""
        touched, self.touched = self.touched, {}
        if self.sessions is not None:
            for key, connection in touched.items():
                self.sessions.put(key, connection.session())

    def stop(self) -> None:
        """It was killed: whatever still calls it is not answered."""
        self._connections.clear()
        self._watched.clear()
        self.touched.clear()
        self.sessions = None

    def resume(self, domid: Domid, page: memoryview, notify: Callable[[], None], name: str) -> None:
        """Go on serving a domain that an earlier xenstored served; raises ObjectError for a record that is none."""
        connection = self._connections[domid] = Connection(self, domid, name, page, notify, str(domid))
        session = None if self.sessions is None else self.sessions.get(connection.key)
        if session is not None:
            connection.take_up(session)
        self.later(connection)

    def readopt(self, client: Client) -> None:
        """Go on serving a program of dom0, which connects again; raises ObjectError."""
        key = f"dom0-{len(self.clients)}"
        connection = Connection(self, Domid(0), client.name, None, lambda: None, key)
        session = None if self.sessions is None else self.sessions.get(key)
        if session is not None:
            connection.take_up(session)
        client.reconnect(connection)
        self.clients.append(client)

    # changes -----------------------------------------------------------------------------------------------------

    def _changed(self, op: str, path: str, node: Node | None, others: dict[str, Node]) -> None:
        who, tid = self.actor
        self.history.note(op, path, node, others)
        if not tid:
            self.history.done(self.acting_domid)
        before = self._world.cause
        if self._kinds[op].on or self._k_state.on:
            value = "" if op != "write" or node is None else node.value.decode("utf-8", "backslashreplace")[:200]
            if self._kinds[op].on:
                self.tell(self._kinds[op], who, {"path": path, "value": value, "tx": tid})
            if op == "write" and self._k_state.on and path.endswith("/state") and ("/device/" in path or "/backend/" in path):
                state = parse(value)
                self.tell(self._k_state, who, {"path": path, "state": int(state), "name": state.title})
        if self._watched:
            self._fire(path, node, others, tid)
        self._world.cause = before

    def _fire(self, path: str, node: Node | None, others: dict[str, Node], tid: int) -> None:
        """Fire the watches that a change of `path` concerns, of those who may read it; once in a transaction."""
        for connection, watch in self._concerned(path, below=node is None):
            told = watch.concerns(path, below=node is None)
            seen = others.get(watch.path, others[path]) if node is None else node
            if told is None or not self.store.allowed(seen.perms, connection.domid, "r") or (tid and (watch, told) in self.told):
                continue
            self.told.add((watch, told))
            connection.fire(watch, told)

    def watching(self, connection: Connection, watch: Watch) -> None:
        """Note a watch under its path."""
        self._watched.setdefault(watch.path, []).append((connection, watch))

    def watchers(self) -> dict[str, list[str]]:
        """Return who watches each path, by name."""
        return {path: [connection.name for connection, _ in entries] for path, entries in self._watched.items()}

    def forget(self, connection: Connection, watch: Watch) -> None:
        """A watch is gone."""
        left = [entry for entry in self._watched[watch.path] if entry[1] is not watch]
        if left:
            self._watched[watch.path] = left
        else:
            del self._watched[watch.path]

    def _concerned(self, path: str, *, below: bool) -> list[tuple[Connection, Watch]]:
        """Return the watches at `path` and above it (and below it, when all that goes), the root's first."""
        watched = self._watched
        found = list(watched.get("/", ()))
        at = path.find("/", 1)
        while at > 0:
            found += watched.get(path[:at], ())
            at = path.find("/", at + 1)
        if path != "/":
            found += watched.get(path, ())
        if below:
            found += [entry for other in sorted(watched) if other.startswith(f"{path}/") for entry in watched[other]]
        return found

    def _special(self, name: str) -> None:
        for connection, watch in list(self._watched.get(name, ())):
            if self.store.allowed(self.special[name], connection.domid, "r"):
                connection.fire(watch, name)
