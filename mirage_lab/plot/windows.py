"""windows: what was outstanding, what was allowed, how large the segments were, and how long a round trip took.

    outstanding      bytes sent and not yet acknowledged, their average, and the window that bounds them (tcptrace's owin)
    window_scaling   the receiver's window alone, against the bytes in flight (Wireshark's)
    segment_size     bytes of data in each segment, the average, the MSS (tcptrace's ssize)
    round_trip       one dot for each acknowledgment that measures (Karn's rule), the smoothed one, over time or sequence

Seen from where the capture was taken: near the sender, bytes in flight are those under way; near the receiver, few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirage_lab.plot.axes import SECONDS, clock, counted, drawing, label, nothing, told
from mirage_lab.plot.flows import Flow, Outstanding, flows, pick, round_trips
from mirage_lab.plot.flows import outstanding as levels
from mirage_lab.plot.hosts import Hosts
from mirage_lab.plot.segments import host_of, segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.tracing.capture import Capture

__all__ = ["Wanted", "averages", "chosen", "outstanding", "round_trip", "segment_size", "window_scaling"]

Wanted = Flow | str | int | None
GREEN, INK, BLUE, ORANGE = "#009e73", "#1b1b1b", "#0072b2", "#e69f00"


def averages(found: list[Outstanding]) -> list[tuple[float, float]]:
    """Return after each step the mean of the levels so far: plain, and weighted by the time each lasted."""
    means = []
    total = area = 0
    for place, level in enumerate(found):
        total += level.bytes
        if place:
            area += found[place - 1].bytes * (level.t - found[place - 1].t)
        lasted = level.t - found[0].t
        means.append((total / (place + 1), area / lasted if lasted > 0 else float(level.bytes)))
    return means


def outstanding(capture: Capture, flow: Wanted = None, ax: Axes | None = None, *, hosts: Hosts | None = None) -> Axes:
    """Draw a flow's bytes in flight, their averages and the receiver's window (bytes) against time (s); return the Axes.

    A window far above the bytes in flight is told in words.  Raises ValueError when there is no such flow.
    """
    hosts = hosts or Hosts()
    shown, title, colour = chosen(capture, flow, hosts)
    ax = drawing(ax, 10, 4)
    found = levels(shown)
    if not found:
        return nothing(ax, f"outstanding data of {shown.name}: nothing was sent", clock(capture), "data (bytes)")
    times = [level.t / SECONDS for level in found]
    means = averages(found)
    ax.step(times, [level.bytes for level in found], where="post", color=colour, linewidth=1.4, label="outstanding", gid="outstanding")
    ax.plot(times, [mean for mean, _ in means], color=INK, linewidth=1.2, linestyle="dashed", label="average", gid="average")
    ax.plot(times, [mean for _, mean in means], color=GREEN, linewidth=1.4, linestyle="dashdot", label="average weighted by time", gid="weighted average")
    _window(ax, found, hosts.colour(hosts.name(host_of(shown.dst))))
    most = max(level.bytes for level in found)
    window = [level.window for level in found if level.window is not None]
    ax.set_ylim(0, 1.1 * max(1, min(max([most, *window]), 3 * most or 1)))
    counted(ax.yaxis)
    ax.grid(alpha=0.25)
    label(ax, f"outstanding data {title}", clock(capture), "data (bytes)")
    lines = [f"outstanding data of {shown.name}: at most {most:,} bytes, {means[-1][1]:,.0f} on average over time"]
    if window:
        filled = sum(level.window is not None and level.bytes + (shown.mss or 536) > level.window for level in found)
        lines.append(f"  window {min(window):,} to {max(window):,} bytes; it left no room for a segment at {filled} of {len(found)} steps")
    return told(ax, *lines)


def window_scaling(capture: Capture, flow: Wanted = None, ax: Axes | None = None, *, hosts: Hosts | None = None) -> Axes:
    """Draw the receiver's window, scaled, and the bytes in flight of a flow (bytes) against time (s); return the Axes."""
    hosts = hosts or Hosts()
    shown, title, colour = chosen(capture, flow, hosts)
    ax = drawing(ax, 10, 3.8)
    found = levels(shown)
    if not found:
        return nothing(ax, f"window of {shown.name}: nothing was sent", clock(capture), "data (bytes)")
    times = [level.t / SECONDS for level in found]
    ax.plot(times, [level.bytes for level in found], linestyle="none", marker=".", markersize=4, color=colour, label="bytes in flight", gid="in flight")
    _window(ax, found, hosts.colour(hosts.name(host_of(shown.dst))))
    ax.set_ylim(bottom=0)
    counted(ax.yaxis)
    ax.grid(alpha=0.25)
    label(ax, f"window {title}", clock(capture), "data (bytes)")
    window = [level.window for level in found if level.window is not None]
    closed = sum(one.zero for one in shown.acked)
    said = f"{min(window):,} to {max(window):,} bytes" if window else "never told"
    return told(ax, f"window of {shown.name}: {said}, closed {closed} times; at most {max(level.bytes for level in found):,} bytes in flight")


