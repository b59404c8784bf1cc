"""A CPU of x86 alone: it stops for a reason, says how many instructions it took, and does the same each time."""

from __future__ import annotations

import mmap
import struct

import pytest

from mirage_lab.vcpu.exits import Why
from mirage_lab.vcpu.paging import walk

pytest.importorskip("unicorn")

from mirage_lab.vcpu.x86 import X86

RAM = 1 << 20
CODE = 0x1000


def cpu_with(code: str, *, ram: mmap.mmap | None = None) -> tuple[X86, mmap.mmap]:
    """A CPU in 32-bit protected mode at some code, given in hexadecimal."""
    memory = ram if ram is not None else mmap.mmap(-1, RAM)
    data = bytes.fromhex(code)
    memory[CODE : CODE + len(data)] = data
    cpu = X86(lambda: 5_000, lambda leaf, subleaf: (leaf + 1, 2, 3, 4))
    cpu.map(0, memory)
    cpu.enter32(CODE, 0x42)
    return cpu, memory


def test_it_begins_as_a_pvh_guest_does() -> None:
    """hvm_start_info in EBX, flat 32-bit protected mode, no paging."""
    cpu, _ = cpu_with("f4")
    assert (cpu.read("rbx"), cpu.read("rip"), cpu.read("eflags") & 0x200, cpu.long_mode) == (0x42, CODE, 0, False)


@pytest.mark.parametrize("instruction", ["0f01c1", "0f01d9"])
def test_vmcall_and_vmmcall_are_hypercalls(instruction: str) -> None:
    cpu, _ = cpu_with("b805000000" + instruction + "90f4")
    found = cpu.run(1_000)
    assert (found.why, found.instructions, cpu.read("rax"), cpu.read("rip")) == (Why.HYPERCALL, 2, 5, CODE + 8)
    assert cpu.run(1_000).why is Why.HALT


def test_a_budget_that_is_used_up_is_no_halt() -> None:
    """The byte before is that of hlt, 0xf4, as in `mov eax, [ebp-12]`: only the count tells."""
    cpu, _ = cpu_with("8b45f4" + "8b45f4" + "f4" + "90")
    cpu.write("rbp", 0x2000)
    assert (cpu.run(1).why, cpu.read("rip")) == (Why.BUDGET, CODE + 3)
    assert (cpu.run(1).why, cpu.read("rip")) == (Why.BUDGET, CODE + 6)
    found = cpu.run(1)
    assert (found.why, found.instructions, cpu.read("rip")) == (Why.HALT, 1, CODE + 7)


def test_a_loop_without_an_end_uses_its_budget_and_no_more() -> None:
    cpu, _ = cpu_with("40ebfd")  # inc eax; jmp
    found = cpu.run(10_000)
    assert (found.why, found.instructions, cpu.read("rax")) == (Why.BUDGET, 10_000, 5_000)


def test_what_is_in_memory_is_incremented_once_however_often_it_is_stopped() -> None:
    cpu, ram = cpu_with("ff0500200000ebf8")  # inc dword [0x2000]; jmp
    for _ in range(1_000):
        cpu.run(7)
    assert int.from_bytes(ram[0x2000:0x2004], "little") == 3_500


def test_the_clock_counts_instructions_and_looks() -> None:
    """rdtsc: 5,000 ns when the run began, then a nanosecond an instruction and a microsecond a look."""
    cpu, _ = cpu_with("90900f3189c30f31f4")
    cpu.run(1_000)
    assert cpu.read("rbx") == 5_000 + 3 + 1_000
    assert cpu.read("rax") == 5_000 + 5 + 2_000


def test_a_guest_that_waits_for_the_clock_is_stopped_when_it_is_late_enough() -> None:
    cpu, _ = cpu_with("0f31ebfc")
    found = cpu.run(1_000_000, until=25_000)
    assert found.why is Why.TIME and cpu.looks == 20


def test_cpuid_is_answered_by_whoever_runs_the_cpu() -> None:
    cpu, _ = cpu_with("b8070000000fa2f4")
    cpu.run(100)
    assert [cpu.read(name) for name in ("rax", "rbx", "rcx", "rdx")] == [8, 2, 3, 4]


