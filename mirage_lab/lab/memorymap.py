"""memorymap: the memory of a guest that is machine code as ranges of guest-physical addresses: what, whose, granted to whom.

    0 ── kernel, its code and data ── start_info ── ... ── xenstore ring ── console ring │ shared_info │ grant frame │ devices

What is known of a page, `views.machine_memory` says; this adds whose it is and to whom it is granted, and joins the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirage_lab.lab.said import LabError
from mirage_lab.lab.views.machine_memory import framed, laid_out
from mirage_lab.xen.abi import grant_table as abi
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.hypervisor import Domain
from mirage_lab.xen.hypervisor.hypervisor import PRIVATE_FRAMES

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["MemoryMap", "Range", "memory_map"]

MOST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Range:
    """Guest-physical addresses from `begin`, `size` bytes: `type`, `owner`, and what is granted ("to dom0, in use")."""

    begin: int
    size: int
    type: str
    owner: str
    grant: str = ""

    def __repr__(self) -> str:
        return f"{self.begin:#12x} .. {self.begin + self.size - 1:#12x}  {self.size >> 10:>8,} KiB  {self.type:<16} {self.owner:<10} {self.grant}".rstrip()


class MemoryMap(list[Range]):
    """Ranges in order."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self[:100])) + (f"\n   ... and {len(self) - 100:,} more" if len(self) > 100 else "")


def memory_map(lab: Lab, name: str) -> MemoryMap:
    """Return the ranges of a domain; raises LabError for a Python unikernel."""
    machine = lab.machine
    vcpu = machine.vcpu(name)
    if vcpu is None:
        raise LabError(f"{name} is a Python unikernel: its memory is in the boot tab, and lab.vm({name!r}).cpu is not there")
    domain = vcpu.domain
    names = {info.domid: info.name for info in machine.toolstack.list()}
    pages: dict[int, tuple[str, str, str]] = {}
    for begin, view in vcpu.cpu.regions:
        if begin >> PAGE_SHIFT != domain.memory.base:
            what, owner = ("Xen's own", "Xen") if begin >> PAGE_SHIFT == PRIVATE_FRAMES else (_placed(domain, view), domain.name)
            for pfn in range(begin >> PAGE_SHIFT, (begin + len(view)) >> PAGE_SHIFT):
                pages[pfn] = (what, owner, "")
    _known(lab, domain, names, pages)
    ranges = MemoryMap(_joined(domain, pages))
    ranges.sort(key=lambda each: each.begin)
    return ranges


def _known(lab: Lab, domain: Domain, names: dict[int, str], pages: dict[int, tuple[str, str, str]]) -> None:
    """Mark the pages that are anything but plain RAM."""
    base, count = domain.memory.base, domain.memory.nr_pages
    known = framed(domain)
    for first, size, what in [] if known is None else laid_out(lab, domain, known):
        pages.update(dict.fromkeys(range(first, first + size), (what, "Xen" if what == "devices" else domain.name, "")))
    for frame in domain.grants.frames:
        for flags, to, mfn in abi.ENTRY.iter_unpack(frame):
            if flags & abi.GTF_TYPE_MASK == abi.GTF_PERMIT_ACCESS and base <= mfn < base + count:
                what, owner, _ = pages.get(mfn, ("ram", domain.name, ""))
                how = ", in use" if flags & (abi.GTF_READING | abi.GTF_WRITING) else ", read only" if flags & abi.GTF_READONLY else ""
                pages[mfn] = (what, owner, f"granted to {names.get(to, f'domain {to}')}{how}")


def _placed(domain: Domain, view: memoryview) -> str:
    """Say what a page is that was placed above RAM."""
    if domain.shared.obj is view.obj:
        return "shared_info"
    return "grant frame" if any(frame.obj is view.obj for frame in domain.grants.frames) else "placed page"


def _joined(domain: Domain, pages: dict[int, tuple[str, str, str]]) -> list[Range]:
    """Return the ranges: RAM, with what is known of single pages in it, and what lies elsewhere."""
    base, count = domain.memory.base, domain.memory.nr_pages
    plain = ("ram", domain.name, "")
    ranges: list[Range] = []
    at, marks = int(base), sorted(pages)
    for pfn in [*marks, base + count]:
        if base <= at < pfn <= base + count:
            ranges.append(Range(at << PAGE_SHIFT, (pfn - at) << PAGE_SHIFT, *plain))
        if pfn not in pages:
            continue
        what, owner, grant = pages[pfn]
        last = ranges[-1] if ranges else None
        if last and (last.type, last.owner, last.grant) == (what, owner, grant) and last.begin + last.size == pfn << PAGE_SHIFT:
            ranges[-1] = Range(last.begin, last.size + PAGE_SIZE, what, owner, grant)
        else:
            ranges.append(Range(pfn << PAGE_SHIFT, PAGE_SIZE, what, owner, grant))
        at = max(at, pfn + 1) if pfn < base + count else at
    return ranges[:MOST]
