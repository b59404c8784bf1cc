"""Ndp: neighbour discovery (RFC 4861): who is where, which routers and prefixes there are, and answers for our own addresses.

Every message must come with hop limit 255: no router has passed it on, so it is from this link.  Redirects are counted and
ignored.  Bounded: 16 routers and 32 prefixes, beyond which new ones are not taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.neighbours import Neighbours, State
from mirage_lab.tcpip.wire import nd as wire
from mirage_lab.tcpip.wire.address import mac_text
from mirage_lab.tcpip.wire.address6 import ALL_NODES, ALL_ROUTERS, LINK_LOCAL, ip6_text, is_link_local, is_multicast, solicited_node
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.icmpv6 import REDIRECT, Icmpv6

if TYPE_CHECKING:
    from mirage_lab.tcpip.ipv6 import Ipv6

__all__ = ["Ndp", "NdpStatistics"]

HOPS: Final = 255
ROUTERS: Final = 16
PREFIXES: Final = 32
SOLICITED: Final = 3
SOLICIT_EVERY: Final = seconds(4)
LEAST_MTU: Final = 1_280
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class NdpStatistics:
    """Neighbours with their state, routers, prefixes on the link, solicitations sent, drops by reason."""

    neighbours: dict[str, str]
    routers: list[str]
    prefixes: list[str]
    solicitations: int
    dropped: dict[str, int]


class Ndp:
    """Neighbour discovery of one Ipv6."""

    module_type: ClassVar[str] = "NDP"

    def __init__(self, queue: RunQueue, ipv6: Ipv6, *, accept: bool = True) -> None:
        """`accept`: believe router advertisements, and ask for them."""
        self.queue = queue
        self.ipv6 = ipv6
        self.accept = accept
        self.mac = ipv6.ethif.mac_octets
        self.is_router = False
        self.on_solicit: Callable[[int], None] | None = None
        """What a router does when somebody asks for routers."""
        self.neighbours = Neighbours(queue, self._ask, ipv6.transmit, ipv6.undelivered)
        self.routers: dict[int, Ns | None] = {}
        self.prefixes: dict[tuple[int, int], Ns | None] = {}
        self._drops = Drops(queue, "nd.drop")
        self._k_router = queue.kind("nd.router")
        self._heard_router = False
        self._solicitations = 0
        if accept:
            queue.call_later(Ns(queue.rng("nd.solicit").randrange(seconds(1)) + seconds(1)), self._solicit_routers, SOLICITED)

    # where to send -----------------------------------------------------------------------------------------------

    def add_prefix(self, address: int, length: int, lifetime: int = wire.FOR_EVER) -> None:
        """Packets to addresses of this prefix go straight to the neighbour."""
        key = (address >> 128 - length, length)
        if not lifetime:
            self.prefixes.pop(key, None)
        elif key in self.prefixes or len(self.prefixes) < PREFIXES:
            self.prefixes[key] = self._until(lifetime)
        else:
            self._drops("too many prefixes")

    def add_router(self, address: int, lifetime: int | None = None) -> None:
        """Use a default router, for `lifetime` seconds or for ever; 0: no longer."""
        if lifetime == 0:
            self.routers.pop(address, None)
        elif address in self.routers or len(self.routers) < ROUTERS:
            new = address not in self.routers
            self.routers[address] = None if lifetime is None else self._until(lifetime)
            if new and self._k_router.on:
                world = self.queue.world
                self._k_router.emit(world.now, self.queue.name, world.cause, {"ip": ip6_text(address), "lifetime": lifetime})
        else:
            self._drops("too many routers")

    def _until(self, lifetime: int) -> Ns | None:
        return None if lifetime == wire.FOR_EVER else Ns(self.queue.now + seconds(lifetime))

    def next_hop(self, dst: int) -> int | None:
        """Return the neighbour that packets to `dst` go to: itself, or a router that is there, or any; None without a route."""
        if is_link_local(dst):
            return dst
        now = self.queue.world.now
        for (prefix, length), until in self.prefixes.items():
            if dst >> 128 - length == prefix and (until is None or until > now):
                return dst
        chosen = None
        for router, until in self.routers.items():
            if until is not None and until <= now:
                continue
            entry = self.neighbours.table.get(router)
            if entry is not None and entry.state is not State.INCOMPLETE:
                return router
            chosen = router if chosen is None else chosen
        return chosen

    # telling -----------------------------------------------------------------------------------------------------

    def send(self, said: wire.Message, dst: int, src: int) -> None:
        """Send a message to a neighbour or a group on this link."""
        self.ipv6.icmp.send(wire.encode(said), dst, src, HOPS)

    def _ask(self, target: int, mac: bytes | None) -> None:
        """Ask where `target` is: its group, or, where it was, itself."""
        source = self.ipv6.source(target) or self.ipv6.source(LINK_LOCAL | 1)
        if source:
            self._solicitations += 1
            self.send(wire.NeighborSolicit(target, self.mac), solicited_node(target) if mac is None else target, source)

    def probe(self, target: int) -> None:
        """Ask who has an address that is to be ours (RFC 4862 section 5.4.2): from nobody, without a MAC address."""
        self.send(wire.NeighborSolicit(target), solicited_node(target), 0)

    def _solicit_routers(self, left: int) -> None:
        if self._heard_router or not left or self.is_router:
            return
        source = self.ipv6.source(ALL_ROUTERS)
        self.send(wire.RouterSolicit(self.mac if source else None), ALL_ROUTERS, source)
        self.queue.call_later(SOLICIT_EVERY, self._solicit_routers, left - 1)

    # hearing -----------------------------------------------------------------------------------------------------

    def input(self, src: int, dst: int, message: Icmpv6) -> None:
        """Take a message; whoever sends from afar, or what RFC 4861 finds invalid, is dropped."""
        if self.ipv6.hops != HOPS:
            self._drops("hop limit not 255", type=message.type)
            return
        if message.type == REDIRECT:
            self._drops("redirect ignored")
            return
        try:
            said = wire.decode(message)
        except WireError:
            self._drops("malformed")
            return
        match said:
            case wire.NeighborSolicit():
                self._solicited(src, dst, said)
            case wire.NeighborAdvert():
                self._advertised(dst, said)
            case wire.RouterSolicit():
                if not src and said.mac is not None:
                    self._drops("malformed")
                    return
                if src and said.mac is not None:
                    self.neighbours.heard(src, said.mac)
                if self.is_router and self.on_solicit is not None:
                    self.on_solicit(src)
            case wire.RouterAdvert():
                self._router(src, said)

    def _solicited(self, src: int, dst: int, said: wire.NeighborSolicit) -> None:
        target, addresses = said.target, self.ipv6.addresses
        if not src and (said.mac is not None or dst != solicited_node(target)):
            self._drops("malformed")
            return
        if addresses.tentative(target):
            if not src:
                addresses.claimed(target, "another that tries it")
            return
        if not self.ipv6.ours(target):
            self._drops("not for us", ip=ip6_text(target))
            return
        if src and said.mac is not None:
            self.neighbours.heard(src, said.mac)
        answer = wire.NeighborAdvert(target, self.mac, self.is_router, solicited=bool(src))
        self.send(answer, src or ALL_NODES, target)

    def _advertised(self, dst: int, said: wire.NeighborAdvert) -> None:
        target = said.target
        if is_multicast(dst) and said.solicited:
            self._drops("malformed")
            return
        if target in self.ipv6.addresses.known:
            if self.ipv6.addresses.tentative(target):
                self.ipv6.addresses.claimed(target, mac_text(said.mac or b""))
            else:
                self._drops("address conflict", ip=ip6_text(target), mac=mac_text(said.mac or b""))
            return
        entry = self.neighbours.table.get(target)
        was_router = entry is not None and entry.router
        if not self.neighbours.advertised(said):
            self._drops("nobody had asked")
        elif was_router and not said.router:
            self.routers.pop(target, None)

    def _router(self, src: int, said: wire.RouterAdvert) -> None:
        """Learn of a router: itself, its prefixes, hop limit, MTU and times (RFC 4861 section 6.3.4)."""
        if not is_link_local(src) or is_multicast(src):
            self._drops("malformed")
            return
        if not self.accept or self.is_router:
            self._drops("router advertisement not wanted")
            return
        if said.mac is not None:
            self.neighbours.heard(src, said.mac).router = True
        self._heard_router = True
        self.add_router(src, said.lifetime)
        if said.hops:
            self.ipv6.hop_limit = said.hops
        if 0 < said.reachable <= HOUR_MS:
            self.neighbours.reachable_time = ms(said.reachable)
        if 0 < said.retransmit <= HOUR_MS:
            self.neighbours.retrans = ms(max(said.retransmit, 10))
        if said.mtu is not None:
            if LEAST_MTU <= said.mtu <= self.ipv6.ethif.mtu:
                self.ipv6.mtu = said.mtu
            else:
                self._drops("MTU not believed", mtu=said.mtu)
        for prefix in said.prefixes:
            if prefix.on_link and not is_link_local(prefix.address):
                self.add_prefix(prefix.address, prefix.length, prefix.valid)
            if prefix.autonomous:
                self.ipv6.addresses.learn(prefix)

    def statistics(self) -> NdpStatistics:
        """Return the neighbour cache and the counters."""
        known = {ip6_text(ip): f"{mac_text(entry.mac) or '?'} {entry.state.name}" for ip, entry in self.neighbours.table.items()}
        prefixes = [f"{ip6_text(prefix << 128 - length)}/{length}" for prefix, length in self.prefixes]
        return NdpStatistics(known, [ip6_text(router) for router in self.routers], prefixes, self._solicitations, dict(self._drops.counts))
