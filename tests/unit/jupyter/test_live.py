"""The worker between a lab and its widgets, without a front end: what is posted is done, what is seen is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mirage_lab import Lab, seconds
from mirage_lab.jupyter.live import POSTS, Live
from mirage_lab.lab.views.catalogue import VIEWS


class Front:
    """A panel that keeps what it is told, and waits for what a test expects."""

    def __init__(self) -> None:
        self.snapshots: list[dict[str, Any]] = []
        self.replies: list[dict[str, Any]] = []
        self.pictures = 0
        self._news = threading.Condition()

    def tell(self, snapshot: dict[str, Any]) -> None:
        with self._news:
            self.snapshots.append(snapshot)
            self._news.notify_all()

    def answer(self, reply: dict[str, Any]) -> None:
        with self._news:
            self.replies.append(reply)
            self._news.notify_all()

    def settled(self) -> None:
        with self._news:
            self.pictures += 1
            self._news.notify_all()

    def wait(self, what: Any) -> None:
        with self._news:
            assert self._news.wait_for(what, timeout=20)

    @property
    def last(self) -> dict[str, Any]:
        return self.snapshots[-1]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab.demo("web", seed=1) as found:
        yield found


def seated(lab: Lab, tab: str = "dashboard") -> tuple[Front, Any, Any]:
    front, live = Front(), Live.of(lab)
    return front, live, live.seat(front, VIEWS, tab, {})


def act(live: Any, seat: Any, name: str, /, **args: Any) -> None:
    live.post(seat, {"kind": "act", "name": name, "args": args, "id": name})


def test_a_panel_is_told_at_once_and_names_its_tabs(lab: Lab) -> None:
    front, _, _ = seated(lab)
    assert front.last["tab"] == "dashboard" and [tab["name"] for tab in front.last["tabs"]] == [view.name for view in VIEWS]
    assert front.last["head"]["badge"] == "reproducible: seed 1" and front.last["data"]["domains"][0]["name"] == "web"


def test_a_button_runs_its_line_of_python_and_shows_it(lab: Lab) -> None:
    front, live, seat = seated(lab)
    before = lab.now
    act(live, seat, "run", seconds=2)
    front.wait(lambda: front.last["said"].get("line") == "lab.run(seconds(2))" and front.last["head"]["t"] == before + seconds(2))
    assert front.last["said"]["said"].startswith("t = ") and not front.last["said"]["error"]


def test_playing_moves_the_clock_between_two_snapshots_and_pausing_stops_it(lab: Lab) -> None:
    front, live, seat = seated(lab)
    act(live, seat, "play")
    front.wait(lambda: front.last["head"]["state"] == "playing")
    t = front.last["head"]["t"]
    front.wait(lambda: front.last["head"]["t"] > t)
    act(live, seat, "pause")
    front.wait(lambda: front.last["head"]["state"] == "paused")
    told = len(front.snapshots)
    front.wait(lambda: front.pictures > 0)
    assert front.last["head"]["t"] == lab.now and len(front.snapshots) <= told + 1


def test_a_wrong_button_a_wrong_argument_and_a_crash_are_told_and_nothing_is_lost(lab: Lab) -> None:
    front, live, seat = seated(lab)
    for name, args, told in (
        ("no such", {}, "no such button"),
        ("run", {"seconds": -1}, "seconds is a number"),
        ("run", {"seconds": "1; import os"}, "seconds is a number"),
        ("console.write", {"domain": "nobody", "text": "x"}, "no domain nobody"),
        ("console.write", {"domain": "web", "text": 5}, "text is a text"),
    ):
        act(live, seat, name, **args)
        front.wait(lambda told=told: told in front.last["said"].get("said", ""))
        assert front.last["said"]["error"]
    for message in ({}, {"kind": "act"}, {"kind": "look", "changes": 5}, {"kind": "look", "changes": {"tab": "none", "x" * 99: 1, "y": [1]}}, {"kind": 7}):
        live.post(seat, message)
    act(live, seat, "step")
    front.wait(lambda: front.last["said"].get("line") == "lab.step()")
    assert seat.look == {} and seat.tab == "dashboard"


def test_looking_changes_tab_and_choice_and_asking_is_answered(lab: Lab) -> None:
    front, live, seat = seated(lab)
    live.post(seat, {"kind": "look", "changes": {"tab": "graph", "graph.selected": "netif 0"}})
    front.wait(lambda: front.last["tab"] == "graph")
    assert front.last["data"]["selected"]["type"] == "NETWORK"
    live.post(seat, {"kind": "ask", "name": "graph.explain", "args": {"domain": "web", "node": "netif 0"}, "id": "1"})
    live.post(seat, {"kind": "ask", "name": "graph.explain", "args": {"domain": "web", "node": "nothing"}, "id": "2"})
    front.wait(lambda: len(front.replies) == 2)
    assert front.replies[0]["value"]["type"] == "NETWORK" and "no device" in front.replies[1]["error"]


def test_a_panel_nobody_sees_is_told_nothing_until_it_is_seen_again(lab: Lab) -> None:
    front, live, seat = seated(lab)
    watching, _, other = seated(lab)
    live.post(seat, {"kind": "visible", "view": "a", "visible": False})
    act(live, other, "run", seconds=1)
    watching.wait(lambda: watching.last["said"].get("line") == "lab.run(seconds(1))")
    assert len(front.snapshots) == 1
    live.post(seat, {"kind": "visible", "view": "a", "visible": True})
    front.wait(lambda: front.last["head"]["t"] == lab.now)


def test_a_cell_that_runs_the_lab_tells_what_happens_meanwhile(lab: Lab) -> None:
    front, _, _ = seated(lab)
    lab.set_lan("br0", loss=0.2)
    lab.run(seconds(20_000))
    lab.ping("10.0.0.2", 900)
    assert any(snapshot["head"]["progress"] is not None for snapshot in front.snapshots)


def test_a_closed_lab_says_so(lab: Lab) -> None:
    front, _, _ = seated(lab)
    lab.close()
    front.wait(lambda: "gone" in front.last)


def test_too_many_clicks_are_dropped_and_that_is_said(lab: Lab) -> None:
    _, live, seat = seated(lab)
    with lab.lock:
        act(live, seat, "step")
        for _ in range(POSTS + 50):
            act(live, seat, "no such")
        assert seat.said == {"line": "", "said": "too many clicks are waiting; this one was dropped", "error": True} or seat.said["error"]
