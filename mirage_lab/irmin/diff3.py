"""diff3: two edits of one sequence brought together, where they do not touch the same place (Khanna, Kunal, Pierce 2007)."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from mirage_lab.irmin.merge import Conflict

__all__ = ["merge_sequences"]

LONGEST: Final = 3_000
"""Elements compared, after what both ends have in common is set aside: comparing costs their square."""


def merge_sequences(old: Sequence[Any], ours: Sequence[Any], theirs: Sequence[Any]) -> list[Any] | Conflict:
    """Return the elements with both edits, or a Conflict when they overlap; equal edits of a place are one."""
    mine, others = _edits(old, ours), _edits(old, theirs)
    if mine is None or others is None:
        return Conflict(f"more than {LONGEST:,} elements to compare", old, ours, theirs)
    merged: list[Any] = []
    at = 0
    for start, stop, put, side in sorted([(*edit, 0) for edit in mine] + [(*edit, 1) for edit in others], key=_place):
        other = others if side == 0 else mine
        if any((start, stop, put) == edit for edit in other):
            if side:
                continue  # the same edit on both sides, made once
        elif any(_touch(start, stop, edit[0], edit[1]) for edit in other):
            return Conflict("both sides changed the same place", old, ours, theirs)
        merged += old[at:start]
        merged += put
        at = stop
    merged += old[at:]
    return merged


def _place(edit: tuple[int, int, list[Any], int]) -> tuple[int, int, int]:
    return edit[0], edit[1], edit[3]


def _touch(start: int, stop: int, other_start: int, other_stop: int) -> bool:
    """True when two edits share an element, or insert at one place."""
    if start == stop or other_start == other_stop:
        return other_start <= start <= other_stop if start == stop else start <= other_start <= stop
    return start < other_stop and other_start < stop


def _edits(old: Sequence[Any], new: Sequence[Any]) -> list[tuple[int, int, list[Any]]] | None:
    """(start, stop, put in their place) for each place of `old` that changed; None when there is too much to compare."""
    low, most = 0, min(len(old), len(new))
    while low < most and old[low] == new[low]:
        low += 1
    high = 0
    while high < most - low and old[-1 - high] == new[-1 - high]:
        high += 1
    before, after = old[low : len(old) - high], new[low : len(new) - high]
    if max(len(before), len(after)) > LONGEST and before and after:
        return None
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return [(low + i, low + j, list(after[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]
