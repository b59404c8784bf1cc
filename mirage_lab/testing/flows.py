"""flows: FLOW, CHANNEL, CONSOLE: the promises of bytes in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Channel, Console, Flow
from mirage_lab.signatures.errors import Disconnected, RemoteProtocolError
from mirage_lab.signatures.units import ms, seconds
from mirage_lab.testing.suite import Promise, Tell, suite

__all__ = ["check_channel", "check_console", "check_flow", "flow_promises", "read_exactly"]

BIG: Final = bytes(range(256)) * 2_000
PATIENCE: Final = seconds(1_800)
"""For much data on a bad lan."""

LINE: Final = 65_536
TEXTS: Final = ("plain", "", "tab\tand ünïcödé", "<img src=x onerror=alert(1)>", "\ud800", "x" * 5_000)


async def read_exactly(promise: Promise, flow: Flow, count: int) -> bytes:
    """Return `count` bytes or more of a flow; breaks the promise at an end of file before."""
    got = bytearray()
    while len(got) < count:
        data = await flow.read()
        promise.true("read()", data, data, "at least a byte: nobody has closed")
        got += data
    return bytes(got)


@suite
async def check_flow(tell: Tell, one: Flow, other: Flow) -> None:
    """FLOW: two ends of a connection: order, both directions at once, writev, half-close, end of file, close twice."""
    await tell.shape(Flow, one, other)
    await flow_promises(tell, one, other)


async def flow_promises(tell: Tell, one: Flow, other: Flow) -> None:
    """The promises of FLOW, for suites of what makes flows."""
    async with tell("bytes arrive, in order") as promise:
        await one.write(b"hel")
        await one.write(b"lo")
        promise.equal("read(), at the other end", await read_exactly(promise, other, 5), b"hello")
    async with tell("writev is its pieces one after the other") as promise:
        await other.writev([b"a", b"", b"bc"])
        promise.equal("read(), at the other end", await read_exactly(promise, one, 3), b"abc")
    async with tell("much more than a buffer passes, both ways at once, in order", within=PATIENCE) as promise:
        got: dict[str, bytes] = {}

        async def take(name: str, flow: Flow) -> None:
            got[name] = await read_exactly(promise, flow, len(BIG))

        async with tasks.nursery() as both:
            both.start(take("one", one))
            both.start(take("other", other))
            both.start(one.write(BIG))
            both.start(other.write(BIG[::-1]))
        promise.equal("read(), until all is there", got["other"], BIG)
        promise.equal("read(), until all is there, the other way", got["one"], BIG[::-1])
    async with tell("after close, and twice is once, the peer reads end of file") as promise:
        await one.close()
        await one.close()
        promise.equal("read(), at the other end", await other.read(), b"")
    async with tell("the peer may still send") as promise:
        await other.write(b"still here")
        promise.equal("read(), at the closed end", await read_exactly(promise, one, 10), b"still here")
    async with tell("writing after close is Disconnected") as promise:
        with promise.refuses("write(b'x')", Disconnected):
            await one.write(b"x")
    async with tell("when both have closed both read end of file, however often") as promise:
        await other.close()
        for flow in (one, one, other):
            promise.equal("read()", await flow.read(), b"")


@suite
async def check_channel(tell: Tell, channel: Channel, peer: Flow) -> None:
    """CHANNEL: characters, lines and a write buffer; `peer` is the other end of the channel's flow."""
    await tell.shape(Channel, channel)
    async with tell("writes are only buffered until flush") as promise:
        channel.write_string("ö")
        channel.write_buffer(b"\xff")
        channel.write_line("line")
        try:
            async with tasks.timeout(ms(500)):
                early = await peer.read()
        except tasks.TimedOut:
            early = b""
        promise.equal("read(), by the peer before flush", early, b"")
    async with tell("flush writes the buffer to the flow, in order, text as UTF-8 and lines ended") as promise:
        await channel.flush()
        promise.equal("read(), by the peer", await read_exactly(promise, peer, 8), b"\xc3\xb6\xffline\n")
    async with tell("read_char returns one byte") as promise:
        await peer.write(b"abone\r\ntwo\n\nkey=value;1234567")
        for char in (b"a", b"b"):
            promise.equal("read_char()", await channel.read_char(), char)
    async with tell("read_line returns a line without its CRLF or LF") as promise:
        for line in (b"one", b"two", b""):
            promise.equal("read_line()", await channel.read_line(), line)
    async with tell("read_until returns what is before the character, which is taken") as promise:
        promise.equal("read_until(b'=')", await channel.read_until(b"="), (True, b"key"))
        promise.equal("read_until(b';')", await channel.read_until(b";"), (True, b"value"))
    async with tell("read_some returns at most so many bytes") as promise:
        promise.equal("read_some(3)", await channel.read_some(3), b"123")
        promise.equal("read_some()", await channel.read_some(), b"4567")
    async with tell("a line over 65,536 bytes is a RemoteProtocolError") as promise, tasks.nursery() as writing:
        writing.start(peer.write(b"x" * (LINE + 5_000)))
        with promise.refuses("read_line()", RemoteProtocolError):
            await channel.read_line()
        writing.cancel()
    async with tell("at the end of file nothing is found, and nothing comes") as promise:
        await peer.close()
        while await channel.read_some():
            pass
        promise.equal("read_char()", await channel.read_char(), b"")
        promise.equal("read_some()", await channel.read_some(), b"")
        promise.equal("read_until(b';')", await channel.read_until(b";"), (False, b""))
    async with tell("close flushes, and closes the flow") as promise:
        channel.write_string("bye")
        await channel.close()
        promise.equal("read(), by the peer", await read_exactly(promise, peer, 3), b"bye")
        promise.equal("read(), by the peer, then", await peer.read(), b"")


@suite
async def check_console(tell: Tell, console: Console, printed: Callable[[], str] | None = None) -> None:
    """CONSOLE: printing never fails, whatever the text.

    `printed` returns all that the console has printed so far, as text; with it, lines are looked for there.
    """
    await tell.shape(Console, console)
    async with tell("log prints any text, and does not wait"):
        for text in TEXTS:
            console.log(text)
    async with tell("log_s prints any text"):
        for text in TEXTS:
            await console.log_s(text)
    async with tell("write and writev take any bytes"):
        await console.write(b"\xff\xfe raw\n")
        await console.writev([b"in ", b"", b"pieces\n"])
    if printed is None:
        return
    async with tell("what was printed is there, each text a line of its own, in order") as promise:
        console.log("first")
        await console.log_s("second")
        await console.write(b"thi")
        await console.write(b"rd\n")
        await tasks.sleep(ms(10))
        promise.equal("the last three lines", printed().splitlines()[-3:], ["first", "second", "third"])
    async with tell("log drops what does not fit, and does not fail"):
        for _ in range(20):
            console.log("y" * 9_999)
