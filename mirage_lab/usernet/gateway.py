"""Gateway: the lab's own machine on a lan: its stack, the forwards, and what guests may reach of the host."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mirage_lab.runtime import World
from mirage_lab.signatures.errors import LocalProtocolError, MirageError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.tcpip.advertiser import RouterAdvertiser
from mirage_lab.tcpip.dhcp import DhcpServer, Pool
from mirage_lab.tcpip.ipv6 import Ipv6
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire.address import ip_text
from mirage_lab.tcpip.wire.address6 import ip6_text, network6
from mirage_lab.usernet.hostsocket import HostSocket, listener
from mirage_lab.usernet.link import Link
from mirage_lab.vnetif import Netif, Segment

__all__ = ["Forward", "ForwardStatistics", "Gateway"]

PREFERRED: Final = 8_080
CONNECTIONS: Final = 256


@dataclass(frozen=True, slots=True)
class ForwardStatistics:
    """Connections so far and open now, bytes to the guest and to the host."""

    connections: int
    open: int
    to_guest: int
    to_host: int


class Forward:
    """A port of 127.0.0.1 that leads to a port on the lan."""

    def __init__(self, gateway: Gateway, address: str, port: int, host_port: int | None, name: str) -> None:
        self.address = address
        self.port = port
        self.name = name
        self.host_port = host_port or 0
        self.links: dict[str, Link] = {}
        self.closed = False
        self._gateway = gateway
        self._chosen = host_port
        self._sock: socket.socket | None = None
        self._connections = self._to_guest = self._to_host = 0

    @property
    def url(self) -> str:
        """`http://127.0.0.1:8080/`."""
        return f"http://127.0.0.1:{self.host_port}/"

    @property
    def state(self) -> str:
        """`closed`, `listening`, or how many connections are open."""
        if self.closed:
            return "closed"
        return f"{len(self.links)} open" if self.links else "listening"

    def __repr__(self) -> str:
        return f"<Forward 127.0.0.1:{self.host_port} -> {self.address}:{self.port} {self.state}>"

    def statistics(self) -> ForwardStatistics:
        """Return the counters."""
        there = sum(link.to_guest for link in self.links.values())
        back = sum(link.to_host for link in self.links.values())
        return ForwardStatistics(self._connections, len(self.links), self._to_guest + there, self._to_host + back)

    # the host's side ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Listen on the host: the chosen port, else 8080, else any.  Raises LocalProtocolError."""
        world = self._gateway.world
        wanted = (self._chosen,) if self._chosen else (PREFERRED, 0)
        for port in wanted:
            try:
                self._sock = listener(port)
                break
            except OSError as error:
                reason = error.strerror or str(error)
        if self._sock is None:
            raise LocalProtocolError(f"127.0.0.1:{self._chosen} cannot be listened on ({reason}): choose another host_port, or none")
        self.host_port = self._chosen = self._sock.getsockname()[1]
        world.host.register(self._sock, self._accept)

    def _accept(self) -> None:
        assert self._sock is not None
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        if len(self.links) >= CONNECTIONS:
            sock.close()
            return
        gateway = self._gateway
        cid = gateway.next_cid()
        gateway.sockets[cid] = HostSocket(gateway.world, gateway.where, cid, sock, gateway.forget)
        gateway.world.submit(f"host.accept@{gateway.where}", cid=cid, name=self.name, port=self.port)

    def shut(self) -> None:
        """Stop listening on the host."""
        if self._sock is not None:
            self._gateway.world.host.unregister(self._sock)
            self._sock.close()
            self._sock = None

    # the world's side --------------------------------------------------------------------------------------------

    def accepted(self, cid: str) -> None:
        """A host program has connected: connect to the guest for it."""
        gateway = self._gateway
        self._connections += 1
        link = self.links[cid] = gateway.link(cid, self._ended)
        gateway.queue.spawn(self._connect(link), f"forward {self.port}")

    async def _connect(self, link: Link) -> None:
        try:
            flow = await self._gateway.stack.tcpv4.create_connection((self.address, self.port))
        except MirageError:
            link.refuse()
            return
        if link.over:
            flow.abort()
            return
        await link.carry(flow)

    def _ended(self, link: Link) -> None:
        self.links.pop(link.cid, None)
        self._to_guest += link.to_guest
        self._to_host += link.to_host

    def close(self) -> None:
        """Stop listening and break what is open."""
        self.closed = True
        self.shut()
        for link in list(self.links.values()):
            link.reset()
        self._gateway.forwards.pop((self.name, self.port), None)


