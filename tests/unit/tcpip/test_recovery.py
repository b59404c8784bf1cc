"""How losses are found and mended: SACK, RACK-TLP, PRR, timeouts that were none; each story cites its paragraph."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage_lab.signatures.units import Ns, ms, seconds, us
from mirage_lab.tcpip.tcp.pcb import Pcb
from mirage_lab.tcpip.tcp.profile import PROFILES, Profile
from mirage_lab.tcpip.tcp.prr import Prr
from mirage_lab.tcpip.tcp.recovery import Phase
from mirage_lab.tcpip.tcp.scoreboard import Sample, Scoreboard
from mirage_lab.tcpip.tcp.states import State
from mirage_lab.tcpip.wire.seq import MASK
from mirage_lab.tcpip.wire.tcp import ACK, SYN, Options, Segment, parse_options, timestamps
from mirage_lab.testing.tcpwire import Wire, faulty

TODAY = PROFILES["today"]
COUNTING = replace(TODAY, name="rfc6675", rack=False, prr=False, congestion="newreno")
MSS = 1_448
TEN = ms(10)


def open_wire(profile: str | Profile = "today", *, warm: int = 40, delay: Ns = TEN) -> Wire:
    """A connection whose window has grown by `warm` segments, and that has not idled since."""
    wire = Wire(lambda segment: [delay], profile=profile)
    wire.run(seconds(1))
    wire.write(wire.client, bytes(warm * MSS))
    wire.run(delay * 15)
    assert len(wire.received[wire.server]) == warm * MSS
    wire.received[wire.server].clear()
    wire.log.clear()
    wire.remarks.clear()
    return wire


def losing(wire: Wire, *segments: int, delay: Ns = TEN, again: int = 0) -> Callable[[Segment], list[Ns]]:
    """Lose the n-th segments (from 0) of what is written next, `again` times more each."""
    base = wire.client.snd_nxt
    doomed = {(base + n * MSS) & MASK: again + 1 for n in segments}

    def fate(segment: Segment) -> list[Ns]:
        if segment.payload and doomed.get(segment.seq, 0):
            doomed[segment.seq] -= 1
            return []
        return [delay]

    return fate


def held(wire: Wire, duration: Ns) -> Callable[[Segment], list[Ns]]:
    """Hold everything back for a while, then let it through in order."""
    until = wire.now + duration
    return lambda segment: [Ns(max(until - wire.now, 0) + ms(10))]


def sacks(wire: Wire) -> list[tuple[tuple[int, int], ...]]:
    """The SACK blocks of the server, counted in segments after what was acknowledged at first."""
    base = wire.log[0][2].seq
    blocks = [parse_options(segment.options).sack for segment in wire.sent(wire.server)]
    return [tuple(((left - base) // MSS, (right - base) // MSS) for left, right in each) for each in blocks if each]


def test_sack_and_timestamps_are_agreed_on_in_the_syn() -> None:
    wire = Wire()
    wire.run(ms(10))
    syn, syn_ack = (parse_options(segment.options) for segment in (wire.log[0][2], wire.log[1][2]))
    assert syn.sack_ok and syn_ack.sack_ok and syn.stamps == (77, 0) and syn_ack.stamps is not None and syn_ack.stamps[1] == 77
    assert wire.client.recovery.sack and wire.server.stamping and wire.client.mss == MSS


@pytest.mark.parametrize("old", ["client", "server"])
def test_a_peer_that_knows_neither_is_talked_to_without(old: str) -> None:
    profiles = {"profile": "2014", "server": "today"} if old == "client" else {"profile": "today", "server": "2014"}
    wire = Wire(faulty(3, 0.03, 0.05, 0.02), **profiles)
    data = random.Random(1).randbytes(200_000)
    wire.write(wire.client, data)
    wire.run(seconds(600))
    assert bytes(wire.received[wire.server]) == data
    assert not wire.client.recovery.sack and not wire.server.stamping
    assert all(segment.options == b"" for segment in wire.sent(wire.server) if not segment.flags & SYN)


def test_the_block_that_grew_last_comes_first() -> None:
    """RFC 2018 section 4: the first block holds the segment that caused the acknowledgment; the others follow by age."""
    wire = open_wire()
    wire.fate = losing(wire, 0, 2, 4)
    wire.write(wire.client, bytes(6 * MSS))
    wire.run(ms(25))
    assert sacks(wire) == [((1, 2),), ((3, 4), (1, 2)), ((5, 6), (3, 4), (1, 2))]


def test_what_comes_twice_is_told_by_a_dsack() -> None:
    """RFC 2883 section 4.1.1: the first block is the duplicate, below the acknowledgment."""
    wire = open_wire()
    wire.fate = lambda segment: [ms(10), ms(11)] if segment.payload else [ms(10)]
    wire.write(wire.client, bytes(MSS))
    wire.run(ms(50))
    assert sacks(wire) == [((0, 1),)]
    assert wire.client.recovery.rack.multiplier == 2  # RFC 8985 section 6.2, step 4


def test_three_holes_are_mended_in_one_round_trip() -> None:
    """RFC 6675: SACK tells of all holes at once; without it each costs a round trip."""
    wire = open_wire()
    start = wire.now
    wire.fate = losing(wire, 3, 6, 9)
    wire.write(wire.client, bytes(20 * MSS))
    wire.run(seconds(3))
    again = [(at - start) / 1e6 for at, pcb, segment in wire.log if pcb is wire.client][20:]
    assert len(wire.told("tcp.retransmit")) == 3 and not wire.told("tcp.rto")
    assert all(20 <= at < 40 for at in again), again
    assert len(wire.received[wire.server]) == 20 * MSS


def test_counting_mends_as_well() -> None:
    """RFC 6675 section 4, IsLost: three segments' worth of SACK lie above."""
    wire = open_wire(COUNTING)
    wire.fate = losing(wire, 3, 6, 9)
    wire.write(wire.client, bytes(20 * MSS))
    wire.run(seconds(3))
    assert len(wire.told("tcp.retransmit")) == 3 and not wire.told("tcp.rto")
    assert len(wire.received[wire.server]) == 20 * MSS


