"""x86: a CPU of x86-64, from 32-bit protected mode to long mode, with what a hypervisor has to see of it.

    run() ─▶ Unicorn ─▶ hook: vmcall, cpuid, rdtsc, in, out, an exception ... ─▶ answered at once, or noted and stopped ─▶ Exit

Unicorn never uses the guest's descriptor table: exceptions and interrupts are delivered here (SDM volume 3, chapter 6).
Time: rdtsc is `clock()` when the run began, a nanosecond for each instruction since, and `look_ns` for each look at it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from mirage_lab.vcpu.emulator import Emulator
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.paging import LMA, PG, Walk, walk

__all__ = ["EFER", "GENERAL", "X86"]

EFER: Final = 0xC000_0080
IF: Final = 1 << 9
GENERAL: Final = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip", "eflags")
_HYPERCALLS: Final = (b"\x0f\x01\xc1", b"\x0f\x01\xd9")
_WITH_ERROR: Final = frozenset({8, 10, 11, 12, 13, 14, 17, 21})
_MOST_ABSENT: Final = 256
"""Pages where there is no memory that a guest may look at: each reads as ones, as an empty bus does."""
_PROBE: Final = 0x5A5A_1234_0BAD_F00D
_NO_EXCEPTION: Final = struct.pack("<i", -1)
_errors: dict[int, int] = {}

Cpuid = Callable[[int, int], tuple[int, int, int, int]]


class X86:
    """One CPU.  `clock` tells ns; `cpuid(leaf, subleaf)` the four registers; `ports` what in and out do."""

    def __init__(self, clock: Callable[[], int], cpuid: Cpuid, *, look_ns: int = 1_000) -> None:
        self.emulator = emulator = Emulator("x86")
        self.clock = clock
        self.cpuid = cpuid
        self.look_ns = look_ns
        self.looks = 0
        self.ports_read: Callable[[int, int], int] = lambda port, size: (1 << 8 * size) - 1
        self.ports_write: Callable[[int, int, int], None] = lambda port, size, value: None
        self.breakpoints: dict[int, Any] = {}
        self._ram: list[tuple[int, int, memoryview]] = []
        self._exit: Exit | None = None
        self._absent = 0
        self._began = 0
        self._until = 0
        self._resumed = -1
        self._msr_sites: dict[int, Any] = {}
        emulator.on_invalid(self._invalid)
        emulator.on_interrupt(self._exception)
        emulator.on_unmapped(self._unmapped)
        emulator.on_cpuid(self._cpuid)
        emulator.on_rdtsc(self._rdtsc)
        emulator.on_ports(self._in, self._out)
        self._general = emulator.batch("rax", "rbx", "rcx", "rdx")
        self._ends = emulator.batch("rax", "rdx")
        self._leaf = emulator.batch("rax", "rcx")
        self._error_at = _errors.get(0) or _errors.setdefault(0, self._find_error())

    # registers and memory ----------------------------------------------------------------------------------------

    def read(self, name: str) -> int:
        """Return a register by the name of the manual, in small letters."""
        return int(self.emulator.read(name))

    def write(self, name: str, value: int) -> None:
        """Set a register."""
        self.emulator.write(name, value)

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

    def walk(self, linear: int) -> Walk:
        """Return the way of a linear address through the page tables."""
        cr0 = self.read("cr0")
        if not cr0 & PG:
            return walk(self._word, linear, cr0, 0, 0, 0)
        return walk(self._word, linear, cr0, self.read("cr3"), self.read("cr4"), self.emulator.msr(EFER))

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
    def long_mode(self) -> bool:
        """True in long mode."""
        return bool(self.emulator.msr(EFER) & LMA)

    @property
    def interruptible(self) -> bool:
        """True if an interrupt may be delivered: IF is set, and the instruction before this was not sti."""
        if not self.read("eflags") & IF:
            return False
        before = self.load(self.read("rip") - 1, 1)
        return before != b"\xfb"

    # running -----------------------------------------------------------------------------------------------------

    def run(self, count: int, until: int = 1 << 62) -> Exit:
        """Run up to `count` instructions, or until the guest sees `until` ns on its clock; say why it stopped."""
        self._exit = None
        self.looks = 0
        self._began = self.clock()
        self._until = until
        pc = self._resumed = self.read("rip")
        wrong = self.emulator.start(pc, count)
        done = self.emulator.executed
        found = self._exit
        if found is None:
            if wrong:
                found = Exit(Why.FAULT, detail=f"{wrong} at {self.read('rip'):#x}")
            elif done > count:
                found = Exit(Why.BUDGET)
            else:
                found = Exit(Why.HALT)
        found.instructions = min(done, count)
        if found.why is Why.EXCEPTION:
            found.error = self._error(found.vector)
        return found

    def _stop(self, found: Exit) -> None:
        if self._exit is None:
            self._exit = found
        self.emulator.stop()

    def enter32(self, entry: int, ebx: int) -> None:
        """Begin at `entry` in flat 32-bit protected mode without paging (the PVH entry)."""
        emulator = self.emulator
        emulator.write("cr4", emulator.read("cr4") | 0x20)
        emulator.write("cr0", 0x8000_0001)
        emulator.write("cr0", 1)
        emulator.msr(EFER, 0)
        emulator.write("cr4", 0)
        emulator.write("cr0", 0x11)
        emulator.write("eflags", 2)
        emulator.write("rbx", ebx)
        emulator.write("rip", entry)

    # hooks: what happens while it runs ---------------------------------------------------------------------------

    def _invalid(self) -> bool:
        pc = self.read("rip")
        if self.load(pc, 3) in _HYPERCALLS:
            self.write("rip", pc + 3)
            self._stop(Exit(Why.HYPERCALL))
        else:
            self._stop(Exit(Why.EXCEPTION, vector=6))
        return True

    def _exception(self, vector: int) -> None:
        self._stop(Exit(Why.EXCEPTION, vector=vector))

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

    def _cpuid(self) -> bool:
        self.looks += 1
        leaf, subleaf = self._leaf.read()
        self._general.write(*self.cpuid(leaf & 0xFFFF_FFFF, subleaf & 0xFFFF_FFFF))
        return True

    def tsc(self) -> int:
        """What rdtsc says now, within a run."""
        return self._began + self.emulator.executed + self.looks * self.look_ns

    def _rdtsc(self) -> bool:
        self.looks += 1
        now = self.tsc()
        self._ends.write(now & 0xFFFF_FFFF, now >> 32)
        if now >= self._until:
            self._stop(Exit(Why.TIME))
        return True

    def _in(self, port: int, size: int) -> int:
        self.looks += 1
        return self.ports_read(port, size)

    def _out(self, port: int, size: int, value: int) -> None:
        self.looks += 1
        self.ports_write(port, size, value)

    # model-specific registers ------------------------------------------------------------------------------------

    def watch_msrs(self, address: int, code: bytes | memoryview) -> None:
        """Exit at each rdmsr and wrmsr in code that lies at `address`: Unicorn has no hook for them."""
        data = bytes(code)
        for opcode in (b"\x0f\x30", b"\x0f\x32"):
            at = data.find(opcode)
            while at >= 0:
                site = address + at
                if site not in self._msr_sites and len(self._msr_sites) < 1_024:
                    self._msr_sites[site] = self.emulator.on_code(site, site, self._msr)
                at = data.find(opcode, at + 1)

    def _msr(self, pc: int) -> None:
        opcode = self.load(pc, 2)
        if opcode not in (b"\x0f\x30", b"\x0f\x32"):
            return
        emulator = self.emulator
        number, value = int(emulator.read("ecx")), None
        if opcode == b"\x0f\x30":
            value = int(emulator.read("edx")) << 32 | int(emulator.read("eax"))
        if number == EFER or 0xC000_0081 <= number <= 0xC000_0102:
            return  # the CPU itself has these
        self.write("rip", pc + 2)
        self._stop(Exit(Why.MSR, number=number, value=value))

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

    # exceptions and interrupts -----------------------------------------------------------------------------------

    def _find_error(self) -> int:
        """Find where in what Unicorn saves the error code of an exception lies: 16 bytes before the debug registers."""
        for n in range(3):
            self.write(f"dr{n}", _PROBE + n)
        saved = self.emulator.save()
        for n in range(3):
            self.write(f"dr{n}", 0)
        at = saved.find(struct.pack("<3Q", *(_PROBE + n for n in range(3))))
        return at - 16 if at >= 16 else -1

    def _error(self, vector: int) -> int | None:
        """Return the error code of the exception that just happened, and have Unicorn forget it: two in a row are no double fault."""
        if self._error_at < 0:
            return 0 if vector in _WITH_ERROR else None
        saved = bytearray(self.emulator.save())
        (code,) = struct.unpack_from("<i", saved, self._error_at)
        saved[self._error_at + 112 : self._error_at + 116] = _NO_EXCEPTION
        self.emulator.restore(bytes(saved))
        return code & 0xFFFF_FFFF if vector in _WITH_ERROR else None

    def deliver(self, vector: int, error: int | None = None) -> bool:
        """Enter the guest's handler of an exception or interrupt; False if it has none that can be entered."""
        return self._deliver64(vector, error) if self.long_mode else self._deliver32(vector, error)

    def _deliver64(self, vector: int, error: int | None) -> bool:
        emulator = self.emulator
        _, base, limit, _ = emulator.read("idtr")
        gate = self.load(base + 16 * vector, 16) if 16 * vector + 15 <= limit else None
        if gate is None or not gate[5] & 0x80 or gate[5] & 0x1F not in (14, 15):
            return False
        low, selector, ist, kind, middle, high = struct.unpack_from("<HHBBHI", gate)
        rsp, ss, cs = self.read("rsp"), self.read("ss"), self.read("cs")
        stack = rsp
        if ist & 7:
            _, tss, _, _ = emulator.read("tr")
            found = self.load(tss + 0x24 + 8 * ((ist & 7) - 1), 8)
            if found is None:
                return False
            stack = int.from_bytes(found, "little")
        flags = self.read("eflags")
        frame = struct.pack("<5Q", self.read("rip"), cs, flags, rsp, ss)
        if error is not None:
            frame = struct.pack("<Q", error) + frame
        stack = (stack & ~15) - len(frame)
        if not self.store(stack, frame):
            return False
        self._enter(low | middle << 16 | high << 32, stack, flags, kind, selector)
        return True

    def _deliver32(self, vector: int, error: int | None) -> bool:
        emulator = self.emulator
        _, base, limit, _ = emulator.read("idtr")
        gate = self.load(base + 8 * vector, 8) if 8 * vector + 7 <= limit else None
        if gate is None or not gate[5] & 0x80 or gate[5] & 0x1F not in (14, 15):
            return False
        low, selector, _, kind, high = struct.unpack("<HHBBH", gate)
        flags = self.read("eflags")
        frame = struct.pack("<3I", self.read("rip") & 0xFFFF_FFFF, self.read("cs"), flags & 0xFFFF_FFFF)
        if error is not None:
            frame = struct.pack("<I", error) + frame
        stack = (self.read("rsp") & 0xFFFF_FFFF) - len(frame)
        if not self.store(stack, frame):
            return False
        self._enter(low | high << 16, stack, flags, kind, selector)
        return True

    def _enter(self, handler: int, stack: int, flags: int, kind: int, selector: int) -> None:
        self.write("rsp", stack)
        cleared = 0x14100 | (IF if kind & 0x1F == 14 else 0)  # TF, NT, RF
        self.write("eflags", flags & ~cleared)
        self.write("rip", handler)

    # snapshots ---------------------------------------------------------------------------------------------------

    def save(self) -> bytes:
        """Return the registers, all of them."""
        return self.emulator.save()

    def restore(self, saved: bytes) -> None:
        """Set the registers again; memory may have changed too."""
        self.emulator.restore(saved)
        self.emulator.forget_code()
        self.write("cr3", self.read("cr3"))
