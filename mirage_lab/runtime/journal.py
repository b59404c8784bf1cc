"""The journal: everything that changed a world from outside, and when.

An entry says after how many events and at which virtual time a command was applied.  Seed and journal make the world
again: the replay runs exactly that many events, sets the clock and applies the command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import Ns

__all__ = ["CUT", "Entry", "Journal", "ReplayDiverged"]

CUT: Final = "cut"
"""The entry of an event that a debugger has cut in the middle: `name` of the domain, `instructions` since the event began."""

LIMIT_BYTES: Final = 256 << 20
ENTRY_BYTES: Final = 200
PIECE_BYTES: Final = 40


class ReplayDiverged(MirageError):
    """A replay did not come to the point where a journalled command had been applied."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: applied after `event` events, at `t`; `outside` tells host input from what a person asked for."""

    event: int
    t: Ns
    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    outside: bool = False

    def __repr__(self) -> str:
        told = ", ".join(f"{key}={_short(value)}" for key, value in self.args.items())
        return f"<{self.t / 1e9:.6f} s after event {self.event}: {self.name}({told})>"


def _size(value: object) -> int:
    if isinstance(value, (bytes, bytearray)):
        return len(value)
    return sum(PIECE_BYTES + _size(each) for each in value) if isinstance(value, tuple) else 0


def _short(value: object) -> str:
    if isinstance(value, (bytes, bytearray)) and len(value) > 16:
        return f"{len(value)} bytes"
    if isinstance(value, tuple) and value and isinstance(value[0], bytes):
        return f"{len(value)} of bytes, {sum(map(len, value))} in all"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Journal:
    """Entries in the order they were applied.

    Host input is bounded, in bytes and entries: beyond that it is no longer kept, `full` is True, and the world cannot be
    made again.
    """

    __slots__ = ("_bytes", "entries", "full")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.full = False
        self._bytes = 0

    def note_outside(self, entry: Entry) -> None:
        """Keep host input, as long as there is room."""
        self._bytes += ENTRY_BYTES + sum(map(_size, entry.args.values()))
        if self._bytes > LIMIT_BYTES:
            self.full = True
        if not self.full:
            self.entries.append(entry)

    def cut(self, event: int, t: Ns, name: str, instructions: int) -> None:
        """Note how far an event has come that was cut: commands that follow were given there.  Of several cuts without any, the last."""
        self.uncut(event)
        self.entries.append(Entry(event, t, CUT, {"name": name, "instructions": instructions}, outside=True))

    def uncut(self, event: int) -> None:
        """Forget a cut of the event after which no command was given: it was a look, and changed nothing."""
        if self.entries and self.entries[-1].name == CUT and self.entries[-1].event == event:
            self.entries.pop()

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def outside(self) -> int:
        """How many entries are host input (the others are commands a person or program gave, and cuts between them)."""
        return sum(1 for entry in self.entries if entry.outside and entry.name != CUT)
