"""ping: measures round trips to another machine, over a UDP echo of its own or any TCP port that refuses."""

from __future__ import annotations

from mirage_lab.signatures import Clock, Console, StackV4, Time, unikernel
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import ms


@unikernel
async def ping(console: Console, time: Time, clock: Clock, stack: StackV4, *, target: str = "10.0.0.1", count: int = 4) -> None:
    """Knock at TCP port 7 of `target`, `count` times, and print how long the answer took."""
    for number in range(count):
        began = clock.time()
        try:
            flow = await stack.tcpv4.create_connection((target, 7))
            await flow.close()
            answer = "open"
        except MirageError:
            answer = "refused"
        console.log(f"{target} port 7: seq={number} {answer} time={(clock.time() - began) * 1e3:.3f} ms")
        await time.sleep(ms(250))
