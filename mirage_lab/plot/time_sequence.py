"""time_sequence: bytes sent, acknowledged and allowed, over time (Shawn Ostermann's tcptrace drew it first).

A vertical bar is a segment, from its first byte to its last.  The lower staircase is what the receiver acknowledged, the
upper one how far its window lets the sender go: their distance is the window, the bars between them are in flight.
The sender's marks have the sender's colour and the receiver's staircases the receiver's; sent again and lost have
shapes of their own, so that nothing hangs on colour alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirage_lab.plot.axes import SECONDS, drawing, label, told
from mirage_lab.plot.flows import Flow, flows, pick
from mirage_lab.plot.frames import FIN, RST, SYN, read
from mirage_lab.plot.hosts import Hosts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.tracing.capture import Capture

__all__ = ["time_sequence"]

_MARKS = ((SYN, "SYN", "^"), (FIN, "FIN", "v"), (RST, "RST", "X"))


def time_sequence(
    capture: Capture, flow: Flow | str | int | None = None, ax: Axes | None = None, *, hosts: Hosts | None = None,
) -> Axes:
    """Draw one flow's sequence numbers (bytes, from its SYN) against virtual time (s); return the Axes.

    `flow` is a Flow, its number, its sending end ("10.0.0.2:80") or its name; None takes the flow with most data.
    Raises ValueError when there is no such flow.
    """
    hosts = hosts or Hosts()
    shown = pick(flows(read(capture, hosts)), flow)
    sender, receiver = (hosts.name(end.rpartition(":")[0]) for end in (shown.src, shown.dst))
    ax = drawing(ax, 8, 4.8)
    _segments(ax, shown, hosts.colour(sender))
    _staircases(ax, shown, hosts.colour(receiver))
    ax.ticklabel_format(useOffset=False, style="plain")
    _fit(ax, shown)
    ax.grid(alpha=0.25)
    label(ax, f"{sender} -> {receiver}   ({shown.name})", "virtual time (s)", "sequence number (bytes from the SYN)")
    return told(ax, *_words(shown))


def _fit(ax: Axes, flow: Flow) -> None:
    """A window far above the data would press the data flat: the picture ends a little above the data then."""
    top = max((sent.end for sent in flow.sent), default=1)
    if max((acked.edge for acked in flow.acked), default=0) > 4 * top:
        ax.set_ylim(-0.08 * top, 1.5 * top)


def _segments(ax: Axes, flow: Flow, colour: str) -> None:
    """Bars for data, and a mark on each SYN, FIN, RST, retransmission and loss."""
    for repeated, words, style in ((False, "data", "solid"), (True, "sent again", "dashed")):
        bars = [sent for sent in flow.sent if sent.retransmitted is repeated and sent.length]
        if bars:
            ax.vlines(
                [sent.t / SECONDS for sent in bars], [sent.seq for sent in bars], [sent.end for sent in bars],
                colors=colour, linewidth=2.4, linestyles=style, label="" if repeated else words, gid=words,
            )
    again = [sent for sent in flow.sent if sent.retransmitted]
    lost = [sent for sent in flow.sent if sent.lost]
    for marked, words, marker in ((again, "sent again", "s"), (lost, "lost on the lan", "x")):
        if marked:
            fill = "none" if marker == "s" else None
            ax.plot(
                [sent.t / SECONDS for sent in marked], [sent.end for sent in marked], linestyle="none", marker=marker,
                markersize=8, markerfacecolor=fill, color="#1b1b1b", label=words, gid=f"{words} mark",
            )
    for bit, words, marker in _MARKS:
        marked = [sent for sent in flow.sent if sent.flags & bit]
        if marked:
            times, numbers = [sent.t / SECONDS for sent in marked], [sent.end for sent in marked]
            ax.plot(times, numbers, linestyle="none", marker=marker, markersize=8, color=colour, label=words, gid=words)
            for t, number in zip(times, numbers, strict=True):
                ax.annotate(words, (t, number), xytext=(4, 4), textcoords="offset points", fontsize="x-small")


def _staircases(ax: Axes, flow: Flow, colour: str) -> None:
    """What the receiver acknowledged, and how far it let the sender go."""
    if not flow.acked:
        return
    times = [acked.t / SECONDS for acked in flow.acked]
    ax.step(times, [acked.ack for acked in flow.acked], where="post", color=colour, linewidth=1.4, label="acknowledged", gid="acknowledged")
    ax.step(
        times, [acked.edge for acked in flow.acked], where="post", color=colour, linewidth=1, linestyle="dotted",
        label="window (acknowledged + advertised)", gid="window",
    )
    repeated = [acked for acked in flow.acked if acked.duplicate]
    if repeated:
        ax.plot(
            [acked.t / SECONDS for acked in repeated], [acked.ack for acked in repeated], linestyle="none", marker="|",
            markersize=9, color=colour, label="duplicate ACK", gid="duplicate ACK",
        )


def _words(flow: Flow) -> list[str]:
    sent, acked = flow.sent, flow.acked
    counted = ", ".join(f"{label} {sum(bool(one.flags & bit) for one in sent)}" for bit, label, _ in _MARKS)
    lost = sum(one.lost for one in sent)
    lines = [
        f"time-sequence of {flow.name}: {flow.bytes:,} bytes in {sum(bool(one.length) for one in sent)} segments",
        f"  sent again {flow.retransmitted}, lost on the lan {lost}, {counted}",
    ]
    if acked:
        widest = max(one.edge - one.ack for one in acked)
        repeated = sum(one.duplicate for one in acked)
        lines.append(f"  acknowledged up to {max(one.ack for one in acked):,}, {repeated} duplicate ACKs, window at most {widest:,} bytes")
    return lines
