"""debugger: moves of a lab's world as a debugger makes them, forward and back, and breakpoints that survive all of it.

    forward   the world runs until a vCPU has taken its steps, stands at a breakpoint, or an event was seen that was waited for
    back      within a slice: registers and memory as they were when it began, and the instructions again, fewer of them
              further: seed and journal again (`Lab.rewind`), up to the event, and into it

Breakpoints are observation: they are the lab's, by domain name, and are put into each CPU that is made; the journal has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab import running
from mirage_lab.lab.rewinding import rebuild
from mirage_lab.lab.said import LabError
from mirage_lab.lab.waiting import symbols_of
from mirage_lab.runtime.clock import show
from mirage_lab.runtime.host import wait
from mirage_lab.runtime.journal import CUT, Entry
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.vcpu.exits import Why
from mirage_lab.vcpu.symbols import Symbols
from mirage_lab.xen.arch.cuts import REMEMBERED, Past
from mirage_lab.xen.arch.recorded import Records
from mirage_lab.xen.arch.vcpu import Vcpu

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab
    from mirage_lab.tracing.recorder import Recorder

__all__ = ["UNITS", "WITHIN", "Breakpoint", "Debugger"]

UNITS: Final = ("instruction", "block", "hypercall")
MOST: Final = 1_000_000
BREAKPOINTS: Final = 256
WITHIN: Final = seconds(1)
HYPERCALL_WITHIN: Final = seconds(10)
"""How long a step, or a run to somewhere, waits for a domain that does not run."""


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """Where a domain is stopped: `address` of an instruction, or `kind` of an event with a glob for its name."""

    domain: str
    text: str
    address: int | None = None
    kind: str = ""
    name: str = "*"

    def __repr__(self) -> str:
        return f"{self.domain}: {self.text}" + (f" ({self.address:#x})" if self.address is not None else "")


@dataclass(slots=True)
class _Trap:
    """Stands where a recorder keeps the events it was asked to watch, and has the world stop."""

    recorder: Recorder
    stop: Callable[[str], None]
    mine: Breakpoint

    def append(self, id: int) -> None:
        """An event of the kind was recorded."""
        event = self.recorder.event(id)
        if event is not None and event.source == self.mine.domain and fnmatchcase(str(event.fields.get("name", "")), self.mine.name):
            self.stop(f"{self.mine.domain}: {self.mine.text}")


@dataclass(slots=True)
class _Wished:
    """What the lab remembers of one domain: breakpoints by what was typed, and how it is traced."""

    breakpoints: dict[str, Breakpoint] = field(default_factory=dict)
    trace: tuple[str, int] | None = None


class Debugger:
    """One lab's debugger.  Nothing of it costs anything before a CPU is first looked at."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._wished: dict[str, _Wished] = {}
        self._watches: list[Any] = []
        self.records = Records()
        self.servers: list[Any] = []

    # what is there -----------------------------------------------------------------------------------------------

    def vcpu(self, name: str) -> Vcpu:
        """Return the vCPU of a domain of machine code; raises LabError for a Python unikernel."""
        found = self._lab.machine.vcpu(name)
        if found is None:
            raise LabError(f"{name} is a Python unikernel: it has no registers; lab.step() moves on by an event, lab.vm({name!r}).step_back() back")
        _ = found.cuts  # from now on its slices are known
        return found

    def symbols(self, name: str) -> Symbols:
        """Return the symbols of a domain's kernel."""
        return symbols_of(self._lab.machine.images[name])

    @property
    def state(self) -> tuple[Any, ...]:
        """What changes when a debugger does something that is no event of the world: where CPUs stand, and the breakpoints."""
        machine = self._lab.machine
        vcpus = [machine.vcpu(info.name) for info in machine.toolstack.list() if info.domid]
        return (*(vcpu.taken for vcpu in vcpus if vcpu is not None), *((name, *wished.breakpoints) for name, wished in self._wished.items()))

    def address(self, name: str, target: str | int) -> int:
        """Return the address of a symbol, of a number in words ("0x100000"), or the number; raises LabError."""
        if isinstance(target, int):
            return target
        found = self.symbols(name).address(target)
        if found is None:
            try:
                found = int(target, 0)
            except ValueError:
                near = [symbol for _, _, symbol in self.symbols(name) if target.lower() in symbol.lower()][:5]
                hint = f"; near: {', '.join(near)}" if near else f"; it has {len(self.symbols(name)):,} symbols"
                raise LabError(f"{name} has no symbol {target!r}{hint}") from None
        return found

    def stop(self, why: str) -> None:
        """Have the world stand still after the event that is being handled."""
        self._lab.machine.world.stopped = why

    def close(self) -> None:
        """Have the programs that were let in leave."""
        for server in self.servers:
            server.close()

    # breakpoints -------------------------------------------------------------------------------------------------

    def wished(self, name: str) -> _Wished:
        """Return what is remembered of a domain."""
        return self._wished.setdefault(name, _Wished())

    def parse(self, name: str, where: str | int) -> Breakpoint:
        """Return the breakpoint that a person means; raises LabError."""
        if isinstance(where, str) and where.startswith(("hypercall:", "event:")):
            what, _, rest = where.partition(":")
            if not rest:
                raise LabError(f"{where!r}: which one? break_at('hypercall:event_channel_op.send'), break_at('event:evtchn.upcall')")
            return Breakpoint(name, where, kind="xen.hypercall", name=rest) if what == "hypercall" else Breakpoint(name, where, kind=rest)
        address = self.address(name, where)
        return Breakpoint(name, where if isinstance(where, str) else hex(where), address=address)

    def add(self, name: str, where: str | int) -> Breakpoint:
        """Set a breakpoint; the same again changes nothing.  Raises LabError."""
        vcpu, mine = self.vcpu(name), self.parse(name, where)
        with self._lab.lock:
            wished = self.wished(name).breakpoints
            if mine.text not in wished and len(wished) >= BREAKPOINTS:
                raise LabError(f"{name} has {len(wished)} breakpoints: vm.cpu.unbreak() takes them away")
            wished[mine.text] = mine
            if mine.address is not None:
                vcpu.cuts.arm(mine.address)
            else:
                self._install_traps()
        return mine

    def remove(self, name: str, where: str | int | None) -> list[Breakpoint]:
        """Take one or all breakpoints of a domain away; return them.  Raises LabError."""
        wished = self.wished(name).breakpoints
        if where is None:
            gone = list(wished.values())
        else:
            mine = self.parse(name, where)
            alike = [each for each in wished.values() if mine.address is not None and each.address == mine.address]
            gone = [wished[mine.text]] if mine.text in wished else alike
            if not gone:
                raise LabError(f"{name} has no breakpoint {mine.text}: {', '.join(wished) or 'it has none'}")
        with self._lab.lock:
            for each in gone:
                del wished[each.text]
            vcpu = self._lab.machine.vcpu(name)
            for each in gone:
                if vcpu is not None and each.address is not None and all(other.address != each.address for other in wished.values()):
                    vcpu.cuts.disarm(each.address)
            self._install_traps()
        return gone

    def on_vcpu(self, vcpu: Vcpu) -> None:
        """A vCPU was made, in a world that is replayed or in the one people see."""
        if self._lab.machine.world is vcpu.xen.world:
            self._arm(vcpu)
        else:
            vcpu.cuts.records = self.records

    def install(self) -> None:
        """A world was built again: have its CPUs stop where they shall."""
        machine = self._lab.machine
        for info in machine.toolstack.list():
            vcpu = machine.vcpu(info.name) if info.domid else None
            if vcpu is not None:
                vcpu.cuts.records = None
                self._arm(vcpu)
        self._install_traps()

    def _arm(self, vcpu: Vcpu) -> None:
        wished = self._wished.get(vcpu.domain.name)
        if wished is None:
            return
        _ = vcpu.cuts
        for each in wished.breakpoints.values():
            if each.address is not None:
                vcpu.cuts.arm(each.address)
        if wished.trace is not None:
            vcpu.cpu.trace.begin(*wished.trace)

    def _install_traps(self) -> None:
        for watch in self._watches:
            watch.close()
        self._watches = []
        for wished in self._wished.values():
            for each in wished.breakpoints.values():
                if each.kind:
                    self._watches.append(self._trap(each))

    def _trap(self, mine: Breakpoint) -> Any:
        recorder = self._lab.machine.world.recorder
        watch = recorder.watch(mine.kind)
        watch.seen = _Trap(recorder, self.stop, mine)  # type: ignore[assignment]
        return watch

    # forward -----------------------------------------------------------------------------------------------------

    def run(self, within: Ns) -> bool:
        """Run the world until a debugger has it stop, nothing is left to happen, or `within` has gone by; True if it was stopped."""
        lab = self._lab
        lab.pause()
        with lab._driving() as machine:
            world = machine.world
            until = Ns(world.now + within)

            def enough() -> bool:
                due = world.next_deadline
                return due is None or due > until

            if world.host_connections or not enough():
                running._drive(lab, until, None if world.host_connections else enough, every=1)
            return world.stopped is not None

    def stretch(self, duration: Ns, stop: Callable[[], bool]) -> bool:
        """Drive the world for `duration`, or to the next thing that happens; True if a debugger had it stop.  `stop()` ends it early."""
        with self._lab._driving() as machine:
            world = machine.world
            due = world.next_deadline
            if due is not None or world.host_connections or world.has_submitted:
                self._lab.driver().run(Ns(max(world.now + duration, due or 0)), stop, every=8)
                return world.stopped is not None
        wait(ms(20))
        return False

    def step(self, name: str, count: int, unit: str, within: Ns | None = None) -> None:
        """Have a domain take `count` instructions, basic blocks or hypercalls, each `within` a time; raises LabError."""
        _check(count, unit)
        within = within or (HYPERCALL_WITHIN if unit == "hypercall" else WITHIN)
        if unit == "instruction":
            with self._stepping(name) as vcpu:
                vcpu.cuts.steps = count
                self.run(within)
                vcpu.cuts.steps = None
            return
        for _ in range(count):
            with self._stepping(name) as vcpu:
                if unit == "block":
                    vcpu.cpu.break_at_block()
                    stopped = self.run(within)
                    vcpu.cpu.unbreak_block()
                else:
                    trap = self._trap(Breakpoint(name, "hypercall", kind="xen.hypercall"))
                    stopped = self.run(within)
                    trap.close()
            if not stopped:
                return

    @contextmanager
    def _stepping(self, name: str) -> Iterator[Vcpu]:
        vcpu = self.vcpu(name)
        vcpu.cuts.keep = True
        try:
            yield vcpu
        finally:
            vcpu.cuts.keep = False

    def run_to(self, name: str, target: str | int, within: Ns) -> None:
        """Run until a domain is at an address; raises LabError when it does not come there."""
        address = self.address(name, target)
        vcpu = self.vcpu(name)
        mine = vcpu.cuts.arm(address)
        try:
            self.run(within)
        finally:
            if mine:
                vcpu.cuts.disarm(address)
        if vcpu.cpu.pc != address and self._lab.machine.world.stopped is None:
            wanted, at = target if isinstance(target, str) else hex(target), self.symbols(name).at(vcpu.cpu.pc)
            raise LabError(f"{name} did not come to {wanted} within {show(within)}: it is at {vcpu.cpu.pc:#x} {at}".rstrip())

    # back --------------------------------------------------------------------------------------------------------

    def goto(self, name: str, event: int, t: Ns, done: int | None) -> None:
        """Be `done` instructions into the slice that is event `event`; with None just before it."""
        lab = self._lab
        vcpu = self.vcpu(name)
        cuts = vcpu.cuts
        if done is not None and cuts.under_way and cuts.event == event and cuts.back_to(done):
            return
        rebuild(lab, _before(lab.journal, event, done), t, event)
        if done is not None:
            cuts = self.vcpu(name).cuts
            cuts.keep = True
            try:
                cuts.cut_at(done)
            finally:
                cuts.keep = False

    def history(self, name: str) -> list[Past]:
        """Return the last slices of a domain that are over, after a replay if they were not noted."""
        vcpu = self.vcpu(name)
        if len(vcpu.cuts.past) < min(vcpu.exits, REMEMBERED):
            world = self._lab.machine.world
            rebuild(self._lab, self._lab.journal, world.now, world.events)
            vcpu = self.vcpu(name)
        return list(vcpu.cuts.past)

    def step_back(self, name: str, count: int, unit: str) -> None:
        """Have a domain as it was `count` instructions, blocks or hypercalls ago; raises LabError at its beginning."""
        _check(count, unit)
        self._lab.pause()
        if unit == "instruction":
            self._instructions_back(name, count)
        elif unit == "hypercall":
            self._hypercalls_back(name, count)
        else:
            for _ in range(count):
                self._block_back(name)
        self.vcpu(name).cuts.stand()

    def _instructions_back(self, name: str, count: int) -> None:
        cuts = self.vcpu(name).cuts
        if cuts.under_way and (cuts.done > count or (cuts.done == count and not cuts.entered)):
            self.goto(name, cuts.event, self._lab.machine.world.now, cuts.done - count)
            return
        slices = self.history(name)
        cuts = self.vcpu(name).cuts
        if cuts.under_way:
            slices.append(Past(cuts.event, self._lab.machine.world.now, cuts.done, Why.BREAK, cuts.entered))
        for at in reversed(range(len(slices))):
            each = slices[at]
            if each.instructions > count or (each.instructions == count and not (each.entered and at)):
                self.goto(name, each.event, each.t, each.instructions - count)
                return
            count -= each.instructions
            if count == 0:  # it is before the interrupt with which the slice began
                self.after(slices[at - 1].event, slices[at - 1].t)
                return
        raise LabError(f"{name} has not taken so many instructions: this is before its beginning")

    def _hypercalls_back(self, name: str, count: int) -> None:
        past = self.history(name)
        cuts = self.vcpu(name).cuts
        calls = [each for each in past if each.why is Why.HYPERCALL]
        if calls and calls[-1] is past[-1] and not (cuts.under_way and cuts.done):
            calls.pop()  # it stands behind this one
        if len(calls) < count:
            raise LabError(f"{name} has made no hypercall before that: vm.cpu.step_back() goes back by an instruction")
        there = calls[-count]
        self.after(there.event, there.t)

    def after(self, event: int, t: Ns) -> None:
        """Be just behind an event."""
        lab = self._lab
        rebuild(lab, [entry for entry in lab.journal if entry.event <= event], t, event + 1)

    def _block_back(self, name: str) -> None:
        cuts = self.vcpu(name).cuts
        if cuts.under_way and cuts.done:
            event, t, end = cuts.event, self._lab.machine.world.now, cuts.done
        else:
            found = next((each for each in reversed(self.history(name)) if each.instructions), None)
            if found is None:
                raise LabError(f"{name} has not taken an instruction: this is before its beginning")
            event, t, end = found.event, found.t, found.instructions
        self.goto(name, event, t, 0)
        cuts = self.vcpu(name).cuts
        self.goto(name, event, t, max(begin for begin in cuts.blocks(end) if begin < end))

    def continue_back(self, name: str) -> bool:
        """Go back to where a domain last was at a breakpoint, or to its beginning and False."""
        lab = self._lab
        addresses = [each.address for each in self.wished(name).breakpoints.values() if each.address is not None]
        world, cuts = lab.machine.world, self.vcpu(name).cuts
        here = (world.events, cuts.done if cuts.under_way else 0)
        hits: deque[tuple[int, Ns, int]] = deque(maxlen=8)

        def note(vcpu: Vcpu) -> None:
            _ = vcpu.cuts
            if vcpu.domain.name == name:
                vcpu.cuts.note(addresses, hits)

        rebuild(lab, lab.journal, world.now, world.events, note)
        self.vcpu(name).cuts.note((), None)
        before = [hit for hit in hits if (hit[0], hit[2]) < here]
        cuts, past = self.vcpu(name).cuts, self.history(name)
        if before:
            self.goto(name, *max(before, key=lambda hit: (hit[0], hit[2])))
        elif past or cuts.under_way:
            self.goto(name, past[0].event if past else cuts.event, past[0].t if past else world.now, 0)
        self.vcpu(name).cuts.stand()
        return bool(before)


def _check(count: int, unit: str) -> None:
    if unit not in UNITS:
        raise LabError(f"a step is by {', '.join(UNITS)}, not by {unit!r}")
    if not isinstance(count, int) or not 1 <= count <= MOST:
        raise LabError(f"{count!r} steps: 1 to {MOST:,} can be taken at once")


def _before(entries: list[Entry], event: int, done: int | None) -> list[Entry]:
    """Return the entries up to a place: those of its event that came later in it are left out."""
    kept: list[Entry] = []
    for entry in entries:
        further = entry.name == CUT and entry.event == event and (done is None or entry.args["instructions"] > done)
        if entry.event > event or further:
            break
        kept.append(entry)
    return kept
