"""stacks: UDPV4, TCPV4, STACKV4: the promises of datagrams and connections, between two stacks of one lan."""

from __future__ import annotations

from mirage_lab.runtime import tasks
from mirage_lab.signatures import StackV4, TcpV4, UdpV4
from mirage_lab.signatures.errors import ConnectionRefused, ConnectionTimedOut
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import ms, seconds
from mirage_lab.tcpip.dissect import dissect
from mirage_lab.testing.flows import flow_promises
from mirage_lab.testing.links import Frames
from mirage_lab.testing.suite import Tell, suite

__all__ = ["Heard", "check_stackv4", "check_tcpv4", "check_udpv4", "connected", "tcp_promises", "udp_promises"]

Datagram = tuple[str, int, bytes]


class Heard(list[Datagram]):
    """Datagrams, and the callback that takes them."""

    def receive(self, src: str, src_port: int, data: bytes) -> None:
        self.append((src, src_port, data))


@suite
async def check_udpv4(tell: Tell, one: UdpV4, other: UdpV4, address: str, frames: Frames | None = None) -> None:
    """UDPV4: `other` is at `address`.  With `frames` (those on the wire so far) port unreachable is looked for there."""
    await tell.shape(UdpV4, one, other)
    await udp_promises(tell, one, other, address, frames)


async def udp_promises(tell: Tell, one: UdpV4, other: UdpV4, address: str, frames: Frames | None) -> None:
    """Check the promises of UDPV4, which are those of UDPV6."""
    heard, back = Heard(), Heard()
    async with tell("a datagram arrives whole, with its source, and can be answered") as promise:
        other.listen(7, heard.receive)
        one.listen(4_000, back.receive)
        one.write(address, 7, b"there", src_port=4_000)
        await tasks.sleep(seconds(5))
        promise.equal("source port and data, at the other end", [row[1:] for row in heard], [(4_000, b"there")])
        other.write(heard[0][0], 4_000, b"and back", src_port=7)
        await tasks.sleep(seconds(5))
        promise.equal("the answer", list(back), [(address, 7, b"and back")])
    async with tell("without src_port a port is chosen") as promise:
        heard.clear()
        one.write(address, 7, b"from where?")
        await tasks.sleep(ms(500))
        promise.true("write(address, 7, data)", [row for row in heard if 0 < row[1] < 65_536], list(heard), "a datagram from some port")
    async with tell("boundaries and order are kept") as promise:
        heard.clear()
        for data in (b"", b"a", b"bc", bytes(1_000)):
            one.write(address, 7, data)
        await tasks.sleep(ms(500))
        promise.equal("data, at the other end", [row[2] for row in heard], [b"", b"a", b"bc", bytes(1_000)])
    async with tell("listening again replaces") as promise:
        again = Heard()
        heard.clear()
        other.listen(7, again.receive)
        one.write(address, 7, b"who?")
        await tasks.sleep(ms(500))
        promise.equal("data, at the first listener and the second", ([row[2] for row in heard], [row[2] for row in again]), ([], [b"who?"]))
    if frames is not None:
        async with tell("a port nobody listens on is answered with ICMP port unreachable") as promise:
            one.write(address, 9, b"hello?")
            await tasks.sleep(ms(500))
            told = [dissect(frame).info for frame in frames()]
            promise.true("write(address, 9, data)", "destination unreachable (port)" in told, told[-2:], "destination unreachable (port)")


async def connected(tell: Tell, client: TcpV4, address: tuple[str, int], accepted: tasks.Mailbox[TcpFlow]) -> tuple[TcpFlow, TcpFlow]:
    """Connect, and return both ends of the connection."""
    async with tell("a connection is accepted, and both ends know who they are") as promise:
        flow = await client.create_connection(address)
        other = await accepted.get()
        promise.equal("dst, of the client's flow", flow.dst, address)
        promise.equal("src, of the server's flow", other.src, address)
        promise.equal("dst, of the server's flow", other.dst, flow.src)
    return flow, other


@suite
async def check_tcpv4(tell: Tell, client: TcpV4, server: TcpV4, address: str, port: int = 80, nobody: str | None = None) -> None:
    """TCPV4: `server` is at `address`; its flows are checked as FLOWs.  Nobody has the address `nobody`, if it is given."""
    await tell.shape(TcpV4, client, server)
    await tcp_promises(tell, client, server, address, port, nobody)


async def tcp_promises(tell: Tell, client: TcpV4, server: TcpV4, address: str, port: int, nobody: str | None) -> None:
    """Check the promises of TCPV4, which are those of TCPV6."""
    accepted: tasks.Mailbox[TcpFlow] = tasks.Mailbox(8)
    server.listen(port, accepted.put)
    await flow_promises(tell, *await connected(tell, client, (address, port), accepted))
    async with tell("a port nobody listens on refuses") as promise:
        with promise.refuses(f"create_connection(({address!r}, {port + 1}))", ConnectionRefused):
            await client.create_connection((address, port + 1))
    async with tell("listening again replaces") as promise:
        again: tasks.Mailbox[TcpFlow] = tasks.Mailbox(8)
        server.listen(port, again.put)
        flow = await client.create_connection((address, port))
        await tasks.sleep(seconds(5))
        promise.equal("connections at the first listener and the second", (len(accepted), len(again)), (0, 1))
        await flow.close()
    if nobody is not None:
        async with tell("an address nobody has does not connect", within=seconds(600)) as promise:
            with promise.refuses(f"create_connection(({nobody!r}, {port}))", ConnectionRefused, ConnectionTimedOut):
                await client.create_connection((nobody, port))


@suite
async def check_stackv4(tell: Tell, client: StackV4, server: StackV4, address: str, port: int = 80) -> None:
    """STACKV4: two stacks of one lan, `server` at `address`: its parts, listening, a flow (checked as a FLOW), refusal."""
    await tell.shape(StackV4, client, server)
    async with tell("its parts are there, and agree") as promise:
        promise.equal("ipv4.get_ip(), of the server", server.ipv4.get_ip(), address)
        for name, part in (("udpv4", client.udpv4), ("tcpv4", client.tcpv4)):
            promise.true(name, hasattr(part, "listen") and hasattr(part, "disconnect"), part, f"a {name.upper()}")
    accepted: tasks.Mailbox[TcpFlow] = tasks.Mailbox(8)
    server.listen_tcpv4(port, accepted.put)
    await flow_promises(tell, *await connected(tell, client.tcpv4, (address, port), accepted))
    async with tell("a port nobody listens on refuses") as promise:
        with promise.refuses(f"tcpv4.create_connection(({address!r}, {port + 1}))", ConnectionRefused):
            await client.tcpv4.create_connection((address, port + 1))
    async with tell("a datagram to a port that is listened on arrives, sent again if the lan loses it") as promise:
        heard = Heard()
        server.listen_udpv4(port, heard.receive)
        for _ in range(10):
            client.udpv4.write(address, port, b"datagram")
            await tasks.sleep(ms(500))
            if heard:
                break
        promise.equal("data, at the server", heard[0][2] if heard else None, b"datagram")
    async with tell("listen serves for ever") as promise:
        try:
            async with tasks.timeout(seconds(5)):
                await server.listen()
        except tasks.TimedOut:
            return_early = False
        else:
            return_early = True
        promise.true("listen()", not return_early, "it returned", "a wait without end")
