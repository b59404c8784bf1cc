"""TcpV4: TCPV4, all connections of one address: who gets which segment, listeners, ports, limits.

Everything is bounded: connections in all, connections that have not answered our SYN yet, and (by the Pcb) the bytes of each.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from typing import ClassVar, Final

from mirage_lab.runtime import RunQueue, tasks
from mirage_lab.signatures.errors import ConnectionRefused, ConnectionReset, ConnectionTimedOut, LocalProtocolError
from mirage_lab.signatures.network import Serve
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.ipv4 import Ipv4
from mirage_lab.tcpip.tcp.flow import TcpFlow
from mirage_lab.tcpip.tcp.pcb import Pcb, reset_for
from mirage_lab.tcpip.tcp.profile import profile_of
from mirage_lab.tcpip.tcp.states import State
from mirage_lab.tcpip.wire.address import ip_int, ip_text
from mirage_lab.tcpip.wire.checksum import pseudo_v4
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.seq import MASK, before
from mirage_lab.tcpip.wire.tcp import ACK, PROTO, SYN, Segment, decode, encode

__all__ = ["TcpStatistics", "TcpV4"]

EPHEMERAL: Final = range(49_152, 65_536)
CONNECTIONS: Final = 16_384
BACKLOG: Final = 256
HEADERS: Final = 40
DOUBT: Final = 3
"""Timeouts in a row after which the next hop's address is asked for again (R1 of RFC 1122 section 4.2.3.5)."""


@dataclass(frozen=True, slots=True)
class TcpStatistics:
    """Segments and connections; `retransmitted` segments; drops by reason."""

    received: int
    sent: int
    retransmitted: int
    connections: int
    opened: int
    refused: int
    dropped: dict[str, int]


