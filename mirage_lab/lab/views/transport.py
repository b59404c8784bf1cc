"""transport: what stands above every tab: the clock, play, pause, step and reset, how reproducible this is, the console.

Not a tab of its own; the widget shows `head` and `console` whatever tab is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.said import LabError
from mirage_lab.lab.views.kinds import Act, Action, Args, Look, domain_of, real, text, whole
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tracing.svg import visible

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["ACTIONS", "console", "head"]

LINES: Final = 200
LINE: Final = 500
SPEEDS: Final = (0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0)


def head(lab: Lab) -> dict[str, Any]:
    """Return what stands above the tabs."""
    world = lab.machine.world
    clock = datetime.fromtimestamp((world.epoch_ns + world.now) // 1_000_000_000, UTC)
    playing = lab.playing
    share = None
    if lab.heading is not None:
        start, until = lab.heading
        share = min(1.0, (world.now - start) / (until - start)) if until > start else 1.0
    due = world.next_deadline
    return {
        "name": lab.name,
        "t": world.now,
        "clock": f"{clock:%Y-%m-%d %H:%M:%S} UTC",
        "state": "running" if share is not None else "playing" if playing else "paused",
        "speed": lab.speed or 1.0,
        "speeds": list(SPEEDS),
        "progress": share,
        "badge": lab.badge,
        "events": world.events,
        "next": None if due is None else due - world.now,
        "commands": sum(not entry.outside for entry in world.journal.entries),
    }


def console(lab: Lab, look: Look) -> dict[str, Any]:
    """Return the console drawer: the domains, the one chosen, and the last lines it printed."""
    chosen = domain_of(lab, look, "console.domain")
    toolstack = lab.machine.toolstack
    names = [domain.name for domain in toolstack.list() if domain.domid]
    if chosen is None:
        return {"domains": [], "domain": None, "lines": [], "left_out": 0}
    printed = toolstack.console(lab.machine.domid(chosen)).text.split("\n")
    if printed and not printed[-1]:
        printed.pop()
    return {
        "domains": names,
        "domain": chosen,
        "lines": [visible(line, LINE) for line in printed[-LINES:]],
        "left_out": max(0, len(printed) - LINES),
    }


def _play(lab: Lab, args: Args) -> Act:
    speed = real(args, "speed", 0.000_001, 1_000_000) if "speed" in args else lab.speed or 1.0
    said = lab.play(speed)
    return Act("lab.play()" if speed == 1 else f"lab.play(speed={speed:g})", said)


def _pause(lab: Lab, args: Args) -> Act:
    return Act("lab.pause()", lab.pause())


def _step(lab: Lab, args: Args) -> Act:
    count = whole(args, "count", 1, 1_000) if "count" in args else 1
    lab.pause()
    found = lab.step(count)
    kinds = ", ".join(event.kind for event in found[:6]) or "nothing recorded"
    more = f", {len(found) - 6} more" if len(found) > 6 else ""
    return Act("lab.step()" if count == 1 else f"lab.step({count})", f"{kinds}{more}")


def _run(lab: Lab, args: Args) -> Act:
    duration = real(args, "seconds", 0.000_001, 3_600)
    return Act(f"lab.run(seconds({duration:g}))", lab.run(Ns(round(seconds(1) * duration))))


def _undo(lab: Lab, args: Args) -> Act:
    return Act("lab.undo()", lab.undo())


def _reset(lab: Lab, args: Args) -> Act:
    return Act("lab.reset()", lab.reset())


def _rewind(lab: Lab, args: Args) -> Act:
    t = whole(args, "t", 0, lab.now)
    return Act(f"lab.rewind(seconds({t / 1e9:g}))", lab.rewind(Ns(t)))


def _write(lab: Lab, args: Args) -> Act:
    name, words = text(args, "domain", 64), text(args, "text", 1_000)
    return Act(f"lab.vm({name!r}).console.write({words!r})", lab.vm(name).console.write(words))


def _domain(what: str) -> Action:
    def act(lab: Lab, args: Args) -> Act:
        name = text(args, "domain", 64)
        vm = lab.vm(name)
        said = {"unpause": vm.unpause, "pause": vm.pause, "destroy": vm.destroy, "why": vm.why}[what]()
        return Act(f"lab.vm({name!r}).{what}()", said)

    return act


def _forward(lab: Lab, args: Args) -> Act:
    name, port = text(args, "domain", 64), whole(args, "port", 1, 65_535)
    return Act(f"lab.forward(lab.vm({name!r}), {port})", repr(lab.forward(name, port)))


def _forward_close(lab: Lab, args: Args) -> Act:
    name, port = text(args, "domain", 64), whole(args, "port", 1, 65_535)
    for site in lab.forwards:
        if (site.name, site.port) == (name, port):
            return Act(f"lab.forward(lab.vm({name!r}), {port}).close()", site.close())
    raise LabError(f"{name}:{port} is not forwarded")


def _capture(lab: Lab, args: Args) -> Act:
    name = text(args, "lan", 64)
    trace = lab.capture(name)
    return Act(f"lab.capture(lab.lan({name!r}))", f"capturing on {trace.name} from now on")


ACTIONS: Final[Mapping[str, Action]] = {
    "play": _play,
    "pause": _pause,
    "step": _step,
    "run": _run,
    "undo": _undo,
    "reset": _reset,
    "rewind": _rewind,
    "console.write": _write,
    "domain.unpause": _domain("unpause"),
    "domain.pause": _domain("pause"),
    "domain.destroy": _domain("destroy"),
    "domain.why": _domain("why"),
    "forward": _forward,
    "forward.close": _forward_close,
    "capture": _capture,
}
