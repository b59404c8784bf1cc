"""Pages and events between domains of machine code, and between them and Python domains: mapped, copied, given away, given up."""

from __future__ import annotations

import struct
from typing import Any

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, guest_image, ms
from mirage_lab.runtime import World, tasks
from mirage_lab.xen.abi import event_channel, grant_table, memory, sched, version
from mirage_lab.xen.abi.arm import GNTTAB_BASE, RAM_BASE
from mirage_lab.xen.abi.xen import DOMID_SELF, EVENT_CHANNEL_OP, GRANT_TABLE_OP, MEMORY_OP, PAGE_SIZE, Domid, Pfn
from mirage_lab.xen.arch import translated
from mirage_lab.xen.dom0 import Image
from mirage_lab.xen.hypervisor import Domain, Hypervisor
from mirage_lab.xen.hypervisor import grant_table as grants
from tests.armcode import ARM32, ARM64, ArmProgram, Kind
from tests.attacks import KINDS, Assembler
from tests.attacks import Kind as Attacker
from tests.machinecode import Program, call, kept, move, put, until

TABLE = 0x20_0000
"""Where a guest has its grant table, in RAM."""
SHARED = 0x21_0000
PAGE, OTHER = 0x30_0000, 0x30_1000
"""Pages that it grants."""
HERE, ABOVE = 0x40_0000, 0x900_0000
"""Where a guest maps: in its RAM, and above it."""
KEPT = 0x50_0000


def placed(space: int, gpfn: int) -> Program:
    """A program that begins with add_to_physmap."""
    program = Program()
    return program + call(12, 7, program.at(struct.pack("<HHIII", DOMID_SELF, 0, space, 0, gpfn)))


def granting(dom: int, *, readonly: bool = False) -> Program:
    """A program that grants PAGE by reference 8."""
    flags = grant_table.GTF_PERMIT_ACCESS | (grant_table.GTF_READONLY if readonly else 0)
    return placed(1, TABLE >> 12) + put(TABLE + 68, PAGE >> 12) + put(TABLE + 64, dom << 16 | flags)


def maps(program: Program, at: int, *, dom: int = 1, ref: int = 8, flags: int = grant_table.GNTMAP_HOST_MAP) -> int:
    """Have a program map a page; return where its structure lies."""
    where = program.at(grant_table.MAP.pack(at, flags, ref, dom, 0, 0, 0))
    program += call(20, 0, where, 1)
    return where


def unmaps(program: Program, at: int, handle: int = 0) -> int:
    """Have a program unmap a page; return where its structure lies."""
    where = program.at(grant_table.UNMAP.pack(at, 0, handle, 0))
    program += call(20, 1, where, 1)
    return where


def status(domain: Domain, where: int, offset: int = grant_table.MAP_STATUS) -> int:
    """What a grant operation of a guest said."""
    return int(struct.unpack_from("<h", domain.memory.view, where + offset)[0])


def words(domain: Domain, count: int, at: int = KEPT) -> list[int]:
    """What a guest has kept."""
    return list(struct.unpack_from(f"<{count}I", domain.memory.view, at))


def running(*programs: Assembler) -> tuple[Lab, list[Domain]]:
    """A lab with the guests a, b, ..., one begun after the other."""
    lab = Lab(seed=1)
    for name, program in zip("abc", programs):
        lab.create(guest_image(program.image(), memory_mib=8), name=name).unpause()
        lab.run(ms(1))
    lab.run(ms(1))
    return lab, [lab.machine.toolstack.domain(index + 1) for index in range(len(programs))]


def flags_of(domain: Domain, ref: int = 8) -> int:
    return domain.grants.entry(ref)[0]


# a page in two domains -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [HERE, ABOVE])
def test_two_guests_see_each_others_stores_in_a_page_at_once(at: int) -> None:
    ours = granting(2) + put(PAGE, 0x1234) + until(PAGE + 4, 0x5678) + put(PAGE + 8, 0x9ABC)
    theirs = Program()
    maps(theirs, at)
    theirs += move(at, KEPT) + put(at + 4, 0x5678) + until(at + 8, 0x9ABC) + put(KEPT + 4, 1)
    _, (a, b) = running(ours, theirs)
    assert words(b, 2) == [0x1234, 1] and flags_of(a) == grant_table.GTF_PERMIT_ACCESS | grant_table.GTF_READING | grant_table.GTF_WRITING
    assert len(b.grants.handles) == 1


