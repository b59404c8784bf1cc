"""crunch: KV_RO: files compiled into the image (mirage-skeleton: ocaml-crunch)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final

from mirage_lab.functoria import Impl
from mirage_lab.signatures.errors import DescriptionError, UnknownKey
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["Crunched", "crunch"]

LARGEST: Final = 64 << 20


class Crunched:
    """KV_RO: values by key, fixed when the device was described."""

    module_type: ClassVar[str] = "KV_RO"
    id = "crunch"

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    async def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes of a value from `offset`; raises UnknownKey."""
        value = self._value(key)
        start = max(offset, 0)
        return value[start:] if length is None else value[start : start + max(length, 0)]

    async def size(self, key: str) -> int:
        """Return the length of a value; raises UnknownKey."""
        return len(self._value(key))

    def _value(self, key: str) -> bytes:
        found = self._files.get(key)
        if found is None:
            raise UnknownKey(f"there is no file {key!r} in this image")
        return found

    async def disconnect(self) -> None:
        """Nothing is held."""


def _connect(os: Any, keys: Mapping[str, Any]) -> Crunched:
    return Crunched(keys["files"])


def crunch(files: Mapping[str, bytes | str] | str | Path) -> Impl:
    """Return the files of a mapping, or of a directory read now, as a device; raises DescriptionError."""
    if isinstance(files, Mapping):
        found = {name: value.encode() if isinstance(value, str) else bytes(value) for name, value in files.items()}
        name = f"{len(found)} files"
    else:
        root = Path(files)
        if not root.is_dir():
            raise DescriptionError(f"crunch: {root} is not a directory")
        found = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
        name = root.name
    if sum(map(len, found.values())) > LARGEST:
        raise DescriptionError(f"crunch: {name} has more than {LARGEST >> 20} MiB; an image carries it whole")
    keys = {"name": name, "files": MappingProxyType(found)}
    return Impl(
        "crunch", "KV_RO", connect=_connect, implementation="mirage_lab.tool.devices.crunch", keys=keys, why="files inside the image", fitting=fitting
    )
