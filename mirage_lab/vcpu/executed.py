"""executed: a record of what a CPU has executed, block by block or instruction by instruction; off, it costs nothing.

    begin("block") ─▶ hook ─▶ the address, into a ring of the last ones ─▶ names and instructions, when somebody looks
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mirage_lab.vcpu.emulator import Emulator

__all__ = ["KINDS", "Executed"]

KINDS: Final = ("block", "instruction")
MOST: Final = 1_000_000


class Executed:
    """The last addresses at which blocks, or instructions, were executed; `total` counts those that are gone too."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._hook: Any = None
        self.kind: str | None = None
        self.addresses: deque[int] = deque(maxlen=0)

    def __repr__(self) -> str:
        return "off" if self.kind is None else f"the last {len(self.addresses):,} by {self.kind}"

    def begin(self, kind: str, last: int) -> None:
        """Record from now on, forgetting what was recorded; raises ValueError."""
        if kind not in KINDS or not 1 <= last <= MOST:
            raise ValueError(f"a trace is of the last 1 to {MOST:,} of {' or '.join(KINDS)}, not of {last} of {kind!r}")
        self.end()
        self.kind = kind
        self.addresses = deque(maxlen=last)
        self._hook = self._emulator.record_blocks(self.addresses.append) if kind == "block" else self._emulator.record_code(self.addresses.append)
        self._emulator.forget_code()

    def end(self) -> None:
        """Record no more; what was recorded stays."""
        if self._hook is not None:
            self._emulator.unhook(self._hook)
            self._emulator.forget_code()
        self._hook = self.kind = None
