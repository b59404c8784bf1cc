"""paging: how x86 finds a physical address: the page tables, walked in Python (Intel SDM volume 3, chapter 4).

    CR3 ─▶ PML4[47:39] ─▶ PDPT[38:30] ─▶ PD[29:21] ─▶ PT[20:12] ─▶ page      long mode; PAE begins at PDPT[31:30]
    CR3 ─▶ PD[31:22] ─▶ PT[21:12] ─▶ page                                    32 bits without PAE
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["LMA", "PAE", "PG", "PSE", "Step", "Walk", "walk"]

PG: Final = 1 << 31
PAE: Final = 1 << 5
PSE: Final = 1 << 4
LMA: Final = 1 << 10
PRESENT: Final = 1
WRITABLE: Final = 2
USER: Final = 4
LARGE: Final = 1 << 7
ADDRESS: Final = 0x000F_FFFF_FFFF_F000


@dataclass(frozen=True, slots=True)
class Step:
    """One entry on the way: the `table` it is in, by name, where it lies, and what it says."""

    table: str
    address: int
    entry: int


@dataclass(frozen=True, slots=True)
class Walk:
    """The way of an address: its steps, and where it ended: `physical`, or None where an entry is not present."""

    linear: int
    steps: tuple[Step, ...]
    physical: int | None
    writable: bool = True
    user: bool = True
    size: int = 4096


def walk(word: Callable[[int, int], int | None], linear: int, cr0: int, cr3: int, cr4: int, efer: int) -> Walk:
    """Walk the tables; `word(physical, size)` reads a little-endian number, None where there is no memory."""
    if not cr0 & PG:
        return Walk(linear, (), linear & 0xFFFF_FFFF)
    levels: tuple[str, ...]
    if efer & LMA:
        if (linear >> 47) not in (0, 0x1FFFF):
            return Walk(linear, (), None)  # not canonical
        levels, width, bits = ("PML4", "PDPT", "PD", "PT"), 8, 9
        table = cr3 & ADDRESS
    elif cr4 & PAE:
        levels, width, bits = ("PDPT", "PD", "PT"), 8, 9
        table = cr3 & 0xFFFF_FFE0
    else:
        levels, width, bits = ("PD", "PT"), 4, 10
        table = cr3 & 0xFFFF_F000
    steps: list[Step] = []
    writable = user = True
    for at, name in enumerate(levels):
        shift = 12 + bits * (len(levels) - 1 - at)
        address = table + ((linear >> shift) & ((1 << bits) - 1)) * width
        entry = word(address, width)
        if entry is None:
            return Walk(linear, tuple(steps), None)
        steps.append(Step(name, address, entry))
        if not entry & PRESENT:
            return Walk(linear, tuple(steps), None)
        if not (name == "PDPT" and len(levels) == 3):  # the four entries of PAE have no rights
            writable = writable and bool(entry & WRITABLE)
            user = user and bool(entry & USER)
        large = entry & LARGE and (name == "PD" or (name == "PDPT" and len(levels) == 4)) and (width == 8 or cr4 & PSE)
        if name == "PT" or large:
            size = 1 << shift
            frame = entry & (ADDRESS if width == 8 else 0xFFFF_F000) & -size
            return Walk(linear, tuple(steps), frame | linear & (size - 1), writable, user, size)
        table = entry & (ADDRESS if width == 8 else 0xFFFF_F000)
    raise AssertionError("the last level is a page")
