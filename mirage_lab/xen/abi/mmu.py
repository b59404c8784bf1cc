"""mmu: how a PV guest asks for changes to its page tables (xen.h: mmu_update, update_va_mapping, mmuext_op).

    mmu_update   {ptr u64, val u64}    the machine address of an entry, its lowest two bits a MMU_* type; what to write there
    mmuext_op    {cmd u32, arg1 u64 at 8, arg2 u64 at 16}    arg1 a machine frame or a linear address
"""

import struct
from typing import Final

MMU_UPDATE: Final = struct.Struct("<QQ")
NORMAL: Final = 0
MACHPHYS: Final = 1
PRESERVE_AD: Final = 2

MMUEXT_OP: Final = struct.Struct("<I4xQQ")
PIN_L1: Final = 0
PIN_L4: Final = 3
UNPIN: Final = 4
NEW_BASEPTR: Final = 5
TLB_FLUSH_LOCAL: Final = 6
INVLPG_LOCAL: Final = 7
TLB_FLUSH_MULTI: Final = 8
INVLPG_MULTI: Final = 9
TLB_FLUSH_ALL: Final = 10
INVLPG_ALL: Final = 11
FLUSH_CACHE: Final = 12
SET_LDT: Final = 13
NEW_USER_BASEPTR: Final = 15
CLEAR_PAGE: Final = 16
COPY_PAGE: Final = 17
MMUEXT_NAMES: Final = {
    **{level: f"pin_l{level + 1}_table" for level in range(4)},
    4: "unpin_table",
    5: "new_baseptr",
    6: "tlb_flush_local",
    7: "invlpg_local",
    8: "tlb_flush_multi",
    9: "invlpg_multi",
    10: "tlb_flush_all",
    11: "invlpg_all",
    12: "flush_cache",
    13: "set_ldt",
    15: "new_user_baseptr",
    16: "clear_page",
    17: "copy_page",
}

PREEMPTED: Final = 1 << 31
"""In a count: the call goes on where it was left."""

PRESENT: Final = 1
RW: Final = 2
USER: Final = 4
ACCESSED: Final = 32
DIRTY: Final = 64
LARGE: Final = 128
"""In an entry of L2 and above: a superpage."""
AVAIL: Final = 9
"""The first of three bits that no CPU looks at."""
FRAME: Final = (1 << 40) - 1
"""Bits of a frame number, once an entry has been shifted right by 12."""
ADDRESS: Final = FRAME << 12
ENTRIES: Final = 512