@pytest.mark.parametrize(("at", "after"), [(HERE, 77), (ABOVE, 0xFFFF_FFFF)])
def test_unmapping_brings_back_what_was_there(at: int, after: int) -> None:
    theirs = Program() + put(HERE, 77) + move(at, KEPT)
    maps(theirs, at)
    theirs += move(at, KEPT + 4)
    unmaps(theirs, at)
    theirs += move(at, KEPT + 8) + put(at, 78) + move(at, KEPT + 12)
    _, (a, b) = running(granting(2) + put(PAGE, 5), theirs)
    assert words(b, 3) == [after, 5, after] and words(a, 1, PAGE) == [5]
    assert flags_of(a) == grant_table.GTF_PERMIT_ACCESS and not b.grants.handles and not b.memory.covered
    if at == HERE:
        assert b.machine.cpu.pieces == 1 and words(b, 1, HERE) == [78]  # type: ignore[union-attr]


def test_a_page_mapped_for_reading_is_read_and_a_store_is_a_general_protection_fault() -> None:
    theirs = Program()
    maps(theirs, HERE, flags=grant_table.GNTMAP_HOST_MAP | grant_table.GNTMAP_READONLY)
    theirs += move(HERE, KEPT) + call(17, 1, HERE) + kept(KEPT + 4) + put(HERE, 6)
    lab, (a, b) = running(granting(2, readonly=True) + put(PAGE, 5), theirs)
    assert words(b, 2) == [5, 0xFFFF_FFF2], "xen_version.extraversion writes, and gets -EFAULT"
    assert b.state == "crashed" and "general protection" in str(lab.vm("b").why())
    assert words(a, 1, PAGE) == [5] and a.state == "running"


def test_a_grant_for_reading_cannot_be_mapped_for_writing() -> None:
    theirs = Program()
    where = maps(theirs, HERE)
    _, (_, b) = running(granting(2, readonly=True), theirs)
    assert status(b, where) == grant_table.GNTST_GENERAL_ERROR and not b.grants.handles


@pytest.mark.parametrize("first", ["a", "b"])
def test_either_side_may_go_first_and_the_bytes_live_on_until_they_are_unmapped(first: str) -> None:
    theirs = Program()
    maps(theirs, HERE)
    theirs += until(HERE, 6) + put(HERE, 7)
    lab, (a, b) = running(granting(2) + put(PAGE, 5), theirs)
    page = a.memory.page(Pfn(PAGE >> 12))
    lab.vm(first).destroy()
    if first == "a":
        page[0] = 6
        lab.run(ms(1))
        assert page[0] == 7 and b.state == "running"
        lab.vm("b").destroy()
    else:
        assert flags_of(a) == grant_table.GTF_PERMIT_ACCESS and a.state == "running"
    assert not a.memory.pins.get(PAGE >> 12) and not b.grants.handles


def test_where_a_page_may_not_be_mapped_the_guest_is_told_so() -> None:
    theirs = placed(1, TABLE >> 12)
    theirs += call(12, 7, theirs.at(struct.pack("<HHIII", DOMID_SELF, 0, 0, 0, 0x9100)))
    asked = [
        (maps(theirs, 0xFEE0_0000), grant_table.GNTST_GENERAL_ERROR),  # the local APIC
        (maps(theirs, 0x910_0000), grant_table.GNTST_GENERAL_ERROR),  # shared_info
        (maps(theirs, 1 << 50), grant_table.GNTST_GENERAL_ERROR),
        (maps(theirs, 0xFFFF_FFFF_FFFF_F000), grant_table.GNTST_GENERAL_ERROR),
        (maps(theirs, HERE), grant_table.GNTST_OKAY),
        (maps(theirs, HERE), grant_table.GNTST_GENERAL_ERROR),
        (maps(theirs, HERE + PAGE_SIZE, ref=9), grant_table.GNTST_GENERAL_ERROR),
        (maps(theirs, HERE + PAGE_SIZE, ref=0xFFFF_FFFF), grant_table.GNTST_BAD_GNTREF),
        (maps(theirs, HERE + PAGE_SIZE, dom=55), grant_table.GNTST_BAD_DOMAIN),
        (maps(theirs, HERE + PAGE_SIZE, flags=grant_table.GNTMAP_DEVICE_MAP), grant_table.GNTST_GENERAL_ERROR),
        (maps(theirs, HERE + PAGE_SIZE, flags=grant_table.GNTMAP_HOST_MAP | grant_table.GNTMAP_CONTAINS_PTE), grant_table.GNTST_GENERAL_ERROR),
    ]
    wrong = [unmaps(theirs, HERE, 5), unmaps(theirs, HERE + PAGE_SIZE, 0)]
    _, (_, b) = running(granting(2), theirs)
    assert [status(b, where) for where, _ in asked] == [expected for _, expected in asked]
    assert [status(b, where, grant_table.UNMAP_STATUS) for where in wrong] == [grant_table.GNTST_BAD_HANDLE, grant_table.GNTST_BAD_VIRT_ADDR]


