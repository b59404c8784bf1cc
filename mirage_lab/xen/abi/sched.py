"""sched.h: operations of hypercall 29, shutdown reasons, and their arguments."""

import struct
from typing import Final

YIELD: Final = 0
BLOCK: Final = 1
SHUTDOWN: Final = 2
POLL: Final = 3
REMOTE_SHUTDOWN: Final = 4
SHUTDOWN_CODE: Final = 5
WATCHDOG: Final = 6

OP_NAMES: Final = {0: "yield", 1: "block", 2: "shutdown", 3: "poll", 4: "remote_shutdown", 5: "shutdown_code", 6: "watchdog"}

SHUTDOWN_ARG: Final = struct.Struct("<I")
"""reason."""

POLL_ARG: Final = struct.Struct("<QI4xQ")
"""ports: address of nr_ports u32; nr_ports; timeout (absolute ns, 0 is none)."""

POLL_MAX_PORTS: Final = 128

SHUTDOWN_POWEROFF: Final = 0
SHUTDOWN_REBOOT: Final = 1
SHUTDOWN_SUSPEND: Final = 2
SHUTDOWN_CRASH: Final = 3
SHUTDOWN_WATCHDOG: Final = 4
SHUTDOWN_SOFT_RESET: Final = 5

REASON_NAMES: Final = {0: "poweroff", 1: "reboot", 2: "suspend", 3: "crash", 4: "watchdog", 5: "soft_reset"}
