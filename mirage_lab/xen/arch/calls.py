"""calls: hypercalls as machine code makes them: a number, arguments, and structures in the guest's memory.

    64 bits, and ARM of 32   arguments and structures as the hypervisor has them (arch-arm.h has 64-bit fields for both)
    x86 of 32 bits           structures with pointers or longs are narrower (arch-x86/xen-x86_32.h)

The structure is copied in, the handler that Python guests use too works on the copy, and it is copied out again.
"""

from __future__ import annotations

import struct
from typing import Final

from mirage_lab.runtime import costs
from mirage_lab.signatures.units import Ns
from mirage_lab.vcpu.cpu import Cpu
from mirage_lab.xen.abi import event_channel, grant_table, hvm, memory, sched, vcpu, version
from mirage_lab.xen.abi import xen as nr
from mirage_lab.xen.abi.errno import E2BIG, EFAULT, EINVAL, ENOSYS, ERESTART
from mirage_lab.xen.hypervisor import Domain, Hypervisor
from mirage_lab.xen.hypervisor.grant_table import SIZES

__all__ = ["REGISTERS", "hypercall"]

REGISTERS: Final = struct.Struct("<5Q")
"""The arguments of a hypercall, where they are all there is to it."""
CONSOLE_PIECE: Final = 1_024
MOST_CONSOLE: Final = 1 << 16
MOST_GRANTS: Final = 4_096
MOST_CALLS: Final = 1_024
MULTICALL_NS: Final = Ns(200_000)
"""After so much of its time a multicall is left, and made again for the rest: others have their turn."""

_SIZES: Final[dict[tuple[int, int], int]] = {
    (nr.EVENT_CHANNEL_OP, event_channel.BIND_INTERDOMAIN): event_channel.BIND_INTERDOMAIN_ARG.size,
    (nr.EVENT_CHANNEL_OP, event_channel.BIND_VIRQ): event_channel.BIND_VIRQ_ARG.size,
    (nr.EVENT_CHANNEL_OP, event_channel.CLOSE): 4,
    (nr.EVENT_CHANNEL_OP, event_channel.SEND): 4,
    (nr.EVENT_CHANNEL_OP, event_channel.STATUS): event_channel.STATUS_ARG.size,
    (nr.EVENT_CHANNEL_OP, event_channel.ALLOC_UNBOUND): event_channel.ALLOC_UNBOUND_ARG.size,
    (nr.EVENT_CHANNEL_OP, event_channel.BIND_IPI): event_channel.BIND_IPI_ARG.size,
    (nr.EVENT_CHANNEL_OP, event_channel.BIND_VCPU): event_channel.BIND_VCPU_ARG.size,
    (nr.EVENT_CHANNEL_OP, event_channel.UNMASK): 4,
    (nr.EVENT_CHANNEL_OP, event_channel.RESET): 2,
    (nr.SCHED_OP, sched.SHUTDOWN): sched.SHUTDOWN_ARG.size,
    (nr.SCHED_OP, sched.POLL): sched.POLL_ARG.size,
    (nr.XEN_VERSION, version.EXTRAVERSION): version.EXTRAVERSION_SIZE,
    (nr.XEN_VERSION, version.CAPABILITIES): version.CAPABILITIES_SIZE,
    (nr.XEN_VERSION, version.GET_FEATURES): version.FEATURES_ARG.size,
    (nr.GRANT_TABLE_OP, grant_table.SETUP_TABLE): grant_table.SETUP_TABLE_ARG.size,
    (nr.GRANT_TABLE_OP, grant_table.QUERY_SIZE): grant_table.QUERY_SIZE_ARG.size,
    (nr.GRANT_TABLE_OP, grant_table.SET_VERSION): 4,
    (nr.GRANT_TABLE_OP, grant_table.GET_VERSION): grant_table.VERSION_ARG.size,
    (nr.VCPU_OP, vcpu.REGISTER_RUNSTATE_MEMORY_AREA): vcpu.RUNSTATE_ARG.size,
    (nr.VCPU_OP, vcpu.REGISTER_VCPU_INFO): vcpu.REGISTER_INFO_ARG.size,
    (nr.VCPU_OP, vcpu.SET_SINGLESHOT_TIMER): vcpu.SINGLESHOT_ARG.size,
    (nr.MEMORY_OP, memory.INCREASE_RESERVATION): memory.RESERVATION_ARG.size,
    (nr.MEMORY_OP, memory.DECREASE_RESERVATION): memory.RESERVATION_ARG.size,
    (nr.MEMORY_OP, memory.POPULATE_PHYSMAP): memory.RESERVATION_ARG.size,
    (nr.MEMORY_OP, memory.REMOVE_FROM_PHYSMAP): memory.REMOVE_FROM_PHYSMAP_ARG.size,
    (nr.MEMORY_OP, memory.CURRENT_RESERVATION): memory.DOMID_ARG.size,
    (nr.MEMORY_OP, memory.MAXIMUM_RESERVATION): memory.DOMID_ARG.size,
    (nr.MEMORY_OP, memory.ADD_TO_PHYSMAP): memory.ADD_TO_PHYSMAP_ARG.size,
    (nr.MEMORY_OP, memory.MACHPHYS_MAPPING): memory.MACHPHYS_MAPPING_ARG.size,
    (nr.MEMORY_OP, memory.MEMORY_MAP): memory.MEMORY_MAP_ARG.size,
    (nr.HVM_OP, hvm.SET_PARAM): hvm.PARAM_ARG.size,
    (nr.HVM_OP, hvm.GET_PARAM): hvm.PARAM_ARG.size,
    (nr.HVM_OP, hvm.SET_EVTCHN_UPCALL_VECTOR): hvm.UPCALL_VECTOR_ARG.size,
}
"""Bytes of the structure of each operation, as a 64-bit guest has it."""