class TcpV4:
    """TCP for one Ipv4."""

    module_type: ClassVar[str] = "TCPV4"

    def __init__(self, queue: RunQueue, ipv4: Ipv4, *, profile: str = "today") -> None:
        self.queue = queue
        self.ipv4 = ipv4
        self.profile = profile_of(profile)
        self.mss = ipv4.mtu - HEADERS
        self._connections: dict[int, TcpFlow] = {}
        self._embryonic: dict[int, TcpFlow] = {}
        self._listeners: dict[int, Serve] = {}
        self._drops = Drops(queue, "tcp.drop")
        self._secret = queue.rng("tcp.isn").randbytes(16)
        self._port = queue.rng("tcp.port").choice(EPHEMERAL)
        self._received = self._sent = self._retransmitted = self._opened = self._refused = 0
        self._kinds = {name: queue.kind(name) for name in ("tcp.state", "tcp.retransmit", "tcp.rto", "tcp.undo", "tcp.cwnd")}
        self._k_established = queue.kind("tcp.established")
        self._k_listen = queue.kind("tcp.listen")
        self.k_buffers = queue.kind("tcp.buffers")
        ipv4.register(PROTO, self.input)

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.ipv4.id

    def __repr__(self) -> str:
        return f"<TcpV4 {self.ipv4.get_ip()} listening on {sorted(self._listeners) or 'nothing'}, {len(self._connections)} connections>"

    @property
    def connections(self) -> list[TcpFlow]:
        """The connections, oldest first."""
        return list(self._connections.values())

    @property
    def listening(self) -> list[int]:
        """The ports with a listener."""
        return sorted(self._listeners)

    # input and output --------------------------------------------------------------------------------------------

    def input(self, src: int, dst: int, packet: bytes) -> None:
        """Take a segment from IPv4."""
        size = len(packet)
        total = int.from_bytes(packet, "big")
        if size & 1:
            total <<= 8
        if (total + size + pseudo_v4(src, dst, PROTO, 0)) % 0xFFFF:
            self._drops("checksum")
            return
        try:
            segment = decode(packet)
        except WireError as error:
            self._drops("malformed", text=str(error))
            return
        self._received += 1
        flow = self._connections.get(src << 32 | segment.src_port << 16 | segment.dst_port)
        if flow is not None and not (flow.pcb.state is State.TIME_WAIT and self._renews(flow.pcb, segment)):
            flow.input(segment)
        else:
            self._unknown(src, dst, segment)

    def _renews(self, pcb: Pcb, segment: Segment) -> bool:
        """True for a SYN that may reuse a connection in TIME_WAIT (RFC 9293 section 3.10.7.4)."""
        return segment.flags & (SYN | ACK) == SYN and before(pcb.rcv_nxt, segment.seq) and segment.dst_port in self._listeners

    def _unknown(self, src: int, dst: int, segment: Segment) -> None:
        """A segment of no connection: a SYN to a listener, or nothing we know."""
        serve = self._listeners.get(segment.dst_port)
        if segment.flags & 0x17 == SYN and serve is not None and dst == self.ipv4.address:
            self._accept(src, segment)
            return
        if serve is None:
            self._drops("no listener", port=segment.dst_port)
        else:
            self._drops("no connection", port=segment.dst_port)
        reset = reset_for(segment)
        if reset is not None and dst == self.ipv4.address:
            self._refused += 1
            self.output(src, encode(reset, pseudo_v4(dst, src, PROTO, 0)))

    def _accept(self, src: int, syn: Segment) -> None:
        if len(self._embryonic) >= BACKLOG or len(self._connections) >= CONNECTIONS:
            self._drops("backlog full", port=syn.dst_port)
            return
        flow = self._flow(src, syn.dst_port, syn.src_port)
        flow.pcb.accept(syn)
        self._embryonic[flow.key] = flow
        flow.after(0)

    def _flow(self, address: int, src_port: int, dst_port: int) -> TcpFlow:
        key = address << 32 | dst_port << 16 | src_port
        old = self._connections.get(key)
        if old is not None:
            self.forget(old)
        flow = TcpFlow(self, address, key, Pcb(src_port, dst_port, self._isn(key), self.profile, self.mss))
        flow.pcb.watch_cwnd = self._kinds["tcp.cwnd"].on
        self._connections[key] = flow
        return flow

    def _isn(self, key: int) -> int:
        """Initial sequence number (RFC 6528): the clock in 4 us steps plus a secret of the connection."""
        digest = hashlib.blake2s(key.to_bytes(9, "big"), key=self._secret, digest_size=4).digest()
        return (self.queue.now // 4_000 + int.from_bytes(digest, "big")) & MASK

    def output(self, dst: int, packet: bytes) -> None:
        """Send an encoded segment."""
        self._sent += 1
        self.ipv4.output(dst, PROTO, packet)

    # what flows tell ---------------------------------------------------------------------------------------------

    def remark(self, flow: TcpFlow) -> None:
        """Make events of what a Pcb remarked."""
        pcb = flow.pcb
        world = self.queue.world
        for name, fields in pcb.remarks:
            if name == "tcp.retransmit":
                self._retransmitted += 1
                flow.retransmitted += 1
            elif name == "tcp.rto" and fields["tries"] >= DOUBT:
                self.ipv4.doubt(flow.key >> 32)
            kind = self._kinds[name]
            if kind.on:
                kind.emit(world.now, self.queue.name, world.cause, {"local": "{}:{}".format(*flow.src), "remote": "{}:{}".format(*flow.dst), **fields})
        pcb.remarks.clear()

    def say_buffers(self, flow: TcpFlow) -> None:
        """Tell how much a connection holds; called only while somebody records it."""
        unread, early, queued = flow.pcb.buffered
        world = self.queue.world
        ends = {"local": "{}:{}".format(*flow.src), "remote": "{}:{}".format(*flow.dst)}
        held = {"queued": queued, "unread": unread, "early": early, "limit": flow.pcb.profile.buffer}
        self.k_buffers.emit(world.now, self.queue.name, world.cause, {**ends, **held})

    def opened(self, flow: TcpFlow) -> None:
        """A connection is established; a passive one gets its service."""
        self._opened += 1
        if self._k_established.on:
            world = self.queue.world
            fields = {"local": "{}:{}".format(*flow.src), "remote": "{}:{}".format(*flow.dst)}
            self._k_established.emit(world.now, self.queue.name, world.cause, fields)
        if self._embryonic.pop(flow.key, None) is None:
            return
        serve = self._listeners.get(flow.pcb.src_port)
        if serve is None:
            flow.abort()
        else:
            self.queue.spawn(self._serve(serve, flow), f"serve {flow.pcb.src_port}")

    async def _serve(self, serve: Serve, flow: TcpFlow) -> None:
        """Run a service; its mistakes end this connection and nothing else."""
        try:
            service = serve(flow)
            if not inspect.isawaitable(service):
                raise LocalProtocolError(f"the service of port {flow.pcb.src_port} is not async: write async def serve(flow)")
            await service
        except (ConnectionReset, ConnectionTimedOut):
            flow.finish()
        except Exception as error:
            flow.finish()
            self.queue.report_crash(await tasks.current(), error)

    def forget(self, flow: TcpFlow) -> None:
        """The connection is over."""
        flow.stop()
        if self._connections.get(flow.key) is flow:
            del self._connections[flow.key]
        self._embryonic.pop(flow.key, None)

    def unreachable(self, code: int, dst: int, quoted: bytes) -> None:
        """ICMP destination unreachable for one of our segments; `quoted` begins with its ports."""
        src_port, dst_port = quoted[0] << 8 | quoted[1], quoted[2] << 8 | quoted[3]
        flow = self._connections.get(dst << 32 | dst_port << 16 | src_port)
        if flow is not None:
            flow.after(flow.pcb.unreachable())

    # TCPV4 -------------------------------------------------------------------------------------------------------

    def listen(self, port: int, serve: Serve) -> None:
        """Run `serve(flow)` for each connection to `port`; again replaces."""
        if not isinstance(port, int) or not 0 < port < 65_536:
            raise LocalProtocolError(f"port {port!r}: ports are 1 to 65535")
        if not callable(serve):
            raise LocalProtocolError(f"port {port}: {serve!r} is no service: write async def serve(flow)")
        self._listeners[port] = serve
        if self._k_listen.on:
            self._k_listen.emit(self.queue.now, self.queue.name, self.queue.world.cause, {"port": port})

    async def create_connection(self, address: tuple[str, int]) -> TcpFlow:
        """Connect; raises ConnectionRefused or ConnectionTimedOut."""
        to, port = ip_int(address[0]), address[1]
        if not 0 < port < 65_536:
            raise LocalProtocolError(f"port {port}: ports are 1 to 65535")
        if len(self._connections) >= CONNECTIONS:
            raise ConnectionRefused(f"{self.ipv4.get_ip()} has {CONNECTIONS} connections already: close some")
        flow = self._flow(to, self._free_port(to, port), port)
        flow.pcb.connect()
        flow.after(0)
        try:
            while flow.pcb.state in (State.SYN_SENT, State.SYN_RECEIVED):
                await flow.established.wait()
        except BaseException:
            flow.abort()
            raise
        failure = flow.failure("connecting")
        if failure is not None:
            raise failure
        return flow

    def _free_port(self, address: int, port: int) -> int:
        for _ in EPHEMERAL:
            self._port = EPHEMERAL[(self._port - EPHEMERAL.start + 1) % len(EPHEMERAL)]
            if address << 32 | port << 16 | self._port not in self._connections:
                return self._port
        raise ConnectionRefused(f"no port is free for another connection to {ip_text(address)}:{port}")

    async def disconnect(self) -> None:
        """Listen to nothing any more and abort what is open."""
        self._listeners.clear()
        for flow in self.connections:
            flow.abort()

    def statistics(self) -> TcpStatistics:
        """Return the counters."""
        drops = dict(self._drops.counts)
        return TcpStatistics(self._received, self._sent, self._retransmitted, len(self._connections), self._opened, self._refused, drops)
