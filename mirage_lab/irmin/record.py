"""record: a transaction as the log has it: the commits that are new, and the branch that moves to the last of them.

    record   branch, target, commits...         target    where the branch is then: a reference, or none
    commit   date, author, message, parents, changes from the first parent's tree: (path, data or gone)...,
             the body as Git has it if it is not what we would write
    reference   number of a commit in this log (u64), or the name of a stored one (20 bytes)

All numbers little endian; texts and bytes have their length (u32) before them.  Nothing is hashed on this way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from mirage_lab.irmin.commit import Changes, Commit
from mirage_lab.irmin.errors import ObjectError, PathError
from mirage_lab.irmin.node import EMPTY, Blob, Node
from mirage_lab.irmin.node import changes as differences
from mirage_lab.irmin.objects import COMMIT, Info, name_of
from mirage_lab.irmin.path import steps_of

__all__ = ["read_record", "write_record"]

_U32 = struct.Struct("<I")
_I64 = struct.Struct("<q")
NONE, NUMBER, NAME = 0, 1, 2


def write_record(branch: str, after: Commit | None, fresh: list[Commit], numbers: dict[Commit, int]) -> bytes:
    """Return the record of a move to `after`; `fresh` are its commits that were not logged, parents first, numbered here."""
    parts = [_text(branch), _U32.pack(len(fresh))]
    for commit in fresh:
        info = commit.info
        parts += (_I64.pack(info.date), _text(info.author), _text(info.message), _U32.pack(len(commit.parents)))
        parts += [_reference(parent, numbers) for parent in commit.parents]
        changes = commit.changes
        if changes is None:
            changes = _differences(commit.parents[0].root if commit.parents else EMPTY, commit.root)
        parts.append(_U32.pack(len(changes)))
        for steps, blob in changes:
            path = _text("/".join(steps))
            parts += (path, b"\0") if blob is None else (path, b"\1", _U32.pack(len(blob.data)), blob.data)
        body = commit.foreign or b""
        parts += (_U32.pack(len(body)), body)
        numbers[commit] = len(numbers)
    parts.append(b"\0" if after is None else _reference(after, numbers))
    return b"".join(parts)


def _differences(before: Node, after: Node) -> Changes:
    """What differs; removals first, for a value may have become a directory."""
    found = [(steps, new) for steps, _, new in differences(before, after)]
    return [*(each for each in found if each[1] is None), *(each for each in found if each[1] is not None)]


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return _U32.pack(len(data)) + data


def _reference(commit: Commit, numbers: dict[Commit, int]) -> bytes:
    number = numbers.get(commit)
    return bytes([NAME]) + commit.name if number is None else bytes([NUMBER]) + _I64.pack(number)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) < size:
            raise ObjectError("a record breaks off")
        self.at += size
        return part

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def i64(self) -> int:
        return int(_I64.unpack(self.take(8))[0])

    def text(self) -> str:
        try:
            return self.take(self.u32()).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise ObjectError("a text in a record is not UTF-8") from None


def read_record(data: bytes, commits: list[Commit], stored: Callable[[bytes], Commit | None]) -> tuple[str, Commit | None]:
    """Return the branch and where it is then; new commits are added to `commits`, in the order of their numbers.

    Raises ObjectError when the record is none, or names what is not there.
    """
    reader = _Reader(data)
    branch = reader.text()
    for _ in range(reader.u32()):
        info = Info(reader.i64(), reader.text(), reader.text())
        parents = tuple(_resolve(reader, commits, stored) for _ in range(reader.u32()))
        changes: Changes = []
        for _ in range(reader.u32()):
            try:
                steps = steps_of(reader.text())
            except PathError as error:
                raise ObjectError(f"a record has a path that is none: {error}") from None
            if not steps:
                raise ObjectError("a record has contents where the root is")
            changes.append((steps, Blob(reader.take(reader.u32())) if reader.take(1) == b"\1" else None))
        body = reader.take(reader.u32())
        made = Commit.changing(changes, parents, info, name_of(COMMIT, body) if body else None)
        if body:
            made.take_body(body)
        commits.append(made)
    if reader.data[reader.at : reader.at + 1] == b"\0":
        return branch, None
    return branch, _resolve(reader, commits, stored)


def _resolve(reader: _Reader, commits: list[Commit], stored: Callable[[bytes], Commit | None]) -> Commit:
    kind = reader.take(1)[0]
    if kind == NUMBER:
        number = reader.i64()
        if not 0 <= number < len(commits):
            raise ObjectError(f"a record names commit {number} of {len(commits)}")
        return commits[number]
    found = stored(reader.take(20)) if kind == NAME else None
    if found is None:
        raise ObjectError("a record names a commit that is not stored")
    return found
