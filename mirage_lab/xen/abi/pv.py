"""pv: what a PV guest of x86-64 and Xen agree on (arch-x86/xen.h, arch-x86/xen-x86_64.h, callback.h).

    0                    0x0000_7fff_ffff_ffff   the guest's
    0xffff_8000_0000_0000   machine to physical: a u64 for each machine frame, for reading
    0xffff_8040_0000_0000   Xen's own            (slots 256 to 271 of each L4 table)
    0xffff_8800_0000_0000   the guest's
"""

import struct
from typing import Final

CS64: Final = 0xE033
CS32: Final = 0xE023
SS: Final = 0xE02B
GDT_GUEST_PAGES: Final = 14
"""Pages of the descriptor table that a guest may fill (FIRST_RESERVED_GDT_PAGE)."""

VIRT_START: Final = 0xFFFF_8000_0000_0000
VIRT_END: Final = 0xFFFF_8800_0000_0000
MACH2PHYS: Final = VIRT_START
MACH2PHYS_END: Final = 0xFFFF_8040_0000_0000
FIRST_SLOT: Final = 256
LAST_SLOT: Final = 271
"""The entries of an L4 table that are Xen's."""
INVALID_M2P: Final = (1 << 64) - 1

TRAP_INFO: Final = struct.Struct("<BBH4xQ")
"""vector, flags (bits 0 and 1: the ring that may raise it, bit 2: upcalls are masked in the handler), cs, address."""
TI_RING: Final = 3
TI_MASK_EVENTS: Final = 4

IRET: Final = struct.Struct("<9Q")
"""What hypercall iret finds on the stack: rax, r11, rcx, flags, rip, cs, rflags, rsp, ss."""
VGCF_IN_SYSCALL: Final = 1 << 8

CALLBACKOP_REGISTER: Final = 0
CALLBACKOP_UNREGISTER: Final = 1
CALLBACK_REGISTER: Final = struct.Struct("<HH4xQ")
"""type, flags (bit 0: events are masked), address."""
CALLBACKTYPE_EVENT: Final = 0
CALLBACKTYPE_FAILSAFE: Final = 1
CALLBACKTYPE_SYSCALL: Final = 2
CALLBACKTYPE_NMI: Final = 4
CALLBACK_TYPES: Final = frozenset({0, 1, 2, 4, 5, 7})
CALLBACKF_MASK_EVENTS: Final = 1

SEGBASE_FS: Final = 0
SEGBASE_GS_USER: Final = 1
SEGBASE_GS_KERNEL: Final = 2
SEGBASE_GS_USER_SEL: Final = 3

FS_BASE: Final = 0xC000_0100
GS_BASE: Final = 0xC000_0101
SHADOW_GS: Final = 0xC000_0102
"""Model-specific registers that a guest sets by hypercall, or by wrmsr, which Xen carries out for it."""

PHYSDEVOP_SET_IOPL: Final = 6
VMASST_TYPES: Final = 6
HYPERCALL_SLOT: Final = 32

# ELF notes (elfnote.h)
NOTE_ENTRY: Final = 1
NOTE_HYPERCALL_PAGE: Final = 2
NOTE_VIRT_BASE: Final = 3
NOTE_PADDR_OFFSET: Final = 4
NOTE_XEN_VERSION: Final = 5
NOTE_GUEST_OS: Final = 6
NOTE_INIT_P2M: Final = 15
