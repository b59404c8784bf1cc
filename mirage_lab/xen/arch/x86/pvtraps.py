"""pvtraps: how a PV guest is entered, and how it returns: exceptions, upcalls, iret (xen/arch/x86/x86_64/entry.S, traps.c).

    an exception, an upcall ─▶ the frame on the guest's stack ─▶ its handler ─▶ iret, the instruction or the hypercall

    the frame, upwards:   rcx  r11  [error code]  rip  cs | mask << 32  rflags  rsp  ss
"""

from __future__ import annotations

import struct
from typing import Final

from mirage_lab.vcpu.x86 import IF
from mirage_lab.xen.abi import pv, shared_info
from mirage_lab.xen.abi.errno import E2BIG, EFAULT, EINVAL, ENOSYS
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.x86.pvmmu import PvMmu
from mirage_lab.xen.arch.x86.ring3 import Ring3
from mirage_lab.xen.hypervisor import Domain

__all__ = ["PAGE_FAULT", "PvTraps"]

MOST_PIECES: Final = 4
"""Pieces of a page that a trap table may have: 256 entries are what there can be."""
_WITH_ERROR: Final = frozenset({8, 10, 11, 12, 13, 14, 17})
PAGE_FAULT: Final = 14
EXCEPTIONS: Final = 32
INT: Final = 0xCD
_OWN_INSTRUCTIONS: Final = frozenset({3, 4})
"""int3 and into, which anybody may."""
USER_MODE: Final = 4
_NOT_IN_HANDLER: Final = 0x5_4100
"""AC, NT, TF."""
NO_CALLBACK: Final = (0, False)


