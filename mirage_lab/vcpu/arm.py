"""arm: what ARM CPUs of 64 and 32 bits have in common: a virtual timer, calls of hypervisor and firmware, faults with a syndrome.

    hvc #0xEA1 ─▶ HYPERCALL      hvc #0, smc ─▶ FIRMWARE (PSCI)      wfi ─▶ HALT
    a fault, svc, brk ─▶ EXCEPTION      CNTV_CTL, CNTV_CVAL or CNTV_TVAL is written ─▶ TIMER

Unicorn enters no vector of the guest: whoever runs the CPU calls `deliver` and `interrupt`.  The syndrome and the address
of a fault are in its own record of the CPU; where, a trial run tells.
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

from mirage_lab.vcpu.cpu import Cpu
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.timer import VirtualTimer

__all__ = ["XEN_TAG", "Arm"]

XEN_TAG: Final = 0xEA1
"""The immediate of hvc that is Xen's (arch-arm.h)."""
_RECORD: Final = struct.Struct("<IIQ")
_TRIAL: Final = 0x5A12_3450
_records: dict[str, int] = {}

# what Unicorn calls an exception
UNDEFINED: Final = 1
SUPERVISOR: Final = 2
PREFETCH: Final = 3
DATA: Final = 4
BREAKPOINT: Final = 7
HYPERVISOR: Final = 11
MONITOR: Final = 13

NAMES: Final = {
    UNDEFINED: "an instruction that is none",
    SUPERVISOR: "a system call (svc)",
    PREFETCH: "a fetch of an instruction",
    DATA: "a data abort",
    BREAKPOINT: "a breakpoint instruction",
}

# exception classes of the syndrome (ESR_EL1.EC)
EC_INSTRUCTION: Final = 0x20
EC_DATA: Final = 0x24
EXTERNAL: Final = 0x10
"""Fault status: the bus has nothing there."""
NOT_VALID: Final = 1 << 10
"""FnV: the address is not known."""
WRITE: Final = 1 << 6


