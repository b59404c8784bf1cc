"""ARM guests of a few instructions on the lab's Xen: 64 bits and 32, the same hypervisor, console and time as all others."""

from __future__ import annotations

import struct

import pytest

pytest.importorskip("unicorn")
pytest.importorskip("fdt")

from mirage_lab import Lab, guest_image, ms
from mirage_lab.lab.said import LabError
from mirage_lab.xen.abi import arm
from mirage_lab.xen.arch.arm.vcpu import ArmVcpu
from mirage_lab.xen.dom0.armimage import is_arm, read_arm
from mirage_lab.xen.dom0.devicetree import device_tree
from mirage_lab.xen.dom0.elf import ImageError
from mirage_lab.xen.dom0.toolstack import ToolstackError
from mirage_lab.xen.hypervisor import Domain
from tests.armcode import ARM32, ARM64, BOTH, DATA, Kind

both = pytest.mark.parametrize("kind", BOTH, ids=("64", "32"))
SEEN = DATA + 0x100


def booted(kernel: bytes, *, run: int = ms(10), memory_mib: int = 8) -> Lab:
    """A lab in which a guest has run for a while."""
    lab = Lab(seed=1)
    lab.create(guest_image(kernel, memory_mib=memory_mib)).unpause()
    lab.run(run)
    return lab


def domain(lab: Lab) -> Domain:
    found: Domain = lab.machine.toolstack.domain(1)
    return found


def machine(lab: Lab) -> ArmVcpu:
    found = domain(lab).machine
    assert isinstance(found, ArmVcpu)
    return found


def seen(lab: Lab, kind: Kind, count: int = 1, at: int = SEEN) -> tuple[int, ...]:
    """Words that the guest has written to its data."""
    start = kind.base - arm.RAM_BASE + at
    return struct.unpack(f"<{count}I", domain(lab).memory.view[start : start + 4 * count])


def let_in(kind: Kind) -> list[int]:
    """Set the vectors, open the interrupt controller for 27 and 31, let interrupts in."""
    opened = [
        *kind.put(1, arm.GICD_BASE),
        *kind.put(1 << 27 | 1 << 31, arm.GICD_BASE + 0x100),
        *kind.put(0xF0, arm.GICC_BASE + 4),
        *kind.put(1, arm.GICC_BASE),
    ]
    return [*kind.mov(0, kind.base + 0x800), kind.set_vectors, *opened, kind.let_in]


def handler(kind: Kind, *more: int) -> dict[int, list[int]]:
    """An interrupt handler: which one, kept; done with; `more`; back."""
    taken = [*kind.load(2, arm.GICC_BASE + 0xC), *kind.store(2, kind.base + SEEN), *kind.store(2, arm.GICC_BASE + 0x10)]
    return {0x280 if kind.bits == 64 else 0x18: [*taken, *more, kind.back]}


# what a guest does -------------------------------------------------------------------------------------------------


@both
def test_a_guest_says_hello_and_shuts_down(kind: Kind) -> None:
    lab = booted(kind.says(b"hello from machine code\n"))
    assert "(d1) hello from machine code" in lab.machine.toolstack.dmesg()
    assert lab.vm("guest").state == "shutdown"
    assert domain(lab).statistics().hypercalls == {"console_io.write": 1, "sched_op.shutdown": 1}


@both
def test_two_runs_are_the_same_to_the_last_byte(kind: Kind) -> None:
    looks = [word for n in range(2) for word in (*kind.read_counter, *kind.store(0, kind.base + SEEN + 4 * n))]
    first, second = (domain(booted(kind.says(b"x", after=looks))) for _ in range(2))
    assert bytes(first.memory.view) == bytes(second.memory.view) and first.cpu_ns == second.cpu_ns
    low, high = struct.unpack_from("<II", first.memory.view, kind.base - arm.RAM_BASE + SEEN)
    assert 0 < low < high < 100_000


