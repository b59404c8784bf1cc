"""The Internet checksum (RFC 1071) by big-integer remainder: 2^16 = 1 modulo 0xffff, so a remainder is the folded sum.

The one trap: a sum of 0xffff leaves the remainder 0, but only an all-zero buffer sums to 0.  So a remainder of 0 stands
for 0xffff unless everything is zero.

Dividing a long integer costs more than shifting it: `folded` adds its upper part to its lower one, at a multiple of 16 bits, a
few times first.  That keeps the remainder, and a sum that is not zero stays one.
"""

from typing import Final

__all__ = ["checksum", "folded", "pseudo_v4", "pseudo_v6", "remainder", "valid"]

_LARGE: Final = tuple((bits, (1 << bits) - 1) for bits in (262_144, 131_072, 65_536, 32_768, 16_384))
_A, _B, _C = ((1 << bits) - 1 for bits in (5_840, 2_928, 1_472))


def folded(total: int, size: int) -> int:
    """Return a shorter number congruent to `total`, of `size` bytes, modulo 0xffff; 0 only for 0."""
    if size < 512:
        return total
    if size > 2_048:
        for bits, mask in _LARGE:
            total = (total & mask) + (total >> bits)
    total = (total & _A) + (total >> 5_840)
    total = (total & _B) + (total >> 2_928)
    return (total & _C) + (total >> 1_472)


def remainder(data: bytes | bytearray | memoryview) -> int:
    """Return a number congruent to the one's complement sum of `data` modulo 0xffff (odd lengths padded with zero)."""
    total = folded(int.from_bytes(data, "big"), len(data))
    return (total << 8) % 0xFFFF if len(data) & 1 else total % 0xFFFF


def checksum(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """Return the checksum of `data` plus a sum computed before (`pseudo_v4`), 0..0xffff.

    >>> hex(checksum(bytes.fromhex("0001f203f4f5f6f7")))
    '0x220d'
    """
    total = folded(int.from_bytes(data, "big"), len(data))
    if len(data) & 1:
        total <<= 8
    total += initial
    if not total:
        return 0xFFFF
    return 0xFFFF - (total % 0xFFFF or 0xFFFF)


def valid(data: bytes | bytearray | memoryview, initial: int = 0) -> bool:
    """True if `data`, its checksum field included, sums to 0xffff."""
    total = folded(int.from_bytes(data, "big"), len(data))
    if len(data) & 1:
        total <<= 8
    total += initial
    return total != 0 and total % 0xFFFF == 0


def pseudo_v4(src: int, dst: int, proto: int, length: int) -> int:
    """Return the sum of the TCP and UDP pseudo header (RFC 9293 section 3.1)."""
    return (src >> 16) + (src & 0xFFFF) + (dst >> 16) + (dst & 0xFFFF) + proto + length


def pseudo_v6(src: int, dst: int, proto: int, length: int) -> int:
    """Return a number congruent to the sum of the pseudo header of IPv6 (RFC 8200 section 8.1)."""
    return src % 0xFFFF + dst % 0xFFFF + proto + length
