"""The layouts of the public headers, byte for byte: the C structures are written down again here, from the headers."""

from __future__ import annotations

import ctypes as c
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.runtime import World
from mirage_lab.signatures.units import ms
from mirage_lab.xen.abi import event_channel, grant_table, sched, shared_info, start_info, vcpu
from mirage_lab.xen.abi.evtchn import take_pending
from mirage_lab.xen.abi.io import blkif, netif
from mirage_lab.xen.abi.io import console as ring
from mirage_lab.xen.abi.io.ring import entries
from mirage_lab.xen.abi.start_info import StartInfo
from mirage_lab.xen.abi.xen import PAGE_SIZE, Domid, Mfn, Pfn, Port
from mirage_lab.xen.dom0 import Image, Toolstack
from mirage_lab.xen.guest.minios import MiniOS, boot

U8, U16, S16, U32, U64 = c.c_uint8, c.c_uint16, c.c_int16, c.c_uint32, c.c_uint64


def layout(name: str, *fields: tuple[str, Any]) -> type[c.Structure]:
    """A C structure with the padding of the x86-64 ABI."""
    return type(name, (c.LittleEndianStructure,), {"_fields_": list(fields)})


CONSOLE = layout("domU", ("mfn", U64), ("evtchn", U32))
START_INFO = layout(  # xen.h: struct start_info
    "start_info",
    ("magic", c.c_char * 32),
    ("nr_pages", U64),
    ("shared_info", U64),
    ("flags", U32),
    ("store_mfn", U64),
    ("store_evtchn", U32),
    ("console", CONSOLE),
    ("pt_base", U64),
    ("nr_pt_frames", U64),
    ("mfn_list", U64),
    ("mod_start", U64),
    ("mod_len", U64),
    ("cmd_line", c.c_char * 1024),
    ("first_p2m_pfn", U64),
    ("nr_p2m_frames", U64),
)
TIME = layout("time", ("version", U32), ("pad0", U32), ("tsc", U64), ("system", U64), ("mul", U32), ("shift", c.c_int8), ("flags", U8), ("pad", U8 * 2))
VCPU = layout("vcpu_info", ("pending", U8), ("mask", U8), ("pending_sel", U64), ("arch", U64 * 2), ("time", TIME))
SHARED_INFO = layout(
    "shared_info", ("vcpu_info", VCPU * 32), ("pending", U64 * 64), ("mask", U64 * 64), ("wc_version", U32), ("wc_sec", U32), ("wc_nsec", U32), ("a", U64 * 6)
)
SIDE = layout("side", ("u", U64), ("domid", U16), ("offset", U16))
STRUCTURES = {
    "map": (grant_table.MAP, (("host_addr", U64), ("flags", U32), ("ref", U32), ("dom", U16), ("status", S16), ("handle", U32), ("dev", U64))),
    "unmap": (grant_table.UNMAP, (("host_addr", U64), ("dev", U64), ("handle", U32), ("status", S16))),
    "setup_table": (grant_table.SETUP_TABLE_ARG, (("dom", U16), ("nr_frames", U32), ("status", S16), ("frame_list", U64))),
    "query_size": (grant_table.QUERY_SIZE_ARG, (("dom", U16), ("nr_frames", U32), ("max", U32), ("status", S16))),
    "entry": (grant_table.ENTRY, (("flags", U16), ("domid", U16), ("frame", U32))),
    "alloc_unbound": (event_channel.ALLOC_UNBOUND_ARG, (("dom", U16), ("remote", U16), ("port", U32))),
    "bind_interdomain": (event_channel.BIND_INTERDOMAIN_ARG, (("dom", U16), ("remote_port", U32), ("local_port", U32))),
    "bind_virq": (event_channel.BIND_VIRQ_ARG, (("virq", U32), ("vcpu", U32), ("port", U32))),
    "poll": (sched.POLL_ARG, (("ports", U64), ("nr_ports", U32), ("timeout", U64))),
    "singleshot": (vcpu.SINGLESHOT_ARG, (("timeout", U64), ("flags", U32))),
    "netif tx request": (netif.TX_REQUEST, (("gref", U32), ("offset", U16), ("flags", U16), ("id", U16), ("size", U16))),
    "netif tx response": (netif.TX_RESPONSE, (("id", U16), ("status", S16))),
    "netif rx request": (netif.RX_REQUEST, (("id", U16), ("gref", U32))),
    "netif rx response": (netif.RX_RESPONSE, (("id", U16), ("offset", U16), ("flags", U16), ("status", S16))),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_lies_as_the_compiler_lays_it(name: str) -> None:
    codec, fields = STRUCTURES[name]
    kind = layout("s", *fields)
    values = [index + 1 for index in range(len(fields))]
    expected = kind(*values)
    raw = codec.pack(*values)
    assert raw == bytes(expected).ljust(len(raw), b"\0")[: len(raw)]  # a response is packed with the rest of its slot
    assert c.sizeof(kind) - len(raw) <= 4  # the padding at the end, which no field needs


SEGMENT = layout("blkif_request_segment", ("gref", U32), ("first_sect", U8), ("last_sect", U8))
REQUEST = (("operation", U8), ("nr_segments", U8), ("handle", U16), ("id", U64), ("sector_number", U64), ("seg", SEGMENT * 11))
DISCARD = (("operation", U8), ("flag", U8), ("handle", U16), ("id", U64), ("sector_number", U64), ("nr_sectors", U64))
RESPONSE = (("id", U64), ("operation", U8), ("status", S16))


@pytest.mark.parametrize(("used", "align"), [(blkif.X86_64, 8), (blkif.X86_32, 4)])
def test_the_slots_of_a_disk_lie_as_compilers_of_64_and_of_32_bits_lay_them(used: blkif.Layout, align: int) -> None:
    kinds = [type("s", (c.LittleEndianStructure,), {"_pack_": align, "_layout_": "ms", "_fields_": list(fields)}) for fields in (REQUEST, DISCARD, RESPONSE)]
    request, discard, response = kinds
    segments = [(1_000 + number, number & 7, 7) for number in range(11)]
    raw = bytearray(used.slot)
    used.request.pack_into(raw, 0, 1, 11, 3, 1 << 63, 1 << 40)
    for number, segment in enumerate(segments):
        blkif.SEGMENT.pack_into(raw, used.segments + number * 8, *segment)
    assert bytes(raw) == bytes(request(1, 11, 3, 1 << 63, 1 << 40, (SEGMENT * 11)(*segments))) and c.sizeof(request) == used.slot
    blkif.COUNT.pack_into(raw, used.segments, 77)
    assert discard.from_buffer(raw).nr_sectors == 77
    assert used.response.pack(1 << 63, 5, -2) == bytes(response(1 << 63, 5, -2)) and used.response.size == c.sizeof(response)
    assert entries(max(c.sizeof(request), c.sizeof(response))) == blkif.SLOTS == 32


def test_a_copy_lies_as_the_compiler_lays_it() -> None:
    kind = layout("gnttab_copy", ("source", SIDE), ("dest", SIDE), ("len", U16), ("flags", U16), ("status", S16))
    raw = grant_table.COPY_ARG.pack(1, 2, 3, 4, 5, 6, 7, 8, -9)
    assert raw == bytes(kind((1, 2, 3), (4, 5, 6), 7, 8, -9)) and len(raw) == c.sizeof(kind) == 40
    assert (grant_table.COPY_STATUS, grant_table.MAP_STATUS, grant_table.UNMAP_STATUS) == (36, 18, 20)


def test_start_info_lies_as_the_compiler_lays_it() -> None:
    info = StartInfo(0x2000, 0x7000, Mfn(0x1011), Port(1), Mfn(0x1012), Port(2), 0x13000, "key=value", 2, 0xA000, 3, 0xB000, 5, 6, 7)
    raw = info.encode()
    there = START_INFO.from_buffer_copy(raw)
    assert len(raw) == c.sizeof(START_INFO) == start_info.SIZE
    assert (there.magic, there.nr_pages, there.shared_info, there.flags) == (b"xen-3.0-x86_64", 0x2000, 0x7000, 2)
    assert (there.store_mfn, there.store_evtchn, there.console.mfn, there.console.evtchn) == (0x1011, 1, 0x1012, 2)
    assert (there.pt_base, there.nr_pt_frames, there.mfn_list) == (0xA000, 3, 0x13000)
    assert (there.mod_start, there.mod_len, there.cmd_line) == (0xB000, 5, b"key=value")
    assert (there.first_p2m_pfn, there.nr_p2m_frames) == (6, 7)
    assert StartInfo.decode(raw) == info


def test_a_command_line_that_is_too_long_is_cut_before_its_zero() -> None:
    raw = StartInfo(1, 0, Mfn(0), Port(0), Mfn(0), Port(0), 0, "x" * 2_000).encode()
    assert raw[start_info.CMD_LINE : start_info.CMD_LINE + 1024] == b"x" * 1023 + b"\0"


def test_shared_info_lies_as_the_compiler_lays_it() -> None:
    first = c.sizeof(VCPU)
    assert first == shared_info.VCPU_INFO_SIZE
    assert VCPU.pending_sel.offset == shared_info.PENDING_SEL
    assert VCPU.time.offset == shared_info.VCPU_TIME
    for field, offset in (("pending", shared_info.EVTCHN_PENDING), ("mask", shared_info.EVTCHN_MASK), ("wc_version", shared_info.WC)):
        assert getattr(SHARED_INFO, field).offset == offset
    page = bytearray(PAGE_SIZE)
    shared_info.write_times(memoryview(page), 1_405_987_200_000_000_123)
    there = SHARED_INFO.from_buffer_copy(bytes(page[: c.sizeof(SHARED_INFO)]))
    assert (there.wc_version, there.wc_sec, there.wc_nsec) == (2, 1_405_987_200, 123)
    time = there.vcpu_info[0].time
    assert (time.version, time.mul, time.shift) == (2, 0x8000_0000, 1)


def test_the_pages_of_a_built_domain_are_those_of_a_guest_of_xen() -> None:
    async def entry(os: MiniOS) -> None:
        """Nothing: only its pages are looked at."""

    toolstack = Toolstack(World(1), boot=boot)
    domid = toolstack.create(Image("guest", entry=entry, cmdline="a=1"), memory_mib=8)
    domain = toolstack.domain(domid)
    there = START_INFO.from_buffer_copy(bytes(domain.memory.page(Pfn(16))))
    assert (there.magic, there.nr_pages, there.cmd_line, there.flags) == (b"xen-3.0-x86_64", 2_048, b"a=1", 0)
    assert (there.store_mfn, there.console.mfn) == (domain.memory.base + 17, domain.memory.base + 18)
    p2m = domain.memory.view[there.mfn_list : there.mfn_list + 8 * there.nr_pages].cast("Q")
    assert list(p2m) == list(range(domain.memory.base, domain.memory.base + 2_048))
    # entry 0 console, 1 xenstore: permit_access (1) | domid 0 | frame; the ports are those dom0 has bound
    table = bytes(domain.grants.frames[0][:16])
    assert table == struct.pack("<HHIHHI", 9 | 16, 0, there.console.mfn, 9 | 16, 0, there.store_mfn)  # and reading, writing: dom0 has them mapped
    shared = SHARED_INFO.from_buffer_copy(bytes(domain.shared[: c.sizeof(SHARED_INFO)]))
    assert (shared.vcpu_info[0].mask, sum(shared.pending)) == (1, 0)
    ends = {port: (channel.status, channel.remote) for port, channel in domain.ports.items()}
    assert ends == {there.store_evtchn: (event_channel.INTERDOMAIN, 0), there.console.evtchn: (event_channel.INTERDOMAIN, 0)}


# rings and bits --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.booleans(), st.lists(st.one_of(st.binary(max_size=3_000), st.none()), max_size=20))
def test_what_goes_into_a_console_ring_comes_out_of_it(start: int, out: bool, steps: list[bytes | None]) -> None:
    page = memoryview(bytearray(PAGE_SIZE))
    struct.pack_into("<II", page, ring.OUT_CONS if out else ring.IN_CONS, start, start)
    size = ring.OUT_SIZE if out else ring.IN_SIZE
    sent, got, inside = bytearray(), bytearray(), 0
    for step in steps:
        if step is None:
            got += ring.read(page, out=out)
            inside = 0
        else:
            count = ring.write(page, step, out=out)
            assert count == min(len(step), size - inside)
            inside += count
            sent += step[:count]
    assert got + ring.read(page, out=out) == sent


@pytest.mark.parametrize("out", [True, False])
def test_an_index_that_ran_away_is_an_error_and_not_memory_of_others(out: bool) -> None:
    page = memoryview(bytearray(PAGE_SIZE))
    struct.pack_into("<II", page, ring.OUT_CONS if out else ring.IN_CONS, 5, 4)
    with pytest.raises(ring.RingError):
        ring.read(page, out=out)
    with pytest.raises(ring.RingError):
        ring.write(page, b"x", out=out)


@given(st.sets(st.integers(0, shared_info.NR_PORTS - 1)), st.sets(st.integers(0, shared_info.NR_PORTS - 1)))
def test_the_scan_takes_what_is_pending_and_not_masked_and_leaves_the_rest(pending: set[int], masked: set[int]) -> None:
    page = memoryview(bytearray(PAGE_SIZE))
    words = page.cast("Q")
    for port in pending:
        words[shared_info.PENDING_WORD + port // 64] |= 1 << port % 64
        words[shared_info.SEL_WORD] |= 1 << port // 64
    for port in masked:
        words[shared_info.MASK_WORD + port // 64] |= 1 << port % 64
    page[shared_info.UPCALL_PENDING] = 1
    assert take_pending(page, words) == sorted(pending - masked)
    left = {port for port in range(shared_info.NR_PORTS) if words[shared_info.PENDING_WORD + port // 64] >> port % 64 & 1}
    assert left == pending & masked and page[shared_info.UPCALL_PENDING] == 0 and words[shared_info.SEL_WORD] == 0


def test_grants_are_told_when_somebody_asked() -> None:
    async def entry(os: MiniOS) -> None:
        ref = os.gnttab.grant(Domid(0), os.pages.allocate(), readonly=True)
        os.gnttab.end(ref)

    for asked in (False, True):
        world = World(1)
        if asked:
            world.recorder.enable("gnttab.*")
        toolstack = Toolstack(world, boot=boot)
        toolstack.unpause(toolstack.create(Image("guest", entry=entry)))
        world.advance(ms(1))
        told = [(event.kind, event.source, event.fields["ref"]) for kind in ("gnttab.grant", "gnttab.end") for event in world.recorder.events(kind)]
        assert told == ([("gnttab.grant", "guest", 8), ("gnttab.end", "guest", 8)] if asked else [])