@both
def test_the_timer_interrupts_on_time_and_waiting_for_it_costs_nothing(kind: Kind) -> None:
    """TVAL two seconds ahead, wfi; the handler looks at the counter and turns the timer off."""
    off = [*kind.read_counter, *kind.store(0, kind.base + SEEN + 4), *kind.mov(0, 0), kind.control_timer]
    wait = [*let_in(kind), *kind.mov(0, 2_000_000_000), kind.write_timer, *kind.mov(0, 1), kind.control_timer, kind.wfi]
    lab = booted(kind.says(b"awake", after=wait, vectors=handler(kind, *off)), run=ms(1_999))
    assert lab.vm("guest").state == "blocked" and machine(lab).exits < 10
    lab.run(ms(2))
    assert lab.vm("guest").state == "shutdown" and machine(lab).exits < 15
    which, when = seen(lab, kind, 2)
    assert which == 27 and 2_000_000_000 <= when < 2_000_100_000


@both
def test_a_timer_interrupts_a_guest_that_spins(kind: Kind) -> None:
    after = [*let_in(kind), *kind.mov(0, 300_000), kind.write_timer, *kind.mov(0, 1), kind.control_timer, kind.stay]
    off = [*kind.read_counter, *kind.store(0, kind.base + SEEN + 4), *kind.mov(0, 0), kind.control_timer]
    lab = booted(kind.says(b"x", after=after, vectors=handler(kind, *off)), run=ms(2))
    which, when = seen(lab, kind, 2)
    assert which == 27 and 300_000 <= when < 330_000 and lab.vm("guest").state == "running"


@both
def test_an_interrupt_comes_in_through_a_window_of_one_instruction(kind: Kind) -> None:
    """wfi with interrupts masked; let in; masked again; and so on: how a kernel waits without losing a wake-up."""
    masked = 0xD503_42DF if kind.bits == 64 else 0xF10C_0080  # msr daifset, #2; cpsid i
    loop = [kind.wfi, kind.let_in, masked, 0x17FF_FFFD if kind.bits == 64 else 0xEAFF_FFFB]
    after = [*let_in(kind), masked, *kind.mov(0, 500_000), kind.write_timer, *kind.mov(0, 1), kind.control_timer, *loop]
    lab = booted(kind.says(b"x", after=after, vectors=handler(kind, *kind.mov(0, 0), kind.control_timer)), run=ms(2))
    assert seen(lab, kind) == (27,) and lab.vm("guest").state == "blocked" and machine(lab).exits < 20


@both
def test_an_event_is_interrupt_31(kind: Kind) -> None:
    """shared_info by add_to_physmap, a port bound to itself (bind_ipi), sent to; then the handler clears evtchn_upcall_pending."""
    base = kind.base
    place, ipi, page = base + DATA + 0x40, base + DATA + 0x60, 0x3800_0000
    code = [
        *let_in(kind),
        *[word for n, value in enumerate((0x7FF0, 0, 0, 0, page >> 12, 0)) for word in kind.put(value, place + 4 * n)],
        *kind.call(12, 7, place),
        *kind.store(0, base + SEEN + 4),
        *kind.put(0, ipi),
        *kind.call(32, 7, ipi),
        *kind.load(2, ipi + 4),
        *kind.store(2, ipi + 8),
        *kind.call(32, 4, ipi + 8),
    ]
    pending = [*kind.load(2, page), *kind.store(2, base + SEEN + 8), *kind.load(2, page + 48), *kind.store(2, base + SEEN + 12), *kind.put(0, page)]
    lab = booted(kind.says(b"x", after=code, vectors=handler(kind, *pending[: 24 if kind.bits == 64 else None])))
    which, placed, upcall, ports = seen(lab, kind, 4)
    assert (which, placed, upcall & 0xFF, ports) == (31, 0, 1, 1 << 3)  # ports 1 and 2 are those of xenstore and console
    assert domain(lab).upcalls == 1 and lab.vm("guest").state == "shutdown"


