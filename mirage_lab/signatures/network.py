"""NETWORK, ETHIF, ARP, IPV4, ICMPV4, UDPV4, TCPV4, STACKV4 (types/V1.mli, 2.0.0), and later IPV6, UDPV6, TCPV6, STACKV4V6.

Addresses at these borders are text, "10.0.0.2" and "c0:ff:ee:00:00:01"; data is bytes.  V1 has everything return `unit io`;
here what can never wait is plain, and what waits is `async`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from mirage_lab.signatures.device import Device
from mirage_lab.signatures.flow import Flow
from mirage_lab.signatures.units import Ns

__all__ = [
    "Arp", "Ethif", "IcmpV4", "IpV4", "IpV6", "Network", "NetworkStats", "Serve", "StackV4", "StackV4V6", "Tcp", "TcpFlow", "TcpV4", "TcpV6", "Udp",
    "UdpReceive", "UdpV4", "UdpV6",
]  # fmt: skip

UdpReceive = Callable[[str, int, bytes], None]
"""`receive(src, src_port, data)`."""


SECOND = Ns(1_000_000_000)


@dataclass(frozen=True, slots=True)
class NetworkStats:
    """Frames and bytes received and sent since connect or the last reset."""

    rx_bytes: int
    rx_pkts: int
    tx_bytes: int
    tx_pkts: int


@runtime_checkable
class Network(Device, Protocol):
    """NETWORK: Ethernet frames.

    Promises: frames go out in the order written.  Refusals: `write` never waits: a full queue drops the frame and counts
    it; frames longer than `mtu` + 14 are a LocalProtocolError; frames that arrive before `listen` are dropped.
    """

    module_type: ClassVar[str] = "NETWORK"

    @property
    def mac(self) -> str:
        """The address of the interface."""

    @property
    def mtu(self) -> int:
        """Bytes of payload in the largest frame, 1,500 on Ethernet."""

    def write(self, frame: bytes) -> None:
        """Send a frame."""

    def writev(self, pieces: Sequence[bytes]) -> None:
        """Send one frame made of `pieces`."""

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """Call `receive(frame)` for each frame that arrives; a second call replaces the first."""

    def get_stats_counters(self) -> NetworkStats:
        """Return the counters."""

    def reset_stats_counters(self) -> None:
        """Set the counters to zero."""


@runtime_checkable
class Ethif(Device, Protocol):
    """ETHIF: payloads by EtherType.

    Promises: frames for other stations are not passed up.  Refusals: unknown EtherTypes are dropped and counted.
    """

    module_type: ClassVar[str] = "ETHIF"

    @property
    def mac(self) -> str:
        """The address of the interface."""

    @property
    def mtu(self) -> int:
        """Bytes of payload in the largest frame."""

    def write(self, dst: str, ethertype: int, payload: bytes) -> None:
        """Send `payload` to the station `dst`."""

    def listen(self, ethertype: int, receive: Callable[[bytes], None]) -> None:
        """Call `receive(frame)` for frames of this EtherType; the payload begins at byte 14."""


@runtime_checkable
class Arp(Device, Protocol):
    """ARP (RFC 826): which station has an address.  Inside ETHIF until 2.6.0.

    Refusals: ConnectionTimedOut when nobody answers.
    """

    module_type: ClassVar[str] = "ARP"

    async def query(self, ip: str) -> str:
        """Return the MAC address of `ip`, asking the lan if it is not known."""

    def add_ip(self, ip: str) -> None:
        """Answer for `ip` from now on, and announce it."""

    def get_ips(self) -> list[str]:
        """Return the addresses answered for."""


@runtime_checkable
class IpV4(Device, Protocol):
    """IPV4 (RFC 791): packets to addresses.

    Promises: only packets for us are passed up, whole, with a good header; what does not fit the MTU goes in fragments.
    Refusals: over 65,515 bytes, or TCP's over the MTU, are a LocalProtocolError; without a route the packet is dropped and counted.
    """

    module_type: ClassVar[str] = "IPV4"

    def get_ip(self) -> str:
        """Return our address."""

    def get_netmask(self) -> str:
        """Return our netmask."""

    def get_gateways(self) -> list[str]:
        """Return the gateways."""

    def write(self, dst: str, proto: int, payload: bytes) -> None:
        """Send `payload` to `dst`; ARP is asked first if need be."""


@runtime_checkable
class IcmpV4(Device, Protocol):
    """ICMPV4 (RFC 792): echo, and the errors of the others.  A signature of its own since 2.8.0; answered inside IPV4 before."""

    module_type: ClassVar[str] = "ICMPV4"

    async def ping(self, dst: str, size: int = 56, timeout: Ns = SECOND) -> Ns:
        """Return the round-trip time of one echo; raises ConnectionTimedOut."""


@runtime_checkable
class UdpV4(Device, Protocol):
    """UDPV4 (RFC 768): datagrams.

    Refusals: a port nobody listens on is answered with ICMP port unreachable.
    """

    module_type: ClassVar[str] = "UDPV4"

    def write(self, dst: str, dst_port: int, data: bytes, src_port: int = 0) -> None:
        """Send a datagram (from a port of our choice unless `src_port` is given)."""

    def listen(self, port: int, receive: UdpReceive) -> None:
        """Call `receive(src, src_port, data)` for datagrams to `port`; again replaces."""


@runtime_checkable
class TcpFlow(Flow, Protocol):
    """A TCP connection: a FLOW that knows its ends."""

    @property
    def dst(self) -> tuple[str, int]:
        """The peer's address and port."""

    @property
    def src(self) -> tuple[str, int]:
        """Our address and port."""


