"""exchange: one question to some servers until one answers: a pure machine.

Each server is asked in turn, three rounds, waiting 1, 2 and 4 s.  Number and source port come from the rng and change with
each datagram (RFC 5452).  An answer counts only from the server asked, at the port asked from, with the number and the
question asked; anything else is dropped and the wait goes on.  A cut answer (TC) is asked for again over TCP (RFC 7766), a
server that does not know EDNS without it (RFC 6891 section 6.2.2), and one that refuses or fails makes way for the next.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.wire import dns as wire
from mirage_lab.tcpip.wire.dns import Edns, Message, Question, Rcode
from mirage_lab.tcpip.wire.dnsname import fold
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["SILENCE", "Done", "Exchange", "Tcp", "Udp"]

WAITS: Final = (seconds(1), seconds(2), seconds(4))
TCP_WAIT: Final = seconds(10)
SERVERS: Final = 4
SILENCE: Final = "no server answered"
PORTS: Final = range(1_024, 65_536)
UDP_LIMIT: Final = 1_232


@dataclass(frozen=True, slots=True)
class Udp:
    """Send `data` from our `port` to port 53 of `server`; what was listened on before for this exchange no longer is."""

    server: str
    port: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Tcp:
    """Ask `server` the same over TCP and hand the answer to `tcp_answer`, None if there is none."""

    server: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The answer, or None when nobody gave one that counts."""

    answer: Message | None


Effect = Udp | Tcp | Done


class Exchange:
    """A question on its way."""

    def __init__(self, question: Question, servers: Sequence[str], rng: random.Random, *, rd: bool, taken: Callable[[int], bool] = lambda port: False) -> None:
        """`taken(port)` says whether a port is somebody else's."""
        self.question = question
        self.servers = tuple(servers[:SERVERS])
        self.tries = 0
        self.dropped: dict[str, int] = {}
        self.failed: str = "no server is known" if not self.servers else SILENCE
        """Why there was no answer, for people."""
        self._rng = rng
        self._rd = rd
        self._taken = taken
        self._out: tuple[str, int, int] | None = None
        self._over_tcp = False
        self._plain: set[str] = set()
        self._refused: set[str] = set()
        self._timer: Ns | None = None

    def start(self, now: Ns) -> list[Effect]:
        """Ask for the first time."""
        return self._next(now)

    def receive(self, src: str, src_port: int, port: int, data: bytes, now: Ns) -> list[Effect]:
        """Take a datagram from `src`:`src_port` to our `port`."""
        if self._out is None or self._over_tcp or (src, src_port, port) != (self._out[0], wire.PORT, self._out[1]):
            return self._drop("not from the server asked")
        answer = self._read(data)
        if answer is None:
            return []
        if answer.tc:
            self._over_tcp = True
            self._timer = Ns(now + TCP_WAIT)
            return [Tcp(src, self._query(src, self._out[2]))]
        return self._judge(answer, src, now)

    def tcp_answer(self, data: bytes | None, now: Ns) -> list[Effect]:
        """Take what came over TCP; None: the connection failed."""
        if not self._over_tcp or self._out is None:
            return []
        server = self._out[0]
        answer = self._read(data) if data is not None else None
        self._over_tcp = False
        if answer is None:
            self._refused.add(server)
            return self._next(now)
        return self._judge(answer, server, now)

    def next_deadline(self) -> Ns | None:
        """When `on_deadline` is to be called."""
        return self._timer

    def on_deadline(self, now: Ns) -> list[Effect]:
        """Nobody answered in time."""
        if self._timer is None or now < self._timer:
            return []
        self._over_tcp = False
        return self._next(now)

    # what it does ------------------------------------------------------------------------------------------------

    def _next(self, now: Ns) -> list[Effect]:
        """Ask the next server that has not refused, or give up."""
        while self.tries < len(self.servers) * len(WAITS):
            server = self.servers[self.tries % len(self.servers)]
            wait = WAITS[self.tries // len(self.servers)]
            self.tries += 1
            if server not in self._refused:
                return self._send(server, wait, now)
        return self._end(None)

    def _send(self, server: str, wait: Ns, now: Ns) -> list[Effect]:
        port = next((port for port in (self._rng.choice(PORTS) for _ in range(64)) if not self._taken(port)), PORTS[-1])
        number = self._rng.getrandbits(16)
        self._out = (server, port, number)
        self._timer = Ns(now + wait)
        return [Udp(server, port, self._query(server, number))]

    def _query(self, server: str, number: int) -> bytes:
        edns = None if server in self._plain else Edns(UDP_LIMIT)
        return wire.encode(Message(number, (self.question,), rd=self._rd, edns=edns))

    def _read(self, data: bytes) -> Message | None:
        """Return the answer if it is one to what we asked last."""
        try:
            answer = wire.decode(data)
        except WireError:
            self._drop("malformed")
            return None
        assert self._out is not None
        if not answer.response or answer.opcode or answer.id != self._out[2]:
            self._drop("another number")
            return None
        asked = [(fold(question.name), question.type, question.cls) for question in answer.questions]
        if asked != [(fold(self.question.name), self.question.type, self.question.cls)] and not (answer.rcode == Rcode.FORMERR and not asked):
            self._drop("another question")
            return None
        return answer

    def _judge(self, answer: Message, server: str, now: Ns) -> list[Effect]:
        if answer.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN):
            return self._end(answer)
        if answer.rcode in (Rcode.FORMERR, Rcode.NOTIMP, Rcode.BADVERS) and server not in self._plain:
            self._plain.add(server)
            return self._send(server, WAITS[0], now)
        self._refused.add(server)
        self.failed = f"{server} answered {Rcode.NAMES.get(answer.rcode, f'rcode {answer.rcode}')}"
        return self._next(now)

    def _end(self, answer: Message | None) -> list[Effect]:
        self._out = self._timer = None
        return [Done(replace(answer, edns=None) if answer is not None else None)]

    def _drop(self, why: str) -> list[Effect]:
        self.dropped[why] = self.dropped.get(why, 0) + 1
        return []
