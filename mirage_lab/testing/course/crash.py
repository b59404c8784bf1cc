"""Exercises of 10-the-2014-crash, and its exhibit: the option parser of mirage-tcpip 1.1.5, by its rule, in a machine that runs it.

    mirage-tcpip, issue 56, 2014-07-01: a SYN with the options 01 02 00 00 to an open port.  `Options.unmarshal` walked them
    with `Cstruct.iter`, by the length each option gives of itself: a length of 0 never advances, and a list grows.

The exhibit is no part of a stack: a unikernel that has it is one that was asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Console, unikernel
from mirage_lab.signatures.network import Network
from mirage_lab.signatures.units import ms, seconds
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.story import Story, short

__all__ = ["OutOfMemory", "check_hostile", "check_parser", "check_total", "options_2014", "shooter", "unikernel_2014"]

HEAP: Final = 10_000
"""Elements the exhibit's list may have: its memory.  A unikernel of 2014 had some millions, and was as surely dead."""
STEPS: Final = 1_000
SYN: Final = 2

Read = Callable[[bytes], list[tuple[int, bytes]]]


class OutOfMemory(Exception):
    """The heap of the exhibit is full."""


def options_2014(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, value) of each option as `Options.unmarshal` did; where a length is 0 this never ends."""
    at = 0
    while at < len(raw) and raw[at] != 0:
        kind = raw[at]
        length = 1 if kind == 1 else raw[at + 1]
        yield kind, raw[at + 2 : at + length]
        at += length


@unikernel
async def unikernel_2014(console: Console, net: Network) -> None:
    """The exhibit: reads the options of each SYN that it hears by `options_2014`, into a list."""
    waiting: list[bytes] = []
    net.listen(waiting.append)
    console.log("listening on port 80")
    while True:
        while waiting:
            frame = waiting.pop(0)
            if len(frame) >= 54 and frame[12:14] == b"\x08\x00" and frame[23] == 6 and frame[47] & SYN:
                heard: list[tuple[int, bytes]] = []
                for option in options_2014(frame[54 : 34 + (frame[46] >> 4) * 4]):
                    heard.append(option)
                    if len(heard) == HEAP:
                        for line in ("mm.c: Cannot handle page request order 8!", "Fatal error: out of memory."):
                            console.log(line)
                        raise OutOfMemory(f"{HEAP:,} options in a header of {(frame[46] >> 4) * 4} bytes")
                console.log(f"a SYN; options: {len(heard)}")
        await tasks.sleep(ms(1))


@unikernel
async def shooter(console: Console, net: Network, *, frame: str) -> None:
    """Sends one frame, given in hexadecimal digits, as it is, and once more to everyone; and ends."""
    raw = bytes.fromhex(frame)
    net.write(raw)
    net.write(b"\xff" * 6 + raw[6:])
    console.log(f"sent {len(frame) // 2} bytes")
    await tasks.sleep(seconds(1))


def _read(read: Read, raw: bytes, steps: list[int]) -> object:
    """Return what `read` says of `raw`, or the exception it raised; `steps` counts looks at the bytes, STEPS at most."""

    class Watched(bytes):
        def __getitem__(self, key: object) -> int | bytes:  # type: ignore[override]
            steps[0] += 1
            if steps[0] > STEPS:
                raise _Endless
            part: int | bytes = super().__getitem__(key)  # type: ignore[call-overload]
            return part if isinstance(part, int) else Watched(part)

    try:
        return read(Watched(raw))
    except Exception as error:
        return error


class _Endless(BaseException):
    """It looked at four bytes a thousand times."""


def _says(told: Story, what: str, read: Read, raw: bytes, truth: object) -> None:
    """Claim that `read(raw)` ends and answers `truth`: a list, or ValueError."""
    try:
        came = _read(read, raw, [0])
    except _Endless:
        came = "no end"
    shown = f"{type(came).__name__}: {came}" if isinstance(came, Exception) else short(came)
    told.true(f"{what}: it ends", came != "no end", f"raw       {raw.hex(' ')}", f"it looked at these {len(raw)} bytes {STEPS:,} times")
    same = isinstance(came, ValueError) if truth is ValueError else came == truth
    told.true(f"{what}: it {'refuses' if truth is ValueError else 'reads them'}", same, f"raw       {raw.hex(' ')}", f"came      {shown}")


class Machine(Protocol):
    """A handle of a domain, as `lab.create` returns it."""

    name: str

    @property
    def state(self) -> str:
        """Paused, running, blocked, crashed, shutdown or gone."""

    def events(self, pattern: str = "*") -> Sequence[Dropped]:
        """Its events."""


class Dropped(Protocol):
    """A record of the event tcp.drop."""

    @property
    def fields(self) -> dict[str, object]:
        """Its fields: reason, text."""


@exercise
def check_hostile(vm: Machine) -> Story:
    """A segment of the learner's own that is refused though each length advances and stays inside; the machine goes on."""
    told = story("a lie about a length, inside the header")
    drops = [str(event.fields.get("text")) for event in vm.events("tcp.drop") if event.fields["reason"] == "malformed"]
    told.true("the machine has dropped something as malformed", drops, f"{vm.name} dropped nothing yet")
    last = f"it said: {drops[-1]}"
    told.true("it dropped something that does not reach past the header, and advances", any("its kind has" in text for text in drops), last)
    told.true("and is alive", vm.state in ("running", "blocked"), f"its state is {vm.state!r}")
    return told


@exercise
def check_parser(read: object) -> Story:
    """A parser `read(raw) -> [(kind, value), ...]` that raises ValueError for what is no list of options, and always ends."""
    told = story("a bounded parser")
    told.true("there is a function", callable(read), "nothing is there yet: replace the dots")
    assert callable(read)
    _says(told, "no options", read, b"", [])
    _says(told, "a maximum segment size", read, b"\x02\x04\x05\xb4", [(2, b"\x05\xb4")])
    _says(told, "padding, then a window scale", read, b"\x01\x03\x03\x07", [(3, b"\x07")])
    _says(told, "a kind nobody knows", read, b"\xfd\x04ab\x03\x03\x02\x00", [(0xFD, b"ab"), (3, b"\x02")])
    _says(told, "the end of the list comes first", read, b"\x00\x02\x00\x00", [])
    _says(told, "a length of 0", read, b"\x01\x02\x00\x00", ValueError)
    _says(told, "a length of 1", read, b"\x01\x02\x01\x00", ValueError)
    _says(told, "a length beyond the end", read, b"\x02\x05\x05\xb4", ValueError)
    _says(told, "a kind whose length is cut off", read, b"\x01\x01\x01\x02", ValueError)
    return told


@exercise
def check_total(least: object) -> Story:
    """The most options that a parser can find in any header: its bound, as a number."""
    told = story("the bound")
    told.true("a number is given", isinstance(least, int) and not isinstance(least, bool), "nothing is there yet: replace the dots")
    assert isinstance(least, int)
    hint = "how long may a header be, by four bits that count words of four bytes, and how much of it is no option?"
    told.true("no header has room for more", least >= 40, f"there is one with more than {least}", hint)
    told.true("and there is one with so many", least <= 40, f"none has {least}", hint)
    return told
