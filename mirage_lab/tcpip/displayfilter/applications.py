"""applications: the fields of DNS and DHCP, in datagrams to and from their ports.

A message that cannot be read as a whole has no fields, and messages over TCP have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from mirage_lab.tcpip.displayfilter.kinds import Field, Kind, Reader
from mirage_lab.tcpip.displayfilter.places import UDP, WHOLE, Seen
from mirage_lab.tcpip.wire import dhcp, dns, dnsname
from mirage_lab.tcpip.wire.dhcp import Option
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["APPLICATIONS"]

M = TypeVar("M", dns.Message, dhcp.Message)


def _payloads(seen: Seen, ports: tuple[int, ...]) -> list[bytes]:
    """Return the data of the datagrams of these ports."""
    frame, found = seen.frame, []
    for at, shown, end, role in seen.places[UDP]:
        if shown > 8 and role == WHOLE and (frame[at] << 8 | frame[at + 1] in ports or frame[at + 2] << 8 | frame[at + 3] in ports):
            found.append(frame[at + 8 : min(end, at + (frame[at + 4] << 8 | frame[at + 5]))])
    return found


def _reader(ports: tuple[int, ...], decode: Callable[[bytes], M]) -> Callable[[Callable[[M], Sequence[Any]]], Reader]:
    def reader(values: Callable[[M], Sequence[Any]]) -> Reader:
        def read(seen: Seen) -> list[Any]:
            found: list[Any] = []
            for data in _payloads(seen, ports):
                try:
                    found += values(decode(data))
                except WireError:
                    continue
            return found

        return read

    return reader


_dns = _reader((dns.PORT,), dns.decode)
_dhcp = _reader((dhcp.CLIENT, dhcp.SERVER), dhcp.decode)


def _layer(ports: tuple[int, ...], decode: Callable[[bytes], Any]) -> Reader:
    """Return a reader of whole messages."""

    def read(seen: Seen) -> list[bytes]:
        found = []
        for data in _payloads(seen, ports):
            try:
                decode(data)
            except WireError:
                continue
            found.append(data)
        return found

    return read


def _name(of: dnsname.Name) -> str:
    """Return a name as tshark writes it: without the dot at its end, the root as <Root>."""
    return dnsname.text(of).removesuffix(".") or "<Root>"


def _records(message: dns.Message, kind: int | None = None) -> list[dns.Record]:
    return [record for record in (*message.answers, *message.authority, *message.additional) if kind is None or record.type == kind]


def _targets(kind: int) -> Reader:
    return _dns(lambda m: [_name(dnsname.decode(record.data, 0)[0]) for record in _records(m, kind)])


def _address(code: int) -> Reader:
    return _dhcp(lambda m: [found] if (found := dhcp.address(m, code)) is not None else [])


def _number(code: int) -> Reader:
    return _dhcp(lambda m: [found] if (found := dhcp.number(m, code)) is not None else [])


def _text(code: int) -> Reader:
    return _dhcp(lambda m: [found.decode("utf-8", "replace")] if (found := m.option(code)) is not None else [])


def _macs(message: dhcp.Message) -> list[bytes]:
    """Return the client's address, and again what its identifier says, if that is one (RFC 2132 section 9.14)."""
    identifier = message.option(Option.CLIENT_ID) or b""
    found = [message.chaddr] if message.htype == 1 and len(message.chaddr) == 6 else []
    return [*found, identifier[1:]] if identifier[:1] == b"\1" and len(identifier) == 7 else found


def _answers(value: Callable[[dns.Message], int]) -> Reader:
    """Return a reader of what only answers have."""
    return _dns(lambda m: [value(m)] if m.response else [])


APPLICATIONS: Final = (
    Field("dns", Kind.LAYER, "DNS over UDP", _layer((dns.PORT,), dns.decode)),
    Field("dns.id", Kind.NUMBER, "the number that an answer repeats", _dns(lambda m: [m.id]), 0xFFFF),
    Field("dns.flags.response", Kind.FLAG, "an answer", _dns(lambda m: [int(m.response)]), 1),
    Field("dns.flags.opcode", Kind.NUMBER, "0 asks", _dns(lambda m: [m.opcode]), 15),
    Field("dns.flags.authoritative", Kind.FLAG, "AA: by a server of the zone", _answers(lambda m: int(m.aa)), 1),
    Field("dns.flags.truncated", Kind.FLAG, "TC: cut off, ask over TCP", _dns(lambda m: [int(m.tc)]), 1),
    Field("dns.flags.recdesired", Kind.FLAG, "RD: find it for me", _dns(lambda m: [int(m.rd)]), 1),
    Field("dns.flags.rcode", Kind.NUMBER, "0 no error, 3 no such name, 5 refused", _answers(lambda m: m.rcode & 15), 15),
    Field("dns.count.queries", Kind.NUMBER, "questions", _dns(lambda m: [len(m.questions)]), 0xFFFF),
    Field("dns.count.answers", Kind.NUMBER, "records that answer", _dns(lambda m: [len(m.answers)]), 0xFFFF),
    Field("dns.qry.name", Kind.TEXT, "the name asked for", _dns(lambda m: [_name(q.name) for q in m.questions])),
    Field("dns.qry.type", Kind.NUMBER, "the type asked for: 1 is A, 28 AAAA, 15 MX", _dns(lambda m: [q.type for q in m.questions]), 0xFFFF),
    Field("dns.a", Kind.ADDRESS, "an address told", _dns(lambda m: [int.from_bytes(record.data, "big") for record in _records(m, dns.Type.A)])),
    Field("dns.cname", Kind.TEXT, "the name an alias stands for", _targets(dns.Type.CNAME)),
    Field("dns.ns", Kind.TEXT, "a name server", _targets(dns.Type.NS)),
    Field("dhcp", Kind.LAYER, "DHCP", _layer((dhcp.CLIENT, dhcp.SERVER), dhcp.decode)),
    Field("dhcp.type", Kind.NUMBER, "1 by a client, 2 by a server", _dhcp(lambda m: [m.op]), 0xFF),
    Field("dhcp.id", Kind.NUMBER, "the number that answers repeat", _dhcp(lambda m: [m.xid]), 0xFFFF_FFFF),
    Field("dhcp.secs", Kind.NUMBER, "seconds since the client began", _dhcp(lambda m: [m.secs]), 0xFFFF),
    Field("dhcp.ip.client", Kind.ADDRESS, "the address a client has", _dhcp(lambda m: [m.ciaddr])),
    Field("dhcp.ip.your", Kind.ADDRESS, "the address a client gets", _dhcp(lambda m: [m.yiaddr])),
    Field("dhcp.hw.mac_addr", Kind.MAC, "the client", _dhcp(_macs)),
    Field("dhcp.option.dhcp", Kind.NUMBER, "1 Discover, 2 Offer, 3 Request, 5 ACK, 6 NAK, 7 Release", _number(Option.TYPE), 0xFF),
    Field("dhcp.option.hostname", Kind.TEXT, "the client's name", _text(Option.HOST_NAME)),
    Field("dhcp.option.requested_ip_address", Kind.ADDRESS, "the address wanted", _address(Option.REQUESTED)),
    Field("dhcp.option.dhcp_server_id", Kind.ADDRESS, "the server", _address(Option.SERVER_ID)),
    Field("dhcp.option.ip_address_lease_time", Kind.NUMBER, "seconds the address may be used", _number(Option.LEASE), 0xFFFF_FFFF),
)
"""DNS first, then DHCP."""
