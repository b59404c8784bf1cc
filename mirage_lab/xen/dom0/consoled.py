"""consoled: takes what domains print from their console rings, and types what people write (xenconsoled)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mirage_lab.runtime import RunQueue
from mirage_lab.xen.abi.evtchn import Events
from mirage_lab.xen.abi.gntmap import Gntmap
from mirage_lab.xen.abi.grant_table import GREF_CONSOLE
from mirage_lab.xen.abi.io import console as ring
from mirage_lab.xen.abi.xen import Domid, Port

__all__ = ["ConsoleLog", "Consoled"]

KEPT: Final = 1 << 20
TYPED: Final = 64 << 10
LINE: Final = 4_096


class ConsoleLog:
    """A domain's console: what it printed (the last MiB), and `write` to type."""

    def __init__(self, daemon: Consoled, domid: Domid, name: str, page: memoryview, port: Port) -> None:
        self.domid = domid
        self.name = name
        self._daemon = daemon
        self._page: memoryview | None = page
        self._port = port
        self._log = bytearray()
        self._line = bytearray()
        self._typed = bytearray()

    @property
    def text(self) -> str:
        """All that is kept; what is not UTF-8 is escaped."""
        return self._log.decode("utf-8", "backslashreplace")

    @property
    def lines(self) -> list[str]:
        """The same by lines."""
        return self.text.splitlines()

    def write(self, text: str) -> None:
        """Type `text`; what a guest does not read is kept up to 64 KiB."""
        self._typed += text.encode()[: TYPED - len(self._typed)]
        try:
            self._push()
        except ring.RingError as error:
            self._broken(error)

    def _push(self) -> None:
        if self._page is not None and self._typed:
            count = ring.write(self._page, bytes(self._typed[: ring.IN_SIZE]), out=False)
            if count:
                del self._typed[:count]
                self._daemon.events.notify(self._port)

    def event(self) -> None:
        """The ring has something, or has room."""
        if self._page is None:
            return
        try:
            data = ring.read(self._page, out=True)
            self._push()
        except ring.RingError as error:
            self._broken(error)
            return
        if data:
            self._daemon.events.notify(self._port)
            self._print(data)

    def _broken(self, error: ring.RingError) -> None:
        self._daemon.say(f"xenconsoled: {self.name}: {error}; its console is closed")
        self.detach()

    def _print(self, data: bytes) -> None:
        self._log += data
        if len(self._log) > KEPT:
            del self._log[: len(self._log) - KEPT * 3 // 4]
        self._line += data
        *lines, rest = self._line.split(b"\n")
        self._line = rest[-LINE:]
        kind = self._daemon.k_line
        if kind.on:
            world = self._daemon.queue.world
            for line in lines:
                text = line[:LINE].decode("utf-8", "backslashreplace").rstrip("\r")
                kind.emit(world.now, self.name, world.cause, {"text": text})

    def detach(self) -> None:
        """The domain's ring is gone; the log stays."""
        if self._page is not None:
            self.event_last()
            self._page = None
            self._daemon.events.close(self._port)

    def event_last(self) -> None:
        """Take what is still in the ring, without answering."""
        try:
            data = ring.read(self._page, out=True) if self._page is not None else b""
        except ring.RingError:
            return
        if data:
            self._print(data)


class Consoled:
    """The console daemon of dom0."""

    def __init__(self, queue: RunQueue, events: Events, maps: Gntmap, say: Callable[[str], None]) -> None:
        self.queue = queue
        self.events = events
        self.say = say
        self.k_line = queue.kind("console.line")
        self._maps = maps
        self._logs: dict[int, tuple[ConsoleLog, tuple[int, int]]] = {}

    def introduce(self, domid: Domid, name: str, remote_port: Port) -> None:
        """Serve a domain: its page by grant 0, its event channel."""
        mapping = self._maps.map(domid, GREF_CONSOLE)
        port = self.events.bind_interdomain(domid, remote_port)
        log = ConsoleLog(self, domid, name, self._maps.page(mapping[0]), port)
        self._logs[domid] = (log, mapping)
        self.events.bind(port, log.event)
        self.events.unmask(port)

    def release(self, domid: Domid) -> None:
        """A domain is destroyed."""
        log, mapping = self._logs.pop(domid)
        if log._page is not None:
            log.detach()
        self._maps.unmap(*mapping)

    def console(self, domid: int) -> ConsoleLog:
        """Return the console of a domain; raises KeyError."""
        return self._logs[domid][0]
