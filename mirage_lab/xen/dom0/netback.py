"""Netback: the other end of every vif (Linux xen-netback): from the rings to an Ethernet segment and back.

    tx ring ─ one GNTTABOP_copy for all requests ─▶ staging pages of dom0 ─▶ port.send      net.tx
    receive ─▶ queue of the vif ─▶ staging ─ one GNTTABOP_copy ─▶ pages granted in the rx ring   net.rx

A front end is a guest's code: what it writes is checked, an error goes into the response, and a ring whose index runs away
closes the vif (state 6); dom0 lives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mirage_lab.xen.abi import grant_table as gnt
from mirage_lab.xen.abi.io import ring
from mirage_lab.xen.abi.io.netif import (
    NETIF_RSP_ERROR,
    NETIF_RSP_OKAY,
    NETTXF_CSUM_BLANK,
    NETTXF_EXTRA_INFO,
    NETTXF_MORE_DATA,
    RX_REQUEST,
    RX_RESPONSE,
    RX_SLOT,
    SLOTS,
    TX_REQUEST,
    TX_RESPONSE,
    TX_SLOT,
)
from mirage_lab.xen.abi.io.xenbus import XenbusState
from mirage_lab.xen.abi.xen import DOMID_SELF, GRANT_TABLE_OP, PAGE_SIZE, Domid, Pfn
from mirage_lab.xen.dom0.backend import Backend, Kernel
from mirage_lab.xen.dom0.offload import completed

__all__ = ["Netback", "Segment", "Vif", "VifStatistics"]

QUEUED: Final = 1_024
FRAGMENTS: Final = 18
LONGEST: Final = 65_535
SHORTEST: Final = 14
FEATURES: Final = {"feature-rx-copy": "1", "feature-rx-flip": "0", "feature-sg": "1", "feature-gso-tcpv4": "0", "hotplug-status": "connected"}
_MASK: Final = SLOTS - 1
_U32: Final = 0xFFFF_FFFF


class Segment(Protocol):
    """What a vif is plugged into: attach gives a port with `send(frame)`."""

    def attach(self, name: str, receive: Any) -> Any:
        """Plug in."""

    def detach(self, port: Any) -> None:
        """Unplug."""


@dataclass(frozen=True, slots=True)
class VifStatistics:
    """Frames taken from and given to the guest, drops by reason, the xenbus state of the back end."""

    tx: int
    rx: int
    dropped: dict[str, int]
    state: str


class Vif(Backend):
    """The back end of one vif."""

    kind = "vif"
    driver = "netback"

    def __init__(self, back: Netback, domid: Domid, handle: int, segment: Segment, name: str) -> None:
        super().__init__(back.kernel, domid, handle, name)
        self.back = back
        self.segment = segment
        self.tx = self.rx = 0
        self.dropped: dict[str, int] = {}
        self.port: Any = None
        self._tx_page = self._rx_page = memoryview(b"")
        self._tx_cons = self._rx_cons = 0
        self._queue: deque[tuple[bytes, int]] = deque()
        self._scheduled = False

    # connecting --------------------------------------------------------------------------------------------------

    @property
    def plugged(self) -> bool:
        """False once the vif has been taken away."""
        return self.back.vifs.get((self.domid, self.device)) is self

    def offer(self) -> dict[str, str]:
        """Return what this card can do."""
        return FEATURES

    def refs(self) -> list[int]:
        """Return the references of the two rings."""
        return [int(self.kernel.xs.read(f"{self.frontend}/{key}")) for key in ("tx-ring-ref", "rx-ring-ref")]

    def connected(self, pages: list[memoryview]) -> Callable[[], None]:
        """Plug into the segment."""
        self._tx_page, self._rx_page = pages
        self._tx_cons = self._rx_cons = 0
        self.port = self.segment.attach(self.name, self._arrived)
        return self._event

    def began(self) -> None:
        """A front end rings when it has something to send, and asks for nothing before."""

    def forget(self) -> None:
        """Unplug."""
        if self.port is not None:
            self.segment.detach(self.port)
            self.port = None
        self._queue.clear()

    def _drop(self, reason: str, length: int) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        kind = self.back.k_drop
        if kind.on:
            world = self.kernel.queue.world
            kind.emit(world.now, "dom0", world.cause, {"reason": reason, "length": length, "port": self.name})

    # from the guest ----------------------------------------------------------------------------------------------

    def _event(self) -> None:
        if self._evtchn is not None:
            self._from_guest()
        if self._evtchn is not None and self._queue:
            self._to_guest()

    def _from_guest(self) -> None:
        """Take the whole tx ring, again until it is empty."""
        page = self._tx_page
        while self.port is not None:
            cons, prod = self._tx_cons, ring.INDEX.unpack_from(page, ring.REQ_PROD)[0]
            count = (prod - cons) & _U32
            if count > SLOTS:
                self.fail(f"tx ring: req_prod {prod} is {count} past {cons}")
                return
            if not count:
                ring.INDEX.pack_into(page, ring.REQ_EVENT, (cons + 1) & _U32)
                if ring.INDEX.unpack_from(page, ring.REQ_PROD)[0] == cons:
                    return
                continue
            first = cons & _MASK
            run = min(count, SLOTS - first)
            slots = bytes(page[64 + first * TX_SLOT : 64 + (first + run) * TX_SLOT]) + bytes(page[64 : 64 + (count - run) * TX_SLOT])
            requests = list(TX_REQUEST.iter_unpack(slots))
            taken = self._copy_in(requests)
            self._tx_cons = (cons + taken) & _U32
            if taken < count:
                return  # a frame whose last piece has not come yet

    def _copy_in(self, requests: list[tuple[int, ...]]) -> int:
        """Copy the frames of `requests`, answer, and put them on the segment; return how many requests were taken."""
        taken = len(requests)
        while taken and requests[taken - 1][2] & NETTXF_MORE_DATA:
            taken -= 1
        if len(requests) - taken > FRAGMENTS:
            taken = len(requests)  # a frame without end: refused
        elif not taken:
            return 0
        back = self.back
        arg, pack, domid = back.copies, gnt.COPY_ARG.pack_into, self.domid
        at = 0
        for index, (gref, offset, _, _, size) in enumerate(requests[:taken]):
            length = size if offset + size <= PAGE_SIZE else 0
            pack(arg, at, gref, domid, offset, back.staging_mfn + index, DOMID_SELF, 0, length, gnt.GNTCOPY_SOURCE_GREF, 0)
            at += 40
        self.kernel.gate.call(GRANT_TABLE_OP, gnt.COPY, arg, taken)
        frames, answers = self._assemble(requests[:taken])
        self._answer(requests, answers)
        self._send(frames, requests)
        return taken

    def _assemble(self, requests: list[tuple[int, ...]]) -> tuple[list[tuple[bytes, int]], list[int]]:
        """Return the frames that were copied, each with the place of its last request, and a status for each request."""
        staging, arg = self.back.staging, self.back.copies
        frames: list[tuple[bytes, int]] = []
        answers: list[int] = []
        pieces: list[bytes] = []
        good, total, blank = True, 0, 0
        for index, (_, offset, flags, _, size) in enumerate(requests):
            if not pieces:
                good, total, blank = True, size, flags & NETTXF_CSUM_BLANK
            if arg[index * 40 + 36] or offset + size > PAGE_SIZE or flags & NETTXF_EXTRA_INFO or len(pieces) >= FRAGMENTS:
                good = False
            start = index * PAGE_SIZE
            pieces.append(bytes(staging[start : start + size]) if good else b"")
            if flags & NETTXF_MORE_DATA:
                continue
            answers += [NETIF_RSP_OKAY if good else NETIF_RSP_ERROR] * len(pieces)
            frame = pieces[0] if len(pieces) == 1 else self._joined(pieces, total)
            if good and SHORTEST <= len(frame) <= LONGEST:
                frames.append((completed(frame) if blank else frame, index))
            else:
                self._drop("bad request", len(frame))
            pieces = []
        if pieces:
            answers += [NETIF_RSP_ERROR] * len(pieces)
            self._drop("too many pieces", 0)
        return frames, answers

    def _joined(self, pieces: list[bytes], total: int) -> bytes:
        """Put the pieces of a frame together: the first request tells the whole size, so its piece is what is left."""
        rest = sum(map(len, pieces[1:]))
        return pieces[0][: max(total - rest, 0)] + b"".join(pieces[1:])

    def _answer(self, requests: list[tuple[int, ...]], answers: list[int]) -> None:
        page, prod = self._tx_page, self._tx_cons
        for (_, _, _, index, _), status in zip(requests, answers):
            TX_RESPONSE.pack_into(page, 64 + (prod & _MASK) * TX_SLOT, index, status)
            prod = (prod + 1) & _U32
        old = self._tx_cons
        ring.INDEX.pack_into(page, ring.RSP_PROD, prod)
        if self._evtchn is not None and ring.must_notify(old, prod, ring.INDEX.unpack_from(page, ring.RSP_EVENT)[0]):
            self.kernel.events.notify(self._evtchn)

    def _send(self, frames: list[tuple[bytes, int]], requests: list[tuple[int, ...]]) -> None:
        world, kind = self.kernel.queue.world, self.back.k_tx
        cause, port = world.cause, self.port
        self.tx += len(frames)
        for frame, index in frames:
            if kind.on:
                slot, ref = (self._tx_cons + index) & _MASK, requests[index][0]
                world.cause = kind.emit(world.now, "dom0", cause, {"vif": self.name, "length": len(frame), "slot": slot, "ref": ref})
            port.send(frame)
        world.cause = cause

    # to the guest ------------------------------------------------------------------------------------------------

    def _arrived(self, frame: bytes) -> None:
        """The segment has a frame for the guest."""
        if len(self._queue) >= QUEUED or len(frame) > PAGE_SIZE:
            self._drop("guest does not take its frames" if len(frame) <= PAGE_SIZE else "longer than a page", len(frame))
            return
        self._queue.append((frame, self.kernel.queue.world.cause))
        if not self._scheduled:
            self._scheduled = True
            self.kernel.queue.post(self._work)

    def _work(self) -> None:
        self._scheduled = False
        if self._evtchn is not None and self._queue:
            self._to_guest()

    def _to_guest(self) -> None:
        """Fill the rx ring from the queue."""
        page, queue = self._rx_page, self._queue
        while queue:
            cons, prod = self._rx_cons, ring.INDEX.unpack_from(page, ring.REQ_PROD)[0]
            room = (prod - cons) & _U32
            if room > SLOTS:
                self.fail(f"rx ring: req_prod {prod} is {room} past {cons}")
                return
            if not room:
                ring.INDEX.pack_into(page, ring.REQ_EVENT, (cons + 1) & _U32)
                if ring.INDEX.unpack_from(page, ring.REQ_PROD)[0] == cons:
                    return
                continue
            self._copy_out([queue.popleft() for _ in range(min(room, len(queue)))])

    def _copy_out(self, batch: list[tuple[bytes, int]]) -> None:
        back, page, cons = self.back, self._rx_page, self._rx_cons
        arg, staging, pack, domid = back.copies, back.staging, gnt.COPY_ARG.pack_into, self.domid
        ids, refs = [], []
        at = start = 0
        for index, (frame, _) in enumerate(batch):
            rid, gref = RX_REQUEST.unpack_from(page, 64 + ((cons + index) & _MASK) * RX_SLOT)
            ids.append(rid)
            refs.append(gref)
            size = len(frame)
            staging[start : start + size] = frame
            pack(arg, at, back.staging_mfn + index, DOMID_SELF, 0, gref, domid, 0, size, gnt.GNTCOPY_DEST_GREF, 0)
            at += 40
            start += PAGE_SIZE
        world, kind = self.kernel.queue.world, back.k_rx
        world.cause = batch[-1][1] or world.cause
        self.kernel.gate.call(GRANT_TABLE_OP, gnt.COPY, arg, len(batch))
        for index, (frame, cause) in enumerate(batch):
            bad = arg[index * 40 + 36] | arg[index * 40 + 37]
            RX_RESPONSE.pack_into(page, 64 + ((cons + index) & _MASK) * RX_SLOT, ids[index], 0, 0, NETIF_RSP_ERROR if bad else len(frame))
            if bad:
                self._drop("bad page", len(frame))
            elif kind.on:
                told = {"vif": self.name, "length": len(frame), "slot": (cons + index) & _MASK, "ref": refs[index]}
                world.cause = kind.emit(world.now, "dom0", cause, told)
        self.rx += len(batch)
        self._rx_cons = new = (cons + len(batch)) & _U32
        ring.INDEX.pack_into(page, ring.RSP_PROD, new)
        if self._evtchn is not None and ring.must_notify(cons, new, ring.INDEX.unpack_from(page, ring.RSP_EVENT)[0]):
            self.kernel.events.notify(self._evtchn)

    def statistics(self) -> VifStatistics:
        """Return the counters."""
        return VifStatistics(self.tx, self.rx, dict(self.dropped), self.state.title)


class Netback:
    """All vifs.  256 staging pages of dom0 serve them one after the other."""

    def __init__(self, kernel: Kernel, staging: Pfn) -> None:
        self.kernel = kernel
        queue, gate = kernel.queue, kernel.gate
        self.vifs: dict[tuple[int, int], Vif] = {}
        self.staging = gate.memory.view[staging << 12 : (staging + SLOTS) << 12]
        self.staging_mfn = gate.memory.mfn(staging)
        self.copies = bytearray(gnt.COPY_ARG.size * SLOTS)
        self.k_tx, self.k_rx, self.k_drop = queue.kind("net.tx"), queue.kind("net.rx"), queue.kind("lan.drop")

    def plug(self, domid: Domid, handle: int, segment: Segment, name: str) -> None:
        """Serve a vif whose device nodes are written."""
        vif = self.vifs[domid, handle] = Vif(self, domid, handle, segment, name)
        self.kernel.queue.post(vif.start)

    def unplug(self, domid: Domid) -> None:
        """A domain goes: close its vifs."""
        for key in [key for key in self.vifs if key[0] == domid]:
            vif = self.vifs.pop(key)
            vif.stop()
            vif.state = XenbusState.CLOSED

    def statistics(self) -> dict[str, VifStatistics]:
        """Return the counters by vif."""
        return {vif.name: vif.statistics() for vif in self.vifs.values()}
