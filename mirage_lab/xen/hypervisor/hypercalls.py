"""The hypercall table: numbers and operations as in the public headers, each with its handler.

A handler takes (hypervisor, domain, arg, count) and returns 0 or more, or a negative errno; it reads and writes structures
in `arg`, in place.  What is missing here answers -ENOSYS, as Xen does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mirage_lab.xen.abi import event_channel, grant_table, hvm, memory, pv, sched, vcpu, version
from mirage_lab.xen.abi.errno import EFAULT, EINVAL, ENOSYS, EPERM
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.xen import (
    CONSOLE_IO,
    CONSOLEIO_READ,
    CONSOLEIO_WRITE,
    DOMID_SELF,
    EVENT_CHANNEL_OP,
    GRANT_TABLE_OP,
    HVM_OP,
    HYPERCALL_NAMES,
    MEMORY_OP,
    PAGE_SHIFT,
    PV_CALLS,
    SCHED_OP,
    SET_TIMER_OP,
    UPDATE_VA_MAPPING,
    VCPU_OP,
    XEN_VERSION,
)
from mirage_lab.xen.hypervisor import event_channel as channels
from mirage_lab.xen.hypervisor import grant_table as grants
from mirage_lab.xen.hypervisor import reservation
from mirage_lab.xen.hypervisor import sched as scheduling

if TYPE_CHECKING:
    from mirage_lab.xen.hypervisor.domain import Domain
    from mirage_lab.xen.hypervisor.hypervisor import Hypervisor

__all__ = ["ANY", "HYPERCALLS", "UNKNOWN", "Handler", "name_of"]

Handler = Callable[["Hypervisor", "Domain", Arg, int], int]
ANY: Final = -1
"""In the table: every operation of a hypercall that has none of its own."""
UNKNOWN: Final = (-1, -1)
"""Where calls that do not exist are counted together: their numbers are the guest's to choose."""
LINE: Final = 1_024


