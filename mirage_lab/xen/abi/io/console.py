"""io/console.h: the console page, two byte rings (`in` is to the guest).

    0     in[1024]        3072  in_cons   u32     3080  out_cons  u32
    1024  out[2048]       3076  in_prod   u32     3084  out_prod  u32

Indices run free and wrap at 2^32; index & (size - 1) is the place.  The writer of a ring moves prod, its reader cons.
"""

from typing import Final

from mirage_lab.xen.abi.io.bytering import ByteRing, RingError

__all__ = ["IN_SIZE", "OUT_SIZE", "RingError", "read", "write"]

IN: Final = 0
IN_SIZE: Final = 1024
OUT: Final = 1024
OUT_SIZE: Final = 2048
IN_CONS: Final = 3072
IN_PROD: Final = 3076
OUT_CONS: Final = 3080
OUT_PROD: Final = 3084
SIZE: Final = 3092

_OUT: Final = ByteRing("console", OUT, OUT_SIZE, OUT_CONS)
_IN: Final = ByteRing("console", IN, IN_SIZE, IN_CONS)


def write(page: memoryview, data: bytes | memoryview, *, out: bool) -> int:
    """Put as much of `data` as fits into the out (or in) ring; return how many bytes.  Raises RingError."""
    return (_OUT if out else _IN).write(page, data)


def read(page: memoryview, *, out: bool) -> bytes:
    """Take all bytes of the out (or in) ring.  Raises RingError."""
    return (_OUT if out else _IN).read(page)
