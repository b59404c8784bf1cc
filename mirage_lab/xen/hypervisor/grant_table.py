"""Grant tables (xen/common/grant_table.c, version 1): a domain lets another reach single pages of its own.

    owner     writes an entry {permit_access, who, frame} into its table, a few pages it shares with the hypervisor
    other     map_grant_ref(owner, ref) at an address of its own, or copy from or to it, without mapping
    Xen       checks every use; while a page is mapped the entry has GTF_reading (and GTF_writing) set

Nothing the owner writes is believed before it has been checked: the frame must be its own.  `transfer` gives a page away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirage_lab.xen.abi import grant_table as abi
from mirage_lab.xen.abi.errno import EFAULT, ENOSYS
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.xen import DOMID_SELF, PAGE_SIZE, Mfn, Pfn
from mirage_lab.xen.hypervisor import reservation

if TYPE_CHECKING:
    from mirage_lab.xen.hypervisor.domain import Domain
    from mirage_lab.xen.hypervisor.hypervisor import Hypervisor

__all__ = ["HANDLERS", "MAX_FRAMES", "GrantTable", "Mapping"]

MAX_FRAMES: Final = 32
MAX_MAPTRACK: Final = 131_072
"""Grants a domain may have mapped at once: 256 frames of maptrack entries."""
_TYPE = abi.GTF_TYPE_MASK
_PERMIT = abi.GTF_PERMIT_ACCESS


class Mapping:
    """A grant in use: whose, which, of which page, where it is mapped, and whether for reading only."""

    __slots__ = ("address", "owner", "pfn", "readonly", "ref")

    def __init__(self, owner: Domain, ref: int, pfn: int, address: int, readonly: bool) -> None:
        self.owner = owner
        self.ref = ref
        self.pfn = pfn
        self.address = address
        self.readonly = readonly


class GrantTable:
    """A domain's entries, 512 to a frame, and what it has mapped of others."""

    __slots__ = ("entries", "frames", "handles", "mfns", "next_handle", "uses")

    def __init__(self) -> None:
        self.frames: list[memoryview] = []
        self.mfns: list[Mfn] = []
        self.entries = 0
        self.handles: dict[int, Mapping] = {}
        self.next_handle = 0
        self.uses: dict[int, list[int]] = {}

    def grow(self, xen: Hypervisor, frames: int) -> None:
        """See that there are at least that many frames."""
        while len(self.frames) < frames:
            page = memoryview(bytearray(PAGE_SIZE))
            self.frames.append(page)
            self.mfns.append(xen.own_frame(page))
        self.entries = len(self.frames) * abi.ENTRIES_PER_FRAME

    def place(self, xen: Hypervisor, index: int, page: memoryview) -> None:
        """Have frame `index` live in another page from now on, with what is in it."""
        page[:] = self.frames[index]
        self.frames[index] = page
        xen.replace_frame(self.mfns[index], page)

    def entry(self, ref: int) -> tuple[int, int, int]:
        """Return (flags, domid, frame) of entry `ref`."""
        found: tuple[int, int, int] = abi.ENTRY.unpack_from(self.frames[ref >> 9], (ref & 511) << 3)
        return found

    def mark(self, ref: int, readonly: bool, step: int) -> None:
        """Count a use of entry `ref` begun (1) or ended (-1), and keep GTF_reading and GTF_writing true."""
        uses = self.uses.setdefault(ref, [0, 0])
        uses[0] += step
        uses[1] += 0 if readonly else step
        flags, domid, frame = self.entry(ref)
        flags &= ~(abi.GTF_READING | abi.GTF_WRITING)
        flags |= (abi.GTF_READING if uses[0] else 0) | (abi.GTF_WRITING if uses[1] else 0)
        abi.ENTRY.pack_into(self.frames[ref >> 9], (ref & 511) << 3, flags, domid, frame)
        if not uses[0]:
            del self.uses[ref]


