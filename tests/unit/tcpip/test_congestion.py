"""NewReno, CUBIC and BBR: what each says by itself, and what it makes of a bottleneck."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.tcp.bbr import Bbr
from mirage_lab.tcpip.tcp.congestion import ALGORITHMS, Congestion, congestion_of
from mirage_lab.tcpip.tcp.cubic import Cubic, cube_root
from mirage_lab.tcpip.tcp.hystart import HyStart
from mirage_lab.tcpip.tcp.newreno import NewReno
from mirage_lab.tcpip.tcp.profile import PROFILES
from mirage_lab.tcpip.tcp.scoreboard import Sample
from mirage_lab.tcpip.wire.tcp import CWR, ECE, SYN
from mirage_lab.testing.tcpwire import Bottleneck, Wire

TODAY = PROFILES["today"]
MSS = 1_000
RATE = 1_250_000
HEADERS = 1_502 / 1_448


def told(acked: int, flight: int, now: int = 0, rtt: int = ms(100)) -> Sample:
    sample = Sample()
    sample.acked, sample.flight, sample.now, sample.rtt = acked, flight, Ns(now), rtt
    return sample


def through(
    name: str, *, queue: int = 50_000, loss: float = 0.0, duration: int = 10, ecn: str = "accept", mark: int = 1 << 40
) -> tuple[Wire, Bottleneck, float]:
    """Send for some seconds through 10 Mbit/s; return the wire, the bottleneck and how much of it was used."""
    wire = Wire(profile=replace(TODAY, congestion=name, ecn=ecn))
    path = wire.fate = Bottleneck(wire, RATE, ms(20), queue, loss=loss, mark=mark)
    wire.client.watch_cwnd = True
    wire.run(seconds(1))
    wire.write(wire.client, bytes(RATE * (duration + 2)))
    for _ in range(10 * duration):
        wire.run(ms(100))
    return wire, path, len(wire.received[wire.server]) * HEADERS / (RATE * duration)


def test_an_algorithm_nobody_has_is_refused_by_name() -> None:
    with pytest.raises(LocalProtocolError, match="'vegas': newreno, cubic, bbr"):
        congestion_of("vegas", MSS, 10, 0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_keeps_the_border(name: str) -> None:
    control: Congestion = congestion_of(name, MSS, 10, 7)
    assert control.name == name and control.cwnd == 10 * MSS and control.phase
    control.on_ack(told(2 * MSS, 10 * MSS))
    assert control.cwnd > 10 * MSS
    control.on_loss(10 * MSS, Ns(0))
    control.on_undo(Ns(0))
    assert control.cwnd > 10 * MSS
    control.on_rto(10 * MSS, Ns(0), False)
    assert control.cwnd == MSS
    control.on_idle(10 * MSS)


def test_slow_start_doubles_and_avoidance_adds_a_segment() -> None:
    """RFC 5681 section 3.1."""
    reno = NewReno(MSS, 10)
    for _ in range(5):
        reno.on_ack(told(2 * MSS, 10 * MSS))
    assert reno.cwnd == 20 * MSS
    reno.on_loss(20 * MSS, Ns(0))
    reno.on_recovered(Ns(0))
    assert reno.cwnd == reno.ssthresh == 10 * MSS
    for _ in range(5):
        reno.on_ack(told(2 * MSS, 10 * MSS))
    assert reno.cwnd == 11 * MSS


def test_a_window_that_is_not_used_does_not_grow() -> None:
    """RFC 7661."""
    for control in (NewReno(MSS, 10), Cubic(MSS, 10)):
        for _ in range(50):
            control.on_ack(told(MSS, 2 * MSS))
        assert control.cwnd == 10 * MSS


@given(st.integers(0, 1 << 90))
def test_cube_roots(value: int) -> None:
    root = cube_root(value)
    assert root**3 <= value < (root + 1) ** 3


def test_cubic_is_back_where_it_was_after_k() -> None:
    """RFC 9438 section 4.2: K = cbrt((W_max - cwnd) / C): from 70 back to 100 segments in cbrt(30 / 0.4) = 4.2 s."""
    cubic = Cubic(MSS, 10)
    cubic.cwnd, cubic.ssthresh = 100 * MSS, 100 * MSS
    cubic.on_loss(100 * MSS, Ns(0))
    cubic.on_recovered(Ns(0))
    assert cubic.cwnd == 70 * MSS
    windows = []
    for now in range(0, seconds(8), ms(20)):
        cubic.on_ack(told(cubic.cwnd // 50, cubic.cwnd, now, ms(1_000)))
        windows.append(cubic.cwnd / MSS)
    at = next(index for index, window in enumerate(windows) if window >= 99.5) * 0.02
    assert 3.8 < at < 4.6
    steps = [b - a for a, b in itertools.pairwise(windows)]
    plateau = int(3.2 / 0.02)
    assert max(steps[plateau - 20 : plateau + 20]) < max(steps[:20]) and max(steps[-20:]) > max(steps[plateau - 20 : plateau + 20])


def test_a_second_loss_below_the_first_lowers_the_plateau() -> None:
    """RFC 9438 section 4.7: fast convergence."""
    cubic = Cubic(MSS, 10)
    cubic.cwnd = 100 * MSS
    cubic.on_loss(100 * MSS, Ns(0))
    assert cubic.w_max == 100 * MSS
    cubic.cwnd = 80 * MSS
    cubic.on_loss(80 * MSS, Ns(0))
    assert cubic.w_max == 68 * MSS
    cubic.on_undo(Ns(0))
    assert cubic.w_max == 100 * MSS and cubic.cwnd == 80 * MSS


def test_time_in_which_the_window_is_not_used_does_not_count() -> None:
    """RFC 9438 section 5.8: after ten idle seconds the window goes on where it was, it does not leap."""
    cubic = Cubic(MSS, 10)
    cubic.cwnd = cubic.ssthresh = 100 * MSS
    cubic.on_loss(100 * MSS, Ns(0))
    cubic.on_recovered(Ns(0))
    for now in range(0, seconds(5), ms(20)):
        cubic.on_ack(told(cubic.cwnd // 50, cubic.cwnd, now, ms(20)))
    before = cubic.cwnd
    for now in range(seconds(5), seconds(15), ms(20)):
        cubic.on_ack(told(MSS, 2 * MSS, now, ms(20)))
    assert cubic.cwnd == before
    for now in range(seconds(15), seconds(15) + ms(200), ms(20)):
        cubic.on_ack(told(cubic.cwnd // 50, cubic.cwnd, now, ms(20)))
    assert cubic.cwnd - before < 4 * MSS


def test_growing_round_trips_end_slow_start_early() -> None:
    """RFC 9406: a round an eighth slower than the last; five conservative rounds; then it is over."""
    start = HyStart()
    shares = []
    for round_trip in range(12):
        for _ in range(10):
            sample = told(MSS, 10 * MSS, rtt=ms(40) if round_trip < 3 else ms(50))
            sample.prior, sample.delivered = round_trip * 10, (round_trip + 1) * 10
            shares.append(start.on_ack(sample))
    assert shares[:30] == [1] * 30 and shares[-1] == 4 and start.done


@pytest.mark.parametrize("name, least", [("newreno", 0.97), ("cubic", 0.97), ("bbr", 0.95)])
def test_a_bottleneck_is_filled(name: str, least: float) -> None:
    wire, path, used = through(name)
    assert least < used <= 1.01
    assert not wire.told("tcp.rto") and not wire.told("tcp.undo")
    assert len(wire.told("tcp.retransmit")) == path.dropped, "what was dropped was sent again, and nothing else"


def test_bbr_does_not_mind_losses_and_keeps_the_queue_short() -> None:
    """The point of a model: one percent of random loss is no congestion, and a queue is no bandwidth."""
    used = {name: through(name, loss=0.01, duration=6)[2] for name in ALGORITHMS}
    assert used["bbr"] > 0.95 and used["cubic"] < 0.5 and used["newreno"] <= used["cubic"]
    assert not through("bbr", loss=0.05, duration=4)[0].told("tcp.undo"), "nothing came late: nothing was undone"
    trips = {}
    for name in ("cubic", "bbr"):
        seen = [each["rtt"] for each in through(name, queue=100_000)[0].told("tcp.cwnd")]
        trips[name] = sum(seen[len(seen) // 3 :]) / len(seen[len(seen) // 3 :])
    assert trips["bbr"] < ms(56) < trips["cubic"]


def test_bbr_goes_through_its_states() -> None:
    wire, _, _ = through("bbr", duration=14)
    phases = [each["phase"] for each in wire.told("tcp.cwnd") if each["phase"] != "recovery"]
    order = [phase for phase, before in zip(phases, [None, *phases]) if phase != before]
    assert order[:3] == ["startup", "drain", "probe_bw"] and "probe_rtt" in order
    bbr = wire.client.congestion
    assert isinstance(bbr, Bbr)
    assert 0.9 * RATE < bbr.btlbw * HEADERS < 1.1 * RATE and ms(40) <= bbr.rtprop < ms(44)


def test_bbr_paces_and_others_do_not() -> None:
    """Segments of one paced window leave a bottleneck's spacing apart; deadlines carry the pace."""
    for name, paced in (("bbr", True), ("newreno", False)):
        wire, _, _ = through(name, duration=5)
        since = wire.now - seconds(1)
        times = [at for at, pcb, segment in wire.log if pcb is wire.client and segment.payload and at > since]
        bursts = max(times.count(at) for at in set(times))
        assert (bursts <= 3) is paced or not paced


