"""The marks of the TCP plots stand where they belong: captures made by hand, frame by frame, with the answer known."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage_lab.plot import (
    conversations,
    follow,
    io_graph,
    io_rows,
    ladder,
    outstanding,
    round_trip,
    segment_size,
    stevens,
    throughput,
    time_sequence,
    window_scaling,
)
from mirage_lab.plot.flows import flows, pick, round_trips
from mirage_lab.plot.flows import outstanding as levels
from mirage_lab.plot.follow import LIMIT
from mirage_lab.plot.scoreboard import BLOCKS, boards, scoreboard
from mirage_lab.plot.segments import ACK, FIN, PSH, RST, SYN, heads, segments
from mirage_lab.plot.throughput import segment_rates
from mirage_lab.plot.windows import averages
from mirage_lab.tracing.capture import Capture

A, B = ("10.0.0.1", 40_000), ("10.0.0.2", 80)
MS = 1_000_000
ISN_A, ISN_B = 0xFFFF_FF00, 1_000  # A's numbers wrap after 255 bytes


def ip(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def frame(src: tuple[str, int], dst: tuple[str, int], seq: int, ack: int, flags: int, data: bytes = b"", window: int = 1_000, options: bytes = b"") -> bytes:
    tcp = struct.pack(">HHIIBBHHH", src[1], dst[1], seq & 0xFFFF_FFFF, ack & 0xFFFF_FFFF, (20 + len(options)) << 2, flags, window, 0, 0) + options + data
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + ip(src[0]) + ip(dst[0])
    check = 0xFFFF - int.from_bytes(head, "big") % 0xFFFF
    return bytes(12) + b"\x08\x00" + head[:10] + check.to_bytes(2, "big") + head[12:] + tcp


class Tape:
    """A capture of one connection; `a` and `b` note a segment at `t` ms with relative numbers."""

    def __init__(self, handshake: bool = True) -> None:
        self.capture = Capture("tape")
        if handshake:
            self.a(0, 0, 0, SYN, options=bytes.fromhex("020405b4 01030302"))  # MSS 1460, scale 2
            self.b(10, 0, 1, SYN | ACK, options=bytes.fromhex("02040200 01030300"))  # MSS 512, scale 0
            self.a(20, 1, 1, ACK)

    def a(self, t: float, seq: int, ack: int, flags: int = ACK, data: bytes = b"", **more: Any) -> int:
        return self.capture.frame(int(t * MS), frame(A, B, ISN_A + seq, ISN_B + ack if flags & ACK else 0, flags, data, **more))

    def b(self, t: float, seq: int, ack: int, flags: int = ACK, data: bytes = b"", **more: Any) -> int:
        return self.capture.frame(int(t * MS), frame(B, A, ISN_B + seq, ISN_A + ack, flags, data, **more))


def marks(ax: Any, gid: str) -> list[tuple[float, float]]:
    found = [artist for artist in ax.findobj(lambda artist: artist.get_gid() == gid) if hasattr(artist, "get_xdata")]
    return [(x, y) for artist in found for x, y in zip(artist.get_xdata(), artist.get_ydata())]


def bars(ax: Any, gid: str) -> list[tuple[float, float, float]]:
    found = [artist for artist in ax.findobj(lambda artist: artist.get_gid() == gid) if hasattr(artist, "get_segments")]
    return [(x, low, high) for artist in found for (x, low), (_, high) in artist.get_segments()]


def sack(*blocks: tuple[int, int]) -> bytes:
    edges = [(ISN_A + edge) & 0xFFFF_FFFF for block in blocks for edge in block]
    return bytes((1, 1, 5, 2 + 8 * len(blocks))) + struct.pack(f">{len(edges)}I", *edges)


def lossy() -> Tape:
    """A sends 5 x 100 bytes, the second is lost before the capture; three SACKs; then it is sent again; B's window closes and opens."""
    tape = Tape()
    for place in (0, 2, 3, 4):
        tape.a(30 + place, 1 + 100 * place, 1, ACK | PSH if place == 4 else ACK, bytes(100))
    tape.b(40, 1, 101)
    for place in (2, 3, 4):
        tape.b(40 + place, 1, 101, options=sack((201, 101 + 100 * place)))
    tape.a(50, 101, 1, ACK, bytes(100))
    tape.b(60, 1, 501, window=0)
    tape.a(300, 501, 1, ACK, b"p")
    tape.b(310, 1, 502, window=1_000)
    tape.a(320, 502, 1, FIN | ACK)
    tape.b(330, 1, 503, RST | ACK)
    return tape


