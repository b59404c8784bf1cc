"""debugging: `vm.cpu`, what a person holds of the CPU of a guest that is machine code: look, step, go back, stop somewhere.

Every move leaves the world between two events and the handle pointing at the world as it is now; what is returned is a
plain value that shows itself.  See docs/debugging.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirage_lab.lab.debugger import WITHIN, Breakpoint
from mirage_lab.lab.said import LabError, Said
from mirage_lab.runtime.clock import show
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import Ns
from mirage_lab.vcpu.disassembly import around, disassemble
from mirage_lab.vcpu.symbols import Symbols
from mirage_lab.xen.arch.vcpu import Vcpu

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab
    from mirage_lab.lab.memorymap import MemoryMap
    from mirage_lab.vcpu.paging import Walk

__all__ = ["Breakpoints", "Call", "Calls", "CpuHandle", "Line", "Listing", "Registers", "Stop"]

LARGEST: Final = 1 << 20
SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Line:
    """An instruction: where, its bytes, as text, and the symbol it is in; `at_pc`: it is the next to be executed."""

    address: int
    bytes: bytes
    text: str
    symbol: str
    at_pc: bool = False

    def __repr__(self) -> str:
        return f"{'=>' if self.at_pc else '  '} {self.address:#10x}  {self.symbol:<24} {self.bytes.hex(' '):<30} {self.text}"


class Listing(list[Line]):
    """Instructions, a line each; of very many the last are shown."""

    MOST: Final = 200

    def __repr__(self) -> str:
        left = len(self) - self.MOST
        head = [f"   ... {left:,} before these ..."] if left > 0 else []
        return "\n".join([*head, *map(repr, self[-self.MOST :])]) or "no instructions: there is no memory, or nothing was recorded"


class Registers(dict[str, int]):
    """Registers by name, four to a row."""

    def __repr__(self) -> str:
        cells = [f"{name:>6} {value:#018x}" for name, value in self.items()]
        return "\n".join("  ".join(cells[at : at + 4]) for at in range(0, len(cells), 4))


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a domain stands after a move: `why` it stopped, `t` (ns, the clock of the world), `pc`, its symbol and the next instruction."""

    domain: str
    why: str
    t: Ns
    pc: int
    symbol: str
    text: str

    def __repr__(self) -> str:
        where = f"{self.pc:#x}" + (f" {self.symbol}" if self.symbol else "")
        return f"{self.domain} at {where}: {self.text} · t = {show(self.t)} · {self.why}"


@dataclass(frozen=True, slots=True)
class Call:
    """A hypercall: number of the event, when, its name, arguments as a person reads them, what it returned, and what came back in its structure."""

    event: int
    t: Ns
    name: str
    args: str
    ret: int
    out: str = ""

    def __repr__(self) -> str:
        return f"{self.event:>6} {self.t / 1e9:12.6f} s  {self.name}({self.args}) = {self.ret}" + (f", {self.out}" if self.out else "")


class Calls(list[Call]):
    """Hypercalls, oldest first."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "no hypercalls"


class Breakpoints(list[Breakpoint]):
    """Breakpoints of a domain."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "no breakpoints: vm.cpu.break_at('main') sets one"


