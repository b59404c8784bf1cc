"""FileBlock: BLOCK of target unix: a file of this computer (mirage-block-unix).  What is written is in the file.

A file that may not be written is a disk that can only be read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from io import FileIO
from typing import ClassVar, Final

from mirage_lab.signatures.errors import DeviceError, Disconnected, IsReadOnly, LocalProtocolError
from mirage_lab.signatures.storage import BlockInfo

__all__ = ["FileBlock"]

SECTOR: Final = 512


class FileBlock:
    """A disk of sectors of 512 bytes; raises DeviceError for a file that cannot be one."""

    module_type: ClassVar[str] = "BLOCK"

    def __init__(self, path: str) -> None:
        self.id = path
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise DeviceError(f"{path}: no plain file; a disk is a file of sectors")
            try:
                self._file = FileIO(path, "r+")
            except PermissionError:
                self._file = FileIO(path, "r")
            size = os.fstat(self._file.fileno()).st_size
        except (OSError, ValueError) as error:
            raise DeviceError(f"{path}: {_reason(error)}") from None
        if not size or size % SECTOR:
            self._file.close()
            raise DeviceError(f"{path}: {size:,} bytes; a disk is whole sectors of {SECTOR}, one at least")
        self._info = BlockInfo(self._file.writable(), SECTOR, size // SECTOR)

    def __repr__(self) -> str:
        return f"<FileBlock {self.id} {self._info.size_sectors} sectors of {SECTOR} bytes{', disconnected' if self._file.closed else ''}>"

    async def get_info(self) -> BlockInfo:
        """Return size and sector size."""
        return self._info

    async def read(self, sector: int, buffers: Sequence[bytearray | memoryview]) -> None:
        """Fill `buffers` from `sector` on; raises LocalProtocolError, DeviceError, Disconnected."""
        at = self._at(sector, buffers)
        try:
            self._file.seek(at)
            for buffer in buffers:
                rest = memoryview(buffer).cast("B")
                while len(rest):
                    count = self._file.readinto(rest)
                    if not count:
                        raise DeviceError(f"{self.id}: the file has become shorter")
                    rest = rest[count:]
        except OSError as error:
            raise DeviceError(f"{self.id}: {_reason(error)}") from None

    async def write(self, sector: int, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        """Write `buffers` from `sector` on; raises IsReadOnly, LocalProtocolError, DeviceError, Disconnected."""
        at = self._at(sector, buffers)
        if not self._info.read_write:
            raise IsReadOnly(f"{self.id}: this disk can only be read")
        try:
            self._file.seek(at)
            for buffer in buffers:
                rest = memoryview(buffer).cast("B")
                while len(rest):
                    rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise DeviceError(f"{self.id}: {_reason(error)}") from None

    def _at(self, sector: int, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        """Return where `sector` begins; nothing is read or written unless all of it can be."""
        if self._file.closed:
            raise Disconnected(f"{self.id}: the disk was disconnected")
        odd = next((len(buffer) for buffer in buffers if len(buffer) % SECTOR), None)
        if odd is not None:
            raise LocalProtocolError(f"{self.id}: a buffer of {odd} bytes; buffers are whole sectors of {SECTOR}")
        count = sum(map(len, buffers)) // SECTOR
        if sector < 0 or sector + count > self._info.size_sectors:
            raise LocalProtocolError(f"{self.id}: sectors {sector} to {sector + count - 1} of a disk that ends at {self._info.size_sectors - 1}")
        return sector * SECTOR

    async def flush(self) -> None:
        """Return when all that was written is where a power cut cannot take it."""
        self._at(0, ())
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DeviceError(f"{self.id}: {_reason(error)}") from None

    async def disconnect(self) -> None:
        """Close the file."""
        self.close()

    @property
    def closed(self) -> bool:
        """True once the disk was disconnected."""
        return self._file.closed

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
