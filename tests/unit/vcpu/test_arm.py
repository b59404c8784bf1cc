"""CPUs of ARM alone: page tables walked in Python agree with the CPU's own walk; the timer; faults with a syndrome; snapshots."""

from __future__ import annotations

import mmap
import struct

import pytest

from mirage_lab.vcpu.armpaging import walk32, walk64
from mirage_lab.vcpu.exits import Why
from mirage_lab.vcpu.timer import VirtualTimer

pytest.importorskip("unicorn")

from mirage_lab.vcpu.aarch32 import Aarch32
from mirage_lab.vcpu.aarch64 import Aarch64
from mirage_lab.vcpu.arm import Arm
from tests.armcode import ARM32, ARM64, BOTH, Kind, words

RAM = 0x4000_0000
both = pytest.mark.parametrize("kind", BOTH, ids=("64", "32"))


def cpu_with(kind: Kind, *code: int) -> tuple[Arm, mmap.mmap]:
    """A CPU at the beginning of RAM, at some code."""
    memory = mmap.mmap(-1, 2 << 20)
    memory[: 4 * len(code)] = words(*code)
    cpu: Arm = Aarch64(lambda: 5_000) if kind.bits == 64 else Aarch32(lambda: 5_000)
    cpu.map(RAM, memory)
    cpu.enter(RAM, 0x4100_0000)
    return cpu, memory


@both
def test_it_begins_as_a_kernel_does(kind: Kind) -> None:
    cpu, _ = cpu_with(kind, kind.stay)
    state, tree = ("pstate", "x0") if kind.bits == 64 else ("cpsr", "r2")
    assert (cpu.read(state) & 0x3DF, cpu.read(tree), cpu.pc, cpu.interruptible) == (0x3C5 if kind.bits == 64 else 0x1D3, 0x4100_0000, RAM, False)


@both
def test_hvc_is_a_hypercall_or_firmware_by_its_number(kind: Kind) -> None:
    """hvc #0xEA1, hvc #0, smc #0; hvc #3 is none."""
    wide, narrow = (0xD400_0002 | 0xEA1 << 5, 0xD400_0002, 0xD400_0003, 0xD400_0062), (0xE140_EA71, 0xE140_0070, 0xE160_0070, 0xE140_0073)
    cpu, _ = cpu_with(kind, *(wide if kind.bits == 64 else narrow))
    assert [(cpu.run(9).why, cpu.pc - RAM) for _ in range(4)] == [(Why.HYPERCALL, 4), (Why.FIRMWARE, 8), (Why.FIRMWARE, 12), (Why.EXCEPTION, 12)]


@both
def test_wfi_is_a_halt_and_a_budget_is_none(kind: Kind) -> None:
    cpu, _ = cpu_with(kind, kind.wfi, kind.stay)
    assert (cpu.run(9).why, cpu.pc) == (Why.HALT, RAM + 4)
    found = cpu.run(10_000)
    assert (found.why, found.instructions, cpu.pc) == (Why.BUDGET, 10_000, RAM + 4)


@both
def test_the_counter_is_the_clock_and_the_instructions_before(kind: Kind) -> None:
    """Two looks, each a microsecond."""
    nop = 0xD503_201F if kind.bits == 64 else 0xE320_F000
    cpu, _ = cpu_with(kind, nop, kind.read_counter[0], kind.wfi)
    cpu.run(9)
    assert cpu.read(cpu.call[0]) == 5_000 + 2 + 1_000


@both
def test_a_look_that_is_late_ends_the_run(kind: Kind) -> None:
    cpu, _ = cpu_with(kind, kind.read_counter[0], kind.read_counter[0], kind.wfi)
    assert (cpu.run(9, until=6_500).why, cpu.pc) == (Why.TIME, RAM + 8)


@both
def test_writing_the_timer_is_told_and_ends_the_run(kind: Kind) -> None:
    cpu, _ = cpu_with(kind, *kind.mov(0, 1_000), kind.write_timer, *kind.mov(0, 1), kind.control_timer, kind.wfi)
    assert (cpu.run(99).why, cpu.timer.deadline) == (Why.TIMER, None)
    assert (cpu.run(99).why, cpu.timer.deadline) == (Why.TIMER, 5_000 + 3 + 1_000)
    assert cpu.run(99).why is Why.HALT


