"""The page tables of PV guests: every entry is checked, no frame is two things at once, and pages of others come and go by grants."""

from __future__ import annotations

import random
import struct

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, guest_image, ms
from mirage_lab.xen.abi import grant_table, mmu, pv, sched
from mirage_lab.xen.abi.errno import E2BIG, EBUSY, EFAULT, EINVAL, ENOMEM, ENOSYS, EPERM, ESRCH
from mirage_lab.xen.abi.xen import DOMID_SELF, Mfn
from mirage_lab.xen.arch.x86.frames import L1, L4, NONE, WRITABLE, FrameTypes
from mirage_lab.xen.hypervisor import Domain
from mirage_lab.xen.hypervisor.hypervisor import SHARED_FRAMES
from mirage_lab.xen.hypervisor.memory import DomainMemory
from tests.machinecode import Program, call, until
from tests.machinecode import put as put32
from tests.pvcode import (
    BASE,
    DATA,
    FIRST_MFN,
    KEPT,
    L1_PAGE,
    PAGE,
    SHARED,
    TABLES,
    booted,
    call64,
    dmesg,
    domain,
    elf64,
    fetch,
    imm64,
    keep,
    kept,
    mfn,
    put,
    says64,
)

# page tables -------------------------------------------------------------------------------------------------------


def test_a_guest_maps_a_frame_of_its_own_where_it_wants() -> None:
    where = BASE + 0x10_0000
    code = put(BASE + 0x3000, 1234) + call64(14, where, mfn(3) << 12 | 3, 0) + keep(0) + fetch(where) + keep(1)
    lab = booted(says64(b"x", after=code))
    assert kept(lab, 2) == (0, 1234)


def update(ptr: int, value: int) -> bytes:
    return mmu.MMU_UPDATE.pack(ptr, value)


ENTRY_OF_PAGE_3 = mfn(L1_PAGE) * PAGE + 3 * 8


@pytest.mark.parametrize(
    ("ptr", "value", "said"),
    [
        (ENTRY_OF_PAGE_3, mfn(3) << 12 | 7, 0),
        (ENTRY_OF_PAGE_3, mfn(3) << 12 | 5, 0),
        (ENTRY_OF_PAGE_3, 0, 0),
        (ENTRY_OF_PAGE_3, mfn(L1_PAGE) << 12 | 5, 0),  # a table, for reading
        (ENTRY_OF_PAGE_3, (SHARED_FRAMES + 1) << 12 | 7, 0),
        (ENTRY_OF_PAGE_3, mfn(L1_PAGE) << 12 | 7, -EINVAL),  # a table, for writing
        (ENTRY_OF_PAGE_3, mfn(TABLES) << 12 | 7, -EINVAL),
        (ENTRY_OF_PAGE_3, 0x1000 << 12 | 7, -EPERM),  # dom0's
        (ENTRY_OF_PAGE_3, 0x1000 << 12 | 5, -EPERM),
        (ENTRY_OF_PAGE_3, mfn(2048) << 12 | 7, -EPERM),  # nobody's
        (ENTRY_OF_PAGE_3, (SHARED_FRAMES + 0) << 12 | 7, -EPERM),  # dom0's shared_info
        (ENTRY_OF_PAGE_3, (SHARED_FRAMES + (1 << 25)) << 12 | 7, -EPERM),  # what Xen has for this very guest
        (ENTRY_OF_PAGE_3, 0x000F_FFFF_FFFF_F007, -EPERM),
        (mfn(13) * PAGE + 128 * 8, mfn(3) << 12 | 0x87, -EINVAL),  # a superpage
        (mfn(13) * PAGE + 128 * 8, mfn(3) << 12 | 7, -EINVAL),  # a page that is written, as an L1 table
        (mfn(13) * PAGE + 130 * 8, mfn(17) << 12 | 7, -EINVAL),
        (mfn(13) * PAGE + 130 * 8, mfn(13) << 12 | 7, -EINVAL),  # itself
        (mfn(TABLES) * PAGE + 256 * 8, 0, -EINVAL),  # Xen's own slots
        (mfn(TABLES) * PAGE + 271 * 8, mfn(12) << 12 | 7, -EINVAL),
        (mfn(TABLES) * PAGE + 272 * 8, mfn(12) << 12 | 7, 0),
        (0x1000 * PAGE, 7, -EINVAL),
        (mfn(3) * PAGE, 7, 0),  # no table: a store like any other
        (ENTRY_OF_PAGE_3 | 3, 7, -ENOSYS),
        (ENTRY_OF_PAGE_3 | 4, 7, -EINVAL),
        ((1 << 64) - 8, 7, -EINVAL),
    ],
)
def test_every_entry_is_checked_before_it_is_written(ptr: int, value: int, said: int) -> None:
    at = (ptr >> 12) - FIRST_MFN << 12 | ptr & 0xFF8
    lab = Lab(seed=1)
    lab.create(guest_image(elf64(says64(b"alive", after=call64(1, DATA, 1, DATA + 32, DOMID_SELF) + keep(0), data=update(ptr, value))), memory_mib=8)).unpause()
    view = domain(lab).memory.view
    before = bytes(view[at : at + 8]) if 0 <= at < len(view) else b""
    lab.run(ms(5))
    assert kept(lab, 1) == (said,) and "alive" in dmesg(lab)
    if said and before:
        assert bytes(view[at : at + 8]) == before
    assert int.from_bytes(view[DATA + 32 - BASE : DATA + 36 - BASE], "little") == (0 if said else 1), "done is told"


