"""connection: one client of xenstored: its ring, its watches and its transactions.

A ring whose indices lie ends the connection; replies that are not taken stop further requests being read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.xen.abi import errno
from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.xenstore.history import Moment
from mirage_lab.xen.xenstore.request import answer
from mirage_lab.xen.xenstore.store import Store, StoreError, View
from mirage_lab.xen.xenstore.transaction import Transaction

if TYPE_CHECKING:
    from mirage_lab.xen.xenstore.daemon import Daemon

__all__ = ["Connection", "Watch"]

WATCHES: Final = 128
TRANSACTIONS: Final = 10
HEAD: Final = wire.HEADER.size
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

    def __init__(self, daemon: Daemon, domid: Domid, name: str, page: memoryview | None, notify: Callable[[], None], key: str = "") -> None:
        """`key` is its name among the sessions; a connection without one is forgotten when xenstored ends."""
        self.daemon = daemon
        self.key = key
        self.domid = domid
        self.name = name
        self.watches: list[Watch] = []
        self.transactions: dict[int, Transaction] = {}
        self.bases: dict[int, Moment] = {}
        self.callback: Callable[[Watch, str], None] | None = None
        self.error = ""
        self._page = page
        self._notify = notify
        self._in = bytearray()
        self._out = bytearray()
        self._kept = False
        self._answering = False
        self._first: Watch | None = None

    @property
    def ringed(self) -> bool:
        """True for a domain on its ring."""
        return self._page is not None

    @property
    def store(self) -> Store:
        """The store."""
        return self.daemon.store

    # transactions and watches ------------------------------------------------------------------------------------

    def view(self, tid: int) -> View:
        """Return what a request works on: the store, or a transaction of this connection."""
        if not tid:
            return self.daemon.store
        found = self.transactions.get(tid)
        if found is None:
            raise StoreError(errno.ENOENT, f"transaction {tid}")
        return found

    def start(self) -> int:
        """Begin a transaction and return its number."""
        if self.domid and len(self.transactions) >= TRANSACTIONS:
            raise StoreError(errno.ENOSPC, f"domain {self.domid} has {TRANSACTIONS} transactions open")
        tid = self.daemon.next_tid()
        self.transactions[tid] = Transaction(self.store, tid, self.domid, self.daemon.engine)
        self.bases[tid] = self.daemon.history.now
        if self.ringed:
            self.touched()
        return tid

    def end(self, tid: int, commit: bool) -> None:
        """End a transaction; raises StoreError EAGAIN on a conflict."""
        if tid not in self.transactions:
            raise StoreError(errno.ENOENT, f"transaction {tid}")
        if self.ringed:
            self.touched()  # those of dom0's programs begin and end in one step
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
        """Add a watch; its first event comes at once, behind the answer to a request."""
        if any(watch.path == path and watch.token == token for watch in self.watches):
            raise StoreError(errno.EEXIST, f"watch {named} {token}")
        if self.domid and len(self.watches) >= WATCHES:
            raise StoreError(errno.E2BIG, f"domain {self.domid} has {WATCHES} watches")
        watch = Watch(path, named, token)
        self.watches.append(watch)
        self.daemon.watching(self, watch)
        self.touched()
        if self._answering:
            self._first = watch
        else:
            self.fire(watch, named)

    def unwatch(self, path: str, token: str) -> None:
        """Remove a watch."""
        for watch in self.watches:
            if watch.path == path and watch.token == token:
                self.watches.remove(watch)
                self.daemon.forget(self, watch)
                self.touched()
                return
        raise StoreError(errno.ENOENT, f"watch {path} {token}")

    def reset(self) -> None:
        """Remove every watch, and drop every transaction."""
        for tid in list(self.transactions):
            self.end(tid, False)
        self.unwatch_all()

    def unwatch_all(self) -> None:
        """Remove every watch."""
        for watch in self.watches:
            self.daemon.forget(self, watch)
        self.watches.clear()
        self.touched()

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
            self.touched()
            daemon.later(self)
        world.cause = cause

    def _call(self, watch: Watch, told: str) -> None:
        if watch in self.watches and self.callback is not None:
            self.callback(watch, told)

    # sessions ----------------------------------------------------------------------------------------------------

    def touched(self) -> None:
        """What is kept of it has changed."""
        if self.key:
            self.daemon.touched[self.key] = self

    def session(self) -> dict[str, Any]:
        """Return what a later xenstored has to know of this client."""
        return {
            "watches": [[watch.path, watch.named, watch.token] for watch in self.watches],
            "transactions": [[tid, list(transaction.log)] for tid, transaction in self.transactions.items()],
            "read": bytes(self._in),
            "untaken": bytes(self._out),
            "target": self.store.targets.get(self.domid),
        }

    def take_up(self, session: dict[str, Any]) -> None:
        """Go on where that client was; nobody is told again what it was told."""
        daemon = self.daemon
        for path, named, token in session["watches"]:
            watch = Watch(path, named, token)
            self.watches.append(watch)
            daemon.watching(self, watch)
        for tid, log in session["transactions"]:
            self.transactions[tid] = Transaction.revived(self.store, tid, self.domid, daemon.engine, log)
            self.bases[tid] = daemon.history.now
            daemon.used_tid(tid)
        if session.get("target") is not None:
            self.store.targets[self.domid] = session["target"]
        self._in += session["read"]
        self._out += session["untaken"]

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
        if self._out or self._in or self._kept:
            self._kept = bool(self._out or self._in)
            self.touched()
        self.daemon.settle()
        if moved:
            self._notify()

    def feed(self, data: bytes) -> None:
        """Take bytes that came otherwise than on a ring, and answer the requests in them; raises RingError when they are none."""
        self._in += data
        self._requests()

    def _flush(self, page: memoryview) -> bool:
        if not self._out:
            return False
        count = wire.write(page, bytes(self._out[: wire.RING_SIZE]), request=False)
        del self._out[:count]
        return bool(count)

    def _requests(self) -> None:
        buffered, out, daemon, at = self._in, self._out, self.daemon, 0
        before = daemon.begin(self, 0)
        self._answering = True
        try:
            while len(buffered) - at >= HEAD:
                op, rid, tid, length = wire.HEADER.unpack_from(buffered, at)
                if length > wire.PAYLOAD_MAX:
                    raise wire.RingError(f"a request that says it has {length} bytes; {wire.PAYLOAD_MAX} are allowed")
                end = at + HEAD + length
                if len(buffered) < end:
                    break
                payload, at = bytes(buffered[at + HEAD : end]), end
                try:
                    data = answer(self, op, tid, payload)
                    if tid and self.key and tid in self.transactions:
                        self.touched()
                except StoreError as error:
                    op, data = wire.ERROR, error.name.encode() + b"\0"
                out += wire.HEADER.pack(op, rid, tid, len(data)) + data
                if self._first is not None:
                    watch, self._first = self._first, None
                    self.fire(watch, watch.named)
        finally:
            del buffered[:at]
            self._answering = False
            daemon.end(self, before)
