"""block: BLOCK: a virtual disk; what it is made of is said at `lab.create(image, disk=["disk.img"])`; for target unix, a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["block", "block_of_file", "wanted"]

HOW: Final[dict[str, Any]] = {
    "implementation": "mirage_lab.xen.guest.blkfront",
    "why": "reads and writes sectors over a shared ring",
    "fitting": fitting,
}


async def _connect(os: Any, keys: Mapping[str, Any]) -> Any:
    return await os.block(keys["dev"])


async def _connect_file(os: Any, keys: Mapping[str, Any]) -> Any:
    return await os.block(keys["path"])


def block(dev: str = "xvda") -> Impl:
    """Return disk `dev` of the domain: xvda is the first, xvdb the second."""
    return Impl("block", "BLOCK", connect=_connect, keys={"dev": dev}, targets=("xen",), **HOW)


def block_of_file(path: str) -> Impl:
    """Return the disk that is made of this file, whichever place it has; the domain is created with `disk=[path]`.

    For target unix it is the file itself: what is written is in it.
    """
    return Impl("block_of_file", "BLOCK", connect=_connect_file, keys={"path": path}, targets=("xen", "unix"), **HOW)


def wanted(impl: Impl) -> str | None:
    """Return what the domain must have: the name of a disk or of the file of one; None for other devices."""
    match impl.name:
        case "block":
            return str(impl.keys["dev"])
        case "block_of_file":
            return PurePath(impl.keys["path"]).name
        case _:
            return None
