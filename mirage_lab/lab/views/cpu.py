"""cpu: machine code at the level of its instructions, one guest or two side by side.

    registers and the code around the next instruction   cpu_code      memory by owner and grant   boot_memory
    hypercalls with arguments and results, what it wrote to xenstore, its console: from events

A Python guest has no registers; what it did and holds is shown all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.said import LabError
from mirage_lab.lab.views import cpu_code, cpu_moves
from mirage_lab.lab.views.boot_memory import memory
from mirage_lab.lab.views.cpu_picture import cpu_picture
from mirage_lab.lab.views.kinds import Args, Ask, Look, View, text
from mirage_lab.lab.why import why
from mirage_lab.signatures.errors import MirageError
from mirage_lab.tracing.recorder import Event
from mirage_lab.tracing.svg import visible
from mirage_lab.vcpu.emulator import GuestsMissing, missing
from mirage_lab.vcpu.symbols import Symbols
from mirage_lab.xen.abi.errno import NAMES
from mirage_lab.xen.arch.vcpu import Vcpu

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["VIEW"]

SIDES: Final = 2
DOMAINS: Final = 50
PARTS: Final = ("calls", "stops", "memory", "tables", "xenstore", "console")
CALLS: Final = 60
WRITES: Final = 40
LINES: Final = 80
LINE: Final = 300
LOOKED_BACK: Final = 5_000
TASKS: Final = 8
WHY: Final = 3
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]|\r")
"""What moves the cursor of a terminal or colours its words."""


def _names(lab: Lab) -> list[str]:
    return [info.name for info in lab.machine.toolstack.list() if info.domid]


def chosen(lab: Lab, look: Look) -> list[str]:
    """Return the domains that are looked at: the first is machine code unless another was asked for; the second only if it was."""
    names = _names(lab)
    if not names:
        return []
    wanted = look.get("cpu.0.domain")
    first = str(wanted) if wanted in names else next((name for name in names if lab.machine.vcpu(name) is not None), names[0])
    second = look.get("cpu.1.domain")
    return [first, str(second)] if second in names and second != first else [first]


def snapshot(lab: Lab, look: Look) -> dict[str, Any]:
    """Return the domains one may look at, and of one or two all that is shown."""
    infos = [info for info in lab.machine.toolstack.list() if info.domid]
    return {
        "domains": [{"name": info.name, "domid": info.domid, "state": str(info.state), "kind": _kind(lab, info.name)} for info in infos[:DOMAINS]],
        "missing": missing(),
        "sides": [_side(lab, look, side, name) for side, name in enumerate(chosen(lab, look))],
    }


def _kind(lab: Lab, name: str) -> str:
    found = lab.machine.vcpu(name)
    return "python" if found is None else found.cpu.arch


def _side(lab: Lab, look: Look, side: int, name: str) -> dict[str, Any]:
    """Return one of the guests: what it is, its CPU, and the one part that is shown below."""
    domain = lab.machine.toolstack.domain(lab.machine.domid(name))
    wanted = look.get(f"cpu.{side}.part")
    part = str(wanted) if wanted in PARTS else PARTS[0]
    told: dict[str, Any] = {"name": name, "domid": domain.domid, "state": domain.state, "part": part, "kind": _kind(lab, name), "cpu": None}
    told["stops"] = cpu_moves.stops(lab, name)
    vcpu = lab.machine.vcpu(name)
    if vcpu is None:
        tasks = [repr(task) for task in domain.queue.tasks]
        told["tasks"] = [visible(task, 160) for task in tasks[:TASKS]]
        told["more_tasks"] = max(0, len(tasks) - TASKS)
    else:
        told["cpu"] = cpu_of(lab, vcpu)
        told["why"] = [visible(line, 200) for line in why(lab.machine, name).splitlines()[:WHY]] if domain.state != "running" else []
    match part:
        case "memory":
            told["memory"] = memory(lab, name) | {"colour": look.get(f"cpu.{side}.colour"), "chosen": look.get(f"cpu.{side}.run")}
        case "xenstore":
            told["writes"] = writes(lab, name)
        case "console":
            told["console"] = console(lab, domain.domid)
        case "calls":
            told["calls"] = calls(lab, name)
        case _:
            """Page tables are asked for, address by address."""
    return told


def _symbols(lab: Lab, vcpu: Vcpu) -> Symbols:
    """The names of a guest's addresses; without pyelftools there are none."""
    try:
        return lab.debugger.symbols(vcpu.domain.name)
    except GuestsMissing:
        return Symbols()


