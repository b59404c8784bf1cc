"""memory.h: operations of hypercall 12."""

import struct
from typing import Final

INCREASE_RESERVATION: Final = 0
DECREASE_RESERVATION: Final = 1
MAXIMUM_RAM_PAGE: Final = 2
CURRENT_RESERVATION: Final = 3
MAXIMUM_RESERVATION: Final = 4
POPULATE_PHYSMAP: Final = 6
ADD_TO_PHYSMAP: Final = 7
MEMORY_MAP: Final = 9
MACHPHYS_MAPPING: Final = 12
REMOVE_FROM_PHYSMAP: Final = 15

OP_NAMES: Final = {
    0: "increase_reservation",
    1: "decrease_reservation",
    2: "maximum_ram_page",
    3: "current_reservation",
    4: "maximum_reservation",
    6: "populate_physmap",
    7: "add_to_physmap",
    9: "memory_map",
    11: "exchange",
    12: "machphys_mapping",
    13: "set_memory_map",
    15: "remove_from_physmap",
}

XENMAPSPACE_SHARED_INFO: Final = 0
XENMAPSPACE_GRANT_TABLE: Final = 1

ADD_TO_PHYSMAP_ARG: Final = struct.Struct("<HHIQQ")
"""add_to_physmap: domid, size, space, idx, gpfn."""

RESERVATION_ARG: Final = struct.Struct("<QQIIH6x")
"""increase_reservation, decrease_reservation, populate_physmap: extent_start, nr_extents, extent_order, mem_flags, domid."""

REMOVE_FROM_PHYSMAP_ARG: Final = struct.Struct("<H6xQ")
"""remove_from_physmap: domid, gpfn."""

MACHPHYS_MAPPING_ARG: Final = struct.Struct("<QQQ")
"""machphys_mapping: out: v_start, v_end, max_mfn."""

MEMORY_MAP_ARG: Final = struct.Struct("<I4xQ")
"""memory_map: nr_entries (in: room, out: written), buffer."""

E820_ENTRY: Final = struct.Struct("<QQI")
"""An entry of the buffer: addr, size, type (1 RAM, 2 reserved)."""

DOMID_ARG: Final = struct.Struct("<H")
"""current_reservation, maximum_reservation: dom."""

VA_MAPPING_ARG: Final = struct.Struct("<QQQ")
"""update_va_mapping: va, pte (mfn << 12 | flags), flags."""

PAGE_PRESENT: Final = 1
PAGE_RW: Final = 2
PAGE_USER: Final = 4
PAGE_ACCESSED: Final = 32
PAGE_DIRTY: Final = 64
L1_PROT: Final = PAGE_PRESENT | PAGE_RW | PAGE_USER | PAGE_ACCESSED | PAGE_DIRTY
"""A writable page of a PV guest: 0x67."""
