"""tasks: what a unikernel waits with.  Light-weight threads after Lwt, in trio's shape, on virtual time.

    await sleep(ms(10))                    await checkpoint()              let others run
    async with nursery() as n:             n.start(job())                  leaves when all children ended
    async with timeout(seconds(1)):        raises TimedOut                 cancels only what is inside
    await join(a, b)                       task.cancel()                   raises Cancelled where it waits
    Mailbox  Condition  Future             between tasks

Rules.  A task runs until it waits; nothing else of its domain runs meanwhile.  What it waits for is a `Trap`: `arm(task)`
registers it, `disarm(task)` takes it back when the task is cancelled first.  Waiting tasks are served first come, first
served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import Ns

if TYPE_CHECKING:
    from types import TracebackType

    from mirage_lab.runtime.runqueue import RunQueue
    from mirage_lab.runtime.world import Timer

__all__ = [
    "Cancelled",
    "Closed",
    "Condition",
    "Full",
    "Future",
    "Mailbox",
    "Task",
    "TimedOut",
    "checkpoint",
    "current",
    "join",
    "now",
    "nursery",
    "sleep",
    "timeout",
]

T = TypeVar("T")


class Cancelled(BaseException):
    """Raised where a cancelled task waits.  Let it pass; clean up in `finally`."""

    def __init__(self, scope: object = None) -> None:
        super().__init__("cancelled")
        self.scope = scope


class TimedOut(MirageError):
    """What was inside `timeout(d)` did not end in time."""


class Full(MirageError):
    """A mailbox with a capacity is full."""


class Closed(MirageError):
    """The mailbox was closed: nothing more can be put, or everything has been taken."""


class Trap:
    """What a task yields to its run queue: something to wait for."""

    __slots__ = ()

    def arm(self, task: Task[Any]) -> None:
        """Arrange for `task.wake(...)`."""
        raise AssertionError(f"{type(self).__name__} does not say what it waits for")

    def disarm(self, task: Task[Any]) -> None:
        """Take the arrangement back."""

    def __await__(self) -> Generator[Trap, Any, Any]:
        return (yield self)


class Task(Generic[T]):
    """A running coroutine.  Awaiting `task.join()` gives its result or raises its error."""

    __slots__ = ("_cancel", "_coro", "_error", "_joined", "_joiners", "_result", "_trap", "done", "name", "on_end", "queue")

    def __init__(self, queue: RunQueue, coro: Coroutine[Any, Any, T], name: str) -> None:
        self.queue = queue
        self.name = name
        self.done = False
        self.on_end: Callable[[Task[Any], BaseException | None], None] | None = None
        self._coro = coro
        self._trap: Trap | None = None
        self._cancel: Cancelled | None = None
        self._result: T | None = None
        self._error: BaseException | None = None
        self._joiners: list[Task[Any]] = []
        self._joined = False

    def __repr__(self) -> str:
        state = "done" if self.done else "waiting" if self._trap is not None else "ready"
        return f"<Task {self.name} on {self.queue.name}: {state}>"

    @property
    def result(self) -> T:
        """Return what the coroutine returned, or raise what it raised."""
        if not self.done:
            raise RuntimeError(f"{self.name} is still running; await task.join() first")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    async def join(self) -> T:
        """Wait until the task ended; return its result or raise its error."""
        self._joined = True
        if not self.done:
            await _Join(self)
        return self.result

    def cancel(self, scope: object = None) -> None:
        """Raise Cancelled where the task waits (or at its next wait)."""
        if self.done or self._cancel is not None:
            return
        self._cancel = Cancelled(scope)
        if self._trap is not None:
            self._trap.disarm(self)
            self._trap = None
            self.make_ready()

    # for the run queue and traps ---------------------------------------------------------------------------------

    def make_ready(self) -> None:
        """Queue the first step, or the one after a wait."""
        self.queue.post(self.advance, None, None)

    def wake(self, value: object = None, error: BaseException | None = None) -> None:
        """End the task's wait with a value or an error."""
        if self._trap is not None:
            self._trap = None
            self.queue.post(self.advance, value, error)

    def advance(self, value: object, error: BaseException | None) -> None:
        """Run until the next wait: one step."""
        if self.done:
            return
        if self._cancel is not None:
            value, error, self._cancel = None, self._cancel, None
        try:
            trap = self._coro.send(value) if error is None else self._coro.throw(error)
            while isinstance(trap, _Current):
                trap = self._coro.send(self)
        except StopIteration as stop:
            self._finish(stop.value, None)
            return
        except BaseException as raised:
            self._finish(None, raised)
            return
        if self.done:  # its domain was destroyed in this very step
            self._coro.close()
        elif not isinstance(trap, Trap):
            self._stray(trap)
        elif self._cancel is not None:
            self.make_ready()
        else:
            self._trap = trap
            trap.arm(self)

    def _stray(self, trap: object) -> None:
        kind = type(trap).__module__.split(".")[0]
        hint = (
            "take a Time device: await time.sleep(seconds(1))"
            if trap is None or kind in ("asyncio", "_asyncio")
            else "a unikernel awaits its devices and mirage_lab.runtime.tasks"
        )
        self.queue.post(self.advance, None, RuntimeError(f"awaited something of the host ({kind}): {hint}"))

    def _finish(self, value: T | None, error: BaseException | None) -> None:
        if self.done:
            return
        self.done = True
        self._result, self._error = value, error
        joiners, self._joiners = self._joiners, []
        for joiner in joiners:
            joiner.wake()
        if self.on_end is not None:
            self.on_end(self, error)
        self.queue.finished(self, error, self._joined or self.on_end is not None)

    def abandon(self) -> None:
        """End without running further (the domain is gone)."""
        if self.done:
            return
        self.done = True
        if self._trap is not None:
            self._trap.disarm(self)
            self._trap = None
        self._error = Cancelled()
        try:
            self._coro.close()
        except (RuntimeError, ValueError):
            # It awaited in a `finally`, or it is the coroutine that is running just now: nobody resumes it any more.
            self._trap = None


