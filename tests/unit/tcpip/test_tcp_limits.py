"""What a stack of TCP connections bears: floods, ports, memory, peers that vanish; and what strangers may not do."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.runtime import World, tasks
from mirage_lab.signatures.errors import ConnectionRefused, ConnectionTimedOut, LocalProtocolError, MirageError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.tcp.cookies import Cookies
from mirage_lab.tcpip.tcp.numbers import Numbers
from mirage_lab.tcpip.tcp.pcb import CLOSED, Pcb
from mirage_lab.tcpip.tcp.profile import PROFILES
from mirage_lab.tcpip.tcp.states import State
from mirage_lab.tcpip.wire import tcp
from mirage_lab.tcpip.wire.checksum import pseudo_v4
from mirage_lab.tcpip.wire.seq import HALF, MASK
from mirage_lab.tcpip.wire.tcp import ACK, FIN, PSH, RST, SYN, URG, Options, Segment, parse_options, timestamps
from mirage_lab.testing.tcpwire import Wire
from mirage_lab.vnetif import Netif
from mirage_lab.vnetif import Segment as LanSegment

TODAY = PROFILES["today"]
MINUTE = seconds(60)
OURS, THEIRS = 0x0A00_0002, 0x0A00_0001


class Lan:
    """Stacks 10.0.0.1, 10.0.0.2, ... a millisecond apart."""

    def __init__(self, count: int = 2, **how: Any) -> None:
        self.world = World(1)
        self.segment = LanSegment(self.world, "br0", latency=ms(1))
        self.stacks = []
        for number in range(1, count + 1):
            queue = self.world.queue(f"host{number}")
            netif = Netif(queue, self.segment, f"02:00:00:00:00:{number:02x}", f"host{number}")
            self.stacks.append(Stack(queue, netif, address=f"10.0.0.{number}/24", **how))

    def run(self, main: Awaitable[Any], within: Ns = MINUTE) -> Any:
        result: list[Any] = [None]

        async def keep() -> None:
            try:
                result[0] = await main
            except MirageError as error:
                result[0] = error

        self.stacks[0].queue.spawn(keep())
        self.world.advance(Ns(self.world.now + within))
        return result[0]


def sent_by(stack: Stack) -> list[Segment]:
    """Collect what a stack's TCP sends from now on."""
    out: list[Segment] = []
    stack.tcpv4.ipv4.output = lambda dst, proto, packet, src=None, ecn=0: out.append(tcp.decode(packet))  # type: ignore[method-assign,assignment,misc]
    return out


def hand(stack: Stack, segment: Segment) -> None:
    """Let a segment arrive at 10.0.0.2 from 10.0.0.1."""
    stack.tcpv4.input(THEIRS, OURS, tcp.encode(segment, pseudo_v4(THEIRS, OURS, 6, 0)))


async def echo(flow: TcpFlow) -> None:
    while data := await flow.read():
        await flow.write(data)
    await flow.close()


async def greet(flow: TcpFlow) -> None:
    await flow.write(b"hello")
    await flow.close()


async def say(stack: Stack, data: bytes, port: int = 7, to: str = "10.0.0.2") -> bytes:
    flow = await stack.tcpv4.create_connection((to, port))
    await flow.write(data)
    await flow.close()
    got = b""
    while piece := await flow.read():
        got += piece
    return got


# SYN cookies ---------------------------------------------------------------------------------------------------------


def flood(stack: Stack) -> None:
    for port in range(1, 400):
        hand(stack, Segment(port, 80, 1, 0, SYN, 8_192))


