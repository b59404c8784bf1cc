"""Display filter: what it costs to look at a frame."""

from __future__ import annotations

from bench.row import Row, cpu_of
from mirage_lab import Lab
from mirage_lab.tcpip.displayfilter import compile_filter
from mirage_lab.tracing.capture import Capture

__all__ = ["run"]

FRAMES = 100_000
FILTERS = (
    "tcp.port == 80",
    "tcp.port == 80 and ip.src == 10.0.0.2",
    "tcp.flags.syn == 1 and tcp.flags.ack == 0",
    'tcp.payload contains "GET"',
)


def spoken() -> Capture:
    """Return frames of a web server that was asked, again and again."""
    capture = Capture("bench")
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2")
        frames = list(lab.traces[0])
    for n in range(FRAMES):
        capture.frame(n * 1_000, frames[n % len(frames)].data)
    return capture


def run() -> list[Row]:
    """Measure."""
    rows = []
    frames = list(spoken().frames)
    for text in FILTERS:
        matches = compile_filter(text).matches

        def work() -> None:
            for frame in frames:
                matches(frame.n, frame.t, frame.data)  # noqa: B023

        took = cpu_of(5, work) * 1e6 / FRAMES
        rows.append(Row(f"display filter `{text}`", took, "us a frame", "< 8", took < 8))
    took = cpu_of(5, lambda: compile_filter(FILTERS[1])) * 1e6
    rows.append(Row("display filter with two comparisons read", took, "us of CPU"))
    return rows
