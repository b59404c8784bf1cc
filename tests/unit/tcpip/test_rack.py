"""RACK-TLP and PRR by themselves: each rule of RFC 8985 and RFC 9937 with the numbers that decide it."""

from __future__ import annotations

import pytest

from mirage_lab.signatures.units import Ns, ms
from mirage_lab.tcpip.tcp.profile import PROFILES
from mirage_lab.tcpip.tcp.prr import Prr
from mirage_lab.tcpip.tcp.rack import PERSIST, Rack
from mirage_lab.tcpip.tcp.rtt import Rtt
from mirage_lab.tcpip.tcp.scoreboard import NEVER, Sample, Scoreboard

RTT = ms(40)


def outstanding(count: int, *, apart: int = 0) -> Scoreboard:
    """A board with segments of 10 bytes, numbers 1 to 10, 11 to 20 and so on, sent one after the other."""
    board = Scoreboard()
    board.restart(1)
    for n in range(count):
        board.send(10, Ns(n * apart))
    board.min_rtt = RTT
    return board


def arrived(board: Scoreboard, *numbers: int) -> None:
    """SACK the n-th segments (from 0)."""
    for n in numbers:
        board.sack(1 + 10 * n, 11 + 10 * n, Sample())


def test_the_window_for_reordering_is_a_quarter_of_a_round_trip() -> None:
    """RFC 8985 section 6.2, step 4."""
    assert Rack().window(outstanding(5), RTT, False) == RTT // 4


def test_three_sacked_segments_leave_no_window_and_neither_does_recovery() -> None:
    """Step 4: while no reordering was ever seen."""
    board = outstanding(5)
    arrived(board, 2, 3)
    assert Rack().window(board, RTT, False) == RTT // 4
    assert Rack().window(board, RTT, True) == 0
    arrived(board, 4)
    assert Rack().window(board, RTT, False) == 0
    board.reordered = True
    assert Rack().window(board, RTT, True) == Rack().window(board, RTT, False) == RTT // 4


def test_a_needless_retransmission_widens_the_window_once_a_round_trip() -> None:
    """Step 4: with each round trip that had a D-SACK, up to one smoothed round trip."""
    board, rack = outstanding(5), Rack()
    rack.duplicate(board)
    rack.duplicate(board)
    assert rack.multiplier == 2 and rack.window(board, RTT, False) == RTT // 2
    board.acknowledge(51, Sample())
    rack.duplicate(board)
    assert rack.multiplier == 3
    rack.multiplier = 60
    assert rack.window(board, RTT, False) == RTT


def test_the_wider_window_is_forgotten_after_sixteen_recoveries() -> None:
    """Step 4: reo_wnd_persist."""
    board, rack = outstanding(5), Rack()
    rack.duplicate(board)
    for _ in range(PERSIST - 1):
        rack.recovered()
    assert rack.multiplier == 2
    rack.recovered()
    assert rack.multiplier == 1


def test_what_was_sent_before_what_arrived_is_lost_when_the_window_has_passed() -> None:
    """Step 5; what has arrived, and what is lost already, is left alone; the wait is for the last of the others."""
    board, rack = outstanding(5, apart=ms(1)), Rack()
    arrived(board, 1, 4)
    board.lose(board.records[2])
    rack.order, rack.rtt = board.records[4].order, RTT
    again = rack.find(board, RTT, False, Ns(ms(44)))
    assert again == ms(3) + RTT // 4 + RTT - ms(44)  # the fourth went out 3 ms after the first
    assert [record.due for record in board.records] == [False, False, True, False, False]
    assert rack.find(board, RTT, False, Ns(ms(50))) == ms(3) and board.records[0].due and not board.records[3].due
    assert rack.find(board, RTT, False, Ns(ms(53))) == 0 and board.records[3].due
    assert not board.records[1].due and board.due == 30


def test_nobody_waits_for_what_has_arrived_or_is_lost_already() -> None:
    board, rack = outstanding(4, apart=ms(10)), Rack()
    arrived(board, 2, 3)
    board.lose(board.records[1])
    rack.order, rack.rtt = board.records[3].order, RTT
    assert rack.find(board, RTT, False, Ns(ms(30))) == RTT + RTT // 4 - ms(30)


