"""Scheduler: events a second, timers and tasks; the peer is asyncio's `sleep(0)` between two tasks."""

from __future__ import annotations

import asyncio

from bench.row import Row, best_of
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


def peer() -> None:
    """The same with asyncio."""

    async def turn() -> None:
        for _ in range(COUNT // 2):
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(turn(), turn())

    asyncio.run(both())


def run() -> list[Row]:
    """Measure."""
    theirs = COUNT / best_of(3, peer)
    told = f"asyncio.sleep(0): {theirs:,.0f} a second"
    mine = COUNT / best_of(3, switches)
    timed = COUNT / best_of(3, timers)
    return [Row("scheduler: timer events", timed, "a second"), Row("scheduler: task steps", mine, "a second", "", None, told, mine / theirs)]
