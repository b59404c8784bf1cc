"""Turns: a lock whose holder can see that others wait.

A thread that gives a lock back and takes it again at once leaves nobody a chance: CPython hands a lock to no one in
particular.  A player that lets others have their turn looks at `wanted` between two slices.
"""

from __future__ import annotations

import threading
from types import TracebackType

__all__ = ["Turns"]


class Turns:
    """A re-entrant lock that counts who waits for it."""

    __slots__ = ("_count", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._count = threading.Lock()
        self._waiting = 0

    @property
    def wanted(self) -> bool:
        """True while another thread waits for the lock."""
        return self._waiting > 0

    def acquire(self, timeout: float = -1) -> bool:
        """Take the lock, waiting at most `timeout` seconds (negative: for ever); True when it was got."""
        if self._lock.acquire(blocking=False):
            return True
        with self._count:
            self._waiting += 1
        try:
            return self._lock.acquire(timeout=timeout)
        finally:
            with self._count:
                self._waiting -= 1

    def release(self) -> None:
        """Give it back; raises RuntimeError when this thread does not hold it."""
        self._lock.release()

    def __enter__(self) -> Turns:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()
