"""Ethernet II: destination, source, EtherType, payload.  Short frames may be padded; the layer above knows its length."""

from __future__ import annotations

from dataclasses import dataclass

from mirage_lab.tcpip.wire.error import WireError

__all__ = ["ARP", "HEADER", "IPV4", "IPV6", "Frame", "decode", "encode"]

HEADER = 14
IPV4 = 0x0800
ARP = 0x0806
IPV6 = 0x86DD


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame taken apart: six bytes, six bytes, a number, and the rest."""

    dst: bytes
    src: bytes
    ethertype: int
    payload: bytes


def decode(buf: bytes) -> Frame:
    """Take a frame apart; raises WireError when it is shorter than its header."""
    if len(buf) < HEADER:
        raise WireError(f"an Ethernet frame of {len(buf)} bytes; the header alone has {HEADER}")
    return Frame(buf[:6], buf[6:12], int.from_bytes(buf[12:14], "big"), buf[14:])


def encode(frame: Frame) -> bytes:
    """Put a frame together."""
    return frame.dst + frame.src + frame.ethertype.to_bytes(2, "big") + frame.payload
