"""TCP told step by step: each story cites the paragraph it holds the engine to, and together they walk the table of states."""

from __future__ import annotations

import pytest

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import ms
from mirage_lab.tcpip.tcp.states import NEXT
from mirage_lab.testing import Broken, tcp_story
from mirage_lab.testing.tcpstory import TcpStory
from tests.unit.tcpip.stories import ACTIVE, PASSIVE, SELECTIVE

STORIES = {
    # the table of states, RFC 9293 section 3.3.2 -------------------------------------------------------------------
    "an active open, RFC 9293 section 3.5 figure 6": ACTIVE,
    "a passive open, RFC 9293 section 3.5 figure 6": PASSIVE,
    "both open at once, RFC 9293 section 3.5 figure 7": """
        connect
        expect SYN seq 0
        receive SYN seq 0 win 60000 mss 1000
        expect SYN ACK seq 0 ack 1
        expect state SYN_RECEIVED
        receive SYN ACK seq 0 ack 1
        expect ACK ack 1
        expect state ESTABLISHED
    """,
    "a close before an answer is the end of it, RFC 9293 section 3.10.4": """
        connect
        expect SYN
        close
        expect state CLOSED
        after 100 s expect nothing
    """,
    "a refused connection, RFC 9293 section 3.10.7.3": """
        connect
        expect SYN
        receive RST ACK seq 0 ack 1
        expect state CLOSED
        expect error refused
    """,
    "a RST that acknowledges nothing of ours is no refusal, RFC 9293 section 3.10.7.3": """
        connect
        expect SYN
        receive RST ACK seq 0 ack 77
        receive RST seq 0
        expect nothing
        expect state SYN_SENT
    """,
    "an answer to a SYN we did not send is reset, RFC 9293 section 3.10.7.3": """
        connect
        expect SYN
        receive SYN ACK seq 0 ack 999
        expect RST seq 999
        expect state SYN_SENT
    """,
    "a SYN that was answered and then reset goes back, RFC 9293 section 3.10.7.4": """
        listen
        receive SYN seq 0 mss 1000
        expect SYN ACK
        receive RST seq 1
        expect state CLOSED
        expect nothing
    """,
    "a close before the third segment waits for it, RFC 9293 section 3.10.4": """
        listen
        receive SYN seq 0 mss 1000
        expect SYN ACK seq 0 ack 1
        close
        receive ACK seq 1 ack 1
        expect FIN ACK seq 1 ack 1
        expect state FIN_WAIT_1
    """,
    "we close first, RFC 9293 section 3.6 figure 12": ACTIVE
    + """
        close
        expect FIN ACK seq 1
        expect state FIN_WAIT_1
        receive ACK seq 1 ack 2
        expect state FIN_WAIT_2
        receive FIN ACK seq 1 ack 2
        expect ACK seq 2 ack 2
        expect state TIME_WAIT
        after 59 s expect state TIME_WAIT
        after 2 s expect state CLOSED
    """,
    "FIN_WAIT_2 is left when the peer is gone": ACTIVE
    + """
        close
        expect FIN ACK
        receive ACK seq 1 ack 2
        expect state FIN_WAIT_2
        after 61 s expect state CLOSED
    """,
    "a half-closed connection goes on receiving, RFC 9293 section 3.6 case 1": ACTIVE
    + """
        close
        expect FIN ACK
        receive ACK seq 1 ack 2
        receive ACK PSH seq 1 ack 2 data 300
        expect ACK ack 301
        read 300
        expect state FIN_WAIT_2
    """,
    "both close at once, RFC 9293 section 3.6 figure 13": ACTIVE
    + """
        close
        expect FIN ACK seq 1 ack 1
        receive FIN ACK seq 1 ack 1
        expect ACK seq 2 ack 2
        expect state CLOSING
        receive ACK seq 2 ack 2
        expect state TIME_WAIT
    """,
    "a FIN that acknowledges ours goes straight to TIME_WAIT, RFC 9293 section 3.10.7.4": ACTIVE
    + """
        close
        expect FIN ACK
        receive FIN ACK seq 1 ack 2
        expect ACK seq 2 ack 2
        expect state TIME_WAIT
    """,
    "the peer closes first, RFC 9293 section 3.6": PASSIVE
    + """
        receive FIN ACK seq 1
        expect ACK ack 2
        expect state CLOSE_WAIT
        write 10
        expect ACK seq 1 data 10
        receive ACK seq 2 ack 11
        close
        expect FIN ACK seq 11 ack 2
        expect state LAST_ACK
        receive ACK seq 2 ack 12
        expect state CLOSED
    """,
    "a lost last ACK is sent again from TIME_WAIT, RFC 9293 section 3.10.7.4": ACTIVE
    + """
        close
        expect FIN ACK
        receive ACK ack 2
        receive FIN ACK seq 1 ack 2
        expect ACK ack 2
        after 30 s receive FIN ACK seq 1 ack 2
        expect ACK seq 2 ack 2
        after 59 s expect state TIME_WAIT
        after 2 s expect state CLOSED
    """,
    "RST ends a connection in ESTABLISHED": ACTIVE + "receive RST seq 1\nexpect state CLOSED\nexpect error reset",
    "RST ends a connection in FIN_WAIT_1": ACTIVE + "close\nexpect FIN ACK\nreceive RST seq 1\nexpect state CLOSED",
    "RST ends a connection in FIN_WAIT_2": ACTIVE + "close\nexpect FIN ACK\nreceive ACK ack 2\nexpect state FIN_WAIT_2\nreceive RST seq 1\nexpect state CLOSED",
    "RST ends a connection in CLOSING": ACTIVE
    + "close\nexpect FIN ACK\nreceive FIN ACK seq 1 ack 1\nexpect ACK\nexpect state CLOSING\nreceive RST seq 2\nexpect state CLOSED",
    "RST ends a connection in CLOSE_WAIT": ACTIVE + "receive FIN ACK seq 1\nexpect ACK\nreceive RST seq 2\nexpect state CLOSED",
    "RST ends a connection in LAST_ACK": ACTIVE
    + "receive FIN ACK seq 1\nexpect ACK\nclose\nexpect FIN ACK\nexpect state LAST_ACK\nreceive RST seq 2\nexpect state CLOSED",
    "an abort breaks off with RST, RFC 9293 section 3.10.5": ACTIVE + "abort\nexpect RST ACK seq 1 ack 1\nexpect state CLOSED",
    "an abort in TIME_WAIT is silent, RFC 9293 section 3.10.5": ACTIVE
    + "close\nexpect FIN ACK\nreceive FIN ACK seq 1 ack 2\nexpect ACK\nabort\nexpect nothing\nexpect state CLOSED",
    # segments of no connection, RFC 9293 section 3.10.7.1 -----------------------------------------------------------
    "an ACK to nobody is reset with its number": "receive ACK seq 5 ack 9\nexpect RST seq 9",
    "a SYN to nobody is reset and acknowledged": "receive SYN seq 5\nexpect RST ACK ack 6",
    "a RST to nobody is not answered": "receive RST seq 5\nreceive RST ACK seq 5 ack 9\nexpect nothing",
    # which segments are taken, RFC 9293 section 3.10.7.4 and RFC 5961 ------------------------------------------------
    "what lies before the window is acknowledged and thrown away": ACTIVE
    + """
        receive ACK data 100
        expect ACK ack 101
        receive ACK seq 1 data 100
        expect ACK ack 101
        expect event tcp.drop outside the window
        read 100
    """,
    "what lies beyond the window is acknowledged and thrown away": ACTIVE
    + "receive ACK seq 900000 data 10\nexpect ACK ack 1\nread 0",
    "a part that is new is taken, RFC 9293 section 3.10.7.4": ACTIVE
    + "receive ACK seq 1 data 100\nexpect ACK ack 101\nreceive ACK seq 51 data 100\nexpect ACK ack 151\nread 150",
    "a SYN in the window gets a challenge, RFC 5961 section 4.2": ACTIVE + "receive SYN seq 10\nexpect ACK seq 1 ack 1\nexpect state ESTABLISHED",
    "a RST in the window but not exact gets a challenge, RFC 5961 section 3.2": ACTIVE
    + "receive RST seq 100\nexpect ACK seq 1 ack 1\nexpect state ESTABLISHED",
    "a RST outside the window is nothing, RFC 5961 section 3.2": ACTIVE + "receive RST seq 900000\nexpect nothing\nexpect state ESTABLISHED",
    "an acknowledgment of what was never sent gets a challenge, RFC 5961 section 5.2": ACTIVE
    + "receive ACK seq 1 ack 500 data 10\nexpect ACK seq 1 ack 1\nread 0",
    "an acknowledgment older than the largest window gets a challenge, RFC 5961 section 5.2": ACTIVE
    + "receive ACK seq 1 ack 4294000000 data 10\nexpect ACK seq 1 ack 1\nread 0",
    "a segment without ACK is nothing": ACTIVE + "receive PSH seq 1 data 10\nexpect nothing\nread 0",
    "in 2014 a SYN in the window ends the connection, RFC 793": ACTIVE + "receive SYN seq 10\nexpect state CLOSED\nexpect error reset",
    # receiving --------------------------------------------------------------------------------------------------------
    "data out of order waits, and each such segment is acknowledged at once, RFC 5681 section 4.2": ACTIVE
    + """
        receive ACK seq 101 data 100
        expect ACK ack 1
        receive ACK seq 201 data 100
        expect ACK ack 1
        read 0
        receive ACK seq 1 data 100
        expect ACK ack 301
        read 300
    """,
    "what came early is told, the news first, RFC 2018 section 4": SELECTIVE
    + """
        receive ACK seq 101 data 100
        expect ACK ack 1 sack 101-201
        receive ACK seq 301 data 100
        expect ACK ack 1 sack 301-401 101-201
        receive ACK seq 201 data 100
        expect ACK ack 1 sack 101-401
        receive ACK seq 1 data 100
        expect ACK ack 401
    """,
    "what came twice is told, RFC 2883 section 4": SELECTIVE
    + "receive ACK data 100\nexpect ACK ack 101\nreceive ACK seq 1 data 100\nexpect ACK ack 101 sack 1-101",
    "a FIN that comes early waits for what is before it, RFC 9293 section 3.10.7.4": ACTIVE
    + """
        receive FIN ACK seq 101 data 100
        expect ACK ack 1
        expect state ESTABLISHED
        receive ACK seq 1 data 100
        expect ACK ack 202
        expect state CLOSE_WAIT
        read 200
    """,
    "a closed window takes nothing but is told when it opens, RFC 9293 section 3.8.6": """
        connect
        expect SYN
        receive SYN ACK seq 0 ack 1 mss 1000
        expect ACK
        receive ACK data 1000
        expect ACK win 1000
        receive ACK data 1000
        expect ACK ack 2001 win 0
        receive ACK seq 2001 data 1
        expect ACK ack 2001 win 0
        read 2000
        expect ACK ack 2001 win 2000
    """,
    # sending ----------------------------------------------------------------------------------------------------------
    "a small segment waits while another is out, RFC 9293 section 3.7.4 (Nagle)": ACTIVE
    + """
        write 10
        expect ACK seq 1 data 10
        write 10
        write 10
        expect nothing
        receive ACK ack 11
        expect ACK seq 11 data 20
    """,
    "no more than the peer's window is sent, RFC 9293 section 3.8.6": ACTIVE.replace("win 60000", "win 2500")
    + """
        write 4000
        expect ACK seq 1 data 1000
        expect ACK seq 1001 data 1000
        expect nothing
        receive ACK ack 2001 win 2500
        expect ACK seq 2001 data 1000
        expect ACK seq 3001 data 1000
    """,
    "a closed window is asked about again and again, RFC 9293 section 3.8.6.1": ACTIVE.replace("win 60000", "win 1000")
    + """
        write 1500
        expect ACK seq 1 data 1000
        receive ACK ack 1001 win 0
        expect nothing
        at 220 ms expect ACK seq 1000
        receive ACK ack 1001 win 0
        at 619 ms expect nothing
        at 620 ms expect ACK seq 1000
        receive ACK ack 1001 win 8000
        expect ACK seq 1001 data 500
    """,
    "ten segments open a connection's sending, RFC 6928": ACTIVE
    + "write 30000\n"
    + "".join(f"expect ACK seq {1 + n * 1000} data 1000\n" for n in range(10))
    + "expect nothing",
    "nobody acknowledges: again after 1 s, 2 s, 4 s, RFC 6298 section 5": """
        connect
        expect SYN
        at 1 s expect SYN
        at 3 s expect SYN
        at 7 s expect SYN
        receive SYN ACK seq 0 ack 1 win 60000 mss 1000
        expect ACK
        write 100
        expect ACK data 100
        within 4 s expect ACK seq 1 data 100
    """,
    "2014 waits 3, 6, 12, 24, 48 s and gives up": """
        connect
        expect SYN
        at 3 s expect SYN
        at 9 s expect SYN
        at 21 s expect SYN
        at 45 s expect SYN
        at 93 s expect SYN
        after 100 s expect state CLOSED
        expect error timed out
    """,
    # loss -------------------------------------------------------------------------------------------------------------
    "three duplicates and the lost one goes again, RFC 5681 section 3.2": ACTIVE
    + """
        write 5000
        expect ACK seq 1 data 1000
        expect ACK seq 1001 data 1000
        expect ACK seq 2001 data 1000
        expect ACK seq 3001 data 1000
        expect ACK seq 4001 data 1000
        receive ACK ack 1
        receive ACK ack 1
        expect nothing
        receive ACK ack 1
        expect ACK seq 1 data 1000
        expect event tcp.retransmit
    """,
    "three segments above a hole and it is filled, RFC 6675 section 5": SELECTIVE
    + """
        write 5000
        expect ACK seq 1 data 1000
        expect ACK seq 1001 data 1000
        expect ACK seq 2001 data 1000
        expect ACK seq 3001 data 1000
        expect ACK seq 4001 data 1000
        after 20 ms receive ACK ack 1001
        receive ACK ack 1001 sack 2001-3001
        receive ACK ack 1001 sack 2001-4001
        expect nothing
        receive ACK ack 1001 sack 2001-5001
        expect ACK seq 1001 data 1000
        receive ACK ack 5001
        expect nothing
    """,
    "a lost tail is probed, not waited for, RFC 8985 section 7": SELECTIVE
    + """
        write 3000
        expect ACK seq 1 data 1000
        expect ACK seq 1001 data 1000
        expect ACK seq 2001 data 1000
        at 40 ms receive ACK ack 1001
        at 79 ms expect nothing
        at 80 ms expect ACK seq 2001 data 1000
    """,
    "the answer to a probe tells also when it comes a little early, RFC 8985 section 6.2": SELECTIVE
    + """
        write 3000
        expect ACK seq 1 data 1000
        expect ACK seq 1001 data 1000
        expect ACK seq 2001 data 1000
        at 40 ms receive ACK ack 1001
        at 80 ms expect ACK seq 2001 data 1000
        at 119 ms receive ACK ack 1001 sack 2001-3001
        expect ACK seq 1001 data 1000
        expect event tcp.retransmit
    """,
    "an answer that comes far too early is that of the first copy, RFC 8985 section 6.2": SELECTIVE
    + """
        write 3000
        expect ACK seq 1 data 1000
        expect ACK seq 1001 data 1000
        expect ACK seq 2001 data 1000
        at 40 ms receive ACK ack 1001
        at 80 ms expect ACK seq 2001 data 1000
        at 90 ms receive ACK ack 1001 sack 2001-3001
        expect nothing
    """,
    "a window that only moved is no duplicate, RFC 5681 section 2": ACTIVE
    + """
        write 2000
        expect ACK data 1000
        expect ACK data 1000
        receive ACK ack 1 win 50000
        receive ACK ack 1 win 40000
        receive ACK ack 1 win 30000
        receive ACK ack 1 win 20000
        expect nothing
    """,
    # options ----------------------------------------------------------------------------------------------------------
    "a length of zero is no option: the segment of 2014": ACTIVE
    + """
        receive ACK raw 01020000 data 10
        expect event malformed
        expect nothing
        read 0
        receive ACK seq 1 data 10
        expect ACK ack 11
    """,
    "without an MSS option it is 536, RFC 9293 section 3.7.1": """
        connect
        expect SYN
        receive SYN ACK seq 0 ack 1 win 60000
        expect ACK
        write 600
        expect ACK data 536
    """,
    "an unknown option is skipped, RFC 9293 section 3.1": ACTIVE.replace("mss 1000", "raw fe0400000204000a020403e8") + "write 1000\nexpect ACK data 1000",
    "a window is scaled only when both offer it, RFC 7323 section 2.2": ACTIVE.replace("mss 1000", "mss 1000 wscale 10")
    + """
        receive ACK ack 1 win 2
        write 3000
        expect ACK seq 1 data 1000
        expect ACK seq 1001 data 1000
        expect nothing
    """,
    "timestamps are echoed, and an old one is thrown away (PAWS), RFC 7323 section 5": """
        connect
        expect SYN stamps 0 0
        receive SYN ACK seq 0 ack 1 win 60000 mss 1012 stamps 500 0
        expect ACK stamps 0 500
        at 40 ms receive ACK data 100 stamps 510 0
        expect ACK ack 101 stamps 40 510
        receive ACK data 100 stamps 509 0
        expect ACK ack 101 stamps 40 510
        expect event tcp.drop PAWS: an old timestamp
        receive ACK seq 101 data 100 stamps 511 40
        expect ACK ack 201 stamps 40 511
    """,
    # ECN ----------------------------------------------------------------------------------------------------------------
    "congestion on the way is told until it is heard, RFC 3168 section 6.1.3": """
        listen
        receive SYN ECE CWR seq 0 win 60000 mss 1000
        expect SYN ACK ECE
        receive ACK seq 1 ack 1 win 60000
        receive ACK data 100 ce
        expect ACK ECE ack 101
        receive ACK data 100 ect
        expect ACK ECE ack 201
        receive ACK CWR data 100 ect
        expect ACK ack 301
    """,
}  # fmt: skip
CHANGES = {
    "in 2014 a SYN in the window ends the connection, RFC 793": {"profile": "2014"},
    "2014 waits 3, 6, 12, 24, 48 s and gives up": {"profile": "2014"},
    "a closed window takes nothing but is told when it opens, RFC 9293 section 3.8.6": {"buffer": 2_000},
}