def test_what_was_only_reordered_is_not_sent_again() -> None:
    """RFC 8985 section 6.2: a reordering window of a quarter round trip, once reordering was seen."""
    wire = open_wire()
    slow = [0]

    def fate(segment: Segment) -> list[Ns]:
        slow[0] += bool(segment.payload)
        return [ms(14) if segment.payload and slow[0] % 7 == 3 else ms(10)]

    wire.fate = fate
    for _ in range(10):
        wire.write(wire.client, bytes(14 * MSS))
        wire.run(ms(100))
    assert len(wire.received[wire.server]) == 140 * MSS and wire.told("tcp.undo")
    assert wire.client.recovery.board.reordered
    assert len(wire.told("tcp.retransmit")) <= 2, "only before reordering was known"
    assert wire.client.recovery.phase is Phase.OPEN


def test_a_retransmission_that_is_lost_is_noticed_without_a_timeout() -> None:
    """RFC 8985 section 2: RACK sees that something sent after the retransmission has arrived."""
    wire = open_wire()
    wire.fate = losing(wire, 2, again=1)
    wire.write(wire.client, bytes(30 * MSS))
    wire.run(ms(60))
    wire.write(wire.client, bytes(10 * MSS))
    wire.run(ms(150))
    assert [told["why"] for told in wire.told("tcp.retransmit")] == ["loss", "loss"]
    assert len(wire.received[wire.server]) == 40 * MSS and not wire.told("tcp.rto")


def test_the_lost_tail_is_found_by_a_probe() -> None:
    """RFC 8985 section 7: two round trips, not one timeout, for the loss of the last segments."""
    wire = open_wire()
    start = wire.now
    wire.fate = losing(wire, 8, 9)
    wire.write(wire.client, bytes(10 * MSS))
    wire.run(seconds(2))
    assert [told["why"] for told in wire.told("tcp.retransmit")] == ["probe", "loss"]
    arrived = max(at for at, pcb, segment in wire.log if segment.payload) + ms(10) - start
    assert arrived < ms(120) and not wire.told("tcp.rto")
    assert len(wire.received[wire.server]) == 10 * MSS