class PvTraps:
    """Where a guest wants to be entered, and in which of its two modes it is: its kernel and its users are both in ring 3."""

    def __init__(self, domain: Domain, cpu: Ring3, mmu: PvMmu) -> None:
        self.domain = domain
        self.cpu = cpu
        self.mmu = mmu
        self.handlers: dict[int, tuple[int, int, int]] = {}
        """By vector: flags, cs, address."""
        self.callbacks: dict[int, tuple[int, bool]] = {}
        """By type: address, and whether upcalls are masked in it."""
        self.kernel = True
        self._stack = (pv.SS, 0)
        self._other_gs = 0

    # where to enter ----------------------------------------------------------------------------------------------

    def set_trap_table(self, args: list[int]) -> int:
        """Hypercall 0: handlers of exceptions, up to an entry without an address."""
        pointer = args[0]
        if not pointer:
            self.handlers.clear()
            return 0
        for _ in range(MOST_PIECES):
            size = max(pv.TRAP_INFO.size, (PAGE_SIZE - pointer % PAGE_SIZE) // pv.TRAP_INFO.size * pv.TRAP_INFO.size)
            found = self.cpu.load(pointer, size)
            if found is None:
                return -EFAULT
            for vector, flags, cs, address in pv.TRAP_INFO.iter_unpack(found):
                if not address:
                    return 0
                self.handlers[vector] = (flags, cs | 3, address)
            pointer += size
        return -E2BIG

    def set_callbacks(self, args: list[int]) -> int:
        """Hypercall 4: addresses for events, failsafe and syscall."""
        for kind, address in enumerate(args[:3]):
            self.callbacks[kind] = (address, False)
        return 0

    def callback_op(self, args: list[int]) -> int:
        """Hypercall 30: one of these."""
        op, pointer = args[:2]
        if op not in (pv.CALLBACKOP_REGISTER, pv.CALLBACKOP_UNREGISTER):
            return -ENOSYS
        found = self.cpu.load(pointer, pv.CALLBACK_REGISTER.size if op == pv.CALLBACKOP_REGISTER else 4)
        if found is None:
            return -EFAULT
        kind, flags = struct.unpack_from("<HH", found)
        if op == pv.CALLBACKOP_UNREGISTER:
            if kind != pv.CALLBACKTYPE_NMI:
                return -EINVAL if kind in pv.CALLBACK_TYPES else -ENOSYS
            self.callbacks.pop(kind, None)
            return 0
        if kind not in pv.CALLBACK_TYPES:
            return -ENOSYS
        self.callbacks[kind] = (int.from_bytes(found[8:16], "little"), bool(flags & pv.CALLBACKF_MASK_EVENTS))
        return 0

    def stack_switch(self, args: list[int]) -> int:
        """Hypercall 3: the stack on which the guest's kernel is entered from its users."""
        self._stack = (args[0] & 0xFFFF | 3, args[1])
        return 0

    def set_segment_base(self, args: list[int]) -> int:
        """Hypercall 25: the bases of fs and gs."""
        which, base = args[:2]
        if which == pv.SEGBASE_GS_USER_SEL:
            return 0 if base & 0xFFFF in (0, 3) else -EINVAL
        register = {pv.SEGBASE_FS: pv.FS_BASE, pv.SEGBASE_GS_USER: pv.SHADOW_GS, pv.SEGBASE_GS_KERNEL: pv.GS_BASE}.get(which)
        return -EINVAL if register is None or not self.set_base(register, base) else 0

    def set_base(self, register: int, base: int) -> bool:
        """Write FS_BASE, GS_BASE or SHADOW_GS; False for an address that is none."""
        if base >> 47 not in (0, 0x1FFFF):
            return False
        if register == pv.SHADOW_GS:
            self._other_gs = base
        else:
            self.cpu.emulator.msr(register, base)
        return True

    def base(self, register: int) -> int:
        """Return FS_BASE, GS_BASE or SHADOW_GS."""
        return self._other_gs if register == pv.SHADOW_GS else self.cpu.emulator.msr(register)

    # entering ----------------------------------------------------------------------------------------------------

    @property
    def event_callback(self) -> int:
        """Where upcalls go, 0 for nowhere yet."""
        return self.callbacks.get(pv.CALLBACKTYPE_EVENT, NO_CALLBACK)[0]

    def exception(self, vector: int, error: int | None) -> bool:
        """Enter the guest's handler of an exception; False if it has none, or no stack for its frame."""
        handler = self.handlers.get(vector)
        if handler is None:
            return False
        flags, cs, address = handler
        if vector == PAGE_FAULT:
            at = shared_info.VCPU_INFO + shared_info.VCPU_ARCH
            self.domain.info[at : at + 8] = self.cpu.read("cr2").to_bytes(8, "little")
            if error is not None and self.kernel:
                error &= ~USER_MODE
        return self._bounce(address, cs, bool(flags & pv.TI_MASK_EVENTS), error if vector in _WITH_ERROR else None)

    def software(self, vector: int) -> bool:
        """False for an instruction int that its table does not allow: rip is back at it then, and it is a general protection fault."""
        cpu = self.cpu
        if vector in _OWN_INSTRUCTIONS or (vector < EXCEPTIONS and cpu.load(cpu.pc - 2, 2) != bytes((INT, vector))):
            return True
        flags, *_ = self.handlers.get(vector, (0, 0, 0))
        if vector in self.handlers and flags & pv.TI_RING >= (1 if self.kernel else 3):
            return True
        cpu.pc -= 2
        return False

    def upcall(self) -> bool:
        """Enter the guest's event callback, with upcalls masked."""
        return self._bounce(self.event_callback, pv.CS64, True, None)

    def syscall(self) -> bool:
        """A user of the guest's makes a system call: that is for the guest's kernel."""
        address, masked = self.callbacks.get(pv.CALLBACKTYPE_SYSCALL, NO_CALLBACK)
        cpu = self.cpu
        cpu.write("rcx", cpu.read("rip"))
        cpu.write("r11", cpu.read("eflags"))
        return bool(address) and self._bounce(address, pv.CS64, masked, None)

    def _bounce(self, address: int, to_cs: int, mask: bool, error: int | None) -> bool:
        cpu, shared = self.cpu, self.domain.info
        cs, ss = cpu.selectors
        rsp, flags = cpu.read("rsp"), cpu.read("eflags")
        masked = shared[shared_info.UPCALL_MASK]
        stack = rsp
        if self.kernel:
            cs &= ~3
        else:
            self._toggle()
            stack = self._stack[1]
        words = [cpu.read("rcx"), cpu.read("r11"), *([] if error is None else [error])]
        words += [cpu.read("rip"), cs | masked << 32, flags & ~IF | (0 if masked else IF), rsp, ss]
        stack = (stack & ~15) - 8 * len(words)
        if stack < 0 or not cpu.store(stack, struct.pack(f"<{len(words)}Q", *words)):
            return False
        if mask:
            shared[shared_info.UPCALL_MASK] = 1
        return cpu.back(address, to_cs, flags & ~_NOT_IN_HANDLER, stack, pv.SS)

    # returning ---------------------------------------------------------------------------------------------------

    def iret(self) -> str:
        """Hypercall 23: go where the frame on the stack says; return what is wrong with it, empty if nothing is."""
        cpu = self.cpu
        found = cpu.load(cpu.read("rsp"), pv.IRET.size)
        if found is None:
            return "its stack has no frame that hypercall iret could take"
        rax, r11, rcx, flags, rip, cs, rflags, rsp, ss = pv.IRET.unpack(found)
        if cs & 3 == 3 and self.kernel:
            if self.mmu.user < 0:
                return "it returns to a user, and has given no page tables for users (MMUEXT_NEW_USER_BASEPTR)"
            self._toggle()
        cpu.write("rax", rax)
        if not flags & pv.VGCF_IN_SYSCALL:
            cpu.write("r11", r11)
            cpu.write("rcx", rcx)
        self.domain.info[shared_info.UPCALL_MASK] = 0 if rflags & IF else 1
        return "" if cpu.back(rip, cs, rflags, rsp, ss) else f"it returns to segments that are none: cs {cs:#x}, ss {ss:#x}"

    def _toggle(self) -> None:
        """From the guest's kernel to its users, or back: other page tables, the other base of gs (toggle_guest_mode)."""
        self.kernel = not self.kernel
        active = self.cpu.emulator.msr(pv.GS_BASE)
        self.cpu.emulator.msr(pv.GS_BASE, self._other_gs)
        self._other_gs = active
        index = self.mmu.kernel if self.kernel else self.mmu.user
        self.cpu.root = self.mmu.frames.base + index << PAGE_SHIFT