@both
def test_vcpu_info_lives_where_the_guest_registers_it(kind: Kind) -> None:
    """Everything counts as pending at once; a second place, and one that does not fit in its page, are refused."""
    base, page = kind.base, (arm.RAM_BASE >> 12) + 0x300
    asked = [(page, 0x40), (page, 0x80), (page, 0xFF0), (1, 0)]
    code: list[int] = []
    for n, (frame, offset) in enumerate([asked[2], *asked]):
        for word, value in enumerate((frame, 0, offset)):
            code += kind.put(value, base + DATA + 0x40 + 4 * word)
        code += [*kind.call(24, 10, 0, base + DATA + 0x40), *kind.store(0, base + SEEN + 4 * n)]
    lab = booted(kind.says(b"x", after=[*code, *kind.call(24, 10, 1, base + DATA + 0x40), *kind.store(0, base + SEEN + 20)]))
    kept = [value - (value >> 31 << 32) for value in seen(lab, kind, 6)]
    assert kept == [-6, 0, -22, -6, -22, -2]
    info = domain(lab).memory.view[0x30_0040 : 0x30_0070]
    assert (info[0], bytes(info[8:16])) == (1, b"\xff" * 8)


@both
def test_a_guest_sees_how_long_it_ran_and_waited(kind: Kind) -> None:
    """vcpu_runstate_info: state, since when, and time spent running, runnable, blocked; offline."""
    area = kind.base + SEEN + 0x40
    asked = [*kind.put(area, kind.base + DATA + 0x40), *kind.put(0, kind.base + DATA + 0x44), *kind.call(24, 5, 0, kind.base + DATA + 0x40)]
    off = [*kind.mov(0, 0), kind.control_timer]
    wait = [*let_in(kind), *kind.mov(0, 3_000_000), kind.write_timer, *kind.mov(0, 1), kind.control_timer, kind.wfi]
    lab = booted(kind.says(b"x", after=[*asked, *kind.store(0, kind.base + SEEN + 4), *wait], vectors=handler(kind, *off)))
    words = seen(lab, kind, 12, SEEN + 0x40)
    state, since, ran, runnable, blocked = words[0], *(words[at] | words[at + 1] << 32 for at in (2, 4, 6, 8))
    assert seen(lab, kind, 2) == (27, 0) and (state, runnable) == (0, 0)
    assert 0 < ran < 100_000 and since >= 3_000_000 and 2_900_000 < blocked <= 3_000_000


@both
def test_a_guest_is_told_that_xen_translates_its_frames(kind: Kind) -> None:
    where = kind.base + DATA + 0x40
    lab = booted(kind.says(b"x", after=[*kind.put(0, where), *kind.call(17, 6, where)]))
    assert seen(lab, kind, 2, DATA + 0x40) == (0, 1 << 0 | 1 << 2 | 1 << 14)


@both
def test_a_data_abort_reaches_the_guests_own_handler(kind: Kind) -> None:
    """The status of the fault, and where: ESR_EL1 and FAR_EL1, or DFSR and DFAR."""
    reads = ([0xD538_5200], [0xD538_6000]) if kind.bits == 64 else ([0xEE15_0F10], [0xEE16_0F10])
    kept = [word for n, read in enumerate(reads) for word in (*read, *kind.store(0, kind.base + SEEN + 4 * n))]
    vectors = {0x200 if kind.bits == 64 else 0x10: [*kept, *kind.call(29, 2, kind.base + DATA)]}
    code = [*kind.mov(0, kind.base + 0x800), kind.set_vectors, *kind.put(1, 0x1000)]
    lab = booted(kind.says(b"x", after=code, vectors=vectors))
    status, address = seen(lab, kind, 2)
    assert lab.vm("guest").state == "shutdown" and address == 0x1000
    assert status == (0x9600_0450 if kind.bits == 64 else 0x808)


@both
def test_a_system_call_reaches_the_guests_own_handler_and_comes_back(kind: Kind) -> None:
    back = [kind.back] if kind.bits == 64 else [0xE1B0_F00E]  # movs pc, lr
    vectors = {0x200 if kind.bits == 64 else 0x08: [*kind.put(7, kind.base + SEEN), *back]}
    code = [*kind.mov(0, kind.base + 0x800), kind.set_vectors, kind.svc, *kind.put(8, kind.base + SEEN + 4)]
    lab = booted(kind.says(b"x", after=code, vectors=vectors))
    assert seen(lab, kind, 2) == (7, 8) and lab.vm("guest").state == "shutdown"


