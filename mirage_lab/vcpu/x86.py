"""x86: a CPU of x86-64, from 32-bit protected mode to long mode, with what a hypervisor has to see of it.

    hooks: vmcall, cpuid, rdtsc, in, out, an exception ...

Unicorn never uses the guest's descriptor table: exceptions and interrupts are delivered here (SDM volume 3, chapter 6).
rdtsc counts nanoseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from mirage_lab.vcpu.cpu import Cpu
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.paging import LMA, Walk, walk

__all__ = ["EFER", "GENERAL", "IF", "X86"]

EFER: Final = 0xC000_0080
IF: Final = 1 << 9
PE: Final = 1
SCE: Final = 1
STAR, LSTAR, SFMASK = 0xC000_0081, 0xC000_0082, 0xC000_0084
FLAT_CODE: Final = 0xA0_9B00
FLAT_DATA: Final = 0xC0_9300
"""Attributes of the segments that syscall loads, as a descriptor has them."""
RING: Final = 3
ADDSEG: Final = 1 << 6
LONG_CODE: Final = 1 << 15 | 1 << 5 | 1 << 4
"""What Unicorn has of the mode, beside PE << 7: the ring; that segments have bases; that code is of 64 bits, and of 32, and stacks are."""
GENERAL: Final = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip", "eflags")
_HYPERCALLS: Final = (b"\x0f\x01\xc1", b"\x0f\x01\xd9")
_WITH_ERROR: Final = frozenset({8, 10, 11, 12, 13, 14, 17, 21})
_BEFORE: Final = 24
"""Bytes before an rdmsr in which its number is loaded."""
_PROBE: Final = 0x5A5A_1234_0BAD_F00D
_NO_EXCEPTION: Final = struct.pack("<i", -1)
_places: dict[str, int] = {}
"""Where in what Unicorn saves something lies."""

Cpuid = Callable[[int, int], tuple[int, int, int, int]]


class X86(Cpu):
    """One CPU.  `clock` tells ns; `cpuid(leaf, subleaf)` the four registers.

    `ports_read` and `ports_write` answer in and out at once; without them each is an exit.
    """

    program_counter = "rip"
    general = GENERAL

    def __init__(self, clock: Callable[[], int], cpuid: Cpuid, *, look_ns: int = 1_000) -> None:
        super().__init__("x86", clock, look_ns)
        emulator = self.emulator
        self.cpuid = cpuid
        self.ports_read: Callable[[int, int], int] | None = None
        self.ports_write: Callable[[int, int, int], None] | None = None
        self._msr_sites: dict[int, Any] = {}
        emulator.on_invalid(self._invalid)
        emulator.on_interrupt(self._exception)
        emulator.on_cpuid(self._cpuid)
        emulator.on_rdtsc(self._rdtsc)
        emulator.on_ports(self._in, self._out)
        self._general = emulator.batch("rax", "rbx", "rcx", "rdx")
        self._controls = emulator.batch("cr0", "cr3", "cr4")
        self._mode: tuple[int, int, int, int] | None = None
        self._ends = emulator.batch("rax", "rdx")
        self._leaf = emulator.batch("rax", "rcx")
        self._error_at = _places.get("error") or _places.setdefault("error", self._find_error())
        self._hidden_at = _places.get("hidden") or _places.setdefault("hidden", self._find_hidden())

    # memory and mode ---------------------------------------------------------------------------------------------

    def walk(self, linear: int) -> Walk:
        """Return the way of a linear address through the page tables."""
        return walk(self._word, linear, *(self._mode or self._look_at_mode()))

    def _look_at_mode(self) -> tuple[int, int, int, int]:
        """Read CR0, CR3, CR4 and EFER, which stay as they are while the CPU does not run."""
        cr0, cr3, cr4 = self._controls.read()
        self._mode = found = (cr0, cr3, cr4, self.emulator.msr(EFER))
        return found

    def write(self, name: str, value: int) -> None:
        """Set a register."""
        self._mode = None
        self.emulator.write(name, value)

    def _clear(self, begin: int, end: int) -> None:
        """As all do; Unicorn looks at such addresses through the page tables then, and what it finds must not count as a fault of the guest."""
        before = self.emulator.save()
        super()._clear(begin, end)
        self.emulator.restore(before)

    @property
    def long_mode(self) -> bool:
        """True in long mode."""
        return bool((self._mode or self._look_at_mode())[3] & LMA)

    @property
    def isa(self) -> str:
        """x86-64 in long mode, if the descriptor of its code segment says so; else x86-32."""
        if not self.long_mode:
            return "x86-32"
        _, base, limit, _ = self.emulator.read("gdtr")
        selector = self.read("cs") & ~7
        found = self.load(base + selector + 6, 1) if selector + 7 <= limit else None
        return "x86-64" if found is None or found[0] & 0x20 else "x86-32"

    @property
    def interruptible(self) -> bool:
        """True if an interrupt may be delivered: IF is set, and the instruction before this was not sti."""
        if not self.read("eflags") & IF:
            return False
        before = self.load(self.read("rip") - 1, 1)
        return before != b"\xfb"

    # running -----------------------------------------------------------------------------------------------------

    def _entry(self, pc: int) -> int:
        self._mode = None
        return pc

    def _finish(self, found: Exit) -> Exit:
        if found.why is not Why.HYPERCALL:
            self._mode = None
        if found.why is Why.EXCEPTION:
            found.error = self._error(found.vector)
        return found

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
        self._mode = None
        emulator = self.emulator
        pc = emulator.read("rip")
        if self.load(pc, 3) in _HYPERCALLS:
            emulator.write("rip", pc + 3)
            self._stop(Exit(Why.HYPERCALL))
        else:
            self._stop(Exit(Why.EXCEPTION, vector=6))
        return True

    def _exception(self, vector: int) -> None:
        self._stop(Exit(Why.EXCEPTION, vector=vector))

    def _translated(self, address: int, size: int) -> None:
        self._mode = None
        super()._translated(address, size)
        self._mode = None

    def _refused(self, address: int) -> Exit:
        return Exit(Why.EXCEPTION, vector=13)  # as Xen answers a store to a page of the guest that is read-only

    def _cpuid(self) -> bool:
        self.look()
        leaf, subleaf = self._leaf.read()
        self._general.write(*self.cpuid(leaf & 0xFFFF_FFFF, subleaf & 0xFFFF_FFFF))
        return True

    def _rdtsc(self) -> bool:
        now = self.look()
        self._ends.write(now & 0xFFFF_FFFF, now >> 32)
        return True

    def _in(self, port: int, size: int) -> int:
        if self.ports_read is not None:
            self.look()
            return self.ports_read(port, size)
        self._stop(Exit(Why.IO, number=port, size=size))
        return 0

    def _out(self, port: int, size: int, value: int) -> None:
        if self.ports_write is not None:
            self.look()
            self.ports_write(port, size, value)
        else:
            self._stop(Exit(Why.IO, number=port, size=size, value=value & (1 << 8 * size) - 1))

    def no_ports(self) -> None:
        """Have all ports be empty: they read as ones, and what is written is lost."""
        self.ports_read = lambda port, size: (1 << 8 * size) - 1
        self.ports_write = lambda port, size, value: None

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

    def watch_msrs_only(self, read: int, written: int | None = None) -> None:
        """From now on exit at those alone that read one and write the other, as `mov ecx, number` before them tells.

        Each that is watched delays every instruction.
        """
        loads = {0x32: b"\xb9" + read.to_bytes(4, "little")}
        if written is not None:
            loads[0x30] = b"\xb9" + written.to_bytes(4, "little")
        for site, hook in list(self._msr_sites.items()):
            before = self.physical(max(0, site - _BEFORE), min(site, _BEFORE) + 2)
            load = None if before is None else loads.get(before[-1])
            if before is None or load is None or load not in bytes(before):
                self.emulator.unhook(hook)
                del self._msr_sites[site]
        self.emulator.forget_code()

    def _msr(self, pc: int) -> None:
        self._mode = None
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

    def _find_hidden(self) -> int:
        """Find where the flags of the mode lie, which the six segments follow, es first, then cs and ss: there changes what PE changes."""
        cr0, before = self.emulator.read("cr0"), self.emulator.save()
        self.write("cr0", cr0 ^ PE)
        after = self.emulator.save()
        self.write("cr0", cr0)
        self.emulator.restore(before)
        words = zip(struct.iter_unpack("<I", before[: len(before) & ~3]), struct.iter_unpack("<I", after[: len(after) & ~3]))
        found = [4 * at for at, ((was,), (now,)) in enumerate(words) if (was ^ now) & ~ADDSEG == PE << 7]
        return found[0] if len(found) == 1 else -1

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
        stack, (ring, attributes) = rsp, self._code_segment(selector)
        if ring < 0 or ring > cs & 3 or (ring < cs & 3 and self._hidden_at < 0):
            return False
        if ist & 7 or ring < cs & 3:
            _, tss, _, _ = emulator.read("tr")
            found = self.load(tss + (0x24 + 8 * ((ist & 7) - 1) if ist & 7 else 4 + 8 * ring), 8)
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
        if ring < cs & 3:
            self._inward(selector, ring, attributes)
        self._enter(low | middle << 16 | high << 32, stack, flags, kind)
        return True

    def _code_segment(self, selector: int) -> tuple[int, int]:
        """Return ring and attributes of a code segment of long mode; (-1, 0) if there is none."""
        _, base, limit, _ = self.emulator.read("gdtr")
        found = self.load(base + (selector & ~7), 8) if selector & ~7 and selector | 7 <= limit else None
        if found is None or found[5] & 0x98 != 0x98 or not found[6] & 0x20:
            return -1, 0
        return found[5] >> 5 & 3, int.from_bytes(found[4:], "little") & 0x00F0_FF00

    def watch_syscalls(self) -> None:
        """Exit at each syscall: Unicorn does nothing for them."""
        self.emulator.on_syscall(lambda: self._stop(Exit(Why.SYSCALL)))

    def system_call(self) -> bool:
        """Do what syscall does (AMD64 Architecture Programmer's Manual, volume 3), whose program counter is behind it already; False where there is none."""
        if not self.emulator.msr(EFER) & SCE or self._hidden_at < 0:
            self.write("rip", self.read("rip") - 2)
            return False
        star, lstar, mask = (self.emulator.msr(number) for number in (STAR, LSTAR, SFMASK))
        flags, selector = self.read("eflags"), star >> 32 & 0xFFFC
        self._inward(selector, 0, FLAT_CODE, selector + 8, FLAT_DATA)
        self.write("rcx", self.read("rip"))
        self.write("r11", flags)
        self.write("eflags", flags & ~mask)
        self.write("rip", lstar)
        return True

    def _inward(self, selector: int, ring: int, attributes: int, ss: int = 0, ss_attributes: int = 0) -> None:
        """Go to a code segment of an inner ring: Unicorn's registers do not lead there, what it saves does."""
        saved = bytearray(self.emulator.save())
        at = self._hidden_at
        (flags,) = struct.unpack_from("<I", saved, at)
        struct.pack_into("<I", saved, at, flags & ~(RING | ADDSEG) | ring | LONG_CODE)
        struct.pack_into("<IIQII", saved, at + 32, selector & ~3 | ring, 0, 0, 0xFFFF_FFFF, attributes)
        struct.pack_into("<IIQII", saved, at + 56, ss | ring, 0, 0, 0xFFFF_FFFF, ss_attributes | ring << 13)
        self.emulator.restore(bytes(saved))

    def _deliver32(self, vector: int, error: int | None) -> bool:
        emulator = self.emulator
        _, base, limit, _ = emulator.read("idtr")
        gate = self.load(base + 8 * vector, 8) if 8 * vector + 7 <= limit else None
        if gate is None or not gate[5] & 0x80 or gate[5] & 0x1F not in (14, 15):
            return False
        low, _, _, kind, high = struct.unpack("<HHBBH", gate)
        flags = self.read("eflags")
        frame = struct.pack("<3I", self.read("rip") & 0xFFFF_FFFF, self.read("cs"), flags & 0xFFFF_FFFF)
        if error is not None:
            frame = struct.pack("<I", error) + frame
        stack = (self.read("rsp") & 0xFFFF_FFFF) - len(frame)
        if not self.store(stack, frame):
            return False
        self._enter(low | high << 16, stack, flags, kind)
        return True

    def _enter(self, handler: int, stack: int, flags: int, kind: int) -> None:
        self.write("rsp", stack)
        cleared = 0x14100 | (IF if kind & 0x1F == 14 else 0)  # TF, NT, RF
        self.write("eflags", flags & ~cleared)
        self.write("rip", handler)

    # snapshots ---------------------------------------------------------------------------------------------------

    def restore(self, saved: bytes) -> None:
        """Set the registers again; memory may have changed too."""
        super().restore(saved)
        self.write("cr3", self.read("cr3"))
