"""Exercises of 06-loss-and-rto, and the two unikernels between which bytes are lost."""

from __future__ import annotations

from typing import Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Console, StackV4, unikernel
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import seconds
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.exercises import Claims, Traced
from mirage_lab.testing.story import Story

__all__ = ["check_one_frame", "check_rto", "check_tail", "reader", "sender"]

MOST: Final = 10_000_000
LEAST_RTO: Final = 200.0
SAMPLES: Final = (40.0, 40.0, 80.0)
"""Round trips of exercise 1, ms."""


@unikernel
async def sender(console: Console, stack: StackV4) -> None:
    """Sends whoever connects to port 80 as many bytes as it is asked for."""

    async def serve(flow: TcpFlow) -> None:
        asked = await flow.read()
        size = int(asked) if asked.isdigit() and len(asked) < 9 else 0
        await flow.write(bytes(min(size, MOST)))
        await flow.read()  # the end: the reader has them all
        await flow.close()

    stack.listen_tcpv4(80, serve)
    console.log("listening on port 80")
    await stack.listen()


@unikernel
async def reader(console: Console, stack: StackV4, *, size: str = "101360", server: str = "10.0.0.2") -> None:
    """Asks the sender for `size` bytes, says how long they took, and stays a minute to say goodbye."""
    flow = await stack.tcpv4.create_connection((server, 80))
    began = await tasks.now()
    await flow.write(size.encode())
    got = 0
    while got < int(size) and (data := await flow.read()):
        got += len(data)
    console.log(f"{got:,} bytes in {(await tasks.now() - began) / 1e6:,.0f} ms")
    await flow.close()
    await tasks.sleep(seconds(60))


@exercise
def check_rto(rto_ms: object) -> Story:
    """The RTO after round trips of 40, 40 and 80 ms, by RFC 6298 section 2, and not below 200 ms."""
    told = story("three round trips")
    given = isinstance(rto_ms, int | float) and not isinstance(rto_ms, bool)
    told.true("a number of milliseconds is given", given, "nothing is there yet: replace the dots" if rto_ms is ... else f"{rto_ms!r} is no number")
    assert isinstance(rto_ms, int | float)
    srtt, var = SAMPLES[0], SAMPLES[0] / 2
    for sample in SAMPLES[1:]:
        var = 0.75 * var + 0.25 * abs(srtt - sample)
        srtt = 0.875 * srtt + 0.125 * sample
    told.true("it is not below the least there may be", rto_ms >= LEAST_RTO or srtt + 4 * var > LEAST_RTO, f"{rto_ms!r} is")
    told.true("it is what section 2 computes", abs(rto_ms - max(LEAST_RTO, srtt + 4 * var)) < 0.5, f"{rto_ms!r} is not", _hint(rto_ms, srtt, var))
    return told


def _hint(rto: float, srtt: float, var: float) -> str:
    if abs(rto - (srtt + 4 * var)) < 0.5:
        return "is there a least value?"
    return "the deviation is computed first, with the srtt from before the sample"


@exercise
def check_one_frame(trace: Traced, events: object) -> Story:
    """A trace in which exactly one segment with data was lost, and was sent again without a timeout."""
    claims = Claims(trace, "one frame, mended at once")
    data = claims.data().where(src="10.0.0.2")
    gone = claims.lost()
    claims.at_least(30, data, say="the sender sends its bytes")
    claims.exactly(1, gone, say="the lan loses one frame, and one only")
    claims.that("it is a segment with data", any(seen.n == gone[0].n for seen in data), gone)
    claims.at_least(1, claims.retransmissions().where(src="10.0.0.2"), say="it is sent again", hide=True)
    kinds = [getattr(event, "kind", None) for event in events] if isinstance(events, list | tuple) else []
    claims.story.true("and no timer had to run out for it", "tcp.rto" not in kinds, "there is a tcp.rto: the frame was one that no later one tells of")
    return claims.story


@exercise
def check_tail(trace: Traced, events: object) -> Story:
    """A trace in which the last segment with data was lost, and a probe or a timer mended it."""
    claims = Claims(trace, "the last one")
    gone = [seen for seen in claims.lost() if seen.packet.src == "10.0.0.2"]
    claims.story.true("the lan loses something of the sender", gone, "no frame of 10.0.0.2 is lost")
    whys = [event.fields.get("why") for event in events] if isinstance(events, list | tuple) else []
    claims.story.true("something was sent again", whys, "there is no tcp.retransmit")
    claims.story.true("... by a probe, not because others had arrived", whys[0] == "probe", f"it was because of: {whys[0]}", "which frame has none behind it?")
    return claims.story
