"""Some frames of a capture are a capture too, under the numbers they have there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tracing.capture import Capture
from mirage_lab.tracing.pcapng import save
from mirage_lab.tracing.savefile import load
from mirage_lab.tracing.selection import Selection


def every_third() -> tuple[Capture, Selection]:
    whole = Capture("br0")
    for n in range(1, 10):
        whole.frame(n * 10, bytes([n]) * 60, n, "web")
    some = Selection(whole, "br0, every third")
    for frame in whole.frames:
        if frame.n % 3 == 0:
            some.add(frame)
    return whole, some


def test_frames_keep_their_numbers() -> None:
    whole, some = every_third()
    assert some.numbers == [frame.n for frame in some.frames] == [3, 6, 9] and some.last == 9
    assert some.frame_number(6) == whole.frame_number(6)
    assert some.frame_number(5) is None and some.frame_number(12) is None
    assert [frame.n for frame in some.frames[1:]] == [6, 9] and some.frames[-1].n == 9


@pytest.mark.parametrize(("n", "numbers"), [(0, [3, 6, 9]), (2, [3, 6, 9]), (3, [6, 9]), (8, [9]), (9, [])])
def test_what_comes_after_a_number_is_found_and_counted(n: int, numbers: list[int]) -> None:
    whole, some = every_third()
    assert [frame.n for frame in some.since(n)] == numbers and some.after(n) == len(numbers)
    assert whole.after(n) == len(whole.since(n)) == 9 - n


def test_a_fate_told_later_is_seen() -> None:
    whole, some = every_third()
    whole.lost(6, "loss")
    assert [frame.lost for frame in some.frames] == ["", "loss", ""]


def test_a_selection_is_saved_like_a_capture(tmp_path: Path) -> None:
    _, some = every_third()
    save(some, tmp_path / "some.pcap", epoch_ns=0)
    assert [(record.time_ns, record.data[0]) for record in load(tmp_path / "some.pcap")] == [(30, 3), (60, 6), (90, 9)]


def test_frames_are_taken_in_order_and_captured_by_the_source() -> None:
    whole, some = every_third()
    with pytest.raises(LocalProtocolError, match="frame 2 does not come after frame 9"):
        some.add(whole.frames[1])
    with pytest.raises(LocalProtocolError, match="frames enter br0"):
        some.frame(0, b"")
    assert repr(some) == "<Selection br0, every third: 3 of 9 frames>"


def test_what_the_source_dropped_is_told_not_invented() -> None:
    whole = Capture("br0", limit_bytes=1_000)
    whole.frame(0, bytes(60))
    some = Selection(whole, "first")
    some.add(whole.frames[0])
    for n in range(20):
        whole.frame(n, bytes(60))
    assert whole.dropped > 0 and whole.after(0) == len(whole) == whole.last - whole.dropped
    with pytest.raises(LocalProtocolError, match="frame 1 is no longer kept by br0"):
        some.frame_number(1)
