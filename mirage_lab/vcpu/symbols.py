"""symbols: names of addresses, from the symbol table of an ELF file, by pyelftools (mirage_lab[guests])."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from mirage_lab.vcpu.emulator import GuestsMissing

__all__ = ["Symbols", "read_symbols"]

MOST: Final = 500_000
LONGEST: Final = 120
FARTHEST: Final = 1 << 20
"""Bytes behind a symbol of unknown size that are still told by it."""


class Symbols:
    """Names and addresses, both ways.  `moved`: (physical, virtual, size) of segments that are not loaded where they are linked."""

    def __init__(self, rows: Iterable[tuple[int, int, str]] = (), moved: Iterable[tuple[int, int, int]] = ()) -> None:
        """Take (address, size, name) rows in any order; of several names of an address the one that covers most tells."""
        every = sorted(rows, key=lambda row: (row[0], -row[1]))
        self._rows = sorted({row[0]: row for row in reversed(every)}.values())
        self._begins = [row[0] for row in self._rows]
        self._addresses = {name: address for address, _, name in reversed(every)}
        self._moved = list(moved)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[int, int, str]]:
        """Give (address, size, name), by address."""
        return iter(self._rows)

    def __repr__(self) -> str:
        return f"<Symbols {len(self._rows):,}>"

    def address(self, name: str) -> int | None:
        """Return the address of a name, None if there is none."""
        return self._addresses.get(name)

    def at(self, address: int) -> str:
        """Return `main+0x12`; empty where no symbol is near."""
        found = self._at(address)
        for physical, virtual, size in self._moved:
            if not found and physical <= address < physical + size:
                found = self._at(address - physical + virtual)
        return found

    def _at(self, address: int) -> str:
        index = bisect_right(self._begins, address) - 1
        if index < 0:
            return ""
        begin, size, name = self._rows[index]
        offset = address - begin
        if offset >= (size or FARTHEST):
            return ""
        return f"{name}+{offset:#x}" if offset else name


@lru_cache(maxsize=8)
def read_symbols(data: bytes) -> Symbols:
    """Return the symbols of an ELF file; none of one that has none, or lies.  Raises GuestsMissing without pyelftools."""
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
        from elftools.elf.sections import SymbolTableSection
    except ImportError:
        raise GuestsMissing("symbols are read by pyelftools: pip install 'mirage_lab[guests]'") from None
    rows: list[tuple[int, int, str]] = []
    moved: list[tuple[int, int, int]] = []
    try:
        elf = ELFFile(io.BytesIO(data))
        loaded = list(elf.iter_segments("PT_LOAD"))
        moved += [(each["p_paddr"], each["p_vaddr"], each["p_memsz"]) for each in loaded if each["p_paddr"] != each["p_vaddr"]]
        for section in elf.iter_sections():
            if not isinstance(section, SymbolTableSection):
                continue
            for symbol in section.iter_symbols():
                kind = symbol["st_info"]["type"]
                if len(rows) >= MOST or not symbol.name or symbol["st_shndx"] == "SHN_UNDEF" or kind in ("STT_SECTION", "STT_FILE"):
                    continue
                if symbol.name[0] == "$":  # mapping symbols of ARM: code, data
                    continue
                value = symbol["st_value"] & ~1 if elf["e_machine"] == "EM_ARM" and kind == "STT_FUNC" else symbol["st_value"]
                rows.append((value, symbol["st_size"], symbol.name[:LONGEST]))
    except (ELFError, ArithmeticError, AttributeError, KeyError, IndexError, MemoryError, RecursionError, TypeError, UnicodeError, ValueError, OSError):
        pass  # a file may say anything; what was read before counts
    return Symbols(rows, moved)
