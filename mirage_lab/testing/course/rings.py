"""Exercises of 13-rings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mirage_lab.runtime import World
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.story import Story
from mirage_lab.xen.abi.io import ring

__all__ = ["check_consume", "check_must_notify", "check_slots"]

WORD: Final = 1 << 32
SLOT: Final = 12


def _called(told: Story, function: Callable[..., Any], *args: Any) -> Any:
    """Return what the learner's function returns; what it raises breaks the story."""
    try:
        return function(*args)
    except Exception as error:
        told.fail("it does not raise", f"with {', '.join(map(repr, args))[:80]}: {type(error).__name__}: {error}")


@exercise
def check_slots(slots: Any) -> Story:
    """`slots(size)`: how many slots of a size one page of a ring holds."""
    told = story("slots in a page")
    told.true("it is a function of a size", callable(slots), f"there is {slots!r}")
    for size in (8, 12, 112, 16, 1_000):
        came = _called(told, slots, size)
        what = "a power of two" if isinstance(came, int) and came > 0 and came & (came - 1) == 0 else "no power of two"
        told.true(f"slots of {size} bytes", came == ring.entries(size), f"slots({size}) is {came!r}, {what}")
    return told


@exercise
def check_must_notify(must: Any) -> Story:
    """`must(old, new, event)`: must the other side be rung when the producer moved from `old` to `new`?"""
    told = story("to ring or not to ring")
    told.true("it is a function of three indices", callable(must), f"there is {must!r}")
    cases = (
        ("the other side waits for the first", 0, 1, 1),
        ("it waits for a later one", 0, 1, 5),
        ("it waits for one in the middle of what was added", 10, 20, 15),
        ("it has been told already", 15, 20, 15),
        ("the indices run past the end of 32 bits", WORD - 2, 3, 1),
        ("and it waits for one before the end", WORD - 2, 3, WORD - 1),
        ("and it has been told before the end", 1, 3, WORD - 1),
        ("and it waits for a later one", WORD - 2, 3, 10),
    )
    for what, old, new, event in cases:
        came = _called(told, must, old, new, event)
        told.true(what, bool(came) == ring.must_notify(old, new, event), f"must({old}, {new}, {event}) is {came!r}")
    rng = World(13).rng("rings")
    for _ in range(300):
        old = rng.randrange(WORD)
        new, event = (old + rng.randrange(1, 300)) % WORD, (old + rng.randrange(-300, 600)) % WORD
        if bool(_called(told, must, old, new, event)) != ring.must_notify(old, new, event):
            told.fail("three hundred others", f"must({old}, {new}, {event}) is {must(old, new, event)!r}")
    told.step("three hundred others")
    return told


def _page(requests: list[int], first: int, prod: int | None = None) -> memoryview:
    """A page whose ring holds requests of one number each, from index `first` on."""
    page = memoryview(bytearray(4096))
    ring.init(page)
    count = ring.entries(SLOT)
    for index, number in enumerate(requests, first):
        at = ring.ENTRIES + (index & (count - 1)) * SLOT
        page[at : at + 4] = number.to_bytes(4, "little")
    ring.INDEX.pack_into(page, ring.REQ_PROD, (first + len(requests)) % WORD if prod is None else prod)
    return page


@exercise
def check_consume(consume: Any) -> Story:
    """`consume(page, cons)`: (the numbers of all new requests, the new consumer index); a ring that lies is a ValueError."""
    told = story("a back end that looks, and believes nothing")
    told.true("it is a function of a page and an index", callable(consume), f"there is {consume!r}")
    for what, requests, first in (
        ("an empty ring", [], 0),
        ("one request", [7], 0),
        ("all that are there, in order", [3, 1, 4, 1, 5], 0),
        ("a ring that begins again at its first slot", [9, 8, 7, 6], 254),
        ("indices that run past the end of 32 bits", [1, 2, 3, 4], WORD - 2),
    ):
        came = _called(told, consume, _page(requests, first), first)
        wanted = (requests, (first + len(requests)) % WORD)
        there = isinstance(came, tuple) and len(came) == 2
        told.true(what, there and (list(came[0]), came[1]) == wanted, f"expected  {wanted}", f"came      {came!r:.200}")
    try:
        came = consume(_page([1], 0, prod=5_000), 0)
    except ValueError:
        told.step("a producer 5,000 requests ahead is a ValueError")
    except Exception as error:
        told.fail("a producer 5,000 requests ahead is a ValueError", f"raised    {type(error).__name__}: {error}")
    else:
        told.fail("a producer 5,000 requests ahead is a ValueError", f"came      {len(came[0])} requests: there are {ring.entries(SLOT)} slots")
    return told
