"""Domain: what the hypervisor knows of one domain, and its hypercall gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mirage_lab.runtime import RunQueue, Timer, costs
from mirage_lab.signatures.units import Ns
from mirage_lab.xen.abi import shared_info
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.xen import PAGE_SIZE, Domid
from mirage_lab.xen.hypervisor.event_channel import Ports
from mirage_lab.xen.hypervisor.grant_table import GrantTable
from mirage_lab.xen.hypervisor.memory import DomainMemory

if TYPE_CHECKING:
    from mirage_lab.xen.hypervisor.hypervisor import Hypervisor

__all__ = ["Domain", "DomainGate", "DomainStatistics", "MachineVcpu"]


@dataclass(frozen=True, slots=True)
class DomainStatistics:
    """Virtual CPU time (ns), hypercalls by name, events sent and received, grants in use, pages."""

    cpu_ns: Ns
    steps: int
    hypercalls: dict[str, int]
    events_sent: int
    upcalls: int
    mapped_grants: int
    pages: int


class MachineVcpu(Protocol):
    """What runs the code of a domain that is machine code (see `arch`)."""

    translated: bool
    """True if Xen translates for it: it knows its frames by its own numbers only."""
    ended: str
    """Why it was ended without asking for it; empty otherwise."""
    features: tuple[int, ...]
    """What it is offered (features.h)."""

    @property
    def halted(self) -> bool:
        """True while the CPU waits for an interrupt."""

    def kick(self) -> None:
        """Something it may wait for has happened."""

    def place_shared_info(self, gpfn: int) -> int:
        """Have shared_info appear at a guest page (XENMAPSPACE_shared_info); 0 or a negative errno."""

    def place_runstate(self, address: int) -> int:
        """Have vcpu_runstate_info appear at an address of the guest's, and be kept up to date; 0 or a negative errno."""

    def place_grant_frame(self, index: int, gpfn: int) -> int:
        """Have a frame of the grant table appear at a guest page (XENMAPSPACE_grant_table); 0 or a negative errno."""

    def map_grant(self, address: int, flags: int, page: memoryview) -> int:
        """Have a granted page appear where the guest wants it (map_grant_ref); 0 or a negative GNTST."""

    def unmap_grant(self, address: int) -> int:
        """Have it disappear; 0 or a negative GNTST."""

    def hide(self, pfn: int, count: int) -> bool:
        """Have the guest see no memory where some pages of its RAM are; False if it must be left as it is."""

    def show(self, pfn: int, count: int) -> bool:
        """Have the guest see pages of its RAM again."""

    def lend(self, pfn: int, step: int) -> bool:
        """Count a use of a page for writing by others begun (1) or ended (-1), or ask (0); False if nobody may write it by the way."""

    def remove(self, gpfn: int) -> int:
        """Take away what add_to_physmap put beyond RAM; 0 or a negative errno."""

    def hvm_op(self, op: int, arg: Arg) -> int:
        """Answer hypercall 34; 0 or a negative errno."""

    def arch_call(self, number: int, arg: Arg) -> int:
        """Answer a hypercall of PV guests alone, whose arguments are in `arg`; 0 or more, or a negative errno."""

    def memory_map(self) -> list[tuple[int, int, int]]:
        """Return (address, size, type) of each region, as e820 has them."""

    def close(self) -> None:
        """The domain is gone."""


