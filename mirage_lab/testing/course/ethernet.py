"""Exercises of 03-ethernet-and-arp, and the two unikernels of its stories: one that calls, one that says anything on the wire."""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Console, Network, StackV4, unikernel
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import ms, seconds
from mirage_lab.tcpip.dissect import dissect
from mirage_lab.tcpip.wire import arp
from mirage_lab.tcpip.wire.address import ip_text, mac_text
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.exercises import Claims, Traced
from mirage_lab.testing.story import Story

__all__ = ["caller", "check_heard", "check_lost_question", "check_reply", "fields", "shouter"]

HEARD: Final = 1
"""Frames that somebody else hears of a first call: the question to everybody, and nothing of what follows."""


@unikernel
async def caller(console: Console, stack: StackV4, *, to: str = "10.0.0.2", pause_s: int = 0) -> None:
    """Open a connection to port 80 of `to`, say how long it took, and after `pause_s` seconds do it once more."""
    for pause in (0, pause_s) if pause_s else (0,):
        await tasks.sleep(seconds(pause))
        began = await tasks.now()
        try:
            flow = await stack.tcpv4.create_connection((to, 80))
            await flow.close()
            told = "open"
        except MirageError as error:
            told = str(error)
        console.log(f"{to}: {told} after {(await tasks.now() - began) / 1e6:.1f} ms")


@unikernel
async def shouter(console: Console, net: Network, *, frames: str = "") -> None:
    """Send Ethernet frames given in hex, one after the other, and listen to nothing."""
    for text in frames.split():
        net.write(bytes.fromhex(text))
        console.log(f"sent {len(text) // 2} bytes")
        await tasks.sleep(ms(1))


def fields(trace: Any, n: int) -> str:
    """Return frame `n` of a trace field by field: where it begins, its bytes, what it means."""
    data = trace.capture.frame_number(n).data
    lines = []
    for layer in dissect(data).layers:
        lines.append(f"{layer.name}, {layer.length} bytes")
        lines += [f"  {one.offset:3}  {data[one.offset : one.offset + one.length].hex():14} {one.name}: {one.value}" for one in layer.fields]
    return "\n".join(lines)


@exercise
def check_heard(count: object) -> Story:
    """How many frames of somebody's first call to another reach a third machine."""
    told = story("what a third machine hears")
    told.true("a number is given", count is not ..., "nothing is there yet: replace the dots")
    told.true("it is a whole number", isinstance(count, int) and not isinstance(count, bool), f"{count!r} is not")
    told.true("so many frames reach it", count == HEARD, f"{count!r} do not", "which of the frames are for everybody, once the bridge knows where the two are?")
    return told


@exercise
def check_reply(frame: object, ip: str = "10.0.0.9", mac: str = "02:00:00:00:00:09") -> Story:
    """A frame by hand, in hex: the reply "10.0.0.9 is at 02:00:00:00:00:09" to whoever asked."""
    told = story("an answer by hand")
    told.true("a text is given", isinstance(frame, str), "nothing is there yet: replace the dots" if frame is ... else f"{type(frame).__name__}, no text")
    assert isinstance(frame, str)
    try:
        data = bytes.fromhex(frame)
        told.true("it is 42 bytes or more", len(data) >= 42, f"it is {len(data)}: 14 of Ethernet, 28 of ARP")
        told.true("its type is ARP", data[12:14] == b"\x08\x06", f"bytes 12 and 13 are {data[12:14].hex()}")
        packet = arp.decode(data, 14)
    except (ValueError, WireError) as error:
        told.fail("it can be read", str(error))
    told.true("it is a reply", packet.op == arp.REPLY, f"the operation is {packet.op}")
    says = f"{ip_text(packet.spa)} is at {mac_text(packet.sha)}"
    told.true("it says what it should", says == f"{ip} is at {mac}", f"it says {says}")
    told.true("it comes from the card that it names", data[6:12] == packet.sha, f"the frame comes from {mac_text(data[6:12])}")
    return told


@exercise
def check_lost_question(trace: Traced, client: str = "10.0.0.5", server: str = "10.0.0.2") -> Story:
    """A trace in which the first question of `client` for `server` was lost, and the second was answered."""
    claims = Claims(trace, "a question that was lost")
    asked = claims.frames("question", lambda packet: packet.info == f"who has {server}? tell {client}")
    claims.exactly(2, asked, say="the question is asked twice")
    claims.exactly(1, claims.lost(), say="the lan loses one frame and no other")
    claims.that("what it loses is the first question", claims.lost()[0].n == asked[0].n, claims.lost())
    claims.at(asked, [asked[0].t, asked[0].t + seconds(1)], say="a second lies between the two")
    claims.at_least(1, claims.handshakes(), say="the connection is open in the end")
    return claims.story
