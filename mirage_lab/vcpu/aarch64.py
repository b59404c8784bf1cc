"""aarch64: a 64-bit ARM CPU (a Cortex-A72) at EL1, with what a hypervisor has to see of it (ARM ARM, D1).

    the vector: VBAR_EL1 + 0x000 from EL1 on SP_EL0, 0x200 on SP_EL1, 0x400 from EL0; + 0x80 for an interrupt

SCR_EL3.RW is set first: without it Unicorn walks page tables of 32 bits; HCE has hvc arrive as what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mirage_lab.vcpu.arm import DATA, PREFETCH, UNDEFINED, Arm
from mirage_lab.vcpu.armpaging import walk64
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.paging import Walk
from mirage_lab.vcpu.timer import FREQUENCY

__all__ = ["Aarch64"]

START: Final = 0x3C5
"""PSTATE: EL1 with its own stack, nothing let in."""
_IRQ: Final = 0x80
_SYSTEM: Final = {
    "sctlr_el1": (1, 0, 3, 0, 0),
    "tcr_el1": (2, 0, 3, 0, 2),
    "spsr_el1": (4, 0, 3, 0, 0),
    "scr_el3": (1, 1, 3, 6, 0),
}
_CNTFRQ, _CNTPCT, _CNTVCT = (3, 3, 14, 0, 0), (3, 3, 14, 0, 1), (3, 3, 14, 0, 2)
_TVAL, _CTL, _CVAL = (3, 3, 14, 3, 0), (3, 3, 14, 3, 1), (3, 3, 14, 3, 2)
_TIMER: Final = 14
"""crn of all registers of the generic timer."""
_RW_HCE: Final = 0x500
_MASK: Final = (1 << 64) - 1


class Aarch64(Arm):
    """One CPU.  `clock` tells ns."""

    program_counter = "pc"
    call = ("x0", "x1", "x2", "x3", "x4", "x16")
    general = (*(f"x{n}" for n in range(31)), "sp", "pc", "pstate")

    def __init__(self, clock: Callable[[], int], *, look_ns: int = 1_000) -> None:
        super().__init__("arm64", clock, look_ns)
        self.write("scr_el3", _RW_HCE)
        self.emulator.on_system(_TIMER, self._read_system, self._write_system)

    # registers and memory ----------------------------------------------------------------------------------------

    def read(self, name: str) -> int:
        """Return a register by the name of the manual, in small letters."""
        key = _SYSTEM.get(name)
        return int(self.emulator.read(name)) if key is None else self.emulator.system(key)

    def write(self, name: str, value: int) -> None:
        """Set a register."""
        key = _SYSTEM.get(name)
        if key is None:
            self.emulator.write(name, value)
        else:
            self.emulator.system(key, value)

    def walk(self, linear: int) -> Walk:
        """Return the way of a linear address through the page tables."""
        sctlr = self.read("sctlr_el1")
        if not sctlr & 1:
            return walk64(self._word, linear, sctlr, 0, 0, 0)
        return walk64(self._word, linear, sctlr, self.read("tcr_el1"), self.read("ttbr0_el1"), self.read("ttbr1_el1"))

    @property
    def isa(self) -> str:
        """Its instructions are A64."""
        return "aarch64"

    @property
    def interruptible(self) -> bool:
        """True if an interrupt may be delivered now: PSTATE.I is clear."""
        return not self.read("pstate") & _IRQ

    def enter(self, entry: int, device_tree: int) -> None:
        """Begin at `entry`, with the device tree's address in x0 (Documentation/arch/arm64/booting)."""
        self.write("x0", device_tree)
        self.write("pstate", START)
        self.write("scr_el3", _RW_HCE)  # what depends on PSTATE is computed again
        self.pc = entry

    @property
    def _level(self) -> int:
        return self.read("pstate") >> 2 & 1

    def _trial(self) -> None:
        self.write("scr_el3", _RW_HCE)
        self.write("ttbr0_el1", 0)
        self.write("tcr_el1", 25)
        self.write("sctlr_el1", self.read("sctlr_el1") | 1)

    # hooks: what happens while it runs ---------------------------------------------------------------------------

    def _no_instruction(self) -> None:
        self.pc -= 4
        self._stop(Exit(Why.EXCEPTION, vector=UNDEFINED, error=1 << 25))

    def _read_system(self, register: tuple[int, ...]) -> int | None:
        if register[1] != 3:
            return None  # CNTKCTL_EL1: the CPU has it
        if register in (_CNTVCT, _CNTPCT):
            return self.look()
        if register == _CNTFRQ:
            return FREQUENCY
        now = self.time()
        if register == _CTL:
            return self.timer.read_control(now)
        if register == _TVAL:
            return self.timer.read_tval(now)
        return self.timer.cval if register == _CVAL else 0  # the physical timer is off

    def _write_system(self, register: tuple[int, ...], value: int) -> bool:
        if register[1] != 3:
            return False
        if register == _CTL:
            self.timer.write_control(value)
        elif register == _TVAL:
            self.timer.write_tval(value, self.time())
        elif register == _CVAL:
            self.timer.cval = value & _MASK
        else:
            return True
        self._timer_written()
        return True

    # exceptions and interrupts -----------------------------------------------------------------------------------

    def deliver(self, found: Exit) -> bool:
        """Enter the guest's handler of an exception; False if the vector itself cannot be fetched."""
        pc = self.pc
        if found.vector == PREFETCH and pc == self._entered:
            return False
        self._cause = found, pc
        self.write("esr_el1", found.error or 0)
        if found.vector in (DATA, PREFETCH):
            self.write("far_el1", found.value or 0)
        self._enter(0, pc)
        return True

    def interrupt(self) -> None:
        """Enter the guest's handler of interrupts (IRQ)."""
        self._enter(0x80, self.pc)

    def _enter(self, kind: int, pc: int) -> None:
        emulator = self.emulator
        pstate = self.read("pstate")
        level = pstate >> 2 & 3
        emulator.write("elr_el1", pc)
        if not pstate & 1:  # it was on SP_EL0
            emulator.write("sp_el0", emulator.read("sp"))
            emulator.write("sp", emulator.read("sp_el1"))
        self._entered = (self.read("vbar_el1") + (0x400 if level == 0 else 0x200 if pstate & 1 else 0) + kind) & _MASK
        emulator.write("pstate", START)
        self.write("spsr_el1", pstate)  # and what depends on PSTATE is computed again
        emulator.write("pc", self._entered)
