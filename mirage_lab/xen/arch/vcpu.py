"""vcpu: the vCPU of a domain that is machine code: one exit after another, each a step of the domain's run queue.

    step:  an upcall is due and the guest lets it in? deliver it ─▶ cpu.run ─▶ what the exit asks ─▶ next step, or wait

A guest that halts, blocks or polls has no next step: `kick` gives it one when something came.  A step costs an exit, and a
nanosecond for each instruction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from mirage_lab.runtime import costs
from mirage_lab.runtime.tasks import Task
from mirage_lab.signatures.units import Ns, ms
from mirage_lab.vcpu.cpu import Cpu
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.xen.abi import sched, vcpu, version
from mirage_lab.xen.abi.errno import EFAULT, EINVAL
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.grant_table import GNTST_GENERAL_ERROR
from mirage_lab.xen.arch.cuts import Cuts
from mirage_lab.xen.arch.runstate import Runstate
from mirage_lab.xen.hypervisor import Domain, Hypervisor

__all__ = ["Vcpu"]

SLICE: Final = 100_000
"""Instructions of one step at most: those that store beside code take the emulator microseconds, a quarter of a second together."""
HORIZON: Final = ms(1)
"""How far a step may see the clock run: what others do meanwhile comes later."""


class Vcpu(ABC):
    """The one vCPU of a domain; what a kind of guest adds to it, its subclass says."""

    translated = False
    features: tuple[int, ...] = (version.FEATURE_PAE_PGDIR_ABOVE_4GB,)

    def __init__(self, xen: Hypervisor, domain: Domain, cpu: Cpu) -> None:
        self.xen = xen
        self.domain = domain
        self.cpu = cpu
        self.exits = 0
        self.instructions = 0
        self.latest: Exit | None = None
        self.entered = -1
        """How many exits there had been when a handler of interrupts was last entered."""
        self.ended = ""
        self._halted = False
        self._posted = False
        self._cuts: Cuts | None = None
        self.runstate: Runstate | None = None
        domain.memory.access = cpu
        domain.machine = self
        domain.queue.on_crash = self._failed
        kind = domain.queue.kind
        self.k_exit, self.k_upcall = kind("vcpu.exit"), kind("evtchn.upcall")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.domain.name} {self.exits:,} exits, {self.instructions:,} instructions, last {self.latest!r}>"

    # what a kind of guest says -----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _due(self) -> bool:
        """True if the guest is to be interrupted."""

    @abstractmethod
    def _upcall(self) -> None:
        """Enter the guest's handler of event channels; it is due, and the CPU lets it in."""

    @abstractmethod
    def _answer(self, found: Exit) -> None:
        """Do what an exit asks for, other than a budget that is used up."""

    @abstractmethod
    def place_shared_info(self, gpfn: int) -> int:
        """XENMAPSPACE_shared_info; 0 or a negative errno."""

    @abstractmethod
    def place_grant_frame(self, index: int, gpfn: int) -> int:
        """XENMAPSPACE_grant_table; 0 or a negative errno."""

    @abstractmethod
    def hvm_op(self, op: int, arg: Arg) -> int:
        """Answer hypercall 34; 0 or a negative errno."""

    @abstractmethod
    def arch_call(self, number: int, arg: Arg) -> int:
        """Answer a hypercall of PV guests alone, whose arguments are in `arg`; 0 or more, or a negative errno."""

    @abstractmethod
    def memory_map(self) -> list[tuple[int, int, int]]:
        """Return (address, size, type) of each region, as e820 has them."""

    def map_grant(self, address: int, flags: int, page: memoryview) -> int:
        """Have a granted page appear where the guest wants it; 0 or a negative GNTST.  One that maps nothing refuses."""
        return GNTST_GENERAL_ERROR

    def unmap_grant(self, address: int) -> int:
        """Have it disappear; 0 or a negative GNTST."""
        return GNTST_GENERAL_ERROR

    def hide(self, pfn: int, count: int) -> bool:
        """Have the guest see no memory where some pages of its RAM are."""
        return False

    def show(self, pfn: int, count: int) -> bool:
        """Have the guest see them again."""
        return False

    def lend(self, pfn: int, step: int) -> bool:
        """Count a use of a page for writing by others; a guest that has its page tables to itself lends any."""
        return True

    def remove(self, gpfn: int) -> int:
        """Take away what add_to_physmap put beyond RAM; 0 or a negative errno."""
        return -EINVAL

    def budget(self, left: int) -> int:
        """Return how many instructions the next step may have, with `left` ns to what comes next."""
        return SLICE

    # steps -------------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> int:
        """System time of the guest, ns since it was created."""
        return self.xen.world.now - self.domain.created

    def begin(self) -> None:
        """Run from now on, when the domain is unpaused."""
        self._post()

    def _post(self) -> None:
        if not self._posted:
            self._posted = True
            self.domain.queue.post(self._step)

    @property
    def halted(self) -> bool:
        """True while the CPU waits for an interrupt."""
        return self._halted

    def kick(self) -> None:
        """Something came: a CPU that halts looks at it, one that blocks or polls is told by the hypervisor."""
        if not self.domain.blocked and self.domain.reason is None and (not self._halted or self._due):
            self._post()

    def _step(self) -> None:
        self._posted = False
        domain = self.domain
        if domain.reason is not None or domain.blocked:
            return
        cpu, world, cuts = self.cpu, self.xen.world, self._cuts
        world.watchdog.end()  # a run ends by itself, and what breaks a spinning Python guest would be raised in the middle of one
        if cuts is None or not cuts.under_way:
            if self._due:
                self._halted = False
                if cpu.interruptible:
                    self.entered = self.exits
                    self._interrupt()
            if self._halted or domain.reason is not None:
                return
            self._is(vcpu.RUNSTATE_RUNNING)
        next_event = world.next_deadline
        horizon = self.clock + (HORIZON if next_event is None else max(costs.EXIT, min(HORIZON, next_event - world.now)))
        found = cpu.run(self.budget(horizon - self.clock), horizon) if cuts is None else cuts.run(horizon)
        if found is None:
            return
        self.latest = found
        self.exits += 1
        self.instructions += found.instructions
        domain.queue.charge(Ns(found.instructions + ((cpu.looks if cuts is None else cuts.looks) + 1) * costs.EXIT))
        if self.k_exit.on:
            fields: dict[str, Any] = {"why": found.why.value, "instructions": found.instructions, "pc": cpu.pc}
            world.cause = self.k_exit.emit(world.now, domain.name, world.cause, fields)
        if found.why not in (Why.BUDGET, Why.TIME, Why.BREAK):
            self._answer(found)
        if domain.reason is None and (self._halted or domain.blocked):
            self._is(vcpu.RUNSTATE_BLOCKED)
        if domain.reason is None and not domain.blocked and not self._halted and not self._posted:
            self._posted = True
            domain.queue.again(self._step)

    def place_runstate(self, address: int) -> int:
        """VCPUOP_register_runstate_memory_area; 0 or a negative errno."""
        self.runstate = Runstate(address, self.clock, narrow=self.domain.memory.word == 4)
        return 0 if self.cpu.store(address, self.runstate.encode()) else -EFAULT

    def _is(self, state: int) -> None:
        """The vCPU runs, or waits: tell a guest that has asked."""
        told = self.runstate
        if told is not None and told.change(state, self.clock):
            self.cpu.store(told.address, told.encode())

    # a debugger --------------------------------------------------------------------------------------------------

    @property
    def cuts(self) -> Cuts:
        """What a debugger asks of it; nothing is kept for one before this is first asked for."""
        if self._cuts is None:
            self._cuts = Cuts(self)
        return self._cuts

    @property
    def taken(self) -> int:
        """Instructions it has taken so far, those of a slice that is cut among them."""
        return self.instructions + (self._cuts.done if self._cuts is not None and self._cuts.under_way else 0)

    def put_back(self) -> None:
        """The step was cut: it goes on before anything else happens."""
        self._posted = True
        self.domain.queue.put_back(self._step)

    def devices(self) -> Any:
        """Return what code may change within a slice beside registers and memory, for `set_devices`."""
        return None

    def set_devices(self, kept: Any) -> None:
        """Have that as it was."""
        assert kept is None, f"{type(self).__name__} keeps what it cannot take back"

    # what it asks for --------------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        domain, world = self.domain, self.xen.world
        domain.upcalls += 1
        if self.k_upcall.on:
            ports = domain.pending_ports
            world.cause = self.k_upcall.emit(world.now, domain.name, world.cause, {"ports": ports})
        self._upcall()

    def restart(self, size: int, **registers: int) -> None:
        """Have the guest make its hypercall again, an instruction of `size` bytes, with other arguments."""
        for name, value in registers.items():
            self.cpu.write(name, value)
        self.cpu.pc -= size

    def halt(self) -> None:
        """The CPU halts, with interrupts let in, until one is due."""
        self._halted = not self._due

    def power_off(self, why: str = "") -> None:
        """The last vCPU is off: so is the domain.  `why`, if it did not ask for that."""
        self.ended = why
        self.xen.shutdown(self.domain, sched.SHUTDOWN_POWEROFF)

    def crash(self, why: str) -> None:
        """End the domain, and tell the person why."""
        queue = self.domain.queue
        kind = queue.kind("task.crashed")
        if kind.on:
            kind.emit(queue.now, self.domain.name, self.xen.world.cause, {"text": why, "place": "", "task": "vcpu 0"})
        self.xen.world.report(self.domain.name, f"crashed: {why}")
        self.xen.say(f"(XEN) d{self.domain.domid}v0 {why}")
        self.xen.shutdown(self.domain, sched.SHUTDOWN_CRASH)

    def _failed(self, task: Task[Any], error: BaseException) -> None:
        """A step was not finished: a mistake of ours."""
        self.crash(f"the emulator failed: {type(error).__name__}: {error}")

    def close(self) -> None:
        """The domain has ended: there is no next step."""
        self._halted = True
