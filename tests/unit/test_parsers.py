"""Hostile input: every parser accepts or raises its one documented error, whatever the bytes, in bounded time and memory."""

from __future__ import annotations

import importlib
import pkgutil
import random
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mirage_lab.tcpip.wire
from tests.fuzz.targets import TARGETS

SMALL = 4 << 20
"""Bytes that a target may hold while it reads a small input."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_target_starts_from_is_accepted_and_every_truncation_is_taken_or_refused(name: str) -> None:
    target = TARGETS[name]
    assert any(target.take(seed) for seed in target.seeds)
    for seed in target.seeds:
        for size in range(len(seed)):
            target.take(seed[:size])


@pytest.mark.parametrize("name", TARGETS)
def test_every_byte_may_lie(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        for at in range(min(len(seed), 300)):
            for value in (0, 1, seed[at] ^ 1, seed[at] ^ 0x80, 0x7F, 0xFF):
                target.take(seed[:at] + bytes((value,)) + seed[at + 1 :])


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_by_chance(name: str) -> None:
    target, chance = TARGETS[name], random.Random(name)
    for _ in range(300):
        data = bytearray(chance.choice(target.seeds))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(4):
                case 0:
                    data[at:at] = chance.randbytes(chance.randrange(1, 9))
                case 1:
                    del data[at : at + chance.randrange(1, 9)]
                case 2:
                    data[at : at + 2] = chance.choice((b"\0\0", b"\xff\xff", b"\x7f\xff", b"\x80\x00", b"\xc0\x0c"))
                case _:
                    data[at:at] = data[: chance.randrange(len(data) + 1)]
        target.take(bytes(data[:4_000]))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=600))
def test_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name].take(data)


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "a whole stack"])
def test_a_small_input_never_costs_much_memory(name: str) -> None:
    target, chance = TARGETS[name], random.Random(5)
    inputs = [*(seed * 3 for seed in target.seeds), *(chance.randbytes(2_000) for _ in range(20)), *(bytes([each]) * 2_000 for each in b"\0 ([\xc0\xff")]
    for data in target.seeds:
        target.take(data)
    tracemalloc.start()
    for data in inputs:
        target.take(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < SMALL


def test_every_decoder_of_the_wire_has_a_target() -> None:
    of = {target.of for target in TARGETS.values()}
    for module in pkgutil.iter_modules(mirage_lab.tcpip.wire.__path__):
        if hasattr(importlib.import_module(f"mirage_lab.tcpip.wire.{module.name}"), "decode"):
            assert f"tcpip.wire.{module.name}.decode" in of, module.name


def test_a_target_lets_any_other_error_through() -> None:
    target = TARGETS["tcp"]
    with pytest.raises(IndexError):
        type(target)("broken", lambda data: data[5], target.errors, (b"",)).take(b"")
