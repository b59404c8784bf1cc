"""cache: answers for as long as their TTL says, also those that say there is nothing (RFC 2308)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.dns.records import soa
from mirage_lab.tcpip.wire.dns import Rcode, Record, Type
from mirage_lab.tcpip.wire.dnsname import Name, fold

__all__ = ["Cache", "Cached"]

ENTRIES: Final = 2_000
LONGEST: Final = 86_400
"""Seconds anything is kept (RFC 8767 section 4 has a week; a day will do)."""
LONGEST_NEGATIVE: Final = 10_800
"""Seconds a "no" is kept (RFC 2308 section 5)."""


@dataclass(frozen=True, slots=True)
class Cached:
    """What is known: records, or none with the rcode that said so; good until `expires`."""

    rcode: int
    records: tuple[Record, ...]
    stored: Ns
    expires: Ns


class Cache:
    """What a resolver remembers; the entry that was stored first goes when it is full."""

    def __init__(self) -> None:
        self.hits = self.misses = 0
        self._entries: dict[tuple[Name, int], Cached] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: Name, kind: int, now: Ns) -> Cached | None:
        """Return what is known of a name and type, TTLs counted down; None if nothing is."""
        folded = fold(name)
        found = None
        for key in ((folded, kind), (folded, 0)):  # a name that does not exist has no type either
            found = self._entries.get(key)
            if found is not None and found.expires <= now:
                del self._entries[key]
                found = None
            if found is not None:
                break
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        age = (now - found.stored) // seconds(1)
        return replace(found, records=tuple(replace(record, ttl=max(0, record.ttl - age)) for record in found.records))

    def put(self, name: Name, kind: int, records: tuple[Record, ...], now: Ns) -> None:
        """Remember a set of records, for the least of their TTLs; 0 is not remembered."""
        ttl = min((record.ttl for record in records), default=0)
        self._store((fold(name), kind), Rcode.NOERROR, records, min(ttl, LONGEST), now)

    def put_negative(self, name: Name, kind: int, rcode: int, authority: tuple[Record, ...], now: Ns) -> None:
        """Remember that there is no such name (any type), or no such type; without an SOA it is not remembered (RFC 2308 section 5)."""
        found = next((record for record in authority if record.type == Type.SOA), None)
        if found is not None:
            ttl = min(found.ttl, soa(found.data)[2][4], LONGEST_NEGATIVE)
            self._store((fold(name), 0 if rcode == Rcode.NXDOMAIN else kind), rcode, (), ttl, now)

    def _store(self, key: tuple[Name, int], rcode: int, records: tuple[Record, ...], ttl: int, now: Ns) -> None:
        self._entries.pop(key, None)
        self._entries.pop((key[0], 0), None)
        if ttl <= 0:
            return
        if len(self._entries) >= ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = Cached(rcode, records, now, Ns(now + seconds(ttl)))

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
