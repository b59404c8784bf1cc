"""live: one worker per lab: it runs what front ends ask for and tells them what they look at.

Callbacks of widgets arrive in whatever thread the kernel likes; they only `post`.  The worker takes the posts in order,
under the lab's lock, and about 20 times a second makes a snapshot of the tab each visible widget shows.  While a cell
drives the lab, that cell's thread makes the snapshots, between two slices of the run (`Lab.watchers`).
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from mirage_lab.lab import Lab
from mirage_lab.lab.said import LabError
from mirage_lab.lab.views import transport
from mirage_lab.lab.views.kinds import View
from mirage_lab.runtime.host import monotonic_ns
from mirage_lab.signatures.errors import MirageError

__all__ = ["Live", "Panel"]

TICK: Final = 0.05
"""Seconds between two snapshots."""

POSTS: Final = 1_000
LOOKS: Final = 100
SETTLED: Final = 300_000_000
"""Host time (ns) without change after which a world counts as at rest and its static picture is drawn again."""

Scalar = str | int | float | bool | None


class Panel(Protocol):
    """What a worker tells: a widget."""

    def tell(self, snapshot: dict[str, Any]) -> None:
        """Show a snapshot."""

    def answer(self, reply: dict[str, Any]) -> None:
        """Hand over the answer to a question."""

    def settled(self) -> None:
        """The world is at rest: a static picture may be drawn."""


class Seat:
    """A panel at a worker: its tab, what it looks at, and which of its views can be seen."""

    def __init__(self, panel: Panel, views: tuple[View, ...], tab: str, look: Mapping[str, Scalar]) -> None:
        self.panel = weakref.ref(panel)
        self.views = {view.name: view for view in views}
        self.tab = tab
        self.look: dict[str, Scalar] = dict(look)
        self.visible: dict[str, bool] = {}
        self.said: dict[str, Any] = {}
        self.shown: tuple[Any, ...] = ()
        self.drawn: tuple[Any, ...] = ()

    @property
    def is_seen(self) -> bool:
        """True while a front end shows it; one that has not yet said so counts."""
        return not self.visible or any(self.visible.values())


class Live:
    """The worker of one lab."""

    _of: weakref.WeakKeyDictionary[Lab, Live] = weakref.WeakKeyDictionary()

    def __init__(self, lab: Lab) -> None:
        self._lab = weakref.ref(lab)
        self._posts: queue.Queue[tuple[Seat, Mapping[str, Any]]] = queue.Queue(POSTS)
        self._seats: list[Seat] = []
        self._thread: threading.Thread | None = None
        self._told_at = 0
        self._changed_at = 0
        self._version: tuple[Any, ...] = ()
        lab.watchers.append(self._watch)

    @classmethod
    def of(cls, lab: Lab) -> Live:
        """Return the worker of a lab, made at the first call."""
        found = cls._of.get(lab)
        if found is None:
            found = cls._of[lab] = cls(lab)
        return found

    def seat(self, panel: Panel, views: tuple[View, ...], tab: str, look: Mapping[str, Scalar]) -> Seat:
        """Take a panel in: it is told a first snapshot now, and more from the worker's thread, which starts if need be."""
        seat = Seat(panel, views, tab, look)
        self._seats.append(seat)
        self._tell(seat)
        seat.drawn = self._state_of()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="mirage_lab-widgets", daemon=True)
            self._thread.start()
        return seat

    def leave(self, seat: Seat) -> None:
        """Forget a panel."""
        if seat in self._seats:
            self._seats.remove(seat)

    def post(self, seat: Seat, message: Mapping[str, Any]) -> None:
        """Take what a front end sent; from any thread.  When far too much is waiting, it is dropped and that is said."""
        try:
            self._posts.put_nowait((seat, message))
        except queue.Full:
            seat.said = {"line": "", "said": "too many clicks are waiting; this one was dropped", "error": True}

    # the worker's thread -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        while self._seats:
            try:
                seat, message = self._posts.get(timeout=TICK)
            except queue.Empty:
                pass
            else:
                self._handle(seat, message)
            lab = self._lab()
            if lab is None or not self._refresh(lab):
                break

    def _refresh(self, lab: Lab) -> bool:
        """Tell every panel what changed; False when there is nothing left to tell."""
        now = monotonic_ns()
        if now - self._told_at < TICK * 1e9 and self._posts.qsize():
            return True
        self._seats = [seat for seat in self._seats if seat.panel() is not None]
        if lab.closed:
            for seat in self._seats:
                self._tell(seat)
            return False
        if not lab.lock.acquire(timeout=TICK):
            return True
        try:
            self._tell_all(now)
            state = self._state_of()
            if state != self._version:
                self._version, self._changed_at = state, now
            rest = not lab.playing and lab.heading is None and now - self._changed_at > SETTLED
        finally:
            lab.lock.release()
        if rest:
            for seat in self._seats:
                panel = seat.panel()
                drawn = (*state, seat.tab, *seat.look.items())
                if panel is not None and seat.drawn != drawn:
                    if seat.drawn != state:
                        panel.settled()
                    seat.drawn = drawn
        return True

    def _watch(self) -> None:
        """Called on the thread that drives a run, which holds the lock."""
        now = monotonic_ns()
        if now - self._told_at >= TICK * 1e9:
            self._tell_all(now)

    def _tell_all(self, now: int) -> None:
        self._told_at = now
        for seat in tuple(self._seats):
            if seat.is_seen:
                self._tell(seat)

    def _state_of(self) -> tuple[Any, ...]:
        lab = self._lab()
        if lab is None or lab.closed:
            return ("closed",)
        machine = lab.machine
        world = machine.world
        return (id(machine), world.now, world.events, world.recorder.last, len(world.journal.entries), lab.playing, lab.heading is None, *lab.debugger.state)

    def _tell(self, seat: Seat) -> None:
        """Make a snapshot if what it shows has changed."""
        panel, lab = seat.panel(), self._lab()
        if panel is None:
            return
        shown = (*self._state_of(), seat.tab, *seat.look.items(), *seat.said.items())
        if shown == seat.shown:
            return
        seat.shown = shown
        if lab is None or lab.closed:
            panel.tell({"gone": "this lab is closed: Lab(seed=...) in a cell makes a new one"})
            return
        try:
            data = seat.views[seat.tab].snapshot(lab, seat.look)
        except MirageError as error:
            data = {"error": str(error)}
        panel.tell(
            {
                "head": transport.head(lab),
                "tabs": [{"name": view.name, "title": view.title} for view in seat.views.values()],
                "tab": seat.tab,
                "look": dict(seat.look),
                "data": data,
                "console": transport.console(lab, seat.look),
                "said": dict(seat.said),
            }
        )

    # what front ends ask -----------------------------------------------------------------------------------------

    def _handle(self, seat: Seat, message: Mapping[str, Any]) -> None:
        panel, lab = seat.panel(), self._lab()
        if panel is None or lab is None:
            return
        match message.get("kind"):
            case "look":
                self._look(seat, message.get("changes"))
            case "visible":
                view, seen = message.get("view"), message.get("visible")
                if isinstance(view, str) and isinstance(seen, bool) and (view in seat.visible or len(seat.visible) < LOOKS):
                    seat.visible[view] = seen
                    seat.shown = () if seen else seat.shown
            case "act":
                self._act(seat, lab, message)
            case "ask":
                panel.answer(self._answer(seat, lab, message))
            case _:
                pass  # a front end of another version: what it wants is not known here

    def _look(self, seat: Seat, changes: Any) -> None:
        if not isinstance(changes, dict):
            return
        for name, value in changes.items():
            if name == "tab":
                seat.tab = value if isinstance(value, str) and value in seat.views else seat.tab
            elif isinstance(name, str) and _looked_at(name, value) and (name in seat.look or len(seat.look) < LOOKS):
                seat.look[name] = value

    def _act(self, seat: Seat, lab: Lab, message: Mapping[str, Any]) -> None:
        name = message.get("name")
        actions = dict(transport.ACTIONS)
        for view in seat.views.values():
            actions.update(view.actions)
        try:
            if not isinstance(name, str) or name not in actions:
                raise LabError(f"there is no such button: {name!r}"[:200])
            act = actions[name](lab, _arguments(message))
            seat.said = {"line": act.line[:2_000], "said": str(act.said)[:2_000], "error": False}
        except MirageError as error:
            seat.said = {"line": "", "said": str(error)[:2_000], "error": True}
        except Exception as error:
            seat.said = {"line": "", "said": f"{type(error).__name__}: {error}"[:2_000], "error": True}
        seat.said["serial"] = message.get("id")

    def _answer(self, seat: Seat, lab: Lab, message: Mapping[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = {"kind": "reply", "id": message.get("id")}
        asks: dict[str, Callable[..., Any]] = {}
        for view in seat.views.values():
            asks.update(view.asks)
        name = message.get("name")
        try:
            if not isinstance(name, str) or name not in asks:
                raise LabError(f"there is no such question: {name!r}"[:200])
            with lab.lock:
                return {**reply, "value": asks[name](lab, _arguments(message))}
        except Exception as error:
            return {**reply, "error": (str(error) or type(error).__name__)[:2_000]}


def _looked_at(name: str, value: Any) -> bool:
    return len(name) <= 64 and isinstance(value, Scalar) and len(str(value)) <= 2_000


def _arguments(message: Mapping[str, Any]) -> Mapping[str, Any]:
    found = message.get("args")
    return found if isinstance(found, dict) else {}
