"""cpu_code: what a CPU of machine code is about to do: its registers in words, the instructions around the next one.

    before the next instruction   found by trying: x86 has no marks between instructions
    the next one, and those after it   as they lie in memory, through the page tables

Numbers of 64 bits are hexadecimal text: a browser's numbers end at 53 bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirage_lab.tracing.svg import visible
from mirage_lab.vcpu.cpu import Cpu
from mirage_lab.vcpu.disassembly import BAD, ISAS, Instruction, around, disassemble
from mirage_lab.vcpu.paging import Step
from mirage_lab.vcpu.symbols import Symbols

__all__ = ["AFTER", "BEFORE", "Line", "entry", "flags", "listing", "mode", "registers", "symbol_at", "system"]

BEFORE: Final = 6
AFTER: Final = 13
BACK: Final = 64
UNWRITTEN: Final = bytes(8)
"""Memory nobody has written is no code, although x86 would take it for some."""
SYMBOL: Final = 80

_X86_FLAGS: Final = ((0, "CF"), (2, "PF"), (4, "AF"), (6, "ZF"), (7, "SF"), (8, "TF"), (9, "IF"), (10, "DF"), (11, "OF"))
_ARM_FLAGS: Final = ((31, "N"), (30, "Z"), (29, "C"), (28, "V"), (7, "I"), (6, "F"))
_STATUS: Final = {"x86": "eflags", "arm64": "pstate", "arm": "cpsr"}
_CR0: Final = ((0, "PE"), (16, "WP"), (31, "PG"))
_CR4: Final = ((4, "PSE"), (5, "PAE"), (7, "PGE"), (9, "OSFXSR"))
_ENTRY_X86: Final = ((0, "present"), (1, "writable"), (2, "user"), (5, "accessed"), (6, "dirty"), (7, "large"), (8, "global"))
_ENTRY_ARM64: Final = ((6, "user"), (10, "accessed"))
_SCTLR: Final = ((0, "MMU"), (2, "data cache"), (12, "instruction cache"))
_TARGET: Final = re.compile(r"#?(0x[0-9a-f]{1,16})$")


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
            return f"x86, {_bits(cpu)} bits, {paging}"
        case "arm":
            return f"ARMv7, {'Thumb, ' if cpu.isa == 'thumb' else ''}{'paging' if cpu.read('sctlr') & 1 else 'no paging'}"
        case _:
            return f"aarch64, {'paging' if cpu.read('sctlr_el1') & 1 else 'no paging'}"


def _bits(cpu: Cpu) -> int:
    return 64 if cpu.isa in ("x86-64", "aarch64") else 32


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
    """Return [name, value, words] of the registers that say how addresses are understood."""
    if cpu.arch != "x86":
        names = ("sctlr_el1", "ttbr0_el1", "ttbr1_el1", "tcr_el1") if cpu.arch == "arm64" else ("sctlr", "ttbr0", "ttbr1", "ttbcr")
        return [[name, f"{cpu.read(name):x}", _named(cpu.read(name), _SCTLR) if name.startswith("sctlr") else ""] for name in names]
    efer = cpu.emulator.msr(0xC000_0080)
    cr0, cr4 = cpu.read("cr0"), cpu.read("cr4")
    return [
        ["cr0", f"{cr0:x}", _named(cr0, _CR0)],
        ["cr3", f"{cpu.read('cr3'):x}", "page tables" if cr0 >> 31 & 1 else ""],
        ["cr4", f"{cr4:x}", _named(cr4, _CR4)],
        ["efer", f"{efer:x}", _named(efer, ((0, "SCE"), (8, "LME"), (10, "LMA"), (11, "NXE")))],
    ]


def entry(cpu: Cpu, step: Step) -> str:
    """Return what an entry of a page table says, in words."""
    said = step.entry
    match cpu.arch:
        case "x86":
            large = 0 if step.table == "PT" else said & 1 << 7
            return _named(said & ~(1 << 7) | large, _ENTRY_X86) if said & 1 else "not present"
        case "arm64":
            if not said & 1 or (step.table == "L3" and not said & 2):
                return "not valid"
            if said & 2 and step.table != "L3":
                return "table"
            return _joined("page" if step.table == "L3" else "block", _named(said, _ENTRY_ARM64), "read only" if said & 1 << 7 else "writable")
        case _:
            kinds = ("not valid", "table", "section", "section") if step.table == "L1" else ("not valid", "large page", "page", "page")
            return kinds[said & 3]


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)


def _named(value: int, names: Sequence[tuple[int, str]]) -> str:
    return " ".join(name for bit, name in names if value >> bit & 1)


# instructions -------------------------------------------------------------------------------------------------------


def listing(cpu: Cpu, at: int, symbols: Symbols, before: int = BEFORE, after: int = AFTER) -> list[Line]:
    """Return the instructions around `at`, where one begins; raises GuestsMissing without capstone."""
    isa = cpu.isa
    return [_line(each, symbols) for each in (*_before(cpu, isa, at, before), *around(cpu, at, after, isa))]


def _before(cpu: Cpu, isa: str, at: int, count: int) -> list[Instruction]:
    """Return the instructions that end where `at` begins: of all places to begin, the farthest from which one gets there."""
    if count <= 0:
        return []
    _, _, shortest, longest = ISAS[isa]
    page = at & ~0xFFF
    back = BACK if shortest < longest else longest * count
    begin = max(at - back, page if page == 0 or cpu.load(page - 1, 1) is None else 0)
    data = cpu.load(begin, at - begin) or b""
    empty = data.rfind(UNWRITTEN)
    first = -(-(empty + len(UNWRITTEN)) // shortest) * shortest if empty >= 0 else 0
    for skip in range(first, len(data), shortest):
        rows = disassemble(isa, data[skip:], begin + skip)
        if shortest == longest or all(row.text != BAD for row in rows):
            return rows[-count:]
    return []


def _line(each: Instruction, symbols: Symbols) -> Line:
    found = _TARGET.search(each.text)
    target = symbol_at(symbols, int(found[1], 16)) if found else ""
    name = symbols.at(each.address)
    label = visible(name, SYMBOL) if symbols.address(name) is not None else ""
    return Line(each.address, each.bytes.hex(), visible(each.text, 100), label, target)


def symbol_at(symbols: Symbols, address: int) -> str:
    """Return `main+0x12`, or "" where no symbol is near, as plain characters."""
    return visible(symbols.at(address), SYMBOL)
