"""armimage: the two formats of an ARM kernel: Image of 64 bits and zImage of 32 (Linux: Documentation/arch/arm64/booting, arm/zImage).

    Image    0  code   8  text_offset   16  image_size   24  flags   56  "ARM\\x64"        loaded at RAM (2 MiB aligned) + text_offset
    zImage   0  code   0x24  0x016f2818   0x28  start   0x2c  end                        loaded at RAM + 0x8000

Both begin with an instruction, and are entered there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from mirage_lab.xen.abi.arm import RAM_BASE
from mirage_lab.xen.dom0.elf import ImageError

__all__ = ["ArmKernel", "is_arm", "read_arm"]

_IMAGE: Final = struct.Struct("<QQQ")
_MAGIC_64: Final = b"ARM\x64"
_ZIMAGE: Final = struct.Struct("<III")
_MAGIC_32: Final = 0x016F_2818
OFFSET_64: Final = 0x8_0000
"""text_offset of a kernel that does not say its size: those are older than 3.17."""
OFFSET_32: Final = 0x8000
BIG_ENDIAN: Final = 1


@dataclass(frozen=True, slots=True)
class ArmKernel:
    """A kernel to load: how many `bits`, where, what, and how much memory it takes from there on, with its bss."""

    bits: int
    address: int
    data: bytes
    size: int


def is_arm(data: bytes) -> bool:
    """True if this is one of the two formats."""
    return data[56:60] == _MAGIC_64 or data[0x24:0x28] == _MAGIC_32.to_bytes(4, "little")


def read_arm(data: bytes) -> ArmKernel:
    """Read the header; raises ImageError."""
    if data[56:60] == _MAGIC_64 and len(data) >= 64:
        offset, size, flags = _IMAGE.unpack_from(data, 8)
        if size == 0:
            offset = OFFSET_64
        if flags & BIG_ENDIAN:
            raise ImageError("this Image is for a big-endian CPU")
        if offset >= 1 << 21 or size >= 1 << 32:
            raise ImageError(f"its header says text_offset {offset:#x} and image_size {size:#x}: that is no Image")
        return ArmKernel(64, RAM_BASE + offset, data, max(size, len(data)))
    if is_arm(data) and len(data) >= 0x30:
        _, start, end = _ZIMAGE.unpack_from(data, 0x24)
        if not 0x30 <= end - start <= len(data):
            raise ImageError(f"its header says that it lies from {start:#x} to {end:#x}, and it has {len(data):,} bytes: that is no zImage")
        return ArmKernel(32, start or RAM_BASE + OFFSET_32, data[: end - start], end - start)
    raise ImageError("this is neither an Image of 64-bit ARM nor a zImage of 32-bit ARM")
