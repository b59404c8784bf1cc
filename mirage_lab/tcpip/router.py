"""router: packets from one network to another (RFC 1812): the longest prefix among all interfaces says where to.

    a -- lan 1 -- [10.0.0.254  router  10.1.0.254] -- lan 2 -- b        ttl - 1, checksum adjusted (RFC 1624), MTU of the way out

Each hop takes one from the time to live; at 0 the sender hears "time exceeded".  What is longer than the way out takes is cut, or,
when it says "do not fragment", refused with the MTU that would do (RFC 1191).  Broadcasts, also those to the other network
(RFC 2644), groups and what nobody can have sent stay where they are.  Options pass as they are; no redirects are sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.ipv4 import Ipv4
from mirage_lab.tcpip.wire import icmp
from mirage_lab.tcpip.wire import ipv4 as wire
from mirage_lab.tcpip.wire.address import ip_text
from mirage_lab.tcpip.wire.error import WireError

if TYPE_CHECKING:
    from mirage_lab.tcpip.stack import Stack

__all__ = ["Router", "RouterStatistics", "one_hop_less"]


@dataclass(frozen=True, slots=True)
class RouterStatistics:
    """Packets forwarded, those of them that were cut, drops by reason."""

    forwarded: int
    fragmented: int
    dropped: dict[str, int]


def one_hop_less(packet: bytes) -> bytes:
    """Return a packet with one taken from its time to live, its checksum adjusted without reading the rest (RFC 1624 equation 3)."""
    total = (0xFFFF - (packet[10] << 8 | packet[11])) + 0xFEFF
    total = (total & 0xFFFF) + (total >> 16)
    return packet[:8] + bytes((packet[8] - 1, packet[9])) + (0xFFFF - total).to_bytes(2, "big") + packet[12:]


class Router:
    """Forwards between the IPV4s of stacks on one domain; each stack still is a host of its own network."""

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self.interfaces: list[Ipv4] = [stack.ipv4 for stack in stacks]
        queue = self.interfaces[0].queue
        self._queue = queue
        self._drops = Drops(queue, "router.drop")
        self._k_forward = queue.kind("router.forward")
        self._forwarded = self._cut = 0
        for ip in self.interfaces:
            ip.forward = self.forward
            ip.elsewhere = self.elsewhere

    def __repr__(self) -> str:
        return f"<Router between {', '.join(f'{ip.get_ip()}/{ip.prefix}' for ip in self.interfaces)}: {self._forwarded} forwarded>"

    def forward(self, came: Ipv4, dst: int, packet: bytes) -> None:
        """Take a packet that came for somebody else and send it on its way."""
        src = int.from_bytes(packet[12:16], "big")
        home = next((ip for ip in self.interfaces if ip.address == dst), None)
        if not src or dst >> 28 >= 0xE or dst >> 24 in (0, 127) or any(src == ip.address for ip in self.interfaces):
            self._drops("not to be forwarded", src=ip_text(src), dst=ip_text(dst))
            return
        if home is not None:
            home.input(home.ethif.mac_octets + bytes(6) + b"\x08\0" + packet)
            return
        if packet[8] <= 1:
            self._refuse(came, icmp.TIME_EXCEEDED, 0, 0, packet, "time to live is over")
            return
        out = self._way(dst)
        if out is None:
            self._refuse(came, icmp.UNREACHABLE, icmp.NET_UNREACHABLE, 0, packet, "no route")
        elif out.is_broadcast(dst):
            self._drops("broadcast to a network", dst=ip_text(dst))
        else:
            self._send(came, out, dst, one_hop_less(packet))

    def _send(self, came: Ipv4, out: Ipv4, dst: int, packet: bytes) -> None:
        packets = [packet]
        if len(packet) > out.mtu:
            if packet[6] & 0x40:
                self._refuse(came, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, out.mtu, packet, "too big")
                return
            try:
                packets = wire.cut(packet, out.mtu)
            except WireError:
                self._drops("too big to cut", mtu=out.mtu)
                return
            self._cut += 1
        self._forwarded += 1
        if self._k_forward.on:
            world = self._queue.world
            fields = {"src": ip_text(int.from_bytes(packet[12:16], "big")), "dst": ip_text(dst), "ttl": packet[8], "out": out.id, "packets": len(packets)}
            self._k_forward.emit(world.now, self._queue.name, world.cause, fields)
        out.transmit(dst, packets)

    def elsewhere(self, ip: Ipv4, dst: int, packets: list[bytes]) -> None:
        """Send packets of our own that their interface has no route for."""
        out = self._way(dst)
        if out is None or out is ip:
            self._drops("no route", dst=ip_text(dst))
        else:
            out.transmit(dst, packets)

    def _way(self, dst: int) -> Ipv4 | None:
        """Return the interface with the longest prefix that leads to `dst`, the first of equals."""
        best, out = -1, None
        for ip in self.interfaces:
            found = ip.match(dst)
            if found is not None and found[0] > best:
                best, out = found[0], ip
        return out

    def _refuse(self, came: Ipv4, kind: int, code: int, rest: int, packet: bytes, reason: str) -> None:
        self._drops(reason, dst=ip_text(int.from_bytes(packet[16:20], "big")))
        if came.report is not None:
            came.report(kind, code, rest, packet)

    def statistics(self) -> RouterStatistics:
        """Return the counters."""
        return RouterStatistics(self._forwarded, self._cut, dict(self._drops.counts))
