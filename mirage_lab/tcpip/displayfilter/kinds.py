"""kinds: what a field is: its name, the kind of its values, and how they are read from a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mirage_lab.tcpip.displayfilter.places import Seen

__all__ = ["Field", "Kind", "Reader", "a"]

Reader = Callable[[Seen], Sequence[Any]]


class Kind:
    """A kind of value, as text for people and for tests of a filter."""

    NUMBER: Final = "number"
    FLAG: Final = "flag"
    MAC: Final = "MAC address"
    ADDRESS: Final = "IPv4 address"
    ADDRESS6: Final = "IPv6 address"
    SECONDS: Final = "seconds"
    BYTES: Final = "bytes"
    TEXT: Final = "text"
    LAYER: Final = "layer"


def a(kind: str) -> str:
    """Return a kind with its article."""
    if kind in (Kind.SECONDS, Kind.BYTES, Kind.TEXT):
        return kind
    return f"an {kind}" if kind[0] == "I" else f"a {kind}"


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name, its kind (`Kind`), what it says, how it is read, and the largest number it can hold.

    A layer compared or sliced is its header; `contains` looks into `all` of it, header and data.  A field that `follows`
    connections is read from `Seen.flow`.
    """

    name: str
    kind: str
    about: str
    read: Reader
    largest: int = 0
    all: Reader | None = None
    follows: bool = False
