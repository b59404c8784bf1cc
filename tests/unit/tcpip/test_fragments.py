"""Fragments of IPv4: cut, put together again, refused; and the paths, routes and errors that they belong to."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.runtime import World
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.dissect import dissect
from mirage_lab.tcpip.fragments import MEMORY, PACKETS, Reassembly
from mirage_lab.tcpip.icmp import Icmpv4
from mirage_lab.tcpip.paths import LIFE, MOST, PLATEAUS, Paths, plateau
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire import icmp, ipv4, tcp, udp
from mirage_lab.tcpip.wire.address import ip_int, ip_text
from mirage_lab.tcpip.wire.checksum import pseudo_v4
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.vnetif import Netif, Segment

ONE, TWO = ip_int("10.0.0.1"), ip_int("10.0.0.2")
HOUR, SECOND = seconds(3_600), seconds(1)


class Lan:
    """Stacks 10.0.0.1 and 10.0.0.2 on one segment; packets are also put on the wire for the first by hand."""

    def __init__(self, *, profile: str = "today", **more: Any) -> None:
        self.world = World(1)
        segment = Segment(self.world, "br0", latency=ms(1))
        self.stacks = []
        for number in (1, 2):
            queue = self.world.queue(f"host{number}")
            netif = Netif(queue, segment, f"02:00:00:00:00:{number:02x}", f"host{number}")
            self.stacks.append(Stack(queue, netif, address=f"10.0.0.{number}/24", profile=profile, **more))
        self.first, self.second = self.stacks

    def to_first(self, packet: bytes, dst: bytes | None = None) -> None:
        """Put a packet on the wire for the first stack."""
        self.first.ethif.input((dst or self.first.ethif.mac_octets) + self.second.ethif.mac_octets + b"\x08\x00" + packet)

    def later(self, duration: Ns = SECOND) -> Lan:
        self.world.advance(Ns(self.world.now + duration))
        return self

    @property
    def dropped(self) -> dict[str, int]:
        return self.first.ipv4.statistics().dropped

    def heard(self) -> list[bytes]:
        """Return the datagrams that come to port 9 of the first stack, as they come."""
        got: list[bytes] = []
        self.first.udpv4.listen(9, lambda src, port, data: got.append(data))
        return got


def packet(payload: bytes, proto: int = ipv4.UDP, src: int = TWO, dst: int = ONE, *, ident: int = 7, ttl: int = 64, options: bytes = b"") -> bytes:
    length = 20 + len(options) + len(payload)
    return ipv4.encode(ipv4.Header(src, dst, proto, length, ident, 0, ttl, options=options)) + payload


def datagram(data: bytes, **more: Any) -> bytes:
    return packet(udp.encode(udp.Datagram(5, 9, data), TWO, ONE, pseudo_v4), **more)


def piece(at: int, data: bytes, more: bool, ident: int = 7, src: int = TWO) -> bytes:
    """Return one fragment, of whatever kind."""
    return ipv4.encode(ipv4.Header(src, ONE, ipv4.UDP, 20 + len(data), ident, at >> 3 | (ipv4.MF if more else 0))) + data


# cutting and joining -----------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=4_000), st.integers(68, 1_500), st.integers(68, 1_500), st.randoms(use_true_random=False))
def test_cut_anywhere_cut_again_in_any_order_the_same_bytes_come_out(data: bytes, mtu: int, again: int, chance: random.Random) -> None:
    """RFC 791 section 3.2: a fragment may be cut again; the order does not matter."""
    whole = packet(data, options=b"\x94\x04\0\0")
    pieces = [small for large in ipv4.cut(whole, mtu) for small in ipv4.cut(large, again)]
    assert all(len(small) <= max(mtu, 24 + len(data)) and len(small) <= again for small in pieces)
    if len(pieces) > 128:
        return
    chance.shuffle(pieces)
    engine = Reassembly()
    told: bytes | str = ""
    for small in pieces:
        header = ipv4.decode(small)
        told = engine.add("it", (header.fragment & ipv4.OFFSET) << 3, bool(header.fragment & ipv4.MF), small[header.header_length :], Ns(0), small)
    assert told == data and len(engine) == engine.held == 0


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5), st.booleans(), st.sampled_from(b"ab")), max_size=24))
def test_overlaps_never_make_bytes_nobody_sent(pieces: list[tuple[int, int, bool, int]]) -> None:
    """RFC 5722: what comes out is exactly pieces that were sent, side by side."""
    engine = Reassembly()
    sent: set[tuple[int, bytes, bool]] = set()
    for at, units, more, letter in pieces:
        data = bytes([letter]) * 8 * units
        sent.add((at * 8, data, more))
        told = engine.add("it", at * 8, more, data, Ns(0))
        if isinstance(told, bytes):
            reached = {0}
            for where in range(0, len(told), 8):
                if where in reached:
                    reached |= {where + len(one) for start, one, last in sent if start == where and told[where : where + len(one)] == one}
            assert len(told) in reached
            sent.clear()


def test_options_with_the_copied_flag_go_into_every_fragment_and_others_into_the_first() -> None:
    """RFC 791 section 3.1: 0x94 (router alert) is copied, 0x07 (record route) is not."""
    whole = packet(bytes(64), options=b"\x07\x07\x04\0\0\0\0\x01\x94\x04\0\0")
    pieces = [ipv4.decode(one) for one in ipv4.cut(whole, 68)]
    assert [len(one.options) for one in pieces] == [12, 4] and pieces[1].options == b"\x94\x04\0\0"
    with pytest.raises(WireError, match="no room"):
        ipv4.cut(whole, 32)


@given(st.binary(max_size=40).map(lambda options: options + bytes(-len(options) % 4)), st.integers(0, 2_000))
def test_options_of_any_bytes_are_cut_without_harm(options: bytes, mtu: int) -> None:
    try:
        pieces = ipv4.cut(packet(bytes(100), options=options), mtu)
    except WireError:
        return
    assert b"".join(one[ipv4.decode(one).header_length :] for one in pieces) == bytes(100)


# on the wire -------------------------------------------------------------------------------------------------------


def test_a_datagram_and_an_echo_over_the_mtu_travel_in_fragments() -> None:
    lan = Lan()
    got = lan.heard()
    data = random.Random(1).randbytes(60_000)
    lan.second.udpv4.write("10.0.0.1", 9, data)
    took: list[Ns] = []

    async def ping() -> None:
        took.append(await lan.first.icmpv4.ping("10.0.0.2", 8_000))

    lan.first.queue.spawn(ping())
    lan.later()
    assert got == [data] and took
    there, here = lan.second.ipv4.statistics(), lan.first.ipv4.statistics()
    assert (there.fragmented, here.reassembled) == (2, 2) and (here.fragmented, there.reassembled) == (1, 1)
    told = [(event.fields["proto"], event.fields["length"]) for event in lan.world.recorder.events("ip.reassembled")]
    assert sorted(told) == [(1, 8_008), (1, 8_008), (17, 60_008)]
    with pytest.raises(LocalProtocolError, match="longest"):
        lan.second.udpv4.write("10.0.0.1", 9, bytes(65_508))


def test_in_2014_there_were_no_fragments_either_way() -> None:
    lan = Lan(profile="2014")
    got = lan.heard()
    for one in ipv4.cut(datagram(bytes(2_000)), 1_500):
        lan.to_first(one)
    assert got == [] and lan.dropped == {"fragment": 2}
    with pytest.raises(LocalProtocolError, match="MTU"):
        lan.second.udpv4.write("10.0.0.1", 9, bytes(2_000))


def test_the_rest_of_a_packet_that_does_not_come_is_waited_for_thirty_seconds() -> None:
    """RFC 1122 section 3.3.2: then ICMP time exceeded, code 1, if the fragment with offset 0 had come, else nothing."""
    lan = Lan()
    lan.to_first(piece(0, bytes(16), True))
    lan.to_first(piece(16, bytes(16), True, ident=8))
    lan.later(seconds(29))
    assert lan.dropped == {}
    lan.later(seconds(2))
    assert lan.dropped == {"fragment: time is over": 2}
    assert lan.first.icmpv4.statistics().errors_sent == 1 and lan.second.icmpv4.statistics().errors_heard == 1
    heard = lan.world.recorder.events("icmp.error")[-1].fields
    assert (heard["type"], heard["code"], heard["src"]) == (icmp.TIME_EXCEEDED, 1, "10.0.0.1")


def test_an_overlap_throws_the_whole_datagram_away_and_a_repetition_does_no_harm() -> None:
    """RFC 5722 section 4: an overlap is an attack or a fault; RFC 791's "the later one wins" let people past filters."""
    lan = Lan()
    got = lan.heard()
    one, two, three = ipv4.cut(datagram(bytes(4_000)), 1_500)
    for each in (one, one, three, two):
        lan.to_first(each)
    assert got == [bytes(4_000)] and lan.dropped == {}
    for each in (one, piece(8, b"x" * 1_480, True), two, three):
        lan.to_first(each)
    assert got == [bytes(4_000)] and lan.dropped == {"fragment: overlap": 3}


