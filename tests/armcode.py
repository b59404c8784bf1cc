"""ARM kernels of a few instructions, put together by hand: an Image of 64 bits, a zImage of 32, and the words they are made of.

    base   header, then the code      base + 0x800  vectors      base + 0x1000  data
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

VECTORS = 0x800
DATA = 0x1000


def words(*codes: int) -> bytes:
    """Instructions as bytes."""
    return struct.pack(f"<{len(codes)}I", *codes)


@dataclass(frozen=True)
class Kind:
    """One of the two: where its kernels begin, and its instructions by what they do."""

    bits: int
    base: int
    wfi: int
    stay: int
    let_in: int
    """Let interrupts in."""
    set_vectors: int
    """The vector table is where register 0 says."""
    undefined: int
    svc: int
    write_timer: int
    """CNTV_TVAL := register 0."""
    control_timer: int
    read_counter: tuple[int, ...]
    """CNTVCT into register 0 (and 1)."""
    back: int
    """Return from an interrupt."""
    code_at: int = 64
    """Where the code begins in the file."""

    def mov(self, register: int, value: int) -> list[int]:
        """A register := 32 bits."""
        low, high = value & 0xFFFF, value >> 16 & 0xFFFF
        if self.bits == 64:  # movz, movk
            return [0xD280_0000 | low << 5 | register, 0xF2A0_0000 | high << 5 | register]
        return [code | (half >> 12) << 16 | register << 12 | half & 0xFFF for code, half in ((0xE300_0000, low), (0xE340_0000, high))]  # movw, movt

    def call(self, number: int, *args: int) -> list[int]:
        """A hypercall."""
        code = [word for register, value in enumerate(args) for word in self.mov(register, value)]
        return [*code, *self.mov(16 if self.bits == 64 else 12, number), 0xD400_0002 | 0xEA1 << 5 if self.bits == 64 else 0xE140_EA71]

    def firmware(self, function: int) -> list[int]:
        """A call of PSCI."""
        return [*self.mov(0, function), 0xD400_0002 if self.bits == 64 else 0xE140_0070]

    def store(self, register: int, address: int) -> list[int]:
        """32 bits of a register to memory, by way of register 9."""
        return [*self.mov(9, address), 0xB900_0000 | 9 << 5 | register if self.bits == 64 else 0xE589_0000 | register << 12]

    def load(self, register: int, address: int) -> list[int]:
        """32 bits of memory to a register, by way of register 9."""
        return [*self.mov(9, address), 0xB940_0000 | 9 << 5 | register if self.bits == 64 else 0xE599_0000 | register << 12]

    def put(self, value: int, address: int) -> list[int]:
        """Memory := 32 bits, by way of registers 8 and 9."""
        return [*self.mov(8, value), *self.store(8, address)]

    def kernel(self, code: list[int], *, vectors: dict[int, list[int]] | None = None, data: bytes = b"") -> bytes:
        """The file of a kernel; `vectors`: the handler at each offset of the table."""
        if self.bits == 64:
            header = words(0x1400_0010, 0) + struct.pack("<6Q", 0x8_0000, 0x1_0000, 0xA, 0, 0, 0) + b"ARM\x64" + bytes(4)
        else:
            header = words(*[0xE1A0_0000] * 8, 0xEA00_0003, 0x016F_2818, 0, DATA + len(data), 0x0403_0201, 0)
        text = (header + words(*code)).ljust(VECTORS, b"\0")
        table = bytearray(DATA - VECTORS)
        at = 0x80 if self.bits == 32 else 0
        for offset, handler in sorted((vectors or {}).items()):
            if self.bits == 32:  # a branch in the table, the handler behind it
                table[offset : offset + 4] = words(0xEA00_0000 | (at - offset - 8) // 4 & 0xFF_FFFF)
                table[at : at + 4 * len(handler)] = words(*handler)
                at += 4 * len(handler)
            else:
                assert len(handler) <= 32
                table[offset : offset + 4 * len(handler)] = words(*handler)
        assert len(text) == VECTORS and len(table) == DATA - VECTORS
        return text + bytes(table) + data

    def says(self, text: bytes, *, after: list[int] | None = None, vectors: dict[int, list[int]] | None = None) -> bytes:
        """A guest that says `text` on Xen's console, does `after`, and shuts down."""
        data = self.base + DATA
        code = [*self.call(18, 0, len(text), data + 8), *(after or []), *self.call(29, 2, data)]
        return self.kernel(code, vectors=vectors, data=struct.pack("<Q", 0) + text)


