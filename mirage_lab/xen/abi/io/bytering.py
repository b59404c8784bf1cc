"""Rings of bytes in a shared page: the console's and xenstore's, which differ in place and size only.

Indices run free and wrap at 2^32; index & (size - 1) is the place, sizes are powers of two.  The writer moves prod, which
lies 4 bytes after cons, and the reader cons.
"""

import struct
from dataclasses import dataclass
from typing import Final

_INDEX: Final = struct.Struct("<I")
_PAIR: Final = struct.Struct("<II")


class RingError(ValueError):
    """The other side moved an index where it may not be."""


@dataclass(frozen=True, slots=True)
class ByteRing:
    """Where a ring lies in its page: first byte, size, and the offset of its cons."""

    name: str
    start: int
    size: int
    cons: int

    def write(self, page: memoryview, data: bytes | memoryview) -> int:
        """Put as much of `data` as fits into the ring; return how many bytes.  Raises RingError."""
        cons, prod = _PAIR.unpack_from(page, self.cons)
        used = self._used(cons, prod)
        length = int(min(len(data), self.size - used))
        if not length:
            return 0
        place = prod & (self.size - 1)
        first = min(length, self.size - place)
        page[self.start + place : self.start + place + first] = data[:first]
        page[self.start : self.start + length - first] = data[first:length]
        _INDEX.pack_into(page, self.cons + 4, (prod + length) & 0xFFFFFFFF)
        return length

    def read(self, page: memoryview) -> bytes:
        """Take all bytes of the ring.  Raises RingError."""
        cons, prod = _PAIR.unpack_from(page, self.cons)
        used = self._used(cons, prod)
        place = cons & (self.size - 1)
        first = min(used, self.size - place)
        data = bytes(page[self.start + place : self.start + place + first]) + bytes(page[self.start : self.start + used - first])
        _INDEX.pack_into(page, self.cons, prod)
        return data

    def _used(self, cons: int, prod: int) -> int:
        used = (prod - cons) & 0xFFFFFFFF
        if used > self.size:
            raise RingError(f"{self.name} ring: prod {prod} is {used} past cons {cons}, the ring holds {self.size}")
        return used
