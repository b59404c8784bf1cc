"""Addresses: text at the border, integers and bytes inside."""

from __future__ import annotations

from mirage_lab.signatures.errors import LocalProtocolError

__all__ = ["BROADCAST_MAC", "end_text", "ip_int", "ip_text", "mac_bytes", "mac_text", "network"]

BROADCAST_MAC = b"\xff" * 6


def ip_text(address: int) -> str:
    """Return `10.0.0.2`."""
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def ip_int(address: str) -> int:
    """Return the address as a number; raises LocalProtocolError."""
    parts = address.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdigit() and len(part) <= 3 and int(part) < 256 for part in parts):
        return int.from_bytes(bytes(map(int, parts)), "big")
    raise LocalProtocolError(f"{address!r} is not an IPv4 address; one looks like 10.0.0.2")


def network(text: str) -> tuple[int, int]:
    """Return (address, prefix length) of `10.0.0.2/24`; without a length it is 24.  Raises LocalProtocolError."""
    address, _, prefix = text.partition("/")
    if prefix and not (prefix.isascii() and prefix.isdigit() and int(prefix) <= 32):
        raise LocalProtocolError(f"{text!r}: the prefix length is 0 to 32, as in 10.0.0.2/24")
    return ip_int(address), int(prefix or 24)


def end_text(end: tuple[str, int]) -> str:
    """Return an address and a port as `10.0.0.2:80` or, as in RFC 5952 section 6, `[2001:db8::2]:80`."""
    address, port = end
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def mac_text(mac: bytes) -> str:
    """Return `c0:ff:ee:00:00:01`."""
    return mac.hex(":")


def mac_bytes(mac: str) -> bytes:
    """Return the six bytes; raises LocalProtocolError."""
    try:
        octets = bytes.fromhex(mac.replace(":", "").replace("-", ""))
    except ValueError:
        octets = b""
    if len(octets) != 6:
        raise LocalProtocolError(f"{mac!r} is not a MAC address; one looks like c0:ff:ee:00:00:01")
    return octets
