"""Icmpv4: echo, and errors told and heard (RFC 792, RFC 1122 section 3.2.2).

Of what routers tell, "fragmentation needed" sets what is known of a path (RFC 1191); redirects and source quenches are
counted and change nothing: anybody can send them (RFC 6633, RFC 1812 section 5.2.7.2 on hosts that route).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from mirage_lab.runtime import RunQueue, tasks
from mirage_lab.signatures.errors import ConnectionTimedOut
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.ipv4 import Ipv4
from mirage_lab.tcpip.paths import LEAST, plateau
from mirage_lab.tcpip.wire import icmp as wire
from mirage_lab.tcpip.wire import ipv4 as ip_wire
from mirage_lab.tcpip.wire.address import ip_int, ip_text
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.ipv4 import ICMP

__all__ = ["IcmpStatistics", "Icmpv4"]

ERROR_EVERY: Final = ms(10)
"""At most one error message in this time (RFC 1812 section 4.3.2.8)."""
SECOND: Final = seconds(1)

Unreachable = Callable[[int, int, bytes], None]
"""`heard(code, dst, transport header)` of a packet of ours that did not arrive."""

TooBig = Callable[[int, int, bytes], bool]
"""`heard(mtu, dst, transport header)` of a packet of ours that was too big; False if it was not ours after all."""


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
        self.on_too_big: dict[int, TooBig] = {}
        self._drops = Drops(queue, "icmp.drop")
        self._k_echo = queue.kind("icmp.echo")
        self._k_error = queue.kind("icmp.error")
        self._probes: dict[int, tasks.Future[int]] = {}
        self._waiting: dict[int, tuple[int, tasks.Future[Ns], Ns]] = {}
        self._next = queue.rng("icmp.ident").randrange(65_536) << 16
        self._error_at = Ns(-ERROR_EVERY)
        self._echoes = self._errors_sent = self._errors_heard = 0
        ipv4.register(ICMP, self.input)
        ipv4.report = self.send_error

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
        elif message.type in wire.ERRORS:
            self._heard(src, message)
        else:
            self._drops("type not known", type=message.type)

    def _reply(self, src: int, rest: int) -> None:
        probe = self._probes.pop(rest, None)
        if probe is not None:
            probe.set(src)
            return
        waiting = self._waiting.get(rest)
        if waiting is None or waiting[0] != src:
            self._drops("echo reply nobody waits for")
            return
        del self._waiting[rest]
        waiting[1].set(Ns(self.queue.now - waiting[2]))

    def _heard(self, src: int, message: wire.Icmp) -> None:
        """Somebody tells what became of a packet of ours, quoting its header and 8 bytes at least."""
        quoted = message.data
        start = (quoted[0] & 15) * 4 if quoted else 0
        if len(quoted) < max(start, 20) or start < 20 or quoted[0] >> 4 != 4:
            self._drops("malformed")
            return
        dst, proto = int.from_bytes(quoted[16:20], "big"), quoted[9]
        if int.from_bytes(quoted[12:16], "big") != self.ipv4.address:
            self._drops("error about a packet that is not ours")
            return
        if message.type in (wire.REDIRECT, wire.SOURCE_QUENCH):
            self._drops("redirect ignored" if message.type == wire.REDIRECT else "source quench ignored", src=ip_text(src))
            return
        self._errors_heard += 1
        if self._k_error.on:
            world = self.queue.world
            fields = {"src": ip_text(src), "type": message.type, "code": message.code, "dst": ip_text(dst), "proto": proto}
            self._k_error.emit(world.now, self.queue.name, world.cause, fields)
        later = (quoted[6] << 8 | quoted[7]) & ip_wire.OFFSET
        transport = b"" if later else quoted[start : start + 8]
        whole = len(transport) == 8
        if message.type == wire.UNREACHABLE and message.code == wire.FRAGMENTATION_NEEDED and self.ipv4.profile != "2014":
            self._too_big(message.rest & 0xFFFF or plateau(quoted[2] << 8 | quoted[3]), dst, proto, transport)
        elif message.type == wire.UNREACHABLE and whole and proto in self.on_unreachable:
            self.on_unreachable[proto](message.code, dst, transport)
        elif message.type == wire.TIME_EXCEEDED and whole and proto == ICMP and transport[0] == wire.ECHO_REQUEST:
            probe = self._probes.pop(int.from_bytes(transport[4:], "big"), None)
            if probe is not None:
                probe.set(src)

    def _too_big(self, mtu: int, dst: int, proto: int, transport: bytes) -> None:
        """A path takes less than was thought; never more, and not ever less (RFC 1191 section 3, RFC 5927 section 7)."""
        heard = self.on_too_big.get(proto)
        known = self.ipv4.path_mtu(dst)
        believed = LEAST <= mtu < (self.ipv4.mtu if heard is not None else known)
        if not believed or (heard is not None and (len(transport) != 8 or not heard(mtu, dst, transport))):
            self._drops("MTU not believed", mtu=mtu)
            return
        self.ipv4.note_path(dst, min(mtu, known))

    def send_unreachable(self, code: int, packet: bytes) -> None:
        """Tell the sender of `packet` (an IPv4 packet to us alone) that it went nowhere; not too often."""
        self.send_error(wire.UNREACHABLE, code, 0, packet)

    def send_error(self, kind: int, code: int, rest: int, packet: bytes) -> None:
        """Tell the sender of `packet` what became of it, not too often.

        Never about an error, a fragment other than the first, or what went to or came from no single station
        (RFC 1122 section 3.2.2).
        """
        start = (packet[0] & 15) * 4
        src, dst = int.from_bytes(packet[12:16], "big"), int.from_bytes(packet[16:20], "big")
        ours = self.ipv4
        if (packet[6] << 8 | packet[7]) & ip_wire.OFFSET or not src or src >> 28 >= 0xE or src >> 24 == 127:
            return
        if dst >> 28 >= 0xE or ours.is_broadcast(src) or ours.is_broadcast(dst):
            return
        if packet[9] == ICMP and (len(packet) <= start or packet[start] in wire.ERRORS):
            return
        if self.queue.now - self._error_at < ERROR_EVERY:
            self._drops("errors too often")
            return
        self._error_at = self.queue.now
        self._errors_sent += 1
        ours.output(src, ICMP, wire.encode(wire.Icmp(kind, code, rest, packet[: start + 8])))

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

    async def trace(self, dst: str, hops: int = 30, timeout: Ns = SECOND) -> list[str]:
        """Return who is on the way to `dst`, as traceroute does: echoes with 1, 2, ... as time to live; "*" for who says nothing.

        Ends at `dst` or after `hops`.
        """
        address = ip_int(dst)
        path: list[str] = []
        while len(path) < hops and (not path or path[-1] != dst):
            self._next = rest = (self._next & 0xFFFF_0000) | (self._next + 1 & 0xFFFF)
            probe = self._probes[rest] = tasks.Future[int]()
            message = wire.encode(wire.Icmp(wire.ECHO_REQUEST, 0, rest, bytes(32)))
            header = ip_wire.Header(self.ipv4.address, address, ICMP, ip_wire.HEADER + len(message), rest & 0xFFFF, ttl=len(path) + 1)
            self.ipv4.transmit(address, [ip_wire.encode(header) + message])
            try:
                async with tasks.timeout(timeout):
                    path.append(ip_text(await probe.wait()))
            except tasks.TimedOut:
                path.append("*")
            finally:
                self._probes.pop(rest, None)
        return path

    async def disconnect(self) -> None:
        """Nothing is held."""

    def statistics(self) -> IcmpStatistics:
        """Return the counters."""
        return IcmpStatistics(self._echoes, self._errors_sent, self._errors_heard, dict(self._drops.counts))
