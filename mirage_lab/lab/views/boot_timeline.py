"""boot_timeline: what each domain did between two moments, as marks in rows; and one event with what led to it.

    window ──▶ the events in it (LIMIT at most) ──▶ a lane for each domain ──▶ rows by kind ──▶ marks [column, count, first id]

The axis is virtual time, or the order of events: within one step of a vCPU time stands still, order does not.  Events are
found by number and by bisection, so that a look at a long history costs no more than one at a short.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log10
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.views.boot_bytes import domain_named
from mirage_lab.lab.views.kinds import Look
from mirage_lab.plot.boot import Boot, boot_of
from mirage_lab.plot.scale import round_step
from mirage_lab.tracing.recorder import Event, Recorder
from mirage_lab.tracing.svg import visible

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["COLUMNS", "ROWS", "Window", "boot", "said", "selected", "timeline", "window_of"]

COLUMNS: Final = 300
"""Marks stand in columns 0 to COLUMNS."""
LIMIT: Final = 2_000
"""Events looked at for one picture."""
BOOT_EVENTS: Final = 1_500
"""Events from a domain's creation on among which its boot is sought."""
LANES: Final = 5
LABELS: Final = 10
CHAIN: Final = 12
NEARBY: Final = 500
OVERVIEW: Final = 60
LEAST_NS: Final = 1_000

ROWS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("hypercalls", ("xen.hypercall",)),
    ("notifies", ("evtchn.notify",)),
    ("upcalls", ("evtchn.upcall",)),
    ("grants", ("gnttab.map", "gnttab.unmap", "gnttab.copy", "gnttab.grant", "gnttab.end")),
    ("xenstore", ("xenstore.write", "xenstore.mkdir", "xenstore.rm", "xenstore.setperms", "xenstore.watch", "xenstore.transaction")),
    ("xenbus", ("xenbus.state",)),
    ("console", ("console.line",)),
    ("other", ()),
)
"""The rows of a lane and the kinds of event in each; what is in none is in the last."""

_ROW_OF: Final = {kind: row for row, kinds in ROWS for kind in kinds}
_LABELLED: Final = ("xenbus", "console")


@dataclass(frozen=True, slots=True)
class Window:
    """What is shown: from `start` to `stop` (ns, or event numbers when `order`); `first` to `last` are its events."""

    order: bool
    start: int
    stop: int
    first: int
    last: int

    def column(self, event: Event) -> int | None:
        """Where an event stands, None outside."""
        at = event.id if self.order else event.t
        if not self.start <= at <= self.stop:
            return None
        return round((at - self.start) / max(1, self.stop - self.start) * COLUMNS)


def oldest(recorder: Recorder) -> int:
    """Return the number of the oldest event that is kept."""
    return recorder.last - len(recorder) + 1


def at_time(recorder: Recorder, t: int) -> int:
    """Return the number of the first kept event at `t` ns or later; one past the newest when there is none."""
    low, high = oldest(recorder), recorder.last + 1
    while low < high:
        middle = (low + high) // 2
        event = recorder.event(middle)
        if event is None or event.t < t:
            low = middle + 1
        else:
            high = middle
    return low


def boot(lab: Lab, name: str) -> Boot:
    """Return the boot of a domain, from the first events since it was created."""
    recorder, domain = lab.machine.world.recorder, domain_named(lab, name)
    first = at_time(recorder, domain.created)
    return boot_of(recorder.after(first - 1, BOOT_EVENTS), name, domain.domid)


def window_of(lab: Lab, look: Look, name: str) -> Window:
    """Return the window `look` names: what was zoomed to, the last moments, or else the boot of `name`."""
    recorder, now = lab.machine.world.recorder, lab.machine.now
    order = look.get("boot.axis") == "order"
    start, stop = look.get("boot.from"), look.get("boot.to")
    if isinstance(start, int | float) and isinstance(stop, int | float) and 0 <= start < stop < 1 << 62:
        start, stop = int(start), max(int(start) + 1, int(stop))
    elif look.get("boot.follow") is True:
        span = look.get("boot.span")
        wide = int(span) if isinstance(span, int | float) and 1 <= span < 1 << 62 else 200 if order else 1_000_000
        stop = recorder.last if order else now
        start = max(0, stop - wide)
    else:
        found = boot(lab, name)
        start, stop = found.start, max(found.stop, found.start + LEAST_NS)
        if order:
            start, stop = at_time(recorder, start), max(at_time(recorder, stop + 1) - 1, at_time(recorder, start) + 1)
    if order:
        return Window(True, start, stop, max(start, oldest(recorder)), min(stop, recorder.last) + 1)
    return Window(False, start, stop, at_time(recorder, start), at_time(recorder, stop + 1))


def timeline(lab: Lab, look: Look, name: str) -> dict[str, Any]:
    """Return the lanes, the axis, and how much of the window they show."""
    recorder = lab.machine.world.recorder
    window = window_of(lab, look, name)
    there = max(0, window.last - window.first)
    begin = max(window.first, window.last - LIMIT) if look.get("boot.follow") is True else window.first
    events = recorder.after(begin - 1, min(there, LIMIT))
    chosen = selected(lab, look, window)
    return {
        "axis": "order" if window.order else "time",
        "follow": look.get("boot.follow") is True,
        "start": window.start,
        "stop": window.stop,
        "low": oldest(recorder) if window.order else 0,
        "high": recorder.last if window.order else lab.machine.now,
        "now": _now(lab, window),
        "columns": COLUMNS,
        "ticks": _ticks(window),
        "lanes": _lanes(lab, name, events, window),
        "events": there,
        "left_out": there - len(events),
        "shown": [window.column(events[0]), window.column(events[-1])] if events else None,
        "dropped": recorder.dropped,
        "overview": _overview(recorder, lab.machine.now, window.order),
        "selected": chosen,
    }