@pytest.mark.parametrize("stamps", [(5, 0), None])
def test_in_a_flood_a_real_client_still_gets_in(stamps: tuple[int, int] | None) -> None:
    """RFC 4987 section 3.6: with timestamps even the window scale and SACK survive the cookie."""
    lan = Lan()
    stack = lan.stacks[1]
    stack.listen_tcpv4(80, greet)
    sent = sent_by(stack)
    flood(stack)
    sent.clear()
    hand(stack, Segment(50_000, 80, 99, 0, SYN, 8_192, Options(1_460, 7, True, stamps).encode()))
    [answer] = sent
    said = parse_options(answer.options)
    assert answer.flags == SYN | ACK and len(stack.tcpv4.connections) == 256, "nothing was remembered"
    options = Options(stamps=(6, said.stamps[0])).encode() if stamps and said.stamps else b""
    hand(stack, Segment(50_000, 80, 100, (answer.seq + 1) & MASK, ACK, 1_000, options))
    pcb = stack.tcpv4.connections[-1].pcb
    assert pcb.state is State.ESTABLISHED and pcb.dst_port == 50_000
    if stamps:
        assert pcb.snd_scale == 7 and pcb.recovery.sack and pcb.stamping and pcb.mss == 1_448 and pcb.snd_wnd == 1_000 << 7
    else:
        assert pcb.snd_scale == 0 and not pcb.recovery.sack and not pcb.stamping and pcb.mss == 1_460 and pcb.snd_wnd == 1_000
    lan.world.advance(Ns(lan.world.now + ms(1)))
    assert b"hello" in [segment.payload for segment in sent]


def test_an_acknowledgment_out_of_thin_air_is_no_cookie() -> None:
    stack = Lan().stacks[1]
    stack.listen_tcpv4(80, greet)
    sent = sent_by(stack)
    chance = random.Random(1)
    flood(stack)
    sent.clear()
    for _ in range(2_000):
        hand(stack, Segment(50_000, 80, 100, chance.randrange(1 << 32), ACK, 1_000))
    assert len(stack.tcpv4.connections) == 256 and {segment.flags for segment in sent} == {RST}


@given(st.integers(0, MASK), st.integers(0, 65_535), st.one_of(st.none(), st.integers(0, 14)), st.booleans(), st.booleans(), st.integers(0, 10**13))
def test_a_cookie_brings_back_what_was_offered(irs: int, mss: int, wscale: int | None, sack: bool, ecn: bool, now: int) -> None:
    cookies, ends = Cookies(bytes(16)), bytes(12)
    offered = Options(mss=mss, wscale=wscale, sack_ok=sack)
    cookie = cookies.make(ends, irs, offered, Ns(now))
    clock = now // 1_000_000 & MASK
    stamp = cookies.stamp(clock, offered, ecn)
    assert (clock - stamp) & MASK < 128, "time does not run ahead"
    found = cookies.check(ends, irs, cookie, stamp, Ns(now + seconds(60)))
    assert found is not None and (found[0].wscale, found[0].sack_ok, found[1]) == (wscale, sack, ecn)
    assert found[0].mss is not None and found[0].mss <= max(mss or 536, 216)
    assert cookies.check(ends, irs, cookie, stamp, Ns(now + seconds(200))) is None
    assert cookies.check(ends, (irs + 1) & MASK, cookie, stamp, Ns(now)) is None
    assert Cookies(b"other").check(ends, irs, cookie, stamp, Ns(now)) is None


# numbers -------------------------------------------------------------------------------------------------------------


def test_first_numbers_are_not_to_be_guessed_and_grow_with_time() -> None:
    """RFC 6528 section 3."""
    numbers = Numbers(b"secret", "rfc6528", random.Random(1).randrange)
    here, there = bytes(12), b"\1" + bytes(11)
    assert numbers.isn(here, True, Ns(0)) == numbers.isn(here, False, Ns(3_999))
    assert (numbers.isn(here, True, Ns(400_000)) - numbers.isn(here, True, Ns(0))) & MASK == 100
    assert numbers.isn(here, True, Ns(0)) != numbers.isn(there, True, Ns(0)) != Numbers(b"else", "rfc6528", len).isn(there, True, Ns(0))  # type: ignore[arg-type]
    beyond = (numbers.isn(here, True, Ns(0)) + 100) & MASK
    assert 0 < (numbers.isn(here, True, Ns(0), beyond) - beyond) & MASK < HALF


def test_in_2014_there_were_sixteen_bits() -> None:
    numbers = Numbers(b"secret", "2014", random.Random(1).randrange)
    assert {numbers.isn(bytes(12), True, Ns(n)) >> 16 for n in range(50)} == {0x1AFE}
    assert {numbers.isn(bytes(12), False, Ns(n)) >> 16 for n in range(50)} == {0x1BCD}


# ports, TIME_WAIT ----------------------------------------------------------------------------------------------------


