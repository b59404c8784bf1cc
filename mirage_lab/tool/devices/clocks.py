"""default_clock: CLOCK: the time of day of the world."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from mirage_lab.functoria import Impl
from mirage_lab.runtime import World
from mirage_lab.signatures.device import Tm
from mirage_lab.tool.devices.catalogue import fitting


class Clock:
    """CLOCK: the world's epoch plus its virtual time."""

    module_type: ClassVar[str] = "CLOCK"

    def __init__(self, world: World) -> None:
        self._world = world

    def time(self) -> float:
        """Return seconds since 1970-01-01T00:00:00Z."""
        return (self._world.epoch_ns + self._world.now) / 1e9

    def gmtime(self, time: float) -> Tm:
        """Return `time` broken down in UTC, in the fields of C."""
        t = datetime.fromtimestamp(time, UTC)
        return Tm(t.second, t.minute, t.hour, t.day, t.month - 1, t.year - 1900, (t.weekday() + 1) % 7, t.timetuple().tm_yday - 1, False)


default_clock = Impl(
    "default_clock",
    "CLOCK",
    connect=lambda os, keys: Clock(os.queue.world),
    implementation="mirage_lab.runtime.clock",
    why="tells the time",
    fitting=fitting,
)
