"""xenstored: the lab's xenstore as a program of its own, on a Unix socket that unmodified xenstore-read, -write, -ls and so on use.

    mirage-lab xenstored --path S --database DB        XENSTORED_PATH=S xenstore-write /one/two/three 4        git -C DB log main

With a database each change is a commit there, on disk before its reply is sent; many that come together are synced together.
It is read again at the next start; watches and open transactions end with their connections.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import socket
from pathlib import Path
from typing import Final

from mirage_lab.irmin import BYTES, Repo, StoreError
from mirage_lab.irmin.git import Git
from mirage_lab.runtime import World
from mirage_lab.xen.abi import errno
from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.xenstore.daemon import Connection, Daemon, Watch
from mirage_lab.xen.xenstore.history import MOST, History
from mirage_lab.xen.xenstore.transaction import Engine

__all__ = ["Xenstored"]

CHUNK: Final = 64 << 10
BACKLOG: Final = 1 << 20
"""Bytes of replies a client may leave untaken before its requests wait."""
CLIENTS: Final = 256
IDLE: Final = 0.3
"""Seconds without a request, when all is encoded, after which git sees everything."""
PAUSE: Final = 0.002
"""Seconds without a request after which what git is to see is encoded."""
LOGGED: Final = 40_000
"""Commits in the log of a database, at most: while everybody asks, they wait there."""


class Client(Connection):
    """A client on the socket, with dom0's rights as on a real host, where only root may open it."""

    def __init__(self, daemon: Daemon, sock: socket.socket, name: str, stirred: dict[Client, None]) -> None:
        """`stirred` are the clients for whom there is something to send."""
        super().__init__(daemon, Domid(0), name, None, lambda: None)
        self.sock = sock
        self.stirred = stirred
        self.kept = 0
        self.events = selectors.EVENT_READ

    @property
    def waiting(self) -> int:
        """Bytes that the client has not taken."""
        return len(self._out)

    def fire(self, watch: Watch, told: str) -> None:
        """Send a watch event."""
        super().fire(watch, told)
        self.stirred[self] = None

    def settle(self, refused: str = "") -> None:
        """The answers since the last time may go, or (when what they say is not on disk) an error in place of each and no event."""
        out = self._out
        if refused:
            said, at = bytes(out[self.kept :]), 0
            del out[self.kept :]
            while at < len(said):
                op, rid, tid, length = wire.HEADER.unpack_from(said, at)
                at += wire.HEADER.size + length
                if op != wire.WATCH_EVENT:
                    out += wire.message(wire.ERROR, rid, tid, refused.encode() + b"\0")
        self.kept = len(out)

    def flush(self) -> None:
        """Send what the socket takes; raises OSError."""
        if self.kept:
            out = self._out
            try:
                sent = self.sock.send(out if self.kept == len(out) else out[: self.kept])
            except (BlockingIOError, InterruptedError):
                return
            del out[:sent]
            self.kept -= sent


