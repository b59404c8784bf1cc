"""Wire: two TCP connections and a wire, without a world: for stories about the engine, one rule at a time.

    wire = Wire(lose(4))                         the fourth segment is lost
    wire.write(wire.client, data); wire.run(seconds(1))
    wire.sent(wire.client), wire.received[wire.server], wire.log

`fate(segment)` says after how many ns copies of a segment arrive; an empty list loses it.  It may also change the segment.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from mirage_lab.signatures.units import Ns, ms
from mirage_lab.tcpip.tcp.pcb import Pcb
from mirage_lab.tcpip.tcp.profile import PROFILES, Profile
from mirage_lab.tcpip.tcp.states import State
from mirage_lab.tcpip.wire.tcp import SYN, Segment, decode, encode

__all__ = ["Bottleneck", "Fate", "Wire", "faulty", "lose"]

Fate = Callable[[Segment], list[Ns]]
STEPS = 400_000


class Wire:
    """A client and a server; everything sent is in `log` as (time, sender, segment)."""

    def __init__(
        self,
        fate: Fate | None = None,
        *,
        iss: tuple[int, int] = (1_000, 9_000),
        profile: str | Profile = "today",
        server: str | Profile | None = None,
        reading: bool = True,
    ) -> None:
        """`profile` is the client's, and the server's unless `server` is said; `reading`: what arrives is read at once."""
        self.fate = fate or (lambda segment: [ms(1)])
        self.reading = reading
        self.now = Ns(0)
        ours, theirs = (PROFILES[each] if isinstance(each, str) else each for each in (profile, server or profile))
        self.client = Pcb(49_152, 80, iss[0], ours, 1_460, stamp_offset=77)
        self.server = Pcb(80, 49_152, iss[1], theirs, 1_460, stamp_offset=(1 << 32) - 5)
        self.received = {self.client: bytearray(), self.server: bytearray()}
        self.waiting = {self.client: bytearray(), self.server: bytearray()}
        self.log: list[tuple[Ns, Pcb, Segment]] = []
        self.remarks: list[tuple[Ns, Pcb, str, dict[str, Any]]] = []
        self._heap: list[tuple[Ns, int, Pcb, bytes, int]] = []
        self._count = 0
        self.client.connect()
        self.flush(self.client)

    def other(self, pcb: Pcb) -> Pcb:
        """Return the other end."""
        return self.server if pcb is self.client else self.client

    def flush(self, pcb: Pcb) -> None:
        """Let a connection send what it may."""
        waiting = self.waiting[pcb]
        del waiting[: pcb.write(bytes(waiting[:300_000]))]
        for segment in pcb.transmit(self.now):
            self.log.append((self.now, pcb, segment))
            for delay in self.fate(segment):
                self._count += 1
                heapq.heappush(self._heap, (Ns(self.now + delay), self._count, self.other(pcb), encode(segment, 0), segment.ecn))
        self.remarks += [(self.now, pcb, name, fields) for name, fields in pcb.remarks]
        pcb.remarks.clear()

    def write(self, pcb: Pcb, data: bytes) -> None:
        """Write data, as much at a time as the connection takes."""
        self.waiting[pcb] += data
        self.flush(pcb)

    def deliver(self, pcb: Pcb, segment: Segment) -> None:
        """A segment arrives."""
        if pcb.state is State.CLOSED and pcb is self.server and segment.flags & SYN and not pcb.error:
            pcb.accept(segment)
        else:
            pcb.receive(segment, self.now)
        if self.reading:
            self.received[pcb] += pcb.read()
        self.flush(pcb)

    def run(self, duration: Ns) -> None:
        """Let time pass."""
        end = self.now + duration
        for _ in range(STEPS):
            deadlines = [at for pcb in (self.client, self.server) if (at := pcb.next_deadline()) is not None]
            at = min([*deadlines, *(self._heap[0][:1] if self._heap else ())], default=Ns(end + 1))
            if at > end:
                break
            self.now = max(at, self.now)
            if self._heap and self._heap[0][0] <= self.now:
                _, _, pcb, packet, ecn = heapq.heappop(self._heap)
                segment = decode(packet)
                segment.ecn = ecn
                self.deliver(pcb, segment)
            else:
                for pcb in (self.client, self.server):
                    deadline = pcb.next_deadline()
                    if deadline is not None and deadline <= self.now:
                        pcb.on_deadline(self.now)
                        self.flush(pcb)
        else:
            raise AssertionError("the two connections never came to rest")
        self.now = Ns(end)

    def sent(self, pcb: Pcb) -> list[Segment]:
        """Return what one end has sent."""
        return [segment for _, sender, segment in self.log if sender is pcb]

    def told(self, name: str) -> list[dict[str, Any]]:
        """Return the fields of the remarks of this name, of both ends."""
        return [fields for _, _, said, fields in self.remarks if said == name]


class Bottleneck:
    """A fate: `rate` bytes a second, `delay` ns each way, at most `queue` bytes waiting; beyond `mark` bytes packets are CE-marked."""

    def __init__(self, wire: Wire, rate: int, delay: Ns, queue: int, *, mark: int = 1 << 40, loss: float = 0.0, seed: int = 1) -> None:
        self.wire = wire
        self.rate, self.delay, self.queue, self.mark, self.loss = rate, delay, queue, mark, loss
        self.free_at = 0
        self.dropped = self.marked = self.longest = 0
        self._chance = random.Random(seed)

    def __call__(self, segment: Segment) -> list[Ns]:
        now = int(self.wire.now)
        if not segment.payload:
            return [self.delay]
        waiting = max(self.free_at - now, 0) * self.rate // 1_000_000_000
        self.longest = max(self.longest, waiting)
        if waiting + len(segment.payload) > self.queue or (self.loss and self._chance.random() < self.loss):
            self.dropped += 1
            return []
        if waiting > self.mark and segment.ecn:
            segment.ecn = 3
            self.marked += 1
        self.free_at = max(self.free_at, now) + (len(segment.payload) + 54) * 1_000_000_000 // self.rate
        return [Ns(self.free_at - now + self.delay)]


def lose(*numbers: int) -> Fate:
    """Lose the n-th segments of the wire, counted from 1."""
    count = [0]

    def fate(segment: Segment) -> list[Ns]:
        count[0] += 1
        return [] if count[0] in numbers else [ms(1)]

    return fate


def faulty(seed: int, loss: float, reorder: float, duplicate: float) -> Fate:
    """Lose, reorder and duplicate by chance."""
    chance = random.Random(seed)

    def fate(segment: Segment) -> list[Ns]:
        if chance.random() < loss:
            return []
        delays = [Ns(ms(1) + (chance.randrange(ms(5)) if chance.random() < reorder else 0))]
        if chance.random() < duplicate:
            delays.append(Ns(ms(1) + chance.randrange(ms(5))))
        return delays

    return fate