def told(name: str) -> TcpStory:
    return TcpStory(name, **CHANGES.get(name, {})).run(STORIES[name])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", STORIES)
def test_story(name: str) -> None:
    told(name)


def test_the_stories_walk_every_arrow_of_the_table() -> None:
    walked = {move for name in STORIES for move in told(name).moves}
    assert {(state.value, event.value) for state, moves in NEXT.items() for event in moves} - walked == set()


def test_what_does_not_hold_is_shown_with_every_segment_up_to_it() -> None:
    with pytest.raises(Broken) as broken:
        tcp_story("connect\nexpect SYN\nat 1 s expect SYN\nat 2 s expect SYN", "a SYN every second")
    assert str(broken.value).splitlines() == [
        "a SYN every second: 3 steps held, then one that does not hold",
        "  ✓ 1. connect",
        "  ✓ 2. expect SYN",
        "  ✓ 3. at 1 s expect SYN",
        "  ✗ 4. at 2 s expect SYN",
        "       expected  SYN",
        "       came      nothing was sent",
        "       state     SYN_SENT, t = 2.000 s",
        "       so far",
        "           0.000 s  -> SYN seq 0 win 65535 mss 1460 wscale 3 sackok stamps 0 0",
        "           0.000 s  CLOSED -> SYN_SENT (connect)",
        "           1.000 s  -> SYN seq 0 win 65535 mss 1460 wscale 3 sackok stamps 1000 0",
    ]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("expect SYN", "nothing was sent"),
        ("connect\nexpect SYN ACK", "SYN seq 0"),
        ("connect\nexpect SYN seq 1", "SYN seq 0"),
        ("connect\nexpect SYN mss 1400", "mss 1460"),
        ("connect\nat 500 ms expect SYN", "sent at 0.000 s"),
        ("connect", "nothing else is sent"),
        ("connect\nexpect SYN\nexpect state CLOSED", "SYN_SENT"),
        ("connect\nexpect SYN\nexpect error refused", "came      none"),
        ("connect\nexpect nothing", "SYN seq 0"),
        (ACTIVE + "write 2\nexpect ACK data 3", "data 2"),
        (ACTIVE + "receive ACK data 5\nexpect ACK\nread 4", "5 bytes"),
        (ACTIVE + "expect event tcp.undo", "tcp.state"),
        (ACTIVE + "close\nexpect FIN ACK\nwrite 5", "came      0"),
    ],
)
def test_each_kind_of_step_can_fail(steps: str, why: str) -> None:
    with pytest.raises(Broken, match=why):
        tcp_story(steps)


@pytest.mark.parametrize(
    "line",
    [
        "hello", "receive SYN seq", "receive SYN seq x", "receive SYN speed 4", "at soon expect SYN", "at 5 expect SYN", "write", "write -4", "listen 80",
        "receive ACK raw xyz", "receive ACK sack 4", "after 1 s after x s listen", "expect", "expect SYN sack a-b", "at 1 s read 0\nat 0.5 s listen",
    ],
)  # fmt: skip
def test_a_line_that_is_no_step_says_so(line: str) -> None:
    with pytest.raises((LocalProtocolError, Broken), match=r"'.*'|nothing was sent|expect"):
        tcp_story(line)


def test_time_passes_as_told_in_any_unit() -> None:
    story = TcpStory().run("after 1.5 s\nafter 20ms\nafter 3 us\nat 2 s")
    assert story.now == ms(2_000)
