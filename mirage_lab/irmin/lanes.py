"""lanes: where the commits of a history are drawn: a row each, and lanes for the lines from a commit to its parents.

    row 0   o        a merge: its second line goes down in a lane of its own
    row 1   │ o
    row 2   o │
    row 3   o─┘      the lane is free again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mirage_lab.irmin.commit import Commit

__all__ = ["Lanes", "Line", "lanes"]


class Line(NamedTuple):
    """From the commit in row `child` down in `lane` to its parent in row `parent`; that is the number of rows if it is not shown."""

    child: int
    lane: int
    parent: int


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lane of each commit, the lines between them, and how many lanes there are."""

    commits: Sequence[Commit]
    at: list[int]
    lines: list[Line]
    width: int

    def passing(self, row: int) -> set[int]:
        """The lanes in which a line goes past the commit of a row."""
        return {line.lane for line in self.lines if line.child < row < line.parent}


def lanes(commits: Sequence[Commit]) -> Lanes:
    """Give every commit a lane; descendants come before their ancestors, as `ancestors` yields them."""
    rows = {commit: row for row, commit in enumerate(commits)}
    awaited: list[Commit | None] = []
    at: list[int] = []
    lines: list[Line] = []
    for row, commit in enumerate(commits):
        waiting = [lane for lane, wanted in enumerate(awaited) if wanted is commit]
        lane = waiting[0] if waiting else _free(awaited)
        for other in waiting:
            awaited[other] = None
        at.append(lane)
        for place, parent in enumerate(dict.fromkeys(commit.parents)):
            down = lane
            if place:
                down = awaited.index(parent) if parent in awaited else _free(awaited)
            awaited[down] = parent
            lines.append(Line(row, down, rows.get(parent, len(commits))))
    return Lanes(commits, at, lines, len(awaited))


def _free(awaited: list[Commit | None]) -> int:
    """Return the first lane in which nothing goes down, a new one if need be."""
    if None not in awaited:
        awaited.append(None)
    return awaited.index(None)
