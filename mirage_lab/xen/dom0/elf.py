"""elf: what the domain builder wants of a kernel's ELF file: segments to load, and Xen's notes (libelf-loader.c, libelf-dominfo.c).

A kernel may come from anywhere: whatever is not as it should be is one error, ImageError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

from mirage_lab.signatures.errors import MirageError

__all__ = ["PHYS32_ENTRY", "Elf", "ImageError", "Segment", "read_elf"]

PHYS32_ENTRY: Final = 18
"""XEN_ELFNOTE_PHYS32_ENTRY: where a PVH guest begins."""
EM_X86_64: Final = 62
PT_LOAD: Final = 1
PT_NOTE: Final = 4
SHT_NOTE: Final = 7
MOST_HEADERS: Final = 1_024
NOTE: Final = struct.Struct("<III")
_KINDS: Final = {
    1: (struct.Struct("<HHIIIIIHHHHHH"), struct.Struct("<IIIIIIII"), struct.Struct("<IIIIIIIIII")),
    2: (struct.Struct("<HHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ"), struct.Struct("<IIQQQQIIQQ")),
}


class ImageError(MirageError):
    """A file is no kernel that this machine can boot."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes to load at a physical address; `size` in memory, the rest is zero.  `executable`: it has code."""

    physical: int
    virtual: int
    data: bytes
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class Elf:
    """A kernel: `bits` 32 or 64, its entry, its segments in the order of the file, and the notes of owner Xen by type."""

    bits: int
    machine: int
    entry: int
    segments: tuple[Segment, ...]
    notes: dict[int, bytes]

    def number(self, note: int) -> int | None:
        """Return what a note says that is a number, None without it."""
        found = self.notes.get(note)
        return None if found is None else int.from_bytes(found[:8], "little")

    def flavour(self, wanted: str = "") -> Literal["pvh", "pv"]:
        """Return how it boots: as `wanted`, or `pvh` if it can, otherwise `pv`; raises ImageError for what it, or this machine, cannot."""
        if wanted not in ("", "pvh", "pv"):
            raise ImageError(f"kernels of x86 boot as 'pvh' or as 'pv', not as {wanted!r}")
        if PHYS32_ENTRY in self.notes and wanted != "pv":
            return "pvh"
        if wanted == "pvh":
            raise ImageError("this ELF file has no note PHYS32_ENTRY (18) of Xen: it is no PVH kernel")
        if not self.notes:
            raise ImageError("this ELF file has no note of Xen: it is neither a PVH kernel (note PHYS32_ENTRY) nor a PV kernel")
        if self.bits != 64 or self.machine != EM_X86_64:
            raise ImageError("a PV kernel of 32 bits: this machine boots PV kernels of x86-64, and PVH kernels (note PHYS32_ENTRY)")
        return "pv"

    @property
    def phys32_entry(self) -> int | None:
        """Where a PVH guest begins, None if it is no PVH guest."""
        return self.number(PHYS32_ENTRY)


def read_elf(data: bytes) -> Elf:
    """Read a kernel; raises ImageError."""
    if data[:4] != b"\x7fELF" or len(data) < 52:
        raise ImageError("not an ELF file: it does not begin with 7f 45 4c 46")
    if data[4] not in _KINDS or data[5] != 1:
        raise ImageError("an ELF file for another kind of machine: 32 or 64 bits, little-endian, are what Xen boots")
    header, program, section = _KINDS[data[4]]
    try:
        _, machine, _, entry, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, _ = header.unpack_from(data, 16)
        segments, notes = _segments(data, program, phoff, phentsize, phnum)
        if PHYS32_ENTRY not in notes:
            for at in range(min(shnum, MOST_HEADERS)):
                _, kind, _, _, offset, size, *_ = section.unpack_from(data, shoff + at * shentsize)
                if kind == SHT_NOTE:
                    notes = {**_notes(data[offset : offset + size]), **notes}
    except struct.error:
        raise ImageError("an ELF file that is cut off, or whose headers lie") from None
    if not segments:
        raise ImageError("an ELF file without anything to load")
    return Elf(32 if data[4] == 1 else 64, machine, entry, tuple(segments), notes)


def _segments(data: bytes, program: struct.Struct, phoff: int, phentsize: int, phnum: int) -> tuple[list[Segment], dict[int, bytes]]:
    segments, notes = [], {}
    for at in range(min(phnum, MOST_HEADERS)):
        row = program.unpack_from(data, phoff + at * phentsize)
        if program.size == 32:
            kind, offset, virtual, physical, filesz, memsz, flags, _ = row
        else:
            kind, flags, offset, virtual, physical, filesz, memsz, _ = row
        if kind == PT_NOTE:
            notes.update(_notes(data[offset : offset + filesz]))
        if kind == PT_LOAD and memsz:
            if offset + filesz > len(data) or filesz > memsz:
                raise ImageError("an ELF file that is cut off: a segment has fewer bytes than it says")
            segments.append(Segment(physical, virtual, data[offset : offset + filesz], memsz, bool(flags & 1)))
    return segments, notes


def _notes(data: bytes) -> dict[int, bytes]:
    """Return the notes whose owner is Xen."""
    notes, at = {}, 0
    while at + NOTE.size <= len(data):
        namesz, descsz, kind = NOTE.unpack_from(data, at)
        name = at + NOTE.size
        desc = name + (namesz + 3 & ~3)
        if data[name : name + namesz].rstrip(b"\0") == b"Xen":
            notes[kind] = data[desc : desc + descsz]
        at = desc + (descsz + 3 & ~3)
    return notes
