"""Units of virtual time: integer nanoseconds, and the words a person types."""

from __future__ import annotations

from typing import NewType

Ns = NewType("Ns", int)
"""A duration or a time of a world, in integer nanoseconds."""


def seconds(value: float) -> Ns:
    """Return `value` seconds.

    >>> seconds(1.5)
    1500000000
    """
    return Ns(round(value * 1_000_000_000))


def ms(value: float) -> Ns:
    """Return `value` milliseconds."""
    return Ns(round(value * 1_000_000))


def us(value: float) -> Ns:
    """Return `value` microseconds."""
    return Ns(round(value * 1_000))


def ns(value: float) -> Ns:
    """Return `value` nanoseconds."""
    return Ns(round(value))
