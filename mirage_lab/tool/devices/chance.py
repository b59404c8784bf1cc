"""default_random: RANDOM: chance from the world's seed."""

from __future__ import annotations

import builtins
import random
from typing import ClassVar

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting


class Random:
    """RANDOM: a stream of the domain's own."""

    module_type: ClassVar[str] = "RANDOM"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def self_init(self) -> None:
        """The stream is seeded by the world already."""

    def int(self, bound: builtins.int) -> builtins.int:
        """Return 0 <= n < `bound`; ValueError unless 0 < bound < 2**30."""
        return self._below(bound, 30)

    def int32(self, bound: builtins.int) -> builtins.int:
        """Return 0 <= n < `bound`; ValueError unless 0 < bound < 2**31."""
        return self._below(bound, 31)

    def _below(self, bound: builtins.int, bits: builtins.int) -> builtins.int:
        if not 0 < bound < 1 << bits:
            raise ValueError(f"Random: the bound is 1 to 2**{bits} - 1, not {bound}")
        return self._rng.randrange(bound)


default_random = Impl(
    "default_random",
    "RANDOM",
    connect=lambda os, keys: Random(os.queue.rng("random")),
    implementation="mirage_lab.runtime.world",
    why="draws",
    fitting=fitting,
)
