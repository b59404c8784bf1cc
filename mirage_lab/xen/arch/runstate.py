"""runstate: how long a vCPU ran and how long it waited, as its guest sees it (vcpu.h: vcpu_runstate_info)."""

from __future__ import annotations

from mirage_lab.xen.abi import vcpu

__all__ = ["Runstate"]


class Runstate:
    """The record of one vCPU, and where the guest wants it."""

    __slots__ = ("_form", "address", "entered", "spent", "state")

    def __init__(self, address: int, now: int, *, narrow: bool) -> None:
        self.address = address & 0xFFFF_FFFF if narrow else address
        self.state = vcpu.RUNSTATE_RUNNING
        self.entered = now
        self.spent = [0, 0, 0, 0]
        self._form = vcpu.RUNSTATE_INFO_32 if narrow else vcpu.RUNSTATE_INFO

    def __repr__(self) -> str:
        return f"<Runstate {self.state} since {self.entered:,} ns, spent {self.spent}>"

    def change(self, state: int, now: int) -> bool:
        """Enter a state; False if it is in it already."""
        if state == self.state:
            return False
        self.spent[self.state] += now - self.entered
        self.state, self.entered = state, now
        return True

    def encode(self) -> bytes:
        """Return the structure."""
        return self._form.pack(self.state, self.entered, *self.spent)
