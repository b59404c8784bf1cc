"""lock: a store has one writer: whoever opens it holds a file, and lets go of it at the end, whichever way that comes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from mirage_lab.irmin.errors import StoreError

__all__ = ["hold"]


def hold(path: Path, what: str) -> sqlite3.Connection:
    """Hold a file for this process alone, until it lets go or ends: SQLite knows how, on every platform.  Raises StoreError."""
    held = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        held.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        held.close()
        raise StoreError(f"{what} is open already, here or in another process: a store has one writer") from None
    return held