def narrow(stack: Stack, count: int) -> None:
    """Leave a stack only `count` ports of its own."""
    stack.tcpv4._first_port = stack.tcpv4._port = 50_000
    stack.tcpv4._last_port = 50_000 + count


def test_ports_are_used_again_when_all_have_been_used() -> None:
    """RFC 6191: 200 connections through 8 ports to one server within TIME_WAIT: timestamps tell old segments from new ones."""
    lan = Lan()
    narrow(lan.stacks[0], 8)
    lan.stacks[1].listen_tcpv4(7, echo)

    async def many() -> int:
        right = 0
        for number in range(200):
            right += await say(lan.stacks[0], b"%d" % number) == b"%d" % number
            await tasks.sleep(ms(200))
        return right

    assert lan.run(many()) == 200
    assert len(lan.stacks[0].tcpv4.connections) == 8
    assert {flow.state for flow in lan.stacks[0].tcpv4.connections} == {State.TIME_WAIT}


def test_a_port_serves_as_many_connections_as_there_are_peers() -> None:
    lan = Lan(3)
    narrow(lan.stacks[0], 1)
    for stack in lan.stacks[1:]:
        stack.listen_tcpv4(7, echo)

    async def two() -> tuple[bytes, bytes, object]:
        first = await lan.stacks[0].tcpv4.create_connection(("10.0.0.2", 7))
        second = await lan.stacks[0].tcpv4.create_connection(("10.0.0.3", 7))
        assert first.src == second.src
        await first.write(b"one")
        await second.write(b"two")
        try:
            third: object = await lan.stacks[0].tcpv4.create_connection(("10.0.0.2", 7))
        except ConnectionRefused as error:
            third = str(error)
        return await first.read(), await second.read(), third

    one, two_, third = lan.run(two())
    assert (one, two_) == (b"one", b"two") and "no port is free" in str(third)


def test_when_the_table_is_full_the_oldest_in_time_wait_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirage_lab.tcpip.tcp.tcpv4.CONNECTIONS", 20)
    lan = Lan()
    lan.stacks[1].listen_tcpv4(7, echo)

    async def many() -> int:
        return sum([await say(lan.stacks[0], b"x") == b"x" for _ in range(100)])

    assert lan.run(many(), within=seconds(20)) == 100
    assert len(lan.stacks[0].tcpv4.connections) == 20


@pytest.mark.parametrize("later", [True, False])
def test_a_syn_may_take_the_place_of_a_connection_in_time_wait(later: bool) -> None:
    """RFC 6191: when its timestamp, or without them its number, is later than all that was seen."""
    lan = Lan()
    stack = lan.stacks[1]

    async def hang_up(flow: TcpFlow) -> None:
        await flow.close()
        while await flow.read():
            pass

    stack.listen_tcpv4(80, hang_up)
    sent = sent_by(stack)

    def stamped(value: int) -> bytes:
        return Options(stamps=(value, 0)).encode()

    hand(stack, Segment(5_000, 80, 100, 0, SYN, 8_192, Options(1_460, stamps=(10, 0)).encode()))
    iss = sent[0].seq
    hand(stack, Segment(5_000, 80, 101, (iss + 1) & MASK, ACK, 8_192, stamped(11)))
    lan.world.advance(Ns(lan.world.now + ms(5)))
    hand(stack, Segment(5_000, 80, 101, (iss + 2) & MASK, ACK | FIN, 8_192, stamped(12)))
    [old] = stack.tcpv4.connections
    assert old.state is State.TIME_WAIT
    sent.clear()
    hand(stack, Segment(5_000, 80, 50 if later else 5_000, 0, SYN, 8_192, Options(1_460, stamps=(13 if later else 9, 0)).encode()))
    if later:
        assert [segment.flags for segment in sent] == [SYN | ACK] and stack.tcpv4.connections != [old]
        assert (sent[0].seq - old.pcb.snd_nxt) & MASK < HALF
    else:
        assert [segment.flags for segment in sent] == [ACK] and stack.tcpv4.connections == [old]


# memory --------------------------------------------------------------------------------------------------------------


