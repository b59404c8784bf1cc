"""io/ring.h: the shared ring of requests and responses.

    0   req_prod   u32    front end: requests written up to here
    4   req_event  u32    back end: notify me when req_prod passes this
    8   rsp_prod   u32    back end: responses written up to here
    12  rsp_event  u32    front end: notify me when rsp_prod passes this
    64  entries, a power of two of them; slot of index i is i & (entries - 1)

Indices run free and wrap at 2^32.  A response takes the slot of a request that has been consumed.
"""

import struct
from typing import Final

REQ_PROD: Final = 0
REQ_EVENT: Final = 4
RSP_PROD: Final = 8
RSP_EVENT: Final = 12
ENTRIES: Final = 64

INDEX: Final = struct.Struct("<I")
HEADER: Final = struct.Struct("<IIII")


def entries(slot_size: int) -> int:
    """Return how many slots of `slot_size` bytes a page holds: 2^floor(log2((4096 - 64) / slot_size))."""
    return 1 << (((4096 - ENTRIES) // slot_size).bit_length() - 1)


def init(page: memoryview) -> None:
    """SHARED_RING_INIT: no requests, no responses, both sides want to hear of the first."""
    HEADER.pack_into(page, 0, 0, 1, 0, 1)


def must_notify(old: int, new: int, event: int) -> bool:
    """RING_PUSH_..._AND_CHECK_NOTIFY: did moving prod from `old` to `new` pass `event`?  (mod 2^32)"""
    return ((new - event) & 0xFFFFFFFF) < ((new - old) & 0xFFFFFFFF)
