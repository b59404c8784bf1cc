"""translated: what guests have in common that know their frames by their own numbers only: HVM, PVH and ARM.

    add_to_physmap puts shared_info and frames of the grant table where the guest wants them, in RAM or above it
    hvm_op tells where the two rings are (HVM_PARAM), and how the guest wants to be told of events
"""

from __future__ import annotations

import mmap
from abc import abstractmethod
from typing import Final

from mirage_lab.vcpu.cpu import Cpu
from mirage_lab.xen.abi import hvm, shared_info
from mirage_lab.xen.abi.errno import EINVAL, ENOSYS, EPERM, ESRCH
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.xen import DOMID_SELF, PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.vcpu import Vcpu
from mirage_lab.xen.hypervisor import Domain, Hypervisor

__all__ = ["Translated"]

HIGHEST_GPFN: Final = 1 << 28
MOST_PLACED: Final = 128


class Translated(Vcpu):
    """A vCPU of such a guest: `params` are its HVM_PARAMs, `regions` its memory map. Its RAM begins at the first of its frame numbers."""

    def __init__(self, xen: Hypervisor, domain: Domain, cpu: Cpu, params: dict[int, int], regions: list[tuple[int, int, int]]) -> None:
        super().__init__(xen, domain, cpu)
        self.params = params
        self._regions = regions
        self._placed: dict[int, mmap.mmap] = {}
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
        pfn = gpfn - self.domain.memory.base
        if 0 <= pfn < self.domain.memory.nr_pages:
            return self.domain.memory.view[pfn << PAGE_SHIFT : (pfn + 1) << PAGE_SHIFT]
        if gpfn >= HIGHEST_GPFN or len(self._placed) >= MOST_PLACED:
            return -EINVAL
        if gpfn not in self._placed:
            page = mmap.mmap(-1, PAGE_SIZE)
            try:
                self.cpu.map(gpfn << PAGE_SHIFT, page)
            except ValueError:
                return -EINVAL
            self._placed[gpfn] = page
        return memoryview(self._placed[gpfn])

    def latch(self) -> None:
        """Have shared_info the layout of the mode the guest is in (hvm_latch_shinfo_size)."""
        domain = self.domain
        domain.narrow = self._narrow
        epoch = self.xen.world.epoch_ns + domain.created
        shared_info.write_times(domain.shared, epoch, shared_info.WC_32 if domain.narrow else shared_info.WC)

    def place_shared_info(self, gpfn: int) -> int:
        """XENMAPSPACE_shared_info."""
        page = self._place(gpfn)
        if isinstance(page, int):
            return page
        self.domain.place_shared(page)
        self.latch()
        return 0

    def place_grant_frame(self, index: int, gpfn: int) -> int:
        """XENMAPSPACE_grant_table."""
        page = self._place(gpfn)
        if isinstance(page, int):
            return page
        self.domain.grants.place(self.xen, index, page)
        return 0

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
