"""machine_memory: what lies where in the RAM of a guest that is machine code, as far as the builder, Xen and its CPU can tell.

    the kernel's segments, from the file │ hvm_start_info │ page tables, as the CPU walks them │ rings, by its parameters │ placed: shared_info, grants
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mirage_lab.vcpu.cpu import Cpu
from mirage_lab.vcpu.paging import ADDRESS, LARGE, LMA, PAE, PG, PRESENT
from mirage_lab.xen.abi import hvm
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.translated import Translated
from mirage_lab.xen.arch.x86.pv import Pv
from mirage_lab.xen.dom0.elf import ImageError, read_elf
from mirage_lab.xen.hypervisor import Domain

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["framed", "laid_out", "mapped_at", "tables"]

SEGMENTS: Final = 64
TABLES: Final = 256
"""Pages of page tables that are looked for."""
EFER: Final = 0xC000_0080

Mark = tuple[int, int, str]
"""First guest frame, how many, and what they are for."""


def framed(domain: Domain) -> Translated | Pv | None:
    """Return the vCPU of a guest of machine code: its frames are its own numbers, or those of the machine; None for other domains."""
    return domain.machine if isinstance(domain.machine, Translated | Pv) else None


def mapped_at(vcpu: Translated | Pv, address: int) -> int:
    """Return the frame at which a guest has a page of another that it mapped by `address`."""
    if isinstance(vcpu, Pv):
        return vcpu.grants.frame(address) or 0
    return address >> PAGE_SHIFT


def laid_out(lab: Lab, domain: Domain, vcpu: Translated | Pv) -> list[Mark]:
    """Return what is known of pages, later ones before earlier ones where both say something of a page."""
    if isinstance(vcpu, Pv):
        return vcpu.marks()
    image = lab.machine.images.get(domain.name)
    found = list(_kernel(image.data)) if image is not None and image.kind == "elf" else []
    found += [(gpfn, 1, "page table") for gpfn in tables(vcpu.cpu)]
    for index, name in ((hvm.STORE_PFN, "xenstore ring"), (hvm.CONSOLE_PFN, "console ring")):
        if index in vcpu.params:
            found.append((vcpu.params[index], 1, name))
    found += [(gpfn, 1, what) for gpfn, what in vcpu.places.items()]
    found += [(address >> PAGE_SHIFT, size >> PAGE_SHIFT, "device") for address, size in vcpu.cpu.emulator.devices]
    return found


@lru_cache(maxsize=8)
def _kernel(data: bytes) -> tuple[Mark, ...]:
    """The segments of a kernel, and hvm_start_info in the page behind them."""
    try:
        segments = read_elf(data).segments[:SEGMENTS]
    except ImageError:
        return ()
    found = []
    for segment in segments:
        first, end = segment.physical >> PAGE_SHIFT, -(-(segment.physical + segment.size) // PAGE_SIZE)
        found.append((first, end - first, "kernel code" if segment.executable else "kernel data"))
    end = max(-(-(segment.physical + segment.size) // PAGE_SIZE) for segment in segments)
    return (*found, (end, 1, "start_info"))


def tables(cpu: Cpu) -> list[int]:
    """Return the frames of the page tables of x86 that the CPU uses now, `TABLES` at most."""
    if cpu.arch != "x86" or not cpu.read("cr0") & PG:
        return []
    long, cr3 = bool(cpu.emulator.msr(EFER) & LMA), cpu.read("cr3")
    wide = long or bool(cpu.read("cr4") & PAE)
    levels = 4 if long else 3 if wide else 2
    found: dict[int, None] = {}
    here = [cr3 & ADDRESS]
    for level in range(levels, 0, -1):
        below: list[int] = []
        for table in here:
            page = cpu.physical(table, PAGE_SIZE)
            if page is None or table >> PAGE_SHIFT in found or len(found) >= TABLES:
                continue
            found[table >> PAGE_SHIFT] = None
            if level == 1:
                continue
            entries = page.cast("Q" if wide else "I")
            used = entries[:4] if level == 3 and not long else entries
            below += [entry & (ADDRESS if wide else 0xFFFF_F000) for entry in used if entry & PRESENT and not (entry & LARGE and level < 4)]
        here = below[:TABLES]
    return sorted(found)
