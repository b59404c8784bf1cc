"""resolving: names for a unikernel: the walk, its exchanges and a cache, on a stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from mirage_lab.runtime import Timer, tasks
from mirage_lab.signatures.errors import ConnectionTimedOut, DeviceError, MirageError, UnknownName
from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.dns.cache import Cache
from mirage_lab.tcpip.dns.exchange import SILENCE, Done, Effect, Exchange, Tcp, Udp
from mirage_lab.tcpip.dns.framing import Frames, framed
from mirage_lab.tcpip.dns.records import text_of
from mirage_lab.tcpip.dns.walk import Answer, Ask, walk
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire import dns as wire
from mirage_lab.tcpip.wire import dnsname
from mirage_lab.tcpip.wire.address import ip_int, ip_text
from mirage_lab.tcpip.wire.dns import Message, Question, Rcode, Type

__all__ = ["DnsResolver", "DnsResolverStatistics"]

AT_ONCE: Final = 64
"""Questions a resolver works on at once; more wait."""


@dataclass(frozen=True, slots=True)
class DnsResolverStatistics:
    """Questions answered from memory and not, entries remembered, questions sent, and answers dropped by reason."""

    hits: int
    misses: int
    cached: int
    sent: int
    dropped: dict[str, int]


class DnsResolver:
    """DNS on a stack: asks `servers` to resolve, or, with `roots`, goes from the root down by itself.

    Without either it asks the servers that DHCP told.
    """

    module_type: ClassVar[str] = "DNS"

    def __init__(self, stack: Stack, servers: Sequence[str] = (), *, roots: Sequence[str] = ()) -> None:
        self.stack = stack
        self.queue = stack.queue
        self.servers = tuple(ip_text(ip_int(server)) for server in servers)
        self.roots = tuple(ip_text(ip_int(server)) for server in roots)
        self.cache = Cache()
        self.rng = self.queue.rng("dns")
        self.sent = 0
        self.dropped: dict[str, int] = {}
        self._asking: dict[tuple[dnsname.Name, int], tasks.Future[Answer]] = {}
        self._free = tasks.Condition()
        self._k_answer = self.queue.kind("dns.answer")
        self.k_ask = self.queue.kind("dns.ask")

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.stack.id

    def __repr__(self) -> str:
        way = f"asks {', '.join(self._servers())}" if not self.roots else f"from the root {', '.join(self.roots)} down"
        return f"<DnsResolver on {self.queue.name}: {way}, {len(self.cache)} remembered>"

    def _servers(self) -> tuple[str, ...]:
        if self.servers or self.roots:
            return self.servers
        lease = self.stack.dhcp.lease if self.stack.dhcp is not None else None
        return tuple(map(ip_text, lease.dns)) if lease is not None else ()

    # for unikernels ----------------------------------------------------------------------------------------------

    async def gethostbyname(self, name: str) -> list[str]:
        """Return the IPv4 addresses of a machine; raises UnknownName, ConnectionTimedOut or DeviceError."""
        return await self.resolve(name, "A")

    async def gethostbyaddr(self, address: str) -> str:
        """Return the name of the machine with an IPv4 address (PTR), without the dot at its end; raises as `gethostbyname`."""
        [found, *_] = await self.resolve(dnsname.text(dnsname.reverse(ip_int(address))), "PTR")
        return found.rstrip(".")

    async def resolve(self, name: str, kind: str = "A") -> list[str]:
        """Return the data of the records of a name and type, as a zone file has it ("10 mail.example.org."); raises as `gethostbyname`."""
        code = Type.CODES.get(kind.upper())
        if code is None or code in (Type.OPT, Type.AXFR, Type.IXFR):
            raise DeviceError(f"{kind!r} is no type of a record to ask for: A, AAAA, MX, NS, PTR, SRV, TXT are")
        answer = await self.ask(Question(dnsname.name(name), code))
        if answer.failed:
            error = ConnectionTimedOut if SILENCE in answer.failed else DeviceError
            raise error(f"{name}: {answer.failed}")
        if not answer.records:
            why = "there is no such name" if answer.rcode == Rcode.NXDOMAIN else f"it has no {kind.upper()} record"
            raise UnknownName(f"{name}: {why}")
        return [text_of(record.type, record.data) for record in answer.records]

    async def ask(self, question: Question) -> Answer:
        """Return what became of a question; the same question asked meanwhile waits for the same answer."""
        key = (dnsname.fold(question.name), question.type)
        running = self._asking.get(key)
        if running is not None:
            return await running.wait()
        while len(self._asking) >= AT_ONCE:
            await self._free.wait()
        future = self._asking[key] = tasks.Future[Answer]()
        answer = Answer(question, Rcode.SERVFAIL, failed="the question was given up")
        try:
            answer = await self._walk(question)
        finally:
            del self._asking[key]
            future.set(answer)
            self._free.notify()
        if self._k_answer.on:
            fields = {"question": repr(question), "rcode": Rcode.NAMES.get(answer.rcode, "other"), "failed": answer.failed}
            fields["answer"] = ", ".join(text_of(record.type, record.data) for record in answer.records[:8])[:200]
            self._k_answer.emit(self.queue.now, self.queue.name, self.queue.world.cause, fields)
        return answer

    async def _walk(self, question: Question) -> Answer:
        asking = walk(question, self.cache, lambda: self.queue.now, servers=self._servers() if not self.roots else (), roots=self.roots)
        try:
            ask = next(asking)
            while True:
                ask = asking.send(await _Running(self, ask).answer())
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer

    async def disconnect(self) -> None:
        """Forget everything."""
        self.cache.clear()

    def statistics(self) -> DnsResolverStatistics:
        """Return the counters."""
        return DnsResolverStatistics(self.cache.hits, self.cache.misses, len(self.cache), self.sent, dict(self.dropped))


class _Running:
    """An exchange with its port, its timer and, after a cut answer, its connection."""

    def __init__(self, resolver: DnsResolver, ask: Ask) -> None:
        self.resolver = resolver
        self.stack = resolver.stack
        self.queue = resolver.queue
        self.exchange = Exchange(ask.question, ask.servers, resolver.rng, rd=ask.rd, taken=self.stack.udpv4.listens)
        self._done: tasks.Future[Message | str] = tasks.Future()
        self._port = 0
        self._timer: Timer | None = None
        self._tcp: tasks.Task[None] | None = None

    async def answer(self) -> Message | str:
        """Return the answer, or why there is none."""
        self._do(self.exchange.start(self.queue.now))
        try:
            return await self._done.wait()
        finally:
            self._end()

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Udp(server, port, data):
                    self._end()
                    self._port = port
                    self.stack.listen_udpv4(port, self._datagram)
                    self._sent(server, "UDP")
                    self.stack.udpv4.write(server, wire.PORT, data, src_port=port)
                case Tcp(server, data):
                    self._sent(server, "TCP")
                    self._tcp = self.queue.spawn(self._over_tcp(server, data), "dns over tcp")
                case Done(answer):
                    if not self._done.done:
                        self._done.set(answer if answer is not None else self.exchange.failed)
        if self._timer is not None:
            self._timer.cancel()
        due = self.exchange.next_deadline()
        self._timer = None if due is None else self.queue.call_at(Ns(due), self._due)

    def _sent(self, server: str, transport: str) -> None:
        self.resolver.sent += 1
        kind = self.resolver.k_ask
        if kind.on:
            fields = {"question": repr(self.exchange.question), "server": server, "transport": transport, "attempt": self.exchange.tries}
            kind.emit(self.queue.now, self.queue.name, self.queue.world.cause, fields)

    def _datagram(self, src: str, src_port: int, data: bytes) -> None:
        self._do(self.exchange.receive(src, src_port, self._port, data, self.queue.now))
        for why, count in self.exchange.dropped.items():
            self.resolver.dropped[why] = self.resolver.dropped.get(why, 0) + count
        self.exchange.dropped.clear()

    def _due(self) -> None:
        self._timer = None
        self._do(self.exchange.on_deadline(self.queue.now))

    async def _over_tcp(self, server: str, data: bytes) -> None:
        found: bytes | None = None
        try:
            flow = await self.stack.tcpv4.create_connection((server, wire.PORT))
            await flow.write(framed(data))
            frames = Frames()
            while found is None and (some := await flow.read()):
                found = next(iter(frames.feed(some)), None)
            await flow.close()
        except MirageError:
            pass  # the next server, then
        self._tcp = None
        self._do(self.exchange.tcp_answer(found, self.queue.now))

    def _end(self) -> None:
        """Give the port, the timer and the connection back."""
        if self._port:
            self.stack.udpv4.unlisten(self._port)
            self._port = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tcp is not None:
            self._tcp.cancel()
            self._tcp = None
