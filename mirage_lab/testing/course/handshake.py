"""Exercises of 05-handshake, and the unikernel that asks in them."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Console, StackV4, unikernel
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.wire import tcp
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.exercises import Claims, Traced
from mirage_lab.testing.pair import Pair
from mirage_lab.testing.story import Story

__all__ = ["check_lost_answer", "check_round_trips", "check_waits", "visitor"]

REQUEST: Final = b"GET / HTTP/1.0\r\n\r\n"
LATENCY: Final = ms(50)
CLOSE_ENOUGH: Final = 5.0
"""Milliseconds by which a prediction of a duration may miss: what the machines themselves take is less than one."""


@unikernel
async def visitor(console: Console, stack: StackV4, *, server: str = "10.0.0.2") -> None:
    """A unikernel that fetches one page, says how long it was, and ends."""
    flow = await stack.tcpv4.create_connection((server, 80))
    await flow.write(REQUEST)
    console.log(f"{len(await flow.read())} bytes")
    await flow.close()


@exercise
def check_lost_answer(trace: Traced, again: object, client: str = "10.0.0.3", server: str = "10.0.0.2") -> Story:
    """A trace in which only the server's first SYN, ACK was lost; `again` names who sends a segment once more."""
    claims = Claims(trace, "the second of three is lost")
    claims.at_least(1, claims.syns().where(src=client), say="the visitor asks for a connection")
    gone, answers = claims.lost(), claims.syn_acks().where(src=server)
    claims.that("the lan loses something", gone, claims.syn_acks())
    claims.that("the first frame it loses is the answer: SYN, ACK", answers and gone[0].n == answers[0].n, gone)
    claims.exactly(1, gone, say="it loses nothing else")
    claims.that("the connection is open in the end", any(seen.packet.src == client for seen in claims.handshakes()), claims.syns())
    repeats = (claims.syn_retransmissions().where(src=client), claims.syn_ack_retransmissions().where(src=server))
    truth = {(True, False): "visitor", (False, True): "web", (True, True): "both"}.get((bool(repeats[0]), bool(repeats[1])), "nobody")
    claims.answer("who sends again", again, truth, look=claims.frames("frame with SYN", lambda packet: packet.tcp is not None and packet.tcp.flags & tcp.SYN))
    return claims.story


@exercise
def check_round_trips(open_ms: object, page_ms: object, latency: Ns = LATENCY) -> Story:
    """Milliseconds until a connection is open for the one who asks, and until the page is there, on a lan of `latency`."""
    told = story("counting round trips")
    asked = _page(latency)
    for what, given, truth in (("open", open_ms, asked[0]), ("the page", page_ms, asked[1])):
        number = isinstance(given, int | float) and not isinstance(given, bool)
        told.true(f"{what}: a number of milliseconds is given", number, "nothing is there yet: replace the dots" if given is ... else f"{given!r} is no number")
        assert isinstance(given, int | float)
        hint = "1,000 times too small: are these seconds?" if abs(given * 1_000 - truth) < CLOSE_ENOUGH else "which frames must have crossed the lan by then?"
        told.true(f"{what}: the number agrees with a world that was asked", abs(given - truth) < CLOSE_ENOUGH, f"{given!r} ms does not", hint)
    return told


@exercise
def check_waits(trace: Traced, waits: object, client: str = "10.0.0.3") -> Story:
    """The waits of a client that is met with silence: whole seconds from each of its SYNs to the next."""
    claims = Claims(trace, "the waits of 2014")
    syns = claims.syns().where(src=client)
    claims.at_least(1, syns, say="the visitor asks for a connection")
    claims.none(claims.handshakes(), say="nobody hears it: no connection is made")
    claims.that("it has had the time to try until it gave up", len(syns) >= 5, syns, hide=True)
    told = claims.story
    numbers = isinstance(waits, list | tuple) and all(isinstance(wait, int | float) for wait in waits)
    told.true("waits are given", waits is not ..., "nothing is there yet: replace the dots")
    told.true("they are a list of seconds", numbers and waits, f"{waits!r} is not, as [1, 2] would be")
    assert isinstance(waits, list | tuple)
    truth = [(after - before) / 1e9 for before, after in pairwise(syns.times)]
    same = 0
    while same < min(len(waits), len(truth)) and abs(waits[same] - truth[same]) < 0.1:
        same += 1
    wrong = f"the first {same} of yours agree{'' if same != 1 else 's'}" if same else "the first of yours does not agree"
    told.true("each is the time from one SYN to the next", same == len(waits), wrong, "trace.ladder() shows them, and lab.events('tcp.rto', source='visitor')")
    told.true("there is one for each SYN but the first", len(waits) == len(truth), f"there are {len(waits)}")
    return told


def _page(latency: Ns) -> tuple[float, float]:
    """Return ms until a connection is open and until a page is there, between machines that know each other's cards."""
    pair = Pair(latency=latency)

    async def serve(flow: TcpFlow) -> None:
        await flow.read()
        await flow.write(b"page")
        await flow.close()

    async def fetch() -> tuple[float, float]:
        pair.other.listen_tcpv4(80, serve)
        pair.queues[1].spawn(pair.other.listen(), "server")
        pair.queues[0].spawn(pair.one.listen(), "client")
        times = (0.0, 0.0)
        for _ in range(2):  # the first time includes ARP
            began = await tasks.now()
            flow = await pair.one.tcpv4.create_connection((pair.addresses[1], 80))
            opened = await tasks.now()
            await flow.write(REQUEST)
            await flow.read()
            times = ((opened - began) / 1e6, (await tasks.now() - began) / 1e6)
            await flow.close()
            await tasks.sleep(seconds(1))
        return times

    try:
        return pair.run(fetch())
    finally:
        pair.close()