LOCK_AND = b"\xf0\x48\x83\x20"
"""lock and qword [rax], imm8"""


@pytest.mark.parametrize(
    ("store", "slot", "becomes"),
    [
        (b"\x48\xc7\x00\x00\x00\x00\x00", 3, 0),  # mov qword [rax], 0
        (b"\x31\xdb\x48\x87\x18", 3, 0),  # xor ebx, ebx; xchg [rax], rbx
        (LOCK_AND + b"\xfd", 3, mfn(3) << 12 | 0x65),  # no longer to be written
        (b"\x3e\x80\x20\xfd", 3, mfn(3) << 12 | 0x65),  # and byte ds:[rax], imm8
        (b"\x48\xbb" + imm64(mfn(2) << 12 | 3) + b"\x48\x89\x18", 3, mfn(2) << 12 | 7),  # mov rbx, ...; mov [rax], rbx
        (b"\x48\xbb" + imm64(0x1000 << 12 | 7) + b"\x48\x89\x18", 3, None),  # a frame of dom0
        (b"\x48\xbb" + imm64(mfn(L1_PAGE) << 12 | 7) + b"\x48\x89\x18", 3, None),  # the table itself, for writing
        (b"\x48\xbb" + imm64(mfn(L1_PAGE) << 12 | 7) + b"\x48\x89\x18", L1_PAGE, None),  # by the entry that maps the table
        (b"\x48\x89\xc7\x48\xbe" + imm64(DATA) + b"\x48\xa5", 3, None),  # mov rdi, rax; mov rsi, DATA; movsq: no such store is done for a guest
        (b"\x0f\xae\x00", 2, None),  # fxsave [rax]
    ],
)
def test_a_store_to_an_l1_table_is_done_for_the_guest_if_it_may_be(store: bytes, slot: int, becomes: int | None) -> None:
    """Otherwise it is a page fault, and the table is as it was."""
    where = BASE + L1_PAGE * PAGE + slot * 8
    lab = Lab(seed=1)
    lab.create(guest_image(elf64(says64(b"alive", after=b"\x48\xb8" + imm64(where) + store)), memory_mib=8)).unpause()
    view, at = domain(lab).memory.view, L1_PAGE * PAGE + slot * 8
    before = bytes(view[L1_PAGE * PAGE : L1_PAGE * PAGE + PAGE])
    lab.run(ms(5))
    if becomes is None:
        assert "a page fault" in str(lab.vm("guest").why()) and f"{where & ~15:#x}"[:-1] in str(lab.vm("guest").why())
        after = bytes(view[L1_PAGE * PAGE : L1_PAGE * PAGE + PAGE])
        assert [word & ~0x60 for word in memoryview(after).cast("Q")] == [word & ~0x60 for word in memoryview(before).cast("Q")]
    else:
        assert "alive" in dmesg(lab) and int.from_bytes(view[at : at + 8], "little") == becomes


