"""PV guests of a few instructions on the lab's Xen: ring 3, frames of the machine, page tables under Xen's eyes."""

from __future__ import annotations

import random
import struct
from functools import partial

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, guest_image, ms, seconds
from mirage_lab.lab.said import LabError
from mirage_lab.xen.abi import grant_table, mmu, pv, sched
from mirage_lab.xen.abi.errno import E2BIG, EBUSY, EFAULT, EINVAL, ENOMEM, ENOSYS, EPERM, ESRCH
from mirage_lab.xen.abi.start_info import StartInfo
from mirage_lab.xen.abi.xen import DOMID_SELF, Mfn, Pfn
from mirage_lab.xen.arch.x86.frames import L1, L4, NONE, WRITABLE, FrameTypes
from mirage_lab.xen.dom0 import toolstack
from mirage_lab.xen.dom0.pvbuilder import build_pv
from mirage_lab.xen.dom0.toolstack import ToolstackError
from mirage_lab.xen.hypervisor import Domain
from mirage_lab.xen.hypervisor.hypervisor import SHARED_FRAMES
from mirage_lab.xen.hypervisor.memory import DomainMemory
from tests.machinecode import Program, call, elf32, note, until
from tests.machinecode import put as put32
from tests.pvcode import BASE, DATA, FIRST_MFN, KEPT, call64, elf64, fetch, imm64, keep, put, says64

PAGE = 4096
TABLES, L1_PAGE, STACK = 11, 14, 16
"""Pages of the guests here: the first page table, an L4; the L1 that maps the first 2 MiB; the boot stack."""
SPARE = 2
SHARED = BASE + SPARE * PAGE
"""A page of the kernel, in the place of which guests here map shared_info."""
MAP_SHARED = call64(14, SHARED, (SHARED_FRAMES + 1) << 12 | 7, 0)


def mfn(page: int) -> int:
    return FIRST_MFN + page


def booted(code: bytes, *notes: bytes, run: int = ms(10), memory_mib: int = 8) -> Lab:
    """A lab in which a guest has run for a while."""
    lab = Lab(seed=1)
    lab.create(guest_image(elf64(code, *notes), memory_mib=memory_mib)).unpause()
    lab.run(run)
    return lab


def domain(lab: Lab) -> Domain:
    return lab.machine.toolstack.domain(1)


def dmesg(lab: Lab) -> str:
    return str(lab.machine.toolstack.dmesg())


def kept(lab: Lab, count: int) -> tuple[int, ...]:
    """What the guest kept, as it lies in its memory."""
    return struct.unpack_from(f"<{count}q", domain(lab).memory.view, KEPT - BASE)


# hypercalls and what a guest is started with -----------------------------------------------------------------------


def test_a_guest_says_hello_by_the_instruction_syscall_and_shuts_down() -> None:
    lab = booted(says64(b"hello from ring 3\n"))
    assert "(d1) hello from ring 3" in dmesg(lab)
    assert lab.vm("guest").state == "shutdown"
    assert domain(lab).statistics().hypercalls == {"console_io.write": 1, "sched_op.shutdown": 1}
    assert domain(lab).memory.base == FIRST_MFN


def test_a_guest_says_hello_through_its_hypercall_page() -> None:
    """Its note HYPERCALL_PAGE names page 3; entry n of it is at n * 32, and keeps rcx and r11."""
    text = b"hello through the page\n"
    moves = b"\x48\xbf" + imm64(0) + b"\x48\xbe" + imm64(len(text)) + b"\x48\xba" + imm64(BASE + 0xC08)
    call = b"\xb9\x55\x00\x00\x00\x48\xb8" + imm64(BASE + 0x3000 + 18 * 32) + b"\xff\xd0\x48\x89\xc8" + keep(0)  # mov ecx, 0x55; call; mov rax, rcx
    code = moves + call + call64(29, 2, BASE + 0xC00)
    lab = booted(code.ljust(0xC00, b"\x90") + imm64(0) + text, note(2, imm64(BASE + 0x3000)))
    assert "(d1) hello through the page" in dmesg(lab) and lab.vm("guest").state == "shutdown"
    assert kept(lab, 1) == (0x55,)