def test_the_ping_of_death_is_refused() -> None:
    lan = Lan()
    lan.to_first(piece(65_512, bytes(4), False))
    lan.to_first(piece(65_528, bytes(8), False))
    lan.to_first(piece(0, bytes(9), True))
    assert lan.dropped == {"fragment: too long": 2, "fragment: odd length": 1}


def test_a_hundred_thousand_beginnings_stay_bounded() -> None:
    lan = Lan()
    for number in range(100_000):
        lan.to_first(piece(0, bytes(64), True, number & 0xFFFF, TWO + (number >> 16)))
    engine = lan.first.ipv4._fragments
    assert len(engine) == PACKETS and engine.held <= MEMORY and lan.dropped == {"fragment: no room": 100_000 - PACKETS}
    lan.later(HOUR)
    assert len(engine) == engine.held == 0 and lan.first.icmpv4.statistics().errors_sent <= 2


@pytest.mark.parametrize("src", ["127.0.0.1", "224.0.0.1", "255.255.255.255", "10.0.0.255", "10.0.0.1", "240.0.0.1"])
def test_a_source_that_nobody_has_is_dropped(src: str) -> None:
    """RFC 1122 section 3.2.1.3, RFC 6890: broadcasts, groups, loopback and our own address come from nobody."""
    lan = Lan()
    got = lan.heard()
    lan.to_first(packet(udp.encode(udp.Datagram(5, 9, b"?"), ip_int(src), ONE, pseudo_v4), src=ip_int(src)))
    assert got == [] and lan.dropped == {"source of nobody": 1}


