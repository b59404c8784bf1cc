"""server: a DHCP server (RFC 2131 section 4.3), pure: told messages and the time, it returns what to send.

Which address a client gets: the one it has or had, else the one reserved for its hardware address, else the one it asks
for, else the lowest that nobody ever had, else the one that has been free for longest.  An offer is held for 30 s, a
declined address is left alone for ten minutes.  There is one row for each address at most, so that the table is bounded.

Relays are refused: a message with giaddr is counted and dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.wire import dhcp as wire
from mirage_lab.tcpip.wire.address import ip_int, ip_text, mac_bytes, network
from mirage_lab.tcpip.wire.dhcp import BROADCAST_FLAG, Message, Option, Type

__all__ = ["BROADCAST", "Binding", "Pool", "Reply", "Server"]

BROADCAST: Final = 0xFFFF_FFFF
HOLD: Final = seconds(30)
QUARANTINE: Final = seconds(600)
LEASES: Final = 4_096
"""Addresses of a pool."""
SMALLEST: Final = 576
LARGEST: Final = 1_500
_HEADERS: Final = 28


@dataclass(frozen=True, slots=True)
class Pool:
    """What a server gives: `address` is its own ("10.0.0.1/24"), `first` to `last` are for anybody.

    `reservations` are addresses by MAC address; `lease` is in seconds.  Raises LocalProtocolError for what cannot be.
    """

    address: str
    first: str
    last: str
    router: str | None = None
    dns: tuple[str, ...] = ()
    domain: str = ""
    mtu: int | None = None
    lease: int = 3_600
    reservations: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own, prefix = network(self.address)
        mask = BROADCAST << 32 - prefix & BROADCAST
        first, last = ip_int(self.first), ip_int(self.last)
        if not first <= last < first + LEASES:
            raise LocalProtocolError(f"a pool from {self.first} to {self.last}: it has 1 to {LEASES} addresses")
        for text in (self.first, self.last, *self.reservations.values()):
            address = ip_int(text)
            if address & mask != own & mask or address & ~mask & BROADCAST in (0, ~mask & BROADCAST):
                raise LocalProtocolError(f"{text} is no address for a machine of {self.address}'s network")
        if first <= own <= last or own in map(ip_int, self.reservations.values()):
            raise LocalProtocolError(f"{self.address} is the server's own address: leave it out of the pool")
        if len(set(self.reservations.values())) < len(self.reservations):
            raise LocalProtocolError("an address is reserved for one machine only")
        if not 0 < self.lease <= BROADCAST:
            raise LocalProtocolError(f"a lease of {self.lease} s: it lasts 1 s to {BROADCAST - 1} s, or {BROADCAST} for ever")
        if len(self.domain.encode()) > 253 or (self.mtu is not None and not 68 <= self.mtu < 65_536):
            raise LocalProtocolError("a domain has 253 bytes at most, an MTU is 68 to 65535")


@dataclass(slots=True)
class Binding:
    """A row of the table: whose the address is, what of it (offered, leased, declined), and until when (ns; None: for ever)."""

    client: bytes
    address: int
    mac: bytes
    state: str
    until: Ns | None
    host_name: str = ""

    def over(self, now: Ns) -> bool:
        """True when the address may be given to another client."""
        return self.until is not None and self.until <= now


@dataclass(frozen=True, slots=True)
class Reply:
    """Send `message` to `dst` port 68, at the station `mac`; it is no larger than `limit` bytes."""

    message: Message
    dst: int
    mac: bytes
    limit: int


class Server:
    """The server of one lan."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.dropped: dict[str, int] = {}
        self.refused = ""
        """Why the last message was dropped, "" if it was taken."""
        self.address, self.prefix = network(pool.address)
        self._mask = BROADCAST << 32 - self.prefix & BROADCAST
        self._first, self._last = ip_int(pool.first), ip_int(pool.last)
        self._reserved = {mac_bytes(mac): ip_int(address) for mac, address in pool.reservations.items()}
        self._by_client: dict[bytes, Binding] = {}
        self._by_address: dict[int, Binding] = {}

    def __repr__(self) -> str:
        return f"<DHCP server {self.pool.address}: {self.pool.first} to {self.pool.last}, {len(self._by_address)} in use>"

    def leases(self, now: Ns) -> list[Binding]:
        """Return the leases that hold, by address."""
        return [row for _, row in sorted(self._by_address.items()) if row.state == "leased" and not row.over(now)]

    def receive(self, message: Message, now: Ns) -> list[Reply]:
        """Take a message of a client; the answer, if there is one."""
        self.refused = ""
        if message.op != wire.REQUEST or not message.chaddr:
            return self._drop("not a request")
        if message.giaddr:
            return self._drop("from a relay")
        client = message.option(Option.CLIENT_ID) or bytes((message.htype,)) + message.chaddr
        ours = wire.address(message, Option.SERVER_ID) in (None, self.address)
        match message.type:
            case Type.DISCOVER:
                return self._discover(client, message, now)
            case Type.REQUEST if not ours:
                self._forget_offer(client)
                return self._drop("for another server")
            case Type.REQUEST:
                return self._request(client, message, now)
            case Type.DECLINE if ours:
                row = self._by_client.get(client)
                if row is not None and row.address == wire.address(message, Option.REQUESTED):
                    del self._by_client[client]
                    row.client, row.state, row.until = b"", "declined", Ns(now + QUARANTINE)
            case Type.RELEASE if ours:
                row = self._by_client.get(client)
                if row is not None and row.address == message.ciaddr and row.state == "leased":
                    row.until = now
            case Type.INFORM if message.ciaddr:
                return [self._reply(message, Type.ACK, 0, message.ciaddr, None)]
            case _:
                return self._drop("not for a server")
        return []

    # choosing ----------------------------------------------------------------------------------------------------

    def _discover(self, client: bytes, message: Message, now: Ns) -> list[Reply]:
        address = self._choose(client, message, now)
        if address is None:
            return self._drop("no address is free")
        row = self._by_client.get(client)
        if row is None or row.address != address or row.state != "leased" or row.over(now):
            self._bind(client, message, address, "offered", Ns(now + HOLD))
        return [self._reply(message, Type.OFFER, address, 0, self.pool.lease)]

    def _choose(self, client: bytes, message: Message, now: Ns) -> int | None:
        reserved = self._reserved.get(message.chaddr)
        if reserved is not None:
            row = self._by_address.get(reserved)
            if row is None or row.client == client or row.over(now):
                return reserved
        mine = self._by_client.get(client)
        if mine is not None and self._gives(mine.address):
            return mine.address
        wanted = wire.address(message, Option.REQUESTED)
        if wanted is not None and self._gives(wanted) and self._free(wanted, now):
            return wanted
        taken = set(self._reserved.values())
        for address in range(self._first, self._last + 1):
            if address not in self._by_address and address not in taken:
                return address
        over = [(row.until or 0, row.address) for row in self._by_address.values() if row.over(now) and self._gives(row.address)]
        return min(over)[1] if over else None

    def _gives(self, address: int) -> bool:
        """True for an address of the pool that is not reserved."""
        return self._first <= address <= self._last and address not in self._reserved.values()

    def _free(self, address: int, now: Ns) -> bool:
        row = self._by_address.get(address)
        return row is None or row.over(now)

    def _bind(self, client: bytes, message: Message, address: int, state: str, until: Ns | None) -> Binding:
        for row in (self._by_client.pop(client, None), self._by_address.pop(address, None)):
            if row is not None:
                self._by_client.pop(row.client, None)
                self._by_address.pop(row.address, None)
        name = (message.option(Option.HOST_NAME) or b"")[:63].decode("ascii", "replace")
        row = Binding(client, address, message.chaddr, state, until, name)
        self._by_client[client] = self._by_address[address] = row
        return row

    def _forget_offer(self, client: bytes) -> None:
        row = self._by_client.get(client)
        if row is not None and row.state == "offered":
            del self._by_client[client], self._by_address[row.address]

    # answering ---------------------------------------------------------------------------------------------------

    def _request(self, client: bytes, message: Message, now: Ns) -> list[Reply]:
        """Answer a DHCPREQUEST by what it says of its client's state (RFC 2131 section 4.3.2)."""
        wanted = wire.address(message, Option.REQUESTED)
        selecting = message.option(Option.SERVER_ID) is not None
        address = wanted if wanted is not None and not message.ciaddr else message.ciaddr
        row = self._by_client.get(client)
        if not address:
            return self._drop("a request for no address")
        if row is not None and row.address == address and (row.state == "leased" or not row.over(now)):
            until = None if self.pool.lease == BROADCAST else Ns(now + seconds(self.pool.lease))
            self._bind(client, message, address, "leased", until)
            return [self._reply(message, Type.ACK, address, message.ciaddr, self.pool.lease)]
        if selecting or address & self._mask != self.address & self._mask:
            return [self._nak(message, f"{ip_text(address)} is not for you here")]
        if row is None:
            return self._drop("of a client we do not know")
        return [self._nak(message, f"you have {ip_text(row.address)}, not {ip_text(address)}")]

    def _reply(self, message: Message, kind: int, yiaddr: int, ciaddr: int, lease: int | None) -> Reply:
        options: list[tuple[int, bytes]] = [(Option.TYPE, bytes((kind,))), (Option.SERVER_ID, _octets(self.address))]
        if lease is not None:
            options.append((Option.LEASE, _octets(lease)))
            if lease != BROADCAST and lease >= 8:
                options += [(Option.T1, _octets(lease // 2)), (Option.T2, _octets(lease * 7 // 8))]
        wanted = message.option(Option.PARAMETERS)
        options += [row for row in self._parameters() if wanted is None or row[0] in wanted or row[0] == Option.MASK]
        if ciaddr:
            dst, mac = ciaddr, message.chaddr
        elif message.flags & BROADCAST_FLAG or message.htype != 1 or len(message.chaddr) != 6:
            dst, mac = BROADCAST, b"\xff" * 6
        else:
            dst, mac = yiaddr, message.chaddr
        reply = Message(
            wire.REPLY,
            message.xid,
            message.chaddr,
            tuple(options),
            flags=message.flags,
            ciaddr=ciaddr,
            yiaddr=yiaddr,
            siaddr=0,
            htype=message.htype,
        )
        return Reply(reply, dst, mac, self._limit(message))

    def _parameters(self) -> list[tuple[int, bytes]]:
        pool = self.pool
        found = [(Option.MASK, _octets(self._mask)), (Option.BROADCAST, _octets(self.address | ~self._mask & BROADCAST))]
        if pool.router:
            found.append((Option.ROUTER, _octets(ip_int(pool.router))))
        if pool.dns:
            found.append((Option.DNS, b"".join(_octets(ip_int(server)) for server in pool.dns)))
        if pool.domain:
            found.append((Option.DOMAIN, pool.domain.encode()))
        if pool.mtu is not None:
            found.append((Option.MTU, pool.mtu.to_bytes(2, "big")))
        return found

    def _nak(self, message: Message, why: str) -> Reply:
        """Refuse, to all stations: a client on a wrong network does not hear us otherwise (section 4.3.2)."""
        options = ((Option.TYPE, bytes((Type.NAK,))), (Option.SERVER_ID, _octets(self.address)), (Option.MESSAGE, why.encode()))
        reply = Message(wire.REPLY, message.xid, message.chaddr, options, flags=message.flags, htype=message.htype)
        return Reply(reply, BROADCAST, b"\xff" * 6, self._limit(message))

    def _limit(self, message: Message) -> int:
        """How large a DHCP message may be: what option 57 says of the whole datagram, within reason."""
        size = wire.number(message, Option.MAX_SIZE) or SMALLEST
        return min(max(size, SMALLEST), LARGEST) - _HEADERS

    def _drop(self, why: str) -> list[Reply]:
        self.refused = why
        self.dropped[why] = self.dropped.get(why, 0) + 1
        return []


def _octets(number: int) -> bytes:
    return number.to_bytes(4, "big")
