"""Pages: which pages of its RAM the kernel has given out (Mini-OS mm.c), and addresses for mappings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.xen.abi.errno import check
from mirage_lab.xen.abi.gate import Gate
from mirage_lab.xen.abi.memory import L1_PROT, VA_MAPPING_ARG
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE, UPDATE_VA_MAPPING, Mfn, Pfn

__all__ = ["Pages"]

UVMF_INVLPG: Final = 2


class Pages:
    """Free pages from `first` on; demand mappings above RAM."""

    def __init__(self, gate: Gate, first: Pfn) -> None:
        self._gate = gate
        self._next = int(first)
        self._free: list[Pfn] = []
        self.addresses: Iterator[int] = itertools.count(gate.memory.demand, PAGE_SIZE)
        """Free addresses above RAM, for mappings."""

    def allocate(self) -> Pfn:
        """Return a zeroed page; raises LocalProtocolError when memory is full."""
        if self._free:
            pfn = self._free.pop()
            self._gate.memory.page(pfn)[:] = bytes(PAGE_SIZE)
            return pfn
        if self._next >= self._gate.memory.nr_pages:
            raise LocalProtocolError(f"out of memory: all {self._gate.memory.nr_pages} pages are in use; lab.create(image, memory_mib=...) gives more")
        self._next += 1
        return Pfn(self._next - 1)

    def free(self, pfn: Pfn) -> None:
        """Take a page back."""
        self._free.append(pfn)

    def map_frames(self, mfns: list[Mfn]) -> list[memoryview]:
        """Map machine frames at the next free addresses and return their pages."""
        pages = []
        for mfn in mfns:
            address = next(self.addresses)
            arg = bytearray(VA_MAPPING_ARG.pack(address, mfn << PAGE_SHIFT | L1_PROT, UVMF_INVLPG))
            check(self._gate.call(UPDATE_VA_MAPPING, 0, arg), f"mapping machine frame {mfn:#x}")
            pages.append(self._gate.memory.at(address))
        return pages
