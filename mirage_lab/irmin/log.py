"""log: what was acknowledged and is not yet in a pack: frames at the end of a file, each whole or not there.

    header "irmin-log 1\\n"      frame: length (u32), CRC-32 of the payload (u32), payload

A process that is killed may leave half a frame, a full disk too: reading stops at the first frame that is not whole, says
how much it dropped, and writing goes on after the last whole one.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirage_lab.irmin.errors import StoreError

__all__ = ["HEADER", "Log", "Recovered", "synced_directory"]

HEADER: Final = b"irmin-log 1\n"
LARGEST: Final = 1 << 30
_FRAME: Final = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found in a log: whole frames, and the bytes after them that were dropped and why ("" for none)."""

    frames: int
    dropped: int
    why: str

    def __str__(self) -> str:
        return f"{self.frames} transactions recovered" + (f"; {self.dropped} bytes dropped: {self.why}" if self.dropped else "")


class Log:
    """An open log; `frames` are those it held when it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            self._open()
        except BaseException:
            os.close(self._file)
            raise

    def _open(self) -> None:
        data = _all(self._file)
        if not data.startswith(HEADER):
            if not HEADER.startswith(data):
                raise StoreError(f"{self.path.name} is no log of irmin: it begins with {data[:12]!r}")
            os.ftruncate(self._file, 0)
            self._end = 0
            self._append(HEADER)
            data = HEADER
        self.frames, self._end, self.recovered = read_frames(data)
        if self._end < len(data):
            os.ftruncate(self._file, self._end)

    def __len__(self) -> int:
        return self._end - len(HEADER)

    def append(self, *payloads: bytes) -> None:
        """Write frames; raises StoreError when they cannot be written whole, and then nothing of them is there."""
        self._append(b"".join(map(frame, payloads)))

    def _append(self, data: bytes) -> None:
        try:
            os.lseek(self._file, self._end, os.SEEK_SET)
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise StoreError(f"{self.path.name}: {error.strerror}: nothing was changed; reading goes on") from None
        self._end += len(data)

    def back_to(self, size: int) -> None:
        """Drop what was written after the log had `size` bytes."""
        self._end = size + len(HEADER)
        os.ftruncate(self._file, self._end)

    def sync(self) -> None:
        """Return when what was written would survive a loss of power."""
        try:
            getattr(os, "fdatasync", os.fsync)(self._file)
        except OSError as error:
            raise StoreError(f"{self.path.name}: {error.strerror}") from None

    def clear(self) -> None:
        """Drop every frame: they are in a pack now."""
        os.ftruncate(self._file, len(HEADER))
        self._end = len(HEADER)
        self.sync()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def frame(payload: bytes) -> bytes:
    """Return a payload with its length and checksum before it."""
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def read_frames(data: bytes) -> tuple[list[bytes], int, Recovered]:
    """Return the whole frames of a log with its header, where they end, and what was dropped."""
    frames: list[bytes] = []
    at, why = len(HEADER), ""
    while at < len(data) and not why:
        if at + _FRAME.size > len(data):
            why = "a frame breaks off in its head"
            break
        size, crc = _FRAME.unpack_from(data, at)
        payload = data[at + _FRAME.size : at + _FRAME.size + size]
        if size > LARGEST or len(payload) < size:
            why = "a frame breaks off"
        elif zlib.crc32(payload) != crc:
            why = "a frame has a wrong checksum"
        else:
            frames.append(payload)
            at += _FRAME.size + size
    return frames, at, Recovered(len(frames), len(data) - at, why)


def _all(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    parts = []
    while part := os.read(file, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def synced_directory(path: Path) -> None:
    """Return when the names in a directory would survive a loss of power; where directories cannot be synced, at once."""
    try:
        directory = os.open(path, os.O_RDONLY)
    except (OSError, PermissionError):
        return
    try:
        os.fsync(directory)
    except OSError:
        pass
    finally:
        os.close(directory)
