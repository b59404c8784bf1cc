"""Said: what a command answers, one line that tells what happened and the next step.

It is a string that displays as itself, without quotes.
"""

from __future__ import annotations

__all__ = ["LabError", "Said"]

from mirage_lab.signatures.errors import MirageError


class LabError(MirageError):
    """A command that the lab cannot follow: the message names the place, the reason and the way out."""


class Said(str):
    """A line for a person; `print` and display show the same."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
