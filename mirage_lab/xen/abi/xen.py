"""xen.h: hypercall numbers, domain ids, virtual interrupts, and the kinds of number that must not mix."""

from typing import Final, NewType

Domid = NewType("Domid", int)
Port = NewType("Port", int)
Gref = NewType("Gref", int)
Pfn = NewType("Pfn", int)
"""Page of a domain, counted from 0: pseudo-physical."""
Mfn = NewType("Mfn", int)
"""Page of the machine."""

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 4096

# hypercalls (__HYPERVISOR_*)
SET_TRAP_TABLE: Final = 0
MMU_UPDATE: Final = 1
SET_GDT: Final = 2
STACK_SWITCH: Final = 3
SET_CALLBACKS: Final = 4
FPU_TASKSWITCH: Final = 5
SET_DEBUGREG: Final = 8
GET_DEBUGREG: Final = 9
UPDATE_DESCRIPTOR: Final = 10
MEMORY_OP: Final = 12
MULTICALL: Final = 13
UPDATE_VA_MAPPING: Final = 14
SET_TIMER_OP: Final = 15
XEN_VERSION: Final = 17
CONSOLE_IO: Final = 18
GRANT_TABLE_OP: Final = 20
VM_ASSIST: Final = 21
IRET: Final = 23
VCPU_OP: Final = 24
SET_SEGMENT_BASE: Final = 25
MMUEXT_OP: Final = 26
SCHED_OP: Final = 29
CALLBACK_OP: Final = 30
EVENT_CHANNEL_OP: Final = 32
PHYSDEV_OP: Final = 33
HVM_OP: Final = 34
SYSCTL: Final = 35
DOMCTL: Final = 36

PV_CALLS: Final = frozenset({0, 1, 2, 3, 4, 5, 8, 9, 10, 14, 21, 23, 25, 26, 30, 33})
"""Those that are for PV guests of x86 alone."""

HYPERCALL_NAMES: Final[dict[int, str]] = {
    0: "set_trap_table",
    1: "mmu_update",
    2: "set_gdt",
    3: "stack_switch",
    4: "set_callbacks",
    5: "fpu_taskswitch",
    6: "sched_op_compat",
    7: "platform_op",
    8: "set_debugreg",
    9: "get_debugreg",
    10: "update_descriptor",
    12: "memory_op",
    13: "multicall",
    14: "update_va_mapping",
    15: "set_timer_op",
    16: "event_channel_op_compat",
    17: "xen_version",
    18: "console_io",
    19: "physdev_op_compat",
    20: "grant_table_op",
    21: "vm_assist",
    22: "update_va_mapping_otherdomain",
    23: "iret",
    24: "vcpu_op",
    25: "set_segment_base",
    26: "mmuext_op",
    27: "xsm_op",
    28: "nmi_op",
    29: "sched_op",
    30: "callback_op",
    31: "xenoprof_op",
    32: "event_channel_op",
    33: "physdev_op",
    34: "hvm_op",
    35: "sysctl",
    36: "domctl",
    37: "kexec_op",
    38: "tmem_op",
}

# console_io
CONSOLEIO_WRITE: Final = 0
CONSOLEIO_READ: Final = 1

# domain ids with a meaning; ordinary ones are below DOMID_FIRST_RESERVED
DOMID_FIRST_RESERVED: Final = 0x7FF0
DOMID_SELF: Final = Domid(0x7FF0)
DOMID_IO: Final = Domid(0x7FF1)
DOMID_XEN: Final = Domid(0x7FF2)
DOMID_INVALID: Final = Domid(0x7FF4)

# virtual interrupts.  Those in GLOBAL_VIRQS belong to dom0 alone
VIRQ_TIMER: Final = 0
VIRQ_DEBUG: Final = 1
VIRQ_CONSOLE: Final = 2
VIRQ_DOM_EXC: Final = 3
VIRQ_TBUF: Final = 4
VIRQ_DEBUGGER: Final = 6
VIRQ_XENOPROF: Final = 7
VIRQ_CON_RING: Final = 8
VIRQ_PCPU_STATE: Final = 9
VIRQ_MEM_EVENT: Final = 10
NR_VIRQS: Final = 24
GLOBAL_VIRQS: Final = frozenset({2, 3, 4, 6, 8, 9, 10})

VIRQ_NAMES: Final = {0: "VIRQ_TIMER", 1: "VIRQ_DEBUG", 2: "VIRQ_CONSOLE", 3: "VIRQ_DOM_EXC"}