def test_what_a_guest_may_map_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translated, "MOST_PIECES", 12)
    theirs = Program()
    asked = [maps(theirs, HERE + 2 * number * PAGE_SIZE) for number in range(10)]
    _, (_, b) = running(granting(2), theirs)
    assert [status(b, where) for where in asked] == [0] * 5 + [grant_table.GNTST_NO_DEVICE_SPACE] * 5


def test_a_page_that_is_mapped_over_another_cannot_be_granted_on() -> None:
    """Xen lets a domain grant what is its own, not what it was granted."""
    theirs = placed(1, TABLE >> 12) + put(TABLE + 68, HERE >> 12) + put(TABLE + 64, 3 << 16 | 1)
    maps(theirs, HERE)
    last = Program()
    where = maps(last, HERE, dom=2)
    _, (_, _, c) = running(granting(2), theirs, last)
    assert status(c, where) == grant_table.GNTST_BAD_PAGE


# a Python unikernel and a machine-code guest ---------------------------------------------------------------------------


def test_a_python_unikernel_and_a_guest_share_a_page_and_events_and_one_trace_shows_both() -> None:
    lab = Lab(seed=1)
    ours = granting(2)
    ours += call(32, 6, ours.at(struct.pack("<HHI", DOMID_SELF, 2, 0)))
    ours += call(12, 7, ours.at(struct.pack("<HHIII", DOMID_SELF, 0, 0, 0, SHARED >> 12)))
    ports = ours.at(struct.pack("<I", 3))
    poll = ours.at(struct.pack("<IIQ", ports, 1, 0))
    for turn in range(1, 4):
        ours += put(PAGE, turn) + call(32, 4, ports) + call(29, 3, poll) + put(SHARED + 2048, 0) + move(PAGE + 4, KEPT + 4 * turn)
    lab.create(guest_image(ours.image(), memory_mib=8), name="a").unpause()
    heard: list[int] = []

    async def unikernel(os: Any) -> None:
        arg = bytearray(grant_table.MAP.pack(os.memory.demand + (64 << 12), grant_table.GNTMAP_HOST_MAP, 8, 1, 0, 0, 0))
        assert os.gate.call(GRANT_TABLE_OP, grant_table.MAP_GRANT_REF, arg) == 0
        page = os.memory.at(os.memory.demand + (64 << 12))
        port = os.events.bind_interdomain(Domid(1), 3)

        def event() -> None:
            heard.append(int.from_bytes(page[:4], "little"))
            page[4:8] = (100 + heard[-1]).to_bytes(4, "little")
            os.events.notify(port)

        os.events.bind(port, event)
        os.events.unmask(port)
        await tasks.Condition().wait()

    lab.run(ms(1))
    toolstack = lab.machine.toolstack
    lab.machine.world.recorder.enable("xen.hypercall")
    toolstack.unpause(toolstack.create(Image("b", entry=unikernel), memory_mib=8))
    lab.run(ms(20))
    a = toolstack.domain(1)
    assert heard == [1, 2, 3] and words(a, 3, KEPT + 4) == [101, 102, 103]
    both = [event.source for event in lab.events("evtchn.notify") if event.source in ("a", "b")]
    assert both[-4:] == ["a", "b", "a", "b"]
    caused = [event for event in lab.events("evtchn.notify", source="b") if event.cause]
    assert caused, "the guest's event is the cause of the unikernel's answer"


