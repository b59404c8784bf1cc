"""Disk: what a virtual disk is made of, a value; and Volume, the same once it is open.

    Disk(data=b"...")                    its bytes, in memory
    Disk(size=1 << 20)                   zeros
    Disk(path="disk.img")                a file of this computer; what a guest writes stays in memory, over it
    Disk(path=..., readonly=True)        nobody writes
    Disk(path=..., writable=True)        what a guest writes goes into the file

Writes are kept by clusters of 4 KiB, so that the sectors nobody wrote cost nothing, and a world that is built again begins
with the same disk.  A file is opened for the person who named it; guests have no way to name one.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from io import FileIO
from typing import Final

from mirage_lab.signatures.errors import MirageError
from mirage_lab.xen.abi.io.blkif import SECTOR

__all__ = ["Disk", "DiskError", "Volume", "VolumeStatistics", "open_disk", "stamp"]

CLUSTER: Final = 4_096
LARGEST: Final = 64 << 30
MOST_WRITTEN: Final = 256 << 20
"""Bytes of writes that are kept in memory for one disk."""


class DiskError(MirageError):
    """A disk cannot be opened, read or written."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A virtual disk: one of `path`, `data` and `size` (bytes), its place `vdev` ("xvda"; the next free one without), and who may write.

    `stamp` is the (size, mtime) of a file when it was first plugged in: a replay says when the file is another one.
    """

    path: str | None = None
    data: bytes | None = None
    size: int = 0
    vdev: str = ""
    readonly: bool = False
    writable: bool = False
    stamp: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if (self.path is not None) + (self.data is not None) + bool(self.size) != 1:
            raise DiskError("a disk has a path, data, or a size (bytes of zeros), one of them")
        if self.readonly and self.writable:
            raise DiskError(f"{self.title}: a disk is readonly or writable, not both")
        if self.writable and self.path is None:
            raise DiskError(f"{self.title}: writable=True is for a file; any other disk is in memory, and can be written there")
        if self.path is None:
            check_size(self.title, self.size if self.data is None else len(self.data))

    @property
    def title(self) -> str:
        """How messages call it; of a path the last part, so that two computers say the same."""
        return os.path.basename(self.path) or self.path if self.path is not None else "memory"

    def __repr__(self) -> str:
        what = {"path": self.path, "data": self.data, "size": self.size or None, "vdev": self.vdev or None}
        flags = {"readonly": self.readonly or None, "writable": self.writable or None}
        parts = [f"{key}={_short(value)}" for key, value in {**what, **flags}.items() if value is not None]
        return f"Disk({', '.join(parts)})"


def _short(value: object) -> str:
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) and len(value) > 16 else repr(value)


def check_size(title: str, size: int) -> None:
    """Raises DiskError unless that many bytes can be a disk."""
    if size <= 0 or size % SECTOR or size > LARGEST:
        raise DiskError(f"{title}: {size:,} bytes; a disk is whole sectors of {SECTOR}, one at least and {LARGEST >> 30} GiB at most")


def stamp(path: str) -> tuple[int, int]:
    """Return (size, mtime in ns) of the file of a disk; raises DiskError for what cannot be one."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise DiskError(f"{path}: no plain file; a disk is a file of sectors")
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:
        raise DiskError(f"{path}: {_reason(error)}") from None
    check_size(path, found.st_size)
    return found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class VolumeStatistics:
    """Sectors in all, and bytes of writes kept in memory."""

    sectors: int
    kept: int


