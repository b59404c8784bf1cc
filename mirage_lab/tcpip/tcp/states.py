"""The states of a connection and what leads from one to the next (RFC 9293 section 3.3.2, figure 5).

A state holds what is true in it: CLOSE_WAIT, "the peer has ended its direction, we have not".  LISTEN is not a state of a
connection here: `tcpv4` listens, and a connection begins with the SYN it answers or sends.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["NEXT", "Event", "State"]


class State(Enum):
    """Where a connection stands."""

    CLOSED = "CLOSED"
    SYN_SENT = "SYN_SENT"
    SYN_RECEIVED = "SYN_RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN_WAIT_1"
    FIN_WAIT_2 = "FIN_WAIT_2"
    CLOSING = "CLOSING"
    CLOSE_WAIT = "CLOSE_WAIT"
    LAST_ACK = "LAST_ACK"
    TIME_WAIT = "TIME_WAIT"


class Event(Enum):
    """What moves a connection on."""

    ACTIVE_OPEN = "connect"
    PASSIVE_OPEN = "SYN to a listener"
    SYN = "SYN without ACK"
    SYN_ACKED = "our SYN acknowledged"
    SEND_FIN = "close"
    FIN_ACKED = "our FIN acknowledged"
    FIN = "FIN"
    RESET = "RST, abort or giving up"
    EXPIRED = "timer"


NEXT: Final[dict[State, dict[Event, State]]] = {
    State.CLOSED: {Event.ACTIVE_OPEN: State.SYN_SENT, Event.PASSIVE_OPEN: State.SYN_RECEIVED},
    State.SYN_SENT: {
        Event.SYN_ACKED: State.ESTABLISHED,
        Event.SYN: State.SYN_RECEIVED,
        Event.SEND_FIN: State.CLOSED,
        Event.RESET: State.CLOSED,
    },
    State.SYN_RECEIVED: {Event.SYN_ACKED: State.ESTABLISHED, Event.SEND_FIN: State.FIN_WAIT_1, Event.RESET: State.CLOSED},
    State.ESTABLISHED: {Event.SEND_FIN: State.FIN_WAIT_1, Event.FIN: State.CLOSE_WAIT, Event.RESET: State.CLOSED},
    State.FIN_WAIT_1: {Event.FIN_ACKED: State.FIN_WAIT_2, Event.FIN: State.CLOSING, Event.RESET: State.CLOSED},
    State.FIN_WAIT_2: {Event.FIN: State.TIME_WAIT, Event.EXPIRED: State.CLOSED, Event.RESET: State.CLOSED},
    State.CLOSING: {Event.FIN_ACKED: State.TIME_WAIT, Event.RESET: State.CLOSED},
    State.CLOSE_WAIT: {Event.SEND_FIN: State.LAST_ACK, Event.RESET: State.CLOSED},
    State.LAST_ACK: {Event.FIN_ACKED: State.CLOSED, Event.RESET: State.CLOSED},
    State.TIME_WAIT: {Event.EXPIRED: State.CLOSED, Event.RESET: State.CLOSED},
}
"""Every move there is; anything else is a mistake in `pcb` and raises KeyError."""
