"""Two IPv6 stacks on one lan: addresses that are tried first, neighbours, echoes, fragments, paths, routers, streams."""

from __future__ import annotations

import random
from collections.abc import Awaitable
from typing import Any

import pytest

from mirage_lab import Lab, devices, unikernel
from mirage_lab.plot import conversations
from mirage_lab.runtime import World, tasks
from mirage_lab.signatures import IpV6, StackV4V6, TcpV6, UdpV6
from mirage_lab.signatures.errors import ConnectionRefused, ConnectionTimedOut, LocalProtocolError, MirageError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip import neighbours
from mirage_lab.tcpip.advertiser import RouterAdvertiser
from mirage_lab.tcpip.displayfilter import compile_filter
from mirage_lab.tcpip.dissect import dissect
from mirage_lab.tcpip.slaac import State as AddressState
from mirage_lab.tcpip.stack46 import Stack46
from mirage_lab.tcpip.wire import icmpv6, ipv6, nd, tcp
from mirage_lab.tcpip.wire.address6 import ALL_NODES, ip6_int, multicast_mac
from mirage_lab.testing import Broken, check_ipv6, check_stackv4v6, check_tcpv6, check_udpv6
from mirage_lab.testing.changed import changed
from mirage_lab.tracing.capture import Capture
from mirage_lab.vnetif import Netif, Segment

MINUTE = seconds(60)
ONE, TWO = ip6_int("2001:db8::1"), ip6_int("2001:db8::2")
LINK = "fe80::ff:fe00:2"


class Lan:
    """Stacks 2001:db8::1, 2001:db8::2, ... on one segment."""

    def __init__(self, count: int = 2, *, seed: int = 1, static: bool = True, stack: dict[str, Any] | None = None, **faults: Any) -> None:
        self.world = World(seed)
        self.segment = Segment(self.world, "br0", **({"latency": ms(1)} | faults))
        self.capture = Capture("br0")
        self.segment.captures.append(self.capture)
        self.stacks = []
        for number in range(1, count + 1):
            queue = self.world.queue(f"host{number}")
            netif = Netif(queue, self.segment, f"02:00:00:00:00:{number:02x}", f"host{number}")
            address6 = f"2001:db8::{number}/64" if static else None
            self.stacks.append(Stack46(queue, netif, address=f"10.0.0.{number}/24", address6=address6, **(stack or {})))

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

    def settled(self) -> Lan:
        self.world.advance(seconds(5))
        return self

    def to_first(self, packet: bytes) -> None:
        """Put a packet on the wire for the first stack."""
        self.stacks[0].ethif.input(self.stacks[0].ethif.mac_octets + self.stacks[1].ethif.mac_octets + b"\x86\xdd" + packet)

    def messages(self, kind: int) -> list[bytes]:
        """Return the ICMPv6 packets of a type that crossed the lan."""
        frames = [frame.data for frame in self.capture.frames]
        return [data[14:] for data in frames if data[12:14] == b"\x86\xdd" and data[20] == ipv6.ICMPV6 and data[54] == kind]


def dropped(stack: Stack46) -> dict[str, int]:
    """Return why IPv6 dropped packets, without those to groups that the stack is not in."""
    return {reason: count for reason, count in stack.ipv6.statistics().dropped.items() if reason != "not for us"}


def packet(proto: int, payload: bytes, src: int = TWO, dst: int = ONE, hops: int = 64) -> bytes:
    return ipv6.encode(ipv6.Header(src, dst, proto, len(payload), hops)) + payload


def message(said: icmpv6.Icmpv6, src: int = TWO, dst: int = ONE, hops: int = 255) -> bytes:
    return packet(ipv6.ICMPV6, icmpv6.encode(said, src, dst), src, dst, hops)


async def echo(flow: TcpFlow) -> None:
    while data := await flow.read():
        await flow.write(data)
    await flow.close()


async def exchange(stack: Stack46, data: bytes, to: str = "2001:db8::2") -> bytes:
    flow = await stack.tcp.create_connection((to, 7))
    got = bytearray()
    async with tasks.nursery() as both:

        async def send() -> None:
            await flow.write(data)
            await flow.close()

        both.start(send())
        while piece := await flow.read():
            got += piece
    return bytes(got)


