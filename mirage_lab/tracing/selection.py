"""Selection: some frames of a capture, under the numbers they have there.

Whatever looks at a capture (a table, a plot, a file, a check) can look at a selection.  `source` is the whole: sequence
numbers of a segment are told relative to the beginning of its connection, which may not be among the selected frames.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tracing.capture import Capture, Frame

__all__ = ["Selection"]


class Selection(Capture):
    """Frames of `source`, oldest first, as `add` was told.

    >>> whole = Capture("br0")
    >>> for t in range(3):
    ...     number = whole.frame(t, bytes(60 + t), 0, "web")
    >>> odd = Selection(whole, "br0, odd")
    >>> odd.add(whole.frames[2])
    >>> odd.frames[0], len(odd), odd.last
    (<Frame 3 t=0.000000 s 62 bytes from web>, 1, 3)
    """

    def __init__(self, source: Capture, name: str) -> None:
        super().__init__(name, source.limit_bytes)
        self.source = source
        self.clock = source.clock
        self._numbers = array("q")

    def __repr__(self) -> str:
        return f"<Selection {self.name}: {len(self):,} of {len(self.source):,} frames>"

    def add(self, frame: Frame) -> None:
        """Take in a frame of the source; its number is above those taken in before."""
        if self._numbers and frame.n <= self._numbers[-1]:
            raise LocalProtocolError(f"{self.name}: frame {frame.n} does not come after frame {self._numbers[-1]}")
        self._numbers.append(frame.n)
        self._data.append(frame.data)
        self.bytes += len(frame.data)

    def frame(self, t: int, data: bytes, cause: int = 0, port: str = "") -> int:
        """Raise LocalProtocolError: frames are captured by the source."""
        raise LocalProtocolError(f"{self.name}: a selection is only looked at; frames enter {self.source.name}")

    @property
    def numbers(self) -> list[int]:
        """The numbers of the frames."""
        return list(self._numbers)

    def frame_number(self, n: int) -> Frame | None:
        """Return frame `n`, or None when it is not selected."""
        index = bisect_left(self._numbers, n)
        return self._at(index) if index < len(self._numbers) and self._numbers[index] == n else None

    def since(self, n: int, limit: int | None = None) -> list[Frame]:
        """Return the selected frames with numbers above `n`, at most the first `limit`."""
        return [self._at(index) for index in range(bisect_right(self._numbers, n), len(self._numbers))[:limit]]

    def after(self, n: int) -> int:
        """Count the selected frames with numbers above `n`."""
        return len(self._numbers) - bisect_right(self._numbers, n)

    @property
    def last(self) -> int:
        """The number of the newest selected frame, 0 before the first."""
        return self._numbers[-1] if self._numbers else 0

    def _at(self, index: int) -> Frame:
        found = self.source.frame_number(self._numbers[index])
        if found is None:
            raise LocalProtocolError(f"{self.name}: frame {self._numbers[index]} is no longer kept by {self.source.name}")
        return found
