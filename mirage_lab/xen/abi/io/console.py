"""io/console.h: the console page, two byte rings (`in` is to the guest).

    0     in[1024]        3072  in_cons   u32     3080  out_cons  u32
    1024  out[2048]       3076  in_prod   u32     3084  out_prod  u32

Indices run free and wrap at 2^32; index & (size - 1) is the place.  The writer of a ring moves prod, its reader cons.
"""

import struct
from typing import Final

IN: Final = 0
IN_SIZE: Final = 1024
OUT: Final = 1024
OUT_SIZE: Final = 2048
IN_CONS: Final = 3072
IN_PROD: Final = 3076
OUT_CONS: Final = 3080
OUT_PROD: Final = 3084
SIZE: Final = 3092

_INDEX: Final = struct.Struct("<I")
_PAIR: Final = struct.Struct("<II")


class RingError(ValueError):
    """The other side moved an index where it may not be."""


def write(page: memoryview, data: bytes | memoryview, *, out: bool) -> int:
    """Put as much of `data` as fits into the out (or in) ring; return how many bytes.

    Raises RingError when the indices are more than the ring apart.
    """
    start, size, at = (OUT, OUT_SIZE, OUT_CONS) if out else (IN, IN_SIZE, IN_CONS)
    cons, prod = _PAIR.unpack_from(page, at)
    used = (prod - cons) & 0xFFFFFFFF
    if used > size:
        raise RingError(f"console ring: prod {prod} is {used} past cons {cons}, the ring holds {size}")
    length = int(min(len(data), size - used))
    if not length:
        return 0
    place = prod & (size - 1)
    first = min(length, size - place)
    page[start + place : start + place + first] = data[:first]
    page[start : start + length - first] = data[first:length]
    _INDEX.pack_into(page, at + 4, (prod + length) & 0xFFFFFFFF)
    return length


def read(page: memoryview, *, out: bool) -> bytes:
    """Take all bytes of the out (or in) ring.  Raises RingError as `write` does."""
    start, size, at = (OUT, OUT_SIZE, OUT_CONS) if out else (IN, IN_SIZE, IN_CONS)
    cons, prod = _PAIR.unpack_from(page, at)
    used = (prod - cons) & 0xFFFFFFFF
    if used > size:
        raise RingError(f"console ring: prod {prod} is {used} past cons {cons}, the ring holds {size}")
    place = cons & (size - 1)
    first = min(used, size - place)
    data = bytes(page[start + place : start + place + first]) + bytes(page[start : start + used - first])
    _INDEX.pack_into(page, at, prod)
    return data
