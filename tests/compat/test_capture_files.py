"""Captures that tshark's own tools wrote are read as tshark reads them."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_lab import Lab, ms, read_capture, seconds


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("captures") / "ours.pcapng"
    with Lab.demo("web", seed=1) as lab:
        lab.lans[0].set(latency=ms(3), loss=0.05)
        for _ in range(5):
            lab.fetch("10.0.0.2", within=seconds(60))
        lab.traces[0].save(path)
    return path


def run(program: str, *words: str | Path) -> str:
    done = subprocess.run([program, *words], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def theirs(program: str, path: Path) -> list[tuple[int, str, str]]:
    """What tshark says of each frame: Unix time (ns), source, TCP sequence number."""
    rows = json.loads(run(program, "-n", "-r", path, "-T", "json", "-e", "frame.time_epoch", "-e", "ip.src", "-e", "tcp.seq_raw"))
    found = []
    for row in rows:
        seen = row["_source"]["layers"]
        whole, _, part = seen["frame.time_epoch"][0].partition(".")
        found.append((int(whole) * 10**9 + int(part.ljust(9, "0")), seen.get("ip.src", [""])[0], seen.get("tcp.seq_raw", [""])[0]))
    return found


def read(path: Path) -> list[tuple[int, str, str]]:
    trace = read_capture(path)
    found = []
    for frame in trace:
        packet = trace.packet(frame.n)
        ip = any(layer.name == "IPv4" for layer in packet.layers)
        found.append((trace.epoch_ns + frame.t, packet.src if ip else "", str(packet.tcp.seq) if packet.tcp else ""))
    return found


@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng"])
def test_each_format_editcap_writes(require: Callable[[str], str], ours: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"theirs.{form}"
    run(require("editcap"), "-F", form, ours, path)
    assert read(path) == theirs(require("tshark"), path)


def test_two_captures_merged_into_one_and_packed(require: Callable[[str], str], ours: Path, tmp_path: Path) -> None:
    shifted, merged = tmp_path / "shifted.pcap", tmp_path / "merged.pcapng"
    run(require("editcap"), "-F", "nsecpcap", "-t", "0.000000777", ours, shifted)
    run(require("mergecap"), "-w", merged, ours, shifted)
    assert read(merged) == theirs(require("tshark"), merged)
    packed = tmp_path / "merged.pcapng.gz"
    packed.write_bytes(gzip.compress(merged.read_bytes()))
    assert read(packed) == theirs(require("tshark"), packed)


def test_what_we_read_and_save_again_is_the_same_to_tshark(require: Callable[[str], str], ours: Path, tmp_path: Path) -> None:
    foreign, again = tmp_path / "foreign.pcap", tmp_path / "again.pcapng"
    run(require("editcap"), "-F", "pcap", ours, foreign)
    read_capture(foreign).save(again)
    assert theirs(require("tshark"), again) == theirs(require("tshark"), foreign)
