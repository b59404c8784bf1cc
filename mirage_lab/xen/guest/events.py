"""Events: event channels as handlers (Mini-OS events.c; MirageOS Activations)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from mirage_lab.runtime import RunQueue
from mirage_lab.xen.abi import event_channel as abi
from mirage_lab.xen.abi.errno import check
from mirage_lab.xen.abi.evtchn import mask, take_pending
from mirage_lab.xen.abi.gate import Gate
from mirage_lab.xen.abi.xen import DOMID_SELF, EVENT_CHANNEL_OP, Domid, Port

__all__ = ["Events"]

_U32 = struct.Struct("<I")


class Events:
    """The event channels of this domain.  A port starts masked; `unmask` when its handler is there."""

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

    def close(self, port: Port) -> None:
        """Give a port back."""
        self._handlers.pop(port, None)
        _U32.pack_into(self._arg, 0, port)
        check(self._gate.call(EVENT_CHANNEL_OP, abi.CLOSE, self._arg), f"close port {port}")