def _window(ax: Axes, found: list[Outstanding], colour: str) -> None:
    known = [(level.t / SECONDS, level.window) for level in found if level.window is not None]
    if known:
        ax.step([t for t, _ in known], [size for _, size in known], where="post", color=colour, linewidth=1.4, linestyle="dotted", label="window", gid="window")


def segment_size(capture: Capture, flow: Wanted = None, ax: Axes | None = None, *, hosts: Hosts | None = None) -> Axes:
    """Draw the data in each segment of a flow and the average so far (bytes) against time (s); return the Axes."""
    hosts = hosts or Hosts()
    shown, title, colour = chosen(capture, flow, hosts)
    ax = drawing(ax, 9.5, 3.6)
    sent = [one for one in shown.sent if one.length]
    if not sent:
        return nothing(ax, f"segment size of {shown.name}: no data was sent", clock(capture), "data in a segment (bytes)")
    times = [one.t / SECONDS for one in sent]
    total, means = 0, []
    for place, one in enumerate(sent):
        total += one.length
        means.append(total / (place + 1))
    ax.plot(times, [one.length for one in sent], linestyle="none", marker=".", markersize=5, color=colour, label="segment", gid="segment")
    ax.plot(times, means, color=INK, linewidth=1.2, linestyle="dashed", label="average", gid="average")
    taken = next((other.mss for other in flows_of(capture) if (other.src, other.dst) == (shown.dst, shown.src)), None)
    if taken:
        ax.axhline(taken, color=GREEN, linewidth=1, linestyle="dotted", label="MSS the receiver takes", gid="MSS")
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)
    label(ax, f"segment size {title}", clock(capture), "data in a segment (bytes)")
    full = max(one.length for one in sent)
    fulls = sum(one.length == full for one in sent)
    return told(ax, f"segment size of {shown.name}: {len(sent):,} segments, {means[-1]:,.1f} bytes on average, {fulls:,} of the largest, {full:,}")


def round_trip(
    capture: Capture, flow: Wanted = None, ax: Axes | None = None, *, hosts: Hosts | None = None, by: str = "time",
) -> Axes:
    """Draw a flow's round trips (ms) against time (s), or with by="sequence" against bytes from the SYN; return the Axes.

    Raises ValueError when there is no such flow.
    """
    if by not in ("time", "sequence"):
        raise ValueError(f'by={by!r}: round trips are drawn by="time" or by="sequence"')
    hosts = hosts or Hosts()
    shown, title, colour = chosen(capture, flow, hosts)
    ax = drawing(ax, 9.5, 3.6)
    axis = clock(capture) if by == "time" else "sequence number (bytes from the SYN)"
    found = round_trips(shown)
    if not found:
        return nothing(ax, f"round trips of {shown.name}: no acknowledgment measured one", axis, "round trip (ms)")
    at = [t / SECONDS for t, _, _ in found] if by == "time" else [float(end) for _, _, end in found]
    took = [trip / 1e6 for _, trip, _ in found]
    smooth = took[0]
    smoothed = []
    for trip in took:
        smooth += (trip - smooth) / 8
        smoothed.append(smooth)
    ax.plot(at, took, color=colour, marker="o", markersize=3, linewidth=0.6, label="round trip", gid="round trip")
    ax.plot(at, smoothed, color=INK, linewidth=1.3, linestyle="dashed", label="smoothed (1/8, RFC 6298)", gid="smoothed")
    if shown.rtt is not None:
        ax.axhline(shown.rtt / 1e6, color=GREEN, linewidth=1, linestyle="dotted", label="handshake", gid="handshake")
    ax.set_ylim(bottom=0)
    if by == "sequence":
        counted(ax.xaxis)
    ax.grid(alpha=0.25)
    label(ax, f"round trips {title}", axis, "round trip (ms)")
    ordered = sorted(took)
    said = f"least {ordered[0]:.3f}, median {ordered[len(ordered) // 2]:.3f}, most {ordered[-1]:.3f} ms"
    return told(ax, f"round trips of {shown.name}: {len(took):,} measured, {said}", f"  {shown.retransmitted} segments sent again do not measure (Karn)")


def flows_of(capture: Capture) -> list[Flow]:
    """Return the flows of a capture."""
    return flows(segments(capture))


def chosen(capture: Capture, flow: Wanted, hosts: Hosts) -> tuple[Flow, str, str]:
    """Return the flow meant, what to call it, and its sender's colour; its hosts are met, the opener first."""
    found = flow if isinstance(flow, Flow) else pick(flows_of(capture), flow)
    for end in (found.dst, found.src) if found.number % 2 else (found.src, found.dst):
        hosts.meet(hosts.name(host_of(end)))
    sender, receiver = (hosts.name(host_of(end)) for end in (found.src, found.dst))
    return found, f"{sender} -> {receiver}   ({found.name})", hosts.colour(sender)
