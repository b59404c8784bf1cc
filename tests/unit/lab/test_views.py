"""What the tabs show, as plain data: the device graph, the dashboard, the xenstore, the console; and what their buttons do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mirage_lab import Lab, devices, seconds, unikernel
from mirage_lab.irmin import StoreError
from mirage_lab.lab.said import LabError
from mirage_lab.lab.views import dashboard, graph, history, transport, xenstore
from mirage_lab.lab.views.catalogue import VIEWS
from mirage_lab.signatures import Console, StackV4
from mirage_lab.tracing.svg import visible

PAYLOAD = "<img src=x onerror=alert(1)>\x00\u202e"


@unikernel
async def nasty(console: Console, stack: StackV4) -> None:
    console.log(PAYLOAD)
    await stack.listen()


@unikernel
async def broken(console: Console) -> None:
    console.log("about to fail")
    raise RuntimeError("no more")


def stack(number: str = "0") -> Any:
    return devices.direct_stackv4_with_static_ipv4(devices.netif(number), address="10.0.0.2/24", gateway="10.0.0.1")


def states(lab: Lab, **look: str) -> dict[str, str]:
    shown = graph.snapshot(lab, look)["graph"]
    return {node["id"]: node["state"] for node in shown["nodes"]}


def test_every_tab_of_an_empty_a_running_and_a_crashed_lab_is_json_and_words() -> None:
    with Lab(seed=1, name="views") as lab:
        _shown(lab)
        lan = lab.lan("br0")
        lab.capture(lan)
        lab.create(nasty(devices.default_console, stack()), vif=[lan]).unpause()
        lab.create(broken(devices.default_console)).unpause()
        _shown(lab)
        lab.run(seconds(1))
        _shown(lab)
        lab.vm("nasty").destroy()
        _shown(lab)


def _shown(lab: Lab) -> None:
    for view in VIEWS:
        for look in ({}, {f"{view.name}.domain": "nobody", f"{view.name}.selected": 7}):
            told = json.dumps(view.snapshot(lab, look), ensure_ascii=False)
            assert "\\u0000" not in told and "\u202e" not in told
            words = view.words(lab, look)
            assert len(words.splitlines()) <= 8 and "0x7f" not in words
            picture = view.picture(lab, look)
            assert picture is None or "<img" not in picture


def test_devices_wait_before_the_domain_runs_then_run_and_a_failed_one_is_marked() -> None:
    with Lab(seed=1, name="views") as lab:
        lan = lab.lan("br0")
        lab.create(nasty(devices.default_console, stack()), vif=[lan])
        assert set(states(lab).values()) == {"waiting"}
        lab.vm("nasty").unpause()
        lab.run(seconds(1))
        assert set(states(lab).values()) == {"running"}
        lab.create(broken(devices.default_console)).unpause()
        lab.run(seconds(1))
        assert states(lab, **{"graph.domain": "broken"}) == {"default_console": "running", "broken": "failed"}


def test_a_device_that_cannot_be_connected_is_the_one_that_failed() -> None:
    with Lab(seed=1, name="views") as lab:
        lan = lab.lan("br0")
        unplugged = nasty(devices.default_console, devices.direct_stackv4_with_static_ipv4(devices.netif("7"), address="10.0.0.2/24", gateway="10.0.0.1"))
        lab.create(unplugged, vif=[lan]).unpause()
        lab.run(seconds(1))
        shown = states(lab)
        assert shown["netif 7"] == "failed" and shown["nasty"] == "waiting" and shown["default_console"] == "running"


def test_a_spinning_unikernel_is_failed_although_it_never_said_so() -> None:
    @unikernel
    async def spins(console: Console) -> None:
        while True:
            pass

    with Lab(seed=1, name="views") as lab:
        lab.create(spins(devices.default_console)).unpause()
        lab.run(seconds(1))
        assert states(lab)["spins"] == "failed"


def test_counters_on_nodes_and_traffic_on_edges_grow_with_the_packets() -> None:
    with Lab.demo("web", seed=1) as lab:
        before = graph.snapshot(lab, {})["graph"]
        lab.fetch("10.0.0.2")
        after = graph.snapshot(lab, {})["graph"]

        def traffic(shown: dict[str, Any]) -> int:
            return sum(edge["traffic"] for edge in shown["edges"] if edge["to"] == "netif 0")

        netif = next(node for node in after["nodes"] if node["id"] == "netif 0")
        assert traffic(after) > traffic(before) > 0
        assert dict(netif["counters"])["frames in"] + dict(netif["counters"])["frames out"] == traffic(after)


def test_a_node_tells_its_signature_its_arguments_and_why_it_is_there() -> None:
    with Lab.demo("web", seed=1) as lab:
        told = graph.snapshot(lab, {"graph.selected": "netif 0"})["selected"]
        facts = dict(told["facts"])
        assert told["type"] == "NETWORK" and told["signature"].startswith("NETWORK:") and any("write(" in line for line in told["operations"])
        assert facts["argument dev"] == "'0'" and "rings" in facts["linked because"] and facts["implementation"] == "mirage_lab.xen.guest.netfront"
        assert dict(told["statistics"])["rx_pkts"] > 0


def test_a_learners_device_with_broken_statistics_does_not_break_the_graph() -> None:
    class Odd:
        def statistics(self) -> None:
            raise RuntimeError("no")

    assert graph.counters(Odd()) == [] and graph.counters(object()) == []


def test_the_dashboard_lists_what_there_is() -> None:
    with Lab.demo("web", seed=1) as lab:
        site = lab.forward("web", 80)
        told = dashboard.snapshot(lab, {})
        assert told["forwards"] == [{"domain": "web", "port": 80, "url": site.url, "state": told["forwards"][0]["state"]}]
        assert told["lans"][0]["ports"] == ["gateway", "web"] and told["captures"][0]["frames"] > 0 and told["behind"] == []
        lab.play()
        assert dashboard.snapshot(lab, {})["behind"][0].startswith("playing at 1x")
        lab.pause()


def test_a_node_of_the_xenstore_is_told_with_its_permissions_and_who_watches_it() -> None:
    with Lab.demo("web", seed=1) as lab:
        rows = {row["path"]: row for row in xenstore.snapshot(lab, {})["rows"]}
        assert rows["/local/domain/1/device/vif/0/state"]["perms"] == "n1 r0"
        assert rows["/local/domain/1/device/vif/0/state"]["watched"] == "dom0"
        assert rows["/tool"]["watched"] == ""


def test_the_xenstore_is_bounded_and_tells_its_last_changes() -> None:
    with Lab.demo("web", seed=1) as lab:
        for number in range(xenstore.NODES + 10):
            lab.command("xenstore.write", path=f"/tool/n{number}", value=PAYLOAD)
        told = xenstore.snapshot(lab, {})
        assert len(told["rows"]) == xenstore.NODES and told["more"]
        assert told["recent"][0]["path"] == f"/tool/n{xenstore.NODES + 9}" and len(told["recent"]) == xenstore.RECENT


def test_a_commit_of_the_store_is_told_with_what_it_changed_and_where_two_parted() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.xenstore.write("/tool/x", "old")
        branch = lab.xenstore.branch("what-if")
        branch.write("/tool/x", PAYLOAD)
        lab.xenstore.write("/tool/y", "new")
        told = history.snapshot(lab, {})
        rows = {row["message"]: row for row in told["rows"]}
        mine, theirs = rows["what if: write /tool/x"], rows["Domain 0: write /tool/y = new"]
        assert mine["branches"] == ["what-if"] and theirs["branches"] == ["main"] and {mine["lane"], theirs["lane"]} == {0, 1}
        assert all(child < parent <= len(told["rows"]) and lane < told["lanes"] for child, lane, parent in told["lines"])
        ask = history.VIEW.asks["history.commit"]
        said = ask(lab, {"commit": mine["id"], "other": theirs["id"]})
        assert said["changes"] == [{"path": "/tool/x", "before": '"old" n0', "after": f'"{visible(PAYLOAD)}" n0'}]
        assert said["meet"] == [rows["Domain 0: write /tool/x = old"]["id"]] == said["parents"]
        assert {"path": "/tool/x", "value": visible(PAYLOAD), "perms": "n0"} in said["tree"]
        gone = ask(lab, {"commit": rows["Domain 0: write /tool/x = old"]["id"], "other": ""})
        assert gone["changes"][0]["before"] is None and gone["meet"] == []
        with pytest.raises(StoreError, match="no commit"):
            ask(lab, {"commit": "0000000", "other": ""})
        assert "[what-if]" in history.words(lab, {}) and "<svg" in history.picture(lab, {})


def test_the_history_that_is_sent_is_bounded() -> None:
    with Lab.demo("web", seed=1) as lab:
        for number in range(history.COMMITS):
            lab.xenstore.write("/tool/n", str(number))
        told = history.snapshot(lab, {})
        assert len(told["rows"]) == history.COMMITS and told["more"]


def test_the_console_drawer_keeps_the_last_lines_and_takes_input() -> None:
    @unikernel
    async def talks(console: Console) -> None:
        for number in range(500):
            console.log(f"line {number}")
        line = await console.read()
        console.log(f"heard {line!r}")

    with Lab(seed=1, name="views") as lab:
        lab.create(talks(devices.default_console)).unpause()
        lab.run(seconds(1))
        told = transport.console(lab, {})
        assert told["lines"][-1] == "line 499" and told["left_out"] == 500 - transport.LINES
        act = transport.ACTIONS["console.write"](lab, {"domain": "talks", "text": "hi\n"})
        assert act.line == "lab.vm('talks').console.write('hi\\n')"
        lab.run(seconds(1))
        assert "hi" in transport.console(lab, {})["lines"][-1]
        assert [entry.name for entry in lab.journal][-1] == "console"


@pytest.mark.parametrize(
    ("name", "args", "line", "check"),
    [
        ("run", {"seconds": 0.5}, "lab.run(seconds(0.5))", lambda lab: lab.now == seconds(1) + seconds(1) // 2),
        ("step", {}, "lab.step()", lambda lab: lab.now >= seconds(1)),
        ("undo", {}, "lab.undo()", lambda lab: lab.vm("web").state == "paused"),
        ("reset", {}, "lab.reset()", lambda lab: lab.now == 0),
        ("rewind", {"t": 500_000_000}, "lab.rewind(seconds(0.5))", lambda lab: lab.now == seconds(1) // 2),
        ("domain.pause", {"domain": "web"}, "lab.vm('web').pause()", lambda lab: lab.vm("web").state == "paused"),
        ("domain.destroy", {"domain": "web"}, "lab.vm('web').destroy()", lambda lab: not lab.domains),
        ("capture", {"lan": "br0"}, "lab.capture(lab.lan('br0'))", lambda lab: len(lab.traces) == 1),
        ("forward", {"domain": "web", "port": 80}, "lab.forward(lab.vm('web'), 80)", lambda lab: len(lab.forwards) == 1),
    ],
)
def test_a_button_does_what_its_line_of_python_does(name: str, args: dict[str, Any], line: str, check: Callable[[Lab], bool]) -> None:
    with Lab.demo("web", seed=1) as lab:
        act = transport.ACTIONS[name](lab, args)
        assert act.line == line and act.said
        assert check(lab)
    with Lab.demo("web", seed=1) as again:
        exec(line, {"lab": again, "seconds": lambda value: round(value * 1e9)})  # noqa: S102 - the very line is the claim
        assert check(again)


@pytest.mark.parametrize("args", [{}, {"speed": 0}, {"speed": "fast"}, {"speed": float("nan")}, {"speed": True}, {"speed": [1]}])
def test_arguments_that_a_browser_sends_are_checked(args: dict[str, Any]) -> None:
    with Lab.demo("web", seed=1) as lab:
        if not args:
            assert transport.ACTIONS["play"](lab, {}).line == "lab.play()"
            lab.pause()
            return
        with pytest.raises(LabError, match="speed is a number"):
            transport.ACTIONS["play"](lab, args)