def cpu_of(lab: Lab, vcpu: Vcpu) -> dict[str, Any]:
    """Return registers, flags and the instructions around the next one."""
    cpu = vcpu.cpu
    pc = cpu.pc
    wrong, rows, symbols = "", list[cpu_code.Line](), _symbols(lab, vcpu)
    try:
        rows = cpu_code.listing(cpu, pc, symbols)
    except MirageError as error:
        wrong = str(error)
    if not rows and not wrong:
        wrong = f"there is no memory at {pc:#x}"
    return {
        "mode": cpu_code.mode(cpu),
        "pc": f"{pc:x}",
        "where": cpu_code.symbol_at(symbols, pc),
        "exits": vcpu.exits,
        "instructions": vcpu.taken,
        "cut": vcpu.taken - vcpu.instructions,
        "latest": "" if vcpu.latest is None else visible(repr(vcpu.latest).strip("<>"), 160),
        "registers": cpu_code.registers(cpu),
        "flags": cpu_code.flags(cpu),
        "system": cpu_code.system(cpu),
        "code": [[f"{row.address:x}", row.bytes, row.text, row.label, row.target] for row in rows],
        "wrong": wrong,
    }


# what it did, from events -------------------------------------------------------------------------------------------


def _latest(lab: Lab, name: str, kinds: tuple[str, ...], count: int) -> list[Event]:
    """Return the newest events of a domain, newest first."""
    recorder = lab.machine.world.recorder
    found = [event for kind in kinds for event in recorder.latest(kind, 20 * count, look_back=LOOKED_BACK) if event.source == name]
    return sorted(found, key=lambda event: -event.id)[:count]


def calls(lab: Lab, name: str) -> list[dict[str, Any]]:
    """Return the last hypercalls with arguments and results, and the upcalls among them, newest first."""
    return [_call(event) for event in _latest(lab, name, ("xen.hypercall", "evtchn.upcall"), CALLS)]


def _call(event: Event) -> dict[str, Any]:
    fields = event.fields
    if event.kind == "evtchn.upcall":
        ports = ", ".join(map(str, fields.get("ports", ())))
        return {"id": event.id, "t": event.t, "kind": "upcall", "name": "upcall", "args": f"ports {ports}" if ports else "", "ret": "", "failed": False}
    ret = fields.get("ret", 0)
    ret = ret if isinstance(ret, int) else 0
    told = f"{ret} {NAMES[-ret]}" if -ret in NAMES else str(ret) if ret < 1 << 16 else f"{ret:#x}"
    out = visible(str(fields.get("out", "")), 120)
    args = visible(str(fields.get("args", "")), 120)
    return {"id": event.id, "t": event.t, "kind": "call", "name": visible(str(fields.get("name")), 60), "args": args, "ret": f"{told}, {out}" if out else told,
            "failed": ret < 0}  # fmt: skip


def writes(lab: Lab, name: str) -> list[dict[str, Any]]:
    """Return what the domain changed in xenstore last, newest first."""
    return [
        {"id": event.id, "t": event.t, "kind": event.kind.removeprefix("xenstore."), "path": visible(str(event.fields.get("path", "")), 200),
         "value": visible(str(event.fields.get("value", "")), 200)}
        for event in _latest(lab, name, ("xenstore.*",), WRITES)
    ]