class Xenstored:
    """The daemon, listening on `path` when it is made; `serve` works until `stop` is called, from any thread or signal.

    `recovered` says what of the database could not be read again, "" for nothing.
    """

    def __init__(self, path: Path, engine: Engine = "irmin", database: Path | None = None) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise StoreError("this system has no Unix sockets: xenstored needs one")
        self.path = path
        backend = None if database is None else Git(database, "group", LOGGED)
        self.recovered = "" if backend is None or not backend.recovered.dropped else str(backend.recovered)
        self._repo = Repo(BYTES, backend, author="xenstored")
        world = World(0)
        world.recorder.disable()  # nobody would read the events
        self.daemon = Daemon(world, world.queue("dom0"), engine=engine, history=History(self._repo, MOST if database is None else None))
        self._clients: dict[socket.socket, Client] = {}
        self._stirred: dict[Client, None] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._stopping = False
        self._idle = True
        self._number = 0
        self._listener = self._listen()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ, self)

    def _listen(self) -> socket.socket:
        if self.path.exists():
            probe = socket.socket(socket.AF_UNIX)
            try:
                probe.connect(str(self.path))
            except OSError:
                self.path.unlink()  # its daemon was killed
            else:
                raise StoreError(f"{self.path}: another xenstored listens there")
            finally:
                probe.close()
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            listener.bind(str(self.path))
        except OSError as error:
            listener.close()
            raise StoreError(f"{self.path}: {error.strerror or error}") from None
        finally:
            os.umask(before)
        listener.listen(64)
        listener.setblocking(False)
        return listener

    def stop(self, *ignored: object) -> None:
        """Have `serve` return."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._woken.send(b"x")

    def serve(self, alone: bool = False) -> None:
        """Answer until `stop`.  `alone`: nothing else is done in this process.

        Then the collector of garbage, whose pauses grow with the store, works only while nobody asks for anything: no request
        leaves anything to it.
        """
        if alone:
            gc.disable()
        work = self._repo.backend.work
        more = working = False
        while not self._stopping:
            ready = self._selector.select((0 if working else PAUSE) if more else None if self._idle else IDLE)
            if not ready:
                working, more = more, more and work()
                if not working:
                    self._rest(alone)
                continue
            working = False
            for key, mask in ready:
                client = key.data
                if client is None:
                    self._accept()
                elif client is not self:
                    if mask & selectors.EVENT_READ:
                        self._read(client)
                    if self._repo.backend.unsettled:
                        self._stirred[client] = None
                    else:  # it can ask again while the others are answered
                        client.settle()
                        self._write(client)
            self._settle()
            for client in self._stirred:
                self._write(client)
            self._stirred.clear()
            more = work(busy=True)

    def _rest(self, alone: bool) -> None:
        self._idle = True
        with contextlib.suppress(StoreError):  # a checkpoint that cannot be made loses nothing: it is tried again
            self._repo.flush()
        if alone:
            gc.collect()
            gc.freeze()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            sock, _ = self._listener.accept()
            if len(self._clients) >= CLIENTS:
                sock.close()
                return
            sock.setblocking(False)
            self._number += 1
            self._clients[sock] = client = Client(self.daemon, sock, f"connection {self._number}", self._stirred)
            self._selector.register(sock, selectors.EVENT_READ, client)

    def _read(self, client: Client) -> None:
        try:
            data = client.sock.recv(CHUNK) if client.waiting < BACKLOG else None
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data is None:
            return
        try:
            if not data:
                raise wire.RingError("the client has gone")
            self._idle = False
            client.feed(data)
        except wire.RingError:
            self._drop(client)

    def _settle(self) -> None:
        try:
            self._repo.settle()
        except StoreError as error:
            self.daemon.store.restore(self.daemon.history.entries())
            refused = errno.NAMES[errno.ENOSPC if "space" in str(error) or "large" in str(error) else errno.EIO]
        else:
            refused = ""
        for client in self._stirred:
            client.settle(refused)

    def _write(self, client: Client) -> None:
        if client.sock not in self._clients:
            return
        try:
            client.flush()
        except OSError:
            self._drop(client)
            return
        wanted = selectors.EVENT_READ
        if client.kept:
            wanted = selectors.EVENT_WRITE | (selectors.EVENT_READ if client.waiting < BACKLOG else 0)
        if client.events != wanted:
            client.events = wanted
            self._selector.modify(client.sock, wanted, client)

    def _drop(self, client: Client) -> None:
        if self._clients.pop(client.sock, None) is not None:
            client.unwatch_all()
            client.transactions.clear()
            self._selector.unregister(client.sock)
            client.sock.close()

    def close(self) -> None:
        """Let go of everything: the socket is removed, the database has it all."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.close()
        for sock in (self._listener, self._wake, self._woken):
            sock.close()
        self.path.unlink(missing_ok=True)
        self._repo.close()
