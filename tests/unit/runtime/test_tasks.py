"""Tasks: waiting, joining, timing out, cancelling."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from mirage_lab.runtime import World, tasks
from mirage_lab.signatures.units import ms, seconds, us


def run(coro: Coroutine[Any, Any, Any], until: int = seconds(60)) -> Any:
    world = World()
    task = world.queue("dom").spawn(coro)
    task._joined = True
    world.advance(until)
    return task.result


def test_heads_and_tails_finish_in_two_seconds() -> None:
    said: list[tuple[str, int]] = []

    async def say(what: str, after: int) -> None:
        await tasks.sleep(after)
        said.append((what, await tasks.now()))

    async def main() -> None:
        async with tasks.nursery() as n:
            n.start(say("Heads", seconds(1)))
            n.start(say("Tails", seconds(2)))
        said.append(("Finished", await tasks.now()))

    run(main())
    assert [what for what, _ in said] == ["Heads", "Tails", "Finished"]
    assert 0 <= said[2][1] - seconds(2) < us(50)


def test_a_timeout_cancels_what_is_inside_only() -> None:
    cleaned = []

    async def main() -> str:
        try:
            async with tasks.timeout(ms(5)):
                try:
                    await tasks.sleep(seconds(1))
                finally:
                    cleaned.append(True)
        except tasks.TimedOut:
            await tasks.sleep(ms(1))
            return "late"
        return "in time"

    assert run(main()) == "late" and cleaned == [True]


def test_what_ends_in_time_is_not_cancelled_later() -> None:
    async def main() -> str:
        async with tasks.timeout(ms(5)):
            await tasks.sleep(ms(1))
        await tasks.sleep(ms(20))
        return "whole"

    assert run(main()) == "whole"


def test_a_childs_error_cancels_its_brothers_and_is_raised_at_the_end_of_the_block() -> None:
    ended = []

    async def fails() -> None:
        await tasks.sleep(ms(1))
        raise ValueError("child")

    async def long() -> None:
        try:
            await tasks.sleep(seconds(50))
        finally:
            ended.append(await tasks.now())

    async def main() -> None:
        async with tasks.nursery() as n:
            n.start(fails())
            n.start(long())
            await tasks.sleep(seconds(40))

    with pytest.raises(ValueError, match="child"):
        run(main())
    assert len(ended) == 1 and ended[0] < ms(2)


def test_a_child_cancelled_before_its_first_step_ends_the_nursery() -> None:
    async def main() -> str:
        async with tasks.nursery() as n:
            n.start(tasks.sleep(seconds(1))).cancel()
        return "done"

    assert run(main()) == "done"


def test_join_gives_results_and_errors() -> None:
    async def value() -> int:
        await tasks.sleep(ms(1))
        return 42

    async def error() -> None:
        raise KeyError("gone")

    async def main() -> tuple[int, str]:
        queue = (await tasks.current()).queue
        a, b = queue.spawn(value()), queue.spawn(error())
        b._joined = True
        got = await a.join()
        try:
            await b.join()
        except KeyError as raised:
            return got, str(raised)
        return got, ""

    assert run(main()) == (42, "'gone'")


def test_a_mailbox_hands_over_in_order_and_puts_wait_for_room() -> None:
    got: list[tuple[int, int]] = []

    async def main() -> None:
        box: tasks.Mailbox[int] = tasks.Mailbox(2)

        async def producer() -> None:
            for n in range(5):
                await box.put(n)
            box.close()

        async def consumer() -> None:
            try:
                while True:
                    got.append((await box.get(), len(box)))
                    await tasks.sleep(ms(1))
            except tasks.Closed:
                return

        async with tasks.nursery() as n:
            n.start(producer())
            n.start(consumer())

    run(main())
    assert [n for n, _ in got] == [0, 1, 2, 3, 4] and all(waiting <= 2 for _, waiting in got)


def test_a_condition_wakes_first_come_first_served() -> None:
    order: list[str] = []

    async def main() -> None:
        condition = tasks.Condition()

        async def waiter(name: str) -> None:
            await condition.wait()
            order.append(name)

        async with tasks.nursery() as n:
            for name in "abc":
                n.start(waiter(name))
            await tasks.sleep(ms(1))
            condition.notify()
            await tasks.sleep(ms(1))
            assert order == ["a"]
            condition.notify_all()

    run(main())
    assert order == ["a", "b", "c"]


def test_asking_for_the_current_task_a_thousand_times_does_not_nest() -> None:
    async def main() -> int:
        for _ in range(5_000):
            await tasks.now()
        return 1

    assert run(main()) == 1


def test_awaiting_something_of_asyncio_is_an_error_that_names_the_time_device() -> None:
    import asyncio

    async def main() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match=r"take a Time device: await time.sleep\(seconds\(1\)\)"):
        run(main())


def test_a_closed_queue_ends_its_tasks_without_running_them() -> None:
    world, ran = World(), []

    async def main() -> None:
        await tasks.sleep(ms(1))
        ran.append(1)

    queue = world.queue("dom")
    queue.spawn(main())
    world.advance(us(10))
    queue.close()
    world.advance(seconds(1))
    assert not ran and not queue.tasks
