"""fields: what a filter can name: each field with its kind, what it says, and how it is read from the bytes.

A reader returns all values of its field in a frame, none when the frame has none: `ip.addr` has two, and more in an ICMP
error, which quotes a datagram.  Names, values and presence are Wireshark's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mirage_lab.tcpip.displayfilter.applications import APPLICATIONS
from mirage_lab.tcpip.displayfilter.kinds import Field, Kind, Reader, a
from mirage_lab.tcpip.displayfilter.places import ARP, ETH, ICMP, ICMP6, IP, IP6, QUOTED, TCP, UDP, WHOLE, Seen

__all__ = ["FIELDS", "Field", "Kind", "Reader", "a"]

_ECHO: Final = frozenset({0, 8, 13, 14, 15, 16, 17, 18})
"""ICMP types with an identifier and a sequence number."""


def _u8(layer: int, offset: int, needs: int = 0, shift: int = 0, mask: int = 0xFF) -> Reader:
    needs = needs or offset + 1

    def read(seen: Seen) -> list[int]:
        frame = seen.frame
        return [frame[at + offset] >> shift & mask for at, shown, _, _ in seen.places[layer] if shown >= needs]

    return read


def _u16(layer: int, offset: int, needs: int = 0, mask: int = 0xFFFF, shift: int = 0) -> Reader:
    needs, after = needs or offset + 2, offset + 1

    def read(seen: Seen) -> list[int]:
        frame = seen.frame
        return [(frame[at + offset] << 8 | frame[at + after]) >> shift & mask for at, shown, _, _ in seen.places[layer] if shown >= needs]

    return read


def _u32(layer: int, offset: int, needs: int = 0) -> Reader:
    needs = needs or offset + 4

    def read(seen: Seen) -> list[int]:
        frame = seen.frame
        return [int.from_bytes(frame[at + offset : at + offset + 4], "big") for at, shown, _, _ in seen.places[layer] if shown >= needs]

    return read


def _u128(layer: int, offset: int) -> Reader:
    def read(seen: Seen) -> list[int]:
        return [int.from_bytes(seen.frame[at + offset : at + offset + 16], "big") for at, shown, _, _ in seen.places[layer] if shown >= offset + 16]

    return read


def _target(kind: int) -> Reader:
    """Return a reader of the target of a neighbour solicitation (135) or advertisement (136)."""

    def read(seen: Seen) -> list[int]:
        frame = seen.frame
        return [int.from_bytes(frame[at + 8 : at + 24], "big") for at, shown, _, _ in seen.places[ICMP6] if shown >= 24 and frame[at] == kind]

    return read


def _echo6(offset: int) -> Reader:
    def read(seen: Seen) -> list[int]:
        frame = seen.frame
        return [frame[at + offset] << 8 | frame[at + offset + 1] for at, shown, _, _ in seen.places[ICMP6] if shown >= 8 and frame[at] in (128, 129)]

    return read


def _part(layer: int, offset: int, size: int, needs: int = 0) -> Reader:
    needs = needs or offset + size

    def read(seen: Seen) -> list[bytes]:
        frame = seen.frame
        return [frame[at + offset : at + offset + size] for at, shown, _, _ in seen.places[layer] if shown >= needs]

    return read


def _both(one: Reader, other: Reader) -> Reader:
    def read(seen: Seen) -> list[Any]:
        return [*one(seen), *other(seen)]

    return read


def _all(layer: int) -> Reader:
    """Return a reader of a layer from its header on to the end of its data."""

    def read(seen: Seen) -> list[bytes]:
        return [seen.frame[at:end] for at, _, end, _ in seen.places[layer]]

    return read


def _header(layer: int, size: Callable[[bytes, int, int], int]) -> Reader:
    """Return a reader of a layer's header, whose size `size` tells from the frame, the place and the bytes there are."""

    def read(seen: Seen) -> list[bytes]:
        frame = seen.frame
        return [frame[at : at + min(end - at, size(frame, at, end - at))] for at, _, end, _ in seen.places[layer]]

    return read


def _stream(seen: Seen) -> list[int]:
    return [seen.flow[0]] if seen.flow is not None else []


def _seq(seen: Seen) -> list[int]:
    """Read the relative number; of a segment that an ICMP error quotes eight bytes of, the number as sent."""
    if seen.flow is not None:
        return [seen.flow[1]]
    return [int.from_bytes(seen.frame[at + 4 : at + 8], "big") for at, _, end, role in seen.places[TCP] if role == QUOTED and 8 <= end - at < 16]


def _ack(seen: Seen) -> list[int]:
    return [seen.flow[2] for _, shown, _, _ in seen.places[TCP] if seen.flow is not None and shown >= 16]


