"""suite: what makes a function of promises a check: it runs at once in a cell, and is awaited inside a unikernel.

    @suite
    async def check_kv_ro(tell: Tell, store: KvRo, values: Mapping[str, bytes]) -> None:
        async with tell("a value is read whole") as promise:
            for key, value in values.items():
                promise.equal(f"read({key!r})", await store.read(key), value)

A promise is kept when its block ends.  It is broken when something in it was not as expected, raised, or took more than a
minute of virtual time; then the story says so, with the place in the person's code.

Outside a world the check makes one of its own, or takes the one its devices live in (found through their attributes: a
`queue` or a `world`), and drives it until the story ends.  Inside a step of a world it only returns the story, to await.
"""

from __future__ import annotations

import builtins
import inspect
import re
import sys
import typing
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FunctionType, TracebackType
from typing import Any, Concatenate, Final, ParamSpec

from mirage_lab.runtime import RunQueue, World, tasks
from mirage_lab.runtime.driver import Driver
from mirage_lab.runtime.places import Place, explain, is_person, person_frames, plain_place
from mirage_lab.runtime.watchdog import GuestSpinning
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.testing.story import Broken, Story, short

__all__ = ["Promise", "Tell", "here", "suite"]

MINUTE: Final = seconds(60)
"""Virtual time a promise may take."""

STEPS: Final = 600_000
"""Events a check may take in a world that it drives itself: one that never waits would not let virtual time run out soon."""

SEARCHED: Final = 400
"""Objects looked at to find the world of a device."""

P = ParamSpec("P")


class Promise:
    """One promise, as a block.  `equal`, `true` and `refuses` end it when they are not met."""

    def __init__(self, tell: Tell, text: str, within: Ns) -> None:
        self.tell = tell
        self.text = text
        self.within = within
        self._timeout = tasks.timeout(within)
        self.place: Place = plain_place

    async def __aenter__(self) -> Promise:
        self.tell.story.now = self.text
        self.place = (await tasks.current()).queue.world.place
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except tasks.TimedOut:
            self.fail(f"came      nothing within {self.within / 1e9:g} s of virtual time", *self._where(error))
        if error is None:
            self.tell.story.step(self.text)
        elif isinstance(error, Exception) and not isinstance(error, Broken):
            self.fail(*self._raised(error))
        elif isinstance(error, GuestSpinning) and self.tell.alone:
            self.fail("came      nothing: it did not wait for anything, and did not end, for 1 s", *self._where(error))
        return False

    def equal(self, call: str, came: object, expected: object) -> None:
        """Break the promise unless `came`, what `call` gave, equals `expected`."""
        if came != expected:
            self.fail(f"call      {call}", f"expected  {short(expected)}", f"came      {short(came)}", *self.tell.method(call, self.place))

    def true(self, call: str, kept: object, came: object, expected: str) -> None:
        """Break the promise unless `kept`; `expected` says in words what should have come."""
        if not kept:
            self.fail(f"call      {call}", f"expected  {expected}", f"came      {short(came)}", *self.tell.method(call, self.place))

    @contextmanager
    def refuses(self, call: str, *errors: type[Exception]) -> Iterator[None]:
        """Break the promise unless what is inside raises one of `errors`."""
        names = " or ".join(error.__name__ for error in errors)
        try:
            yield
        except errors:
            return
        except Exception as other:
            self.fail(f"call      {call}", f"expected  {names}", *self._raised(other))
        self.fail(f"call      {call}", f"expected  {names}", "came      no error", *self.tell.method(call, self.place))

    def fail(self, *detail: str) -> typing.NoReturn:
        """Break the promise."""
        self.tell.story.fail(self.text, *detail)

    def _raised(self, error: Exception) -> list[str]:
        told = [f"raised    {explain(error, self.place)}"]
        if isinstance(error, TypeError) and "'await' expression" in str(error):
            told.append("way out   it is awaited, so it must be: async def ...")
        return told

    def _where(self, error: BaseException | None) -> list[str]:
        frames = person_frames(error) if error is not None else []
        if not frames:
            return []
        last = frames[-1]
        source = f": {last.line.strip()}" if last.line else ""
        return [f"where     {self.place(last.filename, last.lineno or 0)}, in {last.name}{source}"]


class Tell:
    """What a suite tells its promises to: `async with tell("bytes arrive") as promise:`."""

    def __init__(self, story: Story, devices: tuple[Any, ...], alone: bool) -> None:
        self.story = story
        self.devices = devices
        self.alone = alone

    def __call__(self, text: str, *, within: Ns = MINUTE) -> Promise:
        """Return the promise `text`, to be kept within so much virtual time."""
        return Promise(self, text, within)

    async def shape(self, signature: type[Any], *devices: Any) -> None:
        """Promise that the devices have all the names of a signature, plain ones plain."""
        async with self(f"it has all that {signature.module_type} asks for") as promise:
            for device in devices:
                missing = [name for name in names_of(signature) if not _has(device, name)]
                if missing:
                    promise.fail(f"missing   {', '.join(missing)}")
                for name in names_of(signature):
                    wanted = inspect.getattr_static(signature, name, None)
                    given = inspect.getattr_static(type(device), name, None)
                    if isinstance(wanted, FunctionType) and not inspect.iscoroutinefunction(wanted) and inspect.iscoroutinefunction(given):
                        promise.fail(f"expected  def {name}: nobody awaits it", f"came      async def {name}", *self.method(name, promise.place))

    def method(self, call: str, place: Place) -> list[str]:
        """Return a line that says where in the person's code the method of `call` is."""
        name = call.partition("(")[0]
        for device in self.devices:
            found = inspect.getattr_static(type(device), name, None)
            found = getattr(found, "fget", None) or getattr(found, "__func__", None) or found
            code = getattr(inspect.unwrap(found) if callable(found) else None, "__code__", None)
            if code is not None and is_person(code.co_filename):
                return [f"where     {type(device).__name__}.{name}, {place(code.co_filename, code.co_firstlineno)}"]
        return []


