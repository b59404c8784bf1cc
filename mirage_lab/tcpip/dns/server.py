"""server: an authoritative name server, pure: the bytes of a query in, the bytes of its answer out.

It answers for its zones, refuses everything else (RFC 1035 section 4.1.1, REFUSED), never recurses, and refuses AXFR.  Over
UDP an answer is cut at 512 bytes, or at what EDNS allows up to 1,232, with TC: the client comes again over TCP.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mirage_lab.tcpip.dns.zone import Zone
from mirage_lab.tcpip.wire import dns as wire
from mirage_lab.tcpip.wire.dns import IN, Edns, Message, Rcode, Type
from mirage_lab.tcpip.wire.dnsname import Name, fold
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["UDP_LIMIT", "Server"]

UDP_LIMIT: Final = 1_232
"""The largest answer over UDP: no fragments on any IPv6 path (DNS flag day 2020)."""


class Server:
    """A server of some zones."""

    def __init__(self, zones: Iterable[Zone] = ()) -> None:
        self.zones: dict[Name, Zone] = {}
        self.asked: dict[str, int] = {}
        """Answers by their rcode in words, queries not answered at all under "dropped"."""
        for zone in zones:
            self.add(zone)

    def __repr__(self) -> str:
        return f"<DNS server of {len(self.zones)} zones>"

    def add(self, zone: Zone) -> None:
        """Serve `zone`, in place of an older one of that name."""
        self.zones[zone.origin] = zone

    def zone_of(self, name: Name) -> Zone | None:
        """Return the zone a name belongs to: the one with the longest name."""
        key = fold(name)
        for size in range(len(key), -1, -1):
            zone = self.zones.get(key[len(key) - size :] if size else ())
            if zone is not None:
                return zone
        return None

    def receive(self, data: bytes, *, udp: bool, most: int = UDP_LIMIT) -> bytes | None:
        """Answer a query; None for what is not answered: answers, and what has no header.

        Over UDP the answer has at most `most` bytes, 512 without EDNS.
        """
        if len(data) < wire.HEADER or data[2] & 0x80:
            self._count("dropped")
            return None
        try:
            asked = wire.decode(data)
        except WireError:
            asked = None
        reply = self._malformed(data) if asked is None else self.reply(asked)
        limit = wire.LARGEST
        if udp:
            limit = wire.PLAIN_LIMIT
            if asked is not None and asked.edns is not None:
                limit = min(max(asked.edns.size, wire.PLAIN_LIMIT), UDP_LIMIT)
            limit = min(limit, most)
        self._count(Rcode.NAMES.get(reply.rcode, "other"))
        return wire.encode(reply, limit)

    def reply(self, asked: Message) -> Message:
        """Return the answer to a query."""
        edns = Edns(UDP_LIMIT, do=asked.edns.do) if asked.edns is not None else None

        def refuse(rcode: int) -> Message:
            return Message(asked.id, asked.questions[:1], response=True, opcode=asked.opcode, rd=asked.rd, rcode=rcode, edns=edns)

        if asked.opcode != 0:
            return refuse(Rcode.NOTIMP)
        if edns is not None and asked.edns is not None and asked.edns.version != 0:
            return refuse(Rcode.BADVERS)
        if len(asked.questions) != 1:
            return refuse(Rcode.FORMERR)
        question = asked.questions[0]
        zone = self.zone_of(question.name)
        if zone is None or question.cls != IN or question.type in (Type.AXFR, Type.IXFR):
            return refuse(Rcode.REFUSED)
        found = zone.lookup(question.name, question.type)
        return Message(
            asked.id,
            asked.questions,
            tuple(found.answers),
            tuple(found.authority),
            tuple(found.additional),
            response=True,
            aa=found.aa,
            rd=asked.rd,
            rcode=found.rcode,
            edns=edns,
        )

    def _malformed(self, data: bytes) -> Message:
        return Message(data[0] << 8 | data[1], response=True, opcode=data[2] >> 3 & 15, rd=bool(data[2] & 1), rcode=Rcode.FORMERR)

    def _count(self, what: str) -> None:
        self.asked[what] = self.asked.get(what, 0) + 1
