"""Scheduling and timers: when a vCPU waits, for what, and how a domain ends (xen/common/schedule.c).

    running ──block──▶ blocked ──upcall──▶ running            block lets upcalls through again: one that came meanwhile
    running ──poll(ports, until)──▶ blocked ──▶ running       is delivered instead of waiting (no wake-up is lost)
    running ──shutdown(reason)──▶ shutdown or crashed

The code of a domain runs in steps of its queue, so block and poll return at once; what they say is the state of the vCPU
until something comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirage_lab.signatures.units import Ns, us
from mirage_lab.xen.abi import sched as abi
from mirage_lab.xen.abi import vcpu
from mirage_lab.xen.abi.errno import EFAULT, EINVAL, ENOENT, ENOSYS, ENXIO, ESRCH, ETIME
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.xen import PAGE_SIZE, VIRQ_TIMER
from mirage_lab.xen.hypervisor.event_channel import set_pending

if TYPE_CHECKING:
    from mirage_lab.xen.hypervisor.domain import Domain
    from mirage_lab.xen.hypervisor.hypervisor import Hypervisor

__all__ = ["HANDLERS", "VCPU_HANDLERS", "set_timer"]

MOMENT: Final = us(50)
"""How long a vCPU that yields stays away at most."""


def _yield(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    """Let others run: the vCPU goes on when the next thing in the world has happened, or a moment later if that is far off."""
    due = xen.world.next_deadline
    if due is not None:
        domain.queue.charge(Ns(min(max(due - xen.world.now, 0), MOMENT)))
    return 0


def _block(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    domain.block()
    return 0


def _shutdown(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    reason = abi.SHUTDOWN_ARG.unpack_from(arg)[0]
    if reason not in abi.REASON_NAMES:
        return -EINVAL
    xen.shutdown(domain, reason)
    return 0


def _poll(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    """Wait for one of some ports, masked ones too, or a time; at once if one of them is pending."""
    address, nr_ports, timeout = abi.POLL_ARG.unpack_from(arg)
    if nr_ports > abi.POLL_MAX_PORTS:
        return -EINVAL
    where = domain.memory.load(address, 4 * nr_ports)
    if where is None:
        return -EFAULT
    ports = frozenset(memoryview(where).cast("I")) if nr_ports else frozenset()
    if any(domain.ports.get(port) is None or port >= domain.ports.limit for port in ports):
        return -EINVAL
    pending = domain.layout.pending_word
    if any(domain.shared_words[pending + (port >> 6)] >> (port & 63) & 1 for port in ports):
        return 0
    domain.wake()
    domain.blocked, domain.polling = True, ports
    if timeout:
        domain.poll_timer = xen.world.call_at(Ns(domain.created + timeout), domain.wake)
    return 0


def set_timer(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    """set_timer_op(deadline): VIRQ_TIMER at an absolute system time, ns; 0 stops it."""
    deadline = int.from_bytes(arg[:8], "little")
    if domain.timer is not None:
        domain.timer.cancel()
        domain.timer = None
    if deadline:
        domain.timer = xen.world.call_at(Ns(domain.created + deadline), _ring, xen, domain)
    return 0


def _ring(xen: Hypervisor, domain: Domain) -> None:
    domain.timer = None
    port = domain.ports.virqs.get(VIRQ_TIMER)
    if port is not None:
        set_pending(domain, port, xen.world.cause)


def _singleshot(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    deadline, flags = vcpu.SINGLESHOT_ARG.unpack_from(arg)
    if flags & vcpu.SSHOTTMR_FUTURE and domain.created + deadline <= xen.world.now:
        return -ETIME
    return set_timer(xen, domain, arg, count)


def _stop_singleshot(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    return set_timer(xen, domain, bytearray(8), count)


def _is_up(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    return 1 if count == 0 else -ESRCH


def _down(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    """The vCPU goes down: as the last one of the domain, that is its end."""
    if count != 0:
        return -ENOENT
    xen.shutdown(domain, abi.SHUTDOWN_POWEROFF)
    return 0


def _register_info(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    """vcpu_info moves to where the guest wants it, once (map_vcpu_info)."""
    mfn, offset = vcpu.REGISTER_INFO_ARG.unpack_from(arg)
    if count != 0:
        return -ENOENT
    size = domain.layout.info_size
    if offset > PAGE_SIZE - size or offset & 7 or domain.narrow:
        return -ENXIO
    page = domain.memory.ram(mfn)
    if domain.info_placed or page is None:
        return -EINVAL
    if domain.machine is not None and not domain.machine.lend(mfn - domain.memory.base, 1):
        return -EINVAL
    domain.memory.pin(mfn - domain.memory.base)
    domain.place_info(page[offset : offset + size])
    return 0


def _register_runstate(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    """The guest wants to see how long its vCPU ran and waited."""
    if count != 0:
        return -ENOENT
    return -ENOSYS if domain.machine is None else domain.machine.place_runstate(vcpu.RUNSTATE_ARG.unpack_from(arg)[0])


HANDLERS: Final = {abi.YIELD: _yield, abi.BLOCK: _block, abi.SHUTDOWN: _shutdown, abi.POLL: _poll}
VCPU_HANDLERS: Final = {
    vcpu.IS_UP: _is_up,
    vcpu.SET_SINGLESHOT_TIMER: _singleshot,
    vcpu.STOP_SINGLESHOT_TIMER: _stop_singleshot,
    vcpu.DOWN: _down,
    vcpu.REGISTER_VCPU_INFO: _register_info,
    vcpu.REGISTER_RUNSTATE_MEMORY_AREA: _register_runstate,
}
