"""host: the one selector on which rooms register host sockets, and the one place that reads a clock.

Whoever drives the world polls it.  Callbacks run outside events; they read or write their socket and hand what they got
to `World.submit`.  A selector is made when the first socket is registered: a world without host input opens nothing.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from typing import Protocol

from mirage_lab.signatures.units import Ns

__all__ = ["HasFileno", "HostSelector", "monotonic_ns", "wait"]

Ready = list[tuple[selectors.SelectorKey, int]]


class HasFileno(Protocol):
    """A socket or pipe."""

    def fileno(self) -> int: ...


def monotonic_ns() -> Ns:
    """Return the host's monotonic clock."""
    return Ns(time.monotonic_ns())


def cpu_ns() -> Ns:
    """Return the CPU time this process has used."""
    return Ns(time.process_time_ns())


def wait(duration: Ns) -> None:
    """Let the host's clock pass by `duration`."""
    if duration > 0:
        time.sleep(duration / 1e9)


class HostSelector:
    """Host file descriptors and who reads or writes them."""

    def __init__(self) -> None:
        self._selector: selectors.BaseSelector | None = None

    def register(
        self, sock: HasFileno, read: Callable[[], None] | None = None, write: Callable[[], None] | None = None
    ) -> None:
        """Call `read()` when `sock` has something to read (accept), `write()` when it takes bytes."""
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        known = sock.fileno() in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(sock)
        elif known:
            self._selector.modify(sock, events, (read, write))
        else:
            self._selector.register(sock, events, (read, write))

    modify = register
    """The same call again changes what is waited for; with neither callback it unregisters."""

    def unregister(self, sock: HasFileno) -> None:
        """Wait for nothing on `sock` any more; an unknown one is ignored."""
        if self._selector is not None and sock.fileno() in self._selector.get_map():
            self._selector.unregister(sock)

    def __len__(self) -> int:
        return len(self._selector.get_map()) if self._selector is not None else 0

    def select(self, timeout: Ns) -> Ready:
        """Wait up to `timeout` for something to be ready, calling nothing."""
        if self._selector is None or not self._selector.get_map():
            wait(timeout)
            return []
        return self._selector.select(max(0, timeout) / 1e9)

    def dispatch(self, ready: Ready) -> None:
        """Call the callbacks of what `select` returned, unless unregistered since."""
        for key, events in ready:
            for bit, index in ((selectors.EVENT_READ, 0), (selectors.EVENT_WRITE, 1)):
                if events & bit and self._selector is not None:
                    current = self._selector.get_map().get(key.fd)
                    if current is not None and current.data[index] is not None:
                        current.data[index]()

    def poll(self) -> bool:
        """Serve what is ready now; True if there was anything."""
        if self._selector is None or not self._selector.get_map():
            return False
        ready = self._selector.select(0)
        self.dispatch(ready)
        return bool(ready)

    def close(self) -> None:
        """Forget all sockets (their owners close them)."""
        if self._selector is not None:
            self._selector.close()
            self._selector = None
