"""Xs: the xenstore client of a guest (MirageOS Xs): requests over the ring page, many in flight, answered by request id."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import RemoteProtocolError
from mirage_lab.xen.abi import errno
from mirage_lab.xen.abi.evtchn import Events
from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.abi.xen import Port

__all__ = ["Handle", "Xs", "XsError"]

T = TypeVar("T")
RETRIES: Final = 64
_CODES: Final = {name: code for code, name in errno.NAMES.items()}


class XsError(RemoteProtocolError):
    """xenstored refused a request; `code` is the errno."""


class Handle:
    """Requests outside a transaction (tid 0) or inside one.  Paths may be relative to the domain's own."""

    def __init__(self, xs: Xs, tid: int) -> None:
        self._xs = xs
        self.tid = tid

    async def read(self, path: str) -> str:
        """Return a value."""
        return (await self._xs.request(wire.READ, self.tid, path)).decode("utf-8", "backslashreplace")

    async def write(self, path: str, value: str) -> None:
        """Write a value."""
        await self._xs.call(wire.WRITE, self.tid, path.encode() + b"\0" + value.encode())

    async def mkdir(self, path: str) -> None:
        """Make a node."""
        await self._xs.request(wire.MKDIR, self.tid, path)

    async def rm(self, path: str) -> None:
        """Remove a node and all below it."""
        await self._xs.request(wire.RM, self.tid, path)

    async def directory(self, path: str) -> list[str]:
        """Return the names of the children."""
        return [name.decode() for name in (await self._xs.request(wire.DIRECTORY, self.tid, path)).split(b"\0") if name]

    async def get_perms(self, path: str) -> list[str]:
        """Return the permissions, `["n0", "r1"]`."""
        return [text.decode() for text in (await self._xs.request(wire.GET_PERMS, self.tid, path)).split(b"\0") if text]

    async def set_perms(self, path: str, perms: list[str]) -> None:
        """Set the permissions."""
        await self._xs.request(wire.SET_PERMS, self.tid, path, *perms)


class Xs(Handle):
    """The client; `immediate` operations are its own methods."""

    def __init__(self, events: Events, page: memoryview, port: Port) -> None:
        super().__init__(self, 0)
        self._events = events
        self._page = page
        self._port = port
        self._rid = 0
        self._out: deque[bytes] = deque()
        self._in = bytearray()
        self._waiting: dict[int, tasks.Future[bytes]] = {}
        self._watches: dict[str, Callable[[str], None]] = {}
        events.bind(port, self._event)
        events.unmask(port)

    # requests ----------------------------------------------------------------------------------------------------

    async def request(self, op: int, tid: int, *strings: str) -> bytes:
        """Send a request of strings and return the payload of its reply; raises XsError."""
        return await self.call(op, tid, b"".join(text.encode() + b"\0" for text in strings))

    async def call(self, op: int, tid: int, payload: bytes) -> bytes:
        """Send a request and return the payload of its reply; raises XsError."""
        if len(payload) > wire.PAYLOAD_MAX:
            raise XsError(f"{wire.OP_NAMES[op]}: {len(payload)} bytes; {wire.PAYLOAD_MAX} are allowed", errno.E2BIG)
        self._rid = rid = self._rid % 0xFFFF_FFFF + 1
        answer: tasks.Future[bytes] = tasks.Future()
        self._waiting[rid] = answer
        self._out.append(wire.message(op, rid, tid, payload))
        self._push()
        reply = await answer.wait()
        kind = int.from_bytes(reply[:4], "little")
        if kind == wire.ERROR:
            name = reply[4:].rstrip(b"\0").decode("ascii", "replace")
            what = payload.split(b"\0")[0].decode("utf-8", "backslashreplace")
            raise XsError(f"xenstore {wire.OP_NAMES[op]} {what}: {name}", _CODES.get(name, errno.EIO))
        return reply[4:]

    def _push(self) -> None:
        moved = False
        while self._out:
            first = self._out[0]
            count = wire.write(self._page, first, request=True)
            moved = moved or bool(count)
            if count < len(first):
                self._out[0] = first[count:]
                break
            self._out.popleft()
        if moved:
            self._events.notify(self._port)

    def _event(self) -> None:
        data = wire.read(self._page, request=False)
        if data:
            self._events.notify(self._port)
        buffered = self._in
        buffered += data
        while len(buffered) >= wire.HEADER.size:
            op, rid, _, length = wire.HEADER.unpack_from(buffered)
            end = wire.HEADER.size + length
            if len(buffered) < end:
                break
            payload = bytes(buffered[wire.HEADER.size : end])
            del buffered[:end]
            if op == wire.WATCH_EVENT:
                path, token, *_ = payload.split(b"\0")
                watcher = self._watches.get(token.decode())
                if watcher is not None:
                    watcher(path.decode())
            elif rid in self._waiting:
                self._waiting.pop(rid).set(op.to_bytes(4, "little") + payload)
        self._push()

    # watches and transactions ------------------------------------------------------------------------------------

    async def watch(self, path: str, token: str, callback: Callable[[str], None]) -> None:
        """Call `callback(path)` now and whenever something at or below `path` changes."""
        self._watches[token] = callback
        await self.request(wire.WATCH, 0, path, token)

    async def unwatch(self, path: str, token: str) -> None:
        """End a watch."""
        self._watches.pop(token, None)
        await self.request(wire.UNWATCH, 0, path, token)

    async def wait(self, path: str, wanted: Callable[[str], T | None], missing: T | None = None) -> T:
        """Return the first `wanted(value of path)` that is not None, looking again whenever `path` changes.

        `missing` is what counts as found when there is no such node (of another domain: EACCES); without it that is waited for too.
        """
        changed = tasks.Condition()
        token = f"wait:{path}:{self._rid}"
        fired = [False]

        def fire(told: str) -> None:
            fired[0] = True
            changed.notify_all()

        await self.watch(path, token, fire)
        try:
            while True:
                fired[0] = False
                try:
                    found = wanted(await self.read(path))
                except XsError as error:
                    if error.code != errno.ENOENT and (missing is None or error.code != errno.EACCES):
                        raise
                    found = missing
                if found is not None:
                    return found
                while not fired[0]:
                    await changed.wait()
        finally:
            await self.unwatch(path, token)

    async def transaction(self, body: Callable[[Handle], Awaitable[T]]) -> T:
        """Run `await body(handle)` in a transaction, again when it conflicts with another; raises XsError."""
        for _ in range(RETRIES):
            tid = int((await self.request(wire.TRANSACTION_START, 0, "")).rstrip(b"\0"))
            try:
                found = await body(Handle(self, tid))
            except BaseException:
                await self.request(wire.TRANSACTION_END, tid, "F")
                raise
            try:
                await self.request(wire.TRANSACTION_END, tid, "T")
            except XsError as error:
                if error.code != errno.EAGAIN:
                    raise
            else:
                return found
        raise XsError(f"a transaction met another one {RETRIES} times", errno.EAGAIN)
