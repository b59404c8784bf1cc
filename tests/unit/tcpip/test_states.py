"""Every arrow of the table of states, walked on a real connection, and what each state does with what it does not expect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.pcb import Pcb
from mirage_lab.tcpip.tcp.profile import PROFILES
from mirage_lab.tcpip.tcp.states import NEXT, Event, State
from mirage_lab.tcpip.wire.seq import MASK
from mirage_lab.tcpip.wire.tcp import ACK, FIN, RST, SYN, Segment

PLAIN = replace(PROFILES["today"], sack=False, rack=False, timestamps=False)
NOW = Ns(1_000_000)
PEER = 5_000
ARROWS = [(state, event) for state, moves in NEXT.items() for event in moves]


def take(pcb: Pcb, flags: int, *, ahead: int = 0, ack: int | None = None, payload: bytes = b"") -> list[Segment]:
    """Let the peer's next segment arrive and return what is answered."""
    seq = (pcb.rcv_nxt + ahead) & MASK if pcb.rcv_nxt else PEER
    pcb.receive(Segment(80, 49_152, seq, pcb.snd_nxt if ack is None else ack, flags, 1_000, b"", payload), NOW)
    return pcb.transmit(NOW)


def close(pcb: Pcb) -> None:
    pcb.close()
    pcb.transmit(NOW)


def at(state: State) -> Pcb:
    """A connection in `state`."""
    pcb = Pcb(49_152, 80, 100, PLAIN, 1_460)
    if state is State.CLOSED:
        return pcb
    pcb.connect()
    pcb.transmit(NOW)
    if state is State.SYN_SENT:
        return pcb
    if state is State.SYN_RECEIVED:
        pcb = Pcb(49_152, 80, 100, PLAIN, 1_460)
        pcb.accept(Segment(80, 49_152, PEER, 0, SYN, 1_000))
        pcb.transmit(NOW)
        return pcb
    pcb.receive(Segment(80, 49_152, PEER, 101, SYN | ACK, 1_000), NOW)
    pcb.transmit(NOW)
    match state:
        case State.CLOSE_WAIT | State.LAST_ACK:
            take(pcb, FIN | ACK)
            if state is State.LAST_ACK:
                close(pcb)
        case State.FIN_WAIT_1 | State.FIN_WAIT_2 | State.CLOSING | State.TIME_WAIT:
            close(pcb)
            if state in (State.FIN_WAIT_2, State.TIME_WAIT):
                take(pcb, ACK)
            if state in (State.CLOSING, State.TIME_WAIT):
                take(pcb, FIN | ACK, ack=pcb.snd_una if state is State.CLOSING else None)
        case _:
            pass
    assert pcb.state is state
    return pcb


def happen(pcb: Pcb, event: Event) -> list[Segment]:
    """Make the event happen and return what is sent."""
    match event:
        case Event.ACTIVE_OPEN:
            pcb.connect()
        case Event.PASSIVE_OPEN:
            pcb.accept(Segment(80, 49_152, PEER, 0, SYN, 1_000))
        case Event.SYN:
            pcb.receive(Segment(80, 49_152, PEER, 0, SYN, 1_000), NOW)
        case Event.SYN_ACKED if pcb.state is State.SYN_SENT:
            pcb.receive(Segment(80, 49_152, PEER, 101, SYN | ACK, 1_000), NOW)
        case Event.SYN_ACKED | Event.FIN_ACKED:
            return take(pcb, ACK)
        case Event.SEND_FIN if pcb.state is State.SYN_RECEIVED:
            pcb.close()
            return take(pcb, ACK)
        case Event.SEND_FIN:
            pcb.close()
        case Event.FIN:
            return take(pcb, FIN | ACK, ack=pcb.snd_una)
        case Event.RESET:
            return take(pcb, RST | ACK)
        case Event.EXPIRED:
            deadline = pcb.next_deadline()
            assert deadline is not None
            pcb.on_deadline(deadline)
    return pcb.transmit(NOW)


@pytest.mark.parametrize("state, event", ARROWS, ids=lambda value: value.value)
def test_every_arrow_leads_where_the_table_says(state: State, event: Event) -> None:
    pcb = at(state)
    sent = happen(pcb, event)
    assert pcb.state is NEXT[state][event]
    assert not any(segment.flags & RST for segment in sent), "a peer that does right is never reset, a RST never answered"
    if event is Event.SEND_FIN and pcb.state is not State.CLOSED:
        assert sent and sent[-1].flags & FIN
    if event is Event.FIN:
        assert sent[-1].ack == pcb.rcv_nxt and pcb.eof
    if pcb.state is State.CLOSED:
        assert pcb.next_deadline() is None


