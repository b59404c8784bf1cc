"""small: DEVICE, TIME, CLOCK, RANDOM, ENTROPY, IO_PAGE: the promises of what every unikernel stands on."""

from __future__ import annotations

import math
from typing import Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Clock, Device, Entropy, IoPage, Random, Time
from mirage_lab.signatures.device import Tm
from mirage_lab.signatures.units import Ns, ms
from mirage_lab.testing.suite import Tell, suite

__all__ = ["check_clock", "check_device", "check_entropy", "check_io_page", "check_random", "check_time"]

DRAWS: Final = 500
PAGE: Final = 4_096

DATES: Final = {
    0: Tm(0, 0, 0, 1, 0, 70, 4, 0),
    1_456_749_296: Tm(56, 34, 12, 29, 1, 116, 1, 59),  # 2016-02-29T12:34:56Z, a Monday
    1_483_228_799: Tm(59, 59, 23, 31, 11, 116, 6, 365),  # 2016-12-31T23:59:59Z, a Saturday
}


@suite
async def check_device(tell: Tell, device: Device) -> None:
    """DEVICE: an id that does not change, and disconnect, after which the device is gone."""
    await tell.shape(Device, device)
    async with tell("its id is a text that does not change") as promise:
        name = device.id
        promise.true("id", isinstance(name, str) and name, name, "a text")
        promise.equal("id, again", device.id, name)
    async with tell("disconnect never fails, and twice is once"):
        await device.disconnect()
        await device.disconnect()


@suite
async def check_time(tell: Tell, time: Time) -> None:
    """TIME: never early, in order, others meanwhile."""
    await tell.shape(Time, time)
    async with tell("a sleep does not end early") as promise:
        for duration in (Ns(0), ms(1), ms(250)):
            before = await tasks.now()
            await time.sleep(duration)
            passed = await tasks.now() - before
            promise.true(f"sleep({duration})", passed >= duration, passed, f"at least {duration} ns")
    async with tell("others run meanwhile") as promise:
        before = await tasks.now()
        async with tasks.nursery() as sleepers:
            for _ in range(3):
                sleepers.start(time.sleep(ms(100)))
        passed = await tasks.now() - before
        promise.true("sleep(ms(100))", passed < ms(150), passed, "three sleeps at once in little more than the time of one")
    async with tell("a sleep of zero or less lets others run once") as promise:
        for duration in (Ns(0), Ns(-1)):
            ran: list[bool] = []
            async with tasks.nursery() as other:
                other.start(_note(ran))
                await time.sleep(duration)
                promise.true(f"sleep({duration})", ran, "the other task did not run", "others run")
    async with tell("equal deadlines wake in the order they were set") as promise:
        woken: list[int] = []
        async with tasks.nursery() as sleepers:
            for number in range(5):
                sleepers.start(_sleep_and_note(time, woken, number))
        promise.equal("sleep(ms(10))", woken, [0, 1, 2, 3, 4])


async def _note(ran: list[bool]) -> None:
    ran.append(True)


async def _sleep_and_note(time: Time, woken: list[int], number: int) -> None:
    await time.sleep(ms(10))
    woken.append(number)


@suite
async def check_clock(tell: Tell, clock: Clock) -> None:
    """CLOCK: Unix seconds that move with virtual time, and dates as C breaks them down."""
    await tell.shape(Clock, clock)
    async with tell("the time is Unix seconds") as promise:
        time = clock.time()
        promise.true("time()", isinstance(time, float) and math.isfinite(time) and 0 <= time < 1e11, time, "seconds since 1970, a float")
    async with tell("it moves as virtual time does") as promise:
        before = clock.time()
        await tasks.sleep(ms(250))
        passed = clock.time() - before
        promise.true("time()", 0.249 <= passed <= 0.3, passed, "0.25 s more, after a quarter of a second")
    async with tell("gmtime counts months from 0, years from 1900, days of the week from Sunday = 0, days of the year from 0") as promise:
        for seconds, date in DATES.items():
            promise.equal(f"gmtime({seconds}.0)", clock.gmtime(float(seconds)), date)


@suite
async def check_random(tell: Tell, random: Random) -> None:
    """RANDOM: within the bound, all of it, and bounds as in OCaml."""
    await tell.shape(Random, random)
    async with tell("self_init never fails"):
        random.self_init()
    for name, draw, bits in (("int", random.int, 30), ("int32", random.int32, 31)):
        async with tell(f"{name} is at least 0 and less than the bound") as promise:
            for bound in (1, 2, 10, (1 << bits) - 1):
                drawn = [draw(bound) for _ in range(DRAWS)]
                worst = next((n for n in drawn if not (isinstance(n, int) and 0 <= n < bound)), None)
                promise.true(f"{name}({bound})", worst is None, worst, f"0 <= n < {bound}")
        async with tell(f"{name} draws every value") as promise:
            promise.equal(f"{name}(6)", sorted({draw(6) for _ in range(DRAWS)}), [0, 1, 2, 3, 4, 5])
        async with tell(f"{name} refuses a bound that is not 1 to 2**{bits} - 1 with ValueError") as promise:
            for bound in (0, -1, 1 << bits):
                with promise.refuses(f"{name}({bound})", ValueError):
                    draw(bound)


@suite
async def check_entropy(tell: Tell, entropy: Entropy) -> None:
    """ENTROPY: bytes are pushed to the one handler."""
    await tell.shape(Entropy, entropy)
    first: list[tuple[int, bytes]] = []
    second: list[tuple[int, bytes]] = []
    async with tell("the handler is called with a source and bytes") as promise:
        await entropy.handler(lambda source, buffer: first.append((source, buffer)))
        while not first:
            await tasks.sleep(ms(100))
        source, buffer = first[0]
        promise.true("handler(handle)", isinstance(source, int) and isinstance(buffer, bytes) and buffer, first[0], "an int and at least a byte")
    async with tell("another handler replaces the first") as promise:
        await entropy.handler(lambda source, buffer: second.append((source, buffer)))
        count = len(first)
        while not second:
            await tasks.sleep(ms(100))
        promise.equal("calls of the first handler", len(first), count)


@suite
async def check_io_page(tell: Tell, io_page: IoPage) -> None:
    """IO_PAGE: pages of zeros, each its own."""
    await tell.shape(IoPage, io_page)
    async with tell("get gives whole pages of zeros") as promise:
        for pages in (1, 3):
            promise.equal(f"bytes(get({pages}))", bytes(io_page.get(pages)), bytes(PAGE * pages))
    async with tell("pages can be written, and do not overlap") as promise:
        one, other = io_page.get(), io_page.get()
        one[:] = b"\xff" * PAGE
        promise.equal("get(), after another page was written", bytes(other), bytes(PAGE))
        promise.equal("get(), after it was written", bytes(one), b"\xff" * PAGE)
    async with tell("round_to_page_size is the least multiple of 4,096 that holds so many") as promise:
        for length, whole in ((0, 0), (1, PAGE), (PAGE, PAGE), (PAGE + 1, 2 * PAGE)):
            promise.equal(f"round_to_page_size({length})", io_page.round_to_page_size(length), whole)
