"""Guests as targets: bytes that are hypercalls, or instructions; whatever they do, the world goes on.

Slower than the parsers, so not part of `tests/unit/test_parsers.py`; `tests/unit/xen/test_guests_by_chance.py` has those by chance.
"""

from __future__ import annotations

import gc
from importlib.util import find_spec
from typing import Final

from mirage_lab import Lab, guest_image, ms
from mirage_lab.lab.said import LabError
from mirage_lab.xen.dom0.toolstack import ToolstackError
from mirage_lab.xen.hypervisor.hypercalls import HYPERCALLS
from tests.armcode import BOTH
from tests.attacks import KINDS, STRUCTURES, Kind, pointers, scene
from tests.fuzz.targets import Target
from tests.machinecode import BASE, Program, call, elf32, says
from tests.pvcode import elf64, says64

__all__ = ["TARGETS", "kernels"]

MOST: Final = 256
_OPERATIONS: Final = [(number, op) for number, ops in sorted(HYPERCALLS.items()) for op in sorted(ops)]


def _hypercalls(kind: Kind, data: bytes) -> None:
    """Seven bytes a call: which, and what its three arguments aim at; all of them are the structures, too."""
    program = kind.program(0x20_0000)
    wild = pointers(kind)
    for at in range(0, min(len(data) - 6, 7 * MOST), 7):
        which, *aims = data[at], *(data[at + 1 + 2 * n : at + 3 + 2 * n] for n in range(3))
        number, op = _OPERATIONS[which % len(_OPERATIONS)]
        program.call(number, op, *(wild[aim[1] % len(wild)] if aim[0] & 1 else STRUCTURES + 4 * aim[1] if aim[0] & 2 else aim[1] for aim in aims))
    _judge(program, data, ms(3))


def _machine_code(data: bytes) -> None:
    _judge(Program(BASE + 0x4000) + data[:0x3000], data, ms(1) // 4)


def _judge(program: Program, data: bytes, run: int) -> None:
    seen = scene(program, run=run, data=data[:0x8000])
    if "the emulator failed" in str(seen.lab.vm("guest").why()):
        raise AssertionError(seen.lab.vm("guest").why())
    seen.bounded()
    del seen
    gc.collect()


def boots(data: bytes) -> None:
    """Bytes that may be a kernel: refused with an error for a person, or booted."""
    lab = Lab(seed=1)
    lab.create(guest_image(data, memory_mib=8), name="guest").unpause()
    lab.run(ms(1) // 5)
    if "the emulator failed" in str(lab.vm("guest").why()):
        raise AssertionError(lab.vm("guest").why())


def _taken(kind: Kind) -> Target:
    return Target(f"hypercalls of {kind.name}", lambda data: _hypercalls(kind, data), (), (bytes(range(64)), bytes(range(100, 164)) * 4))


def kernels() -> tuple[bytes, ...]:
    """A small kernel of each kind."""
    return (elf32(says(b"hello")), elf64(says64(b"hello")), *(arm.says(b"hello") for arm in BOTH if find_spec("fdt") is not None))


_ALL = (
    *(_taken(kind) for kind in KINDS),
    Target("machine code", _machine_code, (), (call(17, 0, 0) + b"\x0f\xa2\x0f\x31\xf4", b"\x0f\x0b")),
    Target("boot", boots, (LabError, ToolstackError), kernels()),
)
TARGETS = {target.name: target for target in _ALL}
