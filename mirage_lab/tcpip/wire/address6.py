"""IPv6 addresses: text after RFC 5952 at the border, 128-bit integers inside, and the addresses that RFC 4291 gives a meaning."""

from __future__ import annotations

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.wire.address import ip_int

__all__ = [
    "ALL_NODES", "ALL_ROUTERS", "LINK_LOCAL", "common_bits", "eui64", "ip6_int", "ip6_text", "is_link_local", "is_multicast", "multicast_mac",
    "network6", "solicited_node",
]  # fmt: skip

LINK_LOCAL = 0xFE80 << 112
ALL_NODES = 0xFF02 << 112 | 1
ALL_ROUTERS = 0xFF02 << 112 | 2
_SOLICITED = 0xFF02 << 112 | 0x1_FF00_0000
_HEX = frozenset("0123456789abcdefABCDEF")


def ip6_text(address: int) -> str:
    """Return `2001:db8::2`: small letters, no leading zeros, the longest run of two or more zero groups (the first of equals) as `::`."""
    groups = [address >> shift & 0xFFFF for shift in range(112, -1, -16)]
    best, size, at = 0, 1, 0
    while at < 8:
        end = at
        while end < 8 and not groups[end]:
            end += 1
        if end - at > size:
            best, size = at, end - at
        at = end + 1
    words = [f"{group:x}" for group in groups]
    if size < 2:
        return ":".join(words)
    return ":".join(words[:best]) + "::" + ":".join(words[best + size :])


def ip6_int(text: str) -> int:
    """Return the address as a number; the last 32 bits may be written as an IPv4 address.  Raises LocalProtocolError."""
    whole = text
    head, colon, last = text.rpartition(":")
    if colon and "." in last:
        try:
            low = ip_int(last)
        except LocalProtocolError:
            raise _wrong(whole) from None
        text = f"{head}:{low >> 16:x}:{low & 0xFFFF:x}"
    left, gap, right = text.partition("::")
    before = left.split(":") if left else []
    after = right.split(":") if right else []
    if not all(0 < len(group) <= 4 and _HEX.issuperset(group) for group in before + after):
        raise _wrong(whole)
    missing = 8 - len(before) - len(after)
    if (missing < 1) if gap else (missing != 0):
        raise _wrong(whole)
    value = 0
    for group in before + ["0"] * missing + after:
        value = value << 16 | int(group, 16)
    return value


def _wrong(text: str) -> LocalProtocolError:
    return LocalProtocolError(f"{text!r} is not an IPv6 address; one looks like 2001:db8::2")


def network6(text: str) -> tuple[int, int]:
    """Return (address, prefix length) of `2001:db8::2/64`; without a length it is 64.  Raises LocalProtocolError."""
    address, _, prefix = text.partition("/")
    if prefix and not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3 and int(prefix) <= 128):
        raise LocalProtocolError(f"{text!r}: the prefix length is 0 to 128, as in 2001:db8::2/64")
    return ip6_int(address), int(prefix or 64)


def eui64(mac: bytes) -> int:
    """Return the interface identifier made of a MAC address (RFC 4291 appendix A): ff:fe in the middle, one bit turned."""
    return int.from_bytes(bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:6], "big")


def solicited_node(address: int) -> int:
    """Return the group of those whose address ends in the same 24 bits (RFC 4291 section 2.7.1)."""
    return _SOLICITED | address & 0xFF_FFFF


def multicast_mac(address: int) -> bytes:
    """Return the Ethernet group of a multicast address: 33:33 and its last 32 bits (RFC 2464 section 7)."""
    return b"\x33\x33" + (address & 0xFFFF_FFFF).to_bytes(4, "big")


def is_multicast(address: int) -> bool:
    """True for ff00::/8."""
    return address >> 120 == 0xFF


def is_link_local(address: int) -> bool:
    """True for fe80::/10, and for groups that stay on the link."""
    return address >> 118 == 0x3FA or (address >> 120 == 0xFF and address >> 112 & 15 <= 2)


def common_bits(one: int, other: int) -> int:
    """Return how many bits two addresses have in common, from the left."""
    return 128 - (one ^ other).bit_length()
