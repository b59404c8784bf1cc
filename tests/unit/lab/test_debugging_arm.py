"""ARM guests under a debugger: steps forward and back over an interrupt, its controller and its timer; the same world as without."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, guest_image, ms
from mirage_lab.lab import Vm
from mirage_lab.lab.gdbregisters import layout_of
from tests.armcode import ARM32, ARM64, Kind
from tests.unit.xen.test_arm import handler, let_in

both = pytest.mark.parametrize("kind", [ARM64, ARM32], ids=["64", "32"])


def kernel(kind: Kind) -> bytes:
    """A timer in 2 ms, a wait, an interrupt that turns it off, a word on Xen's console."""
    off = [*kind.mov(0, 0), kind.control_timer]
    wait = [*let_in(kind), *kind.mov(0, 2_000_000), kind.write_timer, *kind.mov(0, 1), kind.control_timer, kind.wfi, *kind.mov(3, 7)]
    return kind.says(b"awake", after=wait, vectors=handler(kind, *off))


def booted(lab: Lab, kind: Kind) -> Vm:
    vm = lab.create(guest_image(kernel(kind), memory_mib=8))
    vm.unpause()
    return vm


def state(lab: Lab, vm: Vm) -> tuple[Any, ...]:
    domain = lab.machine.toolstack.domain(vm.domid)
    return dict(vm.cpu.registers), bytes(domain.memory.view), vm.cpu.vcpu.devices()


@both
def test_each_step_back_is_the_step_before(kind: Kind) -> None:
    with Lab(seed=1, name="arm") as lab:
        vm = booted(lab, kind)
        assert vm.cpu.mode == ("aarch64" if kind.bits == 64 else "arm") and len(vm.cpu.disassemble()) == 12
        seen = []
        while vm.state != "shutdown":
            seen.append(state(lab, vm))
            vm.cpu.step()
        assert len(seen) > 60
        for before in reversed(seen):
            vm.cpu.step_back()
            assert state(lab, vm) == before


@both
def test_step_by_step_or_at_once_it_is_the_same_guest(kind: Kind) -> None:
    ends = []
    for steps in (0, 40, 200):
        with Lab(seed=1, name="arm") as lab:
            vm = booted(lab, kind)
            for _ in range(steps):
                if vm.state != "shutdown":
                    vm.cpu.step()
            lab.run(ms(10) - lab.now)
            domain, machine = lab.machine.toolstack.domain(vm.domid), vm.cpu.vcpu
            first = (state(lab, vm), domain.cpu_ns, machine.exits, machine.instructions, lab.machine.world.events, lab.machine.toolstack.dmesg())
            for _ in range(2):
                lab.rewind(lab.now)
                domain, machine = lab.machine.toolstack.domain(vm.domid), vm.cpu.vcpu
                again = (state(lab, vm), domain.cpu_ns, machine.exits, machine.instructions, lab.machine.world.events, lab.machine.toolstack.dmesg())
                assert again == first
            ends.append(first)
    assert ends[0] == ends[1] == ends[2] and "awake" in ends[0][-1]


@both
def test_gdb_is_told_of_the_registers_that_there_are(kind: Kind) -> None:
    with Lab(seed=1, name="arm") as lab:
        cpu = booted(lab, kind).cpu.vcpu.cpu
        layout = layout_of(cpu, 64)
        assert layout.architecture == ("aarch64" if kind.bits == 64 else "arm")
        values = {row.name: cpu.read(row.ours) for row in layout.rows if row.ours}
        assert values["pc"] == cpu.pc and len(values) == len(layout.rows)
