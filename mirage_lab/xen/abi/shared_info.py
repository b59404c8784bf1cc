"""shared_info: the page every domain shares with the hypervisor (xen.h, x86-64; 3136 bytes used).

    0      vcpu_info[32], 64 bytes each; of vCPU 0:
             +0  evtchn_upcall_pending  u8      +1  evtchn_upcall_mask  u8
             +8  evtchn_pending_sel     u64     bit w: word w of evtchn_pending has something new
             +16 arch (cr2 ...)                 +32 time: version, tsc_timestamp, system_time, mul, shift, flags
    2048   evtchn_pending[64]  u64              bit p % 64 of word p // 64 is port p
    2560   evtchn_mask[64]     u64
    3072   wc_version, wc_sec, wc_nsec  u32     wall clock at system time 0
    3088   arch

On ARM there is one vcpu_info, of 48 bytes (no arch); evtchn_pending begins at 48, evtchn_mask at 560, the wall clock at 1072.
Words are used through `view.cast("Q")`, in the byte order of the host, which is little-endian on all we run on.
"""

import struct
from dataclasses import dataclass
from typing import Final

SIZE: Final = 3136
VCPU_INFO: Final = 0
VCPU_INFO_SIZE: Final = 64
UPCALL_PENDING: Final = 0
UPCALL_MASK: Final = 1
PENDING_SEL: Final = 8
VCPU_ARCH: Final = 16
VCPU_TIME: Final = 32
EVTCHN_PENDING: Final = 2048
EVTCHN_MASK: Final = 2560
WC: Final = 3072
ARCH: Final = 3088

SEL_WORD: Final = PENDING_SEL // 8
PENDING_WORD: Final = EVTCHN_PENDING // 8
MASK_WORD: Final = EVTCHN_MASK // 8
MASK_WORD_32: Final = 2176 // 8
WC_32: Final = 2304
"""A 32-bit guest has 1024 event channels: its mask and wall clock lie lower, the pending bits at the same place."""
NR_WORDS: Final = 64
NR_PORTS: Final = 4096
"""Event channels of a 64-bit domain with the two-level ABI."""
NR_PORTS_32: Final = 1024

TIME_INFO: Final = struct.Struct("<I4xQQIbB2x")
"""vcpu_time_info: version, tsc_timestamp, system_time, tsc_to_system_mul, tsc_shift, flags."""

WALL_CLOCK: Final = struct.Struct("<III")
"""wc_version, wc_sec, wc_nsec."""



@dataclass(frozen=True, slots=True)
class Layout:
    """Where in shared_info what lies: words of 64 bits, bits of one word of evtchn_pending_sel, bytes."""

    pending_word: int
    mask_word: int
    selector_bits: int
    wall_clock: int
    info_size: int = VCPU_INFO_SIZE


X86_64: Final = Layout(PENDING_WORD, MASK_WORD, 64, WC)
X86_32: Final = Layout(PENDING_WORD, MASK_WORD_32, 32, WC_32)
ARM: Final = Layout(6, 70, 64, 1072, 48)
"""Of 64 and of 32 bits."""

FIELDS: Final[tuple[tuple[str, int, int], ...]] = (
    ("vcpu_info[0].evtchn_upcall_pending", VCPU_INFO + UPCALL_PENDING, 1),
    ("vcpu_info[0].evtchn_upcall_mask", VCPU_INFO + UPCALL_MASK, 1),
    ("vcpu_info[0].evtchn_pending_sel", VCPU_INFO + PENDING_SEL, 8),
    ("vcpu_info[0].arch", VCPU_INFO + VCPU_ARCH, 16),
    ("vcpu_info[0].time.version", VCPU_INFO + VCPU_TIME, 4),
    ("vcpu_info[0].time.tsc_timestamp", VCPU_INFO + VCPU_TIME + 8, 8),
    ("vcpu_info[0].time.system_time", VCPU_INFO + VCPU_TIME + 16, 8),
    ("vcpu_info[0].time.tsc_to_system_mul", VCPU_INFO + VCPU_TIME + 24, 4),
    ("vcpu_info[0].time.tsc_shift", VCPU_INFO + VCPU_TIME + 28, 1),
    ("vcpu_info[0].time.flags", VCPU_INFO + VCPU_TIME + 29, 1),
    ("vcpu_info[1..31]", VCPU_INFO + VCPU_INFO_SIZE, 31 * VCPU_INFO_SIZE),
    ("evtchn_pending", EVTCHN_PENDING, 512),
    ("evtchn_mask", EVTCHN_MASK, 512),
    ("wc_version", WC, 4),
    ("wc_sec", WC + 4, 4),
    ("wc_nsec", WC + 8, 4),
    ("arch", ARCH, SIZE - ARCH),
)
"""Name, offset and bytes of each field, as xen.h calls them."""


def write_times(page: memoryview, epoch_ns: int, wall_clock: int = WC) -> None:
    """Write a clock whose TSC counts nanoseconds of virtual time, and the wall clock at time 0.

    system_time = (tsc << 1) * 0x80000000 >> 32 = tsc, so nothing has to be updated later.
    """
    TIME_INFO.pack_into(page, VCPU_INFO + VCPU_TIME, 2, 0, 0, 0x80000000, 1, 0)
    write_wall_clock(page, epoch_ns, wall_clock)


def write_wall_clock(page: memoryview, epoch_ns: int, at: int) -> None:
    """Write the wall clock at time 0."""
    WALL_CLOCK.pack_into(page, at, 2, (epoch_ns // 1_000_000_000) & 0xFFFFFFFF, epoch_ns % 1_000_000_000)


def wall_clock_ns(page: memoryview, system_time_ns: int) -> int:
    """Return Unix time in ns at `system_time_ns` after boot."""
    _, sec, nsec = WALL_CLOCK.unpack_from(page, WC)
    return int(sec) * 1_000_000_000 + int(nsec) + system_time_ns
