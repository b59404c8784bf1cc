"""TIME, CLOCK, RANDOM, ENTROPY, IO_PAGE: each promise, and a device that breaks it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mirage_lab.runtime import World, tasks
from mirage_lab.signatures.device import Tm
from mirage_lab.signatures.units import Ns, ms
from mirage_lab.testing import check_clock, check_entropy, check_io_page, check_random, check_time
from mirage_lab.tool.devices.chance import Random
from mirage_lab.tool.devices.clocks import Clock
from mirage_lab.tool.devices.timers import Time

Prove = Callable[..., None]


async def early(time: Any, duration: Ns) -> None:
    await time.sleep(duration // 2)


def alone() -> Any:
    """Return a sleep that lets only one task sleep at a time."""
    awake = tasks.Condition()
    busy: list[Any] = []

    async def sleep(time: Any, duration: Ns) -> None:
        while busy:
            await awake.wait()
        busy.append(duration)
        try:
            await time.sleep(duration)
        finally:
            busy.clear()
            awake.notify_all()

    return sleep


async def not_at_all(time: Any, duration: Ns) -> None:
    if duration > 0:
        await time.sleep(duration)


def shuffled() -> Any:
    """Return a sleep after which the last to sleep is the first to wake."""
    calls: list[int] = []

    async def sleep(time: Any, duration: Ns) -> None:
        calls.append(1)
        await time.sleep(duration + ms(1) - len(calls) * 10_000 if duration == ms(10) else duration)

    return sleep


def test_each_promise_of_a_time(prove: Prove) -> None:
    prove(
        lambda change: check_time(change(Time())),
        [
            ("a sleep does not end early", {"sleep": early}),
            ("others run meanwhile", {"sleep": alone()}),
            ("a sleep of zero or less lets others run once", {"sleep": not_at_all}),
            ("equal deadlines wake in the order they were set", {"sleep": shuffled()}),
        ],
    )


def months_from_one(clock: Any, time: float) -> Tm:
    date: Tm = clock.gmtime(time)
    return replace(date, tm_mon=date.tm_mon + 1)


def test_each_promise_of_a_clock(prove: Prove) -> None:
    prove(
        lambda change: check_clock(change(Clock(World(1)))),
        [
            ("the time is Unix seconds", {"time": lambda clock: round(clock.time() * 1000)}),
            ("it moves as virtual time does", {"time": lambda clock: 1.5e9}),
            (
                "gmtime counts months from 0, years from 1900, days of the week from Sunday = 0, days of the year from 0",
                {"gmtime": months_from_one},
            ),
        ],
    )


def refuses_self_init(device: Any) -> None:
    raise RuntimeError("already seeded")


def test_each_promise_of_a_random(prove: Prove) -> None:
    prove(
        lambda change: check_random(change(Random(random.Random(1)))),
        [
            ("self_init never fails", {"self_init": refuses_self_init}),
            ("int is at least 0 and less than the bound", {"int": lambda device, bound: device.int(bound) + 1}),
            ("int draws every value", {"int": lambda device, bound: device.int(bound) & ~1}),
            ("int refuses a bound that is not 1 to 2**30 - 1 with ValueError", {"int": lambda device, bound: device.int32(bound)}),
            ("int32 is at least 0 and less than the bound", {"int32": lambda device, bound: -device.int32(bound)}),
            ("int32 draws every value", {"int32": lambda device, bound: 0}),
            (
                "int32 refuses a bound that is not 1 to 2**31 - 1 with ValueError",
                {"int32": lambda device, bound: device.int32(min(max(bound, 1), 2**31 - 1))},
            ),
        ],
    )


class Dice:
    """ENTROPY: four bytes every 100 ms while a handler is there: the reference double."""

    id = "dice"

    def __init__(self) -> None:
        self.handle: Any = None

    async def handler(self, handle: Callable[[int, bytes], None]) -> None:
        first = self.handle is None
        self.handle = handle
        if first:
            queue = (await tasks.current()).queue
            queue.spawn(self._push(), "entropy")

    async def _push(self) -> None:
        while self.handle is not None:
            await tasks.sleep(ms(100))
            self.handle(0, b"dice")

    async def disconnect(self) -> None:
        self.handle = None


async def text(dice: Any, handle: Any) -> None:
    await dice.handler(lambda source, buffer: handle(source, buffer.decode()))


def both() -> Any:
    """Return a handler method that keeps all handlers."""
    handles: list[Any] = []

    async def handler(dice: Any, handle: Any) -> None:
        handles.append(handle)
        await dice.handler(lambda source, buffer: [each(source, buffer) for each in handles])

    return handler


def test_each_promise_of_an_entropy(prove: Prove) -> None:
    prove(
        lambda change: check_entropy(change(Dice())),
        [
            ("the handler is called with a source and bytes", {"handler": text}),
            ("another handler replaces the first", {"handler": both()}),
        ],
    )


class Pages:
    """IO_PAGE on bytearrays: the reference double."""

    def get(self, pages: int = 1) -> memoryview:
        return memoryview(bytearray(4_096 * pages))

    def round_to_page_size(self, length: int) -> int:
        return -(-length // 4_096) * 4_096


def test_each_promise_of_an_io_page(prove: Prove) -> None:
    shared = bytearray(3 * 4_096)

    def one_for_all(pages: Any, count: int = 1) -> memoryview:
        return memoryview(shared)[: 4_096 * count]

    prove(
        lambda change: check_io_page(change(Pages())),
        [
            ("get gives whole pages of zeros", {"get": lambda pages, count=1: pages.get(1)}),
            ("pages can be written, and do not overlap", {"get": one_for_all}),
            (
                "round_to_page_size is the least multiple of 4,096 that holds so many",
                {"round_to_page_size": lambda pages, length: (length // 4_096 + 1) * 4_096},
            ),
        ],
    )
