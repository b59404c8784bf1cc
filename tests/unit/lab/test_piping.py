"""A capture is fed to a program as it grows; a program that ends, hangs or is not there is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mirage_lab import Lab, read_capture, seconds
from mirage_lab.lab import piping
from mirage_lab.lab.said import LabError

COPY = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"


def test_a_program_gets_every_frame_also_those_that_come_later(tmp_path: Path) -> None:
    with Lab.demo("web", seed=1) as lab:
        trace = lab.traces[0]
        with trace.pipe(sys.executable, "-c", COPY, str(tmp_path / "fed.pcapng")) as pipe:
            lab.fetch("10.0.0.2", within=seconds(9))
            lab.run(seconds(1))
        fed = read_capture(tmp_path / "fed.pcapng")
        assert [(fed.epoch_ns + frame.t, frame.data, frame.port) for frame in fed] == [(trace.epoch_ns + frame.t, frame.data, frame.port) for frame in trace]
        assert pipe.sent == len(trace) > 10 and not pipe.running and "ended" in repr(pipe)
        some = trace.filter("tcp.flags.syn == 1")
        with some.pipe(sys.executable, "-c", COPY, str(tmp_path / "some.pcapng")) as pipe:
            pass
        assert len(read_capture(tmp_path / "some.pcapng")) == len(some) == pipe.sent and not pipe.missed


def test_what_a_program_prints_is_kept_bounded_and_its_failure_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piping, "KEPT", 100)
    with Lab.demo("web", seed=1) as lab:
        with lab.traces[0].pipe(sys.executable, "-c", "import sys; sys.stdin.buffer.read(); print('x' * 1000 + 'no such thing'); sys.exit(3)") as pipe:
            pass
        assert "it ended with 3" in repr(pipe) and "no such thing" in repr(pipe) and len(pipe.text) <= 100
        with lab.traces[0].pipe(sys.executable, "-c", "pass") as pipe:
            pass
        assert not pipe.running


def test_a_program_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piping, "PATIENCE", 0.2)
    with Lab.demo("web", seed=1) as lab:
        pipe = lab.traces[0].pipe(sys.executable, "-c", "import threading; threading.Event().wait()")
        assert pipe.running
        assert "was stopped" in pipe.close() and not pipe.running


def test_a_program_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab.demo("web", seed=1) as lab:
        with pytest.raises(LabError, match="no-such-shark; echo is not installed"):
            lab.traces[0].pipe("no-such-shark; echo")
        with pytest.raises(LabError, match="texts"):
            lab.traces[0].pipe(sys.executable, 7)  # type: ignore[arg-type]
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(LabError, match="neither wireshark nor tshark"):
            lab.traces[0].pipe()
