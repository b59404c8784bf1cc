"""A filtered trace is a table of its own, with the numbers of the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_lab import Lab, seconds
from mirage_lab.lab import LabError
from mirage_lab.plot.frames import read
from mirage_lab.tcpip.displayfilter import FilterError
from mirage_lab.tracing.savefile import load


def fetched() -> Lab:
    lab = Lab.demo("web", seed=1)
    lab.fetch("10.0.0.2")
    return lab


def test_frames_that_pass_keep_their_numbers() -> None:
    with fetched() as lab:
        trace = lab.traces[0]
        data = trace.filter("tcp.port == 80 and tcp.len > 0")
        expected = [n for n in range(1, len(trace) + 1) if (tcp := trace.packet(n).tcp) is not None and tcp.length]
        assert data.numbers == [frame.n for frame in data] == expected and len(data) == len(expected) == 2
        assert data[expected[0]] == trace[expected[0]] and data.packet(expected[0]).payload.startswith(b"GET / HTTP/1.1")
        assert len(data.causes(expected[1])) > 1
        with pytest.raises(LabError, match=r"br0, tcp.port == 80 and tcp.len > 0 has no frame 1: it holds 2 frames"):
            data[1]


def test_a_filtered_trace_is_a_table_with_relative_numbers_of_the_whole_connection() -> None:
    with fetched() as lab:
        trace = lab.traces[0]
        told = repr(trace.filter("tcp.len > 0")).splitlines()
        assert told[0] == f"br0, tcp.len > 0: 2 of {len(trace)} frames" and len(told) == 3
        assert "[PSH, ACK] Seq=1 Ack=1" in told[1]
        assert repr(trace.filter("udp")) == f"br0, udp: 0 of {len(trace)} frames\nno frame passes"
        assert repr(trace.filter("")).splitlines()[-1] == "8 more frames from number 7" == repr(trace).splitlines()[-1]
        assert repr(trace.filter("not icmp")).splitlines()[-1] == "8 more frames from number 7"
        table = trace.filter('frame contains "<b>" or arp')._repr_html_()
        assert table.count("<tr>") == 5 and "&lt;b&gt;" in table and "<b>" not in table


def test_frames_that_do_not_pass_are_told_about_in_the_numbers_and_names_of_those_that_do() -> None:
    with fetched() as lab:
        for _ in range(3):
            lab.fetch("10.0.0.2")
        trace = lab.traces[0]
        whole = {seen.n: (seen.info, seen.src) for seen in read(trace.capture, trace.hosts)}
        for text in ("tcp.len > 0", "tcp.flags.fin == 1", "frame.number > 30", "arp", "tcp.flags.syn == 0 and ip.src == 10.0.0.1"):
            hosts = trace.hosts
            some = {seen.n: (seen.info, seen.src) for seen in read(trace.filter(text).capture, hosts)}
            assert some == {n: whole[n] for n in trace.filter(text).numbers}, text
            assert 0 < len(some) < len(whole)


def test_a_filtered_trace_has_what_a_trace_has(tmp_path: Path) -> None:
    with fetched() as lab:
        data = lab.traces[0].filter("tcp.len > 0")
        rows = data.to_dataframe()
        assert list(rows["n"]) == data.numbers and set(rows["protocol"]) == {"TCP"}
        data.save(tmp_path / "data.pcapng")
        assert [record.data for record in load(tmp_path / "data.pcapng")] == [frame.data for frame in data]
        labels = [text.get_text() for text in data.ladder().texts]
        assert {str(n) for n in data.numbers} <= set(labels) and "1" not in labels


def test_filters_add_up() -> None:
    with fetched() as lab:
        trace = lab.traces[0]
        both = trace.filter("tcp").filter("tcp.flags.syn == 1")
        assert both.numbers == trace.filter("tcp && tcp.flags.syn == 1").numbers and len(both) == 2
        assert both.name == "br0, tcp, tcp.flags.syn == 1"
        late = trace.filter("tcp").filter("frame.time_relative > 0.9")
        assert late.numbers == trace.filter("tcp").numbers  # time is counted from the first frame of the trace


def test_it_follows_the_capture_and_the_clock_back() -> None:
    with fetched() as lab:
        data, second = lab.traces[0].filter("tcp.len > 0"), lab.traces[0].filter("tcp.stream == 1")
        assert len(data) == 2 and len(second) == 0
        before = lab.now
        lab.run(seconds(1))
        lab.fetch("10.0.0.2")
        assert len(data) == 4 and len(second) > 8
        lab.rewind(before)
        assert len(data) == 2 and len(second) == 0
        lab.fetch("10.0.0.2")
        assert len(data) == 4 and second.numbers == lab.traces[0].filter("tcp.stream == 1").numbers != []


def test_a_filter_that_cannot_be_read_is_told_at_once() -> None:
    with fetched() as lab:
        trace = lab.traces[0]
        with pytest.raises(FilterError, match="no field tcp.prot; near it: tcp.port"):
            trace.filter("tcp.prot == 80")
        with pytest.raises(LabError, match="a filter is a text"):
            trace.filter(80)  # type: ignore[arg-type]


def test_the_oldest_frames_may_go() -> None:
    with Lab.demo("web", seed=1) as lab:
        small = lab.capture(lab.vm("web"), name="small", limit_bytes=2_000)
        data = small.filter("tcp")
        lab.fetch("10.0.0.2")
        assert len(data) > 0
        for _ in range(6):
            lab.fetch("10.0.0.2")
            capture = small.capture
            assert data.numbers == [frame.n for frame in capture.frames if small.packet(frame.n).tcp is not None]
        assert capture.dropped > 0
