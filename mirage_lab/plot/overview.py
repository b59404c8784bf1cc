"""overview: a lab at a glance: its machines, its lans, its forwards, its clock and seed.

A function of plain records, which the lab fills in; the same record gives the picture and the words.
"""

from __future__ import annotations

from dataclasses import dataclass

from mirage_lab.plot.hosts import Hosts
from mirage_lab.tracing.svg import FAINT, INK, MUTED, Svg, bounded, visible

__all__ = ["ForwardBox", "LanBox", "MachineBox", "Overview", "overview_svg", "overview_text"]

_BOX, _GAP, _LEFT = 168, 18, 20
_MOST = 24
"""Machines drawn; a lab with a thousand idle domains says how many more there are."""
_PER_ROW = 5


@dataclass(frozen=True, slots=True)
class MachineBox:
    """A domain: `state` in a word ("paused", "running", "crashed"); `lans` it is plugged into; `note` its last words."""

    name: str
    domid: int
    state: str
    memory_mib: int = 0
    lans: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class LanBox:
    """A lan: `detail` names its latency and faults ("1 ms, 5 % loss"), `subnet` and the lab's own `gateway` on it."""

    name: str
    subnet: str = ""
    gateway: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ForwardBox:
    """A port of this computer that leads to a machine's port."""

    url: str
    machine: str
    port: int
    state: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything the picture of a lab says."""

    name: str
    seed: int
    t: int
    clock: str
    state: str
    machines: tuple[MachineBox, ...] = ()
    lans: tuple[LanBox, ...] = ()
    forwards: tuple[ForwardBox, ...] = ()
    notes: tuple[str, ...] = ()


def overview_text(lab: Overview) -> str:
    """Return the lab in at most 8 lines."""
    told = [f"{lab.name}: seed {lab.seed}, t = {lab.t / 1e9:.3f} s ({lab.clock}), {lab.state}"]
    rows = [_lan_line(lan) for lan in lab.lans]
    rows += [_machine_line(machine) for machine in lab.machines]
    rows += [f"{forward.url} -> {forward.machine} port {forward.port}" + (f" ({forward.state})" if forward.state else "") for forward in lab.forwards]
    rows += list(lab.notes)
    shown = rows if len(rows) <= 7 else rows[:6]
    told += [f"  {visible(row, 110)}" for row in shown]
    if len(shown) < len(rows):
        told.append(f"  and {len(rows) - len(shown)} more: lab.domains, lab.lans, lab.forwards")
    return "\n".join(told)


def overview_svg(lab: Overview, hosts: Hosts | None = None) -> str:
    """Return the lab as SVG: machines above, the lans they are plugged into as bars, this computer below."""
    hosts = hosts or Hosts(order=[machine.name for machine in lab.machines])
    shown = lab.machines[:_MOST]
    columns = max(3, min(_PER_ROW, len(shown)))
    rows = max(1, -(-len(shown) // _PER_ROW))
    width = 2 * _LEFT + columns * (_BOX + _GAP) - _GAP
    lans_y = 56 + rows * 92
    forwards_y = lans_y + 40 * len(lab.lans) + 8
    height = forwards_y + 26 * max(1, len(lab.forwards)) + 12
    picture = Svg(width, height, f"lab {lab.name}", overview_text(lab))
    picture.text(_LEFT, 28, lab.name, size=14, bold=True, limit=40)
    picture.text(width - _LEFT, 28, f"seed {lab.seed} \u00b7 t = {lab.t / 1e9:.3f} s \u00b7 {lab.clock} \u00b7 {lab.state}", size=11, anchor="end", fill=MUTED)
    bars = {lan.name: lans_y + 40 * place + 14 for place, lan in enumerate(lab.lans)}
    for place, machine in enumerate(shown):
        x, y = _LEFT + place % _PER_ROW * (_BOX + _GAP), 44 + place // _PER_ROW * 92
        for lane, name in enumerate(lan for lan in machine.lans if lan in bars):
            picture.line(x + 24 + 14 * lane, y + 70, x + 24 + 14 * lane, bars[name], stroke=hosts.colour(machine.name), thick=2)
        _machine(picture, machine, x, y, hosts.colour(machine.name))
    if len(shown) < len(lab.machines):
        picture.text(width - _LEFT, lans_y - 8, f"and {len(lab.machines) - len(shown)} more", size=11, anchor="end", fill=MUTED)
    if not lab.machines:
        picture.text(_LEFT, 84, "no domains yet: lab.create(image)", fill=MUTED)
    for lan in lab.lans:
        y = bars[lan.name]
        picture.rect(_LEFT, y, width - 2 * _LEFT, 7, fill=FAINT, radius=3, tip=_lan_line(lan))
        picture.text(_LEFT, y + 20, _lan_line(lan), size=11, fill=MUTED, limit=100)
    for place, forward in enumerate(lab.forwards):
        y = forwards_y + 26 * place
        picture.text(_LEFT, y + 17, "this computer" if not place else "", size=11, fill=MUTED)
        picture.text(_LEFT + 92, y + 17, forward.url, size=12, mono=True, limit=40)
        picture.arrow(_LEFT + 300, y + 13, _LEFT + 340, y + 13, stroke=hosts.colour(forward.machine), thick=2)
        picture.text(_LEFT + 350, y + 17, f"{bounded(forward.machine, 30)} port {forward.port}  {forward.state}", size=12, limit=80)
    if not lab.forwards:
        picture.text(_LEFT, forwards_y + 17, "no forwards: nothing on this computer reaches the lab", size=11, fill=MUTED)
    return str(picture)


def _machine(picture: Svg, machine: MachineBox, x: float, y: float, colour: str) -> None:
    still = machine.state not in ("running", "idle", "blocked")
    with picture.group(_machine_line(machine), dx=x, dy=y):
        picture.rect(0, 0, _BOX, 70, fill="#fafafa", stroke=colour, thick=2, radius=5, dash="4 3" if still else "")
        picture.text(10, 20, machine.name, bold=True, limit=18, fill=INK)
        picture.text(_BOX - 10, 20, f"domid {machine.domid}", size=10, anchor="end", fill=MUTED)
        picture.text(10, 38, machine.state + (f" \u00b7 {machine.memory_mib} MiB" if machine.memory_mib else ""), size=11, limit=26)
        picture.text(10, 57, machine.note, size=10, mono=True, fill=MUTED, limit=24)


def _machine_line(machine: MachineBox) -> str:
    plugged = f" on {', '.join(machine.lans)}" if machine.lans else ""
    memory = f", {machine.memory_mib} MiB" if machine.memory_mib else ""
    return f"{machine.name} (domid {machine.domid}) {machine.state}{memory}{plugged}" + (f": {machine.note}" if machine.note else "")


def _lan_line(lan: LanBox) -> str:
    parts = (lan.subnet, f"gateway {lan.gateway}" if lan.gateway else "", lan.detail)
    return f"lan {lan.name}: " + ", ".join(part for part in parts if part)
