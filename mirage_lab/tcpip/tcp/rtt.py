"""RTO: how long to wait for an acknowledgment (RFC 6298, Karn's rule is kept by the caller)."""

from __future__ import annotations

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.profile import Profile

__all__ = ["Rtt"]


class Rtt:
    """Smoothed round-trip time, its variation, and the timeout that follows; ns.  `latest` is the last round trip measured."""

    __slots__ = ("backoff", "latest", "max_rto", "min_rto", "rttvar", "srtt", "timeout")

    def __init__(self, profile: Profile) -> None:
        self.srtt = 0
        self.rttvar = 0
        self.latest = 0
        self.backoff = 0
        self.min_rto = profile.min_rto
        self.max_rto = profile.max_rto
        self.timeout: int = profile.initial_rto

    def sample(self, rtt: int) -> None:
        """Take a measured round trip (2.2, 2.3); it ends a backoff."""
        self.latest = rtt
        if not self.srtt:
            self.srtt = max(rtt, 1)
            self.rttvar = rtt // 2
        else:
            self.rttvar += (abs(self.srtt - rtt) - self.rttvar) // 4
            self.srtt += (rtt - self.srtt) // 8
        self.backoff = 0
        self.timeout = max(self.min_rto, min(self.srtt + max(4 * self.rttvar, 1_000_000), self.max_rto))

    def back_off(self) -> None:
        """The timer ran out: wait twice as long (5.5)."""
        self.backoff += 1

    @property
    def rto(self) -> Ns:
        """How long to wait now."""
        if not self.backoff:
            return Ns(self.timeout)
        return Ns(min(self.timeout << min(self.backoff, 16), self.max_rto))
