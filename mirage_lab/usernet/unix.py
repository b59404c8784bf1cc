"""unix: target unix: a unikernel on this computer: standard output for a console, host sockets for a stack, a file for a disk.

The same FLOW as on Xen, on a HostSocket: what the host gives is submitted to the world like any outside input.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from mirage_lab.runtime import RunQueue, World, tasks
from mirage_lab.signatures.errors import (
    ConnectionRefused,
    ConnectionReset,
    DeviceError,
    Disconnected,
    LocalProtocolError,
    MirageError,
    Unimplemented,
)
from mirage_lab.signatures.network import Serve, UdpReceive
from mirage_lab.usernet.fileblock import FileBlock
from mirage_lab.usernet.hostsocket import CREDIT, HostSocket, listener

__all__ = ["HostFlow", "SocketStackV4", "UnixPlatform"]

WHERE: Final = "unix"
CONNECTIONS: Final = 256


class HostFlow:
    """FLOW on a host socket."""

    module_type: ClassVar[str] = "FLOW"

    def __init__(self, host: HostSocket, src: tuple[str, int], dst: tuple[str, int]) -> None:
        self.src = src
        self.dst = dst
        self.host = host
        self.connected: tasks.Future[bool] = tasks.Future()
        self._incoming: deque[bytes] = deque()
        self._changed = tasks.Condition()
        self._credit = CREDIT
        self._eof = self._reset = self._closed = False

    def on_bytes(self, data: bytes) -> None:
        """The peer sent data."""
        self._incoming.append(data)
        self._changed.notify_all()

    def on_eof(self) -> None:
        """The peer has ended its direction."""
        self._eof = True
        self._changed.notify_all()

    def on_sent(self, count: int) -> None:
        """The host took `count` bytes."""
        self._credit += count
        self._changed.notify_all()

    def on_reset(self) -> None:
        """The connection broke, or was refused."""
        self._reset = True
        if not self.connected.done:
            self.connected.set(False)
        self._changed.notify_all()

    async def read(self) -> bytes:
        """Return what has arrived; b"" at the end."""
        while not self._incoming:
            if self._reset:
                raise ConnectionReset("{}:{} reset the connection".format(*self.dst))
            if self._eof:
                return b""
            await self._changed.wait()
        data = self._incoming.popleft()
        self.host.taken(len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Queue `data`, waiting while more than 256 KiB wait for the host."""
        if self._closed:
            raise Disconnected("{}:{}: nothing can be written after flow.close()".format(*self.dst))
        while self._credit <= 0 and not self._reset:
            await self._changed.wait()
        if self._reset:
            raise ConnectionReset("{}:{} reset the connection".format(*self.dst))
        self._credit -= len(data)
        self.host.send(bytes(data))

    async def writev(self, pieces: Sequence[bytes]) -> None:
        """Queue `pieces` one after the other."""
        await self.write(b"".join(pieces))

    async def close(self) -> None:
        """End our direction."""
        if not self._closed:
            self._closed = True
            self.host.end()

    def abort(self) -> None:
        """Break the connection off."""
        self._closed = self._reset = True
        self.host.close(hard=True)