def test_start_info_is_where_rsi_points_and_tells_of_machine_frames() -> None:
    lab = booted(says64(b"x", first=b"\x48\x89\xf0" + keep(0) + b"\x48\x89\xe0" + keep(1)))  # mov rax, rsi; mov rax, rsp
    where, stack = kept(lab, 2)
    info = StartInfo.decode(domain(lab).memory.page(Pfn((where - BASE) >> 12)))
    assert info.magic == "xen-3.0-x86_64" and info.nr_pages == 2048 and info.shared_info == (SHARED_FRAMES + 1) << 12
    assert (info.pt_base, info.nr_pt_frames) == (BASE + TABLES * PAGE, 5)
    assert stack == BASE + (STACK + 1) * PAGE
    p2m = domain(lab).memory.view[info.mfn_list - BASE :].cast("Q")
    assert p2m[0] == FIRST_MFN and p2m[2047] == FIRST_MFN + 2047
    assert (info.store_mfn, info.console_mfn) == (mfn(9), mfn(10))


@pytest.mark.parametrize("scrambled", [False, True])
def test_the_table_of_machine_frames_leads_back_to_pages(scrambled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest reads frame n of its list, and of the machine's table the page of that frame."""
    if scrambled:
        monkeypatch.setitem(toolstack._BUILDERS, "pv", partial(build_pv, order=list(reversed(range(2048)))))
    lookup = b"\x48\xc1\xe0\x03\x48\xbb" + imm64(pv.MACH2PHYS) + b"\x48\x8b\x04\x03"  # shl rax, 3; mov rbx, ...; mov rax, [rbx + rax]
    page3 = fetch(BASE + 4 * PAGE + 8 * 3)
    lab = Lab(seed=1)
    nobody = put(KEPT + 16, 7) + lookup.replace(b"\x48\xc1\xe0\x03", b"\x48\xb8" + imm64(8 * 5)) + keep(2)
    lab.create(guest_image(elf64(says64(b"read", after=page3 + keep(0) + page3 + lookup + keep(1) + nobody)), memory_mib=8)).unpause()
    lab.run(ms(5))
    at = (2047 - 1) * PAGE if scrambled else PAGE
    found = struct.unpack_from("<3q", domain(lab).memory.view, at)
    assert found == (FIRST_MFN + (2044 if scrambled else 3), 3, -1) and "read" in dmesg(lab)


def test_with_the_note_init_p2m_the_list_is_where_the_guest_wants_it() -> None:
    lab = booted(says64(b"x", after=fetch(0x2000_0000 + 8 * 5) + keep(0)), note(15, imm64(0x2000_0000)))
    assert kept(lab, 1) == (mfn(5),) and lab.vm("guest").state == "shutdown"


def test_what_a_pv_guest_asks_about_xen() -> None:
    features, mapping = struct.pack("<II", 0, 0), bytes(24)
    calls = [(17, 6, DATA), (17, 0, 0), (12, 12, DATA + 16), (34, 1, DATA), (99,)]
    code = b"".join(call64(*args) + keep(n) for n, args in enumerate(calls))
    lab = booted(says64(b"x", after=code, data=features.ljust(16, b"\0") + mapping))
    assert kept(lab, 5) == (0, 4 << 16 | 4, 0, -ENOSYS, -ENOSYS)
    view = domain(lab).memory.view
    assert struct.unpack_from("<II", view, DATA - BASE) == (0, 1 << 4 | 1 << 5 | 1 << 7)
    assert struct.unpack_from("<QQQ", view, DATA + 16 - BASE) == (0xFFFF_8000_0000_0000, 0xFFFF_8040_0000_0000, (1 << 35) - 1)


# traps, upcalls, and what Xen does for a guest -----------------------------------------------------------------------


def traps(*rows: tuple[int, int, int]) -> bytes:
    """A trap table: vector, flags, address; and its end."""
    return b"".join(pv.TRAP_INFO.pack(vector, flags, pv.CS64, address) for vector, flags, address in rows) + bytes(16)


BACK = b"\x80\x4c\x24\x08\x03\x80\x4c\x24\x20\x03\x48\xcf"
"""or byte [rsp + 8], 3; or byte [rsp + 32], 3; iretq: as a guest returns to itself."""
BACK_BY_XEN = b"\x6a\x00\x51\x41\x53\x50\xb8\x17\x00\x00\x00\x0f\x05"
"""push 0; push rcx; push r11; push rax; mov eax, 23; syscall"""


@pytest.mark.parametrize("back", [BACK, BACK_BY_XEN], ids=["by iretq", "by hypercall"])
def test_a_page_fault_is_bounced_to_the_guests_handler_which_returns(back: bytes) -> None:
    handler = DATA + 64
    body = b"\x59\x41\x5b\x58" + keep(0) + b"\x48\x8b\x44\x24\x08" + keep(1)  # pop rcx; pop r11; pop rax (the error code); mov rax, [rsp + 8] (cs)
    body += fetch(SHARED + 16) + keep(2) + b"\x48\x83\x04\x24\x0a"  # cr2 of vcpu_info; add qword [rsp], 10: behind the load
    after = MAP_SHARED + call64(0, DATA) + keep(3) + fetch(0x5555_0000) + put(KEPT + 32, 99)
    lab = booted(says64(b"alive", after=after, data=traps((14, 0, handler)).ljust(64, b"\0") + body + back))
    error, cs, cr2, ret, after_it = kept(lab, 5)
    assert (error, cr2, ret, after_it) == (0, 0x5555_0000, 0, 99)
    assert cs == 0xE030 | 1 << 32, "the ring of the saved cs is 0, and upcalls were masked"
    assert "alive" in dmesg(lab)


def test_a_guest_without_a_handler_is_crashed_and_says_why() -> None:
    lab = booted(fetch(0x5555_0000))
    assert lab.vm("guest").state == "crashed"
    assert "a page fault at 0x10000000, on address 0x55550000" in str(lab.vm("guest").why())


def test_an_event_is_an_upcall_on_the_guests_stack() -> None:
    """A timer of 3 ms; the handler takes the pending flag back, and the guest goes on behind its sched_op.block."""
    handler = DATA + 64
    body = put(KEPT, 77) + b"\x48\x8b\x44\x24\x18" + keep(1)  # mov rax, [rsp + 24]: cs and the mask, below rcx, r11 and rip
    body = put(KEPT, 77) + b"\x31\xc0\xa2" + imm64(SHARED) + b"\x59\x41\x5b" + BACK  # xor eax, eax; mov [SHARED], al; pop rcx; pop r11
    bind = struct.pack("<III", 0, 0, 0)
    after = MAP_SHARED + call64(4, handler, 0, 0) + call64(32, 1, DATA) + keep(1) + call64(15, ms(3)) + call64(29, 1, 0) + keep(2)
    lab = booted(says64(b"woken", after=after, data=bind.ljust(64, b"\0") + body), run=ms(2))
    assert lab.vm("guest").state == "blocked" and kept(lab, 1) == (0,)
    lab.run(ms(2))
    assert kept(lab, 3) == (77, 0, 0) and lab.vm("guest").state == "shutdown"
    assert domain(lab).statistics().upcalls == 1
    assert domain(lab).shared[1] == 1, "upcalls are masked in a handler, until it lets them in again"


def test_a_guest_that_sleeps_costs_nothing() -> None:
    bind = struct.pack("<III", 0, 0, 0)
    after = call64(4, DATA + 64, 0, 0) + call64(32, 1, DATA) + call64(15, seconds(5)) + call64(29, 1, 0)
    lab = booted(says64(b"x", after=after, data=bind), run=seconds(4))
    machine = domain(lab).machine
    assert lab.vm("guest").state == "blocked" and machine.exits == 5  # type: ignore[union-attr]


def test_privileged_instructions_are_carried_out() -> None:
    wrmsr = b"\xb9\x01\x01\x00\xc0\xb8\x00\x10\x00\x10\x31\xd2\x0f\x30"  # mov ecx, GS_BASE; mov eax, KEPT; xor edx, edx; wrmsr
    through_gs = b"\x65\x48\xc7\x04\x25\x00\x00\x00\x00\x2a\x00\x00\x00"  # mov qword gs:[0], 42
    rdmsr = b"\x31\xc0\x0f\x32" + keep(1)
    cr = b"\x0f\x20\xd8" + keep(2) + b"\x0f\x20\xe0" + keep(3) + b"\x0f\x06"  # mov rax, cr3; mov rax, cr4; clts
    cpuid = b"\xb8\x00\x00\x00\x40\x0f\x0bxen\x0f\xa2\x89\xd8" + keep(4)  # mov eax, 0x40000000; ud2 "xen" cpuid; mov eax, ebx
    masks = b"\xfb" + fetch(SHARED) + keep(5) + b"\xfa" + fetch(SHARED) + keep(6)
    lab = booted(says64(b"x", after=MAP_SHARED + wrmsr + through_gs + rdmsr + cr + cpuid + masks))
    assert kept(lab, 7)[:5] == (42, KEPT, mfn(TABLES) << 12, 0x620, int.from_bytes(b"XenV", "little"))
    assert [value >> 8 & 0xFF for value in kept(lab, 7)[5:]] == [0, 1]
    assert lab.vm("guest").state == "shutdown"


def test_what_ring_3_may_not_do_and_xen_does_not_do_either_is_a_fault_of_the_guest() -> None:
    for code in (b"\xe4\x60", b"\x0f\x01\x18", b"\x0f\x22\xe0", b"\x0f\x00\xd8"):  # in al, 0x60; lidt; mov cr4, rax; ltr
        lab = booted(b"\x31\xc0" + code)
        assert lab.vm("guest").state == "crashed", code.hex()
        assert "a general protection fault at 0x10000002" in str(lab.vm("guest").why())


def test_the_first_use_of_the_fpu_after_fpu_taskswitch_is_an_exception() -> None:
    handler = DATA + 64
    body = put(KEPT, 70) + b"\x59\x41\x5b" + BACK  # what Xen took back with the exception: the instruction is done now
    after = call64(0, DATA) + call64(5, 1) + b"\x0f\x57\xc0" + b"\x0f\x20\xc0\x24\x08" + keep(1)  # xorps xmm0, xmm0; mov rax, cr0; and al, 8
    lab = booted(says64(b"alive", after=after, data=traps((7, 0, handler)).ljust(64, b"\0") + body))
    assert kept(lab, 1) == (70,) and kept(lab, 2)[1] & 0xFF == 0 and "alive" in dmesg(lab)


def test_vmcall_is_no_instruction_for_a_pv_guest() -> None:
    assert "an instruction that is none" in str(booted(b"\x0f\x01\xc1").vm("guest").why())


def test_users_of_a_guest_are_entered_by_iret_and_leave_by_syscall() -> None:
    """User code at DATA + 128 of the same tables does syscall; the kernel's callback, on its own stack, shuts down."""
    user, callback = DATA + 192, DATA + 128
    frame = struct.pack("<9Q", 5, 6, 7, 0, user, 0xE033, 0x202, BASE + 0x3800, 0xE02B)
    users_tables = mmu.MMUEXT_OP.pack(mmu.NEW_USER_BASEPTR, mfn(TABLES), 0)
    entered = b"\x48\x89\xe0" + keep(1) + b"\x48\x8b\x44\x24\x18" + keep(2) + call64(29, 2, BASE + 0xC00)  # mov rax, rsp; mov rax, [rsp + 24]
    after = call64(26, DATA + 96, 1, 0, DOMID_SELF) + keep(3) + call64(4, 0, 0, callback) + call64(3, 0xE02B, BASE + 0x3000)
    after += b"\x48\xbc" + imm64(DATA) + b"\xb8\x17\x00\x00\x00\x0f\x05"  # mov rsp, DATA; mov eax, 23; syscall
    code = frame.ljust(96, b"\0") + users_tables.ljust(32, b"\0") + entered.ljust(64, b"\x90") + keep(0) + b"\x0f\x05"
    lab = booted(says64(b"x", after=after, data=code))
    rax, stack, cs, ret = kept(lab, 4)
    assert (rax, stack, cs, ret) == (5, BASE + 0x3000 - 7 * 8, 0xE033, 0), "the saved cs tells that it was a user"
    assert lab.vm("guest").state == "shutdown"


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
    state, since, running, *others = struct.unpack_from("<i4xQ4Q", domain(lab).memory.view, KEPT + 64 - BASE)
    assert kept(lab, 2) == (0, -EFAULT) and state == 0 and since == running > 0 and others == [0, 0, 0]


def test_the_last_vcpu_that_goes_down_ends_the_domain() -> None:
    assert booted(call64(24, 2, 0, 0) + b"\xeb\xfe").vm("guest").state == "shutdown"


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


# determinism, and images -----------------------------------------------------------------------------------------------


def test_two_runs_of_a_pv_guest_are_the_same_to_the_last_byte() -> None:
    code = says64(b"x", after=b"\x0f\x31" + keep(0) + call64(14, BASE + 0x10_0000, mfn(3) << 12 | 3, 0) + b"\x0f\x31" + keep(1))
    first, second = (domain(booted(code)) for _ in range(2))
    assert bytes(first.memory.view) == bytes(second.memory.view) and bytes(first.shared) == bytes(second.shared)
    assert first.cpu_ns == second.cpu_ns and first.hypercalls == second.hypercalls
    assert struct.unpack_from("<Q", first.memory.view, KEPT - BASE)[0] > 0


def test_its_page_table_hypercalls_are_events_that_say_what_was_asked() -> None:
    lab = Lab(seed=1)
    lab.machine.world.recorder.enable("xen.hypercall")
    code = call64(14, BASE + 0x10_0000, 0x1000 << 12 | 3, 0) + call64(26, DATA, 1, 0, DOMID_SELF)
    lab.create(guest_image(elf64(says64(b"x", after=code, data=mmu.MMUEXT_OP.pack(mmu.TLB_FLUSH_LOCAL, 0, 0))), memory_mib=8)).unpause()
    lab.run(ms(1))
    told = [(event.fields["name"], event.fields["args"], event.fields["ret"]) for event in lab.events("xen.hypercall", source="guest")]
    assert told[1:3] == [("update_va_mapping", "address 0x10100000, entry 0x1000003", -EPERM), ("mmuext_op", "1 request", 0)]


def test_a_pv_kernel_of_32_bits_is_refused_with_what_there_is_instead() -> None:
    with pytest.raises(LabError, match="a PV kernel of 32 bits: this machine boots PV kernels of x86-64, and PVH"):
        guest_image(elf32(b"\xf4", notes=note(6, b"GRUB") + note(9, b"yes")))


def test_a_kernel_that_can_do_both_boots_as_pvh() -> None:
    image = guest_image(elf64(b"\xf4", note(18, struct.pack("<I", 0x10_0000))))
    assert image.manifest["boots"] == "pvh"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (elf64(b"\xf4", memsz=8 << 20), "memory_mib=12 at least"),
        (elf64(b"\xf4", base=0x1000_1000), "whole 4 MiB"),
        (elf64(b"\xf4", base=0xFFFF_8000_0000_0000), "where Xen is"),
        (elf64(b"\xf4", note(2, imm64(BASE + 123))), "no page of its kernel"),
        (elf64(b"\xf4", note(15, imm64(0xFFFF_8000_0000_0000))), "where Xen is"),
        (elf64(b"\xf4", note(4, imm64(0x1000))), "below PADDR_OFFSET"),
    ],
)
def test_a_kernel_that_cannot_be_placed_is_one_error_and_leaves_nothing(data: bytes, said: str) -> None:
    lab = Lab(seed=1)
    with pytest.raises(ToolstackError, match=said):
        lab.create(guest_image(data, memory_mib=8))
    assert [vm.name for vm in lab.domains] == []