def test_an_address_is_tried_before_it_is_used_and_has_its_mac_in_it() -> None:
    lan = Lan()
    assert lan.stacks[0].ipv6.get_ips() == []
    lan.settled()
    assert lan.stacks[0].ipv6.get_ips() == ["2001:db8::1", "fe80::ff:fe00:1"]
    probes = lan.messages(icmpv6.NEIGHBOR_SOLICIT)
    assert len(probes) == 4 and all(probe[8:24] == bytes(16) and probe[7] == 255 for probe in probes)


def test_an_echo_asks_for_the_neighbour_first_and_takes_a_round_trip() -> None:
    lan = Lan().settled()
    [first] = lan.run(lan.stacks[0].icmpv6.ping("2001:db8::2"), within=seconds(1))
    [second] = lan.run(lan.stacks[0].icmpv6.ping("2001:db8::2"), within=seconds(1))
    assert ms(2) <= second < ms(2.2) and second + ms(2) <= first < second + ms(2.2)
    assert lan.stacks[0].ndp.statistics().neighbours == {"2001:db8::2": "02:00:00:00:00:02 REACHABLE"}
    assert lan.run(lan.stacks[0].icmpv6.ping(LINK))[0] > 0


def test_an_echo_to_all_nodes_is_answered() -> None:
    lan = Lan().settled()
    assert lan.run(lan.stacks[0].icmpv6.ping("ff02::1"))[0] > 0


def test_nobody_there_is_a_timeout_and_the_packets_that_waited_are_counted() -> None:
    lan = Lan().settled()
    [error] = lan.run(lan.stacks[0].icmpv6.ping("2001:db8::77"))
    assert isinstance(error, ConnectionTimedOut)
    assert dropped(lan.stacks[0]) == {"no neighbour answer": 1}
    asked = [said for said in lan.messages(icmpv6.NEIGHBOR_SOLICIT) if said[8:24] != bytes(16)]
    assert len(asked) == 3
    for _ in range(100):
        lan.stacks[0].udpv6.write("2001:db8::77", 9, b"x")
    lan.world.advance(Ns(lan.world.now + MINUTE))
    assert dropped(lan.stacks[0]) == {"too many wait for a neighbour": 92, "no neighbour answer": 9}


def test_without_a_route_nothing_is_sent_and_connecting_says_so() -> None:
    lan = Lan().settled()
    lan.stacks[0].udpv6.write("2001:db8:1::1", 9, b"x")
    assert dropped(lan.stacks[0]) == {"no route": 1}
    bare = Lan(static=False).settled()
    [error] = bare.run(bare.stacks[0].tcp.create_connection(("2001:db8::2", 80)))
    assert isinstance(error, ConnectionRefused) and "no IPv6 address" in str(error)


@pytest.mark.parametrize("faults", [{}, {"loss": 0.05}, {"loss": 0.03, "reorder": 0.2, "duplicate": 0.1}], ids=str)
def test_100_kb_arrive_byte_by_byte_over_a_lan_that_misbehaves(faults: dict[str, Any]) -> None:
    lan = Lan().settled()
    lan.segment.set(**faults)
    lan.stacks[1].listen_tcp(7, echo)
    data = random.Random(1).randbytes(100_000)
    assert lan.run(exchange(lan.stacks[0], data), within=seconds(300)) == [data]
    assert lan.stacks[0].tcpv6.statistics().dropped.get("checksum", 0) == 0


def test_the_same_seed_gives_the_same_bytes() -> None:
    def bytes_of(seed: int) -> list[bytes]:
        lan = Lan(seed=seed, loss=0.05, stack={"stable": True}).settled()
        lan.stacks[1].listen_tcp(7, echo)
        lan.run(exchange(lan.stacks[0], bytes(20_000)))
        return [frame.data for frame in lan.capture.frames]

    assert bytes_of(3) == bytes_of(3) != bytes_of(4)


def test_one_listener_serves_both_families_and_each_end_is_told_as_rfc_5952_writes_it() -> None:
    lan = Lan().settled()
    lan.stacks[1].listen_tcp(7, echo)
    assert lan.run(exchange(lan.stacks[0], b"four", "10.0.0.2"), exchange(lan.stacks[0], b"six"), exchange(lan.stacks[0], b"link", LINK)) == [
        b"four", b"six", b"link",
    ]  # fmt: skip
    told = {event.fields["remote"] for event in lan.world.recorder.events("tcp.established") if event.source == "host1"}
    assert told == {"10.0.0.2:7", "[2001:db8::2]:7", f"[{LINK}]:7"}
    [error] = lan.run(lan.stacks[0].tcp.create_connection(("2001:db8::2", 81)))
    assert isinstance(error, ConnectionRefused) and "[2001:db8::2]:81" in str(error)


