"""packets: the frames of a capture: a table of any length, a display filter, one frame's fields and bytes, and its causes.

    snapshot: which captures there are, how many frames match and how far the filter has looked
    packets.rows: at most ROWS rows from a place or around a frame, so that scrolling waits for no snapshot
    packets.scan: let the filter look further     packets.packet: one frame (packets_frame)

Each of them lets the index (packets_index) read a bounded number of frames; the front end asks until it is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.pictures import hosts
from mirage_lab.lab.said import LabError
from mirage_lab.lab.views.kinds import Act, Action, Args, Ask, Look, View, text, whole
from mirage_lab.lab.views.packets_frame import packet
from mirage_lab.lab.views.packets_index import Index, Matches
from mirage_lab.plot.hosts import Hosts
from mirage_lab.tcpip.dissect import Packet, dissect
from mirage_lab.tracing.capture import Capture, Frame
from mirage_lab.tracing.svg import MUTED, OKABE_ITO, Svg, visible

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["COLOURS", "EXAMPLES", "VIEW"]

ROWS: Final = 200
"""Rows of one answer."""
PAINTED: Final = 12
CAPTURES: Final = 100
FILTER: Final = 1_000
"""Characters of a filter."""
STEP_FRAMES, ASK_FRAMES = 400, 5_000
"""Frames that a filter looks at in one snapshot and in one question."""
STEP_STREAMS, ASK_STREAMS = 1_000, 15_000
"""Frames whose sequence numbers are noted in one snapshot and in one question."""
NUMBER: Final = 1 << 50

COLOURS: Final[Mapping[str, int]] = {"TCP": 0, "UDP": 2, "ARP": 4, "ICMP": 3}
"""Place in the palette, by protocol; the word stands beside each mark."""

EXAMPLES: Final = ("tcp", "arp or icmp", "tcp.flags.syn == 1", "tcp.len > 0", "ip.addr == 10.0.0.2", 'tcp.payload contains "GET"', "udp")
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")


def chosen(lab: Lab, look: Look) -> Capture | None:
    """Return the capture that is looked at, else the first; None in a lab without."""
    captures = lab.machine.captures
    return captures.get(str(look.get("packets.capture")), next(iter(captures.values()), None))


def _filtered(lab: Lab, capture: Capture, wanted: str) -> tuple[Matches, str]:
    """Return what matches, and what is wrong with the filter: with a wrong one every frame is shown."""
    index = Index.of(capture)
    try:
        return index.matching(wanted), ""
    except LabError as error:
        return index.matching(""), "\n".join(visible(line, 400) for line in str(error).splitlines()[:3])


def _wanted(look: Look) -> str:
    return str(look.get("packets.filter") or "").strip()[:FILTER]


def snapshot(lab: Lab, look: Look) -> dict[str, Any]:
    """Return the captures, how many frames match, how far the filter has looked; a bounded number of frames further."""
    captures = lab.machine.captures
    data: dict[str, Any] = {
        "captures": [
            {"name": name, "label": visible(name, 64), "frames": len(capture), "bytes": capture.bytes, "dropped": capture.dropped}
            for name, capture in list(captures.items())[:CAPTURES]
        ],
        "lans": [name for name in lab.machine.lans if name not in captures][:CAPTURES],
        "domains": [name for name, lans in lab.machine.plugged.items() if lans and name not in captures and lab.machine.exists(name)][:CAPTURES],
        "capture": None,
        "filter": _wanted(look),
        "wrong": "",
        "examples": list(EXAMPLES),
        "selected": look.get("packets.selected"),
    }
    capture = chosen(lab, look)
    if capture is None:
        return data
    matches, data["wrong"] = _filtered(lab, capture, data["filter"])
    matches.advance(capture, STEP_FRAMES)
    Index.of(capture).streams.advance(capture, STEP_STREAMS)
    data["capture"] = capture.name
    data["trace"] = f"lab.traces[{list(captures).index(capture.name)}]"
    return data | _progress(capture, matches)


def _progress(capture: Capture, matches: Matches) -> dict[str, Any]:
    index = Index.of(capture)
    return {
        "serial": index.serial,
        "frames": len(capture),
        "first": capture.dropped + 1,
        "last": capture.last,
        "matching": matches.count(capture),
        "scanned": max(0, matches.scanned - capture.dropped),
        "numbered": max(0, index.streams.scanned - capture.dropped),
        "done": matches.done(capture) and index.streams.scanned >= capture.last,
    }


# what the front end asks -----------------------------------------------------------------------------------------


def _capture(lab: Lab, args: Args) -> Capture:
    name = text(args, "capture")
    found = lab.machine.captures.get(name)
    if found is None:
        raise LabError(f"the capture {name!r} has not begun at this time: lab.capture(lan) begins it")
    return found


def _scan(lab: Lab, args: Args) -> dict[str, Any]:
    """Look further with the filter; return how far it came."""
    capture = _capture(lab, args)
    matches = Index.of(capture).matching(text(args, "filter", FILTER))
    matches.advance(capture, ASK_FRAMES)
    Index.of(capture).streams.advance(capture, ASK_STREAMS)
    return _progress(capture, matches)


def _rows(lab: Lab, args: Args) -> dict[str, Any]:
    """Return rows from `start` on, or (with `n`) the page of `count` rows with frame `n`, and the row it stands in."""
    capture = _capture(lab, args)
    matches = Index.of(capture).matching(text(args, "filter", FILTER))
    count = whole(args, "count", 1, ROWS)
    at = matches.row_of(capture, whole(args, "n", 0, NUMBER)) if "n" in args else None
    start = at - at % count if at is not None else whole(args, "start", 0, NUMBER)
    names = hosts(lab.machine)
    rows = [row_of(capture, frame, names) for n in matches.window(capture, start, count) if (frame := capture.frame_number(n)) is not None]
    return {"start": start, "rows": rows, "at": at} | _progress(capture, matches)


def row_of(capture: Capture, frame: Frame, names: Hosts) -> list[Any]:
    """Return [n, t, source, its name, destination, its name, protocol, length, info, fate]."""
    found = dissect(frame.data)
    src, dst = found.src, found.dst
    return [
        frame.n,
        frame.t,
        visible(src, 40),
        _named(src, names),
        "broadcast" if dst == "ff:ff:ff:ff:ff:ff" else visible(dst, 40),
        _named(dst, names),
        visible(found.protocol, 20),
        len(frame.data),
        _info(capture, frame, found),
        visible(frame.fate, 60),
    ]


def _named(address: str, names: Hosts) -> str:
    return visible(names.name(address), 40) if names.known(address) else ""


def _info(capture: Capture, frame: Frame, found: Packet) -> str:
    """The line of a frame, with sequence numbers relative to the first where that is known."""
    if found.tcp is None:
        return visible(found.info, 300)
    bases = Index.of(capture).streams.bases(frame.n, frame.data)
    return visible(found.info.replace(found.tcp.info(), found.tcp.info(*bases)), 300)


def _packet(lab: Lab, args: Args) -> dict[str, Any]:
    """Return one frame: layers, bytes, fate, causes."""
    capture = _capture(lab, args)
    n = whole(args, "n", 0, NUMBER)
    frame = capture.frame_number(n)
    told = packet(lab, capture, n, _info(capture, frame, dissect(frame.data)) if frame is not None else "")
    trace = f"lab.traces[{list(lab.machine.captures).index(capture.name)}]"
    return told | {"lines": [f"{trace}.packet({n})", f"{trace}.causes({n})"]}


# what its buttons do ---------------------------------------------------------------------------------------------


def _begin(lab: Lab, args: Args) -> Act:
    """Capture on a lan, or at a domain's port."""
    if "domain" in args:
        name = text(args, "domain", 64)
        trace, line = lab.capture(lab.vm(name)), f"lab.capture(lab.vm({name!r}))"
    else:
        name = text(args, "lan", 64)
        trace, line = lab.capture(name), f"lab.capture({name!r})"
    return Act(line, f"capturing {trace.name} from now on: lab.run(...) lets something be said")


