"""PV guests that do what they should not: hypercalls by chance, code by chance, frames by chance.  The world goes on, and knows why they ended."""

from __future__ import annotations

import random
import struct

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, guest_image, ms
from mirage_lab.xen.abi import mmu, pv
from mirage_lab.xen.abi.xen import DOMID_SELF, HYPERCALL_NAMES
from mirage_lab.xen.arch.x86.frames import L1, L4, FrameTypes
from mirage_lab.xen.hypervisor import Domain
from mirage_lab.xen.hypervisor.hypervisor import SHARED_FRAMES, XEN_FRAMES
from tests.pvcode import BASE, DATA, FIRST_MFN, call64, elf64, imm64, says64

PAGE = 4096
CALLS = BASE + 0x4_0000
"""Where the calls of a guest that makes them by chance lie: beyond its kernel, in the memory that is mapped for it."""
RARE = ("0f05", "0f0b", "cd80", "cc", "f4", "0f32", "48cf", "0f22d8", "8ed8", "0f01f8", "fb", "0f07", "cf", "cb", "0f3f", "9d", "e460")
"""Instructions that a guest should not, or that are for Xen."""
LOOP = bytes.fromhex("488b03 488b7b08 488b7310 488b5318 4c8b5320 4c8b4328 4883c330 0f05 49ffcf 75de")
"""mov rax, [rbx]; rdi, rsi, rdx, r10, r8 from behind it; add rbx, 48; syscall; dec r15; jnz"""


def sound(domain: Domain) -> None:
    """Nothing that the CPU can come upon leads out of the domain, and no table can be written."""
    frames: FrameTypes = domain.machine.mmu.frames  # type: ignore[union-attr]
    for index, kind in enumerate(frames.kinds):
        if not L1 <= kind <= L4:
            continue
        for slot, entry in enumerate(frames.words[index * 512 : index * 512 + 512]):
            if not entry & 1:
                continue
            if kind == L4 and pv.FIRST_SLOT <= slot <= pv.LAST_SLOT:
                assert entry & ~(mmu.ACCESSED | mmu.DIRTY) == frames.slots[slot - pv.FIRST_SLOT]
                continue
            target = frames.owned(entry >> 12 & mmu.FRAME)
            assert target >= 0 or (kind == L1 and frames.special(entry >> 12 & mmu.FRAME))
            if target >= 0 and kind == L1 and entry & 2:
                assert frames.kinds[target] not in range(L1, L4 + 1)


def by_chance(rng: random.Random, count: int) -> bytes:
    """Calls, most of them with arguments that mean something; none that ends the guest or has it wait."""
    frames = [*(FIRST_MFN + n for n in (0, 1, 2, 3, 9, 11, 12, 13, 14, 15, 16, 17, 18, 64, 65)), 0x1000, XEN_FRAMES + 1, SHARED_FRAMES, SHARED_FRAMES + 1]
    numbers = [*sorted(HYPERCALL_NAMES), *([1, 14, 26] * 12)]

    def word() -> int:
        entry, address = rng.choice(frames) << 12 | rng.choice((0, 5, 7, 8, 0x67, 0x87)), BASE + rng.randrange(0, 0x30_0000, 8)
        return rng.choice((0, 1, 7, DOMID_SELF, rng.choice(frames), entry, address, rng.getrandbits(64)))

    rows = []
    for _ in range(count):
        number = rng.choice(numbers)
        args = [word() for _ in range(5)]
        if number in (1, 26):
            args[:4] = CALLS + 0x1_0000 + rng.randrange(0, 4096, 8), rng.randrange(1, 6), 0, DOMID_SELF
        if number in (6, 29):
            args[0] = 0
        if number == 23:
            number = 17
        rows.append(struct.pack("<6Q", number, *args))
    requests = []
    for _ in range(800):
        kind = rng.choice((0, 1, 2))
        slot = rng.choice((0, 3, 128, 129, 256, 271, 511))
        ptr = rng.choice(frames) << 12 | slot << 3 | kind
        requests.append(struct.pack("<QQ", rng.choice((ptr, rng.randrange(0, 18))), rng.choice((word(), rng.choice(frames), 0))))
    return b"".join(rows).ljust(0x1_0000, b"\0") + b"".join(requests)