def test_exceptions_say_their_vector_and_error_code_each_time() -> None:
    """Two page faults in a row are no double fault; Unicorn would make one of them."""
    cpu, _ = cpu_with("b8180000008ed8" + "8ed8" + "31c9f7f1" + "0f0b")
    first, second = cpu.run(100), cpu.run(100)
    assert (first.why, first.vector, first.error) == (second.why, second.vector, second.error) == (Why.EXCEPTION, 13, 0x18)
    cpu.write("rip", CODE + 9)
    assert (cpu.run(100).vector, cpu.read("rip")) == (0, CODE + 11)
    cpu.write("rip", CODE + 13)
    found = cpu.run(100)
    assert (found.vector, found.error) == (6, None)


def test_an_exception_enters_the_handler_of_the_guest() -> None:
    """A 32-bit interrupt gate: EFLAGS, CS, EIP and the error code lie on its stack, interrupts are off."""
    cpu, ram = cpu_with("8ed8" + "90" * 62 + "f4")
    ram[0x3000 + 13 * 8 : 0x3000 + 14 * 8] = struct.pack("<HHBBH", 0x1040, 8, 0, 0x8E, 0)
    cpu.emulator.write("idtr", (0, 0x3000, 0xFF, 0))
    cpu.write("rsp", 0x8000)
    cpu.write("rax", 0x18)
    cpu.write("eflags", 0x202)
    found = cpu.run(100)
    assert cpu.deliver(found.vector, found.error)
    assert (cpu.read("rip"), cpu.read("rsp"), cpu.read("eflags") & 0x200) == (0x1040, 0x8000 - 16, 0)
    assert struct.unpack("<4I", ram[0x8000 - 16 : 0x8000])[:2] == (0x18, CODE)
    assert cpu.run(100).why is Why.HALT


def test_without_a_handler_nothing_is_entered() -> None:
    cpu, _ = cpu_with("0f0b")
    cpu.emulator.write("idtr", (0, 0x3000, 0, 0))
    assert not cpu.deliver(6)


def test_model_specific_registers_are_exits() -> None:
    cpu, ram = cpu_with("b9000000400f32" + "b800100000ba020000000f30" + "f4")
    cpu.watch_msrs(CODE, ram[CODE : CODE + 32])
    read = cpu.run(100)
    assert (read.why, read.number, read.value, cpu.read("rip")) == (Why.MSR, 0x4000_0000, None, CODE + 7)
    written = cpu.run(100)
    assert (written.why, written.number, written.value) == (Why.MSR, 0x4000_0000, 0x2_0000_1000)
    assert cpu.run(100).why is Why.HALT


def test_where_there_is_no_memory_ones_are_read() -> None:
    """As from an empty bus."""
    cpu, _ = cpu_with("a1f0ffffeff4")
    assert cpu.run(100).why is Why.HALT and cpu.read("rax") == 0xFFFF_FFFF


def test_a_guest_that_runs_through_addresses_without_memory_is_stopped() -> None:
    cpu, _ = cpu_with("bb000020008b0381c300100000ebf6")  # mov eax, [ebx]; add ebx, 4096; jmp
    for _ in range(10):
        found = cpu.run(10_000)
        if found.why is Why.FAULT:
            break
    assert found.why is Why.FAULT and "no memory" in found.detail


def test_code_that_is_none_is_an_exception_and_nothing_is_raised() -> None:
    for code in ("0f0b", "ffff", "0fff", "fe38", "f00f0b", "0f3fffff"):
        cpu, _ = cpu_with(code)
        assert cpu.run(100).why is Why.EXCEPTION, code


def test_a_breakpoint_stops_before_its_instruction_and_lets_it_go_on() -> None:
    cpu, _ = cpu_with("40404040f4")
    cpu.break_at(CODE + 2)
    assert (cpu.run(100).why, cpu.read("rax"), cpu.read("rip")) == (Why.BREAK, 2, CODE + 2)
    assert (cpu.run(100).why, cpu.read("rax")) == (Why.HALT, 4)
    cpu.unbreak(CODE + 2)
    cpu.write("rip", CODE)
    assert cpu.run(100).why is Why.HALT


