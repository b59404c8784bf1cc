"""cpu: what the CPUs of all architectures have in common: registers by name, memory shared with its owner, runs that end with an Exit.

    run() ─▶ Unicorn ─▶ hook: an instruction that is for a hypervisor ─▶ answered at once, or noted and stopped ─▶ Exit

Time within a run is `clock()` when it began, a nanosecond for each instruction since, and `look_ns` for each look at a clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final

from mirage_lab.vcpu.emulator import Emulator
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.paging import Walk

__all__ = ["Cpu"]

_MOST_ABSENT: Final = 256
"""Pages where there is no memory that a guest may look at: each reads as ones, as an empty bus does."""


class Cpu(ABC):
    """One CPU.  `clock` tells ns; a look at it costs `look_ns`."""

    program_counter: ClassVar[str]
    general: ClassVar[tuple[str, ...]]
    """The registers that a person looks at first, by the names of the manual."""

    def __init__(self, arch: str, clock: Callable[[], int], look_ns: int) -> None:
        self.emulator = emulator = Emulator(arch)
        self.arch = arch
        self.clock = clock
        self.look_ns = look_ns
        self.looks = 0
        self.breakpoints: dict[int, Any] = {}
        self._ram: list[tuple[int, int, memoryview]] = []
        self._exit: Exit | None = None
        self._absent = 0
        self._began = 0
        self._until = 0
        self._resumed = -1
        emulator.on_unmapped(self._unmapped)

    # registers and memory ----------------------------------------------------------------------------------------

    def read(self, name: str) -> int:
        """Return a register by the name of the manual, in small letters."""
        return int(self.emulator.read(name))

    def write(self, name: str, value: int) -> None:
        """Set a register."""
        self.emulator.write(name, value)

    @property
    def pc(self) -> int:
        """Where the next instruction is."""
        return self.read(self.program_counter)

    @pc.setter
    def pc(self, value: int) -> None:
        self.write(self.program_counter, value)

    def map(self, address: int, buffer: Any, *, writable: bool = True) -> None:
        """Have physical memory at `address` be `buffer` (whole pages), shared with its owner."""
        self.emulator.map(address, buffer, writable=writable)
        self._ram.append((address, address + len(buffer), memoryview(buffer)))

    def unmap(self, address: int) -> None:
        """Take back what was mapped at `address`."""
        self.emulator.unmap(address)
        self._ram = [row for row in self._ram if row[0] != address]

    def physical(self, address: int, size: int) -> memoryview | None:
        """Return `size` bytes of physical memory, None where they are not all memory."""
        for begin, end, view in self._ram:
            if begin <= address and address + size <= end:
                return view[address - begin : address - begin + size]
        return None

    def _word(self, address: int, size: int) -> int | None:
        found = self.physical(address, size)
        return None if found is None else int.from_bytes(found, "little")

    @abstractmethod
    def walk(self, linear: int) -> Walk:
        """Return the way of a linear address through the page tables."""

    def view(self, linear: int, size: int, *, write: bool = False) -> list[memoryview] | None:
        """Return the pieces of memory that `size` bytes at a linear address are; None where one is not there, or not writable."""
        pieces = []
        while size > 0:
            step = min(size, 4096 - (linear & 4095))
            way = self.walk(linear)
            found = None if way.physical is None or (write and not way.writable) else self.physical(way.physical, step)
            if found is None:
                return None
            pieces.append(found)
            linear += step
            size -= step
        return pieces

    def load(self, linear: int, size: int) -> bytes | None:
        """Return bytes at a linear address, None where they are not all there."""
        pieces = self.view(linear, size)
        return None if pieces is None else b"".join(pieces)

    def store(self, linear: int, data: bytes | bytearray | memoryview) -> bool:
        """Write bytes at a linear address: all, or none and False."""
        pieces = self.view(linear, len(data), write=True)
        if pieces is None:
            return False
        at = 0
        for piece in pieces:
            piece[:] = data[at : at + len(piece)]
            at += len(piece)
        return True

    @property
    @abstractmethod
    def interruptible(self) -> bool:
        """True if an interrupt may be delivered now."""

    # running -----------------------------------------------------------------------------------------------------

    def run(self, count: int, until: int = 1 << 62) -> Exit:
        """Run up to `count` instructions, or until the guest sees `until` ns on its clock; say why it stopped."""
        self._exit = None
        self.looks = 0
        self._began = self.clock()
        self._until = until
        self._resumed = self.pc
        wrong = self.emulator.start(self._entry(self._resumed), count)
        done = self.emulator.executed
        found = self._exit
        if found is None:
            if wrong:
                found = Exit(Why.FAULT, detail=f"{wrong} at {self.pc:#x}")
            elif done > count:
                found = Exit(Why.BUDGET)
            else:
                found = Exit(Why.HALT)
        found.instructions = min(done, count)
        return self._finish(found)

    def _entry(self, pc: int) -> int:
        """Return how Unicorn is told to begin at `pc`."""
        return pc

    def _finish(self, found: Exit) -> Exit:
        """Return an exit with what is only known after the run."""
        return found

    def _stop(self, found: Exit) -> None:
        if self._exit is None:
            self._exit = found
        self.emulator.stop()

    def time(self) -> int:
        """Return what a clock of the guest says now, within a run, in ns."""
        return self._began + self.emulator.executed + self.looks * self.look_ns

    def look(self) -> int:
        """The guest looks at a clock: return what it says, and end the run if that is late enough."""
        self.looks += 1
        now = self.time()
        if now >= self._until:
            self._stop(Exit(Why.TIME))
        return now

    def _unmapped(self, address: int, size: int) -> bool:
        page = address & ~0xFFF
        if self._absent >= _MOST_ABSENT or page + 4096 > 1 << 52:
            self._stop(Exit(Why.FAULT, detail=f"it goes through addresses where there is no memory, now {address:#x}"))
            return False
        self._absent += 1
        try:
            self.emulator.map(page, bytearray(b"\xff" * 4096))
        except ValueError:
            return False
        return True

    # breakpoints -------------------------------------------------------------------------------------------------

    def break_at(self, address: int) -> None:
        """Exit before the instruction at `address`, unless a run begins there."""
        if address not in self.breakpoints:
            self.breakpoints[address] = self.emulator.on_code(address, address, self._broke)
            self.emulator.forget_code()

    def unbreak(self, address: int) -> None:
        """Take a breakpoint away."""
        hook = self.breakpoints.pop(address, None)
        if hook is not None:
            self.emulator.unhook(hook)
            self.emulator.forget_code()

    def _broke(self, pc: int) -> None:
        if pc == self._resumed:
            self._resumed = -1
        else:
            self._stop(Exit(Why.BREAK))

    # snapshots ---------------------------------------------------------------------------------------------------

    def save(self) -> bytes:
        """Return the registers, all of them."""
        return self.emulator.save()

    def restore(self, saved: bytes) -> None:
        """Set the registers again; memory may have changed too."""
        self.emulator.restore(saved)
        self.emulator.forget_code()
