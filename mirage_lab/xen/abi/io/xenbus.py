"""io/xenbus.h: the states of a device, written by each end under its own `state` key.

    front end   1 ────────────────▶ 3 ─────▶ 4          the classical path; in 2014 Mirage went 1 ─▶ 4 at once
    back end    1 ─▶ 2 ──(front end 3 or 4)─────▶ 4
    closing     5 ─▶ 6, the other end follows
"""

from enum import IntEnum


class XenbusState(IntEnum):
    """Where one end of a device stands."""

    UNKNOWN = 0
    INITIALISING = 1
    INIT_WAIT = 2
    INITIALISED = 3
    CONNECTED = 4
    CLOSING = 5
    CLOSED = 6
    RECONFIGURING = 7
    RECONFIGURED = 8

    @property
    def title(self) -> str:
        """Return `InitWait`."""
        return "".join(word.capitalize() for word in self.name.split("_"))


def parse(text: str) -> XenbusState:
    """Return the state written in xenstore; what is not one is UNKNOWN."""
    return XenbusState(int(text)) if text.isascii() and text.isdigit() and len(text) == 1 and int(text) <= 8 else XenbusState.UNKNOWN