class Arm(Cpu):
    """One CPU.  `clock` tells ns."""

    call: ClassVar[tuple[str, ...]]
    """The registers of a hypercall: five arguments, and its number."""

    def __init__(self, arch: str, clock: Callable[[], int], look_ns: int) -> None:
        super().__init__(arch, clock, look_ns)
        self.timer = VirtualTimer()
        self.watched: Callable[[], bool] | None = None
        """While an interrupt waits: runs go by single instructions until the guest lets it in, or until this says it waits no more."""
        self._entered = -1
        self._cause: tuple[Exit, int] | None = None
        self.emulator.on_interrupt(self._exception)
        if arch not in _records:
            _records[arch] = self._find_record()

    # running -----------------------------------------------------------------------------------------------------

    def run(self, count: int, until: int = 1 << 62, *, spent: int = 0, over: bool = True) -> Exit:
        """Run as every CPU does; while an interrupt is `watched`, no further than to where it may come in: nothing tells of that."""
        watched = self.watched
        if watched is None:
            return super().run(count, until, spent=spent, over=over)
        done = looks = 0
        while True:
            found = super().run(1, until, spent=spent + done + looks * self.look_ns, over=over)
            done, looks, over = done + found.instructions, looks + self.looks, False
            if found.why is not Why.BUDGET or done >= count or self.ends_here:
                found.instructions, self.looks = done, looks
                return found

    @property
    def ends_here(self) -> bool:
        """True while an interrupt is watched, where the guest lets it in, or where none waits any more."""
        return self.watched is not None and (self.interruptible or not self.watched())

    # faults ------------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _level(self) -> int:
        """1 in the kernel, 0 in a program."""

    @abstractmethod
    def enter(self, entry: int, device_tree: int) -> None:
        """Begin at `entry`, told where the device tree is."""

    @abstractmethod
    def _trial(self) -> None:
        """Have the CPU translate addresses through tables at 0, where there is nothing."""

    def _find_record(self) -> int:
        """Find where in what Unicorn saves the last syndrome lies: behind it a word, and the address that was missing."""
        before = self.save()
        self._trial()
        self.emulator.start(_TRIAL, 1)
        saved = self.emulator.save()
        self.restore(before)
        self._exit = None
        at = saved.find(_TRIAL.to_bytes(8, "little"))
        while at >= 0:
            if at >= 8 and saved[at - 5] == 0x86:  # an abort of a fetch at the same level, by an instruction of 32 bits
                return at - 8
            at = saved.find(_TRIAL.to_bytes(8, "little"), at + 1)
        return -1

    def _syndrome(self) -> tuple[int, int, int]:
        """Return syndrome, 32-bit fault status and address of the exception that just happened."""
        at = _records[self.arch]
        return _RECORD.unpack(self.emulator.peek(at, _RECORD.size)) if at >= 0 else (0, 0, 0)

    def _exception(self, vector: int) -> None:
        if vector == HYPERVISOR:
            number = self._syndrome()[0] & 0xFFFF
            if number == XEN_TAG:
                self._stop(Exit(Why.HYPERCALL))
            elif number == 0:
                self._stop(Exit(Why.FIRMWARE))
            else:
                self._no_instruction()
        elif vector == MONITOR:
            self._stop(Exit(Why.FIRMWARE))
        else:
            self._stop(Exit(Why.EXCEPTION, vector=vector))

    @abstractmethod
    def _no_instruction(self) -> None:
        """The instruction before this one is none."""

    def _finish(self, found: Exit) -> Exit:
        if found.why is Why.EXCEPTION and found.error is None:
            found.error, found.number, found.value = self._syndrome()
        return found

    def _unmapped(self, address: int, size: int) -> bool:
        """A physical address where there is nothing: an external abort."""
        self._stop(self._external(address, self.emulator.access))
        return False

    def _refused(self, address: int) -> Exit:
        """A store to physical memory that may only be read: an external abort too."""
        return self._external(address, "write")

    def _external(self, address: int, access: str) -> Exit:
        fetch, write = access == "fetch", access == "write"
        syndrome = (EC_INSTRUCTION if fetch else EC_DATA) + self._level << 26 | 1 << 25 | NOT_VALID | (WRITE if write else 0) | EXTERNAL
        return Exit(Why.EXCEPTION, vector=PREFETCH if fetch else DATA, error=syndrome, number=8 | write << 11, value=address)

    def explain(self, found: Exit) -> str:
        """Say for a person what exception could not be delivered: the first, if the guest's own vector is what cannot be fetched."""
        vector = ""
        pc = self.pc
        if found.vector == PREFETCH and pc == self._entered and self._cause is not None:
            vector = f"; its vector at {pc:#x} cannot be fetched"
            found, pc = self._cause
        what = NAMES.get(found.vector, f"exception {found.vector}")
        if found.vector in (DATA, PREFETCH):
            kind = " of a write" if found.vector == DATA and (found.error or 0) & WRITE else ""
            what = f"{what}{kind} at {pc:#x}, on address {found.value or 0:#x}: {self._status(found)}"
        else:
            what = f"{what} at {pc:#x}"
        return what + vector

    def _status(self, found: Exit) -> str:
        status = (found.error or 0) & 0x3F
        names = {0: "the address is too large", 1: "nothing is mapped", 2: "the page was not accessed before", 3: "its page table forbids it"}
        return "there is no memory" if status == EXTERNAL else "the address is not aligned" if status == 0x21 else names.get(status >> 2, "it failed")

    @abstractmethod
    def deliver(self, found: Exit) -> bool:
        """Enter the guest's handler of an exception; False if the vector itself cannot be fetched."""

    @abstractmethod
    def interrupt(self) -> None:
        """Enter the guest's handler of interrupts (IRQ)."""

    # the timer ---------------------------------------------------------------------------------------------------

    def _timer_written(self) -> None:
        """The deadline has changed: the run ends, so that it is not passed unseen."""
        self._stop(Exit(Why.TIMER))

    # snapshots ---------------------------------------------------------------------------------------------------

    def save(self) -> bytes:
        """Return the registers, all of them, and those of the timer."""
        return self.timer.save() + super().save()

    def restore(self, saved: bytes) -> None:
        """Set the registers again; memory may have changed too."""
        self.timer.restore(saved)
        super().restore(saved[self.timer.SIZE :])
        self.emulator.forget_addresses()
