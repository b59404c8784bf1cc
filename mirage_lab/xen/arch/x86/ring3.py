"""ring3: a CPU whose code always runs in ring 3 of long mode, and whose instruction syscall is a hypercall.

All that a guest must not do raises an exception there, which goes to the hypervisor and not to the guest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.paging import Walk, walk
from mirage_lab.vcpu.x86 import EFER, IF, X86, Cpuid
from mirage_lab.xen.abi.pv import CS64, SS, VIRT_END, VIRT_START
from mirage_lab.xen.arch.x86.xenspace import FRAME_AT, GDT, GDT_LIMIT, TRAMPOLINE, XenSpace

__all__ = ["CR0", "CR4", "TS", "Ring3"]

CR0: Final = 0x8005_0033
CR4: Final = 0x620
"""PAE, and SSE as the guest may use it."""
EFER_VALUE: Final = 0xD01
"""SCE, LME, LMA, NX."""
TS: Final = 8
FLAGS: Final = 0x0024_0CD5
"""What a guest sets of rflags itself: CF PF AF ZF SF DF OF, AC, ID."""
TF: Final = 1 << 8


class Ring3(X86):
    """The CPU of a PV guest."""

    def __init__(self, clock: Callable[[], int], cpuid: Cpuid, *, look_ns: int) -> None:
        super().__init__(clock, cpuid, look_ns=look_ns)
        emulator = self.emulator
        emulator.on_syscall(lambda: self._stop(Exit(Why.HYPERCALL)))
        self.space: XenSpace
        self.ports = False
        """True if in and out are allowed: there is nothing to be found."""
        self._root = 0
        self._undone: tuple[int, int] | None = None
        self._segments = emulator.batch("cs", "ss")
        self._called = emulator.batch("rax", "rdi", "rsi", "rdx", "r10", "r8")
        self._ends3 = emulator.batch("rip", "rsp", "eflags")

    def enter(self, space: XenSpace, root: int, rip: int, rsp: int) -> None:
        """Begin in ring 3: once, from ring 0, where Unicorn begins."""
        emulator = self.emulator
        self.space = space
        emulator.write("cr4", CR4)
        emulator.msr(EFER, EFER_VALUE)
        self.root = root
        emulator.write("cr0", CR0)
        emulator.write("gdtr", (0, GDT, GDT_LIMIT, 0))
        self.back(rip, CS64, 0, rsp, SS)

    @property
    def root(self) -> int:
        """Where the L4 table is that the CPU uses."""
        return self._root

    @root.setter
    def root(self, value: int) -> None:
        self._root = value
        self.emulator.write("cr3", value)

    def flush(self) -> None:
        """Forget translations of addresses."""
        self.emulator.write("cr3", self._root)

    def back(self, rip: int, cs: int, rflags: int, rsp: int, ss: int) -> bool:
        """Go on in ring 3 there; False if there are no such segments."""
        cs, ss = cs & 0xFFFF | 3, ss & 0xFFFF | 3
        rflags = rflags & (FLAGS | TF) | IF | 2
        if self._segments.read() == [cs, ss]:
            self._ends3.write(rip, rsp, rflags)
            return True
        self.space.set_frame(rip, cs, rflags & ~TF, rsp, ss)
        self._ends3.write(TRAMPOLINE, FRAME_AT, IF | 2)
        self._exit = None
        with self.muted():
            self.emulator.start(TRAMPOLINE, 1)
        if self._exit is not None:
            self._error(0)  # there are no such segments; or nothing is where it goes, which it will come upon itself
        if self._segments.read() != [cs, ss]:
            return False
        if self._exit is not None or rflags & TF:
            self._ends3.write(rip, rsp, rflags)
        return True

    def once(self) -> bool:
        """Execute the instruction at rip, whatever a debugger wants; False if that was not possible."""
        rip = self.pc
        self._exit = None
        with self.muted():
            self.emulator.start(rip, 1)
        if self._exit is not None:
            self._error(0)
        return self.pc != rip

    def registers(self) -> list[int]:
        """Return a hypercall: rax, rdi, rsi, rdx, r10, r8."""
        return self._called.read()

    @property
    def selectors(self) -> list[int]:
        """cs and ss."""
        return self._segments.read()

    # what a hypervisor sees of it --------------------------------------------------------------------------------

    def walk(self, linear: int) -> Walk:
        """Return the way of a linear address through the page tables."""
        return walk(self._word, linear, CR0, self._root, CR4, EFER_VALUE)

    def view(self, linear: int, size: int, *, write: bool = False) -> list[memoryview] | None:
        """Return the pieces of memory at an address of the guest's: never of what is Xen's."""
        if linear < VIRT_END and linear + size > VIRT_START:
            return None
        return super().view(linear, size, write=write)

    @property
    def long_mode(self) -> bool:
        """Always."""
        return True

    @property
    def interruptible(self) -> bool:
        """Always: what a guest masks, it masks in shared_info."""
        return True

    def _in(self, port: int, size: int) -> int:
        if self.ports:
            return super()._in(port, size)
        self._port()
        return 0

    def _out(self, port: int, size: int, value: int) -> None:
        if self.ports:
            return super()._out(port, size, value)
        return self._port()

    def _port(self) -> None:
        """in and out are not for ring 3: Unicorn asks nobody and has them done, so what they did is taken back in `_finish`."""
        self._undone = (self.read("rip"), self.read("rax"))
        self._stop(Exit(Why.EXCEPTION, vector=13))

    def _finish(self, found: Exit) -> Exit:
        if self._undone is not None:
            for name, value in zip(("rip", "rax"), self._undone):
                self.write(name, value)
            self._undone, found.error = None, 0
            return found
        return super()._finish(found)

    def _invalid(self) -> bool:
        self._stop(Exit(Why.EXCEPTION, vector=6))
        return True
