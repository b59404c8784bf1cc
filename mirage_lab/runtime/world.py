"""World: one seed, one virtual clock, one heap of deadlines.

Who may touch what: `now`, `cause` and `events` are set here only, while an event is handled.  Everything else schedules
with `call_at` or through a `RunQueue`.  Host callbacks run outside events and may only `submit`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any

from mirage_lab.runtime import clock
from mirage_lab.runtime.costs import HOST_TICK
from mirage_lab.runtime.host import HostSelector
from mirage_lab.runtime.journal import Entry, Journal, ReplayDiverged
from mirage_lab.runtime.places import Place, Report, plain_place
from mirage_lab.runtime.runqueue import RunQueue
from mirage_lab.runtime.watchdog import Watchdog
from mirage_lab.signatures.units import Ns
from mirage_lab.tracing.recorder import Recorder

__all__ = ["Timer", "World"]

Handler = Callable[..., Any]

REPORTS = 200
"""Reports a world keeps until somebody takes them."""


class Timer:
    """A deadline: `fn(*args)` at `when`, with the cause of the moment it was set."""

    __slots__ = ("_world", "args", "cause", "fn", "when")

    def __init__(self, world: World, when: Ns, fn: Handler, args: tuple[Any, ...], cause: int) -> None:
        self._world = world
        self.when = when
        self.fn: Handler | None = fn
        self.args = args
        self.cause = cause

    def cancel(self) -> None:
        """Never fire.  Cancelling twice, or after it fired, does nothing."""
        if self.fn is not None:
            self.fn = None
            self.args = ()
            self._world._forget_cancelled()

    @property
    def pending(self) -> bool:
        """True until it fires or is cancelled."""
        return self.fn is not None


class World:
    """A deterministic world: same seed and same journal, same events and same bytes."""

    def __init__(self, seed: int = 0, *, epoch_ns: int = clock.EPOCH, recorder: Recorder | None = None) -> None:
        self.seed = seed
        self.epoch_ns = epoch_ns
        self.now = Ns(0)
        self.cause = 0
        self.events = 0
        self.recorder = recorder if recorder is not None else Recorder()
        self.journal = Journal()
        self.host = HostSelector()
        self.host_connections = 0
        self.live = True
        self.reproducible = True
        self.reports: list[Report] = []
        self.place: Place = plain_place
        self.watchdog = Watchdog()
        self.stepping: RunQueue | None = None
        self.stopped: object = None
        """Why a debugger has the world stand still, after an event or within one that was put back; whoever drives looks at it."""
        self._heap: list[tuple[Ns, int, Timer]] = []
        self._order = 0
        self._cancelled = 0
        self._rngs: dict[str, random.Random] = {}
        self._handlers: dict[str, Handler] = {}
        self._submitted: list[tuple[str, dict[str, Any]]] = []

    def __repr__(self) -> str:
        return f"<World seed={self.seed} t={clock.show(self.now)} events={self.events}>"

    # chance and time ---------------------------------------------------------------------------------------------

    def rng(self, name: str) -> random.Random:
        """Return the stream of chance of the component `name`: its own, from the seed; the same object each time."""
        found = self._rngs.get(name)
        if found is None:
            digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
            found = self._rngs[name] = random.Random(int.from_bytes(digest, "big"))  # noqa: S311 - a simulation's chance
        return found

    def call_at(self, when: Ns, fn: Handler, *args: Any) -> Timer:
        """Call `fn(*args)` at virtual time `when` (a past one: now), after what is already due then."""
        if when < self.now:
            when = self.now
        timer = Timer(self, when, fn, args, self.cause)
        self._order = order = self._order + 1
        heappush(self._heap, (when, order, timer))
        return timer

    def put_back(self, fn: Handler) -> None:
        """Within an event that was cut short: it has not happened yet, and `fn()` goes on with it before anything else happens."""
        timer = Timer(self, self.now, fn, (), self.cause)
        self._order += 1
        heappush(self._heap, (self.now, -self._order, timer))
        self.events -= 1

    def queue(self, name: str) -> RunQueue:
        """Return a new run queue: one vCPU."""
        return RunQueue(self, name)

    def _forget_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled > 1_000 and self._cancelled * 2 > len(self._heap):
            self._heap = [row for row in self._heap if row[2].fn is not None]
            heapify(self._heap)
            self._cancelled = 0

    @property
    def next_deadline(self) -> Ns | None:
        """When the next event is due; None in a world where nothing will happen by itself."""
        heap = self._heap
        while heap and heap[0][2].fn is None:
            heappop(heap)
            self._cancelled = max(0, self._cancelled - 1)
        return heap[0][0] if heap else None

    # moving on ---------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Handle one event; False when there is none."""
        self.stopped = None
        if self.next_deadline is None:
            return False
        when, _, timer = heappop(self._heap)
        fn, args = timer.fn, timer.args
        assert fn is not None
        self.now = when
        self.cause = timer.cause
        self.events += 1
        timer.fn = None
        try:
            fn(*args)
        finally:
            self.cause = 0
        return True

    def advance(self, until: Ns, stop: Callable[[], bool] | None = None, every: int = 256) -> bool:
        """Handle all events due up to `until` and set the clock there; submitted host input enters at its tick.

        `stop()` is asked after each `every` events; True ends the call early, between two events, as `stopped` does.
        Returns whether `until` was reached.
        """
        self.stopped = None
        while True:
            limit, tick = until, None
            if self._submitted:
                tick = Ns(-(-self.now // HOST_TICK) * HOST_TICK)
                limit = min(until, tick)
            if not self._drain(limit, stop, every):
                return False
            if tick is None or tick > until:
                break
            self.now = max(self.now, tick)
            self._apply_submitted()
        self.now = max(self.now, until)
        return True

    def _drain(self, limit: Ns, stop: Callable[[], bool] | None, every: int) -> bool:
        left = every
        try:
            while (heap := self._heap) and heap[0][0] <= limit:
                when, _, timer = heappop(heap)
                fn = timer.fn
                if fn is None:
                    if self._cancelled:
                        self._cancelled -= 1
                    continue
                self.now = when
                self.cause = timer.cause
                self.events += 1
                timer.fn = None
                fn(*timer.args)
                if self.stopped is not None:
                    return False
                if stop is not None:
                    left -= 1
                    if left <= 0:
                        left = every
                        if stop():
                            return False
        finally:
            self.cause = 0
        return True

    # from outside ------------------------------------------------------------------------------------------------

    def on_command(self, name: str, handler: Handler) -> None:
        """Name the handler of a command; live and replayed commands both go to it."""
        self._handlers[name] = handler

    def command(self, name: str, /, **args: Any) -> Any:
        """Apply a command now, between two events, and journal it.  What the handler refuses is not journalled."""
        entry = Entry(self.events, self.now, name, args)
        self.journal.entries.append(entry)
        self.cause = 0
        try:
            return self._handlers[name](**args)
        except BaseException:
            self.journal.entries.remove(entry)
            raise

    def submit(self, name: str, /, **args: Any) -> None:
        """Hand in host input; it is applied, and journalled, at the next 1 ms tick of virtual time."""
        self._submitted.append((name, args))

    @property
    def has_submitted(self) -> bool:
        """True while host input waits for its tick."""
        return bool(self._submitted)

    def _apply_submitted(self) -> None:
        waiting, self._submitted = self._submitted, []
        for name, args in waiting:
            self.journal.note_outside(Entry(self.events, self.now, name, args, outside=True))
            self._handlers[name](**args)

    def replay(self, entries: Iterable[Entry]) -> None:
        """Apply journalled commands, each after the same number of events and at the same time as the first time.

        Raises ReplayDiverged when the events needed do not come.  The caller has set `live` to False.
        """
        for entry in entries:
            self.run_to(entry.event, entry.t)
            self.journal.entries.append(entry)
            self._handlers[entry.name](**entry.args)

    def run_to(self, event: int, t: Ns) -> None:
        """Handle events until `event` have been handled, then set the clock to `t`."""
        while self.events < event:
            due = self.next_deadline
            if due is None or due > t:
                raise ReplayDiverged(
                    f"replay diverged at event {self.events}: the journal has {event} events by t = {clock.show(t)}; "
                    "does a unikernel keep state outside its arguments?"
                )
            self.step()
        due = self.next_deadline
        if self.now > t or (due is not None and due < t):
            raise ReplayDiverged(f"replay diverged at event {self.events}: t = {clock.show(self.now)} is not {clock.show(t)}")
        self.now = t

    def report(self, source: str, text: str) -> None:
        """Keep a message for the person at the keyboard; whoever drives the world shows it."""
        if len(self.reports) < REPORTS:
            self.reports.append(Report(self.now, source, text))

    def take_reports(self) -> list[Report]:
        """Return the messages not yet shown, and forget them."""
        taken, self.reports = self.reports, []
        return taken

    def close(self) -> None:
        """Give back what the host lent: the selector and the watchdog's thread."""
        self.live = False
        self.watchdog.close()
        self.host.close()
