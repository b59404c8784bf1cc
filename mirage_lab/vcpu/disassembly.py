"""disassembly: bytes as the instructions that a manual names, by capstone (mirage_lab[guests])."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.vcpu.emulator import GuestsMissing

if TYPE_CHECKING:
    from mirage_lab.vcpu.cpu import Cpu

__all__ = ["BAD", "ISAS", "Instruction", "around", "disassemble"]

ISAS: Final = {
    "x86-64": ("CS_ARCH_X86", "CS_MODE_64", 1, 15),
    "x86-32": ("CS_ARCH_X86", "CS_MODE_32", 1, 15),
    "aarch64": ("CS_ARCH_ARM64", "CS_MODE_ARM", 4, 4),
    "arm": ("CS_ARCH_ARM", "CS_MODE_ARM", 4, 4),
    "thumb": ("CS_ARCH_ARM", "CS_MODE_THUMB", 2, 4),
}
"""Instruction sets: how capstone calls them, bytes of the shortest and of the longest instruction."""
MOST: Final = 4_096
BAD: Final = "(bad)"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: where it is, its bytes, and how a manual writes it; `(bad)` for bytes that are none."""

    address: int
    bytes: bytes
    text: str

    def __repr__(self) -> str:
        return f"{self.address:#x}: {self.bytes.hex(' '):<24} {self.text}"


@lru_cache(maxsize=len(ISAS))
def _engine(isa: str) -> Any:
    try:
        import capstone
    except ImportError:
        raise GuestsMissing("instructions are shown by capstone: pip install 'mirage_lab[guests]'") from None
    arch, mode, _, _ = ISAS[isa]
    return capstone.Cs(getattr(capstone, arch), getattr(capstone, mode))


def disassemble(isa: str, data: bytes, address: int, count: int = MOST) -> list[Instruction]:
    """Return the instructions that `data`, at `address`, is made of, `count` at most; raises GuestsMissing without capstone."""
    engine = _engine(isa)
    step = ISAS[isa][2]
    found: list[Instruction] = []
    at = 0
    while at < len(data) and len(found) < count:
        before = at
        for where, size, mnemonic, operands in engine.disasm_lite(data[at:], address + at, count - len(found)):
            found.append(Instruction(where, data[where - address : where - address + size], f"{mnemonic} {operands}".rstrip()))
            at = where - address + size
        if at == before or (at < len(data) and len(found) < count):
            found.append(Instruction(address + at, data[at : at + step], BAD))
            at += step
    return found[:count]


def around(cpu: Cpu, address: int, count: int, isa: str | None = None) -> list[Instruction]:
    """Return `count` instructions from a linear address on, fewer where memory ends."""
    isa = isa or cpu.isa
    data, want = b"", count * ISAS[isa][3]
    while len(data) < want:
        at = address + len(data)
        piece = cpu.load(at, min(want - len(data), 4096 - (at & 4095)))
        if piece is None:
            break
        data += piece
    return disassemble(isa, data, address, count)
