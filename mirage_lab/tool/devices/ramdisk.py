"""ramdisk: BLOCK: a disk in the unikernel's own memory, empty at boot and gone with it (mirage-block: ramdisk)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from mirage_lab.functoria import Impl
from mirage_lab.signatures.errors import DescriptionError, Disconnected, IsReadOnly, LocalProtocolError
from mirage_lab.signatures.storage import BlockInfo
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["Ramdisk", "ramdisk"]

SECTOR: Final = 512
LARGEST: Final = 64 << 20


class Ramdisk:
    """BLOCK in memory."""

    module_type: ClassVar[str] = "BLOCK"
    id = "ramdisk"

    def __init__(self, sectors: int, sector_size: int = SECTOR, *, read_write: bool = True) -> None:
        self._info = BlockInfo(read_write, sector_size, sectors)
        self._memory = bytearray(sectors * sector_size)
        self._connected = True

    def __repr__(self) -> str:
        return f"<Ramdisk {self._info.size_sectors} sectors of {self._info.sector_size} bytes{'' if self._connected else ', disconnected'}>"

    async def get_info(self) -> BlockInfo:
        """Return size and sector size."""
        return self._info

    async def read(self, sector: int, buffers: Sequence[bytearray | memoryview]) -> None:
        """Fill `buffers` from `sector` on; raises LocalProtocolError, Disconnected."""
        at = self._at(sector, buffers)
        for buffer in buffers:
            buffer[:] = self._memory[at : at + len(buffer)]
            at += len(buffer)

    async def write(self, sector: int, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        """Write `buffers` from `sector` on; raises IsReadOnly, LocalProtocolError, Disconnected."""
        at = self._at(sector, buffers)
        if not self._info.read_write:
            raise IsReadOnly(f"{self.id}: this disk can only be read")
        for buffer in buffers:
            self._memory[at : at + len(buffer)] = buffer
            at += len(buffer)

    def _at(self, sector: int, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        """Return where `sector` begins; nothing is read or written unless all of it can be."""
        if not self._connected:
            raise Disconnected(f"{self.id}: the disk was disconnected")
        size, count = self._info.sector_size, self._info.size_sectors
        odd = next((len(buffer) for buffer in buffers if len(buffer) % size), None)
        if odd is not None:
            raise LocalProtocolError(f"{self.id}: a buffer of {odd} bytes; buffers are whole sectors of {size}")
        length = sum(map(len, buffers)) // size
        if sector < 0 or sector + length > count:
            raise LocalProtocolError(f"{self.id}: sectors {sector} to {sector + length - 1} of a disk that ends at {count - 1}")
        return sector * size

    async def disconnect(self) -> None:
        """Nothing can be read or written any more."""
        self._connected = False


def _connect(os: Any, keys: Mapping[str, Any]) -> Ramdisk:
    return Ramdisk(keys["sectors"])


def ramdisk(sectors: int = 2_048) -> Impl:
    """Return an empty disk of so many sectors of 512 bytes as a device; raises DescriptionError."""
    if not 0 < sectors <= LARGEST // SECTOR:
        raise DescriptionError(f"ramdisk: {sectors} sectors; it has 1 to {LARGEST // SECTOR:,} of {SECTOR} bytes")
    return Impl(
        "ramdisk",
        "BLOCK",
        connect=_connect,
        implementation="mirage_lab.tool.devices.ramdisk",
        keys={"sectors": sectors},
        why="a disk in memory",
        fitting=fitting,
    )