def _save(lab: Lab, args: Args) -> Act:
    """Write a capture as pcapng beside the notebook, under its own name."""
    capture = _capture(lab, args)
    if not _FILE.fullmatch(capture.name):
        raise LabError(f"{capture.name!r} is no name for a file: lab.capture(lan).save(path) writes it where you say")
    place = list(lab.machine.captures).index(capture.name)
    return Act(f"lab.traces[{place}].save({capture.name + '.pcapng'!r})", lab.traces[place].save(f"{capture.name}.pcapng"))


# words and picture -----------------------------------------------------------------------------------------------


def _shown(lab: Lab, look: Look, count: int) -> tuple[Capture, str, list[list[Any]]] | None:
    """The capture, a title, and rows around the chosen frame, else the first; of what the filter has found so far."""
    capture = chosen(lab, look)
    if capture is None:
        return None
    matches, error = _filtered(lab, capture, _wanted(look))
    matches.advance(capture, ASK_FRAMES)
    streams = Index.of(capture).streams
    streams.advance(capture, ASK_STREAMS)
    dropped = f", the oldest {capture.dropped:,} dropped" if capture.dropped else ""
    title = f"{visible(capture.name, 60)}: {len(capture):,} frames{dropped}"
    if _wanted(look):
        told = "the filter cannot be read" if error else f"{matches.count(capture):,} match {visible(_wanted(look), 80)}"
        title += f"; {told}" + ("" if matches.done(capture) else " so far")
    selected = look.get("packets.selected")
    start = max(0, matches.row_of(capture, selected) - count // 2) if isinstance(selected, int) and 0 < selected < NUMBER else 0
    names = hosts(lab.machine)
    rows = [row_of(capture, frame, names) for n in matches.window(capture, start, count) if (frame := capture.frame_number(n)) is not None]
    return capture, title, rows


def words(lab: Lab, look: Look) -> str:
    """Return the first frames, or those around the chosen one."""
    with lab.lock:
        shown = _shown(lab, look, 6)
    if shown is None:
        return "no capture yet: lab.capture(lan) begins one"
    capture, title, rows = shown
    if not rows:
        return f"{title}\n{'no frame matches' if len(capture) else 'nothing was said yet: lab.run(seconds(1))'}"
    lines = [title]
    for n, t, src, src_name, dst, dst_name, protocol, length, info, fate in rows:
        lost = "" if fate == "delivered" else f" [{fate}]"
        lines.append(f"{n:>5} {t / 1e9:.6f} {src_name or src} -> {dst_name or dst} {protocol} {length} {visible(info, 90)}{lost}")
    return "\n".join(lines)


def picture(lab: Lab, look: Look) -> str | None:
    """Return a table of frames around the chosen one, and its layers; None without a capture."""
    with lab.lock:
        shown = _shown(lab, look, PAINTED)
    if shown is None:
        return None
    capture, title, rows = shown
    selected = look.get("packets.selected")
    frame = capture.frame_number(selected) if isinstance(selected, int) and 0 < selected < NUMBER else None
    layers = dissect(frame.data).layers[:6] if frame is not None else []
    svg = Svg(900, 64 + 18 * len(rows) + (30 + 17 * len(layers) if layers else 0), "packets", f"{title}; {len(rows)} of them as a table")
    svg.text(14, 24, title, bold=True, limit=120)
    places = (14, 62, 142, 262, 392, 448, 500)
    for x, head in zip(places, ("n", "time (s)", "source", "destination", "protocol", "length", "info"), strict=True):
        svg.text(x, 44, head, size=11, fill=MUTED)
    for place, (n, t, src, src_name, dst, dst_name, protocol, length, info, fate) in enumerate(rows):
        y = 62 + 18 * place
        if n == selected:
            svg.rect(8, y - 13, 884, 18, fill="#e8eef4")
        svg.rect(382, y - 9, 6, 10, fill=OKABE_ITO[COLOURS[protocol]] if protocol in COLOURS else MUTED)
        told = info if fate == "delivered" else f"{info} [{fate}]"
        cells = (str(n), f"{t / 1e9:.6f}", src_name or src, dst_name or dst, protocol, str(length), told)
        for x, cell, limit in zip(places, cells, (7, 12, 18, 19, 8, 7, 56), strict=True):
            svg.text(x, y, cell, size=11, limit=limit)
    for place, layer in enumerate(layers):
        y = 82 + 18 * len(rows) + 17 * place
        told = ", ".join(f"{field.name} {field.value}" for field in layer.fields)
        svg.text(14, y, layer.name, size=11, bold=True, limit=14)
        svg.text(110, y, told, size=11, limit=130)
    return str(svg)


ACTIONS: Final[Mapping[str, Action]] = {"packets.capture": _begin, "packets.save": _save}
ASKS: Final[Mapping[str, Ask]] = {"packets.rows": _rows, "packets.scan": _scan, "packets.packet": _packet}

VIEW: Final = View("packets", "Packets", snapshot, words, picture, ACTIONS, ASKS)
