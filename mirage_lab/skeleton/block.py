"""block: writes sectors of a disk and reads them back (mirage-skeleton/block), and tries what a disk refuses."""

from __future__ import annotations

from collections.abc import Awaitable

from mirage_lab.signatures import Block, Console, unikernel
from mirage_lab.signatures.errors import MirageError

__all__ = ["block"]

SENTENCE = b"All work and no play makes Dave a dull boy.\n"
RUNS = (1, 2, 11, 88, 89, 300)
"""Sectors at a time: within a page, a request, and more than one request."""


@unikernel
async def block(console: Console, disk: Block) -> None:
    """Tell what the disk is, write and read sectors at both ends of it, and count what went well."""
    info = await disk.get_info()
    console.log(f"sectors = {info.size_sectors}, read_write = {info.read_write}, sector_size = {info.sector_size}")
    passed = failed = 0
    runs = [count for count in RUNS if count <= info.size_sectors] if info.read_write else []
    for count in runs:
        for sector in (0, info.size_sectors - count):
            same = await _written(disk, sector, count, info.sector_size)
            passed, failed = passed + same, failed + (not same)
    past = disk.read(info.size_sectors, [bytearray(info.sector_size)])
    odd = disk.read(0, [bytearray(1)])
    for what, attempt in (("reading past the end", past), ("reading half a sector", odd)):
        refused = await _refused(console, what, attempt)
        passed, failed = passed + refused, failed + (not refused)
    console.log(f"passed {passed}, failed {failed}")


async def _written(disk: Block, sector: int, count: int, size: int) -> bool:
    """Write `count` sectors, read them again: are they the same?"""
    data = (SENTENCE * (count * size // len(SENTENCE) + 1))[: count * size]
    back = bytearray(count * size)
    await disk.write(sector, [data])
    await disk.read(sector, [back])
    return bytes(back) == data


async def _refused(console: Console, what: str, attempt: Awaitable[None]) -> bool:
    """True when the disk refuses it, and says why."""
    try:
        await attempt
    except MirageError as error:
        console.log(f"{what}: {error}")
        return True
    return False
