"""pvbuilder: fills the memory of a PV guest of x86-64 before it first runs (tools/libs/guest: xg_dom_core.c, xg_dom_x86.c).

    VIRT_BASE ─▶ kernel │ ramdisk │ pfn -> mfn list │ start_info │ xenstore ring │ console ring │ page tables │ boot stack │ up to 4 MiB more

All of it is mapped, page by page, by the first page tables; those themselves for reading only.  With the note INIT_P2M the
list lies behind the stack, and is mapped at the address that the note says.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

from mirage_lab.xen.abi import grant_table as gnt
from mirage_lab.xen.abi import mmu, pv
from mirage_lab.xen.abi.shared_info import UPCALL_MASK
from mirage_lab.xen.abi.start_info import StartInfo
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE, Mfn, Pfn
from mirage_lab.xen.arch.x86.pv import Pv, hypercall_page
from mirage_lab.xen.dom0.builder import Built, unbound
from mirage_lab.xen.dom0.elf import Elf, ImageError, read_elf
from mirage_lab.xen.hypervisor import Domain, Hypervisor
from mirage_lab.xen.hypervisor.hypervisor import shared_info_mfn

__all__ = ["build_pv"]

SLACK: Final = 512 << 10
"""Bytes that are mapped behind the boot stack at least."""
ROUND: Final = 4 << 20
PAGE_RW: Final = mmu.PRESENT | mmu.RW | mmu.USER | mmu.ACCESSED | mmu.DIRTY
PAGE_RO: Final = PAGE_RW & ~mmu.RW
_ALL: Final = (1 << 64) - 1


class Layout:
    """Where everything is: page numbers of the guest, and the address of each as base + page."""

    def __init__(self, elf: Elf, nr_pages: int, ramdisk: int = 0) -> None:
        self.base = elf.number(pv.NOTE_VIRT_BASE) or 0
        self.offset = elf.number(pv.NOTE_PADDR_OFFSET) or 0
        self.p2m_at = elf.number(pv.NOTE_INIT_P2M)
        if self.base % ROUND or (self.p2m_at or 0) % PAGE_SIZE:
            raise ImageError(f"VIRT_BASE {self.base:#x} is to be whole 4 MiB, INIT_P2M {self.p2m_at or 0:#x} whole pages")
        lowest = min(segment.physical for segment in elf.segments) - self.offset
        highest = max(segment.physical + segment.size for segment in elf.segments) - self.offset
        if lowest < 0 or highest > nr_pages << PAGE_SHIFT:
            self._too_small(max(highest, 0) + ROUND, lowest < 0)
        self.p2m_pages = _pages(8 * nr_pages)
        self.ramdisk = _pages(highest)
        self.ramdisk_pages = _pages(ramdisk)
        at = self.p2m = self.ramdisk + self.ramdisk_pages
        self.start_info = at + (self.p2m_pages if self.p2m_at is None else 0)
        self.store, self.console, self.tables = (self.start_info + n for n in (1, 2, 3))
        self.nr_tables = 0
        while True:
            self.stack = self.tables + self.nr_tables
            end = -(-((self.stack + 1 << PAGE_SHIFT) + SLACK) // ROUND) * ROUND
            regions = [(self.base, 0, end >> PAGE_SHIFT)]
            if self.p2m_at is not None:
                self.p2m = self.stack + 1
                end = max(end, self.p2m + self.p2m_pages << PAGE_SHIFT)
                regions.append((self.p2m_at, self.p2m, self.p2m_pages))
            needed = _tables(regions)
            if len(needed) <= self.nr_tables:
                break
            self.nr_tables = len(needed)
        self.regions = regions
        """(address, first page, pages) of what is mapped."""
        if end > nr_pages << PAGE_SHIFT:
            self._too_small(end, False)
        for address, _, count in regions:
            if address + (count << PAGE_SHIFT) > _ALL or (address < pv.VIRT_END and address + (count << PAGE_SHIFT) > 1 << 47):
                raise ImageError(f"its notes place it at {address:#x}, where Xen is, or nothing can be")

    def _too_small(self, need: int, below: bool) -> None:
        if below:
            raise ImageError(f"its kernel begins below PADDR_OFFSET {self.offset:#x}")
        raise ImageError(f"its kernel, page tables and stack reach up to {need:#x}: give it memory_mib={-(-need >> 20)} at least")

    def address(self, pfn: int) -> int:
        """Return where a page is mapped at the beginning."""
        return self.base + (pfn << PAGE_SHIFT)


def _pages(size: int) -> int:
    return -(-size // PAGE_SIZE)


def _tables(regions: list[tuple[int, int, int]]) -> dict[tuple[int, int], int]:
    """Return the page tables that map some regions, L4 first: by level and the address they begin to map, in order."""
    found: dict[tuple[int, int], int] = {(4, 0): 0}
    for level, shift in ((3, 39), (2, 30), (1, 21)):
        for address, _, count in regions:
            for at in range(address >> shift, (address + (count << PAGE_SHIFT) - 1 >> shift) + 1):
                found.setdefault((level, at), len(found))
    return found


def build_pv(xen: Hypervisor, domain: Domain, data: bytes, cmdline: str, ramdisk: bytes = b"", *, order: Sequence[int] | None = None) -> Built:
    """Load a kernel and prepare its vCPU, page tables, magic pages, first grants and two event channels; raises ImageError.

    `order`: which frame of the domain's memory each page is, if they are not to be in order.
    """
    elf = read_elf(data)
    memory = domain.memory
    layout = Layout(elf, memory.nr_pages, len(ramdisk))
    order = range(memory.nr_pages) if order is None else order
    pages = [memory.page(Pfn(index)) for index in order[: layout.stack + 1 + (layout.p2m_pages if layout.p2m_at is not None else 0)]]
    _load(elf, layout, pages)
    _spread(pages, layout.ramdisk, ramdisk)
    mfns = array("Q", (memory.base + index for index in order))
    _spread(pages, layout.p2m, mfns.tobytes())
    _map(layout, pages, mfns)
    domain.shared[UPCALL_MASK] = 1
    store_port, console_port = unbound(domain), unbound(domain)
    in_layout = layout.p2m_at is None
    info = StartInfo(
        nr_pages=memory.nr_pages,
        shared_info=shared_info_mfn(domain) << PAGE_SHIFT,
        store_mfn=Mfn(mfns[layout.store]),
        store_evtchn=store_port,
        console_mfn=Mfn(mfns[layout.console]),
        console_evtchn=console_port,
        mfn_list=layout.address(layout.p2m) if layout.p2m_at is None else layout.p2m_at,
        cmd_line=cmdline,
        pt_base=layout.address(layout.tables),
        nr_pt_frames=layout.nr_tables,
        mod_start=layout.address(layout.ramdisk) if ramdisk else 0,
        mod_len=len(ramdisk),
        first_p2m_pfn=0 if in_layout else layout.p2m,
        nr_p2m_frames=0 if in_layout else layout.p2m_pages,
    )
    _spread(pages, layout.start_info, info.encode())
    for ref, pfn in ((gnt.GREF_CONSOLE, layout.console), (gnt.GREF_XENSTORE, layout.store)):
        gnt.ENTRY.pack_into(domain.grants.frames[0], ref * gnt.ENTRY_SIZE, gnt.GTF_PERMIT_ACCESS, 0, mfns[pfn])
    machine = Pv(xen, domain)
    machine.built = _built(elf, layout, mfns)
    for pfn, mfn in enumerate(mfns):
        machine.space.set_m2p(mfn, pfn)
    entry = elf.number(pv.NOTE_ENTRY)
    stack = layout.address(layout.stack + 1)
    wrong = machine.start(order[layout.tables], elf.entry if entry is None else entry, stack, layout.address(layout.start_info))
    if wrong:
        raise ImageError(wrong)
    return Built(Pfn(layout.start_info), store_port, console_port, info.store_mfn, info.console_mfn)


def _built(elf: Elf, layout: Layout, mfns: array[int]) -> list[tuple[int, int, str]]:
    """Return what is where, by machine frames: (first, how many, what)."""
    what = [(_pages(segment.physical - layout.offset + segment.size), "kernel code" if segment.executable else "kernel data") for segment in elf.segments]
    named: dict[int, str] = {}
    for (end, name), segment in zip(what, elf.segments):
        named.update(dict.fromkeys(range((segment.physical - layout.offset) >> PAGE_SHIFT, end), name))
    named.update(dict.fromkeys(range(layout.ramdisk, layout.ramdisk + layout.ramdisk_pages), "ramdisk"))
    named.update(dict.fromkeys(range(layout.p2m, layout.p2m + layout.p2m_pages), "pfn list"))
    named.update({layout.start_info: "start_info", layout.store: "xenstore ring", layout.console: "console ring", layout.stack: "boot stack"})
    found: list[tuple[int, int, str]] = []
    for pfn, name in sorted(named.items()):
        last = found[-1] if found else (0, 0, "")
        if (last[0] + last[1], last[2]) == (mfns[pfn], name):
            found[-1] = (last[0], last[1] + 1, name)
        else:
            found.append((mfns[pfn], 1, name))
    return found


def _spread(pages: list[memoryview], first: int, data: bytes) -> None:
    """Write bytes from the beginning of a page on, over as many as it takes."""
    for at in range(0, len(data), PAGE_SIZE):
        piece = data[at : at + PAGE_SIZE]
        pages[first + at // PAGE_SIZE][: len(piece)] = piece


def _load(elf: Elf, layout: Layout, pages: list[memoryview]) -> None:
    for segment in elf.segments:
        at = segment.physical - layout.offset
        head = -at % PAGE_SIZE
        first = segment.data[:head]
        if first:
            start = at % PAGE_SIZE
            pages[at // PAGE_SIZE][start : start + len(first)] = first
        _spread(pages, (at + head) // PAGE_SIZE, segment.data[head:])
    where = elf.number(pv.NOTE_HYPERCALL_PAGE)
    if where is not None:
        pfn = (where - layout.base) >> PAGE_SHIFT
        if where % PAGE_SIZE or not 0 <= pfn < layout.ramdisk:
            raise ImageError(f"its note HYPERCALL_PAGE says {where:#x}, which is no page of its kernel")
        pages[pfn][:] = hypercall_page()


def _map(layout: Layout, pages: list[memoryview], mfns: array[int]) -> None:
    """Write the page tables."""
    tables = _tables(layout.regions)
    words = {key: pages[layout.tables + number].cast("Q") for key, number in tables.items()}
    for (level, at), number in tables.items():
        if level < 4:
            parent = words[(level + 1, at >> 9 if level < 3 else 0)]
            parent[at & 511] = mfns[layout.tables + number] << PAGE_SHIFT | PAGE_RW
    last = layout.tables + layout.nr_tables
    for address, first, count in layout.regions:
        for pfn in range(first, first + count):
            linear = address + (pfn - first << PAGE_SHIFT)
            flags = PAGE_RO if layout.tables <= pfn < last else PAGE_RW
            words[(1, linear >> 21)][linear >> PAGE_SHIFT & 511] = mfns[pfn] << PAGE_SHIFT | flags