def _seq_raw(seen: Seen) -> list[int]:
    frame = seen.frame
    return [int.from_bytes(frame[at + 4 : at + 8], "big") for at, _, end, role in seen.places[TCP] if end - at >= 16 and role != QUOTED]


def _tcp_len(seen: Seen) -> list[int]:
    found = []
    for at, _, end, role in seen.places[TCP]:
        if end - at >= 16 and role == WHOLE and (length := end - at - (seen.frame[at + 12] >> 4) * 4) >= 0:
            found.append(length)
    return found


def _tcp_header(seen: Seen) -> list[int]:
    return [(seen.frame[at + 12] >> 4) * 4 for at, _, end, _ in seen.places[TCP] if end - at >= 16]


def _tcp_payload(seen: Seen) -> list[bytes]:
    found = []
    for at, shown, end, _ in seen.places[TCP]:
        if shown >= 20 and not seen.frame[at + 13] & 4 and (begin := at + (seen.frame[at + 12] >> 4) * 4) < end:
            found.append(seen.frame[begin:end])
    return found


def _udp_payload(seen: Seen) -> list[bytes]:
    frame = seen.frame
    return [frame[at + 8 : end] for at, shown, end, _ in seen.places[UDP] if shown > 8 and (frame[at + 4] or frame[at + 5] > 8)]


def _ip_header(seen: Seen) -> list[int]:
    return [(seen.frame[at] & 15) * 4 for at, _, _, _ in seen.places[IP] if seen.frame[at] >> 4 == 4]


def _ip_len(seen: Seen) -> list[int]:
    """Read the total length; 0 is what a sending machine writes when its network card is to cut the datagram."""
    frame = seen.frame
    return [frame[at + 2] << 8 | frame[at + 3] or end - at for at, shown, end, _ in seen.places[IP] if shown >= 4]


def _arp_mac(target: bool) -> Reader:
    def read(seen: Seen) -> list[bytes]:
        return [seen.frame[begin : begin + 6] for begin in _arp_at(seen, 0, (1, 6), 4, 6, target)]

    return read


def _arp_ipv4(target: bool) -> Reader:
    def read(seen: Seen) -> list[int]:
        return [int.from_bytes(seen.frame[begin : begin + 4], "big") for begin in _arp_at(seen, 2, (0x0800,), 5, 4, target)]

    return read


def _arp_at(seen: Seen, kind_at: int, kinds: tuple[int, ...], size_at: int, size: int, target: bool) -> list[int]:
    """Find an address of these kinds (Ethernet and IEEE 802, IPv4) and this size; RFC 826 lets both kinds of address have any size."""
    frame = seen.frame
    found = []
    for at, shown, _, _ in seen.places[ARP]:
        if shown >= 8 and frame[at + kind_at] << 8 | frame[at + kind_at + 1] in kinds and frame[at + size_at] == size:
            mac, address = frame[at + 4], frame[at + 5]
            if shown >= 8 + 2 * (mac + address):
                found.append(at + 8 + (mac if size_at == 5 else 0) + (mac + address if target else 0))
    return found


def _option(kind: int, size: int, offset: int, width: int) -> Reader:
    """Return a reader of `width` bytes at `offset` in the TCP options of this kind that are `size` long."""

    def read(seen: Seen) -> list[int]:
        found: list[int] = []
        frame = seen.frame
        for at, shown, end, _ in seen.places[TCP]:
            if shown < 20:
                continue
            stop = at + (frame[at + 12] >> 4) * 4
            at += 20
            while at < min(stop, end) and frame[at]:
                if frame[at] == 1:
                    at += 1
                    continue
                length = frame[at + 1] if at + 1 < min(stop, end) else 0
                if length < 2 or at + length > stop:
                    break
                if frame[at] == kind and length == size and at + offset + width <= end:
                    found.append(int.from_bytes(frame[at + offset : at + offset + width], "big"))
                at += length
        return found

    return read


def _icmp_echo(offset: int) -> Reader:
    def read(seen: Seen) -> list[int]:
        frame = seen.frame
        return [
            frame[at + offset] << 8 | frame[at + offset + 1] for at, shown, _, _ in seen.places[ICMP] if shown >= offset + 2 and frame[at] in _ECHO
        ]

    return read


def _number(name: str, bits: int, about: str, read: Reader) -> Field:
    return Field(name, Kind.NUMBER, about, read, (1 << bits) - 1)


def _layer(name: str, about: str, layer: int, size: Callable[[bytes, int, int], int]) -> Field:
    return Field(name, Kind.LAYER, about, _header(layer, size), all=_all(layer))


def _flag(name: str, about: str, read: Reader) -> Field:
    return Field(name, Kind.FLAG, about, read, 1)