@both
@pytest.mark.parametrize(
    ("what", "said"),
    [("store", "a data abort of a write at 0x400"), ("undefined", "an instruction that is none at 0x400"), ("svc", "a system call (svc) at 0x400")],
)
def test_a_guest_that_faults_without_a_handler_is_crashed_and_says_why(kind: Kind, what: str, said: str) -> None:
    code = {"store": kind.put(1, 0x1000), "undefined": [kind.undefined], "svc": [kind.svc]}[what]
    lab = booted(kind.kernel(code))
    assert lab.vm("guest").state == "crashed"
    why = str(lab.vm("guest").why())
    assert said in why and "its vector at" in why
    assert ("on address 0x1000: there is no memory" in why) == (what == "store")


@both
def test_wild_pointers_get_an_errno(kind: Kind) -> None:
    calls = [(18, 0, 5, 0x7FFF_FFF0), (32, 4, 0xFFFF_FFFF), (29, 3, 0xFFFF_0000), (20, 2, 0x6000_0000, 1), (34, 1, 0x8000_0000), (24, 10, 0, 0x1000)]
    calls += [(15, 1), (99,), (24, 8, 0, 0), (12, 7, 0x10)]
    code = [word for n, args in enumerate(calls) for word in (*kind.call(*args), *kind.store(0, kind.base + SEEN + 4 * n))]
    lab = booted(kind.says(b"alive", after=code))
    kept = [value - (value >> 31 << 32) for value in seen(lab, kind, len(calls))]
    assert kept == [-14, -14, -14, -14, -14, -14, -38, -38, -22, -14] and lab.vm("guest").state == "shutdown"


@both
@pytest.mark.parametrize(("function", "state"), [(0x8400_0008, "shutdown"), (0x8400_0009, "shutdown"), (0x8400_0002, "shutdown")])
def test_firmware_turns_the_machine_off(kind: Kind, function: int, state: str) -> None:
    lab = booted(kind.kernel([*kind.firmware(function), kind.stay]))
    assert lab.vm("guest").state == state


@both
def test_firmware_says_its_version_and_refuses_what_it_does_not_know(kind: Kind) -> None:
    code = [word for n, function in enumerate((0x8400_0000, 0x8400_0077)) for word in (*kind.firmware(function), *kind.store(0, kind.base + SEEN + 4 * n))]
    assert seen(booted(kind.says(b"x", after=code)), kind, 2) == (0x1_0001, 0xFFFF_FFFF)


@both
def test_a_guest_that_spins_moves_the_clock_and_the_world_goes_on(kind: Kind) -> None:
    lab = booted(kind.kernel([kind.stay]), run=ms(5))
    assert lab.machine.world.now == ms(5) and lab.vm("guest").state == "running"
    assert 4_000_000 < machine(lab).instructions < 5_500_000


def test_division_is_there_on_32_bits_as_on_a_cortex_a7() -> None:
    """sdiv and udiv of -7 by 2, and by zero."""
    kind = ARM32
    code = [*kind.mov(0, 0xFFFF_FFF9), *kind.mov(1, 2), *kind.mov(3, 0)]
    for n, division in enumerate((0xE712_F110, 0xE732_F110, 0xE732_F310)):
        code += [division, *kind.store(2, kind.base + SEEN + 4 * n)]
    assert seen(booted(kind.says(b"x", after=code)), kind, 3) == (0xFFFF_FFFD, 0x7FFF_FFFC, 0)


# images ----------------------------------------------------------------------------------------------------------


@both
def test_a_kernel_is_known_by_its_magic(kind: Kind) -> None:
    image = guest_image(kind.says(b"x"))
    assert (image.kind, image.manifest["bits"], image.manifest["entry"]) == ("arm", kind.bits, kind.base)


@both
def test_every_cut_of_a_kernel_is_read_or_refused(kind: Kind) -> None:
    good = kind.says(b"x")
    for length in range(0, len(good), 3):
        try:
            assert read_arm(good[:length]).bits == kind.bits
        except ImageError:
            assert length < len(good)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [(24, 0xB, "big-endian"), (8, 1 << 40, "text_offset"), (16, 1 << 40, "image_size")],
)
def test_a_header_that_lies_is_one_error(at: int, value: int, said: str) -> None:
    data = bytearray(ARM64.says(b"x"))
    data[at : at + 8] = value.to_bytes(8, "little")
    with pytest.raises(LabError, match=said):
        guest_image(bytes(data))