class _SocketTcp:
    """TCPV4 on host sockets."""

    module_type: ClassVar[str] = "TCPV4"
    id = "tcpv4"

    def __init__(self, platform: UnixPlatform) -> None:
        self._platform = platform
        self._listeners: dict[int, socket.socket] = {}

    def listen(self, port: int, serve: Serve) -> None:
        """Run `serve(flow)` for each connection; a port that is not free or not allowed gets another number."""
        platform = self._platform
        platform.services[port] = serve
        if port in self._listeners:
            return
        for wanted in (port, port + 8_000 if port < 1_024 else 0, 0):
            try:
                sock = listener(wanted)
                break
            except OSError:
                continue
        else:
            raise LocalProtocolError(f"no port of 127.0.0.1 can be listened on for port {port}")
        self._listeners[port] = sock
        platform.ports[port] = sock.getsockname()[1]
        if platform.ports[port] != port:
            platform.console.log(f"port {port} is port {platform.ports[port]} of 127.0.0.1")
        platform.world.host.register(sock, lambda: self._accept(port, sock))

    def _accept(self, port: int, sock: socket.socket) -> None:
        try:
            connection, peer = sock.accept()
        except OSError:
            return
        platform = self._platform
        if len(platform.flows) >= CONNECTIONS:
            connection.close()
            return
        cid = platform.next_cid()
        platform.sockets[cid] = HostSocket(platform.world, WHERE, cid, connection, platform.forget)
        platform.world.submit(f"host.accept@{WHERE}", cid=cid, port=port, peer=tuple(peer))

    async def create_connection(self, address: tuple[str, int]) -> HostFlow:
        """Connect; raises ConnectionRefused."""
        platform = self._platform
        cid = platform.next_cid()
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        host = platform.sockets[cid] = HostSocket(platform.world, WHERE, cid, sock, platform.forget)
        flow = platform.flows[cid] = HostFlow(host, ("127.0.0.1", 0), address)
        host.connect(address)
        if not await flow.connected.wait():
            raise ConnectionRefused("{}:{} refused the connection".format(*address))
        return flow

    async def disconnect(self) -> None:
        """Listen to nothing any more."""
        self.close()

    def close(self) -> None:
        """Close the listening sockets."""
        for sock in self._listeners.values():
            self._platform.world.host.unregister(sock)
            sock.close()
        self._listeners.clear()


class _SocketIp:
    """IPV4 as far as sockets show it."""

    module_type: ClassVar[str] = "IPV4"
    id = "ipv4"

    def get_ip(self) -> str:
        """Return our address."""
        return "127.0.0.1"

    def get_netmask(self) -> str:
        """Return our netmask."""
        return "255.0.0.0"

    def get_gateways(self) -> list[str]:
        """A loopback has no gateway."""
        return []

    def write(self, dst: str, proto: int, payload: bytes) -> None:
        """Sockets do not send raw packets."""
        raise Unimplemented("target unix sends no raw IP packets: configure(job, target='xen') does")

    async def disconnect(self) -> None:
        """Nothing is held."""


class SocketStackV4:
    """STACKV4 on host sockets, 127.0.0.1 only.  UDP is not offered."""

    module_type: ClassVar[str] = "STACKV4"
    id = "socket_stackv4"

    def __init__(self, platform: UnixPlatform) -> None:
        self.tcpv4 = _SocketTcp(platform)
        self.ipv4 = _SocketIp()

    @property
    def udpv4(self) -> Any:
        """Not offered."""
        raise Unimplemented("socket_stackv4 offers TCP only: configure(job, target='xen') with a direct stack has UDP")

    def listen_tcpv4(self, port: int, serve: Serve) -> None:
        """Run `serve(flow)` for each connection to `port`."""
        self.tcpv4.listen(port, serve)

    def listen_udpv4(self, port: int, receive: UdpReceive) -> None:
        """Not offered."""
        raise Unimplemented("socket_stackv4 offers TCP only: configure(job, target='xen') with a direct stack has UDP")

    async def listen(self) -> None:
        """Serve for ever."""
        await tasks.Condition().wait()

    async def disconnect(self) -> None:
        """Close everything."""
        await self.tcpv4.disconnect()