def test_all_connections_together_hold_no_more_than_the_stack_may() -> None:
    lan = Lan()
    server = lan.stacks[1]
    server.tcpv4.memory = 400_000

    async def never_read(flow: TcpFlow) -> None:
        await tasks.sleep(seconds(30))
        while await flow.read():
            pass
        await flow.close()

    server.listen_tcpv4(7, never_read)

    async def push() -> None:
        flow = await lan.stacks[0].tcpv4.create_connection(("10.0.0.2", 7))
        await flow.write(bytes(150_000))
        await flow.close()

    highest = 0
    for _ in range(20):
        lan.stacks[0].queue.spawn(push())
    for _ in range(250):
        lan.world.advance(Ns(lan.world.now + ms(100)))
        highest = max(highest, server.tcpv4.held)
    assert 350_000 < highest < 400_000 + 20 * 4_096 + 2_000
    lan.world.advance(Ns(lan.world.now + seconds(400)))
    assert server.tcpv4.held == 0 and lan.stacks[0].tcpv4.held == 0
    assert {flow.pcb.error for flow in server.tcpv4.connections} <= {None} and server.tcpv4.statistics().connections == 0


def test_a_segment_of_another_profile_or_algorithm_is_chosen_by_name() -> None:
    lan = Lan(congestion="bbr")
    lan.stacks[1].listen_tcpv4(7, echo)

    async def names() -> list[str]:
        first = await lan.stacks[0].tcpv4.create_connection(("10.0.0.2", 7))
        second = await lan.stacks[0].tcpv4.create_connection(("10.0.0.2", 7), congestion="newreno", ecn=True)
        assert second.pcb.ecn and not first.pcb.ecn
        return [first.pcb.congestion.name, second.pcb.congestion.name]

    assert lan.run(names()) == ["bbr", "newreno"]
    with pytest.raises(LocalProtocolError, match="vegas"):
        Lan(congestion="vegas")


def test_ecn_crosses_the_lan_in_the_header_of_ip() -> None:
    lan = Lan(ecn=True)
    lan.stacks[1].listen_tcpv4(7, echo)
    seen: list[int] = []
    inner = lan.stacks[1].tcpv4.input

    def watch(src: int, dst: int, packet: bytes) -> None:
        if len(packet) > 60:
            seen.append(lan.stacks[1].ipv4.ecn)
        inner(src, dst, packet)

    lan.stacks[1].ipv4.register(6, watch)
    assert lan.run(say(lan.stacks[0], bytes(5_000))) == bytes(5_000)
    assert seen and set(seen) == {2}


# a peer that vanished, small pieces ----------------------------------------------------------------------------------


def test_a_peer_that_vanished_is_noticed_by_keepalive() -> None:
    """RFC 9293 section 3.8.4; without asking, an idle connection lives for ever."""
    lan = Lan()
    lan.stacks[1].listen_tcpv4(7, echo)

    async def wait(idle: Ns) -> bytes:
        flow = await lan.stacks[0].tcpv4.create_connection(("10.0.0.2", 7))
        flow.keepalive(idle)
        await tasks.sleep(seconds(400))
        lan.segment.set(loss=1.0)
        return await flow.read()

    assert isinstance(lan.run(wait(seconds(60)), within=seconds(3_000)), ConnectionTimedOut)
    lan.segment.set(loss=0.0)
    assert lan.run(wait(Ns(0)), within=seconds(100_000)) is None


def test_keepalive_asks_with_an_old_number_and_an_answer_ends_it() -> None:
    wire = Wire()
    wire.run(ms(10))
    wire.client.keep_alive(seconds(10), wire.now)
    wire.log.clear()
    wire.run(seconds(155))
    asked = [(at, segment) for at, pcb, segment in wire.log if pcb is wire.client]
    assert len(asked) == 15 and all(segment.seq == (wire.client.snd_nxt - 1) & MASK and not segment.payload for _, segment in asked)
    assert len(wire.sent(wire.server)) == 15 and wire.client.state is State.ESTABLISHED


def asked(wire: Wire, within: Ns) -> list[Ns]:
    """Run, and return when the client asked whether the server is still there, ns."""
    wire.log.clear()
    wire.run(within)
    return [at for at, pcb, segment in wire.log if pcb is wire.client and not segment.payload and segment.seq == (wire.client.snd_nxt - 1) & MASK]


