"""A PVH guest of a few instructions on the lab's Xen: the same hypervisor, console and time as a Python guest has."""

from __future__ import annotations

import struct

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, guest_image, ms, seconds
from mirage_lab.lab.said import LabError
from mirage_lab.xen.dom0.elf import ImageError, read_elf
from mirage_lab.xen.dom0.toolstack import ToolstackError
from tests.machinecode import BASE, Program64, call, elf32, imm, note, says


def booted(code: bytes, *, run: int = ms(10), memory_mib: int = 8) -> Lab:
    """A lab in which a guest has run for a while."""
    lab = Lab(seed=1)
    lab.create(guest_image(elf32(code), memory_mib=memory_mib)).unpause()
    lab.run(run)
    return lab


def dmesg(lab: Lab) -> str:
    return str(lab.machine.toolstack.dmesg())


def test_a_guest_says_hello_and_shuts_down() -> None:
    lab = booted(says(b"hello from machine code\n"))
    assert "(d1) hello from machine code" in dmesg(lab)
    assert lab.vm("guest").state == "shutdown"
    assert lab.machine.toolstack.domain(1).statistics().hypercalls == {"console_io.write": 1, "sched_op.shutdown": 1}


def test_its_hypercalls_are_events_like_those_of_a_python_guest() -> None:
    lab = Lab(seed=1)
    lab.machine.world.recorder.enable("xen.hypercall")
    lab.create(guest_image(elf32(says(b"x")), memory_mib=8)).unpause()
    lab.run(ms(1))
    assert [event.fields["name"] for event in lab.events("xen.hypercall", source="guest")] == ["console_io.write", "sched_op.shutdown"]


def test_two_runs_are_the_same_to_the_last_byte() -> None:
    spin = says(b"x", after=b"\x0f\x31\xa3" + imm(BASE + 0x800) + b"\x0f\x31\xa3" + imm(BASE + 0x804))  # rdtsc; mov [..], eax
    first, second = (booted(spin).machine.toolstack.domain(1) for _ in range(2))
    assert bytes(first.memory.view) == bytes(second.memory.view)
    low, high = struct.unpack("<II", first.memory.view[BASE + 0x800 : BASE + 0x808])
    assert 0 < low < high and first.cpu_ns == second.cpu_ns


def test_a_guest_that_spins_moves_the_clock_and_the_world_goes_on() -> None:
    lab = booted(b"\xeb\xfe", run=ms(5))
    assert lab.machine.world.now == ms(5) and lab.vm("guest").state == "running"
    assert 4_000_000 < lab.machine.toolstack.domain(1).machine.instructions < 5_500_000  # type: ignore[union-attr]


def test_a_guest_that_polls_for_a_time_costs_nothing_meanwhile() -> None:
    where = BASE + 0x300
    poll = struct.pack("<IIQ", 0, 0, seconds(2))
    code = (call(29, 3, where) + call(29, 2, where + 32)).ljust(0x300, b"\x90") + poll.ljust(32, b"\0") + bytes(4)
    lab = booted(code, run=ms(1_999))
    assert lab.vm("guest").state == "blocked"
    machine = lab.machine.toolstack.domain(1).machine
    lab.run(ms(2))
    assert lab.vm("guest").state == "shutdown" and machine.exits <= 4  # type: ignore[union-attr]


def test_halting_with_interrupts_off_ends_the_domain() -> None:
    """As Xen does when the last vCPU can never wake."""
    assert booted(b"\xfa\xf4").vm("guest").state == "shutdown"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"\x0f\x0b", "an instruction that is none at 0x100000"),
        (b"\x0f\x05", "an instruction that is none at 0x100000"),
        (b"\x31\xc9\xf7\xf1", "division by zero at 0x100002"),
        (b"\xea" + imm(0) + b"\x33\x00", "a general protection fault"),
        (b"\xb8" + imm(0x7000_0000) + b"\xff\xe0", "0x7000000"),
    ],
)
def test_a_guest_that_faults_is_crashed_and_says_why(code: bytes, said: str) -> None:
    lab = booted(code)
    assert lab.vm("guest").state == "crashed"
    assert said in str(lab.vm("guest").why())


