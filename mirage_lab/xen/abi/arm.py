"""arm: the machine an ARM guest sees: where memory and devices are, and its interrupts (arch-arm.h).

    0x03001000 GIC distributor │ 0x03002000 GIC CPU interface │ 0x38000000 for grants │ 0x39000000 rings │ 0x40000000 RAM

A guest finds these in its device tree; constants are for whoever builds it.
"""

from typing import Final

GICD_BASE: Final = 0x0300_1000
GICD_SIZE: Final = 0x1000
GICC_BASE: Final = 0x0300_2000
GICC_SIZE: Final = 0x2000
GNTTAB_BASE: Final = 0x3800_0000
GNTTAB_SIZE: Final = 0x0100_0000
MAGIC_BASE: Final = 0x3900_0000
CONSOLE_PFN_OFFSET: Final = 0
XENSTORE_PFN_OFFSET: Final = 1
MAGIC_PAGES: Final = 2
RAM_BASE: Final = 0x4000_0000

TIMER_VIRT_PPI: Final = 27
TIMER_PHYS_S_PPI: Final = 29
TIMER_PHYS_NS_PPI: Final = 30
EVTCHN_PPI: Final = 31

PSCI_CPU_OFF: Final = 1
PSCI_CPU_ON: Final = 2
"""Numbers of PSCI 0.1, which the device tree says."""
