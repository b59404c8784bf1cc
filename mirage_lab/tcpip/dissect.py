"""dissect: a frame taken apart for people, layer by layer, field by field, with the place of each field in the bytes.

It never raises: what cannot be read becomes a layer "malformed" that says why.  Texts are what Wireshark would say, short.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mirage_lab.tcpip.applications import READERS
from mirage_lab.tcpip.wire import arp, ethernet, icmp, icmpv6, ipv4, ipv6, nd, tcp, udp
from mirage_lab.tcpip.wire.address import ip_text, mac_text
from mirage_lab.tcpip.wire.address6 import ip6_text
from mirage_lab.tcpip.wire.checksum import pseudo_v4, pseudo_v6, valid
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.seq import MASK

__all__ = ["Field", "Layer", "Packet", "Tcp", "dissect"]

TEXT = 60


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name, its value as text, and where it lies in the frame (bytes)."""

    name: str
    value: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Layer:
    """A header: its name, its fields, and where it lies in the frame (bytes)."""

    name: str
    offset: int
    length: int
    fields: tuple[Field, ...]

    def __repr__(self) -> str:
        return f"{self.name}: " + ", ".join(f"{f.name} {f.value}" for f in self.fields)


@dataclass(frozen=True, slots=True)
class Tcp:
    """The numbers of a TCP segment; `length` of its data, `mss` and `wscale` as offered in a SYN, `stamps` (TSval, TSecr), `sack` edges."""

    src_port: int
    dst_port: int
    seq: int
    ack: int
    flags: int
    window: int
    length: int
    mss: int | None = None
    wscale: int | None = None
    sack_ok: bool = False
    stamps: tuple[int, int] | None = None
    sack: tuple[tuple[int, int], ...] = ()

    def info(self, seq_base: int = 0, ack_base: int = 0) -> str:
        """Return Wireshark's line, with numbers relative to the bases."""
        flags = tcp.flag_names(self.flags).replace(" ", ", ")
        told = f"{self.src_port} -> {self.dst_port} [{flags}] Seq={(self.seq - seq_base) & MASK}"
        if self.flags & tcp.ACK:
            told += f" Ack={(self.ack - ack_base) & MASK}"
        told += f" Win={self.window} Len={self.length}"
        if self.mss is not None:
            told += f" MSS={self.mss}"
        if self.wscale is not None:
            told += f" WS={1 << self.wscale}"
        if self.sack_ok:
            told += " SACK_PERM"
        if self.stamps is not None:
            told += f" TSval={self.stamps[0]} TSecr={self.stamps[1]}"
        for left, right in self.sack:
            told += f" SACK={(left - ack_base) & MASK}-{(right - ack_base) & MASK}"
        return told


@dataclass(slots=True)
class Packet:
    """A frame: addresses (IP where there is one, MAC otherwise), the innermost protocol, a line, and the layers."""

    src: str = ""
    dst: str = ""
    protocol: str = "Ethernet"
    info: str = ""
    broadcast: bool = False
    tcp: Tcp | None = None
    payload: bytes = b""
    layers: list[Layer] = field(default_factory=list)

    def __repr__(self) -> str:
        return "\n".join([f"{self.src} -> {self.dst} {self.protocol} {self.info}", *(f"  {layer!r}" for layer in self.layers)])

    def malformed(self, why: str, offset: int, size: int) -> Packet:
        """Note what could not be read."""
        self.layers.append(Layer("malformed", offset, size - offset, (Field("reason", why, offset, size - offset),)))
        self.info = f"malformed: {why}"
        return self

    def add(self, name: str, offset: int, length: int, *fields: tuple[str, object, int, int]) -> None:
        """Note a header; fields are (name, value, offset from its start, length)."""
        self.layers.append(Layer(name, offset, length, tuple(Field(f, str(value), offset + at, size) for f, value, at, size in fields)))


def dissect(frame: bytes) -> Packet:
    """Take a frame apart."""
    frame = bytes(frame)
    packet = Packet()
    try:
        head = ethernet.decode(frame)
    except WireError as error:
        return packet.malformed(str(error), 0, len(frame))
    packet.src, packet.dst = mac_text(head.src), mac_text(head.dst)
    packet.broadcast = bool(head.dst[0] & 1)
    packet.add("Ethernet", 0, 14, ("destination", packet.dst, 0, 6), ("source", packet.src, 6, 6), ("type", f"{head.ethertype:#06x}", 12, 2))
    packet.info = f"type {head.ethertype:#06x}, {len(head.payload)} bytes"
    if head.ethertype == ethernet.ARP:
        return _arp(packet, frame)
    if head.ethertype == ethernet.IPV4:
        return _ipv4(packet, frame)
    if head.ethertype == ethernet.IPV6:
        return _ipv6(packet, frame)
    return packet


