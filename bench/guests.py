"""Guests of machine code: instructions a second unobserved and traced, beside bare Unicorn; what a debugger's way back costs.

The guest is a loop of a load, a store and three instructions between registers, in 32-bit protected mode.  Bare Unicorn
runs the same code with the same count= in a row, without a hypervisor, a clock or a hook; hooks of its own are empty.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.row import Row, best_each, best_of
from mirage_lab import Lab, guest_image, ms
from mirage_lab.lab import Vm
from mirage_lab.vcpu.snapshot import Snapshots
from mirage_lab.vcpu.x86 import X86
from mirage_lab.xen.arch.vcpu import SLICE
from tests.machinecode import BASE, elf32, imm

__all__ = ["run"]

LOOP = b"\xa1" + imm(BASE + 0x800) + b"\x40\xa3" + imm(BASE + 0x800) + b"\x01\xc3\xeb\xf1"  # mov eax, [..]; inc eax; mov [..], eax; add ebx, eax; jmp
BLOCKS = b"\x40\xeb\x00\x43\xeb\x00\x41\xeb\xf7"  # inc eax; jmp +0; inc ebx; jmp +0; inc ecx; jmp
GRUB = Path("/usr/lib/grub-xen/grub-i386-xen_pvh.bin")
GRUB_PV = Path("/usr/lib/grub-xen/grub-x86_64-xen.bin")
MIB = 1 << 20


def bare(code: bytes, instructions: int, hook: Callable[[Any], object] | None = None) -> Callable[[], object]:
    """Return what runs code on Unicorn alone, slice by slice."""
    import unicorn

    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_32)
    uc.mem_map(BASE, 1 << 16)
    uc.mem_write(BASE, code)
    uc.ctl_exits_enabled(True)
    uc.ctl_set_exits([])
    if hook is not None:
        hook(uc)

    def work() -> None:
        at = BASE
        for _ in range(instructions // SLICE):
            uc.emu_start(at, 0, count=SLICE)
            at = uc.reg_read(unicorn.x86_const.UC_X86_REG_EIP)

    return work


def in_a_lab(code: bytes, trace: str | None = None) -> tuple[Lab, Vm]:
    """Return a lab with a guest that has begun."""
    lab = Lab(seed=1, name=f"bench-{trace}")
    vm = lab.create(guest_image(elf32(code.ljust(0x1000, b"\x90")), memory_mib=8))
    vm.unpause()
    lab.run(ms(1))
    if trace:
        vm.cpu.trace(trace)
        lab.run(ms(1))
    return lab, vm


def speed(code: bytes, millions: int, trace: str | None, hook: Callable[[Any], object] | None) -> tuple[float, float]:
    """Return millions of instructions a second, of ours and of bare Unicorn."""
    lab, vm = in_a_lab(code, trace)
    before = vm.cpu.vcpu.instructions
    ours, theirs = best_each(7, [lambda: lab.run(ms(millions)), bare(code, millions * 1_000_000, hook)])
    done = (vm.cpu.vcpu.instructions - before) / 7
    lab.close()
    return done / ours / 1e6, millions / theirs


def _traces() -> list[Row]:
    import unicorn

    rows = []
    ours, theirs = speed(LOOP, 10, None, None)
    peer = f"bare Unicorn, count={SLICE:,}: {theirs:.0f}"
    rows.append(Row("a guest that computes, unobserved", ours, "M instructions/s", ">= 0.8 of bare", ours >= 0.8 * theirs, peer, ours / theirs))
    for kind, code, what, hook, goal in (
        ("block", BLOCKS, "blocks of two instructions", unicorn.UC_HOOK_BLOCK, 0.5),
        ("instruction", LOOP, "instructions", unicorn.UC_HOOK_CODE, 0.0),
    ):
        ours, theirs = speed(code, 1, kind, lambda uc, hook=hook: uc.hook_add(hook, lambda uc, address, size, data: None))
        told, met = (f">= {goal:g} of an empty hook", ours >= goal * theirs) if goal else ("", None)
        rows.append(Row(f"traced by {kind} ({what})", ours, "M instructions/s", told, met, f"an empty Python hook: {theirs:.2g}", ours / theirs))
    return rows


def _snapshots() -> list[Row]:
    memory = mmap.mmap(-1, 64 * MIB)
    for page in range(0, 20 * MIB, 4096):
        memory[page] = 1 + page % 251
    cpu = X86(lambda: 0, lambda leaf, subleaf: (0, 0, 0, 0))
    cpu.map(0, memory)
    code = b"\xff\x05" + imm(2 * MIB) + b"\x81\x05" + imm(0x1002) + imm(4096) + b"\xeb\xee"  # inc [..]; add the address of that, 4096; jmp
    memory[0x1000 : 0x1000 + len(code)] = code
    cpu.enter32(0x1000, 0)
    snapshots, taken = Snapshots(cpu), []
    first = best_of(1, snapshots.take)
    for _ in range(50):
        cpu.run(3 * 100)  # a hundred pages are written
        taken.append(snapshots.take())
    held = len({id(page) for one in taken for page in one.pages.values()}) * 4096 / MIB
    again = best_of(10, snapshots.take)
    back = best_of(1, lambda: snapshots.restore(taken[0]))
    return [
        Row("a snapshot of a guest with 20 MiB in use, the first", first * 1e3, "ms"),
        Row("the next, when nothing has changed", again * 1e3, "ms"),
        Row("back to the first of fifty, 100 pages written between each", back * 1e3, "ms"),
        Row("those fifty, pages that are shared counted once", held, "MiB", "< 200", held < 200),
    ]


def _back() -> list[Row]:
    lab, vm = in_a_lab(LOOP)
    vm.cpu.step(100_000)
    back = best_of(10, vm.cpu.step_back)
    lab.close()
    rows = [Row("step back by an instruction, 100,000 into a slice", back * 1e3, "ms", "< 100", back < 0.1)]
    if not GRUB.exists():
        return rows
    with Lab(seed=1, name="bench") as lab:
        vm = lab.create(guest_image(GRUB, name="grub"))
        vm.unpause()
        lab.run(ms(20))
        first = best_of(1, lambda: vm.cpu.step_back(unit="hypercall"))
        known = best_of(5, lambda: vm.cpu.step_back(unit="hypercall"))
        single = best_of(5, vm.cpu.step_back)
    return [
        *rows,
        Row("step back by a hypercall there, the first time: all of it is executed once more", first * 1e3, "ms"),
        Row("step back by a hypercall there, again", known * 1e3, "ms"),
        Row("step back by an instruction there", single * 1e3, "ms", "< 100", single < 0.1),
    ]


def _booted(kernel: Path, milliseconds: int, *, logged: bool = True) -> None:
    """Boot GRUB for so much of its time."""
    with Lab(seed=1, name="bench") as lab:
        if not logged:
            lab.machine.world.recorder.disable("xen.hypercall")
        lab.create(guest_image(kernel, name="grub")).unpause()
        lab.run(ms(milliseconds))


def _grub() -> list[Row]:
    if not GRUB.exists():
        return []
    early = best_of(3, lambda: _booted(GRUB, 13))
    booted, silent = best_each(5, [lambda: _booted(GRUB, 20), lambda: _booted(GRUB, 20, logged=False)])
    booted_pv = best_of(3, lambda: _booted(GRUB_PV, 25))
    return [
        Row("GRUB for PVH, from create to 13 ms of its time, its first console byte", early * 1e3, "ms"),
        Row("GRUB for PVH, from create to 20 ms of its time, at its prompt", booted * 1e3, "ms", "<= 300", booted <= 0.3),
        Row("GRUB for PV, from create to 25 ms of its time, at its prompt", booted_pv * 1e3, "ms"),
        Row("recording the hypercalls of GRUB for PVH", (booted / silent - 1) * 100, "% of its boot", "<= 10", booted <= 1.1 * silent),
    ]


def run() -> list[Row]:
    """Measure."""
    return [*_traces(), *_snapshots(), *_grub(), *_back()]
