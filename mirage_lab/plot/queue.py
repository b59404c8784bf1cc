"""queue: how long the queue at each port of a lan was, what was lost and why, and how long each frame was under way.

    queue   bytes waiting for the rate of a port, from `lan.queue` (off unless enabled): up by a frame when one comes, down at
            the rate of the port; and below, on the same axis of time, each lost frame in the row of its cause (`lan.drop`)
    delay   one-way delay: the same bytes in two captures of one world, whose clock is one: nothing is estimated
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mirage_lab.plot.axes import SECONDS, clock, counted, drawing, label, nothing, told
from mirage_lab.plot.hosts import Hosts
from mirage_lab.plot.segments import heads
from mirage_lab.tracing.recorder import Event
from mirage_lab.tracing.svg import OKABE_ITO, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.tracing.capture import Capture

__all__ = ["delay", "delays", "levels", "queue"]

X: Final = "virtual time (s)"
_MARKERS: Final = ("x", "v", "s", "D", "^", "P", "*", "o")
CAUSES: Final = 8


def levels(events: Sequence[Event]) -> list[tuple[int, float]]:
    """Return (t, bytes) at the corners of one port's queue: before and after each frame came, and where it was empty."""
    found: list[tuple[int, float]] = []
    last_t = level = rate = 0.0
    for event in events:
        bits = event.fields["rate"]
        drained = (event.t - last_t) * rate / 8e9
        if found and drained >= level:
            found.append((int(last_t + level * 8e9 / rate) if rate else int(last_t), 0.0))
        before = max(0.0, level - drained)
        after = float(event.fields["bytes"])
        found += [(event.t, before), (event.t, after)]
        last_t, level, rate = event.t, after, bits
    if found and rate:
        found.append((int(last_t + level * 8e9 / rate), 0.0))
    return found


def queue(events: Sequence[Event], lan: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the queue of each port of a lan (bytes) against time (s), and its losses by cause below; return the Axes."""
    ax = drawing(ax, 10, 4)
    mine = [event for event in events if event.kind in ("lan.queue", "lan.drop") and lan in (None, event.source)]
    waiting: dict[str, list[Event]] = defaultdict(list)
    lost: dict[str, list[Event]] = defaultdict(list)
    for event in mine:
        if event.kind == "lan.queue":
            waiting[f"{event.source} {event.fields['port']}"].append(event)
        else:
            lost[str(event.fields["reason"])].append(event)
    title = f"queues on {lan or 'all lans'}"
    if not mine:
        why = "lab.machine.world.recorder.enable('lan.queue'), and the lan needs a rate"
        return nothing(ax, f"{title}: nothing recorded; {why}", X, "waiting (bytes)")
    lines = [title]
    top = 1.0
    for place, (port, came) in enumerate(list(waiting.items())[: len(OKABE_ITO)]):
        corners = levels(came)
        most = max(level for _, level in corners)
        top = max(top, most)
        style = ("solid", "dashed", "dotted", "dashdot")[place % 4]
        ax.plot(
            [t / SECONDS for t, _ in corners], [level for _, level in corners], color=OKABE_ITO[place], linewidth=1.3, linestyle=style,
            label=visible(port, 40), gid=f"queue {port}",
        )
        lines.append(f"  {visible(port, 40)}: at most {most:,.0f} bytes waiting, {len(came):,} frames came")
    for row, (reason, gone) in enumerate(list(lost.items())[:CAUSES]):
        ax.plot(
            [event.t / SECONDS for event in gone], [-(row + 1) * 0.07 * top] * len(gone), linestyle="none", marker=_MARKERS[row], markersize=6,
            color="#1b1b1b", markerfacecolor="none", label=f"lost: {visible(reason, 30)} ({len(gone):,})", gid=f"lost {reason}",
        )
        lines.append(f"  lost: {visible(reason, 40)} {len(gone):,}")
    ax.set_ylim(-(min(len(lost), CAUSES) + 1) * 0.07 * top if lost else 0, 1.08 * top)
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= 1.08 * top])
    if lost:
        ax.axhline(0, color="#1b1b1b", linewidth=0.6)
    counted(ax.yaxis)
    ax.grid(alpha=0.25)
    label(ax, title, X, "waiting (bytes)")
    return told(ax, *lines)


def delays(sent: Capture, received: Capture) -> list[tuple[int, int, int, str]]:
    """Return (n in `received`, time it was sent, delay, sender's address), ns, for each frame of both captures.

    A frame is found again by its bytes; of equal ones the first sent is the first received.  What the same place sent and
    received (a delay of 0) is left out.
    """
    waiting: dict[bytes, deque[int]] = defaultdict(deque)
    for frame in sent.frames:
        if not frame.lost:
            waiting[frame.data].append(frame.t)
    found = []
    for head in heads(received):
        times = waiting.get(head.data)
        if times and times[0] <= head.t:
            t = times.popleft()
            if head.t > t:
                found.append((head.n, t, head.t - t, head.src))
    return found


def delay(sent: Capture, received: Capture, ax: Axes | None = None, *, hosts: Hosts | None = None) -> Axes:
    """Draw how long each frame took from one capture to the other (ms) against the time it was sent (s); return the Axes."""
    hosts = hosts or Hosts()
    ax = drawing(ax, 9.5, 3.6)
    found = delays(sent, received)
    title = f"one-way delay from {visible(sent.name, 30)} to {visible(received.name, 30)}"
    if not found:
        return nothing(ax, f"{title}: no frame is in both", clock(sent), "delay (ms)")
    senders: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for _, t, took, src in found:
        senders[hosts.name(src)].append((t, took))
    lines = [f"{title}: {len(found):,} frames"]
    for place, (name, rows) in enumerate(list(senders.items())[:CAUSES]):
        ax.plot(
            [t / SECONDS for t, _ in rows], [took / 1e6 for _, took in rows], linestyle="none", marker=_MARKERS[-1 - place], markersize=3.5,
            color=hosts.meet(name), label=f"from {visible(name, 30)}", gid=f"delay {name}",
        )
        ordered = sorted(each / 1e6 for _, each in rows)
        lines.append(f"  from {visible(name, 30)}: least {ordered[0]:.3f}, median {ordered[len(ordered) // 2]:.3f}, most {ordered[-1]:.3f} ms")
    ax.set_ylim(0, 1.15 * max(took for _, _, took, _ in found) / 1e6)
    ax.grid(alpha=0.25)
    label(ax, title, clock(sent), "delay (ms)")
    return told(ax, *lines)
