"""Numbers in which the stack of MirageOS 2.0 (2014) and a stack of today differ.  Times in ns, sizes in bytes.

`today` is what a person expects of a stack of today: SACK, timestamps, window scale, RACK-TLP, PRR, CUBIC (what Linux,
macOS and Windows do); ECN is answered when a peer asks, as Linux does.  `2014` is mirage-tcpip 1.1.5: NewReno, no SACK, no
timestamps; its constants are those of tcp/{pcb,window,segment,state,user_buffer}.ml.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, ms, seconds

__all__ = ["PROFILES", "Profile", "profile_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How a connection behaves where the RFCs leave a choice."""

    name: str
    initial_rto: Ns
    min_rto: Ns
    max_rto: Ns
    syn_tries: int
    data_tries: int
    delayed_ack: Ns
    quick_acks: int
    """Segments at the start of a connection that are acknowledged at once."""
    initial_window: int
    """Initial congestion window in segments (RFC 6928: 10; 2014: 2)."""
    time_wait: Ns
    fin_wait_2: Ns
    buffer: int
    """Bytes that wait to be read, and bytes written and not acknowledged."""
    unsent: int
    """Bytes written and not sent."""
    wscale: int
    syn_windows: tuple[int, int]
    """The window in a SYN, and in a SYN that answers one."""
    challenge: bool
    """Answer suspicious segments by a challenge ACK (RFC 5961)."""
    cookies: bool
    """Answer SYNs beyond the backlog by a cookie (RFC 4987 section 3.6)."""
    sack: bool
    timestamps: bool
    rack: bool
    """Find losses by time (RFC 8985); otherwise by count (RFC 6675)."""
    prr: bool
    """Spread the reduction of the window over a round trip (RFC 9937)."""
    congestion: str
    """`newreno`, `cubic` or `bbr`."""
    ecn: str
    """`off`, `accept` (when the peer asks), `ask`."""
    threshold: bool
    """The peer's window is the first slow start threshold."""
    isn: str
    """`rfc6528`, or `2014`: sixteen random bits."""
    ports: tuple[int, int]
    """The range of ports for connections we open."""
    first_ports: int
    """How many of them the first may be."""
    keepalive_interval: Ns
    keepalive_tries: int
    keepalive: int = 0
    """Idle time after which the peer is asked whether it is still there (RFC 9293 section 3.8.4); 0: never."""
    nagle: bool = True


PROFILES: Final[dict[str, Profile]] = {
    "today": Profile(
        name="today",
        initial_rto=seconds(1),
        min_rto=ms(200),
        max_rto=seconds(60),
        syn_tries=6,
        data_tries=12,
        delayed_ack=ms(40),
        quick_acks=8,
        initial_window=10,
        time_wait=seconds(60),
        fin_wait_2=seconds(60),
        buffer=262_144,
        unsent=262_144,
        wscale=3,
        syn_windows=(65_535, 65_535),
        challenge=True,
        cookies=True,
        sack=True,
        timestamps=True,
        rack=True,
        prr=True,
        congestion="cubic",
        ecn="accept",
        threshold=False,
        isn="rfc6528",
        ports=(49_152, 65_536),
        first_ports=16_384,
        keepalive_interval=seconds(75),
        keepalive_tries=9,
    ),
    "2014": Profile(
        name="2014",
        initial_rto=seconds(3),
        min_rto=seconds(1),
        max_rto=seconds(48),
        syn_tries=5,
        data_tries=5,
        delayed_ack=ms(100),
        quick_acks=0,
        initial_window=2,
        time_wait=seconds(2),
        fin_wait_2=seconds(10),
        buffer=262_140,
        unsent=16_384,
        wscale=2,
        syn_windows=(5_840, 65_535),
        challenge=False,
        cookies=False,
        sack=False,
        timestamps=False,
        rack=False,
        prr=False,
        congestion="newreno",
        ecn="off",
        threshold=True,
        isn="2014",
        ports=(10_000, 65_536),
        first_ports=10_000,
        keepalive_interval=seconds(75),
        keepalive_tries=9,
    ),
}


def profile_of(name: str) -> Profile:
    """Return the profile called `name`; raises LocalProtocolError."""
    if name not in PROFILES:
        raise LocalProtocolError(f"there is no profile {name!r}: today or 2014")
    return PROFILES[name]
