"""Files that others made are read a packet at a time; whatever the bytes, they are read or end in one error."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.lab import read_capture
from mirage_lab.lab.said import LabError
from mirage_lab.tracing.pcapng import PcapError, Record, Writer
from mirage_lab.tracing.savefile import INTERFACES, UNFOLDED, parse, read

FRAME = bytes.fromhex("02000000000a" "02000000000b" "0800") + bytes(46)  # destination, source, type, payload
MAGICS = {"us": 0xA1B2C3D4, "ns": 0xA1B23C4D}


def classic(order: str, unit: str, *records: tuple[int, int, bytes], link: int = 1) -> bytes:
    out = struct.pack(order + "IHHiIII", MAGICS[unit], 2, 4, 0, 0, 65_535, link)
    return out + b"".join(struct.pack(order + "IIII", seconds, part, len(data), len(data)) + data for seconds, part, data in records)


def block(order: str, kind: int, body: bytes) -> bytes:
    length = struct.pack(order + "I", 12 + len(body) + -len(body) % 4)
    return struct.pack(order + "I", kind) + length + body + bytes(-len(body) % 4) + length


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link: int = 1, resolution: int | None = None, offset: int | None = None) -> bytes:
    body = struct.pack(order + "HHI", link, 0, 0)
    if resolution is not None:
        body += struct.pack(order + "HHBxxx", 9, 1, resolution)
    if offset is not None:
        body += struct.pack(order + "HHq", 14, 8, offset)
    return block(order, 1, body)


def packet(order: str, ticks: int, data: bytes, number: int = 0) -> bytes:
    return block(order, 6, struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFF_FFFF, len(data), len(data)) + data)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("unit", "ns"), [("us", 5_000), ("ns", 5)])
def test_classic_files_of_both_orders_and_units_are_read(order: str, unit: str, ns: int) -> None:
    assert list(parse(classic(order, unit, (7, 5, FRAME), (8, 0, FRAME[:20])))) == [Record(7_000_000_000 + ns, FRAME), Record(8_000_000_000, FRAME[:20])]


@pytest.mark.parametrize("order", ["<", ">"])
def test_sections_of_either_order_have_their_own_clocks(order: str) -> None:
    other = ">" if order == "<" else "<"
    data = section(order) + interface(order) + interface(order, resolution=0x80 | 10, offset=100) + packet(order, 3, FRAME) + packet(order, 1_536, FRAME, 1)
    data += section(other) + interface(other, resolution=9) + packet(other, 11, FRAME)
    assert [record.time_ns for record in parse(data)] == [3_000, 101_500_000_000, 11]


def test_simple_obsolete_and_unknown_blocks_are_taken_as_they_are() -> None:
    simple = block("<", 3, struct.pack("<I", len(FRAME)) + FRAME)
    obsolete = block("<", 2, struct.pack("<HHIIII", 0, 7, 0, 9, len(FRAME), len(FRAME)) + FRAME)
    data = section("<") + interface("<", resolution=9) + block("<", 0x0BAD, bytes(200_000)) + obsolete + simple
    assert list(parse(data)) == [Record(9, FRAME), Record(9, FRAME)]


@pytest.mark.parametrize(
    ("link", "head"),
    [
        (101, b""), (12, b""), (0, b"\2\0\0\0"), (108, b"\0\0\0\2"), (113, bytes(6) + FRAME[6:12] + bytes(2) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(10) + FRAME[6:12] + bytes(2)),
    ],
)
def test_what_was_captured_without_ethernet_gets_a_header(link: int, head: bytes) -> None:
    ip = b"\x45" + bytes(19)
    [record] = parse(classic("<", "us", (0, 0, head + ip), link=link))
    assert record.data[12:] == b"\x08\x00" + ip and record.data[6:12] in (bytes(6), FRAME[6:12])
    with pytest.raises(PcapError, match="link type 105"):
        list(parse(classic("<", "us", (0, 0, ip), link=105)))


def test_gzip_is_unfolded_on_the_way_also_of_several_members() -> None:
    whole = classic(">", "ns", (1, 2, FRAME), (1, 3, FRAME))
    packed = gzip.compress(whole[:50], mtime=0) + gzip.compress(whole[50:], mtime=0) + bytes(16)
    assert list(parse(packed)) == list(parse(whole))
    for length in range(2, len(packed) - 16):
        try:
            assert list(parse(packed[:length])) == [] or length == len(gzip.compress(whole[:50], mtime=0))
        except PcapError:
            pass
    with pytest.raises(PcapError, match="zstd"):
        list(parse(b"\x28\xb5\x2f\xfd" + bytes(20)))


class Bomb(io.RawIOBase):
    """A gzip file of one pcap packet after the other, for ever: 1 kB of it unfolds to a megabyte."""

    def __init__(self, head: bytes, again: bytes) -> None:
        self._packer = zlib.compressobj(9, wbits=31)
        self._waiting = self._packer.compress(head)
        self._again = again * (1_000_000 // len(again))
        self.given = 0

    def read(self, size: int = -1, /) -> bytes:
        while len(self._waiting) < size:
            self._waiting += self._packer.compress(self._again)
        out, self._waiting = self._waiting[:size], self._waiting[size:]
        self.given += len(out)
        return out


@pytest.mark.parametrize("kind", ["packets", "one endless block"])
def test_a_gzip_bomb_ends_in_an_error_and_costs_no_memory(kind: str) -> None:
    if kind == "packets":
        record = struct.pack("<IIII", 0, 0, 60_000, 60_000) + bytes(60_000)
        bomb = Bomb(classic("<", "us"), record)
    else:
        bomb = Bomb(section("<") + struct.pack("<II", 0xBAD, 0xFFFF_FFF0), bytes(1_000))
    tracemalloc.start()
    try:
        with pytest.raises(PcapError, match=r"gzip bomb.*gunzip it"):
            for _ in read(bomb):  # type: ignore[arg-type]
                pass
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert bomb.given < UNFOLDED // 100


@pytest.mark.parametrize(
    "data",
    [
        classic("<", "us") + struct.pack("<IIII", 0, 0, 0xFFFF_FFFF, 60),
        section("<") + interface("<") + struct.pack("<II", 6, 0xFFFF_FFF0),
        section("<") + struct.pack("<II", 0xBAD, 0xFFFF_FFF0) + bytes(100),
        section("<") + interface("<") + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 0x10_0000, 60) + FRAME),
        section("<") + interface("<") + packet("<", 0, FRAME, number=1),
        section("<") + interface("<", resolution=0) + packet("<", 1 << 63, FRAME),
        section("<") + interface("<", offset=-9) + packet("<", 0, FRAME),
        section("<") + interface("<") * (INTERFACES + 1),
        section("<")[:-1] + b"\1",
    ],
)
def test_lies_about_lengths_and_times_are_refused(data: bytes) -> None:
    with pytest.raises(PcapError):
        list(parse(data))


@given(st.binary(max_size=120), st.integers(0, 200), st.sampled_from(["<", ">"]), st.booleans())
def test_any_bytes_are_read_or_refused(noise: bytes, at: int, order: str, packed: bool) -> None:
    whole = section(order) + interface(order, resolution=6, offset=1) + packet(order, 5, FRAME) + block(order, 3, struct.pack(order + "I", 60) + FRAME)
    for data in (whole, classic(order, "us", (1, 1, FRAME), (2, 2, FRAME), link=113)):
        broken = data[:at] + noise + data[at + len(noise) :]
        try:
            list(parse(gzip.compress(broken, mtime=0) if packed else broken))
        except PcapError:
            pass
    try:
        list(parse(b"\x1f\x8b\x08" + noise))
    except PcapError:
        pass


def test_a_file_is_held_as_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "theirs.pcap.gz"
    path.write_bytes(gzip.compress(classic(">", "us", (7, 5, FRAME), (8, 5, FRAME), (7, 4, FRAME))))
    trace = read_capture(path)
    assert [(frame.n, frame.t) for frame in trace] == [(1, 0), (2, 1_000_000_000), (3, -1_000)]
    assert "theirs.pcap.gz: 3 frames" in repr(trace) and "<table" in (trace._repr_html_() or "")
    assert trace.filter("frame.number > 1").filter("frame.len == 60").numbers == [2, 3]
    with pytest.raises(LabError, match="comes from a file"):
        trace.causes(1)
    trace.save(tmp_path / "again.pcapng")
    again = read_capture(tmp_path / "again.pcapng")
    assert again.epoch_ns == 7_000_005_000 and [frame.data for frame in again] == [frame.data for frame in trace]


def test_of_a_long_file_the_last_frames_are_kept_and_the_rest_is_told(tmp_path: Path) -> None:
    path = tmp_path / "long.pcap"
    path.write_bytes(classic("<", "us", *((number, 0, FRAME) for number in range(1_000))))
    trace = read_capture(path, limit_bytes=20_000)
    assert trace[1_000].t == 999 * 10**9 and 100 < len(trace) < 200 and "the oldest" in repr(trace)


def test_a_long_file_costs_no_more_memory_than_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "long.pcap"
    record = struct.pack("<IIII", 1, 0, 60_000, 60_000) + bytes(60_000)
    with path.open("wb") as file:
        file.write(classic("<", "us"))
        for _ in range(500):
            file.write(record)
    tracemalloc.start()
    try:
        trace = read_capture(path, limit_bytes=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20 < path.stat().st_size // 7
    finally:
        tracemalloc.stop()
    assert trace[500].t == 0 and len(trace) < 18


def test_what_became_of_a_frame_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lossy.pcapng"
    with path.open("wb") as file:
        writer = Writer(file, epoch_ns=0)
        writer.frame(0, FRAME, "web", "lost: loss")
        writer.frame(1, FRAME, "web", "x" * 900)
    trace = read_capture(path)
    assert trace[1].lost == "loss" and trace[1].port == "web" and len(trace[2].fate) == 200
