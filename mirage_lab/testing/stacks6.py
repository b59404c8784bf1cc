"""stacks6: IPV6, UDPV6, TCPV6, STACKV4V6: the promises of IPV4's family, and what is new: several addresses, tried before they are used."""

from __future__ import annotations

import ipaddress
from typing import Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures import IpV6, StackV4V6, TcpV6, UdpV6
from mirage_lab.signatures.errors import ConnectionRefused, LocalProtocolError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import ms, seconds
from mirage_lab.testing.flows import flow_promises
from mirage_lab.testing.links import Frames
from mirage_lab.testing.stacks import Heard, connected, tcp_promises, udp_promises
from mirage_lab.testing.suite import Tell, suite

__all__ = ["check_ipv6", "check_stackv4v6", "check_tcpv6", "check_udpv6"]

PROTO: Final = 253
"""Protocol for experiments (RFC 3692)."""


@suite
async def check_ipv6(tell: Tell, ip: IpV6, dst: str, frames: Frames) -> None:
    """IPV6: what it sends to `dst`, a neighbour, as seen on the wire."""
    await tell.shape(IpV6, ip)
    there = ipaddress.IPv6Address(dst).packed

    def sent() -> list[bytes]:
        """Return the payloads of the experiment's packets to `dst`."""
        packets = [frame[14:] for frame in frames() if frame[12:14] == b"\x86\xdd"]
        return [packet[40 : 40 + (packet[4] << 8 | packet[5])] for packet in packets if packet[6] == PROTO and packet[24:40] == there]

    async with tell("its addresses are its own after a while, one of them of this link") as promise:
        await ip.ready()
        ips = [ipaddress.IPv6Address(address) for address in ip.get_ips()]
        promise.true("get_ips()", any(address.is_link_local for address in ips), ip.get_ips(), "one of fe80::/10 among them")
    async with tell("a packet goes out whole, from us to there") as promise:
        ip.write(dst, PROTO, b"payload")
        await tasks.sleep(seconds(5))
        promise.equal("payloads on the wire", sent(), [b"payload"])
    async with tell("packets keep their order") as promise:
        before = len(sent())
        for at in range(5):
            ip.write(dst, PROTO, bytes([at]))
        await tasks.sleep(ms(500))
        promise.equal("payloads on the wire", sent()[before:], [bytes([at]) for at in range(5)])
    async with tell("a packet over the MTU goes in fragments that fit") as promise:
        ip.write(dst, PROTO, bytes(4_000))
        await tasks.sleep(ms(500))
        pieces = [frame for frame in frames() if frame[12:14] == b"\x86\xdd" and frame[20] == 44 and frame[38:54] == there]
        promise.equal("bytes in fragments", sum((piece[18] << 8 | piece[19]) - 8 for piece in pieces), 4_000)
    async with tell("a packet over 65,535 bytes is a LocalProtocolError") as promise:
        with promise.refuses(f"write({dst!r}, {PROTO}, 65,536 bytes)", LocalProtocolError):
            ip.write(dst, PROTO, bytes(65_536))


@suite
async def check_udpv6(tell: Tell, one: UdpV6, other: UdpV6, address: str, frames: Frames | None = None) -> None:
    """UDPV6: `other` is at `address`.  With `frames` (those on the wire so far) port unreachable is looked for there."""
    await tell.shape(UdpV6, one, other)
    await udp_promises(tell, one, other, address, frames)


@suite
async def check_tcpv6(tell: Tell, client: TcpV6, server: TcpV6, address: str, port: int = 80, nobody: str | None = None) -> None:
    """TCPV6: `server` is at `address`; its flows are checked as FLOWs.  Nobody has the address `nobody`, if it is given."""
    await tell.shape(TcpV6, client, server)
    await tcp_promises(tell, client, server, address, port, nobody)


@suite
async def check_stackv4v6(tell: Tell, client: StackV4V6, server: StackV4V6, address: str, address6: str, port: int = 80) -> None:
    """STACKV4V6: two stacks of one lan, `server` at `address` and `address6`: one listener, connections and datagrams of both families."""
    await tell.shape(StackV4V6, client, server)
    async with tell("ready tells when its IPv6 addresses are its own") as promise:
        await client.ipv6.ready()
        await server.ipv6.ready()
        promise.true("ipv6.get_ips(), of the server", address6 in server.ipv6.get_ips(), server.ipv6.get_ips(), f"{address6} among them")
    accepted: tasks.Mailbox[TcpFlow] = tasks.Mailbox(8)
    server.listen_tcp(port, accepted.put)
    flow, other = await connected(tell, client.tcp, (address, port), accepted)
    await flow.close()
    await other.close()
    await flow_promises(tell, *await connected(tell, client.tcp, (address6, port), accepted))
    async with tell("a port nobody listens on refuses, by either family") as promise:
        for ip in (address, address6):
            with promise.refuses(f"tcp.create_connection(({ip!r}, {port + 1}))", ConnectionRefused):
                await client.tcp.create_connection((ip, port + 1))
    async with tell("one listener takes the datagrams of both families, sent again if the lan loses them") as promise:
        heard = Heard()
        server.listen_udp(port, heard.receive)
        for ip in (address, address6):
            before = len(heard)
            for _ in range(10):
                client.udp.write(ip, port, ip.encode())
                await tasks.sleep(ms(500))
                if len(heard) > before:
                    break
        promise.equal("data, at the server", sorted({row[2] for row in heard}), sorted([address.encode(), address6.encode()]))
