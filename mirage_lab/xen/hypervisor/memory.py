"""DomainMemory: a domain's pages: one anonymous private mapping, whose untouched pages cost nothing.

    0 ........................ RAM ........................ nr_pages * 4096 | one page left out | demand: what was mapped
    page(pfn), mfn(pfn) = first mfn + pfn                                        at(address)

A page is a slice of the mapping, made when asked for; whoever maps a page of another domain gets the same bytes.  A page
that the domain gave up is `absent`: it is nobody's, and the host has it back; one that others use is `pinned`.
"""

from __future__ import annotations

import mmap
import sys
from typing import Any, Protocol

from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE, Mfn, Pfn

__all__ = ["DomainMemory"]


def _anonymous(size: int) -> mmap.mmap:
    """Return zeroed memory that the host provides page by page, when touched."""
    flags = getattr(mmap, "MAP_PRIVATE", None)
    if flags is None:
        return mmap.mmap(-1, size)
    flags |= mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    how: dict[str, Any] = {"flags": flags}
    return mmap.mmap(-1, size, **how)


class Access(Protocol):
    """How a guest that is machine code sees its memory: through the page tables of its CPU."""

    def load(self, linear: int, size: int) -> bytes | None:
        """Return bytes at a linear address, None where they are not all there."""

    def store(self, linear: int, data: bytes) -> bool:
        """Write bytes at a linear address: all, or none and False."""


class DomainMemory:
    """The address space of one domain."""

    __slots__ = ("_mapped", "_ram", "absent", "access", "base", "covered", "nr_pages", "pins", "view", "word")

    def __init__(self, nr_pages: int, base: Mfn) -> None:
        self.nr_pages = nr_pages
        self.base = base
        self._ram = _anonymous(nr_pages << PAGE_SHIFT)
        self.view = memoryview(self._ram)
        self._mapped: dict[int, memoryview] = {}
        self.access: Access | None = None
        self.absent: set[int] = set()
        self.covered: set[int] = set()
        """Pages in whose place the guest sees something else."""
        self.pins: dict[int, int] = {}
        self.word = 8
        """Bytes of an unsigned long of the code that runs now."""

    @property
    def demand(self) -> int:
        """First address free for mappings."""
        return (self.nr_pages + 1) << PAGE_SHIFT

    def page(self, pfn: Pfn) -> memoryview:
        """Return RAM page `pfn`; raises IndexError beyond the end."""
        if not 0 <= pfn < self.nr_pages:
            raise IndexError(f"page {pfn}: the domain has {self.nr_pages}")
        start = pfn << PAGE_SHIFT
        return self.view[start : start + PAGE_SIZE]

    def mfn(self, pfn: Pfn) -> Mfn:
        """Return the machine frame of a RAM page."""
        return Mfn(self.base + pfn)

    def owns(self, mfn: int) -> bool:
        """True if the machine frame is RAM of this domain."""
        return self.base <= mfn < self.base + self.nr_pages

    def frame(self, mfn: int) -> memoryview:
        """Return the RAM page with this machine frame."""
        return self.page(Pfn(mfn - self.base))

    def ram(self, mfn: int) -> memoryview | None:
        """Return the page that a domain means by a frame number of its own; None where it has no RAM."""
        pfn = mfn - self.base
        if not 0 <= pfn < self.nr_pages or pfn in self.absent or pfn in self.covered:
            return None
        return self.view[pfn << PAGE_SHIFT : (pfn + 1) << PAGE_SHIFT]

    def pin(self, pfn: int, step: int = 1) -> None:
        """Count a use of a page begun (1) or ended (-1): one in use cannot be given up."""
        count = self.pins.get(pfn, 0) + step
        if count:
            self.pins[pfn] = count
        else:
            del self.pins[pfn]

    def drop(self, pfn: int) -> None:
        """Give a page up: its bytes go back to the host."""
        self.absent.add(pfn)
        start = pfn << PAGE_SHIFT
        if sys.platform == "linux" and mmap.PAGESIZE == PAGE_SIZE:
            self._ram.madvise(mmap.MADV_DONTNEED, start, PAGE_SIZE)
        else:
            self.view[start : start + PAGE_SIZE] = bytes(PAGE_SIZE)

    def at(self, address: int) -> memoryview:
        """Return the page at a virtual address; raises KeyError where nothing is mapped."""
        pfn = address >> PAGE_SHIFT
        if pfn < self.nr_pages:
            return self.page(Pfn(pfn))
        return self._mapped[pfn]

    @property
    def mapped(self) -> list[tuple[int, memoryview]]:
        """What is mapped beyond RAM: (address, page), in order."""
        return [(pfn << PAGE_SHIFT, page) for pfn, page in sorted(self._mapped.items())]

    def mapped_at(self, address: int) -> bool:
        """True if something is mapped there, beyond RAM."""
        return address >> PAGE_SHIFT in self._mapped

    # the hypervisor's side ---------------------------------------------------------------------------------------

    def free_at(self, address: int) -> bool:
        """True if a page may be mapped there: aligned, beyond RAM, nothing there yet."""
        pfn = address >> PAGE_SHIFT
        return not address & (PAGE_SIZE - 1) and pfn > self.nr_pages and pfn not in self._mapped

    def map(self, address: int, page: memoryview) -> None:
        """Map a page, a view of its own, that `unmap` releases."""
        self._mapped[address >> PAGE_SHIFT] = page[:]

    def unmap(self, address: int) -> None:
        """Take a mapping back: the view is released, and using it afterwards raises ValueError."""
        self._mapped.pop(address >> PAGE_SHIFT).release()

    def move(self, address: int, to: int) -> None:
        """Have what is mapped at one address be at another, where nothing is."""
        self._mapped[to >> PAGE_SHIFT] = self._mapped.pop(address >> PAGE_SHIFT)

    def range(self, address: int, length: int) -> memoryview | None:
        """Return `length` bytes at a RAM address, or None when they are not all RAM (EFAULT)."""
        if address < 0 or length < 0 or address + length > self.nr_pages << PAGE_SHIFT:
            return None
        return self.view[address : address + length]

    def load(self, address: int, length: int) -> bytes | None:
        """Return bytes at an address as the guest means it, None where they are not all there (EFAULT)."""
        if self.access is not None:
            return self.access.load(address, length)
        found = self.range(address, length)
        return None if found is None else bytes(found)

    def store(self, address: int, data: bytes) -> bool:
        """Write bytes at an address as the guest means it: all, or none and False (EFAULT)."""
        if self.access is not None:
            return self.access.store(address, data)
        found = self.range(address, len(data))
        if found is None:
            return False
        found[:] = data
        return True
