"""Guests by chance: thousands of hypercalls with arguments that aim at something, and instructions that are random bytes; seeds are fixed."""

from __future__ import annotations

import gc
import random
import weakref

import pytest

pytest.importorskip("unicorn")

from mirage_lab import ms
from tests.armcode import BOTH
from tests.armcode import Kind as Arm
from tests.attacks import KINDS, Kind, random_calls, random_code, random_words, scene, structures
from tests.fuzz import guests

KIND_NAMES = [kind.name for kind in KINDS]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_hypercalls_by_chance(kind: Kind, seed: int) -> None:
    chance = random.Random(seed)
    program = kind.program(0x20_0000)
    for number, *args in random_calls(kind, chance, 1_000):
        program.call(number, *args)
    seen = scene(program, run=ms(30), data=structures(kind, chance))
    assert sum(seen.guest.hypercalls.values()) > 500 or seen.guest.state == "crashed"
    assert "the emulator failed" not in str(seen.lab.vm("guest").why())
    seen.bounded()


@pytest.mark.parametrize("seed", range(16))
def test_instructions_by_chance(seed: int) -> None:
    seen = scene(random_code(random.Random(seed), 0x1000), run=ms(1) // 4)
    assert "the emulator failed" not in str(seen.lab.vm("guest").why())
    seen.bounded()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("arm", BOTH, ids=("64", "32"))
def test_instructions_of_arm_by_chance(arm: Arm, seed: int) -> None:
    pytest.importorskip("fdt")
    seen = scene(random_words(arm, random.Random(seed), 2_000), run=ms(1) // 4)
    assert "the emulator failed" not in str(seen.lab.vm("guest").why())
    seen.bounded()


def test_the_same_seed_is_the_same_run_to_the_last_byte_and_nanosecond() -> None:
    def ran() -> tuple[bytes, int, int]:
        seen = scene(random_code(random.Random(13), 0x1000), run=ms(1) // 4)
        return bytes(seen.guest.memory.view), seen.guest.cpu_ns, seen.lab.machine.world.events

    assert ran() == ran()


@pytest.mark.parametrize("name", guests.TARGETS)
def test_what_is_fuzzed_for_longer_takes_its_seeds(name: str) -> None:
    target = guests.TARGETS[name]
    for seed in target.seeds:
        assert target.take(seed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kernel", range(len(guests.kernels())))
def test_kernels_that_lie_are_refused_or_booted(kernel: int, seed: int) -> None:
    """Bytes of their headers changed by chance."""
    chance, good = random.Random(seed), guests.kernels()[kernel]
    taken = 0
    for _ in range(25):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(0x140)
            data[at : at + chance.choice((1, 4))] = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80", chance.randbytes(1))) * chance.choice((1, 4))
        taken += guests.TARGETS["boot"].take(bytes(data[: len(good)]))
    assert taken < 25


def test_nothing_of_a_guest_is_kept_when_it_is_destroyed() -> None:
    seen = scene(KINDS[0].program(0x20_0000), run=ms(1))
    of_guest = [weakref.ref(seen.guest.machine), weakref.ref(seen.guest.machine.cpu.emulator._uc)]  # type: ignore[union-attr]
    lab = seen.lab
    lab.vm("guest").destroy()
    lab.run(ms(1))
    del seen
    gc.collect()
    assert [ref() for ref in of_guest] == [None, None] and [vm.name for vm in lab.domains] == ["survivor"]