def test_a_program_in_ring_3_calls_its_kernel_and_faults_into_it() -> None:
    """syscall enters at LSTAR, a page fault at its gate with the stack of the TSS: in ring 0, where cr2 and cr3 may be read; sysretq and iretq leave."""
    seen, user_stack, kernel_stack, missing = 0x7C_0000, 0x74_0000, 0x72_0000, 0x5000_0000

    def keep(at: int) -> bytes:
        return b"\x89\x04\x25" + imm(seen + 4 * at)  # mov [..], eax

    program = Program64()
    user = program.at(b"\x0f\x05" + b"\x8c\xc8" + keep(10) + b"\x8b\x04\x25" + imm(missing))  # syscall; mov eax, cs; mov eax, [missing]
    entry = b"\x0f\x20\xd8" + keep(6) + b"\x8c\xd0" + keep(7) + b"\x89\xc8" + keep(8) + b"\x44\x89\xd8" + keep(9)  # cr3, ss, ecx, r11d
    lstar = program.at(entry + b"\x48\x0f\x07")  # sysretq
    handler = Program64()
    handler.code = b"\x8c\xc8" + keep(0) + b"\x0f\x20\xd0" + keep(1)  # cs, cr2
    for at, offset in ((2, 0), (3, 16), (4, 32)):
        handler.code += b"\x48\x8b\x44\x24" + bytes([offset]) + keep(at)  # error code, cs, rsp
    handler.code += b"\x48\x89\xe0" + keep(5)
    handler.call(29, 2, program.at(bytes(4)))
    fault = program.at(handler.code)
    tss = program.at(struct.pack("<IQ", 0, kernel_stack).ljust(104, b"\0"))
    segments = (0, 0xAF_9B00_0000_FFFF, 0xCF_9300_0000_FFFF, 0, 0xCF_F300_0000_FFFF, 0xAF_FB00_0000_FFFF, 103 | tss << 16 | 0x89 << 40, 0)
    gdtr = program.at(struct.pack("<HI4x", 63, program.at(struct.pack("<8Q", *segments))))
    gate = struct.pack("<HHBBHQ", fault & 0xFFFF, 8, 0, 0x8E, fault >> 16, 0)
    idtr = program.at(struct.pack("<HI4x", 15 * 16 - 1, program.at(bytes(14 * 16) + gate)))
    program += b"\x0f\x01\x14\x25" + imm(gdtr) + b"\x0f\x01\x1c\x25" + imm(idtr) + b"\x66\xb8\x30\0\x0f\0\xd8"  # lgdt, lidt, ltr 0x30
    for number, low, high in ((0xC000_0081, 0, 0x18_0008), (0xC000_0082, lstar, 0), (0xC000_0084, 0x400, 0)):
        program += b"\xb9" + imm(number) + b"\xb8" + imm(low) + b"\xba" + imm(high) + b"\x0f\x30"
    program += b"\xb9" + imm(0xC000_0080) + b"\x0f\x32\x0c\x01\x0f\x30"  # EFER.SCE
    program += b"\x6a\x23\x68" + imm(user_stack) + b"\x68" + imm(0x402) + b"\x6a\x2b\x68" + imm(user) + b"\x48\xcf"  # to ring 3, with DF
    with Lab(seed=1) as lab:
        lab.create(guest_image(program.image(), memory_mib=8)).unpause()
        lab.run(ms(10))
        assert lab.vm("guest").state == "shutdown", dmesg(lab)
        told = struct.unpack("<11I", lab.machine.toolstack.domain(1).memory.view[seen : seen + 44])
    assert told[6:] == (Program64.TABLES, 0x10, user + 2, 0x402, 0x2B)
    assert told[:6] == (8, missing, 4, 0x2B, user_stack, kernel_stack - 48)


def test_acpi_tables_lead_to_its_local_apic() -> None:
    """Every table adds up to zero; RSDP, XSDT, FADT and DSDT, MADT, as ACPICA and Linux look for them."""
    with Lab(seed=1) as lab:
        lab.create(guest_image(elf32(b"\xf4"), memory_mib=8)).unpause()
        memory = lab.machine.toolstack.domain(1).memory.view

        def table(at: int) -> tuple[bytes, bytes]:
            data = bytes(memory[at : at + struct.unpack_from("<I", memory, at + 4)[0]])
            assert sum(data) & 0xFF == 0
            return data[:4], data[36:]

        (rsdp,) = [at for at in range(0, len(memory), 16) if memory[at : at + 8] == b"RSD PTR "]
        assert rsdp >= (8 << 20) - (8 << 12) and sum(memory[rsdp : rsdp + 20]) & 0xFF == 0 and sum(memory[rsdp : rsdp + 36]) & 0xFF == 0
        signature, pointers = table(struct.unpack_from("<Q", memory, rsdp + 24)[0])
        (fadt, fixed), (madt, processors) = (table(at) for at in struct.unpack("<2Q", pointers))
        assert (signature, fadt, madt, table(struct.unpack_from("<I", fixed, 4)[0])) == (b"XSDT", b"FACP", b"APIC", (b"DSDT", b""))
        assert struct.unpack_from("<I", processors)[0] == 0xFEE0_0000 and processors[8:] == bytes((0, 8, 0, 0, 1, 0, 0, 0))