@both
def test_a_kernel_that_is_larger_than_its_memory_says_how_much_it_needs(kind: Kind) -> None:
    data = kind.kernel([kind.stay], data=bytes(20 << 20))
    lab = Lab(seed=1)
    with pytest.raises(ToolstackError, match=r"memory_mib=2[34]"):
        lab.create(guest_image(data, memory_mib=8))
    assert [vm.name for vm in lab.domains] == []
    lab.create(guest_image(data, memory_mib=24))


@both
def test_a_ramdisk_lies_below_the_device_tree_which_says_where(kind: Kind) -> None:
    """linux,initrd-start and -end, in whole pages from the first on."""
    lab = Lab(seed=1)
    lab.create(guest_image(kind.kernel([kind.stay]), memory_mib=8, ramdisk=b"070701" * 1_000))
    view = domain(lab).memory.view
    assert bytes(view[(6 << 20) - 0x2000 :][:6_000]) == b"070701" * 1_000
    tree = bytes(view[6 << 20 :][:0x1000])
    start, end = arm.RAM_BASE + (6 << 20) - 0x2000, arm.RAM_BASE + (6 << 20) - 0x2000 + 6_000
    assert struct.pack(">Q", start) in tree and struct.pack(">Q", end) in tree


def test_a_ramdisk_that_does_not_fit_says_how_much_memory_it_needs() -> None:
    kernel = ARM64.kernel([ARM64.stay])
    with pytest.raises(ToolstackError, match=r"its ramdisk has 8,388,608 bytes: give it memory_mib=11 at least"):
        Lab(seed=1).create(guest_image(kernel, memory_mib=8, ramdisk=bytes(8 << 20)))
    with pytest.raises(ToolstackError, match="the first 128 MiB of RAM"):
        Lab(seed=1).create(guest_image(kernel, memory_mib=512, ramdisk=bytes(128 << 20)))
    lab = Lab(seed=1)
    lab.create(guest_image(kernel, memory_mib=12, ramdisk=bytes(8 << 20)))


def test_there_is_an_upper_bound_of_memory() -> None:
    with pytest.raises(ToolstackError, match="at most 3072"):
        Lab(seed=1).create(guest_image(ARM64.says(b"x"), memory_mib=4_096))


def test_what_is_no_arm_kernel_is_told_apart() -> None:
    assert not is_arm(b"") and not is_arm(b"\x7fELF".ljust(64, b"\0"))
    with pytest.raises(ImageError):
        read_arm(bytes(64))


# the device tree --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [64, 32])
def test_the_device_tree_reads_back(bits: int) -> None:
    import fdt

    data = device_tree(bits, 48 << 20, "console=hvc0 \N{GREEK SMALL LETTER PI}")
    tree = fdt.parse_dtb(data)
    assert list(tree.get_property("reg", "/hypervisor")) == [0, 0x3800_0000, 0, 0x100_0000]
    assert list(tree.get_property("compatible", "/hypervisor")) == ["xen,xen-4.4", "xen,xen"]
    assert list(tree.get_property("interrupts", "/hypervisor")) == [1, 15, 0xF08]
    assert list(tree.get_property("interrupts", "/timer"))[6:] == [1, 11, 0xF08]
    assert list(tree.get_property("reg", "/memory@40000000")) == [0, 0x4000_0000, 0, 48 << 20]
    assert list(tree.get_property("reg", "/interrupt-controller@3001000")) == [0, 0x300_1000, 0, 0x1000, 0, 0x300_2000, 0, 0x2000]
    assert "console=hvc0 \N{GREEK SMALL LETTER PI}\0".encode() in data


@both
def test_a_guest_finds_its_device_tree_by_its_register(kind: Kind) -> None:
    """x0, or r2: the first word there is the magic of a flattened tree."""
    load = 0xB940_0000 if kind.bits == 64 else 0xE592_0000  # ldr w0, [x0]; ldr r0, [r2]
    code = [load, *kind.store(0, kind.base + SEEN), *kind.call(29, 2, kind.base + DATA)]
    assert seen(booted(kind.kernel(code, data=bytes(0x200))), kind) == (0xEDFE_0DD0,)


