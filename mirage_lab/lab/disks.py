"""disks: what a person hands to `lab.create(image, disk=[...])`, and what is on a disk now: `vm.disk("xvda")`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from os import PathLike, fspath
from os.path import abspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.said import LabError, Said
from mirage_lab.signatures.errors import LocalProtocolError, MirageError
from mirage_lab.xen.abi.io.blkif import SECTOR, device_name, device_number
from mirage_lab.xen.dom0.blkback import Vbd, VbdStatistics
from mirage_lab.xen.dom0.disk import Disk, DiskError, Volume, stamp
from mirage_lab.xen.dom0.image import Image
from mirage_lab.xen.dom0.toolstack import placed

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["DiskHandle", "as_disks", "disks", "stamped"]

MOST: Final = 256 << 20
"""Bytes that `data` returns at most."""

RUN: Final = 2_048
"""Sectors that `save` takes at a time."""

SHOWN: Final = 8
"""Operations that are shown: a hostile guest asks for any number of them."""


def disks(image: Image, disk: Sequence[Any] | None, name: str, lab: Lab) -> tuple[Disk, ...]:
    """Return the disks of a domain; raises LabError for what is none, and when one is missing that the image asks for.

    Without `disk` they are those the image brings, or those of the domain that is replaced.
    """
    if disk is None:
        given = tuple(image.manifest.get("disk", ())) or lab.machine.disks.get(name, ())
    else:
        given = as_disks(disk)
    try:
        found = stamped(given)
        numbers = placed(found)
    except MirageError as error:
        raise LabError(f"{name}: {error}") from None
    known = {device_name(number) for number in numbers} | {one.title for one in found if one.path is not None}
    for dev in map(str, image.manifest.get("blocks", ())):
        if dev.removeprefix("/dev/") not in known and dev not in map(str, numbers):
            raise LabError(f"{name} has a disk block({dev!r}) and no such disk is plugged in: lab.create(image, disk=['disk.img']); disks: {_said(known)}")
    return found


def stamped(disks: Sequence[Disk]) -> tuple[Disk, ...]:
    """Return the disks, files by their whole path and with what they are like now; raises DiskError."""
    return tuple(replace(one, path=abspath(one.path), stamp=stamp(one.path)) if one.path is not None else one for one in disks)


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


class DiskHandle:
    """A disk of a domain, by the names of both."""

    def __init__(self, lab: Lab, name: str, dev: str) -> None:
        self._lab = lab
        self.name = name
        self.dev = dev

    @property
    def vbd(self) -> Vbd:
        """The back end of the disk as it is now; raises LabError."""
        machine = self._lab.machine
        there = machine.toolstack.blkback.of(machine.domid(self.name))
        try:
            wanted = device_number(self.dev)
        except LocalProtocolError as error:
            raise LabError(str(error)) from None
        for vbd in there:
            if vbd.device == wanted:
                return vbd
        raise LabError(f"{self.name} has no disk {self.dev}; disks: {_said([device_name(vbd.device) for vbd in there])}")

    @property
    def _volume(self) -> Volume:
        return self.vbd.volume

    @property
    def data(self) -> bytes:
        """All bytes of the disk as they are now, to look at or to create another domain with; raises LabError beyond 256 MiB."""
        volume = self._volume
        if volume.size > MOST:
            raise LabError(f"{self.name}/{self.dev}: {_size(volume.size)}, too many to be held at once: .save(path) writes a file, .read(sector, count) a part")
        return volume.read(0, volume.sectors)

    def read(self, sector: int, count: int = 1) -> bytes:
        """Return `count` sectors of 512 bytes; raises LabError past the end."""
        volume = self._volume
        if sector < 0 or count < 0 or sector + count > volume.sectors or count * SECTOR > MOST:
            raise LabError(f"{self.name}/{self.dev}: sectors {sector} to {sector + count - 1} of a disk that ends at {volume.sectors - 1}")
        return volume.read(sector, count)

    def save(self, path: str | PathLike[str]) -> Said:
        """Write the disk as it is now into a file, zeros left out where the file system can; raises LabError."""
        volume, target = self._volume, Path(path)
        if volume.disk.path is not None and target.exists() and target.samefile(volume.disk.path):
            raise LabError(f"{target}: this is the file that the disk is made of: give another name")
        try:
            with target.open("wb") as file:
                for sector in range(0, volume.sectors, RUN):
                    data = volume.read(sector, min(RUN, volume.sectors - sector))
                    file.seek(sector * SECTOR)
                    if data.count(0) != len(data):
                        file.write(data)
                file.truncate(volume.size)
        except OSError as error:
            raise LabError(f"{target}: {error.strerror or error}") from None
        return Said(f"{target}: {_size(volume.size)} of {self.name}/{self.dev} as of now")

    def statistics(self) -> VbdStatistics:
        """Return the counters of its back end."""
        return self.vbd.statistics()

    def __repr__(self) -> str:
        vbd, volume = self.vbd, self._volume
        seen, kept = vbd.statistics(), volume.statistics().kept
        how = "read only" if volume.readonly else "writes go into the file" if volume.through else f"{_size(kept)} written, in memory"
        asked = ", ".join(f"{count:,} {name}" for name, count in sorted(seen.requests.items())[:SHOWN]) or "no requests"
        return f"{vbd.name}: {volume.disk.title}, {_size(volume.size)}, {how} · {asked} · {seen.state}"


def _size(count: int) -> str:
    """Return bytes as a person says them."""
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << shift:
            return f"{count / (1 << shift):.4g} {unit}"
    return f"{count} bytes"