def test_what_was_sent_after_what_arrived_is_not_lost() -> None:
    board, rack = outstanding(3), Rack()
    arrived(board, 1)
    rack.order, rack.rtt = board.records[1].order, RTT
    assert rack.find(board, RTT, True, Ns(ms(500))) == 0
    assert [record.due for record in board.records] == [True, False, False]


def test_a_probe_is_sent_after_two_round_trips() -> None:
    """RFC 8985 section 7.2; a lone segment may be acknowledged late, and nothing is probed that RACK is at work on."""
    board, rack = outstanding(3), Rack()
    assert rack.patience(board, RTT, False) == 2 * RTT and rack.patience(board, RTT, True) == 2 * RTT + ms(200)
    assert rack.patience(board, 1, False) == ms(1)
    assert rack.patience(board, 0, False) == NEVER
    rack.probed(board, True)
    assert rack.patience(board, RTT, False) == NEVER
    rack.probe = -1
    arrived(board, 2)
    assert rack.patience(board, RTT, False) == NEVER
    board = outstanding(3)
    board.lose(board.records[0])
    assert rack.patience(board, RTT, False) == NEVER


def probing(again: bool) -> Rack:
    """A probe is out whose data ends at 31."""
    rack = Rack()
    rack.probed(outstanding(3), again)
    return rack


@pytest.mark.parametrize(
    ("what", "again", "ack", "duplicate", "plain", "mended", "over"),
    [
        ("an acknowledgment of less says nothing", True, 21, False, False, False, False),
        ("whatever else is in it", True, 21, True, True, False, False),
        ("of all up to the probe: it may answer the original, wait", True, 31, False, False, False, False),
        ("a second one without news answers the probe: both had come", True, 31, False, True, False, True),
        ("a D-SACK says so too", True, 31, True, False, False, True),
        ("of more than the probe, and nothing came twice: the probe mended a loss", True, 41, False, False, True, True),
        ("of more, with a D-SACK: it had come", True, 41, True, False, False, True),
        ("new data had nothing to mend", False, 31, False, False, False, True),
        ("new data, and more", False, 41, False, False, False, True),
    ],
)
def test_an_acknowledgment_after_a_probe(what: str, again: bool, ack: int, duplicate: bool, plain: bool, mended: bool, over: bool) -> None:
    """RFC 8985 section 7.4.2."""
    rack = probing(again)
    assert rack.repaired(ack, duplicate, plain) is mended, what
    assert (rack.probe < 0) is over, what


def test_without_a_probe_nothing_is_mended_by_one() -> None:
    rack = Rack()
    rack.probe_again = True
    assert not rack.repaired(5, False, False)


def test_the_first_retransmission_is_never_held_back() -> None:
    """RFC 9937 section 6.2: also when nothing may be sent by proportion."""
    prr = Prr()
    prr.begin(100)
    assert prr.window(0, 90, 50, 10, False) == 100
    prr.out = 10
    assert prr.window(0, 90, 50, 10, False) == 90


def test_below_ssthresh_it_grows_by_what_arrived_and_one_more_when_nothing_else_is_lost() -> None:
    """RFC 9937 section 6.2: PRR-CRB, and PRR-SSRB."""
    prr = Prr()
    prr.begin(100)
    prr.out = 20
    assert prr.window(30, 20, 50, 10, False) == 20 + 30
    prr = Prr()
    prr.begin(100)
    prr.out = 20
    assert prr.window(10, 20, 50, 10, False) == 20 + 10
    prr = Prr()
    prr.begin(100)
    prr.out = 20
    assert prr.window(10, 20, 50, 10, True) == 20 + 10 + 10
    assert prr.window(30, 45, 50, 10, True) == 50


def test_above_ssthresh_it_shrinks_in_proportion() -> None:
    """RFC 9937 section 6.2: ssthresh / RecoverFS for each byte that arrived, rounded up."""
    prr = Prr()
    prr.begin(100)
    prr.out = 5
    assert prr.window(20, 80, 50, 1, True) == 80 + 5
    assert prr.window(1, 80, 50, 1, True) == 80 + 6


def test_the_timeout_doubles_from_what_was_measured_and_stops_at_the_most() -> None:
    """RFC 6298 section 5.5 and 2.5."""
    rtt = Rtt(PROFILES["today"])
    rtt.sample(RTT)
    assert rtt.rto == max(RTT * 3, rtt.min_rto)
    rtt.back_off()
    assert rtt.rto == 2 * rtt.timeout
    rtt.backoff = 40
    assert rtt.rto == rtt.max_rto
