"""Packets that cross networks: time to live, errors, fragments and path MTU on the way through two routers."""

from __future__ import annotations

import random
from collections.abc import Awaitable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mirage_lab import Lab, devices, ms, seconds, unikernel
from mirage_lab.runtime import RunQueue, World, tasks
from mirage_lab.signatures import Console, StackV4
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import Ns
from mirage_lab.skeleton import router, services
from mirage_lab.tcpip.router import Router, one_hop_less
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire import ipv4
from mirage_lab.tcpip.wire.address import ip_int
from mirage_lab.vnetif import Netif, Segment

MINUTE = seconds(60)
A, B = "10.0.0.1", "10.2.0.1"


class Chain:
    """a (10.0.0.1) -- lan 0 -- router p -- lan 1, whose MTU is 1280 -- router q -- lan 2 -- b (10.2.0.1)."""

    def __init__(self, **faults: Any) -> None:
        self.world = World(1)
        self.lans = [Segment(self.world, f"br{number}", latency=ms(1), **faults) for number in range(3)]
        self.lans[1].mtu = 1_280
        self.cards = 0
        self.queues: dict[str, RunQueue] = {}
        self.a = self.stack("a", 0, f"{A}/24", gateway="10.0.0.254")
        left = self.stack("p", 0, "10.0.0.254/24")
        self.p = Router([left, self.stack("p", 1, "10.1.0.1/24", mtu=1_280, routes=("10.2.0.0/16 via 10.1.0.2",))])
        right = self.stack("q", 1, "10.1.0.2/24", mtu=1_280, gateway="10.1.0.1")
        self.q = Router([right, self.stack("q", 2, "10.2.0.254/24")])
        self.b = self.stack("b", 2, f"{B}/24", gateway="10.2.0.254")

    def stack(self, name: str, lan: int, address: str, **more: Any) -> Stack:
        self.cards += 1
        if name not in self.queues:
            self.queues[name] = self.world.queue(name)
        queue = self.queues[name]
        return Stack(queue, Netif(queue, self.lans[lan], f"02:00:00:00:00:{self.cards:02x}", f"{name}{lan}"), address=address, **more)

    def run(self, main: Awaitable[Any], within: Ns = MINUTE) -> Any:
        """Run a coroutine on a and return what it returned."""
        results: list[Any] = []

        async def keep() -> None:
            results.append(await main)

        self.a.queue.spawn(keep())
        self.world.advance(Ns(self.world.now + within))
        return results[0]


async def echo(flow: TcpFlow) -> None:
    while data := await flow.read():
        await flow.write(data)
    await flow.close()


async def exchange(stack: Stack, data: bytes, to: str) -> bytes:
    flow = await stack.tcpv4.create_connection((to, 7))
    got = bytearray()
    async with tasks.nursery() as both:

        async def send() -> None:
            await flow.write(data)
            await flow.close()

        both.start(send())
        while piece := await flow.read():
            got += piece
    return bytes(got)


@given(st.integers(0, 255), st.integers(1, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF_FFFF))
def test_the_checksum_adjusted_is_the_checksum_counted_again(proto: int, ttl: int, ident: int, src: int, dst: int) -> None:
    """RFC 1624 section 3, where RFC 1141 went wrong at 0xffff."""
    before, after = (ipv4.encode(ipv4.Header(src, dst, proto, 20, ident, ttl=one)) for one in (ttl, ttl - 1))
    assert one_hop_less(before) == after


def test_the_one_header_whose_checksum_tells_the_two_rules_apart() -> None:
    header = next(
        packet for ident in range(65_536) if (packet := ipv4.encode(ipv4.Header(1, 2, 17, 20, ident)))[10:12] == b"\xfe\xff"
    )  # fmt: skip
    assert one_hop_less(header)[10:12] == b"\0\0" and ipv4.decode(one_hop_less(header)).ttl == 63


def test_a_hundred_kilobytes_cross_a_narrow_lan_after_the_router_said_what_it_takes() -> None:
    """RFC 1191: the first large segments are refused; then both ends send 1,280 bytes."""
    chain = Chain()
    chain.b.listen_tcpv4(7, echo)
    data = random.Random(1).randbytes(100_000)
    assert chain.run(exchange(chain.a, data, B)) == data
    assert chain.p.statistics().dropped["too big"] >= 1 and chain.q.statistics().dropped["too big"] >= 1
    assert chain.a.ipv4.path_mtu(ip_int(B)) == chain.b.ipv4.path_mtu(ip_int(A)) == 1_280
    assert chain.lans[1].statistics().lost == {}
    before = chain.p.statistics().dropped["too big"]
    assert chain.run(exchange(chain.a, data, B)) == data
    assert chain.p.statistics().dropped["too big"] == before, "a new connection begins with what is known of the path"


