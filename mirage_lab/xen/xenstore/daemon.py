"""Daemon: xenstored: serves the protocol to every domain and fires watches.

Each domain has one Connection: its ring page, its watches and its transactions.  Whatever a domain sends, the daemon lives:
a ring whose indices lie ends that connection; replies that are not taken stop further requests being read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mirage_lab.irmin import BYTES, Repo
from mirage_lab.irmin.commit import Commit
from mirage_lab.runtime import RunQueue, World
from mirage_lab.tracing.recorder import Kind
from mirage_lab.xen.abi import errno
from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.abi.io.xenbus import parse
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.xenstore.client import Client
from mirage_lab.xen.xenstore.history import MOST, History
from mirage_lab.xen.xenstore.request import answer
from mirage_lab.xen.xenstore.store import Node, Store, StoreError, View, allowed
from mirage_lab.xen.xenstore.transaction import Engine, Transaction

__all__ = ["Connection", "Daemon", "Watch"]

WATCHES: Final = 128
TRANSACTIONS: Final = 10
BACKLOG: Final = 64 << 10
"""Bytes of replies a domain may leave untaken before its requests wait."""
EVENTS: Final = 256 << 10
"""Bytes of untaken watch events after which a domain's further ones are dropped."""


class Watch:
    """A watch: the absolute path, the path as the client named it, its token."""

    __slots__ = ("named", "path", "token")

    def __init__(self, path: str, named: str, token: str) -> None:
        self.path = path
        self.named = named
        self.token = token

    def concerns(self, path: str, *, below: bool) -> str | None:
        """Return the path to tell for a change of `path`, as the client names it; None: none of its business."""
        mine = self.path
        if path == mine or mine == "/" or path.startswith(f"{mine}/"):
            told = path
        elif below and mine.startswith(f"{path}/"):
            told = mine
        else:
            return None
        return told if self.named == mine else told[len(mine) - len(self.named) :]


class Connection:
    """One client: a domain on its ring, or dom0's direct client (no page)."""

    def __init__(self, daemon: Daemon, domid: Domid, name: str, page: memoryview | None, notify: Callable[[], None]) -> None:
        self.daemon = daemon
        self.domid = domid
        self.name = name
        self.watches: list[Watch] = []
        self.transactions: dict[int, Transaction] = {}
        self.bases: dict[int, Commit | None] = {}
        self.callback: Callable[[Watch, str], None] | None = None
        self.error = ""
        self._page = page
        self._notify = notify
        self._in = bytearray()
        self._out = bytearray()

    @property
    def store(self) -> Store:
        """The store."""
        return self.daemon.store

    # transactions and watches ------------------------------------------------------------------------------------

    def view(self, tid: int) -> View:
        """Return what a request works on: the store, or a transaction of this connection."""
        if not tid:
            return self.store
        if tid not in self.transactions:
            raise StoreError(errno.ENOENT, f"transaction {tid}")
        return self.transactions[tid]

    def start(self) -> int:
        """Begin a transaction and return its number."""
        if self.domid and len(self.transactions) >= TRANSACTIONS:
            raise StoreError(errno.ENOSPC, f"domain {self.domid} has {TRANSACTIONS} transactions open")
        tid = self.daemon.next_tid()
        self.transactions[tid] = Transaction(self.store, tid, self.domid, self.daemon.engine)
        self.bases[tid] = self.daemon.history.head
        return tid

    def end(self, tid: int, commit: bool) -> None:
        """End a transaction; raises StoreError EAGAIN on a conflict."""
        if tid not in self.transactions:
            raise StoreError(errno.ENOENT, f"transaction {tid}")
        transaction = self.transactions.pop(tid)
        base = self.bases.pop(tid)
        ended = "committed" if commit else "dropped"
        try:
            if commit:
                with self.daemon.acting(self, tid):
                    transaction.commit()
                    self.daemon.history.done(self.domid, tid, base)
        except StoreError as error:
            ended = error.name
            raise
        finally:
            self.daemon.ended(self, tid, ended)

    def watch(self, path: str, named: str, token: str) -> None:
        """Add a watch; its first event comes at once."""
        if any(watch.path == path and watch.token == token for watch in self.watches):
            raise StoreError(errno.EEXIST, f"watch {named} {token}")
        if self.domid and len(self.watches) >= WATCHES:
            raise StoreError(errno.E2BIG, f"domain {self.domid} has {WATCHES} watches")
        watch = Watch(path, named, token)
        self.watches.append(watch)
        self.daemon.watching(self, watch)
        self.fire(watch, named)

    def unwatch(self, path: str, token: str) -> None:
        """Remove a watch."""
        for watch in self.watches:
            if watch.path == path and watch.token == token:
                self.watches.remove(watch)
                self.daemon.forget(self, watch)
                return
        raise StoreError(errno.ENOENT, f"watch {path} {token}")

    def unwatch_all(self) -> None:
        """Remove every watch."""
        for watch in self.watches:
            self.daemon.forget(self, watch)
        self.watches.clear()

    def fire(self, watch: Watch, told: str) -> None:
        """Send a watch event."""
        daemon = self.daemon
        world = daemon.queue.world
        cause = world.cause
        if daemon.k_watch.on:
            daemon.tell(daemon.k_watch, self.name, {"path": told, "token": watch.token})
        if self.callback is not None:
            daemon.queue.post(self._call, watch, told)
        elif len(self._out) < EVENTS:
            payload = f"{told}\0{watch.token}\0".encode()
            self._out += wire.message(wire.WATCH_EVENT, 0, 0, payload)
            daemon.later(self)
        world.cause = cause

    def _call(self, watch: Watch, told: str) -> None:
        if watch in self.watches and self.callback is not None:
            self.callback(watch, told)

    # the ring ----------------------------------------------------------------------------------------------------

    def service(self) -> None:
        """Take requests, answer, and put replies into the ring."""
        page = self._page
        if page is None or self.error:
            return
        try:
            moved = self._flush(page)
            if len(self._out) < BACKLOG:
                data = wire.read(page, request=True)
                moved = moved or bool(data)
                self._in += data
                self._requests()
            moved = self._flush(page) or moved
        except wire.RingError as error:
            self.error = str(error)
            self.daemon.say(f"xenstored: domain {self.domid}: {error}; its connection is closed")
            return
        if moved:
            self._notify()

    def _flush(self, page: memoryview) -> bool:
        if not self._out:
            return False
        count = wire.write(page, bytes(self._out[: wire.RING_SIZE]), request=False)
        del self._out[:count]
        return bool(count)

    def _requests(self) -> None:
        buffered = self._in
        while len(buffered) >= wire.HEADER.size:
            op, rid, tid, length = wire.HEADER.unpack_from(buffered)
            if length > wire.PAYLOAD_MAX:
                raise wire.RingError(f"a request that says it has {length} bytes; {wire.PAYLOAD_MAX} are allowed")
            end = wire.HEADER.size + length
            if len(buffered) < end:
                return
            payload = bytes(buffered[wire.HEADER.size : end])
            del buffered[:end]
            try:
                with self.daemon.acting(self, tid):
                    reply, data = op, answer(self, op, tid, payload)
            except StoreError as error:
                reply, data = wire.ERROR, error.name.encode() + b"\0"
            self._out += wire.message(reply, rid, tid, data)