def test_a_mark_shrinks_the_window_without_a_loss() -> None:
    """RFC 3168 section 6.1: CE, then ECE until CWR, one reduction a round trip."""
    wire, path, used = through("newreno", ecn="ask", mark=60_000, queue=200_000)
    assert wire.client.ecn and wire.server.ecn
    assert path.marked > 10 and path.dropped == 0 and not wire.told("tcp.retransmit")
    assert used > 0.85 and path.longest < 200_000
    reduced = [segment for segment in wire.sent(wire.client) if segment.flags & CWR and not segment.flags & SYN]
    echoed = [segment for segment in wire.sent(wire.server) if segment.flags & ECE]
    assert 0 < len(reduced) <= len(echoed)
    assert all(segment.ecn >= 2 for segment in wire.sent(wire.client) if segment.payload)
    assert all(segment.ecn == 0 for _, _, segment in wire.log if not segment.payload), "neither SYNs nor acknowledgments (section 6.1.4)"


@pytest.mark.parametrize("client, server, agreed", [("ask", "accept", True), ("ask", "off", False), ("accept", "accept", False), ("accept", "ask", False)])
def test_ecn_is_used_when_one_asks_and_the_other_accepts(client: str, server: str, agreed: bool) -> None:
    """RFC 3168 section 6.1.1."""
    wire = Wire(profile=replace(TODAY, ecn=client), server=replace(TODAY, ecn=server))
    wire.run(ms(10))
    assert wire.client.ecn is wire.server.ecn is agreed


def test_a_syn_that_is_lost_is_tried_without_ecn() -> None:
    """RFC 3168 section 6.1.1.1: something on the way may not like it."""
    wire = Wire(lambda segment: [] if segment.flags & ECE and segment.flags & SYN else [ms(1)], profile=replace(TODAY, ecn="ask"))
    wire.run(seconds(3))
    assert wire.client.state.value == "ESTABLISHED" and not wire.client.ecn


def test_two_connections_of_the_same_algorithm_share() -> None:
    """Two senders, one bottleneck: neither gets less than a quarter of what the other gets."""
    wires = [Wire(profile=replace(TODAY, congestion="newreno"), iss=(n, n)) for n in (1, 2)]
    shared = Bottleneck(wires[0], RATE, ms(20), 50_000)
    for wire in wires:
        wire.fate = shared
        wire.run(seconds(1))
        wire.write(wire.client, bytes(RATE * 30))
    for _ in range(10_000):
        for wire in wires:
            shared.wire = wire
            wire.run(ms(1))
    got = sorted(len(wire.received[wire.server]) for wire in wires)
    assert sum(got) * HEADERS > 0.9 * RATE * 10 and got[0] * 4 > got[1]
