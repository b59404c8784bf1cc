"""Scheduler: events a second, timers and tasks; the peers are asyncio's `call_later(0)` and `sleep(0)` doing the same."""

from __future__ import annotations

import asyncio

from bench.row import Row, best_each
from mirage_lab.runtime import World, tasks
from mirage_lab.signatures.units import Ns, seconds

__all__ = ["run"]

COUNT = 200_000


def timers() -> None:
    """A handler that sets itself again."""
    world = World(1)

    def again() -> None:
        world.call_at(Ns(world.now + 1_000), again)

    world.call_at(Ns(0), again)
    world.advance(Ns(COUNT * 1_000))


def switches() -> None:
    """Two tasks that take turns."""
    world = World(1)
    queue = world.queue("q")

    async def turn() -> None:
        for _ in range(COUNT // 2):
            await tasks.checkpoint()

    queue.spawn(turn())
    queue.spawn(turn())
    world.advance(seconds(10))


def asyncio_timers() -> None:
    """A handler that sets itself again, with asyncio."""
    loop, left = asyncio.new_event_loop(), COUNT

    def again() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_later(0, again)
        else:
            loop.stop()

    loop.call_soon(again)
    loop.run_forever()
    loop.close()


def asyncio_switches() -> None:
    """Two tasks that take turns, with asyncio."""

    async def turn() -> None:
        for _ in range(COUNT // 2):
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(turn(), turn())

    asyncio.run(both())


def run() -> list[Row]:
    """Measure."""
    timed, their_timed, switched, their_switched = (COUNT / took for took in best_each(5, [timers, asyncio_timers, switches, asyncio_switches]))
    return [
        Row("scheduler: timer events", timed, "a second", "", None, f"asyncio call_later(0): {their_timed:,.0f} a second", timed / their_timed),
        Row("scheduler: task steps", switched, "a second", "", None, f"asyncio.sleep(0): {their_switched:,.0f} a second", switched / their_switched),
    ]
