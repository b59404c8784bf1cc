"""Hypervisor: domains, machine frames, and the door every hypercall comes through."""

from __future__ import annotations

import struct
from typing import Final

from mirage_lab.runtime import World, costs
from mirage_lab.runtime.clock import show
from mirage_lab.signatures.errors import MirageError
from mirage_lab.tracing.recorder import Kind
from mirage_lab.xen.abi import sched, shared_info
from mirage_lab.xen.abi.errno import EFAULT, EINVAL, ENOSYS
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.xen import DOMID_FIRST_RESERVED, Domid, Mfn
from mirage_lab.xen.hypervisor import event_channel, grant_table
from mirage_lab.xen.hypervisor.decoding import arguments, outcome
from mirage_lab.xen.hypervisor.domain import Domain
from mirage_lab.xen.hypervisor.hypercalls import ANY, HYPERCALLS, UNKNOWN, name_of
from mirage_lab.xen.hypervisor.memory import DomainMemory

__all__ = ["Hypervisor"]

DMESG: Final = 2_000
FIRST_MFN: Final = 0x1000
XEN_FRAMES: Final = 1 << 27
"""Frames the hypervisor owns itself (grant tables) are counted from here: the CPUs of guests have 40 bits of address."""
SHARED_FRAMES: Final = XEN_FRAMES + (1 << 26)
"""The shared_info pages, by domid."""
PRIVATE_FRAMES: Final = SHARED_FRAMES + (1 << 25)
"""Of each PV guest's CPU: what only the hypervisor has there."""
_NO_ARG: Final = bytearray(0)