class Gateway:
    """A stack on the lan in a queue of its own, forwards, and the host addresses that guests may reach."""

    def __init__(self, world: World, segment: Segment, *, address: str = "10.0.0.1/24") -> None:
        self.world = world
        self.where = segment.name
        self.queue = world.queue("gateway")
        rng = world.rng(f"gateway:{segment.name}")
        mac = "02:00:00:" + ":".join(f"{rng.randrange(256):02x}" for _ in range(3))
        self.netif = Netif(self.queue, segment, mac, "gateway")
        self.stack = Stack(self.queue, self.netif, address=address)
        self.dhcp: DhcpServer | None = None
        self.advertiser: RouterAdvertiser | None = None
        self.prefix6: str | None = None
        self.forwards: dict[tuple[str, int], Forward] = {}
        self.allowed: dict[int, tuple[str, int]] = {}
        self.sockets: dict[str, HostSocket] = {}
        self._links: dict[str, Link] = {}
        self._cid = self._outgoing = 0  # counted apart: the first by the host, the second by events of the world
        self._kinds = {name: world.recorder.kind(name) for name in ("host.accept", "host.bytes", "host.close")}
        for name, handler in (
            ("host.accept", self._on_accept),
            ("host.bytes", self._on_bytes),
            ("host.eof", self._on_eof),
            ("host.sent", self._on_sent),
            ("host.reset", self._on_reset),
            ("host.connected", self._on_connected),
        ):
            world.on_command(f"{name}@{self.where}", handler)

    def __repr__(self) -> str:
        return f"<Gateway {self.stack.ipv4.get_ip()} on {self.where}: {len(self.forwards)} forwards, {len(self._links)} connections>"

    def next_cid(self) -> str:
        """Return a connection number nobody has had."""
        self._cid += 1
        return f"f{self._cid}"

    def forget(self, cid: str) -> None:
        """A host socket was given back."""
        self.sockets.pop(cid, None)

    def link(self, cid: str, done: Callable[[Link], None]) -> Link:
        """Return the link of a connection."""

        def over(link: Link) -> None:
            self._links.pop(cid, None)
            self._emit("host.close", cid, to_guest=link.to_guest, to_host=link.to_host)
            done(link)

        found = self._links[cid] = Link(self.queue, cid, self.sockets.get(cid), over)
        return found

    def _emit(self, name: str, cid: str, **fields: Any) -> None:
        kind = self._kinds[name]
        if kind.on:
            self.world.cause = kind.emit(self.world.now, "gateway", self.world.cause, {"connection": cid, **fields})

    # commands from the host --------------------------------------------------------------------------------------

    def _on_accept(self, cid: str, name: str, port: int) -> None:
        self._cid = max(self._cid, int(cid[1:]))
        forward = self.forwards.get((name, port))
        self._emit("host.accept", cid, forward=name, port=port)
        if forward is not None:
            forward.accepted(cid)
            socket_ = self.sockets.get(cid)
            if socket_ is not None:
                socket_.watch()
        elif cid in self.sockets:
            self.sockets[cid].close(hard=True)

    def _on_bytes(self, cid: str, data: bytes) -> None:
        if cid in self._links:
            self._emit("host.bytes", cid, length=len(data))
            self._links[cid].bytes(data)

    def _on_eof(self, cid: str) -> None:
        if cid in self._links:
            self._links[cid].eof()

    def _on_sent(self, cid: str, count: int) -> None:
        if cid in self._links:
            self._links[cid].sent(count)

    def _on_reset(self, cid: str) -> None:
        if cid in self._links:
            self._links[cid].reset()

    def _on_connected(self, cid: str) -> None:
        if cid in self._links and not self._links[cid].connected.done:
            self._links[cid].connected.set(True)

    # what the lab asks -------------------------------------------------------------------------------------------

    def forward(self, address: str, port: int, *, host_port: int | None = None, name: str = "") -> Forward:
        """Lead a port of 127.0.0.1 to `address`:`port` on the lan.  Raises LocalProtocolError when the port is taken."""
        forward = Forward(self, address, port, host_port, name)
        if self.world.live:
            forward.open()
        self.forwards[name, port] = forward
        return forward

    def serve_dhcp(self, **pool: Any) -> DhcpServer:
        """Give addresses to who asks: those of `pool` (`tcpip.dhcp.Pool`), or most of the upper part of the lan.

        The pool of 10.0.0.0/24 is 10.0.0.100 to 10.0.0.199; the router is this gateway.  Again replaces the server.
        Raises LocalProtocolError.
        """
        own = self.stack.ipv4
        base, size = own.address & own.mask, 1 << 32 - own.prefix
        if size < 8:
            raise LocalProtocolError(f"a lan of {size} addresses is too small for DHCP")
        first = base + (size * 2 // 5 if size != 256 else 100)
        last = first + min(99, base + size - 2 - first)
        chosen = {"first": ip_text(first), "last": ip_text(last), "router": own.get_ip(), **pool}
        self.dhcp = DhcpServer(self.stack, Pool(f"{own.get_ip()}/{own.prefix}", **chosen))
        return self.dhcp

    def announce(self, prefix: str) -> RouterAdvertiser:
        """Announce an IPv6 prefix ("fd00:1::/64") on the lan, of which stacks make addresses; again replaces.  Raises LocalProtocolError.

        The gateway's own address there ends in 1.  It answers echoes and passes nothing on, as it does for IPv4.
        """
        address, length = network6(prefix)
        if length > 127 or not address >> 128 - length:
            raise LocalProtocolError(f"{prefix}: a prefix to announce looks like fd00:1::/64")
        if self.advertiser is not None:
            ipv6 = self.advertiser.ipv6
            self.advertiser.stop()
        else:
            ipv6 = Ipv6(self.queue, self.stack.ethif, accept_ra=False)
        ipv6.add_ip(f"{ip6_text(address >> 128 - length << 128 - length | 1)}/{length}")
        self.advertiser = RouterAdvertiser(ipv6, prefix)
        self.prefix6 = prefix
        return self.advertiser

    def allow_outbound(self, address: str) -> None:
        """Let guests reach one host address, "127.0.0.1:5432", at the gateway's port of that number."""
        host, _, text = address.rpartition(":")
        if not host or not text.isdecimal() or not 0 < int(text) < 65_536:
            raise LocalProtocolError(f"{address!r}: an address to allow looks like 127.0.0.1:5432")
        port = int(text)
        self.allowed[port] = (host, port)
        self.stack.listen_tcpv4(port, partial(self._outbound, (host, port)))

    async def _outbound(self, to: tuple[str, int], flow: TcpFlow) -> None:
        self._outgoing += 1
        cid = f"o{self._outgoing}"
        if self.world.live:
            self.sockets[cid] = HostSocket(self.world, self.where, cid, socket.socket(socket.AF_INET, socket.SOCK_STREAM), self.forget)
        link = self.link(cid, lambda link: None)
        if link.host is not None:
            link.host.connect(to)
        if await link.connected.wait():
            await link.carry(flow)
        else:
            flow.abort()  # type: ignore[attr-defined]

    def go_live(self) -> None:
        """After a replay: listen again; connections that were open then have no host socket any more and are broken."""
        for forward in self.forwards.values():
            forward.open()
        for cid in list(self._links):
            self.world.submit(f"host.reset@{self.where}", cid=cid)

    def close(self) -> None:
        """Give the host's sockets back."""
        for forward in self.forwards.values():
            forward.shut()
        for sock in list(self.sockets.values()):
            sock.close(hard=True)
        self.sockets.clear()
