"""machine_memory: what lies where in the RAM of a guest that is machine code, as far as the builder, Xen and its CPU can tell.

    PVH   the kernel's segments │ hvm_start_info │ page tables, as the CPU walks them │ rings │ shared_info and grants where it put them
    ARM   rings │ RAM: the kernel, page tables, the device tree; devices
    PV    Xen itself keeps account of its frames
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mirage_lab.vcpu.cpu import Cpu
from mirage_lab.vcpu.paging import ADDRESS, LARGE, LMA, PAE, PG, PRESENT
from mirage_lab.xen.abi import hvm
from mirage_lab.xen.abi.arm import MAGIC_PAGES, RAM_BASE
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.translated import Translated
from mirage_lab.xen.arch.x86.pv import Pv
from mirage_lab.xen.dom0.armbuilder import tree_place
from mirage_lab.xen.dom0.armimage import read_arm
from mirage_lab.xen.dom0.elf import ImageError, read_elf
from mirage_lab.xen.hypervisor import Domain

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["framed", "laid_out", "mapped_at", "tables"]

SEGMENTS: Final = 64
TABLES: Final = 256
"""Pages of page tables that are looked for."""
EFER: Final = 0xC000_0080
_ARM_TABLE: Final = 0x0000_FFFF_FFFF_F000

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
    try:
        found = [] if image is None else list(_kernel(image.data, image.kind, domain.memory.nr_pages))
    except ImageError:
        found = []  # it is running: whatever its file says, the builder knew what to do with it
    found += [(gpfn, 1, "page table") for gpfn in tables(vcpu.cpu)]
    for index, name in ((hvm.STORE_PFN, "xenstore ring"), (hvm.CONSOLE_PFN, "console ring")):
        if index in vcpu.params:
            found.append((vcpu.params[index], 1, name))
    found += [(gpfn, 1, what) for gpfn, what in vcpu.places.items()]
    found += [(address >> PAGE_SHIFT, size >> PAGE_SHIFT, "devices") for address, size in vcpu.cpu.emulator.devices]
    return found


@lru_cache(maxsize=8)
def _kernel(data: bytes, kind: str, nr_pages: int) -> tuple[Mark, ...]:
    """What a builder put where; raises ImageError."""
    if kind == "arm":
        kernel = read_arm(data)
        first, end = kernel.address >> PAGE_SHIFT, _above(kernel.address + kernel.size)
        behind = (RAM_BASE >> PAGE_SHIFT) + nr_pages - MAGIC_PAGES
        return ((first, end - first, "kernel image"), (tree_place(nr_pages) >> PAGE_SHIFT, 1, "device tree"), (behind, MAGIC_PAGES, "rings, behind RAM"))
    found = []
    for segment in read_elf(data).segments[:SEGMENTS]:
        first, end = segment.physical >> PAGE_SHIFT, _above(segment.physical + segment.size)
        found.append((first, end - first, "kernel code" if segment.executable else "kernel data"))
    return (*found, (max(first + count for first, count, _ in found), 1, "start_info"))


def _above(address: int) -> int:
    return -(-address // PAGE_SIZE)


# page tables that the CPU walks -------------------------------------------------------------------------------------


def tables(cpu: Cpu) -> list[int]:
    """Return the frames of the page tables the CPU uses now, `TABLES` at most."""
    found: dict[int, None] = {}
    if cpu.arch == "x86":
        _x86(cpu, found)
    elif cpu.arch == "arm64":
        _aarch64(cpu, found)
    elif cpu.read("sctlr") & 1:
        _armv7(cpu, found)
    return sorted(found)


def _entries(cpu: Cpu, table: int, form: str, found: dict[int, None]) -> list[int]:
    """Return the entries of one page of tables that was not seen before."""
    page = cpu.physical(table & -PAGE_SIZE, PAGE_SIZE)
    if page is None or table >> PAGE_SHIFT in found or len(found) >= TABLES:
        return []
    found[table >> PAGE_SHIFT] = None
    return page.cast("B").cast(form).tolist()  # type: ignore[call-overload, no-any-return]


def _x86(cpu: Cpu, found: dict[int, None]) -> None:
    if not cpu.read("cr0") & PG:
        return
    long, wide = bool(cpu.emulator.msr(EFER) & LMA), bool(cpu.read("cr4") & PAE)
    wide = wide or long
    here = [cpu.read("cr3") & ADDRESS]
    for level in range(4 if long else 3 if wide else 2, 0, -1):
        below: list[int] = []
        for table in here:
            entries = _entries(cpu, table, "Q" if wide else "I", found)
            if level == 1:
                continue
            used = entries[:4] if level == 3 and not long else entries
            below += [entry & (ADDRESS if wide else 0xFFFF_F000) for entry in used if entry & PRESENT and not (entry & LARGE and level < 4)]
        here = below[:TABLES]


def _aarch64(cpu: Cpu, found: dict[int, None]) -> None:
    """The tables of both halves, with a granule of 4 KiB."""
    if not cpu.read("sctlr_el1") & 1:
        return
    tcr = cpu.read("tcr_el1")
    for register, at, small in (("ttbr0_el1", 0, 0), ("ttbr1_el1", 16, 2)):
        if tcr >> at + 7 & 1 or tcr >> at + 14 & 3 != small:
            continue
        bits = 64 - min(max(tcr >> at & 63, 16), 39)
        here = [cpu.read(register) & _ARM_TABLE]
        for level in range(4 - -(-(bits - 12) // 9), 4):
            entries = [entry for table in here for entry in _entries(cpu, table, "Q", found)]
            here = [entry & _ARM_TABLE for entry in entries if entry & 3 == 3][:TABLES] if level < 3 else []


def _armv7(cpu: Cpu, found: dict[int, None]) -> None:
    split = cpu.read("ttbcr") & 7
    roots = [(cpu.read("ttbr0") & -(1 << 14 - split) & 0xFFFF_FFFF, 1 << 12 - split)]
    if split:
        roots.append((cpu.read("ttbr1") & 0xFFFF_C000, 1 << 12))
    for root, count in roots:
        for at in range(root, root + 4 * count, PAGE_SIZE):
            for entry in _entries(cpu, at, "I", found):
                if entry & 3 == 1 and len(found) < TABLES and cpu.physical(entry & 0xFFFF_FC00, 1_024) is not None:
                    found[(entry & 0xFFFF_FC00) >> PAGE_SHIFT] = None
