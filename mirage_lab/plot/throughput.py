"""throughput: how fast bits went past, over time.

One curve per sending host: instantaneous (each bin by itself, thin) and the average of the last ten bins (thick).  Whole
frames are counted; frames the lan lost are not.  With a flow, its segments' frames only.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mirage_lab.plot.axes import SECONDS, drawing, label, told
from mirage_lab.plot.flows import Flow, flows, pick
from mirage_lab.plot.frames import Seen, read
from mirage_lab.plot.hosts import Hosts
from mirage_lab.plot.scale import round_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.tracing.capture import Capture

__all__ = ["AVERAGED", "rates", "throughput"]

AVERAGED = 10
"""Bins in the moving average."""

_BINS = 100


def rates(frames: list[Seen], width: int, start: int, stop: int) -> list[float]:
    """Return Mbit/s in each bin of `width` ns between `start` and `stop`, both included."""
    bits = [0] * ((stop - start) // width + 1)
    for seen in frames:
        if not seen.lost:
            bits[(seen.t - start) // width] += 8 * seen.length
    return [count * 1e3 / width for count in bits]


def throughput(
    capture: Capture, flow: Flow | str | int | None = None, ax: Axes | None = None, *, bin_ns: int | None = None, hosts: Hosts | None = None,
) -> Axes:
    """Draw the throughput of each sender (or of one flow) in Mbit/s against seconds; return the Axes."""
    hosts = hosts or Hosts()
    frames = read(capture, hosts)
    if flow is not None:
        wanted = pick(flows(frames), flow)
        numbers = {sent.n for sent in wanted.sent}
        frames = [seen for seen in frames if seen.n in numbers]
    ax = drawing(ax, 8, 3.6)
    by_sender: dict[str, list[Seen]] = defaultdict(list)
    for seen in frames:
        by_sender[seen.src].append(seen)
    if not frames:
        label(ax, f"throughput on {capture.name}: no frames yet", "virtual time (s)", "throughput (Mbit/s)")
        return told(ax, f"throughput on {capture.name}: no frames yet")
    start, stop = frames[0].t, frames[-1].t
    width = bin_ns or round_step(stop - start, _BINS, 1_000)
    start -= start % width
    lines = [f"throughput on {capture.name}: bins of {width / 1e6:g} ms, average of {AVERAGED}"]
    for sender, sent in by_sender.items():
        name = hosts.name(sender)
        mbits = rates(sent, width, start, stop)
        edges = [(start + place * width) / SECONDS for place in range(len(mbits))]
        average = [sum(mbits[max(0, i + 1 - AVERAGED) : i + 1]) / min(i + 1, AVERAGED) for i in range(len(mbits))]
        colour = hosts.colour(name)
        ax.step(edges, mbits, where="post", color=colour, linewidth=0.7, alpha=0.6, label=f"{name}: each bin", gid=f"rate {sender}")
        ax.plot(edges, average, color=colour, linewidth=2, label=f"{name}: average", gid=f"average {sender}")
        carried = sum(seen.length for seen in sent if not seen.lost)
        lines.append(f"  {name}: {carried:,} bytes in {len(sent)} frames, at most {max(mbits):.3f} Mbit/s in a bin")
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)
    label(ax, f"throughput on {capture.name}", "virtual time (s)", "throughput (Mbit/s)")
    return told(ax, *lines)