def names_of(signature: type[Any]) -> list[str]:
    """Return the names a signature asks for, those of its own signatures first."""
    names: dict[str, None] = {}
    for kind in reversed(signature.__mro__):
        if getattr(kind, "_is_protocol", False) and kind is not typing.Protocol:
            names.update(dict.fromkeys(name for name in vars(kind) if not name.startswith("_") and name != "module_type"))
    return list(names)


def _has(device: Any, name: str) -> bool:
    try:
        return getattr(device, name, None) is not None
    except Exception:
        return True  # it is there, and fails: the promise that uses it will tell


def suite(body: Callable[Concatenate[Tell, P], Coroutine[Any, Any, None]]) -> Callable[P, Story]:
    """Make a check of `body`: called in a cell it runs and returns its Story or raises Broken; in a unikernel, await it."""
    hints = typing.get_type_hints(body)
    module_types = {name: hint.module_type for name, hint in hints.items() if isinstance(getattr(hint, "module_type", None), str)}
    signature = inspect.signature(body)
    shown = signature.replace(parameters=list(signature.parameters.values())[1:], return_annotation="Story")

    @wraps(body)
    def check(*args: P.args, **kwargs: P.kwargs) -> Story:
        given = shown.bind(*args, **kwargs).arguments
        devices = tuple(given[name] for name in module_types if name in given)
        story = Story(f"{next(iter(module_types.values()))} of {type(devices[0]).__name__}")
        inside = _inside()
        coro = body(Tell(story, devices, not inside), *args, **kwargs)
        if inside:
            story.waiting = coro
        else:
            _drive(story, coro, devices)
        return story

    check.__signature__ = shown  # type: ignore[attr-defined]
    return check


def _inside() -> bool:
    """True when a world's step is running on this thread: whoever calls can await, and must not drive."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code is RunQueue._step.__code__:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _drive(story: Story, coro: Coroutine[Any, Any, None], devices: tuple[Any, ...]) -> None:
    """Run a suite in the world of its devices, or in one made for it, until its story ends."""
    found = _home(devices)
    if found is not None and found.journal.entries:
        coro.close()
        raise LocalProtocolError(f"{story.title}: the device lives in a lab: await the check inside a unikernel there")
    world = found or World(0)
    if found is None:
        world.place = here()
    queue = world.queue("check")
    queue.guest = True
    ended: list[BaseException | None] = []
    task = queue.spawn(coro, "check")
    task.on_end = lambda task, error: ended.append(error)
    events = world.events
    try:
        outcome = Driver(world).run(Ns(world.now + 60 * MINUTE), lambda: bool(ended) or world.events - events > STEPS, every=1)
        if outcome.stopped == "interrupt":
            raise KeyboardInterrupt
        if not ended:
            busy = world.events - events > STEPS
            why = f"did not end in {STEPS:,} steps of its world: does it ask again and again instead of waiting?" if busy else "waits for what never comes"
            story.fail(story.now or "the check ends", f"came      nothing: it {why}", *_waits(coro, world.place), *_also(world))
        if isinstance(ended[0], Broken):
            broken = ended[0]
            raise type(broken)(story, broken.promise, (*broken.detail, *_also(world))) from None
        if ended[0] is not None:
            raise ended[0]
    finally:
        queue.close()
        if found is None:
            world.close()


def _waits(coro: Any, place: Place) -> list[str]:
    """Return a line that says where in the person's code a coroutine waits, if it does there."""
    told: list[str] = []
    while (frame := getattr(coro, "cr_frame", None)) is not None:
        if is_person(frame.f_code.co_filename):
            told = [f"where     {place(frame.f_code.co_filename, frame.f_lineno)}, in {frame.f_code.co_name}"]
        coro = coro.cr_await
    return told


def _also(world: World) -> list[str]:
    """Return what the world reported meanwhile: a handler that crashed, something never awaited."""
    return [f"also      {report.text}" for report in world.take_reports()[:4]]


def _home(devices: tuple[Any, ...]) -> World | None:
    """Return the world the devices live in: the first found through their attributes, nearest first."""
    queue: list[Any] = list(devices)
    seen: set[int] = set()
    while queue and len(seen) < SEARCHED:
        thing = queue.pop(0)
        if isinstance(thing, World):
            return thing
        if isinstance(thing, RunQueue):
            return thing.world
        if id(thing) in seen or isinstance(thing, type | FunctionType | str | bytes | int | float):
            continue
        seen.add(id(thing))
        queue += getattr(thing, "__dict__", {}).values() if not isinstance(thing, dict | list | tuple) else ()
        for kind in type(thing).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            queue += [getattr(thing, name) for name in ([slots] if isinstance(slots, str) else slots) if hasattr(thing, name)]
    return None


def here() -> Place:
    """Return how places are named where this runs: cells of a notebook by their number, files by their name."""
    ipython = getattr(builtins, "get_ipython", lambda: None)()
    name_of = getattr(getattr(ipython, "compile", None), "format_code_name", None)

    def place(filename: str, line: int) -> str:
        named = name_of(filename) if name_of is not None else None
        number = re.search(r"\d+", named[1]) if named else None
        return f"cell {number[0]}, line {line}" if number else plain_place(filename, line)

    return place
