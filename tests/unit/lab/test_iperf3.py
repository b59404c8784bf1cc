"""The iperf3 of the skeleton: the protocol between two unikernels, and peers that do not keep to it."""

from __future__ import annotations

import json
import re

import pytest

from mirage_lab import Lab, devices, ms, seconds, unikernel
from mirage_lab.lab.handles import Vm
from mirage_lab.signatures import Console, StackV4
from mirage_lab.signatures.errors import MirageError
from mirage_lab.skeleton import iperf3, iperf3_client


def stack(number: int) -> object:
    return devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=f"10.0.0.{number}/24")


def served(lab: Lab) -> Vm:
    lan = lab.lan("br0", latency=ms(1))
    vm = lab.create(iperf3(devices.default_console, devices.default_clock, stack(2)), vif=[lan])
    vm.unpause()
    lab.run(ms(10))
    return vm


@pytest.mark.parametrize("reverse", [False, True])
def test_a_client_and_a_server_agree_on_what_was_carried(reverse: bool) -> None:
    with Lab(seed=1, name="iperf3") as lab:
        server = served(lab)
        client = lab.create(
            iperf3_client(devices.default_console, devices.default_clock, stack(3), server="10.0.0.2", mib=1, reverse=reverse), name="client", vif=["br0"]
        )
        client.unpause()
        lab.run(seconds(5))
        said = client.console.text
        found = re.fullmatch(r"iperf3: ([\d,]+) bytes (sent|received), the server counted ([\d,]+), [\d.]+ Mbit/s\n", said)
        assert found is not None and found[2] == ("received" if reverse else "sent"), said
        ours, theirs = (int(found[number].replace(",", "")) for number in (1, 3))
        received, sent = (ours, theirs) if reverse else (theirs, ours)
        assert 0 < received <= sent and min(ours, sent) >= 1 << 20
        assert f"{found[3]} bytes {'sent' if reverse else 'received'} over 1 in" in server.console.text


@unikernel
async def speaker(console: Console, stack: StackV4, *, pieces: str) -> None:
    """Say `pieces` (hex) to the server and print what comes."""
    flow = await stack.tcpv4.create_connection(("10.0.0.2", 5_201))
    for piece in pieces.split():
        await flow.write(bytes.fromhex(piece))
    try:
        while data := await flow.read():
            console.log(f"heard {data!r}")
        console.log("over")
    except MirageError:
        console.log("reset")


def said_to(lab: Lab, name: str, *pieces: bytes) -> Vm:
    vm = lab.create(speaker(devices.default_console, stack(len(name)), pieces=" ".join(piece.hex() for piece in pieces)), name=name, vif=["br0"])
    vm.unpause()
    lab.run(ms(200))
    return vm


def test_peers_that_speak_nonsense_are_cut_off_and_the_server_goes_on() -> None:
    cookie = b"a" * 36 + b"\0"
    deep = b"[" * 20_000
    with Lab(seed=1, name="iperf3") as lab:
        server = served(lab)
        for name, piece in (("abc", b"\xff\xff\xff\xff"), ("abcd", b"\0\0\0\2[]"), ("abcde", b"\0\0\0\3nul"), ("abcdef", len(deep).to_bytes(4, "big") + deep)):
            assert said_to(lab, name, cookie, piece).console.lines == ["heard b'\\t'", "over"]
        udp = json.dumps({"udp": True, "parallel": 1}).encode()
        assert "heard b'\\xfe\\x00\\x00\\x00\\r" in said_to(lab, "abcdefg", cookie, len(udp).to_bytes(4, "big") + udp).console.text
        assert server.console.text.count("ended the test early") == 5 and server.state == "blocked"


def test_one_test_at_a_time_and_none_more_streams_than_agreed() -> None:
    cookie, asked = b"a" * 36 + b"\0", json.dumps({"tcp": True, "parallel": 1}).encode()
    with Lab(seed=1, name="iperf3") as lab:
        server = served(lab)
        first = said_to(lab, "abc", cookie, len(asked).to_bytes(4, "big") + asked)
        assert said_to(lab, "abcd", b"b" * 36 + b"\0").console.lines == ["heard b'\\xff'", "over"]
        assert said_to(lab, "abcde", cookie).console.lines == []
        assert first.console.text.endswith("heard b'\\x01\\x02'\n") or first.console.text.endswith("heard b'\\x02'\n")
        assert said_to(lab, "abcdef", cookie).console.lines == ["over"]
        assert server.state == "blocked"
