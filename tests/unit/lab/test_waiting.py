"""What a guest of machine code waits for, in words: how, for which ports, what is bound to each, until when."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, guest_image, ms, seconds
from mirage_lab.lab import Vm
from tests.machinecode import BASE, call, elf32, imm, with_symbols

AT = BASE + 0x300


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=1, name="waiting") as made:
        yield made


def booted(lab: Lab, code: bytes, data: bytes = b"") -> Vm:
    """A guest that has run for a millisecond; `data` lies at AT."""
    file = with_symbols(elf32(code.ljust(0x300, b"\x90") + data.ljust(0x40, b"\0")), {"_start": (BASE, 0x300)})
    vm = lab.create(guest_image(file, memory_mib=8))
    vm.unpause()
    lab.run(ms(1))
    return vm


def test_a_poll_names_its_ports_who_is_at_the_other_end_and_until_when(lab: Lab) -> None:
    vm = booted(lab, call(29, 3, AT), struct.pack("<IIQ", AT + 16, 2, seconds(2)) + imm(2) + imm(1))
    told = str(vm.why())
    assert "guest is blocked\n  it polls ports 1, 2 (sched_op.poll), until t = 2.000 s, in 1.999 s" in told
    assert "  port 1: xenstore, dom0, port 1\n  port 2: the console, dom0, port 2" in told and "it stands at _start+0x12 (0x100012): nop" in told


def test_a_poll_for_no_port_and_for_ever_can_never_end(lab: Lab) -> None:
    told = str(booted(lab, call(29, 3, AT), struct.pack("<IIQ", 0, 0, 0)).why())
    assert "it polls no port (sched_op.poll), for ever" in told and "no port and no timer of its own could wake it" in told


def test_who_halts_is_told_what_could_wake_it_and_when_its_timer_rings(lab: Lab) -> None:
    """A virtual timer is bound and set; sti, hlt."""
    bind = call(32, 1, AT)  # bind_virq
    told = str(booted(lab, bind + call(15, int(ms(5)), 0) + b"\xfb\xf4", struct.pack("<III", 0, 0, 0)).why())
    assert "guest is blocked\n  it halts, with interrupts let in, until one comes" in told
    assert "its timer rings at t = 5 ms, in 4 ms" in told and "port 3: VIRQ_TIMER" in told


def test_who_blocks_says_so_and_who_runs_too(lab: Lab) -> None:
    assert "it blocks (sched_op.block) until an event comes" in str(booted(lab, call(29, 1)).why())
    told = str(booted(lab, b"\xeb\xfe").why())
    lab.vm("guest").cpu.step(7)
    assert "a debugger has stopped it, 7 instructions into a step" in str(lab.vm("guest").why())
    assert "guest is running\n  it runs: 1,0" in told and "it stands at _start (0x100000): jmp 0x100000" in told


def test_a_fault_is_told_with_its_symbol_and_the_instruction(lab: Lab) -> None:
    told = str(booted(lab, b"\x90\x31\xc9\xf7\xf1").why())
    assert "crashed: division by zero at 0x100003" in told and "it stands at _start+0x3 (0x100003): div ecx" in told
