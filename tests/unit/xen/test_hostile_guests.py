"""Hostile guests: whatever machine code does, it gets an errno or is ended and told why; the host and the other domains go on."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, guest_image, ms
from mirage_lab.vcpu.exits import Why
from mirage_lab.xen.abi.arm import GICC_BASE, GICD_BASE
from mirage_lab.xen.abi.xen import VCPU_OP
from mirage_lab.xen.arch.calls import _SIZES
from mirage_lab.xen.dom0.builder import unbound
from tests.armcode import BOTH, ArmProgram, words
from tests.armcode import Kind as Arm
from tests.attacks import KEPT, KINDS, RAM, Kind, calls_of, scene, told
from tests.machinecode import BASE, Program, call, imm

KIND_NAMES = [kind.name for kind in KINDS]


def results(domain: Any, count: int) -> list[int]:
    return list(struct.unpack_from(f"<{count}I", domain.memory.view, KEPT))


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_every_hypercall_with_every_wild_pointer_gets_an_answer(kind: Kind) -> None:
    calls = list(calls_of(kind))
    program = kind.program(0x20_0000)
    for index, (number, *args) in enumerate(calls):
        program.call(number, *args)
        program.keep(kind.ram + KEPT + 4 * index)
    program.put(kind.ram + KEPT + 4 * len(calls), 0x600D)
    seen = scene(program, run=ms(100))
    kept = results(seen.guest, len(calls) + 1)
    assert seen.guest.state == "running", seen.lab.vm("guest").why()
    assert kept[-1] == 0x600D
    answers = [(call, told(value)) for call, value in zip(calls, kept)]
    structured = [(call, answer) for call, answer in answers if call[:2] in _SIZES and call[0] != VCPU_OP and call[2] in kind.wild and call[3] == 1]
    assert [answer for _, answer in structured].count("-EFAULT") > 100
    assert not [row for row in structured if row[1] not in ("-EFAULT", "-ENOSYS")]
    seen.bounded()


# code that misbehaves ----------------------------------------------------------------------------------------------------

SPIN = b"\xeb\xfe"
STORMS = {
    "an endless loop with interrupts off": b"\xfa" + SPIN,
    "code that rewrites itself": b"\xfe\x05" + imm(BASE + 7) + b"\xb0\x00\xeb\xf6",
    "cpuid": b"\x0f\xa2\xeb\xfc",
    "rdtsc": b"\x0f\x31\xeb\xfc",
    "out and in": b"\xe6\x80\xe4\x80\xeb\xfa",
    "out of strings": b"\xbe" + imm(BASE) + b"\xb9" + imm(0xFFFF_FFFF) + b"\xf3\x6e\xeb\xf4",
    "rdmsr and wrmsr": b"\x31\xc9" + b"\x0f\x32\x0f\x30\x41\xeb\xf9",
    "the hypercall page, everywhere": b"".join(
        (b"\x31\xc0\x31\xd2\xb9", imm(0x4000_0000), b"\x0f\x30\x05", imm(0x1000), b"\x25", imm(0x3F_F000), b"\x0d", imm(0x20_0000), b"\xeb\xed")
    ),
    "the local APIC": b"\xa1" + imm(0xFEE0_0030) + b"\xa3" + imm(0xFEE0_00B0) + b"\xeb\xf4",
    "the local APIC, askew": b"\xa1" + imm(0xFEE0_0031) + b"\x66\xa3" + imm(0xFEE0_0FFF) + b"\xa3" + imm(0xFEE0_0FFD) + b"\xeb\xee",
    "page tables written again and again": b"\x0f\x22\xd8\x05" + imm(0x1000) + b"\xeb\xf6",
    "yield": call(29, 0, 0) + b"\xeb" + bytes([256 - len(call(29, 0, 0)) - 2]),
}


@pytest.mark.parametrize("name", STORMS)
def test_a_storm_holds_nobody_up(name: str) -> None:
    seen = scene(Program() + STORMS[name], run=ms(5))
    assert seen.guest.state == "running", seen.lab.vm("guest").why()
    seen.bounded()


def test_code_that_rewrites_itself_pays_for_its_translation() -> None:
    """A virtual second of it once took the host an hour."""
    seen = scene(Program() + STORMS["code that rewrites itself"], run=ms(200))
    machine: Any = seen.guest.machine
    assert machine.latest.why is Why.TIME and machine.exits < 10 and machine.instructions < 500_000
    seen.bounded()


ENDS: dict[str, tuple[bytes, str]] = {
    "a stack where there is no memory": (b"\xbc" + imm(0xA00_0000) + b"\x0f\x0b", "a triple fault"),
    "a descriptor table where there is no memory": (b"\x0f\x01\x1d" + imm(BASE + 0x40) + b"\xcd\x80", "a triple fault"),
    "a descriptor table that ends at the end of the world": (b"\x0f\x01\x1d" + imm(BASE + 0x48) + b"\x0f\x0b", "a triple fault"),
    "code where there is no memory": (b"\xb8" + imm(0xA00_0000) + b"\xff\xe0", ""),
    "code that runs off the end of RAM": (b"\xb8" + imm(RAM - 1) + b"\xc6\x00\x90\xff\xe0", ""),
    "code in the local APIC": (b"\xb8" + imm(0xFEE0_0000) + b"\xff\xe0", ""),
    "a jump into shared_info": (b"\xb8" + imm(0x20_0000) + b"\xc7\x00\x0f\x0b\x00\x00\xff\xe0", "an instruction that is none at 0x200000"),
    "a stroll through addresses where there is nothing": (b"\xb8" + imm(RAM) + b"\x8b\x18\x05" + imm(0x1000) + b"\xeb\xf7", "there is no memory"),
    "page tables where there is no memory": (b"\xb8" + imm(0xA00_0000) + b"\x0f\x22\xd8\x0f\x20\xc0\x0d" + imm(1 << 31) + b"\x0f\x22\xc0", ""),
    "page tables in the local APIC": (b"\xb8" + imm(0xFEE0_0000) + b"\x0f\x22\xd8\x0f\x20\xc0\x0d" + imm(1 << 31) + b"\x0f\x22\xc0", ""),
    "page tables that are zeros": (b"\xb8" + imm(0x30_0000) + b"\x0f\x22\xd8\x0f\x20\xc0\x0d" + imm(1 << 31) + b"\x0f\x22\xc0", "a triple fault"),
    "a task switch": (b"\xea" + imm(0) + b"\x28\x00", "a triple fault"),
    "a jump to where there are only zeros": (b"\xb8" + imm(0x30_0000) + b"\xff\xe0", "memory that is all zeros, at 0x300000"),
    "halt with interrupts off": (b"\xfa\xf4", "its CPU halts with interrupts off, and nothing can wake it"),
    "a shutdown": (call(29, 2, 0), "it asked for it (poweroff)"),
}
TABLES = b"\xff\xff" + imm(0xA00_0000) + bytes(2) + b"\xff\xff" + imm(0xFFFF_FFF0)


@pytest.mark.parametrize("name", ENDS)
def test_a_guest_that_cannot_go_on_ends_and_is_told_why(name: str) -> None:
    code, why = ENDS[name]
    program = Program() + code.ljust(0x40, b"\xcc") + TABLES
    seen = scene(program, run=ms(5))
    assert seen.guest.state in ("crashed", "shutdown"), seen.guest.machine
    assert why in str(seen.lab.vm("guest").why())
    assert seen.guest.state == "shutdown" or "crashed: " in str(seen.lab.vm("guest").why())
    seen.bounded()


# the same on ARM -----------------------------------------------------------------------------------------------------------

ARM_STORMS: dict[str, Callable[[Arm], list[int]]] = {
    "an endless loop": lambda arm: [arm.stay],
    "timers": lambda arm: [*arm.mov(0, 1), arm.write_timer, arm.control_timer],
    "timers far away": lambda arm: [*arm.mov(0, 0x7FFF_FFFF), arm.write_timer, *arm.mov(0, 1), arm.control_timer],
    "the interrupt controller": lambda arm: [*arm.load(0, GICC_BASE + 0xC), *arm.store(0, GICC_BASE + 0x10), *arm.put(0xFFFF_FFFF, GICD_BASE + 0x100)],
    "registers of the interrupt controller that there are not": lambda arm: [*arm.put(0xFFFF_FFFF, GICD_BASE + 0xFFC), *arm.load(0, GICC_BASE + 0x1FFC)],
    "firmware": lambda arm: arm.firmware(0x8400_0000),
    "firmware that there is not": lambda arm: arm.firmware(0xFFFF_FFFF),
    "cores that there are not": lambda arm: arm.firmware(0xC400_0003 if arm.bits == 64 else 0x8400_0003),
    "the counter": lambda arm: list(arm.read_counter),
    "hypercalls": lambda arm: arm.call(29, 0, 0),
}
ARM_ENDS: dict[str, tuple[Callable[[Arm], list[int]], str]] = {
    "an instruction that is none": (lambda arm: [arm.undefined], "an instruction that is none"),
    "a system call without a vector": (lambda arm: [arm.svc], "cannot be fetched"),
    "a store where there is nothing": (lambda arm: arm.put(5, 0x2000_0000), "there is no memory"),
    "a load askew from the interrupt controller": (lambda arm: [*arm.load(0, GICD_BASE + 0x1FFE)], ""),
    "vectors in a device": (lambda arm: [*arm.mov(0, GICD_BASE), arm.set_vectors, arm.svc], ""),
    "vectors beyond RAM": (lambda arm: [*arm.mov(0, 0x7000_0000), arm.set_vectors, arm.svc], "cannot be fetched"),
    "a jump to where there are only zeros": (
        lambda arm: [*arm.mov(0, ArmProgram.ram + 0x30_0000), 0xD61F_0000 if arm.bits == 64 else 0xE12F_FF10],  # br x0; bx r0
        "0x40300000",
    ),
    "power off": (lambda arm: arm.firmware(0x8400_0008), ""),
}


@pytest.mark.parametrize("arm", BOTH, ids=("64", "32"))
@pytest.mark.parametrize("name", ARM_STORMS)
def test_a_storm_of_an_arm_guest_holds_nobody_up(name: str, arm: Arm) -> None:
    pytest.importorskip("fdt")
    program = ArmProgram(arm)
    program.code += words(*ARM_STORMS[name](arm))
    program.again()
    seen = scene(program, run=ms(4))
    assert seen.guest.state == "running", seen.lab.vm("guest").why()
    seen.bounded()


@pytest.mark.parametrize("arm", BOTH, ids=("64", "32"))
@pytest.mark.parametrize("name", ARM_ENDS)
def test_an_arm_guest_that_cannot_go_on_ends_and_is_told_why(name: str, arm: Arm) -> None:
    pytest.importorskip("fdt")
    code, why = ARM_ENDS[name]
    program = ArmProgram(arm)
    program.code += words(*code(arm))
    seen = scene(program, run=ms(4))
    assert why in str(seen.lab.vm("guest").why())
    assert seen.guest.state == ("shutdown" if name == "power off" else "crashed") or not why
    seen.bounded()


# rings -------------------------------------------------------------------------------------------------------------------

CONSOLE, STORE = RAM - 0x1000, RAM - 0x2000
STORE_PORT, CONSOLE_PORT = 1, 2
ABSURD = (1, 0x401, 0x801, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def looped(*puts: tuple[int, int], port: int) -> Program:
    """A program that writes words and sends an event, for ever."""
    program = Program()
    where = program.at(struct.pack("<I", port))
    start = len(program.code)
    for address, value in puts:
        program.put(address, value)
    program.call(32, 4, where)
    program.again(start)
    return program


@pytest.mark.parametrize("index", ABSURD)
@pytest.mark.parametrize("at", [3072, 3076, 3080, 3084])
def test_absurd_indices_in_the_console_ring_cost_the_guest_its_console_at_most(at: int, index: int) -> None:
    seen = scene(looped((CONSOLE + at, index), port=CONSOLE_PORT), run=ms(3))
    seen.lab.vm("guest").console.write("typed\n")
    seen.lab.run(ms(2))
    assert seen.guest.state == "running" and len(seen.lab.vm("guest").console.text) <= 1 << 20
    assert seen.lab.machine.toolstack.dmesg().count("its console is closed") <= 1
    seen.bounded()


@pytest.mark.parametrize("index", ABSURD)
@pytest.mark.parametrize("at", [2048, 2052, 2056, 2060])
def test_absurd_indices_in_the_ring_of_xenstore_are_the_guests_own_loss(at: int, index: int) -> None:
    seen = scene(looped((STORE + at, index), port=STORE_PORT), run=ms(3))
    assert seen.guest.state == "running"
    assert seen.lab.machine.toolstack.xenstore.get("/local/domain/2/name") == "survivor"
    seen.bounded()


@pytest.mark.parametrize("header", [(0xFFFF, 1, 0, 0xFFFF_FFFF), (11, 7, 0, 4_096), (11, 7, 0, 4_097), (4, 9, 0, 0), (1, 1, 99, 0), (6, 1, 0xFFFF_FFFF, 3)])
def test_requests_to_xenstore_that_lie_are_answered_or_end_the_conversation(header: tuple[int, ...]) -> None:
    words = [(STORE + 4 * place, value) for place, value in enumerate(header)]
    seen = scene(looped(*words, (STORE + 2048, 0), (STORE + 2052, 1024), (STORE + 2056, 0), (STORE + 2060, 0), port=STORE_PORT), run=ms(5))
    assert seen.guest.state == "running" and seen.lab.machine.toolstack.xenstore.get("/local/domain/2/name") == "survivor"
    seen.bounded()


@pytest.mark.parametrize("index", ABSURD)
def test_absurd_indices_in_the_rings_of_a_network_interface_close_it(index: int) -> None:
    table = 0x20_0000
    program = Program()
    program.call(12, 7, program.at(struct.pack("<HHIII", 0x7FF0, 0, 1, 0, table >> 12)))
    for ref, page in ((8, 0x30_0000), (9, 0x30_1000)):
        program.put(table + 8 * ref + 4, page >> 12)
        program.put(table + 8 * ref, 1)
        program.put(page, index)
        program.put(page + 8, index)
        program.put(page + 64, 0xFFFF_FFFF)
    program.call(32, 6, program.at(struct.pack("<HHI", 0x7FF0, 0, 0)))
    port = program.at(struct.pack("<I", 3))
    start = len(program.code)
    program.call(32, 4, port)
    program.put(0x30_0000, index)
    program.put(0x30_1008, index)
    program.again(start)
    lab = Lab(seed=1)
    lan = lab.lan("br0")
    lab.create(guest_image(program.image(), memory_mib=8), name="guest", vif=[lan]).unpause()
    lab.run(ms(2))
    store, front = lab.machine.toolstack.xenstore, "/local/domain/1/device/vif/0"
    for name, value in (("tx-ring-ref", "8"), ("rx-ring-ref", "9"), ("event-channel", "3"), ("state", "4")):
        store.write(f"{front}/{name}", value)
    lab.run(ms(20))
    assert lab.vm("guest").state == "running"
    assert store.get("/local/domain/0/backend/vif/1/0/state") in ("4", "6")
    lab.vm("guest").destroy()
    lab.run(ms(1))


# requests for more than there is -------------------------------------------------------------------------------------------


def test_a_storm_of_events_is_one_bit_however_often_it_is_sent() -> None:
    seen = scene(looped(port=CONSOLE_PORT), run=ms(40))
    assert seen.guest.events_sent > 10_000 and seen.guest.state == "running"
    assert seen.lab.machine.toolstack.domain(0).upcalls <= seen.guest.events_sent + 10
    seen.bounded()


def test_a_guest_of_32_bits_gets_ports_until_there_are_no_more_and_all_of_them_work() -> None:
    """Its shared_info has bits for 1024; a timer on the last of them once raised an error in the hypervisor."""
    program = Program()
    program.call(12, 7, program.at(struct.pack("<HHIII", 0x7FF0, 0, 0, 0, 0x200)))
    where = program.at(struct.pack("<HHI", 0x7FF0, 0, 0))
    program += b"\xbf" + imm(1_100)  # mov edi
    start = len(program.code)
    program.call(32, 6, where)
    program.keep(KEPT)
    program += b"\x4f\x0f\x85" + imm(start - len(program.code) - 7)  # dec edi; jnz
    program.call(32, 1, program.at(struct.pack("<III", 0, 0, 0)))
    program.keep(KEPT + 4)
    program.call(32, 3, program.at(struct.pack("<I", 1_000)))
    program.call(32, 1, program.at(struct.pack("<III", 0, 0, 0)))
    program.call(15, 1, 0)
    program.call(32, 9, program.at(struct.pack("<I", 1_000)))
    seen = scene(program, run=ms(20))
    assert seen.guest.state == "running" and [told(value) for value in results(seen.guest, 2)] == ["-ENOSPC"] * 2
    assert len(seen.guest.ports) == 1_023
    assert seen.guest.memory.view[0x20_0000 + 2048 + 1_000 // 8] & 1, "the timer set the bit of its port"
    seen.bounded()


def test_ports_that_a_guest_had_before_its_shared_info_became_small_are_silent() -> None:
    from mirage_lab.xen.hypervisor.event_channel import set_pending

    seen = scene(Program(), run=ms(1))
    seen.guest.ports.limit = 4_096
    high = [unbound(seen.guest) for _ in range(2_000)][-1]
    seen.guest.machine.latch()  # type: ignore[union-attr]
    before = bytes(seen.guest.shared)
    set_pending(seen.guest, high, 0)
    assert bytes(seen.guest.shared) == before and seen.guest.gate.call(32, 9, bytearray(struct.pack("<I", high))) == -22
    assert seen.guest.gate.call(32, 3, bytearray(struct.pack("<I", high))) == 0 and bytes(seen.guest.shared) == before


@pytest.mark.parametrize(("space", "index"), [(0, 0), (1, 0), (1, 31)])
def test_a_guest_places_pages_until_it_is_told_to_stop(space: int, index: int) -> None:
    program = Program()
    where = program.at(struct.pack("<HHIII", 0x7FF0, 0, space, index, 0x1_0000))
    start = len(program.code)
    program.call(12, 7, where)
    program.keep(KEPT)
    program += b"\xff\x05" + imm(where + 12)  # inc dword [gpfn]
    program.again(start)
    seen = scene(program, run=ms(10))
    assert told(results(seen.guest, 1)[0]) == "-EINVAL" and seen.guest.state == "running"
    assert seen.guest.machine.cpu.pieces <= 129 and len(seen.guest.grants.frames) <= 32  # type: ignore[union-attr]
    seen.bounded()


def test_a_grant_table_grows_to_its_end() -> None:
    program = Program()
    for index in (31, 32, 0xFFFF_FFFF):
        program.call(12, 7, program.at(struct.pack("<HHIII", 0x7FF0, 0, 1, index, 0x200)))
        program.keep(KEPT + 4 * (index & 3))
    program.call(20, 2, program.at(struct.pack("<H2xIh2xI", 0x7FF0, 0xFFFF_FFFF, 0, KEPT + 64)), 1)
    seen = scene(program, run=ms(3))
    assert [told(value) for value in results(seen.guest, 4)] == ["-EINVAL", "0", "0", "-EINVAL"] and len(seen.guest.grants.frames) == 32


def test_a_guest_that_maps_and_unmaps_all_the_time_pays_for_it() -> None:
    program = Program()
    program.call(12, 7, program.at(struct.pack("<HHIII", 0x7FF0, 0, 1, 0, 0x200)))
    program.put(0x20_0000 + 68, 0x300)
    program.put(0x20_0000 + 64, 1 << 16 | 1)
    mapped = program.at(struct.pack("<QIIHhIQ", 0x40_0000, 2, 8, 1, 0, 0, 0))
    unmapped = program.at(struct.pack("<QQIh2x", 0x40_0000, 0, 0, 0))
    start = len(program.code)
    program.call(20, 0, mapped, 1)
    program += b"\xa1" + imm(mapped + 20) + b"\xa3" + imm(unmapped + 16)
    program.call(20, 1, unmapped, 1)
    program.again(start)
    seen = scene(program, run=ms(10))
    called = seen.guest.statistics().hypercalls
    assert 100 < called["grant_table_op.map_grant_ref"] < 300 and len(seen.guest.grants.handles) <= 1
    seen.bounded()


@pytest.mark.parametrize("call", [(20, 5, 0x30_0000, 4_096), (20, 0, 0x30_0000, 4_096), (12, 1, 0x30_0000, 0)], ids=["copies", "maps", "reservations"])
def test_a_thousand_large_calls_in_one_are_no_more_than_others_let_through(call: tuple[int, ...]) -> None:
    """A step ends after a fifth of a millisecond of them, and goes on later."""
    program = Program()
    where = program.at(struct.pack("<8I", call[0], 0, *call[1:], 0, 0, 0) * 1_024)
    program.put(0x30_0000, 0x31_0000)  # a reservation of 256 pages of themselves
    program.put(0x30_0004, 256)
    program.put(0x30_0010, 0x7FF0)
    program.call(13, where, 1_024)
    program.put(KEPT, 1)
    seen = scene(program, run=ms(5))
    assert seen.guest.state == "running"
    seen.bounded()


@pytest.mark.parametrize("deadline", [1, 0xFFFF_FFFF, (1 << 63) - 1, (1 << 64) - 1])
def test_absurd_times_are_kept_or_have_passed(deadline: int) -> None:
    program = Program()
    poll = program.at(struct.pack("<IIQ", 0, 0, deadline if deadline == 1 else 0))
    once = program.at(struct.pack("<QI4x", deadline, 0))
    start = len(program.code)
    program.call(15, deadline & 0xFFFF_FFFF, deadline >> 32)
    program.call(24, 8, 0, once)
    if deadline == 1:
        program.call(29, 3, poll)
    program.again(start)
    seen = scene(program, run=ms(10))
    assert seen.guest.state in ("running", "blocked") and seen.guest.hypercalls[15, -1] > 500
    seen.bounded()


def test_a_guest_that_halts_and_is_woken_all_the_time_holds_nobody_up() -> None:
    """hlt with an interrupt that is always due, whose handler leads to nothing."""
    program = Program()
    program.call(12, 7, program.at(struct.pack("<HHIII", 0x7FF0, 0, 0, 0, 0x200)))
    gate = program.at(struct.pack("<HHBBH", BASE & 0xFFFF, 8, 0, 0x8E, BASE >> 16) * 256)
    table = program.at(struct.pack("<HI", 256 * 8 - 1, gate))
    program += b"\x0f\x01\x1d" + imm(table)
    program.call(34, 0, program.at(struct.pack("<HHIQ", 0x7FF0, 0, 0, 2 << 56 | 0x20)))
    program += b"\xbc" + imm(0x30_0000) + b"\xfb\xf4\xeb\xfc"
    seen = scene(program, run=ms(10))
    seen.bounded()


def test_a_failure_of_our_own_ends_the_guest_and_not_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = scene(Program() + STORMS["yield"], run=ms(2))

    def broken(*args: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(seen.guest.machine, "_answer", broken)
    seen.lab.run(ms(5))
    assert seen.guest.state == "crashed" and "the emulator failed: RuntimeError: a mistake" in str(seen.lab.vm("guest").why())
    seen.bounded()


def test_the_hypercall_page_cannot_be_put_over_a_page_that_is_read_only() -> None:
    table = 0x20_0000
    program = Program()
    program.call(12, 7, program.at(struct.pack("<HHIII", 0x7FF0, 0, 1, 0, table >> 12)))
    program.put(table + 68, 0x300)
    program.put(table + 64, 1 << 16 | 5)
    program.call(20, 0, program.at(struct.pack("<QIIHhIQ", 0x40_0000, 6, 8, 1, 0, 0, 0)), 1)
    program += b"\xb8" + imm(0x40_0000) + b"\x31\xd2\xb9" + imm(0x4000_0000) + b"\x0f\x30"
    program.put(KEPT, 0x600D)
    seen = scene(program, run=ms(2))
    assert results(seen.guest, 1) == [0x600D] and not any(seen.guest.memory.view[0x30_0000:0x30_1000])


# the host ------------------------------------------------------------------------------------------------------------------

_SEEN: list[str] = []
_LISTENING: list[bool] = []


def _listen(event: str, args: Any) -> None:
    if _LISTENING and event.partition(".")[0] in ("open", "socket", "os", "subprocess", "shutil", "pathlib", "tempfile", "exec", "pty", "import"):
        _SEEN.append(event)


def test_nothing_a_guest_does_opens_a_file_or_a_socket_of_the_host() -> None:
    """As Python itself sees it: no audit event of files, sockets, processes or imports while hostile guests run."""
    kind = KINDS[0]
    program = kind.program(0x20_0000)
    for number, *args in calls_of(kind):
        program.call(number, *args)
    program += STORMS["out and in"]
    scene(program, run=ms(100))  # whatever is imported on the way is there now
    sys.addaudithook(_listen)
    lab = scene(program, run=0).lab
    _LISTENING.append(True)
    try:
        lab.run(ms(100))
    finally:
        _LISTENING.clear()
    assert lab.machine.toolstack.domain(1).hypercalls and not _SEEN
