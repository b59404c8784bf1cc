"""Congestion control: what any algorithm is told and says, and which there are.

`recovery` finds losses and says so; an algorithm only says how much may be under way (`cwnd`), how far to shrink
(`ssthresh`) and, if it paces, how fast to send.  One that `models` the path (BBR) sets its window in recovery, too; for the
others PRR does.  Who writes another: a class with these names, and a line in ALGORITHMS.
"""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.bbr import Bbr
from mirage_lab.tcpip.tcp.cubic import Cubic
from mirage_lab.tcpip.tcp.newreno import NewReno
from mirage_lab.tcpip.tcp.scoreboard import Sample

__all__ = ["ALGORITHMS", "Congestion", "check", "congestion_of"]


class Congestion(Protocol):
    """How much may be under way, in bytes; `pacing_rate` in bytes a second, None for no pacing."""

    name: ClassVar[str]
    models: ClassVar[bool]
    mss: int
    cwnd: int
    ssthresh: int

    @property
    def pacing_rate(self) -> int | None:
        """Bytes a second, or None: send at once whatever the window allows."""

    @property
    def phase(self) -> str:
        """What it is doing, for people."""

    def on_ack(self, told: Sample) -> None:
        """Data was acknowledged or SACKed."""

    def on_loss(self, flight: int, now: Ns) -> None:
        """A recovery begins, or the network marked a packet, with `flight` bytes under way; at most once a round trip."""

    def on_recovered(self, now: Ns) -> None:
        """The recovery has ended."""

    def on_rto(self, flight: int, now: Ns, again: bool) -> None:
        """The retransmission timer ran out, `again` for the same data."""

    def on_undo(self, now: Ns) -> None:
        """The last loss was none."""

    def on_idle(self, restart: int) -> None:
        """Nothing was sent for longer than a timeout."""


ALGORITHMS: Final[dict[str, type[NewReno | Cubic | Bbr]]] = {"newreno": NewReno, "cubic": Cubic, "bbr": Bbr}


def check(name: str) -> None:
    """Raise LocalProtocolError unless there is a congestion control called `name`."""
    if name not in ALGORITHMS:
        raise LocalProtocolError(f"there is no congestion control {name!r}: {', '.join(ALGORITHMS)}")


def congestion_of(name: str, mss: int, segments: int, chance: int) -> Congestion:
    """Return the algorithm called `name`, with a first window of `segments`; raises LocalProtocolError."""
    check(name)
    return ALGORITHMS[name](mss, segments, chance)
