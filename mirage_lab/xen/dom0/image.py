"""Image: what the toolstack builds a domain from; a value, made by the tool or read from a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Entry", "Image", "Kind"]

Kind = Literal["python", "elf", "arm"]
Entry = Callable[..., Awaitable[Any]]
"""`entry(os)`: the unikernel's main thread; `os` is the guest's kernel (`guest.minios.MiniOS`)."""


@dataclass(frozen=True, slots=True)
class Image:
    """A bootable image.

    `kind` python: `entry(os)` is awaited as the main thread.  `elf` and `arm`: `data` is the kernel file, `ramdisk` what it
    finds in memory beside itself (an initramfs).
    `boots`: how, where there is a choice: `pvh` or `pv`; of itself, pvh if it can.
    `manifest` says what was linked, why, and what was left out; it is shown, never used.
    """

    name: str
    entry: Entry | None = None
    kind: Kind = "python"
    memory_mib: int = 32
    cmdline: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    data: bytes = b""
    boots: str = ""
    ramdisk: bytes = b""

    def __post_init__(self) -> None:
        if self.kind == "python" and self.entry is None:
            raise ValueError(f"image {self.name}: kind python needs an entry, an async function of one argument")

    def __repr__(self) -> str:
        size = f", {len(self.data):,} bytes" if self.data else ""
        return f"<Image {self.name}: {self.kind}, {self.memory_mib} MiB{size}>"