def _console_write(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    if not 0 <= count <= LINE:
        return -EINVAL
    xen.say(f"(d{domain.domid}) " + bytes(arg[:count]).decode("utf-8", "backslashreplace").rstrip("\n"))
    return 0


def _console_read(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    return 0


def _add_to_physmap(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    dom, _, space, index, gpfn = memory.ADD_TO_PHYSMAP_ARG.unpack_from(arg)
    if domain.machine is None:
        return -ENOSYS
    if dom not in (DOMID_SELF, domain.domid):
        return -EPERM
    if space == memory.XENMAPSPACE_SHARED_INFO:
        return domain.machine.place_shared_info(gpfn) if index == 0 else -EINVAL
    if space == memory.XENMAPSPACE_GRANT_TABLE:
        if index >= grants.MAX_FRAMES:
            return -EINVAL
        domain.grants.grow(xen, index + 1)
        return domain.machine.place_grant_frame(index, gpfn)
    return -ENOSYS


def _memory_map(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    room, buffer = memory.MEMORY_MAP_ARG.unpack_from(arg)
    if domain.machine is None:
        return -ENOSYS
    regions = domain.machine.memory_map()[:room]
    if not domain.memory.store(buffer, b"".join(memory.E820_ENTRY.pack(*region) for region in regions)):
        return -EFAULT
    memory.MEMORY_MAP_ARG.pack_into(arg, 0, len(regions), buffer)
    return 0


def _machphys_mapping(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    if domain.machine is None or domain.machine.translated:
        return -ENOSYS
    memory.MACHPHYS_MAPPING_ARG.pack_into(arg, 0, pv.MACH2PHYS, pv.MACH2PHYS_END, (pv.MACH2PHYS_END - pv.MACH2PHYS) // 8 - 1)
    return 0


def _hvm_op(op: int) -> Handler:
    def handler(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
        return -ENOSYS if domain.machine is None else domain.machine.hvm_op(op, arg)

    return handler


def _arch_call(number: int) -> Handler:
    def handler(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
        return -ENOSYS if domain.machine is None else domain.machine.arch_call(number, arg)

    return handler


def _update_va_mapping(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    if domain.machine is not None:
        return domain.machine.arch_call(UPDATE_VA_MAPPING, arg)
    address, pte, _ = memory.VA_MAPPING_ARG.unpack_from(arg)
    mine = domain.memory
    if not pte & memory.PAGE_PRESENT:
        if address >> PAGE_SHIFT <= mine.nr_pages or mine.free_at(address):
            return -EINVAL
        mine.unmap(address)
        return 0
    if not mine.free_at(address):
        return -EINVAL
    page = xen.frame_of(domain, pte >> PAGE_SHIFT)
    if page is None:
        return -EPERM
    mine.map(address, page if pte & memory.PAGE_RW else page.toreadonly())
    return 0


def _version(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    return version.MAJOR << 16 | version.MINOR


def _extraversion(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    if len(arg) < version.EXTRAVERSION_SIZE:
        return -EFAULT
    arg[: version.EXTRAVERSION_SIZE] = version.EXTRA.ljust(version.EXTRAVERSION_SIZE, b"\0")
    return 0


def _capabilities(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    if len(arg) < version.CAPABILITIES_SIZE:
        return -EFAULT
    arg[: version.CAPABILITIES_SIZE] = version.CAPABILITIES_TEXT.ljust(version.CAPABILITIES_SIZE, b"\0")
    return 0


def _features(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    index, _ = version.FEATURES_ARG.unpack_from(arg)
    if index:
        return -EINVAL
    offered = (version.FEATURE_PAE_PGDIR_ABOVE_4GB,) if domain.machine is None else domain.machine.features
    version.FEATURES_ARG.pack_into(arg, 0, index, sum(1 << feature for feature in offered))
    return 0


def _pagesize(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    return 4096


HYPERCALLS: Final[dict[int, dict[int, Handler]]] = {
    MEMORY_OP: {
        **reservation.HANDLERS,
        memory.ADD_TO_PHYSMAP: _add_to_physmap,
        memory.MEMORY_MAP: _memory_map,
        memory.MACHPHYS_MAPPING: _machphys_mapping,
    },
    HVM_OP: {op: _hvm_op(op) for op in (hvm.SET_PARAM, hvm.GET_PARAM, hvm.SET_EVTCHN_UPCALL_VECTOR)},
    **{number: {ANY: _arch_call(number)} for number in PV_CALLS},
    UPDATE_VA_MAPPING: {ANY: _update_va_mapping},
    SET_TIMER_OP: {ANY: scheduling.set_timer},
    XEN_VERSION: {
        version.VERSION: _version,
        version.EXTRAVERSION: _extraversion,
        version.CAPABILITIES: _capabilities,
        version.GET_FEATURES: _features,
        version.PAGESIZE: _pagesize,
    },
    CONSOLE_IO: {CONSOLEIO_WRITE: _console_write, CONSOLEIO_READ: _console_read},
    GRANT_TABLE_OP: dict(grants.HANDLERS),
    VCPU_OP: dict(scheduling.VCPU_HANDLERS),
    SCHED_OP: dict(scheduling.HANDLERS),
    EVENT_CHANNEL_OP: dict(channels.HANDLERS),
}

_OPS: Final[dict[int, dict[int, str]]] = {
    MEMORY_OP: memory.OP_NAMES,
    XEN_VERSION: version.OP_NAMES,
    CONSOLE_IO: {CONSOLEIO_WRITE: "write", CONSOLEIO_READ: "read"},
    GRANT_TABLE_OP: grant_table.OP_NAMES,
    VCPU_OP: vcpu.OP_NAMES,
    SCHED_OP: sched.OP_NAMES,
    EVENT_CHANNEL_OP: event_channel.OP_NAMES,
    HVM_OP: hvm.OP_NAMES,
}


def name_of(nr: int, op: int) -> str:
    """Return `event_channel_op.send`."""
    if (nr, op) == UNKNOWN:
        return "unknown"
    name = HYPERCALL_NAMES.get(nr, f"hypercall {nr}")
    ops = _OPS.get(nr)
    return f"{name}.{ops.get(op, op)}" if ops is not None else name
