"""neighbours: which station has an IPv6 address, and whether it can still be reached (RFC 4861 section 7.3).

    TABLE is the machine.  An address that is asked for is INCOMPLETE; an answer to us makes it REACHABLE for about 30 s; then it
    is STALE, which costs nothing until something is sent there: DELAY gives the answer five seconds to come by itself, PROBE
    asks three times, and then it is forgotten.

Bounded: 1,024 neighbours, the oldest goes; 8 packets wait for each answer, the oldest goes (section 7.2.2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from mirage_lab.runtime import RunQueue, Timer
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.wire.address import mac_text
from mirage_lab.tcpip.wire.address6 import ip6_text
from mirage_lab.tcpip.wire.nd import NeighborAdvert

__all__ = ["TABLE", "Event", "Neighbour", "Neighbours", "State"]

REACHABLE_TIME: Final = seconds(30)
RETRANS: Final = seconds(1)
DELAY_TIME: Final = seconds(5)
ASKED: Final = 3
ENTRIES: Final = 1_024
WAITING: Final = 8


class State(Enum):
    """What is known of a neighbour."""

    INCOMPLETE = "asked for, not answered"
    REACHABLE = "answered lately"
    STALE = "known, perhaps no longer there"
    DELAY = "sent to, waiting for a sign"
    PROBE = "asked whether it is still there"


class Event(Enum):
    """What happens to a neighbour."""

    ANSWERED = "an advertisement answered us"
    HEARD = "its address was told, unasked, or changed"
    OLD = "the time to trust it is over"
    SEND = "a packet goes there"
    WAITED = "no sign came"
    DOUBTED = "what was sent there went unanswered"


_S, _E = State, Event
TABLE: Final[dict[State, dict[Event, State]]] = {
    _S.INCOMPLETE: {_E.ANSWERED: _S.REACHABLE, _E.HEARD: _S.STALE},
    _S.REACHABLE: {_E.ANSWERED: _S.REACHABLE, _E.HEARD: _S.STALE, _E.OLD: _S.STALE, _E.DOUBTED: _S.PROBE},
    _S.STALE: {_E.ANSWERED: _S.REACHABLE, _E.HEARD: _S.STALE, _E.SEND: _S.DELAY, _E.DOUBTED: _S.PROBE},
    _S.DELAY: {_E.ANSWERED: _S.REACHABLE, _E.HEARD: _S.STALE, _E.WAITED: _S.PROBE, _E.DOUBTED: _S.PROBE},
    _S.PROBE: {_E.ANSWERED: _S.REACHABLE, _E.HEARD: _S.STALE},
}
"""Who is in a state and hears an event that is not listed stays in it."""


class Neighbour:
    """One entry: where it is, until when that is trusted, how often it was asked, what waits for it."""

    __slots__ = ("asked", "mac", "router", "state", "timer", "until", "waiting")

    def __init__(self) -> None:
        self.mac = b""
        self.state = State.INCOMPLETE
        self.until = Ns(0)
        self.asked = 0
        self.router = False
        self.waiting: deque[bytes] = deque()
        self.timer: Timer | None = None


class Neighbours:
    """The neighbour cache of one interface.

    `ask(target, mac)` sends a solicitation, to all or to one; `send(mac, packet)` sends a packet; `failed(packet)` is told
    of each that went nowhere, and why: "no neighbour answer" or "too many wait for a neighbour".
    """

    def __init__(
        self, queue: RunQueue, ask: Callable[[int, bytes | None], None], send: Callable[[bytes, bytes], None], failed: Callable[[str, bytes], None]
    ) -> None:
        self.queue = queue
        self.table: dict[int, Neighbour] = {}
        self.reachable_time = REACHABLE_TIME
        self.retrans = RETRANS
        self._ask = ask
        self._send = send
        self._failed = failed
        self._rng = queue.rng("nd.reachable")
        self._k_state = queue.kind("nd.state")

    def send(self, hop: int, packet: bytes) -> None:
        """Send a packet to the neighbour `hop`, or keep it until the neighbour answers."""
        entry = self.table.get(hop)
        if entry is None:
            entry = self._new(hop)
            entry.waiting.append(packet)
            self._solicit(hop, entry)
            return
        if entry.state is State.INCOMPLETE:
            if len(entry.waiting) >= WAITING:
                self._failed("too many wait for a neighbour", entry.waiting.popleft())
            entry.waiting.append(packet)
            return
        if entry.state is State.REACHABLE and self.queue.world.now >= entry.until:
            self._become(hop, entry, Event.OLD)
        if entry.state is State.STALE:
            self._become(hop, entry, Event.SEND)
            self._later(hop, entry, DELAY_TIME)
        self._send(entry.mac, packet)

    def heard(self, address: int, mac: bytes) -> Neighbour:
        """Somebody told us where it is without being asked (a source link-layer address)."""
        entry = self.table.get(address) or self._new(address)
        if entry.mac != mac:
            entry.mac = mac
            self._become(address, entry, Event.HEARD)
            self._flush(entry)
        return entry

    def advertised(self, advert: NeighborAdvert) -> bool:
        """Take a neighbor advertisement (RFC 4861 section 7.2.5); False if nobody had asked for the neighbour."""
        address = advert.target
        entry = self.table.get(address)
        if entry is None:
            return False
        if entry.state is State.INCOMPLETE:
            if advert.mac is None:
                return True
            entry.mac = advert.mac
            self._become(address, entry, Event.ANSWERED if advert.solicited else Event.HEARD)
        elif advert.mac in (None, entry.mac) or advert.override:
            changed = advert.mac not in (None, entry.mac)
            entry.mac = advert.mac or entry.mac
            if advert.solicited:
                self._become(address, entry, Event.ANSWERED)
            elif changed:
                self._become(address, entry, Event.HEARD)
        elif entry.state is State.REACHABLE:
            self._become(address, entry, Event.HEARD)
            return True
        entry.router = advert.router
        self._flush(entry)
        return True

    def doubt(self, address: int) -> None:
        """What was sent there went unanswered again and again: ask whether it is there."""
        entry = self.table.get(address)
        if entry is not None and Event.DOUBTED in TABLE[entry.state]:
            self._become(address, entry, Event.DOUBTED)
            self._solicit(address, entry)

    def _new(self, address: int) -> Neighbour:
        if len(self.table) >= ENTRIES:
            oldest = next(iter(self.table))
            self._forget(oldest)
        entry = self.table[address] = Neighbour()
        return entry

    def _become(self, address: int, entry: Neighbour, event: Event) -> None:
        old = entry.state
        entry.state = new = TABLE[old].get(event, old)
        now = self.queue.world.now
        if event is Event.ANSWERED:
            entry.until = Ns(now + self.reachable_time // 2 + self._rng.randrange(self.reachable_time))
        if new is not State.INCOMPLETE and (new is not old or event is Event.HEARD):
            entry.asked = 0
            if entry.timer is not None:
                entry.timer.cancel()
                entry.timer = None
        if self._k_state.on and new is not old:
            fields = {"ip": ip6_text(address), "mac": mac_text(entry.mac), "old": old.name, "new": new.name}
            self._k_state.emit(now, self.queue.name, self.queue.world.cause, fields)

    def _flush(self, entry: Neighbour) -> None:
        while entry.waiting:
            self._send(entry.mac, entry.waiting.popleft())

    def _later(self, address: int, entry: Neighbour, delay: Ns) -> None:
        entry.timer = self.queue.call_later(delay, self._due, address, entry)

    def _solicit(self, address: int, entry: Neighbour) -> None:
        entry.asked += 1
        self._ask(address, None if entry.state is State.INCOMPLETE else entry.mac)
        self._later(address, entry, self.retrans)

    def _due(self, address: int, entry: Neighbour) -> None:
        """No answer came in time."""
        if self.table.get(address) is not entry or entry.state in (State.REACHABLE, State.STALE):
            return
        if entry.state is State.DELAY:
            self._become(address, entry, Event.WAITED)
        if entry.asked < ASKED:
            self._solicit(address, entry)
        else:
            self._forget(address)

    def _forget(self, address: int) -> None:
        entry = self.table.pop(address)
        if entry.timer is not None:
            entry.timer.cancel()
        for packet in entry.waiting:
            self._failed("no neighbour answer", packet)