def test_a_segment_of_a_connection_to_another_address_of_ours_is_not_its() -> None:
    lan = Lan().settled()
    flows: list[TcpFlow] = []

    async def keep(flow: TcpFlow) -> None:
        flows.append(flow)
        await tasks.sleep(MINUTE)

    lan.stacks[0].listen_tcp(80, keep)
    lan.stacks[1].queue.spawn(lan.stacks[1].tcp.create_connection(("2001:db8::1", 80)))
    lan.world.advance(Ns(lan.world.now + seconds(1)))
    [flow] = flows
    other = ip6_int("fe80::ff:fe00:1")
    reset = tcp.Segment(flow.dst[1], 80, flow.pcb.rcv_nxt, 0, tcp.RST, 0)
    for dst, state in ((other, "ESTABLISHED"), (ONE, "CLOSED")):
        lan.to_first(packet(6, tcp.encode(reset, lan.stacks[0].ipv6.pseudo(TWO, dst, 6, 0)), dst=dst))
        assert flow.pcb.state.name == state


def test_datagrams_arrive_by_both_families_and_a_port_nobody_has_is_unreachable() -> None:
    lan = Lan().settled()
    heard: list[tuple[str, int, bytes]] = []
    lan.stacks[1].listen_udp(53, lambda src, port, data: heard.append((src, port, data)))
    lan.stacks[0].udp.write("10.0.0.2", 53, b"four", 1_000)
    lan.stacks[0].udp.write("2001:db8::2", 53, b"six", 1_000)
    lan.stacks[0].udp.write("2001:db8::2", 54, b"lost", 1_000)
    lan.world.advance(Ns(lan.world.now + seconds(1)))
    assert sorted(heard) == [("10.0.0.1", 1_000, b"four"), ("2001:db8::1", 1_000, b"six")]
    [said] = lan.messages(icmpv6.UNREACHABLE)
    assert said[41] == icmpv6.PORT_UNREACHABLE and lan.stacks[0].icmpv6.statistics().errors_heard == 1


def test_a_datagram_longer_than_a_packet_goes_in_fragments_and_arrives_whole() -> None:
    lan = Lan().settled()
    heard: list[bytes] = []
    data = random.Random(2).randbytes(9_000)
    lan.stacks[1].listen_udp(9, lambda src, port, data: heard.append(data))
    lan.stacks[0].udp.write("2001:db8::2", 9, data)
    lan.world.advance(Ns(lan.world.now + seconds(1)))
    assert heard == [data]
    assert (lan.stacks[0].ipv6.statistics().fragmented, lan.stacks[1].ipv6.statistics().reassembled) == (1, 1)
    assert max(len(frame.data) for frame in lan.capture.frames) <= 1_514
    with pytest.raises(LocalProtocolError, match="65535"):
        lan.stacks[0].ipv6.write("2001:db8::2", 17, bytes(65_536))


def test_fragments_that_do_not_all_come_are_given_up_after_a_minute_and_the_sender_is_told() -> None:
    lan = Lan().settled()
    lan.to_first(packet(ipv6.FRAGMENT, ipv6.fragment_header(17, 0, True, 7) + bytes(64)))
    lan.world.advance(Ns(lan.world.now + seconds(61)))
    [said] = lan.messages(icmpv6.TIME_EXCEEDED)
    assert said[41] == 1 and dropped(lan.stacks[0]) == {"fragment: time is over": 1}


def test_fragments_that_overlap_are_discarded_all() -> None:
    lan = Lan().settled()
    for at, more in ((0, True), (0, True), (64, True), (56, False), (128, False)):
        lan.to_first(packet(ipv6.FRAGMENT, ipv6.fragment_header(17, at, more, 7) + bytes(64)))
    assert dropped(lan.stacks[0]) == {"fragment: overlap": 2}
    assert lan.stacks[0].ipv6.statistics().reassembled == 0


