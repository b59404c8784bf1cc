"""Two connections and a wire: the story of TCP, one rule at a time."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.tcp.pcb import CLOSED, Pcb, reset_for
from mirage_lab.tcpip.tcp.profile import PROFILES
from mirage_lab.tcpip.tcp.reassembly import Reassembly
from mirage_lab.tcpip.tcp.states import NEXT, State
from mirage_lab.tcpip.wire.seq import MASK
from mirage_lab.tcpip.wire.tcp import ACK, FIN, RST, SYN, Options, Segment, decode, encode
from mirage_lab.testing.tcpwire import Fate, Wire, faulty, lose

TODAY = PROFILES["today"]
PLAIN = replace(TODAY, name="plain", sack=False, timestamps=False, rack=False, prr=False, congestion="newreno")
"""RFC 5681 and 6582 and nothing newer."""
PLAIN_MSS = 1_460
MSS = 1_448
"""What timestamps leave of 1,460."""


def open_wire(fate: Fate | None = None, **how: object) -> Wire:
    wire = Wire(fate, **how)  # type: ignore[arg-type]
    wire.run(ms(10))
    assert wire.client.state is wire.server.state is State.ESTABLISHED
    return wire


def test_three_segments_open_a_connection() -> None:
    wire = open_wire()
    assert [segment.flags for _, _, segment in wire.log] == [SYN, SYN | ACK, ACK]
    assert wire.client.mss == wire.server.mss == MSS


def test_syn_is_retransmitted_after_one_rto() -> None:
    wire = Wire(lose(1))
    wire.run(seconds(2))
    syns = [at for at, pcb, segment in wire.log if pcb is wire.client and segment.flags == SYN]
    assert syns == [0, TODAY.initial_rto]
    assert wire.client.state is State.ESTABLISHED


def test_a_connection_nobody_answers_times_out() -> None:
    wire = Wire(lambda segment: [])
    wire.run(seconds(300))
    assert wire.client.state is State.CLOSED and wire.client.error == "timed out"
    assert len(wire.log) == 1 + TODAY.syn_tries


def test_in_2014_the_first_timeout_is_three_seconds_and_five_tries_are_made() -> None:
    wire = Wire(lambda segment: [], profile="2014")
    wire.run(seconds(300))
    assert [at for at, _, _ in wire.log][:2] == [0, seconds(3)]
    assert len(wire.log) == 6


def test_data_arrives_in_order_and_once() -> None:
    wire = open_wire()
    data = random.Random(1).randbytes(300_000)
    wire.write(wire.client, data)
    wire.run(seconds(5))
    assert bytes(wire.received[wire.server]) == data
    assert not wire.told("tcp.retransmit")


def test_every_second_segment_is_acknowledged_after_the_quick_ones() -> None:
    wire = open_wire()
    wire.write(wire.client, bytes(1_460 * 100))
    wire.run(seconds(1))
    acks = [segment for segment in wire.sent(wire.server) if not segment.payload and not segment.flags & SYN]
    assert 50 <= len(acks) <= 50 + TODAY.quick_acks


def test_a_lone_segment_is_acknowledged_after_40_ms() -> None:
    wire = open_wire()
    wire.server._quick = 0
    start = wire.now
    wire.write(wire.client, b"x")
    wire.run(seconds(1))
    at = [at for at, pcb, _ in wire.log if pcb is wire.server][-1]
    assert at == start + ms(1) + TODAY.delayed_ack


def test_three_duplicate_acks_bring_the_lost_segment_at_once() -> None:
    wire = open_wire(profile=PLAIN)
    wire.write(wire.client, bytes(1_460 * 10))
    wire.run(seconds(1))
    lost = []

    def fate(segment: Segment) -> list[Ns]:
        if segment.payload and not lost:
            lost.append(segment.seq)
            return []
        return [ms(1)]

    wire.fate = fate
    start = wire.now
    wire.write(wire.client, bytes(1_460 * 10))
    wire.run(seconds(2))
    again = [at for at, pcb, segment in wire.log if segment.seq == lost[0] and segment.payload]
    assert len(again) == 2 and again[1] - start < ms(10)
    assert wire.told("tcp.retransmit") == [{"seq": lost[0], "length": 1_460, "why": "duplicate ACKs"}]
    assert len(wire.received[wire.server]) == 1_460 * 20


def test_newreno_mends_two_holes_without_a_timeout() -> None:
    wire = open_wire(profile=PLAIN)
    wire.write(wire.client, bytes(1_460 * 20))
    wire.run(seconds(1))
    start = wire.client.snd_nxt
    doomed = {start, (start + 3 * 1_460) & MASK}

    def fate(segment: Segment) -> list[Ns]:
        if segment.payload and segment.seq in doomed:
            doomed.discard(segment.seq)
            return []
        return [ms(1)]

    wire.fate = fate
    wire.write(wire.client, bytes(1_460 * 20))
    wire.run(seconds(2))
    assert not doomed
    assert len(wire.received[wire.server]) == 1_460 * 40
    assert not wire.told("tcp.rto")


def test_a_timeout_halves_ssthresh_and_starts_over_with_one_segment() -> None:
    wire = open_wire(profile=PLAIN)
    wire.fate = lambda segment: []
    wire.write(wire.client, bytes(1_460 * 10))
    flight = wire.client.flight
    wire.run(ms(900))
    assert wire.client.congestion.cwnd == 1_460
    assert wire.client.congestion.ssthresh == flight // 2
    wire.fate = lambda segment: [ms(1)]
    wire.run(seconds(20))
    assert len(wire.received[wire.server]) == 14_600


def test_a_closed_window_is_probed_until_it_opens() -> None:
    wire = open_wire(reading=False)
    data = random.Random(2).randbytes(TODAY.buffer + 100_000)
    wire.write(wire.client, data)
    wire.run(seconds(20))
    assert wire.client.snd_wnd < 1_460 and wire.client.state is State.ESTABLISHED
    wire.reading = True
    wire.received[wire.server] += wire.server.read()
    wire.flush(wire.server)
    wire.run(seconds(90))
    assert bytes(wire.received[wire.server]) == data


def test_a_window_update_that_is_lost_does_not_stop_the_connection() -> None:
    wire = open_wire(reading=False)
    data = bytes(TODAY.buffer + 50_000)
    wire.write(wire.client, data)
    wire.run(seconds(5))
    wire.fate = lambda segment: []
    wire.received[wire.server] += wire.server.read()
    wire.flush(wire.server)
    wire.fate = lambda segment: [ms(1)]
    wire.reading = True
    wire.run(seconds(120))
    assert len(wire.received[wire.server]) == len(data)


def test_both_ends_close_and_the_closer_waits() -> None:
    wire = open_wire()
    wire.write(wire.client, b"bye")
    wire.client.close()
    wire.flush(wire.client)
    wire.run(ms(100))
    assert wire.client.state is State.FIN_WAIT_2 and wire.server.state is State.CLOSE_WAIT and wire.server.eof
    wire.write(wire.server, b"last words")
    wire.server.close()
    wire.flush(wire.server)
    wire.run(ms(100))
    assert bytes(wire.received[wire.client]) == b"last words"
    assert wire.client.state is State.TIME_WAIT and wire.server.state is State.CLOSED and wire.server.error is None
    wire.run(TODAY.time_wait)
    assert wire.client.state is State.CLOSED and wire.client.next_deadline() is None


def test_closing_at_the_same_time_ends_both_in_time_wait() -> None:
    wire = open_wire()
    for pcb in (wire.client, wire.server):
        pcb.close()
        wire.flush(pcb)
    wire.run(ms(100))
    assert wire.client.state is wire.server.state is State.TIME_WAIT


def test_a_fin_that_is_lost_is_sent_again() -> None:
    wire = open_wire()
    wire.fate = lambda segment: []
    wire.client.close()
    wire.flush(wire.client)
    wire.fate = lambda segment: [ms(1)]
    wire.run(seconds(5))
    assert wire.server.state is State.CLOSE_WAIT and wire.client.state is State.FIN_WAIT_2


def test_half_closed_for_ever_is_not_for_ever() -> None:
    wire = open_wire()
    wire.client.close()
    wire.flush(wire.client)
    wire.run(Ns(TODAY.fin_wait_2 + seconds(1)))
    assert wire.client.state is State.CLOSED


def test_opening_at_the_same_time_makes_one_connection() -> None:
    wire = Wire()
    wire.server.connect()
    wire.flush(wire.server)
    wire.run(seconds(1))
    assert wire.client.state is wire.server.state is State.ESTABLISHED
    wire.write(wire.client, b"hello")
    wire.run(seconds(1))
    assert bytes(wire.received[wire.server]) == b"hello"


def test_a_reset_at_the_right_number_ends_and_elsewhere_in_the_window_is_challenged() -> None:
    wire = open_wire()
    server = wire.server
    server.receive(Segment(49_152, 80, (server.rcv_nxt + 100) & MASK, 0, RST, 0), wire.now)
    assert server.state is State.ESTABLISHED
    assert [segment.flags for segment in server.transmit(wire.now)] == [ACK]
    happened = server.receive(Segment(49_152, 80, server.rcv_nxt, 0, RST, 0), wire.now)
    assert happened & CLOSED and server.error == "reset" and server.transmit(wire.now) == []


def test_a_syn_inside_the_window_is_challenged() -> None:
    wire = open_wire()
    server = wire.server
    server.receive(Segment(49_152, 80, (server.rcv_nxt + 5) & MASK, 0, SYN, 0), wire.now)
    assert server.state is State.ESTABLISHED and [segment.flags for segment in server.transmit(wire.now)] == [ACK]


def test_a_reset_is_never_answered_by_a_reset() -> None:
    assert reset_for(Segment(1, 2, 3, 4, RST | ACK, 0)) is None
    answer = reset_for(Segment(1, 2, 10, 0, SYN, 0))
    assert answer is not None and (answer.flags, answer.ack) == (RST | ACK, 11)


def test_an_acknowledgment_of_what_was_never_sent_changes_nothing() -> None:
    wire = open_wire()
    una = wire.server.snd_una
    wire.server.receive(Segment(49_152, 80, wire.server.rcv_nxt, (una + 5_000) & MASK, ACK, 1_000), wire.now)
    assert wire.server.snd_una == una and wire.server.state is State.ESTABLISHED


def test_sequence_numbers_wrap() -> None:
    wire = open_wire(iss=(MASK - 1_000, MASK))
    data = random.Random(3).randbytes(200_000)
    wire.write(wire.client, data)
    wire.write(wire.server, data[::-1])
    wire.run(seconds(5))
    assert bytes(wire.received[wire.server]) == data and bytes(wire.received[wire.client]) == data[::-1]


def test_what_a_peer_sends_beyond_the_window_is_not_kept() -> None:
    wire = open_wire()
    server = wire.server
    for number in range(2_000):
        seq = (server.rcv_nxt + 1 + number * 2_000) & MASK
        server.receive(Segment(49_152, 80, seq, server.snd_nxt, ACK, 1_000, b"", bytes(1_000)), wire.now)
        server.transmit(wire.now)
    assert sum(server.buffered) <= TODAY.buffer
    assert len(server.reassembly) <= 512


def test_a_sender_that_never_stops_fills_one_buffer_and_no_more() -> None:
    wire = open_wire(reading=False)
    assert wire.client.write(bytes(1_000_000)) == TODAY.buffer
    wire.waiting[wire.client] += bytes(1_000_000)
    wire.flush(wire.client)
    wire.run(seconds(10))
    assert wire.server.buffered[0] <= TODAY.buffer


@pytest.mark.parametrize("seed", range(6))
def test_under_loss_reordering_and_duplication_no_byte_is_corrupted(seed: int) -> None:
    wire = Wire(faulty(seed, 0.05, 0.2, 0.1), iss=(MASK - 70_000, 5))
    chance = random.Random(seed)
    there, back = chance.randbytes(150_000), chance.randbytes(40_000)
    wire.write(wire.client, there)
    wire.write(wire.server, back)
    wire.run(seconds(200))
    assert bytes(wire.received[wire.server]) == there
    wire.write(wire.server, back)
    wire.client.close()
    wire.flush(wire.client)
    wire.run(seconds(200))
    assert bytes(wire.received[wire.client]).endswith(back)
    assert wire.server.eof


def test_the_same_seed_sends_the_same_segments() -> None:
    def story() -> list[bytes]:
        wire = Wire(faulty(7, 0.05, 0.2, 0.1))
        wire.write(wire.client, bytes(range(256)) * 400)
        wire.run(seconds(100))
        return [encode(segment, 0) for _, _, segment in wire.log]

    assert story() == story()


segments = st.builds(
    Segment,
    st.just(49_152),
    st.just(80),
    st.integers(0, MASK),
    st.integers(0, MASK),
    st.integers(0, 63),
    st.integers(0, 65_535),
    st.just(b""),
    st.binary(max_size=40),
)
near = st.builds(
    lambda seq, ack, flags, window, payload: (seq, ack, flags, window, payload),
    st.integers(-3, 3),
    st.integers(-3, 3),
    st.integers(0, 63),
    st.integers(0, 3),
    st.binary(max_size=4),
)


@given(st.lists(st.one_of(segments, near), max_size=30), st.integers(0, 3))
def test_no_sequence_of_segments_breaks_a_connection(hostile: list[Segment | tuple[int, int, int, int, bytes]], closing: int) -> None:
    """Whatever comes, the connection stays in its table, its buffers bounded; STATES that end, end."""
    wire = open_wire()
    pcb = wire.server
    wire.write(pcb, b"something")
    if closing == 1:
        pcb.close()
    for item in hostile:
        if isinstance(item, tuple):
            seq, ack, flags, window, payload = item
            item = Segment(49_152, 80, (pcb.rcv_nxt + seq) & MASK, (pcb.snd_una + ack) & MASK, flags, window, b"", payload)
        wire.now = Ns(wire.now + 1_000)
        pcb.receive(item, wire.now)
        for segment in pcb.transmit(wire.now):
            assert decode(encode(segment, 0)) == segment
        assert pcb.state in NEXT and sum(pcb.buffered) <= 2 * TODAY.buffer


def test_every_move_of_the_table_leads_to_a_state_of_the_table() -> None:
    assert set(NEXT) == set(State)
    assert {state for moves in NEXT.values() for state in moves.values()} <= set(State)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=25), st.sampled_from([0, 5, MASK - 30]))
def test_reassembly_gives_back_the_bytes_whatever_the_order(pieces: list[tuple[int, int]], base: int) -> None:
    data = bytes(random.Random(9).randbytes(81))
    queue, got = Reassembly(200), bytearray()
    for start, length in pieces:
        at = max(start, len(got))
        if start + length > at:
            queue.add((base + len(got)) & MASK, (base + at) & MASK, data[at : start + length])
            got += queue.take((base + len(got)) & MASK)
    assert data.startswith(bytes(got))
    reached = 0
    for start, length in sorted(pieces):
        reached = max(reached, start + length) if start <= reached else reached
    assert len(got) == reached and queue.size <= 81


def test_the_first_bytes_of_early_data_win() -> None:
    queue = Reassembly(100)
    assert queue.add(0, 10, b"real")
    assert queue.add(0, 8, b"xxFAKE!")
    assert queue.take(8) == b"xxreal!"
    assert not queue.add(0, 99, b"too far")


def test_options_of_the_syn_are_used() -> None:
    wire = open_wire()
    assert wire.client.snd_scale == wire.server.snd_scale == TODAY.wscale
    old = Pcb(80, 5, 1, TODAY, 1_460)
    old.accept(Segment(5, 80, 100, 0, SYN, 8_000, Options(mss=536).encode()))
    [answer] = old.transmit(Ns(0))
    assert answer.flags == SYN | ACK and b"\x03\x03" not in answer.options and old.mss == 536


def test_a_fin_with_the_last_data_is_one_segment() -> None:
    wire = open_wire()
    wire.client.write(b"all")
    wire.client.close()
    wire.flush(wire.client)
    assert wire.log[-1][2].flags & FIN and wire.log[-1][2].payload == b"all"
