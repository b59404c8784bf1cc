"""Stack46: STACKV4V6: both families on one NETWORK; a STACKV4 too.

`listen_tcp` and `listen_udp` serve both; `tcp.create_connection` and `udp.write` take the family of the address they are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures import Network
from mirage_lab.signatures.network import Serve, UdpReceive
from mirage_lab.tcpip.icmpv6 import Icmpv6Statistics
from mirage_lab.tcpip.ipv6 import Ipv6, Ipv6Statistics
from mirage_lab.tcpip.ndp import NdpStatistics
from mirage_lab.tcpip.stack import Stack, StackStatistics
from mirage_lab.tcpip.tcp.flow import TcpFlow
from mirage_lab.tcpip.tcp.tcpv4 import TcpStatistics, TcpV4
from mirage_lab.tcpip.tcp.tcpv6 import TcpV6
from mirage_lab.tcpip.udp import UdpStatistics, Udpv4, Udpv6

__all__ = ["Stack46", "Stack46Statistics", "Tcp46", "Udp46"]


class Tcp46:
    """TCP of both families."""

    module_type: ClassVar[str] = "TCPV4V6"

    def __init__(self, tcpv4: TcpV4, tcpv6: TcpV6) -> None:
        self.tcpv4 = tcpv4
        self.tcpv6 = tcpv6

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.tcpv4.id

    def listen(self, port: int, serve: Serve) -> None:
        """Run `serve(flow)` for each connection to `port`, by either family."""
        self.tcpv4.listen(port, serve)
        self.tcpv6.listen(port, serve)

    async def create_connection(self, address: tuple[str, int], *, congestion: str | None = None, ecn: bool | None = None) -> TcpFlow:
        """Connect to (address, port), of either family; raises ConnectionRefused or ConnectionTimedOut."""
        tcp = self.tcpv6 if ":" in address[0] else self.tcpv4
        return await tcp.create_connection(address, congestion=congestion, ecn=ecn)

    async def disconnect(self) -> None:
        """Listen to nothing any more and abort what is open."""
        await self.tcpv4.disconnect()
        await self.tcpv6.disconnect()


class Udp46:
    """UDP of both families."""

    module_type: ClassVar[str] = "UDPV4V6"

    def __init__(self, udpv4: Udpv4, udpv6: Udpv6) -> None:
        self.udpv4 = udpv4
        self.udpv6 = udpv6

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.udpv4.id

    def listen(self, port: int, receive: UdpReceive) -> None:
        """Call `receive(src, src_port, data)` for datagrams to `port`, by either family."""
        self.udpv4.listen(port, receive)
        self.udpv6.listen(port, receive)

    def write(self, dst: str, dst_port: int, data: bytes, src_port: int = 0) -> None:
        """Send a datagram to an address of either family."""
        udp = self.udpv6 if ":" in dst else self.udpv4
        udp.write(dst, dst_port, data, src_port)

    async def disconnect(self) -> None:
        """Listen to nothing any more."""
        await self.udpv4.disconnect()
        await self.udpv6.disconnect()


@dataclass(frozen=True, slots=True)
class Stack46Statistics(StackStatistics):
    """The counters of each layer, of both families."""

    ipv6: Ipv6Statistics
    icmpv6: Icmpv6Statistics
    ndp: NdpStatistics
    udpv6: UdpStatistics
    tcpv6: TcpStatistics


class Stack46(Stack):
    """A direct stack of both families."""

    module_type: ClassVar[str] = "STACKV4V6"

    def __init__(
        self,
        queue: RunQueue,
        netif: Network,
        *,
        address: str = "10.0.0.2/24",
        gateway: str | None = None,
        address6: str | None = None,
        gateway6: str | None = None,
        accept_ra: bool = True,
        stable: bool = False,
        profile: str = "today",
        congestion: str | None = None,
        ecn: bool | None = None,
    ) -> None:
        """`address6` "2001:db8::2/64"; without it there is the link-local one, and what routers announce if `accept_ra`."""
        super().__init__(queue, netif, address=address, gateway=gateway, profile=profile, congestion=congestion, ecn=ecn)
        self.ipv6 = Ipv6(queue, self.ethif, address=address6, gateway=gateway6, accept_ra=accept_ra, stable=stable, profile=profile)
        self.icmpv6 = self.ipv6.icmp
        self.ndp = self.ipv6.ndp
        self.udpv6 = Udpv6(queue, self.ipv6)
        self.tcpv6 = TcpV6(queue, self.ipv6, profile=profile, congestion=congestion, ecn=ecn)
        self.tcp = Tcp46(self.tcpv4, self.tcpv6)
        self.udp = Udp46(self.udpv4, self.udpv6)

    def __repr__(self) -> str:
        return f"<Stack46 {self.ipv4.get_ip()}/{self.ipv4.prefix}, {self.ipv6.get_ip()} on {self.queue.name}: {self.tcpv4!r} {self.tcpv6!r}>"

    def listen_tcp(self, port: int, serve: Serve) -> None:
        """Run `serve(flow)` for each connection to `port`, by either family; again replaces."""
        self.tcp.listen(port, serve)

    def listen_udp(self, port: int, receive: UdpReceive) -> None:
        """Call `receive(src, src_port, data)` for datagrams to `port`, by either family; again replaces."""
        self.udp.listen(port, receive)

    async def disconnect(self) -> None:
        """Close what is open and listen to nothing any more."""
        await super().disconnect()
        await self.tcpv6.disconnect()
        await self.udpv6.disconnect()
        await self.ipv6.disconnect()

    def statistics(self) -> Stack46Statistics:
        """Return the counters of each layer."""
        four = super().statistics()
        return Stack46Statistics(
            four.ethif,
            four.arp,
            four.ipv4,
            four.icmpv4,
            four.udpv4,
            four.tcpv4,
            self.ipv6.statistics(),
            self.icmpv6.statistics(),
            self.ndp.statistics(),
            self.udpv6.statistics(),
            self.tcpv6.statistics(),
        )