def _now(lab: Lab, window: Window) -> int | None:
    at = lab.machine.world.recorder.last if window.order else lab.machine.now
    if not window.start <= at <= window.stop:
        return None
    return round((at - window.start) / max(1, window.stop - window.start) * COLUMNS)


def _names(lab: Lab, chosen: str) -> list[tuple[str, int]]:
    """The domains that get a lane: the chosen one, dom0, then the others as they were created."""
    found = [(domain.name, domain.domid) for domain in lab.machine.toolstack.list()]
    found.sort(key=lambda row: (row[0] != chosen, row[1]))
    return found[:LANES]


def _lanes(lab: Lab, chosen: str, events: Iterable[Event], window: Window) -> list[dict[str, Any]]:
    names = _names(lab, chosen)
    sorted_out: dict[str, dict[str, list[Event]]] = {name: defaultdict(list) for name, _ in names}
    for event in events:
        lane = sorted_out.get(event.source)
        if lane is not None:
            lane[_ROW_OF.get(event.kind, "other")].append(event)
    return [
        {"domain": name, "domid": domid, "rows": [_row(row, sorted_out[name].get(row, []), window) for row, _ in ROWS]}
        for name, domid in names
    ]


def _row(name: str, events: list[Event], window: Window) -> dict[str, Any]:
    columns: dict[int, list[Any]] = {}
    labels = 0
    for event in events:
        at = window.column(event)
        if at is None:
            continue
        mark = columns.get(at)
        if mark is not None:
            mark[1] += 1
            continue
        columns[at] = mark = [at, 1, event.id]
        if name in _LABELLED and labels < LABELS:
            labels += 1
            mark.append(_label(event))
    return {"name": name, "count": len(events), "marks": list(columns.values())}


def _label(event: Event) -> str:
    if event.kind == "console.line":
        return visible(str(event.fields.get("text", "")), 60)
    return visible(f"{event.fields.get('state', '')}", 4)


def _ticks(window: Window) -> list[list[Any]]:
    """Round steps along the axis: [column, words]."""
    span = max(1, window.stop - window.start)
    step = round_step(span, 6)
    ticks: list[list[Any]] = []
    at = -(-window.start // step) * step
    while at <= window.stop:
        words = f"#{at:,}" if window.order else _spoken(at, step)
        ticks.append([round((at - window.start) / span * COLUMNS), words])
        at += step
    return ticks


def _spoken(t: int, step: int) -> str:
    """A time in the unit that suits it, with as many decimals as tell it from the next tick."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if t >= size or (unit == "us" and t):
            return f"{t / size:.{max(0, ceil(log10(size / step)))}f} {unit}"
    return "0"


def _overview(recorder: Recorder, now: int, order: bool) -> list[int]:
    """How many events there were in each part of the whole history that is kept."""
    if order or not now:
        return []
    edges = [at_time(recorder, now * part // OVERVIEW) for part in range(OVERVIEW)]
    edges.append(recorder.last + 1)
    return [after - before for before, after in pairwise(edges)]


def said(event: Event, limit: int = 160) -> str:
    """Return what happened in a line of plain characters."""
    fields = event.fields
    match event.kind:
        case "xen.hypercall":
            words = f"{fields.get('name')} {fields.get('args', '')}".rstrip() + f" = {fields.get('ret')}"
        case "evtchn.notify":
            words = f"port {fields.get('port')} to domain {fields.get('remote')}, port {fields.get('remote_port')}"
        case "evtchn.upcall":
            words = "ports " + (", ".join(map(str, fields.get("ports", ()))) or "none")
        case "console.line":
            words = str(fields.get("text", ""))
        case "xenbus.state":
            words = f"{fields.get('path')}: {fields.get('state')} {fields.get('name', '')}"
        case kind if kind.startswith("xenstore."):
            words = f"{fields.get('path', '')} = {fields.get('value', '')}" if "value" in fields else str(fields.get("path", ""))
        case _:
            words = ", ".join(f"{key} {value}" for key, value in fields.items())
    return visible(words, limit)


def selected(lab: Lab, look: Look, window: Window) -> dict[str, Any] | None:
    """Return the event that `look` names, its neighbours of the same kind, and what led to it, nearest first."""
    recorder = lab.machine.world.recorder
    wanted = look.get("boot.event")
    event = recorder.event(int(wanted)) if isinstance(wanted, int | float) and 0 < wanted < 1 << 62 else None
    if event is None:
        return None
    chain = [event]
    while len(chain) <= CHAIN and (link := recorder.event(chain[-1].cause)) is not None:
        chain.append(link)
    return {
        **_told(event, window),
        "fields": [[visible(str(key), 40), visible(str(value), 300)] for key, value in list(event.fields.items())[:12]],
        "before": _near(recorder, event, -1),
        "after": _near(recorder, event, 1),
        "causes": [_told(link, window) for link in chain[1:]],
        "end": "outside" if not chain[-1].cause else "more" if len(chain) > CHAIN else "dropped",
    }


def _told(event: Event, window: Window) -> dict[str, Any]:
    return {
        "id": event.id,
        "t": event.t,
        "source": visible(event.source, 64),
        "kind": event.kind,
        "row": _ROW_OF.get(event.kind, "other"),
        "words": said(event),
        "column": window.column(event),
    }


def _near(recorder: Recorder, event: Event, step: int) -> int | None:
    """The next event of the same row and source, in one direction, among the NEARBY next."""
    row = _ROW_OF.get(event.kind, "other")
    for id in range(event.id + step, event.id + step * NEARBY, step):
        other = recorder.event(id)
        if other is None:
            return None
        if other.source == event.source and _ROW_OF.get(other.kind, "other") == row:
            return id
    return None
