"""xensocket: the lab's own xenstore on a Unix socket: XENSTORED_PATH for unmodified xenstore-ls, -read, -write, -watch, while the lab plays.

    xenstore-write ──bytes──▶ HostSocket ──submitted at a tick, journalled──▶ Peer ──▶ the daemon that the domains have
                   ◀─────────────────────────────────────────────── replies and watch events

A program on the socket has the rights of dom0, as on a real host, where root alone may open it: here its owner may.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from mirage_lab.runtime import World
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.usernet.hostsocket import HostSocket
from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.dom0.toolstack import Toolstack
from mirage_lab.xen.xenstore.connection import Connection, Watch
from mirage_lab.xen.xenstore.daemon import Daemon

__all__ = ["Peer", "XenSocket"]

PEERS: Final = 64
BACKLOG: Final = 1 << 20
"""Bytes of replies a program may leave untaken before it is thrown out."""


class Peer(Connection):
    """A program on the socket; in a replay there is none, and what is sent goes nowhere."""

    def __init__(self, daemon: Daemon, cid: str, host: HostSocket | None) -> None:
        super().__init__(daemon, Domid(0), f"socket {cid}", None, lambda: None)
        self.host = host
        self.untaken = 0

    def fire(self, watch: Watch, told: str) -> None:
        """Send a watch event."""
        super().fire(watch, told)
        self.pass_on()

    def pass_on(self) -> None:
        """Send what there is to send."""
        if self.host is not None and self._out:
            self.untaken += len(self._out)
            self.host.send(bytes(self._out))
        self._out.clear()


class XenSocket:
    """The socket of one machine: `path` on the host.  `open` and `shut` are its host side."""

    def __init__(self, world: World, toolstack: Toolstack, path: str, own_folder: bool) -> None:
        """`own_folder`: the directory of `path` is made for it, and removed with it."""
        self.path = path
        self._own_folder = own_folder
        self._world = world
        self._toolstack = toolstack
        self._listener: socket.socket | None = None
        self._sockets: dict[str, HostSocket] = {}
        self._peers: dict[str, Peer] = {}
        self._cid = 0
        for name, handler in (
            ("host.accept", self._on_accept),
            ("host.bytes", self._on_bytes),
            ("host.eof", self._on_gone),
            ("host.reset", self._on_gone),
            ("host.sent", self._on_sent),
        ):
            world.on_command(f"{name}@xenstored", handler)

    def __repr__(self) -> str:
        return f"XENSTORED_PATH={self.path} xenstore-ls (while the lab plays; {len(self._peers)} programs are connected)"

    # the host's side ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Listen.  Raises LocalProtocolError."""
        if self._listener is not None:
            return
        if not hasattr(socket, "AF_UNIX"):
            raise LocalProtocolError("this system has no Unix sockets: %xenstore and lab.xenstore work everywhere")
        if self._own_folder:
            Path(self.path).parent.mkdir(mode=0o700, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            with contextlib.suppress(FileNotFoundError):
                if Path(self.path).is_socket() and not _answers(self.path):
                    Path(self.path).unlink()  # whoever had it was killed
            listener.bind(self.path)
        except OSError as error:
            listener.close()
            raise LocalProtocolError(f"{self.path}: {error.strerror or error}") from None
        finally:
            os.umask(before)
        listener.listen(PEERS)
        listener.setblocking(False)
        self._listener = listener
        self._world.host_connections += 1
        self._world.host.register(listener, self._accept)

    def shut(self) -> None:
        """Close the socket and whoever is on it, and remove its file."""
        for host in list(self._sockets.values()):
            host.close()
        if self._listener is not None:
            self._world.host.unregister(self._listener)
            self._world.host_connections -= 1
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                Path(self.path).unlink()
            if self._own_folder:
                with contextlib.suppress(OSError):
                    Path(self.path).parent.rmdir()

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if len(self._sockets) >= PEERS:
            sock.close()
            return
        self._cid += 1
        cid = str(self._cid)
        self._sockets[cid] = HostSocket(self._world, "xenstored", cid, sock, lambda gone: self._sockets.pop(gone, None))
        self._world.submit("host.accept@xenstored", cid=cid)

    # in the world ------------------------------------------------------------------------------------------------

    def _on_accept(self, cid: str) -> None:
        self._cid = max(self._cid, int(cid))
        host = self._sockets.get(cid)
        self._peers[cid] = Peer(self._toolstack.daemon, cid, host)
        if host is not None:
            host.watch()

    def _on_bytes(self, cid: str, data: bytes) -> None:
        peer = self._peers.get(cid)
        if peer is None:
            return
        try:
            peer.feed(data)
        except wire.RingError:
            self._drop(cid)
            return
        peer.pass_on()
        if peer.untaken > BACKLOG:
            self._drop(cid)
        elif peer.host is not None:
            peer.host.taken(len(data))

    def _on_sent(self, cid: str, count: int) -> None:
        if cid in self._peers:
            self._peers[cid].untaken -= count

    def _on_gone(self, cid: str) -> None:
        self._drop(cid)

    def _drop(self, cid: str) -> None:
        peer = self._peers.pop(cid, None)
        if peer is not None:
            peer.unwatch_all()
            peer.transactions.clear()
            if peer.host is not None:
                peer.host.close()

    def drop_all(self) -> None:
        """xenstored was killed: connections are broken, as those of any program."""
        for cid in list(self._peers):
            self._drop(cid)


def _answers(path: str) -> bool:
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(path)
    except OSError:
        return False
    finally:
        probe.close()
    return True
