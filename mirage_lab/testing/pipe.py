"""pipe: two ends of a FLOW in memory: a connection without a stack, for whatever is built on connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import Disconnected

__all__ = ["End", "pipe"]

ROOM: Final = 65_536
"""Bytes on their way in one direction; more has to wait."""


class End:
    """One end; what is written comes out at `peer`."""

    module_type: ClassVar[str] = "FLOW"

    def __init__(self) -> None:
        self.peer = self
        self._arrived = bytearray()
        self._ended = False
        self._closed = False
        self._changed = tasks.Condition()

    def __repr__(self) -> str:
        return f"<End of a pipe, {len(self._arrived)} bytes to read{', closed' if self._closed else ''}>"

    async def read(self) -> bytes:
        """Return what has arrived; b"" when the peer has closed."""
        while not self._arrived and not self._ended:
            await self._changed.wait()
        data = bytes(self._arrived)
        self._arrived.clear()
        self.peer._changed.notify_all()
        return data

    async def write(self, data: bytes) -> None:
        """Send `data`, waiting while 64 KiB are on their way."""
        rest = memoryview(data)
        while rest:
            if self._closed:
                raise Disconnected("this end of the pipe was closed: nothing can be written after close()")
            room = ROOM - len(self.peer._arrived)
            self.peer._arrived += rest[:room]
            rest = rest[room:]
            self.peer._changed.notify_all()
            if rest:
                await self._changed.wait()

    async def writev(self, pieces: Sequence[bytes]) -> None:
        """Send `pieces` one after the other."""
        await self.write(b"".join(pieces))

    async def close(self) -> None:
        """End our direction; twice is once."""
        self._closed = True
        self.peer._ended = True
        self.peer._changed.notify_all()


def pipe() -> tuple[End, End]:
    """Return the two ends of a new connection."""
    one, other = End(), End()
    one.peer, other.peer = other, one
    return one, other