def test_a_probe_that_mends_the_loss_itself_still_shrinks_the_window() -> None:
    """RFC 8985 section 7.4.2."""
    wire = open_wire(delay=ms(5))
    wire.fate = losing(wire, 9, delay=ms(5))
    before = wire.client.congestion.cwnd
    wire.write(wire.client, bytes(10 * MSS))
    wire.run(seconds(2))
    assert [told["why"] for told in wire.told("tcp.retransmit")] == ["probe"]
    wire.write(wire.client, bytes(MSS))
    wire.run(seconds(2))
    assert wire.client.congestion.ssthresh < before and wire.client.congestion.cwnd < before


def test_a_probe_that_was_not_needed_costs_nothing() -> None:
    """RFC 8985 section 7.4.1: the D-SACK says that the original had come."""
    wire = open_wire()
    wire.fate = held(wire, ms(100))
    before = wire.client.congestion.ssthresh
    wire.write(wire.client, bytes(4 * MSS))
    wire.run(ms(150))
    assert [told["why"] for told in wire.told("tcp.retransmit")] == ["probe"]
    wire.write(wire.client, bytes(4 * MSS))
    wire.run(seconds(1))
    assert wire.client.congestion.ssthresh == before and len(wire.received[wire.server]) == 8 * MSS


def test_a_timeout_that_was_none_is_undone() -> None:
    """RFC 3522 (Eifel): the first acknowledgment after the timeout echoes the time of the original."""
    wire = open_wire()
    cwnd = wire.client.congestion.cwnd
    wire.fate = held(wire, ms(500))
    wire.write(wire.client, bytes(5 * MSS))
    wire.run(seconds(5))
    assert wire.told("tcp.rto") and wire.told("tcp.undo")[0] == {"why": "timestamps", "phase": "loss"}
    assert wire.client.congestion.cwnd >= cwnd and wire.client.recovery.phase is Phase.OPEN
    assert len(wire.received[wire.server]) == 5 * MSS


def test_a_timeout_that_was_one_is_not_undone() -> None:
    wire = open_wire()
    wire.fate = lambda segment: []
    wire.write(wire.client, bytes(5 * MSS))
    wire.run(ms(600))
    wire.fate = lambda segment: [ms(10)]
    wire.run(seconds(5))
    assert wire.told("tcp.rto") and not wire.told("tcp.undo")
    assert len(wire.received[wire.server]) == 5 * MSS


def test_timeouts_double_and_an_answer_ends_the_doubling() -> None:
    """RFC 6298 section 5.5 to 5.7."""
    wire = open_wire(replace(TODAY, rack=False))
    wire.fate = lambda segment: []
    start = wire.now
    wire.write(wire.client, b"x")
    wire.run(seconds(4))
    at = [when - start for when, _, _ in wire.log]
    gaps = [b - a for a, b in pairwise(at)]
    assert gaps[:4] == [ms(200), ms(400), ms(800), ms(1_600)]
    wire.fate = lambda segment: [ms(10)]
    wire.run(seconds(10))
    assert wire.client.rtt.backoff == 0 and wire.client.flight == 0


def test_the_window_shrinks_over_a_round_trip_and_never_stops() -> None:
    """RFC 9937: about ssthresh / flight segments go out for each that arrives; the reduction is neither a pause nor a burst."""
    wire = open_wire(replace(TODAY, congestion="newreno"), warm=100)
    wire.client.congestion.cwnd = 40 * MSS
    wire.fate = losing(wire, 0)
    wire.write(wire.client, bytes(120 * MSS))
    flown, seen = [], 0
    start = wire.now
    while wire.now < start + ms(39):
        wire.run(us(500))
        sent = len(wire.sent(wire.client))
        flown.append(sent - seen)
        seen = sent
    assert wire.client.congestion.ssthresh == 20 * MSS
    assert 18 * MSS <= wire.client.congestion.cwnd <= 21 * MSS
    wire.run(seconds(3))
    assert len(wire.received[wire.server]) == 120 * MSS


def test_prr_sends_in_proportion() -> None:
    """The example of RFC 9937 section 6: beta one half, one segment out for two in."""
    prr = Prr()
    prr.begin(20)
    pipe, sent = 19, 0
    for _ in range(20):
        pipe -= 1
        count = prr.window(1, pipe, 10, 1, True) - pipe
        prr.out += count
        sent += count
        pipe += count
    assert sent == 11 and pipe == 10


