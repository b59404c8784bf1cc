"""Segment: one Ethernet: a learning bridge with ports, and faults between them.

A frame is captured when it enters, whatever becomes of it.  Chance comes from the world's stream "lan:NAME"; a fault that
is off draws nothing, so that switching one on does not change the others' chance.  Frames of a port stay in order unless
`reorder` holds one back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mirage_lab.runtime import World
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, ms
from mirage_lab.tracing.capture import Capture

__all__ = ["LanStatistics", "Port", "Segment"]

STATIONS: Final = 4_096
SHORTEST: Final = 14
LONGEST: Final = 65_549
HELD: Final = ms(2)
"""A reordered frame is held back for twice the latency, or this long if that is more."""

Receive = Callable[[bytes], None]
SHARES: Final = ("loss", "reorder", "duplicate")
COUNTS: Final = ("latency", "jitter", "rate", "queue")


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

    __slots__ = ("_segment", "busy_until", "captures", "last", "name", "receive", "received", "sent")

    def __init__(self, segment: Segment, name: str, receive: Receive) -> None:
        self.name = name
        self.receive: Receive | None = receive
        self.sent = 0
        self.received = 0
        self.busy_until = 0
        self.last = 0
        self.captures: list[Capture] = []
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
    """An Ethernet segment.

    latency, jitter: ns (jitter adds 0 to that much).  loss, reorder, duplicate: a share of the frames, 0 to 1.  rate:
    bit/s of each port (None: no limit).  queue: frames that may wait for the rate (None: 1,000).
    """

    def __init__(self, world: World, name: str, **faults: Any) -> None:
        self.world = world
        self.name = name
        self.captures: list[Capture] = []
        self.latency = self.jitter = Ns(0)
        self.loss = self.reorder = self.duplicate = 0.0
        self.rate: int | None = None
        self.queue: int | None = None
        self._ports: dict[str, Port] = {}
        self._stations: dict[bytes, Port] = {}
        self._taps: dict[str, list[Capture]] = {}
        self._plain = True
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
        return {key: getattr(self, key) for key in (*COUNTS[:2], *SHARES, *COUNTS[2:])}

    def set(self, **faults: Any) -> dict[str, tuple[Any, Any]]:
        """Change faults from now on; return what changed as {name: (was, now)}.  Raises LocalProtocolError."""
        for key, value in faults.items():
            if key not in (*SHARES, *COUNTS):
                raise LocalProtocolError(f"{self.name}: a lan has no {key!r}; it has {', '.join((*COUNTS, *SHARES))}")
            if key in SHARES and not (isinstance(value, (int, float)) and 0 <= value <= 1):
                raise LocalProtocolError(f"{self.name}: {key}={value!r}; it is a share of the frames, 0 to 1")
            unset = value is None and key in ("rate", "queue")
            if key in COUNTS and not unset and not (isinstance(value, int) and value >= (1 if key == "rate" else 0)):
                raise LocalProtocolError(f"{self.name}: {key}={value!r}; it is a whole number of ns, bit/s or frames, such as ms(1)")
        changed = {}
        for key, value in faults.items():
            was = getattr(self, key)
            if was != value:
                changed[key] = (was, value)
                setattr(self, key, value)
        self._plain = not (self.loss or self.reorder or self.duplicate or self.jitter or self.rate)
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
        to = stations.get(frame[:6])
        if self._plain:
            due = Ns(world.now + self.latency)
            if due < port.last:
                due = Ns(port.last)
            port.last = due
            self._schedule(due, to, port, frame)
        else:
            self._through_faults(port, to, frame, numbers)

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

    def _through_faults(self, port: Port, to: Port | None, frame: bytes, numbers: list[int]) -> None:
        rng, now = self._rng, self.world.now
        start: int = now
        if self.rate:
            cost = len(frame) * 8 * 1_000_000_000 // self.rate
            begin = max(now, port.busy_until)
            if cost and (begin - now) // max(cost, 1) >= (1_000 if self.queue is None else self.queue) and begin > now:
                self._drop(numbers, "queue full", len(frame), port)
                return
            port.busy_until = start = begin + cost
            if self._k_queue.on:
                said = {"port": port.name, "bytes": (start - now) * self.rate // 8_000_000_000, "rate": self.rate}
                self._k_queue.emit(now, self.name, self.world.cause, said)
        if self.loss and rng.random() < self.loss:
            self._drop(numbers, "loss", len(frame), port)
            return
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