class Domain:
    """A domain.  The toolstack creates and destroys; the domain's own code reaches in only by its gate."""

    __slots__ = (
        "blocked",
        "causes",
        "created",
        "delivering",
        "domid",
        "events_sent",
        "gate",
        "grants",
        "hypercalls",
        "info",
        "info_placed",
        "info_words",
        "layout",
        "machine",
        "memory",
        "name",
        "paused",
        "poll_timer",
        "polling",
        "ports",
        "queue",
        "reason",
        "shared",
        "shared_words",
        "timer",
        "upcall",
        "upcalls",
    )

    def __init__(self, hypervisor: Hypervisor, domid: Domid, name: str, memory: DomainMemory, queue: RunQueue) -> None:
        self.domid = domid
        self.name = name
        self.memory = memory
        self.queue = queue
        self.created = queue.now
        self.paused = True
        self.blocked = False
        self.polling: frozenset[int] | None = None
        self.poll_timer: Timer | None = None
        self.delivering = False
        self.reason: int | None = None
        self.shared = memoryview(bytearray(PAGE_SIZE))
        self.shared_words = self.shared.cast("Q")
        self.layout = shared_info.X86_64
        self.info_placed = False
        """True once vcpu_info lies where the guest has asked for it, and not in shared_info any more."""
        self.info = self.shared[: shared_info.VCPU_INFO_SIZE]
        self.info_words = self.info.cast("Q")
        self.ports = Ports()
        self.grants = GrantTable()
        self.causes: dict[int, int] = {}
        self.hypercalls: dict[tuple[int, int], int] = {}
        self.events_sent = 0
        self.upcalls = 0
        self.upcall: Callable[[], None] | None = None
        self.timer: Timer | None = None
        self.machine: MachineVcpu | None = None
        self.gate = DomainGate(hypervisor, self)

    def __repr__(self) -> str:
        return f"<Domain {self.domid} {self.name} {self.state}>"

    @property
    def state(self) -> str:
        """`paused`, `running`, `blocked`, `shutdown` or `crashed`."""
        if self.reason is not None:
            return "crashed" if self.reason in (3, 4) else "shutdown"
        if self.paused:
            return "paused"
        waits = self.blocked or (self.machine is not None and self.machine.halted)
        return "blocked" if waits else "running"

    @property
    def cpu_ns(self) -> Ns:
        """Virtual time its vCPU was busy."""
        return Ns(self.queue.steps * costs.STEP + sum(self.hypercalls.values()) * costs.HYPERCALL)

    @property
    def memory_mib(self) -> int:
        """Size of its RAM."""
        return self.memory.nr_pages >> 8

    def statistics(self) -> DomainStatistics:
        """Return the counters."""
        from mirage_lab.xen.hypervisor.hypercalls import name_of

        called: dict[str, int] = {}
        for (nr, op), count in sorted(self.hypercalls.items()):
            called[name_of(nr, op)] = count
        mapped = len(self.grants.handles)
        return DomainStatistics(self.cpu_ns, self.queue.steps, called, self.events_sent, self.upcalls, mapped, self.memory.nr_pages)

    # upcalls -----------------------------------------------------------------------------------------------------

    def raise_upcall(self) -> None:
        """Set evtchn_upcall_pending and, unless upcalls are masked, run the event callback on the vCPU."""
        self.info[shared_info.UPCALL_PENDING] = 1
        self.wake()
        if not self.info[shared_info.UPCALL_MASK]:
            self.deliver()

    def wake(self) -> None:
        """Neither blocked nor polling any more."""
        self.blocked = False
        if self.polling is not None:
            self.polling = None
            if self.poll_timer is not None:
                self.poll_timer.cancel()
                self.poll_timer = None
        if self.machine is not None:
            self.machine.kick()

    def place_shared(self, page: memoryview) -> None:
        """Have shared_info live in another page from now on, with what is in it."""
        page[:] = self.shared
        self.shared = page
        self.shared_words = page.cast("Q")
        if not self.info_placed:
            self.info_at(page[: self.layout.info_size])

    def info_at(self, info: memoryview) -> None:
        """Have vcpu_info be this piece of memory from now on."""
        self.info, self.info_words = info, info.cast("Q")

    def place_info(self, info: memoryview) -> None:
        """Have vcpu_info live elsewhere, with what is in it; everything counts as pending, so nothing is lost (map_vcpu_info)."""
        info[:] = self.info[: len(info)]
        self.info_placed = True
        self.info_at(info)
        info[shared_info.UPCALL_PENDING] = 1
        self.info_words[shared_info.SEL_WORD] = (1 << 64) - 1
        self.wake()

    @property
    def narrow(self) -> bool:
        """True once its shared_info has the layout of a 32-bit guest of x86."""
        return self.layout.selector_bits == 32

    @narrow.setter
    def narrow(self, value: bool) -> None:
        self.layout = shared_info.X86_32 if value else shared_info.X86_64

    def select(self, port: int) -> None:
        """Set the bit of evtchn_pending_sel that leads to a port: of 64 a bit, or of 32."""
        self.info_words[shared_info.SEL_WORD if not self.narrow else 0] |= 1 << (port >> 6 if not self.narrow else 32 + (port >> 5))

    @property
    def mask_word(self) -> int:
        """Where evtchn_mask begins in shared_info, in words of 64 bits."""
        return self.layout.mask_word

    @property
    def pending_ports(self) -> list[int]:
        """The ports that are pending, selected and not masked."""
        return self.ports.pending(self.shared_words, self.info_words[shared_info.SEL_WORD], self.layout) if not self.narrow else []

    def block(self) -> None:
        """Let upcalls through and wait, unless one is due already (vcpu_block_enable_events)."""
        info = self.info
        self.wake()
        info[shared_info.UPCALL_MASK] = 0
        if info[shared_info.UPCALL_PENDING]:
            self.deliver()
        else:
            self.blocked = True

    def deliver(self) -> None:
        """Have the event callback run as the vCPU's next step; once, however often this is called before it ran."""
        if self.upcall is not None and not self.delivering:
            self.delivering = True
            self.queue.post(self._upcall_runs)

    def _upcall_runs(self) -> None:
        self.delivering = False
        self.upcalls += 1
        self.wake()
        queue = self.queue
        kind = queue.kind("evtchn.upcall")
        if kind.on:
            world = queue.world
            world.cause = kind.emit(world.now, self.name, world.cause, {"ports": self.pending_ports})
        if self.upcall is not None:
            self.upcall()


class DomainGate:
    """The way from a domain's code to the hypervisor (see `abi.gate.Gate`)."""

    __slots__ = ("_domain", "_hypervisor", "domid", "memory")

    def __init__(self, hypervisor: Hypervisor, domain: Domain) -> None:
        self._hypervisor = hypervisor
        self._domain = domain
        self.domid = domain.domid
        self.memory = domain.memory

    def call(self, nr: int, op: int, arg: Arg | None = None, count: int = 1) -> int:
        """Make a hypercall; returns 0 or more, or a negative errno."""
        return self._hypervisor.hypercall(self._domain, nr, op, arg, count)

    def on_upcall(self, upcall: Callable[[], None]) -> None:
        """Name the event callback."""
        self._domain.upcall = upcall
        if self._domain.info[shared_info.UPCALL_PENDING]:
            self._domain.deliver()

    def take_cause(self, port: int) -> int:
        """Return, once, the id of the event that made `port` pending."""
        return self._domain.causes.pop(port, 0)
