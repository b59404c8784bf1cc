"""diff: two runs side by side: where they part, what the first differing frames say, and both time-sequences in one picture.

Two runs of one seed are the same to the byte; change one thing (a congestion control, a loss, a line of code) and the
first frame that differs shows where it took effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirage_lab.plot.axes import SECONDS, clock, counted, drawing, label, told
from mirage_lab.plot.flows import Flow, flows, pick
from mirage_lab.plot.frames import read
from mirage_lab.plot.segments import segments
from mirage_lab.tcpip.dissect import dissect
from mirage_lab.tracing.svg import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.tracing.capture import Capture, Frame

__all__ = ["Diff", "Parting", "diff"]

FIELDS = 6


@dataclass(frozen=True, slots=True)
class Parting:
    """The first place where two captures differ: how many frames before it are the same, the two frames (None: none more), what differs."""

    same: int
    a: Frame | None
    b: Frame | None
    why: str
    fields: tuple[tuple[str, str, str], ...] = ()


class Diff:
    """Two captures compared; `parting` is None when they are the same, frame for frame, byte for byte, ns for ns."""

    def __init__(self, a: Capture, b: Capture, names: tuple[str, str] = ("first", "second")) -> None:
        self.a, self.b = a, b
        self.names = names if names[0] != names[1] else (f"{names[0]} (first)", f"{names[1]} (second)")
        self.parting = _parting(a, b)

    def time_sequence(self, flow: int | str | None = None, ax: Axes | None = None) -> Axes:
        """Draw what both runs sent in one flow: sequence numbers (bytes) against the time since its first segment (s).

        `flow` is a number, or a sending end that both have; None takes the flow with most data of each.  Returns the Axes.
        Raises ValueError when a run has no such flow.
        """
        both = [pick(flows(segments(capture)), flow) for capture in (self.a, self.b)]
        ax = drawing(ax, 10.5, 4.8)
        for name, shown, colour, marker, style in zip(self.names, both, ("#0072b2", "#d55e00"), ("o", "s"), ("solid", "dashed"), strict=True):
            begun = shown.sent[0].t if shown.sent else 0
            data = [one for one in shown.sent if one.length]
            again = [one for one in data if one.retransmitted]
            acked = [one for one in shown.acked if not one.lost]
            ax.plot(
                [(one.t - begun) / SECONDS for one in data], [one.end for one in data], linestyle="none", marker=marker, markersize=3, color=colour,
                markerfacecolor=colour if marker == "o" else "none", label=f"{visible(name, 30)}: sent", gid=f"sent {name}",
            )
            ax.step(
                [(one.t - begun) / SECONDS for one in acked], [one.ack for one in acked], where="post", color=colour, linewidth=1.3, linestyle=style,
                label=f"{visible(name, 30)}: acknowledged", gid=f"acknowledged {name}",
            )
            if again:
                ax.plot(
                    [(one.t - begun) / SECONDS for one in again], [one.end for one in again], linestyle="none", marker="$R$", markersize=7, color=colour,
                    markeredgecolor="#1b1b1b", markeredgewidth=0.3, label=f"{visible(name, 30)}: sent again", gid=f"again {name}",
                )
        self._mark(ax, both)
        counted(ax.yaxis)
        ax.grid(alpha=0.25)
        label(ax, f"two runs: {both[0].name}", f"{clock(self.a)}, from the first segment", "sequence number (bytes from the SYN)")
        return told(ax, *repr(self).split("\n"), *(f"  {visible(name, 30)}: {_summary(flow)}" for name, flow in zip(self.names, both, strict=True)))

    def _mark(self, ax: Axes, both: list[Flow]) -> None:
        """A line where the runs part, if that lies in this flow's time."""
        parting = self.parting
        frame = None if parting is None else parting.a or parting.b
        if frame is None or not both[0].sent:
            return
        begun = (both[0] if parting is not None and parting.a is not None else both[1]).sent[0].t
        if frame.t >= begun:
            ax.axvline((frame.t - begun) / SECONDS, color="#1b1b1b", linewidth=1, linestyle="dotted", label="they part here", gid="parting")

    def __repr__(self) -> str:
        parting = self.parting
        if parting is None:
            return f"the same, to the byte and the nanosecond: {len(self.a):,} frames"
        before = f"the first {parting.same:,} frames are the same; " if parting.same else "from the first frame on they differ: "
        lines = [f"{before}{parting.why}"]
        for name, capture, frame in ((self.names[0], self.a, parting.a), (self.names[1], self.b, parting.b)):
            lines.append(f"  {visible(name, 30)}: {_line(capture, frame)}")
        lines += [f"  {field}: {visible(one, 50)} / {visible(other, 50)}" for field, one, other in parting.fields[:FIELDS]]
        return "\n".join(lines[:8])

    def _repr_png_(self) -> bytes | None:
        try:
            ax = self.time_sequence()
        except ValueError:
            return None  # a run without TCP has no picture
        return bytes(ax._repr_png_())  # type: ignore[attr-defined]


def diff(a: Capture, b: Capture, names: tuple[str, str] = ("first", "second")) -> Diff:
    """Compare two captures, frame by frame: bytes, fate and time (from the first frame on if one comes from a file)."""
    return Diff(a, b, names)


def _parting(a: Capture, b: Capture) -> Parting | None:
    same = 0
    shift = b.frames[0].t - a.frames[0].t if a.clock != b.clock and len(a) and len(b) else 0
    for one, other in zip(a.frames, b.frames):
        if one.data != other.data:
            fields = _fields(one.data, other.data)
            return Parting(same, one, other, f"frame {one.n} says something else", fields)
        if one.fate != other.fate:
            return Parting(same, one, other, f"of frame {one.n} became something else", (("fate", one.fate, other.fate),))
        late = other.t - shift - one.t
        if late:
            later = "earlier" if late < 0 else "later"
            return Parting(same, one, other, f"frame {one.n} comes {abs(late) / 1e6:.6f} ms {later} in the second")
        same += 1
    if len(a) == len(b):
        return None
    longer, frame = ("first", a.frames[same]) if len(a) > len(b) else ("second", b.frames[same])
    more = abs(len(a) - len(b))
    return Parting(same, frame if longer == "first" else None, frame if longer == "second" else None, f"only the {longer} goes on, for {more:,} more")


def _fields(a: bytes, b: bytes) -> tuple[tuple[str, str, str], ...]:
    """The fields that differ, layer by layer."""
    one, other = dissect(a), dissect(b)
    if [layer.name for layer in one.layers] != [layer.name for layer in other.layers]:
        return (("layers", ", ".join(layer.name for layer in one.layers), ", ".join(layer.name for layer in other.layers)),)
    found = []
    for here, there in zip(one.layers, other.layers):
        values = {field.name: field.value for field in there.fields}
        found += [(f"{here.name} {field.name}", field.value, values[field.name]) for field in here.fields if values.get(field.name, field.value) != field.value]
    return tuple(found)


def _line(capture: Capture, frame: Frame | None) -> str:
    if frame is None:
        return "no more frames"
    [seen] = read(capture, start=frame.n, count=1)
    lost = f" [{seen.lost}]" if seen.lost else ""
    return f"{seen.n} {seen.t / SECONDS:.6f} s {seen.src} -> {seen.dst} {seen.protocol} {visible(seen.info, 90)}{lost}"


def _summary(flow: Flow) -> str:
    lasted = (max([one.t for one in flow.acked] or [0]) - flow.sent[0].t) / SECONDS if flow.sent else 0
    return f"{flow.bytes:,} bytes in {lasted:.3f} s, {flow.retransmitted} sent again"