def test_wild_pointers_get_an_errno() -> None:
    """The result of each call is kept at 0x100800 and on."""
    calls = [(18, 0, 5, 0x7FFF_FFF0), (32, 4, 0xFFFF_FFFF), (29, 3, 0xFFFF_0000), (20, 2, 0x6000_0000, 1), (12, 9, 0x5000_0000), (34, 1, 0x8000_0000), (99,)]
    code = b""
    for index, args in enumerate(calls):
        code += call(*args) + b"\xa3" + imm(BASE + 0x800 + 4 * index)
    lab = booted(says(b"alive", after=code))
    kept = struct.unpack("<7i", lab.machine.toolstack.domain(1).memory.view[BASE + 0x800 : BASE + 0x81C])
    assert kept == (-14, -14, -14, -14, -14, -14, -38) and "alive" in dmesg(lab)


def test_a_guest_is_offered_what_a_pvh_guest_of_xen_is() -> None:
    """writable_page_tables, auto_translated_physmap, hvm_callback_vector, hvm_safe_pvclock."""
    lab = booted(says(b"x", after=call(17, 6, BASE + 0x800)))
    assert struct.unpack_from("<II", lab.machine.toolstack.domain(1).memory.view, BASE + 0x800) == (0, 0b11_0000_0101)


def test_a_ramdisk_is_the_one_module_that_hvm_start_info_names() -> None:
    ramdisk = b"ramdisk!" + bytes(range(256)) * 20
    lab = Lab(seed=1)
    code = b"\x89\xd8\xa3" + imm(BASE + 0x180)  # mov eax, ebx; mov [BASE + 0x180], eax
    lab.create(guest_image(elf32(code + b"\xeb\xfe", memsz=0x1000), ramdisk=ramdisk, memory_mib=8)).unpause()
    lab.run(ms(1))
    view = lab.machine.toolstack.domain(1).memory.view
    (where,) = struct.unpack_from("<I", view, BASE + 0x180)
    magic, _, _, modules, modlist = struct.unpack_from("<IIIIQ", view, where)
    address, size, cmdline, _ = struct.unpack_from("<QQQQ", view, modlist)
    assert (magic, modules, size, cmdline, address % 4096) == (0x336E_C578, 1, len(ramdisk), 0, 0)
    assert bytes(view[address : address + size]) == ramdisk
    with pytest.raises(ToolstackError, match="no room for hvm_start_info and its ramdisk"):
        Lab(seed=1).create(guest_image(elf32(b"\xf4"), ramdisk=bytes(7 << 20), memory_mib=8))
    with pytest.raises(LabError, match=r"nowhere\.cpio: No such file"):
        guest_image(elf32(b"\xf4"), ramdisk="nowhere.cpio")


# images ----------------------------------------------------------------------------------------------------------


def test_what_is_no_kernel_is_one_error() -> None:
    good = elf32(says(b"x"))
    for data in (b"", b"MZ", good[:60], b"\x7fELF\x03\x01".ljust(64, b"\0"), elf32(b"\xf4", notes=note(5, b"4.4\0"))):
        with pytest.raises(LabError):
            guest_image(data)


def test_every_cut_of_a_kernel_is_read_or_refused() -> None:
    good = elf32(says(b"x"))
    for length in range(len(good)):
        try:
            read_elf(good[:length])
        except ImageError:
            continue


def test_a_kernel_that_is_larger_than_its_memory_says_how_much_it_needs() -> None:
    image = guest_image(elf32(b"\xf4", memsz=20 << 20), memory_mib=8)
    lab = Lab(seed=1)
    with pytest.raises(ToolstackError, match="memory_mib=22"):
        lab.create(image)
    assert [vm.name for vm in lab.domains] == []


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(LabError, match=r"nowhere\.elf: No such file"):
        guest_image("nowhere.elf")
