"""hypervisor: what runs below the domains: memory, event channels, grant tables, scheduling, and the one hypercall table.

    gate.call(nr, op, arg) ──▶ HYPERCALLS[nr][op](hypervisor, domain, arg, count) ──▶ 0 or more, or -errno

Sources: xen/common/{event_channel,grant_table,schedule}.c and the public headers in `abi`.  Read memory, domain, then hypercalls.
"""

from mirage_lab.xen.hypervisor.domain import Domain, DomainStatistics
from mirage_lab.xen.hypervisor.hypervisor import Hypervisor

__all__ = ["Domain", "DomainStatistics", "Hypervisor"]