@pytest.mark.parametrize("what", ["data", "more data", "early data", "an acknowledgment"])
def test_whatever_is_heard_from_the_peer_puts_the_question_off(what: str) -> None:
    """RFC 9293 section 3.8.4: only after an idle time."""
    wire = Wire()
    wire.run(ms(10))
    wire.client.keep_alive(seconds(10), wire.now)
    wire.run(seconds(8))
    if what == "an acknowledgment":
        wire.write(wire.client, b"x")
    elif what == "early data":
        wire.server.snd_nxt = (wire.server.snd_nxt + 10) & MASK
        segment = Segment(80, 49_152, wire.server.snd_nxt, wire.server.rcv_nxt, ACK, 100, timestamps(wire.server.stamp(wire.now), wire.client.ts_recent), b"x")
        wire.client.receive(segment, wire.now)
    else:
        wire.write(wire.server, b"x")
        if what == "more data":
            wire.run(seconds(1))
            wire.write(wire.server, b"x")
    begun = wire.now
    assert asked(wire, seconds(9)) == []
    first = asked(wire, seconds(3))
    assert len(first) == 1 and seconds(10) <= first[0] - begun < seconds(11)


def test_a_connection_asks_from_when_it_is_open() -> None:
    wire = Wire()
    wire.client.keepalive = seconds(10)  # its SYN is on the way
    wire.run(ms(10))
    assert len(asked(wire, seconds(11))) == 1


def test_the_handshake_tells_the_shortest_round_trip() -> None:
    """RFC 8985 section 6.1: RACK's window and its doubts need one from the beginning."""
    wire = Wire(lambda segment: [ms(10)])
    wire.run(ms(25))
    assert wire.client.recovery.board.min_rtt == ms(20)


def test_nagle_holds_small_pieces_back_and_nodelay_does_not() -> None:
    """RFC 9293 section 3.7.4."""
    for nodelay, count in ((False, 2), (True, 5)):
        wire = Wire()
        wire.run(ms(10))
        wire.client.nagle = not nodelay
        for _ in range(5):
            wire.write(wire.client, b"x")
        wire.run(ms(100))
        assert len([segment for segment in wire.sent(wire.client) if segment.payload]) == count
        assert bytes(wire.received[wire.server]) == b"xxxxx"


def test_a_window_that_opens_a_little_is_not_told_and_not_used() -> None:
    """RFC 9293 section 3.8.6.2: the silly window syndrome: neither end makes small segments of a large transfer."""
    wire = Wire(reading=False)
    wire.run(ms(10))
    wire.write(wire.client, bytes(TODAY.buffer + 200_000))
    wire.run(seconds(20))
    server = wire.server
    whole = b"".join(server._in)
    wire.log.clear()
    for _ in range(200):
        server._in[:], server._in_size = [whole[100:]], len(whole) - 100
        whole = whole[100:]
        wire.flush(server)
        wire.run(ms(5))
    sizes = [len(segment.payload) for segment in wire.sent(wire.client) if segment.payload]
    assert all(size >= 1_400 for size in sizes), sizes
    edges = {(segment.ack + (segment.window << 3)) & MASK for segment in wire.sent(server)}
    steps = [b - a for a, b in pairwise(sorted(edges))]
    assert all(step >= 1_448 for step in steps), steps


def test_a_receiver_does_not_offer_crumbs() -> None:
    """RFC 9293 section 3.8.6.2.2: the edge moves by a segment or not at all."""
    wire = Wire(reading=False, profile=replace(TODAY, timestamps=False, sack=False, rack=False))
    wire.run(ms(10))
    wire.write(wire.client, bytes(TODAY.buffer + 100_000))
    wire.run(seconds(3))
    server = wire.server
    whole, edge = b"".join(server._in), server.rcv_adv
    for crumbs, moved in ((100, False), (1_000, False), (3_000, True)):
        server._in[:], server._in_size = [whole[crumbs:]], len(whole) - crumbs
        server.receive(Segment(49_152, 80, (server.rcv_nxt - 5) & MASK, server.snd_nxt, ACK, 100), wire.now)
        [answer] = server.transmit(wire.now)
        assert ((answer.ack + (answer.window << 3)) & MASK != edge) is moved, crumbs


