"""grant_table.h: entries (version 1), operations of hypercall 20 and their arguments.

    entry, 8 bytes:   0 flags u16 | 2 domid u16 | 4 frame u32        512 to a page

To grant, write domid and frame first and flags last; to end access, see that neither GTF_reading nor GTF_writing is set
and write flags 0.
"""

import struct
from typing import Final

from mirage_lab.xen.abi.xen import Gref

MAP_GRANT_REF: Final = 0
UNMAP_GRANT_REF: Final = 1
SETUP_TABLE: Final = 2
DUMP_TABLE: Final = 3
TRANSFER: Final = 4
COPY: Final = 5
QUERY_SIZE: Final = 6
UNMAP_AND_REPLACE: Final = 7
SET_VERSION: Final = 8
GET_STATUS_FRAMES: Final = 9
GET_VERSION: Final = 10

OP_NAMES: Final = {
    0: "map_grant_ref",
    1: "unmap_grant_ref",
    2: "setup_table",
    3: "dump_table",
    4: "transfer",
    5: "copy",
    6: "query_size",
    7: "unmap_and_replace",
    8: "set_version",
    9: "get_status_frames",
    10: "get_version",
}

ENTRY: Final = struct.Struct("<HHI")
ENTRY_SIZE: Final = 8
ENTRIES_PER_FRAME: Final = 512

# entry flags
GTF_INVALID: Final = 0
GTF_PERMIT_ACCESS: Final = 1
GTF_ACCEPT_TRANSFER: Final = 2
GTF_TYPE_MASK: Final = 3
GTF_READONLY: Final = 4
GTF_READING: Final = 8
GTF_WRITING: Final = 16
GTF_TRANSFER_COMMITTED: Final = 4
"""Of an entry that accepts a transfer: Xen has begun it, the entry is not to be touched."""
GTF_TRANSFER_COMPLETED: Final = 8
"""The page is there, and `frame` says which."""

# seeded by the domain builder (xc_dom_gnttab_seed); 8 entries are reserved
GREF_CONSOLE: Final = Gref(0)
GREF_XENSTORE: Final = Gref(1)
NR_RESERVED_ENTRIES: Final = 8

# arguments; `status` is a GNTST_* value
MAP: Final = struct.Struct("<QIIHhIQ")
"""host_addr, flags, ref, dom; out: status at 18, handle at 20, dev_bus_addr at 24."""

UNMAP: Final = struct.Struct("<QQIh2x")
"""host_addr, dev_bus_addr, handle; out: status at 20."""

UNMAP_AND_REPLACE_ARG: Final = UNMAP
"""host_addr, new_addr, handle; out: status at 20."""

TRANSFER_ARG: Final = struct.Struct("<QH2xIh6x")
"""mfn, domid, ref; out: status at 16."""

SETUP_TABLE_ARG: Final = struct.Struct("<H2xIh6xQ")
"""dom, nr_frames; out: status at 8; frame_list: address of nr_frames u64."""

COPY_ARG: Final = struct.Struct("<QHH4xQHH4xHHh2x")
"""source.u (ref or gmfn), source.domid, source.offset, dest.u, dest.domid, dest.offset, len, flags; out: status at 36."""

QUERY_SIZE_ARG: Final = struct.Struct("<H2xIIh2x")
"""dom; out: nr_frames, max_nr_frames, status."""

VERSION_ARG: Final = struct.Struct("<H2xI")
"""get_version: dom; out: version."""

MAP_STATUS: Final = 18
MAP_HANDLE: Final = 20
UNMAP_STATUS: Final = 20
COPY_STATUS: Final = 36

# map flags
GNTMAP_DEVICE_MAP: Final = 1
GNTMAP_HOST_MAP: Final = 2
GNTMAP_READONLY: Final = 4
GNTMAP_APPLICATION_MAP: Final = 8
GNTMAP_CONTAINS_PTE: Final = 16
GNTMAP_GUEST_AVAIL: Final = 16
"""From this bit on: three bits of the guest's own, for the entry of its page tables."""

# copy flags
GNTCOPY_SOURCE_GREF: Final = 1
GNTCOPY_DEST_GREF: Final = 2

# status
GNTST_OKAY: Final = 0
GNTST_GENERAL_ERROR: Final = -1
GNTST_BAD_DOMAIN: Final = -2
GNTST_BAD_GNTREF: Final = -3
GNTST_BAD_HANDLE: Final = -4
GNTST_BAD_VIRT_ADDR: Final = -5
GNTST_BAD_DEV_ADDR: Final = -6
GNTST_NO_DEVICE_SPACE: Final = -7
GNTST_PERMISSION_DENIED: Final = -8
GNTST_BAD_PAGE: Final = -9
GNTST_BAD_COPY_ARG: Final = -10
GNTST_ADDRESS_TOO_BIG: Final = -11
GNTST_EAGAIN: Final = -12
GNTST_NO_SPACE: Final = -13

STATUS_NAMES: Final = {
    0: "okay",
    -1: "general_error",
    -2: "bad_domain",
    -3: "bad_gntref",
    -4: "bad_handle",
    -5: "bad_virt_addr",
    -6: "bad_dev_addr",
    -7: "no_device_space",
    -8: "permission_denied",
    -9: "bad_page",
    -10: "bad_copy_arg",
    -11: "address_too_big",
    -12: "eagain",
    -13: "no_space",
}
