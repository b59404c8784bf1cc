"""Attacks on the hypervisor that any guest can make: each hypercall with each wild pointer; random calls with arguments that aim at something."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Protocol

from mirage_lab import Lab, guest_image, ms
from mirage_lab.runtime import tasks
from mirage_lab.xen.abi import sched, vcpu
from mirage_lab.xen.abi import xen as nr
from mirage_lab.xen.abi.arm import GICC_BASE, GICD_BASE, MAGIC_BASE
from mirage_lab.xen.abi.errno import NAMES
from mirage_lab.xen.dom0 import Image
from mirage_lab.xen.hypervisor import Domain
from mirage_lab.xen.hypervisor.hypercalls import HYPERCALLS
from tests.armcode import BOTH, ArmProgram, words
from tests.armcode import Kind as ArmKind
from tests.machinecode import BASE as CODE
from tests.machinecode import Program, Program64, imm
from tests.pvcode import BASE, PvProgram

__all__ = [
    "KEPT", "KINDS", "RAM", "STRUCTURES", "Kind", "Scene", "calls_of", "pointers", "random_calls", "random_code", "random_words", "scene", "structures", "told",
]  # fmt: skip

RAM = 8 << 20
STRUCTURES = 0x68_0000
"""Where structures made by chance lie, 32 KiB of them."""
KEPT = 0x50_0000
"""Where a guest keeps what its calls returned."""
_LEAVES = {(nr.SCHED_OP, sched.BLOCK), (nr.VCPU_OP, vcpu.DOWN)}
"""Ways out of the program."""
_ENDS = {(nr.SCHED_OP, sched.SHUTDOWN), (nr.SCHED_OP, sched.POLL)}
"""With a structure of zeros they do what they are for: the guest ends, or waits for ever."""


class Assembler(Protocol):
    """What the programs of all kinds of guest have."""

    code: bytes
    top: int
    ram: int

    def at(self, structure: bytes) -> int: ...
    def call(self, number: int, *args: int) -> None: ...
    def keep(self, at: int) -> None: ...
    def put(self, address: int, value: int) -> None: ...
    def again(self, start: int = 0) -> None: ...
    def image(self) -> bytes: ...


@dataclass(frozen=True)
class Kind:
    """A kind of guest: how a program of it begins, and pointers that are wild for it."""

    name: str
    program: Callable[[int], Assembler]
    wild: tuple[int, ...]
    """Where there is nothing."""
    odd: tuple[int, ...]
    """Where there is something, of a kind."""

    @property
    def ram(self) -> int:
        """Where it sees its memory."""
        return self.program(0x20_0000).ram


FAR = (1 << 47, (1 << 63) + 8, (1 << 64) - 4096, (1 << 64) - 8, (1 << 64) - 1)
ARM_RAM = ArmProgram.ram
ARM_END = ARM_RAM + RAM + 0x2000
"""Behind the rings."""
KINDS = [
    Kind("pvh 32", Program, (RAM, RAM - 1, 0x900_0000, 0xFEE0_0000, 0xFEE0_0FFC, 0xFFFF_FFF8, 0xFFFF_FFFF), (0, 1, RAM - 8, RAM - 0x1000)),
    Kind("pvh 64", Program64, (RAM, RAM - 1, 0x900_0000, 0xFEE0_0000, 0x4800_0000, 1 << 40, *FAR), (0, 1, Program64.READ_ONLY, RAM - 8, RAM - 0x1000)),
    Kind("pv", PvProgram, (0, 1, BASE + RAM, 0xFFFF_8300_0000_0000, *FAR), (BASE + 0x60_0000, BASE + 0x60_0001, 0xFFFF_8000_0000_0000, BASE + 0x70_3000)),
]
if find_spec("fdt") is not None:
    KINDS += [
        Kind(
            f"arm {kind.bits}",
            partial(ArmProgram, kind),
            (0, 1, GICD_BASE, GICC_BASE + 12, ARM_END, ARM_END - 1, 0x3800_0000, 0xFFFF_F000, *(FAR if kind.bits == 64 else (0xFFFF_FFF8, 0xFFFF_FFFF))),
            (ARM_RAM + 0x5C_0000, ARM_RAM + 0x5C_0001, ARM_END - 8, MAGIC_BASE),
        )
        for kind in BOTH
    ]


def pointers(kind: Kind) -> tuple[int, ...]:
    """All of them."""
    return kind.wild + kind.odd


def calls_of(kind: Kind) -> Iterator[tuple[int, ...]]:
    """Each hypercall there is, and some that there are not, with each pointer in each place."""
    operations = [(number, op) for number, ops in sorted(HYPERCALLS.items()) for op in sorted(ops)]
    operations += [(number, op) for number in (0, 1, 3, 13, 22, 26, 33, 35, 36, 55, 63, 127, 0xFFFF_FFFF) for op in (0, 1)]
    for number, op in operations:
        if (number, op) in _LEAVES or number == nr.IRET:
            continue
        for pointer in pointers(kind):
            if (number, op) not in _ENDS:
                yield number, op, 1, pointer
            if (number, op) not in _ENDS or pointer in kind.wild:
                yield number, op, pointer, 1
            if number == nr.GRANT_TABLE_OP:
                yield number, op, pointer, 0xFFFF_FFFF
                yield number, op, pointer, 4_096
            if number not in (nr.SCHED_OP, nr.SET_TIMER_OP):
                yield number, pointer, 1, 0
                yield number, pointer, pointer, pointer, pointer, pointer


def random_calls(kind: Kind, chance: random.Random, count: int) -> Iterator[tuple[int, ...]]:
    """Calls by chance, with arguments that aim at structures, RAM, the ends of RAM, devices, or nothing; none that ends the guest."""
    numbers = sorted(HYPERCALLS)
    made = 0
    while made < count:
        number = chance.choice(numbers) if chance.random() < 0.9 else chance.randrange(64)
        ops = sorted(HYPERCALLS.get(number, {}))
        op = chance.choice(ops) if ops and chance.random() < 0.9 else chance.choice((chance.randrange(40), chance.getrandbits(32)))
        if number == nr.IRET or (number, op) in _LEAVES | _ENDS:
            continue
        made += 1
        yield number, op, *(_aimed(kind, chance) for _ in range(4))


def _aimed(kind: Kind, chance: random.Random) -> int:
    match chance.randrange(8):
        case 0 | 1 | 2:
            return kind.ram + STRUCTURES + 8 * chance.randrange(0x1000)
        case 3:
            return chance.choice(pointers(kind))
        case 4:
            return chance.randrange(8)
        case 5:
            return kind.ram + chance.randrange(RAM)
        case 6:
            return chance.getrandbits(16)
        case _:
            return chance.randrange(kind.program(0x20_0000).top)


@dataclass
class Scene:
    """A lab with a hostile guest, and a Python unikernel that notes the time each millisecond."""

    lab: Lab
    guest: Domain
    ticks: list[int]

    def bounded(self) -> None:
        """Check that nothing was held up, and that what is kept of the guest has a bound."""
        world = self.lab.machine.world
        assert all(ms(1) <= later - sooner < 1_100_000 for sooner, later in zip(self.ticks, self.ticks[1:])), self.ticks
        assert len(self.ticks) >= world.now // ms(1) - 3
        assert len(world._heap) < 2_100 and len(world.reports) <= 100
        assert len(self.lab.machine.toolstack.hypervisor.dmesg) <= 2_000
        machine = self.guest.machine
        assert machine is not None and machine.cpu.pieces <= 1_300  # type: ignore[attr-defined]


def scene(program: Assembler, *, run: int = ms(10), data: bytes = b"") -> Scene:
    """Run a program, with `data` at STRUCTURES, beside a unikernel that must not suffer from it."""
    ticks: list[int] = []

    async def survivor(os: object) -> None:
        while True:
            await tasks.sleep(ms(1))
            ticks.append(await tasks.now())

    lab = Lab(seed=1)
    lab.create(guest_image(program.image(), memory_mib=8), name="guest").unpause()
    toolstack = lab.machine.toolstack
    toolstack.domain(1).memory.view[STRUCTURES : STRUCTURES + len(data)] = data
    toolstack.unpause(toolstack.create(Image("survivor", entry=survivor), memory_mib=8))
    lab.run(run)
    return Scene(lab, toolstack.domain(1), ticks)


def structures(kind: Kind, chance: random.Random) -> bytes:
    """Words that calls by chance find where they look."""
    aims = (kind.ram + KEPT, kind.ram + STRUCTURES, kind.ram + RAM)
    likely = (0, 1, 2, 3, 4, 8, 9, 16, 0x7FF0, 0x7FF0_0001, 0x1_0001, *aims, *(aim >> 12 for aim in aims), 0x2_0000, 0xFFFF_FFFF, 1 << 31)
    words = (chance.choice(likely) if chance.random() < 0.8 else chance.getrandbits(32) for _ in range(0x2000))
    return struct.pack(f"<{0x2000}I", *words)


def random_code(chance: random.Random, size: int) -> Program:
    """Instructions by chance, in 32 bits, with handlers that go on behind whatever faults."""
    program = Program(CODE + 0x8000)
    gdt = program.at(struct.pack("<3Q", 0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF))
    program += b"\x0f\x01\x15" + imm(program.at(struct.pack("<HI", 23, gdt))) + b"\xea" + imm(CODE + 14) + b"\x08\0"
    program += b"\x66\xb8\x10\0\x8e\xd8\x8e\xc0\x8e\xd0\xbc" + imm(0x40_0000)  # mov ax, 16; mov ds, ax; es; ss; mov esp
    plain = program.at(b"\xff\x04\x24\xcf")  # inc dword [esp]; iret
    coded = program.at(b"\x83\xc4\x04\xff\x04\x24\xcf")  # add esp, 4; the same
    gates = [coded if vector in (8, 10, 11, 12, 13, 14, 17) else plain for vector in range(256)]
    table = program.at(b"".join(struct.pack("<HHBBH", gate & 0xFFFF, 8, 0, 0x8E, gate >> 16) for gate in gates))
    program += b"\x0f\x01\x1d" + imm(program.at(struct.pack("<HI", 256 * 8 - 1, table)))
    likely = [bytes.fromhex(text) for text in ("0f01c1", "0fa2", "0f31", "0f30", "0f32", "f4", "e680", "cf", "0f22d8", "0f22c0", "0f011d", "f3a4")]
    while len(program.code) < size:
        program += chance.choice(likely) if chance.random() < 0.05 else chance.randbytes(chance.randrange(1, 12))
        if chance.random() < 0.2:
            program += chance.choice((b"\xb8", b"\xb9", b"\xbb", b"\xbe", b"\xbf")) + imm(_aimed(KINDS[0], chance))
    return program


def random_words(arm: ArmKind, chance: random.Random, count: int) -> ArmProgram:
    """Instructions of ARM by chance, with vectors that go on behind whatever faults."""
    program = ArmProgram(arm)
    if arm.bits == 64:
        skip = words(0xD538_4029, 0x9100_1129, 0xD518_4029, 0xD69F_03E0)  # mrs x9, elr_el1; add x9, x9, #4; msr elr_el1, x9; eret
        table = skip.ljust(0x80, b"\0") * 16
    else:
        table = words(0xE1A0_0000, 0xE1B0_F00E, 0xE1B0_F00E, 0xE1B0_F00E, 0xE25E_F004, 0xE1A0_0000, 0xE25E_F004, 0xE25E_F004)  # movs pc, lr; subs pc, lr, #4
    program.structures += bytes(-len(program.structures) % 0x800)
    where = program.at(table)
    program.code += words(*arm.mov(0, where), arm.set_vectors)
    calls = arm.call(17, 0)[-1], arm.firmware(0)[-1]
    likely = (arm.wfi, arm.svc, arm.undefined, arm.let_in, arm.write_timer, arm.control_timer, *arm.read_counter, arm.back, *calls)
    for _ in range(count):
        program.code += words(chance.choice(likely) if chance.random() < 0.1 else chance.getrandbits(32) | (0 if chance.random() < 0.5 else 0xE000_0000))
        if chance.random() < 0.2:
            program.code += words(*arm.mov(chance.randrange(5), chance.choice((GICD_BASE, GICC_BASE, program.ram + KEPT, chance.getrandbits(32)))))
    return program


def told(value: int) -> str:
    """A result as a person reads it: 0 or more, or the errno."""
    signed = value - (1 << 32) if value >> 31 else value
    return str(signed) if signed >= 0 else f"-{NAMES[-signed]}"
