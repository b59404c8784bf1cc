"""gdbregisters: the registers of each architecture as gdb numbers them (gdb manual, appendix G: target descriptions).

gdb does not follow a CPU from 32 to 64 bits: it takes the description it is given when it connects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mirage_lab.vcpu.cpu import Cpu

__all__ = ["Layout", "Row", "layout_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """One register: gdb's name, its size in bits, gdb's type, the CPU's name for it (empty: it is not told)."""

    name: str
    bits: int
    type: str = ""
    ours: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """An architecture: its name, and features with their registers in gdb's order."""

    architecture: str
    features: tuple[tuple[str, tuple[Row, ...]], ...]

    @property
    def rows(self) -> list[Row]:
        """All registers by gdb's number."""
        return [row for _, rows in self.features for row in rows]

    @property
    def pointer(self) -> int:
        """Bytes of an address."""
        return 4 if self.architecture in ("i386", "arm") else 8

    @property
    def xml(self) -> str:
        """The target description."""
        told = ['<?xml version="1.0"?>\n<!DOCTYPE target SYSTEM "gdb-target.dtd">\n<target version="1.0">', f"<architecture>{self.architecture}</architecture>"]
        for name, rows in self.features:
            told.append(f'<feature name="{name}">')
            if name == "org.gnu.gdb.i386.core":
                told.append(_FLAGS)
            told += [f'<reg name="{row.name}" bitsize="{row.bits}" type="{row.type or f"int{row.bits}"}"/>' for row in rows]
            told.append("</feature>")
        return "\n".join([*told, "</target>"])


_FLAGS: Final = '<flags id="i386_eflags" size="4">' + "".join(
    f'<field name="{name}" start="{bit}" end="{bit}"/>'
    for bit, name in ((0, "CF"), (2, "PF"), (4, "AF"), (6, "ZF"), (7, "SF"), (8, "TF"), (9, "IF"), (10, "DF"), (11, "OF"), (14, "NT"), (16, "RF"), (17, "VM"))
) + "</flags>"


def _x87() -> tuple[Row, ...]:
    stack = tuple(Row(f"st{n}", 80, "i387_ext") for n in range(8))
    return stack + tuple(Row(name, 32, "int") for name in ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"))


_SEGMENTS: Final = tuple(Row(name, 32, "int32", name) for name in ("cs", "ss", "ds", "es", "fs", "gs"))
_WIDE: Final = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)))
_POINTERS: Final = ("rbp", "rsp", "ebp", "esp")
_CONTROL: Final = ("cr0", "cr2", "cr3", "cr4")

X86_64: Final = Layout(
    "i386:x86-64",
    (
        (
            "org.gnu.gdb.i386.core",
            (
                *(Row(name, 64, "data_ptr" if name in _POINTERS else "int64", name) for name in _WIDE),
                Row("rip", 64, "code_ptr", "rip"),
                Row("eflags", 32, "i386_eflags", "eflags"),
                *_SEGMENTS,
                *_x87(),
            ),
        ),
        ("org.gnu.gdb.i386.segments", (Row("fs_base", 64, "int", "fs_base"), Row("gs_base", 64, "int", "gs_base"))),
        ("mirage-lab.control", tuple(Row(name, 64, "int64", name) for name in _CONTROL)),
    ),
)
X86_32: Final = Layout(
    "i386",
    (
        (
            "org.gnu.gdb.i386.core",
            (
                *(Row(f"e{n}", 32, "data_ptr" if n in ("bp", "sp") else "int32", f"r{n}") for n in ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")),
                Row("eip", 32, "code_ptr", "rip"),
                Row("eflags", 32, "i386_eflags", "eflags"),
                *_SEGMENTS,
                *_x87(),
            ),
        ),
        ("mirage-lab.control", tuple(Row(name, 32, "int32", name) for name in _CONTROL)),
    ),
)
AARCH64: Final = Layout(
    "aarch64",
    (
        (
            "org.gnu.gdb.aarch64.core",
            (
                *(Row(f"x{n}", 64, "int64", f"x{n}") for n in range(31)),
                Row("sp", 64, "data_ptr", "sp"),
                Row("pc", 64, "code_ptr", "pc"),
                Row("cpsr", 32, "int32", "pstate"),
            ),
        ),
    ),
)
ARM: Final = Layout(
    "arm",
    (
        (
            "org.gnu.gdb.arm.core",
            (
                *(Row(f"r{n}", 32, "uint32", f"r{n}") for n in range(13)),
                Row("sp", 32, "data_ptr", "sp"),
                Row("lr", 32, "int32", "lr"),
                Row("pc", 32, "code_ptr", "pc"),
                Row("cpsr", 32, "int32", "cpsr"),
            ),
        ),
    ),
)


def layout_of(cpu: Cpu, bits: int) -> Layout:
    """Return the layout for a CPU; of x86 that of a kernel whose file has 32 bits, as long as it has not left them, or of 64."""
    if cpu.arch == "arm64":
        return AARCH64
    if cpu.arch == "arm":
        return ARM
    return X86_32 if bits == 32 and cpu.isa == "x86-32" else X86_64
