"""FLOW, CHANNEL, CONSOLE: each promise, and a device that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import ConnectionReset, RemoteProtocolError
from mirage_lab.testing import Story, check_channel, check_console, check_flow
from mirage_lab.testing.flows import LINE
from mirage_lab.testing.pipe import End, pipe

Prove = Callable[..., None]
Change = Callable[[Any], Any]


def flow(change: Change) -> Story:
    one, other = pipe()
    return check_flow(change(one), change(other))


async def backwards(flow: Any, data: bytes) -> None:
    await flow.write(data[::-1])


async def first_only(flow: Any, pieces: Any) -> None:
    await flow.write(pieces[0])


async def what_fits(flow: Any, data: bytes) -> None:
    await flow.write(data[:200_000])


async def nothing(flow: Any, *args: Any) -> None:
    """Do nothing, and say nothing."""


async def both_ways(flow: Any) -> None:
    await flow.close()
    flow._ended = True
    flow.peer._closed = True


async def silent(flow: Any, data: bytes) -> None:
    if not flow._closed:
        await flow.write(data)


def once() -> Any:
    """Return a read that fails after it has told the end of file."""
    told: list[Any] = []

    async def read(flow: Any) -> bytes:
        if flow in told:
            raise ConnectionReset("read at the end")
        data: bytes = await flow.read()
        if not data and flow._closed:
            told.append(flow)
        return data

    return read


def test_each_promise_of_a_flow(prove: Prove) -> None:
    prove(
        flow,
        [
            ("bytes arrive, in order", {"write": backwards}),
            ("writev is its pieces one after the other", {"writev": first_only}),
            ("much more than a buffer passes, both ways at once, in order", {"write": what_fits}),
            ("after close, and twice is once, the peer reads end of file", {"close": nothing}),
            ("the peer may still send", {"close": both_ways}),
            ("writing after close is Disconnected", {"write": silent}),
            ("when both have closed both read end of file, however often", {"read": once()}),
        ],
    )


class Reader:
    """CHANNEL on a flow: the reference double."""

    def __init__(self, flow: End) -> None:
        self.flow = flow
        self.inside = bytearray()
        self.outside = bytearray()

    def to_flow(self) -> End:
        return self.flow

    async def _more(self) -> bool:
        data = await self.flow.read()
        self.inside += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        taken = bytes(self.inside[:count])
        del self.inside[:count]
        return taken

    async def read_char(self) -> bytes:
        return self._take(1) if self.inside or await self._more() else b""

    async def read_some(self, length: int | None = None) -> bytes:
        if not self.inside:
            await self._more()
        return self._take(len(self.inside) if length is None else length)

    async def read_until(self, char: bytes) -> tuple[bool, bytes]:
        while char not in self.inside:
            if len(self.inside) > LINE:
                raise RemoteProtocolError("a line of more than 65,536 bytes")
            if not await self._more():
                return False, self._take(len(self.inside))
        found = self._take(self.inside.index(char) + 1)
        return True, found[:-1]

    async def read_line(self) -> bytes:
        _, line = await self.read_until(b"\n")
        return line.removesuffix(b"\r")

    def write_string(self, text: str) -> None:
        self.outside += text.encode()

    def write_buffer(self, data: bytes) -> None:
        self.outside += data

    def write_line(self, text: str) -> None:
        self.outside += text.encode() + b"\n"

    async def flush(self) -> None:
        await self.flow.write(bytes(self.outside))
        self.outside.clear()

    async def close(self) -> None:
        await self.flush()
        await self.flow.close()


def channel(change: Change) -> Story:
    one, other = pipe()
    return check_channel(change(Reader(one)), other)


def unbuffered(channel: Any, text: str) -> None:
    channel.write_string(text)
    channel.flow.peer._arrived += channel.outside
    channel.outside.clear()
    channel.flow.peer._changed.notify_all()


def latin(channel: Any, text: str) -> None:
    channel.write_buffer(text.encode("latin-1"))


async def two_chars(channel: Any) -> bytes:
    return bytes(await channel.read_char() + await channel.read_char())


async def with_cr(channel: Any) -> bytes:
    return bytes((await channel.read_until(b"\n"))[1])


async def left_there(channel: Any, char: bytes) -> tuple[bool, bytes]:
    found, data = await channel.read_until(char)
    if found:
        channel.inside[:0] = char
    return found, data


async def all_of_it(channel: Any, length: int | None = None) -> bytes:
    return bytes(await channel.read_some())


async def any_length(channel: Any) -> bytes:
    while b"\n" not in channel.inside and len(channel.inside) < LINE + 5_000:
        await channel._more()
    if b"\n" in channel.inside:
        return bytes(await channel.read_line())
    return bytes(channel._take(LINE + 5_000))


async def found_at_end(channel: Any, char: bytes) -> tuple[bool, bytes]:
    return True, (await channel.read_until(char))[1]


async def close_only(channel: Any) -> None:
    await channel.flow.close()


def test_each_promise_of_a_channel(prove: Prove) -> None:
    prove(
        channel,
        [
            ("writes are only buffered until flush", {"write_string": unbuffered}),
            ("flush writes the buffer to the flow, in order, text as UTF-8 and lines ended", {"write_string": latin}),
            ("read_char returns one byte", {"read_char": two_chars}),
            ("read_line returns a line without its CRLF or LF", {"read_line": with_cr}),
            ("read_until returns what is before the character, which is taken", {"read_until": left_there}),
            ("read_some returns at most so many bytes", {"read_some": all_of_it}),
            ("a line over 65,536 bytes is a RemoteProtocolError", {"read_line": any_length}),
            ("at the end of file nothing is found, and nothing comes", {"read_until": found_at_end}),
            ("close flushes, and closes the flow", {"close": close_only}),
        ],
    )


class Paper:
    """CONSOLE on a string, with room for 100,000 characters: the reference double."""

    id = "paper"

    def __init__(self) -> None:
        self.text = ""

    def log(self, text: str) -> None:
        if len(self.text) + len(text) < 100_000:
            self.text += text + "\n"

    async def log_s(self, text: str) -> None:
        self.text += text + "\n"

    async def write(self, data: bytes) -> None:
        self.text += data.decode("latin-1")

    async def writev(self, pieces: Any) -> None:
        await self.write(b"".join(pieces))

    async def read(self) -> bytes:
        await tasks.Condition().wait()
        return b""

    async def close(self) -> None:
        """A console stays open."""

    async def disconnect(self) -> None:
        """A console stays connected."""


def console(change: Change) -> Story:
    paper = Paper()
    return check_console(change(paper), lambda: paper.text)


def strict(console: Any, text: str) -> None:
    text.encode()
    console.log(text)


async def strict_s(console: Any, text: str) -> None:
    strict(console, text)


async def utf8(console: Any, data: bytes) -> None:
    await console.write(data.decode().encode("latin-1"))


def unended(console: Any, text: str) -> None:
    console.text += text


def proud(console: Any, text: str) -> None:
    if len(console.text) + len(text) > 100_000:
        raise MemoryError("full")
    console.log(text)


def test_each_promise_of_a_console(prove: Prove) -> None:
    prove(
        console,
        [
            ("log prints any text, and does not wait", {"log": strict}),
            ("log_s prints any text", {"log_s": strict_s}),
            ("write and writev take any bytes", {"write": utf8}),
            ("what was printed is there, each text a line of its own, in order", {"log": unended}),
            ("log drops what does not fit, and does not fail", {"log": proud}),
        ],
    )