def test_a_batch_is_done_up_to_the_first_that_is_refused() -> None:
    batch = update(ENTRY_OF_PAGE_3, 0) + update(ENTRY_OF_PAGE_3, 0x1000 << 12 | 7) + update(mfn(L1_PAGE) * PAGE + 2 * 8, 0)
    lab = booted(says64(b"x", after=call64(1, DATA, 3, DATA + 64, DOMID_SELF) + keep(0), data=batch))
    assert kept(lab, 1) == (-EPERM,)
    view = domain(lab).memory.view
    assert view[DATA + 64 - BASE] == 1
    assert view[L1_PAGE * PAGE + 2 * 8] & 1, "the third was not begun"


def test_absurd_batches_and_owners_get_an_errno() -> None:
    me = DOMID_SELF
    calls = [(1, DATA, 1 << 20, 0, me), (1, 0x5000_0000, 1, 0, me), (1, DATA, 1, 0, 0), (26, DATA, 8193, 0, me), (1, 0xFFFF_8200_0000_0000, 1, 0, me)]
    code = b"".join(call64(*args) + keep(n) for n, args in enumerate(calls))
    lab = booted(says64(b"alive", after=code))
    assert kept(lab, 5) == (-E2BIG, -EFAULT, -ESRCH, -E2BIG, -EFAULT) and "alive" in dmesg(lab)


def test_results_are_never_written_over_what_is_xens_or_read_only() -> None:
    """The features of xen_version to the descriptor table, to the machine's table, and to a page table of its own."""
    places = (0xFFFF_8200_0000_E008, pv.MACH2PHYS + 8 * mfn(3), BASE + L1_PAGE * PAGE)
    code = b"".join(call64(17, 1, place) + keep(n) for n, place in enumerate(places))
    lab = booted(says64(b"alive", after=code))
    assert kept(lab, 3) == (-EFAULT, -EFAULT, -EFAULT) and "alive" in dmesg(lab)


def test_a_guest_cannot_reach_what_is_xens() -> None:
    for address in (0xFFFF_8200_0000_E008, 0xFFFF_8300_0000_0000, 0xFFFF_87FF_FFFF_F000):
        assert f"on address {address:#x}" in str(booted(fetch(address)).vm("guest").why())
    for address in (0xFFFF_8200_0001_0000, pv.MACH2PHYS + 8 * mfn(3)):  # there to be read, and not written
        assert f"on address {address:#x}" in str(booted(fetch(address) + put(address, 0)).vm("guest").why())


def test_tables_are_pinned_used_and_unpinned() -> None:
    """A copy of the L4, mapped read-only, becomes the one in use; the first one then is an ordinary page again."""
    ops = [(mmu.PIN_L4 - 0, mfn(17), 0), (mmu.NEW_BASEPTR, mfn(17), 0), (mmu.UNPIN, mfn(TABLES), 0)]
    copy = mmu.MMUEXT_OP.pack(mmu.COPY_PAGE, mfn(17), mfn(TABLES))
    change = b"".join(mmu.MMUEXT_OP.pack(*op) for op in ops)
    readonly = call64(14, BASE + 17 * PAGE, mfn(17) << 12 | 5, 0)
    code = call64(26, DATA, 1, 0, DOMID_SELF) + keep(0) + call64(26, DATA + 24, 1, 0, DOMID_SELF) + keep(1)  # refused: mapped for writing
    code += readonly + keep(2) + call64(26, DATA + 24, 3, 0, DOMID_SELF) + keep(3) + call64(14, BASE + TABLES * PAGE, mfn(TABLES) << 12 | 7, 0) + keep(4)
    lab = booted(says64(b"alive", after=code, data=copy + change))
    assert kept(lab, 5) == (0, -EINVAL, 0, 0, 0) and "alive" in dmesg(lab)
    frames: FrameTypes = domain(lab).machine.mmu.frames  # type: ignore[union-attr]
    assert (frames.kinds[17], frames.counts[17], frames.kinds[TABLES]) == (L4, 2, WRITABLE)


