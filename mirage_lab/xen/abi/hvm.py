"""hvm: what a PVH guest is started with and asks for: hvm_start_info, hvm_params, operations of hypercall 34.

    hvm_start_info, 56 bytes at EBX        (arch-x86/hvm/start_info.h)
    0   magic 0x336ec578   12  nr_modules      24  cmdline_paddr  u64    48  memmap_entries
    4   version 1          16  modlist_paddr   32  rsdp_paddr     u64    52  reserved
    8   flags                  u64             40  memmap_paddr   u64
"""

import struct
from typing import Final

START_MAGIC: Final = 0x336EC578
MODLIST_ENTRY: Final = struct.Struct("<QQQQ")
"""paddr, size, cmdline_paddr, reserved."""
START_INFO: Final = struct.Struct("<IIIIQQQQII")
"""magic, version, flags, nr_modules, modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr, memmap_entries, reserved."""
MEMMAP_ENTRY: Final = struct.Struct("<QQII")
"""addr, size, type, reserved."""
E820_RAM: Final = 1
E820_RESERVED: Final = 2

SET_PARAM: Final = 0
GET_PARAM: Final = 1
SET_EVTCHN_UPCALL_VECTOR: Final = 23
OP_NAMES: Final = {0: "set_param", 1: "get_param", 23: "set_evtchn_upcall_vector"}

PARAM_ARG: Final = struct.Struct("<H2xIQ")
"""domid, index, value (hvm_op.h)."""
UPCALL_VECTOR_ARG: Final = struct.Struct("<IB3x")
"""vcpu, vector."""

# hvm_params (hvm/params.h)
CALLBACK_IRQ: Final = 0
STORE_PFN: Final = 1
STORE_EVTCHN: Final = 2
CONSOLE_PFN: Final = 17
CONSOLE_EVTCHN: Final = 18
PARAM_NAMES: Final = {0: "CALLBACK_IRQ", 1: "STORE_PFN", 2: "STORE_EVTCHN", 17: "CONSOLE_PFN", 18: "CONSOLE_EVTCHN"}
NR_PARAMS: Final = 40
CALLBACK_VECTOR: Final = 2
"""Top byte of CALLBACK_IRQ: the lowest byte is a vector of the guest's descriptor table."""

CPUID_BASE: Final = 0x4000_0000
HYPERCALL_MSR: Final = 0x4000_0000
HYPERCALL_SLOT: Final = 32
"""Bytes of one entry of the hypercall page; entry N is at N * 32."""