_ETH_DST: Final = _part(ETH, 0, 6)
_ETH_SRC: Final = _part(ETH, 6, 6)
_IP_SRC: Final = _u32(IP, 12)
_IP_DST: Final = _u32(IP, 16)
_IP6_SRC: Final = _u128(IP6, 8)
_IP6_DST: Final = _u128(IP6, 24)
_UDP_SRC: Final = _u16(UDP, 0)
_UDP_DST: Final = _u16(UDP, 2)
_TCP_SRC: Final = _u16(TCP, 0)
_TCP_DST: Final = _u16(TCP, 2)

_ALL: Final = (
    Field("frame", Kind.LAYER, "the whole frame", lambda seen: (seen.frame,)),
    _number("frame.number", 32, "its number, from 1", lambda seen: (seen.n,)),
    _number("frame.len", 32, "its length, bytes", lambda seen: (len(seen.frame),)),
    Field("frame.time_relative", Kind.SECONDS, "seconds since the first frame", lambda seen: (seen.t_ns,)),
    _layer("eth", "Ethernet", ETH, lambda frame, at, have: 14),
    Field("eth.dst", Kind.MAC, "where it goes", _ETH_DST),
    Field("eth.src", Kind.MAC, "where it comes from", _ETH_SRC),
    Field("eth.addr", Kind.MAC, "either of the two", _both(_ETH_DST, _ETH_SRC)),
    _number("eth.type", 16, "what it carries: 0x0800 is IPv4, 0x86dd IPv6, 0x0806 ARP", _u16(ETH, 12)),
    _layer("arp", "ARP", ARP, lambda frame, at, have: 8 + 2 * (frame[at + 4] + frame[at + 5]) if have >= 8 else have),
    _number("arp.opcode", 16, "1 asks, 2 answers", _u16(ARP, 6)),
    Field("arp.src.hw_mac", Kind.MAC, "the sender's MAC address", _arp_mac(target=False)),
    Field("arp.src.proto_ipv4", Kind.ADDRESS, "the sender's IPv4 address", _arp_ipv4(target=False)),
    Field("arp.dst.hw_mac", Kind.MAC, "the MAC address asked for", _arp_mac(target=True)),
    Field("arp.dst.proto_ipv4", Kind.ADDRESS, "the IPv4 address asked for", _arp_ipv4(target=True)),
    _layer("ip", "IPv4", IP, lambda frame, at, have: (frame[at] & 15) * 4),
    _number("ip.version", 4, "4", _u8(IP, 0, shift=4)),
    _number("ip.hdr_len", 8, "header length, bytes", _ip_header),
    _number("ip.len", 16, "total length, bytes", _ip_len),
    _number("ip.id", 16, "identification", _u16(IP, 4)),
    _flag("ip.flags.df", "do not fragment", _u8(IP, 6, needs=8, shift=6, mask=1)),
    _flag("ip.flags.mf", "more fragments follow", _u8(IP, 6, needs=8, shift=5, mask=1)),
    _number("ip.frag_offset", 13, "where in its datagram a fragment lies, in units of 8 bytes", _u16(IP, 6, 8, 0x1FFF)),
    _number("ip.ttl", 8, "time to live", _u8(IP, 8)),
    _number("ip.proto", 8, "what it carries: 1 is ICMP, 6 TCP, 17 UDP", _u8(IP, 9)),
    _number("ip.checksum", 16, "header checksum", _u16(IP, 10)),
    Field("ip.src", Kind.ADDRESS, "where it comes from", _IP_SRC),
    Field("ip.dst", Kind.ADDRESS, "where it goes", _IP_DST),
    Field("ip.addr", Kind.ADDRESS, "either of the two", _both(_IP_SRC, _IP_DST)),
    _layer("icmp", "ICMP", ICMP, lambda frame, at, have: have),
    _number("icmp.type", 8, "8 asks for an echo, 0 is one, 3 unreachable, 11 time exceeded", _u8(ICMP, 0)),
    _number("icmp.code", 8, "what of this type", _u8(ICMP, 1)),
    _number("icmp.checksum", 16, "checksum", _u16(ICMP, 2)),
    _number("icmp.ident", 16, "identifier of an echo", _icmp_echo(4)),
    _number("icmp.seq", 16, "sequence number of an echo", _icmp_echo(6)),
    _layer("ipv6", "IPv6", IP6, lambda frame, at, have: 40),
    _number("ipv6.version", 4, "6", _u8(IP6, 0, shift=4)),
    _number("ipv6.tclass.ecn", 2, "what routers say of congestion", _u8(IP6, 1, needs=4, shift=4, mask=3)),
    _number("ipv6.plen", 16, "length of what follows the header, bytes", _u16(IP6, 4)),
    _number("ipv6.nxt", 8, "what follows: 6 is TCP, 17 UDP, 44 a fragment, 58 ICMPv6", _u8(IP6, 6)),
    _number("ipv6.hlim", 8, "hop limit", _u8(IP6, 7)),
    Field("ipv6.src", Kind.ADDRESS6, "where it comes from", _IP6_SRC),
    Field("ipv6.dst", Kind.ADDRESS6, "where it goes", _IP6_DST),
    Field("ipv6.addr", Kind.ADDRESS6, "either of the two", _both(_IP6_SRC, _IP6_DST)),
    _layer("icmpv6", "ICMPv6", ICMP6, lambda frame, at, have: have),
    _number("icmpv6.type", 8, "128 asks for an echo, 129 is one, 133 to 136 find routers and neighbours, 1 unreachable", _u8(ICMP6, 0)),
    _number("icmpv6.code", 8, "what of this type", _u8(ICMP6, 1)),
    _number("icmpv6.checksum", 16, "checksum", _u16(ICMP6, 2)),
    _number("icmpv6.echo.identifier", 16, "identifier of an echo", _echo6(4)),
    _number("icmpv6.echo.sequence_number", 16, "sequence number of an echo", _echo6(6)),
    Field("icmpv6.nd.ns.target_address", Kind.ADDRESS6, "who is asked for", _target(135)),
    Field("icmpv6.nd.na.target_address", Kind.ADDRESS6, "who answers", _target(136)),
    _layer("udp", "UDP", UDP, lambda frame, at, have: 8),
    _number("udp.srcport", 16, "source port", _UDP_SRC),
    _number("udp.dstport", 16, "destination port", _UDP_DST),
    _number("udp.port", 16, "either of the two", _both(_UDP_SRC, _UDP_DST)),
    _number("udp.length", 16, "length with the header, bytes", _u16(UDP, 4)),
    _number("udp.checksum", 16, "checksum", _u16(UDP, 6)),
    Field("udp.payload", Kind.BYTES, "the data", _udp_payload),
    _layer("tcp", "TCP", TCP, lambda frame, at, have: (frame[at + 12] >> 4) * 4 if have > 12 else have),
    _number("tcp.srcport", 16, "source port", _TCP_SRC),
    _number("tcp.dstport", 16, "destination port", _TCP_DST),
    _number("tcp.port", 16, "either of the two", _both(_TCP_SRC, _TCP_DST)),
    Field("tcp.stream", Kind.NUMBER, "the number of its connection, from 0", _stream, (1 << 32) - 1, follows=True),
    Field("tcp.seq", Kind.NUMBER, "sequence number, relative to the first of its direction", _seq, (1 << 32) - 1, follows=True),
    Field("tcp.ack", Kind.NUMBER, "acknowledgment number, relative to the other direction's first", _ack, (1 << 32) - 1, follows=True),
    _number("tcp.seq_raw", 32, "sequence number as sent", _seq_raw),
    _number("tcp.ack_raw", 32, "acknowledgment number as sent", _u32(TCP, 8, 16)),
    _number("tcp.hdr_len", 8, "header length, bytes", _tcp_header),
    _number("tcp.len", 32, "length of the data, bytes", _tcp_len),
    _number("tcp.flags", 16, "all flags: 0x002 is SYN, 0x012 SYN and ACK", _u16(TCP, 12, 16, 0xFFF)),
    *(
        _flag(f"tcp.flags.{name}", about, _u8(TCP, 13, needs=16, shift=shift, mask=1))
        for shift, name, about in (
            (0, "fin", "FIN: no more data"),
            (1, "syn", "SYN: a connection begins"),
            (2, "reset", "RST: a connection is refused or broken off"),
            (3, "push", "PSH: give it to the application"),
            (4, "ack", "ACK: the acknowledgment number is valid"),
            (5, "urg", "URG: the urgent pointer is valid"),
            (6, "ece", "ECE: congestion was met"),
            (7, "cwr", "CWR: the window was reduced"),
        )
    ),
    _number("tcp.window_size_value", 16, "window as sent, not scaled", _u16(TCP, 14)),
    _number("tcp.checksum", 16, "checksum", _u16(TCP, 16)),
    _number("tcp.urgent_pointer", 16, "urgent pointer", _u16(TCP, 18)),
    _number("tcp.options.mss_val", 16, "largest segment its sender takes", _option(2, 4, 2, 2)),
    _number("tcp.options.wscale.shift", 8, "shift of the window, in a SYN", _option(3, 3, 2, 1)),
    _number("tcp.options.timestamp.tsval", 32, "time of the sender", _option(8, 10, 2, 4)),
    _number("tcp.options.timestamp.tsecr", 32, "time echoed", _option(8, 10, 6, 4)),
    Field("tcp.payload", Kind.BYTES, "the data", _tcp_payload),
)

FIELDS: Final = {field.name: field for field in (*_ALL, *APPLICATIONS)}
"""Every field by its name."""
