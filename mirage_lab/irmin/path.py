"""path: where a value is: steps from the root, written "a/b/c" or given as a sequence.

A step is what may name an entry of a Git tree that `git fsck --strict` accepts: not empty, no "/" or NUL, not "." or ".."
or ".git".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mirage_lab.irmin.errors import PathError

__all__ = ["DEEPEST", "Path", "Steps", "shown", "steps_of"]

Steps = tuple[str, ...]
Path = str | Sequence[str]

DEEPEST: Final = 100
"""Steps of the longest path."""
LONGEST: Final = 1_024
"""Characters of the longest step."""
_FORBIDDEN: Final = frozenset({"", ".", ".."})
_GIT: Final = frozenset({".git", "git~1"})


def steps_of(path: Path) -> Steps:
    """Return the steps of `path`; "" and () are the root.  Raises PathError."""
    if isinstance(path, str):
        path = path.strip("/")
        steps = tuple(path.split("/")) if path else ()
    else:
        steps = tuple(path)
    if len(steps) > DEEPEST:
        raise PathError(f"a path of {len(steps)} steps: {DEEPEST} at most")
    for step in steps:
        if step in _FORBIDDEN or len(step) > LONGEST or "\0" in step or "/" in step or (step[0] in ".gG" and step.lower() in _GIT):
            raise PathError(f"{step[:60]!r} is no step of a path: not empty, no slash or NUL, not . or .. or .git, at most {LONGEST} characters")
        if not step.isascii():
            _encodable(step)
    return steps


def _encodable(step: str) -> None:
    try:
        step.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise PathError(f"{step[:60]!r} is no step of a path: half a surrogate pair is no character") from None


def shown(steps: Steps) -> str:
    """Return a path as people write it; the root is "/"."""
    return "/".join(steps) or "/"