def test_every_mark_of_the_time_sequence_stands_where_it_belongs() -> None:
    ax = time_sequence(lossy().capture, f"{A[0]}:{A[1]}")
    assert marks(ax, "SYN") == [(0, 1)] and marks(ax, "FIN") == [(0.32, 503)] and not marks(ax, "RST")
    assert bars(ax, "data") == [(0.03, 1, 101), (0.032, 201, 301), (0.033, 301, 401), (0.034, 401, 501), (0.3, 501, 502)]
    assert bars(ax, "sent again") == [(0.05, 101, 201)] and marks(ax, "sent again mark") == [(0.05, 201)]
    assert marks(ax, "PUSH") == [(0.034, 501)] and marks(ax, "window probe mark") == [(0.3, 502)]
    assert marks(ax, "duplicate ACK") == [(0.042, 101), (0.043, 101), (0.044, 101)] and marks(ax, "third duplicate ACK") == [(0.044, 101)]
    assert bars(ax, "SACK") == [(0.042, 201, 301), (0.043, 201, 401), (0.044, 201, 501)]
    assert marks(ax, "window closed") == [(0.06, 501)]
    assert marks(ax, "acknowledged")[0] == (0.01, 1) and marks(ax, "window")[0] == (0.01, 1_001) and marks(ax, "window")[-1] == (0.31, 1_502)
    assert marks(time_sequence(lossy().capture, 1), "RST") == [(0.33, 1)]


def test_the_window_is_scaled_by_its_owner() -> None:
    tape = Tape()
    tape.b(30, 1, 1, ACK, bytes(10))
    tape.a(35, 1, 11, window=50)
    assert pick(flows(segments(tape.capture)), 1).acked[-1].edge == 11 + (50 << 2)


def test_overtaken_is_not_sent_again() -> None:
    tape = Tape()
    tape.a(30, 1, 1, ACK, bytes(100))
    tape.a(31, 201, 1, ACK, bytes(100))
    tape.a(32, 101, 1, ACK, bytes(100))  # 1 ms late, never seen before: out of order
    tape.a(33, 1, 1, ACK, bytes(100))  # seen before: sent again
    tape.a(90, 301, 1, ACK, bytes(1))
    tape.a(91, 301, 1, ACK, bytes(1))  # the last byte once more: a keep-alive
    ax = time_sequence(tape.capture, 0)
    assert marks(ax, "out of order mark") == [(0.032, 201)] and marks(ax, "sent again mark") == [(0.033, 101)]
    assert marks(ax, "keep-alive mark") == [(0.091, 302)]
    assert flows(segments(tape.capture))[0].bytes == 301


def test_a_part_of_the_time_can_be_looked_at() -> None:
    ax = time_sequence(lossy().capture, 0, start=0.04, stop=0.1)
    assert bars(ax, "sent again") == [(0.05, 101, 201)] and not bars(ax, "data") and not marks(ax, "SYN")


def test_the_stevens_graph_has_a_dot_for_each_segment() -> None:
    ax = stevens(lossy().capture, 0)
    assert marks(ax, "segment") == [(0.03, 1), (0.032, 201), (0.033, 301), (0.034, 401), (0.3, 501)] and marks(ax, "sent again") == [(0.05, 101)]


def test_round_trips_keep_karns_rule() -> None:
    flow = flows(segments(lossy().capture))[0]
    # SYN 10 ms; 1..101 10 ms; 101..501 has a byte sent twice: no measure; the probe 10 ms; the FIN is answered by a RST
    assert round_trips(flow) == [(10 * MS, 10 * MS, 1), (40 * MS, 10 * MS, 101), (310 * MS, 10 * MS, 502)]
    tape = Tape()
    tape.a(30, 1, 1, ACK, bytes(100))
    tape.a(230, 1, 1, ACK, bytes(100))
    tape.b(240, 1, 101)
    ax = round_trip(tape.capture, 0)
    assert marks(ax, "round trip") == [(0.01, 10.0)] and flow.rtt == 20 * MS
    assert marks(round_trip(tape.capture, 0, by="sequence"), "round trip") == [(1, 10.0)]
    with pytest.raises(ValueError, match="sequence"):
        round_trip(tape.capture, 0, by="luck")


