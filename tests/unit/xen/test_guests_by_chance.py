"""Guests by chance: thousands of hypercalls with arguments that aim at something, and instructions that are random bytes; seeds are fixed."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("unicorn")

from mirage_lab import ms
from tests.attacks import KINDS, Kind, random_calls, random_code, scene, structures
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