@pytest.mark.parametrize("seed", range(16))
def test_hypercalls_by_chance_leave_a_world_that_is_sound(seed: int) -> None:
    rng = random.Random(seed)
    count = 300
    start = b"\x48\xbb" + imm64(CALLS) + b"\x49\xbf" + imm64(count)
    lab = Lab(seed=1)
    lab.create(guest_image(elf64(says64(b"alive", first=start + LOOP)), memory_mib=8)).unpause()
    found = lab.machine.toolstack.domain(1)
    data = by_chance(rng, count)
    found.memory.view[CALLS - BASE : CALLS - BASE + len(data)] = data
    lab.run(ms(20))
    sound(found)
    assert found.state in ("shutdown", "crashed", "running", "blocked") and sum(found.hypercalls.values()) > 3
    assert lab.machine.world.now == ms(20)
    lab.vm("guest").destroy()


@pytest.mark.parametrize("seed", range(24))
def test_code_by_chance_ends_or_runs_and_harms_nobody(seed: int) -> None:
    rng = random.Random(1000 + seed)
    rare = list(map(bytes.fromhex, RARE))
    code = b"".join(rng.choice((rng.choice(rare), rng.randbytes(3))) for _ in range(400))
    lab = Lab(seed=1)
    table = pv.TRAP_INFO.pack(6, 0, pv.CS64, BASE + rng.randrange(0x400)) + pv.TRAP_INFO.pack(13, 0, pv.CS64, BASE + rng.randrange(0x400)) + bytes(16)
    lab.create(guest_image(elf64((call64(0, DATA) + code).ljust(0x800, b"\x90") + table), memory_mib=8)).unpause()
    lab.run(ms(3))
    found = lab.machine.toolstack.domain(1)
    sound(found)
    assert lab.machine.world.now == ms(3) and (found.state != "crashed" or "guest crashed: " in str(lab.vm("guest").why()))


@pytest.mark.parametrize("seed", range(12))
def test_frames_by_chance_for_hypercall_iret(seed: int) -> None:
    """Selectors that are none, addresses that are none, flags that ring 3 may not have."""
    rng = random.Random(seed)
    selectors = (0xE033, 0xE030, 0xE02B, 0xE008, 0xE010, 0xE023, 0, 3, 0x10, 0xFFFF, 0x33, rng.getrandbits(16))
    rip = rng.choice((BASE + 0x900, BASE + 0x900, 0, 1 << 63, 0xFFFF_8200_0001_0000))
    words = [*(rng.getrandbits(64) for _ in range(3)), rng.choice((0, 0x100)), rip, rng.choice(selectors)]
    words += [rng.getrandbits(64), rng.choice((BASE + 0x3000, 1 << 62)), rng.choice(selectors)]
    code = b"\x48\xbc" + imm64(DATA) + b"\xb8\x17\x00\x00\x00\x0f\x05"  # mov rsp, DATA; mov eax, 23; syscall
    there = b"\x9c\x58\xeb\xfe"  # at BASE + 0x900: pushf; pop rax; jmp $
    lab = Lab(seed=1)
    lab.create(guest_image(elf64((code.ljust(0x800, b"\x90") + struct.pack("<9Q", *words)).ljust(0x900, b"\0") + there), memory_mib=8)).unpause()
    lab.run(ms(2))
    found = lab.machine.toolstack.domain(1)
    assert found.state in ("running", "crashed")
    if found.state == "running":
        cpu = found.machine.cpu  # type: ignore[union-attr]
        assert cpu.read("cs") & 3 == 3 and cpu.read("eflags") & 0x3200 == 0x200, "ring 3, interrupts on, and no right to ports"


def test_a_guest_whose_frames_eat_its_stack_is_crashed() -> None:
    """Its handler of page faults faults itself, and its stack goes down until there is no more."""
    table = pv.TRAP_INFO.pack(14, 0, pv.CS64, 0x7777_0000) + bytes(16)
    lab = Lab(seed=1)
    lab.create(guest_image(elf64((call64(0, DATA) + b"\xa1" + imm64(0)).ljust(0x800, b"\x90") + table), memory_mib=8)).unpause()
    lab.run(ms(200))
    assert lab.vm("guest").state == "crashed" and "page fault" in str(lab.vm("guest").why())
    sound(lab.machine.toolstack.domain(1))
