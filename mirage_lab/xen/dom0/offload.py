"""offload: checksums that a guest left to the card (netif.h: NETTXF_csum_blank): here is no card, so dom0 computes them."""

from __future__ import annotations

from typing import Final

from mirage_lab.tcpip.wire.checksum import checksum, pseudo_v4

__all__ = ["completed"]

ETHERNET: Final = 14
IPV4: Final = b"\x08\x00"
_FIELDS: Final = {6: 16, 17: 6}
"""Where the checksum of TCP and of UDP lies."""


def completed(frame: bytes) -> bytes:
    """Return the frame with the checksum of its TCP or UDP over IPv4 computed; another, or a piece of one, as it is."""
    ip = frame[ETHERNET:]
    if frame[12:14] != IPV4 or len(ip) < 20 or ip[0] >> 4 != 4:
        return frame
    begin, total = (ip[0] & 15) * 4, int.from_bytes(ip[2:4], "big")
    field = _FIELDS.get(ip[9])
    if field is None or begin < 20 or not begin + field + 2 <= total <= len(ip) or int.from_bytes(ip[6:8], "big") & 0x3FFF:
        return frame
    segment = bytearray(ip[begin:total])
    segment[field : field + 2] = b"\0\0"
    pseudo = pseudo_v4(int.from_bytes(ip[12:16], "big"), int.from_bytes(ip[16:20], "big"), ip[9], len(segment))
    value = checksum(segment, pseudo)
    segment[field : field + 2] = (value or (0xFFFF if ip[9] == 17 else 0)).to_bytes(2, "big")
    return frame[: ETHERNET + begin] + bytes(segment) + frame[ETHERNET + total :]
