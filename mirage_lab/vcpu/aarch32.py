"""aarch32: a 32-bit ARM CPU (ARMv7-A, short descriptors), with what a hypervisor has to see of it (ARM ARM v7, B1).

    vectors: 0x04 undefined  0x08 svc  0x0c prefetch abort  0x10 data abort  0x18 IRQ       from VBAR, or 0xffff0000

Unicorn cannot hook a coprocessor.  So the CPU is one that has no generic timer, no hvc and no division (a Cortex-A9): all
three trap as instructions that are none, and are carried out here; guests see a Cortex-A9 with what an A7 has besides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mirage_lab.vcpu.arm import BREAKPOINT, DATA, PREFETCH, SUPERVISOR, UNDEFINED, XEN_TAG, Arm
from mirage_lab.vcpu.armpaging import walk32
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.paging import Walk
from mirage_lab.vcpu.timer import FREQUENCY

__all__ = ["Aarch32"]

START: Final = 0x4000_01D3
"""CPSR: supervisor mode, nothing let in; Z is set."""
THUMB: Final = 1 << 5
IRQ_MASKED: Final = 1 << 7
_ABORT_MASKED: Final = 1 << 8
_BIG_ENDIAN: Final = 1 << 9
_IF_THEN: Final = 0x0600_FC00
_JAZELLE: Final = 1 << 24
_SYSTEM: Final = {
    "sctlr": (15, 0, 0, 1, 0, 0, 0),
    "ttbr0": (15, 0, 0, 2, 0, 0, 0),
    "ttbr1": (15, 0, 0, 2, 0, 0, 1),
    "ttbcr": (15, 0, 0, 2, 0, 0, 2),
    "dacr": (15, 0, 0, 3, 0, 0, 0),
    "dfsr": (15, 0, 0, 5, 0, 0, 0),
    "ifsr": (15, 0, 0, 5, 0, 0, 1),
    "dfar": (15, 0, 0, 6, 0, 0, 0),
    "ifar": (15, 0, 0, 6, 0, 0, 2),
    "vbar": (15, 0, 0, 12, 0, 0, 0),
}
_WAYS: Final = {
    UNDEFINED: (0x1B, 0x04, 4),
    SUPERVISOR: (0x13, 0x08, 0),
    PREFETCH: (0x17, 0x0C, 4),
    BREAKPOINT: (0x17, 0x0C, 4),
    DATA: (0x17, 0x10, 8),
}
"""Of each exception: the mode it is taken in, the vector, and how far the link register is from the instruction."""
_IRQ: Final = (0x12, 0x18, 4)
_DEBUG: Final = 2
_MASK: Final = (1 << 32) - 1
_MASK_64: Final = (1 << 64) - 1


class Aarch32(Arm):
    """One CPU.  `clock` tells ns."""

    program_counter = "pc"
    call = ("r0", "r1", "r2", "r3", "r4", "r12")
    general = (*(f"r{n}" for n in range(13)), "sp", "lr", "pc", "cpsr")

    def __init__(self, clock: Callable[[], int], *, look_ns: int = 1_000) -> None:
        super().__init__("arm", clock, look_ns)
        self.emulator.on_invalid(self._invalid)

    # registers and memory ----------------------------------------------------------------------------------------

    def read(self, name: str) -> int:
        """Return a register by the name of the manual, in small letters."""
        key = _SYSTEM.get(name)
        return int(self.emulator.read(name) if key is None else self.emulator.system(key)) & _MASK

    def write(self, name: str, value: int) -> None:
        """Set a register."""
        key = _SYSTEM.get(name)
        if key is not None:
            self.emulator.system(key, value)
        elif name == "pc":
            self.emulator.write("pc", value | (1 if self.read("cpsr") & THUMB else 0))
        else:
            self.emulator.write(name, value)

    def walk(self, linear: int) -> Walk:
        """Return the way of a linear address through the page tables."""
        sctlr = self.read("sctlr")
        if not sctlr & 1:
            return walk32(self._word, linear, sctlr, 0, 0, 0, 0)
        return walk32(self._word, linear, sctlr, *(self.read(name) for name in ("ttbcr", "ttbr0", "ttbr1", "dacr")))

    @property
    def isa(self) -> str:
        """Its instructions are A32, or T32 while CPSR.T is set."""
        return "thumb" if self.read("cpsr") & THUMB else "arm"

    @property
    def interruptible(self) -> bool:
        """True if an interrupt may be delivered now: CPSR.I is clear."""
        return not self.read("cpsr") & IRQ_MASKED

    def enter(self, entry: int, device_tree: int) -> None:
        """Begin at `entry`: r0 is 0, r1 all ones (no machine number), r2 the device tree (Documentation/arch/arm/booting)."""
        self.write("cpsr", START)
        for name, value in (("r0", 0), ("r1", _MASK), ("r2", device_tree)):
            self.write(name, value)
        self.pc = entry

    def _entry(self, pc: int) -> int:
        return pc | (1 if self.read("cpsr") & THUMB else 0)

    @property
    def _level(self) -> int:
        return 0 if self.read("cpsr") & 0x1F == 0x10 else 1

    def _trial(self) -> None:
        self.write("ttbr0", 0)
        self.write("dacr", 1)
        self.write("sctlr", self.read("sctlr") | 1)

    # hooks: instructions that Unicorn's CPU has not --------------------------------------------------------------

    def _no_instruction(self) -> None:
        self._stop(Exit(Why.EXCEPTION, vector=UNDEFINED, error=1 << 25))

    def _invalid(self) -> bool:
        pc = self.pc
        thumb = bool(self.read("cpsr") & THUMB)
        code = self.load(pc, 4) or self.load(pc, 2) or b""
        word = int.from_bytes(code, "little")
        size = 4
        if thumb:
            word = (word & 0xFFFF) << 16 | word >> 16
            size = 4 if word >> 27 > 0x1C else 2
        # past it first: what the instruction does may end the run
        if len(code) == 4 and size == 4 and self._known(word, thumb):
            if thumb:
                self._next_in_block()
            self.write("pc", pc + size)
        else:
            self._no_instruction()
        return True

    def _known(self, word: int, thumb: bool) -> bool:
        """Carry out an instruction, if it is one of those; True if it was."""
        kind = word & 0x0FFF_FFFF
        plain = word >> 28 == 0xE if thumb else word >> 28 != 0xF
        if plain and word & 0x0F00_0F10 == 0x0E00_0F10:
            return self._move(word >> 20 & 1, (kind >> 16 & 15, kind & 15, kind >> 21 & 7, kind >> 5 & 7), kind >> 12 & 15)
        if plain and word & 0x0FE0_0F00 == 0x0C40_0F00:
            return self._move_two(word >> 20 & 1, kind & 15, kind >> 4 & 15, (kind >> 12 & 15, kind >> 16 & 15))
        if word & 0xFFF0_F000 == 0xF7E0_8000 if thumb else plain and word & 0x0FF0_00F0 == 0x0140_0070:
            return self._hvc((kind >> 16 & 15) << 12 | kind & 0xFFF if thumb else (kind >> 4 & 0xFFF0) | kind & 15)
        if thumb and word & 0xFFD0_F0F0 == 0xFB90_F0F0:
            return self._divide(not word >> 21 & 1, word >> 8 & 15, word >> 16 & 15, word & 15)
        if plain and not thumb and word & 0x0FD0_F0F0 == 0x0710_F010:
            return self._divide(not word >> 21 & 1, word >> 16 & 15, word & 15, word >> 8 & 15)
        return False

    def _hvc(self, number: int) -> bool:
        if number not in (XEN_TAG, 0):
            return False
        self._stop(Exit(Why.HYPERCALL if number else Why.FIRMWARE))
        return True

    def _divide(self, signed: bool, into: int, numerator: int, denominator: int) -> bool:
        """sdiv and udiv: rounded towards zero; by zero is zero."""
        top, bottom = self.read(f"r{numerator}"), self.read(f"r{denominator}")
        if signed:
            top, bottom = top - (top >> 31 << 32), bottom - (bottom >> 31 << 32)
        quotient = abs(top) // abs(bottom) if bottom else 0
        self.write(f"r{into}", (quotient if (top < 0) == (bottom < 0) else -quotient) & _MASK)
        return True

    def _next_in_block(self) -> None:
        """After an instruction of an if-then block comes the next of the block (ITAdvance)."""
        cpsr = self.read("cpsr")
        state = (cpsr >> 8 & 0xFC) | (cpsr >> 25 & 3)
        if state:
            state = state & 0xE0 | state << 1 & 0x1F if state & 7 else 0
            self.write("cpsr", cpsr & ~_IF_THEN | (state & 0xFC) << 8 | (state & 3) << 25)

    # the timer is coprocessor 15, register 14 --------------------------------------------------------------------

    def _move(self, reading: int, register: tuple[int, int, int, int], name: int) -> bool:
        """mrc and mcr of c14: (crn, crm, op1, op2)."""
        crn, crm, op1, op2 = register
        if crn != 14 or op1:
            return False
        if reading:
            self.write(f"r{name}", self._timer_read(crm, op2) & _MASK)
        elif (crm, op2) == (3, 0):
            self.timer.write_tval(self.read(f"r{name}"), self.time())
            self._timer_written()
        elif (crm, op2) == (3, 1):
            self.timer.write_control(self.read(f"r{name}"))
            self._timer_written()
        return True

    def _timer_read(self, crm: int, op2: int) -> int:
        match crm, op2:
            case 0, 0:
                return FREQUENCY
            case 3, 0:
                return self.timer.read_tval(self.time())
            case 3, 1:
                return self.timer.read_control(self.time())
        return 0  # the physical timer is off, and nothing is let in from user mode

    def _move_two(self, reading: int, crm: int, op1: int, names: tuple[int, int]) -> bool:
        """mrrc and mcrr of c14: CNTPCT 0, CNTVCT 1, CNTP_CVAL 2, CNTV_CVAL 3."""
        if crm != 14:
            return False
        low, high = (f"r{n}" for n in names)
        if not reading:
            if op1 == 3:
                self.timer.cval = self.read(low) | self.read(high) << 32
                self._timer_written()
            return True
        value = self.look() if op1 < 2 else self.timer.cval if op1 == 3 else 0
        self.write(low, value & _MASK)
        self.write(high, (value & _MASK_64) >> 32)
        return True

    # exceptions and interrupts -----------------------------------------------------------------------------------

    def deliver(self, found: Exit) -> bool:
        """Enter the guest's handler of an exception; False if the vector itself cannot be fetched."""
        pc = self.pc
        way = _WAYS.get(found.vector)
        if way is None or (found.vector == PREFETCH and pc == self._entered):
            return False
        self._cause = found, pc
        if found.vector == DATA:
            self.write("dfsr", found.number)
            self.write("dfar", (found.value or 0) & _MASK)
        elif found.vector in (PREFETCH, BREAKPOINT):
            self.write("ifsr", found.number if found.vector == PREFETCH else _DEBUG)
            self.write("ifar", (found.value or 0) & _MASK)
        self._enter(way, pc)
        return True

    def interrupt(self) -> None:
        """Enter the guest's handler of interrupts (IRQ)."""
        self._enter(_IRQ, self.pc)

    def _enter(self, way: tuple[int, int, int], pc: int) -> None:
        mode, vector, link = way
        cpsr, sctlr = self.read("cpsr"), self.read("sctlr")
        if mode == 0x1B and cpsr & THUMB:
            link = 2
        masked = IRQ_MASKED | (_ABORT_MASKED if mode in (0x17, 0x12) else 0)
        after = cpsr & ~(0x1F | THUMB | _IF_THEN | _JAZELLE | _BIG_ENDIAN) | mode | masked
        after |= (THUMB if sctlr >> 30 & 1 else 0) | (_BIG_ENDIAN if sctlr >> 25 & 1 else 0)
        self.write("cpsr", after)
        self.write("lr", (pc + link) & _MASK)
        self.write("spsr", cpsr)
        self._entered = (0xFFFF_0000 if sctlr >> 13 & 1 else self.read("vbar")) + vector
        self.write("pc", self._entered)
