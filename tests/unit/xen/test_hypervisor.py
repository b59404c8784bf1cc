"""Two domains and a hypervisor: event channels, grants, timers, and the errno of what may not be."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.runtime import World
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.xen.abi import errno, event_channel, grant_table, memory, sched, shared_info, version
from mirage_lab.xen.abi.evtchn import Events
from mirage_lab.xen.abi.xen import (
    CONSOLE_IO,
    DOMID_SELF,
    EVENT_CHANNEL_OP,
    GRANT_TABLE_OP,
    MEMORY_OP,
    PAGE_SIZE,
    SCHED_OP,
    SET_TIMER_OP,
    UPDATE_VA_MAPPING,
    VIRQ_CONSOLE,
    VIRQ_TIMER,
    XEN_VERSION,
    Domid,
    Pfn,
)
from mirage_lab.xen.hypervisor import Domain, Hypervisor

PAGES = 64


def machine() -> tuple[World, Hypervisor, Domain, Domain]:
    world = World(1)
    xen = Hypervisor(world)
    dom0 = xen.create_domain("dom0", PAGES, guest=False)
    guest = xen.create_domain("guest", PAGES, guest=False)
    for domain in (dom0, guest):
        xen.unpause(domain)
    return world, xen, dom0, guest


def grant(domain: Domain, ref: int, to: int, pfn: int, flags: int = grant_table.GTF_PERMIT_ACCESS) -> None:
    grant_table.ENTRY.pack_into(domain.grants.frames[0], ref * 8, flags, to, domain.memory.mfn(Pfn(pfn)))


def map_ref(domain: Domain, owner: int, ref: int, address: int | None = None, flags: int = grant_table.GNTMAP_HOST_MAP) -> tuple[int, int]:
    arg = bytearray(grant_table.MAP.size)
    grant_table.MAP.pack_into(arg, 0, domain.memory.demand if address is None else address, flags, ref, owner, 0, 0, 0)
    assert domain.gate.call(GRANT_TABLE_OP, grant_table.MAP_GRANT_REF, arg) == 0
    _, _, _, _, status, handle, _ = grant_table.MAP.unpack_from(arg)
    return status, handle


def unmap(domain: Domain, handle: int, address: int) -> int:
    arg = bytearray(grant_table.UNMAP.size)
    grant_table.UNMAP.pack_into(arg, 0, address, 0, handle, 0)
    assert domain.gate.call(GRANT_TABLE_OP, grant_table.UNMAP_GRANT_REF, arg) == 0
    return int(struct.unpack_from("<h", arg, grant_table.UNMAP_STATUS)[0])


def test_an_event_reaches_the_handler_of_the_other_domain() -> None:
    world, _, dom0, guest = machine()
    theirs, ours = Events(guest.queue, guest.gate, guest.shared), Events(dom0.queue, dom0.gate, dom0.shared)
    heard: list[tuple[str, Ns]] = []
    offered = theirs.alloc_unbound(Domid(0))
    theirs.bind(offered, lambda: heard.append(("guest", world.now)))
    theirs.unmask(offered)
    port = ours.bind_interdomain(guest.domid, offered)
    ours.bind(port, lambda: heard.append(("dom0", world.now)))
    ours.unmask(port)
    world.advance(ms(1))
    heard.clear()
    dom0.queue.post(ours.notify, port)
    world.advance(ms(2))
    assert [who for who, _ in heard] == ["guest"]
    theirs.notify(offered)
    world.advance(ms(3))
    assert [who for who, _ in heard] == ["guest", "dom0"]


def test_a_masked_event_waits_until_it_is_unmasked_and_many_are_one() -> None:
    world, _, dom0, guest = machine()
    theirs, ours = Events(guest.queue, guest.gate, guest.shared), Events(dom0.queue, dom0.gate, dom0.shared)
    heard: list[int] = []
    offered = theirs.alloc_unbound(Domid(0))
    theirs.bind(offered, lambda: heard.append(1))
    port = ours.bind_interdomain(guest.domid, offered)
    for _ in range(5):
        ours.notify(port)
    world.advance(ms(1))
    assert heard == []
    theirs.unmask(offered)
    world.advance(ms(2))
    assert heard == [1]


def test_what_is_wrong_with_ports_has_its_errno() -> None:
    _, xen, dom0, guest = machine()

    def call(domain: Domain, op: int, arg: bytes) -> int:
        return domain.gate.call(EVENT_CHANNEL_OP, op, bytearray(arg))

    assert call(guest, event_channel.SEND, struct.pack("<I", 99)) == -errno.EINVAL
    assert call(guest, event_channel.CLOSE, struct.pack("<I", 1)) == -errno.EINVAL
    assert call(guest, event_channel.UNMASK, struct.pack("<I", 4_000_000)) == -errno.EINVAL
    assert call(guest, event_channel.BIND_INTERDOMAIN, event_channel.BIND_INTERDOMAIN_ARG.pack(77, 1, 0)) == -errno.ESRCH
    assert call(guest, event_channel.BIND_INTERDOMAIN, event_channel.BIND_INTERDOMAIN_ARG.pack(0, 1, 0)) == -errno.EINVAL
    assert call(guest, event_channel.ALLOC_UNBOUND, event_channel.ALLOC_UNBOUND_ARG.pack(0, 1, 0)) == -errno.EPERM
    assert call(guest, event_channel.BIND_VIRQ, event_channel.BIND_VIRQ_ARG.pack(VIRQ_CONSOLE, 0, 0)) == -errno.EPERM
    assert call(guest, event_channel.BIND_VIRQ, event_channel.BIND_VIRQ_ARG.pack(99, 0, 0)) == -errno.EINVAL
    assert call(guest, 1_000, b"") == -errno.ENOSYS
    assert call(guest, event_channel.SEND, b"x") == -errno.EFAULT
    assert guest.gate.call(999, 0) == -errno.ENOSYS
    offered = Events(dom0.queue, dom0.gate, dom0.shared).alloc_unbound(Domid(5))
    assert call(guest, event_channel.BIND_INTERDOMAIN, event_channel.BIND_INTERDOMAIN_ARG.pack(0, offered, 0)) == -errno.EINVAL
    assert xen.domain(guest.domid) is guest


def test_ports_run_out() -> None:
    _, _, _, guest = machine()
    events = Events(guest.queue, guest.gate, guest.shared)
    for _ in range(4_095):
        events.alloc_unbound(Domid(0))
    with pytest.raises(errno.HypercallError, match="ENOSPC"):
        events.alloc_unbound(Domid(0))


def test_a_closed_end_leaves_the_other_unbound() -> None:
    _, _, dom0, guest = machine()
    theirs, ours = Events(guest.queue, guest.gate, guest.shared), Events(dom0.queue, dom0.gate, dom0.shared)
    offered = theirs.alloc_unbound(Domid(0))
    ours.close(ours.bind_interdomain(guest.domid, offered))
    arg = bytearray(event_channel.STATUS_ARG.pack(DOMID_SELF, offered, 0, 0, bytes(8)))
    assert guest.gate.call(EVENT_CHANNEL_OP, event_channel.STATUS, arg) == 0
    assert event_channel.STATUS_ARG.unpack_from(arg)[2] == event_channel.UNBOUND
    assert ours.bind_interdomain(guest.domid, offered) > 0


def test_a_granted_page_is_shared_until_it_is_unmapped() -> None:
    _, _, dom0, guest = machine()
    grant(guest, 8, 0, 5)
    address = dom0.memory.demand
    status, handle = map_ref(dom0, guest.domid, 8)
    assert status == grant_table.GNTST_OKAY
    page = dom0.memory.at(address)
    page[:5] = b"hello"
    assert bytes(guest.memory.page(Pfn(5))[:5]) == b"hello"
    assert guest.grants.entry(8)[0] & (grant_table.GTF_READING | grant_table.GTF_WRITING)
    assert unmap(dom0, handle, address) == 0
    assert guest.grants.entry(8)[0] == grant_table.GTF_PERMIT_ACCESS
    with pytest.raises(ValueError, match="released"):
        page[0] = 1
    assert unmap(dom0, handle, address) == grant_table.GNTST_BAD_HANDLE


def test_grants_that_may_not_be_used_are_refused() -> None:
    _, _, dom0, guest = machine()
    grant(guest, 8, 7, 5)
    grant(guest, 9, 0, 5, grant_table.GTF_PERMIT_ACCESS | grant_table.GTF_READONLY)
    grant_table.ENTRY.pack_into(guest.grants.frames[0], 10 * 8, grant_table.GTF_PERMIT_ACCESS, 0, dom0.memory.mfn(Pfn(1)))
    grant(guest, 11, 0, 5)
    assert map_ref(dom0, guest.domid, 8)[0] == grant_table.GNTST_GENERAL_ERROR
    assert map_ref(dom0, guest.domid, 9)[0] == grant_table.GNTST_GENERAL_ERROR
    assert map_ref(dom0, guest.domid, 10)[0] == grant_table.GNTST_BAD_PAGE
    assert map_ref(dom0, guest.domid, 12)[0] == grant_table.GNTST_GENERAL_ERROR
    assert map_ref(dom0, guest.domid, 100_000)[0] == grant_table.GNTST_BAD_GNTREF
    assert map_ref(dom0, 99, 11)[0] == grant_table.GNTST_BAD_DOMAIN
    assert map_ref(dom0, guest.domid, 11, address=0)[0] == grant_table.GNTST_BAD_VIRT_ADDR
    assert map_ref(dom0, guest.domid, 11, address=dom0.memory.demand + 1)[0] == grant_table.GNTST_BAD_VIRT_ADDR
    flags = grant_table.GNTMAP_HOST_MAP | grant_table.GNTMAP_READONLY
    assert map_ref(dom0, guest.domid, 9, flags=flags)[0] == grant_table.GNTST_OKAY
    with pytest.raises(TypeError):
        dom0.memory.at(dom0.memory.demand)[0] = 1


def test_copies_are_batched_and_each_has_its_status() -> None:
    _, _, dom0, guest = machine()
    grant(guest, 8, 0, 5)
    guest.memory.page(Pfn(5))[:4] = b"data"
    arg = bytearray(grant_table.COPY_ARG.size * 3)
    pack, own = grant_table.COPY_ARG.pack_into, dom0.memory.mfn(Pfn(3))
    pack(arg, 0, 8, guest.domid, 0, own, DOMID_SELF, 100, 4, grant_table.GNTCOPY_SOURCE_GREF, 0)
    pack(arg, 40, 9, guest.domid, 0, own, DOMID_SELF, 0, 4, grant_table.GNTCOPY_SOURCE_GREF, 0)
    pack(arg, 80, 8, guest.domid, 4_095, own, DOMID_SELF, 0, 4, grant_table.GNTCOPY_SOURCE_GREF, 0)
    assert dom0.gate.call(GRANT_TABLE_OP, grant_table.COPY, arg, 3) == 0
    status = [struct.unpack_from("<h", arg, at + grant_table.COPY_STATUS)[0] for at in (0, 40, 80)]
    assert status == [0, grant_table.GNTST_GENERAL_ERROR, grant_table.GNTST_BAD_COPY_ARG]
    assert bytes(dom0.memory.page(Pfn(3))[100:104]) == b"data"


entries = st.tuples(st.integers(0, 31), st.integers(0, 8), st.integers(0, 3), st.integers(0, 80))


@given(st.lists(st.tuples(st.integers(0, 600), entries), max_size=40), st.lists(st.tuples(st.integers(0, 600), st.booleans()), max_size=30))
def test_whatever_a_guest_writes_into_its_table_nothing_of_others_is_reached(
    written: list[tuple[int, tuple[int, int, int, int]]], uses: list[tuple[int, bool]]
) -> None:
    _, _, dom0, guest = machine()
    secret = dom0.memory.mfn(Pfn(0))
    for ref, (flags, domid, _, pfn) in written:
        if ref < 512:
            grant_table.ENTRY.pack_into(guest.grants.frames[0], ref * 8, flags, domid, secret + pfn)
    address, live = dom0.memory.demand, {}
    for ref, undo in uses:
        status, handle = map_ref(dom0, guest.domid, ref, address)
        if status:
            continue
        page = dom0.memory.at(address)
        page[0] = 0xAB
        inside = [pfn for pfn in range(PAGES) if guest.memory.page(Pfn(pfn))[0] == 0xAB]
        assert len(inside) == 1 and all(dom0.memory.page(Pfn(pfn))[0] == 0 for pfn in range(PAGES))
        guest.memory.page(Pfn(inside[0]))[0] = 0
        if undo:
            assert unmap(dom0, handle, address) == 0
        else:
            live[handle] = address
            address += PAGE_SIZE
    assert set(dom0.grants.handles) == set(live)
    for handle, where in live.items():
        assert unmap(dom0, handle, where) == 0
    assert not guest.grants.uses


def test_a_timer_is_a_virtual_interrupt_at_its_time() -> None:
    world, _, _, guest = machine()
    events = Events(guest.queue, guest.gate, guest.shared)
    rang: list[Ns] = []
    port = events.bind_virq(VIRQ_TIMER)
    events.bind(port, lambda: rang.append(world.now))
    events.unmask(port)
    guest.gate.call(SET_TIMER_OP, 0, bytearray(struct.pack("<Q", ms(5))))
    guest.gate.call(SET_TIMER_OP, 0, bytearray(struct.pack("<Q", ms(7))))
    world.advance(seconds(1))
    assert rang == [ms(7)]
    arg = bytearray(event_channel.BIND_VIRQ_ARG.pack(VIRQ_TIMER, 0, 0))
    assert guest.gate.call(EVENT_CHANNEL_OP, event_channel.BIND_VIRQ, arg) == -errno.EEXIST


def test_shared_info_has_its_clock_where_xen_has_it() -> None:
    world, _, _, guest = machine()
    assert shared_info.wall_clock_ns(guest.shared, 0) == world.epoch_ns
    version_, _, _, mul, shift, _ = shared_info.TIME_INFO.unpack_from(guest.shared, shared_info.VCPU_TIME)
    assert (version_, mul, shift) == (2, 0x8000_0000, 1)


def test_small_hypercalls() -> None:
    _, xen, _, guest = machine()
    assert guest.gate.call(XEN_VERSION, version.VERSION) == 4 << 16 | 4
    text = bytearray(version.EXTRAVERSION_SIZE)
    assert guest.gate.call(XEN_VERSION, version.EXTRAVERSION, text) == 0 and text.rstrip(b"\0") == version.EXTRA
    assert guest.gate.call(MEMORY_OP, memory.CURRENT_RESERVATION, bytearray(struct.pack("<H", DOMID_SELF))) == PAGES
    assert guest.gate.call(MEMORY_OP, memory.CURRENT_RESERVATION, bytearray(struct.pack("<H", 0))) == -errno.EPERM
    assert guest.gate.call(CONSOLE_IO, 0, bytearray(b"<img src=x>"), 11) == 0
    assert "(d1) <img src=x>" in xen.dmesg[-1]
    assert guest.gate.call(SCHED_OP, sched.SHUTDOWN, bytearray(struct.pack("<I", 99))) == -errno.EINVAL


def test_only_frames_of_its_own_can_be_mapped() -> None:
    _, _, dom0, guest = machine()

    def map_frame(mfn: int, address: int) -> int:
        return guest.gate.call(UPDATE_VA_MAPPING, 0, bytearray(memory.VA_MAPPING_ARG.pack(address, mfn << 12 | memory.L1_PROT, 0)))

    demand = guest.memory.demand
    assert map_frame(guest.memory.mfn(Pfn(2)), demand) == 0
    guest.memory.at(demand)[:2] = b"ok"
    assert bytes(guest.memory.page(Pfn(2))[:2]) == b"ok"
    assert map_frame(dom0.memory.mfn(Pfn(2)), demand + PAGE_SIZE) == -errno.EPERM
    assert map_frame(dom0.grants.mfns[0], demand + PAGE_SIZE) == -errno.EPERM
    assert map_frame(guest.memory.mfn(Pfn(2)), 0) == -errno.EINVAL


def test_destroying_a_domain_ends_its_channels_and_mappings() -> None:
    world, xen, dom0, guest = machine()
    theirs, ours = Events(guest.queue, guest.gate, guest.shared), Events(dom0.queue, dom0.gate, dom0.shared)
    offered = theirs.alloc_unbound(Domid(0))
    port = ours.bind_interdomain(guest.domid, offered)
    grant(dom0, 8, guest.domid, 5)
    assert map_ref(guest, 0, 8)[0] == 0
    xen.destroy(guest)
    assert dom0.grants.entry(8)[0] == grant_table.GTF_PERMIT_ACCESS
    ours.notify(port)
    world.advance(ms(1))
    assert xen.domain(guest.domid) is None
    assert map_ref(dom0, guest.domid, 8)[0] == grant_table.GNTST_BAD_DOMAIN


