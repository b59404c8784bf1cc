"""snapshot: the registers and the memory of a CPU, kept; what did not change since the last one is shared with it.

    take ─▶ registers │ page 0x100 ─┐  page 0x101 ─┐  ...        a page that was never touched is not even looked at
    take ─▶ registers │ page 0x100 ─┘  page 0x101'  ...          (Linux says which were: pagemap, Documentation/admin-guide/mm)

Fifty of a guest of 20 MiB cost 20 MiB and what it wrote between them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mirage_lab.vcpu.cpu import Cpu

__all__ = ["Snapshot", "Snapshots"]

PAGE: Final = 4096
CHUNK: Final = 1 << 21
_ZERO: Final = bytes(PAGE)
_ZEROS: Final = bytes(CHUNK)
_PAGEMAP: Final = "/proc/self/pagemap"
_THERE: Final = 3 << 62
"""Of an entry of pagemap: the page is in memory, or in swap."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All registers, and the pages that are not zero by the address of their memory in the CPU's map."""

    registers: bytes
    pages: dict[int, bytes]


class Snapshots:
    """Takes snapshots of one CPU, and puts it back to one."""

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._last: dict[int, bytes] = {}

    def take(self) -> Snapshot:
        """Return the registers and memory as they are."""
        last, changed = self._last, dict[int, bytes]()
        for address, data in self._touched():
            if data != last.get(address, _ZERO):
                changed[address] = data
        if changed:
            self._last = {**last, **changed}
        return Snapshot(self._cpu.save(), self._last)

    def restore(self, snapshot: Snapshot) -> int:
        """Have registers and memory as they were; return how many pages had to be written."""
        pages, views, wrong = snapshot.pages, dict(self._cpu.regions), list[tuple[int, bytes]]()
        for address, data in self._touched():
            want = pages.get(address, _ZERO)
            if data != want:
                wrong.append((address, want))
        begins = sorted(views)
        at = 0
        for address, want in sorted(wrong):
            while at + 1 < len(begins) and begins[at + 1] <= address:
                at += 1
            offset = address - begins[at]
            views[begins[at]][offset : offset + PAGE] = want
        self._last = pages
        self._cpu.restore(snapshot.registers)
        return len(wrong)

    def _touched(self) -> Iterator[tuple[int, bytes]]:
        """Give (address, page) of memory that may hold anything but zero."""
        for begin, view in self._cpu.regions:
            if view.readonly:
                continue
            for offset in _resident(view):
                yield begin + offset, bytes(view[offset : offset + PAGE])


def _resident(view: memoryview) -> Iterator[int]:
    """Give the offsets of pages that were ever touched; where the system does not tell, of those near anything but zero."""
    where = ctypes.addressof(ctypes.c_char.from_buffer(view))
    count = len(view) // PAGE
    if where % PAGE == 0:
        try:
            with open(_PAGEMAP, "rb", buffering=0) as file:
                file.seek(where // PAGE * 8)
                told = file.read(count * 8)
        except OSError:
            told = b""
        if len(told) == count * 8:
            for index, entry in enumerate(memoryview(told).cast("Q")):
                if entry & _THERE:
                    yield index * PAGE
            return
    for start in range(0, len(view), CHUNK):
        data = bytes(view[start : start + CHUNK])
        if data != _ZEROS[: len(data)]:
            yield from range(start, start + len(data), PAGE)
