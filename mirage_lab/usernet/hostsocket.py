"""HostSocket: one host connection, non-blocking: what it gives is submitted to the world, what the world gives it is sent.

Both directions are bounded by credit: bytes submitted and not yet taken by the world, bytes given and not yet sent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from mirage_lab.runtime import World

__all__ = ["CHUNK", "CREDIT", "HostSocket", "close_hard", "listener"]

CHUNK: Final = 64 << 10
_IN_PROGRESS: Final = frozenset(getattr(errno, name) for name in ("EINPROGRESS", "EWOULDBLOCK", "WSAEWOULDBLOCK") if hasattr(errno, name))
CREDIT: Final = 256 << 10
BACKLOG: Final = 128


def listener(port: int) -> socket.socket:
    """Return a non-blocking listening socket on 127.0.0.1; raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def close_hard(sock: socket.socket) -> None:
    """Close with a RST: the peer learns that the connection broke."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class HostSocket:
    """The host's side of a link.  `where` ends the names of the commands it submits; `cid` is the connection's number."""

    def __init__(self, world: World, where: str, cid: str, sock: socket.socket, closed: Callable[[str], object]) -> None:
        """`closed(cid)` is told when the socket is given back."""
        self.cid = cid
        self._tell = closed
        self._world = world
        self._where = where
        self._sock = sock
        self._out = bytearray()
        self._unread = 0
        self._ended = False
        self._eof = False
        self._closed = False
        self._connecting = False
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        world.host_connections += 1

    def connect(self, address: tuple[str, int]) -> None:
        """Begin to connect; "host.connected" or "host.reset" follows."""
        self._connecting = True
        code = self._sock.connect_ex(address)
        if code and code not in _IN_PROGRESS:
            self._connecting = False
            self._submit("host.reset")
            self.close(hard=True)
            return
        self.watch()

    def watch(self) -> None:
        """Wait for what may happen now."""
        if self._closed:
            return
        reads = not self._eof and not self._connecting and self._unread < CREDIT
        writes = bool(self._out) or self._connecting
        self._world.host.register(self._sock, self._read if reads else None, self._write if writes else None)

    def _submit(self, name: str, **args: object) -> None:
        self._world.submit(f"{name}@{self._where}", cid=self.cid, **args)

    # what the host does ------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data = self._sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._broken()
            return
        if data:
            self._unread += len(data)
            self._submit("host.bytes", data=data)
        else:
            self._eof = True
            self._submit("host.eof")
            self._finish()
        self.watch()

    def _write(self) -> None:
        if self._connecting:
            self._connecting = False
            if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._broken()
                return
            self._submit("host.connected")
        if self._out:
            try:
                count = self._sock.send(self._out)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._broken()
                return
            del self._out[:count]
            self._submit("host.sent", count=count)
        self._finish()
        self.watch()

    def _broken(self) -> None:
        self._submit("host.reset")
        self.close(hard=True)

    def _finish(self) -> None:
        """After the last byte: end our direction, and close when the other is ended too."""
        if self._closed or not self._ended or self._out:
            return
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        if self._eof:
            self.close()

    # what the world says -----------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send to the host program, as it takes it."""
        if not self._closed:
            self._out += data
            self.watch()

    def taken(self, count: int) -> None:
        """The world has taken `count` of the submitted bytes: more may be read."""
        self._unread -= count
        self.watch()

    def end(self) -> None:
        """Nothing more will be sent."""
        self._ended = True
        self._finish()

    def close(self, *, hard: bool = False) -> None:
        """Close the socket; hard: break the connection off."""
        if self._closed:
            return
        self._closed = True
        self._world.host_connections -= 1
        self._world.host.unregister(self._sock)
        self._tell(self.cid)
        if hard:
            close_hard(self._sock)
        else:
            self._sock.close()
