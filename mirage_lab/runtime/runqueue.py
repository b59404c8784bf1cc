"""RunQueue: one vCPU.  Tasks and handlers of a domain run here, one step at a time, and pay for it in virtual time.

A step is one call of a posted handler, or one task run until it waits.  The next step is due when the last has been paid
for (`costs.STEP` plus what `charge` added).  Within a step everything is synchronous at `world.now`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mirage_lab.runtime import costs
from mirage_lab.runtime.places import explain, person_frames
from mirage_lab.runtime.tasks import Cancelled, Task
from mirage_lab.runtime.watchdog import GuestSpinning
from mirage_lab.signatures.units import Ns
from mirage_lab.tracing.recorder import Kind

if TYPE_CHECKING:
    from mirage_lab.runtime.world import Timer, World

__all__ = ["RunQueue"]


class RunQueue:
    """One vCPU: what a domain, or a component with a life of its own, is given as its operating system."""

    __slots__ = (
        "_again",
        "_cost",
        "_ready",
        "_scheduled",
        "closed",
        "devices",
        "free_at",
        "guest",
        "name",
        "on_crash",
        "on_idle",
        "paused",
        "steps",
        "tasks",
        "world",
    )

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.guest = False
        self.paused = False
        self.closed = False
        self.steps = 0
        self.free_at = Ns(0)
        self.tasks: dict[Task[Any], None] = {}
        self.devices: dict[str, Any] = {}
        """What was connected here, by the name it has in its description: filled by whoever connects, read by views."""
        self.on_crash: Callable[[Task[Any], BaseException], None] = self.report_crash
        self.on_idle: Callable[[], None] | None = None
        self._ready: deque[tuple[Callable[..., Any], tuple[Any, ...], int]] = deque()
        self._scheduled = False
        self._cost = 0
        self._again: Callable[[], Any] | None = None

    def __repr__(self) -> str:
        state = "closed" if self.closed else "paused" if self.paused else "running"
        return f"<RunQueue {self.name} {state} tasks={len(self.tasks)} steps={self.steps}>"

    @property
    def now(self) -> Ns:
        """Virtual time."""
        return self.world.now

    def rng(self, name: str) -> random.Random:
        """Return the stream of chance `name` of this domain."""
        return self.world.rng(f"{self.name}/{name}")

    def kind(self, name: str) -> Kind:
        """Return the event kind `name` of the world's recorder."""
        return self.world.recorder.kind(name)

    # what runs here ----------------------------------------------------------------------------------------------

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str = "") -> Task[Any]:
        """Start a task; its first step comes after what is already waiting."""
        if self.closed:
            coro.close()
            raise RuntimeError(f"{self.name}: its run queue is closed; nothing can be started on it")
        task = Task(self, coro, name or getattr(coro, "__qualname__", "task"))
        self.tasks[task] = None
        task.make_ready()
        return task

    def post(self, fn: Callable[..., Any], *args: Any) -> None:
        """Run `fn(*args)` as one step (an upcall, a back end's work)."""
        if self.closed:
            return
        self._ready.append((fn, args, self.world.cause))
        if not self._scheduled and not self.paused:
            self._schedule()

    def call_at(self, when: Ns, fn: Callable[..., Any], *args: Any) -> Timer:
        """Run `fn(*args)` as a step of this queue at `when`."""
        return self.world.call_at(when, self.post, fn, *args)

    def call_later(self, delay: Ns, fn: Callable[..., Any], *args: Any) -> Timer:
        """Run `fn(*args)` as a step of this queue in `delay`."""
        world = self.world
        return world.call_at(Ns(world.now + delay), self.post, fn, *args)

    def again(self, fn: Callable[[], Any]) -> None:
        """Within a step: run `fn` as another, when this one has been paid for (a CPU that goes on)."""
        self._again = fn

    def put_back(self, fn: Callable[[], Any]) -> None:
        """Within a step that was cut short (a debugger): `fn` goes on with it, as if nothing had been; it costs when it is whole."""
        self._ready.appendleft((fn, (), self.world.cause))
        self._scheduled = True
        self.steps -= 1
        self._cost = 0
        self.world.put_back(self._step)

    def charge(self, cost: Ns) -> None:
        """Make the running step cost `cost` more."""
        self._cost += cost

    @property
    def charged(self) -> Ns:
        """What the running step costs so far."""
        return Ns(self._cost)

    def pause(self) -> None:
        """Take no further step; timers still become due and wait."""
        self.paused = True

    def resume(self) -> None:
        """Go on after `pause`."""
        self.paused = False
        if self._ready and not self._scheduled and not self.closed:
            self._schedule()

    def close(self) -> None:
        """Cancel all tasks without running them further, drop what waits; the queue takes nothing any more."""
        self.closed = True
        self._ready.clear()
        for task in list(self.tasks):
            task.abandon()
        self.tasks.clear()

    # stepping ----------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        self._scheduled = True
        world = self.world
        cause, world.cause = world.cause, 0
        world.call_at(self.free_at, self._step)
        world.cause = cause

    def _step(self) -> None:
        self._scheduled = False
        ready = self._ready
        if self.paused or not ready:
            return
        world = self.world
        fn, args, cause = ready.popleft()
        world.cause = cause
        world.stepping = self
        self._cost = costs.STEP
        self.steps += 1
        if self.guest:
            self._guarded(fn, args)
        else:
            fn(*args)
        if not ready and self.on_idle is not None and not self.closed:
            self.on_idle()
        world.stepping = None
        self.free_at = Ns(world.now + self._cost)
        if self._again is not None:
            again, self._again = self._again, None
            self.post(again)
        if ready and not self._scheduled and not self.paused and not self.closed:
            self._schedule()

    def _guarded(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run a step of a guest: whatever it raises is the guest's own crash, never the world's."""
        watchdog = self.world.watchdog
        try:
            watchdog.begin()
            try:
                fn(*args)
            finally:
                watchdog.end()
        except BaseException as error:
            if isinstance(error, GuestSpinning):
                self.world.reproducible = False
            task = getattr(fn, "__self__", None)
            self.on_crash(task if isinstance(task, Task) else self._handler_as_task(), error)

    def _handler_as_task(self) -> Task[Any]:
        coro = _nothing()
        coro.close()
        return Task(self, coro, "handler")

    def report_crash(self, task: Task[Any], error: BaseException) -> None:
        """Record an uncaught error of a task nobody joins, and tell the person."""
        text = self.explain(error)
        frames = person_frames(error)
        place = self.world.place(frames[-1].filename, frames[-1].lineno or 0) if frames else ""
        kind = self.kind("task.crashed")
        if kind.on:
            kind.emit(self.now, self.name, self.world.cause, {"text": text, "place": place, "task": task.name})
        self.world.report(self.name, text)

    def explain(self, error: BaseException) -> str:
        """Return one line for an error of this queue's code, with the person's place."""
        if isinstance(error, GuestSpinning):
            frames = person_frames(error)
            where = ""
            if frames:
                last = frames[-1]
                where = f" ({self.world.place(last.filename, last.lineno or 0)}: {(last.line or '').strip().rstrip(':')})"
            return f"did not yield for 1 s{where}. On MirageOS this also stops the whole unikernel. Await something"
        return explain(error, self.world.place)

    def finished(self, task: Task[Any], error: BaseException | None, joined: bool) -> None:
        """A task ended (called by the task)."""
        self.tasks.pop(task, None)
        if isinstance(error, GuestSpinning):
            self.world.reproducible = False
        if error is not None and not joined and not isinstance(error, Cancelled):
            self.on_crash(task, error)


async def _nothing() -> None:
    """Stand for a posted handler where a task is named."""
