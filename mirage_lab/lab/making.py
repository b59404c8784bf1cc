"""making: from what a person hands to `lab.create` to an image and the lans it is plugged into."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from mirage_lab.lab.said import LabError
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.functor import Unikernel
from mirage_lab.xen.abi.io.blkif import device_name
from mirage_lab.xen.dom0.disk import Disk, DiskError, stamp
from mirage_lab.xen.dom0.image import Image
from mirage_lab.xen.dom0.toolstack import placed

if TYPE_CHECKING:
    from mirage_lab.lab.handles import Lan
    from mirage_lab.lab.lab import Lab

__all__ = ["address_warnings", "as_disks", "disks", "image_of", "plugs"]


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


def disks(image: Image, disk: Sequence[Any] | None, name: str, lab: Lab) -> tuple[Disk, ...]:
    """Return the disks of a domain; raises LabError for what is none, and when one is missing that the image asks for.

    Without `disk` they are those the image brings, or those of the domain that is replaced.
    """
    if disk is None:
        given = tuple(image.manifest.get("disk", ())) or lab.machine.disks.get(name, ())
    else:
        given = as_disks(disk)
    try:
        found = tuple(replace(one, stamp=stamp(one.path)) if one.path is not None else one for one in given)
        numbers = placed(found)
    except MirageError as error:
        raise LabError(f"{name}: {error}") from None
    known = {device_name(number) for number in numbers} | {one.title for one in found if one.path is not None}
    for dev in map(str, image.manifest.get("blocks", ())):
        if dev.removeprefix("/dev/") not in known and dev not in map(str, numbers):
            raise LabError(f"{name} has a disk block({dev!r}) and no such disk is plugged in: lab.create(image, disk=['disk.img']); disks: {_said(known)}")
    return found


def _said(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def as_disks(disk: Sequence[Any]) -> tuple[Disk, ...]:
    """Return the disks that a person lists: paths, bytes, dicts of Disk's fields, or Disks; raises LabError."""
    if isinstance(disk, str | bytes | bytearray | PathLike | dict | Disk):
        raise LabError("disk is a list, an entry for each disk: disk=['disk.img']")
    found = []
    for one in disk:
        try:
            if isinstance(one, Disk):
                found.append(one)
            elif isinstance(one, str | PathLike):
                found.append(Disk(path=fspath(one)))
            elif isinstance(one, bytes | bytearray | memoryview):
                found.append(Disk(data=bytes(one)))
            elif isinstance(one, dict):
                fields = {"data": bytes(one["data"])} if "data" in one else {"path": fspath(one["path"])} if "path" in one else {}
                found.append(Disk(**{**one, **fields}))
            else:
                raise LabError(f"a disk is a path, bytes, or a dict of path, data, size, vdev, readonly, writable; not {type(one).__name__}")
        except DiskError as error:
            raise LabError(str(error)) from None
        except TypeError as error:
            raise LabError(f"a disk has path, data or size, and vdev, readonly, writable: {error}") from None
    return tuple(found)


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
