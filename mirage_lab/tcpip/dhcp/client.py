"""client: a DHCP client (RFC 2131 section 4.4), pure: told messages and the time, it returns effects.

Rules.  An answer counts only with our xid, our hardware address, and in a state that waits for it.  The first offer is
taken.  Retransmission waits 4, 8, 16, 32, 64 s, each plus or minus up to one second (section 4.1); while renewing it waits
half of what is left, a minute at least (section 4.4.5).  There is no random wait before the first DHCPDISCOVER.

`profile="2014"` is Dhcp_clientv4 of mirage-tcpip 1.1.5: DHCPDISCOVER each 10 s, the host name miragevm, a lease of 300 s
where the server names none, no probe, and no renewal; a DHCPREQUEST that was lost is not sent again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.dhcp.states import TABLE, Event, State
from mirage_lab.tcpip.wire import dhcp as wire
from mirage_lab.tcpip.wire.address import ip_text
from mirage_lab.tcpip.wire.dhcp import Message, Option, Type

__all__ = ["BROADCAST", "Client", "Effect", "Lease", "Moved", "Probe", "Send", "Take", "Yield"]

BROADCAST: Final = 0xFFFF_FFFF
FIRST_WAIT: Final = 4
LONGEST_WAIT: Final = 64
REQUESTS: Final = 4
"""DHCPREQUESTs sent for one offer before it is given up (RFC 2131 section 3.1)."""
CHECK: Final = Ns(500_000_000)
"""How long a probed station has to speak up."""
AFTER_DECLINE: Final = seconds(10)
AFTER_NAK: Final = seconds(1)
LEAST_RENEWAL: Final = seconds(60)
FOREVER: Final = 0xFFFF_FFFF
LEASE_2014: Final = 300
DISCOVER_2014: Final = seconds(10)
WANTED: Final = bytes((Option.MASK, Option.ROUTER, Option.DNS, Option.DOMAIN, Option.MTU, Option.BROADCAST, Option.T1, Option.T2))
MAX_SIZE: Final = 1_500
LEAST_MTU: Final = 576
"""What every host takes (RFC 791 section 3.1); a server that names less would only slow its clients down."""
_SERVERS: Final = 8
"""Routers and name servers remembered of a lease."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What a server gave: addresses as numbers; `t1`, `t2` and `expires` are moments (ns), None for a lease without end."""

    address: int
    prefix: int
    server: int
    t1: Ns | None
    t2: Ns | None
    expires: Ns | None
    routers: tuple[int, ...] = ()
    dns: tuple[int, ...] = ()
    domain: str = ""
    mtu: int | None = None

    @property
    def text(self) -> str:
        """`10.0.0.100/24`."""
        return f"{ip_text(self.address)}/{self.prefix}"

    @property
    def gateway(self) -> str | None:
        """The first router."""
        return ip_text(self.routers[0]) if self.routers else None


