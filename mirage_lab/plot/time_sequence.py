"""time_sequence: bytes sent, acknowledged and allowed, over time (Shawn Ostermann's tcptrace drew it first).

A vertical bar is a segment, from its first byte to its last.  The lower staircase is what the receiver acknowledged, the
upper one how far its window lets the sender go: their distance is the window, the bars between them are in flight.
The sender's marks have the sender's colour and the receiver's staircases the receiver's; what is worth a second look has
a letter or a shape of its own, so that nothing hangs on colour alone:

    R  sent again            O  out of order        P  probe of a closed window      K  keep-alive
    |  duplicate ACK         3  the third of them   Z  the window is closed          C, E, U  CWR, ECE, URG
    diamond  PUSH            triangles  SYN, FIN    X  RST                           x  lost on the lan
    a bar at the side of the acknowledgments  a SACK block: these bytes have arrived

`stevens` is the plain form of W. Richard Stevens: a dot for the first byte of each segment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mirage_lab.plot.axes import SECONDS, above, clock, counted, drawing, label, told
from mirage_lab.plot.flows import Acked, Flow, Sent, flows, pick
from mirage_lab.plot.hosts import Hosts
from mirage_lab.plot.segments import CWR, ECE, FIN, PSH, RST, SYN, URG, host_of, segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.tracing.capture import Capture

__all__ = ["stevens", "time_sequence"]

INK = "#1b1b1b"
SACKED = "#cc79a7"
CLOSED = "#d55e00"
_NAMED = 20
"""Of each of SYN, FIN and RST, so many have their name written beside them."""
_MARKS = ((SYN, "SYN", "^"), (FIN, "FIN", "v"), (RST, "RST", "X"))
_LETTERS: tuple[tuple[str, str, Callable[[Sent], bool]], ...] = (
    ("sent again", "R", lambda sent: sent.retransmitted),
    ("out of order", "O", lambda sent: sent.out_of_order),
    ("window probe", "P", lambda sent: sent.probe),
    ("keep-alive", "K", lambda sent: sent.keep_alive),
    ("CWR", "C", lambda sent: bool(sent.flags & CWR) and not sent.flags & SYN),
    ("ECE", "E", lambda sent: bool(sent.flags & ECE) and not sent.flags & SYN),
    ("URG", "U", lambda sent: bool(sent.flags & URG)),
)


def time_sequence(
    capture: Capture,
    flow: Flow | str | int | None = None,
    ax: Axes | None = None,
    *,
    hosts: Hosts | None = None,
    start: float | None = None,
    stop: float | None = None,
) -> Axes:
    """Draw one flow's sequence numbers (bytes, from its SYN) against time (s); return the Axes.

    `flow` is a Flow, its number, its sending end ("10.0.0.2:80") or its name; None takes the flow with most data.
    `start` and `stop` (s) look closer at a part.  Raises ValueError when there is no such flow.
    """
    hosts = hosts or Hosts()
    shown = _chosen(capture, flow, hosts)
    sender, receiver = (hosts.name(host_of(end)) for end in (shown.src, shown.dst))
    sent = [one for one in shown.sent if _within(one.t, start, stop)]
    acked = [one for one in shown.acked if _within(one.t, start, stop)]
    ax = drawing(ax, 10.5, 5.2)
    _segments(ax, sent, hosts.colour(sender))
    _staircases(ax, acked, hosts.colour(receiver))
    ax.ticklabel_format(useOffset=False, style="plain")
    counted(ax.yaxis)
    _fit(ax, sent, acked)
    ax.grid(alpha=0.25)
    label(ax, f"{sender} -> {receiver}   ({shown.name})", clock(capture), "sequence number (bytes from the SYN)")
    return told(ax, *_words(shown))


def stevens(capture: Capture, flow: Flow | str | int | None = None, ax: Axes | None = None, *, hosts: Hosts | None = None) -> Axes:
    """Draw a dot for each segment of a flow: its first byte (from the SYN) against time (s); return the Axes."""
    hosts = hosts or Hosts()
    shown = _chosen(capture, flow, hosts)
    sender, receiver = (hosts.name(host_of(end)) for end in (shown.src, shown.dst))
    ax = drawing(ax, 10, 4.2)
    data = [one for one in shown.sent if one.length]
    first, again = [one for one in data if not one.retransmitted], [one for one in data if one.retransmitted]
    _dots(ax, first, [one.seq for one in first], "o", "segment", color=hosts.colour(sender), markersize=3)
    _dots(ax, again, [one.seq for one in again], "s", "sent again", color=INK, markersize=5, markerfacecolor="none")
    ax.ticklabel_format(useOffset=False, style="plain")
    counted(ax.yaxis)
    ax.grid(alpha=0.25)
    label(ax, f"{sender} -> {receiver}   ({shown.name})", clock(capture), "sequence number (bytes from the SYN)")
    return told(ax, *_words(shown)[:2])


def _chosen(capture: Capture, flow: Flow | str | int | None, hosts: Hosts) -> Flow:
    """The flow meant; its two hosts are met, the opener first."""
    chosen = flow if isinstance(flow, Flow) else pick(flows(segments(capture)), flow)
    for end in (chosen.dst, chosen.src) if chosen.number % 2 else (chosen.src, chosen.dst):
        hosts.meet(hosts.name(host_of(end)))
    return chosen


def _within(t: int, start: float | None, stop: float | None) -> bool:
    return (start is None or t >= start * SECONDS) and (stop is None or t <= stop * SECONDS)


def _fit(ax: Axes, sent: Sequence[Sent], acked: Sequence[Acked]) -> None:
    """A window far above the data would press the data flat: the picture ends a little above the data then."""
    top = max((one.end for one in sent), default=1)
    low = min((one.seq for one in sent), default=0)
    tall = max(top - low, 1)
    if max((one.edge for one in acked), default=0) > low + 4 * tall:
        ax.set_ylim(low - 0.08 * tall, low + 1.5 * tall)


def _dots(ax: Axes, at: Sequence[Sent] | Sequence[Acked], heights: Sequence[int], marker: str, gid: str, **look: Any) -> None:
    """One mark for each of `at`; without any, nothing."""
    if at:
        look = {"markersize": 8, "label": gid, **look}
        ax.plot([one.t / SECONDS for one in at], heights, linestyle="none", marker=marker, gid=gid, **look)


def _segments(ax: Axes, sent: Sequence[Sent], colour: str) -> None:
    """Bars for data, and a mark on all that is not plain data."""
    for repeated, words, style in ((False, "data", "solid"), (True, "sent again", "dashed")):
        bars = [one for one in sent if one.retransmitted is repeated and one.length]
        if bars:
            ax.vlines(
                [one.t / SECONDS for one in bars], [one.seq for one in bars], [one.end for one in bars],
                colors=colour, linewidth=2.4, linestyles=style, label="" if repeated else words, gid=words,
            )
    pushed = [one for one in sent if one.flags & PSH and one.length]
    _dots(ax, pushed, [one.end for one in pushed], "d", "PUSH", color=colour, markersize=4, markerfacecolor="white", markeredgewidth=0.8)
    lost = [one for one in sent if one.lost]
    _dots(ax, lost, [one.end for one in lost], "x", "lost on the lan mark", label="lost on the lan", color=INK)
    raised = above(ax, 8)
    for words, letter, wanted in _LETTERS:
        marked = [one for one in sent if wanted(one)]
        _dots(ax, marked, [one.end for one in marked], f"${letter}$", f"{words} mark", label=words, color=INK, markersize=7, transform=raised)
    for bit, words, marker in _MARKS:
        marked = [one for one in sent if one.flags & bit]
        _dots(ax, marked, [one.end for one in marked], marker, words, color=colour)
        for one in marked[:_NAMED]:
            ax.annotate(words, (one.t / SECONDS, one.end), xytext=(5, -10), textcoords="offset points", fontsize="x-small")


def _staircases(ax: Axes, acked: Sequence[Acked], colour: str) -> None:
    """What the receiver acknowledged, how far it let the sender go, and what it said beside."""
    if not acked:
        return
    times = [one.t / SECONDS for one in acked]
    ax.step(times, [one.ack for one in acked], where="post", color=colour, linewidth=1.4, label="acknowledged", gid="acknowledged")
    ax.step(
        times, [one.edge for one in acked], where="post", color=colour, linewidth=1, linestyle="dotted",
        label="window (acknowledged + advertised)", gid="window",
    )
    repeated = [one for one in acked if one.duplicate]
    _dots(ax, repeated, [one.ack for one in repeated], "|", "duplicate ACK", color=colour, markersize=9)
    third = [one for one in acked if one.repeated == 3]
    _dots(ax, third, [one.ack for one in third], "$3$", "third duplicate ACK", color=INK, markersize=7, transform=above(ax, -8))
    closed = [one for one in acked if one.zero]
    _dots(ax, closed, [one.edge for one in closed], "$Z$", "window closed", color=CLOSED, markersize=8, transform=above(ax, 8))
    blocks = [(one.t / SECONDS, left, right) for one in acked for left, right in one.sack]
    if blocks:
        ax.vlines(
            [t for t, _, _ in blocks], [left for _, left, _ in blocks], [right for _, _, right in blocks],
            colors=SACKED, linewidth=1.6, label="SACK: has arrived", gid="SACK",
        )


def _words(flow: Flow) -> list[str]:
    sent, acked = flow.sent, flow.acked
    counted = ", ".join(f"{label} {sum(bool(one.flags & bit) for one in sent)}" for bit, label, _ in _MARKS)
    lost = sum(one.lost for one in sent)
    late = sum(one.out_of_order for one in sent)
    lines = [
        f"time-sequence of {flow.name}: {flow.bytes:,} bytes in {sum(bool(one.length) for one in sent):,} segments",
        f"  sent again {flow.retransmitted}, out of order {late}, lost on the lan {lost}, {counted}",
    ]
    if acked:
        widest = max(one.edge - one.ack for one in acked)
        repeated = sum(one.duplicate for one in acked)
        said = f"  acknowledged up to {max(one.ack for one in acked):,}, {repeated} duplicate ACKs, window at most {widest:,} bytes"
        blocks, closed = sum(len(one.sack) for one in acked), sum(one.zero for one in acked)
        lines.append(said + (f", {blocks} SACK blocks" if blocks else "") + (f", closed {closed} times" if closed else ""))
    return lines
