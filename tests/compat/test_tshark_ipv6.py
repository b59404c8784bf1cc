"""tshark reads what crossed a lan of two IPv6 stacks and a router that announces, and has nothing to complain about."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirage_lab import Lab, devices, ms, read_capture, seconds, unikernel
from mirage_lab.runtime import tasks
from mirage_lab.signatures import StackV4V6
from mirage_lab.tcpip.displayfilter import compile_filter

DATA = random.Random(6).randbytes(100_000)
CHECKED = ("-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "ipv6.defragment:FALSE")


def captured(path: Path, **faults: object) -> int:
    """Save what two unikernels say to each other; return how many bytes came whole."""
    lab = Lab(seed=6, name="tshark6")
    lan = lab.lan("br0", latency=ms(1), ipv6="fd00:1::/64")
    lab.capture(lan)
    got = bytearray()

    @unikernel
    async def server(stack: StackV4V6) -> None:
        async def serve(flow: Any) -> None:
            while data := await flow.read():
                got.extend(data)
            await flow.close()

        stack.listen_tcp(80, serve)
        stack.listen_udp(9, lambda src, port, data: None)
        await stack.listen()

    @unikernel
    async def client(stack: StackV4V6) -> None:
        await tasks.sleep(seconds(6))
        flow = await stack.tcp.create_connection(("2001:db8::2", 80))
        await flow.write(DATA)
        await flow.close()
        for _ in range(3):
            stack.udp.write("2001:db8::2", 9, DATA[:4_000])
            stack.udp.write("2001:db8::2", 10, b"nobody")
            await tasks.sleep(seconds(1))

    for unikernel_, number in ((server, 2), (client, 3)):
        tcpip = devices.direct_stackv4v6(devices.netif("0"), address=f"10.0.0.{number}/24", address6=f"2001:db8::{number}/64")
        lab.create(unikernel_(tcpip), vif=[lan]).unpause()
    lab.run(seconds(5))
    if faults:
        lan.set(**faults)
    lab.run(seconds(60))
    lab.traces[0].save(path)
    assert bytes(got) == DATA
    lab.close()
    return len(got)


def tshark(program: str, path: Path, *words: str) -> str:
    done = subprocess.run([program, "-n", "-r", path, *CHECKED, *words], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


@pytest.mark.parametrize("faults", [{}, {"loss": 0.05}, {"reorder": 0.2, "duplicate": 0.1}], ids=str)
def test_of_what_crossed_the_lan_the_expert_finds_no_error(require: Callable[[str], str], tmp_path: Path, faults: dict[str, Any]) -> None:
    path, crossed, program = tmp_path / "all.pcapng", tmp_path / "crossed.pcapng", require("tshark")
    captured(path, **faults)
    tshark(program, path, "-Y", "!frame.comment", "-w", str(crossed))
    told = tshark(program, crossed, "-q", "-z", "expert,error")
    assert "Error" not in told, told
    wrong = "tcp.checksum.status == 0 || udp.checksum.status == 0 || icmpv6.checksum.status == 0 || _ws.malformed"
    assert tshark(program, crossed, "-Y", wrong) == ""


def test_tshark_sees_the_messages_we_say(require: Callable[[str], str], tmp_path: Path) -> None:
    path, program = tmp_path / "all.pcapng", require("tshark")
    captured(path)
    for words in (
        "icmpv6.type == 134 && icmpv6.opt.prefix == fd00:1:: && icmpv6.opt.prefix.length == 64",
        "icmpv6.type == 135 && ipv6.src == :: && ipv6.hlim == 255",
        "icmpv6.type == 136 && icmpv6.nd.na.target_address == 2001:db8::2 && icmpv6.opt.linkaddr",
        "icmpv6.type == 1 && icmpv6.code == 4",
        "ipv6.fraghdr.offset > 0",
        "tcp.flags.syn == 1 && ipv6.addr == 2001:db8::3 && tcp.options.mss_val == 1440",
    ):
        assert tshark(program, path, "-Y", words) != "", words


@pytest.mark.parametrize(
    "words",
    [
        "ipv6", "icmpv6", "icmpv6.type == 135", "icmpv6.code == 4", "ipv6.src == fe80::/10", "ipv6.addr == 2001:db8::2", "ipv6.nxt == 44",
        "ipv6.plen > 1000", "ipv6.hlim == 255", "tcp.port == 80", "tcp.stream == 0 && tcp.seq > 50000", "udp.port == 9", "udp", "tcp.len == 1428",
        "icmpv6.nd.ns.target_address == 2001:db8::2", "icmpv6.nd.na.target_address == 2001:db8::2", "ipv6.dst[0:2] == ff:02", "ipv6.tclass.ecn == 0",
    ],
)  # fmt: skip
def test_a_filter_lets_pass_what_tshark_lets_pass(require: Callable[[str], str], captures: tuple[Path, list[bytes]], words: str) -> None:
    path, frames = captures
    wanted = compile_filter(words)
    ours = [n for n, frame in enumerate(frames, 1) if wanted.matches(n, n, frame)]
    theirs = [int(n) for n in tshark(require("tshark"), path, "-Y", words, "-T", "fields", "-e", "frame.number").split()]
    assert ours == theirs and ours


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    path = tmp_path_factory.mktemp("ipv6") / "all.pcapng"
    captured(path)
    return path, [frame.data for frame in read_capture(path)]
