"""zone: the names a server knows all about, and what it answers for each (RFC 1034 section 4.3.2).

    exact name -> its records, or NODATA          below a delegation -> a referral with glue
    a CNAME    -> it, then on from its target     no such name -> the closest wildcard (RFC 4592), or NXDOMAIN
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from mirage_lab.tcpip.dns.records import soa
from mirage_lab.tcpip.dns.zonefile import ZoneError, parse
from mirage_lab.tcpip.wire import dnsname
from mirage_lab.tcpip.wire.dns import Rcode, Record, Type, type_text
from mirage_lab.tcpip.wire.dnsname import Name, fold, within

__all__ = ["CHAIN", "Found", "Zone"]

CHAIN: Final = 8
"""CNAMEs followed for one question."""

_STAR: Final = b"*"
_TARGETS: Final = {Type.NS: 0, Type.MX: 2, Type.SRV: 6}
"""Types whose data names a machine, whose addresses are told along: where the name begins."""


@dataclass(slots=True)
class Found:
    """What a zone has for a question."""

    rcode: int = Rcode.NOERROR
    aa: bool = True
    answers: list[Record] = field(default_factory=list)
    authority: list[Record] = field(default_factory=list)
    additional: list[Record] = field(default_factory=list)


class Zone:
    """A zone, checked: one SOA at its apex, name servers, nothing beside a CNAME, nothing from elsewhere."""

    def __init__(self, records: Iterable[Record]) -> None:
        """Raises ZoneError."""
        self._nodes: dict[Name, dict[int, list[Record]]] = {}
        every = list(records)
        starts = [record for record in every if record.type == Type.SOA]
        if len(starts) != 1:
            raise ZoneError(f"a zone has one SOA record, this has {len(starts)}")
        self.soa = starts[0]
        self.name: Name = starts[0].name
        self.origin = fold(self.name)
        for record in every:
            self._add(record)
        self._check()
        for key in list(self._nodes):
            for size in range(len(self.origin), len(key)):
                self._nodes.setdefault(key[len(key) - size :] if size else (), {})  # empty non-terminals exist (RFC 4592 section 2.2.2)

    @classmethod
    def of(cls, text: str, origin: str = "") -> Zone:
        """Return the zone of a zone file; raises ZoneError."""
        return cls(parse(text, origin))

    def __repr__(self) -> str:
        return f"<Zone {dnsname.text(self.name)} serial {self.serial}: {len(self)} records>"

    def __len__(self) -> int:
        return sum(len(records) for node in self._nodes.values() for records in node.values())

    def __iter__(self) -> Iterator[Record]:
        return (record for node in self._nodes.values() for records in node.values() for record in records)

    @property
    def serial(self) -> int:
        """The version its SOA tells."""
        return soa(self.soa.data)[2][0]

    def _add(self, record: Record) -> None:
        key = fold(record.name)
        if not within(key, self.origin):
            raise ZoneError(f"{dnsname.text(record.name)} is not in the zone {dnsname.text(self.name)}")
        rrset = self._nodes.setdefault(key, {}).setdefault(record.type, [])
        if any(known.data == record.data for known in rrset):
            return
        if rrset and rrset[0].ttl != record.ttl:  # one TTL for a set (RFC 2181 section 5.2)
            ttl = min(rrset[0].ttl, record.ttl)
            rrset[:] = [Record(known.name, known.type, ttl, known.data) for known in rrset]
            record = Record(record.name, record.type, ttl, record.data)
        rrset.append(record)

    def _check(self) -> None:
        if Type.NS not in self._nodes[self.origin]:
            raise ZoneError(f"the zone {dnsname.text(self.name)} has no NS record")
        for key, node in self._nodes.items():
            if Type.CNAME in node and (len(node) > 1 or len(node[Type.CNAME]) > 1):
                others = ", ".join(type_text(kind) for kind in node)
                raise ZoneError(f"{dnsname.text(key)}: nothing stands beside a CNAME (RFC 1034 section 3.6.2), and there is {others}")

    # answering ---------------------------------------------------------------------------------------------------

    def lookup(self, name: Name, kind: int) -> Found:
        """Return what there is for a name of this zone."""
        found = Found()
        for _ in range(CHAIN):
            target = self._step(name, kind, found)
            if target is None:
                break
            if not within(fold(target), self.origin):
                break
            name = target
        self._add_addresses(found)
        return found

    def _step(self, name: Name, kind: int, found: Found) -> Name | None:
        """Look one name up; return the target of a CNAME that is to be followed."""
        key = fold(name)
        if self._referral(key, kind, found):
            return None
        node = self._nodes.get(key)
        if node is None:
            node = self._wildcard(key)
            if node is None:
                found.rcode = Rcode.NXDOMAIN
                found.authority.append(self._negative())
                return None
        rrset = node.get(kind, [])
        if kind == Type.ANY and node:
            rrset = next(iter(node.values()))  # one set is enough (RFC 8482 section 4.1)
        if rrset:
            found.answers += [self._named(record, name) for record in rrset]
            return None
        alias = node.get(Type.CNAME)
        if alias is None:
            found.authority.append(self._negative())
            return None
        record = self._named(alias[0], name)
        if record in found.answers:
            return None  # a chain that bites its tail
        found.answers.append(record)
        return dnsname.decode(record.data, 0)[0]

    def _referral(self, key: Name, kind: int, found: Found) -> bool:
        """Note the name servers of the delegation `key` lies in, if it does."""
        for size in range(len(self.origin) + 1, len(key) + 1):
            cut = key[len(key) - size :]
            servers = self._nodes.get(cut, {}).get(Type.NS)
            if servers:
                found.authority += servers
                found.aa = found.aa and bool(found.answers)
                return True
        return False

    def _wildcard(self, key: Name) -> dict[int, list[Record]] | None:
        """Return the node that stands for a name that is not there: `*` below its closest encloser (RFC 4592 section 3.3.1)."""
        for size in range(len(key) - 1, len(self.origin) - 1, -1):
            encloser = key[len(key) - size :] if size else ()
            if encloser in self._nodes:
                return self._nodes.get((_STAR, *encloser))
        return None

    def _named(self, record: Record, name: Name) -> Record:
        """Return the record under the name asked for, where a wildcard stood for it."""
        return record if fold(record.name) == fold(name) else Record(name, record.type, record.ttl, record.data)

    def _negative(self) -> Record:
        """Return the SOA as told along with a "no": its TTL is how long that may be believed (RFC 2308 section 3)."""
        return Record(self.soa.name, Type.SOA, min(self.soa.ttl, soa(self.soa.data)[2][4]), self.soa.data)

    def _add_addresses(self, found: Found) -> None:
        """Tell the addresses of the machines named, those below a delegation too: its glue."""
        told = {fold(record.name) for record in found.answers if record.type in (Type.A, Type.AAAA)}
        for record in [*found.answers, *found.authority]:
            at = _TARGETS.get(record.type)
            if at is None:
                continue
            target = fold(dnsname.decode(record.data, at)[0])
            if target in told:
                continue
            told.add(target)
            node = self._nodes.get(target, {})
            found.additional += [*node.get(Type.A, ()), *node.get(Type.AAAA, ())]