class _Join(Trap):
    __slots__ = ("_of",)

    def __init__(self, of: Task[Any]) -> None:
        self._of = of

    def arm(self, task: Task[Any]) -> None:
        self._of._joiners.append(task)

    def disarm(self, task: Task[Any]) -> None:
        if task in self._of._joiners:
            self._of._joiners.remove(task)


class _Sleep(Trap):
    __slots__ = ("_duration", "_timer")

    def __init__(self, duration: Ns) -> None:
        self._duration = duration
        self._timer: Timer | None = None

    def arm(self, task: Task[Any]) -> None:
        world = task.queue.world
        self._timer = world.call_at(Ns(world.now + max(0, int(self._duration))), task.wake)

    def disarm(self, task: Task[Any]) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Current(Trap):
    """Answered at once by `Task.advance`: not a wait."""

    __slots__ = ()


class _Checkpoint(Trap):
    __slots__ = ()

    def arm(self, task: Task[Any]) -> None:
        task.wake()


async def sleep(duration: Ns) -> None:
    """Wait for `duration` of virtual time (`ms(10)`, `seconds(1)`)."""
    await _Sleep(duration)


async def checkpoint() -> None:
    """Let the other tasks of the domain run: Lwt's `yield`."""
    await _Checkpoint()


async def current() -> Task[Any]:
    """Return the task that asks."""
    task: Task[Any] = await _Current()
    return task


async def now() -> Ns:
    """Return virtual time."""
    return (await current()).queue.now


async def join(*tasks: Task[Any]) -> list[Any]:
    """Wait for all; return their results in order."""
    return [await task.join() for task in tasks]