class Hypervisor:
    """Xen, as far as domains can see."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.domains: dict[int, Domain] = {}
        self.dmesg: list[str] = []
        self._next_domid = 0
        self._next_mfn = FIRST_MFN
        self._own: dict[int, memoryview] = {}
        kind = world.recorder.kind
        self.k_hypercall, self.k_notify = kind("xen.hypercall"), kind("evtchn.notify")
        self.k_map, self.k_unmap, self.k_copy = kind("gnttab.map"), kind("gnttab.unmap"), kind("gnttab.copy")

    def __repr__(self) -> str:
        return f"<Hypervisor {len(self.domains)} domains at t = {show(self.world.now)}>"

    def say(self, text: str) -> None:
        """Add a line to dmesg; the oldest go when there are many."""
        self.dmesg.append(f"[{self.world.now / 1e9:12.6f}] {text[:512]}")
        if len(self.dmesg) > DMESG:
            del self.dmesg[: DMESG // 4]

    # domains -----------------------------------------------------------------------------------------------------

    def create_domain(self, name: str, nr_pages: int, *, guest: bool = True, translated: int | None = None) -> Domain:
        """Return a new domain, paused, with its memory, shared_info and the first frame of its grant table.

        `translated`: the guest knows its frames by its own numbers only (HVM, PVH, ARM), this is the first; never by the machine's.
        """
        domid = self._free_domid()
        memory = DomainMemory(nr_pages, self._free_frames(nr_pages) if translated is None else Mfn(translated))
        queue = self.world.queue(name)
        queue.guest = guest
        domain = Domain(self, domid, name, memory, queue)
        queue.pause()
        shared_info.write_times(domain.shared, self.world.epoch_ns + self.world.now)
        domain.grants.grow(self, 1)
        self.domains[domid] = domain
        self._tell("domain.created", domain)
        self.say(f"(XEN) domain {domid} ({name}) created: {nr_pages >> 8} MiB")
        return domain

    def _free_domid(self) -> Domid:
        while True:
            domid, self._next_domid = self._next_domid, (self._next_domid + 1) % DOMID_FIRST_RESERVED
            if domid not in self.domains:
                return Domid(domid)

    def _free_frames(self, nr_pages: int) -> Mfn:
        """Return the first of some machine frames in a row that are no domain's: the next ones, and when those are used up the lowest."""
        first = self._next_mfn
        if first + nr_pages > XEN_FRAMES:
            first = FIRST_MFN
            for memory in sorted((domain.memory for domain in self.domains.values() if domain.memory.base >= FIRST_MFN), key=lambda memory: memory.base):
                if first + nr_pages <= memory.base:
                    break
                first = max(first, memory.base + memory.nr_pages)
            if first + nr_pages > XEN_FRAMES:
                raise MirageError(f"this machine has no {nr_pages >> 8} MiB in a row left: destroy some domains")
        self._next_mfn = first + nr_pages
        return Mfn(first)

    def domain(self, domid: int) -> Domain | None:
        """Return a domain by number."""
        return self.domains.get(domid)

    def unpause(self, domain: Domain) -> None:
        """Let its vCPU run."""
        if domain.paused and domain.reason is None:
            domain.paused = False
            domain.queue.resume()
            self._tell("domain.unpaused", domain)

    def pause(self, domain: Domain) -> None:
        """Stop its vCPU."""
        if not domain.paused and domain.reason is None:
            domain.paused = True
            domain.queue.pause()
            self._tell("domain.paused", domain)

    def shutdown(self, domain: Domain, reason: int) -> None:
        """A domain ends itself, or is crashed: it keeps its memory and name until it is destroyed."""
        if domain.reason is not None:
            return
        domain.reason = reason
        self._end(domain)
        crashed = domain.state == "crashed"
        self._tell("domain.crashed" if crashed else "domain.shutdown", domain, reason=sched.REASON_NAMES[reason])
        self.say(f"(XEN) domain {domain.domid} ({domain.name}) {'crashed' if crashed else 'shut down'}: {sched.REASON_NAMES[reason]}")

    def destroy(self, domain: Domain) -> None:
        """Remove a domain: ports closed, grants it had mapped ended.  Pages others have mapped live on until unmapped."""
        domain.reason = domain.reason if domain.reason is not None else sched.SHUTDOWN_POWEROFF
        self._end(domain)
        for port, _ in domain.ports.items():
            event_channel.close(self, domain, port)
        for handle, mapping in list(domain.grants.handles.items()):
            grant_table.unmap_one(self, domain, handle, mapping.address)
        for mfn in domain.grants.mfns:
            self._own.pop(mfn, None)
        self.domains.pop(domain.domid, None)
        self._tell("domain.destroyed", domain)
        self.say(f"(XEN) domain {domain.domid} ({domain.name}) destroyed")

    def _end(self, domain: Domain) -> None:
        if domain.timer is not None:
            domain.timer.cancel()
            domain.timer = None
        domain.wake()
        domain.queue.close()
        if domain.machine is not None:
            domain.machine.close()

    def _tell(self, kind: str, domain: Domain, **fields: object) -> None:
        found = self.world.recorder.kind(kind)
        if found.on:
            found.emit(self.world.now, domain.name, self.world.cause, {"domid": domain.domid, **fields})

    def grant_event(self, kind: Kind, domain: Domain, owner: Domain, ref: int) -> None:
        """Emit gnttab.map or gnttab.unmap."""
        if kind.on:
            kind.emit(self.world.now, domain.name, self.world.cause, {"owner": owner.domid, "ref": ref})

    # machine frames ----------------------------------------------------------------------------------------------

    def own_frame(self, page: memoryview) -> Mfn:
        """Give a page of the hypervisor's own a machine frame number."""
        mfn = XEN_FRAMES + len(self._own)
        while mfn in self._own:
            mfn += 1
        self._own[mfn] = page
        return Mfn(mfn)

    @property
    def highest_mfn(self) -> int:
        """The last machine frame that is anybody's RAM."""
        return self._next_mfn - 1

    def replace_frame(self, mfn: Mfn, page: memoryview) -> None:
        """Have another page behind a machine frame number of the hypervisor's own."""
        self._own[mfn] = page

    def frame_of(self, domain: Domain, mfn: int) -> memoryview | None:
        """Return the page a domain may map by number: its own, its shared_info, its grant frames."""
        if domain.memory.owns(mfn):
            return domain.memory.frame(mfn)
        if mfn in domain.grants.mfns or mfn == shared_info_mfn(domain):
            return domain.shared if mfn == shared_info_mfn(domain) else self._own[mfn]
        return None

    # hypercalls --------------------------------------------------------------------------------------------------

    def hypercall(self, domain: Domain, nr: int, op: int, arg: Arg | None, count: int) -> int:
        """Charge, note and carry out a hypercall."""
        world = self.world
        domain.queue.charge(costs.HYPERCALL)
        ops = HYPERCALLS.get(nr, {})
        handler = ops.get(op) or ops.get(ANY)
        key = UNKNOWN if handler is None else (nr, op if op in ops else ANY)
        domain.hypercalls[key] = domain.hypercalls.get(key, 0) + 1
        fields, before = None, world.cause
        if self.k_hypercall.on:
            fields = {"name": name_of(nr, op), "op": op, "args": arguments(nr, op, arg, count), "ret": 0}
            world.cause = self.k_hypercall.emit(world.now, domain.name, world.cause, fields)
        if handler is None:
            ret = -ENOSYS
        elif arg is not None and count < 0:
            ret = -EINVAL
        else:
            try:
                ret = handler(self, domain, _NO_ARG if arg is None else arg, count)
            except (struct.error, IndexError, ValueError):
                ret = -EFAULT  # the structure does not lie where the domain says
        if fields is not None:
            world.cause = before
            if ret:
                fields["ret"] = ret
            elif told := outcome(nr, op, arg, count):
                fields["out"] = told
        return ret

    def refused(self, domain: Domain, nr: int, op: int, ret: int, why: str) -> int:
        """Note a call that came to nothing before it was one: its structure is not where the guest says.  Returns `ret`."""
        if self.k_hypercall.on:
            fields = {"name": name_of(nr, op), "op": op, "args": why, "ret": ret}
            self.k_hypercall.emit(self.world.now, domain.name, self.world.cause, fields)
        return ret


def shared_info_mfn(domain: Domain) -> int:
    """Return the machine frame of a domain's shared_info page."""
    return SHARED_FRAMES + domain.domid