def test_a_sender_does_not_fill_crumbs() -> None:
    """RFC 9293 section 3.8.6.2.1: less than a segment and less than half of the largest window: wait."""
    wire = Wire(profile=replace(TODAY, timestamps=False, sack=False, rack=False))
    wire.run(ms(10))
    client = wire.client

    def offer(window: int) -> list[int]:
        client.receive(Segment(80, 49_152, client.rcv_nxt, client.snd_nxt, ACK, window >> 3), wire.now)
        return [len(segment.payload) for segment in client.transmit(wire.now) if segment.payload]

    offer(0)
    client.write(bytes(50_000))
    assert offer(0) == offer(400) == offer(1_000) == []
    assert offer(1_464) == [1_460]


def test_a_closed_window_is_asked_about_less_and_less_often() -> None:
    """RFC 9293 section 3.8.6.1: the interval between probes grows exponentially."""
    wire = Wire(reading=False, profile=replace(TODAY, rack=False))
    wire.run(ms(10))
    wire.write(wire.client, bytes(TODAY.buffer + 200_000))
    wire.run(seconds(3))
    wire.log.clear()
    wire.run(seconds(60))
    asked = [at for at, pcb, segment in wire.log if pcb is wire.client]
    gaps = [b - a for a, b in pairwise(asked)]
    assert len(gaps) >= 3 and all(later >= 1.9 * sooner for sooner, later in pairwise(gaps[:4])), gaps


# strangers -----------------------------------------------------------------------------------------------------------


def test_challenges_are_limited_for_each_connection_by_itself() -> None:
    """RFC 5961 section 7: ten in five seconds."""
    wire = Wire()
    wire.run(ms(10))
    server = wire.server

    def blind(count: int) -> int:
        answers = 0
        for n in range(count):
            server.receive(Segment(49_152, 80, (server.rcv_nxt + 5 + n) & MASK, 0, RST, 0), wire.now)
            answers += len(server.transmit(wire.now))
        return answers

    assert blind(100) == 10
    wire.now = Ns(wire.now + seconds(4))
    assert blind(100) == 0
    wire.now = Ns(wire.now + seconds(1))
    assert blind(100) == 10
    assert server.state is State.ESTABLISHED


def test_data_with_an_impossible_acknowledgment_is_not_taken() -> None:
    """RFC 5961 section 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT."""
    profile = replace(TODAY, timestamps=False)
    for off, taken in ((-1_000, True), (0, True), (1, False), (-10_000_000, False), (HALF - 1, False)):
        wire = Wire(profile=profile)
        wire.run(ms(10))
        server = wire.server
        ack = (server.snd_una + off) & MASK
        server.receive(Segment(49_152, 80, server.rcv_nxt, ack, ACK, 100, b"", b"evil"), wire.now)
        assert (server.read() == b"evil") is taken, off
        if not taken:
            assert [segment.flags for segment in server.transmit(wire.now)] == [ACK]


def test_what_a_connection_throws_away_is_counted_with_its_reason() -> None:
    lan = Lan()
    stack = lan.stacks[1]
    stack.listen_tcpv4(80, echo)
    sent = sent_by(stack)
    hand(stack, Segment(5_000, 80, 100, 0, SYN, 8_192, Options(1_460, stamps=(10, 0)).encode()))
    iss = (sent[0].seq + 1) & MASK
    hand(stack, Segment(5_000, 80, 101, iss, ACK, 8_192, Options(stamps=(11, 0)).encode()))
    strange = [(101, iss, ACK, None), (101, iss, ACK, (5, 0)), (90, iss, ACK, (12, 0)), (105, iss, RST, None), (101, iss + 9, ACK, (12, 0))]
    for seq, ack, flags, stamps in strange:
        hand(stack, Segment(5_000, 80, seq, ack, flags, 8_192, Options(stamps=stamps).encode(), b"x"))
    lan.world.advance(Ns(lan.world.now + ms(1)))
    told = {"no timestamps": 1, "PAWS: an old timestamp": 1, "outside the window": 1, "challenged": 2}
    assert stack.tcpv4.statistics().dropped == told
    assert [event.fields["reason"] for event in lan.world.recorder.events("tcp.drop")][:2] == list(told)[:2]


