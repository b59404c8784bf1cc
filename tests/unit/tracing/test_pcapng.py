"""Captures go to files and come back; broken files are refused by one error."""

from __future__ import annotations

import io
from pathlib import Path

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.tracing.capture import EPOCH_NS, Capture
from mirage_lab.tracing.pcapng import PcapError, Record, Writer, save
from mirage_lab.tracing.savefile import load, parse


def capture() -> Capture:
    seen = Capture("br0")
    seen.frame(0, bytes(range(60)), 0, "web")
    seen.frame(1_000_001, b"\xff" * 61, 0, "gateway")
    seen.lost(2, "loss")
    return seen


@pytest.mark.parametrize("suffix", [".pcap", ".pcapng"])
def test_a_saved_capture_is_read_back_to_the_nanosecond(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"web{suffix}"
    save(capture(), path, epoch_ns=EPOCH_NS)
    records = load(path)
    assert [(record.time_ns - EPOCH_NS, record.data) for record in records] == [(0, bytes(range(60))), (1_000_001, b"\xff" * 61)]
    if suffix == ".pcapng":
        assert [(record.port, record.comment) for record in records] == [("web", ""), ("gateway", "lost: loss")]


def test_dpkt_reads_the_same_packets(tmp_path: Path) -> None:
    path = tmp_path / "web.pcapng"
    save(capture(), path, epoch_ns=EPOCH_NS)
    with path.open("rb") as file:
        assert [data for _, data in dpkt.pcapng.Reader(file)] == [bytes(range(60)), b"\xff" * 61]


def test_a_stream_has_every_frame_even_the_dropped_ones(tmp_path: Path) -> None:
    seen = Capture("br0", limit_bytes=2_000)
    seen.stream(tmp_path / "all.pcapng")
    for number in range(100):
        seen.frame(number, bytes([number]) * 100)
    seen.stop_stream()
    assert seen.dropped and [record.data[0] for record in load(tmp_path / "all.pcapng")] == list(range(100))


def whole() -> bytes:
    file = io.BytesIO()
    writer = Writer(file, epoch_ns=0)
    writer.frame(5, b"data!", "web", "a comment")
    return file.getvalue()


def test_every_truncation_is_refused_or_ends_between_blocks() -> None:
    data = whole()
    assert list(parse(data)) == [Record(5, b"data!", "web", "a comment")]
    for length in range(len(data)):
        try:
            assert list(parse(data[:length])) == []
        except PcapError:
            pass


@given(st.binary(max_size=80), st.integers(0, 120))
def test_any_bytes_are_read_or_refused(noise: bytes, at: int) -> None:
    data = whole()
    try:
        list(parse(data[:at] + noise + data[at + len(noise) :]))
        list(parse(noise))
    except PcapError:
        pass
