"""boot: what a domain did from its first step on, lane by lane over virtual time.

Hypercalls, events, xenstore writes, xenbus states and console lines, each a lane.  The picture reads the recorder's
events only; nothing here knows a hypervisor.  Marks that fall on the same pixel become one, taller, mark, so a picture
of a long life is no larger than one of a short.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import log2

from mirage_lab.plot.scale import round_step, spoken
from mirage_lab.tracing.recorder import Event
from mirage_lab.tracing.svg import FAINT, INK, MUTED, OKABE_ITO, Svg, bounded, visible

__all__ = ["Boot", "boot_of", "boot_picture", "boot_svg", "boot_text"]

_LEFT, _RIGHT, _WIDTH = 132, 20, 860
_CONSOLE_LINES = 8
_STATES = ("Unknown", "Initialising", "InitWait", "Initialised", "Connected", "Closing", "Closed")
_SHARE = 1.08
"""The time axis ends a little after the last thing of the boot."""


@dataclass(slots=True)
class Boot:
    """The events of one domain's boot: `start` and `stop` in ns, and one list for each lane."""

    name: str
    domid: int
    start: int
    stop: int
    built: int = 0
    hypercalls: list[Event] = field(default_factory=list)
    notified: list[Event] = field(default_factory=list)
    upcalls: list[Event] = field(default_factory=list)
    writes: list[Event] = field(default_factory=list)
    states: list[Event] = field(default_factory=list)
    lines: list[Event] = field(default_factory=list)
    ended: Event | None = None


def boot_of(events: Iterable[Event], name: str, domid: int, *, start: int | None = None, stop: int | None = None) -> Boot:
    """Sort out the events of domain `domid`, called `name`.

    `start` is when it was first unpaused unless given; `stop` shortly after its last xenbus state or console line.
    """
    mine = [event for event in events if _concerns(event, name, domid)]
    if start is None:
        begun = [event.t for event in mine if event.kind == "domain.unpaused"] or [event.t for event in mine if event.kind == "domain.created"]
        start = begun[0] if begun else mine[0].t if mine else 0
    if stop is None:
        marks = [event.t for event in mine if event.kind in ("xenbus.state", "console.line", "domain.crashed") and event.t >= start]
        stop = start + int((max(marks, default=mine[-1].t if mine else start) - start) * _SHARE) + 1_000
    boot = Boot(name, domid, start, stop)
    lanes = {
        "xen.hypercall": boot.hypercalls, "evtchn.notify": boot.notified, "evtchn.upcall": boot.upcalls, "xenstore.write": boot.writes,
        "xenbus.state": boot.states, "console.line": boot.lines,
    }
    for event in mine:
        if event.t < start and event.kind == "xenstore.write":
            boot.built += 1
        elif start <= event.t <= stop and event.kind in lanes:
            lanes[event.kind].append(event)
        if event.kind in ("domain.crashed", "domain.shutdown") and event.t <= stop:
            boot.ended = event
    return boot


def boot_svg(boot: Boot, colour: str = OKABE_ITO[0]) -> str:
    """Return the timeline as SVG; `colour` is the domain's."""
    return str(boot_picture(boot, colour))


def boot_picture(boot: Boot, colour: str = OKABE_ITO[0]) -> Svg:
    """Return the timeline as a picture."""
    devices = _devices(boot)
    height = 176 + 22 * max(1, 2 * len(devices)) + 18 * max(1, min(_CONSOLE_LINES, len(boot.lines)))
    words = boot_text(boot)
    picture = Svg(_WIDTH, height, f"boot of {boot.name}", words)
    picture.text(16, 26, f"{boot.name} (domid {boot.domid})", size=14, bold=True, fill=colour, limit=60)
    picture.text(_WIDTH - 16, 26, _span(boot), size=11, anchor="end", fill=MUTED)
    y = _ticks(picture, boot, height)
    y = _lane(picture, boot, y, "hypercalls", boot.hypercalls, colour, _hypercall)
    y = _lane(picture, boot, y, "notifies", boot.notified, colour, lambda event: f"port {event.fields.get('port')}")
    y = _lane(picture, boot, y, "upcalls", boot.upcalls, colour, lambda event: f"ports {event.fields.get('ports')}")
    y = _lane(picture, boot, y, "xenstore writes", boot.writes, colour, _write)
    for device, side in [(device, side) for device in devices for side in ("front", "back")] or [("xenbus", "")]:
        _label(picture, y, f"{device} {side}")
        for event in devices.get(device, []):
            if _side(event) != side:
                continue
            state = event.fields.get("state", 0)
            x = _x(boot, event.t)
            tip = f"{side} end: {_state(event)} at {_after(boot, event.t)}"
            picture.circle(x, y + 9, 8, fill="#ffffff" if side == "back" else colour, stroke=colour, tip=tip)
            picture.text(x, y + 13, str(state), size=11, anchor="middle", fill=INK if side == "back" else "#ffffff", limit=4)
        y += 22
    _console(picture, boot, y)
    return picture


