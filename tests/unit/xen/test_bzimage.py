"""The kernel in a bzImage of Linux: packed in any of five ways, damaged in more."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct

import pytest

from mirage_lab.xen.dom0.bzimage import is_bzimage, vmlinux
from mirage_lab.xen.dom0.elf import ImageError
from tests.machinecode import bzimage

KERNEL = b"\x7fELF" + bytes(range(256)) * 40 + b"the end"


def lz4(*blocks: bytes) -> bytes:
    """The legacy frame, and behind it the length of the whole, as the build of Linux has it."""
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(block)) + block for block in blocks) + struct.pack("<I", len(KERNEL))


def literals(data: bytes) -> bytes:
    """A sequence of literals alone."""
    count = len(data)
    if count < 15:
        return bytes([count << 4]) + data
    count -= 15
    return b"\xf0" + b"\xff" * (count // 255) + bytes([count % 255]) + data


PACKED = [bytes, gzip.compress, bz2.compress, lzma.compress, lambda data: lzma.compress(data, lzma.FORMAT_ALONE), lambda data: lz4(literals(data))]


@pytest.mark.parametrize("pack", PACKED)
def test_a_kernel_comes_out_as_it_went_in(pack: object) -> None:
    image = bzimage(pack(KERNEL))  # type: ignore[operator]
    assert is_bzimage(image) and vmlinux(image) == KERNEL


def test_copies_of_lz4_repeat_what_was_before_also_what_they_write_themselves() -> None:
    """4 literals and 8 bytes from 4 back; then 1 literal, and 19 + 3 bytes from 1 back; then literals; a second block begins anew."""
    block = b"\x44abcd\x04\x00" + b"\x1fx\x01\x00\x03" + b"\x20yz"
    image = bzimage(lz4(block, literals(b"again")))
    assert vmlinux(image) == b"abcd" + b"abcdabcd" + b"x" + b"x" * 22 + b"yz" + b"again"


def test_four_sectors_is_what_none_means() -> None:
    image = bytearray(bzimage(KERNEL))
    image[0x1F1] = 0
    assert vmlinux(bytes(image)) == KERNEL


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (bzimage(KERNEL, version=0x207), "before protocol 2.08"),
        (bzimage(KERNEL)[:-1], "cut off"),
        (bzimage(b""), "cut off"),
        (bzimage(b"\x28\xb5\x2f\xfd rest"), "packed by zstd"),
        (bzimage(b"????"), "begins with 3f 3f 3f 3f"),
        (bzimage(gzip.compress(KERNEL)[:20] + b"\xff" * 40), "damaged"),
        (bzimage(b"\xfd7zXZ\0" + b"\xff" * 40), "damaged"),
        (bzimage(b"BZh9" + b"\xff" * 40), "damaged"),
        (bzimage(lz4(b"\x04\x01\x00")), "damaged"),  # a copy of what is not there
        (bzimage(lz4(b"\x14a\x00\x00")), "damaged"),  # from 0 back
        (bzimage(lz4(b"\x1fa\x01\x00" + b"\xff" * 40_000 + b"\x00")), "damaged"),  # longer than a block may be
        (bzimage(lz4(b"\xf0\xff\xff")), "damaged"),
    ],
)
def test_what_is_wrong_with_one_is_said(image: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        vmlinux(image)


def test_damage_by_chance_is_one_error_or_other_bytes() -> None:
    rng = random.Random(1)
    for pack in (gzip.compress, bz2.compress, lzma.compress, lambda data: lz4(literals(data[:100]) + b"\x14a\x04\x00" + b"\x00")):
        good = bytearray(bzimage(pack(KERNEL)))
        for _ in range(200):
            image = bytearray(good)
            for _ in range(rng.randrange(1, 4)):
                image[rng.randrange(0x1F0, len(image))] = rng.randrange(256)
            try:
                assert len(vmlinux(bytes(image))) < 9 << 20
            except ImageError:
                continue