def test_a_peer_that_forgets_what_it_sacked_gets_it_again() -> None:
    """RFC 2018 section 8: SACK is advice; after a timeout what was SACKed at the front and never acknowledged is sent again."""
    board = Scoreboard()
    board.restart(1)
    for _ in range(3):
        board.send(10, Ns(5))
    sample = Sample()
    board.sack(1, 11, sample)
    assert board.sacked == 10 and board.pipe == 20
    board.lose_all()
    assert board.sacked == 0 and board.due == 30 and board.pipe == 0


def test_a_segment_without_timestamps_is_ignored_and_an_old_one_answered() -> None:
    """RFC 7323 section 3.2 (MUST be dropped) and 5.3 (PAWS)."""
    wire = open_wire()
    server, data = wire.server, b"evil"
    server.receive(Segment(49_152, 80, server.rcv_nxt, server.snd_nxt, ACK, 100, b"", data), wire.now)
    assert server.read() == b"" and server.transmit(wire.now) == []
    old = timestamps((server.ts_recent - 1) & MASK, 0)
    server.receive(Segment(49_152, 80, server.rcv_nxt, server.snd_nxt, ACK, 100, old, data), wire.now)
    assert server.read() == b"" and [segment.ack for segment in server.transmit(wire.now)] == [server.rcv_nxt]
    server.receive(Segment(49_152, 80, server.rcv_nxt, server.snd_nxt, ACK, 100, timestamps(server.ts_recent, 0), data), wire.now)
    assert server.read() == data


def test_the_time_that_is_echoed_is_that_of_the_first_unacknowledged_segment() -> None:
    """RFC 7323 section 4.3: with delayed acknowledgments round trips are measured from the earlier one."""
    wire = open_wire()
    server = wire.server
    server._quick = 0
    now, seq = wire.now, server.rcv_nxt
    for n, later in enumerate((5, 9)):
        stamp = timestamps(server.ts_recent + later, 0)
        server.receive(Segment(49_152, 80, (seq + n) & MASK, server.snd_nxt, ACK, server.snd_wnd >> server.snd_scale, stamp, b"x"), now)
    first = wire.client.stamp(now)
    [answer] = server.transmit(now)
    stamps = parse_options(answer.options).stamps
    assert stamps is not None and stamps[1] == server.ts_recent and stamps[1] != first


def test_a_segment_beyond_a_hole_does_not_change_the_time_that_is_echoed() -> None:
    """RFC 7323 section 4.3, rule 2: only what covers the last acknowledgment sent does."""
    wire = open_wire()
    server = wire.server
    before = server.ts_recent
    early = Segment(49_152, 80, (server.rcv_nxt + 10) & MASK, server.snd_nxt, ACK, 100, timestamps((before + 50) & MASK, 0), b"x")
    server.receive(early, wire.now)
    [answer] = server.transmit(wire.now)
    stamps = parse_options(answer.options).stamps
    assert stamps is not None and stamps[1] == server.ts_recent == before


def test_after_idling_no_more_than_the_first_window_goes_out_at_once() -> None:
    """RFC 5681 section 4.1."""
    wire = open_wire(warm=80)
    assert wire.client.congestion.cwnd > 20 * MSS
    wire.run(seconds(5))
    wire.log.clear()
    wire.write(wire.client, bytes(40 * MSS))
    assert len(wire.sent(wire.client)) == 10


def test_two_duplicates_are_not_a_loss_three_are() -> None:
    """RFC 5681 section 3.2; without SACK."""
    for late, lost in ((2, False), (3, True)):
        wire = open_wire(replace(TODAY, sack=False, rack=False, timestamps=False, congestion="newreno"))
        base, size = wire.client.snd_nxt, wire.client.mss

        def fate(segment: Segment, base: int = base, late: int = late) -> list[Ns]:
            if not segment.payload:
                return [ms(10)]
            place = (segment.seq - base) // 1_460
            return [Ns(ms(10) + (1_000 * late if not place else 999 * place))]

        wire.fate = fate
        wire.write(wire.client, bytes(8 * size))
        wire.run(seconds(1))
        assert bool(wire.told("tcp.retransmit")) is lost


