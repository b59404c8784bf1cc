"""builder: fills a new domain's memory before it first runs (libxc xc_dom_*, PV x86-64, in its order).

    pages   0 .. 15  the image      16  start_info      17  xenstore ring      18  console ring      19 ..  pfn -> mfn list
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

from mirage_lab.xen.abi import event_channel as evtchn
from mirage_lab.xen.abi import grant_table as gnt
from mirage_lab.xen.abi.shared_info import UPCALL_MASK
from mirage_lab.xen.abi.start_info import StartInfo
from mirage_lab.xen.abi.xen import PAGE_SHIFT, Domid, Pfn, Port
from mirage_lab.xen.hypervisor import Domain, Hypervisor
from mirage_lab.xen.hypervisor.event_channel import Channel
from mirage_lab.xen.hypervisor.hypervisor import shared_info_mfn

__all__ = ["Built", "build", "unbound"]

START_INFO: Final = Pfn(16)
STORE: Final = Pfn(17)
CONSOLE: Final = Pfn(18)
P2M: Final = Pfn(19)


@dataclass(frozen=True, slots=True)
class Built:
    """What the toolstack needs to know of a domain that was built."""

    start_info: Pfn
    store_port: Port
    console_port: Port
    store_mfn: int
    console_mfn: int


def build(xen: Hypervisor, domain: Domain, image: bytes, cmdline: str) -> Built:
    """Write image, magic pages, pfn list, start_info and the first grants; allocate the two event channels for dom0."""
    memory = domain.memory
    domain.shared[UPCALL_MASK] = 1
    store_port, console_port = (unbound(domain) for _ in range(2))
    head = image[: START_INFO << PAGE_SHIFT]
    memory.view[: len(head)] = head
    mfns = array("Q", range(memory.base, memory.base + memory.nr_pages)).tobytes()
    memory.view[P2M << PAGE_SHIFT : (P2M << PAGE_SHIFT) + len(mfns)] = mfns
    info = StartInfo(
        nr_pages=memory.nr_pages,
        shared_info=shared_info_mfn(domain) << PAGE_SHIFT,
        store_mfn=memory.mfn(STORE),
        store_evtchn=store_port,
        console_mfn=memory.mfn(CONSOLE),
        console_evtchn=console_port,
        mfn_list=P2M << PAGE_SHIFT,
        cmd_line=cmdline,
    )
    encoded = info.encode()
    memory.page(START_INFO)[: len(encoded)] = encoded
    for ref, pfn in ((gnt.GREF_CONSOLE, CONSOLE), (gnt.GREF_XENSTORE, STORE)):
        gnt.ENTRY.pack_into(domain.grants.frames[0], ref * gnt.ENTRY_SIZE, gnt.GTF_PERMIT_ACCESS, 0, memory.mfn(pfn))
    return Built(START_INFO, store_port, console_port, info.store_mfn, info.console_mfn)


def unbound(domain: Domain) -> Port:
    """Allocate a port of the domain that dom0 may bind."""
    return Port(domain.ports.allocate(Channel(evtchn.UNBOUND, Domid(0))))
