"""The border between a kernel and the hypervisor: a gate to call through and a memory to share.

Guests and dom0 are written against these two protocols; `hypervisor` fulfils them.
"""

from collections.abc import Callable
from typing import Protocol

from mirage_lab.xen.abi.xen import Domid, Mfn, Pfn

Arg = bytearray | memoryview
"""The structures of a hypercall, read and written in place."""


class Memory(Protocol):
    """A domain's address space: its RAM from virtual address 0, then what it has mapped beyond it."""

    nr_pages: int
    view: memoryview
    """All RAM as one writable view; `page(pfn)` is a slice of it."""

    @property
    def demand(self) -> int:
        """First address free for mappings (foreign pages, grant frames): one page past the end of RAM."""

    def page(self, pfn: Pfn) -> memoryview:
        """Return RAM page `pfn`, 4096 writable bytes, shared with whoever it is granted to."""

    def mfn(self, pfn: Pfn) -> Mfn:
        """Return the machine frame of RAM page `pfn` (what a grant entry or a GNTTABOP_copy names)."""

    def at(self, address: int) -> memoryview:
        """Return the page at a virtual address: RAM, or mapped there by map_grant_ref or update_va_mapping.

        The view of a mapped page is released by unmap: using it later raises ValueError, as touching it would fault.
        Raises KeyError where nothing is mapped.
        """


class Gate(Protocol):
    """The hypercall gate of one domain."""

    domid: Domid

    @property
    def memory(self) -> Memory:
        """The domain's memory."""

    def call(self, nr: int, op: int, arg: Arg | None = None, count: int = 1) -> int:
        """Make hypercall `nr`; `op` is its command and `arg` its structures, `count` of them.

        Returns 0 or more, or a negative errno; never raises.  For console_io `count` is the number of bytes, for vcpu_op
        the vCPU.  set_timer_op takes the deadline (u64) and update_va_mapping (va, pte, flags: 3 x u64) from `arg`.
        """

    def on_upcall(self, upcall: Callable[[], None]) -> None:
        """Name the event callback: posted to the domain's queue when an unmasked port becomes pending."""

    def take_cause(self, port: int) -> int:
        """Return, once, the id of the event that made `port` pending (for the trace; 0 if none)."""
