"""DNS messages and names: bytes field by field, compression, round trips, and what a hostile peer can do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.wire import dns, dnsname
from mirage_lab.tcpip.wire.dns import Edns, Message, Question, Record, Type
from mirage_lab.tcpip.wire.error import WireError

WWW = (b"www", b"example", b"org")
QUERY = (
    bytes.fromhex("1234 0100")  # number, RD
    + bytes.fromhex("0001 0000 0000 0001")  # one question, one additional record
    + b"\x03www\x07example\x03org\x00"
    + bytes.fromhex("0001 0001")  # A, IN
    + bytes.fromhex("00 0029 04d0 00 00 8000 0000")  # OPT: 1,232 bytes, version 0, DO
)
ANSWER = (
    bytes.fromhex("1234 8400 0001 0002 0000 0000")  # an answer with authority
    + b"\x03www\x07example\x03org\x00"
    + bytes.fromhex("0001 0001")
    + bytes.fromhex("c00c 0005 0001 0000003c 0006")  # the name at 12: CNAME, 60 s, six bytes
    + b"\x03web\xc0\x10"  # web, then what stands at 16: example.org
    + bytes.fromhex("c02d 0001 0001 0000003c 0004 0a000050")  # web.example.org: A 10.0.0.80
)


def test_a_query_is_these_bytes() -> None:
    message = dns.query(0x1234, WWW, Type.A, rd=True, edns=Edns(1_232, do=True))
    assert dns.encode(message) == QUERY and dns.decode(QUERY) == message


def test_an_answer_is_compressed_in_its_names_and_in_its_data() -> None:
    """RFC 1035 section 4.1.4."""
    web = (b"web", b"example", b"org")
    records = (Record(WWW, Type.CNAME, 60, dnsname.encode(web)), Record(web, Type.A, 60, b"\x0a\0\0\x50"))
    said = Message(0x1234, (Question(WWW, Type.A),), records, response=True, aa=True)
    assert dns.encode(said) == ANSWER and dns.decode(ANSWER) == said


def question(name: bytes) -> bytes:
    return bytes.fromhex("0001 0000 0001 0000 0000 0000") + name + bytes.fromhex("0001 0001")


@pytest.mark.parametrize(
    ("buf", "why"),
    [
        (b"", "header alone has 12"),
        (bytes(11), "header alone has 12"),
        (question(b"\xc0\x0c"), "does not lead back"),  # a pointer to itself
        (question(b"\xc0\x0e\xc0\x0c"), "does not lead back"),  # forwards
        (question(b"\x01a\xc0\x0c"), "does not lead back"),  # a loop through a label
        (question(b"\x40a"), "label of type 1"),
        (question(b"\x3fabc"), "beyond the message"),
        (question(b"\xc0")[:13], "cut off"),
        (question((b"\x3f" + b"a" * 63) * 4 + b"\0"), "more than 255"),
        (question(b"\x01a\0")[:-1], "question is cut off"),
        (question(b"\x01a\0") + b"x", "1 bytes after"),
        (bytes.fromhex("0001 0000 ffff ffff ffff ffff"), "262140 questions and records"),
        (ANSWER[:-1], "4 bytes of data; 3 are left"),
        (ANSWER[:-2] + b"\0", "4 bytes of data"),
        (QUERY[:11] + b"\x02" + QUERY[12:] + QUERY[-11:], "OPT record stands once"),
    ],
)
def test_what_lies_is_a_wire_error(buf: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        dns.decode(buf)


def with_record(kind: int, data: bytes) -> bytes:
    head = bytes.fromhex("0001 8000 0000 0001 0000 0000 00")
    return head + kind.to_bytes(2, "big") + bytes.fromhex("0001 00000001") + len(data).to_bytes(2, "big") + data


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Type.A, b"abc"),
        (Type.A, b"abcde"),
        (Type.A, b""),
        (Type.AAAA, bytes(15)),
        (Type.NS, b""),
        (Type.NS, b"\x01a\0x"),
        (Type.MX, b"\0\x0a"),
        (Type.SOA, b"\0\0" + bytes(19)),
        (Type.SRV, bytes(5)),
        (Type.TXT, b""),
        (Type.TXT, b"\x05abc"),
        (Type.CAA, b"\0\0"),
        (Type.CAA, b"\0\x05abc"),
    ],
)
def test_data_that_is_not_what_its_type_says_is_a_wire_error(kind: int, data: bytes) -> None:
    with pytest.raises(WireError):
        dns.decode(with_record(kind, data))


def test_a_ttl_with_its_highest_bit_set_is_zero() -> None:
    """RFC 2181 section 8."""
    buf = with_record(Type.A, bytes(4)).replace(bytes.fromhex("0001 00000001"), bytes.fromhex("0001 80000001"))
    assert dns.decode(buf).answers[0].ttl == 0


def test_data_of_a_type_nobody_knows_is_carried_as_it_is() -> None:
    """RFC 3597 section 3: opaque, and a name in it is not compressed."""
    [record] = dns.decode(with_record(731, b"\xc0\x0c\x00any")).answers
    assert record.data == b"\xc0\x0c\x00any" and dns.type_text(731) == "TYPE731"


def test_a_long_chain_of_pointers_is_given_up() -> None:
    pointers = b"".join((0xC000 | (12 + 1 + 2 * (n - 1) if n else 12)).to_bytes(2, "big") for n in range(200))
    buf = bytes(12) + b"\0" + pointers
    assert dnsname.decode(buf, 13) == ((), 15)
    with pytest.raises(WireError, match="127 compression pointers"):
        dnsname.decode(buf, 13 + 2 * 199)


def test_a_thousand_pointers_to_a_long_name_cost_little() -> None:
    """An SOA of two pointers costs its sender 36 bytes, and would cost us 381 labels; 37 KB of them took a second."""
    long = b"\1a" * 127 + b"\0"
    record = b"\xc0\x0c" + bytes.fromhex("0006 0001 00000001 0018") + b"\xc0\x0c\xc0\x0c" + bytes(20)
    buf = bytes.fromhex("0001 8000 0001 03ff 0000 0000") + long + bytes.fromhex("0001 0001") + record * 1_023
    steps = 0

    class Counted(bytes):
        def __getitem__(self, at: Any) -> Any:
            nonlocal steps
            steps += 1
            return bytes.__getitem__(self, at)

    said = dns.decode(Counted(buf))
    assert len(said.answers) == 1_023 and said.answers[-1].name == said.questions[0].name and steps < 20_000


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=40), st.lists(st.integers(12, 60), max_size=30))
def test_what_is_remembered_is_what_is_there(labels_: list[bytes], pointers: list[int]) -> None:
    head = bytes(12) + b"".join(bytes((len(label),)) + label for label in labels_) + b"\0"
    buf = head + b"".join(b"\1x" + (0xC000 | to).to_bytes(2, "big") for to in pointers)
    known: dnsname.Known = {}
    for at in range(12, len(buf)):
        try:
            plain: object = dnsname.decode(buf, at)
        except WireError as error:
            plain = str(error)
        try:
            remembered: object = dnsname.decode(buf, at, known)
        except WireError as error:
            remembered = str(error)
        assert plain == remembered


@pytest.mark.parametrize("whole", [QUERY, ANSWER])
def test_each_truncation_is_a_message_or_a_wire_error(whole: bytes) -> None:
    for size in range(len(whole)):
        with pytest.raises(WireError):
            dns.decode(whole[:size])


@given(st.binary(max_size=300), st.integers(0, 12))
def test_any_bytes_are_a_message_or_a_wire_error(tail: bytes, kept: int) -> None:
    for buf in (tail, ANSWER[: 12 + kept] + tail, question(tail), with_record(tail[0] if tail else 6, tail)):
        try:
            dns.encode(dns.decode(buf))
        except WireError:
            continue


labels = st.binary(min_size=1, max_size=12).map(bytes.lower)
names = st.lists(labels, max_size=5).map(tuple)
records = st.one_of(
    st.builds(Record, names, st.just(Type.A), st.integers(0, 0x7FFF_FFFF), st.binary(min_size=4, max_size=4)),
    st.builds(Record, names, st.sampled_from((Type.NS, Type.CNAME, Type.PTR)), st.integers(0, 99), names.map(dnsname.encode)),
    st.builds(Record, names, st.just(Type.MX), st.integers(0, 99), names.map(lambda name: b"\0\x0a" + dnsname.encode(name))),
    st.builds(Record, names, st.just(Type.SRV), st.integers(0, 99), names.map(lambda name: bytes(6) + dnsname.encode(name))),
    st.builds(Record, names, st.just(731), st.integers(0, 99), st.binary(max_size=30)),
)
sections = st.lists(records, max_size=4).map(tuple)
messages = st.builds(
    Message,
    id=st.integers(0, 0xFFFF),
    questions=st.lists(st.builds(Question, names, st.integers(0, 0xFFFF)), max_size=2).map(tuple),
    answers=sections,
    authority=sections,
    additional=sections,
    response=st.booleans(),
    opcode=st.integers(0, 15),
    aa=st.booleans(),
    rd=st.booleans(),
    ad=st.booleans(),
    rcode=st.integers(0, 15),
    edns=st.none() | st.builds(Edns, st.integers(0, 0xFFFF), st.integers(0, 255), st.booleans(), st.just(((10, b"cookie"),))),
)


@given(messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert dns.decode(dns.encode(message)) == message


@given(messages, st.integers(40, 400))
def test_what_is_cut_says_so_and_is_still_a_message(message: Message, limit: int) -> None:
    """RFC 2181 section 9: TC unless only additional records were left out."""
    short = dns.decode(dns.encode(message, limit))
    assert short.tc == (short.answers != message.answers or short.authority != message.authority) or not (message.answers or message.authority)


def test_a_big_rcode_needs_edns() -> None:
    """RFC 6891 section 6.1.3: the upper eight bits are in the OPT record."""
    told = Message(1, response=True, rcode=dns.Rcode.BADVERS, edns=Edns())
    assert dns.decode(dns.encode(told)).rcode == 16
    with pytest.raises(LocalProtocolError):
        dns.encode(Message(1, rcode=16))


@given(names)
def test_a_name_comes_back_from_its_text(name: dnsname.Name) -> None:
    assert dnsname.name(dnsname.text(name)) == name


@pytest.mark.parametrize("said", ["", "a..b", ".a", "a" * 64, "\\", "a\\25", "a\\256", ".".join(["a" * 60] * 5)])
def test_text_that_is_no_name_is_refused(said: str) -> None:
    with pytest.raises(LocalProtocolError):
        dnsname.name(said)


def test_names_compare_without_case_and_an_address_has_one_too() -> None:
    assert dnsname.fold((b"WWW", b"Org")) == (b"www", b"org")
    assert dnsname.text(dnsname.reverse(0x0A000102)) == "2.1.0.10.in-addr.arpa."
    assert dnsname.inside((b"www", b"Org"), (b"org",)) == "www" and dnsname.inside((b"org",), (b"org",)) == "@"
