"""rewinding: a lab's world as it was: built again from its seed and as much of its journal as had been written by then."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mirage_lab.lab import running
from mirage_lab.lab.machine import Machine
from mirage_lab.lab.said import LabError, Said
from mirage_lab.runtime.clock import show
from mirage_lab.runtime.journal import Entry, ReplayDiverged
from mirage_lab.signatures.units import Ns
from mirage_lab.tracing.recorder import Event

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["Progress", "last_step_of", "rebuild", "reset", "rewind", "to_event", "undo"]

Progress = Callable[[Machine], bool]


def rewind(lab: Lab, to: Ns | Event) -> Said:
    """Go to a time, or to just behind the event of the world in which a recorded event happened."""
    if isinstance(to, Event):
        return to_event(lab, to.id)
    if to > lab.now:
        raise LabError(f"t = {show(to)} has not come yet: lab.run(...) goes there")
    before = lab.now
    rebuild(lab, [entry for entry in lab.journal if entry.t <= to], to)
    return Said(f"t = {show(before)} -> {show(lab.now)} (rewound)")


def to_event(lab: Lab, id: int) -> Said:
    """Go to just behind the event of the world in which recorded event `id` happened."""
    before = lab.now
    if not 1 <= id <= lab.machine.world.recorder.last:
        raise LabError(f"there is no event {id}: the last is {lab.machine.world.recorder.last}")
    found = _search(lab, lambda machine: machine.world.recorder.last >= id, first=True)
    if found is None:
        raise LabError(f"event {id} does not come again: was a kind of event enabled or disabled meanwhile?")
    _after(lab, *found)
    return Said(f"t = {show(before)} -> {show(lab.now)} (rewound to event {id})")


def last_step_of(lab: Lab, name: str) -> Said:
    """Go to just before the last event in which a domain did something."""
    before, steps = lab.now, 0

    def stepped(machine: Machine) -> bool:
        nonlocal steps
        seen, steps = steps, machine.toolstack.domain(machine.domid(name)).queue.steps if machine.exists(name) else 0
        return steps > seen

    found = _search(lab, stepped, first=False)
    if found is None:
        raise LabError(f"{name} has done nothing yet: there is nothing to step back over")
    event, t = found
    rebuild(lab, [entry for entry in lab.journal if entry.event < event], t, event - 1)
    return Said(f"t = {show(before)} -> {show(lab.now)}; {name} is about to do again what it did last")


def _after(lab: Lab, event: int, t: Ns) -> None:
    rebuild(lab, [entry for entry in lab.journal if entry.event < event], t, event)


def _search(lab: Lab, seen: Progress, *, first: bool) -> tuple[int, Ns] | None:
    """Replay event by event; return (events, time) behind the first, or the last, at which `seen` said so."""
    found: tuple[int, Ns] | None = None
    with lab.lock:
        world = lab.machine.world
        machine = Machine(lab.seed)
        machine.world.place, machine.world.live = type(lab).places, False
        machine.on_vcpu = lab.debugger.on_vcpu
        try:
            for entry in [*lab.journal, Entry(world.events, world.now, "")]:
                while machine.world.events < entry.event:
                    if not machine.world.step():
                        raise ReplayDiverged(f"replay diverged at event {machine.world.events}: the journal has {entry.event} events")
                    if seen(machine):
                        found = machine.world.events, machine.world.now
                        if first:
                            return found
                if entry.name:
                    machine.world.replay([entry])
                    seen(machine)
        finally:
            machine.close()
    return found


def undo(lab: Lab) -> Said:
    """Take back the last command of a person."""
    mine = [index for index, entry in enumerate(lab.journal) if not entry.outside]
    if not mine:
        return Said("nothing to undo")
    last = lab.journal[mine[-1]]
    rebuild(lab, lab.journal[: mine[-1]], last.t, last.event)
    return Said(f"undone: {running.told(last)}; t = {show(lab.now)}")


def reset(lab: Lab) -> Said:
    """Go to what was assembled before time first moved."""
    rebuild(lab, [entry for entry in lab.journal if entry.event == 0 and entry.t == 0], Ns(0), 0)
    return Said(f"reset: t = 0, {len(lab.domains)} domain{'' if len(lab.domains) == 1 else 's'} as assembled")


def rebuild(lab: Lab, entries: list[Entry], t: Ns, event: int | None = None, on_vcpu: Callable[[Any], None] | None = None) -> None:
    """Build the world again, up to `t`, or up to an event and `t`; handles point into it from now on."""
    lab.pause()
    if lab.machine.world.journal.full:
        raise LabError(f"{lab.name}: more host input came in than the journal keeps, so this world cannot be built again: Lab(seed=...) makes a new one")
    with lab.lock:
        machine = Machine.replayed(lab.seed, entries, type(lab).places, on_vcpu or lab.debugger.on_vcpu)
        if event is not None:
            machine.world.run_to(event, t)
        else:
            machine.world.advance(t)
        lab._replace(machine)
