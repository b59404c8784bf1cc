"""Blkback: the other end of every vbd (Linux xen-blkback): from the ring to a Volume and back.

    ring ─ whole, copied before it is believed ─▶ queue of the vbd ─ one at a time, as long as a disk takes ─▶ response

    write   GNTTABOP_copy of all segments to the staging pages of dom0, then to the volume
    read    from the volume to staging, then GNTTABOP_copy to the pages granted

A front end is a guest's code: what it asks is checked, what cannot be is answered with an error and nothing is written.  A
ring whose index runs away closes the vbd (state 6), which its front end may open again; dom0 lives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mirage_lab.runtime import Timer, costs
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.xen.abi import grant_table as gnt
from mirage_lab.xen.abi.io import blkif, ring
from mirage_lab.xen.abi.io.xenbus import XenbusState
from mirage_lab.xen.abi.xen import DOMID_SELF, GRANT_TABLE_OP, PAGE_SIZE, Domid, Pfn
from mirage_lab.xen.dom0.backend import Backend, Kernel
from mirage_lab.xen.dom0.disk import CLUSTER, DiskError, Volume

__all__ = ["Blkback", "Vbd", "VbdStatistics"]

PATIENCE: Final = seconds(10)
"""How long a front end may take to close its disk: LIBXL_DESTROY_TIMEOUT."""
_MASK: Final = blkif.SLOTS - 1
_U32: Final = 0xFFFF_FFFF


class Refused(Exception):
    """A request that is answered with `status`; the message is the reason, the same for all of its kind."""

    def __init__(self, why: str, status: int = blkif.RSP_ERROR) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class VbdStatistics:
    """Requests by operation, sectors read and written, requests refused by reason, the xenbus state of the back end."""

    requests: dict[str, int]
    read: int
    written: int
    refused: dict[str, int]
    state: str


class Vbd(Backend):
    """The back end of one virtual disk."""

    kind = "vbd"
    driver = "blkback"

    def __init__(self, back: Blkback, domid: Domid, device: int, volume: Volume, name: str) -> None:
        super().__init__(back.kernel, domid, device, name)
        self.back = back
        self.volume = volume
        self.read = self.written = 0
        self.requests: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self._layout = blkif.X86_64
        self._page = memoryview(b"")
        self._req_cons = self._rsp_prod = 0
        self._queue: deque[tuple[bytes, int, int, Ns]] = deque()
        self._timer: Timer | None = None
        self._gone: Callable[[], None] | None = None
        self._patience: Timer | None = None

    # connecting --------------------------------------------------------------------------------------------------

    @property
    def plugged(self) -> bool:
        """False once the disk has been taken away."""
        return self.back.vbds.get((self.domid, self.device)) is self

    def offer(self) -> dict[str, str]:
        """Return nothing: what the disk can do is told when the front end is there, as Linux does."""
        return {}

    def refs(self) -> list[int]:
        """Read the layout of the ring; return its reference."""
        xs = self.kernel.xs
        protocol = xs.get(f"{self.frontend}/protocol") or blkif.X86_64.protocol
        if protocol not in blkif.LAYOUTS:
            raise LocalProtocolError(f"protocol {protocol[:40]!r}; {', '.join(blkif.LAYOUTS)} are known")
        self._layout = blkif.LAYOUTS[protocol]
        return [int(xs.read(f"{self.frontend}/ring-ref"))]

    def connected(self, pages: list[memoryview]) -> Callable[[], None]:
        """Tell what the disk is."""
        (self._page,) = pages
        self._req_cons = self._rsp_prod = 0
        self._tell()
        return self._take

    def began(self) -> None:
        """Take what is in the ring already."""
        self._take()

    def closed(self) -> None:
        """The front end has closed: the disk can be pulled out, if it is to be."""
        if self._gone is None:
            super().closed()
        else:
            self._away()

    def _tell(self) -> None:
        """Write what the disk is and can do (connect() of Linux xen-blkback/xenbus.c)."""
        readonly = self.volume.readonly
        discards = not readonly and not self.volume.through
        info = blkif.VDISK_READONLY if readonly else 0
        told = {
            "feature-flush-cache": 1,
            "feature-barrier": 1,
            "feature-persistent": 0,
            "feature-discard": int(discards),
            **({"discard-granularity": CLUSTER, "discard-alignment": 0, "discard-secure": 0} if discards else {}),
            "sectors": self.volume.sectors,
            "info": info,
            "sector-size": blkif.SECTOR,
            "physical-sector-size": blkif.SECTOR,
        }
        with self.kernel.xs.transaction() as tx:
            for name, value in told.items():
                tx.write(f"{self.path}/{name}", str(value))

    def detach(self, gone: Callable[[], None]) -> None:
        """Ask the front end to close, as `xl block-detach` does; `gone()` is called when it has, or after 10 s."""
        self._gone = gone
        self.kernel.xs.write(f"{self.path}/online", "0")
        if self.state is XenbusState.CONNECTED:
            self._go(XenbusState.CLOSING)
            self._patience = self.kernel.queue.call_later(PATIENCE, self._forced)
        else:
            self._away()

    def _forced(self) -> None:
        self.kernel.say(f"blkback: {self.name}: the front end does not close; the vbd is taken away")
        self._away()

    def _away(self) -> None:
        """The disk is pulled out."""
        gone, self._gone = self._gone, None
        self.back.remove(self)
        self._go(XenbusState.CLOSED)
        if gone is not None:
            gone()

    def forget(self) -> None:
        """Forget what was asked."""
        for timer in (self._timer, self._patience):
            if timer is not None:
                timer.cancel()
        self._timer = self._patience = None
        self._queue.clear()

    # the ring ----------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Take the whole ring, again until it is empty; what the guest changes in a slot afterwards is not seen."""
        page, slot = self._page, self._layout.slot
        while self._evtchn is not None:
            cons, prod = self._req_cons, ring.INDEX.unpack_from(page, ring.REQ_PROD)[0]
            count = (prod - cons) & _U32
            if count > blkif.SLOTS or (prod - self._rsp_prod) & _U32 > blkif.SLOTS:
                self.fail(f"ring: req_prod {prod} is {count} past {cons}, with {len(self._queue)} not answered")
                return
            if not count:
                ring.INDEX.pack_into(page, ring.REQ_EVENT, (cons + 1) & _U32)
                if ring.INDEX.unpack_from(page, ring.REQ_PROD)[0] == cons:
                    break
                continue
            for index in range(count):
                place = (cons + index) & _MASK
                raw = bytes(page[ring.ENTRIES + place * slot : ring.ENTRIES + (place + 1) * slot])
                sectors = self._sectors(raw)
                self._queue.append((raw, self._asked(raw, place, sectors), sectors, self.kernel.queue.now))
            self._req_cons = prod
        self._begin()

    def _sectors(self, raw: bytes) -> int:
        """Return how many sectors a request reads or writes, if it is one that can be."""
        if raw[0] not in (blkif.READ, blkif.WRITE, blkif.WRITE_BARRIER):
            return 0
        at, count = self._layout.segments, min(raw[1], blkif.SEGMENTS)
        segments = blkif.SEGMENT.iter_unpack(raw[at : at + count * blkif.SEGMENT.size])
        return sum(last - first + 1 for _, first, last in segments if first <= last < blkif.PER_PAGE)

    def _asked(self, raw: bytes, slot: int, sectors: int) -> int:
        """Tell of a request; return the number of that event, the cause of its answer."""
        world, kind = self.kernel.queue.world, self.back.k_request
        op, _, _, rid, sector = self._layout.request.unpack_from(raw)
        name = blkif.OP_NAMES.get(op, str(op))
        self.requests[name] = self.requests.get(name, 0) + 1
        if not kind.on:
            return world.cause
        return kind.emit(world.now, "dom0", world.cause, {"vbd": self.name, "op": name, "sector": sector, "sectors": sectors, "id": rid, "slot": slot})

    def _begin(self) -> None:
        """Have the disk work on the next request."""
        if self._queue and self._timer is None:
            first = self._queue[0]
            self.kernel.queue.world.cause = first[1]
            takes = Ns(costs.DISK_REQUEST + first[2] * costs.DISK_SECTOR)
            self._timer = self.kernel.queue.call_later(takes, self._done, first)

    def _done(self, request: tuple[bytes, int, int, Ns]) -> None:
        """The disk has worked on the first request: do it, and answer."""
        if not self._queue or self._queue[0] is not request:
            return  # the vbd was closed meanwhile
        self._timer = None
        raw, cause, _, since = self._queue.popleft()
        world = self.kernel.queue.world
        world.cause = cause
        op, _, _, rid, _ = self._layout.request.unpack_from(raw)
        try:
            self._perform(raw)
            status = blkif.RSP_OKAY
        except Refused as error:
            status = error.status
            self._complain(str(error))
        except DiskError as error:
            status = blkif.RSP_ERROR
            self._complain(str(error))
        if self.back.k_response.on:
            told = {"vbd": self.name, "op": blkif.OP_NAMES.get(op, str(op)), "id": rid, "status": status, "took": world.now - since}
            world.cause = self.back.k_response.emit(world.now, "dom0", cause, told)
        self._answer(rid, op, status)
        self._begin()

    def _complain(self, why: str) -> None:
        """Count a refusal; the first of its kind is said."""
        if why not in self.refused:
            self.kernel.say(f"blkback: {self.name}: {why}: request refused")
        self.refused[why] = self.refused.get(why, 0) + 1

    def _answer(self, rid: int, op: int, status: int) -> None:
        page, old = self._page, self._rsp_prod
        self._layout.response.pack_into(page, ring.ENTRIES + (old & _MASK) * self._layout.slot, rid, op, status)
        self._rsp_prod = new = (old + 1) & _U32
        ring.INDEX.pack_into(page, ring.RSP_PROD, new)
        if self._evtchn is not None and ring.must_notify(old, new, ring.INDEX.unpack_from(page, ring.RSP_EVENT)[0]):
            self.kernel.events.notify(self._evtchn)

    # the disk ----------------------------------------------------------------------------------------------------

    def _perform(self, raw: bytes) -> None:
        """Do one request; raises Refused, DiskError."""
        op, segments, _, _, sector = self._layout.request.unpack_from(raw)
        match op:
            case blkif.READ:
                self._read(sector, self._segments(raw, segments))
            case blkif.WRITE:
                self._write(sector, self._segments(raw, segments))
            case blkif.WRITE_BARRIER:
                if segments:
                    self._write(sector, self._segments(raw, segments))
                self.volume.flush()
            case blkif.FLUSH_DISKCACHE:
                self.volume.flush()
            case blkif.DISCARD:
                self._discard(sector, raw)
            case _:
                raise Refused("an operation that is not offered", blkif.RSP_EOPNOTSUPP)

    def _segments(self, raw: bytes, count: int) -> list[tuple[int, int, int]]:
        """Return (gref, first byte, bytes) of each segment; raises Refused."""
        if not 1 <= count <= blkif.SEGMENTS:
            raise Refused(f"segments of a request are 1 to {blkif.SEGMENTS}")
        at = self._layout.segments
        found = []
        for gref, first, last in blkif.SEGMENT.iter_unpack(raw[at : at + count * blkif.SEGMENT.size]):
            if not first <= last < blkif.PER_PAGE:
                raise Refused("a segment that is not inside its page")
            found.append((gref, first * blkif.SECTOR, (last - first + 1) * blkif.SECTOR))
        return found

    def _room(self, sector: int, count: int) -> None:
        if sector + count > self.volume.sectors:
            raise Refused(f"sectors past the end, {self.volume.sectors}")

    def _read(self, sector: int, segments: list[tuple[int, int, int]]) -> None:
        count = sum(length for _, _, length in segments) // blkif.SECTOR
        self._room(sector, count)
        data = self.volume.read(sector, count)
        staging, at = self.back.staging, 0
        for index, (_, first, length) in enumerate(segments):
            start = index * PAGE_SIZE + first
            staging[start : start + length] = data[at : at + length]
            at += length
        self._copy(segments, out=True)
        self.read += count

    def _write(self, sector: int, segments: list[tuple[int, int, int]]) -> None:
        if self.volume.readonly:
            raise Refused("writing to a disk that can only be read")
        count = sum(length for _, _, length in segments) // blkif.SECTOR
        self._room(sector, count)
        self._copy(segments, out=False)
        staging = self.back.staging
        pieces = [bytes(staging[index * PAGE_SIZE + first : index * PAGE_SIZE + first + length]) for index, (_, first, length) in enumerate(segments)]
        self.volume.write(sector, b"".join(pieces))
        self.written += count

    def _discard(self, sector: int, raw: bytes) -> None:
        if self.volume.readonly or self.volume.through or raw[1] & blkif.DISCARD_SECURE:
            raise Refused("a discard that is not offered", blkif.RSP_EOPNOTSUPP)
        count = blkif.COUNT.unpack_from(raw, self._layout.segments)[0]
        self._room(sector, count)
        self.volume.discard(sector, count)

    def _copy(self, segments: list[tuple[int, int, int]], *, out: bool) -> None:
        """Copy between staging pages and granted ones, all segments in one hypercall; raises Refused."""
        back, pack, domid = self.back, gnt.COPY_ARG.pack_into, self.domid
        arg, size = back.copies, gnt.COPY_ARG.size
        for index, (gref, first, length) in enumerate(segments):
            ours = back.staging_mfn + index
            if out:
                pack(arg, index * size, ours, DOMID_SELF, first, gref, domid, first, length, gnt.GNTCOPY_DEST_GREF, 0)
            else:
                pack(arg, index * size, gref, domid, first, ours, DOMID_SELF, first, length, gnt.GNTCOPY_SOURCE_GREF, 0)
        self.kernel.gate.call(GRANT_TABLE_OP, gnt.COPY, arg, len(segments))
        if any(arg[index * size + gnt.COPY_STATUS] for index in range(len(segments))):
            raise Refused("a grant that cannot be used")

    def statistics(self) -> VbdStatistics:
        """Return the counters."""
        return VbdStatistics(dict(self.requests), self.read, self.written, dict(self.refused), self.state.title)


