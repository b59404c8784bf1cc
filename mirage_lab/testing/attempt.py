"""attempt: what the check of an exercise shows in a notebook: "done" and the story, or "not yet" and the story so far.

    @exercise
    def check_waits(trace: Traced, waits: object) -> Story:        # raises NotYet where a claim does not hold
        ...

    check_waits(trace, ...)          # the last line of a cell shows, and stops nothing:
    not yet · the waits of a silent lan: 1 claim held, then one does not hold
      ✓ 1. ...
      ✗ 2. ...

A check that raised would turn an untouched notebook red and end its Run All; so a check called by a learner answers with an
`Attempt`.  A grader asks `attempt.passed`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec

from mirage_lab.testing.story import Broken, Story

__all__ = ["Attempt", "exercise"]

P = ParamSpec("P")


@dataclass(frozen=True, slots=True, repr=False)
class Attempt:
    """What a check said of an attempt: `told` is the story if it passed, and what broke it if not."""

    told: Story | Broken

    @property
    def passed(self) -> bool:
        """Whether every claim held."""
        return isinstance(self.told, Story)

    def __repr__(self) -> str:
        return f"done · {self.told!r}" if isinstance(self.told, Story) else f"not yet · {self.told}"


def exercise(check: Callable[P, Story]) -> Callable[P, Attempt]:
    """Mark a check of an exercise: called, it returns an Attempt and raises none of its claims."""

    @functools.wraps(check)
    def attempt(*args: P.args, **keys: P.kwargs) -> Attempt:
        try:
            return Attempt(check(*args, **keys))
        except Broken as broken:
            return Attempt(broken)

    return attempt
