"""pv: the vCPU of a classic PV guest of x86-64: ring 3, its own page tables under Xen's eyes, and frames of the machine (xen/arch/x86).

    syscall ─▶ hypercall      an exception ─▶ carried out for it (privileged), or the guest's own handler (pvtraps)
    its page tables are those the CPU uses: each entry was checked when it was written (pvmmu, frames)
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Callable
from typing import Final

from mirage_lab.runtime import costs
from mirage_lab.signatures.units import Ns
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.xen.abi import hvm, pv, shared_info, version
from mirage_lab.xen.abi import xen as nr
from mirage_lab.xen.abi.errno import EACCES, EBUSY, EFAULT, EINVAL, ENOSYS, ERESTART
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.mmu import ENTRIES
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.calls import REGISTERS, hypercall
from mirage_lab.xen.arch.vcpu import Vcpu
from mirage_lab.xen.arch.x86.cpuid import cpuid
from mirage_lab.xen.arch.x86.frames import DESCRIPTORS, WRITABLE, FrameTypes
from mirage_lab.xen.arch.x86.privileged import carry_out, forced_cpuid
from mirage_lab.xen.arch.x86.ptwr import wrote_entry
from mirage_lab.xen.arch.x86.pvgrants import PvGrants
from mirage_lab.xen.arch.x86.pvmmu import PvMmu
from mirage_lab.xen.arch.x86.pvtraps import PAGE_FAULT, PvTraps
from mirage_lab.xen.arch.x86.ring3 import CR0, TS, Ring3
from mirage_lab.xen.arch.x86.xenspace import XenSpace
from mirage_lab.xen.hypervisor import Domain, Hypervisor
from mirage_lab.xen.hypervisor.hypervisor import shared_info_mfn

__all__ = ["Pv", "hypercall_page"]

_HIDDEN_EDX: Final = 1 << 3 | 1 << 9 | 1 << 11 | 1 << 13
"""PSE, APIC, SEP, PGE: what a PV guest cannot have."""
_TABLES: Final = re.compile(rb"[\x01-\x04]+")
_NAMES: Final = {0: "division by zero", 6: "an instruction that is none", 13: "a general protection fault", 14: "a page fault"}


def hypercall_page() -> bytes:
    """Return the page of entries `push rcx; push r11; mov eax, N; syscall; pop r11; pop rcx; ret`, 32 bytes each; that of iret does not return."""
    page = bytearray()
    for number in range(PAGE_SIZE // pv.HYPERCALL_SLOT):
        move = b"\xb8" + number.to_bytes(4, "little") + b"\x0f\x05"
        entry = b"\x51\x41\x53" + (b"\x50" + move if number == nr.IRET else move + b"\x41\x5b\x59\xc3")
        page += entry.ljust(pv.HYPERCALL_SLOT, b"\xcc")
    return bytes(page)


def _cpuid(leaf: int, subleaf: int) -> tuple[int, int, int, int]:
    eax, ebx, ecx, edx = cpuid(leaf, subleaf)
    return (eax, ebx, ecx, edx & ~_HIDDEN_EDX) if leaf == 1 else (eax, ebx, ecx, edx)


class Pv(Vcpu):
    """The one vCPU of a PV domain."""

    cpu: Ring3
    features = (version.FEATURE_PAE_PGDIR_ABOVE_4GB, version.FEATURE_MMU_PT_UPDATE_PRESERVE_AD, version.FEATURE_GNTTAB_MAP_AVAIL_BITS)

    def __init__(self, xen: Hypervisor, domain: Domain) -> None:
        cpu = Ring3(lambda: self.clock, _cpuid, look_ns=costs.EXIT)
        cpu.no_ports()
        super().__init__(xen, domain, cpu)
        memory = domain.memory
        cpu.map(memory.base << PAGE_SHIFT, memory.view)
        self._shared_mfn = shared_info_mfn(domain)
        self._shown: set[int] = set()
        page = mmap.mmap(-1, PAGE_SIZE)
        domain.place_shared(memoryview(page))
        cpu.map(self._shared_mfn << PAGE_SHIFT, page)
        self.space = XenSpace(cpu, memory)
        self.mmu = PvMmu(domain, cpu, FrameTypes(memory, self._shares, self.space.slots), self.space)
        self.traps = PvTraps(domain, cpu, self.mmu)
        self.grants = PvGrants(domain, self.mmu)
        self.ts = False
        self.debug = [0] * 8
        self._gdt: list[int] = []
        self.built: list[tuple[int, int, str]] = []
        """What the builder put where: first frame, how many, what."""
        self._calls: dict[int, Callable[[list[int]], int]] = {
            nr.SET_TRAP_TABLE: self.traps.set_trap_table,
            nr.MMU_UPDATE: self.mmu.mmu_update,
            nr.SET_GDT: self.set_gdt,
            nr.STACK_SWITCH: self.traps.stack_switch,
            nr.SET_CALLBACKS: self.traps.set_callbacks,
            nr.FPU_TASKSWITCH: lambda args: self.set_ts(bool(args[0])),
            nr.SET_DEBUGREG: self.set_debugreg,
            nr.GET_DEBUGREG: lambda args: self.debug[args[0]] if args[0] < 8 else -EINVAL,
            nr.UPDATE_DESCRIPTOR: self.update_descriptor,
            nr.UPDATE_VA_MAPPING: self.mmu.update_va_mapping,
            nr.VM_ASSIST: lambda args: 0 if args[0] < 2 and args[1] < pv.VMASST_TYPES else -EINVAL,
            nr.IRET: self._iret,
            nr.SET_SEGMENT_BASE: self.traps.set_segment_base,
            nr.MMUEXT_OP: self.mmu.mmuext_op,
            nr.PHYSDEV_OP: self.physdev_op,
            nr.CALLBACK_OP: self.traps.callback_op,
        }

    def start(self, table: int, entry: int, stack: int, start_info: int) -> str:
        """Put the CPU at the entry with the L4 table of frame index `table`; return what is wrong with that, empty if nothing is."""
        frames = self.mmu.frames
        ret = frames.pin(table, 4) or frames.get(table, 4)
        if ret:
            return f"its first page tables are refused ({ret})"
        self.mmu.kernel = table
        self.cpu.enter(self.space, frames.base + table << PAGE_SHIFT, entry, stack)
        self.cpu.write("rsi", start_info)
        self.begin()
        return ""

    def _shares(self, mfn: int) -> bool:
        """True for a frame of Xen's that this guest may map: shared_info, its grant table.  The CPU sees it from then on."""
        if mfn == self._shared_mfn:
            return True
        grants = self.domain.grants
        if mfn not in grants.mfns:
            return False
        if mfn not in self._shown:
            page = mmap.mmap(-1, PAGE_SIZE)
            grants.place(self.xen, grants.mfns.index(mfn), memoryview(page))  # type: ignore[arg-type]
            self.cpu.map(mfn << PAGE_SHIFT, page)
            self._shown.add(mfn)
        return True

    # exits -------------------------------------------------------------------------------------------------------

    @property
    def _due(self) -> bool:
        """True if upcalls are let in and one is pending."""
        shared = self.domain.info
        return bool(shared[shared_info.UPCALL_PENDING] and not shared[shared_info.UPCALL_MASK] and self.traps.event_callback)

    def _upcall(self) -> None:
        if not self.traps.upcall():
            self.crash("an event for it, and no stack where the frame of its event callback could go")

    def _answer(self, found: Exit) -> None:
        match found.why:
            case Why.HYPERCALL:
                self._hypercall()
            case Why.EXCEPTION:
                self._exception(found.vector, found.error)
            case Why.FAULT:
                self.crash(found.detail)
            case _:
                """Ring 3 cannot halt and has no registers of the model, and nothing is asked by the others."""

    def _hypercall(self) -> None:
        """syscall: a hypercall by the guest's kernel; by its users, something for its kernel."""
        if not self.traps.kernel:
            if not self.traps.syscall():
                self.crash("a system call of one of its users, and its kernel has no callback for it")
            return
        number, *args = self.cpu.registers()
        frames = self.mmu.frames
        frames.work = 0
        ret = hypercall(self.xen, self.domain, self.cpu, number & 0xFFFF_FFFF, args, True)
        self.domain.queue.charge(Ns(frames.work * costs.PAGE_TABLE_ENTRY))
        if ret == -ERESTART:
            self.restart(2, rdi=args[0], rsi=args[1])
        elif number & 0xFFFF_FFFF != nr.IRET:
            self.cpu.write("rax", ret & 0xFFFF_FFFF_FFFF_FFFF)

    def _exception(self, vector: int, error: int | None) -> None:
        if vector == 6 and forced_cpuid(self):
            return
        if not self.traps.software(vector):
            vector, error = 13, vector * 8 + 2
        if vector == 7 and self.ts:
            self.set_ts(False)
        if vector == PAGE_FAULT and error is not None and error & 3 == 3 and self.traps.kernel and wrote_entry(self, self.cpu.read("cr2")):
            return
        if vector == 13 and self.traps.kernel and carry_out(self):
            return
        if not self.traps.exception(vector, error):
            cpu = self.cpu
            touched = f", on address {cpu.read('cr2'):#x}" if vector == 14 else ""
            self.crash(f"{_NAMES.get(vector, f'exception {vector}')} at {cpu.read('rip'):#x}{touched}, and the guest has no handler for it")

    def _iret(self, args: list[int]) -> int:
        wrong = self.traps.iret()
        if wrong:
            self.crash(wrong)
        return 0

    # hypercalls of PV guests alone -------------------------------------------------------------------------------

    def arch_call(self, number: int, arg: Arg) -> int:
        """Carry out a hypercall of this kind of guest; its five arguments are in `arg`."""
        call = self._calls.get(number)
        return -ENOSYS if call is None else call(list(REGISTERS.unpack_from(arg)))

    def set_ts(self, on: bool) -> int:
        """Hypercall 5: the next use of the FPU raises exception 7, or not."""
        if on != self.ts:
            self.ts = on
            self.cpu.emulator.write("cr0", CR0 | (TS if on else 0))
        return 0

    def set_debugreg(self, args: list[int]) -> int:
        """Hypercall 8: kept, and of no effect."""
        number, value = args[:2]
        if number >= 8 or number in (4, 5):
            return -EINVAL
        self.debug[number] = value
        return 0

    def physdev_op(self, args: list[int]) -> int:
        """Hypercall 33: the right to ports, which are all absent."""
        op, pointer = args[:2]
        if op != pv.PHYSDEVOP_SET_IOPL:
            return -ENOSYS
        found = self.cpu.load(pointer, 4)
        if found is None:
            return -EFAULT
        level = int.from_bytes(found, "little")
        if level > 3:
            return -EINVAL
        self.cpu.ports = level > 0
        return 0

    def set_gdt(self, args: list[int]) -> int:
        """Hypercall 2: frames that are the first pages of the descriptor table."""
        pointer, entries = args[:2]
        count = (entries + 511) // 512
        if count > pv.GDT_GUEST_PAGES:
            return -EINVAL
        if self.mmu.frames.busy:
            return -EBUSY
        self.mmu.frames.work += count * 4 * ENTRIES
        found = self.cpu.load(pointer, 8 * count)
        if found is None:
            return -EFAULT
        frames = self.mmu.frames
        mfns = list(struct.unpack(f"<{count}Q", found))
        taken: list[int] = []
        for mfn in mfns:
            index = frames.owned(mfn)
            ret = -EINVAL if index < 0 else frames.get(index, DESCRIPTORS)
            if not ret:
                taken.append(index)
            if ret or not self._descriptors_allowed(index):
                for other in taken:
                    frames.put(other)
                return -EINVAL
        for other in self._gdt:
            frames.put(other)
        self._gdt = taken
        self.space.set_gdt(mfns)
        self.cpu.flush()
        return 0

    def _descriptors_allowed(self, index: int) -> bool:
        """Have the descriptors of a frame be harmless; False if one is nothing that could be made so."""
        words = self.mmu.frames.words[index * ENTRIES : (index + 1) * ENTRIES]
        harmless = [_harmless(word) for word in words]
        if None in harmless:
            return False
        for at, word in enumerate(harmless):
            words[at] = word or 0
        return True

    def update_descriptor(self, args: list[int]) -> int:
        """Hypercall 10: write a descriptor, by its machine address."""
        address, descriptor = args[:2]
        frames = self.mmu.frames
        index = frames.owned(address >> PAGE_SHIFT)
        harmless = _harmless(descriptor)
        if index < 0 or address & 7 or harmless is None or frames.get(index, DESCRIPTORS):
            return -EINVAL
        frames.words[index * ENTRIES + ((address & PAGE_SIZE - 1) >> 3)] = harmless
        frames.put(index)
        return 0

    # what the hypervisor asks of it ------------------------------------------------------------------------------

    def place_shared_info(self, gpfn: int) -> int:
        """Only guests that do not know the machine's frames may ask."""
        return -EACCES

    def place_grant_frame(self, index: int, gpfn: int) -> int:
        """The same."""
        return -EACCES

    def map_grant(self, address: int, flags: int, page: memoryview) -> int:
        """Have an entry of its page tables be a granted page."""
        return self.grants.map(address, flags, page)

    def unmap_grant(self, address: int) -> int:
        """Have it be absent."""
        return self.grants.unmap(address)

    def lend(self, pfn: int, step: int) -> bool:
        """Count a use of a frame for writing by others: none of what it is not to write itself."""
        frames = self.mmu.frames
        if step < 0:
            frames.put(pfn)
            return True
        return frames.get(pfn, WRITABLE) == 0 if step else frames.counts[pfn] == 0 or frames.kinds[pfn] == WRITABLE

    def hide(self, pfn: int, count: int) -> bool:
        """Give frames up: those that it has in no table, and maps for writing nowhere."""
        return not any(self.mmu.frames.counts[pfn : pfn + count])

    def show(self, pfn: int, count: int) -> bool:
        """Take them back: it maps them itself."""
        return True

    def hvm_op(self, op: int, arg: Arg) -> int:
        """Hypercall 34 is not for PV guests."""
        return -ENOSYS

    def marks(self) -> list[tuple[int, int, str]]:
        """Return what is known of frames: (first, how many, what); later ones count before earlier ones."""
        frames, grants = self.mmu.frames, self.domain.grants
        found = list(self.built)
        found += [(frames.base + at.start(), at.end() - at.start(), "page table") for at in _TABLES.finditer(frames.kinds)]
        found += [(frames.base + index, 1, "descriptor table") for index in self._gdt]
        found += [(self._shared_mfn, 1, "shared_info")]
        return found + [(mfn, 1, f"grant table {index}") for index, mfn in enumerate(grants.mfns) if mfn in self._shown]

    def memory_map(self) -> list[tuple[int, int, int]]:
        """Return (address, size, type) of each region."""
        return [(0, self.domain.memory.nr_pages << PAGE_SHIFT, hvm.E820_RAM)]


def _harmless(descriptor: int) -> int | None:
    """Return a descriptor as one that lets nobody out of ring 3, None if it cannot be (check_descriptor).

    One that is not present is; code and data become those of ring 3; type 0 is the second half of another.
    """
    high = descriptor >> 32
    if not high & 1 << 15 or (not high & 1 << 12 and not high >> 8 & 15):
        return descriptor
    return descriptor | 3 << 45 if high & 1 << 12 else None