@dataclass(frozen=True, slots=True)
class Send:
    """Send `message` to `dst` port 67: BROADCAST, from 0.0.0.0, or a server."""

    message: Message
    dst: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask by ARP who has `address`; call `conflict` if somebody does."""

    address: int


@dataclass(frozen=True, slots=True)
class Take:
    """Use this lease from now on."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Yield:
    """Stop using the address."""

    why: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The client went from state to state."""

    old: State
    new: State
    why: str
    address: int


Effect = Send | Probe | Take | Yield | Moved


class Client:
    """The client of one interface."""

    __slots__ = (
        "_effects",
        "_profile",
        "_rng",
        "_since",
        "_timer",
        "_tries",
        "_xid",
        "dropped",
        "host_name",
        "lease",
        "mac",
        "offer",
        "refused",
        "state",
    )

    def __init__(self, mac: bytes, rng: random.Random, *, host_name: str = "", profile: str = "today", previous: Lease | None = None) -> None:
        """`previous`: the lease of an earlier life, which is asked for again (INIT-REBOOT)."""
        self.mac = mac
        self.host_name = "miragevm" if profile == "2014" else host_name
        self.state = State.INIT_REBOOT if previous else State.INIT
        self.lease = previous
        self.offer: Message | None = None
        self.dropped: dict[str, int] = {}
        self.refused = ""
        """Why the last message received was dropped, "" if it was taken."""
        self._profile = profile
        self._rng = rng
        self._xid = 0
        self._since = Ns(0)
        self._tries = 0
        self._timer: Ns | None = None
        self._effects: list[Effect] = []

    def __repr__(self) -> str:
        return f"<DHCP client {self.state.value} {self.lease.text if self.lease and self.bound else 'no address'}>"

    @property
    def bound(self) -> bool:
        """True while the address may be used."""
        return self.state in (State.BOUND, State.RENEWING, State.REBINDING)

    # what happens to it ------------------------------------------------------------------------------------------

    def start(self, now: Ns) -> list[Effect]:
        """Begin, or begin again after `release`; a client that has begun goes on as it is."""
        if Event.START not in TABLE[self.state]:
            return []
        self._since = now
        self._xid = self._rng.getrandbits(32)
        self._tries = 0
        self._move(Event.START, "an address is wanted")
        self._ask(now)
        return self._out()

    def receive(self, message: Message, now: Ns) -> list[Effect]:
        """Take a message of a server; what is not for us, or not awaited, changes nothing."""
        self.refused = ""
        if not self.for_us(message):
            self._drop("not for us")
            return []
        event = {Type.OFFER: Event.OFFER, Type.ACK: Event.ACK, Type.NAK: Event.NAK}.get(message.type or 0)
        if event is None or event not in TABLE[self.state]:
            self._drop("not awaited")
            return []
        server = wire.address(message, Option.SERVER_ID)
        if server is None and self._profile != "2014":
            self._drop("no server identifier")
            return []
        chosen = wire.address(self.offer, Option.SERVER_ID) if self.offer is not None and self.state is State.REQUESTING else server
        if server != chosen:
            self._drop("another server")
            return []
        if event is Event.NAK:
            self._lose(Event.NAK, f"{ip_text(server or 0)} refused", now, AFTER_NAK)
            return self._out()
        lease = self._read(message, now)
        if lease is None:
            self._drop("an offer without a usable address, mask or time")
        elif event is Event.OFFER:
            self.offer = message
            self._tries = 0
            self._move(Event.OFFER, f"{ip_text(lease.server)} offers {lease.text}", lease.address)
            self._ask(now)
        elif self.offer is not None and lease.address != self.offer.yiaddr and self.state is State.REQUESTING:
            self._drop("not the address that was offered")
        elif self.bound and self.lease is not None and lease.address != self.lease.address:
            self._drop("a renewal with another address")
        else:
            self._acknowledged(lease, now)
        return self._out()

    def next_deadline(self) -> Ns | None:
        """When `on_deadline` is to be called; None: only a message moves this client."""
        return self._timer

    def on_deadline(self, now: Ns) -> list[Effect]:
        """The time told by `next_deadline` has come."""
        if self._timer is None or now < self._timer:
            return []
        self._timer = None
        lease = self.lease
        match self.state:
            case State.INIT | State.INIT_REBOOT | State.RELEASED:
                return self.start(now)
            case State.SELECTING:
                self._ask(now)
            case State.REQUESTING | State.REBOOTING if self._tries >= REQUESTS:
                self._lose(Event.SILENCE, f"no answer to {self._tries} requests", now, Ns(0))
            case State.REQUESTING | State.REBOOTING:
                self._ask(now)
            case State.CHECKING:
                self._free(now)
            case State.BOUND:
                self._renew(Event.T1, "half of the lease is over", now)
            case State.RENEWING if lease is not None and lease.t2 is not None and now >= lease.t2:
                self._renew(Event.T2, "its server does not answer: ask all", now)
            case State.REBINDING if lease is not None and lease.expires is not None and now >= lease.expires:
                self._lose(Event.EXPIRED, "the lease is over", now, Ns(0))
            case State.RENEWING | State.REBINDING:
                self._ask(now)
        return self._out()

    def conflict(self, now: Ns) -> list[Effect]:
        """Somebody else has our address: DHCPDECLINE, and another one after 10 s (RFC 2131 section 3.1)."""
        if Event.CONFLICT not in TABLE[self.state] or self.lease is None:
            return []
        self._send(Type.DECLINE, now, ((Option.REQUESTED, _octets(self.lease.address)), (Option.SERVER_ID, _octets(self.lease.server))))
        self._lose(Event.CONFLICT, f"{ip_text(self.lease.address)} is somebody else's", now, AFTER_DECLINE)
        return self._out()

    def release(self, now: Ns) -> list[Effect]:
        """Give the address back, and ask for none until `start`."""
        if Event.RELEASE not in TABLE[self.state]:
            return []
        if self.bound and self.lease is not None:
            lease = self.lease
            self._xid = self._rng.getrandbits(32)
            self._send(Type.RELEASE, now, ((Option.SERVER_ID, _octets(lease.server)),), lease.address, lease.server)
            self._effects.append(Yield("released"))
        self._move(Event.RELEASE, "released")
        self._timer = self.lease = self.offer = None
        return self._out()

    # what it does ------------------------------------------------------------------------------------------------

    def _out(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def _drop(self, why: str) -> None:
        self.refused = why
        self.dropped[why] = self.dropped.get(why, 0) + 1

    def for_us(self, message: Message) -> bool:
        """True for an answer to what we sent last."""
        return message.op == wire.REPLY and message.chaddr == self.mac and message.xid == self._xid

    def _move(self, event: Event, why: str, address: int = 0) -> None:
        old, self.state = self.state, TABLE[self.state][event]
        self._effects.append(Moved(old, self.state, why, address or (self.lease.address if self.lease else 0)))

    def _ask(self, now: Ns) -> None:
        """Send what the state sends, again too, and say when to repeat it."""
        self._tries += 1
        lease = self.lease
        match self.state:
            case State.SELECTING:
                self._send(Type.DISCOVER, now)
            case State.REQUESTING if self.offer is not None:
                server = wire.address(self.offer, Option.SERVER_ID) or self.offer.siaddr
                self._send(Type.REQUEST, now, ((Option.REQUESTED, _octets(self.offer.yiaddr)), (Option.SERVER_ID, _octets(server))))
            case State.REBOOTING if lease is not None:
                self._send(Type.REQUEST, now, ((Option.REQUESTED, _octets(lease.address)),))
            case State.RENEWING if lease is not None and lease.t2 is not None:
                self._send(Type.REQUEST, now, (), lease.address, lease.server)
                self._timer = Ns(min(lease.t2, now + max(LEAST_RENEWAL, (lease.t2 - now) // 2)))
                return
            case State.REBINDING if lease is not None and lease.expires is not None:
                self._send(Type.REQUEST, now, (), lease.address)
                self._timer = Ns(min(lease.expires, now + max(LEAST_RENEWAL, (lease.expires - now) // 2)))
                return
            case other:
                raise AssertionError(f"nothing is asked in {other.value}")
        if self._profile == "2014":
            self._timer = Ns(now + DISCOVER_2014) if self.state is State.SELECTING else None
            return
        wait = seconds(min(LONGEST_WAIT, FIRST_WAIT << self._tries - 1 if self._tries < 8 else LONGEST_WAIT))
        self._timer = Ns(now + wait + self._rng.randrange(-seconds(1), seconds(1)))

    def _send(self, kind: int, now: Ns, said: tuple[tuple[int, bytes], ...] = (), ciaddr: int = 0, dst: int = BROADCAST) -> None:
        options: list[tuple[int, bytes]] = [(Option.TYPE, bytes((kind,))), *said]
        if self._profile != "2014":
            options.append((Option.CLIENT_ID, b"\x01" + self.mac))
        if kind in (Type.DISCOVER, Type.REQUEST):
            if self._profile != "2014":
                options.append((Option.MAX_SIZE, MAX_SIZE.to_bytes(2, "big")))
            options.append((Option.PARAMETERS, WANTED))
            if self.host_name:
                options.append((Option.HOST_NAME, self.host_name.encode("ascii", "replace")[:63]))
        secs = min((now - self._since) // seconds(1), 0xFFFF) if kind in (Type.DISCOVER, Type.REQUEST) else 0
        self._effects.append(Send(Message(wire.REQUEST, self._xid, self.mac, tuple(options), secs, ciaddr=ciaddr), dst))

    def _acknowledged(self, lease: Lease, now: Ns) -> None:
        self.lease = lease
        renewed = self.bound
        self._move(Event.ACK, f"{ip_text(lease.server)} gives {lease.text}")
        if renewed:
            self._effects.append(Take(lease))
            self._timer = lease.t1
        elif self._profile == "2014":
            self._free(now)
        else:
            self._effects.append(Probe(lease.address))
            self._timer = Ns(now + CHECK)

    def _free(self, now: Ns) -> None:
        assert self.lease is not None
        self._move(Event.FREE, "nobody has it" if self._profile != "2014" else "nobody was asked")
        self._effects.append(Take(self.lease))
        self._timer = None if self._profile == "2014" else self.lease.t1

    def _renew(self, event: Event, why: str, now: Ns) -> None:
        self._move(event, why)
        self._xid = self._rng.getrandbits(32)
        self._since = now
        self._ask(now)

    def _lose(self, event: Event, why: str, now: Ns, wait: Ns) -> None:
        """Go back to INIT and begin again after `wait`."""
        held = self.bound
        self._move(event, why)
        if held:
            self._effects.append(Yield(why))
        self.lease = self.offer = None
        self._timer = Ns(now + wait)

    def _read(self, message: Message, now: Ns) -> Lease | None:
        """Return the lease a message offers; None when it is none that can be used."""
        found = wire.address(message, Option.MASK)
        mask = 0xFFFF_FF00 if found is None else found
        prefix = mask.bit_count()
        address = message.yiaddr
        host = address & ~mask & BROADCAST
        if mask != BROADCAST << 32 - prefix & BROADCAST or not prefix or address >> 24 in (0, 127) or address >> 28 >= 14:
            return None
        if prefix < 31 and host in (0, ~mask & BROADCAST):
            return None
        time = wire.number(message, Option.LEASE)
        if not time:
            if self._profile != "2014":
                return None
            time = LEASE_2014
        server = wire.address(message, Option.SERVER_ID) or message.siaddr
        mtu = wire.number(message, Option.MTU)
        t1, t2, expires = self._times(message, time, now)
        return Lease(
            address,
            prefix,
            server,
            t1,
            t2,
            expires,
            _addresses(message.option(Option.ROUTER)),
            _addresses(message.option(Option.DNS)),
            _name(message.option(Option.DOMAIN)),
            mtu if mtu is not None and mtu >= LEAST_MTU else None,
        )

    def _times(self, message: Message, time: int, now: Ns) -> tuple[Ns | None, Ns | None, Ns | None]:
        """Return T1, T2 and the end: the server's, or half and seven eighths, a little earlier by chance (section 4.4.5)."""
        if time == FOREVER:
            return None, None, None
        whole = seconds(time)
        t1, t2 = wire.number(message, Option.T1), wire.number(message, Option.T2)
        if t1 is not None and t2 is not None and 0 < t1 <= t2 <= time:
            return Ns(now + seconds(t1)), Ns(now + seconds(t2)), Ns(now + whole)
        early = self._rng.randrange(whole // 64)
        return Ns(now + whole // 2 - early), Ns(now + whole * 7 // 8 - early), Ns(now + whole)


def _octets(address: int) -> bytes:
    return address.to_bytes(4, "big")


def _addresses(value: bytes | None) -> tuple[int, ...]:
    return tuple(int.from_bytes(value[at : at + 4], "big") for at in range(0, min(len(value), 4 * _SERVERS), 4)) if value else ()


def _name(value: bytes | None) -> str:
    """Return a domain name as text; what is none is no name."""
    text = (value or b"").rstrip(b"\0")
    fit = len(text) <= 253 and all(byte in b"-._" or chr(byte).isalnum() for byte in text if byte < 128) and text.isascii()
    return text.decode("ascii") if fit else ""
