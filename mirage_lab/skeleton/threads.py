"""heads_and_tails: the exercise of the Lwt tutorial: two threads sleep, print, and are joined."""

from __future__ import annotations

from mirage_lab.runtime.tasks import nursery
from mirage_lab.signatures import Console, Time, unikernel
from mirage_lab.signatures.units import seconds


@unikernel
async def heads_and_tails(console: Console, time: Time) -> None:
    """Print "Heads" after one second, "Tails" after two, and "Finished"."""

    async def after(duration: int, word: str) -> None:
        await time.sleep(seconds(duration))
        console.log(word)

    async with nursery() as both:
        both.start(after(1, "Heads"))
        both.start(after(2, "Tails"))
    console.log("Finished")
