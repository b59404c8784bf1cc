"""DEVICE, TIME, CLOCK, RANDOM, ENTROPY, IO_PAGE: what every unikernel stands on (types/V1.mli, mirage 2.0.0)."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from mirage_lab.signatures.units import Ns

__all__ = ["Clock", "Device", "Entropy", "IoPage", "Random", "Time", "Tm"]


@runtime_checkable
class Device(Protocol):
    """DEVICE: something that is connected before use.

    Promises: `id` names it for people and does not change.  Refusals: `disconnect` never fails, and may be called twice.
    """

    module_type: ClassVar[str] = "DEVICE"

    @property
    def id(self) -> str:
        """The name it was connected by."""

    async def disconnect(self) -> None:
        """Give it back; what waits on it is woken with an error or end of file."""


@runtime_checkable
class Time(Protocol):
    """TIME: waiting.

    Promises: never wakes early; equal deadlines wake in the order they were set.  Refusals: it does not tell the time.
    """

    module_type: ClassVar[str] = "TIME"

    async def sleep(self, duration: Ns) -> None:
        """Wait for `duration` (`ms(10)`, `seconds(1)`); others run meanwhile.  Zero or less lets others run once."""


@dataclass(frozen=True, slots=True)
class Tm:
    """A broken-down time after V1's `tm`: months count from 0, years from 1900, days of the week from Sunday = 0."""

    tm_sec: int
    tm_min: int
    tm_hour: int
    tm_mday: int
    tm_mon: int
    tm_year: int
    tm_wday: int
    tm_yday: int
    tm_isdst: bool = False


@runtime_checkable
class Clock(Protocol):
    """CLOCK: the time of day.

    Promises: Unix seconds, the same for all domains of a world.  Refusals: no time zones, no leap seconds.
    """

    module_type: ClassVar[str] = "CLOCK"

    def time(self) -> float:
        """Return seconds since 1970-01-01T00:00:00Z."""

    def gmtime(self, time: float) -> Tm:
        """Return `time` broken down in UTC."""


@runtime_checkable
class Random(Protocol):
    """RANDOM: chance, repeatable from the world's seed; not for keys (see ENTROPY)."""

    module_type: ClassVar[str] = "RANDOM"

    def self_init(self) -> None:
        """Kept from V1: the stream is seeded by the world already; this changes nothing."""

    def int(self, bound: builtins.int) -> builtins.int:
        """Return 0 <= n < `bound`; ValueError unless 0 < bound < 2**30, as in OCaml."""

    def int32(self, bound: builtins.int) -> builtins.int:
        """Return 0 <= n < `bound`; ValueError unless 0 < bound < 2**31."""


@runtime_checkable
class Entropy(Device, Protocol):
    """ENTROPY (new in 1.2.0): raw randomness, pushed to one handler.

    Promises: `handler(source=..., buffer=...)` is called with bytes of unknown quality.  Refusals: there is a single
    handler; registering another replaces it.  The handler must return at once.
    """

    module_type: ClassVar[str] = "ENTROPY"

    async def handler(self, handle: Callable[[int, bytes], None]) -> None:
        """Register the handler: `handle(source, buffer)`."""


@runtime_checkable
class IoPage(Protocol):
    """IO_PAGE: page-aligned memory that a device can be given."""

    module_type: ClassVar[str] = "IO_PAGE"

    def get(self, pages: int = 1) -> memoryview:
        """Return `pages` pages of 4,096 zero bytes; MemoryError when the domain has no more."""

    def round_to_page_size(self, length: int) -> int:
        """Return the least multiple of 4,096 that holds `length` bytes."""