def boot_text(boot: Boot) -> str:
    """Return the timeline in at most 8 lines."""
    told = [
        f"{boot.name} (domid {boot.domid}), {_span(boot)}: {len(boot.hypercalls)} hypercalls, {len(boot.notified)} notifies, "
        f"{len(boot.upcalls)} upcalls, {len(boot.writes)} xenstore writes"
    ]
    calls = Counter(str(event.fields.get("name")) for event in boot.hypercalls)
    if calls:
        told.append("  hypercalls: " + ", ".join(f"{name} {count}" for name, count in sorted(calls.items(), key=lambda row: (-row[1], row[0]))[:5]))
    for device, events in list(_devices(boot).items())[:2]:
        told.append(f"  {device}: " + bounded(" ".join(f"{_side(event)} {event.fields.get('state')} ({_after(boot, event.t)})" for event in events), 160))
    room = 8 - len(told) - (boot.ended is not None)
    lines = boot.lines if len(boot.lines) <= room else boot.lines[: room - 1]
    told += [f"  {_after(boot, event.t):>12}  {visible(str(event.fields.get('text')), 100)}" for event in lines]
    if len(lines) < len(boot.lines):
        told.append(f"  {len(boot.lines) - len(lines)} more console lines")
    if boot.ended is not None:
        told.append(f"  {_after(boot, boot.ended.t):>12}  {boot.ended.kind}")
    return "\n".join(told)


def _concerns(event: Event, name: str, domid: int) -> bool:
    if event.source == name:
        return True
    if event.kind.startswith("domain."):
        return event.fields.get("domid") == domid
    if event.kind in ("xenstore.write", "xenbus.state"):
        path = str(event.fields.get("path"))
        return path.startswith(f"/local/domain/{domid}/") or (path.startswith("/local/domain/0/backend/") and path.split("/")[6:7] == [str(domid)])
    return False


def _devices(boot: Boot) -> dict[str, list[Event]]:
    """xenbus states by device: `vif/0`, from either end's path."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in boot.states:
        parts = str(event.fields.get("path")).strip("/").split("/")
        if "backend" in parts:
            parts = [parts[parts.index("backend") + 1], *parts[parts.index("backend") + 3 :]]
        elif "device" in parts:
            parts = parts[parts.index("device") + 1 :]
        found["/".join(part for part in parts[:2] if part != "state")].append(event)
    return dict(found)


def _x(boot: Boot, t: int) -> float:
    return _LEFT + (t - boot.start) / max(1, boot.stop - boot.start) * (_WIDTH - _LEFT - _RIGHT)


def _label(picture: Svg, y: float, words: str) -> None:
    picture.text(16, y + 13, words, size=11, fill=MUTED, limit=18)
    picture.line(_LEFT, y + 19.5, _WIDTH - _RIGHT, y + 19.5, stroke="#eeeeee")


def _lane(picture: Svg, boot: Boot, y: float, words: str, events: Sequence[Event], colour: str, tell: Callable[[Event], str]) -> float:
    """One lane of ticks: a pixel's worth of events is one tick, taller for more."""
    _label(picture, y, f"{words} {len(events)}")
    columns: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        columns[round(_x(boot, event.t))].append(event)
    for x, here in columns.items():
        tall = min(16.0, 7 + 2 * log2(len(here)))
        told = "\n".join(tell(event) for event in here[:5]) + (f"\n{len(here) - 5} more" if len(here) > 5 else "")
        picture.line(x + 0.5, y + 19 - tall, x + 0.5, y + 19, stroke=colour, tip=f"{_after(boot, here[0].t)}\n{told}")
    return y + 24


def _ticks(picture: Svg, boot: Boot, height: float) -> float:
    """The time axis, in round steps since the start; returns where the first lane begins."""
    span = max(1, boot.stop - boot.start)
    step = round_step(span, 8)
    for t in range(0, span + 1, step):
        x = _x(boot, boot.start + t)
        picture.line(x, 56, x, height - 12, stroke=FAINT, dash="2 3")
        picture.text(x, 50, _after(boot, boot.start + t), size=10, anchor="middle", fill=MUTED)
    return 62


def _console(picture: Svg, boot: Boot, y: float) -> None:
    _label(picture, y, f"console {len(boot.lines)}")
    for row, event in enumerate(boot.lines[:_CONSOLE_LINES]):
        x = _x(boot, event.t)
        right = x > _LEFT + (_WIDTH - _LEFT) * 0.6
        text = str(event.fields.get("text"))
        if row == _CONSOLE_LINES - 1 and len(boot.lines) > _CONSOLE_LINES:
            text = f"{len(boot.lines) - row} more lines"
        picture.circle(x, y + 9, 2.5)
        picture.text(x - 6 if right else x + 6, y + 13, text, size=11, anchor="end" if right else "start", mono=True, limit=70, tip=_after(boot, event.t))
        y += 18


def _span(boot: Boot) -> str:
    built = f"{boot.built} xenstore writes before" if boot.built else ""
    return ", ".join(part for part in (f"from t = {boot.start / 1e9:.6f} s", built) if part)


def _after(boot: Boot, t: int) -> str:
    return spoken(t - boot.start)


def _hypercall(event: Event) -> str:
    fields = event.fields
    return f"{fields.get('name')} {fields.get('op', '')} {fields.get('args', '')} = {fields.get('ret')}"


def _write(event: Event) -> str:
    return f"{event.fields.get('path')} = {event.fields.get('value')}"


def _side(event: Event) -> str:
    return "back" if "/backend/" in str(event.fields.get("path")) else "front"


def _state(event: Event) -> str:
    state = event.fields.get("state", 0)
    named = _STATES[state] if isinstance(state, int) and 0 <= state < len(_STATES) else "?"
    return f"{state} {event.fields.get('name', named)}"
