"""cuts: a slice of a vCPU that a debugger stops in the middle is put back, and goes on later as if nothing had been.

    event 70   _step ─▶ 31 instructions ─▶ breakpoint ─▶ put back: event 70 has not happened yet, the clock stands
               commands, looks ...
    event 70   _step ─▶ the other instructions ─▶ exit ─▶ what it asks for; all of them are charged

So the world is always between two events, and virtual time, order of events and bytes are those of a run without a debugger.
How far the event has come is journalled in front of commands that are given meanwhile (`runtime.journal.CUT`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.runtime.journal import CUT, ReplayDiverged
from mirage_lab.signatures.units import Ns
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.snapshot import Snapshot, Snapshots

if TYPE_CHECKING:
    from mirage_lab.xen.arch.recorded import Records
    from mirage_lab.xen.arch.vcpu import Vcpu

__all__ = ["Cuts", "Past"]

REMEMBERED: Final = 4_096
"""Slices whose place in the world is known; before them a replay tells."""


@dataclass(frozen=True, slots=True)
class Past:
    """A slice that is over: the world had handled `event` events when it began, at `t`; `entered`: with an interrupt."""

    event: int
    t: Ns
    instructions: int
    why: Why
    entered: bool


@dataclass(slots=True)
class _Kept:
    """The CPU as it was `done` instructions into the slice that is under way, and how many commands there had been."""

    done: int
    looks: int
    snapshot: Snapshot
    devices: Any
    commands: int


class Cuts:
    """What a debugger asks of one vCPU."""

    def __init__(self, vcpu: Vcpu) -> None:
        self._vcpu = vcpu
        self._budget = 0
        self.steps: int | None = None
        """Stop after that many instructions, in this slice or a later one."""
        self.keep = False
        """Keep what is needed to go back within the slice, from the next part on."""
        self.under_way = False
        self.done = 0
        self.looks = 0
        self.event = 0
        self.past: deque[Past] = deque(maxlen=REMEMBERED)
        self.snapshots = Snapshots(vcpu.cpu)
        self.records: Records | None = None
        """Where slices are kept that need not be executed again, while a world is replayed."""
        self._left = 0
        self._stood = -1
        self._kept: _Kept | None = None

    def __repr__(self) -> str:
        return f"<Cuts of {self._vcpu.domain.name}: {f'{self.done:,} instructions into event {self.event}' if self.under_way else 'between slices'}>"

    @property
    def entered(self) -> bool:
        """True if the slice that is under way began with an interrupt."""
        return self._vcpu.entered == self._vcpu.exits

    # a slice, in one part or several -----------------------------------------------------------------------------

    def run(self, horizon: int) -> Exit | None:
        """Run the slice, or what is left of it; None if it was cut and put back."""
        vcpu, world = self._vcpu, self._vcpu.xen.world
        fresh = not self.under_way
        if fresh:
            self.done = self.looks = 0
            self.event = world.events - 1
            self._left = horizon - vcpu.clock
            self._budget = vcpu.budget(self._left)
            self._kept = None
            if world.stopped is not None:
                self.steps = 0  # what came before it, in this event, was waited for: the upcall
        if self.keep and (self._kept is None or self._commanded(self._kept)):
            self._kept = self._keep()
        if self.records is None or self.steps is not None or not fresh:
            return self._go_on()
        return self._known(self.records) or self._new(self.records)

    def _known(self, records: Records) -> Exit | None:
        """Return the exit of a slice that was kept."""
        known = records.use(self._vcpu, self.event)
        if known is None:
            return None
        found, self.done, self.looks = known
        return self._over(found)

    def _new(self, records: Records) -> Exit | None:
        self.snapshots.changes()  # what others changed since is not the slice's, even where it changes it back
        found = self._go_on()
        if found is not None:
            records.keep(self._vcpu, self.event, found, self.done, self.looks)
        return found

    def _go_on(self) -> Exit | None:
        vcpu = self._vcpu
        left = self._budget - self.done
        found, count = None, 0
        if self.steps != 0:
            count = left if self.steps is None else min(left, self.steps)
            found = self._part(count, over=self._stood == vcpu.instructions + self.done)
            if found.why is Why.BREAK and self.done and not self._goes_on(False):
                found = Exit(Why.BUDGET, found.instructions)  # it is at a breakpoint, and at its end
                self._stop()
        if found is None or found.why is Why.BREAK or (found.why is Why.BUDGET and self._goes_on(found.instructions < count)):
            self._cut()
            return None
        return self._over(found)

    def _goes_on(self, early: bool) -> bool:
        """True if a part that had its instructions is not the end of its slice, as one is that ended `early`, or may end there."""
        return not early and self.done < self._budget and not self._vcpu.cpu.ends_here

    def _over(self, found: Exit) -> Exit:
        world = self._vcpu.xen.world
        self.under_way, self._kept = False, None
        world.journal.uncut(self.event)
        self.past.append(Past(self.event, world.now, self.done, found.why, self.entered))
        if self.steps == 0:
            self._stop()
        found.instructions = self.done
        return found

    def _part(self, count: int, *, over: bool) -> Exit:
        cpu, now = self._vcpu.cpu, self._vcpu.clock
        found = cpu.run(count, now + self._left, spent=self.done + self.looks * cpu.look_ns, over=over)
        self.done += found.instructions
        self.looks += cpu.looks
        if self.steps is not None:
            self.steps -= found.instructions
        return found

    def _cut(self) -> None:
        vcpu, world = self._vcpu, self._vcpu.xen.world
        self.under_way = True
        vcpu.put_back()
        world.journal.cut(world.events, world.now, vcpu.domain.name, self.done)
        self._stop()

    def _stop(self) -> None:
        vcpu = self._vcpu
        self.steps = None
        self._stood = vcpu.instructions + self.done
        if vcpu.xen.world.stopped is None:
            vcpu.xen.world.stopped = f"{vcpu.domain.name} at {vcpu.cpu.pc:#x}"

    def stand(self) -> None:
        """A person looks at the CPU as it is: a breakpoint here has done its work."""
        self._stood = self._vcpu.instructions + (self.done if self.under_way else 0)

    # breakpoints -------------------------------------------------------------------------------------------------

    def arm(self, address: int) -> bool:
        """Have the CPU stop before an instruction; False if it did already."""
        fresh = address not in self._vcpu.cpu.breakpoints
        self._vcpu.cpu.break_at(address)
        return fresh

    def disarm(self, address: int) -> None:
        """Have it stop there no more."""
        self._vcpu.cpu.unbreak(address)

    def note(self, addresses: Iterable[int], hits: deque[tuple[int, Ns, int]] | None) -> None:
        """Stop nowhere, but keep where the CPU came by these addresses: (event, time, instructions into it).  None: no more."""
        cpu, world = self._vcpu.cpu, self._vcpu.xen.world
        for address in addresses:
            cpu.break_at(address)
        cpu.noted = None if hits is None else lambda after: hits.append((self.event, world.now, self.done + after))

    # going to a place --------------------------------------------------------------------------------------------

    def cut_at(self, instructions: int) -> None:
        """Take the next event, this vCPU's, as far as that many instructions (a journalled cut); raises ReplayDiverged."""
        world = self._vcpu.xen.world
        self.steps = instructions - (self.done if self.under_way else 0)
        with self._vcpu.cpu.muted():
            world.step()
        if not self.under_way or self.done != instructions:
            raise ReplayDiverged(f"replay diverged at event {world.events}: {self._vcpu.domain.name} was not {instructions} instructions into it")

    def back_to(self, instructions: int) -> bool:
        """Be that many instructions into the slice, fewer than now; False if nothing was kept that leads there."""
        kept, cpu, world = self._kept, self._vcpu.cpu, self._vcpu.xen.world
        if not self.under_way or kept is None or instructions < kept.done or self._commanded(kept):
            return False
        self.snapshots.restore(kept.snapshot)
        self._vcpu.set_devices(kept.devices)
        self.done, self.looks = kept.done, kept.looks
        with cpu.muted():
            if instructions > self.done:
                self._part(instructions - self.done, over=True)
        world.journal.cut(self.event, world.now, self._vcpu.domain.name, self.done)
        self.stand()
        return True

    def blocks(self, end: int) -> list[int]:
        """Return after how many instructions of the slice basic blocks began, up to `end`; then be somewhere: `back_to` comes next."""
        cpu, begun = self._vcpu.cpu, list[int]()
        hook = cpu.emulator.on_block(lambda pc, size: begun.append(self.done + cpu.emulator.executed))
        cpu.emulator.forget_code()
        with cpu.muted():
            self._part(end - self.done, over=True)
        cpu.emulator.unhook(hook)
        cpu.emulator.forget_code()
        return begun

    def _keep(self) -> _Kept:
        return _Kept(self.done, self.looks, self.snapshots.take(), self._vcpu.devices(), self._commands())

    def _commanded(self, kept: _Kept) -> bool:
        """True if a command was given since."""
        return self._commands() != kept.commands

    def _commands(self) -> int:
        entries = self._vcpu.xen.world.journal.entries
        return len(entries) - bool(entries and entries[-1].name == CUT and entries[-1].event == self.event)
