"""Ipv4: packets to and from addresses (RFC 791, RFC 1122 section 3).

Input checks version, lengths, checksum, destination and source; what Ethernet padded is cut off; fragments are put together.
Output asks ARP for the next hop; up to 32 packets wait for an answer.  Packets say "do not fragment" as long as they fit the
path as it is known; what does not fit is cut here and may be cut again, but TCP's never is.  In 2014 there were no fragments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import seconds
from mirage_lab.tcpip.arp import Arp
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.ethif import Ethif
from mirage_lab.tcpip.fragments import LONGEST, Reassembly
from mirage_lab.tcpip.paths import Paths
from mirage_lab.tcpip.routes import Route, Routes, parse_route
from mirage_lab.tcpip.wire import icmp
from mirage_lab.tcpip.wire import ipv4 as wire
from mirage_lab.tcpip.wire.address import BROADCAST_MAC, ip_int, ip_text, network
from mirage_lab.tcpip.wire.checksum import pseudo_v4
from mirage_lab.tcpip.wire.ethernet import HEADER as ETHERNET
from mirage_lab.tcpip.wire.ethernet import IPV4

__all__ = ["Ipv4", "Ipv4Statistics"]

TTL: Final = 64
TTL_2014: Final = 38
BROADCAST: Final = 0xFFFF_FFFF
LEAST: Final = 68
"""Every link takes this much (RFC 791 section 3.2)."""
PATIENCE: Final = seconds(30)
"""How long fragments wait for the rest: RFC 791 says 15 s at least, RFC 1122 section 3.3.2 at most two minutes."""
NO_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - no address yet, as DHCP begins with
_TYPE = IPV4.to_bytes(2, "big")
_START = ETHERNET + wire.HEADER

Receive = Callable[[int, int, bytes], None]
"""`receive(src, dst, payload)`."""

Report = Callable[[int, int, int, bytes], None]
"""`report(type, code, rest, packet)`: say by ICMP what became of a packet."""

Forward = Callable[["Ipv4", int, bytes], None]
"""`forward(ipv4, dst, packet)`: a packet came for somebody else."""

Elsewhere = Callable[["Ipv4", int, list[bytes]], None]
"""`elsewhere(ipv4, dst, packets)`: packets of ours have no route from here."""


@dataclass(frozen=True, slots=True)
class Ipv4Statistics:
    """Packets passed up and sent, sent in fragments and put together, and drops by reason."""

    received: int
    sent: int
    fragmented: int
    reassembled: int
    dropped: dict[str, int]


class Ipv4:
    """One address on one interface."""

    module_type: ClassVar[str] = "IPV4"
    header: ClassVar[int] = wire.HEADER
    octets: ClassVar[int] = 4
    text = staticmethod(ip_text)
    parse = staticmethod(ip_int)
    pseudo = staticmethod(pseudo_v4)

    def __init__(
        self,
        queue: RunQueue,
        ethif: Ethif,
        arp: Arp,
        *,
        address: str = "10.0.0.2/24",
        gateway: str | None = None,
        routes: Iterable[str] = (),
        mtu: int | None = None,
        profile: str = "today",
    ) -> None:
        """`routes`: "10.1.0.0/16 via 10.0.0.9", for what neither the link nor the gateway is the way to; `mtu`: less than the link's."""
        self.queue = queue
        self.ethif = ethif
        self.arp = arp
        self.profile = profile
        self.address = self.prefix = self.mask = 0
        self.gateway: int | None = None
        self.mtu = ethif.mtu if mtu is None else mtu
        if not LEAST <= self.mtu <= ethif.mtu:
            raise LocalProtocolError(f"{ethif.id}: an MTU of {self.mtu}; on this link it is {LEAST} to {ethif.mtu}")
        self.ecn = 0
        """The two ECN bits of the packet that is being passed up (RFC 3168 section 5)."""
        self.report: Report | None = None
        self.forward: Forward | None = None
        self.elsewhere: Elsewhere | None = None
        self._ttl = TTL_2014 if profile == "2014" else TTL
        self._broadcast = BROADCAST
        self._handlers: dict[int, Receive] = {}
        self._drops = Drops(queue, "ip.drop")
        self._modern = profile != "2014"
        self._routes = Routes()
        self._paths = Paths()
        self._fragments = Reassembly(PATIENCE, LONGEST - wire.HEADER)
        self._fragments_due = False
        self._k_reassembled = queue.kind("ip.reassembled")
        self._table = arp.table
        self._ident = queue.rng("ipv4.ident").randrange(65_536)
        self._received = self._sent = self._cut = self._joined = 0
        ethif.listen(IPV4, self.input)
        if address != NO_ADDRESS:
            self.set_ip(address, gateway)
        for route in routes:
            self.add_route(route)

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.ethif.id

    def get_ip(self) -> str:
        """Return our address."""
        return ip_text(self.address)

    def get_netmask(self) -> str:
        """Return our netmask."""
        return ip_text(self.mask)

    def get_gateways(self) -> list[str]:
        """Return the gateway, in a list."""
        return [ip_text(self.gateway)] if self.gateway is not None else []

    def set_ip(self, address: str, gateway: str | None = None) -> None:
        """Take an address ("10.0.0.2/24") and give back the one there was; "0.0.0.0" only gives back, until the next is known.

        Without an address everything that a frame brings to this station is passed up, and only broadcasts go out
        (RFC 1122 section 3.2.1.3).  Raises LocalProtocolError.
        """
        before, (self.address, self.prefix) = self.address, network(address)
        self.mask = BROADCAST << 32 - self.prefix & BROADCAST if self.address else 0
        self.gateway = ip_int(gateway) if gateway and self.address else None
        self._broadcast = self.address | ~self.mask & BROADCAST if self.address else BROADCAST
        if before and before != self.address:
            self.arp.remove_ip(ip_text(before))
        if self.address:
            self.arp.add_ip(ip_text(self.address))

    def source(self, dst: int) -> int:
        """Return the address that packets to `dst` come from: there is one."""
        return self.address

    def ours(self, address: int) -> bool:
        """True for our address, not for a broadcast."""
        return address == self.address

    def is_broadcast(self, address: int) -> bool:
        """True for the address of all stations, here or anywhere."""
        return address in (self._broadcast, BROADCAST)

    def get_routes(self) -> list[str]:
        """Return what was added by hand, longest prefix first, then the link and the gateway: "10.1.0.0/16 via 10.0.0.9"."""
        link = [Route(self.prefix, self.address & self.mask, self.mask, None)] if self.address else []
        default = [Route(0, 0, 0, self.gateway)] if self.gateway is not None else []
        return [str(route) for route in (*self._routes.table, *link, *default)]

    def add_route(self, route: str) -> None:
        """Send what goes to a prefix by another gateway: "10.1.0.0/16 via 10.0.0.9"; again replaces.  Raises LocalProtocolError."""
        added = parse_route(route)
        if self.address and added.gateway is not None and added.gateway & self.mask != self.address & self.mask:
            raise LocalProtocolError(f"{route!r}: {ip_text(added.gateway)} is not on the link of {self.id}, {self.get_ip()}/{self.prefix}")
        self._routes.add(added)

    def remove_route(self, route: str) -> None:
        """Forget the route to the prefix of `route`."""
        self._routes.remove(parse_route(route))

    def path_mtu(self, dst: int) -> int:
        """Return the largest packet that gets to `dst`, as far as routers have told in the last ten minutes."""
        return self._paths.mtu(dst, self.queue.now, self.mtu)

    def note_path(self, dst: int, mtu: int) -> None:
        """Remember what a router told of the path to `dst`."""
        self._paths.note(dst, mtu, self.queue.now)

    def register(self, proto: int, receive: Receive) -> None:
        """Call `receive(src, dst, payload)` for packets of this protocol; again replaces."""
        self._handlers[proto] = receive

    # input -------------------------------------------------------------------------------------------------------

    def input(self, frame: bytes) -> None:
        """Take an Ethernet frame with an IPv4 packet."""
        if len(frame) < _START or frame[14] >> 4 != 4:
            self._drops("malformed")
            return
        size = (frame[14] & 15) << 2
        length = frame[16] << 8 | frame[17]
        if size < 20 or length < size or ETHERNET + length > len(frame):
            self._drops("malformed")
            return
        start = ETHERNET + size
        if int.from_bytes(frame[ETHERNET:start], "big") % 0xFFFF:
            self._drops("header checksum")
            return
        src, dst = int.from_bytes(frame[26:30], "big"), int.from_bytes(frame[30:34], "big")
        if self._modern and ((first := frame[26]) > 223 or first == 127 or src == self.address or src == self._broadcast) and src:
            self._drops("source of nobody", src=ip_text(src))
            return
        if dst != self.address and dst not in (self._broadcast, BROADCAST) and self.address:
            if self.forward is not None and not frame[0] & 1:
                self.forward(self, dst, frame[ETHERNET : ETHERNET + length])
            else:
                self._drops("not for us", dst=ip_text(dst))
            return
        if frame[0] & 1 and dst == self.address and self._modern and dst:
            self._drops("for us, to everybody")
            return
        if frame[20] & 0x3F or frame[21]:
            self._fragment(src, dst, frame[ETHERNET : ETHERNET + length], size)
            return
        self._received += 1
        self.ecn = frame[15] & 3
        handler = self._handlers.get(frame[23])
        if handler is not None:
            handler(src, dst, frame[start : ETHERNET + length])
        else:
            self._unknown(dst, frame[ETHERNET : ETHERNET + length])

    def _unknown(self, dst: int, packet: bytes) -> None:
        self._drops("unknown protocol", proto=packet[9])
        if self.report is not None and dst == self.address:
            self.report(icmp.UNREACHABLE, icmp.PROTOCOL_UNREACHABLE, 0, packet)

    def _fragment(self, src: int, dst: int, packet: bytes, size: int) -> None:
        """Keep a fragment, and pass up what it completes (RFC 791 section 3.2)."""
        if not self._modern:
            self._drops("fragment")
            return
        where = packet[6] << 8 | packet[7]
        key = (src, dst, packet[9], packet[4] << 8 | packet[5])
        before = self._fragments.evicted
        told = self._fragments.add(key, (where & wire.OFFSET) << 3, bool(where & wire.MF), packet[size:], self.queue.now, packet)
        for _ in range(self._fragments.evicted - before):
            self._drops("fragment: no room")
        self._wait()
        if isinstance(told, str):
            if told not in ("kept", "duplicate"):
                self._drops(f"fragment: {told}", src=ip_text(src))
            return
        self._joined += 1
        if self._k_reassembled.on:
            world = self.queue.world
            fields = {"src": ip_text(src), "dst": ip_text(dst), "proto": packet[9], "length": len(told)}
            self._k_reassembled.emit(world.now, self.queue.name, world.cause, fields)
        self._received += 1
        self.ecn = packet[1] & 3
        handler = self._handlers.get(packet[9])
        if handler is not None:
            handler(src, dst, told)
        else:
            self._unknown(dst, packet[:6] + b"\0\0" + packet[8:size] + told)

    def _wait(self) -> None:
        due = self._fragments.next_deadline()
        if due is not None and not self._fragments_due:
            self._fragments_due = True
            self.queue.call_at(due, self._expire)

    def _expire(self) -> None:
        """Give up what did not come whole; say so if its beginning had come (RFC 792, RFC 1122 section 3.3.2)."""
        self._fragments_due = False
        for first in self._fragments.expire(self.queue.now):
            self._drops("fragment: time is over")
            if first and self.report is not None:
                self.report(icmp.TIME_EXCEEDED, 1, 0, first)
        self._wait()

    # output ------------------------------------------------------------------------------------------------------

    def write(self, dst: str, proto: int, payload: bytes) -> None:
        """Send `payload` to `dst`, in fragments if need be; raises LocalProtocolError over 65,515 bytes."""
        self.output(ip_int(dst), proto, payload)

    def output(self, dst: int, proto: int, payload: bytes, src: int | None = None, ecn: int = 0) -> None:
        """Send `payload`: the hot path.  Raises LocalProtocolError when it fits neither one packet nor fragments."""
        length = len(payload) + 20
        if (length > self.mtu or self._paths.known) and proto != wire.TCP and self._modern and length > self.path_mtu(dst):
            self._send_cut(dst, proto, payload, src, ecn)
            return
        if length > self.mtu:
            raise LocalProtocolError(f"{self.id}: a packet of {length} bytes does not fit the MTU of {self.mtu}, and is not to be sent in fragments")
        self._ident = ident = self._ident + 1 & 0xFFFF
        ttl_proto = self._ttl << 8 | proto
        source = self.address if src is None else src
        total = 0x4500 + ecn + length + ident + 0x4000 + ttl_proto + (source >> 16) + (source & 0xFFFF) + (dst >> 16) + (dst & 0xFFFF)
        check = 0xFFFF - (total % 0xFFFF or 0xFFFF)
        words = (0x4500 | ecn) << 144 | length << 128 | ident << 112 | 0x4000 << 96 | ttl_proto << 80 | check << 64 | source << 32 | dst
        packet = words.to_bytes(20, "big") + payload
        hop = self._next_hop(dst)
        if hop is None:
            self._no_route(dst, [packet])
            return
        mac = BROADCAST_MAC if hop in (BROADCAST, self._broadcast) else self._table.get(hop)
        if mac is not None:
            self._sent += 1
            self.ethif.send(mac + self.ethif.mac_octets + _TYPE + packet)
            if hop in self._table and self.arp.stale(hop):
                self.arp.doubt(hop)
            return
        self.arp.resolve(hop, lambda found: self._resolved(found, [packet], hop))

    def _send_cut(self, dst: int, proto: int, payload: bytes, src: int | None, ecn: int) -> None:
        """Send in fragments that fit the path; routers may cut them again."""
        if len(payload) + wire.HEADER > LONGEST:
            raise LocalProtocolError(f"{self.id}: {len(payload)} bytes are more than the {LONGEST - wire.HEADER} of the longest IPv4 packet")
        self._ident = self._ident + 1 & 0xFFFF
        source = self.address if src is None else src
        self._cut += 1
        header = wire.Header(source, dst, proto, wire.HEADER + len(payload), self._ident, 0, self._ttl, ecn)
        self.transmit(dst, wire.cut(wire.encode(header) + payload, self.path_mtu(dst)))

    def transmit(self, dst: int, packets: list[bytes]) -> None:
        """Send packets that are made already by the way to `dst`, together."""
        hop = self._next_hop(dst)
        if hop is None:
            self._no_route(dst, packets)
        elif hop in (BROADCAST, self._broadcast):
            self._resolved(BROADCAST_MAC, packets, hop)
        else:
            self.arp.resolve(hop, lambda found: self._resolved(found, packets, hop))

    def _no_route(self, dst: int, packets: list[bytes]) -> None:
        if self.elsewhere is not None:
            self.elsewhere(self, dst, packets)
        else:
            self._drops("no route", dst=ip_text(dst))

    def doubt(self, dst: int) -> None:
        """What was sent to `dst` went unanswered again and again: is the next hop still where it was?"""
        hop = self._next_hop(dst)
        if hop is not None:
            self.arp.doubt(hop)

    def match(self, dst: int) -> tuple[int, int] | None:
        """Return (length of the longest prefix that leads to `dst`, next hop), None without one."""
        found = self._routes.match(dst)
        if self.address and dst & self.mask == self.address & self.mask and (found is None or found.prefix < self.prefix):
            return self.prefix, dst
        if found is not None and found.gateway is not None:
            return found.prefix, found.gateway
        return (0, self.gateway) if self.gateway is not None else None

    def _next_hop(self, dst: int) -> int | None:
        if dst == BROADCAST:
            return dst
        if self._routes.table:
            found = self.match(dst)
            return found[1] if found is not None else None
        if self.address and dst & self.mask == self.address & self.mask:
            return dst
        return self.gateway

    def _resolved(self, mac: bytes | None, packets: list[bytes], hop: int) -> None:
        if mac is None:
            self._drops("no ARP answer", hop=ip_text(hop))
            return
        for packet in packets:
            self._sent += 1
            self.ethif.send(mac + self.ethif.mac_octets + _TYPE + packet)

    async def disconnect(self) -> None:
        """Pass nothing up any more."""
        self._handlers.clear()

    def statistics(self) -> Ipv4Statistics:
        """Return the counters."""
        return Ipv4Statistics(self._received, self._sent, self._cut, self._joined, dict(self._drops.counts))
