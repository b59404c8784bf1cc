"""pvhbuilder: fills the memory of a PVH guest before it first runs (tools/libs/guest: xg_dom_x86.c, bootlate_hvm).

    its segments at their physical addresses │ hvm_start_info, memory map, command line, ramdisk │ ... │ xenstore ring │ console ring │
                                               the next page behind the kernel                  the last pages of RAM, before them the ACPI tables
"""

from __future__ import annotations

from typing import Final

from mirage_lab.xen.abi import acpi, hvm
from mirage_lab.xen.abi import grant_table as gnt
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE, Pfn
from mirage_lab.xen.arch.x86.pvh import LAPIC, Pvh
from mirage_lab.xen.dom0.builder import Built, unbound
from mirage_lab.xen.dom0.elf import ImageError, read_elf
from mirage_lab.xen.hypervisor import Domain, Hypervisor

__all__ = ["LARGEST_MIB", "build_pvh"]

LARGEST_MIB: Final = 3_072
"""Above lie the local APIC and what a guest has mapped."""
SPECIAL: Final = 8
"""Pages at the end of RAM that are not the guest's: the ACPI tables and the rings."""
LONGEST_CMDLINE: Final = 2_048


def build_pvh(xen: Hypervisor, domain: Domain, data: bytes, cmdline: str, ramdisk: bytes = b"") -> Built:
    """Load a kernel and prepare its vCPU, magic pages, first grants and two event channels; raises ImageError."""
    elf = read_elf(data)
    entry = elf.phys32_entry
    if entry is None:
        raise ImageError("this ELF file has no note PHYS32_ENTRY (18) of Xen: it is no PVH kernel")
    memory = domain.memory
    console, store = Pfn(memory.nr_pages - 1), Pfn(memory.nr_pages - 2)
    ram = memory.nr_pages - SPECIAL << PAGE_SHIFT
    for segment in elf.segments:
        if segment.physical + segment.size > ram:
            need = segment.physical + segment.size + (SPECIAL << PAGE_SHIFT)
            raise ImageError(f"its kernel reaches up to {segment.physical + segment.size:#x}: give it memory_mib={-(-need >> 20)} at least")
        memory.view[segment.physical : segment.physical + len(segment.data)] = segment.data
    end = max(segment.physical + segment.size for segment in elf.segments)
    regions = [(0, ram, hvm.E820_RAM), (ram, SPECIAL << PAGE_SHIFT, hvm.E820_RESERVED)]
    start_info = _start_info(memory.view, -(-end // PAGE_SIZE) * PAGE_SIZE, ram, regions, cmdline, ramdisk)
    found = acpi.tables(ram, LAPIC)
    memory.view[ram : ram + len(found)] = found
    store_port, console_port = unbound(domain), unbound(domain)
    for ref, pfn in ((gnt.GREF_CONSOLE, console), (gnt.GREF_XENSTORE, store)):
        gnt.ENTRY.pack_into(domain.grants.frames[0], ref * gnt.ENTRY_SIZE, gnt.GTF_PERMIT_ACCESS, 0, memory.mfn(pfn))
    params = {hvm.CONSOLE_PFN: console, hvm.STORE_PFN: store, hvm.CONSOLE_EVTCHN: console_port, hvm.STORE_EVTCHN: store_port}
    machine = Pvh(xen, domain, params, regions)
    for segment in elf.segments:
        if segment.executable:
            machine.cpu.watch_msrs(segment.physical, segment.data)
    machine.start(entry, start_info)
    return Built(Pfn(start_info >> PAGE_SHIFT), store_port, console_port, memory.mfn(store), memory.mfn(console))


def _start_info(view: memoryview, at: int, ram: int, regions: list[tuple[int, int, int]], cmdline: str, ramdisk: bytes) -> int:
    """Write hvm_start_info at `at`, behind it the memory map and the command line, and a ramdisk as the one module; return `at`."""
    memmap = at + 64
    line = memmap + len(regions) * hvm.MEMMAP_ENTRY.size
    text = cmdline.encode()[: LONGEST_CMDLINE - 1] + b"\0"
    modules = -(-(line + len(text)) // 8) * 8
    module = -(-(modules + hvm.MODLIST_ENTRY.size) // PAGE_SIZE) * PAGE_SIZE
    if (module + len(ramdisk) if ramdisk else line + len(text)) > ram:
        what = "hvm_start_info and its ramdisk" if ramdisk else "hvm_start_info"
        raise ImageError(f"there is no room for {what} behind its kernel: give it more memory")
    hvm.START_INFO.pack_into(view, at, hvm.START_MAGIC, 1, 0, bool(ramdisk), modules if ramdisk else 0, line, ram, memmap, len(regions), 0)
    if ramdisk:
        hvm.MODLIST_ENTRY.pack_into(view, modules, module, len(ramdisk), 0, 0)
        view[module : module + len(ramdisk)] = ramdisk
    for index, (address, size, kind) in enumerate(regions):
        hvm.MEMMAP_ENTRY.pack_into(view, memmap + index * hvm.MEMMAP_ENTRY.size, address, size, kind, 0)
    view[line : line + len(text)] = text
    return at
