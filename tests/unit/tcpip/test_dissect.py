"""Frames are taken apart for people, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.tcpip.dissect import dissect
from mirage_lab.tcpip.wire import arp, dhcp, dns, ethernet, icmp, ipv4, tcp, udp
from mirage_lab.tcpip.wire.address import ip_int
from mirage_lab.tcpip.wire.checksum import pseudo_v4

A, B = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
SRC, DST = ip_int("10.0.0.1"), ip_int("10.0.0.2")


def ip(proto: int, body: bytes) -> bytes:
    return ethernet.encode(ethernet.Frame(B, A, 0x0800, ipv4.encode(ipv4.Header(SRC, DST, proto, 20 + len(body))) + body))


WWW = (b"www", b"example", b"org")
ANSWER = dns.Message(
    7, (dns.Question(WWW, 1),), (dns.Record(WWW, 5, 60, b"\3web\0"), dns.Record((b"web",), 1, 60, DST.to_bytes(4, "big"))), response=True, aa=True
)  # fmt: skip
MX = dns.Record(WWW, 15, 1, b"\0\x0a\1m\0")
OFFER = dhcp.Message(dhcp.REPLY, 7, A, ((53, b"\x02"),), yiaddr=DST)
FRAMES = {
    "arp": ethernet.encode(ethernet.Frame(b"\xff" * 6, A, 0x0806, arp.encode(arp.Arp(1, A, SRC, bytes(6), DST)))),
    "syn": ip(6, tcp.encode(tcp.Segment(49_152, 80, 100, 0, tcp.SYN, 65_535, tcp.Options(1_460, 3).encode()), pseudo_v4(SRC, DST, 6, 0))),
    "data": ip(6, tcp.encode(tcp.Segment(49_152, 80, 101, 7, tcp.ACK | tcp.PSH, 512, b"", b"GET / HTTP/1.1\r\n"), pseudo_v4(SRC, DST, 6, 0))),
    "udp": ip(17, udp.encode(udp.Datagram(53, 5_353, b"hello"), SRC, DST)),
    "dns": ip(17, udp.encode(udp.Datagram(5_000, 53, dns.encode(dns.query(0x1234, (b"www", b"example", b"org"), 1))), SRC, DST)),
    "answer": ip(17, udp.encode(udp.Datagram(53, 5_000, dns.encode(ANSWER)), SRC, DST)),
    "dhcp": ip(17, udp.encode(udp.Datagram(67, 68, dhcp.encode(OFFER)), SRC, DST)),
    "icmp": ip(1, icmp.encode(icmp.Icmp(8, 0, 0x1234_0001, bytes(56)))),
}


@pytest.mark.parametrize(
    ("name", "protocol", "info"),
    [
        ("arp", "ARP", "who has 10.0.0.2? tell 10.0.0.1"),
        ("syn", "TCP", "49152 -> 80 [SYN] Seq=100 Win=65535 Len=0 MSS=1460 WS=8"),
        ("data", "TCP", "49152 -> 80 [PSH, ACK] Seq=101 Ack=7 Win=512 Len=16"),
        ("udp", "UDP", "53 -> 5353 Len=5"),
        ("dns", "DNS", "query 0x1234 A www.example.org"),
        ("answer", "DNS", "answer 0x0007 A www.example.org: CNAME web, A 10.0.0.2"),
        ("dhcp", "DHCP", "Offer - xid 0x00000007, 10.0.0.2"),
        ("icmp", "ICMP", "echo request id=0x1234 seq=1 56 bytes"),
    ],
)
def test_a_frame_is_told_in_one_line(name: str, protocol: str, info: str) -> None:
    packet = dissect(FRAMES[name])
    assert (packet.src, packet.protocol, packet.info) == ("10.0.0.1", protocol, info)


@pytest.mark.parametrize("name", FRAMES)
def test_every_field_lies_inside_its_frame(name: str) -> None:
    frame = FRAMES[name]
    for layer in dissect(frame).layers:
        assert 0 <= layer.offset <= layer.offset + layer.length <= len(frame)
        for field in layer.fields:
            assert layer.offset <= field.offset <= field.offset + field.length <= len(frame)


@pytest.mark.parametrize("name", FRAMES)
def test_every_truncation_is_told_and_never_raises(name: str) -> None:
    for length in range(len(FRAMES[name])):
        packet = dissect(FRAMES[name][:length])
        assert packet.layers[-1].name == "malformed"


def test_a_wrong_checksum_is_said() -> None:
    assert dissect(FRAMES["data"][:-1] + b"X").info.endswith("[checksum wrong]")


@given(st.binary(max_size=120), st.sampled_from(sorted(FRAMES)), st.integers(0, 60))
def test_any_bytes_have_a_picture(noise: bytes, name: str, at: int) -> None:
    frame = FRAMES[name]
    assert repr(dissect(noise)) and repr(dissect(frame[:at] + noise + frame[at + len(noise) :]))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (dns.Message(1, (dns.Question(WWW, 1),), response=True, rcode=3), "answer 0x0001 A www.example.org: no such name"),
        (dns.Message(1, (dns.Question((), 2),), authority=(dns.Record(WWW, 2, 1, b"\2ns\0"),), response=True), "answer 0x0001 NS .: ask NS ns"),
        (dns.Message(1, (dns.Question(WWW, 16),), response=True, tc=True), "answer 0x0001 TXT www.example.org [truncated]"),
        (dns.Message(1, (dns.Question(WWW, 15),), (MX,) * 5, response=True), "answer 0x0001 MX www.example.org: " + "MX m, " * 4 + "…"),
    ],
)
def test_answers_are_told_by_what_they_say(message: dns.Message, told: str) -> None:
    assert dissect(ip(17, udp.encode(udp.Datagram(53, 5_000, dns.encode(message)), SRC, DST))).info == told