_NARROW: Final[dict[tuple[int, int], tuple[struct.Struct, struct.Struct]]] = {
    (nr.SCHED_OP, sched.POLL): (struct.Struct("<IIQ"), sched.POLL_ARG),
    (nr.GRANT_TABLE_OP, grant_table.SETUP_TABLE): (struct.Struct("<H2xIh2xI"), grant_table.SETUP_TABLE_ARG),
    (nr.GRANT_TABLE_OP, grant_table.TRANSFER): (struct.Struct("<IH2xIh2x"), grant_table.TRANSFER_ARG),
    (nr.GRANT_TABLE_OP, grant_table.COPY): (struct.Struct("<IHHIHHHHh2x"), grant_table.COPY_ARG),
    (nr.MEMORY_OP, memory.INCREASE_RESERVATION): (struct.Struct("<IIIIH2x"), memory.RESERVATION_ARG),
    (nr.MEMORY_OP, memory.DECREASE_RESERVATION): (struct.Struct("<IIIIH2x"), memory.RESERVATION_ARG),
    (nr.MEMORY_OP, memory.POPULATE_PHYSMAP): (struct.Struct("<IIIIH2x"), memory.RESERVATION_ARG),
    (nr.MEMORY_OP, memory.REMOVE_FROM_PHYSMAP): (struct.Struct("<H2xI"), memory.REMOVE_FROM_PHYSMAP_ARG),
    (nr.MEMORY_OP, memory.ADD_TO_PHYSMAP): (struct.Struct("<HHIII"), memory.ADD_TO_PHYSMAP_ARG),
    (nr.MEMORY_OP, memory.MEMORY_MAP): (struct.Struct("<II"), memory.MEMORY_MAP_ARG),
}
"""The structures of which a 32-bit guest has a narrower form: its form, and ours."""


def hypercall(xen: Hypervisor, domain: Domain, cpu: Cpu, number: int, args: list[int], wide: bool) -> int:
    """Carry out a hypercall with five arguments; return 0 or more, or a negative errno."""
    domain.memory.word = 8 if wide else 4
    match number:
        case nr.SET_TIMER_OP:
            deadline = args[0] if wide else args[0] | args[1] << 32
            return xen.hypercall(domain, number, 0, bytearray(deadline.to_bytes(8, "little")), 1)
        case nr.CONSOLE_IO:
            return _console(xen, domain, cpu, args)
        case nr.MULTICALL:
            return _multicall(xen, domain, cpu, args, wide)
        case nr.VCPU_OP:
            return _with(xen, domain, cpu, (number, args[0]), args[2], args[1], 1, wide)
        case nr.GRANT_TABLE_OP:
            if args[2] > MOST_GRANTS:
                return xen.refused(domain, number, args[0], -E2BIG, f"{args[2]:,} pieces at once")
            several = args[0] in SIZES
            if several and args[2] > 1:
                domain.queue.charge(Ns((args[2] - 1) * costs.GRANT_PIECE))
            return _with(xen, domain, cpu, (number, args[0]), args[1], args[2], args[2] if several else 1, wide)
        case nr.EVENT_CHANNEL_OP | nr.SCHED_OP | nr.XEN_VERSION | nr.MEMORY_OP | nr.HVM_OP:
            return _with(xen, domain, cpu, (number, args[0]), args[1], 1, 1, wide)
        case _ if number in nr.PV_CALLS:
            return xen.hypercall(domain, number, 0, bytearray(REGISTERS.pack(*args)), 1)
        case _:
            return xen.hypercall(domain, number, args[0], None, 1)


