"""flattening: from an ELF file to what ARM boots: bytes as they lie in memory, behind a header that says so.

    aarch64 Image   56 "ARM\\x64"      16 size, with the memory that begins as zeros      (Documentation/arch/arm64/booting.rst)
    ARMv7 zImage    36 0x016f2818     40 begin, 44 end                                    (Documentation/arch/arm/booting.rst)

The zeros are in the image: whatever is put behind it does not lie in the guest's own memory.
"""

from __future__ import annotations

import struct
from typing import Final

from mirage_lab.signatures.errors import MirageError
from mirage_lab.xen.abi.xen import PAGE_SIZE
from mirage_lab.xen.dom0.elf import Elf

__all__ = ["check_image", "flatten"]

LARGEST: Final = 64 << 20
ARM64_MAGIC: Final = b"ARM\x64"
ZIMAGE_MAGIC: Final = 0x016F2818
_ZIMAGE: Final = struct.Struct("<III")


def flatten(elf: Elf) -> bytes:
    """Return the memory that an ELF file describes, from its lowest address to the end of its last page."""
    base = min(segment.physical for segment in elf.segments)
    size = -(-max(segment.physical + segment.size for segment in elf.segments) // PAGE_SIZE) * PAGE_SIZE - base
    if size > LARGEST:
        raise MirageError(f"the guest wants {size >> 20} MiB of memory from its begin to its end; an image has at most {LARGEST >> 20}")
    image = bytearray(size)
    for segment in elf.segments:
        at = segment.physical - base
        image[at : at + len(segment.data)] = segment.data
    return bytes(image)


def check_image(arch: str, data: bytes) -> None:
    """Raise MirageError for an image without the header of its architecture."""
    if arch == "aarch64" and data[56:60] != ARM64_MAGIC:
        raise MirageError('an aarch64 Image begins with a header of 64 bytes, "ARM\\x64" at byte 56: this one has none')
    if arch == "armv7":
        magic, begin, end = _ZIMAGE.unpack_from(data.ljust(48, b"\0"), 36)
        if magic != ZIMAGE_MAGIC or not begin <= end <= len(data):
            raise MirageError("a zImage has its magic 0x016f2818 at byte 36, where it begins and where it ends: this one has not")
