"""boot: a domain comes up: its timeline, memory, event channels, and the two pages that Xen tells it everything by.

    timeline (always)      boot_timeline      memory              boot_memory
    event channels         boot_channels      start_info, shared_info   boot_bytes

Buttons step by an event or a hypercall, run until an event of a kind, or run to a time; each is a line of Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.said import LabError
from mirage_lab.lab.views.boot_bytes import PAGES, bytes_picture, structure
from mirage_lab.lab.views.boot_channels import channels, channels_line, channels_picture
from mirage_lab.lab.views.boot_memory import memory, memory_line, memory_picture, page
from mirage_lab.lab.views.boot_timeline import boot, said, timeline
from mirage_lab.lab.views.kinds import Act, Action, Args, Ask, Look, View, domain_of, real, text, whole
from mirage_lab.plot.boot import boot_picture, boot_text
from mirage_lab.runtime.clock import show
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tracing.recorder import QUIET
from mirage_lab.tracing.svg import Svg

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["VIEW"]

PARTS: Final = ("memory", "channels", *PAGES)
NAMES: Final = 50
UNTIL: Final = (
    "xen.hypercall", "evtchn.upcall", "evtchn.notify", "xenstore.write", "xenbus.state", "console.line", "gnttab.map", "gnttab.copy",
    "device.running", "net.tx", "net.rx", "tcp.listen", "tcp.established", "domain.crashed",
)
"""Kinds the menu of "run until" offers first; what was recorded so far is added."""
_KIND: Final = re.compile(r"[a-z0-9_]{1,20}\.[a-z0-9_]{1,20}")
_LONGEST: Final = 3_600.0


def chosen(lab: Lab, look: Look) -> str | None:
    """Return the domain that is looked at: a guest, or dom0 when it was asked for."""
    return "dom0" if look.get("boot.domain") == "dom0" else domain_of(lab, look, "boot.domain")


def _part(look: Look) -> str:
    part = look.get("boot.part")
    return str(part) if part in PARTS else PARTS[0]


def snapshot(lab: Lab, look: Look) -> dict[str, Any]:
    """Return the timeline and the one part that is shown below it."""
    name = chosen(lab, look)
    machine = lab.machine
    infos = machine.toolstack.list()
    recorder = machine.world.recorder
    data: dict[str, Any] = {
        "domains": [{"name": info.name, "domid": info.domid, "state": str(info.state)} for info in infos[:NAMES]],
        "domain": name,
        "t": machine.now,
        "part": _part(look),
        "until": list(UNTIL),
        "quiet": [{"kind": kind, "on": recorder.kind(kind).on} for kind in sorted(QUIET)],
    }
    if name is None:
        return data
    data["timeline"] = timeline(lab, look, name)
    if data["part"] == "memory":
        data["memory"] = memory(lab, name) | {"colour": look.get("boot.colour"), "chosen": look.get("boot.run")}
    elif data["part"] == "channels":
        data["channels"] = channels(lab, name)
    else:
        data["bytes"] = structure(lab, name, data["part"]) | {"chosen": look.get("boot.field")}
    return data


def words(lab: Lab, look: Look) -> str:
    """Return the boot in a few lines, then the memory and the event channels of the domain."""
    name = chosen(lab, look)
    if name is None:
        return "no domain yet: lab.create(image) makes one"
    told = boot_text(boot(lab, name)).split("\n")[:6]
    return "\n".join([*told, memory_line(lab, name), channels_line(lab, name)])


def picture(lab: Lab, look: Look) -> str | None:
    """Return the boot timeline with the part that is shown below it; None without a domain."""
    name = chosen(lab, look)
    if name is None:
        return None
    from mirage_lab.lab.pictures import hosts

    above = boot_picture(boot(lab, name), hosts(lab.machine).colour(name))
    part = _part(look)
    if part == "memory":
        below = memory_picture(lab, name, above.width)
    elif part == "channels":
        below = channels_picture(lab, name, above.width)
    else:
        below = bytes_picture(lab, name, part, above.width)
    whole_picture = Svg(above.width, above.height + below.height + 8, above.title, above.desc)
    whole_picture.place(above, 0, 0)
    whole_picture.place(below, 0, above.height + 8)
    return str(whole_picture)


def _step(lab: Lab, args: Args) -> Act:
    """Handle one event of the world: a step of a vCPU, a timer, a frame."""
    if lab.playing:
        lab.pause()
    before = lab.machine.world.events
    found = lab.step()
    if lab.machine.world.events == before:
        return Act("lab.step()", "nothing is due: the world is at rest")
    told = "; ".join(f"{event.source} {event.kind} {said(event, 60)}" for event in found[:3]) or "nothing recorded"
    return Act("lab.step()", told + (f"; {len(found) - 3} more" if len(found) > 3 else ""))


def _until(lab: Lab, args: Args) -> Act:
    """Run until an event of a kind, of one domain when it is named."""
    kind = text(args, "kind", 41)
    if not _KIND.fullmatch(kind):
        raise LabError(f"{kind[:41]!r} is no kind of event: such as xen.hypercall")
    within = real(args, "seconds", 0.000_001, _LONGEST) if "seconds" in args else 10.0
    source = text(args, "source", 64) if args.get("source") else None
    line = f"lab.run_until({kind!r}, within=seconds({within:g})" + (f", source={source!r})" if source else ")")
    return Act(line, lab.run_until(kind, within=Ns(round(seconds(1) * within)), source=source))


def _run_to(lab: Lab, args: Args) -> Act:
    """Run to a time (ns), or go back to it."""
    t, now = whole(args, "t", 0, 1 << 62), lab.now
    if t < now:
        return Act(f"lab.rewind({t:_})", lab.rewind(Ns(t)))
    if t - now > _LONGEST * 1e9:
        raise LabError(f"{show(Ns(t - now))} from now is more than {_LONGEST:g} s: lab.run(...) in a cell can be interrupted")
    return Act(f"lab.run({t - now:_})", lab.run(Ns(t - now)))


def _record(lab: Lab, args: Args) -> Act:
    """Record a quiet kind from now on, or stop recording it."""
    kind, on = text(args, "kind", 41), args.get("on") is True
    if kind not in QUIET:
        raise LabError(f"{kind!r} is not one of the kinds that are off at first: {', '.join(sorted(QUIET))}")
    recorder = lab.machine.world.recorder
    with lab.lock:
        (recorder.enable if on else recorder.disable)(kind)
    verb = "enable" if on else "disable"
    told = f"{kind} is recorded from now on, until a reset or a rewind" if on else f"{kind} is no longer recorded"
    return Act(f"lab.machine.world.recorder.{verb}({kind!r})", told)


ACTIONS: Final[Mapping[str, Action]] = {"boot.step": _step, "boot.until": _until, "boot.run_to": _run_to, "boot.record": _record}
ASKS: Final[Mapping[str, Ask]] = {"boot.page": page}

VIEW: Final = View("boot", "Boot", snapshot, words, picture, ACTIONS, ASKS)
