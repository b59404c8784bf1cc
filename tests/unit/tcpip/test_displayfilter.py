"""The display filter: what it lets through, and what it says when it cannot be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.signatures.errors import MirageError
from mirage_lab.tcpip.displayfilter import FilterError, compile_filter
from mirage_lab.tcpip.displayfilter.fields import FIELDS, Kind
from mirage_lab.tcpip.displayfilter.places import Seen
from mirage_lab.tcpip.displayfilter.streams import Streams
from mirage_lab.tcpip.displayfilter.words import LONGEST, SPELLINGS
from mirage_lab.tcpip.wire import arp, ethernet, icmp, ipv4, tcp, udp
from mirage_lab.tcpip.wire.address import ip_int
from mirage_lab.tcpip.wire.checksum import pseudo_v4

ROOT = Path(__file__).resolve().parents[3]
A, B = bytes.fromhex("00163e000001"), bytes.fromhex("00163e000002")
SRC, DST = ip_int("10.0.0.1"), ip_int("10.0.0.2")
MS = 1_000_000


def ip(proto: int, body: bytes, fragment: int = 0x4000, src: int = SRC, dst: int = DST) -> bytes:
    return ethernet.encode(ethernet.Frame(B, A, 0x0800, ipv4.encode(ipv4.Header(src, dst, proto, 20 + len(body), ident=7, fragment=fragment)) + body))


ARP = ethernet.encode(ethernet.Frame(b"\xff" * 6, A, 0x0806, arp.encode(arp.Arp(1, A, SRC, bytes(6), DST))))
SYN = ip(6, tcp.encode(tcp.Segment(49_152, 80, 100, 0, tcp.SYN, 65_535, tcp.Options(1_460, 3).encode()), pseudo_v4(SRC, DST, 6, 0)))
GET = ip(6, tcp.encode(tcp.Segment(49_152, 80, 101, 7, tcp.ACK | tcp.PSH, 512, b"", b"GET / HTTP/1.1\r\n"), pseudo_v4(SRC, DST, 6, 0)))
DATAGRAM = ip(17, udp.encode(udp.Datagram(53, 5_353, b"hello"), SRC, DST))
PING = ip(1, icmp.encode(icmp.Icmp(8, 0, 0x1234_0001, bytes(56))))
ERROR = ip(1, icmp.encode(icmp.Icmp(3, 1, 0, SYN[14:42])), src=DST, dst=SRC)
FRAMES = {"arp": ARP, "syn": SYN, "get": GET, "udp": DATAGRAM, "ping": PING, "error": ERROR, "runt": GET[:10], "cut": GET[:40]}


def shown(text: str) -> str:
    """Return the names of the frames that pass; the Nth was seen (N - 1) * 100 ms after the first."""
    found = compile_filter(text)
    return " ".join(name for n, (name, frame) in enumerate(FRAMES.items(), 1) if found.matches(n, (n - 1) * 100 * MS, frame))


def wrong(text: str) -> FilterError:
    """Return the error of a filter that cannot be read."""
    with pytest.raises(FilterError) as caught:
        compile_filter(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", " ".join(FRAMES)),
        (" \n\t ", " ".join(FRAMES)),
        ("frame", " ".join(FRAMES)),
        ("eth", "arp syn get udp ping error cut"),
        ("arp", "arp"),
        ("ip", "syn get udp ping error cut"),
        ("tcp", "syn get error cut"),
        ("udp", "udp"),
        ("icmp", "ping error"),
        ("tcp.flags.syn", "syn get"),  # a field alone says that it is there
        ("tcp.port == 80", "syn get error cut"),
        ("tcp.port == 80 and tcp.len > 0", "get"),
        ("tcp.port==80&&tcp.len>0", "get"),
        ("udp.payload[0:2]", "udp"),
        ("udp.payload[5:]", ""),
    ],
)
def test_a_filter_lets_the_frames_through_that_it_names(text: str, names: str) -> None:
    assert shown(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tcp.dstport == 80", "syn get error cut"),
        ("tcp.dstport eq 80", "syn get error cut"),
        ("tcp.port != 80", ""),  # != wants all values to differ
        ("tcp.port ne 80", ""),
        ("tcp.port all_ne 80", ""),
        ("tcp.port != 81", "syn get error cut"),  # and there must be one
        ("not tcp.port == 80", "arp udp ping runt"),
        ("! tcp.port == 80", "arp udp ping runt"),
        ("tcp.port ~= 80", "syn get error cut"),  # ~= wants one to differ
        ("tcp.port !== 80", "syn get error cut"),
        ("tcp.port any_ne 80", "syn get error cut"),
        ("tcp.dstport ~= 80", ""),
        ("tcp.port === 80", ""),
        ("tcp.dstport === 80", "syn get error cut"),
        ("tcp.dstport all_eq 80", "syn get error cut"),
        ("tcp.dstport any_eq 80", "syn get error cut"),
        ("tcp.len > 16", ""),
        ("tcp.len gt 15", "get"),
        ("tcp.len >= 16", "get"),
        ("tcp.len ge 17", ""),
        ("tcp.len < 16", "syn"),
        ("tcp.len lt 0", ""),
        ("tcp.len <= 16", "syn get"),
        ("tcp.len le 0", "syn"),
        ("tcp.flags & 2", "syn"),
        ("tcp.flags & 0x12 == 2", "syn"),
        ("tcp.flags bitwise_and 0x10 == 0x10", "get"),
        ("tcp.len in {0 16}", "syn get"),
        ("tcp.len in {1, 16}", "get"),
        ("tcp.len in {1..15,17 .. 20}", ""),
        ("tcp.len in {1..16}", "get"),
        ("tcp.len in {16..1}", ""),
        ("tcp.len not in {0}", "arp get udp ping error runt cut"),
        ('frame contains "GET"', "get"),
        ("frame contains 47:45:54", "get"),
        ("frame contains 47-45-54", "get"),
        ("frame contains 474554", "get"),
        (r'frame contains "\x47\105T"', "get"),
        (r'tcp.payload contains "\r\n"', "get"),
        (r'frame contains r"\r\n"', ""),
        ('tcp contains "HTTP"', "get"),
        ('tcp[0:] contains "HTTP"', ""),  # a slice of a layer is of its header
        ('udp.payload contains "ell"', "udp"),
        ("frame contains ff:ff", "arp syn"),
        ("eth.src contains 16:3e", "arp syn get udp ping error cut"),
        ("ip.src == ip.dst", "error"),  # any of the one equals any of the other: what an error quotes counts
        ("tcp.srcport > tcp.dstport", "syn get error cut"),
        ("tcp.port === tcp.dstport", ""),
        ("tcp.port != tcp.dstport", ""),
        ("tcp.srcport != tcp.dstport", "syn get error cut"),
        ("tcp.flags & 0xf00", ""),
        ("udp.payload > tcp.payload", ""),
        ("eth.src[0:3] == eth.dst[0:3]", "syn get udp ping error cut"),
    ],
)
def test_each_operator(text: str, names: str) -> None:
    assert shown(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ip.ttl == 0x40", "syn get udp ping error cut"),
        ("ip.ttl == 0100", "syn get udp ping error cut"),  # octal, as Wireshark takes it
        ("ip.ttl == 0b1000000", "syn get udp ping error cut"),
        ("ip.ttl == +64", "syn get udp ping error cut"),
        ("eth.type == 0x0806", "arp"),
        ("tcp.flags.syn == 1", "syn"),
        ("tcp.flags.syn == True", "syn"),
        ("tcp.flags.syn == FALSE", "get"),
        ("tcp.flags.syn == 2", "syn"),
        ("eth.dst == ff:ff:ff:ff:ff:ff", "arp"),
        ("eth.addr == 00-16-3E-00-00-02", "syn get udp ping error cut"),
        ("eth.dst == 0016.3e00.0002", "syn get udp ping error cut"),
        ("eth.dst > 00:16:3e:00:00:02", "arp"),
        ("ip.src == 10.0.0.2", "error"),
        ("ip.src == 10.0.0.0/24", "syn get udp ping error cut"),
        ("ip.src == 10.0.0.2/31", "error"),
        ("ip.addr != 10.0.0.2/31", ""),
        ("ip.dst > 10.0.0.1", "syn get udp ping error cut"),
        ("ip.src in {10.0.0.2..10.0.0.9}", "error"),
        ("ip.src in {10.0.0.2/31, 1.2.3.4}", "error"),
        ("arp.src.proto_ipv4 == 10.0.0.1 and arp.dst.proto_ipv4 == 10.0.0.2", "arp"),
        ("frame.time_relative < 0.2", "arp syn"),
        ("frame.time_relative == 0.1", "syn"),
        ("frame.time_relative in {0.1 .. 0.200000000}", "syn get"),
        ("frame.time_relative > -1", " ".join(FRAMES)),
        ("frame.number in {1 3}", "arp get"),
        ("frame.len == 10", "runt"),
        ("eth.src[0:3] == 00:16:3e", "arp syn get udp ping error cut"),
        ("eth.src[-1] == 1", "arp syn get udp ping error cut"),
        ("ip.src[3] == 02", "error"),
        ("ip.src[1-2] == 00:00", "syn get udp ping error cut"),
        ("ip[8] == 40", "syn get udp ping error cut"),  # bytes are hexadecimal
        ("tcp[13] == 0x02", "syn"),
        ("frame[0,1,12-13] == ff:ff:08:06", "arp"),
        ('udp.payload[:2] == "he"', "udp"),
        ('udp.payload[3:] == "lo"', "udp"),
        ('udp.payload[3:10] == "lo"', ""),  # a slice that is not there has no value
        ('udp.payload == "hello"', "udp"),
        ('udp.payload >= "z"', "udp"),  # the longer is the greater
        ('udp.payload in {"hello", "x"}', "udp"),
        ('udp.payload contains ""', "udp"),
    ],
)
def test_each_kind_of_value(text: str, names: str) -> None:
    assert shown(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("arp or tcp and udp", "arp"),
        ("tcp and udp or arp", "arp"),
        ("arp || tcp && udp", "arp"),
        ("(arp or tcp) and udp", ""),
        ("not arp and tcp", "syn get error cut"),
        ("not (arp or tcp)", "udp ping runt"),
        ("not not arp", "arp"),
        ("!!!arp and ip.ttl", "syn get udp ping error cut"),
        ("arp or udp or icmp or tcp.len == 16", "arp get udp ping error"),
        ("ip and tcp and tcp.len == 16 and tcp.flags.push == 1", "get"),
        ("(((arp)))", "arp"),
    ],
)
def test_and_binds_tighter_than_or_and_not_tightest(text: str, names: str) -> None:
    assert shown(text) == names


@pytest.mark.parametrize(
    ("text", "at", "length", "reason"),
    [
        ("tcp.prot == 80", 0, 8, "no field tcp.prot; near it: tcp.port, ip.proto, tcp.srcport"),
        ("ip and tcp.prot", 7, 8, "no field tcp.prot; near it"),
        ("TCP", 0, 3, "no field TCP; near it: tcp"),
        ("xyzzy", 0, 5, "no field xyzzy; there are frame, eth, arp, ip, icmp, ipv6, icmpv6, udp, tcp"),
        ("tcp.nxtseq == 1", 0, 10, "tcp.nxtseq is tcp.seq and tcp.len together"),
        ("tcp.window_size > 1", 0, 15, "tcp.window_size_value is the number as sent"),
        ("tcp.analysis.retransmission", 0, 27, "tcp.analysis is left out"),
        ("http.request", 0, 12, 'tcp.payload contains "GET" finds text'),
        ("port 80", 0, 4, "capture filters, another language; here: tcp.port == 80"),
        ("all tcp.port > 1", 0, 3, "=== and != want all"),
        ("len(frame) > 1", 0, 3, "functions are left out"),
        ("80 == tcp.port", 0, 2, "the field comes first"),
        ('"x"', 0, 3, "stands where a field belongs"),
        ("and tcp", 0, 3, "stands where a field belongs"),
        ("tcp.port == 70000", 12, 5, "tcp.port is at most 65535"),
        ("tcp.port == -1", 12, 2, "never negative"),
        ("tcp.port == http", 12, 4, "tcp.port is a number; 'http' is none"),
        ("tcp.port == 0x", 12, 2, "is none"),
        ("tcp.port == 1_0", 12, 3, "is none"),
        ('tcp.port == "80"', 12, 4, "a number, which is written without quotes"),
        ("tcp.flags.syn == maybe", 17, 5, "a flag: 1, 0, True or False"),
        ("ip.src == 10.0.0.256", 10, 10, "is not an IPv4 address"),
        ("ip.src == 10.0.0.0/33", 10, 11, "prefix length is 0 to 32"),
        ("ip.src == 10.0.0.0/000099", 10, 15, "prefix length is 0 to 32"),
        ('ip.src == "10.0.0.1"', 10, 10, "an IPv4 address, which is written without quotes"),
        ("eth.src == 00:16:3e", 11, 8, "is not a MAC address"),
        ("frame.time_relative > 1s", 22, 2, "is in seconds"),
        ("frame.time_relative > 0.1234567891", 22, 12, "nine decimals"),
        ("frame contains GET", 15, 3, "neither a \"string\" nor bytes"),
        ("frame contains 47:4", 15, 4, "neither a \"string\" nor bytes"),
        ("tcp.port contains 80", 9, 8, "tcp.port is a number; contains looks into bytes"),
        ("ip.src contains 0a", 7, 8, "an IPv4 address; contains looks into bytes"),
        ("tcp.port[0] == 80", 8, 3, "a number, which has no bytes to slice"),
        ("udp.payload[x] == 1", 11, 3, "a slice is [from:length]"),
        ("udp.payload[] == 1", 11, 2, "a slice is [from:length]"),
        ("udp.payload[0:0]", 11, 5, "names no bytes"),
        ("udp.payload[2-1]", 11, 5, "names no bytes"),
        ("udp.payload[0:2][0] == 1", 16, 3, "not sliced again"),
        ("udp.payload[0 == 1", 11, 1, "no closing ]"),
        ("ip.src & 1", 7, 1, "ip.src is no number"),
        ("eth.src == ip.src", 11, 6, "eth.src is a MAC address and ip.src an IPv4 address: they cannot be compared"),
        ('udp.payload matches "h"', 12, 7, "matches is left out"),
        ("tcp.port in 80", 12, 2, "a set is written in braces"),
        ("tcp.port in {}", 12, 1, "this set is empty"),
        ("tcp.port in {80", 12, 1, "this { is not closed"),
        ("tcp.port in {80..}", 17, 1, "a value of tcp.port (number) is missing here"),
        ("tcp.port in {80,}", 16, 1, "a value follows a comma"),
        ('udp.payload in {"a".."b"}', 15, 1, "bytes have no ranges"),
        ("tcp.port ==", 11, 1, "a value of tcp.port (number) is missing here"),
        ("tcp and", 7, 1, "a field is missing here"),
        ("(tcp", 0, 1, "this ( is not closed"),
        ("(tcp udp)", 5, 3, "'udp' does not follow; join two tests with and, or"),
        ("tcp)", 3, 1, "nothing was opened that this ) closes"),
        ("tcp udp", 4, 3, "'udp' does not follow; join two tests with and, or"),
        ("tcp.port == 80 == 80", 15, 2, "join two comparisons with and"),
        ("tcp.port = 80", 9, 1, "one = says nothing: == compares"),
        ("tcp | udp", 4, 1, "one | says nothing: || is or"),
        ('frame contains "GET', 15, 1, 'no closing "'),
        ("frame contains 'GET'", 15, 1, 'in "double quotes"'),
        ("tcp # all", 4, 1, "'#' is not a part of a filter"),
        ("(" * 51 + "tcp" + ")" * 51, 50, 1, "50 deep at most"),
        ("tcp" + " " * LONGEST, LONGEST, 1, "1,000 characters at most, and this one 1,003"),
    ],
)
def test_an_error_says_what_and_points_at_the_place(text: str, at: int, length: int, reason: str) -> None:
    error = wrong(text)
    assert isinstance(error, MirageError)
    assert reason in error.reason and error.text == text
    assert (error.at, error.length) == (at, length)


def test_an_error_shows_the_text_with_a_caret_below_the_place() -> None:
    assert str(wrong("ip and\ntcp.prot == 80")) == (
        "no field tcp.prot; near it: tcp.port, ip.proto, tcp.srcport\n  ip and tcp.prot == 80\n         ^~~~~~~~"
    )


def test_fifty_parentheses_and_a_thousand_letters_can_be_read() -> None:
    assert shown("(" * 50 + "arp" + ")" * 50) == "arp"
    assert shown("!" * (LONGEST - 3) + "arp") == " ".join(name for name in FRAMES if name != "arp")
    assert shown("arp or " * 142 + "arp") == "arp"


def test_padding_belongs_to_no_layer() -> None:
    padded = GET + b"PADDING"
    assert compile_filter("tcp.len == 16").matches(1, 0, padded)
    assert compile_filter('frame contains "PADDING"').matches(1, 0, padded)
    assert not compile_filter('ip contains "PADDING"').matches(1, 0, padded)


def test_a_fragment_is_looked_at_alone() -> None:
    first, later = ip(17, bytes.fromhex("270f14eb 0100 0000") + bytes(16), 0x2000), ip(17, bytes(24), 3)
    assert compile_filter("ip.flags.mf == 1 and udp.port == 5355").matches(1, 0, first)
    assert compile_filter("ip.frag_offset == 3 and not udp").matches(1, 0, later)


def test_an_option_that_lies_about_its_length_has_no_value() -> None:
    def syn(options: str) -> bytes:
        return ip(6, tcp.encode(tcp.Segment(1, 2, 3, 0, tcp.SYN, 4, bytes.fromhex(options), b""), pseudo_v4(SRC, DST, 6, 0)))

    found = compile_filter("tcp.options.mss_val == 1460")
    assert found.matches(1, 0, syn("020405b4")) and found.matches(2, 0, syn("01010402 020405b4"))
    for n, options in enumerate(("020505b4 00010101", "02020405b4 010101", "020005b4", "02ff05b4", "00020405 b4000000", "01010102"), 3):
        assert not found.matches(n, 0, syn(options)), options


def test_a_quoted_datagram_counts_but_has_no_length_of_its_own() -> None:
    assert compile_filter("icmp.type == 3 and tcp.port == 49152 and ip.len == 48").matches(1, 0, ERROR)
    assert not compile_filter("tcp.len or tcp.seq_raw or tcp.stream").matches(1, 0, ERROR)


def test_errors_that_quote_errors_come_to_an_end() -> None:
    body = bytes(8)
    for _ in range(60):
        body = icmp.encode(icmp.Icmp(3, 0, 0, ipv4.encode(ipv4.Header(SRC, DST, 1, 20 + len(body))) + body))
    assert compile_filter("icmp.code == 0 and ip.ttl == 64").matches(1, 0, ip(1, body))


def segment(flags: int, seq: int, ack: int, src: int = 5_000, dst: int = 80) -> bytes:
    return ip(6, tcp.encode(tcp.Segment(src, dst, seq, ack, flags, 512, b"", b""), pseudo_v4(SRC, DST, 6, 0)))


def answer(flags: int, seq: int, ack: int) -> bytes:
    body = tcp.encode(tcp.Segment(80, 5_000, seq, ack, flags, 512, b"", b""), pseudo_v4(DST, SRC, 6, 0))
    return ip(6, body, src=DST, dst=SRC)


SPOKEN = (
    segment(tcp.SYN, 100, 0),
    answer(tcp.SYN | tcp.ACK, 0xFFFF_FFFF, 101),
    ARP,
    segment(tcp.ACK, 101, 0),
    segment(tcp.SYN, 7, 0, src=6_000),
    segment(tcp.SYN, 100, 0),  # sent again
    segment(tcp.SYN, 9_000, 0),  # the ports again
    answer(tcp.ACK, 40, 9_001),  # of that connection, its SYN lost
)


def passing(text: str) -> list[int]:
    found = compile_filter(text)
    return [n for n, frame in enumerate(SPOKEN, 1) if found.matches(n, 0, frame)]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("tcp.stream", [1, 2, 4, 5, 6, 7, 8]),
        ("tcp.stream == 0", [1, 2, 4, 6]),
        ("tcp.stream == 1", [5]),
        ("tcp.stream == 2", [7, 8]),
        ("tcp.seq == 0", [1, 2, 5, 6, 7]),
        ("tcp.seq == 1", [4, 8]),
        ("tcp.ack == 1", [2, 4, 8]),
        ("arp or tcp.seq == 1", [3, 4, 8]),  # what is not asked is learned from too
        ("tcp.dstport == 80 and tcp.stream == 2", [7]),
    ],
)
def test_connections_are_numbered_and_their_numbers_count_from_their_beginning(text: str, numbers: list[int]) -> None:
    assert passing(text) == numbers


def test_a_frame_seen_before_is_not_learned_from_again() -> None:
    found = compile_filter("tcp.stream == 2")
    assert [n for n, frame in enumerate(SPOKEN, 1) if found.matches(n, 0, frame)] == [7, 8]
    assert found.matches(8, 0, SPOKEN[7]) and not found.matches(5, 0, SPOKEN[4])
    assert not compile_filter("tcp.stream").matches(0, 0, SPOKEN[0])  # numbers begin with 1


def test_connections_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirage_lab.tcpip.displayfilter.streams.LIMIT", 3)
    found = compile_filter("tcp.stream")
    assert [found.matches(n, 0, segment(tcp.SYN, 1, 0, src=n)) for n in range(1, 6)] == [True, True, True, False, False]
    assert found.matches(6, 0, segment(tcp.ACK, 2, 0, src=1))
    assert found.matches(7, 0, segment(tcp.SYN, 9, 0, src=1))  # the ports again: told as the first


WORDS = [*FIELDS, *SPELLINGS, *"(){}[],", "..", "[0:2]", "[-1]", "80", "0x10", "10.0.0.0/8", "00:16:3e:00:00:01", '"GET"', "1.5", "True", "ff"]


@given(st.lists(st.sampled_from(WORDS), max_size=12), st.sampled_from(sorted(FRAMES)))
def test_any_words_are_read_or_are_one_error(words: list[str], name: str) -> None:
    try:
        found = compile_filter(" ".join(words))
    except FilterError as error:
        assert 0 <= error.at <= len(error.text) and error.length >= 1
    else:
        assert found.matches(1, 0, FRAMES[name]) in (True, False)


@given(st.text(max_size=40))
def test_any_text_is_read_or_is_one_error(text: str) -> None:
    try:
        compile_filter(text).matches(1, 0, GET)
    except FilterError as error:
        assert 0 <= error.at <= len(text)


@given(st.sampled_from(sorted(FIELDS)), st.text(alphabet="0123456789abcdefx.:-+/\"' ", max_size=24))
def test_any_value_is_read_or_is_one_error(name: str, text: str) -> None:
    try:
        compile_filter(f"{name} == {text}").matches(1, 0, GET)
    except FilterError:
        pass


def every_field(frame: bytes) -> None:
    seen = Seen(1, 0, frame)
    Streams().look(seen)
    for field in FIELDS.values():
        for value in field.read(seen):
            if field.kind in (Kind.NUMBER, Kind.FLAG):
                assert 0 <= value <= field.largest, field.name
            elif field.kind == Kind.MAC:
                assert len(value) == 6, field.name
        assert field.all is None or isinstance(field.all(seen), list)


@given(st.sampled_from(sorted(FRAMES)), st.dictionaries(st.integers(12, 70), st.integers(0, 255), max_size=6), st.integers(0, 120), st.binary(max_size=9))
def test_any_bytes_are_a_frame(name: str, changed: dict[int, int], length: int, tail: bytes) -> None:
    frame = bytearray(FRAMES[name])
    for at, byte in changed.items():
        if at < len(frame):
            frame[at] = byte
    every_field(bytes(frame[:length]) + tail)


@given(st.binary(max_size=90))
def test_noise_is_a_frame_too(noise: bytes) -> None:
    every_field(noise)
    every_field(B + A + b"\x08\x00\x45" + noise)
    every_field(B + A + b"\x08\x06" + noise)


@pytest.mark.parametrize("name", FRAMES)
def test_every_truncation_of_a_frame_is_one(name: str) -> None:
    for length in range(len(FRAMES[name])):
        every_field(FRAMES[name][:length])


def test_the_document_lists_every_field_and_its_examples_can_be_read() -> None:
    text = (ROOT / "docs" / "filters.md").read_text()
    listed = [line for line in text.splitlines() if line.startswith("| `")]
    assert [line for line in listed if line.count("|") == 4 and line.split("`")[1] in FIELDS] == [
        f"| `{field.name}` | {field.kind} | {field.about} |" for field in FIELDS.values()
    ]
    examples = re.findall(r"`([^`]+)`", "\n".join(line for line in text.splitlines() if line.startswith(("| `", "* `"))))
    assert len(examples) > 90
    for example in examples:
        if example not in SPELLINGS:
            compile_filter(example)
    assert [word for word in SPELLINGS if f"`{word}`" not in text] == []