def test_events_go_to_and_fro_between_two_guests() -> None:
    ours = placed(0, SHARED >> 12)
    ours += call(32, 6, ours.at(struct.pack("<HHI", DOMID_SELF, 2, 0)))
    theirs = placed(0, SHARED >> 12)
    theirs += call(32, 0, theirs.at(struct.pack("<HHII", 1, 0, 3, 0)))
    for program in (ours, theirs):
        ports = program.at(struct.pack("<I", 3))
        poll = program.at(struct.pack("<IIQ", ports, 1, 0))
        if program is theirs:
            program += put(SHARED + 2048, 0) + call(32, 4, ports)
        for turn in range(1, 21):
            program += call(29, 3, poll) + put(SHARED + 2048, 0) + put(KEPT, turn) + call(32, 4, ports)
        program += call(29, 2, program.at(struct.pack("<I", 0)))
    lab, (a, b) = running(ours, theirs)
    assert words(a, 1) == [20] and words(b, 1) == [20]
    assert [lab.vm(name).state for name in "ab"] == ["shutdown", "shutdown"]
    assert a.events_sent == 20 and b.events_sent == 21


# giving pages up, and away ---------------------------------------------------------------------------------------------


def reservation(program: Program, op: int, *frames: int, order: int = 0, extents: int | None = None) -> None:
    """Have a program change its reservation."""
    where = program.at(struct.pack(f"<{len(frames)}I", *frames))
    program += call(12, op, program.at(struct.pack("<IIIIH2x", where, len(frames) if extents is None else extents, order, 0, DOMID_SELF)))


def test_a_guest_gives_pages_up_and_gets_them_back_empty() -> None:
    program = Program() + put(HERE, 5)
    reservation(program, memory.DECREASE_RESERVATION, HERE >> 12, (HERE >> 12) + 1)
    program += kept(KEPT) + move(HERE, KEPT + 4)
    program += call(12, 3, program.at(struct.pack("<H", DOMID_SELF))) + kept(KEPT + 8)
    reservation(program, memory.POPULATE_PHYSMAP, HERE >> 12, (HERE >> 12) + 1, (HERE >> 12) + 2)
    program += kept(KEPT + 12) + move(HERE, KEPT + 16) + put(HERE, 6)
    program += call(12, 3, program.at(struct.pack("<H", DOMID_SELF))) + kept(KEPT + 20)
    _, (a,) = running(program)
    assert words(a, 6) == [2, 0xFFFF_FFFF, 2046, 2, 0, 2048]
    assert words(a, 1, HERE) == [6] and not a.memory.absent and a.machine.cpu.pieces == 1  # type: ignore[union-attr]


def test_pages_that_others_use_are_not_given_up() -> None:
    theirs = Program()
    maps(theirs, HERE)
    ours = granting(2) + until(PAGE, 1)
    frames = (PAGE >> 12, TABLE >> 12, 2047, 5000, 0xFFFF_FFFF)  # granted; the grant table; the console's ring; none; none
    for index, frame in enumerate(frames):
        reservation(ours, memory.DECREASE_RESERVATION, frame)
        ours += kept(KEPT + 4 * index)
    theirs += put(HERE, 1)
    _, (a, b) = running(ours + put(KEPT + 20, 1), theirs)
    assert words(a, 6) == [0, 0, 0, 0, 0, 1] and not a.memory.absent and a.state == b.state == "running"


def test_absurd_reservations_do_nothing() -> None:
    program = Program()
    for op in (memory.INCREASE_RESERVATION, memory.DECREASE_RESERVATION, memory.POPULATE_PHYSMAP):
        reservation(program, op, 0xFFFF_FFFF, order=31)
        reservation(program, op, order=0, extents=0xFFFF_FFFF)
        reservation(program, op, 0xFFFF_FFFF, extents=1 << 20)
    _, (a,) = running(program)
    assert not a.memory.absent and a.state == "running"


def test_a_guest_that_gives_up_every_second_page_is_stopped_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translated, "MOST_PIECES", 20)
    program = Program()
    reservation(program, memory.DECREASE_RESERVATION, *range(0x400, 0x4C8, 2))
    program += kept(KEPT)
    _, (a,) = running(program)
    assert words(a, 1) == [19] and a.machine.cpu.pieces == 20  # type: ignore[union-attr]


