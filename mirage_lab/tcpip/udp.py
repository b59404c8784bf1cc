"""Udp: datagrams over one IP (RFC 768, RFC 1122 section 4.1).  Udpv4 is UDPV4, Udpv6 UDPV6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.network import UdpReceive
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.icmp import Icmpv4
from mirage_lab.tcpip.ipv4 import Ipv4
from mirage_lab.tcpip.ipv6 import Ipv6
from mirage_lab.tcpip.protocol import Ip
from mirage_lab.tcpip.wire import icmpv6 as icmp6_wire
from mirage_lab.tcpip.wire import ipv4 as ip_wire
from mirage_lab.tcpip.wire import ipv6 as ip6_wire
from mirage_lab.tcpip.wire import udp as wire
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["Udp", "UdpStatistics", "Udpv4", "Udpv6"]

EPHEMERAL: Final = range(49_152, 65_536)


@dataclass(frozen=True, slots=True)
class UdpStatistics:
    """Datagrams delivered and sent, drops by reason."""

    received: int
    sent: int
    dropped: dict[str, int]


class Udp:
    """UDP over one IP, of either family."""

    module_type: ClassVar[str] = "UDP"
    chance: ClassVar[str] = "udp"
    """Its streams of chance begin with this name."""

    def __init__(self, queue: RunQueue, ip: Ip) -> None:
        self.queue = queue
        self.ip = ip
        self._listeners: dict[int, UdpReceive] = {}
        self._drops = Drops(queue, "udp.drop")
        self._port = queue.rng(f"{self.chance}.port").choice(EPHEMERAL)
        self._received = self._sent = 0
        ip.register(wire.PROTO, self.input)

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.ip.id

    def listen(self, port: int, receive: UdpReceive) -> None:
        """Call `receive(src, src_port, data)` for datagrams to `port`; again replaces."""
        if not 0 < port < 65_536:
            raise LocalProtocolError(f"port {port}: ports are 1 to 65535")
        self._listeners[port] = receive

    def unlisten(self, port: int) -> None:
        """Listen to `port` no longer."""
        self._listeners.pop(port, None)

    def listens(self, port: int) -> bool:
        """True if somebody listens to `port`."""
        return port in self._listeners

    def input(self, src: int, dst: int, payload: bytes) -> None:
        """Take a datagram from IP."""
        try:
            datagram = wire.decode(payload, src, dst, self.ip.pseudo)
        except WireError as error:
            self._drops("checksum" if "checksum" in str(error) else "malformed")
            return
        receive = self._listeners.get(datagram.dst_port)
        if receive is not None:
            self._received += 1
            receive(self.ip.text(src), datagram.src_port, datagram.data)
            return
        self._drops("no listener", port=datagram.dst_port)
        if self.ip.ours(dst):
            self.nobody(src, dst, payload)

    def nobody(self, src: int, dst: int, payload: bytes) -> None:
        """Tell the sender that nobody listens there."""

    def write(self, dst: str, dst_port: int, data: bytes, src_port: int = 0) -> None:
        """Send a datagram, from a port of our choice unless `src_port` is given."""
        if not src_port:
            self._port = EPHEMERAL[(self._port - EPHEMERAL.start + 1) % len(EPHEMERAL)]
            src_port = self._port
        to = self.ip.parse(dst)
        source = self.ip.source(to)
        self._sent += 1
        self.ip.output(to, wire.PROTO, wire.encode(wire.Datagram(src_port, dst_port, data), source, to, self.ip.pseudo), source)

    async def disconnect(self) -> None:
        """Listen to nothing any more."""
        self._listeners.clear()

    def statistics(self) -> UdpStatistics:
        """Return the counters."""
        return UdpStatistics(self._received, self._sent, dict(self._drops.counts))


class Udpv4(Udp):
    """UDP for one Ipv4."""

    module_type: ClassVar[str] = "UDPV4"

    def __init__(self, queue: RunQueue, ipv4: Ipv4, icmpv4: Icmpv4 | None = None) -> None:
        super().__init__(queue, ipv4)
        self.ipv4 = ipv4
        self.icmpv4 = icmpv4

    def nobody(self, src: int, dst: int, payload: bytes) -> None:
        """Send ICMP port unreachable; in 2014 nothing was said."""
        if self.icmpv4 is not None and self.ipv4.profile != "2014":
            header = ip_wire.Header(src, dst, wire.PROTO, 20 + len(payload))
            self.icmpv4.send_unreachable(3, ip_wire.encode(header) + payload)


class Udpv6(Udp):
    """UDP for one Ipv6."""

    module_type: ClassVar[str] = "UDPV6"
    chance: ClassVar[str] = "udp6"

    def __init__(self, queue: RunQueue, ipv6: Ipv6) -> None:
        super().__init__(queue, ipv6)
        self.ipv6 = ipv6

    def nobody(self, src: int, dst: int, payload: bytes) -> None:
        """Send ICMPv6 port unreachable."""
        header = ip6_wire.Header(src, dst, wire.PROTO, len(payload))
        self.ipv6.icmp.send_error(icmp6_wire.UNREACHABLE, icmp6_wire.PORT_UNREACHABLE, 0, ip6_wire.encode(header) + payload)