def test_a_timer_fires_from_its_deadline_on_while_it_is_on_and_not_masked() -> None:
    timer = VirtualTimer()
    timer.write_tval(0xFFFF_FFFF, 100)
    timer.write_control(1)
    assert (timer.cval, timer.fires(98), timer.fires(99), timer.read_control(99), timer.read_tval(98)) == (99, False, True, 5, 1)
    timer.write_control(3)
    assert (timer.fires(99), timer.deadline, timer.read_control(99)) == (False, None, 7)


@both
def test_a_saved_cpu_goes_on_as_it_did(kind: Kind) -> None:
    cpu, _ = cpu_with(kind, *kind.mov(0, 77), kind.write_timer, *kind.mov(0, 1), kind.control_timer, *kind.mov(3, 5), kind.wfi)
    cpu.run(99)
    saved, timer = cpu.save(), cpu.timer.cval
    cpu.run(99)
    cpu.run(99)
    after = [cpu.read(name) for name in cpu.general]
    cpu.timer.cval = 1
    cpu.restore(saved)
    assert cpu.timer.cval == timer and cpu.timer.control == 0
    cpu.run(99)
    cpu.run(99)
    assert [cpu.read(name) for name in cpu.general] == after


# faults ----------------------------------------------------------------------------------------------------------


def test_a_program_of_64_bits_calls_its_kernel_on_the_kernels_stack() -> None:
    """eret to EL0, svc; the vector is that of a lower level, SP_EL1 is back, and SPSR says EL0."""
    kind = ARM64
    to_el0 = [0xD518_4020, 0xD518_4001, 0xD518_4102, kind.back]  # msr elr_el1, x0; spsr_el1, x1; sp_el0, x2; eret
    cpu, memory = cpu_with(kind, *kind.mov(0, RAM + 0x1000), *kind.mov(1, 0), *kind.mov(2, 0x123), *to_el0)
    memory[0x1000:0x1004] = words(kind.svc)
    memory[0x2400:0x2404] = words(kind.wfi)
    cpu.write("vbar_el1", RAM + 0x2000)
    cpu.write("sp", 0x777)
    found = cpu.run(99)
    assert (found.why, found.error, cpu.read("sp"), cpu.read("pstate") & 15) == (Why.EXCEPTION, 0x5600_0005, 0x123, 0)
    assert cpu.deliver(found)
    assert (cpu.pc, cpu.read("sp"), cpu.read("sp_el0"), cpu.read("spsr_el1") & 15) == (RAM + 0x2400, 0x777, 0x123, 0)
    assert (cpu.read("elr_el1"), cpu.read("esr_el1"), cpu.read("pstate")) == (RAM + 0x1004, 0x5600_0005, 0x3C5)
    assert cpu.run(9).why is Why.HALT


def test_a_program_of_32_bits_calls_its_kernel_in_supervisor_mode() -> None:
    kind = ARM32
    cpu, _ = cpu_with(kind, 0xF102_0010, 0xE3A0_D012, kind.svc)  # cps #16; mov sp, #18; svc
    cpu.write("sp", 0x777)
    cpu.write("vbar", RAM + 0x2000)
    found = cpu.run(99)
    assert found.why is Why.EXCEPTION and cpu.read("cpsr") & 31 == 16 and cpu.read("sp") == 18
    assert cpu.deliver(found)
    assert (cpu.pc, cpu.read("sp"), cpu.read("lr"), cpu.read("spsr") & 31, cpu.read("cpsr") & 31) == (RAM + 0x2008, 0x777, RAM + 12, 16, 19)


@both
def test_an_interrupt_comes_back_to_where_it_was(kind: Kind) -> None:
    cpu, memory = cpu_with(kind, *kind.mov(0, RAM + 0x800), kind.set_vectors, kind.let_in, kind.stay)
    at = 0x800 + (0x280 if kind.bits == 64 else 0x18)
    memory[at : at + 4] = words(kind.back)
    cpu.run(50)
    assert cpu.interruptible and cpu.pc == RAM + 16
    cpu.interrupt()
    assert not cpu.interruptible and cpu.pc == RAM + at
    cpu.run(1)
    assert cpu.interruptible and cpu.pc == RAM + 16


