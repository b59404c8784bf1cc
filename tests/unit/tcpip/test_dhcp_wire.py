"""DHCP messages: bytes field by field, round trips, and everything a hostile peer can do to an option."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.wire import dhcp
from mirage_lab.tcpip.wire.dhcp import Message, Option, Type
from mirage_lab.tcpip.wire.error import WireError

MAC = bytes.fromhex("020000000001")
DISCOVER = (
    bytes.fromhex("01 01 06 00")  # a request, Ethernet, six bytes of address, no hops
    + bytes.fromhex("12345678")  # xid
    + bytes.fromhex("0003 8000")  # three seconds, the broadcast flag
    + bytes(16)  # ciaddr, yiaddr, siaddr, giaddr
    + MAC
    + bytes(10)
    + bytes(64)  # sname
    + bytes(128)  # file
    + bytes.fromhex("63825363")  # cookie
    + bytes.fromhex("35 01 01")  # message type: DISCOVER
    + bytes.fromhex("32 04 0a000007")  # requested address
    + bytes.fromhex("ff")
)


def test_a_discover_is_these_bytes() -> None:
    message = Message(
        dhcp.REQUEST, 0x12345678, MAC, ((Option.TYPE, b"\x01"), (Option.REQUESTED, b"\x0a\0\0\x07")), secs=3, flags=dhcp.BROADCAST_FLAG
    )
    assert dhcp.encode(message) == DISCOVER.ljust(300, b"\0")
    assert dhcp.decode(DISCOVER) == message
    assert (message.type, message.name, dhcp.address(message, Option.REQUESTED)) == (Type.DISCOVER, "Discover", 0x0A000007)


def with_options(options: bytes, file: bytes = b"", sname: bytes = b"") -> bytes:
    return DISCOVER[:44] + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + dhcp.COOKIE + options


def test_an_option_in_pieces_is_one_option() -> None:
    """RFC 3396 section 5: the values are put together in the order they come in."""
    message = dhcp.decode(with_options(bytes.fromhex("35 01 01  0c 02 6162  00 00  0c 02 6364  ff")))
    assert message.options == ((Option.TYPE, b"\x01"), (Option.HOST_NAME, b"abcd"))


def test_file_and_sname_carry_options_when_option_52_says_so() -> None:
    """RFC 2131 section 4.1: first the options field, then file, then sname."""
    said = dhcp.decode(with_options(bytes.fromhex("34 01 03  0c 01 61  ff"), bytes.fromhex("0c 01 62 ff"), bytes.fromhex("0c 01 63 ff")))
    assert (said.option(Option.HOST_NAME), said.file, said.sname) == (b"abc", b"", b"")
    plain = dhcp.decode(with_options(bytes.fromhex("0c 01 61  ff"), b"boot.img", b"server"))
    assert (plain.option(Option.HOST_NAME), plain.file, plain.sname) == (b"a", b"boot.img", b"server")


@pytest.mark.parametrize(
    ("buf", "why"),
    [
        (b"", "header and cookie have 240"),
        (DISCOVER[:239], "header and cookie have 240"),
        (b"\x03" + DISCOVER[1:], "op 3"),
        (DISCOVER[:2] + b"\x11" + DISCOVER[3:], "hardware address of 17"),
        (DISCOVER[:236] + b"\0" + DISCOVER[237:], "without the cookie"),
        (with_options(b"\x35"), "option 53 goes beyond"),
        (with_options(b"\x35\x02\x01"), "option 53 goes beyond"),
        (with_options(b"\x35\x00\xff"), "option 53 of 0"),
        (with_options(b"\x35\x02\x01\x01\xff"), "option 53 of 2"),
        (with_options(b"\x03\x03\x01\x01\x01\xff"), "option 3 of 3"),
        (with_options(b"\x06\x00\xff"), "option 6 of 0"),
        (with_options(b"\x34\x01\x04\xff"), "option 52"),
        (with_options(b"\x34\x02\x01\x01\xff"), "option 52"),
        (with_options(b"\x34\x01\x01\xff", b"\x0c\xff"), "option 12 goes beyond"),
        (with_options(b"".join(bytes((code, 0)) for code in range(100, 254)) + b"\xff"), "more than 128 options"),
    ],
)
def test_what_lies_is_a_wire_error(buf: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        dhcp.decode(buf)


def test_each_truncation_is_a_message_or_a_wire_error() -> None:
    whole = with_options(bytes.fromhex("34 01 03  35 01 01  0c 02 6162  ff"), bytes.fromhex("0c 01 62 ff"))
    for size in range(len(whole)):
        try:
            dhcp.decode(whole[:size])
        except WireError:
            continue


@given(st.binary(max_size=400), st.integers(0, 255), st.binary(max_size=128))
def test_any_bytes_are_a_message_or_a_wire_error(options: bytes, overload: int, file: bytes) -> None:
    for buf in (options, with_options(options), with_options(bytes((52, 1, overload)) + options, file, options[:64])):
        try:
            dhcp.decode(buf)
        except WireError:
            continue


FREE = st.integers(1, 254).filter(lambda code: code not in dhcp._SIZES and code not in (3, 6))
messages = st.builds(
    Message,
    op=st.sampled_from((dhcp.REQUEST, dhcp.REPLY)),
    xid=st.integers(0, 0xFFFF_FFFF),
    chaddr=st.binary(max_size=16),
    options=st.dictionaries(FREE, st.binary(max_size=300), max_size=3).map(lambda found: ((Option.TYPE, b"\x02"), *found.items())),
    secs=st.integers(0, 0xFFFF),
    flags=st.sampled_from((0, 0x8000)),
    yiaddr=st.integers(0, 0xFFFF_FFFF),
    sname=st.binary(max_size=64).map(lambda text: text.rstrip(b"\0")),
    file=st.binary(max_size=128).map(lambda text: text.rstrip(b"\0")),
)


@given(messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert dhcp.decode(dhcp.encode(message)) == message


@given(st.lists(st.integers(1, 90), min_size=1, max_size=9), st.integers(300, 600))
def test_within_a_limit_options_go_to_file_and_sname_too(sizes: list[int], limit: int) -> None:
    """RFC 2132 section 9.10: a message is not larger than its receiver takes."""
    message = Message(dhcp.REPLY, 1, MAC, tuple((100 + n, bytes([n]) * size) for n, size in enumerate(sizes)))
    try:
        buf = dhcp.encode(message, limit)
    except LocalProtocolError:
        assert sum(sizes) + 2 * len(sizes) > limit - 244
        return
    assert len(buf) <= limit and dhcp.decode(buf) == message


def test_option_52_is_used_and_counts_itself() -> None:
    message = Message(dhcp.REPLY, 1, MAC, ((100, bytes(50)), (101, bytes(50))))
    buf = dhcp.encode(message, 300)
    assert buf[240:243] == b"\x34\x01\x01" and dhcp.decode(buf) == message
