"""Moves of a debugger by chance, forward and back, among guests that talk to each other: the world ends as it does without."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

from mirage_lab import Lab, ms, native
from mirage_lab.lab import LabError, Vm

END = ms(6)
FORWARD = ("step", "step", "block", "hypercall", "run", "run")
MOVES = (*FORWARD, "back", "back", "back block", "back hypercall", "break", "unbreak", "event", "rewind", "run back", "trace")


def booted(lab: Lab, arch: str) -> list[Vm]:
    vms = [lab.create(native.pong(arch)), lab.create(native.ping("x86_64"))]
    for vm in vms:
        vm.unpause()
    return vms


def everything(lab: Lab) -> tuple[Any, ...]:
    lab.run(END - lab.now)
    xen = lab.machine.toolstack.hypervisor
    rows = [(domain.name, bytes(domain.memory.view), bytes(domain.shared), domain.cpu_ns, domain.hypercalls) for domain in xen.domains.values()]
    return rows, lab.machine.world.events, [entry.name for entry in lab.journal], xen.dmesg


def move(lab: Lab, vm: Vm, chance: random.Random) -> None:
    """Do one of the moves; what cannot be done is an error that says so."""
    count = chance.choice((1, 2, 10, 100, 1_000, 5_000))
    match chance.choice(MOVES) if lab.now < END - ms(3) else "rewind":
        case "step":
            vm.cpu.step(count)
        case "block" | "hypercall" as unit:
            vm.cpu.step(chance.randrange(1, 4), unit)
        case "back":
            vm.cpu.step_back(count)
        case "back block":
            vm.cpu.step_back(unit="block")
        case "back hypercall":
            vm.cpu.step_back(unit="hypercall")
        case "run":
            lab.run(chance.choice((1_000, 50_000, ms(1), ms(2))))
        case "break":
            vm.cpu.break_at(vm.cpu.pc + chance.choice((0, 4, 8)))
        case "unbreak":
            vm.cpu.unbreak()
        case "event":
            vm.cpu.break_at(chance.choice(("event:evtchn.upcall", "hypercall:*", "event:vcpu.exit")))
        case "rewind":
            lab.rewind(chance.randrange(max(1, min(lab.now, ms(3)))))
        case "run back":
            vm.cpu.run_back()
        case _:
            vm.cpu.trace(chance.choice(("block", "instruction", None)))


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "armv7"])
def test_whatever_moves_are_made_the_world_ends_as_it_does_without_them(arch: str) -> None:
    with Lab(seed=1, name="chance") as lab:
        booted(lab, arch)
        plain = everything(lab)
    for seed in range(5):
        chance = random.Random(f"{arch}/{seed}")
        with Lab(seed=1, name="chance") as lab:
            vms = booted(lab, arch)
            for _ in range(20):
                try:
                    move(lab, chance.choice(vms), chance)
                except LabError:
                    continue  # before the beginning, or no such step
            for vm in vms:
                vm.cpu.unbreak()
            if lab.now > END:
                lab.rewind(END)
            assert everything(lab) == plain, seed
