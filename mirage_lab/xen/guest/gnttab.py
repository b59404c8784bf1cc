"""Gnttab: granting pages of ours to other domains (Mini-OS gnttab.c; MirageOS Gnt)."""

from __future__ import annotations

from typing import Final

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.xen.abi import grant_table as abi
from mirage_lab.xen.abi.errno import check
from mirage_lab.xen.abi.gate import Gate
from mirage_lab.xen.abi.xen import DOMID_SELF, GRANT_TABLE_OP, PAGE_SHIFT, Domid, Gref, Mfn, Pfn
from mirage_lab.xen.guest.mm import Pages

__all__ = ["Gnttab"]

FRAMES: Final = 4
"""Frames of the table: 2,048 entries, as NR_GRANT_FRAMES of Mini-OS."""


class Gnttab:
    """The grant table of this domain, mapped; entries are written here as bytes.

    Events gnttab.grant (to, ref, pfn, readonly) and gnttab.end (ref); both are recorded only when enabled.
    """

    def __init__(self, queue: RunQueue, gate: Gate, pages: Pages) -> None:
        self._queue = queue
        self._gate = gate
        self._k_grant, self._k_end = queue.kind("gnttab.grant"), queue.kind("gnttab.end")
        self._memory = gate.memory
        scratch = pages.allocate()
        where = int(scratch) << PAGE_SHIFT
        arg = bytearray(abi.SETUP_TABLE_ARG.pack(DOMID_SELF, FRAMES, 0, where))
        check(gate.call(GRANT_TABLE_OP, abi.SETUP_TABLE, arg), "setup_table")
        status = abi.SETUP_TABLE_ARG.unpack_from(arg)[2]
        if status:
            raise LocalProtocolError(f"setup_table: {abi.STATUS_NAMES.get(status, status)}")
        listed = gate.memory.page(scratch)[: 8 * FRAMES].cast("Q")
        self._frames = pages.map_frames([Mfn(mfn) for mfn in listed])
        pages.free(scratch)
        self._next = abi.NR_RESERVED_ENTRIES
        self._free: list[Gref] = []

    def grant(self, domid: Domid, pfn: Pfn, *, readonly: bool = False) -> Gref:
        """Let `domid` use page `pfn`: frame and domid first, the flags last."""
        ref = self._reference()
        frame, at = self._frames[ref >> 9], (ref & 511) << 3
        flags = abi.GTF_PERMIT_ACCESS | (abi.GTF_READONLY if readonly else 0)
        abi.ENTRY.pack_into(frame, at, 0, domid, self._memory.mfn(pfn))
        frame[at : at + 2] = flags.to_bytes(2, "little")
        if self._k_grant.on:
            world = self._queue.world
            self._k_grant.emit(world.now, self._queue.name, world.cause, {"to": domid, "ref": ref, "pfn": pfn, "readonly": readonly})
        return ref

    def _reference(self) -> Gref:
        if self._free:
            return self._free.pop()
        if self._next >= FRAMES * abi.ENTRIES_PER_FRAME:
            raise LocalProtocolError(f"out of grant references: all {FRAMES * abi.ENTRIES_PER_FRAME} are in use")
        self._next += 1
        return Gref(self._next - 1)

    def end(self, ref: Gref) -> bool:
        """Take a grant back; False while the other domain still has the page mapped."""
        frame, at = self._frames[ref >> 9], (ref & 511) << 3
        flags = abi.ENTRY.unpack_from(frame, at)[0]
        if flags & (abi.GTF_READING | abi.GTF_WRITING):
            return False
        frame[at : at + 8] = bytes(8)
        self._free.append(ref)
        if self._k_end.on:
            world = self._queue.world
            self._k_end.emit(world.now, self._queue.name, world.cause, {"ref": ref})
        return True
