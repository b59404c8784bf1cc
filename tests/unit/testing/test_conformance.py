"""Every implementation of a signature runs that signature's suite."""

from __future__ import annotations

from typing import Any

import pytest

from mirage_lab import Lab, configure, devices, ms, seconds, unikernel
from mirage_lab.runtime import tasks
from mirage_lab.signatures import Clock, Console, KvRo, Network, StackV4, Time
from mirage_lab.signatures.errors import MirageError
from mirage_lab.testing import Broken, Pair, Story, check_clock, check_console, check_flow, check_kv_ro, check_network, check_stackv4, check_time


async def outcome(check: Story) -> str:
    """Await a check and return "ok", or what it said: for a unikernel that prints it."""
    try:
        story = await check
    except (Broken, MirageError) as error:
        return str(error)
    return "ok" if story.steps else "nothing was checked"


FILES = {"index.html": b"<h1>hello</h1>", "a": b"", "deep/er.bin": bytes(range(256))}


def static(address: str, profile: str) -> Any:
    return devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=address, profile=profile)


def layered(address: str, profile: str) -> Any:
    eth = devices.etif(devices.netif("0"))
    ip = devices.ipv4(eth, devices.arp(eth), address=address)
    return devices.direct_stackv4(devices.udpv4(ip), devices.tcpv4(ip, profile=profile))


@pytest.mark.parametrize("make", [static, layered])
@pytest.mark.parametrize("profile", ["today", "2014"])
@pytest.mark.parametrize("loss", [0.0, 0.02])
def test_direct_stacks_over_two_netfronts_are_stackv4s_with_flows(make: Any, profile: str, loss: float) -> None:
    results: list[str] = []
    meet: dict[str, Any] = {}

    @unikernel
    async def server(stack: StackV4) -> None:
        meet["server"] = stack
        await stack.listen()

    @unikernel
    async def client(stack: StackV4) -> None:
        results.append(await outcome(check_stackv4(stack, meet["server"], "10.0.0.2", 80)))

    with Lab(seed=1, name="conformance") as lab:
        lan = lab.lan("br0", latency=ms(1), loss=loss)
        lab.create(server(make("10.0.0.2/24", profile)), vif=[lan]).unpause()
        lab.run(seconds(1))
        lab.create(client(make("10.0.0.3/24", profile)), vif=[lan]).unpause()
        lab.run(seconds(120))
    assert results == ["ok"]


def test_stacks_on_vnetif_are_stackv4s_too() -> None:
    pair = Pair(latency=ms(1))
    assert len(check_stackv4(pair.one, pair.other, "10.0.0.2").steps) == 13
    pair.close()


def test_netfront_and_vnetif_are_networks() -> None:
    results: list[str] = []
    meet: dict[str, Any] = {}

    @unikernel
    async def listener(net: Network) -> None:
        meet["net"] = net
        await tasks.Condition().wait()

    @unikernel
    async def talker(net: Network) -> None:
        results.append(await outcome(check_network(net, meet["net"])))

    with Lab(seed=1, name="conformance") as lab:
        lan = lab.lan("br0")
        lab.create(listener(devices.netif("0")), vif=[lan]).unpause()
        lab.run(ms(10))
        lab.create(talker(devices.netif("0")), vif=[lan]).unpause()
        lab.run(seconds(60))
    assert results == ["ok"]
    pair = Pair()
    assert len(check_network(*pair.nets).steps) == 10
    pair.close()


@unikernel
async def small(console: Console, time: Time, clock: Clock, files: KvRo) -> None:
    """Run the suites of the small devices and print what they say."""
    console.log(await outcome(check_kv_ro(files, FILES)))
    console.log(await outcome(check_time(time)))
    console.log(await outcome(check_clock(clock)))
    console.log(await outcome(check_console(console)))


@pytest.mark.parametrize("target", ["xen", "unix"])
def test_small_devices_keep_their_promises_on_both_targets(target: str) -> None:
    job = small(devices.default_console, devices.default_time, devices.default_clock, devices.crunch(FILES))
    plan = configure(job, target=target)
    if target == "unix":
        lines = plan.run().splitlines()
    else:
        with Lab(seed=1, name="conformance") as lab:
            lab.create(plan).unpause()
            lab.run(seconds(2))
            lines = lab.vm("small").console.lines
    assert lines[:3] == ["ok", "ok", "ok"] and "ok" in lines[3:]
    assert lines.count("<img src=x onerror=alert(1)>") == 2


def test_flows_on_host_sockets_are_flows() -> None:
    results: list[str] = []

    @unikernel
    async def both(stack: StackV4) -> None:
        accepted: tasks.Mailbox[Any] = tasks.Mailbox()

        async def serve(flow: Any) -> None:
            await accepted.put(flow)
            await tasks.sleep(seconds(5))

        stack.listen_tcpv4(8123, serve)
        here = both_ports[0] = platform_port(stack)
        flow = await stack.tcpv4.create_connection(("127.0.0.1", here))
        results.append(await outcome(check_flow(flow, await accepted.get())))

    both_ports = [0]

    def platform_port(stack: Any) -> int:
        return int(stack.tcpv4._platform.ports[8123])

    configure(both(devices.socket_stackv4()), target="unix").run()
    assert results == ["ok"]
