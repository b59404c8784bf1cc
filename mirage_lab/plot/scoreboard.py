"""scoreboard: what a sender knows of the bytes it has under way, as SACK blocks tell it (RFC 2018, RFC 6675).

The lowest byte not acknowledged is the floor; above it lies what was sent.  Filled: a SACK block said that it arrived.
What stays empty between the floor and a block is a hole; R is where a hole was sent again.  From the segments alone, so it
can be drawn of any capture.
"""

from __future__ import annotations

from itertools import islice, pairwise
from typing import TYPE_CHECKING

from mirage_lab.plot.axes import SECONDS, above, clock, counted, drawing, label, nothing, told
from mirage_lab.plot.flows import Flow, Sent, both
from mirage_lab.plot.hosts import Hosts
from mirage_lab.plot.windows import Wanted, chosen

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.tracing.capture import Capture

__all__ = ["Board", "boards", "scoreboard"]

BLOCKS = 128
"""Blocks remembered at a time; the lowest are forgotten."""
DRAWN = 50_000


class Board:
    """From `t` (ns) on: all before `una` is acknowledged, all before `top` was sent, `blocks` between them have arrived (bytes from the SYN)."""

    __slots__ = ("blocks", "t", "top", "una")

    def __init__(self, t: int, una: int, top: int, blocks: tuple[tuple[int, int], ...]) -> None:
        self.t, self.una, self.top, self.blocks = t, una, top, blocks

    def __repr__(self) -> str:
        return f"<Board t={self.t / SECONDS:.6f} s {self.una}..{self.top} has {self.blocks}>"


def boards(flow: Flow) -> list[Board]:
    """Return the scoreboard after each segment and acknowledgment that changed it."""
    found: list[Board] = []
    una = top = 0
    blocks: tuple[tuple[int, int], ...] = ()
    for one in both(flow):
        if isinstance(one, Sent):
            top = max(top, one.end)
        else:
            una = max(una, one.ack)
            blocks = _merged([*blocks, *((left, right) for left, right in one.sack if una < right <= top and left < right)], una)
        last = found[-1] if found else None
        if last is None or (last.una, last.top, last.blocks) != (una, top, blocks):
            found.append(Board(one.t, una, top, blocks))
    return found


def _merged(blocks: list[tuple[int, int]], una: int) -> tuple[tuple[int, int], ...]:
    """The blocks above `una`, joined where they touch."""
    found: list[tuple[int, int]] = []
    for left, right in sorted(blocks):
        if right <= una:
            continue
        if found and left <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], right))
        else:
            found.append((max(left, una), right))
    return tuple(found[-BLOCKS:])


def scoreboard(capture: Capture, flow: Wanted = None, ax: Axes | None = None, *, hosts: Hosts | None = None) -> Axes:
    """Draw a flow's scoreboard: bytes above the last acknowledged one against time (s); return the Axes.

    Raises ValueError when there is no such flow.
    """
    from matplotlib.collections import PolyCollection

    shown, title, colour = chosen(capture, flow, hosts or Hosts())
    ax = drawing(ax, 10.5, 4.2)
    found = boards(shown)
    if not found:
        return nothing(ax, f"scoreboard of {shown.name}: nothing was sent", clock(capture), "bytes above the last acknowledged")
    times = [board.t / SECONDS for board in found]
    ax.fill_between(times, [board.top - board.una for board in found], step="post", color=colour, alpha=0.25, linewidth=0, label="under way", gid="under way")
    every = (
        (board.t / SECONDS, after.t / SECONDS, left - board.una, right - board.una)
        for board, after in pairwise(found)
        for left, right in board.blocks
    )
    rows = list(islice(every, DRAWN))
    total = sum(len(board.blocks) for board in found[:-1])
    if rows:
        corners = [[(start, low), (stop, low), (stop, high), (start, high)] for start, stop, low, high in rows]
        ax.add_collection(PolyCollection(corners, facecolor="#cc79a7", edgecolor="none", label="SACKed: has arrived", gid="SACKed"))
    una, again, place = 0, [], 0
    for one in shown.sent:
        while place < len(found) and found[place].t <= one.t:
            una = found[place].una
            place += 1
        if one.retransmitted:
            again.append((one.t / SECONDS, max(0, one.seq - una)))
    if again:
        ax.plot(
            [t for t, _ in again], [height for _, height in again], linestyle="none", marker="$R$", markersize=7, color="#1b1b1b", transform=above(ax, 6),
            label="sent again", gid="sent again",
        )
    ax.set_ylim(bottom=0)
    counted(ax.yaxis)
    ax.grid(alpha=0.25)
    label(ax, f"scoreboard {title}", clock(capture), "bytes above the last acknowledged")
    most = max(len(board.blocks) for board in found)
    arrived = max(sum(right - left for left, right in board.blocks) for board in found)
    lines = [f"scoreboard of {shown.name}: at most {most} blocks, {arrived:,} bytes arrived above a hole, {len(again)} segments sent again"]
    if not rows:
        lines.append("  no SACK block was seen: the ends did not agree on SACK, or nothing was lost")
    if total > DRAWN:
        lines.append(f"  the first {DRAWN:,} of {total:,} blocks are drawn")
    return told(ax, *lines)