def test_what_is_outstanding_goes_up_with_data_and_down_with_acknowledgments() -> None:
    tape = Tape()
    tape.a(30, 1, 1, ACK, bytes(100))
    tape.a(40, 101, 1, ACK, bytes(100))
    tape.b(60, 1, 201, window=500)
    found = levels(flows(segments(tape.capture))[0])
    assert [(level.t // MS, level.bytes, level.window) for level in found] == [(0, 1, None), (10, 0, 1_000), (30, 100, 1_000), (40, 200, 1_000), (60, 0, 500)]
    assert averages(found)[-1] == (pytest.approx(301 / 5), pytest.approx((1 * 10 + 0 * 20 + 100 * 10 + 200 * 20) / 60))
    ax = outstanding(tape.capture, 0)
    assert marks(ax, "outstanding")[-2:] == [(0.04, 200), (0.06, 0)] and marks(ax, "window")[-1] == (0.06, 500)
    ax = window_scaling(tape.capture, 0)
    assert marks(ax, "in flight")[-2:] == [(0.04, 200), (0.06, 0)] and "500 to 1,000 bytes" in repr(ax)


def test_segment_sizes_their_average_and_the_mss() -> None:
    tape = Tape()
    tape.a(30, 1, 1, ACK, bytes(100))
    tape.a(40, 101, 1, ACK, bytes(300))
    ax = segment_size(tape.capture, 0)
    assert marks(ax, "segment") == [(0.03, 100), (0.04, 300)] and marks(ax, "average") == [(0.03, 100), (0.04, 200)]
    assert [y for _, y in marks(ax, "MSS")] == [512, 512]


def test_the_throughput_of_a_flow_is_tcptraces() -> None:
    tape = Tape()
    for place in range(21):
        tape.a(100 + place, 1 + 100 * place, 1, ACK, bytes(100))  # 100 bytes a ms: 0.8 Mbit/s
    tape.b(130, 1, 2_101)
    found = segment_rates(flows(segments(tape.capture))[0])
    assert len(found) == 20 and {round(each, 9) for _, *rates in found for each in rates} == {0.8}
    ax = throughput(tape.capture, 0)
    assert marks(ax, "goodput")[-1] == (0.13, pytest.approx(2_000 * 8 / 30_000))
    with pytest.raises(ValueError, match="wider"):
        throughput(tape.capture, bin_ns=1)


def test_lost_acknowledgments_and_numbers_that_wrap_do_not_mislead() -> None:
    tape = Tape()
    tape.a(30, 1, 1, ACK, bytes(1_000))  # wraps
    lost = tape.b(40, 1, 1_001)
    tape.capture.lost(lost, "loss")
    tape.b(90, 1, 1_001)
    flow = flows(segments(tape.capture))[0]
    assert flow.sent[-1].end == 1_001 and round_trips(flow)[-1] == (90 * MS, 60 * MS, 1_001)


def test_heads_are_read_with_tags_ipv6_and_short_snap_lengths() -> None:
    plain = frame(A, B, 1, 1, ACK, bytes(1_000))
    tagged = plain[:12] + b"\x81\x00\x00\x05" + plain[12:]
    head = struct.pack(">IHBB", 6 << 28, 8 + 20 + 9, 0, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    six = plain[:12] + b"\x86\xdd" + head + b"\x06\0" + bytes(6) + plain[34:54] + b"123456789"
    capture = Capture("odd")
    for data in (tagged, six, plain[:54], b"", plain[:30], bytes(60)):
        capture.frame(0, data)
    seen = segments(capture)
    assert [(one.n, one.src, one.dst, one.length, len(one.payload)) for one in seen] == [
        (1, "10.0.0.1:40000", "10.0.0.2:80", 1_000, 1_000), (2, "[::1]:40000", "[::2]:80", 9, 9), (3, "10.0.0.1:40000", "10.0.0.2:80", 1_000, 0),
    ]
    assert [head.size for head in heads(capture)][2] == 1_054


@given(st.lists(st.tuples(st.binary(max_size=80), st.integers(0, 90)), max_size=6))
def test_whatever_is_captured_can_be_drawn(noise: list[tuple[bytes, int]]) -> None:
    tape = Tape()
    for data, at in noise:
        whole = frame(A, B, ISN_A + 1, ISN_B + 1, ACK, bytes(30), options=sack((9, 20)))
        tape.capture.frame(30 * MS, whole[:at] + data + whole[at + len(data) :])
        tape.capture.frame(31 * MS, data)
    found = flows(segments(tape.capture))
    for flow in found:
        round_trips(flow)
        levels(flow)
        segment_rates(flow)
    for kind in ("eth", "ip", "tcp", "udp"):
        conversations(tape.capture, kind)
    follow(tape.capture, 1)


@settings(max_examples=3)
@given(st.lists(st.tuples(st.binary(max_size=60), st.integers(12, 90), st.integers(-(1 << 62), 1 << 62)), min_size=1, max_size=8))
def test_every_figure_bears_any_capture(noise: list[tuple[bytes, int, int]]) -> None:
    tape = Tape()
    for data, at, t in noise:
        whole = frame(A, B, ISN_A + 1, ISN_B + 1, ACK, bytes(30), options=sack((9, 20)))
        tape.capture.frame(t, whole[:at] + data + whole[at + len(data) :])
        tape.capture.frame(t, frame(B, A, at << 25, at << 24, ACK, data, window=at))
    for draw in (time_sequence, stevens, throughput, round_trip, outstanding, window_scaling, segment_size, scoreboard, ladder, io_graph):
        draw(tape.capture)._repr_png_()  # type: ignore[attr-defined]
    for flow in (0, 1):
        throughput(tape.capture, flow)._repr_png_()  # type: ignore[attr-defined]


def test_a_ladder_can_show_one_connection_and_says_how_to_see_the_rest() -> None:
    tape = lossy()
    other = ("10.0.0.3", 9)
    for place in range(100):
        tape.capture.frame(400 * MS, frame(other, B, place, 0, SYN))
    ax = ladder(tape.capture, flow=1)
    assert "frames 1 to 17 of 17" in repr(ax)
    assert "57 more frames: ladder(start=61)" in repr(ladder(tape.capture)) and "frames 61 to 117" in repr(ladder(tape.capture, start=61))


def test_a_ladder_of_many_hosts_is_no_wider_than_one_of_eight() -> None:
    capture = Capture("crowd")
    for place in range(60):
        capture.frame(place, frame((f"10.1.0.{place + 1}", 9), B, 0, 0, SYN))
    ax = ladder(capture)
    assert ax.figure.get_figwidth() < 25 and ax.findobj(lambda artist: artist.get_gid() == "host 54 others")


def test_conversations_count_both_directions() -> None:
    [row] = conversations(lossy().capture)
    assert (row["a"], row["a_port"], row["b"], row["b_port"]) == (*A, *B) and row["frames"] == row["frames_a_b"] + row["frames_b_a"] == 17
    assert (row["frames_a_b"], row["start"], row["duration"]) == (9, 0, 0.33)
    assert [(row["a"], row["b"]) for row in conversations(lossy().capture, "ip")] == [(A[0], B[0])]
    with pytest.raises(ValueError, match="eth, ip, tcp, udp"):
        conversations(lossy().capture, "ax25")


def test_the_io_table_counts_frames_and_bytes_in_each_interval() -> None:
    capture = lossy().capture
    rows = io_rows(capture, "tcp.len > 0", interval_ns=100 * MS)
    assert [row["frames"] for row in rows] == [13, 0, 0, 4] and sum(row["bytes"] for row in rows) == sum(len(each.data) for each in capture.frames)
    assert [row["frames tcp.len > 0"] for row in rows] == [5, 0, 0, 1] and rows[3]["start"] == pytest.approx(0.3)
    ax = io_graph(capture, "tcp.len > 0", interval_ns=100 * MS)
    assert [y for _, y in marks(ax, "io tcp.len > 0")] == [5, 0, 0, 1]
    with pytest.raises(ValueError, match="100,000 are counted"):
        io_rows(capture, interval_ns=1)


def follow_tape(order: Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]]) -> bytes:
    pieces = [(1 + 10 * place, bytes([65 + place]) * 10) for place in range(6)]
    tape = Tape()
    for place, (seq, data) in enumerate(order(pieces)):
        tape.a(30 + place, seq, 1, ACK, data)
    tape.b(90, 1, 61, ACK, b"thanks")
    tape.a(95, 61, 7, FIN | ACK)
    stream = follow(tape.capture, 1)
    assert stream.received == b"thanks" and stream.ends == ("10.0.0.1:40000", "10.0.0.2:80")
    return stream.sent


def test_a_stream_is_put_together_whatever_the_order() -> None:
    whole = b"".join(bytes([65 + place]) * 10 for place in range(6))
    assert follow_tape(lambda pieces: pieces) == follow_tape(lambda pieces: pieces[::-1]) == whole
    assert follow_tape(lambda pieces: [pieces[0], pieces[0], *pieces[::2], *pieces[1::2], (15, b"BBBBBBCCC")]) == whole


def test_what_was_not_captured_is_a_gap_and_never_invented() -> None:
    tape = Tape()
    tape.a(30, 1, 1, ACK, b"first")
    tape.a(31, 16, 1, ACK, b"third")
    tape.b(40, 1, 21)
    tape.a(50, 21, 1, ACK, b"fourth")
    tape.b(60, 1, 37)  # ten more bytes that nobody saw
    stream = follow(tape.capture, 4)
    assert stream.sent == b"firstthirdfourth" and stream.missing == 20 and [turn.missing for turn in stream.turns] == [0, 10, 10]
    assert "[10 bytes are not in the capture]" in repr(stream)


def test_a_connection_that_uses_the_ports_again_is_another_one() -> None:
    tape = Tape()
    tape.a(30, 1, 1, ACK, b"old")
    tape.a(100, 50_000, 0, SYN)
    tape.b(101, 0, 50_001, SYN | ACK)
    new = tape.a(102, 50_001, 1, ACK, b"new")
    assert follow(tape.capture, 4).sent == b"old" and follow(tape.capture, new).sent == b"new"


def test_a_stream_is_bounded_and_shown_as_text() -> None:
    tape = Tape()
    tape.a(30, 1, 1, ACK, b"<script>\x1b[2J\x00\n" + bytes(200))
    stream = follow(tape.capture, 1)
    assert "<script" not in stream._repr_html_() and "&lt;script&gt;\u241b[2J\u2400" in stream._repr_html_() and "\x1b" not in repr(stream)
    stream.add(0, 9, 0, bytes(LIMIT))
    stream.add(0, 9, 0, bytes(LIMIT))
    assert len(stream.sent) == LIMIT and "left out" in repr(stream)
    with pytest.raises(ValueError, match="no frame 99"):
        follow(tape.capture, 99)


def test_datagrams_are_followed_too() -> None:
    capture = Capture("udp")
    for src, dst, data in ((A, B, b"ping"), (B, A, b"pong"), (A, ("10.0.0.9", 80), b"no")):
        udp = struct.pack(">HHHH", src[1], dst[1], 8 + len(data), 0) + data
        capture.frame(0, bytes(12) + b"\x08\x00" + struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + ip(src[0]) + ip(dst[0]) + udp + bytes(9))
    stream = follow(capture, 2)
    assert (stream.sent, stream.received, stream.protocol) == (b"ping", b"pong", "UDP")
    arp = capture.frame(0, bytes(60))
    with pytest.raises(ValueError, match="neither TCP nor UDP"):
        follow(capture, arp)


def test_the_scoreboard_shows_what_arrived_above_a_hole() -> None:
    flow = flows(segments(lossy().capture))[0]
    found = boards(flow)
    assert [(board.t // MS, board.una, board.blocks) for board in found if board.blocks] == [
        (42, 101, ((201, 301),)), (43, 101, ((201, 401),)), (44, 101, ((201, 501),)),
    ]
    ax = scoreboard(lossy().capture, 0)
    [collection] = ax.findobj(lambda artist: artist.get_gid() == "SACKed")
    corners = [path.vertices[:4].tolist() for path in collection.get_paths()]
    assert corners[0] == [[0.042, 100], [0.043, 100], [0.043, 200], [0.042, 200]] and corners[-1][2] == [0.05 if len(found) < 14 else 0.06, 400]
    assert marks(ax, "sent again") == [(0.05, 0)]


def test_a_scoreboard_full_of_holes_is_bounded() -> None:
    tape = Tape()
    tape.a(30, 1, 1, ACK, bytes(1_000))
    for place in range(300):
        tape.a(31, 1_001 + 100 * place, 1, ACK, bytes(100))
        tape.b(32 + place, 1, 1, options=sack((1_001 + 200 * (place // 2), 1_101 + 200 * (place // 2))))
    found = boards(flows(segments(tape.capture))[0])
    assert max(len(board.blocks) for board in found) == BLOCKS and found[-1].blocks[-1] == (1_001 + 200 * 149, 1_101 + 200 * 149)
