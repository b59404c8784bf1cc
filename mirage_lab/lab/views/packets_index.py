"""packets_index: which frames of a capture a filter matches, and where the numbers of each TCP direction begin.

    capture ──▶ Index ──▶ Matches (one for each of the last FILTERS filters): numbers of frames, up to where it has looked
                      └─▶ Streams: the first sequence number of each direction, for relative numbers as Wireshark shows

Nothing is ever read twice: each look goes on where the last one stopped, a bounded number of frames further, so that a
capture of 100,000 frames costs no look more than a few milliseconds.  A lab that went back has other captures, which have
an index of their own; frames that a capture dropped leave the index too.
"""

from __future__ import annotations

import struct
import weakref
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from typing import Final

from mirage_lab.lab.said import LabError
from mirage_lab.tcpip.displayfilter import DisplayFilter, FilterError, compile_filter
from mirage_lab.tcpip.wire.seq import MASK
from mirage_lab.tcpip.wire.tcp import ACK, SYN
from mirage_lab.tracing.capture import Capture

__all__ = ["Index", "Matches", "Streams"]

FILTERS: Final = 8
"""Filters of one capture that are remembered."""

STREAMS: Final = 200_000
"""Beginnings of TCP directions that are remembered; numbers beyond are shown as they are."""


class Matches:
    """The frames of one capture that match, by number, as far as it was looked: up to frame `scanned`."""

    __slots__ = ("_filter", "_numbers", "_zero", "scanned")

    def __init__(self, wanted: DisplayFilter | None) -> None:
        self._filter = wanted
        self._numbers = array("q")
        self._zero: int | None = None
        self.scanned = 0

    def advance(self, capture: Capture, frames: int) -> None:
        """Look at `frames` more frames; without a filter every frame matches and none need be looked at."""
        if self._filter is None:
            self.scanned = capture.last
            return
        gone = bisect_right(self._numbers, capture.dropped)
        if gone:
            del self._numbers[:gone]
        start = max(self.scanned, capture.dropped) - capture.dropped
        for frame in capture.frames[start : start + frames]:
            if self._zero is None:
                self._zero = frame.t
            if self._filter.matches(frame.n, frame.t - self._zero, frame.data):
                self._numbers.append(frame.n)
            self.scanned = frame.n

    def count(self, capture: Capture) -> int:
        """How many kept frames match, as far as known."""
        return len(capture) if self._filter is None else len(self._numbers) - bisect_right(self._numbers, capture.dropped)

    def done(self, capture: Capture) -> bool:
        """True when every frame was looked at."""
        return self._filter is None or self.scanned >= capture.last

    def window(self, capture: Capture, start: int, count: int) -> list[int]:
        """Return the numbers of `count` matching frames from row `start` (0 is the oldest kept one that matches)."""
        if self._filter is None:
            return list(range(capture.dropped + 1 + start, min(capture.dropped + start + count, capture.last) + 1))
        first = bisect_right(self._numbers, capture.dropped) + start
        return list(self._numbers[first : first + count])

    def row_of(self, capture: Capture, n: int) -> int:
        """Return the row of frame `n`, or of the next one that matches; the last row when none does."""
        if self._filter is None:
            row = n - 1 - capture.dropped
        else:
            row = bisect_left(self._numbers, n) - bisect_right(self._numbers, capture.dropped)
        return max(0, min(row, self.count(capture) - 1))


class Streams:
    """The first sequence number of each direction of each TCP connection, by the frame from which it counts."""

    __slots__ = ("_bases", "_size", "scanned")

    def __init__(self) -> None:
        self._bases: dict[bytes, tuple[array[int], list[int]]] = {}
        self._size = 0
        self.scanned = 0

    def advance(self, capture: Capture, frames: int) -> None:
        """Read `frames` more frames."""
        start = max(self.scanned, capture.dropped) - capture.dropped
        for frame in capture.frames[start : start + frames]:
            self._read(frame.n, frame.data)
            self.scanned = frame.n

    def _read(self, n: int, data: bytes) -> None:
        found = _segment(data)
        if found is None:
            return
        there, back, seq, ack, flags = found
        if flags & SYN or there not in self._bases:
            self._note(there, n, seq)
        if flags & ACK and back not in self._bases:
            self._note(back, n, (ack - 1) & MASK)

    def _note(self, way: bytes, n: int, base: int) -> None:
        known = self._bases.get(way)
        if self._size >= STREAMS or (known is not None and known[1][-1] == base):
            return
        self._size += 1
        if known is None:
            known = self._bases[way] = (array("q"), [])
        known[0].append(n)
        known[1].append(base)

    def bases(self, n: int, data: bytes) -> tuple[int, int]:
        """Return where sequence and acknowledgment numbers of frame `n` count from; (0, 0) when it is not known."""
        found = _segment(data)
        if found is None or n > self.scanned:
            return 0, 0
        return self._base(found[0], n), self._base(found[1], n)

    def _base(self, way: bytes, n: int) -> int:
        known = self._bases.get(way)
        if known is None:
            return 0
        return known[1][max(0, bisect_right(known[0], n) - 1)]


_HEAD: Final = struct.Struct("!HHIIBB")


def _segment(data: bytes) -> tuple[bytes, bytes, int, int, int] | None:
    """Return (direction, the other direction, seq, ack, flags) of a TCP segment that is whole enough, else None."""
    if len(data) < 54 or data[12:14] != b"\x08\x00" or data[14] >> 4 != 4 or data[23] != 6 or (data[20] & 0x1F) | data[21]:
        return None
    at = 14 + 4 * (data[14] & 15)
    if at < 34 or len(data) < at + 20:
        return None
    _, _, seq, ack, _, flags = _HEAD.unpack_from(data, at)
    src, dst, ports = data[26:30], data[30:34], data[at : at + 4]
    return src + dst + ports, dst + src + ports[2:] + ports[:2], seq, ack, flags


class Index:
    """What is known of one capture; it lives as long as the capture.  `serial` tells two captures of one name apart."""

    _of: weakref.WeakKeyDictionary[Capture, Index] = weakref.WeakKeyDictionary()
    _made = 0

    def __init__(self) -> None:
        self.streams = Streams()
        self.matches: OrderedDict[str, Matches] = OrderedDict()
        Index._made += 1
        self.serial = Index._made

    @classmethod
    def of(cls, capture: Capture) -> Index:
        """Return the index of `capture`, made at the first call."""
        found = cls._of.get(capture)
        if found is None:
            found = cls._of[capture] = cls()
        return found

    def matching(self, text: str) -> Matches:
        """Return what matches the filter `text` ("" is every frame); raises LabError for one that cannot be read."""
        text = text.strip()
        found = self.matches.get(text)
        if found is None:
            found = self.matches[text] = Matches(compiled(text))
            if len(self.matches) > FILTERS:
                self.matches.popitem(last=False)
        self.matches.move_to_end(text)
        return found


def compiled(text: str) -> DisplayFilter | None:
    """Return the filter that `text` says, None for no text; raises LabError that says what was wrong and where."""
    if not text:
        return None
    try:
        return compile_filter(text)
    except FilterError as error:
        raise LabError(str(error)) from None
