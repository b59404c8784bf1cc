"""Blkfront: BLOCK over the ring of a vbd (mirage-block-xen; Linux xen-blkfront.c).

A read or write is cut into requests of 11 pages at most, and up to 32 of them are in the ring at once.  Pages are granted when
they are first needed and used again and again, 352 at most; a whole ring of responses is taken per wake-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar, Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import DeviceError, Disconnected, IsReadOnly, LocalProtocolError, Unimplemented
from mirage_lab.signatures.storage import BlockInfo
from mirage_lab.xen.abi.io import blkif, ring
from mirage_lab.xen.abi.io.xenbus import XenbusState, parse
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE, Domid, Gref, Pfn, Port
from mirage_lab.xen.guest import xenbus
from mirage_lab.xen.guest.xenstore import XsError

if TYPE_CHECKING:
    from mirage_lab.xen.guest.minios import MiniOS

__all__ = ["Blkfront", "find"]

CHUNK: Final = blkif.SEGMENTS * PAGE_SIZE
_MASK: Final = blkif.SLOTS - 1
_U32: Final = 0xFFFF_FFFF
_LAYOUT: Final = blkif.X86_64


class _Request:
    """A request in the ring: what it is, its pages, where its bytes go, and its end."""

    __slots__ = ("done", "into", "op", "pages", "sector")

    def __init__(self, op: int, sector: int, pages: list[tuple[Pfn, Gref]], into: memoryview) -> None:
        self.op = op
        self.sector = sector
        self.pages = pages
        self.into = into
        self.done: tasks.Future[int] = tasks.Future()


class Blkfront:
    """One virtual disk.  `read` and `write` end when the back end has answered all their requests."""

    module_type: ClassVar[str] = "BLOCK"

    def __init__(self, os: MiniOS, device: int, backend: str, backend_id: Domid) -> None:
        self.id = blkif.device_name(device)
        self.connected = False
        self._os = os
        self._path = f"device/vbd/{device}"
        self._backend = backend
        self._backend_id = backend_id
        self._view = os.memory.view
        self._ring_pfn = os.pages.allocate()
        self._page = os.memory.page(self._ring_pfn)
        ring.init(self._page)
        self.ring_ref = os.gnttab.grant(backend_id, self._ring_pfn)
        self._prod = self._pushed = self._cons = 0
        self._pushing = False
        self._ids = list(range(blkif.SLOTS - 1, -1, -1))
        self._requests: list[_Request | None] = [None] * blkif.SLOTS
        self._pages: list[tuple[Pfn, Gref]] = []
        self._room = tasks.Condition()
        self._quiet = tasks.Condition()
        self._features: dict[str, bool] = {}
        self._info = BlockInfo(False, blkif.SECTOR, 0)
        self.port: Port = os.events.alloc_unbound(backend_id)
        os.events.bind(self.port, self._event)

    @classmethod
    async def plug(cls, os: MiniOS, device: int) -> Blkfront:
        """Connect disk number `device` with its back end (1-2-3-4, or 1-4 in 2014); raises DeviceError."""
        path = f"device/vbd/{device}"
        backend_id = Domid(int(await os.xs.read(f"{path}/backend-id")))
        backend = await os.xs.read(f"{path}/backend")
        if parse(await os.xs.read(f"{path}/state")) is not XenbusState.INITIALISING:
            await xenbus.set_state(os, path, XenbusState.INITIALISING)  # it was closed before: begin again
            await xenbus.wait_for(os, backend, XenbusState.INIT_WAIT, closing=False)
        front = cls(os, device, backend, backend_id)
        keys = {"ring-ref": str(front.ring_ref), "event-channel": str(front.port), "protocol": _LAYOUT.protocol}
        await xenbus.connect(os, path, backend, keys)
        await front._learn(early=os.profile == "2014")
        os.events.unmask(front.port)
        front.connected = True
        await os.xs.watch(f"{backend}/state", front._token, front._backend_changed)
        return front

    @property
    def _token(self) -> str:
        return f"blkfront:{self.id}"

    async def _learn(self, *, early: bool) -> None:
        """Read what the disk is; who went to Connected at once waits for the other end here (as mirage-block-xen did)."""
        xs = self._os.xs
        if early:
            await xenbus.wait_for(self._os, self._backend, XenbusState.CONNECTED)
        told = {}
        for name in blkif.BACK_KEYS:
            try:
                told[name] = await xs.read(f"{self._backend}/{name}")
            except XsError:
                told[name] = ""
        numbers = [told[name] for name in ("sectors", "sector-size")]
        if not all(text.isascii() and text.isdigit() and len(text) <= 19 for text in numbers):
            raise DeviceError(f"{self.id}: the back end tells no size: sectors {numbers[0]!r}, sector-size {numbers[1]!r}")
        sectors, size = map(int, numbers)
        if size not in (512, 1_024, 2_048, 4_096):
            raise DeviceError(f"{self.id}: sectors of {size} bytes; 512 to 4096 are possible")
        self._features = {name: text == "1" for name, text in told.items() if name.startswith("feature-")}
        self._info = BlockInfo(told["mode"] != "r" and told["info"] != str(blkif.VDISK_READONLY), size, sectors * blkif.SECTOR // size)

    def __repr__(self) -> str:
        flying = sum(request is not None for request in self._requests)
        return f"<Blkfront {self.id} {self._info.size_sectors} sectors of {self._info.sector_size} bytes, {flying} requests in the ring>"

    # BLOCK -------------------------------------------------------------------------------------------------------

    async def get_info(self) -> BlockInfo:
        """Return size and sector size."""
        return self._info

    async def read(self, sector: int, buffers: Sequence[bytearray | memoryview]) -> None:
        """Fill `buffers` from `sector` on; raises LocalProtocolError, DeviceError, Disconnected."""
        length = self._check(sector, buffers)
        whole = bytearray(length)
        await self._transfer(blkif.READ, sector, memoryview(whole))
        at = 0
        for buffer in buffers:
            buffer[:] = whole[at : at + len(buffer)]
            at += len(buffer)

    async def write(self, sector: int, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        """Write `buffers` from `sector` on; raises IsReadOnly, LocalProtocolError, DeviceError, Disconnected."""
        self._check(sector, buffers)
        self._writable()
        await self._transfer(blkif.WRITE, sector, memoryview(b"".join(buffers)))

    async def flush(self) -> None:
        """Return when all that was written is where a power cut cannot take it; a back end without a cache needs no asking."""
        self._check(0, ())
        if self._features.get("feature-flush-cache"):
            await self._ask(blkif.FLUSH_DISKCACHE, 0, 0)

    async def discard(self, sector: int, count: int) -> None:
        """Tell the disk that sectors are not needed any more; raises Unimplemented where it does not care."""
        size = self._info.sector_size
        self._range(sector, count)
        self._writable()
        if not self._features.get("feature-discard"):
            raise Unimplemented(f"{self.id}: this disk takes no discards")
        await self._ask(blkif.DISCARD, sector * size // blkif.SECTOR, count * size // blkif.SECTOR)

    async def disconnect(self) -> None:
        """Wait for what is in the ring, then close: 5, then 6 with the back end; pages and grants are taken back."""
        if not self.connected:
            return
        self.connected = False
        self._room.notify_all()
        while any(self._requests):
            await self._quiet.wait()
        await self._os.xs.unwatch(f"{self._backend}/state", self._token)
        await xenbus.disconnect(self._os, self._path, self._backend)
        await self._closed()
        self._release()

    async def _closed(self) -> None:
        """Wait until the back end is closed, or gone."""
        await self._os.xs.wait(f"{self._backend}/state", lambda text: True if parse(text) is XenbusState.CLOSED else None, missing=True)

    def _release(self) -> None:
        """Give the port back, and pages and grants that the other end has let go."""
        self._os.events.close(self.port)
        for pfn, ref in [*self._pages, (self._ring_pfn, self.ring_ref)]:
            if self._os.gnttab.end(ref):
                self._os.pages.free(pfn)
        self._pages.clear()

    # rules -------------------------------------------------------------------------------------------------------

    def _check(self, sector: int, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        """Return how many bytes the buffers are; raises unless all of them can be read or written there."""
        size = self._info.sector_size
        odd = next((len(buffer) for buffer in buffers if len(buffer) % size), None)
        if odd is not None:
            raise LocalProtocolError(f"{self.id}: a buffer of {odd} bytes; buffers are whole sectors of {size}")
        length = sum(map(len, buffers))
        self._range(sector, length // size)
        return length

    def _range(self, sector: int, count: int) -> None:
        if not self.connected:
            raise Disconnected(f"{self.id}: the disk was disconnected")
        if sector < 0 or count < 0 or sector + count > self._info.size_sectors:
            raise LocalProtocolError(f"{self.id}: sectors {sector} to {sector + count - 1} of a disk that ends at {self._info.size_sectors - 1}")

    def _writable(self) -> None:
        if not self._info.read_write:
            raise IsReadOnly(f"{self.id}: this disk can only be read")

    # requests ----------------------------------------------------------------------------------------------------

    async def _transfer(self, op: int, sector: int, data: memoryview) -> None:
        """Have requests of 44 KiB read into `data`, or write it; all are answered before the first error is raised."""
        first = sector * self._info.sector_size // blkif.SECTOR
        asked: list[_Request] = []
        try:
            for start in range(0, len(data), CHUNK):
                request = await self._submit(op, first + start // blkif.SECTOR, data[start : start + CHUNK])
                asked += [request]
        finally:
            statuses = [await request.done.wait() for request in asked]
        for request, status in zip(asked, statuses, strict=True):
            self._raise(op, request.sector, status)

    async def _submit(self, op: int, sector: int, data: memoryview) -> _Request:
        """Put a request of so many bytes into the ring, when there is room."""
        rid = await self._slot()
        pages = [self._granted() for _ in range(-(-len(data) // PAGE_SIZE))]
        request = _Request(op, sector, pages, data if op == blkif.READ else data[:0])
        raw = bytearray(_LAYOUT.slot)
        _LAYOUT.request.pack_into(raw, 0, op, len(pages), 0, rid, sector)
        for index, (pfn, ref) in enumerate(pages):
            piece = data[index * PAGE_SIZE : (index + 1) * PAGE_SIZE]
            if op == blkif.WRITE:
                at = pfn << PAGE_SHIFT
                self._view[at : at + len(piece)] = piece
            blkif.SEGMENT.pack_into(raw, _LAYOUT.segments + index * blkif.SEGMENT.size, ref, 0, len(piece) // blkif.SECTOR - 1)
        self._place(rid, request, raw)
        return request

    async def _ask(self, op: int, sector: int, count: int) -> None:
        """Make a request without segments: a flush, a discard."""
        rid = await self._slot()
        request = _Request(op, sector, [], memoryview(b""))
        raw = bytearray(_LAYOUT.slot)
        _LAYOUT.request.pack_into(raw, 0, op, 0, 0, rid, sector)
        blkif.COUNT.pack_into(raw, _LAYOUT.segments, count)
        self._place(rid, request, raw)
        self._raise(op, sector, await request.done.wait())

    async def _slot(self) -> int:
        """Return a free id; raises Disconnected."""
        while not self._ids and self.connected:
            await self._room.wait()
        if not self.connected:
            raise Disconnected(f"{self.id}: the disk was disconnected")
        return self._ids.pop()

    def _granted(self) -> tuple[Pfn, Gref]:
        """Return a page the back end may read and write."""
        if self._pages:
            return self._pages.pop()
        pfn = self._os.pages.allocate()
        return pfn, self._os.gnttab.grant(self._backend_id, pfn)

    def _place(self, rid: int, request: _Request, raw: bytearray) -> None:
        self._requests[rid] = request
        at = ring.ENTRIES + (self._prod & _MASK) * _LAYOUT.slot
        self._page[at : at + _LAYOUT.slot] = raw
        self._prod = (self._prod + 1) & _U32
        if not self._pushing:
            self._pushing = True
            self._os.queue.post(self._push)

    def _push(self) -> None:
        """Show the back end what was written, and wake it if it asked for that."""
        self._pushing = False
        old, new = self._pushed, self._prod
        if old == new or not any(self._requests):
            return
        ring.INDEX.pack_into(self._page, ring.REQ_PROD, new)
        self._pushed = new
        if ring.must_notify(old, new, ring.INDEX.unpack_from(self._page, ring.REQ_EVENT)[0]):
            self._os.events.notify(self.port)

    def _raise(self, op: int, sector: int, status: int) -> None:
        """Turn the status of a response into an error."""
        what = f"{self.id}: {blkif.OP_NAMES[op]} of sector {sector * blkif.SECTOR // self._info.sector_size}"
        match status:
            case blkif.RSP_OKAY:
                return
            case blkif.RSP_EOPNOTSUPP:
                raise Unimplemented(f"{what}: the back end does not offer it")
            case _ if not self.connected:
                raise Disconnected(f"{what}: the back end went away")
            case _:
                raise DeviceError(f"{what}: {blkif.STATUS_NAMES.get(status, status)} from the back end; `%xl dmesg` tells why")

    # answers -----------------------------------------------------------------------------------------------------

    def _event(self) -> None:
        """Take every response of the ring."""
        page = self._page
        while True:
            cons, prod = self._cons, ring.INDEX.unpack_from(page, ring.RSP_PROD)[0]
            count = (prod - cons) & _U32
            if not count or count > (self._pushed - cons) & _U32:
                ring.INDEX.pack_into(page, ring.RSP_EVENT, (cons + 1) & _U32)
                if ring.INDEX.unpack_from(page, ring.RSP_PROD)[0] == cons or count:
                    return
                continue
            for index in range(count):
                at = ring.ENTRIES + ((cons + index) & _MASK) * _LAYOUT.slot
                rid, _, status = _LAYOUT.response.unpack_from(page, at)
                self._answered(rid, status)
            self._cons = prod

    def _answered(self, rid: int, status: int) -> None:
        request = self._requests[rid] if rid < blkif.SLOTS else None
        if request is None:
            return  # an answer to what was not asked
        into, at = request.into, 0
        for pfn, _ in request.pages:
            size = min(PAGE_SIZE, len(into) - at)
            if status == blkif.RSP_OKAY and size > 0:
                into[at : at + size] = self._view[pfn << PAGE_SHIFT : (pfn << PAGE_SHIFT) + size]
                at += size
        self._end(rid, request, status)

    def _end(self, rid: int, request: _Request, status: int) -> None:
        self._pages += request.pages
        self._requests[rid] = None
        self._ids.append(rid)
        request.done.set(status)
        self._room.notify()
        if not any(self._requests):
            self._quiet.notify_all()

    def _backend_changed(self, path: str) -> None:
        """The state of the back end may have changed: look."""
        if self.connected:
            self._os.queue.spawn(self._look(), f"blkfront {self.id}")

    async def _look(self) -> None:
        """When the back end has gone, or wants to: fail what is in the ring, and close."""
        try:
            state = parse(await self._os.xs.read(f"{self._backend}/state"))
        except XsError:
            state = XenbusState.CLOSED
        if state in (XenbusState.CLOSING, XenbusState.CLOSED) and self.connected:
            self.connected = False
            for rid, request in enumerate(self._requests):
                if request is not None:
                    self._end(rid, request, blkif.RSP_ERROR)
            self._room.notify_all()
            await self._os.xs.unwatch(f"{self._backend}/state", self._token)
            try:
                await xenbus.set_state(self._os, self._path, XenbusState.CLOSED)
            except XsError:
                pass  # the vbd is gone already
            else:
                await self._closed()
            self._release()


async def find(os: MiniOS, dev: str) -> int:
    """Return the number of the disk called `dev`: xvda, /dev/xvda, 51712, or the file it is made of; raises DeviceError."""
    try:
        there = [int(name) for name in await os.xs.directory("device/vbd") if name.isascii() and name.isdigit()]
    except XsError:
        there = []
    try:
        wanted = blkif.device_number(dev)
    except LocalProtocolError:
        wanted = -1
    if wanted in there:
        return wanted
    for number in there:
        backend = await os.xs.read(f"device/vbd/{number}/backend")
        if await os.xs.read(f"{backend}/params") == PurePath(dev).name:
            return number
    disks = ", ".join(map(blkif.device_name, there)) or "none"
    raise DeviceError(f"block {dev!r} is not plugged in (disks of this domain: {disks}): lab.create(image, disk=['disk.img']) plugs one in")
