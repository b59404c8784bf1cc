"""vcpu: the vCPU of an ARM guest: hvc, PSCI, the interrupt controller and the virtual timer.

    exit ─▶ HYPERCALL: x16 x0-x4 (r12 r0-r4) ─▶ calls      FIRMWARE ─▶ psci      EXCEPTION ─▶ the guest's own vector
    lines 27 (timer) and 31 (event channels) ─▶ gic ─▶ IRQ, when the guest lets it in
"""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.runtime import Timer, costs
from mirage_lab.signatures.units import Ns
from mirage_lab.vcpu.aarch32 import Aarch32
from mirage_lab.vcpu.aarch64 import Aarch64
from mirage_lab.vcpu.arm import Arm
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.xen.abi import arm, sched, shared_info, vcpu, version
from mirage_lab.xen.abi import xen as nr
from mirage_lab.xen.abi.errno import EINVAL, ENOSYS, ERESTART
from mirage_lab.xen.arch.arm.gic import Gic
from mirage_lab.xen.arch.arm.psci import Power, answer
from mirage_lab.xen.arch.calls import hypercall
from mirage_lab.xen.arch.translated import Translated
from mirage_lab.xen.arch.vcpu import SLICE
from mirage_lab.xen.hypervisor import Domain, Hypervisor
from mirage_lab.xen.hypervisor.hypercalls import HYPERCALLS

__all__ = ["ArmVcpu"]

TABLE: Final = frozenset(
    {nr.MEMORY_OP, nr.SCHED_OP, nr.CONSOLE_IO, nr.XEN_VERSION, nr.EVENT_CHANNEL_OP, nr.HVM_OP, nr.GRANT_TABLE_OP, nr.MULTICALL, nr.VCPU_OP}
)
"""The hypercalls there are on ARM, of those there are here (xen/arch/arm/traps.c, arm_hypercall_table)."""
VCPU_OPS: Final = frozenset({vcpu.REGISTER_VCPU_INFO, vcpu.REGISTER_RUNSTATE_MEMORY_AREA})
SHORT: Final = 1_000
WATCHED: Final = 256
"""Instructions of steps while an interrupt waits for the guest to let it in: such steps take turns."""
FARTHEST: Final = 1 << 62