Serve = Callable[[TcpFlow], Awaitable[None]]
"""`async def serve(flow)`: one connection."""


@runtime_checkable
class TcpV4(Device, Protocol):
    """TCPV4 (RFC 9293): connections.

    Promises: those of FLOW.  Refusals: ConnectionRefused, ConnectionTimedOut; a port nobody listens on answers RST.
    """

    module_type: ClassVar[str] = "TCPV4"

    async def create_connection(self, address: tuple[str, int]) -> TcpFlow:
        """Connect to (address, port)."""

    def listen(self, port: int, serve: Serve) -> None:
        """Run `serve(flow)` for each connection to `port`; again replaces, as in V1."""


@runtime_checkable
class StackV4(Device, Protocol):
    """STACKV4: a whole stack, direct or the host's sockets.

    Promises: those of its parts.  Refusals: registering a port again silently replaces, as in V1.
    """

    module_type: ClassVar[str] = "STACKV4"

    @property
    def ipv4(self) -> IpV4:
        """Its IPV4 (exposed since 1.1.2)."""

    @property
    def udpv4(self) -> UdpV4:
        """Its UDPV4."""

    @property
    def tcpv4(self) -> TcpV4:
        """Its TCPV4."""

    def listen_tcpv4(self, port: int, serve: Serve) -> None:
        """Run `serve(flow)` for each connection to `port`."""

    def listen_udpv4(self, port: int, receive: UdpReceive) -> None:
        """Call `receive(src, src_port, data)` for datagrams to `port`."""

    async def listen(self) -> None:
        """Serve for ever: waits without end."""


@runtime_checkable
class IpV6(Device, Protocol):
    """IPV6 (RFC 8200): packets to addresses, of which an interface has several (V1's IPV6, mirage 2.3.0).

    Promises: only packets for us or our groups are passed up.  Refusals: without a route, or before an address is known to
    be ours alone, a packet is dropped and counted; packets over 65,535 bytes are a LocalProtocolError.
    """

    module_type: ClassVar[str] = "IPV6"

    def get_ips(self) -> list[str]:
        """Return our addresses."""

    def get_gateways(self) -> list[str]:
        """Return the default routers."""

    def write(self, dst: str, proto: int, payload: bytes) -> None:
        """Send `payload` to `dst`, in fragments if need be; the neighbour is asked for first."""

    async def ready(self) -> None:
        """Wait until our addresses are known to be ours alone."""


@runtime_checkable
class UdpV6(UdpV4, Protocol):
    """UDPV6: the promises of UDPV4, over IPV6."""

    module_type: ClassVar[str] = "UDPV6"


@runtime_checkable
class TcpV6(TcpV4, Protocol):
    """TCPV6: the promises of TCPV4, over IPV6."""

    module_type: ClassVar[str] = "TCPV6"


@runtime_checkable
class Udp(UdpV4, Protocol):
    """UDP of either family: the address says which."""

    module_type: ClassVar[str] = "UDPV4V6"


@runtime_checkable
class Tcp(TcpV4, Protocol):
    """TCP of either family: the address says which."""

    module_type: ClassVar[str] = "TCPV4V6"


@runtime_checkable
class StackV4V6(StackV4, Protocol):
    """STACKV4V6: one stack for both families, a STACKV4 too (mirage-tcpip 5).

    Promises: those of its parts; a listener serves both families.  Refusals: registering a port again silently replaces.
    """

    module_type: ClassVar[str] = "STACKV4V6"

    @property
    def ipv6(self) -> IpV6:
        """Its IPV6."""

    @property
    def udp(self) -> Udp:
        """UDP of both families."""

    @property
    def tcp(self) -> Tcp:
        """TCP of both families."""

    def listen_tcp(self, port: int, serve: Serve) -> None:
        """Run `serve(flow)` for each connection to `port`."""

    def listen_udp(self, port: int, receive: UdpReceive) -> None:
        """Call `receive(src, src_port, data)` for datagrams to `port`."""
