"""version.h: operations of hypercall 17.  What we say we are: Xen 4.4, the release of 2014."""

import struct
from typing import Final

VERSION: Final = 0
EXTRAVERSION: Final = 1
COMPILE_INFO: Final = 2
CAPABILITIES: Final = 3
CHANGESET: Final = 4
PLATFORM_PARAMETERS: Final = 5
GET_FEATURES: Final = 6
PAGESIZE: Final = 7
GUEST_HANDLE: Final = 8

OP_NAMES: Final = {
    0: "version",
    1: "extraversion",
    2: "compile_info",
    3: "capabilities",
    4: "changeset",
    5: "platform_parameters",
    6: "get_features",
    7: "pagesize",
    8: "guest_handle",
}

MAJOR: Final = 4
MINOR: Final = 4
EXTRA: Final = b".0-lab"
EXTRAVERSION_SIZE: Final = 16
CAPABILITIES_SIZE: Final = 1024
CAPABILITIES_TEXT: Final = b"xen-3.0-x86_64 "
HYPERVISOR_VIRT_START: Final = 0xFFFF800000000000

FEATURES_ARG: Final = struct.Struct("<II")
"""submap_idx; out: submap."""

# features.h, bits of submap 0
FEATURE_WRITABLE_PAGE_TABLES: Final = 0
FEATURE_AUTO_TRANSLATED_PHYSMAP: Final = 2
FEATURE_PAE_PGDIR_ABOVE_4GB: Final = 4
"""A PV guest is offered this one: the same word as Xen gives a 64-bit PV domU, less what needs page tables."""
FEATURE_MMU_PT_UPDATE_PRESERVE_AD: Final = 5
FEATURE_GNTTAB_MAP_AVAIL_BITS: Final = 7
FEATURE_HVM_CALLBACK_VECTOR: Final = 8
FEATURE_HVM_SAFE_PVCLOCK: Final = 9
FEATURE_ARM_SMCCC_SUPPORTED: Final = 14