def test_descriptors_lead_nobody_out_of_ring_3() -> None:
    """A call gate is refused; code of ring 0 becomes code of ring 3; data of ring 3 is taken as it is, and kept from then on."""
    where = BASE + 0x3000
    code = b""
    for n, descriptor in enumerate((0x0000_EC00_0008_0000, 0x00AF_9B00_0000_FFFF, 0x00CF_F300_0000_FFFF)):
        code += call64(14, where, mfn(3) << 12 | 7, 0) + put(where + 8, descriptor) + call64(14, where, mfn(3) << 12 | 5, 0) + call64(2, DATA, 2) + keep(n)
        code += fetch(where + 8) + keep(6 + n) + (call64(2, 0, 0) if n == 1 else b"")
    code += call64(14, where, mfn(3) << 12 | 7, 0) + keep(3) + b"\xb8\x0b\x00\x00\x00\x8e\xd8"  # mov ds, 0x0b
    code += call64(10, mfn(3) * PAGE + 16, 0x0000_EC00_0008_0000) + keep(4) + call64(10, mfn(3) * PAGE + 16, 0x00CF_9300_0000_FFFF) + keep(5)
    code += fetch(where + 16) + keep(9)
    lab = booted(says64(b"alive", after=code, data=imm64(mfn(3))))
    told = kept(lab, 10)
    assert told[:6] == (-EINVAL, 0, 0, -EINVAL, -EINVAL, 0) and "alive" in dmesg(lab)
    assert told[6:] == (0x0000_EC00_0008_0000, 0x00AF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF, 0x00CF_F300_0000_FFFF)


def test_ports_are_for_who_has_asked_for_them_and_nothing_is_there() -> None:
    """physdev_op.set_iopl, of level 1; of level 4 there is none."""
    code = call64(33, 6, DATA) + keep(0) + call64(33, 6, DATA + 8) + keep(1) + call64(33, 99, DATA) + keep(2)
    code += b"\x31\xc0\xe4\x60" + keep(3) + b"\xe6\x60"  # xor eax, eax; in al, 0x60; out 0x60, al
    lab = booted(says64(b"alive", after=code, data=struct.pack("<IIII", 4, 0, 1, 0)))
    assert kept(lab, 4) == (-EINVAL, 0, -ENOSYS, 0xFF) and "alive" in dmesg(lab)


def test_vcpu_info_moves_to_a_page_that_then_becomes_no_table() -> None:
    """And cr2 and the mask of upcalls are there from then on."""
    page = BASE + 17 * PAGE
    info = struct.pack("<QI4x", mfn(17), 64)
    pin = mmu.MMUEXT_OP.pack(mmu.PIN_L1, mfn(17), 0)
    wrong = struct.pack("<QI4x", mfn(L1_PAGE), 64)
    code = call64(24, 10, 0, DATA + 48) + keep(0) + call64(24, 10, 0, DATA) + keep(1) + fetch(page + 64) + keep(2)
    code += call64(14, page, mfn(17) << 12 | 5, 0) + call64(26, DATA + 16, 1, 0, DOMID_SELF) + keep(3)
    lab = booted(says64(b"x", after=code, data=info + pin.ljust(32, b"\0") + wrong))
    told = kept(lab, 4)
    assert (told[0], told[1], told[3]) == (-EINVAL, 0, -EINVAL) and told[2] & 0xFFFF == 0x0101, "pending, and masked"


def test_the_time_that_a_vcpu_has_run_is_told_where_the_guest_wants_it() -> None:
    lab = booted(says64(b"x", after=call64(24, 5, 0, DATA) + keep(0) + call64(24, 5, 0, DATA + 8) + keep(1), data=imm64(KEPT + 64) + imm64(0x5555_0000)))
    state, *times = struct.unpack_from("<i4xQ4Q", domain(lab).memory.view, KEPT + 64 - BASE)
    assert kept(lab, 2) == (0, -EFAULT) and state == 0 and len(times) == 5


def test_the_last_vcpu_that_goes_down_ends_the_domain() -> None:
    assert booted(call64(24, 2, 0, 0) + b"\xeb\xfe").vm("guest").state == "shutdown"


def test_a_page_table_is_no_descriptor_table_and_stays_as_it_is() -> None:
    absent = 1 << 47 | 1 << 44  # an entry that is not present, and would be code of ring 0
    code = call64(1, DATA, 1, 0, DOMID_SELF) + call64(2, DATA + 16, 512) + keep(0) + fetch(BASE + L1_PAGE * PAGE + 3 * 8) + keep(1)
    lab = booted(says64(b"alive", after=code, data=update(ENTRY_OF_PAGE_3, absent) + imm64(mfn(L1_PAGE))))
    assert kept(lab, 2) == (-EINVAL, absent) and "alive" in dmesg(lab)


