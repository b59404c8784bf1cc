"""configuring: a stack whose address comes from DHCP: the client engine with timers, frames and ARP probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mirage_lab.runtime import Timer, tasks
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.dhcp.client import BROADCAST, Client, Effect, Lease, Moved, Probe, Send, Take, Yield
from mirage_lab.tcpip.dhcp.frames import frame
from mirage_lab.tcpip.dhcp.states import State
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.ipv4 import NO_ADDRESS, TTL, TTL_2014
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire import dhcp as wire
from mirage_lab.tcpip.wire.address import BROADCAST_MAC, ip_text
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["Configured", "DhcpStatistics"]

Log = Callable[[str], None]
_ANY: Final = 0
DEFEND: Final = seconds(10)


@dataclass(frozen=True, slots=True)
class DhcpStatistics:
    """Where the client is, its lease, messages received and sent, and drops by reason."""

    state: str
    lease: Lease | None
    received: int
    sent: int
    dropped: dict[str, int]


class Configured:
    """The DHCP client of a stack; `start` begins, `bound()` waits for the first address."""

    def __init__(self, stack: Stack, *, log: Log | None = None, host_name: str = "", previous: Lease | None = None) -> None:
        self.stack = stack
        self.queue = queue = stack.queue
        self.client = Client(
            stack.ethif.mac_octets, queue.rng("dhcp"), host_name=host_name or queue.name, profile=stack.ipv4.profile, previous=previous
        )  # fmt: skip
        self.mtu = stack.ipv4.mtu
        self._log = log or (lambda text: None)
        self._drops = Drops(queue, "dhcp.drop")
        self._k_state = queue.kind("dhcp.state")
        self._timer: Timer | None = None
        self._arrived = tasks.Condition()
        self._probing: str | None = None
        self._received = self._sent = 0
        self._defended: Ns | None = None
        stack.listen_udpv4(wire.CLIENT, self._input)
        stack.arp.on_conflict = self._claimed

    def __repr__(self) -> str:
        return repr(self.client)

    @property
    def lease(self) -> Lease | None:
        """The lease in use, None without one."""
        return self.client.lease if self.client.bound else None

    def start(self) -> None:
        """Ask for an address."""
        self._log("DHCP: start discovery")
        self._do(self.client.start(self.queue.now))

    async def bound(self) -> Lease:
        """Wait until there is an address, for ever if need be; return the lease."""
        while True:
            lease = self.lease
            if lease is not None:
                return lease
            await self._arrived.wait()

    def release(self) -> None:
        """Give the address back."""
        self._do(self.client.release(self.queue.now))

    async def disconnect(self) -> None:
        """Give the address back."""
        self.release()

    # between engine and stack ------------------------------------------------------------------------------------

    def _input(self, src: str, src_port: int, data: bytes) -> None:
        try:
            message = wire.decode(data)
        except WireError as error:
            self._drops("malformed", why=str(error))
            return
        self._received += 1
        if self.client.for_us(message):
            addresses = " ".join(f"{name} {ip_text(getattr(message, name))}" for name in ("ciaddr", "yiaddr", "siaddr", "giaddr"))
            self._log(f"DHCP: input {addresses}")
            if message.type == wire.Type.OFFER and self.client.state is State.SELECTING:
                self._log(f"DHCP: offer received: {ip_text(message.yiaddr)}")
        self._do(self.client.receive(message, self.queue.now))
        if self.client.refused:
            self._drops(self.client.refused, server=src, type=message.name)

    def _due(self) -> None:
        self._timer = None
        self._do(self.client.on_deadline(self.queue.now))

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message, dst):
                    self._send(message, dst)
                case Probe(address):
                    self._probing = ip_text(address)
                    self.stack.arp.probe(self._probing, self._conflict)
                case Take(lease):
                    self._take(lease)
                case Yield(why):
                    self._log(f"DHCP: {ip_text(self.stack.ipv4.address)} given up: {why}")
                    for flow in list(self.stack.tcpv4.connections):
                        flow.abort()
                    self.stack.ipv4.set_ip(NO_ADDRESS)
                case Moved(old, new, why, address):
                    if old is State.CHECKING and self._probing is not None:
                        self.stack.arp.end_probe(self._probing)
                        self._probing = None
                    if self._k_state.on:
                        fields = {"old": old.value, "new": new.value, "why": why, "address": ip_text(address) if address else ""}
                        self._k_state.emit(self.queue.now, self.queue.name, self.queue.world.cause, fields)
        self._arm()

    def _arm(self) -> None:
        due = self.client.next_deadline()
        if self._timer is not None:
            if self._timer.when == due:
                return
            self._timer.cancel()
        self._timer = None if due is None else self.queue.call_at(Ns(due), self._due)

    def _conflict(self, mac: bytes | None) -> None:
        self._do(self.client.conflict(self.queue.now))

    def _claimed(self, address: int) -> None:
        """Defend an address that another station claims; claimed again within 10 s it is given up (RFC 5227 section 2.4 (b))."""
        if address != self.stack.ipv4.address or self.stack.ipv4.profile == "2014":
            return
        if self._defended is None or self.queue.now - self._defended > DEFEND:
            self._defended = self.queue.now
            self.stack.arp.defend(address)
        else:
            self._do(self.client.conflict(self.queue.now))

    def _send(self, message: wire.Message, dst: int) -> None:
        data = wire.encode(message)
        self._sent += 1
        if dst != BROADCAST:
            self.stack.udpv4.write(ip_text(dst), wire.SERVER, data, src_port=wire.CLIENT)
            return
        self._log(f"Sending DHCP broadcast len {len(data)}")
        ttl = TTL_2014 if self.stack.ipv4.profile == "2014" else TTL
        ports = (wire.CLIENT, wire.SERVER)
        self.stack.ethif.send(frame(self.stack.ethif.mac_octets, BROADCAST_MAC, message.ciaddr or _ANY, BROADCAST, ports, data, ttl))

    def _take(self, lease: Lease) -> None:
        ipv4 = self.stack.ipv4
        mask = 0xFFFF_FFFF << 32 - lease.prefix & 0xFFFF_FFFF
        self._log(f"DHCP: offer {ip_text(lease.address)} {ip_text(mask)} [{', '.join(map(ip_text, lease.routers))}]")
        new = ipv4.address != lease.address or ipv4.prefix != lease.prefix or ipv4.get_gateways() != ([lease.gateway] if lease.gateway else [])
        if new:
            ipv4.set_ip(lease.text, lease.gateway)
        ipv4.mtu = min(self.mtu, lease.mtu or self.mtu)
        if new:
            self._log("DHCP offer received and bound")
        self._arrived.notify_all()

    def statistics(self) -> DhcpStatistics:
        """Return the state and the counters."""
        return DhcpStatistics(self.client.state.value, self.lease, self._received, self._sent, dict(self._drops.counts))
