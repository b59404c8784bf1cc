"""TCP, checksums computed and verified, in virtual time: host seconds per transfer, and per connection.

On vnetif two stacks share a segment of 100 us; through two netfronts a domain sends to another over rings, grants and a
bridge.  The peer of bulk at MSS 1460 is the kernel's loopback between two Python sockets, 1,460 bytes a call.  Segments of
64 KiB (an MTU of 65,535, as no Ethernet has) are other work: 45 times fewer packets for the same bytes.
"""

from __future__ import annotations

import socket
import threading
from functools import partial
from time import perf_counter
from typing import Any

from bench.row import Row, best_each
from mirage_lab.runtime import World, tasks
from mirage_lab.signatures.units import Ns, seconds, us
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tracing.capture import Capture
from mirage_lab.vnetif import Netif, Segment
from mirage_lab.xen.dom0 import Image, Toolstack, VifConfig
from mirage_lab.xen.guest.minios import boot

__all__ = ["run"]

BLOCK = bytes(65_536)
SIZE = 300 * len(BLOCK)
MSS = 1_460


def _serve(stack: Any, got: list[int]) -> None:
    async def serve(flow: Any) -> None:
        while data := await flow.read():
            got[0] += len(data)
        await flow.close()

    stack.listen_tcpv4(80, serve)


