"""Hypercalls: how many a second each kind of guest makes, in a loop; the peer is bare Unicorn, stopped and begun again at each vmcall.

CPU time, because a second of a busy machine is not one of ours.
"""

from __future__ import annotations

import mmap
from time import process_time

from bench.row import Row
from mirage_lab import Lab, guest_image, ms
from mirage_lab.vcpu.emulator import Emulator
from tests.attacks import KINDS, Assembler

__all__ = ["run"]

RUN = ms(20)


def asks(program: Assembler) -> Assembler:
    """A guest that asks for Xen's version, for ever."""
    start = len(program.code)
    program.call(17, 0, 0)
    program.again(start)
    return program


def calls(program: Assembler, *, told: bool = True) -> float:
    """Hypercalls a second; `told`: each is an event of the trace."""
    lab = Lab(seed=1)
    lab.create(guest_image(program.image(), memory_mib=8), name="guest").unpause()
    if not told:
        lab.machine.world.recorder.disable("xen.hypercall")
        lab.machine.world.recorder.disable("vcpu.exit")
    began = process_time()
    lab.run(RUN)
    took = process_time() - began
    return sum(lab.machine.toolstack.domain(1).hypercalls.values()) / took


def bare() -> float:
    """Stops a second of Unicorn alone, one register read and one written at each."""
    emulator = Emulator("x86")
    page = mmap.mmap(-1, 4096)
    page[:5] = b"\x0f\x01\xc1\xeb\xfb"  # vmcall; jmp back
    emulator.map(0x1000, page)

    def invalid() -> bool:
        emulator.write("rip", emulator.read("rip") + 3)
        emulator.stop()
        return True

    emulator.on_invalid(invalid)
    count, began = 20_000, process_time()
    for _ in range(count):
        emulator.start(0x1000, 100_000)
    return count / (process_time() - began)


def run() -> list[Row]:
    """Measure, the best of three."""
    peer = max(bare() for _ in range(3))
    beside = f"stops of bare Unicorn: {peer:,.0f} a second"
    rows = []
    for kind in KINDS:
        value = max(calls(asks(kind.program(0x20_0000))) for _ in range(3))
        rows.append(Row(f"hypercalls of {kind.name}", value, "a second", peer=beside, ratio=value / peer))
    quiet = max(calls(asks(KINDS[0].program(0x20_0000)), told=False) for _ in range(3))
    rows.append(Row(f"hypercalls of {KINDS[0].name}, not recorded", quiet, "a second", peer=beside, ratio=quiet / peer))
    return rows
