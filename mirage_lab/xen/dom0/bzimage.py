"""bzimage: the kernel inside a bzImage of Linux for x86, as its boot protocol says where it is (Documentation/arch/x86/boot.rst; xg_dom_bzimageloader.c).

    0      real-mode code, setup_sects at 0x1f1, "HdrS" at 0x202, payload_offset at 0x248, payload_length at 0x24c
    (setup_sects + 1) * 512 + payload_offset    vmlinux, an ELF file, packed

A kernel may come from anywhere: what is not as it should be is one error, and it does not grow past `LARGEST`.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from typing import Any, Final

from mirage_lab.xen.dom0.elf import ImageError

__all__ = ["is_bzimage", "vmlinux"]

LARGEST: Final = 512 << 20
MAGIC_AT: Final = 0x202
LZ4_LEGACY: Final = b"\x02\x21\x4c\x18"
LZ4_BLOCK: Final = 8 << 20
_NAMES: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"\x89LZO": "lzo"}


def is_bzimage(data: bytes) -> bool:
    """True for the image of a Linux kernel for x86."""
    return data[MAGIC_AT : MAGIC_AT + 4] == b"HdrS"


def vmlinux(data: bytes) -> bytes:
    """Return the ELF file in a bzImage; raises ImageError."""
    if len(data) < 0x250 or struct.unpack_from("<H", data, 0x206)[0] < 0x208:
        raise ImageError("a bzImage of before protocol 2.08: it does not tell where its kernel is")
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1F1] or 4) + 1) * 512 + offset
    payload = data[start : start + length]
    if len(payload) < length or not length:
        raise ImageError("a bzImage that is cut off: its kernel is not all there")
    try:
        return _unpacked(payload)
    except (OSError, EOFError, ValueError, IndexError, struct.error, zlib.error, lzma.LZMAError):
        raise ImageError("a bzImage whose kernel cannot be unpacked: it is damaged") from None


def _unpacked(payload: bytes) -> bytes:
    if payload[:4] == b"\x7fELF":
        return payload
    unpacker: Any = None
    if payload[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(31)
    elif payload[:3] == b"BZh":
        unpacker = bz2.BZ2Decompressor()
    elif payload[:6] == b"\xfd7zXZ\0" or payload[:1] == b"\x5d":
        unpacker = lzma.LZMADecompressor()
    if unpacker is not None:
        data: bytes = unpacker.decompress(payload, LARGEST)
        if not unpacker.eof:
            raise EOFError
        return data
    if payload[:4] == LZ4_LEGACY:
        return _lz4(payload)
    name = _NAMES.get(payload[:4], f"something that begins with {payload[:4].hex(' ')}")
    raise ImageError(f"a bzImage whose kernel is packed by {name}: gzip, bzip2, lzma, xz and lz4 can be unpacked here")


def _lz4(payload: bytes) -> bytes:
    """The legacy frame of LZ4, as the kernel has it: blocks of up to 8 MiB, each with its length before it."""
    out: list[bytes] = []
    at = total = 0
    while at + 8 <= len(payload):
        (size,) = struct.unpack_from("<I", payload, at)
        if payload[at : at + 4] == LZ4_LEGACY:
            at += 4
            continue
        if not size or at + 4 + size > len(payload):
            break  # the length of the whole, which the kernel's build puts behind it
        out.append(_lz4_block(payload[at + 4 : at + 4 + size]))
        total += len(out[-1])
        if total > LARGEST:
            raise ValueError("too large")
        at += 4 + size
    return b"".join(out)


def _lz4_block(data: bytes) -> bytes:
    """One block: literals, then a copy of what was unpacked before, and again (lz4_Block_format.md)."""
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        token = data[at]
        at += 1
        count = token >> 4
        if count == 15:
            count, at = _longer(data, at, count)
        out += data[at : at + count]
        at += count
        if at >= end:
            break
        back = data[at] | data[at + 1] << 8
        at += 2
        count = token & 15
        if count == 15:
            count, at = _longer(data, at, count)
        count += 4
        start = len(out) - back
        if start < 0 or not back or len(out) + count > LZ4_BLOCK:
            raise ValueError("a copy of what is not there")
        if back >= count:
            out += out[start : start + count]
        else:
            out += (out[start:] * (count // back + 1))[:count]
    return bytes(out)


def _longer(data: bytes, at: int, count: int) -> tuple[int, int]:
    """Read the rest of a length of 15 or more; return it and where it ends."""
    while True:
        more = data[at]
        at += 1
        count += more
        if more != 255:
            return count, at