def accepts(domain: Domain, giver: int, frame: int = 0) -> None:
    grant_table.ENTRY.pack_into(domain.grants.frames[0], 64, grant_table.GTF_ACCEPT_TRANSFER, giver, frame)


def given(domain: Domain, pfn: int, to: int, ref: int = 8) -> int:
    """A Python domain gives a page away; return the status."""
    arg = bytearray(grant_table.TRANSFER_ARG.pack(domain.memory.base + pfn, to, ref, 0))
    assert domain.gate.call(GRANT_TABLE_OP, grant_table.TRANSFER, arg) == 0
    return int(grant_table.TRANSFER_ARG.unpack(arg)[3])


def gave_up(domain: Domain, pfn: int) -> int:
    domain.memory.page(Pfn(9))[:8] = (domain.memory.base + pfn).to_bytes(8, "little")
    arg = bytearray(memory.RESERVATION_ARG.pack(9 * PAGE_SIZE, 1, 0, 0, DOMID_SELF))
    return domain.gate.call(MEMORY_OP, memory.DECREASE_RESERVATION, arg)


def python_pair() -> tuple[Domain, Domain]:
    xen = Hypervisor(World(1))
    xen.create_domain("dom0", 64, guest=False)
    return xen.create_domain("giver", 64), xen.create_domain("taker", 64)


def test_a_page_is_given_away_with_its_bytes() -> None:
    giver, taker = python_pair()
    assert gave_up(taker, 20) == 1
    accepts(taker, giver.domid)
    giver.memory.page(Pfn(30))[:5] = b"hello"
    assert given(giver, 30, taker.domid) == grant_table.GNTST_OKAY
    flags, _, frame = taker.grants.entry(8)
    assert flags == grant_table.GTF_ACCEPT_TRANSFER | grant_table.GTF_TRANSFER_COMMITTED | grant_table.GTF_TRANSFER_COMPLETED
    assert frame == taker.memory.mfn(Pfn(20)) and bytes(taker.memory.page(Pfn(20))[:5]) == b"hello"
    assert giver.memory.absent == {30} and giver.memory.ram(giver.memory.mfn(Pfn(30))) is None and not taker.memory.absent


def test_a_page_that_nobody_takes_is_gone_all_the_same() -> None:
    """grant_table.h: "even if the transfer fails, the specified page no longer belongs to the calling domain"."""
    giver, taker = python_pair()
    refused = [given(giver, 30, 77), given(giver, 31, taker.domid)]
    gave_up(taker, 20)
    refused += [given(giver, 32, taker.domid), given(giver, 33, taker.domid, 1 << 31)]
    accepts(taker, 55)
    refused.append(given(giver, 34, taker.domid))
    assert refused == [grant_table.GNTST_BAD_DOMAIN] + [grant_table.GNTST_GENERAL_ERROR] * 4
    assert giver.memory.absent == {30, 31, 32, 33, 34} and taker.memory.absent == {20}


def test_a_page_in_use_is_not_given_away() -> None:
    giver, taker = python_pair()
    gave_up(taker, 20)
    accepts(taker, giver.domid)
    grant_table.ENTRY.pack_into(giver.grants.frames[0], 64, grant_table.GTF_PERMIT_ACCESS, taker.domid, giver.memory.mfn(Pfn(30)))
    arg = bytearray(grant_table.MAP.pack(taker.memory.demand, grant_table.GNTMAP_HOST_MAP, 8, giver.domid, 0, 0, 0))
    taker.gate.call(GRANT_TABLE_OP, grant_table.MAP_GRANT_REF, arg)
    assert [given(giver, pfn, taker.domid) for pfn in (30, 5_000, 1 << 40)] == [grant_table.GNTST_BAD_PAGE] * 3
    assert not giver.memory.absent


