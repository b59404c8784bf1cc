"""backend: the back end's half of connecting a device: its state in xenstore, and what follows from the front end's (xenbus.c).

    back end    1 ─▶ 2 ──(front end 3 or 4: connect)──▶ 4 ──(front end 5 or 6: disconnect)──▶ 5 ──(front end 6)──▶ 6
                     ◀────────────────(front end 1: another kernel begins)──────────────────────────────────────────┘

What a front end writes is believed as far as it can be used: whatever cannot closes that one device, and says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from mirage_lab.runtime import RunQueue
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.xen.abi.evtchn import Events
from mirage_lab.xen.abi.gate import Gate
from mirage_lab.xen.abi.gntmap import Gntmap
from mirage_lab.xen.abi.io.xenbus import XenbusState, parse
from mirage_lab.xen.abi.xen import Domid, Port
from mirage_lab.xen.xenstore import Client
from mirage_lab.xen.xenstore.store import StoreError

__all__ = ["Backend", "Kernel"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """What dom0's kernel gives its drivers: run queue, hypercalls, event channels, mappings, xenstore, and a log."""

    queue: RunQueue
    gate: Gate
    events: Events
    maps: Gntmap
    xs: Client
    say: Callable[[str], None]


class Backend(ABC):
    """The back end of one device, number `device` of a domain."""

    kind: ClassVar[str]
    """As in xenstore: vif, vbd."""
    driver: ClassVar[str]
    """As in the log: netback, blkback."""

    def __init__(self, kernel: Kernel, domid: Domid, device: int, name: str) -> None:
        self.kernel = kernel
        self.domid = domid
        self.device = device
        self.name = name
        self.frontend = f"/local/domain/{domid}/device/{self.kind}/{device}"
        self.path = f"/local/domain/0/backend/{self.kind}/{domid}/{device}"
        self.state = XenbusState.INITIALISING
        self._evtchn: Port | None = None
        self._mapped: list[tuple[int, int]] = []

    # what a driver says ------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def plugged(self) -> bool:
        """False once the device has been taken away."""

    @abstractmethod
    def offer(self) -> dict[str, str]:
        """Return the keys to write before InitWait."""

    @abstractmethod
    def refs(self) -> list[int]:
        """Read what the front end has written; return the grant references of its rings.  ValueError, StoreError and LocalProtocolError close the device."""

    @abstractmethod
    def connected(self, pages: list[memoryview]) -> Callable[[], None]:
        """The rings are mapped: begin; return what an event calls."""

    @abstractmethod
    def began(self) -> None:
        """Both ends are connected: take what is there already."""

    @abstractmethod
    def forget(self) -> None:
        """Give up what was under way."""

    def closed(self) -> None:
        """The front end has closed after we had."""
        self._go(XenbusState.CLOSED)

    # xenbus ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Offer what we can do, then InitWait, and watch the front end."""
        if not self.plugged:
            return
        offered = self.offer()
        if offered:
            with self.kernel.xs.transaction() as tx:
                for name, value in offered.items():
                    tx.write(f"{self.path}/{name}", value)
        self._go(XenbusState.INIT_WAIT)
        self.kernel.xs.watch(f"{self.frontend}/state", lambda path: self._frontend_changed())

    def stop(self) -> None:
        """The device is taken away."""
        self.kernel.xs.unwatch(f"{self.frontend}/state")
        self.disconnect()

    def _go(self, state: XenbusState) -> None:
        self.state = state
        self.kernel.xs.write(f"{self.path}/state", str(int(state)))

    def _frontend_changed(self) -> None:
        there = parse(self.kernel.xs.get(f"{self.frontend}/state"))
        match there:
            case XenbusState.INITIALISED | XenbusState.CONNECTED if self.state is XenbusState.INIT_WAIT:
                self._connect()
            case XenbusState.CLOSING | XenbusState.CLOSED if self.state in (XenbusState.INIT_WAIT, XenbusState.CONNECTED):
                self._go(XenbusState.CLOSING)
                self.disconnect()
                if there is XenbusState.CLOSED:
                    self._go(XenbusState.CLOSED)
            case XenbusState.CLOSED if self.state is XenbusState.CLOSING:
                self.closed()  # it waited for us to close first, as Linux does
            case XenbusState.INITIALISING if self.state is XenbusState.CLOSED:
                self._go(XenbusState.INIT_WAIT)  # another kernel begins: a boot loader has left, or the same opens it again
            case _:
                """Nothing follows."""

    def _connect(self) -> None:
        kernel = self.kernel
        try:
            refs = self.refs()
            evtchn = Port(int(kernel.xs.read(f"{self.frontend}/event-channel")))
            for ref in refs:
                self._mapped.append(kernel.maps.map(self.domid, ref))
            self._evtchn = kernel.events.bind_interdomain(self.domid, evtchn)
        except (ValueError, LocalProtocolError, StoreError) as error:
            self.fail(f"connecting: {error}")
            return
        kernel.events.bind(self._evtchn, self.connected([kernel.maps.page(address) for address, _ in self._mapped]))
        kernel.events.unmask(self._evtchn)
        self._go(XenbusState.CONNECTED)
        self.began()

    def fail(self, why: str) -> None:
        """The front end did what it may not: close the device."""
        self.kernel.say(f"{self.driver}: {self.name}: {why}; the {self.kind} is closed")
        self.disconnect()
        self.kernel.xs.write(f"{self.path}/error", why[:200])
        self._go(XenbusState.CLOSED)

    def disconnect(self) -> None:
        """Forget what was asked, unbind, unmap."""
        self.forget()
        if self._evtchn is not None:
            self.kernel.events.close(self._evtchn)
            self._evtchn = None
        for mapping in self._mapped:
            self.kernel.maps.unmap(*mapping)
        self._mapped.clear()
