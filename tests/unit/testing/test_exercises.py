"""Claims about a trace: each holds on a trace that has it, fails on one that has not, and tells frames but no answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mirage_lab import Lab, devices, ms, seconds
from mirage_lab.signatures.units import Ns
from mirage_lab.skeleton import web
from mirage_lab.testing import exercises
from mirage_lab.testing.exercises import Claims, Found, NotYet, syn_retransmissions
from mirage_lab.tracing.capture import Capture


def page(lost: set[int]) -> Capture:
    """Fetch a page with the lan losing those of the fetch's frames (the first is the SYN, 1)."""
    with Lab(seed=5, name="exercises") as lab:
        lan = lab.lan("br0", latency=ms(1))
        trace = lab.capture(lan)
        tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24")
        lab.create(web(devices.default_console, tcpip), vif=[lan]).unpause()
        lab.run(seconds(1))
        lab.ping("10.0.0.2", 1)
        before = len(trace)
        if 1 in lost:
            lan.set(loss=1.0)
            world = lab.machine.world
            world.call_at(Ns(world.now + ms(500)), lambda: lab.machine.lans["br0"].set(loss=0.0))
        lab.fetch("10.0.0.2")
        lab.run(seconds(1))
        whole = trace.capture
    capture = Capture("br0")
    start = whole.frame_number(before + 1)
    assert start is not None
    for frame in whole.since(before):
        n = capture.frame(frame.t - start.t, frame.data, 0, frame.port)
        if frame.lost:
            capture.lost(n, frame.lost)
    return capture


@pytest.fixture(scope="module")
def quiet() -> Capture:
    return page(set())


@pytest.fixture(scope="module")
def lossy() -> Capture:
    return page({1})


def test_the_frames_of_a_page_are_found_by_their_kind(quiet: Capture) -> None:
    assert len(exercises.syns(quiet)) == len(exercises.syn_acks(quiet)) == len(exercises.handshakes(quiet)) == 1
    assert len(exercises.fins(quiet)) == 2 and len(exercises.data(quiet)) >= 2
    for select in (exercises.resets, exercises.retransmissions, exercises.lost, exercises.arp_requests, exercises.echo_requests, exercises.datagrams):
        assert len(select(quiet)) == 0
    assert repr(exercises.syns(quiet)) == "1 SYN: frame 1 (t = 0.000 s, 10.0.0.1 -> 10.0.0.2)"
    assert exercises.handshakes(quiet).numbers == [3]


def test_exactly_one_syn_retransmission_at_one_second(lossy: Capture) -> None:
    claims = Claims(lossy, "one lost SYN")
    again = claims.syn_retransmissions()
    claims.exactly(1, again)
    claims.at(again, [seconds(1)])
    claims.sent_by(again, "10.0.0.1")
    claims.exactly(1, claims.lost())
    claims.at_least(1, claims.handshakes())
    claims.in_order(claims.syns(), claims.syn_acks(), claims.data())
    claims.none(claims.resets())
    claims.answer("the number of SYNs", 2, len(claims.syns()))
    assert repr(claims.story).startswith("one lost SYN: 8 claims held\n  ✓ 1. exactly 1 SYN retransmission\n  ✓ 2. the SYN retransmission is at t = 1.000 s\n")


WRONG: list[tuple[Callable[[Claims], Any], str]] = [
    (lambda c: c.exactly(1, c.syn_retransmissions()), "exactly 1 SYN retransmission"),
    (lambda c: c.at_least(1, c.lost()), "at least 1 lost frame"),
    (lambda c: c.none(c.fins()), "no FIN"),
    (lambda c: c.at(c.syns(), [seconds(1)]), "the SYN is at t = 1.000 s"),
    (lambda c: c.at(c.syns(), [0, 0]), "the SYNs are at t = 0.000 s, 0.000 s"),
    (lambda c: c.sent_by(c.syns(), "10.0.0.2"), "every SYN comes from 10.0.0.2"),
    (lambda c: c.sent_by(c.resets(), "10.0.0.2"), "every RST comes from 10.0.0.2"),
    (lambda c: c.in_order(c.data(), c.syns()), "in this order: a segment with data, a SYN"),
    (lambda c: c.in_order(c.syns(), c.resets()), "in this order: a SYN, a RST"),
    (lambda c: c.that("frames are small", False), "frames are small"),
    (lambda c: c.answer("the count", 7, 2), "the count agrees with the trace"),
    (lambda c: c.answer("the count", ..., 2), "the count is given"),
    (lambda c: c.answer("the count", True, 1), "the count agrees with the trace"),
    (lambda c: c.answer("the name", "web", "gateway"), "the name agrees with the trace"),
]


@pytest.mark.parametrize(("claim", "text"), WRONG, ids=[text for _, text in WRONG])
def test_each_claim_can_fail_and_is_named(quiet: Capture, claim: Callable[[Claims], Any], text: str) -> None:
    claims = Claims(quiet)
    claims.exactly(1, claims.syns())
    with pytest.raises(NotYet) as said:
        claim(claims)
    assert said.value.promise == text
    assert str(said.value).splitlines()[:3] == ["your trace: 1 claim held, then one does not hold", "  ✓ 1. exactly 1 SYN", f"  ✗ 2. {text}"]


def test_a_failure_names_the_frames_it_found_and_hides_them_when_they_are_the_answer(lossy: Capture) -> None:
    with pytest.raises(NotYet, match=r"the trace has 2 SYNs: frame 1 \(t = 0.000 s, 10.0.0.1 -> 10.0.0.2, lost: loss\), frame 2 "):
        Claims(lossy).exactly(3, exercises.syns(lossy))
    claims = Claims(lossy)
    with pytest.raises(NotYet) as said:
        claims.exactly(3, claims.syns(), say="as many SYNs as you say", hide=True)
    assert "frame 1" not in str(said.value) and "2 SYN" not in str(said.value)
    with pytest.raises(NotYet) as said:
        claims.answer("the wait", 3.5, 1.0, look=claims.syns())
    assert "look again at frames 1 to 2" in str(said.value) and "1.0" not in str(said.value)


def test_an_answer_may_be_near(quiet: Capture) -> None:
    Claims(quiet).answer("the wait", 1.01, 1.0, within=0.05)
    with pytest.raises(NotYet):
        Claims(quiet).answer("the wait", 1.1, 1.0, within=0.05)


def test_claims_look_at_a_part_and_count_times_from_its_beginning(lossy: Capture) -> None:
    late = Claims(lossy, since=ms(900))
    assert late.syns().times == [ms(100)] and not late.syn_retransmissions()
    assert Claims(lossy, after=1).syns().numbers == [2]
    whole = Claims(lossy)
    assert whole.syns().where(src="10.0.0.2").numbers == [] and whole.syns().where(port=80, before=ms(1)).numbers == [1]


def test_more_frames_than_a_person_reads_are_counted() -> None:
    capture = Capture("br0")
    for at in range(9):
        capture.frame(at, bytes(60))
    found = Claims(capture).frames("frame", lambda packet: True)
    assert repr(found).startswith("9 frames: frame 1 ") and repr(found).endswith(" and 3 more")
    assert isinstance(found[1:3], Found) and found[1:3].numbers == [2, 3]


def test_what_is_no_trace_is_told() -> None:
    with pytest.raises(NotYet, match=r"came      a list; trace = lab\.capture\(lan\) makes one"):
        syn_retransmissions([])  # type: ignore[arg-type]
