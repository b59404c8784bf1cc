"""The interrupt controller of an ARM guest, register by register, and what its firmware answers."""

from __future__ import annotations

import pytest

from mirage_lab.xen.arch.arm.gic import SPURIOUS, Gic
from mirage_lab.xen.arch.arm.psci import Power, answer

TIMER, EVENTS = 1 << 27, 1 << 31
IAR, EOIR, DIR = 0x00C, 0x010, 0x1000


def opened() -> Gic:
    """A controller as a guest sets it up: both switched on, 27 and 31 enabled, everything urgent enough."""
    gic = Gic()
    for offset, value in ((0x000, 1), (0x100, TIMER | EVENTS)):
        gic.write(offset, 4, value)
    for offset, value in ((0x004, 0xF0), (0x000, 1)):
        gic.cpu_write(offset, 4, value)
    return gic


def test_nothing_is_signalled_until_all_of_it_is_open() -> None:
    gic = Gic()
    steps = [lambda: gic.write(0, 4, 1), lambda: gic.write(0x100, 4, TIMER), lambda: gic.cpu_write(4, 4, 0xF0), lambda: gic.cpu_write(0, 4, 1)]
    for step in steps:
        assert not gic.signals(TIMER)
        step()
    assert gic.signals(TIMER) and not gic.signals(0) and not gic.signals(EVENTS)


def test_an_interrupt_is_taken_once_and_again_while_its_line_is_high() -> None:
    gic = opened()
    assert gic.cpu_read(IAR, 4, TIMER) == 27
    assert gic.cpu_read(IAR, 4, TIMER) == SPURIOUS and not gic.signals(TIMER)
    assert gic.read(0x300, 4, TIMER) == TIMER
    gic.cpu_write(EOIR, 4, 27)
    assert gic.signals(TIMER) and not gic.signals(0)


def test_the_more_urgent_comes_first_and_interrupts_the_other() -> None:
    gic = opened()
    gic.write(0x400 + 27, 1, 0x80)
    gic.write(0x400 + 31, 1, 0x40)
    assert gic.read(0x400 + 24, 4, 0) == 0x8000_0000 and gic.read(0x400 + 31, 1, 0) == 0x40
    assert gic.cpu_read(IAR, 4, TIMER) == 27 and gic.cpu_read(0x014, 4, 0) == 0x80
    assert gic.cpu_read(IAR, 4, TIMER | EVENTS) == 31
    gic.cpu_write(EOIR, 4, 31)
    assert not gic.signals(TIMER)
    gic.cpu_write(EOIR, 4, 27)
    assert gic.cpu_read(0x014, 4, 0) == 0xFF


def test_what_is_less_urgent_than_the_mask_waits() -> None:
    gic = opened()
    gic.write(0x400 + 27, 1, 0xA0)
    gic.cpu_write(4, 4, 0xA0)
    assert not gic.signals(TIMER)
    gic.cpu_write(4, 4, 0xB0)
    assert gic.signals(TIMER)


def test_ending_and_deactivating_are_two_steps_if_the_guest_says_so() -> None:
    gic = opened()
    gic.cpu_write(0, 4, 1 | 1 << 9)
    assert gic.cpu_read(IAR, 4, TIMER) == 27
    gic.cpu_write(EOIR, 4, 27)
    assert not gic.signals(TIMER)
    gic.cpu_write(DIR, 4, 27)
    assert gic.signals(TIMER)


def test_software_interrupts_itself() -> None:
    gic = opened()
    gic.write(0xF00, 4, 2 << 24 | 5)
    assert gic.read(0x200, 4, 0) == 1 << 5 and gic.cpu_read(IAR, 4, 0) == 5
    gic.cpu_write(EOIR, 4, 5)
    gic.write(0xF00, 4, 1 << 24 | 5)  # to all others: there are none
    assert not gic.signals(0)
    gic.write(0xF20, 4, 0x0100)
    assert gic.read(0x200, 4, 0) == 2
    gic.write(0xF10, 4, 0x0100)
    assert gic.read(0x200, 4, 0) == 0


