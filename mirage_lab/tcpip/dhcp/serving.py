"""serving: the DHCP server of a stack: UDP port 67."""

from __future__ import annotations

from dataclasses import dataclass

from mirage_lab.tcpip.dhcp.frames import frame
from mirage_lab.tcpip.dhcp.server import Pool, Server
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire import dhcp as wire
from mirage_lab.tcpip.wire.address import ip_text, mac_text
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["DhcpServer", "DhcpServerStatistics"]


@dataclass(frozen=True, slots=True)
class DhcpServerStatistics:
    """Leases that hold (address by MAC address), messages received and sent, and drops by reason."""

    leases: dict[str, str]
    received: int
    sent: int
    dropped: dict[str, int]


class DhcpServer:
    """Serves `pool` on the lan of a stack that has the pool's own address."""

    def __init__(self, stack: Stack, pool: Pool) -> None:
        self.stack = stack
        self.queue = stack.queue
        self.server = Server(pool)
        self._drops = Drops(self.queue, "dhcp.drop")
        self._k_lease = self.queue.kind("dhcp.lease")
        self._received = self._sent = 0
        stack.listen_udpv4(wire.SERVER, self._input)

    def __repr__(self) -> str:
        return repr(self.server)

    def _input(self, src: str, src_port: int, data: bytes) -> None:
        try:
            message = wire.decode(data)
        except WireError as error:
            self._drops("malformed", why=str(error))
            return
        self._received += 1
        replies = self.server.receive(message, self.queue.now)
        if self.server.refused:
            self._drops(self.server.refused, mac=mac_text(message.chaddr), type=message.name)
        for reply in replies:
            self._sent += 1
            if self._k_lease.on:
                fields = {"mac": mac_text(message.chaddr), "asked": message.name, "answer": reply.message.name, "address": ip_text(reply.message.yiaddr)}
                self._k_lease.emit(self.queue.now, self.queue.name, self.queue.world.cause, fields)
            body = wire.encode(reply.message, reply.limit)
            ports = (wire.SERVER, wire.CLIENT)
            self.stack.ethif.send(frame(self.stack.ethif.mac_octets, reply.mac, self.stack.ipv4.address, reply.dst, ports, body))

    async def disconnect(self) -> None:
        """Nothing is held."""

    def statistics(self) -> DhcpServerStatistics:
        """Return the leases and the counters."""
        leases = {mac_text(row.mac): ip_text(row.address) for row in self.server.leases(self.queue.now)}
        return DhcpServerStatistics(leases, self._received, self._sent, dict(self._drops.counts))
