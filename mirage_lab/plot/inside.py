"""inside: what only a stack of one's own can draw: the variables of a connection over time, from the recorder's events.

    congestion   cwnd, ssthresh and bytes in flight over bands of the phase (slow start, avoidance, recovery, ...)
    timeouts     the RTO against the round trips it is made of, and where it ran out
    buffers      bytes queued to be sent, to be read, and waiting for those before them
    limits       what held the sender back, as bands: the application, the window, congestion, pacing, the buffer

Nothing here knows an engine: the events are `tcp.cwnd` and `tcp.buffers` (off unless enabled), `tcp.retransmit` and `tcp.rto`.
A field that a stack does not tell is not drawn, and the words say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.plot.axes import SECONDS, counted, drawing, label, nothing, told
from mirage_lab.tracing.recorder import Event
from mirage_lab.tracing.svg import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bands", "buffers", "congestion", "connections", "limits", "timeouts"]

HUGE: Final = 1 << 29
"""An ssthresh above this was never set."""
X: Final = "virtual time (s)"
INK, BLUE, ORANGE, GREEN, PINK, AMBER, SKY = "#1b1b1b", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
_TINTS: Final = {
    "slow start": SKY, "startup": SKY, "avoidance": GREEN, "probe_bw": GREEN, "recovery": AMBER, "reduced": PINK, "loss": ORANGE, "drain": AMBER,
    "probe_rtt": PINK, "application": SKY, "window": PINK, "congestion": AMBER, "pacing": GREEN, "buffer": ORANGE,
}
_HATCHES: Final = {
    "recovery": "//", "loss": "xx", "reduced": "..", "drain": "\\\\", "probe_rtt": "..", "window": "//", "congestion": "\\\\", "pacing": "..", "buffer": "xx",
}
_MARKED: Final = (("tcp.retransmit", "sent again", "|", INK), ("tcp.rto", "timeout", "X", ORANGE))


def connections(events: Iterable[Event]) -> list[tuple[str, str]]:
    """Return (local, remote) of each connection the events tell of, in order of appearance."""
    found: dict[tuple[str, str], None] = {}
    for event in events:
        if "local" in event.fields and "remote" in event.fields:
            found.setdefault((event.fields["local"], event.fields["remote"]))
    return list(found)


def bands(points: Sequence[tuple[int, str]], end: int) -> list[tuple[int, int, str]]:
    """Return (start, stop, name) of each stretch of the same name; the last one lasts until `end`."""
    found: list[tuple[int, int, str]] = []
    for t, name in points:
        if found and found[-1][2] == name:
            continue
        if found:
            found[-1] = (found[-1][0], t, found[-1][2])
        found.append((t, end, name))
    return found


def congestion(events: Sequence[Event], local: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw a connection's congestion window, threshold and bytes in flight (bytes) against time (s); return the Axes.

    `local` is its sending end ("10.0.0.2:80"), or "local remote"; None takes the one whose window moved most often.
    Raises ValueError when there is no such connection.
    """
    ax = drawing(ax, 10.5, 4.4)
    chosen = _chosen(events, "tcp.cwnd", local)
    if chosen is None:
        return nothing(ax, _unrecorded("tcp.cwnd"), X, "bytes")
    name, mine = chosen
    _bands(ax, [(event.t, str(event.fields.get("phase", "?"))) for event in mine], mine[-1].t)
    _line(ax, mine, "cwnd", BLUE, linewidth=1.8)
    _line(ax, [event for event in mine if event.fields["ssthresh"] < HUGE], "ssthresh", ORANGE, linestyle="dashed", linewidth=1.6)
    _flight(ax, mine, linestyle="dotted", linewidth=1.2)
    _line(ax, mine, "sacked", PINK, linestyle="dashdot", linewidth=1.1, words="SACKed, out of order there")
    marks = _marks(ax, events, name)
    ax.set_ylim(bottom=0)
    counted(ax.yaxis)
    ax.grid(alpha=0.25)
    label(ax, f"congestion window of {_spoken(name)}", X, "bytes")
    windows = [event.fields["cwnd"] for event in mine]
    spent = _spent([(event.t, str(event.fields.get("phase", "?"))) for event in mine], mine[-1].t)
    moved = f"{windows[0]:,} at first, {max(windows):,} at most, {windows[-1]:,} at last"
    return told(ax, f"congestion window of {_spoken(name)}: {moved}", f"  {spent}", f"  {marks}")


