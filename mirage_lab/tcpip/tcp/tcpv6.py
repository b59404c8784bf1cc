"""TcpV6: TCPV6: TCP over IPv6: the same machine, with longer addresses and several of our own (RFC 8200 section 8)."""

from __future__ import annotations

from typing import ClassVar

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures.errors import ConnectionRefused
from mirage_lab.tcpip.ipv6 import Ipv6
from mirage_lab.tcpip.tcp.flow import TcpFlow
from mirage_lab.tcpip.tcp.tcpv4 import Tcp
from mirage_lab.tcpip.wire.ipv6 import TCP

__all__ = ["TcpV6"]


class TcpV6(Tcp):
    """TCP for one Ipv6; a connection keeps the address of ours that it began with."""

    module_type: ClassVar[str] = "TCPV6"
    chance: ClassVar[str] = "tcp6"

    def __init__(self, queue: RunQueue, ipv6: Ipv6, *, profile: str = "today", congestion: str | None = None, ecn: bool | None = None) -> None:
        """`congestion`: newreno, cubic or bbr; `ecn`: True to ask for it, False to refuse it; None: as in the profile."""
        super().__init__(queue, ipv6, profile=profile, congestion=congestion, ecn=ecn)
        self.ipv6 = ipv6
        ipv6.icmp.on_unreachable[TCP] = self.unreachable
        ipv6.icmp.on_too_big[TCP] = self.too_big

    async def create_connection(self, address: tuple[str, int], *, congestion: str | None = None, ecn: bool | None = None) -> TcpFlow:
        """Connect, from the address that fits best, once it is known to be ours alone.  Raises ConnectionRefused, ConnectionTimedOut."""
        to = self.ip.parse(address[0])
        await self.ipv6.ready()
        if not self.ip.source(to):
            raise ConnectionRefused(f"no IPv6 address of {self.id} can reach {address[0]}")
        return await super().create_connection(address, congestion=congestion, ecn=ecn)
