"""io/xs_wire.h: the xenstore protocol and its ring page.

    message:    type u32 | request id u32 | transaction id u32 | length u32 | payload, at most 4096 bytes
    ring page:  0 req[1024] | 1024 rsp[1024] | 2048 req_cons, req_prod, rsp_cons, rsp_prod  u32

Strings in payloads end in a zero byte.  Indices run free and wrap at 2^32.
"""

import struct
from typing import Final

from mirage_lab.xen.abi.io.bytering import ByteRing, RingError

__all__ = ["HEADER", "OP_NAMES", "PAYLOAD_MAX", "RING_SIZE", "RingError", "message", "read", "write"]

DEBUG: Final = 0
DIRECTORY: Final = 1
READ: Final = 2
GET_PERMS: Final = 3
WATCH: Final = 4
UNWATCH: Final = 5
TRANSACTION_START: Final = 6
TRANSACTION_END: Final = 7
INTRODUCE: Final = 8
RELEASE: Final = 9
GET_DOMAIN_PATH: Final = 10
WRITE: Final = 11
MKDIR: Final = 12
RM: Final = 13
SET_PERMS: Final = 14
WATCH_EVENT: Final = 15
ERROR: Final = 16
IS_DOMAIN_INTRODUCED: Final = 17
RESUME: Final = 18
SET_TARGET: Final = 19
RESTRICT: Final = 20
RESET_WATCHES: Final = 21
DIRECTORY_PART: Final = 22

OP_NAMES: Final = {
    0: "debug",
    1: "directory",
    2: "read",
    3: "getperms",
    4: "watch",
    5: "unwatch",
    6: "transaction_start",
    7: "transaction_end",
    8: "introduce",
    9: "release",
    10: "getdomainpath",
    11: "write",
    12: "mkdir",
    13: "rm",
    14: "setperms",
    15: "watch_event",
    16: "error",
    17: "is_domain_introduced",
    18: "resume",
    19: "set_target",
    20: "restrict",
    21: "reset_watches",
    22: "directory_part",
}

HEADER: Final = struct.Struct("<IIII")
PAYLOAD_MAX: Final = 4096
ABS_PATH_MAX: Final = 3072
REL_PATH_MAX: Final = 2048

REQ: Final = 0
RSP: Final = 1024
RING_SIZE: Final = 1024
REQ_CONS: Final = 2048
RSP_CONS: Final = 2056
_REQUESTS: Final = ByteRing("xenstore", REQ, RING_SIZE, REQ_CONS)
_REPLIES: Final = ByteRing("xenstore", RSP, RING_SIZE, RSP_CONS)


def write(page: memoryview, data: bytes | memoryview, *, request: bool) -> int:
    """Put as much of `data` as fits into the request (or reply) ring; return how many bytes.  Raises RingError."""
    return (_REQUESTS if request else _REPLIES).write(page, data)


def read(page: memoryview, *, request: bool) -> bytes:
    """Take all bytes of the request (or reply) ring.  Raises RingError."""
    return (_REQUESTS if request else _REPLIES).read(page)


def message(op: int, rid: int, tid: int, payload: bytes) -> bytes:
    """Return a message."""
    return HEADER.pack(op, rid, tid, len(payload)) + payload
