"""A filter shows the frames that tshark shows, and reads the fields that tshark reads."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mirage_lab import Lab
from mirage_lab.tcpip.displayfilter import FilterError, compile_filter
from mirage_lab.tcpip.displayfilter.applications import APPLICATIONS
from mirage_lab.tcpip.displayfilter.fields import FIELDS, Field, Kind
from mirage_lab.tcpip.displayfilter.places import Seen
from mirage_lab.tcpip.displayfilter.streams import Streams
from mirage_lab.tcpip.wire import arp, ethernet, icmp, ipv4, tcp, udp
from mirage_lab.tcpip.wire.address import ip_int, ip_text
from mirage_lab.tcpip.wire.checksum import pseudo_v4
from mirage_lab.tracing.capture import EPOCH_NS, Capture
from mirage_lab.tracing.pcapng import save

A, B = bytes.fromhex("00163e000001"), bytes.fromhex("00163e000002")
SRC, DST = ip_int("10.0.0.1"), ip_int("10.0.0.2")
ALONE = ("-o", "ip.defragment:FALSE")
STEP = 500_000_001
"""Between two frames, ns."""


def ip(proto: int, body: bytes, fragment: int = 0x4000, src: int = SRC, dst: int = DST, ttl: int = 64) -> bytes:
    header = ipv4.Header(src, dst, proto, 20 + len(body), ident=7, fragment=fragment, ttl=ttl)
    return ethernet.encode(ethernet.Frame(B, A, 0x0800, ipv4.encode(header) + body))


def segment(flags: int, options: bytes = b"", payload: bytes = b"", src: int = 49_152, dst: int = 80) -> bytes:
    return tcp.encode(tcp.Segment(src, dst, 101, 7, flags, 512, options, payload), pseudo_v4(SRC, DST, 6, 0))


SYN = ip(6, tcp.encode(tcp.Segment(49_152, 80, 100, 0, tcp.SYN, 65_535, tcp.Options(1_460, 3).encode()), pseudo_v4(SRC, DST, 6, 0)))
GET = ip(6, segment(tcp.ACK | tcp.PSH, payload=b"GET / HTTP/1.1\r\n"))
STAMPED = ip(6, segment(tcp.SYN | tcp.ACK, bytes.fromhex("020405b4 0402 080a 00000005 00000009 01 030307"), src=80, dst=50_000), src=DST, dst=SRC)
HELLO = ip(17, udp.encode(udp.Datagram(9_999, 5_355, b"hello"), SRC, DST))
EMPTY = ip(17, udp.encode(udp.Datagram(9_999, 5_355, b""), DST, SRC), src=DST, dst=SRC)
PING = ip(1, icmp.encode(icmp.Icmp(8, 0, 0x1234_0001, bytes(56))))


def error(kind: int, quoted: bytes, code: int = 0) -> bytes:
    return ip(1, icmp.encode(icmp.Icmp(kind, code, 0, quoted)), src=DST, dst=SRC)


FRAMES = (
    ethernet.encode(ethernet.Frame(b"\xff" * 6, A, 0x0806, arp.encode(arp.Arp(1, A, SRC, bytes(6), DST)))),
    ethernet.encode(ethernet.Frame(A, B, 0x0806, arp.encode(arp.Arp(2, B, DST, A, SRC)))) + bytes(18),  # padded
    SYN,
    STAMPED,
    GET,
    HELLO,
    EMPTY,
    PING,
    ip(1, icmp.encode(icmp.Icmp(0, 0, 0x1234_0001, bytes(56))), src=DST, dst=SRC),
    error(3, HELLO[14:42], 3),
    error(3, SYN[14:42], 1),
    error(11, GET[14:]),
    error(5, GET[14:]),
    error(3, error(3, HELLO[14:42])[14:]),
    GET + bytes(30),
    GET[:-4],
    GET[:10],
    SYN[:40],
    SYN[:60],
    HELLO[:40],
    PING[:39],
    ip(17, struct.pack("!HHHH", 9_999, 5_355, 100, 0) + bytes(16), 0x2000),
    ip(17, b"\x27\x0f" * 5, 3),
    ip(6, segment(tcp.ACK, payload=bytes(12)), 0x2000),
    ip(253, b"abc", ttl=3),
    ip(6, segment(tcp.RST | tcp.ACK)),
    ip(6, segment(tcp.FIN | tcp.ACK), src=ip_int("192.168.1.9"), ttl=2),
    GET[:46] + b"\x10" + GET[47:],  # a header of four bytes
    HELLO[:38] + b"\0\4" + HELLO[40:],  # a datagram of four
    GET[:14] + b"\x44" + GET[15:],
    GET[:16] + b"\0\x10" + GET[18:],
    GET[:16] + b"\xff\xff" + GET[18:],
    ethernet.encode(ethernet.Frame(B, A, 0x88B5, b"of nobody")),
    ip(6, segment(tcp.SYN, bytes.fromhex("020505b400 03040300 010101"))),  # options of a wrong length
)

FILTERS = """
arp
!arp
ip
udp
tcp and not icmp
icmp
eth
frame
arp.opcode == 2 or arp.dst.proto_ipv4 == 10.0.0.2
arp.src.hw_mac == 00:16:3e:00:00:01
eth.dst == ff-ff-ff-ff-ff-ff
eth.addr == 0016.3e00.0002
eth.src[0:3] == 00:16:3e
eth.src[-1] == 01
eth.src contains 3e:00
eth.src < eth.dst
eth.type != 0x800
eth.type > 0x0806
frame.number in {1..4, 9}
frame.len >= 60 and frame.len < 98
frame.time_relative > 1.500000003 && frame.time_relative <= 3.500000007
frame.time_relative == 1.000000002
frame.time_relative in {0.4 .. 1.1}
frame.time_relative < 0.6
frame contains "HTTP"
frame contains 0d:0a
frame contains "\\x47ET"
frame[12:2] == 08:06
frame[0,1,12-13] contains 08:06
frame[-2:] == 0d:0a
ip.addr == 10.0.0.2
ip.addr != 10.0.0.2
ip.addr ~= 10.0.0.2
ip.addr === 10.0.0.2
!(ip.addr == 10.0.0.2)
ip.src == 10.0.0.0/31
ip.src != 10.0.0.0/8
ip.src >= 10.0.0.2
ip.src in {10.0.0.2 .. 10.0.0.9, 192.168.0.0/16}
ip.src == ip.dst
ip.src[3] == 02
ip.ttl == 0x40
ip.ttl == 0100
ip.ttl < 5
ip.ttl == ip.proto
ip.proto in {1, 253}
ip.id == 7
ip.len == 33
ip.len > 1000
ip.hdr_len == 20
ip.version == 4
ip.flags.df == 1
ip.flags.mf == True
ip.frag_offset > 0
ip.frag_offset == 3
ip.checksum == 0
ip contains 00:00:00:00
ip[8] == 40
ip[20:2] == 27:0f
icmp.type == 3
icmp.type == 3 && udp.port == 5355
icmp.code
icmp.ident == 0x1234
icmp.seq == 1
icmp[0] == 08
udp.port == 5355
udp.srcport != 9999
udp.length != 13
udp.length <= 8
udp.payload
udp.payload == "hello"
udp.payload == 68:65:6c:6c:6f
udp.payload >= "z"
udp.payload < "z"
udp.payload[1:3] == "ell"
udp contains "hello"
udp[8:5] == "hello"
tcp.port == 80
tcp.port != 80
tcp.port not in {80, 81}
not tcp.port == 80
tcp.port eq 80 and tcp.port gt 49152
tcp.srcport > tcp.dstport
tcp.port != tcp.dstport
tcp.srcport != tcp.dstport
tcp.dstport === 80
tcp.stream == 0
tcp.stream in {1, 2..4}
tcp.stream != 0 and tcp.stream > 1
tcp.seq == 0
tcp.seq == 1 and tcp.ack == 1
tcp.ack > 1
tcp.seq_raw == 101
tcp.ack_raw == 7 and not icmp
tcp.hdr_len > 20
tcp.len == 16
tcp.len in {1 .. 16}
tcp.len ge 0 and tcp.len le 12
tcp.flags == 0x18
tcp.flags & 0x12
tcp.flags & 0x12 == 0x02
tcp.flags.syn
tcp.flags.syn == 1 and tcp.flags.ack == 0
tcp.flags.ack == 0 or tcp.flags.reset == 1 or tcp.flags.fin == 1
tcp.flags.push == False
tcp.window_size_value lt 1000
tcp.urgent_pointer == 0
tcp.options.mss_val == 1460
tcp.options.wscale.shift in {3, 7}
tcp.options.timestamp.tsval < 6 and tcp.options.timestamp.tsecr == 9
tcp.payload
tcp.payload contains "HTTP" or udp.payload contains "ell"
tcp.payload[-2:] == "\\r\\n"
tcp.payload[4:] contains "HTTP"
tcp contains "GET"
tcp[13] == 02
tcp[20:4] == 02:04:05:b4
tcp[2:2] == 00:50
arp or tcp and udp
tcp and udp or arp
arp || icmp && udp
(arp or icmp) and udp
ip.src == 10.0.0.1 && udp || arp
!arp && !tcp && !udp
not not arp
not arp or arp
""".strip().splitlines()

WRONG = (
    "tcp.prot == 80",
    "tcp.port == 70000",
    "tcp.port == abc",
    'tcp.port == "80"',
    'ip.src == "10.0.0.1"',
    "ip.src == 10.0.0.0/33",
    "ip.src == 10.0.0",
    "eth.src == 00:16:3e",
    "eth.src == ip.src",
    "frame contains GET",
    "tcp.port contains 80",
    "ip.src contains 0a",
    "tcp.port[0] == 80",
    "udp.payload[0:0] == 01",
    "udp.payload[x] == 01",
    "frame.time_relative == 1s",
    "frame.time_relative > 0.1234567891",
    "frame.len == 42.0",
    "tcp.port in {}",
    "tcp.port in {80..}",
    "tcp.port == 80,443",
    "80 == tcp.port",
    "tcp.port == 80 == 80",
    "tcp.port == 80 80",
    "tcp.port = 80",
    "tcp.port ==",
    "== 80",
    "tcp and",
    "tcp udp",
    "(tcp",
    "tcp)",
    "TCP",
    "tcp AND udp",
    '"x"',
)


def write(path: Path, frames: Sequence[bytes]) -> None:
    capture = Capture("br0")
    for at, frame in enumerate(frames):
        capture.frame(at * STEP, frame)
    save(capture, path, epoch_ns=EPOCH_NS)


def run(program: str, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, "-n", "-r", path, *ALONE, *words], capture_output=True, check=False, timeout=60, text=True)


def theirs(program: str, path: Path, text: str) -> list[int]:
    done = run(program, path, "-Y", text, "-T", "fields", "-e", "frame.number")
    assert done.returncode == 0, f"{text}: {done.stderr}"
    return [int(line) for line in done.stdout.split()]


def ours(frames: Sequence[bytes], text: str) -> list[int]:
    found = compile_filter(text)
    return [n for n, frame in enumerate(frames, 1) if found.matches(n, (n - 1) * STEP, frame)]


def test_the_same_frames_pass(require: Callable[[str], str], tmp_path: Path) -> None:
    program, path = require("tshark"), tmp_path / "frames.pcap"
    write(path, FRAMES)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda text: theirs(program, path, text), FILTERS))
    different = {text: (answer, mine) for text, answer in zip(FILTERS, answers) if answer != (mine := ours(FRAMES, text))}
    assert different == {}
    assert len(FILTERS) > 100 and sum(0 < len(answer) < len(FRAMES) for answer in answers) > 90


def test_what_one_cannot_read_the_other_cannot(require: Callable[[str], str], tmp_path: Path) -> None:
    program, path = require("tshark"), tmp_path / "frames.pcap"
    write(path, FRAMES[:1])
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda text: run(program, path, "-Y", text).returncode, WRONG))
    assert [text for text, code in zip(WRONG, codes) if code == 0] == []
    for text in WRONG:
        with pytest.raises(FilterError):
            compile_filter(text)


def test_a_trace_of_the_lab_is_filtered_as_tshark_filters_its_file(require: Callable[[str], str], tmp_path: Path) -> None:
    program, path = require("tshark"), tmp_path / "web.pcap"
    with Lab.demo("web", seed=1) as lab:
        lab.lan("br0", loss=0.2)
        for _ in range(3):
            lab.fetch("10.0.0.2")
        trace = lab.traces[0]
        trace.save(path)
        asked = ("tcp.flags.syn == 1 && tcp.flags.ack == 0", "arp", "tcp.len > 0", "tcp.stream == 1", "tcp.seq == 1", "frame.time_relative > 1.01")
        for text in ("tcp.port == 80 and ip.src == 10.0.0.2", *asked):
            found = trace.filter(text).numbers
            assert found == theirs(program, path, text) and 0 < len(found) < len(trace), text


# field by field ------------------------------------------------------------------------------------------------------


def told(field: Field, values: Sequence[int | bytes]) -> list[str]:
    """Return values as tshark prints them, but numbers in decimal."""
    if field.kind == Kind.LAYER:
        return ["there"] if values else []
    if field.kind == Kind.ADDRESS:
        return sorted(ip_text(value) for value in values if isinstance(value, int))
    if field.kind == Kind.SECONDS:
        return [f"{value // 10**9}.{value % 10**9:09}" for value in values if isinstance(value, int)]
    return sorted((value.hex(":") if field.kind == Kind.MAC else value.hex()) if isinstance(value, bytes) else str(value) for value in values)


def said(field: Field, text: str) -> list[str]:
    """Return what tshark printed of a field."""
    if not text:
        return []
    if field.kind == Kind.LAYER:
        return ["there"]
    numbers = field.kind in (Kind.NUMBER, Kind.FLAG)
    return sorted(str(int(one, 0)) if numbers else one for one in text.split(","))


def different(program: str, path: Path, frames: Sequence[bytes]) -> list[tuple[str, str, list[str], list[str]]]:
    """Return (field, frame, ours, theirs) of each field read differently."""
    write(path, frames)
    fields = [field for field in FIELDS.values() if field not in APPLICATIONS]  # these: tests/compat/test_application_fields.py
    names = [word for field in fields for word in ("-e", field.name)]
    lines = run(program, path, "-T", "fields", "-E", "occurrence=a", "-E", "separator=|", *names).stdout.splitlines()
    assert len(lines) == len(frames)
    found, streams = [], Streams()
    for n, (frame, line) in enumerate(zip(frames, lines), 1):
        seen = Seen(n, (n - 1) * STEP, frame)
        streams.look(seen)
        for field, text in zip(fields, line.split("|")):
            mine = told(field, field.read(seen))
            if mine != (his := said(field, text)):
                found.append((field.name, frame.hex(), mine, his))
    return found


def test_every_field_of_every_truncation_is_read_as_tshark_reads_it(require: Callable[[str], str], tmp_path: Path) -> None:
    cut = [frame[:length] for frame in FRAMES for length in range(1, len(frame) + 1)]
    assert different(require("tshark"), tmp_path / "cut.pcap", cut) == []


def changed(rng: random.Random, base: bytes) -> bytes:
    """Return a frame with some bytes of its headers changed: not to another protocol, which a filter does not know."""
    frame = bytearray(base)
    quotes = base[23] == 1 and len(base) > 34 and base[34] in (3, 5, 11)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(14, min(len(frame), 42 if quotes else 54))
        if at not in (12, 13, 23) and not (base[23] == 1 and at in (34, 39)):
            frame[at] = rng.choice((0, 1, 4, 5, 6, 8, 20, 64, 128, 255, rng.randrange(256)))
    if frame[14] >> 4 == 6:
        frame[14] = 0x45
    return bytes(frame[: rng.choice((len(frame), len(frame), rng.randrange(15, len(frame) + 1)))]) + bytes(rng.choice((0, 0, 18)))


def test_every_field_of_frames_that_lie_is_read_as_tshark_reads_it(require: Callable[[str], str], tmp_path: Path) -> None:
    rng = random.Random(4)
    whole = [frame for frame in FRAMES if len(frame) > 40 and frame[13] in (0, 6)]
    assert different(require("tshark"), tmp_path / "lies.pcap", [changed(rng, rng.choice(whole)) for _ in range(4_000)]) == []


def spoken(rng: random.Random) -> bytes:
    """Return a segment of one of a few connections that nobody keeps in order."""
    flags = rng.choice((tcp.SYN, tcp.SYN, tcp.SYN | tcp.ACK, tcp.ACK, tcp.ACK | tcp.PSH, tcp.FIN | tcp.ACK, tcp.RST, 0))
    ends = rng.choice(((5_000, 80), (5_001, 80), (80, 80)))
    there = rng.random() < 0.5
    src, dst = ends if there else ends[::-1]
    seq, ack = rng.choice((100, 101, 500, 9_000, 0xFFFF_FFFE)), rng.choice((0, 101, 501, 9_001))
    body = bytearray(tcp.encode(tcp.Segment(src, dst, seq, ack, flags, 512, b"", rng.choice((b"", b"abc"))), pseudo_v4(SRC, DST, 6, 0)))
    body[12] = rng.choice((*[body[12]] * 12, 0x20, 0x90, 0xF0))
    frame = ip(6, bytes(body), rng.choice((*[0x4000] * 9, 0x2000)), *((SRC, DST) if there else (DST, SRC)))
    frame = frame[: rng.randrange(34, len(frame))] if rng.random() < 0.1 else frame
    return error(3, frame[14:]) if rng.random() < 0.1 else frame


def test_connections_are_told_apart_and_numbers_counted_as_tshark_does(require: Callable[[str], str], tmp_path: Path) -> None:
    rng = random.Random(5)
    assert different(require("tshark"), tmp_path / "spoken.pcap", [spoken(rng) for _ in range(3_000)]) == []
