"""The virtual clock's epoch, and virtual times written for people."""

from __future__ import annotations

import calendar
from typing import Final

from mirage_lab.signatures.units import Ns

EPOCH: Final = calendar.timegm((2014, 7, 22, 0, 0, 0)) * 1_000_000_000
"""Unix time, in ns, of a world's start unless told otherwise: 2014-07-22T00:00:00Z, the day of MirageOS 2.0."""


def show(t: int) -> str:
    """Return a time of day of a world: `0`, `250 us`, `1.5 ms`, `12.300 s`.

    >>> show(Ns(1_500_000)), show(Ns(12_300_000_000))
    ('1.5 ms', '12.300 s')
    """
    if t == 0:
        return "0"
    if t < 1_000_000:
        return f"{t / 1_000:g} us"
    if t < 1_000_000_000:
        return f"{t / 1_000_000:.6g} ms"
    return f"{t / 1_000_000_000:.3f} s"


__all__ = ["EPOCH", "Ns", "show"]