def test_a_routing_header_with_segments_left_is_refused_and_the_sender_is_told_where() -> None:
    lan = Lan().settled()
    lan.to_first(packet(ipv6.ROUTING, bytes((17, 2, 0, 1)) + bytes(20) + bytes(8)))
    lan.world.advance(Ns(lan.world.now + seconds(1)))
    [said] = lan.messages(icmpv6.PARAMETER_PROBLEM)
    assert said[41] == 0 and int.from_bytes(said[44:48], "big") == 42
    assert list(dropped(lan.stacks[0])) == ["header refused"]


def test_an_error_is_never_told_about_an_error_to_a_group_to_nobody_or_too_often() -> None:
    lan = Lan().settled()
    icmp = lan.stacks[0].icmpv6
    for told in (
        message(icmpv6.Icmpv6(icmpv6.UNREACHABLE, 0, 0, bytes(48))),
        packet(17, bytes(8), dst=ALL_NODES),
        packet(17, bytes(8), src=0),
        packet(17, bytes(8), src=ALL_NODES),
    ):
        icmp.send_error(icmpv6.UNREACHABLE, 4, 0, told)
    assert icmp.statistics().errors_sent == 0
    for _ in range(5):
        icmp.send_error(icmpv6.UNREACHABLE, 4, 0, packet(17, bytes(2_000)))
    assert icmp.statistics().errors_sent == 1 and icmp.statistics().dropped == {"errors too often": 4}
    lan.world.advance(Ns(lan.world.now + seconds(1)))
    assert len(lan.messages(icmpv6.UNREACHABLE)[0]) == 1_280


def test_a_path_that_takes_less_is_believed_for_what_is_under_way_and_never_under_1280() -> None:
    lan = Lan().settled()
    lan.stacks[1].listen_tcp(7, echo)
    flows: list[TcpFlow] = []

    async def send() -> None:
        flow = await lan.stacks[0].tcp.create_connection(("2001:db8::2", 7))
        flows.append(flow)
        await flow.write(bytes(50_000))

    lan.stacks[0].queue.spawn(send())
    while not (flows and flows[0].pcb.flight > 3_000):
        lan.world.advance(Ns(lan.world.now + ms(0.1)))
    flow, ip = flows[0], lan.stacks[0].ipv6

    def too_big(mtu: int, seq: int) -> None:
        head = tcp.Segment(flow.src[1], 7, seq, 0, tcp.ACK, 0)
        quoted = packet(6, tcp.encode(head, 0) + bytes(1_000), ONE, TWO)
        lan.to_first(message(icmpv6.Icmpv6(icmpv6.TOO_BIG, 0, mtu, quoted)))

    before = flow.pcb.mss
    too_big(1_400, (flow.pcb.snd_una - 100_000) & 0xFFFF_FFFF)
    too_big(1_200, flow.pcb.snd_una)
    assert (flow.pcb.mss, ip.path_mtu(TWO)) == (before, 1_500)
    too_big(1_400, flow.pcb.snd_una)
    assert (flow.pcb.mss, ip.path_mtu(TWO)) == (before - 100, 1_400)
    lan.world.advance(Ns(lan.world.now + seconds(601)))
    assert ip.path_mtu(TWO) == 1_500


def test_an_address_that_somebody_has_is_not_used() -> None:
    lan = Lan().settled()
    queue = lan.world.queue("thief")
    thief = Stack46(queue, Netif(queue, lan.segment, "02:00:00:00:00:09", "thief"), address="10.0.0.9/24", address6="2001:db8::1/64")
    lan.world.advance(Ns(lan.world.now + seconds(5)))
    assert thief.ipv6.addresses.known[ONE].state is AddressState.DUPLICATE and not thief.ipv6.ours(ONE)
    assert dropped(thief) == {"address conflict": 1}
    assert lan.stacks[0].ipv6.ours(ONE)


def test_two_that_try_the_same_address_at_once_both_leave_it() -> None:
    lan = Lan(static=False)
    for stack in lan.stacks:
        stack.ipv6.add_ip("2001:db8::5/64")
    lan.settled()
    assert not any(stack.ipv6.ours(ip6_int("2001:db8::5")) for stack in lan.stacks)


def test_a_made_up_identifier_that_is_taken_is_made_up_again() -> None:
    lan = Lan(1, static=False, stack={"stable": True})
    addresses = lan.stacks[0].ipv6.addresses
    [first] = addresses.known
    addresses.claimed(first, "02:00:00:00:00:09")
    lan.settled()
    [second] = addresses.usable
    assert second != first and second >> 64 == 0xFE80 << 48