class ArmVcpu(Translated):
    """The one vCPU of an ARM domain; `bits` is 64 or 32."""

    cpu: Arm
    features = (*Translated.features, version.FEATURE_ARM_SMCCC_SUPPORTED)

    def __init__(self, xen: Hypervisor, domain: Domain, bits: int, params: dict[int, int], regions: list[tuple[int, int, int]]) -> None:
        def clock() -> int:
            return self.clock

        cpu: Arm = Aarch64(clock, look_ns=costs.EXIT) if bits == 64 else Aarch32(clock, look_ns=costs.EXIT)
        super().__init__(xen, domain, cpu, params, regions)
        self.gic = gic = Gic()
        self._alarm: Timer | None = None
        self._watches = False
        self._registers = cpu.emulator.batch(*cpu.call)
        self._mask = (1 << bits) - 1
        self.latch()
        device = cpu.device
        device(arm.GICD_BASE, arm.GICD_SIZE, lambda at, size: gic.read(at, size, self._lines(cpu.time())), gic.write)
        device(arm.GICC_BASE, arm.GICC_SIZE, lambda at, size: gic.cpu_read(at, size, self._lines(cpu.time())), gic.cpu_write)

    def start(self, entry: int, device_tree: int) -> None:
        """Put the CPU at the entry; it runs when the domain is unpaused."""
        self.cpu.enter(entry, device_tree)
        self.begin()

    def latch(self) -> None:
        """Have shared_info the layout it has on ARM, and the wall clock in it."""
        domain = self.domain
        if domain.layout is not shared_info.ARM:
            domain.shared[:] = bytes(len(domain.shared))
            domain.layout = shared_info.ARM
            domain.info_at(domain.shared[: shared_info.ARM.info_size])
        shared_info.write_wall_clock(domain.shared, self.xen.world.epoch_ns + domain.created, shared_info.ARM.wall_clock)

    # interrupts --------------------------------------------------------------------------------------------------

    def _lines(self, now: int) -> int:
        """The bits of the interrupts whose line is high."""
        events = 1 << arm.EVTCHN_PPI if self.domain.info[shared_info.UPCALL_PENDING] else 0
        return events | (1 << arm.TIMER_VIRT_PPI if self.cpu.timer.fires(now) else 0)

    @property
    def _due(self) -> bool:
        """True if the guest is to be interrupted."""
        return self.gic.signals(self._lines(self.clock))

    def _interrupt(self) -> None:
        self._watches = True  # it is in the guest's hands now
        if self.gic.highest(self._lines(self.clock)) == arm.EVTCHN_PPI:
            super()._interrupt()
        else:
            self.cpu.interrupt()

    def _upcall(self) -> None:
        self.cpu.interrupt()

    def budget(self, left: int) -> int:
        """Return how many instructions the next step may have: to the next deadline, and fewer while an interrupt is not let in.

        A guest may let interrupts in for an instruction or two, and nothing tells of it: so it is watched, now and then.
        """
        due = self._due
        self._watches = due and not self._watches
        self.cpu.watched = self._waits if self._watches else None
        return WATCHED if self._watches else SHORT if due else min(SLICE, max(SHORT, left))

    def _waits(self) -> bool:
        """True while an interrupt waits, within a run."""
        return self.gic.signals(self._lines(self.cpu.time()))

    def _set_alarm(self) -> None:
        """The timer's deadline is the world's too: it wakes a CPU that waits, and bounds a step of one that runs."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        deadline = self.cpu.timer.deadline
        if deadline is not None and deadline < FARTHEST:
            self._alarm = self.xen.world.call_at(Ns(self.domain.created + deadline), self._rings)

    def _rings(self) -> None:
        self._alarm = None
        if self.domain.reason is None:
            self.domain.wake()

    def devices(self) -> Any:
        """Return the state of the interrupt controller, and whose turn it is; the timer is the CPU's."""
        return self.gic.save(), self._watches

    def set_devices(self, kept: Any) -> None:
        """Have it as it was."""
        state, self._watches = kept
        self.gic.restore(state)

    def close(self) -> None:
        """The domain has ended: there is no next step, and no alarm."""
        super().close()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # what it stopped for -----------------------------------------------------------------------------------------

    def _answer(self, found: Exit) -> None:
        match found.why:
            case Why.HYPERCALL:
                self._hypercall()
            case Why.FIRMWARE:
                self._firmware()
            case Why.TIMER:
                self._set_alarm()
            case Why.HALT:
                self.halt()
            case Why.EXCEPTION:
                if not self.cpu.deliver(found):
                    self.crash(self.cpu.explain(found))
            case Why.FAULT:
                self.crash(found.detail)
            case Why.MSR | Why.BUDGET | Why.TIME | Why.BREAK:
                """Nothing is asked."""

    def _hypercall(self) -> None:
        """The registers hold a hypercall: its number in x16 or r12, arguments from x0 or r0 on."""
        *args, number = (value & self._mask for value in self._registers.read())
        if number not in TABLE:
            ret = self.xen.hypercall(self.domain, -1 if number in HYPERCALLS else number, args[0], None, 1)  # -ENOSYS
        elif number == nr.VCPU_OP and args[0] not in VCPU_OPS:
            ret = -EINVAL
        else:
            ret = hypercall(self.xen, self.domain, self.cpu, number, args, True)
        if ret == -ERESTART:
            self.restart(4, **dict(zip(self.cpu.call, args[:2])))
        else:
            self.cpu.write(self.cpu.call[0], ret & self._mask)
        if self.domain.blocked and self._due:
            self.domain.wake()  # an interrupt of the timer ends a wait too

    def _firmware(self) -> None:
        cpu = self.cpu
        function, first = cpu.read(cpu.call[0]), cpu.read(cpu.call[1])
        power, ret = answer(function, first)
        cpu.write(cpu.call[0], ret & self._mask)
        match power:
            case Power.NOTHING:
                """The answer is all."""
            case Power.SUSPEND:
                self.halt()
            case Power.OFF | Power.SYSTEM_OFF:
                self.power_off()
            case Power.SYSTEM_RESET:
                self.xen.shutdown(self.domain, sched.SHUTDOWN_REBOOT)

    # what the hypervisor asks of it ------------------------------------------------------------------------------

    @property
    def _narrow(self) -> bool:
        return False

    def _set_callback(self, value: int) -> int:
        """There is no callback to name: event channels have an interrupt of their own."""
        return -ENOSYS
