"""Tcp: all connections over one IP: who gets which segment, listeners, ports, limits.  TcpV4 is TCPV4; `tcpv6` has the other.

A connection is known by both addresses and both ports, so a port serves as many connections as there are peers' ports.
Everything is bounded: connections in all (the oldest in TIME_WAIT makes room for a new one), connections that have not
answered our SYN yet (beyond them SYN cookies), the bytes of each (by the Pcb), and the bytes of all: beyond `memory` each
connection holds 4 KiB each way.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from mirage_lab.runtime import RunQueue, tasks
from mirage_lab.signatures.errors import ConnectionRefused, ConnectionReset, ConnectionTimedOut, LocalProtocolError
from mirage_lab.signatures.network import Serve
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.ipv4 import Ipv4
from mirage_lab.tcpip.protocol import Ip
from mirage_lab.tcpip.tcp.congestion import check
from mirage_lab.tcpip.tcp.cookies import LIFE, Cookies
from mirage_lab.tcpip.tcp.flow import TcpFlow
from mirage_lab.tcpip.tcp.numbers import Numbers
from mirage_lab.tcpip.tcp.pcb import Pcb, reset_for
from mirage_lab.tcpip.tcp.profile import Profile, profile_of
from mirage_lab.tcpip.tcp.states import State
from mirage_lab.tcpip.wire.address import end_text
from mirage_lab.tcpip.wire.checksum import folded
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.seq import MASK, before, within
from mirage_lab.tcpip.wire.tcp import ACK, CWR, ECE, PROTO, RST, SYN, Options, Segment, decode, encode, parse_options

__all__ = ["Tcp", "TcpStatistics", "TcpV4"]

CONNECTIONS: Final = 16_384
BACKLOG: Final = 256
HEADER: Final = 20
MEMORY: Final = 64 << 20
"""Bytes of data that all connections together may hold before they are kept short."""
REUSE: Final = 1_000_000_000
"""After 1 s in TIME_WAIT timestamps tell old segments from new ones, and the ports may be used again (RFC 6191)."""
DOUBT: Final = 3
"""Timeouts in a row after which the next hop's address is asked for again (R1 of RFC 1122 section 4.2.3.5)."""


@dataclass(frozen=True, slots=True)
class TcpStatistics:
    """Segments and connections; `retransmitted` segments; SYN `cookies` sent; bytes `held`; drops by reason."""

    received: int
    sent: int
    retransmitted: int
    connections: int
    opened: int
    refused: int
    cookies: int
    held: int
    dropped: dict[str, int]


