"""Console: CONSOLE over the console ring (mirage-console-xen).

What does not fit the ring waits in a buffer of 64 KiB; when that is full too, `log` drops and `log_s` and `write` wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.xen.abi.evtchn import Events
from mirage_lab.xen.abi.io import console as ring
from mirage_lab.xen.abi.xen import Port

__all__ = ["Console"]

BUFFER: Final = 64 << 10


class Console:
    """The console of this domain."""

    module_type: ClassVar[str] = "CONSOLE"
    id = "console"

    def __init__(self, events: Events, page: memoryview, port: Port) -> None:
        self._events = events
        self._page = page
        self._port = port
        self._out = bytearray()
        self._in = bytearray()
        self._room = tasks.Condition()
        self._input = tasks.Condition()
        events.bind(port, self._event)
        events.unmask(port)

    def _event(self) -> None:
        """dom0 has taken output or typed input."""
        typed = ring.read(self._page, out=False)
        if typed:
            self._in += typed[: BUFFER - len(self._in)]
            self._input.notify_all()
            self._events.notify(self._port)
        self._push()
        if len(self._out) < BUFFER:
            self._room.notify_all()

    def _push(self) -> None:
        if self._out:
            count = ring.write(self._page, bytes(self._out[: ring.OUT_SIZE]), out=True)
            if count:
                del self._out[:count]
                self._events.notify(self._port)

    def log(self, text: str) -> None:
        """Print a line; what does not fit the buffer is dropped."""
        line = _text(text).encode("utf-8", "backslashreplace") + b"\n"
        if len(self._out) + len(line) <= BUFFER:
            self._out += line
            self._push()

    async def log_s(self, text: str) -> None:
        """Print a line, all of it."""
        await self.write(_text(text).encode("utf-8", "backslashreplace") + b"\n")

    async def write(self, data: bytes) -> None:
        """Print bytes, waiting for room."""
        rest = memoryview(data)
        while rest:
            room = BUFFER - len(self._out)
            self._out += rest[:room]
            rest = rest[room:]
            self._push()
            if rest:
                await self._room.wait()

    async def writev(self, pieces: Sequence[bytes]) -> None:
        """Print pieces one after the other."""
        await self.write(b"".join(pieces))

    async def read(self) -> bytes:
        """Return what was typed, at least a byte."""
        while not self._in:
            await self._input.wait()
        typed = bytes(self._in)
        self._in.clear()
        return typed

    async def drain(self) -> None:
        """Wait until dom0 has taken everything but the last ring of it."""
        while self._out:
            await self._room.wait()

    async def close(self) -> None:
        """A console stays open."""

    async def disconnect(self) -> None:
        """A console stays connected."""


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise LocalProtocolError(f"a console prints text, not {text!r:.60}: console.log(f\"{{value}}\")")
    return text
