"""Segment: one Ethernet: a learning bridge with ports, and faults between them (`faults` lists them).

A frame is captured when it enters, whatever becomes of it.  Chance comes from the world's stream "lan:NAME"; a fault that
is off draws nothing, so that switching one on does not change the others' chance.  Frames of a port stay in order unless
`reorder` holds one back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mirage_lab.runtime import World
from mirage_lab.signatures.units import Ns, ms
from mirage_lab.tracing.capture import Capture
from mirage_lab.vnetif.discipline import Codel, Red
from mirage_lab.vnetif.faults import FAULTS, HEADER, checked, marked, pure_ack

__all__ = ["LanStatistics", "Port", "Segment"]

STATIONS: Final = 4_096
SHORTEST: Final = 14
LONGEST: Final = 65_549
HELD: Final = ms(2)
"""A reordered frame is held back for twice the latency, or this long if that is more."""

QUEUE: Final = 1_000
"""Frames that wait for the rate of a port when nobody says how many."""

Receive = Callable[[bytes], None]
Waiting = tuple[int, bytes, list[int], int]
"""When a frame came, the frame, its numbers in the captures, its cause."""


@dataclass(frozen=True, slots=True)
class LanStatistics:
    """Frames and bytes that entered, frames delivered to a port, frames lost by reason, ports."""

    frames: int
    bytes: int
    delivered: int
    lost: Mapping[str, int]
    ports: tuple[str, ...]


class Port:
    """Where a station is plugged in: `send(frame)` puts a frame on the lan; what arrives goes to `receive`."""

    __slots__ = ("_segment", "backlog", "busy_until", "captures", "codel", "last", "name", "receive", "received", "red", "sent", "starts", "waiting")

    def __init__(self, segment: Segment, name: str, receive: Receive) -> None:
        self.name = name
        self.receive: Receive | None = receive
        self.sent = 0
        self.received = 0
        self.busy_until = 0
        self.last = 0
        self.captures: list[Capture] = []
        self.red: Red | None = None
        self.codel: Codel | None = None
        self.waiting: deque[Waiting] = deque()
        self.starts: deque[int] = deque()
        self.backlog = 0
        self._segment = segment

    def send(self, frame: bytes) -> None:
        """Put a frame on the lan; unplugged, nothing."""
        if self.receive is not None:
            self._segment.enter(self, frame)

    def deliver(self, frame: bytes) -> None:
        """Hand a frame to the station; unplugged meanwhile, nothing."""
        if self.receive is not None:
            self.received += 1
            if self.captures:
                self._segment.note(self.captures, frame, "lan")
            self.receive(frame)

    def __repr__(self) -> str:
        return f"<Port {self.name} of {self._segment.name}: {self.sent} sent, {self.received} received>"


class Segment:
    """An Ethernet segment with the `faults` of the module of that name."""

    latency: int
    jitter: int
    loss: float
    burst: float
    ack_loss: float
    nth: tuple[int, ...]
    reorder: float
    duplicate: float
    corrupt: float
    trailing: int
    mtu: int | None
    rate: int | None
    queue: int | None
    discipline: str
    blackout: tuple[int, int] | None

    def __init__(self, world: World, name: str, **faults: Any) -> None:
        self.world = world
        self.name = name
        self.captures: list[Capture] = []
        for key, fault in FAULTS.items():
            setattr(self, key, fault.none)
        self._ports: dict[str, Port] = {}
        self._stations: dict[bytes, Port] = {}
        self._taps: dict[str, list[Capture]] = {}
        self._plain = True
        self._counted = 0
        self._losing = False
        self._frames = self._bytes = 0
        self._lost: dict[str, int] = {}
        self._rng = world.rng(f"lan:{name}")
        self._k_drop = world.recorder.kind("lan.drop")
        self._k_queue = world.recorder.kind("lan.queue")
        self.set(**faults)

    def __repr__(self) -> str:
        return f"<Segment {self.name}: {len(self._ports)} ports, {self._frames:,} frames>"

    # faults ------------------------------------------------------------------------------------------------------

    @property
    def faults(self) -> dict[str, Any]:
        """The faults as they are now."""
        return {key: getattr(self, key) for key in FAULTS}

    @property
    def active(self) -> dict[str, Any]:
        """Those of the faults that are not as on a good cable."""
        return {key: value for key, value in self.faults.items() if value != FAULTS[key].none}

    def set(self, **faults: Any) -> dict[str, tuple[Any, Any]]:
        """Change faults from now on; return what changed as {name: (was, now)}.  Raises LocalProtocolError."""
        changed = {}
        for key, value in checked(self.name, faults).items():
            was = getattr(self, key)
            if was != value:
                changed[key] = (was, value)
                setattr(self, key, value)
        if "nth" in changed:
            self._counted = 0
        if "queue" in changed or "discipline" in changed:
            for port in self._ports.values():
                port.red = port.codel = None
        self._plain = self.active.keys() <= {"latency", "queue", "discipline", "burst"}
        return changed

    # plugging ----------------------------------------------------------------------------------------------------

    def attach(self, name: str, receive: Receive) -> Port:
        """Plug a station in; frames for it go to `receive(frame)`.  A name taken gets a number."""
        unique, number = name, 2
        while unique in self._ports:
            unique, number = f"{name}#{number}", number + 1
        port = self._ports[unique] = Port(self, unique, receive)
        port.captures = self._taps.setdefault(unique, [])
        return port

    def tap(self, name: str, capture: Capture) -> None:
        """Capture at one port what it sends and what reaches it, now or when a station of that name is plugged in."""
        self._taps.setdefault(name, []).append(capture)
        port = self._ports.get(name)
        if port is not None:
            port.captures = self._taps[name]

    def note(self, captures: list[Capture], frame: bytes, where: str) -> None:
        """Put a frame into captures."""
        world = self.world
        for capture in captures:
            capture.frame(world.now, frame, world.cause, where)

    def detach(self, port: Port) -> None:
        """Unplug a station; frames under way to it are lost."""
        port.receive = None
        if self._ports.get(port.name) is port:
            del self._ports[port.name]
        for mac in [mac for mac, at in self._stations.items() if at is port]:
            del self._stations[mac]

    @property
    def ports(self) -> list[Port]:
        """The ports in the order they were plugged in."""
        return list(self._ports.values())

    # frames ------------------------------------------------------------------------------------------------------

    def enter(self, port: Port, frame: bytes) -> None:
        """A frame enters at `port`: the hot path."""
        size = len(frame)
        if not SHORTEST <= size <= LONGEST:
            self._drop([], "short" if size < SHORTEST else "long", size, port)
            return
        world = self.world
        self._frames += 1
        self._bytes += size
        port.sent += 1
        if port.captures:
            self.note(port.captures, frame, port.name)
        numbers = [capture.frame(world.now, frame, world.cause, port.name) for capture in self.captures]
        src = frame[6:12]
        stations = self._stations
        if stations.get(src) is not port and not src[0] & 1:
            if len(stations) >= STATIONS:
                del stations[next(iter(stations))]
            stations[src] = port
        if self._plain:
            to = stations.get(frame[:6])
            due = Ns(world.now + self.latency)
            if due < port.last:
                due = Ns(port.last)
            port.last = due
            self._schedule(due, to, port, frame)
        else:
            self._through_faults(port, frame, numbers)

    def _schedule(self, due: Ns, to: Port | None, port: Port, frame: bytes) -> None:
        if to is None:
            self.world.call_at(due, self._flood, port, frame)
        elif to is not port:
            self.world.call_at(due, to.deliver, frame)

    def _flood(self, port: Port, frame: bytes) -> None:
        cause = self.world.cause
        for other in list(self._ports.values()):
            if other is not port:
                self.world.cause = cause
                other.deliver(frame)

    def _through_faults(self, port: Port, frame: bytes, numbers: list[int]) -> None:
        """What may happen to a frame as it enters, and its wait for the rate of the port."""
        now = self.world.now
        if self.blackout is not None and self.blackout[0] <= now < self.blackout[1]:
            return self._drop(numbers, "blackout", len(frame), port)
        if self.nth:
            self._counted += 1
            if self._counted in self.nth:
                return self._drop(numbers, "nth", len(frame), port)
        if self.mtu is not None and len(frame) - HEADER > self.mtu:
            return self._drop(numbers, "over the MTU", len(frame), port)
        if self.rate:
            self._wait(port, frame, numbers, self.rate)
        else:
            self._transmit(now, port, frame, numbers)
        return None

    def _wait(self, port: Port, frame: bytes, numbers: list[int], rate: int) -> None:
        """Let a frame wait until those before it are gone, or drop it."""
        now, size = self.world.now, len(frame)
        limit = QUEUE if self.queue is None else self.queue
        if self.discipline == "codel" or port.waiting:
            if len(port.waiting) >= limit and (port.waiting or port.busy_until > now):
                return self._drop(numbers, "queue full", size, port)
            port.waiting.append((now, frame, numbers, self.world.cause))
            port.backlog += size
            self._say_queue(port, rate, port.backlog + max(port.busy_until - now, 0) * rate // 8_000_000_000)
            return self._next(port)
        cost = size * 8 * 1_000_000_000 // rate
        begin = max(now, port.busy_until)
        while port.starts and port.starts[0] < now:
            port.starts.popleft()
        length = len(port.starts)
        if cost and length >= limit and begin > now:
            return self._drop(numbers, "queue full", size, port)
        if self.discipline == "red":
            if port.red is None:
                port.red = Red(self._rng, limit)
            if port.red.drops(length, now, cost):
                ce = marked(frame)
                if ce is None:
                    return self._drop(numbers, "RED", size, port)
                frame = ce
                self._note(numbers, "marked CE")
        port.starts.append(begin)
        port.busy_until = start = begin + cost
        self._say_queue(port, rate, (start - now) * rate // 8_000_000_000)
        return self._transmit(start, port, frame, numbers)

    def _say_queue(self, port: Port, rate: int, size: int) -> None:
        if self._k_queue.on:
            self._k_queue.emit(self.world.now, self.name, self.world.cause, {"port": port.name, "bytes": size, "rate": rate})

    def _next(self, port: Port) -> None:
        """CoDel: when the line is free, the next of those that wait goes."""
        now = self.world.now
        if now < port.busy_until:
            return
        if port.codel is None:
            port.codel = Codel()
        chosen = port.codel.dequeue(now, lambda: self._pop(port), lambda each: self._mark_or_drop(port, each))
        if chosen is None:
            return
        _, frame, numbers, self.world.cause = chosen
        port.busy_until = now + (len(frame) * 8 * 1_000_000_000 // self.rate if self.rate else 0)
        self.world.call_at(Ns(port.busy_until), self._next, port)
        self._transmit(port.busy_until, port, frame, numbers)

    def _pop(self, port: Port) -> tuple[Waiting, int, int] | None:
        if not port.waiting:
            return None
        first = port.waiting.popleft()
        port.backlog -= len(first[1])
        return first, self.world.now - first[0], port.backlog

    def _mark_or_drop(self, port: Port, waiting: Waiting) -> Waiting | None:
        came, frame, numbers, cause = waiting
        ce = marked(frame)
        if ce is None:
            self._drop(numbers, "CoDel", len(frame), port)
            return None
        self._note(numbers, "marked CE")
        return came, ce, numbers, cause

    def _transmit(self, start: int, port: Port, frame: bytes, numbers: list[int]) -> None:
        """What may happen to a frame on its way, from `start` on."""
        rng = self._rng
        if self.loss and self._loses():
            return self._drop(numbers, "loss", len(frame), port)
        if self.ack_loss and pure_ack(frame) and rng.random() < self.ack_loss:
            return self._drop(numbers, "ACK loss", len(frame), port)
        to = self._stations.get(frame[:6])
        if self.corrupt and len(frame) > HEADER and rng.random() < self.corrupt:
            bit = rng.randrange(HEADER * 8, len(frame) * 8)
            frame = (int.from_bytes(frame, "big") ^ 1 << len(frame) * 8 - 1 - bit).to_bytes(len(frame), "big")
            self._note(numbers, "corrupted")
        if self.trailing:
            frame += bytes(self.trailing)
        due = start + self.latency + (rng.randrange(self.jitter + 1) if self.jitter else 0)
        if self.reorder and rng.random() < self.reorder:
            self._schedule(Ns(due + max(2 * self.latency, HELD)), to, port, frame)
            self._note(numbers, "held back")
        else:
            due = port.last = max(due, port.last)
            self._schedule(Ns(due), to, port, frame)
        if self.duplicate and rng.random() < self.duplicate:
            self._schedule(Ns(due), to, port, frame)
            self._note(numbers, "duplicated")
        return None

    def _loses(self) -> bool:
        """True if chance loses this frame: alone, or in bursts whose frames are all lost (Gilbert 1960)."""
        if self.burst <= 1 or self.loss >= 1:
            return self._rng.random() < self.loss
        if self._losing:
            self._losing = self._rng.random() >= 1 / self.burst
        else:
            self._losing = self._rng.random() < self.loss / (self.burst * (1 - self.loss))
        return self._losing

    def _note(self, numbers: list[int], fate: str) -> None:
        for capture, n in zip(self.captures, numbers):
            capture.note(n, fate)

    def _drop(self, numbers: list[int], reason: str, length: int, port: Port) -> None:
        self._lost[reason] = self._lost.get(reason, 0) + 1
        for capture, n in zip(self.captures, numbers):
            capture.lost(n, reason)
        if self._k_drop.on:
            world = self.world
            self._k_drop.emit(world.now, self.name, world.cause, {"reason": reason, "length": length, "port": port.name})

    def statistics(self) -> LanStatistics:
        """Return the counters."""
        delivered = sum(port.received for port in self._ports.values())
        return LanStatistics(self._frames, self._bytes, delivered, dict(self._lost), tuple(self._ports))