def _granted(owner: Domain, ref: int, user: int, write: bool) -> memoryview | int:
    """Return the page that `owner` grants `user` by `ref`, or a negative status."""
    table = owner.grants
    if ref >= table.entries:
        return abi.GNTST_BAD_GNTREF
    flags, domid, frame = abi.ENTRY.unpack_from(table.frames[ref >> 9], (ref & 511) << 3)
    if flags & _TYPE != _PERMIT or domid != user or (write and flags & abi.GTF_READONLY):
        return abi.GNTST_GENERAL_ERROR
    page = owner.memory.ram(frame)
    if page is None:
        return abi.GNTST_BAD_PAGE
    return abi.GNTST_GENERAL_ERROR if write and not _lends(owner, frame - owner.memory.base, 0) else page


def _lends(owner: Domain, pfn: int, step: int) -> bool:
    """Count a use of a page for writing; False if it is not to be written: a page table of a PV guest."""
    return owner.machine is None or owner.machine.lend(pfn, step)


def _map(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    for index in range(count):
        at = index * abi.MAP.size
        address, flags, ref, dom, *_ = abi.MAP.unpack_from(arg, at)
        status, handle = _map_one(xen, domain, address, flags, ref, dom)
        abi.MAP.pack_into(arg, at, address, flags, ref, dom, status, handle, 0)
    return 0


def _map_one(xen: Hypervisor, domain: Domain, address: int, flags: int, ref: int, dom: int) -> tuple[int, int]:
    owner = domain if dom == DOMID_SELF else xen.domain(dom)
    if owner is None:
        return abi.GNTST_BAD_DOMAIN, 0
    if not flags & abi.GNTMAP_HOST_MAP:
        return abi.GNTST_GENERAL_ERROR, 0
    machine = domain.machine
    if machine is None and not domain.memory.free_at(address):
        return abi.GNTST_BAD_VIRT_ADDR, 0
    if len(domain.grants.handles) >= MAX_MAPTRACK:
        return abi.GNTST_NO_DEVICE_SPACE, 0
    readonly = bool(flags & abi.GNTMAP_READONLY)
    page = _granted(owner, ref, domain.domid, not readonly)
    if isinstance(page, int):
        return page, 0
    if machine is None:
        domain.memory.map(address, page.toreadonly() if readonly else page)
    else:
        status = machine.map_grant(address, flags, page)
        if status:
            return status, 0
    table = domain.grants
    handle = table.next_handle
    table.next_handle = handle + 1 & 0xFFFF_FFFF
    pfn = owner.grants.entry(ref)[2] - owner.memory.base
    table.handles[handle] = Mapping(owner, ref, pfn, address, readonly)
    owner.memory.pin(pfn)
    if not readonly:
        _lends(owner, pfn, 1)
    owner.grants.mark(ref, readonly, 1)
    xen.grant_event(xen.k_map, domain, owner, ref)
    return abi.GNTST_OKAY, handle


def _unmap(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    for index in range(count):
        at = index * abi.UNMAP.size
        address, bus, handle, _ = abi.UNMAP.unpack_from(arg, at)
        abi.UNMAP.pack_into(arg, at, address, bus, handle, unmap_one(xen, domain, handle, address))
    return 0


def unmap_one(xen: Hypervisor, domain: Domain, handle: int, address: int) -> int:
    """End one mapping; returns a status."""
    mapping = domain.grants.handles.get(handle)
    if mapping is None:
        return abi.GNTST_BAD_HANDLE
    if mapping.address != address:
        return abi.GNTST_BAD_VIRT_ADDR
    if domain.machine is None:
        domain.memory.unmap(address)
    else:
        status = domain.machine.unmap_grant(address)
        if status:
            return status
    del domain.grants.handles[handle]
    mapping.owner.memory.pin(mapping.pfn, -1)
    if not mapping.readonly:
        _lends(mapping.owner, mapping.pfn, -1)
    mapping.owner.grants.mark(mapping.ref, mapping.readonly, -1)
    xen.grant_event(xen.k_unmap, domain, mapping.owner, mapping.ref)
    return abi.GNTST_OKAY


def _unmap_and_replace(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    """As unmap, and what is mapped at new_addr is at host_addr then; a guest that Xen translates for cannot have that."""
    for index in range(count):
        at = index * abi.UNMAP.size
        address, new, handle, _ = abi.UNMAP.unpack_from(arg, at)
        status = abi.GNTST_GENERAL_ERROR
        if domain.machine is None and domain.memory.mapped_at(new) and new != address:
            status = unmap_one(xen, domain, handle, address)
            if status == abi.GNTST_OKAY:
                domain.memory.move(new, address)
                for mapping in domain.grants.handles.values():
                    mapping.address = address if mapping.address == new else mapping.address
        elif not new:
            status = unmap_one(xen, domain, handle, address)
        abi.UNMAP.pack_into(arg, at, address, new, handle, status)
    return 0


def _setup_table(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    dom, nr_frames, _, address = abi.SETUP_TABLE_ARG.unpack_from(arg)
    status = abi.GNTST_OKAY
    if dom not in (DOMID_SELF, domain.domid):
        status = abi.GNTST_PERMISSION_DENIED
    elif nr_frames > MAX_FRAMES:
        status = abi.GNTST_GENERAL_ERROR
    else:
        domain.grants.grow(xen, nr_frames)
        word = domain.memory.word
        if not domain.memory.store(address, b"".join((mfn & (1 << 8 * word) - 1).to_bytes(word, "little") for mfn in domain.grants.mfns[:nr_frames])):
            return -EFAULT
    abi.SETUP_TABLE_ARG.pack_into(arg, 0, dom, nr_frames, status, address)
    return 0


def _query_size(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    dom = abi.QUERY_SIZE_ARG.unpack_from(arg)[0]
    of = domain if dom in (DOMID_SELF, domain.domid) else None
    if of is None:
        abi.QUERY_SIZE_ARG.pack_into(arg, 0, dom, 0, 0, abi.GNTST_PERMISSION_DENIED)
    else:
        abi.QUERY_SIZE_ARG.pack_into(arg, 0, dom, len(of.grants.frames), MAX_FRAMES, abi.GNTST_OKAY)
    return 0


def _version(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    dom, _ = abi.VERSION_ARG.unpack_from(arg)
    abi.VERSION_ARG.pack_into(arg, 0, dom, 1)
    return 0


def _set_version(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    return 0 if int.from_bytes(arg[:4], "little") == 1 else -ENOSYS


def _transfer(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    """Give pages to other domains, which accept them by an entry of their tables; `count` of them."""
    for index in range(count):
        at = index * abi.TRANSFER_ARG.size
        mfn, dom, ref, _ = abi.TRANSFER_ARG.unpack_from(arg, at)
        abi.TRANSFER_ARG.pack_into(arg, at, mfn, dom, ref, _transfer_one(xen, domain, mfn, dom, ref))
    return 0


def _transfer_one(xen: Hypervisor, domain: Domain, mfn: int, dom: int, ref: int) -> int:
    """Give one page away: its bytes go with it, and it becomes one of those the other had given up.

    Unless the status is bad_page, the page is gone from the giver, whatever becomes of it (grant_table.h).  The receiver must
    have given up as many as it gets; which it becomes, a guest that Xen translates for says in `frame`, another reads there.
    """
    page, pfn = domain.memory.ram(mfn), mfn - domain.memory.base
    if page is None or pfn in domain.memory.pins:
        return abi.GNTST_BAD_PAGE
    data = bytes(page)
    if not reservation.give_up(domain, pfn):
        return abi.GNTST_BAD_PAGE
    other = xen.domain(dom)
    if other is None:
        return abi.GNTST_BAD_DOMAIN
    table, memory = other.grants, other.memory
    if not memory.absent or other.reason is not None or ref >= table.entries:
        return abi.GNTST_GENERAL_ERROR
    flags, domid, frame = table.entry(ref)
    target = frame - memory.base if other.machine is not None and other.machine.translated else min(memory.absent)
    if flags != abi.GTF_ACCEPT_TRANSFER or domid != domain.domid or target not in memory.absent:
        return abi.GNTST_GENERAL_ERROR
    if not reservation.take_back(other, target):
        return abi.GNTST_GENERAL_ERROR
    memory.page(Pfn(target))[:] = data
    done = flags | abi.GTF_TRANSFER_COMMITTED | abi.GTF_TRANSFER_COMPLETED
    abi.ENTRY.pack_into(table.frames[ref >> 9], (ref & 511) << 3, done, domid, memory.mfn(Pfn(target)))
    return abi.GNTST_OKAY


def _copy(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    """GNTTABOP_copy, `count` pieces: the packet path."""
    unpack, size, self_id = abi.COPY_ARG.unpack_from, abi.COPY_ARG.size, domain.domid
    at = 0
    for _ in range(count):
        src_u, src_dom, src_off, dst_u, dst_dom, dst_off, length, flags, _ = unpack(arg, at)
        status = 0
        if src_off + length > PAGE_SIZE or dst_off + length > PAGE_SIZE:
            status = abi.GNTST_BAD_COPY_ARG
        else:
            source = _side(xen, domain, self_id, src_u, src_dom, flags & abi.GNTCOPY_SOURCE_GREF, False)
            dest = _side(xen, domain, self_id, dst_u, dst_dom, flags & abi.GNTCOPY_DEST_GREF, True)
            if isinstance(source, int):
                status = source
            elif isinstance(dest, int):
                status = dest
            else:
                dest[dst_off : dst_off + length] = source[src_off : src_off + length]
        arg[at + 36 : at + 38] = (status & 0xFFFF).to_bytes(2, "little")
        at += size
    if xen.k_copy.on:
        world = xen.world
        xen.k_copy.emit(world.now, domain.name, world.cause, {"pieces": count})
    return 0


def _side(xen: Hypervisor, domain: Domain, self_id: int, what: int, dom: int, by_ref: int, write: bool) -> memoryview | int:
    """Return the page of one side of a copy, or a negative status."""
    owner = domain if dom in (DOMID_SELF, self_id) else xen.domains.get(dom)
    if owner is None:
        return abi.GNTST_BAD_DOMAIN
    if by_ref:
        return _granted(owner, what, self_id, write)
    if owner is not domain:
        return abi.GNTST_PERMISSION_DENIED
    page = domain.memory.ram(what)
    if page is None:
        return abi.GNTST_BAD_PAGE
    return abi.GNTST_GENERAL_ERROR if write and not _lends(domain, what - domain.memory.base, 0) else page


HANDLERS = {
    abi.MAP_GRANT_REF: _map,
    abi.UNMAP_GRANT_REF: _unmap,
    abi.SETUP_TABLE: _setup_table,
    abi.TRANSFER: _transfer,
    abi.COPY: _copy,
    abi.QUERY_SIZE: _query_size,
    abi.UNMAP_AND_REPLACE: _unmap_and_replace,
    abi.SET_VERSION: _set_version,
    abi.GET_VERSION: _version,
}
SIZES: Final = {
    abi.MAP_GRANT_REF: abi.MAP.size,
    abi.UNMAP_GRANT_REF: abi.UNMAP.size,
    abi.TRANSFER: abi.TRANSFER_ARG.size,
    abi.COPY: abi.COPY_ARG.size,
    abi.UNMAP_AND_REPLACE: abi.UNMAP_AND_REPLACE_ARG.size,
}
"""Bytes of one element of the operations that take several."""
