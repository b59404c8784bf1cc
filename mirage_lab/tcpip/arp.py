"""Arp: which station has an address (RFC 826), with a timeout, retries and expiry (RFC 1122 section 2.3.2).

    unknown --query--> asking --reply--> known --60 s--> asking (the old answer is used meanwhile)
                       asking --3 requests, 1 s apart, unanswered--> unknown; what waited fails

In 2014 there was no timeout, no retry and no expiry: a lost reply blocked the sender for ever (`profile="2014"`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from mirage_lab.runtime import RunQueue, Timer, tasks
from mirage_lab.signatures.errors import ConnectionTimedOut
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.ethif import Ethif
from mirage_lab.tcpip.wire import arp as wire
from mirage_lab.tcpip.wire.address import BROADCAST_MAC, ip_int, ip_text, mac_text
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.ethernet import ARP, HEADER

__all__ = ["Arp", "ArpStatistics"]

RETRY: Final = seconds(1)
REQUESTS: Final = 3
FRESH: Final = seconds(60)
ENTRIES: Final = 1_024
WAITING: Final = 32

Answer = Callable[[bytes | None], None]
_TYPE = ARP.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class ArpStatistics:
    """Known stations, requests sent, and what was dropped by reason."""

    known: dict[str, str]
    requests: int
    dropped: dict[str, int]


class _Asking:
    """An address asked for: who waits, how often asked."""

    __slots__ = ("asked", "timer", "waiting")

    def __init__(self) -> None:
        self.asked = 0
        self.waiting: list[Answer] = []
        self.timer: Timer | None = None


class Arp:
    """The ARP table of one interface."""

    module_type: ClassVar[str] = "ARP"

    def __init__(self, queue: RunQueue, ethif: Ethif, profile: str = "today") -> None:
        self.queue = queue
        self.ethif = ethif
        self.profile = profile
        self.table: dict[int, bytes] = {}
        self._learned: dict[int, Ns] = {}
        self._asking: dict[int, _Asking] = {}
        self._ours: dict[int, None] = {}
        self._probing: dict[int, Answer] = {}
        self.on_conflict: Callable[[int], None] | None = None
        """Told when another station says it has an address of ours (RFC 5227 section 2.4)."""
        self._requests = 0
        self._drops = Drops(queue, "arp.drop")
        self._k_query, self._k_update, self._k_timeout = queue.kind("arp.query"), queue.kind("arp.update"), queue.kind("arp.timeout")
        ethif.listen(ARP, self.input)

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.ethif.id

    # our own addresses -------------------------------------------------------------------------------------------

    def add_ip(self, ip: str) -> None:
        """Answer for `ip` from now on, and announce it (RFC 5227 section 2.3; in 2014 a gratuitous reply)."""
        address = ip_int(ip)
        self._ours[address] = None
        self.queue.post(self._announce, address)

    def remove_ip(self, ip: str) -> None:
        """Answer for `ip` no longer."""
        self._ours.pop(ip_int(ip), None)

    def probe(self, ip: str, answer: Answer) -> None:
        """Ask who has `ip`, which is to be ours, telling nobody that we want it (RFC 5227 section 2.1.1).

        `answer(mac)` is called once for a station that has it, or probes for it too.  Nobody else's table changes.
        """
        address = ip_int(ip)
        self._probing[address] = answer
        self._send(BROADCAST_MAC, wire.Arp(wire.REQUEST, self.ethif.mac_octets, 0, bytes(6), address))

    def end_probe(self, ip: str) -> None:
        """Wait for no answer to a probe any more."""
        self._probing.pop(ip_int(ip), None)

    def _probed(self, packet: wire.Arp) -> None:
        if packet.sha != self.ethif.mac_octets:
            wanted = packet.tpa if packet.op == wire.REQUEST and not packet.spa else packet.spa
            answer = self._probing.pop(wanted, None)
            if answer is not None:
                answer(packet.sha)

    def _announce(self, address: int) -> None:
        if address not in self._ours:
            return
        mac = self.ethif.mac_octets
        if self.profile == "2014":
            self._send(BROADCAST_MAC, wire.Arp(wire.REPLY, mac, address, BROADCAST_MAC, 0))
        else:
            self._send(BROADCAST_MAC, wire.Arp(wire.REQUEST, mac, address, bytes(6), address))

    def defend(self, address: int) -> None:
        """Say to all that we have `address` (RFC 5227 section 2.4 (b))."""
        self._announce(address)

    def get_ips(self) -> list[str]:
        """Return the addresses answered for."""
        return [ip_text(address) for address in self._ours]

    # asking ------------------------------------------------------------------------------------------------------

    async def query(self, ip: str) -> str:
        """Return the MAC address of `ip`; raises ConnectionTimedOut when nobody answers."""
        answer: tasks.Future[bytes | None] = tasks.Future()
        self.resolve(ip_int(ip), answer.set)
        mac = await answer.wait()
        if mac is None:
            raise ConnectionTimedOut(f"{self.id}: nobody answered for {ip} after {REQUESTS} ARP requests")
        return mac_text(mac)

    def resolve(self, address: int, answer: Answer) -> None:
        """Call `answer(mac)`, now if it is known; `answer(None)` when nobody answers."""
        mac = self.table.get(address)
        if mac is not None:
            if self.stale(address):
                self.doubt(address)
            answer(mac)
            return
        asking = self._asking.get(address)
        if asking is None:
            if len(self._asking) >= ENTRIES:
                answer(None)
                return
            asking = _Asking()
            asking.waiting.append(answer)
            self._ask(address, asking)
        elif len(asking.waiting) < WAITING:
            asking.waiting.append(answer)
        else:
            answer(None)

    def doubt(self, address: int) -> None:
        """Something sent there went unanswered: ask again for what is known (RFC 1122 section 2.3.2.1, advice from above)."""
        if address in self.table and address not in self._asking and self.profile != "2014":
            self._ask(address, _Asking())

    def stale(self, address: int) -> bool:
        """True if a known answer is older than 60 s."""
        return self.queue.world.now - self._learned.get(address, self.queue.world.now) > FRESH

    def _ask(self, address: int, asking: _Asking) -> None:
        self._asking[address] = asking
        asking.asked += 1
        self._requests += 1
        world = self.queue.world
        if self._k_query.on:
            self._k_query.emit(world.now, self.queue.name, world.cause, {"ip": ip_text(address), "attempt": asking.asked})
        source = next(iter(self._ours), 0)
        self._send(BROADCAST_MAC, wire.Arp(wire.REQUEST, self.ethif.mac_octets, source, bytes(6), address))
        if self.profile != "2014":
            asking.timer = self.queue.call_later(RETRY, self._unanswered, address)

    def _unanswered(self, address: int) -> None:
        asking = self._asking.get(address)
        if asking is None:
            return
        if asking.asked < REQUESTS:
            self._ask(address, asking)
            return
        del self._asking[address]
        self.table.pop(address, None)
        self._learned.pop(address, None)
        world = self.queue.world
        if self._k_timeout.on:
            self._k_timeout.emit(world.now, self.queue.name, world.cause, {"ip": ip_text(address), "waiting": len(asking.waiting)})
        for answer in asking.waiting:
            answer(None)

    # hearing -----------------------------------------------------------------------------------------------------

    def input(self, frame: bytes) -> None:
        """Take an ARP frame: answer for us, learn what we asked for or already know."""
        try:
            packet = wire.decode(frame, HEADER)
        except WireError:
            self._drops("malformed")
            return
        if self._probing:
            self._probed(packet)
        if packet.spa and packet.spa not in self._ours:
            ours = packet.tpa in self._ours
            if ours or packet.spa in self._asking or packet.spa in self.table or self.profile == "2014":
                self._learn(packet.spa, packet.sha)
        elif packet.spa in self._ours and packet.sha != self.ethif.mac_octets:
            self._drops("address conflict", ip=ip_text(packet.spa), mac=mac_text(packet.sha))
            if self.on_conflict is not None:
                self.on_conflict(packet.spa)
            return
        if packet.op == wire.REQUEST and packet.tpa in self._ours:
            self._send(packet.sha, wire.Arp(wire.REPLY, self.ethif.mac_octets, packet.tpa, packet.sha, packet.spa))

    def _learn(self, address: int, mac: bytes) -> None:
        if address not in self.table and len(self.table) >= ENTRIES:
            oldest = next(iter(self.table))
            del self.table[oldest], self._learned[oldest]
        self.table[address] = mac
        self._learned[address] = self.queue.now
        world = self.queue.world
        if self._k_update.on:
            self._k_update.emit(world.now, self.queue.name, world.cause, {"ip": ip_text(address), "mac": mac_text(mac)})
        asking = self._asking.pop(address, None)
        if asking is not None:
            if asking.timer is not None:
                asking.timer.cancel()
            for answer in asking.waiting:
                answer(mac)

    def _send(self, dst: bytes, packet: wire.Arp) -> None:
        self.ethif.send(dst + self.ethif.mac_octets + _TYPE + wire.encode(packet))

    async def disconnect(self) -> None:
        """Answer for nothing any more."""
        self._ours.clear()

    def statistics(self) -> ArpStatistics:
        """Return table and counters."""
        known = {ip_text(address): mac_text(mac) for address, mac in self.table.items()}
        return ArpStatistics(known, self._requests, dict(self._drops.counts))
