"""conversations: who talked to whom and how much; and what went past in each interval: rows for tables, and a graph.

    conversations   a row for each pair of ends, as Wireshark's Statistics, Conversations: "eth", "ip", "tcp", "udp"
    io_rows         frames and bytes in each interval, of all frames and of each display filter (tshark -z io,stat)
    io_graph        the same, drawn
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.plot.axes import SECONDS, clock, counted, drawing, label, nothing, told
from mirage_lab.plot.scale import round_step, spoken
from mirage_lab.plot.segments import TCP, UDP, Head, heads
from mirage_lab.tcpip.displayfilter import DisplayFilter, compile_filter
from mirage_lab.tcpip.wire.address import mac_text
from mirage_lab.tracing.svg import OKABE_ITO, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.tracing.capture import Capture

__all__ = ["INTERVALS", "conversations", "io_graph", "io_rows"]

INTERVALS: Final = 100_000
KINDS: Final = ("eth", "ip", "tcp", "udp")
UNITS: Final = ("frames", "bytes", "bits")
_STYLES: Final = ("solid", "dashed", "dotted", "dashdot")
_MARKERS: Final = ("o", "s", "^", "D", "v", "X")


def conversations(capture: Capture, kind: str = "tcp") -> list[dict[str, Any]]:
    """Return a row for each pair of ends, in order of appearance; the one that spoke first is `a`.

    Frames that the lan lost are counted: they were sent.  `start` and `duration` are s.  Raises ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"conversations of {kind!r}: there are {', '.join(KINDS)}")
    found: dict[tuple[tuple[str, int], tuple[str, int]], list[int]] = {}
    for head in heads(capture):
        pair = _pair(head, kind)
        if pair is None:
            continue
        there = 0
        row = found.get(pair)
        if row is None:
            there, row = 1, found.get((pair[1], pair[0]))
            if row is None:
                there, row = 0, found.setdefault(pair, [0, 0, 0, 0, head.t, head.t])
        row[2 * there] += 1
        row[2 * there + 1] += head.size
        row[4], row[5] = min(row[4], head.t), max(row[5], head.t)
    rows = []
    for (a, b), (frames, size, back, back_size, first, last) in found.items():
        ends = {"a": a[0], "a_port": a[1], "b": b[0], "b_port": b[1]} if kind in ("tcp", "udp") else {"a": a[0], "b": b[0]}
        lasted = (last - first) / SECONDS
        rows.append({
            **ends, "frames": frames + back, "bytes": size + back_size, "frames_a_b": frames, "bytes_a_b": size, "frames_b_a": back, "bytes_b_a": back_size,
            "start": first / SECONDS, "duration": lasted,
            "mbits_a_b": size * 8 / lasted / 1e6 if lasted else None, "mbits_b_a": back_size * 8 / lasted / 1e6 if lasted else None,
        })
    return rows


def _pair(head: Head, kind: str) -> tuple[tuple[str, int], tuple[str, int]] | None:
    if kind == "eth":
        return ((mac_text(head.data[6:12]), 0), (mac_text(head.data[:6]), 0)) if len(head.data) >= 14 else None
    if kind == "ip":
        return ((head.src, 0), (head.dst, 0)) if head.proto is not None else None
    if head.proto != (TCP if kind == "tcp" else UDP) or not head.sport:
        return None
    return (head.src, head.sport), (head.dst, head.dport)


def io_rows(capture: Capture, *filters: str, interval_ns: int) -> list[dict[str, Any]]:
    """Return a row for each interval from the first frame on: `start` (s), `frames`, `bytes`, and both for each filter.

    Columns of a filter are called "frames tcp.port == 80".  Raises ValueError for more than 100,000 intervals, FilterError.
    """
    times, counted = _count(capture, filters, interval_ns)
    rows = []
    for place, t in enumerate(times):
        row: dict[str, Any] = {"start": t / SECONDS}
        for text, (frames, size) in zip(("", *filters), counted, strict=True):
            row[f"frames {text}".strip()], row[f"bytes {text}".strip()] = frames[place], size[place]
        rows.append(row)
    return rows


def _count(capture: Capture, filters: Sequence[str], interval_ns: int) -> tuple[list[int], list[tuple[list[int], list[int]]]]:
    """Return when each interval starts (ns), and frames and bytes in each: of all, then of each filter."""
    compiled: list[DisplayFilter | None] = [None, *(compile_filter(text) for text in filters)]
    every = list(heads(capture))
    if not every:
        return [], [([], []) for _ in compiled]
    start = min(head.t for head in every)
    count = (max(head.t for head in every) - start) // max(interval_ns, 1) + 1
    if interval_ns < 1 or count > INTERVALS:
        raise ValueError(f"intervals of {interval_ns} ns: at most {INTERVALS:,} are counted; take longer ones")
    counted = [([0] * count, [0] * count) for _ in compiled]
    first = every[0].t
    for head in every:
        place = (head.t - start) // interval_ns
        for wanted, (frames, size) in zip(compiled, counted, strict=True):
            if wanted is None or wanted.matches(head.n, head.t - first, head.data):
                frames[place] += 1
                size[place] += head.size
    return [start + place * interval_ns for place in range(count)], counted


def io_graph(
    capture: Capture, *filters: str, unit: str = "frames", interval_ns: int | None = None, ax: Axes | None = None,
) -> Axes:
    """Draw frames, bytes or bits per interval against time (s): a curve of all frames and one for each display filter.

    Without `interval_ns`, about a hundred intervals.  Raises ValueError for an unknown unit or too many intervals, FilterError.
    """
    if unit not in UNITS:
        raise ValueError(f"unit={unit!r}: there are {', '.join(UNITS)}")
    ax = drawing(ax, 9.5, 3.6)
    times = [frame.t for frame in capture.frames]
    if not times:
        return nothing(ax, f"I/O graph of {capture.name}: no frames yet", clock(capture), unit)
    interval_ns = interval_ns or round_step(max(times) - min(times), 100, 1_000)
    starts, counts = _count(capture, filters, interval_ns)
    at = [t / SECONDS for t in starts]
    lines = [f"I/O graph of {capture.name}: {unit} in each {spoken(interval_ns)}"]
    for place, (text, (frames, size)) in enumerate(zip(("", *filters), counts, strict=True)):
        values = frames if unit == "frames" else size if unit == "bytes" else [8 * each for each in size]
        name = visible(text.strip(), 40) or "all frames"
        colour, marker, wide = (OKABE_ITO[(place - 1) % 6], _MARKERS[(place - 1) % 6], 1.8) if place else ("#1b1b1b", None, 1.4)
        marked = [at for at, value in enumerate(values) if value]
        ax.plot(
            at, values, color=colour, linewidth=wide, drawstyle="steps-post", linestyle=_STYLES[place % 4], marker=marker, markersize=3.5,
            markevery=marked, label=name, gid=f"io {text}".strip(),
        )
        lines.append(f"  {name}: {sum(values):,} {unit}, at most {max(values):,} in an interval")
    ax.set_ylim(bottom=0)
    counted(ax.yaxis)
    ax.grid(alpha=0.25)
    label(ax, f"I/O graph of {capture.name}", clock(capture), f"{unit} in {spoken(interval_ns)}")
    return told(ax, *lines)
