"""A real gdb, connected to a guest of machine code: it stops at a symbol, looks, steps, goes back and has the guest end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirage_lab import Lab
from mirage_lab.lab import Vm
from mirage_lab.tool.native.examples import hello
from tests.machinecode import elf32, with_symbols
from tests.unit.lab.test_debugging import SYMBOLS, image, rounds


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=1, name="gdb") as made:
        yield made


def said_by(program: str, file: Path, vm: Vm, *commands: str) -> str:
    """Run gdb in batch mode, connected to a domain; return what it printed."""
    words = [program, "-nx", "-q", "-batch", str(file)]
    for command in ("set pagination off", "set confirm off", "set architecture auto", f"target remote 127.0.0.1:{vm.gdb().port}", *commands):
        words += ["-ex", command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False, cwd=file.parent)
    wrong = [line for line in done.stderr.splitlines() if line and not line.startswith("warning: ")]
    assert not wrong, done.stderr + done.stdout
    return done.stdout


def test_gdb_stops_at_a_symbol_looks_goes_back_and_has_the_guest_shut_down(lab: Lab, require: Callable[[str], str], tmp_path: Path) -> None:
    kernel = tmp_path / "kernel.elf"
    kernel.write_bytes(with_symbols(elf32(rounds()), SYMBOLS))
    vm = lab.create(image(rounds()))
    vm.unpause()
    said = said_by(
        require("gdb"), kernel, vm,
        "break count", "continue", "info registers eip ecx", "x/2i $pc", "stepi", "x/wx 0x100400", "reverse-stepi", "x/wx 0x100400", "continue", "continue",
        "x/wx 0x100400", "reverse-continue", "x/wx 0x100400", "delete", "set $ecx = 1", "set *(int *) 0x100400 = 40", "continue",
    )  # fmt: skip
    assert "Breakpoint 1, 0x00100100 in count ()" in said and "eip            0x100100            0x100100 <count>" in said
    assert "=> 0x100100 <count>:\tincl   0x100400\n   0x100106 <count+6>:\trdtsc" in said
    assert [line.split()[-1] for line in said.splitlines() if line.startswith("0x100400:")] == ["0x00000001", "0x00000000", "0x00000002", "0x00000001"]
    assert "exited normally" in said and vm.state == "shutdown" and vm.cpu.memory(0x10_0400, 4) == bytes([41, 0, 0, 0])


def test_gdb_follows_a_guest_in_c_from_32_bits_to_64(lab: Lab, require: Callable[[str], str], tmp_path: Path) -> None:
    made = hello("x86_64")
    kernel = tmp_path / "hello.elf"
    kernel.write_bytes(made.data)
    vm = lab.create(made)
    vm.unpause()
    said = said_by(
        require("gdb"), kernel, vm,
        "info registers rip cr0", "break main", "continue", "info registers rip cr0", "backtrace 1", "x/i $pc", "stepi", "reverse-stepi",
        "info registers rip", "continue",
    )  # fmt: skip
    assert "rip            0x100000            0x100000 <_start>" in said and "Breakpoint 1, " in said and "cr0            0x11" in said
    assert "cr0            0x8001001" in said and "#0  " in said and "<main" in said and "%r" in said
    assert "exited normally" in said and "hello" in vm.console.text


@pytest.mark.parametrize("arch", ["aarch64", "armv7"])
def test_gdb_debugs_a_guest_of_arm(arch: str, lab: Lab, require: Callable[[str], str], tmp_path: Path) -> None:
    made = hello(arch)
    kernel = tmp_path / "hello.elf"
    kernel.write_bytes(made.manifest["elf"])
    vm = lab.create(made)
    vm.unpause()
    said = said_by(
        require("gdb-multiarch"), kernel, vm,
        "break main", "continue", "info registers pc sp", "x/i $pc", "stepi", "stepi", "reverse-stepi", "reverse-stepi", "info registers pc", "continue",
    )  # fmt: skip
    pcs = [line.split()[1] for line in said.splitlines() if line.startswith("pc ")]
    assert "Breakpoint 1, " in said and "<main" in said and len(pcs) == 2 and pcs[0] == pcs[1]
    assert "exited normally" in said and "hello" in vm.console.text
