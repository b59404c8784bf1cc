"""ladder: who said what to whom, from top to bottom.

Each host is a vertical line, each frame an arrow from its sender, slanted by the time it took when that is known.  Rows
are evenly spaced so that a microsecond and a minute both can be read; the virtual time stands at the left.  A frame the
lan lost is an arrow that breaks off.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from mirage_lab.plot.axes import SECONDS, drawing, label, told
from mirage_lab.plot.flows import Flow
from mirage_lab.plot.follow import connection
from mirage_lab.plot.frames import Seen, read
from mirage_lab.plot.hosts import Hosts
from mirage_lab.tracing.svg import bounded, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.tracing.capture import Capture

__all__ = ["COLUMNS", "ROWS", "ladder"]

COLUMNS = 8
"""Hosts with a line of their own; when there are more, those that appeared later share the last one."""

ROWS = 60
"""Frames in one ladder; `start=` shows the next ones."""

_INFO = 64


def ladder(
    capture: Capture, ax: Axes | None = None, *, start: int = 1, flow: Flow | str | int | None = None, hosts: Hosts | None = None,
) -> Axes:
    """Draw up to 60 frames, from number `start` on, as a ladder (Wireshark's flow graph); return the Axes.

    `flow` (a Flow, its number, its name or its sending end) leaves only the frames of its connection.
    """
    hosts = hosts or Hosts()
    if flow is not None:
        capture = connection(capture, flow)
    shown = read(capture, hosts, start=start, count=ROWS)
    after = capture.after(shown[-1].n) if shown else 0
    columns = _columns(shown, hosts)
    lines = {x: name for name, x in columns.items()}
    if len(columns) > len(lines):
        lines[COLUMNS - 1] = f"{len(columns) - COLUMNS + 1} others"
    ax = drawing(ax, 2.5 + 2.7 * max(2, len(lines)), 1.2 + 0.3 * max(3, len(shown)))
    for x, name in lines.items():
        ax.plot([x, x], [-0.8, len(shown)], color=hosts.colour(name), linewidth=2, gid=f"host {name}")
        ax.text(x, -1.0, visible(name, 40), color=hosts.colour(name), ha="center", va="bottom", fontweight="bold", parse_math=False)
    times = [seen.t for seen in shown]
    for row, seen in enumerate(shown):
        _arrow(ax, seen, row, _row_of(seen, row, times), columns, hosts)
        ax.text(-0.62, row, f"{seen.n}", ha="right", va="center", fontsize="x-small", color="#5a5a5a")
        ax.text(-0.58, row, f"{seen.t / SECONDS:.6f} s", ha="left", va="center", fontsize="x-small", gid=f"time {seen.n}")
    ax.set_xlim(-0.75, max(1, len(lines) - 1) + 0.35)
    ax.set_ylim(max(3, len(shown)) + 0.6, -1.9)
    ax.set_axis_off()
    label(ax, _title(capture, shown))
    more = f"{after:,} more frames: ladder(start={shown[-1].n + 1}{'' if flow is None else ', flow=...'})" if after else ""
    if more:
        ax.text(0, len(shown) + 0.3, more, fontsize="small", style="italic", gid="more")
    return told(ax, *_words(capture, shown, columns, more))


def _columns(shown: list[Seen], hosts: Hosts) -> dict[str, int]:
    """Hosts from left to right, in the order they appeared; nobody stands for the broadcast address."""
    names = {hosts.name(seen.src) for seen in shown} | {hosts.name(seen.dst) for seen in shown if not seen.broadcast}
    there = [name for name in hosts.order if name in names]
    if len(there) <= COLUMNS:
        return {name: x for x, name in enumerate(there)}
    return {name: min(x, COLUMNS - 1) for x, name in enumerate(there)}


def _row_of(seen: Seen, row: int, times: list[int]) -> float:
    """The height at which a frame arrives: between the rows of the frames sent before and after that moment."""
    if seen.arrived is None or seen.arrived <= seen.t:
        return float(row)
    after = bisect_right(times, seen.arrived)
    if after >= len(times):
        return len(times) - 0.4
    before = times[after - 1]
    return after - 1 + (seen.arrived - before) / (times[after] - before)


def _arrow(ax: Axes, seen: Seen, row: int, end: float, columns: dict[str, int], hosts: Hosts) -> None:
    """One frame: its arrow, or for a broadcast one to each side, and its words."""
    x = columns[hosts.name(seen.src)]
    colour = hosts.colour(hosts.name(seen.src))
    targets: list[float]
    if seen.broadcast:
        targets = sorted({min(columns.values()), max(columns.values())} - {x}) or [x + 0.5]
    else:
        targets = [float(columns[hosts.name(seen.dst)])]
    for target in targets:
        target_x = target if target != x else x + 0.3
        look = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.2}
        at: tuple[float, float] = (target_x, end)
        if seen.lost:
            at = (x + (target_x - x) * 0.6, row + (end - row) * 0.6)
            look |= {"arrowstyle": "-", "linestyle": "dashed"}
            ax.plot(*at, marker="x", color=colour, markersize=8, markeredgewidth=2, gid=f"lost {seen.n}")
        ax.annotate("", xy=at, xytext=(x, row), arrowprops=look, gid=f"frame {seen.n}")
    info = bounded(seen.info, _INFO) + (f"  [{seen.lost}]" if seen.lost else "")
    middle = (x + sum(targets) / len(targets)) / 2 if len(targets) == 1 else x
    ax.text(
        middle, (row + end) / 2 - 0.1, visible(info, _INFO + 40), ha="center", va="bottom", fontsize="x-small",
        gid=f"info {seen.n}", parse_math=False,
    )


def _title(capture: Capture, shown: list[Seen]) -> str:
    if not shown:
        return f"{capture.name}: no frames yet" if not len(capture) else f"{capture.name}: no such frames"
    return f"{capture.name}: frames {shown[0].n} to {shown[-1].n} of {capture.last}"


def _words(capture: Capture, shown: list[Seen], columns: dict[str, int], more: str) -> list[str]:
    lines = [_title(capture, shown)]
    if shown:
        lost = sum(bool(seen.lost) for seen in shown)
        who = bounded(" | ".join(columns), 120)
        lines.append(f"  {who}: {len(shown)} arrows from {shown[0].t / SECONDS:.6f} s to {shown[-1].t / SECONDS:.6f} s, {lost} lost")
    if more:
        lines.append(f"  {more}")
    return lines