class _Acting:
    """Who changes the store at the moment, for the events, and which watches a transaction of it has fired."""

    __slots__ = ("_before", "_connection", "_daemon", "_tid")

    def __init__(self, daemon: Daemon, connection: Connection, tid: int) -> None:
        self._daemon = daemon
        self._connection = connection
        self._tid = tid
        self._before = (daemon.actor, daemon.told, daemon.acting_domid)

    def __enter__(self) -> None:
        daemon, connection = self._daemon, self._connection
        daemon.actor, daemon.told, daemon.acting_domid = (connection.name, self._tid), set(), connection.domid

    def __exit__(self, *exc: object) -> None:
        self._daemon.actor, self._daemon.told, self._daemon.acting_domid = self._before


class Daemon:
    """xenstored, running on dom0's queue."""

    def __init__(
        self,
        world: World,
        queue: RunQueue,
        say: Callable[[str], None] = lambda text: None,
        engine: Engine = "irmin",
        history: History | None = None,
    ) -> None:
        self.store = Store()
        self.engine = engine
        self.history = history or History(Repo(BYTES, clock=lambda: (world.epoch_ns + world.now) // 1_000_000_000), MOST)
        self.queue = queue
        self.say = say
        self.actor: tuple[str, int] = ("dom0", 0)
        self.acting_domid = 0
        self.told: set[tuple[Watch, str]] = set()
        self._world = world
        self._connections: dict[int, Connection] = {}
        self._direct: list[Connection] = []
        self._waiting: dict[int, None] = {}
        self._watched: dict[str, list[tuple[Connection, Watch]]] = {}
        self._tid = 0
        self._kinds = {op: world.recorder.kind(f"xenstore.{op}") for op in ("write", "rm", "mkdir", "setperms")}
        self._k_state = world.recorder.kind("xenbus.state")
        self.k_watch = world.recorder.kind("xenstore.watch")
        self._k_transaction = world.recorder.kind("xenstore.transaction")
        self.store.on_change = self._changed
        if self.history.head is None:
            for path in sorted(self.store.nodes):
                self.history.note("mkdir", path, self.store.nodes)
            self.history.done(0)

    def acting(self, connection: Connection, tid: int) -> _Acting:
        """Return a context in which changes are `connection`'s."""
        return _Acting(self, connection, tid)

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
        self._connections[domid] = Connection(self, domid, name, page, notify)
        self._special("@introduceDomain")

    def release(self, domid: Domid) -> None:
        """A domain is gone: forget its watches and transactions."""
        connection = self._connections.pop(domid, None)
        if connection is not None:
            connection.unwatch_all()
            self._waiting.pop(domid, None)
            self._special("@releaseDomain")

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
        connection = Connection(self, Domid(0), name, None, lambda: None)
        self._direct.append(connection)
        return Client(connection)

    # changes -----------------------------------------------------------------------------------------------------

    def _changed(self, op: str, path: str, removed: dict[str, Node]) -> None:
        who, tid = self.actor
        self.history.note(op, path, self.store.nodes)
        if not tid:
            self.history.done(self.acting_domid)
        kind = self._kinds[op]
        world = self._world
        before = world.cause
        value = ""
        if op == "write":
            value = self.store.nodes[path].value.decode("utf-8", "backslashreplace")[:200]
        if kind.on:
            self.tell(kind, who, {"path": path, "value": value, "tx": tid})
        if op == "write" and path.endswith("/state") and ("/device/" in path or "/backend/" in path) and self._k_state.on:
            state = parse(value)
            self.tell(self._k_state, who, {"path": path, "state": int(state), "name": state.title})
        self._fire(path, removed, tid)
        world.cause = before

    def _fire(self, path: str, removed: dict[str, Node], tid: int) -> None:
        """Fire the watches that a change of `path` concerns, of those who may read it; once in a transaction."""
        for connection, watch in self._concerned(path, below=bool(removed)):
            told = watch.concerns(path, below=bool(removed))
            node = removed.get(watch.path, removed[path]) if removed else self.store.nodes[path]
            if told is None or not allowed(node, connection.domid, "r") or (tid and (watch, told) in self.told):
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
            connection.fire(watch, name)
