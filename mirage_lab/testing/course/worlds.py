"""worlds: a small world in which a check runs what a learner wrote, within bounds of virtual and of host time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from mirage_lab.runtime import World
from mirage_lab.runtime.driver import Driver
from mirage_lab.runtime.watchdog import GuestSpinning
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.testing.story import Story

__all__ = ["ran", "story"]

MINUTE: Final = seconds(60)


def story(title: str) -> Story:
    """Return an empty story of an exercise that is about more than a trace."""
    return Story(title, noun="claim", held="held", broken="does not hold")


def ran(told: Story, main: Callable[[], Coroutine[Any, Any, Any]], within: Ns = MINUTE) -> Any:
    """Run the task `main()` in a world of its own and return its result.

    What it raises, not ending within `within` (ns of virtual time), and never waiting break `told`.
    """
    world = World(1)
    queue = world.queue("exercise")
    queue.guest = True
    task = queue.spawn(main(), "exercise")
    task.on_end = lambda task, error: None
    try:
        Driver(world).run(Ns(world.now + within), lambda: task.done, every=1)
        told.true("it ends", task.done, f"it still waits after {within / 1e9:g} s of virtual time")
        return task.result
    except (AssertionError, KeyboardInterrupt):
        raise
    except GuestSpinning:
        told.fail("it waits now and then", "it held the computer for a second without an await: nothing else can run")
    except Exception as error:
        told.fail("it ends well", f"it raised {type(error).__name__}: {error}")
    finally:
        queue.close()
        world.close()