def timeouts(events: Sequence[Event], local: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw a connection's round trips, the smoothed one and the RTO (ms, logarithmic) against time (s); return the Axes.

    Raises ValueError when there is no such connection.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    ax = drawing(ax, 10, 4)
    chosen = _chosen(events, "tcp.cwnd", local)
    if chosen is None:
        return nothing(ax, _unrecorded("tcp.cwnd"), X, "ms")
    name, mine = chosen[0], [event for event in chosen[1] if "rto" in event.fields]
    if not mine:
        return nothing(ax, f"RTO of {_spoken(name)}: this stack does not tell it", X, "ms")
    measured = [(event.t, event.fields["rtt"]) for place, event in enumerate(mine) if event.fields.get("rtt") and _fresh(mine, place)]
    ax.plot(
        [t / SECONDS for t, _ in measured], [trip / 1e6 for _, trip in measured], linestyle="none", marker=".", markersize=5, color=SKY,
        label="round trip", gid="round trip",
    )
    _line(ax, [event for event in mine if event.fields.get("srtt")], "srtt", BLUE, scale=1e6, words="smoothed (SRTT)", linewidth=1.4)
    _line(ax, mine, "rto", ORANGE, scale=1e6, words="RTO", linewidth=1.6, linestyle="dashed")
    ran_out = [event for event in events if event.kind == "tcp.rto" and _name(event) == name]
    if ran_out:
        ax.plot(
            [event.t / SECONDS for event in ran_out], [event.fields["rto"] / 1e6 for event in ran_out], linestyle="none", marker="X", markersize=9,
            color=INK, label="it ran out", gid="ran out",
        )
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.grid(alpha=0.25, which="both")
    label(ax, f"RTO of {_spoken(name)}", X, "ms")
    rtos = [event.fields["rto"] / 1e6 for event in mine]
    return told(ax, f"RTO of {_spoken(name)}: {min(rtos):g} to {max(rtos):g} ms over {len(measured):,} round trips; it ran out {len(ran_out)} times")


def buffers(events: Sequence[Event], local: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the bytes a connection holds: to be sent, to be read, out of order; against time (s); return the Axes.

    Raises ValueError when there is no such connection.
    """
    ax = drawing(ax, 10, 4)
    chosen = _chosen(events, "tcp.buffers", local)
    if chosen is None:
        return nothing(ax, _unrecorded("tcp.buffers"), X, "bytes")
    name, mine = chosen
    _line(ax, mine, "queued", BLUE, words="to be sent or acknowledged", linewidth=1.6)
    _line(ax, mine, "unread", ORANGE, words="to be read", linestyle="dashed", linewidth=1.6)
    _line(ax, mine, "early", GREEN, words="out of order", linestyle="dotted", linewidth=1.6)
    most = max(max(event.fields["queued"], event.fields["unread"], event.fields["early"]) for event in mine)
    limit = mine[-1].fields["limit"]
    if limit <= 4 * most:
        ax.axhline(limit, color=INK, linewidth=1, linestyle="dashdot", label="limit of each", gid="limit")
    ax.set_ylim(bottom=0)
    counted(ax.yaxis)
    ax.grid(alpha=0.25)
    label(ax, f"buffers of {_spoken(name)}", X, "bytes")
    highest = {field: max(event.fields[field] for event in mine) for field in ("queued", "unread", "early")}
    said = f"at most {highest['queued']:,} to be sent, {highest['unread']:,} to be read, {highest['early']:,} out of order"
    return told(ax, f"buffers of {_spoken(name)}: {said} (limit {limit:,} bytes)")


def limits(events: Sequence[Event], local: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw what held a sender back, as bands under its bytes in flight, cwnd and the peer's window; return the Axes.

    Raises ValueError when there is no such connection.
    """
    ax = drawing(ax, 10.5, 4)
    chosen = _chosen(events, "tcp.cwnd", local)
    if chosen is None:
        return nothing(ax, _unrecorded("tcp.cwnd"), X, "bytes")
    name, mine = chosen
    why = [(event.t, _limit(event)) for event in mine]
    _bands(ax, why, mine[-1].t)
    _flight(ax, mine, linewidth=1.4)
    _line(ax, mine, "cwnd", BLUE, linestyle="dashed", linewidth=1.4)
    _line(ax, mine, "snd_wnd", ORANGE, words="the peer's window", linestyle="dotted", linewidth=1.4)
    top = max(1, *(max(event.fields["cwnd"], event.fields["flight"]) for event in mine))
    ax.set_ylim(0, 1.25 * top)
    counted(ax.yaxis)
    ax.grid(alpha=0.25)
    label(ax, f"what holds {_spoken(name)} back", X, "bytes")
    return told(ax, f"what holds {_spoken(name)} back: {_spent(why, mine[-1].t)}")


def _flight(ax: Axes, mine: Sequence[Event], **look: Any) -> None:
    """Bytes under way: what the stack takes to be in the network (pipe, RFC 6675), or without SACK all that is not acknowledged."""
    field = "pipe" if all("pipe" in event.fields for event in mine) else "flight"
    _line(ax, mine, field, INK, words="in flight (pipe)" if field == "pipe" else "in flight", **look)


def _limit(event: Event) -> str:
    """What the stack says, or without that: congestion while it recovers or less than a segment of cwnd is free."""
    fields = event.fields
    if "limited" in fields:
        return str(fields["limited"])
    recovering = fields.get("phase") in ("recovery", "loss", "reduced")
    return "congestion" if recovering or fields["flight"] + 1_460 > fields["cwnd"] else "application"


def _fresh(mine: Sequence[Event], place: int) -> bool:
    """True if the round trip told here is another one than before."""
    if not place:
        return True
    before, now = mine[place - 1].fields, mine[place].fields
    return bool(before.get("rtt") != now["rtt"] or before.get("srtt") != now.get("srtt"))


def _name(event: Event) -> tuple[str, str]:
    return (event.fields.get("local", ""), event.fields.get("remote", ""))


def _spoken(name: tuple[str, str]) -> str:
    return visible(f"{name[0]} -> {name[1]}", 80)


def _chosen(events: Sequence[Event], kind: str, local: str | None) -> tuple[tuple[str, str], list[Event]] | None:
    """The connection meant and its events of this kind; None when none was recorded."""
    by_name: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if event.kind == kind:
            by_name.setdefault(_name(event), []).append(event)
    if not by_name:
        return None
    if local is None:
        name = max(by_name, key=lambda name: len(by_name[name]))
        return name, by_name[name]
    for name, mine in by_name.items():
        if local in (name[0], f"{name[0]} {name[1]}", f"{name[0]} -> {name[1]}"):
            return name, mine
    told = "\n".join(f"  {name[0]} -> {name[1]}" for name in list(by_name)[:20])
    raise ValueError(f"no connection {local!r} among the events {kind}; there are\n{told}")


def _unrecorded(kind: str) -> str:
    return f"no event {kind}: enable it before the connection begins, lab.machine.world.recorder.enable({kind!r})"


def _line(ax: Axes, mine: Sequence[Event], field: str, colour: str, *, words: str = "", scale: float = 1, **look: Any) -> None:
    """A staircase of one field, if it was told."""
    points = [(event.t / SECONDS, event.fields[field] / scale) for event in mine if field in event.fields]
    if points and any(value for _, value in points):
        ax.step([t for t, _ in points], [value for _, value in points], where="post", color=colour, label=words or field, gid=field, **look)


def _bands(ax: Axes, points: Sequence[tuple[int, str]], end: int) -> None:
    """Shaded stretches, the same colour and hatch for the same name, each named once in the legend."""
    named: set[str] = set()
    for start, stop, name in bands(points, end):
        ax.axvspan(
            start / SECONDS, stop / SECONDS, facecolor=_TINTS.get(name, INK), alpha=0.16, hatch=_HATCHES.get(name), edgecolor="#00000060", linewidth=0,
            label="" if name in named else visible(name, 24), gid=f"band {name}",
        )
        named.add(name)


def _spent(points: Sequence[tuple[int, str]], end: int) -> str:
    """How long each name held."""
    spent: dict[str, int] = {}
    for start, stop, name in bands(points, end):
        spent[name] = spent.get(name, 0) + stop - start
    return ", ".join(f"{visible(name, 24)} {ns / SECONDS:.3f} s" for name, ns in spent.items())


def _marks(ax: Axes, events: Sequence[Event], name: tuple[str, str]) -> str:
    """Retransmissions and timeouts as marks along the bottom; says how many."""
    said = []
    for kind, words, marker, colour in _MARKED:
        at = [event.t / SECONDS for event in events if event.kind == kind and _name(event) == name]
        said.append(f"{words} {len(at)}")
        if at:
            along = ax.get_xaxis_transform()
            ax.plot(at, [0.02] * len(at), transform=along, linestyle="none", marker=marker, markersize=8, color=colour, clip_on=False, label=words, gid=kind)
    return ", ".join(said)