def test_a_router_is_asked_for_and_its_prefix_makes_an_address() -> None:
    lan = Lan(static=False)
    RouterAdvertiser(lan.stacks[1].ipv6, "fd00:1::/64", mtu=1_400)
    lan.stacks[1].ipv6.add_ip("fd00:1::1/64")
    lan.world.advance(seconds(10))
    ip = lan.stacks[0].ipv6
    assert ip.get_ips() == ["fe80::ff:fe00:1", "fd00:1::ff:fe00:1"] and ip.get_gateways() == [LINK] and ip.mtu == 1_400
    assert lan.run(lan.stacks[0].icmpv6.ping("fd00:1::1"))[0] > 0
    assert lan.stacks[0].ndp.next_hop(ip6_int("2600::1")) == ip6_int(LINK)
    assert ip.source(ip6_int("2600::1")) == ip6_int("fd00:1::ff:fe00:1")


def test_an_address_is_deprecated_and_gone_when_its_lifetimes_are_over() -> None:
    lan = Lan(static=False)
    advertiser = RouterAdvertiser(lan.stacks[1].ipv6, "fd00:1::/64", preferred=100, valid=200)
    lan.world.advance(seconds(10))
    made = ip6_int("fd00:1::ff:fe00:1")
    addresses = lan.stacks[0].ipv6.addresses
    assert addresses.known[made].state is AddressState.PREFERRED
    advertiser.stop()
    lan.world.advance(seconds(150))
    assert lan.stacks[0].ipv6.get_gateways() == []
    assert addresses.known[made].state is AddressState.DEPRECATED
    lan.world.advance(seconds(300))
    assert made not in addresses.known and not lan.stacks[0].ipv6.ours(made)


def test_a_stranger_cannot_make_an_address_valid_for_less_than_two_hours() -> None:
    lan = Lan(static=False)
    RouterAdvertiser(lan.stacks[1].ipv6, "fd00:1::/64")
    lan.world.advance(seconds(10))
    addresses = lan.stacks[0].ipv6.addresses
    addresses.learn(nd.Prefix(ip6_int("fd00:1::"), 64, valid=0, preferred=0))
    known = addresses.known[ip6_int("fd00:1::ff:fe00:1")]
    assert known.valid_until == lan.world.now + seconds(7_200) and known.state is AddressState.DEPRECATED


def test_what_comes_from_beyond_the_link_is_no_neighbour_discovery() -> None:
    lan = Lan().settled()
    advert = nd.encode(nd.RouterAdvert(1_800, b"\2\0\0\0\0\x66"))
    lan.to_first(message(advert, src=ip6_int("fe80::66"), dst=ALL_NODES, hops=254))
    lan.to_first(message(advert, src=TWO, dst=ALL_NODES))
    lan.to_first(message(nd.encode(nd.NeighborSolicit(ONE, b"\2\0\0\0\0\x66")), hops=64))
    lan.to_first(message(icmpv6.Icmpv6(icmpv6.REDIRECT, 0, 0, bytes(32))))
    told = lan.stacks[0].ndp.statistics()
    assert told.routers == [] and told.neighbours == {}
    assert told.dropped == {"hop limit not 255": 2, "malformed": 1, "redirect ignored": 1}


def test_the_neighbour_cache_routers_prefixes_and_addresses_are_bounded() -> None:
    lan = Lan().settled()
    ndp = lan.stacks[0].ndp
    for number in range(3_000):
        mac = b"\2\1" + number.to_bytes(4, "big")
        src = ip6_int("fe80::1:0") + number
        prefix = nd.Prefix((0xFD00 << 112) + (number << 64), 64)
        lan.to_first(message(nd.encode(nd.RouterAdvert(1_800, mac, None, (prefix,))), src, ALL_NODES))
    assert (len(ndp.neighbours.table), len(ndp.routers), len(ndp.prefixes), len(lan.stacks[0].ipv6.addresses.known)) == (1_024, 16, 32, 16)


