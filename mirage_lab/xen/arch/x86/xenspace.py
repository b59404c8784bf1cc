"""xenspace: what Xen itself has in the address space of a PV guest: slots 256 to 271 of each L4 table.

    0xffff_8000_0000_0000   machine to physical, for reading: pages of ones where the machine's frames are not this domain's
    0xffff_8200_0000_0000   the descriptor table: 14 pages of the guest's choice, 2 of Xen's          not for the guest
    0xffff_8200_0001_0000   a page with the one instruction iretq, and the page it takes a frame from   for reading
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from typing import Final

from mirage_lab.vcpu.cpu import Cpu
from mirage_lab.xen.abi import pv
from mirage_lab.xen.abi.mmu import ENTRIES, PRESENT, RW, USER
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.hypervisor.hypervisor import PRIVATE_FRAMES
from mirage_lab.xen.hypervisor.memory import DomainMemory

__all__ = ["FRAME_AT", "GDT", "GDT_LIMIT", "TRAMPOLINE", "XenSpace"]

GDT: Final = 0xFFFF_8200_0000_0000
GDT_PAGES: Final = pv.GDT_GUEST_PAGES + 2
GDT_LIMIT: Final = GDT_PAGES * PAGE_SIZE - 1
TRAMPOLINE: Final = GDT + GDT_PAGES * PAGE_SIZE
FRAME_AT: Final = TRAMPOLINE + PAGE_SIZE
IRETQ: Final = b"\x48\xcf"
_ENTRIES: Final = {
    0x08: 0x00AF_9B00_0000_FFFF,  # Xen's code
    0x10: 0x00CF_9300_0000_FFFF,  # Xen's data
    0x20: 0x00CF_FB00_0000_FFFF,  # 0xe023: code of 32 bits, ring 3
    0x28: 0x00CF_F300_0000_FFFF,  # 0xe02b: data, ring 3
    0x30: 0x00AF_FB00_0000_FFFF,  # 0xe033: code of 64 bits, ring 3
}
_READ: Final = PRESENT | USER
_OWN: Final = PRESENT | RW
_TABLE: Final = PRESENT | RW | USER


class XenSpace:
    """These pages, in memory of their own that the CPU sees far above any RAM."""

    def __init__(self, cpu: Cpu, memory: DomainMemory) -> None:
        self._first = memory.base // ENTRIES
        m2p_pages = (memory.base + memory.nr_pages - 1) // ENTRIES - self._first + 1
        tables = (self._first + m2p_pages - 1) // ENTRIES - self._first // ENTRIES + 1
        self._taken = 0
        pages = 12 + tables + m2p_pages
        self._memory = mmap.mmap(-1, pages * PAGE_SIZE)
        self._view = memoryview(self._memory)
        self._words = self._view.cast("Q")
        self._base = memory.base
        self.m2p = self._machine_to_physical(m2p_pages, tables)
        self.zero, self._gdt_table, self._frame = self._own_pages()
        l3s = {0: self._l3_m2p, (GDT >> 39 & 511) - pv.FIRST_SLOT: self._l3_own}
        self.slots = [self._entry(l3s[at], _TABLE) if at in l3s else 0 for at in range(pv.LAST_SLOT - pv.FIRST_SLOT + 1)]
        """The entries of an L4 table."""
        cpu.map(PRIVATE_FRAMES << PAGE_SHIFT, self._memory)

    def _take(self, count: int = 1) -> int:
        self._taken += count
        return self._taken - count

    def _entry(self, page: int, flags: int) -> int:
        return (PRIVATE_FRAMES + page) << PAGE_SHIFT | flags

    def _put(self, table: int, slot: int, entry: int) -> None:
        self._words[table * ENTRIES + slot] = entry

    def _machine_to_physical(self, pages: int, tables: int) -> memoryview:
        l3, l2, ones, ones_l1 = (self._take() for _ in range(4))
        self._l3_m2p = l3
        first_l1, first_page = self._take(tables), self._take(pages)
        self._view[ones << PAGE_SHIFT : (ones + 1) << PAGE_SHIFT] = b"\xff" * PAGE_SIZE
        self._put(l3, 0, self._entry(l2, _TABLE))
        for at in range(ENTRIES):
            self._put(ones_l1, at, self._entry(ones, _READ))
            mine = at - self._first // ENTRIES
            self._put(l2, at, self._entry(first_l1 + mine if 0 <= mine < tables else ones_l1, _TABLE))
        for at in range(tables * ENTRIES):
            mine = at - self._first % ENTRIES
            self._put(first_l1, at, self._entry(first_page + mine if 0 <= mine < pages else ones, _READ))
        start = first_page << PAGE_SHIFT
        self._view[start : start + (pages << PAGE_SHIFT)] = b"\xff" * (pages << PAGE_SHIFT)
        return self._words[first_page * ENTRIES : (first_page + pages) * ENTRIES]

    def _own_pages(self) -> tuple[int, int, int]:
        l3, l2, l1, zero, gdt, _, trampoline, frame = (self._take() for _ in range(8))
        self._l3_own = l3
        self._put(l3, GDT >> 30 & 511, self._entry(l2, _TABLE))
        self._put(l2, GDT >> 21 & 511, self._entry(l1, _TABLE))
        for at in range(pv.GDT_GUEST_PAGES):
            self._put(l1, at, self._entry(zero, PRESENT))
        for at in range(2):
            self._put(l1, pv.GDT_GUEST_PAGES + at, self._entry(gdt + at, _OWN))
        self._put(l1, GDT_PAGES, self._entry(trampoline, _READ))
        self._put(l1, GDT_PAGES + 1, self._entry(frame, _READ))
        for offset, descriptor in _ENTRIES.items():
            struct.pack_into("<Q", self._view, (gdt << PAGE_SHIFT) + offset, descriptor)
        self._view[trampoline << PAGE_SHIFT : (trampoline << PAGE_SHIFT) + 2] = IRETQ
        return zero, l1, frame

    def set_m2p(self, mfn: int, pfn: int) -> None:
        """Write the machine-to-physical entry of a frame of the domain."""
        self.m2p[mfn - self._first * ENTRIES] = pfn

    def set_gdt(self, mfns: Sequence[int]) -> None:
        """Have these frames be the first pages of the descriptor table."""
        for at in range(pv.GDT_GUEST_PAGES):
            self._put(self._gdt_table, at, mfns[at] << PAGE_SHIFT | _OWN if at < len(mfns) else self._entry(self.zero, PRESENT))

    def set_frame(self, rip: int, cs: int, rflags: int, rsp: int, ss: int) -> None:
        """Write what iretq on the trampoline is to take."""
        struct.pack_into("<5Q", self._view, self._frame << PAGE_SHIFT, rip, cs, rflags, rsp, ss)
