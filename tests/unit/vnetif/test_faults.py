"""What a lan can do to frames: each fault does what its name says, to as many frames as told, and says why."""

from __future__ import annotations

import random
from itertools import groupby, pairwise
from typing import Any

import pytest

from mirage_lab.runtime import World
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.wire import ipv4
from mirage_lab.tracing.capture import Capture
from mirage_lab.vnetif import Segment
from mirage_lab.vnetif.discipline import INTERVAL, TARGET, Codel, Red
from mirage_lab.vnetif.faults import marked, pure_ack

ONE, TWO = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"


class Line:
    """One station sends to another; what arrives, and when."""

    def __init__(self, seed: int = 1, **faults: Any) -> None:
        self.world = World(seed)
        self.lan = Segment(self.world, "br0", **faults)
        self.capture = Capture("br0")
        self.lan.captures.append(self.capture)
        self.heard: list[tuple[int, bytes]] = []
        self.port = self.lan.attach("one", lambda frame: None)
        self.other = self.lan.attach("other", lambda frame: self.heard.append((self.world.now, frame)))
        self.other.send(TWO + TWO + b"\x88\xb5")
        self.world.advance(ms(1))

    def send(self, count: int, every: int = 0, body: bytes = bytes(100), ethertype: bytes = b"\x88\xb5") -> None:
        for number in range(count):
            self.world.call_at(Ns(self.world.now + number * every), self.port.send, TWO + ONE + ethertype + number.to_bytes(4, "big") + body)
        self.world.advance(Ns(self.world.now + seconds(60)))

    def arrived(self) -> list[int]:
        return [int.from_bytes(frame[14:18], "big") for _, frame in self.heard]

    def lost(self) -> dict[str, int]:
        return dict(self.lan.statistics().lost)


def ip_packet(ecn: int, size: int = 1_000) -> bytes:
    return ipv4.encode(ipv4.Header(1, 2, 17, 20 + size, tos=ecn)) + bytes(size)


def test_bursts_lose_the_share_that_was_told_and_so_many_in_a_row() -> None:
    line = Line(loss=0.1, burst=5)
    line.send(20_000)
    gone = [bool(seen.lost) for seen in line.capture.frames[1:]]
    rows = [len(list(group)) for lost, group in groupby(gone) if lost]
    assert 0.08 < sum(gone) / len(gone) < 0.12 and 4.5 < sum(rows) / len(rows) < 5.5
    alone = Line(loss=0.1)
    alone.send(20_000)
    rows = [len(list(group)) for lost, group in groupby(bool(seen.lost) for seen in alone.capture.frames) if lost]
    assert sum(rows) / len(rows) < 1.3


def test_the_nth_frame_is_lost_and_counting_begins_when_it_is_said() -> None:
    line = Line()
    line.send(3)
    line.lan.set(nth=(2, 4))
    line.send(5)
    assert line.arrived() == [0, 1, 2, 0, 2, 4] and line.lost() == {"nth": 2}
    line.lan.set(nth=1)
    line.send(2)
    assert line.arrived()[6:] == [1]


def test_a_blackout_loses_everything_between_two_times() -> None:
    line = Line()
    line.lan.set(blackout=(ms(101), ms(201)))
    line.send(400, every=ms(1))
    assert line.arrived() == [n for n in range(400) if not 100 <= n < 200]
    assert line.lost() == {"blackout": 100}


def test_corruption_changes_one_bit_behind_the_header_and_is_noted() -> None:
    line = Line(corrupt=0.25)
    line.send(2_000)
    changed = 0
    for number, (_, frame) in enumerate(line.heard):
        difference = int.from_bytes(frame, "big") ^ int.from_bytes(TWO + ONE + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(100), "big")
        assert difference.bit_count() <= 1 and difference >> 8 * 104 == 0
        changed += difference.bit_count()
    assert 400 < changed < 600
    assert changed == sum(seen.fate == "corrupted" for seen in line.capture.frames)


def test_frames_over_the_mtu_are_lost_and_trailing_bytes_are_added_behind() -> None:
    line = Line(mtu=104, trailing=5)
    line.send(1, body=bytes(100))
    line.send(1, body=bytes(101))
    [(_, frame)] = line.heard
    assert len(frame) == 14 + 104 + 5 and line.lost() == {"over the MTU": 1}


