"""Ethif: Ethernet frames by EtherType (ETHIF)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures import Network
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.wire.address import mac_bytes
from mirage_lab.tcpip.wire.ethernet import HEADER

__all__ = ["Ethif", "EthifStatistics"]

Receive = Callable[[bytes], None]
"""`receive(frame)`: the whole frame; the payload begins at byte 14."""


@dataclass(frozen=True, slots=True)
class EthifStatistics:
    """Frames passed up and sent, and drops by reason."""

    received: int
    sent: int
    dropped: dict[str, int]


class Ethif:
    """An Ethernet interface on a NETWORK."""

    module_type: ClassVar[str] = "ETHIF"

    def __init__(self, queue: RunQueue, netif: Network) -> None:
        self.queue = queue
        self.netif = netif
        self.mac_octets = mac_bytes(netif.mac)
        self.mtu = netif.mtu
        self.write_frame: Receive = netif.write
        self._drops = Drops(queue, "eth.drop")
        self._handlers: dict[int, Receive] = {}
        self._received = 0
        self._sent = 0
        netif.listen(self.input)

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.netif.id

    @property
    def mac(self) -> str:
        """The address of the interface."""
        return self.netif.mac

    def listen(self, ethertype: int, receive: Receive) -> None:
        """Call `receive(frame)` for frames of this EtherType."""
        self._handlers[ethertype] = receive

    def input(self, frame: bytes) -> None:
        """Take a frame from the network."""
        if len(frame) < HEADER:
            self._drops("short frame", length=len(frame))
            return
        if frame[:6] != self.mac_octets and not frame[0] & 1:
            self._drops("not for us")
            return
        handler = self._handlers.get(frame[12] << 8 | frame[13])
        if handler is None:
            self._drops("unknown EtherType", ethertype=frame[12] << 8 | frame[13])
            return
        self._received += 1
        handler(frame)

    def write(self, dst: str, ethertype: int, payload: bytes) -> None:
        """Send `payload` to a station."""
        if len(payload) > self.mtu:
            raise LocalProtocolError(f"{self.id}: {len(payload)} bytes of payload; the MTU is {self.mtu}")
        self.send(mac_bytes(dst) + self.mac_octets + ethertype.to_bytes(2, "big") + payload)

    def send(self, frame: bytes) -> None:
        """Send a whole frame."""
        self._sent += 1
        self.write_frame(frame)

    async def disconnect(self) -> None:
        """Listen to nothing any more."""
        self._handlers.clear()

    def statistics(self) -> EthifStatistics:
        """Return the counters."""
        return EthifStatistics(self._received, self._sent, dict(self._drops.counts))
