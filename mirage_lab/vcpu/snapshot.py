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
        registers, _ = self.changes()
        return Snapshot(registers, self._last)

    def changes(self) -> tuple[bytes, dict[int, bytes]]:
        """Return the registers, and the pages that changed since this, `take` or `change` was last called."""
        last, changed = self._last, dict[int, bytes]()
        for address, data in self._touched():
            if data != last.get(address, _ZERO):
                changed[address] = data
        if changed:
            self._last = {**last, **changed}
        return self._cpu.save(), changed

    def restore(self, snapshot: Snapshot) -> int:
        """Have registers and memory as they were; return how many pages had to be written."""
        wrong = {}
        for address, data in self._touched():
            want = snapshot.pages.get(address, _ZERO)
            if data != want:
                wrong[address] = want
        self._last = snapshot.pages
        self._write(wrong)
        self._cpu.restore(snapshot.registers)
        return len(wrong)

    def change(self, registers: bytes, pages: dict[int, bytes]) -> None:
        """Have the registers, and some pages, be these."""
        if pages:
            self._last = {**self._last, **pages}
            self._write(pages)
        self._cpu.restore(registers)

    def _write(self, pages: dict[int, bytes]) -> None:
        regions = sorted(self._cpu.regions, key=lambda region: region[0])
        at = 0
        for address in sorted(pages):
            while at + 1 < len(regions) and regions[at + 1][0] <= address:
                at += 1
            offset = address - regions[at][0]
            regions[at][1][offset : offset + PAGE] = pages[address]

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