def test_who_has_no_address_yet_may_say_so() -> None:
    """RFC 1122 section 3.2.1.3 (a): 0.0.0.0 as source, as a DHCP client begins."""
    lan = Lan()
    got = lan.heard()
    lan.to_first(packet(udp.encode(udp.Datagram(68, 9, b"discover"), 0, ONE, pseudo_v4), src=0))
    assert got == [b"discover"]


def test_a_frame_to_everybody_with_a_packet_to_one_is_dropped_in_silence() -> None:
    """RFC 1122 section 3.3.6: else one frame could make every station of a lan answer."""
    lan = Lan()
    lan.to_first(packet(bytes(8), 99), b"\xff" * 6)
    assert lan.dropped == {"for us, to everybody": 1} and lan.first.icmpv4.statistics().errors_sent == 0


# errors ------------------------------------------------------------------------------------------------------------


def error(kind: int, code: int, quoted: bytes, rest: int = 0) -> bytes:
    return packet(icmp.encode(icmp.Icmp(kind, code, rest, quoted)), ipv4.ICMP)


def ours(proto: int = ipv4.UDP, length: int = 1_500, dst: int = TWO, payload: bytes = bytes(8)) -> bytes:
    """Return the beginning of a packet that the first stack might have sent."""
    return ipv4.encode(ipv4.Header(ONE, dst, proto, length)) + payload


def about(lan: Lan, said: bytes, kind: int = icmp.UNREACHABLE) -> int:
    """Return how many errors `said` brings about."""
    before = lan.first.icmpv4.statistics().errors_sent
    lan.later().first.icmpv4.send_error(kind, 1, 0, said)
    return lan.first.icmpv4.statistics().errors_sent - before