@pytest.mark.parametrize("state", [state for state in State if state not in (State.CLOSED, State.SYN_SENT)], ids=lambda state: state.value)
def test_what_lies_outside_the_window_is_answered_and_changes_nothing(state: State) -> None:
    """RFC 9293 section 3.10.7.4, first: <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>; a RST is dropped."""
    for flags in (ACK, ACK | FIN):
        pcb = at(state)
        pcb._quick = 0
        answers = take(pcb, flags, ahead=-5_000, ack=pcb.snd_una, payload=b"old")
        assert pcb.state is state and pcb.read() == b""
        if state is not State.SYN_RECEIVED:
            assert [(segment.flags, segment.ack) for segment in answers] == [(ACK, pcb.rcv_nxt)]
    pcb = at(state)
    assert take(pcb, RST, ahead=-5_000) == [] and pcb.state is state


@pytest.mark.parametrize("state", [state for state in State if state not in (State.CLOSED, State.SYN_SENT, State.SYN_RECEIVED)], ids=lambda state: state.value)
def test_a_syn_or_a_reset_beside_the_edge_is_challenged(state: State) -> None:
    """RFC 5961 sections 3.2 and 4.2."""
    for flags in (SYN, RST, SYN | ACK, RST | ACK):
        pcb = at(state)
        answers = take(pcb, flags, ahead=1)
        assert pcb.state is state and [segment.flags for segment in answers] == [ACK], flags


def test_a_connection_that_is_closed_answers_with_a_reset_but_never_a_reset() -> None:
    """RFC 9293 section 3.10.7.1."""
    pcb = at(State.CLOSED)
    assert [(s.flags, s.seq) for s in take(pcb, ACK, ack=77)] == [(RST, 77)]
    assert [(s.flags, s.ack) for s in take(pcb, SYN)] == [(RST | ACK, PEER + 1)]
    assert take(pcb, RST) == take(pcb, RST | ACK) == []


def test_while_opening_only_an_answer_to_our_syn_counts() -> None:
    """RFC 9293 section 3.10.7.3."""
    pcb = at(State.SYN_SENT)
    assert [(s.flags, s.seq) for s in take(pcb, ACK, ack=5)] == [(RST, 5)]
    assert take(pcb, RST, ack=101) == [] and take(pcb, RST | ACK, ack=5) == [] and take(pcb, FIN) == []
    assert pcb.state is State.SYN_SENT
    take(pcb, RST | ACK, ack=101)
    assert pcb.state is State.CLOSED and pcb.error == "refused"


@pytest.mark.parametrize("state", [State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT], ids=lambda state: state.value)
def test_data_after_the_peers_fin_is_not_taken(state: State) -> None:
    """RFC 9293 section 3.10.7.4, seventh: should not occur; ignore the text."""
    pcb = at(state)
    take(pcb, ACK, ack=pcb.snd_una, payload=b"more")
    assert pcb.read() == b"" and pcb.state is state


def test_time_wait_begins_again_when_the_fin_comes_again() -> None:
    """RFC 9293 section 3.10.7.4, eighth: restart the 2 MSL timeout."""
    pcb = at(State.TIME_WAIT)
    first = pcb.next_deadline()
    assert first is not None
    later = Ns(first - 5)
    pcb.receive(Segment(80, 49_152, (pcb.rcv_nxt - 1) & MASK, pcb.snd_nxt, FIN | ACK, 1_000), later)
    assert [segment.flags for segment in pcb.transmit(later)] == [ACK]
    assert pcb.next_deadline() == later + PLAIN.time_wait


def test_half_closed_data_still_comes_and_a_fin_that_came_early_waits_for_its_turn() -> None:
    """RFC 9293 section 3.6: after our FIN the other direction goes on; what comes early, FIN too, is kept."""
    pcb = at(State.FIN_WAIT_2)
    take(pcb, FIN | ACK, ahead=5, payload=b"world")
    assert pcb.state is State.FIN_WAIT_2
    take(pcb, ACK, payload=b"hello")
    assert pcb.read() == b"helloworld" and pcb.eof and pcb.state is State.TIME_WAIT