ARM64 = Kind(
    64,
    0x4008_0000,
    wfi=0xD503_207F,
    stay=0x1400_0000,
    let_in=0xD503_42FF,  # msr daifclr, #2
    set_vectors=0xD518_C000,  # msr vbar_el1, x0
    undefined=0x0000_0000,
    svc=0xD400_00A1,  # svc #5
    write_timer=0xD51B_E300,
    control_timer=0xD51B_E320,
    read_counter=(0xD53B_E040, 0xD360_FC01),  # mrs x0, cntvct_el0; lsr x1, x0, #32
    back=0xD69F_03E0,  # eret
)
ARM32 = Kind(
    32,
    0x4000_8000,
    wfi=0xE320_F003,
    stay=0xEAFF_FFFE,
    let_in=0xF108_0080,  # cpsie i
    set_vectors=0xEE0C_0F10,  # mcr p15, 0, r0, c12, c0, 0
    undefined=0xE7F0_00F0,
    svc=0xEF00_0005,
    write_timer=0xEE0E_0F13,  # mcr p15, 0, r0, c14, c3, 0
    control_timer=0xEE0E_0F33,
    read_counter=(0xEC51_0F1E,),  # mrrc p15, 1, r0, r1, c14
    back=0xE25E_F004,  # subs pc, lr, #4
    code_at=56,
)
BOTH = (ARM64, ARM32)


class ArmProgram:
    """Code of an ARM guest that grows, as `machinecode.Program` has it: addresses that are told are in its RAM, from `ram` on."""

    wide = True
    ram = 0x4000_0000

    def __init__(self, kind: Kind, data: int = 0x20_0000) -> None:
        self.kind = kind
        self.top = 1 << kind.bits
        self.code = b""
        self.data = self.ram + data
        self.structures = b""

    def at(self, structure: bytes) -> int:
        """Put a structure there and return its address."""
        address = self.data + len(self.structures)
        self.structures += structure.ljust(-(-len(structure) // 16) * 16, b"\0")
        return address

    def _mov(self, register: int, value: int) -> bytes:
        low = self.kind.mov(register, value & 0xFFFF_FFFF)
        if self.kind.bits == 64 and value >> 32:  # movk, movk
            low += [0xF2C0_0000 | (value >> 32 & 0xFFFF) << 5 | register, 0xF2E0_0000 | (value >> 48 & 0xFFFF) << 5 | register]
        return words(*low)

    def call(self, number: int, *args: int) -> None:
        """A hypercall."""
        self.code += b"".join(self._mov(register, value) for register, value in enumerate(args)) + words(*self.kind.call(number))

    def keep(self, at: int) -> None:
        """Store what the last call returned, 32 bits of it."""
        self.code += words(*self.kind.store(0, at))

    def put(self, address: int, value: int) -> None:
        """Store 32 bits."""
        self.code += words(*self.kind.put(value & 0xFFFF_FFFF, address))

    def move(self, source: int, to: int) -> None:
        """Copy 32 bits."""
        self.code += words(*self.kind.load(2, source), *self.kind.store(2, to))

    def until(self, address: int, value: int) -> None:
        """Wait until 32 bits are a value."""
        compare = [0x6B03_005F, 0x5400_0001 | (-4 & 0x7_FFFF) << 5] if self.kind.bits == 64 else [0xE152_0003, 0x1A00_0000 | -6 & 0xFF_FFFF]
        self.code += words(*self.kind.mov(3, value), *self.kind.load(2, address), *compare)

    def again(self, start: int = 0) -> None:
        """Go back to `start`, for ever."""
        back = (start - len(self.code)) // 4
        self.code += words(0x1400_0000 | back & 0x3FF_FFFF if self.kind.bits == 64 else 0xEA00_0000 | back - 2 & 0xFF_FFFF)

    def image(self) -> bytes:
        """The file of the kernel, with an endless loop at the end."""
        header = self.kind.kernel([])[: self.kind.code_at]
        text = header + self.code + words(self.kind.stay)
        room = self.data - self.kind.base
        assert len(text) <= room
        whole = bytearray(text.ljust(room, b"\0") + self.structures)
        if self.kind.bits == 64:
            struct.pack_into("<Q", whole, 16, len(whole))  # image_size
        else:
            struct.pack_into("<I", whole, 44, len(whole))  # end of the zImage
        return bytes(whole)
