"""What a debugger sees of a CPU: snapshots that share pages, symbols, instructions, a record of what was executed."""

from __future__ import annotations

import mmap

import pytest

pytest.importorskip("unicorn")

from mirage_lab.vcpu import snapshot as module
from mirage_lab.vcpu.disassembly import around, disassemble
from mirage_lab.vcpu.exits import Why
from mirage_lab.vcpu.snapshot import Snapshots
from mirage_lab.vcpu.symbols import Symbols, read_symbols
from mirage_lab.vcpu.x86 import X86
from tests.machinecode import BASE, elf32, says, with_symbols

CODE, PAGE = 0x1000, 4096


def cpu_with(code: str, size: int = 1 << 20) -> tuple[X86, mmap.mmap]:
    memory = mmap.mmap(-1, size)
    data = bytes.fromhex(code)
    memory[CODE : CODE + len(data)] = data
    cpu = X86(lambda: 0, lambda leaf, subleaf: (0, 0, 0, 0))
    cpu.map(0, memory)
    cpu.enter32(CODE, 0)
    return cpu, memory


@pytest.mark.parametrize("told", [True, False])
def test_registers_and_memory_come_back_to_the_last_byte(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system says which pages were touched, and where it does not."""
    if not told:
        monkeypatch.setattr(module, "_PAGEMAP", "/nowhere")
    cpu, ram = cpu_with("ff0500300000" + "40" + "a300500000" + "ebf2")  # inc [0x3000]; inc eax; mov [0x5000], eax; jmp
    snapshots = Snapshots(cpu)
    taken = []
    for _ in range(4):
        taken.append((snapshots.take(), bytes(ram), cpu.read("rax"), cpu.pc))
        cpu.run(101)
    for saved, memory, rax, pc in (*reversed(taken), taken[2]):
        snapshots.restore(saved)
        assert (bytes(ram), cpu.read("rax"), cpu.pc) == (memory, rax, pc)
    cpu.run(101)
    assert (bytes(ram), cpu.read("rax")) == (taken[3][1], taken[3][2])


def test_pages_that_did_not_change_are_shared_and_untouched_ones_not_kept() -> None:
    cpu, ram = cpu_with("ff0500300000ebf8", 64 << 20)
    ram[0x10_0000 : 0x10_0000 + 100 * PAGE] = b"x" * (100 * PAGE)
    snapshots = Snapshots(cpu)
    first = snapshots.take()
    again = snapshots.take()
    assert again.pages is first.pages and len(first.pages) == 101
    cpu.run(7)
    later = snapshots.take()
    assert sorted(later.pages.keys() - first.pages.keys()) == [0x3000]
    assert all(later.pages[at] is page for at, page in first.pages.items())
    assert snapshots.restore(first) == 1 and ram[0x3000:0x3004] == bytes(4)


def test_fifty_snapshots_of_a_guest_of_20_mib_keep_little_more_than_one() -> None:
    """A hundred pages are written between two; pages that are shared count once."""
    code = "ff0500002000" + "81050210000000100000" + "ebee"  # inc [0x200000]; add dword [0x1002], 4096: the address of that; jmp
    cpu, ram = cpu_with(code, 64 << 20)
    for at in range(0x10_0000, 21 << 20, PAGE):
        ram[at] = 1 + at % 251
    snapshots, taken = Snapshots(cpu), []
    for _ in range(50):
        taken.append(snapshots.take())
        assert cpu.run(300).instructions == 300
    pages = {id(page): page for one in taken for page in one.pages.values()}
    assert 24 << 20 < len(pages) * PAGE < 200 << 20 and len(taken[-1].pages) == len(taken[0].pages)
    snapshots.restore(taken[0])
    assert ram[0x20_0000] == 1 + 0x20_0000 % 251


def test_code_that_was_changed_is_executed_as_it_was_again() -> None:
    cpu, ram = cpu_with("40ebfd")
    snapshots = Snapshots(cpu)
    cpu.run(10)
    saved = snapshots.take()
    ram[CODE] = 0x48  # dec eax
    cpu.emulator.forget_code()
    cpu.run(10)
    assert cpu.read("rax") == 0
    snapshots.restore(saved)
    cpu.run(10)
    assert cpu.read("rax") == 10


# breakpoints by block and in the first place -----------------------------------------------------------------------


def test_a_breakpoint_says_how_many_instructions_came_before_it() -> None:
    cpu, _ = cpu_with("40404040f4")
    cpu.break_at(CODE + 2)
    found = cpu.run(100)
    assert (found.why, found.instructions) == (Why.BREAK, 2)
    assert cpu.run(100, over=False).instructions == 0 and cpu.pc == CODE + 2
    assert cpu.run(100).why is Why.HALT
    cpu.write("rip", CODE)
    with cpu.muted():
        assert cpu.run(100).why is Why.HALT


def test_a_run_ends_before_the_next_block() -> None:
    cpu, _ = cpu_with("4040eb00" + "43eb00" + "f4")
    cpu.break_at_block()
    found = cpu.run(100)
    assert (found.why, found.instructions, cpu.pc) == (Why.BREAK, 3, CODE + 4)
    assert (cpu.run(100).instructions, cpu.pc) == (2, CODE + 7)
    cpu.unbreak_block()
    assert cpu.run(100).why is Why.HALT


def test_a_trace_keeps_the_last_and_forgets_the_rest() -> None:
    cpu, _ = cpu_with("40ebfd")
    cpu.trace.begin("instruction", 5)
    cpu.run(100)
    assert list(cpu.trace.addresses) == [CODE + 1, CODE, CODE + 1, CODE, CODE + 1]
    cpu.trace.begin("block", 3)
    cpu.run(100)
    cpu.trace.end()
    kept = list(cpu.trace.addresses)
    cpu.run(100)
    assert list(cpu.trace.addresses) == kept == [CODE] * 3


def test_a_debugger_writes_where_the_guest_may_not() -> None:
    cpu, ram = cpu_with("f4")
    assert cpu.patch(CODE, b"\x90\xf4") and ram[CODE : CODE + 2] == b"\x90\xf4"
    assert not cpu.patch((1 << 20) - 1, b"xx")
    assert cpu.run(10).instructions == 2


# symbols and instructions ------------------------------------------------------------------------------------------


def test_symbols_are_told_with_their_offset_and_end_where_they_end() -> None:
    found = read_symbols(with_symbols(elf32(says(b"x")), {"_start": (BASE, 0x30), "main": (BASE + 0x30, 0x20), "also_main": (BASE + 0x30, 0)}))
    assert [found.at(BASE + at) for at in (0, 0x12, 0x30, 0x4F, 0x50)] == ["_start", "_start+0x12", "main", "main+0x1f", ""]
    assert (found.address("main"), found.address("also_main"), found.address("nobody"), found.at(0)) == (BASE + 0x30, BASE + 0x30, None, "")


def test_symbols_of_code_that_is_not_where_it_is_linked_are_found_at_both_places() -> None:
    found = Symbols([(0xFFFF_8000_0010_0000, 0x40, "boot")], moved=[(0x10_0000, 0xFFFF_8000_0010_0000, 0x1000)])
    assert found.at(0x10_0008) == found.at(0xFFFF_8000_0010_0008) == "boot+0x8"


def test_an_elf_file_that_lies_about_its_symbols_has_those_that_were_read() -> None:
    good = with_symbols(elf32(says(b"x")), {"main": (BASE, 0x20)})
    assert len(read_symbols(b"\x7fELF")) == 0
    for at in range(0, len(good), 3):
        read_symbols(good[:at])
        read_symbols(good[:at] + b"\xff" + good[at + 1 :])


@pytest.mark.parametrize(
    ("isa", "data", "text"),
    [
        ("x86-64", "48b8efcdab8967452301", "movabs rax, 0x123456789abcdef"),
        ("x86-32", "40", "inc eax"),
        ("aarch64", "e00300aa", "mov x0, x0"),
        ("arm", "0000a0e1", "mov r0, r0"),
        ("thumb", "7047", "bx lr"),
    ],
)
def test_each_instruction_set_has_its_words(isa: str, data: str, text: str) -> None:
    assert disassemble(isa, bytes.fromhex(data), 0x1000)[0].text == text


def test_bytes_that_are_no_instruction_are_shown_as_such_and_the_rest_goes_on() -> None:
    assert [each.text for each in disassemble("x86-64", bytes.fromhex("9006" + "90"), 0)] == ["nop", "(bad)", "nop"]
    cpu, _ = cpu_with("f4")
    assert around(cpu, (1 << 20) - 2, 5)[-1].address == (1 << 20) - 2 and around(cpu, 1 << 30, 5) == []
