"""echo, discard and chargen: over TCP, over UDP, and never with each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mirage_lab import Lab, devices, ms, seconds
from mirage_lab.runtime import tasks
from mirage_lab.skeleton import services
from mirage_lab.skeleton.services import chargen_lines
from mirage_lab.tcpip.stack import Stack


def stack_of(address: str) -> Any:
    return devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=f"{address}/24", gateway="10.0.0.1")


@pytest.fixture
def lab() -> Any:
    with Lab(seed=1, name="services") as lab:
        lan = lab.lan("br0", latency=ms(1))
        lab.capture(lan)
        for name, address in (("one", "10.0.0.2"), ("other", "10.0.0.3")):
            lab.create(services(devices.default_console, stack_of(address)), vif=[lan], name=name).unpause()
        lab.run(seconds(1))
        yield lab


def talk(lab: Lab, client: Callable[[Stack], Any]) -> Any:
    gateway = lab.machine.gateways["br0"]
    task = gateway.queue.spawn(client(gateway.stack))
    lab.run(seconds(20))
    return task.result


def test_echo_sends_back_what_arrives_and_discard_nothing(lab: Lab) -> None:
    """RFC 862, RFC 863."""

    async def client(stack: Stack) -> list[bytes]:
        told = []
        for port in (7, 9):
            flow = await stack.tcpv4.create_connection(("10.0.0.2", port))
            await flow.write(b"hello")
            await tasks.sleep(ms(100))
            await flow.close()
            found = b""
            while data := await flow.read():
                found += data
            told.append(found)
        return told

    assert talk(lab, client) == [b"hello", b""]


def test_chargen_sends_lines_that_turn_until_the_other_end_has_enough(lab: Lab) -> None:
    """RFC 864: 72 characters a line, each line beginning one further."""

    async def client(stack: Stack) -> bytes:
        flow = await stack.tcpv4.create_connection(("10.0.0.2", 19))
        found = b""
        while len(found) < 20_000:
            found += await flow.read()
        flow.abort()
        return found

    lines = talk(lab, client).split(b"\r\n")
    first = bytes(range(0x20, 0x7F))
    assert lines[0] == first[:72] and lines[1] == first[1:73] and lines[94] == first[94:] + first[:71] and lines[95] == lines[0]
    assert lab.vm("one").state != "crashed"


def test_datagrams_are_echoed_discarded_and_answered_with_a_line(lab: Lab) -> None:
    heard: list[tuple[str, int, bytes]] = []

    async def client(stack: Stack) -> None:
        stack.listen_udpv4(5_000, lambda src, port, data: heard.append((src, port, data)))
        for port in (7, 9, 19, 19):
            stack.udpv4.write("10.0.0.2", port, b"hello", src_port=5_000)

    talk(lab, client)
    lines = chargen_lines()
    assert heard == [("10.0.0.2", 7, b"hello"), ("10.0.0.2", 19, next(lines)), ("10.0.0.2", 19, next(lines))]


def test_two_services_never_answer_each_other(lab: Lab) -> None:
    """CERT CA-1996-01: a forged datagram from chargen to echo would keep both busy for ever."""

    async def client(stack: Stack) -> None:
        for port in (7, 9, 19, 53, 1_023):
            for to in (7, 19):
                stack.udpv4.write("10.0.0.2", to, b"from a service", src_port=port)

    before = len(lab.traces[0].capture.frames)
    talk(lab, client)
    sent = [frame.data for frame in lab.traces[0].capture.frames[before:] if frame.data[23:24] == b"\x11"]
    assert len(sent) == 10 and all(frame[26:30] == b"\x0a\0\0\x01" for frame in sent)
