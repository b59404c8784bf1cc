"""actions: effects as values: what would be written or removed can be shown before it is done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Action", "Remove", "Write", "dry_run", "run"]


@dataclass(frozen=True, slots=True)
class Write:
    """Write a text file."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"write {self.path.name} ({len(self.text.splitlines())} lines)"

    def run(self) -> None:
        """Do it; the directory is made if need be."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.text, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file, or a directory that is empty then; one that is not there is no error."""

    path: Path

    def __str__(self) -> str:
        return f"remove {self.path.name}"

    def run(self) -> None:
        """Do it."""
        if self.path.is_dir():
            if not any(self.path.iterdir()):
                self.path.rmdir()
        else:
            self.path.unlink(missing_ok=True)


Action = Write | Remove


def dry_run(actions: Iterable[Action]) -> list[str]:
    """Return what `run` would do, a line each."""
    return [str(action) for action in actions]


def run(actions: Iterable[Action]) -> list[str]:
    """Do it all, in order; return the lines."""
    done = []
    for action in actions:
        action.run()
        done.append(str(action))
    return done
