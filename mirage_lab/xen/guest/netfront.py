"""Netfront: NETWORK over the two rings of a vif (mirage-net-xen; Linux xen-netfront.c).

Pages are granted once, 256 to be read by the back end and 256 to be written, and used again and again: page i of a pool
belongs to request id i.  A whole ring is taken per wake-up; slots are read and written as bytes, with no object for each.
What the ring has no room for waits in a bounded queue, then is dropped and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.network import NetworkStats
from mirage_lab.xen.abi.io import ring
from mirage_lab.xen.abi.io.netif import RX_REQUEST, RX_RESPONSE, RX_SLOT, SLOTS, TX_REQUEST, TX_SLOT
from mirage_lab.xen.abi.xen import PAGE_SHIFT, Domid, Gref, Port
from mirage_lab.xen.guest import xenbus

if TYPE_CHECKING:
    from mirage_lab.xen.guest.minios import MiniOS

__all__ = ["Netfront"]

MTU: Final = 1_500
LONGEST: Final = MTU + 14
WAITING: Final = 1_024
LOW: Final = 32
_MASK: Final = SLOTS - 1
_U32: Final = 0xFFFF_FFFF


class Netfront:
    """One interface.  `write` is synchronous: the frame is in the ring, in the queue, or dropped and counted."""

    module_type: ClassVar[str] = "NETWORK"

    def __init__(self, os: MiniOS, dev: str, backend: str, backend_id: Domid, mac: str) -> None:
        self.mac = mac
        self.mtu = MTU
        self.dropped = 0
        self._os = os
        self._dev = dev
        self._backend = backend
        self._queue = os.queue
        self._view = os.memory.view
        self._receive: Callable[[bytes], None] | None = None
        self._tx_page, self.tx_ref = self._new_ring(backend_id)
        self._rx_page, self.rx_ref = self._new_ring(backend_id)
        self._tx_at, tx_refs = self._pool(backend_id, readonly=True)
        self._rx_at, rx_refs = self._pool(backend_id, readonly=False)
        self._tx_refs = tx_refs
        self._rx_requests = [RX_REQUEST.pack(index, ref) for index, ref in enumerate(rx_refs)]
        self._free = list(range(SLOTS - 1, -1, -1))
        self._waiting: deque[bytes] = deque()
        self._tx_prod = self._tx_cons = self._tx_pushed = 0
        self._rx_prod = self._rx_cons = 0
        self._pushing = False
        self.port: Port = os.events.alloc_unbound(backend_id)
        os.events.bind(self.port, self._event)
        self.reset_stats_counters()
        self._refill(list(range(SLOTS)))

    def _new_ring(self, backend_id: Domid) -> tuple[memoryview, Gref]:
        """Return a fresh ring page and its grant."""
        pfn = self._os.pages.allocate()
        page = self._os.memory.page(pfn)
        ring.init(page)
        return page, self._os.gnttab.grant(backend_id, pfn)

    def _pool(self, backend_id: Domid, *, readonly: bool) -> tuple[list[int], list[Gref]]:
        """Return addresses and grant references of 256 pages."""
        pfns = [self._os.pages.allocate() for _ in range(SLOTS)]
        return [pfn << PAGE_SHIFT for pfn in pfns], [self._os.gnttab.grant(backend_id, pfn, readonly=readonly) for pfn in pfns]

    @classmethod
    async def plug(cls, os: MiniOS, dev: str) -> Netfront:
        """Connect interface `dev` with its back end (1-2-3-4, or 1-4 in 2014)."""
        path = f"device/vif/{dev}"
        backend_id = Domid(int(await os.xs.read(f"{path}/backend-id")))
        backend = await os.xs.read(f"{path}/backend")
        mac = await os.xs.read(f"{path}/mac")
        front = cls(os, dev, backend, backend_id, mac)
        keys = {
            "tx-ring-ref": str(front.tx_ref),
            "rx-ring-ref": str(front.rx_ref),
            "event-channel": str(front.port),
            "request-rx-copy": "1",
            "feature-rx-notify": "1",
            "feature-sg": "1",
        }
        await xenbus.connect(os, path, backend, keys)
        os.events.unmask(front.port)
        return front

    @property
    def id(self) -> str:
        """The interface's name: `vif0`."""
        return f"vif{self._dev}"

    def __repr__(self) -> str:
        return f"<Netfront {self.id} {self.mac} tx {self._tx_prod} rx {self._rx_cons} waiting {len(self._waiting)}>"

    # sending -----------------------------------------------------------------------------------------------------

    def write(self, frame: bytes) -> None:
        """Send a frame; raises LocalProtocolError when it is longer than MTU and header."""
        if len(frame) > LONGEST:
            raise LocalProtocolError(f"{self.id}: a frame of {len(frame)} bytes; the MTU of {self.mtu} allows {LONGEST}")
        if len(self._free) < LOW:
            self._collect()
        if self._waiting or not self._free:
            self._wait(frame)
        else:
            self._place(frame)
        if not self._pushing:
            self._pushing = True
            self._queue.post(self._push)

    def writev(self, pieces: Sequence[bytes]) -> None:
        """Send one frame made of `pieces`."""
        self.write(b"".join(pieces))

    def _place(self, frame: bytes) -> None:
        index = self._free.pop()
        at, size = self._tx_at[index], len(frame)
        self._view[at : at + size] = frame
        prod = self._tx_prod
        TX_REQUEST.pack_into(self._tx_page, 64 + (prod & _MASK) * TX_SLOT, self._tx_refs[index], 0, 0, index, size)
        self._tx_prod = (prod + 1) & _U32
        self._tx_pkts += 1
        self._tx_bytes += size

    def _wait(self, frame: bytes) -> None:
        if len(self._waiting) >= WAITING:
            self.dropped += 1
            return
        self._waiting.append(frame)
        self._collect(wanted=True)

    def _push(self) -> None:
        """Show the back end what was written, and wake it if it asked for that."""
        self._pushing = False
        self._drain()
        old, new = self._tx_pushed, self._tx_prod
        if old == new:
            return
        page = self._tx_page
        ring.INDEX.pack_into(page, ring.REQ_PROD, new)
        self._tx_pushed = new
        if ring.must_notify(old, new, ring.INDEX.unpack_from(page, ring.REQ_EVENT)[0]):
            self._os.events.notify(self.port)

    def _drain(self) -> None:
        while self._waiting and self._free:
            self._place(self._waiting.popleft())

    def _collect(self, *, wanted: bool = False) -> None:
        """Take back the pages of answered requests; `wanted`: be told of the next answer."""
        page = self._tx_page
        cons, prod = self._tx_cons, ring.INDEX.unpack_from(page, ring.RSP_PROD)[0]
        if (prod - cons) & _U32 > (self._tx_pushed - cons) & _U32:
            return  # the back end answers what was not asked
        while cons != prod:
            at = 64 + (cons & _MASK) * TX_SLOT
            index = page[at] | page[at + 1] << 8
            if index < SLOTS:
                self._free.append(index)
            cons = (cons + 1) & _U32
        self._tx_cons = cons
        event = cons + 1 if wanted or self._waiting else cons + SLOTS
        ring.INDEX.pack_into(page, ring.RSP_EVENT, event & _U32)
        if wanted and ring.INDEX.unpack_from(page, ring.RSP_PROD)[0] != cons:
            self._collect()

    # receiving ---------------------------------------------------------------------------------------------------

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """Call `receive(frame)` for what arrives; again replaces.  Before, frames are dropped."""
        self._receive = receive

    def _event(self) -> None:
        if self._waiting:
            self._collect(wanted=True)
            if self._free and not self._pushing:
                self._push()
        self._take()

    def _take(self) -> None:
        """Take every frame of the rx ring and give its page back."""
        page, view, addresses = self._rx_page, self._view, self._rx_at
        while True:
            cons, prod = self._rx_cons, ring.INDEX.unpack_from(page, ring.RSP_PROD)[0]
            count = (prod - cons) & _U32
            if not count or count > SLOTS:
                ring.INDEX.pack_into(page, ring.RSP_EVENT, (cons + 1) & _U32)
                if ring.INDEX.unpack_from(page, ring.RSP_PROD)[0] == cons or count > SLOTS:
                    return
                continue
            first = cons & _MASK
            run = min(count, SLOTS - first)
            slots = bytes(page[64 + first * RX_SLOT : 64 + (first + run) * RX_SLOT]) + bytes(page[64 : 64 + (count - run) * RX_SLOT])
            frames, used = [], []
            for index, offset, _, size in RX_RESPONSE.iter_unpack(slots):
                if index >= SLOTS:
                    continue
                used.append(index)
                if 0 < size <= 4096 - offset:
                    at = addresses[index] + offset
                    frames.append(bytes(view[at : at + size]))
            self._rx_cons = prod
            self._refill(used)
            receive = self._receive
            for frame in frames:
                self._rx_pkts += 1
                self._rx_bytes += len(frame)
                if receive is not None:
                    receive(frame)

    def _refill(self, used: list[int]) -> None:
        """Offer the pages `used` again."""
        page, prod = self._rx_page, self._rx_prod
        data = b"".join([self._rx_requests[index] for index in used])
        first = prod & _MASK
        run = min(len(used), SLOTS - first) * RX_SLOT
        page[64 + first * RX_SLOT : 64 + first * RX_SLOT + run] = data[:run]
        page[64 : 64 + len(data) - run] = data[run:]
        self._rx_prod = new = (prod + len(used)) & _U32
        ring.INDEX.pack_into(page, ring.REQ_PROD, new)
        if ring.must_notify(prod, new, ring.INDEX.unpack_from(page, ring.REQ_EVENT)[0]) and self._rx_cons:
            self._os.events.notify(self.port)

    # NETWORK -----------------------------------------------------------------------------------------------------

    def get_stats_counters(self) -> NetworkStats:
        """Return the counters."""
        return NetworkStats(self._rx_bytes, self._rx_pkts, self._tx_bytes, self._tx_pkts)

    def reset_stats_counters(self) -> None:
        """Set the counters to zero."""
        self._rx_bytes = self._rx_pkts = self._tx_bytes = self._tx_pkts = 0

    async def disconnect(self) -> None:
        """Close the interface: 5, then 6 with the back end."""
        self._receive = None
        await xenbus.disconnect(self._os, f"device/vif/{self._dev}", self._backend)
