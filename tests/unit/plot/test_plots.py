"""Plots draw what was captured: their data are compared with the frames."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirage_lab import Lab, devices, ms, seconds, unikernel
from mirage_lab.plot import Hosts, ladder, throughput, time_sequence
from mirage_lab.plot.flows import flows, pick
from mirage_lab.plot.frames import read
from mirage_lab.plot.scale import round_step, spoken
from mirage_lab.plot.segments import segments
from mirage_lab.signatures import Console
from mirage_lab.skeleton import static_website
from mirage_lab.tracing.capture import Capture
from mirage_lab.tracing.svg import OKABE_ITO

SIZE = 60_000
PAYLOAD = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(seed=3, name="plots") as made:
        lan = made.lan("br0", latency=ms(5))
        made.capture(lan)
        tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1")
        files = devices.crunch({"index.html": bytes(SIZE)})
        made.create(static_website(devices.default_console, files, tcpip), vif=[lan], name="site").unpause()
        made.run(seconds(1))
        lan.set(loss=0.08)
        assert len(made.fetch("10.0.0.2", within=seconds(60)).body) == SIZE
        made.run(seconds(1))
        yield made


def drawn(ax: object, gid: str) -> list[object]:
    return list(ax.findobj(lambda artist: artist.get_gid() == gid))  # type: ignore[attr-defined]


def test_the_ladder_has_an_arrow_for_each_frame_and_a_line_for_each_host(lab: Lab) -> None:
    trace = lab.traces[0]
    ax = trace.ladder()
    seen = read(trace.capture, trace.hosts)[:60]
    for frame in seen:
        assert drawn(ax, f"frame {frame.n}") and drawn(ax, f"time {frame.n}")
        assert bool(drawn(ax, f"lost {frame.n}")) == bool(frame.lost)
    assert drawn(ax, "host gateway") and drawn(ax, "host site")
    assert "site" in repr(ax) and f"{len(trace) - 60} more frames" in repr(ax)


def test_the_time_sequence_draws_every_segment_ack_and_window(lab: Lab) -> None:
    trace = lab.traces[0]
    ax = trace.time_sequence(flow="10.0.0.2:80")
    flow = pick(flows(segments(trace.capture)), "10.0.0.2:80")
    data = [sent for sent in flow.sent if sent.length]
    bars = [segment for gid in ("data", "sent again") for found in drawn(ax, gid) if hasattr(found, "get_segments") for segment in found.get_segments()]
    assert sorted((x1, y1, y2) for (x1, y1), (_, y2) in bars) == sorted((sent.t / 1e9, sent.seq, sent.end) for sent in data)
    assert flow.bytes == SIZE + len(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: 60000\r\nConnection: close\r\n\r\n")
    [acks] = drawn(ax, "acknowledged")
    [window] = drawn(ax, "window")
    assert list(acks.get_ydata()) == [acked.ack for acked in flow.acked]  # type: ignore[attr-defined]
    assert list(window.get_ydata()) == [acked.edge for acked in flow.acked]  # type: ignore[attr-defined]
    assert flow.retransmitted > 0 and drawn(ax, "sent again mark") and drawn(ax, "SYN") and drawn(ax, "FIN")
    assert ax.get_xlabel() == "virtual time (s)" and "bytes" in ax.get_ylabel()


def test_throughput_adds_up_to_the_bytes_that_arrived(lab: Lab) -> None:
    trace = lab.traces[0]
    ax = trace.throughput()
    carried = sum(len(frame.data) for frame in trace if frame.port == "site" and not frame.lost)
    [curve] = drawn(ax, "rate 10.0.0.2")
    times = curve.get_xdata()  # type: ignore[attr-defined]
    width = times[1] - times[0]
    assert sum(curve.get_ydata()) * 1e6 * width / 8 == pytest.approx(carried)  # type: ignore[attr-defined]
    assert "Mbit/s" in ax.get_ylabel()


def test_a_host_has_one_colour_in_every_picture(lab: Lab) -> None:
    trace = lab.traces[0]
    assert trace.hosts.colour("gateway") == OKABE_ITO[0] and trace.hosts.colour("site") == OKABE_ITO[1]
    [line] = drawn(trace.ladder(), "host site")
    [curve] = drawn(trace.throughput(), "average 10.0.0.2")
    assert line.get_color() == curve.get_color() == OKABE_ITO[1]  # type: ignore[attr-defined]
    assert OKABE_ITO[1] in (lab._repr_svg_() or "") and OKABE_ITO[1] in (trace._repr_html_() or "")


def test_an_empty_capture_is_a_picture_too_and_an_unknown_flow_is_named() -> None:
    empty = Capture("nothing")
    assert "no frames yet" in repr(ladder(empty)) and "no frames yet" in repr(throughput(empty))
    with pytest.raises(ValueError, match="no TCP segment was captured"):
        time_sequence(empty)


def test_a_plot_can_be_drawn_into_axes_of_ones_own(lab: Lab) -> None:
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert ladder(lab.traces[0].capture, ax, hosts=Hosts()) is ax


def test_markup_from_guests_is_text_in_every_picture() -> None:
    @unikernel
    async def loud(console: Console) -> None:
        console.log(PAYLOAD)
        raise ValueError(PAYLOAD)

    with Lab(seed=1, name="markup") as lab:
        lab.capture(lab.lan("br0"))
        vm = lab.create(loud(devices.default_console))
        vm.unpause()
        lab.run(seconds(1))
        vm.xenstore.write("data/x", PAYLOAD)
        lab.run(seconds(1))
        for picture in (vm._repr_svg_(), lab._repr_svg_(), lab.traces[0]._repr_html_()):
            assert picture is not None and "<img" not in picture
        assert "&lt;img src=x" in (vm._repr_svg_() or "")
        assert PAYLOAD in repr(vm.xenstore).replace('\\x22', '"') or "onerror" in repr(vm.xenstore)


@pytest.mark.parametrize(("span", "parts", "step"), [(1_000, 10, 100), (7, 10, 1), (999, 4, 500)])
def test_steps_are_round(span: int, parts: int, step: int) -> None:
    assert round_step(span, parts) == step


def test_times_are_spoken_in_their_unit() -> None:
    assert [spoken(ns) for ns in (7_000, 1_500_000, 2_000_000_000)] == ["7 us", "1.5 ms", "2 s"]
