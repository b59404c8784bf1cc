"""Stack: STACKV4 on a NETWORK: the layers put together, or taken as they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from mirage_lab.runtime import RunQueue, tasks
from mirage_lab.signatures import Network
from mirage_lab.signatures.network import Serve, UdpReceive
from mirage_lab.tcpip.arp import Arp, ArpStatistics
from mirage_lab.tcpip.ethif import Ethif, EthifStatistics
from mirage_lab.tcpip.icmp import IcmpStatistics, Icmpv4
from mirage_lab.tcpip.ipv4 import Ipv4, Ipv4Statistics
from mirage_lab.tcpip.tcp.tcpv4 import TcpStatistics, TcpV4
from mirage_lab.tcpip.udp import UdpStatistics, Udpv4
from mirage_lab.tcpip.wire.tcp import PROTO

__all__ = ["Stack", "StackStatistics"]


@dataclass(frozen=True, slots=True)
class StackStatistics:
    """The counters of each layer."""

    ethif: EthifStatistics
    arp: ArpStatistics
    ipv4: Ipv4Statistics
    icmpv4: IcmpStatistics
    udpv4: UdpStatistics
    tcpv4: TcpStatistics


class Stack:
    """A direct stack: every layer ours, down to the frame."""

    module_type: ClassVar[str] = "STACKV4"
    dhcp: Any = None
    """Who keeps the address of a stack that got it by DHCP (`dhcp.Configured`)."""
    router: Any = None
    """What forwards between this stack's network and others (`router.Router`)."""

    def __init__(
        self,
        queue: RunQueue,
        netif: Network,
        *,
        address: str = "10.0.0.2/24",
        gateway: str | None = None,
        routes: Iterable[str] = (),
        mtu: int | None = None,
        profile: str = "today",
        congestion: str | None = None,
        ecn: bool | None = None,
    ) -> None:
        ethif = Ethif(queue, netif)
        ipv4 = Ipv4(queue, ethif, Arp(queue, ethif, profile), address=address, gateway=gateway, routes=routes, mtu=mtu, profile=profile)
        self._assemble(queue, ipv4, Icmpv4(queue, ipv4), None, TcpV4(queue, ipv4, profile=profile, congestion=congestion, ecn=ecn))

    @classmethod
    def of(cls, udpv4: Udpv4, tcpv4: TcpV4) -> Stack:
        """Return the stack whose UDP and TCP were put together by hand, on one IPV4."""
        stack = cls.__new__(cls)
        ipv4 = tcpv4.ipv4
        stack._assemble(tcpv4.queue, ipv4, udpv4.icmpv4 or Icmpv4(tcpv4.queue, ipv4), udpv4, tcpv4)
        return stack

    def _assemble(self, queue: RunQueue, ipv4: Ipv4, icmpv4: Icmpv4, udpv4: Udpv4 | None, tcpv4: TcpV4) -> None:
        self.queue = queue
        self.ipv4 = ipv4
        self.arp = ipv4.arp
        self.ethif = ipv4.ethif
        self.icmpv4 = icmpv4
        self.udpv4 = udpv4 or Udpv4(queue, ipv4, icmpv4)
        self.tcpv4 = tcpv4
        icmpv4.on_unreachable[PROTO] = tcpv4.unreachable
        icmpv4.on_too_big[PROTO] = tcpv4.too_big

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.ipv4.id

    def __repr__(self) -> str:
        return f"<Stack {self.ipv4.get_ip()}/{self.ipv4.prefix} on {self.queue.name}: {self.tcpv4!r}>"

    def listen_tcpv4(self, port: int, serve: Serve) -> None:
        """Run `serve(flow)` for each connection to `port`; again replaces."""
        self.tcpv4.listen(port, serve)

    def listen_udpv4(self, port: int, receive: UdpReceive) -> None:
        """Call `receive(src, src_port, data)` for datagrams to `port`; again replaces."""
        self.udpv4.listen(port, receive)

    async def listen(self) -> None:
        """Serve for ever."""
        await tasks.Condition().wait()

    async def disconnect(self) -> None:
        """Close what is open and listen to nothing any more."""
        if self.dhcp is not None:
            await self.dhcp.disconnect()
        await self.tcpv4.disconnect()
        await self.udpv4.disconnect()
        await self.ipv4.disconnect()

    def statistics(self) -> StackStatistics:
        """Return the counters of each layer."""
        return StackStatistics(
            self.ethif.statistics(),
            self.arp.statistics(),
            self.ipv4.statistics(),
            self.icmpv4.statistics(),
            self.udpv4.statistics(),
            self.tcpv4.statistics(),
        )