def test_a_page_table_is_lent_to_nobody_for_writing() -> None:
    """By grants the guest would have dom0 write its tables: the copy of a page over one is refused."""
    copy = grant_table.COPY_ARG.pack(mfn(3), DOMID_SELF, 0, mfn(L1_PAGE), DOMID_SELF, 0, 8, 0, 0)
    fine = grant_table.COPY_ARG.pack(mfn(3), DOMID_SELF, 0, mfn(2), DOMID_SELF, 0, 8, 0, 0)
    lab = booted(says64(b"x", after=call64(20, 5, DATA, 2) + keep(0), data=copy + fine))
    view = domain(lab).memory.view
    told = [struct.unpack_from("<h", view, DATA - BASE + at * grant_table.COPY_ARG.size + grant_table.COPY_STATUS)[0] for at in range(2)]
    assert kept(lab, 1) == (0,) and told == [grant_table.GNTST_GENERAL_ERROR, grant_table.GNTST_OKAY]


def test_a_page_that_is_lent_for_writing_becomes_no_page_table() -> None:
    """The pages of the two rings, which dom0 has mapped."""
    pins = b"".join(mmu.MMUEXT_OP.pack(mmu.PIN_L1, mfn(page), 0) for page in (9, 17, 17))
    code = b"".join(call64(14, BASE + page * PAGE, 0, 0) for page in (9, 17))
    code += b"".join(call64(26, DATA + 24 * n, 1, 0, DOMID_SELF) + keep(n) for n in range(3))
    lab = booted(says64(b"x", after=code, data=pins))
    assert kept(lab, 3) == (-EINVAL, 0, -EINVAL), "and nothing is pinned twice"


# pages of others -------------------------------------------------------------------------------------------------------

TABLE, GRANTED, THERE = 0x20_0000, 0x30_0000, 0x40_0000
"""Where the PVH guests here have their grant table, a page that they grant, and one they map."""
HERE = BASE + 256 * PAGE


def beside(pvh: Program, pv_code: bytes, *, pv_first: bool = False) -> tuple[Lab, Domain, Domain]:
    """A lab with a PVH guest and a PV guest; both domains, the PVH guest's first."""
    lab = Lab(seed=1)
    images = [guest_image(pvh.image(), name="pvh", memory_mib=8), guest_image(elf64(pv_code), name="pv", memory_mib=8)]
    for image in reversed(images) if pv_first else images:
        lab.create(image).unpause()
        lab.run(ms(1))
    lab.run(ms(1))
    found = {domain.name: domain for domain in lab.machine.toolstack.hypervisor.domains.values()}
    return lab, found["pvh"], found["pv"]


def granting() -> Program:
    """A PVH guest that grants a page with 5 in it to domain 2, and waits for 6 there."""
    program = Program()
    program += call(12, 7, program.at(struct.pack("<HHIII", DOMID_SELF, 0, 1, 0, TABLE >> 12)))
    program += put32(GRANTED, 5) + put32(TABLE + 68, GRANTED >> 12) + put32(TABLE + 64, 2 << 16 | grant_table.GTF_PERMIT_ACCESS)
    return program + until(GRANTED, 6) + put32(GRANTED + 4, 7)