def test_only_segments_without_data_count_as_pure_acks() -> None:
    def segment(flags: int, data: bytes = b"", options: bytes = b"", trailing: bytes = b"") -> bytes:
        tcp = bytes(12) + bytes((5 + len(options) // 4 << 4, flags)) + bytes(6) + options + data
        return TWO + ONE + b"\x08\x00" + ipv4.encode(ipv4.Header(1, 2, 6, 20 + len(tcp))) + tcp + trailing

    assert pure_ack(segment(0x10)) and pure_ack(segment(0x10, options=bytes(12))) and pure_ack(segment(0x10, trailing=bytes(6)))
    assert not pure_ack(segment(0x10, b"x")) and not pure_ack(segment(0x12)) and not pure_ack(segment(0x11)) and not pure_ack(segment(0x14))
    for size in range(60):
        assert not pure_ack(segment(0x10)[: min(size, 53)])


@pytest.mark.parametrize("ecn", [1, 2, 3])
def test_a_mark_is_congestion_experienced_with_a_right_checksum(ecn: int) -> None:
    for seed in range(50):
        length = random.Random(seed).randrange(1, 1_400)
        frame = marked(TWO + ONE + b"\x08\x00" + ip_packet(ecn, length))
        assert frame is not None and frame[15] & 3 == 3
        assert int.from_bytes(frame[14:34], "big") % 0xFFFF == 0
    assert marked(TWO + ONE + b"\x08\x00" + ip_packet(0)) is None
    assert marked(TWO + ONE + b"\x86\xdd" + bytes(40)) is None
    six = marked(TWO + ONE + b"\x86\xdd" + b"\x60\x10" + bytes(38))
    assert six is not None and six[14:16] == b"\x60\x30"


def test_codel_leaves_short_waits_alone_and_drops_when_the_shortest_was_long() -> None:
    """RFC 8289 section 5: nothing before one interval above the target, then at 0, 100, 100/sqrt(2), ... ms."""
    codel, dropped = Codel(), []
    for at in range(2_000):
        now = at * ms(1)
        queue = [(f"{at}", TARGET + 1, 10_000)] * 3

        def drop(what: str, now: int = now) -> None:
            dropped.append(now)

        assert codel.dequeue(now, lambda queue=queue: queue.pop() if queue else None, drop) is not None  # type: ignore[misc]
    assert dropped[0] == INTERVAL
    gaps = [later - sooner for sooner, later in pairwise(dropped)]
    assert gaps[0] == INTERVAL and abs(gaps[1] - INTERVAL / 2**0.5) <= ms(1) and abs(gaps[8] - INTERVAL / 9**0.5) <= ms(1)
    assert codel.dequeue(ms(2_000), lambda: ("short", TARGET - 1, 10_000), lambda what: None) == "short" and not codel.dropping
    assert codel.dequeue(ms(2_001), lambda: None, lambda what: None) is None


def test_red_drops_nothing_below_its_lower_length_and_all_at_twice_the_upper() -> None:
    red = Red(random.Random(1), 60)
    assert not any(red.drops(9, now, 1_000) for now in range(0, 10**8, 1_000))
    red = Red(random.Random(1), 60)
    assert sum(red.drops(20, 0, 1_000) for _ in range(20_000)) in range(1_800, 2_000)  # the gaps are spread evenly over 1 to 1 over 0.05
    red = Red(random.Random(1), 60)
    [*_, last] = [red.drops(70, 0, 1_000) for _ in range(10_000)]
    assert last and red.mean > 2 * red.upper
    assert not red.drops(0, 10**12, 1_000) and red.mean < red.lower


@pytest.mark.parametrize(("discipline", "reason"), [("red", "RED"), ("codel", "CoDel")])
def test_a_discipline_keeps_the_queue_short_and_tells_its_drops(discipline: str, reason: str) -> None:
    def waits(**faults: Any) -> tuple[list[int], Line]:
        line = Line(rate=8_000_000, **faults)
        line.world.recorder.enable("lan.queue")
        line.send(6_000, every=990_000, body=bytes(1_000))
        return [event.fields["bytes"] for event in line.world.recorder.events("lan.queue")][3_000:], line

    plain, line = waits(queue=60)
    short, other = waits(queue=60, discipline=discipline)
    assert line.lost().keys() == {"queue full"} and other.lost()[reason] > 50
    assert sum(short) / len(short) < 0.75 * sum(plain) / len(plain)
    assert other.arrived() == sorted(other.arrived())


@pytest.mark.parametrize("discipline", ["red", "codel"])
def test_a_discipline_marks_who_speaks_ecn_instead_of_dropping(discipline: str) -> None:
    line = Line(rate=8_000_000, queue=600, discipline=discipline)
    for number in range(3_000):
        line.world.call_at(Ns(line.world.now + number * 950_000), line.port.send, TWO + ONE + b"\x08\x00" + ip_packet(2))
    line.world.advance(seconds(60))
    marks = sum(frame[15] & 3 == 3 for _, frame in line.heard)
    assert marks > 5 and line.lost() == {} and len(line.heard) == 3_000
    assert marks == sum(seen.fate == "marked CE" for seen in line.capture.frames)


def test_codel_lets_nothing_behind_when_the_discipline_changes() -> None:
    line = Line(rate=8_000_000, discipline="codel")
    for number in range(50):
        line.port.send(TWO + ONE + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(1_000))
    line.world.advance(Ns(line.world.now + ms(10)))
    line.lan.set(discipline="droptail")
    line.port.send(TWO + ONE + b"\x88\xb5" + (50).to_bytes(4, "big"))
    line.world.advance(seconds(10))
    assert line.arrived() == list(range(51))


@pytest.mark.parametrize(
    "fault",
    [
        {"burst": 0.5}, {"ack_loss": 2}, {"nth": (0,)}, {"nth": "3"}, {"corrupt": -1}, {"trailing": 47}, {"mtu": 20}, {"mtu": True},
        {"discipline": "fifo"}, {"blackout": 5}, {"blackout": (2, 1)}, {"nth": tuple(range(1, 2_000))}, {"rate": 0}, {"rates": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_fault_cannot_be_is_said_and_changes_nothing(fault: dict[str, Any]) -> None:
    line = Line(latency=ms(1))
    before = line.lan.faults
    with pytest.raises(LocalProtocolError, match=next(iter(fault))):
        line.lan.set(latency=ms(2), **fault)
    assert line.lan.faults == before and line.lan.active == {"latency": ms(1)}


def test_the_same_seed_gives_the_same_bytes_under_every_fault() -> None:
    def run(seed: int) -> list[tuple[int, bytes]]:
        line = Line(seed, latency=ms(1), jitter=ms(2), loss=0.1, burst=3, corrupt=0.1, reorder=0.1, duplicate=0.1, rate=8_000_000, queue=30, discipline="red")
        line.send(500, every=500_000, body=bytes(600))
        return line.heard

    assert run(1) == run(1) != run(2)
