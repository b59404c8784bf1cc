"""event_channel.h: operations of hypercall 32 and their arguments."""

import struct
from typing import Final

BIND_INTERDOMAIN: Final = 0
BIND_VIRQ: Final = 1
BIND_PIRQ: Final = 2
CLOSE: Final = 3
SEND: Final = 4
STATUS: Final = 5
ALLOC_UNBOUND: Final = 6
BIND_IPI: Final = 7
BIND_VCPU: Final = 8
UNMASK: Final = 9
RESET: Final = 10
INIT_CONTROL: Final = 11
EXPAND_ARRAY: Final = 12
SET_PRIORITY: Final = 13

OP_NAMES: Final = {
    0: "bind_interdomain",
    1: "bind_virq",
    2: "bind_pirq",
    3: "close",
    4: "send",
    5: "status",
    6: "alloc_unbound",
    7: "bind_ipi",
    8: "bind_vcpu",
    9: "unmask",
    10: "reset",
    11: "init_control",
    12: "expand_array",
    13: "set_priority",
}

PORT: Final = struct.Struct("<I")
"""close, send, unmask: port."""

BIND_INTERDOMAIN_ARG: Final = struct.Struct("<H2xII")
"""remote_dom, remote_port; out: local_port at 8."""

BIND_VIRQ_ARG: Final = struct.Struct("<III")
"""virq, vcpu; out: port at 8."""

ALLOC_UNBOUND_ARG: Final = struct.Struct("<HHI")
"""dom, remote_dom; out: port at 4."""

BIND_IPI_ARG: Final = struct.Struct("<II")
"""vcpu; out: port at 4."""

BIND_VCPU_ARG: Final = struct.Struct("<II")
"""port, vcpu."""

RESET_ARG: Final = struct.Struct("<H")
"""dom."""

STATUS_ARG: Final = struct.Struct("<H2xIII8s")
"""dom, port; out: status at 8, vcpu at 12, a union at 16: unbound {dom}, interdomain {dom u16, port u32 at 4}, virq."""

# status
CLOSED: Final = 0
UNBOUND: Final = 1
INTERDOMAIN: Final = 2
PIRQ: Final = 3
VIRQ: Final = 4
IPI: Final = 5

STATUS_NAMES: Final = {0: "closed", 1: "unbound", 2: "interdomain", 3: "pirq", 4: "virq", 5: "ipi"}
