"""cache: what was compiled once: files named by what they were made of; a file is written whole, or not at all.

    sha-256 of the rest, 64 letters │ the rest          a file whose sum is wrong is as good as none

Two processes may do the same at once: each writes a file of its own and renames it.  The oldest files go when there are too
many.  A directory that cannot be written makes the cache forget, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["Cache", "key_of"]

MOST_FILES: Final = 256
MOST_BYTES: Final = 64 << 20
_SUM: Final = 64


def key_of(*parts: str | bytes) -> str:
    """Return a name for something that is made of these."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


class Cache:
    """Values by key, in a directory."""

    def __init__(self, room: Path, *, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES) -> None:
        self.room = room
        self.most_files = most_files
        self.most_bytes = most_bytes

    def __repr__(self) -> str:
        return f"<Cache {len(self._files())} files>"

    @classmethod
    def of_this_person(cls) -> Cache:
        """Return the cache in the usual place; MIRAGE_LAB_CACHE chooses another."""
        return cls(directory_of(os.environ, Path.home(), sys.platform == "win32", sys.platform == "darwin"))

    def get(self, key: str) -> bytes | None:
        """Return the value, None if it is not there whole."""
        try:
            data = (self.room / key).read_bytes()
        except OSError:
            return None
        value = data[_SUM:]
        if data[:_SUM] != hashlib.sha256(value).hexdigest().encode():
            return None
        with contextlib.suppress(OSError):
            os.utime(self.room / key)  # it was of use: it goes later
        return value

    def put(self, key: str, value: bytes) -> None:
        """Keep a value, and let the oldest go if there is too much."""
        with contextlib.suppress(OSError):
            self.room.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix="new-", dir=self.room)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(value).hexdigest().encode() + value)
                os.replace(name, self.room / key)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(name)
            self._tidy()

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return (time of last use, size, path), the oldest first."""
        found = []
        with contextlib.suppress(OSError):
            for path in self.room.iterdir():
                with contextlib.suppress(OSError):
                    told = path.stat()
                    if path.is_file():
                        found.append((told.st_mtime, told.st_size, path))
        return sorted(found)

    def _tidy(self) -> None:
        files = self._files()
        total = sum(size for _, size, _ in files)
        while files and (len(files) > self.most_files or total > self.most_bytes):
            _, size, path = files.pop(0)
            total -= size
            with contextlib.suppress(OSError):
                path.unlink()


def directory_of(environment: Mapping[str, str], home: Path, windows: bool, mac: bool) -> Path:
    """Return where a person's caches are."""
    if environment.get("MIRAGE_LAB_CACHE"):
        return Path(environment["MIRAGE_LAB_CACHE"]) / "native"
    if windows:
        room = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif mac:
        room = home / "Library" / "Caches"
    else:
        room = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    return room / "mirage_lab" / "native"
