"""PV guests of a few instructions on the lab's Xen: ring 3, frames of the machine, page tables under Xen's eyes."""

from __future__ import annotations

import gzip
import struct
from functools import partial

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, guest_image, ms, seconds
from mirage_lab.lab.said import LabError
from mirage_lab.xen.abi import mmu, pv
from mirage_lab.xen.abi.errno import ENOSYS, EPERM
from mirage_lab.xen.abi.start_info import StartInfo
from mirage_lab.xen.abi.xen import DOMID_SELF, Pfn
from mirage_lab.xen.dom0 import toolstack
from mirage_lab.xen.dom0.pvbuilder import build_pv
from mirage_lab.xen.dom0.toolstack import ToolstackError
from mirage_lab.xen.hypervisor.hypervisor import SHARED_FRAMES
from tests.machinecode import bzimage, elf32, note
from tests.pvcode import (
    BASE,
    DATA,
    FIRST_MFN,
    KEPT,
    MAP_SHARED,
    PAGE,
    SHARED,
    STACK,
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


def test_a_ramdisk_lies_behind_the_kernel_and_start_info_says_where() -> None:
    """The guest reads its first word there."""
    ramdisk = b"ramdisk!" + bytes(range(256)) * 20
    image = guest_image(elf64(says64(b"x", after=fetch(BASE + 4 * PAGE) + keep(0))), ramdisk=ramdisk, memory_mib=8)
    lab = Lab(seed=1)
    lab.create(image).unpause()
    lab.run(ms(1))
    view = domain(lab).memory.view
    info = StartInfo.decode(view[(4 + 2 + 4) * PAGE :])
    assert (info.mod_start, info.mod_len, info.mfn_list) == (BASE + 4 * PAGE, len(ramdisk), BASE + 6 * PAGE)
    assert bytes(view[4 * PAGE : 4 * PAGE + len(ramdisk)]) == ramdisk and kept(lab, 1) == (int.from_bytes(b"ramdisk!", "little"),)
    with pytest.raises(ToolstackError, match="memory_mib=12 at least"):
        Lab(seed=1).create(guest_image(elf64(b"\xf4"), ramdisk=bytes(8 << 20), memory_mib=8))


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


@pytest.mark.parametrize(
    ("ring", "code", "vector", "error"),
    [(3, b"\xcd\x80", 0x80, None), (1, b"\xcd\x80", 0x80, None), (0, b"\xcd\x80", 13, 0x402), (0, b"\xcd\x0e", 13, 0x72), (3, b"\xcc", 3, None)],
)
def test_a_software_interrupt_is_for_the_ring_that_the_table_says(ring: int, code: bytes, vector: int, error: int | None) -> None:
    """Its handler finds the instruction behind it; that of a general protection fault the instruction itself."""
    handler = DATA + 128
    plain = b"\x48\x8b\x44\x24\x10" + keep(1) + call64(29, 2, BASE + 0xC00)  # mov rax, [rsp + 16]: rip
    fault = b"\x48\x8b\x44\x24\x10" + keep(2) + b"\x48\x8b\x44\x24\x18" + keep(1) + call64(29, 2, BASE + 0xC00)
    data = traps((0x80, ring, handler), (3, 3, handler), (14, 0, handler), (13, 0, handler + 64)).ljust(128, b"\0") + plain.ljust(64, b"\x90") + fault
    start = call64(0, DATA)
    lab = booted(says64(b"x", after=start + code, data=data))
    before = call64(18, 0, 1, BASE + 0xC08) + start
    at = BASE + len(before)
    _, rip, kept_error = kept(lab, 3)
    assert lab.vm("guest").state == "shutdown"
    assert (rip, kept_error) == (at if vector == 13 else at + len(code), error or 0)


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


def test_who_returns_to_where_nothing_is_gets_a_page_fault_there() -> None:
    """By hypercall iret, to another segment than before: code of its own descriptor table."""
    handler = DATA + 128
    frame = struct.pack("<9Q", 1, 2, 3, 0, 0x5555_0000, 0x30, 0x2, BASE + 0x2800, 0xE02B)
    body = b"\x48\x8b\x44\x24\x18" + keep(0) + b"\x48\x8b\x44\x24\x20" + keep(1) + call64(29, 2, BASE + 0xC00)  # mov rax, [rsp + 24]: rip; then cs
    after = put(BASE + 0x3030, 0x00AF_FB00_0000_FFFF) + call64(14, BASE + 0x3000, mfn(3) << 12 | 5, 0) + call64(2, DATA + 72, 7)
    after += call64(0, DATA + 80) + b"\x48\xbc" + imm64(DATA) + b"\xb8\x17\x00\x00\x00\x0f\x05"  # mov rsp, DATA; mov eax, 23; syscall
    lab = booted(says64(b"x", after=after, data=frame + imm64(mfn(3)) + traps((14, 0, handler)).ljust(48, b"\0") + body))
    assert lab.vm("guest").state == "shutdown" and kept(lab, 2) == (0x5555_0000, 0x30 | 1 << 32)


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


def test_a_kernel_that_can_do_both_boots_as_pvh_or_as_is_said() -> None:
    both = elf64(says64(b"in ring 3"), note(18, struct.pack("<I", 0x10_0000)))
    assert guest_image(both).manifest["boots"] == "pvh"
    lab = Lab(seed=1)
    lab.create(guest_image(both, boot="pv", memory_mib=8)).unpause()
    lab.run(ms(1))
    assert "(d1) in ring 3" in dmesg(lab)
    for wanted, said in (("hvm", "not as 'hvm'"), ("pvh", "no PVH kernel")):
        with pytest.raises(LabError, match=said):
            guest_image(elf64(b"\xf4"), boot=wanted)


def test_a_kernel_in_a_bzimage_boots() -> None:
    lab = Lab(seed=1)
    lab.create(guest_image(bzimage(gzip.compress(elf64(says64(b"unpacked")))), memory_mib=8)).unpause()
    lab.run(ms(1))
    assert "(d1) unpacked" in dmesg(lab)
    with pytest.raises(LabError, match="cut off"):
        guest_image(bzimage(b"\x7fELF" + bytes(100))[:-1])


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
