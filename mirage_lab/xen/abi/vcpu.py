"""vcpu.h: operations of hypercall 24; `count` of the gate is the vCPU."""

import struct
from typing import Final

INITIALISE: Final = 0
UP: Final = 1
DOWN: Final = 2
IS_UP: Final = 3
REGISTER_RUNSTATE_MEMORY_AREA: Final = 5
SET_SINGLESHOT_TIMER: Final = 8
STOP_SINGLESHOT_TIMER: Final = 9
REGISTER_VCPU_INFO: Final = 10

OP_NAMES: Final = {
    0: "initialise",
    1: "up",
    2: "down",
    3: "is_up",
    5: "register_runstate_memory_area",
    8: "set_singleshot_timer",
    9: "stop_singleshot_timer",
    10: "register_vcpu_info",
}

SINGLESHOT_ARG: Final = struct.Struct("<QI4x")
"""timeout_abs_ns, flags."""

REGISTER_INFO_ARG: Final = struct.Struct("<QI4x")
"""mfn (on ARM and in PVH guests a frame number of their own), offset."""

RUNSTATE_ARG: Final = struct.Struct("<Q")
"""Where the guest wants its vcpu_runstate_info, an address of its own."""

RUNSTATE_RUNNING: Final = 0
RUNSTATE_RUNNABLE: Final = 1
RUNSTATE_BLOCKED: Final = 2
RUNSTATE_OFFLINE: Final = 3
RUNSTATE_INFO: Final = struct.Struct("<I4xQ4Q")
RUNSTATE_INFO_32: Final = struct.Struct("<IQ4Q")
"""state, state_entry_time, time spent in each state, ns; that of 32-bit x86 is packed closer."""

SSHOTTMR_FUTURE: Final = 1
"""Refuse a timeout that has passed with -ETIME."""