def _arp(packet: Packet, frame: bytes) -> Packet:
    packet.protocol = "ARP"
    try:
        said = arp.decode(frame, 14)
    except WireError as error:
        return packet.malformed(str(error), 14, len(frame))
    spa, tpa, sha = ip_text(said.spa), ip_text(said.tpa), mac_text(said.sha)
    kind = "request" if said.op == arp.REQUEST else "reply"
    packet.add(
        "ARP",
        14,
        28,
        ("operation", f"{said.op} ({kind})", 6, 2),
        ("sender MAC", sha, 8, 6),
        ("sender IP", spa, 14, 4),
        ("target MAC", mac_text(said.tha), 18, 6),
        ("target IP", tpa, 24, 4),
    )
    packet.src = spa if said.spa else packet.src
    if not packet.broadcast:
        packet.dst = tpa
    if said.spa == said.tpa:
        packet.info = f"announcement: {spa} is at {sha}"
    elif said.op == arp.REQUEST:
        packet.info = f"who has {tpa}? tell {spa}"
    else:
        packet.info = f"{spa} is at {sha}"
    return packet


def _ipv4(packet: Packet, frame: bytes) -> Packet:
    packet.protocol = "IPv4"
    try:
        head = ipv4.decode(frame, 14)
    except WireError as error:
        return packet.malformed(str(error), 14, len(frame))
    packet.src, packet.dst = ip_text(head.src), ip_text(head.dst)
    size = head.header_length
    packet.add(
        "IPv4",
        14,
        size,
        ("version, header length", f"4, {size} bytes", 0, 1),
        ("total length", head.length, 2, 2),
        ("identification", f"{head.ident:#06x}", 4, 2),
        ("flags, fragment offset", _fragment(head.fragment), 6, 2),
        ("TTL", head.ttl, 8, 1),
        ("protocol", head.proto, 9, 1),
        ("checksum", f"0x{frame[24:26].hex()} (right)", 10, 2),
        ("source", packet.src, 12, 4),
        ("destination", packet.dst, 16, 4),
    )
    start, end = 14 + size, 14 + head.length
    packet.info = f"protocol {head.proto}, {head.length - size} bytes"
    if head.fragment & 0x3FFF:
        packet.info = f"fragment at {(head.fragment & 0x1FFF) * 8} of {packet.info}"
        return packet
    body = frame[start:end]
    reader = {ipv4.TCP: _tcp, ipv4.UDP: _udp, ipv4.ICMP: _icmp}.get(head.proto)
    return reader(packet, body, start, head) if reader else packet


def _ipv6(packet: Packet, frame: bytes) -> Packet:
    packet.protocol = "IPv6"
    try:
        head = ipv6.decode(frame, 14)
    except WireError as error:
        return packet.malformed(str(error), 14, len(frame))
    packet.src, packet.dst = ip6_text(head.src), ip6_text(head.dst)
    packet.add(
        "IPv6",
        14,
        40,
        ("version, traffic class", f"6, {head.traffic:#04x}", 0, 2),
        ("flow label", f"{head.flow:#07x}", 1, 3),
        ("payload length", head.length, 4, 2),
        ("next header", head.proto, 6, 1),
        ("hop limit", head.hops, 7, 1),
        ("source", packet.src, 8, 16),
        ("destination", packet.dst, 24, 16),
    )
    start, end = 14 + ipv6.HEADER, 14 + ipv6.HEADER + head.length
    try:
        inside = ipv6.walk(frame, head.proto, start, end, 14)
    except WireError as error:
        return packet.malformed(str(error), start, end)
    if inside.at > start:
        packet.add("extension headers", start, inside.at - start, ("leads to", inside.proto, 0, 1))
    packet.info = f"next header {inside.proto}, {end - inside.at} bytes"
    if inside.fragment is not None:
        offset, more, ident = inside.fragment
        packet.info = f"fragment at {offset} of {packet.info}, number {ident:#010x}{', more follow' if more else ''}"
        return packet
    body = frame[inside.at : end]
    reader = {ipv6.TCP: _tcp, ipv6.UDP: _udp, ipv6.ICMPV6: _icmpv6}.get(inside.proto)
    return reader(packet, body, inside.at, head) if reader else packet


