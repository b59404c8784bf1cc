"""cpu_code: what a CPU of machine code is about to do: its registers in words, the instructions around the next one.

    before the next instruction   found by trying: x86 has no marks between instructions
    the next one, and those after it   as they lie in memory, through the page tables

Numbers of 64 bits are hexadecimal text: a browser's numbers end at 53 bits.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mirage_lab.tracing.svg import visible
from mirage_lab.vcpu.cpu import Cpu

__all__ = ["AFTER", "BEFORE", "Line", "Symbols", "flags", "listing", "mode", "registers", "symbol_at", "system"]

BEFORE: Final = 6
AFTER: Final = 13
BACK: Final = 64
LONGEST: Final = 15
"""Bytes of the longest instruction of x86."""
UNWRITTEN: Final = bytes(8)
"""Memory nobody has written is no code, although x86 would take it for some."""
SYMBOL: Final = 80
NEAR: Final = 1 << 20
"""Bytes behind a symbol that are still called by its name."""

_X86_FLAGS: Final = ((0, "CF"), (2, "PF"), (4, "AF"), (6, "ZF"), (7, "SF"), (8, "TF"), (9, "IF"), (10, "DF"), (11, "OF"))
_ARM_FLAGS: Final = ((31, "N"), (30, "Z"), (29, "C"), (28, "V"), (7, "I"), (6, "F"))
_STATUS: Final = {"x86": "eflags", "arm64": "pstate", "arm": "cpsr"}
_CR0: Final = ((0, "PE"), (16, "WP"), (31, "PG"))
_CR4: Final = ((4, "PSE"), (5, "PAE"), (7, "PGE"), (9, "OSFXSR"))
_TARGET: Final = re.compile(r"#?(0x[0-9a-f]{1,16})$")
_THUMB: Final = 1 << 5

Symbols = Sequence[tuple[int, str]]
"""Symbols in the order of their addresses."""


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction: its address, bytes (hex) and words; `label`: the symbol that begins here; `target`: what its address is called."""

    address: int
    bytes: str
    text: str
    label: str
    target: str


def mode(cpu: Cpu) -> str:
    """Return what kind of CPU it is now: such as `x86, 32 bits, no paging`."""
    match cpu.arch:
        case "x86":
            paging = "paging" if cpu.read("cr0") >> 31 & 1 else "no paging"
            return f"x86, {64 if _bits(cpu) == 64 else 32} bits, {paging}"
        case "arm":
            return "ARMv7, Thumb" if cpu.read("cpsr") & _THUMB else "ARMv7"
        case _:
            return "aarch64"


def _bits(cpu: Cpu) -> int:
    return 32 if cpu.arch == "arm" or (cpu.arch == "x86" and not getattr(cpu, "long_mode", True)) else 64


def registers(cpu: Cpu) -> list[list[str]]:
    """Return [name, value] of the registers a person looks at first; in 32 bits by their names of 32 bits."""
    digits = _bits(cpu) // 4
    narrow = cpu.arch == "x86" and digits == 8
    found = []
    for name in cpu.general:
        if narrow and name[1:].isdigit():
            continue
        told = f"e{name[1:]}" if narrow and name.startswith("r") else name
        found.append([told, f"{cpu.read(name) & ((1 << 4 * digits) - 1):0{digits}x}"])
    return found


def flags(cpu: Cpu) -> str:
    """Return the names of the flags that are set."""
    name = _STATUS.get(cpu.arch, "")
    if name not in cpu.general:
        return ""
    return _named(cpu.read(name), _X86_FLAGS if cpu.arch == "x86" else _ARM_FLAGS) or "none"


def system(cpu: Cpu) -> list[list[str]]:
    """Return [name, value, words] of the registers of x86 that say how addresses are understood."""
    if cpu.arch != "x86":
        return []
    efer = cpu.emulator.msr(0xC000_0080)
    cr0, cr4 = cpu.read("cr0"), cpu.read("cr4")
    return [
        ["cr0", f"{cr0:x}", _named(cr0, _CR0)],
        ["cr3", f"{cpu.read('cr3'):x}", "page tables" if cr0 >> 31 & 1 else ""],
        ["cr4", f"{cr4:x}", _named(cr4, _CR4)],
        ["efer", f"{efer:x}", _named(efer, ((0, "SCE"), (8, "LME"), (10, "LMA"), (11, "NXE")))],
    ]


