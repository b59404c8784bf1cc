"""A guest may leave the checksum of a frame to the card: dom0 computes it, and leaves all else as it is."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.tcpip.wire.checksum import pseudo_v4, valid
from mirage_lab.xen.dom0.offload import completed

SOURCE, TARGET = 0x0A00_0009, 0x0A00_0002


def frame(proto: int, segment: bytes, *, fragment: int = 0, options: bytes = b"", padding: bytes = b"") -> bytes:
    """An Ethernet frame: addresses, type, IPv4 header with its options, the segment, what fills it up."""
    begin = 20 + len(options)
    header = struct.pack(">BBHHHBBHII", 0x40 | begin // 4, 0, begin + len(segment), 7, fragment, 64, proto, 0, SOURCE, TARGET)
    return bytes(12) + b"\x08\x00" + header + options + segment + padding


def tcp(data: bytes) -> bytes:
    """A TCP header with the sum of the pseudo header where the checksum belongs, as Linux leaves it."""
    partial = pseudo_v4(SOURCE, TARGET, 6, 20 + len(data)) % 0xFFFF
    return struct.pack(">HHIIHHHH", 38_316, 80, 1, 0, 0x5002, 64_240, partial, 0) + data


@given(st.binary(max_size=1_460), st.sampled_from([b"", b"\x01\x01\x01\x01"]), st.binary(max_size=6))
def test_the_checksum_of_tcp_is_right_afterwards(data: bytes, options: bytes, padding: bytes) -> None:
    before = frame(6, tcp(data), options=options, padding=padding)
    after = completed(before)
    begin = 34 + len(options)
    assert valid(after[begin : begin + 20 + len(data)], pseudo_v4(SOURCE, TARGET, 6, 20 + len(data)))
    assert after[: begin + 16] == before[: begin + 16] and after[begin + 18 :] == before[begin + 18 :]


@given(st.binary(max_size=64))
def test_the_checksum_of_udp_is_never_zero(data: bytes) -> None:
    """0 would say that there is none (RFC 768)."""
    after = completed(frame(17, struct.pack(">HHHH", 53, 53, 8 + len(data), 0) + data))
    assert after[40:42] != b"\0\0" and valid(after[34:], pseudo_v4(SOURCE, TARGET, 17, 8 + len(data)))


@pytest.mark.parametrize(
    "other",
    [
        b"",
        bytes(60),
        frame(1, bytes(20)),
        frame(6, tcp(b""), fragment=0x2000),
        frame(6, tcp(b""), fragment=0x0010),
        frame(6, tcp(b"")[:17]),
        frame(6, tcp(b""))[:50],
        bytes(12) + b"\x86\xdd" + bytes(60),
        bytes(12) + b"\x08\x00\x44" + bytes(60),
    ],
)
def test_what_has_no_such_checksum_is_left_alone(other: bytes) -> None:
    assert completed(other) == other


@given(st.binary(max_size=120))
def test_no_bytes_are_an_error(data: bytes) -> None:
    assert len(completed(bytes(12) + b"\x08\x00" + data)) == 14 + len(data)
