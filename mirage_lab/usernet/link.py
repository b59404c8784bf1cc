"""Link: the world's side of a host connection: two pumps between a FLOW and what the host gives and takes.

In a replay there is no HostSocket: the same commands come from the journal, and what would be sent is only counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from mirage_lab.runtime import RunQueue, tasks
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.usernet.hostsocket import CREDIT, HostSocket

if TYPE_CHECKING:
    from mirage_lab.tcpip.tcp.flow import TcpFlow as Connection

__all__ = ["Link"]


class Link:
    """One connection through the gateway.  `to_guest` and `to_host` count bytes."""

    def __init__(self, queue: RunQueue, cid: str, host: HostSocket | None, done: Callable[[Link], None]) -> None:
        self.cid = cid
        self.host = host
        self.to_guest = self.to_host = 0
        self.connected: tasks.Future[bool] = tasks.Future()
        self.over = False
        self._queue = queue
        self._done = done
        self._incoming: deque[bytes] = deque()
        self._arrived = tasks.Condition()
        self._credit = CREDIT
        self._room = tasks.Condition()
        self._eof = False
        self._flow: Connection | None = None

    def __repr__(self) -> str:
        return f"<Link {self.cid} {self.to_guest:,} bytes to the guest, {self.to_host:,} to the host>"

    # commands ----------------------------------------------------------------------------------------------------

    def bytes(self, data: bytes) -> None:
        """The host program sent data."""
        self._incoming.append(data)
        self._arrived.notify_all()

    def eof(self) -> None:
        """The host program has ended its direction."""
        self._eof = True
        self._arrived.notify_all()

    def sent(self, count: int) -> None:
        """The host program has taken `count` bytes."""
        self._credit += count
        self._room.notify_all()

    def reset(self) -> None:
        """The host connection broke."""
        if not self.connected.done:
            self.connected.set(False)
        if self._flow is not None:
            self._flow.abort()
        self._end(hard=True)

    # pumps -------------------------------------------------------------------------------------------------------

    async def carry(self, flow: TcpFlow) -> None:
        """Pump both ways until both have ended, or one breaks."""
        self._flow = flow  # type: ignore[assignment]
        try:
            async with tasks.nursery() as both:
                both.start(self._to_guest(flow), "to guest")
                both.start(self._to_host(flow), "to host")
        except MirageError:
            self._end(hard=True)
        else:
            self._end()

    async def _to_guest(self, flow: TcpFlow) -> None:
        while True:
            while not self._incoming and not self._eof and not self.over:
                await self._arrived.wait()
            if self.over or not self._incoming:
                break
            data = self._incoming.popleft()
            await flow.write(data)
            self.to_guest += len(data)
            if self.host is not None:
                self.host.taken(len(data))
        await flow.close()

    async def _to_host(self, flow: TcpFlow) -> None:
        while data := await flow.read():
            self.to_host += len(data)
            self._credit -= len(data)
            if self.host is not None:
                self.host.send(data)
            while self._credit <= 0 and not self.over:
                await self._room.wait()
        if self.host is not None:
            self.host.end()

    def refuse(self) -> None:
        """Nobody answers at the other end."""
        self._end(hard=True)

    def _end(self, *, hard: bool = False) -> None:
        if self.over:
            return
        self.over = True
        self._arrived.notify_all()
        self._room.notify_all()
        if self.host is not None and hard:
            self.host.close(hard=True)
        self._done(self)
