"""PV kernels of a few instructions, put together by hand: an ELF file of x86-64 with the notes of a PV guest."""

from __future__ import annotations

import struct

from mirage_lab import Lab, guest_image, ms
from mirage_lab.xen.hypervisor import Domain
from mirage_lab.xen.hypervisor.hypervisor import SHARED_FRAMES
from tests.machinecode import Program, imm, note

BASE = 0x1000_0000
"""VIRT_BASE: page n of the guest is at BASE + n * 4096.  The kernel is pages 0 to 3, begins at 0, and uses page 1 for what it keeps."""
KEPT = BASE + 0x1000
DATA = BASE + 0x800
FIRST_MFN = 0x2000
"""The machine frame of page 0 of the first domain after a dom0 of 16 MiB."""


def elf64(code: bytes, *notes: bytes, entry: int = BASE, base: int = BASE, memsz: int = 0x4000) -> bytes:
    """A 64-bit ELF file that loads `code` at physical address 0, mapped at `base`."""
    told = note(6, b"test") + note(3, struct.pack("<Q", base)) + note(1, struct.pack("<Q", entry)) + b"".join(notes)
    headers = 64 + 2 * 56
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 7, headers + len(told), base, 0, len(code), max(memsz, len(code)), 4096)
    notes_at = struct.pack("<IIQQQQQQ", 4, 4, headers, 0, 0, len(told), len(told), 4)
    return header + load + notes_at + told + code


def imm64(value: int) -> bytes:
    """Eight bytes of an instruction."""
    return struct.pack("<Q", value & 0xFFFF_FFFF_FFFF_FFFF)


def call64(number: int, *args: int) -> bytes:
    """mov rdi, ...; mov eax, number; syscall"""
    moves = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8")
    return b"".join(op + imm64(value) for op, value in zip(moves, args)) + b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"


def keep(slot: int) -> bytes:
    """mov [KEPT + 8 * slot], rax"""
    return b"\x48\xa3" + imm64(KEPT + 8 * slot)


def fetch(address: int) -> bytes:
    """mov rax, [address]"""
    return b"\x48\xa1" + imm64(address)


def put(address: int, value: int) -> bytes:
    """mov rax, value; mov [address], rax"""
    return b"\x48\xb8" + imm64(value) + b"\x48\xa3" + imm64(address)


def says64(text: bytes, *, first: bytes = b"", after: bytes = b"", data: bytes = b"", reason: int = 0) -> bytes:
    """A guest that does `first`, says `text` on Xen's console, does `after`, and shuts down; `data` lies at DATA."""
    where = BASE + 0xC00
    code = first + call64(18, 0, len(text), where + 8) + after + call64(29, 2, where)
    assert len(code) <= 0x800 and len(data) <= 0x400
    return code.ljust(0x800, b"\x90") + data.ljust(0x400, b"\0") + imm64(reason) + text


PAGE = 4096
TABLES, L1_PAGE, STACK = 11, 14, 16
"""Pages of the guests here: the first page table, an L4; the L1 that maps the first 2 MiB; the boot stack."""
SHARED = BASE + 2 * PAGE
"""A page of the kernel, in the place of which guests map shared_info."""
MAP_SHARED = call64(14, SHARED, (SHARED_FRAMES + 1) << 12 | 7, 0)


def mfn(page: int) -> int:
    """The machine frame of a page."""
    return FIRST_MFN + page


def booted(code: bytes, *notes: bytes, run: int = ms(10), memory_mib: int = 8) -> Lab:
    """A lab in which a guest has run for a while."""
    lab = Lab(seed=1)
    lab.create(guest_image(elf64(code, *notes), memory_mib=memory_mib)).unpause()
    lab.run(run)
    return lab


def domain(lab: Lab) -> Domain:
    """The guest, as the hypervisor knows it."""
    return lab.machine.toolstack.domain(1)


def dmesg(lab: Lab) -> str:
    """What the hypervisor has said."""
    return str(lab.machine.toolstack.dmesg())


def kept(lab: Lab, count: int) -> tuple[int, ...]:
    """What the guest kept, as it lies in its memory."""
    return struct.unpack_from(f"<{count}q", domain(lab).memory.view, KEPT - BASE)


class PvProgram(Program):
    """Code of a PV guest that grows, as `machinecode.Program` has it: its addresses are those at which it sees its memory."""

    wide = True
    top = 1 << 64
    ram = BASE

    def __init__(self, data: int = 0x20_0000) -> None:
        super().__init__(BASE + data)

    def call(self, number: int, *args: int) -> None:
        """A hypercall."""
        self.code += call64(number, *args)

    def keep(self, at: int) -> None:
        """Store what the last call returned, 32 bits of it."""
        self.code += b"\x89\x04\x25" + imm(at)

    def put(self, address: int, value: int) -> None:
        """Store 32 bits."""
        self.code += b"\xc7\x04\x25" + imm(address) + imm(value)

    def image(self) -> bytes:
        """The whole as an ELF file, with an endless loop at the end; 7 MiB are mapped."""
        code = self.code + b"\xeb\xfe"
        assert len(code) <= self.data - BASE
        return elf64(code.ljust(self.data - BASE, b"\x90") + self.structures, memsz=0x70_0000)