def test_a_neighbour_that_is_gone_is_found_out_and_every_state_is_seen() -> None:
    lan = Lan(stack={"accept_ra": False}).settled()
    lan.run(lan.stacks[0].icmpv6.ping("2001:db8::2"), within=seconds(60))
    lan.segment.set(loss=1.0)
    lan.stacks[0].udp.write("2001:db8::2", 9, b"x")
    lan.world.advance(Ns(lan.world.now + seconds(4)))
    assert lan.stacks[0].ndp.neighbours.table[TWO].state is neighbours.State.DELAY
    lan.world.advance(Ns(lan.world.now + seconds(2)))
    assert lan.stacks[0].ndp.neighbours.table[TWO].state is neighbours.State.PROBE
    lan.world.advance(Ns(lan.world.now + seconds(3)))
    assert TWO not in lan.stacks[0].ndp.neighbours.table
    seen = [(event.fields["old"], event.fields["new"]) for event in lan.world.recorder.events("nd.state") if event.source == "host1"]
    assert seen == [("INCOMPLETE", "REACHABLE"), ("REACHABLE", "STALE"), ("STALE", "DELAY"), ("DELAY", "PROBE")]


def test_a_neighbour_that_moved_is_found_by_what_it_says() -> None:
    lan = Lan().settled()
    table = lan.stacks[0].ndp.neighbours.table
    lan.run(lan.stacks[0].icmpv6.ping("2001:db8::2"), within=seconds(1))
    moved = nd.NeighborAdvert(TWO, b"\2\0\0\0\0\x66", override=False)
    lan.to_first(message(nd.encode(moved)))
    assert (table[TWO].state, table[TWO].mac[-1]) == (neighbours.State.STALE, 2)
    lan.to_first(message(nd.encode(nd.NeighborAdvert(TWO, b"\2\0\0\0\0\x66"))))
    assert (table[TWO].state, table[TWO].mac[-1]) == (neighbours.State.STALE, 0x66)
    lan.stacks[0].ipv6.doubt(TWO)
    lan.world.advance(Ns(lan.world.now + seconds(3.5)))
    assert TWO not in table
    lan.run(lan.stacks[0].icmpv6.ping("2001:db8::2"), within=seconds(1))
    assert table[TWO].mac[-1] == 2


def test_the_table_of_neighbours_names_only_states_and_every_state() -> None:
    assert set(neighbours.TABLE) == set(neighbours.State)
    reached = {state for events in neighbours.TABLE.values() for state in events.values()}
    assert reached | {neighbours.State.INCOMPLETE} == set(neighbours.State)


def test_frames_that_lie_are_dropped() -> None:
    lan = Lan().settled()
    whole = message(icmpv6.Icmpv6(icmpv6.ECHO_REQUEST, 0, 1, b"data"))
    for end in range(len(whole)):
        lan.to_first(whole[:end])
    lan.to_first(whole[:4] + b"\xff\xff" + whole[6:])
    lan.to_first(message(icmpv6.Icmpv6(icmpv6.ECHO_REQUEST, 0, 1, b""), src=ALL_NODES))
    lan.to_first(packet(17, bytes((0, 9, 0, 9, 0, 8, 0, 0))))
    assert lan.stacks[0].icmpv6.statistics().echoes == 0 and sum(lan.stacks[0].udpv6.statistics().dropped.values()) == 1
    assert dropped(lan.stacks[0]) == {"malformed": len(whole) + 1, "source of nobody": 1}
    assert multicast_mac(ALL_NODES).hex(":") == "33:33:00:00:00:01"


def test_two_stacks_keep_the_promises_of_a_stackv4v6_and_its_parts() -> None:
    lan = Lan()
    one, other = lan.stacks
    assert isinstance(one, StackV4V6) and isinstance(one.ipv6, IpV6) and isinstance(one.tcpv6, TcpV6) and isinstance(one.udpv6, UdpV6)
    check_stackv4v6(one, other, "10.0.0.2", "2001:db8::2")
    frames = [lambda: [frame.data for frame in lan.capture.frames]]
    check_tcpv6(one.tcpv6, other.tcpv6, "2001:db8::2", 90, nobody="2001:db8::99")
    check_udpv6(one.udpv6, other.udpv6, "2001:db8::2", *frames)
    check_ipv6(one.ipv6, "2001:db8::2", *frames)


def test_a_listener_of_one_family_only_breaks_the_promise() -> None:
    lan = Lan()
    one, other = lan.stacks
    with pytest.raises(Broken, match="2001:db8::2"):
        check_stackv4v6(one, changed(other, listen_tcp=lambda stack, port, serve: stack.listen_tcpv4(port, serve)), "10.0.0.2", "2001:db8::2")


