"""places: where in the person's own code something happened.

Errors name a place a person can go to.  A `Place` turns a file name and line into words; in a notebook the extension gives
one that says "cell 2, line 5".
"""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mirage_lab.signatures.units import Ns

__all__ = ["Place", "Report", "explain", "person_frames", "plain_place"]

Place = Callable[[str, int], str]

_HOUSE = str(Path(__file__).resolve().parent.parent)
_SKELETON = str(Path(_HOUSE) / "skeleton")
LONGEST = 2_000
_STDLIB = sysconfig.get_path("stdlib")


@dataclass(frozen=True, slots=True)
class Report:
    """A message for the person at the keyboard: when, from which domain or component, and the text."""

    t: Ns
    source: str
    text: str

    def __str__(self) -> str:
        return f"{self.source}: {self.text}"


def plain_place(filename: str, line: int) -> str:
    """Return `web.py, line 5`."""
    return f"{Path(filename).name}, line {line}"


def is_person(filename: str) -> bool:
    """True for the person's own files and cells (and the examples of the skeleton), not the lab's or Python's."""
    if filename.startswith(_SKELETON):
        return True
    return not (filename.startswith((_HOUSE, "<frozen")) or (filename.startswith(_STDLIB) and "site-packages" not in filename))


def person_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of `error` in the person's own code, outermost first."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if is_person(frame.filename)]


def _text(error: BaseException) -> str:
    """Return the message of an exception of a guest, bounded; one that cannot be told is no reason to fail."""
    try:
        return str(error)[:LONGEST]
    except Exception as again:
        return f"its message cannot be shown ({type(again).__name__})"


def explain(error: BaseException, place: Place) -> str:
    """Return one line: what went wrong and where in the person's code."""
    text = _text(error)
    what = type(error).__name__ + (f": {text}" if text else "")
    frames = person_frames(error)
    if not frames:
        return what
    last = frames[-1]
    source = (last.line or linecache.getline(last.filename, last.lineno or 0)).strip()
    where = place(last.filename, last.lineno or 0)
    return f"{what} ({where}, in {last.name}{': ' + source if source else ''})"