def test_a_ping_of_eight_thousand_bytes_crosses_in_fragments_that_are_cut_again() -> None:
    chain = Chain()
    assert chain.run(chain.a.icmpv4.ping(B, 8_000)) > ms(6)
    assert chain.p.statistics().fragmented >= 5 and chain.b.ipv4.statistics().reassembled == 1
    assert chain.a.ipv4.statistics().reassembled == 1 and chain.a.ipv4.statistics().dropped == {}


def test_the_time_to_live_walks_the_way() -> None:
    """As traceroute does: each router answers for the packet that ends at it."""
    chain = Chain()
    assert chain.run(chain.a.icmpv4.trace(B)) == ["10.0.0.254", "10.1.0.2", B]
    assert chain.p.statistics().dropped == {"time to live is over": 1}
    assert chain.run(chain.a.icmpv4.trace("10.2.0.77", hops=4)) == ["10.0.0.254", "10.1.0.2", "*", "*"]


def test_a_router_has_addresses_of_its_own_and_no_way_to_everywhere() -> None:
    chain = Chain()
    assert chain.run(chain.a.icmpv4.ping("10.1.0.1")) and chain.run(chain.a.icmpv4.ping("10.2.0.254"))
    heard: list[int] = []
    chain.a.icmpv4.on_unreachable[99] = lambda code, dst, quoted: heard.append(code)
    chain.a.ipv4.write("192.168.7.7", 99, bytes(8))
    chain.world.advance(Ns(chain.world.now + seconds(1)))
    assert heard == [0] and chain.p.statistics().dropped == {"no route": 1}


def test_what_is_for_all_or_from_nobody_stays_where_it_is() -> None:
    """RFC 2644: a packet to all of another network would be answered by all of it."""
    chain = Chain()
    chain.world.advance(seconds(1))
    frames = chain.lans[1].statistics().frames
    for src, dst in ((A, "10.1.0.255"), (A, "224.0.0.9"), ("10.1.0.1", B), ("0.0.0.0", B), (A, "127.0.0.1"), ("10.0.0.254", B)):
        packet = ipv4.encode(ipv4.Header(ip_int(src), ip_int(dst), 99, 28)) + bytes(8)
        chain.p.interfaces[0].input(chain.p.interfaces[0].ethif.mac_octets + bytes(6) + b"\x08\0" + packet)
    packet = ipv4.encode(ipv4.Header(ip_int(A), ip_int(B), 99, 28)) + bytes(8)
    chain.p.interfaces[0].input(b"\xff" * 6 + bytes(6) + b"\x08\0" + packet)
    chain.world.advance(seconds(2))
    assert chain.p.statistics().forwarded == 0 and chain.lans[1].statistics().frames == frames
    assert chain.p.statistics().dropped == {"broadcast to a network": 1, "not to be forwarded": 4}


def test_two_routers_that_send_to_each_other_end_it_by_the_time_to_live() -> None:
    chain = Chain()
    chain.p.interfaces[1].add_route("10.9.0.0/16 via 10.1.0.2")
    chain.a.ipv4.write("10.9.0.1", 99, b"round and round")
    chain.world.advance(seconds(5))
    assert chain.p.statistics().forwarded + chain.q.statistics().forwarded == 63 + 1, "63 times round, and what the last one said"
    assert chain.a.icmpv4.statistics().errors_heard == 1


@unikernel
async def caller(console: Console, stack: StackV4) -> None:
    flow = await stack.tcpv4.create_connection(("10.1.0.2", 7))
    data = bytes(n % 251 for n in range(50_000))
    async with tasks.nursery() as both:

        async def send() -> None:
            await flow.write(data)
            await flow.close()

        both.start(send())
        got = bytearray()
        while piece := await flow.read():
            got += piece
    console.log("the same" if got == data else "something else")


def test_a_person_boots_a_router_between_two_lans() -> None:
    with Lab(seed=1, name="routed") as lab:
        near, far = lab.lan("br0", latency=ms(1)), lab.lan("br1", subnet="10.1.0.0/24", latency=ms(1))
        static = devices.direct_stackv4_with_static_ipv4
        between = devices.router(
            static(devices.netif("0"), address="10.0.0.254/24"),
            static(devices.netif("1"), address="10.1.0.254/24", mtu=1_280),
        )
        machine = lab.create(router(devices.default_console, between), vif=[near, far])
        machine.unpause()
        server = static(devices.netif("0"), address="10.1.0.2/24", gateway="10.1.0.254")
        lab.create(services(devices.default_console, server), name="server", vif=[far]).unpause()
        lab.run(ms(100))
        client = static(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1", routes=("10.1.0.0/16 via 10.0.0.254",))
        vm = lab.create(caller(devices.default_console, client), name="caller", vif=[near])
        vm.unpause()
        lab.run(seconds(10))
        assert vm.console.text == "the same\n"
        assert machine.console.text == "router: 10.0.0.254 forwards\n"
        assert lab.events("router.forward")
