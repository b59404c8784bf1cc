"""Counting what is thrown away, by reason, and saying so as an event."""

from __future__ import annotations

from mirage_lab.runtime import RunQueue

__all__ = ["Drops"]

REASONS = 64


class Drops:
    """Counters of one layer; `kind` is the event (`ip.drop`)."""

    __slots__ = ("_kind", "_queue", "counts")

    def __init__(self, queue: RunQueue, kind: str) -> None:
        self._queue = queue
        self._kind = queue.kind(kind)
        self.counts: dict[str, int] = {}

    def __call__(self, reason: str, **fields: object) -> None:
        """Count one; a reason beyond the 64th counts as "other"."""
        key = reason if reason in self.counts or len(self.counts) < REASONS else "other"
        self.counts[key] = self.counts.get(key, 0) + 1
        if self._kind.on:
            self._kind.emit(self._queue.now, self._queue.name, self._queue.world.cause, {"reason": reason, **fields})
