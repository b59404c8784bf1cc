"""discipline: which frame goes when too many wait for the rate of a port: RED and CoDel.

RED (Floyd and Jacobson 1993, RFC 2309) looks at the mean length of the queue when a frame comes: between two lengths it drops
by chance, more often the longer the queue.  CoDel (RFC 8289) looks at how long a frame waited when its turn comes: once even
the shortest wait of 100 ms was over 5 ms it drops one, and the next ones sooner and sooner, until the wait is short again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import isqrt
from typing import Any, Final

__all__ = ["Codel", "Red"]

TARGET: Final = 5_000_000
INTERVAL: Final = 100_000_000
"""CoDel: a wait of 5 ms is short; one round trip of the Internet is 100 ms (RFC 8289 section 4.2, 4.3)."""
PACKET: Final = 1_514
WEIGHT: Final = 0.002
MOST: Final = 0.1
"""RED: the weight of one sample in the mean, and the chance to be dropped at the upper length."""


class Red:
    """The mean length of one queue, in frames; lower and upper length are a sixth and a half of what may wait."""

    __slots__ = ("_chance", "_count", "_idle_at", "lower", "mean", "upper")

    def __init__(self, chance: random.Random, limit: int) -> None:
        self.lower = max(limit / 6, 1.0)
        self.upper = max(limit / 2, 2.0)
        self.mean = 0.0
        self._chance = chance
        self._count = -1
        self._idle_at = 0

    def drops(self, length: int, now: int, cost: int) -> bool:
        """True if the frame that comes now goes; `length`: frames that wait, `cost`: ns a frame takes at this rate."""
        if length:
            self.mean += WEIGHT * (length - self.mean)
        else:
            self.mean *= (1 - WEIGHT) ** min((now - self._idle_at) // max(cost, 1), 100_000)
        self._idle_at = now + length * cost
        if self.mean < self.lower:
            self._count = -1
            return False
        self._count += 1
        if self.mean >= self.upper:
            often = MOST + (self.mean - self.upper) / self.upper * (1 - MOST)  # gentle: from MOST to 1 at twice the upper length
        else:
            often = MOST * (self.mean - self.lower) / (self.upper - self.lower)
        spaced = often / (1 - self._count * often) if self._count * often < 1 else 1.0
        if self._chance.random() < spaced:
            self._count = 0
            return True
        return False


Pop = Callable[[], tuple[Any, int, int] | None]
"""The next that waits: (what, ns it waited, bytes that wait behind it); None when nothing waits."""


class Codel:
    """The control of one queue (RFC 8289 section 5, whose names these are)."""

    __slots__ = ("count", "drop_next", "dropping", "first_above", "last_count")

    def __init__(self) -> None:
        self.first_above = self.drop_next = self.count = self.last_count = 0
        self.dropping = False

    def _may_drop(self, found: tuple[Any, int, int] | None, now: int) -> bool:
        if found is None or found[1] < TARGET or found[2] <= PACKET:
            self.first_above = 0
            return False
        if not self.first_above:
            self.first_above = now + INTERVAL
            return False
        return now >= self.first_above

    def dequeue(self, now: int, pop: Pop, drop: Callable[[Any], Any | None]) -> Any | None:
        """Return whose turn it is, None when nothing waits.  `drop(what)` drops it, or returns it marked, to be sent all the same."""
        found = pop()
        above = self._may_drop(found, now)
        if self.dropping:
            self.dropping = above
            while self.dropping and found is not None and now >= self.drop_next:
                self.count += 1
                kept = drop(found[0])
                if kept is not None:
                    self.drop_next = self._law(self.drop_next)
                    return kept
                found = pop()
                self.dropping = self._may_drop(found, now)
                if self.dropping:
                    self.drop_next = self._law(self.drop_next)
        elif above and found is not None:
            self.dropping = True
            recent = self.count - self.last_count
            self.count = recent if recent > 1 and now - self.drop_next < 16 * INTERVAL else 1
            self.last_count = self.count
            self.drop_next = self._law(now)
            kept = drop(found[0])
            if kept is not None:
                return kept
            found = pop()
            self._may_drop(found, now)
        return None if found is None else found[0]

    def _law(self, t: int) -> int:
        """The time of the next drop: sooner by the square root of those before (section 3.3), in whole ns."""
        return t + INTERVAL * 1_000 // isqrt(self.count * 1_000_000)
