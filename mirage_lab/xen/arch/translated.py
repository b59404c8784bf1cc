"""translated: what guests have in common that know their frames by their own numbers only: HVM, PVH and ARM.

    add_to_physmap puts shared_info and frames of the grant table where the guest wants them, in RAM or above it
    map_grant_ref puts pages of others there: one in the place of a page of RAM covers it, until it is unmapped
    hvm_op tells where the two rings are (HVM_PARAM), and how the guest wants to be told of events

In Xen a page that was covered is lost, which is why guests give pages up first and map in their place; here it comes back.
"""

from __future__ import annotations

import mmap
from abc import abstractmethod
from bisect import bisect_left, insort
from typing import Final

from mirage_lab.runtime import costs
from mirage_lab.vcpu.cpu import Cpu
from mirage_lab.xen.abi import hvm, shared_info, version
from mirage_lab.xen.abi.errno import EINVAL, ENOSYS, EPERM, ESRCH
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.grant_table import GNTMAP_CONTAINS_PTE, GNTMAP_READONLY, GNTST_GENERAL_ERROR, GNTST_NO_DEVICE_SPACE, GNTST_OKAY
from mirage_lab.xen.abi.xen import DOMID_SELF, PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.vcpu import Vcpu
from mirage_lab.xen.hypervisor import Domain, Hypervisor

__all__ = ["Translated"]

HIGHEST_GPFN: Final = 1 << 28
MOST_PLACED: Final = 128
MOST_PIECES: Final = 1_024
"""Of so many pieces the memory of a guest may be made: grants it has mapped, and what holes leave of its RAM."""


