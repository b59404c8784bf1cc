"""io/blkif.h: the ring of a virtual disk, 32 slots of requests and responses.

    request    0 operation u8 | 1 nr_segments u8 | 2 handle u16 | id u64 | sector_number u64 | segments, 11 at most
    segment    0 gref u32 | 4 first_sect u8 | 5 last_sect u8                               8 bytes: a part of a granted page
    response   0 id u64 | 8 operation u8 | 10 status i16

Sectors are of 512 bytes, 8 to a page, whatever `sector-size` says.  A C compiler puts `id` at 8 for 64-bit guests and at 4 for
32-bit x86 ones, so that there are two layouts; a front end says which by its key `protocol`.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError

READ: Final = 0
WRITE: Final = 1
WRITE_BARRIER: Final = 2
FLUSH_DISKCACHE: Final = 3
DISCARD: Final = 5
INDIRECT: Final = 6
OP_NAMES: Final = {0: "read", 1: "write", 2: "write_barrier", 3: "flush", 5: "discard", 6: "indirect"}

RSP_OKAY: Final = 0
RSP_ERROR: Final = -1
RSP_EOPNOTSUPP: Final = -2
STATUS_NAMES: Final = {0: "okay", -1: "error", -2: "not supported"}

SECTOR: Final = 512
PER_PAGE: Final = 8
"""Sectors of a page."""
SEGMENTS: Final = 11
"""BLKIF_MAX_SEGMENTS_PER_REQUEST: 88 sectors in all."""
SLOTS: Final = 32
DISCARD_SECURE: Final = 1
"""Flag of a discard, in the place of nr_segments."""

SEGMENT: Final = struct.Struct("<IBB2x")
COUNT: Final = struct.Struct("<Q")
"""nr_sectors of a discard, in the place of the segments."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One of the layouts: bytes of a slot, where segments begin, and the two structures."""

    protocol: str
    slot: int
    segments: int
    request: struct.Struct
    response: struct.Struct


X86_64: Final = Layout("x86_64-abi", 112, 24, struct.Struct("<BBH4xQQ"), struct.Struct("<QBxh4x"))
X86_32: Final = Layout("x86_32-abi", 108, 20, struct.Struct("<BBHQQ"), struct.Struct("<QBxh"))
LAYOUTS: Final = {"x86_64-abi": X86_64, "arm-abi": X86_64, "x86_32-abi": X86_32}
"""By what a front end writes under `protocol`; without that key it has the layout of dom0, X86_64."""

# xenbus keys
BACK_KEYS: Final = ("sectors", "sector-size", "physical-sector-size", "info", "mode", "feature-flush-cache", "feature-barrier", "feature-discard")
FRONT_KEYS: Final = ("ring-ref", "event-channel", "protocol")
VDISK_CDROM: Final = 1
VDISK_REMOVABLE: Final = 2
VDISK_READONLY: Final = 4
"""Bits of `info`."""

_NAME: Final = re.compile("xvd([a-p])([1-9]|1[0-5])?")
MAJOR: Final = 202
DISKS: Final = 16
PARTITIONS: Final = 16


def device_number(name: str) -> int:
    """Return the number of `xvda` (51712), `xvda1`, `/dev/xvdb` or of a number as text; raises LocalProtocolError (xen-vbd-interface.7)."""
    text = name.removeprefix("/dev/")
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return int(text)
    found = _NAME.fullmatch(text)
    if found:
        return MAJOR << 8 | (ord(found[1]) - ord("a")) * PARTITIONS + int(found[2] or 0)
    raise LocalProtocolError(f"{name[:40]!r} is no virtual disk: xvda to xvdp, xvda1 to xvda15, or a number such as 51712")


def device_name(number: int) -> str:
    """Return `xvda` for 51712; a number that has no such name, as text."""
    if number >> 8 != MAJOR:
        return str(number)
    part = number & 15
    return f"xvd{chr(ord('a') + (number >> 4 & 15))}{part or ''}"