def console(lab: Lab, domid: int) -> dict[str, Any]:
    """Return the last lines of the console."""
    printed = _ESCAPES.sub("", lab.machine.toolstack.console(domid).text).split("\n")
    if printed and not printed[-1]:
        printed.pop()
    return {"lines": [visible(line, LINE) for line in printed[-LINES:]], "left_out": max(0, len(printed) - LINES)}


# page tables --------------------------------------------------------------------------------------------------------


def _walk(lab: Lab, args: Args) -> dict[str, Any]:
    """Answer "cpu.walk": the way of an address through the page tables, and the bytes there; args: domain, address.  Raises LabError."""
    name, typed = text(args, "domain", 64), text(args, "address", 200).strip()
    vcpu = lab.machine.vcpu(name)
    if vcpu is None:
        raise LabError(f"{name} is a Python unikernel: it has no page tables")
    cpu = vcpu.cpu
    linear = _address(lab, vcpu, typed)
    way = cpu.walk(linear)
    found = cpu.load(linear, min(64, 4096 - (linear & 4095)))
    return {
        "linear": f"{linear:x}",
        "steps": [[step.table, f"{step.address:x}", f"{step.entry:x}", cpu_code.entry(cpu, step)] for step in way.steps],
        "physical": None if way.physical is None else f"{way.physical:x}",
        "rights": " ".join(["read", *(["write"] if way.writable else []), *(["user"] if way.user else [])]),
        "size": way.size,
        "bytes": "" if found is None else found.hex(),
    }


def _address(lab: Lab, vcpu: Vcpu, typed: str) -> int:
    """Read an address: hexadecimal, or the name of a symbol or register."""
    shown = dict(cpu_code.registers(vcpu.cpu))
    if typed.lower() in shown:
        return int(shown[typed.lower()], 16)
    symbol = _symbols(lab, vcpu).address(typed)
    if symbol is not None:
        return symbol
    try:
        found = int(typed.replace("_", ""), 16)
    except ValueError:
        raise LabError(f"{visible(typed, 40)!r} is no address: hexadecimal, such as {vcpu.cpu.pc:#x}, or the name of a symbol or register") from None
    if not 0 <= found < 1 << 64:
        raise LabError("an address has 64 bits at most")
    return found


# what a saved notebook shows ----------------------------------------------------------------------------------------


def words(lab: Lab, look: Look) -> str:
    """Return the first guest in at most 8 lines: where it is, its registers, its last hypercalls."""
    names = chosen(lab, look)
    if not names:
        return "no domain yet: lab.create(guest_image(path)) makes one of machine code"
    name = names[0]
    vcpu = lab.machine.vcpu(name)
    if vcpu is None:
        return f"{name} is a Python unikernel: it has no registers; the boot view shows its hypercalls"
    told = cpu_of(lab, vcpu)
    here = next((f": {row[2]}" for row in told["code"] if row[0] == told["pc"]), "")
    lines = [f"{name}: {told['mode']}, at {told['where'] or '0x' + told['pc']}{here}"]
    lines.append(f"  {told['exits']:,} exits, {told['instructions']:,} instructions, last: {told['latest'] or 'none yet'}")
    shown = [f"{key}={value}" for key, value in told["registers"]]
    lines += ["  " + " ".join(shown[at : at + 6]) for at in range(0, min(len(shown), 18), 6)]
    lines += [f"  {row['name']} {row['args']}".rstrip() + f" = {row['ret']}" for row in calls(lab, name) if row["kind"] == "call"][: 8 - len(lines)]
    return "\n".join(lines)


def picture(lab: Lab, look: Look) -> str | None:
    """Return registers, code and memory of the first guest as SVG; None without a domain of machine code."""
    names = chosen(lab, look)
    vcpu = lab.machine.vcpu(names[0]) if names else None
    return None if vcpu is None else cpu_picture(lab, names[0], cpu_of(lab, vcpu))


ASKS: Final[Mapping[str, Ask]] = {"cpu.walk": _walk, **cpu_moves.ASKS}

VIEW: Final = View("cpu", "CPU", snapshot, words, picture, cpu_moves.ACTIONS, ASKS)
