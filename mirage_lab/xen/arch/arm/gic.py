"""gic: the interrupt controller of an ARM guest with one CPU: distributor and CPU interface (GICv2, ARM IHI 0048B).

    line or ISPENDR ─▶ pending ──enabled, more urgent than PMR and what runs──▶ IRQ ─▶ IAR: active ─▶ EOIR: done

Interrupts 0 to 15 are sent by software (SGIR), 16 to 31 are those of the CPU: the timer's is 27, event channels' 31.  Their
lines have levels: as long as one is high, its interrupt is pending again once it was dealt with.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["SPURIOUS", "Gic"]

LINES: Final = 32
SPURIOUS: Final = 1_023
_ALL: Final = 0xFFFF_FFFF
_IDLE: Final = 0x100
"""The priority of what runs when nothing does."""
_IMPLEMENTER: Final = 0x43B
_EOI_MODE: Final = 1 << 9

IPRIORITYR: Final = 0x400
ITARGETSR: Final = 0x800


class Gic:
    """The two register banks.  `lines` is always the bits of the interrupts whose line is high."""

    def __init__(self) -> None:
        self.forwards = False
        self.listens = False
        self.split = False
        self.enabled = 0xFFFF
        self.latched = 0
        self.active = 0
        self.mask = 0
        self.binary_point = 0
        self.priorities = bytearray(LINES)
        self.edges = 0xAAAA_AAAA
        self.running: list[int] = []

    def __repr__(self) -> str:
        return f"<Gic enabled={self.enabled:#x} active={self.active:#x} priority mask={self.mask:#x}>"

    def save(self) -> tuple[Any, ...]:
        """Return all of its state."""
        simple = (self.forwards, self.listens, self.split, self.enabled, self.latched, self.active, self.mask, self.binary_point, self.edges)
        return (*simple, bytes(self.priorities), tuple(self.running))

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Be as it was."""
        *simple, priorities, running = saved
        self.forwards, self.listens, self.split, self.enabled, self.latched, self.active, self.mask, self.binary_point, self.edges = simple
        self.priorities[:], self.running = priorities, list(running)

    # what is due -------------------------------------------------------------------------------------------------

    @property
    def running_priority(self) -> int:
        """The priority of the most urgent interrupt that was taken and not ended; 0x100 for none."""
        return self.priorities[self.running[-1]] if self.running else _IDLE

    def highest(self, lines: int) -> int:
        """Return the most urgent interrupt that may be taken, 1023 for none."""
        due = (self.latched | lines) & self.enabled & ~self.active
        if not due or not self.forwards:
            return SPURIOUS
        best = min((n for n in range(LINES) if due >> n & 1), key=lambda n: self.priorities[n])
        return best if self.priorities[best] < min(self.mask, self.running_priority) else SPURIOUS

    def signals(self, lines: int) -> bool:
        """True if the CPU is interrupted."""
        return self.listens and self.highest(lines) != SPURIOUS

    def acknowledge(self, lines: int) -> int:
        """Read IAR: take the most urgent interrupt."""
        found = self.highest(lines) if self.listens else SPURIOUS
        if found != SPURIOUS:
            self.latched &= ~(1 << found)
            self.active |= 1 << found
            if found in self.running:  # its guest has called it inactive in the middle
                self.running.remove(found)
            self.running.append(found)
        return found

    def end(self, number: int) -> None:
        """Write EOIR: the interrupt is dealt with (with EOImode: another may come; DIR ends it)."""
        if number in self.running:
            self.running.remove(number)
            if not self.split:
                self.active &= ~(1 << number)

    # the distributor ---------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int, lines: int) -> int:
        """Read the distributor."""
        if IPRIORITYR <= offset < IPRIORITYR + LINES:
            return int.from_bytes(self.priorities[offset - IPRIORITYR : offset - IPRIORITYR + size], "little")
        if ITARGETSR <= offset < ITARGETSR + LINES:
            return int.from_bytes(b"\x01" * size, "little")
        return self._word(offset & ~3, lines) >> 8 * (offset & 3) & ((1 << 8 * size) - 1)

    def _word(self, offset: int, lines: int) -> int:
        match offset:
            case 0x000:  # CTLR
                return int(self.forwards)
            case 0x008:  # IIDR
                return _IMPLEMENTER
            case 0x100 | 0x180:  # ISENABLER, ICENABLER
                return self.enabled
            case 0x200 | 0x280:  # ISPENDR, ICPENDR
                return self.latched | lines
            case 0x300 | 0x380:  # ISACTIVER, ICACTIVER
                return self.active
            case 0xC00:  # ICFGR0: edges, all of them
                return 0xAAAA_AAAA
            case 0xC04:  # ICFGR1
                return self.edges
            case 0xFE8:  # PIDR2: version 2
                return 0x2B
        return 0  # TYPER too: 32 lines, one CPU

    def write(self, offset: int, size: int, value: int) -> None:
        """Write the distributor."""
        if offset >= IPRIORITYR and offset + size <= IPRIORITYR + LINES:
            self.priorities[offset - IPRIORITYR : offset - IPRIORITYR + size] = bytes(byte & 0xF8 for byte in value.to_bytes(size, "little"))
            return
        if size != 4:
            return
        match offset:
            case 0x000:  # CTLR
                self.forwards = bool(value & 1)
            case 0x100:  # ISENABLER
                self.enabled |= value
            case 0x180:  # ICENABLER
                self.enabled &= ~value & _ALL
            case 0x200:  # ISPENDR
                self.latched |= value & 0xFFFF_0000
            case 0x280:  # ICPENDR
                self.latched &= ~value & _ALL | 0xFFFF
            case 0x300:  # ISACTIVER
                self.active |= value
            case 0x380:  # ICACTIVER
                self.active &= ~value & _ALL
            case 0xC04:  # ICFGR1
                self.edges = value & 0xAAAA_AAAA
            # SGIR, to itself: there is no other CPU
            case 0xF00 if value >> 24 & 3 == 2 or (value >> 24 & 3 == 0 and value >> 16 & 1):
                self.latched |= 1 << (value & 15)
            case 0xF10:  # CPENDSGIR
                self.latched &= ~self._banked(0, value)
            case 0xF20:  # SPENDSGIR
                self.latched |= self._banked(0, value)

    def _banked(self, first: int, value: int) -> int:
        """Of a register with a byte for each of four software interrupts: the bits of those that are named."""
        return sum(1 << first + n for n in range(4) if value >> 8 * n & 1)

    # the CPU interface -------------------------------------------------------------------------------------------

    def cpu_read(self, offset: int, size: int, lines: int) -> int:
        """Read the CPU interface."""
        match offset:
            case 0x000:  # CTLR
                return int(self.listens) | (_EOI_MODE if self.split else 0)
            case 0x004:  # PMR
                return self.mask
            case 0x008:  # BPR
                return self.binary_point
            case 0x00C:  # IAR
                return self.acknowledge(lines)
            case 0x014:  # RPR
                return min(self.running_priority, 0xFF)
            case 0x018:  # HPPIR
                return self.highest(lines)
            case 0x0FC:  # IIDR
                return 0x0202_0000 | _IMPLEMENTER
        return 0

    def cpu_write(self, offset: int, size: int, value: int) -> None:
        """Write the CPU interface."""
        match offset:
            case 0x000:  # CTLR
                self.listens, self.split = bool(value & 1), bool(value & _EOI_MODE)
            case 0x004:  # PMR
                self.mask = value & 0xF8
            case 0x008:  # BPR
                self.binary_point = value & 7
            case 0x010:  # EOIR
                self.end(value & 0x3FF)
            case 0x1000:  # DIR
                self.active &= ~(1 << (value & 0x1F))
