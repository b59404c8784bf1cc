"""pvgrants: pages of others in the page tables of a PV guest (xen/arch/x86/mm.c: create_grant_host_mapping).

    map_grant_ref at an address, or at an entry of a table (GNTMAP_contains_pte)  ─▶  Xen writes the entry, with a frame that no guest may write

The frame is a number of its own for each mapping, which the CPU of this guest alone knows; once unmapped it leads nowhere.
"""

from __future__ import annotations

from typing import Final

from mirage_lab.runtime import costs
from mirage_lab.xen.abi import grant_table as gnt
from mirage_lab.xen.abi import mmu
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.x86.frames import L1
from mirage_lab.xen.arch.x86.pvmmu import PvMmu
from mirage_lab.xen.hypervisor import Domain
from mirage_lab.xen.hypervisor.hypervisor import PRIVATE_FRAMES

__all__ = ["PvGrants"]

FIRST: Final = PRIVATE_FRAMES + (1 << 20)
NUMBERS: Final = 1 << 24
"""So many mappings until a number is used again."""
MOST_PIECES: Final = 1_024


class PvGrants:
    """What a guest has mapped: by the address it said, the frame, and the table and slot of its entry."""

    __slots__ = ("_domain", "_mmu", "_next", "_there")

    def __init__(self, domain: Domain, tables: PvMmu) -> None:
        self._domain = domain
        self._mmu = tables
        self._there: dict[int, tuple[int, int, int]] = {}
        self._next = 0

    def frame(self, address: int) -> int | None:
        """Return the frame that a mapped page has here, None if nothing is mapped by that address."""
        found = self._there.get(address)
        return None if found is None else found[0]

    def map(self, address: int, flags: int, page: memoryview) -> int:
        """Write the entry that maps a granted page; 0 or a negative GNTST."""
        cpu, frames = self._mmu.cpu, self._mmu.frames
        if flags & gnt.GNTMAP_CONTAINS_PTE:
            index = frames.owned(address >> PAGE_SHIFT)
            found = None if index < 0 or address & 7 else (index, (address & PAGE_SIZE - 1) >> 3)
        else:
            found = self._mmu.entry_of(address)
        if found is None or frames.kinds[found[0]] != L1 or address in self._there:
            return gnt.GNTST_GENERAL_ERROR
        if cpu.pieces + 2 > MOST_PIECES:
            return gnt.GNTST_NO_DEVICE_SPACE
        writable = not flags & gnt.GNTMAP_READONLY
        mfn = FIRST + self._next % NUMBERS
        self._next += 1
        frames.change(*found, 0)
        cpu.map(mfn << PAGE_SHIFT, page, writable=writable)
        rights = (flags >> gnt.GNTMAP_GUEST_AVAIL & 7) << mmu.AVAIL
        rights |= mmu.PRESENT | mmu.USER | mmu.ACCESSED | (mmu.RW | mmu.DIRTY if writable else 0)
        frames.words[found[0] * mmu.ENTRIES + found[1]] = mfn << PAGE_SHIFT | rights
        self._there[address] = (mfn, *found)
        self._domain.queue.charge(costs.REMAP)
        return gnt.GNTST_OKAY

    def unmap(self, address: int) -> int:
        """Take the frame away, and the entry if it is still there; 0 or a negative GNTST."""
        found = self._there.pop(address, None)
        if found is None:
            return gnt.GNTST_GENERAL_ERROR
        mfn, index, slot = found
        frames = self._mmu.frames
        at = index * mmu.ENTRIES + slot
        if frames.kinds[index] == L1 and frames.words[at] >> PAGE_SHIFT & mmu.FRAME == mfn:
            frames.words[at] = 0
        self._mmu.cpu.unmap(mfn << PAGE_SHIFT)
        self._domain.queue.charge(costs.REMAP)
        return gnt.GNTST_OKAY
