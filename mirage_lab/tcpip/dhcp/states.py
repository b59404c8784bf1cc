"""states: the client's machine (RFC 2131 figure 5) as a table: the engine moves by it, tests and pictures read it.

CHECKING has no name in the figure: it is the moment between DHCPACK and use, in which ARP asks whether somebody has the
address already (section 4.4.1).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["TABLE", "Event", "State", "table_text"]


class State(Enum):
    """Where a client is."""

    INIT = "INIT"
    SELECTING = "SELECTING"
    REQUESTING = "REQUESTING"
    CHECKING = "CHECKING"
    BOUND = "BOUND"
    RENEWING = "RENEWING"
    REBINDING = "REBINDING"
    INIT_REBOOT = "INIT-REBOOT"
    REBOOTING = "REBOOTING"
    RELEASED = "RELEASED"


class Event(Enum):
    """What moves it."""

    START = "start"
    OFFER = "DHCPOFFER"
    ACK = "DHCPACK"
    NAK = "DHCPNAK"
    FREE = "nobody has it"
    CONFLICT = "somebody has it"
    SILENCE = "no answer"
    T1 = "T1"
    T2 = "T2"
    EXPIRED = "lease over"
    RELEASE = "release"


S, E = State, Event

TABLE: Final[dict[State, dict[Event, State]]] = {
    S.INIT: {E.START: S.SELECTING, E.RELEASE: S.RELEASED},
    S.SELECTING: {E.OFFER: S.REQUESTING, E.RELEASE: S.RELEASED},
    S.REQUESTING: {E.ACK: S.CHECKING, E.NAK: S.INIT, E.SILENCE: S.INIT, E.RELEASE: S.RELEASED},
    S.CHECKING: {E.FREE: S.BOUND, E.CONFLICT: S.INIT, E.RELEASE: S.RELEASED},
    S.BOUND: {E.T1: S.RENEWING, E.CONFLICT: S.INIT, E.RELEASE: S.RELEASED},
    S.RENEWING: {E.ACK: S.BOUND, E.NAK: S.INIT, E.T2: S.REBINDING, E.CONFLICT: S.INIT, E.RELEASE: S.RELEASED},
    S.REBINDING: {E.ACK: S.BOUND, E.NAK: S.INIT, E.EXPIRED: S.INIT, E.CONFLICT: S.INIT, E.RELEASE: S.RELEASED},
    S.INIT_REBOOT: {E.START: S.REBOOTING, E.RELEASE: S.RELEASED},
    S.REBOOTING: {E.ACK: S.CHECKING, E.NAK: S.INIT, E.SILENCE: S.INIT, E.RELEASE: S.RELEASED},
    S.RELEASED: {E.START: S.SELECTING},
}
"""From state by event to state; an event a state has no row for is dropped and counted."""


def table_text() -> str:
    """Return the table for people, a line for each transition."""
    return "\n".join(f"{old.value:<12} {event.value:<16} -> {new.value}" for old, row in TABLE.items() for event, new in row.items())