class Translated(Vcpu):
    """A vCPU of such a guest: `params` are its HVM_PARAMs, `regions` its memory map. Its RAM begins at the first of its frame numbers."""

    translated = True
    features: tuple[int, ...] = (version.FEATURE_WRITABLE_PAGE_TABLES, version.FEATURE_AUTO_TRANSLATED_PHYSMAP)

    def __init__(self, xen: Hypervisor, domain: Domain, cpu: Cpu, params: dict[int, int], regions: list[tuple[int, int, int]]) -> None:
        super().__init__(xen, domain, cpu)
        self.params = params
        self._regions = regions
        self._placed: dict[int, mmap.mmap] = {}
        self._granted: set[int] = set()
        self._gaps: list[int] = []
        self.places: dict[int, str] = {}
        """Guest frames at which the guest has put pages of the hypervisor: what is there."""
        cpu.map(domain.memory.base << PAGE_SHIFT, domain.memory.view)

    @property
    @abstractmethod
    def _narrow(self) -> bool:
        """True if the guest has the structures of 32-bit x86 now."""

    @abstractmethod
    def _set_callback(self, value: int) -> int:
        """HVM_PARAM_CALLBACK_IRQ; 0 or a negative errno."""

    def memory_map(self) -> list[tuple[int, int, int]]:
        """Return (address, size, type) of each region."""
        return self._regions

    def _place(self, gpfn: int) -> memoryview | int:
        """Return the page at a guest frame, made there if it lies beyond RAM; or a negative errno."""
        memory = self.domain.memory
        if memory.owns(gpfn):
            found = memory.ram(gpfn)
            if found is None:
                return -EINVAL
            memory.pin(gpfn - memory.base)
            return found
        if gpfn >= HIGHEST_GPFN or len(self._placed) >= MOST_PLACED or gpfn in self._granted:
            return -EINVAL
        if gpfn not in self._placed:
            page = mmap.mmap(-1, PAGE_SIZE)
            try:
                self.cpu.map(gpfn << PAGE_SHIFT, page)
            except ValueError:
                return -EINVAL
            self._placed[gpfn] = page
        return memoryview(self._placed[gpfn])

    def remove(self, gpfn: int) -> int:
        """XENMEM_remove_from_physmap, of what lies beyond RAM."""
        if self._placed.pop(gpfn, None) is None:
            return -EINVAL
        self._remap(gpfn << PAGE_SHIFT, None)
        self.places.pop(gpfn, None)
        return 0

    # grants, and pages that were given up ------------------------------------------------------------------------

    def map_grant(self, address: int, flags: int, page: memoryview) -> int:
        """Have a granted page appear at guest frame `address >> 12`, where nothing is or RAM of its own."""
        gpfn, memory = address >> PAGE_SHIFT, self.domain.memory
        if flags & GNTMAP_CONTAINS_PTE or gpfn >= HIGHEST_GPFN or gpfn in self._granted or gpfn in self._placed:
            return GNTST_GENERAL_ERROR
        if self.cpu.pieces + 2 > MOST_PIECES:
            return GNTST_NO_DEVICE_SPACE
        try:
            self._remap(gpfn << PAGE_SHIFT, page, writable=not flags & GNTMAP_READONLY)
        except ValueError:
            return GNTST_GENERAL_ERROR
        self._granted.add(gpfn)
        if memory.owns(gpfn):
            pfn = gpfn - memory.base
            memory.covered.add(pfn)
            if pfn not in memory.absent:
                insort(self._gaps, pfn)
        return GNTST_OKAY

    def unmap_grant(self, address: int) -> int:
        """Have it disappear: RAM it covered is there again."""
        gpfn, memory = address >> PAGE_SHIFT, self.domain.memory
        if gpfn not in self._granted:
            return GNTST_GENERAL_ERROR
        self._granted.discard(gpfn)
        pfn = gpfn - memory.base
        memory.covered.discard(pfn)
        if memory.owns(gpfn) and pfn not in memory.absent:
            self.show(pfn, 1)
        else:
            self._remap(gpfn << PAGE_SHIFT, None)
        return GNTST_OKAY

    def hide(self, pfn: int, count: int) -> bool:
        """Have the guest see no memory where some pages of its RAM are; False if that would cut its memory into too many pieces."""
        if self.cpu.pieces + 1 > MOST_PIECES:
            return False
        at = bisect_left(self._gaps, pfn)
        self._gaps[at:at] = range(pfn, pfn + count)
        self._remap(self.domain.memory.base + pfn << PAGE_SHIFT, None, size=count << PAGE_SHIFT)
        return True

    def show(self, pfn: int, count: int) -> bool:
        """Have the guest see pages of its RAM again, in one piece with what is around them."""
        gaps, memory = self._gaps, self.domain.memory
        at = bisect_left(gaps, pfn)
        del gaps[at : at + count]
        first = gaps[at - 1] + 1 if at else 0
        last = gaps[at] if at < len(gaps) else memory.nr_pages
        self._remap(memory.base + first << PAGE_SHIFT, memory.view[first << PAGE_SHIFT : last << PAGE_SHIFT])
        return True

    def _remap(self, address: int, page: memoryview | None, *, size: int = PAGE_SIZE, writable: bool = True) -> None:
        if page is None:
            self.cpu.unmap(address, size)
        else:
            self.cpu.map(address, page, writable=writable)
        self.domain.queue.charge(costs.REMAP)

    # what else the hypervisor asks of it -------------------------------------------------------------------------

    def latch(self) -> None:
        """Have shared_info the layout of the mode the guest is in (hvm_latch_shinfo_size)."""
        domain = self.domain
        domain.narrow = self._narrow
        domain.ports.limit = shared_info.NR_PORTS_32 if domain.narrow else shared_info.NR_PORTS
        epoch = self.xen.world.epoch_ns + domain.created
        shared_info.write_times(domain.shared, epoch, shared_info.WC_32 if domain.narrow else shared_info.WC)

    def place_shared_info(self, gpfn: int) -> int:
        """XENMAPSPACE_shared_info."""
        page = self._place(gpfn)
        if isinstance(page, int):
            return page
        self.domain.place_shared(page)
        self._note(gpfn, "shared_info")
        self.latch()
        return 0

    def place_grant_frame(self, index: int, gpfn: int) -> int:
        """XENMAPSPACE_grant_table."""
        page = self._place(gpfn)
        if isinstance(page, int):
            return page
        self.domain.grants.place(self.xen, index, page)
        self._note(gpfn, f"grant table {index}")
        return 0

    def arch_call(self, number: int, arg: Arg) -> int:
        """The page tables of such a guest are its own, and so are its descriptors and traps."""
        return -ENOSYS

    def _note(self, gpfn: int, what: str) -> None:
        self.places = {place: other for place, other in self.places.items() if other != what} | {gpfn: what}

    def hvm_op(self, op: int, arg: Arg) -> int:
        """Hypercall 34: parameters."""
        if op not in (hvm.SET_PARAM, hvm.GET_PARAM):
            return -ENOSYS
        domid, index, value = hvm.PARAM_ARG.unpack_from(arg)
        if domid not in (DOMID_SELF, self.domain.domid):
            return -EPERM if domid in self.xen.domains else -ESRCH
        if index >= hvm.NR_PARAMS:
            return -EINVAL
        if op == hvm.GET_PARAM:
            hvm.PARAM_ARG.pack_into(arg, 0, domid, index, self.params.get(index, 0))
            return 0
        if index == hvm.CALLBACK_IRQ:
            self.params[hvm.CALLBACK_IRQ] = value
            return self._set_callback(value)
        return -EPERM if index in hvm.PARAM_NAMES else -ENOSYS
