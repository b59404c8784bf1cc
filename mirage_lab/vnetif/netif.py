"""Netif: NETWORK on a port of a segment, for a stack that runs beside Xen (the lab's gateway, tests)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.network import NetworkStats
from mirage_lab.vnetif.segment import Segment

__all__ = ["Netif"]

MTU: Final = 1_500
HEADER: Final = 14


class Netif:
    """A station: frames arrive as steps of `queue`."""

    module_type: ClassVar[str] = "NETWORK"

    def __init__(self, queue: RunQueue, segment: Segment, mac: str, name: str) -> None:
        self.queue = queue
        self.mac = mac
        self.mtu = MTU
        self._name = name
        self._receive: Callable[[bytes], None] | None = None
        self._segment = segment
        self._port = segment.attach(name, self._arrived)
        self.reset_stats_counters()

    @property
    def id(self) -> str:
        """The station's name."""
        return self._name

    def write(self, frame: bytes) -> None:
        """Send a frame; raises LocalProtocolError when it is too long."""
        if len(frame) > self.mtu + HEADER:
            raise LocalProtocolError(f"{self._name}: a frame of {len(frame)} bytes; the MTU of {self.mtu} allows {self.mtu + HEADER}")
        self._tx_pkts += 1
        self._tx_bytes += len(frame)
        self._port.send(frame)

    def writev(self, pieces: Sequence[bytes]) -> None:
        """Send one frame made of `pieces`."""
        self.write(b"".join(pieces))

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """Call `receive(frame)` for what arrives; again replaces."""
        self._receive = receive

    def _arrived(self, frame: bytes) -> None:
        self.queue.post(self._take, frame)

    def _take(self, frame: bytes) -> None:
        self._rx_pkts += 1
        self._rx_bytes += len(frame)
        if self._receive is not None:
            self._receive(frame)

    def get_stats_counters(self) -> NetworkStats:
        """Return the counters."""
        return NetworkStats(self._rx_bytes, self._rx_pkts, self._tx_bytes, self._tx_pkts)

    def reset_stats_counters(self) -> None:
        """Set the counters to zero."""
        self._rx_bytes = self._rx_pkts = self._tx_bytes = self._tx_pkts = 0

    async def disconnect(self) -> None:
        """Unplug."""
        self._segment.detach(self._port)