class Volume:
    """An open disk.  Its methods raise DiskError, nothing else, for what the computer below refuses."""

    def __init__(self, disk: Disk, size: int, file: FileIO | None, through: bool) -> None:
        self.disk = disk
        self.size = size
        self.sectors = size // SECTOR
        self.readonly = disk.readonly
        self.through = through
        found = os.fstat(file.fileno()) if file is not None else None
        self.identity = (found.st_dev, found.st_ino) if found else None
        """Which file it is, however it was named."""
        self._file = file
        self._written: dict[int, bytearray] = {}
        self._trimmed = bytearray()

    def __repr__(self) -> str:
        return f"<Volume {self.disk.title} {self.sectors} sectors{', read only' if self.readonly else ''}>"

    def read(self, sector: int, count: int) -> bytes:
        """Return `count` sectors; the caller has checked that there are so many."""
        at, length = sector * SECTOR, count * SECTOR
        if not self._written and not self._trimmed:
            return self._base(at, length)
        pieces = []
        end = at + length
        while at < end:
            index, offset = divmod(at, CLUSTER)
            size = min(CLUSTER - offset, end - at)
            cluster = self._written.get(index)
            pieces.append(bytes(cluster[offset : offset + size]) if cluster is not None else self._below(index, at, size))
            at += size
        return b"".join(pieces)

    def _below(self, index: int, at: int, size: int) -> bytes:
        """Return bytes of a cluster that is not in memory."""
        return bytes(size) if self._trimmed and self._trimmed[index] else self._base(at, size)

    def _base(self, at: int, length: int) -> bytes:
        if self._file is not None:
            return self._from_file(self._file, at, length)
        data = self.disk.data[at : at + length] if self.disk.data is not None else b""
        return data if len(data) == length else data + bytes(length - len(data))

    def _from_file(self, file: FileIO, at: int, length: int) -> bytes:
        data = b""
        try:
            file.seek(at)
            while len(data) < length and (more := file.read(length - len(data))):
                data += more
        except (OSError, ValueError) as error:
            raise DiskError(f"{self.disk.title}: {_reason(error)}") from None
        if len(data) != length:
            raise DiskError(f"{self.disk.title}: the file has become shorter")
        return data

    def write(self, sector: int, data: bytes) -> None:
        """Write whole sectors."""
        at = sector * SECTOR
        if self.through and self._file is not None:
            self._into_file(self._file, at, data)
            return
        done = 0
        while done < len(data):
            index, offset = divmod(at + done, CLUSTER)
            size = min(CLUSTER - offset, len(data) - done)
            self._cluster(index)[offset : offset + size] = data[done : done + size]
            done += size

    def _into_file(self, file: FileIO, at: int, data: bytes) -> None:
        done = 0
        try:
            file.seek(at)
            while done < len(data):
                done += file.write(data[done:]) or 0
        except (OSError, ValueError) as error:
            raise DiskError(f"{self.disk.title}: {_reason(error)}") from None

    def _cluster(self, index: int) -> bytearray:
        """Return a cluster in memory, taken there if it was not."""
        found = self._written.get(index)
        if found is None:
            if (len(self._written) + 1) * CLUSTER > MOST_WRITTEN:
                raise DiskError(f"{self.disk.title}: {MOST_WRITTEN >> 20} MiB were written, and no more are kept in memory")
            start = index * CLUSTER
            below = self._below(index, start, min(CLUSTER, self.size - start))
            found = self._written[index] = bytearray(below)
        return found

    def flush(self) -> None:
        """See that what was written through is in the file."""
        if self.through and self._file is not None:
            try:
                os.fsync(self._file.fileno())
            except (OSError, ValueError) as error:
                raise DiskError(f"{self.disk.title}: {_reason(error)}") from None

    def discard(self, sector: int, count: int) -> None:
        """Forget whole clusters of these sectors: they read as zeros.  A file that is written through keeps them: it is only a hint."""
        first, last = -(-sector * SECTOR // CLUSTER), (sector + count) * SECTOR // CLUSTER
        if self.through or last <= first:
            return
        if not self._trimmed:
            self._trimmed = bytearray(-(-self.size // CLUSTER))
        self._trimmed[first:last] = b"\1" * (last - first)
        held = self._written if len(self._written) < last - first else range(first, last)
        for index in [index for index in held if first <= index < last]:
            self._written.pop(index, None)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._written.clear()

    def statistics(self) -> VolumeStatistics:
        """Return the counters."""
        return VolumeStatistics(self.sectors, len(self._written) * CLUSTER)


def open_disk(disk: Disk, *, live: bool = True) -> Volume:
    """Open a disk; in a world that is built again (`live` False) no file is written.  Raises DiskError."""
    if disk.path is None:
        return Volume(disk, disk.size if disk.data is None else len(disk.data), None, False)
    size, _ = stamp(disk.path)
    through = disk.writable and live
    try:
        file = FileIO(disk.path, "r+" if through else "r")
    except (OSError, ValueError) as error:
        raise DiskError(f"{disk.path}: {_reason(error)}") from None
    return Volume(disk, size, file, through)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
