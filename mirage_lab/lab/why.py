"""why: what a domain waits for, or why it stopped, in one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirage_lab.lab.waiting import stands, waits
from mirage_lab.plot.scale import spoken
from mirage_lab.tool.native.places import with_places
from mirage_lab.xen.abi.io.blkif import device_name
from mirage_lab.xen.abi.io.xenbus import parse
from mirage_lab.xen.abi.sched import REASON_NAMES

if TYPE_CHECKING:
    from mirage_lab.lab.machine import Machine

__all__ = ["why"]


def why(machine: Machine, name: str) -> str:
    """Return the answer; raises LabError for a domain that is not there."""
    domid = machine.domid(name)
    domain = machine.toolstack.domain(domid)
    match domain.state:
        case "paused":
            return f"{name} is paused: vm.unpause() lets it run"
        case "crashed":
            return f"{name} crashed: {_crash(machine, name, domid)}"
        case "shutdown":
            ended = "its main thread ended" if domain.machine is None else domain.machine.ended or f"it asked for it ({REASON_NAMES.get(domain.reason or 0)})"
            return f"{name} has shut down: {ended}; lab.create(image) makes it again"
        case _:
            pass
    told = [f"{name} is {domain.state}"]
    waiting = [repr(task) for task in domain.queue.tasks]
    told += [f"  {line}" for line in waiting[:8]]
    told += [f"  and {len(waiting) - 8} more tasks"] if len(waiting) > 8 else []
    vcpu = machine.vcpu(name)
    told += waits(machine, vcpu) if vcpu is not None else []
    told += _devices(machine, domid)
    deadline = machine.world.next_deadline
    if deadline is None:
        told.append("  nothing in this world will happen by itself: send it something, or look at its devices")
    else:
        told.append(f"  the next thing in this world happens in {spoken(max(0, deadline - machine.world.now))}: lab.run(...)")
    return "\n".join(told)


def _crash(machine: Machine, name: str, domid: int) -> str:
    """What ended a domain: what the lab saw, or what the guest itself said last; with the line of its source where that is known."""
    reasons = machine.world.recorder.events("task.crashed", name)
    if reasons:
        text = str(reasons[-1].fields.get("text"))
    else:
        last = [line for line in machine.toolstack.console(domid).lines[-20:] if line.startswith(("fault: ", "panic: "))]
        text = last[-1].removeprefix("fault: ")[:300] if last else "the watchdog or the guest itself ended it"
    image, vcpu = machine.images.get(name), machine.vcpu(name)
    text = text if image is None else with_places(text, image.manifest.get("places", ()))
    return text if vcpu is None or not reasons else f"{text}\n  it stands at {stands(machine, vcpu)}"


def _devices(machine: Machine, domid: int) -> list[str]:
    """A line for each vif and vbd whose two ends have not met."""
    xenstore, told = machine.toolstack.xenstore, []
    for kind in ("vif", "vbd"):
        home = f"/local/domain/{domid}/device/{kind}"
        for handle in xenstore.list(home) if xenstore.exists(home) else []:
            front = parse(xenstore.get(f"{home}/{handle}/state"))
            back = parse(xenstore.get(f"/local/domain/0/backend/{kind}/{domid}/{handle}/state"))
            if not front == back == 4:
                called = f" ({device_name(int(handle))})" if kind == "vbd" and handle.isdigit() else ""
                told.append(f"  {kind}/{handle}{called}: front end {front.title}, back end {back.title}")
    return told
