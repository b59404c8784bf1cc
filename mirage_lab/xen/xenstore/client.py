"""Client: xenstore for dom0's own programs: direct calls, text in and out, watches called back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mirage_lab.xen.xenstore.store import absolute, parse_perms, show_perms

if TYPE_CHECKING:
    from mirage_lab.xen.xenstore.daemon import Connection, Watch

__all__ = ["Client"]


class Client:
    """Reads and writes with dom0's rights; raises StoreError.  Values are text (what is not UTF-8 is escaped)."""

    def __init__(self, connection: Connection, tid: int = 0) -> None:
        self._connection = connection
        self._tid = tid
        self._callbacks: dict[str, Callable[[str], None]] = {}
        connection.callback = self._fired if not tid else connection.callback

    @property
    def name(self) -> str:
        """Whose it is."""
        return self._connection.name

    def reconnect(self, connection: Connection) -> None:
        """Go on over another connection: xenstored was started again."""
        self._connection = connection
        connection.callback = self._fired

    def read(self, path: str) -> str:
        """Return a value."""
        return self._connection.view(self._tid).read(absolute(path, 0)).decode("utf-8", "backslashreplace")

    def get(self, path: str, default: str = "") -> str:
        """Return a value, or `default` where there is none."""
        return self.read(path) if self.exists(path) else default

    def exists(self, path: str) -> bool:
        """True if there is a node."""
        return self._connection.view(self._tid).exists(absolute(path, 0))

    def list(self, path: str) -> list[str]:
        """Return the names of the children."""
        return self._connection.view(self._tid).directory(absolute(path, 0))

    def walk(self, limit: int) -> Iterator[tuple[str, str, tuple[str, ...], list[str]]]:  # type: ignore[valid-type]
        """Yield (path, value, names of the children, permissions) of everything, parents first, children in order, at most `limit`."""
        nodes = self._connection.store.nodes
        waiting = [f"/{name}" for name in reversed(nodes["/"].children)]
        while waiting and limit:
            path = waiting.pop()
            node = nodes[path]
            yield path, node.value.decode("utf-8", "backslashreplace"), node.children, show_perms(node.perms)
            waiting += [f"{path}/{name}" for name in reversed(node.children)]
            limit -= 1

    def write(self, path: str, value: str) -> None:
        """Write a value."""
        with self._connection.daemon.acting(self._connection, self._tid):
            self._connection.view(self._tid).write(absolute(path, 0), value.encode())

    def mkdir(self, path: str) -> None:
        """Make a node."""
        with self._connection.daemon.acting(self._connection, self._tid):
            self._connection.view(self._tid).mkdir(absolute(path, 0))

    def rm(self, path: str) -> None:
        """Remove a node and all below it."""
        with self._connection.daemon.acting(self._connection, self._tid):
            self._connection.view(self._tid).rm(absolute(path, 0))

    def get_perms(self, path: str) -> list[str]:  # type: ignore[valid-type]
        """Return the permissions, `["n0", "r1"]`."""
        return show_perms(self._connection.view(self._tid).get_perms(absolute(path, 0)))

    def set_perms(self, path: str, perms: list[str]) -> None:  # type: ignore[valid-type]
        """Set the permissions, `["n0", "r1"]`."""
        daemon = self._connection.daemon
        if path.startswith("@"):
            daemon.set_special(path, parse_perms(perms), 0)
            return
        with daemon.acting(self._connection, self._tid):
            self._connection.view(self._tid).set_perms(absolute(path, 0), parse_perms(perms))

    @contextmanager
    def transaction(self) -> Iterator[Client]:
        """Commit what is done in the block at its end (nothing runs in between, so there is no conflict)."""
        tid = self._connection.start()
        try:
            yield Client(self._connection, tid)
        except BaseException:
            self._connection.end(tid, False)
            raise
        self._connection.end(tid, True)

    def watch(self, path: str, callback: Callable[[str], None]) -> None:
        """Call `callback(changed path)` now and whenever something at or below `path` changes; again replaces."""
        if path in self._callbacks:
            self.unwatch(path)
        self._callbacks[path] = callback
        self._connection.watch(path if path.startswith("@") else absolute(path, 0), path, path)
        self._connection.daemon.settle()

    def unwatch(self, path: str) -> None:
        """End a watch."""
        if self._callbacks.pop(path, None) is not None:
            self._connection.unwatch(path if path.startswith("@") else absolute(path, 0), path)
            self._connection.daemon.settle()

    def _fired(self, watch: Watch, told: str) -> None:
        callback = self._callbacks.get(watch.token)
        if callback is not None:
            callback(told)