def _pseudo(head: ipv4.Header | ipv6.Header) -> udp.Pseudo:
    return pseudo_v4 if isinstance(head, ipv4.Header) else pseudo_v6


def _fragment(value: int) -> str:
    names = [name for bit, name in ((ipv4.DF, "DF"), (ipv4.MF, "MF")) if value & bit]
    return f"{' '.join(names) or 'none'}, {(value & 0x1FFF) * 8}"


def _tcp(packet: Packet, body: bytes, at: int, head: ipv4.Header | ipv6.Header) -> Packet:
    packet.protocol = "TCP"
    try:
        segment = tcp.decode(body)
        options = tcp.parse_options(segment.options)
    except WireError as error:
        return packet.malformed(str(error), at, at + len(body))
    right = valid(body, _pseudo(head)(head.src, head.dst, 6, len(body)))
    size = len(body) - len(segment.payload)
    packet.tcp = found = Tcp(
        segment.src_port,
        segment.dst_port,
        segment.seq,
        segment.ack,
        segment.flags,
        segment.window,
        len(segment.payload),
        options.mss,
        options.wscale,
        options.sack_ok,
        options.stamps,
        options.sack,
    )
    packet.add(
        "TCP",
        at,
        size,
        ("source port", segment.src_port, 0, 2),
        ("destination port", segment.dst_port, 2, 2),
        ("sequence", segment.seq, 4, 4),
        ("acknowledgment", segment.ack, 8, 4),
        ("header length", f"{size} bytes", 12, 1),
        ("flags", tcp.flag_names(segment.flags), 13, 1),
        ("window", segment.window, 14, 2),
        ("checksum", f"0x{body[16:18].hex()} ({'right' if right else 'WRONG'})", 16, 2),
        *((("options", _options(found), 20, len(segment.options)),) if segment.options else ()),
    )
    packet.payload = segment.payload
    packet.info = found.info()
    if not right:
        packet.info += " [checksum wrong]"
    if segment.payload:
        packet.add("data", at + size, len(segment.payload), ("bytes", _text(segment.payload), 0, len(segment.payload)))
    return packet


def _options(found: Tcp) -> str:
    told = [f"MSS {found.mss}"] if found.mss is not None else []
    told += [f"window scale {found.wscale}"] if found.wscale is not None else []
    told += ["SACK permitted"] if found.sack_ok else []
    told += ["timestamps {} {}".format(*found.stamps)] if found.stamps is not None else []
    told += [f"SACK {left}-{right}" for left, right in found.sack]
    return ", ".join(told) or "other"


def _udp(packet: Packet, body: bytes, at: int, head: ipv4.Header | ipv6.Header) -> Packet:
    packet.protocol = "UDP"
    try:
        said = udp.decode(body, head.src, head.dst, _pseudo(head))
    except WireError as error:
        return packet.malformed(str(error), at, at + len(body))
    packet.add(
        "UDP",
        at,
        8,
        ("source port", said.src_port, 0, 2),
        ("destination port", said.dst_port, 2, 2),
        ("length", 8 + len(said.data), 4, 2),
        ("checksum", f"0x{body[6:8].hex()}", 6, 2),
    )
    packet.payload = said.data
    packet.info = f"{said.src_port} -> {said.dst_port} Len={len(said.data)}"
    if said.data and _application(packet, said, at + 8):
        return packet
    if said.data:
        packet.add("data", at + 8, len(said.data), ("bytes", _text(said.data), 0, len(said.data)))
    return packet


def _application(packet: Packet, said: udp.Datagram, at: int) -> bool:
    """Tell what a datagram of a known port says; False if it says nothing we can read."""
    reader = READERS.get(said.dst_port) or READERS.get(said.src_port)
    if reader is None:
        return False
    try:
        told = reader(said.data)
    except WireError:
        return False
    packet.protocol, packet.info = told.protocol, told.info
    packet.add(told.protocol, at, len(said.data), *told.fields)
    return True


