"""Plots: what it costs to read and to draw a capture of 100,000 frames."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from bench.row import Row, cpu_of
from mirage_lab import Lab, read_capture, seconds
from mirage_lab.plot.flows import flows
from mirage_lab.plot.segments import segments
from mirage_lab.tracing.capture import Capture

__all__ = ["run"]

FRAMES = 100_000


def long_flow() -> Capture:
    """Return a capture of one connection of `FRAMES` frames: two segments of 1,460 bytes, and an acknowledgment."""
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2", within=seconds(9))
        said = [frame.data for frame in lab.traces[0] if frame.data[23:24] == b"\x06"]
    client, server = next((data, other) for data, other in pairwise(said) if data[34:36] == other[36:38])
    capture = Capture("long")
    server, client = server[:16] + (1_500).to_bytes(2, "big") + server[18:], client[:16] + (40).to_bytes(2, "big") + client[18:]
    for number in range(FRAMES):
        upto = (number - number % 3) // 3 * 2_920
        if number % 3 < 2:
            seq = (upto + 1_460 * (number % 3)).to_bytes(4, "big")
            data = server[:38] + seq + server[42:46] + b"\x50\x10" + server[48:54] + bytes(1_460)
        else:
            data = client[:42] + (upto + 2_920).to_bytes(4, "big") + b"\x50\x10" + client[48:54]
        capture.frame(number * 10_000, data)
    return capture


def run() -> list[Row]:
    """Measure."""
    capture = long_flow()
    with tempfile.TemporaryDirectory() as folder:
        from mirage_lab.tracing.pcapng import save

        path = Path(folder) / "long.pcapng"
        save(capture, path, epoch_ns=0)
        trace = read_capture(path)

        def drawn(draw: Callable[[], object]) -> Callable[[], object]:
            return lambda: draw()._repr_png_()  # type: ignore[attr-defined]

        works: list[tuple[str, Callable[[], object], float]] = [
            ("read_capture", lambda: read_capture(path), 2),
            ("flows", lambda: flows(segments(capture)), 2),
            ("time_sequence, as PNG", drawn(lambda: trace.time_sequence()), 6),
            ("throughput, as PNG", drawn(lambda: trace.throughput()), 3),
            ("outstanding, as PNG", drawn(lambda: trace.outstanding()), 6),
            ("round_trip, as PNG", drawn(lambda: trace.round_trip()), 6),
            ("the last 60 frames as a ladder, as PNG", drawn(lambda: trace.ladder(start=FRAMES - 59)), 4),
            ("follow", lambda: trace.follow(FRAMES // 2), 4),
        ]
        rows = []
        for what, work, goal in works:
            took = cpu_of(1, work)
            rows.append(Row(f"{what}, {FRAMES:,} frames", took, "s of CPU", f"<= {goal:g}", took <= goal))
        return rows
