"""applications: what a DHCP or DNS message says, for people: a line, and its fields with their places in the message.

The words of the lines are Wireshark's, short: `query 0x1234 A www.example.org`, `Offer - xid 0x00000007, 10.0.0.100`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mirage_lab.tcpip.wire import dhcp, dns, dnsname
from mirage_lab.tcpip.wire.address import ip_text, mac_text
from mirage_lab.tcpip.wire.dhcp import Option
from mirage_lab.tcpip.wire.dns import Rcode, Type, type_text

__all__ = ["READERS", "Told"]

ANSWERS: Final = 4
"""Records told in a line."""

LONGEST: Final = 80
"""Characters of a name in a line."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message: its protocol, its line, and fields: name, value, offset, length."""

    protocol: str
    info: str
    fields: tuple[tuple[str, object, int, int], ...]


def _name(of: dnsname.Name) -> str:
    text = dnsname.text(of).removesuffix(".") or "."
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _data(record: dns.Record) -> str:
    match record.type:
        case Type.A:
            return " " + ip_text(int.from_bytes(record.data, "big"))
        case Type.CNAME | Type.NS | Type.PTR:
            return " " + _name(dnsname.decode(record.data, 0)[0])
        case Type.MX:
            return " " + _name(dnsname.decode(record.data, 2)[0])
    return ""


def tell_dns(data: bytes) -> Told:
    """Tell a DNS message; raises WireError."""
    said = dns.decode(data)
    kind = "answer" if said.response else "query"
    asked = ", ".join(f"{type_text(question.type)} {_name(question.name)}" for question in said.questions[:ANSWERS])
    info = f"{kind} {said.id:#06x} {asked}".rstrip()
    if said.rcode:
        info += f": {Rcode.NAMES.get(said.rcode, f'rcode {said.rcode}')}"
    refers = said.response and not said.answers and not said.aa and any(record.type == Type.NS for record in said.authority)
    shown = said.authority if refers else said.answers
    told = [f"{type_text(record.type)}{_data(record)}" for record in shown[:ANSWERS]]
    if told:
        info += (": ask" if refers else ":") + " " + ", ".join(told) + (", …" if len(shown) > ANSWERS else "")
    if said.tc:
        info += " [truncated]"
    names = (("AA", said.aa), ("TC", said.tc), ("RD", said.rd), ("RA", said.ra))
    flags = " ".join(name for name, on in names if on) or "none"
    counts = (len(said.questions), len(said.answers), len(said.authority), data[10] << 8 | data[11])
    return Told(
        "DNS",
        info,
        (
            ("number", f"{said.id:#06x}", 0, 2),
            ("flags", f"{kind}, {flags}, {Rcode.NAMES.get(said.rcode, said.rcode)}", 2, 2),
            ("questions", counts[0], 4, 2),
            ("answers", counts[1], 6, 2),
            ("authority", counts[2], 8, 2),
            ("additional", counts[3], 10, 2),
            ("sections", asked or "none", 12, len(data) - 12),
        ),
    )


def tell_dhcp(data: bytes) -> Told:
    """Tell a DHCP message; raises WireError."""
    said = dhcp.decode(data)
    wanted = dhcp.address(said, Option.REQUESTED)
    about = said.yiaddr or wanted or said.ciaddr
    info = f"{said.name} - xid {said.xid:#010x}" + (f", {ip_text(about)}" if about else "")
    codes = ", ".join(str(code) for code, _ in said.options)
    mac = mac_text(said.chaddr) if len(said.chaddr) == 6 else said.chaddr.hex()
    return Told(
        "DHCP",
        info,
        (
            ("operation", f"{said.op} ({'request' if said.op == dhcp.REQUEST else 'reply'})", 0, 1),
            ("xid", f"{said.xid:#010x}", 4, 4),
            ("seconds", said.secs, 8, 2),
            ("flags", "broadcast" if said.flags & dhcp.BROADCAST_FLAG else "none", 10, 2),
            ("client IP", ip_text(said.ciaddr), 12, 4),
            ("your IP", ip_text(said.yiaddr), 16, 4),
            ("server IP", ip_text(said.siaddr), 20, 4),
            ("relay IP", ip_text(said.giaddr), 24, 4),
            ("client MAC", mac, 28, 16),
            ("message type", said.name, dhcp.HEADER + 4, len(data) - dhcp.HEADER - 4),
            ("options", codes or "none", dhcp.HEADER + 4, len(data) - dhcp.HEADER - 4),
        ),
    )


READERS: Final[dict[int, Callable[[bytes], Told]]] = {dns.PORT: tell_dns, dhcp.SERVER: tell_dhcp, dhcp.CLIENT: tell_dhcp}
"""Who reads the datagrams of a port; each raises WireError."""
