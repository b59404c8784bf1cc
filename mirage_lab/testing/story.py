"""story: the steps of a check, in order, each with a tick; the first that does not hold ends it and tells them all.

    KV_RO of MyStore: 2 promises kept, then one broken
      ✓ 1. a value is read whole
      ✓ 2. its size is its length
      ✗ 3. a part is a slice, short at the end
           call      read('a', 1, 3)
           expected  b'ell'
           came      b'hello'
           where     MyStore.read, cell 3, line 4

A Story is what a check returns, a Broken what it raises: an AssertionError, so that a test fails on it and a person reads it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

__all__ = ["Broken", "Story", "short"]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 70
_SHORT.maxlong = 40
_SHORT.maxtuple = _SHORT.maxdict = 8

SHOWN: Final = 6
"""Elements of a list that a message shows."""


def short(value: object) -> str:
    """Return `value` as a person reads it: its repr, cut when long; bytes tell their length then."""
    if isinstance(value, bytes | bytearray | memoryview) and len(value) > 24:
        return f"{bytes(value[:16])!r} … {len(value):,} bytes"
    if type(value) is list:
        more = [f"… {len(value)} in all"] if len(value) > SHOWN else []
        return f"[{', '.join([*map(short, value[:SHOWN]), *more])}]"
    try:
        return _SHORT.repr(value)
    except Exception:
        return f"<a {type(value).__name__} whose repr fails>"


class Broken(AssertionError):
    """A promise that was not kept: `promise` names it, `story` has the steps before it, `detail` what was seen."""

    def __init__(self, story: Story, promise: str, detail: tuple[str, ...]) -> None:
        self.story = story
        self.promise = promise
        self.detail = detail
        super().__init__(promise)

    def __str__(self) -> str:
        held = len(self.story.steps)
        lines = [f"{self.story.title}: {self.story.count(held)}, then one {self.story.broken}", *self.story.ticks()]
        lines.append(f"  ✗ {held + 1}. {self.promise}")
        return "\n".join([*lines, *(f"       {line}" for text in self.detail for line in text.splitlines())])

    def _render_traceback_(self) -> list[str]:
        """In a notebook the story is the message; the frames of the suite would only hide it."""
        return str(self).splitlines()


@dataclass(slots=True)
class Story:
    """The steps that held so far, in order; its repr lists them.  A check adds to it and returns it.

    A check that was called inside a unikernel waits: awaiting its story runs it.  One called outside has run already, and
    awaiting it gives it back.
    """

    title: str
    noun: str = "promise"
    held: str = "kept"
    broken: str = "broken"
    steps: list[str] = field(default_factory=list)
    error: type[Broken] = Broken
    now: str = ""
    waiting: Coroutine[Any, Any, None] | None = None

    def __await__(self) -> Generator[Any, Any, Story]:
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            yield from waiting.__await__()
        return self

    def step(self, promise: str) -> None:
        """Say that `promise` was kept."""
        self.steps.append(promise)
        self.now = ""

    def true(self, promise: str, kept: object, *detail: str) -> None:
        """Add a step when `kept`; raises the story's error with the lines of `detail` otherwise."""
        if not kept:
            self.fail(promise, *detail)
        self.step(promise)

    def fail(self, promise: str, *detail: str) -> NoReturn:
        """Raise the story's error."""
        raise self.error(self, promise, detail) from None

    def count(self, held: int) -> str:
        """Return "2 promises kept"."""
        return f"{held} {self.noun}{'' if held == 1 else 's'} {self.held}"

    def ticks(self) -> list[str]:
        """Return a line per step."""
        return [f"  ✓ {number}. {promise}" for number, promise in enumerate(self.steps, 1)]

    def __repr__(self) -> str:
        told = f"{self.title}: {self.count(len(self.steps))}"
        if self.waiting is not None:
            told = f"{self.title}: not run yet: await it, and it runs"
        return "\n".join([told, *self.ticks()])
