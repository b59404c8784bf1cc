"""Event channels as a kernel uses them, guest and dom0 alike: the scan of shared_info and handlers by port (two-level ABI).

The scan is that of Mini-OS do_hypervisor_callback and MirageOS look_for_work:

    evtchn_upcall_pending := 0 ; sel := pending_sel, pending_sel := 0 ; for each word in sel: pending & ~mask, cleared
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.xen.abi import event_channel as abi
from mirage_lab.xen.abi.errno import check
from mirage_lab.xen.abi.gate import Gate
from mirage_lab.xen.abi.shared_info import MASK_WORD, PENDING_WORD, SEL_WORD, UPCALL_PENDING
from mirage_lab.xen.abi.xen import DOMID_SELF, EVENT_CHANNEL_OP, Domid, Port

__all__ = ["Events", "mask", "take_pending"]

_U32 = struct.Struct("<I")


def take_pending(page: memoryview, words: memoryview) -> list[int]:
    """Clear and return the ports that are pending and not masked; `words` is `page.cast("Q")`."""
    found: list[int] = []
    while True:
        page[UPCALL_PENDING] = 0
        selected, words[SEL_WORD] = words[SEL_WORD], 0
        if not selected:
            return found
        while selected:
            word = (selected & -selected).bit_length() - 1
            selected &= selected - 1
            bits = words[PENDING_WORD + word] & ~words[MASK_WORD + word]
            words[PENDING_WORD + word] &= ~bits
            while bits:
                low = bits & -bits
                found.append(word << 6 | low.bit_length() - 1)
                bits ^= low


def mask(words: memoryview, port: int) -> None:
    """Mask a port (unmasking is a hypercall, because an event may have come meanwhile)."""
    words[MASK_WORD + (port >> 6)] |= 1 << (port & 63)


class Events:
    """The event channels of one domain.  A port starts masked; `unmask` when its handler is there."""

    def __init__(self, queue: RunQueue, gate: Gate, shared: memoryview) -> None:
        self.queue = queue
        self.counts: dict[int, int] = {}
        self._gate = gate
        self._shared = shared
        self._words = shared.cast("Q")
        self._handlers: dict[int, Callable[[], None]] = {}
        self._arg = bytearray(16)
        gate.on_upcall(self._upcall)

    def _upcall(self) -> None:
        world = self.queue.world
        cause = world.cause
        for port in take_pending(self._shared, self._words):
            self.counts[port] = self.counts.get(port, 0) + 1
            handler = self._handlers.get(port)
            world.cause = self._gate.take_cause(port) or cause
            if handler is not None:
                handler()

    def bind(self, port: Port, handler: Callable[[], None]) -> None:
        """Run `handler()` when `port` has become pending; the port stays masked until `unmask`."""
        mask(self._words, port)
        self._handlers[port] = handler

    def unmask(self, port: Port) -> None:
        """Let events of `port` through; one that came meanwhile arrives now."""
        _U32.pack_into(self._arg, 0, port)
        check(self._gate.call(EVENT_CHANNEL_OP, abi.UNMASK, self._arg), f"unmask port {port}")

    def notify(self, port: Port) -> None:
        """Send an event: EVTCHNOP_send."""
        _U32.pack_into(self._arg, 0, port)
        check(self._gate.call(EVENT_CHANNEL_OP, abi.SEND, self._arg), f"send on port {port}")

    def alloc_unbound(self, remote: Domid) -> Port:
        """Return a new port that `remote` may bind."""
        arg = bytearray(abi.ALLOC_UNBOUND_ARG.pack(DOMID_SELF, remote, 0))
        check(self._gate.call(EVENT_CHANNEL_OP, abi.ALLOC_UNBOUND, arg), f"alloc_unbound for domain {remote}")
        return Port(_U32.unpack_from(arg, 4)[0])

    def bind_virq(self, virq: int) -> Port:
        """Return the port of a virtual interrupt."""
        arg = bytearray(abi.BIND_VIRQ_ARG.pack(virq, 0, 0))
        check(self._gate.call(EVENT_CHANNEL_OP, abi.BIND_VIRQ, arg), f"bind_virq {virq}")
        return Port(_U32.unpack_from(arg, 8)[0])

    def bind_interdomain(self, remote: Domid, remote_port: Port) -> Port:
        """Return our end of the channel that `remote` offers; raises LocalProtocolError."""
        if not 0 <= remote_port <= 0xFFFF_FFFF:
            raise LocalProtocolError(f"event channel {remote_port} of domain {remote}: a port is 0 or more, of 32 bits")
        arg = bytearray(abi.BIND_INTERDOMAIN_ARG.pack(remote, remote_port, 0))
        check(self._gate.call(EVENT_CHANNEL_OP, abi.BIND_INTERDOMAIN, arg), f"bind_interdomain to port {remote_port} of domain {remote}")
        return Port(_U32.unpack_from(arg, 8)[0])

    def close(self, port: Port) -> None:
        """Give a port back."""
        self._handlers.pop(port, None)
        _U32.pack_into(self._arg, 0, port)
        check(self._gate.call(EVENT_CHANNEL_OP, abi.CLOSE, self._arg), f"close port {port}")
