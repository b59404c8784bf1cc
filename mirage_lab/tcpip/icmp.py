"""Icmpv4: echo and destination unreachable (RFC 792, RFC 1122 section 3.2.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from mirage_lab.runtime import RunQueue, tasks
from mirage_lab.signatures.errors import ConnectionTimedOut
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.ipv4 import Ipv4
from mirage_lab.tcpip.wire import icmp as wire
from mirage_lab.tcpip.wire.address import ip_int, ip_text
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.ipv4 import ICMP

__all__ = ["IcmpStatistics", "Icmpv4"]

ERROR_EVERY: Final = ms(10)
SECOND: Final = seconds(1)
"""At most one error message in this time (RFC 1812 section 4.3.2.8)."""

Unreachable = Callable[[int, int, bytes], None]
"""`heard(code, dst, transport header)` of a packet of ours that did not arrive."""


@dataclass(frozen=True, slots=True)
class IcmpStatistics:
    """Echoes answered, errors sent and heard, drops by reason."""

    echoes: int
    errors_sent: int
    errors_heard: int
    dropped: dict[str, int]


class Icmpv4:
    """ICMP for one Ipv4."""

    module_type: ClassVar[str] = "ICMPV4"

    def __init__(self, queue: RunQueue, ipv4: Ipv4) -> None:
        self.queue = queue
        self.ipv4 = ipv4
        self.on_unreachable: dict[int, Unreachable] = {}
        self._drops = Drops(queue, "icmp.drop")
        self._k_echo = queue.kind("icmp.echo")
        self._waiting: dict[int, tuple[int, tasks.Future[Ns], Ns]] = {}
        self._next = queue.rng("icmp.ident").randrange(65_536) << 16
        self._error_at = Ns(-ERROR_EVERY)
        self._echoes = self._errors_sent = self._errors_heard = 0
        ipv4.register(ICMP, self.input)
        ipv4.unreachable = self.send_unreachable

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.ipv4.id

    def input(self, src: int, dst: int, payload: bytes) -> None:
        """Take a message from IPv4."""
        try:
            message = wire.decode(payload)
        except WireError as error:
            self._drops("checksum" if "checksum" in str(error) else "malformed")
            return
        if message.type == wire.ECHO_REQUEST and dst == self.ipv4.address:
            self._echoes += 1
            if self._k_echo.on:
                world = self.queue.world
                self._k_echo.emit(world.now, self.queue.name, world.cause, {"src": ip_text(src), "length": len(message.data)})
            self.ipv4.output(src, ICMP, wire.encode(wire.Icmp(wire.ECHO_REPLY, 0, message.rest, message.data)))
        elif message.type == wire.ECHO_REPLY:
            self._reply(src, message.rest)
        elif message.type == wire.UNREACHABLE:
            self._heard(message)
        else:
            self._drops("type not known", type=message.type)

    def _reply(self, src: int, rest: int) -> None:
        waiting = self._waiting.get(rest)
        if waiting is None or waiting[0] != src:
            self._drops("echo reply nobody waits for")
            return
        del self._waiting[rest]
        waiting[1].set(Ns(self.queue.now - waiting[2]))

    def _heard(self, message: wire.Icmp) -> None:
        quoted = message.data
        start = (quoted[0] & 15) * 4 if quoted else 0
        if len(quoted) < max(start, 20) or quoted[0] >> 4 != 4:
            self._drops("malformed")
            return
        self._errors_heard += 1
        heard = self.on_unreachable.get(quoted[9])
        if heard is not None and len(quoted) >= start + 8 and int.from_bytes(quoted[12:16], "big") == self.ipv4.address:
            heard(message.code, int.from_bytes(quoted[16:20], "big"), quoted[start : start + 8])

    def send_unreachable(self, code: int, packet: bytes) -> None:
        """Tell the sender of `packet` (an IPv4 packet to us alone) that it went nowhere; not too often."""
        start = (packet[0] & 15) * 4
        src = int.from_bytes(packet[12:16], "big")
        if packet[9] == ICMP or src in (0, 0xFFFF_FFFF) or src >> 28 >= 0xE:
            return
        if self.queue.now - self._error_at < ERROR_EVERY:
            self._drops("errors too often")
            return
        self._error_at = self.queue.now
        self._errors_sent += 1
        self.ipv4.output(src, ICMP, wire.encode(wire.Icmp(wire.UNREACHABLE, code, 0, packet[: start + 8])))

    async def ping(self, dst: str, size: int = 56, timeout: Ns = SECOND) -> Ns:
        """Send an echo of `size` bytes and return the round-trip time; raises ConnectionTimedOut."""
        self._next = rest = (self._next & 0xFFFF_0000) | (self._next + 1 & 0xFFFF)
        answer: tasks.Future[Ns] = tasks.Future()
        address = ip_int(dst)
        self._waiting[rest] = (address, answer, self.queue.now)
        data = bytes(index & 0xFF for index in range(size))
        self.ipv4.output(address, ICMP, wire.encode(wire.Icmp(wire.ECHO_REQUEST, 0, rest, data)))
        try:
            async with tasks.timeout(timeout):
                return await answer.wait()
        except tasks.TimedOut:
            raise ConnectionTimedOut(f"{dst} did not answer an echo within {timeout / 1e9:g} s") from None
        finally:
            self._waiting.pop(rest, None)

    async def disconnect(self) -> None:
        """Nothing is held."""

    def statistics(self) -> IcmpStatistics:
        """Return the counters."""
        return IcmpStatistics(self._echoes, self._errors_sent, self._errors_heard, dict(self._drops.counts))