class CpuHandle:
    """The CPU of a domain, by the domain's name."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self._name = name
        self._debugger = lab.debugger
        self._debugger.vcpu(name)  # says so if it is a Python unikernel

    @property
    def vcpu(self) -> Vcpu:
        """The vCPU as it is now."""
        return self._debugger.vcpu(self._name)

    # looking -----------------------------------------------------------------------------------------------------

    @property
    def registers(self) -> Registers:
        """The general registers, by the names of the manual."""
        cpu = self.vcpu.cpu
        return Registers((name, cpu.read(name)) for name in cpu.general)

    def read(self, register: str) -> int:
        """Return one register, "rax" or "cr3"; raises LabError for none of that name."""
        cpu = self.vcpu.cpu
        try:
            return cpu.read(register)
        except (KeyError, TypeError):
            raise LabError(f"{cpu.arch} has no register {register!r} that is a number: {', '.join(cpu.general)}") from None

    @property
    def pc(self) -> int:
        """Where the next instruction is."""
        return self.vcpu.cpu.pc

    @property
    def mode(self) -> str:
        """Which instructions it executes: x86-64, x86-32, aarch64, arm or thumb."""
        return self.vcpu.cpu.isa

    @property
    def clock(self) -> Ns:
        """What its clock says, ns since the domain was created: within a slice it is ahead of the world's."""
        vcpu = self.vcpu
        cuts = vcpu.cuts
        return Ns(vcpu.clock + (cuts.done + cuts.looks * vcpu.cpu.look_ns if cuts.under_way else 0))

    @property
    def instructions(self) -> int:
        """How many instructions it has taken since the domain was created."""
        vcpu = self.vcpu
        return vcpu.instructions + (vcpu.cuts.done if vcpu.cuts.under_way else 0)

    @property
    def symbols(self) -> Symbols:
        """The symbols of its kernel."""
        return self._debugger.symbols(self._name)

    def symbol_at(self, address: int) -> str:
        """Return "main+0x12"; empty where there is no symbol."""
        return self.symbols.at(address)

    def disassemble(self, at: str | int | None = None, count: int = 12) -> Listing:
        """Return instructions from an address or symbol on, or from where it stands."""
        cpu = self.vcpu.cpu
        address = cpu.pc if at is None else self._debugger.address(self._name, at)
        if not 1 <= count <= 4_096:
            raise LabError(f"{count} instructions: 1 to 4,096 can be shown")
        pc, symbols = cpu.pc, self.symbols
        return Listing(Line(each.address, each.bytes, each.text, symbols.at(each.address), each.address == pc) for each in around(cpu, address, count))

    def walk(self, address: int) -> Walk:
        """Return the way of a virtual address through the page tables."""
        return self.vcpu.cpu.walk(address)

    def memory(self, address: str | int, size: int) -> bytes:
        """Return bytes at a virtual address; raises LabError where they are not all there."""
        if not 0 <= size <= LARGEST:
            raise LabError(f"{size} bytes: up to {LARGEST:,} can be read at once")
        where = self._debugger.address(self._name, address)
        found = self.vcpu.cpu.load(where, size)
        if found is None:
            raise LabError(f"{self._name}: not all of the {size} bytes at {where:#x} are mapped; vm.cpu.walk({where:#x}) shows why")
        return found

    @property
    def hypercalls(self) -> Calls:
        """The last hypercalls, with arguments and results."""
        recorder = self._lab.machine.world.recorder
        found = [event for event in recorder.latest("xen.hypercall", 1_000) if event.source == self._name][:100]
        fields = [(e.id, Ns(e.t), e.fields) for e in reversed(found)]
        return Calls(Call(id, t, str(told["name"]), str(told["args"]), int(told["ret"]), str(told.get("out", ""))) for id, t, told in fields)

    @property
    def memory_map(self) -> MemoryMap:
        """What its memory is: ranges with owner, type and grants."""
        from mirage_lab.lab.memorymap import memory_map

        return memory_map(self._lab, self._name)

    # moving ------------------------------------------------------------------------------------------------------

    def step(self, count: int = 1, unit: str = "instruction", *, within: Ns | None = None) -> Stop:
        """Take `count` instructions, basic blocks ("block"), or go behind the next hypercalls ("hypercall").

        The world runs for `within` at most, for each: 1 s, 10 s for a hypercall, unless it is said.
        """
        before = self.instructions
        self._debugger.step(self._name, count, unit, within)
        taken, stopped = self.instructions - before, str(self._lab.machine.world.stopped or "")
        told = f"{taken:,} instruction{'' if taken == 1 else 's'}"
        if stopped and not stopped.startswith((f"{self._name} at ", f"{self._name}: ")):
            return self._here(f"{told}; the world was stopped by {stopped}")
        if not taken:
            return self._here("it does not run: vm.why() says what it waits for")
        return self._here(told if stopped else f"{told}, and no {unit}" if unit != "instruction" else told)

    def step_back(self, count: int = 1, unit: str = "instruction") -> Stop:
        """Have it as it was `count` instructions, blocks or hypercalls ago; the rest of the world with it."""
        self._debugger.step_back(self._name, count, unit)
        return self._here(f"back by {count:,} {unit}{'' if count == 1 else 's'}")

    def run_to(self, target: str | int, *, within: Ns = WITHIN) -> Stop:
        """Run until it comes to a symbol or address; raises LabError when it does not, `within`."""
        self._debugger.run_to(self._name, target, within)
        return self._here(self._why())

    def run_back(self) -> Stop:
        """Go back to where it last was at a breakpoint, or else to its first instruction."""
        found = self._debugger.continue_back(self._name)
        return self._here("back at a breakpoint" if found else "its beginning: it was at no breakpoint before")

    def _why(self) -> str:
        pc = self.pc
        return next((f"breakpoint {each.text}" for each in self.breakpoints if each.address == pc), "there")

    def _here(self, why: str) -> Stop:
        pc = self.pc
        try:
            line = self.disassemble(count=1)
            text = line[0].text if line else "no memory"
        except MirageError:
            text = "?"
        return Stop(self._name, why, self._lab.now, pc, self.symbol_at(pc), text)

    # breakpoints and traces --------------------------------------------------------------------------------------

    def break_at(self, where: str | int) -> Breakpoint:
        """Stop the world where it comes to a symbol or address, or after "hypercall:event_channel_op.send" or "event:evtchn.upcall"."""
        return self._debugger.add(self._name, where)

    def unbreak(self, where: str | int | None = None) -> Said:
        """Take a breakpoint away, or all of them."""
        gone = self._debugger.remove(self._name, where)
        return Said(f"{self._name}: {', '.join(each.text for each in gone) or 'no breakpoint'} taken away")

    @property
    def breakpoints(self) -> Breakpoints:
        """Its breakpoints."""
        return Breakpoints(self._debugger.wished(self._name).breakpoints.values())

    def trace(self, kind: str | None = "block", last: int = 10_000) -> Said:
        """Record what it executes from now on: the `last` blocks, or instructions; None: no more.  `traced` shows it."""
        record = self.vcpu.cpu.trace
        if kind is None:
            record.end()
            self._debugger.wished(self._name).trace = None
            return Said(f"{self._name}: nothing more is recorded; vm.cpu.traced has what was")
        try:
            record.begin(kind, last)
        except ValueError as error:
            raise LabError(str(error)) from None
        self._debugger.wished(self._name).trace = (kind, last)
        return Said(f"{self._name}: the last {last:,} {kind}s are recorded; vm.cpu.traced shows them")

    @property
    def traced(self) -> Listing:
        """What was recorded, oldest first: of a block, or of an instruction, the address, its symbol and what is there now."""
        cpu, symbols = self.vcpu.cpu, self.symbols
        isa, known = cpu.isa, dict[int, Line]()
        for address in set(cpu.trace.addresses):
            data = cpu.load(address, 16) or cpu.load(address, 4) or b""
            one = disassemble(isa, data, address, 1)
            known[address] = Line(address, one[0].bytes if one else b"", one[0].text if one else "no memory", symbols.at(address))
        return Listing(known[address] for address in cpu.trace.addresses)

    def __repr__(self) -> str:
        return f"{self.registers!r}\n{self.disassemble(count=SHOWN)!r}"
