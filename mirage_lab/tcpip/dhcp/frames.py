"""frames: a DHCP message as a whole frame: there may be no address to send from, and nobody to ask for the receiver's station."""

from __future__ import annotations

from mirage_lab.tcpip.wire import ipv4, udp
from mirage_lab.tcpip.wire.ethernet import IPV4

__all__ = ["frame"]


def frame(src_mac: bytes, dst_mac: bytes, src: int, dst: int, ports: tuple[int, int], data: bytes, ttl: int = 64) -> bytes:
    """Return the Ethernet frame with the datagram `data` from `src` to `dst`, from and to these ports."""
    datagram = udp.encode(udp.Datagram(*ports, data), src, dst)
    header = ipv4.Header(src, dst, ipv4.UDP, ipv4.HEADER + len(datagram), fragment=0, ttl=ttl)
    return dst_mac + src_mac + IPV4.to_bytes(2, "big") + ipv4.encode(header) + datagram
