"""making: from what a person hands to `lab.create` to an image and the lans it is plugged into."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mirage_lab.lab.said import LabError
from mirage_lab.signatures.functor import Unikernel
from mirage_lab.xen.dom0.image import Image

if TYPE_CHECKING:
    from mirage_lab.lab.handles import Lan
    from mirage_lab.lab.lab import Lab

__all__ = ["address_warnings", "image_of", "plugs"]


def image_of(what: Any, lab: Lab) -> Image:
    """Return the image of an image, a plan or a job; raises LabError for anything else.

    An image older than the function it was built from is used as it is, and a warning says so.
    """
    if isinstance(what, Image):
        from mirage_lab.tool.building import edited

        warning = edited(what)
        if warning:
            lab.machine.world.report("lab", warning)
        return what
    if isinstance(what, Unikernel):
        if not what.is_job:
            holes = ", ".join(map(str, what.open_holes))
            raise LabError(f"{what.name} still needs {holes}: fill the holes, {what.name}(...), and create the job that comes back")
        from mirage_lab.tool import configure

        return configure(what, name=what.name).build()
    build = getattr(what, "build", None)
    if callable(build):
        image = build()
        if isinstance(image, Image):
            return image
    raise LabError(f"lab.create takes an image, a plan or a job, not {type(what).__name__}")


def plugs(image: Image, vif: Sequence[Lan | str] | None, name: str, lab: Lab) -> tuple[str, ...]:
    """Return the names of the lans for the image's interfaces; raises LabError for one that is not plugged in.

    Without `vif` a domain that is replaced keeps its plugs.
    """
    lans = lab.machine.lans
    if vif is None:
        names = lab.machine.plugged.get(name, ())
    elif isinstance(vif, str) or hasattr(vif, "segment"):
        raise LabError(f"vif is a list, a lan for each interface: lab.create(image, vif=[{getattr(vif, 'name', vif)}])")
    else:
        names = tuple(lan if isinstance(lan, str) else lan.name for lan in vif)
    there = ", ".join(lans) or "none yet: lan = lab.lan('br0')"
    for lan in names:
        if lan not in lans:
            raise LabError(f"vif plugged into {lan}: there is no such lan; lans: {there}")
    wanted = [str(dev) for dev in image.manifest.get("netifs", ())]
    if len(wanted) > len(names):
        missing = wanted[len(names)]
        example = next(iter(lans), "lan")
        raise LabError(f"{name} has an interface netif({missing!r}) that is plugged into no lan: lab.create(image, vif=[{example}]); lans: {there}")
    return names


def address_warnings(image: Image, name: str, lans: Sequence[str], lab: Lab) -> list[str]:
    """Return what is odd about the address an image will have on its first lan."""
    address = image.manifest.get("address")
    if not address or not lans:
        return []
    mine, gateway = ipaddress.IPv4Interface(str(address)).ip, lab.machine.subnets[lans[0]]
    if mine not in gateway.network:
        return [f"{name} will have the address {mine}, which is not in {gateway.network} of {lans[0]}: nobody there can reach it"]
    if mine == gateway.ip:
        return [f"{name} will have the address {mine}, which is the lab's own on {lans[0]}: give it another one"]
    for other, image_there in lab.machine.images.items():
        there = str(image_there.manifest.get("address") or "").split("/")[0]
        if other != name and there == str(mine) and lans[0] in lab.machine.plugged.get(other, ()) and lab.machine.exists(other):
            return [f"{name} will have the address {mine}, and {other} has it already: only one of them is heard"]
    return []