class Tcp:
    """TCP over one IP, of either family; a connection is known by the numbers of its ends, however long they are."""

    module_type: ClassVar[str] = "TCP"
    chance: ClassVar[str] = "tcp"
    """Its streams of chance begin with this name."""

    def __init__(self, queue: RunQueue, ip: Ip, *, profile: str = "today", congestion: str | None = None, ecn: bool | None = None) -> None:
        """`congestion`: newreno, cubic or bbr; `ecn`: True to ask for it, False to refuse it; None: as in the profile."""
        self.queue = queue
        self.ip = ip
        self.profile = _chosen(profile_of(profile), congestion, ecn)
        self.memory = MEMORY
        self.held = 0
        self._pseudo = ip.pseudo
        self._connections: dict[int, TcpFlow] = {}
        self._embryonic: dict[int, TcpFlow] = {}
        self._listeners: dict[int, Serve] = {}
        self._drops = Drops(queue, "tcp.drop")
        chance = queue.rng(f"{self.chance}.isn")
        secret = chance.randbytes(16)
        self._numbers = Numbers(secret, self.profile.isn, chance.randrange)
        self._cookies = Cookies(secret)
        self._cookie_at = -LIFE
        self._time_wait: dict[int, TcpFlow] = {}
        first, self._last_port = self.profile.ports
        self._first_port = first
        self._port = first + queue.rng(f"{self.chance}.port").randrange(self.profile.first_ports)
        self._received = self._sent = self._retransmitted = self._opened = self._refused = self._cookies_sent = 0
        self._kinds = {name: queue.kind(name) for name in ("tcp.state", "tcp.retransmit", "tcp.rto", "tcp.undo", "tcp.cwnd")}
        self._k_established = queue.kind("tcp.established")
        self._k_listen = queue.kind("tcp.listen")
        self.k_buffers = queue.kind("tcp.buffers")
        ip.register(PROTO, self.input)

    @property
    def id(self) -> str:
        """The interface's name."""
        return self.ip.id

    @property
    def mss(self) -> int:
        """Data of the largest segment that fits the link."""
        return self.ip.mtu - self.ip.header - HEADER

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ip.get_ip()} listening on {sorted(self._listeners) or 'nothing'}, {len(self._connections)} connections>"

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
        """Take a segment from IP."""
        size = len(packet)
        total = folded(int.from_bytes(packet, "big"), size)
        if size & 1:
            total <<= 8
        if (total + size + self._pseudo(src, dst, PROTO, 0)) % 0xFFFF:
            self._drops("checksum")
            return
        try:
            segment = decode(packet)
        except WireError as error:
            self._drops("malformed", text=str(error))
            return
        self._received += 1
        segment.ecn = self.ip.ecn
        flow = self._connections.get(src << 32 | segment.src_port << 16 | segment.dst_port)
        if flow is not None and not (flow.pcb.state is State.TIME_WAIT and self._renews(flow.pcb, segment)):
            if flow.local == dst:
                flow.input(segment)
            else:
                self._drops("no connection", port=segment.dst_port)
        else:
            self._unknown(src, dst, segment)

    def _renews(self, pcb: Pcb, segment: Segment) -> bool:
        """True for a SYN that may reuse a connection in TIME_WAIT: a later number or, better, time (RFC 9293 section 3.10.7.4, RFC 6191)."""
        if segment.flags & (SYN | ACK) != SYN or segment.dst_port not in self._listeners:
            return False
        stamps = parse_options(segment.options).stamps
        if stamps is not None and pcb.stamping and stamps[0] != pcb.ts_recent:
            return before(pcb.ts_recent, stamps[0])
        return before(pcb.rcv_nxt, segment.seq)

    def _unknown(self, src: int, dst: int, segment: Segment) -> None:
        """A segment of no connection: a SYN to a listener, the answer to a cookie, or nothing we know."""
        serve = self._listeners.get(segment.dst_port)
        if serve is not None and self.ip.ours(dst):
            if segment.flags & 0x17 == SYN:
                self._accept(src, dst, segment)
                return
            if segment.flags & (SYN | ACK | RST) == ACK and self._resume(src, dst, segment):
                return
        if serve is None:
            self._drops("no listener", port=segment.dst_port)
        else:
            self._drops("no connection", port=segment.dst_port)
        reset = reset_for(segment)
        if reset is not None and self.ip.ours(dst):
            self._refused += 1
            self.output(src, encode(reset, self._pseudo(dst, src, PROTO, 0)), local=dst)

    def _accept(self, src: int, local: int, syn: Segment) -> None:
        if len(self._embryonic) >= BACKLOG:
            if self.profile.cookies:
                self._answer_with_cookie(src, local, syn)
            else:
                self._drops("backlog full", port=syn.dst_port)
            return
        if not self._room():
            self._drops("too many connections", port=syn.dst_port)
            return
        flow = self._flow(src, local, syn.dst_port, syn.src_port, self.profile, passive=True)
        flow.pcb.accept(syn)
        self._embryonic[flow.key] = flow
        flow.after(0)

    def _room(self) -> bool:
        """True if another connection fits; the oldest in TIME_WAIT goes for it."""
        if len(self._connections) < CONNECTIONS:
            return True
        for flow in self._time_wait.values():
            flow.expire()
            return True
        return False

    def _answer_with_cookie(self, src: int, local: int, syn: Segment) -> None:
        now, profile, offered = self.queue.now, self.profile, parse_options(syn.options)
        ends = self._ends(src, local, syn.dst_port, syn.src_port)
        ecn = profile.ecn != "off" and syn.flags & (ECE | CWR) == ECE | CWR
        options = Options(mss=self.mss)
        if profile.timestamps and offered.stamps is not None:
            clock = (now // 1_000_000 + self._numbers.stamp_offset(ends[:-4])) & MASK
            options.stamps = (self._cookies.stamp(clock, offered, ecn), offered.stamps[0])
            options.wscale = profile.wscale if offered.wscale is not None else None
            options.sack_ok = profile.sack and offered.sack_ok
        flags = SYN | ACK | (ECE if ecn and options.stamps else 0)
        window = min(profile.buffer, profile.syn_windows[1])
        seq = self._cookies.make(ends, syn.seq, offered, now)
        answer = Segment(syn.dst_port, syn.src_port, seq, (syn.seq + 1) & MASK, flags, window, options.encode())
        self._cookie_at = now
        self._cookies_sent += 1
        self.output(src, encode(answer, self._pseudo(local, src, PROTO, 0)), local=local)

    def _resume(self, src: int, local: int, segment: Segment) -> bool:
        """Make a connection of the answer to a cookie; False if it is none."""
        now = self.queue.now
        if now - self._cookie_at >= LIFE:
            return False
        ends = self._ends(src, local, segment.dst_port, segment.src_port)
        stamps = parse_options(segment.options).stamps
        echo = None if stamps is None else stamps[1]
        found = self._cookies.check(ends, (segment.seq - 1) & MASK, (segment.ack - 1) & MASK, echo, now)
        if found is None or not self._room():
            return False
        offered, ecn = found
        offered.stamps = stamps
        flow = self._flow(src, local, segment.dst_port, segment.src_port, self.profile, passive=True, isn=(segment.ack - 1) & MASK)
        flow.pcb.resume(segment, offered, ecn, now)
        self._embryonic[flow.key] = flow
        flow.input(segment)
        return True

    def _ends(self, address: int, local: int, src_port: int, dst_port: int) -> bytes:
        size = self.ip.octets
        return local.to_bytes(size, "big") + address.to_bytes(size, "big") + src_port.to_bytes(2, "big") + dst_port.to_bytes(2, "big")

    def _flow(
        self, address: int, local: int, src_port: int, dst_port: int, profile: Profile, *, passive: bool = False, isn: int | None = None
    ) -> TcpFlow:
        key = address << 32 | dst_port << 16 | src_port
        old = self._connections.get(key)
        ends = self._ends(address, local, src_port, dst_port)
        if isn is None:
            isn = self._numbers.isn(ends, passive, self.queue.now, old.pcb.snd_nxt if old is not None else None)
        if old is not None:
            old.expire() if old.pcb.state is State.TIME_WAIT else self.forget(old)
        pcb = Pcb(src_port, dst_port, isn, profile, self.mss, stamp_offset=self._numbers.stamp_offset(ends[:-4]))
        flow = TcpFlow(self, address, local, key, pcb)
        flow.pcb.watch_cwnd = self._kinds["tcp.cwnd"].on
        self._connections[key] = flow
        return flow

    def output(self, dst: int, packet: bytes, ecn: int = 0, local: int | None = None) -> None:
        """Send an encoded segment, from our address `local`; `ecn`: the two bits of IP."""
        self._sent += 1
        self.ip.output(dst, PROTO, packet, local, ecn)

    # what flows tell ---------------------------------------------------------------------------------------------

    def remark(self, flow: TcpFlow) -> None:
        """Make events of what a Pcb remarked."""
        pcb = flow.pcb
        world = self.queue.world
        for name, fields in pcb.remarks:
            if name == "tcp.drop":
                self._drops(fields["reason"], local=end_text(flow.src), remote=end_text(flow.dst))
                continue
            if name == "tcp.retransmit":
                self._retransmitted += 1
                flow.retransmitted += 1
            elif name == "tcp.rto" and fields["tries"] >= DOUBT:
                self.ip.doubt(flow.key >> 32)
            elif name == "tcp.state" and fields["new"] == "TIME_WAIT":
                self._time_wait[flow.key] = flow
            kind = self._kinds[name]
            if kind.on:
                kind.emit(world.now, self.queue.name, world.cause, {"local": end_text(flow.src), "remote": end_text(flow.dst), **fields})
        pcb.remarks.clear()

    def say_buffers(self, flow: TcpFlow) -> None:
        """Tell how much a connection holds; called only while somebody records it."""
        unread, early, queued = flow.pcb.buffered
        world = self.queue.world
        ends = {"local": end_text(flow.src), "remote": end_text(flow.dst)}
        held = {"queued": queued, "unread": unread, "early": early, "limit": flow.pcb.profile.buffer}
        self.k_buffers.emit(world.now, self.queue.name, world.cause, {**ends, **held})

    def opened(self, flow: TcpFlow) -> None:
        """A connection is established; a passive one gets its service."""
        self._opened += 1
        path = self.ip.path_mtu(flow.key >> 32)
        if path < self.ip.mtu:
            flow.pcb.path_mss(path - self.ip.header - HEADER, self.queue.now)
        if self._k_established.on:
            world = self.queue.world
            fields = {"local": end_text(flow.src), "remote": end_text(flow.dst)}
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
            self._time_wait.pop(flow.key, None)
        self._embryonic.pop(flow.key, None)

    def unreachable(self, code: int, dst: int, quoted: bytes) -> None:
        """ICMP destination unreachable for one of our segments; `quoted` begins with its ports."""
        src_port, dst_port = quoted[0] << 8 | quoted[1], quoted[2] << 8 | quoted[3]
        flow = self._connections.get(dst << 32 | dst_port << 16 | src_port)
        if flow is not None:
            flow.after(flow.pcb.unreachable())

    def too_big(self, mtu: int, dst: int, quoted: bytes) -> bool:
        """ICMP says that a router takes only `mtu` bytes (RFC 1191, RFC 8201); believed if it quotes what is under way (RFC 5927 section 7)."""
        src_port, dst_port, seq = quoted[0] << 8 | quoted[1], quoted[2] << 8 | quoted[3], int.from_bytes(quoted[4:8], "big")
        flow = self._connections.get(dst << 32 | dst_port << 16 | src_port)
        if flow is not None and within(seq, flow.pcb.snd_una, flow.pcb.flight):
            flow.pcb.path_mss(mtu - self.ip.header - HEADER, self.queue.now)
            flow.after(0)
            return True
        return False

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

    async def create_connection(self, address: tuple[str, int], *, congestion: str | None = None, ecn: bool | None = None) -> TcpFlow:
        """Connect; raises ConnectionRefused or ConnectionTimedOut.  `congestion`, `ecn`: for this connection, as for the stack."""
        to, port = self.ip.parse(address[0]), address[1]
        if not 0 < port < 65_536:
            raise LocalProtocolError(f"port {port}: ports are 1 to 65535")
        profile = _chosen(self.profile, congestion, ecn)
        if not self._room():
            raise ConnectionRefused(f"{self.ip.get_ip()} has {CONNECTIONS} connections already: close some")
        flow = self._flow(to, self.ip.source(to), self._free_port(to, port), port, profile)
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
        """Return a port without a connection to that peer, or one whose connection has been in TIME_WAIT for a second."""
        aged = None
        for _ in range(self._first_port, self._last_port):
            self._port = self._port + 1 if self._port + 1 < self._last_port else self._first_port
            flow = self._connections.get(address << 32 | port << 16 | self._port)
            if flow is None:
                return self._port
            if aged is None and flow.pcb.state is State.TIME_WAIT and flow.pcb.stamping and self.queue.now - flow.pcb.ts_recent_at >= REUSE:
                aged = self._port
        if aged is None:
            raise ConnectionRefused(f"no port is free for another connection to {end_text((self.ip.text(address), port))}")
        return aged

    async def disconnect(self) -> None:
        """Listen to nothing any more and abort what is open."""
        self._listeners.clear()
        for flow in self.connections:
            flow.abort()

    def statistics(self) -> TcpStatistics:
        """Return the counters."""
        drops = dict(self._drops.counts)
        return TcpStatistics(
            self._received,
            self._sent,
            self._retransmitted,
            len(self._connections),
            self._opened,
            self._refused,
            self._cookies_sent,
            self.held,
            drops,
        )


class TcpV4(Tcp):
    """TCPV4: TCP for one Ipv4."""

    module_type: ClassVar[str] = "TCPV4"

    def __init__(self, queue: RunQueue, ipv4: Ipv4, *, profile: str = "today", congestion: str | None = None, ecn: bool | None = None) -> None:
        """`congestion`: newreno, cubic or bbr; `ecn`: True to ask for it, False to refuse it; None: as in the profile."""
        super().__init__(queue, ipv4, profile=profile, congestion=congestion, ecn=ecn)
        self.ipv4 = ipv4


def _chosen(profile: Profile, congestion: str | None, ecn: bool | None) -> Profile:
    """Return the profile with other choices; raises LocalProtocolError."""
    if congestion is not None and congestion != profile.congestion:
        check(congestion)
        profile = replace(profile, congestion=congestion)
    return profile if ecn is None else replace(profile, ecn="ask" if ecn else "off")