def test_no_error_is_told_about_an_error_a_later_fragment_or_a_crowd() -> None:
    """RFC 1122 section 3.2.2."""
    lan = Lan()
    assert about(lan, packet(bytes(8))) == 1
    assert about(lan, packet(icmp.encode(icmp.Icmp(icmp.ECHO_REQUEST, 0, 1, b"")), ipv4.ICMP)) == 1
    for kind in sorted(icmp.ERRORS):
        assert about(lan, packet(icmp.encode(icmp.Icmp(kind, 0, 0, bytes(28))), ipv4.ICMP)) == 0
    assert about(lan, piece(8, bytes(8), False)) == 0
    for src in ("0.0.0.0", "255.255.255.255", "10.0.0.255", "224.0.0.1", "127.0.0.1"):
        assert about(lan, packet(bytes(8), src=ip_int(src))) == 0
    for dst in ("255.255.255.255", "10.0.0.255", "224.0.0.1"):
        assert about(lan, packet(bytes(8), dst=ip_int(dst))) == 0


def test_errors_about_what_we_did_not_send_redirects_and_quenches_change_nothing() -> None:
    """A redirect lets anybody on the lan take our packets: it is counted and nothing else; source quench is no more (RFC 6633)."""
    lan = Lan()
    routes = lan.first.ipv4.get_routes()
    lan.to_first(error(icmp.REDIRECT, 1, ours(), TWO))
    lan.to_first(error(icmp.SOURCE_QUENCH, 0, ours()))
    lan.to_first(error(icmp.UNREACHABLE, 1, packet(bytes(8), src=TWO)))
    lan.to_first(error(icmp.TIME_EXCEEDED, 0, b"\x45"))
    lan.to_first(error(icmp.UNREACHABLE, 4, ours(dst=TWO), 1_500))
    told = lan.first.icmpv4.statistics()
    assert lan.first.ipv4.get_routes() == routes
    assert told.dropped == {
        "redirect ignored": 1, "source quench ignored": 1, "error about a packet that is not ours": 1, "malformed": 1, "MTU not believed": 1,
    }  # fmt: skip


@pytest.mark.parametrize("code", range(16))
def test_every_unreachable_and_other_error_is_heard(code: int) -> None:
    lan = Lan()
    heard: list[int] = []
    lan.first.icmpv4.on_unreachable[ipv4.UDP] = lambda code, dst, quoted: heard.append(code)
    lan.to_first(error(icmp.UNREACHABLE, code, ours(), 1_500))
    lan.to_first(error(icmp.TIME_EXCEEDED, 0, ours()))
    lan.to_first(error(icmp.PARAMETER_PROBLEM, 0, ours(), 9 << 24))
    assert lan.first.icmpv4.statistics().errors_heard == 3 and heard == ([] if code == icmp.FRAGMENTATION_NEEDED else [code])


def test_a_router_that_takes_less_is_believed_for_ten_minutes() -> None:
    """RFC 1191 sections 3 and 6.3: datagrams to that address are cut to fit, to others not."""
    lan = Lan()
    lan.to_first(error(icmp.UNREACHABLE, 4, ours(), 1_280))
    assert (lan.first.ipv4.path_mtu(TWO), lan.first.ipv4.path_mtu(TWO + 1)) == (1_280, 1_500)
    lan.first.udpv4.write("10.0.0.2", 9, bytes(1_400))
    assert lan.first.ipv4.statistics().fragmented == 1
    lan.to_first(error(icmp.UNREACHABLE, 4, ours(), 1_400))
    assert lan.first.ipv4.path_mtu(TWO) == 1_280
    lan.later(seconds(601))
    assert lan.first.ipv4.path_mtu(TWO) == 1_500


@pytest.mark.parametrize(("mtu", "length", "known"), [(0, 1_500, 1_492), (0, 1_492, 1_006), (0, 576, 1_500), (551, 1_500, 1_500), (68, 1_500, 1_500)])
def test_an_old_router_says_nothing_and_the_next_plateau_is_tried_and_crumbs_are_not_believed(mtu: int, length: int, known: int) -> None:
    """RFC 1191 section 7.1, RFC 5927 section 7."""
    lan = Lan()
    lan.to_first(error(icmp.UNREACHABLE, 4, ours(length=length), mtu))
    assert lan.first.ipv4.path_mtu(TWO) == known