def _named(value: int, names: Sequence[tuple[int, str]]) -> str:
    return " ".join(name for bit, name in names if value >> bit & 1)


# instructions -------------------------------------------------------------------------------------------------------


def listing(cpu: Cpu, at: int, symbols: Symbols = (), before: int = BEFORE, after: int = AFTER) -> list[Line]:
    """Return the instructions around `at`, where one begins; raises GuestsMissing without capstone."""
    engine = _engine(cpu)
    size = 4 if cpu.arch == "arm64" else LONGEST
    rows = [*_before(cpu, engine, at, before), *_decoded(engine, _bytes_at(cpu, at, after * size), at)[:after]]
    return [_line(row, symbols) for row in rows]


def _engine(cpu: Cpu) -> Any:
    try:
        import capstone
    except ImportError:
        from mirage_lab.vcpu.emulator import GuestsMissing

        raise GuestsMissing("reading machine code needs a disassembler: pip install 'mirage_lab[guests]' (capstone)") from None
    if cpu.arch == "x86":
        return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64 if _bits(cpu) == 64 else capstone.CS_MODE_32)
    if cpu.arch == "arm64":
        return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    return capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB if cpu.read("cpsr") & _THUMB else capstone.CS_MODE_ARM)


def _bytes_at(cpu: Cpu, at: int, size: int) -> bytes:
    """Return up to `size` bytes, as far as there is memory."""
    found = b""
    while len(found) < size:
        here = at + len(found)
        piece = cpu.load(here, min(size - len(found), 4096 - (here & 4095)))
        if piece is None:
            break
        found += piece
    return found


Row = tuple[int, bytes, str]


def _decoded(engine: Any, data: bytes, at: int) -> list[Row]:
    """Return (address, bytes, words); what is no instruction is one byte each, or four on ARM."""
    rows: list[Row] = []
    done = 0
    step = 1 if engine.arch == 3 else 4  # CS_ARCH_X86
    while done < len(data):
        for address, size, name, operands in engine.disasm_lite(data[done:], at + done):
            rows.append((address, data[address - at : address - at + size], f"{name} {operands}".rstrip()))
            done = address - at + size
        if done < len(data):
            odd = data[done : done + step]
            rows.append((at + done, odd, f".byte {odd.hex(' ')}"))
            done += step
    return rows


def _before(cpu: Cpu, engine: Any, at: int, count: int) -> list[Row]:
    """Return the instructions that end where `at` begins: of all places to begin, the farthest from which one gets there."""
    if count <= 0:
        return []
    if cpu.arch == "arm64" or (cpu.arch == "arm" and not cpu.read("cpsr") & _THUMB):
        begin = max(0, at - 4 * count)
        return _decoded(engine, _bytes_at(cpu, begin, at - begin), begin)
    page = at & ~0xFFF
    begin = max(at - BACK, page if page == 0 or cpu.load(page - 1, 1) is None else 0)
    data = _bytes_at(cpu, begin, at - begin)
    empty = data.rfind(UNWRITTEN)
    for skip in range(0 if empty < 0 else empty + len(UNWRITTEN), len(data)):
        rows = list(engine.disasm_lite(data[skip:], begin + skip))
        if rows and rows[-1][0] + rows[-1][1] == at:
            return [(address, data[address - begin : address - begin + size], f"{name} {words}".rstrip()) for address, size, name, words in rows[-count:]]
    return []


def _line(row: Row, symbols: Symbols) -> Line:
    address, data, words = row
    found = _TARGET.search(words)
    target = symbol_at(symbols, int(found[1], 16)) if found else ""
    label = symbol_at(symbols, address)
    return Line(address, data.hex(), visible(words, 100), "" if "+" in label else label, target)


def symbol_at(symbols: Symbols, address: int) -> str:
    """Return `main+0x12`, or "" where no symbol is near."""
    place = bisect_right(symbols, (address, "\U0010ffff")) - 1
    if place < 0 or address - symbols[place][0] > NEAR:
        return ""
    begin, name = symbols[place]
    told = visible(name, SYMBOL)
    return told if begin == address else f"{told}+{address - begin:#x}"
