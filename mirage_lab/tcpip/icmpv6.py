"""Icmpv6: echo, errors told and heard (RFC 4443); what neighbour discovery says goes on to `ndp`.

Errors are never sent about an error, to a group, or to nobody, and not more often than one in 10 ms (section 2.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from mirage_lab.runtime import RunQueue, tasks
from mirage_lab.signatures.errors import ConnectionRefused, ConnectionTimedOut
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.wire import icmpv6 as wire
from mirage_lab.tcpip.wire import ipv6 as ip_wire
from mirage_lab.tcpip.wire.address6 import ip6_int, ip6_text, is_multicast
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.ipv6 import ICMPV6

if TYPE_CHECKING:
    from mirage_lab.tcpip.ipv6 import Ipv6

__all__ = ["Icmpv6", "Icmpv6Statistics"]

ERROR_EVERY: Final = ms(10)
SECOND: Final = seconds(1)
LEAST: Final = 1_280
QUOTED: Final = LEAST - ip_wire.HEADER - wire.HEADER

Unreachable = Callable[[int, int, bytes], None]
"""`heard(code, dst, transport header)` of a packet of ours that did not arrive."""

TooBig = Callable[[int, int, bytes], bool]
"""`heard(mtu, dst, transport header)` of a packet of ours that was too big; False if it was not ours after all."""


@dataclass(frozen=True, slots=True)
class Icmpv6Statistics:
    """Echoes answered, errors sent and heard, drops by reason."""

    echoes: int
    errors_sent: int
    errors_heard: int
    dropped: dict[str, int]


class Icmpv6:
    """ICMPv6 for one Ipv6."""

    module_type: ClassVar[str] = "ICMPV6"

    def __init__(self, queue: RunQueue, ipv6: Ipv6) -> None:
        self.queue = queue
        self.ipv6 = ipv6
        self.on_unreachable: dict[int, Unreachable] = {}
        self.on_too_big: dict[int, TooBig] = {}
        self._drops = Drops(queue, "icmp6.drop")
        self._k_echo = queue.kind("icmp6.echo")
        self._waiting: dict[int, tuple[int, tasks.Future[Ns], Ns]] = {}
        self._next = queue.rng("icmp6.ident").randrange(65_536) << 16
        self._error_at = Ns(-ERROR_EVERY)
        self._echoes = self._errors_sent = self._errors_heard = 0
        ipv6.register(ICMPV6, self.input)

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.ipv6.id

    def input(self, src: int, dst: int, payload: bytes) -> None:
        """Take a message from IPv6."""
        try:
            message = wire.decode(payload, src, dst)
        except WireError as error:
            self._drops("checksum" if "checksum" in str(error) else "malformed")
            return
        if wire.ROUTER_SOLICIT <= message.type <= wire.REDIRECT:
            self.ipv6.ndp.input(src, dst, message)
        elif message.type == wire.ECHO_REQUEST:
            self._echo(src, dst, message)
        elif message.type == wire.ECHO_REPLY:
            self._reply(src, message.rest)
        elif message.is_error:
            self._heard(message)
        else:
            self._drops("type not known", type=message.type)

    def _echo(self, src: int, dst: int, message: wire.Icmpv6) -> None:
        """Answer; one to a group is answered from an address of ours (RFC 4443 section 4.2)."""
        if not src or is_multicast(src):
            self._drops("echo from nobody")
            return
        self._echoes += 1
        if self._k_echo.on:
            world = self.queue.world
            self._k_echo.emit(world.now, self.queue.name, world.cause, {"src": ip6_text(src), "length": len(message.data)})
        self.send(wire.Icmpv6(wire.ECHO_REPLY, 0, message.rest, message.data), src, None if is_multicast(dst) else dst)

    def _reply(self, src: int, rest: int) -> None:
        waiting = self._waiting.get(rest)
        if waiting is None or (waiting[0] != src and not is_multicast(waiting[0])):
            self._drops("echo reply nobody waits for")
            return
        del self._waiting[rest]
        waiting[1].set(Ns(self.queue.now - waiting[2]))

    def _heard(self, message: wire.Icmpv6) -> None:
        """An error about a packet of ours: tell whose it was."""
        quoted = message.data
        if len(quoted) < ip_wire.HEADER or quoted[0] >> 4 != 6:
            self._drops("malformed")
            return
        if not self.ipv6.ours(int.from_bytes(quoted[8:24], "big")):
            self._drops("error about a packet that is not ours")
            return
        try:
            inside = ip_wire.walk(quoted, quoted[6], ip_wire.HEADER, len(quoted))
        except WireError:
            self._drops("malformed")
            return
        dst, transport = int.from_bytes(quoted[24:40], "big"), quoted[inside.at : inside.at + 8]
        if inside.fragment is not None and inside.fragment[0]:
            transport = b""
        self._errors_heard += 1
        if message.type == wire.TOO_BIG:
            self._too_big(message.rest, dst, inside.proto, transport)
        elif message.type == wire.UNREACHABLE and inside.proto in self.on_unreachable and len(transport) == 8:
            self.on_unreachable[inside.proto](message.code, dst, transport)

    def _too_big(self, mtu: int, dst: int, proto: int, transport: bytes) -> None:
        """A path takes less than was thought; never less than 1,280 (RFC 8201 section 4)."""
        if not LEAST <= mtu < self.ipv6.path_mtu(dst):
            self._drops("MTU not believed", mtu=mtu)
            return
        heard = self.on_too_big.get(proto)
        if heard is not None and len(transport) == 8 and not heard(mtu, dst, transport):
            self._drops("MTU not believed", mtu=mtu)
            return
        self.ipv6.note_path(dst, mtu)

    def send(self, message: wire.Icmpv6, dst: int, src: int | None = None, hops: int | None = None) -> None:
        """Send a message, from the address of ours that fits `dst` unless `src` is given."""
        source = self.ipv6.source(dst) if src is None else src
        self.ipv6.output(dst, ICMPV6, wire.encode(message, source, dst), source, hops=hops)

    def send_error(self, kind: int, code: int, rest: int, packet: bytes, to_group: bool = False) -> None:
        """Tell the sender of `packet` (an IPv6 packet) what became of it, quoting as much as fits in 1,280 bytes."""
        src, dst = int.from_bytes(packet[8:24], "big"), int.from_bytes(packet[24:40], "big")
        if not src or is_multicast(src) or (is_multicast(dst) and not to_group):
            return
        try:
            inside = ip_wire.walk(packet, packet[6], ip_wire.HEADER, len(packet))
        except ip_wire.Problem:
            inside = None
        if inside is not None and inside.proto == ICMPV6:
            first = packet[inside.at] if inside.at < len(packet) and not (inside.fragment and inside.fragment[0]) else 0
            if first < 128 or first == wire.REDIRECT:
                return
        if self.queue.now - self._error_at < ERROR_EVERY:
            self._drops("errors too often")
            return
        self._error_at = self.queue.now
        self._errors_sent += 1
        self.send(wire.Icmpv6(kind, code, rest, packet[:QUOTED]), src, None if is_multicast(dst) else dst)

    async def ping(self, dst: str, size: int = 56, timeout: Ns = SECOND) -> Ns:
        """Send an echo of `size` bytes and return the round-trip time; raises ConnectionTimedOut, ConnectionRefused without a route.

        While our own addresses are not known to be ours alone, it waits for that first.
        """
        address = ip6_int(dst)
        await self.ipv6.ready()
        if not self.ipv6.source(address):
            raise ConnectionRefused(f"no IPv6 address of {self.id} can reach {dst}")
        self._next = rest = (self._next & 0xFFFF_0000) | (self._next + 1 & 0xFFFF)
        answer: tasks.Future[Ns] = tasks.Future()
        self._waiting[rest] = (address, answer, self.queue.now)
        data = bytes(index & 0xFF for index in range(size))
        try:
            self.send(wire.Icmpv6(wire.ECHO_REQUEST, 0, rest, data), address)
            async with tasks.timeout(timeout):
                return await answer.wait()
        except tasks.TimedOut:
            raise ConnectionTimedOut(f"{dst} did not answer an echo within {timeout / 1e9:g} s") from None
        finally:
            self._waiting.pop(rest, None)

    async def disconnect(self) -> None:
        """Nothing is held."""

    def statistics(self) -> Icmpv6Statistics:
        """Return the counters."""
        return Icmpv6Statistics(self._echoes, self._errors_sent, self._errors_heard, dict(self._drops.counts))
