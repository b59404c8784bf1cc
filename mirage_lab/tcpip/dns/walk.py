"""walk: from a question to its answer, over as many questions to servers as it takes (RFC 1034 section 5.3.3): a generator.

    asked = walk(question, cache, clock, servers=("10.0.0.53",))      a server that resolves for us, or
    asked = walk(question, cache, clock, roots=("10.0.0.1",))         from the root down, delegation by delegation
    ask = next(asked); ask = asked.send(message or why there is none); ...      StopIteration.value is the Answer

What a server says counts only for names in its zone: it can neither tell addresses of foreign machines nor delegate up or
sideways.  A question costs at most 40 others, and names of servers without glue are looked up three deep.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.dns.cache import Cache
from mirage_lab.tcpip.wire import dnsname
from mirage_lab.tcpip.wire.address import ip_text
from mirage_lab.tcpip.wire.dns import IN, Message, Question, Rcode, Record, Type
from mirage_lab.tcpip.wire.dnsname import Name, fold, within

__all__ = ["Answer", "Ask", "walk"]

QUESTIONS: Final = 40
ALIASES: Final = 8
DEPTH: Final = 3
GLUELESS: Final = 3
"""Servers of one delegation whose addresses are looked up (CVE-2020-8616)."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Put `question` to one of `servers`; `rd`: they shall resolve it for us."""

    question: Question
    servers: tuple[str, ...]
    rd: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question: its records, with the aliases that led there; none with rcode NXDOMAIN, or 0 for no such type."""

    question: Question
    rcode: int
    records: tuple[Record, ...] = ()
    aliases: tuple[Record, ...] = ()
    failed: str = ""


@dataclass(slots=True)
class _Course:
    """What a walk carries: where it began, what is left to spend."""

    cache: Cache
    clock: Callable[[], Ns]
    servers: tuple[str, ...]
    roots: tuple[str, ...]
    left: int = QUESTIONS


Asking = Generator[Ask, Message | str, Answer]


def walk(question: Question, cache: Cache, clock: Callable[[], Ns], *, servers: tuple[str, ...] = (), roots: tuple[str, ...] = ()) -> Asking:
    """Answer a question; yields what is to be asked, takes the answers, or why there is none."""
    return (yield from _resolve(question, _Course(cache, clock, servers, roots), 0))


def _resolve(question: Question, course: _Course, depth: int) -> Asking:
    """Follow aliases until there is an answer."""
    aliases: list[Record] = []
    name = question.name
    while True:
        step = yield from _one(Question(name, question.type), course, depth)
        aliases += step.aliases
        if step.rcode or step.failed or step.records or not step.aliases:
            return Answer(question, step.rcode, step.records, tuple(aliases), step.failed)
        name = dnsname.decode(step.aliases[-1].data, 0)[0]
        if len(aliases) > ALIASES or any(fold(alias.name) == fold(name) for alias in aliases):
            return Answer(question, Rcode.SERVFAIL, (), tuple(aliases), "the aliases lead in a circle, or too far")


def _one(question: Question, course: _Course, depth: int) -> Asking:
    known = _cached(question, course)
    if known is not None:
        return known
    if course.servers:
        answer = yield from _put(question, course, course.servers, rd=True)
        return _taken(question, answer, (), course) if isinstance(answer, Message) else _failure(question, answer)
    return (yield from _descend(question, course, depth))


def _put(question: Question, course: _Course, servers: tuple[str, ...], *, rd: bool) -> Generator[Ask, Message | str, Message | str]:
    if course.left <= 0:
        return "too many questions for one answer"
    course.left -= 1
    return (yield Ask(question, servers, rd))


def _failure(question: Question, why: str) -> Answer:
    return Answer(question, Rcode.SERVFAIL, failed=why)


def _cached(question: Question, course: _Course) -> Answer | None:
    now = course.clock()
    known = course.cache.get(question.name, question.type, now)
    if known is not None:
        return Answer(question, known.rcode, known.records)
    alias = course.cache.get(question.name, Type.CNAME, now) if question.type != Type.CNAME else None
    return Answer(question, Rcode.NOERROR, (), alias.records) if alias is not None and alias.records else None


def _taken(question: Question, answer: Message, zone: Name, course: _Course) -> Answer:
    """Read an answer: aliases first, then the records at their end; remember what belongs to `zone`."""
    now = course.clock()
    aliases: list[Record] = []
    name = question.name
    there = [record for record in answer.answers if record.cls == IN and within(fold(record.name), zone)]
    for _ in range(ALIASES + 1):
        records = tuple(record for record in there if fold(record.name) == fold(name) and (record.type == question.type or question.type == Type.ANY))
        if records:
            course.cache.put(name, question.type, records, now)
            return Answer(question, Rcode.NOERROR, records, tuple(aliases))
        alias = next((record for record in there if fold(record.name) == fold(name) and record.type == Type.CNAME), None)
        if alias is None:
            break
        course.cache.put(name, Type.CNAME, (alias,), now)
        aliases.append(alias)
        name = dnsname.decode(alias.data, 0)[0]
    if within(fold(name), zone) and (not aliases or answer.rcode or any(record.type == Type.SOA for record in answer.authority)):
        authority = tuple(record for record in answer.authority if within(fold(record.name), zone) and within(fold(name), fold(record.name)))
        course.cache.put_negative(name, question.type, answer.rcode, authority, now)
        return Answer(question, answer.rcode, (), tuple(aliases))
    return Answer(question, Rcode.NOERROR, (), tuple(aliases))


def _descend(question: Question, course: _Course, depth: int) -> Asking:
    """Ask from the root (or the deepest delegation known) down."""
    zone, servers = _start(question.name, course)
    while True:
        answer = yield from _put(question, course, servers, rd=False)
        if isinstance(answer, str):
            return _failure(question, f"zone {dnsname.text(zone)}: {answer}")
        cut = _delegation(question, answer, zone)
        if cut is None and not (answer.aa or answer.answers or answer.rcode):
            return _failure(question, f"the servers of {dnsname.text(zone)} do not know it, nor who does")
        if cut is None:
            return _taken(question, answer, zone, course)
        zone = cut
        servers = yield from _servers(cut, answer, course, depth)
        if not servers:
            return _failure(question, f"no address of a server of {dnsname.text(cut)} is known")


def _start(name: Name, course: _Course) -> tuple[Name, tuple[str, ...]]:
    """Return the deepest zone around `name` whose servers are known, and their addresses."""
    now = course.clock()
    key = fold(name)
    for size in range(len(key), 0, -1):
        zone = key[len(key) - size :]
        known = course.cache.get(zone, Type.NS, now)
        if known is not None and known.records:
            found = _addresses(known.records, course, now)
            if found:
                return zone, found
    return (), course.roots


def _addresses(servers: tuple[Record, ...], course: _Course, now: Ns) -> tuple[str, ...]:
    found: list[str] = []
    for record in servers:
        known = course.cache.get(dnsname.decode(record.data, 0)[0], Type.A, now)
        if known is not None:
            found += [ip_text(int.from_bytes(address.data, "big")) for address in known.records]
    return tuple(found)


def _delegation(question: Question, answer: Message, zone: Name) -> Name | None:
    """Return the name of the zone an answer refers to: below the one asked, around the name asked for."""
    if answer.rcode or answer.aa or answer.answers:
        return None
    for record in answer.authority:
        cut = fold(record.name)
        if record.type == Type.NS and len(cut) > len(zone) and within(cut, zone) and within(fold(question.name), cut):
            return cut
    return None


def _servers(cut: Name, answer: Message, course: _Course, depth: int) -> Generator[Ask, Message | str, tuple[str, ...]]:
    """Remember a delegation and its glue; return addresses of its servers, looked up if there is no glue."""
    now = course.clock()
    names = tuple(record for record in answer.authority if record.type == Type.NS and fold(record.name) == cut)
    course.cache.put(cut, Type.NS, names, now)
    targets = [fold(dnsname.decode(record.data, 0)[0]) for record in names]
    found: list[str] = []
    for target in targets:
        glue = tuple(record for record in answer.additional if record.type == Type.A and fold(record.name) == target and within(target, cut))
        if glue:
            course.cache.put(target, Type.A, glue, now)
            found += [ip_text(int.from_bytes(record.data, "big")) for record in glue]
    if not found and depth < DEPTH:
        for target in targets[:GLUELESS]:
            if within(target, cut):
                continue  # only glue could tell it
            step = yield from _resolve(Question(target, Type.A), course, depth + 1)
            found += [ip_text(int.from_bytes(record.data, "big")) for record in step.records]
            if found:
                break
    return tuple(found)