def test_two_stacks_never_answer_resets_with_resets() -> None:
    lan = Lan()
    sent = [sent_by(stack) for stack in lan.stacks]
    hand(lan.stacks[1], Segment(1, 2, 3, 4, RST | ACK, 0))
    hand(lan.stacks[1], Segment(1, 2, 3, 4, RST, 0))
    assert sent == [[], []]
    hand(lan.stacks[1], Segment(1, 2, 3, 4, ACK, 0))
    assert [segment.flags for segment in sent[1]] == [RST]


def test_urgent_data_is_data() -> None:
    """RFC 6093 section 4: no stack of today delivers it apart."""
    wire = Wire(profile=replace(TODAY, timestamps=False))
    wire.run(ms(10))
    server = wire.server
    server.receive(Segment(49_152, 80, server.rcv_nxt, server.snd_nxt, ACK | PSH | URG, server.snd_wnd >> 3, b"", b"now!"), wire.now)
    assert server.read() == b"now!"


def test_icmp_that_shrinks_the_path_must_quote_what_is_under_way() -> None:
    """RFC 5927 section 7: a forged message does not know the sequence number."""
    lan = Lan()
    lan.stacks[1].listen_tcpv4(7, echo)
    stack = lan.stacks[0]

    async def client() -> tuple[int, int]:
        flow = await stack.tcpv4.create_connection(("10.0.0.2", 7))
        await flow.write(bytes(10_000))
        ports = flow.pcb.src_port.to_bytes(2, "big") + (7).to_bytes(2, "big")
        stack.tcpv4.too_big(1_000, OURS, ports + ((flow.pcb.snd_una - 5) & MASK).to_bytes(4, "big"))
        forged = flow.pcb.mss
        stack.tcpv4.too_big(1_000, OURS, ports + flow.pcb.snd_una.to_bytes(4, "big"))
        return forged, flow.pcb.mss

    assert lan.run(client()) == (1_448, 948)


# 2014 ----------------------------------------------------------------------------------------------------------------


def test_the_numbers_of_2014() -> None:
    old = PROFILES["2014"]
    wire = Wire(lambda segment: [], profile=old)
    wire.run(seconds(300))
    at = [when for when, _, _ in wire.log]
    assert [b - a for a, b in itertools.pairwise(at)] == [seconds(n) for n in (3, 6, 12, 24, 48)]
    wire = Wire(profile=old)
    wire.run(ms(10))
    syn, answer = wire.log[0][2], wire.log[1][2]
    assert (syn.window, answer.window) == (5_840, 65_535)
    assert syn.options == answer.options == Options(1_460, 2).encode()
    assert wire.client.congestion.name == "newreno" and wire.client.congestion.cwnd == 2 * 1_460
    assert wire.client.congestion.ssthresh == wire.client.snd_wnd == 65_535
    assert wire.client.write(bytes(100_000)) == 16_384
    wire.run(seconds(5))
    for pcb in (wire.client, wire.server):
        pcb.close()
        wire.flush(pcb)
        wire.run(ms(10))
    assert wire.client.state is State.TIME_WAIT and wire.client.next_deadline() is not None
    wire.run(seconds(2))
    assert wire.client.state is State.CLOSED


def test_half_closed_in_2014_lasted_ten_seconds() -> None:
    wire = Wire(profile="2014")
    wire.run(ms(10))
    wire.client.close()
    wire.flush(wire.client)
    wire.run(seconds(9))
    assert wire.client.state is State.FIN_WAIT_2
    wire.run(seconds(2))
    assert wire.client.state is State.CLOSED


def test_stacks_of_2014_and_today_talk() -> None:
    lan = Lan()
    queue = lan.world.queue("old")
    old = Stack(queue, Netif(queue, lan.segment, "02:00:00:00:00:77", "old"), address="10.0.0.9/24", profile="2014")
    old.listen_tcpv4(7, echo)
    data = random.Random(1).randbytes(60_000)
    assert lan.run(say(lan.stacks[0], data, to="10.0.0.9")) == data
    assert 10_000 <= old.tcpv4._port < 20_000


def test_giving_up_says_so() -> None:
    pcb = Pcb(1, 2, 3, TODAY, 1_460)
    pcb.connect()
    pcb.transmit(Ns(0))
    happened = 0
    while (at := pcb.next_deadline()) is not None:
        happened |= pcb.on_deadline(at)
        pcb.transmit(at)
    assert happened & CLOSED and pcb.error == "timed out"
