"""cpu: what the CPUs of all architectures have in common: registers by name, memory shared with its owner, runs that end with an Exit.

    run() ─▶ Unicorn ─▶ hook: an instruction that is for a hypervisor ─▶ answered at once, or noted and stopped ─▶ Exit

Time within a run is `clock()` when it began, a nanosecond for each instruction since, and `look_ns` for each look at a clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from mirage_lab.vcpu.emulator import Emulator
from mirage_lab.vcpu.executed import Executed
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.paging import Walk

__all__ = ["Cpu"]

_MOST_FRESH: Final = 10_000
"""Blocks translated in one run: only code that rewrites itself all the time needs more, and each costs the host microseconds."""
_LOST: Final = 128
"""Bytes of zeros in one block: no program; x86 and 32-bit ARM would run on through all of its memory, translating each."""
_FRESH_LOOKS: Final = 5
"""What each of them costs then, in looks at a clock."""
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
        self._blocks: Any = None
        self._mute = False
        self.noted: Callable[[int], None] | None = None
        """Who is told, instead of a stop, of breakpoints that are come by, and after how many instructions of the run."""
        self.trace = Executed(emulator)
        self._traps: list[tuple[int, int]] = []
        self._ram: list[tuple[int, int, memoryview, bool]] = []
        self._begins: list[int] = []
        self._exit: Exit | None = None
        self._absent: set[int] = set()
        self._began = 0
        self._until = 0
        self._resumed = -1
        self._fresh = 0
        emulator.on_unmapped(self._unmapped)
        emulator.on_translated(self._translated)
        emulator.on_protected(lambda address: self._stop(self._refused(address)))

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
        """Have physical memory at `address` be `buffer` (whole pages), shared with its owner; memory that was there makes room.

        Raises ValueError where a device is.
        """
        end = address + len(buffer)
        if self.emulator.device_in(address, end):
            raise ValueError(f"a device is at {address:#x}")
        self._clear(address, end)
        self._put(address, memoryview(buffer), writable)
        self.remapped()

    def unmap(self, address: int, size: int = 4096) -> None:
        """Have no memory at `address` any more."""
        self._clear(address, address + size)
        self.remapped()

    def device(self, address: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None]) -> None:
        """Have accesses at `address` go to read(offset, size) and write(offset, size, value).

        Each costs as much as a look at a clock, and never ends the run: Unicorn would do it again.
        """

        def looked_read(offset: int, width: int) -> int:
            self.looks += 1
            return read(offset, width)

        def looked_write(offset: int, width: int, value: int) -> None:
            self.looks += 1
            write(offset, width, value)

        self.emulator.device(address, size, looked_read, looked_write)

    @property
    def pieces(self) -> int:
        """Of how many pieces its memory is made: each more makes a change of the map a little slower."""
        return len(self._ram) + len(self._absent)

    def remapped(self) -> None:
        """The map of memory has changed: what was translated, code and addresses, may be wrong."""
        self.emulator.forget_code()
        self.emulator.forget_addresses()

    def _put(self, address: int, view: memoryview, writable: bool) -> None:
        self.emulator.map(address, view, writable=writable)
        at = bisect_right(self._begins, address)
        self._begins.insert(at, address)
        self._ram.insert(at, (address, address + len(view), view, writable))

    def _clear(self, begin: int, end: int) -> None:
        """Take away what lies from `begin` to `end`; of what lies there in part, the rest stays."""
        for page in [page for page in self._absent if begin <= page < end]:
            self._absent.discard(page)
            self.emulator.unmap(page)
        for row in [row for row in self._ram if row[0] < end and begin < row[1]]:
            first, last, view, writable = row
            at = self._begins.index(first)
            del self._begins[at], self._ram[at]
            self.emulator.unmap(first)
            if first < begin:
                self._put(first, view[: begin - first], writable)
            if end < last:
                self._put(end, view[end - first :], writable)

    def physical(self, address: int, size: int) -> memoryview | None:
        """Return `size` bytes of physical memory, None where they are not all memory of one piece; read-only where a guest may not write."""
        at = bisect_right(self._begins, address) - 1
        if at < 0:
            return None
        begin, end, view, writable = self._ram[at]
        if address + size > end:
            return None
        found = view[address - begin : address - begin + size]
        return found if writable else found.toreadonly()

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
            if found is None or (write and found.readonly):
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

    def patch(self, linear: int, data: bytes) -> bool:
        """Write bytes at a linear address, whatever its rights, as a debugger does: all, or none and False."""
        pieces = self.view(linear, len(data))
        if pieces is None or any(piece.readonly for piece in pieces):
            return False
        at = 0
        for piece in pieces:
            piece[:] = data[at : at + len(piece)]
            at += len(piece)
        self.emulator.forget_code()
        return True

    @property
    @abstractmethod
    def isa(self) -> str:
        """Which instructions it takes those at its program counter for: a name of `disassembly.ISAS`."""

    @property
    @abstractmethod
    def interruptible(self) -> bool:
        """True if an interrupt may be delivered now."""

    # running -----------------------------------------------------------------------------------------------------

    def run(self, count: int, until: int = 1 << 62, *, spent: int = 0, over: bool = True) -> Exit:
        """Run up to `count` instructions, or until the guest sees `until` ns on its clock; say why it stopped.

        `spent`: ns of its time that went by since `clock` stands still.  `over`: a breakpoint at its first instruction does not count.
        """
        self._exit = None
        self.looks = self._fresh = 0
        self._began = self.clock() + spent
        self._until = until
        pc = self.pc
        self._resumed = pc if over else -1
        wrong = self.emulator.start(self._entry(pc), count)
        found, done, failed = self._exit, self.emulator.executed, self.emulator.failed
        if failed is not None:
            found = Exit(Why.FAULT, detail=f"the lab itself has failed in what the guest asked for: {type(failed).__name__}: {failed}")
        elif found is not None:
            done = found.instructions  # Unicorn may have counted one more, before which it stopped
        elif wrong:
            found = Exit(Why.FAULT, detail=f"{wrong} at {self.pc:#x}")
        else:
            found = Exit(Why.BUDGET if done > count else Why.HALT)
        found.instructions = min(done, count)
        return self._finish(found)

    @property
    def ends_here(self) -> bool:
        """True if the last run would have ended where it did with more instructions too."""
        return False

    def _entry(self, pc: int) -> int:
        """Return how Unicorn is told to begin at `pc`."""
        return pc

    def _finish(self, found: Exit) -> Exit:
        """Return an exit with what is only known after the run."""
        return found

    def _stop(self, found: Exit, before: int = 0) -> None:
        """End the run with an exit: behind the instruction of the moment, or `before` it (1)."""
        if self._exit is None:
            found.instructions = self.emulator.executed - before
            self._exit = found
        self.emulator.stop()

    def time(self) -> int:
        """Return what a clock of the guest says now, within a run, in ns."""
        return self._began + self.emulator.executed + self.looks * self.look_ns

    def look(self) -> int:
        """The guest looks at a clock, or does what costs as much: return what it says, and end the run if that is late enough."""
        self.looks += 1
        now = self.time()
        if now >= self._until:
            self._stop(Exit(Why.TIME))
        return now

    def _translated(self, address: int, size: int) -> None:
        if size >= _LOST and not any(self.load(address, size) or b"\1"):
            self._stop(Exit(Why.FAULT, detail=f"it runs through memory that is all zeros, at {address:#x}"))
        self._fresh += 1
        if self._fresh > _MOST_FRESH:
            self.looks += _MOST_FRESH * _FRESH_LOOKS
            self._stop(Exit(Why.TIME))

    def trap(self, address: int, size: int) -> None:
        """Exit at each access to physical addresses where there is no memory: whoever runs the CPU has a device there, and `access` goes on."""
        self._traps.append((address, address + size))

    def access(self, found: Exit, value: int = 0) -> Exit:
        """After an exit MMIO: carry out the instruction, whose read has this value, or whose write was taken note of."""
        page = bytearray(8192)
        begin = found.number & ~0xFFF
        page[found.number - begin : found.number - begin + found.size] = (value & (1 << 8 * found.size) - 1).to_bytes(found.size, "little")
        self.map(begin, memoryview(page)[: -(-(found.number - begin + found.size) // 4096) * 4096])
        done = self.run(1)
        self.unmap(begin, 8192)
        return done

    def _unmapped(self, address: int, size: int) -> bool:
        if self.emulator.access != "fetch" and any(begin <= address < end for begin, end in self._traps):
            self._stop(Exit(Why.MMIO, number=address, size=size, value=self.emulator.stored if self.emulator.access == "write" else None), before=1)
            return False
        page = address & ~0xFFF
        if len(self._absent) >= _MOST_ABSENT or page + 4096 > 1 << 52:
            self._stop(Exit(Why.FAULT, detail=f"it goes through addresses where there is no memory, now {address:#x}"))
            return False
        try:
            self.emulator.map(page, memoryview(bytearray(b"\xff" * 4096)))
        except ValueError:
            return False
        self._absent.add(page)
        return True

    def _refused(self, address: int) -> Exit:
        """Return the exit of a store to physical memory that may only be read."""
        return Exit(Why.FAULT, detail=f"it writes to memory it may only read, at {address:#x}")

    # breakpoints -------------------------------------------------------------------------------------------------

    def break_at(self, address: int) -> None:
        """Exit before the instruction at `address`, unless a run begins there and goes `over` it."""
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
        if self.noted is not None:
            self.noted(self.emulator.executed - 1)
        elif pc == self._resumed:
            self._resumed = -1
        elif not self._mute:
            self._stop(Exit(Why.BREAK), before=1)

    def break_at_block(self) -> None:
        """Exit before the next basic block begins; `unbreak_block` when it has, or when it is no longer wanted."""
        if self._blocks is None:
            self._blocks = self.emulator.on_block(self._block_begins)
            self.emulator.forget_code()

    def unbreak_block(self) -> None:
        """Take back `break_at_block`."""
        if self._blocks is not None:
            self.emulator.unhook(self._blocks)
            self._blocks = None
            self.emulator.forget_code()

    def _block_begins(self, pc: int, size: int) -> None:
        if self.emulator.executed and not self._mute:
            self._stop(Exit(Why.BREAK))

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Run without being stopped by breakpoints."""
        before, self._mute = self._mute, True
        try:
            yield
        finally:
            self._mute = before

    # snapshots ---------------------------------------------------------------------------------------------------

    @property
    def regions(self) -> list[tuple[int, memoryview]]:
        """Where it has memory, and what is there."""
        return [(row[0], row[2]) for row in self._ram]

    def save(self) -> bytes:
        """Return the registers, all of them."""
        return self.emulator.save()

    def restore(self, saved: bytes) -> None:
        """Set the registers again; memory may have changed too."""
        self.emulator.restore(saved)
        self.emulator.forget_code()
