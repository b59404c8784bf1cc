"""The display filter: what it lets through, and what it says when it cannot be read."""

from __future__ import annotations

import pytest

from mirage_lab.signatures.errors import MirageError
from mirage_lab.tcpip.displayfilter import FilterError, compile_filter
from mirage_lab.tcpip.wire import arp, ethernet, icmp, ipv4, tcp, udp
from mirage_lab.tcpip.wire.address import ip_int
from mirage_lab.tcpip.wire.checksum import pseudo_v4

A, B = bytes.fromhex("00163e000001"), bytes.fromhex("00163e000002")
SRC, DST = ip_int("10.0.0.1"), ip_int("10.0.0.2")
MS = 1_000_000


def ip(proto: int, body: bytes, fragment: int = 0x4000) -> bytes:
    return ethernet.encode(ethernet.Frame(B, A, 0x0800, ipv4.encode(ipv4.Header(SRC, DST, proto, 20 + len(body), ident=7, fragment=fragment)) + body))


ARP = ethernet.encode(ethernet.Frame(b"\xff" * 6, A, 0x0806, arp.encode(arp.Arp(1, A, SRC, bytes(6), DST))))
SYN = ip(6, tcp.encode(tcp.Segment(49_152, 80, 100, 0, tcp.SYN, 65_535, tcp.Options(1_460, 3).encode()), pseudo_v4(SRC, DST, 6, 0)))
GET = ip(6, tcp.encode(tcp.Segment(49_152, 80, 101, 7, tcp.ACK | tcp.PSH, 512, b"", b"GET / HTTP/1.1\r\n"), pseudo_v4(SRC, DST, 6, 0)))
DATAGRAM = ip(17, udp.encode(udp.Datagram(53, 5_353, b"hello"), SRC, DST))
PING = ip(1, icmp.encode(icmp.Icmp(8, 0, 0x1234_0001, bytes(56))))
ERROR = ip(1, icmp.encode(icmp.Icmp(3, 1, 0, SYN[14:42])))
FRAMES = {"arp": ARP, "syn": SYN, "get": GET, "udp": DATAGRAM, "ping": PING, "error": ERROR, "runt": GET[:10], "cut": GET[:40]}


def shown(text: str) -> str:
    """Return the names of the frames that pass; the Nth was seen N * 100 ms after the first."""
    found = compile_filter(text)
    return " ".join(name for n, (name, frame) in enumerate(FRAMES.items(), 1) if found.matches(n, (n - 1) * 100 * MS, frame))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", " ".join(FRAMES)),
        ("tcp.port == 80", "syn get error cut"),
        ("tcp.port == 80 and tcp.len > 0", "get"),
    ],
)
def test_a_filter_lets_the_frames_through_that_it_names(text: str, names: str) -> None:
    assert shown(text) == names


def test_an_error_points_at_the_place() -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter("ip and tcp.prot == 80")
    assert isinstance(caught.value, MirageError)
    assert (caught.value.at, caught.value.length) == (7, 8)
    assert str(caught.value) == "no field tcp.prot; near it: tcp.port, ip.proto, tcp.srcport\n  ip and tcp.prot == 80\n         ^~~~~~~~"