async def _send(stack: Any, address: str) -> None:
    flow = await stack.tcpv4.create_connection((address, 80))
    for _ in range(SIZE // len(BLOCK)):
        await flow.write(BLOCK)
    await flow.close()


def _pair(lan: Segment, mtu: int = 1_500) -> list[Stack]:
    """Return two stacks on `lan`, 10.0.0.1 and 10.0.0.2."""
    stacks = []
    for number in (1, 2):
        queue = lan.world.queue(f"host{number}")
        netif = Netif(queue, lan, f"02:00:00:00:00:0{number}", f"host{number}")
        netif.mtu = mtu
        stacks.append(Stack(queue, netif, address=f"10.0.0.{number}/24"))
    return stacks


def on_vnetif(capture: bool, mtu: int = 1_500, times: int = 1) -> None:
    """Two stacks on one segment; `times` SIZE are sent."""
    world = World(1)
    lan = Segment(world, "br0", latency=us(100))
    trace = Capture("br0")
    if capture:
        lan.captures.append(trace)
    stacks = _pair(lan, mtu)
    got = [0]
    _serve(stacks[1], got)
    for _ in range(times):
        stacks[0].queue.spawn(_send(stacks[0], "10.0.0.2"))
        world.advance(Ns(world.now + seconds(30)))
    assert got[0] == SIZE * times and (len(trace) > SIZE * times // (mtu - 40)) is capture


SHORT = 2_000


def short_connections() -> None:
    """Connect, ask with 100 bytes, be answered with 100 and closed, one after the other."""
    world = World(1)
    lan = Segment(world, "br0", latency=us(100))
    client, server = _pair(lan)
    done = [0]

    async def serve(flow: Any) -> None:
        await flow.read()
        await flow.write(bytes(100))
        await flow.close()

    async def ask() -> None:
        for _ in range(SHORT):
            flow = await client.tcpv4.create_connection(("10.0.0.2", 80))
            await flow.write(bytes(100))
            while await flow.read():
                done[0] += 1
            await flow.close()

    server.listen_tcpv4(80, serve)
    client.queue.spawn(ask())
    world.advance(seconds(60))
    assert done[0] == SHORT


ECHOES = 20_000
QUICK = 20
"""Segments that a new connection acknowledges at once: they are exchanged before the clock runs."""


def concurrent(count: int) -> float:
    """Return the time, s, of ECHOES of 100 bytes in all over `count` connections that were made before and stay open together."""
    world = World(1)
    lan = Segment(world, "br0", latency=us(100))
    client, server = _pair(lan)
    done = [0]

    async def serve(flow: Any) -> None:
        while data := await flow.read():
            await flow.write(data)
        await flow.close()

    async def ask(each: int) -> None:
        flow = await client.tcpv4.create_connection(("10.0.0.2", 80))
        for number in range(QUICK + each):
            if number == QUICK:
                await tasks.sleep(Ns(seconds(1) - world.now))
            await flow.write(bytes(100))
            await flow.read()
            done[0] += number >= QUICK
        await tasks.sleep(seconds(1))
        await flow.close()

    server.listen_tcpv4(80, serve)
    for number in range(count):
        client.queue.call_at(Ns(number * us(100)), lambda: client.queue.spawn(ask(ECHOES // count)))
    world.advance(Ns(seconds(1) - 1))
    assert len(server.tcpv4.connections) == count and not done[0]
    began = perf_counter()
    world.advance(Ns(seconds(2) - 1))
    took = perf_counter() - began
    assert done[0] == ECHOES
    return took


def through_netfronts(capture: bool) -> None:
    """Two domains on one bridge."""
    world = World(1)
    lan = Segment(world, "br0", latency=us(100))
    trace = Capture("br0")
    if capture:
        lan.captures.append(trace)
    toolstack = Toolstack(world, boot=boot)
    got = [0]

    async def server(os: Any) -> None:
        stack = Stack(os.queue, await os.netif("0"), address="10.0.0.2/24")
        _serve(stack, got)
        await stack.listen()

    async def client(os: Any) -> None:
        stack = Stack(os.queue, await os.netif("0"), address="10.0.0.3/24")
        await tasks.sleep(us(100))
        await _send(stack, "10.0.0.2")
        await stack.listen()

    for name, entry in (("server", server), ("client", client)):
        toolstack.unpause(toolstack.create(Image(name, entry=entry), vif=[VifConfig(lan)]))
    world.advance(seconds(30))
    world.close()
    assert got[0] == SIZE and (len(trace) > SIZE // MSS) is capture


def loopback() -> None:
    """The kernel's own TCP, fed in pieces of 1,460 bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def sender() -> None:
            with socket.create_connection(server.getsockname()[:2]) as sock:
                piece = bytes(MSS)
                for _ in range(SIZE // MSS):
                    sock.sendall(piece)

        thread = threading.Thread(target=sender)
        thread.start()
        connection, _ = server.accept()
        with connection:
            while connection.recv(65_536):
                pass
        thread.join()


def run() -> list[Row]:
    """Measure."""
    cases = (
        ("bulk TCP on vnetif, capture off", on_vnetif, False, 0),
        ("bulk TCP on vnetif, capture on", on_vnetif, True, 200),
        ("bulk TCP through two netfronts, capture off", through_netfronts, False, 0),
        ("bulk TCP through two netfronts, capture on", through_netfronts, True, 100),
    )
    speeds = [SIZE * 8 / took / 1e6 for took in best_each(5, [loopback, *(partial(work, capture) for _, work, capture, _ in cases)])]
    peer = speeds[0]
    told = f"kernel loopback, two Python sockets: {peer:,.0f} Mbit/s"
    rows = [
        Row(name, speed, "Mbit/s", f">= {goal}" if goal else "", speed >= goal if goal else None, told, speed / peer)
        for (name, _, _, goal), speed in zip(cases, speeds[1:])
    ]
    packet = MSS * 8 / speeds[2]
    rows.insert(2, Row("the same, of each packet of 1,460 bytes and its part of an acknowledgment, end to end", packet, "us", "<= 40", packet <= 40))
    for capture, goal in ((False, 0), (True, 1_400)):
        speed = 10 * SIZE * 8 / best_each(3, [partial(on_vnetif, capture, 65_535, 10)])[0] / 1e6
        name = f"other work: bulk TCP on vnetif in segments of 64 KiB, capture {'on' if capture else 'off'}"
        rows.append(Row(name, speed, "Mbit/s", f">= {goal}" if goal else "", speed >= goal if goal else None))
    rows.append(Row("short connections in one process: connect, 100 bytes each way, close", SHORT / best_each(3, [short_connections])[0], "a second"))
    few, many = (min(times) for times in zip(*((concurrent(10), concurrent(1_000)) for _ in range(3))))
    for count, took in ((10, few), (1_000, many)):
        rows.append(Row(f"an echo of 100 bytes, {count:,} connections open together", took / ECHOES * 1e6, "us"))
    rows.append(Row("the cost at 1,000 connections to the cost at 10", many / few, "times", "<= 1.5", many / few <= 1.5))
    return rows
