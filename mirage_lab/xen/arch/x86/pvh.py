"""pvh: the vCPU of a PVH guest: one exit after another, each a step of the domain's run queue.

    step:  an upcall is due and the guest lets it in? deliver its vector ─▶ cpu.run ─▶ what the exit asks ─▶ next step, or wait

A guest that halts, blocks or polls has no next step: `kick` gives it one when something came.  A step costs an exit, and a
nanosecond for each instruction.
"""

from __future__ import annotations

import mmap
from typing import Any, Final

from mirage_lab.runtime import costs
from mirage_lab.signatures.units import Ns, ms
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.x86 import X86
from mirage_lab.xen.abi import hvm, sched, shared_info
from mirage_lab.xen.abi.errno import EINVAL, ENOSYS, EPERM, ESRCH
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.xen import DOMID_SELF, PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.x86.calls import hypercall
from mirage_lab.xen.arch.x86.cpuid import cpuid
from mirage_lab.xen.hypervisor import Domain, Hypervisor

__all__ = ["LAPIC", "Pvh"]

LAPIC: Final = 0xFEE0_0000
SLICE: Final = 200_000
"""Instructions of one step at most."""
HORIZON: Final = ms(1)
"""How far a step may see the clock run: what others do meanwhile comes later."""
HIGHEST_GPFN: Final = 1 << 28
MOST_PLACED: Final = 128
APIC_BASE_MSR: Final = 0x1B
VMCALL: Final = b"\x0f\x01\xc1"
_APIC_VERSION, _APIC_EOI, _APIC_SVR = 0x30, 0xB0, 0xF0