@pytest.mark.parametrize(("flags", "where"), [(0, HERE), (grant_table.GNTMAP_CONTAINS_PTE, mfn(L1_PAGE) * PAGE + 256 * 8)], ids=["address", "entry"])
def test_a_pv_guest_maps_a_page_of_another_and_both_see_their_stores(flags: int, where: int) -> None:
    """The frame it is under is good for this one entry: the guest copies the entry to another, and is refused."""
    maps = grant_table.MAP.pack(where, grant_table.GNTMAP_HOST_MAP | flags, 8, 1, 0, 0, 0)
    unmaps = grant_table.UNMAP.pack(where, 0, 0, 0)
    copies = fetch(BASE + L1_PAGE * PAGE + 256 * 8) + b"\x48\x89\xc6\x31\xd2\x48\xbf" + imm64(HERE + PAGE) + b"\xb8\x0e\x00\x00\x00\x0f\x05" + keep(1)
    code = call64(20, 0, DATA, 1) + fetch(HERE) + keep(0) + copies + b"\xb8\x06\x00\x00\x00\xa3" + imm64(HERE)  # mov eax, 6; mov [HERE], eax
    code += call64(29, 3, DATA + 128) + fetch(HERE) + keep(2)  # sched_op.poll, of no ports
    code += call64(20, 1, DATA + 64, 1) + fetch(BASE + L1_PAGE * PAGE + 256 * 8) + keep(3) + fetch(HERE)
    lab, pvh, guest = beside(granting(), says64(b"x", after=code, data=maps.ljust(64, b"\0") + unmaps.ljust(64, b"\0") + sched.POLL_ARG.pack(0, 0, ms(1) // 2)))
    view = guest.memory.view
    assert struct.unpack_from("<h", view, DATA - BASE + grant_table.MAP_STATUS)[0] == grant_table.GNTST_OKAY
    assert struct.unpack_from("<h", view, DATA - BASE + 64 + grant_table.UNMAP_STATUS)[0] == grant_table.GNTST_OKAY
    seen, copied, answer, entry = struct.unpack_from("<4q", view, KEPT - BASE)
    assert (seen, copied, answer, entry) == (5, -EPERM, 6 | 7 << 32, 0)
    assert "a page fault" in str(lab.vm("pv").why()) and f"{HERE:#x}" in str(lab.vm("pv").why()), "unmapped, it is nowhere"
    assert pvh.grants.entry(8)[0] == grant_table.GTF_PERMIT_ACCESS and not guest.grants.handles


def test_a_page_of_a_pv_guest_is_mapped_by_another_and_is_no_table_meanwhile() -> None:
    """The guest maps its grant table by the machine frame that setup_table says, and grants its page 17 to domain 2."""
    setup = grant_table.SETUP_TABLE_ARG.pack(DOMID_SELF, 1, 0, DATA + 64)
    table = fetch(DATA + 64) + b"\x48\xc1\xe0\x0c\x48\x83\xc8\x07\x48\x89\xc6\x31\xd2\x48\xbf" + imm64(SHARED) + b"\xb8\x0e\x00\x00\x00\x0f\x05"
    page = BASE + 17 * PAGE
    pin = mmu.MMUEXT_OP.pack(mmu.PIN_L1, mfn(17), 0)
    code = call64(20, 2, DATA, 1) + table + keep(0) + put(page, 5) + put(SHARED + 64, grant_table.GTF_PERMIT_ACCESS | 2 << 16 | mfn(17) << 32)
    code += b"\x48\xbb" + imm64(page) + b"\x83\x3b\x06\x75\xfb"  # mov rbx, page; cmp dword [rbx], 6; jne back
    code += call64(14, page, 0, 0) + call64(26, DATA + 128, 1, 0, DOMID_SELF) + keep(1)
    theirs = Program()
    theirs += call(20, 0, theirs.at(grant_table.MAP.pack(THERE, grant_table.GNTMAP_HOST_MAP, 8, 1, 0, 0, 0)), 1) + put32(THERE, 6)
    _, pvh, guest = beside(theirs, says64(b"x", after=code, data=setup.ljust(128, b"\0") + pin), pv_first=True)
    assert struct.unpack_from("<2q", guest.memory.view, KEPT - BASE) == (0, -EINVAL)
    assert len(pvh.grants.handles) == 1 and guest.state == "shutdown"


def test_a_pv_guest_gives_up_pages_it_has_mapped_nowhere_and_gets_them_back_empty() -> None:
    frames = struct.pack("<3Q", mfn(1000), mfn(L1_PAGE), mfn(3))
    asked = [struct.pack("<QQIIH6x", DATA + 8 * n, 1, 0, 0, DOMID_SELF) for n in range(3)]
    back = struct.pack("<QQIIH6x", DATA + 24, 1, 0, 0, DOMID_SELF)
    page = BASE + 17 * PAGE
    calls = [(12, 1, DATA + 64 + 32 * n) for n in range(3)]
    code = put(BASE + 1000 * PAGE, 9) + call64(14, BASE + 1000 * PAGE, 0, 0) + b"".join(call64(*args) + keep(n) for n, args in enumerate(calls))
    code += call64(14, page, mfn(1000) << 12 | 7, 0) + keep(3) + call64(12, 6, DATA + 160) + keep(4) + call64(14, page, mfn(1000) << 12 | 7, 0) + keep(5)
    code += fetch(page) + keep(6)
    data = frames + imm64(1000) + bytes(32) + b"".join(asked) + back
    lab = booted(says64(b"alive", after=code, data=data))
    assert kept(lab, 7) == (1, 0, 0, -EPERM, 1, 0, 0) and "alive" in dmesg(lab), "tables and mapped pages stay; what is given up cannot be mapped"


def test_who_has_too_many_tables_or_has_too_many_looked_at_is_refused() -> None:
    frames = FrameTypes(DomainMemory(4_000, Mfn(100)), lambda mfn: False, [0] * 16)
    pinned = []
    for index in range(4_000):
        frames.work = 0
        pinned.append(frames.pin(index, L1))
    assert pinned == [0] * 1_024 + [-ENOMEM] * 2_976
    for index in range(1_024):
        frames.unpin(index)
    frames.work = 0
    pinned = []
    for _ in range(1_000):
        pinned.append(frames.pin(0, L1))
        frames.unpin(0)
    assert pinned == [0] * 512 + [-EBUSY] * 488


def test_a_batch_that_would_take_the_host_long_is_broken_off_and_costs_time() -> None:
    """A table becomes one and no longer is, 2,000 times: 1,024 times a table is looked at, and then the guest gets -EBUSY."""
    batch = b"".join(mmu.MMUEXT_OP.pack(op, mfn(17), 0) for op in (mmu.PIN_L1, mmu.UNPIN)) * 1_000
    code = call64(14, BASE + 17 * PAGE, 0, 0) + b"\x0f\x31\x89\xc3" + call64(26, BASE + 0x4_0000, 2_000, DATA, DOMID_SELF) + keep(0)
    code += b"\x0f\x31\x29\xd8" + keep(1)  # rdtsc; mov ebx, eax; ... rdtsc; sub eax, ebx
    lab = Lab(seed=1)
    lab.create(guest_image(elf64(says64(b"x", after=code)), memory_mib=8)).unpause()
    domain(lab).memory.view[0x4_0000 : 0x4_0000 + len(batch)] = batch
    lab.run(ms(5))
    ret, took = kept(lab, 2)
    done = int.from_bytes(domain(lab).memory.view[DATA - BASE : DATA + 4 - BASE], "little")
    assert (ret, done) == (-EBUSY, 1_024) and took > 1_024 * 512


def invariant(frames: FrameTypes) -> None:
    """What holds after every request: counts are those of the entries that there are, and no table is mapped for writing."""
    expected: dict[int, int] = dict.fromkeys(frames.pinned, 1)
    for index, kind in enumerate(frames.kinds):
        assert (kind == NONE) == (frames.counts[index] == 0)
        if L1 <= kind <= L4:
            for slot, entry in enumerate(frames.words[index * 512 : index * 512 + 512]):
                if not entry & 1 or (kind == L4 and 256 <= slot <= 271):
                    continue
                target = frames.owned(entry >> 12)
                assert target >= 0 or (kind == L1 and frames.special(entry >> 12)), "an entry that leads out of the domain"
                if target >= 0 and (kind > L1 or entry & 2):
                    assert frames.kinds[target] == (kind - 1 if kind > L1 else WRITABLE)
                    expected[target] = expected.get(target, 0) + 1
    assert {index: count for index, count in enumerate(frames.counts) if count} == expected


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_guest_asks_for_no_table_is_writable_and_no_entry_leads_out(seed: int) -> None:
    rng = random.Random(seed)
    memory = DomainMemory(10, Mfn(100))
    frames = FrameTypes(memory, lambda mfn: mfn == 500, [0] * 16)
    slots, seen = (0, 1, 255, 256, 271, 511), set()
    for _ in range(3_000):
        index, slot = rng.randrange(10), rng.choice(slots)
        wild = rng.random() < 0.1
        entry = rng.choice((98, 99, 110, 500, 501) if wild else range(100, 110)) << 12 | rng.choice((0, 1, 3, 5, 7, 0x67, 0x87 if wild else 7))
        match rng.randrange(7):
            case 0:
                frames.pin(index, rng.randrange(1, 5))
            case 1:
                frames.unpin(index)
            case 2 if not frames.counts[index]:
                frames.words[index * 512 + slot] = entry  # as the guest writes what is no table
            case 3 if frames.kinds[index] == WRITABLE:
                frames.words[index * 512 + slot] = entry
            case 4 if not frames.counts[index]:
                frames.words[index * 512 : index * 512 + 512] = memoryview(bytes(PAGE)).cast("Q")
            case _ if L1 <= frames.kinds[index] <= L4:
                frames.change(index, slot, entry)
        invariant(frames)
        seen.update(frames.kinds)
    assert seen == {NONE, *range(L1, L4 + 1), WRITABLE}, "it got somewhere"
