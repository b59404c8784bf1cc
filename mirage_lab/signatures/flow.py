"""FLOW, CHANNEL, CONSOLE: bytes in order (types/V1.mli, mirage 2.0.0)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from mirage_lab.signatures.device import Device

__all__ = ["Channel", "Console", "Flow"]


@runtime_checkable
class Flow(Protocol):
    """FLOW: a connection, whatever carries it.

    Promises: bytes arrive in order, once, or not at all; `write` returns when the data is queued (2.0.0) and waits while
    the queue is full.  Refusals: message boundaries are not kept; data may arrive in other pieces than it was written.
    """

    module_type: ClassVar[str] = "FLOW"

    async def read(self) -> bytes:
        """Return what has arrived, at least one byte; `b""` is end of file.  Raises ConnectionReset."""

    async def write(self, data: bytes) -> None:
        """Queue `data`.  Raises ConnectionReset, or Disconnected after `close`."""

    async def writev(self, pieces: Sequence[bytes]) -> None:
        """Queue `pieces` one after the other."""

    async def close(self) -> None:
        """Send what is queued, then end our direction; the peer may still send.  Twice is once."""


@runtime_checkable
class Console(Flow, Device, Protocol):
    """CONSOLE: a FLOW with two ways to print a line.

    Promises: `log` never waits: what does not fit is dropped.  `log_s` waits for room.  Both end the line.
    """

    module_type: ClassVar[str] = "CONSOLE"

    def log(self, text: str) -> None:
        """Print a line, as much as fits."""

    async def log_s(self, text: str) -> None:
        """Print a line, all of it."""


@runtime_checkable
class Channel(Protocol):
    """CHANNEL: a FLOW read by characters and lines, and written through a buffer.

    Promises: writes are only buffered until `flush`.  Refusals: a line is at most 65,536 bytes (RemoteProtocolError).
    """

    module_type: ClassVar[str] = "CHANNEL"

    def to_flow(self) -> Flow:
        """Return the flow underneath."""

    async def read_char(self) -> bytes:
        """Return one byte; `b""` at end of file."""

    async def read_until(self, char: bytes) -> tuple[bool, bytes]:
        """Return (found, bytes before `char`); not found at end of file."""

    async def read_some(self, length: int | None = None) -> bytes:
        """Return at most `length` bytes of what is there; `b""` at end of file."""

    async def read_line(self) -> bytes:
        """Return a line without its CRLF or LF."""

    def write_string(self, text: str) -> None:
        """Buffer `text` as UTF-8."""

    def write_buffer(self, data: bytes) -> None:
        """Buffer `data`."""

    def write_line(self, text: str) -> None:
        """Buffer `text` and a newline."""

    async def flush(self) -> None:
        """Write the buffer to the flow."""

    async def close(self) -> None:
        """Flush and close the flow."""
