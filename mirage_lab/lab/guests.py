"""guests: images of real Xen guests, from files."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

from mirage_lab.lab.disks import as_disks
from mirage_lab.lab.said import LabError
from mirage_lab.vcpu.emulator import unicorn
from mirage_lab.xen.abi.pv import NOTE_ENTRY
from mirage_lab.xen.dom0.armimage import is_arm, read_arm
from mirage_lab.xen.dom0.bzimage import is_bzimage, vmlinux
from mirage_lab.xen.dom0.elf import ImageError, read_elf
from mirage_lab.xen.dom0.image import Image

__all__ = ["guest_image"]

LARGEST: Final = 256 << 20


def guest_image(
    kernel: str | PathLike[str] | bytes,
    *,
    name: str | None = None,
    cmdline: str = "",
    memory_mib: int = 64,
    disk: Sequence[Any] = (),
    boot: str = "",
    ramdisk: str | PathLike[str] | bytes = b"",
) -> Image:
    """Return the image of a Xen guest that is machine code, for `lab.create`.

    `kernel`: the file of a PVH guest (an ELF file of x86 with the note PHYS32_ENTRY), of a PV guest of x86-64 (with other
    notes of Xen), a bzImage of Linux with such a kernel in it, an Image of 64-bit ARM or a zImage of 32-bit ARM, or its
    bytes; `cmdline`: what its start_info or device tree says; `disk`: the disks it is created with, as for `lab.create`.
    `boot`: "pvh" or "pv", for a kernel of x86 that can do both; of itself it is pvh.  `ramdisk`: what it finds in
    memory beside itself, as Linux its initramfs.
    Raises LabError for what is none, GuestsMissing without an emulator (mirage_lab[guests]).
    """
    data = _bytes_of(kernel)
    called = Path(kernel).stem if isinstance(kernel, str | PathLike) else "guest"
    beside = _bytes_of(ramdisk)
    unicorn()
    try:
        if is_arm(data):
            arm = read_arm(data)
            told = {"netifs": (), "bits": arm.bits, "boots": "arm", "entry": arm.address, "disk": as_disks(disk)}
            return Image(name or called, kind="arm", memory_mib=memory_mib, cmdline=cmdline, manifest=told, data=data, ramdisk=beside)
        if is_bzimage(data):
            data = vmlinux(data)
        elf = read_elf(data)
        flavour = elf.flavour(boot)
    except ImageError as error:
        raise LabError(f"{called}: {error}") from None
    entry = elf.phys32_entry if flavour == "pvh" else elf.number(NOTE_ENTRY)
    manifest = {"netifs": (), "bits": elf.bits, "boots": flavour, "entry": elf.entry if entry is None else entry, "disk": as_disks(disk)}
    return Image(name or called, kind="elf", memory_mib=memory_mib, cmdline=cmdline, manifest=manifest, data=data, boots=boot, ramdisk=beside)


def _bytes_of(what: str | PathLike[str] | bytes) -> bytes:
    """Return bytes, or those of a file; raises LabError."""
    if isinstance(what, bytes | bytearray | memoryview):
        return bytes(what)
    path = Path(what)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise LabError(f"{path}: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise LabError(f"{path}: more than {LARGEST >> 20} MiB; a guest is smaller")
    return data
