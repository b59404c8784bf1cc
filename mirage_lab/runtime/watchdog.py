"""The watchdog: a guest step that holds the host for more than a second is broken off.

A step of Python code that never yields would hold the kernel for ever: between cells ipykernel ignores SIGINT.  A thread
looks four times a second whether the same guest step is still running and, after a second, raises `GuestSpinning` in the
stepping thread.  A step costs two attribute writes; the thread exists only while a guest has run.

    _step        serial += 1, active = True ... active = False
    _watch       same serial, still active, for LIMIT: SetAsyncExc, under the lock that `end` takes when it must
"""

from __future__ import annotations

import ctypes
import threading
from typing import Final

from mirage_lab.runtime.host import monotonic_ns
from mirage_lab.signatures.units import Ns

__all__ = ["GuestSpinning", "Watchdog"]

LIMIT: Final = Ns(1_000_000_000)
"""Host time one guest step may take."""

GLANCE: Final = 0.25
"""Seconds between two looks."""


class GuestSpinning(BaseException):
    """Raised in a guest step that did not yield for a second."""


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error) if error else None)


class Watchdog:
    """Watches the guest steps of one world."""

    __slots__ = ("_lock", "_stop", "_thread", "active", "fired", "serial", "stepper")

    def __init__(self) -> None:
        self.serial = 0
        self.active = False
        self.fired = False
        self.stepper = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def begin(self) -> None:
        """A guest step begins on this thread."""
        if self._thread is None:
            self._start()
        self.stepper = threading.get_ident()
        self.serial += 1
        self.active = True

    def end(self) -> None:
        """The guest step ended; takes back an exception that was on its way."""
        self.active = False
        if self.fired:
            with self._lock:
                _raise_in(self.stepper, None)
                self.fired = False

    def _start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, name="mirage_lab-watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        serial, since = -1, monotonic_ns()
        while not self._stop.wait(GLANCE):
            now = monotonic_ns()
            if not self.active or self.serial != serial:
                serial, since = self.serial, now
            elif now - since >= LIMIT:
                with self._lock:
                    if self.active and self.serial == serial:
                        self.fired = True
                        _raise_in(self.stepper, GuestSpinning)  # and again at each glance, if the guest swallows it

    def close(self) -> None:
        """Stop watching; a later guest step starts it again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            if thread is not threading.current_thread():
                thread.join(timeout=2)
