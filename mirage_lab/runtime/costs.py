"""What running costs in virtual time: the one table.

The figures are round ones of the order of a 2014 server: they make a boot have a timeline and a spinning guest move the
clock; they are not a model of any one machine.
"""

from typing import Final

from mirage_lab.signatures.units import Ns

STEP: Final = Ns(1_000)
"""One step of a task or handler on a vCPU."""

HYPERCALL: Final = Ns(500)
"""One hypercall, added to the step that makes it."""

EXIT: Final = Ns(1_000)
"""One exit of a machine-code guest to the hypervisor."""

DISK_REQUEST: Final = Ns(100_000)
"""What a virtual disk needs for a request, however short."""

DISK_SECTOR: Final = Ns(1_000)
"""And for each sector of 512 bytes that it reads or writes: 512 MB/s."""

PAGE_TABLE_ENTRY: Final = Ns(1)
"""An entry of a page table that the hypervisor looks at."""

GRANT_PIECE: Final = Ns(200)
"""Each further grant of a hypercall of a machine-code guest that has several."""

REMAP: Final = Ns(20_000)
"""A change of what a machine-code guest sees where in its memory: its caches of translations are lost."""

HOST_TICK: Final = Ns(1_000_000)
"""Bytes of the host enter a world at multiples of this."""