def test_a_page_goes_from_one_guest_of_machine_code_to_another() -> None:
    taker = placed(1, TABLE >> 12)
    reservation(taker, memory.DECREASE_RESERVATION, HERE >> 12)
    taker += put(TABLE + 68, HERE >> 12) + put(TABLE + 64, 2 << 16 | grant_table.GTF_ACCEPT_TRANSFER)
    done = grant_table.GTF_ACCEPT_TRANSFER | grant_table.GTF_TRANSFER_COMMITTED | grant_table.GTF_TRANSFER_COMPLETED
    taker += until(TABLE + 64, 2 << 16 | done) + move(HERE, KEPT)
    giver = Program() + put(PAGE, 0x1234)
    where = giver.at(struct.pack("<IHHIhH", PAGE >> 12, 1, 0, 8, 0x55, 0))
    giver += call(20, 4, where, 1) + move(PAGE, KEPT)
    _, (a, b) = running(taker, giver)
    assert status(b, where, 12) == 0 and words(a, 1) == [0x1234] and words(b, 1) == [0xFFFF_FFFF]
    assert not a.memory.absent and b.memory.absent == {PAGE >> 12}


def test_one_mapping_takes_the_place_of_another() -> None:
    giver, taker = python_pair()
    for ref, pfn in ((8, 30), (9, 31)):
        grant_table.ENTRY.pack_into(giver.grants.frames[0], 8 * ref, grant_table.GTF_PERMIT_ACCESS, taker.domid, giver.memory.mfn(Pfn(pfn)))
        giver.memory.page(Pfn(pfn))[0] = ref
        arg = bytearray(grant_table.MAP.pack(taker.memory.demand + ref * PAGE_SIZE, grant_table.GNTMAP_HOST_MAP, ref, giver.domid, 0, 0, 0))
        taker.gate.call(GRANT_TABLE_OP, grant_table.MAP_GRANT_REF, arg)
    first, second = (taker.memory.demand + ref * PAGE_SIZE for ref in (8, 9))
    arg = bytearray(grant_table.UNMAP_AND_REPLACE_ARG.pack(first, second, 0, 0))
    assert taker.gate.call(GRANT_TABLE_OP, grant_table.UNMAP_AND_REPLACE, arg) == 0 and grant_table.UNMAP.unpack(arg)[3] == 0
    assert taker.memory.at(first)[0] == 9 and not taker.memory.mapped_at(second)
    assert grants.unmap_one(taker.gate._hypervisor, taker, 1, first) == 0 and not taker.grants.handles


# several calls at once -------------------------------------------------------------------------------------------------


def test_a_multicall_goes_on_after_a_call_that_fails_and_each_has_its_own_result() -> None:
    program = Program()
    port = program.at(struct.pack("<HHI", DOMID_SELF, 0, 0))
    entries = [
        (17, 0, 0, 0),  # xen_version
        (EVENT_CHANNEL_OP, event_channel.SEND, 0xFFFF_0000, 0),  # -EFAULT
        (13, 0, 1, 0),  # a multicall within: -ENOSYS
        (EVENT_CHANNEL_OP, event_channel.ALLOC_UNBOUND, port, 0),
        (99, 0, 0, 0),  # -ENOSYS
        (29, sched.YIELD, 0, 0),
    ]
    where = program.at(b"".join(struct.pack("<8I", number, 0x55, *args, 0, 0, 0) for number, *args in entries))
    program += call(13, where, len(entries)) + kept(KEPT)
    program += call(13, where + (len(entries) << 5), 0xFFFF_FFFF) + kept(KEPT + 4) + call(13, 0xFFFF_FFF0, 2) + kept(KEPT + 8)
    _, (a,) = running(program)
    results = [struct.unpack_from("<i", a.memory.view, where + 32 * index + 4)[0] for index in range(len(entries))]
    assert results[0] > 4 << 16 and results[1:] == [-14, -38, 0, -38, 0]
    assert [word - (1 << 32) if word >> 31 else word for word in words(a, 3)] == [0, -22, -14]
    assert struct.unpack_from("<I", a.memory.view, port + 4) == (3,)