def _icmp(packet: Packet, body: bytes, at: int, head: ipv4.Header) -> Packet:
    packet.protocol = "ICMP"
    try:
        said = icmp.decode(body)
    except WireError as error:
        return packet.malformed(str(error), at, at + len(body))
    names = {icmp.ECHO_REQUEST: "echo request", icmp.ECHO_REPLY: "echo reply", icmp.UNREACHABLE: "destination unreachable"}
    names |= {icmp.TIME_EXCEEDED: "time exceeded", icmp.PARAMETER_PROBLEM: "parameter problem", icmp.REDIRECT: "redirect"}
    codes = {0: "network", 1: "host", 2: "protocol", 3: "port", 4: "fragmentation needed"}
    packet.info = names.get(said.type, f"type {said.type}, code {said.code}")
    if said.type in (icmp.ECHO_REQUEST, icmp.ECHO_REPLY):
        packet.info += f" id={said.rest >> 16:#06x} seq={said.rest & 0xFFFF} {len(said.data)} bytes"
    elif said.type == icmp.UNREACHABLE:
        fits = f", {said.rest & 0xFFFF} bytes fit" if said.code == icmp.FRAGMENTATION_NEEDED and said.rest & 0xFFFF else ""
        packet.info += f" ({codes.get(said.code, said.code)}{fits})"
    packet.add(
        "ICMP",
        at,
        8,
        ("type", said.type, 0, 1),
        ("code", said.code, 1, 1),
        ("checksum", f"0x{body[2:4].hex()} (right)", 2, 2),
        ("rest", f"{said.rest:#010x}", 4, 4),
    )
    packet.payload = said.data
    return packet


def _icmpv6(packet: Packet, body: bytes, at: int, head: ipv6.Header) -> Packet:
    packet.protocol = "ICMPv6"
    try:
        said = icmpv6.decode(body, head.src, head.dst)
        found = nd.decode(said) if icmpv6.ROUTER_SOLICIT <= said.type <= icmpv6.NEIGHBOR_ADVERT else None
    except WireError as error:
        return packet.malformed(str(error), at, at + len(body))
    packet.info = icmpv6.NAMES.get(said.type, f"type {said.type}, code {said.code}")
    if said.type in (icmpv6.ECHO_REQUEST, icmpv6.ECHO_REPLY):
        packet.info += f" id={said.rest >> 16:#06x} seq={said.rest & 0xFFFF} {len(said.data)} bytes"
    elif said.type == icmpv6.UNREACHABLE:
        packet.info += f" ({icmpv6.UNREACHABLES.get(said.code, said.code)})"
    elif said.type == icmpv6.TOO_BIG:
        packet.info += f" (MTU {said.rest})"
    elif found is not None:
        packet.info += _discovery(found)
    packet.add(
        "ICMPv6",
        at,
        8,
        ("type", f"{said.type} ({icmpv6.NAMES.get(said.type, 'other')})", 0, 1),
        ("code", said.code, 1, 1),
        ("checksum", f"0x{body[2:4].hex()} (right)", 2, 2),
        ("rest", f"{said.rest:#010x}", 4, 4),
    )
    if isinstance(found, nd.NeighborSolicit | nd.NeighborAdvert):
        fields = ("target", ip6_text(found.target), 0, 16), ("MAC", mac_text(found.mac or b"") or "none", 16, 8)
        packet.add("neighbour discovery", at + 8, len(said.data), *fields)
    packet.payload = said.data
    return packet


def _discovery(said: nd.Message) -> str:
    """Return what a message of neighbour discovery says, short."""
    match said:
        case nd.NeighborSolicit():
            return f": who has {ip6_text(said.target)}?"
        case nd.NeighborAdvert():
            names = ((said.router, "router"), (said.solicited, "solicited"), (said.override, "override"))
            flags = ", ".join(name for on, name in names if on) or "no flags"
            return f": {ip6_text(said.target)} is at {mac_text(said.mac or b'') or 'the same place'} ({flags})"
        case nd.RouterAdvert():
            prefixes = "".join(f", prefix {ip6_text(prefix.address)}/{prefix.length}" for prefix in said.prefixes)
            return f": a router for {said.lifetime} s{prefixes}" + (f", MTU {said.mtu}" if said.mtu is not None else "")
        case nd.RouterSolicit():
            return ": which routers are here?"


def _text(data: bytes) -> str:
    """Return the beginning of `data`: text if it is, escaped, else hex."""
    head = data[:TEXT]
    printable = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in head) == len(head)
    told = head.decode("ascii").encode("unicode_escape").decode() if printable else head.hex(" ")
    return told + (f" … {len(data):,} bytes" if len(data) > TEXT else "")
