"""armpaging: how ARM finds a physical address: the page tables, walked in Python (ARM ARM, D5 for 64 bits, B3 of v7 for 32).

    TTBR0, or TTBR1 if bit 55 is set ─▶ L0[47:39] ─▶ L1[38:30] ─▶ L2[29:21] ─▶ L3[20:12] ─▶ page     64 bits, granule of 4 KiB
    TTBR0, or TTBR1 from 2^(32 - N) on ─▶ L1[31:20] ─▶ L2[19:12] ─▶ page                             32 bits, short descriptors

Blocks, sections and granules of 16 and 64 KiB too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mirage_lab.vcpu.paging import Step, Walk

__all__ = ["walk32", "walk64"]

MMU: Final = 1
AFE: Final = 1 << 29
VALID: Final = 1
TABLE: Final = 3
ACCESSED: Final = 1 << 10
USER: Final = 1 << 6
READ_ONLY: Final = 1 << 7
USER_TABLE: Final = 1 << 61
READ_ONLY_TABLE: Final = 1 << 62
_GRANULES: Final = ((12, 16, 14, 12), (12, 14, 12, 16))
"""Bits of a page, by TG0 and by TG1."""

Word = Callable[[int, int], int | None]


def walk64(word: Word, linear: int, sctlr: int, tcr: int, ttbr0: int, ttbr1: int) -> Walk:
    """Walk the tables of AArch64; `word(physical, size)` reads a little-endian number, None where there is no memory."""
    if not sctlr & MMU:
        return Walk(linear, (), linear)
    high = linear >> 55 & 1
    ignored = tcr >> (38 if high else 37) & 1
    bits = 64 - min(max(tcr >> (16 if high else 0) & 63, 16), 39)
    top = linear >> bits & ((1 << (56 if ignored else 64) - bits) - 1)
    if top != (((1 << (56 if ignored else 64) - bits) - 1) if high else 0) or tcr >> (23 if high else 7) & 1:
        return Walk(linear, (), None)
    page = _GRANULES[high][tcr >> (30 if high else 14) & 3]
    stride = page - 3
    level = 4 - -(-(bits - page) // stride)
    table = (ttbr1 if high else ttbr0) & 0x0000_FFFF_FFFF_FFFE
    offset = linear & ((1 << bits) - 1)
    steps: list[Step] = []
    writable = user = True
    while True:
        shift = page + stride * (3 - level)
        address = table + (offset >> shift & ((1 << stride) - 1)) * 8
        entry = word(address, 8)
        if entry is None:
            return Walk(linear, tuple(steps), None)
        steps.append(Step(f"L{level}", address, entry))
        leaf = level == 3 or not entry & 2
        if not entry & VALID or (level == 3 and not entry & 2) or (leaf and (level < (1 if page == 12 else 2) or not entry & ACCESSED)):
            return Walk(linear, tuple(steps), None)
        if leaf:
            size = 1 << shift
            writable, user = writable and not entry & READ_ONLY, user and bool(entry & USER)
            return Walk(linear, tuple(steps), entry & 0x0000_FFFF_FFFF_F000 & -size | linear & (size - 1), writable, user, size)
        writable, user = writable and not entry & READ_ONLY_TABLE, user and not entry & USER_TABLE
        table = entry & 0x0000_FFFF_FFFF_F000 & -(1 << page)
        level += 1


def walk32(word: Word, linear: int, sctlr: int, ttbcr: int, ttbr0: int, ttbr1: int, dacr: int) -> Walk:
    """Walk the tables of ARMv7 with short descriptors."""
    linear &= 0xFFFF_FFFF
    if not sctlr & MMU:
        return Walk(linear, (), linear)
    split = ttbcr & 7
    second = bool(split and linear >> (32 - split))
    if ttbcr >> (5 if second else 4) & 1:
        return Walk(linear, (), None)
    table = ttbr1 & 0xFFFF_C000 if second else ttbr0 & -(1 << 14 - split) & 0xFFFF_FFFF
    address = table + ((linear >> 20) << 2)
    entry = word(address, 4)
    if entry is None:
        return Walk(linear, (), None)
    steps = [Step("L1", address, entry)]
    domain = entry >> 5 & 15
    if not entry & 3:
        return Walk(linear, tuple(steps), None)
    if entry & 2:
        size = 1 << 24 if entry & 1 << 18 else 1 << 20
        domain = 0 if entry & 1 << 18 else domain
        rights = (entry >> 13 & 4) | (entry >> 10 & 3)
    else:
        address = (entry & 0xFFFF_FC00) + ((linear >> 12 & 255) << 2)
        entry = word(address, 4)
        if entry is None:
            return Walk(linear, tuple(steps), None)
        steps.append(Step("L2", address, entry))
        if not entry & 3:
            return Walk(linear, tuple(steps), None)
        size = 1 << 12 if entry & 2 else 1 << 16
        rights = (entry >> 7 & 4) | (entry >> 4 & 3)
    readable, writable, user = _rights(rights, dacr >> 2 * domain & 3, bool(sctlr & AFE))
    physical = entry & -size & 0xFFFF_FFFF | linear & (size - 1) if readable else None
    return Walk(linear, tuple(steps), physical, writable, user, size)


def _rights(ap: int, domain: int, simple: bool) -> tuple[bool, bool, bool]:
    """Return what AP[2:0] gives: the kernel may read, it may write, the user may read."""
    if domain != 1:
        return domain == 3, domain == 3, domain == 3
    if simple:
        return bool(ap & 1), not ap & 4, bool(ap & 2)
    return bool(ap & 3), ap in (1, 2, 3), ap in (2, 3, 6, 7)
