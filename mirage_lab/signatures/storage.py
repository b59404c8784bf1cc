"""BLOCK, KV_RO, FS: storage (types/V1.mli, mirage 2.0.0)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from mirage_lab.signatures.device import Device

__all__ = ["Block", "BlockInfo", "Fs", "FsStat", "KvRo"]


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """A disk: whether it can be written, bytes per sector, number of sectors."""

    read_write: bool
    sector_size: int
    size_sectors: int


@runtime_checkable
class Block(Device, Protocol):
    """BLOCK: a disk of sectors.

    Promises: a write is on the disk when it returns.  Refusals: no cancel, no partial sectors; IsReadOnly, Disconnected.
    """

    module_type: ClassVar[str] = "BLOCK"

    async def get_info(self) -> BlockInfo:
        """Return size and sector size."""

    async def read(self, sector: int, buffers: Sequence[bytearray | memoryview]) -> None:
        """Fill `buffers`, whole sectors each, from `sector` on."""

    async def write(self, sector: int, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        """Write `buffers`, whole sectors each, from `sector` on."""


@runtime_checkable
class KvRo(Device, Protocol):
    """KV_RO: values by key, read only.

    Promises: the same key gives the same bytes while the unikernel lives.  Refusals: UnknownKey; keys are not listed.
    """

    module_type: ClassVar[str] = "KV_RO"

    async def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes (all, unless given) of the value from `offset`; short at its end."""

    async def size(self, key: str) -> int:
        """Return the length of the value in bytes."""


@dataclass(frozen=True, slots=True)
class FsStat:
    """A file or directory: name, whether it is read only, whether a directory, size in bytes."""

    filename: str
    read_only: bool
    directory: bool
    size: int


@runtime_checkable
class Fs(Device, Protocol):
    """FS: files and directories, paths with "/".

    Refusals: DeviceError naming the path: not a directory, is a directory, not empty, no entry, exists, no space.
    """

    module_type: ClassVar[str] = "FS"

    async def format(self, size: int) -> None:
        """Make an empty file system of `size` bytes."""

    async def create(self, path: str) -> None:
        """Make an empty file."""

    async def mkdir(self, path: str) -> None:
        """Make a directory."""

    async def destroy(self, path: str) -> None:
        """Remove a file or an empty directory."""

    async def stat(self, path: str) -> FsStat:
        """Describe a file or directory."""

    async def listdir(self, path: str) -> list[str]:
        """Return the names in a directory, sorted."""

    async def read(self, path: str, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; short at the end."""

    async def size(self, path: str) -> int:
        """Return the length of a file."""

    async def write(self, path: str, offset: int, data: bytes) -> None:
        """Write into a file at `offset`, making it longer if need be."""
