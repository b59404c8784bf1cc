"""decoding: the arguments of a hypercall, and what came back in its structure, as a person reads them.

    xen.hypercall   name=event_channel_op.alloc_unbound  args=for dom 0  ret=0  out=port 3

A structure may lie: what cannot be read says nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from mirage_lab.xen.abi import event_channel, grant_table, hvm, memory, mmu, sched, vcpu
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.xen import (
    CONSOLE_IO,
    CONSOLEIO_READ,
    CONSOLEIO_WRITE,
    EVENT_CHANNEL_OP,
    GRANT_TABLE_OP,
    HVM_OP,
    MEMORY_OP,
    MMU_UPDATE,
    MMUEXT_OP,
    SCHED_OP,
    SET_TIMER_OP,
    UPDATE_VA_MAPPING,
    VCPU_OP,
    VIRQ_NAMES,
)

__all__ = ["arguments", "outcome"]

TEXT: Final = 60
Decoder = Callable[[Arg, int], str]
_STATUS: Final = {value: name.removeprefix("GNTST_").lower() for name, value in vars(grant_table).items() if name.startswith("GNTST_")}
_SEVERAL: Final = (grant_table.MAP_GRANT_REF, grant_table.UNMAP_GRANT_REF, grant_table.TRANSFER, grant_table.COPY, grant_table.UNMAP_AND_REPLACE)
_SPACES: Final = {memory.XENMAPSPACE_SHARED_INFO: "shared_info", memory.XENMAPSPACE_GRANT_TABLE: "grant table"}


def _u32(arg: Arg, at: int = 0) -> int:
    return int.from_bytes(arg[at : at + 4], "little")


def _port(at: int) -> Decoder:
    return lambda arg, count: f"port {_u32(arg, at)}"


def _pieces(arg: Arg, count: int) -> str:
    return f"{count} piece{'' if count == 1 else 's'}"


def _requests(arg: Arg, count: int) -> str:
    asked = int.from_bytes(arg[8:12], "little") & ~mmu.PREEMPTED
    return f"{asked} request{'' if asked == 1 else 's'}"


def _text(arg: Arg, count: int) -> str:
    return bytes(arg[: min(count, TEXT)]).decode("utf-8", "backslashreplace").rstrip("\n")


def _interdomain(arg: Arg, count: int) -> str:
    dom, port, _ = event_channel.BIND_INTERDOMAIN_ARG.unpack_from(arg)
    return f"dom {dom}, port {port}"


def _va_mapping(arg: Arg, count: int) -> str:
    if len(arg) <= memory.VA_MAPPING_ARG.size:  # only of a guest that is machine code, from its registers
        return ""
    address, entry, _ = memory.VA_MAPPING_ARG.unpack_from(arg)
    return f"address {address:#x}, entry {entry:#x}"


def _param(arg: Arg, count: int) -> str:
    return hvm.PARAM_NAMES.get(_u32(arg, 4), f"parameter {_u32(arg, 4)}")


def _set_param(arg: Arg, count: int) -> str:
    return f"{_param(arg, count)} = {hvm.PARAM_ARG.unpack_from(arg)[2]:#x}"


def _vector(arg: Arg, count: int) -> str:
    return f"vector {hvm.UPCALL_VECTOR_ARG.unpack_from(arg)[1]:#x}"


def _physmap(arg: Arg, count: int) -> str:
    _, _, space, index, gpfn = memory.ADD_TO_PHYSMAP_ARG.unpack_from(arg)
    return f"{_SPACES.get(space, f'space {space}')}{f' {index}' if space == memory.XENMAPSPACE_GRANT_TABLE else ''} at page {gpfn:#x}"


def _poll(arg: Arg, count: int) -> str:
    _, ports, until = sched.POLL_ARG.unpack_from(arg)
    return f"{ports} port{'' if ports == 1 else 's'}" + (f", until {until:,} ns" if until else "")


def _until(arg: Arg, count: int) -> str:
    return f"until {int.from_bytes(arg[:8], 'little'):,} ns"


def _extents(arg: Arg, count: int) -> str:
    _, extents, order, _, _ = memory.RESERVATION_ARG.unpack_from(arg)
    return f"{extents} of {1 << min(order, 20)} page{'' if order == 0 else 's'}"


_ARGUMENTS: Final[dict[tuple[int, int], Decoder]] = {
    **{(EVENT_CHANNEL_OP, op): _port(0) for op in (event_channel.SEND, event_channel.CLOSE, event_channel.UNMASK)},
    (EVENT_CHANNEL_OP, event_channel.BIND_INTERDOMAIN): _interdomain,
    (EVENT_CHANNEL_OP, event_channel.ALLOC_UNBOUND): lambda arg, count: f"for dom {event_channel.ALLOC_UNBOUND_ARG.unpack_from(arg)[1]}",
    (EVENT_CHANNEL_OP, event_channel.BIND_VIRQ): lambda arg, count: VIRQ_NAMES.get(_u32(arg), f"VIRQ {_u32(arg)}"),
    **{(GRANT_TABLE_OP, op): _pieces for op in _SEVERAL},
    (SCHED_OP, sched.SHUTDOWN): lambda arg, count: sched.REASON_NAMES.get(_u32(arg), "?"),
    (SCHED_OP, sched.POLL): _poll,
    (CONSOLE_IO, CONSOLEIO_WRITE): _text,
    (CONSOLE_IO, CONSOLEIO_READ): _text,
    (HVM_OP, hvm.GET_PARAM): _param,
    (HVM_OP, hvm.SET_PARAM): _set_param,
    (HVM_OP, hvm.SET_EVTCHN_UPCALL_VECTOR): _vector,
    (MEMORY_OP, memory.ADD_TO_PHYSMAP): _physmap,
    **{(MEMORY_OP, op): _extents for op in (memory.INCREASE_RESERVATION, memory.DECREASE_RESERVATION, memory.POPULATE_PHYSMAP)},
    (VCPU_OP, vcpu.SET_SINGLESHOT_TIMER): _until,
}
_WHOLE: Final[dict[int, Decoder]] = {MMU_UPDATE: _requests, MMUEXT_OP: _requests, UPDATE_VA_MAPPING: _va_mapping, SET_TIMER_OP: _until}


def arguments(nr: int, op: int, arg: Arg | None, count: int) -> str:
    """Return the arguments, as far as they say something."""
    return _told(_ARGUMENTS.get((nr, op)) or _WHOLE.get(nr), arg, count)


def _told(decode: Decoder | None, arg: Arg | None, count: int) -> str:
    if arg is None or decode is None:
        return ""
    try:
        return decode(arg, count)
    except (struct.error, IndexError):
        return ""


def _status(at: int, done: Decoder) -> Decoder:
    """Say what was done where the status at `at` is 0, else the status."""

    def told(arg: Arg, count: int) -> str:
        status = int.from_bytes(arg[at : at + 2], "little", signed=True)
        return "" if count != 1 else done(arg, count) if not status else f"{status} {_STATUS.get(status, '')}".rstrip()

    return told


def _mapped(arg: Arg, count: int) -> str:
    address, _, ref, dom, _, handle, _ = grant_table.MAP.unpack_from(arg)
    return f"ref {ref} of dom {dom} at {address:#x}: handle {handle}"


def _copied(arg: Arg, count: int) -> str:
    source, source_dom, _, dest, dest_dom, _, length, flags, _ = grant_table.COPY_ARG.unpack_from(arg)
    sides = ((source, source_dom, grant_table.GNTCOPY_SOURCE_GREF), (dest, dest_dom, grant_table.GNTCOPY_DEST_GREF))
    return f"{length} bytes, " + " to ".join(f"{'ref' if flags & bit else 'page'} {what:#x} of dom {dom}" for what, dom, bit in sides)


_OUTCOMES: Final[dict[tuple[int, int], Decoder]] = {
    (EVENT_CHANNEL_OP, event_channel.BIND_INTERDOMAIN): _port(8),
    (EVENT_CHANNEL_OP, event_channel.BIND_VIRQ): _port(8),
    (EVENT_CHANNEL_OP, event_channel.ALLOC_UNBOUND): _port(4),
    (EVENT_CHANNEL_OP, event_channel.BIND_IPI): _port(4),
    (HVM_OP, hvm.GET_PARAM): lambda arg, count: f"{hvm.PARAM_ARG.unpack_from(arg)[2]:#x}",
    (GRANT_TABLE_OP, grant_table.MAP_GRANT_REF): _status(grant_table.MAP_STATUS, _mapped),
    (GRANT_TABLE_OP, grant_table.UNMAP_GRANT_REF): _status(grant_table.UNMAP_STATUS, lambda arg, count: ""),
    (GRANT_TABLE_OP, grant_table.COPY): _status(grant_table.COPY_STATUS, _copied),
}


def outcome(nr: int, op: int, arg: Arg | None, count: int) -> str:
    """Return what a call that went well has written into its structure, as far as it says something."""
    return _told(_OUTCOMES.get((nr, op)), arg, count)
