"""TcpFlow: a FLOW on a connection: the pure Pcb, its timer, and the tasks that wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from mirage_lab.runtime import tasks
from mirage_lab.runtime.world import Timer
from mirage_lab.signatures.errors import ConnectionRefused, ConnectionReset, ConnectionTimedOut, Disconnected, MirageError
from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.pcb import CLOSED, ESTABLISHED, READABLE, WRITABLE, Pcb
from mirage_lab.tcpip.tcp.states import State
from mirage_lab.tcpip.wire.address import end_text
from mirage_lab.tcpip.wire.tcp import Segment, encode

if TYPE_CHECKING:
    from mirage_lab.tcpip.tcp.tcpv4 import Tcp

__all__ = ["TcpFlow"]


class TcpFlow:
    """One TCP connection.  `write` returns when the data is queued and waits while the queue (256 KiB) is full."""

    module_type: ClassVar[str] = "FLOW"

    __slots__ = ("_address", "_held", "_pseudo", "_readable", "_tcp", "_timer", "_writable", "established", "key", "local", "pcb", "retransmitted")

    def __init__(self, tcp: Tcp, address: int, local: int, key: int, pcb: Pcb) -> None:
        self.pcb = pcb
        self.key = key
        self.local = local
        self.retransmitted = 0
        self.established = tasks.Condition()
        self._tcp = tcp
        self._address = address
        self._pseudo = tcp.ip.pseudo(local, address, 6, 0)
        self._readable = tasks.Condition()
        self._writable = tasks.Condition()
        self._timer: Timer | None = None
        self._held = 0

    @property
    def dst(self) -> tuple[str, int]:
        """The peer's address and port."""
        return self._tcp.ip.text(self._address), self.pcb.dst_port

    @property
    def src(self) -> tuple[str, int]:
        """Our address and port."""
        return self._tcp.ip.text(self.local), self.pcb.src_port

    @property
    def state(self) -> State:
        """Where the connection stands."""
        return self.pcb.state

    def __repr__(self) -> str:
        return f"<Tcp {end_text(self.src)} <- {end_text(self.dst)} {self.pcb!r}>"

    # what the connection is told ---------------------------------------------------------------------------------

    def input(self, segment: Segment) -> None:
        """Take a segment whose checksum is good."""
        self.pcb.pressed = self._tcp.held > self._tcp.memory
        self.after(self.pcb.receive(segment, self._tcp.queue.world.now))

    def after(self, happened: int) -> None:
        """Send what may go out, wake who waits, set the timer."""
        pcb, tcp = self.pcb, self._tcp
        if tcp.k_buffers.on:
            tcp.say_buffers(self)
        now = tcp.queue.world.now
        if pcb.remarks:
            tcp.remark(self)
        for segment in pcb.transmit(now):
            tcp.output(self._address, encode(segment, self._pseudo), segment.ecn, self.local)
        if pcb.remarks:
            tcp.remark(self)
        held = pcb.held
        if held != self._held >= 0:
            tcp.held += held - self._held
            self._held = held
        if happened:
            if happened & READABLE:
                self._readable.notify_all()
            if happened & WRITABLE:
                self._writable.notify_all()
            if happened & (ESTABLISHED | CLOSED):
                self.established.notify_all()
                if happened & ESTABLISHED:
                    tcp.opened(self)
                if happened & CLOSED:
                    self._readable.notify_all()
                    self._writable.notify_all()
                    tcp.forget(self)
        deadline = pcb.next_deadline()
        timer = self._timer
        if deadline is None:
            return
        if timer is None or deadline < timer.when:
            if timer is not None:
                timer.cancel()
            self._timer = tcp.queue.call_at(deadline, self._due)

    def _due(self) -> None:
        """The timer rang: too early when the deadline has moved on since; `after` sets it again."""
        self._timer = None
        now = self._tcp.queue.world.now
        deadline = self.pcb.next_deadline()
        if deadline is None:
            return
        if deadline > now:
            self._timer = self._tcp.queue.call_at(deadline, self._due)
        else:
            self.after(self.pcb.on_deadline(now))

    def stop(self) -> None:
        """Forget the timer and what data is held: the connection is over."""
        self._tcp.held -= max(self._held, 0)
        self._held = -1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def failure(self, doing: str) -> MirageError | None:
        """Return the error that ended the connection, if one did."""
        where = end_text(self.dst)
        match self.pcb.error:
            case None:
                return None
            case "refused":
                return ConnectionRefused(f"{where} refused the connection: nobody listens there, or the address is not reachable")
            case "timed out":
                return ConnectionTimedOut(f"{where} did not answer ({doing})")
            case "aborted":
                return ConnectionReset(f"the connection with {where} was aborted here ({doing})")
            case _:
                return ConnectionReset(f"{where} reset the connection ({doing})")

    # FLOW --------------------------------------------------------------------------------------------------------

    async def read(self) -> bytes:
        """Return what has arrived, at least a byte; b"" is end of file."""
        pcb = self.pcb
        while True:
            data = pcb.read()
            if data:
                pcb.pressed = self._tcp.held - len(data) > self._tcp.memory
                self.after(0)
                return data
            if pcb.eof:
                return b""
            if pcb.error is not None:
                raise self.failure("reading") or ConnectionReset("reading")
            if pcb.state is State.CLOSED:
                return b""
            await self._readable.wait()

    async def write(self, data: bytes) -> None:
        """Queue `data`, waiting while the queue is full."""
        pcb = self.pcb
        rest = memoryview(data)
        while True:
            if pcb.error is not None:
                raise self.failure("writing") or ConnectionReset("writing")
            if pcb.closing or pcb.state is State.CLOSED:
                raise Disconnected(f"{end_text(self.dst)}: the flow was closed here; nothing can be written after flow.close()")
            pcb.pressed = self._tcp.held > self._tcp.memory
            taken = pcb.write(rest)
            self.after(0)
            rest = rest[taken:]
            if not rest:
                return
            await self._writable.wait()

    async def writev(self, pieces: Sequence[bytes]) -> None:
        """Queue `pieces` one after the other, in as few segments as they fit."""
        await self.write(b"".join(pieces))

    async def close(self) -> None:
        """Send what is queued, then end our direction."""
        self.after(self.pcb.close())

    def abort(self) -> None:
        """Break the connection off with a RST."""
        self.after(self.pcb.abort())

    def finish(self) -> None:
        """End our direction, from where nothing can be awaited (a failed service)."""
        self.after(self.pcb.close())

    def expire(self) -> None:
        """Give up the rest of TIME_WAIT."""
        self.after(self.pcb.expire())

    def nodelay(self, on: bool = True) -> None:
        """Send small pieces at once (`on`), or wait until what is under way is acknowledged (Nagle, RFC 9293 section 3.7.4)."""
        self.pcb.nagle = not on
        self.after(0)

    def keepalive(self, idle: Ns) -> None:
        """After `idle` without a word ask the peer whether it is there; when it never answers, reading fails.  0: never ask."""
        self.pcb.keep_alive(idle, self._tcp.queue.world.now)
        self.after(0)

    @property
    def readable_now(self) -> bool:
        """True if `read` would return at once."""
        return bool(self.pcb.buffered[0]) or self.pcb.eof or self.pcb.state is State.CLOSED
