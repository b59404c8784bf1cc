"""Codecs: what goes in comes out, and what is cut short or lies about its length is refused by one error."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.wire import arp, ethernet, icmp, ipv4, tcp, udp
from mirage_lab.tcpip.wire.address import ip_int, ip_text, mac_bytes, mac_text, network
from mirage_lab.tcpip.wire.checksum import checksum, folded, pseudo_v4, valid
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.seq import MASK, Seq, before, distance, within

LENGTHS = (1, 20, 511, 512, 729, 730, 731, 1_459, 1_460, 2_048, 2_049, 8_192, 9_000, 65_495, 65_534, 65_535)

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, MASK)
MAC = st.binary(min_size=6, max_size=6)
SRC, DST = ip_int("10.0.0.1"), ip_int("10.0.0.2")

SYN_2014 = bytes.fromhex(
    "c350 0050"  # ports 50000 -> 80
    "00000001 00000000"  # sequence, acknowledgment
    "6002 2000"  # header of 24 bytes, SYN, window 8192
    "0000 0000"  # checksum, urgent
    "01020000"  # NOP, then MSS with length 0: for ever in 2014
)


def naive(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) & 1)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@given(st.binary(max_size=200))
def test_the_checksum_is_that_of_rfc_1071(data: bytes) -> None:
    assert checksum(data) == naive(data)


def test_a_sum_of_ffff_and_a_sum_of_zero_are_told_apart() -> None:
    assert checksum(b"\xff" * 20) == 0 and checksum(b"\0" * 20) == 0xFFFF
    assert checksum(b"") == 0xFFFF


@given(st.binary(min_size=2, max_size=60).filter(any))
def test_a_packet_with_its_checksum_is_valid(data: bytes) -> None:
    even = data + b"\0" * (len(data) & 1)
    assert valid(even + checksum(even).to_bytes(2, "big"))


@given(MAC, MAC, U16, st.binary(max_size=60))
def test_ethernet_round_trip(dst: bytes, src: bytes, ethertype: int, payload: bytes) -> None:
    frame = ethernet.Frame(dst, src, ethertype, payload)
    assert ethernet.decode(ethernet.encode(frame)) == frame


@given(st.sampled_from([arp.REQUEST, arp.REPLY]), MAC, U32, MAC, U32, st.binary(max_size=18))
def test_arp_round_trip_with_padding(op: int, sha: bytes, spa: int, tha: bytes, tpa: int, padding: bytes) -> None:
    packet = arp.Arp(op, sha, spa, tha, tpa)
    assert arp.decode(arp.encode(packet) + padding) == packet


@given(U32, U32, st.integers(0, 255), st.integers(0, 60), U16, st.integers(1, 255), st.integers(0, 10))
def test_ipv4_round_trip(src: int, dst: int, proto: int, payload: int, ident: int, ttl: int, words: int) -> None:
    header = ipv4.Header(src, dst, proto, 20 + 4 * words + payload, ident, ipv4.DF, ttl, 0, bytes([1] * 4 * words))
    assert ipv4.decode(ipv4.encode(header) + bytes(payload)) == header


@given(U16, U16, st.binary(max_size=100))
def test_udp_round_trip(src_port: int, dst_port: int, data: bytes) -> None:
    datagram = udp.Datagram(src_port, dst_port, data)
    assert udp.decode(udp.encode(datagram, SRC, DST), SRC, DST) == datagram


@given(st.integers(0, 255), st.integers(0, 255), U32, st.binary(max_size=100))
def test_icmp_round_trip(kind: int, code: int, rest: int, data: bytes) -> None:
    message = icmp.Icmp(kind, code, rest, data)
    if any((kind, code, rest)) or any(data):
        assert icmp.decode(icmp.encode(message)) == message


@pytest.mark.parametrize("size", LENGTHS)
def test_long_data_is_folded_without_a_change_of_its_sum(size: int) -> None:
    for data in (random.Random(size).randbytes(size), b"\xff" * size, b"\0" * (size - 1) + b"\1", b"\1" + b"\0" * (size - 1)):
        total = int.from_bytes(data, "big")
        short = folded(total, size)
        assert short % 0xFFFF == total % 0xFFFF and short > 0 and checksum(data) == naive(data)
        assert size < 512 or short.bit_length() <= 6_200
    assert folded(0, size) == 0


@given(U16, U16, U32, U32, st.integers(0, 255), U16, st.sampled_from([b"", tcp.Options(1_460, 3, True).encode()]), st.binary(max_size=90))
def test_tcp_round_trip_and_checksum(sport: int, dport: int, seq: int, ack: int, flags: int, window: int, options: bytes, payload: bytes) -> None:
    segment = tcp.Segment(sport, dport, seq, ack, flags, window, options, payload)
    packet = tcp.encode(segment, pseudo_v4(SRC, DST, 6, 0))
    assert tcp.decode(packet) == segment
    assert valid(packet, pseudo_v4(SRC, DST, 6, len(packet)))


def test_a_checksum_of_zero_is_written_as_zero_and_none_as_ffff() -> None:
    """Both say the same sum; RFC 1624 wants the first, and tshark complains of the second."""
    found = {tcp.encode(tcp.Segment(80, 1234, 1, ack, 16, 100, b"", b""), pseudo_v4(SRC, DST, 6, 0))[16:18] for ack in range(0x1_0000)}
    assert b"\0\0" in found and b"\xff\xff" not in found


BLOCK = st.tuples(U32, U32)


@given(st.integers(0, 65_535), st.integers(0, 14), st.booleans(), st.one_of(st.none(), BLOCK), st.lists(BLOCK, max_size=5))
def test_options_round_trip(mss: int, wscale: int, sack: bool, stamps: tuple[int, int] | None, blocks: list[tuple[int, int]]) -> None:
    raw = tcp.Options(mss, wscale, sack, stamps, tuple(blocks)).encode()
    assert len(raw) <= 40 and len(raw) % 4 == 0
    found = tcp.parse_options(raw)
    assert (found.mss, found.wscale, found.sack_ok, found.stamps) == (mss, wscale, sack, stamps)
    assert list(found.sack) == blocks[: len(found.sack)] and len(found.sack) >= min(len(blocks), 1)


def test_three_sack_blocks_fit_beside_timestamps_and_four_alone() -> None:
    blocks = tuple((n, n + 1) for n in range(0, 50, 10))
    assert tcp.parse_options(tcp.Options(stamps=(1, 2), sack=blocks).encode()).sack == blocks[:3]
    assert tcp.parse_options(tcp.Options(sack=blocks).encode()).sack == blocks[:4]


def test_options_are_laid_out_as_the_rfcs_draw_them() -> None:
    raw = tcp.Options(1_460, 7, True, (0x01020304, 0x05060708)).encode()
    assert raw.hex(" ") == "02 04 05 b4 04 02 08 0a 01 02 03 04 05 06 07 08 01 03 03 07"
    assert tcp.timestamps(1, 2) == tcp.Options(stamps=(1, 2)).encode()
    assert tcp.Options(sack=((16, 32),)).encode().hex(" ") == "01 01 05 0a 00 00 00 10 00 00 00 20"


@pytest.mark.parametrize("kind, right", [(2, {4}), (3, {3}), (4, {2}), (5, {10, 18, 26, 34}), (8, {10})])
def test_an_option_of_the_wrong_length_is_refused(kind: int, right: set[int]) -> None:
    for length in range(40):
        raw = bytes((kind, length)) + bytes(38)
        if length in right:
            tcp.parse_options(raw)
        else:
            with pytest.raises(WireError, match=f"option {kind} says it has {length} bytes"):
                tcp.parse_options(raw)
    for length in right:
        for cut in range(1, length):
            with pytest.raises(WireError):
                tcp.parse_options((bytes((kind, length)) + bytes(38))[:cut])


def test_an_option_nobody_knows_is_skipped() -> None:
    assert tcp.parse_options(b"\xfe\x06abcd\x04\x02").sack_ok


def test_the_bits_of_congestion_are_named() -> None:
    assert tcp.flag_names(tcp.SYN | tcp.ECE | tcp.CWR) == "SYN ECE CWR"


def test_the_option_of_length_zero_is_refused() -> None:
    with pytest.raises(WireError, match="option 2 says it has 0 bytes"):
        tcp.decode(SYN_2014)


@given(st.binary(max_size=40))
def test_any_options_are_read_or_refused(raw: bytes) -> None:
    try:
        tcp.parse_options(raw)
    except WireError:
        pass


WHOLE: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "ethernet": (ethernet.encode(ethernet.Frame(b"\1" * 6, b"\2" * 6, 0x0800, b"")), ethernet.decode),
    "arp": (arp.encode(arp.Arp(1, b"\1" * 6, SRC, b"\2" * 6, DST)), arp.decode),
    "ipv4": (ipv4.encode(ipv4.Header(SRC, DST, 6, 24, options=b"\1\1\1\0")), ipv4.decode),
    "udp": (udp.encode(udp.Datagram(1, 2, b"four"), SRC, DST), lambda buf: udp.decode(buf, SRC, DST)),
    "icmp": (icmp.encode(icmp.Icmp(8, 0, 1, b"")), icmp.decode),
    "tcp": (tcp.encode(tcp.Segment(1, 2, 3, 4, 16, 5, tcp.Options(1_460).encode()), 0), tcp.decode),
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_truncation_of_every_header_is_refused(name: str) -> None:
    whole, decode = WHOLE[name]
    decode(whole + bytes(4))
    for length in range(len(whole)):
        with pytest.raises(WireError):
            decode(whole[:length])


@pytest.mark.parametrize("name", WHOLE)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    try:
        WHOLE[name][1](data)
    except WireError:
        pass


@given(U32, st.integers(-(2**31) + 1, 2**31 - 1))
def test_seq_compares_by_distance_around_the_circle(start: int, step: int) -> None:
    other = (start + step) & MASK
    assert distance(start, other) == step
    assert before(start, other) == (step > 0)
    assert within(other, start, 2**31) == (step >= 0)
    assert (Seq(start) + step).value == other and Seq(other) - Seq(start) == step
    assert Seq(start).before(Seq(other)) == (step > 0)


@given(U32)
def test_addresses_round_trip(address: int) -> None:
    assert ip_int(ip_text(address)) == address


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "10.0.0.0.1", "a.b.c.d", "10.0.0.2/33", "10.0.0.2/x", "١.٠.٠.٢"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        network(text)


def test_mac_addresses() -> None:
    assert mac_text(mac_bytes("C0:FF:EE:00:00:01")) == "c0:ff:ee:00:00:01"
    with pytest.raises(LocalProtocolError):
        mac_bytes("c0:ff:ee")
