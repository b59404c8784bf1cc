"""tshark reads what the lab captured, and has nothing to complain about."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirage_lab import Lab, devices, ms, seconds, unikernel
from mirage_lab.signatures import Console, StackV4
from mirage_lab.skeleton import router, services, static_website

BODY = random.Random(2).randbytes(200_000)
CHECKED = ("-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")


def captured(path: Path, profile: str | None = None, congestion: str | None = None, **faults: object) -> Lab:
    lab = Lab(seed=1, name="tshark")
    lan = lab.lan("br0", latency=ms(2))
    lab.capture(lan)
    tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1", profile=profile, congestion=congestion)
    files = devices.crunch({"index.html": BODY})
    lab.create(static_website(devices.default_console, files, tcpip), vif=[lan]).unpause()
    lab.run(seconds(1))
    if faults:
        lan.set(**faults)
    assert lab.fetch("10.0.0.2", within=seconds(120)).body == BODY
    lab.run(seconds(1))
    lab.traces[0].save(path)
    return lab


def tshark(program: str, path: Path, *words: str) -> str:
    done = subprocess.run([program, "-n", "-r", path, *CHECKED, *words], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_the_expert_finds_nothing_at_warning_or_error(require: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "web.pcapng"
    with captured(path):
        told = tshark(require("tshark"), path, "-q", "-z", "expert,warn")
        assert "Warn" not in told and "Error" not in told, told


def test_the_same_packets_are_seen(require: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "web.pcapng"
    with captured(path) as lab:
        rows = json.loads(
            tshark(
                require("tshark"), path, "-T", "json", "-e", "frame.len", "-e", "ip.src", "-e", "tcp.seq_raw", "-e", "tcp.len", "-e", "frame.time_epoch", "-e",
                "frame.interface_name",
            )
        )
        trace = lab.traces[0]
        assert len(rows) == len(trace)
        for row, frame, packet in zip(rows, trace, (trace.packet(n) for n in range(1, len(trace) + 1))):
            seen = row["_source"]["layers"]
            assert int(seen["frame.len"][0]) == len(frame.data) and seen["frame.interface_name"] == [frame.port]
            if packet.tcp is not None:
                assert seen["ip.src"] == [packet.src] and int(seen["tcp.seq_raw"][0]) == packet.tcp.seq and int(seen["tcp.len"][0]) == packet.tcp.length


def test_every_checksum_is_right_and_retransmissions_are_recognised(require: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "lossy.pcapng"
    with captured(path, loss=0.05) as lab:
        program = require("tshark")
        assert tshark(program, path, "-Y", "tcp.checksum.status == 0 || ip.checksum.status == 0") == ""
        theirs = len(tshark(program, path, "-Y", "tcp.analysis.retransmission").splitlines())
        assert theirs > 0 and len(lab.events("tcp.retransmit")) > 0


@pytest.mark.parametrize(
    "how",
    [
        {"loss": 0.05},
        {"loss": 0.03, "reorder": 0.2, "duplicate": 0.1, "congestion": "newreno"},
        {"rate": 10_000_000, "queue": 20, "congestion": "bbr"},
        {"loss": 0.03, "profile": "2014"},
    ],
    ids=str,
)
def test_of_what_crossed_the_lan_the_expert_finds_no_error(require: Callable[[str], str], tmp_path: Path, how: dict[str, Any]) -> None:
    """Frames that the lan lost are in the capture too, marked; without them no byte is sent twice with another length or out of a window."""
    path, crossed, program = tmp_path / "all.pcapng", tmp_path / "crossed.pcapng", require("tshark")
    with captured(path, **how):
        tshark(program, path, "-Y", "!frame.comment", "-w", str(crossed))
        told = tshark(program, crossed, "-q", "-z", "expert,error")
        assert "Error" not in told, told
        assert tshark(program, crossed, "-Y", "tcp.checksum.status == 0 || ip.checksum.status == 0") == ""
        assert tshark(program, crossed, "-Y", "tcp.analysis.window_full && tcp.analysis.zero_window_probe") == ""


def test_fragments_that_crossed_a_router_are_put_together(require: Callable[[str], str], tmp_path: Path) -> None:
    """8,000 bytes there and back, cut for 1,500 bytes, cut again for 600, as the second lan saw them."""
    path, program = tmp_path / "fragments.pcapng", require("tshark")
    static = devices.direct_stackv4_with_static_ipv4
    with Lab(seed=1, name="tshark") as lab:
        near, far = lab.lan("br0", latency=ms(1)), lab.lan("br1", subnet="10.1.0.0/24", latency=ms(1))
        trace = lab.capture(far)
        ways = (static(devices.netif("0"), address="10.0.0.254/24"), static(devices.netif("1"), address="10.1.0.254/24", mtu=600))
        lab.create(router(devices.default_console, devices.router(*ways)), vif=[near, far]).unpause()
        lab.create(services(devices.default_console, static(devices.netif("0"), address="10.1.0.2/24", gateway="10.1.0.254")), vif=[far]).unpause()
        client = static(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.254")
        vm = lab.create(teller(devices.default_console, client), vif=[near])
        vm.unpause()
        lab.run(seconds(2))
        said = vm.console.text
        trace.save(path)
    assert tshark(program, path, "-Y", "ip.checksum.status == 0 || udp.checksum.status == 0 || icmp.checksum.status == 0") == ""
    assert tshark(program, path, "-Y", "ip.fragment.overlap || ip.fragment.error || ip.fragment.overlap.conflict || ip.fragment.multipletails") == ""
    whole = tshark(program, path, "-Y", "udp.length == 8008", "-T", "fields", "-e", "ip.src", "-e", "ip.fragment.count").split()
    assert said == "8000 bytes came back\n"
    assert whole[0] == "10.0.0.2" and int(whole[1]) > 8_000 // 600 and whole[2:] == ["10.1.0.2", "6"]
    assert "Error" not in tshark(program, path, "-q", "-z", "expert,error")


@unikernel
async def teller(console: Console, stack: StackV4) -> None:
    """Says 8,000 bytes to the echo of services."""
    stack.listen_udpv4(5_000, lambda src, port, data: console.log(f"{len(data)} bytes came back"))
    stack.udpv4.write("10.1.0.2", 7, bytes(n % 251 for n in range(8_000)), 5_000)
    await stack.listen()


def test_tshark_sees_the_options_we_say(require: Callable[[str], str], tmp_path: Path) -> None:
    path, program = tmp_path / "web.pcapng", require("tshark")
    with captured(path, loss=0.05):
        offered = "tcp.options.mss_val == 1460 && tcp.options.sack_perm && tcp.options.timestamp.tsval && tcp.options.wscale.shift == 3"
        syns = tshark(program, path, "-Y", offered)
        assert len(syns.splitlines()) >= 2
        stamped = tshark(program, path, "-Y", "tcp && !tcp.flags.reset && !tcp.options.timestamp.tsval")
        assert stamped == "" and tshark(program, path, "-Y", "tcp.options.sack_le") != ""