def test_the_registers_come_back_from_a_snapshot() -> None:
    cpu, _ = cpu_with("4043ebfc")
    cpu.run(100)
    saved, before = cpu.save(), [cpu.read(name) for name in ("rax", "rbx", "rip")]
    cpu.run(101)
    assert [cpu.read(name) for name in ("rax", "rbx", "rip")] != before
    cpu.restore(saved)
    assert [cpu.read(name) for name in ("rax", "rbx", "rip")] == before


def test_an_interrupt_waits_for_the_instruction_after_sti() -> None:
    """`sti; hlt` is one: an interrupt between them would be slept through."""
    cpu, _ = cpu_with("fbf4")
    cpu.write("eflags", 0x202)
    assert cpu.interruptible
    cpu.run(1)
    assert not cpu.interruptible
    assert cpu.run(1).why is Why.HALT and cpu.interruptible


# paging -----------------------------------------------------------------------------------------------------------


def words(entries: dict[int, int]):  # type: ignore[no-untyped-def]
    return lambda address, size: entries.get(address)


PG, PAE_ON, PSE_ON = 1 << 31, 1 << 5, 1 << 4


def test_four_levels_of_long_mode() -> None:
    tables = {0x1000 + 8: 0x2003, 0x2000 + 16: 0x3003, 0x3000 + 24: 0x4001, 0x4000 + 32: 0x5007}
    linear = 1 << 39 | 2 << 30 | 3 << 21 | 4 << 12 | 0x123
    way = walk(words(tables), linear, PG, 0x1000, PAE_ON, 1 << 10)
    assert way.physical == 0x5123 and not way.writable and not way.user and [step.table for step in way.steps] == ["PML4", "PDPT", "PD", "PT"]
    assert walk(words(tables), linear + 0x1000, PG, 0x1000, PAE_ON, 1 << 10).physical is None
    assert walk(words(tables), 1 << 47, PG, 0x1000, PAE_ON, 1 << 10).physical is None


def test_large_pages() -> None:
    tables = {0x1000: 0x2007, 0x2000: 0x3007, 0x3000 + 8: 0x40_0087, 0x2000 + 8: 0x4000_0087}
    assert walk(words(tables), 0x21_2345, PG, 0x1000, PAE_ON, 1 << 10).physical == 0x41_2345
    way = walk(words(tables), 0x4567_8901, PG, 0x1000, PAE_ON, 1 << 10)
    assert way.physical == 0x4567_8901 and way.size == 1 << 30


def test_32_bits_with_and_without_pae() -> None:
    assert walk(words({0x1000 + 4: 0x2007, 0x2000 + 8: 0x3007}), 1 << 22 | 2 << 12 | 5, PG, 0x1000, 0, 0).physical == 0x3005
    assert walk(words({0x1000 + 4: 0x40_0087}), 1 << 22 | 7, PG, 0x1000, PSE_ON, 0).physical == 0x40_0007
    tables = {0x1000 + 8: 0x2001, 0x2000 + 16: 0x3007, 0x3000 + 24: 0x4007}
    assert walk(words(tables), 1 << 30 | 2 << 21 | 3 << 12 | 9, PG, 0x1000, PAE_ON, 0).physical == 0x4009


def test_without_paging_an_address_is_physical() -> None:
    assert walk(words({}), 0x1_2345_6789, 0, 0, 0, 0).physical == 0x2345_6789


# what is not memory, and what goes wrong in the lab itself --------------------------------------------------------


def test_ports_are_exits_unless_they_are_answered_at_once() -> None:
    """out 0x80, al; in ax, dx."""
    cpu, _ = cpu_with("b041e680" + "66baf803" + "66ed" + "f4")
    found = cpu.run(100)
    assert (found.why, found.number, found.size, found.value, cpu.read("rip")) == (Why.IO, 0x80, 1, 0x41, CODE + 4)
    found = cpu.run(100)
    assert (found.why, found.number, found.size, found.value, found.instructions) == (Why.IO, 0x3F8, 2, None, 2)
    cpu.write("ax", 0x1234)
    assert cpu.run(100).why is Why.HALT and cpu.read("ax") == 0x1234 and "io 0x3f8" in repr(found)
    cpu, _ = cpu_with("b041e680" + "e460" + "f4")
    cpu.no_ports()
    assert cpu.run(100).why is Why.HALT and cpu.read("al") == 0xFF


