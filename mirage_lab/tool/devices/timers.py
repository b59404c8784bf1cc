"""default_time: TIME: sleeping, in virtual time."""

from __future__ import annotations

from typing import ClassVar

from mirage_lab.functoria import Impl
from mirage_lab.runtime import tasks
from mirage_lab.signatures.units import Ns
from mirage_lab.tool.devices.catalogue import fitting


class Time:
    """TIME on the run queue's timers."""

    module_type: ClassVar[str] = "TIME"

    async def sleep(self, duration: Ns) -> None:
        """Wait for `duration` (ns: seconds(1), ms(250))."""
        await tasks.sleep(duration)


default_time = Impl("default_time", "TIME", connect=lambda os, keys: Time(), implementation="mirage_lab.runtime.tasks", why="sleeps", fitting=fitting)
