"""Two stacks on one lan: who has which address, echoes, datagrams, and streams over a lan that misbehaves."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from mirage_lab.runtime import World, tasks
from mirage_lab.signatures import IcmpV4, Network, StackV4
from mirage_lab.signatures.errors import ConnectionRefused, ConnectionReset, ConnectionTimedOut, Disconnected, LocalProtocolError, MirageError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire import ethernet, ipv4, tcp
from mirage_lab.tcpip.wire.checksum import pseudo_v4
from mirage_lab.vnetif import Netif, Segment

MINUTE = seconds(60)


class Lan:
    """Stacks 10.0.0.1, 10.0.0.2, ... on one segment."""

    def __init__(self, count: int = 2, *, profile: str = "today", seed: int = 1, **faults: Any) -> None:
        self.world = World(seed)
        self.segment = Segment(self.world, "br0", **({"latency": ms(1)} | faults))
        self.stacks = []
        for number in range(1, count + 1):
            queue = self.world.queue(f"host{number}")
            netif = Netif(queue, self.segment, f"02:00:00:00:00:{number:02x}", f"host{number}")
            self.stacks.append(Stack(queue, netif, address=f"10.0.0.{number}/24", profile=profile))

    def run(self, *mains: Awaitable[Any], within: Ns = MINUTE) -> list[Any]:
        """Run coroutines on the first stack and return what they returned or raised."""
        results: list[Any] = [None] * len(mains)

        async def keep(index: int, main: Awaitable[Any]) -> None:
            try:
                results[index] = await main
            except MirageError as error:
                results[index] = error

        for index, main in enumerate(mains):
            self.stacks[0].queue.spawn(keep(index, main))
        self.world.advance(Ns(self.world.now + within))
        return results

    def count(self, kind: str) -> int:
        return len(self.world.recorder.events(kind))


def test_a_stack_is_a_stackv4_and_its_interface_a_network() -> None:
    stack = Lan(1).stacks[0]
    assert isinstance(stack, StackV4) and isinstance(stack.icmpv4, IcmpV4) and isinstance(stack.ethif.netif, Network)
    assert (stack.ipv4.get_ip(), stack.ipv4.get_netmask(), stack.ipv4.get_gateways()) == ("10.0.0.1", "255.255.255.0", [])


def test_an_echo_takes_a_round_trip_and_asks_arp_first() -> None:
    lan = Lan()
    [first, second] = lan.run(lan.stacks[0].icmpv4.ping("10.0.0.2"), _later(lan.stacks[0].icmpv4.ping, "10.0.0.2"))
    assert ms(2) <= second < ms(2.2) and first >= second
    assert lan.stacks[1].icmpv4.statistics().echoes == 2
    assert lan.stacks[0].arp.statistics().known == {"10.0.0.2": "02:00:00:00:00:02"}


async def _later(what: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    await tasks.sleep(ms(100))
    return await what(*args)


def test_arp_asks_three_times_a_second_apart_and_then_says_that_nobody_answers() -> None:
    lan = Lan()
    [error] = lan.run(lan.stacks[0].arp.query("10.0.0.99"))
    assert isinstance(error, ConnectionTimedOut) and "after 3 ARP requests" in str(error)
    asked = [event.t for event in lan.world.recorder.events("arp.query")]
    assert [round(b - a, -6) for a, b in pairwise(asked)] == [seconds(1), seconds(1)]


def test_in_2014_a_lost_arp_reply_blocked_for_ever() -> None:
    lan = Lan(profile="2014", loss=1.0)
    assert lan.run(lan.stacks[0].arp.query("10.0.0.2"), within=seconds(3_600)) == [None]
    assert lan.count("arp.query") == 1


def test_an_old_answer_is_asked_again_and_a_station_that_moved_is_found() -> None:
    lan = Lan()
    lan.run(lan.stacks[0].icmpv4.ping("10.0.0.2"))
    before = lan.count("arp.query")
    lan.run(_later(lan.stacks[0].arp.query, "10.0.0.2"), within=seconds(120))
    assert lan.count("arp.query") == before + 1


def test_packets_that_wait_for_arp_are_bounded() -> None:
    lan = Lan()
    for _ in range(1_000):
        lan.stacks[0].udpv4.write("10.0.0.77", 9, b"x")
    lan.world.advance(seconds(10))
    assert lan.stacks[0].ipv4.statistics().dropped["no ARP answer"] == 1_000
    assert lan.segment.statistics().frames < 10


def test_datagrams_arrive_and_a_port_nobody_has_is_unreachable() -> None:
    lan = Lan()
    heard: list[tuple[str, int, bytes]] = []
    lan.stacks[1].udpv4.listen(53, lambda src, port, data: heard.append((src, port, data)))
    lan.stacks[0].udpv4.write("10.0.0.2", 53, b"query", 5_353)
    lan.stacks[0].udpv4.write("10.0.0.2", 54, b"lost")
    lan.world.advance(seconds(1))
    assert heard == [("10.0.0.1", 5_353, b"query")]
    assert lan.stacks[1].udpv4.statistics().dropped == {"no listener": 1}
    assert lan.stacks[1].icmpv4.statistics().errors_sent == 1 and lan.stacks[0].icmpv4.statistics().errors_heard == 1


def test_a_protocol_nobody_speaks_is_unreachable_and_a_tcp_packet_too_long_refused() -> None:
    lan = Lan()
    lan.stacks[0].ipv4.write("10.0.0.2", 99, b"?")
    lan.world.advance(seconds(1))
    assert lan.stacks[0].icmpv4.statistics().errors_heard == 1
    with pytest.raises(LocalProtocolError, match="MTU"):
        lan.stacks[0].ipv4.write("10.0.0.2", 6, bytes(1_481))
    lan.stacks[0].ipv4.write("192.168.1.1", 17, b"x")
    assert lan.stacks[0].ipv4.statistics().dropped == {"no route": 1}


async def echo(flow: TcpFlow) -> None:
    while data := await flow.read():
        await flow.write(data)
    await flow.close()


async def exchange(stack: Stack, data: bytes, to: str = "10.0.0.2") -> bytes:
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


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"loss": 0.05},
        {"reorder": 0.2},
        {"duplicate": 0.2},
        {"loss": 0.05, "reorder": 0.1, "duplicate": 0.1, "jitter": ms(3)},
        {"rate": 10_000_000, "queue": 20},
    ],
    ids=str,
)
def test_no_byte_is_corrupted_whatever_the_lan_does(faults: dict[str, Any]) -> None:
    lan = Lan(seed=5, **faults)
    lan.stacks[1].listen_tcpv4(7, echo)
    data = random.Random(4).randbytes(120_000)
    assert lan.run(exchange(lan.stacks[0], data), within=seconds(300)) == [data]
    if "loss" in faults or not faults:
        assert (lan.count("tcp.retransmit") > 0) == bool(faults)


def test_connections_of_2014_work_too() -> None:
    lan = Lan(profile="2014", loss=0.02)
    lan.stacks[1].listen_tcpv4(7, echo)
    assert lan.run(exchange(lan.stacks[0], bytes(50_000)), within=seconds(600)) == [bytes(50_000)]


def test_many_connections_at_once() -> None:
    lan = Lan(3)
    lan.stacks[1].listen_tcpv4(7, echo)
    lan.stacks[2].listen_tcpv4(7, echo)
    answers = lan.run(*(exchange(lan.stacks[0], b"%d" % n * 100, f"10.0.0.{2 + n % 2}") for n in range(60)))
    assert answers == [b"%d" % n * 100 for n in range(60)]
    assert lan.stacks[0].tcpv4.statistics().opened == 60


def test_refused_reset_timed_out_and_closed_have_their_errors() -> None:
    lan = Lan()

    async def slam(flow: TcpFlow) -> None:
        flow.abort()  # type: ignore[attr-defined]

    lan.stacks[1].listen_tcpv4(7, slam)
    lan.stacks[1].listen_tcpv4(8, echo)

    async def after_reset() -> bytes:
        flow = await lan.stacks[0].tcpv4.create_connection(("10.0.0.2", 7))
        return await flow.read()

    async def after_close() -> None:
        flow = await lan.stacks[0].tcpv4.create_connection(("10.0.0.2", 8))
        await flow.close()
        await flow.close()
        await flow.write(b"x")

    connect = lan.stacks[0].tcpv4.create_connection
    errors = lan.run(connect(("10.0.0.2", 9)), after_reset(), after_close(), connect(("10.0.0.9", 9)), within=seconds(300))
    assert [type(error) for error in errors] == [ConnectionRefused, ConnectionReset, Disconnected, ConnectionTimedOut]


def test_a_peer_that_vanishes_times_a_writer_out() -> None:
    lan = Lan()
    lan.stacks[1].listen_tcpv4(7, echo)

    async def client() -> None:
        flow = await lan.stacks[0].tcpv4.create_connection(("10.0.0.2", 7))
        lan.segment.set(loss=1.0)
        while True:
            await flow.write(bytes(100_000))

    [error] = lan.run(client(), within=seconds(3_600))
    assert isinstance(error, ConnectionTimedOut)


def test_the_syn_that_killed_unikernels_in_2014_is_counted_and_nothing_else() -> None:
    lan = Lan()
    lan.stacks[1].listen_tcpv4(80, echo)
    stack = lan.stacks[1]
    segment = tcp.Segment(50_000, 80, 1, 0, tcp.SYN, 8_192, b"\x01\x02\x00\x00")
    packet = tcp.encode(segment, pseudo_v4(0x0A00_0001, 0x0A00_0002, 6, 0))
    header = ipv4.encode(ipv4.Header(0x0A00_0001, 0x0A00_0002, 6, 20 + len(packet)))
    frame = ethernet.encode(ethernet.Frame(stack.ethif.mac_octets, b"\x02\0\0\0\0\1", 0x0800, header + packet))
    lan.segment.attach("attacker", lambda data: None).send(frame)
    lan.world.advance(seconds(1))
    assert stack.tcpv4.statistics().dropped == {"malformed": 1} and stack.tcpv4.connections == []


def test_frames_cut_anywhere_never_raise() -> None:
    lan = Lan()
    stack = lan.stacks[1]
    stack.listen_tcpv4(80, echo)
    segment = tcp.Segment(50_000, 80, 1, 0, tcp.SYN, 8_192, tcp.Options(1_460, 3).encode())
    packet = tcp.encode(segment, pseudo_v4(0x0A00_0001, 0x0A00_0002, 6, 0))
    header = ipv4.encode(ipv4.Header(0x0A00_0001, 0x0A00_0002, 6, 20 + len(packet)))
    frame = ethernet.encode(ethernet.Frame(stack.ethif.mac_octets, b"\x02\0\0\0\0\1", 0x0800, header + packet))
    for length in range(len(frame)):
        stack.ethif.input(frame[:length])
    for padding in range(1, 30):
        stack.ethif.input(frame + bytes(padding))
    assert len(stack.tcpv4.connections) == 1


def flood(lan: Lan) -> None:
    for port in range(1, 5_000):
        segment = tcp.Segment(port, 80, 1, 0, tcp.SYN, 8_192)
        lan.stacks[1].tcpv4.input(0x0A00_0001, 0x0A00_0002, tcp.encode(segment, pseudo_v4(0x0A00_0001, 0x0A00_0002, 6, 0)))


def test_a_flood_of_syns_fills_a_bounded_backlog_and_the_rest_gets_cookies() -> None:
    lan = Lan()
    stack = lan.stacks[1]
    stack.listen_tcpv4(80, echo)
    flood(lan)
    assert len(stack.tcpv4.connections) == 256 and stack.tcpv4.statistics().cookies == 5_000 - 1 - 256
    lan.world.advance(seconds(300))
    assert stack.tcpv4.connections == []


def test_in_2014_a_flood_shut_everybody_out() -> None:
    lan = Lan(profile="2014")
    stack = lan.stacks[1]
    stack.listen_tcpv4(80, echo)
    flood(lan)
    assert len(stack.tcpv4.connections) == 256 and stack.tcpv4.statistics().dropped == {"backlog full": 5_000 - 1 - 256}


def test_the_same_seed_gives_the_same_frames() -> None:
    def story(seed: int) -> list[tuple[Ns, bytes]]:
        from mirage_lab.tracing.capture import Capture

        lan = Lan(seed=seed, loss=0.1, reorder=0.1)
        capture = Capture("br0")
        lan.segment.captures.append(capture)
        lan.stacks[1].listen_tcpv4(7, echo)
        lan.run(exchange(lan.stacks[0], bytes(30_000)))
        return [(Ns(frame.t), frame.data) for frame in capture.frames]

    assert story(1) == story(1) != story(2)


def test_disconnecting_closes_everything() -> None:
    lan = Lan()
    lan.stacks[1].listen_tcpv4(7, echo)

    async def client() -> bytes:
        flow = await lan.stacks[0].tcpv4.create_connection(("10.0.0.2", 7))
        await lan.stacks[1].disconnect()
        return await flow.read()

    [error] = lan.run(client())
    assert isinstance(error, ConnectionReset) and lan.stacks[1].tcpv4.listening == []


def test_a_machine_replaced_by_another_card_is_found_again() -> None:
    lan = Lan()
    lan.stacks[1].listen_tcpv4(7, echo)
    assert lan.run(exchange(lan.stacks[0], b"one")) == [b"one"]
    lan.segment.detach(lan.segment.ports[1])
    queue = lan.world.queue("other")
    lan.segment.set(loss=1.0)  # its announcement is lost
    other = Stack(queue, Netif(queue, lan.segment, "02:00:00:00:00:99", "other"), address="10.0.0.2/24")
    lan.world.advance(Ns(lan.world.now + ms(1)))
    lan.segment.set(loss=0.0)
    other.listen_tcpv4(7, echo)
    assert lan.run(exchange(lan.stacks[0], b"two")) == [b"two"]
