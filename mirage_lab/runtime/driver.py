"""Driver: moves a world forward, as fast as it can or paced by wall time.

One driver moves a world at a time.  `run` drives on the calling thread until a virtual time, an event or Ctrl-C; while a
host connection is open it never runs ahead of elapsed wall time, so that a real program is served as by a real machine.
`Player` drives from a thread of its own, holding the world's lock for slices of a few milliseconds.

Ctrl-C sets a flag that is read between two events: the world is always whole.
"""

from __future__ import annotations

import linecache
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CoroutineType, FrameType
from typing import Any, Final

from mirage_lab.runtime.host import monotonic_ns
from mirage_lab.runtime.places import is_person
from mirage_lab.runtime.turns import Turns
from mirage_lab.runtime.world import World
from mirage_lab.signatures.units import Ns

__all__ = ["Driver", "Outcome", "Player"]

SLICE: Final = Ns(8_000_000)
"""Host time between two looks at the host's sockets."""

LAG: Final = Ns(50_000_000)
"""A paced world that fell behind catches up by this much at a time and lets the rest go."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `stopped` is "until", "event", "interrupt" or "break" (a debugger)."""

    started: Ns
    ended: Ns
    events: int
    stopped: str


class _Interrupt:
    """SIGINT as a flag, while the main thread drives."""

    def __init__(self) -> None:
        self.set = False

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        self.set = True

    @contextmanager
    def deferred(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        try:
            before = signal.signal(signal.SIGINT, self._on_sigint)
        except ValueError:  # a main thread without signals (an embedded interpreter)
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class Driver:
    """Drives one world on the calling thread.  `on_progress(now)` is called about ten times a second."""

    def __init__(self, world: World, on_progress: Callable[[Ns], None] | None = None) -> None:
        self.world = world
        self.on_progress = on_progress
        self.interrupt = _Interrupt()

    def run(self, until: Ns, stop: Callable[[], bool] | None = None, *, every: int = 256) -> Outcome:
        """Run to virtual time `until`, or until `stop()`, asked after each `every` events, or Ctrl-C."""
        world = self.world
        started, events = world.now, world.events
        why = "until"
        with self.interrupt.deferred(), watched_awaits(world):
            pace = _Pace(world)
            while True:
                why = self._slice(pace.limit(until), stop, every)
                if why != "until" or world.now >= until:
                    break
                self._serve_host(pace, until)
                if self.interrupt.set:
                    why = "interrupt"
                    break
        self.interrupt.set = False
        return Outcome(started, world.now, world.events - events, why)

    def _slice(self, limit: Ns, stop: Callable[[], bool] | None, every: int) -> str:
        end = monotonic_ns() + SLICE
        why = "until"

        def enough() -> bool:
            nonlocal why
            if self.interrupt.set:
                why = "interrupt"
            elif stop is not None and stop():
                why = "event"
            elif monotonic_ns() >= end:
                why = "slice"
            else:
                return False
            return True

        reached = self.world.advance(limit, enough, every)
        if self.world.stopped is not None:
            why = "break"
        elif reached and why == "until" and stop is not None and stop():
            return "event"
        if self.on_progress is not None:
            self.on_progress(self.world.now)
        return "until" if why == "slice" else why

    def _serve_host(self, pace: _Pace, until: Ns) -> None:
        host = self.world.host
        if pace.paced:
            host.dispatch(host.select(pace.idle_time(until)))
        else:
            host.poll()


class _Pace:
    """How far a world may go: freely, or (with host connections open) as far as wall time has gone."""

    def __init__(self, world: World, speed: float | None = None) -> None:
        self.world = world
        self.speed = speed
        self.paced = False
        self._wall = monotonic_ns()
        self._virtual = world.now

    def limit(self, until: Ns) -> Ns:
        world = self.world
        paced = self.speed is not None or world.host_connections > 0
        wall = monotonic_ns()
        if not paced:
            self.paced = False
            return until
        speed = self.speed or 1.0
        most = int(LAG * max(speed, 1.0))
        due = Ns(self._virtual + int((wall - self._wall) * speed))
        if not self.paced:
            self.paced = True
            self._wall, self._virtual = wall, world.now
            due = world.now
        elif due - world.now > most:
            due = Ns(world.now + most)
            self._wall, self._virtual = wall, due
        return min(until, max(due, world.now))

    def idle_time(self, until: Ns) -> Ns:
        """Return host time until something is due in the world: 0 when it is behind, 10 ms at most."""
        world = self.world
        if world.has_submitted:
            return Ns(1_000_000)
        due = world.next_deadline
        target = until if due is None else min(due, until)
        ahead = (target - self._virtual) / (self.speed or 1.0) - (monotonic_ns() - self._wall)
        return Ns(min(max(int(ahead), 0), 10_000_000))


class Player:
    """Drives a world from a thread: `speed` virtual seconds a second.  `on_stop` is told when it ends by itself."""

    def __init__(self, world: World, lock: Turns, speed: float = 1.0) -> None:
        self.world = world
        self.lock = lock
        self.speed = speed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: BaseException | None = None

    @property
    def playing(self) -> bool:
        """True while the thread drives."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to play."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._play, name="mirage_lab-player", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop between two events; waits for the slice under way."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _slice_ends(self, end: Ns) -> Callable[[], bool]:
        return lambda: monotonic_ns() >= end or self._stop.is_set()

    def _give_way(self) -> None:
        """Let those who wait for the lock have it, for as long as they come (a tenth of a second at most)."""
        patience = 100
        while self.lock.wanted and patience and not self._stop.wait(0.001):
            patience -= 1

    def _play(self) -> None:
        world = self.world
        pace = _Pace(world, self.speed)
        forever = Ns(1 << 62)
        try:
            while not self._stop.is_set():
                with self.lock, watched_awaits(world):
                    world.advance(pace.limit(forever), self._slice_ends(Ns(monotonic_ns() + SLICE)), 32)
                    if world.stopped is not None:
                        world.report("lab", f"stopped: {world.stopped}")
                        break
                    idle = pace.idle_time(forever)
                ready = world.host.select(idle)
                with self.lock:
                    if not self._stop.is_set():
                        world.host.dispatch(ready)
                self._give_way()
        except BaseException as error:
            self.error = error
            world.report("lab", f"playing stopped: {type(error).__name__}: {error}")


@contextmanager
def watched_awaits(world: World) -> Iterator[None]:
    """Tell of coroutines that the person's code made and never awaited, while this thread drives the world."""
    driving = threading.get_ident()
    before: Callable[[Any], None] = warnings._warn_unawaited_coroutine  # type: ignore[attr-defined]
    depth = sys.get_coroutine_origin_tracking_depth()

    def unawaited(coro: CoroutineType[Any, Any, Any]) -> None:
        origin = coro.cr_origin
        if threading.get_ident() != driving or not origin or not is_person(origin[0][0]):
            before(coro)
            return
        filename, line, _ = origin[0]
        source = linecache.getline(filename, line).strip()
        called = re.search(rf"[\w.]*\b{re.escape(coro.__name__)}(?=\()", source)
        call = called[0] if called else source.split("(", 1)[0].strip() or coro.__qualname__
        nothing = "nothing was sent" if call.rpartition(".")[2].startswith("write") else "it did not run"
        queue = world.stepping
        world.report(
            queue.name if queue is not None else "lab",
            f"{call}(...) was never awaited ({world.place(filename, line)}): {nothing}",
        )

    warnings._warn_unawaited_coroutine = unawaited  # type: ignore[attr-defined]
    sys.set_coroutine_origin_tracking_depth(1)
    try:
        yield
    finally:
        warnings._warn_unawaited_coroutine = before  # type: ignore[attr-defined]
        sys.set_coroutine_origin_tracking_depth(depth)
