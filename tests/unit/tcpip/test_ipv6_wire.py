"""IPv6 addresses, headers, messages and fragments as bytes: round trips, the standard library as judge, and bytes that lie."""

from __future__ import annotations

import ipaddress
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.fragments import MEMORY, PACKETS, Reassembly
from mirage_lab.tcpip.wire import icmpv6, ipv6, nd
from mirage_lab.tcpip.wire.address import end_text
from mirage_lab.tcpip.wire.address6 import eui64, ip6_int, ip6_text, network6, solicited_node
from mirage_lab.tcpip.wire.error import WireError

ADDRESS = st.integers(0, (1 << 128) - 1)
GROUPS = st.lists(st.sampled_from([0, 0, 1, 0xDB8, 0xFFFF]), min_size=8, max_size=8)
SPARSE = GROUPS.map(lambda groups: int.from_bytes(b"".join(group.to_bytes(2, "big") for group in groups), "big"))
MAC = st.none() | st.binary(min_size=6, max_size=6)
U32 = st.integers(0, 0xFFFF_FFFF)
PREFIX = st.builds(nd.Prefix, ADDRESS, st.integers(0, 128), st.booleans(), st.booleans(), U32, U32)
TARGET = st.integers(0, (0xFF << 120) - 1)
MESSAGE = st.one_of(
    st.builds(nd.NeighborSolicit, TARGET, MAC),
    st.builds(nd.NeighborAdvert, TARGET, MAC, st.booleans(), st.booleans(), st.booleans()),
    st.builds(nd.RouterSolicit, MAC),
    st.builds(
        nd.RouterAdvert, st.integers(0, 65_535), MAC, st.none() | U32, st.lists(PREFIX, max_size=4).map(tuple), st.integers(0, 255),
        st.booleans(), st.booleans(), U32, U32,
    ),
)  # fmt: skip


@given(ADDRESS | SPARSE)
def test_an_address_as_text_is_what_the_standard_library_says_and_comes_back(address: int) -> None:
    text = ip6_text(address)
    assert ip6_int(text) == address
    theirs = str(ipaddress.IPv6Address(address))
    assert text == theirs or "." in theirs


@given(st.text("0123456789abcdefABF:.g%/", max_size=45))
def test_any_text_is_an_address_for_us_if_it_is_one_for_the_standard_library(text: str) -> None:
    try:
        theirs = int(ipaddress.IPv6Address(text))
    except ValueError:
        with pytest.raises(LocalProtocolError, match="IPv6 address"):
            ip6_int(text)
    else:
        if not re.search(r"\b0\d", text) or "." not in text:
            assert ip6_int(text) == theirs


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:DB8::000A", "2001:db8::a"),
        ("::ffff:10.0.0.1", "::ffff:a00:1"),
        ("::", "::"),
    ],
)
def test_text_follows_rfc_5952(text: str, shown: str) -> None:
    assert ip6_text(ip6_int(text)) == shown


def test_an_end_has_brackets_and_made_addresses_are_those_of_rfc_4291() -> None:
    assert (end_text(("2001:db8::2", 80)), end_text(("10.0.0.2", 80))) == ("[2001:db8::2]:80", "10.0.0.2:80")
    assert eui64(bytes.fromhex("34567 89abcde".replace(" ", ""))) == 0x3656_78FF_FE9A_BCDE
    assert ip6_text(solicited_node(ip6_int("4037::01:800:200e:8c6c"))) == "ff02::1:ff0e:8c6c"
    assert network6("2001:db8::2") == (ip6_int("2001:db8::2"), 64)
    with pytest.raises(LocalProtocolError, match="0 to 128"):
        network6("2001:db8::2/129")


@given(st.builds(ipv6.Header, ADDRESS, ADDRESS, st.integers(0, 255), st.integers(0, 100), st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xF_FFFF)))
def test_a_header_comes_back(header: ipv6.Header) -> None:
    encoded = ipv6.encode(header)
    assert len(encoded) == 40 and ipv6.decode(encoded + bytes(header.length)) == header
    for end in range(40 + header.length):
        with pytest.raises(WireError):
            ipv6.decode((encoded + bytes(header.length))[:end])


def test_a_header_byte_by_byte() -> None:
    told = ipv6.encode(ipv6.Header(1, 2, 58, 16, 255, traffic=0xB8, flow=0x12345))
    assert told == bytes.fromhex("6b812345 0010 3a ff" + "00" * 15 + "01" + "00" * 15 + "02")


@given(MESSAGE)
def test_a_message_of_neighbour_discovery_comes_back(said: nd.Message) -> None:
    assert nd.decode(nd.encode(said)) == said


@given(MESSAGE, ADDRESS, ADDRESS, st.integers(0, 7))
def test_a_turned_bit_is_a_wrong_checksum(said: nd.Message, src: int, dst: int, bit: int) -> None:
    sent = icmpv6.encode(nd.encode(said), src, dst)
    assert nd.decode(icmpv6.decode(sent, src, dst)) == said
    with pytest.raises(WireError, match="checksum"):
        icmpv6.decode(bytes((sent[0] ^ 1 << bit,)) + sent[1:], src, dst)


@given(st.binary(max_size=120), st.integers(130, 140), U32)
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes, kind: int, rest: int) -> None:
    try:
        nd.decode(icmpv6.Icmpv6(kind, 0, rest, data))
    except WireError:
        pass


