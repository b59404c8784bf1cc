"""recorded: what slices of vCPUs came to, kept while a world is built again, so that the next time it is built they need no CPU.

    replay   slice of event 70, not known ─▶ executed ─▶ its exit, registers, the pages that changed ─▶ kept
    replay   slice of event 70, known, and the same commands came before ─▶ registers and pages are put there ─▶ its exit

A world is decided by its seed and its commands: what was kept is used only where the commands so far are the same.  It is a
cache: without it everything is the same, later.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.runtime.journal import Entry
from mirage_lab.vcpu.exits import Exit

if TYPE_CHECKING:
    from mirage_lab.xen.arch.vcpu import Vcpu

__all__ = ["Records"]

LARGEST: Final = 128 << 20
"""Bytes of pages kept; what comes later is executed each time."""
ROW: Final = 8_192
SHORTEST: Final = 500
"""Instructions of a slice that is worth it."""


@dataclass(frozen=True, slots=True)
class _Row:
    commands: int
    found: Exit
    instructions: int
    looks: int
    registers: bytes
    pages: dict[int, bytes]
    devices: Any


class Records:
    """The slices of one lab's worlds, by number of event."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._rows: dict[int, _Row] = {}
        self._size = 0
        self.used = 0
        """Slices that needed no CPU so far."""

    def __repr__(self) -> str:
        return f"<Records {len(self._rows):,} slices, {self._size >> 20} MiB, used {self.used:,} times>"

    def clear(self) -> None:
        """Forget all of it."""
        self._entries, self._rows, self._size = [], {}, 0

    def use(self, vcpu: Vcpu, event: int) -> tuple[Exit, int, int] | None:
        """Have a CPU as it was at the end of its slice; return exit, instructions and looks; None if that is not known."""
        row = self._rows.get(event)
        entries = vcpu.xen.world.journal.entries
        if row is None or len(entries) != row.commands or entries != self._entries[: row.commands]:
            return None
        vcpu.cuts.snapshots.change(row.registers, row.pages)
        vcpu.set_devices(row.devices)
        self.used += 1
        return copy(row.found), row.instructions, row.looks

    def keep(self, vcpu: Vcpu, event: int, found: Exit, instructions: int, looks: int) -> None:
        """Keep what a slice came to, that was just executed whole."""
        if instructions < SHORTEST or self._size > LARGEST:
            return
        self._agree(vcpu.xen.world.journal.entries)
        registers, pages = vcpu.cuts.snapshots.changes()
        self._forget(event)
        self._size += ROW + sum(map(len, pages.values()))
        self._rows[event] = _Row(len(vcpu.xen.world.journal.entries), copy(found), instructions, looks, registers, pages, vcpu.devices())

    def _forget(self, event: int) -> None:
        row = self._rows.pop(event, None)
        if row is not None:
            self._size -= ROW + sum(map(len, row.pages.values()))

    def _agree(self, entries: list[Entry]) -> None:
        """Drop what was kept of a world whose commands were others."""
        both = min(len(entries), len(self._entries))
        same = next((at for at in range(both) if entries[at] != self._entries[at]), both)
        if same < both:
            for event in [event for event, row in self._rows.items() if row.commands > same]:
                self._forget(event)
            self._entries = self._entries[:same]
        if len(entries) > len(self._entries):
            self._entries = list(entries)