def _with(xen: Hypervisor, domain: Domain, cpu: Cpu, call: tuple[int, int], pointer: int, count: int, elements: int, wide: bool) -> int:
    """Make a call whose structures lie at `pointer`, `elements` of them."""
    ours = SIZES.get(call[1]) if call[0] == nr.GRANT_TABLE_OP else None
    size = ours or _SIZES.get(call, 0)
    if not size:
        return xen.hypercall(domain, *call, None, count)
    narrow = None if wide else _NARROW.get(call)
    there = (size if narrow is None else narrow[0].size) * elements
    found = cpu.load(pointer, there)
    if found is None:
        return xen.refused(domain, *call, -EFAULT, _nothing(pointer, there))
    if narrow is None:
        arg = bytearray(found)
        ret = xen.hypercall(domain, *call, arg, count)
        return ret if arg == found or cpu.store(pointer, arg) else -EFAULT
    theirs, mine = narrow
    arg = bytearray(mine.size * elements)
    for index in range(elements):
        mine.pack_into(arg, index * mine.size, *theirs.unpack_from(found, index * theirs.size))
    ret = xen.hypercall(domain, *call, arg, count)
    back = b"".join(theirs.pack(*mine.unpack_from(arg, index * mine.size)) for index in range(elements))
    return ret if cpu.store(pointer, back) else -EFAULT


def _nothing(pointer: int, size: int) -> str:
    return f"not in its memory: {size} bytes at {pointer:#x}"


def _console(xen: Hypervisor, domain: Domain, cpu: Cpu, args: list[int]) -> int:
    """console_io: a write of any length, as far as it is there; a read finds nothing."""
    op, count, pointer = args[:3]
    if op != nr.CONSOLEIO_WRITE:
        return xen.hypercall(domain, nr.CONSOLE_IO, op, None, 0)
    if count > MOST_CONSOLE:
        return xen.refused(domain, nr.CONSOLE_IO, op, -EINVAL, f"{count:,} bytes at once")
    for at in range(0, count, CONSOLE_PIECE):
        text = cpu.load(pointer + at, min(CONSOLE_PIECE, count - at))
        if text is None:
            return xen.refused(domain, nr.CONSOLE_IO, op, -EFAULT, _nothing(pointer, count))
        xen.hypercall(domain, nr.CONSOLE_IO, op, bytearray(text), len(text))
    return 0


def _multicall(xen: Hypervisor, domain: Domain, cpu: Cpu, args: list[int], wide: bool) -> int:
    """multicall: several at once; each has its own result.  One that takes long is -ERESTART, and `args` is what is left (hypercall_create_continuation)."""
    entry = struct.Struct("<8Q") if wide else struct.Struct("<8I")
    if args[1] > MOST_CALLS:
        return xen.refused(domain, nr.MULTICALL, 0, -EINVAL, f"{args[1]:,} calls at once")
    began = domain.queue.charged
    for index in range(args[1]):
        where = args[0] + index * entry.size
        if domain.queue.charged - began > MULTICALL_NS:
            args[:2] = where, args[1] - index
            return -ERESTART
        found = cpu.load(where, entry.size)
        if found is None:
            return xen.refused(domain, nr.MULTICALL, 0, -EFAULT, _nothing(where, entry.size))
        op, _, *inner = entry.unpack(found)
        ret = -ENOSYS if op == nr.MULTICALL else hypercall(xen, domain, cpu, op, inner[:5], wide)
        word = entry.size // 8
        if not cpu.store(where + word, (ret & ((1 << 8 * word) - 1)).to_bytes(word, "little")):
            return -EFAULT
    return 0
