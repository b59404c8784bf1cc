"""Kernels of a few instructions, put together by hand: an ELF file with the note that makes it a PVH guest."""

from __future__ import annotations

import struct

BASE = 0x10_0000
"""Where they are loaded, and begin."""


def note(kind: int, value: bytes) -> bytes:
    """A note of owner Xen."""
    return struct.pack("<III4s", 4, len(value), kind, b"Xen\0") + value.ljust(-(-len(value) // 4) * 4, b"\0")


def elf32(code: bytes, *, entry: int = BASE, notes: bytes | None = None, base: int = BASE, memsz: int = 0) -> bytes:
    """A 32-bit ELF file that loads `code` at `base`."""
    told = note(18, struct.pack("<I", entry)) if notes is None else notes
    headers = 52 + 2 * 32
    header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, entry, 52, 0, 0, 52, 32, 2, 40, 0, 0)
    load = struct.pack("<8I", 1, headers + len(told), base, base, len(code), max(memsz, len(code)), 7, 4096)
    notes_at = struct.pack("<8I", 4, headers, 0, 0, len(told), len(told), 4, 4)
    return header + load + notes_at + told + code


def imm(value: int) -> bytes:
    """Four bytes of an instruction."""
    return struct.pack("<I", value & 0xFFFF_FFFF)


def call(number: int, *args: int) -> bytes:
    """mov eax, number; mov ebx, ...; vmcall"""
    moves = (b"\xbb", b"\xb9", b"\xba", b"\xbe", b"\xbf")
    return b"\xb8" + imm(number) + b"".join(op + imm(value) for op, value in zip(moves, args)) + b"\x0f\x01\xc1"


def put(address: int, value: int) -> bytes:
    """mov dword [address], value"""
    return b"\xc7\x05" + imm(address) + imm(value)


def move(source: int, to: int) -> bytes:
    """mov eax, [source]; mov [to], eax"""
    return b"\xa1" + imm(source) + b"\xa3" + imm(to)


def until(address: int, value: int) -> bytes:
    """cmp dword [address], value; jne back"""
    return b"\x81\x3d" + imm(address) + imm(value) + b"\x75\xf4"


def kept(at: int) -> bytes:
    """mov [at], eax: what the last call returned"""
    return b"\xa3" + imm(at)


class Program:
    """Code of 32 bits that grows, and the structures its calls point to; those come behind it, from `data` on."""

    wide = False
    top = 1 << 32
    ram = 0
    """Where it sees its memory."""

    def __init__(self, data: int = BASE + 0x4000) -> None:
        self.code = b""
        self.data = data
        self.structures = b""

    def __add__(self, code: bytes) -> Program:
        self.code += code
        return self

    def at(self, structure: bytes) -> int:
        """Put a structure there and return its address."""
        address = self.data + len(self.structures)
        self.structures += structure.ljust(-(-len(structure) // 16) * 16, b"\0")
        return address

    def call(self, number: int, *args: int) -> None:
        """A hypercall."""
        self.code += call(number, *args)

    def keep(self, at: int) -> None:
        """Store what the last call returned, 32 bits of it."""
        self.code += kept(at)

    def put(self, address: int, value: int) -> None:
        """Store 32 bits."""
        self.code += put(address, value)

    def again(self, start: int = 0) -> None:
        """Go back to `start`, for ever."""
        self.code += b"\xe9" + imm(start - len(self.code) - 5)

    def image(self) -> bytes:
        """The whole as an ELF file, with an endless loop at the end."""
        code = self.code + b"\xeb\xfe"
        assert len(code) <= self.data - BASE
        return elf32(code.ljust(self.data - BASE, b"\x90") + self.structures)


class Program64(Program):
    """The same in long mode: 1 GiB as it is, at 0x4000_0000 what lies at 0x40_0000, read-only, and the local APIC."""

    wide = True
    top = 1 << 64
    READ_ONLY = 0x4000_0000
    TABLES = 0x60_0000

    def __init__(self, data: int = BASE + 0x4000) -> None:
        super().__init__(data)
        gdt = self.at(struct.pack("<3Q", 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF))
        gdtr = self.at(struct.pack("<HI", 23, gdt))
        tables = self.TABLES
        for table, entry, value in (
            (0, 0, tables + 0x1007),
            (0x1000, 0, tables + 0x2007),
            (0x1000, 1, tables + 0x3007),
            (0x1000, 3, tables + 0x4007),
            (0x3000, 0, 0x40_0085),  # a large page, not writable
            (0x4000, 0xFEE0_0000 - 0xC000_0000 >> 21, 0xFEE0_0087),
        ):
            self.code += put(tables + table + 8 * entry, value)
        self.code += b"\x31\xc9\x89\xc8\xc1\xe0\x15\x0d" + imm(0x87)  # xor ecx, ecx; again: mov eax, ecx; shl eax, 21; or eax, 0x87
        self.code += b"\x89\x04\xcd" + imm(tables + 0x2000)  # mov [tables + 8 * ecx], eax
        self.code += b"\x41\x81\xf9" + imm(512) + b"\x75\xe6"  # inc ecx; cmp ecx, 512; jne again
        self.code += b"\xb8" + imm(tables) + b"\x0f\x22\xd8"  # CR3
        self.code += b"\x0f\x20\xe0\x0d" + imm(0x20) + b"\x0f\x22\xe0"  # CR4.PAE
        self.code += b"\xb9" + imm(0xC000_0080) + b"\x0f\x32\x0d" + imm(0x900) + b"\x0f\x30"  # EFER.LME, NXE
        self.code += b"\x0f\x20\xc0\x0d" + imm(0x8001_0001) + b"\x0f\x22\xc0"  # CR0.PG, WP, PE
        self.code += b"\x0f\x01\x15" + imm(gdtr) + b"\xea"
        self.code += imm(BASE + len(self.code) + 6) + b"\x08\0"
        self.code += b"\x48\xbc" + struct.pack("<Q", 0x70_0000)  # mov rsp

    def call(self, number: int, *args: int) -> None:
        """A hypercall."""
        moves = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8")
        values = [(b"\x48\xb8", number), *zip(moves, args)]
        self.code += b"".join(op + struct.pack("<Q", value & (1 << 64) - 1) for op, value in values) + b"\x0f\x01\xc1"

    def keep(self, at: int) -> None:
        """Store what the last call returned, 32 bits of it."""
        self.code += b"\x89\x04\x25" + imm(at)

    def put(self, address: int, value: int) -> None:
        """Store 32 bits."""
        self.code += b"\xc7\x04\x25" + imm(address) + imm(value)


def says(text: bytes, *, after: bytes = b"", reason: int = 0) -> bytes:
    """A guest that says `text` on Xen's console, does `after`, and shuts down."""
    data = BASE + 0x200
    code = call(18, 0, len(text), data + 8) + after + call(29, 2, data)
    assert len(code) <= 0x200
    return code.ljust(0x200, b"\x90") + struct.pack("<Q", reason) + text


def with_symbols(file: bytes, symbols: dict[str, tuple[int, int]]) -> bytes:
    """An ELF file of `elf32`, with a symbol table behind it: name -> (address, size), all of them functions."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in symbols)
    shown = b"\0.symtab\0.strtab\0.shstrtab\0.text\0"
    rows = bytes(16)
    for name, (address, size) in symbols.items():
        rows += struct.pack("<IIIBBH", names.index(b"\0" + name.encode() + b"\0") + 1, address, size, 0x12, 0, 4)  # global, function, in section 4
    at = len(file)
    tables = [(1, 2, at, len(rows), 2, 1, 16), (9, 3, at + len(rows), len(names), 0, 0, 0), (17, 3, at + len(rows) + len(names), len(shown), 0, 0, 0)]
    sections = bytes(40)
    for name, kind, where, size, link, info, each in tables:
        sections += struct.pack("<10I", name, kind, 0, 0, where, size, link, info, 4, each)
    entry = struct.unpack_from("<I", file, 24)[0]
    offset = len(file) - struct.unpack_from("<I", file, 52 + 16)[0]
    sections += struct.pack("<10I", 27, 1, 6, entry, offset, len(file) - offset, 0, 0, 16, 0)
    body = file + rows + names + shown
    body = body.ljust(-(-len(body) // 4) * 4, b"\0")
    head = body[:32] + struct.pack("<I", len(body)) + body[36:46] + struct.pack("<HHH", 40, 5, 3) + body[52:]
    return head + sections


def bzimage(payload: bytes, *, version: int = 0x20F, sects: int = 4) -> bytes:
    """A bzImage of Linux: real-mode code with its header, 16 bytes of the unpacker's, and the payload."""
    head = bytearray((sects + 1) * 512)
    head[0x1F1] = sects
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    return bytes(head) + bytes(16) + payload
