"""fs: a store in plain files, one per object, to look at with any tool; slow, and nothing to recover.

    objects/ab/cdef...   "tree 33\\0..." as Git hashes it, not compressed       heads/main   the name of a commit

A commit is there as soon as it was made, whatever becomes of the process; a loss of power is another matter (`git`).
"""

from __future__ import annotations

import os
from pathlib import Path

from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.errors import ObjectError, StoreError
from mirage_lab.irmin.lock import hold
from mirage_lab.irmin.node import EMPTY, Blob, Entry
from mirage_lab.irmin.objects import BLOB, COMMIT, TREE, framed, name_of
from mirage_lab.irmin.store import Backend
from mirage_lab.irmin.stored import Stored

__all__ = ["Fs"]


class Fs(Backend):
    """A backend in directory `path`: each object of a commit is written, then the head is replaced.  Raises StoreError when it is open already."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        (self.path / "heads").mkdir(parents=True, exist_ok=True)
        self.objects = Stored(self._read)
        self._lock = hold(self.path / "lock", self.path.name)
        for folder in ("objects", "heads"):
            for left in sorted((self.path / folder).rglob("*.lock")):
                left.unlink()  # a killed process was writing it

    # reading -----------------------------------------------------------------------------------------------------

    def branches(self) -> dict[str, Commit]:
        """Return the branches as they were left."""
        heads = self.path / "heads"
        found = {}
        for path in sorted(heads.rglob("*")):
            if path.is_file():
                try:
                    found[path.relative_to(heads).as_posix()] = self.objects.commit(bytes.fromhex(path.read_text("ascii")))
                except (ValueError, UnicodeDecodeError):
                    raise StoreError(f"heads/{path.relative_to(heads).as_posix()} names no commit") from None
        return found

    def commit(self, name: bytes) -> Commit | None:
        """Return a stored commit, or None."""
        return self.objects.commit(name) if self._place(name).exists() else None

    def _place(self, name: bytes) -> Path:
        return self.path / "objects" / name.hex()[:2] / name.hex()[2:]

    def _read(self, name: bytes, kind: bytes) -> bytes:
        try:
            data = self._place(name).read_bytes()
        except OSError as error:
            raise ObjectError(f"object {name.hex()}: {error.strerror}") from None
        head, _, body = data.partition(b"\0")
        if head != b"%b %d" % (kind, len(body)) or name_of(kind, body) != name:
            raise ObjectError(f"object {name.hex()} is not what its name says")
        return body

    # writing -----------------------------------------------------------------------------------------------------

    def move(self, branch: str, before: Commit | None, after: Commit | None) -> None:
        """Write what is new of a commit and those it came from, then the head."""
        head = self.path / "heads" / branch
        try:
            if after is None:
                head.unlink(missing_ok=True)
                return
            waiting = [after]
            while waiting:
                commit = waiting[-1]
                more = [parent for parent in commit.parents if parent.home is not self.objects]
                if more:
                    waiting += more
                    continue
                waiting.pop()
                if commit.home is not self.objects:
                    self._store(commit.root)
                    self._write(commit.name, COMMIT, commit.body)
                    commit.home = self.objects
                    self.objects.keep(commit)
            head.parent.mkdir(parents=True, exist_ok=True)
            _replace(head, after.name.hex().encode())
        except OSError as error:
            raise StoreError(f"{branch}: {error.strerror}: it has not moved") from None

    def close(self) -> None:
        """Let go."""
        self._lock.close()

    def _store(self, entry: Entry) -> None:
        if entry.home is self.objects:
            return
        if isinstance(entry, Blob):
            self._write(entry.name, BLOB, entry.data)
        else:
            for _, child in entry.children.items():
                self._store(child)
            self._write(entry.name, TREE, entry.body)
        if entry is not EMPTY:
            entry.home = self.objects

    def _write(self, name: bytes, kind: bytes, body: bytes) -> None:
        place = self._place(name)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            _replace(place, framed(kind, body))


def _replace(path: Path, data: bytes) -> None:
    made = path.with_name(path.name + ".lock")
    try:
        with made.open("wb") as file:
            file.write(data)
        os.replace(made, path)
    except OSError:
        made.unlink(missing_ok=True)
        raise