# ARM, and one kind beside another ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [(ARM64, ARM64), (ARM32, ARM32), (ARM64, ARM32)], ids=["64 and 64", "32 and 32", "64 and 32"])
@pytest.mark.parametrize("at", [0x40_0000, GNTTAB_BASE - RAM_BASE])
def test_guests_of_arm_share_pages_too(kinds: tuple[Kind, Kind], at: int) -> None:
    pytest.importorskip("fdt")
    ours, theirs = (ArmProgram(kind) for kind in kinds)
    ram = ours.ram
    ours.call(12, 7, ours.at(struct.pack("<HHIQQ", DOMID_SELF, 0, 1, 0, GNTTAB_BASE >> 12)))
    ours.put(GNTTAB_BASE + 68, ram + PAGE >> 12)
    ours.put(GNTTAB_BASE + 64, 2 << 16 | grant_table.GTF_PERMIT_ACCESS)
    ours.put(ram + PAGE, 0x1234)
    ours.until(ram + PAGE + 4, 0x5678)
    ours.put(ram + PAGE + 8, 0x9ABC)
    at += ram if at != GNTTAB_BASE - RAM_BASE else RAM_BASE
    theirs.put(ram + HERE, 77)
    theirs.call(20, 0, theirs.at(grant_table.MAP.pack(at, grant_table.GNTMAP_HOST_MAP, 8, 1, 0, 0, 0)), 1)
    theirs.move(at, ram + KEPT)
    theirs.put(at + 4, 0x5678)
    theirs.until(at + 8, 0x9ABC)
    theirs.call(20, 1, theirs.at(grant_table.UNMAP.pack(at, 0, 0, 0)), 1)
    theirs.move(ram + HERE, ram + KEPT + 4)
    _, (a, b) = running(ours, theirs)
    assert words(b, 2) == [0x1234, 77] and a.state == b.state == "running"
    assert flags_of(a) == grant_table.GTF_PERMIT_ACCESS and b.machine.cpu.pieces <= 3  # type: ignore[union-attr]


def test_an_arm_guest_and_a_pvh_guest_share_a_page() -> None:
    pytest.importorskip("fdt")
    theirs = ArmProgram(ARM64)
    theirs.call(20, 0, theirs.at(grant_table.MAP.pack(GNTTAB_BASE, grant_table.GNTMAP_HOST_MAP, 8, 1, 0, 0, 0)), 1)
    theirs.move(GNTTAB_BASE, theirs.ram + KEPT)
    theirs.put(GNTTAB_BASE + 4, 0x5678)
    _, (a, b) = running(granting(2) + put(PAGE, 0x1234) + until(PAGE + 4, 0x5678) + put(KEPT, 1), theirs)
    assert words(b, 1) == [0x1234] and words(a, 1) == [1]


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_multicall_of_each_kind_of_guest_has_a_result_for_each_call(kind: Attacker) -> None:
    program = kind.program(0x20_0000)
    entry = struct.Struct("<8I" if program.top == 1 << 32 and program.ram == 0 else "<8Q")
    send = program.at(struct.pack("<I", 9_999))
    rows = [(17, 0, 0), (EVENT_CHANNEL_OP, event_channel.SEND, send), (13, 0, 1), (99, 0, 0), (29, sched.YIELD, 0)]
    where = program.at(b"".join(entry.pack(number, 0x55, *args, 0, 0, 0, 0) for number, *args in rows))
    program.call(13, where, len(rows))
    program.keep(program.ram + KEPT)
    _, (a,) = running(program)
    word = entry.size // 8
    at = where - program.ram + word
    results = [int.from_bytes(a.memory.view[at + index * entry.size :][:word], "little", signed=True) for index in range(len(rows))]
    assert words(a, 1) == [0] and results[0] > 4 << 16 and results[1:] == [-22, -38, -38, 0]


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_multicall_that_takes_long_goes_on_where_it_was_left(kind: Attacker) -> None:
    """A thousand calls are half a millisecond: the CPU is left twice, and the guest sees nothing of it."""
    program = kind.program(0x20_0000)
    entry = struct.Struct("<8I" if program.top == 1 << 32 and program.ram == 0 else "<8Q")
    where = program.at(entry.pack(17, 0x55, 0, 0, 0, 0, 0, 0) * 1_000)
    program.call(13, where, 1_000)
    program.keep(program.ram + KEPT)
    program.put(program.ram + KEPT + 4, 1)
    lab, (a,) = running(program)
    assert words(a, 2) == [0, 1] and a.hypercalls[17, 0] == 1_000
    word = entry.size // 8
    at = where - program.ram + word
    assert {bytes(a.memory.view[at + index * entry.size :][:word]) for index in range(1_000)} == {(4 << 16 | version.MINOR).to_bytes(word, "little")}
    assert len([event for event in lab.events("vcpu.exit", source="a") if event.fields["why"] == "hypercall"]) == 3
