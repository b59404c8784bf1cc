"""throughput: how fast bits went past, over time.

Of a capture: one curve per sending host, in bins: instantaneous (each bin by itself, thin) and the average of the last ten
bins (thick).  Whole frames are counted; frames the lan lost are not.

Of a flow, as tcptrace draws it: a dot for each segment (its data over the time since the one before), the average over the
last ten segments, the average since the start, and the goodput: what was acknowledged since the start, bytes sent twice
counted once.  The clock starts with the first data, whose own bytes took no time yet and are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mirage_lab.plot.axes import SECONDS, clock, drawing, label, nothing, told
from mirage_lab.plot.flows import Flow, flows, pick
from mirage_lab.plot.hosts import Hosts
from mirage_lab.plot.scale import round_step
from mirage_lab.plot.segments import Head, heads, host_of, segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.tracing.capture import Capture

__all__ = ["AVERAGED", "rates", "segment_rates", "throughput"]

AVERAGED = 10
"""Bins, or segments, in the moving average."""

SENDERS = 12
"""Senders with curves of their own, those with most bytes."""

BINS = 100_000
_BINS = 100
_Y = "throughput (Mbit/s)"


class _Timed(Protocol):
    t: int
    size: int
    lost: bool


def rates(frames: Sequence[_Timed], width: int, start: int, stop: int) -> list[float]:
    """Return Mbit/s in each bin of `width` ns between `start` and `stop`, both included."""
    bits = [0] * ((stop - start) // width + 1)
    for seen in frames:
        if not seen.lost:
            bits[(seen.t - start) // width] += 8 * seen.size
    return [count * 1e3 / width for count in bits]


def segment_rates(flow: Flow) -> list[tuple[int, float, float, float]]:
    """Return (t, instantaneous, average of the last ten, since the start) after each segment of data: ns and Mbit/s.

    Segments that share an instant share a dot: their bytes are summed.
    """
    sent = [one for one in flow.sent if one.length and not one.lost]
    if not sent:
        return []
    groups: list[tuple[int, int]] = []
    for one in sent:
        if groups and groups[-1][0] == one.t:
            groups[-1] = (one.t, groups[-1][1] + one.length)
        else:
            groups.append((one.t, one.length))
    begun, total = groups[0]
    upto = [total]
    found = []
    for place in range(1, len(groups)):
        t, size = groups[place]
        total += size
        upto.append(total)
        back = max(0, place - AVERAGED)
        since, before = groups[back][0], upto[back]
        if t > max(since, begun, groups[place - 1][0]):
            each = size * 8e3 / (t - groups[place - 1][0])
            found.append((t, each, (total - before) * 8e3 / (t - since), (total - upto[0]) * 8e3 / (t - begun)))
    return found


def throughput(
    capture: Capture, flow: Flow | str | int | None = None, ax: Axes | None = None, *, bin_ns: int | None = None, hosts: Hosts | None = None,
) -> Axes:
    """Draw the throughput of each sender (or of one flow) in Mbit/s against seconds; return the Axes.

    Raises ValueError when `bin_ns` would make more than 100,000 bins, or there is no such flow.
    """
    hosts = hosts or Hosts()
    if flow is not None:
        return _of_flow(capture, flow if isinstance(flow, Flow) else pick(flows(segments(capture)), flow), ax, hosts)
    by_sender: dict[str, list[Head]] = defaultdict(list)
    start = stop = None
    for head in heads(capture):
        by_sender[head.src].append(head)
        start = head.t if start is None else min(start, head.t)
        stop = head.t if stop is None else max(stop, head.t)
    if start is None or stop is None:
        return nothing(drawing(ax, 9.5, 3.6), f"throughput on {capture.name}: no frames yet", clock(capture), _Y)
    ax = drawing(ax, 9.5, 3.6)
    width = bin_ns or round_step(stop - start, _BINS, 1_000)
    start -= start % width
    if width < 1 or (stop - start) // width > BINS:
        raise ValueError(f"bin_ns={bin_ns}: {stop - start} ns would be more than {BINS:,} bins; take wider ones")
    lines = [f"throughput on {capture.name}: bins of {width / 1e6:g} ms, average of {AVERAGED}"]
    for sender in by_sender:
        hosts.meet(hosts.name(sender))
    busiest = sorted(by_sender, key=lambda sender: -sum(seen.size for seen in by_sender[sender]))[:SENDERS]
    for sender in [sender for sender in by_sender if sender in busiest]:
        sent = by_sender[sender]
        name = hosts.name(sender)
        mbits = rates(sent, width, start, stop)
        edges = [(start + place * width) / SECONDS for place in range(len(mbits))]
        average = [sum(mbits[max(0, i + 1 - AVERAGED) : i + 1]) / min(i + 1, AVERAGED) for i in range(len(mbits))]
        colour = hosts.colour(name)
        ax.step(edges, mbits, where="post", color=colour, linewidth=0.7, alpha=0.6, label=f"{name}: each bin", gid=f"rate {sender}")
        ax.plot(edges, average, color=colour, linewidth=2, label=f"{name}: average", gid=f"average {sender}")
        carried = sum(seen.size for seen in sent if not seen.lost)
        lines.append(f"  {name}: {carried:,} bytes in {len(sent)} frames, at most {max(mbits):.3f} Mbit/s in a bin")
    if len(busiest) < len(by_sender):
        lines.insert(1, f"  the {SENDERS} busiest of {len(by_sender)} senders")
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)
    label(ax, f"throughput on {capture.name}", clock(capture), _Y)
    return told(ax, *lines)


def _of_flow(capture: Capture, flow: Flow, ax: Axes | None, hosts: Hosts) -> Axes:
    """tcptrace's throughput graph."""
    ax = drawing(ax, 9.5, 3.8)
    sender, receiver = (hosts.name(host_of(end)) for end in (flow.src, flow.dst))
    colour = hosts.meet(sender)
    found = segment_rates(flow)
    if not found:
        return nothing(ax, f"throughput of {flow.name}: too little data", clock(capture), _Y)
    times = [t / SECONDS for t, *_ in found]
    begun = next(one.t for one in flow.sent if one.length and not one.lost)
    first = sum(one.length for one in flow.sent if one.t == begun and not one.lost)
    acked = [(one.t, max(0, one.ack - 1 - first)) for one in flow.acked if one.t > begun and not one.lost]
    ax.plot(times, [row[1] for row in found], linestyle="none", marker=".", markersize=3, color="#e69f00", label="each segment", gid="instantaneous")
    ax.plot(times, [row[2] for row in found], color=colour, linewidth=1.6, label=f"average of {AVERAGED} segments", gid="average")
    ax.plot(times, [row[3] for row in found], color="#1b1b1b", linewidth=1.4, linestyle="dashed", label="since the start", gid="since start")
    if acked:
        ax.plot(
            [t / SECONDS for t, _ in acked], [count * 8e3 / (t - begun) for t, count in acked],
            color="#009e73", linewidth=1.4, linestyle="dotted", label="goodput: acknowledged since the start", gid="goodput",
        )
    ordinary = sorted(row[1] for row in found)
    top = max(max(row[2] for row in found), ordinary[int(len(ordinary) * 0.95)] if len(ordinary) > AVERAGED else ordinary[-1])
    ax.set_ylim(0, 1.15 * top)
    ax.grid(alpha=0.25)
    label(ax, f"throughput {sender} -> {receiver}   ({flow.name})", clock(capture), _Y)
    high = sum(row[1] > 1.15 * top for row in found)
    lines = [f"throughput of {flow.name}: {found[-1][3]:.3f} Mbit/s since the start, at most {max(row[2] for row in found):.3f} over {AVERAGED} segments"]
    if high:
        lines.append(f"  {high} dots lie above the picture, up to {ordinary[-1]:,.1f} Mbit/s")
    return told(ax, *lines)