class _Console:
    """CONSOLE that hands lines to a function and keeps the last ones."""

    module_type: ClassVar[str] = "CONSOLE"
    id = "console"
    KEPT: Final = 10_000

    def __init__(self, out: Callable[[str], None]) -> None:
        self.lines: list[str] = []
        self._out = out

    @property
    def text(self) -> str:
        """What was printed, the last 10,000 lines."""
        return "".join(f"{line}\n" for line in self.lines)

    def log(self, text: str) -> None:
        """Print a line."""
        self.lines.append(text)
        if len(self.lines) > self.KEPT:
            del self.lines[: self.KEPT // 4]
        self._out(text)

    async def log_s(self, text: str) -> None:
        """Print a line."""
        self.log(text)

    async def write(self, data: bytes) -> None:
        """Print bytes as text."""
        self.log(data.decode("utf-8", "backslashreplace").rstrip("\n"))

    async def writev(self, pieces: Sequence[bytes]) -> None:
        """Print pieces one after the other."""
        await self.write(b"".join(pieces))

    async def read(self) -> bytes:
        """Nothing is typed: end of file."""
        return b""

    async def close(self) -> None:
        """A console stays open."""

    async def disconnect(self) -> None:
        """A console stays connected."""


class UnixPlatform:
    """The "os" of target unix: `queue`, `console`, `socket_stackv4()`, `block(path)`."""

    profile = "today"

    def __init__(self, world: World, queue: RunQueue, out: Callable[[str], None]) -> None:
        self.world = world
        self.queue = queue
        self.console = _Console(out)
        self.services: dict[int, Serve] = {}
        self.ports: dict[int, int] = {}
        self.sockets: dict[str, HostSocket] = {}
        self.flows: dict[str, HostFlow] = {}
        self._cid = 0
        self._stack: SocketStackV4 | None = None
        self._blocks: dict[str, FileBlock] = {}
        for name, handler in (
            ("host.accept", self._on_accept),
            ("host.bytes", lambda cid, data: self._flow(cid, lambda flow: flow.on_bytes(data))),
            ("host.eof", lambda cid: self._flow(cid, HostFlow.on_eof)),
            ("host.sent", lambda cid, count: self._flow(cid, lambda flow: flow.on_sent(count))),
            ("host.reset", lambda cid: self._flow(cid, HostFlow.on_reset)),
            ("host.connected", lambda cid: self._flow(cid, lambda flow: None if flow.connected.done else flow.connected.set(True))),
        ):
            world.on_command(f"{name}@{WHERE}", handler)

    def next_cid(self) -> str:
        """Return a connection number nobody has had."""
        self._cid += 1
        return f"u{self._cid}"

    def forget(self, cid: str) -> None:
        """A host socket was given back."""
        self.sockets.pop(cid, None)

    def _flow(self, cid: str, tell: Callable[[HostFlow], Any]) -> None:
        flow = self.flows.get(cid)
        if flow is not None:
            tell(flow)

    def _on_accept(self, cid: str, port: int, peer: tuple[str, int]) -> None:
        host = self.sockets[cid]
        flow = self.flows[cid] = HostFlow(host, ("127.0.0.1", port), peer)
        host.watch()
        self.queue.spawn(self._serve(port, cid, flow), f"serve {port}")

    async def _serve(self, port: int, cid: str, flow: HostFlow) -> None:
        try:
            await self.services[port](flow)
        except MirageError:
            flow.abort()
        except Exception as error:
            flow.abort()
            self.queue.report_crash(await tasks.current(), error)
        finally:
            self.flows.pop(cid, None)

    def socket_stackv4(self) -> SocketStackV4:
        """Return the stack, one for the platform."""
        if self._stack is None:
            self._stack = SocketStackV4(self)
        return self._stack

    async def netif(self, dev: str) -> Any:
        """There is no virtual interface on unix."""
        raise DeviceError(f"netif {dev!r}: target unix has no virtual interfaces; devices.socket_stackv4() has its sockets")

    async def block(self, dev: str) -> FileBlock:
        """Return the disk that is made of this file; raises DeviceError."""
        there = self._blocks.get(dev)
        if there is None or there.closed:
            there = self._blocks[dev] = FileBlock(dev)
        return there

    def close(self) -> None:
        """Give the sockets and files back."""
        for block in self._blocks.values():
            block.close()
        if self._stack is not None:
            self._stack.tcpv4.close()
        for host in list(self.sockets.values()):
            host.close(hard=True)
