"""Exercises of 02-time-and-threads."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures.units import ms, seconds, us
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import ran, story
from mirage_lab.testing.story import Story

__all__ = ["check_deposit", "check_finished", "check_first_of", "check_turns"]

DEPOSITS: Final = 100


@exercise
def check_finished(together: object, in_turn: object) -> Story:
    """Seconds until "Finished" for sleeps of 1, 2 and 3 s, side by side and one after the other."""
    told = story("three sleepers")

    def measured(at_once: bool) -> float:
        async def main() -> float:
            if at_once:
                async with tasks.nursery() as all_three:
                    for duration in (1, 2, 3):
                        all_three.start(tasks.sleep(seconds(duration)))
            else:
                for duration in (1, 2, 3):
                    await tasks.sleep(seconds(duration))
            return await tasks.now() / 1e9

        return float(ran(told, main))

    for what, given, at_once in (("side by side", together, True), ("one after the other", in_turn, False)):
        told.true(
            f"{what}: a number of seconds is given",
            isinstance(given, int | float),
            "nothing is there yet: replace the dots" if given is ... else f"{given!r} is no number",
        )
        assert isinstance(given, int | float)
        told.true(f"{what}: the number agrees with a world that was asked", abs(given - measured(at_once)) < 0.01, f"{given!r} s does not")
    return told


@exercise
def check_turns(lines: object) -> Story:
    """Lines (ns since the start, text) of a console: Heads and Tails in turn, a second apart, three of each."""
    told = story("in turn")
    there = isinstance(lines, list) and all(isinstance(line, tuple) and len(line) == 2 for line in lines)
    told.true("there are lines with times", there and lines, "run(...) returns them: lines = run(...)")
    assert isinstance(lines, list)
    shown = " ".join(f"{text}@{at / 1e9:.3f}s" for at, text in lines[:12])
    told.true("Heads is said three times", [text for _, text in lines].count("Heads") == 3, f"the console has {shown}")
    told.true("Tails is said three times", [text for _, text in lines].count("Tails") == 3, f"the console has {shown}")
    told.true("after Heads comes Tails, after Tails comes Heads", [text for _, text in lines] == ["Heads", "Tails"] * 3, f"the console has {shown}")
    gaps = [after - before for (before, _), (after, _) in pairwise(lines)]
    told.true("a second lies between one and the next", all(abs(gap - seconds(1)) < us(100) for gap in gaps), f"the console has {shown}")
    return told


@exercise
def check_first_of(wait_at_most: object) -> Story:
    """`await wait_at_most(duration, job)`: what the job returned, or None when it takes longer; the job is cancelled then."""
    told = story("wait at most so long")
    told.true("wait_at_most is a function", callable(wait_at_most), f"it is {wait_at_most!r}")
    assert callable(wait_at_most)
    waiting: Callable[..., Coroutine[Any, Any, object]] = wait_at_most

    async def job(duration: int, word: str, said: list[str]) -> str:
        await tasks.sleep(seconds(duration))
        said.append(word)
        return word

    async def once(limit: int, duration: int) -> tuple[object, list[str], int]:
        said: list[str] = []
        came = await waiting(seconds(limit), job(duration, "tea", said))
        at = await tasks.now()
        await tasks.sleep(seconds(10))
        return came, said, at

    came, said, at = ran(told, lambda: once(3, 1))
    told.true("a job of 1 s, at most 3 s: it runs", said == ["tea"], "the job never came to its end: was it awaited?")
    told.true("... and what it returns is returned", came == "tea", f"came {came!r}")
    told.true("... as soon as it is there", at < seconds(1) + ms(1), f"it took {at / 1e9:g} s")
    came, said, at = ran(told, lambda: once(1, 3))
    told.true("a job of 3 s, at most 1 s: None is returned", came is None, f"came {came!r}")
    told.true("... after 1 s", at < seconds(1) + ms(1), f"it took {at / 1e9:g} s")
    told.true("... and the job is not left running behind", not said, "ten seconds later the job had ended all the same: somebody must cancel it")
    return told


@exercise
def check_deposit(deposit: object) -> Story:
    """`await deposit(account)` adds 1 to account.balance a hundred times, others running in between; two of them at once."""
    told = story("a bank with two clerks")
    told.true("deposit is a function", callable(deposit), f"it is {deposit!r}")
    assert callable(deposit)
    clerk: Callable[..., Coroutine[Any, Any, object]] = deposit

    async def main(clerks: int) -> tuple[object, int]:
        account, turns = SimpleNamespace(balance=0), 0

        async def watching() -> None:
            nonlocal turns
            while True:
                await tasks.checkpoint()
                turns += 1

        async with tasks.nursery() as house:
            async with tasks.nursery() as desk:
                house.start(watching())
                for _ in range(clerks):
                    desk.start(clerk(account))
            house.cancel()
        return account.balance, turns

    balance, turns = ran(told, lambda: main(1))
    told.true(f"one clerk: {DEPOSITS} deposits of 1 make {DEPOSITS}", balance == DEPOSITS, f"the balance is {balance!r}")
    told.true("... and others run between two deposits", turns >= DEPOSITS, f"others came to run {turns} times in all: a clerk must wait for the other bank")
    balance, turns = ran(told, lambda: main(2))
    told.true(
        f"two clerks at once: {2 * DEPOSITS}", balance == 2 * DEPOSITS, f"the balance is {balance!r}: who read what, when, and who ran before it was written?"
    )
    return told
