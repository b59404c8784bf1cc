"""What only a stack of one's own can draw: events made by hand with the answer known, and the real stack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirage_lab import Lab, devices, ms, read_capture, seconds
from mirage_lab.lab.plotting import FromInside, Pictures
from mirage_lab.lab.trace import Trace
from mirage_lab.plot.diff import diff
from mirage_lab.plot.inside import bands, buffers, congestion, connections, limits, timeouts
from mirage_lab.plot.queue import delays, levels, queue
from mirage_lab.skeleton import static_website
from mirage_lab.tracing.capture import Capture
from mirage_lab.tracing.recorder import QUIET, Event

MS = 1_000_000
HUGE = 1 << 30
ENDS = {"local": "10.0.0.2:80", "remote": "10.0.0.1:49152"}


def event(t: int, kind: str, **fields: Any) -> Event:
    return Event(t, 0, t * MS, "web", kind, {**ENDS, **fields} if kind.startswith("tcp") else fields)


def told() -> list[Event]:
    """A connection that starts slowly, loses, recovers, and times out."""
    more = {"snd_wnd": 60_000, "srtt": 10 * MS, "rto": 200 * MS, "sacked": 0}
    return [
        event(10, "tcp.cwnd", cwnd=14_600, ssthresh=HUGE, phase="slow start", flight=1_460, rtt=10 * MS, limited="application", **more),
        event(20, "tcp.cwnd", cwnd=29_200, ssthresh=HUGE, phase="slow start", flight=29_200, rtt=12 * MS, limited="congestion", **more),
        event(30, "tcp.retransmit", seq=1, length=1_460, why="loss"),
        event(30, "tcp.cwnd", cwnd=14_600, ssthresh=14_600, phase="recovery", flight=20_000, rtt=12 * MS, limited="congestion", **{**more, "sacked": 5_840}),
        event(40, "tcp.cwnd", cwnd=14_600, ssthresh=14_600, phase="avoidance", flight=10_000, rtt=11 * MS, limited="window", **{**more, "rto": 400 * MS}),
        event(90, "tcp.rto", seq=1, rto=400 * MS, tries=1),
    ]


def curve(ax: Any, gid: str) -> list[tuple[float, float]]:
    found = [artist for artist in ax.findobj(lambda artist: artist.get_gid() == gid) if hasattr(artist, "get_xdata")]
    return [(round(float(x), 9), float(y)) for artist in found for x, y in zip(artist.get_xdata(), artist.get_ydata())]


def stretches(ax: Any, name: str) -> list[tuple[float, float]]:
    found = ax.findobj(lambda artist: artist.get_gid() == f"band {name}")
    return [(round(float(patch.get_x()), 9), round(float(patch.get_x() + patch.get_width()), 9)) for patch in found]


def test_the_window_is_drawn_over_bands_of_its_phases() -> None:
    ax = congestion(told())
    assert curve(ax, "cwnd") == [(0.01, 14_600), (0.02, 29_200), (0.03, 14_600), (0.04, 14_600)]
    assert curve(ax, "ssthresh") == [(0.03, 14_600), (0.04, 14_600)]  # never set before
    assert stretches(ax, "slow start") == [(0.01, 0.03)] and stretches(ax, "recovery") == [(0.03, 0.04)]
    assert [x for x, _ in curve(ax, "tcp.retransmit")] == [0.03] and [x for x, _ in curve(ax, "tcp.rto")] == [0.09]
    assert curve(ax, "flight")[2] == (0.03, 20_000)
    piped = [Event(each.id, 0, each.t, "web", each.kind, {**each.fields, "pipe": 7}) for each in told() if each.kind == "tcp.cwnd"]
    assert curve(congestion(piped), "pipe")[2] == (0.03, 7)
    assert curve(ax, "sacked")[2] == (0.03, 5_840) and "bytes" in ax.get_ylabel()
    assert "slow start 0.020 s, recovery 0.010 s" in repr(ax) and "sent again 1, timeout 1" in repr(ax)


def test_the_rto_is_drawn_against_its_round_trips() -> None:
    ax = timeouts(told(), "10.0.0.2:80")
    assert curve(ax, "round trip") == [(0.01, 10), (0.02, 12), (0.04, 11)]  # the third tells nothing new
    assert curve(ax, "rto")[-1] == (0.04, 400) and curve(ax, "ran out") == [(0.09, 400)] and ax.get_ylabel() == "ms"
    bare = [event(1, "tcp.cwnd", cwnd=1, ssthresh=1, phase="slow start", flight=0)]
    assert "does not tell it" in repr(timeouts(bare))


def test_what_held_the_sender_back_is_a_band() -> None:
    ax = limits(told())
    assert stretches(ax, "application") == [(0.01, 0.02)] and stretches(ax, "congestion") == [(0.02, 0.04)] and stretches(ax, "window") == [(0.04, 0.04)]
    assert curve(ax, "snd_wnd")[0] == (0.01, 60_000) and "application 0.010 s, congestion 0.020 s" in repr(ax)


def test_bands_join_and_end() -> None:
    assert bands([(0, "a"), (5, "a"), (7, "b"), (9, "a")], 12) == [(0, 7, "a"), (7, 9, "b"), (9, 12, "a")] and bands([], 3) == []


def test_buffers_are_staircases_below_their_limit() -> None:
    events = [
        event(1, "tcp.buffers", queued=100, unread=0, early=0, limit=1_000),
        event(2, "tcp.buffers", queued=400, unread=50, early=7, limit=1_000),
    ]
    ax = buffers(events)
    assert curve(ax, "queued") == [(0.001, 100), (0.002, 400)] and curve(ax, "unread") == [(0.001, 0), (0.002, 50)] and curve(ax, "early")[1] == (0.002, 7)
    assert [y for _, y in curve(ax, "limit")] == [1_000, 1_000]
    assert connections(events) == [("10.0.0.2:80", "10.0.0.1:49152")]


def test_what_was_not_recorded_says_how_to_record_it() -> None:
    assert "recorder.enable('tcp.cwnd')" in repr(congestion([])) and "recorder.enable('tcp.buffers')" in repr(buffers([])) and "lan.queue" in repr(queue([]))
    with pytest.raises(ValueError, match=r"10.0.0.2:80 -> 10.0.0.1:49152"):
        congestion(told(), "10.0.0.9:80")


def test_a_queue_fills_by_frames_and_drains_at_its_rate() -> None:
    rate = 8_000_000  # 1,000 bytes a ms
    events = [
        event(0, "lan.queue", port="web", bytes=1_000, rate=rate),
        event(0, "lan.queue", port="web", bytes=3_000, rate=rate),
        event(1, "lan.queue", port="web", bytes=4_000, rate=rate),
        event(9, "lan.queue", port="web", bytes=1_000, rate=rate),
    ]
    assert levels(events) == [(0, 0), (0, 1_000), (0, 1_000), (0, 3_000), (MS, 2_000), (MS, 4_000), (5 * MS, 0), (9 * MS, 0), (9 * MS, 1_000), (10 * MS, 0)]
    lost = event(1, "lan.drop", port="web", reason="queue full", length=1_000)
    ax = queue([*events, lost, event(2, "lan.drop", port="web", reason="loss", length=60)])
    assert [x for x, _ in curve(ax, "lost queue full")] == [0.001] and [x for x, _ in curve(ax, "lost loss")] == [0.002]
    assert curve(ax, "queue web web")[-1] == (0.01, 0) and "at most 4,000 bytes waiting" in repr(ax)


def test_delays_are_found_by_the_bytes() -> None:
    sent, received = Capture("here"), Capture("there")
    for t, data in ((0, b"a" * 60), (10, b"a" * 60), (20, b"b" * 60)):
        sent.frame(t, data)
    sent.lost(sent.frame(30, b"c" * 60), "loss")
    for t, data in ((5, b"a" * 60), (20, b"b" * 60), (25, b"a" * 60), (90, b"c" * 60), (90, b"d" * 60)):
        received.frame(t, data)
    assert [(n, t, took) for n, t, took, _ in delays(sent, received)] == [(1, 0, 5), (3, 10, 15)]


def runs(name: str, loss: float, size: int = 120_000) -> tuple[Lab, Trace, Trace]:
    lab = Lab(seed=3, name=name)
    for kind in ("tcp.cwnd", "tcp.buffers", "lan.queue"):
        lab.machine.world.recorder.enable(kind)
    lan = lab.lan("br0", latency=ms(5))
    trace = lab.capture(lan)
    tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1")
    vm = lab.create(static_website(devices.default_console, devices.crunch({"index.html": bytes(size)}), tcpip), vif=[lan], name="site")
    there = lab.capture(vm)
    vm.unpause()
    lab.run(seconds(1))
    lan.set(loss=loss, rate=8_000_000, queue=20)
    assert len(lab.fetch("10.0.0.2", within=seconds(60)).body) == size
    return lab, trace, there


@pytest.fixture(scope="module")
def lossy() -> Iterator[tuple[Lab, Trace, Trace]]:
    with (made := runs("one", 0.02))[0]:
        yield made


def test_the_real_stack_tells_its_window_buffers_and_queue(lossy: tuple[Lab, Trace, Trace]) -> None:
    lab, trace, there = lossy
    events = [each for each in lab.events("tcp.cwnd") if each.fields["local"] == "10.0.0.2:80"]
    ax = trace.congestion("10.0.0.2:80")
    assert [y for _, y in curve(ax, "cwnd")] == [each.fields["cwnd"] for each in events] and stretches(ax, "recovery")
    ax = trace.buffers("10.0.0.2:80")
    assert max(y for _, y in curve(ax, "queued")) >= 100_000
    drops = lab.events("lan.drop")
    ax = trace.queue("br0")
    for reason in {each.fields["reason"] for each in drops}:
        assert len(curve(ax, f"lost {reason}")) == sum(each.fields["reason"] == reason for each in drops)
    assert 0 < max(y for _, y in curve(ax, "queue br0 site")) <= 21 * 1_514
    took = [y for _, y in curve(trace.delay(there), "delay gateway")]
    assert len(took) > 50 and min(took) == pytest.approx(5, abs=0.2)
    assert trace.limits("10.0.0.2:80").get_ylabel() == "bytes"


def test_the_same_seed_is_the_same_and_one_change_shows_where_it_took_effect(lossy: tuple[Lab, Trace, Trace], tmp_path: Path) -> None:
    _, trace, _ = lossy
    with (again := runs("two", 0.02))[0], (other := runs("three", 0.03))[0]:
        assert "the same, to the byte and the nanosecond" in repr(trace.diff(again[1]))
        trace.save(tmp_path / "one.pcapng")
        assert "the same" in repr(trace.diff(read_capture(tmp_path / "one.pcapng")))
        found = trace.diff(other[1])
        n = next(one.n for one, two in zip(trace, other[1]) if (one.t, one.data, one.fate) != (two.t, two.data, two.fate))
        assert found.parting is not None and found.parting.same == n - 1 and found.parting.a == trace[n] and found.parting.b == other[1][n]
        ax = found.time_sequence()
        for name, each in zip(found.names, (trace, other[1])):
            flow = each.flows[1]
            assert curve(ax, f"sent {name}") == [(round((one.t - flow.sent[0].t) / 1e9, 9), one.end) for one in flow.sent if one.length]
        assert curve(ax, "parting") and found._repr_png_() is not None


def test_a_diff_names_the_fields_and_the_longer_run() -> None:
    a, b = Capture("a"), Capture("b")
    arp = bytes.fromhex("ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002") + bytes(18)
    for capture in (a, b):
        capture.frame(0, arp)
    assert diff(a, b).parting is None
    a.frame(1, arp)
    assert "only the first goes on, for 1 more" in repr(diff(a, b))
    b.frame(1, arp[:41] + b"\x09" + arp[42:])
    found = diff(a, b).parting
    assert found is not None and found.same == 1 and found.fields == (("ARP target IP", "10.0.0.2", "10.0.0.9"),)
    late = Capture("late")
    late.frame(5, arp)
    assert "later in the second" in repr(diff(a, late)) and diff(a, late)._repr_png_() is None


def test_what_the_page_of_plots_names_is_there() -> None:
    text = (Path(__file__).parents[3] / "docs" / "plots.md").read_text()
    names = set(re.findall(r"`trace\.(\w+)", text))
    assert len(names) > 20 and all(hasattr(Trace, name) for name in names)
    drawn = {name for each in (Pictures, FromInside) for name in vars(each) if not name.startswith("_")} - {"capture", "hosts"}
    assert drawn <= names, drawn - names
    assert set(re.findall(r"enable\(\"([\w.]+)\"\)", text)) <= QUIET