def test_a_unikernel_of_a_lab_makes_its_address_of_the_prefix_its_lan_announces() -> None:
    with Lab(seed=1, name="slaac") as lab:
        lan = lab.lan("br0", ipv6="fd00:1::/64")
        heard: list[Any] = []

        @unikernel
        async def pinger(stack: StackV4V6) -> None:
            await tasks.sleep(seconds(8))
            heard.append((stack.ipv6.get_ips()[-1], stack.ipv6.get_gateways(), await stack.icmpv6.ping("fd00:1::1")))  # type: ignore[attr-defined]

        lab.create(pinger(devices.direct_stackv4v6(devices.netif("0"))), vif=[lan]).unpause()
        lab.run(seconds(12))
        [(address, routers, took)] = heard
        assert address.startswith("fd00:1::") and routers[0].startswith("fe80::") and took > 0
        assert "ipv6='fd00:1::/64'" in str(lab.script())


def test_what_crosses_the_lan_is_told_in_words_with_the_ends_of_each_connection() -> None:
    lan = Lan(static=False)
    RouterAdvertiser(lan.stacks[1].ipv6, "fd00:1::/64", mtu=1_400)
    lan.world.advance(seconds(10))
    lan.stacks[1].listen_tcp(7, echo)
    lan.run(exchange(lan.stacks[0], b"hello", "fd00:1::ff:fe00:1"), lan.stacks[0].icmpv6.ping(LINK), exchange(lan.stacks[0], b"hello", LINK))
    lan.stacks[0].udp.write(LINK, 99, bytes(3_000))
    lan.world.advance(Ns(lan.world.now + seconds(1)))
    told = [dissect(frame.data) for frame in lan.capture.frames]
    assert not [packet for packet in told if packet.info.startswith("malformed") or "wrong" in packet.info]
    infos = "\n".join(packet.info for packet in told)
    for words in (
        "neighbor solicitation: who has fe80::ff:fe00:2?", "fe80::ff:fe00:2 is at 02:00:00:00:00:02 (router, solicited, override)",
        "a router for 1800 s, prefix fd00:1::/64, MTU 1400", "echo request id=", "destination unreachable (port)", "fragment at 0 of next header 17",
    ):  # fmt: skip
        assert words in infos, words
    [syn] = [packet for packet in told if packet.tcp is not None and packet.tcp.flags == tcp.SYN and packet.dst == LINK]
    assert (syn.src, syn.protocol, syn.tcp.mss if syn.tcp else 0) == ("fe80::ff:fe00:1", "TCP", 1_340)
    rows = conversations(lan.capture, "tcp")
    assert any(LINK in str(row) for row in rows)


def test_any_cut_of_a_frame_is_told_and_nothing_raised() -> None:
    lan = Lan().settled()
    lan.run(lan.stacks[0].icmpv6.ping("2001:db8::2"))
    for frame in lan.capture.frames[:12]:
        for end in range(len(frame.data)):
            dissect(frame.data[:end])
            dissect(frame.data[:end] + b"\xff" * (len(frame.data) - end))


def test_a_filter_names_ipv6_icmpv6_and_tcp_over_it() -> None:
    lan = Lan().settled()
    lan.stacks[1].listen_tcp(7, echo)
    lan.run(exchange(lan.stacks[0], b"hello"), lan.stacks[0].icmpv6.ping("2001:db8::2"))
    frames = [frame.data for frame in lan.capture.frames]

    def count(text: str) -> int:
        wanted = compile_filter(text)
        return sum(wanted.matches(n, n, frame) for n, frame in enumerate(frames, 1))

    assert count("icmpv6.type == 128 && icmpv6.echo.sequence_number") == count("icmpv6.type == 129") == 1
    assert count("tcp.flags.syn == 1 && ipv6.src == 2001:db8::1") == 1 == count("tcp.flags.syn == 1 && ipv6.dst[15] == 02")
    assert count("tcp.stream == 0") == count("tcp") == count("tcp && ipv6.addr == 2001:db8::/32") > 5
    assert count("icmpv6.nd.ns.target_address == 2001:db8::2") > 0 == count("ipv6.addr == 2001:db9::/32")
    assert count("ipv6.src in {:: fe80::/10}") > 0