@given(st.binary(max_size=200), st.sampled_from([0, 43, 44, 60, 6, 59]))
def test_any_extension_headers_are_walked_to_an_end_or_a_problem(data: bytes, proto: int) -> None:
    try:
        inside = ipv6.walk(data, proto, 0, len(data))
    except ipv6.Problem as problem:
        assert problem.code in (None, 0, 1, 2)
    else:
        assert 0 <= inside.at <= len(data)


def test_an_option_of_length_zero_is_refused_and_does_not_go_on_for_ever() -> None:
    with pytest.raises(WireError, match="option of 0 bytes"):
        nd.decode(icmpv6.Icmpv6(icmpv6.ROUTER_SOLICIT, 0, 0, b"\1\0" + bytes(6)))


def test_extension_headers_are_followed_eight_deep_and_hop_by_hop_is_first() -> None:
    def chain(*kinds: int) -> tuple[bytes, int]:
        following = (*kinds[1:], 6)
        return b"".join(bytes((after, 0, 1, 4, 0, 0, 0, 0)) for after in following), kinds[0]

    data, first = chain(*[60] * 8)
    assert ipv6.walk(data, first, 0, len(data)) == ipv6.Inside(6, 64, 56)
    data, first = chain(*[60] * 9)
    with pytest.raises(ipv6.Problem, match="more than 8"):
        ipv6.walk(data, first, 0, len(data))
    data, first = chain(0, 60)
    assert ipv6.walk(data, first, 0, len(data)).proto == 6
    data, first = chain(60, 0)
    with pytest.raises(ipv6.Problem, match="not the first") as caught:
        ipv6.walk(data, first, 0, len(data))
    assert caught.value.code == 1


@pytest.mark.parametrize(("kind", "code", "multicast"), [(0x3E, None, False), (0x7E, None, False), (0xBE, 2, True), (0xFE, 2, False)])
def test_the_first_bits_of_an_unknown_option_say_what_to_do(kind: int, code: int | None, multicast: bool) -> None:
    data = bytes((6, 0, kind, 4, 0, 0, 0, 0))
    if not kind >> 6:
        assert ipv6.walk(data, 60, 0, 8).proto == 6
        return
    with pytest.raises(ipv6.Problem) as caught:
        ipv6.walk(data, 60, 0, 8)
    assert (caught.value.code, caught.value.pointer, caught.value.multicast) == (code, 2, multicast)


def test_an_atomic_fragment_is_a_whole_packet() -> None:
    data = ipv6.fragment_header(17, 0, False, 5)
    assert ipv6.walk(data, ipv6.FRAGMENT, 0, 8) == ipv6.Inside(17, 8, 0)
    assert ipv6.walk(ipv6.fragment_header(17, 8, False, 5), ipv6.FRAGMENT, 0, 8).fragment == (8, False, 5)


@given(st.binary(min_size=1, max_size=3_000), st.integers(1, 40), st.randoms(use_true_random=False))
def test_fragments_in_any_order_and_twice_make_the_whole(data: bytes, units: int, chance: random.Random) -> None:
    size = units * 8
    pieces = [(at, at + size < len(data), data[at : at + size]) for at in range(0, len(data), size)][:128]
    if len(pieces) == 128:
        return
    chance.shuffle(pieces)
    engine = Reassembly()
    told = [engine.add("key", *piece, Ns(0)) for piece in pieces[:-1] for _ in range(2)]
    assert set(told) <= {"kept", "duplicate"}
    assert engine.add("key", *pieces[-1], Ns(0)) == data
    assert len(engine) == engine.held == 0


@pytest.mark.parametrize(
    "second",
    [(8, True, bytes(16)), (0, True, b"x" * 8), (0, True, bytes(32)), (16, False, bytes(8)), (24, True, bytes(16))],
    ids=str,
)
def test_an_overlap_discards_all_and_what_comes_later(second: tuple[int, bool, bytes]) -> None:
    engine = Reassembly()
    for piece in ((0, True, bytes(16)), (24, False, bytes(8))):
        engine.add("key", *piece, Ns(0))
    if second[0] == 16:
        assert engine.add("key", 16, False, bytes(8), Ns(0)) == "overlap"
    else:
        assert engine.add("key", *second, Ns(0)) == "overlap"
    assert engine.add("key", 16, True, bytes(8), Ns(0)) == "overlap" and engine.held == 0
    assert engine.expire(Ns(seconds(60))) == [b""] and len(engine) == 0


def test_reassembly_is_bounded_in_packets_pieces_and_bytes() -> None:
    engine = Reassembly()
    for number in range(10_000):
        engine.add(number, 0, True, bytes(1_024), Ns(0))
    assert len(engine) == PACKETS
    for number in range(100):
        for at in range(0, 60_000, 20_000):
            engine.add(("long", number), at, True, bytes(20_000), Ns(0))
    assert engine.held <= MEMORY and len(engine) <= PACKETS
    told = [engine.add("many", at * 8, True, bytes(8), Ns(0)) for at in range(200)]
    assert told.count("kept") == 128 and told[128] == "too many"
    assert engine.add("far", 65_528, False, bytes(8), Ns(0)) == "too long" and engine.add("odd", 0, True, bytes(7), Ns(0)) == "odd length"


def test_a_last_fragment_that_ends_before_another_discards_all() -> None:
    engine = Reassembly()
    assert [engine.add("key", at, True, bytes(16), Ns(0)) for at in (0, 32)] == ["kept", "kept"]
    assert engine.add("key", 16, False, bytes(8), Ns(0)) == "overlap"
