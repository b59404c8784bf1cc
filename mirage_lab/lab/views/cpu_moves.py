"""cpu_moves: what the buttons and keys of the CPU tab do: step, go back, run to a place, breakpoints; each is a line of Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.debugger import UNITS
from mirage_lab.lab.said import LabError
from mirage_lab.lab.views.kinds import Act, Action, Args, Ask, text, whole
from mirage_lab.signatures.units import ms
from mirage_lab.tracing.svg import visible

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["ACTIONS", "ASKS", "place", "stops"]

EVENT: Final = "event"
WITHIN: Final = ms(200)
PLACE: Final = 200
OFFERED: Final = 20
STOPS: Final = 64
SAID: Final = 300
REPLAYED: Final = 200_000_000
"""Instructions of all guests after which no button goes back."""


def place(typed: str) -> str | int:
    """Return the address that was typed as 0x..., or the name of a symbol; raises LabError."""
    typed = typed.strip()
    if not typed:
        raise LabError("where? the name of a symbol, or an address such as 0x100000")
    if typed.lower().startswith("0x"):
        try:
            return int(typed, 16)
        except ValueError:
            raise LabError(f"{visible(typed, 40)!r} is no address: hexadecimal, such as 0x100000") from None
    return typed


def _told(where: str | int) -> str:
    return f"{where:#x}" if isinstance(where, int) else repr(where)


def _say(said: object) -> str:
    return visible(repr(said), SAID)


def _unit(args: Args) -> str:
    unit = text(args, "unit", 16)
    if unit not in (*UNITS, EVENT):
        raise LabError(f"a step is by {', '.join(UNITS)} or {EVENT}")
    return unit


def _step(lab: Lab, args: Args) -> Act:
    """Take a step; of a Python unikernel it is an event of the world."""
    name, unit = text(args, "domain", 64), _unit(args)
    if unit == EVENT or lab.machine.vcpu(name) is None:
        lab.pause()
        found = lab.step()
        return Act("lab.step()", visible("; ".join(f"{event.source} {event.kind}" for event in found[:4]), SAID) or "nothing was recorded")
    count = whole(args, "count", 1, 10_000) if "count" in args else 1
    asked = [*([str(count)] if count > 1 else []), *([f"unit={unit!r}"] if unit != UNITS[0] else [])]
    if unit == "hypercall":
        asked.append(f"within=ms({WITHIN // ms(1)})")
    within = WITHIN if unit == "hypercall" else None
    return Act(f"lab.vm({name!r}).cpu.step({', '.join(asked)})", _say(lab.vm(name).cpu.step(count, unit, within=within)))


def _back(lab: Lab, args: Args) -> Act:
    """Take a step back; of a Python unikernel it is the last event in which it did something."""
    name, unit = text(args, "domain", 64), _unit(args)
    vcpu = lab.machine.vcpu(name)
    if unit != UNITS[0] or vcpu is None or vcpu.taken == vcpu.instructions:
        _affordable(lab, name)
    if unit == EVENT or vcpu is None:
        return Act(f"lab.vm({name!r}).step_back()", lab.vm(name).step_back())
    asked = f"unit={unit!r}" if unit != UNITS[0] else ""
    return Act(f"lab.vm({name!r}).cpu.step_back({asked})", _say(lab.vm(name).cpu.step_back(unit=unit)))


def _affordable(lab: Lab, name: str) -> None:
    """Going back further than the slice under way builds the world again; raises LabError where nobody would wait for that."""
    vcpus = (lab.machine.vcpu(info.name) for info in lab.machine.toolstack.list() if info.domid)
    taken = sum(vcpu.taken for vcpu in vcpus if vcpu is not None)
    if taken > REPLAYED:
        way = f"lab.vm({name!r}).cpu.step_back() in a cell, where it can be stopped"
        raise LabError(f"to go back, {taken:,} instructions are executed again, which may take minutes: {way}")


def _run_to(lab: Lab, args: Args) -> Act:
    name, where = text(args, "domain", 64), place(text(args, "where", PLACE))
    line = f"lab.vm({name!r}).cpu.run_to({_told(where)}, within=ms({WITHIN // ms(1)}))"
    return Act(line, _say(lab.vm(name).cpu.run_to(where, within=WITHIN)))


def _run_back(lab: Lab, args: Args) -> Act:
    name = text(args, "domain", 64)
    _affordable(lab, name)
    return Act(f"lab.vm({name!r}).cpu.run_back()", _say(lab.vm(name).cpu.run_back()))


def _toggle(lab: Lab, args: Args) -> Act:
    """Set a breakpoint, or take it away if it is there."""
    name, where = text(args, "domain", 64), place(text(args, "where", PLACE))
    cpu = lab.vm(name).cpu
    there = next((each for each in cpu.breakpoints if where in (each.text, each.address)), None)
    if there is None:
        return Act(f"lab.vm({name!r}).cpu.break_at({_told(where)})", _say(cpu.break_at(where)))
    mine = there.text if there.address is None else where
    return Act(f"lab.vm({name!r}).cpu.unbreak({_told(mine)})", visible(cpu.unbreak(mine), SAID))


def stops(lab: Lab, name: str) -> list[list[Any]]:
    """Return the breakpoints of a domain: [as typed, address or None]."""
    wished = lab.debugger.wished(name).breakpoints.values()
    return [[visible(each.text, PLACE), None if each.address is None else f"{each.address:x}"] for each in wished][:STOPS]


def _symbols(lab: Lab, args: Args) -> list[str]:
    """Answer "cpu.symbols": names that contain what was typed; those that begin with it first."""
    name, typed = text(args, "domain", 64), text(args, "typed", PLACE).strip().lower()
    if lab.machine.vcpu(name) is None:
        return []
    names = [symbol for _, _, symbol in lab.debugger.symbols(name) if typed in symbol.lower() and visible(symbol) == symbol]
    return sorted(names, key=lambda symbol: (not symbol.lower().startswith(typed), symbol))[:OFFERED]


ACTIONS: Final[Mapping[str, Action]] = {
    "cpu.step": _step,
    "cpu.back": _back,
    "cpu.run_to": _run_to,
    "cpu.run_back": _run_back,
    "cpu.break": _toggle,
}
ASKS: Final[Mapping[str, Ask]] = {"cpu.symbols": _symbols}
