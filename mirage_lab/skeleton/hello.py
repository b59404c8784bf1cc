"""hello: the console example: a line, a pause, four times."""

from __future__ import annotations

from mirage_lab.runtime.tasks import sleep
from mirage_lab.signatures import Console, unikernel
from mirage_lab.signatures.units import ms


@unikernel
async def hello(console: Console) -> None:
    """Print "hello" and "world" in turn."""
    for _ in range(4):
        console.log("hello")
        await sleep(ms(250))
        console.log("world")
