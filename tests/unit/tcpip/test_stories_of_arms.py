"""More stories: each is there for one arm of the engine, without which it would not hold (python -m tests.mutation)."""

from __future__ import annotations

from typing import Any

import pytest

from mirage_lab.testing.tcpstory import TcpStory
from tests.unit.tcpip.stories import ACTIVE, PASSIVE, SELECTIVE

FILLED = """
    receive ACK data 1000
    expect ACK
    receive ACK seq 1001 data 1000
    expect ACK ack 2001 win 0
"""
SMALL = {"buffer": 2_000}
FIVE = """
    write 5000
    expect ACK seq 1 data 1000
    expect ACK seq 1001 data 1000
    expect ACK seq 2001 data 1000
    expect ACK seq 3001 data 1000
    expect ACK seq 4001 data 1000
"""

STORIES: dict[str, tuple[str, dict[str, Any]]] = {
    # opening
    "a SYN that comes again is answered again, RFC 9293 section 3.10.7.4": (
        """
        listen
        receive SYN seq 0 win 60000 mss 1000
        expect SYN ACK seq 0 ack 1
        after 100 ms receive SYN seq 0 win 60000 mss 1000
        expect SYN ACK seq 0 ack 1
        expect state SYN_RECEIVED
        """,
        {},
    ),
    "an acknowledgment of another SYN is reset, RFC 9293 section 3.10.7.4": (
        """
        listen
        receive SYN seq 0 win 60000 mss 1000
        expect SYN ACK seq 0 ack 1
        receive ACK seq 1 ack 77
        expect RST seq 77
        expect state SYN_RECEIVED
        """,
        {},
    ),
    "after a SYN that had to go again the first timeout is 3 s, RFC 6298 section 5.7": (
        """
        connect
        expect SYN
        at 1 s expect SYN
        at 1020 ms receive SYN ACK seq 0 ack 1 win 60000 mss 1000
        expect ACK
        write 100
        expect ACK seq 1 data 100
        at 4 s expect nothing
        at 4020 ms expect ACK seq 1 data 100
        """,
        {},
    ),
    # what lies outside
    "a SYN outside the window gets a challenge, RFC 5961 section 4.2": (
        ACTIVE + "receive SYN seq 900000\nexpect ACK seq 1 ack 1\nexpect event tcp.drop challenged\nexpect state ESTABLISHED",
        {},
    ),
    "an empty segment at the right edge of the window lies outside it, RFC 9293 section 3.4": (
        ACTIVE + "receive ACK seq 2001 ack 1\nexpect ACK seq 1 ack 1",
        SMALL,
    ),
    "a keepalive has an old number, and still acknowledges, RFC 9293 section 3.8.4": (
        ACTIVE + "write 100\nexpect ACK data 100\nreceive ACK seq 0 ack 101\nexpect ACK ack 1\nafter 10 s expect nothing",
        {},
    ),
    "a FIN is taken when the window is closed: it needs no room": (
        ACTIVE + FILLED + "receive FIN ACK seq 2001\nexpect ACK ack 2002\nexpect state CLOSE_WAIT",
        SMALL,
    ),
    "what comes with the last acknowledgment is not answered by a connection that is gone": (
        PASSIVE
        + """
        receive FIN ACK seq 1
        expect ACK ack 2
        close
        expect FIN ACK seq 1
        receive ACK seq 2 ack 2 data 10
        expect state CLOSED
        expect nothing
        """,
        {},
    ),
    # acknowledgments
    "an old acknowledgment within the largest window is no attack, RFC 5961 section 5.2": (
        ACTIVE.replace("win 60000", "win 2000")
        + """
        write 5000
        expect ACK seq 1 data 1000
        expect ACK seq 1001 data 1000
        receive ACK ack 2001 win 60000
        expect ACK seq 2001 data 1000
        expect ACK seq 3001 data 1000
        expect ACK seq 4001 data 1000
        receive ACK ack 5001
        receive ACK ack 1
        expect nothing
        """,
        {},
    ),
    "an old acknowledgment may still say what arrived above a hole, RFC 2018 section 3": (
        SELECTIVE
        + FIVE
        + """
        after 20 ms receive ACK ack 1001
        receive ACK ack 1 sack 2001-3001
        receive ACK ack 1 sack 2001-4001
        expect nothing
        receive ACK ack 1 sack 2001-5001
        expect ACK seq 1001 data 1000
        """,
        {},
    ),
    "a peer that never offered SACK is not believed it, RFC 2018 section 2": (
        ACTIVE
        + FIVE
        + """
        receive ACK ack 1 sack 1001-5001
        expect nothing
        within 3 s expect ACK seq 1 data 1000
        receive ACK ack 1001
        expect ACK seq 1001 data 1000
        expect ACK seq 2001 data 1000
        """,
        {},
    ),
    "SACK in a segment that acknowledges more is heard, RFC 2018 section 5": (
        SELECTIVE + FIVE + "after 20 ms receive ACK ack 1001 sack 2001-5001\nexpect ACK seq 1001 data 1000",
        {},
    ),
    "a window that opens ends the asking, and its long waits, RFC 9293 section 3.8.6.1": (
        ACTIVE.replace("win 60000", "win 1000")
        + """
        write 1500
        expect ACK seq 1 data 1000
        receive ACK ack 1001 win 0
        at 220 ms expect ACK seq 1000
        receive ACK ack 1001 win 0
        at 620 ms expect ACK seq 1000
        receive ACK ack 1001 win 0
        at 1420 ms expect ACK seq 1000
        receive ACK ack 1001 win 8000
        expect ACK seq 1001 data 500
        within 300 ms expect ACK seq 1001 data 500
        within 400 ms expect ACK seq 1001 data 500
        """,
        {},
    ),
    "a window may stay closed for as long as the peer says so, RFC 9293 section 3.8.6.1": (
        ACTIVE.replace("win 60000", "win 1000")
        + "write 1500\nexpect ACK seq 1 data 1000\nreceive ACK ack 1001 win 0\n"
        + "within 200 s expect ACK seq 1000\nreceive ACK ack 1001 win 0\n" * 40
        + "expect state ESTABLISHED",
        {},
    ),
    "an acknowledgment tells the peer's time too: what is older is thrown away, RFC 7323 section 5.3": (
        """
        connect
        expect SYN
        receive SYN ACK seq 0 ack 1 win 60000 mss 1012 stamps 500 0
        expect ACK
        write 1000
        expect ACK seq 1 data 1000
        at 40 ms receive ACK ack 1001 stamps 510 0
        receive ACK data 100 stamps 505 0
        expect ACK ack 1
        expect event tcp.drop PAWS: an old timestamp
        """,
        {},
    ),
    # data
    "a FIN below what was received is a contradiction, and is not taken": (
        ACTIVE + "receive ACK seq 101 data 100\nexpect ACK ack 1\nreceive FIN ACK seq 1 data 100\nexpect ACK ack 201\nexpect state ESTABLISHED",
        {},
    ),
    "the part that came before is told, RFC 2883 section 4.2": (
        SELECTIVE + "receive ACK seq 1 data 100\nexpect ACK ack 101\nreceive ACK seq 1 data 200\nexpect ACK ack 201 sack 1-101",
        {},
    ),
    "a piece above the hole that came twice is told, RFC 2883 section 4.1.3": (
        SELECTIVE + "receive ACK seq 201 data 100\nexpect ACK ack 1 sack 201-301\nreceive ACK seq 201 data 100\nexpect ACK ack 1 sack 201-301 201-301",
        {},
    ),
    "data keeps a half-closed connection: FIN_WAIT_2 begins anew": (
        ACTIVE
        + """
        close
        expect FIN ACK
        receive ACK seq 1 ack 2
        after 50 s receive ACK seq 1 data 10
        within 1 s expect ACK ack 11
        after 20 s expect state FIN_WAIT_2
        after 45 s expect state CLOSED
        """,
        {},
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_story(name: str) -> None:
    steps, how = STORIES[name]
    TcpStory(name, **how).run(steps)
