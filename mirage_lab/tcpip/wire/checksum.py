"""The Internet checksum (RFC 1071) by big-integer remainder: 2^16 = 1 modulo 0xffff, so a remainder is the folded sum.

The one trap: a sum of 0xffff leaves the remainder 0, but only an all-zero buffer sums to 0.  So a remainder of 0 stands
for 0xffff unless everything is zero.
"""

__all__ = ["checksum", "pseudo_v4", "remainder", "valid"]


def remainder(data: bytes | bytearray | memoryview) -> int:
    """Return a number congruent to the one's complement sum of `data` modulo 0xffff (odd lengths padded with zero)."""
    total = int.from_bytes(data, "big")
    return (total << 8) % 0xFFFF if len(data) & 1 else total % 0xFFFF


def checksum(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """Return the checksum of `data` plus a sum computed before (`pseudo_v4`), 0..0xffff.

    >>> hex(checksum(bytes.fromhex("0001f203f4f5f6f7")))
    '0x220d'
    """
    total = int.from_bytes(data, "big")
    if len(data) & 1:
        total <<= 8
    total += initial
    if not total:
        return 0xFFFF
    return 0xFFFF - (total % 0xFFFF or 0xFFFF)


def valid(data: bytes | bytearray | memoryview, initial: int = 0) -> bool:
    """True if `data`, its checksum field included, sums to 0xffff."""
    total = int.from_bytes(data, "big")
    if len(data) & 1:
        total <<= 8
    total += initial
    return total != 0 and total % 0xFFFF == 0


def pseudo_v4(src: int, dst: int, proto: int, length: int) -> int:
    """Return the sum of the TCP and UDP pseudo header (RFC 9293 section 3.1)."""
    return (src >> 16) + (src & 0xFFFF) + (dst >> 16) + (dst & 0xFFFF) + proto + length
