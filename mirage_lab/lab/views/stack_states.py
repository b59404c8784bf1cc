"""stack_states: the state diagram of TCP, drawn from the stack's own table (`tcpip.tcp.states.NEXT`), laid out as in RFC 9293.

Only where a state stands is said here; which arrows there are, and what is written on them, the table says.  CLOSED is drawn
twice, where a connection begins and where it ends, as in figure 5 of the RFC; what leads from every state to CLOSED is said
in a note instead of nine arrows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from mirage_lab.tcpip.tcp.states import NEXT, Event, State
from mirage_lab.tracing.svg import CARD, FAINT, INK, MUTED, OKABE_ITO, Svg

__all__ = ["HEIGHT", "WIDTH", "diagram", "states_picture"]

WIDTH: Final = 600
HEIGHT: Final = 452
BOX: Final = (118, 34)

PLACES: Final[Mapping[State, tuple[int, int]]] = {
    State.CLOSED: (300, 28),
    State.SYN_SENT: (500, 100),
    State.SYN_RECEIVED: (100, 100),
    State.ESTABLISHED: (300, 172),
    State.FIN_WAIT_1: (100, 244),
    State.CLOSE_WAIT: (500, 244),
    State.CLOSING: (300, 290),
    State.FIN_WAIT_2: (100, 336),
    State.LAST_ACK: (500, 336),
    State.TIME_WAIT: (300, 382),
}
"""The middle of each state's box, px; a state that is not here is put below the others."""

END: Final = (500, 420)
"""CLOSED again, where a connection ends."""
_ENDING: Final = (State.FIN_WAIT_2, State.CLOSING, State.LAST_ACK, State.TIME_WAIT)


@cache
def diagram() -> dict[str, Any]:
    """Return what does not change: size, boxes, arrows with their points and words, the note."""
    places = dict(PLACES)
    for number, state in enumerate(state for state in State if state not in places):
        places[state] = (70 + 125 * number, HEIGHT - 20)
    always = [event for event in Event if all(NEXT[state].get(event) is State.CLOSED for state in State if state is not State.CLOSED)]
    arrows: dict[tuple[State, State], list[str]] = {}
    for state, moves in NEXT.items():
        for event, after in moves.items():
            if event not in always:
                arrows.setdefault((state, after), []).append(event.value)
    nodes = [{"id": state.value, "state": state.value, "x": x - BOX[0] / 2, "y": y - BOX[1] / 2} for state, (x, y) in places.items()]
    nodes.append({"id": "CLOSED, the end", "state": State.CLOSED.value, "x": END[0] - BOX[0] / 2, "y": END[1] - BOX[1] / 2})
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "box": list(BOX),
        "nodes": nodes,
        "edges": [_arrow(state, after, " or ".join(words), places) for (state, after), words in arrows.items()],
        "note": f"From every state to CLOSED: {', '.join(event.value for event in always)}." if always else "",
    }


def _arrow(state: State, after: State, words: str, places: Mapping[State, tuple[int, int]]) -> dict[str, Any]:
    start = places[state]
    stop = END if after is State.CLOSED and state in _ENDING else places[after]
    if stop == END and start[0] == places[State.FIN_WAIT_2][0]:
        points = [(start[0], start[1] + BOX[1] / 2), (start[0], float(END[1])), (END[0] - BOX[0] / 2, float(END[1]))]
        label = (start[0] + 90.0, END[1] - 8.0)
    else:
        back = NEXT.get(after, {}).values()
        aside = 9 if state in back and stop != END else 0
        points = _straight(start, stop, aside)
        (x1, y1), (x2, y2) = points
        label = ((x1 + x2) / 2, (y1 + y2) / 2 + (4 if x1 == x2 else 0))
        if aside:
            label = (label[0] + (x2 - x1) * 0.12, label[1] + (y2 - y1) * 0.12 + (12 if start[1] > stop[1] else -4))
    places_of = {"points": [[round(x, 1), round(y, 1)] for x, y in points], "label": [round(at, 1) for at in label]}
    return {"from": state.value, "to": after.value, "words": words, **places_of}


def _straight(start: tuple[int, int], stop: tuple[int, int], aside: int) -> list[tuple[float, float]]:
    """A line from border to border; `aside` px to its left, so that the arrow back has a place too."""
    (x1, y1), (x2, y2) = start, stop
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    dx, dy = (y2 - y1) / length * aside, -(x2 - x1) / length * aside
    return [_border(x1 + dx, y1 + dy, x2 - x1, y2 - y1, start), _border(x2 + dx, y2 + dy, x1 - x2, y1 - y2, stop)]


def _border(x: float, y: float, dx: float, dy: float, middle: tuple[int, int]) -> tuple[float, float]:
    """Where a line from (x, y) towards (dx, dy) leaves the box around `middle`."""
    steps = []
    for at, step, centre, half in ((x, dx, middle[0], BOX[0] / 2), (y, dy, middle[1], BOX[1] / 2)):
        if step:
            steps.append(((centre + (half if step > 0 else -half)) - at) / step)
    share = min(steps)
    return x + dx * share, y + dy * share


def states_picture(lit: Mapping[str, int], chosen: str | None) -> Svg:
    """Return the diagram with how many connections are in each state; `chosen` is the state of the connection looked at."""
    drawn = diagram()
    told = ", ".join(f"{count} in {state}" for state, count in lit.items()) or "no connection"
    svg = Svg(WIDTH, HEIGHT + 22, "TCP: states of the connections", told)
    for edge in drawn["edges"]:
        points = [(x, y) for x, y in edge["points"]]
        svg.polyline(points, stroke=MUTED)
        svg.arrow(*points[-2], *points[-1], stroke=MUTED)
    for edge in drawn["edges"]:
        x, y = edge["label"]
        width = 5.1 * len(edge["words"]) + 6
        svg.rect(x - width / 2, y - 8, width, 12, fill=CARD)
        svg.text(x, y + 1, edge["words"], size=9.5, anchor="middle", fill=MUTED)
    for node in drawn["nodes"]:
        count = 0 if node["id"] != node["state"] else lit.get(node["state"], 0)
        on = bool(count)
        svg.rect(node["x"], node["y"], *BOX, fill="#e3f1fa" if on else CARD, stroke=OKABE_ITO[0] if on else FAINT, thick=2.5 if on else 1.2, radius=8)
        middle = node["x"] + BOX[0] / 2
        svg.text(middle, node["y"] + (15 if on else 21), node["state"], size=11.5, anchor="middle", bold=on, fill=INK)
        if on:
            words = f"● {count} connection{'' if count == 1 else 's'}" + (" ◀" if node["state"] == chosen else "")
            svg.text(middle, node["y"] + 28, words, size=10, anchor="middle", fill=INK)
    svg.text(12, HEIGHT + 12, drawn["note"], size=10, fill=MUTED)
    return svg
