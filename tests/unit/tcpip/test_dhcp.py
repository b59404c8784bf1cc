"""DHCP as stories: a client and a server without a world, then domains that get their addresses in a lab."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from mirage_lab import Lab, devices, ms, seconds
from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns
from mirage_lab.skeleton import web
from mirage_lab.tcpip.dhcp import Client, Configured, DhcpServer, Lease, Pool, Server
from mirage_lab.tcpip.dhcp.client import BROADCAST, Effect, Moved, Probe, Send, Take, Yield
from mirage_lab.tcpip.dhcp.states import TABLE, Event, State, table_text
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire import arp
from mirage_lab.tcpip.wire import dhcp as wire
from mirage_lab.tcpip.wire.address import ip_int, ip_text
from mirage_lab.tcpip.wire.dhcp import Message, Option, Type
from mirage_lab.testing import Pair

MAC = bytes.fromhex("020000000001")
OTHER = bytes.fromhex("020000000002")
HOUR = Ns(seconds(3600))
BEGINNING = Ns(0)
SILENT: Callable[[Message], Message | None] = lambda message: None  # noqa: E731


class Cell:
    """A client, a server, and what they do: messages pass through the codec and arrive at once, unless `mangle` eats them."""

    def __init__(self, profile: str = "today", previous: Lease | None = None, **pool: Any) -> None:
        self.pool = Pool(**{"address": "10.0.0.1/24", "first": "10.0.0.100", "last": "10.0.0.103", "router": "10.0.0.1", **pool})
        self.server = Server(self.pool)
        self.client = Client(MAC, random.Random(1), host_name="web", profile=profile, previous=previous)
        self.now = Ns(0)
        self.effects: list[Effect] = []
        self.sent: list[tuple[Ns, Message, int]] = []
        self.mangle: Callable[[Message], Message | None] = lambda message: message

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.effects.append(effect)
            if isinstance(effect, Send):
                self.sent.append((self.now, effect.message, effect.dst))
                for reply in self.server.receive(wire.decode(wire.encode(effect.message)), self.now):
                    through = self.mangle(wire.decode(wire.encode(reply.message, reply.limit)))
                    if through is not None:
                        self.do(self.client.receive(through, self.now))

    def start(self) -> Cell:
        self.do(self.client.start(self.now))
        return self

    def until(self, t: Ns) -> Cell:
        while (due := self.client.next_deadline()) is not None and due <= t:
            self.now = due
            self.do(self.client.on_deadline(due))
        self.now = t
        return self

    def bound(self) -> Cell:
        self.start().until(seconds(1))
        assert self.client.state is State.BOUND
        return self

    @property
    def states(self) -> list[str]:
        return [effect.new.value for effect in self.effects if isinstance(effect, Moved)]

    @property
    def kinds(self) -> list[str]:
        return [message.name for _, message, _ in self.sent]


def test_four_messages_and_a_probe_make_an_address() -> None:
    """RFC 2131 section 3.1: DISCOVER, OFFER, REQUEST, ACK; section 4.4.1: the client checks the address by ARP."""
    cell = Cell().start()
    assert cell.states == ["SELECTING", "REQUESTING", "CHECKING"] and cell.kinds == ["Discover", "Request"]
    assert Probe(ip_int("10.0.0.100")) in cell.effects and not cell.client.bound
    cell.until(seconds(1))
    [taken] = [effect.lease for effect in cell.effects if isinstance(effect, Take)]
    assert (taken.text, taken.gateway, cell.client.state) == ("10.0.0.100/24", "10.0.0.1", State.BOUND)
    assert [row.address for row in cell.server.leases(cell.now)] == [taken.address]


def test_the_request_names_the_server_the_address_and_the_same_xid() -> None:
    """RFC 2131 section 4.3.2: SELECTING: server identifier and requested address, ciaddr zero; xid of the offer."""
    cell = Cell().start()
    (_, discover, to), (_, request, _) = cell.sent
    assert to == BROADCAST and request.xid == discover.xid and request.ciaddr == 0
    assert (wire.address(request, Option.SERVER_ID), wire.address(request, Option.REQUESTED)) == (ip_int("10.0.0.1"), ip_int("10.0.0.100"))
    assert request.option(Option.CLIENT_ID) == b"\x01" + MAC and request.option(Option.HOST_NAME) == b"web"


def test_a_discover_is_repeated_after_4_8_16_32_64_seconds_give_or_take_one() -> None:
    """RFC 2131 section 4.1: randomized exponential backoff, up to 64 s."""
    cell = Cell()
    cell.mangle = SILENT
    cell.start().until(seconds(300))
    gaps = [(b[0] - a[0]) / 1e9 for a, b in pairwise(cell.sent)]
    assert set(cell.kinds) == {"Discover"}
    assert [round(gap - expected) in (-1, 0, 1) for gap, expected in zip(gaps, (4, 8, 16, 32, 64, 64), strict=False)] == [True] * 6
    assert any(gap != round(gap) for gap in gaps), "without chance in it"
    assert [message.secs for _, message, _ in cell.sent][:2] == [0, int(gaps[0])]


def test_requests_without_an_answer_lead_back_to_init() -> None:
    cell = Cell()
    cell.mangle = lambda message: message if message.type == Type.OFFER else None
    cell.start().until(seconds(70))
    assert cell.states[:4] == ["SELECTING", "REQUESTING", "INIT", "SELECTING"]
    assert cell.kinds[:6] == ["Discover", "Request", "Request", "Request", "Request", "Discover"]


def test_a_nak_leads_back_to_init() -> None:
    cell = Cell()
    cell.mangle = lambda message: message if message.type == Type.OFFER else dataclasses.replace(message, options=_as(message, Type.NAK))
    cell.start()
    assert cell.states == ["SELECTING", "REQUESTING", "INIT"] and cell.client.next_deadline() == seconds(1)


def _as(message: Message, kind: int) -> tuple[tuple[int, bytes], ...]:
    return tuple((code, bytes((kind,)) if code == Option.TYPE else value) for code, value in message.options)


def test_an_address_somebody_has_is_declined_and_left_alone_by_the_server() -> None:
    """RFC 2131 section 3.1 item 5: DHCPDECLINE, ten seconds, and from the beginning; section 4.3.3: the server marks it."""
    cell = Cell().start()
    cell.do(cell.client.conflict(cell.now))
    assert cell.kinds[-1] == "Decline" and cell.client.state is State.INIT and cell.client.next_deadline() == seconds(10)
    decline = cell.sent[-1][1]
    assert wire.address(decline, Option.REQUESTED) == ip_int("10.0.0.100") and decline.ciaddr == 0
    cell.until(seconds(11))
    assert cell.client.lease is not None and cell.client.lease.text == "10.0.0.101/24"
    assert Cell().client.conflict(Ns(0)) == []


def test_a_conflict_with_an_address_in_use_gives_it_up() -> None:
    """RFC 5227 section 2.4 (a): cease using the address at once."""
    cell = Cell().bound()
    cell.do(cell.client.conflict(cell.now))
    assert isinstance(cell.effects[-1], Yield) and cell.kinds[-1] == "Decline" and not cell.client.bound


def test_half_of_the_lease_is_renewed_with_its_server_alone() -> None:
    """RFC 2131 section 4.4.5: at T1 a unicast DHCPREQUEST with ciaddr, without requested address or server identifier."""
    cell = Cell().bound().until(seconds(1801))
    at, request, to = cell.sent[-1]
    assert (at, to, request.ciaddr) == (seconds(1800), ip_int("10.0.0.1"), ip_int("10.0.0.100"))
    assert request.option(Option.REQUESTED) is None and request.option(Option.SERVER_ID) is None
    assert cell.states[-2:] == ["RENEWING", "BOUND"]
    assert cell.client.lease is not None and cell.client.lease.expires == seconds(1800) + HOUR


def test_a_dead_server_is_asked_until_t2_then_all_are_and_then_the_address_is_given_up() -> None:
    """RFC 2131 section 4.4.5: half of the remaining time, down to a minute; rebinding broadcasts; the end means INIT."""
    cell = Cell().bound()
    cell.mangle = SILENT
    cell.until(seconds(3601))
    asked = [(at // seconds(1), "all" if to == BROADCAST else ip_text(to)) for at, message, to in cell.sent if message.name == "Request"][1:]
    assert asked[:5] == [(1800, "10.0.0.1"), (2475, "10.0.0.1"), (2812, "10.0.0.1"), (2981, "10.0.0.1"), (3065, "10.0.0.1")]
    assert (3150, "all") in asked and [to for at, to in asked if at >= 3150] == ["all"] * len([at for at, _ in asked if at >= 3150])
    assert all(b - a >= 60 or b in (3150, 3600) for (a, _), (b, _) in pairwise(asked))
    assert cell.states[-4:] == ["RENEWING", "REBINDING", "INIT", "SELECTING"]
    assert [effect.why for effect in cell.effects if isinstance(effect, Yield)] == ["the lease is over"]


def test_without_t1_and_t2_of_the_server_they_are_half_and_seven_eighths_by_and_large() -> None:
    cell = Cell(lease=7)  # too short for a server's T1 and T2
    lease = cell.bound().client.lease
    assert lease is not None and lease.t1 is not None and lease.t2 is not None and lease.expires == seconds(7)
    assert 3.3 < lease.t1 / 1e9 <= 3.5 and 6.0 < lease.t2 / 1e9 <= 6.125


def test_a_lease_for_ever_is_not_renewed() -> None:
    cell = Cell(lease=0xFFFF_FFFF).bound()
    assert cell.client.next_deadline() is None and cell.server.leases(seconds(10**9))


def test_an_earlier_address_is_asked_for_again() -> None:
    """RFC 2131 section 3.2: INIT-REBOOT: a DHCPREQUEST at once, with the address and without a server identifier."""
    first = Cell().bound()
    again = Cell(previous=first.client.lease)
    again.server = first.server
    again.start().until(seconds(1))
    assert again.kinds == ["Request"] and again.states == ["REBOOTING", "CHECKING", "BOUND"]
    [request] = [message for _, message, _ in again.sent]
    assert request.option(Option.SERVER_ID) is None and wire.address(request, Option.REQUESTED) == ip_int("10.0.0.100")


def test_an_earlier_address_of_another_network_is_refused() -> None:
    """RFC 2131 section 4.3.2: on the wrong net the server sends DHCPNAK."""
    before = Lease(ip_int("192.168.7.7"), 24, 1, None, None, None)
    cell = Cell(previous=before).start().until(seconds(3))
    assert cell.states == ["REBOOTING", "INIT", "SELECTING", "REQUESTING", "CHECKING", "BOUND"]


def test_a_server_is_silent_to_a_reboot_of_a_client_it_does_not_know() -> None:
    """RFC 2131 section 4.3.2: no record of the client: it MUST remain silent."""
    before = Lease(ip_int("10.0.0.77"), 24, 1, None, None, None)
    cell = Cell(previous=before).start()
    assert cell.server.dropped == {"of a client we do not know": 1} and cell.client.state is State.REBOOTING
    cell.until(seconds(100))
    assert cell.client.state is State.BOUND and cell.kinds[:5] == ["Request"] * 4 + ["Discover"]


def test_release_gives_the_address_back() -> None:
    """RFC 2131 section 4.4.6: unicast, with ciaddr and the server identifier."""
    cell = Cell().bound()
    cell.do(cell.client.release(cell.now))
    _, release, to = cell.sent[-1]
    assert (release.name, to, release.ciaddr) == ("Release", ip_int("10.0.0.1"), ip_int("10.0.0.100"))
    assert cell.server.leases(cell.now) == [] and cell.client.next_deadline() is None and cell.client.release(cell.now) == []
    cell.start()
    assert cell.client.state is State.CHECKING


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"xid": 5}, "not for us"),
        ({"chaddr": OTHER}, "not for us"),
        ({"op": wire.REQUEST}, "not for us"),
        ({"yiaddr": 0}, "an offer without a usable address, mask or time"),
        ({"yiaddr": ip_int("10.0.0.255")}, "an offer without a usable address, mask or time"),
        ({"yiaddr": ip_int("224.0.0.1")}, "an offer without a usable address, mask or time"),
        ({"yiaddr": ip_int("127.0.0.1")}, "an offer without a usable address, mask or time"),
        ({Option.MASK: b"\xff\x00\xff\x00"}, "an offer without a usable address, mask or time"),
        ({Option.LEASE: bytes(4)}, "an offer without a usable address, mask or time"),
        ({Option.TYPE: b"\x05"}, "not awaited"),
        ({Option.TYPE: b"\x63"}, "not awaited"),
        ({Option.SERVER_ID: None}, "no server identifier"),
    ],
)
def test_an_offer_that_is_none_changes_nothing(change: dict[Any, Any], why: str) -> None:
    cell = Cell()
    fields = {name: value for name, value in change.items() if isinstance(name, str)}
    codes = {code: value for code, value in change.items() if isinstance(code, int)}

    def bend(message: Message) -> Message:
        options = tuple((code, codes.get(code, value)) for code, value in message.options if codes.get(code, value) is not None)
        return dataclasses.replace(message, options=options, **fields)

    cell.mangle = bend
    cell.start()
    assert cell.client.state is State.SELECTING and cell.client.dropped == {why: 1}


def test_only_the_chosen_server_can_acknowledge_or_refuse() -> None:
    cell = Cell()
    other = (Option.SERVER_ID, b"\x0a\0\0\xfe")
    cell.mangle = lambda message: message if message.type == Type.OFFER else dataclasses.replace(message, options=(message.options[0], other))
    cell.start()
    assert cell.client.state is State.REQUESTING and cell.client.dropped == {"another server": 1}


def test_an_acknowledgment_of_another_address_changes_nothing() -> None:
    cell = Cell()
    cell.mangle = lambda message: message if message.type == Type.OFFER else dataclasses.replace(message, yiaddr=message.yiaddr + 1)
    cell.start()
    assert cell.client.state is State.REQUESTING and cell.client.dropped == {"not the address that was offered": 1}
    renewing = Cell().bound()
    renewing.mangle = cell.mangle
    renewing.until(seconds(1801))
    assert renewing.client.state is State.RENEWING and renewing.client.dropped == {"a renewal with another address": 1}


def test_the_client_of_2014() -> None:
    """mirage-tcpip 1.1.5: no probe, 300 s where no time is named, a lease that is held for ever, a request never repeated."""
    cell = Cell("2014")
    cell.mangle = lambda message: dataclasses.replace(message, options=tuple(row for row in message.options if row[0] != Option.LEASE))
    cell.start()
    assert cell.client.state is State.BOUND and cell.client.next_deadline() is None
    assert cell.client.lease is not None and cell.client.lease.expires == seconds(300)
    assert cell.sent[0][1].option(Option.HOST_NAME) == b"miragevm"
    silent = Cell("2014")
    silent.mangle = SILENT
    silent.start().until(seconds(60))
    assert [at for at, _, _ in silent.sent] == [seconds(10) * n for n in range(7)]
    stuck = Cell("2014")
    stuck.mangle = lambda message: message if message.type == Type.OFFER else None
    stuck.start().until(HOUR)
    assert stuck.kinds == ["Discover", "Request"]


def in_state(state: State) -> Cell:
    """Return a client in a state, whom nobody answers any more."""
    cell = Cell(previous=Cell().bound().client.lease if state in (State.INIT_REBOOT, State.REBOOTING) else None)
    cell.mangle = SILENT
    match state:
        case State.INIT | State.INIT_REBOOT:
            return cell
        case State.REQUESTING:
            cell.mangle = lambda message: message if message.type == Type.OFFER else None
        case State.SELECTING | State.REBOOTING:
            pass
        case _:
            cell.mangle = lambda message: message
    cell.start()
    cell.mangle = SILENT
    lasts = {State.BOUND: 1, State.RENEWING: 1_801, State.REBINDING: 3_151}.get(state)
    if lasts:
        cell.until(seconds(lasts))
    if state is State.RELEASED:
        cell.do(cell.client.release(cell.now))
    assert cell.client.state is state
    return cell


def happen(cell: Cell, event: Event) -> None:
    """Let an event happen to a client; those of time only where it waits for them."""
    client = cell.client
    kinds = {Event.OFFER: Type.OFFER, Event.ACK: Type.ACK, Event.NAK: Type.NAK}
    if event in kinds:
        xid = cell.sent[-1][1].xid if cell.sent else 0
        options = ((Option.TYPE, bytes((kinds[event],))), (Option.SERVER_ID, b"\x0a\0\0\1"), (Option.LEASE, b"\0\0\x0e\x10"))
        cell.do(client.receive(Message(wire.REPLY, xid, MAC, options, yiaddr=ip_int("10.0.0.100")), cell.now))
    elif event is Event.START:
        cell.do(client.start(cell.now))
    elif event is Event.RELEASE:
        cell.do(client.release(cell.now))
    elif event is Event.CONFLICT:
        cell.do(client.conflict(cell.now))
    elif event in TABLE[client.state]:
        old = client.state
        while client.state is old and (due := client.next_deadline()) is not None:
            cell.now = due
            cell.do(client.on_deadline(due))


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_event_in_every_state_does_what_the_table_says_and_nothing_else(state: State, event: Event) -> None:
    cell = in_state(state)
    before = len(cell.states)
    happen(cell, event)
    moved = [State(name) for name in cell.states[before:]]
    if event in TABLE[state]:
        assert moved[0] is TABLE[state][event]
    else:
        assert moved == [] and cell.client.state is state


def test_the_table_is_printed_a_line_for_each_move() -> None:
    assert "RENEWING     T2               -> REBINDING" in table_text()
    assert len(table_text().splitlines()) == sum(map(len, TABLE.values()))


# the server ------------------------------------------------------------------------------------------------------


def ask(kind: int, mac: bytes = MAC, *options: tuple[int, bytes], **fields: Any) -> Message:
    return Message(wire.REQUEST, 7, mac, ((Option.TYPE, bytes((kind,))), *options), **fields)


def lease_of(server: Server, mac: bytes, now: Ns = BEGINNING) -> str:
    [offer] = server.receive(ask(Type.DISCOVER, mac), now)
    address = offer.message.yiaddr.to_bytes(4, "big")
    [ack] = server.receive(ask(Type.REQUEST, mac, (Option.REQUESTED, address), (Option.SERVER_ID, b"\x0a\0\0\x01")), now)
    assert ack.message.type == Type.ACK
    return ip_text(ack.message.yiaddr)


def mac(number: int) -> bytes:
    return b"\x02" + number.to_bytes(5, "big")


def pool(**changes: Any) -> Pool:
    return Pool(**{"address": "10.0.0.1/24", "first": "10.0.0.100", "last": "10.0.0.103", **changes})


def test_addresses_are_given_from_the_lowest_and_to_the_same_machine_again() -> None:
    server = Server(pool())
    assert [lease_of(server, mac(n)) for n in (1, 2, 1, 3)] == ["10.0.0.100", "10.0.0.101", "10.0.0.100", "10.0.0.102"]


def test_a_full_pool_answers_nobody_and_what_was_free_for_longest_is_given_again() -> None:
    server = Server(pool())
    for number in range(4):
        lease_of(server, mac(number), seconds(number))
    assert server.receive(ask(Type.DISCOVER, mac(9)), seconds(10)) == [] and server.dropped == {"no address is free": 1}
    assert lease_of(server, mac(9), Ns(seconds(1) + HOUR)) == "10.0.0.100"
    assert [ip_text(row.address) for row in server.leases(Ns(seconds(1) + HOUR))] == ["10.0.0.100", "10.0.0.102", "10.0.0.103"]


def test_offers_are_held_for_thirty_seconds_and_ten_thousand_machines_fill_no_table() -> None:
    server = Server(pool())
    for number in range(10_000):
        server.receive(ask(Type.DISCOVER, mac(number)), Ns(0))
    assert len(server._by_address) == len(server._by_client) == 4
    assert lease_of(server, mac(77_777), seconds(31)) == "10.0.0.100"
    assert len(server._by_address) == len(server._by_client) == 4


def test_a_reservation_is_for_its_machine_only() -> None:
    server = Server(pool(reservations={"02:00:00:00:00:07": "10.0.0.100", "02:00:00:00:00:08": "10.0.0.20"}))
    assert [lease_of(server, mac(n)) for n in (1, 7, 8)] == ["10.0.0.101", "10.0.0.100", "10.0.0.20"]
    [offer] = server.receive(ask(Type.DISCOVER, mac(2), (Option.REQUESTED, b"\x0a\0\0\x64")), Ns(0))
    assert ip_text(offer.message.yiaddr) == "10.0.0.102"


def test_a_reserved_address_that_another_has_is_not_given_twice() -> None:
    server = Server(pool(reservations={"02:00:00:00:00:07": "10.0.0.100"}))
    mine = (Option.CLIENT_ID, b"mine")
    server.receive(ask(Type.DISCOVER, mac(7), mine), Ns(0))
    request = ask(Type.REQUEST, mac(7), mine, (Option.REQUESTED, b"\x0a\0\0\x64"), (Option.SERVER_ID, b"\x0a\0\0\x01"))
    assert server.receive(request, Ns(0))[0].message.type == Type.ACK
    [offer] = server.receive(ask(Type.DISCOVER, mac(7), (Option.CLIENT_ID, b"another one with this address")), Ns(0))
    assert ip_text(offer.message.yiaddr) == "10.0.0.101"


def test_a_wish_is_granted_when_it_can_be() -> None:
    """RFC 2131 section 4.3.1: the requested address, if it is valid and free."""
    server = Server(pool())
    [offer] = server.receive(ask(Type.DISCOVER, MAC, (Option.REQUESTED, b"\x0a\0\0\x66")), Ns(0))
    assert ip_text(offer.message.yiaddr) == "10.0.0.102"
    [offer] = server.receive(ask(Type.DISCOVER, OTHER, (Option.REQUESTED, b"\x0a\0\0\x66")), Ns(0))
    assert ip_text(offer.message.yiaddr) == "10.0.0.100"


def test_what_was_not_offered_is_refused_to_all_stations() -> None:
    server = Server(pool())
    [nak] = server.receive(ask(Type.REQUEST, MAC, (Option.REQUESTED, b"\x0a\0\0\x63"), (Option.SERVER_ID, b"\x0a\0\0\x01")), Ns(0))
    assert (nak.message.type, nak.dst, nak.mac, nak.message.yiaddr) == (Type.NAK, BROADCAST, b"\xff" * 6, 0)
    lease_of(server, MAC)
    [nak] = server.receive(ask(Type.REQUEST, MAC, ciaddr=ip_int("10.0.0.102")), Ns(0))
    assert nak.message.option(Option.MESSAGE) == b"you have 10.0.0.100, not 10.0.0.102"


def test_where_an_answer_goes() -> None:
    """RFC 2131 section 4.1: to ciaddr; else to all if the client wants that; else to yiaddr at its hardware address."""
    server = Server(pool())
    [quiet] = server.receive(ask(Type.DISCOVER), Ns(0))
    [loud] = server.receive(ask(Type.DISCOVER, flags=wire.BROADCAST_FLAG), Ns(0))
    [inform] = server.receive(ask(Type.INFORM, ciaddr=ip_int("10.0.0.50")), Ns(0))
    assert (quiet.dst, quiet.mac) == (ip_int("10.0.0.100"), MAC) and (loud.dst, loud.mac) == (BROADCAST, b"\xff" * 6)
    assert (inform.dst, inform.message.type, inform.message.yiaddr, inform.message.option(Option.LEASE)) == (ip_int("10.0.0.50"), Type.ACK, 0, None)


def test_a_choice_of_another_server_frees_our_offer() -> None:
    server = Server(pool())
    server.receive(ask(Type.DISCOVER), Ns(0))
    assert server.receive(ask(Type.REQUEST, MAC, (Option.REQUESTED, b"\x0a\0\0\x64"), (Option.SERVER_ID, b"\x0a\0\0\x02")), Ns(0)) == []
    assert server._by_address == {} and server.dropped == {"for another server": 1}


def test_options_are_those_of_the_pool_that_were_asked_for() -> None:
    server = Server(pool(router="10.0.0.1", dns=("10.0.0.53", "10.0.0.54"), domain="lab.example", mtu=1_400))
    [everything] = server.receive(ask(Type.DISCOVER), Ns(0))
    assert [everything.message.option(code) for code in (1, 3, 6, 15, 26, 28, 51, 58, 59)] == [
        b"\xff\xff\xff\0", b"\x0a\0\0\1", b"\x0a\0\0\x35\x0a\0\0\x36", b"lab.example", b"\x05\x78", b"\x0a\0\0\xff",
        b"\0\0\x0e\x10", b"\0\0\7\x08", b"\0\0\x0c\x4e",
    ]  # fmt: skip
    [few] = server.receive(ask(Type.DISCOVER, MAC, (Option.PARAMETERS, b"\x0f")), Ns(0))
    assert few.message.option(15) == b"lab.example" and few.message.option(3) is None and few.message.option(1) is not None


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (ask(Type.DISCOVER, giaddr=5), "from a relay"),
        (ask(Type.DISCOVER, b""), "not a request"),
        (dataclasses.replace(ask(Type.DISCOVER), op=wire.REPLY), "not a request"),
        (ask(Type.OFFER), "not for a server"),
        (ask(Type.INFORM), "not for a server"),
        (ask(Type.REQUEST), "a request for no address"),
        (Message(wire.REQUEST, 1, MAC), "not for a server"),
    ],
)
def test_what_is_no_business_of_a_server_is_dropped(message: Message, why: str) -> None:
    server = Server(pool())
    assert server.receive(message, Ns(0)) == [] and server.dropped == {why: 1} and server.refused == why


def test_decline_and_release_of_what_one_does_not_have_change_nothing() -> None:
    server = Server(pool())
    lease_of(server, MAC)
    server.receive(ask(Type.DECLINE, OTHER, (Option.REQUESTED, b"\x0a\0\0\x64")), Ns(0))
    server.receive(ask(Type.RELEASE, OTHER, ciaddr=ip_int("10.0.0.100")), Ns(0))
    assert len(server.leases(Ns(0))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"first": "10.0.0.0"},
        {"last": "10.0.1.5"},
        {"last": "10.0.0.99"},
        {"first": "10.0.0.1"},
        {"lease": 0},
        {"mtu": 20},
        {"reservations": {"02:00:00:00:00:07": "10.0.0.1"}},
        {"reservations": {"02:00:00:00:00:07": "10.0.0.5", "02:00:00:00:00:08": "10.0.0.5"}},
        {"reservations": {"02:00:00:00:00:07": "10.9.0.5"}},
    ],
)
def test_a_pool_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        pool(**change)


# in a lab --------------------------------------------------------------------------------------------------------


def booted(lab: Lab, name: str, profile: str | None = None) -> Any:
    vm = lab.create(web(devices.default_console, devices.direct_stackv4_with_dhcp(devices.netif("0"), profile=profile)), vif=[lab.lans[0]], name=name)
    vm.unpause()
    return vm


@pytest.mark.parametrize("profile", ["today", "2014"])
def test_a_unikernel_boots_with_dhcp_and_says_so_as_in_2014(profile: str) -> None:
    with Lab(seed=1, name="dhcp") as lab:
        lab.lan("br0", latency=ms(1), dhcp=True)
        vm = booted(lab, "web", profile)
        lab.run(seconds(2))
        said = vm.console.text.splitlines()
        assert said[:4] == ["Manager: connect", "Manager: configuring", "DHCP: start discovery", "Sending DHCP broadcast len 300"]
        assert said[-5:] == [
            "DHCP: input ciaddr 0.0.0.0 yiaddr 10.0.0.100 siaddr 0.0.0.0 giaddr 0.0.0.0",
            "DHCP: offer 10.0.0.100 255.255.255.0 [10.0.0.1]",
            "DHCP offer received and bound",
            "Manager: configuration done",
            "listening on port 80",
        ]
        assert lab.fetch("http://10.0.0.100/").status == 200 and lab.machine.address("web") == "10.0.0.100"
        assert lab.events("dhcp.state")[-1].fields["new"] == "BOUND" and lab.events("dhcp.lease")[-1].fields["address"] == "10.0.0.100"


def test_several_domains_get_several_addresses_over_a_lan_that_loses_frames() -> None:
    with Lab(seed=3, name="dhcp") as lab:
        lan = lab.lan("br0", latency=ms(1), loss=0.2, dhcp={"first": "10.0.0.50", "last": "10.0.0.60", "lease": 60})
        for number in range(3):
            booted(lab, f"web{number}")
        lab.run(seconds(240))
        assert sorted(lan.leases.values()) == ["10.0.0.50", "10.0.0.51", "10.0.0.52"]
        assert sorted(lab.machine.address(f"web{number}") for number in range(3)) == ["10.0.0.50", "10.0.0.51", "10.0.0.52"]


def test_an_address_taken_by_hand_is_found_and_another_one_taken() -> None:
    with Lab(seed=1, name="dhcp") as lab:
        lan = lab.lan("br0", latency=ms(1), dhcp=True)
        squatter = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.100/24")
        lab.create(web(devices.default_console, squatter), vif=[lan], name="squatter").unpause()
        lab.run(seconds(1))
        booted(lab, "web")
        lab.run(seconds(15))
        assert lab.machine.address("web") == "10.0.0.101"
        assert [event.fields["asked"] for event in lab.events("dhcp.lease")] == ["Discover", "Request", "Discover", "Request"]
        assert "somebody else's" in lab.events("dhcp.state")[3].fields["why"]


def test_an_address_that_is_claimed_once_is_defended_and_claimed_again_given_up() -> None:
    """RFC 5227 section 2.4 (b)."""
    with Lab(seed=1, name="dhcp") as lab:
        lan = lab.lan("br0", latency=ms(1), dhcp=True)
        trace = lab.capture(lan)
        booted(lab, "web")
        lab.run(seconds(2))
        thief = lab.machine.gateways["br0"].stack.arp
        before, ours = len(trace.capture.frames), ip_int("10.0.0.100")
        for wait, address in ((11, "10.0.0.100"), (1, "10.0.0.100"), (15, "10.0.0.101")):
            thief._send(b"\xff" * 6, arp.Arp(arp.REQUEST, thief.ethif.mac_octets, ours, bytes(6), ours))
            lab.run(seconds(wait))
            assert lab.machine.address("web") == address or wait == 1
        told = [frame.data for frame in list(trace.capture.frames)[before:] if frame.data[12:14] == b"\x08\x06" and frame.data[28:32] == b"\x0a\0\0\x64"]
        assert [frame[6:8] for frame in told] == [b"\2\0", b"\0\x16", b"\2\0", b"\0\x16", b"\2\0"]


def test_the_mtu_of_a_lease_is_the_mtu_of_the_stack_and_limits_segments() -> None:
    """RFC 2132 section 5.1."""
    with Lab(seed=1, name="dhcp") as lab:
        trace = lab.capture(lab.lan("br0", latency=ms(1), dhcp={"mtu": 1_400}))
        booted(lab, "web")
        lab.run(seconds(2))
        lab.fetch("http://10.0.0.100/")
        assert trace.filter("tcp.options.mss_val == 1360 and ip.src == 10.0.0.100").numbers
        assert trace.filter("tcp.options.mss_val == 1460 and ip.src == 10.0.0.1").numbers


def test_an_mtu_too_small_to_be_meant_is_not_used() -> None:
    assert [lease.mtu for size in (68, 575, 576) if (lease := Cell(mtu=size).bound().client.lease)] == [None, None, 576]


def test_a_stack_that_is_disconnected_gives_its_address_back() -> None:
    pair = Pair()
    server = DhcpServer(pair.other, Pool("10.0.0.2/24", "10.0.0.100", "10.0.0.110"))
    stack = Stack(pair.queues[0], pair.nets[0], address="0.0.0.0")  # noqa: S104
    configured = stack.dhcp = Configured(stack)

    async def boot_and_leave() -> tuple[str, int]:
        configured.start()
        lease = await configured.bound()
        held = len(server.statistics().leases)
        await stack.disconnect()
        await tasks.sleep(ms(10))
        return lease.text, held

    assert pair.run(boot_and_leave()) == ("10.0.0.100/24", 1)
    assert server.statistics().leases == {} and stack.ipv4.get_ip() == "0.0.0.0"  # noqa: S104
    assert configured.statistics().state == "RELEASED"


def test_a_lease_that_ends_takes_the_address_and_the_connections() -> None:
    with Lab(seed=1, name="dhcp") as lab:
        lan = lab.lan("br0", latency=ms(1), dhcp={"lease": 120})
        vm = booted(lab, "web")
        lab.run(seconds(2))
        lan.set(loss=1.0)
        lab.run(seconds(121))
        assert "DHCP: 10.0.0.100 given up: the lease is over" in vm.console.text
        lan.set(loss=0.0)
        lab.run(seconds(130))
        assert lab.machine.address("web") == "10.0.0.100" and lab.fetch("http://10.0.0.100/").status == 200


def test_the_same_seed_gives_the_same_bytes_and_a_replay_too() -> None:
    def frames(seed: int) -> list[bytes]:
        with Lab(seed=seed, name="dhcp") as lab:
            lan = lab.lan("br0", latency=ms(1), loss=0.3, dhcp={"lease": 60})
            trace = lab.capture(lan)
            booted(lab, "web")
            lab.run(seconds(120))
            first = [frame.data for frame in trace.capture.frames]
            lab.rewind(seconds(60))
            lab.run(seconds(60))
            assert [frame.data for frame in lab.traces[0].capture.frames] == first
            return first

    assert frames(5) == frames(5) != frames(6)


def test_dhcp_can_be_switched_on_later_and_a_small_lan_refuses() -> None:
    with Lab(seed=1, name="dhcp") as lab:
        lab.lan("br0")
        lab.lan("br0", dhcp=True)
        lab.lan("br0", dhcp=True)
        assert lab.machine.gateways["br0"].dhcp is not None and len([e for e in lab.journal if e.name == "dhcp"]) == 1
        with pytest.raises(LocalProtocolError, match="too small"):
            lab.lan("br1", subnet="10.1.0.0/30", dhcp=True)