class Blkback:
    """All vbds.  11 staging pages of dom0 serve them one after the other."""

    def __init__(self, kernel: Kernel, staging: Pfn) -> None:
        self.kernel = kernel
        queue, gate = kernel.queue, kernel.gate
        self.vbds: dict[tuple[int, int], Vbd] = {}
        self.staging = gate.memory.view[staging << 12 : (staging + blkif.SEGMENTS) << 12]
        self.staging_mfn = gate.memory.mfn(staging)
        self.copies = bytearray(gnt.COPY_ARG.size * blkif.SEGMENTS)
        self.k_request, self.k_response = queue.kind("blk.request"), queue.kind("blk.response")

    def plug(self, domid: Domid, device: int, volume: Volume, name: str) -> None:
        """Serve a vbd whose device nodes are written."""
        vbd = self.vbds[domid, device] = Vbd(self, domid, device, volume, name)
        self.kernel.queue.post(vbd.start)

    def unplug(self, domid: Domid) -> None:
        """A domain goes: close its vbds and their files."""
        for vbd in self.of(domid):
            self.remove(vbd)
            vbd.state = XenbusState.CLOSED

    def remove(self, vbd: Vbd) -> None:
        """Serve a vbd no longer, and close its file."""
        del self.vbds[vbd.domid, vbd.device]
        vbd.stop()
        vbd.volume.close()

    def close(self) -> None:
        """Close all files: the machine is switched off."""
        for vbd in self.vbds.values():
            vbd.volume.close()

    def of(self, domid: int) -> list[Vbd]:
        """Return the vbds of a domain, in the order they were plugged in."""
        return [vbd for key, vbd in self.vbds.items() if key[0] == domid]

    def statistics(self) -> dict[str, VbdStatistics]:
        """Return the counters by vbd."""
        return {vbd.name: vbd.statistics() for vbd in self.vbds.values()}
