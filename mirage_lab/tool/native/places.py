"""places: which line of a source the code at an address comes from, as the line table of DWARF says (with pyelftools, extra `guests`)."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

__all__ = ["Place", "can_tell", "place_at", "places_of", "with_places"]


class Place(NamedTuple):
    """From `address` on lies code of `function`, made of `line` of the source; 0: of something else."""

    address: int
    function: str
    line: int

    def __str__(self) -> str:
        return f"{self.function}, line {self.line}" if self.line else self.function


def can_tell() -> bool:
    """True if what reads them is installed."""
    return find_spec("elftools") is not None


def places_of(data: bytes, called: str) -> list[Place]:
    """Return the places of an ELF file in order, lines for the source that the compiler knows as `called`."""
    try:
        from elftools.elf.elffile import ELFFile
    except ImportError:
        return []
    elf = ELFFile(io.BytesIO(data))
    functions = _functions(elf)
    lines = _lines(elf, called)
    starts = [address for address, _ in functions]
    found = []
    for address in sorted({*starts, *lines}):
        at = bisect_right(starts, address) - 1
        if at >= 0:
            found.append(Place(address, functions[at][1], lines.get(address, 0)))
    return found


def _functions(elf: Any) -> list[tuple[int, str]]:
    table = elf.get_section_by_name(".symtab")
    if table is None:
        return []
    code = {index for index, section in enumerate(elf.iter_sections()) if section["sh_flags"] & 4}
    named: dict[int, str] = {}
    for symbol in table.iter_symbols():
        if symbol["st_shndx"] in code and symbol.name and not symbol.name.startswith(("$", ".L")):
            known = named.get(symbol["st_value"])
            if known is None or symbol["st_info"]["type"] == "STT_FUNC":
                named[symbol["st_value"]] = symbol.name
    return sorted(named.items())


def _lines(elf: Any, called: str) -> dict[int, int]:
    """Return {address: line}; where a stretch of code ends, 0."""
    found: dict[int, int] = {}
    if not elf.has_dwarf_info():
        return found
    dwarf = elf.get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        files = program["file_entry"]
        first = 0 if program["version"] >= 5 else 1
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            index = state.file - first
            ours = 0 <= index < len(files) and files[index].name.endswith(called.encode())
            if state.end_sequence:
                found.setdefault(state.address, 0)
            elif ours or state.address not in found:
                found[state.address] = state.line if ours else 0
    return found


def place_at(places: Sequence[Place], address: int) -> Place | None:
    """Return the place of an address, None where there is none."""
    at = bisect_right([place.address for place in places], address) - 1
    return places[at] if at >= 0 else None


def with_places(text: str, places: Sequence[Place]) -> str:
    """Return what a fault says, with the place behind the address it happened at: `a page fault at 0x1004c3 (main, line 8)`."""

    def named(match: re.Match[str]) -> str:
        place = place_at(places, int(match[1], 16))
        return match[0] if place is None else f"{match[0]} ({place})"

    return re.sub(r"\bat (0x[0-9a-f]{1,16})\b", named, text, count=1)
