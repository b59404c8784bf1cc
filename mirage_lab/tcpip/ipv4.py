"""Ipv4: packets to and from addresses (RFC 791, RFC 1122 section 3).

Input checks version, lengths, checksum and destination; what Ethernet padded is cut off.  Fragments are not put together
yet: they are dropped and counted.  Output asks ARP for the next hop; up to 32 packets wait for an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.arp import Arp
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.ethif import Ethif
from mirage_lab.tcpip.wire import ipv4 as wire
from mirage_lab.tcpip.wire.address import BROADCAST_MAC, ip_int, ip_text, network
from mirage_lab.tcpip.wire.checksum import pseudo_v4
from mirage_lab.tcpip.wire.ethernet import HEADER as ETHERNET
from mirage_lab.tcpip.wire.ethernet import IPV4

__all__ = ["Ipv4", "Ipv4Statistics"]

TTL: Final = 64
TTL_2014: Final = 38
BROADCAST: Final = 0xFFFF_FFFF
NO_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - no address yet, as DHCP begins with
_TYPE = IPV4.to_bytes(2, "big")
_START = ETHERNET + wire.HEADER

Receive = Callable[[int, int, bytes], None]
"""`receive(src, dst, payload)`."""


@dataclass(frozen=True, slots=True)
class Ipv4Statistics:
    """Packets passed up and sent, and drops by reason."""

    received: int
    sent: int
    dropped: dict[str, int]


class Ipv4:
    """One address on one interface."""

    module_type: ClassVar[str] = "IPV4"
    header: ClassVar[int] = wire.HEADER
    octets: ClassVar[int] = 4
    text = staticmethod(ip_text)
    parse = staticmethod(ip_int)
    pseudo = staticmethod(pseudo_v4)

    def __init__(self, queue: RunQueue, ethif: Ethif, arp: Arp, *, address: str = "10.0.0.2/24", gateway: str | None = None, profile: str = "today") -> None:
        self.queue = queue
        self.ethif = ethif
        self.arp = arp
        self.profile = profile
        self.address = self.prefix = self.mask = 0
        self.gateway: int | None = None
        self.mtu = ethif.mtu
        self.ecn = 0
        """The two ECN bits of the packet that is being passed up (RFC 3168 section 5)."""
        self.unreachable: Callable[[int, bytes], None] | None = None
        self._ttl = TTL_2014 if profile == "2014" else TTL
        self._broadcast = BROADCAST
        self._handlers: dict[int, Receive] = {}
        self._drops = Drops(queue, "ip.drop")
        self._heads: dict[int, tuple[bytes, int]] = {}
        self._table = arp.table
        self._ident = queue.rng("ipv4.ident").randrange(65_536)
        self._received = 0
        self._sent = 0
        ethif.listen(IPV4, self.input)
        if address != NO_ADDRESS:
            self.set_ip(address, gateway)

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

    def path_mtu(self, dst: int) -> int:
        """Return the largest packet that gets to `dst`, as far as it is known here."""
        return self.mtu

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
        dst = int.from_bytes(frame[30:34], "big")
        if dst != self.address and dst not in (self._broadcast, BROADCAST) and self.address:
            self._drops("not for us", dst=ip_text(dst))
            return
        if frame[20] & 0x3F or frame[21]:
            self._drops("fragment")
            return
        self._received += 1
        self.ecn = frame[15] & 3
        handler = self._handlers.get(frame[23])
        if handler is not None:
            handler(int.from_bytes(frame[26:30], "big"), dst, frame[start : ETHERNET + length])
        elif self.unreachable is not None and dst == self.address:
            self._drops("unknown protocol", proto=frame[23])
            self.unreachable(2, frame[ETHERNET : ETHERNET + length])
        else:
            self._drops("unknown protocol", proto=frame[23])

    # output ------------------------------------------------------------------------------------------------------

    def write(self, dst: str, proto: int, payload: bytes) -> None:
        """Send `payload` to `dst`; raises LocalProtocolError over the MTU."""
        self.output(ip_int(dst), proto, payload)

    def output(self, dst: int, proto: int, payload: bytes, src: int | None = None, ecn: int = 0) -> None:
        """Send `payload`: the hot path.  Raises LocalProtocolError when it does not fit in one packet."""
        length = len(payload) + 20
        if length > self.mtu:
            raise LocalProtocolError(f"{self.id}: a packet of {length} bytes does not fit the MTU of {self.mtu}; fragments are not sent")
        self._ident = ident = self._ident + 1 & 0xFFFF
        ttl_proto = self._ttl << 8 | proto
        source = self.address if src is None else src
        total = 0x4500 + ecn + length + ident + 0x4000 + ttl_proto + (source >> 16) + (source & 0xFFFF) + (dst >> 16) + (dst & 0xFFFF)
        check = 0xFFFF - (total % 0xFFFF or 0xFFFF)
        words = (0x4500 | ecn) << 144 | length << 128 | ident << 112 | 0x4000 << 96 | ttl_proto << 80 | check << 64 | source << 32 | dst
        packet = words.to_bytes(20, "big") + payload
        hop = self._next_hop(dst)
        if hop is None:
            self._drops("no route", dst=ip_text(dst))
            return
        mac = BROADCAST_MAC if hop in (BROADCAST, self._broadcast) else self._table.get(hop)
        if mac is not None:
            self._sent += 1
            self.ethif.send(mac + self.ethif.mac_octets + _TYPE + packet)
            if hop in self._table and self.arp.stale(hop):
                self.arp.doubt(hop)
            return
        self.arp.resolve(hop, lambda found: self._resolved(found, packet, hop))

    def doubt(self, dst: int) -> None:
        """What was sent to `dst` went unanswered again and again: is the next hop still where it was?"""
        hop = self._next_hop(dst)
        if hop is not None:
            self.arp.doubt(hop)

    def _next_hop(self, dst: int) -> int | None:
        if dst == BROADCAST or (self.address and dst & self.mask == self.address & self.mask):
            return dst
        return self.gateway

    def _resolved(self, mac: bytes | None, packet: bytes, hop: int) -> None:
        if mac is None:
            self._drops("no ARP answer", hop=ip_text(hop))
            return
        self._sent += 1
        self.ethif.send(mac + self.ethif.mac_octets + _TYPE + packet)

    async def disconnect(self) -> None:
        """Pass nothing up any more."""
        self._handlers.clear()

    def statistics(self) -> Ipv4Statistics:
        """Return the counters."""
        return Ipv4Statistics(self._received, self._sent, dict(self._drops.counts))
