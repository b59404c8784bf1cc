"""timer: the virtual timer of an ARM CPU: a counter, a value to compare it with, and a control word (ARM ARM, D11 the generic timer).

    CNTVCT counts nanoseconds ─▶ CNTVCT >= CNTV_CVAL and CTL.ENABLE: ISTATUS ─▶ not CTL.IMASK: interrupt 27

TVAL is another way to say CVAL: what is left, in 32 bits, signed.
"""

from __future__ import annotations

import struct
from typing import ClassVar, Final

__all__ = ["FREQUENCY", "VirtualTimer"]

FREQUENCY: Final = 1_000_000_000
"""Hz: a tick is a nanosecond."""
ENABLE: Final = 1
IMASK: Final = 2
ISTATUS: Final = 4
_ALL: Final = (1 << 64) - 1
_SAVED: Final = struct.Struct("<QQ")


class VirtualTimer:
    """The registers of one timer.  `now` is always the counter."""

    __slots__ = ("control", "cval")
    SIZE: ClassVar[int] = _SAVED.size
    """Bytes of what `save` returns."""

    def __init__(self) -> None:
        self.control = 0
        self.cval = 0

    def __repr__(self) -> str:
        said = "on" if self.control & ENABLE else "off"
        return f"<VirtualTimer {said}{', masked' if self.control & IMASK else ''}, at {self.cval:,} ns>"

    @property
    def deadline(self) -> int | None:
        """When it interrupts, ns; None if it does not."""
        return self.cval if self.control & (ENABLE | IMASK) == ENABLE else None

    def fires(self, now: int) -> bool:
        """True while it asks for its interrupt."""
        return self.control & (ENABLE | IMASK) == ENABLE and now >= self.cval

    def read_control(self, now: int) -> int:
        """CNTV_CTL."""
        return self.control | (ISTATUS if self.control & ENABLE and now >= self.cval else 0)

    def write_control(self, value: int) -> None:
        """CNTV_CTL."""
        self.control = value & (ENABLE | IMASK)

    def read_tval(self, now: int) -> int:
        """CNTV_TVAL."""
        return (self.cval - now) & 0xFFFF_FFFF

    def write_tval(self, value: int, now: int) -> None:
        """CNTV_TVAL."""
        left = value & 0xFFFF_FFFF
        self.cval = (now + left - (left >> 31 << 32)) & _ALL

    def save(self) -> bytes:
        """Return the registers."""
        return _SAVED.pack(self.control, self.cval)

    def restore(self, saved: bytes) -> None:
        """Set them again, from the beginning of `saved`."""
        self.control, self.cval = _SAVED.unpack_from(saved)