def test_setting_and_clearing_are_registers_of_their_own() -> None:
    gic = opened()
    gic.write(0x180, 4, TIMER)
    assert gic.read(0x100, 4, 0) == EVENTS | 0xFFFF and not gic.signals(TIMER)
    gic.write(0x200, 4, EVENTS)
    assert gic.signals(0)
    gic.write(0x280, 4, EVENTS)
    assert not gic.signals(0)
    gic.write(0x300, 4, EVENTS)
    assert not gic.signals(EVENTS)
    gic.write(0x380, 4, EVENTS)
    assert gic.signals(EVENTS)


def test_what_runs_is_counted_once_whatever_its_guest_says_of_it() -> None:
    """Taken, called inactive, made more urgent, taken again, and so on: no more than two can run."""
    gic = opened()
    for urgency in range(0xE8, 0, -8):
        for number in (27, 31):
            gic.write(0x400 + number, 1, urgency)
            gic.cpu_read(IAR, 4, TIMER | EVENTS)
            gic.write(0x380, 4, 0xFFFF_FFFF)
    assert sorted(gic.running) == [27, 31]


def test_a_saved_controller_is_as_it_was() -> None:
    gic = opened()
    gic.cpu_read(IAR, 4, TIMER)
    saved = gic.save()
    gic.cpu_write(EOIR, 4, 27)
    gic.write(0x400 + 27, 1, 0x80)
    gic.write(0x180, 4, 0xFFFF_FFFF)
    gic.restore(saved)
    assert gic.save() == saved and gic.running == [27]


def test_it_says_what_it_is() -> None:
    """Two generations: 32 lines, one CPU, each interrupt to it."""
    gic = Gic()
    assert (gic.read(4, 4, 0), gic.read(0xFE8, 4, 0), gic.read(0x800, 4, 0), gic.read(0x81F, 1, 0)) == (0, 0x2B, 0x0101_0101, 1)
    gic.write(0x800, 4, 0)
    assert gic.read(0x800, 1, 0) == 1 and gic.cpu_read(0xFC, 4, 0) == 0x0202_043B


@pytest.mark.parametrize("number", [0, 7, 32, 500, 1_023])
def test_ending_what_does_not_run_changes_nothing(number: int) -> None:
    gic = opened()
    gic.cpu_read(IAR, 4, TIMER)
    gic.cpu_write(EOIR, 4, number)
    assert gic.running == [27]


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_no_access_of_a_guest_is_an_error(size: int) -> None:
    gic = opened()
    for offset in range(0, 0x1000, size):
        assert 0 <= gic.read(offset, size, TIMER) < 1 << 8 * size
        gic.write(offset, size, (1 << 8 * size) - 1)
        gic.cpu_read(offset, size, TIMER)
        gic.cpu_write(offset, size, (1 << 8 * size) - 1)


@pytest.mark.parametrize(
    ("function", "first", "expected"),
    [
        (0x8400_0000, 0, (Power.NOTHING, 0x1_0001)),
        (0x8000_0000, 0, (Power.NOTHING, 0x1_0001)),
        (0x8400_0006, 0, (Power.NOTHING, 2)),
        (0x8400_0008, 0, (Power.SYSTEM_OFF, 0)),
        (0x8400_0009, 0, (Power.SYSTEM_RESET, 0)),
        (0x8400_0002, 0, (Power.OFF, 0)),
        (1, 0, (Power.OFF, 0)),
        (0xC400_0001, 0, (Power.SUSPEND, 0)),
        (0xC400_0003, 0, (Power.NOTHING, -4)),
        (0xC400_0003, 1, (Power.NOTHING, -2)),
        (0xC400_0004, 0, (Power.NOTHING, 0)),
        (0x8400_000A, 0xC400_0003, (Power.NOTHING, 0)),
        (0x8400_000A, 0x8400_0008, (Power.NOTHING, 0)),
        (0x8400_000A, 0x8400_00FF, (Power.NOTHING, -1)),
        (0xFFFF_FFFF_FFFF_FFFF, 0, (Power.NOTHING, -1)),
    ],
)
def test_what_firmware_answers(function: int, first: int, expected: tuple[Power, int]) -> None:
    assert answer(function, first) == expected