def test_an_access_to_a_device_is_an_exit_and_goes_on_with_its_answer() -> None:
    """mov eax, [0xd0000010]; inc eax; mov [0xd0000ffe], eax, over the end of a page; inc byte [0xd0000010]."""
    cpu, _ = cpu_with("a1100000d0" + "40" + "a3fe0f00d0" + "fe05100000d0" + "f4")
    cpu.trap(0xD000_0000, 0x2000)
    found = cpu.run(100)
    assert (found.why, found.number, found.size, found.value, found.instructions, cpu.pc) == (Why.MMIO, 0xD000_0010, 4, None, 0, CODE)
    done = cpu.access(found, 0x41)
    assert (done.instructions, cpu.read("rax"), cpu.pc) == (1, 0x41, CODE + 5)
    found = cpu.run(100)
    assert (found.why, found.number, found.value, found.instructions) == (Why.MMIO, 0xD000_0FFE, 0x42, 1)
    cpu.access(found)
    found = cpu.run(100)
    assert (found.number, found.size, found.value) == (0xD000_0010, 1, None)
    cpu.access(found, 7)
    assert cpu.run(100).why is Why.HALT


def test_what_is_raised_in_a_hook_is_a_fault_of_the_run_and_nothing_else() -> None:
    ports = (("e680f4", "ports_write"), ("e460f4", "ports_read"))
    for code, wrong in (("0fa2f4", "cpuid"), *ports, ("0f31f4", "look"), ("0f01c1f4", "load"), ("a1100000d0f4", "device")):
        cpu, _ = cpu_with(code)

        def failing(*args: object) -> int:
            raise ZeroDivisionError("of ours")

        if wrong == "device":
            cpu.emulator.device(0xD000_0000, 0x1000, failing, failing)
        else:
            setattr(cpu, wrong, failing)
        found = cpu.run(100)
        assert found.why is Why.FAULT and "the lab itself has failed" in found.detail and "ZeroDivisionError: of ours" in found.detail, wrong


def test_the_watchdog_gets_through_a_hook() -> None:
    cpu, _ = cpu_with("0fa2f4")

    def spinning(*args: object) -> tuple[int, int, int, int]:
        raise KeyboardInterrupt

    cpu.cpuid = spinning
    with pytest.raises(KeyboardInterrupt):
        cpu.run(100)


def test_of_the_msrs_one_can_be_read_and_another_written() -> None:
    """mov ecx, 0x1b; rdmsr; wrmsr; mov ecx, 0x40000000; rdmsr; wrmsr; hlt: the bytes before tell which."""
    code = "b91b0000000f320f30" + "90" * 30 + "b9000000400f320f30" + "f4"
    cpu, _ = cpu_with(code)
    cpu.watch_msrs(CODE, bytes.fromhex(code))
    cpu.watch_msrs_only(0x1B, 0x4000_0000)
    found = [cpu.run(100) for _ in range(3)]
    assert [(each.why, each.number, each.value is None) for each in found[:2]] == [(Why.MSR, 0x1B, True), (Why.MSR, 0x4000_0000, False)]
    assert found[2].why is Why.HALT


def test_of_the_msrs_one_can_be_watched_alone() -> None:
    """mov ecx, 0x1b; rdmsr; mov ecx, 0x40000000; wrmsr; hlt"""
    code = "b91b0000000f32" + "b9000000400f30" + "f4"
    cpu, _ = cpu_with(code)
    cpu.watch_msrs(CODE, bytes.fromhex(code))
    assert [cpu.run(100).why for _ in range(3)] == [Why.MSR, Why.MSR, Why.HALT]
    cpu.write("rip", CODE)
    cpu.watch_msrs_only(0x1B)
    found = cpu.run(100)
    assert (found.why, found.number) == (Why.MSR, 0x1B)
    assert cpu.run(100).why is Why.HALT
