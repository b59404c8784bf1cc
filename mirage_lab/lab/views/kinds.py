"""kinds: what every view offers and takes.

`Look` is what a person looks at: scalars by name, names prefixed by the view ("boot.domain").  All views of one widget
share it, so that two of them stay in step.  Arguments of actions and questions come from a browser: they are read with
`text`, `whole`, `real` and `flag`, which raise LabError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirage_lab.lab.said import LabError

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["Act", "Action", "Args", "Ask", "Look", "View", "domain_of", "flag", "real", "text", "whole"]

Look = Mapping[str, str | int | float | bool | None]
Args = Mapping[str, Any]
TEXT = 4_096
"""Characters of any one argument."""


@dataclass(frozen=True, slots=True)
class Act:
    """What a button did: the line of Python that was run, and what it said."""

    line: str
    said: str


Action = Callable[["Lab", Args], Act]
Ask = Callable[["Lab", Args], Any]


@dataclass(frozen=True, slots=True)
class View:
    """A tab: its name, what it shows, what it can do.  `snapshot` and `ASKS` are called under the lab's lock."""

    name: str
    title: str
    snapshot: Callable[[Lab, Look], dict[str, Any]]
    words: Callable[[Lab, Look], str]
    picture: Callable[[Lab, Look], str | None]
    actions: Mapping[str, Action]
    asks: Mapping[str, Ask]


def text(args: Args, name: str, limit: int = TEXT) -> str:
    """Return argument `name`, a text of at most `limit` characters; raises LabError."""
    value = args.get(name)
    if not isinstance(value, str) or len(value) > limit:
        raise LabError(f"{name} is a text of at most {limit} characters")
    return value


def whole(args: Args, name: str, low: int, high: int) -> int:
    """Return argument `name`, a whole number from `low` to `high`; raises LabError."""
    value = args.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise LabError(f"{name} is a whole number from {low:,} to {high:,}")
    return value


def real(args: Args, name: str, low: float, high: float) -> float:
    """Return argument `name`, a number from `low` to `high`; raises LabError."""
    value = args.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise LabError(f"{name} is a number from {low:g} to {high:g}")
    return float(value)


def flag(args: Args, name: str) -> bool:
    """Return argument `name`, true or false; raises LabError."""
    value = args.get(name)
    if not isinstance(value, bool):
        raise LabError(f"{name} is true or false")
    return value


def domain_of(lab: Lab, look: Look, key: str) -> str | None:
    """Return the domain that `look[key]` names if it exists, else the first one; None in a lab without domains."""
    names = [domain.name for domain in lab.machine.toolstack.list() if domain.domid]
    wanted = look.get(key)
    return str(wanted) if wanted in names else names[0] if names else None
