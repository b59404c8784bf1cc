"""default_time: TIME: sleeping, in virtual time."""

from __future__ import annotations

from typing import ClassVar, Final

from mirage_lab.functoria import Impl
from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns
from mirage_lab.tool.devices.catalogue import fitting

SHORT: Final = 100
"""Nanoseconds below which a number was meant to be another unit."""


class Time:
    """TIME on the run queue's timers."""

    module_type: ClassVar[str] = "TIME"

    async def sleep(self, duration: Ns) -> None:
        """Wait for `duration` (ns: seconds(1), ms(250)); raises LocalProtocolError for what is no number of nanoseconds."""
        if not isinstance(duration, int):
            raise LocalProtocolError(f"a duration is a whole number of nanoseconds, not {duration!r}: await time.sleep(seconds({duration!r}))")
        if 0 < duration < SHORT:
            world = (await tasks.current()).queue.world
            world.report("time", f"sleep({duration}) waits {duration} ns: seconds({duration}) is a second each")
        await tasks.sleep(duration)


default_time = Impl("default_time", "TIME", connect=lambda os, keys: Time(), implementation="mirage_lab.runtime.tasks", why="sleeps", fitting=fitting)
