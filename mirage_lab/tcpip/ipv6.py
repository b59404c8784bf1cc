"""Ipv6: packets to and from addresses (RFC 8200).

Input checks version, lengths and destination, follows extension headers (at most 8), and puts fragments together.  Output
asks neighbour discovery for the next hop; what does not fit the path is cut here, never by a router; how much fits, routers
tell (RFC 8201), and 1,280 bytes always do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.ethif import Ethif
from mirage_lab.tcpip.fragments import Reassembly
from mirage_lab.tcpip.icmpv6 import Icmpv6
from mirage_lab.tcpip.ndp import Ndp
from mirage_lab.tcpip.paths import Paths
from mirage_lab.tcpip.protocol import Receive
from mirage_lab.tcpip.slaac import Addresses
from mirage_lab.tcpip.wire import icmpv6 as icmp
from mirage_lab.tcpip.wire import ipv6 as wire
from mirage_lab.tcpip.wire.address6 import ALL_NODES, ALL_ROUTERS, ip6_int, ip6_text, is_link_local, is_multicast, multicast_mac, network6
from mirage_lab.tcpip.wire.checksum import pseudo_v6
from mirage_lab.tcpip.wire.ethernet import HEADER as ETHERNET
from mirage_lab.tcpip.wire.ethernet import IPV6

__all__ = ["Ipv6", "Ipv6Statistics"]

HOPS: Final = 64
LONGEST: Final = 65_535
_TYPE = IPV6.to_bytes(2, "big")
_START = ETHERNET + wire.HEADER


@dataclass(frozen=True, slots=True)
class Ipv6Statistics:
    """Packets passed up and sent, packets sent in fragments and put together, drops by reason."""

    received: int
    sent: int
    fragmented: int
    reassembled: int
    dropped: dict[str, int]


class Ipv6:
    """The addresses of one interface: a link-local one, those given, and those made of prefixes that routers announce."""

    module_type: ClassVar[str] = "IPV6"
    header: ClassVar[int] = wire.HEADER
    octets: ClassVar[int] = 16
    text = staticmethod(ip6_text)
    parse = staticmethod(ip6_int)
    pseudo = staticmethod(pseudo_v6)

    def __init__(
        self,
        queue: RunQueue,
        ethif: Ethif,
        *,
        address: str | None = None,
        gateway: str | None = None,
        accept_ra: bool = True,
        stable: bool = False,
        profile: str = "today",
    ) -> None:
        """`address` "2001:db8::2/64"; `accept_ra`: believe routers; `stable`: made-up identifiers (RFC 7217), not the MAC's."""
        self.queue = queue
        self.ethif = ethif
        self.profile = profile
        self.mtu = ethif.mtu
        self.ecn = 0
        self.hops = 0
        """The hop limit of the packet that is being passed up, as `ecn` are its ECN bits."""
        self.hop_limit = HOPS
        self._handlers: dict[int, Receive] = {}
        self._drops = Drops(queue, "ip6.drop")
        self._paths = Paths()
        self._fragments = Reassembly()
        self._fragments_due = False
        self._ident = queue.rng("ipv6.ident").randrange(1 << 32)
        self._received = self._sent = self._cut = self._joined = 0
        self.icmp = Icmpv6(queue, self)
        self.ndp = Ndp(queue, self, accept=accept_ra)
        self.addresses = Addresses(queue, ethif.mac_octets, self.ndp.probe, stable=stable)
        ethif.listen(IPV6, self.input)
        self.addresses.link_local()
        if address is not None:
            self.add_ip(address)
        if gateway is not None:
            self.ndp.add_router(ip6_int(gateway))

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.ethif.id

    def __repr__(self) -> str:
        return f"<Ipv6 {', '.join(self.get_ips()) or 'without an address'} on {self.queue.name}>"

    def add_ip(self, address: str) -> None:
        """Take an address ("2001:db8::2/64"), once nobody else turns out to have it.  Raises LocalProtocolError."""
        number, prefix = network6(address)
        if is_multicast(number) or not number:
            raise LocalProtocolError(f"{address}: a station has an address of its own, not a group's")
        self.addresses.assign(number, prefix, "static")
        if not is_link_local(number):
            self.ndp.add_prefix(number, prefix)

    def remove_ip(self, address: str) -> None:
        """Give an address back."""
        self.addresses.remove(network6(address)[0])

    def get_ip(self) -> str:
        """Return our address: the first that others beyond this link can reach, else the link-local one, else `::`."""
        ips = self.addresses.usable
        return ip6_text(next((ip for ip in ips if not is_link_local(ip)), next(iter(ips), 0)))

    def get_ips(self) -> list[str]:
        """Return the addresses in use."""
        return [ip6_text(address) for address in self.addresses.usable]

    def get_gateways(self) -> list[str]:
        """Return the default routers."""
        return [ip6_text(router) for router in self.ndp.routers]

    async def ready(self) -> None:
        """Wait until no address of ours is being tried any more."""
        await self.addresses.ready()

    def source(self, dst: int) -> int:
        """Return the address that packets to `dst` come from, 0 if none can."""
        return self.addresses.source(dst)

    def ours(self, address: int) -> bool:
        """True for an address in use here."""
        return address in self.addresses.usable

    def register(self, proto: int, receive: Receive) -> None:
        """Call `receive(src, dst, payload)` for packets of this protocol; again replaces."""
        self._handlers[proto] = receive

    # input -------------------------------------------------------------------------------------------------------

    def input(self, frame: bytes) -> None:
        """Take an Ethernet frame with an IPv6 packet."""
        if len(frame) < _START or frame[14] >> 4 != 6:
            self._drops("malformed")
            return
        end = _START + (frame[18] << 8 | frame[19])
        if end > len(frame):
            self._drops("malformed")
            return
        src, dst = int.from_bytes(frame[22:38], "big"), int.from_bytes(frame[38:54], "big")
        if dst not in self.addresses.usable and not self._in_group(dst):
            self._drops("not for us", dst=ip6_text(dst))
            return
        if src >> 120 == 0xFF or src == 1:
            self._drops("source of nobody")
            return
        self.ecn = frame[15] >> 4 & 3
        self.hops = frame[21]
        handler = self._handlers.get(frame[20])
        if handler is not None:
            self._received += 1
            handler(src, dst, frame[_START:end])
        else:
            self._extended(src, dst, frame[ETHERNET:end], frame[20], wire.HEADER, 6)

    def _in_group(self, dst: int) -> bool:
        return dst in self.addresses.groups or dst == ALL_NODES or (dst == ALL_ROUTERS and self.ndp.is_router)

    def _extended(self, src: int, dst: int, packet: bytes, proto: int, at: int, named_at: int) -> None:
        """Follow extension headers, to a protocol that is known or a fragment."""
        try:
            inside = wire.walk(packet, proto, at, len(packet), 0, named_at)
        except wire.Problem as problem:
            self._drops("header refused", text=str(problem))
            if problem.code is not None:
                self.icmp.send_error(icmp.PARAMETER_PROBLEM, problem.code, problem.pointer, packet, problem.multicast)
            return
        if inside.fragment is not None:
            self._fragment(src, dst, packet, inside, *inside.fragment)
            return
        handler = self._handlers.get(inside.proto)
        if handler is not None:
            self._received += 1
            handler(src, dst, packet[inside.at :])
        elif inside.proto == wire.NONE:
            self._drops("no next header")
        else:
            self._drops("unknown protocol", proto=inside.proto)
            self.icmp.send_error(icmp.PARAMETER_PROBLEM, 1, inside.named_at, packet)

    def _fragment(self, src: int, dst: int, packet: bytes, inside: wire.Inside, offset: int, more: bool, ident: int) -> None:
        now = self.queue.now
        told = self._fragments.add((src, dst, ident), offset, more, packet[inside.at :], now, packet)
        if not self._fragments_due and (due := self._fragments.next_deadline()) is not None:
            self._fragments_due = True
            self.queue.call_at(due, self._expire)
        if isinstance(told, str):
            if told not in ("kept", "duplicate"):
                self._drops(f"fragment: {told}")
            if told in ("odd length", "too long"):
                self.icmp.send_error(icmp.PARAMETER_PROBLEM, 0, 4 if told == "odd length" else inside.at - 6, packet)
            return
        self._joined += 1
        whole = packet[: wire.HEADER] + told
        proto = inside.proto
        if proto == wire.FRAGMENT:
            self._drops("fragment: of a fragment")
        else:
            self._extended(src, dst, whole, proto, wire.HEADER, 6)

    def _expire(self) -> None:
        """Give up packets whose fragments did not all come in a minute."""
        self._fragments_due = False
        for first in self._fragments.expire(self.queue.now):
            self._drops("fragment: time is over")
            if first:
                self.icmp.send_error(icmp.TIME_EXCEEDED, 1, 0, first)
        due = self._fragments.next_deadline()
        if due is not None:
            self._fragments_due = True
            self.queue.call_at(due, self._expire)

    # output ------------------------------------------------------------------------------------------------------

    def write(self, dst: str, proto: int, payload: bytes) -> None:
        """Send `payload` to `dst`, in fragments if need be; raises LocalProtocolError over 65,535 bytes."""
        self.output(ip6_int(dst), proto, payload)

    def output(self, dst: int, proto: int, payload: bytes, src: int | None = None, ecn: int = 0, hops: int | None = None) -> None:
        """Send `payload`: the hot path.  Raises LocalProtocolError when it is longer than 65,535 bytes."""
        length = len(payload)
        source = self.addresses.source(dst) if src is None else src
        limit = self.hop_limit if hops is None else hops
        mtu = self.path_mtu(dst) if self._paths.known else self.mtu
        if length + 40 > mtu:
            self._send_cut(dst, proto, payload, source, limit, mtu)
            return
        words = 6 << 316 | ecn << 308 | length << 272 | proto << 264 | limit << 256 | source << 128 | dst
        self._route(dst, source, words.to_bytes(40, "big") + payload)

    def _send_cut(self, dst: int, proto: int, payload: bytes, src: int, hops: int, mtu: int) -> None:
        """Send in fragments (RFC 8200 section 4.5)."""
        if len(payload) > LONGEST:
            raise LocalProtocolError(f"{self.id}: {len(payload)} bytes are more than the {LONGEST} of the longest IPv6 packet")
        self._ident = ident = self._ident + 1 & 0xFFFF_FFFF
        self._cut += 1
        size = (mtu - wire.HEADER - 8) & ~7
        for at in range(0, len(payload), size):
            piece = payload[at : at + size]
            head = wire.encode(wire.Header(src, dst, wire.FRAGMENT, 8 + len(piece), hops))
            self._route(dst, src, head + wire.fragment_header(proto, at, at + size < len(payload), ident) + piece)

    def _route(self, dst: int, src: int, packet: bytes) -> None:
        if dst >> 120 == 0xFF:
            self.transmit(multicast_mac(dst), packet)
            return
        hop = self.ndp.next_hop(dst)
        if hop is None or not src:
            self._drops("no route" if src else "no source address", dst=ip6_text(dst))
            return
        self.ndp.neighbours.send(hop, packet)

    def transmit(self, mac: bytes, packet: bytes) -> None:
        """Send a packet to a station."""
        self._sent += 1
        self.ethif.send(mac + self.ethif.mac_octets + _TYPE + packet)

    def undelivered(self, reason: str, packet: bytes) -> None:
        """A packet waited for a neighbour in vain."""
        self._drops(reason, dst=ip6_text(int.from_bytes(packet[24:40], "big")))

    def doubt(self, dst: int) -> None:
        """What was sent to `dst` went unanswered again and again: is the next hop still where it was?"""
        hop = self.ndp.next_hop(dst)
        if hop is not None:
            self.ndp.neighbours.doubt(hop)

    # paths -------------------------------------------------------------------------------------------------------

    def path_mtu(self, dst: int) -> int:
        """Return the largest packet that gets to `dst`, as far as routers have told in the last ten minutes."""
        return self._paths.mtu(dst, self.queue.world.now, self.mtu)

    def note_path(self, dst: int, mtu: int) -> None:
        """Remember what a router told of the path to `dst`."""
        self._paths.note(dst, mtu, self.queue.now)

    async def disconnect(self) -> None:
        """Pass nothing up any more."""
        self._handlers.clear()

    def statistics(self) -> Ipv6Statistics:
        """Return the counters."""
        drops = {**self.addresses.drops.counts, **self._drops.counts}
        return Ipv6Statistics(self._received, self._sent, self._cut, self._joined, drops)
