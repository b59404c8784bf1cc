"""RouterAdvertiser: the router's side of SLAAC (RFC 4861 section 6.2): announces prefixes, at times and to who asks.

It only announces; whether packets are passed on is another matter.  With `lifetime=0` it is no default router, and
neighbours take nothing but the prefix from it.
"""

from __future__ import annotations

from typing import Final

from mirage_lab.runtime import Timer
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.ipv6 import Ipv6
from mirage_lab.tcpip.wire.address6 import ALL_NODES, network6
from mirage_lab.tcpip.wire.nd import Prefix, RouterAdvert

__all__ = ["RouterAdvertiser"]

MOST_OFTEN: Final = seconds(3)
LEAST: Final = seconds(200)
RANGE: Final = seconds(400)
INITIAL: Final = 3
INITIAL_EVERY: Final = seconds(16)


class RouterAdvertiser:
    """Announces `prefix` ("fd00:1::/64") on the interface of `ipv6`; times are in seconds."""

    def __init__(
        self, ipv6: Ipv6, prefix: str, *, lifetime: int = 1_800, valid: int = 2_592_000, preferred: int = 604_800, mtu: int | None = None
    ) -> None:
        address, length = network6(prefix)
        if not 0 <= lifetime <= 9_000 or not 0 <= preferred <= valid <= 0xFFFF_FFFF:
            raise LocalProtocolError("a router's lifetime is 0 to 9000 s, and an address is preferred no longer than it is valid")
        self.ipv6 = ipv6
        self.advert = RouterAdvert(
            lifetime, ipv6.ethif.mac_octets, mtu, (Prefix(address >> 128 - length << 128 - length, length, True, length == 64, valid, preferred),)
        )
        self.sent = 0
        self._timer: Timer | None = None
        self._at: Ns | None = None
        self._rng = ipv6.queue.rng("nd.advertise")
        ipv6.ndp.is_router = True
        ipv6.ndp.on_solicit = self._asked
        ipv6.queue.spawn(self._begin(), "router advertiser")

    async def _begin(self) -> None:
        await self.ipv6.ready()
        self._advertise()

    def _advertise(self) -> None:
        """Announce to all, and again later: soon after the start, then every 200 to 600 s."""
        source = self.ipv6.source(ALL_NODES)
        queue = self.ipv6.queue
        if self._timer is not None:
            self._timer.cancel()
        if source:
            self.sent += 1
            self._at = queue.now
            self.ipv6.ndp.send(self.advert, ALL_NODES, source)
        wait = INITIAL_EVERY if self.sent < INITIAL else Ns(LEAST + self._rng.randrange(RANGE))
        self._timer = queue.call_later(wait, self._advertise)

    def _asked(self, src: int) -> None:
        """Somebody asks: all are told, up to half a second later, and not more often than every three seconds (section 6.2.6)."""
        queue = self.ipv6.queue
        at = Ns(queue.now + self._rng.randrange(seconds(1) // 2))
        if self._at is not None:
            at = Ns(max(at, self._at + MOST_OFTEN))
        if self._timer is None or self._timer.when > at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = queue.call_at(at, self._advertise)

    def stop(self) -> None:
        """Say once more that this is no router any longer, and no more after that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.ipv6.ndp.on_solicit = None
        source = self.ipv6.source(ALL_NODES)
        if source:
            self.ipv6.ndp.send(RouterAdvert(0, self.ipv6.ethif.mac_octets), ALL_NODES, source)
        self.ipv6.ndp.is_router = False