def test_unaligned_thumb_code_is_resumed_as_thumb() -> None:
    """movs r0, #1; sdiv r0, r0, r1 (which traps); movs r2, #3; wfi."""
    cpu, memory = cpu_with(ARM32)
    memory[:10] = bytes.fromhex("0720 90fb f1f0 0322 30bf".replace(" ", ""))
    cpu.write("cpsr", cpu.read("cpsr") | 1 << 5)
    cpu.write("r1", 2)
    cpu.pc = RAM
    assert cpu.run(9).why is Why.HALT
    assert (cpu.read("r0"), cpu.read("r2")) == (3, 3)


# page tables -----------------------------------------------------------------------------------------------------


def tables64(memory: mmap.mmap) -> dict[str, int]:
    """Four levels at RAM + 0x10000: 4 KiB pages and a block of 2 MiB and one of 1 GiB; TTBR1 for the upper half."""
    at = RAM + 0x1_0000

    def put(table: int, index: int, entry: int) -> None:
        struct.pack_into("<Q", memory, table - RAM + 8 * index, entry)

    l0, l1, l2, l3, high = (at + n * 0x1000 for n in range(5))
    put(l0, 0, l1 | 3)
    put(l1, 1, RAM | 0x401)  # 1 GiB as it is
    put(l1, 2, l2 | 3)
    put(l2, 0, RAM | 0x401)  # 2 MiB at 0x80000000
    put(l2, 1, l3 | 3)
    put(l3, 0, RAM + 0x5000 | 0x403)
    put(l3, 1, RAM + 0x6000 | 0x483)  # read only
    put(l3, 2, RAM + 0x7000 | 0x003)  # never accessed
    put(l3, 3, RAM + 0x8000 | 0x443)  # for programs too
    put(high, 511, l1 | 3)
    return {"ttbr0_el1": l0, "ttbr1_el1": high, "tcr_el1": 16 | 16 << 16 | 2 << 30}


@pytest.mark.parametrize(
    ("linear", "physical", "levels"),
    [
        (0x4000_1234, RAM + 0x1234, 2),
        (0x8000_1234, RAM + 0x1234, 3),
        (0x8020_0010, RAM + 0x5010, 4),
        (0x8020_1010, RAM + 0x6010, 4),
        (0x8020_2010, None, 4),
        (0x8020_3010, RAM + 0x8010, 4),
        (0xFFFF_FF80_8020_0010, RAM + 0x5010, 4),
        (0xFFFF_0000_0000_0000, None, 1),
        (0x0001_0000_4000_0000, None, 0),
        (0x0000_0000_C000_0000, None, 2),
    ],
)
def test_the_walk_of_64_bits_is_that_of_the_cpu(linear: int, physical: int | None, levels: int) -> None:
    """ldr x1, [x2]; what is there is its own address, or there is a fault of the right level."""
    cpu, memory = cpu_with(ARM64, 0xF940_0041, ARM64.wfi)
    for name, value in tables64(memory).items():
        cpu.write(name, value)
    for at in range(0x1000, 0x9000, 8):
        struct.pack_into("<Q", memory, at, RAM + at)
    cpu.write("sctlr_el1", cpu.read("sctlr_el1") | 1)
    way = cpu.walk(linear)
    assert (way.physical, len(way.steps)) == (physical, levels)
    cpu.write("x2", linear & ~7)
    found = cpu.run(9)
    if physical is None:
        assert (found.why, found.vector, found.value) == (Why.EXCEPTION, 4, linear & ~7)
        assert (found.error or 0) & 3 == max(levels - 1, 0)
    else:
        assert found.why is Why.HALT and cpu.read("x1") == physical & ~7


def test_rights_of_64_bits_are_those_of_all_levels_together() -> None:
    cpu, memory = cpu_with(ARM64)
    for name, value in tables64(memory).items():
        cpu.write(name, value)
    cpu.write("sctlr_el1", cpu.read("sctlr_el1") | 1)
    rights = [(way.writable, way.user, way.size) for way in map(cpu.walk, (0x4000_0000, 0x8020_0000, 0x8020_1000, 0x8020_3000))]
    assert rights == [(True, False, 1 << 30), (True, False, 4096), (False, False, 4096), (True, True, 4096)]
    assert not cpu.store(0x8020_1000, b"x") and cpu.store(0x8020_0000, b"x")
    memory[0x1_1010 + 7] |= 0x40  # APTable: read only below
    assert not cpu.walk(0x8020_0000).writable


