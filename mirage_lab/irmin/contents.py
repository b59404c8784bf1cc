"""contents: the types of values a store can hold: how they are bytes, and what becomes of two that were changed at once.

    BYTES TEXT    as they are; a change on both sides is a conflict      JSON     objects merge key by key
    LINES ROPE    text merged by lines, by characters                    COUNTER  sums what each side added
    REGISTER      (time, value): the later wins                          SET MAP  element by element, key by key
    LOG           (time, text) that only grows                           QUEUE    pushed on both sides, popped at least once
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

from mirage_lab.irmin import merge
from mirage_lab.irmin.diff3 import merge_sequences
from mirage_lab.irmin.errors import ContentsError
from mirage_lab.irmin.merge import Conflict, Merge
from mirage_lab.irmin.rope import Rope

__all__ = ["BYTES", "COUNTER", "JSON", "LINES", "LOG", "MAP", "QUEUE", "REGISTER", "ROPE", "SET", "TEXT", "TYPES", "Contents", "Queue"]

T = TypeVar("T")


@dataclass(frozen=True)
class Contents(Generic[T]):
    """A type of values.  `encode` and `decode` raise ContentsError; equal changes on both sides are two when `twice`."""

    name: str
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    merge: Merge = field(repr=False)
    twice: bool = False

    def merged(self, old: bytes | None, ours: bytes, theirs: bytes) -> bytes | Conflict:
        """Merge encoded values."""
        before = None if old is None else self.decode(old)
        result = self.merge(before, self.decode(ours), self.decode(theirs))
        return result if isinstance(result, Conflict) else self.encode(result)


class Queue(NamedTuple):
    """A queue of texts: how many were popped since it began, and what waits, the next one first."""

    popped: int = 0
    waiting: tuple[str, ...] = ()

    def push(self, *texts: str) -> Queue:
        """Return the queue with more at its end."""
        return Queue(self.popped, (*self.waiting, *texts))

    def pop(self) -> tuple[str, Queue]:
        """Return the next text, and the queue without it; raises IndexError when nothing waits."""
        return self.waiting[0], Queue(self.popped + 1, self.waiting[1:])


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ContentsError(f"contents are bytes, not {type(value).__name__}")
    return bytes(value)


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ContentsError(f"contents are text, not {type(value).__name__}")
    return value.encode("utf-8", "surrogatepass")


def _read_text(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise ContentsError(f"byte {error.start} is not UTF-8") from None


def _rope(value: Any) -> bytes:
    _expect(isinstance(value, Rope), "rope")
    return _text(str(value))


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as error:
        raise ContentsError(f"this cannot be JSON: {error}") from None


def _read_json(data: bytes) -> Any:
    try:
        return json.loads(_read_text(data))
    except (ValueError, RecursionError) as error:
        raise ContentsError(f"this is no JSON: {error}") from None


def _expect(good: bool, what: str) -> None:
    if not good:
        raise ContentsError(f"this is no {what}")


def _number(value: Any) -> bytes:
    _expect(isinstance(value, int) and not isinstance(value, bool), "counter: a whole number")
    return b"%d" % value


def _read_number(data: bytes) -> int:
    try:
        return int(data) if len(data) <= 1_000 else int("")
    except ValueError:
        raise ContentsError(f"{data[:20]!r} is no whole number") from None


def _dated(value: Any, what: str) -> tuple[int, Any]:
    _expect(isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], int) and not isinstance(value[0], bool), what)
    return value[0], value[1]


def _register(value: Any) -> bytes:
    at, text = _dated(value, "register: (time, text)")
    _expect(isinstance(text, str), "register: (time, text)")
    return _json([at, text])


def _read_register(data: bytes) -> tuple[int, str]:
    at, text = _dated(_read_json(data), "register: [time, text]")
    _expect(isinstance(text, str), "register: [time, text]")
    return at, text


def _set(value: Any) -> bytes:
    _expect(isinstance(value, set | frozenset) and all(isinstance(each, str) for each in value), "set of texts")
    return _json(sorted(value))


def _read_set(data: bytes) -> frozenset[str]:
    found = _read_json(data)
    _expect(isinstance(found, list) and all(isinstance(each, str) for each in found), "set: a list of texts")
    return frozenset(found)


def _map(value: Any) -> bytes:
    _expect(isinstance(value, Mapping) and all(isinstance(key, str) for key in value), "map from texts")
    return _json(dict(value))


def _read_map(data: bytes) -> dict[str, Any]:
    found = _read_json(data)
    _expect(isinstance(found, dict), "map: a JSON object")
    assert isinstance(found, dict)
    return found


def _log(value: Any) -> bytes:
    _expect(isinstance(value, list | tuple), "log: (time, text) pairs")
    rows = [_dated(row, "log: (time, text) pairs") for row in value]
    _expect(all(isinstance(text, str) for _, text in rows), "log: (time, text) pairs")
    return b"".join(_json([at, text]) + b"\n" for at, text in rows)


def _read_log(data: bytes) -> tuple[tuple[int, str], ...]:
    return tuple(_read_register(line) for line in data.split(b"\n") if line)


def _queue(value: Any) -> bytes:
    _expect(isinstance(value, Queue) and all(isinstance(each, str) for each in value.waiting), "queue of texts")
    return _json([value.popped, list(value.waiting)])


def _read_queue(data: bytes) -> Queue:
    popped, waiting = _dated(_read_json(data), "queue: [popped, [texts]]")
    _expect(popped >= 0 and isinstance(waiting, list) and all(isinstance(each, str) for each in waiting), "queue: [popped, [texts]]")
    return Queue(popped, tuple(waiting))


def _merge_json(old: Any, ours: Any, theirs: Any) -> Any:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return merge.mapping(_merge_json)(old if isinstance(old, dict) else None, ours, theirs)
    return merge.default(old, ours, theirs)


def _merge_text(old: str | None, ours: str, theirs: str, split: Callable[[str], list[str]]) -> Any:
    found = merge.default(old, ours, theirs)
    if not isinstance(found, Conflict):
        return found
    both = merge_sequences(split(old or ""), split(ours), split(theirs))
    return Conflict(both.why, old, ours, theirs) if isinstance(both, Conflict) else "".join(both)


def _merge_lines(old: str | None, ours: str, theirs: str) -> Any:
    return _merge_text(old, ours, theirs, lambda text: text.splitlines(keepends=True))


def _merge_rope(old: Rope | None, ours: Rope, theirs: Rope) -> Any:
    found = _merge_text(None if old is None else str(old), str(ours), str(theirs), list)
    return found if isinstance(found, Conflict) else Rope(found)


def _merge_log(old: tuple[tuple[int, str], ...] | None, ours: tuple[tuple[int, str], ...], theirs: tuple[tuple[int, str], ...]) -> Any:
    before = old or ()
    if ours[: len(before)] != before or theirs[: len(before)] != before:
        return Conflict("a log only grows, and this one lost an entry", old, ours, theirs)
    if before in (ours, theirs):
        return theirs if ours == before else ours
    return (*before, *sorted(ours[len(before) :] + theirs[len(before) :]))


def _merge_queue(old: Queue | None, ours: Queue, theirs: Queue) -> Any:
    before = old or Queue()
    pushed = before.popped + len(before.waiting)
    if min(ours.popped + len(ours.waiting), theirs.popped + len(theirs.waiting)) < pushed or min(ours.popped, theirs.popped) < before.popped:
        return Conflict("a queue lost what nobody popped", old, ours, theirs)
    kept = before.waiting[max(ours.popped, theirs.popped) - before.popped :]
    more = [each for side in (ours, theirs) for each in side.waiting[max(0, pushed - side.popped) :]]
    total = pushed + sum(side.popped + len(side.waiting) - pushed for side in (ours, theirs))
    return Queue(total - len(kept) - len(more), (*kept, *more))


def _merge_map(old: Any, ours: Any, theirs: Any) -> Any:
    return merge.mapping(merge.default)(old, ours, theirs)


BYTES: Final = Contents[bytes]("bytes", _bytes, bytes, merge.default)
TEXT: Final = Contents[str]("text", _text, _read_text, merge.default)
LINES: Final = Contents[str]("lines", _text, _read_text, _merge_lines)
ROPE: Final = Contents[Rope]("rope", _rope, lambda data: Rope(_read_text(data)), _merge_rope)
JSON: Final = Contents[Any]("json", _json, _read_json, _merge_json)
COUNTER: Final = Contents[int]("counter", _number, _read_number, merge.counter, twice=True)
REGISTER: Final = Contents[tuple[int, str]]("register", _register, _read_register, merge.latest)
SET: Final = Contents[frozenset[str]]("set", _set, _read_set, merge.sets)
MAP: Final = Contents[dict[str, Any]]("map", _map, _read_map, _merge_map)
LOG: Final = Contents[tuple[tuple[int, str], ...]]("log", _log, _read_log, _merge_log, twice=True)
QUEUE: Final = Contents[Queue]("queue", _queue, _read_queue, _merge_queue, twice=True)

TYPES: Final[tuple[Contents[Any], ...]] = (BYTES, TEXT, LINES, ROPE, JSON, COUNTER, REGISTER, SET, MAP, LOG, QUEUE)
