"""serving: the name server of a stack: UDP and TCP port 53."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.dns.framing import Frames, framed
from mirage_lab.tcpip.dns.server import Server
from mirage_lab.tcpip.dns.zone import Zone
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire import dns as wire
from mirage_lab.tcpip.wire import dnsname
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["DnsServer", "DnsServerStatistics"]

IDLE: Final = seconds(10)
"""A connection without a whole query for this long is closed (RFC 7766 section 6.2.3)."""
CONNECTIONS: Final = 64
_OVERHEAD: Final = 28


@dataclass(frozen=True, slots=True)
class DnsServerStatistics:
    """Zones by name with their records, answers by rcode in words, TCP connections open."""

    zones: dict[str, int]
    answered: dict[str, int]
    connections: int


class DnsServer:
    """DNS_SERVER on a stack: authoritative for the zones it is given, for nothing else."""

    module_type: ClassVar[str] = "DNS_SERVER"

    def __init__(self, stack: Stack, zones: Iterable[Zone] = ()) -> None:
        self.stack = stack
        self.queue = stack.queue
        self.server = Server(zones)
        self._open = 0
        self._k_query = self.queue.kind("dns.query")
        stack.listen_udpv4(wire.PORT, self._datagram)
        stack.listen_tcpv4(wire.PORT, self._serve)

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.stack.id

    def __repr__(self) -> str:
        return f"<DnsServer {', '.join(dnsname.text(zone.name) for zone in self.server.zones.values()) or 'of no zone'} on {self.queue.name}>"

    def load_zone(self, text: str, origin: str = "") -> str:
        """Serve the zone of a zone file, in place of an older one of that name; return the name.  Raises ZoneError."""
        zone = Zone.of(text, origin)
        self.server.add(zone)
        return dnsname.text(zone.name)

    def _answer(self, data: bytes, src: str, *, udp: bool) -> bytes | None:
        answer = self.server.receive(data, udp=udp, most=self.stack.ipv4.mtu - _OVERHEAD)
        if answer is not None and self._k_query.on:
            told: dict[str, object] = {"src": src, "question": _question(data), "rcode": wire.Rcode.NAMES.get(answer[3] & 15, "other")}
            told |= {"transport": "UDP" if udp else "TCP", "length": len(answer), "truncated": bool(answer[2] & 2)}
            self._k_query.emit(self.queue.now, self.queue.name, self.queue.world.cause, told)
        return answer

    def _datagram(self, src: str, src_port: int, data: bytes) -> None:
        answer = self._answer(data, src, udp=True)
        if answer is not None and src_port:
            self.stack.udpv4.write(src, src_port, answer, src_port=wire.PORT)

    async def _serve(self, flow: TcpFlow) -> None:
        """Answer the queries of a connection in order, until the client closes, is idle, or speaks nonsense."""
        if self._open >= CONNECTIONS:
            await flow.close()
            return
        self._open += 1
        frames = Frames()
        try:
            since = self.queue.now
            while (left := since + IDLE - self.queue.now) > 0:
                async with tasks.timeout(Ns(left)):
                    data = await flow.read()
                if not data:
                    break
                for query in frames.feed(data):
                    since = self.queue.now
                    answer = self._answer(query, flow.dst[0], udp=False)
                    if answer is None:
                        return
                    async with tasks.timeout(IDLE):
                        await flow.write(framed(answer))
        except MirageError:
            pass  # idle, reset: either way it is over
        finally:
            self._open -= 1
            await flow.close()

    async def listen(self) -> None:
        """Serve for ever."""
        await tasks.Condition().wait()

    async def disconnect(self) -> None:
        """Answer nobody any more."""
        self.server.zones.clear()

    def statistics(self) -> DnsServerStatistics:
        """Return zones and counters."""
        zones = {dnsname.text(zone.name): len(zone) for zone in self.server.zones.values()}
        return DnsServerStatistics(zones, dict(self.server.asked), self._open)


def _question(data: bytes) -> str:
    try:
        questions = wire.decode(data).questions
    except WireError:
        return "malformed"
    return repr(questions[0]) if questions else "none"