def test_path_mtu_makes_smaller_segments_of_the_same_bytes() -> None:
    """RFC 1191: what is out is cut and sent again."""
    wire = open_wire()
    data = random.Random(3).randbytes(20 * MSS)
    wire.fate = lambda segment: [ms(10)] if len(segment.payload) <= 1_000 else []
    wire.write(wire.client, data)
    wire.run(ms(1))
    wire.client.path_mss(1_012, wire.now)
    wire.flush(wire.client)
    wire.run(seconds(5))
    assert bytes(wire.received[wire.server]) == data and wire.client.mss == 1_000


def consistent(pcb: Pcb) -> None:
    """What the scoreboard counts is what its records say, and they cover all that is out."""
    board = pcb.recovery.board
    at = board.una
    for record in board.records:
        assert record.start == at < record.end
        assert not (record.sacked and record.due)
        at = record.end
    assert at == board.nxt
    assert board.sacked == sum(record.end - record.start for record in board.records if record.sacked)
    assert board.due == sum(record.end - record.start for record in board.records if record.due)
    assert board.sacks == sum(record.sacked for record in board.records)
    assert board.pipe >= 0 and board.guessed >= 0


VARIANTS = {
    "today": TODAY,
    "newreno": replace(TODAY, congestion="newreno"),
    "bbr": replace(TODAY, congestion="bbr"),
    "counting": COUNTING,
    "nosack": replace(TODAY, sack=False, rack=False),
    "nostamps": replace(TODAY, timestamps=False),
    "ecn": replace(TODAY, ecn="ask"),
    "2014": PROFILES["2014"],
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_wire_does_every_byte_arrives_once(name: str, seed: int) -> None:
    wire = Wire(faulty(seed, 0.06, 0.15, 0.08), iss=(MASK - 50_000, 7), profile=VARIANTS[name])
    chance = random.Random(seed)
    there, back = chance.randbytes(200_000), chance.randbytes(60_000)
    wire.write(wire.client, there)
    wire.write(wire.server, back)
    for _ in range(400):
        wire.run(seconds(1))
        consistent(wire.client)
        consistent(wire.server)
    assert bytes(wire.received[wire.server]) == there and bytes(wire.received[wire.client]) == back
    for pcb in (wire.client, wire.server):
        pcb.close()
        wire.flush(pcb)
    wire.run(seconds(400))
    assert wire.client.state is wire.server.state is State.CLOSED and wire.client.error is wire.server.error is None


BLOCKS = st.lists(st.tuples(st.integers(-3, 30), st.integers(-3, 30)), max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-2, 12), BLOCKS, st.integers(0, 400), st.booleans()), max_size=25), st.sampled_from(sorted(VARIANTS)))
def test_no_acknowledgment_breaks_the_scoreboard(acks: list[tuple[int, list[tuple[int, int]], int, bool]], name: str) -> None:
    """A hostile receiver: acknowledgments and SACK blocks of anything."""
    wire = Wire(profile=VARIANTS[name])
    wire.run(ms(10))
    client, server = wire.client, wire.server
    client.write(bytes(30 * MSS))
    client.transmit(wire.now)
    for count, blocks, wait, whole in acks:
        wire.now = Ns(wire.now + ms(wait))
        ack = (client.snd_una + count * (MSS if whole else 100)) & MASK
        sack = tuple(((client.snd_una + left * MSS) & MASK, (client.snd_una + right * MSS) & MASK) for left, right in blocks)
        stamps = (server.stamp(wire.now), client.stamp(wire.now)) if client.stamping else None
        options = Options(stamps=stamps, sack=sack).encode()
        client.receive(Segment(80, 49_152, client.rcv_nxt, ack, ACK, 30_000, options), wire.now)
        client.transmit(wire.now)
        consistent(client)
        deadline = client.next_deadline()
        if deadline is not None and deadline <= wire.now:
            client.on_deadline(wire.now)
            client.transmit(wire.now)
            consistent(client)
        assert client.congestion.cwnd >= client.mss
