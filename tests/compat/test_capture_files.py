"""Captures that tshark's own tools wrote are read as tshark reads them."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_lab import Lab, devices, ms, read_capture, seconds
from mirage_lab.plot.flows import outstanding, round_trips
from mirage_lab.skeleton import static_website


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("captures") / "ours.pcapng"
    with Lab(seed=1, name="captures") as lab:
        lan = lab.lan("br0", latency=ms(3))
        lab.capture(lan)
        tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1")
        files = devices.crunch({"index.html": bytes(range(250)) * 200})
        lab.create(static_website(devices.default_console, files, tcpip), vif=[lan]).unpause()
        lab.run(seconds(1))
        lan.set(loss=0.05)
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


def test_tshark_counts_the_same_conversations_and_intervals(require: Callable[[str], str], ours: Path) -> None:
    trace, program = read_capture(ours), require("tshark")
    told = [line.split() for line in run(program, "-n", "-r", ours, "-q", "-z", "conv,tcp").splitlines() if "<->" in line]
    table = trace.conversations("tcp")
    mine = sorted((f"{row.a}:{row.a_port}", f"{row.b}:{row.b_port}", row.frames_b_a, row.frames_a_b, row.frames) for row in table.itertuples())
    assert sorted((row[0], row[2], int(row[3]), int(row[6]), int(row[9])) for row in told) == mine and len(mine) == 5
    told = [line.replace("<>", "|").split("|") for line in run(program, "-n", "-r", ours, "-q", "-z", "io,stat,0.1,tcp.len>0").splitlines() if "<>" in line]
    rows = trace.io_table("tcp.len>0", interval_ns=100_000_000)
    assert [(int(row[3]), int(row[4])) for row in told] == list(zip(rows["frames tcp.len>0"], rows["bytes tcp.len>0"]))


def test_tshark_follows_the_same_bytes(require: Callable[[str], str], ours: Path) -> None:
    trace = read_capture(ours)
    syn = trace.filter("tcp.flags == 0x02").numbers[2]
    stream = trace.follow(syn)
    number = run(require("tshark"), "-n", "-r", ours, "-Y", f"frame.number == {syn}", "-T", "fields", "-e", "tcp.stream").strip()
    lines = run(require("tshark"), "-n", "-r", ours, "-q", "-z", f"follow,tcp,raw,{number}").splitlines()[6:-1]
    assert bytes.fromhex("".join(line for line in lines if not line.startswith("\t"))) == stream.sent
    assert bytes.fromhex("".join(line.strip() for line in lines if line.startswith("\t"))) == stream.received


def test_tshark_sees_the_same_round_trips_and_bytes_in_flight(require: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "clean.pcapng"
    with Lab.demo("web", seed=1) as lab:
        lab.lans[0].set(latency=ms(3))
        lab.fetch("10.0.0.2", within=seconds(60))
        lab.traces[0].save(path)
    trace = read_capture(path)
    words = ("-T", "fields", "-e", "frame.number", "-e", "tcp.analysis.ack_rtt", "-e", "tcp.analysis.bytes_in_flight", "-e", "tcp.window_size")
    told = [line.split("\t") for line in run(require("tshark"), "-n", "-r", path, *words).splitlines()]
    theirs = sorted(round(float(row[1]) * 1e9) for row in told if row[1])
    assert theirs == sorted(trip for flow in trace.flows for _, trip, _ in round_trips(flow)) and len(theirs) > 3
    flight = max(int(row[2]) for row in told if row[2])
    assert flight == max(level.bytes for flow in trace.flows for level in outstanding(flow))


def test_marks_agree_with_tsharks_analysis(require: Callable[[str], str], ours: Path) -> None:
    trace = read_capture(ours)

    def theirs(wanted: str) -> set[int]:
        return set(map(int, run(require("tshark"), "-n", "-r", ours, "-Y", wanted, "-T", "fields", "-e", "frame.number").split()))

    # tshark calls a retransmission that comes within a round trip of newer data out of order; these bytes were seen before.
    again = {one.n for flow in trace.flows for one in flow.sent if one.retransmitted}
    assert again and again == theirs("tcp.analysis.retransmission || tcp.analysis.out_of_order")
    # It calls an acknowledgment a duplicate also when nothing was out (RFC 5681 section 2 does not).
    repeated = {one.n for flow in trace.flows for one in flow.acked if one.duplicate}
    idle = {
        one.n for flow in trace.flows for one in flow.acked
        if not one.duplicate and all(sent.end <= one.ack for sent in flow.sent if sent.n < one.n)
    }
    told = theirs("tcp.analysis.duplicate_ack")
    assert repeated and repeated <= told and told - repeated <= idle


def test_a_live_tshark_reads_what_is_piped_to_it(require: Callable[[str], str]) -> None:
    require("tshark")
    with Lab.demo("web", seed=1) as lab:
        trace = lab.traces[0]
        with trace.pipe("tshark", "-n", "-l", "-r", "-", "-T", "fields", "-e", "frame.number", "-e", "frame.len") as pipe:
            for _ in range(3):
                lab.fetch("10.0.0.2", within=seconds(9))
        told = [tuple(map(int, line.split("\t"))) for line in pipe.text.splitlines() if line[:1].isdigit()]
        assert told == [(frame.n, len(frame.data)) for frame in trace] and len(told) > 20