def test_an_mtu_for_a_connection_that_is_not_there_is_not_believed() -> None:
    lan = Lan()
    lan.to_first(error(icmp.UNREACHABLE, 4, ours(tcp.PROTO), 1_280))
    assert lan.first.ipv4.path_mtu(TWO) == 1_500 and lan.first.icmpv4.statistics().dropped == {"MTU not believed": 1}


def test_paths_are_bounded_and_plateaus_go_down() -> None:
    paths = Paths()
    for number in range(100_000):
        paths.note(number, 1_280, Ns(0))
    assert len(paths.known) == MOST and paths.mtu(0, Ns(0), 1_500) == 1_500 and paths.mtu(99_999, Ns(0), 1_006) == 1_006
    assert paths.mtu(99_999, LIFE, 1_500) == 1_500 and len(paths.known) == MOST - 1
    assert [plateau(mtu) for mtu in PLATEAUS] == [*PLATEAUS[1:], 68] and plateau(65_535) == 32_000


@given(st.binary(max_size=80), st.sampled_from(sorted(icmp.ERRORS)), st.integers(0, 16), st.integers(0, 0xFFFF_FFFF))
def test_errors_of_any_bytes_do_no_harm(quoted: bytes, kind: int, code: int, rest: int) -> None:
    lan = Lan()
    for data in (quoted, ours()[:20] + quoted, ours(tcp.PROTO)[:20] + quoted):
        lan.to_first(error(kind, code, data, rest))
    assert isinstance(lan.first.icmpv4, Icmpv4)


# routes ------------------------------------------------------------------------------------------------------------


def test_the_longest_prefix_wins() -> None:
    """RFC 1122 section 3.3.1, RFC 1812 section 5.2.4.3."""
    lan = Lan(gateway="10.0.0.9", routes=("10.1.0.0/16 via 10.0.0.3", "10.1.2.0/24 via 10.0.0.4", "10.0.0.77 via 10.0.0.5"))
    ip = lan.first.ipv4
    assert ip.get_routes() == [
        "10.0.0.77/32 via 10.0.0.5", "10.1.2.0/24 via 10.0.0.4", "10.1.0.0/16 via 10.0.0.3", "10.0.0.0/24 on the link", "default via 10.0.0.9",
    ]  # fmt: skip
    hops = {"10.1.2.3": "10.0.0.4", "10.1.3.3": "10.0.0.3", "10.0.0.77": "10.0.0.5", "10.0.0.78": "10.0.0.78", "8.8.8.8": "10.0.0.9"}
    for dst, hop in hops.items():
        found = ip.match(ip_int(dst))
        assert found is not None and ip_text(found[1]) == hop
        ip.write(dst, 17, b"?")
    assert set(lan.first.arp._asking) == {ip_int(hop) for hop in hops.values()}
    ip.add_route("10.1.2.0/24 via 10.0.0.6")
    ip.remove_route("10.1.0.0/16 via 10.0.0.3")
    assert ip.get_routes()[1:3] == ["10.1.2.0/24 via 10.0.0.6", "10.0.0.0/24 on the link"]


@pytest.mark.parametrize(
    "route", ["10.1.0.0/16", "10.1.0.0/16 via", "10.1.0.1/16 via 10.0.0.3", "10.1.0.0/33 via 10.0.0.3", "x via y", "10.1.0.0/16 via 10.9.0.1"]
)
def test_a_route_that_is_none_is_refused(route: str) -> None:
    with pytest.raises(LocalProtocolError):
        Lan(routes=(route,))


def test_frames_say_what_routers_say() -> None:
    ethernet = bytes(12) + b"\x08\0"
    assert dissect(ethernet + error(icmp.UNREACHABLE, 4, ours(), 1_280)).info == "destination unreachable (fragmentation needed, 1280 bytes fit)"
    assert dissect(ethernet + error(icmp.TIME_EXCEEDED, 0, ours())).info == "time exceeded"
