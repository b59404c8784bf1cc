"""block: BLOCK: a virtual disk; what it is made of is said at `lab.create(image, disk=["disk.img"])`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["block", "block_of_file"]


async def _connect(os: Any, keys: Mapping[str, Any]) -> Any:
    return await os.block(keys["dev"])


def block(dev: str = "xvda") -> Impl:
    """Return disk `dev` of the domain: xvda is the first, xvdb the second."""
    return _disk(dev)


def block_of_file(path: str) -> Impl:
    """Return the disk that is made of this file, whichever place it has; the domain is created with `disk=[path]`."""
    return _disk(PurePath(path).name)


def _disk(dev: str) -> Impl:
    return Impl(
        "block",
        "BLOCK",
        connect=_connect,
        implementation="mirage_lab.xen.guest.blkfront",
        keys={"dev": dev},
        targets=("xen",),
        why="reads and writes sectors over a shared ring",
        fitting=fitting,
    )