@pytest.mark.parametrize(("granule", "levels", "size"), [(1, 2, 1 << 29), (2, 3, 1 << 25)])
def test_larger_granules_are_walked_too(granule: int, levels: int, size: int) -> None:
    """64 and 16 KiB: an address of 48 bits, a table of the first level, one of the second, a block."""
    page = 16 if granule == 1 else 14
    entries: dict[int, int] = {}
    table = 0x10_0000
    linear = 0x0000_1234_5678_9ABC
    for level in range(4 - levels - 1 if granule == 1 else 0, 3):
        shift = page + (page - 3) * (3 - level)
        if granule == 2 and level == 0 and shift >= 48:
            continue
        entries[table + (linear >> shift & ((1 << page - 3) - 1)) * 8] = (0x4_0000_0000 & -size | 0x401) if level == 2 else (table + 0x1_0000) | 3
        table += 0x1_0000
    way = walk64(lambda at, width: entries.get(at), linear, 1, 16 | granule << 14, 0x10_0000, 0)
    assert (way.physical, way.size) == (0x4_0000_0000 & -size | linear & (size - 1), size)


def tables32(memory: mmap.mmap) -> dict[str, int]:
    """A table of 4,096 at RAM + 0x10000: sections, and one table of pages at RAM + 0x20000."""

    def put(at: int, entry: int) -> None:
        struct.pack_into("<I", memory, at - RAM, entry)

    first, second = RAM + 0x1_0000, RAM + 0x2_0000
    put(first + 4 * 0x400, RAM | 0x402 | 1 << 5)  # 1 MiB as it is, domain 1: a client
    put(first + 4 * 0x500, second | 1 | 1 << 5)
    put(first + 4 * 0x600, RAM | 0x402 | 2 << 5)  # domain 2: no access
    put(first + 4 * 0x700, RAM | 0x002 | 3 << 5)  # domain 3: manager, whatever AP says
    put(second, RAM + 0x5000 | 0x12)
    put(second + 4, RAM + 0x6000 | 0x212)  # the kernel may read
    put(second + 8, RAM + 0x7000 | 0x22)  # the user may read
    put(second + 12, RAM + 0x8000 | 0x02)  # nobody may
    return {"ttbr0": first, "ttbcr": 0, "dacr": 1 << 2 | 3 << 6}


@pytest.mark.parametrize(
    ("linear", "physical", "levels", "rights"),
    [
        (0x4000_1234, RAM + 0x1234, 1, (True, False)),
        (0x5000_0010, RAM + 0x5010, 2, (True, False)),
        (0x5000_1010, RAM + 0x6010, 2, (False, False)),
        (0x5000_2010, RAM + 0x7010, 2, (True, True)),
        (0x5000_3010, None, 2, None),
        (0x5000_4010, None, 2, None),
        (0x6000_0010, None, 1, None),
        (0x7000_1010, RAM + 0x1010, 1, (True, True)),
        (0x8000_0000, None, 1, None),
    ],
)
def test_the_walk_of_32_bits_is_that_of_the_cpu(linear: int, physical: int | None, levels: int, rights: tuple[bool, bool] | None) -> None:
    cpu, memory = cpu_with(ARM32, 0xE592_1000, ARM32.wfi)  # ldr r1, [r2]
    for name, value in tables32(memory).items():
        cpu.write(name, value)
    for at in range(0x1000, 0x9000, 4):
        struct.pack_into("<I", memory, at, RAM + at)
    cpu.write("sctlr", cpu.read("sctlr") | 1)
    way = cpu.walk(linear)
    assert (way.physical, len(way.steps)) == (physical, levels)
    assert rights is None or (way.writable, way.user) == rights
    cpu.write("r2", linear)
    found = cpu.run(9)
    if physical is None:
        assert (found.why, found.vector, found.value) == (Why.EXCEPTION, 4, linear)
    else:
        assert found.why is Why.HALT and cpu.read("r1") == physical


def test_a_split_sends_upper_addresses_to_the_second_table() -> None:
    entries = {0x8000 + 4 * 0x001: 0x0010_0402, 0x4000 + 4 * 0x801: 0x0020_0402}
    ways = [walk32(lambda at, width: entries.get(at, 0), linear, 1, 1, 0x8000, 0x4000, 1) for linear in (0x0010_0004, 0x8010_0004)]
    assert [way.physical for way in ways] == [0x0010_0004, 0x0020_0004]
    assert walk32(lambda at, width: entries.get(at, 0), 0x8010_0004, 1, 1 | 1 << 5, 0x8000, 0x4000, 1).physical is None
