"""Bulk TCP at MSS 1460, checksums computed and verified, in virtual time: host seconds per transfer.

On vnetif two stacks share a segment of 100 us; through two netfronts a domain sends to another over rings, grants and a
bridge.  The peer is the kernel's loopback between two Python sockets, 1,460 bytes a call.
"""

from __future__ import annotations

import socket
import threading
from functools import partial
from typing import Any

from bench.row import Row, best_each
from mirage_lab.runtime import World, tasks
from mirage_lab.signatures.units import seconds, us
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


def on_vnetif(capture: bool) -> None:
    """Two stacks on one segment."""
    world = World(1)
    lan = Segment(world, "br0", latency=us(100))
    trace = Capture("br0")
    if capture:
        lan.captures.append(trace)
    stacks = []
    for number in (1, 2):
        queue = world.queue(f"host{number}")
        stacks.append(Stack(queue, Netif(queue, lan, f"02:00:00:00:00:0{number}", f"host{number}"), address=f"10.0.0.{number}/24"))
    got = [0]
    _serve(stacks[1], got)
    stacks[0].queue.spawn(_send(stacks[0], "10.0.0.2"))
    world.advance(seconds(30))
    assert got[0] == SIZE and (len(trace) > SIZE // MSS) is capture


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
        ("bulk TCP on vnetif, capture on", on_vnetif, True, 100),
        ("bulk TCP through two netfronts, capture off", through_netfronts, False, 0),
        ("bulk TCP through two netfronts, capture on", through_netfronts, True, 60),
    )
    speeds = [SIZE * 8 / took / 1e6 for took in best_each(5, [loopback, *(partial(work, capture) for _, work, capture, _ in cases)])]
    peer = speeds[0]
    told = f"kernel loopback, two Python sockets: {peer:,.0f} Mbit/s"
    return [
        Row(name, speed, "Mbit/s", f">= {goal}" if goal else "", speed >= goal if goal else None, told, speed / peer)
        for (name, _, _, goal), speed in zip(cases, speeds[1:])
    ]
