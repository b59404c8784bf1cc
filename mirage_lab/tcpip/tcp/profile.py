"""Numbers in which the stack of MirageOS 2.0 (2014) and a stack of today differ.  Times in ns, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, ms, seconds

__all__ = ["PROFILES", "Profile", "profile_of"]


@dataclass(frozen=True, slots=True)
class Profile:
    """How a connection behaves where the RFCs leave a choice."""

    initial_rto: Ns
    min_rto: Ns
    max_rto: Ns
    syn_tries: int
    data_tries: int
    delayed_ack: Ns
    quick_acks: int
    """Segments at the start of a connection that are acknowledged at once."""
    initial_window: int
    """Initial congestion window in segments (RFC 6928: 10; RFC 3390: 3)."""
    time_wait: Ns
    fin_wait_2: Ns
    buffer: int
    wscale: int
    challenge: bool
    """Answer suspicious segments by a challenge ACK (RFC 5961)."""
    nagle: bool = True


PROFILES: Final[dict[str, Profile]] = {
    "today": Profile(seconds(1), ms(200), seconds(60), 6, 12, ms(40), 8, 10, seconds(60), seconds(60), 262_144, 3, True),
    "2014": Profile(seconds(3), ms(667), seconds(48), 5, 5, ms(100), 0, 3, seconds(2), seconds(10), 262_140, 2, False),
}


def profile_of(name: str) -> Profile:
    """Return the profile called `name`; raises LocalProtocolError."""
    if name not in PROFILES:
        raise LocalProtocolError(f"there is no profile {name!r}: today or 2014")
    return PROFILES[name]
