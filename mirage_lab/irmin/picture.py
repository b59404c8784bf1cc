"""picture: a history as people draw it: commits as dots in lanes, branches by name, and where two of them parted, lit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from mirage_lab.irmin.commit import Commit, ancestors, common_ancestors
from mirage_lab.irmin.errors import StoreError
from mirage_lab.irmin.lanes import Lanes, lanes
from mirage_lab.irmin.store import Repo
from mirage_lab.tracing.svg import CARD, INK, MUTED, OKABE_ITO, Svg, visible

__all__ = ["HistoryPicture"]

ROW: Final = 22
LANE: Final = 16
LIT: Final = "#e69f00"
MESSAGE: Final = 70


class HistoryPicture:
    """The newest `most` commits of a repository, or of some of its branches.

    `meet` names two branches or commits (40 hexadecimal digits): their lowest common ancestors are lit.  Raises StoreError.
    """

    def __init__(self, repo: Repo, branches: Iterable[str] | None = None, most: int = 30, meet: Sequence[str] = ()) -> None:
        names = sorted(repo.heads) if branches is None else list(branches)
        self.heads = {name: _commit(repo, name) for name in names}
        self.meet = [_commit(repo, name) for name in meet]
        if len(self.meet) not in (0, 2):
            raise StoreError(f"two commits meet, not {len(self.meet)}")
        self.lit = common_ancestors(self.meet[0], self.meet[1]) if self.meet else []
        found = list(islice(ancestors(*dict.fromkeys([*self.heads.values(), *self.meet])), most + 1))
        self.more = len(found) > most
        self.lanes: Lanes = lanes(found[:most])

    def told(self, commit: Commit) -> list[str]:
        """What stands beside a commit: the branches whose head it is, and what it is to those that meet."""
        words = [f"[{name}]" for name, head in self.heads.items() if head.same(commit)]
        if any(commit.same(other) for other in self.lit):
            words.append("<- lowest common ancestor")
        return words

    def __repr__(self) -> str:
        lines = []
        for row, commit in enumerate(self.lanes.commits):
            past = self.lanes.passing(row)
            drawn = " ".join("*" if lane == self.lanes.at[row] else "|" if lane in past else " " for lane in range(self.lanes.width))
            lines.append(f"{drawn} {commit.name.hex()[:7]} {_message(commit)} {' '.join(self.told(commit))}".rstrip())
        if self.more:
            lines.append("... and earlier ones")
        return "\n".join(lines) or "no commit yet"

    def _repr_svg_(self) -> str:
        rows = len(self.lanes.commits)
        left = 18 + LANE * max(self.lanes.width, 1)
        svg = Svg(760, 20 + ROW * rows + (20 if self.more else 0), "history", f"{rows} commits, the newest first")

        def where(lane: int, row: float) -> tuple[float, float]:
            return 16.0 + LANE * lane, 20.0 + ROW * row

        for line in self.lanes.lines:
            points = [where(self.lanes.at[line.child], line.child), where(line.lane, line.child + 1)]
            if line.parent < rows:
                points += [where(line.lane, max(line.parent - 1, line.child + 1)), where(self.lanes.at[line.parent], line.parent)]
                if line.parent == line.child + 1:
                    points = [points[0], points[-1]]
            else:
                points.append(where(line.lane, rows - 0.4))
            svg.polyline(points, stroke=OKABE_ITO[line.lane % len(OKABE_ITO)], thick=2)
        for row, commit in enumerate(self.lanes.commits):
            x, y = where(self.lanes.at[row], row)
            tip = f"{commit.name.hex()}, {commit.info.author}: {commit.info.message}"
            if any(commit.same(other) for other in self.lit):
                svg.circle(x, y, 9, fill=LIT)
            merge = len(commit.parents) > 1
            svg.circle(x, y, 5, fill=CARD if merge else INK, stroke=INK, tip=tip)
            svg.text(left, y + 4, commit.name.hex()[:7], size=11, mono=True, fill=MUTED, tip=tip)
            told = " ".join(self.told(commit))
            svg.text(left + 60, y + 4, _message(commit), size=12, limit=MESSAGE)
            if told:
                svg.text(746, y + 4, told, size=11, anchor="end", bold=True, limit=60)
        if self.more:
            svg.text(left, 20 + ROW * rows, "... and earlier ones", size=11, fill=MUTED)
        return str(svg)


def _message(commit: Commit) -> str:
    return visible(commit.info.message.partition("\n")[0], MESSAGE)


def _commit(repo: Repo, name: str) -> Commit:
    """Return the head of a branch, or the commit of that name."""
    found = repo.heads.get(name)
    if found is None and len(name) == 40:
        found = repo.commit(name)
    if found is None:
        raise StoreError(f"{name!r} is no branch and no commit of this store")
    return found