class Condition(Trap):
    """A place to wait until somebody notifies."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: deque[Task[Any]] = deque()

    async def wait(self) -> None:
        """Wait for `notify`."""
        await self

    def notify(self, count: int = 1) -> None:
        """Wake the `count` tasks that have waited longest."""
        waiters = self._waiters
        while count > 0 and waiters:
            waiters.popleft().wake()
            count -= 1

    def notify_all(self) -> None:
        """Wake all that wait now."""
        self.notify(len(self._waiters))

    @property
    def waiting(self) -> int:
        """How many tasks wait."""
        return len(self._waiters)

    def arm(self, task: Task[Any]) -> None:
        self._waiters.append(task)

    def disarm(self, task: Task[Any]) -> None:
        if task in self._waiters:
            self._waiters.remove(task)


class Future(Generic[T]):
    """A value that comes once; any number of tasks may wait for it."""

    __slots__ = ("_arrived", "_error", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._arrived = Condition()

    def set(self, value: T) -> None:
        """Give the value; a second time is an error."""
        self._settle(value, None)

    def fail(self, error: BaseException) -> None:
        """Give an error instead."""
        self._settle(None, error)

    def _settle(self, value: T | None, error: BaseException | None) -> None:
        if self.done:
            raise RuntimeError("this future was settled before")
        self.done = True
        self._value, self._error = value, error
        self._arrived.notify_all()

    async def wait(self) -> T:
        """Return the value when it is there, or raise the error."""
        while not self.done:
            await self._arrived.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def __await__(self) -> Generator[Any, Any, T]:
        return self.wait().__await__()


class Mailbox(Generic[T]):
    """A queue between tasks, after Lwt_mvar and Lwt_stream.  `capacity` None is unbounded: only for trusted senders."""

    __slots__ = ("_items", "_room", "_some", "capacity", "closed")

    def __init__(self, capacity: int | None = 1) -> None:
        self.capacity = capacity
        self.closed = False
        self._items: deque[T] = deque()
        self._some = Condition()
        self._room = Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put_nowait(self, item: T) -> None:
        """Put without waiting; raises Full, or Closed."""
        if self.closed:
            raise Closed("the mailbox is closed")
        if self.capacity is not None and len(self._items) >= self.capacity:
            raise Full(f"the mailbox holds {self.capacity}; await put(...) waits for room")
        self._items.append(item)
        self._some.notify()

    async def put(self, item: T) -> None:
        """Put, waiting for room."""
        while not self.closed and self.capacity is not None and len(self._items) >= self.capacity:
            await self._room.wait()
        self.put_nowait(item)

    async def get(self) -> T:
        """Take the oldest item, waiting for one; raises Closed when closed and empty."""
        while not self._items:
            if self.closed:
                raise Closed("the mailbox is closed and empty")
            await self._some.wait()
        item = self._items.popleft()
        self._room.notify()
        return item

    def close(self) -> None:
        """No more puts; what is inside can still be taken."""
        self.closed = True
        self._some.notify_all()
        self._room.notify_all()


class timeout:  # noqa: N801 - reads as a function at the place of use
    """`async with timeout(seconds(1)):` cancels what is inside when it takes longer, and raises TimedOut."""

    __slots__ = ("_duration", "_task", "_timer")

    def __init__(self, duration: Ns) -> None:
        self._duration = duration
        self._task: Task[Any] | None = None
        self._timer: Timer | None = None

    async def __aenter__(self) -> timeout:
        self._task = task = await current()
        world = task.queue.world
        self._timer = world.call_at(Ns(world.now + self._duration), task.cancel, self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._timer is not None and self._task is not None
        self._timer.cancel()
        pending = self._task._cancel
        if pending is not None and pending.scope is self:
            self._task._cancel = None
        if isinstance(error, Cancelled) and error.scope is self:
            raise TimedOut(f"took longer than {self._duration / 1e9:g} s") from None


class nursery:  # noqa: N801 - reads as a function at the place of use
    """`async with nursery() as n:` children started with `n.start(...)` end before the block does.

    The first error, of a child or of the block, cancels the others and is raised at the end of the block.
    """

    __slots__ = ("_children", "_ended", "_error", "_parent", "_waiting")

    def __init__(self) -> None:
        self._children: dict[Task[Any], None] = {}
        self._ended = Condition()
        self._error: BaseException | None = None
        self._parent: Task[Any] | None = None
        self._waiting = False

    async def __aenter__(self) -> nursery:
        self._parent = await current()
        return self

    def start(self, coro: Coroutine[Any, Any, Any], name: str = "") -> Task[Any]:
        """Start a child task."""
        assert self._parent is not None, "a nursery starts children inside its `async with` block"
        task = self._parent.queue.spawn(coro, name)
        task.on_end = self._child_ended
        self._children[task] = None
        return task

    def _child_ended(self, task: Task[Any], error: BaseException | None) -> None:
        self._children.pop(task, None)
        self._ended.notify_all()
        if error is not None and not isinstance(error, Cancelled):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
            self.cancel()
            if not self._waiting and self._parent is not None:
                self._parent.cancel(self)

    def cancel(self) -> None:
        """Cancel all children."""
        for child in list(self._children):
            child.cancel(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._waiting = True
        assert self._parent is not None
        if self._parent._cancel is not None and self._parent._cancel.scope is self:
            self._parent._cancel = None
        if error is not None:
            self.cancel()
        while self._children:
            try:
                await self._ended.wait()
            except Cancelled:
                self.cancel()
                while self._children:
                    await self._ended.wait()
                raise
        if self._error is not None and (error is None or (isinstance(error, Cancelled) and error.scope is self)):
            raise self._error
        return False
