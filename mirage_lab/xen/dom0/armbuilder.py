"""armbuilder: fills the memory of an ARM guest before it first runs (tools/libs/guest: xg_dom_armzimageloader.c, xg_dom_arm.c).

    0x39000000 console ring │ xenstore ring │ ... │ 0x40000000 RAM: the kernel at its offset │ ... │ device tree │

The rings are pages of the domain behind its RAM.  The device tree lies in the last 2 MiB of RAM, or of its first 128 MiB;
a ramdisk below it.
"""

from __future__ import annotations

from typing import Final

from mirage_lab.xen.abi import arm, hvm
from mirage_lab.xen.abi import grant_table as gnt
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE, Pfn
from mirage_lab.xen.arch.arm.vcpu import ArmVcpu
from mirage_lab.xen.dom0.armimage import ArmKernel, read_arm
from mirage_lab.xen.dom0.builder import Built, unbound
from mirage_lab.xen.dom0.devicetree import device_tree
from mirage_lab.xen.dom0.elf import ImageError
from mirage_lab.xen.hypervisor import Domain, Hypervisor

__all__ = ["build_arm", "tree_place"]

NEAR: Final = 128 << 20
"""The device tree is within so much of RAM: an early kernel maps no more."""
TREE_ROOM: Final = 2 << 20


def tree_place(nr_pages: int) -> int:
    """Return the address of the device tree in a domain of so many pages."""
    ram = nr_pages - arm.MAGIC_PAGES << PAGE_SHIFT
    return arm.RAM_BASE + ((min(ram, NEAR) - TREE_ROOM) & -TREE_ROOM)


def build_arm(xen: Hypervisor, domain: Domain, data: bytes, cmdline: str, ramdisk: bytes = b"") -> Built:
    """Load a kernel and prepare its vCPU, device tree, magic pages, first grants and two event channels; raises ImageError."""
    kernel = read_arm(data)
    memory = domain.memory
    pages = memory.nr_pages - arm.MAGIC_PAGES
    ram = pages << PAGE_SHIFT
    at = kernel.address - arm.RAM_BASE
    tree_at = tree_place(memory.nr_pages) - arm.RAM_BASE
    disk_at = (tree_at - len(ramdisk)) & -PAGE_SIZE
    if at < 0:
        raise ImageError(f"its kernel wants to be at {kernel.address:#x}; RAM begins at {arm.RAM_BASE:#x}")
    if at + kernel.size > (disk_at if at < tree_at else ram) or at + kernel.size > ram or disk_at < 0:
        need = at + kernel.size + -(-len(ramdisk) // PAGE_SIZE) * PAGE_SIZE + TREE_ROOM
        raise ImageError(_too_large(kernel, need, len(ramdisk)))
    memory.view[at : at + len(kernel.data)] = kernel.data
    memory.view[disk_at : disk_at + len(ramdisk)] = ramdisk
    tree = device_tree(kernel.bits, ram, cmdline, (arm.RAM_BASE + disk_at, arm.RAM_BASE + disk_at + len(ramdisk)))
    memory.view[tree_at : tree_at + len(tree)] = tree
    console, store = Pfn(pages + arm.CONSOLE_PFN_OFFSET), Pfn(pages + arm.XENSTORE_PFN_OFFSET)
    for ref, pfn in ((gnt.GREF_CONSOLE, console), (gnt.GREF_XENSTORE, store)):
        gnt.ENTRY.pack_into(domain.grants.frames[0], ref * gnt.ENTRY_SIZE, gnt.GTF_PERMIT_ACCESS, 0, memory.mfn(pfn))
    store_port, console_port = unbound(domain), unbound(domain)
    magic = arm.MAGIC_BASE >> PAGE_SHIFT
    params = {
        hvm.CONSOLE_PFN: magic + arm.CONSOLE_PFN_OFFSET,
        hvm.STORE_PFN: magic + arm.XENSTORE_PFN_OFFSET,
        hvm.CONSOLE_EVTCHN: console_port,
        hvm.STORE_EVTCHN: store_port,
    }
    machine = ArmVcpu(xen, domain, kernel.bits, params, [(arm.RAM_BASE, ram, hvm.E820_RAM)])
    machine.cpu.map(arm.MAGIC_BASE, memory.view[ram : ram + arm.MAGIC_PAGES * PAGE_SIZE])
    machine.start(kernel.address, arm.RAM_BASE + tree_at)
    return Built(Pfn(0), store_port, console_port, memory.mfn(store), memory.mfn(console))


def _too_large(kernel: ArmKernel, need: int, ramdisk: int) -> str:
    """Say what does not fit, and what would help."""
    what = f"its kernel reaches up to {kernel.address + kernel.size:#x}"
    if ramdisk:
        what += f", and its ramdisk has {ramdisk:,} bytes"
    if need > NEAR:
        return f"{what}: kernel, ramdisk and device tree have the first {NEAR >> 20} MiB of RAM"
    return f"{what}: give it memory_mib={-(-need >> 20)} at least"