def hypercall_page() -> bytes:
    """Return the page of entries `mov eax, N; vmcall; ret`, 32 bytes each."""
    entries = (b"\xb8" + number.to_bytes(4, "little") + VMCALL + b"\xc3" for number in range(PAGE_SIZE // hvm.HYPERCALL_SLOT))
    return b"".join(entry.ljust(hvm.HYPERCALL_SLOT, b"\xcc") for entry in entries)


class Pvh:
    """The one vCPU of a PVH domain."""

    def __init__(self, xen: Hypervisor, domain: Domain, params: dict[int, int], regions: list[tuple[int, int, int]]) -> None:
        self.xen = xen
        self.domain = domain
        self.params = params
        self.vector = 0
        self.through_lapic = False
        self.in_service = False
        self.exits = 0
        self.instructions = 0
        self.latest: Exit | None = None
        self._regions = regions
        self._halted = False
        self._posted = False
        self._placed: dict[int, mmap.mmap] = {}
        self.cpu = cpu = X86(self._clock, cpuid, look_ns=costs.EXIT)
        cpu.map(0, domain.memory.view)
        cpu.emulator.device(LAPIC, PAGE_SIZE, self._lapic_read, self._lapic_write)
        domain.memory.access = cpu
        domain.machine = self
        kind = domain.queue.kind
        self.k_exit, self.k_upcall = kind("vcpu.exit"), kind("evtchn.upcall")

    def __repr__(self) -> str:
        return f"<Pvh {self.domain.name} {self.exits:,} exits, {self.instructions:,} instructions, last {self.latest!r}>"

    def _clock(self) -> int:
        return self.xen.world.now - self.domain.created

    # steps -------------------------------------------------------------------------------------------------------

    def start(self, entry: int, start_info: int) -> None:
        """Put the CPU at the entry; it runs when the domain is unpaused."""
        self.cpu.enter32(entry, start_info)
        self._post()

    def _post(self) -> None:
        if not self._posted:
            self._posted = True
            self.domain.queue.post(self._step)

    @property
    def _due(self) -> bool:
        """True if the guest is to be interrupted."""
        return bool(self.domain.shared[shared_info.UPCALL_PENDING] and self.vector and not self.in_service)

    def kick(self) -> None:
        """Something came: a CPU that halts looks at it, one that blocks or polls is told by the hypervisor."""
        if not self.domain.blocked and self.domain.reason is None and (not self._halted or self._due):
            self._post()

    def _step(self) -> None:
        self._posted = False
        domain = self.domain
        if domain.reason is not None or domain.blocked:
            return
        cpu, world = self.cpu, self.xen.world
        if self._due:
            self._halted = False
            if cpu.interruptible:
                self._upcall()
        if self._halted or domain.reason is not None:
            return
        next_event = world.next_deadline
        horizon = self._clock() + (HORIZON if next_event is None else max(costs.EXIT, min(HORIZON, next_event - world.now)))
        found = self.latest = cpu.run(SLICE, horizon)
        self.exits += 1
        self.instructions += found.instructions
        domain.queue.charge(Ns(found.instructions + (cpu.looks + 1) * costs.EXIT))
        if self.k_exit.on:
            fields: dict[str, Any] = {"why": found.why.value, "instructions": found.instructions, "pc": cpu.read("rip")}
            world.cause = self.k_exit.emit(world.now, domain.name, world.cause, fields)
        self._answer(found)
        if domain.reason is None and not domain.blocked and not self._halted and not self._posted:
            self._posted = True
            domain.queue.again(self._step)

    def _answer(self, found: Exit) -> None:
        match found.why:
            case Why.HYPERCALL:
                hypercall(self.xen, self.domain, self.cpu)
            case Why.MSR:
                self._msr(found)
            case Why.HALT:
                self._halt()
            case Why.EXCEPTION:
                if not self.cpu.deliver(found.vector, found.error):
                    self.crash(self._triple(found))
            case Why.FAULT:
                self.crash(found.detail)
            case Why.BUDGET | Why.TIME | Why.BREAK:
                pass

    def _halt(self) -> None:
        if not self.cpu.read("eflags") & 1 << 9:
            self.xen.shutdown(self.domain, sched.SHUTDOWN_POWEROFF)  # nothing can wake it: as Xen does with the last vCPU
            return
        self._halted = not self._due

    def _upcall(self) -> None:
        """Enter the guest's handler of event channels."""
        domain, world = self.domain, self.xen.world
        domain.upcalls += 1
        if self.k_upcall.on:
            ports = domain.ports.pending(domain.shared_words) if not domain.narrow else []
            world.cause = self.k_upcall.emit(world.now, domain.name, world.cause, {"ports": ports})
        self.in_service = self.through_lapic
        if not self.cpu.deliver(self.vector):
            self.crash(f"the callback vector {self.vector} leads to no handler in its descriptor table")

    def _triple(self, found: Exit) -> str:
        names = {0: "division by zero", 6: "an instruction that is none", 13: "a general protection fault", 14: "a page fault"}
        what = names.get(found.vector, f"exception {found.vector}")
        where = f" at {self.cpu.read('rip'):#x}"
        touched = f", on address {self.cpu.read('cr2'):#x}" if found.vector == 14 else ""
        return f"{what}{where}{touched}, and the guest has no handler for it (a triple fault)"

    def crash(self, why: str) -> None:
        """End the domain, and tell the person why."""
        queue = self.domain.queue
        kind = queue.kind("task.crashed")
        if kind.on:
            kind.emit(queue.now, self.domain.name, self.xen.world.cause, {"text": why, "place": "", "task": "vcpu 0"})
        self.xen.world.report(self.domain.name, f"crashed: {why}")
        self.xen.say(f"(XEN) d{self.domain.domid}v0 {why}")
        self.xen.shutdown(self.domain, sched.SHUTDOWN_CRASH)

    def close(self) -> None:
        """The domain is gone."""

    # model-specific registers and the local APIC -----------------------------------------------------------------

    def _msr(self, found: Exit) -> None:
        cpu = self.cpu
        if found.value is None:
            value = LAPIC | 0x900 if found.number == APIC_BASE_MSR else 0
            cpu.write("rax", value & 0xFFFF_FFFF)
            cpu.write("rdx", value >> 32)
        elif found.number == hvm.HYPERCALL_MSR:
            page = cpu.physical(found.value & ~0xFFF, PAGE_SIZE)
            if page is not None:
                page[:] = hypercall_page()
                cpu.emulator.forget_code(found.value & ~0xFFF, PAGE_SIZE)

    def _lapic_read(self, offset: int, size: int) -> int:
        return 0x0005_0014 if offset == _APIC_VERSION else 0x1FF if offset == _APIC_SVR else 0

    def _lapic_write(self, offset: int, size: int, value: int) -> None:
        if offset == _APIC_EOI:
            self.in_service = False

    # what the hypervisor asks of it ------------------------------------------------------------------------------

    def memory_map(self) -> list[tuple[int, int, int]]:
        """Return (address, size, type) of each region."""
        return self._regions

    def _place(self, gpfn: int) -> memoryview | int:
        """Return the page at a guest frame, made there if it lies beyond RAM; or a negative errno."""
        if gpfn < self.domain.memory.nr_pages:
            return self.domain.memory.view[gpfn << PAGE_SHIFT : (gpfn + 1) << PAGE_SHIFT]
        if gpfn >= HIGHEST_GPFN or gpfn == LAPIC >> PAGE_SHIFT or len(self._placed) >= MOST_PLACED:
            return -EINVAL
        if gpfn not in self._placed:
            page = mmap.mmap(-1, PAGE_SIZE)
            try:
                self.cpu.map(gpfn << PAGE_SHIFT, page)
            except ValueError:
                return -EINVAL
            self._placed[gpfn] = page
        return memoryview(self._placed[gpfn])

    def _latch(self) -> None:
        """Have shared_info the layout of the mode the guest is in (hvm_latch_shinfo_size)."""
        domain = self.domain
        domain.narrow = not self.cpu.long_mode
        epoch = self.xen.world.epoch_ns + domain.created
        shared_info.write_times(domain.shared, epoch, shared_info.WC_32 if domain.narrow else shared_info.WC)

    def place_shared_info(self, gpfn: int) -> int:
        """XENMAPSPACE_shared_info."""
        page = self._place(gpfn)
        if isinstance(page, int):
            return page
        self.domain.place_shared(page)
        self._latch()
        return 0

    def place_grant_frame(self, index: int, gpfn: int) -> int:
        """XENMAPSPACE_grant_table."""
        page = self._place(gpfn)
        if isinstance(page, int):
            return page
        self.domain.grants.place(self.xen, index, page)
        return 0

    def hvm_op(self, op: int, arg: Arg) -> int:
        """Hypercall 34: parameters, and the vector of the upcall."""
        if op == hvm.SET_EVTCHN_UPCALL_VECTOR:
            vcpu, vector = hvm.UPCALL_VECTOR_ARG.unpack_from(arg)
            if vcpu != 0 or vector < 16:
                return -EINVAL
            self.vector, self.through_lapic = vector, True
            return 0
        domid, index, value = hvm.PARAM_ARG.unpack_from(arg)
        if domid not in (DOMID_SELF, self.domain.domid):
            return -EPERM if domid in self.xen.domains else -ESRCH
        if index >= hvm.NR_PARAMS:
            return -EINVAL
        if op == hvm.GET_PARAM:
            hvm.PARAM_ARG.pack_into(arg, 0, domid, index, self.params.get(index, 0))
            return 0
        if index == hvm.CALLBACK_IRQ:
            return self._set_callback(value)
        return -EPERM if index in hvm.PARAM_NAMES else -ENOSYS

    def _set_callback(self, value: int) -> int:
        self.params[hvm.CALLBACK_IRQ] = value
        self._latch()
        if value >> 56 == hvm.CALLBACK_VECTOR:
            self.vector, self.through_lapic = value & 0xFF, False
            self.kick()
        return 0
