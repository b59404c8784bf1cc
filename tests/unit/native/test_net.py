"""A guest in C on a lan: its card, its ARP, its echoes and its TCP, with the lab's own stack at the other end."""

from __future__ import annotations

import pytest

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

from mirage_lab import Lab, compile_guest, devices, ms, native, seconds, unikernel
from mirage_lab.lab import LabError, Vm
from mirage_lab.signatures import Console, StackV4

each = pytest.mark.parametrize("arch", ("x86_64", "aarch64", "armv7"))


def served(lab: Lab, arch: str = "x86_64") -> Vm:
    """A web server in C on br0."""
    vm = lab.create(native.httpd(arch, memory_mib=8), vif=[lab.lan("br0", latency=ms(1))])
    vm.unpause()
    lab.run(ms(50))
    assert vm.console.text == "listening on 10.0.0.2/24 port 80\n"
    return vm


@unikernel
async def client(console: Console, stack: StackV4) -> None:
    """Echo, then a page."""
    console.log(f"echo after {await stack.icmpv4.ping('10.0.0.2')} ns")
    flow = await stack.tcpv4.create_connection(("10.0.0.2", 80))
    await flow.write(b"GET / HTTP/1.1\r\n")
    await flow.write(b"\r\n")
    page = b""
    while piece := await flow.read():
        page += piece
    console.log(page.partition(b"\r\n\r\n")[2].decode().rstrip())


def test_a_python_unikernel_pings_and_talks_tcp_to_machine_code_in_one_lan_and_one_trace() -> None:
    with Lab(seed=1) as lab:
        trace = lab.capture(lab.lan("br0"))
        served(lab)
        stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.3/24")
        other = lab.create(client(devices.default_console, stack), vif=[lab.lan("br0")])
        other.unpause()
        lab.run(seconds(2))
        assert other.console.text.splitlines()[1] == "hello from machine code on x86-64" and other.state == "shutdown"
        packets = {n: trace.packet(n) for n in range(1, len(trace) + 1)}
        assert {(packet.src, packet.dst) for packet in packets.values() if packet.tcp is not None} == {("10.0.0.3", "10.0.0.2"), ("10.0.0.2", "10.0.0.3")}
        answer = next(n for n, packet in packets.items() if packet.tcp is not None and packet.src == "10.0.0.2" and packet.tcp.length)
        assert {event.source for event in trace.causes(answer)} >= {"httpd", "dom0", "client"}


@each
def test_each_machine_answers_echoes_and_pages(arch: str) -> None:
    with Lab(seed=2) as lab:
        vm = served(lab, arch)
        assert "3 of 3 answered" in lab.ping("10.0.0.2")
        assert (lab.fetch("10.0.0.2").status, lab.fetch("10.0.0.2/none").status) == (200, 404)
        for _ in range(20):
            assert lab.fetch("10.0.0.2").body.startswith(b"hello from machine code on ")
        assert vm.state == "blocked"


def test_a_bad_lan_is_survived() -> None:
    with Lab(seed=3) as lab:
        vm = served(lab)
        lab.lan("br0", loss=0.2, reorder=0.2, duplicate=0.2, corrupt=0.05)
        for _ in range(5):
            assert lab.fetch("10.0.0.2", within=seconds(60)).status == 200
        assert vm.state in ("blocked", "running")


def test_a_port_where_nobody_listens_refuses() -> None:
    with Lab(seed=4) as lab:
        served(lab)
        with pytest.raises(LabError, match="refused"):
            lab.fetch("10.0.0.2:81")


def test_a_guest_without_a_card_says_what_it_lacks() -> None:
    with Lab(seed=5) as lab:
        image = compile_guest('#include <net.h>\nint main(void) { net_up("10.0.0.2"); return 0; }', memory_mib=8)
        vm = lab.create(image)
        vm.unpause()
        lab.run(ms(5))
        assert "there is no network card: lab.create(image, vif=[lan]) plugs one in" in vm.console.text and vm.state == "crashed"


def test_two_runs_make_the_same_packets() -> None:
    seen = []
    for _ in range(2):
        with Lab(seed=6) as lab:
            trace = lab.capture(lab.lan("br0"))
            served(lab)
            lab.fetch("10.0.0.2")
            lab.run(seconds(2))
            seen.append([(frame.t, frame.data) for frame in trace])
    assert seen[0] == seen[1] and len(seen[0]) > 10
