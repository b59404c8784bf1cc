"""changed: a device that is like another but for some of its names: how to break one on purpose.

broken = changed(store, size=lambda store, key: store.read(key))      # each gets the device first
check_kv_ro(broken, {"a": b"x"})                                       # Broken: its size is its length in bytes
"""

from __future__ import annotations

from functools import partial
from typing import Any

__all__ = ["Changed", "changed"]


class Changed:
    """A device seen through its changes."""

    def __init__(self, device: Any, changes: dict[str, Any]) -> None:
        self._device = device
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._changes:
            return getattr(self._device, name)
        change = self._changes[name]
        if isinstance(change, property) and change.fget is not None:
            return change.fget(self._device)
        return partial(change, self._device) if callable(change) else change

    def __repr__(self) -> str:
        return f"<{self._device!r} but for {', '.join(self._changes)}>"


def changed(device: Any, **changes: Any) -> Any:
    """Return a device like `device` except for `changes`: functions that get the device first, properties, values, or None (missing)."""
    return Changed(device, changes)
