"""scale: round steps for an axis of time, and times as people say them."""

from __future__ import annotations

from itertools import count

__all__ = ["round_step", "spoken"]


def round_step(span_ns: int, parts: int, least_ns: int = 1) -> int:
    """Return the smallest 1, 2 or 5 times a power of ten, at least `least_ns`, that cuts the span into at most `parts`."""
    for power in count():
        for step in (1, 2, 5):
            found: int = step * 10**power
            if found >= least_ns and found * parts >= span_ns:
                return found
    raise AssertionError


def spoken(ns: int) -> str:
    """Return a time in the unit that suits it: `1.5 s`, `12.25 ms`, `7 us`."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000)):
        if ns >= size:
            return f"{ns / size:.3f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{ns / 1_000:.1f}".removesuffix(".0") + " us"
