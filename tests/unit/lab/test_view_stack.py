"""The Network stack tab: its numbers are those of the trace and the stack, its sliders are commands, hostile input is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirage_lab import Lab, ms, seconds
from mirage_lab.lab.said import LabError
from mirage_lab.lab.views import stack
from mirage_lab.lab.views.kinds import Look
from mirage_lab.lab.views.stack_states import PLACES, diagram
from mirage_lab.tcpip.tcp.states import NEXT, State


def snapshot(lab: Lab, look: Look | None = None) -> dict[str, Any]:
    found = stack.snapshot(lab, look or {})
    json.dumps(found, allow_nan=False)
    return found


def row(data: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in data["layers"] if each["name"] == name)


def test_the_counters_of_the_layers_are_those_of_the_trace() -> None:
    with Lab.demo("web", seed=1) as lab:
        trace = lab.capture(lab.lan("br0"))
        before = snapshot(lab)
        lab.fetch("10.0.0.2")
        lab.run(seconds(1))
        data = snapshot(lab)
        assert data["stack"] == "web" and data["stacks"] == ["web", "gateway of br0"] and data["listening"] == [80]
        ours = [packet.protocol for packet in (trace.packet(frame.n) for frame in trace) if packet.src == "10.0.0.2"]
        assert row(data, "TCP")["out"] - row(before, "TCP")["out"] == sum(protocol != "ARP" for protocol in ours) > 3
        assert row(data, "NETWORK")["out"] == len(ours)
        names = [each["name"] for each in data["layers"]]
        assert (names[0], *names[-2:]) == ("TCP", "Ethernet", "NETWORK")


def test_a_drop_is_told_with_its_reason() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.command("fetch", lan="br0", address="10.0.0.2", port=81, request=b"")
        lab.run(ms(100))
        data = snapshot(lab)
        assert ["no listener", 1] in row(data, "TCP")["drops"] and row(data, "TCP")["dropped"] == 1
        assert "TCP: no listener 1" in stack.words(lab, {})


def test_an_open_connection_lights_its_state_and_shows_its_numbers() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.command("fetch", lan="br0", address="10.0.0.2", port=80, request=b"")
        lab.run(ms(100))
        data = snapshot(lab)
        assert data["lit"] == {"ESTABLISHED": 1}
        (connection,) = data["connections"]
        assert connection["state"] == "ESTABLISHED" and connection["retransmitted"] == 0
        assert connection["cwnd"] == 14_480 and connection["ssthresh"] is None
        assert connection["send"] == [0, 262_144] and connection["local"] == "10.0.0.2:80" and connection["srtt"] > 0
        chosen = snapshot(lab, {"stack.connection": connection["id"]})
        assert chosen["selected"] == connection["id"] and snapshot(lab, {"stack.connection": "gone"})["selected"] is None
        other = snapshot(lab, {"stack.domain": "gateway of br0"})
        assert other["connections"][0]["remote"] == "10.0.0.2:80"
        assert "● 1 connection" in (stack.picture(lab, {}) or "")


def test_a_connection_tells_its_own_retransmissions() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.run(seconds(1))
        lab.command("fetch", lan="br0", address="10.0.0.2", port=80, request=b"")
        lab.run(ms(100))
        trace, began = lab.capture(lab.lan("br0")), lab.now
        lab.set_lan("br0", loss=1.0)
        lab.command("fetch", lan="br0", address="10.0.0.2", port=80, request=b"")
        lab.run(ms(3_500))
        rows = snapshot(lab, {"stack.domain": "gateway of br0"})["connections"]
        assert [(row["state"], row["retransmitted"]) for row in rows] == [("ESTABLISHED", 0), ("SYN_SENT", 2)]
        assert [frame.t - began for frame in trace if frame.t >= began] == [0, seconds(1), seconds(3)]


def test_the_diagram_has_every_arrow_of_the_stacks_table() -> None:
    drawn = diagram()
    assert {node["state"] for node in drawn["nodes"]} == {state.value for state in State} and set(PLACES) == set(State)
    arrows = {(edge["from"], edge["to"], word) for edge in drawn["edges"] for word in edge["words"].split(" or ")}
    for state, moves in NEXT.items():
        for event, after in moves.items():
            assert (state.value, after.value, event.value) in arrows or (after is State.CLOSED and event.value in drawn["note"])
    assert len(arrows) + 9 == sum(map(len, NEXT.values()))
    for edge in drawn["edges"]:
        for x, y in edge["points"]:
            assert 0 <= x <= drawn["width"] and 0 <= y <= drawn["height"]


def test_a_slider_is_a_command_at_one_virtual_time_and_is_replayed() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.run(ms(7))
        act = stack.VIEW.actions["stack.lan"](lab, {"lan": "br0", "fault": "loss", "at": 9})
        assert act.line == "lab.set_lan('br0', loss=0.1)" and "loss 0.0 -> 0.1" in act.said
        stack.VIEW.actions["stack.lan"](lab, {"lan": "br0", "fault": "latency", "at": 1})
        stack.VIEW.actions["stack.lan"](lab, {"lan": "br0", "fault": "rate", "at": 5})
        at = lab.now
        assert [entry.t for entry in lab.journal][-3:] == [at] * 3
        assert {each["name"]: each["shown"] for each in snapshot(lab)["faults"]} == {
            "latency": "100 us", "jitter": "0", "loss": "10 %", "burst": "one by one", "ack_loss": "0 %", "reorder": "0 %", "duplicate": "0 %",
            "corrupt": "0 %", "mtu": "any size", "rate": "1 Mbit/s", "queue": "1,000 frames", "discipline": "droptail",
        }  # fmt: skip
        lab.run(ms(3))
        lab.rewind(at)
        assert lab.machine.lans["br0"].loss == 0.1 and lab.machine.lans["br0"].rate == 1_000_000
        lab.rewind(ms(1))
        assert lab.machine.lans["br0"].loss == 0.0


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"lan": "br0"},
        {"lan": "br9", "fault": "loss", "at": 1},
        {"lan": "br0", "fault": "__class__", "at": 1},
        {"lan": "br0", "fault": "loss", "at": True},
        {"lan": "br0", "fault": "loss", "at": -1},
        {"lan": "br0", "fault": "loss", "at": 10**9},
        {"lan": "br0", "fault": "loss", "at": float("nan")},
        {"lan": ["br0"], "fault": "loss", "at": "1"},
    ],
)
def test_arguments_that_are_none_are_refused_and_change_nothing(args: dict[str, Any]) -> None:
    with Lab.demo("web", seed=1) as lab:
        before = len(lab.journal)
        with pytest.raises(LabError):
            stack.VIEW.actions["stack.lan"](lab, args)
        assert len(lab.journal) == before


def test_many_connections_are_bounded_and_the_chosen_one_is_among_them() -> None:
    with Lab.demo("web", seed=1) as lab:
        for _ in range(120):
            lab.command("fetch", lan="br0", address="10.0.0.2", port=80, request=b"")
        lab.run(seconds(8))
        data = snapshot(lab)
        assert len(data["connections"]) == stack.CONNECTIONS and data["more"] == 70 and data["lit"] == {"ESTABLISHED": 120}
        flows = lab.machine.gateways["br0"].stack.tcpv4.connections
        first = "{}:{} {}:{}".format(*flows[0].dst, *flows[0].src)
        again = snapshot(lab, {"stack.connection": first})
        assert again["selected"] == first and again["connections"][0]["id"] == first and again["more"] == 69
        assert len(stack.words(lab, {}).splitlines()) <= 8


def test_a_lab_without_a_stack_says_so() -> None:
    with Lab(seed=1, name="test") as lab:
        assert snapshot(lab)["stack"] is None and stack.picture(lab, {}) is None and "no stack yet" in stack.words(lab, {})
        lab.lan("br0")
        assert snapshot(lab)["stack"] == "gateway of br0"
