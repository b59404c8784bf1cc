"""story: the steps of a check, in order, each with a tick; the first that does not hold ends it and tells them all.

    KV_RO of MyStore: 2 promises kept, then one broken
      ✓ 1. a value is read whole
      ✓ 2. its size is its length
      ✗ 3. a part is a slice
           expected  b'ello'
           came      b'hello'
           where     <cell>:4, in read: return self.values[key]

A Story is what a check returns, a Broken what it raises: an AssertionError, so that a test fails on it and a person reads it.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field

__all__ = ["Broken", "Story", "short"]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 70
_SHORT.maxlong = 40
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 8


def short(value: object) -> str:
    """Return `value` as a person reads it: its repr, cut when long; bytes tell their length then."""
    if isinstance(value, bytes | bytearray | memoryview) and len(value) > 24:
        return f"{bytes(value[:16])!r} … {len(value):,} bytes"
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
        super().__init__(str(self))

    def __str__(self) -> str:
        held = len(self.story.steps)
        lines = [f"{self.story.title}: {self.story.count(held)}, then one {self.story.broken}", *self.story.ticks()]
        lines.append(f"  ✗ {held + 1}. {self.promise}")
        return "\n".join([*lines, *(f"       {line}" for text in self.detail for line in text.splitlines())])


@dataclass(slots=True)
class Story:
    """The steps that held so far, in order; its repr lists them.  A check adds to it and returns it."""

    title: str
    noun: str = "promise"
    held: str = "kept"
    broken: str = "broken"
    steps: list[str] = field(default_factory=list)
    error: type[Broken] = Broken
    now: str = ""

    def step(self, promise: str) -> None:
        """Say that `promise` was kept."""
        self.steps.append(promise)
        self.now = ""

    def true(self, promise: str, kept: object, *detail: str) -> None:
        """Add a step when `kept`; raises the story's error with the lines of `detail` otherwise."""
        if not kept:
            self.fail(promise, *detail)
        self.step(promise)

    def equal(self, promise: str, came: object, expected: object) -> None:
        """Add a step when `came` equals `expected`; raises the story's error that shows both otherwise."""
        self.true(promise, came == expected, f"expected  {short(expected)}", f"came      {short(came)}")

    def fail(self, promise: str, *detail: str) -> None:
        """Raise the story's error."""
        raise self.error(self, promise, detail)

    def count(self, held: int) -> str:
        """Return "2 promises kept"."""
        return f"{held} {self.noun}{'' if held == 1 else 's'} {self.held}"

    def ticks(self) -> list[str]:
        """Return a line per step."""
        return [f"  ✓ {number}. {promise}" for number, promise in enumerate(self.steps, 1)]

    def __repr__(self) -> str:
        return "\n".join([f"{self.title}: {self.count(len(self.steps))}", *self.ticks()])
