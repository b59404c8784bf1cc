"""building: a plan becomes an image: its code sealed, its devices linked, and a manifest that says what and why.

The manifest: name, target, `linked` (what, why), `left_out`, `netifs`, `blocks`, `address`, `profile`, `keys`, `code` (sha256 of the
unikernel's code), `warnings`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.functoria import Impl, Vertex
from mirage_lab.signatures.functor import Unikernel
from mirage_lab.tool.devices.block import wanted
from mirage_lab.tool.devices.catalogue import CATALOGUE, SELDOM
from mirage_lab.tool.sealing import Sealed, digest, seal
from mirage_lab.xen.dom0.image import Image

if TYPE_CHECKING:
    from mirage_lab.tool.configuring import Plan

__all__ = ["Slot", "build", "connect_all", "edited", "manifest"]

ALWAYS: Final = {
    "xen": (("mirage_lab.xen.guest.minios", "boots the domain"), ("mirage_lab.xen.guest.xenstore", "finds the domain's devices")),
    "unix": (("mirage_lab.usernet.unix", "runs on this computer"),),
}


class Slot:
    """A device of a running unikernel: its state (`waiting`, `connecting`, `running`, `failed`, `ended`) and, once connected, itself."""

    __slots__ = ("device", "state")

    def __init__(self) -> None:
        self.state = "waiting"
        self.device: Any = None


class Entry:
    """What an image boots: connects the devices, then runs the sealed unikernel."""

    __slots__ = ("keys", "profile", "sealed", "vertices")

    def __init__(self, plan: Plan, sealed: Sealed) -> None:
        self.vertices = plan.vertices
        self.keys = plan.keys
        self.profile = plan.profile
        self.sealed = sealed

    async def __call__(self, os: Any) -> None:
        await connect_all(self.vertices, self.keys, self.profile, os, self.sealed)


def manifest(plan: Plan, sealed: Sealed | None = None) -> dict[str, Any]:
    """Return what an image of the plan is made of."""
    linked = dict(ALWAYS[plan.target])
    for vertex in plan.vertices:
        if isinstance(vertex.what, Impl):
            linked.setdefault(vertex.what.implementation, f"{vertex.id}: {vertex.what.why}")
    used = {vertex.module_type for vertex in plan.vertices}
    impls = [vertex.what for vertex in plan.vertices if isinstance(vertex.what, Impl)]
    sealed = sealed or seal(plan.job.function)
    return {
        "name": plan.name,
        "target": plan.target,
        "linked": list(linked.items()),
        "left_out": [module_type for module_type in CATALOGUE if module_type not in used | SELDOM and not _inside(module_type, used)],
        "netifs": [impl.keys["dev"] for impl in impls if impl.name == "netif"],
        "blocks": [dev for impl in impls if (dev := wanted(impl)) is not None],
        "address": next((impl.keys["address"] for impl in impls if impl.keys.get("address")), None),
        "profile": plan.profile or "today",
        "keys": dict(plan.keys),
        "code": sealed.digest,
        "warnings": list(sealed.warnings),
    }


def _inside(module_type: str, used: set[str]) -> bool:
    """True for a layer that a direct stack carries within."""
    return "STACKV4" in used and module_type in ("ETHIF", "ARP", "IPV4", "UDPV4", "TCPV4")


def build(plan: Plan) -> Image:
    """Return the sealed image of a plan for Xen."""
    sealed = seal(plan.job.function)
    return Image(plan.name, entry=Entry(plan, sealed), manifest=manifest(plan, sealed))


async def connect_all(found: list[Vertex], keys: Any, profile: str | None, os: Any, sealed: Sealed) -> None:
    """Connect each device once, what is needed first, then run the unikernel; `os.queue.devices` tells how far that is."""
    slots = {vertex.id: Slot() for vertex in found}
    os.queue.devices.update(slots)
    tell = {state: os.queue.kind(f"device.{state}") for state in ("connecting", "running", "failed", "ended")}

    def move(vertex: Vertex, state: str) -> None:
        slots[vertex.id].state = state
        if tell[state].on:
            tell[state].emit(os.queue.now, os.queue.name, os.queue.world.cause, {"device": vertex.id, "module_type": vertex.module_type})

    for vertex in found:
        what, below = vertex.what, [slots[name].device for _, name in vertex.needs]
        try:
            if isinstance(what, Impl):
                move(vertex, "connecting")
                resolved = dict(what.keys)
                if "profile" in resolved and resolved["profile"] is None:
                    resolved["profile"] = profile or getattr(os, "profile", "today")
                device = what.connect(os, resolved, *below)
                slots[vertex.id].device = await device if inspect.isawaitable(device) else device
                move(vertex, "running")
            elif isinstance(what, Unikernel):
                move(vertex, "running")
                await sealed.start(os.console.log)(*below, **keys)
                move(vertex, "ended")
        except Exception:
            move(vertex, "failed")
            raise


def edited(image: Image) -> str:
    """Return a warning when the notebook's function is no longer the one in the image, else ""."""
    if not isinstance(image.entry, Entry):
        return ""
    sealed = image.entry.sealed
    name = sealed.function.__name__
    now = getattr(sealed.function, "__globals__", {}).get(name)
    function = now.function if isinstance(now, Unikernel) else now
    if function is None or not callable(function) or digest(function) == sealed.digest:
        return ""
    return f"{image.name} was edited after this image was built; re-run job, plan and image, or lab.create(job)"
